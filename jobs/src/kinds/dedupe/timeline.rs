//! Entities in the order of time: which record was when, and which cells are others than before.
//!
//! ```text
//! rows of an entity that have a time, by time and row -> of each column the last cell that is there, and the next one that differs -> a move
//! ```
//!
//! Ties     records of one time say nothing of what came first: a cell that differs from one of the same time is no move, and leaves what was
//!          known as it is
//! Change   `slightly` where the two are much alike by the comparison of the column, or one or two letters make one the other, or it is an
//!          initial, as typing errors do; `back` where the entity had the cell before the last one; else `changed`. Of identifiers none is slight

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder, UInt32Array, UInt64Array, new_empty_array};
use arrow::compute::{cast, rank, take};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use gristmill_engine::dedupe::{Alike, LONGEST, MISSING, Records, osa};
use rayon::prelude::*;

use super::grouped::{Grouped, Members};
use super::review::whole_numbers;
use crate::JobError;
use crate::kinds::{Rows, Table, batch};
use crate::pass;
use crate::spec::listed;
use crate::terminal::{count, counted};

/// When every row was.
pub(super) struct Times {
    cells: ArrayRef,
    /// Place of every row in time, the latest the greatest; 0 where it has none.
    pub(super) place: Vec<u32>,
}

impl Times {
    /// Reads the column that the step names, if it names one.
    pub(super) fn of(grouped: &Grouped<'_>) -> Result<Option<Self>, JobError> {
        let Grouped { step, on, .. } = *grouped;
        let schema = on.source.schema();
        let Some(at) = step.time.as_ref().and_then(|time| schema.index_of(&time.value).ok()) else { return Ok(None) };
        let cells = pass::carry(at, 4, step, on)?;
        let ranks = rank(&cells, None).map_err(|error| grouped.data(&format!("`time`: {error}")))?;
        let place = ranks.into_iter().enumerate().map(|(row, rank)| if cells.is_valid(row) { rank } else { 0 }).collect();
        Ok(Some(Self { cells, place }))
    }
}

/// How a cell of an entity became another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Changed,
    Slightly,
    Back,
}

impl Change {
    const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Slightly => "slightly",
            Self::Back => "back",
        }
    }
}

/// A cell that is another than before.
struct Move {
    entity: u32,
    /// Row that had the cell before, the last one, and the row that has the next.
    before: u32,
    after: u32,
    change: Change,
}

/// The moves of all columns, while they are gathered.
pub(super) struct Moves<'a> {
    grouped: &'a Grouped<'a>,
    records: &'a Records,
    times: Option<&'a Times>,
    /// Rows that have a time, entity by entity, in order.
    rows: Vec<u32>,
    /// Where the rows of every entity begin; one more at the end.
    starts: Vec<u32>,
    /// Column, its moves, and the cells before and after.
    found: Vec<(String, Vec<Move>, [ArrayRef; 2])>,
}

impl<'a> Moves<'a> {
    pub(super) fn new(grouped: &'a Grouped<'a>, records: &'a Records, members: &Members, times: Option<&'a Times>) -> Self {
        let (mut rows, mut starts) = (Vec::new(), vec![0]);
        if let Some(times) = times {
            for entity in 0..members.len() {
                let from = rows.len();
                rows.extend(members.rows(entity).iter().copied().filter(|row| times.place[*row as usize] > 0));
                rows[from..].sort_by_key(|row| (times.place[*row as usize], *row));
                starts.push(rows.len() as u32);
            }
        }
        Self { grouped, records, times, rows, starts, found: Vec::new() }
    }

    fn n_entities(&self) -> usize {
        self.starts.len() - 1
    }

    fn of_entity(&self, entity: usize) -> &[u32] {
        &self.rows[self.starts[entity] as usize..self.starts[entity + 1] as usize]
    }

    /// Looks for moves in a column of the input, where it was compared.
    pub(super) fn add(&mut self, name: &str, cells: &ArrayRef) -> Result<(), ArrowError> {
        let Some(times) = self.times else { return Ok(()) };
        let Some(at) = self.records.columns.iter().position(|column| column.name == name) else { return Ok(()) };
        let column = &self.records.columns[at];
        let of_column = Alike::of(self.records, at);
        let is_identifier = self.records.identifiers.iter().any(|of| of.name == name);
        let text = |code: u32| &column.texts[code as usize];
        let alike = |a: u32, b: u32| of_column.are(a, b) || (!is_identifier && is_mistyped(text(a), text(b)));
        let of_entity = |entity: usize| {
            let rows = self.of_entity(entity);
            if rows.len() < 2 { Vec::new() } else { moves(entity as u32, rows, &column.codes, &times.place, &alike) }
        };
        let moves: Vec<Move> = (0..self.n_entities()).into_par_iter().with_min_len(1_024).flat_map_iter(of_entity).collect();
        if moves.is_empty() {
            return Ok(());
        }
        let whole = if cells.data_type().is_floating() { whole_numbers(cells)? } else { None };
        let words = cast(whole.as_ref().unwrap_or(cells), &DataType::Utf8)?;
        let texts = |of: fn(&Move) -> u32| take(&words, &moves.iter().map(of).collect::<UInt32Array>(), None);
        let sides = [texts(|one| one.before)?, texts(|one| one.after)?];
        self.found.push((name.to_owned(), moves, sides));
        Ok(())
    }

