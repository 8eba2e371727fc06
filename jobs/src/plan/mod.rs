//! What a spec means: opened sources, steps in the order of the run, columns resolved against schemas.
//!
//! ```text
//! Spec -> open every source (footers, first 64 KiB) -> columns of each step -> order -> Plan
//! ```
//!
//! Only a `Plan` reaches the engine. A step that reads another step's table has no schema yet: its columns are
//! checked by `check_input` once that table is there.
//! Cost      one open a file; no rows are read.

mod coming;
mod forecast;
mod outlook;
mod page;
mod rows;
mod sources;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use arrow::datatypes::Schema;
use gristmill_datasets::{Format, ReadError, Source, SourceOptions, union};

use crate::JobError;
use crate::error::Exit;
use crate::exit;
use crate::kinds::Takes;
use crate::memory;
use crate::spec::{Problems, Span, Spanned, Spec, SpecText, StepSpec, TableName, check_columns, check_exclude, in_order};

use coming::{Coming, Tables};
pub use forecast::{Ahead, Forecast, Pairs, Placed, about, grown, pairs_of, range};
pub use outlook::{Outlook, outlook};
pub(crate) use sources::nearest_file;

/// Memory that decoders may claim while a spec that is wrong already is looked through for further mistakes.
const PROBE_BYTES: u64 = 1 << 30;

/// Rows, or bytes, beyond which no forecast goes.
const MOST_ROWS: u64 = 1 << 40;

/// What a run will do.
pub struct Plan {
    /// Sources in the order of the spec.
    pub sources: Vec<PlannedSource>,
    /// Steps in the order of the run.
    pub steps: Vec<PlannedStep>,
    /// Bytes that a run may hold.
    pub memory_bytes: u64,
    /// What a run would find done, step by step; empty where nobody has looked.
    pub outlook: Vec<Outlook>,
    /// Why a run that has to have a device would end with 6; none where it has one, needs none, or nobody has looked.
    pub no_device: Option<String>,
}

/// A source that was opened.
pub struct PlannedSource {
    /// Name in the spec.
    pub name: String,
    /// The source.
    pub source: Arc<dyn Source>,
    /// Its rows, where they are known without reading them.
    pub rows: Option<u64>,
    /// Bytes of its files.
    pub bytes: u64,
    /// What a person should know about it.
    pub notes: Vec<String>,
}

/// A step with its input found.
pub struct PlannedStep {
    /// As asked for.
    pub spec: StepSpec,
    /// Where its rows come from.
    pub input: Input,
    /// Where what it reads beside them comes from, by the keys that name it.
    pub others: Vec<(&'static str, Input)>,
    /// Rows that it will read, where known.
    pub rows: Option<u64>,
    /// Rows that it reads at the most, where they are those of a table that another step writes, and whether that is known or guessed.
    pub rows_at_most: Option<(u64, bool)>,
    /// What it is likely to need; none where the rows that it reads are not known.
    pub forecast: Option<Forecast>,
    /// Where it belongs; none where the rows that it reads are not known.
    pub placed: Option<Placed>,
    /// Columns that it may use, in the order of the input; none where the input is not written yet.
    pub columns: Option<Vec<String>>,
    /// What it waits for and reads, in one line.
    pub why: String,
}

/// Where the rows of a step come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A source, by its index into `Plan::sources`.
    Source(usize),
    /// A table that another step writes.
    Table {
        /// The step.
        step: String,
        /// Its table.
        table: String,
    },
    /// Several of them, one after another.
    All(Vec<Self>),
}

impl Input {
    /// Returns the tables of other steps that it holds: step and table.
    pub fn tables(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Source(_) => Vec::new(),
            Self::Table { step, table } => vec![(step, table)],
            Self::All(inputs) => inputs.iter().flat_map(Self::tables).collect(),
        }
    }
}

/// Puts the tables of a step together; the column that tells them apart is that of its kind.
///
/// # Errors
/// When a table has a column of that name, or types of a column have nothing in common.
pub fn together(step: &StepSpec, tables: Vec<Arc<dyn Source>>) -> Result<Arc<dyn Source>, ReadError> {
    let names = std::iter::once(&step.from).chain(&step.also_from).map(|from| match &from.value.table {
        Some(table) => format!("{}.{table}", from.value.name),
        None => from.value.name.clone(),
    });
    union(names.zip(tables).collect(), step.kind.tells_tables_apart_by().unwrap_or_default())
}

/// Why there is no plan.
#[derive(Debug)]
pub enum PlanFailure {
    /// The spec names files or columns that are not there, or asks for what its data do not allow.
    Spec(Problems),
    /// A source cannot be read.
    Job(Box<JobError>),
}

