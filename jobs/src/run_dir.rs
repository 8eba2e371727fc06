//! The folder of a run: who may work in it, what lies there, and whether it is this run.
//!
//! ```text
//! run-id = first 16 hex of BLAKE3(version, what the spec asks for, hash of every input)
//! ```
//!
//! A lock on `<dir>/lock` dies with its process, so a killed run blocks nobody. A step is done when its
//! `done.json` is there, belongs to this run, and every table that it names has the hash that it names.
//! A folder that holds anything but a run is never touched.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::JobError;
use crate::cache::StepKey;
use crate::hash;
use crate::manifest::{InputRecord, MANIFEST_VERSION, Manifest, OutputRecord, StepRecord};
use crate::outputs::{self, Folder};
use crate::spec::with_defaults;

/// Version of gristmill, part of every run-id.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Names in a run folder beside the folders of steps.
const OWN_FILES: [&str; 7] =
    ["findings.csv", "findings.arrow", "findings.parquet", "spec.toml", "plan.json", "events.jsonl", "report.html"];
/// Folder of the runs of all jobs, below the working directory.
pub(crate) const RUNS: &str = "runs";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const LOCK: &str = "lock";
pub(crate) const DONE: &str = "done.json";
/// Time between two looks at a lock that another run holds.
const WAIT: Duration = Duration::from_millis(100);
/// Names listed in a message before it says "and n more".
const MAX_LISTED: usize = 4;

/// What makes a run this run.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name of the job.
    pub job: String,
    /// Names of the steps.
    pub steps: Vec<String>,
    /// First 16 hex digits of the hash over everything below.
    pub run_id: String,
    /// Hash of what the spec asks for.
    pub spec_hash: String,
    /// The resolved spec.
    pub spec_toml: String,
    /// Every input with its hash.
    pub inputs: Vec<InputRecord>,
}

impl Identity {
    /// Returns the identity of a run: `asked` is the part of the spec that can change an answer.
    #[must_use]
    pub fn new(job: &str, steps: Vec<String>, spec_toml: String, asked: &str, inputs: &[InputRecord]) -> Self {
        let spec_hash = blake3::hash(asked.as_bytes()).to_hex().to_string();
        let mut hasher = blake3::Hasher::new_derive_key("gristmill run-id 1");
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        add(VERSION);
        add(&spec_hash);
        for input in inputs {
            add(&input.source);
            add(&input.blake3);
            add(&input.form());
        }
        let run_id = hasher.finalize().to_hex()[..16].to_owned();
        Self { job: job.to_owned(), steps, run_id, spec_hash, spec_toml, inputs: inputs.to_vec() }
    }
}

/// Returns the folder of a job's runs that were given no other.
#[must_use]
pub fn job_folder(job: &str) -> PathBuf {
    Path::new(RUNS).join(job)
}

/// A claimed run folder; the claim ends with the value or the process.
#[derive(Debug)]
pub struct RunDir {
    /// Where it lies.
    pub path: PathBuf,
    /// The same, held open.
    pub folder: Folder,
    /// The manifest of an earlier command of the same run.
    pub earlier: Option<Manifest>,
    /// Whether the file system can lock; where it cannot, two runs are not kept apart.
    pub is_locked: bool,
    _lock: File,
}

impl RunDir {
    /// Makes or claims the folder; with `fresh` an earlier run in it is removed. Where another run holds it, `may_wait` says whether to try again.
    ///
    /// # Errors
    /// When another run holds it, it holds another run or no run, or cannot be written.
    pub fn claim(path: &Path, identity: &Identity, fresh: bool, may_wait: &dyn Fn() -> bool) -> Result<Self, JobError> {
        make(path)?;
        refuse_strangers(path)?;
        let folder = Folder::open(path).map_err(|error| JobError::Write { path: path.to_owned(), error })?;
        let (lock, is_locked) = lock(&folder, may_wait)?;
        // Looked at again under the lock: another run may have begun since.
        refuse_strangers(path)?;
        let mut earlier = if fresh { None } else { earlier_run(path, identity)? };
        if fresh {
            if let Some(file) = answers(path) {
                let help = "move that file elsewhere, or give another `--run-dir`";
                return Err(refusal(path, format!("holds what someone wrote into `{}`", file.display()), help));
            }
            wipe(&folder, identity)?;
            earlier = None;
        }
        outputs::sweep(&folder)?;
        Ok(Self { path: path.to_owned(), folder, earlier, is_locked, _lock: lock })
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), JobError> {
        outputs::write_json(&self.folder, MANIFEST, manifest)
    }

