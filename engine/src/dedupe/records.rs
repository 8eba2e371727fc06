//! Records as the matching sees them: every cell a code into its column's different texts, every text in a normal form, and what a column
//! holds.
//!
//! Normal form  lower case, accents folded, every run of other characters than letters and digits one space
//! Nulls        an absent cell, and one whose normal form is empty, is `MISSING`
//! Order        codes follow the order of the normal texts, so that nothing depends on which row came first
//! Memory       4 bytes a cell and the different texts

use std::cmp::Ordering;
use std::collections::HashMap;

use rayon::prelude::*;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

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
    pub texts: Vec<Box<str>>,
    /// The texts as numbers, where the column holds numbers; days since 1970-01-01 where it holds dates.
    pub values: Vec<f64>,
    /// Records with each text.
    pub counts: Vec<u32>,
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
        let mut all: Vec<&str> = self.texts.iter().flat_map(|text| words(text)).collect();
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
            let codes = self.columns.iter().chain(&self.id).map(|column| column.codes[a as usize].cmp(&column.codes[b as usize]));
            self.source[a as usize].cmp(&self.source[b as usize]).then(codes.fold(Ordering::Equal, Ordering::then))
        };
        order.par_sort_by(|&a, &b| by_cells(a, b));
        order
    }

    /// Returns the records in another order.
    #[must_use]
    pub fn ordered(mut self, order: &[u32]) -> Self {
        let put = |cells: &mut Vec<u32>| *cells = order.iter().map(|&row| cells[row as usize]).collect();
        for column in self.columns.iter_mut().chain(&mut self.id) {
            put(&mut column.codes);
        }
        self.source = order.iter().map(|&row| self.source[row as usize]).collect();
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
    seen: HashMap<Box<str>, u32>,
    bytes: usize,
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
        if let Some(code) = self.seen.get(cell) {
            self.raw.push(*code);
            return Ok(());
        }
        let code = u32::try_from(self.seen.len()).ok().filter(|code| *code != MISSING);
        let code = code.ok_or_else(|| EngineError::Partial("a column has more than 2^32 different texts".to_owned()))?;
        self.bytes += cell.len() + BYTES_A_TEXT;
        self.seen.insert(Box::from(cell), code);
        self.raw.push(code);
        Ok(())
    }

    /// Returns about how many bytes are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * self.raw.capacity() + self.bytes
    }

    /// Returns the column, what it holds guessed from its different texts.
    #[must_use]
    pub fn finish(self, name: &str) -> RecordColumn {
        let mut raw_texts: Vec<&str> = self.seen.keys().map(AsRef::as_ref).collect();
        raw_texts.sort_unstable();
        let content = content(&raw_texts);
        self.finish_as(name, content)
    }

    /// Returns the column with its texts as they were written, for what is named and not compared.
    #[must_use]
    pub fn finish_exact(self, name: &str) -> RecordColumn {
        self.build(name, Content::Short, str::to_owned)
    }

    pub(super) fn finish_as(self, name: &str, content: Content) -> RecordColumn {
        self.build(name, content, |text| normal(text, content))
    }

    fn build(self, name: &str, content: Content, form: impl Fn(&str) -> String) -> RecordColumn {
        let mut raw_texts: Vec<Box<str>> = vec![Box::default(); self.seen.len()];
        #[allow(clippy::iter_over_hash_type, reason = "each goes to the place that its code names")]
        for (text, code) in self.seen {
            raw_texts[code as usize] = text;
        }
        let normals: Vec<String> = raw_texts.iter().map(|text| form(text)).collect();
        let mut order: Vec<u32> = (0..raw_texts.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| normals[a as usize].cmp(&normals[b as usize]));
        let mut texts: Vec<Box<str>> = Vec::new();
        let mut values = Vec::new();
        let mut code_of = vec![MISSING; raw_texts.len()];
        for raw in order {
            let text = &normals[raw as usize];
            if text.is_empty() {
                continue;
            }
            if texts.last().is_none_or(|last| **last != **text) {
                texts.push(text.as_str().into());
                if content == Content::Number || content == Content::Date {
                    values.push(value(text, content));
                }
            }
            code_of[raw as usize] = texts.len() as u32 - 1;
        }
        let codes: Vec<u32> = self.raw.iter().map(|&raw| if raw == MISSING { MISSING } else { code_of[raw as usize] }).collect();
        let mut counts = vec![0; texts.len()];
        for &code in codes.iter().filter(|code| **code != MISSING) {
            counts[code as usize] += 1;
        }
        RecordColumn { name: name.to_owned(), content, codes, texts, values, counts }
    }
}

/// What a different text takes beside its letters: the entry of the table that finds it, and the text's own frame, twice.
const BYTES_A_TEXT: usize = 64;

/// Returns what most of the different texts of a column are.
fn content(texts: &[&str]) -> Content {
    /// One text in so many may be broken.
    const ODD: usize = 20;
    if texts.is_empty() {
        return Content::Short;
    }
    let most = |is: &dyn Fn(&str) -> bool| {
        let odd = texts.iter().filter(|text| !is(text)).count();
        odd * ODD <= texts.len()
    };
    if most(&|text| day(text).is_some()) {
        return Content::Date;
    }
    let is_decimal = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if most(&is_decimal) && texts.iter().filter(|text| text.contains('.')).count() * ODD > texts.len() {
        return Content::Number;
    }
    let n_words: usize = texts.iter().map(|text| words(text).count()).sum();
    if n_words >= 3 * texts.len() { Content::Words } else { Content::Short }
}

/// Returns the runs of letters and digits of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Returns the normal form of a text.
#[must_use]
pub(super) fn normal(text: &str, content: Content) -> String {
    match content {
        Content::Date => {
            if let Some((year, month, day)) = day(text) {
                return format!("{year:04}-{month:02}-{day:02}");
            }
        }
        Content::Number => {
            if let Ok(number) = text.trim().parse::<f64>() {
                return format!("{number}");
            }
        }
        Content::Short | Content::Words => {}
    }
    let folded: String = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase).collect()
    };
    let mut out = String::with_capacity(folded.len());
    for word in words(&folded) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Reads a date: year first with or without separators, or day, month, year with separators.
///
/// Of day and month the one that can only be a day is the day; where both could be, the day comes first.
#[must_use]
pub(super) fn day(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim();
    let number = |part: &str| part.parse::<u32>().ok();
    let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
    let (year, month, day) = match parts.as_slice() {
        [whole] if whole.len() == 8 && whole.bytes().all(|byte| byte.is_ascii_digit()) => {
            (number(&whole[..4])?, number(&whole[4..6])?, number(&whole[6..])?)
        }
        [year, month, day] if year.len() == 4 => (number(year)?, number(month)?, number(day.get(..2)?)?),
        [first, second, year] if year.len() == 4 => {
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
