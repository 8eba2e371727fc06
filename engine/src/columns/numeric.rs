//! Arrow numbers, booleans, decimals, dates and timestamps to f64.
//!
//! Units    dates and timestamps become seconds since 1970, durations and times seconds, booleans 0 and 1; decimals and
//!          64-bit integers are rounded to the nearest f64.
//! Nulls    become NaN here, and "missing" in the block.
//! Absent   text, lists, structs, maps, binary, intervals of months: they have no place on a number line.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, PrimitiveArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

/// What a number of a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As it stands.
    Number,
    /// 0 or 1.
    Boolean,
    /// Seconds since 1970-01-01.
    Instant,
    /// Seconds.
    Seconds,
}

/// Returns what the numbers of a type mean; none for a type that is no number.
#[must_use]
pub fn unit(data_type: &DataType) -> Option<Unit> {
    match data_type {
        DataType::Boolean => Some(Unit::Boolean),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(Unit::Instant),
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => Some(Unit::Seconds),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => Some(Unit::Number),
        other if other.is_numeric() => Some(Unit::Number),
        _ => None,
    }
}

/// Returns a type in plain words, for people who do not know Arrow.
#[must_use]
pub fn type_words(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Dictionary(_, values) if type_words(values) == "text" => "text (dictionary)".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "binary".to_owned(),
        DataType::Struct(_) => "a struct".to_owned(),
        DataType::Map(..) => "a map".to_owned(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::ListView(_) => "a list".to_owned(),
        DataType::Null => "empty (null)".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(digits, scale) => format!("decimal({digits}, {scale})"),
        other => other.to_string().to_lowercase(),
    }
}

/// Appends the cells of `array` as f64, missing ones as NaN.
///
/// Returns false for a type that is no number; `out` is then as it was.
pub(crate) fn append(array: &ArrayRef, out: &mut Vec<f64>) -> bool {
    match array.data_type() {
        DataType::Float64 => floats(array.as_primitive::<Float64Type>(), out, |x| x),
        DataType::Float32 => floats(array.as_primitive::<Float32Type>(), out, f64::from),
        DataType::Float16 => floats(array.as_primitive::<Float16Type>(), out, f64::from),
        DataType::Int8 => floats(array.as_primitive::<Int8Type>(), out, f64::from),
        DataType::Int16 => floats(array.as_primitive::<Int16Type>(), out, f64::from),
        DataType::Int32 => floats(array.as_primitive::<Int32Type>(), out, f64::from),
        DataType::UInt8 => floats(array.as_primitive::<UInt8Type>(), out, f64::from),
        DataType::UInt16 => floats(array.as_primitive::<UInt16Type>(), out, f64::from),
        DataType::UInt32 => floats(array.as_primitive::<UInt32Type>(), out, f64::from),
        DataType::Int64 => floats(array.as_primitive::<Int64Type>(), out, rounded),
        DataType::UInt64 => floats(array.as_primitive::<UInt64Type>(), out, rounded_unsigned),
        DataType::Boolean => booleans(array.as_boolean(), out),
        DataType::Decimal32(_, scale) => decimals32(array.as_primitive(), *scale, out),
        DataType::Decimal64(_, scale) => decimals64(array.as_primitive(), *scale, out),
        DataType::Decimal128(_, scale) => decimals128(array.as_primitive(), *scale, out),
        DataType::Decimal256(_, scale) => decimals256(array.as_primitive(), *scale, out),
        _ => return instants(array, out),
    }
    true
}

