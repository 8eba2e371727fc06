//! Brings a source to the engine: one scan a pass of an analysis, or its columns into memory; a look at the stop flag after
//! every piece.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use gristmill_datasets::{ReadError, Source};
use gristmill_engine::EngineError;
use gristmill_engine::analysis::{self, Analysis};
use gristmill_engine::backend::Backend;
use gristmill_engine::columns::{Table, TableBuilder, is_text};

use crate::JobError;
use crate::error::Exit;
use crate::kinds::StepRun;
use crate::memory;
use crate::spec::StepSpec;

/// What can end a pass.
enum PassError {
    Read(ReadError),
    Engine(EngineError),
    Stopped,
}

impl From<EngineError> for PassError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<ReadError> for PassError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Runs an analysis to its end on the places of `backend`.
///
/// # Errors
/// When the source cannot be read, the data do not allow the analysis, or the run was asked to stop.
pub fn run<A: Analysis>(analysis: &mut A, step: &StepSpec, on: &StepRun<'_>, backend: &Backend) -> Result<A::Output, JobError> {
    let n_rows = on.source.n_rows();
    let result = analysis::run(analysis, backend, |pass, under_way| {
        let mut scan = on.source.scan(&pass.columns)?;
        let mut done = 0;
        loop {
            let rows = under_way.fill(|room, put| scan.next(room, put).map_err(PassError::Read))?;
            done += rows as u64;
            (on.progress)(done, n_rows);
            if (on.stopped)() {
                return Err(PassError::Stopped);
            }
            if rows == 0 {
                return Ok(());
            }
        }
    });
    result.map_err(|error| match error {
        PassError::Read(error) => JobError::Read { source_name: step.from.value.name.clone(), error: Box::new(error) },
        PassError::Engine(error) => engine_error(step, error),
        PassError::Stopped => JobError::Stopped(Exit::Interrupted),
    })
}

/// Columns of a source in memory.
pub enum Collected {
    /// All rows, and the names of text columns that are left out because they have too many different texts.
    Table(Table, Vec<String>),
    /// They do not fit: bytes needed at the least, and the budget.
    TooLarge {
        /// Bytes of the columns as far as they were read, or as the file says.
        needed_bytes: u64,
        /// Bytes that they may take.
        budget_bytes: u64,
    },
}

/// Rows that are asked for at a time.
const ROWS_AT_ONCE: usize = 16_384;
/// Least rows, however wide the table is: readers that found no room unpack a page anew each time.
const LEAST_AT_ONCE: usize = 1_024;
/// The part of the step's memory that the cells of a block may take.
const BLOCK_SHARE: usize = 8;
/// Bytes of cells that are handed on at a time, and how much larger what a step makes of them may be: texts of numbers, and copies.
const HANDED_BYTES: usize = 1 << 20;
const HANDED_COPIES: u64 = 6;
/// Bytes that a text is taken for.
const TEXT_BYTES: usize = 32;
/// Bytes that the program's part of the budget has for reading.
const READING_BYTES: u64 = 8 << 20;

/// How many rows of a table are read and handed on at a time.
struct Block {
    read: usize,
    handed: usize,
}

impl Block {
    fn of(row_bytes: usize, memory_bytes: u64) -> Self {
        let rows = |bytes: usize| (bytes / row_bytes.max(1)).clamp(LEAST_AT_ONCE, ROWS_AT_ONCE);
        let read = rows(usize::try_from(memory_bytes).unwrap_or(usize::MAX) / BLOCK_SHARE);
        Self { read, handed: rows(HANDED_BYTES).min(read) }
    }

