//! The rows of a step, in memory or in a file.

use arrow::array::Array;
use arrow::datatypes::Schema;
use gristmill_engine::backend::Backend;
use gristmill_engine::cluster::{self as engine, ClusterOptions, Method, RowBlocks};
use gristmill_engine::columns::{self, Table as Columns};

use super::categories::{self, Used};
use super::{Asked, SHARE};
use crate::JobError;
use crate::kinds::StepRun;
use crate::pass::{self, Collected};
use crate::spec::StepSpec;
use crate::spill::{Names, Spilled, spill};
use crate::terminal::{self, count};

/// The rows, where they are.
pub(super) struct Input {
    rows: Where,
    /// What the columns that take part mean.
    pub(super) used: Vec<Used>,
    /// The column that names a row.
    pub(super) names: Option<Names>,
}

enum Where {
    /// Columns that take part, and the others.
    Held(Columns, Columns),
    Spilled(Spilled),
}

impl Input {
    /// Reads the columns into memory, or where they do not fit and the method allows it, into a file.
    pub(super) fn read(
        asked: &Asked,
        id: Option<usize>,
        options: &ClusterOptions,
        step: &StepSpec,
        (on, schema): (&StepRun<'_>, &Schema),
    ) -> Result<Self, JobError> {
        let all: Vec<usize> = asked.used.iter().chain(&asked.others).copied().collect();
        let has_text = asked.used.iter().any(|&at| columns::is_text(schema.field(at).data_type()));
        match held(&all, &asked.used, id, step, on) {
            Err(JobError::Budget { .. }) if options.method == Method::KMeans && !has_text => {}
            other => return other,
        }
        let (spilled, names) = spill(&all, asked.used.len(), id, step, on, |n_rows| fits_streamed(n_rows, all.len(), step, on))?;
        let used = asked.used.iter().map(|&at| Used { at, level: None, category_of: None }).collect();
        Ok(Self { rows: Where::Spilled(spilled), used, names })
    }

    pub(super) fn n_rows(&self) -> usize {
        match &self.rows {
            Where::Held(table, _) => table.n_rows,
            Where::Spilled(spilled) => spilled.n_rows(),
        }
    }

    pub(super) fn cluster(
        &self,
        options: &ClusterOptions,
        backend: &Backend,
        on: &StepRun<'_>,
        emit: engine::Emit<'_>,
    ) -> Result<Option<engine::Clustering>, JobError> {
        match &self.rows {
            Where::Held(table, others) => Ok(engine::cluster_table(table, others, options, backend, on.stopped, emit).unwrap_or(None)),
            Where::Spilled(spilled) => engine::cluster_rows(spilled, options, backend, on.stopped, emit)
                .map_err(|error| JobError::ReadBack { path: spilled.path().to_owned(), error }),
        }
    }

    pub(super) fn note(&self) -> Option<String> {
        match &self.rows {
            Where::Held(..) => None,
            Where::Spilled(spilled) => {
                let bytes = terminal::bytes((spilled.n_rows() * spilled.n_columns() * 8) as u64);
                Some(format!("the columns did not fit into memory and were read again and again from a file of {bytes}"))
            }
        }
    }
}

/// Refuses rows of which labels and a draw do not fit; where it is not known how many there are, columns of which not even a block does.
fn fits_streamed(n_rows: Option<u64>, n_columns: usize, step: &StepSpec, on: &StepRun<'_>) -> Result<(), JobError> {
    let (what, needed_bytes) = match n_rows {
        Some(n) => (format!("labels of {} rows, and some of them side by side", count(n)), engine::streamed_bytes(n, n_columns)),
        None => (format!("blocks of {n_columns} columns"), 2 * 8 * (engine::BLOCK_ROWS * n_columns) as u64),
    };
    if needed_bytes <= on.memory_bytes {
        return Ok(());
    }
    Err(JobError::Budget {
        what: format!("step `{}`: {what}", step.name.value),
        needed_bytes,
        budget_bytes: on.memory_bytes,
        help: "raise `memory`, name fewer `columns` and `exclude` the others, or draw rows with `sample`".to_owned(),
    })
}

/// Bytes of the sample that numbers of segments are judged on, and of its distances, where columns are few.
const SAMPLE_BYTES: u64 = 12 << 20;

/// Returns the bytes of the sample: its cells as they are, scaled, and drawn anew.
pub(super) fn sample_bytes(n_rows: usize, n_columns: usize) -> u64 {
    SAMPLE_BYTES.max((3 * 8 * n_rows.min(engine::SAMPLE) * n_columns) as u64)
}

/// Reads the columns into memory, those that take part first.
fn held(all: &[usize], used: &[usize], id: Option<usize>, step: &StepSpec, on: &StepRun<'_>) -> Result<Input, JobError> {
    let names = id.map(|at| pass::carry(at, SHARE, step, on)).transpose()?;
    let held_bytes = names.as_ref().map_or(0, |cells| cells.get_array_memory_size() as u64);
    let elsewhere = held_bytes + SAMPLE_BYTES.min(on.memory_bytes / 4);
    let budget_bytes = on.memory_bytes.saturating_sub(elsewhere);
    let refused = |what: String, needed_bytes: u64, help: &str| JobError::Budget {
        what: format!("step `{}`: {what} in memory", step.name.value),
        needed_bytes: needed_bytes + held_bytes,
        budget_bytes: on.memory_bytes,
        help: help.to_owned(),
    };
    let too_many = |column: &str, n: String| JobError::Data {
        step: step.name.value.clone(),
        message: format!(
            "column `{column}` has {n} different texts, and at most {} make segments; remove it, or put them into groups first",
            categories::MOST_LEVELS
        ),
    };
    match pass::collect(all, &[], budget_bytes / SHARE, step, on)? {
        Collected::Table(mut table, left_out) => {
            if let Some(column) = left_out.first() {
                return Err(too_many(column, format!("more than {}", columns::MOST_LEVELS)));
            }
            let others = Columns { n_rows: table.n_rows, columns: table.columns.split_off(used.len()) };
            let (table, used) = categories::expanded(table, used).map_err(|(column, n)| too_many(&column, n.to_string()))?;
            let n_columns = table.columns.len() + others.columns.len();
            let sample_bytes = sample_bytes(table.n_rows, n_columns);
            let needed_bytes = SHARE * 8 * (table.n_rows * n_columns) as u64;
            // Where memory is scarce tables are small, and so are their samples.
            let fewer_bytes = if sample_bytes > SAMPLE_BYTES { sample_bytes } else { SAMPLE_BYTES.min(on.memory_bytes / 4) };
            if needed_bytes + fewer_bytes + held_bytes > on.memory_bytes {
                let what = format!("{n_columns} columns and flags of texts");
                return Err(refused(
                    what,
                    needed_bytes + sample_bytes,
                    "raise `memory`, name fewer `columns` of text, or draw rows with `sample`",
                ));
            }
            Ok(Input { rows: Where::Held(table, others), used, names: names.map(Names::Held) })
        }
        Collected::TooLarge { needed_bytes, .. } => Err(refused(
            format!("{} columns", all.len()),
            SHARE * needed_bytes
                + sample_bytes(on.source.n_rows().map_or(engine::SAMPLE, |n| usize::try_from(n).unwrap_or(usize::MAX)), all.len()),
            "raise `memory`, name fewer `columns` and `exclude` the others, draw rows with `sample`, or ask for `method = \"kmeans\"`, which spills",
        )),
    }
}
