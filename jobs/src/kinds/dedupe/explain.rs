//! Why pairs are one or not, as a table; and the pairs that hold entities together.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use gristmill_engine::dedupe::{Explained, RecordColumn, Records, Said, Weakest};

use super::EXPLAIN;
use super::given::{self, Given};
use super::grouped::{Grouped, Members};
use crate::JobError;
use crate::kinds::{StepRun, Table, batch};
use crate::spec::StepSpec;
use crate::terminal::count;

/// Most pairs that are explained.
const MOST: usize = 10_000;
/// Pairs that are told on the terminal and in the report's notes.
const TOLD: usize = 3;
/// Columns that a sentence names, those that say most.
const NAMED: usize = 3;

/// Reads the pairs that the step asks about.
pub(super) fn pairs(records: &Records, step: &StepSpec, on: &StepRun<'_>) -> Result<Vec<(u32, u32)>, JobError> {
    if !step.is_written(EXPLAIN) {
        return Ok(Vec::new());
    }
    let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
    let given = Given::of(EXPLAIN, None, step, on)?;
    let id = records.id.as_ref().filter(|_| given.is_by_id);
    let row_of = id.map(|column| given::rows_by_name(EXPLAIN, column)).transpose().map_err(data)?;
    let nodes = given::Nodes { id, n_rows: records.len() };
    let mut asked = Vec::new();
    given.each(&nodes, |pairs, _, done| {
        for (at, ends) in pairs.iter().enumerate() {
            let [a, b] = ends.map(|end| row_of.as_ref().map_or(end, |row_of| row_of[end as usize]));
            if a == b {
                return Err(data(format!("row {} of `{EXPLAIN}` holds a record against itself", done + at)));
            }
            asked.push((a, b));
        }
        if asked.len() > MOST {
            let (n, most) = (count(asked.len() as u64), count(MOST as u64));
            return Err(data(format!("`{EXPLAIN}` holds {n} pairs or more, and {most} can be explained at a time")));
        }
        Ok(())
    })?;
    Ok(asked)
}

/// Pairs that are explained, and by what.
pub(super) struct Why<'a> {
    pub(super) grouped: &'a Grouped<'a>,
    pub(super) explained: &'a [Explained],
    pub(super) identifiers: &'a [RecordColumn],
    pub(super) comparisons: &'a [Said],
    /// Log odds (bits) that two records drawn at random match.
    pub(super) prior: f64,
    /// Whether a record has one partner at most in another source.
    pub(super) is_clean: bool,
    /// Probability from which records are one.
    pub(super) threshold: f64,
}

