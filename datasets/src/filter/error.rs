//! What can be wrong with a filter, where in its text, and what to do about it.

use std::ops::Range;

use super::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

/// A filter that cannot be used, with the place in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FilterError {
    /// Bytes of the text that are to blame; empty at the end of a text that stops too early.
    pub at: Range<usize>,
    /// What is wrong.
    pub problem: FilterProblem,
}

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    /// The text is longer than [`MAX_FILTER_BYTES`].
    #[error("the filter has {bytes} bytes, at most {MAX_FILTER_BYTES} are read")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// The text nests deeper than [`MAX_FILTER_DEPTH`].
    #[error("the filter nests deeper than {MAX_FILTER_DEPTH} levels")]
    TooDeep,
    /// Something stands where the grammar wants something else.
    #[error("found {found}, expected {expected}")]
    Unexpected {
        /// What stands there, quoted.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A quote is opened and never closed.
    #[error("the {what} that starts here has no closing {quote}")]
    Unclosed {
        /// `text` or `name`.
        what: &'static str,
        /// The quote that is missing.
        quote: char,
    },
    /// A character that no part of the grammar starts with.
    #[error("found `{found}`, which is no part of a filter")]
    Character {
        /// The character.
        found: char,
    },
    /// Digits that are not a number.
    #[error("`{text}` is not a number")]
    Number {
        /// The digits as written.
        text: String,
    },
    /// A text that should be a date and is none.
    #[error("'{text}' is not a date or timestamp")]
    Date {
        /// The text as written.
        text: String,
    },
    /// A column that the table does not have.
    #[error("no column `{column}`")]
    UnknownColumn {
        /// The name as written.
        column: String,
        /// The closest name of the table, if one is close.
        nearest: Option<String>,
        /// All names of the table.
        columns: Vec<String>,
        /// Whether it was written in double quotes, as beginners of SQL write texts.
        double_quoted: bool,
    },
    /// Two types that do not go together, or one that an operator does not take.
    #[error("{message}")]
    Type {
        /// Both sides in words.
        message: String,
        /// What to write instead.
        help: Option<String>,
    },
    /// An arrow kernel refused the data.
    #[error("cannot compute this part: {message}")]
    Compute {
        /// The kernel's words.
        message: String,
    },
}

/// Names of columns that a help line lists before it only counts the rest.
const NAMES_LISTED: usize = 20;

impl FilterError {
    pub(super) fn new(at: Range<usize>, problem: FilterProblem) -> Self {
        Self { at, problem }
    }

    pub(super) fn wrong_type(at: Range<usize>, message: String, help: Option<String>) -> Self {
        Self::new(at, FilterProblem::Type { message, help })
    }

    pub(super) fn compute(at: Range<usize>, error: &arrow::error::ArrowError) -> Self {
        Self::new(at, FilterProblem::Compute { message: error.to_string() })
    }

    /// Returns the byte offset into the text.
    pub fn offset(&self) -> usize {
        self.at.start
    }

    /// Returns what to do about it, where that is known.
    pub fn help(&self) -> Option<String> {
        match &self.problem {
            FilterProblem::TooLong { .. } => Some("prepare the rows in a query and read its result".to_owned()),
            FilterProblem::TooDeep => Some("drop parentheses that change nothing".to_owned()),
            FilterProblem::Unexpected { found, .. } if found == "`==`" => Some("write `=`".to_owned()),
            FilterProblem::Unexpected { found, expected } if found.starts_with("the keyword") && expected.contains("column") => {
                Some("put a column of that name in double quotes".to_owned())
            }
            FilterProblem::Date { .. } => Some("write '2024-05-31' or '2024-05-31 17:30:00'".to_owned()),
            FilterProblem::UnknownColumn { column, nearest, columns, double_quoted } => {
                Some(help_with_column(column, nearest.as_deref(), columns, *double_quoted))
            }
            FilterProblem::Type { help, .. } => help.clone(),
            FilterProblem::Unclosed { .. } => Some("a quote inside the quotes is written twice".to_owned()),
            FilterProblem::Unexpected { .. }
            | FilterProblem::Character { .. }
            | FilterProblem::Number { .. }
            | FilterProblem::Compute { .. } => None,
        }
    }
}

fn help_with_column(column: &str, nearest: Option<&str>, columns: &[String], double_quoted: bool) -> String {
    let mut help = match nearest {
        Some(name) => format!("did you mean `{name}`? "),
        None if double_quoted => format!("a text is written '{column}'; "),
        None => String::new(),
    };
    help.push_str("columns: ");
    help.push_str(&columns.iter().take(NAMES_LISTED).map(String::as_str).collect::<Vec<_>>().join(", "));
    if columns.len() > NAMES_LISTED {
        help.push_str(&format!(" and {} more", columns.len() - NAMES_LISTED));
    }
    help
}

/// Returns the name closest to `wanted`: equal but for case, else within a third of its letters.
pub(super) fn nearest(wanted: &str, names: &[String]) -> Option<String> {
    let lower = wanted.to_lowercase();
    let reach = (wanted.chars().count() / 3).max(1);
    let distance = |name: &String| strsim::osa_distance(&lower, &name.to_lowercase());
    let (best, name) = names.iter().map(|name| (distance(name), name)).min_by_key(|(distance, _)| *distance)?;
    (best <= reach).then(|| name.clone())
}
