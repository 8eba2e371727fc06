//! Steps that an earlier run of the same job did already: their tables are taken over, and no step is done twice.
//!
//! ```text
//! key of a step = version, kernels, what the spec asks of it and of its sources, content of its files, content of the tables that it reads,
//!                 and the place of tables that differ between places in their last digits
//! ```
//!
//! Two steps with one key make the same bytes, so a change of one step leaves the others done, and a file that was only touched changes nothing.
//! The key is kept as it is, in `done.json`, so that what differs can be named. Tables are linked where the file system can, and copied where it
//! cannot; each is hashed under its new name before it counts. Runs with a folder of their own (`--run-dir`) and `--fresh` ones take nothing.
//! Absent    a cache apart from the runs: a run that is removed takes its tables along, unless another one has them too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use gristmill_engine::backend::{Backend, Place, PlaceChoice};

use crate::JobError;
use crate::hash;
use crate::kinds::StepOutcome;
use crate::manifest::{InputRecord, MANIFEST_VERSION, OutputRecord};
use crate::outputs::{self, Folder};
use crate::plan::{Input, PlannedSource, PlannedStep};
use crate::run_dir::{self, DONE, StepDone, VERSION, is_inside};
use crate::spec::Spec;

/// Earlier runs that are looked through, the latest first.
const MOST_RUNS: usize = 64;

/// Everything that a step's tables depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepKey {
    /// Version of gristmill.
    pub gristmill: String,
    /// BLAKE3 of the GPU kernels.
    pub kernels: String,
    /// What the spec asks for: the job, the step, its sources without their paths.
    pub asked: String,
    /// Files that it reads, by source.
    pub files: Vec<KeyFile>,
    /// Tables of other steps that it reads.
    pub upstream: Vec<OutputRecord>,
    /// Where it ran: known afterwards, and kept where its tables would have other last digits elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A file of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// Name of the source.
    pub source: String,
    /// Path as resolved: for messages, and no part of the key but for `form`.
    pub path: String,
    /// What the path says of the rows.
    pub form: String,
    /// BLAKE3 of the content.
    pub blake3: String,
}

impl PartialEq for KeyFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, &self.blake3, &self.form) == (&other.source, &other.blake3, &other.form)
    }
}

impl StepKey {
    /// Returns the key of a step whose upstream tables are known.
    #[must_use]
    pub fn new(spec: &Spec, sources: &[PlannedSource], step: &PlannedStep, inputs: &[InputRecord], upstream: Vec<OutputRecord>) -> Self {
        let mut read = Vec::new();
        for input in std::iter::once(&step.input).chain(step.others.iter().map(|(_, input)| input)) {
            names(input, sources, &mut read);
        }
        let holds_paths = |name: &str| spec.sources.iter().any(|source| source.name.value == name && source.file_column.is_some());
        let file = |input: &InputRecord| KeyFile {
            // With `file_column` the path of a file is part of its rows.
            source: if holds_paths(&input.source) { format!("{}: {}", input.source, input.path) } else { input.source.clone() },
            path: input.path.clone(),
            form: input.form(),
            blake3: input.blake3.clone(),
        };
        Self {
            gristmill: VERSION.to_owned(),
            kernels: kernels(),
            asked: spec.asked_of(&step.spec, &read),
            files: inputs.iter().filter(|input| read.contains(&input.source.as_str())).map(file).collect(),
            upstream,
            place: None,
        }
    }

    /// Says in what an earlier key differs from this one.
    #[must_use]
    pub fn difference(&self, earlier: &Self) -> String {
        if self.gristmill != earlier.gristmill {
            return format!("gristmill was {} and is {}", earlier.gristmill, self.gristmill);
        }
        if self.kernels != earlier.kernels {
            return "the kernels have changed".to_owned();
        }
        if self.asked != earlier.asked {
            let keys = run_dir::changed_keys(&earlier.asked, &self.asked);
            return if keys.is_empty() { "the spec has changed".to_owned() } else { run_dir::listed(&keys) };
        }
        if self.files != earlier.files {
            let changed = changed_files(&earlier.files, &self.files);
            return if changed.is_empty() { "the order of its files has changed".to_owned() } else { run_dir::listed(&changed) };
        }
        let table = |output: &OutputRecord| output.path.trim_end_matches(".parquet").replace('/', ".");
        let changed = self.upstream.iter().filter(|output| !earlier.upstream.contains(output));
        let changed: Vec<String> = changed.map(|output| format!("table `{}` has changed", table(output))).collect();
        if changed.is_empty() { "it reads other tables".to_owned() } else { run_dir::listed(&changed) }
    }
}

/// Returns where a step would run by the plan: `cpu`, or a device by its adapter; none where that is not known before it does.
#[must_use]
pub fn place_of(spec: &Spec, step: &PlannedStep) -> Option<String> {
    let placed = step.placed.as_ref()?;
    // The plan says what would pay where there is a device.
    let device = if placed.place == Place::Cpu.word() { None } else { device_of(spec) };
    Some(device.unwrap_or_else(|| Place::Cpu.word().to_owned()))
}

/// Returns where a step did run, in the same words; what fell back half-way ran nowhere else.
#[must_use]
pub fn place_of_outcome(spec: &Spec, outcome: &StepOutcome) -> String {
    if !outcome.fell_back.is_empty() {
        return format!("{}, and the CPU", outcome.place);
    }
    let device = if outcome.place == Place::Cpu.word() { None } else { device_of(spec) };
    device.unwrap_or_else(|| outcome.place.clone())
}

