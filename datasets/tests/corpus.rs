//! Reads 209 files that others wrote: good ones, ones that once crashed readers, encrypted ones.
//!
//! Every file is read on a thread of its own with a limit of 10 seconds and a memory budget of 1 GiB. What is read
//! must be what `expected.json` says; what is refused must be refused by an error that names the file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use gristmill_datasets::{Cause, Format, ReadError, Source, SourceOptions, open, quiet_panics};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);

fn corpus() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/parquet"));
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no corpus at {}: nothing to read", folder.display());
    None
}

fn options(folder: &Path, file: &str) -> SourceOptions {
    SourceOptions {
        base_dir: folder.to_path_buf(),
        format: match file.split('/').next() {
            Some("bad_csv_fuzz" | "csv") => Some(Format::Csv),
            Some("bad_arrow_ipc_file" | "bad_arrow_ipc_stream") => Some(Format::Arrow),
            _ => Some(Format::Parquet),
        },
        ..SourceOptions::of(file)
    }
}

/// What a column holds, in the terms of `expected.json`.
#[derive(Debug, Default, Clone, PartialEq)]
struct Summary {
    rows: u64,
    nulls: u64,
    sum: i128,
    min: Option<i128>,
    max: Option<i128>,
    floats: Vec<f64>,
    nans: u64,
    trues: u64,
    bytes: u64,
    texts: HashSet<Vec<u8>>,
    data_type: Option<DataType>,
}

