//! Records of the same thing, in one table or between sources, found without labels and without rules.
//!
//! ```text
//! cells -> normal texts and their content -> columns worth comparing -> candidates -> levels of every pair -> Fellegi-Sunter weights
//!                                                                                  -> probability of every pair -> entities
//! ```
//!
//! What     for every record the entity that it is of; for every likely pair the probability that both are one thing and what each column
//!          added; how good the result is likely to be
//! Formula  `weigh.rs`: log odds of a match = prior + sum over columns of log P(level | match) / P(level | no match)
//! Shape    n records x p columns of texts, held as codes: 4 n p bytes, the different texts, and about 40 bytes a candidate
//! Nulls    a cell that is not there says nothing, for a match or against it
//! Order    results do not depend on the order of the records, the number of threads, or the names of the columns
//! Absent   on purpose: labels, and any list of column names that would make one kind of data do better than another

use rayon::prelude::*;

mod bags;
mod block;
mod compare;
mod correlation;
#[cfg(test)]
mod definition;
mod edges;
mod exact;
mod explain;
mod group;
mod hash;
mod identify;
mod quality;
mod records;
mod review;
mod rivals;
mod shape;
mod strings;
#[cfg(test)]
mod tests;
mod text;
mod texts;
mod weigh;

pub use compare::Alike;
pub use edges::{Edge, EdgeGroups, EdgeOptions, entities_of_edges};
pub use exact::{ExactOptions, RowClasses, RowHashes};
pub use explain::{Explained, Part, Weakest};
pub use group::Grouping;
pub use identify::{Doubt, Doubted};
pub use quality::{Estimate, Expected};
pub use records::{ColumnBuilder, Content, MISSING, RecordColumn, Records};
pub use review::{Answer, Drawn, Stratum};
pub use strings::{LONGEST, jaro_winkler, osa};
pub(crate) use text::signatures::gpu;
pub use text::{Bands, NearPair, NearTexts, NoTexts, Parts, Shelf, ShelvedTexts, Shingles, TextOptions, TextSets, Unit, near_texts};
pub use texts::Texts;

use compare::Comparison;
use group::{Apart, Link, Linkage};
use identify::Identified;
use quality::{Judged, Shares};
use review::{Looked, Review};
use rivals::Rivals;
use weigh::{Chance, Pattern, Weights};

/// What is asked.
#[derive(Debug, Clone)]
pub struct DedupeOptions {
    /// Whether only records of different sources can match.
    pub crosses: bool,
    /// Whether a source holds each thing once; found out where absent. Of use with `crosses` alone.
    pub is_clean: Option<bool>,
    /// Probability from which records are one entity, 0 to 1.
    pub threshold: f64,
    /// How records become entities, unless two clean sources are paired one to one.
    pub grouping: Grouping,
    /// Candidates that are looked at: where more records share a key, each keeps those with which it shares most; where records are few, as
    /// many again at the most by all their words.
    pub most_pairs: u64,
    /// Candidates that there is room for: where there are more, nothing is resolved.
    pub room_pairs: u64,
    /// Pairs to draw for people to look at, about.
    pub n_review: usize,
    /// What people said of pairs of records: it does not change the entities, and says how good they are.
    pub answers: Vec<Answer>,
    /// Pairs of records to explain, whether they match or not.
    pub explain: Vec<(u32, u32)>,
    /// Seed of the pairs that are drawn.
    pub seed: u64,
}

/// A pair of records and how likely they are one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// A record.
    pub a: u32,
    /// The other one.
    pub b: u32,
    /// Probability of a match.
    pub probability: f64,
}

