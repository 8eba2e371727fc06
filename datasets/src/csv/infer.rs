//! What a text file looks like: its separator, its names, the types of its columns.
//!
//! All of it comes from the first 64 KiB; a longer file that is not packed is probed at some more places. What was not
//! seen may still hold a fraction, so that a column is one of whole numbers only where the whole file was seen.

use std::fmt;
use std::io::Cursor;

use arrow::datatypes::{DataType, TimeUnit};

use super::tokens::{Records, Tokens};
use crate::ReadError;
use crate::cells;
use crate::input::InputFile;

/// Records that are looked at to guess the separator.
const GUESS_ROWS: usize = 64;

/// Separators in the order of preference where several fit: a comma may also stand inside of numbers.
const SEPARATORS: [u8; 4] = [b'\t', b';', b'|', b','];

/// The start of a file in records, without the last one where it may be cut off.
pub(super) fn sample(file: &InputFile, head: &[u8], whole: bool, delimiter: u8) -> Result<Records, ReadError> {
    let complete = if whole { head } else { &head[..head.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)] };
    let text = Box::new(Cursor::new(complete.to_vec()));
    Tokens::new(file.clone(), text, delimiter, None).read(usize::MAX, usize::MAX)
}

/// Guesses the separator: the one that cuts all records into the same number of cells.
pub(super) fn separator(file: &InputFile, head: &[u8], whole: bool) -> Result<u8, ReadError> {
    let mut best = (0.0, b',');
    for candidate in SEPARATORS {
        let records = sample(file, head, whole, candidate)?;
        let widths: Vec<usize> = (0..records.n_rows().min(GUESS_ROWS)).map(|row| records.width(row)).collect();
        let Some(first) = widths.first().copied().filter(|width| *width > 1) else { continue };
        let share = widths.iter().filter(|width| **width == first).count() as f64 / widths.len() as f64;
        if share > best.0 {
            best = (share, candidate);
        }
    }
    Ok(best.1)
}

/// The kinds of cells that were seen in a column, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    const BOOLEAN: u8 = 1;
    const WHOLE: u8 = 2;
    const FRACTION: u8 = 4;
    const DATE: u8 = 8;
    const TIMESTAMP: u8 = 16;
    const TEXT: u8 = 32;
    /// Beside `WHOLE`: a whole number past those that are all floats.
    const LONG: u8 = 64;

    /// Tells the kind of one cell.
    fn of(cell: &[u8]) -> u8 {
        let Ok(text) = std::str::from_utf8(cell.trim_ascii()) else { return Self::TEXT };
        match text.as_bytes().first() {
            Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'n' | b'N' | b'i' | b'I') => {}
            _ if cells::boolean(text).is_some() => return Self::BOOLEAN,
            _ => return Self::TEXT,
        }
        if let Some(whole) = cells::whole(text) {
            if cells::is_exact(whole) { Self::WHOLE } else { Self::WHOLE | Self::LONG }
        } else if is_too_large(text) {
            // A name made of digits: as a float it would not be the same name.
            Self::TEXT
        } else if cells::number(text).is_some() {
            Self::FRACTION
        } else if cells::date(text).is_some() {
            Self::DATE
        } else if text.len() > 10 && cells::timestamp(text).is_some() {
            Self::TIMESTAMP
        } else {
            Self::TEXT
        }
    }

    pub(super) fn see(&mut self, cell: &[u8]) {
        self.0 |= Self::of(cell);
    }

    /// Adds what a probe saw, where that widens a number or fills a gap.
    pub(super) fn widen(&mut self, cell: &[u8]) {
        let kind = Self::of(cell);
        let number = Self::WHOLE | Self::FRACTION | Self::LONG;
        let time = Self::DATE | Self::TIMESTAMP;
        let same = |set: u8| self.0 != 0 && self.0 & !set == 0 && kind & !set == 0;
        if self.0 == 0 || same(number) || same(time) {
            self.0 |= kind;
        }
    }

    /// Returns the type that holds all of these kinds.
    pub(super) fn data_type(self) -> DataType {
        match self.0 & !Self::LONG {
            0 => DataType::Null,
            Self::BOOLEAN => DataType::Boolean,
            Self::WHOLE => DataType::Int64,
            set if set & !(Self::WHOLE | Self::FRACTION) == 0 => DataType::Float64,
            Self::DATE => DataType::Date32,
            set if set & !(Self::DATE | Self::TIMESTAMP) == 0 => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => DataType::Utf8,
        }
    }

    /// Returns the type of a column of which a part was seen: a fraction may follow whole numbers.
    ///
    /// Those past 2^53 are names rather than quantities and stay whole, because floats would merge neighbours.
    pub(super) fn data_type_of_part(self) -> DataType {
        match self.data_type() {
            DataType::Int64 if self.0 & Self::LONG == 0 => DataType::Float64,
            same => same,
        }
    }

    /// Whether numbers and texts are mixed.
    fn is_mixed(self) -> bool {
        self.0 & Self::TEXT != 0 && self.0 & (Self::WHOLE | Self::FRACTION) != 0
    }
}

