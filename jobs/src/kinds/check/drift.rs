//! `baseline`: whether columns are spread as they were in an earlier table.
//!
//! Numbers are counted in bins that hold a tenth of the earlier rows each (of an even draw of at most `DRAWN` rows), texts by the most frequent
//! of the earlier ones, all others together; missing cells are a bin of their own. An index above `max_psi` counts where chance does not explain
//! it (chi square at the level of the job). A column that is gone, empty or of another sort has drifted.

use std::collections::BTreeMap;

use arrow::array::{Array as _, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use gristmill_datasets::Source;
use gristmill_engine::columns::{self, Unit};
use gristmill_engine::drift::{Shift, Spread, Sums, Verdict};

use super::cells::{numbers, refuse};
use super::{BASELINE, Held, rows};
use crate::JobError;
use crate::kinds::StepRun;
use crate::pass;
use crate::spec::StepSpec;

/// Rows from which bins are made.
const DRAWN: usize = 1 << 17;
/// Numbers held for that, of all columns together: 8 MiB.
const ALL_DRAWN: usize = 1 << 20;
/// Texts with a bin of their own.
const LEVELS: usize = 20;
/// Different texts of a column beyond which it is not looked at: names and free text are new every time.
const MOST_TEXTS: usize = 10_000;

/// A column on both sides.
struct Column {
    name: String,
    /// Place in the baseline, and in the rows.
    places: (usize, usize),
    then: Then,
}

/// How a column was spread.
enum Then {
    Numbers { drawn: Draw, spread: Spread },
    Texts { counts: BTreeMap<String, u64>, n_missing: u64, named: Vec<String>, is_wide: bool },
}

/// Every `stride`-th number, at most `most`, which is even.
struct Draw {
    most: usize,
    held: Vec<f64>,
    stride: u64,
    seen: u64,
}

/// What a column of the one side is for the other.
enum Other {
    /// It is not in the baseline, and asked for.
    New,
    /// It is in the baseline alone.
    Gone,
    /// It is of another sort: its places in the baseline and in the rows, and what it is called there.
    Turned { places: (usize, usize), words: [String; 2] },
}

/// Columns by name that are not on both sides.
type Others = Vec<(String, Other)>;

/// What cells of a column are for a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Texts,
    Numbers,
    Others,
}

impl Sort {
    fn of(data_type: &DataType) -> Self {
        match (columns::is_text(data_type), columns::unit(data_type)) {
            (true, _) => Self::Texts,
            (_, Some(Unit::Number | Unit::Boolean)) => Self::Numbers,
            _ => Self::Others,
        }
    }
}

/// Holds `n_rows` rows against the baseline, column by column.
pub(super) fn look(step: &StepSpec, on: &StepRun<'_>, n_rows: u64) -> Result<Vec<Held>, JobError> {
    let then = on.other(BASELINE);
    let (columns, others) = matched(step, then, on.source)?;
    if columns.is_empty() && others.iter().all(|(_, other)| matches!(other, Other::New)) {
        return Err(refuse(step, "`baseline` and rows share no column of numbers or texts; name another table"));
    }
    let mut held = if columns.is_empty() { Vec::new() } else { look_at(columns, then, step, on)? };
    for (name, other) in others {
        held.push(other.held(name, n_rows, then, step, on)?);
    }
    Ok(held)
}

/// Returns how the table of the baseline is called in messages.
fn name_of(then: &dyn Source) -> String {
    then.files().first().map_or_else(|| BASELINE.to_owned(), |file| file.path.display().to_string())
}

