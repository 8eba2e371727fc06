//! The Gram primitive: products of every column of one matrix with every column of another.
//!
//! ```text
//! gram(i, j) = sum over rows of left(row, i) * right(row, j)
//! ```
//!
//! Shape    column-major matrices of n rows; the result lies in the tiles of a [`Layout`], the upper half only where
//!          both sides are the same matrix.
//! Nulls    missing cells are 0 and add nothing; how many rows stand behind an entry is counted from the masks.
//! Cost     n multiply-adds an entry.
//! Error    f32 sums in two levels on either place (at most (132 + 2 n / 128) 2^-24 relative to the
//!          norms): see the page of `correlate`.

use super::layout::Layout;
use super::{cpu, gpu};
use crate::backend::{Cost, Cpu, Gpu, GpuError, Kernel};
pub use crate::simd::Matrix;

/// Input of the Gram kernel.
#[derive(Debug, Clone, Copy)]
pub struct GramInput<'a> {
    /// Columns that give the first index of the result.
    pub left: Matrix<'a>,
    /// Columns that give the second index of the result.
    pub right: Matrix<'a>,
    /// Both are the same matrix; only entries (i, j) with i <= j are asked for.
    pub symmetric: bool,
    /// Each value of `left` is squared first.
    pub square_left: bool,
}

impl<'a> GramInput<'a> {
    /// Returns the input of a matrix with itself.
    #[must_use]
    pub const fn symmetric(columns: Matrix<'a>) -> Self {
        Self { left: columns, right: columns, symmetric: true, square_left: false }
    }

    /// Returns where the entries of the result lie.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(self.left.n_columns, self.right.n_columns, self.symmetric)
    }
}

/// The kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gram;

impl Kernel for Gram {
    const NAME: &'static str = "gram";
    type Input<'a> = GramInput<'a>;
    type Output = Vec<f32>;

    fn cost(&self, input: GramInput<'_>) -> Cost {
        cost(input.left.n_rows as u64, &input.layout())
    }

    fn on_cpu(&self, _: &Cpu, input: GramInput<'_>) -> Vec<f32> {
        if input.square_left {
            let squares: Vec<f32> = input.left.values.iter().map(|x| x * x).collect();
            return cpu::gram(Matrix { values: &squares, ..input.left }, input.right, &input.layout());
        }
        cpu::gram(input.left, input.right, &input.layout())
    }

    fn on_gpu(&self, gpu: &Gpu, input: GramInput<'_>) -> Result<Vec<f32>, GpuError> {
        let matrix = gpu::gram(gpu, &input)?;
        Ok(input.layout().tiles_of(&matrix))
    }
}

/// Returns the cost of the products of `layout` over `n_rows`.
#[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
pub(crate) fn cost(n_rows: u64, layout: &Layout) -> Cost {
    let columns = if layout.symmetric() { layout.n_left() } else { layout.n_left() + layout.n_right() };
    let flops = 2.0 * n_rows as f64 * layout.n_entries() as f64;
    Cost { flops, cpu_flops: flops, bytes_up: 4 * n_rows * columns as u64, bytes_down: 4 * (layout.n_left() * layout.n_right()) as u64 }
}

/// Returns the products of every column with every other one in f64, on the CPU, in the tiles of their layout.
#[must_use]
pub fn gram_f64(columns: Matrix<'_, f64>) -> Vec<f64> {
    cpu::gram(columns, columns, &Layout::new(columns.n_columns, columns.n_columns, true))
}