    /// Says whether an earlier command of this run finished a step, whatever became of its tables since.
    #[must_use]
    pub fn was_finished(&self, step: &str) -> bool {
        outputs::step_folder(&self.path, step).join(DONE).is_file()
    }

    /// Returns the record of a step that an earlier command finished, if all its tables are whole and its
    /// inputs from other steps (`upstream`) are the ones it read.
    #[must_use]
    pub fn finished_step(&self, step: &str, run_id: &str, upstream: &[OutputRecord]) -> Option<StepDone> {
        let text = fs::read(outputs::step_folder(&self.path, step).join(DONE)).ok()?;
        let done: StepDone = serde_json::from_slice(&text).ok()?;
        let is_ours = done.version == MANIFEST_VERSION && done.run_id == run_id && done.record.name == step && done.upstream == upstream;
        (is_ours && done.outputs.iter().all(|output| self.is_whole(output))).then_some(done)
    }

    /// Says whether a file has the size and hash that were noted when it was written; one that people write into, whether it is there.
    #[must_use]
    pub fn is_whole(&self, output: &OutputRecord) -> bool {
        is_whole(&self.path, output)
    }

    /// Marks a step as done; every table must lie under its final name by now.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark_done(&self, done: &StepDone) -> Result<(), JobError> {
        let name = &done.record.name;
        let path = || outputs::step_folder(&self.path, name).join(DONE);
        let folder = self.folder.below(name).map_err(|error| JobError::Write { path: path(), error })?;
        outputs::write_json(&folder, DONE, done)
    }

    /// Makes the folder of a step that is about to run and takes an earlier mark away.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn begin_step(&self, step: &str) -> Result<Folder, JobError> {
        let path = outputs::step_folder(&self.path, step);
        check_folder(&path)?;
        outputs::create_folder_in(&self.folder, step)?;
        let folder = self.folder.below(step).map_err(|error| JobError::Write { path, error })?;
        remove(&folder, DONE)?;
        Ok(folder)
    }
}

/// Says whether a file has the size and hash that were noted when it was written; one that people write into, whether it is there.
pub(crate) fn is_whole(run_dir: &Path, output: &OutputRecord) -> bool {
    let path = run_dir.join(&output.path);
    if output.is_for_people() {
        return is_inside(&output.path) && path.is_file();
    }
    is_inside(&output.path)
        && fs::metadata(&path).is_ok_and(|about| about.len() == output.bytes)
        && hash::of_file(&path).is_some_and(|hash| hash == output.blake3)
}

/// Refuses what lies in the place of a folder of a step: through a link, files would be written wherever it leads.
///
/// # Errors
/// Where it is there and no folder.
pub(crate) fn check_folder(folder: &Path) -> Result<(), JobError> {
    if fs::symlink_metadata(folder).is_ok_and(|about| !about.is_dir()) {
        return Err(refusal(folder, "is a link or a file, and no folder".to_owned(), "remove it, or give another `--run-dir`"));
    }
    Ok(())
}

/// `<step>/done.json`: the last file that a step writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDone {
    /// `MANIFEST_VERSION` of the writer.
    pub version: u32,
    /// Run that the step belongs to.
    pub run_id: String,
    /// Tables of other steps that it read.
    pub upstream: Vec<OutputRecord>,
    /// What the manifest says of the step.
    pub record: StepRecord,
    /// Its tables.
    pub outputs: Vec<OutputRecord>,
    /// Everything that they depend on.
    #[serde(default)]
    pub key: Option<StepKey>,
}

