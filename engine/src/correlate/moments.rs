//! Counts, means and co-moments of many columns, mergeable across blocks.
//!
//! Two forms. While no cell is missing, every pair has the same rows, and a pair needs one number: its co-deviation.
//! With the first missing cell the state becomes pairwise: six numbers a pair, over the rows that both columns have.
//!
//! What a pair's rows miss is found from the missing cells alone: the sums of x over the rows where y is present are
//! the sums of x less those over the rows where y is missing (or taken directly over the fewer rows where y is
//! present). That costs (missing cells) x (columns) additions, not two more full products.

use rayon::prelude::*;

use super::cpu;
use super::gram::{Gram, GramInput};
use super::layout::{Layout, Tile};
use super::pair::{Frame, PairMoments, Step};
use crate::EngineError;
use crate::analysis::Partial;
use crate::backend::Backend;
use crate::columns::{Block, BlockColumn};
use crate::simd::{Element, Matrix};

mod bytes;

/// Moments of one column over its present cells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnMoments {
    pub(crate) n: u64,
    pub(crate) frame: Frame,
    pub(crate) mean: f64,
    pub(crate) m2: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Whether every present cell equals `min` or `max`.
    pub(crate) two_valued: bool,
}

/// What is kept of the pairs, in the tiles of the layout.
#[derive(Debug, Clone, PartialEq)]
enum Pairs {
    /// Every pair has all rows: co-deviations.
    Dense(Vec<f64>),
    /// Every pair has rows of its own.
    Pairwise(Vec<PairMoments>),
}

/// Which columns of a block are compared with which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// All with all.
    All,
    /// The first `n` with the rest.
    FirstWithRest(usize),
}

impl Compared {
    fn layout(self, n_columns: usize) -> Layout {
        match self {
            Self::All => Layout::new(n_columns, n_columns, true),
            Self::FirstWithRest(first) => Layout::new(first, n_columns - first, false),
        }
    }

    /// Returns where the second side starts among the columns.
    const fn right_start(self) -> usize {
        match self {
            Self::All => 0,
            Self::FirstWithRest(first) => first,
        }
    }
}

/// The state of a pass over columns that are compared with each other.
///
/// `merge` is associative: absorbing a then b equals merging the two absorbed alone, up to rounding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    pub(crate) n_rows: u64,
    pub(crate) columns: Vec<ColumnMoments>,
    compared: Compared,
    layout: Layout,
    pairs: Pairs,
}

impl Moments {
    /// Returns the moments of one block, with products on GPU or CPU where it is stored in f32.
    pub(crate) fn of(block: &Block, compared: Compared, on: &Backend) -> Self {
        let layout = compared.layout(block.columns.len());
        let pairs = if let Some(cells) = block.f64() {
            if block.has_missing() && layout.symmetric() {
                let (products, conditional) = cpu::gram_and_conditional_sums(&block.columns, cells, &layout);
                Pairs::Pairwise(pairwise(block, compared, &layout, &products, &conditional))
            } else {
                let (left, right) = sides(cells, compared);
                Self::pairs(block, cells, compared, &layout, &cpu::gram(left, right, &layout))
            }
        } else {
            let cells = block.f32().expect("a block stores f64 or f32");
            let (left, right) = sides(cells, compared);
            Self::pairs(block, cells, compared, &layout, &products(left, right, &layout, on))
        };
        let columns = block.columns.iter().map(ColumnMoments::of).collect();
        Self { n_rows: block.n_rows as u64, columns, compared, layout, pairs }
    }

    /// Turns sums of products about the centres into co-moments about the means.
    fn pairs<T: Element, P: Copy + Into<f64> + Sync>(
        block: &Block,
        cells: Matrix<'_, T>,
        compared: Compared,
        layout: &Layout,
        products: &[P],
    ) -> Pairs {
        let start = compared.right_start();
        let tile_cells = layout.tile_cells().max(1);
        if !block.has_missing() {
            let mut co = vec![0.0; layout.cells()];
            #[allow(clippy::cast_precision_loss, reason = "a block has fewer than 2^52 rows")]
            let n = block.n_rows as f64;
            for_tiles(&mut co, layout, |tile, at, out| {
                let products = &products[at * tile_cells..];
                each(tile, layout, |i, j, cell| {
                    out[cell] = products[cell].into() - block.columns[i].sum * (block.columns[start + j].sum / n);
                });
            });
            return Pairs::Dense(co);
        }
        Pairs::Pairwise(pairwise(block, compared, layout, products, &cpu::conditional_sums(&block.columns, cells)))
    }

    /// Returns the moments of the pair of columns `i` and `j`: i < j, and each on its side where sides differ.
    pub(crate) fn pair(&self, i: usize, j: usize) -> PairMoments {
        let cell = self.layout.at(i, j - self.compared.right_start());
        match &self.pairs {
            Pairs::Pairwise(pairs) => pairs[cell],
            Pairs::Dense(co) => self.dense(i, j, co[cell]),
        }
    }

