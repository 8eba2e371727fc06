//! What the manifest says of a run and its steps, before and after.

use super::Asked;
use crate::events::now;
use crate::kinds::StepOutcome;
use crate::manifest::{MANIFEST_VERSION, Manifest, State, StepRecord};
use crate::memory;
use crate::plan::PlannedStep;
use crate::run_dir::VERSION;

pub(super) fn first_manifest(asked: &Asked<'_>, earlier: Option<&Manifest>) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        gristmill: VERSION.to_owned(),
        job: asked.identity.job.clone(),
        run_id: asked.identity.run_id.clone(),
        spec_hash: asked.identity.spec_hash.clone(),
        state: State::Running,
        exit_code: None,
        error: None,
        started: earlier.map_or_else(now, |manifest| manifest.started.clone()),
        finished: None,
        seed: asked.spec.seed,
        alpha: asked.spec.alpha,
        place: asked.spec.place.clone(),
        threads: rayon::current_num_threads(),
        memory_bytes: asked.memory_bytes,
        inputs: asked.inputs.records.clone(),
        steps: asked.plan.steps.iter().map(planned_record).collect(),
        outputs: Vec::new(),
        n_findings: 0,
        hash_seconds: asked.inputs.seconds,
    }
}

fn planned_record(step: &PlannedStep) -> StepRecord {
    StepRecord {
        name: step.spec.name.value.clone(),
        kind: step.spec.kind.name().to_owned(),
        state: State::Planned,
        place: None,
        adapter: None,
        place_reason: None,
        fell_back: Vec::new(),
        n_rows: 0,
        n_columns: 0,
        family: None,
        n_findings: 0,
        compute_seconds: 0.0,
        write_seconds: 0.0,
        peak_rss_bytes: None,
        notes: Vec::new(),
        left_out: Vec::new(),
        why: None,
        taken_from: None,
        checks: Vec::new(),
    }
}

pub(super) fn record_of(step: &PlannedStep, outcome: &StepOutcome, compute_seconds: f64, write_seconds: f64) -> StepRecord {
    StepRecord {
        state: State::Done,
        place: Some(outcome.place.clone()),
        adapter: outcome.adapter.clone(),
        place_reason: Some(outcome.place_reason.clone()),
        fell_back: outcome.fell_back.clone(),
        n_rows: outcome.n_rows,
        n_columns: outcome.n_columns,
        family: outcome.family,
        n_findings: outcome.findings.len() as u64,
        compute_seconds,
        write_seconds,
        peak_rss_bytes: memory::peak_rss_bytes(),
        notes: outcome.notes.clone(),
        left_out: outcome.left_out.clone(),
        checks: outcome.checks.clone(),
        ..planned_record(step)
    }
}
