//! Columns packed for products: panels of a few vectors, rows outermost, so that one load feeds many multiply-adds.
//!
//! ```text
//! panel of W columns:   row 0: c0 c1 ... c(W-1) | row 1: c0 c1 ... | ...      W = 3 vectors
//! one step:             3 vectors of the left panel x N cells of the right panel -> 3 N vectors of sums in registers
//! ```
//!
//! A general product packs both sides of every tile anew and fills the whole square; here a block is packed once, both
//! sides read the same panels, and what lies below the diagonal is skipped vector by vector. Against a well-kept GEMM
//! called tile by tile, in CPU time of one thread: 1.5 times as fast at 200 columns, as fast at 2,048.
//!
//! Sums run over `$depth` rows in registers before they are added to the result: two levels, which keeps the error of f32
//! sums at (depth + n / depth) 2^-24. A left panel of so many rows stays in the first-level cache (48 KiB at most).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Matrix, widest};

/// Vectors of a panel. Three by eight cells of the other side fill the 32 registers of AVX-512, three by four the 16 of
/// AVX2.
const VECTORS: usize = 3;

/// Rows that are packed before the next column is taken up.
const PACKED_AT_ONCE: usize = 16;

/// Every tile starts at a multiple of this: the panel widths of all processors divide it.
pub(crate) const PANEL_STEP: usize = 48;

/// Columns in panels, zeros past the last one.
#[derive(Debug)]
pub(crate) struct Packed<T: Multiply> {
    cells: Vec<T>,
    /// Cells before the first panel, so that it starts at a cache line: a vector that straddles two costs two loads.
    skipped: usize,
    most_rows: usize,
    n_rows: usize,
}

/// Memory of panels and columns that are no longer needed. Memory that goes back to the system between two blocks costs more to take
/// again than packing does.
#[derive(Debug)]
pub(crate) struct Idle<T>(Mutex<Vec<Vec<T>>>);

/// Panels kept idle: two for each thread of a large machine would be more than it ever uses again.
const MOST_IDLE: usize = 16;

impl<T> Idle<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub(crate) fn take(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, memory: Vec<T>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(memory);
        }
    }
}

/// A type with vectors.
pub(crate) trait Multiply: Sized + 'static {
    /// Returns the idle memory of panels of this type.
    fn idle() -> &'static Idle<Self>;

    /// Returns the columns of a panel on this processor.
    fn panel_width() -> usize;

    /// Adds to `sums` and `squares` (one cell a column of the panel) the cells of some of a panel's rows.
    fn add_rows(panel: &[Self], rows: &[u32], sums: &mut [Self], squares: &mut [Self]);

    /// Adds to `out` (column-major, `stride` cells a column) the products of the left panels from column `rows.start` on
    /// with the right panels from `columns.start` on; where `diagonal`, what lies below it may be left out.
    fn multiply(
        out: &mut [Self],
        stride: usize,
        left: &Packed<Self>,
        rows: Range<usize>,
        right: &Packed<Self>,
        columns: Range<usize>,
        diagonal: bool,
    );
}

impl<T: Multiply> Drop for Packed<T> {
    fn drop(&mut self) {
        T::idle().give(std::mem::take(&mut self.cells));
    }
}

impl<T: Multiply + Copy + Default + Send + Sync> Packed<T> {
    /// Makes room for at most `most_rows` rows of `n_columns` columns.
    pub(crate) fn new(n_columns: usize, most_rows: usize) -> Self {
        const LINE: usize = 64;
        let mut cells = T::idle().take();
        cells.resize(n_columns.next_multiple_of(PANEL_STEP) * most_rows + LINE / size_of::<T>(), T::default());
        let skipped = cells.as_ptr().align_offset(LINE).min(LINE / size_of::<T>());
        Self { cells, skipped, most_rows, n_rows: 0 }
    }

