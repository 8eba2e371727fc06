//! Passes over the cells of one column: each reads them once, in eight lanes whatever the processor.
//!
//! Loops that the compiler is left to turn into vectors came out two to four times slower here, because several sums
//! kept side by side did not stay in registers; so vectors are written out, as many as make eight lanes. Everything between
//! the dispatch and an intrinsic is `inline(always)`, closures too: what is not stays without the processor's features, and
//! each of its intrinsics becomes a call.

use pulp::{Arch, Simd, WithSimd};

use super::{LANES, Lanes, total};

/// Chunks of eight that are added up before the lanes are emptied: cells on a grid, whole numbers say, round one way
/// again and again, and the error of a long sum of their squares grows with its length.
const RUN: usize = 128;

/// Cells of one run.
const RUN_CELLS: usize = RUN * LANES;

/// One pass: V vectors make eight lanes.
trait Pass {
    type Output;
    fn run<S: Simd, const V: usize>(self, simd: S) -> Self::Output;
}

struct InLanes<P>(P);

impl<P: Pass> WithSimd for InLanes<P> {
    type Output = P::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> P::Output {
        match S::F64_LANES {
            8 => self.0.run::<S, 1>(simd),
            4 => self.0.run::<S, 2>(simd),
            2 => self.0.run::<S, 4>(simd),
            _ => self.0.run::<S, 8>(simd),
        }
    }
}

fn run<P: Pass>(pass: P) -> P::Output {
    Arch::new().dispatch(InLanes(pass))
}

/// Cells in whole chunks of eight, and the rest filled up with `fill`.
fn chunks(cells: &[f64], fill: f64) -> (&[f64], Lanes) {
    let (whole, rest) = cells.split_at(cells.len() / LANES * LANES);
    let mut last = [fill; LANES];
    last[..rest.len()].copy_from_slice(rest);
    (whole, last)
}

/// Four groups of lanes of one sum, so that no addition waits for the one before it, and what earlier runs came to.
#[derive(Clone, Copy)]
struct Sum<S: Simd, const V: usize> {
    groups: [[S::f64s; V]; 4],
    runs: [S::f64s; V],
}

impl<S: Simd, const V: usize> Sum<S, V> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let zero = simd.splat_f64s(0.0);
        Self { groups: [[zero; V]; 4], runs: [zero; V] }
    }

    #[inline(always)]
    fn add(&mut self, simd: S, group: usize, v: usize, x: S::f64s) {
        self.groups[group][v] = simd.add_f64s(self.groups[group][v], x);
    }

    #[inline(always)]
    fn add_product(&mut self, simd: S, group: usize, v: usize, x: S::f64s, y: S::f64s) {
        self.groups[group][v] = simd.mul_add_f64s(x, y, self.groups[group][v]);
    }

    #[inline(always)]
    fn end_run(&mut self, simd: S) {
        for v in 0..V {
            let even = simd.add_f64s(self.groups[0][v], self.groups[2][v]);
            let odd = simd.add_f64s(self.groups[1][v], self.groups[3][v]);
            self.runs[v] = simd.add_f64s(self.runs[v], simd.add_f64s(even, odd));
        }
        self.groups = [[simd.splat_f64s(0.0); V]; 4];
    }

    #[inline(always)]
    fn total(self) -> f64 {
        total(lanes::<S, V>(self.runs))
    }
}

#[inline(always)]
fn lanes<S: Simd, const V: usize>(vectors: [S::f64s; V]) -> Lanes {
    let mut out = [0.0; LANES];
    S::as_mut_simd_f64s(&mut out).0.copy_from_slice(&vectors);
    out
}

/// Returns `sum of x[k] * y[k]` in fixed lanes, over the shorter of the two.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (x, y) in x.chunks(RUN_CELLS).zip(y.chunks(RUN_CELLS)) {
        run(AddRun { x, y, lanes: &mut lanes });
    }
    total(lanes)
}

