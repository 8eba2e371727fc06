//! What a run would find done already, step by step, and what makes it do the others.

use crate::cache::{self, Earlier, Found, StepKey};
use crate::manifest::{InputRecord, OutputRecord};
use crate::outputs;
use crate::run_dir::Identity;
use crate::spec::Spec;

use super::{Input, Plan, PlannedStep};

/// What becomes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// A run of the job did it.
    Done {
        /// Its id.
        run: String,
    },
    /// It runs.
    Runs {
        /// Why.
        why: String,
    },
}

/// Returns the outlook of every step, in the order of the plan.
#[must_use]
pub fn outlook(spec: &Spec, plan: &Plan, inputs: &[InputRecord], earlier: &Earlier) -> Vec<Outlook> {
    let steps = plan.steps.iter().map(|step| step.spec.name.value.clone()).collect();
    let own = Identity::new(&spec.name.value, steps, spec.to_toml(), &spec.hash_input(), inputs);
    let mut found: Vec<(Outlook, Vec<OutputRecord>)> = Vec::new();
    for step in &plan.steps {
        let one = of_step(spec, plan, inputs, earlier, step, (&own.run_id, &found));
        found.push(one);
    }
    found.into_iter().map(|(outlook, _)| outlook).collect()
}

fn of_step(
    spec: &Spec,
    plan: &Plan,
    inputs: &[InputRecord],
    earlier: &Earlier,
    step: &PlannedStep,
    (run_id, before): (&str, &[(Outlook, Vec<OutputRecord>)]),
) -> (Outlook, Vec<OutputRecord>) {
    let runs = |why: String| (Outlook::Runs { why }, Vec::new());
    let mut paths = Vec::new();
    for (name, table) in std::iter::once(&step.input).chain(step.others.iter().map(|(_, input)| input)).flat_map(Input::tables) {
        let at = plan.steps.iter().position(|other| other.spec.name.value == name);
        if at.and_then(|at| before.get(at)).is_none_or(|(outlook, _)| matches!(outlook, Outlook::Runs { .. })) {
            return runs(format!("it reads step `{name}`, which runs"));
        }
        paths.push(outputs::table_path(name, table));
    }
    // In the order in which a run writes them, which is that of the manifest.
    let upstream = before.iter().flat_map(|(_, outputs)| outputs).filter(|output| paths.contains(&output.path)).cloned().collect();
    let key = StepKey::new(spec, &plan.sources, step, inputs, upstream);
    match earlier.find(&step.spec.name.value, &key, run_id, &|| cache::place_of(spec, step)) {
        Found::Done(run, done) if cache::is_whole(&run, &done, done.run_id == run_id) => (Outlook::Done { run: done.run_id }, done.outputs),
        Found::Done(run, _) => runs(format!("its tables in `{}` are not whole", run.display())),
        Found::Differs(run, why) => runs(format!("{why} since run {run}")),
        Found::Never => runs("no earlier run did it".to_owned()),
    }
}
