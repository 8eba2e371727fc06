//! Kendall's score of many pairs of columns by bits: one bit for every pair of rows.
//!
//! ```text
//! strict   bit of rows (i, j) set where x_j > x_i             apart   bit set where x_j != x_i
//! S(x, y) = popcount(zx & zy) - 2 popcount((sx ^ sy) & zx & zy)       s = strict, z = apart
//! ```
//!
//! Rows are paired by distance: line d holds the pairs (i, i + d mod n), so that all lines are as long as there are rows
//! and both sides of a comparison lie in a row of memory. Lines 1 to n / 2 hold each pair once; of the last line of an
//! even n, half. Which of two rows comes first does not matter, as long as it is the same in both columns.
//!
//! Shape    dense ranks in, below 2^16; scores out, in the order of the pairs.
//! Layout   a batch of lines at a time: two planes a column, bits past the end of a line 0.
//! Nulls    none: every column has all rows.
//! Cost     n^2 / 2 bits a pair of columns, and n^2 / 2 comparisons a column. A column without ties has one plane.
//!          Memory: 32 KiB a column.

use std::ops::Range;

use rayon::prelude::*;

use super::widest;

/// Words of a plane in one batch of lines, and words that are counted before the next pair is taken up: of a column and
/// eight others they take up 18 KiB, well within the first-level cache.
const BATCH_WORDS: usize = 2048;
const STRIP_WORDS: usize = 128;

/// Words of a vector, and of a cache line.
const LANES: usize = 8;

/// Columns of one side of a tile.
const TILE: u32 = 8;

/// Rows of the largest table: ranks are compared in 16 bits.
const MOST_ROWS: usize = 1 << 16;

/// Cells that are compared into one word.
const WORD: usize = 64;

/// Returns the number of pairs of rows that agree less that of those that disagree, for every pair of columns, given the
/// dense ranks of the columns' cells; none where `on_progress`, called now and then, returned true.
pub(crate) fn scores(ranks: &[&[u32]], pairs: &[(u32, u32)], on_progress: &(dyn Fn() -> bool + Sync)) -> Option<Vec<i64>> {
    scores_by(Counter::of_machine(), ranks, pairs, on_progress)
}

/// Returns whether this machine counts the bits of whole vectors.
pub(crate) fn counts_vectors() -> bool {
    Counter::of_machine() != Counter::Portable
}

/// What counts bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    /// Whatever the compiler makes of `count_ones`.
    Portable,
    /// VPOPCNTDQ. Only made where the machine has it.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Counter {
    fn of_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vpopcntdq") {
            return Self::Avx512;
        }
        Self::Portable
    }

    #[allow(unsafe_code, reason = "a function for one kind of processor is unsafe to call from others")]
    fn count(self, tile: Tile<'_>) {
        match self {
            Self::Portable => widest(
                #[inline(always)]
                || count(tile),
            ),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `of_machine` alone makes this counter, and it has asked for these features.
            Self::Avx512 => unsafe { count_avx512(tile) },
        }
    }
}

fn scores_by(counter: Counter, ranks: &[&[u32]], pairs: &[(u32, u32)], on_progress: &(dyn Fn() -> bool + Sync)) -> Option<Vec<i64>> {
    let n = ranks.first().map_or(0, |column| column.len());
    let lines = Lines::of(n);
    let mut columns: Vec<Plane> = ranks.par_iter().map(|ranks| Plane::new(ranks, &lines)).collect();
    let order = tile_order(pairs);
    let in_order: Vec<(u32, u32)> = order.iter().map(|at| pairs[*at as usize]).collect();
    let mut sums = vec![0_i64; pairs.len()];
    for first in (1..=n / 2).step_by(lines.of_batch) {
        let batch = first..(first + lines.of_batch).min(n / 2 + 1);
        columns.par_iter_mut().for_each(|column| column.fill(&lines, batch.clone()));
        let (mut tiles, mut rest) = (Vec::new(), &mut sums[..]);
        for pairs in in_order.chunk_by(|a, b| tile_of(*a) == tile_of(*b)) {
            let (sums, others) = rest.split_at_mut(pairs.len());
            tiles.push(Tile { columns: &columns, pairs, sums, n_words: batch.len() * lines.n_words });
            rest = others;
        }
        tiles.into_par_iter().try_for_each(|tile| {
            counter.count(tile);
            (!on_progress()).then_some(())
        })?;
    }
    let mut scores = vec![0; pairs.len()];
    for ((at, (x, y)), sum) in order.iter().zip(&in_order).zip(&sums) {
        let (x, y) = (&columns[*x as usize], &columns[*y as usize]);
        // Where both have ties, the sum is the score; else it is the number of pairs that disagree.
        scores[*at as usize] = if x.is_tied() && y.is_tied() { *sum } else { x.n_apart.min(y.n_apart) - 2 * sum };
    }
    Some(scores)
}

