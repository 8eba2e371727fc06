//! Kendall's tau-b: how far two columns put rows in the same order.
//!
//! ```text
//! S     = sum over pairs of rows of sign(x_j - x_i) sign(y_j - y_i)
//! tau_b = S / sqrt((N - Tx) (N - Ty))          N = n (n - 1) / 2, T = pairs of rows that a column ties
//! ```
//!
//! Shape    columns of cells in, one score a pair out. All counts are whole numbers, so that neither the order of rows nor
//!          the number of threads changes a bit.
//! Nulls    `tau_b` takes the rows where both cells are finite; `all_pairs` is for columns that have all of them. A column
//!          that is constant over a pair's rows gives no tau: null. So do fewer than two rows.
//! Tests    two-sided p. Exact where neither column has ties and there are at most 33 rows, or at most one pair of rows
//!          agrees, or at most one disagrees; else the normal distribution with the variance that ties leave (Kendall 1970,
//!          Rank Correlation Methods, 4th edition, chapters 4 and 5).
//! Cost     rows are sorted once a column. A pair then costs n^2 / 2 bits where rows are few; a table of levels where both
//!          columns have few; else one walk over the rows in the order of x that counts the rows seen before and below in
//!          y (Knight 1966, with counters in place of a merge). Memory: 8 bytes a cell, 20 where the column has ties.
//! Absent   tau-c, weighted tau, one-sided tests.

pub(crate) mod gpu;
mod seen;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use seen::{DISTRICT, Near, Seen, Taken};

use super::stat::Stat;
use crate::backend::{Backend, Cost, Cpu, Gpu, GpuError, Kernel};
use crate::simd::bits;
use crate::stats::{KENDALL_EXACT_ROWS, ln_kendall_exact, ln_normal_sf};

/// Rows up to which a pair is counted bit by bit, with vectors whose bits are counted at once and without.
///
/// In CPU time of 11,175 pairs, bits and walks: 2,000 rows 0.09 s and 0.14 s without ties, 0.19 s and 0.29 s with; 3,000 rows
/// 0.19 s and 0.21 s, 0.37 s and 0.38 s. Bits that are counted by shuffles cost as much as walks at 2,000 rows with AVX-512;
/// vectors of half the size are given half of that.
const BIT_ROWS_OF_VECTORS: usize = 3000;
const BIT_ROWS: usize = 1000;

/// Rows from which the two columns of one pair are sorted on two threads.
const ROWS_FOR_TWO: usize = 10_000;

/// Rows times pairs between two calls of `on_progress`.
const CELLS_OF_TASK: usize = 1 << 18;

/// Returns tau-b of two columns over the rows where both are finite.
pub(crate) fn tau_b(x: &[f64], y: &[f64]) -> Stat {
    let (x, y): (Vec<f64>, Vec<f64>) = x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite()).unzip();
    let (x, y) = if x.len() < ROWS_FOR_TWO { (Sorted::of(&x), Sorted::of(&y)) } else { rayon::join(|| Sorted::of(&x), || Sorted::of(&y)) };
    let n = x.order.len();
    let score = Room::new(n).score(&Ready::of(&x), &Ready::of(&y));
    Counts { score, n, x: x.ties(), y: y.ties() }.stat()
}

/// Returns tau-b of pairs of columns that have the same rows and no missing cell, in the order of `pairs`; none where
/// `on_progress`, called now and then, returned true.
pub(crate) fn all_pairs(
    on: &Backend,
    columns: &[&[f64]],
    pairs: &[(u32, u32)],
    on_progress: &(dyn Fn() -> bool + Sync),
) -> Option<Vec<Stat>> {
    let sorted = columns.par_iter().map(|column| (!on_progress()).then(|| Sorted::of(column))).collect::<Option<Vec<_>>>()?;
    let scores = on.run(&Kendall, KendallInput { columns: &sorted, pairs, on_progress }).output?;
    Some(stats(&sorted, pairs, scores))
}

