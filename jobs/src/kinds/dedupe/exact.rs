//! Rows that are the same, cell by cell.

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use gristmill_engine::dedupe::{ExactOptions, RowClasses, RowHashes};

use super::grouped::{Grouped, Origin, OriginReading, Verdict, compared};
use super::plain::{self, FoundPairs};
use super::{CLEAN_SOURCES, GROUPING, TEXT, THRESHOLD, sentence};
use crate::JobError;
use crate::kinds::{JobKind, Key, StepOutcome, StepRun, Takes};
use crate::pass;
use crate::spec::{Problems, StepSpec, Values};
use crate::terminal::count;

/// Keys of `exact`.
pub(super) const KEYS: &[Key] = &[
    Key { name: "case", takes: Takes::Flag, default: Some("true"), about: "Whether upper and lower case differ" },
    Key {
        name: "spaces",
        takes: Takes::Flag,
        default: Some("true"),
        about: "Whether white space at the ends of a text counts, and how much of it lies between words",
    },
    Key {
        name: "unicode",
        takes: Takes::Flag,
        default: Some("true"),
        about: "Whether different code points for one character differ; `false` compares NFKC forms",
    },
];

/// Adds what is wrong with the keys beside `exact`.
pub(super) fn check(step: &StepSpec, problems: &mut Problems) {
    for key in [THRESHOLD, CLEAN_SOURCES, GROUPING, TEXT].into_iter().filter(|key| step.is_written(key)) {
        let message = format!("`{key}` beside `exact` says nothing: rows are the same or not");
        problems.add(step.span(key), message, "not of `exact`", "remove one of the two");
    }
}

/// Bytes of a row: its hash, its places in two orders, its group, and the tables.
const BYTES_A_ROW: u64 = 80;

struct Read {
    classes: RowClasses,
    origin: Origin,
    n_columns: usize,
    n_rows: usize,
}

impl Read {
    fn new(how: &Values, step: &StepSpec, on: &StepRun<'_>) -> Result<Self, JobError> {
        let schema = on.source.schema();
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        let failed = |error: ArrowError| data(error.to_string());
        let columns = compared(step, &schema);
        if columns.is_empty() {
            return Err(data("no column is left to compare; name some with `fields`".to_owned()));
        }
        let types: Vec<DataType> = columns.iter().map(|at| schema.field(*at).data_type().clone()).collect();
        let mut origin = OriginReading::new(step, &schema);
        let mut hashes = RowHashes::new(&types, options(how)).map_err(failed)?;
        let mut projection = columns.clone();
        projection.extend(origin.columns());
        let reading = pass::reading_bytes(&projection, on);
        pass::blocks(&projection, step, on, |mut block, _| {
            origin.put(&block.split_off(columns.len())).map_err(data)?;
            hashes.absorb(&whole(block).map_err(failed)?).map_err(failed)?;
            within_budget(hashes.len() as u64, (origin.bytes(), reading), step, on).map(|_| ())
        })?;
        let n_rows = hashes.len();
        if u32::try_from(n_rows).is_err() {
            return Err(data(format!("{} rows, and rows are counted with 32 bits", count(n_rows as u64))));
        }
        let room = within_budget(n_rows as u64, (origin.bytes(), reading), step, on)?;
        let origin = origin.finish(n_rows).map_err(data)?;
        let mut classes = hashes.classes(room);
        while classes.is_open() {
            pass::blocks(&columns, step, on, |block, _| classes.absorb(&whole(block).map_err(failed)?).map_err(failed))?;
            classes.end_pass();
        }
        Ok(Self { classes, origin, n_columns: columns.len(), n_rows })
    }
}

fn options(how: &Values) -> ExactOptions {
    let flag = |key: &str| how.flag(key).unwrap_or(true);
    ExactOptions { case: flag("case"), spaces: flag("spaces"), unicode: flag("unicode") }
}

/// Returns the columns of a block in one piece each.
fn whole(block: Vec<Vec<ArrayRef>>) -> Result<Vec<ArrayRef>, ArrowError> {
    block.into_iter().map(|pieces| concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())).collect()
}

/// Returns the bytes that are left for rows that are compared.
fn within_budget(
    n_rows: u64,
    (held, [reading, most_reading]): (u64, [u64; 2]),
    step: &StepSpec,
    on: &StepRun<'_>,
) -> Result<u64, JobError> {
    let of_rows = held + n_rows * BYTES_A_ROW;
    on.memory_bytes.checked_sub(of_rows + reading).ok_or_else(|| {
        let (n_rows, needed_bytes) = on.of_all_rows(of_rows, n_rows);
        let needed_bytes = needed_bytes.saturating_add(most_reading);
        JobError::Budget {
            what: format!("step `{}`: the hashes of {} rows, and a block of them, in memory", step.name.value, count(n_rows)),
            needed_bytes,
            budget_bytes: on.memory_bytes,
            help: "raise `memory`".to_owned(),
        }
    })
}

/// Runs a step that looks for copies.
pub(super) fn run(kind: &dyn JobKind, how: &Values, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    let Read { classes, origin, n_columns, n_rows } = Read::new(how, step, on)?;
    let (group, n_groups) = classes.groups();
    drop(classes);
    let grouped = Grouped { step, on, origin: &origin, content: &group, entity: &group, n_entities: n_groups, numbers: None };
    let members = grouped.members();
    let copies: Vec<(u32, u32)> = (0..n_groups)
        .flat_map(|group| members.rows(group)[1..].iter().map(move |copy| (group, *copy)))
        .map(|(group, copy)| (members.rows(group)[0], copy))
        .collect();
    let n_copies = copies.len() as u64;
    let verdict = Verdict {
        method: "exact",
        verdict: if n_copies == 0 { "no_duplicates" } else { "resolved" },
        reason: if n_copies == 0 {
            "no row is the same as another".to_owned()
        } else {
            format!("{} of an earlier row", counted_copies(n_copies))
        },
        n_unseen: Some(0),
        expected_matches: Some(n_copies as f64),
        ..Verdict::default()
    };
    let kept: Vec<u32> = (0..n_groups).map(|group| members.rows(group)[0]).collect();
    let pairs = FoundPairs::of(copies.iter().map(|(a, b)| (*a, *b, 1.0)));
    let (tables, by_cause) = plain::tables(&grouped, &kept, pairs, verdict)?;
    let mut notes = vec![format!("{}.", sentence(n_rows as u64, n_groups as u64))];
    notes.extend(by_cause);
    Ok(StepOutcome { tables, n_rows: n_rows as u64, n_columns: n_columns as u64, notes, ..StepOutcome::on_cpu(kind) })
}

fn counted_copies(n: u64) -> String {
    if n == 1 { "1 row is a copy".to_owned() } else { format!("{} rows are copies", count(n)) }
}
