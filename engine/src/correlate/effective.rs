//! The effective sample size of rows in time: neighbours that resemble one another say less than strangers.
//!
//! ```text
//! 1 / n_eff = 1 / n + (2 / n) sum over j of ((n - j) / n) rho_x(j) rho_y(j)      j = 1 .. n / 5, at most 1,000
//! ```
//!
//! Source   Pyper and Peterman 1998, after Garrett and Petrie 1981 and Bartlett 1935; rho as the biased estimator.
//! Nulls    missing cells count as the mean, and add nothing.
//! Cost     n / 5 products of n cells a column, n / 5 multiply-adds a pair.

use super::finish::PairRow;
use crate::simd::{dot, reach, write_deviations};
use crate::stats::ln_student_two_sided;

/// Most lags that are looked at: what resembles its neighbours a thousand rows away is a trend.
const MOST_LAGS: usize = 1000;

/// Returns the autocorrelations of cells in order of time, from lag 1 on; zeros for a constant column.
pub(super) fn autocorrelations(cells: &[f64]) -> Vec<f64> {
    let lags = (cells.len() / 5).min(MOST_LAGS);
    let Some(reach) = reach(cells) else { return vec![0.0; lags] };
    let mut deviations = vec![0.0; cells.len()];
    let (sum, _) = write_deviations(cells, &mut deviations, reach.origin());
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    let mean = sum / reach.n as f64;
    for (deviation, cell) in deviations.iter_mut().zip(cells) {
        *deviation = if cell.is_finite() { *deviation - mean } else { 0.0 };
    }
    let total = dot(&deviations, &deviations);
    let lagged = |lag: usize| if total > 0.0 { dot(&deviations[..cells.len() - lag], &deviations[lag..]) / total } else { 0.0 };
    (1..=lags).map(lagged).collect()
}

/// Returns the effective n of a pair: at least 2, at most n.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
pub(super) fn effective_n(n: u64, x: &[f64], y: &[f64]) -> f64 {
    let rows = n as f64;
    let weighted = |(lag, (x, y)): (usize, (&f64, &f64))| (rows - (lag + 1) as f64) / rows * x * y;
    let sum: f64 = x.iter().zip(y).enumerate().map(weighted).sum();
    let inverse = (1.0 + 2.0 * sum) / rows;
    if inverse <= 1.0 / rows { rows } else { (1.0 / inverse).clamp(2.0, rows) }
}

/// Returns ln p of r over an effective n; none where fewer than three rows are left.
pub(super) fn ln_p(r: f64, effective_n: f64) -> Option<f64> {
    (effective_n > 2.0).then(|| ln_student_two_sided((1.0 - r) * (1.0 + r), r * r, effective_n - 2.0))
}

/// Gives a row of two series its effective n, and the p and interval that follow from it.
pub(super) fn apply(row: &mut PairRow, x: &[f64], y: &[f64], alpha: f64) {
    let n = effective_n(row.n, x, y);
    set(row, n, alpha);
}

/// Gives a row an effective n, and the p and interval that follow from it; a row without a value stays as it is.
pub(super) fn set(row: &mut PairRow, n: f64, alpha: f64) {
    let Some(r) = row.r else { return };
    row.effective_n = Some(n);
    let p = ln_p(r, n);
    row.p = p.map(libm::exp);
    row.ln_p = row.ln_p.and(p);
    row.interval = interval(r, n, alpha);
}

fn interval(r: f64, n: f64, alpha: f64) -> Option<(f64, f64)> {
    if n <= 3.0 || r.abs() >= 1.0 {
        return (r.abs() >= 1.0).then_some((r, r));
    }
    let reach = crate::stats::normal_quantile(1.0 - alpha / 2.0) / libm::sqrt(n - 3.0);
    Some((libm::tanh(libm::atanh(r) - reach), libm::tanh(libm::atanh(r) + reach)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_rows_keep_their_number_and_trends_lose_it() {
        let alternating: Vec<f64> = (0..100).map(|row| f64::from(row % 2)).collect();
        let trend: Vec<f64> = (0..100).map(f64::from).collect();
        let (alternating, trend) = (autocorrelations(&alternating), autocorrelations(&trend));
        assert!((alternating[0] + 0.99).abs() < 1e-12, "{}", alternating[0]);
        assert!(effective_n(100, &trend, &trend) < 10.0);
        assert!((effective_n(100, &[0.0; 20], &trend) - 100.0).abs() < 1e-9);
    }
}
