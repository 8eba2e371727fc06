//! The few keys of the resolved spec that the report explains: what counts as large enough, and what rows depend on.

use toml::{Table, Value};

use crate::manifest::Manifest;

/// Keys of each step, in the order of the manifest.
pub(super) struct Settings {
    steps: Vec<StepSettings>,
}

#[derive(Default)]
struct StepSettings {
    min_effect: Option<f64>,
    /// Names a column of time or of entities, so that rows are not taken as independent.
    dependent: bool,
}

impl Settings {
    /// Reads the spec; one that is absent or broken leaves every key unset, since the run itself is past.
    pub(super) fn read(spec: Option<&str>, manifest: &Manifest) -> Self {
        let spec = spec.and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
        let of = |step: &str| {
            let keys = spec.get("step").and_then(|steps| steps.get(step)).and_then(Value::as_table);
            keys.map_or_else(StepSettings::default, StepSettings::new)
        };
        Self { steps: manifest.steps.iter().map(|record| of(&record.name)).collect() }
    }

    /// Returns the minimum effect of a step, where the spec has one.
    pub(super) fn min_effect(&self, step: usize) -> Option<f64> {
        self.steps.get(step).and_then(|step| step.min_effect)
    }

    /// Says whether any step names what its rows depend on.
    pub(super) fn any_dependent(&self) -> bool {
        self.steps.iter().any(|step| step.dependent)
    }
}

impl StepSettings {
    fn new(keys: &Table) -> Self {
        let min_effect = keys.get("min_effect").and_then(|v| v.as_float().or_else(|| v.as_integer().map(|v| v as f64)));
        Self {
            min_effect: min_effect.filter(|v| v.is_finite() && *v > 0.0),
            dependent: ["time", "cluster_by"].iter().any(|key| keys.contains_key(*key)),
        }
    }
}
