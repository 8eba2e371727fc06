//! The nearest centre on a device: the driver of `shaders/cluster/assign.wgsl`.
//!
//! Points go up in chunks; for each, best centre, its score and the second best one come back.
//!
//! Numbers  f32; what is close is settled by the caller in f64.
//! Checked  every label is one; one point of every 64, and a thousand at least, is scored again in f64 on the CPU: its two best scores, and
//!          that of the centre named, lie within the bound.
//! Memory   short of it the chunk is halved before the work is given up.

use rayon::prelude::*;

use super::{AssignInput, Centres, Screened};
use crate::backend::contract::{Access, Contract, params};
use crate::backend::dispatch::{Buffer, Dispatch, Task, word};
use crate::backend::selftest::{mix, one_of};
use crate::backend::{Gpu, GpuError};
use crate::simd::widest;

/// Points of a workgroup, centres of a tile, and cells of a stage.
const TILE: usize = 64;
const STAGE: usize = 32;
/// Bytes of the points of a chunk, at most.
const CHUNK_BYTES: u64 = 256 << 20;

params! {
    /// Parameters of `assign`.
    struct AssignParams { n_points, n_centres, quads, n_stages, first_group, n_groups, unused_0, unused_1 }
}

/// The Rust side of `assign`.
pub(crate) static ASSIGN: Contract = Contract {
    shader: &gristmill_shaders::ASSIGN,
    buffers: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [16, 16, 1],
    fields: AssignParams::FIELDS,
    params_bytes: size_of::<AssignParams>(),
};

/// Screens all points.
pub(super) fn screen(gpu: &Gpu, input: AssignInput<'_>) -> Result<Vec<Screened>, GpuError> {
    let point_bytes = 4 * input.points.d.next_multiple_of(4);
    let bytes = CHUNK_BYTES.min(gpu.max_binding_bytes()).min(gpu.memory_bytes() / 4);
    let mut at_once = (usize::try_from(bytes).unwrap_or(usize::MAX) / point_bytes / TILE).max(1) * TILE;
    let n = input.points.n();
    let mut screened = Vec::with_capacity(n);
    while screened.len() < n {
        let first = screened.len();
        match chunk(gpu, input, first, at_once.min(n - first)) {
            Err(GpuError::OutOfMemory(_)) if at_once > TILE => at_once = (at_once / 2 / TILE).max(1) * TILE,
            found => screened.extend(found?),
        }
    }
    Ok(screened)
}

fn chunk(gpu: &Gpu, input: AssignInput<'_>, first: usize, n: usize) -> Result<Vec<Screened>, GpuError> {
    let (d, k) = (input.points.d, input.centres.k());
    let quads = d.div_ceil(4);
    let bytes = |n: usize| (16 * n * quads) as u64;
    let screened_words = (n.next_multiple_of(TILE) * 3) as u64;
    let task = gpu.task(bytes(n) + bytes(k) + 4 * k as u64 + 4 * screened_words)?;
    let (points, centres, halves, screened) =
        (task.buffer(bytes(n))?, task.buffer(bytes(k))?, task.buffer(4 * k as u64)?, task.buffer(4 * screened_words)?);
    put(&task, &points, &input.points.cells[first * d..(first + n) * d], d)?;
    put(&task, &centres, &input.centres.narrow, d)?;
    let mut upload = task.upload(&halves);
    upload.put(&input.centres.halves)?;
    upload.finish()?;
    let n_stages = d.div_ceil(STAGE);
    let n_trips = k.div_ceil(TILE) * (n_stages * (1 + STAGE / 4) + 4) + 16;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rough bound of time")]
    let at_once = ((gpu.flops_per_dispatch() / (2 * TILE * k.next_multiple_of(TILE) * n_stages * STAGE) as f64) as usize).max(1);
    let n_groups = n.div_ceil(TILE);
    for group in (0..n_groups).step_by(at_once) {
        let n_now = at_once.min(n_groups - group);
        task.dispatch(&Dispatch {
            contract: &ASSIGN,
            variant: &ASSIGN.shader.variants[0],
            params: &AssignParams {
                n_points: word(n),
                n_centres: word(k),
                quads: word(quads),
                n_stages: word(n_stages),
                first_group: word(group),
                n_groups: word(n_now),
                unused_0: 0,
                unused_1: 0,
            },
            buffers: &[&points, &centres, &halves, &screened],
            n_groups: n_now as u64,
            n_trips: n_trips as u64,
        })?;
    }
    let words = task.read(&screened, screened_words)?;
    let found: Vec<Screened> = (0..n)
        .map(|at| {
            let [label, best, second] = [0, 1, 2].map(|part| words[(at / 4 * 3 + part) * 4 + at % 4]);
            Screened { label, best: f32::from_bits(best), second: f32::from_bits(second) }
        })
        .collect();
    check(input, first, &found)?;
    Ok(found)
}

