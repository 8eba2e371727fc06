//! How many segments there are, and which of them come back when the rows are drawn anew.
//!
//! ```text
//! prediction strength   of two halves each is clustered; the smallest share, over the clusters of one half, of pairs of points that the
//!                       centres of the other half keep together too. k: the largest with a mean of at least 0.8; none: no clusters
//! stability             of a segment: the mean, over bootstrap samples, of its largest Jaccard similarity with a cluster of the sample
//! ```
//!
//! Source   Tibshirani and Walther 2005 (prediction strength); Hennig 2007 (cluster-wise stability).

use std::collections::HashMap;

use rayon::prelude::*;

use super::assign::{Assign, AssignInput, Centres};
use super::fit::{Fits, Recipe};
use super::kmeans::{self, Fit};
use super::points::Points;
use crate::backend::Backend;
use crate::stats::{Purpose, Stream};

/// Halvings whose prediction strengths are averaged.
pub(super) const HALVINGS: u32 = 10;

/// Seeds tried for every half and every bootstrap sample.
pub(super) const RESTARTS: u32 = 3;

/// Mean prediction strength of as many clusters as there are.
pub(crate) const STRONG: f64 = 0.8;

/// Returns at most so many of n rows, drawn without replacement, in order.
pub(crate) fn sample(n: usize, most: usize, seed: u64) -> Vec<usize> {
    draw(n, most, seed, Purpose::Sample)
}

/// The same, for a purpose of its own.
pub(crate) fn draw(n: usize, most: usize, seed: u64, purpose: Purpose) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    // The first places of the shuffled order of all rows, of which those alone are held that are not where they were.
    let mut stream = Stream::new(seed, purpose, 0, 0);
    let mut elsewhere: HashMap<usize, usize> = HashMap::new();
    let mut drawn = Vec::with_capacity(most);
    for at in 0..most {
        let left = u32::try_from(n - at).expect("a sample is drawn from fewer than 2^32 rows");
        let other = at + stream.below(left) as usize;
        let here = elsewhere.get(&at).copied().unwrap_or(at);
        drawn.push(elsewhere.insert(other, here).unwrap_or(other));
    }
    drawn.sort_unstable();
    drawn
}

/// Draws the first `n_drawn` places of an order (Fisher and Yates).
fn shuffle(rows: &mut [usize], stream: &mut Stream, n_drawn: usize) {
    for at in 0..n_drawn.min(rows.len()) {
        let left = u32::try_from(rows.len() - at).expect("a sample is drawn from fewer than 2^32 rows");
        rows.swap(at, at + stream.below(left) as usize);
    }
}

/// Returns the mean prediction strength of k clusters; none where the work was stopped.
pub(crate) fn prediction_strength(points: &Points, k: usize, fits: Fits<'_>) -> Option<f64> {
    let mut total = 0.0;
    for halving in 0..HALVINGS {
        let mut rows: Vec<usize> = (0..points.n()).collect();
        let n = rows.len();
        shuffle(&mut rows, &mut Stream::new(fits.seed, Purpose::Sample, 1, halving), n);
        let halves = [points.some(&rows[..n / 2]), points.some(&rows[n / 2..])];
        let fit = |half: usize| {
            let turn = 1_000 + 2 * halving + u32::from(half == 1);
            kmeans::best_of(&halves[half], k, RESTARTS, fits.max_iterations, (fits.seed, turn), fits.host, fits.stop)
        };
        let (first, second) = (fit(0)?, fit(1)?);
        total +=
            kept_together(&halves[1], &second, &first.centres, fits.host) + kept_together(&halves[0], &first, &second.centres, fits.host);
    }
    Some(total / f64::from(2 * HALVINGS))
}

/// Returns the smallest share, over the clusters of a fit, of pairs of points that other centres keep together.
#[allow(clippy::cast_precision_loss, reason = "pairs of a sample")]
fn kept_together(points: &Points, fit: &Fit, others: &Centres, on: &Backend) -> f64 {
    let k = others.k();
    let labels = on.run(&Assign, AssignInput { points, centres: others }).output.labels();
    let mut counts = vec![vec![0_u64; k]; fit.centres.k()];
    for (own, other) in fit.labels.iter().zip(labels) {
        counts[*own as usize][other as usize] += 1;
    }
    let pairs = |n: u64| (n * n.saturating_sub(1)) as f64;
    let share = |counts: &Vec<u64>| {
        let all = pairs(counts.iter().sum());
        // A cluster of one point holds no pair to keep together.
        if all > 0.0 { counts.iter().map(|n| pairs(*n)).sum::<f64>() / all } else { 0.0 }
    };
    counts.iter().map(share).fold(1.0, f64::min)
}

/// Returns the stability of every segment of these points, of which `of_all` is the share of all that were parted; none where the work was
/// stopped.
///
/// Points are drawn with replacement where copies of a point do no harm, else half of them without.
#[allow(clippy::cast_precision_loss, reason = "points of a sample")]
pub(crate) fn stability(
    points: &Points,
    labels: &[u32],
    n_segments: usize,
    (recipe, of_all): (Recipe, f64),
    turns: u32,
    fits: Fits<'_>,
) -> Option<Vec<f64>> {
    let n = u32::try_from(points.n()).expect("a sample has fewer than 2^32 points");
    let fits = Fits { restarts: RESTARTS, ..fits };
    let turn = |turn: u32| {
        let mut stream = Stream::new(fits.seed, Purpose::Sample, 2, turn);
        let mut drawn: Vec<usize> = if recipe.minds_copies() {
            let (mut rows, half) = ((0..points.n()).collect::<Vec<usize>>(), points.n().div_ceil(2));
            shuffle(&mut rows, &mut stream, half);
            rows.truncate(half);
            rows
        } else {
            (0..n).map(|_| stream.below(n) as usize).collect()
        };
        drawn.sort_unstable();
        let recipe = recipe.for_share(of_all * drawn.len() as f64 / f64::from(n));
        let fit = recipe.fit(&points.some(&drawn), None, 100_000 + turn, fits)?;
        let mut both = vec![vec![0_u64; fit.n_segments]; n_segments];
        let (mut of_old, mut of_new) = (vec![0_u64; n_segments], vec![0_u64; fit.n_segments]);
        let mut seen = None;
        for (&row, &new) in drawn.iter().zip(&fit.labels) {
            // A point that was drawn twice is one point of the set.
            if seen.replace(row) == Some(row) {
                continue;
            }
            let (old, new) = (labels[row] as usize, new as usize);
            // Noise lies beyond all segments.
            if let Some(count) = of_old.get_mut(old) {
                *count += 1;
            }
            if let Some(count) = of_new.get_mut(new) {
                *count += 1;
            }
            if let Some(count) = both.get_mut(old).and_then(|both| both.get_mut(new)) {
                *count += 1;
            }
        }
        let jaccard = |(both, own): (&Vec<u64>, &u64)| {
            let similarity = |(common, new): (&u64, &u64)| *common as f64 / (own + new - common).max(1) as f64;
            both.iter().zip(&of_new).map(similarity).fold(0.0, f64::max)
        };
        Some(both.iter().zip(&of_old).map(jaccard).collect::<Vec<f64>>())
    };
    let each = (0..turns).into_par_iter().map(turn).collect::<Option<Vec<Vec<f64>>>>()?;
    // In the order of the turns: the same bytes on any number of threads.
    Some((0..n_segments).map(|at| each.iter().map(|of_turn| of_turn[at]).sum::<f64>() / f64::from(turns.max(1))).collect())
}
