//! Permutations and Kendall's tau on a device: the same table as on the CPU, to the bit, also after the device is lost in the middle.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use gristmill_engine::backend::{Backend, Fault, Faults, Place, PlaceChoice};
use gristmill_engine::columns::{Table, TableBuilder};
use gristmill_engine::correlate::{AssociateOptions, CorrelateOptions, Frame, Method, MethodChoice, PairRow, associate};

/// Columns enough for products in f32; some have few values, so that turns tie.
fn table() -> Table {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let factor: Vec<f64> = (0..200).map(|_| uniform()).collect();
    let column = |at: usize, uniform: &mut dyn FnMut() -> f64| -> Vec<f64> {
        let cell = |f: &f64| {
            let x = uniform() + if at.is_multiple_of(9) { 1.5 * f } else { 0.0 };
            if at.is_multiple_of(5) { (3.0 * x).floor() } else { x }
        };
        factor.iter().map(cell).collect()
    };
    let columns: Vec<ArrayRef> = (0..80).map(|at| Arc::new(Float64Array::from(column(at, &mut uniform))) as ArrayRef).collect();
    let named: Vec<_> = columns.iter().enumerate().map(|(at, array)| (format!("c{at}"), array.data_type().clone())).collect();
    let builder = TableBuilder::new(&named, 1 << 30).unwrap();
    columns.iter().enumerate().for_each(|(at, array)| builder.put(at, array).unwrap());
    builder.finish().unwrap().0
}

fn pairs(table: &Table, on: &Backend) -> Vec<PairRow> {
    let options = AssociateOptions { permutations: 40, seed: 5, ..AssociateOptions::of(CorrelateOptions::default(), MethodChoice::Auto) };
    associate(&Frame::whole(table.clone(), 0), &options, on, &|| false).unwrap().unwrap().pairs
}

#[test]
fn p_is_the_same_on_a_device_and_after_it_is_lost() {
    let table = table();
    let on_cpu = pairs(&table, &Backend::cpu());
    assert!(on_cpu.iter().any(|pair| pair.p_perm.is_some_and(|p| p < 0.1)) && on_cpu.iter().any(|pair| pair.p_perm == Some(1.0)));
    let Ok(backend) = Backend::open(PlaceChoice::of_tests()) else {
        #[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
        {
            eprintln!("no adapter");
        }
        return;
    };
    let backend = backend.pinned(Place::of_tests());
    assert_eq!(pairs(&table, &backend), on_cpu);
    assert_eq!(backend.place(), Place::of_tests(), "the device did no work");
    let faults = Faults::default().at(2, Fault::Lost);
    let lost = Backend::with_faults(PlaceChoice::of_tests(), faults).unwrap().pinned(Place::of_tests());
    assert_eq!(pairs(&table, &lost), on_cpu);
    assert!(!lost.fallbacks().is_empty());
}

#[test]
fn tau_is_the_same_on_a_device_and_after_it_is_lost() {
    let table = table();
    let of = |on: &Backend| {
        let options = AssociateOptions::of(CorrelateOptions::default(), MethodChoice::One(Method::Kendall));
        associate(&Frame::whole(table.clone(), 0), &options, on, &|| false).unwrap().unwrap().pairs
    };
    let on_cpu = of(&Backend::cpu());
    let Ok(backend) = Backend::open(PlaceChoice::of_tests()) else { return };
    let backend = backend.pinned(Place::of_tests());
    assert_eq!(of(&backend), on_cpu);
    assert_eq!(backend.place(), Place::of_tests(), "the device did no work");
    let lost = Backend::with_faults(PlaceChoice::of_tests(), Faults::default().at(1, Fault::Lost)).unwrap().pinned(Place::of_tests());
    assert_eq!(of(&lost), on_cpu);
    assert!(!lost.fallbacks().is_empty());
}

#[test]
fn a_changed_p_is_noticed() {
    let table = table();
    let right = pairs(&table, &Backend::cpu());
    let mut wrong = right.clone();
    wrong[3].p_perm = wrong[3].p_perm.map(|p| p + f64::EPSILON);
    assert_ne!(right, wrong);
}
