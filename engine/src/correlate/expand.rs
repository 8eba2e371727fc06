//! Categories as columns of a product: a permutation of many pairs at GEMM speed.
//!
//! ```text
//! numbers      one column z, centred, sum of squares 1
//! categories   one column a level: 1 / sqrt(rows of the level) in its rows, else 0
//! r(x, y) = z_x . z_y     eta squared = sum over levels (u . z)^2     chi square / n = sum over cells (u . v)^2 - 1
//! ```
//!
//! Shape    complete columns of n rows; their levels side by side.
//! Cost     n (columns)^2 multiply-adds a permutation, columns counted with their levels.
//! Use      every pair of a table of few columns, where giving rows a new order costs more than the product; pairs with categories of
//!          any table.
//! Absent   2 x 2 tables with few rows in a cell: their exact p is no function of chi square.

use std::ops::Range;

use super::exchange::Exchange;
use super::finish::PairRow;
use super::layout::Layout;
use super::method::Method;
use super::permute::{score_of_r, unit_column};
use super::plan::Parts;
use super::{associate::Work, cpu};
use crate::columns::Cells;
use crate::simd::Matrix;
use crate::stats::{Stream, ln_chi_square_sf, ln_f_sf};

/// Most columns of the product, levels counted: beyond it single pairs are not slower.
const MOST_COLUMNS: usize = 512;

/// Fewest rows that a cell of a 2 x 2 table must be expected to have: below, its p is Fisher's.
const FEWEST_EXPECTED: f64 = 5.0;

/// Pairs whose scores come from one product.
pub(super) struct Expanded {
    n_rows: usize,
    /// The table's columns that take part, targets first, and where the levels of each lie among `unit`.
    columns: Vec<(usize, Range<usize>)>,
    unit: Vec<Vec<f64>>,
    /// Levels that move in a permutation: all, or those of the targets.
    n_moving: usize,
    all_move: bool,
    /// Position among the tested pairs, coefficient, and the two columns by position among `columns`.
    pairs: Vec<(usize, Method, usize, usize)>,
}

