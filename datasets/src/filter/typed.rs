//! From the tree to a plan: every column found in a schema, every pair of sides brought to one type.

use arrow::datatypes::{DataType, Schema};

use super::error::nearest;
use super::evaluate::Set;
use super::{Arithmetic, At, Comparison, Expr, FilterError, FilterProblem, Literal, instant};

/// The few types that a filter computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The literal `null`, or a column that holds nothing else.
    Null,
    /// True or false.
    Boolean,
    /// Whole numbers of 64 bits.
    Integer,
    /// Whole numbers of 128 bits: unsigned 64-bit columns and longer literals.
    Wide,
    /// 64-bit floats; `single` says that the values are 32-bit (or 16-bit) ones of a column.
    Float { single: bool },
    /// UTF-8.
    Text,
    /// Dates and timestamps, as 128-bit nanoseconds since 1970 in UTC.
    Instant,
    /// Everything else, which only `is null` takes.
    Other,
}

/// A part of the plan, ready to run on batches of the schema it was made for.
#[derive(Debug)]
pub(super) enum Node {
    /// The column at this position of the schema, in its own type.
    Column {
        index: usize,
        kind: Kind,
    },
    /// A value; an instant is a wide integer here.
    Constant(Literal, Kind),
    /// The same values in another type.
    Convert {
        operand: Box<Self>,
        from: Kind,
        to: Kind,
    },
    /// Arithmetic on floats, left to right.
    Chain {
        first: Box<Self>,
        rest: Vec<(Arithmetic, Self)>,
    },
    /// Both sides of one type.
    Compare {
        comparison: Comparison,
        left: Box<Self>,
        right: Box<Self>,
    },
    /// Whether a value is among the literals; with `or_null` a value that is not among them is unknown.
    In {
        operand: Box<Self>,
        set: Set,
        or_null: bool,
    },
    /// A text against a pattern.
    Like {
        operand: Box<Self>,
        pattern: String,
    },
    IsNull(Box<Self>),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// A node with what messages and coercions need to know about it.
struct Typed {
    node: Node,
    kind: Kind,
    at: At,
    /// What it is, in words, such as "column `age` (Int64)".
    name: String,
}

/// A plan and the place of the whole condition, which errors of kernels point at.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) condition: Node,
    pub(super) at: At,
}

/// Plans a condition for a schema.
pub(super) fn plan(condition: &Expr, schema: &Schema) -> Result<Plan, FilterError> {
    let condition = as_condition(typed(condition, schema)?)?;
    Ok(Plan { at: condition.at, condition: condition.node })
}

fn typed(expr: &Expr, schema: &Schema) -> Result<Typed, FilterError> {
    match expr {
        Expr::Column { name, double_quoted, at } => column(name, *double_quoted, at, schema),
        Expr::Literal { value, at } => Ok(literal(value, at)),
        Expr::Negate { operand, at } => negate(number(typed(operand, schema)?, "-")?, at),
        Expr::Chain { first, rest, at } => chain(first, rest, at, schema),
        Expr::Compare { comparison, left, right, at } => compare(*comparison, typed(left, schema)?, typed(right, schema)?, at),
        Expr::Between { operand, low, high, at } => {
            let above = compare(Comparison::GreaterEqual, typed(operand, schema)?, typed(low, schema)?, at)?;
            let below = compare(Comparison::LessEqual, typed(operand, schema)?, typed(high, schema)?, at)?;
            Ok(condition(Node::All(vec![above.node, below.node]), at))
        }
        Expr::In { operand, items, at } => in_list(typed(operand, schema)?, items, at),
        Expr::Like { operand, pattern, at } => like(typed(operand, schema)?, pattern, at),
        Expr::IsNull { operand, at } => Ok(condition(Node::IsNull(Box::new(typed(operand, schema)?.node)), at)),
        Expr::Not { operand, at } => {
            let operand = as_condition(typed(operand, schema)?)?;
            Ok(condition(Node::Not(Box::new(operand.node)), at))
        }
        Expr::All { conditions, at } => Ok(condition(Node::All(as_conditions(conditions, schema)?), at)),
        Expr::Any { conditions, at } => Ok(condition(Node::Any(as_conditions(conditions, schema)?), at)),
    }
}

fn column(name: &str, double_quoted: bool, at: &At, schema: &Schema) -> Result<Typed, FilterError> {
    let Ok(index) = schema.index_of(name) else {
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let nearest = nearest(name, &columns);
        let problem = FilterProblem::UnknownColumn { column: name.to_owned(), nearest, columns, double_quoted };
        return Err(FilterError::new(at.clone(), problem));
    };
    let data_type = schema.field(index).data_type();
    let kind = kind_of(data_type);
    let name = format!("column `{name}` ({}{data_type})", kind.in_words());
    Ok(Typed { node: Node::Column { index, kind }, kind, at: at.clone(), name })
}

