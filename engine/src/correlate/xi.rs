//! Chatterjee's xi: how far y is a function of x.
//!
//! ```text
//! xi(x -> y) = 1 - n sum |r(i + 1) - r(i)| / (2 sum l(i) (n - l(i)))      rows in ascending order of x
//! r(i)  rows whose y is at most that of row i          l(i)  rows whose y is at least that of row i
//! ```
//!
//! Nulls    a row counts where both cells are present. Constant x or y over these rows, or fewer than two rows: no value.
//!          (The formula has an answer for a constant x, but it would measure the order of the rows.)
//! Ties     of y as above. Rows of the same x stay in the order of the table, so that the answer does not depend on a seed.
//! Numbers  sums of ranks are integers and exact; one division gives xi.
//! Tests    one-sided: xi sqrt(n) / tau is normal where y does not depend on x. With c(k) the share of the rows with the k-th
//!          smallest y and F(k) = c(1) + ... + c(k),
//!              tau^2 = sum over j, k of c(j + 1) c(k + 1) F(min(j, k))^2 (1 - F(max(j, k)))^2 / (sum l (n - l) / n^3)^2.
//!          This is the a - 2 b + c^2 of the paper with the centring done on paper: every term is positive, where a, b and c
//!          cancel to as many digits as y is unbalanced.
//! Cost     one sort a column, then one pass a pair. `Sorted` keeps 8 bytes a row.
//! Absent   averages over random orders of tied x; the symmetric max(xi(x -> y), xi(y -> x)).
//!
//! Source: Chatterjee, A new coefficient of correlation, JASA 2021, theorems 2.1 and 2.2.

use super::ranks::order;
use super::stat::Stat;
use crate::stats::ln_normal_sf;

/// Returns xi(x -> y) and its one-sided p over the rows where both are finite.
pub(crate) fn xi(x: &[f64], y: &[f64]) -> Stat {
    let (x, y) = complete(x, y);
    xi_presorted(&Sorted::of(&x), &Sorted::of(&y))
}

/// Returns xi(x -> y) of two columns of the same rows.
pub(crate) fn xi_presorted(x: &Sorted, y: &Sorted) -> Stat {
    debug_assert_eq!(x.order.len(), y.order.len(), "columns of one table have the same rows");
    let rows = x.order.len();
    let stat = Stat { n: rows as u64, ..Stat::default() };
    if x.is_constant() || y.is_constant() {
        return stat;
    }
    let steps: u64 = x.order.windows(2).map(|pair| u64::from(y.rank(pair[0]).abs_diff(y.rank(pair[1])))).sum();
    let (walked, spread) = (rows as u128 * u128::from(steps), 2 * y.spread);
    let size = real(walked.abs_diff(spread)) / real(spread);
    let value = if walked > spread { -size } else { size };
    Stat { value: Some(value), ln_p: Some(ln_normal_sf(value * (real(rows as u128) / y.tau_squared).sqrt())), ..stat }
}

/// What xi needs to know of a column without missing cells, in either role.
pub(crate) struct Sorted {
    /// Rows in ascending order.
    order: Vec<u32>,
    /// Per row, how many cells are at most this one.
    ranks: Vec<u32>,
    /// Sum over rows of l (n - l), with l cells at least this one; 0 means constant.
    spread: u128,
    /// n times the variance of xi(x -> this column) where this column does not depend on x.
    tau_squared: f64,
}

impl Sorted {
    /// Returns order and ranks of a column whose cells are all finite.
    pub(crate) fn of(column: &[f64]) -> Self {
        let order = order(column);
        let n = u32::try_from(order.len()).expect("`order` counts rows in u32");
        let share = 1.0 / f64::from(n);
        let mut ranks = vec![0; order.len()];
        let (mut before, mut spread, mut below, mut variance) = (0_u32, 0_u128, 0.0, 0.0);
        for level in order.chunk_by(|a, b| same(column[*a as usize], column[*b as usize])) {
            let upto = before + u32::try_from(level.len()).expect("a level has no more rows than the column");
            let (count, rest) = (upto - before, n - before);
            spread += u128::from(u64::from(before) * u64::from(rest)) * u128::from(count);
            // `below` holds the sum of c F^2 over the levels before, so that each unordered pair of levels is met once.
            let (c, f, g) = (f64::from(count) * share, f64::from(before) * share, f64::from(rest) * share);
            variance += c * g * g * (c * f * f + 2.0 * below);
            below += c * f * f;
            for row in level {
                ranks[*row as usize] = upto;
            }
            before = upto;
        }
        let d = real(spread) * share * share * share;
        Self { order, ranks, spread, tau_squared: variance / (d * d) }
    }