/// What a comparison was found to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Name of the column.
    pub column: String,
    /// What it holds.
    pub content: Content,
    /// Share of matching and of other pairs at each level, the best first, and its weight (bits).
    pub levels: Vec<[f64; 3]>,
    /// The column beside which it counts, where one explains it.
    pub beside: Option<String>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// Entity of every record, numbered from 0 in an order that the cells give.
    pub entity: Vec<u32>,
    /// How many entities there are.
    pub n_entities: usize,
    /// Pairs of 1 % probability or more, the likeliest first.
    pub pairs: Vec<Pair>,
    /// Identifier that makes each of these pairs one, by its place; none where cells were weighed.
    pub by: Vec<Option<usize>>,
    /// Values of identifiers that were not believed, in the order of the identifiers.
    pub doubted: Vec<Doubted>,
    /// What each comparison adds to the log odds of each of these pairs (bits), comparisons in the order of [`Resolution::comparisons`].
    pub adds: Vec<Vec<f32>>,
    /// What each compared column says.
    pub comparisons: Vec<Said>,
    /// Log odds (bits) that two records drawn at random match.
    pub prior: f64,
    /// Pairs that were looked at.
    pub n_candidates: u64,
    /// Records that share a key with more than this many were held against each other by finer keys alone.
    pub largest_block: usize,
    /// Pairs that share a key only with more records than that, by no finer key (an upper bound: some share several).
    pub n_unseen: u64,
    /// Whether each source was taken to hold each thing once; none where sources do not matter.
    pub is_clean: Option<bool>,
    /// How good the entities are likely to be.
    pub expected: Expected,
    /// Pairs by probability, inside entities and outside; those that have any.
    pub strata: Vec<Stratum>,
    /// Pairs to look at, drawn from the strata; every beginning of the list is drawn from all of them.
    pub drawn: Vec<Drawn>,
    /// Of every entity of two or more records the pair that holds it together, the weakest first.
    pub weakest: Vec<Weakest>,
    /// The pairs that were to be explained, in that order.
    pub explained: Vec<Explained>,
    /// What a person should know about the columns.
    pub notes: Vec<String>,
}

/// Why nothing was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// The work was to end.
    Stopped,
    /// No column says anything.
    NoColumn,
    /// So many candidates, of which either record of a pair may bring one up, are more than there is room for.
    TooManyPairs(u64),
}

/// Finds which records are one thing.
///
/// Records that look the same to every column and have no `id` to tell them apart may be exchanged for each other by another order.
///
/// # Errors
/// Where the work was stopped, no column says anything, or there is no room for the candidates.
pub fn dedupe(records: &Records, options: &DedupeOptions, stopped: &(dyn Fn() -> bool + Sync)) -> Result<Resolution, Unresolved> {
    let order = records.canonical_order();
    let (shaped, notes) = shape::shaped(records.ordered(&order).with_exact_identifiers(), options.crosses);
    let work = Work::of(&shaped, options, stopped)?;
    let place = if options.answers.is_empty() && options.explain.is_empty() { Vec::new() } else { places(&order) };
    let at = |row: u32| place[row as usize];
    let answers: Vec<Answer> = options.answers.iter().map(|answer| Answer { a: at(answer.a), b: at(answer.b), ..*answer }).collect();
    let found = work.resolve(options, &answers, stopped).ok_or(Unresolved::Stopped)?;
    let (numbers, n_entities) = group::numbered(&found.entity);
    let mut entity = vec![0; order.len()];
    order.iter().zip(numbers).for_each(|(row, number)| entity[*row as usize] = number);
    let ends = |a: u32, b: u32| {
        let (a, b) = (order[a as usize], order[b as usize]);
        (a.min(b), a.max(b))
    };
    let back = |pair: &Scored| {
        let (a, b) = ends(pair.a, pair.b);
        Pair { a, b, probability: weigh::probability(pair.log_odds) }
    };
    let back_drawn = |pair: Drawn| {
        let (a, b) = ends(pair.a, pair.b);
        Drawn { a, b, ..pair }
    };
    let back_weakest = |pair: Weakest| {
        let (a, b) = ends(pair.a, pair.b);
        Weakest { a, b, ..pair }
    };
    let asked = |a: u32, b: u32| {
        let is_turned = at(a) > at(b);
        let mut explained = explain::explained(&work, &found.weights, (at(a), at(b)));
        if let Some(identified) = &found.identified {
            explained.by = identified.by(at(a), at(b));
            explained.probability = explained.probability.max(identified.believed(at(a), at(b)));
        }
        explained.parts.iter_mut().filter(|_| is_turned).for_each(|part| part.cells.reverse());
        explained
    };
    let pairs = best_first(&found.scored, LEAST_SHOWN);
    let by = |pair: &&Scored| found.identified.as_ref().and_then(|identified| identified.by(pair.a, pair.b));
    let by = pairs.iter().map(by).collect();
    let back_doubted = |doubted: &Doubted| Doubted { example: ends(doubted.example.0, doubted.example.1), ..doubted.clone() };
    let doubted = found.identified.iter().flat_map(|identified| &identified.doubted).map(back_doubted).collect();
    let adds_of = |at: usize| {
        let adds = |pair: &&Scored| found.weights.adds(at, &shaped, &work.comparisons, pair.pattern, (pair.a, pair.b)) as f32;
        pairs.par_iter().map(adds).collect()
    };
    let adds = (0..work.comparisons.len()).map(adds_of).collect();
    Ok(Resolution {
        entity,
        n_entities,
        pairs: pairs.into_par_iter().map(back).collect(),
        by,
        doubted,
        adds,
        comparisons: found.weights.said(&shaped, &work.comparisons),
        prior: found.weights.prior / std::f64::consts::LN_2,
        n_candidates: work.pairs.len() as u64,
        largest_block: work.largest_block,
        n_unseen: work.n_unseen,
        is_clean: found.is_clean,
        expected: found.expected,
        strata: found.review.strata,
        drawn: found.review.drawn.into_iter().map(back_drawn).collect(),
        weakest: found.weakest.into_iter().map(back_weakest).collect(),
        explained: options.explain.iter().map(|(a, b)| Explained { a: *a, b: *b, ..asked(*a, *b) }).collect(),
        notes,
    })
}