fn kind_of(data_type: &DataType) -> Kind {
    use DataType::{
        Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, Float16, Float32, Float64, Int8, Int16, Int32,
        Int64, LargeUtf8, Null, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    match data_type {
        Null => Kind::Null,
        Boolean => Kind::Boolean,
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => Kind::Integer,
        UInt64 => Kind::Wide,
        Float16 | Float32 => Kind::Float { single: true },
        Float64 | Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => Kind::Float { single: false },
        Utf8 | LargeUtf8 | Utf8View => Kind::Text,
        Date32 | Date64 | Timestamp(..) => Kind::Instant,
        Dictionary(_, values) => kind_of(values),
        _ => Kind::Other,
    }
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Self::Null => "nothing but nulls, ",
            Self::Boolean => "true or false, ",
            Self::Integer | Self::Wide | Self::Float { .. } => "a number, ",
            Self::Text => "a text, ",
            Self::Instant => "a date or time, ",
            Self::Other => "",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Null | Self::Integer | Self::Wide | Self::Float { .. })
    }
}

fn literal(value: &Literal, at: &At) -> Typed {
    let (kind, name) = match value {
        Literal::Null => (Kind::Null, "`null`".to_owned()),
        Literal::Boolean(value) => (Kind::Boolean, format!("`{value}`")),
        Literal::Integer(value) if i64::try_from(*value).is_ok() => (Kind::Integer, format!("the number {value}")),
        Literal::Integer(value) if fits_wide(*value) => (Kind::Wide, format!("the number {value}")),
        Literal::Integer(value) => (Kind::Float { single: false }, format!("the number {value}")),
        Literal::Float(value) => (Kind::Float { single: false }, format!("the number {value}")),
        Literal::Text(text) => (Kind::Text, format!("the text '{text}'")),
        Literal::Instant(_) => (Kind::Instant, "a date".to_owned()),
    };
    Typed { node: Node::Constant(value.clone(), kind), kind, at: at.clone(), name }
}

/// Tells whether the number has at most the 38 digits of arrow's 128-bit decimals.
fn fits_wide(value: i128) -> bool {
    value.unsigned_abs() < 10_u128.pow(38)
}

fn condition(node: Node, at: &At) -> Typed {
    Typed { node, kind: Kind::Boolean, at: at.clone(), name: "a condition".to_owned() }
}

fn as_conditions(conditions: &[Expr], schema: &Schema) -> Result<Vec<Node>, FilterError> {
    conditions.iter().map(|part| Ok(as_condition(typed(part, schema)?)?.node)).collect()
}

fn as_condition(part: Typed) -> Result<Typed, FilterError> {
    match part.kind {
        Kind::Boolean => Ok(part),
        Kind::Null => Ok(converted(part, Kind::Boolean)),
        _ => {
            let help = "compare it with something, as in `visits > 10`";
            Err(FilterError::wrong_type(part.at, format!("{} is no condition", part.name), Some(help.to_owned())))
        }
    }
}

fn converted(part: Typed, to: Kind) -> Typed {
    if part.kind == to {
        return part;
    }
    let Typed { node, kind, at, name } = part;
    Typed { node: Node::Convert { operand: Box::new(node), from: kind, to }, kind: to, at, name }
}

fn number(part: Typed, sign: &str) -> Result<Node, FilterError> {
    if part.kind.is_number() {
        return Ok(converted(part, Kind::Float { single: false }).node);
    }
    let help = matches!(part.node, Node::Constant(Literal::Text(_), _)).then(|| "write a number without quotes".to_owned());
    Err(FilterError::wrong_type(part.at, format!("`{sign}` takes numbers, {} is none", part.name), help))
}

fn negate(operand: Node, at: &At) -> Result<Typed, FilterError> {
    let zero = Node::Constant(Literal::Float(0.0), Kind::Float { single: false });
    let node = Node::Chain { first: Box::new(zero), rest: vec![(Arithmetic::Subtract, operand)] };
    Ok(computed(node, at))
}

fn chain(first: &Expr, rest: &[(Arithmetic, Expr)], at: &At, schema: &Schema) -> Result<Typed, FilterError> {
    let sign = rest.first().map_or("+", |(operation, _)| operation.sign());
    let first = Box::new(number(typed(first, schema)?, sign)?);
    let rest = rest.iter().map(|(operation, term)| Ok((*operation, number(typed(term, schema)?, operation.sign())?)));
    Ok(computed(Node::Chain { first, rest: rest.collect::<Result<_, _>>()? }, at))
}

fn computed(node: Node, at: &At) -> Typed {
    Typed { node, kind: Kind::Float { single: false }, at: at.clone(), name: "a computed number".to_owned() }
}

impl Arithmetic {
    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}

