//! `kind = "compare"`: which segments of an earlier run are still there, which rows moved, and how far both runs agree.
//!
//! ```text
//! baseline -> segment of every row, by `id` or `row` -+
//! rows ----------------------------------------------+-> rows of both by pair of segments -> matches, moved, verdict
//! ```
//!
//! The baseline's names of rows are held, the rows are streamed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, UInt64Array, new_empty_array};
use arrow::compute::{CastOptions, cast, cast_with_options, concat, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use gristmill_datasets::Source;
use gristmill_engine::agreement::{Crossing, DISSOLVED};

use super::{JobKind, Key, Rows, StepOutcome, StepRun, Table, TableDoc, Takes, batch};
use crate::JobError;
use crate::outputs::TableWriter;
use crate::pass;
use crate::plan::{Ahead, Forecast, about, range};
use crate::spec::{Problems, StepSpec, did_you_mean, keys};
use crate::terminal::count;

mod outcome;

/// Key that names the earlier assignments.
const BASELINE: &str = "baseline";

/// Key that says which segments are the same.
const MATCH: &str = "match";

/// Column that names a row where the step names none.
const ROW: &str = "row";

/// Most segments of a side: their pairs are counted in memory.
const MOST_SEGMENTS: usize = 10_000;

/// Bytes of a name in the table of names, beside its letters.
const BYTES_OF_NAME: u64 = 64;

/// A row without a segment.
const NONE: u32 = u32::MAX;

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Compare;

impl JobKind for Compare {
    fn name(&self) -> &'static str {
        "compare"
    }

    fn about(&self) -> &'static str {
        "Two runs of `cluster` or `score`: which segments are still there, which were born or are gone, which rows moved"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key {
                name: BASELINE,
                takes: Takes::Table("assignments"),
                default: None,
                about: "Step, or the file `assignments.parquet` that an earlier run wrote: what the rows are held against",
            },
            Key { about: "Column of both that names a row; where absent rows are the same that have the same place (`row`)", ..keys::ID },
            Key {
                name: MATCH,
                takes: Takes::Choice(&["rows", "number"]),
                default: Some("\"rows\""),
                about: "What makes segments of both sides the same: most rows in common, or their number, where one model labelled both",
            },
            Key {
                name: "segment",
                takes: Takes::Column,
                default: Some("\"segment\""),
                about: "Column of both that holds the segment, a whole number; missing: none",
            },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[
            TableDoc {
                name: "matches",
                about: "every segment of either side: its partner, rows of both, Jaccard similarity, kept, born or gone",
            },
            TableDoc { name: "moved", about: "every row whose segment is not the partner of its earlier one: both segments" },
            TableDoc { name: "crossing", about: "rows by pair of segments, where there are some" },
            TableDoc { name: "verdict", about: "rows of both, rows moved, adjusted Rand index, segments kept, born and gone: one row" },
        ];
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        if step.id.is_none() && input.column_with_name(ROW).is_none() {
            let message = format!("without `id` rows are known by column `{ROW}`, which is not in `{}`", step.from.value.name);
            problems.add(step.span("from"), message, "no such column", "add `id`, a column of both sides that names a row");
        }
    }

    fn forecast(&self, _: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        // The names of the baseline's rows are held, which are likely to be as many.
        Forecast {
            seconds: Some(range(1e-6 * ahead.n_rows as f64, ahead.n_threads)),
            bytes: Some((8 << 20) + about(ahead.n_rows, 2.0 * (BYTES_OF_NAME + 12) as f64)),
            ..Forecast::default()
        }
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let asked = Asked { name: step.id.as_ref().map_or(ROW, |id| &id.value), segment: step.text("segment").unwrap_or("segment"), step };
        let known = Known::read(&asked, on)?;
        let now = asked.find(on.source, &step.from.value.name)?;
        let mut pairs = Pairs { is_seen: vec![false; known.segments.len()], ..Pairs::default() };
        pass::blocks(&now, step, on, |block, rows| {
            let block = Block::of(&block, rows, &asked)?;
            (0..rows).try_for_each(|row| pairs.add(&block, row, &known, &asked))
        })?;
        let found = Found::of(&pairs, &known, &asked, on.memory_bytes)?;
        let field = on.source.schema().field(now[0]).clone();
        let mut moved = Moved { writer: on.writer(step, "moved", moved_schema(&field))?, field, n: 0 };
        pass::blocks(&now, step, on, |block, rows| moved.take(&Block::of(&block, rows, &asked)?, &found, &known))?;
        let said = outcome::Said { found: &found, n_moved: moved.n, step };
        let written = moved.writer.finish()?;
        let mut tables = said.tables();
        tables.insert(1, Table { name: "moved", rows: Rows::Written(written) });
        Ok(StepOutcome {
            findings: said.findings(on.job),
            notes: said.notes(),
            tables,
            n_rows: found.n_both + found.n_only_now,
            n_columns: 2,
            ..StepOutcome::on_cpu(self)
        })
    }
}

