//! Texts whose shingles do not fit into memory, in files of the step's scratch folder: one file a stack.
//!
//! Files of a scratch folder vanish with it, so that nothing is synced.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use gristmill_engine::dedupe::Shelf;

use crate::JobError;
use crate::outputs::Folder;

/// Stacks of bytes in files.
pub(crate) struct FileShelf {
    folder: PathBuf,
    files: Vec<File>,
}

impl FileShelf {
    /// Makes a file for each of so many stacks.
    ///
    /// # Errors
    /// When one cannot be made.
    pub(crate) fn new(folder: &Folder, n_stacks: usize) -> Result<Self, JobError> {
        let create = |stack: usize| {
            let name = format!("stack-{stack}");
            let file = File::options().read(true).append(true).create_new(true).open(folder.at(&name));
            file.map_err(|error| JobError::Write { path: folder.path().join(name), error })
        };
        Ok(Self { folder: folder.path().to_owned(), files: (0..n_stacks).map(create).collect::<Result<_, _>>()? })
    }

    /// Returns an error of writing as one of the run.
    pub(crate) fn not_written(&self, error: io::Error) -> JobError {
        JobError::Write { path: self.folder.clone(), error }
    }
}

impl Shelf for FileShelf {
    fn append(&self, stack: usize, bytes: &[u8]) -> io::Result<()> {
        (&self.files[stack]).write_all(bytes)
    }

    fn read(&self, stack: usize, at: u64, into: &mut [u8]) -> io::Result<()> {
        read_at(&self.files[stack], at, into)
    }
}

#[cfg(unix)]
fn read_at(file: &File, at: u64, into: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                into = &mut into[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

    use super::*;

    #[test]
    fn what_is_put_away_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = FileShelf::new(&Folder::open(folder.path()).unwrap(), 2).unwrap();
        shelf.append(1, b"one").unwrap();
        shelf.append(0, b"other").unwrap();
        let mut read = [0; 4];
        shelf.read(0, 1, &mut read).unwrap();
        assert_eq!(&read, b"ther");
        shelf.append(1, b"two").unwrap();
        shelf.read(1, 2, &mut read).unwrap();
        assert_eq!(&read, b"etwo");
        assert_eq!(shelf.read(1, 3, &mut read).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
