//! Poisson bootstrap: the interval of a coefficient from weights that redraw the rows.
//!
//! ```text
//! w(row) ~ Poisson(1)      r_b = sum w (x - m_x)(y - m_y) / ...      interval: the (B + 1) alpha / 2 smallest and largest r_b
//! ```
//!
//! Shape    products: B turns x pairs of complete columns, a tile of columns at a time, so that only its `r_b` are held. Others, a
//!          pair at a time: the coefficient of rows that stand there as often as they were drawn.
//! Bias     shares of variance, V, U and mutual information grow when rows are drawn anew, by about as much as chance gave the
//!          estimate: their intervals are moved by the mean of the turns less the estimate, and end at 0 and at 1 where there is an end.
//! Units    rows, whole entities where there are any, and blocks of neighbours where rows lie in time: as long as n^(1/3), and as n over
//!          the least effective n, at most a tenth of the rows.
//! Numbers  f64 on the CPU: intervals of findings do not depend on a place. Weights are Philox words of (seed, turn).
//! Source   Kuensch 1989 (blocks); Hanley and `MacGibbon` 2006 (Poisson weights); Davison and Hinkley 1997, 5.2 (percentiles).
//! Cost     products: one weighted product a turn, n p^2 / 2 multiply-adds. Others: B coefficients a pair.
//! Absent   Chatterjee's xi, whose bootstrap does not hold (Lin and Han 2024), keeps none.

use std::collections::HashMap;

use rayon::prelude::*;

use super::associate::{Work, statistic};
use super::finish::PairRow;
use super::layout::Layout;
use super::method::Method;
use super::permute::Arranged;
use super::{cpu, permute};
use crate::simd::{Matrix, dot};
use crate::stats::{Purpose, Stream};

/// Columns of a tile: their r of a thousand turns take 74 MB.
const TILE: usize = 96;

/// Largest weight: 13 rows or more of one are drawn with probability 1e-11.
const MOST: usize = 13;

/// Gives rows their bootstrap intervals; false where the work was stopped.
pub(super) fn apply(work: &Work<'_>, rows: &mut [PairRow]) -> bool {
    let parts = &work.parts;
    let of_slice = (0..rows.len()).filter(|&at| rows[at].slice == work.at && rows[at].r.is_some());
    let is_product =
        |row: &PairRow| matches!(row.method, Method::Pearson | Method::Spearman) && parts.is_complete(row.x) && parts.is_complete(row.y);
    let (products, others): (Vec<usize>, Vec<usize>) =
        of_slice.filter(|&at| rows[at].method != Method::Xi).partition(|&at| is_product(&rows[at]));
    let draws = Draws { work, block: block(work, products.iter().chain(&others).map(|&at| &rows[at])) };
    of_products(&draws, products, rows) && of_others(&draws, &others, rows)
}

fn of_products(draws: &Draws<'_>, wanted: Vec<usize>, rows: &mut [PairRow]) -> bool {
    let work = draws.work;
    let Some(&first) = wanted.first() else { return true };
    let ranked = rows[first].method == Method::Spearman;
    let mut taking = vec![false; work.slice.table.columns.len()];
    for &at in &wanted {
        taking[rows[at].x] = true;
        taking[rows[at].y] = true;
    }
    let columns: Vec<usize> = (0..taking.len()).filter(|&at| taking[at]).collect();
    let place: HashMap<usize, usize> = columns.iter().enumerate().map(|(place, &at)| (at, place)).collect();
    let unit: Vec<Vec<f64>> = columns.par_iter().map(|&at| permute::unit_column(work, at, ranked, &work.slice.exchange)).collect();
    let drawn = Drawn { draws, unit: &unit };
    // Pairs by the tiles that their columns lie in.
    let mut tiles: HashMap<(usize, usize), Vec<Pair>> = HashMap::new();
    for &at in &wanted {
        let (a, b) = (place[&rows[at].x], place[&rows[at].y]);
        let (a, b) = (a.min(b), a.max(b));
        tiles.entry((a / TILE, b / TILE)).or_default().push((at, a, b));
    }
    let mut tiles: Vec<((usize, usize), Vec<Pair>)> = tiles.into_iter().collect();
    tiles.sort_unstable_by_key(|(tile, _)| *tile);
    let moments = drawn.moments();
    let intervals: Vec<Option<Vec<Interval>>> = tiles
        .par_iter()
        .with_max_len(1)
        .map(|(tile, pairs)| if (work.stop)() { None } else { Some(drawn.tile(*tile, pairs, &moments)) })
        .collect();
    for tile in intervals {
        let Some(tile) = tile else { return false };
        for (at, interval) in tile {
            rows[at].interval = Some(interval);
        }
    }
    true
}

