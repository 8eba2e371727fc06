//! Reads a Parquet file: the columns of one row group at a time, in parallel and in step.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{TimestampMicrosecondType, TimestampSecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use rayon::prelude::*;

use super::pages::{ChunkBytes, Handles, Limits};
use super::{Int96, ParquetFile, delta, footer, strip};
use crate::fence::fenced;
use crate::{ReadError, Scan, Sink};

/// Most rows in one array. Arrays of 64 KiB stay in cache between decoder and sink; 65,536 rows were up to 2.5 times
/// slower in research.
const MAX_ARRAY_ROWS: usize = 16_384;

/// Bytes that an array of texts should take.
const TEXT_ARRAY_BYTES: u64 = 8 << 20;

pub(super) struct ParquetScan {
    file: Arc<ParquetFile>,
    handles: Arc<Handles>,
    projection: Vec<usize>,
    next_group: usize,
    rows_left: usize,
    /// Rows of one call in this row group: where values may be long, those of one array.
    most_rows: usize,
    units: Vec<Unit>,
    failed: bool,
}

impl ParquetScan {
    pub(super) fn new(file: Arc<ParquetFile>, projection: Vec<usize>) -> Self {
        let handles = Handles::new(file.file.clone());
        Self { file, handles, projection, next_group: 0, rows_left: 0, most_rows: 0, units: Vec::new(), failed: false }
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
        // `with_max_len(1)`: columns differ in cost (texts, codecs), so a thread takes them one by one.
        let step = |unit: &mut Unit| {
            unit.advance(n_rows, sink)?;
            if ends { unit.end() } else { Ok(()) }
        };
        let results: Vec<Result<(), ReadError>> = self.units.par_iter_mut().with_max_len(1).map(step).collect();
        // Collected before it is looked at, so that of several bad columns the first is named.
        results.into_iter().collect::<Result<(), _>>()?;
        self.rows_left -= n_rows;
        if ends {
            self.units.clear();
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
            pending: None,
            n_read: 0,
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
    /// Rows that were decoded and not asked for yet.
    pending: Option<ArrayRef>,
    n_read: usize,
}

struct Readers {
    reader: ParquetRecordBatchReader,
    bytes: ChunkBytes,
    /// The same column in seconds, to tell an INT96 timestamp that wrapped.
    seconds: Option<ParquetRecordBatchReader>,
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

    /// Makes sure that nothing is left.
    fn end(&mut self) -> Result<(), ReadError> {
        if self.pending.is_some() || self.decode()?.is_some() {
            return Err(self.corrupt(format!("it goes on after the {} rows of its row group", self.rows())));
        }
        self.readers = None;
        Ok(())
    }

    /// Opens the column and returns how many of its rows are safe to hold at a time.
    fn prepare(&mut self) -> Result<usize, ReadError> {
        let file = Arc::clone(&self.file);
        let (readers, most_rows) = fenced(&file.file.path, Some(&file.columns[self.column].name), || self.open())?;
        self.readers = Some(readers);
        Ok(most_rows)
    }

    fn decode(&mut self) -> Result<Option<ArrayRef>, ReadError> {
        let file = Arc::clone(&self.file);
        let name = &file.columns[self.column].name;
        fenced(&file.file.path, Some(name), || {
            let Some(mut readers) = self.readers.take() else { return Err(self.corrupt("it is read after its end")) };
            let array = readers.next(self)?;
            self.readers = Some(readers);
            self.n_read += array.as_ref().map_or(0, |array| array.len());
            Ok(array)
        })
    }

    fn open(&self) -> Result<(Readers, usize), ReadError> {
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
        let (metadata, first_leaf) = self.file.narrow(self.column);
        let reader = self.reader(metadata, first_leaf, &bytes, array_rows)?;
        let seconds = match (&self.file.seconds, column.int96) {
            (Some(seconds), Int96::Whole) => Some(self.reader(seconds, 0, &bytes, array_rows)?),
            _ => None,
        };
        Ok((Readers { reader, bytes, seconds }, safe_rows))
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
        ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone())
            .with_row_groups(vec![self.group])
            .with_projection(mask)
            .with_batch_size(array_rows)
            .build()
            .map_err(|error| self.corrupt(strip(&error.to_string())))
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
