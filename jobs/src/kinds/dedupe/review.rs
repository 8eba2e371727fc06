//! Pairs that people look at: the table and the file that they are asked with, and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Float64Type};
use arrow::error::ArrowError;
use gristmill_engine::columns::is_text;
use gristmill_engine::dedupe::{Answer, Drawn, Records, Stratum};

use super::CHECKED;
use super::given::{self, Given};
use super::grouped::Grouped;
use crate::JobError;
use crate::kinds::{Rows, StepRun, Table, batch};
use crate::spec::StepSpec;

/// Column of the answers.
const MATCH: &str = "match";

/// Reads what people said; nothing where the step names no answers.
pub(super) fn answers(records: &Records, step: &StepSpec, on: &StepRun<'_>) -> Result<Vec<Answer>, JobError> {
    if !step.is_written(CHECKED) {
        return Ok(Vec::new());
    }
    let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
    let given = Given::of(CHECKED, Some(MATCH), step, on)?;
    let id = records.id.as_ref().filter(|_| given.is_by_id);
    let row_of = id.map(|column| given::rows_by_name(CHECKED, column)).transpose().map_err(data)?;
    let nodes = given::Nodes { id, n_rows: records.len() };
    let mut said: BTreeMap<(u32, u32), bool> = BTreeMap::new();
    given.each(&nodes, |pairs, answers, done| {
        let answers = cast(answers, &DataType::Utf8).map_err(|error| data(format!("`{CHECKED}`: {error}")))?;
        for (at, (ends, word)) in pairs.iter().zip(answers.as_string::<i32>()).enumerate() {
            let row = done + at;
            let Some(word) = word.map(str::trim).filter(|word| !word.is_empty()) else { continue };
            let is_match = yes_or_no(word)
                .ok_or_else(|| data(format!("row {row} of `{CHECKED}` answers `{word}`, but `{MATCH}` must be yes, no or empty")))?;
            let [a, b] = ends.map(|end| row_of.as_ref().map_or(end, |row_of| row_of[end as usize]));
            if a == b {
                return Err(data(format!("row {row} of `{CHECKED}` holds a record against itself")));
            }
            if said.insert((a.min(b), a.max(b)), is_match).is_some_and(|before| before != is_match) {
                return Err(data(format!(
                    "row {row} of `{CHECKED}` answers `{word}` of two records of which another row says the opposite"
                )));
            }
        }
        Ok(())
    })?;
    Ok(said.into_iter().map(|((a, b), is_match)| Answer { a, b, is_match }).collect())
}

fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "yes" | "y" | "true" | "t" | "1" => Some(true),
        "no" | "n" | "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// The pairs that people are asked about, while their cells are gathered.
pub(super) struct Asked<'a> {
    drawn: &'a [Drawn],
    a: UInt64Array,
    b: UInt64Array,
    cells: Vec<(Field, ArrayRef)>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(drawn: &'a [Drawn]) -> Self {
        let rows = |of: fn(&Drawn) -> u32| drawn.iter().map(|pair| u64::from(of(pair))).collect();
        Self { drawn, a: rows(|pair| pair.a), b: rows(|pair| pair.b), cells: Vec::new() }
    }

    /// Takes the cells of both records from a column of the input.
    pub(super) fn add(&mut self, field: &Field, column: &ArrayRef) -> Result<(), ArrowError> {
        for (side, rows) in [("a", &self.a), ("b", &self.b)] {
            let cells = take(column, rows, None)?;
            self.cells.push((Field::new(format!("{}_{side}", field.name()), field.data_type().clone(), true), cells));
        }
        Ok(())
    }

    /// Returns the table, and the file for answers where there is something to ask.
    pub(super) fn tables(self, grouped: &Grouped<'_>, id: Option<&(Field, ArrayRef)>) -> Result<Vec<Table>, JobError> {
        let Self { drawn, a, b, cells } = self;
        let score: Float64Array = drawn.iter().map(|pair| pair.probability).collect();
        let stratum: ArrayRef = Arc::new(drawn.iter().map(|pair| pair.stratum as u32).collect::<UInt32Array>());
        let pairs = grouped.pairs(a, b, score, id)?;
        let mut columns = vec![(Field::new("stratum", DataType::UInt32, false), stratum)];
        columns.extend(pairs.iter().cloned());
        columns.extend(cells.iter().cloned());
        // Whoever answers is not told what the engine thinks.
        let is_of_ends = |field: &Field| !["score", "same_entity"].contains(&field.name().as_str());
        let mut blind = vec![(Field::new(MATCH, DataType::Utf8, true), new_null_array(&DataType::Utf8, drawn.len()))];
        blind.extend(pairs.into_iter().filter(|(field, _)| is_of_ends(field)));
        blind.extend(cells.into_iter().filter(|(field, _)| !field.data_type().is_nested()));
        let mut tables = vec![Table::one("review", batch(columns))];
        if !drawn.is_empty() {
            let text = as_csv(blind).map_err(|error| grouped.data(&format!("`review.csv`: {error}")))?;
            tables.push(Table { name: "review", rows: Rows::Csv { text, n_rows: drawn.len() as u64 } });
        }
        Ok(tables)
    }
}

