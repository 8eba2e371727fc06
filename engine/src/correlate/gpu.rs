//! The Gram primitive on a device: the driver of `shaders/correlate/gram.wgsl`.
//!
//! Columns go up in chunks of rows, each padded with zeros to whole stages; every chunk is added to the products that
//! stay on the device, and one read-back brings them home. Products too large for one binding are computed in panels of
//! columns.
//!
//! Numbers  f32 in runs of 128 rows, runs added up in registers, dispatches in the products:
//!              |error| <= (132 + 2 ceil(n / 128)) 2^-24 sum |left right|
//! Checked  a result is handed out only when every entry asked for is finite and one entry of every tile (1,000 entries at
//!          least) agrees with f64 on the CPU within that bound. A workgroup that did not run, a device that was cut off,
//!          or a stage that was mixed up is seen, because it spoils whole tiles. A fault that hits single entries at
//!          random, a share f of them, goes unseen with probability (1 - f)^m for m entries looked at: one in 23,000 for
//!          f = 0.01 and m = 1,000.
//! Memory   short of it the chunk is halved before the work is given up.

use gristmill_shaders::Variant;
use rayon::prelude::*;

use super::gram::{GramInput, Matrix};
use crate::backend::contract::{Access, Contract, params};
use crate::backend::dispatch::{Dispatch, MAX_TRIPS, Task, Upload};
use crate::backend::selftest::{LOOKS, mix};
use crate::backend::{Gpu, GpuError};
use crate::simd::widest;

/// Rows that are added in one register before it is emptied; chunks are multiples of it.
const RUN_ROWS: usize = 128;
/// Rows are padded to a multiple of this, the longest stage of a variant.
const ROW_PADDING: usize = 32;
/// Rows of the largest chunk.
const MAX_CHUNK_ROWS: usize = 65_536;
/// Bytes that a chunk aims at: enough to hide the start of a copy, little enough for a small card.
const CHUNK_BYTES: usize = 256 << 20;
/// Columns of a panel are a multiple of the widest tile.
const PANEL_COLUMNS: usize = 128;
/// Lanes that an entry is computed in.
const LANES: usize = 8;
/// Wide tiles pay once there are enough of them to keep a large device busy.
const MIN_WIDE_TILES: usize = 120;

params! {
    /// Parameters of `gram`.
    struct GramParams {
        n_left, n_right, left_stride, right_stride, first, n_stages, tiles_left, n_tiles, symmetric, square_left, accumulate, unused_0
    }
}

/// The Rust side of `gram`.
pub(crate) static GRAM: Contract = Contract {
    shader: &gristmill_shaders::GRAM,
    buffers: &[Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [16, 16, 1],
    fields: GramParams::FIELDS,
    params_bytes: size_of::<GramParams>(),
};

/// Returns the bound of an entry's error as a share of the sum of the absolute products behind it.
pub(crate) fn relative_bound(n_rows: usize) -> f64 {
    // Adding is the depth of the sum; 4 stands for rounding the square, the product and the last two additions.
    (132 + 2 * n_rows.div_ceil(RUN_ROWS)) as f64 * f64::from(f32::EPSILON) / 2.0 * 1.01
}

/// Computes the products, entry (i, j) at `j * n_left + i`; below the diagonal of a symmetric input lie zeros.
pub(crate) fn gram(gpu: &Gpu, input: &GramInput<'_>) -> Result<Vec<f32>, GpuError> {
    let variant = suited(gpu, input);
    let products = gram_in_tiles(gpu, input, variant)?;
    check(input, &products, tile_of(variant))?;
    Ok(products)
}

/// Computes the products unchecked.
fn gram_in_tiles(gpu: &Gpu, input: &GramInput<'_>, variant: &'static Variant) -> Result<Vec<f32>, GpuError> {
    let (n_left, n_right) = (input.left.n_columns, input.right.n_columns);
    let mut products = vec![0.0; n_left * n_right];
    if input.left.n_rows == 0 || products.is_empty() {
        return Ok(products);
    }
    let panel = panel_columns(gpu);
    for right in (0..n_right).step_by(panel) {
        for left in (0..n_left).step_by(panel).filter(|left| !input.symmetric || *left <= right) {
            let part = GramInput {
                left: columns_of(&input.left, left, panel),
                right: columns_of(&input.right, right, panel),
                symmetric: input.symmetric && left == right,
                square_left: input.square_left,
            };
            place(&mut products[right * n_left + left..], n_left, &part, variant, &panel_products(gpu, &part, variant)?);
        }
    }
    Ok(products)
}

/// Returns the widest panel whose products fit a binding and a quarter of the memory.
fn panel_columns(gpu: &Gpu) -> usize {
    let cells = gpu.max_binding_bytes().min(gpu.memory_bytes() / 4) / 4;
    let side = cells.isqrt() as usize;
    (side / PANEL_COLUMNS * PANEL_COLUMNS).max(PANEL_COLUMNS)
}

/// Returns up to `n` columns of a matrix from `first` on.
fn columns_of<'a>(matrix: &Matrix<'a>, first: usize, n: usize) -> Matrix<'a> {
    Matrix { values: &matrix.values[first * matrix.stride..], n_columns: n.min(matrix.n_columns - first), ..*matrix }
}

