//! A canonical block: the same rows of every column, dense.

use std::ops::Range;

use super::Width;
use crate::simd::{Element, Matrix, widest};

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
/// A stored cell is `(x - centre) / 2^unit`, or x itself in a raw block; `sum` and `sum_of_squares` are of the former.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockColumn {
    /// Present cells.
    pub n: u64,
    /// Mean of the present cells, rounded to f64; 0 where there is none.
    pub centre: f64,
    /// Exponent of the power of two that stored cells are divided by.
    pub unit: i32,
    /// Sum of the stored cells: what the rounding of `centre` left over.
    pub sum: f64,
    /// Sum of the squares of the stored cells.
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

/// Unit of a column whose present cells are all the same: below that of any other.
pub(crate) const NO_UNIT: i32 = -1074;

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

/// The cells of a block.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    F64(Vec<f64>),
    F32(Vec<f32>),
}

impl Values {
    pub(crate) fn zeros(width: Width, cells: usize) -> Self {
        match width {
            Width::F64 => Self::F64(vec![0.0; cells]),
            Width::F32 => Self::F32(vec![0.0; cells]),
        }
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
    pub(crate) values: Values,
    pub(crate) stride: usize,
}

impl Block {
    /// Returns the cells where they are stored as f64.
    pub(crate) fn f64(&self) -> Option<Matrix<'_, f64>> {
        match &self.values {
            Values::F64(values) => Some(self.matrix(values)),
            Values::F32(_) => None,
        }
    }

    /// Returns the cells where they are stored as f32.
    pub(crate) fn f32(&self) -> Option<Matrix<'_, f32>> {
        match &self.values {
            Values::F32(values) => Some(self.matrix(values)),
            Values::F64(_) => None,
        }
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
