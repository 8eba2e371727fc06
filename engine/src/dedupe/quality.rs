//! How good a resolution is likely to be, without labels: from its own probabilities, and how far those may be off.
//!
//! Value     pairs inside entities that do not match, and matches outside, summed over the probabilities of all pairs that were looked at: the
//!           mean of two views. In one each pair stands on its own; in the other all pairs of two entities stand or fall together, with the
//!           mean of their log odds, and so do all pairs of a record with the others of its entity. Between clean sources, where a record
//!           has one match, only the first
//! Interval  the widest that the values of both views become, and the first view's when all log odds are half or twice as strong and up to
//!           one nat higher or lower, each with the 5th and 95th percentile of a Poisson count
//! Missed    matches that no key brought together, by capture and recapture (Chapman 1951): what a column's equal cells bring together
//!           against what those of all others do, the median over the columns. It only counts at the low end of recall and F1: keys of
//!           one record are spoilt together, and the count is a lower bound
//! Checked   where people have looked at pairs, their answers take the place of the probabilities: `review.rs`

use rayon::prelude::*;

use super::records::MISSING;
use super::weigh::probability;
use super::{LEAST_HELD, PAIRS_AT_ONCE, Records, Score, Scored};

/// A share and where it is likely to lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The likeliest value.
    pub value: f64,
    /// Low end of the interval.
    pub lo: f64,
    /// High end.
    pub hi: f64,
}

/// Expected quality over pairs of records.
///
/// It holds as far as the probabilities do, and counts pairs that were looked at: what no key brought together is only in the low ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Pairs that are expected to match, of all that were looked at.
    pub n_matches: f64,
    /// Matches that no key brought together: a lower bound.
    pub n_missed: f64,
    /// Pairs that people have looked at.
    pub n_checked: u64,
    /// Share of the pairs inside entities that are expected to match; none where no entity has two records.
    pub precision: Option<Estimate>,
    /// Share of the matches that lie inside entities; none where none is expected.
    pub recall: Option<Estimate>,
    /// Harmonic mean of both.
    pub f1: Option<Estimate>,
}

/// What entities get wrong: pairs inside them that do not match, and matches outside.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Wrong {
    pub(super) inside: f64,
    pub(super) outside: f64,
}

/// How strong all log odds may be, against what was fitted.
const STRENGTHS: [f64; 3] = [0.5, 1.0, 2.0];
/// How much higher all of them may be (nats).
const SHIFTS: [f64; 3] = [-1.0, 0.0, 1.0];
/// Log odds beyond which a pair is certain whatever the strength: four times their half is a number yet.
const CERTAIN: f64 = 150.0;

/// Odds of a pair at each of the strengths.
fn odds(log_odds: f64) -> [f64; 3] {
    let root = libm::exp(log_odds.clamp(-CERTAIN, CERTAIN) * STRENGTHS[0]);
    let whole = root * root;
    [root, whole, whole * whole]
}

/// Returns how likely pairs are to match, beside their rivals where a record has one match at most.
pub(super) struct Shares {
    /// Sum of the odds of all pairs of a record; empty where it may have several matches.
    rivals: Vec<[f64; 3]>,
}

impl Shares {
    /// Adds up the odds of rivals; `is_one_to_one` says that a record has one match at most.
    pub(super) fn of(n: usize, scored: &[Scored], is_one_to_one: bool) -> Self {
        let mut rivals = vec![[0.0; 3]; if is_one_to_one { n } else { 0 }];
        for pair in scored.iter().filter(|_| is_one_to_one) {
            for (strength, odds) in odds(pair.log_odds).into_iter().enumerate() {
                rivals[pair.a as usize][strength] += odds;
                rivals[pair.b as usize][strength] += odds;
            }
        }
        Self { rivals }
    }

    /// Returns the probability of a match as it was fitted.
    pub(super) fn share(&self, a: u32, b: u32, log_odds: f64) -> f64 {
        self.bent(a, b, odds(log_odds), 1, 1.0)
    }

    /// Returns the probability at a strength, all odds multiplied by a factor.
    fn bent(&self, a: u32, b: u32, odds: [f64; 3], strength: usize, factor: f64) -> f64 {
        let own = odds[strength];
        let others = if self.rivals.is_empty() {
            0.0
        } else {
            (self.rivals[a as usize][strength] + self.rivals[b as usize][strength] - 2.0 * own).max(0.0)
        };
        factor * own / (1.0 + factor * (own + others))
    }
}

/// Counts of every way to bend the log odds, the fitted ones among them.
type Bent = [Wrong; STRENGTHS.len() * SHIFTS.len()];
/// Place of what was fitted.
const FITTED: usize = 4;

