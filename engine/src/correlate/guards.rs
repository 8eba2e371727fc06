//! Guards after the test: what survives and should still not be believed as it stands.
//!
//! ```text
//! leak          the value with a target is above `leak`, or the column is known only afterwards
//! leverage      one row makes it: without that row the effect is below `min_effect`, turns, or is not significant
//! redundant     one of the columns is a copy, or nearly one, of a column that stands in the same relation
//! unconfirmed   the later rows alone do not show it: another sign, or p above alpha
//! ```
//!
//! Each pair gets the first that holds. Copies: equal cells in every row, or an effect of `COPY` between the two. The pair of a
//! column with its first copy stays.
//! Absent   leverage of coefficients other than Pearson's and Spearman's (there the ranks of all rows are kept).

use std::collections::HashMap;

use rayon::prelude::*;

use super::associate::{View, Work};
use super::finish::{PairRow, Verdict};
use super::method::Method;
use super::plan::Parts;
use super::{effective, weighted};
use crate::columns::MISSING;
use crate::simd::{PIECE, extremes};

/// Effect from which one column is a copy of the other.
const COPY: f64 = 0.999;

/// Looks at the survivors of a slice, and changes their verdicts; returns the first of the columns that each is a copy of.
pub(super) fn guard(work: &Work<'_>, rows: &mut [PairRow]) -> Vec<usize> {
    let first_copy = first_copies(work, rows);
    let options = &work.options.correlate;
    let units = units_of_survivors(work, rows);
    rows.par_iter_mut().filter(|row| row.slice == work.at).for_each(|row| {
        let large = row.r.is_some_and(|r| row.method.effect_size(r) >= options.min_effect);
        if row.verdict != Verdict::Survives || !large {
            return;
        }
        let made_by_one = leverage(work, &units, row);
        row.leverage_max = made_by_one.map(|(largest, _)| largest);
        row.confirmed = confirmed(work, row);
        row.verdict = if leaks(work, row) {
            Verdict::Leak
        } else if made_by_one.is_some_and(|(_, made)| made) {
            Verdict::Leverage
        } else if is_redundant(&first_copy, row) {
            Verdict::Redundant
        } else if row.confirmed == Some(false) {
            Verdict::Unconfirmed
        } else {
            Verdict::Survives
        };
    });
    first_copy
}

fn leaks(work: &Work<'_>, row: &PairRow) -> bool {
    if row.x.min(row.y) >= work.options.correlate.n_targets {
        return false;
    }
    let too_good = row.r.is_some_and(|r| row.method.effect_size(r) > work.options.leak);
    too_good || work.options.known_after.iter().any(|&column| column == row.x || column == row.y)
}

/// Returns the first of the columns that each is a copy of: itself where it is none.
fn first_copies(work: &Work<'_>, rows: &[PairRow]) -> Vec<usize> {
    let columns = &work.slice.table.columns;
    let mut first: Vec<usize> = (0..columns.len()).collect();
    let key = |at: &usize| match View::of(&columns[*at]) {
        View::Numbers(cells) => *blake3::hash(bytemuck::cast_slice(cells)).as_bytes(),
        View::Levels(levels) => *blake3::hash(bytemuck::cast_slice(levels.codes)).as_bytes(),
    };
    let keys: Vec<[u8; 32]> = first.par_iter().map(key).collect();
    let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
    for (at, key) in keys.into_iter().enumerate() {
        join(&mut first, *seen.entry(key).or_insert(at), at);
    }
    let rows = rows.iter().filter(|row| row.slice == work.at);
    for row in rows.filter(|row| row.r.is_some_and(|r| !row.method.is_directed() && row.method.effect_size(r) >= COPY)) {
        // Of numbers and categories neither can stand for the other; nor can one column for another at a lag.
        if row.method != Method::EtaSquared && work.slice.lag.is_none_or(|lag| lag == 0) {
            join(&mut first, row.x, row.y);
        }
    }
    (0..columns.len()).map(|at| root(&first, at)).collect()
}

