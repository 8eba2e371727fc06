//! Records that an identifier makes one before anything is weighed: a login, an address of mail, a device.
//!
//! ```text
//! value of an identifier -> its records -> believed, or not: generic, or shared by records that contradict each other
//! believed values -> groups (a union that contradicts itself is refused) -> closeness of groups -> entities
//! ```
//!
//! Contradiction  two records with one value whose other cells speak against a match by more than `CONTRADICTS`: what the fitted weights of all columns
//!                but identifiers add up to. Records that have no such cell in common neither agree nor contradict
//! Shared         more than one in `MOST_CONTRADICT` of the pairs that say anything contradict: an office, a family's tablet. The value then
//!                counts as any other cell does
//! Groups         count as one record each from then on: of every column that both have, what it adds is the mean over their records that have it.
//!                So a visit that shows nothing but a device goes with whoever the device belongs to
//! Order          identifiers in the order in which they are given, values in that of the alphabet

use std::collections::BTreeMap;

use super::group::root;
use super::records::{MISSING, RecordColumn};
use super::weigh::{Weights, probability};
use super::{Scored, Work};

/// Log odds that identifiers alone give two records of one group: 99 %.
const BELIEVED: f64 = 4.595_119_850_134_59;

/// What other cells must add up to (nats) for two records with one identifier to contradict each other.
const CONTRADICTS: f64 = -3.0;

/// One in so many pairs may contradict before a value is taken to be shared.
const MOST_CONTRADICT: usize = 10;

/// Records of one value that are held against each other, different ones.
const MOST_HELD: usize = 100;

/// Records that speak for a group.
const MOST_SPEAKERS: usize = 10;

/// Why a value of an identifier was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A word for nothing, or an address that is nobody's own.
    Generic,
    /// Its records contradict each other.
    Shared,
    /// It would make two groups one that contradict each other, or that hold records of one clean source.
    Apart,
}

impl Doubt {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Shared => "shared",
            Self::Apart => "contradicts",
        }
    }
}

/// A value that was not believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubted {
    /// Place of the identifier among those given.
    pub identifier: usize,
    /// The value.
    pub value: String,
    /// Why.
    pub doubt: Doubt,
    /// Records that have it.
    pub n_records: u64,
    /// Pairs of different ones that say something of each other.
    pub n_held: u64,
    /// Pairs that contradict.
    pub n_contradict: u64,
    /// Two records that contradict, or that are the first with the value.
    pub example: (u32, u32),
}

/// Groups of records that identifiers make one.
pub(super) struct Identified {
    /// Group of every record, numbered by first record.
    pub(super) group: Vec<u32>,
    /// First record of every group.
    pub(super) first: Vec<u32>,
    /// Records that speak for every group: different ones, those with most cells first.
    speakers: Vec<Vec<u32>>,
    /// Sources of the records of every group, ascending; empty where sources do not matter.
    sources: Vec<Vec<u16>>,
    /// Whether each comparison is of an identifier.
    names_many: Vec<bool>,
    /// Pairs that a value makes one, ascending, and the identifier.
    pub(super) links: Vec<(u32, u32, usize)>,
    pub(super) doubted: Vec<Doubted>,
}

/// Groups under way.
struct Groups<'a> {
    parent: Vec<u32>,
    /// Of roots alone.
    speakers: BTreeMap<u32, Vec<u32>>,
    sources: Option<&'a [u16]>,
}

/// What two records say of each other, identifiers left out: none where they have no other cell in common.
type Evidence<'a> = dyn Fn(u32, u32) -> Option<f64> + 'a;

