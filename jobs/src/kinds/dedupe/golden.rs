//! Golden records: of every column the cell that an entity keeps, by a rule, and where the records of the entity differ.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder, UInt32Array, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use gristmill_engine::dedupe::{ColumnBuilder, MISSING, RecordColumn};
use rayon::prelude::*;

use super::grouped::{Grouped, Members, OriginReading};
use super::review::Asked;
use super::timeline::{Moves, Times};
use super::{GOLDEN, SOURCE_COLUMN, TRUSTED, carried_name, source_column};
use crate::JobError;
use crate::kinds::{Table, batch};
use crate::pass;
use crate::spec::{Problems, StepSpec, did_you_mean, keys};

/// Words for the rules, in the order of [`Rule`]; the first is the default.
pub(super) const RULES: &[&str] = &["most_frequent", "most_recent", "longest", "trusted", "weighted"];

/// Which cell of an entity is kept. Where that leaves several, the most frequent of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The cell that most records have. Of cells that as many have: no initial, then the one that is most common in the whole column (an error
    /// is rare), then the longest, then the first in the alphabet.
    MostFrequent,
    /// The cell of the latest record that has one, by `time`.
    MostRecent,
    /// The longest cell.
    Longest,
    /// The cell of the first source in `trusted` that has one.
    Trusted,
    /// The cell with the greatest sum of votes: a record's vote is how often its source agrees with others of an entity in this column.
    Weighted,
}

impl Rule {
    fn of(step: &StepSpec, column: &str) -> Self {
        let written = step.choices(GOLDEN).iter().find(|(name, _)| name.value == column);
        match written.map(|(_, word)| word.as_str()) {
            Some("most_recent") => Self::MostRecent,
            Some("longest") => Self::Longest,
            Some("trusted") => Self::Trusted,
            Some("weighted") => Self::Weighted,
            _ => Self::MostFrequent,
        }
    }

    const fn word(self) -> &'static str {
        RULES[self as usize]
    }
}

/// Adds what the rules lack.
pub(super) fn check(step: &StepSpec, problems: &mut Problems) {
    for (column, word) in step.choices(GOLDEN) {
        let is_lacking = |key: &str| if key == SOURCE_COLUMN { source_column(step).is_none() } else { !step.is_written(key) };
        let (lacks, help) = match word.as_str() {
            "most_recent" if is_lacking(keys::TIME.name) => ("time", "add `time = \"COLUMN\"`: which record is the latest?"),
            "trusted" if is_lacking(TRUSTED) => (TRUSTED, "add `trusted = [\"SOURCE\", ...]`: which source is believed before which?"),
            "trusted" | "weighted" if is_lacking(SOURCE_COLUMN) => {
                (SOURCE_COLUMN, "add `source_column = \"COLUMN\"`; `file_column` of a source makes one of its files")
            }
            _ => continue,
        };
        problems.add(
            column.span.clone(),
            format!("`{word}` of column `{}` needs `{lacks}`", column.value),
            format!("`{lacks}` is missing"),
            help,
        );
    }
}

/// Which records go before others.
struct Precedence<'a> {
    /// Place of every row in time, the latest the greatest; 0 where it has none.
    recency: &'a [u32],
    /// Place of every source in `trusted`, the first the greatest; 0 for those that are not in it.
    trust: Vec<u32>,
}

impl<'a> Precedence<'a> {
    /// Finds out what the rules of a step need.
    fn of(grouped: &Grouped<'_>, times: Option<&'a Times>) -> Result<Self, JobError> {
        let Grouped { step, origin, .. } = *grouped;
        let recency = times.map_or(&[][..], |times| &times.place);
        let trusted = step.list(TRUSTED);
        let mut trust = vec![0; origin.names.len()];
        for (place, name) in trusted.iter().enumerate().filter(|_| !origin.names.is_empty()) {
            let known = origin.names.binary_search(&name.value).map_err(|_| {
                let help = did_you_mean(&name.value, "sources", origin.names.iter().map(String::as_str));
                grouped.data(&format!("`{TRUSTED}` names `{}`, which is no source; {help}", name.value))
            })?;
            trust[known] = (trusted.len() - place) as u32;
        }
        Ok(Self { recency, trust })
    }
}