/// Returns the variant for an input: wide tiles do more work a load, small ones fill a device with little work.
fn suited(gpu: &Gpu, input: &GramInput<'_>) -> &'static Variant {
    let [small, wide] = GRAM.shader.variants else { unreachable!("the table lists two tiles") };
    let side = tile_of(wide);
    let tiles = input.left.n_columns.div_ceil(side) * input.right.n_columns.div_ceil(side);
    if gpu.is_software() || tiles < MIN_WIDE_TILES { small } else { wide }
}

fn tile_of(variant: &Variant) -> usize {
    variant.constant("TILE").expect("every variant of gram has a tile") as usize
}

/// Copies the padded products of a panel to where they belong; `to` starts at the panel's first entry.
fn place(to: &mut [f32], to_stride: usize, part: &GramInput<'_>, variant: &Variant, padded: &[u32]) {
    let stride = part.left.n_columns.next_multiple_of(tile_of(variant));
    for j in 0..part.right.n_columns {
        // Tiles below the diagonal were not written: they hold what the memory held before.
        let n = if part.symmetric { part.left.n_columns.min(j + 1) } else { part.left.n_columns };
        for (to, bits) in to[j * to_stride..][..n].iter_mut().zip(&padded[j * stride..]) {
            *to = f32::from_bits(*bits);
        }
    }
}

/// Computes a panel in chunks of rows; short of memory, in smaller ones.
fn panel_products(gpu: &Gpu, input: &GramInput<'_>, variant: &'static Variant) -> Result<Vec<u32>, GpuError> {
    let mut chunk_rows = first_chunk_rows(gpu, input);
    loop {
        match Panel::new(input, variant, chunk_rows).compute(gpu) {
            Err(GpuError::OutOfMemory(_)) if chunk_rows > RUN_ROWS => {
                chunk_rows = (chunk_rows / 2).next_multiple_of(RUN_ROWS).max(RUN_ROWS);
            }
            outcome => return outcome,
        }
    }
}

/// Returns the rows of a chunk that suits the device: a multiple of the run.
fn first_chunk_rows(gpu: &Gpu, input: &GramInput<'_>) -> usize {
    let quarter = usize::try_from(gpu.memory_bytes() / 4).unwrap_or(usize::MAX);
    let binding = usize::try_from(gpu.max_binding_bytes()).unwrap_or(usize::MAX);
    let bytes_a_row = 4 * input.left.n_columns.max(input.right.n_columns);
    let rows = CHUNK_BYTES.min(quarter).min(binding) / bytes_a_row;
    let wanted = input.left.n_rows.next_multiple_of(RUN_ROWS);
    (rows / RUN_ROWS * RUN_ROWS).clamp(RUN_ROWS, MAX_CHUNK_ROWS).min(wanted)
}

/// One panel and how it is cut.
struct Panel<'i, 'a> {
    input: &'i GramInput<'a>,
    variant: &'static Variant,
    chunk_rows: usize,
    /// Both sides are the same memory and go up once.
    is_one_matrix: bool,
    tiles_left: usize,
    tiles_right: usize,
}

impl<'i, 'a> Panel<'i, 'a> {
    fn new(input: &'i GramInput<'a>, variant: &'static Variant, chunk_rows: usize) -> Self {
        let (left, right) = (input.left, input.right);
        let same_shape = left.stride == right.stride && left.n_columns == right.n_columns;
        Self {
            input,
            variant,
            chunk_rows,
            is_one_matrix: same_shape && std::ptr::eq(left.values.as_ptr(), right.values.as_ptr()),
            tiles_left: left.n_columns.div_ceil(tile_of(variant)),
            tiles_right: right.n_columns.div_ceil(tile_of(variant)),
        }
    }

    fn compute(&self, gpu: &Gpu) -> Result<Vec<u32>, GpuError> {
        let (n_rows, tile) = (self.input.left.n_rows, tile_of(self.variant));
        let stride = self.chunk_rows.min(n_rows).next_multiple_of(ROW_PADDING);
        let bytes = |n_columns: usize| (4 * stride * n_columns) as u64;
        let (left_bytes, right_bytes) = (bytes(self.input.left.n_columns), bytes(self.input.right.n_columns));
        let n_products = (self.tiles_left * tile * self.tiles_right * tile) as u64;
        let task = gpu.task(left_bytes + if self.is_one_matrix { 0 } else { right_bytes } + 4 * n_products)?;
        let left = task.buffer(left_bytes)?;
        let right = if self.is_one_matrix { None } else { Some(task.buffer(right_bytes)?) };
        let products = task.buffer(4 * n_products)?;
        for first in (0..n_rows).step_by(self.chunk_rows) {
            let n = self.chunk_rows.min(n_rows - first);
            put_rows(task.upload(&left), &self.input.left, first, n, stride)?;
            if let Some(right) = &right {
                put_rows(task.upload(right), &self.input.right, first, n, stride)?;
            }
            let buffers = [&left, right.as_ref().unwrap_or(&left), &products];
            self.dispatch_chunk(&task, gpu, buffers, stride, n, first > 0)?;
        }
        task.read(&products, n_products)
    }

    /// Adds a chunk to the products, in as many dispatches as the time of one allows.
    fn dispatch_chunk(
        &self,
        task: &Task<'_>,
        gpu: &Gpu,
        buffers: [&crate::backend::dispatch::Buffer; 3],
        stride: usize,
        n_rows: usize,
        accumulate: bool,
    ) -> Result<(), GpuError> {
        let stage = 2048 / tile_of(self.variant);
        let n_tiles = self.tiles_left * self.tiles_right;
        let step = self.dispatch_rows(gpu);
        for first in (0..n_rows).step_by(step) {
            let n_stages = step.min(n_rows - first).div_ceil(stage);
            task.dispatch(&Dispatch {
                contract: &GRAM,
                variant: self.variant,
                params: &GramParams {
                    n_left: self.input.left.n_columns as u32,
                    n_right: self.input.right.n_columns as u32,
                    left_stride: (stride / 4) as u32,
                    right_stride: (stride / 4) as u32,
                    first: (first / 4) as u32,
                    n_stages: n_stages as u32,
                    tiles_left: self.tiles_left as u32,
                    n_tiles: n_tiles as u32,
                    symmetric: u32::from(self.input.symmetric),
                    square_left: u32::from(self.input.square_left),
                    accumulate: u32::from(accumulate || first > 0),
                    unused_0: 0,
                },
                buffers: &buffers,
                n_groups: n_tiles as u64,
                n_trips: n_stages as u64 * (1 + stage as u64 / 4),
            })?;
        }
        Ok(())
    }

    /// Returns the rows of one dispatch: whole runs, short enough in time and in trips.
    fn dispatch_rows(&self, gpu: &Gpu) -> usize {
        let side = tile_of(self.variant) as f64;
        let flops_a_row = 2.0 * (self.tiles_left * self.tiles_right) as f64 * side * side;
        let in_time = (gpu.flops_per_dispatch() / flops_a_row) as usize;
        // One trip a stage and one for each four rows: fewer than one in two rows.
        let in_trips = MAX_TRIPS as usize * 2;
        (in_time.min(in_trips) / RUN_ROWS * RUN_ROWS).max(RUN_ROWS)
    }
}

/// Writes rows `first..first + n` of every column, each padded with zeros to `stride`.
fn put_rows(mut upload: Upload<'_, '_>, matrix: &Matrix<'_>, first: usize, n: usize, stride: usize) -> Result<(), GpuError> {
    for column in 0..matrix.n_columns {
        upload.put(&matrix.values[column * matrix.stride + first..][..n])?;
        upload.put_zeros(stride - n)?;
    }
    upload.finish()
}

/// Fails unless the products are finite where asked for and right where looked at.
fn check(input: &GramInput<'_>, products: &[f32], tile: usize) -> Result<(), GpuError> {
    let n_left = input.left.n_columns;
    let wrong = |message: String| GpuError::Wrong { kernel: GRAM.shader.name, message };
    if let Some(at) = products.iter().position(|product| !product.is_finite()) {
        return Err(wrong(format!("entry ({}, {}) is {}", at % n_left, at / n_left, products[at])));
    }
    let failed = looked_at(input, tile).par_iter().find_map_first(|&(i, j)| {
        let (expected, bound) = entry(input, i, j);
        let found = f64::from(products[j * n_left + i]);
        // Written so that NaN fails.
        let agrees = (found - expected).abs() <= bound;
        (!agrees).then(|| format!("entry ({i}, {j}) is {found:e}, the CPU finds {expected:e}, {bound:.1e} apart are allowed"))
    });
    failed.map_or(Ok(()), |message| Err(wrong(message)))
}

/// Returns the entries to look at: one in every tile, at random but the same for the same shape.
fn looked_at(input: &GramInput<'_>, tile: usize) -> Vec<(usize, usize)> {
    let (n_left, n_right) = (input.left.n_columns, input.right.n_columns);
    if n_left == 0 || n_right == 0 {
        return Vec::new();
    }
    let (rows, columns) = (n_left.div_ceil(tile), n_right.div_ceil(tile));
    let tiles = rows * columns;
    let mut entries = Vec::new();
    for draw in 0..tiles.max(LOOKS.min(n_left * n_right)) {
        let (row, column) = (draw % tiles % rows, draw % tiles / rows);
        let pick = |first: usize, n: usize, salt: u32| {
            let side = tile.min(n - first);
            first + mix(mix(draw as u32).wrapping_add(salt)) as usize % side
        };
        let (i, j) = (pick(row * tile, n_left, 1), pick(column * tile, n_right, 2));
        // Entries below the diagonal are not asked for; their mirror images are.
        entries.push(if input.symmetric { (i.min(j), i.max(j)) } else { (i, j) });
    }
    entries
}

/// Returns an entry in f64 and how far the device may be from it.
fn entry(input: &GramInput<'_>, i: usize, j: usize) -> (f64, f64) {
    let column = |matrix: &Matrix<'_>, at: usize| at * matrix.stride..at * matrix.stride + matrix.n_rows;
    let left = &input.left.values[column(&input.left, i)];
    let right = &input.right.values[column(&input.right, j)];
    let (mut sums, mut sizes, mut largest) = ([0.0; LANES], [0.0; LANES], [0.0_f64; LANES]);
    let mut add = |left: &[f32], right: &[f32]| {
        for (lane, (&l, &r)) in left.iter().zip(right).enumerate() {
            let (l, r) = (f64::from(l), f64::from(r));
            let l = if input.square_left { l * l } else { l };
            sums[lane] += l * r;
            sizes[lane] += (l * r).abs();
            largest[lane] = largest[lane].max(l.abs().max(r.abs()));
        }
    };
    widest(
        #[inline(always)]
        || {
            let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
            left.iter().zip(right).for_each(|(left, right)| add(left, right));
            add(left_rest, right_rest);
        },
    );
    let largest = largest.into_iter().fold(0.0, f64::max);
    // Devices may take numbers below the smallest normal one as 0.
    let flushed = left.len() as f64 * f64::from(f32::MIN_POSITIVE) * (1.0 + largest);
    (sums.iter().sum(), sizes.iter().sum::<f64>() * relative_bound(left.len()) + flushed)
}

#[cfg(test)]
#[path = "gpu_tests.rs"]
mod tests;