fn tile_of((x, y): (u32, u32)) -> (u32, u32) {
    (x / TILE, y / TILE)
}

/// Returns positions of the pairs, those of one tile together: few columns are then read again and again.
pub(crate) fn tile_order(pairs: &[(u32, u32)]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..).take(pairs.len()).collect();
    order.sort_by_key(|at| (tile_of(pairs[*at as usize]), pairs[*at as usize]));
    order
}

/// How pairs of rows lie in lines.
struct Lines {
    n: usize,
    /// Words of a line, and lines of a batch.
    n_words: usize,
    of_batch: usize,
}

impl Lines {
    fn of(n: usize) -> Self {
        assert!(n <= MOST_ROWS, "{n} rows, at most {MOST_ROWS} have ranks of 16 bits");
        let n_words = n.div_ceil(WORD).max(1);
        Self { n, n_words, of_batch: (BATCH_WORDS / n_words).max(1) }
    }

    /// Pairs of a line.
    fn len(&self, distance: usize) -> usize {
        if 2 * distance == self.n { distance } else { self.n }
    }
}

/// A column's ranks, and its bits for one batch.
struct Plane {
    /// Ranks of rows 0 to n, then from 0 again, so that a line is read without a break.
    ranks: Vec<u16>,
    strict: Bits,
    /// Empty where the column has no ties.
    apart: Bits,
    /// Pairs of rows whose cells differ.
    n_apart: i64,
}

impl Plane {
    fn new(ranks: &[u32], lines: &Lines) -> Self {
        let n = lines.n;
        #[allow(clippy::cast_possible_truncation, reason = "a dense rank lies below the number of rows")]
        let cyclic = ranks.iter().cycle().take(n + n / 2 + WORD).map(|rank| *rank as u16).collect();
        let mut sizes = vec![0_i64; n];
        for rank in ranks {
            sizes[*rank as usize] += 1;
        }
        let n_pairs = |size: i64| size * (size - 1) / 2;
        let n_tied: i64 = sizes.iter().map(|size| n_pairs(*size)).sum();
        #[allow(clippy::cast_possible_wrap, reason = "at most 2^16 rows")]
        let n_apart = n_pairs(n as i64) - n_tied;
        let n_words = (lines.n_words * lines.of_batch.min(n / 2)).next_multiple_of(LANES);
        Self { ranks: cyclic, strict: Bits::new(n_words), apart: Bits::new(if n_tied > 0 { n_words } else { 0 }), n_apart }
    }

    fn is_tied(&self) -> bool {
        !self.apart.words.is_empty()
    }

    fn fill(&mut self, lines: &Lines, batch: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        if let pulp::Arch::V4(v4) = pulp::Arch::new() {
            return v4.vectorize(
                #[inline(always)]
                || {
                    self.fill_by(
                        lines,
                        batch,
                        #[inline(always)]
                        |a, b| less_v4(v4, a, b),
                    );
                },
            );
        }
        self.fill_portably(lines, batch);
    }

    fn fill_portably(&mut self, lines: &Lines, batch: Range<usize>) {
        widest(
            #[inline(always)]
            || self.fill_by(lines, batch, less),
        );
    }

