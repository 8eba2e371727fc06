//! `kind = "score"`: new rows labelled by a model, and whether they are still like those that it was made of.
//!
//! ```text
//! model -> block of rows -> bins of every column          -> drift
//!                        -> nearest point or component    -> assignments, segments
//! ```
//!
//! One pass, block by block: memory holds the model, a block, and one row group of the table under way.

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::backend::Backend;
use gristmill_engine::cluster::{Model, Scorer};
use gristmill_engine::columns::{self, Table as Columns, TableBuilder, Unit};
use gristmill_engine::drift::{SHIFTED, Spread, Sums};

use super::{JobKind, Key, Rows, StepOutcome, StepRun, Table, TableDoc, Takes, assignments};
use crate::JobError;
use crate::model;
use crate::outputs::TableWriter;
use crate::pass;
use crate::spec::{Problems, StepSpec, did_you_mean, keys};

mod outcome;

/// Key that names the model.
const MODEL: &str = "model";

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Score;

impl JobKind for Score {
    fn name(&self) -> &'static str {
        "score"
    }

    fn about(&self) -> &'static str {
        "Segments of new rows by a model kept from `cluster`, and whether the rows are still like those that it was made of"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key {
                name: MODEL,
                takes: Takes::Table(MODEL),
                default: None,
                about: "Step of kind `cluster`, or the file `model.parquet` that one wrote",
            },
            keys::ID,
            Key {
                name: keys::MIN_EFFECT.name,
                takes: keys::MIN_EFFECT.takes,
                default: Some("0.1"),
                about: "Population stability index from which a column has drifted",
            },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[
            TableDoc {
                name: "assignments",
                about: "every row: its segment (none: noise, or a cell is missing), distance from the centre, how much farther the next centre is",
            },
            TableDoc {
                name: "drift",
                about: "every column, and the segments as a whole: PSI, distances, p and q, means then and now, values beyond the range, a verdict",
            },
            TableDoc { name: "segments", about: "every segment: rows and share now and in the model, and how far it could be trusted" },
            TableDoc { name: "verdict", about: "whether rows have drifted, how many have a segment, and why: one row" },
        ];
        TABLES
    }

    fn check(&self, step: &StepSpec, _: &Schema, problems: &mut Problems) {
        assignments::check_id(step, problems);
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let model = read(step, on)?;
        let schema = on.source.schema();
        let used = find(&model, step, on)?;
        let id = step.id.as_ref().and_then(|id| schema.index_of(&id.value).ok());
        let scorer = Scorer::new(&model);
        let (backend, reason) = on.placed(scorer.cost(on.source.n_rows().unwrap_or(0)));
        let mut under_way = UnderWay::new(scorer, id.map(|at| schema.field(at).clone()), step, (on, &backend))?;
        let all: Vec<usize> = used.iter().copied().chain(id).collect();
        pass::blocks(&all, step, on, |block, rows| under_way.take(block, rows))?;
        under_way.finish(reason)
    }
}

/// Reads the model that the step names.
fn read(step: &StepSpec, on: &StepRun<'_>) -> Result<Model, JobError> {
    let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
    match on.other(MODEL).files() {
        [file] => model::read(&file.path).map_err(data),
        files => Err(data(format!("`model` names {} files, and a model is one", files.len()))),
    }
}

/// Finds the columns of the model in the rows.
fn find(model: &Model, step: &StepSpec, on: &StepRun<'_>) -> Result<Vec<usize>, JobError> {
    let schema = on.source.schema();
    let refuse = |message: String| JobError::Spec { step: step.name.value.clone(), message };
    let from = &step.from.value.name;
    let find = |name: &str| {
        let Ok(at) = schema.index_of(name) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let help = did_you_mean(name, "columns", names);
            return Err(refuse(format!("column `{name}` of the model is not in `{from}`; {help}")));
        };
        let data_type = schema.field(at).data_type();
        match columns::unit(data_type) {
            Some(Unit::Number | Unit::Boolean) => Ok(at),
            _ => Err(refuse(format!(
                "column `{name}` is {} in `{from}`, and a number in the model; convert it, or make a model of these rows",
                columns::type_words(data_type)
            ))),
        }
    };
    model.columns.iter().map(|column| find(&column.name)).collect()
}

/// Scores under way.
struct UnderWay<'a> {
    step: &'a StepSpec,
    on: &'a StepRun<'a>,
    backend: &'a Backend,
    scorer: Scorer<'a>,
    /// Names and types of the model's columns in the rows.
    named: Vec<(String, DataType)>,
    id: Option<Field>,
    writer: TableWriter,
    /// Spread of every column, and its sums.
    now: Vec<(Spread, Sums)>,
    /// Rows of every column beyond the range of the model.
    n_outside: Vec<u64>,
    /// Rows of every segment.
    counts: Vec<u64>,
    n_rows: u64,
    n_complete: u64,
    n_settled: u64,
}

