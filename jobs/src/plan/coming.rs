//! What is known of the rows of a step before it runs: of sources by their files, of tables that steps will write by what those read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use gristmill_datasets::Source;

use crate::spec::{SourceSpec, StepSpec};

use super::{Input, MOST_ROWS, PlannedSource, rows, together};

/// Rows that a step will read.
#[derive(Debug, Clone)]
pub(super) struct Coming {
    /// Their columns.
    pub(super) schema: SchemaRef,
    /// How many there are likely to be, or at the most.
    pub(super) n_rows: u64,
    /// Bytes of the files that they come from.
    pub(super) file_bytes: u64,
    /// Whether the number is known and not guessed from the bytes of a file.
    pub(super) is_known: bool,
    /// Whether there may be far fewer of them: they are those of a table that a step writes, or a condition leaves some out.
    pub(super) is_most: bool,
}

/// Tables that steps will write: step, table, and what is known of it.
pub(super) type Tables = Vec<(String, &'static str, Coming)>;

/// Returns what is known of an input.
pub(super) fn of_input(step: &StepSpec, input: &Input, sources: &[PlannedSource], specs: &[SourceSpec], tables: &Tables) -> Option<Coming> {
    let coming = match input {
        Input::Source(at) => of_source(&sources[*at], specs)?,
        Input::Table { step, table } => tables.iter().find(|(name, of_step, _)| name == step && of_step == table)?.2.clone(),
        Input::All(inputs) => of_all(step, inputs, sources, specs)?,
    };
    // A file may claim any number.
    Some(Coming { n_rows: coming.n_rows.min(MOST_ROWS), file_bytes: coming.file_bytes.min(MOST_ROWS), ..coming })
}

/// Adds the tables that a step will write, as far as they follow from what it reads.
pub(super) fn add_tables(step: &StepSpec, reads: &Coming, tables: &mut Tables) {
    for table in step.kind.tables() {
        if let Some(schema) = step.kind.will_write(step, table.name, &reads.schema) {
            tables.push((step.name.value.clone(), table.name, Coming { schema: Arc::new(schema), is_most: true, ..reads.clone() }));
        }
    }
}

fn of_source(source: &PlannedSource, specs: &[SourceSpec]) -> Option<Coming> {
    let n_rows = rows::likely(source, specs)?;
    let is_most = rows::are_fewer(source, specs);
    // A condition is asked of rows that Parquet files count; a draw of them is not counted.
    let is_whole = specs.iter().all(|spec| spec.name.value != source.name || spec.sample.is_none());
    let is_known = source.rows.is_some() || (is_whole && source.source.files().iter().all(|file| file.rows.is_some()));
    Some(Coming { schema: source.source.schema(), n_rows, file_bytes: source.bytes, is_known, is_most })
}

/// Returns what is known of several sources put together.
fn of_all(step: &StepSpec, inputs: &[Input], sources: &[PlannedSource], specs: &[SourceSpec]) -> Option<Coming> {
    let of_one = |input: &Input| {
        let Input::Source(at) = input else { return None };
        Some((Arc::clone(&sources[*at].source), of_source(&sources[*at], specs)?))
    };
    let parts: Vec<(Arc<dyn Source>, Coming)> = inputs.iter().map(of_one).collect::<Option<_>>()?;
    let sum = |of: fn(&Coming) -> u64| parts.iter().map(|(_, part)| of(part)).fold(0, u64::saturating_add);
    let (n_rows, file_bytes) = (sum(|part| part.n_rows), sum(|part| part.file_bytes));
    let is_known = parts.iter().all(|(_, part)| part.is_known);
    let is_most = parts.iter().any(|(_, part)| part.is_most);
    let whole = together(step, parts.into_iter().map(|(source, _)| source).collect()).ok()?;
    Some(Coming { schema: whole.schema(), n_rows, file_bytes, is_known, is_most })
}
