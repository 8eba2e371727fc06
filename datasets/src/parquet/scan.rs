//! Reads a Parquet file: the columns of one row group at a time, in parallel and in step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{TimestampMicrosecondType, TimestampSecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use rayon::prelude::*;

use super::pages::{ChunkBytes, Handles, Limits};
use super::{Int96, ParquetFile, delta, footer, pages, strip};
use crate::fence::fenced;
use crate::{ReadError, Scan, Sink};

/// Most rows in one array. Arrays of 64 KiB stay in cache between decoder and sink; 65,536 rows were up to 2.5 times
/// slower in research.
const MAX_ARRAY_ROWS: usize = 16_384;

/// Bytes that an array of texts should take.
const TEXT_ARRAY_BYTES: u64 = 8 << 20;

/// The part of the memory budget that readers may hold between two calls.
const OPEN_SHARE: u64 = 8;

/// What the readers of a row group hold while they stay open.
///
/// A reader holds a page of its column, most often 1 MiB, and its dictionary: of a wide table that is more than a small budget. Readers that find
/// no room are closed after every call; the next one opens them anew where they ended, which passes over whole pages and unpacks one again.
#[derive(Debug)]
struct Room {
    used_bytes: AtomicU64,
    most_bytes: u64,
}

impl Room {
    /// Puts `bytes` in place of `before` that a reader held; says whether there is room for it.
    fn change(&self, before: u64, bytes: u64) -> bool {
        let others = self.used_bytes.fetch_sub(before, Ordering::Relaxed).saturating_sub(before);
        let fits = others.saturating_add(bytes) <= self.most_bytes;
        self.used_bytes.fetch_add(if fits { bytes } else { 0 }, Ordering::Relaxed);
        fits
    }
}

pub(super) struct ParquetScan {
    file: Arc<ParquetFile>,
    handles: Arc<Handles>,
    projection: Vec<usize>,
    next_group: usize,
    rows_left: usize,
    /// Rows of one call in this row group: where values may be long, those of one array.
    most_rows: usize,
    units: Vec<Unit>,
    room: Room,
    failed: bool,
}

impl ParquetScan {
    pub(super) fn new(file: Arc<ParquetFile>, projection: Vec<usize>) -> Self {
        let handles = Handles::new(file.file.clone());
        let room = Room { used_bytes: AtomicU64::new(0), most_bytes: file.file.budget_bytes / OPEN_SHARE };
        Self { file, handles, projection, next_group: 0, rows_left: 0, most_rows: 0, units: Vec::new(), room, failed: false }
    }

    fn advance(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        while self.rows_left == 0 {
            let metadata = Arc::clone(self.file.metadata.metadata());
            let Some(group) = metadata.row_groups().get(self.next_group) else { return Ok(0) };
            self.open_group(group, self.next_group, max_rows)?;
            self.next_group += 1;
        }
        let n_rows = max_rows.min(self.rows_left).min(self.most_rows);
        let ends = n_rows == self.rows_left;
        let room = &self.room;
        // `with_max_len(1)`: columns differ in cost (texts, codecs), so a thread takes them one by one.
        let step = |unit: &mut Unit| {
            unit.advance(n_rows, sink)?;
            if ends {
                return unit.end();
            }
            unit.stay_or_close(room);
            Ok(())
        };
        let results: Vec<Result<(), ReadError>> = self.units.par_iter_mut().with_max_len(1).map(step).collect();
        // Collected before it is looked at, so that of several bad columns the first is named.
        results.into_iter().collect::<Result<(), _>>()?;
        self.rows_left -= n_rows;
        if ends {
            self.units.clear();
            self.room.used_bytes = AtomicU64::new(0);
        }
        Ok(n_rows)
    }

    fn open_group(&mut self, group: &RowGroupMetaData, index: usize, max_rows: usize) -> Result<(), ReadError> {
        let input = &self.file.file;
        let rows = group.num_rows();
        self.rows_left = usize::try_from(rows).map_err(|_| input.corrupt(None, format!("a row group claims {rows} rows")))?;
        let open = |(position, column): (usize, &usize)| Unit {
            file: Arc::clone(&self.file),
            handles: Arc::clone(&self.handles),
            column: *column,
            position,
            group: index,
            array_rows: even_parts(max_rows),
            readers: None,
            reopen: None,
            pending: None,
            n_read: 0,
            held_bytes: 0,
        };
        self.units.clear();
        if self.rows_left == 0 {
            return Ok(());
        }
        self.units = self.projection.iter().enumerate().map(open).collect();
        let limits: Vec<Result<usize, ReadError>> = self.units.par_iter_mut().with_max_len(1).map(Unit::prepare).collect();
        self.most_rows = limits.into_iter().try_fold(usize::MAX, |least, limit| limit.map(|limit| least.min(limit)))?;
        Ok(())
    }
}

