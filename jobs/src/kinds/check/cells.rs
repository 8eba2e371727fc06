//! What one pass over the rows can tell: how many there are, and of every column its missing, smallest, largest and strange cells.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float64Type, Schema, SchemaRef};
use gristmill_datasets::filter::Filter;

use super::{Held, rows};
use crate::JobError;
use crate::kinds::{StepRun, number};
use crate::pass;
use crate::spec::StepSpec;

/// Characters of a cell that a message repeats.
const MAX_CHARS: usize = 40;

/// What was counted of a column.
#[derive(Default)]
struct Counted {
    n_missing: u64,
    least: Option<f64>,
    greatest: Option<f64>,
    n_outside: u64,
    n_strange: u64,
    /// The first text that is not allowed.
    strange: Option<String>,
}

/// The pass under way.
struct Look<'a> {
    step: &'a StepSpec,
    schema: SchemaRef,
    /// Columns that are looked at one by one: place in what is read.
    columns: Vec<(usize, Counted)>,
    filter: Option<Filter>,
    n_rows: u64,
    n_false: u64,
}

/// Looks at the rows once, and counts them.
pub(super) fn look(step: &StepSpec, on: &StepRun<'_>) -> Result<(Vec<Held>, u64), JobError> {
    let schema = on.source.schema();
    let filter = step.text("holds").map(Filter::parse).transpose().map_err(|error| refuse(step, &error.to_string()))?;
    let by_cell = ["max_nulls", "min", "max", "allowed"].iter().any(|key| step.is_written(key));
    let named: Vec<&str> = if by_cell { step.columns() } else { Vec::new() };
    let place = |name: &str| schema.index_of(name).map_err(|error| refuse(step, &error.to_string()));
    let mut read: Vec<usize> = named
        .iter()
        .copied()
        .chain(filter.iter().flat_map(|filter| filter.columns().iter().map(String::as_str)))
        .map(place)
        .collect::<Result<_, _>>()?;
    read.sort_unstable();
    read.dedup();
    if read.is_empty() && !schema.fields().is_empty() {
        // Rows have to be met to be counted, unless the file says how many there are.
        read.push(0);
    }
    let at = |name: &str| Ok(read.binary_search(&place(name)?).unwrap_or_default());
    let columns = named.iter().map(|name| Ok((at(name)?, Counted::default()))).collect::<Result<_, JobError>>()?;
    let fields: Vec<_> = read.iter().map(|&at| Arc::clone(&schema.fields()[at])).collect();
    let mut look = Look { step, schema: Arc::new(Schema::new(fields)), columns, filter, n_rows: 0, n_false: 0 };
    match on.source.n_rows() {
        Some(n_rows) if look.columns.is_empty() && look.filter.is_none() => look.n_rows = n_rows,
        _ => pass::blocks(&read, step, on, |block, rows| look.take(&block, rows))?,
    }
    let n_rows = look.n_rows;
    Ok((look.held(&named), n_rows))
}

impl Look<'_> {
    fn take(&mut self, block: &[Vec<ArrayRef>], n_rows: usize) -> Result<(), JobError> {
        let arrays = joined(block).map_err(|error| refuse(self.step, &error))?;
        self.n_rows += n_rows as u64;
        for (at, counted) in &mut self.columns {
            counted.take(&arrays[*at], self.step)?;
        }
        if let Some(filter) = &self.filter {
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| refuse(self.step, &error.to_string()))?;
            let met = filter.evaluate(&batch).map_err(|error| refuse(self.step, &error.to_string()))?;
            self.n_false += (met.len() - met.null_count() - met.true_count()) as u64;
        }
        Ok(())
    }

    fn held(self, named: &[&str]) -> Vec<Held> {
        let (step, n_rows) = (self.step, self.n_rows);
        let mut all = Vec::new();
        let bounds = [("min_rows", "at least"), ("max_rows", "at most")];
        let asked: Vec<String> =
            bounds.iter().filter_map(|(key, words)| Some(format!("{words} {}", rows(step.integer(key)?.unsigned_abs())))).collect();
        if !asked.is_empty() {
            let least = step.integer("min_rows").map_or(0, i64::unsigned_abs);
            let most = step.integer("max_rows").map_or(u64::MAX, i64::unsigned_abs);
            all.push(Held {
                check: "rows",
                column: None,
                expected: asked.join(" and "),
                found: format!("it has {}", rows(n_rows)),
                value: Some(n_rows as f64),
                n_rows,
                n_failing: None,
                passed: Some((least..=most).contains(&n_rows)),
            });
        }
        for (name, (_, counted)) in named.iter().zip(&self.columns) {
            all.extend(counted.held(name, step, n_rows));
        }
        if let Some(filter) = &self.filter {
            all.push(Held {
                check: "holds",
                column: None,
                expected: format!("`{}` of every row", filter.text()),
                found: if self.n_false == 0 {
                    format!("true or unknown of {}", rows(n_rows))
                } else {
                    format!("false of {}", rows(self.n_false))
                },
                value: Some(self.n_false as f64),
                n_rows,
                n_failing: Some(self.n_false),
                passed: Some(self.n_false == 0),
            });
        }
        all
    }
}