    #[inline(always)]
    fn fill_by(&mut self, lines: &Lines, batch: Range<usize>, less: impl Fn(&[u16; WORD], &[u16; WORD]) -> u64) {
        let is_tied = self.is_tied();
        for (line, distance) in batch.enumerate() {
            let (first, second) = (&self.ranks[..], &self.ranks[distance..]);
            let len = lines.len(distance);
            let words = line * lines.n_words..(line + 1) * lines.n_words;
            // A line of half the pairs ends within the words of a whole one.
            let kept = |word: usize| match len.saturating_sub(word * WORD) {
                0 => 0,
                n => u64::MAX >> (WORD - n.min(WORD)),
            };
            let cells = first.as_chunks::<WORD>().0.iter().zip(second.as_chunks::<WORD>().0);
            if is_tied {
                let out = self.strict.all_mut()[words.clone()].iter_mut().zip(&mut self.apart.all_mut()[words]);
                for (word, ((a, b), (strict, apart))) in cells.zip(out).enumerate() {
                    let above = less(a, b);
                    *strict = above & kept(word);
                    *apart = (above | less(b, a)) & kept(word);
                }
            } else {
                for (word, ((a, b), strict)) in cells.zip(&mut self.strict.all_mut()[words]).enumerate() {
                    *strict = less(a, b) & kept(word);
                }
            }
        }
    }
}

/// Words of a plane, from the start of a cache line on: a vector that straddles two costs two loads.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    skipped: usize,
}

impl Bits {
    fn new(n_words: usize) -> Self {
        if n_words == 0 {
            return Self::default();
        }
        let words = vec![0_u64; n_words + LANES];
        let skipped = words.as_ptr().align_offset(LANES * size_of::<u64>()).min(LANES);
        Self { words, skipped }
    }

    #[inline(always)]
    fn all_mut(&mut self) -> &mut [u64] {
        &mut self.words[self.skipped..]
    }

    #[inline(always)]
    fn strip(&self, strip: &Range<usize>) -> &[u64] {
        &self.words[self.skipped..][strip.clone()]
    }
}

