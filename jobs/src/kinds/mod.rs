//! The table of job kinds. A new kind is a file beside this one and a line in `KINDS`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use gristmill_datasets::Source;
use gristmill_engine::backend::Backend;
use gristmill_engine::findings::Finding;

use crate::JobError;
use crate::manifest::LeftOut;
use crate::spec::{Problems, StepSpec};

mod cluster;
mod correlate;
mod features;

pub use cluster::Cluster;
pub use correlate::Correlate;
pub use features::Features;

/// Every kind that a spec may name, in the order of the help.
pub const KINDS: &[&dyn JobKind] = &[&Correlate, &Cluster, &Features];

/// What a spec may ask for.
pub trait JobKind: Sync {
    /// Returns the verb of the spec.
    fn name(&self) -> &'static str;
    /// Returns one line for `gristmill kinds`.
    fn about(&self) -> &'static str;
    /// Returns the keys that this kind takes beside those that every step takes.
    fn keys(&self) -> &'static [Key];
    /// Returns the tables that it writes; the first is the main one.
    fn tables(&self) -> &'static [TableDoc];
    /// Adds what is wrong with the step, given the schema of its input.
    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems);
    /// Runs the step.
    ///
    /// # Errors
    /// When the data do not allow it, a budget would be passed, or the run is stopped.
    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError>;
}

/// A key of a spec: drives the parser, its errors, the schema and the help.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name in the spec.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Default as it would be written in a spec; none where the key is simply absent.
    pub default: Option<&'static str>,
    /// One line of help.
    pub about: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number in a closed range.
    Integer(i64, i64),
    /// A number in a closed range.
    Number(f64, f64),
    /// A number of bytes, `"2GiB"` or a whole number.
    Bytes,
    /// A list of texts, or one text.
    TextList,
    /// A column of the input.
    Column,
    /// A list of columns of the input, or one.
    ColumnList,
    /// A list of whole numbers in a closed range, or one.
    IntegerList(i64, i64),
    /// A number of rows (whole) or a share (0 to 1 exclusive).
    Sample,
}

/// A table that a kind writes.
#[derive(Debug, Clone, Copy)]
pub struct TableDoc {
    /// Name: `<step>/<name>.parquet`.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
}

/// What a running step is given.
pub struct StepRun<'a> {
    /// Name of the job.
    pub job: &'a str,
    /// The input.
    pub source: &'a dyn Source,
    /// Chooses the place of each kernel and falls back.
    pub backend: &'a Backend,
    /// Seed of the job.
    pub seed: u64,
    /// Level of the job.
    pub alpha: f64,
    /// Bytes that the step may hold.
    pub memory_bytes: u64,
    /// A folder of the step's own for spill files, removed afterwards.
    pub scratch: &'a Path,
    /// Takes (rows done, rows in all where known) after each block.
    pub progress: &'a (dyn Fn(u64, Option<u64>) + Sync),
    /// Says whether the run was asked to stop; a step then returns `JobError::Stopped`.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

/// What a finished step gives back.
pub struct StepOutcome {
    /// Tables in the order of `JobKind::tables`.
    pub tables: Vec<Table>,
    /// Findings, best first.
    pub findings: Vec<Finding>,
    /// Place that did the work: `cpu`, `gpu` or `software`.
    pub place: String,
    /// Adapter's name where a GPU was used.
    pub adapter: Option<String>,
    /// Why that place.
    pub place_reason: String,
    /// Every fall-back with its reason.
    pub fell_back: Vec<String>,
    /// Rows read.
    pub n_rows: u64,
    /// Columns used.
    pub n_columns: u64,
    /// Hypotheses in the family.
    pub family: Option<u64>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Columns that could not be used.
    pub left_out: Vec<LeftOut>,
}

/// A table of a step.
pub struct Table {
    /// Name from `JobKind::tables`.
    pub name: &'static str,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

/// Returns columns of one length as a table.
fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of a table have one length")
}

/// Returns a column's name as SQL writes it.
fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

/// Returns the kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static dyn JobKind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}
