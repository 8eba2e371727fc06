//! Bytes of good files are changed one at a time, and files are cut short: whatever comes, it is rows or an error, never a panic, an abort or
//! more rows than the file can have. `MUTATIONS=50` tries fifty times as many.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::{read, write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use common::{options, try_columns, write_arrow};
use gristmill_datasets::{Cause, open, quiet_panics};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};

const ROWS: i64 = 300;

fn table() -> RecordBatch {
    let texts = || (0..ROWS).map(|i| (i % 5 != 0).then(|| format!("prefix {}", i % 40)));
    let lists = (0..ROWS).map(|i| (i % 3 != 0).then(|| vec![Some(1), None, i32::try_from(i).ok()]));
    let decimals = Decimal128Array::from_iter_values((0..ROWS).map(i128::from)).with_precision_and_scale(20, 2);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from_iter((0..ROWS).map(|i| (i % 7 != 0).then_some(i * 1_000))))),
        ("f", Arc::new(Float32Array::from_iter_values((0..ROWS).map(|i| i as f32 / 3.0)))),
        ("t", Arc::new(StringArray::from_iter(texts()))),
        ("y", Arc::new(BinaryArray::from_iter_values((0..ROWS).map(|i| i.to_le_bytes())))),
        ("b", Arc::new((0..ROWS).map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
        ("d", Arc::new(decimals.unwrap())),
        ("l", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn parquet(properties: WriterProperties) -> Vec<u8> {
    let (batch, mut bytes) = (table(), Vec::new());
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// Changes `n` bytes, one after the other, at places and to values that a fixed generator picks.
fn mutate(folder: &Path, name: &str, good: &[u8], n: u64) {
    quiet_panics();
    let factor = std::env::var("MUTATIONS").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
    let mut options = options(folder, &[name]);
    options.memory_bytes = 64 << 20;
    let (mut n_read, mut state) = (0, 0x9e37_79b9_7f4a_7c15u64);
    for _ in 0..n * factor {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from((state >> 33) % good.len() as u64).unwrap();
        // Footers and headers are short and matter most: every other change is near the end.
        let at = if state & 1 == 0 { good.len() - 1 - at % good.len().min(1_000) } else { at };
        let mut bytes = good.to_vec();
        if state % 10 == 9 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= u8::try_from((state >> 20) & 0xff).unwrap().max(1);
        }
        write(folder.join(name), &bytes).unwrap();
        let result = open(&options).and_then(|source| {
            let all: Vec<usize> = (0..source.schema().fields().len()).collect();
            try_columns(source.as_ref(), &all, 1_000)
        });
        match result {
            Ok(columns) => n_read += usize::from(columns.iter().all(|column| column.len() as i64 <= 4 * ROWS)),
            Err(error) => assert_ne!(error.cause(), Cause::Temporary, "{name}, byte {at}: {error}"),
        }
    }
    assert!(n_read > 0, "{name}: nothing could be read, so nothing was tried");
}

#[test]
fn changed_parquet_is_rows_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let plain = || WriterProperties::builder().set_dictionary_enabled(false);
    let delta = || plain().set_writer_version(WriterVersion::PARQUET_2_0);
    let cases = [
        ("dictionary", WriterProperties::builder().build()),
        ("plain", plain().build()),
        ("snappy", plain().set_compression(Compression::SNAPPY).build()),
        ("delta", delta().build()),
        ("delta-zstd", delta().set_compression(Compression::ZSTD(Default::default())).build()),
        ("lengths", delta().set_column_encoding("t".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY).build()),
    ];
    for (name, properties) in cases {
        mutate(folder.path(), &format!("{name}.parquet"), &parquet(properties), 1_500);
    }
}

#[test]
fn changed_arrow_is_rows_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in write_arrow(folder.path(), &table(), 100) {
        let good = read(folder.path().join(&name)).unwrap();
        mutate(folder.path(), &name, &good, 400);
    }
}

#[test]
fn changed_text_is_rows_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let csv: String = "i,f,t\n".to_owned() + &(0..200).map(|i| format!("{i},{i}.5,\"text {i}\"\n")).collect::<String>();
    let json: String = (0..200).map(|i| format!("{{\"i\": {i}, \"t\": \"text {i}\", \"l\": [1, {i}]}}\n")).collect();
    mutate(folder.path(), "x.csv", csv.as_bytes(), 2_000);
    mutate(folder.path(), "x.jsonl", json.as_bytes(), 2_000);
    mutate(folder.path(), "x.csv.gz", &common::gzip(csv.as_bytes()), 1_000);
    mutate(folder.path(), "x.csv.zst", &zstd::encode_all(csv.as_bytes(), 1).unwrap(), 1_000);
}
