//! The false discovery rate of Benjamini and Hochberg (1995).

/// Replaces p-values in ascending order by adjusted ones over a family of `family` hypotheses.
///
/// `ranks[i]` is the number of hypotheses of the whole family whose p-value is at most `sorted[i]`, so that a part of
/// the family, taken in order, is adjusted as the whole would be. Over a part, the running minimum sees fewer
/// candidates, which can only make a value larger: the adjustment stays valid.
///
/// # Panics
/// When the two slices differ in length.
pub fn benjamini_hochberg(sorted: &mut [f64], ranks: &[u64], family: u64) {
    assert_eq!(sorted.len(), ranks.len(), "one rank for each p-value");
    let mut least: f64 = 1.0;
    for (p, &rank) in sorted.iter_mut().zip(ranks).rev() {
        #[allow(clippy::cast_precision_loss, reason = "2^53 hypotheses are not reached")]
        let adjusted = *p * (family as f64 / rank.max(1) as f64);
        least = least.min(adjusted);
        *p = least;
    }
}

/// Returns 1 + 1/2 + ... + 1/n: the factor of Benjamini and Yekutieli (2001) for tests that depend on one another.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "2^53 hypotheses are not reached")]
pub fn harmonic(n: u64) -> f64 {
    // Beyond a million terms Euler's expansion is exact to the last digit, and a billion terms take a second.
    const MOST_TERMS: u64 = 1_000_000;
    if n > MOST_TERMS {
        const EULER: f64 = 0.577_215_664_901_532_9;
        let n = n as f64;
        return libm::log(n) + EULER + 1.0 / (2.0 * n) - 1.0 / (12.0 * n * n);
    }
    (1..=n).rev().map(|k| 1.0 / k as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of Benjamini and Hochberg 1995, section 3.1: 15 hypotheses, four rejected at 0.05.
    #[test]
    fn the_worked_example_of_the_paper() {
        let p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0];
        let mut q = p;
        let ranks: Vec<u64> = (1..=15).collect();
        benjamini_hochberg(&mut q, &ranks, 15);
        assert_eq!(q.iter().filter(|q| **q <= 0.05).count(), 4);
        assert!((q[3] - 0.0095 * 15.0 / 4.0).abs() < 1e-15);
    }

    #[test]
    fn harmonic_numbers_meet_their_expansion() {
        assert!((harmonic(1) - 1.0).abs() < 1e-15 && (harmonic(4) - 25.0 / 12.0).abs() < 1e-15);
        assert!((harmonic(1_000_001) - harmonic(1_000_000) - 1e-6).abs() < 1e-9);
    }
}