fn device_of(spec: &Spec) -> Option<String> {
    Backend::adapter_key(spec.place.parse::<PlaceChoice>().ok()?)
}

/// Returns the names of the sources that an input is made of.
fn names<'a>(input: &Input, sources: &'a [PlannedSource], into: &mut Vec<&'a str>) {
    match input {
        Input::Source(at) => into.push(sources[*at].name.as_str()),
        Input::Table { .. } => {}
        Input::All(inputs) => inputs.iter().for_each(|input| names(input, sources, into)),
    }
}

fn kernels() -> String {
    let mut hasher = blake3::Hasher::new();
    for text in gristmill_engine::backend::kernel_texts() {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn changed_files(old: &[KeyFile], new: &[KeyFile]) -> Vec<String> {
    let same_place =
        |list: &[KeyFile], file: &KeyFile| list.iter().find(|other| (&other.source, &other.path) == (&file.source, &file.path)).cloned();
    let mut told = Vec::new();
    for file in new.iter().filter(|file| !old.contains(file)) {
        let verb = if same_place(old, file).is_some() { "has changed" } else { "is new" };
        told.push(format!("`{}` {verb}", file.path));
    }
    told.extend(
        old.iter().filter(|file| !new.contains(file) && same_place(new, file).is_none()).map(|file| format!("`{}` is gone", file.path)),
    );
    told
}

/// What is known of a step from earlier runs.
#[derive(Debug)]
pub enum Found {
    /// A run did it: its folder, and what it wrote.
    Done(PathBuf, Box<StepDone>),
    /// The latest run that did a step of this name differs: its id, and in what.
    Differs(String, String),
    /// No run did a step of this name.
    Never,
}

/// The folders of earlier runs of a job.
#[derive(Debug, Default)]
pub struct Earlier {
    /// The latest first.
    runs: Vec<PathBuf>,
}

impl Earlier {
    /// Finds the runs of a job but one.
    #[must_use]
    pub fn of_job(job_folder: &Path, but: &str) -> Self {
        let mut runs: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(job_folder).into_iter().flatten().flatten() {
            // `latest` is a link to one of the others.
            if entry.file_name() == but || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if let Ok(when) = fs::metadata(entry.path().join("manifest.json")).and_then(|about| about.modified()) {
                runs.push((when, entry.path()));
            }
        }
        runs.sort_by(|a, b| b.cmp(a));
        Self { runs: runs.into_iter().take(MOST_RUNS).map(|(_, path)| path).collect() }
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Looks for a run that did a step with this key; `place` says where it would run now, and is asked where that matters. What the run `own` did
    /// stays done wherever it is gone on with.
    #[must_use]
    pub fn find(&self, step: &str, key: &StepKey, own: &str, place: &dyn Fn() -> Option<String>) -> Found {
        let mut latest = None;
        for run in &self.runs {
            let Some(mut done) = read_done(run, step) else { continue };
            let Some(earlier) = &mut done.key else { continue };
            let ran_at = earlier.place.take();
            if earlier != key {
                latest.get_or_insert_with(|| (done.run_id.clone(), key.difference(earlier)));
                continue;
            }
            let now = ran_at.as_ref().filter(|_| done.run_id != own).map(|_| place());
            if let (Some(then), Some(now)) = (&ran_at, now)
                && now.as_ref() != Some(then)
            {
                let now = now.map_or_else(|| "is not known before it runs".to_owned(), |now| format!("is {now}"));
                latest.get_or_insert_with(|| (done.run_id.clone(), format!("the place of its products was {then} and {now}")));
                continue;
            }
            earlier.place = ran_at;
            return Found::Done(run.clone(), Box::new(done));
        }
        latest.map_or(Found::Never, |(run, why)| Found::Differs(run, why))
    }
}

fn read_done(run: &Path, step: &str) -> Option<StepDone> {
    let done: StepDone = serde_json::from_slice(&fs::read(outputs::step_folder(run, step).join(DONE)).ok()?).ok()?;
    let is_whole =
        done.version == MANIFEST_VERSION && done.record.name == step && done.outputs.iter().all(|output| is_inside(&output.path));
    is_whole.then_some(done)
}

/// Says whether the tables of a step lie in a run folder as they were written: `own` where the run goes on, and what people have written into them
/// since counts for nothing.
#[must_use]
pub fn is_whole(run: &Path, done: &StepDone, own: bool) -> bool {
    let is_as_written = |output: &OutputRecord| hash::of_file(&run.join(&output.path)).is_some_and(|hash| hash == output.blake3);
    done.outputs.iter().all(|output| run_dir::is_whole(run, output) && (own || !output.is_for_people() || is_as_written(output)))
}

/// Takes the tables of a step over from another run; says whether all of them were whole.
///
/// # Errors
/// When the run folder cannot be written.
pub fn take_over(from: &Path, done: &StepDone, to: &Folder) -> Result<Option<Vec<PathBuf>>, JobError> {
    let mut kept = Vec::new();
    for output in &done.outputs {
        let is_whole = |path: &Path| hash::of_file(path).is_some_and(|hash| hash == output.blake3);
        if output.is_for_people()
            && let Ok(text) = fs::read(from.join(&output.path))
        {
            kept.extend(outputs::keep_aside(to, &output.path, &text)?);
        }
        if !outputs::link_or_copy(&from.join(&output.path), to, &output.path, &is_whole)? {
            return Ok(None);
        }
    }
    Ok(Some(kept))
}
