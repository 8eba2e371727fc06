//! The `where` of a source: a closed SQL boolean grammar over one table.
//!
//! ```text
//! condition  = and-term { "or" and-term }            and-term = not-term { "and" not-term }
//! not-term   = { "not" } predicate
//! predicate  = sum [ ("=" | "<>" | "!=" | "<" | "<=" | ">" | ">=") sum
//!                  | "is" ["not"] "null" | ["not"] "in" "(" literal { "," literal } ")"
//!                  | ["not"] "between" sum "and" sum | ["not"] "like" 'text' ]
//! sum        = product { ("+" | "-") product }       product  = unary { ("*" | "/") unary }
//! unary      = { "-" } ( column | literal | "(" condition ")" )
//! column     = name | "name" | `name`                literal  = number | 'text' | true | false | null
//!                                                             | date 'text' | timestamp 'text'
//! ```
//!
//! Keywords ignore case, names do not; a bare name may hold letters, digits, `_` and `.`.
//!
//! Nulls    three-valued logic; rows that are not true are left out. NaN counts as null.
//! Numbers  whole numbers compare exactly; arithmetic is in 64-bit floats, `/` never cuts off decimals and a
//! ```text
//!      division by zero is null. A 32-bit float column is compared with the 32-bit value of a decimal
//!      literal, so that `x = 0.1` finds the cells written as 0.1. Decimals compare as 64-bit floats.
//! ```
//! Time     a text beside a date or timestamp is read as ISO 8601; without a zone it means UTC.
//! Cost     a few arrow kernels a node and batch, `in (...)` is a binary search; text <= 64 kB, depth <= 64.
//! Absent   functions, casts, sub-queries, `ilike`, times of day and intervals: the SQL source has them.

use std::fmt;
use std::ops::Range;

use arrow::array::BooleanArray;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

mod error;
mod evaluate;
mod instant;
mod lex;
mod parse;
mod typed;

pub use error::{FilterError, FilterProblem};

/// Longest text of a filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 64 * 1024;

/// Deepest nesting of parentheses, `not` and `-`.
pub const MAX_FILTER_DEPTH: usize = 64;

/// A parsed `where`: it knows its columns by name, not yet their types.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    text: String,
    condition: Expr,
    columns: Vec<String>,
}

impl Filter {
    /// Parses the text of a `where`.
    ///
    /// # Errors
    /// When the text is not in the grammar; the error holds the place in `text`, what was found and what was expected.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let condition = parse::parse(text)?;
        let mut columns = Vec::new();
        condition.collect_columns(&mut columns);
        Ok(Self { text: text.to_owned(), condition, columns })
    }

    /// Returns the names of the columns it needs, each once, in the order of the text.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks columns and types against a schema.
    ///
    /// # Errors
    /// When a column is not in the schema, two types do not compare, or the text is no condition.
    pub fn check(&self, schema: &Schema) -> Result<(), FilterError> {
        typed::plan(&self.condition, schema).map(|_| ())
    }

    /// Returns one bit a row, set where the condition is true; the array has no nulls.
    ///
    /// # Errors
    /// When the batch does not fit as in [`Filter::check`], or arrow cannot compute a part.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, FilterError> {
        let plan = typed::plan(&self.condition, batch.schema_ref())?;
        evaluate::rows_kept(&plan, batch)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Bytes of the text that an expression came from.
type At = Range<usize>;

/// One of the six comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// One of the four operations on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// A value written in the text.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// Nanoseconds since 1970 in UTC, from `date '...'` or `timestamp '...'`.
    Instant(i128),
}

/// The text as a tree, without types. Chains of `and`, `or` and arithmetic are flat, so that the depth of the tree is
/// bounded by the nesting that the author wrote and never by the length of the text.
#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Column { name: String, double_quoted: bool, at: At },
    Literal { value: Literal, at: At },
    Negate { operand: Box<Self>, at: At },
    Chain { first: Box<Self>, rest: Vec<(Arithmetic, Self)>, at: At },
    Compare { comparison: Comparison, left: Box<Self>, right: Box<Self>, at: At },
    Between { operand: Box<Self>, low: Box<Self>, high: Box<Self>, at: At },
    In { operand: Box<Self>, items: Vec<(Literal, At)>, at: At },
    Like { operand: Box<Self>, pattern: String, at: At },
    IsNull { operand: Box<Self>, at: At },
    Not { operand: Box<Self>, at: At },
    All { conditions: Vec<Self>, at: At },
    Any { conditions: Vec<Self>, at: At },
}

impl Expr {
    fn at(&self) -> At {
        match self {
            Self::Column { at, .. }
            | Self::Literal { at, .. }
            | Self::Negate { at, .. }
            | Self::Chain { at, .. }
            | Self::Compare { at, .. }
            | Self::Between { at, .. }
            | Self::In { at, .. }
            | Self::Like { at, .. }
            | Self::IsNull { at, .. }
            | Self::Not { at, .. }
            | Self::All { at, .. }
            | Self::Any { at, .. } => at.clone(),
        }
    }

    fn collect_columns(&self, into: &mut Vec<String>) {
        if let Self::Column { name, .. } = self
            && !into.contains(name)
        {
            into.push(name.clone());
        }
        for part in self.parts() {
            part.collect_columns(into);
        }
    }

    /// The expressions that this one is made of, in the order of the text.
    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Column { .. } | Self::Literal { .. } => vec![],
            Self::Negate { operand, .. }
            | Self::In { operand, .. }
            | Self::Like { operand, .. }
            | Self::IsNull { operand, .. }
            | Self::Not { operand, .. } => vec![operand],
            Self::Compare { left, right, .. } => vec![left, right],
            Self::Between { operand, low, high, .. } => vec![operand, low, high],
            Self::Chain { first, rest, .. } => std::iter::once(&**first).chain(rest.iter().map(|(_, term)| term)).collect(),
            Self::All { conditions, .. } | Self::Any { conditions, .. } => conditions.iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
