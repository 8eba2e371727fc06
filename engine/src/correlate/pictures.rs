//! What a pair looks like: counts in cells, boxes by level, a table of levels.
//!
//! ```text
//! numbers ~ numbers         rows in at most 24 x 18 cells between the 0.5 % and the 99.5 % quantile of each, and the mean of y by cell of x
//! categories ~ numbers      5, 25, 50, 75, 95 % quantile and mean of the numbers, by level
//! categories ~ categories   rows of every two levels
//! ```
//!
//! Shape    levels beyond the most frequent 12 (in tables 10) are one, named for how many they are.
//! Nulls    rows where both are present; at a lag, in a group: the rows of that slice.
//! Streamed cells lie within three standard deviations of the means, because quantiles would take a pass of their own.
//! Cost     a sort of each column, a pass over the rows.

use rayon::prelude::*;

use super::associate::View;
use super::finish::{ColumnRow, Correlation};
use crate::EngineError;
use crate::analysis::{Analysis, Next, Partial, Pass};
use crate::backend::Backend;
use crate::columns::{Block, Stored, TableColumn, rows_per_block};

/// Findings that are drawn.
const DRAWN: usize = 6;

/// Cells along x and along y.
const X_CELLS: usize = 24;
const Y_CELLS: usize = 18;

/// Levels that have a box, and levels along each side of a table.
const BOXES: usize = 12;
const LEVELS: usize = 10;

/// A picture of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The pair, by position among the pairs.
    pub pair: usize,
    /// What is drawn.
    pub drawn: Drawn,
}

/// What is drawn of a pair.
#[derive(Debug, Clone, PartialEq)]
pub enum Drawn {
    /// Two columns of numbers.
    Cells(Grid),
    /// Numbers by category, levels in the order of their medians.
    Boxes(Vec<LevelBox>),
    /// Two columns of categories.
    Shares(Shares),
}

/// Rows in cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Where cells end along x, one more than there are cells.
    pub x_edges: Vec<f64>,
    /// Where cells end along y.
    pub y_edges: Vec<f64>,
    /// Rows by cell: those of the first cell of x first.
    pub counts: Vec<u64>,
    /// Sum of y over the rows of each cell of x.
    pub sums: Vec<f64>,
    /// Rows beyond the frame.
    pub n_beyond: u64,
}

/// The numbers of one level.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelBox {
    /// The level, or how many levels it stands for.
    pub level: String,
    /// Rows.
    pub n: u64,
    /// Quantiles at 5, 25, 50, 75 and 95 %, between neighbours by straight lines.
    pub quantiles: [f64; 5],
    /// Mean.
    pub mean: f64,
}

/// Rows of every two levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Levels of x.
    pub x_levels: Vec<String>,
    /// Levels of y.
    pub y_levels: Vec<String>,
    /// Rows by cell: those of the first level of x first.
    pub counts: Vec<u64>,
}

/// Draws the best findings; `columns` gives the two columns of a pair in their order.
pub(super) fn of_findings<'a>(found: &Correlation, columns: impl Fn(usize) -> (&'a TableColumn, &'a TableColumn) + Sync) -> Vec<Picture> {
    let draw = |pair: usize| {
        let (x, y) = columns(pair);
        Picture { pair, drawn: draw(x, y) }
    };
    found.finding_positions().into_par_iter().take(DRAWN).map(draw).collect()
}

/// Draws a pair.
fn draw(x: &TableColumn, y: &TableColumn) -> Drawn {
    match (View::of(x), View::of(y)) {
        (View::Numbers(a), View::Numbers(b)) => Drawn::Cells(Grid::of(a, b)),
        (View::Levels(_), View::Numbers(numbers)) => Drawn::Boxes(boxes(x, numbers)),
        (View::Numbers(numbers), View::Levels(_)) => Drawn::Boxes(boxes(y, numbers)),
        (View::Levels(_), View::Levels(_)) => Drawn::Shares(Shares::of(x, y)),
    }
}

impl Grid {
    fn of(x: &[f64], y: &[f64]) -> Self {
        let both = || x.iter().copied().zip(y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite());
        let mut grid = Self::empty(edges(both().map(|(x, _)| x).collect(), X_CELLS), edges(both().map(|(_, y)| y).collect(), Y_CELLS));
        both().for_each(|(x, y)| grid.add(x, y));
        grid
    }

