//! `gristmill explain`: of every step of a run why it ran or was taken over, where it ran, and why there.

use crate::manifest::{Manifest, State, StepRecord};
use crate::terminal::{counted, seconds};

/// Returns the page.
#[must_use]
pub fn text(manifest: &Manifest) -> String {
    let mut page = format!("run {} of {}, gristmill {}\n", manifest.run_id, manifest.job, manifest.gristmill);
    for step in &manifest.steps {
        page.push_str(&format!("{}: {}, {}\n", step.name, step.kind, word(step.state)));
        for line in lines(step) {
            page.push_str(&format!("    {line}\n"));
        }
    }
    if let Some(error) = &manifest.error {
        page.push_str(&format!("error: {error}\n"));
    }
    page
}

const fn word(state: State) -> &'static str {
    match state {
        State::Planned => "not begun",
        State::Running => "begun and not ended",
        State::Done => "done",
        State::Failed => "failed",
        State::Interrupted => "stopped",
    }
}

fn lines(step: &StepRecord) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &step.why {
        lines.push(if step.taken_from.is_some() { why.clone() } else { format!("ran: {why}") });
    }
    if let Some(place) = &step.place {
        let adapter = step.adapter.as_ref().map_or_else(String::new, |adapter| format!(" ({adapter})"));
        let because = step.place_reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        lines.push(format!("on {place}{adapter}{because}"));
        let spent = format!("{}, {} to write", seconds(step.compute_seconds), seconds(step.write_seconds));
        lines.push(format!("{}, {}; {spent}", counted(step.n_rows, "row"), counted(step.n_columns, "column")));
    }
    lines.extend(step.fell_back.iter().map(|reason| format!("fell back: {reason}")));
    lines.extend(step.checks.iter().filter(|check| check.passed != Some(true)).map(|check| format!("check: {}", check.sentence)));
    lines.extend(step.left_out.iter().map(|left| format!("left out `{}`: {}", left.column, left.reason)));
    lines
}
