//! `kind = "check"`: what must hold of a table, and what became of it. In a spec it stands as `[[check]]`.
//!
//! ```text
//! rows      min_rows <= n <= max_rows
//! nulls     missing cells of a column <= max_nulls * n        (null, NaN and infinite)
//! range     min <= every cell <= max
//! allowed   every cell is one of these texts
//! holds     an SQL condition is false of no row (unknown passes, as in SQL's CHECK)
//! unique    no two rows have the same cells in these columns; rows that lack one are left out
//! drift     population stability index against `baseline` <= max_psi, or no more than chance explains
//! ```
//!
//! A check that fails with `severity = "fail"` ends the run with 4, after everything else was done and written; steps that `needs` it do not run.
//! Cost      one pass for all but `unique` (16 bytes a row, or a pass for every part that fits into memory) and `drift` (two passes over
//!           the baseline, one over the rows).

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_datasets::filter::{Filter, FilterError};
use gristmill_engine::columns::{self, Unit};

use super::{JobKind, Key, StepOutcome, StepRun, Table, TableDoc, Takes, batch};
use crate::JobError;
use crate::manifest::CheckRecord;
use crate::plan::{Ahead, Forecast, about, range};
use crate::spec::{Problems, StepSpec};
use crate::terminal::count;

mod cells;
mod distinct;
mod drift;

/// Key of the table that rows are held against.
const BASELINE: &str = "baseline";

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Check;

/// One thing that must hold, and what became of it.
struct Held {
    /// What was looked at: a word of the list above.
    check: &'static str,
    column: Option<String>,
    expected: String,
    found: String,
    /// The number that decided.
    value: Option<f64>,
    n_rows: u64,
    /// Rows or cells that do not meet it, where they can be counted.
    n_failing: Option<u64>,
    /// None where there was too little to say.
    passed: Option<bool>,
}

impl JobKind for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    fn about(&self) -> &'static str {
        "What must hold of a table: rows, missing cells, ranges, keys, conditions, drift; written as `[[check]]` with `on` for `from`"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key {
                name: "severity",
                takes: Takes::Choice(&["fail", "warn"]),
                default: Some("\"fail\""),
                about: "What becomes of the run where it does not hold: exit code 4, or a warning",
            },
            Key { name: "min_rows", takes: Takes::Integer(0, i64::MAX), default: None, about: "Fewest rows" },
            Key { name: "max_rows", takes: Takes::Integer(0, i64::MAX), default: None, about: "Most rows" },
            Key {
                name: "columns",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns of `max_nulls`, `min`, `max`, `allowed` and `max_psi`",
            },
            Key { name: "max_nulls", takes: Takes::Number(0.0, 1.0), default: None, about: "Largest share of missing cells" },
            Key { name: "min", takes: Takes::Number(f64::MIN, f64::MAX), default: None, about: "Smallest number" },
            Key { name: "max", takes: Takes::Number(f64::MIN, f64::MAX), default: None, about: "Largest number" },
            Key { name: "allowed", takes: Takes::TextList, default: None, about: "Texts that a cell may be; missing cells pass" },
            Key { name: "holds", takes: Takes::Text, default: None, about: "SQL condition that is false of no row" },
            Key {
                name: "unique",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns whose cells, taken together, no two rows share",
            },
            Key {
                name: BASELINE,
                takes: Takes::TableIfAny(""),
                default: None,
                about: "Table of an earlier run, or a source or step, that rows are held against",
            },
            Key {
                name: "max_psi",
                takes: Takes::Number(0.0, 100.0),
                default: Some("0.25"),
                about: "Largest population stability index against `baseline`; 0.1 is a shift, 0.25 a change",
            },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[TableDoc {
            name: "checks",
            about: "everything that was checked: column, what was expected and found, rows that fail, whether it passed (none: too little to say)",
        }];
        TABLES
    }

    fn check_keys(&self, step: &StepSpec, problems: &mut Problems) {
        const ASKS: [&str; 9] = ["min_rows", "max_rows", "max_nulls", "min", "max", "allowed", "holds", "unique", BASELINE];
        if !ASKS.iter().any(|key| step.values.is_given(key)) {
            let help = format!("add one of {}", ASKS.join(", "));
            problems.add(step.span("kind"), "the check asks for nothing", "nothing to hold", help);
        }
        if step.columns().is_empty() {
            for key in ["max_nulls", "min", "max", "allowed"].into_iter().filter(|key| step.is_written(key)) {
                let help = "add `columns = [\"COLUMN\"]`";
                problems.add(step.span(key), format!("`{key}` needs `columns`"), "of which columns?", help);
            }
        }
        for (low, high) in [("min_rows", "max_rows"), ("min", "max")] {
            if let (Some(least), Some(most)) = (step.number(low), step.number(high))
                && least > most
            {
                let message = format!("`{low}` is {least} and `{high}` is {most}: nothing lies between");
                problems.add(step.span(low), message, "above the other", "change places");
            }
        }
        if step.is_written("max_psi") && !step.is_written(BASELINE) {
            let help = "add `baseline = \"runs/JOB/latest/STEP/TABLE.parquet\"`, or a source";
            problems.add(step.span("max_psi"), "`max_psi` needs a `baseline`", "against what?", help);
        }
        if let Some(text) = step.text("holds")
            && let Err(error) = Filter::parse(text)
        {
            add_condition(step, &error, problems);
        }
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        if step.is_written("min") || step.is_written("max") {
            for column in step.list("columns") {
                let Ok(field) = input.field_with_name(&column.value) else { continue };
                if columns::unit(field.data_type()) != Some(Unit::Number) {
                    let words = columns::type_words(field.data_type());
                    let message = format!("column `{}` is {words}, and `min` and `max` are numbers", column.value);
                    problems.add(column.span.clone(), message, "no number", "write a condition instead: `holds = \"day >= '2025-01-01'\"`");
                }
            }
        }
        // One that cannot be parsed was told with the keys.
        if let Some(Ok(filter)) = step.text("holds").map(Filter::parse)
            && let Err(error) = filter.check(input)
        {
            add_condition(step, &error, problems);
        }
    }

    fn forecast(&self, step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        let n_columns = (step.columns().len() + step.list("unique").len()).max(1);
        // Keys are kept while they are counted, cells are not.
        let of_row = if step.list("unique").is_empty() { 0.0 } else { 40.0 };
        Forecast {
            seconds: Some(range(2e-7 * (ahead.n_rows * n_columns as u64) as f64, ahead.n_threads)),
            bytes: Some((4 << 20) + about(ahead.n_rows, of_row)),
            ..Forecast::default()
        }
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let (mut held, n_rows) = cells::look(step, on)?;
        held.extend(distinct::look(step, on)?);
        if step.is_written(BASELINE) {
            held.extend(drift::look(step, on, n_rows)?);
        }
        let severity = step.text("severity").unwrap_or("fail");
        let checks: Vec<CheckRecord> = held.iter().map(|held| held.record(step, severity)).collect();
        let n_columns = held.iter().filter_map(|held| held.column.as_ref()).collect::<std::collections::BTreeSet<_>>().len();
        Ok(StepOutcome {
            tables: vec![Table::one("checks", table(&held, severity, &checks))],
            n_rows,
            n_columns: n_columns as u64,
            checks,
            ..StepOutcome::on_cpu(self)
        })
    }
}