impl PlanFailure {
    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Spec(_) => Exit::Spec,
            Self::Job(error) => exit::of(error),
        }
    }

    /// Returns the failure as text for people.
    #[must_use]
    pub fn render(&self, text: &SpecText, color: bool) -> String {
        match self {
            Self::Spec(problems) => problems.render(text, color),
            Self::Job(error) => format!("error: {}\n", exit::message(error, &text.path)),
        }
    }
}

/// Opens the sources of a spec and finds out what each step will read.
///
/// # Errors
/// When files or columns are not there, or a source cannot be read.
pub fn plan(spec: &Spec, memory_bytes: u64) -> Result<Plan, PlanFailure> {
    let mut problems = Problems::default();
    let (opened, unreadable) = sources::open_all(spec, memory_bytes, &mut problems);
    check_steps(spec, &opened, &mut problems);
    if !problems.is_empty() {
        return Err(PlanFailure::Spec(problems));
    }
    if let Some(error) = unreadable.into_iter().reduce(exit::worse) {
        return Err(PlanFailure::Job(Box::new(error)));
    }
    let sources: Vec<PlannedSource> = opened.into_iter().flatten().collect();
    let n_threads = spec.threads.or_else(|| available_parallelism().ok().map(NonZero::get)).unwrap_or(1);
    let mut tables = Tables::new();
    let steps = in_order(&spec.steps).into_iter();
    let steps = steps.map(|index| step(&sources, spec, index, (n_threads, memory_bytes), &mut tables)).collect();
    Ok(Plan { sources, steps, memory_bytes, outlook: Vec::new(), no_device: None })
}

/// Returns what is wrong with files and columns of the parts of a spec that were understood.
pub(crate) fn probe(spec: &Spec) -> Problems {
    let mut problems = Problems::default();
    let (opened, _) = sources::open_all(spec, spec.memory_bytes.unwrap_or(PROBE_BYTES), &mut problems);
    check_steps(spec, &opened, &mut problems);
    problems
}

/// Returns what is wrong with a step, given the schema of the table that it reads.
#[must_use]
pub fn check_input(step: &StepSpec, schema: &Schema) -> Problems {
    check_step(step, schema, &|_| None)
}

/// Returns the options to open a table that a step wrote.
#[must_use]
pub fn table_options(path: &Path, seed: u64, memory_bytes: u64) -> SourceOptions {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let base_dir = path.parent().unwrap_or(Path::new(".")).to_owned();
    SourceOptions { base_dir, format: Some(Format::Parquet), seed, memory_bytes, ..SourceOptions::of(name) }
}

impl Plan {
    /// Returns the source that a step reads; none where it reads another step's table, or several.
    #[must_use]
    pub fn source_of(&self, step: &PlannedStep) -> Option<&Arc<dyn Source>> {
        match step.input {
            Input::Source(index) => self.sources.get(index).map(|source| &source.source),
            Input::Table { .. } | Input::All(_) => None,
        }
    }
}

/// Checks the columns of every step whose source was opened.
fn check_steps(spec: &Spec, opened: &[Option<PlannedSource>], problems: &mut Problems) {
    let by_name: BTreeMap<&str, &PlannedSource> = opened.iter().flatten().map(|source| (source.name.as_str(), source)).collect();
    for step in &spec.steps {
        let from: Vec<&str> = std::iter::once(&step.from).chain(&step.also_from).map(|from| from.value.name.as_str()).collect();
        let sources: Option<Vec<Arc<dyn Source>>> = from.iter().map(|name| Some(Arc::clone(&by_name.get(name)?.source))).collect();
        let Some(mut sources) = sources else {
            check_exclude(step, problems);
            step.kind.check_keys(step, problems);
            continue;
        };
        let source = if sources.len() == 1 { Ok(sources.remove(0)) } else { together(step, sources) };
        let elsewhere = |column: &str| {
            let mut others = by_name.values().filter(|other| !from.contains(&other.name.as_str()));
            others.find(|other| other.source.schema().column_with_name(column).is_some()).map(|other| other.name.clone())
        };
        match source {
            Ok(source) => problems.append(check_step(step, &source.schema(), &elsewhere)),
            Err(error) => {
                let help = "tables are put together by the names of their columns: `rename` of a source gives one another name";
                problems.add(step.span("from"), error.to_string(), "cannot be put together", help);
            }
        }
    }
}

