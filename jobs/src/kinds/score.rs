//! `kind = "score"`: new rows labelled by a model, and whether they are still like those that it was made of.
//!
//! ```text
//! model -> block of rows -> bins of every column          -> drift
//!                        -> nearest point or component    -> assignments, segments
//! ```
//!
//! One pass, block by block: memory holds the model, a block, and one row group of the table under way.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, new_empty_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::backend::{Backend, Cost};
use gristmill_engine::cluster::{Model, Scorer};
use gristmill_engine::columns::{self, Cells, Table, TableBuilder, TableColumn, Unit};
use gristmill_engine::drift::{SHIFTED, Spread, Sums};

use super::{JobKind, Key, Rows, StepOutcome, StepRun, Table as Written, TableDoc, Takes, assignments};
use crate::JobError;
use crate::exit;
use crate::model::{self, NoModel};
use crate::outputs::TableWriter;
use crate::pass;
use crate::plan::{Ahead, Forecast, about, range};
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
            Key { default: Some("0.1"), about: "Population stability index from which a column has drifted", ..keys::MIN_EFFECT },
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

    fn forecast(&self, _: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        /// Segments of most models; what the model is says the step that made it.
        const SEGMENTS: f64 = 10.0;
        let cells = (ahead.n_rows * ahead.schema.fields().len() as u64) as f64;
        let flops = 2.0 * SEGMENTS * cells;
        Forecast {
            seconds: Some(range(4e-7 * cells, ahead.n_threads)),
            bytes: Some(24 << 20),
            cost: Some(Cost { flops: 2.0 * flops, cpu_flops: 0.6 * flops, bytes_up: about(1, 4.0 * cells), bytes_down: 12 * ahead.n_rows }),
            ..Forecast::default()
        }
    }

    fn will_write(&self, step: &StepSpec, table: &str, input: &Schema) -> Option<Schema> {
        let id = step.id.as_ref().and_then(|id| input.field_with_name(&id.value).ok());
        (table == "assignments").then(|| assignments::schema(id, false).as_ref().clone())
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let model = read(step, on)?;
        let schema = on.source.schema();
        let found = find(&model, step, on)?;
        // Flags of one text share its column.
        let used: Vec<usize> = found.iter().copied().collect::<BTreeSet<usize>>().into_iter().collect();
        let place_of = found.iter().map(|at| used.iter().position(|other| other == at).expect("every column is read")).collect();
        let id = step.id.as_ref().and_then(|id| schema.index_of(&id.value).ok());
        let scorer = Scorer::new(&model);
        let (backend, reason) = on.placed(scorer.cost(on.source.n_rows().unwrap_or(0)));
        let columns = Columns { fields: used.iter().map(|&at| schema.field(at).clone()).collect(), place_of };
        let mut under_way = UnderWay::new(scorer, columns, id.map(|at| schema.field(at).clone()), step, (on, &backend))?;
        let all: Vec<usize> = used.iter().copied().chain(id).collect();
        pass::blocks(&all, step, on, |block, rows| under_way.take(block, rows))?;
        under_way.finish(reason)
    }
}

/// Reads the model that the step names.
fn read(step: &StepSpec, on: &StepRun<'_>) -> Result<Model, JobError> {
    let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
    match on.other(MODEL).files() {
        [file] => model::read(&file.path).map_err(|error| match error {
            NoModel::System(error) => exit::unreadable(MODEL, &file.path, error),
            NoModel::File(message) => data(message),
        }),
        files => Err(data(format!("`model` names {} files, and a model is one", files.len()))),
    }
}

/// Finds the columns of the model in the rows.
fn find(model: &Model, step: &StepSpec, on: &StepRun<'_>) -> Result<Vec<usize>, JobError> {
    let schema = on.source.schema();
    let refuse = |message: String| JobError::Spec { step: step.name.value.clone(), message };
    let from = &step.from.value.name;
    let find = |name: &str, is_text: bool| {
        let Ok(at) = schema.index_of(name) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let help = did_you_mean(name, "columns", names);
            return Err(refuse(format!("column `{name}` of the model is not in `{from}`; {help}")));
        };
        let data_type = schema.field(at).data_type();
        let is_wanted = match (columns::unit(data_type), is_text) {
            (_, true) => columns::is_text(data_type),
            (unit, false) => matches!(unit, Some(Unit::Number | Unit::Boolean)),
        };
        match is_wanted {
            true => Ok(at),
            false => Err(refuse(format!(
                "column `{name}` is {} in `{from}`, and {} in the model; convert it, or make a model of these rows",
                columns::type_words(data_type),
                if is_text { "text" } else { "a number" },
            ))),
        }
    };
    model.columns.iter().map(|column| find(&column.name, column.level.is_some())).collect()
}

/// The columns that are read.
struct Columns {
    fields: Vec<Field>,
    /// Which of them every column of the model is, or is a flag of.
    place_of: Vec<usize>,
}

/// Scores under way.
struct UnderWay<'a> {
    step: &'a StepSpec,
    on: &'a StepRun<'a>,
    backend: &'a Backend,
    scorer: Scorer<'a>,
    columns: Columns,
    id: Option<Field>,
    writer: TableWriter,
    /// Spread of every column, and its sums.
    now: Vec<(Spread, Sums)>,
    /// Rows of every column beyond the range of the model.
    n_outside: Vec<u64>,
    /// Rows of every segment that have all cells, and those that lack some.
    counts: Vec<u64>,
    n_placed: Vec<u64>,
    n_rows: u64,
    n_complete: u64,
    n_settled: u64,
    /// Rows of every column of text whose text the model has not seen.
    n_unseen: BTreeMap<String, u64>,
}

