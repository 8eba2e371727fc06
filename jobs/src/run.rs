//! `gristmill run`: from a spec to a claimed run folder, and from there to an exit code.
//!
//! ```text
//! spec -> budget, threads -> plan -> hashes -> run-id -> folder, lock -> steps -> summary
//! ```
//!
//! The same command, given again after any end, goes on: what is done stays done, and a finished run is told
//! from its folder. Signals are watched from the first line on.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::JobError;
use crate::also::{self, Also};
use crate::cache::Earlier;
use crate::confined::{self, Told};
use crate::error::Exit;
use crate::events::{self, Event};
use crate::exit;
use crate::hash::Inputs;
use crate::lineage::{self, Lineage};
use crate::manifest::State;
use crate::memory;
use crate::metrics;
use crate::outputs;
use crate::plan::{self, Plan, PlanFailure};
use crate::progress::{Every, HEARTBEAT, LogFormat, View};
use crate::run_dir::{self, Identity, RunDir};
use crate::signals::{self, Stop};
use crate::spec::{self, Spec, SpecFailure, SpecText};
use crate::steps::{Asked, Steps};
use crate::summary;
use crate::terminal;

/// Time between two looks at the clock and at signals.
const TICK: Duration = Duration::from_millis(50);
/// Looks at signals for one at the clock and the disk.
const BUDGET_TICKS: u32 = 5;

/// What the command line said.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The job spec.
    pub spec: PathBuf,
    /// Keys that the command line sets, `KEY=VALUE`.
    pub set: Vec<String>,
    /// The run folder; `runs/<job>/<run-id>` where absent.
    pub run_dir: Option<PathBuf>,
    /// Whether an earlier run is removed.
    pub fresh: bool,
    /// How long another run of the folder is waited for.
    pub wait_seconds: f64,
    /// Further formats that tables are written in.
    pub also: Vec<Also>,
    /// File of figures for Prometheus.
    pub metrics_file: Option<PathBuf>,
    /// File of events of `OpenLineage`.
    pub lineage_file: Option<PathBuf>,
    /// Where a confined run may write beside its folder; none where it is not confined.
    pub confined: Option<Vec<PathBuf>>,
    /// Whether only errors are shown.
    pub quiet: bool,
    /// What stderr carries.
    pub log_format: LogFormat,
}

