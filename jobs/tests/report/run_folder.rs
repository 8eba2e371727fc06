//! Fabricated run folders: manifest, tables and findings as the runner leaves them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use gristmill::manifest::{InputRecord, MANIFEST_VERSION, Manifest, OutputRecord, State, StepRecord};
use parquet::arrow::ArrowWriter;

/// A pair of the fabricated table.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) r: Option<f64>,
    pub(crate) verdict: &'static str,
}

pub(crate) fn pair(x: &str, y: &str, r: Option<f64>) -> Pair {
    let verdict = match r {
        Some(r) if r.abs() >= 0.1 => "survives",
        Some(_) => "not_significant",
        None => "too_few",
    };
    Pair { x: x.to_owned(), y: y.to_owned(), r, verdict }
}

/// Returns all pairs of columns with correlations that wander over the whole range.
pub(crate) fn all_pairs(columns: &[String]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, x) in columns.iter().enumerate() {
        for (j, y) in columns.iter().enumerate().skip(i + 1) {
            let wave = ((i * 37 + j * 101) % 199) as f64 / 100.0 - 0.99;
            pairs.push(pair(x, y, (!(i + j).is_multiple_of(23)).then_some(wave * wave * wave)));
        }
    }
    pairs
}

pub(crate) fn names(p: usize) -> Vec<String> {
    (0..p).map(|at| format!("column_{at:03}")).collect()
}

pub(crate) fn write_table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(crate) fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn write_pairs(dir: &Path, step: &str, pairs: &[Pair]) {
    let number = |of: &dyn Fn(f64) -> f64| -> ArrayRef { Arc::new(pairs.iter().map(|pair| pair.r.map(of)).collect::<Float64Array>()) };
    let none: ArrayRef = Arc::new(Float64Array::new_null(pairs.len()));
    write_table(
        &dir.join(step).join("pairs.parquet"),
        vec![
            ("x", text(pairs.iter().map(|pair| pair.x.as_str()))),
            ("y", text(pairs.iter().map(|pair| pair.y.as_str()))),
            ("group", Arc::new(StringArray::new_null(pairs.len()))),
            ("lag", Arc::new(Int64Array::new_null(pairs.len()))),
            ("method", text(pairs.iter().map(|_| "pearson"))),
            ("r", number(&|r| r)),
            ("n", Arc::new(UInt64Array::from_iter_values(pairs.iter().map(|_| 12_330)))),
            ("effective_n", none.clone()),
            ("lo", number(&|r| r - 0.02)),
            ("hi", number(&|r| r + 0.02)),
            ("p", number(&|r| if r.abs() > 0.9 { 0.0 } else { (-30.0 * r.abs()).exp() })),
            ("p_perm", none.clone()),
            ("q", number(&|r| if r.abs() > 0.9 { 0.0 } else { (-25.0 * r.abs()).exp() })),
            ("n_minor", Arc::new(UInt64Array::new_null(pairs.len()))),
            ("leverage_max", none),
            ("settled", Arc::new(pairs.iter().map(|pair| Some(pair.verdict == "survives")).collect::<BooleanArray>())),
            ("verdict", text(pairs.iter().map(|pair| pair.verdict))),
        ],
    );
}

pub(crate) fn write_columns(dir: &Path, step: &str, columns: &[String]) {
    let some = |v: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![v; columns.len()])) };
    let count = |of: &dyn Fn(usize) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values((0..columns.len()).map(of))) };
    write_table(
        &dir.join(step).join("columns.parquet"),
        vec![
            ("column", text(columns.iter().map(String::as_str))),
            ("data_type", text(columns.iter().map(|_| "double"))),
            ("used", Arc::new(BooleanArray::from(vec![true; columns.len()]))),
            ("reason", Arc::new(StringArray::new_null(columns.len()))),
            ("n", count(&|at| 12_330 - at as u64)),
            ("nulls", count(&|at| at as u64)),
            ("mean", some(80.818_611)),
            ("sd", some(176.779_107)),
            ("min", some(0.0)),
            ("max", some(63_973.5)),
            ("constant", Arc::new((0..columns.len()).map(|at| Some(at == 1)).collect::<BooleanArray>())),
        ],
    );
}

