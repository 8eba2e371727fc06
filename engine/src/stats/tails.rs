//! Tails of distributions as logarithms, so that p-values far below the smallest f64 keep their order.
//!
//! Sources: DLMF 7.12.1 (complementary error function, asymptotic series), DLMF 8.11.4 (lower incomplete gamma, series)
//! and 8.9.2 (upper one, continued fraction), DLMF 5.11.1 (Stirling's series); Loader 2000, Fast and Accurate Computation
//! of Binomial Probabilities (differences of two `lgamma` written as deviances, which do not cancel).

use super::student::ln_incomplete_beta;

/// Half of the logarithm of 2 pi.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// Returns ln P(Z > z) of the standard normal distribution.
///
/// About 1e-15 relative to the logarithm itself, on either side.
#[must_use]
pub fn ln_normal_sf(z: f64) -> f64 {
    use std::f64::consts::FRAC_1_SQRT_2;
    // From here on 14 terms of the series reach 1e-16, and `erfc` has not underflowed yet.
    const FAR: f64 = 12.0;
    if z < -1.0 {
        return libm::log1p(-libm::erfc(-z * FRAC_1_SQRT_2) / 2.0);
    }
    if z < FAR {
        return libm::log(libm::erfc(z * FRAC_1_SQRT_2) / 2.0);
    }
    let s = 1.0 / (z * z);
    let series = (1..=14).rev().fold(1.0, |inner, k| 1.0 - f64::from(2 * k - 1) * s * inner);
    -z * z / 2.0 - libm::log(z) - HALF_LN_TWO_PI + libm::log(series)
}

/// Returns ln P(X > x) of chi square with `df` degrees of freedom; 0 where x or df is not above 0.
///
/// Takes about the square root of df steps near the mean, fewer elsewhere.
#[must_use]
pub fn ln_chi_square_sf(x: f64, df: f64) -> f64 {
    if x <= 0.0 || df <= 0.0 {
        return 0.0;
    }
    // Neither comes to rest in the fraction.
    if !x.is_finite() || df.is_nan() {
        return if x.is_nan() || df.is_nan() { f64::NAN } else { f64::NEG_INFINITY };
    }
    let (x, a) = (x / 2.0, df / 2.0);
    let ln_front = ln_gamma_front(x, a);
    if x < a + 1.0 {
        // Below the mean the lower tail is the smaller one: its series has positive terms alone.
        libm::log1p(-libm::exp(ln_front) * gamma_series(x, a)).min(0.0)
    } else {
        ln_front + libm::log(a) + libm::log(gamma_fraction(x, a))
    }
}

/// Returns ln P(F > f) of the F distribution, for f the ratio of mean squares of a one-way analysis of variance, given
/// `share`, the sum of squares within groups over the total, and `rest`, the one between groups over the total.
///
/// Both are asked for, because either loses the digits of the other. 0 where a degree of freedom is missing.
#[must_use]
pub fn ln_f_sf(share: f64, rest: f64, df_between: f64, df_within: f64) -> f64 {
    if df_between <= 0.0 || df_within <= 0.0 {
        return 0.0;
    }
    ln_incomplete_beta(share, rest, df_within / 2.0, df_between / 2.0).min(0.0)
}

/// Returns the logarithm of the two-sided p-value of Fisher's exact test of a 2 x 2 table of `n` rows, with `a` in the
/// first cell and `row` and `column` the sums of its row and its column.
///
/// It is the probability, over all tables of these sums, of those no more likely than this one. Likelihoods within 1e-7
/// of each other count as equal, as in R: a table and its mirror image differ by rounding. Minus infinity where no table
/// of these sums has `a` in that cell.
#[must_use]
pub fn ln_hypergeometric_two_sided(a: u64, row: u64, column: u64, n: u64) -> f64 {
    let sums = Sums { row, column, n };
    if row > n || column > n || a < sums.least() || a > sums.most() {
        return f64::NEG_INFINITY;
    }
    let limit = sums.ln_probability(a) + libm::log1p(1e-7);
    let mode = sums.mode();
    if sums.least() == sums.most() || sums.ln_probability(mode) <= limit {
        return 0.0;
    }
    let low = sums.ln_lower_tail(mode, limit);
    let high = sums.mirrored().ln_lower_tail(row - mode, limit);
    let (small, large) = if low < high { (low, high) } else { (high, low) };
    (large + libm::log1p(libm::exp(small - large))).min(0.0)
}

