//! What each level of each comparison is worth: the Fellegi-Sunter model, fitted without labels over all pairs there are.
//!
//! Model    log odds of a match = log prior odds + sum over columns of log m(level) / u(level) (Fellegi and Sunter 1969)
//! Fit      expectation-maximisation over distinct patterns of levels (Winkler 1988). Pairs that were never formed count as differing ones:
//!          `u` is what all pairs show less what the matches show, so that blocking does not bend it, and many duplicates do not either.
//! Names    where two cells are equal, `u` is the frequency of that very text (Newcombe and Kennedy 1962)
//! Guard    a fit that took something else for matches, neighbours say, where true ones are few: columns that say more than half of all there is
//!          differ in most of its matches. It is fitted again, and pairs whose cells say less than half of what equal ones would (the log of how
//!          many random pairs are as alike) cannot match while it is
//! Order    a better level never weighs less than a worse one: levels that would are one (pool adjacent violators)

use std::f64::consts::LN_2;

use rayon::prelude::*;

use super::compare::{ABSENT, Comparison};
use super::records::{Content, MISSING, Records};
use super::rivals::Rivals;
use super::{PAIRS_AT_ONCE, Said};
use crate::stats::{Purpose, Stream};

/// Bits of a level in a pattern.
const BITS: u32 = 3;
/// Columns of a pattern.
pub(super) const MOST_COLUMNS: usize = 21;

/// Levels of all comparisons of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern(u64);

impl Pattern {
    pub(super) fn of(levels: impl Iterator<Item = u8>) -> Self {
        let mut pattern = Self::default();
        levels.enumerate().for_each(|(at, level)| pattern.set(at, level));
        pattern
    }

    /// Sets a level that is not set yet.
    pub(super) const fn set(&mut self, comparison: usize, level: u8) {
        self.0 |= (level as u64) << (BITS * comparison as u32);
    }

    pub(super) const fn level(self, comparison: usize) -> u8 {
        (self.0 >> (BITS * comparison as u32)) as u8 & 7
    }
}

/// The fitted model.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// Log of prior odds that two records drawn at random match.
    pub(super) prior: f64,
    /// Log of m/u by comparison and level.
    pub(super) levels: Vec<Vec<f64>>,
    pub(super) m: Vec<Vec<f64>>,
    pub(super) u: Vec<Vec<f64>>,
    /// Log of `u(equal)` over the frequency of every text, by comparison.
    pub(super) of_text: Vec<Vec<f64>>,
    /// Pairs that are expected to match, of those looked at.
    pub(super) n_matches: f64,
    pub(super) n_iterations: usize,
    /// The comparison that each depends on, and log m/u by that one's level and the own.
    pub(super) depends: Vec<Option<Dependence>>,
}

/// What a level is worth beside a level of another comparison.
#[derive(Debug, Clone)]
pub(super) struct Dependence {
    pub(super) on: usize,
    /// Log of m/u by level of the other and own level.
    levels: Vec<Vec<f64>>,
    /// Log of u(equal) by level of the other, over that of all pairs.
    rarity: Vec<f64>,
}

impl Weights {
    /// Returns the log odds of a pattern, texts taken as common as all.
    pub(super) fn of_pattern(&self, pattern: Pattern) -> f64 {
        self.prior + (0..self.levels.len()).filter_map(|at| self.beside(at, pattern).get(usize::from(pattern.level(at)))).sum::<f64>()
    }

    /// Returns the log odds of a pair.
    pub(super) fn of_pair(&self, records: &Records, comparisons: &[Comparison], pattern: Pattern, pair: (u32, u32)) -> f64 {
        let one = |(at, comparison): (usize, &Comparison)| self.of_cells(at, records, comparison, pattern, pair);
        self.prior + comparisons.iter().enumerate().map(one).sum::<f64>()
    }

    /// Returns what the log odds of a pair cannot exceed, without a look at its words: those add no more than one level up.
    pub(super) fn of_pair_at_most(&self, records: &Records, comparisons: &[Comparison], pattern: Pattern, pair: (u32, u32)) -> f64 {
        /// Beyond what rounding does.
        const SLACK: f64 = 1e-6;
        let one = |(at, comparison): (usize, &Comparison)| {
            let level = usize::from(pattern.level(at));
            if comparison.content == Content::Words && level > 0 {
                self.beside(at, pattern).get(level - 1).filter(|_| level < usize::from(ABSENT)).copied().unwrap_or_default()
            } else {
                self.of_cells(at, records, comparison, pattern, pair)
            }
        };
        self.prior + comparisons.iter().enumerate().map(one).sum::<f64>() + SLACK
    }

