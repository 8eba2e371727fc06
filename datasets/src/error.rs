//! What can be wrong with a source, and whose business it is.
//!
//! Every error names the file and, where one is to blame, the column; budgets give both numbers. [`ReadError::cause`]
//! is what a job runner needs to choose its exit code.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::filter::FilterError;

/// Who can do something about a [`ReadError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The author of the spec: a name, pattern or option that does not fit.
    Spec,
    /// The owner of the data: corrupt, encrypted, of the wrong type or not readable.
    Data,
    /// Whoever declared the memory budget.
    Budget,
    /// Nobody: trying again may help.
    Temporary,
}

/// A source that cannot be opened or read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file that was named does not exist.
    #[error("`{}` does not exist{}", path.display(), did_you_mean(nearest.as_deref()))]
    NotFound {
        /// The file.
        path: PathBuf,
        /// The file beside it whose name is closest, if one is close.
        nearest: Option<PathBuf>,
    },
    /// No file matches a pattern, or a folder holds none that can be read.
    #[error("no file matches `{glob}`")]
    NoMatch {
        /// The pattern.
        glob: String,
    },
    /// A value of an option that cannot be used.
    #[error("`{option}` is `{value}`: {detail}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and what to write.
        detail: String,
    },
    /// The bytes of a file contradict its format.
    #[error("{} is corrupt: {detail}", Place(path, column.as_deref()))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The column, where one is to blame.
        column: Option<String>,
        /// What the decoder found.
        detail: String,
    },
    /// The file is encrypted.
    #[error("`{}` is encrypted; only files without encryption can be read", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A cell that is not of its column's type.
    #[error("{}, line {line}: `{text}` is not {expected}{}", Place(path, Some(column)), hint(help))]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: Box<str>,
        /// Line of the file (row for formats without lines), from 1.
        line: u64,
        /// The cell, cut to a readable length.
        text: Box<str>,
        /// The type, with its article.
        expected: &'static str,
        /// What to do about it.
        help: Box<str>,
    },
    /// A column has types in two files that no common type holds.
    #[error("{} is {found}, but {expected} in the files before it", Place(path, Some(column)))]
    SchemaMismatch {
        /// The later file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type there.
        found: String,
        /// Its type before.
        expected: String,
    },
    /// A format or feature that is not read.
    #[error("{}: {what}", Place(path, column.as_deref()))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The column, where one is to blame.
        column: Option<String>,
        /// What is not read, and what to do.
        what: String,
    },
    /// Decoding would need more memory than the budget.
    #[error(
        "{} needs {needed_bytes} bytes of memory to decode, the budget is {budget_bytes}; raise `memory` if the file is trusted",
        Place(path, column.as_deref())
    )]
    Budget {
        /// The file.
        path: PathBuf,
        /// The column, where one is to blame.
        column: Option<String>,
        /// Bytes that the file claims.
        needed_bytes: u64,
        /// Bytes that there are.
        budget_bytes: u64,
    },
    /// The system refuses to let the file be read.
    #[error("no permission to read `{}`", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// The file is not the one that was opened.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The system failed to read the file.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `where` cannot be used on this table.
    #[error("`where` cannot be used")]
    Filter(#[from] FilterError),
    /// A column that the table does not have.
    #[error("column {column} is asked for, the source has {n_columns}")]
    NoColumn {
        /// Index that was asked for.
        column: usize,
        /// Number of columns.
        n_columns: usize,
    },
}

impl ReadError {
    /// Returns who can do something about it.
    pub fn cause(&self) -> Cause {
        match self {
            Self::NotFound { .. } | Self::NoMatch { .. } | Self::Option { .. } | Self::Filter(_) | Self::NoColumn { .. } => Cause::Spec,
            Self::Corrupt { .. }
            | Self::Encrypted { .. }
            | Self::WrongType { .. }
            | Self::SchemaMismatch { .. }
            | Self::Unsupported { .. }
            | Self::Denied { .. } => Cause::Data,
            Self::Budget { .. } => Cause::Budget,
            Self::Changed { .. } | Self::Io { .. } => Cause::Temporary,
        }
    }

    /// Returns the file to blame, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NotFound { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Encrypted { path }
            | Self::WrongType { path, .. }
            | Self::SchemaMismatch { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Budget { path, .. }
            | Self::Denied { path }
            | Self::Changed { path }
            | Self::Io { path, .. } => Some(path),
            Self::NoMatch { .. } | Self::Option { .. } | Self::Filter(_) | Self::NoColumn { .. } => None,
        }
    }

    /// Tells an error of the system from an error of a decoder that arrived as [`io::Error`].
    ///
    /// Decompressors report bad data as `io::Error` too; only what came from the system carries its error number.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::NotFound => Self::NotFound { path, nearest: None },
            _ if error.raw_os_error().is_some() => Self::Io { path, source: error },
            _ => Self::Corrupt { path, column: None, detail: error.to_string() },
        }
    }

    pub(crate) fn corrupt(path: &Path, column: Option<&str>, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), column: column.map(str::to_owned), detail: detail.into() }
    }

    pub(crate) fn unsupported(path: &Path, column: Option<&str>, what: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_path_buf(), column: column.map(str::to_owned), what: what.into() }
    }

    pub(crate) fn budget(path: &Path, column: Option<&str>, needed_bytes: u64, budget_bytes: u64) -> Self {
        Self::Budget { path: path.to_path_buf(), column: column.map(str::to_owned), needed_bytes, budget_bytes }
    }
}

/// A file, or a column of a file, as messages name it.
struct Place<'a>(&'a Path, Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(column) => write!(out, "column `{column}` of `{}`", self.0.display()),
            None => write!(out, "`{}`", self.0.display()),
        }
    }
}

fn did_you_mean(nearest: Option<&Path>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{}`?", nearest.display()))
}

fn hint(help: &str) -> String {
    if help.is_empty() { String::new() } else { format!("; {help}") }
}