/// Returns the tables of a way of looking that knows no probabilities: `review` and `strata` without rows.
pub(super) fn nothing(grouped: &Grouped<'_>, id: Option<&(Field, ArrayRef)>) -> Result<Vec<Table>, JobError> {
    let mut tables = Asked::new(&[]).tables(grouped, id)?;
    tables.push(Table::one("strata", strata(&[])));
    Ok(tables)
}

/// Writes columns as CSV that a spreadsheet opens as what it is: a text that would be run there has a quote before it.
fn as_csv(columns: Vec<(Field, ArrayRef)>) -> Result<Vec<u8>, ArrowError> {
    let columns = columns.into_iter().map(|(field, cells)| {
        let cells = if field.data_type().is_floating() { whole_numbers(&cells)?.unwrap_or(cells) } else { cells };
        let words = cast(&cells, &DataType::Utf8)?;
        let is_risky = |word: &str| is_text(field.data_type()) && word.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let safe = |word: Option<&str>| word.map(|word| if is_risky(word) { format!("'{word}") } else { word.to_owned() });
        let words: StringArray = words.as_string::<i32>().iter().map(safe).collect();
        Ok((Field::new(field.name(), DataType::Utf8, true), Arc::new(words) as ArrayRef))
    });
    let table = batch(columns.collect::<Result<_, ArrowError>>()?);
    let mut text = Vec::new();
    WriterBuilder::new().with_header(true).build(&mut text).write(&table)?;
    Ok(text)
}

/// Returns numbers without a fraction as whole ones: a column of codes with missing cells may have been read as numbers with one.
pub(super) fn whole_numbers(cells: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    /// Beyond which numbers have gaps.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let numbers = cast(cells, &DataType::Float64)?;
    let is_whole = |x: f64| x.abs() <= MOST && x.fract().abs() < f64::EPSILON;
    let are_whole = numbers.as_primitive::<Float64Type>().iter().flatten().all(is_whole);
    are_whole.then(|| cast(&numbers, &DataType::Int64)).transpose()
}

/// Pairs by probability.
pub(super) fn strata(strata: &[Stratum]) -> RecordBatch {
    let whole = |name: &str, of: fn(&Stratum) -> u64| -> (Field, ArrayRef) {
        (Field::new(name, DataType::UInt64, false), Arc::new(strata.iter().map(of).collect::<UInt64Array>()))
    };
    let real = |name: &str, of: fn(&Stratum) -> f64| -> (Field, ArrayRef) {
        (Field::new(name, DataType::Float64, false), Arc::new(strata.iter().map(of).collect::<Float64Array>()))
    };
    let stratum: UInt32Array = (0..strata.len() as u32).collect();
    let is_one: BooleanArray = strata.iter().map(|stratum| Some(stratum.same_entity)).collect();
    batch(vec![
        (Field::new("stratum", DataType::UInt32, false), Arc::new(stratum)),
        (Field::new("same_entity", DataType::Boolean, false), Arc::new(is_one)),
        real("from", |stratum| stratum.from),
        real("until", |stratum| stratum.until),
        whole("n_pairs", |stratum| stratum.n_pairs),
        real("expected", |stratum| stratum.expected),
        whole("n_checked", |stratum| stratum.n_checked),
        whole("n_matches", |stratum| stratum.n_matches),
    ])
}