    fn empty(x_edges: Vec<f64>, y_edges: Vec<f64>) -> Self {
        let (nx, ny) = (x_edges.len().saturating_sub(1), y_edges.len().saturating_sub(1));
        Self { x_edges, y_edges, counts: vec![0; nx * ny], sums: vec![0.0; nx], n_beyond: 0 }
    }

    fn add(&mut self, x: f64, y: f64) {
        match (cell(&self.x_edges, x), cell(&self.y_edges, y)) {
            (Some(i), Some(j)) => {
                self.counts[i * (self.y_edges.len() - 1) + j] += 1;
                self.sums[i] += y;
            }
            _ => self.n_beyond += 1,
        }
    }
}

/// Returns the cell of a value; the last edge belongs to the last cell.
fn cell(edges: &[f64], value: f64) -> Option<usize> {
    let (first, last) = (edges.first()?, edges.last()?);
    if value < *first || value > *last {
        return None;
    }
    Some((edges.partition_point(|edge| *edge <= value) - 1).min(edges.len() - 2))
}

/// Returns where cells end: halfway between values where they are few, else at equal steps over the bulk of them.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few cells")]
#[allow(clippy::float_cmp, reason = "whole numbers are their own floor")]
fn edges(mut cells: Vec<f64>, most: usize) -> Vec<f64> {
    cells.sort_unstable_by(f64::total_cmp);
    let (Some(&least), Some(&largest)) = (cells.first(), cells.last()) else { return Vec::new() };
    let mut values: Vec<f64> = Vec::new();
    for &cell in &cells {
        if values.last().is_none_or(|last| *last < cell) {
            values.push(cell);
        }
        if values.len() > most {
            break;
        }
    }
    if values.len() <= most {
        let half = |at: usize| values.get(at + 1).map_or(0.5, |next| (next - values[at]) / 2.0);
        let first = least - half(0);
        let last = largest + half(values.len().saturating_sub(2));
        let between = values.windows(2).map(|two| two[0] + (two[1] - two[0]) / 2.0);
        return std::iter::once(first).chain(between).chain(std::iter::once(last)).collect();
    }
    let (mut low, mut high) = (quantile(&cells, 0.005), quantile(&cells, 0.995));
    if low >= high {
        (low, high) = (least, largest);
    }
    // Cells of whole numbers hold as many of them each, or every second cell would be empty.
    if cells.iter().all(|cell| libm::floor(*cell) == *cell) && high - low < 1e15 {
        let width = libm::ceil((high - low + 1.0) / most as f64);
        let n = libm::ceil((high - low + 1.0) / width) as usize;
        return steps(low - 0.5, low - 0.5 + width * n as f64, n);
    }
    steps(low, high, most)
}

/// Returns equal steps from `low` to `high`.
#[allow(clippy::cast_precision_loss, reason = "a few cells")]
fn steps(low: f64, high: f64, n: usize) -> Vec<f64> {
    let inside = (1..n).map(|at| low + (high - low) * (at as f64 / n as f64));
    std::iter::once(low).chain(inside).chain(std::iter::once(high)).collect()
}

/// Returns a quantile of ascending cells, between neighbours by a straight line (type 7 of Hyndman and Fan 1996).
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the cells")]
fn quantile(cells: &[f64], share: f64) -> f64 {
    let place = share * (cells.len().saturating_sub(1)) as f64;
    let (below, above) = (cells[place as usize], cells[(place as usize + 1).min(cells.len() - 1)]);
    below + (above - below) * (place - libm::floor(place))
}

/// Returns the most frequent levels among rows, and for every level its place among them; those without one share the last.
fn frequent(column: &TableColumn, rows: &[usize], most: usize) -> (Vec<String>, Vec<usize>) {
    let Some(levels) = column.levels() else { return (Vec::new(), Vec::new()) };
    let mut counts = vec![0_u64; levels.names.len()];
    for &row in rows {
        counts[usize::from(levels.codes[row])] += 1;
    }
    let mut order: Vec<usize> = (0..counts.len()).filter(|&level| counts[level] > 0).collect();
    order.sort_by_key(|&level| (std::cmp::Reverse(counts[level]), level));
    let rest = if order.len() > most { order.split_off(most - 1) } else { Vec::new() };
    let mut names: Vec<String> = order.iter().map(|&level| levels.names[level].clone()).collect();
    let mut place = vec![order.len(); counts.len()];
    order.iter().enumerate().for_each(|(at, &level)| place[level] = at);
    if !rest.is_empty() {
        names.push(format!("{} others", rest.len()));
    }
    (names, place)
}

