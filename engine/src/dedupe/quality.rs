//! How good a resolution is likely to be, from its own probabilities: no label is needed, and none can be checked against.

use rayon::prelude::*;

use super::weigh::probability;
use super::{Score, Scored};

/// Expected quality over pairs of records.
///
/// It holds as far as the probabilities do, and counts pairs that were looked at: what no key brought together is not in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Pairs that are expected to match, of all that were looked at.
    pub n_matches: f64,
    /// Share of the pairs inside entities that are expected to match; none where no entity has two records.
    pub precision: Option<f64>,
    /// Share of the matches that lie inside entities; none where none is expected.
    pub recall: Option<f64>,
    /// Harmonic mean of both.
    pub f1: Option<f64>,
}

impl Expected {
    /// Sums probabilities of the pairs, which are in order; `is_one_to_one` says that a record has one match at most.
    pub(super) fn of(entity: &[u32], scored: &[Scored], is_one_to_one: bool, score: &Score<'_>) -> Self {
        let mut rivals = vec![0.0; if is_one_to_one { entity.len() } else { 0 }];
        if is_one_to_one {
            for pair in scored {
                let odds = libm::exp(pair.log_odds.min(300.0));
                rivals[pair.a as usize] += odds;
                rivals[pair.b as usize] += odds;
            }
        }
        let share = |pair: &Scored| {
            if is_one_to_one {
                let own = libm::exp(pair.log_odds.min(300.0));
                own / (1.0 + rivals[pair.a as usize] + rivals[pair.b as usize] - own)
            } else {
                probability(pair.log_odds)
            }
        };
        let outside: f64 = scored.iter().filter(|pair| entity[pair.a as usize] != entity[pair.b as usize]).map(share).sum();
        let known = |a: u32, b: u32| scored.binary_search_by_key(&(a, b), |pair| (pair.a, pair.b)).ok().map(|at| share(&scored[at]));
        let mut by_entity: Vec<(u32, u32)> = entity.iter().enumerate().map(|(record, entity)| (*entity, record as u32)).collect();
        by_entity.par_sort_unstable();
        let (mut inside, mut n_inside) = (0.0, 0_u64);
        for records in by_entity.chunk_by(|one, other| one.0 == other.0) {
            for (at, &(_, a)) in records.iter().enumerate() {
                for &(_, b) in &records[at + 1..] {
                    n_inside += 1;
                    inside += known(a, b).unwrap_or_else(|| probability(score(a, b)));
                }
            }
        }
        let precision = (n_inside > 0).then(|| inside / n_inside as f64);
        let n_matches = inside + outside;
        let recall = (n_matches > 0.0).then(|| inside / n_matches);
        let f1 = precision.zip(recall).filter(|(p, r)| p + r > 0.0).map(|(p, r)| 2.0 * p * r / (p + r));
        Self { n_matches, precision, recall, f1 }
    }
}
