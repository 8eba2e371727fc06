//! What every kernel goes through on a device that fails.
//!
//! A kernel's tests bring one call of it and say when two outputs agree. `GRISTMILL_FAULTS=full` tries each of the first 50 dispatches and
//! 200 results with flipped bits, 1,000 of all kernels.

use super::fault::{Fault, Faults};
use super::{Backend, Cpu, Gpu, GpuError, Kernel, Place, PlaceChoice, Ran};

/// One call of a kernel.
pub(crate) struct Drill<'a, K: Kernel> {
    pub(crate) kernel: K,
    pub(crate) input: K::Input<'a>,
    pub(crate) agree: fn(K::Input<'a>, &K::Output, &K::Output) -> bool,
}

impl<K: Kernel> Drill<'_, K> {
    /// Fails unless every call agrees with the CPU's whatever goes wrong at whatever dispatch, and each fall-back says why.
    ///
    /// The device serves all calls before the one that fails; after it the CPU does, unless the device was only short of memory.
    pub(crate) fn survives_faults(&self) {
        let dispatches: Vec<u64> = if is_full() { (0..50).collect() } else { vec![0, 3, 20] };
        let due = self.kernel.on_cpu(&Cpu::new(), self.input);
        let mut n_faults = 0;
        for fault in [Fault::Lost, Fault::OutOfMemory, Fault::Pipeline, Fault::Map, Fault::WrongBits, Fault::Panic] {
            for &at in &dispatches {
                let Ok(backend) = Backend::with_faults(PlaceChoice::of_tests(), Faults::default().at(at, fault)) else { return };
                let what = format!("{}: {fault:?} at dispatch {at}", K::NAME);
                let mut places = Vec::new();
                // A call has one dispatch at least.
                while (places.len() as u64) < at + 2 && !matches!(places.last(), Some(Place::Cpu)) {
                    places.push(self.call(&backend, &due, &what));
                }
                let notes = backend.fallbacks();
                if fault == Fault::OutOfMemory && places.last() != Some(&Place::Cpu) {
                    assert!(notes.is_empty(), "{what}: {notes:?}");
                } else {
                    assert_eq!(places.last(), Some(&Place::Cpu), "{what}: the fault showed");
                    assert!(notes.len() == 1 && notes[0].starts_with(K::NAME), "{what}: {notes:?}");
                    assert_eq!(self.call(&backend, &due, &what), Place::Cpu, "{what}: a device that failed is not used again");
                }
                n_faults += 1;
            }
        }
        say(&format!("{}: {n_faults} faults", K::NAME));
    }

    /// Fails unless results of which one word in a hundred has a flipped bit are refused, or right all the same.
    pub(crate) fn catches_flips(&self) {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        let n_flips = if is_full() { 200 } else { 40 };
        let due = self.kernel.on_cpu(&Cpu::new(), self.input);
        let (mut n_caught, mut missed) = (0, Vec::new());
        for seed in 0..n_flips {
            gpu.inject(&Faults::default().at(0, Fault::FewWrongBits(seed)));
            match self.kernel.on_gpu(&gpu, self.input) {
                Err(GpuError::Wrong { .. }) => n_caught += 1,
                Err(error) => panic!("{}: {error}", K::NAME),
                Ok(found) if (self.agree)(self.input, &found, &due) => {}
                Ok(_) => missed.push(seed),
            }
        }
        say(&format!("{}: {n_caught} of {n_flips} refused, {} missed", K::NAME, missed.len()));
        assert!(missed.is_empty(), "{}: flips {missed:?} were missed", K::NAME);
        assert!(n_caught > n_flips / 2, "{}: {n_caught} of {n_flips} were refused", K::NAME);
        gpu.inject(&Faults::default());
        assert!(self.kernel.on_gpu(&gpu, self.input).is_ok_and(|found| (self.agree)(self.input, &found, &due)), "a right result passes");
    }

    fn call(&self, backend: &Backend, due: &K::Output, what: &str) -> Place {
        let Ran { output, place } = backend.run(&self.kernel, self.input);
        assert!((self.agree)(self.input, &output, due), "{what}: another answer than the CPU's, from `{place}`");
        place
    }
}

/// Says whether the long way was asked for.
fn is_full() -> bool {
    std::env::var("GRISTMILL_FAULTS").is_ok_and(|asked| asked == "full")
}

fn say(sentence: &str) {
    #[allow(clippy::print_stderr, reason = "a test says what it counted")]
    {
        eprintln!("{sentence}");
    }
}
