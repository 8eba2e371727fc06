//! The nearest of k centres for every point, without a matrix of n x k distances.
//!
//! ```text
//! nearest(x) = argmin over c of |x - c|^2 = argmax over c of x . c - |c|^2 / 2        ties: the first centre
//! ```
//!
//! Shape    n points and k centres of d cells in, one label a point out.
//! Numbers  x . c in f32, on either place within (d + 8) 2^-24 (|x| |c| + |c|^2) of the truth; points whose two best centres lie closer
//!          than twice that are settled in f64, so that labels are those of f64 and the same on every place.
//! Cost     n k d multiply-adds.

pub(crate) mod gpu;

use std::sync::atomic::{AtomicU64, Ordering};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::points::{PACKED_AT_ONCE, Points};
use crate::backend::{Cost, Cpu, Gpu, GpuError, Kernel};
use crate::simd::{Matrix, Multiply, PANEL_STEP, Packed, widest};

/// Points whose products are held at a time: with those of [`CENTRES_AT_ONCE`] centres they stay in the first-level cache.
const MULTIPLIED_AT_ONCE: usize = PANEL_STEP;

/// Centres whose products are held at a time.
const CENTRES_AT_ONCE: usize = 144;

/// Points and centres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AssignInput<'a> {
    pub(crate) points: &'a Points,
    /// Centres, one after another.
    pub(crate) centres: &'a Centres,
}

/// Centres in the widths that are needed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Centres {
    /// Cells, one centre after another.
    pub(crate) cells: Vec<f64>,
    pub(crate) d: usize,
    /// The same, the cells of one column side by side.
    columns: Vec<f64>,
    narrow: Vec<f32>,
    /// Half of each centre's squared norm.
    halves: Vec<f32>,
    /// The largest norm, rounded up.
    largest: f32,
}

impl Centres {
    #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
    pub(crate) fn new(cells: Vec<f64>, d: usize) -> Self {
        let squares: Vec<f64> = cells.chunks(d).map(|centre| centre.iter().map(|c| c * c).sum()).collect();
        let largest = (libm::sqrt(squares.iter().copied().fold(0.0, f64::max)) * 1.000_001) as f32;
        let halves = squares.iter().map(|square| (square / 2.0) as f32).collect();
        let columns = (0..d).flat_map(|column| cells.iter().skip(column).step_by(d).copied()).collect();
        Self { narrow: cells.iter().map(|c| *c as f32).collect(), cells, d, columns, halves, largest }
    }

    pub(crate) fn k(&self) -> usize {
        self.halves.len()
    }

    pub(crate) fn centre(&self, at: usize) -> &[f64] {
        &self.cells[at * self.d..][..self.d]
    }

    /// Writes the squared distance of a point from every centre, in f64: side by side, each the same as [`Points::distance`] gives it. Of a
    /// point that lacks cells (NaN) it is that of the cells it has, times all of them over those (Dixon 1979).
    pub(crate) fn distances(&self, point: &[f32], out: &mut Vec<f64>) {
        out.clear();
        out.resize(self.k(), 0.0);
        let mut n_present = 0_u32;
        widest(
            #[inline(always)]
            || {
                for (x, centres) in point.iter().zip(self.columns.chunks_exact(out.len().max(1))) {
                    if x.is_nan() {
                        continue;
                    }
                    n_present += 1;
                    let x = f64::from(*x);
                    for (sum, c) in out.iter_mut().zip(centres) {
                        *sum += (x - c) * (x - c);
                    }
                }
            },
        );
        if (n_present as usize) < self.d {
            #[allow(clippy::cast_precision_loss, reason = "columns are far fewer than 2^53")]
            let share = self.d as f64 / f64::from(n_present.max(1));
            for square in out.iter_mut() {
                *square *= share;
            }
        }
    }

    /// Returns the first of the nearest centres in f64.
    pub(crate) fn nearest(&self, point: &[f32], room: &mut Vec<f64>) -> u32 {
        self.distances(point, room);
        let each = (0..).zip(room.iter().copied());
        each.fold((0, f64::INFINITY), |best, other| if other.1 < best.1 { other } else { best }).0
    }