    /// Packs some rows of all columns of a matrix, on all threads.
    pub(crate) fn pack(&mut self, matrix: Matrix<'_, T>, rows: &Range<usize>) {
        let width = T::panel_width();
        self.n_rows = rows.len();
        let panels = self.cells[self.skipped..].par_chunks_mut((width * self.most_rows).max(1)).enumerate();
        panels.take(matrix.n_columns.div_ceil(width)).for_each(|(at, panel)| {
            let columns = at * width..((at + 1) * width).min(matrix.n_columns);
            if columns.len() < width {
                panel[..width * rows.len()].fill(T::default());
            }
            widest(
                #[inline(always)]
                || match width {
                    _ if width.is_multiple_of(8) => interleave::<T, 8>(panel, width, matrix, columns, rows),
                    _ => interleave::<T, 2>(panel, width, matrix, columns, rows),
                },
            );
        });
    }
}

/// Writes columns side by side into a panel, G of them at a time.
#[inline(always)]
fn interleave<T: Copy + Default, const G: usize>(
    panel: &mut [T],
    width: usize,
    matrix: Matrix<'_, T>,
    columns: Range<usize>,
    rows: &Range<usize>,
) {
    let whole = columns.len() / G * G;
    for lane in (0..whole).step_by(G) {
        let from: [&[T]; G] = std::array::from_fn(|g| &matrix.column(columns.start + lane + g)[rows.clone()]);
        let mut blocks = from.map(|column| column.chunks_exact(PACKED_AT_ONCE));
        let tails = blocks.clone().map(|blocks| blocks.remainder());
        let mut lines = panel.chunks_exact_mut(width);
        for _ in 0..rows.len() / PACKED_AT_ONCE {
            let block: [&[T; PACKED_AT_ONCE]; G] = std::array::from_fn(|g| {
                let rows = blocks[g].next().and_then(|rows| rows.first_chunk());
                rows.expect("a column has as many whole blocks of rows as any other")
            });
            for (row, line) in lines.by_ref().take(PACKED_AT_ONCE).enumerate() {
                let line = &mut line[lane..lane + G];
                for g in 0..G {
                    line[g] = block[g][row];
                }
            }
        }
        for (row, line) in lines.take(tails[0].len()).enumerate() {
            for g in 0..G {
                line[lane + g] = tails[g][row];
            }
        }
    }
    for lane in whole..columns.len() {
        let column = &matrix.column(columns.start + lane)[rows.clone()];
        for (line, x) in panel.chunks_exact_mut(width).zip(column) {
            line[lane] = *x;
        }
    }
}

impl<T: Multiply + Copy + Default> Packed<T> {
    /// Returns, for every column, sum and sum of squares of its cells in some of the packed rows.
    pub(crate) fn sums_of_rows(&self, rows: &[u32], n_columns: usize) -> (Vec<T>, Vec<T>) {
        let width = T::panel_width();
        let mut sums = vec![T::default(); n_columns.next_multiple_of(width)];
        let mut squares = sums.clone();
        for ((at, sums), squares) in sums.chunks_mut(width).enumerate().zip(squares.chunks_mut(width)) {
            T::add_rows(self.panel(at * width, width, &(0..self.n_rows)), rows, sums, squares);
        }
        (sums, squares)
    }
}

impl<T: Multiply> Packed<T> {
    /// Returns some rows of the panel that starts at a column.
    fn panel(&self, column: usize, width: usize, rows: &Range<usize>) -> &[T] {
        &self.cells[self.skipped + column * self.most_rows..][rows.start * width..rows.end * width]
    }
}

#[cfg(test)]
thread_local! {
    /// The processor that a test asks for in place of the one that it runs on.
    static ASKED: std::cell::Cell<Option<Arch>> = const { std::cell::Cell::new(None) };
}

/// Returns the vectors that this processor has.
fn arch() -> Arch {
    #[cfg(test)]
    if let Some(asked) = ASKED.get() {
        return asked;
    }
    Arch::new()
}