    /// Returns what a comparison adds (bits).
    pub(super) fn adds(&self, at: usize, records: &Records, comparisons: &[Comparison], pattern: Pattern, pair: (u32, u32)) -> f64 {
        self.of_cells(at, records, &comparisons[at], pattern, pair) / LN_2
    }

    /// Returns what one comparison adds: of equal texts more where they are rare, of words as much as their cosine lies between two levels.
    pub(super) fn of_cells(&self, at: usize, records: &Records, comparison: &Comparison, pattern: Pattern, pair: (u32, u32)) -> f64 {
        let level = usize::from(pattern.level(at));
        let Some(&weight) = self.beside(at, pattern).get(level) else { return 0.0 };
        let codes = &records.columns[comparison.column].codes;
        let (a, b) = (codes[pair.0 as usize], codes[pair.1 as usize]);
        if level == 0 {
            // What equality of the other column explains is not rare.
            let other = self.depends[at].as_ref().and_then(|other| other.rarity.get(usize::from(pattern.level(other.on))));
            return weight + self.of_text[at][a as usize] * other.copied().unwrap_or(1.0);
        }
        let Some(cosine) = comparison.cosine(a, b) else { return weight };
        let (upper, share) = Comparison::between(cosine);
        let weights = self.beside(at, pattern);
        weights[upper] + share * (weights[upper + 1] - weights[upper])
    }

    /// Returns the weights of a comparison beside the level of the one that it depends on.
    fn beside(&self, at: usize, pattern: Pattern) -> &[f64] {
        let other = self.depends[at].as_ref().and_then(|other| other.levels.get(usize::from(pattern.level(other.on))));
        other.unwrap_or(&self.levels[at])
    }

    /// Returns what each comparison was found to say.
    pub(super) fn said(&self, records: &Records, comparisons: &[Comparison]) -> Vec<Said> {
        let name = |comparison: &Comparison| records.columns[comparison.column].name.clone();
        let one = |(at, comparison): (usize, &Comparison)| {
            let levels = self.m[at].iter().zip(&self.u[at]).zip(&self.levels[at]);
            Said {
                column: name(comparison),
                content: comparison.content,
                levels: levels.map(|((m, u), weight)| [*m, *u, weight / LN_2]).collect(),
                beside: self.depends[at].as_ref().map(|other| name(&comparisons[other.on])),
            }
        };
        comparisons.iter().enumerate().map(one).collect()
    }
}

/// What random pairs show.
pub(super) struct Chance {
    /// Pairs of records that may match.
    n_pairs: f64,
    /// Pairs of which both have a cell, by comparison.
    n_both: Vec<f64>,
    /// Share of these at each level, by comparison.
    share: Vec<Vec<f64>>,
}

/// Pairs that are drawn to see how alike differing cells are.
const N_DRAWN: u64 = 1_000_000;
/// Records of which all pairs are seen instead.
const ALL_DRAWN: usize = 1_400;
/// Drawn pairs at a level from which their share is taken.
const FEW_DRAWN: f64 = 50.0;

/// Returns all pairs of few records, and drawn ones of many.
fn pairs_to_see(n: u32, seed: u64) -> Box<dyn Iterator<Item = (u32, u32)>> {
    if n as usize <= ALL_DRAWN {
        return Box::new((0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b))));
    }
    let mut stream = Stream::new(seed, Purpose::Pairs, 0, 0);
    let mut draw = move || ((u64::from(stream.word()) * u64::from(n)) >> 32) as u32;
    Box::new((0..N_DRAWN).map(move |_| (draw(), draw())))
}