    fn dense(&self, i: usize, j: usize, co: f64) -> PairMoments {
        let (x, y) = (&self.columns[i], &self.columns[j]);
        PairMoments { n: self.n_rows, mean_x: x.mean, mean_y: y.mean, m2_x: x.m2, m2_y: y.m2, co }
    }

    /// Returns every pair that is compared, i before j.
    pub(crate) fn compared(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (n, compared) = (self.columns.len(), self.compared);
        let first = match compared {
            Compared::All => n,
            Compared::FirstWithRest(first) => first,
        };
        (0..first).flat_map(move |i| {
            let from = match compared {
                Compared::All => i + 1,
                Compared::FirstWithRest(first) => first,
            };
            (from..n).map(move |j| (i, j))
        })
    }

    /// Returns the bytes that the state of so many columns can grow to.
    pub(crate) fn bytes(n_columns: usize, compared: Compared) -> u64 {
        compared.layout(n_columns).cells() as u64 * size_of::<PairMoments>() as u64
    }

    fn into_pairwise(self) -> Vec<PairMoments> {
        let Pairs::Dense(co) = &self.pairs else {
            let Pairs::Pairwise(pairs) = self.pairs else { unreachable!("the other form was just ruled out") };
            return pairs;
        };
        let start = self.compared.right_start();
        let mut pairs = vec![PairMoments::default(); co.len()];
        let tile_cells = self.layout.tile_cells().max(1);
        for_tiles(&mut pairs, &self.layout, |tile, at, out| {
            let co = &co[at * tile_cells..];
            each(tile, &self.layout, |i, j, cell| out[cell] = self.dense(i, start + j, co[cell]));
        });
        pairs
    }
}

impl ColumnMoments {
    fn of(column: &BlockColumn) -> Self {
        let sums = PairMoments::of_sums(column.n, [column.sum; 2], [column.sum_of_squares; 2], 0.0);
        Self {
            n: column.n,
            frame: Frame { centre: column.centre, unit: column.unit, known: column.n > 0 },
            mean: sums.mean_x,
            m2: sums.m2_x,
            min: column.min,
            max: column.max,
            two_valued: column.two_valued,
        }
    }

    /// Adds what later rows say, given how both are brought to the merged frame.
    fn merge(&mut self, later: &Self, frame: Frame, step: Step) {
        let mut pair = PairMoments { n: self.n, mean_x: self.mean, m2_x: self.m2, ..PairMoments::default() };
        let other = PairMoments { n: later.n, mean_x: later.mean, m2_x: later.m2, ..PairMoments::default() };
        pair.merge(&other, step, step);
        let (min, max) = (self.min.min(later.min), self.max.max(later.max));
        let two_valued = self.holds_only(min, max) && later.holds_only(min, max);
        *self = Self { n: pair.n, frame, mean: pair.mean_x, m2: pair.m2_x, min, max, two_valued };
    }

    /// Returns whether every cell is one of these two.
    #[allow(clippy::float_cmp, reason = "extremes are cells, compared with cells")]
    fn holds_only(&self, min: f64, max: f64) -> bool {
        let one_of = |x: f64| x == min || x == max;
        self.n == 0 || (self.two_valued && one_of(self.min) && one_of(self.max))
    }

    /// Returns the mean; none without a cell.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.frame.centre + libm::ldexp(self.mean, self.frame.unit))
    }

    /// Returns the sample standard deviation; none below two cells.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn sd(&self) -> Option<f64> {
        (self.n > 1).then(|| libm::ldexp(libm::sqrt(self.m2 / (self.n - 1) as f64), self.frame.unit))
    }
}

