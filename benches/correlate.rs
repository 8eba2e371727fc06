//! The Gram kernel by place, width and columns, and the way from Parquet to a result.
//!
//! `cargo bench --bench correlate -- gram/cpu_f32/2048` runs one of them. Throughput of `gram` is in useful multiply-adds:
//! half of the square, n p (p + 1) / 2; a flop rate is twice that. Throughput of `parquet` is in bytes of cells.

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gristmill_datasets::synth::{CorrelatedOptions, correlated};
use gristmill_datasets::{SourceOptions, open};
use gristmill_engine::EngineError;
use gristmill_engine::analysis;
use gristmill_engine::backend::{Backend, PlaceChoice};
use gristmill_engine::correlate::gram::{Gram, GramInput, Matrix, gram_f64};
use gristmill_engine::correlate::{Correlate, CorrelateOptions, Correlation, Precision};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COLUMNS: [usize; 3] = [64, 512, 2048];

/// Returns the rows of a bench: few where `cargo test` runs each bench once to see that it works.
fn rows(measured: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") { measured } else { 1000 }
}

/// Cells that look like standardized noise; cheap to make and the same each time.
fn noise(cells: usize) -> impl Iterator<Item = f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..cells).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    })
}

fn gram(criterion: &mut Criterion) {
    let n = rows(100_000);
    let mut group = criterion.benchmark_group("gram");
    group.sample_size(10);
    for p in COLUMNS {
        group.throughput(Throughput::Elements((n * p * (p + 1) / 2) as u64));
        let values: Vec<f32> = noise(n * p).map(|x| x as f32).collect();
        let columns = Matrix { values: &values, n_rows: n, stride: n, n_columns: p };
        let cpu = Backend::cpu();
        group.bench_function(BenchmarkId::new("cpu_f32", p), |b| b.iter(|| black_box(cpu.run(&Gram, GramInput::symmetric(columns)))));
        if let Ok(gpu) = Backend::open(PlaceChoice::Gpu) {
            group.bench_function(BenchmarkId::new("gpu_f32", p), |b| b.iter(|| black_box(gpu.run(&Gram, GramInput::symmetric(columns)))));
        }
        drop(values);
        let values: Vec<f64> = noise(n * p).collect();
        let columns = Matrix { values: &values, n_rows: n, stride: n, n_columns: p };
        group.bench_function(BenchmarkId::new("cpu_f64", p), |b| b.iter(|| black_box(gram_f64(columns))));
    }
    group.finish();
}

/// Reads a file and correlates all of its columns, as a job does.
fn correlate(path: &Path, precision: Precision) -> Correlation {
    let source = open(&SourceOptions::of(path.display().to_string())).expect("the file was just written");
    let schema = source.schema();
    let options = CorrelateOptions { precision, ..CorrelateOptions::default() };
    let mut found = Correlate::new(&schema, (0..schema.fields().len()).collect(), options).expect("all columns are numbers");
    analysis::run(&mut found, &Backend::cpu(), |pass, under_way| {
        let mut scan = source.scan(&pass.columns).expect("the file is still there");
        while under_way.fill(|room, put| Ok::<_, EngineError>(scan.next(room, put).expect("the file is whole")))? > 0 {}
        Ok::<_, EngineError>(())
    })
    .expect("the table has rows")
}

fn parquet(criterion: &mut Criterion) {
    let n = rows(200_000);
    let folder = std::env::temp_dir().join(format!("gristmill-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder takes files");
    let mut group = criterion.benchmark_group("parquet");
    group.sample_size(10);
    for (name, n_columns, precision) in [("f64", 64, Precision::F64), ("f32", 64, Precision::F32), ("f64", 200, Precision::F64)] {
        let table =
            correlated(CorrelatedOptions { n_rows: n as u64, n_columns, ..CorrelatedOptions::default() }).expect("the options can be met");
        let path = folder.join(format!("{name}-{n_columns}.parquet"));
        table.write_parquet(&path, 131_072).expect("the temporary folder takes files");
        group.throughput(Throughput::Bytes((n * n_columns * 8) as u64));
        group.bench_function(BenchmarkId::new(name, n_columns), |b| b.iter(|| black_box(correlate(&path, precision))));
    }
    group.finish();
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

criterion_group!(benches, gram, parquet);
criterion_main!(benches);
