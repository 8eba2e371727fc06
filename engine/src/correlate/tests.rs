//! Three ways agree, laws hold, and a wrong twin is caught.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::definition;
use super::*;
use crate::analysis::{Fold, run_on_batches};
use crate::columns::BlockBuilder;

/// A small counter-free generator: tests need spread, not statistics.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Sum of twelve uniforms: near enough to normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Columns with one common factor, so that r is spread; every `hole`th cell or so is missing where `hole` > 0.
fn columns(n_rows: usize, n_columns: usize, hole: u64) -> Vec<Vec<f64>> {
    let mut noise = Noise(0x5eed);
    let factor: Vec<f64> = (0..n_rows).map(|_| noise.normal()).collect();
    (0..n_columns)
        .map(|at| {
            let load = at as f64 / n_columns as f64;
            let (scale, offset) = (10_f64.powi(at as i32 % 7 - 3), 1000.0 * at as f64);
            let cell = |(row, f): (usize, &f64)| {
                let x = (load * f + noise.normal()) * scale + offset;
                let missing = hole > 0 && (row as u64 * 31 + at as u64 * 17).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33 < (1 << 31) / hole;
                if missing { f64::NAN } else { x }
            };
            factor.iter().enumerate().map(cell).collect()
        })
        .collect()
}