pub(crate) fn write_findings(dir: &Path, step: &str, pairs: &[Pair]) -> u64 {
    let found: Vec<&Pair> = pairs.iter().filter(|pair| pair.verdict == "survives").collect();
    let owned = |of: &dyn Fn(&Pair) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(found.iter().map(|pair| of(pair)))) };
    let number = |of: &dyn Fn(f64) -> f64| -> ArrayRef { Arc::new(found.iter().map(|pair| pair.r.map(of)).collect::<Float64Array>()) };
    write_table(
        &dir.join("findings.parquet"),
        vec![
            ("finding_id", owned(&|_| "0123456789abcdef".to_owned())),
            ("step", owned(&|_| step.to_owned())),
            ("subject", owned(&|pair| format!("{} ~ {}", pair.x, pair.y))),
            ("filter", owned(&|pair| format!("\"{}\" is not null and \"{}\" is not null", pair.x, pair.y))),
            ("effect", number(&|r| r)),
            ("effect_unit", owned(&|_| "r".to_owned())),
            ("lo", number(&|r| r - 0.02)),
            ("hi", number(&|r| r + 0.02)),
            ("n", Arc::new(UInt64Array::from_iter_values(found.iter().map(|_| 12_330)))),
            ("p", number(&|_| 0.0)),
            ("q", number(&|_| 0.0)),
            ("q_method", owned(&|_| format!("BH over {} pairs", pairs.len()))),
            ("evidence", owned(&|_| "association".to_owned())),
            ("fragile", Arc::new(BooleanArray::new_null(found.len()))),
            ("confirmed_out_of_time", Arc::new(BooleanArray::new_null(found.len()))),
            ("sentence", owned(&|pair| format!("`{}` and `{}` rise together over 12,330 rows", pair.x, pair.y))),
        ],
    );
    found.len() as u64
}

pub(crate) fn step(name: &str, n_columns: u64, family: u64, n_findings: u64) -> StepRecord {
    StepRecord {
        name: name.to_owned(),
        kind: "correlate".to_owned(),
        state: State::Done,
        place: Some("cpu".to_owned()),
        adapter: None,
        place_reason: Some("2 ms of work, a GPU takes 180 ms to start".to_owned()),
        fell_back: Vec::new(),
        n_rows: 12_330,
        n_columns,
        family: Some(family),
        n_findings,
        compute_seconds: 0.081,
        write_seconds: 0.012,
        peak_rss_bytes: Some(41 << 20),
        notes: Vec::new(),
        left_out: Vec::new(),
        why: None,
        taken_from: None,
        checks: Vec::new(),
    }
}

pub(crate) fn manifest(job: &str, steps: Vec<StepRecord>) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        gristmill: "0.1.0".to_owned(),
        job: job.to_owned(),
        run_id: "41d0c2aa".repeat(8),
        spec_hash: "77ab19f0".repeat(8),
        state: State::Done,
        exit_code: Some(0),
        error: None,
        started: "2026-11-23T15:09:40.120Z".to_owned(),
        finished: Some("2026-11-23T15:09:40.512Z".to_owned()),
        seed: 7,
        alpha: 0.05,
        place: "auto".to_owned(),
        threads: 2,
        memory_bytes: 4 << 30,
        inputs: vec![InputRecord {
            source: "sessions".to_owned(),
            path: "samples/online_shoppers_intention.csv.gz".to_owned(),
            bytes: 258_117,
            blake3: "9f2c4be1".repeat(8),
            rows: Some(12_330),
        }],
        n_findings: steps.iter().map(|step| step.n_findings).sum(),
        steps,
        outputs: vec![OutputRecord { path: "findings.parquet".to_owned(), bytes: 7_211, blake3: "9f2c4be1".repeat(8), rows: 1 }],
        hash_seconds: 0.001,
    }
}

pub(crate) fn save_manifest(dir: &Path, manifest: &Manifest) {
    fs::write(dir.join("manifest.json"), serde_json::to_vec_pretty(manifest).unwrap()).unwrap();
}

/// Fabricates a run of one step and returns its manifest, which is not yet saved.
pub(crate) fn run_of(dir: &Path, job: &str, columns: &[String], pairs: &[Pair]) -> Manifest {
    write_pairs(dir, "links", pairs);
    write_columns(dir, "links", columns);
    let n_findings = write_findings(dir, "links", pairs);
    fs::write(dir.join("spec.toml"), format!("name = \"{job}\"\n\n[step.links]\nkind = \"correlate\"\nmin_effect = 0.1\n")).unwrap();
    let family = pairs.iter().filter(|pair| pair.r.is_some()).count() as u64;
    manifest(job, vec![step("links", columns.len() as u64, family, n_findings)])
}