    /// Returns how far a screened score of a point may be from the truth, both of two taken together.
    #[allow(clippy::cast_precision_loss, reason = "a bound with room to spare")]
    fn band(&self, norm: f32) -> f32 {
        1.01 * (self.d + 8) as f32 * f32::EPSILON * self.largest * (norm + self.largest) + f32::MIN_POSITIVE
    }
}

/// The nearest centre of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Labelled {
    pub(crate) label: u32,
    /// How much farther every other centre is, at least; 0 where it was settled in f64.
    pub(crate) gap: f32,
}

/// Every point's nearest centre, and how many were settled in f64.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assigned {
    pub(crate) found: Vec<Labelled>,
    pub(crate) n_settled: u64,
}

impl Assigned {
    pub(crate) fn labels(&self) -> Vec<u32> {
        self.found.iter().map(|found| found.label).collect()
    }
}

/// What screening finds of a point: the best centre, its score and the second best one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Screened {
    pub(crate) label: u32,
    pub(crate) best: f32,
    pub(crate) second: f32,
}

/// Returns the label of a point: what was screened where that is clear, else the nearest centre in f64, which is counted.
fn label(input: AssignInput<'_>, at: usize, found: Screened, n_settled: &AtomicU64) -> Labelled {
    let norm = input.points.norm(at);
    let band = input.centres.band(norm);
    let clear = found.best - found.second - band;
    // Written so that NaN is settled.
    if clear > 0.0 {
        return Labelled { label: found.label, gap: gap(norm, band, clear, found.second) };
    }
    n_settled.fetch_add(1, Ordering::Relaxed);
    Labelled { label: input.centres.nearest(input.points.point(at), &mut Vec::new()), gap: 0.0 }
}

/// Returns how much farther than its own a point's second centre is, at least, with enough left for distances in f64 to say so too:
///
/// ```text
/// d2 - d1 = (d2^2 - d1^2) / (d2 + d1) >= (d2^2 - d1^2) / (2 d2)        d2^2 - d1^2 = 2 (best - second),  d2^2 = |x|^2 - 2 second
/// ```
fn gap(norm: f32, band: f32, clear: f32, second: f32) -> f32 {
    if second == f32::NEG_INFINITY {
        return f32::INFINITY;
    }
    let farther = (norm * norm * 1.000_001 - 2.0 * second + band).max(f32::MIN_POSITIVE).sqrt() * 1.000_001;
    (clear / farther - 1e-6 * farther).max(0.0)
}

/// Settles the points whose two best centres are too close to tell apart.
fn settle(input: AssignInput<'_>, screened: &[Screened]) -> Assigned {
    let n_settled = AtomicU64::new(0);
    let found = screened.par_iter().enumerate().map(|(at, found)| label(input, at, *found, &n_settled)).collect();
    Assigned { found, n_settled: n_settled.into_inner() }
}

/// Returns the cost of scores of so many operations: on a device half as fast as a product, on the CPU, where points are packed once, faster.
pub(super) fn cost_of_scores(flops: f64) -> Cost {
    Cost { flops: 2.0 * flops, cpu_flops: 0.6 * flops, ..Cost::default() }
}

/// The kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assign;

impl Kernel for Assign {
    const NAME: &'static str = "assign";
    type Input<'a> = AssignInput<'a>;
    type Output = Assigned;

    #[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
    fn cost(&self, input: AssignInput<'_>) -> Cost {
        let (n, k, d) = (input.points.n(), input.centres.k(), input.points.d);
        let flops = 2.0 * (n * k) as f64 * d as f64;
        Cost { bytes_up: 4 * (n * d) as u64, bytes_down: 12 * n as u64, ..cost_of_scores(flops) }
    }

    fn on_cpu(&self, _: &Cpu, input: AssignInput<'_>) -> Assigned {
        let n_settled = AtomicU64::new(0);
        let mut found = vec![Labelled { label: 0, gap: 0.0 }; input.points.n()];
        screen(input, &mut found, |at, found| label(input, at, found, &n_settled));
        Assigned { found, n_settled: n_settled.into_inner() }
    }

    fn on_gpu(&self, gpu: &Gpu, input: AssignInput<'_>) -> Result<Assigned, GpuError> {
        Ok(settle(input, &gpu::screen(gpu, input)?))
    }
}