impl Work<'_> {
    fn is_identifier(&self, comparison: &super::Comparison) -> bool {
        self.records.is_identifier(&self.records.columns[comparison.column].name)
    }

    /// Returns what the cells of two records add up to (nats), without the prior and without identifiers: whoever has two devices is one person.
    fn evidence(&self, weights: &Weights, a: u32, b: u32) -> Option<f64> {
        let pair = (a.min(b), a.max(b));
        let pattern = self.pattern_of(pair.0, pair.1);
        let adds = |(at, comparison): (usize, &super::Comparison)| {
            let says = usize::from(pattern.level(at)) < comparison.n_levels() && !self.is_identifier(comparison);
            says.then(|| weights.of_cells(at, self.records, comparison, pattern, pair))
        };
        let said: Vec<f64> = self.comparisons.iter().enumerate().filter_map(adds).collect();
        (!said.is_empty()).then(|| said.iter().sum())
    }

    /// Groups the records by the identifiers; `clean` are the sources where each holds a thing once.
    pub(super) fn identify(&self, weights: &Weights, clean: Option<&[u16]>) -> Identified {
        let evidence = |a: u32, b: u32| self.evidence(weights, a, b);
        let n = self.records.len();
        let content = self.contents();
        let n_cells = |record: u32| self.records.columns.iter().filter(|column| column.codes[record as usize] != MISSING).count();
        let mut groups = Groups { parent: (0..n as u32).collect(), speakers: BTreeMap::new(), sources: clean };
        let (mut links, mut doubted) = (Vec::new(), Vec::new());
        for (at, identifier) in self.records.identifiers.iter().enumerate() {
            let mut of_value: Vec<(u32, u32)> =
                (0..n as u32).map(|record| (identifier.codes[record as usize], record)).filter(|(code, _)| *code != MISSING).collect();
            of_value.sort_unstable();
            for same in of_value.chunk_by(|one, other| one.0 == other.0).filter(|same| same.len() > 1) {
                let value = &identifier.texts[same[0].0 as usize];
                let records: Vec<u32> = same.iter().map(|(_, record)| *record).collect();
                let doubt = |doubt: Doubt, held: &Held, example: (u32, u32)| Doubted {
                    identifier: at,
                    value: value.to_owned(),
                    doubt,
                    n_records: records.len() as u64,
                    n_held: held.n as u64,
                    n_contradict: held.n_contradict as u64,
                    example,
                };
                let held = Held::of(&different(&records, &content), &evidence);
                let example = held.example.unwrap_or((records[0], records[1]));
                if is_generic(value) {
                    doubted.push(doubt(Doubt::Generic, &held, example));
                } else if held.n_contradict * MOST_CONTRADICT > held.n {
                    doubted.push(doubt(Doubt::Shared, &held, example));
                } else if let Some(example) = groups.unite(&records, &content, &n_cells, &evidence, |a, b| links.push((a, b, at))) {
                    doubted.push(doubt(Doubt::Apart, &held, example));
                }
            }
        }
        links.sort_unstable();
        links.dedup_by_key(|(a, b, _)| (*a, *b));
        let names_many = self.comparisons.iter().map(|comparison| self.is_identifier(comparison)).collect();
        Identified { links, doubted, names_many, ..groups.finish() }
    }

    /// Numbers what the records hold. Records are in the order of their cells: those that hold the same lie side by side.
    fn contents(&self) -> Vec<u32> {
        let columns = || self.records.columns.iter().chain(&self.records.identifiers);
        let cells = |record: u32| columns().map(move |column: &RecordColumn| column.codes[record as usize]);
        let mut number = 0;
        (0..self.records.len() as u32)
            .map(|record| {
                number += u32::from(record > 0 && !cells(record - 1).eq(cells(record)));
                number
            })
            .collect()
    }
}

/// Returns a record of each content, `MOST_HELD` at most, evenly drawn.
fn different(records: &[u32], content: &[u32]) -> Vec<u32> {
    let mut firsts: Vec<u32> = records.to_vec();
    firsts.dedup_by_key(|record| content[*record as usize]);
    let n = firsts.len();
    if n <= MOST_HELD { firsts } else { (0..MOST_HELD).map(|at| firsts[at * n / MOST_HELD]).collect() }
}

/// What records say of each other.
struct Held {
    n: usize,
    n_contradict: usize,
    /// The pair that contradicts most.
    example: Option<(u32, u32)>,
}

impl Held {
    fn of(records: &[u32], evidence: &Evidence<'_>) -> Self {
        let pairs = records.iter().enumerate().flat_map(|(at, one)| records[at + 1..].iter().map(move |other| (*one, *other)));
        Self::over(pairs, evidence)
    }

