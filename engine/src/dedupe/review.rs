//! Pairs that people are asked about, and what their answers say of the whole.
//!
//! Strata    pairs inside entities and pairs outside, each by probability
//! Drawn     from every stratum a few, and more where many pairs are uncertain (Neyman 1934): pairs x sqrt(p (1 - p))
//! Answers   count as draws from the stratum that a pair is of; a pair of none, whose probability is next to nothing, counts as itself
//! Estimate  of a stratum: answers, and one more pair that answers as the probabilities do; its interval is Wilson's (1927) at 90 %, for
//!           the pairs that nobody has looked at. Those of strata add up as squares (Zou and Donner 2008)

use super::Scored;
use super::quality::{Expected, Judged, Shares, Wrong, checked};
use crate::stats::{Purpose, Stream};

/// What somebody said of two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// A record.
    pub a: u32,
    /// The other one.
    pub b: u32,
    /// Whether both are one thing.
    pub is_match: bool,
}

/// A pair to look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// A record.
    pub a: u32,
    /// The other one.
    pub b: u32,
    /// Probability of a match.
    pub probability: f64,
    /// Which of the strata it stands for.
    pub stratum: usize,
}

/// Pairs of about one probability, all of them inside entities or all outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stratum {
    /// Whether the pairs are inside entities.
    pub same_entity: bool,
    /// Least probability.
    pub from: f64,
    /// Probability below which they all are; the last stratum ends with 1.
    pub until: f64,
    /// Pairs.
    pub n_pairs: u64,
    /// Mean probability.
    pub expected: f64,
    /// Pairs that somebody has looked at.
    pub n_checked: u64,
    /// Those of them that match.
    pub n_matches: u64,
}

/// Probabilities at which strata begin.
const FROM: [f64; 7] = [0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999];
/// Pairs of a stratum that are drawn at the least.
const FEWEST: u64 = 5;
/// Quantile of a normal variable at both ends of 90 %.
const Z: f64 = 1.644_853_626_951_472_6;

/// All pairs that were looked at, and what stratum they are of.
pub(super) struct Looked<'a> {
    pub(super) entity: &'a [u32],
    pub(super) scored: &'a [Scored],
    pub(super) unscored: &'a [(u32, u32, f64)],
    pub(super) shares: &'a Shares,
}

