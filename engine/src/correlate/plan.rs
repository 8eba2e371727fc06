//! Which pairs of a table are related, by which coefficient, and whether permutations of them are cheap.

use rayon::prelude::*;

use super::associate::AssociateOptions;
use super::frame::{Frame, Slice};
use super::method::Method;
use crate::columns::Table;

/// Permutations that are run where none are asked for and they are cheap.
const PERMUTATIONS: f64 = 1000.0;

/// Operations of one permutation that are taken as cheap: all of them then take about four seconds on two cores.
const AFFORDABLE: f64 = 5e8;

/// Operations, at the speed of products, of a row of a pair in a product, of a cell that gets a new place, and of turning a
/// value into a score; a pair outside of products costs some once and more for each row.
const PRODUCT_ROW: f64 = 2.0;
const SHUFFLED_CELL: f64 = 400.0;
const SCORE: f64 = 5_000.0;
const SINGLE_PAIR: f64 = 50_000.0;
const SINGLE_ROW: f64 = 300.0;

/// Returns how many permutations are run where none are asked for: 1,000 where they are cheap, else none.
#[must_use]
pub fn affordable_permutations(frame: &Frame, options: &AssociateOptions) -> u32 {
    // Weighted rows cannot take one another's place.
    let is_weighted = frame.slices.iter().any(|slice| slice.weights.is_some());
    let operations: f64 = frame.slices.iter().map(|slice| operations(slice, options)).sum();
    if operations <= AFFORDABLE && !is_weighted { PERMUTATIONS as u32 } else { 0 }
}

/// Returns the operations of one permutation of a slice.
#[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
fn operations(slice: &Slice, options: &AssociateOptions) -> f64 {
    let table = &slice.table;
    let parts = Parts::of(table);
    let (n_rows, n_targets) = (table.n_rows as f64, options.correlate.n_targets);
    let levels = |at: usize| table.columns[at].levels().map_or(1, |levels| levels.names.len()) as f64;
    let cost = |pair: &Asked| {
        let complete = parts.is_complete(pair.x) && parts.is_complete(pair.y);
        if parts.is_product(pair.method, pair.x, pair.y) {
            // At a lag the product of both sides with both is computed, a quarter of which is asked for.
            let share = if n_targets == 0 && slice.lag.is_some() { 4.0 } else { 1.0 };
            return share * PRODUCT_ROW * n_rows + if n_targets > 0 { SCORE } else { 0.0 };
        }
        match pair.method {
            Method::EtaSquared | Method::CramersV if complete => SCORE + PRODUCT_ROW * n_rows * levels(pair.x) * levels(pair.y),
            _ => SINGLE_PAIR + SINGLE_ROW * n_rows,
        }
    };
    let pairs: f64 = pairs_of(slice, options).iter().map(cost).sum();
    let n_moving = if n_targets > 0 { n_targets } else { table.columns.len() };
    pairs + SHUFFLED_CELL * n_rows * n_moving as f64
}

/// Returns the most rows of so many complete columns of numbers whose pairs are permuted without being asked for.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cost is a rough figure")]
pub fn affordable_rows(n_columns: usize, n_targets: usize) -> u64 {
    let n_pairs = if n_targets > 0 { n_targets * (n_columns - n_targets) } else { n_columns * n_columns.saturating_sub(1) / 2 };
    let n_moving = if n_targets > 0 { n_targets } else { n_columns };
    (AFFORDABLE / (PRODUCT_ROW * n_pairs as f64 + SHUFFLED_CELL * n_moving as f64).max(1.0)) as u64
}

/// What columns are to permutations.
pub(super) struct Parts {
    complete: Vec<bool>,
    /// Columns of categories of which two occur: their eta squared with numbers is the square of an r.
    two_levels: Vec<bool>,
}

impl Parts {
    pub(super) fn of(table: &Table) -> Self {
        Self {
            complete: table.columns.par_iter().map(|column| column.n_present() == table.n_rows).collect(),
            two_levels: table.columns.iter().map(|column| column.levels().is_some_and(|levels| levels.names.len() == 2)).collect(),
        }
    }

    pub(super) fn is_complete(&self, column: usize) -> bool {
        self.complete[column]
    }

    /// Returns whether a product of two columns gives the pair's score in every permutation.
    pub(super) fn is_product(&self, method: Method, x: usize, y: usize) -> bool {
        let of_its_kind = match method {
            Method::Pearson | Method::Spearman => true,
            Method::EtaSquared => self.two_levels[x] || self.two_levels[y],
            _ => false,
        };
        of_its_kind && self.complete[x] && self.complete[y]
    }
}

/// One pair and the coefficient that it gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) method: Method,
}

/// Returns the pairs in order: those that come first with others, or each with every later one; two rows where directed.
pub(super) fn pairs_of(slice: &Slice, options: &AssociateOptions) -> Vec<Asked> {
    let columns = &slice.table.columns;
    let (n, first) = (columns.len(), slice.n_first.min(columns.len()));
    let mut pairs = Vec::new();
    for x in 0..if first > 0 { first } else { n } {
        for y in if first > 0 { first } else { x + 1 }..n {
            let Some(method) = options.method.of(&columns[x], &columns[y]) else { continue };
            if !slice.is_pair(x, y, options.correlate.n_targets) {
                continue;
            }
            pairs.push(Asked { x, y, method });
            if method.is_directed() {
                pairs.push(Asked { x: y, y: x, method });
            }
        }
    }
    pairs
}
