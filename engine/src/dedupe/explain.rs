//! Why two records are one or not, and which pair holds an entity together.

use rayon::prelude::*;

use super::compare::ABSENT;
use super::records::{MISSING, Records};
use super::weigh::{Weights, probability};
use super::{Scored, Work};

/// What a comparison says of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Both cells as they were compared; none where there is none.
    pub cells: [Option<String>; 2],
    /// Level; none where a cell is missing.
    pub level: Option<usize>,
    /// What it adds to the log odds (bits).
    pub bits: f64,
}

/// Why a pair is as likely as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// A record.
    pub a: u32,
    /// The other one.
    pub b: u32,
    /// Probability of a match.
    pub probability: f64,
    /// Whether any key brought them together; the rest of the answer is right all the same.
    pub is_candidate: bool,
    /// Identifier that makes them one, by its place.
    pub by: Option<usize>,
    /// Comparisons in the order of `Resolution::comparisons`; with the prior their bits add up to the log odds.
    pub parts: Vec<Part>,
}

/// The pair that holds an entity together: without pairs as weak, it falls apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weakest {
    /// A record.
    pub a: u32,
    /// The other one.
    pub b: u32,
    /// Probability that they match: the least on the tree of likeliest pairs.
    pub probability: f64,
    /// Least probability of any two records of the entity.
    pub least: f64,
    /// Mean probability of all its pairs.
    pub mean: f64,
}

/// Explains a pair.
pub(super) fn explained(work: &Work<'_>, weights: &Weights, (a, b): (u32, u32)) -> Explained {
    let (a, b) = (a.min(b), a.max(b));
    let pattern = work.pattern_of(a, b);
    let records: &Records = work.records;
    let part = |at: usize| {
        let column = &records.columns[work.comparisons[at].column];
        let cell = |record: u32| {
            let code = column.codes[record as usize];
            (code != MISSING).then(|| column.texts[code as usize].to_owned())
        };
        let level = pattern.level(at);
        Part {
            cells: [cell(a), cell(b)],
            level: (level != ABSENT).then_some(usize::from(level)),
            bits: weights.adds(at, records, &work.comparisons, pattern, (a, b)),
        }
    };
    Explained {
        a,
        b,
        probability: probability(weights.of_pair(records, &work.comparisons, pattern, (a, b))),
        is_candidate: work.pairs.binary_search(&(a, b)).is_ok(),
        by: None,
        parts: (0..work.comparisons.len()).map(part).collect(),
    }
}

/// Returns of every entity of two or more records the pair that holds it together, the weakest first.
pub(super) fn weakest(entity: &[u32], scored: &[Scored], unscored: &[(u32, u32, f64)]) -> Vec<Weakest> {
    let all = scored.iter().map(|pair| (pair.a, pair.b, pair.log_odds)).chain(unscored.iter().copied());
    let mut inside: Vec<(u32, u32, f64)> = all.filter(|(a, b, _)| entity[*a as usize] == entity[*b as usize]).collect();
    let of = |pair: &(u32, u32, f64)| entity[pair.0 as usize];
    inside.par_sort_unstable_by(|one, other| {
        of(one).cmp(&of(other)).then(other.2.total_cmp(&one.2)).then((one.0, one.1).cmp(&(other.0, other.1)))
    });
    let entities: Vec<&[(u32, u32, f64)]> = inside.chunk_by(|one, other| of(one) == of(other)).collect();
    let mut found: Vec<Weakest> = entities.par_iter().map(|pairs| weakest_of(pairs)).collect();
    found.par_sort_by(|one, other| one.probability.total_cmp(&other.probability).then((one.a, one.b).cmp(&(other.a, other.b))));
    found
}

/// The last pair that joins two parts, the likeliest pairs first (Kruskal 1956).
fn weakest_of(pairs: &[(u32, u32, f64)]) -> Weakest {
    let mut records: Vec<u32> = pairs.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
    records.sort_unstable();
    records.dedup();
    let place = |record: u32| records.binary_search(&record).expect("records are those of the pairs");
    let mut part: Vec<usize> = (0..records.len()).collect();
    let mut last = pairs[0];
    let mut n_parts = records.len();
    for pair in pairs {
        let (kept, gone) = (part[place(pair.0)], part[place(pair.1)]);
        if kept != gone {
            part.iter_mut().filter(|part| **part == gone).for_each(|part| *part = kept);
            (last, n_parts) = (*pair, n_parts - 1);
        }
        if n_parts == 1 {
            break;
        }
    }
    let sum: f64 = pairs.iter().map(|pair| probability(pair.2)).sum();
    let least = pairs.last().map_or(last.2, |pair| pair.2);
    Weakest { a: last.0, b: last.1, probability: probability(last.2), least: probability(least), mean: sum / pairs.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_hangs_on_its_weakest_link() {
        let log_odds = |p: f64| (p / (1.0 - p)).ln();
        let pair = |a: u32, b: u32, p: f64| Scored { a, b, pattern: super::super::Pattern::default(), log_odds: log_odds(p) };
        // 0 and 1, 2 and 3 are sure; 1 and 2 hold both halves together; records 4 and 5 are another entity, 6 is alone.
        let scored = [pair(0, 1, 0.99), pair(0, 2, 0.1), pair(1, 2, 0.6), pair(2, 3, 0.98), pair(3, 4, 0.4), pair(4, 5, 0.9)];
        let unscored = [(0, 3, log_odds(0.02)), (1, 3, log_odds(0.3))];
        let found = weakest(&[0, 0, 0, 0, 4, 4, 6], &scored, &unscored);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].a, found[0].b, found[1].a, found[1].b), (1, 2, 4, 5));
        let close = |one: f64, other: f64| (one - other).abs() < 1e-12;
        assert!(close(found[0].probability, 0.6) && close(found[0].least, 0.02) && close(found[1].mean, 0.9));
        assert!(close(found[0].mean, (0.99 + 0.1 + 0.6 + 0.98 + 0.02 + 0.3) / 6.0));
    }
}
