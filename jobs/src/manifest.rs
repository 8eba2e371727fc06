//! `manifest.json`: what went in, what came out, where it ran, and every fall-back on the way.

use serde::{Deserialize, Serialize};

use crate::events::now;

/// Version of the manifest's own shape.
pub const MANIFEST_VERSION: u32 = 1;

/// How far a run or a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    Planned,
    /// Begun; a run folder found in this state goes on where it stopped.
    Running,
    /// All outputs are in place.
    Done,
    /// Ended with an error.
    Failed,
    /// Stopped by a signal; the same command goes on.
    Interrupted,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `MANIFEST_VERSION` of the writer.
    pub version: u32,
    /// Version of gristmill.
    pub gristmill: String,
    /// Name of the job.
    pub job: String,
    /// Hash of the resolved spec and of the inputs' content.
    pub run_id: String,
    /// BLAKE3 of the resolved spec.
    pub spec_hash: String,
    /// How far the run has come.
    pub state: State,
    /// Exit code of the last command, once there is one.
    pub exit_code: Option<u8>,
    /// Message of the error that ended it.
    pub error: Option<String>,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub finished: Option<String>,
    /// Seed of the spec.
    pub seed: u64,
    /// Level of the spec.
    pub alpha: f64,
    /// Place asked for.
    pub place: String,
    /// Threads used.
    pub threads: usize,
    /// Memory budget in bytes.
    pub memory_bytes: u64,
    /// Every file read.
    pub inputs: Vec<InputRecord>,
    /// Steps in the order of the run.
    pub steps: Vec<StepRecord>,
    /// Every file written, relative to the run folder.
    pub outputs: Vec<OutputRecord>,
    /// Rows of `findings.parquet`.
    pub n_findings: u64,
    /// Seconds spent on hashing the inputs.
    pub hash_seconds: f64,
}

impl Manifest {
    /// Ends a run that did not come to its end, and the steps that were under way.
    pub(crate) fn end(&mut self, state: State, exit_code: u8, error: String) {
        for step in self.steps.iter_mut().filter(|step| step.state == State::Running) {
            step.state = state;
        }
        self.state = state;
        self.exit_code = Some(exit_code);
        self.error = Some(error);
        self.finished = Some(now());
    }
}

/// One input file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputRecord {
    /// Name of the source in the spec.
    pub source: String,
    /// Path as resolved.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// BLAKE3 of the content.
    pub blake3: String,
    /// Rows, where known.
    pub rows: Option<u64>,
}

impl InputRecord {
    /// Returns what the path says of the rows, wherever the file lies: its endings, which name the format, and folders such as `year=2025`, which
    /// are columns.
    #[must_use]
    pub fn form(&self) -> String {
        let path = std::path::Path::new(&self.path);
        let folders =
            path.parent().into_iter().flat_map(std::path::Path::components).map(|part| part.as_os_str().to_string_lossy().into_owned());
        let mut form: String = folders.filter(|name| name.contains('=')).map(|name| format!("{name}/")).collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        form.push_str(name.split_once('.').map_or("", |(_, endings)| endings));
        form
    }
}

/// One output file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Path relative to the run folder.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// BLAKE3 of the content.
    pub blake3: String,
    /// Rows.
    pub rows: u64,
}

impl OutputRecord {
    /// Says whether people write into the file: it is a text that asks them something.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        self.path.ends_with(".csv")
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Name in the spec.
    pub name: String,
    /// Kind in the spec.
    pub kind: String,
    /// How far it has come.
    pub state: State,
    /// `cpu`, `gpu` or `software`, once it has run.
    pub place: Option<String>,
    /// Adapter's name where a GPU was used.
    pub adapter: Option<String>,
    /// Why that place.
    pub place_reason: Option<String>,
    /// Every fall-back with its reason; empty when all went as planned.
    pub fell_back: Vec<String>,
    /// Rows read.
    pub n_rows: u64,
    /// Columns used.
    pub n_columns: u64,
    /// Hypotheses in the family, for kinds that test.
    pub family: Option<u64>,
    /// Rows of the step in `findings.parquet`.
    pub n_findings: u64,
    /// Seconds of reading and computing.
    pub compute_seconds: f64,
    /// Seconds of writing tables.
    pub write_seconds: f64,
    /// Most bytes that the process had held when the step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Columns that the kind could not use.
    pub left_out: Vec<LeftOut>,
    /// Why it was run, or that it was taken over.
    #[serde(default)]
    pub why: Option<String>,
    /// The earlier run that did it, where its tables were taken over.
    #[serde(default)]
    pub taken_from: Option<String>,
    /// What was checked, of steps that check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckRecord>,
}

/// Something that must hold of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// `rows`, `nulls`, `range`, `allowed`, `holds`, `unique` or `drift`.
    pub check: String,
    /// `fail` or `warn`.
    pub severity: String,
    /// Whether it holds; none where too little is known.
    pub passed: Option<bool>,
    /// What was expected and found, in words.
    pub sentence: String,
}

impl CheckRecord {
    /// Says whether it fails the run.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.passed == Some(false) && self.severity == "fail"
    }
}

/// A column that a kind could not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name.
    pub column: String,
    /// Arrow type in plain words.
    pub data_type: String,
    /// Why.
    pub reason: String,
}
