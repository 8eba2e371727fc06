//! Candidates of a record that has one match at most: they rival one another.

use rayon::prelude::*;

/// Pairs of clean sources: a record has at most one match, and its candidates are rivals.
pub(super) struct Rivals<'a> {
    pub(super) pairs: &'a [(u32, u32)],
    /// Which of the patterns each pair shows.
    pub(super) pattern_of: &'a [u32],
    pub(super) n_records: usize,
    /// Records of the two sources.
    pub(super) n_of: [f64; 2],
}

impl Rivals<'_> {
    /// Returns the log odds that two records of the sources match, against that neither has a match at all.
    pub(super) fn prior(&self, n_matches: f64) -> f64 {
        /// Share of a source's records that may lack a match, at the least.
        const LEAST_ALONE: f64 = 0.02;
        let alone = self.n_of.map(|n| (1.0 - n_matches / n).max(LEAST_ALONE));
        (n_matches.max(1.0) / (self.n_of[0] * self.n_of[1] * alone[0] * alone[1])).ln()
    }

    /// Returns how many pairs of each pattern match.
    pub(super) fn expected(&self, odds: &[f64]) -> Vec<f64> {
        let of_pair: Vec<f64> = self.pattern_of.iter().map(|pattern| odds[*pattern as usize]).collect();
        let mut expected = vec![0.0; odds.len()];
        for (p, pattern) in self.probabilities(&of_pair).into_iter().zip(self.pattern_of) {
            expected[*pattern as usize] += p;
        }
        expected
    }

    /// Returns the probability of every pair from its odds: the likeliest pairs first, no record twice.
    fn probabilities(&self, odds: &[f64]) -> Vec<f64> {
        const LEAST: f64 = 1e-3;
        let mut order: Vec<u32> = (0..odds.len() as u32).filter(|at| odds[*at as usize] > LEAST).collect();
        order.par_sort_by(|one, other| odds[*other as usize].total_cmp(&odds[*one as usize]).then(one.cmp(other)));
        let mut is_taken = vec![false; self.n_records];
        let mut p = vec![0.0; odds.len()];
        for at in order {
            let (a, b) = self.pairs[at as usize];
            if !is_taken[a as usize] && !is_taken[b as usize] {
                is_taken[a as usize] = true;
                is_taken[b as usize] = true;
                p[at as usize] = odds[at as usize] / (1.0 + odds[at as usize]);
            }
        }
        p
    }
}