/// Writes points, each padded with zeros to whole vec4.
fn put(task: &Task<'_>, to: &Buffer, cells: &[f32], d: usize) -> Result<(), GpuError> {
    let mut upload = task.upload(to);
    if d.is_multiple_of(4) {
        upload.put(cells)?;
    } else {
        for point in cells.chunks(d) {
            upload.put(point)?;
            upload.put_zeros(d.next_multiple_of(4) - d)?;
        }
    }
    upload.finish()
}

/// Fails unless every label is one, and points of every workgroup are right where they are looked at.
fn check(input: AssignInput<'_>, first: usize, found: &[Screened]) -> Result<(), GpuError> {
    let wrong = |message: String| GpuError::Wrong { kernel: ASSIGN.shader.name, message };
    let k = input.centres.k();
    if let Some(at) = found.iter().position(|found| found.label as usize >= k) {
        return Err(wrong(format!("point {}: centre {} of {k}", first + at, found[at].label)));
    }
    let every = one_of(found.len(), TILE);
    let failed = found.par_chunks(every).enumerate().map_init(Vec::new, |room, (group, of_group)| {
        let nth = mix(word(group)) as usize % of_group.len();
        let (at, found) = (first + group * every + nth, of_group[nth]);
        let point = input.points.point(at);
        scores(input.centres, point, room);
        let (mut due, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        for &score in room.iter() {
            second = second.max(score.min(due));
            due = due.max(score);
        }
        let named = room[found.label as usize];
        let band = f64::from(input.centres.band(input.points.norm(at)));
        // Written so that NaN fails; of one centre there is no second, and a number below all scores stands for it.
        let is_second = if k > 1 { (f64::from(found.second) - second).abs() <= band } else { found.second < -1e38 };
        let agrees = (f64::from(found.best) - due).abs() <= band && is_second && due - named <= band;
        (!agrees).then(|| {
            let Screened { label, best, second: next } = found;
            format!("point {at}: centre {label} with {best}, then {next}; the CPU finds {due}, then {second}, {band:.1e} apart are allowed")
        })
    });
    failed.find_map_first(|failed| failed).map_or(Ok(()), |message| Err(wrong(message)))
}

/// Writes the score of a point at every centre, in f64: x c - c c / 2, which the nearest has the greatest of.
fn scores(centres: &Centres, point: &[f32], out: &mut Vec<f64>) {
    out.clear();
    out.resize(centres.k(), 0.0);
    widest(
        #[inline(always)]
        || {
            for (x, centres) in point.iter().zip(centres.columns.chunks_exact(out.len().max(1))) {
                let x = f64::from(*x);
                for (sum, c) in out.iter_mut().zip(centres) {
                    *sum += (x - c / 2.0) * c;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

    use super::super::tests::{all_screened, by_the_book, centres, points};
    use super::super::{Assign, AssignInput, Screened};
    use super::check;
    use crate::backend::drill::Drill;
    use crate::backend::{Gpu, GpuError, Kernel, PlaceChoice};

    #[test]
    fn a_device_labels_as_f64_does() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        for (n, k, d) in [(1, 1, 1), (63, 3, 2), (65, 64, 5), (700, 65, 31), (1500, 130, 33), (900, 9, 64)] {
            let (points, centres) = (points(n, d, 3), centres(k, d, 5));
            let found = Assign.on_gpu(&gpu, AssignInput { points: &points, centres: &centres }).unwrap();
            assert_eq!(found.labels(), by_the_book(&points, &centres), "{n} points, {k} centres, {d} columns");
            assert!(found.n_settled <= n as u64 / 10 + 3, "{} of {n} were settled", found.n_settled);
        }
    }

    #[test]
    fn wrong_scores_are_refused() {
        let (points, centres) = (points(64, 3, 1), centres(4, 3, 2));
        let input = AssignInput { points: &points, centres: &centres };
        let right = all_screened(input);
        check(input, 0, &right).unwrap();
        let scaled: Vec<Screened> = right.iter().map(|found| Screened { best: found.best * 1.001 + 0.01, ..*found }).collect();
        assert!(matches!(check(input, 0, &scaled), Err(GpuError::Wrong { .. })), "scores too large");
        let other: Vec<Screened> = right.iter().map(|found| Screened { label: (found.label + 1) % 4, ..*found }).collect();
        assert!(matches!(check(input, 0, &other), Err(GpuError::Wrong { .. })), "another centre");
    }

    #[test]
    fn faults_change_no_label() {
        let (points, centres) = (points(3000, 3, 1), centres(40, 3, 2));
        let input = AssignInput { points: &points, centres: &centres };
        let drill = Drill { kernel: Assign, input, agree: |_, a, b| a.labels() == b.labels() };
        drill.survives_faults();
        drill.catches_flips();
    }
}
