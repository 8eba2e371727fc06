//! Settling: chosen pairs again, in f64, by one loop of fixed lanes that does not know where the screening ran.
//!
//! Blocks have `ROWS` rows whatever else is read with them, so that a pair's bytes depend on its two columns alone.

use rayon::prelude::*;

use super::pair::{Frame, PairMoments, Step};
use crate::EngineError;
use crate::analysis::Partial;
use crate::columns::Block;
use crate::simd::{dot, sum};

/// Rows of a settling block: a column of 32 KiB stays in the first-level cache while its pairs are summed.
pub(crate) const ROWS: usize = 4096;

/// Columns that are settled in one pass: 128 MiB of f64 a block.
pub(crate) const COLUMNS: usize = 4096;

/// Pairs of one settling pass, by position among the columns of the pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    frames: Vec<Frame>,
    pairs: Vec<(u32, u32, PairMoments)>,
}

impl Settled {
    /// Returns the moments of these pairs over one block.
    pub(crate) fn of(block: &Block, pairs: &[(u32, u32)]) -> Self {
        let frames = block.columns.iter().map(|column| Frame { centre: column.centre, unit: column.unit, known: column.n > 0 });
        let cells = block.f64().expect("settling blocks store f64");
        let column = |at: u32| &cells.values[at as usize * cells.stride..][..cells.n_rows];
        let moments = |&(i, j): &(u32, u32)| {
            let (x, y) = (&block.columns[i as usize], &block.columns[j as usize]);
            let pair = match (&x.mask, &y.mask) {
                (None, None) => PairMoments::of_sums(x.n, [x.sum, y.sum], [x.sum_of_squares, y.sum_of_squares], dot(column(i), column(j))),
                (a, b) => {
                    let present = |row: usize| a.as_ref().is_none_or(|m| m.holds(row)) && b.as_ref().is_none_or(|m| m.holds(row));
                    let both = (column(i).iter().zip(column(j)).enumerate()).filter(|(row, _)| present(*row)).map(|(_, (x, y))| (*x, *y));
                    let (x, y): (Vec<f64>, Vec<f64>) = both.unzip();
                    two_pass(x, y)
                }
            };
            (i, j, pair)
        };
        Self { frames: frames.collect(), pairs: pairs.par_iter().with_min_len(8).map(moments).collect() }
    }

    /// Returns each pair with its moments, in the order given.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = PairMoments> {
        self.pairs.into_iter().map(|(_, _, moments)| moments)
    }
}

/// Means first, then products of deviations: equal cells give exactly nothing.
#[allow(clippy::cast_precision_loss, reason = "a block has fewer than 2^52 rows")]
fn two_pass(mut x: Vec<f64>, mut y: Vec<f64>) -> PairMoments {
    if x.is_empty() {
        return PairMoments::default();
    }
    let n = x.len() as f64;
    let (mean_x, mean_y) = (sum(&x) / n, sum(&y) / n);
    for (x, y) in x.iter_mut().zip(&mut y) {
        *x -= mean_x;
        *y -= mean_y;
    }
    PairMoments { n: x.len() as u64, mean_x, mean_y, m2_x: dot(&x, &x), m2_y: dot(&y, &y), co: dot(&x, &y) }
}

impl Partial for Settled {
    fn merge(mut self, later: Self) -> Self {
        let merged: Vec<(Frame, Step)> = self.frames.iter().zip(&later.frames).map(|(a, b)| a.merge(*b)).collect();
        self.pairs.par_iter_mut().zip(&later.pairs).with_min_len(256).for_each(|((i, j, pair), (_, _, later))| {
            pair.merge(later, merged[*i as usize].1, merged[*j as usize].1);
        });
        self.frames = merged.into_iter().map(|(frame, _)| frame).collect();
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&(self.frames.len() as u64).to_le_bytes());
        for frame in &self.frames {
            out.push(u8::from(frame.known));
            out.extend_from_slice(&frame.unit.to_le_bytes());
            out.extend_from_slice(&frame.centre.to_le_bytes());
        }
        for (i, j, pair) in &self.pairs {
            out.extend_from_slice(&i.to_le_bytes());
            out.extend_from_slice(&j.to_le_bytes());
            out.extend_from_slice(&pair.n.to_le_bytes());
            for number in [pair.mean_x, pair.mean_y, pair.m2_x, pair.m2_y, pair.co] {
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

fn read(bytes: &[u8]) -> Option<Settled> {
    let (&version, rest) = bytes.split_first()?;
    let (n, mut rest) = rest.split_first_chunk::<8>()?;
    let n = usize::try_from(u64::from_le_bytes(*n)).ok()?;
    if version != VERSION || n > rest.len() / 13 {
        return None;
    }
    let mut frames = Vec::with_capacity(n);
    for _ in 0..n {
        let (frame, tail) = rest.split_first_chunk::<13>()?;
        let unit = i32::from_le_bytes(*frame[1..].first_chunk()?);
        let centre = f64::from_le_bytes(*frame[5..].first_chunk()?);
        frames.push(Frame { centre, unit, known: frame[0] == 1 });
        rest = tail;
    }
    let mut pairs = Vec::with_capacity(rest.len() / 56);
    while !rest.is_empty() {
        let (pair, tail) = rest.split_first_chunk::<56>()?;
        let index = |at: usize| Some(u32::from_le_bytes(*pair[at..].first_chunk()?));
        let number = |at: usize| Some(f64::from_le_bytes(*pair[at..].first_chunk()?));
        let (i, j) = (index(0)?, index(4)?);
        if i as usize >= n || j as usize >= n {
            return None;
        }
        let moments = PairMoments {
            n: u64::from_le_bytes(*pair[8..].first_chunk()?),
            mean_x: number(16)?,
            mean_y: number(24)?,
            m2_x: number(32)?,
            m2_y: number(40)?,
            co: number(48)?,
        };
        pairs.push((i, j, moments));
        rest = tail;
    }
    Some(Settled { frames, pairs })
}
