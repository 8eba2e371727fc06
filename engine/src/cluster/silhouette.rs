//! How much nearer rows are to their own segment than to the next.
//!
//! ```text
//! s(i) = (b - a) / max(a, b)      a  mean distance to the other rows of its segment
//!                                 b  the least mean distance to the rows of another segment
//! ```
//!
//! Near 1 a row lies deep in its segment, near 0 between two, below 0 nearer to another. A row alone in its segment has 0. Distances are
//! Euclidean in scaled units, among all rows of segments, or among as many of them as make `MOST_TERMS`, drawn at random: then a and b are
//! means over those drawn.
//!
//! Numbers  a distance is f32, relative error below (d / 2 + 2) 2^-24; sums of them are f64.
//! Nulls    noise and rows that lack a cell take no part.
//! Cost     O(m^2 d) for the m rows drawn.
//! Source   Rousseeuw 1987.

use std::ops::Range;

use rayon::prelude::*;

use super::points::Points;
use super::{Place, Profile, stability};
use crate::simd;

/// Rows among which distances are taken.
const MOST: usize = 20_000;

/// Terms of all distances: rows x rows x columns; those of `MOST` rows and 8 columns.
const MOST_TERMS: usize = MOST * MOST * 8;

/// Rows whose distances are under way at once.
const AT_ONCE: usize = 64;

/// Means of silhouettes, and how they are spread.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Silhouettes {
    /// Of every segment; none where there are fewer than two segments, or no row of it was drawn.
    pub(super) of_segment: Vec<Option<f64>>,
    /// Of the same rows.
    pub(super) profiles: Vec<Option<Profile>>,
    /// Of all rows drawn.
    pub(super) of_all: Option<f64>,
}

/// Returns the silhouettes of segments.
#[allow(clippy::cast_precision_loss, reason = "rows of a sample")]
pub(super) fn silhouettes(points: &Points, places: &[Place], n_segments: usize, seed: u64) -> Silhouettes {
    if n_segments < 2 {
        return Silhouettes { of_segment: vec![None; n_segments], profiles: vec![None; n_segments], of_all: None };
    }
    let placed: Vec<(usize, usize)> = (0..).zip(places).filter_map(|(at, place)| Some((at, place.segment? as usize))).collect();
    let most = (MOST_TERMS / points.d.max(1)).isqrt().min(MOST);
    let mut rows: Vec<(usize, usize)> = stability::sample(placed.len(), most, seed).into_iter().map(|at| placed[at]).collect();
    rows.sort_by_key(|&(_, segment)| segment);
    let mut counts = vec![0_usize; n_segments];
    for &(_, segment) in &rows {
        counts[segment] += 1;
    }
    // Column by column, a segment's rows side by side.
    let columns: Vec<f32> = (0..points.d).flat_map(|column| rows.iter().map(move |&(at, _)| points.point(at)[column])).collect();
    let one = |room: &mut Vec<f64>, &(at, own): &(usize, usize)| {
        room.clear();
        let mut first = 0;
        for &count in &counts {
            room.push(simd::widest(|| sum_of_distances(points.point(at), &columns, rows.len(), first..first + count)));
            first += count;
        }
        if counts[own] < 2 {
            return 0.0;
        }
        let a = room[own] / (counts[own] - 1) as f64;
        let others = (0..n_segments).filter(|&segment| segment != own && counts[segment] > 0);
        let b = others.map(|segment| room[segment] / counts[segment] as f64).fold(f64::INFINITY, |b, x| if x < b { x } else { b });
        let larger = if a > b { a } else { b };
        if larger > 0.0 && larger.is_finite() { (b - a) / larger } else { 0.0 }
    };
    let each: Vec<f64> = rows.par_iter().map_init(Vec::new, one).collect();
    let mean = |of: &[f64]| (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64);
    let mut rest = &each[..];
    let mut next = |count: usize| {
        let (own, others) = rest.split_at(count);
        rest = others;
        own
    };
    let of_each: Vec<&[f64]> = counts.iter().map(|&count| next(count)).collect();
    Silhouettes {
        of_all: mean(&each),
        of_segment: of_each.iter().map(|of| mean(of)).collect(),
        profiles: of_each.par_iter().map(|of| Profile::of(of)).collect(),
    }
}

