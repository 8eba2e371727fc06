//! Columns of a run's own Parquet tables, by name.
//!
//! Columns may be added to a table at any time, so unknown ones are passed over. A column that the report can do
//! without is empty where the table has none; the others are asked for by `require`.

use std::io;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::JobError;
use crate::outputs;
use crate::read_back::OwnTable;

/// Rows read at a time: a table of pairs may have millions.
const BATCH_ROWS: usize = 8192;

/// Why a table could not be taken in.
#[derive(Debug)]
pub(super) enum TableError {
    /// The system would not let it be read: another time it may.
    System(PathBuf, io::Error),
    /// It is not what a run writes; the message names the file.
    Content(String),
}

impl TableError {
    /// Returns the error as one of the step that the table belongs to.
    pub(super) fn of_step(self, step: &str) -> JobError {
        match self {
            Self::System(path, error) => JobError::ReadBack { path, error },
            Self::Content(message) => JobError::Data { step: step.to_owned(), message },
        }
    }
}

/// Takes each batch of a table in order; returns `false` where there is no such file.
///
/// # Errors
/// When the file cannot be opened or decoded, or `take` refuses a batch.
pub(super) fn each_batch(path: &Path, take: impl FnMut(&Batch<'_>) -> Result<(), String>) -> Result<bool, TableError> {
    read(path, None, take)
}

/// The same of one column alone, where a table has as many as someone's input.
///
/// # Errors
/// As [`each_batch`].
pub(super) fn each_batch_of(path: &Path, column: &str, take: impl FnMut(&Batch<'_>) -> Result<(), String>) -> Result<bool, TableError> {
    read(path, Some(column), take)
}

fn read(path: &Path, column: Option<&str>, mut take: impl FnMut(&Batch<'_>) -> Result<(), String>) -> Result<bool, TableError> {
    let file = match OwnTable::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(TableError::System(path.to_owned(), error)),
    };
    let broken = |error: &dyn std::fmt::Display| TableError::Content(format!("cannot read {}: {error}", path.display()));
    let refused = file.refused();
    let failed = |error: &dyn std::fmt::Display| match refused.take() {
        Some(error) => TableError::System(path.to_owned(), error),
        None => broken(error),
    };
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&outputs::into_io(error)))?;
    if let Some(column) = column {
        let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
        builder = builder.with_projection(mask);
    }
    for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(|error| failed(&outputs::into_io(error)))? {
        let batch = batch.map_err(|error| failed(&error))?;
        take(&Batch { batch: &batch }).map_err(|error| broken(&error))?;
    }
    Ok(true)
}

/// One batch of a table.
pub(super) struct Batch<'a> {
    batch: &'a RecordBatch,
}

impl Batch<'_> {
    /// Returns the number of rows.
    pub(super) fn n_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Says what is missing when the table lacks one of these columns.
    pub(super) fn require(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.batch.column_by_name(name).is_none()) {
            Some(name) => Err(format!("there is no column `{name}`")),
            None => Ok(()),
        }
    }

    /// Returns a column of text.
    pub(super) fn text(&self, name: &str) -> Text {
        Text(self.column(name, &DataType::Utf8).and_then(|array| array.as_any().downcast_ref::<StringArray>().cloned()))
    }

    /// Returns the first column that is none of these, as text.
    pub(super) fn text_beside(&self, names: &[&str]) -> Text {
        let schema = self.batch.schema();
        let other = schema.fields().iter().find(|field| !names.contains(&field.name().as_str()));
        other.map_or(Text(None), |field| self.text(field.name()))
    }

    /// Returns a column of numbers.
    pub(super) fn number(&self, name: &str) -> Number {
        Number(self.column(name, &DataType::Float64).and_then(|array| array.as_any().downcast_ref::<Float64Array>().cloned()))
    }

    /// Returns a column of counts.
    pub(super) fn count(&self, name: &str) -> Count {
        Count(self.column(name, &DataType::UInt64).and_then(|array| array.as_any().downcast_ref::<UInt64Array>().cloned()))
    }

    /// Returns a column of whole numbers.
    pub(super) fn integer(&self, name: &str) -> Integer {
        Integer(self.column(name, &DataType::Int64).and_then(|array| array.as_any().downcast_ref::<Int64Array>().cloned()))
    }

    /// Returns a column of flags.
    pub(super) fn flag(&self, name: &str) -> Flag {
        Flag(self.column(name, &DataType::Boolean).and_then(|array| array.as_any().downcast_ref::<BooleanArray>().cloned()))
    }

    /// Returns a column in the type asked for; none where it is absent or of another sort.
    fn column(&self, name: &str, wanted: &DataType) -> Option<ArrayRef> {
        cast(self.batch.column_by_name(name)?, wanted).ok()
    }
}

/// A column of text, perhaps absent.
pub(super) struct Text(Option<StringArray>);

impl Text {
    /// Returns the text of a row.
    pub(super) fn at(&self, row: usize) -> Option<&str> {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row))
    }

    /// Returns the text of a row, owned, empty where there is none.
    pub(super) fn owned(&self, row: usize) -> String {
        self.at(row).unwrap_or_default().to_owned()
    }
}

/// A column of numbers, perhaps absent.
pub(super) struct Number(Option<Float64Array>);

impl Number {
    /// Returns the number of a row; NaN is missing.
    pub(super) fn at(&self, row: usize) -> Option<f64> {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row)).filter(|v| !v.is_nan())
    }
}

/// A column of counts, perhaps absent.
pub(super) struct Count(Option<UInt64Array>);

impl Count {
    /// Returns the count of a row.
    pub(super) fn at(&self, row: usize) -> Option<u64> {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row))
    }
}

/// A column of whole numbers, perhaps absent.
pub(super) struct Integer(Option<Int64Array>);

impl Integer {
    /// Returns the number of a row.
    pub(super) fn at(&self, row: usize) -> Option<i64> {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row))
    }
}

/// A column of flags, perhaps absent.
pub(super) struct Flag(Option<BooleanArray>);

impl Flag {
    /// Returns the flag of a row.
    pub(super) fn at(&self, row: usize) -> Option<bool> {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row))
    }
}
