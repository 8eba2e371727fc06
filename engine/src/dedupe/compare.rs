//! How alike two cells of a column are: levels, the best first.
//!
//! | content | 0 | 1 | 2 | 3 | 4 | 5, 6 |
//! |---|---|---|---|---|---|---|
//! | short text | equal | one edit, or the same words | Jaro-Winkler 0.88, or all words of one in the other | other | | |
//! | date | equal | one edit, or day and month swapped | two of year, month, day | same year | other | |
//! | number | equal | within 1 % | within 10 % | within 30 % | other | |
//! | words | equal | cosine 0.85 | 0.65 | 0.48 | 0.32 | 0.2, else other |

use rayon::prelude::*;

use super::bags::Bags;
use super::hash;
use super::records::{Content, MISSING, RecordColumn, Records};
use super::strings::{LONGEST, is_one_edit, jaro_winkler, jaro_winkler_at_most};

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
    /// Whether a cell that is not equal is another one, however alike: numbers of devices one off are two devices.
    is_exact: bool,
    /// Of words.
    bags: Option<Bags>,
    /// Of short texts.
    looks: Vec<Look>,
}

/// What settles most comparisons of a short text before it is read.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Which letters it has among its first `LONGEST` bytes.
    letters: u64,
    /// A bit for each of its words, by their hashes.
    words: u64,
    /// The first four bytes.
    first: u32,
    /// Bytes, up to `LONGEST`.
    len: u16,
}

impl Look {
    fn of(text: &str) -> Self {
        let bytes = &text.as_bytes()[..text.len().min(LONGEST)];
        let mut first = [0; 4];
        first.iter_mut().zip(bytes).for_each(|(first, byte)| *first = *byte);
        Self {
            letters: bytes.iter().fold(0, |letters, byte| letters | 1 << place(*byte)),
            first: u32::from_le_bytes(first),
            len: bytes.len() as u16,
            words: text.split(' ').fold(0, |words, word| words | 1 << (hash::of_bytes(word.as_bytes()) >> 58)),
        }
    }

    /// Returns how many different letters each of two lacks of the other's.
    const fn n_missing(self, other: Self) -> [u32; 2] {
        [(self.letters & !other.letters).count_ones(), (other.letters & !self.letters).count_ones()]
    }

    /// Returns whether one edit may make one text the other: it replaces one letter at most.
    fn may_be_one_edit(self, other: Self) -> bool {
        self.len.abs_diff(other.len) <= 1 && self.n_missing(other).iter().all(|n| *n <= 1)
    }

    /// Returns what the texts' Jaro-Winkler cannot exceed.
    fn jaro_winkler_at_most(self, other: Self) -> f64 {
        let prefix = ((self.first ^ other.first).trailing_zeros() / 8).min(u32::from(self.len.min(other.len)));
        jaro_winkler_at_most([usize::from(self.len), usize::from(other.len)], self.n_missing(other), prefix as usize)
    }
}

/// Bit of a byte: letters and digits have their own, others share.
const fn place(byte: u8) -> u32 {
    match byte {
        b'a'..=b'z' => (byte - b'a') as u32,
        b'0'..=b'9' => (byte - b'0') as u32 + 26,
        _ => byte as u32 % 28 + 36,
    }
}

/// Tells cells of a column that are another thing from those that are written otherwise.
pub struct Alike<'a> {
    column: &'a RecordColumn,
    comparison: Comparison,
}

impl<'a> Alike<'a> {
    /// Looks at a column of records.
    #[must_use]
    pub fn of(records: &'a Records, column: usize) -> Self {
        Self { column: &records.columns[column], comparison: Comparison::of(records, column) }
    }

    /// Says whether two cells of the column, by their codes, are as much alike as typing errors leave them; a missing one is like no other. Of an
    /// identifier only equal ones are.
    #[must_use]
    pub fn are(&self, a: u32, b: u32) -> bool {
        let last = match self.comparison.content {
            Content::Short | Content::Words => 2,
            Content::Date | Content::Number => 1,
        };
        self.comparison.level(self.column, a, b) <= last
    }
}

