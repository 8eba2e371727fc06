//! Runs a plan on a batch, node by node, with arrow's kernels.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Datum, Decimal128Array, Float64Array, Int64Array, NullArray, StringArray, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::boolean::{and_kleene, is_null, not, or_kleene};
use arrow::compute::kernels::cast::cast;
use arrow::compute::kernels::cmp::{eq, gt, gt_eq, lt, lt_eq, neq};
use arrow::compute::kernels::nullif::nullif;
use arrow::compute::kernels::numeric::{add_wrapping, div, mul_wrapping, sub_wrapping};
use arrow::compute::like;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::instant::{NANOS_A_DAY, nanos_a_tick};
use super::typed::{Kind, Node, Plan};
use super::{Arithmetic, Comparison, FilterError, Literal};

/// Returns the rows of a batch for which the plan is true.
pub(super) fn rows_kept(plan: &Plan, batch: &RecordBatch) -> Result<BooleanArray, FilterError> {
    let truth = truth(&plan.condition, batch).map_err(|error| FilterError::compute(plan.at.clone(), &error))?;
    let kept = match truth.nulls() {
        Some(valid) => truth.values() & valid.inner(),
        None => truth.values().clone(),
    };
    Ok(BooleanArray::new(kept, None))
}

/// The cells of a node: one a row, or one for all rows.
struct Value {
    array: ArrayRef,
    scalar: bool,
}

