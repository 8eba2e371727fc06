//! What a Pearson correlation of n rows says about the population.

use super::student::{ln_student_two_sided, normal_quantile};

/// Returns the logarithm of the two-sided p-value of r over n rows under independence of two normal columns: Student's t
/// with n - 2 degrees of freedom. None below three rows.
#[must_use]
pub fn ln_pearson_p(r: f64, n: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    (n >= 3).then(|| ln_student_two_sided((1.0 - r) * (1.0 + r), r * r, (n - 2) as f64))
}

/// Returns Fisher's interval at level 1 - alpha: tanh(atanh r -+ z / sqrt(n - 3)). None below four rows.
///
/// Source: Fisher 1921; Cramer 1946, 29.7. Exact for |r| = 1, where it is a point.
#[must_use]
pub fn fisher_interval(r: f64, n: u64, alpha: f64) -> Option<(f64, f64)> {
    if n < 4 {
        return None;
    }
    if r.abs() >= 1.0 {
        return Some((r, r));
    }
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    let reach = normal_quantile(1.0 - alpha / 2.0) / libm::sqrt((n - 3) as f64);
    let z = libm::atanh(r);
    Some((libm::tanh(z - reach), libm::tanh(z + reach)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.pearsonr` 1.17.1: r = 0.3, n = 50 gives p and the 95 % interval below.
    #[test]
    fn matches_scipy() {
        let p = libm::exp(ln_pearson_p(0.3, 50).unwrap_or(f64::NAN));
        assert!((p - 0.034_286_180_032_929_97).abs() < 1e-14, "p = {p}");
        let (lo, hi) = fisher_interval(0.3, 50, 0.05).unwrap_or((f64::NAN, f64::NAN));
        assert!((lo - 0.023_625_077_388_833_595).abs() < 1e-14 && (hi - 0.533_775_186_885_520_2).abs() < 1e-14, "lo = {lo}, hi = {hi}");
    }

    #[test]
    fn few_rows_have_no_answer() {
        assert_eq!(ln_pearson_p(0.5, 2), None);
        assert_eq!(fisher_interval(0.5, 3, 0.05), None);
        assert_eq!(fisher_interval(1.0, 10, 0.05), Some((1.0, 1.0)));
    }
}
