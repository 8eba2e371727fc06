//! What happens in a run, one JSON object a line: always in `events.jsonl`, on stderr with `--log-format json`.
//!
//! ```text
//! {"seq":3,"ts":"2026-01-31T12:00:00.000Z","event":"step_started","run_id":"..","step":"pairs", ...}
//! ```
//!
//! The five leading keys and the names of events are a contract; keys may be added. `seq` counts from 0 through
//! all commands that worked on the folder. The lines for people are made from the same events, so that the two
//! cannot tell different stories.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::JobError;
use crate::outputs::Folder;
use crate::progress::View;
use crate::run_dir;
use crate::secrets;
use crate::spec::Located;
use crate::terminal::{bytes, count, counted, plain, seconds};

/// Name of the log in a run folder.
pub(crate) const FILE_NAME: &str = "events.jsonl";

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the fields are the keys of the JSON line; the variants say what happened")]
pub enum Event {
    /// A command began to work on the folder.
    RunStarted {
        job: String,
        gristmill: &'static str,
        run_dir: String,
        place: String,
        threads: usize,
        memory_bytes: u64,
        resumed: bool,
        input_bytes: u64,
        hash_seconds: f64,
    },
    /// An input was hashed.
    InputHashed { source: String, path: String, bytes: u64, blake3: String },
    /// A step began.
    StepStarted { kind: String, rows: Option<u64> },
    /// The command is alive and hashes its inputs; shown every ten seconds, and in no log: the folder is named after the hashes.
    Hashing { bytes_done: u64, bytes_total: u64, seconds: f64 },
    /// The run is alive; sent every ten seconds.
    Progress { rows_done: u64, rows_total: Option<u64>, bytes_read: Option<u64>, rss_bytes: Option<u64>, seconds: f64 },
    /// Work went to another place than planned.
    FellBack { reason: String },
    /// A step was done by an earlier run of the job, and its tables were taken over.
    StepTaken { from: String, findings: u64 },
    /// Something was checked.
    Checked { check: String, severity: String, passed: Option<bool>, sentence: String },
    /// A table lies under its final name.
    TableWritten { path: String, rows: u64, bytes: u64, blake3: String },
    /// A step is done.
    StepFinished {
        place: String,
        adapter: Option<String>,
        place_reason: String,
        rows: u64,
        columns: u64,
        findings: u64,
        compute_seconds: f64,
        write_seconds: f64,
    },
    /// A step was done by an earlier command and its tables are whole.
    StepCached { findings: u64 },
    /// A step failed, or waits for one that did.
    StepFailed { exit_code: u8, error: String },
    /// All outputs are in place.
    RunFinished { exit_code: u8, cached: bool, findings: u64, seconds: f64, peak_rss_bytes: Option<u64> },
    /// The run ended with an error.
    RunFailed {
        exit_code: u8,
        error: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        problems: Vec<Located>,
        peak_rss_bytes: Option<u64>,
    },
    /// A signal stopped the run; the same command goes on.
    RunInterrupted { exit_code: u8 },
    /// Something that people should know and that changes no answer; what no folder is there for yet is shown alone.
    Warned { message: String },
}