/// Returns the dot products of pairs of columns, each the same as [`dot`] gives it.
///
/// All pairs take the same run of rows before the next: of many columns a run stays in the second-level cache, whole columns
/// would come from memory once for every pair.
pub(crate) fn dots(columns: &[&[f64]], pairs: &[(u32, u32)]) -> Vec<f64> {
    let n = columns.iter().map(|column| column.len()).max().unwrap_or(0);
    let mut lanes = vec![[0.0; LANES]; pairs.len()];
    for start in (0..n).step_by(RUN_CELLS) {
        for (lanes, &(i, j)) in lanes.iter_mut().zip(pairs) {
            let part = |at: u32| {
                let column = columns[at as usize];
                &column[start.min(column.len())..(start + RUN_CELLS).min(column.len())]
            };
            run(AddRun { x: part(i), y: part(j), lanes });
        }
    }
    lanes.into_iter().map(total).collect()
}

/// Adds the products of at most one run of cells to lanes.
struct AddRun<'a> {
    x: &'a [f64],
    y: &'a [f64],
    lanes: &'a mut Lanes,
}

impl Pass for AddRun<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let n = self.x.len().min(self.y.len());
        let ((x, x_last), (y, y_last)) = (chunks(&self.x[..n], 0.0), chunks(&self.y[..n], 0.0));
        let mut sum = Sum::<S, V>::new(simd);
        for (run, lanes) in sum.runs.iter_mut().zip(S::as_simd_f64s(self.lanes).0) {
            *run = *lanes;
        }
        let (x, y) = (S::as_simd_f64s(x).0, S::as_simd_f64s(y).0);
        for (x, y) in x.chunks(4 * V).zip(y.chunks(4 * V)) {
            for (group, (x, y)) in x.chunks_exact(V).zip(y.chunks_exact(V)).enumerate() {
                for v in 0..V {
                    sum.add_product(simd, group, v, x[v], y[v]);
                }
            }
        }
        sum.end_run(simd);
        if !n.is_multiple_of(LANES) {
            for (v, (x, y)) in S::as_simd_f64s(&x_last).0.iter().zip(S::as_simd_f64s(&y_last).0).enumerate() {
                sum.add_product(simd, 0, v, *x, *y);
            }
            sum.end_run(simd);
        }
        *self.lanes = lanes::<S, V>(sum.runs);
    }
}

/// What one pass over raw cells shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// Present cells: those that are finite.
    pub(crate) n: u64,
    /// Smallest and largest of them.
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Sum of their deviations from the pilot, and of the squares of these.
    sum: f64,
    squares: f64,
    pilot: f64,
}

/// Where deviations start, and the power of two that they are divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Origin {
    pub(crate) centre: f64,
    pub(crate) unit: i32,
}

/// Unit of a column whose present cells are all the same: below that of any other.
pub(crate) const NO_UNIT: i32 = -1074;

impl Reach {
    /// Returns where deviations start, and a unit in which the largest lies between 1 and 2.
    pub(crate) fn origin(&self) -> Origin {
        let centre = self.centre();
        let widest = (self.max - centre).max(centre - self.min);
        let unit = if widest > 0.0 && widest.is_finite() { libm::ilogb(widest) } else { NO_UNIT };
        Origin { centre, unit }
    }

    /// Returns the mean, on a grid of about an eighth of the standard deviation.
    ///
    /// Cells on a grid of their own (whole numbers, times, f32) then keep short deviations, whose products add up without
    /// rounding or nearly so; deviations from the mean itself would round the same way again and again. What lies between
    /// centre and mean is in the sums.
    #[allow(clippy::cast_precision_loss, reason = "a block has fewer than 2^52 rows")]
    fn centre(&self) -> f64 {
        let n = self.n as f64;
        let mean = self.pilot + self.sum / n;
        if !mean.is_finite() {
            // A sum past the range of f64 says nothing about the middle; the middle of the extremes is as good.
            return self.min / 2.0 + self.max / 2.0;
        }
        let variance = self.squares / n - (self.sum / n) * (self.sum / n);
        // A pilot far off leaves too few digits to tell the size of the deviations.
        if variance.is_normal() && variance > 1e-6 * (self.squares / n) {
            let grid = libm::ldexp(1.0, libm::ilogb(libm::sqrt(variance)) - 3);
            let rounded = libm::round(mean / grid) * grid;
            if rounded.is_finite() {
                return rounded;
            }
        }
        mean.clamp(self.min, self.max)
    }
}