impl Expanded {
    /// Takes the pairs that it can among `candidates` (position among the tested, row); returns those that it cannot.
    pub(super) fn new(work: &Work<'_>, parts: &Parts, candidates: &[(usize, &PairRow)]) -> (Self, Vec<usize>) {
        let table = &work.slice.table;
        let n_targets = work.options.correlate.n_targets;
        let mut levels: Vec<Option<Vec<f64>>> = vec![None; table.columns.len()];
        for (at, column) in table.columns.iter().enumerate() {
            if let Cells::Levels(found) = &column.cells {
                let mut counts = vec![0.0; found.names.len()];
                for code in &found.codes {
                    if let Some(count) = counts.get_mut(*code as usize) {
                        *count += 1.0;
                    }
                }
                levels[at] = Some(counts);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
        let n = table.n_rows as f64;
        let fits = |row: &PairRow| {
            let complete = parts.is_complete(row.x) && parts.is_complete(row.y);
            let exact = match (&levels[row.x], &levels[row.y]) {
                (Some(x), Some(y)) if x.len() == 2 && y.len() == 2 => x[0].min(x[1]) * y[0].min(y[1]) / n < FEWEST_EXPECTED,
                _ => false,
            };
            complete && !exact && matches!(row.method, Method::Pearson | Method::Spearman | Method::EtaSquared | Method::CramersV)
        };
        let ranked = candidates.iter().any(|(_, row)| row.method == Method::Spearman);
        let mut taking: Vec<bool> = vec![false; table.columns.len()];
        candidates.iter().filter(|(_, row)| fits(row)).for_each(|(_, row)| {
            taking[row.x] = true;
            taking[row.y] = true;
        });
        let width = |at: usize| levels[at].as_ref().map_or(1, Vec::len);
        let n_columns: usize = (0..taking.len()).filter(|&at| taking[at]).map(width).sum();
        if n_columns > MOST_COLUMNS {
            taking.fill(false);
        }
        let (mut columns, mut unit, mut n_moving) = (Vec::new(), Vec::new(), 0);
        let mut place = vec![usize::MAX; table.columns.len()];
        for at in (0..taking.len()).filter(|&at| taking[at]) {
            let start = unit.len();
            match (&table.columns[at].cells, &levels[at]) {
                (Cells::Levels(found), Some(counts)) => {
                    let codes = work.slice.exchange.arranged(&found.codes);
                    for (level, count) in counts.iter().enumerate() {
                        let height = 1.0 / libm::sqrt(count.max(1.0));
                        unit.push(codes.iter().map(|code| if *code as usize == level { height } else { 0.0 }).collect());
                    }
                }
                _ => unit.push(unit_column(work, at, ranked, &work.slice.exchange)),
            }
            place[at] = columns.len();
            columns.push((at, start..unit.len()));
            if n_targets == 0 || at < n_targets {
                n_moving = unit.len();
            }
        }
        let (mut pairs, mut left) = (Vec::new(), Vec::new());
        for &(at, row) in candidates {
            if fits(row) && taking[row.x] && taking[row.y] {
                pairs.push((at, row.method, place[row.x], place[row.y]));
            } else {
                left.push(at);
            }
        }
        (Self { n_rows: table.n_rows, columns, unit, n_moving, all_move: n_targets == 0, pairs }, left)
    }

    /// Returns the scores of one permutation, by position among the tested pairs; `stream` gives each column its order.
    pub(super) fn scores(&self, exchange: &Exchange, stream: impl Fn(usize) -> Stream) -> Vec<(usize, f64)> {
        if self.pairs.is_empty() {
            return Vec::new();
        }
        let n = self.n_rows;
        let mut moving = Vec::with_capacity(n * self.n_moving);
        for (column, levels) in self.columns.iter().filter(|(_, levels)| levels.end <= self.n_moving) {
            let start = moving.len();
            match &self.unit[levels.clone()] {
                [numbers] => {
                    moving.extend_from_slice(numbers);
                    exchange.shuffle(&mut moving[start..], &mut stream(*column));
                }
                levels => {
                    // Levels of one column move together: rows get a new order once.
                    let mut order: Vec<u32> = (0..u32::try_from(n).expect("a table has fewer than 2^32 rows")).collect();
                    exchange.shuffle(&mut order, &mut stream(*column));
                    for level in levels {
                        moving.extend(order.iter().map(|row| level[*row as usize]));
                    }
                }
            }
        }
        let left = Matrix { values: &moving, n_rows: n, stride: n, n_columns: self.n_moving };
        let others: Vec<f64> = if self.all_move { Vec::new() } else { self.unit[self.n_moving..].concat() };
        let right = Matrix { values: &others, n_rows: n, stride: n, n_columns: self.unit.len() - self.n_moving };
        let (right, first_right) = if self.all_move { (left, 0) } else { (right, self.n_moving) };
        let layout = Layout::new(left.n_columns, right.n_columns, self.all_move);
        let products = cpu::gram(left, right, &layout);
        let square = |a: usize, b: usize| {
            let (a, b) = (a.min(b), a.max(b));
            let product = products[layout.at(a, b - first_right)];
            product * product
        };
        let of_pair = |&(at, method, x, y): &(usize, Method, usize, usize)| {
            let (x, y) = (self.columns[x].1.clone(), self.columns[y].1.clone());
            let sum: f64 = x.clone().map(|a| y.clone().map(|b| square(a, b)).sum::<f64>()).sum();
            (at, self.score(method, sum, x.len(), y.len()))
        };
        self.pairs.iter().map(of_pair).collect()
    }

    /// Returns -ln p of a sum of squares.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn score(&self, method: Method, sum: f64, x: usize, y: usize) -> f64 {
        let n = self.n_rows as f64;
        match method {
            Method::Pearson | Method::Spearman => score_of_r(libm::sqrt(sum.min(1.0)), self.n_rows as u64),
            Method::EtaSquared => {
                let levels = x.max(y) as f64;
                let share = sum.clamp(0.0, 1.0);
                // As the observed score of two levels, so that ties of discrete columns are ties.
                if x.max(y) == 2 {
                    return score_of_r(libm::sqrt(share), self.n_rows as u64);
                }
                -ln_f_sf(1.0 - share, share, levels - 1.0, n - levels)
            }
            _ => -ln_chi_square_sf((n * (sum - 1.0)).max(0.0), ((x - 1) * (y - 1)) as f64),
        }
    }
}
