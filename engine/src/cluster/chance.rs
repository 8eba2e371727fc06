//! Whether points without structure would look as structured.
//!
//! ```text
//! relative excess of mass = sum of the stabilities of HDBSCAN's segments / sum over points of the density where they left
//! ```
//!
//! Far apart, segments begin at a density near 0, and the share is near 1; bumps of noise begin where they end. It is held against draws of
//! one normal distribution and of a box, each of the mean and covariance of the points.
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
const COMPARED: usize = 2_000;

/// Draws of each kind: as many as a level of 1 % takes.
const DRAWS: u32 = 99;

/// Returns the share of draws without structure, these points counted, whose relative excess of mass is as large: of the two kinds of
/// draws the larger. Segments hold a `share`-th of the points. None where the work was stopped.
#[allow(clippy::cast_possible_truncation, reason = "few draws")]
pub(super) fn as_dense_by_chance(sample: &Points, share: usize, min_samples: usize, fits: Fits<'_>) -> Option<f64> {
    let points = sample.some(&stability::sample(sample.n(), COMPARED, fits.seed));
    let (mean, root) = moments(&points)?;
    let min_size = (points.n() / share).max(2);
    let excess = |points: &Points| {
        let (ways, _) = linked(points, &Tree::new(points), min_samples.min(min_size), fits.stop)?;
        Some(density::hdbscan(points.n(), &ways, min_size).excess)
    };
    let own = excess(&points)?;
    let by_chance = |is_box: bool| {
        let stream = |turn: u32| Stream::new(fits.seed, Purpose::Sample, 3, 2 * turn + u32::from(is_box));
        let draw = |turn: u32| excess(&drawn(points.n(), &mean, &root, is_box, &mut stream(turn)));
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

/// Draws points of this mean and covariance: of a normal distribution, or of a box.
fn drawn(n: usize, mean: &[f64], root: &[f64], is_box: bool, stream: &mut Stream) -> Points {
    let d = mean.len();
    let mut uniform = || (f64::from(stream.word()) + 0.5) / 4_294_967_296.0;
    let side = libm::sqrt(12.0);
    let mut cells = Vec::with_capacity(n * d);
    for _ in 0..n {
        let own: Vec<f64> = (0..d).map(|_| if is_box { side * (uniform() - 0.5) } else { normal_quantile(uniform()) }).collect();
        for row in 0..d {
            let away: f64 = root[row * d..][..=row].iter().zip(&own).map(|(a, b)| a * b).sum();
            #[allow(clippy::cast_possible_truncation, reason = "points are f32")]
            cells.push((mean[row] + away) as f32);
        }
    }
    Points::new(cells, d)
}
