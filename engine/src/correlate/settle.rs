//! Settling: chosen pairs again, in f64, from the cells as they are, by one loop of fixed lanes that does not know where
//! the screening ran.
//!
//! Every pair has a frame of its own: the rows where both cells are present may lie far from the columns' means, and a
//! cell outside of them must not cost the pair a digit. Blocks have `ROWS` rows whatever else is read with them, so that
//! a pair's bytes depend on its two columns alone.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::pair::{Frame, PairMoments};
use crate::EngineError;
use crate::analysis::Partial;
use crate::columns::{Block, BlockColumn};
use crate::simd::{NO_UNIT, Origin, dot, dots, reach, write_deviations};

/// Rows of a settling block: fewer would spend more on asking the reader than on decoding.
pub(crate) const ROWS: usize = 16_384;

/// Columns that are settled in one pass: 128 MiB of f64 a block.
pub(crate) const COLUMNS: usize = 1024;

/// Pairs of one task: enough that a run of their columns is used again and again.
const PAIRS_AT_ONCE: usize = 512;

/// One pair: where its deviations start, and their moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SettledPair {
    pub(crate) x: Frame,
    pub(crate) y: Frame,
    pub(crate) moments: PairMoments,
}

/// The pairs of one settling pass, in the order asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pairs: Vec<SettledPair>,
}

/// Memory for the deviations of a block's columns, kept from one block to the next: memory that is given back costs more to
/// take again than the sums that it is for.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<f64>>>);

impl Spare {
    fn take(&self, cells: usize) -> Vec<f64> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        memory.resize(cells, 0.0);
        memory
    }

    fn give(&self, memory: Vec<f64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

impl Settled {
    /// Returns the moments of these pairs over one block with raw cells.
    pub(crate) fn of(block: &Block, pairs: &[(u32, u32)], spare: &Spare) -> Self {
        if pairs.is_empty() {
            return Self { pairs: Vec::new() };
        }
        let raw = block.raw().expect("settling blocks store raw cells");
        let mut wanted = vec![false; block.columns.len()];
        for &(i, j) in pairs {
            wanted[i as usize] = true;
            wanted[j as usize] = true;
        }
        // Whole columns are brought to their frame once, not once a pair.
        let mut memory = spare.take(block.columns.len() * block.n_rows);
        let whole: Vec<Option<Deviations<'_>>> = (memory.par_chunks_mut(block.n_rows.max(1)).enumerate())
            .map(|(at, out)| {
                let column = &block.columns[at];
                (wanted[at] && column.mask.is_none()).then(|| {
                    let origin = Origin { centre: column.centre, unit: column.unit };
                    Deviations::of(raw.column(at), origin, out)
                })
            })
            .collect();
        let cells: Vec<&[f64]> = whole.iter().map(|column| column.as_ref().map_or(&[][..], |column| column.cells)).collect();
        let moments = |pairs: &[(u32, u32)]| -> Vec<SettledPair> {
            let of_pair = |(&(i, j), product): (&(u32, u32), f64)| {
                let (i, j) = (i as usize, j as usize);
                match (&whole[i], &whole[j]) {
                    (Some(x), Some(y)) => x.with(y, product),
                    _ => of_common_rows([&block.columns[i], &block.columns[j]], [raw.column(i), raw.column(j)]),
                }
            };
            pairs.iter().zip(dots(&cells, pairs)).map(of_pair).collect()
        };
        let pairs = pairs.par_chunks(PAIRS_AT_ONCE).flat_map_iter(moments).collect();
        drop(whole);
        spare.give(memory);
        Self { pairs }
    }

    /// Returns the pairs in the order asked for.
    pub(crate) fn into_pairs(self) -> Vec<SettledPair> {
        self.pairs
    }
}

/// Returns the moments of one pair over the rows of a block where both cells are present.
fn of_common_rows(columns: [&BlockColumn; 2], cells: [&[f64]; 2]) -> SettledPair {
    let present = |row: usize| columns.iter().all(|column| column.mask.as_ref().is_none_or(|mask| mask.holds(row)));
    let rows: Vec<usize> = (0..cells[0].len()).filter(|&row| present(row)).collect();
    let [x, y]: [Vec<f64>; 2] = cells.map(|cells| rows.iter().map(|&row| cells[row]).collect());
    let (Some(x_reach), Some(y_reach)) = (reach(&x), reach(&y)) else { return SettledPair::NONE };
    let (mut x_out, mut y_out) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    let (x, y) = (Deviations::of(&x, x_reach.origin(), &mut x_out), Deviations::of(&y, y_reach.origin(), &mut y_out));
    x.with(&y, dot(x.cells, y.cells))
}

impl SettledPair {
    /// No row has both cells.
    const NONE: Self = {
        let frame = Frame { centre: 0.0, unit: NO_UNIT, known: false };
        Self { x: frame, y: frame, moments: PairMoments::NONE }
    };
}

/// Cells as deviations from about their mean, in a power-of-two unit. Equal cells give exactly nothing: they are their own
/// mean.
struct Deviations<'a> {
    frame: Frame,
    cells: &'a [f64],
    sum: f64,
    squares: f64,
}