/// Returns what scores come to.
fn stats(columns: &[Sorted], pairs: &[(u32, u32)], scores: Vec<i64>) -> Vec<Stat> {
    let n = columns.first().map_or(0, |column| column.order.len());
    let ties: Vec<Ties> = columns.iter().map(Sorted::ties).collect();
    let counts = pairs.par_iter().zip(scores).map(|((x, y), score)| Counts { score, n, x: ties[*x as usize], y: ties[*y as usize] });
    counts.map(|counts| counts.stat()).collect()
}

/// The kernel: scores of pairs of columns.
#[derive(Debug, Clone, Copy)]
struct Kendall;

/// Columns, the pairs of them asked for, and what says that they are no longer wanted.
#[derive(Clone, Copy)]
struct KendallInput<'a> {
    columns: &'a [Sorted],
    pairs: &'a [(u32, u32)],
    on_progress: &'a (dyn Fn() -> bool + Sync),
}

impl Kernel for Kendall {
    const NAME: &'static str = "kendall";
    type Input<'a> = KendallInput<'a>;
    type Output = Option<Vec<i64>>;

    fn cost(&self, input: KendallInput<'_>) -> Cost {
        cost(input.columns.first().map_or(0, |column| column.order.len()), input.columns.len(), input.pairs.len())
    }

    fn on_cpu(&self, _: &Cpu, input: KendallInput<'_>) -> Option<Vec<i64>> {
        Way::of(input.columns).scores(input)
    }

    fn on_gpu(&self, gpu: &Gpu, input: KendallInput<'_>) -> Result<Option<Vec<i64>>, GpuError> {
        gpu::scores(gpu, input)
    }
}

/// Returns the cost of the scores of pairs.
#[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
pub(super) fn cost(n_rows: usize, n_columns: usize, n_pairs: usize) -> Cost {
    let (n, p, pairs) = (n_rows as f64, n_columns as f64, n_pairs as f64);
    // 32 pairs of rows a word; the CPU counts them 64 at a time, or walks along the rows at 8 ns each.
    let of_cpu = if n_rows <= BIT_ROWS_OF_VECTORS { 0.12 * n * n } else { 480.0 * n };
    Cost {
        flops: n * n / 64.0 * (gpu::OPS_TO_COUNT * pairs + gpu::OPS_TO_WRITE * p),
        cpu_flops: of_cpu * pairs,
        bytes_up: 4 * (n_rows * n_columns) as u64,
        bytes_down: 64 * n_pairs as u64,
    }
}

/// How scores are counted on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bits,
    Walks,
}

impl Way {
    fn of(columns: &[Sorted]) -> Self {
        let n = columns.first().map_or(0, |column| column.order.len());
        let most = if bits::counts_vectors() { BIT_ROWS_OF_VECTORS } else { BIT_ROWS };
        // Columns of few levels are counted in tables, which beat both.
        let n_coarse = columns.iter().filter(|column| column.is_tied() && column.n_levels().saturating_mul(column.n_levels()) <= n).count();
        if n <= most && 2 * n_coarse <= columns.len() { Self::Bits } else { Self::Walks }
    }

    fn scores(self, input: KendallInput<'_>) -> Option<Vec<i64>> {
        match self {
            Self::Bits => {
                let ranks: Vec<Vec<u32>> = input.columns.par_iter().map(Sorted::ranks).collect();
                bits::scores(&ranks.iter().map(Vec::as_slice).collect::<Vec<_>>(), input.pairs, input.on_progress)
            }
            Self::Walks => walk_pairs(input),
        }
    }
}

