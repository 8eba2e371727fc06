//! Reads a source from the first row to the last and says how fast it went.
//!
//!     cargo run --release -p gristmill-datasets --example scan -- FILE [THREADS]
//!     cargo run --release -p gristmill-datasets --example scan -- --make FILE [ROWS COLUMNS]

#![allow(clippy::print_stdout, reason = "an example that reports")]

use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, Float32Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use gristmill_datasets::{SourceOptions, open};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows that are asked for at a time.
const ROWS: usize = 65_536;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    match arguments.first().map(String::as_str) {
        Some("--make") => make(arguments.get(1).ok_or("which file?")?, number(2, 1_000_000)?, number(3, 200)?),
        Some(path) => {
            let threads = number(1, 0)?;
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            pool.install(|| scan(path)).map_err(|error| error.to_string().into())
        }
        None => Err("which file?".into()),
    }
}

fn scan(path: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let started = Instant::now();
    let source = open(&SourceOptions::of(path))?;
    let opened = started.elapsed();
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    let started = Instant::now();
    let mut scan = source.scan(&all)?;
    let (bytes, mut rows) = (AtomicU64::new(0), 0);
    loop {
        let n = scan.next(ROWS, &|_, _, array: &ArrayRef| {
            bytes.fetch_add(array.to_data().get_slice_memory_size().unwrap_or(0) as u64, Ordering::Relaxed);
        })?;
        rows += n;
        if n == 0 {
            break;
        }
    }
    let (seconds, gigabytes) = (started.elapsed().as_secs_f64(), bytes.into_inner() as f64 / 1e9);
    println!("open {:.2} ms", opened.as_secs_f64() * 1e3);
    println!("{rows} rows, {gigabytes:.3} GB in {seconds:.3} s: {:.2} GB/s", gigabytes / seconds);
    Ok(())
}

/// Writes floats that do not compress, plain, in row groups of 500,000 and pages of 1 MiB, as other writers do.
fn make(path: &str, n_rows: usize, n_columns: usize) -> Result<(), Box<dyn Error>> {
    let fields: Vec<Field> = (0..n_columns).map(|i| Field::new(format!("x{i}"), DataType::Float32, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(usize::MAX)
        .set_max_row_group_row_count(Some(500_000))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, Arc::clone(&schema), Some(properties))?;
    let mut state = 1u64;
    for first in (0..n_rows).step_by(100_000) {
        let n = 100_000.min(n_rows - first);
        let mut column = || {
            let values = (0..n).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / 1e7
            });
            Arc::new(Float32Array::from_iter_values(values)) as ArrayRef
        };
        let columns = (0..n_columns).map(|_| column()).collect();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    Ok(())
}