    /// Returns what is held while so many rows of so many columns are read, beyond what the program's part of the budget has for it.
    ///
    /// A reader of a column of a file that says its rows holds a page, most often 1 MiB, as far as an eighth of the budget goes (`datasets`).
    fn held_bytes(&self, row_bytes: usize, n_columns: usize, n_rows: Option<u64>, memory_bytes: u64) -> u64 {
        const PAGE_BYTES: u64 = 1 << 20;
        let rows = |at_once: usize| n_rows.unwrap_or(u64::MAX).min(at_once as u64);
        let block = (rows(self.read) + HANDED_COPIES * rows(self.handed)).saturating_mul(row_bytes as u64);
        let page = |n_rows: u64| (row_bytes as u64 / n_columns.max(1) as u64).saturating_mul(n_rows).min(PAGE_BYTES);
        let pages = n_rows.map_or(0, page).saturating_mul(n_columns as u64).min(memory::of_step(memory_bytes) / 8);
        pages.saturating_add(block).saturating_sub(READING_BYTES)
    }
}

/// Returns the bytes of a row of some columns, about.
fn row_bytes(source: &dyn Source, columns: &[usize]) -> usize {
    let schema = source.schema();
    columns.iter().map(|&at| if is_text(schema.field(at).data_type()) { TEXT_BYTES } else { 8 }).sum()
}

/// Returns what is held while columns are read with [`blocks`], beyond what the program's part of the budget has for it: with the memory that
/// there is, and with all there could be, since blocks are shorter where memory is short.
#[must_use]
pub fn reading_bytes(columns: &[usize], on: &StepRun<'_>) -> [u64; 2] {
    let row_bytes = row_bytes(on.source, columns);
    let n_rows = on.source.files().iter().map(|file| file.rows).sum();
    [on.memory_bytes, u64::MAX].map(|memory| Block::of(row_bytes, memory).held_bytes(row_bytes, columns.len(), n_rows, memory))
}

/// Reads columns, by index into the source's schema, into memory of at most `budget_bytes`; texts of those at the positions `keys` only
/// have to be told apart.
///
/// # Errors
/// When the source cannot be read, a column has no usable type, or the run was asked to stop.
pub fn collect(columns: &[usize], keys: &[usize], budget_bytes: u64, step: &StepSpec, on: &StepRun<'_>) -> Result<Collected, JobError> {
    let schema = on.source.schema();
    let named: Vec<_> = columns.iter().map(|&at| (schema.field(at).name().clone(), schema.field(at).data_type().clone())).collect();
    let n_rows = on.source.n_rows();
    // A number takes 8 bytes and a code 2: what certainly does not fit is not begun.
    let bytes_a_row: u64 = columns.iter().map(|&at| if is_text(schema.field(at).data_type()) { 2 } else { 8 }).sum();
    let least_bytes = n_rows.unwrap_or(0).saturating_mul(bytes_a_row);
    if least_bytes > budget_bytes {
        return Ok(Collected::TooLarge { needed_bytes: least_bytes, budget_bytes });
    }
    let builder = TableBuilder::new(&named, budget_bytes).map_err(|error| engine_error(step, error))?;
    let builder = keys.iter().fold(builder, |builder, &key| builder.as_key(key)).expecting(n_rows.unwrap_or(0));
    let failed: Mutex<Option<EngineError>> = Mutex::new(None);
    let read_error = |error| JobError::Read { source_name: step.from.value.name.clone(), error: Box::new(error) };
    let mut scan = on.source.scan(columns).map_err(read_error)?;
    let mut done = 0;
    loop {
        let put = |column: usize, _: usize, array: &_| {
            if let Err(error) = builder.put(column, array) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        };
        let rows = scan.next(ROWS_AT_ONCE, &put).map_err(read_error)?;
        match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(EngineError::Budget { needed_bytes, budget_bytes, .. }) => return Ok(Collected::TooLarge { needed_bytes, budget_bytes }),
            Some(error) => return Err(engine_error(step, error)),
            None => {}
        }
        done += rows as u64;
        (on.progress)(done, n_rows);
        if (on.stopped)() {
            return Err(JobError::Stopped(Exit::Interrupted));
        }
        if rows == 0 {
            break;
        }
    }
    drop(scan);
    let (table, left_out) = builder.finish().map_err(|error| engine_error(step, error))?;
    Ok(Collected::Table(table, left_out))
}