/// Pairs of the entities that are no candidates, with their log odds.
pub(super) fn unscored(entity: &[u32], scored: &[Scored], score: &Score<'_>) -> Vec<(u32, u32, f64)> {
    let mut by_entity: Vec<(u32, u32)> = entity.iter().enumerate().map(|(record, entity)| (*entity, record as u32)).collect();
    by_entity.par_sort_unstable();
    let entities: Vec<&[(u32, u32)]> = by_entity.chunk_by(|one, other| one.0 == other.0).filter(|records| records.len() > 1).collect();
    let is_scored = |a: u32, b: u32| scored.binary_search_by_key(&(a, b), |pair| (pair.a, pair.b)).is_ok();
    let of_entity = |records: &&[(u32, u32)]| -> Vec<(u32, u32, f64)> {
        let pairs = records.iter().enumerate().flat_map(|(at, (_, a))| records[at + 1..].iter().map(move |(_, b)| (*a, *b)));
        pairs.filter(|(a, b)| !is_scored(*a, *b)).map(|(a, b)| (a, b, score(a, b))).collect()
    };
    entities.par_iter().flat_map_iter(of_entity).collect()
}

/// What the probabilities say.
pub(super) struct Judged {
    bent: Bent,
    /// What it comes to when pairs of two entities stand or fall together.
    together: Option<Wrong>,
    /// Matches that there can be at most.
    pub(super) most_matches: f64,
    pub(super) n_inside: f64,
    pub(super) n_missed: f64,
}

impl Judged {
    pub(super) fn of(
        entity: &[u32],
        scored: &[Scored],
        unscored: &[(u32, u32, f64)],
        shares: &Shares,
        records: &Records,
        largest_block: usize,
    ) -> Self {
        let factors = SHIFTS.map(libm::exp);
        let add = |bent: &mut Bent, (a, b, log_odds): (u32, u32, f64)| {
            let odds = odds(log_odds);
            let is_inside = entity[a as usize] == entity[b as usize];
            for (at, wrong) in bent.iter_mut().enumerate() {
                let share = shares.bent(a, b, odds, at / SHIFTS.len(), factors[at % SHIFTS.len()]);
                if is_inside { wrong.inside += 1.0 - share } else { wrong.outside += share }
            }
        };
        let of_part = |pairs: &[Scored]| {
            let mut bent = Bent::default();
            for pair in pairs {
                add(&mut bent, (pair.a, pair.b, pair.log_odds));
            }
            bent
        };
        let parts: Vec<Bent> = scored.par_chunks(PAIRS_AT_ONCE).map(of_part).collect();
        let mut bent = Bent::default();
        for part in parts {
            for (sum, own) in bent.iter_mut().zip(part) {
                sum.inside += own.inside;
                sum.outside += own.outside;
            }
        }
        for pair in unscored {
            add(&mut bent, *pair);
        }
        let inside = || {
            let scored = scored.iter().map(|pair| (pair.a, pair.b)).filter(|(a, b)| entity[*a as usize] == entity[*b as usize]);
            scored.chain(unscored.iter().map(|(a, b, _)| (*a, *b)))
        };
        let is_one_to_one = !shares.rivals.is_empty();
        let of_source = |source: u16| records.source.iter().filter(|of| **of == source).count() as f64;
        Self {
            bent,
            together: (!is_one_to_one).then(|| together(entity, scored, unscored)),
            most_matches: if is_one_to_one { of_source(0).min(of_source(1)) } else { f64::INFINITY },
            n_inside: inside().count() as f64,
            n_missed: missed(records, inside(), largest_block),
        }
    }

    /// Returns what the probabilities expect.
    pub(super) fn expected(&self) -> Expected {
        let fitted = self.bent[FITTED];
        let value = self.together.map_or(fitted, |other| Wrong {
            inside: f64::midpoint(fitted.inside, other.inside),
            outside: f64::midpoint(fitted.outside, other.outside),
        });
        let views = || self.bent.iter().chain(&self.together);
        let at = |p: f64, more: f64| {
            let end = move |wrong: &Wrong| {
                let inside = poisson_quantile(wrong.inside, p).min(self.n_inside);
                let room = (self.most_matches - (self.n_inside - inside)).max(0.0);
                Wrong { inside, outside: (poisson_quantile(wrong.outside, p) + more).min(room) }
            };
            views().map(end).collect::<Vec<Wrong>>()
        };
        self.between(value, 0, &at(0.05, 0.0), &at(0.95, self.n_missed))
    }

