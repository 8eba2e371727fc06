//! `kind = "dedupe"` and `kind = "link"`: which records are the same person, product or place, in one table or between sources; no labels,
//! no rules.
//!
//! ```text
//! rows -> texts of every column -> engine::dedupe -> entities, pairs, what each column says -> golden record of every entity
//! ```
//!
//! See `engine::dedupe` for the method. Texts of all columns are held as codes; the golden records are taken from the rows of the input by a
//! second reading, one column at a time, and keep their types.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use gristmill_engine::columns;
use gristmill_engine::dedupe::{ColumnBuilder, DedupeOptions, MISSING, RecordColumn, Records, Resolution, dedupe};
use rayon::prelude::*;

use super::{JobKind, Key, StepOutcome, StepRun, TableDoc, Takes};
use crate::JobError;
use crate::error::Exit;
use crate::manifest::LeftOut;
use crate::pass;
use crate::spec::{Problems, StepSpec, keys};
use crate::terminal::count;

mod tables;

/// Key that names the columns to compare.
const FIELDS: &str = "fields";
/// Key that names the column of sources.
const SOURCE_COLUMN: &str = "source_column";
/// Key that says whether a source holds each thing once.
const CLEAN_SOURCES: &str = "clean_sources";
/// Key of the probability from which records are one.
const THRESHOLD: &str = "threshold";

/// Names that columns of the input cannot have: those that the tables add.
const IS_TAKEN: &[&str] = &["entity_id", "cluster_size"];
/// Names that `id` cannot have either.
const IS_TAKEN_FROM_ID: &[&str] = &["row", "source"];

/// Most sources of a step.
const MOST_SOURCES: usize = 10_000;

/// Records of one table.
#[derive(Debug, Clone, Copy)]
pub struct Dedupe;

/// Records of several sources.
#[derive(Debug, Clone, Copy)]
pub struct Link;

const FIELDS_KEY: Key = Key {
    name: FIELDS,
    takes: Takes::ColumnList,
    default: None,
    about: "Columns to compare; all but the `id`, the sources and those whose cells hardly ever repeat where absent",
};

const THRESHOLD_KEY: Key = Key {
    name: THRESHOLD,
    takes: Takes::Number(0.01, 0.999),
    default: Some("0.5"),
    about: "Probability of a match from which records are one entity",
};

const TABLES: &[TableDoc] = &[
    TableDoc {
        name: "golden",
        about: "every entity: of each column the cell that most of its records have, where none leads the one most common in the column; how many records it has",
    },
    TableDoc { name: "entities", about: "every row: its source and `id`, its entity, how many records that has" },
    TableDoc {
        name: "pairs",
        about: "pairs with a probability of 1 % or more: the probability of a match, whether they are one entity, what each column adds (bits)",
    },
    TableDoc {
        name: "comparisons",
        about: "every level of every compared column: share among matches and among other pairs, weight (bits), the column beside which it counts",
    },
    TableDoc { name: "conflicts", about: "cells on which the records of an entity differ: what was kept, from which row, how many agree" },
    TableDoc {
        name: "verdict",
        about: "records, entities, pairs looked at, expected matches, precision, recall and F1, and whether there is enough to go by: one row",
    },
];

impl JobKind for Dedupe {
    fn name(&self) -> &'static str {
        "dedupe"
    }

    fn about(&self) -> &'static str {
        "Records of the same person, product or place in one table, without labels: entities, probabilities and golden records"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key { about: "Column that names a record, carried into the tables; it is not compared", ..keys::ID },
            FIELDS_KEY,
            keys::EXCLUDE,
            THRESHOLD_KEY,
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        check(step, input, problems);
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        run(self, step, on)
    }
}

impl JobKind for Link {
    fn name(&self) -> &'static str {
        "link"
    }

    fn about(&self) -> &'static str {
        "Records of the same person, product or place between sources, without labels: entities, probabilities and golden records"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key {
                name: SOURCE_COLUMN,
                takes: Takes::Column,
                default: None,
                about: "Column that says which source a row is of (needed); `file_column` of a source makes one of its files",
            },
            Key { about: "Column that names a record, carried into the tables; it is not compared", ..keys::ID },
            FIELDS_KEY,
            keys::EXCLUDE,
            Key {
                name: CLEAN_SOURCES,
                takes: Takes::Flag,
                default: None,
                about: "Whether each source holds each thing once; taken to be so where absent, unless one row in 20 has a copy in its source",
            },
            THRESHOLD_KEY,
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        if !step.is_written(SOURCE_COLUMN) {
            let help = "add `source_column = \"COLUMN\"`; with `file_column = \"file\"` in the source, every file is one. Within one table use `dedupe`";
            problems.add(step.span("kind"), "`link` needs `source_column`", "of which sources?", help);
        }
        check(step, input, problems);
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        run(self, step, on)
    }
}