impl<'a> UnderWay<'a> {
    fn new(
        scorer: Scorer<'a>,
        id: Option<Field>,
        step: &'a StepSpec,
        (on, backend): (&'a StepRun<'a>, &'a Backend),
    ) -> Result<Self, JobError> {
        let model = scorer.model();
        let schema = on.source.schema();
        let named = model.columns.iter().map(|column| {
            let field = schema.field_with_name(&column.name).expect("columns of the model were found in the rows");
            (column.name.clone(), field.data_type().clone())
        });
        Ok(Self {
            step,
            on,
            backend,
            scorer,
            named: named.collect(),
            writer: on.writer(step, "assignments", assignments::schema(id.as_ref()))?,
            id,
            now: model.columns.iter().map(|column| (column.spread.emptied(), Sums::default())).collect(),
            n_outside: vec![0; model.columns.len()],
            counts: vec![0; model.segments.len()],
            n_rows: 0,
            n_complete: 0,
            n_settled: 0,
        })
    }

    /// Scores a block: pieces of the model's columns, then those of the column that names a row.
    fn take(&mut self, mut block: Vec<Vec<ArrayRef>>, rows: usize) -> Result<(), JobError> {
        let names = block.split_off(self.named.len()).pop();
        let table = self.table(&block)?;
        let model = self.scorer.model();
        for (at, column) in table.columns.iter().enumerate() {
            let cells = column.numbers().expect("columns of a model are numbers");
            let (now, sums) = &mut self.now[at];
            now.absorb(cells, sums);
            let then = &model.columns[at].spread;
            if let (Some(least), Some(greatest)) = (then.least, then.greatest) {
                self.n_outside[at] += cells.iter().filter(|x| x.is_finite() && !(least..=greatest).contains(*x)).count() as u64;
            }
        }
        let scored = self.scorer.score(&table, self.backend);
        self.n_settled += scored.n_settled;
        self.n_complete += scored.places.len() as u64;
        for segment in scored.places.iter().filter_map(|place| place.segment) {
            self.counts[segment as usize] += 1;
        }
        let first = usize::try_from(self.n_rows).expect("rows are counted in memory");
        let mut places = scored.places.into_iter().map(|mut place| {
            place.row += first;
            place
        });
        let names = names.map(|pieces| self.joined(&pieces)).transpose()?;
        let id = self.id.as_ref().zip(names);
        self.writer.push(&assignments::assignments(first..first + rows, &mut places.by_ref().peekable(), id))?;
        self.n_rows += rows as u64;
        Ok(())
    }

    fn table(&self, block: &[Vec<ArrayRef>]) -> Result<Columns, JobError> {
        let refuse = |error| pass::engine_error(self.step, error);
        // A block is a few megabytes, whatever the budget.
        let builder = TableBuilder::new(&self.named, u64::MAX).map_err(refuse)?;
        for (at, pieces) in block.iter().enumerate() {
            pieces.iter().try_for_each(|piece| builder.put(at, piece)).map_err(refuse)?;
        }
        Ok(builder.finish().map_err(refuse)?.0)
    }

    fn joined(&self, pieces: &[ArrayRef]) -> Result<ArrayRef, JobError> {
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        let joined = match (pieces.is_empty(), &self.id) {
            (true, Some(id)) => Ok(new_empty_array(id.data_type())),
            _ => concat(&pieces),
        };
        joined.map_err(|error| JobError::Data {
            step: self.step.name.value.clone(),
            message: format!("`id` cannot be carried into the tables: {error}"),
        })
    }

    fn finish(mut self, place_reason: String) -> Result<StepOutcome, JobError> {
        for (now, sums) in &mut self.now {
            now.mean = sums.mean();
        }
        let model = self.scorer.model();
        let written = self.writer.finish()?;
        let said = outcome::Said {
            model,
            step: self.step,
            now: &self.now,
            n_outside: &self.n_outside,
            counts: &self.counts,
            n_rows: self.n_rows,
            n_complete: self.n_complete,
            n_settled: self.n_settled,
            alpha: self.on.alpha,
            least: self.step.number(keys::MIN_EFFECT.name).unwrap_or(SHIFTED),
        };
        let drifts = said.drifts();
        let mut tables = vec![Table { name: "assignments", rows: Rows::Written(written) }];
        tables.extend(said.tables(&drifts));
        let backend = self.backend;
        Ok(StepOutcome {
            findings: said.findings(self.on.job, &drifts),
            notes: said.notes(&drifts),
            tables,
            place: backend.place().word().to_owned(),
            adapter: backend.place().is_device().then(|| backend.adapter()).flatten(),
            place_reason,
            fell_back: backend.fallbacks(),
            n_rows: self.n_rows,
            n_columns: model.columns.len() as u64,
            family: Some(drifts.iter().filter(|drift| drift.shift.p.is_some()).count() as u64).filter(|n| *n > 0),
            left_out: Vec::new(),
        })
    }
}
