//! A job of five steps that read one another, small enough to be run some thousand times.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const STEPS: &str = r#"
[source.sales]
path = "sales.csv"

[source.crm]
path = "crm.csv"

[step.profiles]
kind = "features"
from = "sales"
entity = "customer"
time = "day"
order = "order"
amount = "amount"
category = "kind"

[step.segments]
kind = "cluster"
from = "profiles"
id = "customer"
columns = ["monetary", "frequency", "recency_days"]
method = "kmeans"
k = 3
bootstrap = 5

[step.labels]
kind = "score"
from = "profiles"
model = "segments"

[step.pairs]
kind = "correlate"
from = "profiles"
permutations = 50

[step.people]
kind = "dedupe"
from = "crm"
id = "id"
"#;

/// The job in a temporary folder, with what a run without faults gives.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    /// What follows `run spec.toml`.
    more: Vec<&'static str>,
    out: PathBuf,
    /// Every table of an undisturbed run.
    pub(crate) whole: BTreeMap<String, Vec<u8>>,
}

impl Job {
    /// Makes the job, and runs it once undisturbed.
    pub(crate) fn new(place: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("spec.toml", format!("name = \"nightly\"\nseed = 7\nthreads = 1\nplace = \"{place}\"\n{STEPS}"));
        write("sales.csv", sales());
        write("crm.csv", customers());
        let out = folder.path().join("out");
        let mut job = Self { folder, more: vec!["--run-dir", "out"], out, whole: BTreeMap::new() };
        let ran = job.command().output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        job.whole = job.tables();
        assert!(job.whole.len() > 30, "{:?}", job.whole.keys());
        job.clear();
        job
    }

    /// The same job after a run, with one step changed: the others are taken over.
    pub(crate) fn taking_over(place: &str) -> Self {
        let mut job = Self::new(place);
        job.more = Vec::new();
        assert!(job.command().status().unwrap().success());
        job.more = vec!["--set", "step.pairs.permutations=51"];
        assert!(job.command().status().unwrap().success());
        job.out = fs::canonicalize(job.root().join("runs/nightly/latest")).unwrap();
        let whole = job.tables();
        assert!(whole["pairs/pairs.parquet"] != job.whole["pairs/pairs.parquet"], "the step that was changed gives the same");
        job.whole = whole;
        let manifest: Value = serde_json::from_slice(&fs::read(job.out.join("manifest.json")).unwrap()).unwrap();
        let taken = manifest["steps"].as_array().unwrap().iter().filter(|step| step["taken_from"].is_string()).count();
        assert_eq!(taken, 4);
        job.clear();
        job
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.out.clone()
    }

    /// Returns the command: always the same one.
    pub(crate) fn command(&self) -> Command {
        self.under(Command::new(env!("CARGO_BIN_EXE_gristmill")))
    }

    /// Returns the command behind another one that is started in its place.
    pub(crate) fn behind(&self, mut before: Command) -> Command {
        before.arg(env!("CARGO_BIN_EXE_gristmill"));
        self.under(before)
    }

