//! The table of job kinds. A new kind is a file beside this one and a line in `KINDS`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use gristmill_datasets::Source;
use gristmill_engine::backend::{Backend, Cost, Place};
use gristmill_engine::findings::Finding;

use crate::JobError;
use crate::manifest::{CheckRecord, LeftOut};
use crate::outputs::{self, Folder, TableWriter, WrittenTable};
use crate::plan::{Ahead, Forecast};
use crate::spec::{Problems, StepSpec};

mod assignments;
mod check;
mod cluster;
mod compare;
mod correlate;
mod dedupe;
mod features;
mod score;

pub use check::Check;
pub use cluster::Cluster;
pub use compare::Compare;
pub use correlate::Correlate;
pub use dedupe::{Dedupe, Link};
pub use features::Features;
pub use score::Score;

/// Every kind that a spec may name, in the order of the help.
pub const KINDS: &[&dyn JobKind] = &[&Correlate, &Cluster, &Score, &Compare, &Features, &Dedupe, &Link, &Check];

/// Kinds that make tables, and no findings: those that look for records that are one, and checks.
pub(crate) const TESTS_NOTHING: &[&str] = &["dedupe", "link", "check"];

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
    /// Returns the name of the column that says which table a row is of, where `from` may name several; none where it names one.
    fn tells_tables_apart_by(&self) -> Option<&'static str> {
        None
    }
    /// Adds what is wrong with the keys of the step, whatever its input is.
    fn check_keys(&self, _step: &StepSpec, _problems: &mut Problems) {}
    /// Adds what else is wrong with the step, given the schema of its input.
    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems);
    /// Returns what the step is likely to need, given what is known of its input; nothing where nobody has measured.
    fn forecast(&self, _step: &StepSpec, _ahead: &Ahead<'_>) -> Forecast {
        Forecast::default()
    }
    /// Returns the likely columns of a table that it will write, of one row for each of the input or fewer; none of tables of other rows.
    fn will_write(&self, _step: &StepSpec, _table: &str, _input: &Schema) -> Option<Schema> {
        None
    }
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
    /// A span of time, `"30min"` or a number of seconds.
    Duration,
    /// A list of texts, or one text.
    TextList,
    /// A column of the input.
    Column,
    /// A list of columns of the input, or one.
    ColumnList,
    /// A table of columns of the input with one of these words each, as in `{ email = "most_recent" }`.
    ColumnChoices(&'static [&'static str]),
    /// A list of whole numbers in a closed range, or one.
    IntegerList(i64, i64),
    /// A number of rows (whole) or a share (0 to 1 exclusive).
    Sample,
    /// A table of keys of its own, as in `text = { k = 3 }`.
    Keys(&'static [Key]),
    /// A source, a table of a step, or a file: read beside the rows of the step. Of a step named alone it is the table of this name.
    Table(&'static str),
    /// The same, for a key that may be absent.
    TableIfAny(&'static str),
    /// A table of names, each with a text, a number, a flag, or a list of these.
    Vars,
    /// A table of names, each with a list of texts or numbers.
    Each,
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
    /// What is read beside it, by the keys that name it.
    pub others: &'a [(&'static str, Arc<dyn Source>)],
    /// Chooses the place of each kernel and falls back.
    pub backend: &'a Backend,
    /// Waits for a turn at the device, so many seconds at the most, and says whether there is one.
    pub turn: &'a (dyn Fn(f64) -> bool + Sync),
    /// Seed of the job.
    pub seed: u64,
    /// Level of the job.
    pub alpha: f64,
    /// Bytes that the step may hold.
    pub memory_bytes: u64,
    /// A folder of the step's own for spill files, removed afterwards.
    pub scratch: &'a Folder,
    /// The run folder, below which tables are written.
    pub run_dir: &'a Folder,
    /// Takes (rows done, rows in all where known) after each block.
    pub progress: &'a (dyn Fn(u64, Option<u64>) + Sync),
    /// Says whether the run was asked to stop; a step then returns `JobError::Stopped`.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

impl StepRun<'_> {
    /// Returns what a key of the step names.
    fn other(&self, key: &str) -> &dyn Source {
        let other = self.others.iter().find(|(other, _)| *other == key);
        &*other.expect("a key that names a table must be written, and is opened with the step").1
    }

    /// Chooses the place of work whose cost is known, and says why.
    fn placed(&self, cost: Cost) -> (Backend, String) {
        let gain = self.backend.gain_seconds(cost);
        let Some(gain) = gain else { return (self.backend.pinned(Place::Cpu), self.backend.place_reason()) };
        if !(self.turn)(gain) {
            let why = match gain.is_finite() {
                true => format!("another run used the GPU for the {gain:.1} s that it would have saved"),
                false => "the run was stopped while it waited for the GPU".to_owned(),
            };
            return (self.backend.pinned(Place::Cpu), why);
        }
        let place = match self.backend.prefer_gpu(cost) {
            true => self.backend.device_place(),
            // Work that has to run there says that it fell back.
            false => gain.is_infinite().then_some(Place::Gpu),
        };
        (self.backend.pinned(place.unwrap_or(Place::Cpu)), self.backend.place_reason())
    }

    /// Returns how many rows the input has, or its files where a condition leaves some out, and what they need where the first `n_rows` need
    /// this: people are told what would do.
    pub(crate) fn of_all_rows(&self, needed_bytes: u64, n_rows: u64) -> (u64, u64) {
        let in_files = || self.source.files().iter().filter_map(|file| file.rows).sum();
        let n_all = self.source.n_rows().unwrap_or_else(in_files).max(n_rows);
        let needed = u128::from(needed_bytes) * u128::from(n_all) / u128::from(n_rows.max(1));
        (n_all, u64::try_from(needed).unwrap_or(u64::MAX))
    }

    /// Begins a table that is written while its rows are made.
    fn writer(&self, step: &StepSpec, name: &'static str, schema: SchemaRef) -> Result<TableWriter, JobError> {
        TableWriter::new(self.run_dir, &outputs::table_path(&step.name.value, name), schema)
    }
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
    /// Whether the last digits of its tables are those of that place.
    pub has_place_in_digits: bool,
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
    /// What was checked, and what became of it.
    pub checks: Vec<CheckRecord>,
}

