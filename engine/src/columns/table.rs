//! Columns held in memory, all rows of each: for what needs every row at once, ranks and permutations say.
//!
//! What     numbers as f64 (see [`super::numeric`]), texts as codes of a dictionary in order of first appearance.
//! Nulls    NaN, infinite and null numbers are missing (NaN here); null texts are missing.
//! Memory   8 bytes a number, 4 a text, and each different text once; what would pass the budget is refused while it grows.
//! Absent   a text column with more than [`MOST_LEVELS`] different texts: it names rows rather than groups of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};

use super::numeric::{append, type_words, unit};
use crate::EngineError;

/// Most different texts of a column that is taken as a category.
pub const MOST_LEVELS: usize = 4096;

/// Code of a missing cell.
pub(crate) const MISSING: u32 = u32::MAX;

/// What is known of a cell of a column.
#[derive(Debug, Clone)]
pub enum Cells {
    /// Numbers; NaN is missing.
    Numbers(Float64Array),
    /// Categories.
    Levels(Levels),
}

/// A column of categories.
#[derive(Debug, Clone)]
pub struct Levels {
    /// Level of every row, or [`MISSING`].
    pub(crate) codes: ScalarBuffer<u32>,
    /// The levels in order of first appearance.
    pub names: Vec<String>,
}

impl Levels {
    /// Returns the level of a row; none where it is missing.
    #[must_use]
    pub fn name_of(&self, row: usize) -> Option<&str> {
        self.names.get(self.codes[row] as usize).map(String::as_str)
    }
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its cells.
    pub cells: Cells,
}

/// Columns in memory.
#[derive(Debug, Clone)]
pub struct Table {
    /// Rows of every column.
    pub n_rows: usize,
    /// The columns in the order asked for.
    pub columns: Vec<TableColumn>,
}

/// Returns whether a column of this type is held as categories.
#[must_use]
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

impl TableColumn {
    /// Returns the numbers, NaN where one is missing; none for a column of categories.
    #[must_use]
    pub fn numbers(&self) -> Option<&[f64]> {
        match &self.cells {
            Cells::Numbers(numbers) => Some(numbers.values()),
            Cells::Levels(_) => None,
        }
    }

    /// Returns the categories; none for a column of numbers.
    #[must_use]
    pub fn levels(&self) -> Option<&Levels> {
        match &self.cells {
            Cells::Numbers(_) => None,
            Cells::Levels(levels) => Some(levels),
        }
    }

    /// Returns a number that is the same for equal cells of a row and for missing ones alone.
    #[must_use]
    pub fn key(&self, row: usize) -> u64 {
        match &self.cells {
            Cells::Numbers(numbers) => {
                let x = numbers.value(row);
                // -0 is 0, and every NaN is missing.
                if x.is_nan() { u64::MAX } else { (x + 0.0).to_bits() }
            }
            Cells::Levels(levels) => levels.codes[row].into(),
        }
    }

    /// Returns the present cells.
    #[must_use]
    pub fn n_present(&self) -> usize {
        match &self.cells {
            Cells::Numbers(numbers) => numbers.values().iter().filter(|x| x.is_finite()).count(),
            Cells::Levels(levels) => levels.codes.iter().filter(|code| **code != MISSING).count(),
        }
    }
}

impl TableColumn {
    /// Returns the columns of numbers that stand for this one as a control: itself, or 1 and 0 for each level.
    #[must_use]
    pub fn design(&self) -> Vec<Vec<f64>> {
        match &self.cells {
            Cells::Numbers(numbers) => vec![numbers.values().to_vec()],
            Cells::Levels(levels) => {
                let of_level = |level: usize| levels.codes.iter().map(|code| f64::from(u8::from(*code as usize == level))).collect();
                (0..levels.names.len()).map(of_level).collect()
            }
        }
    }

    /// Returns whether the cell of a row is missing.
    #[must_use]
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.cells {
            Cells::Numbers(numbers) => numbers.value(row).is_nan(),
            Cells::Levels(levels) => levels.codes[row] == MISSING,
        }
    }

    /// Returns `n` rows from `start` on, without a copy.
    pub(crate) fn window(&self, start: usize, n: usize) -> Self {
        let cells = match &self.cells {
            Cells::Numbers(numbers) => Cells::Numbers(numbers.slice(start, n)),
            Cells::Levels(levels) => Cells::Levels(Levels { codes: levels.codes.slice(start, n), names: levels.names.clone() }),
        };
        Self { name: self.name.clone(), cells }
    }

    /// Returns some of the rows, in the order given; levels keep their codes.
    #[must_use]
    pub fn rows(&self, rows: &[usize]) -> Self {
        let cells = match &self.cells {
            Cells::Numbers(numbers) => Cells::Numbers(rows.iter().map(|&row| numbers.value(row)).collect::<Vec<f64>>().into()),
            Cells::Levels(levels) => {
                Cells::Levels(Levels { codes: rows.iter().map(|&row| levels.codes[row]).collect(), names: levels.names.clone() })
            }
        };
        Self { name: self.name.clone(), cells }
    }
}

