//! Columns held in memory, all rows of each: for what needs every row at once, ranks and permutations say.
//!
//! What     numbers as f64 (see [`super::numeric`]), texts as codes of a dictionary in order of first appearance.
//! Nulls    NaN, infinite and null numbers are missing (NaN here); null texts are missing.
//! Memory   8 bytes a number, 2 a text (8 as a key), and each different text once; what would pass the budget is refused while it grows.
//! Absent   a text column with more than [`MOST_LEVELS`] different texts: it names rows rather than groups of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};

use super::numeric::{append, type_words, unit};
use crate::EngineError;

/// Most different texts of a column that is taken as a category.
pub const MOST_LEVELS: usize = 4096;

/// Code of a level.
pub(crate) type Code = u16;

/// Code of a missing cell.
pub(crate) const MISSING: Code = Code::MAX;

/// Bytes of a known text beside its letters: its place in a table that is half full, and its own allocation.
const BYTES_OF_KEY: usize = 96;

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
    pub(crate) codes: ScalarBuffer<Code>,
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
    /// Bytes of all columns so far.
    held_bytes: AtomicU64,
}

#[derive(Debug)]
enum Growing {
    Numbers(Vec<f64>),
    Levels {
        codes: Vec<Code>,
        known: HashMap<String, Code>,
        names: Vec<String>,
    },
    /// Texts that only have to be told apart: a number for each.
    Keys {
        cells: Vec<f64>,
        known: HashMap<String, u32>,
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
        Ok(Self { columns: columns.iter().map(growing).collect::<Result<_, _>>()?, budget_bytes, held_bytes: AtomicU64::new(0) })
    }

    /// Takes the texts of a column as keys that only have to be told apart, however many there are: the column becomes one of
    /// numbers. Columns of numbers stay as they are.
    #[must_use]
    pub fn as_key(self, column: usize) -> Self {
        if let Some((_, growing)) = self.columns.get(column) {
            let mut growing = growing.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*growing, Growing::Levels { .. }) {
                *growing = Growing::Keys { cells: Vec::new(), known: HashMap::new() };
            }
        }
        self
    }

    /// Makes room for as many rows as are expected, within the budget: a column that grows is copied again and again.
    #[must_use]
    pub fn expecting(self, n_rows: u64) -> Self {
        // Room that is not filled takes no memory; what does not fit is refused while it is filled.
        let most = usize::try_from(n_rows.min(self.budget_bytes / 8)).unwrap_or(0);
        for (_, growing) in &self.columns {
            match &mut *growing.lock().unwrap_or_else(PoisonError::into_inner) {
                Growing::Numbers(cells) => cells.reserve_exact(most),
                Growing::Levels { codes, .. } => codes.reserve_exact(most),
                Growing::Keys { cells, .. } => cells.reserve_exact(most),
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
                self.hold(8 * array.len())?;
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
                    self.hold(array.len() * size_of::<Code>())?;
                }
            }
            Growing::Keys { cells, known } => {
                let mut text_bytes = 0;
                let texts = cast(array, &DataType::Utf8).map_err(|_| refused())?;
                for text in texts.as_string::<i32>() {
                    let Some(text) = text else {
                        cells.push(f64::NAN);
                        continue;
                    };
                    let next = known.len();
                    let key = match known.get(text) {
                        Some(key) => *key,
                        None => {
                            text_bytes += text.len() + BYTES_OF_KEY;
                            *known.entry(text.to_owned()).or_insert(u32::try_from(next).unwrap_or(u32::MAX))
                        }
                    };
                    cells.push(key.into());
                }
                self.hold(8 * array.len() + text_bytes)?;
            }
            Growing::TooMany(rows) => *rows += array.len(),
        }
        Ok(())
    }

    fn hold(&self, bytes: usize) -> Result<(), EngineError> {
        let needed_bytes = self.held_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if needed_bytes <= self.budget_bytes {
            return Ok(());
        }
        let what = format!("{} columns in memory", self.columns.len());
        Err(EngineError::Budget { what, needed_bytes, budget_bytes: self.budget_bytes })
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
                Growing::Keys { cells, .. } => (cells.len(), Some(Cells::Numbers(cells.into()))),
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
fn code(text: &str, known: &mut HashMap<String, Code>, names: &mut Vec<String>) -> Code {
    if let Some(&code) = known.get(text) {
        return code;
    }
    let code = Code::try_from(names.len()).unwrap_or(MISSING - 1);
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
    fn keys_are_told_apart_however_many_there_are() {
        let texts = StringArray::from_iter((0..10_000).map(|row| (row != 7).then(|| format!("customer {}", row / 2))));
        let builder = TableBuilder::new(&[("id".to_owned(), DataType::Utf8)], 10 << 20).unwrap().as_key(0).expecting(10_000);
        builder.put(0, &(Arc::new(texts) as ArrayRef)).unwrap();
        let (table, left_out) = builder.finish().unwrap();
        let column = &table.columns[0];
        assert!(left_out.is_empty() && column.is_missing(7) && !column.is_missing(6));
        assert!(column.key(0) == column.key(1) && column.key(1) != column.key(2) && column.key(9998) == column.key(9999));
        let small = TableBuilder::new(&[("id".to_owned(), DataType::Utf8)], 100_000).unwrap().as_key(0);
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..5_000).map(|row| format!("customer {row}"))));
        assert!(matches!(small.put(0, &texts), Err(EngineError::Budget { .. })), "texts count too");
    }

    #[test]
    fn a_table_past_its_budget_is_refused_while_it_grows() {
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
        let error = build(&[("a", Arc::clone(&numbers)), ("b", numbers)], 10_000).unwrap_err();
        assert!(matches!(error, EngineError::Budget { needed_bytes: 12_000, budget_bytes: 10_000, .. }), "{error:?}");
    }
}