fn compare(comparison: Comparison, left: Typed, right: Typed, at: &At) -> Result<Typed, FilterError> {
    let (left, right) = coerced(left, right, at)?;
    let orders = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if orders && left.kind == Kind::Boolean {
        let help = Some("use `=` or `<>`".to_owned());
        return Err(FilterError::wrong_type(at.clone(), format!("{} has no order", left.name), help));
    }
    Ok(condition(Node::Compare { comparison, left: Box::new(left.node), right: Box::new(right.node) }, at))
}

/// Brings two sides to one type.
fn coerced(left: Typed, right: Typed, at: &At) -> Result<(Typed, Typed), FilterError> {
    let left = fitted(left, right.kind)?;
    let right = fitted(right, left.kind)?;
    let common = match (left.kind, right.kind) {
        (Kind::Other, _) | (_, Kind::Other) => None,
        (Kind::Null, kind) | (kind, Kind::Null) => Some(if kind == Kind::Null { Kind::Boolean } else { kind }),
        (Kind::Integer, Kind::Integer) => Some(Kind::Integer),
        (Kind::Integer | Kind::Wide, Kind::Integer | Kind::Wide) => Some(Kind::Wide),
        (left, right) if left.is_number() && right.is_number() => Some(Kind::Float { single: false }),
        (left, right) => (left == right).then_some(left),
    };
    match common {
        Some(kind) => Ok((converted(left, kind), converted(right, kind))),
        None => Err(mismatch(&left, &right, at)),
    }
}

/// Reads a literal as the other side wants it: a text as an instant, a decimal as a 32-bit float.
fn fitted(part: Typed, other: Kind) -> Result<Typed, FilterError> {
    let Node::Constant(value, _) = &part.node else { return Ok(part) };
    let Some(value) = fitted_literal(value, other, &part.at)? else { return Ok(part) };
    let name = part.name;
    Ok(Typed { name, ..literal(&value, &part.at) })
}

fn fitted_literal(value: &Literal, other: Kind, at: &At) -> Result<Option<Literal>, FilterError> {
    Ok(match (value, other) {
        (Literal::Text(text), Kind::Instant) => Some(Literal::Instant(instant::parse(text, at)?)),
        (Literal::Float(value), Kind::Float { single: true }) => to_single(*value).map(Literal::Float),
        _ => None,
    })
}

/// Returns the 32-bit neighbour of a decimal, unless it is too large for one.
#[allow(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what is asked for")]
fn to_single(value: f64) -> Option<f64> {
    let single = value as f32;
    single.is_finite().then_some(f64::from(single))
}

fn mismatch(left: &Typed, right: &Typed, at: &At) -> FilterError {
    let message = format!("{} does not compare with {}", left.name, right.name);
    let help = match (left.kind, &right.node) {
        (Kind::Boolean, _) => Some("compare with true or false".to_owned()),
        (Kind::Text, Node::Constant(Literal::Integer(value), _)) => Some(format!("write '{value}'")),
        (Kind::Text, Node::Constant(Literal::Float(value), _)) => Some(format!("write '{value}'")),
        (kind, Node::Constant(Literal::Text(_), _)) if kind.is_number() => Some("write a number without quotes".to_owned()),
        (Kind::Instant, _) => Some("write '2024-05-31' or '2024-05-31 17:30:00'".to_owned()),
        (Kind::Other, _) => Some("a column of that type can only be tested with `is null`".to_owned()),
        _ => None,
    };
    FilterError::wrong_type(at.clone(), message, help)
}

fn like(operand: Typed, pattern: &str, at: &At) -> Result<Typed, FilterError> {
    if !matches!(operand.kind, Kind::Text | Kind::Null) {
        let message = format!("`like` takes texts, {} is none", operand.name);
        return Err(FilterError::wrong_type(operand.at, message, None));
    }
    let operand = Box::new(converted(operand, Kind::Text).node);
    Ok(condition(Node::Like { operand, pattern: pattern.to_owned() }, at))
}

fn in_list(operand: Typed, items: &[(Literal, At)], at: &At) -> Result<Typed, FilterError> {
    let mut kind = operand.kind;
    let mut values = Vec::with_capacity(items.len());
    for (value, item_at) in items {
        let value = fitted_literal(value, operand.kind, item_at)?.unwrap_or_else(|| value.clone());
        let item = literal(&value, item_at);
        let probe = Typed { node: Node::Constant(Literal::Null, kind), kind, at: operand.at.clone(), name: operand.name.clone() };
        kind = coerced(probe, item, item_at)?.0.kind;
        values.push(value);
    }
    let or_null = values.contains(&Literal::Null);
    let set = Set::of(values, kind);
    let operand = Box::new(converted(operand, kind).node);
    Ok(condition(Node::In { operand, set, or_null }, at))
}