fn look_at(mut columns: Vec<Column>, then: &dyn Source, step: &StepSpec, on: &StepRun<'_>) -> Result<Vec<Held>, JobError> {
    let n_numbers = columns.iter().filter(|column| column.then.is_numbers()).count();
    // Bounded by the columns alone: what is found must not depend on the memory there is.
    let most = ALL_DRAWN / n_numbers.max(1);
    for column in &mut columns {
        column.then.draw_at_most(most);
    }
    let name = name_of(then);
    let of_then: Vec<usize> = columns.iter().map(|column| column.places.0).collect();
    let mut n_then = 0;
    pass::blocks_of(then, &name, &of_then, on, |block, n_rows| {
        n_then += n_rows as u64;
        each(&mut columns, &block, step, |column, cells| column.then.meet(cells))
    })?;
    for column in &mut columns {
        column.then.cut();
    }
    let numbers: Vec<usize> = columns.iter().filter(|column| column.then.is_numbers()).map(|column| column.places.0).collect();
    let mut sums = Sums::default();
    if !numbers.is_empty() {
        pass::blocks_of(then, &name, &numbers, on, |block, _| {
            let mut numbers: Vec<&mut Column> = columns.iter_mut().filter(|column| column.then.is_numbers()).collect();
            each(&mut numbers, &block, step, |column, cells| column.then.count(cells, &mut sums))
        })?;
    }
    let mut now: Vec<Vec<u64>> = columns.iter().map(|column| vec![0; column.then.counts().len()]).collect();
    let mut n_rows = 0;
    let of_now: Vec<usize> = columns.iter().map(|column| column.places.1).collect();
    pass::blocks(&of_now, step, on, |block, rows| {
        n_rows += rows as u64;
        let mut pairs: Vec<(&Column, &mut Vec<u64>)> = columns.iter().zip(&mut now).collect();
        each(&mut pairs, &block, step, |(column, counts), cells| column.then.add(cells, counts))
    })?;
    Ok(columns.iter().zip(&now).map(|(column, now)| column.held(now, (n_then, n_rows), step, on.alpha)).collect())
}

/// Does something with every piece of every column.
fn each<C>(
    columns: &mut [C],
    block: &[Vec<ArrayRef>],
    step: &StepSpec,
    mut take: impl FnMut(&mut C, &ArrayRef) -> Result<(), String>,
) -> Result<(), JobError> {
    for (column, pieces) in columns.iter_mut().zip(block) {
        for piece in pieces {
            take(column, piece).map_err(|error| refuse(step, &error))?;
        }
    }
    Ok(())
}

/// Returns the columns that are on both sides with cells of one sort, those that the step names or all, and by name what else there is.
fn matched(step: &StepSpec, then: &dyn Source, now: &dyn Source) -> Result<(Vec<Column>, Others), JobError> {
    let (of_then, of_now) = (then.schema(), now.schema());
    let named = step.columns();
    let is_asked = |name: &str| named.is_empty() || named.contains(&name);
    let (mut columns, mut others) = (Vec::new(), Vec::new());
    for (at, field) in of_now.fields().iter().enumerate().filter(|(_, field)| is_asked(field.name())) {
        let name = field.name().clone();
        let Ok(before) = of_then.index_of(&name) else {
            others.extend((!named.is_empty()).then_some((name, Other::New)));
            continue;
        };
        let places = (before, at);
        let types = [of_then.field(before).data_type(), field.data_type()];
        let words = types.map(columns::type_words);
        match types.map(Sort::of) {
            [one, other] if one != other || (one == Sort::Others && words[0] != words[1]) => {
                others.push((name, Other::Turned { places, words }));
            }
            [Sort::Others, _] if named.is_empty() => {}
            [Sort::Others, _] => {
                let message = format!("column `{name}` is {}, and only numbers and texts are held against `baseline`", words[1]);
                return Err(refuse(step, &message));
            }
            [sort, _] => columns.push(Column { name, places, then: Then::new(sort == Sort::Texts) }),
        }
    }
    let gone = of_then.fields().iter().filter(|field| is_asked(field.name()) && of_now.index_of(field.name()).is_err());
    others.extend(gone.map(|field| (field.name().clone(), Other::Gone)));
    Ok((columns, others))
}