fn root(first: &[usize], mut at: usize) -> usize {
    while first[at] != at {
        at = first[at];
    }
    at
}

/// Makes two columns copies of one another: of the one that comes first.
fn join(first: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(first, a), root(first, b));
    first[a.max(b)] = a.min(b);
}

fn is_redundant(first_copy: &[usize], row: &PairRow) -> bool {
    let (x, y) = (first_copy[row.x], first_copy[row.y]);
    if x == y { row.x != x && row.y != y } else { row.x != x || row.y != y }
}

/// Returns the complete columns of the survivors by position in the table: numbers or ranks, centred, with a sum of squares
/// of 1.
fn units_of_survivors(work: &Work<'_>, rows: &[PairRow]) -> Vec<Option<Vec<f64>>> {
    let parts = Parts::of(&work.slice.table);
    let mut ranked = vec![None; work.slice.table.columns.len()];
    for row in rows.iter().filter(|row| row.slice == work.at && row.verdict == Verdict::Survives) {
        if matches!(row.method, Method::Pearson | Method::Spearman) {
            (ranked[row.x], ranked[row.y]) = (Some(row.method == Method::Spearman), Some(row.method == Method::Spearman));
        }
    }
    let unit = |(at, ranked): (usize, &Option<bool>)| {
        let ranked = ranked.filter(|_| parts.is_complete(at))?;
        Some(normal(work.residual_of(at, ranked), work.slice.weights.as_deref()))
    };
    ranked.par_iter().enumerate().map(unit).collect()
}

/// Centres cells, weighs them, and brings their sum of squares to 1; a constant column becomes zeros.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn normal(mut cells: Vec<f64>, weights: Option<&[f64]>) -> Vec<f64> {
    if let Some(weights) = weights {
        return weighted::unit(&cells, weights);
    }
    let first = cells.first().copied().unwrap_or(0.0);
    let mean = first + cells.iter().map(|x| x - first).sum::<f64>() / cells.len() as f64;
    for x in &mut cells {
        *x -= mean;
    }
    let norm = libm::sqrt(cells.iter().map(|x| x * x).sum());
    for x in &mut cells {
        *x = if norm > 0.0 { *x / norm } else { 0.0 };
    }
    cells
}

/// Returns how far the removal of one row moves r at the most, and whether one row makes the pair.
fn leverage(work: &Work<'_>, units: &[Option<Vec<f64>>], row: &PairRow) -> Option<(f64, bool)> {
    if !matches!(row.method, Method::Pearson | Method::Spearman) {
        return None;
    }
    let (r, weights) = (row.r?, work.slice.weights.as_deref());
    let moved = match (&units[row.x], &units[row.y]) {
        (Some(x), Some(y)) => moved_by_any(r, x, y, weights),
        _ => {
            let ranked = row.method == Method::Spearman;
            let (x, y) = (work.residual_of(row.x, ranked), work.residual_of(row.y, ranked));
            let rows: Vec<usize> = (0..x.len()).filter(|&row| x[row].is_finite() && y[row].is_finite()).collect();
            let part = |cells: &[f64]| rows.iter().map(|&row| cells[row]).collect::<Vec<f64>>();
            let weights = weights.map(part);
            moved_by_any(r, &normal(part(&x), weights.as_deref()), &normal(part(&y), weights.as_deref()), weights.as_deref())
        }
    };
    let options = &work.options.correlate;
    let least = moved.least;
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    let n = row.effective_n.unwrap_or(row.n as f64);
    let sure = effective::ln_p(least, n - 1.0).is_some_and(|p| p <= libm::log(options.alpha));
    Some((moved.largest, least.abs() < options.min_effect || least * r <= 0.0 || !sure))
}