/// Returns how many cells are finite, how far they reach, and their sums about the first of them; none where there is none.
pub(crate) fn reach(raw: &[f64]) -> Option<Reach> {
    let pilot = raw.iter().copied().find(|x| x.is_finite())?;
    Some(run(ReachPass { raw, pilot }))
}

struct ReachPass<'a> {
    raw: &'a [f64],
    pilot: f64,
}

/// The state of a [`ReachPass`].
struct Extent<S: Simd, const V: usize> {
    n: [S::f64s; V],
    min: [S::f64s; V],
    max: [S::f64s; V],
    sum: Sum<S, V>,
    squares: Sum<S, V>,
}

impl<S: Simd, const V: usize> Extent<S, V> {
    #[inline(always)]
    fn take(&mut self, simd: S, pilot: S::f64s, group: usize, cells: &[S::f64s]) {
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        for (v, x) in cells.iter().copied().enumerate().take(V) {
            let here = is_finite(simd, x);
            let deviation = simd.select_f64s(here, simd.sub_f64s(x, pilot), zero);
            self.n[v] = simd.add_f64s(self.n[v], simd.select_f64s(here, one, zero));
            // NaN compares as false, and infinite cells are turned into the extreme that is there already.
            let low = simd.select_f64s(here, x, self.min[v]);
            let high = simd.select_f64s(here, x, self.max[v]);
            self.min[v] = simd.select_f64s(simd.less_than_f64s(low, self.min[v]), low, self.min[v]);
            self.max[v] = simd.select_f64s(simd.greater_than_f64s(high, self.max[v]), high, self.max[v]);
            self.sum.add(simd, group, v, deviation);
            self.squares.add_product(simd, group, v, deviation, deviation);
        }
    }
}

impl Pass for ReachPass<'_> {
    type Output = Reach;

    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) -> Reach {
        let (whole, last) = chunks(self.raw, f64::NAN);
        let pilot = simd.splat_f64s(self.pilot);
        let mut extent = Extent::<S, V> {
            n: [simd.splat_f64s(0.0); V],
            min: [simd.splat_f64s(f64::INFINITY); V],
            max: [simd.splat_f64s(f64::NEG_INFINITY); V],
            sum: Sum::new(simd),
            squares: Sum::new(simd),
        };
        for cells in whole.chunks(RUN_CELLS) {
            for cells in S::as_simd_f64s(cells).0.chunks(4 * V) {
                for (group, cells) in cells.chunks_exact(V).enumerate() {
                    extent.take(simd, pilot, group, cells);
                }
            }
            extent.sum.end_run(simd);
            extent.squares.end_run(simd);
        }
        extent.take(simd, pilot, 0, S::as_simd_f64s(&last).0);
        extent.sum.end_run(simd);
        extent.squares.end_run(simd);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of cells of a block")]
        Reach {
            n: total(lanes::<S, V>(extent.n)) as u64,
            min: lanes::<S, V>(extent.min).into_iter().fold(f64::INFINITY, f64::min),
            max: lanes::<S, V>(extent.max).into_iter().fold(f64::NEG_INFINITY, f64::max),
            sum: extent.sum.total(),
            squares: extent.squares.total(),
            pilot: self.pilot,
        }
    }
}

#[inline(always)]
fn is_finite<S: Simd>(simd: S, x: S::f64s) -> S::m64s {
    simd.less_than_f64s(simd.abs_f64s(x), simd.splat_f64s(f64::INFINITY))
}

/// Writes `(x - centre) / 2^unit` of every cell, 0 where one is missing; returns sum and sum of squares of what was written.
pub(crate) fn write_deviations(raw: &[f64], out: &mut [f64], origin: Origin) -> (f64, f64) {
    // Two factors, because 2^-unit alone leaves the range of f64 for the smallest deviations.
    let half = origin.unit / 2;
    let factors = [libm::ldexp(1.0, -half), libm::ldexp(1.0, half - origin.unit)];
    let whole = raw.len() / LANES * LANES;
    let mut last = [0.0; LANES];
    let sums = run(Write { raw, out: &mut out[..whole], last: &mut last, centre: origin.centre, factors });
    out[whole..raw.len()].copy_from_slice(&last[..raw.len() - whole]);
    sums
}