/// Scores of pairs by walks and tables.
fn walk_pairs(KendallInput { columns, pairs, on_progress }: KendallInput<'_>) -> Option<Vec<i64>> {
    let n = columns.first().map_or(0, |column| column.order.len());
    let ready: Vec<Ready<'_>> = columns.par_iter().map(Ready::of).collect();
    let order = bits::tile_order(pairs);
    let of_task = (CELLS_OF_TASK / n.max(1)).clamp(1, 256);
    let scores = order.par_chunks(of_task).map(|task| {
        let mut room = Room::new(n);
        let pairs = task.iter().map(|at| pairs[*at as usize]);
        let scores: Vec<i64> = pairs.map(|(x, y)| room.score(&ready[x as usize], &ready[y as usize])).collect();
        (!on_progress()).then_some(scores)
    });
    let mut out = vec![0; pairs.len()];
    for (at, score) in order.iter().zip(scores.collect::<Option<Vec<_>>>()?.into_iter().flatten()) {
        out[*at as usize] = score;
    }
    Some(out)
}

/// What a pair's tau and its test follow from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Counts {
    /// Pairs of rows that agree less those that disagree.
    pub(crate) score: i64,
    /// Rows.
    pub(crate) n: usize,
    /// Ties of either column.
    pub(crate) x: Ties,
    pub(crate) y: Ties,
}

impl Counts {
    /// Returns tau-b and its two-sided p.
    pub(crate) fn stat(&self) -> Stat {
        let n = self.n as u64;
        let n_pairs = n * n.saturating_sub(1) / 2;
        let (x, y) = (n_pairs - self.x.pairs, n_pairs - self.y.pairs);
        if x == 0 || y == 0 {
            return Stat { n, ..Stat::default() };
        }
        // Where both columns tie as many pairs, the root is exact: two columns in the same order come to 1.
        #[allow(clippy::cast_precision_loss, reason = "2^53 pairs of rows are rounded to the nearest f64")]
        let value = self.score as f64 / libm::sqrt(x as f64 * y as f64);
        Stat { n, value: Some(value.clamp(-1.0, 1.0)), ln_p: self.ln_p(n_pairs), ..Stat::default() }
    }

    fn ln_p(&self, n_pairs: u64) -> Option<f64> {
        if self.x.pairs == 0 && self.y.pairs == 0 {
            // The rarer of agreeing and disagreeing pairs: the distribution is symmetric.
            let rarer = (n_pairs - self.score.unsigned_abs()) / 2;
            if self.n <= KENDALL_EXACT_ROWS || rarer <= 1 {
                return Some(ln_kendall_exact(self.n, rarer));
            }
        }
        self.ln_normal()
    }

    /// The normal distribution. Two rows without a constant column have no ties, so n - 2 is above 0 here.
    #[allow(clippy::cast_precision_loss, reason = "2^53 pairs of rows are rounded to the nearest f64")]
    fn ln_normal(&self) -> Option<f64> {
        let (n, x, y) = (self.n as f64, &self.x, &self.y);
        let m = n * (n - 1.0);
        let alone = (m * (2.0 * n + 5.0) - x.spread - y.spread) / 18.0;
        let variance = alone + 2.0 * x.pairs as f64 * y.pairs as f64 / m + x.triples * y.triples / (9.0 * m * (n - 2.0));
        let z = self.score.unsigned_abs() as f64 / libm::sqrt(variance);
        (variance > 0.0).then(|| (std::f64::consts::LN_2 + ln_normal_sf(z)).min(0.0))
    }
}

/// Rows in the order of a column's cells.
struct Sorted {
    order: Vec<u32>,
    /// Where runs of equal cells start, and the number of rows.
    starts: Vec<u32>,
    /// Pairs of rows with the same cell.
    n_tied: u64,
}

impl Sorted {
    fn of(cells: &[f64]) -> Self {
        let n = u32::try_from(cells.len()).expect("a column has fewer than 2^32 rows");
        let mut keyed: Vec<(u64, u32)> = cells.iter().map(|cell| key(*cell)).zip(0..n).collect();
        keyed.sort_unstable();
        let mut starts = Vec::with_capacity(cells.len() + 1);
        starts.extend((0..n).zip(&keyed).filter(|(at, (key, _))| *at == 0 || keyed[*at as usize - 1].0 != *key).map(|(at, _)| at));
        starts.push(n);
        let n_tied = starts.iter().zip(&starts[1..]).map(|(start, end)| u64::from(end - start)).map(|t| t * (t - 1) / 2).sum();
        Self { order: keyed.into_iter().map(|(_, row)| row).collect(), starts, n_tied }
    }