impl Scan for ParquetScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        if self.failed {
            return Err(self.file.file.corrupt(None, "reading it failed before"));
        }
        let result = self.advance(max_rows.max(1), sink);
        if result.is_err() {
            self.failed = true;
            self.units.clear();
        }
        result
    }
}

/// Splits a call into arrays of equal length, so that each call ends where an array does.
fn even_parts(max_rows: usize) -> usize {
    max_rows.div_ceil(max_rows.div_ceil(MAX_ARRAY_ROWS))
}

/// One column of one row group.
struct Unit {
    file: Arc<ParquetFile>,
    handles: Arc<Handles>,
    column: usize,
    position: usize,
    group: usize,
    array_rows: usize,
    readers: Option<Readers>,
    /// How readers that were closed are opened again.
    reopen: Option<Reopen>,
    /// Rows that were decoded and not asked for yet.
    pending: Option<ArrayRef>,
    n_read: usize,
    /// Bytes of the room that the open readers take.
    held_bytes: u64,
}

/// What was found out when the column was opened first.
#[derive(Clone, Copy)]
struct Reopen {
    limits: Limits,
    array_rows: usize,
}

struct Readers {
    reader: ParquetRecordBatchReader,
    bytes: ChunkBytes,
    /// The same column in seconds, to tell an INT96 timestamp that wrapped.
    seconds: Option<ParquetRecordBatchReader>,
    /// Whether rows had been read when they were opened.
    began_inside: bool,
}

impl Unit {
    fn name(&self) -> &str {
        &self.file.columns[self.column].name
    }

    fn rows(&self) -> usize {
        usize::try_from(self.file.metadata.metadata().row_group(self.group).num_rows()).unwrap_or(0)
    }

    fn corrupt(&self, detail: impl Into<String>) -> ReadError {
        self.file.file.corrupt(Some(self.name()), detail)
    }

    fn advance(&mut self, n_rows: usize, sink: &Sink<'_>) -> Result<(), ReadError> {
        let mut done = 0;
        while done < n_rows {
            let array = match self.pending.take() {
                Some(array) => array,
                None => self
                    .decode()?
                    .ok_or_else(|| self.corrupt(format!("it ends after {} of the {} rows of its row group", self.n_read, self.rows())))?,
            };
            let take = array.len().min(n_rows - done);
            if take == array.len() {
                sink(self.position, done, &array);
            } else {
                sink(self.position, done, &array.slice(0, take));
                self.pending = Some(array.slice(take, array.len() - take));
            }
            done += take;
        }
        Ok(())
    }

    /// Closes the readers where there is no room for what they hold.
    fn stay_or_close(&mut self, room: &Room) {
        let Some(readers) = &self.readers else { return };
        let twice = if readers.seconds.is_some() { 2 } else { 1 };
        let bytes = readers.bytes.held_bytes().saturating_mul(twice);
        let fits = room.change(self.held_bytes, bytes);
        self.held_bytes = if fits { bytes } else { 0 };
        if !fits {
            self.readers = None;
        }
    }

    /// Makes sure that nothing is left.
    fn end(&mut self) -> Result<(), ReadError> {
        if self.pending.is_some() || self.decode()?.is_some() {
            return Err(self.corrupt(format!("it goes on after the {} rows of its row group", self.rows())));
        }
        let began_inside = self.readers.take().filter(|readers| readers.began_inside);
        began_inside.map_or(Ok(()), |readers| {
            let file = Arc::clone(&self.file);
            fenced(&file.file.path, Some(self.name()), || self.check_pages(&readers.bytes))
        })
    }

