//! `--untrusted`: the whole command in a child process that can do little harm, whatever a decoder is talked into.
//!
//! ```text
//! parent   makes the folders to write in, confines itself to them (Landlock), starts itself anew, watches
//! child    has no terminal, starts no process, opens no socket, changes no file's rights (seccomp); dies with its parent; then does what was
//!          asked for, further confined to its budget and its job's folder before a source is opened
//! ```
//!
//! Landlock (Linux 5.13 and later) and seccomp let a process give up rights for good, and its children with it. Signals to others are kept from
//! the child by Linux 6.12 and later. The parent looks at the child's memory fifty times a second and ends it beyond the budget; it decodes
//! nothing itself, and what the child tells it (budget, folder) is said before a source is opened, or checked.
//! Absent    limits on reading: a confined process sees every file that its user may read, and has the descriptors that its caller left open.
//!           Systems other than Linux, where `--untrusted` is refused.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::JobError;
use crate::progress::View;
use crate::run_dir;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod rights;

#[cfg(target_os = "linux")]
pub(crate) use linux::{attempt, enter, is_child, supervise, tell};
#[cfg(target_os = "linux")]
use rights::confine;

/// What is asked of the parent.
pub(crate) struct Asked<'a> {
    /// The spec, for messages.
    pub(crate) spec: &'a Path,
    /// Where the command may write beside the runs: `--allow-write`.
    pub(crate) allow_write: &'a [PathBuf],
    /// Whether the command makes a run, and in which folder where one is named.
    pub(crate) run: Option<Option<&'a Path>>,
    /// File of figures for Prometheus: the child cannot say that it died.
    pub(crate) metrics_file: Option<&'a Path>,
    /// File of what was read and written, likewise.
    pub(crate) lineage_file: Option<&'a Path>,
    /// Where warnings and the end are shown.
    pub(crate) view: &'a View,
}

/// What the child tells the parent, a line of JSON each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What it may hold.
    #[serde(default)]
    pub(crate) memory_bytes: Option<u64>,
    /// The folder of the job's runs, below which it will write.
    #[serde(default)]
    pub(crate) job_folder: Option<PathBuf>,
    /// The run folder that it claimed.
    #[serde(default)]
    pub(crate) run_dir: Option<PathBuf>,
}

/// Refuses a file that a confined run could not write.
///
/// # Errors
/// When the file lies in no folder of `--allow-write`.
pub(crate) fn check_writable(path: &Path, allow_write: &[PathBuf]) -> Result<(), JobError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if allow_write.iter().any(|allowed| real(folder).starts_with(real(allowed))) {
        return Ok(());
    }
    let help = format!("add `--allow-write {}`", folder.display());
    Err(JobError::Confined { what: format!("`{}` lies outside of what it may write", path.display()), help })
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::{Asked, JobError, Told};
    use crate::error::Exit;
    use crate::events::{self, Event};
    use crate::exit;

    pub(crate) const fn is_child() -> bool {
        false
    }

    pub(crate) const fn attempt() -> Option<String> {
        None
    }

    #[allow(clippy::unnecessary_wraps, reason = "it is fallible where processes can be confined")]
    pub(crate) fn tell(_: &Told) -> Result<(), JobError> {
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps, reason = "it is fallible where processes can be confined")]
    pub(super) fn confine(_: &[std::path::PathBuf], _: bool) -> Result<(), JobError> {
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps, reason = "it is fallible where processes can be confined")]
    pub(crate) fn enter(_: &[std::path::PathBuf], _: Option<Option<&std::path::Path>>) -> Result<(), JobError> {
        Ok(())
    }

    pub(crate) fn supervise(asked: &Asked<'_>) -> Exit {
        let what = "this system has no Landlock, so that a process cannot be confined".to_owned();
        let error = JobError::Confined { what, help: "run gristmill in a container without `--untrusted`".to_owned() };
        let (exit, message) = (exit::of(&error), exit::message(&error, asked.spec));
        let event = Event::RunFailed { exit_code: exit as u8, error: message.clone(), problems: Vec::new(), peak_rss_bytes: None };
        events::show_early(asked.view, &event, &format!("error: {message}"));
        exit
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::confine;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{enter, is_child, supervise, tell};

/// Limits a confined process further, to its budget and to its job's folder, which it makes; before a source is opened.
///
/// # Errors
/// When the system refuses.
pub(crate) fn narrow(memory_bytes: u64, folder: &Path, allow_write: &[PathBuf]) -> Result<(), JobError> {
    tell(&Told { memory_bytes: Some(memory_bytes), job_folder: Some(folder.to_owned()), run_dir: None })?;
    run_dir::make(folder)?;
    let mut folders = allow_write.to_vec();
    folders.push(folder.to_owned());
    confine(&folders, true)
}