    fn is_tied(&self) -> bool {
        self.n_tied > 0
    }

    fn n_levels(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bounds of the runs of equal cells.
    fn runs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.starts.iter().copied().zip(self.starts.iter().skip(1).copied())
    }

    fn ties(&self) -> Ties {
        if !self.is_tied() {
            return Ties::default();
        }
        let (mut triples, mut spread) = (0, 0);
        for (start, end) in self.runs() {
            let t = u128::from(end - start);
            triples += t * (t - 1) * t.saturating_sub(2);
            spread += t * (t - 1) * (2 * t + 5);
        }
        #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, rounded once beyond")]
        Ties { pairs: self.n_tied, triples: triples as f64, spread: spread as f64 }
    }

    /// Dense ranks of the rows.
    fn ranks(&self) -> Vec<u32> {
        let mut ranks = vec![0; self.order.len()];
        for (rank, (start, end)) in (0..).zip(self.runs()) {
            for row in &self.order[start as usize..end as usize] {
                ranks[*row as usize] = rank;
            }
        }
        ranks
    }
}

/// A whole number that orders as the cell does; that of 0 is that of -0.
fn key(cell: f64) -> u64 {
    let bits = (cell + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// What a column's ties take from N and from the variance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Ties {
    /// Pairs of rows with the same cell.
    pub(crate) pairs: u64,
    /// Sums over runs of t equal cells, `t (t - 1) (t - 2)` and `t (t - 1) (2 t + 5)`.
    pub(crate) triples: f64,
    pub(crate) spread: f64,
}

/// A column, ready for pairs. What a walk reads of a row lies apart from the rest: it then stays in the first-level cache.
struct Ready<'a> {
    sorted: &'a Sorted,
    /// Where a row stands in the order of cells; rows with equal cells stand at different places.
    places: Vec<u32>,
    /// First place of a row's equals and the one past the last, and dense rank; empty where the column has no ties.
    bounds: Vec<(u32, u32)>,
    ranks: Vec<u32>,
}

impl<'a> Ready<'a> {
    fn of(sorted: &'a Sorted) -> Self {
        let mut places = vec![0; sorted.order.len()];
        for (place, row) in (0..).zip(&sorted.order) {
            places[*row as usize] = place;
        }
        let (mut bounds, mut ranks) = (Vec::new(), Vec::new());
        if sorted.is_tied() {
            ranks = sorted.ranks();
            bounds = ranks.iter().map(|rank| (sorted.starts[*rank as usize], sorted.starts[*rank as usize + 1])).collect();
        }
        Self { sorted, places, bounds, ranks }
    }
}

/// What one pair after another is counted with.
struct Room {
    seen: Seen,
    table: Vec<u32>,
    columns: Vec<u32>,
}

impl Room {
    fn new(n: usize) -> Self {
        Self { seen: Seen::new(n), table: Vec::new(), columns: Vec::new() }
    }

    fn score(&mut self, x: &Ready<'_>, y: &Ready<'_>) -> i64 {
        // A table of all levels costs a step a row and a step a cell, a walk several steps a row.
        let is_tied = x.sorted.is_tied() && y.sorted.is_tied();
        if is_tied && x.sorted.n_levels().saturating_mul(y.sorted.n_levels()) <= x.places.len() {
            return self.score_by_table(x, y);
        }
        self.score_by_walk(x, y)
    }

