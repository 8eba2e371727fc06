//! From causes to exit codes and to the words that go with them; a panic becomes a bug report.
//!
//! One code a run. Where several steps failed the worst one counts: 70 > 6 > 5 > 3 > 2 > 75 > 4.

use std::any::Any;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gristmill_datasets::{Cause, ReadError};

use crate::JobError;
use crate::error::Exit;
use crate::run_dir::VERSION;

/// Where the last panic began and its words; the unwinding alone does not carry the place.
static LAST_PANIC: Mutex<Option<(String, String)>> = Mutex::new(None);

/// Returns the exit code that an error gives.
#[must_use]
pub fn of(error: &JobError) -> Exit {
    match error {
        JobError::Read { error, .. } => of_read(error),
        JobError::Data { .. } => Exit::Data,
        JobError::Check { .. } => Exit::Check,
        JobError::Budget { .. } | JobError::Over(_) => Exit::Budget,
        JobError::Device(_) => Exit::Device,
        JobError::Spec { .. } | JobError::RunDir { .. } | JobError::Taken(_) | JobError::Confined { .. } => Exit::Spec,
        // The limit on the size of files (`ulimit -f`) is a budget.
        JobError::Write { error, .. } if error.kind() == ErrorKind::FileTooLarge => Exit::Budget,
        JobError::Died { signal } if JobError::is_deadly_data(*signal) => Exit::Data,
        JobError::Locked(_) | JobError::Write { .. } | JobError::ReadBack { .. } | JobError::Died { .. } => Exit::Temporary,
        JobError::Stopped(exit) => *exit,
        JobError::Bug(_) => Exit::Bug,
    }
}

/// Returns the exit code of a source that cannot be read.
#[must_use]
pub fn of_read(error: &ReadError) -> Exit {
    match error.cause() {
        Cause::Spec => Exit::Spec,
        Cause::Data => Exit::Data,
        Cause::Budget => Exit::Budget,
        Cause::Temporary => Exit::Temporary,
    }
}

/// Returns the worse of two errors of one run.
#[must_use]
pub fn worse(one: JobError, other: JobError) -> JobError {
    let rank = |error: &JobError| match of(error) {
        Exit::Bug => 0,
        Exit::Device => 1,
        Exit::Budget => 2,
        Exit::Data => 3,
        Exit::Spec => 4,
        Exit::Interrupted | Exit::Terminated => 5,
        Exit::Temporary => 6,
        Exit::Check => 7,
        Exit::Done => 8,
    };
    if rank(&other) < rank(&one) { other } else { one }
}

/// Returns the error of an input that the system would not let us read.
#[must_use]
pub fn unreadable(source_name: &str, path: &Path, error: io::Error) -> JobError {
    let path = path.to_owned();
    let error = match error.kind() {
        ErrorKind::PermissionDenied => ReadError::Denied { path },
        ErrorKind::NotFound => ReadError::NotFound { path, nearest: None },
        _ => ReadError::Io { path, source: error },
    };
    JobError::Read { source_name: source_name.to_owned(), error: Box::new(error) }
}

/// Returns the whole message: the error, what the system said below it, and for a bug what to do with it.
#[must_use]
pub fn message(error: &JobError, spec: &Path) -> String {
    let mut text = error.to_string();
    let mut below = match error {
        JobError::Read { error, .. } => error.source(),
        _ => error.source(),
    };
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    match error {
        JobError::Bug(_) => {
            let spec = spec.display();
            format!("{text}; this is a bug in gristmill {VERSION}: please report this line together with `{spec}`")
        }
        JobError::Device(_) => format!("{text}; `gristmill doctor` shows every adapter, `place = \"auto\"` does without one"),
        _ => text,
    }
}

/// Keeps panics off stderr, which may carry JSON: `fence` and the fences round decoders and drivers report them.
pub fn hush_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some((words(info.payload()), place));
    }));
}

/// Does the work; a panic in it becomes `JobError::Bug`.
///
/// # Errors
/// Those of the work.
pub fn fence<T>(work: impl FnOnce() -> Result<T, JobError>) -> Result<T, JobError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(JobError::Bug(located(&*panic))))
}

fn located(panic: &(dyn Any + Send)) -> String {
    let said = words(panic);
    match LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some((last, place)) if last == said => format!("{said} ({place})"),
        _ => said,
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn data() -> JobError {
        JobError::Data { step: "a".to_owned(), message: "m".to_owned() }
    }

    #[test]
    fn the_worst_error_counts() {
        let full = || JobError::Write { path: "x".into(), error: ErrorKind::StorageFull.into() };
        let budget = || JobError::Budget { what: "w".to_owned(), needed_bytes: 2, budget_bytes: 1, help: "h".to_owned() };
        assert_eq!(of(&worse(full(), data())), Exit::Data);
        assert_eq!(of(&worse(data(), budget())), Exit::Budget);
        assert_eq!(of(&worse(budget(), JobError::Device(String::new()))), Exit::Device);
        assert_eq!(of(&worse(JobError::Bug(String::new()), JobError::Device(String::new()))), Exit::Bug);
    }

    #[test]
    fn what_cannot_be_read_says_whose_business_it_is() {
        let code = |kind: ErrorKind| of(&unreadable("s", Path::new("f.csv"), kind.into()));
        assert_eq!([code(ErrorKind::PermissionDenied), code(ErrorKind::NotFound)], [Exit::Data, Exit::Spec]);
        assert_eq!(code(ErrorKind::TimedOut), Exit::Temporary);
        let error = unreadable("s", Path::new("f.csv"), io::Error::from_raw_os_error(5));
        assert!(message(&error, Path::new("x.toml")).contains("os error 5"), "{}", message(&error, Path::new("x.toml")));
    }

    #[test]
    fn a_panic_is_a_bug_that_names_version_and_spec() {
        let error = fence::<()>(|| panic!("the impossible")).unwrap_err();
        assert_eq!(of(&error), Exit::Bug);
        let text = message(&error, Path::new("nightly.toml"));
        assert!(text.contains("the impossible") && text.contains(VERSION) && text.contains("`nightly.toml`"), "{text}");
    }
}
