//! Cells written as text become typed columns; what CSV and JSON lines share.
//!
//! Types    Boolean, Int64, Float64, Date32, Timestamp in microseconds, Utf8; any other is left to arrow's cast.
//! Nulls    cells that were found missing before; spaces round numbers and dates are passed over.
//! Strict   a cell that is not of the type is an error. Nothing is rounded, cut off or turned into null.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondBuilder;
use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, NullArray, StringBuilder};
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{DataType, Date32Type, TimeUnit};

/// A cell that is not of its column's type: its place among the cells, and what it was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongCell {
    pub(crate) row: usize,
    pub(crate) expected: &'static str,
}

/// The type in which a column of text is read: the one wanted, or Utf8 for arrow to cast.
pub(crate) fn readable(wanted: &DataType) -> DataType {
    match wanted {
        DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::Date32 | DataType::Null => wanted.clone(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => wanted.clone(),
        _ => DataType::Utf8,
    }
}

/// Reads `n` cells as a type that [`readable`] gave; `cell` returns nothing for a missing one.
pub(crate) fn column<'a>(n: usize, data_type: &DataType, cell: impl Fn(usize) -> Option<&'a [u8]>) -> Result<ArrayRef, WrongCell> {
    macro_rules! parsed {
        ($builder:ty, $parse:expr, $expected:expr) => {{
            let mut builder = <$builder>::with_capacity(n);
            for row in 0..n {
                match cell(row) {
                    None => builder.append_null(),
                    Some(bytes) => {
                        let value = text(bytes).and_then($parse).ok_or(WrongCell { row, expected: $expected })?;
                        builder.append_value(value);
                    }
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match data_type {
        DataType::Boolean => parsed!(BooleanBuilder, boolean, "true or false"),
        DataType::Int64 => parsed!(Int64Builder, whole, "a whole number of 64 bits"),
        DataType::Float64 => parsed!(Float64Builder, number, "a number"),
        DataType::Date32 => parsed!(Date32Builder, date, "a date such as 2024-01-31"),
        DataType::Timestamp(..) => {
            parsed!(TimestampMicrosecondBuilder, timestamp, "a timestamp such as 2024-01-31 10:20:30")
        }
        DataType::Null => match (0..n).find(|row| cell(*row).is_some()) {
            Some(row) => Err(WrongCell { row, expected: "empty" }),
            None => Ok(Arc::new(NullArray::new(n))),
        },
        _ => texts(n, cell),
    }
}

fn texts<'a>(n: usize, cell: impl Fn(usize) -> Option<&'a [u8]>) -> Result<ArrayRef, WrongCell> {
    let bytes = (0..n).filter_map(&cell).map(<[u8]>::len).sum();
    let mut builder = StringBuilder::with_capacity(n, bytes);
    for row in 0..n {
        match cell(row) {
            None => builder.append_null(),
            Some(bytes) => {
                builder.append_value(std::str::from_utf8(bytes).map_err(|_| WrongCell { row, expected: "UTF-8" })?);
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.trim_ascii()).ok()
}

/// Reads `true` or `false` in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Reads a whole number that fits 64 bits.
pub(crate) fn whole(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Whether a whole number lies where every whole number is a float.
pub(crate) const fn is_exact(whole: i64) -> bool {
    whole.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS
}

/// Reads a number; `nan`, `inf` and `infinity` in any case are numbers too.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Reads a day, year first.
pub(crate) fn date(text: &str) -> Option<i32> {
    if text.len() != 10 { None } else { Date32Type::parse(text) }
}

/// Reads a day with or without a time, in microseconds since 1970; a zone is turned into UTC.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let utc: Tz = "+00:00".parse().ok()?;
    string_to_datetime(&utc, text).ok().map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int64Type};

    fn read(cells: &[Option<&str>], data_type: &DataType) -> Result<ArrayRef, WrongCell> {
        column(cells.len(), data_type, |row| cells[row].map(str::as_bytes))
    }

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        let array = read(&[Some("1"), None, Some(" -7 ")], &DataType::Int64).unwrap();
        let values: Vec<_> = array.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [Some(1), None, Some(-7)]);
        assert_eq!(read(&[Some("1"), Some("2.5")], &DataType::Int64).unwrap_err().row, 1);
        assert_eq!(read(&[Some("9223372036854775808")], &DataType::Int64).unwrap_err().row, 0);
    }

    #[test]
    fn floats_may_be_nan_and_infinite() {
        let array = read(&[Some("NaN"), Some("-inf"), Some("1e3")], &DataType::Float64).unwrap();
        let values = array.as_primitive::<Float64Type>().values().to_vec();
        assert!(values[0].is_nan() && values[1].is_infinite() && values[2].to_bits() == 1000f64.to_bits());
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(timestamp("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(timestamp("1970-01-01 00:00:00.000001"), Some(1));
        assert_eq!(timestamp("9999-12-31 00:00:00"), Some(253_402_214_400_000_000));
        assert_eq!(timestamp("yesterday"), None);
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1970-13-02"), None);
    }

    #[test]
    fn a_column_without_values_stays_empty() {
        assert_eq!(read(&[None, None], &DataType::Null).unwrap().len(), 2);
        assert!(read(&[None, Some("x")], &DataType::Null).is_err());
    }
}