/// The columns that both sides have.
struct Asked<'a> {
    /// Names a row.
    name: &'a str,
    segment: &'a str,
    step: &'a StepSpec,
}

impl Asked<'_> {
    fn refuse(&self, message: String) -> JobError {
        JobError::Data { step: self.step.name.value.clone(), message }
    }

    /// Returns the positions of both columns.
    fn find(&self, source: &dyn Source, side: &str) -> Result<[usize; 2], JobError> {
        let schema = source.schema();
        let at = |name: &str| {
            schema.index_of(name).map_err(|_| {
                let help = did_you_mean(name, "columns", schema.fields().iter().map(|field| field.name().as_str()));
                let message = format!("column `{name}` is not in `{side}`; {help}");
                JobError::Spec { step: self.step.name.value.clone(), message }
            })
        };
        Ok([at(self.name)?, at(self.segment)?])
    }
}

/// Names and segments of some rows.
struct Block {
    /// As they are.
    cells: ArrayRef,
    names: StringArray,
    segments: UInt32Array,
}

impl Block {
    fn of(block: &[Vec<ArrayRef>], rows: usize, asked: &Asked<'_>) -> Result<Self, JobError> {
        let whole = |at: usize, name: &str| {
            let pieces: Vec<&dyn Array> = block[at].iter().map(AsRef::as_ref).collect();
            let joined = concat(&pieces).map_err(|error| asked.refuse(format!("column `{name}` cannot be read: {error}")))?;
            assert_eq!(joined.len(), rows, "a block has all cells of its columns");
            Ok::<ArrayRef, JobError>(joined)
        };
        let (cells, segments) = (whole(0, asked.name)?, whole(1, asked.segment)?);
        let names = cast(&cells, &DataType::Utf8);
        let names = names.map_err(|error| asked.refuse(format!("column `{}` cannot name rows: {error}", asked.name)))?;
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let segments = cast_with_options(&segments, &DataType::UInt32, &strict).map_err(|error| {
            let help = "segments are whole numbers from 0 on, missing where there is none";
            asked.refuse(format!("column `{}` does not hold segments: {error}; {help}", asked.segment))
        })?;
        Ok(Self { cells, names: names.as_string().clone(), segments: segments.as_primitive::<UInt32Type>().clone() })
    }

    fn segment(&self, row: usize) -> u32 {
        if self.segments.is_valid(row) { self.segments.value(row) } else { NONE }
    }

    fn name(&self, row: usize) -> Option<&str> {
        self.names.is_valid(row).then(|| self.names.value(row))
    }
}

/// The baseline: where every row that has a name was.
#[derive(Default)]
struct Known {
    place: HashMap<Box<str>, u32>,
    segments: Vec<u32>,
}

