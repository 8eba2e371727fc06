//! Lloyd's algorithm on points in memory, exact and the same to the bit on any number of threads.
//!
//! Sums     whole numbers: a cell is rounded to a fixed fraction, so that sums do not depend on their order and only points that moved
//!          are taken from one centre and given to another. The fraction leaves room for all points at the largest cell, and is at most
//!          2^-24, what f32 keeps of a cell near 1: of 64 bits, or where a stray leaves too little of them, of 128.
//! Skipped  a point whose label cannot change is not looked at: the centres moved less, added up, than the second one lies farther than its
//!          own (Hamerly 2010, with one bound). Bounds are rounded against it, so that labels are those of all distances.
//! Text     a column of text is a flag for each of its categories, and a centre has one of them: the most frequent (k-prototypes).
//! Weights  a row counts as its weight in centres, seeds and sums of squares; sums of weights are whole numbers too.
//! Unit     centres of rows of length 1 have length 1 (spherical k-means).
//! Empty    a centre without points moves to the point that lies farthest from its own.
//! End      when no point moves, or after `max_iterations`.
//! Source   Lloyd 1982; categories: Huang 1998 (k-prototypes); seeding: greedy k-means++ (Arthur and Vassilvitskii 2007).

use std::io;

use rayon::prelude::*;

use super::assign::{Assign, AssignInput, Centres, Labelled};
use super::points::Points;
use crate::backend::Backend;
use crate::stats::{Purpose, Stream};

/// Points of a partial sum.
const POINTS_AT_ONCE: usize = 4096;

/// Points that are laid side by side anew at a time, some more where a part has them.
const GATHERED_AT_ONCE: usize = 1 << 16;

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
    let lloyd = Lloyd { blocks: &whole, d: points.d, max_iterations, skips: true, on, stop };
    let moved = lloyd.run(centres).expect("points in memory are there")?;
    let labels: Vec<u32> = moved.labels.into_iter().flatten().map(u32::from).collect();
    let inertia = inertia(points, &moved.centres, &labels);
    let Moved { centres, iterations, converged, n_settled, .. } = moved;
    Some(Fit { centres, labels, inertia, iterations, converged, n_settled })
}

/// Points, block by block, each time in the same order.
pub(crate) type Blocks<'a> = &'a dyn Fn(&mut dyn FnMut(&Points)) -> io::Result<()>;

/// Label of a point that has none yet.
const NONE: u16 = u16::MAX;

/// Bytes that the label of a point takes.
pub(crate) const LABEL_BYTES: u64 = 2;

/// Where centres came to rest.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    pub(crate) centres: Centres,
    /// Block by block.
    pub(crate) labels: Vec<Vec<u16>>,
    pub(crate) iterations: u32,
    pub(crate) converged: bool,
    pub(crate) n_settled: u64,
}

/// Points that come block by block; what comes out does not depend on how they are cut.
pub(crate) struct Lloyd<'a> {
    pub(crate) blocks: Blocks<'a>,
    pub(crate) d: usize,
    pub(crate) max_iterations: u32,
    /// Whether points are left out that cannot have a new label: 4 bytes a point. The labels are the same.
    pub(crate) skips: bool,
    pub(crate) on: &'a Backend,
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
}

impl Lloyd<'_> {
    /// Moves at most 65,535 centres until no point changes its own; none where the work was stopped.
    pub(crate) fn run(&self, mut centres: Centres) -> io::Result<Option<Moved>> {
        let (mut n, mut largest, mut like) = (0.0, 0.0_f32, None);
        (self.blocks)(&mut |points| {
            // In the order of the points, however they are cut.
            n = (0..points.n()).fold(n, |n, at| n + points.weight(at));
            like.get_or_insert_with(|| points.some(&[]));
            largest = largest.max(points.cells.par_iter().map(|x| x.abs()).reduce(|| 0.0, f32::max));
        })?;
        let is_weighted = like.as_ref().is_some_and(|points| points.weights.is_some());
        let mut sums = Sums::new((n, largest), is_weighted, centres.k(), self.d);
        let mut drift = Drift::of_none(centres.k());
        let mut held: Vec<Block> = Vec::new();
        let (mut n_settled, mut iterations) = (0, 0);
        let converged = loop {
            let (mut at, mut moved) = (0, 0);
            (self.blocks)(&mut |points| {
                if (self.stop)() {
                    return;
                }
                if at == held.len() {
                    held.push(Block::new(points.n(), self.skips));
                }
                let (of_block, settled) = held[at].assign(points, (&centres, &drift), &mut sums, self.on);
                (at, moved, n_settled) = (at + 1, moved + of_block, n_settled + settled);
            })?;
            if (self.stop)() {
                return Ok(None);
            }
            if moved == 0 || iterations == self.max_iterations {
                break moved == 0;
            }
            iterations += 1;
            let mut cells = sums.centres();
            if let Some(points) = &like {
                points.shape(&mut cells);
            }
            sums.fill_empty(&mut cells, self.blocks, &held, &centres)?;
            let next = Centres::new(cells, self.d);
            drift.add(&centres, &next);
            centres = next;
        };
        let labels = held.into_iter().map(|block| block.labels).collect();
        Ok(Some(Moved { centres, labels, iterations, converged, n_settled }))
    }
}

