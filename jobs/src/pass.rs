//! Runs an analysis of the engine over a source: one scan a pass, a look at the stop flag after every piece.

use gristmill_datasets::ReadError;
use gristmill_engine::EngineError;
use gristmill_engine::analysis::{self, Analysis};
use gristmill_engine::backend::Backend;

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
