//! The Gram primitive on rayon: tiles of packed panels, each summed by one thread in a fixed order, so that no sum
//! depends on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::Layout;
use crate::columns::BlockColumn;
use crate::simd::{Element, Matrix, Packed};

/// Rows that are packed at a time: 1 MiB of 240 columns, which the second-level cache holds.
const PACKED_ROWS: usize = 1024;

/// Returns the products of the columns of `left` with those of `right`, in the tiles of `layout`.
pub(crate) fn gram<T: Element>(left: Matrix<'_, T>, right: Matrix<'_, T>, layout: &Layout) -> Vec<T> {
    gram_beside(left, right, layout, |_, _| ())
}

/// Returns the products of all columns with each other, and their conditional sums from the same panels.
pub(crate) fn gram_and_conditional_sums<T: Element>(
    columns: &[BlockColumn],
    cells: Matrix<'_, T>,
    layout: &Layout,
) -> (Vec<T>, ConditionalSums) {
    let mut conditional = Conditional::new(columns, cells.n_rows);
    let products = gram_beside(cells, cells, layout, |packed, rows| conditional.add(packed, rows));
    (products, conditional.finish())
}

/// As [`gram`]; `beside` is shown the panels of the left side with the rows in them.
fn gram_beside<T: Element>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    layout: &Layout,
    mut beside: impl FnMut(&Packed<T>, &Range<usize>),
) -> Vec<T> {
    let mut cells = vec![T::default(); layout.cells()];
    let most_rows = PACKED_ROWS.min(left.n_rows);
    let mut first = Packed::new(left.n_columns, most_rows);
    let mut second = (!layout.symmetric()).then(|| Packed::new(right.n_columns, most_rows));
    for start in (0..left.n_rows).step_by(PACKED_ROWS) {
        let rows = start..(start + PACKED_ROWS).min(left.n_rows);
        first.pack(left, &rows);
        beside(&first, &rows);
        if let Some(second) = &mut second {
            second.pack(right, &rows);
        }
        let second = second.as_ref().unwrap_or(&first);
        cells.par_chunks_mut(layout.tile_cells().max(1)).enumerate().for_each(|(at, out)| {
            let tile = layout.tile(at);
            T::multiply(out, layout.tile_stride(), &first, tile.left, second, tile.right, tile.diagonal);
        });
    }
    cells
}

/// For each column y with a mask, sum and sum of squares of every column x over the rows where y is present.
pub(crate) type ConditionalSums = Vec<Option<Vec<[f64; 2]>>>;

/// Returns the conditional sums of a block.
pub(crate) fn conditional_sums<T: Element>(columns: &[BlockColumn], cells: Matrix<'_, T>) -> ConditionalSums {
    let mut conditional = Conditional::new(columns, cells.n_rows);
    let mut packed = Packed::new(cells.n_columns, PACKED_ROWS.min(cells.n_rows));
    for start in (0..cells.n_rows).step_by(PACKED_ROWS) {
        let rows = start..(start + PACKED_ROWS).min(cells.n_rows);
        packed.pack(cells, &rows);
        conditional.add(&packed, &rows);
    }
    conditional.finish()
}

/// Conditional sums under way.
///
/// Rows are taken from the packed panels: the cells of one row lie side by side there, so that a missing cell costs a few
/// vector additions, not one for every column.
struct Conditional<'a> {
    columns: &'a [BlockColumn],
    n_rows: usize,
    sums: ConditionalSums,
}

impl<'a> Conditional<'a> {
    fn new(columns: &'a [BlockColumn], n_rows: usize) -> Self {
        let sums = columns.iter().map(|column| column.mask.as_ref().map(|_| vec![[0.0; 2]; columns.len()])).collect();
        Self { columns, n_rows, sums }
    }

    fn add<T: Element>(&mut self, packed: &Packed<T>, rows: &Range<usize>) {
        self.sums.par_iter_mut().zip(self.columns).for_each(|(sums, column)| {
            let (Some(sums), Some(mask)) = (sums, &column.mask) else { return };
            let chosen = mask.rows(few_present(column, self.n_rows), rows);
            let (part, squares) = packed.sums_of_rows(&chosen, self.columns.len());
            for ((sum, part), square) in sums.iter_mut().zip(part).zip(squares) {
                sum[0] += part.into();
                sum[1] += square.into();
            }
        });
    }

    fn finish(mut self) -> ConditionalSums {
        self.sums.par_iter_mut().zip(self.columns).for_each(|(sums, column)| {
            let Some(sums) = sums.as_mut().filter(|_| !few_present(column, self.n_rows)) else { return };
            for (sum, x) in sums.iter_mut().zip(self.columns) {
                *sum = [x.sum - sum[0], (x.sum_of_squares - sum[1]).max(0.0)];
            }
        });
        self.sums
    }
}

/// Returns whether the present rows of a column are fewer than the missing ones: those are then added up directly.
const fn few_present(column: &BlockColumn, n_rows: usize) -> bool {
    column.n * 2 < n_rows as u64
}