    fn score_by_table(&mut self, x: &Ready<'_>, y: &Ready<'_>) -> i64 {
        let width = y.sorted.n_levels();
        self.table.clear();
        self.table.resize(x.sorted.n_levels() * width, 0);
        for (x, y) in x.ranks.iter().zip(&y.ranks) {
            let cell = &mut self.table[*x as usize * width + *y as usize];
            *cell = cell.wrapping_add(1);
        }
        self.columns.clear();
        self.columns.resize(width, 0);
        let (mut score, mut n_before) = (0_i64, 0_i64);
        // `columns` has the rows of lower x by their y: those below agree, those above do not.
        for line in self.table.chunks_exact(width.max(1)) {
            let (mut below, mut n) = (0_i64, 0);
            for (cell, column) in line.iter().zip(&mut self.columns) {
                let level = i64::from(*column);
                score = score.wrapping_add(i64::from(*cell).wrapping_mul(below.wrapping_mul(2).wrapping_add(level).wrapping_sub(n_before)));
                below = below.wrapping_add(level);
                *column = column.wrapping_add(*cell);
                n += i64::from(*cell);
            }
            n_before += n;
        }
        score
    }

    fn score_by_walk(&mut self, x: &Ready<'_>, y: &Ready<'_>) -> i64 {
        self.seen.clear();
        // In the order of a column without ties, one look a row is enough. The score is the same both ways.
        let (x, y) = if x.sorted.is_tied() && !y.sorted.is_tied() { (&y.sorted, x) } else { (&x.sorted, y) };
        let sum = Arch::new().dispatch(Walk { x, y, seen: &mut self.seen });
        // Sum over rows of the rows before it in x: the pairs that x does not tie. Of these, one whose earlier row lies
        // below in y has counted 2, one that y ties 1.
        let n_before: u64 = x.runs().map(|(start, end)| u64::from(start) * u64::from(end - start)).sum();
        let tied = if x.is_tied() { 0 } else { y.sorted.n_tied };
        #[allow(clippy::cast_possible_wrap, reason = "2^63 pairs of rows are not reached")]
        let score = sum.wrapping_add(tied).wrapping_sub(n_before) as i64;
        score
    }
}

struct Walk<'a> {
    x: &'a Sorted,
    y: &'a Ready<'a>,
    seen: &'a mut Seen,
}

impl WithSimd for Walk<'_> {
    type Output = u64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u64 {
        if self.x.order.len() >= DISTRICT {
            return over(simd, self.x, self.y, self.seen);
        }
        match S::U32_LANES {
            16 => self.near::<S, 1>(simd),
            8 => self.near::<S, 2>(simd),
            4 => self.near::<S, 4>(simd),
            _ => self.near::<S, 16>(simd),
        }
    }
}

impl Walk<'_> {
    #[inline(always)]
    fn near<S: Simd, const V: usize>(self, simd: S) -> u64 {
        let mut near = Near { before: [simd.splat_u32s(0); V], district: &mut self.seen.districts[0] };
        over(simd, self.x, self.y, &mut near)
    }
}

#[inline(always)]
fn over<S: Simd>(simd: S, x: &Sorted, y: &Ready<'_>, seen: &mut impl Taken<S>) -> u64 {
    match (x.is_tied(), y.sorted.is_tied()) {
        (true, _) => walk_runs(simd, x, y, seen),
        (false, true) => walk_apart::<S, true>(simd, x, y, seen),
        (false, false) => walk_apart::<S, false>(simd, x, y, seen),
    }
}

/// Twice the rows seen before and below, where x has no ties: what y ties is then known, and one look is enough.
#[inline(always)]
fn walk_apart<S: Simd, const TIED: bool>(simd: S, x: &Sorted, y: &Ready<'_>, seen: &mut impl Taken<S>) -> u64 {
    let mut sum = 0_u64;
    for row in &x.order {
        let place = y.places[*row as usize];
        sum = sum.wrapping_add(u64::from(seen.below(if TIED { y.bounds[*row as usize].0 } else { place })));
        seen.add(simd, place);
    }
    sum.wrapping_mul(2)
}