/// Returns where every row stands in an order.
fn places(order: &[u32]) -> Vec<u32> {
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, row)| place[*row as usize] = at as u32);
    place
}

/// Probability from which a pair is told.
const LEAST_SHOWN: f64 = 0.01;

/// Pairs whose cells are compared by one thread at a time.
const PAIRS_AT_ONCE: usize = 1_024;

/// A pair with its log odds.
#[derive(Debug, Clone, Copy)]
struct Scored {
    a: u32,
    b: u32,
    pattern: Pattern,
    log_odds: f64,
}

/// Log odds of two records.
type Score<'a> = dyn Fn(u32, u32) -> f64 + Sync + 'a;

/// The candidates and what they show.
struct Work<'a> {
    records: &'a Records,
    comparisons: Vec<Comparison>,
    pairs: Vec<(u32, u32)>,
    patterns: Vec<Pattern>,
    largest_block: usize,
    n_unseen: u64,
}

/// A fitted model and its entities.
struct Found {
    weights: Weights,
    scored: Vec<Scored>,
    entity: Vec<u32>,
    identified: Option<Identified>,
    is_clean: Option<bool>,
    expected: Expected,
    review: Review,
    weakest: Vec<Weakest>,
}

impl<'a> Work<'a> {
    fn of(records: &'a Records, options: &DedupeOptions, stopped: &(dyn Fn() -> bool + Sync)) -> Result<Self, Unresolved> {
        /// Neighbours of a record by all its words that are looked at too, where it may have as many.
        const N_NEAREST: usize = 10;
        /// Letters of all records beyond which that takes too long. Whole words in common are keys whatever the size.
        const MOST_LETTERS: usize = 6_000_000;
        if stopped() {
            return Err(Unresolved::Stopped);
        }
        if records.columns.is_empty() {
            return Err(Unresolved::NoColumn);
        }
        let is_pair = |a: u32, b: u32| !options.crosses || records.source[a as usize] != records.source[b as usize];
        let candidates = block::candidates(records, &is_pair, options.most_pairs, options.room_pairs);
        let candidates = candidates.map_err(Unresolved::TooManyPairs)?;
        let mut pairs = candidates.pairs;
        let letters =
            |column: &RecordColumn| column.texts.iter().zip(&*column.counts).map(|(text, n)| text.len() * *n as usize).sum::<usize>();
        let is_small = records.columns.iter().map(letters).sum::<usize>() <= MOST_LETTERS;
        if let Some(all) = is_small.then(|| shape::all_words(&records.columns)).flatten().filter(|_| !stopped()) {
            let n_nearest = usize::try_from(options.most_pairs / records.len().max(1) as u64).unwrap_or(usize::MAX).clamp(1, N_NEAREST);
            pairs.extend(bags::Bags::of(&all).nearest(&all.codes, n_nearest, &is_pair));
            pairs.par_sort_unstable();
            pairs.dedup();
        }
        if pairs.len() as u64 > options.room_pairs {
            return Err(Unresolved::TooManyPairs(pairs.len() as u64));
        }
        let comparisons = (0..records.columns.len()).take(weigh::MOST_COLUMNS).map(|column| Comparison::of(records, column)).collect();
        let mut work = Self {
            records,
            comparisons,
            pairs,
            patterns: Vec::new(),
            largest_block: candidates.largest_block,
            n_unseen: candidates.n_unseen,
        };
        if stopped() {
            return Err(Unresolved::Stopped);
        }
        work.patterns = work.pairs.par_chunks(PAIRS_AT_ONCE).flat_map_iter(|pairs| work.patterns_of(pairs)).collect();
        if stopped() { Err(Unresolved::Stopped) } else { Ok(work) }
    }

    fn pattern(&self, a: u32, b: u32) -> Pattern {
        let level = |comparison: &Comparison| {
            let column = &self.records.columns[comparison.column];
            comparison.level(column, column.codes[a as usize], column.codes[b as usize])
        };
        Pattern::of(self.comparisons.iter().map(level))
    }

