//! The Gram primitive on rayon: tiles of packed panels, each summed by one thread in a fixed order, so that no sum
//! depends on the number of threads.

use rayon::prelude::*;

use super::layout::Layout;
use crate::simd::{Element, Matrix, Packed};

/// Rows that are packed at a time: 1 MiB of 240 columns, which the second-level cache holds.
const PACKED_ROWS: usize = 1024;

/// Returns the products of the columns of `left` with those of `right`, in the tiles of `layout`.
pub(crate) fn gram<T: Element>(left: Matrix<'_, T>, right: Matrix<'_, T>, layout: &Layout) -> Vec<T> {
    let mut cells = vec![T::default(); layout.cells()];
    let most_rows = PACKED_ROWS.min(left.n_rows);
    let mut first = Packed::new(left.n_columns, most_rows);
    let mut second = (!layout.symmetric()).then(|| Packed::new(right.n_columns, most_rows));
    for start in (0..left.n_rows).step_by(PACKED_ROWS) {
        let rows = start..(start + PACKED_ROWS).min(left.n_rows);
        first.pack(left, &rows);
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
