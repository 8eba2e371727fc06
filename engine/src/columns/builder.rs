//! Re-cuts arriving columns into canonical blocks, centring each column while it is still in cache.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use rayon::prelude::*;

use super::block::{Block, BlockColumn, Mask, Values};
use super::numeric::append;
use super::{Stored, Width, type_words};
use crate::EngineError;
use crate::simd::{self, Origin};

thread_local! {
    /// Cells of one column of one block on their way from Arrow to the block.
    static SCRATCH: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// Takes pieces of columns in row order and gives canonical blocks.
///
/// The blocks depend on the rows alone: not on how they were cut into pieces, nor on the threads that brought them.
pub struct BlockBuilder {
    names: Vec<String>,
    stored: Stored,
    rows_per_block: usize,
    index: u64,
    filled: usize,
    values: Values,
    columns: Vec<Column>,
    spare: Vec<Values>,
}

/// One column of the block under construction.
struct Column {
    /// Cells that came, missing ones as NaN, until the block is full.
    staged: Vec<f64>,
    taken: usize,
    done: BlockColumn,
}

/// Hands a column's piece to the builder: column, rows before the piece in this call, cells.
pub type Put<'a> = dyn Fn(usize, usize, &ArrayRef) + Sync + 'a;

impl BlockBuilder {
    /// Starts a pass over columns of these names.
    #[must_use]
    pub fn new(names: Vec<String>, stored: Stored, rows_per_block: usize) -> Self {
        let values = Values::zeros(stored, names.len() * rows_per_block);
        let columns = names.iter().map(|_| Column { staged: Vec::new(), taken: 0, done: BlockColumn::EMPTY }).collect();
        Self { names, stored, rows_per_block, index: 0, filled: 0, values, columns, spare: Vec::new() }
    }

    /// Returns the bytes that a builder and the block it gives hold at the most.
    #[must_use]
    pub fn bytes(n_columns: usize, stored: Stored, rows_per_block: usize) -> u64 {
        (n_columns as u64) * (rows_per_block as u64) * (stored.bytes() as u64 * 2 + 8)
    }

    /// Returns the rows that the block under construction still takes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.rows_per_block - self.filled
    }

    /// Lets `next` decode at most `room` rows into the block; returns the rows that came, 0 at the end.
    ///
    /// `next` may call the sink from several threads at once, but for one column in row order.
    ///
    /// # Errors
    /// Those of `next`; or a column whose type is no number or whose rows are not the ones announced.
    pub fn fill<E: From<EngineError>>(&mut self, next: impl FnOnce(usize, &Put<'_>) -> Result<usize, E>) -> Result<usize, E> {
        let room = self.room();
        let (stride, rows_per_block) = (self.rows_per_block, self.rows_per_block);
        let problem: Mutex<Option<EngineError>> = Mutex::new(None);
        let rows = {
            let cells = cells(&mut self.values, &mut self.columns, stride, self.stored);
            next(room, &|column, _, array| {
                let mut cell = cells[column].lock().unwrap_or_else(PoisonError::into_inner);
                if !cell.take(array, rows_per_block) {
                    let found = type_words(array.data_type());
                    let error = EngineError::ColumnType { column: self.names[column].clone(), found };
                    problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            })?
        };
        if let Some(error) = problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.into());
        }
        self.filled += rows;
        for (column, name) in self.columns.iter().zip(&self.names) {
            if column.taken != self.filled {
                let (found, expected) = (column.taken, self.filled);
                return Err(EngineError::RowCount { column: name.clone(), found, expected }.into());
            }
        }
        Ok(rows)
    }

    /// Takes rows of a batch from `start` on, as many as the block has room for; returns how many.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_from(&mut self, batch: &RecordBatch, start: usize) -> Result<usize, EngineError> {
        let rows = self.room().min(batch.num_rows().saturating_sub(start));
        let piece = batch.slice(start, rows);
        self.fill(|_, put| {
            piece.columns().par_iter().enumerate().for_each(|(at, array)| put(at, 0, array));
            Ok(rows)
        })
    }

    /// Returns the block under construction if it is full, and starts the next one.
    pub fn take_full(&mut self) -> Option<Block> {
        (self.filled == self.rows_per_block).then(|| self.take())
    }

    /// Returns the last, shorter block, if any row is left.
    pub fn finish(&mut self) -> Option<Block> {
        if self.filled == 0 {
            return None;
        }
        let n_rows = self.filled;
        cells(&mut self.values, &mut self.columns, self.rows_per_block, self.stored).into_par_iter().for_each(|cell| {
            let mut cell = cell.into_inner().unwrap_or_else(PoisonError::into_inner);
            let mut staged = std::mem::take(&mut cell.column.staged);
            cell.settle(&mut staged[..n_rows]);
        });
        Some(self.take())
    }

    /// Takes back a block that is no longer needed; its memory holds a later one.
    pub fn recycle(&mut self, block: Block) {
        self.spare.push(block.values);
    }

    fn take(&mut self) -> Block {
        let fresh = self.spare.pop().unwrap_or_else(|| Values::zeros(self.stored, self.columns.len() * self.rows_per_block));
        let columns = self.columns.iter_mut().map(|column| {
            column.taken = 0;
            std::mem::replace(&mut column.done, BlockColumn::EMPTY)
        });
        let block = Block {
            index: self.index,
            n_rows: self.filled,
            columns: columns.collect(),
            stored: self.stored,
            values: std::mem::replace(&mut self.values, fresh),
            stride: self.rows_per_block,
        };
        self.index += 1;
        self.filled = 0;
        block
    }
}

