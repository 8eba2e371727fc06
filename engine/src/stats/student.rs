//! Student's t, through the regularized incomplete beta function, and the normal quantile.
//!
//! Sources: DLMF 8.17 (incomplete beta, continued fraction 8.17.22, symmetry 8.17.4), DLMF 5.11.13 (ratio of gamma
//! functions); Wichura 1988, AS 241 (normal quantile).

/// Returns the logarithm of the two-sided p-value of Student's t with `df` degrees of freedom, given
/// `share = df / (df + t^2)` and `rest = 1 - share`.
///
/// For a correlation they are 1 - r^2 and r^2: both are asked for, because either loses the digits of the other. The
/// logarithm orders p-values that are far below the smallest f64.
#[must_use]
pub fn ln_student_two_sided(share: f64, rest: f64, df: f64) -> f64 {
    ln_incomplete_beta(share, rest, df / 2.0, 0.5).min(0.0)
}

/// Returns the logarithm of the regularized incomplete beta function `I_x(a, b)`, given x and `rest = 1 - x`.
#[must_use]
pub fn ln_incomplete_beta(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if rest <= 0.0 {
        return 0.0;
    }
    // The continued fraction converges fast on this side of the mean; the other side is its mirror image.
    if x < (a + 1.0) / (a + b + 2.0) {
        ln_front(x, rest, a, b) - libm::log(a) + libm::log(fraction(x, a, b))
    } else {
        libm::log1p(-libm::exp(ln_front(rest, x, b, a) - libm::log(b)) * fraction(rest, b, a))
    }
}

/// Returns the logarithm of `x^a (1 - x)^b / B(a, b)`, with `rest = 1 - x`.
fn ln_front(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    // The larger of the two is next to 1 for most pairs: log1p of the smaller keeps its digits.
    let ln_x = if x > 0.5 { libm::log1p(-rest) } else { libm::log(x) };
    let ln_rest = if rest > 0.5 { libm::log1p(-x) } else { libm::log(rest) };
    a * ln_x + b * ln_rest - ln_beta(a, b)
}

/// Returns the logarithm of the beta function.
fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    #[allow(clippy::float_cmp, reason = "the case b = 1/2 is asked for by that very number")]
    if small == 0.5 && large > 30.0 {
        return half_ln_pi() - ln_gamma_ratio(large);
    }
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

fn half_ln_pi() -> f64 {
    libm::log(std::f64::consts::PI) / 2.0
}

/// Returns the logarithm of `Gamma(a + 1/2) / Gamma(a)` for a > 30, where a difference of two `lgamma` cancels.
///
/// Expanded in powers of 1 / a: the next term is below 1e-16 for a > 30.
fn ln_gamma_ratio(a: f64) -> f64 {
    let inverse = 1.0 / a;
    let square = inverse * inverse;
    let series =
        inverse * (-1.0 / 8.0 + square * (1.0 / 192.0 + square * (-1.0 / 640.0 + square * (17.0 / 14_336.0 - square * 31.0 / 18_432.0))));
    libm::log(a) / 2.0 + series
}

/// Returns the continued fraction of DLMF 8.17.22 by the modified Lentz method.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // It needs about sqrt(max(a, b)) steps; the limit is for 1e13 rows.
    const STEPS: u32 = 10_000_000;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let change = d * c;
        result *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    result
}

/// Returns the logarithm of the number of ways to choose `k` of `n`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
pub fn ln_choose(n: u64, k: u64) -> f64 {
    if k == 0 || k >= n {
        return 0.0;
    }
    let (n, k) = (n as f64, k as f64);
    libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
}

/// Returns the quantile of the standard normal distribution: Wichura's AS 241 (PPND16), about 1e-16 relative.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE_TOP, &CENTRE_BOTTOM);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let r = libm::sqrt(-libm::log(tail));
    let value = if r <= 5.0 { ratio(r - 1.6, &MIDDLE_TOP, &MIDDLE_BOTTOM) } else { ratio(r - 5.0, &FAR_TOP, &FAR_BOTTOM) };
    if q < 0.0 { -value } else { value }
}