impl Summary {
    fn add(&mut self, array: &ArrayRef) {
        self.rows += array.len() as u64;
        self.nulls += array.logical_null_count() as u64;
        self.data_type = Some(array.data_type().clone());
        match array.data_type() {
            DataType::UInt64 => self.integers(array.as_primitive::<UInt64Type>().iter().flatten().map(i128::from)),
            data_type if data_type.is_integer() => {
                let array = cast(array, &DataType::Int64).unwrap();
                self.integers(array.as_primitive::<Int64Type>().iter().flatten().map(i128::from));
            }
            data_type if data_type.is_floating() => {
                let array = cast(array, &DataType::Float64).unwrap();
                for value in array.as_primitive::<Float64Type>().iter().flatten() {
                    if value.is_nan() { self.nans += 1 } else { self.floats.push(value) }
                }
            }
            DataType::Boolean => self.trues += array.as_boolean().true_count() as u64,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                let array = cast(array, &DataType::LargeBinary).unwrap();
                for value in array.as_binary::<i64>().iter().flatten() {
                    self.bytes += value.len() as u64;
                    self.texts.insert(value.to_vec());
                }
            }
            _ => {}
        }
    }

    fn integers(&mut self, values: impl Iterator<Item = i128>) {
        for value in values {
            self.sum += value;
            self.min = Some(self.min.map_or(value, |min| min.min(value)));
            self.max = Some(self.max.map_or(value, |max| max.max(value)));
        }
    }

    /// Compares with an entry of `expected.json`; says what differs.
    fn differs(&self, expected: &Value) -> Option<String> {
        let integer = |key: &str| expected[key].as_str().and_then(|text| text.parse::<i128>().ok());
        let float = |key: &str| expected[key].as_str().and_then(|text| text.parse::<f64>().ok());
        let count = |key: &str| expected[key].as_u64();
        let mut wrong = Vec::new();
        let mut check = |key: &str, same: bool, found: String| {
            if !same {
                wrong.push(format!("{key}: {found}, expected {}", expected[key]));
            }
        };
        check("nulls", count("nulls").is_none_or(|n| n == self.nulls), self.nulls.to_string());
        if let Some(sum) = integer("sum") {
            check("sum", sum == self.sum, self.sum.to_string());
            check("min", integer("min") == self.min, format!("{:?}", self.min));
            check("max", integer("max") == self.max, format!("{:?}", self.max));
        }
        if let Some(sum) = float("fsum") {
            let finite: Vec<f64> = self.floats.iter().copied().filter(|value| value.is_finite()).collect();
            let (found, size) = (exact_sum(&finite), finite.iter().map(|value| value.abs()).sum::<f64>());
            check("fsum", (found - sum).abs() <= 1e-12 * size, found.to_string());
            check("nan", count("nan").is_none_or(|n| n == self.nans), self.nans.to_string());
        }
        check("true", count("true").is_none_or(|n| n == self.trues), self.trues.to_string());
        if count("distinct").is_some() {
            check("bytes", count("bytes").is_none_or(|n| n == self.bytes), self.bytes.to_string());
            check("distinct", count("distinct") == Some(self.texts.len() as u64), self.texts.len().to_string());
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

/// Neumaier's sum.
fn exact_sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    sum + lost
}

/// Reads some columns to the end.
fn summarize(source: &dyn Source, projection: &[usize]) -> Result<Vec<Summary>, ReadError> {
    let summaries: Vec<Mutex<Summary>> = projection.iter().map(|_| Mutex::default()).collect();
    let mut scan = source.scan(projection)?;
    let mut rows = 0;
    loop {
        let n = scan.next(10_000, &|column, _, array| summaries[column].lock().unwrap().add(array))?;
        rows += n as u64;
        if n == 0 {
            break;
        }
    }
    let summaries: Vec<Summary> = summaries.into_iter().map(|summary| summary.into_inner().unwrap()).collect();
    assert!(summaries.iter().all(|summary| summary.rows == rows), "columns are out of step");
    assert!(source.n_rows().is_none_or(|n| n == rows), "n_rows is {:?}, {rows} came", source.n_rows());
    Ok(summaries)
}

/// What came of one file.
#[derive(Debug)]
struct Outcome {
    /// Why the file was refused as a whole.
    refused: Option<ReadError>,
    rows: u64,
    columns: Vec<(String, DataType, Result<Summary, ReadError>)>,
}

fn read(options: &SourceOptions) -> Outcome {
    let source = match open(options) {
        Ok(source) => source,
        Err(error) => return Outcome { refused: Some(error), rows: 0, columns: Vec::new() },
    };
    let schema = source.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let together = summarize(source.as_ref(), &all);
    let column = |at: usize| {
        let field = schema.field(at);
        let alone = summarize(source.as_ref(), &[at]).map(|mut summaries| summaries.remove(0));
        (field.name().clone(), field.data_type().clone(), alone)
    };
    let columns: Vec<_> = all.iter().map(|at| column(*at)).collect();
    let rows = match summarize(source.as_ref(), &[]) {
        Ok(_) => source.n_rows().or(columns.iter().find_map(|c| c.2.as_ref().ok()).map(|s| s.rows)).unwrap_or(0),
        Err(_) => 0,
    };
    Outcome { refused: together.err(), rows, columns }
}

/// Reads on another thread, so that a hang is seen.
fn read_within_limit(options: SourceOptions) -> Result<Outcome, &'static str> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        // Nobody waits any more after a hang.
        drop(send.send(read(&options)));
    });
    receive.recv_timeout(LIMIT).map_err(|error| match error {
        RecvTimeoutError::Timeout => "hang",
        RecvTimeoutError::Disconnected => "panic",
    })
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[derive(Debug, Default)]
struct Counts {
    files: usize,
    read: usize,
    refused: usize,
    stopped_panics: usize,
    columns: usize,
    columns_right: usize,
    columns_refused: usize,
}

