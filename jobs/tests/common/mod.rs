//! What the tests of promises share: a spec in a temporary folder, the built binary, and its tables row by row.

#![allow(dead_code, clippy::unwrap_used, reason = "tests, each of which uses a part")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, UInt64Type};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// Says aloud that a test had nothing to do.
pub(crate) fn say(line: &str) {
    #[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
    {
        eprintln!("{line}");
    }
}

/// Returns a path below the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap().join(path)
}

/// Returns a file of the reference data that does not ship, or says that it is not there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(path);
    if !found.exists() {
        say(&format!("no file {path} in the folder of reference data: this part was not tested"));
        return None;
    }
    Some(found)
}

/// A temporary folder in which specs run.
pub(crate) struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Runs a spec into the folder `out`; its stderr where it does not end well.
    pub(crate) fn try_run(&self, spec: &str, out: &str) -> Result<Run, String> {
        let file = self.write(&format!("{out}.toml"), spec);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.arg("run").arg(file).arg("--run-dir").arg(self.path(out)).arg("--quiet");
        let ran = command.current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("GRISTMILL_ADAPTER").output().unwrap();
        if !ran.status.success() {
            return Err(format!("{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr)));
        }
        Ok(Run { folder: self.path(out) })
    }

    /// Runs a spec that must end well.
    pub(crate) fn run(&self, spec: &str, out: &str) -> Run {
        self.try_run(spec, out).unwrap_or_else(|error| panic!("{error}\n{spec}"))
    }
}

/// A finished run.
pub(crate) struct Run {
    folder: PathBuf,
}

impl Run {
    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join("manifest.json")).unwrap()).unwrap()
    }

    /// Returns the name of the first step, which is the folder of its tables.
    pub(crate) fn step(&self) -> String {
        self.manifest()["steps"][0]["name"].as_str().unwrap().to_owned()
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.join(file)).unwrap()
    }

    pub(crate) fn findings(&self) -> RecordBatch {
        read(&self.folder.join("findings.parquet"))
    }

    /// Returns a table of the first step.
    pub(crate) fn table(&self, name: &str) -> RecordBatch {
        self.table_of(&self.step(), name)
    }

    /// Returns a table of a step.
    pub(crate) fn table_of(&self, step: &str, name: &str) -> RecordBatch {
        read(&self.folder.join(step).join(format!("{name}.parquet")))
    }

    pub(crate) fn pairs(&self) -> Vec<Pair> {
        pairs(&self.table("pairs"))
    }
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// A row of the table `pairs`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) n: u64,
    pub(crate) r: Option<f64>,
    pub(crate) settled: bool,
    /// Every cell of the row: numbers by their bits.
    pub(crate) cells: Vec<String>,
}

impl Pair {
    /// Returns the pair's columns, whichever comes first.
    pub(crate) fn key(&self) -> (&str, &str) {
        let (x, y) = (self.x.as_str(), self.y.as_str());
        if x <= y { (x, y) } else { (y, x) }
    }
}

/// Returns the rows of a table `pairs`.
pub(crate) fn pairs(table: &RecordBatch) -> Vec<Pair> {
    let column = |name: &str| table.column_by_name(name).unwrap();
    let (x, y, r) = (column("x").as_string::<i32>(), column("y").as_string::<i32>(), column("r").as_primitive::<Float64Type>());
    let (n, settled) = (column("n").as_primitive::<UInt64Type>(), column("settled").as_boolean());
    let row = |(at, cells): (usize, Vec<String>)| Pair {
        x: x.value(at).to_owned(),
        y: y.value(at).to_owned(),
        n: n.value(at),
        r: r.is_valid(at).then(|| r.value(at)),
        settled: settled.value(at),
        cells,
    };
    rows(table).into_iter().enumerate().map(row).collect()
}

/// Returns every row of a table, cell by cell; two rows are equal when all of their bits are.
pub(crate) fn rows(table: &RecordBatch) -> Vec<Vec<String>> {
    let schema = table.schema();
    let cell = |(array, name): (&ArrayRef, &String), row: usize| {
        let text = match array.data_type() {
            _ if array.is_null(row) => "null".to_owned(),
            DataType::Float64 => {
                let value = array.as_primitive::<Float64Type>().value(row);
                format!("{value:e} ({:016x})", value.to_bits())
            }
            _ => array_value_to_string(array, row).unwrap(),
        };
        format!("{name}: {text}")
    };
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let row = |at: usize| table.columns().iter().zip(names.iter().copied()).map(|column| cell(column, at)).collect();
    (0..table.num_rows()).map(row).collect()
}