/// Screens all points on the CPU, and puts down what each comes to.
fn screen<T: Send>(input: AssignInput<'_>, out: &mut [T], put: impl Fn(usize, Screened) -> T + Sync) {
    let (d, k) = (input.points.d, input.centres.k());
    let mut packed = Packed::new(k, d);
    packed.pack(Matrix { values: &input.centres.narrow[..], n_rows: d, stride: d, n_columns: k }, &(0..d));
    let task = |room: &mut Vec<f32>, (chunk, (out, points)): (usize, (&mut [T], &Packed<f32>))| {
        for (at, out) in out.chunks_mut(MULTIPLIED_AT_ONCE).enumerate() {
            let some = at * MULTIPLIED_AT_ONCE..at * MULTIPLIED_AT_ONCE + out.len();
            let mut labels = [0.0; MULTIPLIED_AT_ONCE];
            let (mut best, mut second) = ([f32::NEG_INFINITY; MULTIPLIED_AT_ONCE], [f32::NEG_INFINITY; MULTIPLIED_AT_ONCE]);
            for first in (0..k).step_by(CENTRES_AT_ONCE) {
                let centres = first..(first + CENTRES_AT_ONCE).min(k);
                room.clear();
                room.resize(MULTIPLIED_AT_ONCE * centres.len().next_multiple_of(PANEL_STEP), 0.0);
                f32::multiply(room, MULTIPLIED_AT_ONCE, points, some.clone(), &packed, centres.clone(), false);
                let halves = &input.centres.halves[centres];
                let (labels, best, second) = (&mut labels, &mut best, &mut second);
                Arch::new().dispatch(Compete { labels, best, second, products: room, first, halves });
            }
            let first = chunk * PACKED_AT_ONCE + at * MULTIPLIED_AT_ONCE;
            for (lane, out) in out.iter_mut().enumerate() {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a label is a small whole number")]
                let label = labels[lane] as u32;
                *out = put(first + lane, Screened { label, best: best[lane], second: second[lane] });
            }
        }
    };
    let chunks = out.par_chunks_mut(PACKED_AT_ONCE).zip(input.points.panels()).enumerate();
    chunks.for_each_init(Vec::new, task);
}

/// Vectors of points that compete at a time: their comparisons do not wait for one another.
const VECTORS: usize = 3;

/// Lets some centres compete for points; of equal scores the first centre keeps its place.
///
/// Vectors by hand: left to itself the compiler writes labels through masked stores, which cost more than everything else here.
struct Compete<'a> {
    labels: &'a mut [f32; MULTIPLIED_AT_ONCE],
    best: &'a mut [f32; MULTIPLIED_AT_ONCE],
    second: &'a mut [f32; MULTIPLIED_AT_ONCE],
    products: &'a [f32],
    first: usize,
    halves: &'a [f32],
}

