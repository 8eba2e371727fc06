//! Fixed-lane sums, and the types that dense products are made of.
//!
//! Sums run in `LANES` accumulators whatever the processor, so that the same numbers give the same bytes on each.

mod panels;

pub(crate) use panels::{PANEL_STEP, Packed};

/// Accumulators of every fixed-lane sum.
pub(crate) const LANES: usize = 8;

/// A column-major matrix: column `j` lies at `values[j * stride .. j * stride + n_rows]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    /// The cells.
    pub values: &'a [T],
    /// Rows.
    pub n_rows: usize,
    /// Cells from one column's start to the next one's.
    pub stride: usize,
    /// Columns.
    pub n_columns: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Returns the cells of a column.
    pub(crate) fn column(&self, at: usize) -> &'a [T] {
        &self.values[at * self.stride..][..self.n_rows]
    }
}

/// A type that dense products are made of.
pub(crate) trait Element: panels::Multiply + Copy + Send + Sync + Default + Into<f64> + 'static {
    /// Rounds to the type.
    fn from_f64(value: f64) -> Self;
}

impl Element for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Element for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Runs a loop compiled for the widest vectors that the processor has.
#[inline(always)]
pub(crate) fn widest<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Returns the lanes' total, in a fixed order.
#[inline(always)]
pub(crate) fn total(lanes: [f64; LANES]) -> f64 {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// Returns `sum of x[k] * y[k]` in fixed lanes.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    widest(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
            let tail = xs.remainder().iter().zip(ys.remainder());
            for (lane, (a, b)) in lanes.iter_mut().zip(tail) {
                *lane = a * b;
            }
            for (a, b) in xs.zip(ys) {
                for lane in 0..LANES {
                    lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
                }
            }
            total(lanes)
        },
    )
}

/// Returns the sum of `x` in fixed lanes.
pub(crate) fn sum(x: &[f64]) -> f64 {
    widest(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let chunks = x.chunks_exact(LANES);
            for (lane, a) in lanes.iter_mut().zip(chunks.remainder()) {
                *lane = *a;
            }
            for a in chunks {
                for lane in 0..LANES {
                    lanes[lane] += a[lane];
                }
            }
            total(lanes)
        },
    )
}