impl Chance {
    /// Counts equal cells in all pairs, draws pairs for the other levels, and counts candidates at those that are seldom drawn.
    pub(super) fn of(records: &Records, comparisons: &[Comparison], patterns: &[(Pattern, u64)], crosses: bool, seed: u64) -> Self {
        let may_match = |a: u32, b: u32| a != b && (!crosses || records.source[a as usize] != records.source[b as usize]);
        let drawn: Vec<(u32, u32)> = pairs_to_see(records.len() as u32, seed).filter(|(a, b)| may_match(*a, *b)).collect();
        let least_drawn = if records.len() <= ALL_DRAWN { 0.0 } else { FEW_DRAWN };
        let squares = |counts: &mut dyn Iterator<Item = u64>| counts.map(|count| count * count).sum::<u64>() as f64;
        // Records by source, of those that say something.
        let by_source = |says: &dyn Fn(usize) -> bool| {
            let mut counts = vec![0_u64; records.n_sources];
            records.source.iter().enumerate().filter(|(row, _)| says(*row)).for_each(|(_, source)| counts[usize::from(*source)] += 1);
            counts
        };
        let pairs_of = |counts: &[u64]| {
            let all = counts.iter().sum::<u64>() as f64;
            if crosses { (all * all - squares(&mut counts.iter().copied())) / 2.0 } else { all * (all - 1.0) / 2.0 }
        };
        let all = by_source(&|_| true);
        let of_comparison = |(at, comparison): (usize, &Comparison)| {
            let column = &records.columns[comparison.column];
            let n_both = pairs_of(&by_source(&|row| column.codes[row] != MISSING));
            let same_text = squares(&mut column.counts.iter().map(|count| u64::from(*count)));
            let n_equal = if crosses {
                let cells = column.codes.iter().zip(&records.source).filter(|(code, _)| **code != MISSING);
                let mut cells: Vec<u64> = cells.map(|(code, source)| u64::from(*code) << 16 | u64::from(*source)).collect();
                cells.par_sort_unstable();
                (same_text - squares(&mut cells.chunk_by(|one, other| one == other).map(|same| same.len() as u64))) / 2.0
            } else {
                (same_text - column.n_present() as f64) / 2.0
            };
            let mut at_level = vec![0.5; comparison.n_levels()];
            let of_part = |pairs: &[(u32, u32)]| {
                let mut levels = Vec::with_capacity(pairs.len());
                comparison.levels(column, pairs, &mut levels);
                levels
            };
            let levels: Vec<u8> = drawn.par_chunks(PAIRS_AT_ONCE).flat_map_iter(of_part).collect();
            for level in levels {
                if level != 0 && level != ABSENT {
                    at_level[usize::from(level)] += 1.0;
                }
            }
            at_level[0] = 0.0;
            let equal = n_equal / n_both.max(1.0);
            let n_differing: f64 = at_level.iter().sum();
            let share = |count: &f64| (1.0 - equal) * count / n_differing;
            let mut shares: Vec<f64> = at_level.iter().map(share).collect();
            shares[0] = equal;
            // Where hardly any drawn pair lies, nearly all pairs of the level are candidates, and those are counted.
            for level in (1..shares.len()).filter(|level| at_level[*level] < least_drawn) {
                let is_here = |(pattern, _): &&(Pattern, u64)| usize::from(pattern.level(at)) == level;
                let n_seen: u64 = patterns.iter().filter(is_here).map(|(_, count)| count).sum();
                shares[level] = (n_seen as f64 + 0.5) / n_both.max(1.0);
            }
            (n_both, shares)
        };
        let (n_both, share) = comparisons.iter().enumerate().map(of_comparison).unzip();
        Self { n_pairs: pairs_of(&all), n_both, share }
    }
}

impl Chance {
    /// Returns what it says that two cells are as alike as a level, or more (nats); where no two cells are, as if one pair were.
    fn says(&self, at: usize, level: usize) -> f64 {
        let share: f64 = self.share[at][..=level].iter().sum();
        -share.clamp(1.0 / (self.n_both[at] + 1.0), 1.0).ln()
    }

    /// Returns what a pair's cells say, as a share of what equal ones would; 0 where it has none.
    fn agree_in(&self, pattern: Pattern) -> f64 {
        let (mut agree, mut all) = (0.0, 0.0);
        for at in 0..self.share.len() {
            let level = usize::from(pattern.level(at));
            if level < self.share[at].len() {
                all += self.says(at, 0);
                agree += self.says(at, level);
            }
        }
        if all > 0.0 { agree / all } else { 0.0 }
    }
}

#[cfg(test)]
impl Chance {
    /// What all pairs show, counted one by one.
    pub(super) fn counted(patterns: &[(Pattern, u64)], comparisons: &[Comparison]) -> Self {
        let n_pairs: u64 = patterns.iter().map(|(_, count)| count).sum();
        let of_comparison = |(at, comparison): (usize, &Comparison)| {
            let mut counts = vec![0.0; comparison.n_levels()];
            for (pattern, count) in patterns {
                if let Some(sum) = counts.get_mut(usize::from(pattern.level(at))) {
                    *sum += *count as f64;
                }
            }
            let both: f64 = counts.iter().sum();
            (both, counts.into_iter().map(|count| count / both).collect())
        };
        let (n_both, share) = comparisons.iter().enumerate().map(of_comparison).unzip();
        Self { n_pairs: n_pairs as f64, n_both, share }
    }
}

