//! What a family of pairs could show at all: the smallest |r| that it would find.
//!
//! ```text
//! level       alpha / family                         what one pair has to reach among so many
//! critical    |r| with p(r, n) = level               smaller ones are no finding whatever happens
//! detectable  atanh(r) + r / (2 (n - 1)) = atanh(critical) + z_0.8 / sqrt(n - 3)      found four times in five where it is the truth
//! ```
//!
//! n is the median of the family's pairs, the effective one where there is one. Under Benjamini-Hochberg and permutations
//! single pairs have to reach no more than this level, so that the figures are on the safe side.
//! Source   Cohen 1988, chapter 3; Hotelling 1953 (the mean of atanh(r) is r / (2 (n - 1)) above that of the truth).

use super::finish::Correlation;
use crate::stats::{ln_student_two_sided, normal_quantile};

/// Probability with which a detectable r is found.
const POWER: f64 = 0.8;

/// Rows beyond which nobody is told to go.
const MOST_ROWS: f64 = 1e12;

/// What pairs of one group could show.
#[derive(Debug, Clone, PartialEq)]
pub struct Power {
    /// The group, by position; none for all rows.
    pub group: Option<usize>,
    /// Median of the pairs' n.
    pub n: f64,
    /// Pairs of the whole family.
    pub family: u64,
    /// p that one pair has to reach.
    pub level: f64,
    /// Smallest |r| that reaches it.
    pub critical: f64,
    /// Smallest |r| that is found with a probability of 80 %.
    pub detectable: f64,
    /// Smallest |r| that is a finding.
    pub min_effect: f64,
    /// Rows at which that one is found with a probability of 80 %; none where it is 0.
    pub n_needed: Option<u64>,
}

impl Correlation {
    /// Returns what the pairs of all rows and of each group could show, on the scale of r; those of a family of other
    /// coefficients alone have none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^53 pairs are not reached")]
    pub fn power(&self) -> Vec<Power> {
        let level = self.alpha / self.family.max(1) as f64;
        let mut of_group: std::collections::BTreeMap<Option<usize>, Vec<f64>> = std::collections::BTreeMap::new();
        for row in self.pairs.iter().filter(|row| row.method.is_signed() && row.ln_p.is_some()) {
            of_group.entry(row.group).or_default().push(row.effective_n.unwrap_or(row.n as f64));
        }
        let one = |(group, mut n): (Option<usize>, Vec<f64>)| {
            n.sort_unstable_by(f64::total_cmp);
            let n = n[n.len() / 2];
            let critical = critical(n, level);
            let n_needed = needed(self.min_effect, level);
            Power {
                group,
                n,
                family: self.family,
                level,
                critical,
                detectable: detectable(n, critical),
                min_effect: self.min_effect,
                n_needed,
            }
        };
        of_group.into_iter().map(one).collect()
    }
}

/// Returns the smallest |r| over n rows whose two-sided p is at most `level`; 1 where there is none.
fn critical(n: f64, level: f64) -> f64 {
    let reaches = |r: f64| n > 2.0 && ln_student_two_sided((1.0 - r) * (1.0 + r), r * r, n - 2.0) <= libm::log(level);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if reaches(middle) { high = middle } else { low = middle }
    }
    high
}

fn detectable(n: f64, critical: f64) -> f64 {
    if n <= 3.0 || critical >= 1.0 {
        return 1.0;
    }
    let z = libm::atanh(critical) + normal_quantile(POWER) / libm::sqrt(n - 3.0);
    libm::tanh(z - libm::tanh(z) / (2.0 * (n - 1.0)))
}

/// Returns the rows at which an r is found with the probability asked for.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most MOST_ROWS")]
fn needed(r: f64, level: f64) -> Option<u64> {
    let found = |n: f64| detectable(n, critical(n, level)) <= r;
    if r <= 0.0 || !found(MOST_ROWS) {
        return None;
    }
    let (mut low, mut high) = (3.0, MOST_ROWS);
    while high - low > 1.0 {
        // Halving the exponent: rows range over twelve decades.
        let middle = libm::floor(libm::sqrt(low * high)).clamp(low + 1.0, high);
        if middle >= high {
            break;
        }
        if found(middle) { high = middle } else { low = middle }
    }
    Some(high as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ln_pearson_p;

    /// Cohen's table 3.4.1 and others': two-sided 5 %, 80 %: r = 0.3 takes 84 or 85 rows, r = 0.1 takes 782 or 783.
    #[test]
    fn rows_needed_are_those_of_the_tables() {
        assert!(needed(0.3, 0.05).is_some_and(|n| (84..=85).contains(&n)), "{:?}", needed(0.3, 0.05));
        assert!(needed(0.1, 0.05).is_some_and(|n| (782..=783).contains(&n)), "{:?}", needed(0.1, 0.05));
        assert_eq!(needed(0.0, 0.05), None);
    }

    /// The 5 % value of r over 30 rows is 0.361 in every textbook.
    #[test]
    fn the_critical_r_is_that_of_the_tables() {
        assert!((critical(30.0, 0.05) - 0.361).abs() < 5e-4, "{}", critical(30.0, 0.05));
        assert!((critical(102.0, 0.01) - 0.254).abs() < 5e-4, "{}", critical(102.0, 0.01));
        assert!(ln_pearson_p(critical(30.0, 1e-6), 30).is_some_and(|p| (p - 1e-6_f64.ln()).abs() < 1e-6));
        assert!(critical(30.0, 1e-6) > critical(30.0, 0.05) && detectable(30.0, 0.361) > 0.361);
    }
}
