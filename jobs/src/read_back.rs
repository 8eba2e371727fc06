//! Tables of runs, read again: what the system refused stays an error of the system.
//!
//! The parquet crate hands its errors to arrow as texts, so that a disk that fails would look like a file that is broken.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::outputs;

/// A file that is read as Parquet.
pub(crate) struct OwnTable {
    file: File,
    refused: Refused,
}

/// What the system said where it did not let the file be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused(Arc<Mutex<Option<io::Error>>>);

impl Refused {
    /// Returns it, once.
    pub(crate) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &io::Error) {
        // Who reads is used to being interrupted, and goes on.
        if let Some(code) = error.raw_os_error().filter(|_| error.kind() != io::ErrorKind::Interrupted) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(io::Error::from_raw_os_error(code));
        }
    }
}

impl OwnTable {
    /// Opens it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: outputs::again(|| File::open(path))?, refused: Refused::default() })
    }

    /// Returns where to ask, after an error, what the system said.
    pub(crate) fn refused(&self) -> Refused {
        self.refused.clone()
    }

    fn noted<T>(&self, read: Result<T>) -> Result<T> {
        if let Err(ParquetError::External(error)) = &read
            && let Some(error) = error.downcast_ref()
        {
            self.refused.note(error);
        }
        read
    }
}

impl Length for OwnTable {
    fn len(&self) -> u64 {
        Length::len(&self.file)
    }
}

impl ChunkReader for OwnTable {
    type T = Noted;

    fn get_read(&self, start: u64) -> Result<Noted> {
        Ok(Noted { file: self.noted(self.file.get_read(start))?, refused: self.refused() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.noted(self.file.get_bytes(start, length))
    }
}

/// Bytes of the file in order.
pub(crate) struct Noted {
    file: BufReader<File>,
    refused: Refused,
}

impl Read for Noted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).inspect_err(|error| self.refused.note(error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_the_system_says_is_kept_and_what_a_file_holds_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("short"), "abc").unwrap();
        let table = OwnTable::open(&folder.path().join("short")).unwrap();
        assert!(table.get_bytes(0, 9).is_err() && table.refused().take().is_none(), "the file ends");
        // A folder can be opened and not read.
        let table = OwnTable::open(folder.path()).unwrap();
        assert!(table.get_bytes(0, 1).is_err());
        let refused = table.refused();
        assert_eq!(refused.take().unwrap().kind(), io::ErrorKind::IsADirectory);
        assert!(refused.take().is_none());
        assert!(table.get_read(0).unwrap().read(&mut [0]).is_err());
        assert_eq!(refused.take().unwrap().kind(), io::ErrorKind::IsADirectory);
    }
}
