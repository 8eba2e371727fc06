//! Distance correlation: 0 where two columns are independent, and nowhere else, given enough rows.
//!
//! ```text
//! dCor(x, y) = sqrt(S(x, y) / sqrt(S(x, x) S(y, y))),      S(x, y) = sum over rows i, j of A(i, j) B(i, j)
//! A  the distances |x(i) - x(j)| less their row and column means plus their mean; B the same of y
//! ```
//!
//! Nulls    a row counts where both cells are finite. A column that is constant over these rows: no value, never 0, as for any
//!          correlation here (the paper says 0). Fewer than two rows: no value.
//! Numbers  centring forgets whatever is added to a whole row and column, so distances may be replaced by
//!              k(i, j) = (|x(i) - m| + |x(j) - m| - |x(i) - x(j)|) / 2,      m the median of x,
//!          which is min(|x(i) - m|, |x(j) - m|) where both are on one side of m, else 0. All sums over k have terms of one sign,
//!          and a side holds at most half of the rows, so that centring costs a digit or two even where one row in a million is
//!          far from all others; distances themselves would lose as many digits as the number of rows has. Cells are taken
//!          from m and scaled by powers of two first: offset and size cost nothing.
//! Tests    P(chi2(1) > n R + 1) with R the same quotient of U-centred sums, without bias: a conservative test that never permutes.
//!          Null below four rows and where the U-centred distances of a column vanish, as in a column with one odd row.
//! Cost     n log n time, n memory: a sort a column, a pass over a Fenwick tree per half and pair. `Centred` keeps 24 bytes a row.
//! Absent   several columns at once, other exponents of the distance, permutation p.
//!
//! Source: Szekely, Rizzo and Bakirov, Ann. Statist. 2007 (dCor); Szekely and Rizzo, Ann. Statist. 2014 (U-centring); Shen, Panda
//! and Vogelstein, J. Comput. Graph. Stat. 2022 (test). Sorting instead of all pairs: Huo and Szekely, Technometrics 2016.

use super::ranks::order;
use super::stat::Stat;
use super::xi::complete;
use crate::stats::ln_chi_square_sf;

/// Share of the sum of squared distances below which U-centred distances are rounding.
const NOTHING: f64 = 1e-20;

/// Returns the distance correlation, in 0..=1, and its p over the rows where both are finite.
pub(crate) fn distance_correlation(x: &[f64], y: &[f64]) -> Stat {
    let (x, y) = complete(x, y);
    let stat = Stat { n: x.len() as u64, ..Stat::default() };
    let (Some(x), Some(y)) = (Centred::of(&x), Centred::of(&y)) else { return stat };
    distance_centred(&x, &y)
}

/// Returns the distance correlation of two columns of the same rows.
pub(crate) fn distance_centred(x: &Centred, y: &Centred) -> Stat {
    debug_assert_eq!(x.cells.len(), y.cells.len(), "columns of one table have the same rows");
    let (rows, products) = (x.cells.len(), products(x, y));
    let square = biased(x, y, products) / (x.biased * y.biased).sqrt();
    let corrected = (x.unbiased > 0.0 && y.unbiased > 0.0).then(|| unbiased(x, y, products) / (x.unbiased * y.unbiased).sqrt());
    Stat {
        n: rows as u64,
        value: Some(square.max(0.0).sqrt().min(1.0)),
        // Below 0 every chi-square is above.
        ln_p: corrected.map(|r| ln_chi_square_sf((real(rows) * r + 1.0).max(0.0), 1.0)),
        ..Stat::default()
    }
}

/// What distance correlation needs to know of a column without missing cells.
pub(crate) struct Centred {
    /// Cells less the median, the largest of them in 1..2 or -2..-1.
    cells: Vec<f64>,
    /// Rows below the median and rows above it, farthest first. Rows at the median are alike to no row.
    sides: [Vec<u32>; 2],
    /// Per row, its place from 1 on among its side, nearest first.
    places: Vec<u32>,
    /// Per row, the sum of k over all other rows.
    sums: Vec<f64>,
    /// S(x, x) / 4.
    biased: f64,
    /// The same of U-centred distances; 0 where they vanish or are not defined.
    unbiased: f64,
}