fn add_condition(step: &StepSpec, error: &FilterError, problems: &mut Problems) {
    let help = error.help().unwrap_or_else(|| "write an SQL condition, for example `holds = \"amount >= 0\"`".to_owned());
    problems.add(step.span("holds"), error.to_string(), "here", help);
}

impl StepSpec {
    /// Returns the columns that a check is of.
    fn columns(&self) -> Vec<&str> {
        self.list("columns").iter().map(|column| column.value.as_str()).collect()
    }
}

impl Held {
    fn record(&self, step: &StepSpec, severity: &str) -> CheckRecord {
        let from = &step.from.value;
        let table = from.table.as_ref().map_or_else(|| from.name.clone(), |table| format!("{}.{table}", from.name));
        let subject = match &self.column {
            Some(column) => format!("column `{column}` of `{table}`"),
            None => format!("`{table}`"),
        };
        let verb = match self.passed {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "cannot be said",
        };
        CheckRecord {
            check: self.check.to_owned(),
            severity: severity.to_owned(),
            passed: self.passed,
            sentence: format!("{subject}: {} {verb}: {}", self.expected, self.found),
        }
    }
}

/// Returns everything that was checked, a row each.
fn table(held: &[Held], severity: &str, records: &[CheckRecord]) -> arrow::array::RecordBatch {
    let text = |name: &str, cells: Vec<Option<String>>| -> (Field, ArrayRef) {
        (Field::new(name, DataType::Utf8, true), std::sync::Arc::new(StringArray::from(cells)))
    };
    let counts = |name: &str, cells: Vec<Option<u64>>| -> (Field, ArrayRef) {
        (Field::new(name, DataType::UInt64, true), std::sync::Arc::new(UInt64Array::from(cells)))
    };
    let passed = BooleanArray::from(held.iter().map(|held| held.passed).collect::<Vec<_>>());
    let value = Float64Array::from(held.iter().map(|held| held.value).collect::<Vec<_>>());
    batch(vec![
        text("check", held.iter().map(|held| Some(held.check.to_owned())).collect()),
        text("column", held.iter().map(|held| held.column.clone()).collect()),
        text("severity", held.iter().map(|_| Some(severity.to_owned())).collect()),
        (Field::new("passed", DataType::Boolean, true), std::sync::Arc::new(passed)),
        text("expected", held.iter().map(|held| Some(held.expected.clone())).collect()),
        text("found", held.iter().map(|held| Some(held.found.clone())).collect()),
        (Field::new("value", DataType::Float64, true), std::sync::Arc::new(value)),
        counts("n_rows", held.iter().map(|held| Some(held.n_rows)).collect()),
        counts("n_failing", held.iter().map(|held| held.n_failing).collect()),
        text("sentence", records.iter().map(|record| Some(record.sentence.clone())).collect()),
    ])
}

/// Returns a number of rows in words.
fn rows(n: u64) -> String {
    if n == 1 { "1 row".to_owned() } else { format!("{} rows", count(n)) }
}