/// How cells of a column are told apart by its rule.
enum By<'a> {
    /// By how many records have them.
    Count,
    /// Only those of the records with the greatest number.
    Greatest(&'a (dyn Fn(u32) -> u32 + Sync)),
    /// By the sum of the votes of their records.
    Votes(&'a (dyn Fn(u32) -> u64 + Sync)),
}

/// The cell that an entity keeps.
struct Kept {
    /// Row that it is taken from; the entity's first where none has a cell.
    row: u32,
    /// Different cells, and records that have one.
    n_cells: u32,
    n_present: u32,
    /// Records that have the cell that is kept.
    n_agree: u32,
}

impl Kept {
    fn of(rows: &[u32], column: &RecordColumn, by: &By<'_>) -> Self {
        let code = |row: u32| column.codes[row as usize];
        if let [row] = rows {
            let n = u32::from(code(*row) != MISSING);
            return Self { row: *row, n_cells: n, n_present: n, n_agree: n };
        }
        let present: Vec<u32> = rows.iter().copied().filter(|row| code(*row) != MISSING).collect();
        let greatest = |row: u32| match by {
            By::Greatest(of) => of(row),
            _ => 0,
        };
        let most = present.iter().map(|row| greatest(*row)).max().unwrap_or_default();
        let eligible: Vec<u32> = present.iter().copied().filter(|row| greatest(*row) == most).collect();
        let mut by_code = present.clone();
        by_code.sort_by_key(|row| code(*row));
        let runs: Vec<&[u32]> = by_code.chunk_by(|one, other| code(*one) == code(*other)).collect();
        let rank = |same: &[u32]| {
            let of = code(same[0]);
            let text = &column.texts[of as usize];
            let votes = match by {
                By::Votes(of) => same.iter().map(|row| of(*row)).sum(),
                _ => same.len() as u64,
            };
            (votes, text.len() > 1, column.counts[of as usize], text.len(), std::cmp::Reverse(of))
        };
        let mut codes: Vec<u32> = eligible.iter().map(|row| code(*row)).collect();
        codes.sort_unstable();
        let best = runs.iter().filter(|same| codes.binary_search(&code(same[0])).is_ok()).max_by_key(|same| rank(same));
        let Some(best) = best else { return Self { row: rows[0], n_cells: 0, n_present: 0, n_agree: 0 } };
        let row = eligible.into_iter().find(|row| code(*row) == code(best[0])).unwrap_or(rows[0]);
        Self { row, n_cells: runs.len() as u32, n_present: present.len() as u32, n_agree: best.len() as u32 }
    }
}

/// Returns the votes of every source: the share of its cells, of a million, that another record of the entity has too. Of few cells it lies
/// near a half.
fn votes(column: &RecordColumn, members: &Members, source: &[u16], n_sources: usize) -> Vec<u64> {
    let (mut agree, mut all) = (vec![1_u64; n_sources], vec![2_u64; n_sources]);
    for entity in 0..members.len() {
        let rows = members.rows(entity);
        let code = |row: u32| column.codes[row as usize];
        let present = || rows.iter().copied().filter(|row| code(*row) != MISSING);
        for row in present().filter(|_| present().nth(1).is_some()) {
            let of = usize::from(source[row as usize]);
            all[of] += 1;
            agree[of] += u64::from(present().any(|other| other != row && code(other) == code(row)));
        }
    }
    agree.into_iter().zip(all).map(|(agree, all)| agree * 1_000_000 / all).collect()
}

/// Golden records under way.
pub(super) struct Golden<'a> {
    pub(super) grouped: &'a Grouped<'a>,
    /// The columns that were compared.
    pub(super) compared: &'a [RecordColumn],
    pub(super) members: &'a Members,
    /// When every row was, where the step names a column of time.
    pub(super) times: Option<&'a Times>,
}