fn batch(columns: &[Vec<f64>]) -> RecordBatch {
    let fields: Vec<Field> = (0..columns.len()).map(|at| Field::new(format!("c{at}"), DataType::Float64, true)).collect();
    let arrays: Vec<ArrayRef> = columns.iter().map(|cells| -> ArrayRef { Arc::new(Float64Array::from(cells.clone())) }).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn correlate(batches: &[RecordBatch], options: CorrelateOptions) -> Correlation {
    let schema = batches[0].schema();
    let mut analysis = Correlate::new(&schema, (0..schema.fields().len()).collect(), options).unwrap();
    run_on_batches(&mut analysis, &Backend::cpu(), batches).unwrap()
}

fn options(precision: Precision) -> CorrelateOptions {
    CorrelateOptions { precision, ..CorrelateOptions::default() }
}

/// Compares a result with the textbook; the error names the first pair that is further off than `bound`.
fn agree(found: &Correlation, truth: &[Vec<f64>], bound: f64) -> Result<(), String> {
    let n_pairs = truth.len() * (truth.len() - 1) / 2;
    if found.pairs.len() != n_pairs {
        return Err(format!("{} pairs, but {n_pairs} are due", found.pairs.len()));
    }
    for pair in &found.pairs {
        let (n, r) = definition::pearson(&truth[pair.x], &truth[pair.y]);
        let off = match (pair.r, r) {
            (Some(a), Some(b)) => (a - b).abs(),
            (None, None) => 0.0,
            _ => f64::INFINITY,
        };
        if pair.n != n || off > bound {
            return Err(format!("{} ~ {}: n {} and r {:?}, but {n} and {r:?} are right", pair.x, pair.y, pair.n, pair.r));
        }
    }
    Ok(())
}

/// Shapes around every edge: tiles of 8 to 256 columns, blocks of 1,024 rows and more, words of 64 rows.
const SHAPES: [(usize, usize, u64); 12] = [
    (3, 2, 0),
    (63, 7, 0),
    (64, 8, 5),
    (65, 9, 0),
    (1000, 63, 20),
    (1023, 65, 0),
    (5000, 3, 2),
    (16_384, 5, 0),
    (16_385, 5, 3),
    (40_000, 4, 50),
    (300, 257, 0),
    (200, 260, 10),
];

#[test]
fn f64_agrees_with_the_textbook() {
    for (n, p, hole) in SHAPES {
        let truth = columns(n, p, hole);
        // Both sides sum n products of numbers near 1 in f64.
        let bound = 4.0 * f64::EPSILON * (n as f64).sqrt().max(8.0);
        agree(&correlate(&[batch(&truth)], options(Precision::F64)), &truth, bound).unwrap_or_else(|why| panic!("{n} x {p}: {why}"));
    }
}

#[test]
fn f32_agrees_within_a_millionth_and_settled_rows_to_f64() {
    for (n, p, hole) in SHAPES {
        let truth = columns(n, p, hole);
        let found = correlate(&[batch(&truth)], options(Precision::F32));
        agree(&found, &truth, 1e-6).unwrap_or_else(|why| panic!("{n} x {p}: {why}"));
        for pair in found.pairs.iter().filter(|pair| pair.settled) {
            let (_, r) = definition::pearson(&truth[pair.x], &truth[pair.y]);
            assert!((pair.r.unwrap() - r.unwrap()).abs() <= 1e-13, "{n} x {p}: {pair:?}, but r is {r:?}");
        }
    }
}

#[test]
fn agreement_catches_a_wrong_twin() {
    let truth = columns(1000, 5, 0);
    let mut wrong = correlate(&[batch(&truth)], options(Precision::F64));
    assert!(agree(&wrong, &truth, 1e-12).is_ok());
    wrong.pairs[3].r = wrong.pairs[3].r.map(|r| r * 1.001);
    assert!(agree(&wrong, &truth, 1e-6).is_err());
    wrong.pairs[3].r = None;
    assert!(agree(&wrong, &truth, 1e-6).is_err());
}

#[test]
fn findings_of_f32_are_those_of_f64() {
    for (n, p, hole) in [(2000, 40, 0), (2000, 40, 8), (500, 80, 0)] {
        let batch = batch(&columns(n, p, hole));
        let exact = correlate(std::slice::from_ref(&batch), options(Precision::F64));
        let screened = correlate(&[batch], options(Precision::F32));
        let names = |found: &Correlation| found.findings().iter().map(|pair| (pair.x, pair.y)).collect::<Vec<_>>();
        assert_eq!(names(&exact), names(&screened));
        assert!(screened.findings().iter().all(|pair| pair.settled));
    }
}

#[test]
fn the_top_list_of_f32_and_of_wide_mode_is_that_of_f64() {
    let batch = batch(&columns(400, 300, 0));
    let top = |precision, memory_bytes| {
        let options = CorrelateOptions { precision, memory_bytes, top: Some(50), ..CorrelateOptions::default() };
        let found = correlate(std::slice::from_ref(&batch), options);
        assert_eq!((found.n_pairs, found.family), (300 * 299 / 2, 300 * 299 / 2));
        (found.wide, found.pairs.iter().map(|pair| (pair.x, pair.y)).collect::<Vec<_>>())
    };
    let (wide, exact) = top(Precision::F64, 1 << 30);
    assert!(!wide && exact.len() == 50);
    for precision in [Precision::F64, Precision::F32] {
        let (wide, found) = top(precision, 4 << 20);
        assert!(wide, "4 MiB do not hold 44,850 pairs at once");
        assert_eq!(found, exact, "{precision:?}");
    }
    assert_eq!(top(Precision::F32, 1 << 30), (false, exact));
}

#[test]
fn missing_and_constant_columns_give_null_and_never_nan() {
    let n = 3000;
    let mut cells = columns(n, 4, 0);
    cells.push(vec![7.5; n]);
    cells.push(vec![f64::NAN; n]);
    // Constant just where the first column is present, far from its own mean elsewhere.
    cells[0].iter_mut().skip(1000).for_each(|x| *x = f64::NAN);
    cells.push((0..n).map(|row| if row < 1000 { 0.1 } else { 1e6 + row as f64 }).collect());
    cells[3][5] = f64::INFINITY;
    for precision in [Precision::F64, Precision::F32] {
        let found = correlate(&[batch(&cells)], options(precision));
        agree(&found, &cells, 1e-6).unwrap();
        let pair = |x: usize, y: usize| found.pairs.iter().find(|pair| (pair.x, pair.y) == (x, y)).unwrap();
        assert_eq!((pair(0, 4).r, pair(0, 4).verdict), (None, Verdict::TooFew));
        assert_eq!((pair(0, 5).n, pair(0, 5).r), (0, None));
        assert_eq!((pair(0, 6).n, pair(0, 6).r), (1000, None));
        assert_eq!(pair(1, 3).n, n as u64 - 1, "an infinite cell is missing");
        assert!(found.columns[4].constant() && found.columns[5].n == 0);
        assert!(found.pairs.iter().all(|pair| pair.r.is_none_or(f64::is_finite) && pair.p.is_none_or(f64::is_finite)));
    }
}

#[test]
fn few_carriers_leave_the_family() {
    let n = 1000;
    let mut cells = columns(n, 2, 0);
    cells.push((0..n).map(|row| f64::from(u8::from(row < 2))).collect());
    cells.push((0..n).map(|row| f64::from(u8::from(row % 3 == 0))).collect());
    // Two rows of a numeric column that the two carriers make extreme: a tiny p that means nothing.
    cells[0][0] = 1e3;
    cells[0][1] = 1e3;
    let found = correlate(&[batch(&cells)], options(Precision::F64));
    let pair = |x: usize, y: usize| found.pairs.iter().find(|pair| (pair.x, pair.y) == (x, y)).unwrap();
    assert_eq!((pair(0, 2).n_minor, pair(0, 2).verdict, pair(0, 2).q), (Some(2), Verdict::TooFew, None));
    assert_eq!(pair(0, 3).n_minor, Some(334));
    assert_eq!(pair(0, 1).n_minor, None);
    assert_eq!(found.family, 3);
}

#[test]
fn no_rows_and_one_row_are_answers() {
    for rows in [0, 1, 2] {
        let cells = columns(rows, 3, 0);
        let found = correlate(&[batch(&cells)], options(Precision::F64));
        assert_eq!(found.n_rows, rows as u64);
        assert!(found.findings().is_empty() && found.pairs.iter().all(|pair| pair.verdict == Verdict::TooFew));
    }
}

#[test]
fn extreme_scales_do_not_overflow() {
    let base = columns(500, 2, 0);
    for exponent in [-300, -160, 160, 300] {
        let scale = 10_f64.powi(exponent);
        let cells = vec![base[0].iter().map(|x| x * scale).collect(), base[1].clone()];
        let r = |cells: &[Vec<f64>]| correlate(&[batch(cells)], options(Precision::F64)).pairs[0].r.unwrap();
        assert!((r(&cells) - r(&base)).abs() < 1e-12, "1e{exponent}: {} and {}", r(&cells), r(&base));
    }
}

#[test]
fn offsets_cost_no_digits() {
    let mut noise = Noise(3);
    let base: Vec<(f64, f64)> = (0..5000).map(|_| (noise.normal(), noise.normal())).map(|(u, v)| (u, 0.6 * u + 0.8 * v)).collect();
    for offset in [0.0, 1e3, 1e5, 1e7, 1e9, 1e12] {
        let cells: Vec<Vec<f64>> = vec![base.iter().map(|(x, _)| x + offset).collect(), base.iter().map(|(_, y)| y + offset).collect()];
        let (_, r) = definition::pearson(&cells[0], &cells[1]);
        let off = |precision| (correlate(&[batch(&cells)], options(precision)).pairs[0].r.unwrap() - r.unwrap()).abs();
        // Both sides add 5,000 products one way or another.
        assert!(off(Precision::F64) <= f64::EPSILON * 5000_f64.sqrt(), "f64 at {offset:e}: {:e}", off(Precision::F64));
        assert!(off(Precision::F32) <= 1e-6, "f32 at {offset:e}");
    }
}

#[test]
fn f32_columns_keep_their_numbers() {
    let cells: Vec<f32> = columns(2000, 1, 0)[0].iter().map(|x| *x as f32).collect();
    let other: Vec<f32> = cells.iter().enumerate().map(|(row, x)| x * (row % 5) as f32).collect();
    let schema = Schema::new(vec![Field::new("a", DataType::Float32, true), Field::new("b", DataType::Float32, true)]);
    let arrays: Vec<ArrayRef> = vec![Arc::new(Float32Array::from(cells.clone())), Arc::new(Float32Array::from(other.clone()))];
    let found = correlate(&[RecordBatch::try_new(Arc::new(schema), arrays).unwrap()], options(Precision::F64));
    let wide = |cells: &[f32]| cells.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let (_, r) = definition::pearson(&wide(&cells), &wide(&other));
    assert!((found.pairs[0].r.unwrap() - r.unwrap()).abs() < 1e-13);
}

/// Cuts rows into pieces of these lengths, again and again.
fn cut(batch: &RecordBatch, lengths: &[usize]) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for length in lengths.iter().cycle() {
        if start == batch.num_rows() {
            break;
        }
        let rows = (*length).min(batch.num_rows() - start);
        pieces.push(batch.slice(start, rows));
        start += rows;
    }
    pieces
}

