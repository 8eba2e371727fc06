//! Kendall's scores on a device: the driver of `shaders/correlate/row_pairs.wgsl` and `shaders/correlate/kendall.wgsl`.
//!
//! Dense ranks go up once. Batch by batch of lines, one shader writes a bit for every pair of rows of every column, the other
//! counts them for tiles of 64 x 64 pairs of columns; counts stay on the device and come home once.
//!
//! Numbers  whole numbers, those of the CPU.
//! Checked  the counted pairs of rows of every pair never exceed what either column leaves, disagreements never what is counted,
//!          and one pair of every tile, a thousand at least, is counted again on the CPU. A workgroup that did not run, or a
//!          device that was cut off, spoils whole tiles.
//! Cost     n^2 / 2 bits a column to write and as many a pair of columns to count, whatever their ties: Knight's walk on the CPU takes
//!          n log n, so that a device pays for many columns and not for many rows.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{KendallInput, Ready, Room};
use crate::backend::contract::{Access, Contract, params};
use crate::backend::dispatch::{Buffer, Dispatch, MAX_TRIPS, Task, word};
use crate::backend::selftest::LOOKS;
use crate::backend::{Gpu, GpuError};

/// Columns of a tile, and words of a stage.
const TILE: usize = 64;
const STAGE: usize = 16;
/// Bits of a word, one a pair of rows.
const WORD: usize = 32;
/// Bytes of the counts of one tile and slice.
const TILE_BYTES: u64 = (TILE * TILE * 16) as u64;
/// Bytes of the counts of all tiles that are counted together, at most.
const COUNT_BYTES: u64 = 256 << 20;
/// Bytes of one plane of one batch, at most.
const PLANE_BYTES: u64 = 128 << 20;
/// Workgroups that keep a large device busy: a few tiles are cut into slices of the words.
const BUSY_GROUPS: usize = 512;
/// Stages of a slice within the trips of an invocation, the counts at its end included.
const MAX_STAGES: usize = (MAX_TRIPS as usize - 16) / (1 + STAGE);
/// Operations of one word of one pair of columns, and of one word of a column.
pub(super) const OPS_TO_COUNT: f64 = 9.0;
pub(super) const OPS_TO_WRITE: f64 = 300.0;
/// Batches between two looks at whether the work is still wanted.
const BATCHES_AT_ONCE: usize = 16;

params! {
    /// Parameters of `row_pairs`.
    struct RowPairsParams { n_rows, n_columns, first_line, n_lines, line_words, n_words, unused_0, unused_1 }
}

params! {
    /// Parameters of `kendall`.
    struct KendallParams { n_columns, row_quads, n_tiles, n_slices, slice_stages, n_stages, accumulate, unused_0 }
}

/// The Rust side of `row_pairs`.
pub(crate) static ROW_PAIRS: Contract = Contract {
    shader: &gristmill_shaders::ROW_PAIRS,
    buffers: &[Access::Read, Access::ReadWrite, Access::ReadWrite],
    workgroup: [64, 1, 1],
    fields: RowPairsParams::FIELDS,
    params_bytes: size_of::<RowPairsParams>(),
};

/// The Rust side of `kendall`.
pub(crate) static KENDALL: Contract = Contract {
    shader: &gristmill_shaders::KENDALL,
    buffers: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [16, 16, 1],
    fields: KendallParams::FIELDS,
    params_bytes: size_of::<KendallParams>(),
};

/// Returns the score of every pair, in the order of `pairs`; none where the work is no longer wanted.
pub(super) fn scores(gpu: &Gpu, input: KendallInput<'_>) -> Result<Option<Vec<i64>>, GpuError> {
    let n = input.columns.first().map_or(0, |column| column.order.len());
    if n < 2 || input.pairs.is_empty() {
        return Ok(Some(vec![0; input.pairs.len()]));
    }
    // A fast device takes everything in one batch.
    if (input.on_progress)() {
        return Ok(None);
    }
    // Pairs by tile; a score does not know which column comes first.
    let mut of_tile: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (at, &(x, y)) in input.pairs.iter().enumerate() {
        of_tile.entry((x.min(y) as usize / TILE, x.max(y) as usize / TILE)).or_default().push(at);
    }
    let tiles: Vec<((usize, usize), Vec<usize>)> = of_tile.into_iter().collect();
    let at_once = usize::try_from(COUNT_BYTES.min(gpu.max_binding_bytes()).min(gpu.memory_bytes() / 4) / TILE_BYTES).unwrap_or(usize::MAX);
    let mut scores = vec![0; input.pairs.len()];
    for tiles in tiles.chunks(at_once.max(1)) {
        let shape = Shape::new(gpu, n, input.columns.len(), tiles.len());
        let Some(counts) = shape.count(gpu, input, tiles)? else { return Ok(None) };
        take(input, tiles, &counts, &mut scores)?;
    }
    Ok(Some(scores))
}