/// Reads the manifest of a run folder.
///
/// # Errors
/// When there is none or it cannot be understood.
pub fn read_manifest(path: &Path) -> Result<Manifest, JobError> {
    let refuse = |found: String| refusal(path, found, "give the folder of a run, one with a `manifest.json` in it");
    let text = match fs::read(path.join(MANIFEST)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(refuse("holds no run".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(refuse("is no folder".to_owned())),
        Err(error) => return Err(JobError::ReadBack { path: path.join(MANIFEST), error }),
    };
    let odd = |error: serde_json::Error| refuse(format!("holds a `{MANIFEST}` that cannot be understood ({error})"));
    let manifest: Value = serde_json::from_slice(&text).map_err(odd)?;
    match manifest["version"].as_u64() {
        Some(version) if version != u64::from(MANIFEST_VERSION) => Err(refusal(
            path,
            format!("holds a run of version {version}, and this gristmill reads version {MANIFEST_VERSION}"),
            "use the gristmill that made it, or another folder",
        )),
        _ => serde_json::from_value(manifest).map_err(odd),
    }
}

fn refusal(path: &Path, found: String, help: &str) -> JobError {
    JobError::RunDir { path: path.to_owned(), found, help: help.to_owned() }
}

pub(crate) fn make(path: &Path) -> Result<(), JobError> {
    match outputs::create_folder(path) {
        Err(JobError::Write { error, .. }) if is_users_fault(&error) => {
            let error = if path.is_file() { "it is a file".to_owned() } else { error.to_string() };
            Err(refusal(path, format!("cannot be made: {error}"), "give a folder that you may write with `--run-dir DIR`"))
        }
        other => other,
    }
}

/// Says whether another try could not help: the path itself cannot hold a folder of this user.
fn is_users_fault(error: &io::Error) -> bool {
    use ErrorKind::{AlreadyExists, InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        AlreadyExists | InvalidFilename | InvalidInput | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem
    )
}

/// Refuses a folder that holds files but no run: nobody's files are written over.
fn refuse_strangers(path: &Path) -> Result<(), JobError> {
    let strangers = || -> io::Result<Vec<String>> {
        if path.join(MANIFEST).try_exists()? {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in outputs::again(|| fs::read_dir(path))? {
            let name = entry?.file_name();
            // A run that was killed before its first manifest leaves these two.
            if name != LOCK && !outputs::is_temp(&name) {
                names.push(name.display().to_string());
            }
        }
        names.sort();
        Ok(names)
    };
    let names = strangers().map_err(|error| JobError::ReadBack { path: path.to_owned(), error })?;
    if names.is_empty() {
        return Ok(());
    }
    Err(refusal(path, format!("holds files that are no run ({})", listed(&names)), "give a new or empty folder with `--run-dir DIR`"))
}

/// Opens a file of the run folder that is written in place, the others are replaced: made where it is not there, refused where a link or a
/// device lies there.
pub(crate) fn open_own(folder: &Folder, name: &str) -> Result<File, JobError> {
    let path = &folder.at(name);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // A queue would be waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    let failed = |error| JobError::Write { path: folder.path().join(name), error };
    let lies_there = fs::symlink_metadata(path).is_ok_and(|about| !about.is_file());
    let opened = options.open(path);
    let is_other = match &opened {
        // Elsewhere than on Unix the link was followed.
        Ok(file) => lies_there || !file.metadata().map_err(failed)?.is_file(),
        Err(_) => lies_there,
    };
    if is_other {
        return Err(refusal(folder.path(), format!("has a `{name}` that is a link, or no file"), "remove it, or give another `--run-dir`"));
    }
    opened.map_err(failed)
}

/// Tries to lock a file, and again a moment later: a list of runs holds it for as long as it takes to look.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    let mut n_left = 2;
    loop {
        match file.try_lock() {
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => continue,
            Err(TryLockError::WouldBlock) if n_left > 0 => thread::sleep(WAIT / 2),
            other => return other,
        }
        n_left -= 1;
    }
}

fn lock(folder: &Folder, may_wait: &dyn Fn() -> bool) -> Result<(File, bool), JobError> {
    let file = open_own(folder, LOCK)?;
    let locked = loop {
        match try_lock(&file) {
            Err(TryLockError::WouldBlock) if may_wait() => {}
            other => break other,
        }
    };
    match locked {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => Err(JobError::Locked(folder.path().to_owned())),
        // Some cluster file systems are mounted without locks; a run there is better than none.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(JobError::Write { path: folder.path().join(LOCK), error }),
    }
}

/// Returns a file below a run folder that holds answers of people, whatever the manifest says of it; one that cannot be looked into counts as such.
pub(crate) fn answers(path: &Path) -> Option<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let files = entries(path).into_iter().filter(|folder| folder.is_dir()).flat_map(|folder| entries(&folder));
    let mut texts: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|ending| ending == "csv")).collect();
    texts.sort();
    texts.into_iter().find(|file| is_answered(file).unwrap_or(true))
}