    /// Returns whether fewer than two values occur.
    pub(crate) fn is_constant(&self) -> bool {
        self.spread == 0
    }

    fn rank(&self, row: u32) -> u32 {
        self.ranks[row as usize]
    }
}

/// Returns the cells of the rows where both columns are finite.
pub(super) fn complete(x: &[f64], y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite()).unzip()
}

#[allow(clippy::float_cmp, reason = "a tie is the very same number")]
fn same(a: f64, b: f64) -> bool {
    a == b
}

#[allow(clippy::cast_precision_loss, reason = "rounds once, where exact integers end")]
fn real(count: u128) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook: ranks by counting, a, b, c and d of the paper times powers of n, in integers.
    fn definition(x: &[f64], y: &[f64]) -> (Option<f64>, Option<f64>) {
        let mut rows: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        if rows.iter().all(|row| same(row.0, rows[0].0)) || rows.iter().all(|row| same(row.1, rows[0].1)) {
            return (None, None);
        }
        rows.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("finite"));
        let n = rows.len() as i128;
        let count = |holds: &dyn Fn(f64) -> bool| rows.iter().filter(|row| holds(row.1)).count() as i128;
        let mut r: Vec<i128> = rows.iter().map(|row| count(&|y| y <= row.1)).collect();
        let l: Vec<i128> = rows.iter().map(|row| count(&|y| y >= row.1)).collect();
        let steps: i128 = r.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
        let d: i128 = l.iter().map(|l| l * (n - l)).sum();
        let value = 1.0 - (n * steps) as f64 / (2 * d) as f64;
        r.sort_unstable();
        let (mut a, mut b, mut c, mut v) = (0, 0, 0, 0);
        for (i, u) in (1..).zip(&r) {
            v += u;
            a += (2 * n - 2 * i + 1) * u * u;
            b += (v + (n - i) * u).pow(2);
            c += (2 * n - 2 * i + 1) * u;
        }
        let tau_squared = (n * n * a - 2 * n * b + c * c) as f64 / (d * d) as f64;
        (Some(value), Some(ln_normal_sf(value * (n as f64 / tau_squared).sqrt())))
    }

    /// The formula for y without ties, used where ties are: the wrong twin.
    fn without_ties(x: &[f64], y: &[f64]) -> (Option<f64>, Option<f64>) {
        let (x, y) = (Sorted::of(x), Sorted::of(y));
        let n = x.order.len() as f64;
        let steps: u32 = x.order.windows(2).map(|pair| y.rank(pair[0]).abs_diff(y.rank(pair[1]))).sum();
        let value = 1.0 - 3.0 * f64::from(steps) / (n * n - 1.0);
        (Some(value), Some(ln_normal_sf(value * (n / 0.4).sqrt())))
    }

    fn near(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-10 * b.abs().max(1.0),
            (a, b) => a == b,
        }
    }

    fn agree(stat: Stat, truth: (Option<f64>, Option<f64>)) -> bool {
        near(stat.value, truth.0) && near(stat.ln_p, truth.1)
    }

    /// Cells without ties, of few levels, unbalanced, with heavy tails, far from 0, and missing ones.
    fn cells(n: usize) -> impl Strategy<Value = Vec<f64>> {
        let one = |cell: BoxedStrategy<f64>| prop::collection::vec(cell, n);
        prop_oneof![
            one((-1.0..1.0_f64).boxed()),
            one((0..4_u8).prop_map(f64::from).boxed()),
            one((0..50_u8).prop_map(|cell| f64::from(u8::from(cell == 0))).boxed()),
            one((-1.5..1.5_f64).prop_map(libm::tan).boxed()),
            one((0..1000_u16).prop_map(|cell| 1e6 + f64::from(cell) / 1000.0).boxed()),
            one(prop_oneof![4 => -1.0..1.0_f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-0.0), 1 => Just(0.0)].boxed()),
        ]
    }

    fn pairs() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        (2..=200_usize).prop_flat_map(|n| (cells(n), cells(n)))
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition((x, y) in pairs()) {
            let (fast, slow) = (xi(&x, &y), definition(&x, &y));
            prop_assert!(agree(fast, slow), "{fast:?} but {slow:?}");
        }

        #[test]
        fn depends_on_order_alone((x, y) in pairs()) {
            let stretched: Vec<f64> = y.iter().map(|y| 4.0 * y).collect();
            prop_assert_eq!(xi(&x, &y), xi(&x, &stretched));
        }
    }

    /// The fractional parts of multiples of an irrational number: uniform, and neighbours tell nothing in the order of another.
    fn spread(n: u32, step: f64) -> Vec<f64> {
        (1..=n).map(|row| (f64::from(row) * f64::from(row) * step).fract()).collect()
    }

    #[test]
    fn agreement_catches_a_wrong_twin() {
        let (x, y) = (spread(100, 0.618_033_988_749_894_9), spread(100, std::f64::consts::SQRT_2));
        let tied: Vec<f64> = y.iter().map(|y| (y * 5.0).floor()).collect();
        assert!(!agree(xi(&x, &tied), without_ties(&x, &tied)));
        assert!(agree(xi(&x, &tied), definition(&x, &tied)));
    }

    #[test]
    fn a_function_is_found_one_way_only() {
        let x: Vec<f64> = (0..1000).map(|row| f64::from(row) / 500.0 - 1.0).collect();
        let y: Vec<f64> = x.iter().map(|x| x * x).collect();
        let (there, back) = (xi(&x, &y), xi(&y, &x));
        assert!(there.value > Some(0.99) && there.ln_p < Some(-500.0), "{there:?}");
        assert!(back.value < Some(0.6), "{back:?}");
    }

    #[test]
    fn independent_columns_are_near_0() {
        let stat = xi(&spread(20_000, 0.618_033_988_749_894_9), &spread(20_000, std::f64::consts::SQRT_2));
        assert!(stat.value.is_some_and(|value| value.abs() < 0.02) && stat.ln_p > Some(-7.0), "{stat:?}");
    }

    /// For y without ties tau^2 tends to 2/5; for two levels it is 1, however rare one of them is.
    #[test]
    fn variance_is_known_and_keeps_its_digits() {
        let column: Vec<f64> = (0..100_000).map(f64::from).collect();
        let continuous = Sorted::of(&column).tau_squared;
        assert!((continuous - 0.4).abs() < 1e-8, "{continuous}");
        for rare in [50_000.0, 10.0, 1.0] {
            let levels: Vec<f64> = column.iter().map(|cell| f64::from(u8::from(*cell < rare))).collect();
            let tau_squared = Sorted::of(&levels).tau_squared;
            assert!((tau_squared - 1.0).abs() < 1e-14, "{rare}: {tau_squared}");
        }
    }

    #[test]
    fn constants_and_few_rows_have_no_answer() {
        let nothing = |n| Stat { n, ..Stat::default() };
        assert_eq!(xi(&[], &[]), nothing(0));
        assert_eq!(xi(&[1.0], &[2.0]), nothing(1));
        assert_eq!(xi(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), nothing(3));
        assert_eq!(xi(&[1.0, 2.0, 3.0], &[0.0, -0.0, 0.0]), nothing(3));
        assert_eq!(xi(&[1.0, 2.0, f64::NAN], &[1.0, 1.0, 3.0]), nothing(2));
    }

    #[test]
    fn presorted_columns_give_the_same() {
        let (x, y) = (spread(50, 0.3), spread(50, std::f64::consts::SQRT_2));
        let (a, b) = (Sorted::of(&x), Sorted::of(&y));
        assert_eq!((xi_presorted(&a, &b), xi_presorted(&b, &a)), (xi(&x, &y), xi(&y, &x)));
    }
}
