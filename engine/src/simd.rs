//! Fixed-lane sums, and the types that dense products are made of.
//!
//! Sums run in `LANES` accumulators whatever the processor, so that the same numbers give the same bytes on each.

pub(crate) mod bits;
mod cells;
mod panels;

pub(crate) use cells::{NO_UNIT, Origin, PIECE, dot, dots, extremes, narrow, present, reach, write_deviations};
pub(crate) use panels::{Multiply, PANEL_STEP, Packed};

/// Accumulators of every fixed-lane sum.
pub(crate) const LANES: usize = 8;

/// Lanes of one sum.
type Lanes = [f64; LANES];

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
    /// Returns `n_rows` rows from `start` on.
    pub(crate) fn rows(self, start: usize, n_rows: usize) -> Self {
        Self { values: &self.values[start.min(self.values.len())..], n_rows, ..self }
    }

    /// Returns the cells of a column.
    pub(crate) fn column(&self, at: usize) -> &'a [T] {
        &self.values[at * self.stride..][..self.n_rows]
    }
}

/// A type that dense products are made of.
pub(crate) trait Element: Multiply + Copy + Send + Sync + Default + Into<f64> + 'static {}

impl Element for f32 {}

impl Element for f64 {}

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