impl Other {
    /// Says what became of a column of another sort: one without cells, as a file of text has where all are empty, is of none.
    fn held(self, name: String, n_rows: u64, then: &dyn Source, step: &StepSpec, on: &StepRun<'_>) -> Result<Held, JobError> {
        let (found, passed) = match self {
            Self::New => ("it is not in the baseline".to_owned(), None),
            Self::Gone => ("it is gone".to_owned(), Some(false)),
            Self::Turned { places, words } => {
                let (mut cells, mut n_then) = ([0, 0], 0);
                let n_valid = |block: Vec<Vec<ArrayRef>>| {
                    block.iter().flatten().map(|piece| (piece.len() - piece.logical_null_count()) as u64).sum::<u64>()
                };
                pass::blocks_of(then, &name_of(then), &[places.0], on, |block, rows| {
                    n_then += rows as u64;
                    cells[0] += n_valid(block);
                    Ok(())
                })?;
                pass::blocks(&[places.1], step, on, |block, _| {
                    cells[1] += n_valid(block);
                    Ok(())
                })?;
                match cells {
                    _ if n_then == 0 || n_rows == 0 => (format!("{} now, {} in the baseline", rows(n_rows), rows(n_then)), None),
                    [0, 0] => ("no cell has a value, then and now".to_owned(), Some(true)),
                    [_, 0] => ("no cell has a value now".to_owned(), Some(false)),
                    [0, _] => ("no cell had a value in the baseline".to_owned(), Some(false)),
                    _ => (format!("{} now, {} in the baseline", words[1], words[0]), Some(false)),
                }
            }
        };
        let expected = "the same sort of column as in the baseline".to_owned();
        Ok(Held { check: "drift", column: Some(name), expected, found, value: None, n_rows, n_failing: None, passed })
    }
}

impl Then {
    fn new(is_text: bool) -> Self {
        if is_text {
            Self::Texts { counts: BTreeMap::new(), n_missing: 0, named: Vec::new(), is_wide: false }
        } else {
            Self::Numbers { drawn: Draw { most: DRAWN, held: Vec::new(), stride: 1, seen: 0 }, spread: Spread::default() }
        }
    }

    /// Bounds the draw from which bins are made.
    fn draw_at_most(&mut self, most: usize) {
        if let Self::Numbers { drawn, .. } = self {
            drawn.most = most.clamp(1_000, DRAWN) / 2 * 2;
        }
    }

    const fn is_numbers(&self) -> bool {
        matches!(self, Self::Numbers { .. })
    }