/// Reads columns, by index into the source's schema, block by block: `take` is given the pieces of every column and the rows of the block.
///
/// # Errors
/// When the source cannot be read, `take` refuses a block, or the run was asked to stop.
pub fn blocks(
    columns: &[usize],
    step: &StepSpec,
    on: &StepRun<'_>,
    take: impl FnMut(Vec<Vec<ArrayRef>>, usize) -> Result<(), JobError>,
) -> Result<(), JobError> {
    blocks_of(on.source, &step.from.value.name, columns, on, take)
}

/// The same for another source than that of the step.
///
/// # Errors
/// As [`blocks`].
pub fn blocks_of(
    source: &dyn Source,
    name: &str,
    columns: &[usize],
    on: &StepRun<'_>,
    mut take: impl FnMut(Vec<Vec<ArrayRef>>, usize) -> Result<(), JobError>,
) -> Result<(), JobError> {
    let n_rows = source.n_rows();
    let read_error = |error| JobError::Read { source_name: name.to_owned(), error: Box::new(error) };
    let block = Block::of(row_bytes(source, columns), on.memory_bytes);
    let mut scan = source.scan(columns).map_err(read_error)?;
    let mut done = 0;
    loop {
        let pieces: Vec<Mutex<Vec<ArrayRef>>> = columns.iter().map(|_| Mutex::default()).collect();
        let put = |column: usize, _: usize, array: &ArrayRef| {
            pieces[column].lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(array));
        };
        let rows = scan.next(block.read, &put).map_err(read_error)?;
        if rows == 0 {
            return Ok(());
        }
        let pieces: Vec<Vec<ArrayRef>> =
            pieces.into_iter().map(|pieces| pieces.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        for first in (0..rows).step_by(block.handed) {
            let n = block.handed.min(rows - first);
            take(pieces.iter().map(|pieces| part(pieces, first, n)).collect(), n)?;
        }
        done += rows as u64;
        (on.progress)(done, n_rows);
        if (on.stopped)() {
            return Err(JobError::Stopped(Exit::Interrupted));
        }
    }
}

/// Returns the pieces of `n` rows from `first` on.
fn part(pieces: &[ArrayRef], mut first: usize, mut n: usize) -> Vec<ArrayRef> {
    let mut parts = Vec::new();
    for piece in pieces {
        let taken = piece.len().saturating_sub(first).min(n);
        if taken > 0 {
            parts.push(piece.slice(first, taken));
        }
        first = first.saturating_sub(piece.len());
        n -= taken;
    }
    parts
}

/// Reads one column, by index into the source's schema, as it is, into at most one part in `share` of the step's memory.
///
/// # Errors
/// When the source cannot be read, the column does not fit, or the run was asked to stop.
pub fn carry(column: usize, share: u64, step: &StepSpec, on: &StepRun<'_>) -> Result<ArrayRef, JobError> {
    let schema = on.source.schema();
    let field = schema.field(column);
    let mut pieces: Vec<ArrayRef> = Vec::new();
    let (mut held_bytes, mut n_rows) = (0, 0);
    blocks(&[column], step, on, |block, rows| {
        n_rows += rows as u64;
        let block = block.into_iter().flatten();
        pieces.extend(block.inspect(|piece| held_bytes += bytes_of(piece)));
        // The pieces, and the whole that they become.
        let needed_bytes = 2 * held_bytes * share;
        if needed_bytes <= on.memory_bytes {
            return Ok(());
        }
        let (_, needed_bytes) = on.of_all_rows(needed_bytes, n_rows);
        Err(JobError::Budget {
            what: format!("step `{}`: column `{}` to be carried into the tables", step.name.value, field.name()),
            needed_bytes,
            budget_bytes: on.memory_bytes,
            help: "raise `memory`, or remove `id`: `row` counts the rows of the input".to_owned(),
        })
    })?;
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    if pieces.is_empty() {
        return Ok(new_empty_array(field.data_type()));
    }
    concat(&pieces).map_err(|error| JobError::Data {
        step: step.name.value.clone(),
        message: format!("column `{}` cannot be carried into the tables: {error}", field.name()),
    })
}