    /// Looks through the headers of all pages: a reader that began inside of the column does not look behind its last row.
    fn check_pages(&self, bytes: &ChunkBytes) -> Result<(), ReadError> {
        let group = self.file.metadata.metadata().row_group(self.group);
        for leaf in &self.file.columns[self.column].leaves {
            let chunk = group.column(*leaf);
            let n_values = pages::n_values(bytes, chunk, self.rows());
            let failed =
                |error: ParquetError| named(bytes.take_refused(), self.name()).unwrap_or_else(|| self.corrupt(strip(&error.to_string())));
            if n_values.map_err(failed)? > u64::try_from(chunk.num_values()).unwrap_or(0) {
                return Err(self.corrupt(format!("it goes on after the {} rows of its row group", self.rows())));
            }
        }
        Ok(())
    }

    /// Opens the column and returns how many of its rows are safe to hold at a time.
    fn prepare(&mut self) -> Result<usize, ReadError> {
        let file = Arc::clone(&self.file);
        let (reopen, most_rows) = fenced(&file.file.path, Some(&file.columns[self.column].name), || self.open())?;
        self.reopen = Some(reopen);
        Ok(most_rows)
    }

    fn decode(&mut self) -> Result<Option<ArrayRef>, ReadError> {
        let file = Arc::clone(&self.file);
        let name = &file.columns[self.column].name;
        fenced(&file.file.path, Some(name), || {
            let mut readers = match (self.readers.take(), self.reopen) {
                (Some(readers), _) => readers,
                (None, Some(reopen)) => self.readers(reopen)?,
                (None, None) => return Err(self.corrupt("it is read after its end")),
            };
            let array = readers.next(self)?;
            self.readers = Some(readers);
            self.n_read += array.as_ref().map_or(0, |array| array.len());
            Ok(array)
        })
    }

    /// Looks through the column as far as is needed to read it safely, and returns how many of its rows may be held at a time.
    fn open(&self) -> Result<(Reopen, usize), ReadError> {
        let (input, column) = (&self.file.file, &self.file.columns[self.column]);
        let group = self.file.metadata.metadata().row_group(self.group);
        let always_compressed = self.file.always_compressed;
        let mut limits = Limits { n_values: 0, value_bytes: u64::MAX, deltas_checked: false, compressed: false, always_compressed };
        for leaf in &column.leaves {
            let chunk = group.column(*leaf);
            footer::check_chunk(input, &column.name, chunk)?;
            limits.n_values = limits.n_values.max(u64::try_from(chunk.num_values()).unwrap_or(0));
            limits.value_bytes = limits.value_bytes.min(value_bytes(chunk));
            limits.deltas_checked |= delta::is_used(chunk);
            limits.compressed |= chunk.compression() != Compression::UNCOMPRESSED;
        }
        let bytes = ChunkBytes::new(Arc::clone(&self.handles), limits);
        let rows = self.rows();
        let mut safe_rows = usize::MAX;
        for leaf in &column.leaves {
            let chunk = group.column(*leaf);
            if limits.deltas_checked && delta::is_used(chunk) {
                delta::check(bytes.clone(), chunk, rows)
                    .map_err(|detail| named(bytes.take_refused(), &column.name).unwrap_or_else(|| self.corrupt(detail)))?;
            }
            safe_rows = safe_rows.min(self.safe_rows(chunk, &bytes)?);
        }
        let array_rows = self.array_rows.min(rows).clamp(1, safe_rows);
        Ok((Reopen { limits, array_rows }, safe_rows))
    }

    /// Opens readers behind the rows that were read.
    fn readers(&self, Reopen { limits, array_rows }: Reopen) -> Result<Readers, ReadError> {
        let bytes = ChunkBytes::new(Arc::clone(&self.handles), limits);
        let (metadata, first_leaf) = self.file.narrow(self.column);
        let reader = self.reader(metadata, first_leaf, &bytes, array_rows)?;
        let seconds = match (&self.file.seconds, self.file.columns[self.column].int96) {
            (Some(seconds), Int96::Whole) => Some(self.reader(seconds, 0, &bytes, array_rows)?),
            _ => None,
        };
        Ok(Readers { reader, bytes, seconds, began_inside: self.n_read > 0 })
    }