/// Where the cells of one column go.
struct Out<'a> {
    wide: &'a mut [f64],
    narrow: &'a mut [f32],
    stored: Stored,
}

struct Cell<'a> {
    out: Out<'a>,
    column: &'a mut Column,
}

fn cells<'a>(values: &'a mut Values, columns: &'a mut [Column], stride: usize, stored: Stored) -> Vec<Mutex<Cell<'a>>> {
    let mut wide = values.wide.chunks_mut(stride);
    let mut narrow = values.narrow.chunks_mut(stride);
    let cell = |column| {
        let out = Out { wide: wide.next().unwrap_or_default(), narrow: narrow.next().unwrap_or_default(), stored };
        Mutex::new(Cell { out, column })
    };
    columns.iter_mut().map(cell).collect()
}

impl Cell<'_> {
    /// Takes a piece; the column is settled as soon as its last row is there.
    fn take(&mut self, array: &ArrayRef, rows_per_block: usize) -> bool {
        self.column.taken += array.len();
        if self.column.staged.is_empty() && array.len() == rows_per_block {
            return SCRATCH.with_borrow_mut(|scratch| {
                scratch.clear();
                let known = append(array, scratch);
                if known {
                    self.settle(scratch);
                }
                known
            });
        }
        let known = append(array, &mut self.column.staged);
        if known && self.column.staged.len() == rows_per_block {
            let mut staged = std::mem::take(&mut self.column.staged);
            self.settle(&mut staged);
        }
        known
    }

    /// Centres and stores the column's cells.
    fn settle(&mut self, raw: &mut [f64]) {
        self.column.done = self.out.store(raw);
    }
}

impl Out<'_> {
    /// Stores cells, of which those that are not finite are missing, and says what they are.
    fn store(&mut self, raw: &[f64]) -> BlockColumn {
        let Some(reach) = simd::reach(raw) else {
            self.wide.iter_mut().take(raw.len()).for_each(|cell| *cell = 0.0);
            self.narrow.iter_mut().take(raw.len()).for_each(|cell| *cell = 0.0);
            return BlockColumn { mask: Some(Mask::new(vec![0; raw.len().div_ceil(64)])), ..BlockColumn::EMPTY };
        };
        let origin = reach.origin();
        let mask = (reach.n < raw.len() as u64).then(|| Mask::new(simd::present(raw)));
        let (sum, sum_of_squares) = match self.stored {
            Stored::Deviations(Width::F64) => simd::write_deviations(raw, self.wide, origin),
            Stored::Deviations(Width::F32) => write_narrow(raw, self.narrow, origin),
            Stored::Raw => {
                write_raw(raw, self.wide, mask.is_some());
                (0.0, 0.0)
            }
            Stored::NarrowAndRaw => {
                write_raw(raw, self.wide, mask.is_some());
                write_narrow(raw, self.narrow, origin)
            }
        };
        let two_valued = two_valued(raw, reach.min, reach.max);
        let Origin { centre, unit } = origin;
        BlockColumn { n: reach.n, centre, unit, sum, sum_of_squares, min: reach.min, max: reach.max, two_valued, mask }
    }
}

/// Returns whether every present cell is one of two.
#[allow(clippy::float_cmp, reason = "the cells are compared with themselves")]
fn two_valued(raw: &[f64], min: f64, max: f64) -> bool {
    raw.iter().all(|x| *x == min || *x == max || !x.is_finite())
}

/// Writes the cells as they are, 0 where one is missing.
fn write_raw(raw: &[f64], out: &mut [f64], misses: bool) {
    let out = &mut out[..raw.len()];
    out.copy_from_slice(raw);
    if misses {
        for x in out {
            *x = if x.is_finite() { *x } else { 0.0 };
        }
    }
}

/// Writes deviations in f32 and returns sum and sum of squares of what was written.
fn write_narrow(raw: &[f64], out: &mut [f32], origin: Origin) -> (f64, f64) {
    const CELLS: usize = 1024;
    let mut sums = (0.0, 0.0);
    let mut deviations = [0.0; CELLS];
    for (raw, out) in raw.chunks(CELLS).zip(out.chunks_mut(CELLS)) {
        let deviations = &mut deviations[..raw.len()];
        simd::write_deviations(raw, deviations, origin);
        let (sum, squares) = simd::narrow(deviations, out);
        sums = (sums.0 + sum, sums.1 + squares);
    }
    sums
}
