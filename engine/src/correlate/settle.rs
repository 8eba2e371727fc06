//! Settling: chosen pairs again, in f64, from the cells as they are, by one loop of fixed lanes that does not know where
//! the screening ran.
//!
//! Every pair has a frame of its own: the rows where both cells are present may lie far from the columns' means, and a
//! cell outside of them must not cost the pair a digit. Blocks have `ROWS` rows whatever else is read with them, so that
//! a pair's bytes depend on its two columns alone.

use rayon::prelude::*;

use super::pair::{Frame, PairMoments};
use crate::EngineError;
use crate::analysis::Partial;
use crate::columns::{Block, BlockColumn, NO_UNIT};
use crate::simd::{dot, reach, sum_and_squares};

/// Rows of a settling block: fewer would spend more on asking the reader than on decoding.
pub(crate) const ROWS: usize = 16_384;

/// Columns that are settled in one pass: 128 MiB of f64 a block.
pub(crate) const COLUMNS: usize = 1024;

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

impl Settled {
    /// Returns the moments of these pairs over one raw block.
    pub(crate) fn of(block: &Block, pairs: &[(u32, u32)]) -> Self {
        let cells = block.f64().expect("settling blocks store f64");
        // Whole columns are brought to their frame once, not once a pair.
        let whole: Vec<Option<Deviations>> = (0..block.columns.len())
            .into_par_iter()
            .map(|at| block.columns[at].mask.is_none().then(|| Deviations::of(cells.column(at).to_vec())))
            .collect();
        let moments = |&(i, j): &(u32, u32)| {
            let (i, j) = (i as usize, j as usize);
            match (&whole[i], &whole[j]) {
                (Some(x), Some(y)) => x.with(y),
                _ => of_common_rows([&block.columns[i], &block.columns[j]], [cells.column(i), cells.column(j)]),
            }
        };
        Self { pairs: pairs.par_iter().with_min_len(8).map(moments).collect() }
    }

    /// Returns the pairs in the order asked for.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = SettledPair> {
        self.pairs.into_iter()
    }
}

/// Returns the moments of one pair over the rows of a block where both cells are present.
fn of_common_rows(columns: [&BlockColumn; 2], cells: [&[f64]; 2]) -> SettledPair {
    let present = |row: usize| columns.iter().all(|column| column.mask.as_ref().is_none_or(|mask| mask.holds(row)));
    let rows: Vec<usize> = (0..cells[0].len()).filter(|&row| present(row)).collect();
    let [x, y] = cells.map(|cells| Deviations::of(rows.iter().map(|&row| cells[row]).collect()));
    x.with(&y)
}

/// Cells as deviations from about their mean, in a power-of-two unit.
struct Deviations {
    frame: Frame,
    cells: Vec<f64>,
    sum: f64,
    squares: f64,
}

impl Deviations {
    /// Equal cells give exactly nothing: they are their own mean.
    fn of(mut cells: Vec<f64>) -> Self {
        let Some(&pilot) = cells.first() else {
            return Self { frame: Frame { centre: 0.0, unit: NO_UNIT, known: false }, cells, sum: 0.0, squares: 0.0 };
        };
        let reach = reach(&cells, pilot);
        let centre = reach.centre();
        let widest = (reach.max - centre).max(centre - reach.min);
        let unit = if widest > 0.0 && widest.is_finite() { libm::ilogb(widest) } else { NO_UNIT };
        let half = unit / 2;
        let (scale, rest) = (libm::ldexp(1.0, -half), libm::ldexp(1.0, half - unit));
        for x in &mut cells {
            *x = (*x - centre) * scale * rest;
        }
        let (sum, squares) = sum_and_squares(&cells);
        Self { frame: Frame { centre, unit, known: true }, cells, sum, squares }
    }

    fn with(&self, y: &Self) -> SettledPair {
        let n = self.cells.len() as u64;
        let moments = PairMoments::of_sums(n, [self.sum, y.sum], [self.squares, y.squares], dot(&self.cells, &y.cells));
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