impl Golden<'_> {
    /// Every column of the input, one row for each entity; on the way the cells of pairs that people are asked about, and of those that changed.
    pub(super) fn tables(&self, asked: &mut Asked<'_>, moves: &mut Moves<'_>) -> Result<[Table; 2], JobError> {
        let Grouped { step, on, .. } = *self.grouped;
        let schema: SchemaRef = on.source.schema();
        let n = self.members.len();
        let precedence = Precedence::of(self.grouped, self.times)?;
        let sizes: UInt32Array = (0..n).map(|entity| self.members.rows(entity).len() as u32).collect();
        let mut columns: Vec<(Field, ArrayRef)> = vec![
            (
                Field::new("entity_id", DataType::UInt64, false),
                Arc::new((0..n as u32).map(|entity| self.grouped.number(entity)).collect::<UInt64Array>()),
            ),
            (Field::new("cluster_size", DataType::UInt32, false), Arc::new(sizes)),
        ];
        let mut conflicts = Conflicts::default();
        for (at, field) in schema.fields().iter().enumerate() {
            let name = field.name();
            let is_id = step.id.as_ref().is_some_and(|id| id.value == *name);
            let is_written = step.choices(GOLDEN).iter().any(|(column, _)| column.value == *name);
            let failed = |error: ArrowError| self.grouped.data(&format!("column `{name}`: {error}"));
            let cells = pass::carry(at, 4, step, on)?;
            let known = self.compared.iter().find(|column| column.name == *name);
            let other = if known.is_some() || (is_id && !is_written) { None } else { as_texts(name, &cells) };
            let kept: Vec<Kept> = match known.or(other.as_ref()) {
                Some(column) => self.kept(Rule::of(step, name), column, &precedence),
                None => (0..n).map(|entity| first(self.members.rows(entity), &cells, is_id)).collect(),
            };
            if let Some(column) = known.or(other.as_ref().filter(|_| is_written)) {
                conflicts.add(column, &kept, Rule::of(step, name), self.grouped);
            }
            drop(other);
            let rows: UInt64Array = kept.iter().map(|kept| u64::from(kept.row)).collect();
            let field_of = field.as_ref().clone().with_name(carried_name(name)).with_nullable(true);
            columns.push((field_of, take(&cells, &rows, None).map_err(failed)?));
            if !is_id && !OriginReading::is_of(step, name) {
                asked.add(field, &cells).map_err(failed)?;
                moves.add(name, &cells).map_err(failed)?;
            }
        }
        Ok([Table::one("golden", batch(columns)), Table::one("conflicts", conflicts.table())])
    }

    fn kept(&self, rule: Rule, column: &RecordColumn, precedence: &Precedence<'_>) -> Vec<Kept> {
        let origin = self.grouped.origin;
        let source = |row: u32| usize::from(origin.source[row as usize]);
        let recency = |row: u32| precedence.recency[row as usize];
        let trust = |row: u32| precedence.trust[source(row)];
        let length = |row: u32| column.texts[column.codes[row as usize] as usize].len() as u32;
        let votes = match rule {
            Rule::Weighted => votes(column, self.members, &origin.source, origin.names.len()),
            _ => Vec::new(),
        };
        let vote = |row: u32| votes[source(row)];
        let by = match rule {
            Rule::MostFrequent => By::Count,
            Rule::MostRecent => By::Greatest(&recency),
            Rule::Longest => By::Greatest(&length),
            Rule::Trusted => By::Greatest(&trust),
            Rule::Weighted => By::Votes(&vote),
        };
        (0..self.members.len()).into_par_iter().map(|entity| Kept::of(self.members.rows(entity), column, &by)).collect()
    }
}

/// Returns cells that were not compared as texts; none where they are none.
fn as_texts(name: &str, cells: &ArrayRef) -> Option<RecordColumn> {
    let words = cast(cells, &DataType::Utf8).ok().filter(|_| !cells.data_type().is_nested())?;
    let mut builder = ColumnBuilder::default();
    for (row, word) in words.as_string::<i32>().iter().enumerate() {
        builder.push(word.filter(|_| cells.is_valid(row))).ok()?;
    }
    Some(builder.finish_exact(name))
}

/// The first record that has a cell; of the column that names records the first.
fn first(rows: &[u32], cells: &ArrayRef, is_id: bool) -> Kept {
    let row = rows.iter().copied().find(|row| is_id || cells.is_valid(*row as usize)).unwrap_or(rows[0]);
    Kept { row, n_cells: 1, n_present: 1, n_agree: 1 }
}

/// Cells on which records of an entity differ.
#[derive(Default)]
pub(super) struct Conflicts {
    entity: Vec<u64>,
    column: StringBuilder,
    rule: StringBuilder,
    kept: StringBuilder,
    row: Vec<u64>,
    source: StringBuilder,
    n_cells: Vec<u32>,
    n_agree: Vec<u32>,
    n_present: Vec<u32>,
}

impl Conflicts {
    fn add(&mut self, column: &RecordColumn, kept: &[Kept], rule: Rule, grouped: &Grouped<'_>) {
        for (entity, kept) in kept.iter().enumerate().filter(|(_, kept)| kept.n_cells > 1) {
            self.entity.push(grouped.number(entity as u32));
            self.column.append_value(&column.name);
            self.rule.append_value(rule.word());
            self.kept.append_value(&column.texts[column.codes[kept.row as usize] as usize]);
            self.row.push(u64::from(kept.row));
            self.source.append_option(grouped.origin.name(kept.row));
            self.n_cells.push(kept.n_cells);
            self.n_agree.push(kept.n_agree);
            self.n_present.push(kept.n_present);
        }
    }

    pub(super) fn table(self) -> RecordBatch {
        let whole = |name: &str, cells: Vec<u64>| -> (Field, ArrayRef) {
            (Field::new(name, DataType::UInt64, false), Arc::new(UInt64Array::from(cells)))
        };
        let small = |name: &str, cells: Vec<u32>| -> (Field, ArrayRef) {
            (Field::new(name, DataType::UInt32, false), Arc::new(UInt32Array::from(cells)))
        };
        let text = |name: &str, is_optional: bool, mut cells: StringBuilder| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Utf8, is_optional), Arc::new(cells.finish()))
        };
        batch(vec![
            whole("entity_id", self.entity),
            text("column", false, self.column),
            text("rule", false, self.rule),
            text("kept", false, self.kept),
            whole("row", self.row),
            text("source", true, self.source),
            small("n_different", self.n_cells),
            small("n_agree", self.n_agree),
            small("n_present", self.n_present),
        ])
    }
}