impl Known {
    fn read(asked: &Asked<'_>, on: &StepRun<'_>) -> Result<Self, JobError> {
        let baseline = on.other(BASELINE);
        let columns = asked.find(baseline, BASELINE)?;
        let (mut known, mut held_bytes) = (Self::default(), 0);
        pass::blocks_of(baseline, BASELINE, &columns, on, |block, rows| {
            let block = Block::of(&block, rows, asked)?;
            for row in 0..rows {
                let Some(name) = block.name(row) else { return Err(nameless(asked, BASELINE)) };
                held_bytes += name.len() as u64 + BYTES_OF_NAME;
                let place =
                    u32::try_from(known.segments.len()).map_err(|_| asked.refuse("`baseline` has more than 2^32 rows".to_owned()))?;
                if known.place.insert(name.into(), place).is_some() {
                    return Err(twice(asked, name, BASELINE));
                }
                known.segments.push(block.segment(row));
            }
            // A table that grows is held twice for a moment.
            if 2 * held_bytes <= on.memory_bytes {
                return Ok(());
            }
            Err(JobError::Budget {
                what: format!("step `{}`: the names of {} rows of `baseline`", asked.step.name.value, known.segments.len()),
                needed_bytes: 2 * held_bytes,
                budget_bytes: on.memory_bytes,
                help: "raise `memory`, or compare a `sample` of both".to_owned(),
            })
        })?;
        Ok(known)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.place.get(name).map(|place| *place as usize)
    }
}

fn twice(asked: &Asked<'_>, name: &str, side: &str) -> JobError {
    let message = format!("`{}` {name} is there twice in `{side}`: rows cannot be told apart; name another column with `id`", asked.name);
    asked.refuse(message)
}

fn nameless(asked: &Asked<'_>, side: &str) -> JobError {
    asked.refuse(format!("a row of `{side}` has no `{}`; name another column with `id`, or leave such rows out with `where`", asked.name))
}

/// Rows of both sides by pair of segments, under way.
#[derive(Default)]
struct Pairs {
    counts: BTreeMap<(u32, u32), u64>,
    /// Rows of the baseline that came.
    is_seen: Vec<bool>,
    n_only_now: u64,
}

impl Pairs {
    fn add(&mut self, block: &Block, row: usize, known: &Known, asked: &Asked<'_>) -> Result<(), JobError> {
        let from = &asked.step.from.value.name;
        let Some(name) = block.name(row) else { return Err(nameless(asked, from)) };
        let Some(place) = known.place(name) else {
            self.n_only_now += 1;
            return Ok(());
        };
        if std::mem::replace(&mut self.is_seen[place], true) {
            return Err(twice(asked, name, from));
        }
        *self.counts.entry((block.segment(row), known.segments[place])).or_default() += 1;
        Ok(())
    }
}

/// Both sides, held against one another.
struct Found {
    /// Segments of the rows of both, in order; rows without one are the last part, where there are such.
    now: Vec<u32>,
    then: Vec<u32>,
    crossing: Crossing,
    /// Partner of every segment of now, by position.
    partner: Vec<Option<usize>>,
    n_both: u64,
    n_only_now: u64,
    n_only_then: u64,
}

