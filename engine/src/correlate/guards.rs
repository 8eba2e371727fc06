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
use std::sync::OnceLock;

use rayon::prelude::*;

use super::associate::{View, Work};
use super::finish::{PairRow, Verdict};
use super::method::Method;
use super::{effective, weighted};
use crate::columns::{Code, MISSING, TableColumn};
use crate::simd::{PIECE, extremes, reach};

/// Effect from which one column is a copy of the other.
const COPY: f64 = 0.999;

/// Looks at the survivors of a slice, and changes their verdicts; returns the first of the columns that each is a copy of.
pub(super) fn guard(work: &Work<'_>, rows: &mut [PairRow]) -> Vec<usize> {
    let first_copy = first_copies(work, rows);
    let options = &work.options.correlate;
    let columns = Columns::of_survivors(work, rows);
    rows.par_iter_mut().filter(|row| row.slice == work.at).for_each(|row| {
        let large = row.r.is_some_and(|r| row.method.effect_size(r) >= options.min_effect);
        if row.verdict != Verdict::Survives || !large {
            return;
        }
        let made_by_one = leverage(work, &columns, row);
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
    // Few columns share a sample of their cells; those alone are compared whole.
    let mut alike: HashMap<Vec<u64>, Vec<usize>> = HashMap::new();
    for (at, column) in columns.iter().enumerate() {
        alike.entry(sample(column)).or_default().push(at);
    }
    for of_sample in alike.values().filter(|of_sample| of_sample.len() > 1) {
        let keys: Vec<[u8; 32]> = of_sample.par_iter().map(|&at| hash(&columns[at])).collect();
        let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
        for (&at, key) in of_sample.iter().zip(keys) {
            join(&mut first, *seen.entry(key).or_insert(at), at);
        }
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

fn hash(column: &TableColumn) -> [u8; 32] {
    match View::of(column) {
        View::Numbers(cells) => *blake3::hash(bytemuck::cast_slice(cells)).as_bytes(),
        View::Levels(levels) => *blake3::hash(bytemuck::cast_slice(levels.codes)).as_bytes(),
    }
}

/// Returns the bits of some of a column's cells, and of what sort it is.
fn sample(column: &TableColumn) -> Vec<u64> {
    fn some(n: usize) -> impl Iterator<Item = usize> {
        (0..n).step_by(n.div_ceil(64).max(1))
    }
    match View::of(column) {
        View::Numbers(cells) => std::iter::once(0).chain(some(cells.len()).map(|row| cells[row].to_bits())).collect(),
        View::Levels(levels) => std::iter::once(1).chain(some(levels.codes.len()).map(|row| levels.codes[row].into())).collect(),
    }
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

/// The complete columns of the survivors, by position in the table.
struct Columns<'a> {
    work: &'a Work<'a>,
    /// Whether ranks are taken of the column; none for those that take no part.
    ranked: Vec<Option<bool>>,
    /// Largest square of a cell, of numbers or ranks, centred, with a sum of squares of 1.
    peaks: Vec<Option<f64>>,
    /// Those cells, of columns that are looked at closely.
    units: Vec<OnceLock<Vec<f64>>>,
}

impl<'a> Columns<'a> {
    fn of_survivors(work: &'a Work<'a>, rows: &[PairRow]) -> Self {
        let parts = &work.parts;
        let n_columns = work.slice.table.columns.len();
        let mut ranked = vec![None; n_columns];
        for row in rows.iter().filter(|row| row.slice == work.at && row.verdict == Verdict::Survives) {
            if matches!(row.method, Method::Pearson | Method::Spearman) {
                for at in [row.x, row.y].into_iter().filter(|&at| parts.is_complete(at)) {
                    ranked[at] = Some(row.method == Method::Spearman);
                }
            }
        }
        // Of weighted rows the largest cell says too little.
        let peak = |(at, ranked): (usize, &Option<bool>)| {
            ranked.filter(|_| work.slice.weights.is_none()).and_then(|ranked| peak(&work.residual_of(at, ranked)))
        };
        let peaks = ranked.par_iter().enumerate().map(peak).collect();
        Self { work, ranked, peaks, units: (0..n_columns).map(|_| OnceLock::new()).collect() }
    }

    /// Returns the cells of two columns; none where one of them is not complete, so that a pair has rows of its own.
    fn units(&self, x: usize, y: usize) -> Option<(&[f64], &[f64])> {
        let (of_x, of_y) = (self.ranked[x]?, self.ranked[y]?);
        let weights = self.work.slice.weights.as_deref();
        let unit = |at: usize, ranked| self.units[at].get_or_init(|| normal(self.work.residual_of(at, ranked).into_owned(), weights));
        Some((unit(x, of_x), unit(y, of_y)))
    }
}

/// Returns the largest square of a cell once cells are centred and have a sum of squares of 1, from above.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn peak(cells: &[f64]) -> Option<f64> {
    let reach = reach(cells).filter(|reach| reach.min < reach.max)?;
    let (centre, n) = (reach.origin().centre, cells.len() as f64);
    let sums = |(sum, squares): (f64, f64), x: &f64| (sum + (x - centre), squares + (x - centre) * (x - centre));
    let (sum, squares) = cells.iter().fold((0.0, 0.0), sums);
    let mean = centre + sum / n;
    let furthest = f64::max(reach.max - mean, mean - reach.min);
    Some(furthest * furthest / (squares - sum * sum / n) * (1.0 + 1e-9)).filter(|peak| peak.is_finite())
}

/// Returns how far the removal of any one row can move r, where the largest squares of the cells are known: their row need
/// not be the same one.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn most_moved(r: f64, peaks: (f64, f64), n_rows: usize) -> f64 {
    let share = share(1.0, n_rows as f64);
    let (xx, yy) = (share * peaks.0, share * peaks.1);
    if xx >= 0.5 || yy >= 0.5 {
        return 2.0;
    }
    // r' = (r - xy) / sqrt((1 - xx)(1 - yy)) with |xy| <= sqrt(xx yy): the root moves it outwards, the product either way.
    let product = libm::sqrt(xx * yy);
    (r.abs() + product) / libm::sqrt((1.0 - xx) * (1.0 - yy)) - r.abs()
}

/// Change of r below which no row needs a closer look: the bound then stands for the change itself.
const SLIGHT: f64 = 1e-3;

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
fn leverage(work: &Work<'_>, columns: &Columns<'_>, row: &PairRow) -> Option<(f64, bool)> {
    if !matches!(row.method, Method::Pearson | Method::Spearman) {
        return None;
    }
    let (r, weights) = (row.r?, work.slice.weights.as_deref());
    let options = &work.options.correlate;
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    let n = row.effective_n.unwrap_or(row.n as f64);
    let makes = |least: f64| {
        let sure = effective::ln_p(least, n - 1.0).is_some_and(|p| p <= libm::log(options.alpha));
        least.abs() < options.min_effect || least * r <= 0.0 || !sure
    };
    if let (Some(x), Some(y)) = (columns.peaks[row.x], columns.peaks[row.y]) {
        let most = most_moved(r, (x, y), work.slice.table.n_rows);
        if most <= SLIGHT && r.abs() > most && !makes(r - most * r.signum()) {
            return Some((most, false));
        }
    }
    let moved = match columns.units(row.x, row.y) {
        Some((x, y)) => moved_by_any(r, x, y, weights),
        None => {
            let ranked = row.method == Method::Spearman;
            let (x, y) = (work.residual_of(row.x, ranked), work.residual_of(row.y, ranked));
            let rows: Vec<usize> = (0..x.len()).filter(|&row| x[row].is_finite() && y[row].is_finite()).collect();
            let part = |cells: &[f64]| rows.iter().map(|&row| cells[row]).collect::<Vec<f64>>();
            let weights = weights.map(part);
            moved_by_any(r, &normal(part(&x), weights.as_deref()), &normal(part(&y), weights.as_deref()), weights.as_deref())
        }
    };
    Some((moved.largest, makes(moved.least)))
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
    let part = |at: usize| -> (Vec<f64>, Vec<Code>, usize) {
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

fn view(part: &(Vec<f64>, Vec<Code>, usize)) -> View<'_> {
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
    fn no_row_moves_r_further_than_the_largest_cells_allow() {
        for n in [30, 200, 3000] {
            let [x, y] = columns(n);
            let r = definition::pearson(&x, &y).1.unwrap_or(f64::NAN);
            let peaks = (peak(&x).unwrap_or(f64::NAN), peak(&y).unwrap_or(f64::NAN));
            let (x, y) = (normal(x, None), normal(y, None));
            let due = x.iter().map(|x| x * x).fold(0.0, f64::max);
            assert!((peaks.0 - due).abs() < 1e-8 && peaks.0 >= due, "{n} rows: {peaks:?}, but {due}");
            let all = moved(r, &x, &y, None, 0..x.len());
            let bound = most_moved(r, peaks, x.len());
            assert!(all.largest <= bound && bound < 30.0 * all.largest, "{n} rows: {all:?}, but at most {bound}");
            // Half of the peak would be no bound.
            assert!(most_moved(r, (peaks.0 / 9.0, peaks.1 / 9.0), x.len()) < all.largest);
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