fn check(step: &StepSpec, input: &Schema, problems: &mut Problems) {
    for name in IS_TAKEN {
        if input.column_with_name(name).is_some() {
            let message =
                format!("`{}` has a column `{name}`, which is the name of a column that `{}` adds", step.from.value.name, step.kind.name());
            problems.add(step.span("from"), message, "taken", "give it another name with `rename` of the source");
        }
    }
    if let Some(id) = step.id.as_ref().filter(|id| IS_TAKEN_FROM_ID.contains(&id.value.as_str())) {
        let message = format!("`id` is column `{}`, which is the name of a column of the tables it is carried into", id.value);
        problems.add(id.span.clone(), message, "taken", "give it another name with `rename` of the source");
    }
    for field in step.list(FIELDS) {
        let role = if step.id.as_ref().is_some_and(|id| id.value == field.value) {
            "id"
        } else if step.text(SOURCE_COLUMN) == Some(&field.value) {
            SOURCE_COLUMN
        } else if step.exclude.iter().any(|left| left.value == field.value) {
            "exclude"
        } else {
            continue;
        };
        problems.add(
            field.span.clone(),
            format!("column `{}` stands in `{FIELDS}` and in `{role}`", field.value),
            "both at once",
            "remove it from one of the two",
        );
    }
}

/// What the rows came to.
struct Rows {
    records: Records,
    /// Names of the sources, in ascending order.
    sources: Vec<String>,
    left_out: Vec<LeftOut>,
    /// Columns that are compared.
    n_compared: usize,
    bytes: u64,
}

/// A column as it is read.
struct Reading {
    at: usize,
    name: String,
    role: Role,
    builder: ColumnBuilder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Compared,
    Id,
    Source,
}

impl Rows {
    fn read(step: &StepSpec, on: &StepRun<'_>) -> Result<Self, JobError> {
        let (mut columns, mut left_out) = roles(step, &on.source.schema());
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        if columns.iter().all(|column| column.role != Role::Compared) {
            return Err(data("no column is left to compare".to_owned()));
        }
        let projection: Vec<usize> = columns.iter().map(|column| column.at).collect();
        let mut n_rows = 0;
        pass::blocks(&projection, step, on, |pieces, rows| {
            let put = |(column, pieces): (&mut Reading, Vec<ArrayRef>)| pieces.iter().try_for_each(|piece| column.put(piece));
            columns.par_iter_mut().zip(pieces).try_for_each(put).map_err(data)?;
            n_rows += rows;
            let held: u64 = columns.iter().map(|column| column.builder.bytes() as u64).sum();
            within_budget(held, n_rows, projection.len(), step, on)
        })?;
        let bytes = columns.iter().map(|column| column.builder.bytes() as u64).sum();
        let mut found: Vec<(Role, RecordColumn)> = columns.into_par_iter().map(|column| (column.role, column.finish())).collect();
        let mut take = |role: Role| found.iter().position(|(of, _)| *of == role).map(|at| found.remove(at).1);
        let (id, source) = (take(Role::Id), take(Role::Source));
        let (sources, source) = sources(source.as_ref(), n_rows).map_err(data)?;
        let is_named = !step.list(FIELDS).is_empty();
        let mut compared: Vec<RecordColumn> = found.into_iter().map(|(_, column)| column).collect();
        if !is_named {
            compared.retain(|column| {
                let is_key = column.is_key();
                if is_key {
                    left_out.push(left(&column.name, "text", "its cells hardly ever repeat, not even in part".to_owned()));
                }
                !is_key
            });
        }
        if compared.is_empty() {
            return Err(data("no column is left to compare: cells of none repeat; name some with `fields`".to_owned()));
        }
        let n_compared = compared.len();
        let records = Records { columns: compared, source, n_sources: sources.len().max(1), id };
        Ok(Self { records, sources, left_out, n_compared, bytes })
    }
}

impl Reading {
    /// Sources and names of rows are told apart as they are written.
    fn finish(self) -> RecordColumn {
        match self.role {
            Role::Compared => self.builder.finish(&self.name),
            Role::Id | Role::Source => self.builder.finish_exact(&self.name),
        }
    }

