//! Both sides on Linux: rights given up, limits set, the child watched.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, kill_process, set_parent_process_death_signal, setrlimit, setsid,
};

use super::rights::{confine, forbid};
use super::{Asked, Told};
use crate::JobError;
use crate::error::Exit;
use crate::events::{self, Event, Events};
use crate::exit;
use crate::lineage::{self, Lineage};
use crate::manifest::State;
use crate::memory;
use crate::metrics;
use crate::outputs::{self, Folder};
use crate::run_dir;
use crate::signals::Stop;
use crate::slots;
use crate::terminal;

/// Set in the child, to an id of this run of the command.
const CHILD: &str = "GRISTMILL_CONFINED";
/// Time between two looks at the child.
const TICK: Duration = Duration::from_millis(20);
/// How long the child may take to stop; it leaves by itself before, and this process a little after.
const PATIENCE: Duration = Duration::from_millis(4_300);
/// Private memory beyond the budget that the kernel refuses: stacks, and what drivers take.
const SLACK_BYTES: u64 = 2 << 30;
/// Longest line that the child may tell.
const MOST_TOLD_BYTES: u64 = 1 << 16;

/// The way to the parent.
static PARENT: Mutex<Option<File>> = Mutex::new(None);

/// Says whether this process is the confined one.
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Returns the id that the parent gave to this run of the command.
pub(crate) fn attempt() -> Option<String> {
    env::var(CHILD).ok()
}

/// Gives up what the child must not have; before there is a second thread.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn enter(allow_write: &[PathBuf], run: Option<Option<&Path>>) -> Result<(), JobError> {
    let bug = |what: &str, error: &dyn std::fmt::Display| JobError::Bug(format!("{what}: {error}"));
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| bug("cannot die with the parent", &error))?;
    if getppid() != parent {
        return Err(JobError::Bug("the parent died first".to_owned()));
    }
    // Without the terminal of whoever started it: it can type nothing there, and is not stopped for writing to it.
    setsid().map_err(|error| bug("cannot leave the session", &error))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| bug("cannot forbid core files", &error))?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| bug("the way to the parent is gone", &error))?;
    *PARENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(File::from(stdin));
    let mut folders = allow_write.to_vec();
    folders.extend(run.map(|run_dir| run_dir.unwrap_or(Path::new(run_dir::RUNS)).to_owned()));
    confine(&folders, true)?;
    forbid().map_err(|error| bug("the kernel takes no filter of its calls", &error))
}

/// Tells the parent something, where there is one; a budget limits the process at once.
///
/// # Errors
/// When the system does not take the limit.
pub(crate) fn tell(told: &Told) -> Result<(), JobError> {
    let mut parent = PARENT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(parent) = parent.as_mut() else { return Ok(()) };
    if let Some(bytes) = told.memory_bytes {
        let asked = bytes.saturating_add(bytes / 10).saturating_add(SLACK_BYTES);
        // A limit that is there already may be lowered alone.
        let most = Some(getrlimit(Resource::Data).maximum.map_or(asked, |there| there.min(asked)));
        setrlimit(Resource::Data, Rlimit { current: most, maximum: most })
            .map_err(|error| JobError::Bug(format!("cannot limit memory: {error}")))?;
    }
    // A parent that is gone takes this process with it.
    let _gone = serde_json::to_string(told).map(|line| parent.write_all(format!("{line}\n").as_bytes()));
    Ok(())
}

/// Runs this command anew in a confined child, and returns how that ended; that there can be no such child, or that it died, is told.
#[must_use]
pub(crate) fn supervise(asked: &Asked<'_>) -> Exit {
    supervised(asked).unwrap_or_else(|error| {
        show_end(asked, &error);
        exit::of(&error)
    })
}

