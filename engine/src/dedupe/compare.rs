//! How alike two cells of a column are: levels, the best first.
//!
//! | content | 0 | 1 | 2 | 3 | 4 | 5, 6 |
//! |---|---|---|---|---|---|---|
//! | short text | equal | one edit, or the same words | Jaro-Winkler 0.88, or all words of one in the other | other | | |
//! | date | equal | one edit, or day and month swapped | two of year, month, day | same year | other | |
//! | number | equal | within 1 % | within 10 % | within 30 % | other | |
//! | words | equal | cosine 0.85 | 0.65 | 0.48 | 0.32 | 0.2, else other |
//!
//! Cosine of words: TF-IDF over the column's records (Salton and Buckley 1988) of words and of every three letters of a word, so that words
//! with an error still count; of long texts words alone.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::hash;
use super::records::{Content, MISSING, RecordColumn, Records, words};
use super::strings::{jaro_winkler, osa};

/// Level of a pair of which one lacks the cell.
pub(super) const ABSENT: u8 = 7;

/// Levels of words: the least cosine of each after the equal ones.
const COSINES: [f64; 5] = [0.85, 0.65, 0.48, 0.32, 0.2];

impl Content {
    /// Returns what a level means, in words.
    #[must_use]
    pub const fn level(self, level: usize) -> &'static str {
        const SHORT: [&str; 4] = ["equal", "one edit, or the same words", "Jaro-Winkler 0.88, or all words of one in the other", "other"];
        const DATE: [&str; 5] = ["equal", "one edit, or day and month swapped", "two of year, month and day", "same year", "other"];
        const NUMBER: [&str; 5] = ["equal", "within 1 %", "within 10 %", "within 30 %", "other"];
        const WORDS: [&str; 7] = ["equal", "cosine 0.85", "cosine 0.65", "cosine 0.48", "cosine 0.32", "cosine 0.2", "other"];
        match self {
            Self::Short => SHORT[level],
            Self::Date => DATE[level],
            Self::Number => NUMBER[level],
            Self::Words => WORDS[level],
        }
    }
}

/// A comparison of one column.
pub(super) struct Comparison {
    /// Which column.
    pub(super) column: usize,
    pub(super) content: Content,
    bags: Option<Bags>,
}

impl Comparison {
    pub(super) fn of(records: &Records, column: usize) -> Self {
        let content = records.columns[column].content;
        let bags = (content == Content::Words).then(|| Bags::of(&records.columns[column]));
        Self { column, content, bags }
    }

    pub(super) const fn n_levels(&self) -> usize {
        match self.content {
            Content::Short => 4,
            Content::Date | Content::Number => 5,
            Content::Words => 7,
        }
    }

    /// Returns the level of two different or equal texts of the column.
    pub(super) fn level(&self, column: &RecordColumn, a: u32, b: u32) -> u8 {
        if a == MISSING || b == MISSING {
            return ABSENT;
        }
        if a == b {
            return 0;
        }
        let (text_a, text_b) = (&*column.texts[a as usize], &*column.texts[b as usize]);
        match self.content {
            Content::Short => short(text_a, text_b),
            Content::Date => date(text_a, text_b),
            Content::Number => number(column.values[a as usize], column.values[b as usize]),
            Content::Words => {
                let bags = self.bags.as_ref().expect("a comparison of words has their bags");
                let cosine = bags.cosine(a, b);
                COSINES.iter().position(|least| cosine >= *least).map_or(6, |at| at as u8 + 1)
            }
        }
    }
}

impl Comparison {
    /// Returns the cosine of two different texts of words; none for what has no words.
    pub(super) fn cosine(&self, a: u32, b: u32) -> Option<f64> {
        let bags = self.bags.as_ref()?;
        (a != MISSING && b != MISSING && a != b).then(|| bags.cosine(a, b))
    }

    /// Returns between the middles of which two levels of words a cosine lies: the upper one, and how far down it is to the next.
    pub(super) fn between(cosine: f64) -> (usize, f64) {
        const N: usize = COSINES.len();
        let middle = |level: usize| match level {
            0 => 1.0,
            1 => f64::midpoint(1.0, COSINES[0]),
            _ if level <= N => f64::midpoint(COSINES[level - 2], COSINES[level - 1]),
            _ => f64::midpoint(COSINES[N - 1], 0.0),
        };
        let upper = (0..=N).rev().find(|level| middle(*level) >= cosine).unwrap_or(0);
        let (high, low) = (middle(upper), middle(upper + 1));
        (upper, ((high - cosine) / (high - low)).clamp(0.0, 1.0))
    }
}