/// Returns the bytes of the cells of a piece, which may be part of a larger buffer.
fn bytes_of(piece: &ArrayRef) -> u64 {
    piece.to_data().get_slice_memory_size().unwrap_or_else(|_| piece.get_array_memory_size()) as u64
}

/// Returns the engine's complaint about the data as one about the step.
#[must_use]
pub fn engine_error(step: &StepSpec, error: EngineError) -> JobError {
    let step = step.name.value.clone();
    match error {
        EngineError::Budget { what, needed_bytes, budget_bytes } => JobError::Budget {
            what: format!("step `{step}`: {what}"),
            needed_bytes,
            budget_bytes,
            help: "raise `memory`, or name fewer `columns`".to_owned(),
        },
        error => JobError::Data { step, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn blocks_are_as_long_as_memory_allows() {
        const MIB: u64 = 1 << 20;
        let of = |n_columns: usize, memory_mib: u64| {
            let block = Block::of(8 * n_columns, memory_mib * MIB);
            (block.read, block.handed)
        };
        assert_eq!(of(15, 24), (ROWS_AT_ONCE, 8_738));
        assert_eq!(of(200, 24), (1_966, 1_024));
        assert_eq!(of(200, 984), (ROWS_AT_ONCE, 1_024));
        assert_eq!(of(5_000, 24), (LEAST_AT_ONCE, LEAST_AT_ONCE));
        assert_eq!(of(0, 24), (ROWS_AT_ONCE, ROWS_AT_ONCE));
        let held = |n_columns: usize, n_rows: Option<u64>, memory_mib: u64| {
            Block::of(8 * n_columns, memory_mib * MIB).held_bytes(8 * n_columns, n_columns, n_rows, memory_mib * MIB)
        };
        let beyond = |pages_mib: u64, rows: u64| pages_mib * MIB + rows * 1_600 - READING_BYTES;
        // Few rows, and none; and a wide table, of which an eighth of the budget or all pages are held, and a block.
        assert_eq!([held(2_000, Some(50), 24), held(2_000, Some(0), 24)], [0; 2]);
        assert_eq!(held(200, Some(1_000_000), 24), beyond(8, 1_966 + 6 * 1_024));
        assert_eq!(held(200, Some(1_000_000), 80), beyond(15, 6_553 + 6 * 1_024));
        assert_eq!(held(200, Some(1_000_000), u64::MAX / MIB), beyond(200, 16_384 + 6 * 1_024));
        // Files of text have no pages.
        assert_eq!(held(200, None, u64::MAX / MIB), beyond(0, 16_384 + 6 * 1_024));
    }

    #[test]
    fn parts_of_pieces_are_the_rows_in_order() {
        let pieces: Vec<ArrayRef> = [0..3, 3..3, 3..10, 10..11].map(|of| Arc::new(Int32Array::from_iter_values(of)) as ArrayRef).into();
        for handed in 1..12 {
            let mut found = Vec::new();
            for first in (0..11).step_by(handed) {
                let n = handed.min(11 - first);
                let parts = part(&pieces, first, n);
                assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), n);
                assert!(parts.iter().all(|part| !part.is_empty()));
                found.extend(parts.iter().flat_map(|part| part.as_primitive::<Int32Type>().values().to_vec()));
            }
            assert_eq!(found, (0..11).collect::<Vec<_>>(), "{handed} at a time");
        }
    }
}
