//! Brings a source to the engine: one scan a pass of an analysis, or its columns into memory; a look at the stop flag after
//! every piece.

use std::sync::{Mutex, PoisonError};

use gristmill_datasets::ReadError;
use gristmill_engine::EngineError;
use gristmill_engine::analysis::{self, Analysis};
use gristmill_engine::backend::Backend;
use gristmill_engine::columns::{Table, TableBuilder, is_text};

use crate::JobError;
use crate::error::Exit;
use crate::kinds::StepRun;
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
