//! `kind = "correlate"`: Pearson correlation of every pair of columns, as findings and as a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::columns::{self, Width};
use gristmill_engine::correlate::{self as engine, CorrelateOptions, Correlation, PairRow, Precision};
use gristmill_engine::findings::{Evidence, Finding};

use super::{JobKind, Key, StepOutcome, StepRun, Table, TableDoc, Takes};
use crate::manifest::LeftOut;
use crate::spec::{Problems, StepSpec, keys};
use crate::{JobError, pass};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Correlate;

/// Smallest |r| of a finding where the spec names none: a tenth, 1 % of shared variance.
const MIN_EFFECT: f64 = 0.1;

impl JobKind for Correlate {
    fn name(&self) -> &'static str {
        "correlate"
    }

    fn about(&self) -> &'static str {
        "Pearson correlation of every pair of columns, with intervals and a controlled false discovery rate"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            keys::COLUMNS,
            keys::EXCLUDE,
            keys::ID,
            Key { default: Some("0.1"), ..keys::MIN_EFFECT },
            Key {
                name: "method",
                takes: Takes::Choice(&["auto", "pearson"]),
                default: Some("\"auto\""),
                about: "Coefficient; `auto` picks by the columns' types",
            },
            Key {
                name: "precision",
                takes: Takes::Choice(&["auto", "f64", "f32"]),
                default: Some("\"auto\""),
                about: "Width of the products; in f32 the findings are settled in f64",
            },
            Key {
                name: "top",
                takes: Takes::Integer(1, 100_000_000),
                default: None,
                about: "How many of the best pairs the table keeps; all where absent",
            },
            Key { name: "min_n", takes: Takes::Integer(3, i64::MAX), default: Some("30"), about: "Fewest rows that a pair is judged on" },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[
            TableDoc { name: "pairs", about: "every pair with r, interval, n, p, q and verdict, best first" },
            TableDoc { name: "columns", about: "every column of the input: used or why not, n, nulls, mean, sd, range" },
        ];
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        for column in &step.columns {
            let Some((_, field)) = input.column_with_name(&column.value) else { continue };
            if columns::unit(field.data_type()).is_none() {
                let message = format!("column `{}` is {}", column.value, columns::type_words(field.data_type()));
                let numeric = numeric_names(input);
                let help = format!("`correlate` takes numbers, booleans, dates and timestamps: {}", crate::spec::listed(&numeric));
                problems.add(column.span.clone(), message, "no number", help);
            }
        }
        let (used, _) = columns::select(input, &wanted(step, input));
        if used.len() < 2 && problems.is_empty() {
            let message = format!("a pair needs 2 columns of numbers, and {} left here", if used.is_empty() { "none is" } else { "1 is" });
            let help = format!("columns of numbers here: {}", crate::spec::listed(&numeric_names(input)));
            problems.add(step.span(if step.columns.is_empty() { "from" } else { "columns" }), message, "too few columns", help);
        }
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let schema = on.source.schema();
        for name in step.columns.iter().chain(&step.exclude) {
            if schema.column_with_name(&name.value).is_none() {
                let message = format!("column `{}` is not in `{}`", name.value, step.from.value.name);
                return Err(JobError::Spec { step: step.name.value.clone(), message });
            }
        }
        let wanted = wanted(step, &schema);
        let (used, unusable) = columns::select(&schema, &wanted);
        if let Some(column) = unusable.iter().find(|column| is_named(step, schema.field(column.column).name())) {
            let error = columns::require(&schema, column.column).err();
            return Err(error.map_or_else(|| JobError::Bug("a usable column was refused".to_owned()), |e| pass::engine_error(step, e)));
        }
        let mut analysis = engine::Correlate::new(&schema, used.clone(), options(step, on)).map_err(|e| pass::engine_error(step, e))?;
        let needed_bytes = analysis.needed_bytes();
        if needed_bytes > on.memory_bytes {
            let what = format!("step `{}`: {} columns", step.name.value, used.len());
            let help = "raise `memory`, or name fewer `columns`".to_owned();
            return Err(JobError::Budget { what, needed_bytes, budget_bytes: on.memory_bytes, help });
        }
        let (backend, reason) = place(&analysis, on);
        let found = pass::run(&mut analysis, step, on, &backend)?;
        let left_out: Vec<LeftOut> = unusable
            .into_iter()
            .map(|column| LeftOut {
                column: schema.field(column.column).name().clone(),
                data_type: column.found,
                reason: "no number: `correlate` takes numbers, booleans, dates and timestamps in this version".to_owned(),
            })
            .collect();
        Ok(StepOutcome {
            findings: findings(&found, step, on.job),
            notes: notes(&found),
            tables: tables(&found, &schema, &used, step, &left_out),
            place: backend.place().word().to_owned(),
            adapter: backend.place().is_device().then(|| backend.adapter()).flatten(),
            place_reason: reason,
            fell_back: backend.fallbacks(),
            n_rows: found.n_rows,
            n_columns: used.len() as u64,
            family: Some(found.family),
            left_out,
        })
    }
}