    fn over(pairs: impl Iterator<Item = (u32, u32)>, evidence: &Evidence<'_>) -> Self {
        let mut held = Self { n: 0, n_contradict: 0, example: None };
        let mut most = CONTRADICTS;
        for (a, b) in pairs {
            let Some(says) = evidence(a, b) else { continue };
            held.n += 1;
            if says < CONTRADICTS {
                held.n_contradict += 1;
                if says < most {
                    (most, held.example) = (says, Some((a.min(b), a.max(b))));
                }
            }
        }
        held
    }
}

impl Groups<'_> {
    fn speakers_of(&self, root: u32) -> Vec<u32> {
        self.speakers.get(&root).cloned().unwrap_or_else(|| vec![root])
    }

    /// Makes records of one value one group, unless theirs contradict each other; returns two that do.
    fn unite(
        &mut self,
        records: &[u32],
        content: &[u32],
        n_cells: &dyn Fn(u32) -> usize,
        evidence: &Evidence<'_>,
        mut link: impl FnMut(u32, u32),
    ) -> Option<(u32, u32)> {
        let mut refused = None;
        let first = records[0];
        for &record in &records[1..] {
            let (one, other) = (root(&mut self.parent, first), root(&mut self.parent, record));
            if one == other {
                link(first, record);
                continue;
            }
            let (speakers, others) = (self.speakers_of(one), self.speakers_of(other));
            let pairs = speakers.iter().flat_map(|a| others.iter().map(move |b| (*a, *b)));
            let held = Held::over(pairs, evidence);
            if 2 * held.n_contradict > held.n || self.share_a_source(&speakers, &others) {
                refused = refused.or(held.example).or(Some((first, record)));
                continue;
            }
            let (kept, gone) = (one.min(other), one.max(other));
            self.parent[gone as usize] = kept;
            let mut all = [speakers, others].concat();
            all.sort_by_key(|record| (std::cmp::Reverse(n_cells(*record)), *record));
            // Those that say the same speak once; where a source holds each thing once, every source must be remembered.
            let mut seen = Vec::new();
            all.retain(|record| {
                let is_new = self.sources.is_some() || !seen.contains(&content[*record as usize]);
                seen.push(content[*record as usize]);
                is_new
            });
            if self.sources.is_none() {
                all.truncate(MOST_SPEAKERS);
            }
            self.speakers.remove(&gone);
            self.speakers.insert(kept, all);
            link(first, record);
        }
        refused
    }

    fn share_a_source(&self, one: &[u32], other: &[u32]) -> bool {
        self.sources.is_some_and(|source| one.iter().any(|a| other.iter().any(|b| source[*a as usize] == source[*b as usize])))
    }

    fn finish(mut self) -> Identified {
        let n = self.parent.len() as u32;
        let (mut group, mut first) = (vec![0; n as usize], Vec::new());
        for record in 0..n {
            let root = root(&mut self.parent, record);
            if root == record {
                group[record as usize] = first.len() as u32;
                first.push(record);
            } else {
                group[record as usize] = group[root as usize];
            }
        }
        let speakers: Vec<Vec<u32>> = first.iter().map(|root| self.speakers_of(*root)).collect();
        let sources_of = |speakers: &Vec<u32>| {
            let mut sources: Vec<u16> =
                self.sources.map_or(Vec::new(), |source| speakers.iter().map(|record| source[*record as usize]).collect());
            sources.sort_unstable();
            sources
        };
        let sources = speakers.iter().map(sources_of).collect();
        Identified { group, first, speakers, sources, names_many: Vec::new(), links: Vec::new(), doubted: Vec::new() }
    }
}

impl Identified {
    pub(super) const fn n_groups(&self) -> usize {
        self.first.len()
    }

    /// Says whether two groups hold records of one clean source.
    pub(super) fn share_a_source(&self, one: u32, other: u32) -> bool {
        self.sources[one as usize].iter().any(|source| self.sources[other as usize].binary_search(source).is_ok())
    }

