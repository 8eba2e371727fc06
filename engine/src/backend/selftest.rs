//! Known answers that a device has to give before it is used.
//!
//! Three small jobs, together under 20 ms on a GPU: loops of 70,000 trips (some software drivers end them early,
//! silently), a Gram of 64 x 64 x 512 against f64 on the CPU, and 4,096 integer hashes. A device that fails one is
//! rejected with the numbers. A software driver may fail the loops, because no dispatch of ours comes near the limit
//! that it breaks.

use std::fmt;

use super::contract::{Access, Contract, params};
use super::dispatch::Dispatch;
use super::error::GpuError;
use super::gpu::Gpu;
use crate::correlate::gpu::{gram, relative_bound};
use crate::correlate::gram::{GramInput, Matrix};

const OUTER_TRIPS: u32 = 280;
const INNER_TRIPS: u32 = 250;
const N_HASHES: u32 = 4096;
const SEED: u32 = 0x9e37_79b9;
const N_COLUMNS: usize = 64;
const N_ROWS: usize = 512;

params! {
    /// Parameters of `loop_count`.
    struct LoopCountParams { n_outer, n_inner, unused_0, unused_1 }
}

params! {
    /// Parameters of `hash`.
    struct HashParams { n, seed, unused_0, unused_1 }
}

pub(super) static LOOP_COUNT: Contract = Contract {
    shader: &gristmill_shaders::LOOP_COUNT,
    buffers: &[Access::ReadWrite],
    workgroup: [1, 1, 1],
    fields: LoopCountParams::FIELDS,
    params_bytes: size_of::<LoopCountParams>(),
};

pub(super) static HASH: Contract = Contract {
    shader: &gristmill_shaders::HASHES,
    buffers: &[Access::ReadWrite],
    workgroup: [64, 1, 1],
    fields: HashParams::FIELDS,
    params_bytes: size_of::<HashParams>(),
};

/// What a device answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfTest {
    /// Loop trips counted, out of 70,000.
    pub loop_trips: u32,
    /// Largest error of the Gram as a share of the proven bound.
    pub gram_error: f64,
}

impl SelfTest {
    /// Returns whether the driver ends loops early; tolerated on software drivers alone.
    #[must_use]
    pub const fn ends_loops_early(&self) -> bool {
        self.loop_trips != OUTER_TRIPS * INNER_TRIPS
    }
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trips = OUTER_TRIPS * INNER_TRIPS;
        write!(f, "passed: loops {} of {trips}", self.loop_trips)?;
        if self.ends_loops_early() {
            write!(f, " (too few, a fault of this driver that our kernels stay clear of)")?;
        }
        write!(f, ", Gram at {:.1} % of its error bound, {N_HASHES} hashes", self.gram_error * 100.0)
    }
}

/// Runs the three jobs; the error says which answer was wrong.
pub(super) fn run(gpu: &Gpu) -> Result<SelfTest, String> {
    let loop_trips = count_loops(gpu).map_err(|e| format!("self-test `loop_count`: {e}"))?;
    let expected = OUTER_TRIPS * INNER_TRIPS;
    if loop_trips != expected && !gpu.is_software() {
        return Err(format!("self-test `loop_count`: {loop_trips} trips were counted, {expected} were run"));
    }
    let gram_error = gram_error(gpu).map_err(|e| format!("self-test `gram`: {e}"))?;
    if gram_error.is_nan() || gram_error > 1.0 {
        return Err(format!("self-test `gram`: the error is {gram_error} times the bound"));
    }
    match wrong_hashes(gpu).map_err(|e| format!("self-test `hash`: {e}"))? {
        0 => Ok(SelfTest { loop_trips, gram_error }),
        n => Err(format!("self-test `hash`: {n} of {N_HASHES} hashes are wrong")),
    }
}

fn count_loops(gpu: &Gpu) -> Result<u32, GpuError> {
    let task = gpu.task(4)?;
    let counts = task.buffer(4)?;
    task.dispatch(&Dispatch {
        contract: &LOOP_COUNT,
        variant: &LOOP_COUNT.shader.variants[0],
        params: &LoopCountParams { n_outer: OUTER_TRIPS, n_inner: INNER_TRIPS, ..Default::default() },
        buffers: &[&counts],
        n_groups: 1,
        // More than the cap, on purpose: whether that works is the question.
        n_trips: 0,
    })?;
    Ok(task.read(&counts, 1)?[0])
}

fn wrong_hashes(gpu: &Gpu) -> Result<usize, GpuError> {
    let task = gpu.task(u64::from(N_HASHES) * 4)?;
    let hashes = task.buffer(u64::from(N_HASHES) * 4)?;
    task.dispatch(&Dispatch {
        contract: &HASH,
        variant: &HASH.shader.variants[0],
        params: &HashParams { n: N_HASHES, seed: SEED, ..Default::default() },
        buffers: &[&hashes],
        n_groups: u64::from(N_HASHES.div_ceil(HASH.workgroup[0])),
        n_trips: 0,
    })?;
    let found = task.read(&hashes, u64::from(N_HASHES))?;
    Ok((0..N_HASHES).zip(found).filter(|(i, hash)| mix(SEED.wrapping_add(*i)) != *hash).count())
}

/// Returns the largest error as a share of the bound of its entry.
fn gram_error(gpu: &Gpu) -> Result<f64, GpuError> {
    let values: Vec<f32> = (0..(N_COLUMNS * N_ROWS) as u32).map(|i| mix(i) as f32 / u32::MAX as f32 - 0.5).collect();
    let matrix = Matrix { values: &values, n_rows: N_ROWS, stride: N_ROWS, n_columns: N_COLUMNS };
    let found = gram(gpu, &GramInput { left: matrix, right: matrix, symmetric: false, square_left: false })?;
    let columns: Vec<&[f32]> = values.chunks_exact(N_ROWS).collect();
    let mut worst = 0.0_f64;
    for (j, right) in columns.iter().enumerate() {
        for (i, left) in columns.iter().enumerate() {
            let terms = left.iter().zip(*right).map(|(l, r)| f64::from(*l) * f64::from(*r));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            let error = (f64::from(found[j * N_COLUMNS + i]) - sum).abs() / (size * relative_bound(N_ROWS));
            // `max` would pass over NaN.
            if error.is_nan() || error > worst {
                worst = error;
            }
        }
    }
    Ok(worst)
}

/// Outputs of a call that are computed again on the CPU, at least: of results of which 1 % are wrong 0.99^1000 pass, one in 23,000.
pub(crate) const LOOKS: usize = 1000;

/// Returns of how many of `n` outputs one is looked at: no more than `most`, both powers of two, so that no workgroup is left out.
pub(crate) const fn one_of(n: usize, most: usize) -> usize {
    let every = if n < 2 * LOOKS { 1 } else { 1 << (n / LOOKS).ilog2() };
    if every < most { every } else { most }
}

/// The finalizer of `MurmurHash3`, as in `shaders/common/hash.wgsl`.
pub(crate) const fn mix(seed: u32) -> u32 {
    let mut h = seed;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}