impl Event {
    /// Returns the stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::InputHashed { .. } => "input_hashed",
            Self::StepStarted { .. } => "step_started",
            Self::Hashing { .. } => "hashing",
            Self::Progress { .. } => "progress",
            Self::FellBack { .. } => "fell_back",
            Self::StepTaken { .. } => "step_taken",
            Self::Checked { .. } => "checked",
            Self::TableWritten { .. } => "table_written",
            Self::StepFinished { .. } => "step_finished",
            Self::StepCached { .. } => "step_cached",
            Self::StepFailed { .. } => "step_failed",
            Self::RunFinished { .. } => "run_finished",
            Self::RunFailed { .. } => "run_failed",
            Self::RunInterrupted { .. } => "run_interrupted",
            Self::Warned { .. } => "warned",
        }
    }

    /// Returns the line for people; some events have none, because a line nearby says it.
    #[must_use]
    pub fn text(&self, step: Option<&str>) -> Option<String> {
        let step = plain(step.unwrap_or_default());
        match self {
            Self::RunStarted { job, run_dir, resumed, input_bytes, hash_seconds, .. } => {
                let word = if *resumed { "going on with" } else { "running" };
                let hashed = format!("{} of input, hashed in {}", bytes(*input_bytes), seconds(*hash_seconds));
                Some(format!("{word} {} in {} ({hashed})", plain(job), plain(run_dir)))
            }
            Self::InputHashed { .. } | Self::TableWritten { .. } => None,
            Self::StepStarted { kind, rows } => {
                let rows = rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row")));
                Some(format!("step {step}: {kind}{rows}"))
            }
            Self::Hashing { bytes_done, bytes_total, seconds: spent } => {
                Some(format!("hashing inputs: {} of {} in {}", bytes(*bytes_done), bytes(*bytes_total), seconds(*spent)))
            }
            Self::Progress { rows_done, rows_total, rss_bytes, seconds: spent, .. } => {
                let total = rows_total.map_or_else(String::new, |total| format!(" of {}", count(total)));
                let rss = rss_bytes.map_or_else(String::new, |rss| format!(", {} of memory", bytes(rss)));
                Some(format!("step {step}: {}{total} rows in {}{rss}", count(*rows_done), seconds(*spent)))
            }
            Self::FellBack { reason } => Some(format!("step {step}: fell back: {}", plain(reason))),
            Self::StepFinished { place, compute_seconds, write_seconds, findings, .. } => {
                let found = counted(*findings, "finding");
                Some(format!("step {step}: {found}, {} on {place}, {} to write", seconds(*compute_seconds), seconds(*write_seconds)))
            }
            Self::StepCached { findings } => Some(format!("step {step}: done before, {}", counted(*findings, "finding"))),
            Self::StepTaken { from, findings } => {
                Some(format!("step {step}: taken over from run {from}, {}", counted(*findings, "finding")))
            }
            Self::Checked { passed: Some(true), .. } => None,
            Self::Checked { passed: None, sentence, .. } => Some(format!("{step}: not checked: {}", plain(sentence))),
            Self::Checked { severity, sentence, .. } if severity == "warn" => Some(format!("{step}: warning: {}", plain(sentence))),
            Self::Checked { sentence, .. } => Some(format!("{step}: check failed: {}", plain(sentence))),
            Self::StepFailed { error, .. } => Some(format!("step {step} failed: {}", plain(error))),
            Self::RunFinished { cached: true, .. } => {
                Some("nothing has changed since this run ended; `--fresh` would run it again".to_owned())
            }
            Self::RunFinished { seconds: spent, .. } => Some(format!("done in {}", seconds(*spent))),
            Self::RunFailed { error, .. } => Some(format!("error: {}", plain(error))),
            Self::Warned { message } => Some(format!("warning: {}", plain(message))),
            Self::RunInterrupted { .. } => Some("stopped; the same command goes on where this one ended".to_owned()),
        }
    }

    /// Says whether `--quiet` lets it through.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self {
            Self::RunFailed { .. } | Self::RunInterrupted { .. } => true,
            Self::Checked { passed, severity, .. } => *passed == Some(false) && severity == "fail",
            _ => false,
        }
    }
}

/// One line, its keys in the order that people read them.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    ts: String,
    event: &'static str,
    run_id: Option<&'a str>,
    step: Option<&'a str>,
    #[serde(flatten)]
    detail: &'a Event,
}

fn line(seq: u64, run_id: Option<&str>, step: Option<&str>, event: &Event) -> String {
    let line = Line { seq, ts: now(), event: event.name(), run_id, step, detail: event };
    let mut text = serde_json::to_string(&line).expect("every field is a text, a number or a flag");
    text.push('\n');
    secrets::hidden(&text).into_owned()
}

/// Returns the time as RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Shows an event that no log takes.
pub fn show_alone(view: &View, event: &Event) {
    view.show(&line(0, None, None, event), event.text(None).as_deref(), event.is_error());
}

