//! What a user asked for: the spec's values with the places where they were written.
//!
//! ```text
//! text -> tree (TOML, JSON or YAML, with spans) -> base below, `--set` above (`layers`) -> values for references (`vars`)
//!      -> fields by the tables of `keys` -> Spec -> names and order of steps
//! ```
//!
//! Each stage adds what is wrong to `Problems` and goes on, so that one run of `validate` shows every mistake.
//! A `Spec` does nothing: `plan` opens the files behind it and says what it means.
//! Absent    `sql` sources.

mod build;
mod checks;
mod columns;
mod fields;
mod graph;
mod json;
pub mod keys;
mod layers;
mod literals;
mod nearest;
mod problems;
mod resolved;
mod schema;
mod syntax;
mod tables;
mod text;
mod tree;
mod units;
mod vars;
mod yaml;

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gristmill_datasets::{Format, Rename, Sample, SourceOptions};

use crate::error::Exit;
use crate::kinds::JobKind;
use crate::plan;

pub use columns::check_columns;
pub(crate) use columns::check_exclude;
pub use fields::{Field, Value, Values};
pub use graph::in_order;
pub(crate) use nearest::listed;
pub use nearest::{did_you_mean, nearest};
pub use problems::{Located, Problem, Problems, Span, Spanned, line_and_column};
pub(crate) use resolved::with_defaults;
pub use schema::json_schema;
pub use text::SpecText;
pub(crate) use units::parse_seconds;

/// Bytes that a spec may have.
pub const MAX_SPEC_BYTES: usize = 1 << 20;
/// Steps that a spec may have.
pub const MAX_STEPS: usize = 1_000;
/// Depth of lists and tables in a spec.
pub const MAX_NESTING: usize = 32;

/// A whole spec.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name of the job: a folder under `runs`.
    pub name: Spanned<String>,
    /// Seed of everything drawn at random.
    pub seed: u64,
    /// Place asked for: `auto`, `gpu`, `cpu` or `software`.
    pub place: String,
    /// Threads asked for; as many as the machine has where absent.
    pub threads: Option<usize>,
    /// Memory budget asked for; found out from the machine where absent.
    pub memory_bytes: Option<u64>,
    /// Most seconds that a command may take.
    pub max_seconds: Option<f64>,
    /// Most bytes that the run folder may hold.
    pub max_disk_bytes: Option<u64>,
    /// Level of the job.
    pub alpha: f64,
    /// Sources in the order of the text.
    pub sources: Vec<SourceSpec>,
    /// Steps in the order of the text.
    pub steps: Vec<StepSpec>,
    /// Folder that relative paths start from: where the spec lies.
    pub base_dir: PathBuf,
    values: Values,
}

/// What stands under `[source.NAME]`.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Name, at its place in the header.
    pub name: Spanned<String>,
    /// Files and globs.
    pub paths: Vec<Spanned<String>>,
    /// Encoding; by file ending where absent.
    pub format: Option<Format>,
    /// Separator of text files.
    pub delimiter: Option<u8>,
    /// Whether text files start with a line of names.
    pub header: Option<bool>,
    /// Character encoding of text files.
    pub encoding: Option<String>,
    /// Cell texts that mean missing.
    pub null_values: Vec<String>,
    /// Columns that get another name.
    pub rename: Vec<Rename>,
    /// Column to add that holds the path of each row's file.
    pub file_column: Option<String>,
    /// SQL boolean (`where`); rows that are not true are left out.
    pub filter: Option<Spanned<String>>,
    /// Byte of the spec where the text of `where` starts; none where escapes blur the places in it.
    pub filter_start: Option<usize>,
    /// Part of the rows to keep.
    pub sample: Option<Sample>,
    values: Values,
}