/// What leaving one row out does to r.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moved {
    /// Largest change of r.
    largest: f64,
    /// The r that lies furthest towards 0, or past it.
    least: f64,
}

/// Returns r without a row, given its two cells: 0 where it is not defined.
fn without(r: f64, x: f64, y: f64, share: f64) -> f64 {
    let (xx, yy) = (1.0 - share * x * x, 1.0 - share * y * y);
    // A column that varies in that row alone is constant without it.
    if xx <= 1e-12 || yy <= 1e-12 { 0.0 } else { ((r - share * x * y) / libm::sqrt(xx) / libm::sqrt(yy)).clamp(-1.0, 1.0) }
}

/// Removing a row of a weight takes so much of its products away, because the means move too.
fn share(weight: f64, total: f64) -> f64 {
    total / (total - weight)
}

/// Looks at some rows of two columns of which each has a mean of 0 and a sum of squares of 1.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn moved(r: f64, x: &[f64], y: &[f64], weights: Option<&[f64]>, rows: impl Iterator<Item = usize>) -> Moved {
    let total = weights.map_or(x.len() as f64, |weights| weights.iter().sum());
    let sign = r.signum();
    let mut moved = Moved { largest: 0.0, least: r };
    for row in rows {
        let left = without(r, x[row], y[row], share(weights.map_or(1.0, |weights| weights[row]), total));
        moved.largest = moved.largest.max((r - left).abs());
        if left * sign < moved.least * sign {
            moved.least = left;
        }
    }
    moved
}

/// Looks at all rows, at those closely that could move r the most.
///
/// To first order a row moves r by `share (x y - r (x^2 + y^2) / 2)`, and the rest is below the square of what its squares
/// take away at the most: rows that are further from the extremes than that need no closer look.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn moved_by_any(r: f64, x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Moved {
    let share = share(1.0, x.len() as f64);
    let largest_square = |cells: &[f64]| cells.iter().fold(0.0_f64, |most, x| most.max(x * x));
    let taken = share * (largest_square(x) + largest_square(y));
    if weights.is_some() || taken.is_nan() || taken > 0.3 {
        return moved(r, x, y, weights, 0..x.len());
    }
    let slack = 2.0 * taken * taken + 1e-12;
    let pieces = extremes(x, y, r / 2.0);
    let low = pieces.iter().fold(0.0, |low, piece| f64::min(low, piece.0));
    let high = pieces.iter().fold(0.0, |high, piece| f64::max(high, piece.1));
    let close = |piece: &(f64, f64)| piece.0 <= low + slack || piece.1 >= high - slack;
    let rows = pieces.iter().enumerate().filter(|(_, piece)| close(piece)).flat_map(|(at, _)| at * PIECE..((at + 1) * PIECE).min(x.len()));
    moved(r, x, y, None, rows)
}

/// Returns whether the later rows alone show the pair; none where no time is named.
fn confirmed(work: &Work<'_>, row: &PairRow) -> Option<bool> {
    let later = work.slice.later.as_ref()?;
    let part = |at: usize| -> (Vec<f64>, Vec<u32>, usize) {
        match View::of(&work.slice.table.columns[at]) {
            View::Numbers(cells) => (cells.iter().zip(later).map(|(x, later)| if *later { *x } else { f64::NAN }).collect(), Vec::new(), 0),
            View::Levels(levels) => {
                let codes = levels.codes.iter().zip(later).map(|(code, later)| if *later { *code } else { MISSING });
                (Vec::new(), codes.collect(), levels.n_levels)
            }
        }
    };
    let (x, y) = (part(row.x), part(row.y));
    let stat = work.of_views(row.method, view(&x), view(&y));
    let same_sign = stat.value.zip(row.r).is_some_and(|(later, all)| !row.method.is_signed() || later * all > 0.0);
    let sure = stat.ln_p.is_some_and(|p| p <= libm::log(work.options.correlate.alpha));
    Some(same_sign && sure)
}

