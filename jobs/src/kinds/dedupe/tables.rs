//! From a resolution to tables and notes.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use gristmill_engine::dedupe::{MISSING, Pair, RecordColumn, Resolution};

use super::{Rows, SOURCE_COLUMN, THRESHOLD, sentence};
use crate::JobError;
use crate::kinds::{StepRun, Table, batch};
use crate::pass;
use crate::spec::StepSpec;
use crate::terminal::counted;

/// A resolution and what it was made of.
pub(super) struct Found<'a> {
    pub(super) rows: &'a Rows,
    pub(super) found: &'a Resolution,
    pub(super) step: &'a StepSpec,
    pub(super) on: &'a StepRun<'a>,
    pub(super) crosses: bool,
}

/// Pairs from 50 % below which weights learnt without labels mean little.
const FEW_MATCHES: usize = 20;

/// Rows of every entity, entities in order.
struct Members {
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl Members {
    fn of(found: &Resolution) -> Self {
        let mut starts = vec![0; found.n_entities + 1];
        for entity in &found.entity {
            starts[*entity as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; found.entity.len()];
        for (row, entity) in found.entity.iter().enumerate() {
            rows[next[*entity as usize]] = row as u32;
            next[*entity as usize] += 1;
        }
        Self { starts, rows }
    }

    fn rows(&self, entity: usize) -> &[u32] {
        &self.rows[self.starts[entity]..self.starts[entity + 1]]
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }
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
    /// The cell that most records have, of the first such record. Of cells that as many have: no initial, then the one that is most common in
    /// the whole column (an error is rare), then the longest, then the first in the alphabet.
    fn of(rows: &[u32], column: &RecordColumn) -> Self {
        let mut codes: Vec<u32> = rows.iter().map(|row| column.codes[*row as usize]).filter(|code| *code != MISSING).collect();
        codes.sort_unstable();
        let runs: Vec<(u32, u32)> = codes.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect();
        let rank = |(code, n): &(u32, u32)| {
            let text = &column.texts[*code as usize];
            (*n, text.len() > 1, column.counts[*code as usize], text.len(), std::cmp::Reverse(*code))
        };
        let best = runs.iter().max_by_key(|run| rank(run));
        let Some(&(code, n_agree)) = best else { return Self { row: rows[0], n_cells: 0, n_present: 0, n_agree: 0 } };
        let row = rows.iter().copied().find(|row| column.codes[*row as usize] == code).unwrap_or(rows[0]);
        Self { row, n_cells: runs.len() as u32, n_present: codes.len() as u32, n_agree }
    }
}

impl Found<'_> {
    /// Returns the tables in the order of the kind's.
    pub(super) fn tables(&self) -> Result<Vec<Table>, JobError> {
        let members = Members::of(self.found);
        let id = self.carried_id()?;
        let (golden, conflicts) = self.golden(&members)?;
        Ok(vec![
            golden,
            Table::one("entities", self.entities(&members, id.as_ref())),
            Table::one("pairs", self.pairs(id.as_ref())?),
            Table::one("comparisons", self.comparisons()),
            conflicts,
            Table::one("verdict", self.verdict()),
        ])
    }

    fn carried_id(&self) -> Result<Option<(Field, ArrayRef)>, JobError> {
        let Some(id) = &self.step.id else { return Ok(None) };
        let schema = self.on.source.schema();
        let Ok(at) = schema.index_of(&id.value) else { return Ok(None) };
        let cells = pass::carry(at, self.on.memory_bytes / 4, self.step, self.on)?;
        Ok(Some((schema.field(at).clone(), cells)))
    }

    /// Every column of the input, one row for each entity.
    fn golden(&self, members: &Members) -> Result<(Table, Table), JobError> {
        let schema = self.on.source.schema();
        let sizes: UInt32Array = (0..members.len()).map(|entity| members.rows(entity).len() as u32).collect();
        let mut columns: Vec<(Field, ArrayRef)> = vec![
            (Field::new("entity_id", DataType::UInt64, false), Arc::new((0..members.len() as u64).collect::<UInt64Array>())),
            (Field::new("cluster_size", DataType::UInt32, false), Arc::new(sizes)),
        ];
        let mut conflicts = Conflicts::default();
        for (at, field) in schema.fields().iter().enumerate() {
            let known = self.rows.records.columns.iter().find(|column| column.name == *field.name());
            let of_entity = |entity: usize| {
                let rows = members.rows(entity);
                known.map_or(Kept { row: rows[0], n_cells: 1, n_present: 1, n_agree: 1 }, |column| Kept::of(rows, column))
            };
            let kept: Vec<Kept> = (0..members.len()).map(of_entity).collect();
            let rows: UInt64Array = kept.iter().map(|kept| u64::from(kept.row)).collect();
            let cells = pass::carry(at, self.on.memory_bytes / 4, self.step, self.on)?;
            let golden = take(&cells, &rows, None).map_err(|error| self.data(&error.to_string()))?;
            if let Some(column) = known {
                conflicts.add(column, &kept);
            }
            columns.push((field.as_ref().clone().with_nullable(true), golden));
        }
        Ok((Table::one("golden", batch(columns)), Table::one("conflicts", conflicts.table())))
    }

    fn data(&self, message: &str) -> JobError {
        JobError::Data { step: self.step.name.value.clone(), message: message.to_owned() }
    }

    fn source_name(&self, row: u32) -> Option<&str> {
        self.rows.sources.get(usize::from(self.rows.records.source[row as usize])).map(String::as_str)
    }

    fn entities(&self, members: &Members, id: Option<&(Field, ArrayRef)>) -> RecordBatch {
        let n = self.found.entity.len();
        let entity: UInt64Array = self.found.entity.iter().map(|entity| u64::from(*entity)).collect();
        let size: UInt32Array = self.found.entity.iter().map(|entity| members.rows(*entity as usize).len() as u32).collect();
        let mut columns: Vec<(Field, ArrayRef)> =
            vec![(Field::new("row", DataType::UInt64, false), Arc::new((0..n as u64).collect::<UInt64Array>()))];
        if self.crosses {
            let source: StringArray = (0..n as u32).map(|row| self.source_name(row)).collect();
            columns.push((Field::new("source", DataType::Utf8, true), Arc::new(source)));
        }
        columns.extend(id.cloned());
        columns.push((Field::new("entity_id", DataType::UInt64, false), Arc::new(entity)));
        columns.push((Field::new("cluster_size", DataType::UInt32, false), Arc::new(size)));
        batch(columns)
    }

    fn pairs(&self, id: Option<&(Field, ArrayRef)>) -> Result<RecordBatch, JobError> {
        let pairs = &self.found.pairs;
        let row = |of: fn(&Pair) -> u32| pairs.iter().map(|pair| u64::from(of(pair))).collect::<UInt64Array>();
        let (a, b) = (row(|pair| pair.a), row(|pair| pair.b));
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for (side, rows) in [("a", &a), ("b", &b)] {
            if self.crosses {
                let names: StringArray = rows.values().iter().map(|row| self.source_name(*row as u32)).collect();
                columns.push((Field::new(format!("{side}_source"), DataType::Utf8, true), Arc::new(names)));
            }
            columns.push((Field::new(side, DataType::UInt64, false), Arc::new(rows.clone())));
            if let Some((field, cells)) = id {
                let cells = take(cells, rows, None).map_err(|error| self.data(&error.to_string()))?;
                columns.push((Field::new(format!("{side}_id"), field.data_type().clone(), true), cells));
            }
        }
        let score: Float64Array = pairs.iter().map(|pair| pair.probability).collect();
        columns.push((Field::new("score", DataType::Float64, false), Arc::new(score)));
        let entity = &self.found.entity;
        let is_one: BooleanArray = pairs.iter().map(|pair| Some(entity[pair.a as usize] == entity[pair.b as usize])).collect();
        columns.push((Field::new("same_entity", DataType::Boolean, false), Arc::new(is_one)));
        for (at, said) in self.found.comparisons.iter().enumerate() {
            let adds: Float32Array = pairs.iter().map(|pair| pair.adds[at]).collect();
            columns.push((Field::new(format!("{}_bits", said.column), DataType::Float32, false), Arc::new(adds)));
        }
        Ok(batch(columns))
    }

    fn comparisons(&self) -> RecordBatch {
        let levels =
            || self.found.comparisons.iter().flat_map(|said| said.levels.iter().enumerate().map(move |(at, level)| (said, at, level)));
        let number = |of: usize| -> ArrayRef { Arc::new(levels().map(|(_, _, level)| level[of]).collect::<Float64Array>()) };
        let column: StringArray = levels().map(|(said, ..)| Some(said.column.as_str())).collect();
        let content: StringArray = levels().map(|(said, ..)| Some(said.content.word())).collect();
        let level: UInt32Array = levels().map(|(_, at, _)| at as u32).collect();
        let meaning: StringArray = levels().map(|(said, at, _)| Some(said.content.level(at))).collect();
        let beside: StringArray = levels().map(|(said, ..)| said.beside.as_deref()).collect();
        batch(vec![
            (Field::new("column", DataType::Utf8, false), Arc::new(column)),
            (Field::new("content", DataType::Utf8, false), Arc::new(content)),
            (Field::new("level", DataType::UInt32, false), Arc::new(level)),
            (Field::new("meaning", DataType::Utf8, false), Arc::new(meaning)),
            (Field::new("m", DataType::Float64, false), number(0)),
            (Field::new("u", DataType::Float64, false), number(1)),
            (Field::new("weight_bits", DataType::Float64, false), number(2)),
            (Field::new("beside", DataType::Utf8, true), Arc::new(beside)),
        ])
    }

    fn n_likely(&self) -> usize {
        self.found.pairs.iter().filter(|pair| pair.probability >= 0.5).count()
    }

    /// Returns the verdict and why.
    fn judged(&self) -> (&'static str, String) {
        match self.n_likely() {
            0 => ("no_duplicates", "no pair of records is likelier to be one thing than two".to_owned()),
            n if n < FEW_MATCHES => {
                let why =
                    format!("{} likelier than not: weights learnt from fewer than {FEW_MATCHES} mean little", counted(n as u64, "pair"));
                ("too_few", why)
            }
            n => ("resolved", format!("{} likelier than not to be one thing", counted(n as u64, "pair"))),
        }
    }

    fn verdict(&self) -> RecordBatch {
        let found = self.found;
        let (verdict, reason) = self.judged();
        let whole =
            |name: &str, n: u64| -> (Field, ArrayRef) { (Field::new(name, DataType::UInt64, false), Arc::new(UInt64Array::from(vec![n]))) };
        let real = |name: &str, x: Option<f64>| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Float64, true), Arc::new(Float64Array::from(vec![x])))
        };
        let text = |name: &str, text: &str| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Utf8, false), Arc::new(StringArray::from(vec![text])))
        };
        let expected = &found.expected;
        batch(vec![
            text("verdict", verdict),
            text("reason", &reason),
            whole("n_records", found.entity.len() as u64),
            whole("n_entities", found.n_entities as u64),
            whole("n_duplicates", (found.entity.len() - found.n_entities) as u64),
            whole("n_candidates", found.n_candidates),
            whole("largest_block", found.largest_block as u64),
            whole("n_unseen", found.n_unseen),
            real("threshold", self.step.number(THRESHOLD)),
            (Field::new("clean_sources", DataType::Boolean, true), Arc::new(BooleanArray::from(vec![found.is_clean]))),
            real("expected_matches", Some(expected.n_matches)),
            real("expected_precision", expected.precision),
            real("expected_recall", expected.recall),
            real("expected_f1", expected.f1),
            real("prior_bits", Some(found.prior)),
        ])
    }

    /// Returns what a person should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let found = self.found;
        let mut notes = vec![format!("{}.", sentence(found, found.entity.len() as u64))];
        let (verdict, reason) = self.judged();
        if verdict == "too_few" {
            notes.push(format!("Too little to learn from: {reason}."));
        }
        if let (Some(precision), Some(recall)) = (found.expected.precision, found.expected.recall) {
            notes.push(format!(
                "{} were looked at. By their probabilities {:.1} % of the pairs in entities match, and {:.1} % of the matches are in entities; nobody has checked.",
                counted(found.n_candidates, "pair"),
                100.0 * precision,
                100.0 * recall,
            ));
        }
        if found.is_clean == Some(true) {
            let column = self.step.text(SOURCE_COLUMN).unwrap_or_default();
            notes.push(format!("Each source of `{column}` is taken to hold each thing once; `clean_sources = false` says otherwise."));
        }
        if found.n_unseen > 0 {
            notes.push(format!(
                "Up to {} that share a key with more than {} and no finer one were not looked at.",
                counted(found.n_unseen, "pair"),
                counted(found.largest_block as u64, "record"),
            ));
        }
        notes.extend(found.notes.iter().map(|note| format!("{}.", capital(note))));
        notes
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Cells on which records of an entity differ.
#[derive(Default)]
struct Conflicts {
    entity: Vec<u64>,
    column: Vec<String>,
    kept: Vec<String>,
    row: Vec<u64>,
    n_cells: Vec<u32>,
    n_agree: Vec<u32>,
    n_present: Vec<u32>,
}

