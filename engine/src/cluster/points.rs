//! Rows as points: columns scaled in f64 and kept in f32, one row after another.
//!
//! Everything that follows takes these f32 for the points, in f64 wherever it decides something: scaled to a spread near 1, a
//! cell is known to 6e-8 of it, which is far below what separates segments.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use crate::columns::Table;
use crate::simd::{Matrix, Packed};

/// Largest cell of a point, in scaled units; what lies farther counts as lying there. Squares of such cells, and sums of them, are finite in f32.
const FARTHEST: f64 = 1e18;

/// Largest unit of a column: the squares of larger spreads are beyond f64.
const LARGEST_UNIT: f64 = 1e154;

/// How columns are scaled before distances are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Mean 0 and standard deviation 1.
    #[default]
    Standard,
    /// Median 0 and interquartile range 1.349, that of the normal distribution; the standard deviation where it is 0.
    Robust,
    /// Left as they are, but for their mean.
    None,
    /// Left as they are, and every row divided by its length: distances are chords between directions, |a - b|^2 = 2 - 2 cos(a, b), so that
    /// rows are near by the cosine. Centres of k-means have length 1 too (spherical k-means, Dhillon and Modha 2001).
    Unit,
}

/// What was taken from a column and what it was divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaler {
    /// Taken from every cell.
    pub centre: f64,
    /// What every cell was divided by; 1 where the column is constant.
    pub unit: f64,
    /// Number of the text column whose category this column flags; none for a column of numbers.
    pub category_of: Option<u32>,
}

impl Scaler {
    /// Returns the scaler of the present cells of a column; none where there are none.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn of(cells: &[f64], scale: Scale) -> Option<Self> {
        let present: Vec<f64> = cells.iter().copied().filter(|x| x.is_finite()).collect();
        if present.is_empty() {
            return None;
        }
        // Two passes in row order: the same bytes on any number of threads.
        let n = present.len() as f64;
        let mean = present[0] + present.iter().map(|x| (x - present[0]) / n).sum::<f64>();
        let squares: f64 = present.iter().map(|x| (x - mean) * (x - mean)).sum();
        Some(Self::from_moments(scale, mean, squares, n, present))
    }

    /// Returns the scaler of n cells with a mean and a sum of squares about it; robust scales are those of the cells at hand.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn from_moments(scale: Scale, mean: f64, squares: f64, n: f64, mut present: Vec<f64>) -> Self {
        let sd = libm::sqrt(squares / (n - 1.0).max(1.0));
        let usable = |unit: f64| if unit > 0.0 { unit.min(LARGEST_UNIT) } else { 1.0 };
        match scale {
            Scale::None => Self { centre: mean, unit: 1.0, category_of: None },
            Scale::Unit => Self { centre: 0.0, unit: 1.0, category_of: None },
            Scale::Standard => Self { centre: mean, unit: usable(sd), category_of: None },
            Scale::Robust => {
                present.sort_unstable_by(f64::total_cmp);
                let at = |share: f64| {
                    let place = share * (present.len() - 1) as f64;
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the cells")]
                    let below = place as usize;
                    let above = (below + 1).min(present.len() - 1);
                    present[below] + (present[above] - present[below]) * (place - libm::floor(place))
                };
                let range = (at(0.75) - at(0.25)) / 1.349;
                Self { centre: at(0.5), unit: usable(if range > 0.0 { range } else { sd }), category_of: None }
            }
        }
    }
}

/// Makes the columns that flag categories as far apart as `gamma` says: two rows of different categories differ in two flags.
pub(crate) fn weigh_categories(scalers: &mut [Scaler], category_of: &[Option<u32>], gamma: f64) {
    for (scaler, group) in scalers.iter_mut().zip(category_of) {
        if group.is_some() {
            *scaler = Scaler { centre: 0.0, unit: libm::sqrt(2.0 / gamma), category_of: *group };
        }
    }
}

/// Columns that flag the categories of one text column, and the cell of a flag: centres are one of the categories there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Modes {
    of_columns: Vec<(Range<usize>, f64)>,
}

impl Modes {
    fn of(scalers: &[Scaler]) -> Option<Arc<Self>> {
        let mut of_columns: Vec<(Range<usize>, f64)> = Vec::new();
        for (at, scaler) in scalers.iter().enumerate().filter(|(_, scaler)| scaler.category_of.is_some()) {
            match of_columns.last_mut().filter(|(range, _)| range.end == at && scalers[range.start].category_of == scaler.category_of) {
                Some((range, _)) => range.end = at + 1,
                #[allow(clippy::cast_possible_truncation, reason = "the cell of a point")]
                None => of_columns.push((at..at + 1, f64::from((1.0 / scaler.unit) as f32))),
            }
        }
        (!of_columns.is_empty()).then(|| Arc::new(Self { of_columns }))
    }

