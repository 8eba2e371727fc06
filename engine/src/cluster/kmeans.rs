//! Lloyd's algorithm on points in memory, exact and the same to the bit on any number of threads.
//!
//! Sums     whole numbers: a cell is rounded to a fixed fraction, so that sums do not depend on their order and only points that moved
//!          are taken from one centre and given to another. The fraction leaves room for all points at the largest cell: at least 2^-30 of it
//!          for up to 2^32 points, far below the rounding of the cells themselves.
//! Empty    a centre without points moves to the point that lies farthest from its own.
//! End      when no point moves, or after `max_iterations`.
//! Source   Lloyd 1982; seeding: greedy k-means++ (Arthur and Vassilvitskii 2007).

use rayon::prelude::*;

use super::assign::{Assign, AssignInput, Centres};
use super::points::Points;
use crate::backend::Backend;
use crate::stats::{Purpose, Stream};

/// Points of a partial sum.
const POINTS_AT_ONCE: usize = 4096;

/// What a fit came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    pub(crate) centres: Centres,
    pub(crate) labels: Vec<u32>,
    /// Sum of squared distances from the nearest centre.
    pub(crate) inertia: f64,
    pub(crate) iterations: u32,
    pub(crate) converged: bool,
    /// Labels that were settled in f64, over all iterations.
    pub(crate) n_settled: u64,
}