    /// Takes earlier cells for the first time: numbers to make bins of, texts to count.
    fn meet(&mut self, cells: &ArrayRef) -> Result<(), String> {
        match self {
            Self::Numbers { drawn, .. } => numbers(cells)?.iter().flatten().filter(|x| x.is_finite()).for_each(|x| drawn.take(x)),
            Self::Texts { counts, n_missing, is_wide, .. } => {
                let texts = cast(cells, &DataType::Utf8).map_err(|error| error.to_string())?;
                for text in texts.as_string::<i32>() {
                    match text {
                        None => *n_missing += 1,
                        Some(text) if counts.contains_key(text) || counts.len() < MOST_TEXTS => {
                            *counts.entry(text.to_owned()).or_default() += 1;
                        }
                        Some(_) => *is_wide = true,
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes bins of what was drawn, and names the most frequent texts.
    fn cut(&mut self) {
        match self {
            Self::Numbers { drawn, spread } => *spread = Spread::bins(std::mem::take(&mut drawn.held)),
            Self::Texts { counts, named, .. } => {
                let mut all: Vec<(&String, &u64)> = counts.iter().collect();
                all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
                *named = all.into_iter().take(LEVELS).map(|(text, _)| text.clone()).collect();
            }
        }
    }

    /// Counts earlier numbers by bin.
    fn count(&mut self, cells: &ArrayRef, sums: &mut Sums) -> Result<(), String> {
        if let Self::Numbers { spread, .. } = self {
            spread.absorb(&dense(cells)?, sums);
        }
        Ok(())
    }

    /// Returns earlier rows by bin: bins, for texts those of all others, and last the missing ones.
    fn counts(&self) -> Vec<u64> {
        match self {
            Self::Numbers { spread, .. } => spread.counts.iter().copied().chain([spread.n_missing]).collect(),
            Self::Texts { counts, n_missing, named, .. } => {
                let of_named: Vec<u64> = named.iter().map(|text| counts[text]).collect();
                let others = counts.values().sum::<u64>() - of_named.iter().sum::<u64>();
                of_named.into_iter().chain([others, *n_missing]).collect()
            }
        }
    }

    /// Adds later cells to counts of the same bins.
    fn add(&self, cells: &ArrayRef, counts: &mut [u64]) -> Result<(), String> {
        match self {
            Self::Numbers { spread, .. } => {
                let mut now = spread.emptied();
                now.absorb(&dense(cells)?, &mut Sums::default());
                counts.iter_mut().zip(now.counts.iter().chain([&now.n_missing])).for_each(|(n, more)| *n += more);
            }
            Self::Texts { named, .. } => {
                let texts = cast(cells, &DataType::Utf8).map_err(|error| error.to_string())?;
                for text in texts.as_string::<i32>() {
                    let at = text.map_or(named.len() + 1, |text| named.iter().position(|named| named == text).unwrap_or(named.len()));
                    counts[at] += 1;
                }
            }
        }
        Ok(())
    }
}

/// Returns numbers with NaN for what is missing.
fn dense(cells: &ArrayRef) -> Result<Vec<f64>, String> {
    Ok(numbers(cells)?.iter().map(|x| x.unwrap_or(f64::NAN)).collect())
}

impl Draw {
    fn take(&mut self, x: f64) {
        if self.seen.is_multiple_of(self.stride) {
            if self.held.len() == self.most {
                let mut at = 0;
                self.held.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.held.push(x);
            }
        }
        self.seen += 1;
    }
}

impl Column {
    fn held(&self, now: &[u64], (n_then, n_rows): (u64, u64), step: &StepSpec, alpha: f64) -> Held {
        let most = step.number("max_psi").unwrap_or(0.25);
        let shift = Shift::of_counts(&self.then.counts(), now);
        let is_wide = matches!(self.then, Then::Texts { is_wide: true, .. });
        let (passed, why) = match shift.verdict(alpha, most) {
            _ if is_wide => (None, format!("more than {MOST_TEXTS} different texts")),
            _ if n_then == 0 || n_rows == 0 => (None, format!("{} now, {} in the baseline", rows(n_rows), rows(n_then))),
            Verdict::TooFew => (None, format!("{:.3}, too few rows to tell it from chance", shift.psi)),
            Verdict::Stable if shift.psi > most => (Some(true), format!("{:.3}, no more than chance explains", shift.psi)),
            Verdict::Stable => (Some(true), format!("{:.3}", shift.psi)),
            Verdict::Shifted | Verdict::Changed => (Some(false), format!("{:.3}", shift.psi)),
        };
        Held {
            check: "drift",
            column: Some(self.name.clone()),
            expected: format!("population stability index of at most {most}"),
            found: why,
            value: (!is_wide).then_some(shift.psi),
            n_rows,
            n_failing: None,
            passed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_even_and_bounded() {
        let mut draw = Draw { most: DRAWN, held: Vec::new(), stride: 1, seen: 0 };
        (0..1_000_000).for_each(|x| draw.take(f64::from(x)));
        assert!(draw.held.len() <= DRAWN && draw.held.len() > DRAWN / 2, "{}", draw.held.len());
        let gaps: Vec<f64> = draw.held.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 0.5), "every {}th", gaps[0]);
    }
}
