//! JSON lines: one object a line.
//!
//! Types    from the first 64 KiB and, in plain files, from lines at some more places. Whole numbers are read
//!          exactly; in a longer file as floats, because a fraction may follow, unless one of them is past 2^53. Texts
//!          that are all dates or timestamps become such. A key that appears later than that is not read.
//! Nulls    `null`, absent keys and the texts in `null_values`.
//! Nested   objects and lists are offered with their nested type.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::{Decoder, infer_json_schema};
use rayon::prelude::*;

use crate::cells::{self, WrongCell};
use crate::fence::fenced;
use crate::input::InputFile;
use crate::table::{Part, Rows, Wanted};
use crate::text::{Coding, HEAD_BYTES};
use crate::{ReadError, Scan, Sink, SourceOptions};

/// Objects that are decoded at a time.
const BATCH_ROWS: usize = 8_192;
/// Bytes from which a batch ends with an object.
const BATCH_BYTES: usize = 8 << 20;

const INPUT_BYTES: usize = 256 * 1024;

/// Longest object, if the memory budget allows as much.
const MAX_OBJECT_BYTES: u64 = 256 << 20;

const N_PROBES: u64 = 16;
const PROBE_BYTES: u64 = 8 * 1024;

/// A file of JSON lines whose start was read.
pub(crate) struct JsonFile {
    file: InputFile,
    coding: Coding,
    schema: SchemaRef,
    null_values: Vec<String>,
}

/// Learns the columns of a file from its start.
pub(crate) fn open(file: InputFile, coding: Coding, options: &SourceOptions) -> Result<JsonFile, ReadError> {
    let (mut lines, whole) = coding.head(&file, HEAD_BYTES)?;
    let first = lines.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None if whole => return Err(file.corrupt(None, "it is empty")),
        Some(b'[') => {
            return Err(file.unsupported(None, "it is one JSON array; write one object a line instead (JSON lines)"));
        }
        _ => {}
    }
    if !whole {
        lines.truncate(lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        if lines.is_empty() {
            return Err(file.corrupt(None, format!("no line ends in its first {HEAD_BYTES} bytes")));
        }
        if coding.is_plain() {
            probe(&file, &mut lines)?;
        }
    }
    let schema = fenced(&file.path, None, || {
        let (schema, _) = infer_json_schema(Cursor::new(&lines), None).map_err(|error| file.corrupt(None, strip(&error)))?;
        refine(&file, schema, &lines, whole)
    })?;
    Ok(JsonFile { file, coding, schema: Arc::new(schema), null_values: options.null_values.clone() })
}

/// Adds whole lines from here and there in the rest of the file.
fn probe(file: &InputFile, lines: &mut Vec<u8>) -> Result<(), ReadError> {
    let io = |error| ReadError::io(&file.path, error);
    let mut handle: File = file.open()?;
    for probe in 1..=N_PROBES {
        let span = file.bytes.saturating_sub(HEAD_BYTES as u64 + PROBE_BYTES);
        let mut bytes = Vec::new();
        handle.seek(SeekFrom::Start(HEAD_BYTES as u64 + span / N_PROBES * probe)).map_err(io)?;
        (&mut handle).take(PROBE_BYTES).read_to_end(&mut bytes).map_err(io)?;
        // Line ends inside of JSON texts are escaped, so that a line is a line wherever one begins to read.
        let first = bytes.iter().position(|byte| *byte == b'\n');
        let last = bytes.iter().rposition(|byte| *byte == b'\n');
        if let Some((first, last)) = first.zip(last).filter(|(first, last)| first < last) {
            lines.extend_from_slice(&bytes[first + 1..=last]);
        }
    }
    Ok(())
}

