//! The assign kernel of k-means by place, columns and centres.
//!
//! `cargo bench --bench cluster -- assign/gpu/64x256` runs one of them. Throughput is in multiply-adds, n k d; a flop rate is twice that. What is
//! measured is what a fit pays for an iteration: points go up, labels come down, and what is close is settled in f64.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gristmill_engine::backend::{Backend, PlaceChoice};
use gristmill_engine::cluster::bench::Assignment;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns the points of a bench: few where `cargo test` runs each bench once to see that it works.
fn points(measured: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") { measured } else { 1000 }
}

fn assign(criterion: &mut Criterion) {
    let n = points(1_000_000);
    let mut group = criterion.benchmark_group("assign");
    group.sample_size(10);
    for (d, k) in [(64, 256), (64, 1024), (16, 20)] {
        group.throughput(Throughput::Elements((n * k * d) as u64));
        let assignment = Assignment::of_noise(n, d, k);
        let name = format!("{d}x{k}");
        let cpu = Backend::cpu();
        group.bench_function(BenchmarkId::new("cpu", &name), |b| b.iter(|| black_box(assignment.run(&cpu))));
        if let Ok(gpu) = Backend::open(PlaceChoice::Gpu) {
            group.bench_function(BenchmarkId::new("gpu", &name), |b| b.iter(|| black_box(assignment.run(&gpu))));
        }
    }
    group.finish();
}

criterion_group!(benches, assign);
criterion_main!(benches);