/// What stands under `[step.NAME]`.
#[derive(Clone)]
pub struct StepSpec {
    /// Name, at its place in the header.
    pub name: Spanned<String>,
    /// What the step does.
    pub kind: &'static dyn JobKind,
    /// Where its rows come from.
    pub from: Spanned<TableName>,
    /// Further tables whose rows follow, of kinds that tell tables apart.
    pub also_from: Vec<Spanned<TableName>>,
    /// Tables that are read beside them, by the keys that name them.
    pub others: Vec<(&'static str, Spanned<TableName>)>,
    /// Steps that must be done before it.
    pub needs: Vec<Spanned<String>>,
    /// Column carried into tables of rows.
    pub id: Option<Spanned<String>>,
    /// Columns to use; all where empty.
    pub columns: Vec<Spanned<String>>,
    /// Columns to leave out.
    pub exclude: Vec<Spanned<String>>,
    /// Column of time.
    pub time: Option<Spanned<String>>,
    /// Column whose values are the units that vary independently.
    pub cluster_by: Option<Spanned<String>>,
    /// Column of weights.
    pub weights: Option<Spanned<String>>,
    /// Smallest effect that may become a finding.
    pub min_effect: Option<f64>,
    /// Every key of the step with its value, defaults filled in.
    pub values: Values,
}

/// The table that a step reads: a source, or a table of another step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Name of a source or step.
    pub name: String,
    /// Table of that step; its main table where absent.
    pub table: Option<String>,
}

/// Why there is no spec.
#[derive(Debug)]
pub enum SpecFailure {
    /// The file could not be read.
    Unreadable {
        /// As given on the command line.
        path: PathBuf,
        /// What the system said, with the nearest file where one is near.
        message: String,
        /// Exit code: 2 when it is not there, 3 when it may not be read.
        exit: Exit,
    },
    /// The text has mistakes.
    Wrong {
        /// For carets.
        text: SpecText,
        /// All of them.
        problems: Problems,
    },
}

/// Reads a spec from its file, with what the command line sets (`KEY=VALUE`), and checks everything that can be checked without running it.
///
/// Where something is wrong, the files and columns of the parts that were understood are checked as well, so
/// that one reading shows every mistake.
///
/// # Errors
/// When the file cannot be read, or its text has mistakes.
pub fn read(path: &Path, sets: &[String]) -> Result<(Spec, SpecText), SpecFailure> {
    parse(SpecText::new(path, read_text(path)?), sets)
}

/// Reads a spec from its text; relative paths start from the folder of `text.path`.
///
/// # Errors
/// When the text has mistakes.
pub fn parse(mut text: SpecText, sets: &[String]) -> Result<(Spec, SpecText), SpecFailure> {
    let mut built = build::build(&mut text, sets);
    if built.problems.is_empty() {
        return Ok((built.spec, text));
    }
    let further = plan::probe(&built.spec);
    built.add(further, &text.text);
    Err(SpecFailure::Wrong { text, problems: built.problems })
}

fn read_text(path: &Path) -> Result<String, SpecFailure> {
    let refused = |message: String, exit| SpecFailure::Unreadable { path: path.to_owned(), message, exit };
    let bytes = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(refused("is a folder; name a spec in it".to_owned(), Exit::Spec));
        }
        Ok(metadata) if metadata.len() > MAX_SPEC_BYTES as u64 => {
            let message = format!("has {} bytes, but a spec has at most {MAX_SPEC_BYTES}; split the job", metadata.len());
            return Err(refused(message, Exit::Spec));
        }
        Ok(_) => fs::read(path),
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => refused(format!("is not there{}", plan::nearest_file(path)), Exit::Spec),
        ErrorKind::PermissionDenied => refused("may not be read: permission denied".to_owned(), Exit::Data),
        _ => refused(format!("cannot be read: {error}"), Exit::Temporary),
    })?;
    String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> SpecFailure {
    let at = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let mut problems = Problems::default();
    let found = format!("byte {:#04x}", error.as_bytes().get(at).copied().unwrap_or_default());
    problems.add(at..at + 1, "the text is not UTF-8", found, "save the file as UTF-8");
    SpecFailure::Wrong { text: SpecText::new(path, text), problems }
}