/// Fits the model to the patterns of the candidates and how often each was seen.
pub(super) fn fit(
    comparisons: &[Comparison],
    chance: &Chance,
    patterns: &[(Pattern, u64)],
    rivals: Option<&Rivals<'_>>,
    expected: f64,
) -> Weights {
    let weights = fit_within(comparisons, chance, patterns, rivals, expected, &[]);
    if !weights.has_lost_matches(chance) {
        return weights;
    }
    let may_match: Vec<bool> = patterns.iter().map(|(pattern, _)| chance.agree_in(*pattern) >= 0.5).collect();
    fit_within(comparisons, chance, patterns, rivals, expected, &may_match)
}

/// Fits the model; a pattern of which `may_match` says no cannot match meanwhile. Where that is empty, all can.
fn fit_within(
    comparisons: &[Comparison],
    chance: &Chance,
    patterns: &[(Pattern, u64)],
    rivals: Option<&Rivals<'_>>,
    expected: f64,
    may_match: &[bool],
) -> Weights {
    let start = |comparison: &Comparison| {
        let n = comparison.n_levels();
        let shares: Vec<f64> = (0..n).map(|level| 0.5_f64.powi(level as i32 * 2)).collect();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / sum).collect::<Vec<f64>>()
    };
    let mut weights = Weights {
        prior: (expected / chance.n_pairs).ln(),
        levels: Vec::new(),
        m: comparisons.iter().map(start).collect(),
        u: chance.share.clone(),
        of_text: Vec::new(),
        n_matches: expected,
        n_iterations: 0,
        depends: vec![None; comparisons.len()],
    };
    weights.level_weights();
    weights.iterate(comparisons, chance, patterns, rivals, may_match);
    weights.depend(comparisons, chance, patterns, rivals, may_match);
    weights
}

impl Weights {
    /// Expectation and maximisation in turn.
    fn iterate(
        &mut self,
        comparisons: &[Comparison],
        chance: &Chance,
        patterns: &[(Pattern, u64)],
        rivals: Option<&Rivals<'_>>,
        may_match: &[bool],
    ) {
        const MOST_ITERATIONS: usize = 500;
        const CLOSE: f64 = 1e-7;
        for iteration in 1..=MOST_ITERATIONS {
            let expected = self.expected(patterns, rivals, may_match);
            let mut of_level: Vec<Vec<f64>> = comparisons.iter().map(|comparison| vec![0.0; comparison.n_levels()]).collect();
            for ((pattern, _), p) in patterns.iter().zip(&expected) {
                for (at, levels) in of_level.iter_mut().enumerate() {
                    if let Some(sum) = levels.get_mut(usize::from(pattern.level(at))) {
                        *sum += p;
                    }
                }
            }
            let (before, n_matches) = (self.n_matches, expected.iter().sum());
            self.n_iterations = iteration;
            self.learn(chance, &of_level, n_matches);
            if let Some(rivals) = rivals {
                self.prior = rivals.prior(n_matches);
            }
            if (n_matches - before).abs() <= CLOSE * before {
                break;
            }
        }
    }

    /// Returns how many pairs of each pattern match.
    fn expected(&self, patterns: &[(Pattern, u64)], rivals: Option<&Rivals<'_>>, may_match: &[bool]) -> Vec<f64> {
        let mut odds: Vec<f64> = patterns.iter().map(|(pattern, _)| libm::exp(self.of_pattern(*pattern).min(300.0))).collect();
        odds.iter_mut().zip(may_match).filter(|(_, may)| !**may).for_each(|(odds, _)| *odds = 0.0);
        match rivals {
            Some(rivals) => rivals.expected(&odds),
            None => odds.iter().zip(patterns).map(|(odds, (_, count))| *count as f64 * odds / (1.0 + odds)).collect(),
        }
    }