impl WithSimd for Compete<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let of_all = MULTIPLIED_AT_ONCE / S::F32_LANES;
        let (labels, _) = S::as_mut_simd_f32s(self.labels);
        let (best, _) = S::as_mut_simd_f32s(self.best);
        let (second, _) = S::as_mut_simd_f32s(self.second);
        let (products, _) = S::as_simd_f32s(self.products);
        for group in (0..of_all).step_by(VECTORS) {
            let mut held: [(S::f32s, S::f32s, S::f32s); VECTORS] =
                std::array::from_fn(|v| (labels[group + v], best[group + v], second[group + v]));
            for ((centre, half), scores) in (self.first..).zip(self.halves).zip(products.chunks_exact(of_all)) {
                #[allow(clippy::cast_precision_loss, reason = "centres are far fewer than 2^24")]
                let (label, half) = (simd.splat_f32s(centre as f32), simd.splat_f32s(*half));
                let scores = &scores[group..group + VECTORS];
                for v in 0..VECTORS {
                    let (old, best, second) = held[v];
                    let score = simd.sub_f32s(scores[v], half);
                    let is_better = simd.greater_than_f32s(score, best);
                    let next = simd.max_f32s(score, second);
                    held[v] =
                        (simd.select_f32s(is_better, label, old), simd.max_f32s(score, best), simd.select_f32s(is_better, best, next));
                }
            }
            for (v, held) in held.into_iter().enumerate() {
                (labels[group + v], best[group + v], second[group + v]) = held;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn points(n: usize, d: usize, seed: u64) -> Points {
        let mut state = seed;
        let cell = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / 8_388_608.0 - 1.0) * 3.0
        };
        Points::new((0..n * d).map(cell).collect(), d)
    }

    pub(in super::super) fn centres(k: usize, d: usize, seed: u64) -> Centres {
        Centres::new(points(k, d, seed).cells.iter().map(|x| f64::from(*x) * 0.7).collect(), d)
    }

    /// By the book: all distances, in f64.
    pub(in super::super) fn by_the_book(points: &Points, centres: &Centres) -> Vec<u32> {
        let nearest = |at: usize| {
            let distance = |centre: usize| Points::distance(points.point(at), centres.centre(centre));
            (0..centres.k()).min_by(|a, b| distance(*a).total_cmp(&distance(*b)).then(a.cmp(b))).map_or(0, |at| at as u32)
        };
        (0..points.n()).map(nearest).collect()
    }

    pub(super) fn all_screened(input: AssignInput<'_>) -> Vec<Screened> {
        let mut screened = vec![Screened { label: 0, best: 0.0, second: 0.0 }; input.points.n()];
        screen(input, &mut screened, |_, found| found);
        screened
    }

    #[test]
    fn labels_are_those_of_f64() {
        for (n, k, d) in [(1, 1, 1), (5, 3, 2), (479, 7, 3), (481, 48, 9), (1000, 49, 16), (2000, 300, 65)] {
            let (points, centres) = (points(n, d, 3), centres(k, d, 5));
            let found = Assign.on_cpu(&Cpu::new(), AssignInput { points: &points, centres: &centres });
            assert_eq!(found.labels(), by_the_book(&points, &centres), "{n} points, {k} centres, {d} columns");
            assert!(found.n_settled < n as u64 / 10 + 3, "{} of {n} were settled", found.n_settled);
        }
    }

    #[test]
    fn every_other_centre_is_as_much_farther_as_the_gap_says() {
        let (points, centres) = (points(3000, 6, 4), centres(9, 6, 6));
        let found = Assign.on_cpu(&Cpu::new(), AssignInput { points: &points, centres: &centres }).found;
        let mut room = Vec::new();
        let mut shares = Vec::new();
        for (at, found) in found.iter().enumerate() {
            centres.distances(points.point(at), &mut room);
            let own = libm::sqrt(room.remove(found.label as usize));
            let gap = libm::sqrt(room.iter().copied().fold(f64::INFINITY, f64::min)) - own;
            assert!(f64::from(found.gap) < gap || gap == 0.0, "point {at}: {gap} farther, {} said", found.gap);
            shares.push(f64::from(found.gap) / gap);
        }
        shares.sort_by(f64::total_cmp);
        assert!(shares[1500] > 0.7, "half of all gaps are less than {} of the truth", shares[1500]);
        let one = Centres::new(vec![1.0; 6], 6);
        let found = Assign.on_cpu(&Cpu::new(), AssignInput { points: &points, centres: &one }).found;
        assert!(found.iter().all(|found| found.label == 0 && found.gap == f32::INFINITY));
    }

    #[test]
    fn ties_go_to_the_first_centre_and_are_settled() {
        let points = points(500, 4, 1);
        let mut cells = centres(3, 4, 2).cells;
        cells.extend_from_within(4..12);
        let centres = Centres::new(cells, 4);
        let found = Assign.on_cpu(&Cpu::new(), AssignInput { points: &points, centres: &centres });
        assert!(found.labels().iter().all(|label| *label < 3));
        assert_eq!(found.labels(), by_the_book(&points, &centres));
        let n_tied = found.labels().iter().filter(|label| **label > 0).count() as u64;
        assert!(found.n_settled >= n_tied);
    }

    #[test]
    fn agreement_catches_a_wrong_twin() {
        let (points, centres) = (points(300, 5, 8), centres(6, 5, 9));
        let due = by_the_book(&points, &centres);
        let mut screened = all_screened(AssignInput { points: &points, centres: &centres });
        screened[17].label = (screened[17].label + 1) % 6;
        screened[17].second = f32::NEG_INFINITY;
        assert_ne!(settle(AssignInput { points: &points, centres: &centres }, &screened).labels(), due);
    }
}