struct Write<'a> {
    raw: &'a [f64],
    out: &'a mut [f64],
    last: &'a mut Lanes,
    centre: f64,
    factors: [f64; 2],
}

impl Pass for Write<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) -> (f64, f64) {
        let (whole, last) = chunks(self.raw, f64::NAN);
        let mut writing = Writing::<S, V> {
            centre: simd.splat_f64s(self.centre),
            factors: [simd.splat_f64s(self.factors[0]), simd.splat_f64s(self.factors[1])],
            sum: Sum::new(simd),
            squares: Sum::new(simd),
        };
        for (cells, out) in whole.chunks(RUN_CELLS).zip(self.out.chunks_mut(RUN_CELLS)) {
            let (cells, out) = (S::as_simd_f64s(cells).0, S::as_mut_simd_f64s(out).0);
            for (cells, out) in cells.chunks(4 * V).zip(out.chunks_mut(4 * V)) {
                for (group, (cells, out)) in cells.chunks_exact(V).zip(out.chunks_exact_mut(V)).enumerate() {
                    writing.take(simd, group, cells, out);
                }
            }
            writing.sum.end_run(simd);
            writing.squares.end_run(simd);
        }
        writing.take(simd, 0, S::as_simd_f64s(&last).0, S::as_mut_simd_f64s(self.last).0);
        writing.sum.end_run(simd);
        writing.squares.end_run(simd);
        (writing.sum.total(), writing.squares.total())
    }
}

/// The state of a [`Write`].
struct Writing<S: Simd, const V: usize> {
    centre: S::f64s,
    factors: [S::f64s; 2],
    sum: Sum<S, V>,
    squares: Sum<S, V>,
}

impl<S: Simd, const V: usize> Writing<S, V> {
    #[inline(always)]
    fn take(&mut self, simd: S, group: usize, cells: &[S::f64s], out: &mut [S::f64s]) {
        for v in 0..V {
            let scaled = simd.mul_f64s(simd.mul_f64s(simd.sub_f64s(cells[v], self.centre), self.factors[0]), self.factors[1]);
            let deviation = simd.select_f64s(is_finite(simd, cells[v]), scaled, simd.splat_f64s(0.0));
            out[v] = deviation;
            self.sum.add(simd, group, v, deviation);
            self.squares.add_product(simd, group, v, deviation, deviation);
        }
    }
}

/// Rounds cells to f32; returns sum and sum of squares of the rounded ones.
pub(crate) fn narrow(cells: &[f64], out: &mut [f32]) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    let mut rounded = [0.0; RUN_CELLS];
    for (cells, out) in cells.chunks(RUN_CELLS).zip(out.chunks_mut(RUN_CELLS)) {
        let rounded = &mut rounded[..cells.len()];
        super::widest(
            #[inline(always)]
            || {
                for ((cell, out), back) in cells.iter().zip(out.iter_mut()).zip(rounded.iter_mut()) {
                    #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
                    let narrow = *cell as f32;
                    *out = narrow;
                    *back = f64::from(narrow);
                }
            },
        );
        let (sum, squares) = sum_and_squares(rounded);
        sums = (sums.0 + sum, sums.1 + squares);
    }
    sums
}

/// Returns sum and sum of squares of `x` in fixed lanes.
fn sum_and_squares(x: &[f64]) -> (f64, f64) {
    run(Sums { x })
}

struct Sums<'a> {
    x: &'a [f64],
}

