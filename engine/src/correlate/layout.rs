//! Where the entry of a pair of columns lies: in square tiles, the upper half only where both sides are the same.
//!
//! Tiles keep each task's share of a result contiguous, so that threads write without sharing, and halve the memory of
//! a symmetric result.

use crate::simd::PANEL_STEP;

/// Widest tile: its sums and the panels of both sides fit into the second-level cache together.
const WIDEST: usize = 240;

/// The tiles of a result of `n_left` x `n_right` entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    n_left: usize,
    n_right: usize,
    symmetric: bool,
    tile: usize,
}

/// One tile: the columns of either side that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) left: std::ops::Range<usize>,
    pub(crate) right: std::ops::Range<usize>,
    /// Whether it lies on the diagonal of a symmetric result, where only i <= j counts.
    pub(crate) diagonal: bool,
}

impl Layout {
    /// Returns the layout of a result; `symmetric` says that both sides are the same columns.
    #[must_use]
    pub fn new(n_left: usize, n_right: usize, symmetric: bool) -> Self {
        let widest = n_left.max(n_right).max(1);
        // Equal strips, so that 257 columns do not cost three full tiles.
        let tile = widest.div_ceil(widest.div_ceil(WIDEST)).next_multiple_of(PANEL_STEP);
        Self { n_left, n_right, symmetric, tile }
    }

    /// Returns the columns of the first side.
    #[must_use]
    pub const fn n_left(&self) -> usize {
        self.n_left
    }

    /// Returns the columns of the second side.
    #[must_use]
    pub const fn n_right(&self) -> usize {
        self.n_right
    }

    /// Returns whether both sides are the same columns.
    #[must_use]
    pub const fn symmetric(&self) -> bool {
        self.symmetric
    }

    /// Returns the entries that are asked for.
    #[must_use]
    pub const fn n_entries(&self) -> usize {
        if self.symmetric { self.n_left * (self.n_left + 1) / 2 } else { self.n_left * self.n_right }
    }

    /// Returns the cells that all tiles take.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.n_tiles() * self.tile * self.tile
    }

    /// Returns the cells of one tile.
    #[must_use]
    pub const fn tile_cells(&self) -> usize {
        self.tile * self.tile
    }

    /// Returns the cells from one column of a tile to the next.
    #[must_use]
    pub const fn tile_stride(&self) -> usize {
        self.tile
    }

    const fn strips(&self) -> (usize, usize) {
        (self.n_left.div_ceil(self.tile), self.n_right.div_ceil(self.tile))
    }

    pub(crate) const fn n_tiles(&self) -> usize {
        let (left, right) = self.strips();
        if self.symmetric { left * (left + 1) / 2 } else { left * right }
    }

    /// Returns the tile at a position.
    pub(crate) fn tile(&self, at: usize) -> Tile {
        let (strips, _) = self.strips();
        let (row, column) = if self.symmetric {
            let mut column = 0;
            while (column + 1) * (column + 2) / 2 <= at {
                column += 1;
            }
            (at - column * (column + 1) / 2, column)
        } else {
            (at % strips, at / strips)
        };
        let range = |strip: usize, n: usize| strip * self.tile..((strip + 1) * self.tile).min(n);
        Tile { left: range(row, self.n_left), right: range(column, self.n_right), diagonal: self.symmetric && row == column }
    }

    /// Returns where the entry of columns `left` and `right` lies; `left <= right` in a symmetric layout.
    #[must_use]
    pub const fn at(&self, left: usize, right: usize) -> usize {
        let (row, column) = (left / self.tile, right / self.tile);
        let (strips, _) = self.strips();
        let tile = if self.symmetric { column * (column + 1) / 2 + row } else { column * strips + row };
        tile * self.tile * self.tile + (right % self.tile) * self.tile + left % self.tile
    }

    /// Returns a column-major `n_left` x `n_right` matrix in tiles.
    pub(crate) fn tiles_of(self, matrix: &[f32]) -> Vec<f32> {
        let mut cells = vec![0.0; self.cells()];
        for (at, tile_cells) in cells.chunks_mut(self.tile_cells().max(1)).enumerate() {
            let tile = self.tile(at);
            for (column, out) in tile.right.clone().zip(tile_cells.chunks_mut(self.tile)) {
                let start = column * self.n_left;
                out[..tile.left.len()].copy_from_slice(&matrix[start + tile.left.start..start + tile.left.end]);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_cell_of_its_own() {
        for (n_left, n_right, symmetric) in
            [(1, 1, true), (8, 8, true), (255, 255, true), (257, 257, true), (600, 600, true), (300, 17, false), (17, 300, false)]
        {
            let layout = Layout::new(n_left, n_right, symmetric);
            let mut taken = vec![false; layout.cells()];
            for right in 0..n_right {
                for left in 0..if symmetric { right + 1 } else { n_left } {
                    let at = layout.at(left, right);
                    assert!(!std::mem::replace(&mut taken[at], true), "{left}, {right} of {layout:?}");
                    let tile = layout.tile(at / layout.tile_cells());
                    assert!(tile.left.contains(&left) && tile.right.contains(&right));
                }
            }
        }
    }
}
