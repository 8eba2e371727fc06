//! Association of categories with categories and of categories with numbers.
//!
//! ```text
//! chi2        = sum (o - e)^2 / e,  e = r_i c_j / n       cells o of the contingency table, row and column totals r, c
//! cramers_v   = sqrt(phi2 / min(R, K)),                    phi2 = max(0, chi2 / n - (r - 1)(k - 1) / (n - 1)),
//!               R = (r - 1) - (r - 1)^2 / (n - 1), K alike of k: Bergsma 2013, levels corrected for chance
//! information = sum o / n ln(o / e)                        in nats
//! theils_u    = information / entropy of y                 how far x determines y
//! eta squared = sum of squares of y between groups of x / total sum of squares
//! ```
//!
//! Shape    codes below `n_levels`, one a row; anything else is missing. Tables up to 4 million cells are counted densely,
//!          larger and emptier ones by sorting: memory stays within about 16 MiB and 32 bytes a row.
//! Nulls    pairwise: a row counts when both cells are present. Levels are those that occur in such rows.
//! p        chi square of chi2 (`cramers_v`) or of G = 2 n information, with (r - 1)(k - 1) degrees of freedom and without
//!          correction for continuity; F of a one-way analysis of variance (`correlation_ratio`). A 2 x 2 table with an
//!          expected count below 5 takes the two-sided p of Fisher's exact test for `cramers_v`.
//! None     anything without rows; V where a side is constant or has as many levels as rows; U and eta squared where y is
//!          constant; p without degrees of freedom. Where x alone is constant U and eta squared are 0, and information is 0
//!          where either is.
//! Cost     a pass over the rows of a pair of categories, two over a category and numbers.

use super::stat::Stat;
use crate::columns::Code;
use crate::stats::{deviance, ln_chi_square_sf, ln_f_sf, ln_hypergeometric_two_sided};

/// A column of categories: a cell is a level below `n_levels`, or [`crate::columns::MISSING`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub(crate) codes: &'a [Code],
    pub(crate) n_levels: usize,
}

/// Returns the bias-corrected V of Cramer (Bergsma 2013) of two categories.
pub(crate) fn cramers_v(x: Codes<'_>, y: Codes<'_>) -> Stat {
    Contingency::count(x, y).cramers_v()
}

/// Returns Theil's U(y | x): the share of the entropy of y that knowing x takes away.
pub(crate) fn theils_u(x: Codes<'_>, y: Codes<'_>) -> Stat {
    Contingency::count(x, y).theils_u()
}

/// Returns the mutual information of two categories in nats.
pub(crate) fn mutual_information(x: Codes<'_>, y: Codes<'_>) -> Stat {
    Contingency::count(x, y).mutual_information()
}

/// Returns eta squared, the share of the variance of numbers y that lies between the levels of x. Not finite is missing.
///
/// None where y is constant or its squares leave the range of f64. Minus infinity is the logarithm of p where no level
/// has variance.
pub(crate) fn correlation_ratio(x: Codes<'_>, y: &[f64]) -> Stat {
    debug_assert_eq!(x.codes.len(), y.len(), "columns of one table");
    let groups = groups(x, y);
    let n: u64 = groups.iter().map(|group| group.rows).sum();
    let n_groups = groups.iter().filter(|group| group.rows > 0).count() as u64;
    let most = groups.iter().map(|group| group.rows).max().unwrap_or(0);
    let (between, within) = (between(&groups, n), within(&groups, x, y));
    let total = between + within;
    let stat = Stat { n, n_minor: Some(n - most), ..Stat::default() };
    if !total.is_normal() {
        return stat;
    }
    if n_groups < 2 {
        return Stat { value: Some(0.0), ..stat };
    }
    let (share, rest) = (within / total, between / total);
    let ln_p = (n > n_groups).then(|| ln_f_sf(share, rest, real(n_groups - 1), real(n - n_groups)));
    Stat { value: Some(rest), ln_p, ..stat }
}

/// Counts of every pair of levels that occurs, over the rows where both are present.
pub(crate) struct Contingency {
    n: u64,
    /// In the order of x, then of y, so that sums do not depend on the way of counting.
    cells: Vec<Cell>,
    x: Margin,
    y: Margin,
}

struct Cell {
    x: u32,
    y: u32,
    rows: u64,
}