fn check_step(step: &StepSpec, schema: &Schema, elsewhere: &dyn Fn(&str) -> Option<String>) -> Problems {
    let mut problems = Problems::default();
    check_exclude(step, &mut problems);
    check_columns(step, &step.from.value.name, schema, elsewhere, &mut problems);
    let mut of_kind = Problems::default();
    step.kind.check_keys(step, &mut of_kind);
    step.kind.check(step, schema, &mut of_kind);
    // With a column wrong, what the kind says of the columns as a whole only follows from it.
    let is_one_column = |span: &Span| step.values.iter().any(|(key, _)| step.list(key).iter().any(|item| item.span == *span));
    let clean = problems.is_empty();
    of_kind.retain(|problem| clean || (is_one_column(&problem.span) && !problems.overlap(&problem.span)));
    problems.append(of_kind);
    problems
}

fn step(
    sources: &[PlannedSource],
    asked: &Spec,
    index: usize,
    (n_threads, memory_bytes): (usize, u64),
    tables: &mut Tables,
) -> PlannedStep {
    let (steps, spec) = (&asked.steps, asked.steps[index].clone());
    let mut inputs: Vec<Input> =
        std::iter::once(&spec.from).chain(&spec.also_from).map(|from| input(sources, steps, &from.value, "")).collect();
    let input = if inputs.len() == 1 { inputs.remove(0) } else { Input::All(inputs) };
    let (rows, columns) = match &input {
        Input::Source(at) => (sources[*at].rows, Some(columns(&spec, &sources[*at].source.schema()))),
        Input::All(inputs) => (rows_of(inputs, sources), columns_of(&spec, inputs, sources)),
        Input::Table { .. } => (None, None),
    };
    let memory_bytes = memory::for_step(memory_bytes);
    let reads = coming::of_input(&spec, &input, sources, &asked.sources, tables);
    let rows_at_most = reads.as_ref().filter(|reads| reads.is_most).map(|reads| (reads.n_rows, reads.is_known));
    let forecast = reads.as_ref().map(|Coming { schema, n_rows, file_bytes, .. }| {
        spec.kind.forecast(&spec, &Ahead { schema, n_rows: *n_rows, file_bytes: *file_bytes, n_threads, memory_bytes })
    });
    if let Some(reads) = &reads {
        coming::add_tables(&spec, reads, tables);
    }
    let placed = forecast.map(|forecast| forecast.placed(&asked.place, spec.kind.name(), n_threads));
    let default = |key: &str| {
        let takes = spec.kind.keys().iter().find(|known| known.name == key).map(|known| known.takes);
        if let Some(Takes::Table(name) | Takes::TableIfAny(name)) = takes { name } else { "" }
    };
    let other = |(key, table): &(&'static str, Spanned<TableName>)| (*key, self::input(sources, steps, &table.value, default(key)));
    let others: Vec<_> = spec.others.iter().map(other).collect();
    let why = page::why(&spec, &input, &others, sources);
    PlannedStep { spec, input, others, rows, rows_at_most, forecast, placed, columns, why }
}

/// Returns the rows of several inputs, where all are known.
fn rows_of(inputs: &[Input], sources: &[PlannedSource]) -> Option<u64> {
    let rows = |input: &Input| if let Input::Source(at) = input { sources[*at].rows } else { None };
    inputs.iter().map(rows).sum()
}

/// Returns the columns of several inputs put together, where all are known.
fn columns_of(step: &StepSpec, inputs: &[Input], sources: &[PlannedSource]) -> Option<Vec<String>> {
    let source = |input: &Input| if let Input::Source(at) = input { Some(Arc::clone(&sources[*at].source)) } else { None };
    let whole = together(step, inputs.iter().map(source).collect::<Option<_>>()?).ok()?;
    Some(columns(step, &whole.schema()))
}

/// Finds a table: a source, or one that a step writes, `default` or the main one where the step is named alone.
fn input(sources: &[PlannedSource], steps: &[StepSpec], table: &TableName, default: &str) -> Input {
    if let Some(at) = sources.iter().position(|source| source.name == table.name) {
        return Input::Source(at);
    }
    let upstream = steps.iter().find(|step| step.name.value == table.name);
    let of_kind = upstream.map_or(&[][..], |step| step.kind.tables());
    let main = of_kind.iter().find(|known| known.name == default).or(of_kind.first()).map_or("", |known| known.name);
    Input::Table { step: table.name.clone(), table: table.table.as_deref().unwrap_or(main).to_owned() }
}

/// Returns the columns of the input that the step names, all where it names none, without those it leaves out.
fn columns(step: &StepSpec, schema: &Schema) -> Vec<String> {
    let named = |name: &str| step.columns.is_empty() || step.columns.iter().any(|column| column.value == name);
    let left_out = |name: &str| step.exclude.iter().any(|column| column.value == name);
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.filter(|name| named(name) && !left_out(name)).map(str::to_owned).collect()
}