/// A row, and its two columns among those that are drawn.
type Pair = (usize, usize, usize);

/// A row and its interval.
type Interval = (usize, (f64, f64));

/// Takes the coefficient of every pair of rows drawn anew.
fn of_others(draws: &Draws<'_>, wanted: &[usize], rows: &mut [PairRow]) -> bool {
    let work = draws.work;
    let interval = |&at: &usize| {
        if (work.stop)() {
            return None;
        }
        let row = &rows[at];
        let ((x, y), value) = (draws.columns(row), row.r.unwrap_or_default());
        let turns = 0..work.options.bootstrap;
        let mut found: Vec<f64> = turns.filter_map(|turn| draws.value(row.method, &x, &y, turn)).collect();
        // A coefficient that most turns do not have says nothing of its spread.
        if 2 * found.len() <= work.options.bootstrap as usize {
            return Some(None);
        }
        let (lo, hi) = draws.interval(&mut found);
        let grows = matches!(row.method, Method::EtaSquared | Method::CramersV | Method::TheilsU | Method::MutualInformation);
        if !grows {
            return Some(Some((lo, hi)));
        }
        #[allow(clippy::cast_precision_loss, reason = "turns are counted in u32")]
        let bias = found.iter().sum::<f64>() / found.len() as f64 - value;
        let most = if row.method == Method::MutualInformation { f64::INFINITY } else { 1.0 };
        Some(Some(((lo - bias).clamp(0.0, most), (hi - bias).clamp(0.0, most))))
    };
    let intervals: Vec<Option<Option<(f64, f64)>>> = wanted.par_iter().with_max_len(1).map(interval).collect();
    for (&at, interval) in wanted.iter().zip(intervals) {
        let Some(interval) = interval else { return false };
        rows[at].interval = interval.or(rows[at].interval);
    }
    true
}

/// How rows are drawn.
struct Draws<'a> {
    work: &'a Work<'a>,
    /// Rows that are drawn together.
    block: usize,
}

struct Drawn<'a> {
    draws: &'a Draws<'a>,
    unit: &'a [Vec<f64>],
}

/// Returns how many neighbours are drawn together: one row where the order of rows means nothing.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the rows")]
fn block<'r>(work: &Work<'_>, rows: impl Iterator<Item = &'r PairRow>) -> usize {
    if !work.slice.exchange.shifts() {
        return 1;
    }
    let n = work.slice.table.n_rows as f64;
    let longest = rows.filter_map(|row| row.effective_n).map(|effective_n| n / effective_n).fold(libm::cbrt(n), f64::max);
    (libm::ceil(longest) as usize).clamp(1, (work.slice.table.n_rows / 10).max(1))
}

/// What a turn says of each column: the sum of the weights, the weighted sums and sums of squares.
struct TurnMoments {
    weight: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Draws<'_> {
    /// Returns the weights of one turn: one for each unit of rows.
    fn weights(&self, turn: u32) -> Vec<f64> {
        let mut stream = Stream::new(self.work.options.seed, Purpose::Bootstrap, 0, turn);
        let thresholds = thresholds();
        let mut weights = vec![0.0; self.work.slice.table.n_rows];
        self.work.slice.exchange.each_unit(self.block, |rows| {
            let word = stream.word();
            #[allow(clippy::cast_precision_loss, reason = "a weight is a small number")]
            weights[rows].fill(thresholds.iter().position(|threshold| word < *threshold).unwrap_or(MOST) as f64);
        });
        weights
    }

    /// Returns the cells of a pair's columns in the order that rows are drawn in; of numbers, what controls leave of them.
    fn columns(&self, row: &PairRow) -> (Arranged, Arranged) {
        let arranged = |at: usize| permute::arranged(self.work, at);
        (arranged(row.x), arranged(row.y))
    }

    /// Returns the coefficient of the rows of one turn, as often as they were drawn.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "weights are 0 to MOST")]
    fn value(&self, method: Method, x: &Arranged, y: &Arranged, turn: u32) -> Option<f64> {
        let weights = self.weights(turn);
        let drawn: Vec<usize> = weights.iter().enumerate().flat_map(|(row, weight)| std::iter::repeat_n(row, *weight as usize)).collect();
        let (x, y) = (x.of_rows(&drawn), y.of_rows(&drawn));
        statistic(method, x.view(), y.view()).value
    }