/// Rows of each level of one side.
struct Margin {
    totals: Vec<u64>,
    /// Levels that occur.
    n_levels: u64,
}

impl Contingency {
    /// Counts two columns of the same length.
    pub(crate) fn count(x: Codes<'_>, y: Codes<'_>) -> Self {
        debug_assert_eq!(x.codes.len(), y.codes.len(), "columns of one table");
        // Counters of 32 bits hold a block of this many rows.
        Self::count_by_blocks(x, y, 1 << 31)
    }

    fn count_by_blocks(x: Codes<'_>, y: Codes<'_>, block: usize) -> Self {
        let mut cells = Vec::new();
        for (xs, ys) in x.codes.chunks(block).zip(y.codes.chunks(block)) {
            let (x, y) = (Codes { codes: xs, ..x }, Codes { codes: ys, ..y });
            cells.extend(if is_dense(x, y) { count_densely(x, y) } else { count_by_sorting(x, y) });
        }
        if x.codes.len() > block {
            cells.sort_by_key(|cell| (cell.x, cell.y));
            cells.dedup_by(|next, cell| {
                let same = (next.x, next.y) == (cell.x, cell.y);
                cell.rows += if same { next.rows } else { 0 };
                same
            });
        }
        let n = cells.iter().map(|cell| cell.rows).sum();
        let margin = |n_levels, level: fn(&Cell) -> u32| Margin::of(cells.iter().map(|cell| (level(cell), cell.rows)), n_levels);
        let (x, y) = (margin(x.n_levels, |cell| cell.x), margin(y.n_levels, |cell| cell.y));
        Self { n, cells, x, y }
    }

    /// Returns the bias-corrected V of Cramer.
    pub(crate) fn cramers_v(&self) -> Stat {
        let Some(df) = self.df() else { return self.stat(None, None) };
        let chi2 = self.chi_square();
        let n = real(self.n);
        // Both sides of the root times n (n - 1): the corrected size of as many levels as rows is then 0 to the last bit.
        let phi2 = (chi2 * (n - 1.0) - n * df).max(0.0);
        let size = |levels: u64| real(levels - 1) * real(self.n - levels) * n;
        let least = size(self.x.n_levels).min(size(self.y.n_levels));
        let value = (least > 0.0).then(|| libm::sqrt(phi2 / least).min(1.0));
        self.stat(value, Some(self.ln_fisher().unwrap_or_else(|| ln_chi_square_sf(chi2, df))))
    }

    /// Returns Theil's U of y given x.
    pub(crate) fn theils_u(&self) -> Stat {
        if self.y.n_levels < 2 {
            return self.stat(None, None);
        }
        let information = self.information();
        // One cell in each row of the table: nothing is left of the entropy, which a quotient would show but for rounding.
        let determined = self.cells.len() as u64 == self.x.n_levels;
        let value = if determined { 1.0 } else { (information / self.y.entropy(self.n)).min(1.0) };
        self.stat(Some(value), self.ln_g(information))
    }

    /// Returns the mutual information in nats.
    pub(crate) fn mutual_information(&self) -> Stat {
        let information = self.information();
        self.stat((self.n > 0).then_some(information), self.ln_g(information))
    }

    fn stat(&self, value: Option<f64>, ln_p: Option<f64>) -> Stat {
        let n_minor = self.x.n_minor(self.n).min(self.y.n_minor(self.n));
        Stat { n: self.n, value, ln_p, n_minor: Some(n_minor) }
    }

    /// Returns the degrees of freedom; None where a side has fewer than two levels.
    fn df(&self) -> Option<f64> {
        (self.x.n_levels > 1 && self.y.n_levels > 1).then(|| real(self.x.n_levels - 1) * real(self.y.n_levels - 1))
    }

    /// Returns the logarithm of the p-value of G = 2 n information.
    fn ln_g(&self, information: f64) -> Option<f64> {
        self.df().map(|df| ln_chi_square_sf(2.0 * real(self.n) * information, df))
    }

    /// Returns the logarithm of Fisher's exact p of a 2 x 2 table with an expected count below 5.
    fn ln_fisher(&self) -> Option<f64> {
        let cell = self.cells.first().filter(|_| self.x.n_levels == 2 && self.y.n_levels == 2)?;
        let least = u128::from(self.x.n_minor(self.n)) * u128::from(self.y.n_minor(self.n));
        let (row, column) = (self.x.total(cell.x), self.y.total(cell.y));
        (least < 5 * u128::from(self.n)).then(|| ln_hypergeometric_two_sided(cell.rows, row, column, self.n))
    }