impl SpecFailure {
    /// Returns the exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { exit, .. } => *exit,
            Self::Wrong { .. } => Exit::Spec,
        }
    }

    /// Returns the failure as text for people.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        match self {
            Self::Unreadable { path, message, .. } => format!("error: spec `{}` {message}\n", path.display()),
            Self::Wrong { text, problems } => problems.render(text, color),
        }
    }

    /// Returns the mistakes with the text that they are in.
    #[must_use]
    pub const fn problems(&self) -> Option<(&SpecText, &Problems)> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Wrong { text, problems } => Some((text, problems)),
        }
    }
}

impl SourceSpec {
    /// Returns the source of one file, all options at their defaults.
    fn of(name: Spanned<String>, path: Spanned<String>) -> Self {
        Self {
            name,
            paths: vec![path],
            format: None,
            delimiter: None,
            header: None,
            encoding: None,
            null_values: Vec::new(),
            rename: Vec::new(),
            file_column: None,
            filter: None,
            filter_start: None,
            sample: None,
            values: Values::default(),
        }
    }

    /// Returns what the readers need to open this source.
    #[must_use]
    pub fn options(&self, spec: &Spec, memory_bytes: u64) -> SourceOptions {
        SourceOptions {
            paths: self.paths.iter().map(|path| path.value.clone()).collect(),
            base_dir: spec.base_dir.clone(),
            format: self.format,
            delimiter: self.delimiter,
            header: self.header,
            encoding: self.encoding.clone(),
            null_values: self.null_values.clone(),
            rename: self.rename.clone(),
            file_column: self.file_column.clone(),
            filter: self.filter.as_ref().map(|filter| filter.value.clone()),
            sample: self.sample,
            seed: spec.seed,
            memory_bytes,
        }
    }

    /// Says whether it stands for a file that a key of a step names, and not for a table of the spec: the only names with a dot.
    #[must_use]
    pub fn is_of_step(&self) -> bool {
        self.name.value.contains('.')
    }

    /// Returns the place of a key's value; the header's where the key is absent.
    #[must_use]
    pub fn span(&self, key: &str) -> Span {
        self.values.field(key).map_or_else(|| self.name.span.clone(), |field| field.span.clone())
    }

    /// Returns the item of a list that was written so.
    pub(crate) fn item(&self, key: &str, text: &str) -> Option<&Spanned<String>> {
        self.values.list(key).iter().find(|item| item.value == text)
    }
}

impl StepSpec {
    /// Returns a text, choice or column; the default where it was not written.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.text(key)
    }

    /// Returns a number; the default where it was not written.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        self.values.number(key)
    }

    /// Returns a whole number; the default where it was not written.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.values.integer(key)
    }

    /// Returns a list of whole numbers; empty where it was not written.
    #[must_use]
    pub fn integers(&self, key: &str) -> &[i64] {
        self.values.integers(key)
    }

    /// Returns a flag; the default where it was not written, else `false`.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.values.flag(key).unwrap_or(false)
    }

    /// Returns a list; empty where there is none.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Spanned<String>] {
        self.values.list(key)
    }

    /// Returns columns with a word each; empty where there are none.
    #[must_use]
    pub fn choices(&self, key: &str) -> &[(Spanned<String>, String)] {
        self.values.choices(key)
    }

    /// Returns the keys of a table within; none where it was not written.
    #[must_use]
    pub fn keys(&self, key: &str) -> Option<&Values> {
        self.values.keys(key)
    }

    /// Returns the place of a key's value; the header's where it was not written.
    #[must_use]
    pub fn span(&self, key: &str) -> Span {
        self.values.field(key).map_or_else(|| self.name.span.clone(), |field| field.span.clone())
    }

    /// Says whether the user wrote this key.
    #[must_use]
    pub fn is_written(&self, key: &str) -> bool {
        self.values.field(key).is_some_and(|field| field.written)
    }
}

impl fmt::Debug for StepSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("StepSpec");
        shown.field("name", &self.name).field("kind", &self.kind.name()).field("values", &self.values).finish()
    }
}