impl Pass for Sums<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) -> (f64, f64) {
        let (whole, last) = chunks(self.x, 0.0);
        let (mut sum, mut squares) = (Sum::<S, V>::new(simd), Sum::<S, V>::new(simd));
        for cells in whole.chunks(RUN_CELLS) {
            for cells in S::as_simd_f64s(cells).0.chunks(4 * V) {
                for (group, cells) in cells.chunks_exact(V).enumerate() {
                    for (v, x) in cells.iter().copied().enumerate() {
                        sum.add(simd, group, v, x);
                        squares.add_product(simd, group, v, x, x);
                    }
                }
            }
            sum.end_run(simd);
            squares.end_run(simd);
        }
        for (v, x) in S::as_simd_f64s(&last).0.iter().enumerate() {
            sum.add(simd, 0, v, *x);
            squares.add_product(simd, 0, v, *x, *x);
        }
        sum.end_run(simd);
        squares.end_run(simd);
        (sum.total(), squares.total())
    }
}

/// Rows of a piece of [`extremes`].
pub(crate) const PIECE: usize = RUN_CELLS;

/// Returns the smallest and largest of `x y - half (x^2 + y^2)` in every piece of rows.
pub(crate) fn extremes(x: &[f64], y: &[f64], half: f64) -> Vec<(f64, f64)> {
    x.chunks(PIECE).zip(y.chunks(PIECE)).map(|(x, y)| run(Extremes { x, y, half })).collect()
}

struct Extremes<'a> {
    x: &'a [f64],
    y: &'a [f64],
    half: f64,
}

impl Pass for Extremes<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) -> (f64, f64) {
        let ((x, x_last), (y, y_last)) = (chunks(self.x, 0.0), chunks(self.y, 0.0));
        let half = simd.splat_f64s(self.half);
        // Zeros of the last chunk count: a row at the middle of both columns gives 0 too.
        let mut low = [simd.splat_f64s(0.0); V];
        let mut high = low;
        let cells = S::as_simd_f64s(x).0.iter().chain(S::as_simd_f64s(&x_last).0);
        let others = S::as_simd_f64s(y).0.iter().chain(S::as_simd_f64s(&y_last).0);
        for (at, (x, y)) in cells.zip(others).enumerate() {
            let squares = simd.mul_add_f64s(*x, *x, simd.mul_f64s(*y, *y));
            let value = simd.sub_f64s(simd.mul_f64s(*x, *y), simd.mul_f64s(half, squares));
            let v = at % V;
            low[v] = simd.select_f64s(simd.less_than_f64s(value, low[v]), value, low[v]);
            high[v] = simd.select_f64s(simd.greater_than_f64s(value, high[v]), value, high[v]);
        }
        let (low, high) = (lanes::<S, V>(low), lanes::<S, V>(high));
        (low.into_iter().fold(0.0, f64::min), high.into_iter().fold(0.0, f64::max))
    }
}

/// Returns one bit a cell, set where it is finite; 64 cells a word, lowest bit first.
pub(crate) fn present(raw: &[f64]) -> Vec<u64> {
    let (whole, rest) = raw.split_at(raw.len() / 64 * 64);
    let mut words = Vec::with_capacity(raw.len().div_ceil(64));
    run(Present { whole, words: &mut words });
    if !rest.is_empty() {
        words.push(rest.iter().enumerate().fold(0, |word, (bit, x)| word | u64::from(x.is_finite()) << bit));
    }
    words
}

struct Present<'a> {
    whole: &'a [f64],
    words: &'a mut Vec<u64>,
}

/// Bit of each cell within its word.
const BITS: [u64; 64] = {
    let mut bits = [0; 64];
    let mut bit = 0;
    while bit < 64 {
        bits[bit] = 1 << bit;
        bit += 1;
    }
    bits
};