    fn chi_square(&self) -> f64 {
        self.sum(|_, e, e_minus_o| e_minus_o * e_minus_o / e)
    }

    fn information(&self) -> f64 {
        if self.df().is_none() {
            return 0.0;
        }
        self.sum(deviance) / real(self.n)
    }

    /// Returns the sum of `term(o, e, e - o)` over all cells, for a term that is e where o is 0.
    ///
    /// The difference is exact, because near independence everything is in it: e - o = (r c - o n) / n in integers. Every
    /// term is positive, so that nothing cancels, and the empty cells of a row come in one piece.
    fn sum(&self, term: impl Fn(f64, f64, f64) -> f64) -> f64 {
        let n = real(self.n);
        let rows = self.cells.chunk_by(|one, next| one.x == next.x).map(|row| {
            let total = self.x.total(row[0].x);
            let mut absent = self.n;
            let present: f64 = row
                .iter()
                .map(|cell| {
                    let column = self.y.total(cell.y);
                    absent -= column;
                    let expected = u128::from(total) * u128::from(column);
                    term(real(cell.rows), wide(expected) / n, difference(expected, u128::from(cell.rows) * u128::from(self.n)) / n)
                })
                .sum();
            present + real(total) * real(absent) / n
        });
        rows.sum()
    }
}

impl Margin {
    fn of(rows_of_levels: impl Iterator<Item = (u32, u64)>, n_levels: usize) -> Self {
        let mut totals = vec![0; n_levels];
        for (level, rows) in rows_of_levels {
            totals[level as usize] += rows;
        }
        let n_levels = totals.iter().filter(|rows| **rows > 0).count() as u64;
        Self { totals, n_levels }
    }

    fn total(&self, level: u32) -> u64 {
        self.totals[level as usize]
    }

    /// Returns the rows outside the most frequent level.
    fn n_minor(&self, n: u64) -> u64 {
        n - self.totals.iter().max().unwrap_or(&0)
    }

    /// Returns the entropy in nats.
    fn entropy(&self, n: u64) -> f64 {
        // log1p, because nearly all rows may be of one level.
        let sum: f64 =
            self.totals.iter().filter(|rows| **rows > 0).map(|&rows| real(rows) * libm::log1p(real(n - rows) / real(rows))).sum();
        sum / real(n)
    }
}

/// Neighbouring rows go to counts and sums of their own, as many as here, because one addition to a cell waits for another.
const LANES: usize = 4;

/// Returns whether the table, with a row and a column for what is missing, is small and not much larger than the rows.
fn is_dense(x: Codes<'_>, y: Codes<'_>) -> bool {
    const MOST_CELLS: usize = 4_000_000;
    // Clearing and reading a cell costs about a sixteenth of sorting a row.
    let most = x.codes.len().saturating_mul(16).saturating_add(1_024).min(MOST_CELLS);
    (x.n_levels + 1).saturating_mul(y.n_levels + 1) <= most
}

/// Counts through a table with one more row and column, for what is missing: a branch would be missed once a null.
fn count_densely(x: Codes<'_>, y: Codes<'_>) -> Vec<Cell> {
    // Larger tables leave the fastest cache when there are four of them.
    const SMALL: usize = 2_048;
    let (x_missing, y_missing) = (level(x.n_levels), level(y.n_levels));
    let width = y_missing + 1;
    let size = (x.n_levels + 1) * (y.n_levels + 1);
    let stride = if size <= SMALL { size } else { 0 };
    let mut counts = vec![0_u32; if size <= SMALL { LANES * size } else { size }];
    // Wrapping, because the table has at most four million cells, and a block fits its counters.
    let place = |x: Code, y: Code| u32::from(x).min(x_missing).wrapping_mul(width).wrapping_add(u32::from(y).min(y_missing)) as usize;
    let (xs, x_rest) = x.codes.as_chunks::<LANES>();
    let (ys, y_rest) = y.codes.as_chunks::<LANES>();
    for (xs, ys) in xs.iter().zip(ys) {
        for lane in 0..LANES {
            let count = &mut counts[lane.wrapping_mul(stride).wrapping_add(place(xs[lane], ys[lane]))];
            *count = count.wrapping_add(1);
        }
    }
    for (&x, &y) in x_rest.iter().zip(y_rest) {
        counts[place(x, y)] += 1;
    }
    let (first, others) = counts.split_at_mut(size);
    for lane in others.chunks_exact(size) {
        for (all, count) in first.iter_mut().zip(lane) {
            *all += count;
        }
    }
    cells_of(first, x.n_levels, y.n_levels)
}