/// Moves centres until no point changes its own; none where the work was stopped.
pub(crate) fn lloyd(
    points: &Points,
    mut centres: Centres,
    max_iterations: u32,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Fit> {
    let mut sums = Sums::new(points, centres.k());
    let mut labels: Vec<u32> = Vec::new();
    let (mut n_settled, mut iterations) = (0, 0);
    let converged = loop {
        if stop() {
            return None;
        }
        let assigned = on.run(&Assign, AssignInput { points, centres: &centres }).output;
        n_settled += assigned.n_settled;
        let moved = sums.update(points, &labels, &assigned.labels);
        labels = assigned.labels;
        if moved == 0 || iterations == max_iterations {
            break moved == 0;
        }
        iterations += 1;
        centres = sums.centres(points, &labels, &centres);
    };
    let inertia = inertia(points, &centres, &labels);
    Some(Fit { centres, labels, inertia, iterations, converged, n_settled })
}

/// Returns the sum of squared distances, in the order of the points.
pub(crate) fn inertia(points: &Points, centres: &Centres, labels: &[u32]) -> f64 {
    let part = |(first, labels): (usize, &[u32])| -> f64 {
        let of_point =
            |(at, label): (usize, &u32)| Points::distance(points.point(first * POINTS_AT_ONCE + at), centres.centre(*label as usize));
        labels.iter().enumerate().map(of_point).sum()
    };
    let parts: Vec<f64> = labels.par_chunks(POINTS_AT_ONCE).enumerate().map(part).collect();
    parts.into_iter().sum()
}

/// Sums of the points of every centre, in whole numbers.
struct Sums {
    /// What a cell is multiplied with.
    fraction: f64,
    cells: Vec<i64>,
    counts: Vec<i64>,
    d: usize,
}

impl Sums {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a power of two")]
    fn new(points: &Points, k: usize) -> Self {
        let largest = points.cells.par_iter().map(|x| x.abs()).reduce(|| 0.0, f32::max);
        // 2^62 holds the sum of all points at the largest cell.
        let bits = 62.0 - libm::ceil(libm::log2(points.n().max(1) as f64 * f64::from(largest).max(f64::MIN_POSITIVE)));
        let fraction = libm::ldexp(1.0, bits.clamp(-1000.0, 1000.0) as i32);
        Self { fraction, cells: vec![0; k * points.d], counts: vec![0; k], d: points.d }
    }

    /// Takes points from the centres that they leave and gives them to those that they come to; returns how many moved.
    fn update(&mut self, points: &Points, old: &[u32], new: &[u32]) -> usize {
        let (d, fraction) = (self.d, self.fraction);
        let part = |(first, new): (usize, &[u32])| {
            let (mut cells, mut counts, mut moved) = (vec![0_i64; self.cells.len()], vec![0_i64; self.counts.len()], 0);
            for (at, &to) in new.iter().enumerate() {
                let at = first * POINTS_AT_ONCE + at;
                let from = old.get(at).copied();
                if from == Some(to) {
                    continue;
                }
                moved += 1;
                let point = points.point(at);
                for (centre, sign) in from.map(|from| (from, -1)).into_iter().chain([(to, 1)]) {
                    counts[centre as usize] += sign;
                    for (sum, x) in cells[centre as usize * d..][..d].iter_mut().zip(point) {
                        #[allow(clippy::cast_possible_truncation, reason = "within 2^62 by the choice of the fraction")]
                        let cell = (f64::from(*x) * fraction) as i64;
                        *sum += sign * cell;
                    }
                }
            }
            (cells, counts, moved)
        };
        // Whole numbers: their sum does not depend on the order in which parts end.
        let add = |mut a: (Vec<i64>, Vec<i64>, usize), b: (Vec<i64>, Vec<i64>, usize)| {
            a.0.iter_mut().zip(b.0).for_each(|(a, b)| *a += b);
            a.1.iter_mut().zip(b.1).for_each(|(a, b)| *a += b);
            (a.0, a.1, a.2 + b.2)
        };
        let none = || (vec![0; self.cells.len()], vec![0; self.counts.len()], 0);
        let (cells, counts, moved) = new.par_chunks(POINTS_AT_ONCE).enumerate().map(part).reduce(none, add);
        self.cells.iter_mut().zip(cells).for_each(|(sum, x)| *sum += x);
        self.counts.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        moved
    }

    #[allow(clippy::cast_precision_loss, reason = "a sum is rounded to the nearest f64")]
    fn centres(&self, points: &Points, labels: &[u32], old: &Centres) -> Centres {
        let mut cells: Vec<f64> = Vec::with_capacity(self.cells.len());
        for (sums, n) in self.cells.chunks(self.d).zip(&self.counts) {
            cells.extend(sums.iter().map(|sum| *sum as f64 / self.fraction / (*n).max(1) as f64));
        }
        let empty: Vec<usize> = (0..self.counts.len()).filter(|&at| self.counts[at] == 0).collect();
        if !empty.is_empty() {
            let far = |at: usize| (Points::distance(points.point(at), old.centre(labels[at] as usize)), at);
            let mut by_distance: Vec<(f64, usize)> = (0..points.n()).into_par_iter().map(far).collect();
            by_distance.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (centre, (_, at)) in empty.into_iter().zip(by_distance) {
                for (cell, x) in cells[centre * self.d..][..self.d].iter_mut().zip(points.point(at)) {
                    *cell = f64::from(*x);
                }
            }
        }
        Centres::new(cells, self.d)
    }
}

/// Draws k of the points as centres: the first at random, each next one with probability proportional to the squared distance from
/// those before, the best of some tries.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "few tries, a place among the points"
)]
pub(crate) fn seeds(points: &Points, k: usize, seed: u64, turn: u32) -> Centres {
    let mut stream = Stream::new(seed, Purpose::Seeding, 0, turn);
    let mut uniform = || f64::from(stream.word()) / 4_294_967_296.0;
    let n = points.n();
    let wide = |at: usize| points.point(at).iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let distances = |centre: &[f64]| -> Vec<f64> {
        (0..n).into_par_iter().with_min_len(1024).map(|at| Points::distance(points.point(at), centre)).collect()
    };
    let n_tries = 2 + libm::log(k as f64) as usize;
    let first = ((uniform() * n as f64) as usize).min(n - 1);
    let mut cells = wide(first);
    let mut nearest = distances(&cells);
    for _ in 1..k {
        let mut sums = Vec::with_capacity(n);
        let mut total = 0.0;
        for distance in &nearest {
            total += distance;
            sums.push(total);
        }
        let mut best: Option<(f64, Vec<f64>, Vec<f64>)> = None;
        for _ in 0..n_tries {
            let drawn = uniform() * total;
            let at = sums.partition_point(|sum| *sum <= drawn).min(n - 1);
            let centre = wide(at);
            let mut after = distances(&centre);
            after.iter_mut().zip(&nearest).for_each(|(after, before)| *after = after.min(*before));
            let inertia: f64 = after.iter().sum();
            if best.as_ref().is_none_or(|best| inertia < best.0) {
                best = Some((inertia, centre, after));
            }
        }
        if let Some((_, centre, after)) = best {
            cells.extend(centre);
            nearest = after;
        }
    }
    Centres::new(cells, points.d)
}

/// Returns the best of some fits from seeds of their own; none where the work was stopped.
pub(crate) fn best_of(
    points: &Points,
    k: usize,
    restarts: u32,
    max_iterations: u32,
    (seed, turn): (u64, u32),
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Fit> {
    let mut best: Option<Fit> = None;
    for restart in 0..restarts.max(1) {
        let fit = lloyd(points, seeds(points, k, seed, turn * 1000 + restart), max_iterations, on, stop)?;
        if best.as_ref().is_none_or(|best| fit.inertia < best.inertia) {
            best = Some(fit);
        }
    }
    best
}
