//! Files that are whole or absent, whenever the process dies.
//!
//! ```text
//! temp file in the same folder -> write -> fsync -> rename -> fsync of the folder
//! ```
//!
//! Temp files start with `TEMP_PREFIX`: they vanish when a write fails, and `sweep` removes those that a killed
//! process left. The folder of a step is held open while something is written in it (`Folder`), so that no link leads a file elsewhere. Tables are
//! Parquet with zstd; neither clock nor host enters the bytes, and columns are encoded in parallel but laid down in the order of the schema, so the
//! same rows give the same bytes.
//! Cost      one row group (`ROW_GROUP_ROWS` rows, or `ROW_GROUP_BYTES`) is held in memory, and a few of its columns as they are encoded; of a wide
//!           table the footer too, which grows with every group, and so do these; hashing happens while writing.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use tempfile::{NamedTempFile, TempDir};

use crate::JobError;
use crate::manifest::OutputRecord;
use crate::secrets;

mod encoder;
mod folder;

use encoder::{Encoder, Hashed};
pub use folder::Folder;

/// What the names of unfinished files start with.
pub const TEMP_PREFIX: &str = ".gristmill-";

/// Bytes gathered before the system is asked to write.
const WRITE_BYTES: usize = 1 << 18;

/// Writes a whole file of text, with references in place of secrets.
///
/// # Errors
/// When the folder is not there or the system refuses; nothing is left behind then.
pub fn write_text(folder: &Folder, name: impl AsRef<Path>, text: &str) -> Result<(), JobError> {
    write_whole(folder, name, |file| file.write_all(secrets::hidden(text).as_bytes()))
}

/// Writes a whole file of text that is no part of a run.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_text_at(path: &Path, text: &str) -> Result<(), JobError> {
    let failed = |error| JobError::Write { path: path.to_owned(), error };
    let folder = Folder::open(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    write_text(&folder, path.file_name().unwrap_or_default(), text).map_err(|error| match error {
        // In the words of whoever named it.
        JobError::Write { error, .. } => failed(error),
        other => other,
    })
}

/// Writes a value as JSON that people can read.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json<T: serde::Serialize>(folder: &Folder, name: &str, value: &T) -> Result<(), JobError> {
    let bug = |error| JobError::Bug(format!("{}: {error}", folder.path().join(name).display()));
    let mut text = serde_json::to_string_pretty(value).map_err(bug)?;
    text.push('\n');
    write_text(folder, name, &text)
}