/// Returns `o ln(o / e) + e - o`, given o, e > 0 and `e - o`: what an observed count o adds to half of the statistic G
/// where e is expected. It is never negative.
///
/// The difference is asked for, because counts know it without rounding and because everything is in it where o is near e.
pub(crate) fn deviance(o: f64, e: f64, e_minus_o: f64) -> f64 {
    if o <= 0.0 {
        return e;
    }
    let u = e_minus_o / o;
    let ln_ratio = if u.abs() < 0.5 { libm::log1p(u) } else { libm::log(e / o) };
    (o * (u - ln_ratio)).max(0.0)
}

/// Returns the logarithm of `x^a exp(-x) / Gamma(a + 1)`.
fn ln_gamma_front(x: f64, a: f64) -> f64 {
    // For small a nothing cancels; for large a three numbers as large as a ln a would.
    if a < STIRLING {
        return a * libm::log(x) - x - libm::lgamma(a + 1.0);
    }
    -deviance(a, x, x - a) - stirling_error(a) - HALF_LN_TWO_PI - libm::log(a) / 2.0
}

/// Returns the sum of `x^k / ((a + 1) ... (a + k))` over k >= 0.
fn gamma_series(x: f64, a: f64) -> f64 {
    let (mut sum, mut term, mut divisor) = (1.0, 1.0, a);
    while term > sum * f64::EPSILON / 4.0 {
        divisor += 1.0;
        term *= x / divisor;
        sum += term;
    }
    sum
}

/// Returns `Gamma(a, x) exp(x) / x^a` by the modified Lentz method, for x >= a + 1, where no denominator vanishes.
fn gamma_fraction(x: f64, a: f64) -> f64 {
    // It needs a few times sqrt(a) steps; the limit is for 1e15 degrees of freedom.
    const STEPS: u32 = 100_000_000;
    let mut b = x + 1.0 - a;
    let mut d = 1.0 / b;
    let mut c = f64::INFINITY;
    let mut result = d;
    for step in 1..STEPS {
        let k = f64::from(step);
        let numerator = k * (a - k);
        b += 2.0;
        d = 1.0 / (b + numerator * d);
        c = b + numerator / c;
        let change = c * d;
        result *= change;
        // One step of f64 above 1 is as near as the product may ever come.
        if (change - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    result
}

/// From here on five terms of Stirling's series reach 1e-16.
const STIRLING: f64 = 16.0;

/// Returns ln Gamma(a + 1) less Stirling's `(a + 1/2) ln a - a + ln(2 pi) / 2`, for a > 0.
fn stirling_error(a: f64) -> f64 {
    if a < STIRLING {
        return libm::lgamma(a + 1.0) - (a + 0.5) * libm::log(a) + a - HALF_LN_TWO_PI;
    }
    let s = 1.0 / (a * a);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1_260.0 - s * (1.0 / 1_680.0 - s / 1_188.0)))) / a
}

/// Returns the logarithm of the probability of `k` among `n` where each has probability `p`, with `q = 1 - p`.
fn ln_binomial(k: u64, n: u64, p: f64, q: f64) -> f64 {
    // The larger of p and q is next to 1 for rare levels: log1p of the smaller keeps its digits.
    if n == 0 {
        return 0.0;
    }
    if k == 0 {
        return real(n) * if p < 0.5 { libm::log1p(-p) } else { libm::log(q) };
    }
    if k == n {
        return real(n) * if q < 0.5 { libm::log1p(-q) } else { libm::log(p) };
    }
    let (n, k, others) = (real(n), real(k), real(n - k));
    let errors = stirling_error(n) - stirling_error(k) - stirling_error(others);
    let deviances = deviance(k, n * p, n * p - k) + deviance(others, n * q, n * q - others);
    errors - deviances - HALF_LN_TWO_PI - (libm::log(k) + libm::log(others / n)) / 2.0
}

#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Sums of the first row, of the first column and of all of a 2 x 2 table.
#[derive(Clone, Copy)]
struct Sums {
    row: u64,
    column: u64,
    n: u64,
}

impl Sums {
    fn least(self) -> u64 {
        (self.row + self.column).saturating_sub(self.n)
    }

    fn most(self) -> u64 {
        self.row.min(self.column)
    }

    /// Returns the likeliest number in the first cell: up to it the probability rises, from it on it falls.
    fn mode(self) -> u64 {
        let mode = u128::from(self.row + 1) * u128::from(self.column + 1) / u128::from(self.n + 2);
        u64::try_from(mode).unwrap_or(u64::MAX).clamp(self.least(), self.most())
    }