    fn reader(
        &self,
        metadata: &ArrowReaderMetadata,
        first_leaf: usize,
        bytes: &ChunkBytes,
        array_rows: usize,
    ) -> Result<ParquetRecordBatchReader, ReadError> {
        let leaves = self.file.columns[self.column].leaves.iter().map(|leaf| leaf - first_leaf);
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), leaves);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone())
            .with_row_groups(vec![self.group])
            .with_projection(mask)
            .with_batch_size(array_rows);
        let builder = if self.n_read > 0 { builder.with_offset(self.n_read) } else { builder };
        builder.build().map_err(|error| self.corrupt(strip(&error.to_string())))
    }

    /// Rows whose values fit an array of modest size, however long the values are.
    fn safe_rows(&self, chunk: &ColumnChunkMetaData, bytes: &ChunkBytes) -> Result<usize, ReadError> {
        let column = chunk.column_descr();
        let is_text = matches!(column.physical_type(), PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY);
        if !is_text && column.max_rep_level() == 0 {
            return Ok(usize::MAX);
        }
        let (claimed, rows) = (u64::try_from(chunk.uncompressed_size()).unwrap_or(0), self.rows().max(1) as u64);
        let average = claimed / rows + u64::try_from(column.type_length()).unwrap_or(0);
        let mut safe = TEXT_ARRAY_BYTES / average.max(1);
        if let Some(start) = chunk.dictionary_page_offset().and_then(|start| u64::try_from(start).ok()) {
            // An entry of a dictionary may stand in every row. The longest is at most what all others leave, at 4 bytes each.
            if let Some((n, size)) = bytes.dictionary_claims(start)? {
                let most = size.saturating_sub(n.saturating_sub(1).saturating_mul(4)).max(1);
                let of = |longest: u64| self.file.file.budget_bytes / 4 / longest.max(1);
                // Where that would be few rows, the page is read for it.
                let is_few = of(most) < MAX_ARRAY_ROWS as u64;
                safe = safe.min(of(if is_few { longest_entry(bytes, chunk, self.rows()).unwrap_or(most) } else { most }));
            }
        }
        Ok(usize::try_from(safe).unwrap_or(usize::MAX).max(1))
    }
}

/// Returns the bytes of the longest entry of a chunk's dictionary; none where the page is not to be understood, which its reader will say.
fn longest_entry(bytes: &ChunkBytes, chunk: &ColumnChunkMetaData, rows: usize) -> Option<u64> {
    let column = chunk.column_descr();
    if column.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY {
        return u64::try_from(column.type_length()).ok();
    }
    let mut pages = SerializedPageReader::new(Arc::new(bytes.clone()), chunk, rows, None).ok()?;
    let Page::DictionaryPage { buf, .. } = pages.get_next_page().ok()?? else { return None };
    let (mut rest, mut longest) = (buf.as_ref(), 0);
    while let Some((length, entries)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(u64::from(length));
        rest = entries.get(usize::try_from(length).ok()?..)?;
    }
    Some(longest)
}

impl Readers {
    fn next(&mut self, unit: &Unit) -> Result<Option<ArrayRef>, ReadError> {
        let decoded = self.reader.next().transpose();
        let decoded = decoded
            .map_err(|error| named(self.bytes.take_refused(), unit.name()).unwrap_or_else(|| unit.corrupt(strip(&error.to_string()))))?;
        let Some(batch) = decoded else { return Ok(None) };
        let array = batch.columns().first().cloned().ok_or_else(|| unit.corrupt("it has no values"))?;
        if let Some(seconds) = &mut self.seconds {
            let batch = seconds.next().transpose().map_err(|error| unit.corrupt(strip(&error.to_string())))?;
            let same = batch.is_some_and(|batch| batch.columns().first().is_some_and(|s| is_same_time(&array, s)));
            if !same {
                return Err(unit.corrupt("an INT96 timestamp lies outside the range of 64-bit microseconds"));
            }
        }
        Ok(Some(array))
    }
}

/// Whether microseconds are the seconds they should be; they are not where one of them wrapped.
fn is_same_time(micros: &ArrayRef, seconds: &ArrayRef) -> bool {
    let micros = micros.as_primitive_opt::<TimestampMicrosecondType>();
    let seconds = seconds.as_primitive_opt::<TimestampSecondType>();
    micros.zip(seconds).is_some_and(|(micros, seconds)| {
        micros.len() == seconds.len()
            && micros.iter().zip(seconds.iter()).all(|(micros, seconds)| match (micros, seconds) {
                // Their roundings differ below zero, by a second at most.
                (Some(micros), Some(seconds)) => micros.div_euclid(1_000_000).abs_diff(seconds) <= 1,
                (micros, seconds) => micros.is_none() && seconds.is_none(),
            })
    })
}

