//! Turns of a permutation null on a device: the driver of `arrange`, `shuffle` and `permuted_gram` in `shaders/correlate`.
//!
//! Columns go up once, in f32. For as many turns at a time as fit, every column is copied, given its order, and multiplied
//! with the others of its turn; what comes back is the largest product of every column with the columns of a tile.
//!
//! Numbers  the largest r of a turn is within `BAND` of the truth, so that the pairs behind all products that close to it hold the best
//!          one. They are computed again in f64 on the CPU, in the same orders.
//! Checked  the settled best of a turn lies within twice `BAND` of what the device found, and so do, from below, pairs of the family
//!          drawn for each turn, a thousand in all. A workgroup that did not run, or words that were drawn wrongly, spoil whole tiles or columns.
//! Limits   columns of up to about 200,000 rows, and entities of up to 50,000: an invocation has 60,000 trips.
//! Memory   short of it half as many turns are taken at a time.

use rayon::prelude::*;

use super::{BAND, Permuted, Turns, close_to};
use crate::backend::contract::{Access, Contract, params};
use crate::backend::dispatch::{Buffer, Dispatch, MAX_TRIPS, Task, word};
use crate::backend::selftest::{LOOKS, mix};
use crate::backend::{Gpu, GpuError};
use crate::correlate::exchange::Draw;
use gristmill_shaders::Variant;

/// Rows are padded to a multiple of this, the longest stage of a variant.
const ROW_PADDING: usize = 32;
/// Bytes of the copies of all columns, at most.
const COPY_BYTES: u64 = 1 << 30;
/// Wide tiles pay once there are enough of them to keep a large device busy.
const MIN_WIDE_TILES: usize = 240;
/// Operations of one step of a shuffle: memory that lies apart, four times.
const OPS_OF_STEP: f64 = 200.0;

params! {
    /// Parameters of `arrange`.
    struct ArrangeParams { n_rows, stride, n_columns, n_turns, first_turn, seed_low, seed_high, shifts }
}

params! {
    /// Parameters of `shuffle`.
    struct ShuffleParams {
        stride, n_columns, n_turns, first_turn, seed_low, seed_high, first_stratum, end_stratum, first_step, end_step, unused_0, unused_1
    }
}

params! {
    /// Parameters of `permuted_gram`.
    struct PermutedGramParams { n_columns, stride, n_stages, n_tiles, first_group, end_group, mask_words, unused_0 }
}

/// The Rust side of `arrange`.
pub(crate) static ARRANGE: Contract = Contract {
    shader: &gristmill_shaders::ARRANGE,
    buffers: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [256, 1, 1],
    fields: ArrangeParams::FIELDS,
    params_bytes: size_of::<ArrangeParams>(),
};