impl Pass for Present<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let none = simd.splat_u64s(0);
        let bits = S::as_simd_u64s(&BITS).0;
        for cells in self.whole.chunks_exact(64) {
            let mut word = none;
            for (x, bit) in S::as_simd_f64s(cells).0.iter().zip(bits) {
                word = simd.or_u64s(word, simd.select_u64s(is_finite(simd, *x), *bit, none));
            }
            let mut parts = [0; LANES];
            S::as_mut_simd_u64s(&mut parts).0[0] = word;
            self.words.push(parts.iter().fold(0, |word, part| word | part));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "eighths of whole numbers are exact")]

    use super::*;

    /// Cells of every sort: ordinary, missing, infinite; of lengths around every edge.
    fn cells(n: usize) -> Vec<f64> {
        let cell = |row: usize| match row % 23 {
            3 => f64::NAN,
            7 => f64::INFINITY,
            11 => f64::NEG_INFINITY,
            _ => (row * 7919 % 1013) as f64 / 8.0 - 40.0,
        };
        (0..n).map(cell).collect()
    }

    const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 63, 64, 65, 1023, 1024, 1025, 5000];

    #[test]
    fn passes_agree_with_plain_loops() {
        for n in LENGTHS {
            let raw = cells(n);
            let finite: Vec<f64> = raw.iter().copied().filter(|x| x.is_finite()).collect();
            let Some(reach) = reach(&raw) else {
                assert!(finite.is_empty());
                continue;
            };
            let extremes = (finite.iter().copied().fold(f64::INFINITY, f64::min), finite.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            assert_eq!((reach.n, reach.min, reach.max), (finite.len() as u64, extremes.0, extremes.1), "{n}");
            // Eighths of whole numbers: sums are exact, whatever their order.
            let mut out = vec![9.0; n];
            let sums = write_deviations(&raw, &mut out, Origin { centre: 0.0, unit: 3 });
            let due: Vec<f64> = raw.iter().map(|x| if x.is_finite() { x / 8.0 } else { 0.0 }).collect();
            assert_eq!(out, due);
            assert_eq!(sums, (due.iter().sum(), due.iter().map(|x| x * x).sum()));
            assert_eq!(sum_and_squares(&due), sums);
            assert_eq!(dot(&due, &due[..n - n % 3]), due[..n - n % 3].iter().map(|x| x * x).sum::<f64>());
            let mut narrowed = vec![9.0_f32; n];
            assert_eq!(narrow(&due, &mut narrowed), sums);
            assert!(narrowed.iter().zip(&due).all(|(a, b)| f64::from(*a) == *b));
            let words = present(&raw);
            assert!(raw.iter().enumerate().all(|(row, x)| (words[row / 64] >> (row % 64) & 1 == 1) == x.is_finite()));
            assert_eq!(words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>(), finite.len() as u64);
        }
    }

    #[test]
    fn dots_of_many_pairs_are_dots() {
        let columns: Vec<Vec<f64>> = (0..5).map(|at| (0..2500).map(|row| (f64::from(row * (at + 3)) * 0.7).sin()).collect()).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let pairs = [(0, 1), (3, 4), (2, 2), (1, 0)];
        let due: Vec<u64> = pairs.iter().map(|&(i, j)| dot(columns[i as usize], columns[j as usize]).to_bits()).collect();
        assert_eq!(dots(&columns, &pairs).into_iter().map(f64::to_bits).collect::<Vec<_>>(), due);
    }

    #[test]
    fn every_processor_gives_the_same_bytes() {
        let raw: Vec<f64> = (0..3001).map(|row| (f64::from(row) * 0.7).sin() * 1e3).collect();
        let bytes = |arch: Arch| {
            let mut out = vec![0.0; raw.len()];
            let reach = arch.dispatch(InLanes(ReachPass { raw: &raw, pilot: raw[0] }));
            let origin = reach.origin();
            let whole = raw.len() / LANES * LANES;
            let write = Write { raw: &raw, out: &mut out[..whole], last: &mut [0.0; LANES], centre: origin.centre, factors: [0.5, 0.25] };
            let sums = arch.dispatch(InLanes(write));
            let mut lanes = [0.0; LANES];
            arch.dispatch(InLanes(AddRun { x: &raw[..RUN_CELLS - 3], y: &out[..RUN_CELLS - 3], lanes: &mut lanes }));
            (reach, sums, lanes, arch.dispatch(InLanes(Sums { x: &raw })))
        };
        let due = bytes(Arch::Scalar);
        assert_eq!(bytes(Arch::new()), due);
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = pulp::x86::V3::try_new() {
            assert_eq!(bytes(Arch::V3(v3)), due);
        }
    }
}