/// Names the column in an error that was raised below it.
fn named(error: Option<ReadError>, name: &str) -> Option<ReadError> {
    error.map(|error| match error {
        ReadError::Corrupt { path, column: None, detail } => ReadError::Corrupt { path, column: Some(name.to_owned()), detail },
        ReadError::Budget { path, column: None, needed_bytes, budget_bytes } => {
            ReadError::Budget { path, column: Some(name.to_owned()), needed_bytes, budget_bytes }
        }
        other => other,
    })
}

/// Bytes that the smallest plain value of a chunk takes.
fn value_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let column = chunk.column_descr();
    match column.physical_type() {
        PhysicalType::BOOLEAN => 0,
        PhysicalType::INT32 | PhysicalType::FLOAT | PhysicalType::BYTE_ARRAY => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.type_length()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;
    use std::sync::Mutex;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::file::properties::{WriterProperties, WriterVersion};
    use arrow::array::{Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::input::InputFile;
    use crate::parquet;

    const ROWS: i64 = 5_000;

    /// Columns of every way to read: plain, dictionaries, texts, lists, missing cells; two row groups of several pages.
    fn file(version: WriterVersion) -> tempfile::NamedTempFile {
        let numbers = |step: i64| -> ArrayRef { Arc::new(Int64Array::from_iter((0..ROWS).map(|i| (i % 7 != 0).then_some(i * step)))) };
        let texts = |of: i64| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| format!("text {}", i % of)))) };
        let lists = (0..ROWS).map(|i| (i % 5 != 0).then(|| (0..i % 4).map(Some).collect::<Vec<_>>()));
        let mut columns: Vec<(String, ArrayRef)> = (1..9).map(|at| (format!("n{at}"), numbers(at))).collect();
        columns.push(("few".to_owned(), texts(9)));
        columns.push(("many".to_owned(), texts(ROWS)));
        columns.push(("f".to_owned(), Arc::new(Float64Array::from_iter_values((0..ROWS).map(|i| i as f64 / 3.0)))));
        columns.push(("l".to_owned(), Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))));
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_max_row_group_row_count(Some(3_000))
            .set_data_page_size_limit(4_096)
            .set_write_batch_size(256)
            .build();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    /// Reads all columns under a budget in calls of some rows; returns them, and how many readers were closed between two calls at the most.
    fn read(file: &Path, budget_bytes: u64, max_rows: usize) -> (Vec<ArrayRef>, usize) {
        let opened = Arc::new(parquet::open(InputFile::at(file, budget_bytes).unwrap()).unwrap());
        let n_columns = opened.columns.len();
        let mut scan = ParquetScan::new(opened, (0..n_columns).collect());
        let pieces: Vec<Mutex<Vec<ArrayRef>>> = (0..n_columns).map(|_| Mutex::default()).collect();
        let mut most_closed = 0;
        while scan.next(max_rows, &|column, _, array: &ArrayRef| pieces[column].lock().unwrap().push(Arc::clone(array))).unwrap() > 0 {
            assert!(scan.room.used_bytes.load(Ordering::Relaxed) <= scan.room.most_bytes);
            most_closed = most_closed.max(scan.units.iter().filter(|unit| unit.readers.is_none()).count());
        }
        let whole = |pieces: Mutex<Vec<ArrayRef>>| {
            let pieces = pieces.into_inner().unwrap();
            arrow::compute::concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap()
        };
        (pieces.into_iter().map(whole).collect(), most_closed)
    }

    #[test]
    fn readers_without_room_are_closed_and_go_on_where_they_ended() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let file = file(version);
            let (whole, closed) = read(file.path(), 1 << 30, 1_000);
            assert_eq!((closed, whole.len()), (0, 12));
            for (budget_bytes, max_rows) in [(1 << 17, 1_000), (1 << 17, 77), (1 << 18, 333), (1 << 16, 10_000)] {
                let (columns, closed) = read(file.path(), budget_bytes, max_rows);
                assert!(columns == whole, "{budget_bytes} bytes, {max_rows} rows");
                assert!(0 < closed && (closed < 12 || budget_bytes < 1 << 18), "{budget_bytes} bytes: {closed} closed");
            }
        }
    }
}