/// How far centres have moved, added up: a label stands until the sum of its centre reaches what was set down with it.
///
/// ```text
/// reach(c) = sum over iterations of |move of c| + the longest move of another centre        (Hamerly 2010)
/// ```
pub(super) struct Drift {
    reach: Vec<f64>,
}

impl Drift {
    /// Returns that no centre has moved.
    pub(super) fn of_none(k: usize) -> Self {
        Self { reach: vec![0.0; k] }
    }

    fn add(&mut self, from: &Centres, to: &Centres) {
        // Rounded up.
        let length = |at: usize| {
            let squares = from.centre(at).iter().zip(to.centre(at)).map(|(a, b)| (a - b) * (a - b));
            libm::sqrt(squares.sum()) * 1.000_000_001
        };
        let lengths: Vec<f64> = (0..from.k()).map(length).collect();
        let two = lengths.iter().enumerate().fold((0, 0.0, 0.0), |(at, first, second), (nth, &length)| match length > first {
            true => (nth, length, first),
            false => (at, first, length.max(second)),
        });
        let (longest, first, second) = two;
        for (at, (reach, length)) in self.reach.iter_mut().zip(lengths).enumerate() {
            *reach += length + if at == longest { second } else { first };
        }
    }

    /// Returns what the sum may come to before a label has to be looked at again, rounded down.
    #[allow(clippy::cast_possible_truncation, reason = "rounded down by more than the rounding")]
    fn until(&self, found: Labelled) -> f32 {
        ((self.reach[found.label as usize] + f64::from(found.gap)) * 0.999_999_8) as f32
    }

    fn is_due(&self, label: u16, until: f32) -> bool {
        label == NONE || f64::from(until) <= self.reach[label as usize]
    }
}

/// What is known of a block of points.
pub(super) struct Block {
    labels: Vec<u16>,
    /// What the drift of its label may come to; empty where no point is left out.
    until: Vec<f32>,
}

/// Some points of a block that lie side by side.
struct Part<'a> {
    first: usize,
    labels: &'a mut [u16],
    until: &'a mut [f32],
    /// The points that were looked at; all where absent.
    due: Option<&'a [usize]>,
    found: &'a [Labelled],
}

impl Block {
    pub(super) fn new(n: usize, skips: bool) -> Self {
        Self { labels: vec![NONE; n], until: vec![0.0; if skips { n } else { 0 }] }
    }

    /// Returns the points that can have a new label, part by part; nothing where none is left out.
    fn due(&self, drift: &Drift) -> Vec<Vec<usize>> {
        let of_part = |(part, (labels, until)): (usize, (&[u16], &[f32]))| {
            let is_due = |at: &usize| drift.is_due(labels[*at], until[*at]);
            (0..labels.len()).filter(is_due).map(|at| part * POINTS_AT_ONCE + at).collect()
        };
        let (labels, until) = (self.labels.par_chunks(POINTS_AT_ONCE), self.until.par_chunks(POINTS_AT_ONCE));
        labels.zip(until).enumerate().map(of_part).collect()
    }

    /// Labels the points that can have a new one; returns how many moved, and how many were settled in f64.
    pub(super) fn assign(&mut self, points: &Points, (centres, drift): (&Centres, &Drift), sums: &mut Sums, on: &Backend) -> (usize, u64) {
        let due = self.due(drift);
        let n_due: usize = due.iter().map(Vec::len).sum();
        // Below this share it is faster to lay points side by side anew.
        if self.until.is_empty() || 2 * n_due > points.n() {
            let assigned = on.run(&Assign, AssignInput { points, centres }).output;
            return (self.take(0, None, &assigned.found, points, drift, sums), assigned.n_settled);
        }
        let (mut moved, mut n_settled, mut part) = (0, 0, 0);
        while part < due.len() {
            let (first, mut some) = (part, Vec::new());
            while part < due.len() && (some.is_empty() || some.len() + due[part].len() <= GATHERED_AT_ONCE) {
                some.extend_from_slice(&due[part]);
                part += 1;
            }
            if !some.is_empty() {
                let assigned = on.run(&Assign, AssignInput { points: &points.some(&some), centres }).output;
                moved += self.take(first, Some(&due[first..part]), &assigned.found, points, drift, sums);
                n_settled += assigned.n_settled;
            }
        }
        (moved, n_settled)
    }

