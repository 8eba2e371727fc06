//! The Gram primitive on rayon: one single-threaded product a tile, so that no sum depends on the number of threads.

use rayon::prelude::*;

use super::layout::{Layout, Tile};
use crate::simd::{Element, Matrix};

/// Width of the pieces that a tile on the diagonal is cut into, so that little of its lower half is computed.
const PIECE: usize = 64;

/// Returns the products of the columns of `left` with those of `right`, in the tiles of `layout`.
pub(crate) fn gram<T: Element>(left: Matrix<'_, T>, right: Matrix<'_, T>, layout: &Layout) -> Vec<T> {
    let mut cells = vec![T::default(); layout.cells()];
    // The costly tiles come last in a symmetric layout's order of columns; rayon steals whatever is left.
    cells.par_chunks_mut(layout.tile_cells().max(1)).enumerate().for_each(|(at, out)| tile(out, left, right, &layout.tile(at), layout));
    cells
}

/// Computes one tile.
pub(crate) fn tile<T: Element>(out: &mut [T], left: Matrix<'_, T>, right: Matrix<'_, T>, tile: &Tile, layout: &Layout) {
    let stride = layout.tile_stride();
    if !tile.diagonal {
        T::product(out, left, tile.left.clone(), right, tile.right.clone(), stride);
        return;
    }
    let end = tile.right.end;
    for start in tile.right.clone().step_by(PIECE) {
        let columns = start..(start + PIECE).min(end);
        let rows = tile.left.start..columns.end;
        let offset = (start - tile.right.start) * stride;
        T::product(&mut out[offset..], left, rows, right, columns, stride);
    }
}