fn instants(array: &ArrayRef, out: &mut Vec<f64>) -> bool {
    const DAY: f64 = 86_400.0;
    match array.data_type() {
        DataType::Date32 => floats(array.as_primitive::<Date32Type>(), out, |x| f64::from(x) * DAY),
        DataType::Date64 => floats(array.as_primitive::<Date64Type>(), out, |x| rounded(x) / 1e3),
        DataType::Timestamp(TimeUnit::Second, _) => floats(array.as_primitive::<TimestampSecondType>(), out, rounded),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            floats(array.as_primitive::<TimestampMillisecondType>(), out, |x| rounded(x) / 1e3);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            floats(array.as_primitive::<TimestampMicrosecondType>(), out, |x| rounded(x) / 1e6);
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => floats(array.as_primitive::<TimestampNanosecondType>(), out, |x| rounded(x) / 1e9),
        DataType::Time32(TimeUnit::Second) => floats(array.as_primitive::<Time32SecondType>(), out, f64::from),
        DataType::Time32(_) => floats(array.as_primitive::<Time32MillisecondType>(), out, |x| f64::from(x) / 1e3),
        DataType::Time64(TimeUnit::Nanosecond) => floats(array.as_primitive::<Time64NanosecondType>(), out, |x| rounded(x) / 1e9),
        DataType::Time64(_) => floats(array.as_primitive::<Time64MicrosecondType>(), out, |x| rounded(x) / 1e6),
        DataType::Duration(TimeUnit::Second) => floats(array.as_primitive::<DurationSecondType>(), out, rounded),
        DataType::Duration(TimeUnit::Millisecond) => floats(array.as_primitive::<DurationMillisecondType>(), out, |x| rounded(x) / 1e3),
        DataType::Duration(TimeUnit::Microsecond) => floats(array.as_primitive::<DurationMicrosecondType>(), out, |x| rounded(x) / 1e6),
        DataType::Duration(TimeUnit::Nanosecond) => floats(array.as_primitive::<DurationNanosecondType>(), out, |x| rounded(x) / 1e9),
        _ => return false,
    }
    true
}

#[allow(clippy::cast_precision_loss, reason = "whole numbers past 2^53 are rounded to the nearest f64, as documented")]
const fn rounded(x: i64) -> f64 {
    x as f64
}

#[allow(clippy::cast_precision_loss, reason = "whole numbers past 2^53 are rounded to the nearest f64, as documented")]
const fn rounded_unsigned(x: u64) -> f64 {
    x as f64
}

#[allow(clippy::cast_precision_loss, reason = "decimals past 2^53 are rounded to the nearest f64, as documented")]
const fn rounded_wide(x: i128) -> f64 {
    x as f64
}

fn floats<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, out: &mut Vec<f64>, number: impl Fn(T::Native) -> f64) {
    let start = out.len();
    out.extend(array.values().iter().map(|&x| number(x)));
    blank(array, &mut out[start..]);
}

fn booleans(array: &BooleanArray, out: &mut Vec<f64>) {
    let start = out.len();
    out.extend((0..array.len()).map(|row| f64::from(u8::from(array.value(row)))));
    blank(array, &mut out[start..]);
}

/// Writes NaN where the array is null.
fn blank(array: &dyn Array, cells: &mut [f64]) {
    if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
        for row in (!nulls.inner()).set_indices() {
            cells[row] = f64::NAN;
        }
    }
}

/// Dividing by an exact power of ten rounds once; multiplying by its inverse would round twice.
fn scaled(digits: f64, scale: i8) -> f64 {
    if scale >= 0 { digits / libm::exp10(f64::from(scale)) } else { digits * libm::exp10(f64::from(-scale)) }
}

fn decimals32(array: &Decimal32Array, scale: i8, out: &mut Vec<f64>) {
    floats(array, out, |x| scaled(f64::from(x), scale));
}

fn decimals64(array: &Decimal64Array, scale: i8, out: &mut Vec<f64>) {
    floats(array, out, |x| scaled(rounded(x), scale));
}

fn decimals128(array: &Decimal128Array, scale: i8, out: &mut Vec<f64>) {
    floats(array, out, |x| scaled(rounded_wide(x), scale));
}

fn decimals256(array: &Decimal256Array, scale: i8, out: &mut Vec<f64>) {
    floats(array, out, |x| {
        let number = x.to_i128().map_or_else(|| x.to_string().parse().unwrap_or(f64::NAN), rounded_wide);
        scaled(number, scale)
    });
}