    /// Says how many cells became others, where the step names a column of time.
    pub(super) fn said(&self) -> Option<String> {
        self.times?;
        let n_absent = self.grouped.entity.len() - self.rows.len();
        let absent = if n_absent == 0 { String::new() } else { format!("; {} no time", has(n_absent as u64)) };
        let n_of = |moves: &[Move], change: Change| moves.iter().filter(|one| one.change == change).count() as u64;
        let mut changed: Vec<(u64, &str)> =
            self.found.iter().map(|(name, moves, _)| (n_of(moves, Change::Changed), name.as_str())).filter(|(n, _)| *n > 0).collect();
        changed.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
        let total = |change: Change| self.found.iter().map(|(_, moves, _)| n_of(moves, change)).sum::<u64>();
        let columns: Vec<String> = changed.iter().take(5).map(|(n, name)| format!("`{name}` {}", count(*n))).collect();
        let of_columns = if columns.is_empty() {
            String::new()
        } else {
            format!(" ({})", listed(&columns.iter().map(String::as_str).collect::<Vec<_>>()))
        };
        Some(format!(
            "In order of time {} of entities became another{of_columns}, {} changed slightly, {} went back to what it was{absent}.",
            counted(total(Change::Changed), "cell"),
            count(total(Change::Slightly)),
            count(total(Change::Back)),
        ))
    }

    /// Returns the tables `timeline` and `moved`.
    pub(super) fn tables(self, id: Option<&(Field, ArrayRef)>) -> Result<[Table; 2], JobError> {
        let Some(times) = self.times else { return Ok(nothing(id)) };
        Ok([self.timeline(times, id)?, Table::one("moved", self.moved(times)?)])
    }

    fn timeline(&self, times: &Times, id: Option<&(Field, ArrayRef)>) -> Result<Table, JobError> {
        /// Rows that are put into columns at a time.
        const AT_ONCE: usize = 1 << 16;
        let fields = timeline_fields(times.cells.data_type(), id);
        let mut writer = self.grouped.on.writer(self.grouped.step, "timeline", Arc::new(Schema::new(fields.clone())))?;
        // Columns of which a row has another cell, by row.
        let mut changed: Vec<(u32, u32)> = Vec::new();
        for (at, (_, moves, _)) in self.found.iter().enumerate() {
            changed.extend(moves.iter().map(|one| (one.after, at as u32)));
        }
        changed.sort_unstable();
        let words_of = |row: u32| {
            let from = changed.partition_point(|(of, _)| *of < row);
            let names = changed[from..].iter().take_while(|(of, _)| *of == row).map(|(_, at)| self.found[*at as usize].0.as_str());
            names.collect::<Vec<&str>>().join(", ")
        };
        let mut entity = 0;
        for from in (0..self.rows.len()).step_by(AT_ONCE) {
            let rows = &self.rows[from..(from + AT_ONCE).min(self.rows.len())];
            let places: Vec<(u32, u32)> = (from as u32..)
                .take(rows.len())
                .map(|at| {
                    while self.starts[entity + 1] <= at {
                        entity += 1;
                    }
                    (entity as u32, at - self.starts[entity] + 1)
                })
                .collect();
            let at: UInt32Array = rows.to_vec().into();
            let failed = |error: ArrowError| self.grouped.data(&error.to_string());
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(places.iter().map(|(entity, _)| self.grouped.number(*entity)).collect::<UInt64Array>()),
                Arc::new(places.iter().map(|(_, nth)| *nth).collect::<UInt32Array>()),
                take(&times.cells, &at, None).map_err(failed)?,
                Arc::new(rows.iter().map(|row| self.grouped.origin.name(*row)).collect::<StringArray>()),
                Arc::new(rows.iter().map(|row| u64::from(*row)).collect::<UInt64Array>()),
            ];
            if let Some((_, cells)) = id {
                columns.push(take(cells, &at, None).map_err(failed)?);
            }
            columns.push(Arc::new(rows.iter().map(|row| Some(words_of(*row)).filter(|words| !words.is_empty())).collect::<StringArray>()));
            writer.push(&batch(fields.iter().cloned().zip(columns).collect()))?;
        }
        Ok(Table { name: "timeline", rows: Rows::Written(writer.finish()?) })
    }

    fn moved(&self, times: &Times) -> Result<RecordBatch, JobError> {
        // Entity by entity, in order of time, columns in the order of the input.
        let mut order: Vec<(u32, u32, usize, usize)> = Vec::new();
        for (at, (_, moves, _)) in self.found.iter().enumerate() {
            order.extend(moves.iter().enumerate().map(|(nth, one)| (one.entity, times.place[one.after as usize], at, nth)));
        }
        order.par_sort_unstable();
        let of = |(_, _, at, nth): &(u32, u32, usize, usize)| &self.found[*at].1[*nth];
        let rows = |row: fn(&Move) -> u32| order.iter().map(|place| row(of(place))).collect::<Vec<u32>>();
        let (before, after) = (rows(|one| one.before), rows(|one| one.after));
        let failed = |error: ArrowError| self.grouped.data(&error.to_string());
        let time = |rows: &[u32]| take(&times.cells, &UInt32Array::from(rows.to_vec()), None).map_err(failed);
        let cells = |side: usize| -> ArrayRef {
            let mut texts = StringBuilder::new();
            for (_, _, at, nth) in &order {
                texts.append_value(self.found[*at].2[side].as_string::<i32>().value(*nth));
            }
            Arc::new(texts.finish())
        };
        let source =
            |rows: &[u32]| -> ArrayRef { Arc::new(rows.iter().map(|row| self.grouped.origin.name(*row)).collect::<StringArray>()) };
        let whole = |rows: &[u32]| -> ArrayRef { Arc::new(rows.iter().map(|row| u64::from(*row)).collect::<UInt64Array>()) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(order.iter().map(|place| self.grouped.number(place.0)).collect::<UInt64Array>()),
            Arc::new(order.iter().map(|place| Some(self.found[place.2].0.as_str())).collect::<StringArray>()),
            Arc::new(order.iter().map(|place| Some(of(place).change.word())).collect::<StringArray>()),
            cells(0),
            cells(1),
            time(&before)?,
            time(&after)?,
            source(&before),
            source(&after),
            whole(&before),
            whole(&after),
        ];
        Ok(batch(moved_fields(times.cells.data_type()).into_iter().zip(columns).collect()))
    }
}