    /// Returns the log odds of two groups, each taken as one record: the prior, and of every column what it adds on average over their speakers
    /// that both have a cell there.
    pub(super) fn between(&self, (one, other): (u32, u32), work: &Work<'_>, weights: &Weights) -> f64 {
        let (speakers, others) = (&self.speakers[one as usize], &self.speakers[other as usize]);
        let mut sums = vec![(0.0, 0_u32); work.comparisons.len()];
        for (&a, &b) in speakers.iter().flat_map(|a| others.iter().map(move |b| (a, b))) {
            let pair = (a.min(b), a.max(b));
            let pattern = work.pattern_of(pair.0, pair.1);
            for (at, comparison) in work.comparisons.iter().enumerate() {
                if usize::from(pattern.level(at)) < comparison.n_levels() {
                    sums[at].0 += weights.of_cells(at, work.records, comparison, pattern, pair);
                    sums[at].1 += 1;
                }
            }
        }
        let mean = |(at, (sum, n)): (usize, (f64, u32))| {
            let mean = if n > 0 { sum / f64::from(n) } else { 0.0 };
            // Another login, address or device is no sign of somebody else.
            if self.names_many[at] { mean.max(0.0) } else { mean }
        };
        weights.prior + sums.into_iter().enumerate().map(mean).sum::<f64>()
    }

    /// Returns the log odds of two records: of one group what identifiers make of them at the least, of two those of the groups.
    pub(super) fn score(&self, (a, b): (u32, u32), work: &Work<'_>, weights: &Weights) -> f64 {
        let groups = (self.group[a as usize], self.group[b as usize]);
        if groups.0 == groups.1 {
            return BELIEVED.max(weights.of_pair(work.records, &work.comparisons, work.pattern_of(a, b), (a, b)));
        }
        self.between(groups, work, weights)
    }

    /// Returns the probability that identifiers alone give two records.
    pub(super) fn believed(&self, a: u32, b: u32) -> f64 {
        if self.group[a as usize] == self.group[b as usize] { probability(BELIEVED) } else { 0.0 }
    }

    /// Returns the identifier that makes two records one.
    pub(super) fn by(&self, a: u32, b: u32) -> Option<usize> {
        let pair = (a.min(b), a.max(b));
        self.links.binary_search_by_key(&pair, |(a, b, _)| (*a, *b)).ok().map(|at| self.links[at].2)
    }

    /// Returns pairs of groups, each once, that a scored pair joins.
    pub(super) fn joined(&self, scored: &[Scored]) -> Vec<(u32, u32)> {
        let of = |record: u32| self.group[record as usize];
        let mut pairs: Vec<(u32, u32)> = scored
            .iter()
            .map(|pair| (of(pair.a).min(of(pair.b)), of(pair.a).max(of(pair.b))))
            .filter(|(one, other)| one != other)
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

/// Says whether a value names nobody: a word for nothing, one letter again and again, or the address of an office.
fn is_generic(value: &str) -> bool {
    const NOTHING: &[&str] = &[
        "",
        "-",
        "?",
        "n/a",
        "na",
        "nan",
        "nil",
        "no",
        "none",
        "null",
        "test",
        "undefined",
        "unknown",
        "anonymous",
        "guest",
        "unbekannt",
        "keine",
        "sconosciuto",
    ];
    const OFFICES: &[&str] = &[
        "admin",
        "billing",
        "buero",
        "contact",
        "hello",
        "help",
        "info",
        "kontakt",
        "mail",
        "marketing",
        "no-reply",
        "noreply",
        "office",
        "orders",
        "postmaster",
        "reception",
        "sales",
        "service",
        "support",
        "team",
        "ufficio",
        "webmaster",
    ];
    let mut letters = value.chars().filter(|letter| letter.is_alphanumeric());
    let first = letters.next();
    let is_one_letter = letters.all(|letter| Some(letter) == first);
    let is_office = value.split_once('@').is_some_and(|(name, _)| OFFICES.contains(&name));
    NOTHING.contains(&value) || is_one_letter || is_office
}

#[cfg(test)]
mod tests;
