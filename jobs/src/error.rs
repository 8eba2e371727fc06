//! What can end a run, and the exit code that each cause gives.

use std::path::PathBuf;

use gristmill_datasets::ReadError;

use crate::memory;

/// Exit codes are a contract with schedulers: each says what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, with findings or without.
    Done = 0,
    /// The command line or the spec is wrong, or names a file or column that is not there.
    Spec = 2,
    /// The data are corrupt, of the wrong type, encrypted or unreadable.
    Data = 3,
    /// A check of severity `fail` failed.
    Check = 4,
    /// A declared budget (memory, disk, time) would be passed.
    Budget = 5,
    /// A device was required and is not usable.
    Device = 6,
    /// A bug in gristmill.
    Bug = 70,
    /// Temporary: a lock is held, the disk is full, input or output failed. Try again.
    Temporary = 75,
    /// Stopped by SIGINT; the same command goes on.
    Interrupted = 130,
    /// Stopped by SIGTERM or SIGHUP; the same command goes on.
    Terminated = 143,
}

impl Exit {
    /// Returns the exit that a code stands for.
    #[must_use]
    pub fn of_code(code: i32) -> Option<Self> {
        let all = [
            Self::Done,
            Self::Spec,
            Self::Data,
            Self::Check,
            Self::Budget,
            Self::Device,
            Self::Bug,
            Self::Temporary,
            Self::Interrupted,
            Self::Terminated,
        ];
        all.into_iter().find(|exit| i32::from(*exit as u8) == code)
    }
}

/// Signal by which the system ends a process, for want of memory too.
const KILL: i32 = 9;

/// Says what a signal that ended a confined process means, and what to do.
fn of_signal(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        KILL => return "was killed from outside (SIGKILL), as the system does where memory runs out; the same command goes on".to_owned(),
        11 => "SIGSEGV",
        31 => "SIGSYS",
        _ => return format!("died of signal {signal}; the same command goes on"),
    };
    let abort = if signal == 6 { " (out of memory or stack, or a decoder that gave up)" } else { "" };
    format!("died of {name}{abort}: a file that it read did this; leave out one source after the other to find it")
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A source could not be read.
    #[error("source `{source_name}`: {error}")]
    Read {
        /// Name in the spec.
        source_name: String,
        /// What happened; boxed, because every result of the crate carries the space.
        error: Box<ReadError>,
    },
    /// The data do not allow the step.
    #[error("step `{step}`: {message}")]
    Data {
        /// Name in the spec.
        step: String,
        /// What is wrong, with both numbers.
        message: String,
    },
    /// The step names something that its input, a table of another step, does not have.
    #[error("step `{step}`: {message}")]
    Spec {
        /// Name in the spec.
        step: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A budget would be passed.
    #[error("{what} needs {needed_bytes} bytes, but the budget is {budget_bytes} bytes; {help}")]
    Budget {
        /// Who needs it.
        what: String,
        /// How much.
        needed_bytes: u64,
        /// How much there is.
        budget_bytes: u64,
        /// What to do.
        help: String,
    },
    /// A check failed that another step waits for.
    #[error("{sentence}; step `{step}` needs it, so it was not run")]
    Check {
        /// The step that was not run.
        step: String,
        /// What does not hold.
        sentence: String,
    },
    /// A device was required and is not usable.
    #[error("`place = \"gpu\"`, but no GPU can be used: {0}")]
    Device(String),
    /// The run folder belongs to another spec or other inputs, or cannot be one.
    #[error("run folder `{path}` {found}; {help}")]
    RunDir {
        /// The folder.
        path: PathBuf,
        /// What lies there, with its verb: "holds other inputs (...)".
        found: String,
        /// What to do.
        help: String,
    },
    /// A file that would be written over.
    #[error("`{0}` is there already, and nothing was written; name an empty folder with `--dir`")]
    Taken(PathBuf),
    /// Another run holds the lock.
    #[error("{0} is in use by another run; try again when it has ended")]
    Locked(PathBuf),
    /// A file could not be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file of the run folder could not be read again.
    #[error("cannot read {path}: {error}")]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Asked to stop; carries the exit code.
    #[error("stopped; the same command goes on where this one ended")]
    Stopped(Exit),
    /// A budget of time or disk was passed while the run was under way.
    #[error("{0}; the same command goes on where this one ended")]
    Over(String),
    /// A process cannot be confined, or what is asked of it lies outside.
    #[error("`--untrusted`: {what}; {help}")]
    Confined {
        /// What is in the way.
        what: String,
        /// What to do.
        help: String,
    },
    /// The confined process died of a signal, by number.
    #[error("the confined process {}", of_signal(*signal))]
    Died {
        /// Number of the signal.
        signal: i32,
    },
    /// A bug.
    #[error("internal error: {0}")]
    Bug(String),
}

impl JobError {
    /// Says whether the data that a confined process read made it die.
    pub(crate) const fn is_deadly_data(signal: i32) -> bool {
        matches!(signal, 4..=8 | 11 | 31)
    }

    /// Returns the error of a step as one of the whole run, whose budget people wrote and can raise.
    #[must_use]
    pub(crate) fn of_whole_budget(self, whole_bytes: u64) -> Self {
        match self {
            Self::Budget { what, needed_bytes, budget_bytes, help } if budget_bytes == memory::for_step(whole_bytes) => {
                Self::Budget { what, needed_bytes: memory::of_step(needed_bytes), budget_bytes: whole_bytes, help }
            }
            other => other,
        }
    }
}
