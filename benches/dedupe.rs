//! How fast short texts are compared: Jaro-Winkler and the edits of optimal string alignment, one thread. How fast `MinHash` signatures are made, on
//! all threads and on a device.
//!
//! `cargo bench --bench dedupe` compares names and mail addresses of the shipped customers, drawn at random. `GRISTMILL_PAIRS=FILE` compares the
//! pairs of a file instead, one on a line and a tab between: `benches/peers/dedupe_strings.py` gives others the same.

use std::hint::black_box;
use std::io;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gristmill_engine::backend::{Backend, PlaceChoice};
use gristmill_engine::dedupe::{Bands, Shelf, ShelvedTexts, Shingles, TextSets, Unit, jaro_winkler, osa};

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

/// A shelf that keeps nothing: what is measured is what is put there.
struct Nothing;

impl Shelf for Nothing {
    fn append(&self, _: usize, bytes: &[u8]) -> io::Result<()> {
        black_box(bytes);
        Ok(())
    }

    fn read(&self, _: usize, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Texts of 130 words of 20,000.
fn sets(n: u32) -> TextSets {
    let mut state = 1_u32;
    let mut word = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let texts: Vec<String> = (0..n).map(|_| (0..130).map(|_| format!("w{} ", word() % 20_000)).collect()).collect();
    let mut sets = TextSets::new(Shingles { unit: Unit::Word, k: 3 });
    sets.push(texts.len(), &|text, put| put(&texts[text]));
    sets
}

fn signatures(criterion: &mut Criterion) {
    const N: u32 = 20_000;
    let how = Shingles { unit: Unit::Word, k: 3 };
    let sets = sets(N);
    let mut places = vec![("cpu", Backend::cpu())];
    places.extend(Backend::open(PlaceChoice::Gpu).ok().map(|gpu| ("gpu", gpu)));
    let mut group = criterion.benchmark_group("signatures");
    group.throughput(Throughput::Elements(u64::from(N))).sample_size(20);
    for bands in [Bands { n_rows: 5, n_bands: 18 }, Bands { n_rows: 4, n_bands: 32 }] {
        for (place, on) in &places {
            let put = |sets: TextSets| ShelvedTexts::new(how, bands, 1, &Nothing, on).push_held(sets).expect("nothing can fail");
            let name = format!("{place}/{}_slots", bands.n_slots());
            group.bench_function(name, |bencher| bencher.iter_batched(|| sets.clone(), put, BatchSize::LargeInput));
        }
    }
    group.finish();
}

criterion_group!(benches, strings, signatures);
criterion_main!(benches);
