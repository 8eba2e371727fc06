//! Reads separated text: records are found on one thread while the records before become columns on all others.

use std::sync::Arc;

use rayon::prelude::*;

use super::tokens::{Records, Tokens};
use super::{CsvFile, is_null};
use crate::cells::{self, WrongCell};
use crate::table::Wanted;
use crate::{ReadError, Scan, Sink};

/// Rows of one array.
const ARRAY_ROWS: usize = 16_384;

/// Bytes of cells that are held at a time, twice.
const BLOCK_BYTES: usize = 8 << 20;

/// Longest part of a cell that a message shows.
const SHOWN_CHARS: usize = 60;

pub(super) struct CsvScan {
    file: Arc<CsvFile>,
    tokens: Tokens,
    columns: Vec<Wanted>,
    records: Records,
    used: usize,
    failed: bool,
}

impl CsvScan {
    pub(super) fn new(file: Arc<CsvFile>, tokens: Tokens, columns: Vec<Wanted>) -> Self {
        Self { file, tokens, columns, records: Records::default(), used: 0, failed: false }
    }

    fn advance(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        let max_records = max_rows.min(4 * ARRAY_ROWS);
        if self.used == self.records.n_rows() {
            self.records = self.tokens.read(max_records, BLOCK_BYTES)?;
            self.used = 0;
        }
        let n_rows = max_rows.min(self.records.n_rows() - self.used);
        let block = Block { file: &self.file, columns: &self.columns, records: &self.records, first: self.used };
        self.used += n_rows;
        if self.used < self.records.n_rows() || n_rows == 0 {
            block.deliver(n_rows, sink)?;
            return Ok(n_rows);
        }
        let tokens = &mut self.tokens;
        let (ahead, delivered) = rayon::join(|| tokens.read(max_records, BLOCK_BYTES), || block.deliver(n_rows, sink));
        delivered?;
        // The error lies behind the rows that were delivered; so does whoever stops early.
        self.records = ahead?;
        self.used = 0;
        Ok(n_rows)
    }
}

impl Scan for CsvScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        if self.failed {
            return Err(self.file.file.corrupt(None, "reading it failed before"));
        }
        let result = self.advance(max_rows.max(1), sink);
        self.failed = result.is_err();
        result
    }
}

/// Some records on their way to the sink.
struct Block<'a> {
    file: &'a CsvFile,
    columns: &'a [Wanted],
    records: &'a Records,
    first: usize,
}

impl Block<'_> {
    fn deliver(&self, n_rows: usize, sink: &Sink<'_>) -> Result<(), ReadError> {
        let column = |(position, wanted): (usize, &Wanted)| {
            for before in (0..n_rows).step_by(ARRAY_ROWS) {
                let n = ARRAY_ROWS.min(n_rows - before);
                let first = self.first + before;
                let array = cells::column(n, &wanted.data_type, |row| {
                    let cell = self.records.cell(first + row, wanted.column);
                    (!is_null(&self.file.null_values, cell)).then_some(cell)
                });
                let array = array.map_err(|wrong| self.wrong(first, wanted, wrong))?;
                sink(position, before, &array);
            }
            Ok(())
        };
        let results: Vec<Result<(), ReadError>> = self.columns.par_iter().enumerate().map(column).collect();
        // Collected before it is looked at, so that of several wrong cells that of the first column is named.
        results.into_iter().collect()
    }

    fn wrong(&self, first: usize, wanted: &Wanted, wrong: WrongCell) -> ReadError {
        let row = first + wrong.row;
        let (cell, line) = (self.records.cell(row, wanted.column), self.records.line(row));
        let (path, column) = (&self.file.file.path, self.file.schema.field(wanted.column).name());
        if let Err(error) = crate::text::utf8(path, column, line, cell) {
            return error;
        }
        let text: String = String::from_utf8_lossy(cell).chars().take(SHOWN_CHARS).collect();
        let help = if cells::number(text.trim()).is_some() {
            "the first rows hold whole numbers, so give one of them a decimal point, as in `1.0`".to_owned()
        } else {
            format!("add \"{}\" to `null_values` if it means missing", text.escape_default())
        };
        ReadError::WrongType {
            path: path.clone(),
            column: column.as_str().into(),
            line,
            text: text.into(),
            expected: wrong.expected,
            help: help.into(),
        }
    }
}