fn short(a: &str, b: &str) -> u8 {
    let edits = osa(a.as_bytes(), b.as_bytes());
    if edits <= 1 && a.len().min(b.len()) >= 3 {
        return 1;
    }
    let in_both = words(a).filter(|word| words(b).any(|other| other == *word)).count();
    let (n_a, n_b) = (words(a).count(), words(b).count());
    if in_both == n_a && in_both == n_b {
        return 1;
    }
    if in_both > 0 && in_both == n_a.min(n_b) || jaro_winkler(a.as_bytes(), b.as_bytes()) >= 0.88 {
        return 2;
    }
    3
}

fn date(a: &str, b: &str) -> u8 {
    let parts = |text: &str| {
        let mut parts = words(text);
        [parts.next(), parts.next(), parts.next()].map(|part| part.unwrap_or_default().to_owned())
    };
    let ([year, month, day], [other_year, other_month, other_day]) = (parts(a), parts(b));
    let is_swapped = year == other_year && month == other_day && day == other_month;
    if is_swapped || osa(a.as_bytes(), b.as_bytes()) <= 1 {
        return 1;
    }
    let same = [year == other_year, month == other_month, day == other_day];
    match same.iter().filter(|same| **same).count() {
        2.. => 2,
        _ if same[0] => 3,
        _ => 4,
    }
}

fn number(a: f64, b: f64) -> u8 {
    let apart = (a - b).abs() / a.abs().max(b.abs());
    [0.01, 0.1, 0.3].iter().position(|most| apart <= *most).map_or(4, |at| at as u8 + 1)
}

/// What three letters weigh of what a word does; between 0.5 and 1 the sets that others labelled come out alike.
const OF_THREE: f64 = 0.7;
/// Words of a text, on average, beyond which its threes are left out: they cost most there and tell least.
const LONG: usize = 40;
/// Texts whose features are found by one thread at a time.
const TEXTS_AT_ONCE: usize = 4_096;

/// Adds the hashes of the words of a text, and of every three letters in a row of each word with its ends, ascending and each once. The last
/// bit tells threes from words.
fn features(text: &str, has_threes: bool, out: &mut Vec<u64>) {
    let from = out.len();
    let mut letters: Vec<char> = Vec::new();
    for word in words(text) {
        out.push(hash::of_bytes(word.as_bytes()) & !1);
        if has_threes {
            letters.clear();
            letters.push(' ');
            letters.extend(word.chars());
            letters.push(' ');
            let three = |letters: &[char]| letters.iter().fold(0, |hash, letter| hash::after(hash, u64::from(u32::from(*letter)))) | 1;
            out.extend(letters.windows(3).map(three));
        }
    }
    out[from..].sort_unstable();
    let mut kept = from;
    for at in from..out.len() {
        if at == from || out[at] != out[at - 1] {
            out[kept] = out[at];
            kept += 1;
        }
    }
    out.truncate(kept);
}