impl Looked<'_> {
    fn pairs(&self) -> impl Iterator<Item = Drawn> {
        let scored = self.scored.iter().map(|pair| (pair.a, pair.b, pair.log_odds));
        scored.chain(self.unscored.iter().copied()).map(|pair| self.at(pair))
    }

    fn at(&self, (a, b, log_odds): (u32, u32, f64)) -> Drawn {
        let probability = self.shares.share(a, b, log_odds);
        let of_probability = FROM.partition_point(|from| *from <= probability).max(1) - 1;
        let is_inside = self.entity[a as usize] == self.entity[b as usize];
        Drawn { a, b, probability, stratum: of_probability + if is_inside { FROM.len() } else { 0 } }
    }

    fn find(&self, a: u32, b: u32) -> Option<Drawn> {
        let scored = self.scored.binary_search_by_key(&(a, b), |pair| (pair.a, pair.b)).ok().map(|at| self.scored[at].log_odds);
        let log_odds = scored.or_else(|| self.unscored.iter().find(|pair| (pair.0, pair.1) == (a, b)).map(|pair| pair.2))?;
        Some(self.at((a, b, log_odds)))
    }

    /// Returns all strata, those without a pair too.
    fn strata(&self) -> Vec<Stratum> {
        let stratum = |at: usize| {
            let of = at % FROM.len();
            let until = FROM.get(of + 1).copied().unwrap_or(1.0);
            Stratum { same_entity: at >= FROM.len(), from: FROM[of], until, n_pairs: 0, expected: 0.0, n_checked: 0, n_matches: 0 }
        };
        let mut strata: Vec<Stratum> = (0..2 * FROM.len()).map(stratum).collect();
        for pair in self.pairs() {
            strata[pair.stratum].n_pairs += 1;
            strata[pair.stratum].expected += pair.probability;
        }
        for stratum in strata.iter_mut().filter(|stratum| stratum.n_pairs > 0) {
            stratum.expected /= stratum.n_pairs as f64;
        }
        strata
    }

    /// Returns the strata that have pairs, and about `n` pairs drawn from them, in an order of which every beginning is drawn from all.
    pub(super) fn review(&self, judged: &Judged, n: usize, answers: &[Answer], seed: u64) -> Review {
        let mut strata = self.strata();
        let mut drawn = self.draw(&strata, n, seed);
        let mut alone = Wrong::default();
        for answer in answers {
            let (a, b) = (answer.a.min(answer.b), answer.a.max(answer.b));
            match self.find(a, b) {
                Some(pair) => {
                    strata[pair.stratum].n_checked += 1;
                    strata[pair.stratum].n_matches += u64::from(answer.is_match);
                }
                None => alone.outside += f64::from(u8::from(answer.is_match)),
            }
        }
        let expected = (!answers.is_empty()).then(|| estimate(judged, &strata, alone, answers.len() as u64));
        let place: Vec<usize> = strata
            .iter()
            .scan(0, |next, stratum| {
                let place = *next;
                *next += usize::from(stratum.n_pairs > 0);
                Some(place)
            })
            .collect();
        for pair in &mut drawn {
            pair.stratum = place[pair.stratum];
        }
        strata.retain(|stratum| stratum.n_pairs > 0);
        Review { strata, drawn, expected }
    }

    fn draw(&self, strata: &[Stratum], n: usize, seed: u64) -> Vec<Drawn> {
        if n == 0 {
            return Vec::new();
        }
        let wanted = allot(strata, n);
        let ordinals: Vec<Vec<u64>> = (0..strata.len()).map(|at| ordinals(strata[at].n_pairs, wanted[at], seed, at as u32)).collect();
        let mut next = vec![(0_u64, 0_usize); strata.len()];
        let mut drawn: Vec<Drawn> = Vec::new();
        for pair in self.pairs() {
            let (seen, taken) = &mut next[pair.stratum];
            if ordinals[pair.stratum].get(*taken) == Some(seen) {
                *taken += 1;
                drawn.push(pair);
            }
            *seen += 1;
        }
        spread(&mut drawn, strata.len(), seed);
        drawn
    }
}

/// What is asked, and what the answers say.
pub(super) struct Review {
    pub(super) strata: Vec<Stratum>,
    pub(super) drawn: Vec<Drawn>,
    /// None where nobody has looked.
    pub(super) expected: Option<Expected>,
}

/// Returns how many pairs of each stratum are drawn.
fn allot(strata: &[Stratum], n: usize) -> Vec<u64> {
    let weight = |stratum: &Stratum| {
        let p = stratum.expected.clamp(0.02, 0.98);
        stratum.n_pairs as f64 * (p * (1.0 - p)).sqrt()
    };
    let all: f64 = strata.iter().map(weight).sum();
    let share = |stratum: &Stratum| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the pairs that are asked for")]
        let share = (n as f64 * weight(stratum) / all.max(1e-9)).round() as u64;
        share.max(FEWEST).min(stratum.n_pairs)
    };
    strata.iter().map(share).collect()
}

/// Draws `k` different numbers below `n`, ascending (Floyd's algorithm; Bentley and Floyd 1987).
fn ordinals(n: u64, k: u64, seed: u64, stratum: u32) -> Vec<u64> {
    let mut stream = Stream::new(seed, Purpose::Review, stratum, 0);
    let mut drawn = std::collections::BTreeSet::new();
    for last in n - k..n {
        let at = (u128::from(wide(&mut stream)) * u128::from(last + 1)) >> 64;
        let at = u64::try_from(at).expect("the upper half of a product of 64 bits has 64");
        if !drawn.insert(at) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

fn wide(stream: &mut Stream) -> u64 {
    u64::from(stream.word()) << 32 | u64::from(stream.word())
}

/// Shuffles the pairs of every stratum and spreads each over the whole list.
fn spread(drawn: &mut Vec<Drawn>, n_strata: usize, seed: u64) {
    let mut stream = Stream::new(seed, Purpose::Review, 0, 1);
    let mut keyed: Vec<(u64, Drawn)> = drawn.iter().map(|pair| (wide(&mut stream), *pair)).collect();
    keyed.sort_by_key(|(key, pair)| (pair.stratum, *key));
    let mut of_stratum = vec![0.0; n_strata];
    for (_, pair) in &keyed {
        of_stratum[pair.stratum] += 1.0;
    }
    let mut seen = vec![0.5; n_strata];
    let mut placed: Vec<(f64, Drawn)> = Vec::with_capacity(keyed.len());
    for (_, pair) in keyed {
        placed.push((seen[pair.stratum] / of_stratum[pair.stratum], pair));
        seen[pair.stratum] += 1.0;
    }
    placed.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.stratum.cmp(&other.1.stratum)));
    *drawn = placed.into_iter().map(|(_, pair)| pair).collect();
}