macro_rules! multiply {
    ($type:ident, $depth:literal, $simd:ident, $lanes:ident, $zero:ident, $add:ident, $mul_add:ident, $vectors:ident, $vectors_mut:ident) => {
        impl Multiply for $type {
            fn idle() -> &'static Idle<Self> {
                static IDLE: Idle<$type> = Idle::new();
                &IDLE
            }

            fn panel_width() -> usize {
                struct Width;
                impl WithSimd for Width {
                    type Output = usize;
                    #[inline(always)]
                    fn with_simd<S: Simd>(self, _: S) -> usize {
                        VECTORS * S::$lanes
                    }
                }
                arch().dispatch(Width)
            }

            fn add_rows(panel: &[Self], rows: &[u32], sums: &mut [Self], squares: &mut [Self]) {
                struct Task<'a> {
                    panel: &'a [$type],
                    rows: &'a [u32],
                    sums: &'a mut [$type],
                    squares: &'a mut [$type],
                }
                impl WithSimd for Task<'_> {
                    type Output = ();
                    #[inline(always)]
                    fn with_simd<S: Simd>(self, simd: S) {
                        let (cells, _) = S::$vectors(self.panel);
                        let (sums, _) = S::$vectors_mut(self.sums);
                        let (squares, _) = S::$vectors_mut(self.squares);
                        let mut sum: [S::$simd; VECTORS] = std::array::from_fn(|v| sums[v]);
                        let mut square: [S::$simd; VECTORS] = std::array::from_fn(|v| squares[v]);
                        for &row in self.rows {
                            let line = &cells[row as usize * VECTORS..][..VECTORS];
                            for v in 0..VECTORS {
                                sum[v] = simd.$add(sum[v], line[v]);
                                square[v] = simd.$mul_add(line[v], line[v], square[v]);
                            }
                        }
                        sums[..VECTORS].copy_from_slice(&sum);
                        squares[..VECTORS].copy_from_slice(&square);
                    }
                }
                arch().dispatch(Task { panel, rows, sums, squares });
            }

            fn multiply(
                out: &mut [Self],
                stride: usize,
                left: &Packed<Self>,
                rows: Range<usize>,
                right: &Packed<Self>,
                columns: Range<usize>,
                diagonal: bool,
            ) {
                struct Task<'a> {
                    out: &'a mut [$type],
                    stride: usize,
                    left: &'a Packed<$type>,
                    rows: Range<usize>,
                    right: &'a Packed<$type>,
                    columns: Range<usize>,
                    diagonal: bool,
                }
                impl WithSimd for Task<'_> {
                    type Output = ();
                    #[inline(always)]
                    fn with_simd<S: Simd>(self, simd: S) {
                        // As many cells as registers allow, and a divisor of the panel: AVX-512, AVX2, Neon, no vectors.
                        match size_of::<S::f32s>() {
                            64 => tile::<S, 8>(simd, self),
                            32 => tile::<S, 4>(simd, self),
                            16 => tile::<S, 6>(simd, self),
                            _ => tile::<S, 3>(simd, self),
                        }
                    }
                }

                /// All products of one tile: some rows at a time, so that the panels stay in cache.
                #[inline(always)]
                fn tile<S: Simd, const N: usize>(simd: S, task: Task<'_>) {
                    let width = VECTORS * S::$lanes;
                    assert!(width.is_multiple_of(N), "a step of {N} cells would leave its panel of {width}");
                    let n_rows = task.left.n_rows;
                    for start in (0..n_rows).step_by($depth) {
                        let depth = start..(start + $depth).min(n_rows);
                        for row in task.rows.clone().step_by(width) {
                            let left = task.left.panel(row, width, &depth);
                            for column in task.columns.clone().step_by(N) {
                                let panel = column / width * width;
                                let right = task.right.panel(panel, width, &depth);
                                let at = (column - task.columns.start) * task.stride + row - task.rows.start;
                                let out = &mut task.out[at..];
                                // Vectors of which some row is at or above the last of these columns, and within the tile.
                                let end = if task.diagonal { task.rows.end.min(column + N) } else { task.rows.end };
                                match end.saturating_sub(row).div_ceil(S::$lanes) {
                                    0 => {}
                                    1 => step::<S, 1, N>(simd, out, task.stride, left, right, column - panel),
                                    2 => step::<S, 2, N>(simd, out, task.stride, left, right, column - panel),
                                    _ => step::<S, VECTORS, N>(simd, out, task.stride, left, right, column - panel),
                                }
                            }
                        }
                    }
                }

                /// V vectors of the left panel times N cells of the right one, summed in registers.
                #[inline(always)]
                fn step<S: Simd, const V: usize, const N: usize>(
                    simd: S,
                    out: &mut [$type],
                    stride: usize,
                    left: &[$type],
                    right: &[$type],
                    offset: usize,
                ) {
                    let width = VECTORS * S::$lanes;
                    let mut sums = [[simd.$zero(0.0); V]; N];
                    let (left, _) = S::$vectors(left);
                    for (a, b) in left.chunks_exact(VECTORS).zip(right.chunks_exact(width)) {
                        let b = &b[offset..offset + N];
                        for n in 0..N {
                            let cell = simd.$zero(b[n]);
                            for v in 0..V {
                                sums[n][v] = simd.$mul_add(a[v], cell, sums[n][v]);
                            }
                        }
                    }
                    for n in 0..N {
                        let (cells, _) = S::$vectors_mut(&mut out[n * stride..n * stride + V * S::$lanes]);
                        for v in 0..V {
                            cells[v] = simd.$add(cells[v], sums[n][v]);
                        }
                    }
                }

                arch().dispatch(Task { out, stride, left, rows, right, columns, diagonal });
            }
        }
    };
}