/// Writes a table at `relative` under the run folder and returns its size, hash and rows.
///
/// # Errors
/// When the file cannot be written.
pub fn write_table(run_dir: &Folder, relative: &str, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<OutputRecord, JobError> {
    let mut writer = TableWriter::new(run_dir, relative, Arc::clone(schema))?;
    for batch in batches {
        writer.push(batch)?;
    }
    writer.finish()?.commit()
}

/// Writes a file of text at `relative` under the run folder and returns its size, hash and lines.
///
/// # Errors
/// When the file cannot be written.
pub fn write_file(run_dir: &Folder, relative: &str, text: &[u8], n_rows: u64) -> Result<OutputRecord, JobError> {
    let (folder, name) = folder_of(run_dir, relative)?;
    write_whole(&folder, name, |file| file.write_all(text))?;
    let blake3 = blake3::hash(text).to_hex().to_string();
    Ok(OutputRecord { path: relative.to_owned(), bytes: text.len() as u64, blake3, rows: n_rows })
}

/// Gives a file at `relative` into which someone has written another name, before `text` takes its place; returns its new path.
///
/// # Errors
/// When it cannot be renamed.
pub(crate) fn keep_aside(run_dir: &Folder, relative: &str, text: &[u8]) -> Result<Option<PathBuf>, JobError> {
    let (folder, name) = folder_of(run_dir, relative)?;
    match fs::read(folder.at(name)) {
        Ok(there) if there == text => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // What cannot be read may be someone's all the same.
        _ => {}
    }
    let names = (1..).map(|n| Path::new(name).with_extension(format!("kept-{n}.csv")));
    let kept = names.into_iter().find(|kept| !folder.at(kept).exists()).expect("some number is free");
    let renamed = match again(|| fs::rename(folder.at(name), folder.at(&kept))) {
        // It could not be read, and is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        renamed => renamed.and_then(|()| sync_folder(folder.way_in())),
    };
    let kept = folder.path().join(kept);
    renamed.map_err(|error| JobError::Write { path: kept.clone(), error })?;
    Ok(Some(kept))
}

/// A table under way: rows are encoded as they come, into a file that has no name yet.
pub struct TableWriter {
    path: PathBuf,
    relative: String,
    encoder: Encoder<Hashed<BufWriter<NamedTempFile>>>,
    folder: Folder,
}

/// A table whose rows are all in its file, which waits for its name.
pub struct WrittenTable {
    path: PathBuf,
    record: OutputRecord,
    temp: NamedTempFile,
    folder: Folder,
}

impl TableWriter {
    /// Begins a table at `relative` under the run folder.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(run_dir: &Folder, relative: &str, schema: SchemaRef) -> Result<Self, JobError> {
        let path = run_dir.path().join(relative);
        let (folder, _) = folder_of(run_dir, relative)?;
        let begun = || {
            let file = BufWriter::with_capacity(WRITE_BYTES, again(|| temp_in(&folder))?);
            Encoder::new(Hashed { file: Some(file), hasher: blake3::Hasher::new(), bytes: 0 }, schema).map_err(into_io)
        };
        let encoder = begun().map_err(|error| JobError::Write { path: path.clone(), error })?;
        Ok(Self { path, relative: relative.to_owned(), encoder, folder })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), JobError> {
        self.encoder.push(batch).map_err(|error| JobError::Write { path: self.path.clone(), error: into_io(error) })
    }

    /// Ends the table.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<WrittenTable, JobError> {
        let Self { path, relative, encoder, folder } = self;
        let finished = || {
            let rows = encoder.rows;
            let mut finished = encoder.finish().map_err(into_io)?;
            // Parquet's own way out of its writer loses the system's error.
            let hashed = finished.inner_mut();
            let file = hashed.file.take().expect("the file is taken once");
            let temp = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            let record = OutputRecord { path: relative, bytes: hashed.bytes, blake3: hashed.hasher.finalize().to_hex().to_string(), rows };
            Ok((record, temp))
        };
        let (record, temp) = finished().map_err(|error| JobError::Write { path: path.clone(), error })?;
        Ok(WrittenTable { path, record, temp, folder })
    }
}

impl WrittenTable {
    /// Gives the file its name, and makes it last.
    ///
    /// # Errors
    /// When the system refuses; nothing is left behind then.
    pub fn commit(self) -> Result<OutputRecord, JobError> {
        let Self { path, record, temp, folder } = self;
        let committed = || -> io::Result<()> {
            commit(temp, &folder.at(path.file_name().unwrap_or_default()))?;
            sync_folder(folder.way_in())
        };
        committed().map_err(|error| JobError::Write { path: path.clone(), error })?;
        Ok(record)
    }
}

/// Reads a table of this run folder whole; for the small ones that the runner itself needs again.
///
/// # Errors
/// When the file cannot be read.
pub fn read_table(path: &Path) -> Result<Vec<RecordBatch>, JobError> {
    let read = || -> io::Result<Vec<RecordBatch>> {
        let file = File::open(path)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build).map_err(into_io)?;
        reader.collect::<Result<_, _>>().map_err(io::Error::other)
    };
    read().map_err(|error| JobError::ReadBack { path: path.to_owned(), error })
}

/// Creates a folder and everything above it, and makes the entry last.
///
/// # Errors
/// When the system refuses.
pub fn create_folder(path: &Path) -> Result<(), JobError> {
    let made = || -> io::Result<()> {
        again(|| fs::create_dir_all(path))?;
        path.parent().map_or(Ok(()), sync_folder)
    };
    made().map_err(|error| JobError::Write { path: path.to_owned(), error })
}

