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
use crate::columns::MISSING;
use crate::stats::ln_pearson_p;

/// Effect from which one column is a copy of the other.
const COPY: f64 = 0.999;

/// Looks at the survivors, and changes their verdicts.
pub(super) fn guard(work: &Work<'_>, rows: &mut [PairRow]) {
    let first_copy = first_copies(work, rows);
    let options = &work.options.correlate;
    rows.par_iter_mut().for_each(|row| {
        let large = row.r.is_some_and(|r| row.method.effect_size(r) >= options.min_effect);
        if row.verdict != Verdict::Survives || !large {
            return;
        }
        let made_by_one = leverage(work, row);
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
    let columns = &work.table.columns;
    let mut first: Vec<usize> = (0..columns.len()).collect();
    let key = |at: &usize| {
        let mut hash = blake3::Hasher::new();
        (0..work.table.n_rows).for_each(|row| {
            hash.update(&columns[*at].key(row).to_le_bytes());
        });
        *hash.finalize().as_bytes()
    };
    let keys: Vec<[u8; 32]> = first.par_iter().map(key).collect();
    let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
    for (at, key) in keys.into_iter().enumerate() {
        join(&mut first, *seen.entry(key).or_insert(at), at);
    }
    for row in rows.iter().filter(|row| row.r.is_some_and(|r| !row.method.is_directed() && row.method.effect_size(r) >= COPY)) {
        // Of numbers and categories neither can stand for the other.
        if row.method != Method::EtaSquared {
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

/// Returns how far the removal of one row moves r at the most, and whether one row makes the pair.
fn leverage(work: &Work<'_>, row: &PairRow) -> Option<(f64, bool)> {
    if !matches!(row.method, Method::Pearson | Method::Spearman) {
        return None;
    }
    let ranked = row.method == Method::Spearman;
    let cells = |at: usize| work.residual(work.table.columns[at].numbers().unwrap_or_default(), ranked);
    let both = cells(row.x).into_iter().zip(cells(row.y)).filter(|(x, y)| x.is_finite() && y.is_finite());
    let (x, y): (Vec<f64>, Vec<f64>) = both.unzip();
    let options = &work.options.correlate;
    let r = row.r?;
    let (mut largest, mut made) = (0.0_f64, false);
    for without in leave_one_out(&x, &y) {
        largest = largest.max((r - without).abs());
        let sure = ln_pearson_p(without, row.n - 1).is_some_and(|p| p <= libm::log(options.alpha));
        made |= without.abs() < options.min_effect || without * r <= 0.0 || !sure;
    }
    Some((largest, made))
}

/// Returns r of all rows but one, for each; 0 where it is not defined.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn leave_one_out(x: &[f64], y: &[f64]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = |cells: &[f64]| {
        let first = cells.first().copied().unwrap_or(0.0);
        first + cells.iter().map(|x| x - first).sum::<f64>() / n
    };
    let (mx, my) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mx, y - my);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    // Removing a row takes n / (n - 1) of its deviations' products away, because the mean moves too.
    let share = n / (n - 1.0);
    let without = |(x, y): (&f64, &f64)| {
        let (dx, dy) = (x - mx, y - my);
        let (xx_left, yy_left) = (xx - share * dx * dx, yy - share * dy * dy);
        // A column that varies in that row alone is constant without it.
        if xx_left <= 1e-12 * xx || yy_left <= 1e-12 * yy {
            return 0.0;
        }
        ((xy - share * dx * dy) / libm::sqrt(xx_left) / libm::sqrt(yy_left)).clamp(-1.0, 1.0)
    };
    x.iter().zip(y).map(without).collect()
}

/// Returns whether the later rows alone show the pair; none where no time is named.
fn confirmed(work: &Work<'_>, row: &PairRow) -> Option<bool> {
    let later = work.options.later.as_ref()?;
    let part = |at: usize| -> (Vec<f64>, Vec<u32>, usize) {
        match View::of(&work.table.columns[at]) {
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

    #[test]
    fn leaving_a_row_out_is_leaving_it_out() {
        let x: Vec<f64> = (0..40).map(|row| f64::from(row * 7919 % 41) + 1e6).collect();
        let y: Vec<f64> = (0..40).map(|row| f64::from(row * 104_729 % 37) + f64::from(row)).collect();
        for (row, found) in leave_one_out(&x, &y).into_iter().enumerate() {
            let rest = |cells: &[f64]| cells.iter().enumerate().filter(|(at, _)| *at != row).map(|(_, x)| *x).collect::<Vec<_>>();
            let (_, due) = definition::pearson(&rest(&x), &rest(&y));
            assert!(due.is_some_and(|due| (due - found).abs() < 1e-9), "row {row}: {found}, but {due:?}");
        }
    }

    #[test]
    fn a_column_that_varies_in_one_row_has_no_r_without_it() {
        let x: Vec<f64> = (0..30).map(|row| f64::from(u8::from(row == 3))).collect();
        let y: Vec<f64> = (0..30).map(f64::from).collect();
        assert_eq!(leave_one_out(&x, &y)[3].to_bits(), 0);
    }
}
