//! What the runner makes of a kind that panics, or that had to fall back.

use gristmill::cache::Earlier;
use gristmill::exit;
use gristmill::hash::Inputs;
use gristmill::kinds::{JobKind, Key, StepOutcome, StepRun, TableDoc};
use gristmill::plan;
use gristmill::progress::{LogFormat, View};
use gristmill::run_dir::{Identity, RunDir};
use gristmill::signals::Stop;
use gristmill::spec::{self, Problems, StepSpec};
use gristmill::steps::{Asked, Steps};
use gristmill::{Exit, JobError, summary};

use crate::job::{Job, ONE_STEP};

/// A kind that does what it is told.
struct Told(fn() -> Result<StepOutcome, JobError>);

impl JobKind for Told {
    fn name(&self) -> &'static str {
        "told"
    }
    fn about(&self) -> &'static str {
        "does what it is told"
    }
    fn keys(&self) -> &'static [Key] {
        &[]
    }
    fn tables(&self) -> &'static [TableDoc] {
        &[]
    }
    fn check(&self, _: &StepSpec, _: &arrow::datatypes::Schema, _: &mut Problems) {}
    fn run(&self, _: &StepSpec, _: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        (self.0)()
    }
}

fn fallen_back() -> StepOutcome {
    StepOutcome {
        tables: Vec::new(),
        findings: Vec::new(),
        place: "cpu".to_owned(),
        adapter: None,
        place_reason: "the device was lost".to_owned(),
        has_place_in_digits: false,
        fell_back: vec!["gram: the device was lost; the rest of the job ran on the CPU".to_owned()],
        n_rows: 400,
        n_columns: 4,
        family: Some(6),
        notes: Vec::new(),
        left_out: Vec::new(),
        checks: Vec::new(),
    }
}

static PANICS: Told = Told(|| panic!("the impossible happened"));
static FALLS_BACK: Told = Told(|| Ok(fallen_back()));

/// Runs a job whose step has another kind; returns how it ended and the summary.
fn run_with(job: &Job, kind: &'static dyn JobKind) -> Result<String, Exit> {
    let spec_path = job.path("spec.toml");
    let (spec, _) = spec::read(&spec_path, &[]).unwrap();
    let mut plan = plan::plan(&spec, 1 << 30).ok().unwrap();
    plan.steps[0].spec.kind = kind;
    let stop = Stop::default();
    let inputs = Inputs::hash(&plan, &stop, &|_| {}).unwrap();
    let identity = Identity::new("tiny", vec!["pairs".to_owned()], spec.to_toml(), &spec.hash_input(), &inputs.records);
    let dir = RunDir::claim(&job.path("out"), &identity, false, &|| false).unwrap();
    let view = View::new(LogFormat::Text, true);
    let (memory_bytes, view, stop) = (1 << 30, &view, &stop);
    let asked = Asked {
        spec_path: &spec_path,
        spec: &spec,
        plan: &plan,
        inputs: &inputs,
        identity: &identity,
        dir: &dir,
        earlier: &Earlier::default(),
        memory_bytes,
        is_fresh: false,
        view,
        stop,
    };
    let steps = Steps::begin(asked).unwrap();
    match exit::fence(|| steps.execute()) {
        Ok(ended) => Ok(summary::text(steps.path(), &steps.manifest(), ended.was_cached).unwrap()),
        Err(error) => Err(steps.close(&error)),
    }
}

#[test]
fn a_panic_is_written_down_and_the_next_run_goes_on() {
    let job = Job::new(ONE_STEP);
    assert_eq!(run_with(&job, &PANICS), Err(Exit::Bug));
    let manifest = job.manifest();
    assert_eq!((manifest["state"].as_str(), manifest["exit_code"].as_u64()), (Some("failed"), Some(70)));
    let error = manifest["error"].as_str().unwrap();
    assert!(error.contains("the impossible happened") && error.contains("spec.toml") && error.contains("bug"), "{error}");
    assert_eq!(job.event_names().last().map(String::as_str), Some("run_failed"));
    job.assert_no_temps();
    job.run();
}

#[test]
fn a_fall_back_is_in_manifest_events_and_the_last_line() {
    let job = Job::new(ONE_STEP);
    let summary = run_with(&job, &FALLS_BACK).unwrap();
    assert!(summary.lines().last().unwrap().contains("fell back: gram: the device was lost"), "{summary}");
    assert!(summary.contains("no finding (6 hypotheses tested"), "{summary}");
    assert!(job.manifest()["steps"][0]["fell_back"][0].as_str().unwrap().starts_with("gram"));
    assert!(job.event_names().contains(&"fell_back".to_owned()));
}