/// The Rust side of `shuffle`.
pub(crate) static SHUFFLE: Contract = Contract {
    shader: &gristmill_shaders::SHUFFLE,
    buffers: &[Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [64, 1, 1],
    fields: ShuffleParams::FIELDS,
    params_bytes: size_of::<ShuffleParams>(),
};

/// The Rust side of `permuted_gram`.
pub(crate) static PERMUTED_GRAM: Contract = Contract {
    shader: &gristmill_shaders::PERMUTED_GRAM,
    buffers: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [16, 16, 1],
    fields: PermutedGramParams::FIELDS,
    params_bytes: size_of::<PermutedGramParams>(),
};

/// Returns the best of every turn; none where the work is no longer wanted.
pub(super) fn best(gpu: &Gpu, input: Turns<'_>) -> Result<Option<Vec<f64>>, GpuError> {
    best_in_tiles(gpu, input, suited(gpu, input))
}

fn best_in_tiles(gpu: &Gpu, input: Turns<'_>, variant: &'static Variant) -> Result<Option<Vec<f64>>, GpuError> {
    let n_turns = (input.end - input.first) as usize;
    if n_turns == 0 || input.of.pairs.is_empty() {
        return Ok(Some(vec![0.0; n_turns]));
    }
    let plan = Plan::new(input.of, variant)?;
    let mut at_once = plan.turns_at_once(gpu).min(n_turns);
    loop {
        match plan.best(gpu, input, at_once) {
            Err(GpuError::OutOfMemory(_)) if at_once > 1 => at_once /= 2,
            outcome => return outcome,
        }
    }
}

/// Returns the variant for a family: wide tiles do more work a load, small ones leave out more of what is not asked for.
fn suited(gpu: &Gpu, input: Turns<'_>) -> &'static Variant {
    let [small, wide] = PERMUTED_GRAM.shader.variants else { unreachable!("the table lists two tiles") };
    let across = input.of.columns.len().div_ceil(tile_of(wide));
    if gpu.is_software() || across * (across + 1) / 2 < MIN_WIDE_TILES { small } else { wide }
}

fn tile_of(variant: &Variant) -> usize {
    variant.constant("TILE").expect("every variant of permuted_gram has a tile") as usize
}

/// What is the same in every turn.
struct Plan<'a> {
    of: &'a Permuted<'a>,
    variant: &'static Variant,
    tile: usize,
    /// Rows with padding.
    stride: usize,
    n_stages: usize,
    /// Tiles that hold a pair of the family, and where in them the family lies.
    tiles: Vec<[u32; 2]>,
    family: Vec<u32>,
    mask_words: usize,
    draws: Vec<Draw>,
    /// Dispatches of a shuffle: strata and steps.
    shuffles: Vec<[usize; 4]>,
}

impl<'a> Plan<'a> {
    fn new(of: &'a Permuted<'a>, variant: &'static Variant) -> Result<Self, GpuError> {
        let tile = tile_of(variant);
        let p = of.columns.len();
        let mask_words = p.next_multiple_of(tile) / 32;
        let mut family = vec![0_u32; p * mask_words];
        let across = p.div_ceil(tile);
        let mut marks = vec![false; across * across];
        for &(x, y) in &of.pairs {
            let (x, y) = (x as usize, y as usize);
            family[y * mask_words + x / 32] |= 1 << (x % 32);
            marks[(y / tile) * across + x / tile] = true;
        }
        let tiles = (0..across * across).filter(|&at| marks[at]).map(|at| [word(at % across), word(at / across)]).collect();
        let stride = of.n_rows().next_multiple_of(ROW_PADDING);
        let draws = of.exchange.draws();
        let shuffles = if of.exchange.shifts() { Vec::new() } else { shuffles(&draws, MAX_TRIPS as usize - 1)? };
        Ok(Self { of, variant, tile, stride, n_stages: stride / (2048 / tile), tiles, family, mask_words, draws, shuffles })
    }

    fn p(&self) -> usize {
        self.of.columns.len()
    }

    /// Returns the turns that fit the device's memory, and the time of one dispatch.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "rough bounds of time and memory"
    )]
    fn turns_at_once(&self, gpu: &Gpu) -> usize {
        let bytes = COPY_BYTES.min(gpu.max_binding_bytes()).min(gpu.memory_bytes() / 2);
        let of_memory = bytes as usize / (4 * self.stride * self.p());
        let of_time = gpu.flops_per_dispatch() / (OPS_OF_STEP * (self.stride * self.p()) as f64);
        of_memory.min(of_time as usize).max(1)
    }

    fn best(&self, gpu: &Gpu, input: Turns<'_>, at_once: usize) -> Result<Option<Vec<f64>>, GpuError> {
        let of = self.of;
        let cell_bytes = (4 * self.stride * self.p()) as u64;
        let strata: Vec<[u32; 4]> = self.draws.iter().map(|draw| [draw.start, draw.end, draw.unit, draw.first_word].map(word)).collect();
        let stratum_of: Vec<u32> = if of.exchange.shifts() {
            (0..).zip(&self.draws).flat_map(|(at, draw)| std::iter::repeat_n(at, draw.end - draw.start)).collect()
        } else {
            vec![0]
        };
        let maxima_words = (at_once * self.tiles.len() * self.tile) as u64;
        let shared: [&[u8]; 5] = [
            bytemuck::cast_slice(&strata),
            bytemuck::cast_slice(&stratum_of),
            bytemuck::cast_slice(&of.streams),
            bytemuck::cast_slice(&self.tiles),
            bytemuck::cast_slice(&self.family),
        ];
        let shared_bytes: u64 = shared.iter().map(|bytes| bytes.len() as u64).sum();
        let task = gpu.task(cell_bytes * (1 + at_once as u64) + shared_bytes + 4 * maxima_words)?;
        let cells = task.buffer(cell_bytes)?;
        let mut upload = task.upload(&cells);
        for column in of.narrow.chunks(of.n_rows()) {
            upload.put(column)?;
            upload.put_zeros(self.stride - of.n_rows())?;
        }
        upload.finish()?;
        let mut held = Vec::with_capacity(shared.len());
        for bytes in shared {
            let buffer = task.buffer(bytes.len() as u64)?;
            let mut upload = task.upload(&buffer);
            upload.put(bytes)?;
            upload.finish()?;
            held.push(buffer);
        }
        let [strata, stratum_of, streams, tiles, family] = &held[..] else { unreachable!("five buffers were made") };
        let (arranged, maxima) = (task.buffer(cell_bytes * at_once as u64)?, task.buffer(4 * maxima_words)?);
        let n_looks = LOOKS.div_ceil(input.range().len()).min(of.pairs.len());
        let mut best = Vec::new();
        for first in input.range().step_by(at_once) {
            if (input.stopped)() {
                return Ok(None);
            }
            let n_turns = at_once.min((input.end - first) as usize);
            self.arrange(&task, [&cells, strata, stratum_of, streams, &arranged], first, n_turns)?;
            self.shuffle(&task, [strata, streams, &arranged], first, n_turns)?;
            self.multiply(&task, gpu, [&arranged, tiles, family, &maxima], n_turns)?;
            let found = task.read(&maxima, (n_turns * self.tiles.len() * self.tile) as u64)?;
            let of_turns = found
                .par_chunks(self.tiles.len() * self.tile)
                .enumerate()
                .map(|(nth, found)| self.settle(first + word(nth), found, n_looks));
            best.extend(of_turns.collect::<Result<Vec<f64>, GpuError>>()?);
        }
        Ok(Some(best))
    }

    fn arrange(&self, task: &Task<'_>, buffers: [&Buffer; 5], first: u32, n_turns: usize) -> Result<(), GpuError> {
        let [seed_low, seed_high] = self.of.seed_words();
        task.dispatch(&Dispatch {
            contract: &ARRANGE,
            variant: &ARRANGE.shader.variants[0],
            params: &ArrangeParams {
                n_rows: word(self.of.n_rows()),
                stride: word(self.stride),
                n_columns: word(self.p()),
                n_turns: word(n_turns),
                first_turn: first,
                seed_low,
                seed_high,
                shifts: u32::from(self.of.exchange.shifts()),
            },
            buffers: &buffers,
            n_groups: ((self.stride * self.p() * n_turns) as u64).div_ceil(256),
            n_trips: 0,
        })
    }

    fn shuffle(&self, task: &Task<'_>, buffers: [&Buffer; 3], first: u32, n_turns: usize) -> Result<(), GpuError> {
        let [seed_low, seed_high] = self.of.seed_words();
        for &[first_stratum, end_stratum, first_step, end_step] in &self.shuffles {
            let trips = (first_stratum..end_stratum).map(|at| 1 + trips_of(&self.draws[at], first_step, end_step)).sum::<usize>();
            task.dispatch(&Dispatch {
                contract: &SHUFFLE,
                variant: &SHUFFLE.shader.variants[0],
                params: &ShuffleParams {
                    stride: word(self.stride),
                    n_columns: word(self.p()),
                    n_turns: word(n_turns),
                    first_turn: first,
                    seed_low,
                    seed_high,
                    first_stratum: word(first_stratum),
                    end_stratum: word(end_stratum),
                    first_step: word(first_step),
                    end_step: word(end_step),
                    unused_0: 0,
                    unused_1: 0,
                },
                buffers: &buffers,
                n_groups: ((self.p() * n_turns) as u64).div_ceil(64),
                n_trips: trips as u64,
            })?;
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rough bound of time")]
    fn multiply(&self, task: &Task<'_>, gpu: &Gpu, buffers: [&Buffer; 4], n_turns: usize) -> Result<(), GpuError> {
        let flops = 2.0 * (self.tile * self.tile * self.stride) as f64;
        let at_once = ((gpu.flops_per_dispatch() / flops) as usize).max(1);
        let n_groups = n_turns * self.tiles.len();
        for first in (0..n_groups).step_by(at_once) {
            let end = (first + at_once).min(n_groups);
            task.dispatch(&Dispatch {
                contract: &PERMUTED_GRAM,
                variant: self.variant,
                params: &PermutedGramParams {
                    n_columns: word(self.p()),
                    stride: word(self.stride / 4),
                    n_stages: word(self.n_stages),
                    n_tiles: word(self.tiles.len()),
                    first_group: word(first),
                    end_group: word(end),
                    mask_words: word(self.mask_words),
                    unused_0: 0,
                },
                buffers: &buffers,
                n_groups: (end - first) as u64,
                n_trips: (self.n_stages * (1 + 2048 / self.tile / 4) + 16) as u64,
            })?;
        }
        Ok(())
    }

    /// Returns the best of a turn in f64, given the device's maxima; fails where the two cannot both be right.
    fn settle(&self, turn: u32, found: &[u32], n_looks: usize) -> Result<f64, GpuError> {
        let wrong = |message: String| GpuError::Wrong { kernel: PERMUTED_GRAM.shader.name, message: format!("turn {turn}: {message}") };
        let of = self.of;
        let at = |tile: usize, column: usize| f32::from_bits(found[tile * self.tile + column]);
        let columns = |tile: usize| {
            let first = self.tiles[tile][0] as usize * self.tile;
            first..(first + self.tile).min(self.p())
        };
        let all = || (0..self.tiles.len()).flat_map(|tile| columns(tile).enumerate().map(move |(nth, column)| (tile, nth, column)));
        if let Some((tile, nth, column)) = all().find(|&(tile, nth, _)| !at(tile, nth).is_finite()) {
            return Err(wrong(format!("the largest product of column {column} is {}", at(tile, nth))));
        }
        let largest = all().map(|(tile, nth, _)| at(tile, nth)).fold(0.0, f32::max);
        let close = close_to(largest);
        let near = all().filter(|&(tile, nth, _)| at(tile, nth) >= close);
        let rivals = near.flat_map(|(tile, _, left)| {
            let first = self.tiles[tile][1] as usize * self.tile;
            let right = first..(first + self.tile).min(self.p());
            right
                .filter(move |right| self.family[right * self.mask_words + left / 32] >> (left % 32) & 1 == 1)
                .map(move |right| (word(left), word(right)))
        });
        let best = of.settled(turn, rivals);
        if (best - f64::from(largest)).abs() > 2.0 * BAND {
            return Err(wrong(format!("the largest product is {largest}, the CPU finds {best}")));
        }
        // Some pairs of each turn, whatever their tiles found.
        for look in 0..word(n_looks) {
            let (x, y) = of.pairs[mix(turn ^ mix(look)) as usize % of.pairs.len()];
            let due = of.settled(turn, std::iter::once((x, y)));
            let tile = [x, y].map(|column| word(column as usize / self.tile));
            let tile = self.tiles.iter().position(|at| *at == tile).expect("every pair has a tile");
            let seen = f64::from(at(tile, x as usize % self.tile));
            if seen < due - 2.0 * BAND {
                return Err(wrong(format!("columns {x} and {y}: at least {due} is due, {seen} was found")));
            }
        }
        Ok(best)
    }
}

/// Returns the trips of some steps in one stratum.
fn trips_of(draw: &Draw, first_step: usize, end_step: usize) -> usize {
    let n_steps = ((draw.end - draw.start) / draw.unit).saturating_sub(1);
    end_step.min(n_steps).saturating_sub(first_step) * (1 + draw.unit)
}

/// Cuts a shuffle into dispatches of at most so many trips: strata from and to, steps of each from and to.
fn shuffles(draws: &[Draw], most: usize) -> Result<Vec<[usize; 4]>, GpuError> {
    let mut out: Vec<[usize; 4]> = Vec::new();
    let mut trips = most + 1;
    for (at, draw) in draws.iter().enumerate() {
        let own = 1 + trips_of(draw, 0, usize::MAX);
        if own == 1 {
            continue;
        }
        if own > most {
            let steps = (most - 1) / (1 + draw.unit);
            if steps == 0 {
                return Err(GpuError::TooLarge(format!("an entity of {} rows takes more than {most} loop trips", draw.unit)));
            }
            let n_steps = (draw.end - draw.start) / draw.unit - 1;
            out.extend((0..n_steps).step_by(steps).map(|first| [at, at + 1, first, (first + steps).min(n_steps)]));
            trips = most + 1;
        } else if trips + own + (at - out.last().map_or(at, |last| last[1])) <= most {
            let last = out.last_mut().expect("there were trips before");
            trips += own + (at - last[1]);
            last[1] = at + 1;
        } else {
            out.push([at, at + 1, 0, u32::MAX as usize]);
            trips = own;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

    use super::super::{Permuted, PermutedMaximum, Turns};
    use super::{PERMUTED_GRAM, Plan, best_in_tiles, shuffles, trips_of};
    use crate::backend::drill::Drill;
    use crate::backend::{Cpu, Gpu, GpuError, Kernel, PlaceChoice};
    use crate::correlate::exchange::Exchange;

    /// Columns of norm 1; every third has few values, so that pairs tie.
    fn columns(exchange: &Exchange, n: usize, p: usize) -> Vec<Vec<f64>> {
        let mut state = 3_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64
        };
        let column = |at: usize| {
            let cells: Vec<f64> = (0..n).map(|_| if at.is_multiple_of(3) { next() % 3.0 } else { next() }).collect();
            let mean = cells.iter().sum::<f64>() / n as f64;
            let norm = libm::sqrt(cells.iter().map(|x| (x - mean) * (x - mean)).sum());
            exchange.arranged(&cells.iter().map(|x| if norm > 0.0 { (x - mean) / norm } else { 0.0 }).collect::<Vec<_>>())
        };
        (0..p).map(column).collect()
    }

    fn exchanges(n: u32) -> Vec<Exchange> {
        let rows = || 0..n;
        let stratum: Vec<u32> = rows().map(|row| row * 7 / 11 % 6).collect();
        let entity: Vec<u32> = rows().map(|row| row * row / (3 * n)).collect();
        let time: Vec<f64> = rows().map(|row| f64::from(row * 7 % n)).collect();
        let n = n as usize;
        vec![
            Exchange::new(n, None, None),
            Exchange::new(n, Some(&stratum), None),
            Exchange::new(n, None, Some(&time)),
            Exchange::new(n, Some(&stratum), Some(&time)),
            Exchange::of_entities(&entity, None, None),
            Exchange::of_entities(&entity, Some(&stratum), Some(&time)),
        ]
    }

    #[test]
    fn a_device_finds_what_the_cpu_does() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        for (n, p) in [(5, 2), (33, 3), (300, 70), (701, 140)] {
            for (at, exchange) in exchanges(n).iter().enumerate() {
                let columns = columns(exchange, n as usize, p);
                // Not all pairs are in the family.
                let n_columns = u32::try_from(p).unwrap();
                let pairs = (0..n_columns).flat_map(|y| (0..y).map(move |x| (y, x))).filter(|(x, y)| p < 5 || (x + y) % 7 != 0);
                let permuted = Permuted::new(exchange, &columns, pairs, 11 << 33 | 5, (0..n_columns).map(|at| at * 3 + 1).collect());
                let turns = Turns { of: &permuted, first: 3, end: 20, stopped: &|| false };
                let due = PermutedMaximum.on_cpu(&Cpu::new(), turns).unwrap();
                for variant in PERMUTED_GRAM.shader.variants {
                    let found = best_in_tiles(&gpu, turns, variant).unwrap().unwrap();
                    let bits = |best: &[f64]| best.iter().map(|r| r.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&found), bits(&due), "{n} rows, {p} columns, exchange {at}, {}", variant.name);
                    let others = PermutedMaximum.on_cpu(&Cpu::new(), Turns { first: 4, end: 21, ..turns }).unwrap();
                    assert!(bits(&found) != bits(&others) || n < 30, "turns differ");
                }
            }
        }
    }

    #[test]
    fn nothing_in_nothing_out_and_unwanted_work_ends() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        let exchange = Exchange::new(10, None, None);
        let columns = columns(&exchange, 10, 2);
        let none = Permuted::new(&exchange, &columns, std::iter::empty(), 1, vec![0, 1]);
        let some = Permuted::new(&exchange, &columns, std::iter::once((0, 1)), 1, vec![0, 1]);
        let [variant, _] = PERMUTED_GRAM.shader.variants else { panic!("two variants") };
        let turns = Turns { of: &none, first: 0, end: 2, stopped: &|| false };
        assert_eq!(best_in_tiles(&gpu, turns, variant).unwrap(), Some(vec![0.0, 0.0]));
        assert_eq!(best_in_tiles(&gpu, Turns { of: &some, stopped: &|| true, ..turns }, variant).unwrap(), None);
    }

    #[test]
    fn a_shuffle_is_cut_into_dispatches_that_take_every_step_once() {
        for exchange in exchanges(301) {
            let draws = exchange.draws();
            let due: usize = draws.iter().map(|draw| trips_of(draw, 0, usize::MAX)).sum();
            for most in [60, 100, 5_000] {
                let cut = shuffles(&draws, most).unwrap();
                let trips = |&[first, end, from, to]: &[usize; 4]| (first..end).map(|at| trips_of(&draws[at], from, to)).sum::<usize>();
                assert_eq!(cut.iter().map(trips).sum::<usize>(), due);
                assert!(cut.iter().all(|part| trips(part) + part[1] - part[0] <= most), "{cut:?}");
            }
        }
        let entity: Vec<u32> = (0..100).map(|row| row / 50).collect();
        assert!(matches!(shuffles(&Exchange::of_entities(&entity, None, None).draws(), 40), Err(GpuError::TooLarge(_))));
    }

    #[test]
    fn maxima_that_cannot_be_are_refused() {
        let exchange = Exchange::new(200, None, None);
        let columns = columns(&exchange, 200, 70);
        let pairs = (0..70_u32).flat_map(|y| (0..y).map(move |x| (x, y)));
        let permuted = Permuted::new(&exchange, &columns, pairs, 1, (0..70).collect());
        let plan = Plan::new(&permuted, &PERMUTED_GRAM.shader.variants[0]).unwrap();
        let mut right = vec![0.0_f32; plan.tiles.len() * 64];
        for &(x, y) in &permuted.pairs {
            let tile = plan.tiles.iter().position(|tile| *tile == [x / 64, y / 64]).unwrap();
            let cell = &mut right[tile * 64 + x as usize % 64];
            *cell = cell.max(permuted.settled(0, std::iter::once((x, y))) as f32);
        }
        let bits = |maxima: &[f32]| maxima.iter().map(|r| r.to_bits()).collect::<Vec<_>>();
        assert_eq!(plan.settle(0, &bits(&right), 1).unwrap().to_bits(), permuted.best(0).to_bits());
        for spoil in [0.0, 1.001, f32::NAN] {
            let wrong: Vec<f32> = right.iter().map(|r| r * spoil).collect();
            assert!(matches!(plan.settle(0, &bits(&wrong), 1), Err(GpuError::Wrong { .. })), "times {spoil}");
        }
    }

    #[test]
    fn faults_change_no_turn() {
        let exchange = Exchange::new(100, None, None);
        let columns = columns(&exchange, 100, 70);
        let pairs = (0..70_u32).flat_map(|y| (0..y).map(move |x| (x, y)));
        let permuted = Permuted::new(&exchange, &columns, pairs, 1, (0..70).collect());
        let input = Turns { of: &permuted, first: 0, end: 20, stopped: &|| false };
        let drill = Drill { kernel: PermutedMaximum, input, agree: |_, a, b| a == b };
        drill.survives_faults();
        drill.catches_flips();
    }
}
