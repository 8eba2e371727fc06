//! Separated text as records of cells: quotes resolved, lines counted, nothing copied twice.

use std::io::Read;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::ReadError;
use crate::input::InputFile;

const INPUT_BYTES: usize = 256 * 1024;

/// Longest record, if the memory budget allows as much; a missing quote turns the rest of a file into one cell.
const MAX_RECORD_BYTES: usize = 256 << 20;

/// Most cells in a record.
const MAX_CELLS: usize = 1 << 20;

/// Some records, one after the other.
#[derive(Debug, Default)]
pub(super) struct Records {
    data: Vec<u8>,
    /// Where each cell ends, from the start of its record.
    ends: Vec<usize>,
    records: Vec<Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    start: usize,
    first_end: usize,
    line: u64,
}

impl Records {
    pub(super) fn n_rows(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of cells of a record.
    pub(super) fn width(&self, row: usize) -> usize {
        let next = self.records.get(row + 1).map_or(self.ends.len(), |next| next.first_end);
        next - self.records[row].first_end
    }

    /// Returns a cell that the record has.
    pub(super) fn cell(&self, row: usize, column: usize) -> &[u8] {
        let record = self.records[row];
        let end = record.first_end + column;
        let start = if column == 0 { 0 } else { self.ends[end - 1] };
        &self.data[record.start + start..record.start + self.ends[end]]
    }

    /// Returns the line on which a record ends, from 1.
    pub(super) fn line(&self, row: usize) -> u64 {
        self.records[row].line
    }
}

/// A walk over the records of a text.
pub(super) struct Tokens {
    file: InputFile,
    text: Box<dyn Read + Send>,
    csv: Reader,
    input: Vec<u8>,
    used: usize,
    ended: bool,
    /// Cells that every record must have; any number where absent.
    width: Option<usize>,
}

impl Tokens {
    pub(super) fn new(file: InputFile, text: Box<dyn Read + Send>, delimiter: u8, width: Option<usize>) -> Self {
        let csv = ReaderBuilder::new().delimiter(delimiter).build();
        Self { file, text, csv, input: Vec::new(), used: 0, ended: false, width }
    }

    /// Reads records until there are `max_rows` or their cells have `max_bytes`; none at the end.
    pub(super) fn read(&mut self, max_rows: usize, max_bytes: usize) -> Result<Records, ReadError> {
        let mut records = Records::default();
        let (mut n_data, mut n_ends) = (0, 0);
        while records.records.len() < max_rows && n_data < max_bytes {
            let record = Record { start: n_data, first_end: n_ends, line: 0 };
            let Some(line) = self.record(&mut records, &mut n_data, &mut n_ends)? else { break };
            let n_cells = n_ends - record.first_end;
            let is_blank = n_cells == 1 && records.data[record.start..n_data].trim_ascii().is_empty();
            if is_blank && self.width.is_some_and(|width| width > 1) {
                (n_data, n_ends) = (record.start, record.first_end);
                continue;
            }
            if let Some(width) = self.width.filter(|width| *width != n_cells) {
                return Err(self.file.corrupt(None, format!("line {line} has {n_cells} cells, the first has {width}")));
            }
            records.records.push(Record { line, ..record });
        }
        records.data.truncate(n_data);
        records.ends.truncate(n_ends);
        Ok(records)
    }

    /// Reads one record and returns its last line; none at the end.
    fn record(&mut self, into: &mut Records, n_data: &mut usize, n_ends: &mut usize) -> Result<Option<u64>, ReadError> {
        let (start, first_end) = (*n_data, *n_ends);
        loop {
            if self.used == self.input.len() && !self.ended {
                self.refill()?;
            }
            let input = &self.input[self.used..];
            let (result, used, written, ended) = self.csv.read_record(input, &mut into.data[*n_data..], &mut into.ends[*n_ends..]);
            let line = self.csv.line() - u64::from(used > 0 && input[used - 1] == b'\n');
            self.used += used;
            *n_data += written;
            *n_ends += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(Some(line.max(1))),
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::OutputFull => self.grow_data(into, *n_data - start, line)?,
                ReadRecordResult::OutputEndsFull => self.grow_ends(into, *n_ends - first_end, line)?,
            }
        }
    }

    fn refill(&mut self) -> Result<(), ReadError> {
        self.input.resize(INPUT_BYTES, 0);
        self.used = 0;
        loop {
            match self.text.read(&mut self.input) {
                Ok(n) => {
                    self.input.truncate(n);
                    self.ended = n == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::io(&self.file.path, error)),
            }
        }
    }

    fn grow_data(&self, into: &mut Records, record_bytes: usize, line: u64) -> Result<(), ReadError> {
        let budget = usize::try_from(self.file.budget_bytes / 4).unwrap_or(usize::MAX);
        let most = budget.min(MAX_RECORD_BYTES);
        if record_bytes > most {
            let detail = format!("the record that ends on or after line {line} is longer than {most} bytes; is a closing quote missing?");
            return Err(self.file.corrupt(None, detail));
        }
        into.data.resize((into.data.len() * 2).max(64 * 1024), 0);
        Ok(())
    }

    fn grow_ends(&self, into: &mut Records, n_cells: usize, line: u64) -> Result<(), ReadError> {
        if n_cells > self.width.unwrap_or(MAX_CELLS) {
            let most = self.width.unwrap_or(MAX_CELLS);
            return Err(self.file.corrupt(None, format!("line {line} has more than {most} cells")));
        }
        into.ends.resize((into.ends.len() * 2).max(1024), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tokens(text: &str, width: Option<usize>) -> (tempfile::NamedTempFile, Tokens) {
        let on_disk = tempfile::NamedTempFile::new().unwrap();
        let file = InputFile::at(on_disk.path(), 1 << 30).unwrap();
        let text = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        (on_disk, Tokens::new(file, text, b',', width))
    }

    #[test]
    fn quotes_line_ends_and_blank_lines_are_resolved() {
        let (_file, mut tokens) = tokens("a,b\r\n\r\n\"x\ny\",\"2\"\"\"\n   \n3,\n", Some(2));
        let records = tokens.read(10, 1000).unwrap();
        let cells: Vec<_> = (0..records.n_rows()).map(|row| (records.cell(row, 0), records.cell(row, 1))).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"b"), (b"x\ny", b"2\""), (b"3", b"")];
        assert_eq!(cells, expected);
        assert_eq!((0..3).map(|row| records.line(row)).collect::<Vec<_>>(), [1, 4, 6]);
    }

    #[test]
    fn a_record_of_another_width_is_an_error_with_its_line() {
        for text in ["a,b\n1\n", "a,b\n1,2,3\n"] {
            let (_file, mut tokens) = tokens(text, Some(2));
            let error = tokens.read(10, 1000).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn rows_are_read_in_parts() {
        let (_file, mut tokens) = tokens("1\n2\n3", None);
        assert_eq!(tokens.read(2, 1000).unwrap().n_rows(), 2);
        let rest = tokens.read(2, 1000).unwrap();
        assert_eq!((rest.n_rows(), rest.cell(0, 0), rest.line(0)), (1, &b"3"[..], 3));
        assert_eq!(tokens.read(2, 1000).unwrap().n_rows(), 0);
    }
}
