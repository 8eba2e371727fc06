//! Pearson's r of weighted rows.
//!
//! ```text
//! r = sum w (x - mx)(y - my) / sqrt(sum w (x - mx)^2 sum w (y - my)^2)      mx = sum w x / sum w
//! n_eff = (sum w)^2 / sum w^2                                                p: Student's t with n_eff - 2 degrees of freedom
//! ```
//!
//! Nulls    pairwise: sums go over the rows where both cells are present, n counts those rows.
//! Numbers  complete columns: products of sqrt(w)-scaled deviations in f64, at the speed of products; others pair by pair.
//! Source   Kish 1965, 11.7 (effective n of unequal weights).
//! Absent   permutations and bootstrap: rows of unequal weight cannot take one another's place.

use rayon::prelude::*;

use super::associate::Work;
use super::effective;
use super::finish::PairRow;
use super::gram::gram_f64;
use super::layout::Layout;
use super::plan::Asked;
use super::stat::Stat;
use crate::simd::{Matrix, dot, reach};

/// Returns one row a pair; none where the work was stopped.
pub(super) fn rows(work: &Work<'_>, pairs: &[Asked], weights: &[f64]) -> Option<Vec<PairRow>> {
    let table = &work.slice.table;
    let parts = &work.parts;
    let complete: Vec<usize> = (0..table.columns.len()).filter(|&at| parts.is_complete(at)).collect();
    let mut place = vec![usize::MAX; table.columns.len()];
    complete.iter().enumerate().for_each(|(at, &column)| place[column] = at);
    let unit: Vec<Vec<f64>> = complete.par_iter().map(|&at| unit(table.columns[at].numbers().unwrap_or_default(), weights)).collect();
    let cells = unit.concat();
    let products = gram_f64(Matrix { values: &cells, n_rows: table.n_rows, stride: table.n_rows, n_columns: unit.len() });
    let layout = Layout::new(unit.len(), unit.len(), true);
    let is_flat: Vec<bool> = unit.par_iter().map(|unit| unit.iter().all(|x| *x == 0.0)).collect();
    let whole = effective_n(weights.iter().copied());
    let row = |pair: &Asked| {
        let (a, b) = (place[pair.x].min(place[pair.y]), place[pair.x].max(place[pair.y]));
        if b == usize::MAX {
            let [x, y] = [pair.x, pair.y].map(|at| table.columns[at].numbers().unwrap_or_default());
            let (n, r, n_eff) = of_pair(x, y, weights);
            return with_p(work, *pair, n, r, n_eff);
        }
        let r = (!is_flat[a] && !is_flat[b]).then(|| products[layout.at(a, b)].clamp(-1.0, 1.0));
        with_p(work, *pair, table.n_rows as u64, r, whole)
    };
    let row = |pair: &Asked| if (work.stop)() { None } else { Some(row(pair)) };
    pairs.par_iter().with_min_len(64).map(row).collect()
}

fn with_p(work: &Work<'_>, pair: Asked, n: u64, value: Option<f64>, effective_n: f64) -> PairRow {
    let ln_p = value.and_then(|r| effective::ln_p(r, effective_n));
    let mut row = work.row(pair, Stat { n, value, ln_p, n_minor: None });
    effective::set(&mut row, effective_n, work.options.correlate.alpha);
    row
}

/// Returns the deviations from the weighted mean times the root of the weight, with a sum of squares of 1; zeros where the
/// cells are all the same.
pub(super) fn unit(cells: &[f64], weights: &[f64]) -> Vec<f64> {
    let Some(reach) = reach(cells).filter(|reach| reach.min < reach.max) else { return vec![0.0; cells.len()] };
    let centre = reach.origin().centre;
    let total: f64 = weights.iter().sum();
    let mean = cells.iter().zip(weights).map(|(x, w)| (x - centre) * w).sum::<f64>() / total;
    let mut unit: Vec<f64> = cells.iter().zip(weights).map(|(x, w)| (x - centre - mean) * libm::sqrt(*w)).collect();
    let norm = libm::sqrt(dot(&unit, &unit));
    for x in &mut unit {
        *x = if norm > 0.0 { *x / norm } else { 0.0 };
    }
    unit
}

/// Returns n, r and the effective n over the rows where both are present.
fn of_pair(x: &[f64], y: &[f64], weights: &[f64]) -> (u64, Option<f64>, f64) {
    let rows: Vec<usize> = (0..x.len()).filter(|&row| x[row].is_finite() && y[row].is_finite()).collect();
    let part = |cells: &[f64]| rows.iter().map(|&row| cells[row]).collect::<Vec<f64>>();
    let weights = part(weights);
    let (x, y) = (unit(&part(x), &weights), unit(&part(y), &weights));
    let flat = |unit: &[f64]| unit.iter().all(|x| *x == 0.0);
    let r = (!flat(&x) && !flat(&y)).then(|| dot(&x, &y).clamp(-1.0, 1.0));
    (rows.len() as u64, r, effective_n(weights.into_iter()))
}

/// Returns the rows of equal weight that would say as much.
fn effective_n(weights: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_change_nothing_and_whole_ones_repeat_rows() {
        let x: Vec<f64> = (0..40).map(|row| f64::from(row * 7 % 41) + 1e6).collect();
        let y: Vec<f64> = (0..40).map(|row| f64::from(row * 11 % 37) + f64::from(row)).collect();
        let plain = crate::correlate::definition::pearson(&x, &y).1.unwrap_or(f64::NAN);
        let (n, r, n_eff) = of_pair(&x, &y, &[2.5; 40]);
        assert!(n == 40 && r.is_some_and(|r| (r - plain).abs() < 1e-12) && (n_eff - 40.0).abs() < 1e-9);
        let weights: Vec<f64> = (0..40).map(|row| f64::from(1 + row % 3)).collect();
        let repeated =
            |cells: &[f64]| -> Vec<f64> { cells.iter().zip(&weights).flat_map(|(x, w)| std::iter::repeat_n(*x, *w as usize)).collect() };
        let due = crate::correlate::definition::pearson(&repeated(&x), &repeated(&y)).1.unwrap_or(f64::NAN);
        let (_, r, n_eff) = of_pair(&x, &y, &weights);
        assert!(r.is_some_and(|r| (r - due).abs() < 1e-12) && (due - plain).abs() > 1e-4, "{r:?}, but {due}");
        assert!(n_eff < 40.0);
    }

    #[test]
    fn a_column_that_is_constant_where_both_are_present_has_no_r() {
        let (n, r, _) = of_pair(&[0.1, 0.1, 0.1, f64::NAN, 3.0], &[1.0, 2.0, 5.0, 1.0, f64::NAN], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!((n, r), (3, None));
    }
}