fn supervised(asked: &Asked<'_>) -> Result<Exit, JobError> {
    let (made, folders) = folders(asked)?;
    let stop = Stop::armed().map_err(|error| JobError::Bug(format!("cannot watch signals: {error}")))?;
    let mut job_folder = None;
    // Rights are given up by a thread and what it starts; this one tidies up afterwards.
    let ended = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            confine(&folders, false)?;
            let attempt = lineage::new_id();
            let (mut child, told) = start(&attempt)?;
            let mut watch = Watch { asked, told, attempt, began: Instant::now(), memory_bytes: None, job_folder: None, run_dir: None };
            let result = watch.until_the_end(&mut child, &stop);
            if let Err(error) = &result {
                watch.close(error);
            }
            job_folder = watch.job_folder;
            Ok(result.unwrap_or_else(|error| exit::of(&error)))
        });
        watching.join().unwrap_or_else(|_| Err(JobError::Bug("the watch over the confined process panicked".to_owned())))
    });
    // A command that failed early leaves no empty folders behind; what holds something stays.
    for folder in job_folder.iter().chain(&made).filter(|_| !matches!(ended, Ok(Exit::Done))) {
        let _holds_something = fs::remove_dir(folder);
    }
    ended
}

/// Shows how a confined process ended that left no run folder behind.
fn show_end(asked: &Asked<'_>, error: &JobError) {
    let message = exit::message(error, asked.spec);
    let page = format!("error: {}", terminal::plain(&message));
    events::show_early(asked.view, &event_of(error, message), &page);
}

fn event_of(error: &JobError, message: String) -> Event {
    let exit_code = exit::of(error) as u8;
    match error {
        JobError::Stopped(_) => Event::RunInterrupted { exit_code },
        _ => Event::RunFailed { exit_code, error: message, problems: Vec::new(), peak_rss_bytes: None },
    }
}

/// Makes the folders that the child may write in; returns those that were not there, the innermost first, and all of them.
fn folders(asked: &Asked<'_>) -> Result<(Vec<PathBuf>, Vec<PathBuf>), JobError> {
    if let Some(absent) = asked.allow_write.iter().find(|folder| !folder.is_dir()) {
        return Err(JobError::Confined {
            what: format!("`{}` is no folder", absent.display()),
            help: "name a folder that is there with `--allow-write`".to_owned(),
        });
    }
    // Runs find each other's turns at the GPU there; without it they do not wait for one another.
    let _absent = slots::make(&slots::shared_folder());
    let mut made = Vec::new();
    let mut folders = asked.allow_write.to_vec();
    if let Some(run_dir) = asked.run {
        let folder = run_dir.unwrap_or(Path::new(run_dir::RUNS));
        made.extend(folder.ancestors().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()).map(Path::to_owned));
        run_dir::make(folder)?;
        folders.push(folder.to_owned());
    }
    Ok((made, folders))
}

/// Starts this program again; the child leaves the session, so that what a terminal sends goes to the parent alone, which passes it on once.
fn start(attempt: &str) -> Result<(Child, Receiver<Told>), JobError> {
    let failed = |error: std::io::Error| JobError::Bug(format!("cannot start this program anew: {error}"));
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    command.args(env::args_os().skip(1)).env(CHILD, attempt).stdin(writer);
    let child = command.spawn().map_err(failed)?;
    // The command holds the other end of the pipe.
    drop(command);
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(reader);
        loop {
            let mut line = String::new();
            // Longer lines, and what is no line of ours, end the conversation.
            let n = lines.by_ref().take(MOST_TOLD_BYTES).read_line(&mut line).unwrap_or(0);
            let Some(told) = serde_json::from_str(&line).ok().filter(|_| n > 0) else { return };
            if sender.send(told).is_err() {
                return;
            }
        }
    });
    Ok((child, told))
}

struct Watch<'a> {
    asked: &'a Asked<'a>,
    told: Receiver<Told>,
    /// Id of this run of the command among those that lineage tells of.
    attempt: String,
    began: Instant,
    memory_bytes: Option<u64>,
    job_folder: Option<PathBuf>,
    run_dir: Option<PathBuf>,
}