impl Found {
    fn of(pairs: &Pairs, known: &Known, asked: &Asked<'_>, budget_bytes: u64) -> Result<Self, JobError> {
        let distinct = |side: fn(&(u32, u32)) -> u32| pairs.counts.keys().map(side).collect::<BTreeSet<u32>>().into_iter().collect();
        let (now, then): (Vec<u32>, Vec<u32>) = (distinct(|pair| pair.0), distinct(|pair| pair.1));
        if now.len().max(then.len()) > MOST_SEGMENTS {
            let n = now.len().max(then.len());
            return Err(asked.refuse(format!(
                "column `{}` has {n} different values, and at most {MOST_SEGMENTS} segments are compared",
                asked.segment
            )));
        }
        // The table, and the same without rows that have no segment.
        let needed_bytes = 2 * Crossing::bytes(now.len(), then.len());
        if needed_bytes > budget_bytes {
            return Err(JobError::Budget {
                what: format!("step `{}`: rows by pair of {} and {} segments", asked.step.name.value, now.len(), then.len()),
                needed_bytes,
                budget_bytes,
                help: "raise `memory`, or make fewer segments".to_owned(),
            });
        }
        let mut crossing = Crossing::new(now.len(), then.len());
        for (pair, n) in &pairs.counts {
            let place = |side: &[u32], segment| side.binary_search(&segment).expect("every segment of a pair is listed");
            crossing.add(place(&now, pair.0), place(&then, pair.1), *n);
        }
        let n_both = pairs.counts.values().sum();
        let n_only_then = pairs.is_seen.iter().filter(|is_seen| !**is_seen).count() as u64;
        if n_both == 0 {
            let (rows, before) = (count(pairs.n_only_now), count(known.segments.len() as u64));
            let message =
                format!("none of {rows} rows has the `{}` of one of {before} rows of `baseline`; are both of the same rows?", asked.name);
            return Err(asked.refuse(message));
        }
        let partner = match asked.step.text(MATCH) {
            Some("number") => now.iter().map(|segment| then.binary_search(segment).ok().filter(|_| *segment != NONE)).collect(),
            _ => by_rows(&crossing, &now, &then),
        };
        Ok(Self { now, then, crossing, partner, n_both, n_only_now: pairs.n_only_now, n_only_then })
    }

    /// Says whether a row that was in a segment is elsewhere now.
    fn has_moved(&self, now: u32, then: u32) -> bool {
        let partner = self.now.binary_search(&now).ok().and_then(|at| self.partner.get(at).copied().flatten());
        if now == NONE { then != NONE } else { partner.is_none_or(|partner| self.then[partner] != then) }
    }
}

/// Returns the partner of every segment of now: the one of the pairing that shares the most rows, if they share more than half.
fn by_rows(crossing: &Crossing, now: &[u32], then: &[u32]) -> Vec<Option<usize>> {
    // Rows without a segment have no partner: they are no segment.
    let segments = crossing.of(|at| now[at] != NONE, |at| then[at] != NONE);
    let is_same = |now: usize, then: &usize| crossing.jaccard(now, *then) > DISSOLVED;
    segments.matches().into_iter().enumerate().map(|(now, then)| then.filter(|then| is_same(now, then))).collect()
}

/// The table of rows that moved, under way.
struct Moved {
    writer: TableWriter,
    field: Field,
    n: u64,
}

fn moved_columns(field: &Field, cells: ArrayRef, now: UInt32Array, then: UInt32Array) -> RecordBatch {
    batch(vec![
        (field.clone(), cells),
        (Field::new("segment", DataType::UInt32, true), Arc::new(now)),
        (Field::new("baseline_segment", DataType::UInt32, true), Arc::new(then)),
    ])
}

fn moved_schema(field: &Field) -> SchemaRef {
    let none = || UInt32Array::from(Vec::<u32>::new());
    moved_columns(field, new_empty_array(field.data_type()), none(), none()).schema()
}

impl Moved {
    fn take(&mut self, block: &Block, found: &Found, known: &Known) -> Result<(), JobError> {
        let before = |row: usize| block.name(row).and_then(|name| known.place(name)).map(|place| known.segments[place]);
        let rows = (0..block.names.len()).filter_map(|row| Some((row, block.segment(row), before(row)?)));
        let moved: Vec<(usize, u32, u32)> = rows.filter(|(_, now, then)| found.has_moved(*now, *then)).collect();
        self.n += moved.len() as u64;
        let segment = |segment: u32| (segment != NONE).then_some(segment);
        let rows: UInt64Array = moved.iter().map(|(row, ..)| *row as u64).collect();
        let cells = take(&block.cells, &rows, None).expect("rows are those of the block");
        let now = moved.iter().map(|(_, now, _)| segment(*now)).collect();
        let then = moved.iter().map(|(.., then)| segment(*then)).collect();
        self.writer.push(&moved_columns(&self.field, cells, now, then))
    }
}