impl<'a> UnderWay<'a> {
    fn new(
        scorer: Scorer<'a>,
        columns: Columns,
        id: Option<Field>,
        step: &'a StepSpec,
        (on, backend): (&'a StepRun<'a>, &'a Backend),
    ) -> Result<Self, JobError> {
        let model = scorer.model();
        Ok(Self {
            step,
            on,
            backend,
            scorer,
            columns,
            writer: on.writer(step, "assignments", assignments::schema(id.as_ref(), false))?,
            id,
            now: model.columns.iter().map(|column| (column.spread.emptied(), Sums::default())).collect(),
            n_outside: vec![0; model.columns.len()],
            counts: vec![0; model.segments.len()],
            n_placed: vec![0; model.segments.len()],
            n_rows: 0,
            n_complete: 0,
            n_settled: 0,
            n_unseen: BTreeMap::new(),
        })
    }

    /// Scores a block: pieces of the model's columns, then those of the column that names a row.
    fn take(&mut self, mut block: Vec<Vec<ArrayRef>>, rows: usize) -> Result<(), JobError> {
        let names = block.split_off(self.columns.fields.len()).pop();
        let table = self.table(&block, rows)?;
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
        for place in &scored.places {
            let counts = if place.n_missing == 0 { &mut self.counts } else { &mut self.n_placed };
            self.n_complete += u64::from(place.n_missing == 0);
            if let Some(segment) = place.segment {
                counts[segment as usize] += 1;
            }
        }
        let first = usize::try_from(self.n_rows).expect("rows are counted in memory");
        let mut places = scored.places.into_iter().map(|mut place| {
            place.row += first;
            place
        });
        let names = names.map(|pieces| self.joined(&pieces)).transpose()?;
        let id = self.id.as_ref().zip(names);
        self.writer.push(&assignments::assignments(first..first + rows, &mut places.by_ref().peekable(), false, id))?;
        self.n_rows += rows as u64;
        Ok(())
    }

    /// Returns the columns of the model, those of numbers as they are, of texts as flags.
    fn table(&mut self, block: &[Vec<ArrayRef>], rows: usize) -> Result<Table, JobError> {
        let refuse = |error| pass::engine_error(self.step, error);
        let is_text = |at: &usize| columns::is_text(self.columns.fields[*at].data_type());
        let numbers: Vec<usize> = (0..self.columns.fields.len()).filter(|at| !is_text(at)).collect();
        let named: Vec<_> = numbers.iter().map(|&at| &self.columns.fields[at]).collect();
        let named: Vec<_> = named.into_iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
        // A block is a few megabytes, whatever the budget.
        let builder = TableBuilder::new(&named, u64::MAX).map_err(refuse)?;
        for (place, &at) in numbers.iter().enumerate() {
            block[at].iter().try_for_each(|piece| builder.put(place, piece)).map_err(refuse)?;
        }
        let read = builder.finish().map_err(refuse)?.0;
        let model = self.scorer.model();
        let mut made = Vec::with_capacity(model.columns.len());
        let mut is_seen: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
        for (column, &at) in model.columns.iter().zip(&self.columns.place_of) {
            let Some(level) = &column.level else {
                let place = numbers.binary_search(&at).expect("a column of numbers was read as one");
                made.push(read.columns[place].clone());
                continue;
            };
            let texts = self.texts(&block[at])?;
            let is_level = |row: usize| texts.is_valid(row) && texts.value(row) == level;
            let seen = is_seen.entry(at).or_insert_with(|| (0..rows).map(|row| texts.is_null(row)).collect());
            let flags = (0..rows).map(|row| {
                seen[row] |= is_level(row);
                f64::from(u8::from(is_level(row)))
            });
            made.push(TableColumn { name: column.name.clone(), cells: Cells::Numbers(Float64Array::from_iter_values(flags)) });
        }
        for (at, seen) in is_seen {
            let n = seen.iter().filter(|is_seen| !**is_seen).count() as u64;
            *self.n_unseen.entry(self.columns.fields[at].name().clone()).or_default() += n;
        }
        Ok(Table { n_rows: rows, columns: made })
    }

    fn texts(&self, pieces: &[ArrayRef]) -> Result<StringArray, JobError> {
        let texts = cast(&self.joined(pieces)?, &DataType::Utf8);
        let texts = texts.map_err(|error| JobError::Data { step: self.step.name.value.clone(), message: error.to_string() })?;
        Ok(texts.as_string().clone())
    }

    fn joined(&self, pieces: &[ArrayRef]) -> Result<ArrayRef, JobError> {
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        let joined = match (pieces.is_empty(), &self.id) {
            (true, Some(id)) => Ok(new_empty_array(id.data_type())),
            _ => concat(&pieces),
        };
        joined.map_err(|error| JobError::Data { step: self.step.name.value.clone(), message: format!("a column cannot be read: {error}") })
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
            n_placed: &self.n_placed,
            n_rows: self.n_rows,
            n_complete: self.n_complete,
            n_settled: self.n_settled,
            n_unseen: &self.n_unseen,
            alpha: self.on.alpha,
            least: self.step.number(keys::MIN_EFFECT.name).unwrap_or(SHIFTED),
        };
        let drifts = said.drifts();
        let mut tables = vec![Written { name: "assignments", rows: Rows::Written(written) }];
        tables.extend(said.tables(&drifts));
        Ok(StepOutcome {
            findings: said.findings(self.on.job, &drifts),
            notes: said.notes(&drifts),
            tables,
            n_rows: self.n_rows,
            n_columns: model.columns.len() as u64,
            family: Some(drifts.iter().filter(|drift| drift.shift.p.is_some()).count() as u64).filter(|n| *n > 0),
            ..StepOutcome::on(self.backend, place_reason)
        })
    }
}