/// How the bits lie on the device and are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    n_rows: usize,
    n_columns: usize,
    n_tiles: usize,
    n_slices: usize,
    /// Words of a line, lines of a batch, words of a column in a batch.
    line_words: usize,
    batch_lines: usize,
    n_words: usize,
}

impl Shape {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "rough bounds of time and memory"
    )]
    fn new(gpu: &Gpu, n_rows: usize, n_columns: usize, n_tiles: usize) -> Self {
        let line_words = n_rows.div_ceil(WORD);
        let of_counts =
            usize::try_from(COUNT_BYTES.min(gpu.max_binding_bytes()).min(gpu.memory_bytes() / 4) / TILE_BYTES).unwrap_or(usize::MAX);
        // A line is never cut, so that a long one needs slices enough.
        let needed = line_words.div_ceil(STAGE).div_ceil(MAX_STAGES);
        let n_slices = BUSY_GROUPS.div_ceil(n_tiles).min(of_counts / n_tiles).max(needed).max(1);
        let of_trips = n_slices * MAX_STAGES * STAGE;
        let of_memory = (PLANE_BYTES.min(gpu.max_binding_bytes()).min(gpu.memory_bytes() / 8) / 4) as usize / n_columns;
        let ops = gpu.flops_per_dispatch();
        let of_time = (ops / (OPS_TO_COUNT * (n_tiles * TILE * TILE) as f64)).min(ops / (OPS_TO_WRITE * n_columns as f64)) as usize;
        let batch_lines = (of_trips.min(of_memory).min(of_time) / line_words).clamp(1, n_rows / 2);
        Self { n_rows, n_columns, n_tiles, n_slices, line_words, batch_lines, n_words: (batch_lines * line_words).next_multiple_of(STAGE) }
    }

    /// Returns the counts of tiles: by slice, tile, column of right, column of left; none where the work is no longer wanted.
    fn count(&self, gpu: &Gpu, input: KendallInput<'_>, tiles: &[((usize, usize), Vec<usize>)]) -> Result<Option<Vec<u32>>, GpuError> {
        let plane_bytes = (4 * self.n_columns * self.n_words) as u64;
        let ranks_bytes = (4 * self.n_columns * self.n_rows) as u64;
        let count_bytes = self.n_slices as u64 * self.n_tiles as u64 * TILE_BYTES;
        let task = gpu.task(ranks_bytes + 2 * plane_bytes + 8 * self.n_tiles as u64 + count_bytes)?;
        let (ranks, strict, apart) = (task.buffer(ranks_bytes)?, task.buffer(plane_bytes)?, task.buffer(plane_bytes)?);
        let (places, counts) = (task.buffer(8 * self.n_tiles as u64)?, task.buffer(count_bytes)?);
        let mut upload = task.upload(&ranks);
        for column in input.columns {
            upload.put(&column.ranks())?;
        }
        upload.finish()?;
        let mut upload = task.upload(&places);
        for ((left, right), _) in tiles {
            upload.put(&[word(*left), word(*right)])?;
        }
        upload.finish()?;
        let lines: Vec<usize> = (1..=self.n_rows / 2).step_by(self.batch_lines).collect();
        for (batch, &first) in lines.iter().enumerate() {
            self.write_bits(&task, [&ranks, &strict, &apart], first)?;
            self.count_bits(&task, [&strict, &apart, &places, &counts], batch > 0)?;
            if batch % BATCHES_AT_ONCE == BATCHES_AT_ONCE - 1 {
                // Waits for what was asked for.
                task.read(&counts, 1)?;
                if (input.on_progress)() {
                    return Ok(None);
                }
            }
        }
        task.read(&counts, count_bytes / 4).map(Some)
    }

    fn write_bits(&self, task: &Task<'_>, buffers: [&Buffer; 3], first: usize) -> Result<(), GpuError> {
        let n_lines = self.batch_lines.min(self.n_rows / 2 + 1 - first);
        task.dispatch(&Dispatch {
            contract: &ROW_PAIRS,
            variant: &ROW_PAIRS.shader.variants[0],
            params: &RowPairsParams {
                n_rows: word(self.n_rows),
                n_columns: word(self.n_columns),
                first_line: word(first),
                n_lines: word(n_lines),
                line_words: word(self.line_words),
                n_words: word(self.n_words),
                ..RowPairsParams::default()
            },
            buffers: &buffers,
            n_groups: ((self.n_columns * self.n_words) as u64).div_ceil(64),
            n_trips: WORD as u64,
        })
    }

    fn count_bits(&self, task: &Task<'_>, buffers: [&Buffer; 4], accumulate: bool) -> Result<(), GpuError> {
        let n_stages = self.n_words / STAGE;
        let slice_stages = n_stages.div_ceil(self.n_slices);
        task.dispatch(&Dispatch {
            contract: &KENDALL,
            variant: &KENDALL.shader.variants[0],
            params: &KendallParams {
                n_columns: word(self.n_columns),
                row_quads: word(self.n_words / 4),
                n_tiles: word(self.n_tiles),
                n_slices: word(self.n_slices),
                slice_stages: word(slice_stages),
                n_stages: word(n_stages),
                accumulate: u32::from(accumulate),
                unused_0: 0,
            },
            buffers: &buffers,
            n_groups: (self.n_tiles * self.n_slices) as u64,
            n_trips: (slice_stages * (1 + STAGE) + 16) as u64,
        })
    }
}