    /// Returns quality at a value, and its least and best at others.
    fn between(&self, value: Wrong, n_checked: u64, best: &[Wrong], worst: &[Wrong]) -> Expected {
        let at = |of: fn(&Rates) -> Option<f64>| {
            let of = |wrong: &Wrong| of(&rates(self.n_inside, *wrong));
            let value = of(&value)?;
            let lo = worst.iter().filter_map(of).fold(value, f64::min);
            let hi = best.iter().filter_map(of).fold(value, f64::max);
            Some(Estimate { value, lo, hi })
        };
        Expected {
            n_matches: self.n_inside - value.inside + value.outside,
            n_missed: self.n_missed,
            n_checked,
            precision: at(|rates| rates.precision),
            recall: at(|rates| rates.recall),
            f1: at(|rates| rates.f1),
        }
    }
}

/// Counts what is wrong when all pairs of two entities stand or fall together: see the module page.
fn together(entity: &[u32], scored: &[Scored], unscored: &[(u32, u32, f64)]) -> Wrong {
    let mut sizes = vec![0_u32; entity.len()];
    for entity in entity {
        sizes[*entity as usize] += 1;
    }
    let size = |record: u32| f64::from(sizes[entity[record as usize] as usize]);
    let is_inside = |pair: &(u32, u32, f64)| entity[pair.0 as usize] == entity[pair.1 as usize];
    let all = || scored.iter().map(|pair| (pair.a, pair.b, pair.log_odds));
    let inside = || all().filter(is_inside).chain(unscored.iter().copied());
    let mut sums = vec![0.0; entity.len()];
    for (a, b, log_odds) in inside() {
        sums[a as usize] += log_odds;
        sums[b as usize] += log_odds;
    }
    let mean = |record: u32| sums[record as usize] / (size(record) - 1.0);
    let wrong = inside().map(|(a, b, _)| 1.0 - probability(f64::midpoint(mean(a), mean(b)))).sum();
    let both = |pair: &Scored| {
        let (one, other) = (entity[pair.a as usize], entity[pair.b as usize]);
        (one.min(other), one.max(other))
    };
    let mut outside: Vec<u32> =
        (0..scored.len() as u32).filter(|at| !is_inside(&(scored[*at as usize].a, scored[*at as usize].b, 0.0))).collect();
    outside.par_sort_by_key(|at| both(&scored[*at as usize]));
    let of_entities = |pairs: &[u32]| {
        let first = &scored[pairs[0] as usize];
        let n = size(first.a) * size(first.b);
        let sum: f64 = pairs.iter().map(|at| scored[*at as usize].log_odds).sum();
        // Pairs that are no candidates, or hardly likely, count as what is just not held.
        n * probability((sum + (n - pairs.len() as f64) * LEAST_HELD) / n)
    };
    let lost = outside.chunk_by(|one, other| both(&scored[*one as usize]) == both(&scored[*other as usize])).map(of_entities).sum();
    Wrong { inside: wrong, outside: lost }
}

/// Quality of a resolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) precision: Option<f64>,
    pub(super) recall: Option<f64>,
    pub(super) f1: Option<f64>,
}

/// Returns the quality of entities with so many pairs inside.
pub(super) fn rates(n_inside: f64, wrong: Wrong) -> Rates {
    let hit = (n_inside - wrong.inside).max(0.0);
    let precision = (n_inside > 0.0).then(|| hit / n_inside);
    let recall = (hit + wrong.outside > 0.0).then(|| hit / (hit + wrong.outside));
    let f1 = precision.zip(recall).filter(|(p, r)| p + r > 0.0).map(|(p, r)| 2.0 * p * r / (p + r));
    Rates { precision, recall, f1 }
}

/// Returns the count below which a Poisson variable stays with probability `p`, about.
fn poisson_quantile(mean: f64, p: f64) -> f64 {
    /// Mean from which the normal approximation is within a count.
    const MANY: f64 = 400.0;
    if mean >= MANY {
        return (mean + crate::stats::normal_quantile(p) * mean.sqrt()).round();
    }
    let (mut count, mut term) = (0.0, libm::exp(-mean));
    let mut below = term;
    while below < p && count < 2.0 * MANY {
        count += 1.0;
        term *= mean / count;
        below += term;
    }
    count
}