/// Returns every feature of the texts once, ascending.
fn vocabulary(texts: &[Box<str>], has_threes: bool) -> Vec<u64> {
    let of_part = |texts: &[Box<str>]| {
        let mut found = Vec::new();
        for text in texts {
            features(text, has_threes, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    };
    let mut all: Vec<u64> = texts.par_chunks(TEXTS_AT_ONCE).map(of_part).flatten_iter().collect();
    all.par_sort_unstable();
    all.dedup();
    all
}

/// The words of every text of a column, with what each weighs.
pub(super) struct Bags {
    /// Where the words of each text begin, and the end of the last.
    starts: Vec<u32>,
    /// Words and threes of every text, ascending, each once.
    features: Vec<u32>,
    /// Length of every text's vector.
    norms: Vec<f64>,
    weights: Vec<f64>,
}

impl Bags {
    pub(super) fn of(column: &RecordColumn) -> Self {
        let n_words: usize = column.texts.iter().map(|text| words(text).count()).sum();
        let has_threes = n_words <= LONG * column.texts.len();
        let vocabulary = vocabulary(&column.texts, has_threes);
        let of_part = |texts: &[Box<str>]| {
            let (mut ends, mut found) = (Vec::with_capacity(texts.len()), Vec::new());
            for text in texts {
                features(text, has_threes, &mut found);
                ends.push(found.len() as u32);
            }
            let place = |feature: &u64| vocabulary.binary_search(feature).expect("every feature is in the vocabulary") as u32;
            (ends, found.iter().map(place).collect::<Vec<u32>>())
        };
        let parts: Vec<(Vec<u32>, Vec<u32>)> = column.texts.par_chunks(TEXTS_AT_ONCE).map(of_part).collect();
        let (mut starts, mut all) = (vec![0], Vec::with_capacity(parts.iter().map(|(_, found)| found.len()).sum()));
        for (ends, found) in parts {
            let before = all.len() as u32;
            starts.extend(ends.into_iter().map(|end| before + end));
            all.extend(found);
        }
        let mut records_with = vec![0_u64; vocabulary.len()];
        for (text, &count) in column.counts.iter().enumerate() {
            for &feature in &all[starts[text] as usize..starts[text + 1] as usize] {
                records_with[feature as usize] += u64::from(count);
            }
        }
        let n = column.n_present() as f64;
        let weight = |(&with, feature): (&u64, &u64)| {
            let share = if feature & 1 == 1 { OF_THREE } else { 1.0 };
            share * libm::log(1.0 + n / with as f64)
        };
        let weights: Vec<f64> = records_with.iter().zip(&vocabulary).map(weight).collect();
        let norm = |bounds: &[u32]| {
            let own = &all[bounds[0] as usize..bounds[1] as usize];
            own.iter().map(|&word| weights[word as usize].powi(2)).sum::<f64>().sqrt()
        };
        let norms = starts.windows(2).map(norm).collect();
        Self { starts, features: all, norms, weights }
    }

    fn features(&self, text: u32) -> &[u32] {
        &self.features[self.starts[text as usize] as usize..self.starts[text as usize + 1] as usize]
    }

    /// Returns the `k` nearest records of every record by the features that few share: pairs (a, b), a < b, some twice.
    pub(super) fn nearest(&self, codes: &[u32], k: usize, is_pair: &(dyn Fn(u32, u32) -> bool + Sync)) -> Vec<(u32, u32)> {
        let n = codes.len();
        let mut with: Vec<Vec<u32>> = vec![Vec::new(); self.weights.len()];
        for (row, &code) in codes.iter().enumerate().filter(|(_, code)| **code != MISSING) {
            for &feature in self.features(code) {
                with[feature as usize].push(row as u32);
            }
        }
        let most = most_common(&with, n);
        let of_row = |sums: &mut Vec<f64>, row: u32| {
            let code = codes[row as usize];
            let own: &[u32] = if code == MISSING { &[] } else { self.features(code) };
            let mut touched = Vec::new();
            for &feature in own.iter().filter(|feature| with[**feature as usize].len() <= most) {
                for &other in with[feature as usize].iter().filter(|other| **other != row && is_pair(row, **other)) {
                    if sums[other as usize] <= 0.0 {
                        touched.push(other);
                    }
                    sums[other as usize] += self.weights[feature as usize].powi(2);
                }
            }
            // The row's own length is the same for all of them.
            let near = |other: u32| (std::mem::take(&mut sums[other as usize]) / self.norms[codes[other as usize] as usize], other);
            let mut found: Vec<(f64, u32)> = touched.into_iter().map(near).collect();
            if found.len() > k {
                found.select_nth_unstable_by(k - 1, |one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
                found.truncate(k);
            }
            found.into_iter().map(move |(_, other)| (row.min(other), row.max(other)))
        };
        (0..n as u32).into_par_iter().map_init(|| vec![0.0; n], of_row).flatten_iter().collect()
    }

    /// Returns the cosine of two texts.
    pub(super) fn cosine(&self, a: u32, b: u32) -> f64 {
        let norms = self.norms[a as usize] * self.norms[b as usize];
        if norms <= 0.0 {
            return 0.0;
        }
        let (left, right) = (self.features(a), self.features(b));
        let (mut at, mut other, mut sum) = (0, 0, 0.0);
        while at < left.len() && other < right.len() {
            match left[at].cmp(&right[other]) {
                Ordering::Less => at += 1,
                Ordering::Greater => other += 1,
                Ordering::Equal => {
                    sum += self.weights[left[at] as usize].powi(2);
                    at += 1;
                    other += 1;
                }
            }
        }
        (sum / norms).min(1.0)
    }
}

/// Returns how many records a feature may have for a search of the nearest to end in due time.
fn most_common(with: &[Vec<u32>], n: usize) -> usize {
    const MOST_STEPS: usize = 300_000_000;
    const STEPS_A_RECORD: usize = 500;
    let mut sizes: Vec<usize> = with.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    let most = MOST_STEPS.max(STEPS_A_RECORD.saturating_mul(n));
    let mut steps = 0_usize;
    let within = |size: &usize| {
        steps = steps.saturating_add(size.saturating_mul(*size));
        steps <= most
    };
    sizes.into_iter().take_while(within).last().unwrap_or(0)
}