/// Returns the moves of one column of an entity, whose rows are in order.
fn moves(entity: u32, rows: &[u32], codes: &[u32], place: &[u32], alike: &(dyn Fn(u32, u32) -> bool + Sync)) -> Vec<Move> {
    let mut found = Vec::new();
    let mut last: Option<u32> = None;
    let mut earlier: Vec<u32> = Vec::new();
    for &row in rows.iter().filter(|row| codes[**row as usize] != MISSING) {
        let code = codes[row as usize];
        let Some(before) = last else {
            last = Some(row);
            continue;
        };
        let known = codes[before as usize];
        if place[before as usize] == place[row as usize] && known != code {
            continue;
        }
        if known != code {
            let change = match () {
                () if earlier.contains(&code) => Change::Back,
                () if alike(known, code) => Change::Slightly,
                () => Change::Changed,
            };
            found.push(Move { entity, before, after: row, change });
            earlier.push(known);
        }
        last = Some(row);
    }
    found
}

/// Says whether one or two edits make one text the other, and no more than one in six letters, or whether one is the other's first letter.
fn is_mistyped(a: &str, b: &str) -> bool {
    let is_initial = |short: &str, long: &str| short.chars().nth(1).is_none() && long.starts_with(short);
    if is_initial(a, b) || is_initial(b, a) {
        return true;
    }
    let longest = a.len().max(b.len());
    let n_edits = if longest <= LONGEST { osa(a.as_bytes(), b.as_bytes()) as usize } else { usize::MAX };
    n_edits <= 2 && n_edits * 6 <= longest
}

fn has(n: u64) -> String {
    if n == 1 { "1 record has".to_owned() } else { format!("{} records have", count(n)) }
}

fn timeline_fields(time: &DataType, id: Option<&(Field, ArrayRef)>) -> Vec<Field> {
    let mut fields = vec![
        Field::new("entity_id", DataType::UInt64, false),
        Field::new("nth", DataType::UInt32, false),
        Field::new("time", time.clone(), true),
        Field::new("source", DataType::Utf8, true),
        Field::new("row", DataType::UInt64, false),
    ];
    fields.extend(id.map(|(field, _)| field.clone()));
    fields.push(Field::new("changed", DataType::Utf8, true));
    fields
}

fn moved_fields(time: &DataType) -> Vec<Field> {
    vec![
        Field::new("entity_id", DataType::UInt64, false),
        Field::new("column", DataType::Utf8, false),
        Field::new("change", DataType::Utf8, false),
        Field::new("before", DataType::Utf8, false),
        Field::new("after", DataType::Utf8, false),
        Field::new("last_seen", time.clone(), true),
        Field::new("since", time.clone(), true),
        Field::new("source_before", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, true),
        Field::new("row_before", DataType::UInt64, false),
        Field::new("row", DataType::UInt64, false),
    ]
}

/// Returns the tables without rows, where no column of time is named.
pub(super) fn nothing(id: Option<&(Field, ArrayRef)>) -> [Table; 2] {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let empty = |fields: Vec<Field>| {
        let columns = fields.iter().map(|field| new_empty_array(field.data_type())).collect::<Vec<ArrayRef>>();
        batch(fields.into_iter().zip(columns).collect())
    };
    [Table::one("timeline", empty(timeline_fields(&time, id))), Table::one("moved", empty(moved_fields(&time)))]
}
