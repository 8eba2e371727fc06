//! Whether points without structure would look as structured.
//!
//! ```text
//! relative excess of mass = sum of the stabilities of HDBSCAN's segments / sum over points of the density where they left
//! ```
//!
//! Far apart, segments begin at a density near 0, and the share is near 1; bumps of noise begin where they end. It is held against draws of
//! one normal distribution and of a box, each of the mean and covariance of the points. Where a column has few values (whole numbers, say)
//! draws take the nearest of them: a grid is dense on its lines without any structure.
//!
//! Source   excess of mass: Mueller and Sawitzki 1991, as HDBSCAN takes it (density.rs); comparison with draws of a reference: Tibshirani,
//!          Walther, Hastie 2001 (the gap statistic).

use rayon::prelude::*;

use super::density;
use super::fit::{Fits, linked};
use super::mixture::root;
use super::points::Points;
use super::stability;
use super::tree::Tree;
use crate::stats::{Purpose, Stream, normal_quantile};

/// Points that are compared with draws without structure.
pub(super) const COMPARED: usize = 2_000;

/// Draws of each kind: as many as a level of 1 % takes.
pub(super) const DRAWS: u32 = 99;

/// Returns the share of draws without structure, these points counted, whose relative excess of mass is as large: of the two kinds of
/// draws the larger. Segments hold a `share`-th of the points, at least `least`. None where the work was stopped.
#[allow(clippy::cast_possible_truncation, reason = "few draws")]
pub(super) fn as_dense_by_chance(sample: &Points, share: usize, least: usize, min_samples: usize, fits: Fits<'_>) -> Option<f64> {
    let points = sample.some(&stability::sample(sample.n(), COMPARED, fits.seed));
    let (mean, root) = moments(&points)?;
    let min_size = (points.n() / share).max(least);
    let grids: Vec<Vec<f32>> = (0..points.d).map(|column| grid(&points, column)).collect();
    let excess = |points: &Points| {
        let linked = linked(points, &Tree::new(points), (min_samples.min(min_size), false), fits.stop)?;
        Some(density::hdbscan(points.n(), &linked.ways, min_size).excess)
    };
    let own = excess(&points)?;
    let by_chance = |is_box: bool| {
        let stream = |turn: u32| Stream::new(fits.seed, Purpose::Sample, 3, 2 * turn + u32::from(is_box));
        let draw = |turn: u32| excess(&drawn(points.n(), (&mean, &root), &grids, (is_box, points.is_unit), &mut stream(turn)));
        let drawn: Vec<f64> = (0..DRAWS).into_par_iter().map(draw).collect::<Option<_>>()?;
        let as_large = drawn.iter().filter(|excess| **excess >= own).count() as u32;
        Some(f64::from(1 + as_large) / f64::from(1 + DRAWS))
    };
    Some(by_chance(false)?.max(by_chance(true)?))
}

/// Returns the mean of points and the lower Cholesky factor of their covariance; none where there are none.
#[allow(clippy::cast_precision_loss, reason = "points of a sample")]
fn moments(points: &Points) -> Option<(Vec<f64>, Vec<f64>)> {
    let (n, d) = (points.n() as f64, points.d);
    let mut mean = vec![0.0; d];
    for point in points.cells.chunks(d) {
        mean.iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x) / n);
    }
    let mut covariance = vec![0.0; d * d];
    for point in points.cells.chunks(d) {
        for row in 0..d {
            let x = f64::from(point[row]) - mean[row];
            for column in 0..=row {
                covariance[row * d + column] += x * (f64::from(point[column]) - mean[column]) / n;
            }
        }
    }
    // Columns that say the same leave a covariance that has no factor.
    let trace: f64 = (0..d).map(|row| covariance[row * d + row]).sum();
    (0..d).for_each(|row| covariance[row * d + row] += 1e-9 * trace.max(f64::MIN_POSITIVE));
    Some((mean, root(&covariance, d)?.0))
}

/// Draws points of this mean and covariance: of a normal distribution, or of a box; where asked, brought to length 1.
fn drawn(n: usize, (mean, root): (&[f64], &[f64]), grids: &[Vec<f32>], (is_box, is_unit): (bool, bool), stream: &mut Stream) -> Points {
    let d = mean.len();
    let mut uniform = || (f64::from(stream.word()) + 0.5) / 4_294_967_296.0;
    let side = libm::sqrt(12.0);
    let mut cells = Vec::with_capacity(n * d);
    for _ in 0..n {
        let own: Vec<f64> = (0..d).map(|_| if is_box { side * (uniform() - 0.5) } else { normal_quantile(uniform()) }).collect();
        for row in 0..d {
            let away: f64 = root[row * d..][..=row].iter().zip(&own).map(|(a, b)| a * b).sum();
            #[allow(clippy::cast_possible_truncation, reason = "points are f32")]
            cells.push(nearest(&grids[row], (mean[row] + away) as f32));
        }
    }
    let mut points = Points::new(cells, d);
    if is_unit {
        points = points.of_unit_length();
    }
    points
}

/// Returns the values of a column in order, where most of them are taken more than once; else none.
fn grid(points: &Points, column: usize) -> Vec<f32> {
    let mut values: Vec<f32> = points.cells.iter().skip(column).step_by(points.d).copied().collect();
    values.sort_unstable_by(f32::total_cmp);
    values.dedup();
    if points.is_unit || values.len() * 2 > points.n() { Vec::new() } else { values }
}

/// Returns the value of a grid that is nearest, or the value itself where there is no grid.
fn nearest(grid: &[f32], x: f32) -> f32 {
    let above = grid.partition_point(|value| *value < x);
    match (above.checked_sub(1).map(|below| grid[below]), grid.get(above)) {
        (Some(below), Some(&above)) => {
            if x - below < above - x {
                below
            } else {
                above
            }
        }
        (Some(end), None) => end,
        (None, Some(&end)) => end,
        (None, None) => x,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::points;
    use super::*;

    #[test]
    fn draws_take_the_values_of_a_grid_and_nothing_else() {
        let grid_points = points(300, 2, true);
        assert_eq!(grid(&grid_points, 1), [0.0, 1.0, 2.0, 3.0]);
        assert!(grid(&points(300, 2, false), 1).is_empty());
        for (x, due) in [(-5.0, 0.0), (0.4, 0.0), (0.6, 1.0), (2.9, 3.0), (9.0, 3.0)] {
            assert!((nearest(&[0.0, 1.0, 2.0, 3.0], x) - due).abs() < f32::EPSILON, "{x}");
        }
        assert!((nearest(&[], 0.123) - 0.123).abs() < f32::EPSILON);
    }

    #[test]
    fn draws_have_the_mean_and_covariance_of_the_points() {
        let points = points(1_000, 2, false);
        let (mean, root) = moments(&points).expect("points spread");
        for is_box in [false, true] {
            let drawn =
                drawn(20_000, (&mean, &root), &[Vec::new(), Vec::new()], (is_box, false), &mut Stream::new(1, Purpose::Sample, 3, 0));
            let (drawn_mean, drawn_root) = moments(&drawn).expect("draws spread");
            let all = mean.iter().zip(&drawn_mean).chain(root.iter().zip(&drawn_root));
            assert!(all.clone().all(|(due, found)| (due - found).abs() < 0.01), "{:?}", all.collect::<Vec<_>>());
        }
    }
}
