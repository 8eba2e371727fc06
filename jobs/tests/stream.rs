//! The answer is one of the rows alone: not of row groups, file formats or threads.
//!
//! The same table is written in every way that can be read, and run by the built binary. `findings.parquet` and
//! `pairs.parquet` must be the same bytes, in 64 bits and in 32.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use common::Job;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// Three whole blocks in 32 bits and a short one; no multiple of any row group.
const N_ROWS: usize = 50_021;
/// Rows of the batches in Arrow files.
const BATCH_ROWS: usize = 6_007;
const PRECISIONS: [&str; 2] = ["f64", "f32"];

/// A generator of spread, not of statistics.
struct Noise(u64);

impl Noise {
    /// Returns a number in -1..1.
    fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn column(&mut self, cell: impl Fn(&mut Self, usize) -> f64) -> Vec<f64> {
        (0..N_ROWS).map(|row| cell(self, row)).collect()
    }
}

/// Returns columns of every type that all formats hold, some of them with nulls; strong, weak and absent correlations.
///
/// Their names are in order and the first row has no null: the columns of JSON lines come by name, as they first appear.
fn table() -> RecordBatch {
    let mut noise = Noise(0x5eed_5eed);
    let factor = noise.column(|noise, _| noise.draw());
    let strong = noise.column(|noise, row| 1e6 + 3.0 * factor[row] + noise.draw());
    let weak = noise.column(|noise, row| 1e-3 * (0.05 * factor[row] + noise.draw()));
    let tail = noise.column(|noise, row| (6.0 * noise.draw()).exp() * (1.5 + factor[row]));
    let alone = noise.column(|noise, _| noise.draw() * 1e9);
    let steps = noise.column(|noise, row| (5.0 * (factor[row] + noise.draw())).floor());
    let missing = |column: &[f64], every: usize| -> ArrayRef {
        Arc::new(
            column
                .iter()
                .enumerate()
                .map(|(row, cell)| ((row + 1) % every != row / 1_000 % every).then_some(*cell))
                .collect::<Float64Array>(),
        )
    };
    let floats = |column: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(column.to_vec())) };
    let days = |row: usize| 19_000 + (row / 50) as i32;
    let moment = |row: usize| 1_700_000_000_000_000 + row as i64 * 1_000_000 + (1e5 * factor[row]).floor() as i64;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a_factor", floats(&factor)),
        ("b_strong", floats(&strong)),
        ("c_weak", missing(&weak, 17)),
        ("d_tail", missing(&tail, 3)),
        ("e_alone", floats(&alone)),
        ("f_steps", Arc::new(steps.iter().enumerate().map(|(row, cell)| (row % 40 != 7).then_some(*cell as i64)).collect::<Int64Array>())),
        ("g_flag", Arc::new(factor.iter().map(|cell| Some(*cell > 0.6)).collect::<BooleanArray>())),
        ("h_day", Arc::new((0..N_ROWS).map(days).map(Some).collect::<Date32Array>())),
        ("i_moment", Arc::new((0..N_ROWS).map(moment).map(Some).collect::<TimestampMicrosecondArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn pieces(table: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    (0..table.num_rows()).step_by(BATCH_ROWS).map(|first| table.slice(first, BATCH_ROWS.min(table.num_rows() - first)))
}

fn parquet(job: &Job, table: &RecordBatch, group_rows: usize) -> PathBuf {
    let path = job.path(&format!("groups_of_{group_rows}.parquet"));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), table.schema(), Some(properties)).unwrap();
    writer.write(table).unwrap();
    writer.close().unwrap();
    path
}

fn csv(job: &Job, table: &RecordBatch) -> PathBuf {
    let path = job.path("table.csv");
    arrow::csv::Writer::new(File::create(&path).unwrap()).write(table).unwrap();
    path
}

fn json_lines(job: &Job, table: &RecordBatch) -> PathBuf {
    let path = job.path("table.jsonl");
    let mut writer = arrow::json::LineDelimitedWriter::new(File::create(&path).unwrap());
    writer.write(table).unwrap();
    writer.finish().unwrap();
    path
}

fn arrow_file(job: &Job, table: &RecordBatch) -> PathBuf {
    let path = job.path("table.arrow");
    let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &table.schema()).unwrap();
    pieces(table).for_each(|piece| writer.write(&piece).unwrap());
    writer.finish().unwrap();
    path
}