/// Returns the sum of a point's distances from some rows of columns that have `stride` rows.
#[inline(always)]
fn sum_of_distances(point: &[f32], columns: &[f32], stride: usize, rows: Range<usize>) -> f64 {
    let mut lanes = [0.0; simd::LANES];
    for first in rows.clone().step_by(AT_ONCE) {
        let n = AT_ONCE.min(rows.end - first);
        let mut squares = [0.0_f32; AT_ONCE];
        for (column, x) in point.iter().enumerate() {
            let cells = &columns[column * stride + first..][..n];
            for (square, cell) in squares.iter_mut().zip(cells) {
                *square += (cell - x) * (cell - x);
            }
        }
        // Squares of rows that are not there stay 0.
        for eight in squares.chunks_exact(simd::LANES) {
            for (lane, square) in lanes.iter_mut().zip(eight) {
                *lane += f64::from(square.sqrt());
            }
        }
    }
    simd::total(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(segments: &[Option<u32>]) -> Vec<Place> {
        let place = |(row, segment): (usize, &Option<u32>)| Place::of(row, *segment);
        segments.iter().enumerate().map(place).collect()
    }

    #[test]
    fn a_few_points_are_counted_by_hand() {
        let points = Points::new(vec![0.0, 1.0, 5.0, 7.0, 100.0, 20.0], 1);
        let found = silhouettes(&points, &places(&[Some(0), Some(0), Some(1), Some(1), None, Some(2)]), 3, 1);
        // 0: a 1, b 6; 1: a 1, b 5; 5: a 2, b 4.5; 7: a 2, b 6.5; 20 is alone, 100 is noise.
        let due = [(5.0 / 6.0 + 4.0 / 5.0) / 2.0, (2.5 / 4.5 + 4.5 / 6.5) / 2.0, 0.0];
        for (found, due) in found.of_segment.iter().zip(due) {
            assert!((found.expect("it has rows") - due).abs() < 1e-12, "{found:?} {due}");
        }
        assert!((found.of_all.expect("there are rows") - 2.0 * (due[0] + due[1]) / 5.0).abs() < 1e-12);
    }

    #[test]
    fn distances_are_those_of_the_book() {
        let points = super::super::tree::tests::points(500, 5, false);
        let columns: Vec<f32> = (0..5).flat_map(|column| (0..500).map(move |at| (at, column))).map(|(at, c)| points.point(at)[c]).collect();
        for rows in [0..500, 3..3, 7..8, 64..201] {
            let book = |other: usize| {
                let terms = points.point(9).iter().zip(points.point(other)).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2));
                terms.sum::<f64>().sqrt()
            };
            let due: f64 = rows.clone().map(book).sum();
            let found = sum_of_distances(points.point(9), &columns, 500, rows.clone());
            // (d / 2 + 2) 2^-24 of every distance.
            assert!((found - due).abs() <= 4.5 / f64::from(1 << 24) * due, "{rows:?}: {found} {due}");
            // A twin that leaves out one row is seen.
            assert!(rows.len() < 2 || (found - (due - book(rows.end - 1))).abs() > 1e-3, "{rows:?}");
        }
    }

    #[test]
    fn rows_of_the_wrong_segment_are_below_zero_and_one_segment_has_none() {
        let points = Points::new(vec![0.0, 0.1, 0.2, 9.0, 9.1, 9.2], 1);
        let right = silhouettes(&points, &places(&[Some(0), Some(0), Some(0), Some(1), Some(1), Some(1)]), 2, 1);
        let wrong = silhouettes(&points, &places(&[Some(0), Some(1), Some(0), Some(1), Some(0), Some(1)]), 2, 1);
        assert!(right.of_all > Some(0.97) && wrong.of_all < Some(0.0), "{right:?} {wrong:?}");
        let one = silhouettes(&points, &places(&[Some(0); 6]), 1, 1);
        assert_eq!((one.of_segment, one.of_all), (vec![None], None));
    }
}