/// Adds up the slices of the pairs asked for; fails where a count cannot be, or a score that is looked at is another than the CPU's.
fn take(input: KendallInput<'_>, tiles: &[((usize, usize), Vec<usize>)], counts: &[u32], scores: &mut [i64]) -> Result<(), GpuError> {
    let wrong = |message: String| GpuError::Wrong { kernel: KENDALL.shader.name, message };
    let n = input.columns[0].order.len() as u64;
    let tile_words = TILE * TILE * 4;
    let every = (tiles.iter().map(|(_, pairs)| pairs.len()).sum::<usize>() / LOOKS).max(1);
    let mut looked_at = Vec::new();
    for (tile, ((left, right), pairs)) in tiles.iter().enumerate() {
        for (nth, &pair) in pairs.iter().enumerate() {
            let (x, y) = input.pairs[pair];
            let at = (x.max(y) as usize - right * TILE) * TILE + x.min(y) as usize - left * TILE;
            let (mut disagree, mut counted) = (0_u64, 0_u64);
            for slice in counts.chunks(tiles.len() * tile_words) {
                let words = &slice[tile * tile_words + at * 4..][..4];
                disagree += u64::from(words[0]) | u64::from(words[1]) << 32;
                counted += u64::from(words[2]) | u64::from(words[3]) << 32;
            }
            let (of_x, of_y) = (&input.columns[x as usize], &input.columns[y as usize]);
            let all = n * (n - 1) / 2;
            let (most, least) = (all - of_x.n_tied.max(of_y.n_tied), all.saturating_sub(of_x.n_tied + of_y.n_tied));
            if !(least..=most).contains(&counted) || disagree > counted {
                return Err(wrong(format!(
                    "columns {x} and {y}: {counted} pairs of rows, of which {disagree} disagree, are not among {least} to {most}"
                )));
            }
            scores[pair] = counted.cast_signed() - 2 * disagree.cast_signed();
            // One of every tile, and others.
            if nth == tile % pairs.len() || (nth + tile).is_multiple_of(every) {
                looked_at.push(pair);
            }
        }
    }
    let failed = looked_at.par_iter().map_init(
        || Room::new(input.columns[0].order.len()),
        |room, &pair| {
            let (x, y) = input.pairs[pair];
            let due = room.score(&Ready::of(&input.columns[x as usize]), &Ready::of(&input.columns[y as usize]));
            (due != scores[pair]).then(|| format!("columns {x} and {y}: the score is {}, the CPU finds {due}", scores[pair]))
        },
    );
    failed.find_map_first(|failed| failed).map_or(Ok(()), |message| Err(wrong(message)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

    use super::super::{Kendall, KendallInput, Sorted};
    use super::{COUNT_BYTES, Shape, TILE, TILE_BYTES, scores, take};
    use crate::backend::drill::Drill;
    use crate::backend::{Cpu, Gpu, GpuError, Kernel, PlaceChoice};

    /// Columns without ties, with some, of two values and of one.
    fn columns(n: usize, p: usize) -> Vec<Sorted> {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let cell = |at: usize, word: u64| match at % 5 {
            0 | 1 => word as f64,
            2 => (word % 9) as f64,
            3 => (word % 2) as f64,
            _ if at == 9 => 1.0,
            _ => (word % 200) as f64,
        };
        (0..p).map(|at| Sorted::of(&(0..n).map(|_| cell(at, next())).collect::<Vec<_>>())).collect()
    }

    fn pairs_of(p: u32) -> Vec<(u32, u32)> {
        // Either column may come first.
        (0..p).flat_map(|y| (0..y).map(move |x| if (x + y) % 3 == 0 { (y, x) } else { (x, y) })).collect()
    }

    #[test]
    fn a_device_counts_as_the_cpu_does() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        for (n, p) in [(2, 2), (3, 5), (4, 66), (31, 7), (32, 7), (33, 130), (64, 7), (500, 70), (2_001, 12), (6_000, 3)] {
            let columns = columns(n, p);
            let pairs = pairs_of(u32::try_from(p).unwrap());
            let input = KendallInput { columns: &columns, pairs: &pairs, on_progress: &|| false };
            let due = Kendall.on_cpu(&Cpu::new(), input).unwrap();
            let found = scores(&gpu, input).unwrap().unwrap();
            assert_eq!(found, due, "{n} rows, {p} columns");
            if n > 30 {
                let mut wrong = found;
                wrong[1] += 2;
                assert_ne!(wrong, due);
            }
        }
    }

    #[test]
    fn no_rows_and_no_pairs_score_nothing() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        let columns = columns(1, 3);
        let input = KendallInput { columns: &columns, pairs: &[(0, 1)], on_progress: &|| false };
        assert_eq!(scores(&gpu, input).unwrap(), Some(vec![0]));
        assert_eq!(scores(&gpu, KendallInput { pairs: &[], ..input }).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn unwanted_work_ends() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        let columns = columns(9_000, 3);
        let input = KendallInput { columns: &columns, pairs: &[(0, 1)], on_progress: &|| true };
        assert_eq!(scores(&gpu, input).unwrap(), None);
    }

    #[test]
    fn shapes_stay_within_their_bounds() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        for (n, p, tiles) in [(2, 2, 1), (100, 5_000, 3_160), (100_000, 100, 3), (3_000_000, 2, 1)] {
            let shape = Shape::new(&gpu, n, p, tiles);
            assert!(shape.n_words >= shape.batch_lines * shape.line_words && shape.n_words.is_multiple_of(16), "{shape:?}");
            assert!(shape.n_slices as u64 * tiles as u64 * TILE_BYTES <= COUNT_BYTES, "{shape:?}");
            assert!((shape.n_words / 16).div_ceil(shape.n_slices) * 17 + 16 <= 60_000, "{shape:?}");
        }
    }

    #[test]
    fn wrong_counts_are_refused() {
        let columns = columns(100, 5);
        let input = KendallInput { columns: &columns, pairs: &[(0, 1), (2, 0)], on_progress: &|| false };
        let due = Kendall.on_cpu(&Cpu::new(), input).unwrap();
        let tiles = [((0, 0), vec![0, 1])];
        let counts = |spoil: u32| {
            let mut counts = vec![0_u32; TILE * TILE * 4];
            for (&(x, y), score) in input.pairs.iter().zip(&due) {
                let ties: u64 = columns[x as usize].n_tied + columns[y as usize].n_tied;
                let counted = 4_950 - i64::try_from(ties).unwrap();
                let at = (x.max(y) as usize * TILE + x.min(y) as usize) * 4;
                counts[at] = u32::try_from((counted - score) / 2).unwrap() + spoil;
                counts[at + 2] = u32::try_from(counted).unwrap();
            }
            counts
        };
        let mut scores = vec![0; 2];
        take(input, &tiles, &counts(0), &mut scores).unwrap();
        assert_eq!(scores, due);
        assert!(matches!(take(input, &tiles, &counts(1), &mut scores), Err(GpuError::Wrong { .. })), "one disagreement too many");
        assert!(matches!(take(input, &tiles, &vec![0; TILE * TILE * 4], &mut scores), Err(GpuError::Wrong { .. })), "never written");
    }

    #[test]
    fn faults_change_no_score() {
        let (columns, pairs) = (columns(300, 40), pairs_of(40));
        let input = KendallInput { columns: &columns, pairs: &pairs, on_progress: &|| false };
        let drill = Drill { kernel: Kendall, input, agree: |_, a, b| a == b };
        drill.survives_faults();
        drill.catches_flips();
    }
}