/// Why a run ended before its folder was claimed.
enum Failure {
    Spec(SpecFailure),
    Plan(PlanFailure, SpecText),
    Job(JobError),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Spec(failure) => failure.exit(),
            Self::Plan(failure, _) => failure.exit(),
            Self::Job(error) => exit::of(error),
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

/// Runs a spec, or goes on with it, and returns the exit code.
#[must_use]
pub fn run(options: &RunOptions) -> Exit {
    let view = View::new(options.log_format, options.quiet);
    let ended = exit::fence(|| {
        let stop = Stop::default();
        // Rights are given up by a thread and those that it starts: a confined run starts none before.
        if options.confined.is_none() {
            arm(&stop)?;
        }
        Ok(from_spec(options, &view, &stop))
    });
    let failure = match ended {
        Ok(Ok(exit)) => return exit,
        Ok(Err(failure)) => failure,
        Err(bug) => Failure::Job(bug),
    };
    view.end();
    tell_failure(options, &view, &failure)
}

fn from_spec(options: &RunOptions, view: &View, stop: &Stop) -> Result<Exit, Failure> {
    let began = Instant::now();
    if let Some(allow_write) = &options.confined {
        let mut files = options.metrics_file.iter().chain(&options.lineage_file);
        files.try_for_each(|file| confined::check_writable(file, allow_write))?;
    }
    let (spec, text) = spec::read(&options.spec, &options.set).map_err(Failure::Spec)?;
    let ended = of_spec(options, &spec, text, view, stop, began);
    if let (Err(failure), Some(path)) = (&ended, &options.metrics_file) {
        tell_unwritten(view, metrics::write(path, &spec.name.value, None, failure.exit(), began.elapsed().as_secs_f64()));
    }
    ended
}

fn of_spec(options: &RunOptions, spec: &Spec, text: SpecText, view: &View, stop: &Stop, began: Instant) -> Result<Exit, Failure> {
    let budget = memory::budget(spec.memory_bytes);
    if let Some(allow_write) = &options.confined {
        let folder = options.run_dir.clone().unwrap_or_else(|| run_dir::job_folder(&spec.name.value));
        confined::narrow(budget.bytes, &folder, allow_write)?;
        arm(stop)?;
    }
    memory::keep_free_pages(budget.bytes);
    start_threads(spec.threads);
    let plan = plan::plan(spec, budget.bytes).map_err(|failure| Failure::Plan(failure, text))?;
    let inputs = hash_inputs(&plan, view, stop)?;
    let steps = plan.steps.iter().map(|step| step.spec.name.value.clone()).collect();
    let identity = Identity::new(&spec.name.value, steps, spec.to_toml(), &spec.hash_input(), &inputs.records);
    let path = folder(options, &identity);
    let waited = Instant::now();
    let may_wait = || !stop.is_asked() && waited.elapsed().as_secs_f64() < options.wait_seconds;
    let claimed = RunDir::claim(&path, &identity, options.fresh, &may_wait);
    stop.check()?;
    let dir = claimed?;
    confined::tell(&Told { run_dir: Some(dir.path.clone()), ..Told::default() })?;
    // What was waited for another run has a limit of its own.
    let budgets = Budgets { began: began + waited.elapsed(), seconds: spec.max_seconds, disk_bytes: spec.max_disk_bytes };
    if !dir.is_locked {
        events::warn(view, "this file system has no locks: make sure that no other run uses the same folder".to_owned());
    }
    let earlier = match options.run_dir.is_some() || options.fresh {
        true => Earlier::default(),
        false => Earlier::of_job(&run_dir::job_folder(&identity.job), &identity.run_id),
    };
    let asked = Asked {
        spec_path: &options.spec,
        spec,
        plan: &plan,
        inputs: &inputs,
        identity: &identity,
        dir: &dir,
        earlier: &earlier,
        memory_bytes: budget.bytes,
        is_fresh: options.fresh,
        view,
        stop,
    };
    let steps = Steps::begin(asked)?;
    let lineage = options.lineage_file.as_ref().map(|path| Lineage::new(path, confined::attempt().unwrap_or_else(lineage::new_id)));
    if let Some(lineage) = &lineage {
        tell_unwritten(view, lineage.start(&steps.manifest()));
    }
    let tell_end = |exit| {
        let manifest = steps.manifest();
        if let Some(lineage) = &lineage {
            // Tables that could not be written in another format are none of the run.
            let of_run = manifest.exit_code.filter(|_| manifest.state == State::Done).and_then(|code| Exit::of_code(code.into()));
            tell_unwritten(view, lineage.end(&manifest, steps.path(), of_run.unwrap_or(exit)));
        }
        if let Some(path) = &options.metrics_file {
            tell_unwritten(view, metrics::write(path, &manifest.job, Some(&manifest), exit, began.elapsed().as_secs_f64()));
        }
    };
    let exit = watched(options, &steps, stop, &budgets, &identity, &tell_end);
    tell_end(exit);
    Ok(exit)
}

fn arm(stop: &Stop) -> Result<(), JobError> {
    stop.arm().map_err(|error| JobError::Bug(format!("cannot watch signals: {error}")))
}

/// Starts the one pool of threads; a pool that is there already stays, which happens in tests alone.
fn start_threads(asked: Option<usize>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(asked.unwrap_or(0)).thread_name(|i| format!("gristmill-{i}"));
    let _already_started = pool.build_global();
}

fn hash_inputs(plan: &Plan, view: &View, stop: &Stop) -> Result<Inputs, JobError> {
    let (began, every) = (Instant::now(), Every::new(HEARTBEAT));
    let bytes_total = plan.sources.iter().map(|source| source.bytes).sum();
    view.start_bytes("hashing inputs", bytes_total);
    let inputs = Inputs::hash(plan, stop, &|bytes_done| {
        view.move_to(bytes_done);
        if every.is_due() && !view.has_bar() {
            events::show_alone(view, &Event::Hashing { bytes_done, bytes_total, seconds: began.elapsed().as_secs_f64() });
        }
    });
    view.end();
    inputs
}

fn folder(options: &RunOptions, identity: &Identity) -> PathBuf {
    options.run_dir.clone().unwrap_or_else(|| run_dir::job_folder(&identity.job).join(&identity.run_id))
}

/// Says that a file for others could not be written, under `--quiet` too: the run itself is as it is.
fn tell_unwritten(view: &View, written: Result<(), JobError>) {
    if let Err(error) = written {
        events::warn_anyway(view, error.to_string());
    }
}

/// Works while a second thread sends signs of life and sees to it that a stop takes seconds at most.
fn watched(
    options: &RunOptions,
    steps: &Steps<'_>,
    stop: &Stop,
    budgets: &Budgets,
    identity: &Identity,
    tell_end: &(dyn Fn(Exit) + Sync),
) -> Exit {
    let result = thread::scope(|scope| {
        let (working, ended) = mpsc::channel();
        scope.spawn(move || watch(steps, stop, budgets, &ended, tell_end));
        let result = exit::fence(|| {
            let ended = steps.execute()?;
            if options.run_dir.is_none() && ended.exit == Exit::Done {
                outputs::point(&run_dir::job_folder(&identity.job).join("latest"), Path::new(&identity.run_id))?;
            }
            Ok(ended)
        });
        drop(working);
        result
    });
    let exit = match result.and_then(|ended| tell_found(options, steps, ended.was_cached).map(|()| ended.exit)) {
        Ok(exit) => exit,
        Err(error) => return steps.close(&stop.explained(error)),
    };
    // The run is done, whatever becomes of this.
    let failed = options.also.iter().filter_map(|format| {
        let export = || also::export(steps.folder(), &steps.manifest(), *format, stop);
        exit::fence(export).err()
    });
    failed.reduce(exit::worse).map_or(exit, |error| steps.tell_unexported(&error))
}

/// The budgets that only the clock and the disk can tell.
struct Budgets {
    began: Instant,
    seconds: Option<f64>,
    disk_bytes: Option<u64>,
}

impl Budgets {
    /// Asks for a stop where one is passed.
    fn check(&self, folder: &Path, stop: &Stop) {
        let spent = self.began.elapsed().as_secs_f64();
        if let Some(most) = self.seconds.filter(|most| spent > *most) {
            let (spent, most) = (terminal::seconds(spent), terminal::seconds(most));
            stop.give_up(format!("the run took {spent}, but `max_time` is {most}"));
        }
        if let Some(most) = self.disk_bytes {
            let held = outputs::size_of(folder);
            if held > most {
                let folder = folder.display();
                stop.give_up(format!("`{folder}` holds {}, but `max_disk` is {}: raise it", terminal::bytes(held), terminal::bytes(most)));
            }
        }
    }
}

fn tell_found(options: &RunOptions, steps: &Steps<'_>, cached: bool) -> Result<(), JobError> {
    if !options.quiet {
        terminal::print(&summary::text(steps.path(), &steps.manifest(), cached)?);
    }
    Ok(())
}

fn watch(steps: &Steps<'_>, stop: &Stop, budgets: &Budgets, ended: &Receiver<()>, tell_end: &dyn Fn(Exit)) {
    let mut asked_at: Option<Instant> = None;
    let mut ticks = 0_u32;
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        steps.beat(HEARTBEAT);
        if ticks.is_multiple_of(BUDGET_TICKS) {
            budgets.check(steps.path(), stop);
        }
        ticks += 1;
        let Some(exit) = stop.exit() else { continue };
        if asked_at.get_or_insert_with(Instant::now).elapsed() > signals::PATIENCE {
            // A block that takes too long is given up; its step is done again.
            tell_end(steps.close(&stop.explained(JobError::Stopped(exit))));
            signals::leave(exit);
        }
    }
}

fn tell_failure(options: &RunOptions, view: &View, failure: &Failure) -> Exit {
    let exit = failure.exit();
    let (message, page) = match failure {
        Failure::Job(error) => {
            let message = exit::message(error, &options.spec);
            let page = format!("error: {}", terminal::plain(&message));
            (message, page)
        }
        Failure::Spec(failure) => (failure.render(false), failure.render(terminal::wants_color())),
        Failure::Plan(failure, text) => (failure.render(text, false), failure.render(text, terminal::wants_color())),
    };
    let problems = match failure {
        Failure::Spec(failure) => failure.problems().map(|(text, problems)| problems.locate(text)).unwrap_or_default(),
        Failure::Plan(PlanFailure::Spec(problems), text) => problems.locate(text),
        Failure::Plan(PlanFailure::Job(_), _) | Failure::Job(_) => Vec::new(),
    };
    let event = match failure {
        Failure::Job(JobError::Stopped(_)) => Event::RunInterrupted { exit_code: exit as u8 },
        _ => Event::RunFailed { exit_code: exit as u8, error: message, problems, peak_rss_bytes: memory::peak_rss_bytes() },
    };
    events::show_early(view, &event, &page);
    exit
}
