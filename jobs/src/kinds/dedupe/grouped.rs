//! Which entity every row is of: what all ways of finding that have in common, and the tables that it takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::compute::{cast, concat, filter, take};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::dedupe::{ColumnBuilder, Estimate, MISSING, RecordColumn};

use super::{FIELDS, SOURCE_COLUMN, WITHIN, crosses, golden_schema, is_added, source_column};
use crate::JobError;
use crate::kinds::{Rows, StepRun, Table, batch};
use crate::pass;
use crate::spec::StepSpec;
use crate::terminal::count;

/// Most sources of a step.
const MOST_SOURCES: usize = 10_000;

/// Returns the columns that the step asks to compare, in the order of the input.
pub(super) fn compared(step: &StepSpec, schema: &Schema) -> Vec<usize> {
    let fields = step.list(FIELDS);
    let is_asked = |name: &String| {
        let is_other = step.id.as_ref().is_some_and(|id| id.value == *name) || OriginReading::is_of(step, name);
        let is_named = fields.is_empty() || fields.iter().any(|field| field.value == *name);
        is_named && !is_other && !is_added(step, name) && !step.exclude.iter().any(|left| left.value == *name)
    };
    (0..schema.fields().len()).filter(|at| is_asked(schema.field(*at).name())).collect()
}

/// Where the rows are from.
pub(super) struct Origin {
    /// Names of the sources in ascending order; none where the step names no column of sources.
    pub(super) names: Vec<String>,
    /// Source of every row.
    pub(super) source: Vec<u16>,
    /// Document of every row, where the step names a column of documents.
    document: Option<Vec<u32>>,
}

/// The columns that say where rows are from, while they are read beside others.
pub(super) struct OriginReading<'a> {
    step: &'a StepSpec,
    columns: Vec<(usize, &'static str, ColumnBuilder)>,
}

impl<'a> OriginReading<'a> {
    pub(super) fn new(step: &'a StepSpec, schema: &Schema) -> Self {
        let named = [(SOURCE_COLUMN, source_column(step)), (WITHIN, step.text(WITHIN))].into_iter();
        let column = |(key, name): (&'static str, Option<&str>)| Some((schema.index_of(name?).ok()?, key, ColumnBuilder::default()));
        Self { step, columns: named.filter_map(column).collect() }
    }

    /// Says whether the step names this column for where rows are from.
    pub(super) fn is_of(step: &StepSpec, column: &str) -> bool {
        source_column(step) == Some(column)
    }

    /// Returns the columns to read, by place in the schema.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|(at, ..)| *at)
    }

    /// Returns bytes that are held.
    pub(super) fn bytes(&self) -> u64 {
        self.columns.iter().map(|(.., builder)| builder.bytes() as u64).sum()
    }

    /// Adds the rows of a block, in the order of the columns.
    pub(super) fn put(&mut self, block: &[Vec<ArrayRef>]) -> Result<(), String> {
        for ((_, key, builder), pieces) in self.columns.iter_mut().zip(block) {
            for piece in pieces {
                let words = cast(piece, &DataType::Utf8).map_err(|error| format!("`{key}`: {error}"))?;
                words.as_string::<i32>().iter().try_for_each(|word| builder.push(word)).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, n_rows: usize) -> Result<Origin, String> {
        let mut origin = Origin { names: Vec::new(), source: vec![0; n_rows], document: None };
        for (_, key, builder) in self.columns {
            let name = if key == WITHIN { self.step.text(WITHIN) } else { source_column(self.step) };
            let column = builder.finish_exact(name.unwrap_or_default());
            if key == WITHIN {
                origin.document = Some(column.codes);
            } else {
                origin.source = sources(&column, crosses(self.step))?;
                origin.names = column.texts.iter().map(|text| text.to_string()).collect();
            }
        }
        Ok(origin)
    }
}

/// Returns the source of every row.
fn sources(column: &RecordColumn, crosses: bool) -> Result<Vec<u16>, String> {
    let (name, n) = (&column.name, column.texts.len());
    if crosses && n < 2 {
        return Err(format!("column `{name}` names {n} source, and `link` needs two; within one table use `dedupe`"));
    }
    if n > MOST_SOURCES {
        let (n, most) = (count(n as u64), count(MOST_SOURCES as u64));
        return Err(format!("column `{name}` names {n} sources, at most {most} can be told apart"));
    }
    if let Some(row) = column.codes.iter().position(|code| *code == MISSING) {
        return Err(format!("row {row} has no source: column `{name}` is missing there; leave such rows out with `where`"));
    }
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 10,000 sources")]
    Ok(column.codes.iter().map(|code| *code as u16).collect())
}

impl Origin {
    pub(super) fn name(&self, row: u32) -> Option<&str> {
        self.names.get(usize::from(self.source[row as usize])).map(String::as_str)
    }
}

/// Why a row is one more of something that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// An earlier row of the same document and source holds the same: two scans of one item, say.
    InDocument,
    /// An earlier row of the same source holds the same.
    InSource,
    /// Only rows of other sources hold the same: files that overlap.
    AcrossSources,
    /// No earlier row holds just the same.
    Near,
}

impl Cause {
    const fn word(self) -> &'static str {
        match self {
            Self::InDocument => "copy_in_document",
            Self::InSource => "copy_in_source",
            Self::AcrossSources => "copy_across_sources",
            Self::Near => "near",
        }
    }
}