impl Comparison {
    pub(super) fn of(records: &Records, column: usize) -> Self {
        let RecordColumn { content, texts, .. } = &records.columns[column];
        let is_exact = records.is_identifier(&records.columns[column].name);
        let bags = (*content == Content::Words && !is_exact).then(|| Bags::of(&records.columns[column]));
        let looks = if *content == Content::Short && !is_exact { texts.par_iter().map(Look::of).collect() } else { Vec::new() };
        Self { column, content: *content, is_exact, bags, looks }
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
        if self.is_exact {
            return self.n_levels() as u8 - 1;
        }
        let (a, b) = (a as usize, b as usize);
        match self.content {
            Content::Short => self
                .at_a_look(a, b)
                .unwrap_or_else(|| short(&column.texts[a], &column.texts[b], self.looks[a].words & self.looks[b].words != 0)),
            Content::Date => date(&column.texts[a], &column.texts[b]),
            Content::Number => number(column.values[a], column.values[b]),
            Content::Words => {
                let bags = self.bags.as_ref().expect("a comparison of words has their bags");
                level_of(bags.cosine(a as u32, b as u32))
            }
        }
    }
}

impl Comparison {
    /// Returns the level of two different short texts where their looks settle it: it can only be the last one.
    fn at_a_look(&self, a: usize, b: usize) -> Option<u8> {
        let (a, b) = (self.looks[a], self.looks[b]);
        // Two texts that share no word may share letters.
        let is_other = a.words & b.words == 0 && a.jaro_winkler_at_most(b) < ALIKE && !a.may_be_one_edit(b);
        is_other.then_some(3)
    }

    /// Adds the levels of many pairs of records. What is read of them lies all over the memory: it is asked for side by side, not in turn.
    pub(super) fn levels(&self, column: &RecordColumn, pairs: &[(u32, u32)], out: &mut Vec<u8>) {
        /// Not settled.
        const OPEN: u8 = u8::MAX;
        let cells: Vec<(u32, u32)> = pairs.iter().map(|(a, b)| (column.codes[*a as usize], column.codes[*b as usize])).collect();
        if let Some(bags) = &self.bags {
            let gathered = bags.gathered(cells.iter().map(|(_, b)| *b));
            let mut others = gathered.iter();
            let level = |&(a, b): &(u32, u32)| {
                let other = others.next().expect("there is one for each");
                if a == MISSING || b == MISSING {
                    ABSENT
                } else if a == b {
                    0
                } else {
                    level_of(bags.cosine_of(a, other))
                }
            };
            out.extend(cells.iter().map(level));
            return;
        }
        let from = out.len();
        let first = |&(a, b): &(u32, u32)| match self.content {
            _ if a == MISSING || b == MISSING => ABSENT,
            _ if a == b => 0,
            Content::Short if !self.is_exact => self.at_a_look(a as usize, b as usize).unwrap_or(OPEN),
            _ => OPEN,
        };
        out.extend(cells.iter().map(first));
        for (level, (a, b)) in out[from..].iter_mut().zip(cells).filter(|(level, _)| **level == OPEN) {
            *level = self.level(column, a, b);
        }
    }

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

/// Level of words of a cosine below that of equal ones.
fn level_of(cosine: f64) -> u8 {
    COSINES.iter().position(|least| cosine >= *least).map_or(6, |at| at as u8 + 1)
}

/// Jaro-Winkler from which short texts are much alike.
const ALIKE: f64 = 0.88;

fn short(a: &str, b: &str, may_share_words: bool) -> u8 {
    let (bytes_a, bytes_b) = (a.as_bytes(), b.as_bytes());
    if is_one_edit(bytes_a, bytes_b) && a.len().min(b.len()) >= 3 {
        return 1;
    }
    if may_share_words {
        let in_both = a.split(' ').filter(|word| b.split(' ').any(|other| other == *word)).count();
        let (n_a, n_b) = (a.split(' ').count(), b.split(' ').count());
        if in_both == n_a && in_both == n_b {
            return 1;
        }
        if in_both > 0 && in_both == n_a.min(n_b) {
            return 2;
        }
    }
    if jaro_winkler(bytes_a, bytes_b) >= ALIKE { 2 } else { 3 }
}

fn date(a: &str, b: &str) -> u8 {
    let ([year, month, day], [other_year, other_month, other_day]) = (parts(a), parts(b));
    let is_swapped = year == other_year && month == other_day && day == other_month;
    if is_swapped || is_one_edit(a.as_bytes(), b.as_bytes()) {
        return 1;
    }
    let same = [year == other_year, month == other_month, day == other_day];
    match same.iter().filter(|same| **same).count() {
        2.. => 2,
        _ if same[0] => 3,
        _ => 4,
    }
}

/// Year, month and day as they are written: normal dates have dashes, what was no date has spaces.
fn parts(text: &str) -> [&str; 3] {
    let mut parts = text.split(['-', ' ']);
    [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default)
}

fn number(a: f64, b: f64) -> u8 {
    let apart = (a - b).abs() / a.abs().max(b.abs());
    [0.01, 0.1, 0.3].iter().position(|most| apart <= *most).map_or(4, |at| at as u8 + 1)
}