fn boxes(levels: &TableColumn, numbers: &[f64]) -> Vec<LevelBox> {
    let rows: Vec<usize> = (0..numbers.len()).filter(|&row| numbers[row].is_finite() && !levels.is_missing(row)).collect();
    let (names, place) = frequent(levels, &rows, BOXES);
    let mut cells: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let codes = levels.levels().map(|levels| &levels.codes);
    for &row in &rows {
        if let Some(codes) = codes {
            cells[place[usize::from(codes[row])]].push(numbers[row]);
        }
    }
    let one = |(level, mut cells): (String, Vec<f64>)| {
        cells.sort_unstable_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
        let mean = cells.iter().sum::<f64>() / cells.len() as f64;
        LevelBox { level, n: cells.len() as u64, quantiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| quantile(&cells, share)), mean }
    };
    let mut boxes: Vec<LevelBox> = names.into_iter().zip(cells).map(one).collect();
    boxes.sort_by(|a, b| b.quantiles[2].total_cmp(&a.quantiles[2]).then(b.mean.total_cmp(&a.mean)));
    boxes
}

impl Shares {
    fn of(x: &TableColumn, y: &TableColumn) -> Self {
        let n_rows = x.levels().map_or(0, |levels| levels.codes.len());
        let rows: Vec<usize> = (0..n_rows).filter(|&row| !x.is_missing(row) && !y.is_missing(row)).collect();
        let ((x_levels, of_x), (y_levels, of_y)) = (frequent(x, &rows, LEVELS), frequent(y, &rows, LEVELS));
        let mut counts = vec![0; x_levels.len() * y_levels.len()];
        if let (Some(x), Some(y)) = (x.levels(), y.levels()) {
            for row in rows {
                counts[of_x[usize::from(x.codes[row])] * y_levels.len() + of_y[usize::from(y.codes[row])]] += 1;
            }
        }
        Self { x_levels, y_levels, counts }
    }
}

/// Draws the best findings of a source that is streamed: one more pass over their columns.
#[derive(Debug)]
pub struct Pictures {
    columns: Vec<usize>,
    names: Vec<String>,
    /// The pair by position among the pairs, and its columns by position among `columns`.
    pairs: Vec<(usize, usize, usize)>,
    frames: Vec<Grid>,
}

impl Pictures {
    /// Prepares the pass; `source` gives the index, in the source's schema, of every column of the result. None where nothing
    /// was found.
    #[must_use]
    pub fn new(found: &Correlation, source: &[usize]) -> Option<Self> {
        let mut pictures = Self { columns: Vec::new(), names: Vec::new(), pairs: Vec::new(), frames: Vec::new() };
        for pair in found.finding_positions().into_iter().take(DRAWN) {
            let row = &found.pairs[pair];
            let (Some(x_edges), Some(y_edges)) = (frame(&found.columns[row.x], X_CELLS), frame(&found.columns[row.y], Y_CELLS)) else {
                continue;
            };
            let mut place = |column: usize| {
                let at = pictures.columns.iter().position(|known| *known == source[column]);
                at.unwrap_or_else(|| {
                    pictures.columns.push(source[column]);
                    pictures.names.push(found.columns[column].name.clone());
                    pictures.columns.len() - 1
                })
            };
            let (x, y) = (place(row.x), place(row.y));
            pictures.pairs.push((pair, x, y));
            pictures.frames.push(Grid::empty(x_edges, y_edges));
        }
        (!pictures.pairs.is_empty()).then_some(pictures)
    }
}

/// Returns cells within three standard deviations of the mean; none for a column without spread.
fn frame(column: &ColumnRow, n: usize) -> Option<Vec<f64>> {
    let (mean, sd) = (column.mean?, column.sd?);
    let (low, high) = (column.min?.max(mean - 3.0 * sd), column.max?.min(mean + 3.0 * sd));
    (low < high && (high - low).is_finite()).then(|| steps(low, high, n))
}

/// The cells of all pictures over some blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    grids: Vec<(Vec<u64>, Vec<f64>, u64)>,
}