    /// Turns shares of categories into the most frequent one, the first of equals; where all are missing none is left.
    pub(crate) fn apply(&self, centres: &mut [f64], d: usize) {
        for centre in centres.chunks_mut(d) {
            for (range, flag) in &self.of_columns {
                let shares = &mut centre[range.clone()];
                let best = shares.iter().enumerate().fold((0, 0.0), |best, (at, share)| if *share > best.1 { (at, *share) } else { best });
                shares.fill(0.0);
                if best.1 > 0.0 {
                    shares[best.0] = *flag;
                }
            }
        }
    }
}

/// Points of a panel pack: they stay in the second-level cache while they are multiplied.
pub(crate) const PACKED_AT_ONCE: usize = 480;

/// Points, one after another.
#[derive(Debug)]
pub(crate) struct Points {
    /// Cells of a point side by side.
    pub(crate) cells: Vec<f32>,
    /// Columns.
    pub(crate) d: usize,
    /// Norm of every point, rounded up.
    norms: Vec<f32>,
    /// The same cells in panels, once a processor has asked for them.
    panels: OnceLock<Vec<Packed<f32>>>,
    /// Columns that are categories.
    pub(crate) modes: Option<Arc<Modes>>,
    /// Whether they have length 1.
    pub(crate) is_unit: bool,
    /// What each counts as in centres and sums of squares; 1 where absent.
    pub(crate) weights: Option<Vec<f64>>,
}

impl Points {
    #[allow(clippy::cast_possible_truncation, reason = "rounded up by more than the rounding")]
    pub(crate) fn new(cells: Vec<f32>, d: usize) -> Self {
        let norm = |point: &[f32]| {
            let squares: f64 = point.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            (libm::sqrt(squares) * 1.000_001) as f32
        };
        let norms = cells.par_chunks(d.max(1)).with_min_len(4096).map(norm).collect();
        Self { cells, d, norms, panels: OnceLock::new(), modes: None, is_unit: false, weights: None }
    }

    /// Returns the points in panels, [`PACKED_AT_ONCE`] at a time: packed once and multiplied in every iteration.
    pub(crate) fn panels(&self) -> &[Packed<f32>] {
        let pack = |cells: &[f32]| {
            let n = cells.len() / self.d;
            let mut packed = Packed::new(n, self.d);
            packed.pack(Matrix { values: cells, n_rows: self.d, stride: self.d, n_columns: n }, &(0..self.d));
            packed
        };
        self.panels.get_or_init(|| self.cells.par_chunks((PACKED_AT_ONCE * self.d).max(1)).map(pack).collect())
    }

    pub(crate) fn norm(&self, at: usize) -> f32 {
        self.norms[at]
    }

    /// Returns the points with weights, or with none.
    pub(crate) fn weighted(self, weights: Option<Vec<f64>>) -> Self {
        Self { weights, ..self }
    }

    pub(crate) fn weight(&self, at: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[at])
    }

    pub(crate) fn n(&self) -> usize {
        self.cells.len() / self.d.max(1)
    }

    pub(crate) fn point(&self, at: usize) -> &[f32] {
        &self.cells[at * self.d..][..self.d]
    }

    /// Returns some of the points.
    pub(crate) fn some(&self, rows: &[usize]) -> Self {
        let mut cells = vec![0.0; rows.len() * self.d];
        cells.par_chunks_mut((self.d * 1024).max(1)).zip(rows.par_chunks(1024)).for_each(|(out, rows)| {
            for (out, &row) in out.chunks_mut(self.d).zip(rows) {
                out.copy_from_slice(self.point(row));
            }
        });
        let norms = rows.par_iter().with_min_len(4096).map(|&row| self.norms[row]).collect();
        let weights = self.weights.as_ref().map(|weights| rows.iter().map(|&row| weights[row]).collect());
        Self { cells, d: self.d, norms, panels: OnceLock::new(), modes: self.modes.clone(), is_unit: self.is_unit, weights }
    }

    /// Adds some of other points of the same columns.
    pub(crate) fn append(&mut self, others: &Self, rows: Range<usize>) {
        self.cells.extend_from_slice(&others.cells[rows.start * self.d..rows.end * self.d]);
        self.norms.extend_from_slice(&others.norms[rows.clone()]);
        if let (Some(weights), Some(of_others)) = (&mut self.weights, &others.weights) {
            weights.extend_from_slice(&of_others[rows]);
        }
        self.panels = OnceLock::new();
    }

    /// Returns the points brought to length 1; those at the origin stay there.
    pub(crate) fn of_unit_length(mut self) -> Self {
        for point in self.cells.chunks_mut(self.d.max(1)) {
            let length = libm::sqrt(point.iter().map(|x| f64::from(*x) * f64::from(*x)).sum());
            if length > 0.0 {
                for x in point {
                    #[allow(clippy::cast_possible_truncation, reason = "points are f32")]
                    let scaled = (f64::from(*x) / length) as f32;
                    *x = scaled;
                }
            }
        }
        Self { is_unit: true, ..Self::new(self.cells, self.d) }
    }

    /// Makes means of points centres that may be theirs: of a category each, or of length 1.
    pub(crate) fn shape(&self, centres: &mut [f64]) {
        if let Some(modes) = &self.modes {
            modes.apply(centres, self.d);
        }
        if self.is_unit {
            for centre in centres.chunks_mut(self.d) {
                let length = libm::sqrt(centre.iter().map(|x| x * x).sum());
                if length > 0.0 {
                    for x in centre {
                        *x /= length;
                    }
                }
            }
        }
    }

    /// Returns the squared distance of a point from a centre, in f64, cell after cell.
    pub(crate) fn distance(point: &[f32], centre: &[f64]) -> f64 {
        point.iter().zip(centre).map(|(x, c)| (f64::from(*x) - c) * (f64::from(*x) - c)).sum()
    }
}