impl Datum for Value {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

fn value(node: &Node, batch: &RecordBatch) -> Result<Value, ArrowError> {
    let (array, scalar) = match node {
        Node::Column { index, kind } => (loaded(batch.column(*index), *kind)?, false),
        Node::Constant(literal, kind) => (constant(literal, *kind), true),
        Node::Convert { operand, from, to } => {
            let operand = value(operand, batch)?;
            (converted(&operand.array, *from, *to)?, operand.scalar)
        }
        Node::Chain { first, rest } => return chain(first, rest, batch),
        _ => (Arc::new(truth(node, batch)?) as ArrayRef, false),
    };
    Ok(Value { array, scalar })
}

/// Evaluates a condition to one value a row.
fn truth(node: &Node, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    match node {
        Node::Compare { comparison, left, right } => {
            let (left, right) = (value(left, batch)?, value(right, batch)?);
            let constant = left.scalar && right.scalar;
            let truth = compare(*comparison, left, right)?;
            Ok(if constant { spread(&truth, batch.num_rows()) } else { truth })
        }
        Node::In { operand, set, or_null } => {
            let operand = value(operand, batch)?;
            let found = set.contains(&operand.array);
            let found = if *or_null { nullif(&found, &not(&found)?)?.as_boolean().clone() } else { found };
            Ok(if operand.scalar { spread(&found, batch.num_rows()) } else { found })
        }
        Node::Like { operand, pattern } => {
            let operand = value(operand, batch)?;
            let found = matches(&operand, pattern)?;
            Ok(if operand.scalar { spread(&found, batch.num_rows()) } else { found })
        }
        Node::IsNull(operand) => {
            let operand = value(operand, batch)?;
            let missing = is_missing(&operand.array)?;
            Ok(if operand.scalar { spread(&missing, batch.num_rows()) } else { missing })
        }
        Node::Not(operand) => not(&truth(operand, batch)?),
        Node::All(conditions) => folded(conditions, batch, and_kleene),
        Node::Any(conditions) => folded(conditions, batch, or_kleene),
        Node::Column { .. } | Node::Constant(..) | Node::Convert { .. } | Node::Chain { .. } => {
            let value = value(node, batch)?;
            let truth = value.array.as_boolean();
            Ok(if value.scalar { spread(truth, batch.num_rows()) } else { truth.clone() })
        }
    }
}

fn folded(
    conditions: &[Node],
    batch: &RecordBatch,
    join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, ArrowError>,
) -> Result<BooleanArray, ArrowError> {
    let mut parts = conditions.iter().map(|condition| truth(condition, batch));
    let first = parts.next().unwrap_or_else(|| Ok(BooleanArray::new_null(batch.num_rows())))?;
    parts.try_fold(first, |so_far, part| join(&so_far, &part?))
}

/// Repeats the one value of a constant for every row.
fn spread(one: &BooleanArray, n_rows: usize) -> BooleanArray {
    if one.is_empty() || one.is_null(0) {
        return BooleanArray::new_null(n_rows);
    }
    let values = if one.value(0) { BooleanBuffer::new_set(n_rows) } else { BooleanBuffer::new_unset(n_rows) };
    BooleanArray::new(values, None)
}

fn compare(comparison: Comparison, left: Value, right: Value) -> Result<BooleanArray, ArrowError> {
    let (left, right) =
        if left.array.data_type() == right.array.data_type() { (left, right) } else { (long_text(left)?, long_text(right)?) };
    match comparison {
        Comparison::Equal => eq(&left, &right),
        Comparison::NotEqual => neq(&left, &right),
        Comparison::Less => lt(&left, &right),
        Comparison::LessEqual => lt_eq(&left, &right),
        Comparison::Greater => gt(&left, &right),
        Comparison::GreaterEqual => gt_eq(&left, &right),
    }
}

/// Brings a text to 64-bit offsets: the one type in which two sides of a comparison may differ after planning.
fn long_text(text: Value) -> Result<Value, ArrowError> {
    Ok(Value { array: cast(&text.array, &DataType::LargeUtf8)?, scalar: text.scalar })
}

fn matches(text: &Value, pattern: &str) -> Result<BooleanArray, ArrowError> {
    let pattern: ArrayRef = Arc::new(StringArray::from(vec![pattern]));
    let pattern = Value { array: cast(&pattern, text.array.data_type())?, scalar: true };
    like(text, &pattern)
}

fn is_missing(array: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    match array.data_type() {
        DataType::Null => Ok(BooleanArray::new(BooleanBuffer::new_set(array.len()), None)),
        _ => is_null(array),
    }
}

fn chain(first: &Node, rest: &[(Arithmetic, Node)], batch: &RecordBatch) -> Result<Value, ArrowError> {
    let mut so_far = value(first, batch)?;
    for (operation, term) in rest {
        let term = value(term, batch)?;
        let scalar = so_far.scalar && term.scalar;
        let array = match operation {
            Arithmetic::Add => add_wrapping(&so_far, &term)?,
            Arithmetic::Subtract => sub_wrapping(&so_far, &term)?,
            Arithmetic::Multiply => mul_wrapping(&so_far, &term)?,
            Arithmetic::Divide => div(&so_far, &Value { array: without_zeros(&term.array), scalar: term.scalar })?,
        };
        so_far = Value { array, scalar };
    }
    Ok(Value { array: cleaned(&so_far.array), scalar: so_far.scalar })
}

fn without_zeros(divisor: &ArrayRef) -> ArrayRef {
    Arc::new(divisor.as_primitive::<Float64Type>().unary_opt::<_, Float64Type>(|value| (value != 0.0).then_some(value)))
}

/// Makes NaN null and -0 zero: arrow compares floats by their total order, in which NaN equals NaN and -0 is below 0.
fn cleaned(floats: &ArrayRef) -> ArrayRef {
    let floats = floats.as_primitive::<Float64Type>();
    let odd = |value: &f64| value.is_nan() || (*value == 0.0 && value.is_sign_negative());
    if !floats.values().iter().any(odd) {
        return Arc::new(floats.clone());
    }
    Arc::new(floats.unary_opt::<_, Float64Type>(|value| (!value.is_nan()).then_some(value + 0.0)))
}

fn loaded(column: &ArrayRef, kind: Kind) -> Result<ArrayRef, ArrowError> {
    let column = match column.data_type() {
        DataType::Dictionary(_, values) if kind != Kind::Other => &cast(column, values)?,
        _ => column,
    };
    Ok(match kind {
        Kind::Null | Kind::Boolean | Kind::Other => Arc::clone(column),
        Kind::Text if *column.data_type() == DataType::Utf8 => Arc::clone(column),
        Kind::Text => cast(column, &DataType::LargeUtf8)?,
        Kind::Integer => cast(column, &DataType::Int64)?,
        Kind::Wide => wide(column.as_primitive::<UInt64Type>().unary(i128::from)),
        Kind::Float { .. } => cleaned(&cast(column, &DataType::Float64)?),
        Kind::Instant => instants(column)?,
    })
}

fn wide(values: Decimal128Array) -> ArrayRef {
    Arc::new(values.with_data_type(WIDE))
}

const WIDE: DataType = DataType::Decimal128(38, 0);

fn instants(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let nanos: Decimal128Array = match column.data_type() {
        DataType::Date32 => column.as_primitive::<Date32Type>().unary::<_, Decimal128Type>(|days| i128::from(days) * NANOS_A_DAY),
        DataType::Date64 => in_nanos(column.as_primitive::<Date64Type>().values(), column, TimeUnit::Millisecond),
        DataType::Timestamp(unit, _) => {
            let ticks = match unit {
                TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values(),
                TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().values(),
                TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().values(),
                TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().values(),
            };
            in_nanos(ticks, column, *unit)
        }
        other => return Err(ArrowError::CastError(format!("{other} is no date or timestamp"))),
    };
    Ok(wide(nanos))
}

fn in_nanos(ticks: &[i64], column: &ArrayRef, unit: TimeUnit) -> Decimal128Array {
    let nanos = nanos_a_tick(unit);
    Decimal128Array::new(ticks.iter().map(|tick| i128::from(*tick) * nanos).collect(), column.nulls().cloned())
}

#[allow(clippy::cast_precision_loss, reason = "whole numbers beside a float compare as floats, as the module page says")]
fn converted(array: &ArrayRef, from: Kind, to: Kind) -> Result<ArrayRef, ArrowError> {
    Ok(match (from, to) {
        (Kind::Null, _) => new_null_array(&data_type(to), array.len()),
        (Kind::Integer, Kind::Wide) => wide(array.as_primitive::<Int64Type>().unary(i128::from)),
        (Kind::Integer, Kind::Float { .. }) => cast(array, &DataType::Float64)?,
        (Kind::Wide, Kind::Float { .. }) => Arc::new(array.as_primitive::<Decimal128Type>().unary::<_, Float64Type>(|value| value as f64)),
        _ => Arc::clone(array),
    })
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Null | Kind::Other => DataType::Null,
        Kind::Boolean => DataType::Boolean,
        Kind::Integer => DataType::Int64,
        Kind::Wide | Kind::Instant => WIDE,
        Kind::Float { .. } => DataType::Float64,
        Kind::Text => DataType::Utf8,
    }
}