impl Why<'_> {
    fn is_one(&self, pair: &Explained) -> bool {
        self.grouped.entity[pair.a as usize] == self.grouped.entity[pair.b as usize]
    }

    /// Says why a pair is one entity or not.
    fn reason(&self, pair: &Explained) -> String {
        if let (true, Some(by)) = (self.is_one(pair), pair.by) {
            return format!("one: the same `{}`", self.identifiers[by].name);
        }
        self.by_cells(pair).to_owned()
    }

    fn by_cells(&self, pair: &Explained) -> &'static str {
        let is_likely = pair.probability >= self.threshold;
        match (self.is_one(pair), is_likely) {
            (true, true) => "one: likelier than `threshold`",
            (true, false) => "one, by way of other records of the entity",
            (false, false) => "apart: less likely than `threshold`",
            (false, true) if self.is_clean => "apart: one of them has a better partner, or a record of the same source",
            (false, true) if !pair.is_candidate => "apart: likely, but no key that is rare enough brought them together",
            (false, true) => "apart: likely, but other records of their entities do not fit",
        }
    }

    /// One line for the prior and each comparison of every pair, in the order in which they were asked.
    pub(super) fn table(&self, id: Option<&(Field, ArrayRef)>) -> Result<Table, JobError> {
        let lines: Vec<(usize, &Explained, Option<usize>)> = self
            .explained
            .iter()
            .enumerate()
            .flat_map(|(at, pair)| std::iter::once(None).chain((0..pair.parts.len()).map(Some)).map(move |part| (at, pair, part)))
            .collect();
        let row = |of: fn(&Explained) -> u32| lines.iter().map(|(_, pair, _)| u64::from(of(pair))).collect::<UInt64Array>();
        let score: Float64Array = lines.iter().map(|(_, pair, _)| pair.probability).collect();
        let ordinal: ArrayRef = Arc::new(lines.iter().map(|(at, ..)| *at as u32).collect::<UInt32Array>());
        let mut columns = vec![(Field::new("pair", DataType::UInt32, false), ordinal)];
        columns.extend(self.grouped.pairs(row(|pair| pair.a), row(|pair| pair.b), score, id)?);
        let text = |name: &str, is_optional: bool, cells: StringArray| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Utf8, is_optional), Arc::new(cells))
        };
        let of_part = |of: &dyn Fn(&Explained, usize) -> Option<String>| -> StringArray {
            lines.iter().map(|(_, pair, part)| part.and_then(|part| of(pair, part))).collect()
        };
        let said = self.comparisons;
        let reasons: StringArray = lines.iter().map(|(_, pair, _)| Some(self.reason(pair))).collect();
        let candidate: BooleanArray = lines.iter().map(|(_, pair, _)| Some(pair.is_candidate)).collect();
        let names: StringArray = lines.iter().map(|(.., part)| Some(part.map_or("(prior)", |part| said[part].column.as_str()))).collect();
        let bits = |pair: &Explained, part: Option<usize>| part.map_or(self.prior, |part| pair.parts[part].bits);
        let alone: Float64Array = lines.iter().map(|(_, pair, part)| bits(pair, *part)).collect();
        let sums: Float64Array = lines
            .iter()
            .scan(0.0, |sum, (_, pair, part)| {
                *sum = if part.is_none() { bits(pair, None) } else { *sum + bits(pair, *part) };
                Some(*sum)
            })
            .collect();
        columns.extend([
            (Field::new("is_candidate", DataType::Boolean, false), Arc::new(candidate) as ArrayRef),
            text("reason", false, reasons),
            text("column", false, names),
            text("cell_a", true, of_part(&|pair, part| pair.parts[part].cells[0].clone())),
            text("cell_b", true, of_part(&|pair, part| pair.parts[part].cells[1].clone())),
            text(
                "meaning",
                true,
                of_part(&|pair, part| Some(pair.parts[part].level.map_or("missing", |level| said[part].content.level(level)).to_owned())),
            ),
            (Field::new("bits", DataType::Float64, false), Arc::new(alone)),
            (Field::new("sum_bits", DataType::Float64, false), Arc::new(sums)),
        ]);
        Ok(Table::one("explained", batch(columns)))
    }

    /// Says of the first pairs why they are one or not.
    pub(super) fn said(&self, id: Option<&(Field, ArrayRef)>) -> Vec<String> {
        let name = |row: u32| {
            let word = id.and_then(|(_, cells)| {
                let one = take(cells, &UInt64Array::from(vec![u64::from(row)]), None).ok()?;
                arrow::util::display::array_value_to_string(&one, 0).ok()
            });
            word.unwrap_or_else(|| format!("row {row}"))
        };
        let line = |pair: &Explained| {
            let mut parts: Vec<(&str, f64)> =
                self.comparisons.iter().zip(&pair.parts).map(|(said, part)| (said.column.as_str(), part.bits)).collect();
            parts.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
            let parts: Vec<String> = parts.iter().take(NAMED).map(|(column, bits)| format!("{column} {bits:+.1}")).collect();
            let (a, b) = (name(pair.a), name(pair.b));
            format!(
                "Records {a} and {b} match with probability {:.3} ({}; bits: {}).",
                pair.probability,
                self.reason(pair),
                parts.join(", ")
            )
        };
        self.explained.iter().take(TOLD).map(line).collect()
    }
}

/// Entities of two records or more and the pair that holds each together, the weakest first.
pub(super) fn weakest(
    grouped: &Grouped<'_>,
    members: &Members,
    found: &[Weakest],
    id: Option<&(Field, ArrayRef)>,
) -> Result<Table, JobError> {
    let row = |of: fn(&Weakest) -> u32| found.iter().map(|pair| u64::from(of(pair))).collect::<UInt64Array>();
    let real = |of: fn(&Weakest) -> f64| found.iter().map(of).collect::<Float64Array>();
    let entity = |pair: &Weakest| grouped.entity[pair.a as usize];
    let numbers: UInt64Array = found.iter().map(|pair| grouped.number(entity(pair))).collect();
    let sizes: UInt32Array = found.iter().map(|pair| members.rows(entity(pair) as usize).len() as u32).collect();
    let mut columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("entity_id", DataType::UInt64, false), Arc::new(numbers)),
        (Field::new("cluster_size", DataType::UInt32, false), Arc::new(sizes)),
    ];
    let pairs = grouped.pairs(row(|pair| pair.a), row(|pair| pair.b), real(|pair| pair.probability), id)?;
    columns.extend(pairs.into_iter().filter(|(field, _)| field.name() != "same_entity"));
    columns.extend([
        (Field::new("least", DataType::Float64, false), Arc::new(real(|pair| pair.least)) as ArrayRef),
        (Field::new("mean", DataType::Float64, false), Arc::new(real(|pair| pair.mean))),
    ]);
    Ok(Table::one("weakest", batch(columns)))
}

/// Returns both tables of a way of looking that knows no probabilities: without rows.
pub(super) fn nothing(grouped: &Grouped<'_>, members: &Members, id: Option<&(Field, ArrayRef)>) -> Result<[Table; 2], JobError> {
    let why = Why { grouped, explained: &[], identifiers: &[], comparisons: &[], prior: 0.0, is_clean: false, threshold: 0.0 };
    Ok([weakest(grouped, members, &[], id)?, why.table(id)?])
}