impl Watch<'_> {
    fn until_the_end(&mut self, child: &mut Child, stop: &Stop) -> Result<Exit, JobError> {
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let send = |signal: Signal| id.map(|id| kill_process(id, signal));
        let (mut stopped_at, mut over): (Option<Instant>, Option<JobError>) = (None, None);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| JobError::Bug(format!("cannot wait for the child: {error}")))? {
                break status;
            }
            self.listen();
            if let (None, Some(error)) = (&over, self.beyond(child.id())) {
                over = Some(error);
                let _gone = send(Signal::KILL);
            }
            match (stop.exit(), stopped_at) {
                (Some(exit), None) => {
                    stopped_at = Some(Instant::now());
                    let _gone = send(if exit == Exit::Interrupted { Signal::INT } else { Signal::TERM });
                }
                (Some(_), Some(since)) if since.elapsed() > PATIENCE => {
                    let _gone = send(Signal::KILL);
                }
                _ => {}
            }
            thread::sleep(TICK);
        };
        self.listen();
        match (over, stop.exit()) {
            (Some(error), _) => Err(error),
            (None, Some(exit)) if status.signal().is_some() => Err(JobError::Stopped(exit)),
            _ => ended(status),
        }
    }

    fn listen(&mut self) {
        for told in self.told.try_iter() {
            // The first word counts: it is said before a file is opened.
            self.memory_bytes = self.memory_bytes.or(told.memory_bytes);
            let below = |folder: &Path, path: PathBuf| (path.parent() == Some(folder)).then_some(path);
            if let (Some(None), Some(path), None) = (self.asked.run, told.job_folder, &self.job_folder) {
                self.job_folder = below(Path::new(run_dir::RUNS), path);
            }
            if let (Some(run_dir), Some(path)) = (self.asked.run, told.run_dir) {
                self.run_dir = match run_dir {
                    Some(run_dir) => Some(run_dir.to_owned()),
                    None => self.job_folder.as_ref().and_then(|folder| below(folder, path)),
                };
            }
        }
    }

    /// Returns the error of a child that holds more than its budget and a tenth, or 64 MiB.
    fn beyond(&self, child: u32) -> Option<JobError> {
        let budget = self.memory_bytes?;
        let held = memory::own_bytes_of(child)?;
        (held > budget.saturating_add((budget / 10).max(64 << 20))).then(|| JobError::Budget {
            what: "what the confined process read".to_owned(),
            needed_bytes: held,
            budget_bytes: budget,
            help: "raise `memory`, or take the file that asks for so much out of the sources".to_owned(),
        })
    }

    /// Writes into the run folder that the child is gone, where it holds one. The parent is confined too: no link leads it elsewhere.
    fn close(&self, error: &JobError) {
        let exit_code = exit::of(error) as u8;
        let message = exit::message(error, self.asked.spec);
        let event = event_of(error, message.clone());
        let closed = self.run_dir.as_deref().is_some_and(|path| {
            let Ok(folder) = Folder::open(path) else { return false };
            let Ok((_lock, mut manifest)) = run_dir::of_the_dead(&folder) else { return false };
            manifest.end(if matches!(error, JobError::Stopped(_)) { State::Interrupted } else { State::Failed }, exit_code, message);
            let _unwritten = outputs::write_json(&folder, run_dir::MANIFEST, &manifest);
            let _unswept = outputs::sweep(&folder);
            if let Some(file) = &self.asked.metrics_file {
                let seconds = self.began.elapsed().as_secs_f64();
                let _unwritten = metrics::write(file, &manifest.job, Some(&manifest), exit::of(error), seconds);
            }
            // The child has begun it; what it put in its place is left alone.
            if let Some(file) = self.asked.lineage_file.filter(|file| run_dir::is_modest(file)) {
                let _unwritten = Lineage::new(file, self.attempt.clone()).end_unseen(&manifest, exit::of(error));
            }
            // It is shown with the line.
            run_dir::is_modest(&path.join(events::FILE_NAME))
                && Events::open(&folder, &manifest.run_id, self.asked.view).is_ok_and(|log| {
                    let _unwritten = log.emit(None, &event).and_then(|()| log.sync());
                    true
                })
        });
        if !closed {
            show_end(self.asked, error);
        }
    }
}

fn ended(status: ExitStatus) -> Result<Exit, JobError> {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::of_code(code).ok_or_else(|| JobError::Bug(format!("the confined process ended with code {code}"))),
        // It was stopped before it could listen.
        (None, Some(2)) => Err(JobError::Stopped(Exit::Interrupted)),
        (None, Some(15 | 1)) => Err(JobError::Stopped(Exit::Terminated)),
        (None, signal) => Err(JobError::Died { signal: signal.unwrap_or(0) }),
    }
}