/// Returns the partial of every block of 1,024 rows.
fn partials(batch: &RecordBatch, width: Width) -> Vec<Moments> {
    let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut builder = BlockBuilder::new(names, Stored::Deviations(width), 1024);
    let (mut blocks, mut start) = (Vec::new(), 0);
    while start < batch.num_rows() {
        start += builder.fill_from(batch, start).unwrap();
        blocks.extend(builder.take_full());
    }
    blocks.extend(builder.finish());
    blocks.iter().map(|block| Moments::of(block, Compared::All, &Backend::cpu())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any split into batches gives the same bytes.
    #[test]
    fn batches_do_not_matter(lengths in prop::collection::vec(1_usize..5000, 1..6), hole in 0_u64..8, f32 in any::<bool>()) {
        let whole = batch(&columns(20_000, 6, hole));
        let options = options(if f32 { Precision::F32 } else { Precision::F64 });
        let expected = correlate(std::slice::from_ref(&whole), options.clone()).pairs_table();
        prop_assert_eq!(correlate(&cut(&whole, &lengths), options).pairs_table(), expected);
    }

    /// Any order of arrival gives the same bytes.
    #[test]
    fn arrival_does_not_matter(order in Just((0..10_usize).collect::<Vec<_>>()).prop_shuffle(), hole in 0_u64..4) {
        let partials = partials(&batch(&columns(10_000, 9, hole)), Width::F64);
        let fold = |order: &mut dyn Iterator<Item = usize>| {
            let mut fold = Fold::default();
            order.for_each(|at| fold.push(at as u64, partials[at].clone()));
            fold.finish().unwrap().to_bytes()
        };
        prop_assert_eq!(fold(&mut order.into_iter()), fold(&mut (0..10)));
    }

    /// Merging is associative up to rounding, and a partial survives its bytes.
    #[test]
    fn merge_is_associative(cut in 1_usize..9, hole in prop::sample::select(vec![0_u64, 2, 3, 9])) {
        let partials = partials(&batch(&columns(10_000, 9, hole)), Width::F64);
        let fold = |part: &[Moments]| part.iter().cloned().reduce(Partial::merge).unwrap();
        let straight = fold(&partials);
        let (left, right) = partials.split_at(cut);
        let joined = fold(left).merge(fold(right));
        for (i, j) in straight.compared() {
            let (a, b) = (straight.pair(i, j), joined.pair(i, j));
            prop_assert_eq!(a.n, b.n);
            prop_assert!((a.r().unwrap() - b.r().unwrap()).abs() < 1e-13);
        }
        prop_assert_eq!(Moments::from_bytes(&straight.to_bytes()).unwrap(), straight);
    }

    /// Bytes that nobody wrote are refused, not believed.
    #[test]
    fn strange_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(CorrelatePartial::from_bytes(&bytes).is_err());
    }

    /// Scaling and shifting a column leaves r as it is; negating turns its sign.
    #[test]
    fn r_has_no_units(scale in prop::sample::select(vec![1e-9, 0.5, 3.0, -2.0, 1e12]), shift in -1e6..1e6) {
        let cells = columns(600, 2, 0);
        let moved = vec![cells[0].iter().map(|x| x * scale + shift * scale.abs()).collect(), cells[1].clone()];
        let r = |cells: &[Vec<f64>]| correlate(&[batch(cells)], options(Precision::F64)).pairs[0].r.unwrap();
        prop_assert!((r(&moved) - r(&cells) * scale.signum()).abs() < 1e-8);
    }
}

