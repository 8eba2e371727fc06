//! How fast short texts are compared: Jaro-Winkler and the edits of optimal string alignment, one thread.
//!
//! `cargo bench --bench dedupe` compares names and mail addresses of the shipped customers, drawn at random. `GRISTMILL_PAIRS=FILE` compares the
//! pairs of a file instead, one on a line and a tab between: `benches/peers/dedupe_strings.py` gives others the same.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gristmill_engine::dedupe::{jaro_winkler, osa};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Pair = (String, String);

/// Every cell of a column beside the one of another row.
fn customers(column: usize) -> Vec<Pair> {
    /// Rows between the two: no divisor of their number, so that neighbours are not meant.
    const APART: usize = 997;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/samples/customers_crm.csv");
    let text = std::fs::read_to_string(file).expect("the sample is shipped");
    let cells: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').nth(column)).filter(|cell| !cell.is_empty()).collect();
    (0..cells.len()).map(|row| (cells[row].to_owned(), cells[(row + APART) % cells.len()].to_owned())).collect()
}

fn given(path: &str) -> Vec<Pair> {
    let text = std::fs::read_to_string(path).expect("the file of pairs can be read");
    text.lines().filter_map(|line| line.split_once('\t')).map(|(one, other)| (one.to_owned(), other.to_owned())).collect()
}

fn strings(criterion: &mut Criterion) {
    let sets = match std::env::var("GRISTMILL_PAIRS") {
        Ok(path) => vec![("given", given(&path))],
        Err(_) => vec![("names", customers(2)), ("mail", customers(7))],
    };
    let mut group = criterion.benchmark_group("strings");
    for (name, pairs) in sets {
        group.throughput(Throughput::Elements(pairs.len() as u64));
        let similarity = || pairs.iter().map(|(a, b)| jaro_winkler(a.as_bytes(), b.as_bytes())).sum::<f64>();
        group.bench_function(format!("jaro_winkler/{name}"), |bencher| bencher.iter(|| black_box(similarity())));
        let edits = || pairs.iter().map(|(a, b)| u64::from(osa(a.as_bytes(), b.as_bytes()))).sum::<u64>();
        group.bench_function(format!("osa/{name}"), |bencher| bencher.iter(|| black_box(edits())));
    }
    group.finish();
}

criterion_group!(benches, strings);
criterion_main!(benches);