const VERSION: u8 = 1;

impl Partial for Counts {
    fn merge(mut self, later: Self) -> Self {
        for (own, other) in self.grids.iter_mut().zip(later.grids) {
            own.0.iter_mut().zip(other.0).for_each(|(own, other)| *own += other);
            own.1.iter_mut().zip(other.1).for_each(|(own, other)| *own += other);
            own.2 += other.2;
        }
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for (counts, sums, n_beyond) in &self.grids {
            for n in [counts.len() as u64, sums.len() as u64, *n_beyond] {
                out.extend_from_slice(&n.to_le_bytes());
            }
            out.extend(counts.iter().flat_map(|n| n.to_le_bytes()));
            out.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        read(bytes).ok_or_else(|| EngineError::Partial(format!("{} bytes are no cells of pictures of version {VERSION}", bytes.len())))
    }
}

fn read(bytes: &[u8]) -> Option<Counts> {
    let (&version, rest) = bytes.split_first()?;
    let (words, tail) = rest.as_chunks::<8>();
    if version != VERSION || !tail.is_empty() {
        return None;
    }
    let (mut words, mut grids) = (words.iter().map(|word| u64::from_le_bytes(*word)), Vec::new());
    while let Some(n_counts) = words.next() {
        let (n_sums, n_beyond) = (usize::try_from(words.next()?).ok()?, words.next()?);
        let n_counts = usize::try_from(n_counts).ok()?;
        let counts: Vec<u64> = words.by_ref().take(n_counts).collect();
        let sums: Vec<f64> = words.by_ref().take(n_sums).map(f64::from_bits).collect();
        if counts.len() != n_counts || sums.len() != n_sums {
            return None;
        }
        grids.push((counts, sums, n_beyond));
    }
    Some(Counts { grids })
}

impl Analysis for Pictures {
    type Partial = Counts;
    type Output = Vec<Picture>;

    fn pass(&self) -> Pass {
        let rows = rows_per_block(self.columns.len(), crate::columns::Width::F64);
        Pass { columns: self.columns.clone(), names: self.names.clone(), stored: Stored::Raw, rows_per_block: rows, window: 2 }
    }

    fn absorb(&self, block: &Block, _: &Backend) -> Counts {
        let raw = block.raw().expect("the pass asks for raw cells");
        let holds = |column: usize, row: usize| block.columns[column].mask.as_ref().is_none_or(|mask| mask.holds(row));
        let one = |(&(_, x, y), frame): (&(usize, usize, usize), &Grid)| {
            let mut grid = frame.clone();
            for (row, (&a, &b)) in raw.column(x).iter().zip(raw.column(y)).enumerate() {
                if holds(x, row) && holds(y, row) {
                    grid.add(a, b);
                }
            }
            (grid.counts, grid.sums, grid.n_beyond)
        };
        Counts { grids: self.pairs.iter().zip(&self.frames).map(one).collect() }
    }