#[test]
fn the_corpus_is_read_or_refused() {
    let Some(folder) = corpus() else { return };
    quiet_panics();
    let (manifest, expected) = (json(&folder.join("manifest.json")), json(&folder.join("expected.json")));
    let mut table: BTreeMap<String, Counts> = BTreeMap::new();
    let mut wrong: Vec<String> = Vec::new();
    for entry in manifest.as_array().unwrap() {
        let (file, group) = (entry["file"].as_str().unwrap(), entry["group"].as_str().unwrap());
        let counts = table.entry(group.to_owned()).or_default();
        counts.files += 1;
        let outcome = match read_within_limit(options(&folder, file)) {
            Ok(outcome) => outcome,
            Err(what) => {
                wrong.push(format!("{file}: {what}"));
                continue;
            }
        };
        count(counts, &outcome);
        check_refusal(file, group, &outcome, &mut wrong);
        if group == "good" {
            check_values(file, &expected[file], &outcome, counts, &mut wrong);
        } else if outcome.refused.is_none() {
            check_rows(file, entry, &outcome, &mut wrong);
        }
    }
    print(&table);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(table.values().map(|counts| counts.files).sum::<usize>(), 209);
    let good = &table["good"];
    assert!(good.columns_right * 100 >= good.columns * 95, "{} of {}", good.columns_right, good.columns);
}

fn count(counts: &mut Counts, outcome: &Outcome) {
    match &outcome.refused {
        None => counts.read += 1,
        Some(error) => {
            counts.refused += 1;
            counts.stopped_panics += usize::from(error.to_string().contains("the decoder stopped"));
        }
    }
}

fn check_refusal(file: &str, group: &str, outcome: &Outcome, wrong: &mut Vec<String>) {
    let Some(error) = &outcome.refused else {
        if group.starts_with("encrypted") {
            wrong.push(format!("{file}: read although it is encrypted"));
        }
        return;
    };
    let text = error.to_string();
    let name = Path::new(file).file_name().unwrap().to_str().unwrap();
    if !text.contains(name) {
        wrong.push(format!("{file}: the error does not name it: {text}"));
    }
    if !matches!(error.cause(), Cause::Data | Cause::Budget) {
        wrong.push(format!("{file}: refused for the wrong cause: {text}"));
    }
    if group.starts_with("encrypted") && !text.contains("encrypted") {
        wrong.push(format!("{file}: the error does not say `encrypted`: {text}"));
    }
    if group == "good" {
        println!("refused: {text}");
    }
}

fn check_values(file: &str, expected: &Value, outcome: &Outcome, counts: &mut Counts, wrong: &mut Vec<String>) {
    let Some(columns) = expected["cols"].as_array() else { return };
    let is_flat = |column: &&Value| !["list", "struct", "map"].iter().any(|t| column["type"].as_str().unwrap().starts_with(t));
    for column in columns.iter().filter(is_flat) {
        counts.columns += 1;
        let name = column["name"].as_str().unwrap();
        match outcome.columns.iter().find(|(found, _, _)| found == name) {
            None if outcome.refused.is_some() => counts.columns_refused += 1,
            None => wrong.push(format!("{file}: column `{name}` is missing")),
            Some((_, _, Err(error))) => {
                counts.columns_refused += 1;
                if !error.to_string().contains(&format!("`{name}`")) {
                    wrong.push(format!("{file}: the error does not name `{name}`: {error}"));
                }
            }
            Some((_, _, Ok(summary))) => match summary.differs(column) {
                Some(difference) => wrong.push(format!("{file}: `{name}`: {difference}")),
                None if Some(summary.rows) != expected["rows"].as_u64() => {
                    wrong.push(format!("{file}: `{name}`: {} rows, expected {}", summary.rows, expected["rows"]));
                }
                None => counts.columns_right += 1,
            },
        }
    }
}

/// A bad file that is read anyway gives the rows that another reader gives.
fn check_rows(file: &str, entry: &Value, outcome: &Outcome, wrong: &mut Vec<String>) {
    let verdicts: Vec<&str> = ["pyarrow_26_0_1", "duckdb_2_0_0"].iter().filter_map(|reader| entry[reader]["detail"].as_str()).collect();
    let rows = |detail: &&str| detail.split_once('x').and_then(|(rows, _)| rows.parse::<u64>().ok());
    let others: Vec<u64> = verdicts.iter().filter_map(rows).collect();
    let is_text = file.contains("csv");
    println!("read: {file}: {} rows, others {others:?}", outcome.rows);
    if !is_text && !others.contains(&outcome.rows) {
        wrong.push(format!("{file}: read {} rows, others {others:?}", outcome.rows));
    }
}