/// Rows seen before and below, and those before and not above, where both columns have ties.
#[inline(always)]
fn walk_runs<S: Simd>(simd: S, x: &Sorted, y: &Ready<'_>, seen: &mut impl Taken<S>) -> u64 {
    let mut sum = 0_u64;
    for (start, end) in x.runs() {
        // Rows that x ties see none of one another: all look before any is added.
        let rows = &x.order[start as usize..end as usize];
        for row in rows {
            let (first, end) = y.bounds[*row as usize];
            sum = sum.wrapping_add(u64::from(seen.below(first))).wrapping_add(u64::from(seen.below(end)));
        }
        for row in rows {
            seen.add(simd, y.places[*row as usize]);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that cannot set itself up should stop; due values are exact")]

    use proptest::prelude::*;

    use super::*;

    const SIZES: [usize; 8] = [2, 3, 63, 64, 65, 127, 200, 513];

    /// Cells of some levels, so that there are ties; none where `n_levels` is 0. A linear congruential generator.
    fn column(n: usize, n_levels: u64, seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let cells = (0..n).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let drawn = state >> 33;
            if n_levels == 0 { drawn } else { drawn % n_levels }
        });
        cells.map(|drawn| f64::from(u32::try_from(drawn).unwrap())).collect()
    }

    fn columns(n: usize) -> Vec<Vec<f64>> {
        let levels = [0, 0, 2, 3, 10, n as u64 / 2 + 1, 4 * n as u64, 1, 0];
        levels.iter().zip(1..).map(|(levels, seed)| column(n, *levels, seed)).collect()
    }

    fn pairs_of(n_columns: usize) -> Vec<(u32, u32)> {
        let n = u32::try_from(n_columns).unwrap();
        (0..n).flat_map(|x| (0..n).map(move |y| (x, y))).collect()
    }

    /// Agreeing pairs of rows less disagreeing ones, by the book.
    fn score(x: &[f64], y: &[f64]) -> i64 {
        let sign = |a: f64, b: f64| i64::from(a > b) - i64::from(a < b);
        let of_row = |i: usize| (0..i).map(|j| sign(x[i], x[j]) * sign(y[i], y[j])).sum::<i64>();
        (0..x.len()).map(of_row).sum()
    }

    fn definition(x: &[f64], y: &[f64]) -> Option<f64> {
        let [apart_x, apart_y] = [score(x, x), score(y, y)].map(|n| i32::try_from(n).unwrap()).map(f64::from);
        let score = f64::from(i32::try_from(score(x, y)).unwrap());
        (apart_x > 0.0 && apart_y > 0.0).then(|| score / libm::sqrt(apart_x * apart_y))
    }

    /// Scores of one pair by a walk both ways, whatever would be chosen, and by a table of levels where both have ties.
    fn all_ways(x: &[f64], y: &[f64]) -> Vec<i64> {
        let (x, y) = (Sorted::of(x), Sorted::of(y));
        let (x, y) = (Ready::of(&x), Ready::of(&y));
        let mut room = Room::new(x.places.len());
        let mut scores = vec![room.score(&x, &y), room.score_by_walk(&x, &y), room.score_by_walk(&y, &x)];
        if x.sorted.is_tied() && y.sorted.is_tied() {
            scores.push(room.score_by_table(&x, &y));
        }
        scores
    }

    fn agree(found: &[i64], due: i64) -> Result<(), String> {
        if found.iter().all(|score| *score == due) { Ok(()) } else { Err(format!("{found:?}, due {due}")) }
    }

    fn near(found: Option<f64>, due: f64, bound: f64) -> bool {
        found.is_some_and(|found| (found - due).abs() <= bound * due.abs().max(1.0))
    }

    #[test]
    fn examples_of_scipy() {
        // Documentation of scipy.stats.kendalltau.
        let stat = tau_b(&[12.0, 2.0, 1.0, 12.0, 2.0], &[1.0, 4.0, 7.0, 1.0, 0.0]);
        assert!(near(stat.value, -0.471_404_520_791_031_7, 1e-15), "{stat:?}");
        assert!(near(stat.ln_p, libm::log(0.282_745_459_932_774_8), 1e-9), "{stat:?}");
        // By hand: of six pairs of rows one disagrees; of 24 orders 1 + 3 have at most one inversion.
        let stat = tau_b(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]);
        assert!(near(stat.value, 2.0 / 3.0, 1e-15), "{stat:?}");
        assert!(near(stat.ln_p, libm::log(8.0 / 24.0), 1e-14), "{stat:?}");
    }

    #[test]
    fn exact_p_far_below_the_smallest_number() {
        let x: Vec<f64> = (0..400).map(f64::from).collect();
        let stat = tau_b(&x, &x);
        assert_eq!(stat.value, Some(1.0));
        assert!(near(stat.ln_p, std::f64::consts::LN_2 - libm::lgamma(401.0), 1e-14), "{stat:?}");
    }

    #[test]
    fn nothing_where_nothing_is_defined() {
        let null = |n: u64| Stat { n, ..Stat::default() };
        assert_eq!(tau_b(&[], &[]), null(0));
        assert_eq!(tau_b(&[1.0], &[2.0]), null(1));
        assert_eq!(tau_b(&[1.0, f64::NAN, 3.0], &[f64::INFINITY, 2.0, 1.0]), null(1));
        assert_eq!(tau_b(&[1.0, 1.0, 2.0], &[1.0, 2.0, f64::NAN]), null(2));
        assert_eq!(tau_b(&[0.0, -0.0, 0.0], &[1.0, 2.0, 3.0]), null(3));
        assert_eq!(tau_b(&[1.0, 2.0], &[5.0, 3.0]), Stat { n: 2, value: Some(-1.0), ln_p: Some(0.0), n_minor: None });
    }

    fn by_way(way: Way, columns: &[&[f64]], pairs: &[(u32, u32)], on_progress: &(dyn Fn() -> bool + Sync)) -> Option<Vec<Stat>> {
        let columns: Vec<Sorted> = columns.iter().map(|column| Sorted::of(column)).collect();
        Some(stats(&columns, pairs, way.scores(KendallInput { columns: &columns, pairs, on_progress })?))
    }

    #[test]
    fn every_way_counts_the_same() {
        for n in SIZES {
            let cells = columns(n);
            let slices: Vec<&[f64]> = cells.iter().map(Vec::as_slice).collect();
            let pairs = pairs_of(cells.len());
            let by_bits = by_way(Way::Bits, &slices, &pairs, &|| false).unwrap();
            assert_eq!(by_bits, by_way(Way::Walks, &slices, &pairs, &|| false).unwrap(), "{n} rows");
            assert_eq!(by_bits, all_pairs(&Backend::cpu(), &slices, &pairs, &|| false).unwrap(), "{n} rows");
            for ((x, y), stat) in pairs.iter().zip(by_bits) {
                let (x, y) = (slices[*x as usize], slices[*y as usize]);
                agree(&all_ways(x, y), score(x, y)).unwrap();
                assert_eq!(stat.value, definition(x, y), "{n} rows");
                assert_eq!(stat, tau_b(x, y), "{n} rows");
            }
        }
    }

    #[test]
    fn walks_over_many_places() {
        // By the book, 20,000 rows take too long: in each of ten parts of x, y goes down; from part to part, up.
        for n in [DISTRICT - 1, DISTRICT, DISTRICT + 1, 20 * DISTRICT] {
            let part = n.div_ceil(10);
            let x: Vec<f64> = (0..u32::try_from(n).unwrap()).map(f64::from).collect();
            let up: Vec<f64> = (0..n).map(|row| x[row / part] * 3.0 * x[n - 1] - x[row % part]).collect();
            let n_pairs = |n: usize| i64::try_from(n * (n - 1) / 2).unwrap();
            let last = n - n.div_ceil(part).saturating_sub(1) * part;
            let down = i64::try_from(n / part).unwrap() * n_pairs(part) + if last < part { n_pairs(last) } else { 0 };
            agree(&all_ways(&x, &up), n_pairs(n) - 2 * down).unwrap();
            // Ties of both: pairs of rows of one part count nothing.
            let parts: Vec<f64> = (0..n).map(|row| x[row / part]).collect();
            agree(&all_ways(&parts, &up), n_pairs(n) - down).unwrap();
            agree(&all_ways(&parts, &parts), n_pairs(n) - down).unwrap();
        }
    }

    #[test]
    fn agreement_catches_a_wrong_twin() {
        let (x, y) = (column(200, 10, 1), column(200, 0, 2));
        let mut found = all_ways(&x, &y);
        assert!(agree(&found, score(&x, &y)).is_ok());
        found[1] += 1;
        assert!(agree(&found, score(&x, &y)).is_err());
        // A twin that orders the rows that x ties.
        let untied: Vec<f64> = x.iter().zip(0_u32..).map(|(x, row)| x + f64::from(row) / 1000.0).collect();
        assert!(agree(&all_ways(&untied, &y), score(&x, &y)).is_err());
    }

    #[test]
    fn every_processor_walks_the_same() {
        let mut processors = vec![Arch::new(), Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        processors.extend(pulp::x86::V3::try_new().map(Arch::V3));
        for (x, y) in [(0, 0), (0, 300), (500, 300)] {
            let sorted = [column(3000, x, 5), column(3000, y, 6)].map(|cells| Sorted::of(&cells));
            let [x, y] = [Ready::of(&sorted[0]), Ready::of(&sorted[1])];
            let found = processors.iter().map(|arch| arch.dispatch(Walk { x: x.sorted, y: &y, seen: &mut Seen::new(3000) }));
            let found: Vec<u64> = found.collect();
            assert!(found.iter().all(|sum| *sum == found[0]), "{found:?}");
        }
    }

    #[test]
    fn progress_can_stop() {
        let cells = columns(65);
        let slices: Vec<&[f64]> = cells.iter().map(Vec::as_slice).collect();
        for way in [Way::Bits, Way::Walks] {
            assert_eq!(by_way(way, &slices, &[(0, 1), (2, 3)], &|| true), None);
        }
        assert_eq!(all_pairs(&Backend::cpu(), &[], &[], &|| false), Some(Vec::new()));
    }

    #[test]
    fn any_number_of_threads() {
        let cells = columns(300);
        let slices: Vec<&[f64]> = cells.iter().map(Vec::as_slice).collect();
        let pairs = pairs_of(cells.len());
        let run = |n_threads: usize, way: Way| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| by_way(way, &slices, &pairs, &|| false))
        };
        for way in [Way::Bits, Way::Walks] {
            assert_eq!(run(1, way), run(3, way));
        }
    }

    proptest! {
        #[test]
        fn order_of_rows_does_not_matter(rows in prop::collection::vec((0_u8..12, 0_u8..200), 0..300), turn in 0_usize..300) {
            let of = |rows: &[(u8, u8)]| -> (Vec<f64>, Vec<f64>) { rows.iter().map(|(x, y)| (f64::from(*x), f64::from(*y))).unzip() };
            let (x, y) = of(&rows);
            let mut turned = rows.clone();
            turned.rotate_left(turn % rows.len().max(1));
            turned.chunks_mut(7).for_each(<[(u8, u8)]>::reverse);
            let (x_turned, y_turned) = of(&turned);
            prop_assert_eq!(tau_b(&x, &y), tau_b(&x_turned, &y_turned));
            // The variance is a sum of both columns' ties, in either order but for a rounding.
            prop_assert_eq!(tau_b(&x, &y).value, tau_b(&y, &x).value);
        }
    }
}