/// Pins the place of the step: products in f64 belong to the CPU, others where the whole step pays.
fn place(analysis: &engine::Correlate, on: &StepRun<'_>) -> (gristmill_engine::backend::Backend, String) {
    use gristmill_engine::backend::{Backend, Place};
    let rows = on.source.n_rows().unwrap_or(0);
    let Some(cost) = analysis.cost(rows) else {
        return (Backend::cpu(), "products in f64 run on the CPU".to_owned());
    };
    if on.backend.prefer_gpu(cost)
        && let Some(place) = on.backend.device_place()
    {
        return (on.backend.pinned(place), on.backend.place_reason());
    }
    (on.backend.pinned(Place::Cpu), on.backend.place_reason())
}

fn options(step: &StepSpec, on: &StepRun<'_>) -> CorrelateOptions {
    let precision = match step.text("precision") {
        Some("f64") => Precision::F64,
        Some("f32") => Precision::F32,
        _ => Precision::Auto,
    };
    CorrelateOptions {
        precision,
        alpha: on.alpha,
        min_effect: step.min_effect.unwrap_or(MIN_EFFECT),
        min_n: step.integer("min_n").and_then(|n| u64::try_from(n).ok()).unwrap_or(30),
        top: step.integer("top").and_then(|n| usize::try_from(n).ok()),
        memory_bytes: on.memory_bytes,
        threads: rayon::current_num_threads(),
    }
}

fn is_named(step: &StepSpec, column: &str) -> bool {
    step.columns.iter().any(|named| named.value == column)
}

/// Returns the columns that the step asks for: those that it names, else all but the excluded and the id.
fn wanted(step: &StepSpec, schema: &Schema) -> Vec<usize> {
    let excluded = |name: &str| step.exclude.iter().any(|column| column.value == name);
    let is_id = |name: &str| step.id.as_ref().is_some_and(|id| id.value == name);
    let chosen = |name: &str| if step.columns.is_empty() { !is_id(name) } else { is_named(step, name) };
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| chosen(field.name()) && !excluded(field.name())).map(|(at, _)| at).collect()
}

fn numeric_names(schema: &Schema) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.filter(|field| columns::unit(field.data_type()).is_some()).map(|field| field.name().as_str()).collect()
}

fn notes(found: &Correlation) -> Vec<String> {
    let mut notes = vec!["rows are taken as independent: order, repeats and groups of rows are not looked at".to_owned()];
    let constant: Vec<&str> = found.columns.iter().filter(|column| column.constant()).map(|column| column.name.as_str()).collect();
    if !constant.is_empty() {
        notes.push(format!("constant, so without any correlation: {}", crate::spec::listed(&constant)));
    }
    let too_few = found.n_pairs - found.family;
    if too_few > 0 {
        notes.push(format!("{too_few} of {} pairs could not reach the level and left the family: too few rows, fewer than 5 carriers of a value, or a constant column", found.n_pairs));
    }
    if found.wide {
        notes.push(format!(
            "wide table: {} pairs were compared group by group, and the best {} are kept",
            found.n_pairs,
            found.pairs.len()
        ));
    }
    if found.width == Width::F32 {
        let settled = found.pairs.iter().filter(|pair| pair.settled).count();
        notes.push(format!(
            "products in 32 bits: {settled} of {} pairs are settled in 64 bits, the others are good to 1e-6",
            found.pairs.len()
        ));
    }
    notes
}

fn findings(found: &Correlation, step: &StepSpec, job: &str) -> Vec<Finding> {
    found.findings().into_iter().filter_map(|pair| finding(found, pair, step, job)).collect()
}

fn finding(found: &Correlation, pair: &PairRow, step: &StepSpec, job: &str) -> Option<Finding> {
    let (x, y) = (&found.columns[pair.x].name, &found.columns[pair.y].name);
    let r = pair.r?;
    #[allow(clippy::cast_precision_loss, reason = "a share needs few digits")]
    let support = pair.n as f64 / found.n_rows.max(1) as f64;
    Some(Finding {
        job: job.to_owned(),
        step: step.name.value.clone(),
        kind: "correlate".to_owned(),
        subject: format!("{x} ~ {y}"),
        filter: format!("{} is not null and {} is not null", quoted(x), quoted(y)),
        effect: r,
        effect_unit: "r".to_owned(),
        lo: pair.interval.map(|(lo, _)| lo),
        hi: pair.interval.map(|(_, hi)| hi),
        n: pair.n,
        support,
        p: pair.p,
        p_min_attainable: pair.p_min_attainable,
        q: pair.q,
        q_method: format!("BH over {} pairs", found.family),
        evidence: Evidence::Association,
        fragile: None,
        confirmed_out_of_time: None,
        as_of: None,
        sentence: sentence(x, y, pair, r, found.alpha()),
    })
}

fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

fn sentence(x: &str, y: &str, pair: &PairRow, r: f64, alpha: f64) -> String {
    let together = if r > 0.0 { "rise together" } else { "move against each other" };
    let interval = pair.interval.map(|(lo, hi)| format!(" ({:.0} % interval {} to {})", 100.0 * (1.0 - alpha), short(lo), short(hi)));
    format!("{x} and {y} {together}: r = {}{} over {} rows", short(r), interval.unwrap_or_default(), grouped(pair.n))
}

/// Writes a correlation with two digits, or as many as tell it from 1.
fn short(r: f64) -> String {
    let digits = (2..=9).find(|&digits| 1.0 - r.abs() >= 0.5 * 10_f64.powi(-digits) || r.abs() >= 1.0).unwrap_or(9);
    let digits = usize::try_from(digits).unwrap_or(2);
    format!("{r:.digits$}")
}

/// Writes a count with a comma between thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn tables(found: &Correlation, schema: &Schema, used: &[usize], step: &StepSpec, left_out: &[LeftOut]) -> Vec<Table> {
    let columns = columns_table(found, schema, used, step, left_out);
    vec![
        Table { name: "pairs", schema: Correlation::pairs_schema(), batches: found.pairs_table() },
        Table { name: "columns", schema: columns.schema(), batches: vec![columns] },
    ]
}

/// Every column of the input, in its order: what it is, and why it was not used.
fn columns_table(found: &Correlation, schema: &Schema, used: &[usize], step: &StepSpec, left_out: &[LeftOut]) -> RecordBatch {
    let fields = schema.fields();
    let positions: std::collections::HashMap<usize, usize> =
        used.iter().enumerate().map(|(position, &column)| (column, position)).collect();
    let row = |at: usize| positions.get(&at).map(|&position| &found.columns[position]);
    let reason = |at: usize| {
        let name = fields[at].name();
        if row(at).is_some() {
            return None;
        }
        let excluded = step.exclude.iter().any(|column| &column.value == name);
        let by_type = left_out.iter().find(|column| &column.column == name).map(|column| column.reason.clone());
        Some(by_type.unwrap_or_else(|| if excluded { "excluded by the spec".to_owned() } else { "not asked for".to_owned() }))
    };
    let each = 0..fields.len();
    let number = |of: fn(&engine::ColumnRow) -> Option<f64>| -> ArrayRef {
        Arc::new(each.clone().map(|at| row(at).and_then(of)).collect::<Float64Array>())
    };
    let count =
        |of: fn(&engine::ColumnRow) -> u64| -> ArrayRef { Arc::new(each.clone().map(|at| row(at).map(of)).collect::<UInt64Array>()) };
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("column", DataType::Utf8, false), Arc::new(StringArray::from_iter_values(fields.iter().map(|field| field.name())))),
        (
            Field::new("data_type", DataType::Utf8, false),
            Arc::new(StringArray::from_iter_values(fields.iter().map(|field| columns::type_words(field.data_type())))),
        ),
        (Field::new("used", DataType::Boolean, false), Arc::new(each.clone().map(|at| Some(row(at).is_some())).collect::<BooleanArray>())),
        (Field::new("reason", DataType::Utf8, true), Arc::new(each.clone().map(reason).collect::<StringArray>())),
        (Field::new("n", DataType::UInt64, true), count(|column| column.n)),
        (Field::new("nulls", DataType::UInt64, true), count(|column| column.missing)),
        (Field::new("mean", DataType::Float64, true), number(|column| column.mean)),
        (Field::new("sd", DataType::Float64, true), number(|column| column.sd)),
        (Field::new("min", DataType::Float64, true), number(|column| column.min)),
        (Field::new("max", DataType::Float64, true), number(|column| column.max)),
        (
            Field::new("constant", DataType::Boolean, true),
            Arc::new(each.clone().map(|at| row(at).map(engine::ColumnRow::constant)).collect::<BooleanArray>()),
        ),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("every column has one cell a field of the input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(short(0.4949), "0.49");
        assert_eq!(short(0.99999), "0.99999");
        assert_eq!(short(-1.0), "-1.00");
        assert_eq!([grouped(5), grouped(1234), grouped(12_330), grouped(1_000_000)], ["5", "1,234", "12,330", "1,000,000"]);
    }
}