/// Creates a folder in the run folder, where it is not there, and makes the entry last.
pub(crate) fn create_folder_in(run_dir: &Folder, name: &str) -> Result<(), JobError> {
    let made = match again(|| fs::create_dir(run_dir.at(name))) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    made.and_then(|()| sync_folder(run_dir.way_in())).map_err(|error| JobError::Write { path: run_dir.path().join(name), error })
}

/// A folder for spill files that is removed when the value is dropped.
#[derive(Debug)]
pub struct Scratch {
    /// The folder.
    pub folder: Folder,
    _removed: TempDir,
    _above: Folder,
}

/// Creates a folder for spill files.
///
/// # Errors
/// When the system refuses.
pub fn scratch_in(above: &Folder) -> Result<Scratch, JobError> {
    let made = || -> io::Result<Scratch> {
        let made = again(|| tempfile::Builder::new().prefix(TEMP_PREFIX).suffix(".scratch").tempdir_in(above.way_in())).map_err(bare)?;
        let folder = above.below(&made.path().file_name().unwrap_or_default().to_string_lossy())?;
        Ok(Scratch { folder, _removed: made, _above: above.clone() })
    };
    made().map_err(|error| JobError::Write { path: above.path().to_owned(), error })
}

/// Removes what killed or failed runs left in a run folder: unfinished files and spill folders.
///
/// # Errors
/// When the folder cannot be listed or an entry cannot be removed.
pub fn sweep(run_dir: &Folder) -> Result<(), JobError> {
    let swept = || -> io::Result<()> {
        sweep_folder(run_dir)?;
        for entry in again(|| fs::read_dir(run_dir.way_in()))? {
            let entry = entry?;
            if let (true, Some(name)) = (entry.file_type()?.is_dir(), entry.file_name().to_str()) {
                sweep_folder(&run_dir.below(name)?)?;
            }
        }
        Ok(())
    };
    swept().map_err(|error| JobError::Write { path: run_dir.path().to_owned(), error })
}

/// Returns the bytes of the files below a folder; of files with a second name, which another run holds as well, none. What vanishes meanwhile
/// counts nothing.
pub(crate) fn size_of(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        #[cfg(unix)]
        let is_shared = std::os::unix::fs::MetadataExt::nlink(&about) > 1;
        #[cfg(not(unix))]
        let is_shared = false;
        bytes += match about.is_dir() {
            true => size_of(&entry.path()),
            false if is_shared => 0,
            false => about.len(),
        };
    }
    bytes
}

fn sweep_folder(folder: &Folder) -> io::Result<()> {
    for entry in again(|| fs::read_dir(folder.way_in()))? {
        let entry = entry?;
        if is_temp(&entry.file_name()) {
            remove(&entry.path(), entry.file_type()?.is_dir())?;
        }
    }
    Ok(())
}

fn remove(path: &Path, is_folder: bool) -> io::Result<()> {
    match again(|| if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Says whether a name is one of an unfinished file or spill folder.
#[must_use]
pub fn is_temp(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX))
}

/// Points `link` at `target` in one step, whatever it pointed at before.
///
/// # Errors
/// When the system refuses.
#[cfg(unix)]
pub fn point(link: &Path, target: &Path) -> Result<(), JobError> {
    let folder = link.parent().unwrap_or(Path::new("."));
    let temp = folder.join(format!("{TEMP_PREFIX}{}.link", target.display()));
    let pointed = || -> io::Result<()> {
        remove(&temp, false)?;
        again(|| std::os::unix::fs::symlink(target, &temp))?;
        again(|| fs::rename(&temp, link))?;
        sync_folder(folder)
    };
    pointed().map_err(|error| {
        let _gone = remove(&temp, false);
        JobError::Write { path: link.to_owned(), error }
    })
}

/// Does nothing: making links needs a privilege on this system.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn point(_link: &Path, _target: &Path) -> Result<(), JobError> {
    Ok(())
}

