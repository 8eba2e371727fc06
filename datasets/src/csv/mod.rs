//! Separated text: comma, semicolon, tab or bar, quoted with `"`, with or without a line of names.
//!
//! Types    from the first 64 KiB (see `infer`); a column with nothing in it there is text. Whole numbers of a longer
//!          file are read as floats, because a fraction may follow.
//! Nulls    empty cells and those of `null_values`.
//! Lines    LF, CRLF or CR; blank lines are passed over; a cell in quotes may hold line ends.
//! Strict   a record with more or fewer cells than the first, or a cell that is not of its column's type, is an
//!          error with its line.
//! Cost     one thread finds the cells while the others turn the ones before into columns.

mod infer;
mod scan;
mod tokens;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::input::InputFile;
use crate::table::{Part, Wanted};
use crate::text::{Coding, HEAD_BYTES};
use crate::{ReadError, Scan, SourceOptions, cells};

use infer::Kinds;
use tokens::{Records, Tokens};

/// Places beyond the head that are probed, and bytes read at each.
const N_PROBES: u64 = 16;
const PROBE_BYTES: u64 = 8 * 1024;

/// A text file whose first 64 KiB were read.
pub(crate) struct CsvFile {
    file: InputFile,
    coding: Coding,
    delimiter: u8,
    header: bool,
    null_values: Vec<Vec<u8>>,
    schema: SchemaRef,
    notes: Vec<String>,
}

/// Learns the columns of a file from its start.
pub(crate) fn open(file: InputFile, coding: Coding, options: &SourceOptions) -> Result<CsvFile, ReadError> {
    let (head, whole) = coding.head(&file, HEAD_BYTES)?;
    if head.is_empty() {
        return Err(file.corrupt(None, "it is empty"));
    }
    let mut notes = Vec::new();
    let delimiter = match options.delimiter {
        Some(delimiter) => delimiter,
        None => infer::separator(&file, &head, whole)?,
    };
    if options.delimiter.is_none() && delimiter != b',' {
        notes.push(format!("`{}`: cells are separated by `{}` (guessed)", file.path.display(), name(delimiter)));
    }
    let sample = infer::sample(&file, &head, whole, delimiter)?;
    if sample.n_rows() == 0 {
        return Err(file.corrupt(None, format!("no line ends in its first {} bytes", head.len())));
    }
    let header = options.header.unwrap_or(true);
    let null_values: Vec<Vec<u8>> = options.null_values.iter().map(|text| text.clone().into_bytes()).collect();
    let mut csv = CsvFile { file, coding, delimiter, header, null_values, schema: Arc::new(Schema::empty()), notes };
    csv.learn(&sample, whole)?;
    Ok(csv)
}

impl CsvFile {
    fn learn(&mut self, sample: &Records, whole: bool) -> Result<(), ReadError> {
        let first_row = usize::from(self.header);
        let names = self.names(sample)?;
        let is_null = |cell: &[u8]| is_null(&self.null_values, cell);
        let mut kinds = infer::kinds(sample, first_row, names.len(), is_null);
        if !whole && self.coding.is_plain() {
            self.probe(&mut kinds)?;
        }
        let mut notes = Vec::new();
        for (column, (name, kinds)) in names.iter().zip(&kinds).enumerate() {
            if let Some(spoiler) = infer::spoiler(sample, first_row, column, *kinds, is_null) {
                notes.push(format!(
                    "column `{name}` of `{}` is read as text: {spoiler}; add it to `null_values` if it means missing",
                    self.file.path.display()
                ));
            }
        }
        if self.header && looks_like_data(sample) {
            notes.push(format!(
                "the first line of `{}` looks like data, not names: set `header = false` if it is",
                self.file.path.display()
            ));
        }
        self.notes.extend(notes);
        let data_type = if whole { Kinds::data_type } else { Kinds::data_type_of_part };
        let field = |(name, kinds): (String, Kinds)| Field::new(name, data_type(kinds), true);
        self.schema = Arc::new(Schema::new(names.into_iter().zip(kinds).map(field).collect::<Vec<_>>()));
        Ok(())
    }

    fn names(&self, sample: &Records) -> Result<Vec<String>, ReadError> {
        let numbered = |column: usize| format!("column_{}", column + 1);
        if !self.header {
            return Ok((0..sample.width(0)).map(numbered).collect());
        }
        let name = |column: usize| {
            let name = crate::text::utf8(&self.file.path, &numbered(column), sample.line(0), sample.cell(0, column))?;
            let name = name.trim();
            Ok(if name.is_empty() { numbered(column) } else { name.to_owned() })
        };
        (0..sample.width(0)).map(name).collect()
    }

    /// Looks at whole records here and there in the rest of the file.
    fn probe(&self, kinds: &mut [Kinds]) -> Result<(), ReadError> {
        let io = |error| ReadError::io(&self.file.path, error);
        let mut handle: File = self.file.open()?;
        for probe in 1..=N_PROBES {
            let at = HEAD_BYTES as u64 + (self.file.bytes.saturating_sub(HEAD_BYTES as u64 + PROBE_BYTES)) * probe / N_PROBES;
            let mut bytes = Vec::new();
            handle.seek(SeekFrom::Start(at)).map_err(io)?;
            (&mut handle).take(PROBE_BYTES).read_to_end(&mut bytes).map_err(io)?;
            let Some(first) = bytes.iter().position(|byte| *byte == b'\n') else { continue };
            // A probe may begin inside of quotes: records of the wrong width are nonsense and passed over.
            let Ok(records) = infer::sample(&self.file, &bytes[first + 1..], false, self.delimiter) else { continue };
            let width = kinds.len();
            for row in (0..records.n_rows()).filter(|row| records.width(*row) == width) {
                for (column, kinds) in kinds.iter_mut().enumerate() {
                    let cell = records.cell(row, column);
                    if !is_null(&self.null_values, cell) {
                        kinds.widen(cell);
                    }
                }
            }
        }
        Ok(())
    }

    fn tokens(&self) -> Result<Tokens, ReadError> {
        let text = self.coding.reader(&self.file)?;
        let width = self.schema.fields().len();
        let mut tokens = Tokens::new(self.file.clone(), text, self.delimiter, Some(width));
        if self.header {
            tokens.read(1, usize::MAX)?;
        }
        Ok(tokens)
    }
}

impl Part for CsvFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn is_text(&self) -> bool {
        true
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn scan(self: Arc<Self>, columns: &[Wanted]) -> Result<Box<dyn Scan>, ReadError> {
        let tokens = self.tokens()?;
        let columns =
            columns.iter().map(|wanted| Wanted { column: wanted.column, data_type: cells::readable(&wanted.data_type) }).collect();
        Ok(Box::new(scan::CsvScan::new(self, tokens, columns)))
    }
}

fn is_null(null_values: &[Vec<u8>], cell: &[u8]) -> bool {
    cell.is_empty() || null_values.iter().any(|value| value == cell)
}

/// Whether the line of names holds numbers only.
fn looks_like_data(sample: &Records) -> bool {
    let is_number = |cell: &[u8]| std::str::from_utf8(cell.trim_ascii()).is_ok_and(|text| cells::number(text).is_some());
    sample.n_rows() > 0 && (0..sample.width(0)).all(|column| is_number(sample.cell(0, column)))
}

fn name(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".to_owned(),
        other => char::from(other).to_string(),
    }
}