impl Centred {
    /// Returns the centred form of a column whose cells are all finite; none where it is constant.
    pub(crate) fn of(column: &[f64]) -> Option<Self> {
        let order = order(column);
        let [first, median, last] = [0, order.len() / 2, order.len().saturating_sub(1)].map(|at| order.get(at).copied());
        let cells = scaled(column, column[first? as usize], column[median? as usize], column[last? as usize])?;
        let below: Vec<u32> = order.iter().copied().take_while(|row| cells[*row as usize] < 0.0).collect();
        let above: Vec<u32> = order.iter().rev().copied().take_while(|row| cells[*row as usize] > 0.0).collect();
        let n = cells.len();
        let mut centred = Self { cells, sides: [below, above], places: vec![0; n], sums: vec![0.0; n], biased: 0.0, unbiased: 0.0 };
        let squares = centred.fill_sides();
        centred.biased = biased(&centred, &centred, squares);
        if n >= 4 {
            let own = unbiased(&centred, &centred, squares);
            // Four, because distances are twice k.
            centred.unbiased = if 4.0 * own > NOTHING * centred.squared_distances() { own } else { 0.0 };
        }
        Some(centred)
    }

    /// Sets places and sums; returns the sum of k^2 over all pairs of different rows.
    fn fill_sides(&mut self) -> f64 {
        let mut squares = 0.0;
        for side in &self.sides {
            let mut nearer = 0.0;
            for (place, row) in (1..).zip(side.iter().rev()) {
                let (row, farther) = (*row as usize, real(side.len() - place as usize));
                let reach = self.cells[row].abs();
                self.places[row] = place;
                self.sums[row] = nearer + reach * farther;
                squares += 2.0 * reach * reach * farther;
                nearer += reach;
            }
        }
        squares
    }

    /// Returns the sum of (x(i) - x(j))^2 over all pairs of rows: 2 n times the sum of squares around the mean.
    fn squared_distances(&self) -> f64 {
        let n = real(self.cells.len());
        let mean = self.cells.iter().sum::<f64>() / n;
        2.0 * n * self.cells.iter().map(|cell| (cell - mean) * (cell - mean)).sum::<f64>()
    }
}

/// Returns the cells less the median, scaled so that neither differences nor their squares leave the range of f64; none where the
/// first in order is the last.
fn scaled(column: &[f64], first: f64, median: f64, last: f64) -> Option<Vec<f64>> {
    if first >= last {
        return None;
    }
    // Powers of two: no digit changes, and so offsets cost only what was lost when they were added.
    let shrink = -libm::ilogb(first.abs().max(last.abs())) - 1;
    let median = libm::scalbn(median, shrink);
    let mut cells: Vec<f64> = column.iter().map(|cell| libm::scalbn(*cell, shrink) - median).collect();
    let grow = -libm::ilogb(cells.iter().fold(0.0, |most: f64, cell| most.max(cell.abs())));
    for cell in &mut cells {
        *cell = libm::scalbn(*cell, grow);
    }
    Some(cells)
}

/// Returns S / 4 of two columns whose products k(x) k(y) over pairs of different rows add up to `products`.
fn biased(x: &Centred, y: &Centred, products: f64) -> f64 {
    let n = real(x.cells.len());
    let (mut own, mut rows, mut xs, mut ys) = (0.0, 0.0, 0.0, 0.0);
    for (((x, y), x_sum), y_sum) in x.cells.iter().zip(&y.cells).zip(&x.sums).zip(&y.sums) {
        let (x, y) = (x.abs(), y.abs());
        own += x * y;
        rows += (x_sum + x) * (y_sum + y);
        xs += x_sum + x;
        ys += y_sum + y;
    }
    products + own - 2.0 * rows / n + (xs / n) * (ys / n)
}

/// Returns the same of U-centred distances, which leave the diagonal out; needs four rows.
fn unbiased(x: &Centred, y: &Centred, products: f64) -> f64 {
    let n = real(x.cells.len());
    let rows: f64 = x.sums.iter().zip(&y.sums).map(|(x, y)| x * y).sum();
    products - 2.0 * rows / (n - 2.0) + (x.sums.iter().sum::<f64>() / (n - 1.0)) * (y.sums.iter().sum::<f64>() / (n - 2.0))
}

/// Returns the sum of k(x) k(y) over all pairs of different rows.
///
/// Farthest x first: of two rows on one side the later one holds the minimum, so it multiplies a sum over earlier rows.
fn products(x: &Centred, y: &Centred) -> f64 {
    let mut total = 0.0;
    for side in &x.sides {
        let mut seen = y.sides.each_ref().map(|side| Fenwick::of(side.len()));
        for row in side {
            let (row, reach) = (*row as usize, y.cells[*row as usize].abs());
            if reach > 0.0 {
                let half = &mut seen[usize::from(y.cells[row] > 0.0)];
                total += x.cells[row].abs() * half.minima(y.places[row], reach);
                half.insert(y.places[row], reach);
            }
        }
    }
    2.0 * total
}

/// Sum and number of the reaches seen so far, by place.
struct Fenwick {
    nodes: Vec<Node>,
    all: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    sum: f64,
    count: f64,
}