#[allow(clippy::cast_precision_loss, reason = "whole numbers beside a float compare as floats, as the module page says")]
fn constant(literal: &Literal, kind: Kind) -> ArrayRef {
    match (literal, kind) {
        (Literal::Boolean(value), _) => Arc::new(BooleanArray::from(vec![*value])),
        (Literal::Integer(value), Kind::Integer) => Arc::new(Int64Array::from(vec![i64::try_from(*value).ok()])),
        (Literal::Integer(value), Kind::Float { .. }) => Arc::new(Float64Array::from(vec![*value as f64])),
        (Literal::Integer(value) | Literal::Instant(value), _) => wide(Decimal128Array::from(vec![*value])),
        (Literal::Float(value), _) => cleaned(&(Arc::new(Float64Array::from(vec![*value])) as ArrayRef)),
        (Literal::Text(text), _) => Arc::new(StringArray::from(vec![text.as_str()])),
        (Literal::Null, _) => Arc::new(NullArray::new(1)),
    }
}

/// The literals of an `in (...)`, sorted, in the type of its operand.
#[derive(Debug)]
pub(super) enum Set {
    Boolean(Vec<bool>),
    Integer(Vec<i64>),
    Wide(Vec<i128>),
    Float(Vec<f64>),
    Text(Vec<String>),
}

impl Set {
    /// Sorts the literals; nulls among them are left to the caller.
    #[allow(clippy::cast_precision_loss, reason = "whole numbers beside a float compare as floats, as the module page says")]
    pub(super) fn of(literals: Vec<Literal>, kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(sorted(literals, |literal| if let Literal::Text(text) = literal { Some(text) } else { None })),
            Kind::Integer => Self::Integer(sorted(literals, |literal| integer(&literal).and_then(|value| i64::try_from(value).ok()))),
            Kind::Wide | Kind::Instant => Self::Wide(sorted(literals, |literal| integer(&literal))),
            Kind::Float { .. } => {
                let mut floats: Vec<f64> = literals
                    .iter()
                    .filter_map(|literal| match literal {
                        Literal::Float(value) => Some(value + 0.0),
                        Literal::Integer(value) => Some(*value as f64),
                        _ => None,
                    })
                    .collect();
                floats.sort_by(f64::total_cmp);
                Self::Float(floats)
            }
            Kind::Boolean | Kind::Null | Kind::Other => {
                Self::Boolean(sorted(literals, |literal| if let Literal::Boolean(value) = literal { Some(value) } else { None }))
            }
        }
    }

    fn contains(&self, array: &ArrayRef) -> BooleanArray {
        match self {
            Self::Boolean(set) => BooleanArray::from_unary(array.as_boolean(), |value| set.contains(&value)),
            Self::Integer(set) => BooleanArray::from_unary(array.as_primitive::<Int64Type>(), |value| set.binary_search(&value).is_ok()),
            Self::Wide(set) => BooleanArray::from_unary(array.as_primitive::<Decimal128Type>(), |value| set.binary_search(&value).is_ok()),
            Self::Float(set) => BooleanArray::from_unary(array.as_primitive::<Float64Type>(), |value| {
                set.binary_search_by(|item| item.total_cmp(&value)).is_ok()
            }),
            Self::Text(set) => {
                let holds = |value: &str| set.binary_search_by(|item| item.as_str().cmp(value)).is_ok();
                match array.as_string_opt::<i32>() {
                    Some(texts) => BooleanArray::from_unary(texts, holds),
                    None => BooleanArray::from_unary(array.as_string::<i64>(), holds),
                }
            }
        }
    }
}

fn integer(literal: &Literal) -> Option<i128> {
    match literal {
        Literal::Integer(value) | Literal::Instant(value) => Some(*value),
        _ => None,
    }
}

fn sorted<T: Ord>(literals: Vec<Literal>, read: impl FnMut(Literal) -> Option<T>) -> Vec<T> {
    let mut values: Vec<T> = literals.into_iter().filter_map(read).collect();
    values.sort_unstable();
    values
}
