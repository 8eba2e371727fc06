//! The Gram kernel by place, width and columns, and the way from Parquet to a result.
//!
//! `cargo bench --bench correlate -- gram/cpu_f32/2048` runs one of them. Throughput is in useful multiply-adds: half of
//! the square, n p (p + 1) / 2; a flop rate is twice that.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gristmill_engine::backend::{Backend, PlaceChoice};
use gristmill_engine::correlate::gram::{Gram, GramInput, Matrix, gram_f64};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 100_000;
const COLUMNS: [usize; 3] = [64, 512, 2048];

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
    let mut group = criterion.benchmark_group("gram");
    group.sample_size(10);
    for p in COLUMNS {
        group.throughput(Throughput::Elements((ROWS * p * (p + 1) / 2) as u64));
        let values: Vec<f32> = noise(ROWS * p).map(|x| x as f32).collect();
        let columns = Matrix { values: &values, n_rows: ROWS, stride: ROWS, n_columns: p };
        let cpu = Backend::cpu();
        group.bench_function(BenchmarkId::new("cpu_f32", p), |b| b.iter(|| black_box(cpu.run(&Gram, GramInput::symmetric(columns)))));
        if let Ok(gpu) = Backend::open(PlaceChoice::Gpu) {
            group.bench_function(BenchmarkId::new("gpu_f32", p), |b| b.iter(|| black_box(gpu.run(&Gram, GramInput::symmetric(columns)))));
        }
        drop(values);
        let values: Vec<f64> = noise(ROWS * p).collect();
        let columns = Matrix { values: &values, n_rows: ROWS, stride: ROWS, n_columns: p };
        group.bench_function(BenchmarkId::new("cpu_f64", p), |b| b.iter(|| black_box(gram_f64(columns))));
    }
    group.finish();
}

criterion_group!(benches, gram);
criterion_main!(benches);
