//! Dense products and fixed-lane sums: the one module besides device opening where `unsafe` is allowed, because the
//! matrix product's interface takes pointers. Every call checks its bounds first.
//!
//! Sums run in `LANES` accumulators whatever the processor, so that the same numbers give the same bytes on each.

#![allow(unsafe_code, reason = "the product crate takes raw pointers; bounds are asserted before each call")]

use std::ops::Range;

use gemm_common::Parallelism;

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

impl<T> Matrix<'_, T> {
    fn assert_holds(&self, columns: &Range<usize>) {
        assert!(columns.end <= self.n_columns && self.n_rows <= self.stride, "columns lie within the matrix");
        assert!(columns.is_empty() || (columns.end - 1) * self.stride + self.n_rows <= self.values.len(), "the cells are there");
    }
}

/// A type that dense products are made of.
pub(crate) trait Element: Copy + Send + Sync + Default + Into<f64> + 'static {
    /// Rounds to the type.
    fn from_f64(value: f64) -> Self;

    /// Writes `left[:, rows]' right[:, columns]` into `out`, column-major with `rows.len()` cells a column, on one thread.
    fn product(out: &mut [Self], left: Matrix<'_, Self>, rows: Range<usize>, right: Matrix<'_, Self>, columns: Range<usize>, out_stride: usize);
}

macro_rules! element {
    ($type:ident, $gemm:path) => {
        impl Element for $type {
            #[allow(clippy::cast_possible_truncation, clippy::cast_lossless, reason = "rounding is what it is for")]
            fn from_f64(value: f64) -> Self {
                value as Self
            }

            fn product(
                out: &mut [Self],
                left: Matrix<'_, Self>,
                rows: Range<usize>,
                right: Matrix<'_, Self>,
                columns: Range<usize>,
                out_stride: usize,
            ) {
                let (m, n) = (rows.len(), columns.len());
                if m == 0 || n == 0 {
                    return;
                }
                left.assert_holds(&rows);
                right.assert_holds(&columns);
                assert_eq!(left.n_rows, right.n_rows, "both sides have the same rows");
                assert!(m <= out_stride && (n - 1) * out_stride + m <= out.len(), "the result fits");
                let stride = |cells: usize| isize::try_from(cells).expect("slices are shorter than isize::MAX");
                // SAFETY: the asserts above keep every address that the product forms inside the three slices; `out` is
                // borrowed mutably and so does not overlap the others.
                unsafe {
                    $gemm()(
                        m,
                        n,
                        left.n_rows,
                        out.as_mut_ptr(),
                        stride(out_stride),
                        1,
                        false,
                        left.values.as_ptr().add(rows.start * left.stride),
                        1,
                        stride(left.stride),
                        right.values.as_ptr().add(columns.start * right.stride),
                        stride(right.stride),
                        1,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        Parallelism::None,
                    );
                }
            }
        }
    };
}

element!(f32, gemm_f32::gemm::f32::get_gemm_fn);
element!(f64, gemm_f64::gemm::f64::get_gemm_fn);

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