#[test]
fn threads_do_not_matter() {
    let batch = batch(&columns(30_000, 70, 15));
    let bytes = |threads: usize, precision| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = CorrelateOptions { threads, ..options(precision) };
        pool.install(|| correlate(std::slice::from_ref(&batch), options).pairs_table())
    };
    for precision in [Precision::F64, Precision::F32] {
        assert_eq!(bytes(1, precision), bytes(2, precision));
        assert_eq!(bytes(1, precision), bytes(7, precision));
    }
}

/// Returns the only pair of two columns.
fn only(cells: &[Vec<f64>], precision: Precision) -> PairRow {
    correlate(&[batch(cells)], options(precision)).pairs[0].clone()
}

/// x, and y that shares half of its variance.
fn pair_of_columns(n_rows: usize) -> Vec<Vec<f64>> {
    let mut noise = Noise(11);
    let x: Vec<f64> = (0..n_rows).map(|_| noise.normal()).collect();
    let y = x.iter().map(|x| x + noise.normal()).collect();
    vec![x, y]
}

#[test]
fn a_last_block_of_one_row_costs_nothing() {
    let cells: Vec<Vec<f64>> = pair_of_columns(16_385).into_iter().map(|column| column.iter().map(|x| x * 1e-20).collect()).collect();
    let (_, r) = definition::pearson(&cells[0], &cells[1]);
    assert!((only(&cells, Precision::F64).r.unwrap() - r.unwrap()).abs() < 1e-13);
}

#[test]
fn a_column_that_is_constant_over_the_rows_of_a_pair_has_no_r() {
    for offset in [1e3, 1e6] {
        let mut cells = pair_of_columns(3 * 16_384);
        for (row, (x, y)) in std::iter::zip(0.., std::iter::zip(0..3 * 16_384, 0..3 * 16_384)) {
            let missing = row < 16_384 || row % 2 == 0;
            cells[1][y] = if missing { f64::NAN } else { cells[1][y] };
            cells[0][x] = if missing { cells[0][x] + if row < 16_384 { offset } else { 0.0 } } else { 0.1234 };
        }
        for precision in [Precision::F64, Precision::F32] {
            let pair = only(&cells, precision);
            assert_eq!((pair.r, pair.verdict), (None, Verdict::TooFew), "{offset:e}, {precision:?}");
        }
    }
}

