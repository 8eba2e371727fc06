//! Re-cuts arriving columns into canonical blocks, centring each column while it is still in cache.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use rayon::prelude::*;

use super::block::{Block, BlockColumn, Mask, NO_UNIT, Values};
use super::numeric::append;
use super::{Width, type_words};
use crate::EngineError;
use crate::simd::{Element, reach, sum_and_squares, widest};

thread_local! {
    /// Cells of one column of one block on their way from Arrow to the block.
    static SCRATCH: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// Takes pieces of columns in row order and gives canonical blocks.
///
/// The blocks depend on the rows alone: not on how they were cut into pieces, nor on the threads that brought them.
pub struct BlockBuilder {
    names: Vec<String>,
    width: Width,
    raw: bool,
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
    /// Starts a pass over columns of these names; `raw` keeps cells as they are, 0 where one is missing.
    #[must_use]
    pub fn new(names: Vec<String>, width: Width, raw: bool, rows_per_block: usize) -> Self {
        let values = Values::zeros(width, names.len() * rows_per_block);
        let columns = names.iter().map(|_| Column { staged: Vec::new(), taken: 0, done: BlockColumn::EMPTY }).collect();
        Self { names, width, raw, rows_per_block, index: 0, filled: 0, values, columns, spare: Vec::new() }
    }

    /// Returns the bytes that a builder and the block it gives hold at the most.
    #[must_use]
    pub fn bytes(n_columns: usize, width: Width, rows_per_block: usize) -> u64 {
        (n_columns as u64) * (rows_per_block as u64) * (width.bytes() as u64 * 2 + 8)
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
            let cells = cells(&mut self.values, &mut self.columns, stride, self.raw);
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

    /// Takes a batch whose columns are those of the pass, and gives every block that it completes to `full`.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn push(&mut self, batch: &RecordBatch, mut full: impl FnMut(Block)) -> Result<(), EngineError> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = self.room().min(batch.num_rows() - start);
            let piece = batch.slice(start, rows);
            self.fill(|_, put| {
                piece.columns().par_iter().enumerate().for_each(|(at, array)| put(at, 0, array));
                Ok::<_, EngineError>(rows)
            })?;
            start += rows;
            if let Some(block) = self.take_full() {
                full(block);
            }
        }
        Ok(())
    }

    /// Returns the block under construction if it is full, and starts the next one.
    pub fn take_full(&mut self) -> Option<Block> {
        (self.filled == self.rows_per_block).then(|| self.take())
    }

    /// Returns the last, shorter block, if any row is left.
    #[must_use]
    pub fn finish(mut self) -> Option<Block> {
        if self.filled == 0 {
            return None;
        }
        let n_rows = self.filled;
        cells(&mut self.values, &mut self.columns, self.rows_per_block, self.raw).into_par_iter().for_each(|cell| {
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
        let fresh = self.spare.pop().unwrap_or_else(|| Values::zeros(self.width, self.columns.len() * self.rows_per_block));
        let columns = self.columns.iter_mut().map(|column| {
            column.taken = 0;
            std::mem::replace(&mut column.done, BlockColumn::EMPTY)
        });
        let block = Block {
            index: self.index,
            n_rows: self.filled,
            columns: columns.collect(),
            values: std::mem::replace(&mut self.values, fresh),
            stride: self.rows_per_block,
        };
        self.index += 1;
        self.filled = 0;
        block
    }
}

enum Out<'a> {
    F64(&'a mut [f64]),
    F32(&'a mut [f32]),
}

struct Cell<'a> {
    out: Out<'a>,
    raw: bool,
    column: &'a mut Column,
}

fn cells<'a>(values: &'a mut Values, columns: &'a mut [Column], stride: usize, raw: bool) -> Vec<Mutex<Cell<'a>>> {
    let outs: Vec<Out<'a>> = match values {
        Values::F64(values) => values.chunks_mut(stride).map(Out::F64).collect(),
        Values::F32(values) => values.chunks_mut(stride).map(Out::F32).collect(),
    };
    outs.into_iter().zip(columns).map(|(out, column)| Mutex::new(Cell { out, raw, column })).collect()
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
        blank_infinite(raw);
        self.column.done = match &mut self.out {
            Out::F64(out) => store(raw, out, self.raw),
            Out::F32(out) => store(raw, out, self.raw),
        };
    }
}

/// An infinite cell is missing, as NaN is.
fn blank_infinite(raw: &mut [f64]) {
    widest(
        #[inline(always)]
        || {
            for x in raw {
                *x = if x.abs() < f64::INFINITY { *x } else { f64::NAN };
            }
        },
    );
}

/// Centres cells on their mean, divides by a power of two, and rounds into `out`; with `keep` they stay as they are.
fn store<T: Element>(raw: &[f64], out: &mut [T], keep: bool) -> BlockColumn {
    let Some(&pilot) = raw.iter().find(|x| !x.is_nan()) else {
        out[..raw.len()].fill(T::default());
        return BlockColumn { mask: Some(Mask::new(vec![0; raw.len().div_ceil(64)])), ..BlockColumn::EMPTY };
    };
    let reach = reach(raw, pilot);
    let centre = reach.centre();
    let widest_deviation = (reach.max - centre).max(centre - reach.min);
    let unit = if widest_deviation > 0.0 && widest_deviation.is_finite() { libm::ilogb(widest_deviation) } else { NO_UNIT };
    let mask = (reach.n < raw.len() as u64).then(|| Mask::new(present(raw)));
    let (sum, sum_of_squares) = if keep {
        let sums = write(raw, &mut vec![0.0_f64; raw.len()], centre, unit);
        for (cell, x) in out.iter_mut().zip(raw) {
            *cell = T::from_f64(if x.is_nan() { 0.0 } else { *x });
        }
        sums
    } else {
        write(raw, out, centre, unit)
    };
    let two_valued = two_valued(raw, reach.min, reach.max);
    BlockColumn { n: reach.n, centre, unit, sum, sum_of_squares, min: reach.min, max: reach.max, two_valued, mask }
}

/// Returns whether every present cell is one of two.
#[allow(clippy::float_cmp, reason = "the cells are compared with themselves")]
fn two_valued(raw: &[f64], min: f64, max: f64) -> bool {
    raw.iter().all(|x| x.is_nan() || *x == min || *x == max)
}

/// Returns the bits of the cells that are present.
fn present(raw: &[f64]) -> Vec<u64> {
    raw.chunks(64).map(|chunk| chunk.iter().enumerate().fold(0, |word, (bit, x)| word | u64::from(!x.is_nan()) << bit)).collect()
}

/// Writes the stored cells and returns their sum and sum of squares.
fn write<T: Element>(raw: &[f64], out: &mut [T], centre: f64, unit: i32) -> (f64, f64) {
    // Two factors, because 2^-unit alone leaves the range of f64 for the smallest deviations.
    let half = unit / 2;
    let (scale, rest) = (libm::ldexp(1.0, -half), libm::ldexp(1.0, half - unit));
    let out = &mut out[..raw.len()];
    widest(
        #[inline(always)]
        || {
            for (cell, x) in out.iter_mut().zip(raw) {
                *cell = T::from_f64(if x.is_nan() { 0.0 } else { (x - centre) * scale * rest });
            }
        },
    );
    sum_and_squares(out)
}