multiply!(f32, 128, f32s, F32_LANES, splat_f32s, add_f32s, mul_add_f32s, as_simd_f32s, as_mut_simd_f32s);
multiply!(f64, 256, f64s, F64_LANES, splat_f64s, add_f64s, mul_add_f64s, as_simd_f64s, as_mut_simd_f64s);

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of a few columns with one another, on the processor asked for.
    fn products<T: Multiply + Copy + Default + Send + Sync>(asked: Arch, cells: &[T], n_rows: usize, n_columns: usize) -> Vec<T> {
        // A pool of one thread: what is asked for holds for a thread.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
        pool.install(|| {
            ASKED.set(Some(asked));
            let stride = n_columns.next_multiple_of(PANEL_STEP);
            let mut out = vec![T::default(); stride * stride];
            let mut packed = Packed::new(n_columns, n_rows);
            packed.pack(Matrix { values: cells, n_rows, stride: n_rows, n_columns }, &(0..n_rows));
            T::multiply(&mut out, stride, &packed, 0..n_columns, &packed, 0..n_columns, true);
            out
        })
    }

    #[test]
    fn every_processor_gives_the_same_whole_numbers() {
        let mut processors = vec![Arch::new(), Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        processors.extend(pulp::x86::V3::try_new().map(Arch::V3));
        for n_columns in [1, 7, 47, 48, 49, 100] {
            let n_rows = 37;
            // Whole numbers small enough for f32 to add without rounding.
            let cells: Vec<i16> = (0..n_rows * n_columns).map(|at| (at * 7 % 23) as i16 - 11).collect();
            let column = |at: usize| &cells[at * n_rows..][..n_rows];
            let stride = n_columns.next_multiple_of(PANEL_STEP);
            for asked in &processors {
                let narrow = products(*asked, &cells.iter().map(|x| f32::from(*x)).collect::<Vec<_>>(), n_rows, n_columns);
                let wide = products(*asked, &cells.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), n_rows, n_columns);
                for j in 0..n_columns {
                    for i in 0..=j {
                        let due: i32 = column(i).iter().zip(column(j)).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
                        let found = [f64::from(narrow[j * stride + i]), wide[j * stride + i]];
                        assert!(found.iter().all(|x| (x - f64::from(due)).abs() < 0.5), "{i}, {j} of {n_columns}: {found:?}, due {due}");
                    }
                }
            }
        }
    }
}