fn arrow_stream(job: &Job, table: &RecordBatch) -> PathBuf {
    let path = job.path("table.arrows");
    let mut writer = StreamWriter::try_new(File::create(&path).unwrap(), &table.schema()).unwrap();
    pieces(table).for_each(|piece| writer.write(&piece).unwrap());
    writer.finish().unwrap();
    path
}

/// The files whose bytes must repeat.
type Written = BTreeMap<&'static str, Vec<u8>>;

fn written(job: &Job, path: &std::path::Path, precision: &str, threads: usize) -> Written {
    let spec = format!(
        "name = \"stream\"\nplace = \"cpu\"\nthreads = {threads}\n[source.table]\npath = {path:?}\n\
        [step.all]\nkind = \"correlate\"\nmethod = \"pearson\"\npermutations = 0\nfrom = \"table\"\nprecision = \"{precision}\"\n"
    );
    let name = format!("{}_{precision}_{threads}", path.file_name().unwrap().to_str().unwrap());
    let run = job.run(&spec, &name);
    assert_eq!(run.manifest()["steps"][0]["n_rows"].as_u64(), Some(N_ROWS as u64), "{name}");
    assert_eq!(run.manifest()["steps"][0]["n_columns"].as_u64(), Some(9), "{name}");
    ["findings.parquet", "all/pairs.parquet"].map(|file| (file, run.bytes(file))).into()
}

/// Compares the bytes of two runs; the error names the file that differs.
fn same(a: &Written, b: &Written) -> Result<(), String> {
    match a.iter().find(|(file, bytes)| b.get(*file) != Some(bytes)) {
        Some((file, _)) => Err(format!("{file} differs")),
        None => Ok(()),
    }
}

#[test]
fn row_groups_and_formats_do_not_matter() {
    let (job, table) = (Job::new(), table());
    let one_group = parquet(&job, &table, 1_000_000);
    let others = [
        parquet(&job, &table, 1_000),
        parquet(&job, &table, 7_777),
        csv(&job, &table),
        json_lines(&job, &table),
        arrow_file(&job, &table),
        arrow_stream(&job, &table),
    ];
    for precision in PRECISIONS {
        let expected = written(&job, &one_group, precision, 2);
        for path in &others {
            same(&expected, &written(&job, path, precision, 2)).unwrap_or_else(|error| panic!("{}, {precision}: {error}", path.display()));
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let (job, table) = (Job::new(), table());
    let path = parquet(&job, &table, 7_777);
    for precision in PRECISIONS {
        let expected = written(&job, &path, precision, 1);
        for threads in [2, 5] {
            same(&expected, &written(&job, &path, precision, threads))
                .unwrap_or_else(|error| panic!("{threads} threads, {precision}: {error}"));
        }
    }
}

#[test]
fn both_widths_settle_some_rows_and_find_something() {
    let (job, table) = (Job::new(), table());
    let path = parquet(&job, &table, 1_000_000);
    for (precision, n_screened) in [("f64", 0..1), ("f32", 1..36)] {
        let spec = format!(
            "name = \"stream\"\nplace = \"cpu\"\n[source.table]\npath = {path:?}\n\
            [step.all]\nkind = \"correlate\"\nmethod = \"pearson\"\npermutations = 0\nfrom = \"table\"\nprecision = \"{precision}\"\n"
        );
        let run = job.run(&spec, precision);
        let pairs = run.pairs();
        assert!(pairs.len() == 36 && n_screened.contains(&pairs.iter().filter(|pair| !pair.settled).count()), "{precision}");
        assert!(run.findings().num_rows() > 0, "{precision}");
    }
}

#[test]
fn one_changed_cell_is_noticed() {
    let (job, table) = (Job::new(), table());
    let expected = written(&job, &parquet(&job, &table, 1_000_000), "f64", 2);
    let factor = table.column(0).as_any().downcast_ref::<Float64Array>().unwrap();
    let mut cells = factor.values().to_vec();
    cells[N_ROWS - 1] += 1e-3;
    let mut columns = table.columns().to_vec();
    columns[0] = Arc::new(Float64Array::from(cells));
    let changed = RecordBatch::try_new(table.schema(), columns).unwrap();
    assert!(same(&expected, &written(&job, &csv(&job, &changed), "f64", 2)).is_err(), "a cell of the last row");
    let mut bytes = expected.clone();
    bytes.get_mut("all/pairs.parquet").unwrap()[2_000] ^= 1;
    assert!(same(&expected, &bytes).is_err() && same(&bytes, &expected).is_err(), "a bit of the table");
    bytes.remove("all/pairs.parquet");
    assert!(same(&expected, &bytes).is_err(), "a file is missing");
}