/// Returns the cells that occur of a table with one more row and column.
fn cells_of(counts: &[u32], n_rows: usize, n_columns: usize) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(counts.iter().filter(|count| **count > 0).count());
    for (x, row) in (0..).zip(counts.chunks_exact(n_columns + 1).take(n_rows)) {
        for (y, &rows) in (0..).zip(&row[..n_columns]) {
            if rows > 0 {
                cells.push(Cell { x, y, rows: u64::from(rows) });
            }
        }
    }
    cells
}

fn count_by_sorting(x: Codes<'_>, y: Codes<'_>) -> Vec<Cell> {
    let rows = x.codes.iter().zip(y.codes).filter(|(at, of)| (**at as usize) < x.n_levels && (**of as usize) < y.n_levels);
    let mut pairs: Vec<(Code, Code)> = rows.map(|(x, y)| (*x, *y)).collect();
    pairs.sort_unstable();
    pairs.chunk_by(|one, next| one == next).map(|rows| Cell { x: rows[0].0.into(), y: rows[0].1.into(), rows: rows.len() as u64 }).collect()
}

/// The rows of one level of x.
#[derive(Clone, Copy)]
struct Group {
    rows: u64,
    /// The y of its first row: what follows is less this one, so that an offset costs no digits and a constant level has
    /// no variance to the last bit.
    first: f64,
    mean: f64,
    /// All bits, or none where the squares of these rows do not count. Read from here, because the compiler makes a branch
    /// of what it can compute, and a null in ten then costs 3 ms a million rows.
    kept: u64,
}

/// Returns the place of a row among the levels of x, behind the last one where x or y is missing.
///
/// Through bits, because a branch would be mispredicted with every other null: 6.7 instead of 4 ms a million rows.
fn place(code: Code, y: f64, missing: u32) -> usize {
    let hidden = u32::from(!y.is_finite()).wrapping_neg();
    (u32::from(code) | hidden).min(missing) as usize
}

/// Returns the groups of all levels, and behind them an empty one, for the rows that do not count.
fn groups(x: Codes<'_>, y: &[f64]) -> Vec<Group> {
    // Four sums of more levels than this leave the fastest cache.
    const SMALL: usize = 512;
    let missing = level(x.n_levels);
    let size = x.n_levels + 1;
    let stride = if size <= SMALL { size } else { 0 };
    let mut sums = vec![(0.0, 0_u64); if size <= SMALL { LANES * size } else { size }];
    let mut firsts = vec![f64::NAN; size];
    // Rows that do not count look for no first one.
    firsts[x.n_levels] = 0.0;
    let mut add = |lane: usize, code: Code, y: f64| {
        let place = place(code, y, missing);
        let first = &mut firsts[place];
        if first.is_nan() {
            *first = y;
        }
        let (sum, rows) = &mut sums[lane * stride + place];
        *sum += y - *first;
        *rows += 1;
    };
    let (xs, x_rest) = x.codes.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (xs, ys) in xs.iter().zip(ys) {
        for lane in 0..LANES {
            add(lane, xs[lane], ys[lane]);
        }
    }
    for (&x, &y) in x_rest.iter().zip(y_rest) {
        add(0, x, y);
    }
    let total = |place: usize| sums[place..].iter().step_by(size).fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let mut groups: Vec<Group> = (0..size)
        .map(|place| {
            let (sum, rows) = total(place);
            Group { rows, first: firsts[place], mean: sum / real(rows), kept: u64::MAX }
        })
        .collect();
    groups[x.n_levels] = Group { rows: 0, first: 0.0, mean: 0.0, kept: 0 };
    groups
}