impl Table {
    /// Returns columns of numbers, by position, as one batch of f64.
    pub(crate) fn batch(&self, positions: &[usize]) -> RecordBatch {
        let columns: Vec<(Field, ArrayRef)> = positions
            .iter()
            .filter_map(|&at| match &self.columns[at].cells {
                Cells::Numbers(numbers) => {
                    let field = Field::new(&self.columns[at].name, DataType::Float64, true);
                    Some((field, Arc::new(numbers.clone()) as ArrayRef))
                }
                Cells::Levels(_) => None,
            })
            .collect();
        batch_of(columns)
    }
}

/// Returns a batch of columns that have one length.
pub(crate) fn batch_of(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("the columns of a table have one length")
}

/// A table under construction: takes pieces of columns in row order, from any thread.
#[derive(Debug)]
pub struct TableBuilder {
    columns: Vec<(String, Mutex<Growing>)>,
    budget_bytes: u64,
}

#[derive(Debug)]
enum Growing {
    Numbers(Vec<f64>),
    Levels {
        codes: Vec<u32>,
        known: HashMap<String, u32>,
        names: Vec<String>,
    },
    /// More different texts than a category has; how many rows came.
    TooMany(usize),
}

impl TableBuilder {
    /// Starts a table of columns with these names and types.
    ///
    /// # Errors
    /// `ColumnType` for a type that is neither a number nor a text.
    pub fn new(columns: &[(String, DataType)], budget_bytes: u64) -> Result<Self, EngineError> {
        let growing = |(name, data_type): &(String, DataType)| {
            let growing = match data_type {
                text if is_text(text) => Growing::Levels { codes: Vec::new(), known: HashMap::new(), names: Vec::new() },
                number if unit(number).is_some() => Growing::Numbers(Vec::new()),
                other => return Err(EngineError::ColumnType { column: name.clone(), found: type_words(other) }),
            };
            Ok((name.clone(), Mutex::new(growing)))
        };
        Ok(Self { columns: columns.iter().map(growing).collect::<Result<_, _>>()?, budget_bytes })
    }

    /// Makes room for as many rows as are expected, within the budget: a column that grows is copied again and again.
    #[must_use]
    pub fn expecting(self, n_rows: u64) -> Self {
        let share = self.budget_bytes / self.columns.len().max(1) as u64;
        for (_, growing) in &self.columns {
            match &mut *growing.lock().unwrap_or_else(PoisonError::into_inner) {
                Growing::Numbers(cells) => cells.reserve_exact(usize::try_from(n_rows.min(share / 8)).unwrap_or(0)),
                Growing::Levels { codes, .. } => codes.reserve_exact(usize::try_from(n_rows.min(share / 4)).unwrap_or(0)),
                Growing::TooMany(_) => {}
            }
        }
        self
    }

    /// Appends the cells of `array` to a column.
    ///
    /// # Errors
    /// `ColumnType` when the array is not of the column's type; `Budget` when the column would outgrow its share.
    pub fn put(&self, column: usize, array: &ArrayRef) -> Result<(), EngineError> {
        let (name, growing) = &self.columns[column];
        let mut growing = growing.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = || EngineError::ColumnType { column: name.clone(), found: type_words(array.data_type()) };
        match &mut *growing {
            Growing::Numbers(cells) => {
                if !append(array, cells) {
                    return Err(refused());
                }
                self.fits(cells.len() * 8)?;
            }
            Growing::Levels { codes, known, names } => {
                let texts = cast(array, &DataType::Utf8).map_err(|_| refused())?;
                let texts = texts.as_string::<i32>();
                for row in 0..texts.len() {
                    codes.push(if texts.is_null(row) { MISSING } else { code(texts.value(row), known, names) });
                }
                if names.len() > MOST_LEVELS {
                    *growing = Growing::TooMany(codes.len());
                } else {
                    self.fits(codes.len() * 4)?;
                }
            }
            Growing::TooMany(rows) => *rows += array.len(),
        }
        Ok(())
    }