impl StepOutcome {
    /// Returns that nothing was made, and where that was.
    fn on(backend: &Backend, place_reason: String) -> Self {
        Self {
            tables: Vec::new(),
            findings: Vec::new(),
            place: backend.place().word().to_owned(),
            adapter: backend.place().is_device().then(|| backend.adapter()).flatten(),
            place_reason,
            has_place_in_digits: false,
            fell_back: backend.fallbacks(),
            n_rows: 0,
            n_columns: 0,
            family: None,
            notes: Vec::new(),
            left_out: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// The same for a kind that knows no other place.
    fn on_cpu(kind: &dyn JobKind) -> Self {
        Self::on(&Backend::cpu(), format!("`{}` runs on the CPU", kind.name()))
    }
}

/// A table of a step.
pub struct Table {
    /// Name from `JobKind::tables`.
    pub name: &'static str,
    /// Its rows.
    pub rows: Rows,
}

/// The rows of a table.
pub enum Rows {
    /// In memory.
    Held(SchemaRef, Vec<RecordBatch>),
    /// In a file that only waits for its name.
    Written(WrittenTable),
    /// As text for people to fill in: `<step>/<name>.csv`.
    Csv {
        /// The whole file.
        text: Vec<u8>,
        /// Lines without the header.
        n_rows: u64,
    },
}

impl Table {
    /// Returns a table of one batch.
    fn one(name: &'static str, batch: RecordBatch) -> Self {
        Self { name, rows: Rows::Held(batch.schema(), vec![batch]) }
    }
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

/// Writes a mean with three digits that count.
fn number(x: f64) -> String {
    let size = x.abs();
    if size == 0.0 || (0.01..1e6).contains(&size) {
        let digits = if size >= 100.0 {
            0
        } else if size >= 10.0 {
            1
        } else {
            2
        };
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

/// Returns the kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static dyn JobKind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}