fn ratio(r: f64, top: &[f64; 8], bottom: &[f64; 8]) -> f64 {
    let horner = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * r + c);
    horner(top) / horner(bottom)
}

const CENTRE_TOP: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const CENTRE_BOTTOM: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_545,
];
const MIDDLE_TOP: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    7.745_450_142_783_414e-4,
];
const MIDDLE_BOTTOM: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    5.475_938_084_995_345e-4,
    1.050_750_071_644_416_9e-9,
];
const FAR_TOP: [f64; 8] = [
    6.657_904_643_501_103,
    5.463_784_911_164_114,
    1.784_826_539_917_291_3,
    0.296_560_571_828_504_87,
    0.026_532_189_526_576_124,
    0.001_242_660_947_388_078_4,
    2.711_555_568_743_487_6e-5,
    2.010_334_399_292_288_1e-7,
];
const FAR_BOTTOM: [f64; 8] = [
    1.0,
    0.599_832_206_555_888,
    0.136_929_880_922_735_8,
    0.014_875_361_290_850_615,
    7.868_691_311_456_133e-4,
    1.846_318_317_510_054_8e-5,
    1.421_511_758_316_446e-7,
    2.044_263_103_389_939_8e-15,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of scipy 1.17.1 (`special.betainc`, `stats.t.sf`, `stats.norm.ppf`), mpmath where scipy loses digits.
    #[test]
    fn matches_published_values() {
        let close = |found: f64, expected: f64, bound: f64| {
            assert!((found - expected).abs() <= bound * expected.abs(), "found {found:e}, expected {expected:e}");
        };
        close(normal_quantile(0.975), 1.959_963_984_540_054, 1e-15);
        close(normal_quantile(1e-10), -6.361_340_902_404_056, 1e-14);
        close(normal_quantile(1e-300), -37.047_096_299_361_2, 1e-14);
        // t = 2.228138852 at 10 degrees of freedom is the 5 % point of every table.
        let t: f64 = 2.228_138_851_986_274;
        let student_two_sided = |share: f64, df| libm::exp(ln_student_two_sided(share, 1.0 - share, df));
        close(student_two_sided(10.0 / (10.0 + t * t), 10.0), 0.05, 1e-12);
        // ln p of r over n rows, by mpmath with 40 digits: near the bend of the two expansions, where 1 - x is small
        // and the fraction loses six digits, and far in the tail.
        for (r, n, ln_p) in [
            (0.0005_f64, 1e6, -0.482_763_903_518_429_25),
            (0.002, 1e6, -3.090_035_966_515_766),
            (0.01, 1e6, -52.540_536_428_771_65),
            (0.3, 10.0, -0.917_062_357_674_824_4),
            (0.1, 54.0, -0.751_076_530_552_974_3),
            (0.99, 12_330.0, -24_149.532_690_390_457),
        ] {
            close(ln_student_two_sided((1.0 - r) * (1.0 + r), r * r, n - 2.0), ln_p, 1e-10);
        }
        // One degree of freedom is Cauchy: P(|t| > 1) = 1/2; two: 1 - t / sqrt(2 + t^2).
        close(student_two_sided(0.5, 1.0), 0.5, 1e-13);
        close(student_two_sided(2.0 / 3.0, 2.0), 1.0 - 1.0 / 3.0_f64.sqrt(), 1e-13);
        close(libm::exp(ln_incomplete_beta(0.3, 0.7, 2.0, 3.0)), 0.3483, 1e-12);
    }

    #[test]
    fn ratio_of_gammas_agrees_with_lgamma_where_both_are_good() {
        for a in [31.0, 50.0, 200.0] {
            let direct = libm::lgamma(a + 0.5) - libm::lgamma(a);
            assert!((direct - ln_gamma_ratio(a)).abs() < 1e-12, "a = {a}");
        }
    }
}