    fn under(&self, mut command: Command) -> Command {
        command.args(["run", "spec.toml", "--quiet"]).args(&self.more).current_dir(self.root());
        // The binary starts itself anew without this name, which would count calls twice.
        command.env("NODEVICE_SELECT", "1").env_remove("GRISTMILL_ADAPTER").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Removes the run.
    pub(crate) fn clear(&self) {
        if self.out().exists() {
            fs::remove_dir_all(self.out()).unwrap();
        }
        let latest = self.root().join("runs/nightly/latest");
        if fs::symlink_metadata(&latest).is_ok() {
            fs::remove_file(latest).unwrap();
        }
    }

    /// Returns every table of the run with its bytes.
    pub(crate) fn tables(&self) -> BTreeMap<String, Vec<u8>> {
        let is_table = |path: &Path| path.extension().is_some_and(|ending| ending == "parquet" || ending == "csv");
        let tables = files(&self.out()).into_iter().filter(|path| is_table(path));
        tables.map(|path| (name(&self.out(), &path), fs::read(&path).unwrap())).collect()
    }

    /// Returns what is wrong with a folder that a fault left: files of a final name that are not whole.
    pub(crate) fn torn(&self) -> Vec<String> {
        let mut torn = Vec::new();
        for path in files(&self.out()).into_iter().filter(|path| !is_temp(path)) {
            let (name, bytes) = (name(&self.out(), &path), fs::read(&path).unwrap());
            let is_whole = match self.whole.get(&name) {
                Some(expected) => *expected == bytes,
                None if name.ends_with(".json") => serde_json::from_slice::<Value>(&bytes).is_ok(),
                None if name == "spec.toml" => toml::from_str::<toml::Table>(&String::from_utf8_lossy(&bytes)).is_ok(),
                None if name == "report.html" => String::from_utf8_lossy(&bytes).trim_end().ends_with("</html>"),
                // The log is a list of lines, the last of which may be cut; the lock is empty.
                None => name == "events.jsonl" || name == "lock",
            };
            if !is_whole {
                torn.push(name);
            }
        }
        torn
    }

    /// Returns unfinished files that are still there.
    pub(crate) fn temps(&self) -> Vec<String> {
        files(&self.out()).iter().filter(|path| is_temp(path)).map(|path| name(&self.out(), path)).collect()
    }

    /// Returns the steps that are marked as done.
    pub(crate) fn done(&self) -> Vec<String> {
        let marks = files(&self.out()).into_iter().filter(|path| path.ends_with("done.json"));
        marks.map(|path| path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    /// Runs the command without a fault, and says what of its promises does not hold.
    pub(crate) fn go_on(&self) -> Vec<String> {
        let (done, seen) = (self.done(), self.events().len());
        let ran = self.command().output().unwrap();
        let mut broken = Vec::new();
        if !ran.status.success() {
            broken.push(format!("the same command ended with {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr)));
        }
        let tables = self.tables();
        for (name, bytes) in &self.whole {
            if tables.get(name) != Some(bytes) {
                broken.push(format!("{name} differs from an undisturbed run"));
            }
        }
        broken.extend(self.temps().iter().map(|temp| format!("{temp} was not swept")));
        for event in self.events().iter().skip(seen).filter(|event| event["event"] == "step_started") {
            let step = event["step"].as_str().unwrap_or_default();
            if done.iter().any(|done| done == step) {
                broken.push(format!("step {step} was done and ran again"));
            }
        }
        broken
    }

    /// Returns the whole lines of the log.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.out().join("events.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

fn is_temp(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(".gristmill-"))
}

fn name(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap().display().to_string()
}

/// Returns the files below a folder, and folders that are temporary; sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true if is_temp(Path::new(&entry.file_name())) => found.push(entry.path()),
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// A stream of numbers below `n`, the same every time.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 12_345_u64;
    move |n| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    }
}

fn sales() -> String {
    let mut draw = numbers();
    let mut text = "customer,day,order,amount,kind\n".to_owned();
    for row in 0..600 {
        let customer = draw(60);
        let (month, day, cents) = (1 + draw(12), 1 + draw(28), draw(9_000) * (1 + customer % 3));
        let kind = ["shoes", "hats", "bags"][draw(3) as usize];
        let (whole, part) = (cents / 100, cents % 100);
        writeln!(text, "c{customer:02},2025-{month:02}-{day:02},o{},{whole}.{part:02},{kind}", row / 2).unwrap();
    }
    text
}

fn customers() -> String {
    const GIVEN: [&str; 10] = ["Anna", "Hans", "Maria", "Luis", "Karl", "Eva", "Paula", "Igor", "Nadia", "Tom"];
    const FAMILY: [&str; 10] = ["Amato", "Keller", "Rossi", "Perez", "Maier", "Lind", "Duval", "Novak", "Berg", "Ortiz"];
    let mut draw = numbers();
    let mut text = "id,given,family,born,town,phone\n".to_owned();
    for person in 0..60 {
        let (given, family) = (GIVEN[draw(10) as usize], FAMILY[draw(10) as usize]);
        let born = format!("{}-{:02}-{:02}", 1940 + draw(60), 1 + draw(12), 1 + draw(28));
        let (town, phone) = (["Pisa", "Verona", "Bari"][draw(3) as usize], 300_000_000 + draw(99_999_999));
        writeln!(text, "a{person},{given},{family},{born},{town},+39 {phone}").unwrap();
        if person % 2 == 0 {
            writeln!(text, "b{person},{},{family},{born},{town},+39 {phone}", &given[..given.len() - 1]).unwrap();
        }
    }
    text
}