    fn put(&mut self, cells: &ArrayRef) -> Result<(), String> {
        let words = cast(cells, &DataType::Utf8).map_err(|error| format!("column `{}`: {error}", self.name))?;
        for word in words.as_string::<i32>() {
            // NaN is how numbers say that there is none.
            let word = word.filter(|word| !(*word == "NaN" && cells.data_type().is_floating()));
            self.builder.push(word).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Returns the columns to read, and those that cannot be.
fn roles(step: &StepSpec, schema: &Schema) -> (Vec<Reading>, Vec<LeftOut>) {
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    for (at, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        let role = if step.id.as_ref().is_some_and(|id| id.value == *name) {
            Role::Id
        } else if step.text(SOURCE_COLUMN) == Some(name) {
            Role::Source
        } else {
            let fields = step.list(FIELDS);
            let is_asked = fields.is_empty() || fields.iter().any(|field| field.value == *name);
            if !is_asked || step.exclude.iter().any(|left| left.value == *name) {
                continue;
            }
            Role::Compared
        };
        if field.data_type().is_nested() || matches!(field.data_type(), DataType::Binary | DataType::LargeBinary) {
            let words = columns::type_words(field.data_type());
            left_out.push(left(name, &words, "only texts, numbers and dates can be compared".to_owned()));
            continue;
        }
        columns.push(Reading { at, name: name.clone(), role, builder: ColumnBuilder::default() });
    }
    (columns, left_out)
}

fn left(column: &str, data_type: &str, reason: String) -> LeftOut {
    LeftOut { column: column.to_owned(), data_type: data_type.to_owned(), reason }
}

/// Returns the names of the sources and the source of every row.
fn sources(column: Option<&RecordColumn>, n_rows: usize) -> Result<(Vec<String>, Vec<u16>), String> {
    let Some(column) = column else { return Ok((Vec::new(), vec![0; n_rows])) };
    if column.texts.len() < 2 {
        return Err(format!(
            "column `{}` names {} source, and `link` needs two; within one table use `dedupe`",
            column.name,
            column.texts.len()
        ));
    }
    if column.texts.len() > MOST_SOURCES {
        let n = count(column.texts.len() as u64);
        return Err(format!("column `{}` names {n} sources, at most {} can be linked", column.name, count(MOST_SOURCES as u64)));
    }
    if let Some(row) = column.codes.iter().position(|code| *code == MISSING) {
        return Err(format!("row {row} has no source: column `{}` is missing there; leave such rows out with `where`", column.name));
    }
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 10,000 sources")]
    let source = column.codes.iter().map(|code| *code as u16).collect();
    Ok((column.texts.iter().map(|text| text.to_string()).collect(), source))
}

/// Bytes of a record beside its codes: order, entity, and the tables.
const BYTES_A_RECORD: u64 = 64;
/// Bytes of a cell beside its code: two or three keys of 16 bytes while pairs are sought; cells of many words have more, as their texts do.
const BYTES_A_CELL: u64 = 48;
/// How often texts and codes are held: as they were read, in order, and as keys of their words.
const COPIES: u64 = 3;
/// Bytes of a candidate: the pair, its pattern, both again sorted, its key while it is formed.
const BYTES_A_PAIR: u64 = 48;
/// Candidates of a record that are looked at where memory allows.
const PAIRS_A_RECORD: u64 = 120;
/// Candidates that small tables may have.
const LEAST_PAIRS: u64 = 8_000_000;
/// Candidates of a record below which the result would be worth little.
const FEWEST_PAIRS_A_RECORD: u64 = 5;

/// Refuses what would pass the budget: texts, codes and keys, and five candidates a record.
fn within_budget(held: u64, n_rows: usize, n_columns: usize, step: &StepSpec, on: &StepRun<'_>) -> Result<(), JobError> {
    let (n_rows, n_columns) = (n_rows as u64, n_columns as u64);
    let needed_bytes = COPIES * held + n_rows * (BYTES_A_RECORD + n_columns * BYTES_A_CELL + FEWEST_PAIRS_A_RECORD * BYTES_A_PAIR);
    if needed_bytes <= on.memory_bytes {
        return Ok(());
    }
    Err(JobError::Budget {
        what: format!("step `{}`: the texts of {} rows and five pairs a row in memory", step.name.value, count(n_rows)),
        needed_bytes,
        budget_bytes: on.memory_bytes,
        help: "raise `memory`, or name fewer columns with `fields`".to_owned(),
    })
}

fn run(kind: &dyn JobKind, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    let rows = Rows::read(step, on)?;
    let n_rows = rows.records.len() as u64;
    let crosses = step.is_written(SOURCE_COLUMN);
    let a_record = BYTES_A_RECORD + rows.n_compared as u64 * BYTES_A_CELL;
    let room = on.memory_bytes.saturating_sub(COPIES * rows.bytes + n_rows * a_record) / BYTES_A_PAIR;
    let options = DedupeOptions {
        crosses,
        is_clean: step.is_written(CLEAN_SOURCES).then(|| step.flag(CLEAN_SOURCES)),
        threshold: step.number(THRESHOLD).unwrap_or(0.5),
        most_pairs: (PAIRS_A_RECORD * n_rows).max(LEAST_PAIRS).min(room),
        seed: on.seed,
    };
    let Some(found) = dedupe(&rows.records, &options, on.stopped) else {
        if (on.stopped)() {
            return Err(JobError::Stopped(Exit::Interrupted));
        }
        let message = "no column can be compared: each has one text, or is missing in nearly every row that could match";
        return Err(JobError::Data { step: step.name.value.clone(), message: message.to_owned() });
    };
    let said = tables::Found { rows: &rows, found: &found, step, on, crosses };
    Ok(StepOutcome {
        tables: said.tables()?,
        n_rows,
        n_columns: rows.n_compared as u64,
        notes: said.notes(),
        left_out: rows.left_out.clone(),
        ..StepOutcome::on_cpu(kind)
    })
}

/// Says what came out in a sentence.
fn sentence(found: &Resolution, n_rows: u64) -> String {
    let twice = n_rows - found.n_entities as u64;
    format!(
        "{} records are of {} entities: {} are one more of something that is there already",
        count(n_rows),
        count(found.n_entities as u64),
        count(twice)
    )
}
