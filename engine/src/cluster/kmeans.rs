//! Lloyd's algorithm on points in memory, exact and the same to the bit on any number of threads.
//!
//! Sums     whole numbers: a cell is rounded to a fixed fraction, so that sums do not depend on their order and only points that moved
//!          are taken from one centre and given to another. The fraction leaves room for all points at the largest cell: at least 2^-30 of it
//!          for up to 2^32 points, far below the rounding of the cells themselves.
//! Text     a column of text is a flag for each of its categories, and a centre has one of them: the most frequent (k-prototypes).
//! Empty    a centre without points moves to the point that lies farthest from its own.
//! End      when no point moves, or after `max_iterations`.
//! Source   Lloyd 1982; categories: Huang 1998 (k-prototypes); seeding: greedy k-means++ (Arthur and Vassilvitskii 2007).

use std::io;

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
pub(crate) fn lloyd(points: &Points, centres: Centres, max_iterations: u32, on: &Backend, stop: &(dyn Fn() -> bool + Sync)) -> Option<Fit> {
    let whole = |take: &mut dyn FnMut(&Points)| {
        take(points);
        Ok(())
    };
    let moved = lloyd_over(&whole, points.d, centres, max_iterations, on, stop).expect("points in memory are there")?;
    let labels = moved.labels.into_iter().next().map_or_else(Vec::new, Labels::wide);
    let inertia = inertia(points, &moved.centres, &labels);
    let Moved { centres, iterations, converged, n_settled, .. } = moved;
    Some(Fit { centres, labels, inertia, iterations, converged, n_settled })
}

/// Points, block by block, each time in the same order.
pub(crate) type Blocks<'a> = &'a dyn Fn(&mut dyn FnMut(&Points)) -> io::Result<()>;

/// Labels of a block, in as few bytes as they need: those of all points are held.
#[derive(Debug, Clone)]
pub(crate) enum Labels {
    Narrow(Vec<u8>),
    Wide(Vec<u32>),
}

impl Labels {
    fn of(labels: Vec<u32>, k: usize) -> Self {
        if k > 256 {
            return Self::Wide(labels);
        }
        Self::Narrow(labels.into_iter().map(|label| u8::try_from(label).expect("labels are below k")).collect())
    }

    pub(crate) fn wide(self) -> Vec<u32> {
        match self {
            Self::Narrow(labels) => labels.into_iter().map(u32::from).collect(),
            Self::Wide(labels) => labels,
        }
    }

    /// Returns the bytes that labels of k centres take for every point.
    pub(crate) const fn bytes(k: usize) -> u64 {
        if k > 256 { 4 } else { 1 }
    }
}

/// Where centres came to rest.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    pub(crate) centres: Centres,
    /// Block by block.
    pub(crate) labels: Vec<Labels>,
    pub(crate) iterations: u32,
    pub(crate) converged: bool,
    pub(crate) n_settled: u64,
}

/// The same for points that come block by block; what comes out does not depend on how they are cut. None where the work was stopped.
pub(crate) fn lloyd_over(
    blocks: Blocks<'_>,
    d: usize,
    mut centres: Centres,
    max_iterations: u32,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<Option<Moved>> {
    let (mut n, mut largest, mut modes) = (0, 0.0_f32, None);
    blocks(&mut |points| {
        n += points.n();
        modes.clone_from(&points.modes);
        largest = largest.max(points.cells.par_iter().map(|x| x.abs()).reduce(|| 0.0, f32::max));
    })?;
    let mut sums = Sums::new((n, largest), centres.k(), d);
    let mut labels: Vec<Labels> = Vec::new();
    let (mut n_settled, mut iterations) = (0, 0);
    let converged = loop {
        let (mut at, mut moved) = (0, 0);
        blocks(&mut |points| {
            if stop() {
                return;
            }
            let assigned = on.run(&Assign, AssignInput { points, centres: &centres }).output;
            n_settled += assigned.n_settled;
            let old = labels.get(at).cloned().map_or_else(Vec::new, Labels::wide);
            moved += sums.update(points, &old, &assigned.labels);
            let new = Labels::of(assigned.labels, centres.k());
            match labels.get_mut(at) {
                Some(labels) => *labels = new,
                None => labels.push(new),
            }
            at += 1;
        })?;
        if stop() {
            return Ok(None);
        }
        if moved == 0 || iterations == max_iterations {
            break moved == 0;
        }
        iterations += 1;
        let mut cells = sums.centres();
        if let Some(modes) = &modes {
            modes.apply(&mut cells, d);
        }
        sums.fill_empty(&mut cells, blocks, &labels, &centres)?;
        centres = Centres::new(cells, d);
    };
    Ok(Some(Moved { centres, labels, iterations, converged, n_settled }))
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
    /// Takes the number of points, and their largest cell.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a power of two")]
    fn new((n, largest): (usize, f32), k: usize, d: usize) -> Self {
        // 2^62 holds the sum of all points at the largest cell.
        let bits = 62.0 - libm::ceil(libm::log2(n.max(1) as f64 * f64::from(largest).max(f64::MIN_POSITIVE)));
        let fraction = libm::ldexp(1.0, bits.clamp(-1000.0, 1000.0) as i32);
        Self { fraction, cells: vec![0; k * d], counts: vec![0; k], d }
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
    fn centres(&self) -> Vec<f64> {
        let sums = self.cells.chunks(self.d).zip(&self.counts);
        sums.flat_map(|(sums, n)| sums.iter().map(move |sum| *sum as f64 / self.fraction / (*n).max(1) as f64)).collect()
    }

    /// Moves centres without points to the points that lie farthest from their own.
    fn fill_empty(&self, cells: &mut [f64], blocks: Blocks<'_>, labels: &[Labels], old: &Centres) -> io::Result<()> {
        let empty: Vec<usize> = (0..self.counts.len()).filter(|&at| self.counts[at] == 0).collect();
        if empty.is_empty() {
            return Ok(());
        }
        // The farthest so far, with their places and cells.
        let mut farthest: Vec<(f64, usize, Vec<f32>)> = Vec::new();
        let (mut at, mut first) = (0, 0);
        blocks(&mut |points| {
            let labels = labels[at].clone().wide();
            let far = |at: usize| (Points::distance(points.point(at), old.centre(labels[at] as usize)), at);
            let mut by_distance: Vec<(f64, usize)> = (0..points.n()).into_par_iter().map(far).collect();
            by_distance.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            by_distance.truncate(empty.len());
            farthest.extend(by_distance.into_iter().map(|(distance, at)| (distance, first + at, points.point(at).to_vec())));
            farthest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            farthest.truncate(empty.len());
            (at, first) = (at + 1, first + points.n());
        })?;
        for (centre, (_, _, point)) in empty.into_iter().zip(farthest) {
            for (cell, x) in cells[centre * self.d..][..self.d].iter_mut().zip(point) {
                *cell = f64::from(x);
            }
        }
        Ok(())
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
