//! Signals: the first one asks for an orderly stop, the second one ends the process at once.
//!
//! ```text
//! SIGINT 130      SIGTERM, SIGHUP 143      SIGXFSZ (`ulimit -f`): the write fails, 5
//! ```
//!
//! Handlers only set a flag, which blocks and hashing poll; so a run stops at the next block with its state saved.
//! Where that takes longer than `PATIENCE` the runner saves the state beside the block and leaves; a thread of
//! this module ends the process where even that hangs (a dead network file system).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Exit, JobError};

/// How long a stop may take before the work under way is given up.
pub const PATIENCE: Duration = Duration::from_millis(3_800);
/// How long a stop may take in all.
const LAST_RESORT: Duration = Duration::from_millis(4_700);
/// Time between two looks at the flag.
const TICK: Duration = Duration::from_millis(100);

/// Says whether the run was asked to stop, and by which signal.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    code: Arc<AtomicUsize>,
    /// The budget that was passed, where it was no signal.
    budget: Arc<OnceLock<String>>,
}

/// Takes the signal that a file would be larger than `ulimit -f` allows: it ends the process where nobody takes it; taken, the write fails.
///
/// # Errors
/// When the system refuses a handler.
#[cfg(unix)]
pub fn take_file_limit() -> io::Result<()> {
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(|_| ())
}

/// There is no such signal.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub const fn take_file_limit() -> io::Result<()> {
    Ok(())
}

impl Stop {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn armed() -> io::Result<Self> {
        let stop = Self::default();
        stop.arm()?;
        Ok(stop)
    }

    /// Installs the handlers for a stop that nothing asks for yet; it starts a thread.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn arm(&self) -> io::Result<()> {
        let asked = Arc::new(AtomicBool::new(false));
        for (signal, exit) in watched() {
            // Order matters: the first signal finds `asked` unset, then sets it; the second one finds it set.
            flag::register_conditional_shutdown(signal, i32::from(exit as u8), Arc::clone(&asked))?;
            flag::register_usize(signal, Arc::clone(&self.code), usize::from(exit as u8))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        let watched = self.clone();
        thread::Builder::new().name("gristmill-stop".to_owned()).spawn(move || last_resort(&watched))?;
        Ok(())
    }

    /// Returns the exit code of the signal that came, if one came.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        match self.code.load(Ordering::SeqCst) {
            0 => None,
            code if code == usize::from(Exit::Interrupted as u8) => Some(Exit::Interrupted),
            code if code == usize::from(Exit::Budget as u8) => Some(Exit::Budget),
            _ => Some(Exit::Terminated),
        }
    }

    /// Asks for a stop because a budget is passed; says so in a sentence.
    pub fn give_up(&self, budget: String) {
        if self.budget.set(budget).is_ok() {
            let nothing_yet = self.code.compare_exchange(0, usize::from(Exit::Budget as u8), Ordering::SeqCst, Ordering::SeqCst);
            let _a_signal_came_first = nothing_yet;
        }
    }

    /// Returns a stop as what it is: a signal, or a budget that was passed.
    #[must_use]
    pub fn explained(&self, error: JobError) -> JobError {
        match (error, self.budget.get()) {
            (JobError::Stopped(Exit::Budget), Some(budget)) => JobError::Over(budget.clone()),
            (error, _) => error,
        }
    }

    /// Says whether a signal came.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.exit().is_some()
    }

    /// Ends a stage when a signal came.
    ///
    /// # Errors
    /// `JobError::Stopped` with the exit code of the signal.
    pub fn check(&self) -> Result<(), JobError> {
        self.exit().map_or(Ok(()), |exit| Err(JobError::Stopped(exit)))
    }
}

/// Ends the process at once, without waiting for threads.
pub fn leave(exit: Exit) -> ! {
    signal_hook::low_level::exit(i32::from(exit as u8))
}

fn last_resort(stop: &Stop) {
    loop {
        thread::sleep(TICK);
        if let Some(exit) = stop.exit() {
            thread::sleep(LAST_RESORT.saturating_sub(TICK));
            leave(exit);
        }
    }
}

fn watched() -> Vec<(i32, Exit)> {
    let mut signals = vec![(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)];
    #[cfg(unix)]
    signals.push((signal_hook::consts::SIGHUP, Exit::Terminated));
    signals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_stops_too_and_names_itself() {
        let stop = Stop::default();
        stop.give_up("over".to_owned());
        stop.give_up("over again".to_owned());
        let error = stop.check().expect_err("it is asked to stop");
        assert!(matches!(stop.explained(error), JobError::Over(words) if words == "over"));
        let stop = Stop::default();
        stop.code.store(143, Ordering::SeqCst);
        stop.give_up("over".to_owned());
        assert_eq!(stop.exit(), Some(Exit::Terminated));
    }

    #[test]
    fn the_code_says_which_signal_came() {
        let stop = Stop::default();
        assert!(stop.exit().is_none() && stop.check().is_ok());
        stop.code.store(130, Ordering::SeqCst);
        assert_eq!(stop.exit(), Some(Exit::Interrupted));
        stop.code.store(143, Ordering::SeqCst);
        assert!(matches!(stop.check(), Err(JobError::Stopped(Exit::Terminated))));
    }
}
