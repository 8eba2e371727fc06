//! The Gram on software Vulkan against f64, at the sizes where tiles, stages and chunks end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::OnceLock;

use super::{GRAM, RUN_ROWS, check, columns_of, entry, gram, gram_in_tiles, looked_at, panel_columns, tile_of};
use crate::backend::drill::Drill;
use crate::backend::selftest::mix;
use crate::backend::{Gpu, PlaceChoice};
use crate::correlate::gram::{Gram, GramInput, Matrix};

/// Returns the one device of this test process.
fn device() -> Option<&'static Gpu> {
    static DEVICE: OnceLock<Option<Gpu>> = OnceLock::new();
    DEVICE.get_or_init(|| Gpu::for_test(PlaceChoice::of_tests())).as_ref()
}

/// Values in -1..1, the same for the same seed.
fn values(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| mix(i ^ mix(seed)) as f32 / (u32::MAX as f32 / 2.0) - 1.0).collect()
}

fn matrix(values: &[f32], n_rows: usize, stride: usize) -> Matrix<'_> {
    Matrix { values, n_rows, stride, n_columns: values.len() / stride }
}

/// Compares every entry that is asked for with f64.
fn assert_right(input: &GramInput<'_>, products: &[f32], what: &str) {
    let n_left = input.left.n_columns;
    assert_eq!(products.len(), n_left * input.right.n_columns);
    for j in 0..input.right.n_columns {
        for i in (0..n_left).filter(|i| !input.symmetric || *i <= j) {
            let (expected, bound) = entry(input, i, j);
            let found = f64::from(products[j * n_left + i]);
            assert!((found - expected).abs() <= bound, "{what}: ({i}, {j}) is {found}, expected {expected} within {bound:e}");
        }
    }
}

fn assert_right_in_every_variant(gpu: &Gpu, input: &GramInput<'_>, what: &str) {
    for variant in GRAM.shader.variants {
        let products = gram_in_tiles(gpu, input, variant).unwrap();
        assert_right(input, &products, &format!("{what}, {}", variant.name));
        check(input, &products, tile_of(variant)).unwrap();
    }
}

#[test]
fn sizes_around_a_tile_agree_with_f64() {
    let Some(gpu) = device() else { return };
    for variant in GRAM.shader.variants {
        let tile = tile_of(variant);
        for p in [1, 3, tile - 1, tile, tile + 1] {
            let columns = values(p * 101, p as u32);
            let input = GramInput::symmetric(matrix(&columns, 101, 101));
            assert_right(&input, &gram_in_tiles(gpu, &input, variant).unwrap(), &format!("p = {p}, {}", variant.name));
        }
    }
}

#[test]
fn odd_numbers_of_rows_agree_with_f64() {
    let Some(gpu) = device() else { return };
    for n_rows in [1, 2, 15, 16, 17, 31, 33, 255, 256, 257, 1000] {
        let columns = values(7 * n_rows, n_rows as u32);
        assert_right_in_every_variant(gpu, &GramInput::symmetric(matrix(&columns, n_rows, n_rows)), &format!("n = {n_rows}"));
    }
}

#[test]
fn two_matrices_squares_and_strides_agree_with_f64() {
    let Some(gpu) = device() else { return };
    let (left, right) = (values(70 * 320, 1), values(131 * 310, 2));
    for square_left in [false, true] {
        // Fewer rows than the stride: what lies between two columns must not count.
        let input = GramInput { left: matrix(&left, 300, 320), right: matrix(&right, 300, 310), symmetric: false, square_left };
        assert_right_in_every_variant(gpu, &input, &format!("square_left = {square_left}"));
        let one = GramInput { right: input.left, ..input };
        assert_right_in_every_variant(gpu, &one, &format!("one matrix, square_left = {square_left}"));
    }
}

#[test]
fn chunks_and_dispatches_add_up() {
    let Some(gpu) = device() else { return };
    // More rows than one dispatch takes at this width, so that `accumulate` is at work.
    let (n_rows, p) = (70_001, 20);
    let columns = values(n_rows * p, 3);
    let input = GramInput::symmetric(matrix(&columns, n_rows, n_rows));
    assert_right(&input, &gram(gpu, &input).unwrap(), "many chunks");
}

