//! The work on a claimed run folder: each step once, its tables whole, the manifest true at every moment.
//!
//! ```text
//! manifest `running` -> for each step: cached | run, tables, done.json -> findings.parquet
//!                    -> manifest `done` -> report.html -> `latest`
//! ```
//!
//! Steps run one after another, each with all threads. When one fails on its data, steps that do not need it
//! still run, so that the next command has less to do; a full disk, a signal or a bug ends the run at once.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use gristmill_datasets::Source;
use gristmill_engine::backend::{Backend, PlaceChoice};
use gristmill_engine::findings::Finding;

use crate::JobError;
use crate::cache::{self, Earlier, Found, StepKey};
use crate::error::Exit;
use crate::events::{self, Event, Events, now};
use crate::exit;
use crate::hash::Inputs;
use crate::kinds::{Rows, StepOutcome, StepRun, Table};
use crate::manifest::{CheckRecord, MANIFEST_VERSION, Manifest, OutputRecord, State, StepRecord};
use crate::memory;
use crate::outputs::{self, Folder};
use crate::plan::{self, Input, Plan, PlannedStep};
use crate::progress::{Pulse, View};
use crate::report;
use crate::run_dir::{Identity, RunDir, StepDone, VERSION};
use crate::signals::Stop;
use crate::slots::Slots;
use crate::spec::Spec;

mod records;

use records::{first_manifest, record_of};

/// What a run is made of, once its folder is claimed.
pub struct Asked<'a> {
    /// Path of the spec, as given.
    pub spec_path: &'a Path,
    /// What the user asked for.
    pub spec: &'a Spec,
    /// What it means.
    pub plan: &'a Plan,
    /// The inputs with their hashes.
    pub inputs: &'a Inputs,
    /// What makes this run this run.
    pub identity: &'a Identity,
    /// Its folder.
    pub dir: &'a RunDir,
    /// Runs whose steps may be taken over.
    pub earlier: &'a Earlier,
    /// Bytes that it may hold.
    pub memory_bytes: u64,
    /// Whether nothing of earlier runs is to be taken over.
    pub is_fresh: bool,
    /// Where it is shown.
    pub view: &'a View,
    /// Whether it was asked to stop.
    pub stop: &'a Stop,
}

/// How a run ended whose steps are all done.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Whether nothing was left to do.
    pub was_cached: bool,
    /// `Done`, or `Check` where a check failed.
    pub exit: Exit,
}

/// A run under way.
pub struct Steps<'a> {
    asked: Asked<'a>,
    events: Events<'a>,
    manifest: Mutex<Manifest>,
    /// How far the step has come that runs now.
    pub pulse: Pulse,
    backend: Mutex<Option<Backend>>,
    slots: Slots,
    was_finished: bool,
    began: Instant,
}

