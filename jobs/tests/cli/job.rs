//! A job in a temporary folder: a spec, its files, and the binary to run it with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A spec with one step over `data.csv`.
pub(crate) const ONE_STEP: &str =
    "name = \"tiny\"\nplace = \"cpu\"\n[source.people]\npath = \"data.csv\"\n[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\n";

pub(crate) struct Job {
    pub(crate) folder: tempfile::TempDir,
}

impl Job {
    /// Returns a job with 400 rows of planted data.
    pub(crate) fn new(spec: &str) -> Self {
        Self::with_rows(spec, 400, 4)
    }

    pub(crate) fn with_rows(spec: &str, n_rows: usize, n_columns: usize) -> Self {
        let job = Self { folder: tempfile::tempdir().unwrap() };
        job.write("spec.toml", spec);
        job.write("data.csv", planted(n_rows, n_columns));
        job
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("GRISTMILL_ADAPTER").env("NO_COLOR", "1");
        command
    }

    pub(crate) fn gristmill(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the spec into `out` and expects success.
    pub(crate) fn run(&self) -> Ran {
        let ran = self.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran
    }

    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("out/manifest.json")).unwrap()).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        events(&fs::read_to_string(self.path("out/events.jsonl")).unwrap())
    }

    pub(crate) fn event_names(&self) -> Vec<String> {
        self.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns every Parquet file of `out` with its bytes: what must not depend on how a run went.
    pub(crate) fn tables(&self) -> BTreeMap<String, Vec<u8>> {
        let files = files(&self.path("out"));
        let tables = files.into_iter().filter(|path| path.ends_with(".parquet"));
        tables.map(|path| (path.clone(), fs::read(self.path("out").join(&path)).unwrap())).collect()
    }

    /// Fails when an unfinished file or spill folder lies in `out`.
    pub(crate) fn assert_no_temps(&self) {
        let left: Vec<String> =
            files(&self.path("out")).into_iter().filter(|path| path.contains(".gristmill-") || path.contains(".tmp")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What a command gave back.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Returns lines of JSON as values; every line must parse.
pub(crate) fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Returns the files below a folder, relative to it, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            let relative = entry.path().strip_prefix(folder).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.push(relative);
        }
    }
    found.sort();
    found
}

/// Returns a table in which each odd column follows the column before it.
pub(crate) fn planted(n_rows: usize, n_columns: usize) -> String {
    let mut text = (0..n_columns).map(|j| format!("x{j:02}")).collect::<Vec<_>>().join(",") + "\n";
    let mut state = 12_345_u64;
    for _ in 0..n_rows {
        let mut before = 0.0;
        for j in 0..n_columns {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / (1_u64 << 24) as f64;
            let value = if j % 2 == 1 { before + 0.3 * noise } else { noise };
            before = value;
            let comma = if j + 1 < n_columns { ',' } else { '\n' };
            write!(text, "{value:.5}{comma}").unwrap();
        }
    }
    text
}