/// Turns texts that are all dates or timestamps into such, and whole numbers into floats where not all lines were seen.
fn refine(file: &InputFile, schema: Schema, lines: &[u8], whole: bool) -> Result<Schema, ReadError> {
    let is_open = |field: &&Arc<Field>| match field.data_type() {
        DataType::Utf8 => true,
        DataType::Int64 => !whole,
        _ => false,
    };
    let open = Schema::new(schema.fields().iter().filter(is_open).cloned().collect::<Vec<_>>());
    if open.fields().is_empty() {
        return Ok(schema);
    }
    let names: Vec<String> = open.fields().iter().map(|field| field.name().clone()).collect();
    // The decoder reserves memory for its batch, so it should be no longer than needed.
    let n_lines = lines.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mut decoder = decoder(file, open, n_lines)?;
    let decoded = decoder.decode(lines).and_then(|_| decoder.flush());
    let Some(batch) = decoded.map_err(|error| file.corrupt(None, strip(&error)))? else { return Ok(schema) };
    let fields = schema.fields().iter().map(|field| {
        let column = names.iter().position(|name| name == field.name()).and_then(|at| batch.columns().get(at));
        let refined = column.and_then(|column| match column.as_primitive_opt::<Int64Type>() {
            Some(numbers) => numbers.iter().flatten().all(cells::is_exact).then_some(DataType::Float64),
            None => column.as_string_opt::<i32>().and_then(time_type),
        });
        match refined {
            Some(refined) => Arc::new(field.as_ref().clone().with_data_type(refined)),
            None => Arc::clone(field),
        }
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

fn time_type(texts: &StringArray) -> Option<DataType> {
    let mut values = texts.iter().flatten().peekable();
    values.peek()?;
    let is_time = |text: &str| text.len() > 10 && cells::timestamp(text).is_some();
    let (mut all_dates, mut all_times) = (true, true);
    for text in values {
        let is_date = cells::date(text).is_some();
        all_dates &= is_date;
        all_times &= is_date || is_time(text);
    }
    match (all_dates, all_times) {
        (true, _) => Some(DataType::Date32),
        (_, true) => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        _ => None,
    }
}

fn decoder(file: &InputFile, schema: Schema, batch_rows: usize) -> Result<Decoder, ReadError> {
    ReaderBuilder::new(Arc::new(schema))
        .with_batch_size(batch_rows)
        .with_coerce_primitive(true)
        .build_decoder()
        .map_err(|error| file.corrupt(None, strip(&error)))
}

impl Part for JsonFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn is_text(&self) -> bool {
        true
    }

    fn scan(self: Arc<Self>, columns: &[Wanted]) -> Result<Box<dyn Scan>, ReadError> {
        let columns: Vec<JsonColumn> = columns.iter().map(|wanted| self.column(wanted)).collect();
        // A column that is asked for twice is decoded once.
        let mut fields: Vec<Field> = Vec::new();
        for column in &columns {
            if !fields.iter().any(|field| *field.name() == column.name) {
                fields.push(Field::new(&column.name, column.decoded.clone(), true));
            }
        }
        let decoder = fenced(&self.file.path, None, || decoder(&self.file, Schema::new(fields), BATCH_ROWS))?;
        let text = self.coding.reader(&self.file)?;
        Ok(Box::new(JsonScan {
            file: self,
            text,
            decoder,
            columns,
            input: Vec::new(),
            used: 0,
            ended: false,
            object_bytes: 0,
            n_rows: 0,
            rows: Rows::default(),
            failed: false,
        }))
    }
}

impl JsonFile {
    fn column(&self, wanted: &Wanted) -> JsonColumn {
        let field = self.schema.field(wanted.column);
        let own = field.data_type();
        if own.is_nested() {
            return JsonColumn { name: field.name().clone(), decoded: own.clone(), parsed: None };
        }
        match cells::readable(&wanted.data_type) {
            // Arrow's decoder would cut 2.5 down to 2; texts are read exactly or not at all.
            parsed @ (DataType::Int64 | DataType::Date32 | DataType::Timestamp(..)) => {
                JsonColumn { name: field.name().clone(), decoded: DataType::Utf8, parsed: Some(parsed) }
            }
            parsed if !self.null_values.is_empty() => {
                JsonColumn { name: field.name().clone(), decoded: DataType::Utf8, parsed: Some(parsed) }
            }
            direct => JsonColumn { name: field.name().clone(), decoded: direct, parsed: None },
        }
    }
}

/// A column, the type that the decoder gives and the type that is read from that.
struct JsonColumn {
    name: String,
    decoded: DataType,
    parsed: Option<DataType>,
}

struct JsonScan {
    file: Arc<JsonFile>,
    text: Box<dyn Read + Send>,
    decoder: Decoder,
    columns: Vec<JsonColumn>,
    input: Vec<u8>,
    used: usize,
    ended: bool,
    /// Bytes since the last object ended.
    object_bytes: u64,
    n_rows: u64,
    rows: Rows,
    failed: bool,
}

impl JsonScan {
    fn advance(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        if self.rows.is_empty() {
            let file = Arc::clone(&self.file);
            let (arrays, n_rows) = fenced(&file.file.path, None, || self.decode())?;
            let columns = Parse { file: &file, columns: &self.columns, n_before: self.n_rows }.all(&arrays)?;
            self.n_rows += n_rows as u64;
            self.rows = Rows::new(columns, n_rows);
        }
        Ok(self.rows.give(max_rows, sink))
    }

    /// Decodes some objects: the arrays of the decoder, and their length.
    fn decode(&mut self) -> Result<(Vec<ArrayRef>, usize), ReadError> {
        let mut n_bytes = 0;
        loop {
            if self.used == self.input.len() && !self.ended {
                self.refill()?;
            }
            let before = self.decoder.len();
            let input = &self.input[self.used..];
            // Long objects are few at a time: of so many bytes each brace may be the end of a batch.
            let brace = if n_bytes < BATCH_BYTES { None } else { input.iter().position(|byte| *byte == b'}') };
            let input = &input[..brace.map_or(input.len(), |at| at + 1)];
            let used = self.decoder.decode(input).map_err(|error| self.corrupt(&error))?;
            let is_full = used < input.len();
            self.used += used;
            n_bytes += used;
            self.object_bytes = if self.decoder.len() == before { self.object_bytes + used as u64 } else { 0 };
            self.check_object()?;
            let is_long = n_bytes >= BATCH_BYTES && !self.decoder.is_empty() && !self.decoder.has_partial_record();
            if self.ended || is_full || is_long {
                break;
            }
        }
        let n_rows = self.decoder.len();
        let batch = self.decoder.flush().map_err(|error| self.corrupt(&error))?;
        Ok((batch.map_or_else(Vec::new, |batch| batch.columns().to_vec()), n_rows))
    }

    fn refill(&mut self) -> Result<(), ReadError> {
        self.input.clear();
        self.used = 0;
        let filled = self.text.by_ref().take(INPUT_BYTES as u64).read_to_end(&mut self.input);
        filled.map_err(|error| ReadError::io(&self.file.file.path, error))?;
        self.ended = self.input.is_empty();
        Ok(())
    }

    fn check_object(&self) -> Result<(), ReadError> {
        let most = MAX_OBJECT_BYTES.min(self.file.file.budget_bytes / 4);
        if self.object_bytes > most {
            let detail = format!("the object after row {} is longer than {most} bytes", self.n_rows);
            return Err(self.file.file.corrupt(None, detail));
        }
        Ok(())
    }

    fn corrupt(&self, error: &ArrowError) -> ReadError {
        self.file.file.corrupt(None, format!("after row {}: {}", self.n_rows, strip(error)))
    }
}

/// Makes the columns that were asked for out of those that the decoder gives.
struct Parse<'a> {
    file: &'a JsonFile,
    columns: &'a [JsonColumn],
    n_before: u64,
}

impl Parse<'_> {
    fn all(&self, arrays: &[ArrayRef]) -> Result<Vec<ArrayRef>, ReadError> {
        if arrays.is_empty() {
            return Ok(Vec::new());
        }
        let mut names: Vec<&str> = Vec::new();
        for column in self.columns {
            if !names.contains(&column.name.as_str()) {
                names.push(&column.name);
            }
        }
        let parse = |column: &JsonColumn| {
            let at = names.iter().position(|name| *name == column.name).unwrap_or(0);
            match (&column.parsed, arrays[at].as_string_opt::<i32>()) {
                (Some(data_type), Some(texts)) => self.texts(column, data_type, texts),
                _ => Ok(Arc::clone(&arrays[at])),
            }
        };
        let columns: Vec<Result<ArrayRef, ReadError>> = self.columns.par_iter().map(parse).collect();
        columns.into_iter().collect()
    }

    fn texts(&self, column: &JsonColumn, to: &DataType, texts: &StringArray) -> Result<ArrayRef, ReadError> {
        let cell = |row: usize| {
            let text = (!texts.is_null(row)).then(|| texts.value(row));
            text.filter(|text| !self.file.null_values.iter().any(|null| null == text)).map(str::as_bytes)
        };
        cells::column(texts.len(), to, cell).map_err(|WrongCell { row, expected }| {
            let text = texts.value(row);
            let help = if cells::number(text).is_some() {
                "the first rows hold whole numbers, so give one of them a decimal point, as in `1.0`".to_owned()
            } else {
                format!("add \"{}\" to `null_values` if it means missing", text.escape_default())
            };
            ReadError::WrongType {
                path: self.file.file.path.clone(),
                column: column.name.as_str().into(),
                line: self.n_before + row as u64 + 1,
                text: text.chars().take(60).collect::<String>().into(),
                expected,
                help: help.into(),
            }
        })
    }
}

impl Scan for JsonScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        if self.failed {
            return Err(self.file.file.corrupt(None, "reading it failed before"));
        }
        let result = self.advance(max_rows.max(1), sink);
        self.failed = result.is_err();
        result
    }
}

/// Takes arrow's own prefixes off its messages.
fn strip(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(message) | ArrowError::ParseError(message) => message.clone(),
        other => other.to_string(),
    }
}
