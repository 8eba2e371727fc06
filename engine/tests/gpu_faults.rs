//! A device that fails in mid-job: the job ends on the CPU, with the same answer and the reason.
//!
//! Faults are injected into a software Vulkan device at the first, second and third dispatch. One of them is no
//! injection: the device is really destroyed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use gristmill_engine::backend::{Backend, Fault, Faults, Place, PlaceChoice};
use gristmill_engine::correlate::gram::{Gram, GramInput, Matrix};

const N_ROWS: usize = 300;
const N_COLUMNS: usize = 40;
const N_BLOCKS: u32 = 4;

/// One block of values in -1..1.
fn block(seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(12_345);
    let draw = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..N_ROWS * N_COLUMNS).map(draw).collect()
}

fn input(values: &[f32]) -> GramInput<'_> {
    GramInput::symmetric(Matrix { values, n_rows: N_ROWS, stride: N_ROWS, n_columns: N_COLUMNS })
}

/// Says whether two results of `input` differ by no more than rounding may make them.
fn agree(input: &GramInput<'_>, a: &[f32], b: &[f32]) -> bool {
    // Both places add up to 300 products of at most 1 in runs of 256.
    let bound = 2.0 * N_ROWS as f32 * 264.0 * f32::EPSILON / 2.0;
    let layout = input.layout();
    let mut entries = (0..N_COLUMNS).flat_map(|right| (0..=right).map(move |left| (left, right)));
    entries.all(|(left, right)| (a[layout.at(left, right)] - b[layout.at(left, right)]).abs() <= bound)
}

/// Opens software Vulkan with faults, or says aloud that there is none.
fn software(faults: Faults) -> Option<Backend> {
    match Backend::with_faults(PlaceChoice::of_tests(), faults) {
        Ok(backend) => Some(backend),
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
            {
                eprintln!("no adapter: {error}");
            }
            None
        }
    }
}

/// Runs four blocks, calling `between` before each, checks every answer against the CPU's, and returns the places.
fn run_blocks(backend: &Backend, what: &str, mut between: impl FnMut(u32)) -> Vec<Place> {
    let cpu = Backend::cpu();
    let run = |n| {
        between(n);
        let values = block(n);
        let ran = backend.run(&Gram, input(&values));
        let expected = cpu.run(&Gram, input(&values)).output;
        assert!(agree(&input(&values), &ran.output, &expected), "{what}: block {n} differs from the CPU's, it came from `{}`", ran.place);
        ran.place
    };
    (0..N_BLOCKS).map(run).collect()
}

/// The places of blocks when the device serves the first `n` of them.
fn served(n: u64) -> Vec<Place> {
    (0..u64::from(N_BLOCKS)).map(|block| if block < n { Place::of_tests() } else { Place::Cpu }).collect()
}

#[test]
fn a_healthy_device_serves_every_block() {
    let Some(backend) = software(Faults::default()) else { return };
    assert_eq!(run_blocks(&backend, "healthy", |_| ()), served(4));
    assert_eq!((backend.place(), backend.fallbacks()), (Place::of_tests(), Vec::new()));
    assert!(backend.adapter().is_some());
}

#[test]
fn every_fault_at_every_dispatch_ends_on_the_cpu_with_the_same_answer() {
    let faults = [
        (Fault::Lost, "lost"),
        (Fault::Pipeline, "refused `gram`"),
        (Fault::Hang, "no answer within"),
        (Fault::Stuck, "no answer within"),
        (Fault::WrongBits, "result of `gram` is wrong"),
        (Fault::Panic, "panicked"),
    ];
    for (fault, word) in faults {
        for n in 0..3 {
            let mut plan = Faults::default().at(n, fault);
            if matches!(fault, Fault::Hang | Fault::Stuck) {
                plan = plan.patience(Duration::from_millis(1000));
            }
            let Some(backend) = software(plan) else { return };
            let what = format!("{fault:?} at dispatch {n}");
            let places = run_blocks(&backend, &what, |_| ());
            let notes = backend.fallbacks();
            assert_eq!(places, served(n), "{what}: {notes:?}");
            assert!(notes.len() == 1 && notes[0].contains(word) && notes[0].starts_with("gram: "), "{what}: {notes:?}");
            assert_eq!(backend.adapter(), None, "{what}: a device that failed is not used again");
        }
    }
}

#[test]
fn short_memory_halves_the_chunk_before_it_gives_up() {
    // Chunks of 512 rows fail once and become two of 256.
    for n in 0..3 {
        let Some(backend) = software(Faults::default().at(n, Fault::OutOfMemory)) else { return };
        assert_eq!(run_blocks(&backend, "short of memory once", |_| ()), served(4));
        assert_eq!(backend.fallbacks(), Vec::<String>::new());
    }
    let always = (0..1000).fold(Faults::default(), |faults, n| faults.at(n, Fault::OutOfMemory));
    let Some(backend) = software(always) else { return };
    assert_eq!(run_blocks(&backend, "always short of memory", |_| ()), served(0));
    assert!(backend.fallbacks()[0].contains("out of device memory"), "{:?}", backend.fallbacks());
}

#[test]
fn a_device_destroyed_between_two_blocks_is_replaced_by_the_cpu() {
    for n in 0..3 {
        let Some(backend) = software(Faults::default()) else { return };
        let places = run_blocks(&backend, "destroyed", |block| {
            if block == n {
                backend.destroy_device_for_test();
            }
        });
        assert_eq!(places, served(u64::from(n)), "{:?}", backend.fallbacks());
        let notes = backend.fallbacks();
        assert!(notes.len() == 1 && notes[0].starts_with("gram: the device was lost: ") && !notes[0].contains('\n'), "{notes:?}");
    }
}

#[test]
fn a_device_destroyed_under_many_callers_loses_no_block() {
    let Some(backend) = software(Faults::default()) else { return };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| run_blocks(&backend, "destroyed under many callers", |_| ()));
        }
        std::thread::sleep(Duration::from_millis(20));
        backend.destroy_device_for_test();
    });
    run_blocks(&backend, "after the destruction", |_| ());
    assert_eq!(backend.fallbacks().len(), 1, "the reason is noted once: {:?}", backend.fallbacks());
}

#[test]
fn a_pinned_backend_keeps_to_its_place() {
    let Some(backend) = software(Faults::default()) else { return };
    assert_eq!(run_blocks(&backend.pinned(Place::Cpu), "pinned to the CPU", |_| ()), served(0));
    assert_eq!(run_blocks(&backend.pinned(Place::of_tests()), "pinned to the device", |_| ()), served(4));
}

#[test]
fn agreement_catches_a_wrong_twin() {
    let values = block(1);
    let right = Backend::cpu().run(&Gram, input(&values)).output;
    assert!(agree(&input(&values), &right, &right));
    let wrong: Vec<f32> = right.iter().map(|product| product * 1.01).collect();
    assert!(!agree(&input(&values), &right, &wrong), "products 1 % too large must be noticed");
}