    /// Takes what was found of the points from a part on; returns how many moved.
    fn take(
        &mut self,
        first: usize,
        due: Option<&[Vec<usize>]>,
        mut found: &[Labelled],
        points: &Points,
        drift: &Drift,
        sums: &mut Sums,
    ) -> usize {
        let mut unused = Vec::new();
        let until = match self.until.is_empty() {
            true => {
                unused.resize(self.labels.len(), 0.0);
                &mut unused
            }
            false => &mut self.until,
        };
        let parts = self.labels.chunks_mut(POINTS_AT_ONCE).zip(until.chunks_mut(POINTS_AT_ONCE)).enumerate().skip(first);
        let parts = parts.take(due.map_or(usize::MAX, <[_]>::len)).map(|(part, (labels, until))| {
            let due = due.map(|due| &due[part - first][..]);
            let (own, rest) = found.split_at(due.map_or(labels.len(), <[_]>::len));
            found = rest;
            Part { first: part * POINTS_AT_ONCE, labels, until, due, found: own }
        });
        sums.absorb(parts.collect(), points, drift)
    }
}

/// Returns the sum of squared distances, in the order of the points.
pub(crate) fn inertia(points: &Points, centres: &Centres, labels: &[u32]) -> f64 {
    let part = |(first, labels): (usize, &[u32])| -> f64 {
        let of_point = |(at, label): (usize, &u32)| {
            let at = first * POINTS_AT_ONCE + at;
            points.weight(at) * Points::distance(points.point(at), centres.centre(*label as usize))
        };
        labels.iter().enumerate().map(of_point).sum()
    };
    let parts: Vec<f64> = labels.par_chunks(POINTS_AT_ONCE).enumerate().map(part).collect();
    parts.into_iter().sum()
}

/// Sums of the points of every centre, in whole numbers.
pub(super) struct Sums {
    /// What a cell is multiplied with.
    fraction: f64,
    /// What a weight is multiplied with; 1 where points count as 1.
    of_weight: f64,
    /// Whether 64 bits leave too little of a cell beside the largest one, a stray.
    is_wide: bool,
    cells: Vec<i128>,
    counts: Vec<i64>,
    d: usize,
}

/// Bits of a fraction below which sums are made in 128: what they keep of a cell near 1 is then what f32 keeps of it.
const LEAST_BITS: f64 = 24.0;

impl Sums {
    /// Makes room for the sums of some points alone.
    pub(super) fn of(points: &Points, k: usize) -> Self {
        let n = (0..points.n()).fold(0.0, |n, at| n + points.weight(at));
        let largest = points.cells.par_iter().map(|x| x.abs()).reduce(|| 0.0, f32::max);
        Self::new((n, largest), points.weights.is_some(), k, points.d)
    }

    /// Returns the weight of the points of every centre.
    pub(super) fn weights(&self) -> impl Iterator<Item = f64> {
        self.counts.iter().map(|n| *n as f64 / self.of_weight)
    }

    /// Takes the weight of all points, and their largest cell.
    fn new((n, largest): (f64, f32), is_weighted: bool, k: usize, d: usize) -> Self {
        // 2^62, or 2^126, holds the sum of all points at the largest cell.
        let bits = |largest: f64| 62.0 - libm::ceil(libm::log2(largest.max(f64::MIN_POSITIVE)));
        #[allow(clippy::cast_possible_truncation, reason = "a power of two")]
        let power = |bits: f64| libm::ldexp(1.0, bits.clamp(-1000.0, 1000.0) as i32);
        let n = if n > 0.0 { n } else { 1.0 };
        let of_cells = bits(n * f64::from(largest));
        let is_wide = of_cells < LEAST_BITS;
        let fraction = power(if is_wide { of_cells + 64.0 } else { of_cells });
        let of_weight = if is_weighted { power(bits(n)) } else { 1.0 };
        Self { fraction, of_weight, is_wide, cells: vec![0; k * d], counts: vec![0; k], d }
    }