impl Counted {
    fn take(&mut self, cells: &ArrayRef, step: &StepSpec) -> Result<(), JobError> {
        self.n_missing += n_missing(cells);
        if step.is_written("min") || step.is_written("max") {
            let numbers = numbers(cells).map_err(|error| refuse(step, &error))?;
            let (least, greatest) = (step.number("min").unwrap_or(f64::NEG_INFINITY), step.number("max").unwrap_or(f64::INFINITY));
            for x in numbers.iter().flatten().filter(|x| x.is_finite()) {
                self.least = Some(self.least.map_or(x, |least| least.min(x)));
                self.greatest = Some(self.greatest.map_or(x, |greatest| greatest.max(x)));
                self.n_outside += u64::from(x < least || x > greatest);
            }
        }
        if step.is_written("allowed") {
            let texts = cast(cells, &DataType::Utf8).map_err(|error| refuse(step, &error.to_string()))?;
            let allowed = step.list("allowed");
            for text in texts.as_string::<i32>().iter().flatten().filter(|text| allowed.iter().all(|allowed| allowed.value != *text)) {
                self.n_strange += 1;
                self.strange.get_or_insert_with(|| text.chars().take(MAX_CHARS).collect());
            }
        }
        Ok(())
    }

    fn held(&self, name: &str, step: &StepSpec, n_rows: u64) -> Vec<Held> {
        let one = |check, expected, found, value, n_failing: u64, passed| Held {
            check,
            column: Some(name.to_owned()),
            expected,
            found,
            value,
            n_rows,
            n_failing: Some(n_failing),
            passed: Some(passed),
        };
        let mut all = Vec::new();
        if let Some(most) = step.number("max_nulls") {
            let share = if n_rows == 0 { 0.0 } else { self.n_missing as f64 / n_rows as f64 };
            let expected = if most > 0.0 { format!("at most {} missing", percent(most)) } else { "no cell missing".to_owned() };
            let found = format!("{} of {} missing ({})", crate::terminal::count(self.n_missing), rows(n_rows), percent(share));
            all.push(one("nulls", expected, found, Some(share), self.n_missing, share <= most));
        }
        let (low, high) = (step.number("min"), step.number("max"));
        if low.is_some() || high.is_some() {
            let expected = match (low, high) {
                (Some(low), Some(high)) => format!("{low} to {high}"),
                (Some(low), None) => format!("at least {low}"),
                (_, high) => format!("at most {}", high.unwrap_or_default()),
            };
            let spread = match (self.least, self.greatest) {
                (Some(least), Some(greatest)) => format!("{} to {}", number(least), number(greatest)),
                _ => "no number".to_owned(),
            };
            let found = if self.n_outside == 0 { spread } else { format!("{spread}, {} outside", rows(self.n_outside)) };
            all.push(one("range", expected, found, None, self.n_outside, self.n_outside == 0));
        }
        if step.is_written("allowed") {
            let listed: Vec<String> = step.list("allowed").iter().take(6).map(|text| format!("`{}`", text.value)).collect();
            let more = if step.list("allowed").len() > 6 { ", .." } else { "" };
            let expected = format!("one of {}{more}", listed.join(", "));
            let found = match &self.strange {
                None => "nothing else".to_owned(),
                Some(text) => format!("{} of another text, as `{text}`", rows(self.n_strange)),
            };
            all.push(one("allowed", expected, found, None, self.n_strange, self.n_strange == 0));
        }
        all
    }
}

/// Returns the missing cells of an array: null, NaN and infinite.
fn n_missing(cells: &ArrayRef) -> u64 {
    let strange = match cells.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            numbers(cells).map_or(0, |x| x.iter().flatten().filter(|x| !x.is_finite()).count())
        }
        _ => 0,
    };
    (cells.logical_null_count() + strange) as u64
}

/// Returns every column of a block in one piece.
pub(super) fn joined(block: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>, String> {
    let one = |pieces: &Vec<ArrayRef>| concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(|error| error.to_string());
    block.iter().map(one).collect()
}

/// Returns cells as numbers.
pub(super) fn numbers(cells: &ArrayRef) -> Result<Float64Array, String> {
    let numbers = cast(cells, &DataType::Float64).map_err(|error| error.to_string())?;
    Ok(numbers.as_primitive::<Float64Type>().clone())
}

pub(super) fn refuse(step: &StepSpec, message: &str) -> JobError {
    JobError::Data { step: step.name.value.clone(), message: message.to_owned() }
}

fn percent(share: f64) -> String {
    let text = format!("{:.2}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}