/// The entity of every row, and what it takes to write that down.
#[derive(Clone, Copy)]
pub(super) struct Grouped<'a> {
    pub(super) step: &'a StepSpec,
    pub(super) on: &'a StepRun<'a>,
    pub(super) origin: &'a Origin,
    /// What every row holds, as numbers: rows that hold the same are copies.
    pub(super) content: &'a [u32],
    pub(super) entity: &'a [u32],
    pub(super) n_entities: usize,
    /// Number of every entity in the tables; none where they count from 0.
    pub(super) numbers: Option<&'a [u64]>,
}

/// Rows of every entity, entities in order.
pub(super) struct Members {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Members {
    fn of(entities: &[u32], n_entities: usize) -> Self {
        let mut starts = vec![0; n_entities + 1];
        for entity in entities {
            starts[*entity as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; entities.len()];
        for (row, entity) in entities.iter().enumerate() {
            rows[next[*entity as usize] as usize] = row as u32;
            next[*entity as usize] += 1;
        }
        Self { starts, rows }
    }

    pub(super) fn rows(&self, entity: usize) -> &[u32] {
        &self.rows[self.starts[entity] as usize..self.starts[entity + 1] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

impl Grouped<'_> {
    /// Returns the number of an entity.
    pub(super) fn number(&self, entity: u32) -> u64 {
        self.numbers.map_or(u64::from(entity), |numbers| numbers[entity as usize])
    }

    pub(super) fn members(&self) -> Members {
        Members::of(self.entity, self.n_entities)
    }

    /// Returns the complaint as one about the step.
    pub(super) fn data(&self, message: &str) -> JobError {
        JobError::Data { step: self.step.name.value.clone(), message: message.to_owned() }
    }

    /// Returns the column that names a row.
    pub(super) fn carried_id(&self) -> Result<Option<(Field, ArrayRef)>, JobError> {
        let Some(id) = &self.step.id else { return Ok(None) };
        let schema = self.on.source.schema();
        let Ok(at) = schema.index_of(&id.value) else { return Ok(None) };
        let cells = pass::carry(at, 4, self.step, self.on)?;
        Ok(Some((schema.field(at).clone(), cells)))
    }

    /// Every row and its entity, of how many rows each cause made duplicates, and that in a sentence where copies are among them.
    pub(super) fn entities(&self, members: &Members, id: Option<&(Field, ArrayRef)>) -> Result<(Table, Table, Option<String>), JobError> {
        /// Rows that are put into columns at a time.
        const AT_ONCE: usize = 1 << 16;
        let causes = self.causes(members);
        let mut fields = vec![Field::new("row", DataType::UInt64, false)];
        if !self.origin.names.is_empty() {
            fields.push(Field::new("source", DataType::Utf8, true));
        }
        fields.extend(id.map(|(field, _)| field.clone()));
        fields.extend([
            Field::new("entity_id", DataType::UInt64, false),
            Field::new("cluster_size", DataType::UInt32, false),
            Field::new("duplicate", DataType::Utf8, true),
        ]);
        let mut writer = self.on.writer(self.step, "entities", Arc::new(Schema::new(fields.clone())))?;
        for first in (0..self.entity.len()).step_by(AT_ONCE) {
            let rows = first..(first + AT_ONCE).min(self.entity.len());
            let entities = &self.entity[rows.clone()];
            let mut columns: Vec<ArrayRef> = vec![Arc::new(rows.clone().map(|row| row as u64).collect::<UInt64Array>())];
            if !self.origin.names.is_empty() {
                columns.push(Arc::new(rows.clone().map(|row| self.origin.name(row as u32)).collect::<StringArray>()));
            }
            columns.extend(id.map(|(_, cells)| cells.slice(first, rows.len())));
            columns.push(Arc::new(entities.iter().map(|entity| self.number(*entity)).collect::<UInt64Array>()));
            let size = |entity: &u32| members.rows(*entity as usize).len() as u32;
            columns.push(Arc::new(entities.iter().map(size).collect::<UInt32Array>()));
            columns.push(Arc::new(causes[rows].iter().map(|cause| cause.map(Cause::word)).collect::<StringArray>()));
            writer.push(&batch(fields.iter().cloned().zip(columns).collect()))?;
        }
        let entities = Table { name: "entities", rows: Rows::Written(writer.finish()?) };
        Ok((entities, Table::one("duplicate_classes", self.classes(&causes)), self.said(&causes)))
    }

    /// Says of every row why it is a duplicate; none of the first row of an entity.
    fn causes(&self, members: &Members) -> Vec<Option<Cause>> {
        let mut causes = vec![None; self.entity.len()];
        for entity in 0..members.len() {
            let rows = members.rows(entity);
            // Of one row nothing has to be remembered: most entities have one.
            let mut seen = BTreeSet::new();
            for (at, &row) in rows.iter().enumerate().filter(|_| rows.len() > 1) {
                let content = self.content[row as usize];
                let source = Some(self.origin.source[row as usize]);
                let document = self.origin.document.as_ref().map(|of| of[row as usize]).filter(|document| *document != MISSING);
                if at > 0 {
                    causes[row as usize] = Some(match () {
                        () if document.is_some() && seen.contains(&(content, source, document)) => Cause::InDocument,
                        () if seen.contains(&(content, source, None)) => Cause::InSource,
                        () if seen.contains(&(content, None, None)) => Cause::AcrossSources,
                        () => Cause::Near,
                    });
                }
                seen.extend([(content, None, None), (content, source, None), (content, source, document)]);
            }
        }
        causes
    }

    fn said(&self, causes: &[Option<Cause>]) -> Option<String> {
        let n = |cause: Cause| causes.iter().filter(|of| **of == Some(cause)).count() as u64;
        let source = if self.origin.names.is_empty() { "the table" } else { "one source" };
        let whose = [
            (n(Cause::InDocument), format!("copy a row of the same {}", self.step.text(WITHIN).unwrap_or_default())),
            (n(Cause::InSource), format!("copy a row of {source}")),
            (n(Cause::AcrossSources), "copy a row of another source".to_owned()),
            (n(Cause::Near), "are nearly the same as another".to_owned()),
        ];
        let is_told = whose[..3].iter().any(|(n, _)| *n > 0);
        let parts: Vec<String> = whose.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
        is_told.then(|| format!("Of the duplicates {}.", parts.join(", ")))
    }

    fn classes(&self, causes: &[Option<Cause>]) -> RecordBatch {
        let all = [Cause::InDocument, Cause::InSource, Cause::AcrossSources, Cause::Near];
        let rows = |cause: Cause| causes.iter().enumerate().filter(move |(_, of)| **of == Some(cause)).map(|(row, _)| row);
        let n_entities = |cause: Cause| rows(cause).map(|row| self.entity[row]).collect::<BTreeSet<u32>>().len() as u64;
        let words: StringArray = all.iter().map(|cause| Some(cause.word())).collect();
        let n_rows: UInt64Array = all.iter().map(|cause| rows(*cause).count() as u64).collect();
        batch(vec![
            (Field::new("class", DataType::Utf8, false), Arc::new(words)),
            (Field::new("n_rows", DataType::UInt64, false), Arc::new(n_rows)),
            (
                Field::new("n_entities", DataType::UInt64, false),
                Arc::new(all.iter().map(|cause| n_entities(*cause)).collect::<UInt64Array>()),
            ),
        ])
    }

    /// Both rows of every pair, their score, and whether they are one entity.
    pub(super) fn pairs(
        &self,
        a: UInt64Array,
        b: UInt64Array,
        score: Float64Array,
        id: Option<&(Field, ArrayRef)>,
    ) -> Result<Vec<(Field, ArrayRef)>, JobError> {
        let entity = |row: &u64| self.entity[usize::try_from(*row).expect("rows are counted with 32 bits")];
        let is_one: BooleanArray = a.values().iter().zip(b.values()).map(|(a, b)| Some(entity(a) == entity(b))).collect();
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for (side, rows) in [("a", a), ("b", b)] {
            if !self.origin.names.is_empty() {
                let names: StringArray = rows.values().iter().map(|row| self.origin.name(*row as u32)).collect();
                columns.push((Field::new(format!("{side}_source"), DataType::Utf8, true), Arc::new(names)));
            }
            let ids = id.map(|(field, cells)| {
                let cells = take(cells, &rows, None).map_err(|error| self.data(&error.to_string()))?;
                Ok((Field::new(format!("{side}_id"), field.data_type().clone(), true), cells))
            });
            columns.push((Field::new(side, DataType::UInt64, false), Arc::new(rows)));
            columns.extend(ids.transpose()?);
        }
        columns.push((Field::new("score", DataType::Float64, false), Arc::new(score)));
        columns.push((Field::new("same_entity", DataType::Boolean, false), Arc::new(is_one)));
        Ok(columns)
    }

    /// Writes the rows that stand for their entities as they are, in the order of the input, while it is read again.
    pub(super) fn golden_rows(&self, members: &Members, kept: &[u32]) -> Result<Table, JobError> {
        let input = self.on.source.schema();
        let schema = golden_schema(&input);
        let mut writer = self.on.writer(self.step, "golden", Arc::new(schema.clone()))?;
        let mut is_kept = vec![false; self.entity.len()];
        for row in kept {
            is_kept[*row as usize] = true;
        }
        let columns: Vec<usize> = (0..input.fields().len()).collect();
        let mut done = 0;
        pass::blocks(&columns, self.step, self.on, |block, n_rows| {
            let rows: Vec<usize> = (done..done + n_rows).filter(|row| is_kept[*row]).collect();
            let mask: BooleanArray = is_kept[done..done + n_rows].iter().copied().map(Some).collect();
            done += n_rows;
            let entity: UInt64Array = rows.iter().map(|row| self.number(self.entity[*row])).collect();
            let size: UInt32Array = rows.iter().map(|row| members.rows(self.entity[*row] as usize).len() as u32).collect();
            let mut cells: Vec<ArrayRef> = vec![Arc::new(entity), Arc::new(size)];
            for pieces in block {
                let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                let whole = concat(&pieces).and_then(|whole| filter(&whole, &mask)).map_err(|error| self.data(&error.to_string()))?;
                cells.push(whole);
            }
            writer.push(&batch(schema.fields().iter().map(|field| field.as_ref().clone()).zip(cells).collect()))
        })?;
        Ok(Table { name: "golden", rows: Rows::Written(writer.finish()?) })
    }
}

/// The one row of table `verdict`; what a way of looking does not know is null.
#[derive(Default)]
pub(super) struct Verdict {
    /// `records`, `text`, `exact` or `edges`.
    pub(super) method: &'static str,
    pub(super) verdict: &'static str,
    pub(super) reason: String,
    pub(super) n_candidates: Option<u64>,
    pub(super) largest_block: Option<u64>,
    pub(super) n_unseen: Option<u64>,
    pub(super) threshold: Option<f64>,
    pub(super) clean_sources: Option<bool>,
    pub(super) expected_matches: Option<f64>,
    /// Matches that no key brought together.
    pub(super) expected_missed: Option<f64>,
    /// Pairs that people have looked at.
    pub(super) n_checked: Option<u64>,
    /// Precision, recall and F1.
    pub(super) expected: [Option<Estimate>; 3],
    pub(super) prior_bits: Option<f64>,
}

impl Verdict {
    pub(super) fn table(self, grouped: &Grouped<'_>) -> RecordBatch {
        let whole = |name: &str, n: Option<u64>| -> (Field, ArrayRef) {
            (Field::new(name, DataType::UInt64, true), Arc::new(UInt64Array::from(vec![n])))
        };
        let real = |name: &str, x: Option<f64>| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Float64, true), Arc::new(Float64Array::from(vec![x])))
        };
        let text = |name: &str, text: &str| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Utf8, false), Arc::new(StringArray::from(vec![text])))
        };
        let (n_records, n_entities) = (grouped.entity.len() as u64, grouped.n_entities as u64);
        let mut columns = vec![
            text("method", self.method),
            text("verdict", self.verdict),
            text("reason", &self.reason),
            whole("n_records", Some(n_records)),
            whole("n_entities", Some(n_entities)),
            whole("n_duplicates", Some(n_records - n_entities)),
            whole("n_candidates", self.n_candidates),
            whole("largest_block", self.largest_block),
            whole("n_unseen", self.n_unseen),
            real("threshold", self.threshold),
            (Field::new("clean_sources", DataType::Boolean, true), Arc::new(BooleanArray::from(vec![self.clean_sources]))),
            real("expected_matches", self.expected_matches),
            real("expected_missed", self.expected_missed),
            whole("n_checked", self.n_checked),
        ];
        for (name, of) in ["expected_precision", "expected_recall", "expected_f1"].into_iter().zip(self.expected) {
            columns.push(real(name, of.map(|of| of.value)));
            columns.push(real(&format!("{name}_lo"), of.map(|of| of.lo)));
            columns.push(real(&format!("{name}_hi"), of.map(|of| of.hi)));
        }
        columns.push(real("prior_bits", self.prior_bits));
        batch(columns)
    }
}
