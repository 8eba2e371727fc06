//! `gristmill runs`: what lies below `runs`, and the removal of what is no longer wanted.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::JobError;
use crate::error::Exit;
use crate::manifest::{Manifest, State};
use crate::outputs::{self, Folder};
use crate::run_dir::{self, LOCK};
use crate::terminal::{bytes, counted};

/// A run that was found.
struct Found {
    path: PathBuf,
    manifest: Manifest,
    is_latest: bool,
}

/// Returns a line for every run, the latest of each job first.
///
/// # Errors
/// When a folder cannot be read, or a job is named that has no runs.
pub fn list(job: Option<&str>) -> Result<String, JobError> {
    let jobs = match job {
        Some(job) => vec![job.to_owned()],
        None => folders(Path::new(run_dir::RUNS))?,
    };
    let mut page = String::new();
    for job in &jobs {
        // A folder without a run is no reason to show nothing of the others.
        let runs = of_job(job);
        for run in if jobs.len() > 1 { runs.unwrap_or_default() } else { runs? } {
            let Found { path, manifest, is_latest } = &run;
            let state = match (manifest.state, manifest.exit_code) {
                (State::Done, Some(code)) if code == Exit::Check as u8 => "check failed",
                (State::Done, _) => "done",
                (State::Failed, _) => "failed",
                (State::Interrupted, _) => "stopped",
                (State::Planned | State::Running, _) => match is_held(path) {
                    Some(true) => "running",
                    Some(false) => "cut short",
                    None => "not ended",
                },
            };
            let latest = if *is_latest { "  latest" } else { "" };
            let when = manifest.finished.as_deref().unwrap_or(&manifest.started);
            let size = bytes(outputs::size_of(path));
            let found = counted(manifest.n_findings, "finding");
            page.push_str(&format!("{job}  {}  {when}  {state}  {found}  {size}{latest}\n", manifest.run_id));
        }
    }
    if page.is_empty() {
        page.push_str("no runs below `runs`\n");
    }
    Ok(page)
}

/// Says whether a process works on a run; none where there is no lock to look at, or the file system has none.
fn is_held(path: &Path) -> Option<bool> {
    let path = path.join(LOCK);
    // A queue in its place would be waited for.
    let lock = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file).and_then(|_| File::open(&path).ok())?;
    match lock.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Removes all runs of a job but the latest `keep`; returns a line for each.
///
/// # Errors
/// When the job has no runs, or a folder cannot be removed.
pub fn prune(job: &str, keep: usize, dry_run: bool) -> Result<String, JobError> {
    let (mut page, mut n, mut freed) = (String::new(), 0, 0);
    for run in of_job(job)?.iter().skip(keep).filter(|run| !run.is_latest) {
        let size = outputs::size_of(&run.path);
        let shown = run.path.display();
        if let Some(file) = run_dir::answers(&run.path) {
            page.push_str(&format!("left {shown}: someone wrote into `{}`; move it elsewhere first\n", file.display()));
            continue;
        }
        if dry_run {
            page.push_str(&format!("would remove {shown} ({})\n", bytes(size)));
        } else if remove(&run.path, matches!(run.manifest.state, State::Planned | State::Running))? {
            page.push_str(&format!("removed {shown} ({})\n", bytes(size)));
        } else {
            page.push_str(&format!("left {shown}: it is under way\n"));
            continue;
        }
        n += 1;
        freed += size;
    }
    let verb = if dry_run { "would be removed" } else { "removed" };
    page.push_str(&format!("{} {verb}, {}\n", counted(n, "run"), bytes(freed)));
    Ok(page)
}

/// Removes a run unless a process holds it; its manifest goes first, so that what is left of a removal that was cut short is no run.
fn remove(path: &Path, is_under_way: bool) -> Result<bool, JobError> {
    let folder = Folder::open(path).map_err(|error| JobError::Write { path: path.to_owned(), error })?;
    let lock = run_dir::open_own(&folder, LOCK)?;
    let removed = || -> io::Result<bool> {
        match run_dir::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            // Where the file system has no locks, only the manifest tells.
            Err(TryLockError::Error(_)) if is_under_way => return Ok(false),
            Err(TryLockError::Error(_)) => {}
        }
        fs::remove_file(path.join(run_dir::MANIFEST))?;
        outputs::again(|| fs::remove_dir_all(path))?;
        Ok(true)
    };
    removed().map_err(|error| JobError::Write { path: path.to_owned(), error })
}

/// Returns the runs of a job, the latest first.
fn of_job(job: &str) -> Result<Vec<Found>, JobError> {
    let folder = run_dir::job_folder(job);
    let refused = || JobError::RunDir {
        path: folder.clone(),
        found: "holds no runs".to_owned(),
        help: "`gristmill runs list` shows the jobs that have some".to_owned(),
    };
    if !run_dir::is_name(job) || !folder.is_dir() {
        return Err(refused());
    }
    let latest = fs::canonicalize(folder.join("latest")).ok();
    let mut runs: Vec<Found> = Vec::new();
    for name in folders(&folder)? {
        let path = folder.join(&name);
        // Another folder that someone put there is no run.
        if let Ok(manifest) = run_dir::read_manifest(&path) {
            let is_latest = fs::canonicalize(&path).ok() == latest;
            runs.push(Found { path, manifest, is_latest });
        }
    }
    if runs.is_empty() {
        return Err(refused());
    }
    runs.sort_by(|a, b| b.manifest.started.cmp(&a.manifest.started));
    Ok(runs)
}

/// Returns the names of folders in a folder, sorted, without links; none where it is not there.
fn folders(folder: &Path) -> Result<Vec<String>, JobError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| JobError::ReadBack { path: folder.to_owned(), error }),
    }
}