/// Gives a file of another run a second name at `relative`, or copies it where the file system has no links; says whether it is there and whole.
///
/// # Errors
/// When the file cannot be written; nothing is left behind then.
pub(crate) fn link_or_copy(from: &Path, run_dir: &Folder, relative: &str, is_whole: &dyn Fn(&Path) -> bool) -> Result<bool, JobError> {
    let (folder, name) = folder_of(run_dir, relative)?;
    let temp = folder.at(format!("{TEMP_PREFIX}{name}.link"));
    let linked = || -> io::Result<bool> {
        remove(&temp, false)?;
        // What people fill in is theirs alone: one name, one file.
        let is_table = name.ends_with(".parquet");
        if !is_table || again(|| fs::hard_link(from, &temp)).is_err() {
            match again(|| File::open(from)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                // Not by the call that copies rights too, which a confined process may not set.
                from => {
                    let mut copy = File::create_new(&temp)?;
                    io::copy(&mut from?, &mut copy)?;
                    copy.sync_all()?;
                }
            }
        }
        if !is_whole(&temp) {
            remove(&temp, false)?;
            return Ok(false);
        }
        again(|| fs::rename(&temp, folder.at(name)))?;
        // A name that is one already keeps both.
        remove(&temp, false)?;
        sync_folder(folder.way_in())?;
        Ok(true)
    };
    linked().map_err(|error| {
        let _gone = remove(&temp, false);
        JobError::Write { path: folder.path().join(name), error }
    })
}

/// Writes a file whole, or not at all.
pub(crate) fn write_whole<T>(
    folder: &Folder,
    name: impl AsRef<Path>,
    fill: impl FnOnce(&mut File) -> io::Result<T>,
) -> Result<T, JobError> {
    let name = name.as_ref();
    let written = || -> io::Result<T> {
        let mut temp = again(|| temp_in(folder))?;
        let filled = fill(temp.as_file_mut())?;
        commit(temp, &folder.at(name))?;
        sync_folder(folder.way_in())?;
        Ok(filled)
    };
    written().map_err(|error| JobError::Write { path: folder.path().join(name), error })
}

/// Opens the folder of a file at `relative` under the run folder: that of a step, or the run folder itself. Returns the name of the file too.
pub(crate) fn folder_of<'r>(run_dir: &Folder, relative: &'r str) -> Result<(Folder, &'r str), JobError> {
    let (folder, name) = match relative.split_once('/') {
        // What a manifest names may be anything.
        _ if !crate::run_dir::is_inside(relative) => (Err(io::ErrorKind::InvalidFilename.into()), relative),
        Some((step, name)) => (run_dir.below(step), name),
        None => (Ok(run_dir.clone()), relative),
    };
    Ok((folder.map_err(|error| JobError::Write { path: run_dir.path().join(relative), error })?, name))
}

fn temp_in(folder: &Folder) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMP_PREFIX).suffix(".tmp");
    // Temp files are private by default; outputs are as readable as the user's mask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder.way_in()).map_err(bare)
}

/// Returns an error of the system without the path of a temp file, which says nothing to people.
fn bare(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((system, _)) => io::Error::new(error.kind(), system.to_owned()),
        None => error,
    }
}

fn commit(mut temp: NamedTempFile, path: &Path) -> io::Result<()> {
    temp.as_file().sync_all()?;
    // The standard library repeats interrupted writes and syncs, but not renames.
    loop {
        match temp.persist(path) {
            Ok(_) => return Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::Interrupted => temp = failed.file,
            Err(failed) => return Err(failed.error),
        }
    }
}

/// Repeats a call that a signal interrupted; the standard library does so for some calls alone.
pub(crate) fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Makes the entries of a folder last; some network file systems refuse to sync folders and need not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}
/// Finds the system's error under Parquet's, because the exit code depends on it.
pub(crate) fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) => *io,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

/// Returns the path of a table relative to the run folder.
#[must_use]
pub fn table_path(step: &str, table: &str) -> String {
    format!("{step}/{table}.parquet")
}

/// Returns the path of a table for people to fill in, relative to the run folder.
#[must_use]
pub fn csv_path(step: &str, table: &str) -> String {
    format!("{step}/{table}.csv")
}

/// Returns the folder of a step.
#[must_use]
pub fn step_folder(run_dir: &Path, step: &str) -> PathBuf {
    run_dir.join(step)
}

#[cfg(test)]
mod tests;