    fn end_pass(&mut self, folded: Option<Counts>) -> Result<Next<Vec<Picture>>, EngineError> {
        let grids = folded.map(|folded| folded.grids).unwrap_or_default();
        let framed = self.pairs.iter().zip(&self.frames).zip(grids);
        let pictures = framed.map(|((&(pair, _, _), frame), (counts, sums, n_beyond))| Picture {
            pair,
            drawn: Drawn::Cells(Grid { counts, sums, n_beyond, ..frame.clone() }),
        });
        Ok(Next::Done(pictures.collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "cells and quantiles come back as they were")]
    use super::*;
    use crate::columns::{Cells, Code, Levels, MISSING};

    fn levels(codes: Vec<Code>, n: usize) -> TableColumn {
        let names = (0..n).map(|level| format!("l{level}")).collect();
        TableColumn { name: "levels".to_owned(), cells: Cells::Levels(Levels { codes: codes.into(), names }) }
    }

    #[test]
    fn every_row_is_in_a_cell_or_beyond() {
        let x: Vec<f64> = (0..10_000).map(|row| f64::from(row * 7919 % 10_007)).collect();
        let y: Vec<f64> = (0..10_000).map(|row| if row == 5 { f64::NAN } else { f64::from(row % 3) }).collect();
        let grid = Grid::of(&x, &y);
        assert_eq!((grid.x_edges.len(), &grid.y_edges[..]), (X_CELLS + 1, &[-0.5, 0.5, 1.5, 2.5][..]));
        let inside: u64 = grid.counts.iter().sum();
        assert_eq!(inside + grid.n_beyond, 9_999);
        assert!((90..=110).contains(&grid.n_beyond), "a hundredth lies beyond: {}", grid.n_beyond);
        // The textbook: rows whose x lies between two edges and whose y is a value.
        let rows = |i: usize, j: usize| {
            let of_x = |x: f64| grid.x_edges[i] <= x && (x < grid.x_edges[i + 1] || i + 1 == X_CELLS && x == grid.x_edges[i + 1]);
            x.iter().zip(&y).filter(|(x, y)| of_x(**x) && **y == j as f64).count() as u64
        };
        for (i, j) in [(0, 0), (7, 1), (23, 2)] {
            assert_eq!(grid.counts[i * 3 + j], rows(i, j), "cell {i}, {j}");
        }
        assert_ne!(grid.counts[7 * 3 + 1], rows(8, 1) + 1, "another cell");
        let sum: f64 =
            x.iter().zip(&y).filter(|(x, y)| **x >= grid.x_edges[2] && **x < grid.x_edges[3] && y.is_finite()).map(|(_, y)| y).sum();
        assert!((grid.sums[2] - sum).abs() < 1e-9);
    }

    #[test]
    fn cells_of_whole_numbers_hold_as_many_each() {
        let found = edges((0..10_000).map(|row| f64::from(row % 60)).collect(), X_CELLS);
        assert_eq!((found[0], found[1], found.len()), (-0.5, 2.5, 21));
        let found = edges((0..10_000).map(|row| f64::from(row % 60) + 0.25 * f64::from(row % 2)).collect(), X_CELLS);
        assert_eq!(found.len(), X_CELLS + 1);
    }

    #[test]
    fn boxes_have_the_quantiles_of_their_level() {
        // numpy.quantile([1, 2, 3, 4, 10], [.05, .25, .5, .75, .95]) = [1.2, 2, 3, 4, 8.8]
        let numbers = [1.0, 50.0, 2.0, 60.0, 3.0, 4.0, 10.0, f64::NAN, 7.0];
        let column = levels(vec![0, 1, 0, 1, 0, 0, 0, 0, MISSING], 2);
        let boxes = boxes(&column, &numbers);
        assert_eq!(boxes.iter().map(|one| (one.level.as_str(), one.n)).collect::<Vec<_>>(), [("l1", 2), ("l0", 5)]);
        let due = [1.2, 2.0, 3.0, 4.0, 8.8];
        assert!(boxes[1].quantiles.iter().zip(due).all(|(found, due)| (found - due).abs() < 1e-12) && boxes[1].mean == 4.0, "{boxes:?}");
    }

    #[test]
    fn levels_beyond_the_most_frequent_are_one() {
        let codes: Vec<Code> = (0..400).map(|row| row % 20).collect();
        let shares = Shares::of(&levels(codes.clone(), 20), &levels(codes.iter().map(|code| code % 2).collect(), 2));
        assert_eq!((shares.x_levels.len(), shares.x_levels[9].as_str(), shares.y_levels.len()), (LEVELS, "11 others", 2));
        assert_eq!((shares.counts.iter().sum::<u64>(), shares.counts[0], shares.counts[1]), (400, 20, 0));
        assert_eq!(shares.counts[18] + shares.counts[19], 220);
    }

    #[test]
    fn cells_survive_as_bytes_and_merge_as_rows_do() {
        let counts = |x: &[f64]| {
            let mut grid = Grid::empty(steps(0.0, 10.0, 4), steps(0.0, 1.0, 2));
            for x in x {
                grid.add(*x, 0.3);
            }
            Counts { grids: vec![(grid.counts, grid.sums, grid.n_beyond)] }
        };
        let (all, first, second) = (counts(&[1.0, 2.0, 11.0, 9.0]), counts(&[1.0, 2.0]), counts(&[11.0, 9.0]));
        assert_eq!(first.merge(second), all);
        assert_eq!(Counts::from_bytes(&all.to_bytes()).ok(), Some(all.clone()));
        let bytes = all.to_bytes();
        assert!(Counts::from_bytes(&bytes[..bytes.len() - 8]).is_err() && Counts::from_bytes(&[9]).is_err());
    }
}
