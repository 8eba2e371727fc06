//! `--metrics-file`: how a run went, for the text collector of Prometheus' node exporter.
//!
//! The file is replaced whole at the end of every run whose spec could be read, so a scrape never sees half of it. The time of the last success is
//! carried from file to file, also through runs that fail: that is what an alert asks for. A run that ended before it had a folder (a file that is
//! not there, a folder in use) tells its end, its exit code and how long it took.

use std::fs;
use std::path::Path;

use crate::JobError;
use crate::error::Exit;
use crate::manifest::{Manifest, State};
use crate::memory;
use crate::outputs;

/// Name of the number that outlives a run that failed.
const LAST_SUCCESS: &str = "gristmill_last_success_timestamp_seconds";

/// Writes the file; the manifest is absent where the run had no folder.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, job: &str, manifest: Option<&Manifest>, exit: Exit, seconds: f64) -> Result<(), JobError> {
    let before = fs::read_to_string(path).unwrap_or_default();
    outputs::write_text_at(path, &text(job, manifest, exit, seconds, &before))
}

fn text(job: &str, manifest: Option<&Manifest>, exit: Exit, seconds: f64, before: &str) -> String {
    let label = format!("{{job=\"{}\"}}", escaped(job));
    let now = jiff::Timestamp::now().as_second();
    let last_success = match exit {
        Exit::Done => Some(now.to_string()),
        _ => before.lines().find_map(|line| line.strip_prefix(&format!("{LAST_SUCCESS}{label} "))).map(str::to_owned),
    };
    let mut page = String::new();
    let mut add = |name: &str, about: &str, value: Option<String>| {
        if let Some(value) = value {
            page.push_str(&format!("# HELP {name} {about}\n# TYPE {name} gauge\n{name}{label} {value}\n"));
        }
    };
    add("gristmill_last_run_timestamp_seconds", "End of the last run.", Some(now.to_string()));
    add(LAST_SUCCESS, "End of the last run that ended with 0.", last_success);
    add("gristmill_last_run_exit_code", "Exit code of the last run.", Some((exit as u8).to_string()));
    add("gristmill_last_run_duration_seconds", "Wall-clock time of the last run.", Some(format!("{seconds:.3}")));
    let Some(manifest) = manifest else { return page };
    let checks = || manifest.steps.iter().flat_map(|step| &step.checks);
    let rows: Option<u64> = manifest.inputs.iter().map(|input| input.rows).sum();
    let bytes: u64 = manifest.inputs.iter().map(|input| input.bytes).sum();
    let done = manifest.steps.iter().filter(|step| step.state == State::Done);
    let taken = done.clone().filter(|step| step.taken_from.is_some()).count();
    let fell_back: usize = manifest.steps.iter().map(|step| step.fell_back.len()).sum();
    add("gristmill_last_run_input_bytes", "Bytes of its input files.", Some(bytes.to_string()));
    add("gristmill_last_run_input_rows", "Rows of its input files, where all of them say.", rows.map(|rows| rows.to_string()));
    add("gristmill_last_run_steps", "Steps of the job.", Some(manifest.steps.len().to_string()));
    add("gristmill_last_run_steps_done", "Steps that are done.", Some(done.count().to_string()));
    add("gristmill_last_run_steps_taken_over", "Steps done by earlier runs.", Some(taken.to_string()));
    add("gristmill_last_run_findings", "Findings.", Some(manifest.n_findings.to_string()));
    add("gristmill_last_run_checks", "Checks.", Some(checks().count().to_string()));
    add(
        "gristmill_last_run_checks_failed",
        "Checks that do not hold, warnings too.",
        Some(checks().filter(|check| check.passed == Some(false)).count().to_string()),
    );
    add("gristmill_last_run_fall_backs", "Times that work went to another place than planned.", Some(fell_back.to_string()));
    add("gristmill_last_run_peak_rss_bytes", "Most memory held.", memory::peak_rss_bytes().map(|bytes| bytes.to_string()));
    page
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