/// Matches that no key brought together, where `inside` are the matches: see the module page.
fn missed(records: &Records, inside: impl Iterator<Item = (u32, u32)>, largest_block: usize) -> f64 {
    let columns = &records.columns[..records.columns.len().min(super::weigh::MOST_COLUMNS)];
    // Matches that a column's equal cells bring together, that those of others do, that both do.
    let mut caught = vec![[0.0; 3]; columns.len()];
    let (mut n_caught, mut n) = (0.0, 0.0);
    for (a, b) in inside {
        let mut mask = 0_u32;
        for (at, column) in columns.iter().enumerate() {
            let (one, other) = (column.codes[a as usize], column.codes[b as usize]);
            if one == other && one != MISSING && column.counts[one as usize] as usize <= largest_block {
                mask |= 1 << at;
            }
        }
        n += 1.0;
        n_caught += f64::from(u8::from(mask != 0));
        for (at, caught) in caught.iter_mut().enumerate() {
            let (own, others) = (mask >> at & 1 == 1, mask & !(1 << at) != 0);
            for (count, is_caught) in caught.iter_mut().zip([own, others, own && others]) {
                *count += f64::from(u8::from(is_caught));
            }
        }
    }
    let of_column = |[own, others, both]: &[f64; 3]| (own + 1.0) * (others + 1.0) / (both + 1.0) - 1.0;
    let mut totals: Vec<f64> = caught.iter().filter(|caught| caught[0] > 0.0 && n_caught > 0.0).map(of_column).collect();
    totals.sort_by(f64::total_cmp);
    // Words and parts of texts bring together what no equal cell does: `n` has those.
    totals.get(totals.len() / 2).map_or(0.0, |total| (total - n).max(0.0))
}

/// Puts answers in the place of probabilities: `value` is the likeliest count of what is wrong, `off` how far it may be lower and higher, for
/// pairs inside and outside of entities.
pub(super) fn checked(judged: &Judged, n_checked: u64, value: Wrong, lower: Wrong, higher: Wrong) -> Expected {
    let missed = judged.n_missed;
    let with = |inside: f64, outside: f64| {
        let room = (judged.most_matches - (judged.n_inside - inside)).max(0.0);
        rates(judged.n_inside, Wrong { inside, outside: outside.min(room) })
    };
    let at = |of: fn(&Rates) -> Option<f64>| {
        let of = |inside: f64, outside: f64| of(&with(inside, outside));
        let mid = of(value.inside, value.outside)?;
        // Both counts are estimated apart: their errors add up as squares (Zou and Donner 2008).
        let side = |inside: f64, outside: f64| {
            let by = |other: Option<f64>| other.map_or(0.0, |other| other - mid);
            libm::hypot(by(of(inside, value.outside)), by(of(value.inside, outside)))
        };
        // Pairs are whole: the nearest such counts are not to be missed by a part of one.
        let nearest = of(value.inside.round(), value.outside.round()).unwrap_or(mid);
        let lo = (mid - side(higher.inside, higher.outside + missed)).min(nearest).max(0.0);
        let hi = (mid + side(lower.inside, lower.outside)).max(nearest).min(1.0);
        Some(Estimate { value: mid, lo, hi })
    };
    Expected {
        n_matches: judged.n_inside - value.inside + value.outside,
        n_missed: missed,
        n_checked,
        precision: at(|rates| rates.precision),
        recall: at(|rates| rates.recall),
        f1: at(|rates| rates.f1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_quantiles_are_those_of_scipy() {
        // scipy.stats.poisson.ppf; beyond 400 the normal one may be one off.
        for (mean, lo, hi) in [(0.01, 0.0, 0.0), (0.5, 0.0, 2.0), (3.0, 1.0, 6.0), (40.0, 30.0, 51.0), (399.0, 366.0, 432.0)] {
            assert_eq!((poisson_quantile(mean, 0.05), poisson_quantile(mean, 0.95)), (lo, hi), "mean {mean}");
        }
        for (mean, lo, hi) in [(500.0, 464.0, 537.0), (10_000.0, 9_836.0, 10_165.0)] {
            assert!((poisson_quantile(mean, 0.05) - lo).abs() <= 1.0 && (poisson_quantile(mean, 0.95) - hi).abs() <= 1.0, "mean {mean}");
        }
    }

    #[test]
    fn rivals_share_one_match() {
        let pair = |a: u32, b: u32, log_odds: f64| Scored { a, b, pattern: super::super::Pattern::default(), log_odds };
        let scored = [pair(0, 2, 2.0_f64.ln()), pair(0, 3, 3.0_f64.ln()), pair(1, 3, 4.0_f64.ln())];
        let shares = Shares::of(4, &scored, true);
        // 3 of 1 + 2 + 3 + 4: the pair, its two rivals, and no match at all.
        assert!((shares.share(0, 3, 3.0_f64.ln()) - 0.3).abs() < 1e-12);
        assert!((Shares::of(4, &scored, false).share(0, 3, 3.0_f64.ln()) - 0.75).abs() < 1e-12);
    }
}