#[test]
fn no_rows_give_zeros_and_no_columns_give_nothing() {
    let Some(gpu) = device() else { return };
    let columns = values(3 * 8, 4);
    let input = GramInput::symmetric(Matrix { values: &columns, n_rows: 0, stride: 8, n_columns: 3 });
    assert!(gram(gpu, &input).unwrap().iter().all(|product| product.to_bits() == 0));
    let none = GramInput::symmetric(Matrix { values: &[], n_rows: 8, stride: 8, n_columns: 0 });
    assert!(gram(gpu, &none).unwrap().is_empty());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let Some(gpu) = device() else { return };
    let columns = values(40 * 999, 5);
    let input = GramInput::symmetric(matrix(&columns, 999, 999));
    let bits = |products: Vec<f32>| products.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(gram(gpu, &input).unwrap()), bits(gram(gpu, &input).unwrap()));
}

#[test]
fn many_callers_share_one_device() {
    let Some(gpu) = device() else { return };
    std::thread::scope(|scope| {
        for seed in 0..6 {
            scope.spawn(move || {
                let columns = values(33 * 500, seed);
                let input = GramInput::symmetric(matrix(&columns, 500, 500));
                for _ in 0..3 {
                    assert_right(&input, &gram(gpu, &input).unwrap(), "many callers");
                }
            });
        }
    });
}

/// A result computed on the CPU in f32, to be spoilt.
fn right_products(input: &GramInput<'_>) -> Vec<f32> {
    let n_left = input.left.n_columns;
    (0..n_left * input.right.n_columns).map(|at| entry(input, at % n_left, at / n_left).0 as f32).collect()
}

#[test]
fn the_check_passes_a_right_result_and_catches_a_wrong_twin() {
    let (left, right) = (values(300 * 64, 6), values(200 * 64, 7));
    let input = GramInput { left: matrix(&left, 64, 64), right: matrix(&right, 64, 64), symmetric: false, square_left: false };
    let right = right_products(&input);
    check(&input, &right, 64).unwrap();

    let scaled: Vec<f32> = right.iter().map(|product| product * 1.001).collect();
    assert!(check(&input, &scaled, 64).is_err(), "every entry 0.1 % too large");
    let mut holed = right.clone();
    for j in 128..192 {
        holed[j * 300 + 64..j * 300 + 128].fill(0.0);
    }
    assert!(check(&input, &holed, 64).is_err(), "one tile that was never written");
    let mut infinite = right;
    infinite[5] = f32::INFINITY;
    assert!(check(&input, &infinite, 64).is_err(), "one entry that is not finite");
}

#[test]
fn the_check_looks_at_every_tile_and_stays_above_the_diagonal() {
    let columns = values(400 * 8, 8);
    let input = GramInput::symmetric(matrix(&columns, 8, 8));
    let entries = looked_at(&input, 128);
    assert!(entries.iter().all(|(i, j)| i <= j && *j < 400));
    for row in 0..4 {
        for column in row..4 {
            assert!(entries.iter().any(|(i, j)| (i / 128, j / 128) == (row, column)), "tile ({row}, {column})");
        }
    }
    let one = GramInput { symmetric: false, ..GramInput::symmetric(matrix(&columns[..8], 8, 8)) };
    assert_eq!((looked_at(&one, 128).len(), entries.len()), (1, 1000));
}

#[test]
fn panels_are_whole_tiles_and_cut_where_they_should() {
    let Some(gpu) = device() else { return };
    let panel = panel_columns(gpu);
    assert_eq!(panel % 128, 0);
    assert!((panel * panel * 4) as u64 <= gpu.max_binding_bytes());
    let columns = values(10 * 4, 9);
    let part = columns_of(&matrix(&columns, 4, 4), 8, 128);
    assert_eq!((part.n_columns, part.values.len()), (2, 8));
    assert_eq!(RUN_ROWS % 32, 0);
}

#[test]
fn faults_change_no_product() {
    let columns = values(100 * 300, 9);
    let input = GramInput::symmetric(matrix(&columns, 300, 300));
    let agree = |input: GramInput<'_>, a: &Vec<f32>, b: &Vec<f32>| {
        let layout = input.layout();
        let mut entries = (0..100).flat_map(|j| (0..=j).map(move |i| (i, j)));
        // Either is within the bound.
        entries.all(|(i, j)| f64::from((a[layout.at(i, j)] - b[layout.at(i, j)]).abs()) <= 2.0 * entry(&input, i, j).1)
    };
    let drill = Drill { kernel: Gram, input, agree };
    drill.survives_faults();
    drill.catches_flips();
}