/// Says whether a text asks for answers, in a first column `match`, and someone gave one.
fn is_answered(file: &Path) -> io::Result<bool> {
    let mut lines = BufReader::new(File::open(file)?);
    let mut head = Vec::new();
    lines.read_until(b'\n', &mut head)?;
    let head = String::from_utf8_lossy(&head).replace(['\u{feff}', '"'], "");
    if head.split([',', ';', '\t']).next() != Some("match") {
        return Ok(false);
    }
    // A line begins a record where the quotes before it are pairs.
    let (mut line, mut in_quotes) = (Vec::new(), false);
    while lines.read_until(b'\n', &mut line)? > 0 {
        if !in_quotes && !line.starts_with(b"\"\"") && !matches!(line[0], b',' | b';' | b'\t' | b'\r' | b'\n') {
            return Ok(true);
        }
        in_quotes ^= line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        line.clear();
    }
    Ok(false)
}

/// Returns the manifest of a folder whose process has died, with the lock on it.
///
/// # Errors
/// When there is none, or another run has taken it since.
#[cfg(target_os = "linux")]
pub(crate) fn of_the_dead(folder: &Folder) -> Result<(File, Manifest), JobError> {
    let path = folder.path();
    let (lock, _) = lock(folder, &|| false)?;
    if !is_modest(&path.join(MANIFEST)) {
        return Err(refusal(path, format!("holds no `{MANIFEST}` of ours"), "give another `--run-dir`"));
    }
    Ok((lock, read_manifest(path)?))
}

/// Says whether something is a file, and no link, that can be read whole; what a dead process left behind may be anything.
#[cfg(target_os = "linux")]
pub(crate) fn is_modest(path: &Path) -> bool {
    /// Bytes of a manifest or log that is looked at.
    const MOST_BYTES: u64 = 256 << 20;
    fs::symlink_metadata(path).is_ok_and(|about| about.is_file() && about.len() <= MOST_BYTES)
}

/// Returns the manifest of an earlier command, which must be one of the same run.
fn earlier_run(path: &Path, identity: &Identity) -> Result<Option<Manifest>, JobError> {
    if !path.join(MANIFEST).exists() {
        return Ok(None);
    }
    let manifest = read_manifest(path)?;
    if manifest.run_id == identity.run_id {
        return Ok(Some(manifest));
    }
    let found = difference(path, &manifest, identity);
    Err(refusal(path, found, "give another `--run-dir`, or start over in this one with `--fresh`"))
}

/// Says in what a run that lies in the folder differs from the one asked for.
fn difference(path: &Path, manifest: &Manifest, identity: &Identity) -> String {
    if manifest.job != identity.job {
        return format!("holds a run of another job (`{}`, not `{}`)", manifest.job, identity.job);
    }
    if manifest.spec_hash != identity.spec_hash {
        let earlier = fs::read_to_string(path.join("spec.toml")).unwrap_or_default();
        let keys = changed_keys(&with_defaults(&earlier), &with_defaults(&identity.spec_toml));
        return format!("holds a run of another spec ({})", if keys.is_empty() { "it was edited".to_owned() } else { listed(&keys) });
    }
    let files = changed_inputs(&manifest.inputs, &identity.inputs);
    if !files.is_empty() {
        return format!("holds a run of other inputs ({})", listed(&files));
    }
    format!("holds a run of gristmill {} (this is {VERSION})", manifest.gristmill)
}