#[test]
fn a_cell_outside_of_the_rows_of_a_pair_costs_no_digit() {
    for extreme in [1e3, 1e7, 1e12, 1e15, 1e300] {
        let mut cells = pair_of_columns(5000);
        cells[0][10] = extreme;
        cells[1][10] = f64::NAN;
        let (n, r) = definition::pearson(&cells[0], &cells[1]);
        for precision in [Precision::F64, Precision::F32] {
            let pair = only(&cells, precision);
            assert!((pair.r.unwrap() - r.unwrap()).abs() <= 4.0 * f64::EPSILON, "{extreme:e}, {precision:?}: {pair:?}, but {r:?}");
            assert_eq!((pair.n, pair.n_minor, pair.verdict, pair.settled), (n, None, Verdict::Survives, true));
        }
    }
}

#[test]
fn few_rows_left_of_many_are_as_exact_as_any() {
    let mut cells = pair_of_columns(100_000);
    for row in 0..100_000 {
        let keep = row % 4000 == 0;
        cells[usize::from(row % 2 == 0)][row] = if keep { (row / 4000) as f64 % 3.0 } else { f64::NAN };
        cells[usize::from(row % 2 == 1)][row] = (row / 4000 * 7 % 5 + row % 3) as f64 / 5.0;
    }
    let (n, r) = definition::pearson(&cells[0], &cells[1]);
    let pair = correlate(&[batch(&cells)], CorrelateOptions { min_n: 3, ..options(Precision::F32) }).pairs[0].clone();
    assert_eq!(pair.n, n);
    assert!((pair.r.unwrap() - r.unwrap()).abs() < 1e-12, "{pair:?}, but {r:?}");
}

#[test]
fn a_third_value_makes_a_column_one_of_numbers() {
    let n = 20_000;
    let mut cells = pair_of_columns(n);
    cells[0] = (0..n).map(|row| f64::from(u8::from(row % 2 == 0))).collect();
    assert_eq!(only(&cells, Precision::F64).n_minor, Some(n as u64 / 2));
    cells[0][17_000] = 0.5;
    assert_eq!(only(&cells, Precision::F64).n_minor, None);
}

#[test]
fn what_no_table_can_show_is_not_tested() {
    let half: Vec<f64> = (0..100).map(|row| f64::from(u8::from(row < 50))).collect();
    let few: Vec<f64> = (0..100).map(|row| f64::from(u8::from(row < 5))).collect();
    let pair = only(&[few, half], Precision::F64);
    // All 5 among the 50: C(50, 5) of C(100, 5) arrangements.
    assert!((pair.p_min_attainable.unwrap() - 2_118_760.0 / 75_287_520.0).abs() < 1e-9);
    assert_eq!(pair.n_minor, Some(5));
}

#[test]
fn copies_have_an_r_of_one() {
    for n in [7, 999, 5000] {
        let cells = pair_of_columns(n);
        let r = only(&[cells[0].clone(), cells[0].clone()], Precision::F64).r.unwrap();
        assert!(r > 1.0 - 4.0 * f64::EPSILON && r <= 1.0, "n = {n}: {r}");
    }
}

#[test]
fn q_never_falls_while_p_rises_and_f32_loses_nothing() {
    for n_columns in [46, 80] {
        let batch = batch(&columns(1000, n_columns, 0));
        let found = |precision| correlate(std::slice::from_ref(&batch), CorrelateOptions { min_effect: 0.1, ..options(precision) });
        let (exact, screened) = (found(Precision::F64), found(Precision::F32));
        for found in [&exact, &screened] {
            assert!(found.pairs.windows(2).all(|pair| pair[0].q <= pair[1].q));
        }
        let q = |found: &Correlation| found.findings().iter().map(|pair| (pair.x, pair.y, pair.q)).collect::<Vec<_>>();
        let (exact, screened) = (q(&exact), q(&screened));
        assert_eq!(exact.len(), screened.len());
        for (a, b) in exact.iter().zip(&screened) {
            assert_eq!((a.0, a.1), (b.0, b.1));
            assert!((a.2.unwrap() - b.2.unwrap()).abs() <= 1e-9 * a.2.unwrap().max(1e-300), "{a:?}, {b:?}");
        }
    }
}