    /// Finds what each comparison depends on: the tree of largest mutual information among pairs that match and among pairs that do not
    /// (Chow and Liu 1968), and the weights beside it.
    fn depend(
        &mut self,
        comparisons: &[Comparison],
        chance: &Chance,
        patterns: &[(Pattern, u64)],
        rivals: Option<&Rivals<'_>>,
        may_match: &[bool],
    ) {
        let matching = self.expected(patterns, rivals, may_match);
        let n = comparisons.len();
        let mut links = Vec::new();
        for one in 0..n {
            for other in 0..one {
                let [of_matches, of_others] = joint(comparisons, patterns, &matching, one, other);
                links.push((information(&of_matches) + information(&of_others), one, other));
            }
        }
        links.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
        let mut tree: Vec<Vec<usize>> = vec![Vec::new(); n];
        let mut part: Vec<usize> = (0..n).collect();
        for (gain, one, other) in links {
            if gain > 0.0 && part[one] != part[other] {
                let (kept, gone) = (part[one], part[other]);
                part.iter_mut().filter(|part| **part == gone).for_each(|part| *part = kept);
                tree[one].push(other);
                tree[other].push(one);
            }
        }
        self.depends = vec![None; n];
        let mut is_seen = vec![false; n];
        // The comparison that tells most stands on its own.
        let worth = |at: usize| self.m[at].iter().zip(&self.u[at]).map(|(m, u)| (m - u) * (m / u).ln()).sum::<f64>();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|one, other| worth(*other).total_cmp(&worth(*one)).then(one.cmp(other)));
        for root in order {
            let mut ahead = vec![root];
            if std::mem::replace(&mut is_seen[root], true) {
                continue;
            }
            while let Some(at) = ahead.pop() {
                for &next in &tree[at] {
                    if !std::mem::replace(&mut is_seen[next], true) {
                        self.depends[next] = Some(self.dependence(comparisons, chance, patterns, &matching, next, at));
                        ahead.push(next);
                    }
                }
            }
        }
    }

    fn dependence(
        &self,
        comparisons: &[Comparison],
        chance: &Chance,
        patterns: &[(Pattern, u64)],
        matching: &[f64],
        at: usize,
        on: usize,
    ) -> Dependence {
        /// Pairs that what all pairs show counts for.
        const PRIOR: f64 = 20.0;
        /// Share of all pairs at a level that must have been looked at, to know what else they show.
        const LEAST_SEEN: f64 = 0.5;
        let [of_matches, of_others] = joint(comparisons, patterns, matching, at, on);
        let mut seen = vec![0.0; comparisons[on].n_levels()];
        for (pattern, count) in patterns {
            if let Some(seen) = seen.get_mut(usize::from(pattern.level(on))) {
                *seen += *count as f64;
            }
        }
        let (mut levels, mut rarity) = (Vec::new(), Vec::new());
        for of in 0..comparisons[on].n_levels() {
            let sums = |table: &Vec<Vec<f64>>| -> f64 { table.iter().map(|row| row[of]).sum() };
            let (n_matches, n_others) = (sums(&of_matches), sums(&of_others));
            let is_seen = seen[of] >= LEAST_SEEN * chance.share[on][of] * chance.n_both[on];
            let m: Vec<f64> =
                (0..comparisons[at].n_levels()).map(|own| (of_matches[own][of] + PRIOR * self.m[at][own]) / (n_matches + PRIOR)).collect();
            let u: Vec<f64> = (0..comparisons[at].n_levels())
                .map(|own| if is_seen { (of_others[own][of] + PRIOR * self.u[at][own]) / (n_others + PRIOR) } else { self.u[at][own] })
                .collect();
            levels.push(in_order(&m, &u));
            rarity.push((u[0].ln() / self.u[at][0].ln()).clamp(0.0, 1.0));
        }
        Dependence { on, levels, rarity }
    }
}

/// Counts pairs that match and pairs that do not by level of two comparisons.
fn joint(comparisons: &[Comparison], patterns: &[(Pattern, u64)], matching: &[f64], one: usize, other: usize) -> [Vec<Vec<f64>>; 2] {
    let empty = || vec![vec![0.0; comparisons[other].n_levels()]; comparisons[one].n_levels()];
    let (mut of_matches, mut of_others) = (empty(), empty());
    for ((pattern, count), matching) in patterns.iter().zip(matching) {
        let (own, of) = (usize::from(pattern.level(one)), usize::from(pattern.level(other)));
        if own < of_matches.len() && of < of_matches[0].len() {
            of_matches[own][of] += matching;
            of_others[own][of] += (*count as f64 - matching).max(0.0);
        }
    }
    [of_matches, of_others]
}