fn view(part: &(Vec<f64>, Vec<u32>, usize)) -> View<'_> {
    match part {
        (_, codes, n_levels) if *n_levels > 0 => View::Levels(super::categories::Codes { codes, n_levels: *n_levels }),
        (cells, _, _) => View::Numbers(cells),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::definition;

    /// Two columns that go together, with a few rows far out.
    fn columns(n: i32) -> [Vec<f64>; 2] {
        let x: Vec<f64> = (0..n).map(|row| f64::from(row * 7919 % 41) + if row % 97 == 3 { 60.0 } else { 0.0 } + 1e6).collect();
        let y = (0..n).map(|row| f64::from(row * 104_729 % 37) + f64::from(row % 41)).collect();
        [x, y]
    }

    #[test]
    fn leaving_a_row_out_is_leaving_it_out() {
        let [x, y] = columns(40);
        let (_, r) = definition::pearson(&x, &y);
        let r = r.unwrap_or(f64::NAN);
        let (mut largest, mut least) = (0.0_f64, r);
        for row in 0..40 {
            let rest = |cells: &[f64]| cells.iter().enumerate().filter(|(at, _)| *at != row).map(|(_, x)| *x).collect::<Vec<_>>();
            let due = definition::pearson(&rest(&x), &rest(&y)).1.unwrap_or(f64::NAN);
            let found = moved(r, &normal(x.clone(), None), &normal(y.clone(), None), None, row..row + 1);
            assert!((found.largest - (r - due).abs()).abs() < 1e-9, "row {row}: {found:?}, but {due}");
            largest = largest.max((r - due).abs());
            least = if due * r.signum() < least * r.signum() { due } else { least };
        }
        let all = moved(r, &normal(x, None), &normal(y, None), None, 0..40);
        assert!((all.largest - largest).abs() < 1e-9 && (all.least - least).abs() < 1e-9, "{all:?}, but {largest} and {least}");
    }

    #[test]
    fn the_rows_at_the_extremes_tell_what_all_rows_tell() {
        for n in [30, 200, 3000, 20_000] {
            let [x, y] = columns(n);
            let r = definition::pearson(&x, &y).1.unwrap_or(f64::NAN);
            let (x, y) = (normal(x, None), normal(y, None));
            let all = moved(r, &x, &y, None, 0..x.len());
            assert_eq!(moved_by_any(r, &x, &y, None), all, "{n} rows");
        }
    }

    #[test]
    fn a_column_that_varies_in_one_row_has_no_r_without_it() {
        let x: Vec<f64> = (0..30).map(|row| f64::from(u8::from(row == 3))).collect();
        let y: Vec<f64> = (0..30).map(f64::from).collect();
        let (x, y) = (normal(x, None), normal(y, None));
        assert_eq!(without(0.3, x[3], y[3], share(1.0, 30.0)).to_bits(), 0);
    }

    #[test]
    fn a_heavy_row_is_left_out_with_its_weight() {
        let [x, y] = columns(40);
        let weights: Vec<f64> = (0..40).map(|row| if row == 7 { 12.0 } else { 1.0 + f64::from(row % 3) }).collect();
        let r = |rows: &[usize]| {
            let part = |cells: &[f64]| rows.iter().map(|&row| cells[row]).collect::<Vec<f64>>();
            let weights = part(&weights);
            crate::simd::dot(&weighted::unit(&part(&x), &weights), &weighted::unit(&part(&y), &weights))
        };
        let all: Vec<usize> = (0..40).collect();
        let due = r(&all.iter().copied().filter(|row| *row != 7).collect::<Vec<usize>>());
        let (x, y) = (normal(x.clone(), Some(&weights)), normal(y.clone(), Some(&weights)));
        let found = moved(r(&all), &x, &y, Some(&weights), 7..8);
        assert!((found.largest - (r(&all) - due).abs()).abs() < 1e-9, "{found:?}, but {due}");
    }
}