/// Returns the dotted keys whose values differ between two specs.
pub(crate) fn changed_keys(old: &str, new: &str) -> Vec<String> {
    let (Ok(old), Ok(new)) = (old.parse::<toml::Table>(), new.parse::<toml::Table>()) else { return Vec::new() };
    let mut keys = Vec::new();
    compare("", &toml::Value::Table(old), &toml::Value::Table(new), &mut keys);
    keys
}

fn compare(at: &str, old: &toml::Value, new: &toml::Value, keys: &mut Vec<String>) {
    let (toml::Value::Table(old), toml::Value::Table(new)) = (old, new) else {
        if old != new {
            keys.push(format!("`{at}`{}", was_and_is(old, new)));
        }
        return;
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => compare(&at, old, new, keys),
            (Some(_), None) => keys.push(format!("`{at}` is gone")),
            (None, _) => keys.push(format!("`{at}` is new")),
        }
    }
}

/// Returns both values where they are short enough to be read in a message.
fn was_and_is(old: &toml::Value, new: &toml::Value) -> String {
    let word = |value: &toml::Value| match value {
        toml::Value::String(text) if text.len() <= 40 => Some(format!("{text:?}")),
        toml::Value::Integer(n) => Some(n.to_string()),
        toml::Value::Float(x) => Some(x.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    };
    match (word(old), word(new)) {
        (Some(old), Some(new)) => format!(" was {old} and is {new}"),
        _ => " has changed".to_owned(),
    }
}

fn changed_inputs(old: &[InputRecord], new: &[InputRecord]) -> Vec<String> {
    let key = |input: &InputRecord| (input.source.clone(), input.path.clone());
    let other = |list: &[InputRecord], input: &InputRecord| list.iter().find(|other| key(other) == key(input)).cloned();
    let mut names = Vec::new();
    for input in new {
        match other(old, input) {
            Some(before) if before.blake3 == input.blake3 => {}
            Some(_) => names.push(format!("`{}` has changed", input.path)),
            None => names.push(format!("`{}` is new", input.path)),
        }
    }
    names.extend(old.iter().filter(|input| other(new, input).is_none()).map(|input| format!("`{}` is gone", input.path)));
    names
}

pub(crate) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Removes an earlier run: what its manifest names, and what the new spec would write.
///
/// The manifest goes last, so that a wipe that was cut short is still seen as a run and can be done again.
fn wipe(folder: &Folder, identity: &Identity) -> Result<(), JobError> {
    let before = read_manifest(folder.path()).map(|manifest| manifest.steps).unwrap_or_default();
    let steps = before.iter().map(|step| &step.name).chain(&identity.steps);
    for step in steps.filter(|name| is_name(name)) {
        let failed = |error| JobError::Write { path: folder.path().join(step), error };
        match folder.below(step) {
            Ok(folder) => remove(&folder, DONE)?,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(failed(error)),
        }
        match outputs::again(|| fs::remove_dir_all(folder.at(step))) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    for name in OWN_FILES {
        remove(folder, name)?;
    }
    outputs::sweep(folder)?;
    remove(folder, MANIFEST)
}

/// Says whether a text is one name of a file or folder, written as the system takes it.
pub(crate) fn is_name(text: &str) -> bool {
    let mut parts = Path::new(text).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == text)
}

/// Says whether a path is that of a file of a run: in its folder, or in that of a step.
pub(crate) fn is_inside(path: &str) -> bool {
    path.split('/').count() <= 2 && path.split('/').all(is_name)
}

fn remove(folder: &Folder, name: &str) -> Result<(), JobError> {
    match outputs::again(|| fs::remove_file(folder.at(name))) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(JobError::Write { path: folder.path().join(name), error }),
        _ => Ok(()),
    }
}
