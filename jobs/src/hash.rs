//! BLAKE3 of the inputs, which decides whether a run is the same run.
//!
//! Files are hashed side by side; within one file the next buffer is read while the last one is hashed by all
//! threads. Content decides, never times: a later look at sizes and times only says whether to hash again.
//! Cost      one reading of every input; reported apart as `hash_seconds`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use gristmill_datasets::ReadError;
use rayon::prelude::*;

use crate::JobError;
use crate::exit;
use crate::manifest::InputRecord;
use crate::plan::Plan;
use crate::secrets;
use crate::signals::Stop;

/// Bytes read at a time; BLAKE3 spreads such a buffer over threads well.
const BUFFER_BYTES: usize = 4 << 20;

/// The inputs of a run as they were when they were hashed.
pub struct Inputs {
    /// Every file, in the order of sources and rows.
    pub records: Vec<InputRecord>,
    /// Wall-clock seconds that hashing took.
    pub seconds: f64,
    seen: Vec<Seen>,
}

/// What the file system said of a file when it was hashed.
struct Seen {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    hash: blake3::Hash,
}

impl Inputs {
    /// Hashes every file of a plan; `tell` takes the bytes done so far.
    ///
    /// # Errors
    /// When a file cannot be read, or a signal came.
    pub fn hash(plan: &Plan, stop: &Stop, tell: &(dyn Fn(u64) + Sync)) -> Result<Self, JobError> {
        let began = Instant::now();
        let done = AtomicU64::new(0);
        let add = |bytes: u64| tell(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
        let files: Vec<_> = plan.sources.iter().flat_map(|source| source.source.files().iter().map(move |file| (source, file))).collect();
        let seen: Vec<Seen> = files
            .par_iter()
            .map(|(source, file)| see(&file.path, stop, &add).map_err(|error| unreadable(&source.name, &file.path, error, stop)))
            .collect::<Result<_, _>>()?;
        let records = files.iter().zip(&seen).map(|((source, file), seen)| seen.record(&source.name, file.rows)).collect();
        Ok(Self { records, seconds: began.elapsed().as_secs_f64(), seen })
    }

    /// Checks after the last reading that what was read is what was hashed.
    ///
    /// # Errors
    /// When the content of a file is another one now.
    pub fn check_unchanged(&self, stop: &Stop) -> Result<(), JobError> {
        let Some(at) = self.seen.iter().position(|seen| !seen.still_there(stop)) else { return Ok(()) };
        stop.check()?;
        let error = ReadError::Changed { path: self.seen[at].path.clone() };
        Err(JobError::Read { source_name: self.records[at].source.clone(), error: Box::new(error) })
    }
}

impl Seen {
    fn record(&self, source: &str, rows: Option<u64>) -> InputRecord {
        InputRecord {
            source: source.to_owned(),
            path: secrets::hidden(&self.path.display().to_string()).into_owned(),
            bytes: self.bytes,
            blake3: self.hash.to_hex().to_string(),
            rows,
        }
    }

    fn still_there(&self, stop: &Stop) -> bool {
        let Ok(now) = fs::metadata(&self.path) else { return false };
        if now.len() != self.bytes {
            return false;
        }
        // A new time alone may be a `touch`: the content decides.
        now.modified().ok() == self.modified || see(&self.path, stop, &|_| {}).is_ok_and(|now| now.hash == self.hash)
    }
}

fn see(path: &Path, stop: &Stop, add: &(dyn Fn(u64) + Sync)) -> io::Result<Seen> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let (hash, bytes) = hash_all(&mut file, about.len(), stop, add)?;
    Ok(Seen { path: path.to_owned(), bytes, modified: about.modified().ok(), hash })
}

fn hash_all(file: &mut File, expected_bytes: u64, stop: &Stop, add: &(dyn Fn(u64) + Sync)) -> io::Result<(blake3::Hash, u64)> {
    let room = usize::try_from(expected_bytes).unwrap_or(BUFFER_BYTES).clamp(1, BUFFER_BYTES);
    let (mut ready, mut next) = (vec![0; room], vec![0; room]);
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    let mut filled = fill(file, &mut ready)?;
    while filled > 0 {
        if stop.is_asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (_, read) = rayon::join(|| hasher.update_rayon(&ready[..filled]).count(), || fill(file, &mut next));
        total += filled as u64;
        add(filled as u64);
        std::mem::swap(&mut ready, &mut next);
        filled = read?;
    }
    Ok((hasher.finalize(), total))
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn unreadable(source: &str, path: &Path, error: io::Error, stop: &Stop) -> JobError {
    match stop.exit() {
        Some(exit) => JobError::Stopped(exit),
        None => exit::unreadable(source, path, error),
    }
}

/// Returns the hash of a file of the run folder in hex, or nothing where it is not there or cannot be read.
#[must_use]
pub fn of_file(path: &Path) -> Option<String> {
    see(path, &Stop::default(), &|_| {}).ok().map(|seen| seen.hash.to_hex().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io::Write;

    #[test]
    fn buffers_do_not_show_in_the_hash() {
        for n_bytes in [0, 1, 1_000, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 2 * BUFFER_BYTES + 17] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let bytes: Vec<u8> = (0..n_bytes).map(|i| (i % 251) as u8).collect();
            file.write_all(&bytes).unwrap();
            let told = AtomicU64::new(0);
            let seen = see(file.path(), &Stop::default(), &|n| _ = told.fetch_add(n, Ordering::Relaxed)).unwrap();
            assert_eq!((seen.hash, seen.bytes), (blake3::hash(&bytes), n_bytes as u64));
            assert_eq!(told.into_inner(), n_bytes as u64);
        }
    }

    #[test]
    fn a_touched_file_is_the_same_and_a_changed_one_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let seen = see(file.path(), &Stop::default(), &|_| {}).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        File::options().write(true).open(file.path()).unwrap().set_modified(later).unwrap();
        assert!(seen.still_there(&Stop::default()));
        fs::write(file.path(), "abd").unwrap();
        assert!(!seen.still_there(&Stop::default()));
        fs::write(file.path(), "abcd").unwrap();
        assert!(!seen.still_there(&Stop::default()));
    }
}
