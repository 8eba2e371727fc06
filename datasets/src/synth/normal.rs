//! The quantile of the standard normal distribution: one uniform number in, one normal number out.
//!
//! Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988),
//! routine PPND16: relative error about 1e-16. Of all draws 85 % take the middle branch, which is two polynomials;
//! the tails take logarithm and root from `libm`, so that every machine draws the same bits.

const MIDDLE_TOP: [f64; 8] = [
    3.387_132_872_796_366_6,
    133.141_667_891_784_38,
    1_971.590_950_306_551_4,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const MIDDLE_BOTTOM: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_855,
];
const TAIL_TOP: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    7.745_450_142_783_414e-4,
];
const TAIL_BOTTOM: [f64; 8] = [
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

/// Returns the number that a standard normal variable stays below with probability `p`, for p inside 0 to 1.
#[inline]
pub(super) fn quantile(p: f64) -> f64 {
    let centred = p - 0.5;
    if centred.abs() <= 0.425 {
        let inner = 0.180_625 - centred * centred;
        return centred * ratio(&MIDDLE_TOP, &MIDDLE_BOTTOM, inner);
    }
    tail(p, centred)
}

fn tail(p: f64, centred: f64) -> f64 {
    let outside = if centred < 0.0 { p } else { 1.0 - p };
    let distance = libm::sqrt(-libm::log(outside));
    let magnitude =
        if distance <= 5.0 { ratio(&TAIL_TOP, &TAIL_BOTTOM, distance - 1.6) } else { ratio(&FAR_TOP, &FAR_BOTTOM, distance - 5.0) };
    if centred < 0.0 { -magnitude } else { magnitude }
}

#[inline]
fn ratio(top: &[f64; 8], bottom: &[f64; 8], at: f64) -> f64 {
    polynomial(top, at) / polynomial(bottom, at)
}

#[inline]
fn polynomial(coefficients: &[f64; 8], at: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * at + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roots of the distribution function in 50-digit arithmetic (mpmath), rounded.
    const KNOWN: [(f64, f64); 9] = [
        (1e-16, -8.222_082_216_130_435),
        (1e-12, -7.034_483_825_301_132),
        (1e-6, -4.753_424_308_822_899),
        (0.001, -3.090_232_306_167_813_6),
        (0.075, -1.439_531_470_938_456),
        (0.3, -0.524_400_512_708_040_8),
        (0.6, 0.253_347_103_135_799_7),
        (0.9, 1.281_551_565_544_600_6),
        (0.999_999, 4.753_424_308_817_087),
    ];

    #[test]
    fn known_answers() {
        for (p, expected) in KNOWN {
            let found = quantile(p);
            assert!((found - expected).abs() <= 2e-15 * expected.abs(), "p {p}: {found} is not {expected}");
        }
        assert!(quantile(0.5).abs() < 1e-300);
    }

    #[test]
    fn both_sides_mirror() {
        for p in [0.25, 0.0625, 0.001_953_125, 1.0 / 1_048_576.0] {
            assert!((quantile(p) + quantile(1.0 - p)).abs() <= f64::EPSILON * quantile(p).abs());
        }
    }
}
