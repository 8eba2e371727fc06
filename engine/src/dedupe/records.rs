//! Records as the matching sees them: every cell a code into its column's different texts, every text in a normal form, and what a column
//! holds.
//!
//! Normal form  lower case, accents folded, every run of other characters than letters and digits one space
//! Nulls        an absent cell, and one whose normal form is empty, is `MISSING`
//! Order        codes follow the order of the normal texts, so that nothing depends on which row came first
//! Memory       4 bytes a cell and the different texts

use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::Arc;

use hashbrown::HashTable;
use rayon::prelude::*;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::hash;
use super::texts::Texts;
use crate::EngineError;

/// Code of a cell that is not there.
pub const MISSING: u32 = u32::MAX;

/// What the texts of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Days of a calendar.
    Date,
    /// Quantities: how far apart they are counts, not how they are written.
    Number,
    /// Names and codes: a word or two.
    Short,
    /// Several words: titles, addresses, descriptions.
    Words,
}

impl Content {
    /// Returns the word that tables and reports use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Number => "number",
            Self::Short => "short text",
            Self::Words => "words",
        }
    }
}

/// A column of records.
#[derive(Debug, Clone)]
pub struct RecordColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// Code of every record's normal text, or `MISSING`.
    pub codes: Vec<u32>,
    /// Normal texts in ascending order.
    pub texts: Arc<Texts>,
    /// The texts as numbers, where the column holds numbers; days since 1970-01-01 where it holds dates.
    pub values: Arc<[f64]>,
    /// Records with each text.
    pub counts: Arc<[u32]>,
}

impl RecordColumn {
    /// Returns whether the column names its records rather than telling something of them: codes of a word or two of which hardly any repeats,
    /// not even in part.
    #[must_use]
    pub fn is_key(&self) -> bool {
        /// Records of which one may repeat another's text, and words of which one may be another text's too.
        const ODD: usize = 1_000;
        const ODD_WORDS: usize = 20;
        let n = self.n_present();
        if self.content != Content::Short || (n - self.texts.len()) * ODD > n {
            return false;
        }
        let mut all: Vec<&str> = self.texts.iter().flat_map(words).collect();
        all.sort_unstable();
        let n_repeated: usize = all.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).map(<[_]>::len).sum();
        n_repeated * ODD_WORDS <= all.len()
    }

    /// Returns how many records have a cell.
    #[must_use]
    pub fn n_present(&self) -> usize {
        self.counts.iter().map(|&count| count as usize).sum()
    }
}

/// Records of one or more sources.
#[derive(Debug, Clone)]
pub struct Records {
    /// The columns that are compared.
    pub columns: Vec<RecordColumn>,
    /// Source of every record.
    pub source: Vec<u16>,
    /// How many sources there are.
    pub n_sources: usize,
    /// What names the records, where something does: it orders those whose cells are all equal.
    pub id: Option<RecordColumn>,
    /// Columns whose equal cells make records one, whatever else they hold, the most trusted first; as a rule they are compared too.
    pub identifiers: Vec<RecordColumn>,
}

impl Records {
    /// Returns how many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Returns the records in an order that their own cells give, whatever order they came in.
    #[must_use]
    pub fn canonical_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        let by_cells = |a: u32, b: u32| {
            let codes = self
                .columns
                .iter()
                .chain(&self.identifiers)
                .chain(&self.id)
                .map(|column| column.codes[a as usize].cmp(&column.codes[b as usize]));
            self.source[a as usize].cmp(&self.source[b as usize]).then(codes.fold(Ordering::Equal, Ordering::then))
        };
        order.par_sort_by(|&a, &b| by_cells(a, b));
        order
    }

    /// Returns the records in another order.
    #[must_use]
    pub fn ordered(&self, order: &[u32]) -> Self {
        let ordered = |column: &RecordColumn| RecordColumn {
            name: column.name.clone(),
            content: column.content,
            codes: order.iter().map(|&row| column.codes[row as usize]).collect(),
            texts: Arc::clone(&column.texts),
            values: Arc::clone(&column.values),
            counts: Arc::clone(&column.counts),
        };
        Self {
            columns: self.columns.par_iter().map(ordered).collect(),
            source: order.iter().map(|&row| self.source[row as usize]).collect(),
            n_sources: self.n_sources,
            id: self.id.as_ref().map(ordered),
            identifiers: self.identifiers.iter().map(ordered).collect(),
        }
    }

    /// Says whether a column is an identifier.
    pub(super) fn is_identifier(&self, name: &str) -> bool {
        self.identifiers.iter().any(|of| of.name == name)
    }

    /// Compares identifiers as they are written.
    pub(super) fn with_exact_identifiers(mut self) -> Self {
        for column in &mut self.columns {
            if let Some(of) = self.identifiers.iter().find(|of| of.name == column.name) {
                column.clone_from(of);
            }
        }
        self
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }
}