    fn patterns_of(&self, pairs: &[(u32, u32)]) -> Vec<Pattern> {
        let mut patterns = vec![Pattern::default(); pairs.len()];
        let mut levels = Vec::with_capacity(pairs.len());
        for (at, comparison) in self.comparisons.iter().enumerate() {
            levels.clear();
            comparison.levels(&self.records.columns[comparison.column], pairs, &mut levels);
            patterns.iter_mut().zip(&levels).for_each(|(pattern, level)| pattern.set(at, *level));
        }
        patterns
    }

    /// Returns the pattern of a pair: known where it is a candidate.
    fn pattern_of(&self, a: u32, b: u32) -> Pattern {
        self.pairs.binary_search(&(a, b)).map_or_else(|_| self.pattern(a, b), |at| self.patterns[at])
    }

    fn resolve(&self, options: &DedupeOptions, answers: &[Answer], stopped: &(dyn Fn() -> bool + Sync)) -> Option<Found> {
        let is_clean = options.crosses.then(|| options.is_clean.unwrap_or_else(|| self.is_clean()));
        let is_clean_pair = is_clean == Some(true) && self.records.n_sources == 2;
        let weights = self.fit(options, is_clean_pair);
        if stopped() {
            return None;
        }
        let of_pair = |(&(a, b), &pattern): (&(u32, u32), &Pattern)| {
            let may_be_held = weights.of_pair_at_most(self.records, &self.comparisons, pattern, (a, b)) > LEAST_HELD;
            let log_odds = may_be_held.then(|| weights.of_pair(self.records, &self.comparisons, pattern, (a, b)))?;
            (log_odds > LEAST_HELD).then_some(Scored { a, b, pattern, log_odds })
        };
        let mut scored: Vec<Scored> = self.pairs.par_iter().zip(&self.patterns).filter_map(of_pair).collect();
        let clean = (is_clean == Some(true)).then_some(&*self.records.source);
        let identified = (!self.records.identifiers.is_empty()).then(|| self.identify(&weights, clean));
        if let Some(identified) = &identified {
            scored = self.believed(scored, identified, &weights);
        }
        let own = |a: u32, b: u32| match scored.binary_search_by_key(&(a, b), |pair| (pair.a, pair.b)) {
            Ok(at) => scored[at].log_odds,
            Err(_) => weights.of_pair(self.records, &self.comparisons, self.pattern_of(a, b), (a, b)),
        };
        let score = |a: u32, b: u32| identified.as_ref().map_or_else(|| own(a, b), |identified| identified.score((a, b), self, &weights));
        let n = self.records.len();
        let linkage =
            Linkage { least: tempered(LEAST_LINKED), cut: options.threshold, apart: None, closeness: None, grouping: options.grouping };
        let entity = if is_clean_pair {
            let likely = best_first(&scored, options.threshold);
            let links = identified.iter().flat_map(|identified| identified.links.iter().map(|(a, b, _)| (*a, *b)));
            group::one_to_one(n, links.chain(likely.iter().map(|pair| (pair.a, pair.b))))
        } else if let Some(identified) = &identified {
            let closeness = |one: u32, other: u32| tempered(identified.between((one, other), self, &weights));
            let joined = identified.joined(&scored);
            let links: Vec<Link> = joined.par_iter().map(|&(a, b)| Link { a, b, closeness: closeness(a, b) }).collect();
            let apart = |one: u32, other: u32| identified.share_a_source(one, other);
            let apart: Option<&Apart<'_>> = clean.is_some().then_some(&apart);
            let of_group = group::linked(identified.n_groups(), &links, Linkage { apart, closeness: Some(&closeness), ..linkage });
            identified.group.iter().map(|group| identified.first[of_group[*group as usize] as usize]).collect()
        } else {
            let links: Vec<Link> =
                scored.par_iter().map(|pair| Link { a: pair.a, b: pair.b, closeness: tempered(pair.log_odds) }).collect();
            let closeness = |a: u32, b: u32| tempered(own(a, b));
            let apart = clean.map(|source| move |a: u32, b: u32| source[a as usize] == source[b as usize]);
            let apart = apart.as_ref().map(|apart| apart as &Apart<'_>);
            group::linked(n, &links, Linkage { apart, closeness: Some(&closeness), ..linkage })
        };
        let unscored = quality::unscored(&entity, &scored, &score);
        let shares = Shares::of(n, &scored, is_clean_pair);
        let judged = Judged::of(&entity, &scored, &unscored, &shares, self.records, self.largest_block);
        let looked = Looked { entity: &entity, scored: &scored, unscored: &unscored, shares: &shares };
        let review = looked.review(&judged, options.n_review, answers, options.seed);
        let expected = review.expected.unwrap_or_else(|| judged.expected());
        let weakest = explain::weakest(&entity, &scored, &unscored);
        Some(Found { weights, scored, entity, identified, is_clean, expected, review, weakest })
    }

    /// Returns the scored pairs as likely as identifiers make them, and with the pairs that a value makes one.
    fn believed(&self, mut scored: Vec<Scored>, identified: &Identified, weights: &Weights) -> Vec<Scored> {
        let is_known = |(a, b, _): &&(u32, u32, usize)| scored.binary_search_by_key(&(*a, *b), |pair| (pair.a, pair.b)).is_ok();
        let unknown: Vec<&(u32, u32, usize)> = identified.links.iter().filter(|link| !is_known(link)).collect();
        let of_link = |&&(a, b, _): &&(u32, u32, usize)| {
            let pattern = self.pattern_of(a, b);
            Scored { a, b, pattern, log_odds: 0.0 }
        };
        scored.extend(unknown.iter().map(of_link).collect::<Vec<Scored>>());
        scored.par_sort_unstable_by_key(|pair| (pair.a, pair.b));
        scored.par_iter_mut().for_each(|pair| pair.log_odds = identified.score((pair.a, pair.b), self, weights));
        scored
    }

    fn fit(&self, options: &DedupeOptions, has_rivals: bool) -> Weights {
        let mut sorted = self.patterns.clone();
        sorted.par_sort_unstable();
        let counts: Vec<(Pattern, u64)> = sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect();
        drop(sorted);
        let place = |pattern: &Pattern| counts.binary_search_by_key(pattern, |(pattern, _)| *pattern).expect("every pattern is counted");
        let pattern_of: Vec<u32> =
            if has_rivals { self.patterns.par_iter().map(|pattern| place(pattern) as u32).collect() } else { Vec::new() };
        let n_of = [0, 1].map(|source| self.records.source.iter().filter(|of| **of == source).count() as f64);
        let rivals = Rivals { pairs: &self.pairs, pattern_of: &pattern_of, n_records: self.records.len(), n_of };
        let chance = Chance::of(self.records, &self.comparisons, &counts, options.crosses, options.seed);
        // A record in two is where the fit begins; where it ends does not hang on it.
        let expected = self.records.len() as f64 / 2.0;
        let mut weights = weigh::fit(&self.comparisons, &chance, &counts, has_rivals.then_some(&rivals), expected);
        weigh::weigh_texts(&mut weights, self.records, &self.comparisons, &self.pairs, &self.patterns);
        weights
    }

    /// Says whether hardly any record has a copy in its own source.
    ///
    /// Copies with errors do not tell a source that holds things twice from one that holds variants of a product: both were tried on labelled
    /// sets, and look the same. That is for the user to say.
    fn is_clean(&self) -> bool {
        /// Share of records that may have a copy.
        const MOST: f64 = 0.05;
        let cells = |record: u32| {
            let codes = self.records.columns.iter().map(move |column| column.codes[record as usize]);
            (self.records.source[record as usize], codes)
        };
        let is_copy = |one: u32, other: u32| {
            let ((source, codes), (beside, others)) = (cells(one), cells(other));
            source == beside && codes.eq(others)
        };
        // Records are in the order of their cells: copies lie side by side.
        let n_copies = (1..self.records.len() as u32).filter(|record| is_copy(record - 1, *record)).count();
        n_copies as f64 <= MOST * self.records.len() as f64
    }
}

/// Returns the pairs that are at least so likely, the likeliest first.
fn best_first(scored: &[Scored], least: f64) -> Vec<&Scored> {
    let mut pairs: Vec<&Scored> = scored.iter().filter(|pair| weigh::probability(pair.log_odds) >= least).collect();
    pairs.par_sort_by(|one, other| other.log_odds.total_cmp(&one.log_odds).then((one.a, one.b).cmp(&(other.a, other.b))));
    pairs
}

/// Probability of a third of the log odds: most pairs are certain, and means of 1 and 0 tie; what is less certain then goes last. Half is where
/// it was.
fn tempered(log_odds: f64) -> f64 {
    weigh::probability(log_odds / 3.0)
}

/// Log odds from which a pair holds a component together: a probability of 0.3.
const LEAST_LINKED: f64 = -0.847_297_860_387_203_6;
/// Log odds from which a candidate is kept.
const LEAST_HELD: f64 = -7.0;