/// Estimates what is wrong from the answers.
fn estimate(judged: &Judged, strata: &[Stratum], alone: Wrong, n_checked: u64) -> Expected {
    let (mut value, mut less, mut more) = (alone, Wrong::default(), Wrong::default());
    let (mut n_apart, mut n_missing) = (0, 0);
    for stratum in strata.iter().filter(|stratum| stratum.n_pairs > 0) {
        let (n, k) = (stratum.n_checked as f64, stratum.n_matches as f64);
        let (p, lo, hi) = wilson(k + stratum.expected, n + 1.0);
        // As long as no answer says otherwise, all of them may match, or none; that holds for all strata together, too.
        let (lo, hi) = (if k > 0.0 { lo } else { 0.0 }, if k < n { hi } else { 1.0 });
        let rest = (stratum.n_pairs as f64 - n).max(0.0);
        let (matches, lower, higher) = (k + rest * p, rest * (p - lo), rest * (hi - p));
        if stratum.same_entity {
            n_apart += stratum.n_checked - stratum.n_matches;
            value.inside += stratum.n_pairs as f64 - matches;
            less.inside += higher * higher;
            more.inside += lower * lower;
        } else {
            n_missing += stratum.n_matches;
            value.outside += matches;
            less.outside += lower * lower;
            more.outside += higher * higher;
        }
    }
    // Pairs are whole: what is a part of one may be none.
    let whole = |sign: f64, count: f64| if sign < 0.0 { count.floor() } else { count.ceil() };
    let by = |sign: f64, squares: Wrong| Wrong {
        inside: whole(sign, value.inside + sign * squares.inside.sqrt()).clamp(0.0, judged.n_inside),
        outside: whole(sign, value.outside + sign * squares.outside.sqrt()).max(alone.outside),
    };
    let mut lower = by(-1.0, less);
    if n_apart == 0 {
        lower.inside = 0.0;
    }
    if n_missing == 0 {
        lower.outside = alone.outside;
    }
    checked(judged, n_checked, value, lower, by(1.0, more))
}

/// Returns a share of `n` and both ends of its interval.
fn wilson(k: f64, n: f64) -> (f64, f64, f64) {
    let p = k / n;
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    (p, (middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(k, n, alpha = 0.1, method = "wilson")
        for (k, n, lo, hi) in
            [(8.0, 10.0, 0.540_792_8, 0.931_442_0), (0.0, 20.0, 0.0, 0.119_157_8), (50.0, 100.0, 0.418_847_8, 0.581_152_2)]
        {
            let (_, low, high) = wilson(k, n);
            assert!((low - lo).abs() < 1e-6 && (high - hi).abs() < 1e-6, "{k} of {n}: {low} {high}");
        }
    }

    #[test]
    fn different_numbers_are_drawn_evenly() {
        let mut seen = [0_u32; 20];
        for seed in 0..2_000 {
            let drawn = ordinals(20, 5, seed, 3);
            assert!(drawn.len() == 5 && drawn.windows(2).all(|pair| pair[0] < pair[1]));
            for at in drawn {
                seen[usize::try_from(at).expect("20 is a place")] += 1;
            }
        }
        // 500 of each are expected, with a standard deviation of 19.
        assert!(seen.iter().all(|n| (400..600).contains(n)), "{seen:?}");
        assert_eq!(ordinals(3, 3, 1, 0), [0, 1, 2]);
    }
}