    /// Returns the sums of the table with its columns swapped.
    fn mirrored(self) -> Self {
        Self { column: self.n - self.column, ..self }
    }

    /// Returns the logarithm of the hypergeometric probability of `k` in the first cell.
    fn ln_probability(self, k: u64) -> f64 {
        let (p, q) = (real(self.column) / real(self.n), real(self.n - self.column) / real(self.n));
        ln_binomial(k, self.row, p, q) + ln_binomial(self.column - k, self.n - self.row, p, q) - ln_binomial(self.column, self.n, p, q)
    }

    /// Returns the logarithm of the probability of those numbers below the mode whose own is at most exp(limit), which is
    /// below the probability of the mode.
    fn ln_lower_tail(self, mode: u64, limit: f64) -> f64 {
        if mode == self.least() || self.ln_probability(self.least()) > limit {
            return f64::NEG_INFINITY;
        }
        let (mut last, mut above) = (self.least(), mode);
        while above - last > 1 {
            let middle = last + (above - last) / 2;
            if self.ln_probability(middle) <= limit {
                last = middle;
            } else {
                above = middle;
            }
        }
        self.ln_probability(last) + libm::log(self.lower_sum(last))
    }

    /// Returns the sum of the probabilities of `k` and less over the one of `k`.
    fn lower_sum(self, k: u64) -> f64 {
        let (mut sum, mut term) = (1.0, 1.0);
        for k in (self.least() + 1..=k).rev() {
            let fewer = real(k) * real(self.n + k - self.row - self.column);
            term *= fewer / (real(self.row - k + 1) * real(self.column - k + 1));
            sum += term;
            // Below the mode terms fall ever faster: what is left is smaller than a rounding.
            if term < sum * f64::EPSILON / 16.0 {
                break;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, bound: f64) {
        assert!((found - expected).abs() <= bound * expected.abs(), "found {found:e}, expected {expected:e}");
    }

    /// mpmath with 60 digits; `scipy.stats.norm.logsf` 1.17.1 says the same to 13 digits.
    #[test]
    fn normal_tail_matches_mpmath() {
        for (z, ln_p) in [
            (-10.0, -7.619_853_024_160_525e-24),
            (-3.0, -0.001_350_809_964_748_193_8),
            (-0.5, -0.368_946_415_288_656_4),
            (0.0, -std::f64::consts::LN_2),
            (1.0, -1.841_021_645_009_263_4),
            (5.0, -15.064_998_393_988_725),
            (11.9, -74.207_418_051_248_3),
            (12.1, -76.623_861_242_513_23),
            (40.0, -804.608_442_013_753_8),
            (1e4, -50_000_010.129_278_91),
        ] {
            close(ln_normal_sf(z), ln_p, 1e-14);
        }
    }

    /// mpmath with 60 digits; `scipy.stats.chi2.logsf` 1.17.1 says the same to 13 digits, but for minus infinity far out.
    #[test]
    fn chi_square_tail_matches_mpmath() {
        for (x, df, ln_p) in [
            (3.841_458_820_694_124, 1.0, -2.995_732_273_553_99),
            (0.5, 1.0, -0.735_011_129_837_084_4),
            (1e-6, 1.0, -7.982_029_070_198_693e-4),
            (1e5, 1.0, -50_005.982_264_084_88),
            (2.0, 2.0, -1.0),
            (10.0, 5.0, -2.587_135_459_074_485_5),
            (60.0, 31.0, -6.607_809_233_525_537),
            (20.0, 32.0, -0.049_968_281_346_201_06),
            (33.0, 32.0, -0.872_227_195_373_608_7),
            (900.0, 1_000.0, -0.010_775_081_338_570_533),
            (1_100.0, 1_000.0, -4.225_747_378_926_617),
            (4_000.0, 5_000.0, -2.949_191_886_983_472_6e-27),
            (5_002.0, 5_000.0, -0.714_648_841_071_355_1),
            (5_600.0, 5_000.0, -19.418_097_660_261_502),
            (1e5, 5_000.0, -40_018.444_772_126_06),
            // 1,000 levels on either side.
            (998_000.0, 998_001.0, -0.692_958_946_693_809_5),
            (1_002_000.0, 998_001.0, -6.054_412_923_526_682),
        ] {
            // The bound is of p itself, hence absolute where ln p is large.
            close(ln_chi_square_sf(x, df), ln_p, 2e-11 / ln_p.abs().max(1.0));
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the ends of the scale are exact")]
    fn chi_square_without_evidence_or_freedom_is_certain() {
        assert_eq!((ln_chi_square_sf(0.0, 3.0), ln_chi_square_sf(-1.0, 3.0), ln_chi_square_sf(5.0, 0.0)), (0.0, 0.0, 0.0));
        assert_eq!(ln_chi_square_sf(f64::INFINITY, 3.0), f64::NEG_INFINITY);
        assert!(ln_chi_square_sf(f64::NAN, 3.0).is_nan());
    }

    /// The two expansions meet where x passes df + 2.
    #[test]
    fn chi_square_falls_across_the_seam() {
        for df in [1.0, 2.0, 31.0, 32.0, 500.0, 5_000.0] {
            let steps: Vec<f64> = (-5..=5).map(|step| ln_chi_square_sf(df + 2.0 + f64::from(step) * 1e-9 * df, df)).collect();
            assert!(steps.windows(2).all(|pair| pair[1] < pair[0] + 1e-12), "df = {df}: {steps:?}");
            assert!((steps[0] - steps[10]).abs() < 1e-6, "df = {df}: {steps:?}");
        }
    }

    /// mpmath with 60 digits; `scipy.stats.f.logsf` 1.17.1 agrees, but for minus infinity far out.
    #[test]
    #[allow(clippy::float_cmp, reason = "the ends of the scale are exact")]
    fn f_tail_matches_mpmath() {
        for (eta2, df_between, df_within, ln_p, bound) in [
            (0.3, 2.0, 9.0, -1.605_037_247_724_295_6, 1e-13),
            (0.1891, 4.0, 89.0, -7.085_370_046_486_773, 1e-12),
            (0.0005, 3.0, 1e4, -1.762_080_443_227_758_1, 1e-10),
            (1e-5, 7.0, 1e6, -1.668_290_138_719_839_9, 1e-8),
            (0.001, 99.0, 1e6, -341.354_867_300_830_4, 1e-10),
            (0.01, 99.0, 1e6, -4_754.689_291_667_693, 1e-11),
        ] {
            close(ln_f_sf(1.0 - eta2, eta2, df_between, df_within), ln_p, bound);
        }
        assert_eq!(ln_f_sf(0.0, 1.0, 2.0, 9.0), f64::NEG_INFINITY);
        assert_eq!((ln_f_sf(1.0, 0.0, 2.0, 9.0), ln_f_sf(0.5, 0.5, 2.0, 0.0)), (0.0, 0.0));
    }

    /// Sums of whole numbers in Python; `scipy.stats.fisher_exact` 1.17.1 agrees to 10 digits.
    #[test]
    fn fisher_matches_exact_sums() {
        for (a, row, column, n, ln_p) in [
            (3, 4, 4, 8, -0.722_134_717_433_197_6),
            (8, 10, 9, 14, -2.354_877_887_714_679_7),
            (0, 5, 6, 30, -0.593_105_826_379_719),
            (1, 9, 11, 24, -4.338_435_560_648_423),
            (6, 20, 30, 100, 0.0),
            (2, 2, 5, 1_000, -10.818_777_784_076_7),
            (12, 40, 2_500, 20_000, -5.908_721_604_051_85),
            (0, 2_000, 2_000, 900_000, -3.602_771_201_296_452_6),
            (20, 30, 400, 20_000, -61.678_460_882_825_75),
            (300, 1_000, 900, 1_000_000, -1_553.555_637_177_02),
        ] {
            close(ln_hypergeometric_two_sided(a, row, column, n), ln_p, 1e-12);
        }
    }

    /// Swapping rows, columns or both relabels the same table.
    #[test]
    fn fisher_does_not_depend_on_the_labels() {
        for (a, row, column, n) in [(3, 9, 7, 20), (0, 4, 6, 31), (5, 6, 50, 90), (2, 40, 41, 400)] {
            let p = ln_hypergeometric_two_sided(a, row, column, n);
            close(ln_hypergeometric_two_sided(a, column, row, n), p, 1e-12);
            close(ln_hypergeometric_two_sided(row - a, row, n - column, n), p, 1e-12);
            close(ln_hypergeometric_two_sided(column - a, n - row, column, n), p, 1e-12);
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the ends of the scale are exact")]
    fn fisher_of_no_choice_is_certain_and_of_no_table_impossible() {
        assert_eq!(ln_hypergeometric_two_sided(0, 0, 0, 0), 0.0);
        assert_eq!(ln_hypergeometric_two_sided(4, 4, 10, 10), 0.0);
        assert_eq!(ln_hypergeometric_two_sided(5, 4, 4, 10), f64::NEG_INFINITY);
    }
}