/// Returns the sum of squares between groups of `n` rows.
fn between(groups: &[Group], n: u64) -> f64 {
    let present = || groups.iter().filter(|group| group.rows > 0);
    let Some(origin) = present().next().map(|group| group.first) else { return 0.0 };
    let mean = |group: &Group| (group.first - origin) + group.mean;
    let grand = present().map(|group| real(group.rows) * mean(group)).sum::<f64>() / real(n);
    present().map(|group| real(group.rows) * (mean(group) - grand) * (mean(group) - grand)).sum()
}

/// Returns the sum of squares within groups.
fn within(groups: &[Group], x: Codes<'_>, y: &[f64]) -> f64 {
    // Sums of a block stay small beside the sum of all, whose rounding then grows with the blocks and not with the rows.
    const BLOCK: usize = 4_096;
    let missing = level(x.n_levels);
    let square = |code: Code, y: f64| {
        let group = &groups[place(code, y, missing)];
        let away = (y - group.first) - group.mean;
        f64::from_bits((away * away).to_bits() & group.kept)
    };
    let block = |(codes, y): (&[Code], &[f64])| {
        let (xs, x_rest) = codes.as_chunks::<LANES>();
        let (ys, y_rest) = y.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (xs, ys) in xs.iter().zip(ys) {
            for lane in 0..LANES {
                sums[lane] += square(xs[lane], ys[lane]);
            }
        }
        let rest: f64 = x_rest.iter().zip(y_rest).map(|(&x, &y)| square(x, y)).sum();
        sums.iter().sum::<f64>() + rest
    };
    x.codes.chunks(BLOCK).zip(y.chunks(BLOCK)).map(block).sum()
}