impl Fenwick {
    fn of(places: usize) -> Self {
        Self { nodes: vec![Node::default(); places + 1], all: 0.0 }
    }

    /// Returns the sum of min(reach, r) over the reaches r seen: nearer places hold smaller ones.
    fn minima(&self, place: u32, reach: f64) -> f64 {
        let (mut at, mut nearer) = (place as usize, Node::default());
        while at > 0 {
            nearer.sum += self.nodes[at].sum;
            nearer.count += self.nodes[at].count;
            at &= at - 1;
        }
        nearer.sum + reach * (self.all - nearer.count)
    }

    fn insert(&mut self, place: u32, reach: f64) {
        let mut at = place as usize;
        while let Some(node) = self.nodes.get_mut(at) {
            node.sum += reach;
            node.count += 1.0;
            at += at & at.wrapping_neg();
        }
        self.all += 1.0;
    }
}

#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook: matrices of distances, centred; returns dCor and the bias-corrected square.
    fn definition(x: &[f64], y: &[f64]) -> (Option<f64>, Option<f64>) {
        let (x, y) = complete(x, y);
        #[allow(clippy::float_cmp, reason = "constant means the very same number")]
        let constant = |cells: &[f64]| cells.iter().all(|cell| *cell == cells[0]);
        if constant(&x) || constant(&y) {
            return (None, None);
        }
        let (x, y) = (distances(&x), distances(&y));
        let n = x.len();
        let centre = |d: &[Vec<f64>]| centred(d, real(n), real(n) * real(n));
        let (a, b) = (centre(&x), centre(&y));
        let square = inner(&a, &b) / (inner(&a, &a) * inner(&b, &b)).sqrt();
        let value = Some(square.max(0.0).sqrt());
        if n < 4 {
            return (value, None);
        }
        let centre = |d: &[Vec<f64>]| {
            let mut u = centred(d, real(n - 2), real(n - 1) * real(n - 2));
            (0..n).for_each(|row| u[row][row] = 0.0);
            (inner(&u, &u) > NOTHING * inner(d, d)).then_some(u)
        };
        let (Some(a), Some(b)) = (centre(&x), centre(&y)) else { return (value, None) };
        (value, Some(inner(&a, &b) / (inner(&a, &a) * inner(&b, &b)).sqrt()))
    }

    fn distances(cells: &[f64]) -> Vec<Vec<f64>> {
        cells.iter().map(|a| cells.iter().map(|b| (a - b).abs()).collect()).collect()
    }

    fn centred(d: &[Vec<f64>], row: f64, all: f64) -> Vec<Vec<f64>> {
        let sums: Vec<f64> = d.iter().map(|d| d.iter().sum()).collect();
        let mean = sums.iter().sum::<f64>() / all;
        d.iter().zip(&sums).map(|(d, own)| d.iter().zip(&sums).map(|(d, other)| d - (own + other) / row + mean).collect()).collect()
    }

    fn inner(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
        a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
    }

    fn near(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            // Both dCor and ln p near 0 are roots, of S and of n R + 1: there rounding is held to the bound before the root.
            (Some(a), Some(b)) => (a - b).abs() <= 1e-10 * b.abs().max(1.0) || (a * a - b * b).abs() <= 1e-13,
            (a, b) => a == b,
        }
    }

    fn agree(stat: Stat, (value, corrected): (Option<f64>, Option<f64>)) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "few rows")]
        let ln_p = corrected.map(|r| ln_chi_square_sf((stat.n as f64 * r + 1.0).max(0.0), 1.0));
        near(stat.value, value) && near(stat.ln_p, ln_p)
    }

    /// Cells close to normal, of few levels, unbalanced, with heavy tails, far from 0, and missing ones.
    fn cells(n: usize) -> impl Strategy<Value = Vec<f64>> {
        let one = |cell: BoxedStrategy<f64>| prop::collection::vec(cell, n);
        prop_oneof![
            one(prop::array::uniform4(-1.0..1.0_f64).prop_map(|parts| parts.iter().sum()).boxed()),
            one((0..4_u8).prop_map(f64::from).boxed()),
            one((0..50_u8).prop_map(|cell| f64::from(u8::from(cell == 0))).boxed()),
            one((-1.57..1.57_f64).prop_map(libm::tan).boxed()),
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
            let (fast, slow) = (distance_correlation(&x, &y), definition(&x, &y));
            prop_assert!(agree(fast, slow), "{fast:?} but {slow:?}");
        }

        #[test]
        fn row_order_and_roles_do_not_matter((x, y) in pairs(), by in 0..200_usize) {
            let by = by % x.len();
            let turned = |cells: &[f64]| -> Vec<f64> { cells[by..].iter().chain(&cells[..by]).rev().copied().collect() };
            let stat = distance_correlation(&x, &y);
            for other in [distance_correlation(&turned(&x), &turned(&y)), distance_correlation(&y, &x)] {
                prop_assert!(near(stat.value, other.value) && near(stat.ln_p, other.ln_p), "{stat:?} but {other:?}");
            }
        }

        #[test]
        fn a_line_is_1((x, _) in pairs(), slope in 0..2_u8) {
            let y: Vec<f64> = x.iter().map(|x| if slope == 0 { -3.0 * x } else { 2.0 * x }).collect();
            prop_assert!(distance_correlation(&x, &y).value.is_none_or(|value| (value - 1.0).abs() < 1e-12));
        }
    }

    /// The fractional parts of multiples of an irrational number: uniform, and neighbours tell nothing in the order of another.
    fn spread(n: u32, step: f64) -> Vec<f64> {
        (1..=n).map(|row| (f64::from(row) * f64::from(row) * step).fract()).collect()
    }

    #[test]
    fn agreement_catches_a_wrong_twin() {
        let (x, y) = (spread(100, 0.618_033_988_749_894_9), spread(100, std::f64::consts::SQRT_2));
        let right = definition(&x, &y);
        assert!(agree(distance_correlation(&x, &y), right));
        let mut moved = y.clone();
        moved[17] += 1e-3;
        assert!(!agree(distance_correlation(&x, &moved), right), "a cell that moved");
        let biased = (right.0, right.0.map(|value| value * value));
        assert!(!agree(distance_correlation(&x, &y), biased), "the bias of the square in p");
    }

    #[test]
    fn a_parabola_is_found() {
        let x: Vec<f64> = (0..1001).map(|row| f64::from(row) / 500.0 - 1.0).collect();
        let y: Vec<f64> = x.iter().map(|x| x * x).collect();
        let stat = distance_correlation(&x, &y);
        assert!(stat.value > Some(0.4) && stat.ln_p < Some(-50.0), "{stat:?}");
    }

    #[test]
    fn independent_columns_are_near_0() {
        let stat = distance_correlation(&spread(20_000, 0.618_033_988_749_894_9), &spread(20_000, std::f64::consts::SQRT_2));
        assert!(stat.value < Some(0.03) && stat.ln_p > Some(-5.0), "{stat:?}");
    }

    /// For two odd rows among n equal ones dCor is 1 / (n - 1), by hand. Distances themselves lose ten of the digits here.
    #[test]
    fn rare_rows_keep_their_digits() {
        let odd = |at: usize| (0..100_000).map(|row| f64::from(u8::from(row == at))).collect::<Vec<f64>>();
        let stat = distance_correlation(&odd(7), &odd(70_000));
        assert!(stat.value.is_some_and(|value| (value * 99_999.0 - 1.0).abs() < 1e-12), "{stat:?}");
        assert_eq!(stat.ln_p, None, "one odd row leaves nothing to centre");
    }

    #[test]
    fn size_and_offset_cost_nothing() {
        let (x, y) = (spread(100, 0.3), spread(100, std::f64::consts::SQRT_2));
        let grid: Vec<f64> = x.iter().map(|x| (x * 1024.0).floor()).collect();
        let stat = distance_correlation(&grid, &y);
        for (scale, offset) in
            [(1.0, 1e12), (f64::from_bits(1), 0.0), (libm::scalbn(1.0, 1013), 0.0), (libm::scalbn(1.0, 1014), -libm::scalbn(1.0, 1023))]
        {
            let moved: Vec<f64> = grid.iter().map(|cell| scale * cell + offset).collect();
            assert_eq!(distance_correlation(&moved, &y), stat, "{scale} {offset}");
        }
    }

    #[test]
    fn constants_and_few_rows_have_no_answer() {
        let nothing = |n| Stat { n, ..Stat::default() };
        assert_eq!(distance_correlation(&[], &[]), nothing(0));
        assert_eq!(distance_correlation(&[1.0], &[2.0]), nothing(1));
        assert_eq!(distance_correlation(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), nothing(3));
        assert_eq!(distance_correlation(&[1.0, 2.0, f64::NAN], &[0.0, -0.0, 3.0]), nothing(2));
        let three = distance_correlation(&[1.0, 2.0, 4.0], &[1.0, 2.0, 4.0]);
        assert_eq!((three.n, three.ln_p), (3, None));
        assert!(three.value.is_some_and(|value| (value - 1.0).abs() < 1e-15));
        // Rows on both sides of many equal ones: all distances are sums of two reaches, and U-centring leaves nothing.
        assert_eq!(distance_correlation(&[-0.3, 1.1, 1.1, 1.1, 7.7], &[1.0, 5.0, 2.0, 3.0, 9.0]).ln_p, None);
    }
}