/// One bit a cell, set where `a < b`.
#[inline(always)]
fn less(a: &[u16; WORD], b: &[u16; WORD]) -> u64 {
    let mut bytes = [0_u8; WORD];
    for k in 0..WORD {
        bytes[k] = u8::from(a[k] < b[k]);
    }
    // Byte k of eight, times 2^(56 - 7 k), is bit k of the highest byte; no two products meet there.
    let groups = bytes.as_chunks::<8>().0.iter().enumerate();
    groups.fold(0, |word, (group, bytes)| word | (u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * group))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn less_v4(v4: pulp::x86::V4, a: &[u16; WORD], b: &[u16; WORD]) -> u64 {
    let (a, b): ([pulp::u16x32; 2], [pulp::u16x32; 2]) = (pulp::cast(*a), pulp::cast(*b));
    let [low, high] = [0, 1].map(
        #[inline(always)]
        |half: usize| u64::from(v4.cmp_lt_u16x32(a[half], b[half]).0),
    );
    low | high << 32
}

/// Pairs of columns of which each side is one of a few.
struct Tile<'a> {
    columns: &'a [Plane],
    pairs: &'a [(u32, u32)],
    sums: &'a mut [i64],
    n_words: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
fn count_avx512(tile: Tile<'_>) {
    count(tile);
}

#[inline(always)]
fn count(tile: Tile<'_>) {
    for start in (0..tile.n_words).step_by(STRIP_WORDS) {
        let strip = start..(start + STRIP_WORDS).min(tile.n_words);
        for ((x, y), sum) in tile.pairs.iter().zip(tile.sums.iter_mut()) {
            let (x, y) = (&tile.columns[*x as usize], &tile.columns[*y as usize]);
            let (sx, sy) = (x.strict.strip(&strip), y.strict.strip(&strip));
            *sum += match (x.is_tied(), y.is_tied()) {
                (true, true) => agreement(sx, sy, x.apart.strip(&strip), y.apart.strip(&strip)),
                (true, false) => disagreement_apart(sx, sy, x.apart.strip(&strip)),
                (false, true) => disagreement_apart(sx, sy, y.apart.strip(&strip)),
                (false, false) => disagreement(sx, sy),
            };
        }
    }
}

/// Sums what `count` makes of every position.
#[inline(always)]
fn sum(n_words: usize, count: impl Fn(usize) -> i64) -> i64 {
    let mut sum = 0_i64;
    for at in 0..n_words {
        sum = sum.wrapping_add(count(at));
    }
    sum
}

#[inline(always)]
fn ones(word: u64) -> i64 {
    i64::from(word.count_ones())
}

#[inline(always)]
fn agreement(sx: &[u64], sy: &[u64], zx: &[u64], zy: &[u64]) -> i64 {
    let n = sx.len();
    let (sy, zx, zy) = (&sy[..n], &zx[..n], &zy[..n]);
    sum(
        n,
        #[inline(always)]
        |at| {
            let apart = zx[at] & zy[at];
            ones(apart).wrapping_sub(ones((sx[at] ^ sy[at]) & apart).wrapping_mul(2))
        },
    )
}

#[inline(always)]
fn disagreement_apart(sx: &[u64], sy: &[u64], z: &[u64]) -> i64 {
    let n = sx.len();
    let (sy, z) = (&sy[..n], &z[..n]);
    sum(
        n,
        #[inline(always)]
        |at| ones((sx[at] ^ sy[at]) & z[at]),
    )
}

#[inline(always)]
fn disagreement(sx: &[u64], sy: &[u64]) -> i64 {
    let n = sx.len();
    let sy = &sy[..n];
    sum(
        n,
        #[inline(always)]
        |at| ones(sx[at] ^ sy[at]),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

    use super::*;

    /// Dense ranks of cells of some levels; a permutation where `n_levels` is 0.
    fn ranks(n: usize, n_levels: u64, seed: u64) -> Vec<u32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let cells: Vec<u64> = (0..n as u64).map(|row| if n_levels == 0 { next() << 20 | row } else { next() % n_levels }).collect();
        let mut levels = cells.clone();
        levels.sort_unstable();
        levels.dedup();
        cells.iter().map(|cell| u32::try_from(levels.binary_search(cell).unwrap()).unwrap()).collect()
    }

    fn by_the_book(x: &[u32], y: &[u32]) -> i64 {
        let sign = |a: u32, b: u32| i64::from(a > b) - i64::from(a < b);
        (0..x.len()).map(|i| (0..i).map(|j| sign(x[i], x[j]) * sign(y[i], y[j])).sum::<i64>()).sum()
    }

    fn all_counters() -> Vec<Counter> {
        let machine = Counter::of_machine();
        if machine == Counter::Portable { vec![machine] } else { vec![machine, Counter::Portable] }
    }

    #[test]
    fn every_counter_agrees_with_the_book() {
        for n in [1, 2, 3, 4, 63, 64, 65, 127, 128, 129, 200, 513] {
            let columns: Vec<Vec<u32>> =
                [0, 0, 2, 10, n as u64, 0, 5, 1, 3, 0].iter().zip(1..).map(|(k, seed)| ranks(n, *k, seed)).collect();
            let columns: Vec<&[u32]> = columns.iter().map(Vec::as_slice).collect();
            let pairs: Vec<(u32, u32)> = (0..10).rev().flat_map(|x| (0..10).map(move |y| (x, y))).collect();
            let due: Vec<i64> = pairs.iter().map(|(x, y)| by_the_book(columns[*x as usize], columns[*y as usize])).collect();
            for counter in all_counters() {
                assert_eq!(scores_by(counter, &columns, &pairs, &|| false).unwrap(), due, "{counter:?}, {n} rows");
            }
        }
    }

    #[test]
    fn comparisons_give_the_same_bits() {
        for n in [65, 130, 300] {
            let ranks = ranks(n, 20, 7);
            let lines = Lines::of(n);
            let all = 1..(1 + lines.of_batch).min(n / 2 + 1);
            let (mut one, mut other) = (Plane::new(&ranks, &lines), Plane::new(&ranks, &lines));
            one.fill(&lines, all.clone());
            other.fill_portably(&lines, all);
            let words = 0..lines.n_words * (n / 2);
            assert!(one.strict.strip(&words) == other.strict.strip(&words), "{n} rows");
            assert!(one.apart.strip(&words) == other.apart.strip(&words), "{n} rows");
            assert!(one.apart.strip(&words) != one.strict.strip(&words));
        }
    }

    #[test]
    fn agreement_catches_a_wrong_twin() {
        let (x, y) = (ranks(200, 10, 1), ranks(200, 0, 2));
        let mut wrong = y.clone();
        wrong.swap(3, 150);
        let due = by_the_book(&x, &y);
        for counter in all_counters() {
            assert_eq!(scores_by(counter, &[&x, &y], &[(0, 1)], &|| false).unwrap(), [due]);
            assert_ne!(scores_by(counter, &[&x, &wrong], &[(0, 1)], &|| false).unwrap(), [due]);
        }
    }
}