impl Conflicts {
    fn add(&mut self, column: &RecordColumn, kept: &[Kept]) {
        for (entity, kept) in kept.iter().enumerate().filter(|(_, kept)| kept.n_cells > 1) {
            self.entity.push(entity as u64);
            self.column.push(column.name.clone());
            self.kept.push(column.texts[column.codes[kept.row as usize] as usize].to_string());
            self.row.push(u64::from(kept.row));
            self.n_cells.push(kept.n_cells);
            self.n_agree.push(kept.n_agree);
            self.n_present.push(kept.n_present);
        }
    }

    fn table(self) -> RecordBatch {
        let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::new(vec![
            Field::new("entity_id", DataType::UInt64, false),
            Field::new("column", DataType::Utf8, false),
            Field::new("kept", DataType::Utf8, false),
            Field::new("row", DataType::UInt64, false),
            Field::new("n_different", DataType::UInt32, false),
            Field::new("n_agree", DataType::UInt32, false),
            Field::new("n_present", DataType::UInt32, false),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.entity)),
            Arc::new(StringArray::from(self.column)),
            Arc::new(StringArray::from(self.kept)),
            Arc::new(UInt64Array::from(self.row)),
            Arc::new(UInt32Array::from(self.n_cells)),
            Arc::new(UInt32Array::from(self.n_agree)),
            Arc::new(UInt32Array::from(self.n_present)),
        ];
        RecordBatch::try_new(schema, columns).expect("columns of a table have one length")
    }
}