impl<'a> Deviations<'a> {
    fn of(raw: &[f64], origin: Origin, out: &'a mut [f64]) -> Self {
        let (sum, squares) = write_deviations(raw, out, origin);
        Self { frame: Frame { centre: origin.centre, unit: origin.unit, known: true }, cells: out, sum, squares }
    }

    fn with(&self, y: &Self, product: f64) -> SettledPair {
        let n = self.cells.len() as u64;
        let moments = PairMoments::of_sums(n, [self.sum, y.sum], [self.squares, y.squares], product);
        SettledPair { x: self.frame, y: y.frame, moments }
    }
}

impl Partial for Settled {
    fn merge(mut self, later: Self) -> Self {
        self.pairs.par_iter_mut().zip(&later.pairs).with_min_len(256).for_each(|(pair, later)| {
            let ((x, x_step), (y, y_step)) = (pair.x.merge(later.x), pair.y.merge(later.y));
            pair.moments.merge(&later.moments, x_step, y_step);
            (pair.x, pair.y) = (x, y);
        });
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for pair in &self.pairs {
            for frame in [pair.x, pair.y] {
                out.push(u8::from(frame.known));
                out.extend_from_slice(&frame.unit.to_le_bytes());
                out.extend_from_slice(&frame.centre.to_le_bytes());
            }
            let moments = &pair.moments;
            out.extend_from_slice(&moments.n.to_le_bytes());
            for number in [moments.mean_x, moments.mean_y, moments.m2_x, moments.m2_y, moments.co] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        read(bytes).ok_or_else(|| EngineError::Partial(format!("{} bytes are no settled pairs of version {VERSION}", bytes.len())))
    }
}

const VERSION: u8 = 1;

/// Bytes of a pair: two frames of 13, a count, five numbers.
const PAIR_BYTES: usize = 2 * 13 + 6 * 8;

fn read(bytes: &[u8]) -> Option<Settled> {
    let (&version, rest) = bytes.split_first()?;
    let (pairs, tail) = rest.as_chunks::<PAIR_BYTES>();
    if version != VERSION || !tail.is_empty() {
        return None;
    }
    let pair = |bytes: &[u8; PAIR_BYTES]| {
        let number = |at: usize| Some(f64::from_le_bytes(*bytes[at..].first_chunk()?));
        let frame = |at: usize| {
            let unit = i32::from_le_bytes(*bytes[at + 1..].first_chunk()?);
            Some(Frame { centre: number(at + 5)?, unit, known: bytes[at] == 1 })
        };
        let n = u64::from_le_bytes(*bytes[26..].first_chunk()?);
        let moments = PairMoments { n, mean_x: number(34)?, mean_y: number(42)?, m2_x: number(50)?, m2_y: number(58)?, co: number(66)? };
        Some(SettledPair { x: frame(0)?, y: frame(13)?, moments })
    };
    Some(Settled { pairs: pairs.iter().map(pair).collect::<Option<_>>()? })
}
