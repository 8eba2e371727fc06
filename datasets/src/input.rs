//! A file on disk as it was when its source was opened.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::ReadError;

/// A regular file with its size and time of change, and the memory that decoding it may claim.
#[derive(Debug, Clone)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) budget_bytes: u64,
    modified: Option<SystemTime>,
}

impl InputFile {
    /// Looks at a file without reading it.
    pub(crate) fn at(path: &Path, budget_bytes: u64) -> Result<Self, ReadError> {
        let metadata = fs::metadata(path).map_err(|error| ReadError::io(path, error))?;
        if !metadata.is_file() {
            // Opening a pipe or a device could wait for ever, and neither can be read twice.
            return Err(ReadError::unsupported(path, None, "not a regular file"));
        }
        let modified = metadata.modified().ok();
        Ok(Self { path: path.to_path_buf(), bytes: metadata.len(), budget_bytes, modified })
    }

    /// Opens it, provided that it is still what it was.
    pub(crate) fn open(&self) -> Result<File, ReadError> {
        let file = File::open(&self.path).map_err(|error| ReadError::io(&self.path, error))?;
        let metadata = file.metadata().map_err(|error| ReadError::io(&self.path, error))?;
        if metadata.len() != self.bytes || metadata.modified().ok() != self.modified {
            return Err(ReadError::Changed { path: self.path.clone() });
        }
        Ok(file)
    }

    pub(crate) fn corrupt(&self, column: Option<&str>, detail: impl Into<String>) -> ReadError {
        ReadError::corrupt(&self.path, column, detail)
    }

    pub(crate) fn unsupported(&self, column: Option<&str>, what: impl Into<String>) -> ReadError {
        ReadError::unsupported(&self.path, column, what)
    }

    /// Refuses a claim that is larger than the budget.
    pub(crate) fn reserve(&self, column: Option<&str>, needed_bytes: u64) -> Result<(), ReadError> {
        if needed_bytes > self.budget_bytes {
            return Err(ReadError::budget(&self.path, column, needed_bytes, self.budget_bytes));
        }
        Ok(())
    }
}