/// Takes the cells of one column, in the order of the records.
#[derive(Debug, Default)]
pub struct ColumnBuilder {
    raw: Vec<u32>,
    texts: Texts,
    /// Places in `texts`, found by the hash of what stands there.
    seen: HashTable<u32>,
}

impl ColumnBuilder {
    /// Adds the cell of the next record.
    ///
    /// # Errors
    /// When a column has 2^32 different texts.
    pub fn push(&mut self, cell: Option<&str>) -> Result<(), EngineError> {
        let Some(cell) = cell.filter(|cell| !cell.is_empty()) else {
            self.raw.push(MISSING);
            return Ok(());
        };
        let hash = hash::of_bytes(cell.as_bytes());
        if let Some(code) = self.seen.find(hash, |code| &self.texts[*code as usize] == cell) {
            self.raw.push(*code);
            return Ok(());
        }
        let code = u32::try_from(self.texts.len()).ok().filter(|code| *code != MISSING);
        let code = code.ok_or_else(|| EngineError::Partial("a column has more than 2^32 different texts".to_owned()))?;
        self.texts.push(cell);
        self.seen.insert_unique(hash, code, |code| hash::of_bytes(self.texts[*code as usize].as_bytes()));
        self.raw.push(code);
        Ok(())
    }

    /// Returns about how many bytes are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// A place, its byte of control, and room for more.
        const BYTES_A_PLACE: usize = 10;
        4 * self.raw.capacity() + self.texts.bytes() + BYTES_A_PLACE * self.texts.len()
    }

    /// Returns the column, what it holds guessed from its different texts.
    #[must_use]
    pub fn finish(self, name: &str) -> RecordColumn {
        let content = content(&self.texts);
        self.finish_as(name, content)
    }

    /// Returns the column with its texts as they were written, for what is named and not compared.
    #[must_use]
    pub fn finish_exact(self, name: &str) -> RecordColumn {
        self.build(name, Content::Short, |text, out| out.push_str(text))
    }

    pub(super) fn finish_as(self, name: &str, content: Content) -> RecordColumn {
        self.build(name, content, |text, out| normal(text, content, out))
    }

    fn build(self, name: &str, content: Content, form: impl Fn(&str, &mut String) + Sync) -> RecordColumn {
        drop(self.seen);
        let normals = self.texts.map(form);
        drop(self.texts);
        let order = normals.order();
        let mut texts = Texts::default();
        let mut code_of = vec![MISSING; normals.len()];
        for raw in order {
            let text = &normals[raw as usize];
            if text.is_empty() {
                continue;
            }
            if texts.last() != Some(text) {
                texts.push(text);
            }
            code_of[raw as usize] = texts.len() as u32 - 1;
        }
        drop(normals);
        let values = match content {
            Content::Number | Content::Date => texts.iter().map(|text| value(text, content)).collect(),
            Content::Short | Content::Words => Arc::default(),
        };
        let mut codes = self.raw;
        let mut counts = vec![0; texts.len()];
        for code in codes.iter_mut().filter(|code| **code != MISSING) {
            *code = code_of[*code as usize];
            if *code != MISSING {
                counts[*code as usize] += 1;
            }
        }
        RecordColumn { name: name.to_owned(), content, codes, texts: Arc::new(texts), values, counts: counts.into() }
    }
}

