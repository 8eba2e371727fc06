//! Records, compared column by column.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use gristmill_engine::columns;
use gristmill_engine::dedupe::{ColumnBuilder, DedupeOptions, RecordColumn, Records, Unresolved, dedupe};
use rayon::prelude::*;

use super::grouped::{Grouped, Origin, OriginReading};
use super::tables::Found;
use super::{CLEAN_SOURCES, FIELDS, IDENTIFIERS, MOST_PAIRS, REVIEW, THRESHOLD, crosses, explain, grouping, is_added, review};
use crate::JobError;
use crate::error::Exit;
use crate::kinds::{JobKind, StepOutcome, StepRun};
use crate::manifest::LeftOut;
use crate::pass;
use crate::spec::{Spanned, StepSpec};
use crate::terminal::count;

/// What the rows came to.
pub(super) struct Rows {
    pub(super) records: Records,
    pub(super) origin: Origin,
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
    /// Its cells as an identifier, where it is one.
    identifier: Option<ColumnBuilder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Compared,
    Id,
    /// Names who it was, and is not compared.
    Identifier,
}

impl Rows {
    fn read(step: &StepSpec, on: &StepRun<'_>) -> Result<Self, JobError> {
        let (mut columns, mut left_out) = roles(step, &on.source.schema());
        let mut origin = OriginReading::new(step, &on.source.schema());
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        if columns.iter().all(|column| column.role != Role::Compared) {
            return Err(data("no column is left to compare".to_owned()));
        }
        let projection: Vec<usize> = columns.iter().map(|column| column.at).chain(origin.columns()).collect();
        let mut n_rows = 0;
        pass::blocks(&projection, step, on, |mut pieces, rows| {
            origin.put(&pieces.split_off(columns.len())).map_err(data)?;
            let put = |(column, pieces): (&mut Reading, Vec<ArrayRef>)| pieces.iter().try_for_each(|piece| column.put(piece));
            columns.par_iter_mut().zip(pieces).try_for_each(put).map_err(data)?;
            n_rows += rows;
            let held: u64 = columns.iter().map(Reading::bytes).sum::<u64>() + origin.bytes();
            within_budget(held, n_rows, projection.len(), step, on)
        })?;
        let bytes = columns.iter().map(Reading::bytes).sum();
        let identifier = |name: &Spanned<String>| {
            let column = columns.iter_mut().find(|column| column.name == name.value)?;
            column.identifier.take().map(|builder| builder.finish_exact(&name.value))
        };
        let identifiers: Vec<RecordColumn> = step.list(IDENTIFIERS).iter().filter_map(identifier).collect();
        let mut found: Vec<(Role, RecordColumn)> = columns.into_par_iter().map(|column| (column.role, column.finish())).collect();
        let id = found.iter().position(|(of, _)| *of == Role::Id).map(|at| found.remove(at).1);
        let origin = origin.finish(n_rows).map_err(data)?;
        let is_named = !step.list(FIELDS).is_empty();
        let is_compared = |(role, column): (Role, RecordColumn)| (role == Role::Compared).then_some(column);
        let mut compared: Vec<RecordColumn> = found.into_iter().filter_map(is_compared).collect();
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
        let records = Records { columns: compared, source: origin.source.clone(), n_sources: origin.names.len().max(1), id, identifiers };
        Ok(Self { records, origin, left_out, n_compared, bytes })
    }
}

impl Reading {
    /// Names of rows are told apart as they are written.
    fn finish(self) -> RecordColumn {
        match self.role {
            Role::Compared => self.builder.finish(&self.name),
            Role::Id | Role::Identifier => self.builder.finish_exact(&self.name),
        }
    }

    fn bytes(&self) -> u64 {
        (self.builder.bytes() + self.identifier.as_ref().map_or(0, ColumnBuilder::bytes)) as u64
    }

