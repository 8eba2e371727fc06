//! What a run found, in a few lines for stdout.
//!
//! Headline, up to five findings, what was left out, where the files lie, and last every fall-back: the line
//! nearest to the prompt is the one that is read.

use std::path::Path;

use arrow::array::{Array, RecordBatch, StringArray};

use crate::JobError;
use crate::kinds::TESTS_NOTHING;
use crate::manifest::{CheckRecord, Manifest, StepRecord};
use crate::outputs;
use crate::terminal::{count, counted, plain};

/// Findings told in full; the rest are counted.
const MAX_FINDINGS: usize = 5;
/// Names of columns listed before they are counted.
const MAX_NAMES: usize = 5;

/// Returns the lines.
///
/// # Errors
/// When `findings.parquet` cannot be read.
pub fn text(dir: &Path, manifest: &Manifest, cached: bool) -> Result<String, JobError> {
    let found = sentences(&outputs::read_table(&dir.join("findings.parquet"))?, manifest.steps.len() > 1);
    let mut lines = vec![headline(manifest, cached)];
    lines.extend(found.iter().take(MAX_FINDINGS).enumerate().map(|(i, sentence)| format!("  {}. {}", i + 1, plain(sentence))));
    if found.len() > MAX_FINDINGS {
        lines.push(format!("  and {} more in findings.parquet", count((found.len() - MAX_FINDINGS) as u64)));
    }
    lines.extend(checks(manifest));
    lines.extend(manifest.steps.iter().filter_map(left_out));
    lines.push(format!("report    {}", shown(dir, "report.html")));
    lines.push(format!("findings  {}", shown(dir, "findings.parquet")));
    let tables = manifest.outputs.iter().filter(|output| !is_findings(&output.path));
    lines.extend(tables.map(|output| format!("table     {} ({})", shown(dir, &output.path), counted(output.rows, "row"))));
    lines.extend(fallbacks(manifest));
    Ok(lines.join("\n") + "\n")
}

/// Returns how many checks passed, and every one that did not.
fn checks(manifest: &Manifest) -> Vec<String> {
    let all: Vec<(&str, &CheckRecord)> =
        manifest.steps.iter().flat_map(|step| step.checks.iter().map(|check| (step.name.as_str(), check))).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let passed = all.iter().filter(|(_, check)| check.passed == Some(true)).count();
    let mut lines = vec![format!("checks    {} of {} passed", count(passed as u64), count(all.len() as u64))];
    for (step, check) in all.iter().filter(|(_, check)| check.passed != Some(true)) {
        let word = match (check.passed, check.is_failed()) {
            (None, _) => "not known",
            (_, true) => "failed",
            (_, false) => "warning",
        };
        lines.push(format!("  {word}: {}: {}", plain(step), plain(&check.sentence)));
    }
    lines
}

fn headline(manifest: &Manifest, cached: bool) -> String {
    let job = plain(&manifest.job);
    let rows = manifest.steps.iter().map(|step| step.n_rows).max().unwrap_or(0);
    let tested = match manifest.steps.iter().filter_map(|step| step.family).sum::<u64>() {
        0 => String::new(),
        1 => format!("1 hypothesis tested at alpha = {}, ", manifest.alpha),
        family => format!("{} hypotheses tested at alpha = {}, ", count(family), manifest.alpha),
    };
    let when = match (&manifest.finished, cached) {
        (Some(finished), true) => format!("; cached, this run ended at {finished}"),
        _ => String::new(),
    };
    if !manifest.steps.is_empty() && manifest.steps.iter().all(|step| step.kind == "check") {
        return format!("{job}: {}{when}", counted(rows, "row"));
    }
    // A job that tests nothing has no findings to count: what it came to is its first note.
    let came_to = manifest.steps.iter().rev().find_map(|step| step.notes.first());
    if let Some(note) = came_to.filter(|_| manifest.steps.iter().all(|step| TESTS_NOTHING.contains(&step.kind.as_str()))) {
        return format!("{job}: {}{when}", plain(note.trim_end_matches('.')));
    }
    let found = match manifest.n_findings {
        0 => "no finding".to_owned(),
        n => counted(n, "finding"),
    };
    format!("{job}: {found} ({tested}{}{when})", counted(rows, "row"))
}

/// Returns every finding in words, after the name of its step where there are several.
fn sentences(batches: &[RecordBatch], with_step: bool) -> Vec<String> {
    let mut found = Vec::new();
    for batch in batches {
        let texts = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>();
        let (Some(steps), Some(sentences)) = (texts("step"), texts("sentence")) else { continue };
        for (step, sentence) in steps.iter().zip(sentences) {
            let (step, sentence) = (step.unwrap_or_default(), sentence.unwrap_or_default());
            found.push(if with_step { format!("{step}: {sentence}") } else { sentence.to_owned() });
        }
    }
    found
}

fn left_out(step: &StepRecord) -> Option<String> {
    if step.left_out.is_empty() {
        return None;
    }
    let n = step.left_out.len();
    let names: Vec<String> = step.left_out.iter().take(MAX_NAMES).map(|left| format!("`{}`", plain(&left.column))).collect();
    let more = if n > MAX_NAMES { format!(" and {} more", n - MAX_NAMES) } else { String::new() };
    Some(format!("step {} left out {}: {}{more}", plain(&step.name), counted(n as u64, "column"), names.join(", ")))
}

fn fallbacks(manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &manifest.steps {
        lines.extend(step.fell_back.iter().map(|reason| format!("step {} fell back: {}", plain(&step.name), plain(reason))));
    }
    lines
}

fn is_findings(path: &str) -> bool {
    path == "findings.parquet" || path.ends_with("/findings.parquet")
}

fn shown(dir: &Path, name: &str) -> String {
    plain(&dir.join(name).display().to_string())
}