    fn fits(&self, column_bytes: usize) -> Result<(), EngineError> {
        let share = self.budget_bytes / self.columns.len().max(1) as u64;
        let needed_bytes = column_bytes as u64;
        if needed_bytes <= share {
            return Ok(());
        }
        let n = self.columns.len() as u64;
        let what = format!("{n} columns in memory");
        Err(EngineError::Budget { what, needed_bytes: needed_bytes * n, budget_bytes: self.budget_bytes })
    }

    /// Returns the table, and the names of columns with too many different texts, which it leaves out.
    ///
    /// # Errors
    /// `RowCount` when columns differ in length.
    pub fn finish(self) -> Result<(Table, Vec<String>), EngineError> {
        let (mut columns, mut left_out, mut n_rows) = (Vec::new(), Vec::new(), None);
        for (name, growing) in self.columns {
            let growing = growing.into_inner().unwrap_or_else(PoisonError::into_inner);
            let (found, cells) = match growing {
                Growing::Numbers(mut cells) => {
                    for x in &mut cells {
                        *x = if x.is_finite() { *x } else { f64::NAN };
                    }
                    (cells.len(), Some(Cells::Numbers(cells.into())))
                }
                Growing::Levels { codes, names, .. } => (codes.len(), Some(Cells::Levels(Levels { codes: codes.into(), names }))),
                Growing::TooMany(rows) => (rows, None),
            };
            let expected = *n_rows.get_or_insert(found);
            if found != expected {
                return Err(EngineError::RowCount { column: name, found, expected });
            }
            match cells {
                Some(cells) => columns.push(TableColumn { name, cells }),
                None => left_out.push(name),
            }
        }
        Ok((Table { n_rows: n_rows.unwrap_or(0), columns }, left_out))
    }
}

/// Returns the code of a text, giving it one at first sight.
fn code(text: &str, known: &mut HashMap<String, u32>, names: &mut Vec<String>) -> u32 {
    if let Some(&code) = known.get(text) {
        return code;
    }
    let code = u32::try_from(names.len()).unwrap_or(MISSING - 1);
    // Beyond the limit the column is given up at the end of the piece; its texts are not kept any more.
    if names.len() <= MOST_LEVELS {
        known.insert(text.to_owned(), code);
        names.push(text.to_owned());
    }
    code
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests; cells come back as they were")]
    use super::*;
    use arrow::array::{DictionaryArray, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    fn build(columns: &[(&str, ArrayRef)], budget: u64) -> Result<(Table, Vec<String>), EngineError> {
        let named: Vec<(String, DataType)> = columns.iter().map(|(name, array)| ((*name).to_owned(), array.data_type().clone())).collect();
        let builder = TableBuilder::new(&named, budget)?;
        for (at, (_, array)) in columns.iter().enumerate() {
            // In two pieces, as a scan gives them.
            let half = array.len() / 2;
            builder.put(at, &array.slice(0, half))?;
            builder.put(at, &array.slice(half, array.len() - half))?;
        }
        builder.finish()
    }

    #[test]
    fn numbers_texts_and_dictionaries_become_columns() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::INFINITY), Some(4.0)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("b")]));
        let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("y"), Some("x")].into_iter().collect();
        let (table, left_out) = build(&[("n", numbers), ("t", texts), ("d", Arc::new(dictionary))], 1 << 20).unwrap();
        assert_eq!((table.n_rows, left_out.len(), table.columns.len()), (4, 0, 3));
        let numbers = table.columns[0].numbers().unwrap();
        assert!(numbers[0] == 1.0 && numbers[1].is_nan() && numbers[2].is_nan() && numbers[3] == 4.0);
        let levels = table.columns[1].levels().unwrap();
        assert_eq!((&levels.codes[..], &levels.names[..]), (&[0, 1, MISSING, 0][..], &["b".to_owned(), "a".to_owned()][..]));
        assert_eq!(table.columns[2].levels().unwrap().codes[..], [0, MISSING, 1, 0]);
        assert_eq!(table.columns.iter().map(TableColumn::n_present).collect::<Vec<_>>(), [2, 3, 3]);
    }

    #[test]
    fn names_of_rows_are_no_category() {
        let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..10_000).map(|row| format!("row {row}"))));
        let other: ArrayRef = Arc::new(Int32Array::from_iter_values(0..10_000));
        let (table, left_out) = build(&[("names", names), ("other", other)], 1 << 20).unwrap();
        assert_eq!((table.columns.len(), left_out), (1, vec!["names".to_owned()]));
    }

    #[test]
    fn a_table_past_its_budget_is_refused_while_it_grows() {
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
        let error = build(&[("a", Arc::clone(&numbers)), ("b", numbers)], 10_000).unwrap_err();
        assert!(matches!(error, EngineError::Budget { needed_bytes: 16_000, budget_bytes: 10_000, .. }), "{error:?}");
    }
}
