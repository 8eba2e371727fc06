//! `--lineage-file`: which files a run read and wrote, as events of `OpenLineage` (spec 2-0-2), one JSON object a line.
//!
//! A run appends START, and at its end COMPLETE, FAIL or ABORT with the same run id. Datasets are files: namespace `file`, name the absolute path.
//! Outputs carry rows, bytes and schema; of a confined run that died there are none. Absent    column lineage, and any transport but a file.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::JobError;
use crate::error::Exit;
use crate::events::now;
use crate::manifest::{Manifest, OutputRecord};
use crate::run_dir::VERSION;
use crate::secrets;

/// A file of events, and the run that they are of.
pub struct Lineage {
    path: PathBuf,
    run: String,
}

impl Lineage {
    /// Begins, or as the id says goes on with, a run.
    #[must_use]
    pub fn new(path: &Path, run: String) -> Self {
        Self { path: path.to_owned(), run }
    }

    /// Says that the run began.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn start(&self, manifest: &Manifest) -> Result<(), JobError> {
        self.append("START", manifest, Vec::new())
    }

    /// Says how it ended, where what it wrote is not to be looked into.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end_unseen(&self, manifest: &Manifest, exit: Exit) -> Result<(), JobError> {
        self.append(word(exit), manifest, Vec::new())
    }

    /// Says how it ended, and what it wrote below its folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(&self, manifest: &Manifest, run_dir: &Path, exit: Exit) -> Result<(), JobError> {
        self.append(word(exit), manifest, manifest.outputs.iter().map(|output| dataset(run_dir, output)).collect())
    }

    fn append(&self, word: &str, manifest: &Manifest, outputs: Vec<Value>) -> Result<(), JobError> {
        let inputs: Vec<Value> =
            manifest.inputs.iter().map(|input| json!({ "namespace": "file", "name": absolute(Path::new(&input.path)) })).collect();
        let event = json!({
            "eventType": word,
            "eventTime": now(),
            "run": { "runId": self.run },
            "job": { "namespace": "gristmill", "name": manifest.job },
            "inputs": inputs,
            "outputs": outputs,
            "producer": producer(),
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        });
        let line = format!("{}\n", secrets::hidden(&event.to_string()));
        // One call a line: runs that end at the same time do not mix theirs.
        let append = || OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(line.as_bytes());
        append().map_err(|error| JobError::Write { path: self.path.clone(), error })
    }
}

/// Returns an id that no other run has: a UUID of version 8, whose bits are of one's own making.
#[must_use]
pub fn new_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(format!("{} {} {} {}", now(), std::process::id(), random(), random()).as_bytes()).as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

const fn word(exit: Exit) -> &'static str {
    match exit {
        Exit::Done | Exit::Check => "COMPLETE",
        Exit::Interrupted | Exit::Terminated => "ABORT",
        _ => "FAIL",
    }
}

fn producer() -> String {
    format!("urn:gristmill:{VERSION}")
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn dataset(run_dir: &Path, output: &OutputRecord) -> Value {
    let path = run_dir.join(&output.path);
    let facet = |name: &str, version: &str| format!("https://openlineage.io/spec/facets/{version}/{name}.json");
    let mut facets = serde_json::Map::new();
    if let Some(fields) = fields(&path) {
        let schema = json!({ "_producer": producer(), "_schemaURL": facet("SchemaDatasetFacet", "1-1-1"), "fields": fields });
        facets.insert("schema".to_owned(), schema);
    }
    json!({
        "namespace": "file",
        "name": absolute(&path),
        "facets": facets,
        "outputFacets": { "outputStatistics": {
            "_producer": producer(),
            "_schemaURL": facet("OutputStatisticsOutputDatasetFacet", "1-0-2"),
            "rowCount": output.rows,
            "size": output.bytes,
        } },
    })
}

/// Returns names and types of a table's columns; none of a file that is no table.
fn fields(path: &Path) -> Option<Vec<Value>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).ok()?).ok()?;
    let field = |field: &std::sync::Arc<arrow::datatypes::Field>| json!({ "name": field.name(), "type": field.data_type().to_string() });
    Some(builder.schema().fields().iter().map(field).collect())
}