/// The points of the rows that have every cell, the rows they stand for, and the scalers of all columns.
#[derive(Debug)]
pub(crate) struct Scaled {
    pub(crate) points: Points,
    pub(crate) rows: Vec<usize>,
    pub(crate) scalers: Vec<Scaler>,
}

/// Scales the columns of numbers of a table; none where a column has no number or no row has all cells.
pub(crate) fn scaled(table: &Table, scale: Scale, (category_of, gamma): (&[Option<u32>], f64)) -> Option<Scaled> {
    let columns: Vec<&[f64]> = table.columns.iter().filter_map(|column| column.numbers()).collect();
    let mut scalers: Vec<Scaler> = columns.par_iter().map(|cells| Scaler::of(cells, scale)).collect::<Option<_>>()?;
    weigh_categories(&mut scalers, category_of, gamma);
    let scaled = scaled_by(table, scalers, scale == Scale::Unit);
    (!scaled.rows.is_empty() && !columns.is_empty()).then_some(scaled)
}

/// Scales a finite cell.
#[allow(
    clippy::manual_clamp,
    clippy::cast_possible_truncation,
    reason = "rounding is what it is for; written so that NaN becomes a number"
)]
pub(crate) fn scaled_cell(cell: f64, centre: f64, unit: f64) -> f32 {
    ((cell - centre) / unit).max(-FARTHEST).min(FARTHEST) as f32
}

/// Says whether a row has a point: all of its cells are there, and where its direction counts, one of them is not 0.
pub(crate) fn is_whole(columns: &[&[f64]], row: usize, is_unit: bool) -> bool {
    columns.iter().all(|cells| cells[row].is_finite()) && !(is_unit && columns.iter().all(|cells| cells[row] == 0.0))
}

/// Scales the columns of numbers of a table with given scalers, and where asked for every row to length 1.
pub(crate) fn scaled_by(table: &Table, scalers: Vec<Scaler>, is_unit: bool) -> Scaled {
    let columns: Vec<&[f64]> = table.columns.iter().filter_map(|column| column.numbers()).collect();
    let rows: Vec<usize> = (0..table.n_rows).filter(|&row| is_whole(&columns, row, is_unit)).collect();
    let d = columns.len();
    let mut cells = vec![0.0_f32; rows.len() * d];
    let length = |row: usize| {
        let largest = columns.iter().map(|cells| cells[row].abs()).fold(0.0, f64::max);
        largest * libm::sqrt(columns.iter().map(|cells| (cells[row] / largest) * (cells[row] / largest)).sum())
    };
    cells.par_chunks_mut((d * 1024).max(1)).zip(rows.par_chunks(1024)).for_each(|(out, rows)| {
        let lengths: Vec<f64> = if is_unit { rows.iter().map(|&row| length(row)).collect() } else { Vec::new() };
        for (column, (cells, scaler)) in columns.iter().zip(&scalers).enumerate() {
            for (nth, &row) in rows.iter().enumerate() {
                out[nth * d + column] = scaled_cell(cells[row], scaler.centre, *lengths.get(nth).unwrap_or(&scaler.unit));
            }
        }
    });
    let points = Points { modes: Modes::of(&scalers), is_unit, ..Points::new(cells, d) };
    Scaled { points, rows, scalers }
}
