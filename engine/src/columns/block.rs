//! A canonical block: the same rows of every column, dense.

use std::ops::Range;

use super::{Stored, Width};
use crate::simd::{Element, Matrix, NO_UNIT, widest};

/// One bit a row, set where the cell is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
}

impl Mask {
    /// Returns the mask of these words; bits past the last row are 0.
    #[must_use]
    pub(crate) fn new(words: Vec<u64>) -> Self {
        Self { words }
    }

    /// Returns the words, 64 rows each, lowest bit first.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns whether the cell of this row is present.
    #[must_use]
    pub fn holds(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Returns the rows within a range whose bit equals `present`, counted from its start, in order.
    ///
    /// The range starts at a multiple of 64.
    pub(crate) fn rows(&self, present: bool, range: &Range<usize>) -> Vec<u32> {
        let mut rows = Vec::new();
        for (at, &word) in self.words[range.start / 64..range.end.div_ceil(64)].iter().enumerate() {
            let mut bits = if present { word } else { !word };
            while bits != 0 {
                let row = at * 64 + bits.trailing_zeros() as usize;
                if row >= range.len() {
                    return rows;
                }
                rows.push(u32::try_from(row).expect("a block has fewer than 2^32 rows"));
                bits &= bits - 1;
            }
        }
        rows
    }

    /// Returns the number of rows that both masks hold.
    pub(crate) fn both(&self, other: &Self) -> u64 {
        widest(
            #[inline(always)]
            || self.words.iter().zip(&other.words).map(|(a, b)| u64::from((a & b).count_ones())).sum(),
        )
    }
}

/// What is known of one column of a block.
///
/// A deviation is `(x - centre) / 2^unit`; `sum` and `sum_of_squares` are of deviations as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockColumn {
    /// Present cells.
    pub n: u64,
    /// Mean of the present cells, rounded to f64; 0 where there is none.
    pub centre: f64,
    /// Exponent of the power of two that deviations are divided by.
    pub unit: i32,
    /// Sum of the deviations: what the rounding of `centre` left over. 0 where only raw cells are stored.
    pub sum: f64,
    /// Sum of the squares of the deviations. 0 where only raw cells are stored.
    pub sum_of_squares: f64,
    /// Smallest present cell, as it was.
    pub min: f64,
    /// Largest present cell, as it was.
    pub max: f64,
    /// Whether every present cell equals `min` or `max`.
    pub two_valued: bool,
    /// Which cells are present; none where all are.
    pub mask: Option<Mask>,
}

impl BlockColumn {
    pub(crate) const EMPTY: Self = Self {
        n: 0,
        centre: 0.0,
        unit: NO_UNIT,
        sum: 0.0,
        sum_of_squares: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        two_valued: true,
        mask: None,
    };
}

/// The cells of a block; a width that is not stored is empty.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub(crate) wide: Vec<f64>,
    pub(crate) narrow: Vec<f32>,
}

impl Values {
    pub(crate) fn zeros(stored: Stored, cells: usize) -> Self {
        let (wide, narrow) = stored.has();
        Self { wide: vec![0.0; if wide { cells } else { 0 }], narrow: vec![0.0; if narrow { cells } else { 0 }] }
    }
}

/// The same rows of every column of a pass.
#[derive(Debug, Clone)]
pub struct Block {
    /// Position among the blocks of the pass.
    pub index: u64,
    /// Rows; `rows_per_block` but for the last block.
    pub n_rows: usize,
    /// Columns in the order of the pass.
    pub columns: Vec<BlockColumn>,
    pub(crate) stored: Stored,
    pub(crate) values: Values,
    pub(crate) stride: usize,
}

impl Block {
    /// Returns the deviations where they are stored as f64.
    pub(crate) fn f64(&self) -> Option<Matrix<'_, f64>> {
        (self.stored == Stored::Deviations(Width::F64)).then(|| self.matrix(&self.values.wide))
    }

    /// Returns the deviations where they are stored as f32.
    pub(crate) fn f32(&self) -> Option<Matrix<'_, f32>> {
        self.stored.has().1.then(|| self.matrix(&self.values.narrow))
    }

    /// Returns the cells as they are, 0 where one is missing.
    pub(crate) fn raw(&self) -> Option<Matrix<'_, f64>> {
        matches!(self.stored, Stored::Raw | Stored::NarrowAndRaw).then(|| self.matrix(&self.values.wide))
    }

    fn matrix<'a, T: Element>(&self, values: &'a [T]) -> Matrix<'a, T> {
        Matrix { values, n_rows: self.n_rows, stride: self.stride, n_columns: self.columns.len() }
    }

    /// Returns whether any cell of the block is missing.
    #[must_use]
    pub fn has_missing(&self) -> bool {
        self.columns.iter().any(|column| column.mask.is_some())
    }
}