/// Whether a text is a whole number of more than 64 bits.
fn is_too_large(text: &str) -> bool {
    text.len() >= 19 && text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit())
}

/// Finds the kinds of all columns of a sample from `first_row` on.
pub(super) fn kinds(sample: &Records, first_row: usize, n_columns: usize, is_null: impl Fn(&[u8]) -> bool) -> Vec<Kinds> {
    let mut kinds = vec![Kinds::default(); n_columns];
    for row in first_row..sample.n_rows() {
        for (column, kinds) in kinds.iter_mut().enumerate().take(sample.width(row)) {
            let cell = sample.cell(row, column);
            if !is_null(cell) {
                kinds.see(cell);
            }
        }
    }
    kinds
}

/// A column that is nearly numbers: what keeps it from being one.
pub(super) struct Spoiler {
    pub(super) text: String,
    line: u64,
    share: f64,
}

impl fmt::Display for Spoiler {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.share * 100.0).floor();
        write!(out, "{percent} % of its first cells are numbers, `{}` (line {}) is not", self.text, self.line)
    }
}

/// Looks for the one text that turns a column of numbers into texts.
pub(super) fn spoiler(sample: &Records, first_row: usize, column: usize, kinds: Kinds, is_null: impl Fn(&[u8]) -> bool) -> Option<Spoiler> {
    if !kinds.is_mixed() {
        return None;
    }
    let (mut texts, mut n_texts, mut n) = (Vec::new(), 0, 0);
    for row in (first_row..sample.n_rows()).filter(|row| column < sample.width(*row)) {
        let cell = sample.cell(row, column);
        if is_null(cell) {
            continue;
        }
        n += 1;
        if Kinds::of(cell) == Kinds::TEXT {
            n_texts += 1;
            if !texts.iter().any(|(text, _)| *text == cell) {
                texts.push((cell, sample.line(row)));
            }
        }
    }
    // One spelling that repeats means missing; many are what the column is about.
    let (text, line) = *texts.first().filter(|_| texts.len() == 1 && n_texts * 2 < n)?;
    let share = f64::from(n - n_texts) / f64::from(n);
    Some(Spoiler { text: String::from_utf8_lossy(text).into_owned(), line, share })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_type(cells: &[&str]) -> DataType {
        let mut kinds = Kinds::default();
        for cell in cells {
            kinds.see(cell.as_bytes());
        }
        kinds.data_type()
    }

    #[test]
    fn types_are_the_narrowest_that_fit() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(data_type(&[]), DataType::Null);
        assert_eq!(data_type(&["1", "-2"]), DataType::Int64);
        assert_eq!(data_type(&["1", "2.5", "NaN", "-inf"]), DataType::Float64);
        assert_eq!(data_type(&["true", "FALSE"]), DataType::Boolean);
        assert_eq!(data_type(&["2024-01-31"]), DataType::Date32);
        assert_eq!(data_type(&["2024-01-31", "2024-01-31 10:00:00"]), micros);
        assert_eq!(data_type(&["1", "n/a"]), DataType::Utf8);
        assert_eq!(data_type(&["1", "true"]), DataType::Utf8);
        assert_eq!(data_type(&["12345678901234567890"]), DataType::Utf8);
    }

    #[test]
    fn whole_numbers_of_a_part_may_go_on_with_fractions() {
        let part = |cells: &[&str]| {
            let mut kinds = Kinds::default();
            for cell in cells {
                kinds.see(cell.as_bytes());
            }
            kinds.data_type_of_part()
        };
        assert_eq!(part(&["5191", "-2"]), DataType::Float64);
        assert_eq!(part(&["5191", "9007199254740992"]), DataType::Float64);
        assert_eq!(part(&["5191", "9007199254740993"]), DataType::Int64);
        assert_eq!(part(&["9007199254740993", "0.5"]), DataType::Float64);
        assert_eq!(part(&["true"]), DataType::Boolean);
        assert_eq!(part(&["1", "n/a"]), DataType::Utf8);
    }

    #[test]
    fn probes_widen_numbers_and_never_make_texts_of_them() {
        let mut kinds = Kinds::default();
        kinds.see(b"1");
        kinds.widen(b"broken");
        assert_eq!(kinds.data_type(), DataType::Int64);
        kinds.widen(b"2.5");
        assert_eq!(kinds.data_type(), DataType::Float64);
        let mut empty = Kinds::default();
        empty.widen(b"x");
        assert_eq!(empty.data_type(), DataType::Utf8);
    }
}