/// Mutual information of a table of counts, times the counts (nats).
fn information(table: &[Vec<f64>]) -> f64 {
    let rows: Vec<f64> = table.iter().map(|row| row.iter().sum()).collect();
    let columns: Vec<f64> = (0..table[0].len()).map(|at| table.iter().map(|row| row[at]).sum()).collect();
    let all: f64 = rows.iter().sum();
    let cell = |n: f64, row: f64, column: f64| if n > 0.0 { n * (n * all / (row * column)).ln() } else { 0.0 };
    table.iter().zip(&rows).map(|(cells, row)| cells.iter().zip(&columns).map(|(n, column)| cell(*n, *row, *column)).sum::<f64>()).sum()
}

/// Returns the probability of log odds.
pub(super) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

impl Weights {
    /// Says whether what it took for matches differs in most of what columns say.
    fn has_lost_matches(&self, chance: &Chance) -> bool {
        /// Share of the matches that may be quite different in a column.
        const MOST: f64 = 0.6;
        let says = |at: usize| chance.says(at, 0);
        let differs = |at: &usize| self.m[*at].last().is_some_and(|share| *share > MOST);
        let all: f64 = (0..self.m.len()).map(says).sum();
        2.0 * (0..self.m.len()).filter(differs).map(says).sum::<f64>() > all
    }

    fn learn(&mut self, chance: &Chance, of_level: &[Vec<f64>], n_matches: f64) {
        self.n_matches = n_matches;
        let n_matches = n_matches.max(1.0);
        self.prior = (n_matches / (chance.n_pairs - n_matches).max(1.0)).ln();
        for (at, sums) in of_level.iter().enumerate() {
            let n_levels = sums.len() as f64;
            let all: f64 = sums.iter().sum();
            for (level, sum) in sums.iter().enumerate() {
                // Half a pair at every level: none is impossible.
                self.m[at][level] = (sum + 0.5) / (all + 0.5 * n_levels);
                let shown = chance.n_both[at] * chance.share[at][level];
                let least = chance.share[at][level] * 0.001 + 0.5 / chance.n_both[at].max(1.0);
                self.u[at][level] = ((shown - sum) / (chance.n_both[at] - all).max(1.0)).max(least);
            }
        }
        self.level_weights();
    }

    /// Log of m/u, levels in order.
    fn level_weights(&mut self) {
        self.levels = self.m.iter().zip(&self.u).map(|(m, u)| in_order(m, u)).collect();
    }
}

/// Returns log m/u of levels, a better one never less than a worse one.
fn in_order(m: &[f64], u: &[f64]) -> Vec<f64> {
    // (m, u, levels) of runs of levels that are one, the best first.
    let mut runs: Vec<(f64, f64, usize)> = Vec::new();
    for (m, u) in m.iter().zip(u) {
        runs.push((*m, *u, 1));
        while let [.., (m_before, u_before, n_before), (m, u, n)] = runs[..] {
            if m_before * u >= m * u_before {
                break;
            }
            runs.truncate(runs.len() - 2);
            runs.push((m_before + m, u_before + u, n_before + n));
        }
    }
    runs.into_iter().flat_map(|(m, u, n)| std::iter::repeat_n((m / u).ln(), n)).collect()
}

/// Sets what equality of each text is worth beyond that of any text.
pub(super) fn weigh_texts(
    weights: &mut Weights,
    records: &Records,
    comparisons: &[Comparison],
    pairs: &[(u32, u32)],
    patterns: &[Pattern],
) {
    let probabilities: Vec<f64> = patterns.par_iter().map(|pattern| probability(weights.of_pattern(*pattern))).collect();
    weights.of_text = comparisons
        .iter()
        .enumerate()
        .map(|(at, comparison)| {
            let column = &records.columns[comparison.column];
            let mut matching = vec![0.0; column.texts.len()];
            for (pair, (pattern, probability)) in pairs.iter().zip(patterns.iter().zip(&probabilities)) {
                if pattern.level(at) == 0 {
                    matching[column.codes[pair.0 as usize] as usize] += probability;
                }
            }
            let n = column.n_present() as f64;
            let frequency = |count: u32, matching: f64| {
                let count = f64::from(count);
                // Records of other entities with this text, of all.
                let others = (count * (count - 1.0) - 2.0 * matching).max(0.0) / count;
                (others / n).max(1.0 / n)
            };
            let log_u = weights.u[at][0].ln();
            column.counts.iter().zip(matching).map(|(&count, matching)| log_u - frequency(count, matching).ln()).collect()
        })
        .collect();
}