    fn put(&mut self, cells: &ArrayRef) -> Result<(), String> {
        let words = cast(cells, &DataType::Utf8).map_err(|error| format!("column `{}`: {error}", self.name))?;
        for word in words.as_string::<i32>() {
            // NaN is how numbers say that there is none.
            let word = word.filter(|word| !(*word == "NaN" && cells.data_type().is_floating()));
            if self.role != Role::Identifier {
                self.builder.push(word).map_err(|error| error.to_string())?;
            }
            if let Some(identifier) = &mut self.identifier {
                // Letters and marks count here, case and what stands around does not.
                let word = word.map(|word| word.trim().to_lowercase());
                identifier.push(word.as_deref()).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

/// Returns the columns to read, and those that cannot be.
fn roles(step: &StepSpec, schema: &Schema) -> (Vec<Reading>, Vec<LeftOut>) {
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    let is_identifier = |name: &str| step.list(IDENTIFIERS).iter().any(|named| named.value == name);
    for (at, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        let role = if step.id.as_ref().is_some_and(|id| id.value == *name) {
            Role::Id
        } else if OriginReading::is_of(step, name) || is_added(step, name) {
            continue;
        } else {
            let fields = step.list(FIELDS);
            // When a record was says nothing of whose it is.
            let is_time = step.time.as_ref().is_some_and(|time| time.value == *name);
            let is_asked = (fields.is_empty() && !is_time) || fields.iter().any(|field| field.value == *name);
            if is_asked && !step.exclude.iter().any(|left| left.value == *name) {
                Role::Compared
            } else if is_identifier(name) {
                Role::Identifier
            } else {
                continue;
            }
        };
        if field.data_type().is_nested() || matches!(field.data_type(), DataType::Binary | DataType::LargeBinary) {
            let words = columns::type_words(field.data_type());
            left_out.push(left(name, &words, "only texts, numbers and dates can be compared".to_owned()));
            continue;
        }
        let identifier = is_identifier(name).then(ColumnBuilder::default);
        columns.push(Reading { at, name: name.clone(), role, builder: ColumnBuilder::default(), identifier });
    }
    (columns, left_out)
}

fn left(column: &str, data_type: &str, reason: String) -> LeftOut {
    LeftOut { column: column.to_owned(), data_type: data_type.to_owned(), reason }
}

/// Bytes of a record beside its codes: order, entity, and the tables.
const BYTES_A_RECORD: u64 = 64;
/// Bytes of a cell beside its code: two or three keys of 16 bytes while pairs are sought; cells of many words have more, as their texts do.
const BYTES_A_CELL: u64 = 48;
/// How often texts and codes are held: as they were read, in order, and as keys of their words.
const COPIES: u64 = 3;
/// Bytes of a candidate: the pair, its pattern, both again sorted, its key while it is formed.
const BYTES_A_PAIR: u64 = 48;
/// Candidates that a record has on average where there are many; with fewer the result would be worth little.
const PAIRS_A_RECORD: u64 = 5;
/// Candidates that small tables may have.
const LEAST_PAIRS: u64 = 4_000_000;

/// Returns how many pairs of so many records are looked at.
pub(super) fn most_pairs(n_rows: u64, step: &StepSpec) -> u64 {
    let asked = step.integer(MOST_PAIRS).and_then(|n| u64::try_from(n).ok());
    asked.unwrap_or_else(|| (PAIRS_A_RECORD * n_rows).max(LEAST_PAIRS))
}

/// Returns how many that is at the most, with those by all words of a record where texts are few (`engine::dedupe`).
pub(super) fn at_most(n_rows: u64, step: &StepSpec) -> u64 {
    let by_keys = most_pairs(n_rows, step);
    let by_words = n_rows.saturating_mul((by_keys / n_rows.max(1)).clamp(1, 10));
    by_keys.max(n_rows).saturating_add(by_words)
}

/// Refuses what would pass the budget before a pair is formed: texts, codes and keys.
fn within_budget(held: u64, n_rows: usize, n_columns: usize, step: &StepSpec, on: &StepRun<'_>) -> Result<(), JobError> {
    let (n_rows, n_columns) = (n_rows as u64, n_columns as u64);
    let needed_bytes = COPIES * held + n_rows * (BYTES_A_RECORD + n_columns * BYTES_A_CELL);
    if needed_bytes <= on.memory_bytes {
        return Ok(());
    }
    let (n_rows, needed_bytes) = on.of_all_rows(needed_bytes, n_rows);
    Err(JobError::Budget {
        what: format!("step `{}`: the texts of {} rows in memory", step.name.value, count(n_rows)),
        needed_bytes,
        budget_bytes: on.memory_bytes,
        help: "raise `memory`, or name fewer columns with `fields`".to_owned(),
    })
}

/// Runs a step that compares records.
pub(super) fn run(kind: &dyn JobKind, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    let rows = Rows::read(step, on)?;
    let n_rows = rows.records.len() as u64;
    let a_record = BYTES_A_RECORD + rows.n_compared as u64 * BYTES_A_CELL;
    let held_bytes = COPIES * rows.bytes + n_rows * a_record;
    let room_pairs = on.memory_bytes.saturating_sub(held_bytes) / BYTES_A_PAIR;
    let options = DedupeOptions {
        crosses: crosses(step),
        is_clean: step.is_written(CLEAN_SOURCES).then(|| step.flag(CLEAN_SOURCES)),
        threshold: step.number(THRESHOLD).unwrap_or(0.5),
        grouping: grouping(step),
        most_pairs: most_pairs(n_rows, step),
        room_pairs,
        n_review: step.integer(REVIEW).and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        answers: review::answers(&rows.records, step, on)?,
        explain: explain::pairs(&rows.records, step, on)?,
        seed: on.seed,
    };
    let found = dedupe(&rows.records, &options, on.stopped).map_err(|why| match why {
        Unresolved::Stopped => JobError::Stopped(Exit::Interrupted),
        Unresolved::NoColumn => JobError::Data {
            step: step.name.value.clone(),
            message: "no column can be compared: each has one text, or is missing in nearly every row that could match".to_owned(),
        },
        Unresolved::TooManyPairs(n) => {
            // Records that are few have as many again by all their words.
            let fewer = room_pairs / 2;
            let or_fewer = if fewer < n_rows { String::new() } else { format!(", or look at fewer with `most_pairs = {fewer}`") };
            JobError::Budget {
                what: format!(
                    "step `{}`: {} rows and about {} pairs of them that share something",
                    step.name.value,
                    count(n_rows),
                    count(n)
                ),
                needed_bytes: held_bytes.saturating_add(n.saturating_mul(BYTES_A_PAIR)),
                budget_bytes: on.memory_bytes,
                help: format!("raise `memory`{or_fewer}"),
            }
        }
    })?;
    let content = contents(&rows.records);
    let grouped =
        Grouped { step, on, origin: &rows.origin, content: &content, entity: &found.entity, n_entities: found.n_entities, numbers: None };
    let said = Found { grouped, records: &rows.records, found: &found };
    let (tables, of_tables) = said.tables()?;
    let mut notes = said.notes();
    notes.extend(of_tables);
    Ok(StepOutcome {
        tables,
        n_rows,
        n_columns: rows.n_compared as u64,
        notes,
        left_out: rows.left_out.clone(),
        ..StepOutcome::on_cpu(kind)
    })
}

/// Numbers what the rows hold: rows whose compared cells are all the same have one number.
fn contents(records: &Records) -> Vec<u32> {
    let cells = |row: u32| records.columns.iter().map(move |column| column.codes[row as usize]);
    let mut order: Vec<u32> = (0..records.len() as u32).collect();
    order.par_sort_unstable_by(|one, other| cells(*one).cmp(cells(*other)));
    let mut content = vec![0; order.len()];
    for (number, same) in order.chunk_by(|one, other| cells(*one).eq(cells(*other))).enumerate() {
        for row in same {
            content[*row as usize] = number as u32;
        }
    }
    content
}