/// Returns what most of the different texts of a column are.
fn content(texts: &Texts) -> Content {
    /// One text in so many may be broken.
    const ODD: usize = 20;
    if texts.is_empty() {
        return Content::Short;
    }
    let n_of = |is: &(dyn Fn(&str) -> bool + Sync)| texts.par_iter().filter(|text| is(text)).count();
    let most = |is: &(dyn Fn(&str) -> bool + Sync)| (texts.len() - n_of(is)) * ODD <= texts.len();
    if most(&|text| day(text).is_some()) {
        return Content::Date;
    }
    let is_decimal = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if most(&is_decimal) && n_of(&|text| text.contains('.')) * ODD > texts.len() {
        return Content::Number;
    }
    let n_words: usize = texts.par_iter().map(|text| words(text).count()).sum();
    if n_words >= 3 * texts.len() { Content::Words } else { Content::Short }
}

/// Returns the runs of letters and digits of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Adds the normal form of a text.
pub(super) fn normal(text: &str, content: Content, out: &mut String) {
    let written = match content {
        Content::Date => day(text).map(|(year, month, day)| write!(out, "{year:04}-{month:02}-{day:02}")),
        Content::Number => text.trim().parse::<f64>().ok().map(|number| write!(out, "{number}")),
        Content::Short | Content::Words => None,
    };
    if let Some(written) = written {
        return written.expect("a string takes what is written");
    }
    let from = out.len();
    if text.is_ascii() {
        for letter in text.bytes() {
            if letter.is_ascii_alphanumeric() {
                out.push(char::from(letter.to_ascii_lowercase()));
            } else if out.len() > from && !out.ends_with(' ') {
                out.push(' ');
            }
        }
        out.truncate(from + out[from..].trim_end().len());
        return;
    }
    let folded: String = text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase).collect();
    for word in words(&folded) {
        if out.len() > from {
            out.push(' ');
        }
        out.push_str(word);
    }
}

/// Reads a date: year first with or without separators, or day, month, year with separators.
///
/// Of day and month the one that can only be a day is the day; where both could be, the day comes first.
#[must_use]
pub(super) fn day(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim();
    let number = |part: &str| part.parse::<u32>().ok();
    let mut split = text.split(['-', '/', '.']);
    let parts = [split.next(), split.next(), split.next(), split.next()];
    let (year, month, day) = match parts {
        [Some(whole), None, ..] if whole.len() == 8 && whole.bytes().all(|byte| byte.is_ascii_digit()) => {
            (number(&whole[..4])?, number(&whole[4..6])?, number(&whole[6..])?)
        }
        [Some(year), Some(month), Some(day), None] if year.len() == 4 => (number(year)?, number(month)?, number(day.get(..2)?)?),
        [Some(first), Some(second), Some(year), None] if year.len() == 4 => {
            let (first, second) = (number(first)?, number(second)?);
            if second > 12 { (number(year)?, first, second) } else { (number(year)?, second, first) }
        }
        _ => return None,
    };
    // Typing errors make months of 13 and days of 40: those are still dates.
    ((1_000..=2_999).contains(&year) && month <= 99 && day <= 99).then_some((year, month, day))
}

fn value(text: &str, content: Content) -> f64 {
    match content {
        Content::Date => day(text).map_or(f64::NAN, |(year, month, day)| f64::from(days(year, month, day))),
        _ => text.parse().unwrap_or(f64::NAN),
    }
}

/// Days since 1970-01-01 in the Gregorian calendar (Hinnant 2013, `days_from_civil`); a month of 13 is the first of the next year.
fn days(year: u32, month: u32, day: u32) -> i32 {
    let (year, month, day) = (year.cast_signed(), month.cast_signed(), day.cast_signed());
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