    fn interval(&self, drawn: &mut [f64]) -> (f64, f64) {
        drawn.sort_unstable_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "turns are counted in u32")]
        let rank = (((drawn.len() + 1) as f64 * self.work.options.correlate.alpha / 2.0) as usize).clamp(1, drawn.len().max(1));
        (drawn[rank - 1], drawn[drawn.len() - rank])
    }
}

impl Drawn<'_> {
    fn moments(&self) -> Vec<TurnMoments> {
        let turn = |turn: u32| {
            let weights = self.draws.weights(turn);
            let of_column = |unit: &Vec<f64>| {
                let weighted: Vec<f64> = unit.iter().zip(&weights).map(|(x, w)| x * w).collect();
                (weighted.iter().sum::<f64>(), dot(&weighted, unit))
            };
            let (sums, squares) = self.unit.iter().map(of_column).unzip();
            TurnMoments { weight: weights.iter().sum(), sums, squares }
        };
        (0..self.draws.work.options.bootstrap).into_par_iter().map(turn).collect()
    }

    /// Returns the intervals of the pairs of one tile.
    fn tile(&self, (a, b): (usize, usize), pairs: &[Pair], moments: &[TurnMoments]) -> Vec<Interval> {
        let n = self.draws.work.slice.table.n_rows;
        let range = |tile: usize| tile * TILE..((tile + 1) * TILE).min(self.unit.len());
        let (left, right) = (range(a), range(b));
        let layout = Layout::new(left.len(), right.len(), a == b);
        let mut drawn: Vec<Vec<f64>> = vec![Vec::with_capacity(moments.len()); pairs.len()];
        let roots: [f64; MOST + 1] = std::array::from_fn(|weight| libm::sqrt(weight as f64));
        let mut cells = vec![0.0; (left.len() + right.len()) * n];
        for (turn, of_turn) in moments.iter().enumerate() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "weights are 0 to MOST, turns are counted in u32")]
            let root: Vec<f64> = self.draws.weights(turn as u32).into_iter().map(|weight| roots[weight as usize]).collect();
            let columns = left.clone().chain(if a == b { 0..0 } else { right.clone() });
            for (column, out) in columns.zip(cells.chunks_mut(n)) {
                for ((out, x), root) in out.iter_mut().zip(&self.unit[column]).zip(&root) {
                    *out = x * root;
                }
            }
            let first = Matrix { values: &cells[..left.len() * n], n_rows: n, stride: n, n_columns: left.len() };
            let second = if a == b { first } else { Matrix { values: &cells[left.len() * n..], n_columns: right.len(), ..first } };
            let products = cpu::gram(first, second, &layout);
            for (drawn, &(_, x, y)) in drawn.iter_mut().zip(pairs) {
                let product = products[layout.at(x - left.start, y - right.start)];
                drawn.push(of_turn.r(product, x, y));
            }
        }
        pairs.iter().zip(&mut drawn).map(|(&(at, _, _), drawn)| (at, self.draws.interval(drawn))).collect()
    }
}

impl TurnMoments {
    /// Returns r of a turn from its weighted product; 0 where a column is constant over the rows drawn.
    fn r(&self, product: f64, x: usize, y: usize) -> f64 {
        let (mx, my) = (self.sums[x] / self.weight, self.sums[y] / self.weight);
        let (xx, yy) = (self.squares[x] - self.sums[x] * mx, self.squares[y] - self.sums[y] * my);
        let r = (product - self.sums[x] * my) / libm::sqrt(xx.max(0.0)) / libm::sqrt(yy.max(0.0));
        if r.is_finite() { r.clamp(-1.0, 1.0) } else { 0.0 }
    }
}

/// Returns where the words of each weight end: 2^32 times the distribution of Poisson(1).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^32")]
fn thresholds() -> [u32; MOST] {
    let (mut term, mut sum) = (libm::exp(-1.0), 0.0);
    std::array::from_fn(|weight| {
        sum += term;
        term /= weight as f64 + 1.0;
        (sum * 4_294_967_296.0).min(4_294_967_295.0) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_poisson() {
        let thresholds = thresholds();
        let share = |weight: usize| {
            let below = if weight == 0 { 0 } else { thresholds[weight - 1] };
            f64::from(thresholds[weight] - below) / 4_294_967_296.0
        };
        let e = libm::exp(-1.0);
        for (weight, due) in [(0, e), (1, e), (2, e / 2.0), (3, e / 6.0), (4, e / 24.0)] {
            assert!((share(weight) - due).abs() < 1e-9, "{weight}");
        }
    }
}