    /// Takes points from the centres that they leave and gives them to those that they come to; returns how many moved.
    fn absorb(&mut self, parts: Vec<Part<'_>>, points: &Points, drift: &Drift) -> usize {
        let (d, fraction, of_weight, is_wide) = (self.d, self.fraction, self.of_weight, self.is_wide);
        let none = || (vec![0_i128; self.cells.len()], vec![0_i64; self.counts.len()], 0_usize);
        let absorb = |(mut cells, mut counts, mut moved): (Vec<i128>, Vec<i64>, usize), part: Part<'_>| {
            for (nth, found) in part.found.iter().enumerate() {
                let at = part.due.map_or(nth, |due| due[nth] - part.first);
                part.until[at] = drift.until(*found);
                let to = u16::try_from(found.label).expect("centres are at most 65,535");
                let from = std::mem::replace(&mut part.labels[at], to);
                if from == to {
                    continue;
                }
                moved += 1;
                let weight = points.weight(part.first + at);
                #[allow(clippy::cast_possible_truncation, reason = "within 2^62 by the choice of the fraction")]
                let whole = (weight * of_weight) as i64;
                for (centre, sign) in (from != NONE).then_some((from, -1)).into_iter().chain([(to, 1)]) {
                    counts[centre as usize] += sign * whole;
                    for (sum, x) in cells[centre as usize * d..][..d].iter_mut().zip(points.point(part.first + at)) {
                        let cell = f64::from(*x) * weight * fraction;
                        #[allow(clippy::cast_possible_truncation, reason = "within 2^62, or 2^126, by the choice of the fraction")]
                        let cell = if is_wide { cell as i128 } else { i128::from(cell as i64) };
                        *sum += i128::from(sign) * cell;
                    }
                }
            }
            (cells, counts, moved)
        };
        // Whole numbers: their sum does not depend on the order in which parts end.
        let add = |mut a: (Vec<i128>, Vec<i64>, usize), b: (Vec<i128>, Vec<i64>, usize)| {
            a.0.iter_mut().zip(b.0).for_each(|(a, b)| *a += b);
            a.1.iter_mut().zip(b.1).for_each(|(a, b)| *a += b);
            (a.0, a.1, a.2 + b.2)
        };
        let (cells, counts, moved) = parts.into_par_iter().fold(none, absorb).reduce(none, add);
        self.cells.iter_mut().zip(cells).for_each(|(sum, x)| *sum += x);
        self.counts.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        moved
    }

    #[allow(clippy::cast_precision_loss, reason = "a sum is rounded to the nearest f64")]
    pub(super) fn centres(&self) -> Vec<f64> {
        let weight = |n: i64| if n > 0 { n as f64 / self.of_weight } else { 1.0 };
        let sums = self.cells.chunks(self.d).zip(&self.counts);
        sums.flat_map(|(sums, n)| sums.iter().map(move |sum| *sum as f64 / self.fraction / weight(*n))).collect()
    }

    /// Moves centres without points to the points that lie farthest from their own.
    fn fill_empty(&self, cells: &mut [f64], blocks: Blocks<'_>, held: &[Block], old: &Centres) -> io::Result<()> {
        let empty: Vec<usize> = (0..self.counts.len()).filter(|&at| self.counts[at] == 0).collect();
        if empty.is_empty() {
            return Ok(());
        }
        // The farthest so far, with their places and cells.
        let mut farthest: Vec<(f64, usize, Vec<f32>)> = Vec::new();
        let (mut at, mut first) = (0, 0);
        blocks(&mut |points| {
            let labels = &held[at].labels;
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
        (0..n).into_par_iter().with_min_len(1024).map(|at| points.weight(at) * Points::distance(points.point(at), centre)).collect()
    };
    let drawn = |weights: &[f64], share: f64| {
        let mut total = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|weight| {
                total += weight;
                total
            })
            .collect();
        sums.partition_point(|sum| *sum <= share * total).min(n - 1)
    };
    let n_tries = 2 + libm::log(k as f64) as usize;
    let first = match &points.weights {
        Some(weights) => drawn(weights, uniform()),
        None => ((uniform() * n as f64) as usize).min(n - 1),
    };
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

#[cfg(test)]
mod tests {
    use super::super::assign::tests::{by_the_book, centres, points};
    use super::*;

    fn run(points: &Points, start: &Centres, skips: bool) -> Moved {
        let whole = |take: &mut dyn FnMut(&Points)| {
            take(points);
            Ok(())
        };
        let on = Backend::cpu();
        let lloyd = Lloyd { blocks: &whole, d: points.d, max_iterations: 60, skips, on: &on, stop: &|| false };
        lloyd.run(start.clone()).expect("points in memory are there").expect("nobody stops it")
    }

    /// Points around k places, `spread` times as far apart as they are wide, and `offset` away from zero.
    fn around(n: usize, d: usize, k: usize, (spread, offset): (f32, f32)) -> Points {
        let (noise, places) = (points(n, d, 11), points(k, d, 12));
        let cell = |at: usize| offset + noise.cells[at] + spread * places.cells[at / d * 7 % k * d + at % d];
        Points::new((0..n * d).map(cell).collect(), d)
    }

    #[test]
    fn points_that_are_left_out_keep_the_label_that_all_distances_give() {
        for (n, d, k) in [(1, 1, 1), (5000, 1, 2), (9000, 3, 7), (20_000, 8, 40), (4097, 33, 150)] {
            for of in [(0.0, 0.0), (1.0, 0.0), (3.0, 0.0), (1.0, 3e4)] {
                let points = around(n, d, k, of);
                let start = Centres::new(points.cells[..k.min(n) * d].iter().map(|x| f64::from(*x)).collect(), d);
                let (found, due) = (run(&points, &start, true), run(&points, &start, false));
                assert_eq!((found.iterations, found.converged), (due.iterations, due.converged), "{n} x {d}, k = {k}, {of:?}");
                assert!(found.labels == due.labels && found.centres == due.centres, "{n} x {d}, k = {k}, {of:?}");
            }
        }
    }

    #[test]
    fn a_stray_costs_the_others_no_digit() {
        let mut cells = points(999, 3, 21).cells;
        cells.extend([1e18, -1e18, 0.5]);
        let points = Points::new(cells, 3);
        let due: Vec<f64> = (0..3).map(|c| (0..999).map(|at| f64::from(points.point(at)[c])).sum::<f64>() / 999.0).collect();
        for is_weighted in [false, true] {
            let points = points.some(&(0..1000).collect::<Vec<_>>()).weighted(is_weighted.then(|| vec![1.0; 1000]));
            let found = run(&points, &Centres::new(vec![0.0, 0.0, 0.0, 1e18, -1e18, 0.5], 3), true);
            let centre = found.centres.centre(0);
            assert!(centre.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-9), "{centre:?}, due {due:?}");
        }
        // A wrong twin: what 64 bits leave beside the stray.
        let mut narrow = Sums::new((1000.0, 1e18), false, 2, 3);
        assert!(narrow.is_wide);
        (narrow.is_wide, narrow.fraction) = (false, narrow.fraction / 18_446_744_073_709_551_616.0);
        let drift = Drift { reach: vec![0.0; 2] };
        let labels = (0..1000).map(|at| Labelled { label: u32::from(at == 999), gap: 0.0 }).collect::<Vec<_>>();
        Block::new(1000, true).take(0, None, &labels, &points, &drift, &mut narrow);
        assert!(narrow.centres()[..3].iter().zip(&due).any(|(a, b)| (a - b).abs() > 1e-3));
    }

    #[test]
    fn few_points_are_looked_at_when_centres_hardly_move() {
        let (points, first) = (around(9000, 4, 6, (2.0, 0.0)), centres(6, 4, 3));
        let next = Centres::new(first.cells.iter().map(|x| x * 1.02).collect(), 4);
        let (on, mut sums) = (Backend::cpu(), Sums::new((9000.0, 100.0), false, 6, 4));
        let labels = |block: &Block| block.labels.iter().copied().map(u32::from).collect::<Vec<_>>();
        let mut drift = Drift { reach: vec![0.0; 6] };
        let mut block = Block::new(9000, true);
        assert_eq!(block.assign(&points, (&first, &drift), &mut sums, &on).0, 9000);
        assert_eq!(labels(&block), by_the_book(&points, &first));
        drift.add(&first, &next);
        let n_due: usize = block.due(&drift).iter().map(Vec::len).sum();
        assert!((1..3000).contains(&n_due), "{n_due} of 9,000 points are looked at");
        let (moved, _) = block.assign(&points, (&next, &drift), &mut sums, &on);
        assert!((1..=n_due).contains(&moved), "{moved} points have moved");
        assert_eq!(labels(&block), by_the_book(&points, &next));
        // A wrong twin: centres far away of which the drift does not tell.
        let far = Centres::new(next.cells.iter().map(|x| -x).collect(), 4);
        block.assign(&points, (&far, &drift), &mut sums, &on);
        assert_ne!(labels(&block), by_the_book(&points, &far));
    }
}