/// Returns a number of levels as a place beyond the last of them.
fn level(n_levels: usize) -> u32 {
    u32::try_from(n_levels).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn real(rows: u64) -> f64 {
    rows as f64
}

#[allow(clippy::cast_precision_loss, reason = "a rounding of the quotient it goes into")]
fn wide(product: u128) -> f64 {
    product as f64
}

/// Returns `a - b`, rounded once.
fn difference(a: u128, b: u128) -> f64 {
    let size = wide(a.abs_diff(b));
    if a < b { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::MISSING;

    /// Returns a column of `n` cells of `n_levels` levels, the `nulls`-th part of them missing.
    fn column(seed: u64, n: usize, n_levels: Code, nulls: Code) -> Vec<Code> {
        let mut state = seed;
        let mut draw = |below: Code| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Code::try_from((state >> 33) % u64::from(below)).unwrap_or(0)
        };
        (0..n).map(|_| if nulls > 0 && draw(nulls) == 0 { MISSING } else { draw(n_levels) }).collect()
    }

    /// Returns the two columns of a table of counts.
    fn columns<const K: usize>(table: &[[usize; K]]) -> (Vec<Code>, Vec<Code>) {
        let rows = (0..).zip(table).flat_map(|(x, row)| (0..).zip(row).flat_map(move |(y, &rows)| vec![(x, y); rows]));
        rows.unzip()
    }

    fn of(codes: &[Code], n_levels: usize) -> Codes<'_> {
        Codes { codes, n_levels }
    }

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap_or(f64::NAN);
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "found {found:e}, expected {expected:e}");
    }

    fn cells(x: Codes<'_>, y: Codes<'_>, count: fn(Codes<'_>, Codes<'_>) -> Vec<Cell>) -> Vec<(u32, u32, u64)> {
        count(x, y).iter().map(|cell| (cell.x, cell.y, cell.rows)).collect()
    }

    /// `scipy.stats.chi2_contingency` 1.17.1 without correction, with lambda 1 and 0, and `scipy.stats.entropy`.
    #[test]
    fn tables_match_scipy() {
        let (x, y) = columns(&[[12, 5, 3], [2, 9, 4]]);
        let (x, y) = (of(&x, 2), of(&y, 3));
        let v = cramers_v(x, y);
        assert_eq!((v.n, v.n_minor), (35, Some(15)));
        close(v.value, 0.413_777_864_574_847_9);
        close(v.ln_p.map(libm::exp), 0.019_496_896_108_598_005);
        let information = mutual_information(x, y);
        close(information.value, 0.121_577_331_975_952_42);
        close(information.ln_p.map(libm::exp), 0.014_190_158_484_054_785);
        close(theils_u(x, y).value, 0.115_247_898_054_736_7);
        assert_eq!(theils_u(x, y).ln_p, information.ln_p);
    }

    /// An expected count is 2: chi square says 0.065, Fisher 0.19 (`scipy.stats.fisher_exact` 1.17.1).
    #[test]
    fn few_rows_take_the_exact_test() {
        let (x, y) = columns(&[[3, 1], [1, 5]]);
        let v = cramers_v(of(&x, 2), of(&y, 2));
        close(v.value, 0.507_752_400_289_747_6);
        close(v.ln_p.map(libm::exp), 0.190_476_190_476_190_47);
        close(theils_u(of(&x, 2), of(&y, 2)).ln_p.map(libm::exp), 0.059_372_830_341_343_816);
        let (x, y) = columns(&[[10, 20], [30, 40]]);
        let v = cramers_v(of(&x, 2), of(&y, 2));
        assert_eq!(v.value, Some(0.0), "what chance explains is no association");
        close(v.ln_p.map(libm::exp), 0.372_998_483_613_486_86);
    }

    /// A level that no row of the pair has changes nothing, nor do missing rows.
    #[test]
    fn empty_levels_and_nulls_do_not_count() {
        let (mut x, mut y) = columns(&[[12, 0, 5, 3], [2, 0, 9, 4], [0, 0, 0, 0]]);
        x.extend([MISSING, 2, MISSING]);
        y.extend([1, MISSING, MISSING]);
        let (plain_x, plain_y) = columns(&[[12, 5, 3], [2, 9, 4]]);
        for method in [cramers_v, theils_u, mutual_information] {
            assert_eq!(method(of(&x, 3), of(&y, 4)), method(of(&plain_x, 2), of(&plain_y, 3)));
        }
    }

    #[test]
    fn a_function_of_x_is_all_that_x_determines() {
        let x = column(1, 400, 9, 0);
        let y: Vec<Code> = x.iter().map(|x| x % 4).collect();
        let (x, y) = (of(&x, 9), of(&y, 4));
        assert_eq!(theils_u(x, y).value, Some(1.0));
        assert!(theils_u(y, x).value < Some(0.8));
        assert_eq!(cramers_v(x, x).value, Some(1.0));
    }

    #[test]
    fn constants_and_identifiers() {
        let (one, two, id): (Vec<Code>, Vec<Code>, Vec<Code>) = (vec![0; 12], (0..12).map(|row| row % 2).collect(), (0..12).collect());
        let (one, two, id) = (of(&one, 1), of(&two, 2), of(&id, 12));
        let answer = |stat: Stat| (stat.value, stat.ln_p.is_some());
        assert_eq!(answer(cramers_v(one, two)), (None, false));
        assert_eq!(answer(cramers_v(id, two)), (None, true));
        assert_eq!(answer(theils_u(one, two)), (Some(0.0), false));
        assert_eq!(answer(theils_u(two, one)), (None, false));
        assert_eq!(answer(mutual_information(one, two)), (Some(0.0), false));
        let nothing = of(&[MISSING; 12], 2);
        for method in [cramers_v, theils_u, mutual_information] {
            assert_eq!(method(nothing, two), Stat { n_minor: Some(0), ..Stat::default() });
            assert_eq!(method(of(&[], 0), of(&[], 0)), Stat { n_minor: Some(0), ..Stat::default() });
        }
    }

    #[test]
    fn every_way_of_counting_finds_the_same_cells() {
        for (n, k) in [(0, 3), (1, 3), (7, 3), (1_003, 44), (1_003, 45), (1_003, 46), (5_001, 200)] {
            let (x, y) = (column(3, n, k, 7), column(4, n, k + 1, 5));
            let (x, y) = (of(&x, k as usize), of(&y, k as usize + 1));
            let sorted = cells(x, y, count_by_sorting);
            assert_eq!(cells(x, y, count_densely), sorted, "n = {n}, k = {k}");
            let table = Contingency::count_by_blocks(x, y, 100);
            assert_eq!(table.cells.iter().map(|cell| (cell.x, cell.y, cell.rows)).collect::<Vec<_>>(), sorted, "n = {n}, k = {k}");
        }
    }

    /// Both test the association of independent columns: only exact differences of counts keep its digits.
    #[test]
    fn sums_match_the_textbook() {
        let (x, y) = (column(5, 20_000, 6, 9), column(6, 20_000, 4, 0));
        let table = Contingency::count(of(&x, 6), of(&y, 4));
        let count = |i: Code, j: Code| x.iter().zip(&y).filter(|(x, y)| (**x, **y) == (i, j)).count() as f64;
        let (mut chi2, mut information, n) = (0.0, 0.0, real(table.n));
        for (i, j) in (0..6).flat_map(|i| (0..4).map(move |j| (i, j))) {
            let (row, column) = ((0..4).map(|j| count(i, j)).sum::<f64>(), (0..6).map(|i| count(i, j)).sum::<f64>());
            let (o, e) = (count(i, j), row * column / n);
            chi2 += (o - e) * (o - e) / e;
            information += o / n * (o / e).ln();
        }
        assert!((table.chi_square() - chi2).abs() < 1e-11 * chi2, "{} {chi2}", table.chi_square());
        assert!((table.information() - information).abs() < 1e-14, "{} {information}", table.information());
    }

    /// Means 2 and 6, sum of squares within 4 and between 24: F(1, 4) = 24, p by `scipy.stats.f` 1.17.1.
    #[test]
    fn eta_squared_of_two_groups() {
        let x = [0, 0, 0, 1, 1, 1, MISSING, 0, 1];
        let y = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 50.0, f64::NAN, f64::INFINITY];
        let stat = correlation_ratio(of(&x, 2), &y);
        assert_eq!((stat.n, stat.n_minor), (6, Some(3)));
        close(stat.value, 6.0 / 7.0);
        close(stat.ln_p.map(libm::exp), 0.008_049_893_100_837_717);
    }

    /// Eighths below 128 are exact beside 1e9: nothing but the offset may change.
    #[test]
    fn an_offset_costs_no_digits() {
        for n_levels in [3, 900] {
            let x = column(7, 30_000, n_levels, 20);
            let y: Vec<f64> = column(8, 30_000, 1_000, 0).iter().zip(&x).map(|(y, x)| f64::from(*y + x % 7) / 8.0).collect();
            let far: Vec<f64> = y.iter().map(|y| y + 1e9).collect();
            let (near, far) = (correlation_ratio(of(&x, n_levels as usize), &y), correlation_ratio(of(&x, n_levels as usize), &far));
            assert_eq!(near, far);
        }
    }

    #[test]
    fn eta_squared_matches_the_textbook() {
        let x = column(9, 9_999, 5, 11);
        let y: Vec<f64> = column(10, 9_999, 1_000, 0).iter().zip(&x).map(|(y, x)| f64::from(*y).sqrt() + f64::from(x % 5)).collect();
        let squares = |rows: &dyn Fn(Code) -> bool| {
            let kept: Vec<f64> = x.iter().zip(&y).filter(|(x, _)| rows(**x)).map(|(_, y)| *y).collect();
            let mean = kept.iter().sum::<f64>() / kept.len() as f64;
            kept.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>()
        };
        let within: f64 = (0..5).map(|level| squares(&|x| x == level)).sum();
        close(correlation_ratio(of(&x, 5), &y).value, 1.0 - within / squares(&|x| x != MISSING));
    }

    #[test]
    fn eta_squared_without_variance() {
        let (one, two, id): (Vec<Code>, Vec<Code>, Vec<Code>) = (vec![0; 12], (0..12).map(|row| row % 2).collect(), (0..12).collect());
        let steps: Vec<f64> = two.iter().map(|level| 0.1 + f64::from(*level) / 3.0).collect();
        let answer = |x: &[Code], n_levels: usize, y: &[f64]| {
            let stat = correlation_ratio(of(x, n_levels), y);
            (stat.value, stat.ln_p)
        };
        assert_eq!(answer(&two, 2, &[0.1; 12]), (None, None));
        assert_eq!(answer(&one, 1, &steps), (Some(0.0), None));
        assert_eq!(answer(&id, 12, &steps), (Some(1.0), None));
        assert_eq!(answer(&two, 2, &steps), (Some(1.0), Some(f64::NEG_INFINITY)));
        assert_eq!(answer(&two, 2, &[f64::NAN; 12]), (None, None));
        let huge: Vec<f64> = id.iter().map(|id| f64::from(*id) * 1e300).collect();
        assert_eq!(answer(&two, 2, &huge), (None, None), "squares beyond f64");
    }
}