/// Shows a warning.
pub fn warn(view: &View, message: String) {
    show_alone(view, &Event::Warned { message });
}

/// Shows a warning that `--quiet` does not hide.
pub fn warn_anyway(view: &View, message: String) {
    let event = Event::Warned { message };
    view.show(&line(0, None, None, &event), event.text(None).as_deref(), true);
}

/// Shows how a run ended that had no folder yet; `page` is what people see.
pub fn show_early(view: &View, event: &Event, page: &str) {
    view.show(&line(0, None, None, event), Some(page), event.is_error());
}

/// Writes events to the run folder and shows them.
pub struct Events<'v> {
    view: &'v View,
    path: PathBuf,
    run_id: String,
    log: Mutex<Log>,
}

struct Log {
    file: File,
    seq: u64,
}

impl<'v> Events<'v> {
    /// Opens `events.jsonl` for more; a line that a killed process left half-written is cut off.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(run_dir: &Folder, run_id: &str, view: &'v View) -> Result<Self, JobError> {
        let path = run_dir.path().join(FILE_NAME);
        let log = Log::of(run_dir::open_own(run_dir, FILE_NAME)?).map_err(|error| JobError::Write { path: path.clone(), error })?;
        Ok(Self { view, path, run_id: run_id.to_owned(), log: Mutex::new(log) })
    }

    /// Writes and shows an event.
    ///
    /// # Errors
    /// When the line cannot be written; it is shown all the same.
    pub fn emit(&self, step: Option<&str>, event: &Event) -> Result<(), JobError> {
        let mut log = self.log();
        let line = line(log.seq, Some(&self.run_id), step, event);
        let in_bar = self.view.has_bar() && matches!(event, Event::Progress { .. });
        let text = event.text(step).filter(|_| !in_bar);
        self.view.show(&line, text.as_deref(), event.is_error());
        log.file.write_all(line.as_bytes()).map_err(|error| JobError::Write { path: self.path.clone(), error })?;
        log.seq += 1;
        Ok(())
    }

    /// Makes all lines last.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&self) -> Result<(), JobError> {
        self.log().file.sync_data().map_err(|error| JobError::Write { path: self.path.clone(), error })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // A panic between two lines leaves a file and a count, both valid.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn of(mut file: File) -> io::Result<Self> {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::Start(whole as u64))?;
        let seq = text[..whole].iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(Self { file, seq })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::progress::LogFormat;
    use serde_json::Value;

    #[test]
    fn lines_start_with_the_five_keys_and_parse() {
        let text = line(3, Some("ab"), Some("pairs"), &Event::StepStarted { kind: "correlate".to_owned(), rows: Some(5) });
        let starts = text.starts_with("{\"seq\":3,\"ts\":\"2");
        assert!(
            starts && text.contains("Z\",\"event\":\"step_started\",\"run_id\":\"ab\",\"step\":\"pairs\",\"kind\":\"correlate\""),
            "{text}"
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn a_torn_line_is_cut_and_the_count_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let view = View::new(LogFormat::Text, true);
        let events = Events::open(&Folder::open(folder.path()).unwrap(), "ab", &view).unwrap();
        events.emit(None, &Event::StepCached { findings: 1 }).unwrap();
        drop(events);
        let path = folder.path().join("events.jsonl");
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"seq\":1,\"ts\":\"20")).unwrap();
        let events = Events::open(&Folder::open(folder.path()).unwrap(), "ab", &view).unwrap();
        events.emit(Some("a\u{1b}b"), &Event::FellBack { reason: "r".to_owned() }).unwrap();
        let lines: Vec<Value> = std::fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
        assert_eq!((seqs, lines[1]["step"].as_str().unwrap()), (vec![0, 1], "a\u{1b}b"));
    }

    #[test]
    fn people_never_see_escape_codes_from_data() {
        let event = Event::FellBack { reason: "\u{1b}[2J".to_owned() };
        assert_eq!(event.text(Some("\u{7}s")).unwrap(), "step \\u{7}s: fell back: \\u{1b}[2J");
    }
}