impl Partial for Moments {
    fn merge(mut self, later: Self) -> Self {
        let merged: Vec<(Frame, Step)> = self.columns.iter().zip(&later.columns).map(|(a, b)| a.frame.merge(b.frame)).collect();
        let steps: Vec<Step> = merged.iter().map(|(_, step)| *step).collect();
        let (layout, start) = (self.layout, self.compared.right_start());
        if let (Pairs::Dense(co), Pairs::Dense(other)) = (&mut self.pairs, &later.pairs) {
            let differences = differences(&self.columns, &later.columns, &steps);
            #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
            let weight = self.n_rows as f64 * (later.n_rows as f64 / (self.n_rows + later.n_rows) as f64);
            let tile_cells = layout.tile_cells().max(1);
            for_tiles(co, &layout, |tile, at, out| {
                let other = &other[at * tile_cells..];
                each(tile, &layout, |i, j, cell| {
                    let (x, y) = (steps[i], steps[start + j]);
                    out[cell] = out[cell] * (x.earlier * y.earlier)
                        + other[cell] * (x.later * y.later)
                        + differences[i] * differences[start + j] * weight;
                });
            });
        } else {
            let compared = self.compared;
            let (n_rows, columns) = (self.n_rows, self.columns.clone());
            let mut pairs = self.into_pairwise();
            let (later_rows, later_columns) = (later.n_rows, later.columns.clone());
            let other = later.into_pairwise();
            let tile_cells = layout.tile_cells().max(1);
            for_tiles(&mut pairs, &layout, |tile, at, out| {
                let other = &other[at * tile_cells..];
                each(tile, &layout, |i, j, cell| out[cell].merge(&other[cell], steps[i], steps[start + j]));
            });
            let merged_columns = merge_columns(columns, &later_columns, &merged);
            return Self { n_rows: n_rows + later_rows, columns: merged_columns, compared, layout, pairs: Pairs::Pairwise(pairs) };
        }
        self.n_rows += later.n_rows;
        self.columns = merge_columns(self.columns, &later.columns, &merged);
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        bytes::write(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        bytes::read(bytes)
    }
}

/// Turns sums of products and conditional sums into co-moments over the rows that each pair has.
fn pairwise<P: Copy + Into<f64> + Sync>(
    block: &Block,
    compared: Compared,
    layout: &Layout,
    products: &[P],
    conditional: &cpu::ConditionalSums,
) -> Vec<PairMoments> {
    let (start, tile_cells) = (compared.right_start(), layout.tile_cells().max(1));
    let mut pairs = vec![PairMoments::default(); layout.cells()];
    for_tiles(&mut pairs, layout, |tile, at, out| {
        let products = &products[at * tile_cells..];
        each(tile, layout, |i, j, cell| {
            let j = start + j;
            let (x, y) = (&block.columns[i], &block.columns[j]);
            let n = rows_of_both(x, y);
            let [x_sum, x_squares] = conditional[j].as_ref().map_or([x.sum, x.sum_of_squares], |sums| sums[i]);
            let [y_sum, y_squares] = conditional[i].as_ref().map_or([y.sum, y.sum_of_squares], |sums| sums[j]);
            out[cell] = PairMoments::of_sums(n, [x_sum, y_sum], [x_squares, y_squares], products[cell].into());
        });
    });
    pairs
}

/// Returns products in f32 of some rows at a time, added up in f64.
///
/// Columns of few values round the same way again and again: their error grows with the rows that are added up in f32.
fn products(left: Matrix<'_>, right: Matrix<'_>, layout: &Layout, on: &Backend) -> Vec<f64> {
    const ROWS: usize = 4096;
    let mut sums = vec![0.0; layout.cells()];
    for start in (0..left.n_rows).step_by(ROWS) {
        let rows = ROWS.min(left.n_rows - start);
        let input =
            GramInput { left: left.rows(start, rows), right: right.rows(start, rows), symmetric: layout.symmetric(), square_left: false };
        let products = on.run(&Gram, input).output;
        sums.par_iter_mut().zip(products).with_min_len(4096).for_each(|(sum, x)| *sum += f64::from(x));
    }
    sums
}

fn merge_columns(mut columns: Vec<ColumnMoments>, later: &[ColumnMoments], merged: &[(Frame, Step)]) -> Vec<ColumnMoments> {
    for ((column, later), (frame, step)) in columns.iter_mut().zip(later).zip(merged) {
        column.merge(later, *frame, *step);
    }
    columns
}

/// Returns how far each column's later mean lies from its earlier one, in the merged unit.
fn differences(earlier: &[ColumnMoments], later: &[ColumnMoments], steps: &[Step]) -> Vec<f64> {
    let pairs = earlier.iter().zip(later).zip(steps);
    pairs.map(|((a, b), step)| step.shift + b.mean * step.later - a.mean * step.earlier).collect()
}

fn sides<T: Copy>(cells: Matrix<'_, T>, compared: Compared) -> (Matrix<'_, T>, Matrix<'_, T>) {
    match compared {
        Compared::All => (cells, cells),
        Compared::FirstWithRest(first) => {
            let (left, right) = cells.values.split_at(first * cells.stride);
            (Matrix { values: left, n_columns: first, ..cells }, Matrix { values: right, n_columns: cells.n_columns - first, ..cells })
        }
    }
}

/// Runs `body` on every tile of `cells`, on all threads.
fn for_tiles<T: Send>(cells: &mut [T], layout: &Layout, body: impl Fn(&Tile, usize, &mut [T]) + Sync) {
    cells.par_chunks_mut(layout.tile_cells().max(1)).enumerate().for_each(|(at, out)| body(&layout.tile(at), at, out));
}

/// Calls `body` with (left column, right column, cell within the tile) of every entry of a tile that is asked for.
#[inline(always)]
fn each(tile: &Tile, layout: &Layout, mut body: impl FnMut(usize, usize, usize)) {
    for j in tile.right.clone() {
        let end = if tile.diagonal { tile.left.end.min(j + 1) } else { tile.left.end };
        let start = (j - tile.right.start) * layout.tile_stride();
        for i in tile.left.start..end {
            body(i, j, start + i - tile.left.start);
        }
    }
}

fn rows_of_both(x: &BlockColumn, y: &BlockColumn) -> u64 {
    match (&x.mask, &y.mask) {
        (Some(a), Some(b)) => a.both(b),
        (Some(_), None) => x.n,
        (None, _) => y.n,
    }
}