fn print(table: &BTreeMap<String, Counts>) {
    println!("{:24} files  read  refused  (by a stopped panic)  flat columns: right, refused, all", "group");
    for (group, counts) in table {
        println!(
            "{group:24} {:5} {:5} {:8} {:22} {:20} {:8} {:4}",
            counts.files, counts.read, counts.refused, counts.stopped_panics, counts.columns_right, counts.columns_refused, counts.columns
        );
    }
}

/// Reads one file of the corpus: the error of opening it or of reading all of it, else its columns.
fn one(folder: &Path, file: &str) -> Result<Vec<Summary>, ReadError> {
    quiet_panics();
    let source = open(&options(folder, file))?;
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    summarize(source.as_ref(), &all)
}

#[test]
fn special_cases_give_what_their_sources_say() {
    let Some(folder) = corpus() else { return };
    let refused = |file: &str| one(&folder, file).expect_err(file);
    let read = |file: &str| one(&folder, file).unwrap_or_else(|error| panic!("{file}: {error}"));

    let text = refused("good/datapage_v1-corrupt-checksum.parquet").to_string();
    assert!(text.contains("CRC") && text.contains("column `a`"), "{text}");
    assert_eq!(read("good/datapage_v1-uncompressed-checksum.parquet")[0].rows, 5_120);
    // Read by others; the crate that is used here cannot parse its footer.
    assert_eq!(refused("good/dict-page-offset-zero.parquet").cause(), Cause::Data);
    assert_eq!(read("good/incorrect_map_schema.parquet")[0].rows, 1);
    let text = refused("good/int96_from_spark.parquet").to_string();
    assert!(text.contains("column `a`") && text.contains("outside the range"), "{text}");
    let bomb = refused("good/large_string_map.brotli.parquet");
    assert_eq!(bomb.cause(), Cause::Budget);
    assert!(bomb.to_string().contains("column `arr`"), "{bomb}");
    assert_eq!(read("good/nan_in_stats.parquet")[0].nans, 1);
    assert_eq!(read("good/overflow_i16_page_cnt.parquet")[0].rows, 40_000);
    let text = refused("good/repeated_no_annotation.parquet").to_string();
    assert!(text.contains("claims 0 rows") && text.contains("row groups 6"), "{text}");
    assert_eq!(read("good/unknown-logical-type.parquet")[0].rows, 3);
    let fixed = read("good/ARROW-17100.parquet");
    assert_eq!((fixed[0].sum, fixed[0].min, fixed[0].max), (15, Some(1), Some(5)));

    assert_eq!(refused("bad_parquet/ARROW-GH-41317.parquet").cause(), Cause::Data);
    assert_eq!(read("bad_parquet/ARROW-GH-43605.parquet")[0].rows, 21_186);
    for file in ["ARROW-RS-GH-6229-DICTHEADER", "ARROW-RS-GH-6229-LEVELS", "PARQUET-1481"] {
        assert_eq!(refused(&format!("bad_parquet/{file}.parquet")).cause(), Cause::Data, "{file}");
    }
}

#[test]
fn a_claim_is_refused_before_it_is_decoded() {
    let Some(folder) = corpus() else { return };
    let mut options = options(&folder, "good/large_string_map.brotli.parquet");
    options.memory_bytes = 1 << 20;
    let source = open(&options).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(summarize(source.as_ref(), &[0]).unwrap_err().cause(), Cause::Budget);
    assert!(started.elapsed() < Duration::from_secs(1));
}
