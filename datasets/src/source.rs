//! What can be read: a schema, the files behind it, and scans that stream it from the first row to the last.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::ReadError;

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Separated text: comma, semicolon or tab.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Arrow IPC, file or stream.
    Arrow,
}

/// Which rows of a source to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// About this many rows, drawn by a hash of (seed, row).
    Rows(u64),
    /// Each row with this probability, 0 to 1.
    Share(f64),
}

/// A column that gets another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its name in the files.
    pub from: String,
    /// Its name from then on.
    pub to: String,
}

impl fmt::Display for Rename {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} as {}", self.from, self.to)
    }
}

impl FromStr for Rename {
    type Err = &'static str;

    /// Reads `FROM as TO`, split at the last ` as `.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once(" as ") {
            Some((from, to)) if !from.trim().is_empty() && !to.trim().is_empty() => {
                Ok(Self { from: from.trim().to_owned(), to: to.trim().to_owned() })
            }
            _ => Err("a new name is written `FROM as TO`"),
        }
    }
}

/// What a user asked for under `[source.NAME]`.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Files and globs, relative to `base_dir`; files are read in sorted path order.
    pub paths: Vec<String>,
    /// Folder that relative paths start from.
    pub base_dir: PathBuf,
    /// Encoding; by file ending where absent, `.gz` and `.zst` looked through.
    pub format: Option<Format>,
    /// Separator of text files; guessed from the first lines where absent.
    pub delimiter: Option<u8>,
    /// Whether text files start with a line of names; yes where absent.
    pub header: Option<bool>,
    /// Character encoding by its WHATWG label; UTF-8 where absent.
    pub encoding: Option<String>,
    /// Cell texts that mean missing, beside the empty one.
    pub null_values: Vec<String>,
    /// Columns that get another name, in every file that has them; `where` sees the new names.
    pub rename: Vec<Rename>,
    /// Name of a column to add that holds the path of each row's file, as seen from `base_dir`.
    pub file_column: Option<String>,
    /// SQL boolean over the columns (`where`); rows that are not true are left out.
    pub filter: Option<String>,
    /// Part of the rows to keep.
    pub sample: Option<Sample>,
    /// Seed of the sample.
    pub seed: u64,
    /// Bytes that decoding may claim; a file that claims more is refused before it is decoded.
    pub memory_bytes: u64,
}

impl SourceOptions {
    /// Returns the options of one file or glob, all others at their defaults and 1 GiB of memory.
    #[must_use]
    pub fn of(path: impl Into<String>) -> Self {
        Self {
            paths: vec![path.into()],
            base_dir: PathBuf::new(),
            format: None,
            delimiter: None,
            header: None,
            encoding: None,
            null_values: Vec::new(),
            rename: Vec::new(),
            file_column: None,
            filter: None,
            sample: None,
            seed: 0,
            memory_bytes: 1 << 30,
        }
    }
}

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size on disk.
    pub bytes: u64,
    /// Its rows, where the file itself says so.
    pub rows: Option<u64>,
}

/// A table in one or more files.
pub trait Source: Send + Sync {
    /// Returns the columns that every scan gives, in file order.
    fn schema(&self) -> SchemaRef;
    /// Returns the files in the order of their rows.
    fn files(&self) -> &[SourceFile];
    /// Returns the exact number of rows where it is known without reading them.
    fn n_rows(&self) -> Option<u64>;
    /// Returns what a person should know: columns absent from some files, guessed separators.
    fn notes(&self) -> &[String];
    /// Starts at the first row; `projection` names the columns by index into the schema.
    ///
    /// # Errors
    /// When a file cannot be opened, or is not what it was when the source was opened.
    fn scan(&self, projection: &[usize]) -> Result<Box<dyn Scan>, ReadError>;
}

/// Takes the decoded columns of a scan: position in the projection, rows before the piece in this call, the cells.
///
/// It is called from several threads at once, for one column in row order.
pub type Sink<'a> = dyn Fn(usize, usize, &ArrayRef) + Sync + 'a;

/// A walk through a source, from the first row to the last.
pub trait Scan: Send {
    /// Decodes at most `max_rows` more rows, hands each column's pieces to `sink` and returns how many rows came.
    ///
    /// Every projected column gets the same rows; 0 means the end. A scan may return fewer rows than asked for
    /// (the end of a row group or file) before the end.
    ///
    /// # Errors
    /// When a file is corrupt or of the wrong type; the error names file and column.
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError>;
}