impl<'a> Steps<'a> {
    /// Writes the first manifest, or takes over that of a finished run, and opens the log.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(asked: Asked<'a>) -> Result<Self, JobError> {
        let was_finished = asked.dir.earlier.as_ref().is_some_and(|manifest| is_finished(asked.dir, manifest));
        let manifest = match &asked.dir.earlier {
            Some(manifest) if was_finished => manifest.clone(),
            earlier => first_manifest(&asked, earlier.as_ref()),
        };
        if !was_finished {
            asked.dir.write_manifest(&manifest)?;
        }
        let events = Events::open(&asked.dir.folder, &asked.identity.run_id, asked.view)?;
        let manifest = Mutex::new(manifest);
        let (pulse, backend, slots) = (Pulse::default(), Mutex::new(None), Slots::of_machine());
        Ok(Self { asked, events, manifest, pulse, backend, slots, was_finished, began: Instant::now() })
    }

    /// Runs what is left to run.
    ///
    /// # Errors
    /// The worst of what went wrong.
    pub fn execute(&self) -> Result<Ended, JobError> {
        self.tell_start()?;
        if self.was_finished {
            self.tell_cached()?;
            return Ok(Ended { was_cached: true, exit: self.ending() });
        }
        let dir = &self.asked.dir.folder;
        outputs::write_text(dir, "spec.toml", &self.asked.identity.spec_toml)?;
        outputs::write_json(dir, "plan.json", &self.asked.plan.to_json())?;
        self.run_all()?;
        self.finish()?;
        Ok(Ended { was_cached: false, exit: self.ending() })
    }

    /// Writes how the run ended into manifest and log and removes what is unfinished.
    ///
    /// Nothing more can be done when this fails too, so its own errors are dropped.
    pub fn close(&self, error: &JobError) -> Exit {
        self.asked.view.end();
        let exit = exit::of(error);
        let message = exit::message(error, self.asked.spec_path);
        let is_signal = matches!(error, JobError::Stopped(_));
        let is_stop = is_signal || matches!(error, JobError::Over(_));
        let _unwritten = self.update(|manifest| {
            manifest.end(if is_stop { State::Interrupted } else { State::Failed }, exit as u8, message.clone());
        });
        if matches!(error, JobError::Check { .. }) {
            // What was done stands, and people want to see which check it was.
            let _unwritten = report::write_in(&self.asked.dir.folder);
        }
        let exit_code = exit as u8;
        let event = if is_signal {
            Event::RunInterrupted { exit_code }
        } else {
            Event::RunFailed { exit_code, error: message, problems: Vec::new(), peak_rss_bytes: memory::peak_rss_bytes() }
        };
        let _unwritten = self.events.emit(None, &event).and_then(|()| self.events.sync());
        let _unswept = outputs::sweep(&self.asked.dir.folder);
        exit
    }

    /// Says that the run is done and its tables could not be written in another format, and returns the exit code.
    pub fn tell_unexported(&self, error: &JobError) -> Exit {
        let message = format!("{}; the run itself is done, and the same command tries again", exit::message(error, self.asked.spec_path));
        if self.asked.view.is_quiet() {
            events::warn_anyway(self.asked.view, message.clone());
        }
        // It is shown with the line.
        let _unwritten = self.events.emit(None, &Event::Warned { message }).and_then(|()| self.events.sync());
        exit::of(error)
    }

    /// Sends the sign of life when one is due, and leaves an idle device to a run that waits for it.
    pub fn beat(&self, every: Duration) {
        if let Some(backend) = &*self.lock_backend() {
            self.slots.make_way(backend);
        }
        if let Some((step, event)) = self.pulse.due(every) {
            // A log that cannot be written ends the run at the next event of the step itself.
            let _unwritten = self.events.emit(Some(&step), &event);
        }
    }

    /// Returns the run folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.asked.dir.path
    }

    /// Returns the run folder, held open.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.asked.dir.folder
    }

    /// Returns the manifest as it stands.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        self.lock().clone()
    }

    fn tell_start(&self) -> Result<(), JobError> {
        let manifest = self.manifest();
        let event = Event::RunStarted {
            job: manifest.job,
            gristmill: VERSION,
            run_dir: self.asked.dir.path.display().to_string(),
            place: manifest.place,
            threads: rayon::current_num_threads(),
            memory_bytes: self.asked.memory_bytes,
            resumed: self.asked.dir.earlier.is_some(),
            input_bytes: self.asked.inputs.records.iter().map(|input| input.bytes).sum(),
            hash_seconds: self.asked.inputs.seconds,
        };
        self.events.emit(None, &event)?;
        for input in &self.asked.inputs.records {
            let event = Event::InputHashed {
                source: input.source.clone(),
                path: input.path.clone(),
                bytes: input.bytes,
                blake3: input.blake3.clone(),
            };
            self.events.emit(None, &event)?;
        }
        Ok(())
    }

    fn tell_cached(&self) -> Result<(), JobError> {
        let manifest = self.manifest();
        for step in &manifest.steps {
            self.events.emit(Some(&step.name), &Event::StepCached { findings: step.n_findings })?;
            self.tell_checks(&step.name, &step.checks)?;
        }
        self.tell_end(true, manifest.n_findings)
    }

    fn tell_end(&self, cached: bool, findings: u64) -> Result<(), JobError> {
        let event = Event::RunFinished {
            exit_code: self.ending() as u8,
            cached,
            findings,
            seconds: self.began.elapsed().as_secs_f64(),
            peak_rss_bytes: memory::peak_rss_bytes(),
        };
        self.events.emit(None, &event)?;
        self.events.sync()
    }

    fn run_all(&self) -> Result<(), JobError> {
        let mut failed: Vec<&str> = Vec::new();
        let mut worst: Option<JobError> = None;
        for (index, step) in self.asked.plan.steps.iter().enumerate() {
            self.asked.stop.check()?;
            let name = step.spec.name.value.as_str();
            if needs(step).any(|needed| failed.contains(&needed)) {
                failed.push(name);
                continue;
            }
            if let Some(error) = self.held_back(step) {
                failed.push(name);
                worst = Some(match worst {
                    Some(before) => exit::worse(before, error),
                    None => error,
                });
                continue;
            }
            match self.run_one(index, step) {
                Ok(()) => {}
                Err(error) if ends_run(&error) => return Err(error),
                Err(error) => {
                    self.fail_step(index, name, &error)?;
                    failed.push(name);
                    worst = Some(match worst {
                        Some(before) => exit::worse(before, error),
                        None => error,
                    });
                }
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Returns the failed check that a step waits for.
    fn held_back(&self, step: &PlannedStep) -> Option<JobError> {
        let manifest = self.lock();
        let needed = |record: &&StepRecord| step.spec.needs.iter().any(|need| need.value == record.name);
        let failed = manifest.steps.iter().filter(needed).flat_map(|record| &record.checks).find(|check| check.is_failed())?;
        Some(JobError::Check { step: step.spec.name.value.clone(), sentence: failed.sentence.clone() })
    }

    /// Returns how a run ended whose steps are all done: a check may have failed.
    fn ending(&self) -> Exit {
        let failed = self.lock().steps.iter().flat_map(|record| &record.checks).any(CheckRecord::is_failed);
        if failed { Exit::Check } else { Exit::Done }
    }

    fn fail_step(&self, index: usize, name: &str, error: &JobError) -> Result<(), JobError> {
        self.asked.view.end();
        self.update(|manifest| manifest.steps[index].state = State::Failed)?;
        let error_text = exit::message(error, self.asked.spec_path);
        self.events.emit(Some(name), &Event::StepFailed { exit_code: exit::of(error) as u8, error: error_text })
    }

    fn run_one(&self, index: usize, step: &PlannedStep) -> Result<(), JobError> {
        let name = step.spec.name.value.as_str();
        let upstream = self.upstream(step);
        if let Some(done) = self.asked.dir.finished_step(name, &self.asked.identity.run_id, &upstream) {
            let (findings, checks) = (done.record.n_findings, done.record.checks.clone());
            self.adopt(index, done)?;
            self.events.emit(Some(name), &Event::StepCached { findings })?;
            return self.tell_checks(name, &checks);
        }
        let was_finished = self.asked.dir.was_finished(name);
        let folder = self.asked.dir.begin_step(name)?;
        let Asked { spec, plan, inputs, .. } = self.asked;
        let mut key = StepKey::new(spec, &plan.sources, step, &inputs.records, upstream.clone());
        let run_id = self.asked.identity.run_id.clone();
        let why = match self.asked.earlier.find(name, &key, &run_id, &|| cache::place_of(spec, step)) {
            Found::Done(from, done) => match cache::take_over(&from, &done, &self.asked.dir.folder)? {
                Some(kept) => {
                    kept.iter().try_for_each(|kept| self.tell_kept(name, kept))?;
                    return self.take_over(index, *done, upstream);
                }
                None => format!("its tables in `{}` are not whole", from.display()),
            },
            Found::Differs(run, why) => format!("{why} since run {run}"),
            Found::Never if was_finished => "what this run had of it was not whole, or made of other tables".to_owned(),
            Found::Never if self.asked.is_fresh => "`--fresh` was asked for".to_owned(),
            Found::Never => "no earlier run did it".to_owned(),
        };
        self.update(|manifest| manifest.steps[index].state = State::Running)?;
        self.events.emit(Some(name), &Event::StepStarted { kind: step.spec.kind.name().to_owned(), rows: step.rows })?;
        let began = Instant::now();
        let mut outcome = self.compute(step, &folder)?;
        let compute_seconds = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let outputs = self.write_tables(name, std::mem::take(&mut outcome.tables), &outcome.findings)?;
        // Before the step is marked as done: what it read must be what the run-id stands for.
        self.asked.inputs.check_unchanged(self.asked.stop)?;
        let record = StepRecord { why: Some(why), ..record_of(step, &outcome, compute_seconds, began.elapsed().as_secs_f64()) };
        key.place = outcome.has_place_in_digits.then(|| cache::place_of_outcome(spec, &outcome));
        let done = StepDone { version: MANIFEST_VERSION, run_id, upstream, record, outputs, key: Some(key) };
        self.asked.dir.mark_done(&done)?;
        self.tell_done(&done.record)?;
        self.adopt(index, done)
    }

    /// Marks a step as done whose tables were taken over from another run.
    fn take_over(&self, index: usize, done: StepDone, upstream: Vec<OutputRecord>) -> Result<(), JobError> {
        let run = done.run_id.clone();
        let record = StepRecord { why: Some(format!("taken over from run {run}")), taken_from: Some(run.clone()), ..done.record };
        let done = StepDone { run_id: self.asked.identity.run_id.clone(), upstream, record, ..done };
        self.asked.inputs.check_unchanged(self.asked.stop)?;
        self.asked.dir.mark_done(&done)?;
        let (name, findings, checks) = (done.record.name.clone(), done.record.n_findings, done.record.checks.clone());
        self.events.emit(Some(&name), &Event::StepTaken { from: run, findings })?;
        self.adopt(index, done)?;
        self.tell_checks(&name, &checks)
    }

    fn compute(&self, step: &PlannedStep, folder: &Folder) -> Result<StepOutcome, JobError> {
        let Asked { spec, stop, view, .. } = self.asked;
        let memory_bytes = memory::for_step(self.asked.memory_bytes);
        let name = step.spec.name.value.as_str();
        let backend = self.backend(name)?;
        let source = self.open_rows(step)?;
        let others = step.others.iter().map(|(key, input)| Ok((*key, self.open(input)?))).collect::<Result<Vec<_>, JobError>>()?;
        let scratch = outputs::scratch_in(folder)?;
        let total = source.n_rows().or(step.rows);
        self.pulse.start(name, total);
        view.start_rows(&format!("step {}", crate::terminal::plain(name)), total);
        let on = StepRun {
            job: &spec.name.value,
            source: &*source,
            others: &others,
            backend: &backend,
            turn: &|gain_seconds| {
                self.slots.make_way(&backend);
                self.turn(name, backend.choice(), Duration::try_from_secs_f64(gain_seconds).ok())
            },
            seed: spec.seed,
            alpha: spec.alpha,
            memory_bytes,
            scratch: &scratch.folder,
            run_dir: &self.asked.dir.folder,
            progress: &|done, total| {
                self.pulse.report(done, total);
                view.move_to(done);
            },
            stopped: &|| stop.is_asked(),
        };
        let outcome = step.spec.kind.run(&step.spec, &on);
        self.slots.rest();
        self.pulse.end();
        view.end();
        // A kind knows that it was stopped, not by which signal.
        outcome.map_err(|error| match (error, stop.exit()) {
            (JobError::Stopped(_), Some(exit)) => JobError::Stopped(exit),
            (error, _) => error.of_whole_budget(self.asked.memory_bytes),
        })
    }

    /// Opens the rows of a step, and checks the step against them where they were not known before.
    fn open_rows(&self, step: &PlannedStep) -> Result<Arc<dyn Source>, JobError> {
        let source = match &step.input {
            Input::All(inputs) => {
                let tables = inputs.iter().map(|input| self.open(input)).collect::<Result<_, JobError>>()?;
                plan::together(&step.spec, tables)
                    .map_err(|error| JobError::Read { source_name: step.spec.from.value.name.clone(), error: Box::new(error) })?
            }
            alone => self.open(alone)?,
        };
        if step.input.tables().is_empty() {
            return Ok(source);
        }
        let problems = plan::check_input(&step.spec, &source.schema());
        match problems.in_order().first() {
            None => Ok(source),
            Some(problem) => {
                let message = format!("{}; {}", problem.message, problem.help);
                Err(JobError::Spec { step: step.spec.name.value.clone(), message })
            }
        }
    }

    /// Opens what a step reads: a source of the spec, or a table that an earlier step wrote.
    fn open(&self, input: &Input) -> Result<Arc<dyn Source>, JobError> {
        let (plan, spec) = (self.asked.plan, self.asked.spec);
        let (step_name, table) = match input {
            Input::Source(index) => return Ok(Arc::clone(&plan.sources[*index].source)),
            Input::Table { step, table } => (step, table),
            Input::All(_) => return Err(JobError::Bug("tables are opened one by one".to_owned())),
        };
        let path = self.asked.dir.path.join(outputs::table_path(step_name, table));
        let options = plan::table_options(&path, spec.seed, self.asked.memory_bytes);
        let source_name = format!("{step_name}.{table}");
        let opened = gristmill_datasets::open(&options);
        opened.map(Arc::from).map_err(|error| JobError::Read { source_name, error: Box::new(error) })
    }

    /// Opens the backend when the first step needs it: a cached run needs no device.
    fn backend(&self, step: &str) -> Result<Backend, JobError> {
        if let Some(backend) = &*self.lock_backend() {
            return Ok(backend.clone());
        }
        let choice: PlaceChoice = self.asked.spec.place.parse().map_err(|error| JobError::Bug(format!("{error}")))?;
        // Where a device is required it is opened at once.
        if matches!(choice, PlaceChoice::Gpu | PlaceChoice::Software) && !self.turn(step, choice, None) {
            self.asked.stop.check()?;
        }
        let backend = Backend::open(choice).map_err(|error| JobError::Device(error.reason))?;
        // Until a step computes there it may be anyone's.
        self.slots.rest();
        Ok(self.lock_backend().insert(backend).clone())
    }

    /// Waits for a turn at the device, no longer than `patience`; says whether there is one.
    fn turn(&self, step: &str, choice: PlaceChoice, patience: Option<Duration>) -> bool {
        let message = format!("step `{step}` waits for the GPU, which another run uses");
        let tell = || _ = self.events.emit(Some(step), &Event::Warned { message: message.clone() });
        self.slots.enter(choice, patience, &|| self.asked.stop.is_asked(), &tell)
    }

    fn lock_backend(&self) -> MutexGuard<'_, Option<Backend>> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_tables(&self, step: &str, tables: Vec<Table>, findings: &[Finding]) -> Result<Vec<OutputRecord>, JobError> {
        let findings = Rows::Held(Finding::schema(), vec![Finding::to_batch(findings)]);
        let all = tables.into_iter().chain([Table { name: "findings", rows: findings }]);
        all.map(|Table { name, rows }| {
            let output = match rows {
                Rows::Held(schema, batches) => {
                    outputs::write_table(&self.asked.dir.folder, &outputs::table_path(step, name), &schema, &batches)?
                }
                Rows::Written(written) => written.commit()?,
                Rows::Csv { text, n_rows } => {
                    let relative = outputs::csv_path(step, name);
                    if let Some(kept) = outputs::keep_aside(&self.asked.dir.folder, &relative, &text)? {
                        self.tell_kept(step, &kept)?;
                    }
                    outputs::write_file(&self.asked.dir.folder, &relative, &text, n_rows)?
                }
            };
            self.tell_table(Some(step), &output)?;
            Ok(output)
        })
        .collect()
    }

    fn tell_kept(&self, step: &str, kept: &Path) -> Result<(), JobError> {
        let message = format!("someone wrote into a file of step `{step}` that is made anew: it is `{}` now", kept.display());
        self.events.emit(Some(step), &Event::Warned { message })
    }

    fn tell_table(&self, step: Option<&str>, output: &OutputRecord) -> Result<(), JobError> {
        let OutputRecord { path, bytes, blake3, rows } = output.clone();
        self.events.emit(step, &Event::TableWritten { path, rows, bytes, blake3 })
    }

    fn tell_done(&self, record: &StepRecord) -> Result<(), JobError> {
        for reason in &record.fell_back {
            self.events.emit(Some(&record.name), &Event::FellBack { reason: reason.clone() })?;
        }
        let event = Event::StepFinished {
            place: record.place.clone().unwrap_or_default(),
            adapter: record.adapter.clone(),
            place_reason: record.place_reason.clone().unwrap_or_default(),
            rows: record.n_rows,
            columns: record.n_columns,
            findings: record.n_findings,
            compute_seconds: record.compute_seconds,
            write_seconds: record.write_seconds,
        };
        self.events.emit(Some(&record.name), &event)?;
        self.tell_checks(&record.name, &record.checks)
    }

    fn tell_checks(&self, step: &str, checks: &[CheckRecord]) -> Result<(), JobError> {
        checks.iter().try_for_each(|check| {
            let CheckRecord { check, severity, passed, sentence } = check.clone();
            self.events.emit(Some(step), &Event::Checked { check, severity, passed, sentence })
        })
    }

    /// Takes a finished step into the manifest.
    fn adopt(&self, index: usize, done: StepDone) -> Result<(), JobError> {
        self.update(|manifest| {
            manifest.n_findings += done.record.n_findings;
            manifest.steps[index] = done.record;
            manifest.outputs.extend(done.outputs);
        })
    }

    fn finish(&self) -> Result<(), JobError> {
        self.asked.stop.check()?;
        let dir = &self.asked.dir.folder;
        let mut found: Vec<RecordBatch> = Vec::new();
        for step in &self.asked.plan.steps {
            found.extend(outputs::read_table(&dir.path().join(outputs::table_path(&step.spec.name.value, "findings")))?);
        }
        let output = outputs::write_table(dir, "findings.parquet", &Finding::schema(), &found)?;
        self.tell_table(None, &output)?;
        let exit = self.ending();
        self.update(|manifest| {
            manifest.outputs.push(output);
            manifest.state = State::Done;
            manifest.exit_code = Some(exit as u8);
            manifest.finished = Some(now());
        })?;
        // The report reads the manifest and tells of a finished run, so it is the last file. A run that was
        // killed in between has no report and is therefore not taken for finished.
        report::write_in(dir)?;
        // Spill folders are gone by now, unless the system refused; the next command would try again.
        let _unswept = outputs::sweep(dir);
        self.tell_end(false, self.manifest().n_findings)
    }

    fn upstream(&self, step: &PlannedStep) -> Vec<OutputRecord> {
        let paths: Vec<String> = tables(step).map(|(step, table)| outputs::table_path(step, table)).collect();
        self.lock().outputs.iter().filter(|output| paths.contains(&output.path)).cloned().collect()
    }

    fn update(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), JobError> {
        let mut manifest = self.lock();
        change(&mut manifest);
        self.asked.dir.write_manifest(&manifest)
    }

    fn lock(&self) -> MutexGuard<'_, Manifest> {
        // A panic while the lock was held leaves a manifest whose fields are all valid.
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether every output of a finished run is still what it was.
fn is_finished(dir: &RunDir, manifest: &Manifest) -> bool {
    manifest.state == State::Done
        && manifest.version == MANIFEST_VERSION
        && dir.path.join("report.html").is_file()
        && manifest.outputs.iter().all(|output| dir.is_whole(output))
}

/// Says whether the steps that do not depend on the failed one are pointless as well.
fn ends_run(error: &JobError) -> bool {
    matches!(error, JobError::Stopped(_)) || !matches!(exit::of(error), Exit::Spec | Exit::Data | Exit::Budget)
}

fn needs(step: &PlannedStep) -> impl Iterator<Item = &str> {
    step.spec.needs.iter().map(|needed| needed.value.as_str()).chain(tables(step).map(|(step, _)| step))
}

/// Returns the tables of earlier steps that a step reads.
fn tables(step: &PlannedStep) -> impl Iterator<Item = (&str, &str)> {
    std::iter::once(&step.input).chain(step.others.iter().map(|(_, input)| input)).flat_map(Input::tables)
}
