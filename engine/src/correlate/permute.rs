//! The permutation null of Westfall and Young: how extreme the best pair of the whole family is when nothing is related.
//!
//! ```text
//! all pairs    every column in an order of its own; the family's best score of each turn; single step
//! targets      the targets' rows in one new order, together; step-down (Westfall and Young 1993, algorithm 4.1)
//! p = (turns whose best score reaches the pair's + 1) / (turns + 1)
//! ```
//!
//! Score    -ln p of the pair alone, so that pairs of different n and coefficient compete fairly (min-P). For r it goes
//!          through Wallace's normal approximation of Student's t (1959): within 0.1 % of z, the same for data and turns, and
//!          any score that is the same for both is valid.
//! Slices   groups and lags make one family: a turn's best is that of all slices. Rows that slices share are given orders of their own in
//!          each, but for lags, which share theirs; taking dependent slices for independent makes p larger, not smaller.
//! Holds    under exchangeability of rows (within the strata of [`Exchange`]), for any dependence among columns. All pairs: under the
//!          complete null, that no pair is related. Targets: strongly, because features keep their rows.
//! Ties     discrete columns reach the same score again and again: equal scores count as reached, within 1e-9.
//! Numbers  all pairs of complete columns: products in f32 on GPU or CPU screen each turn, and the pairs that could be its best
//!          are computed again in f64, so that p does not depend on the place. Targets: f64.
//! Random   Philox, keyed by (seed, column, turn): no turn depends on threads or on another turn.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::associate::{View, Work, statistic};
use super::categories::Codes;
use super::cpu;
use super::exchange::Exchange;
use super::expand::Expanded;
use super::finish::PairRow;
use super::layout::Layout;
use super::method::Method;
use super::permuted::{Permuted, PermutedMaximum, Turns};
use super::stat::Stat;
use crate::columns::{Cells, Code};
use crate::simd::{Matrix, reach, write_deviations};
use crate::stats::{Purpose, Stream, ln_normal_sf};

/// Scores closer than this, relatively, are equal: sums over another order of rows round differently.
const TIE: f64 = 1e-9;

/// Columns of one product of permuted targets: enough of them that packing the features does not count.
const TARGETS_AT_ONCE: usize = 192;
/// Bytes of them from which there are fewer; every thread holds as many.
const TARGETS_BYTES: usize = 4 << 20;

/// Turns of one call of the kernel.
const TURNS_AT_ONCE: u32 = 1024;

/// Most columns of a table whose pairs are all taken from one product in f64.
const FEW_COLUMNS: usize = 64;

/// The adjusted p of every row; none for rows outside of the family.
#[derive(Debug, Clone, Default)]
pub(super) struct Null {
    pub(super) p: Vec<Option<f64>>,
}

/// Runs the permutations of all slices; none where the work was stopped.
pub(super) fn null(works: &[Work<'_>], rows: &[PairRow]) -> Option<Null> {
    let families = Families { each: works.iter().map(|work| Family::new(work, rows)).collect() };
    let is_step_down = works.first().is_some_and(|work| work.options.correlate.n_targets > 0);
    let p = if is_step_down { families.step_down()? } else { families.single_step()? };
    let mut null = Null { p: vec![None; rows.len()] };
    for (row, p) in families.each.iter().flat_map(|family| &family.tested).zip(p) {
        null.p[*row] = Some(p);
    }
    Some(null)
}

/// Returns the score of r over n rows: -ln of the two-sided p, by Wallace's normal approximation of Student's t.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
pub(super) fn score_of_r(r: f64, n: u64) -> f64 {
    if n < 3 {
        return 0.0;
    }
    let df = (n - 2) as f64;
    let z = (8.0 * df + 1.0) / (8.0 * df + 3.0) * libm::sqrt(-df * libm::log1p(-(r * r).min(1.0)));
    (-std::f64::consts::LN_2 - ln_normal_sf(z)).max(0.0)
}

/// Returns the score of a statistic, 0 where it is not defined; of two levels eta squared is the square of an r.
fn score(method: Method, two_levels: bool, stat: &Stat) -> f64 {
    match (method, stat.value) {
        (Method::Pearson | Method::Spearman, Some(r)) => score_of_r(r, stat.n),
        (Method::EtaSquared, Some(share)) if two_levels => score_of_r(libm::sqrt(share), stat.n),
        (_, Some(_)) => stat.ln_p.map_or(0.0, |p| -p),
        (_, None) => 0.0,
    }
}

fn reaches(score: f64, observed: f64) -> bool {
    score >= observed - TIE * observed.max(1.0)
}

/// The cells of a column, arranged.
pub(super) enum Arranged {
    Numbers(Vec<f64>),
    Codes(Vec<Code>, usize),
}

/// Returns the cells of a column in the order of the strata; of numbers, what controls leave of them (Freedman and Lane).
pub(super) fn arranged(work: &Work<'_>, at: usize) -> Arranged {
    let exchange = &work.slice.exchange;
    match &work.slice.table.columns[at].cells {
        Cells::Numbers(_) => Arranged::Numbers(exchange.arranged(&work.residual_of(at, false))),
        Cells::Levels(levels) => Arranged::Codes(exchange.arranged(&levels.codes), levels.names.len()),
    }
}

impl Arranged {
    /// Returns the cells of some rows.
    pub(super) fn of_rows(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(cells) => Self::Numbers(rows.iter().map(|&row| cells[row]).collect()),
            Self::Codes(codes, n_levels) => Self::Codes(rows.iter().map(|&row| codes[row]).collect(), *n_levels),
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        match self {
            Self::Numbers(cells) => View::Numbers(cells),
            Self::Codes(codes, n_levels) => View::Levels(Codes { codes, n_levels: *n_levels }),
        }
    }
}

/// The tested pairs of one slice, and the columns behind them.
struct Family<'a> {
    work: &'a Work<'a>,
    rows: &'a [PairRow],
    /// Rows in the family.
    tested: Vec<usize>,
    observed: Vec<f64>,
    /// Positions among `tested` of pairs that a product gives, and their columns among `unit`.
    products: Vec<(usize, u32, u32)>,
    /// Pairs with categories that one product gives.
    expanded: Expanded,
    /// Positions among `tested` of the others.
    singles: Vec<usize>,
    /// Complete columns of numbers, ranks or two levels, centred, with a sum of squares of 1; targets first.
    unit: Vec<Vec<f64>>,
    /// The table's column behind each.
    unit_columns: Vec<usize>,
    n_unit_targets: usize,
    /// Columns of single pairs by position in the table.
    arranged: Vec<Option<Arranged>>,
}

impl<'a> Family<'a> {
    fn new(work: &'a Work<'a>, rows: &'a [PairRow]) -> Self {
        let table = &work.slice.table;
        let tested: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].slice == work.at && rows[row].ln_p.is_some()).collect();
        let parts = &work.parts;
        let n_columns = table.columns.len();
        let by_parts = |row: &PairRow| parts.is_product(row.method, row.x, row.y);
        // Few columns: a new order of rows costs more than the product, and one product does for pairs of every sort.
        let is_few = work.options.correlate.n_targets == 0 && n_columns <= FEW_COLUMNS;
        let is_product = |row: &PairRow| !is_few && by_parts(row);
        let candidates: Vec<(usize, &PairRow)> =
            tested.iter().enumerate().map(|(at, &row)| (at, &rows[row])).filter(|(_, row)| !is_product(row)).collect();
        let (expanded, singles) = Expanded::new(work, parts, &candidates);
        let columns_of = |rows: &mut dyn Iterator<Item = &PairRow>| {
            let mut marks = vec![false; n_columns];
            rows.for_each(|row| (marks[row.x], marks[row.y]) = (true, true));
            marks
        };
        let in_product = columns_of(&mut tested.iter().map(|&row| &rows[row]).filter(|row| is_product(row)));
        let in_single = columns_of(&mut singles.iter().map(|&at| &rows[tested[at]]));
        let unit_columns: Vec<usize> = (0..n_columns).filter(|&at| in_product[at]).collect();
        let mut place = vec![0_u32; n_columns];
        for (at, &column) in unit_columns.iter().enumerate() {
            place[column] = u32::try_from(at).expect("columns are counted in u32");
        }
        let spearman = tested.iter().any(|&row| rows[row].method == Method::Spearman);
        let exchange = &work.slice.exchange;
        let unit: Vec<Vec<f64>> = unit_columns.par_iter().map(|&at| unit_column(work, at, spearman, exchange)).collect();
        // Ranks are taken anew over the rows of each turn; what controls explain is taken away once.
        let arrange = |at: usize| in_single[at].then(|| arranged(work, at));
        let observed = |&row: &usize| {
            let row = &rows[row];
            score(row.method, by_parts(row), &Stat { n: row.n, value: row.r, ln_p: row.ln_p, n_minor: None })
        };
        let products = tested.iter().enumerate().map(|(at, &row)| (at, &rows[row])).filter(|(_, row)| is_product(row));
        let products = products.map(|(at, row)| (at, place[row.x], place[row.y])).collect();
        let n_targets = work.options.correlate.n_targets;
        Self {
            work,
            rows,
            observed: tested.iter().map(observed).collect(),
            tested,
            products,
            expanded,
            singles,
            n_unit_targets: unit_columns.iter().filter(|&&at| at < n_targets).count(),
            unit,
            unit_columns,
            arranged: (0..n_columns).map(arrange).collect(),
        }
    }

    /// Returns the stream of a column's order in one turn; targets share theirs.
    fn stream(&self, column: usize, turn: u32) -> Stream {
        let column = if self.work.options.correlate.n_targets > 0 { 0 } else { column };
        Stream::new(self.work.options.seed, Purpose::Permutation, self.work.slice.stream(column), turn)
    }

    /// Returns the scores, in one turn, of the pairs that are no product of two columns, by position among the tested ones.
    fn others_of(&self, turn: u32) -> Vec<(usize, f64)> {
        let mut scores = self.expanded.scores(&self.work.slice.exchange, |column| self.stream(column, turn));
        if !self.singles.is_empty() {
            scores.extend(self.singles_of(turn));
        }
        scores
    }

    fn singles_of(&self, turn: u32) -> Vec<(usize, f64)> {
        let n_targets = self.work.options.correlate.n_targets;
        let moves = |column: usize| n_targets == 0 || column < n_targets;
        let permuted: Vec<Option<Arranged>> = (self.arranged.iter().enumerate())
            .map(|(at, cells)| {
                let cells = cells.as_ref().filter(|_| moves(at))?;
                let mut stream = self.stream(at, turn);
                Some(match cells {
                    Arranged::Numbers(cells) => {
                        let mut cells = cells.clone();
                        self.work.slice.exchange.shuffle(&mut cells, &mut stream);
                        Arranged::Numbers(cells)
                    }
                    Arranged::Codes(codes, n_levels) => {
                        let mut codes = codes.clone();
                        self.work.slice.exchange.shuffle(&mut codes, &mut stream);
                        Arranged::Codes(codes, *n_levels)
                    }
                })
            })
            .collect();
        let view = |column: usize| {
            let cells = permuted[column].as_ref().or(self.arranged[column].as_ref());
            cells.expect("every column of a single pair is arranged").view()
        };
        let score_of = |&at: &usize| {
            let row = &self.rows[self.tested[at]];
            (at, score(row.method, false, &statistic(row.method, view(row.x), view(row.y))))
        };
        self.singles.iter().map(score_of).collect()
    }

    /// Writes the score of every pair in one turn, the one at a position among those of `products`.
    fn scores(&self, turn: u32, at: usize, products: &[Vec<f64>], out: &mut [f64]) {
        for (pair, of_turns) in self.products.iter().zip(products) {
            out[pair.0] = of_turns[at];
        }
        for (pair, score) in self.others_of(turn) {
            out[pair] = score;
        }
    }

    /// Returns the best score, in each turn, of all pairs that a product gives; none where the work was stopped.
    fn best_products(&self, stopped: &(dyn Fn() -> bool + Sync)) -> Option<Vec<f64>> {
        let (work, n) = (self.work, self.work.slice.table.n_rows as u64);
        let n_turns = work.options.permutations;
        if self.products.is_empty() {
            return Some(vec![0.0; n_turns as usize]);
        }
        let streams = self.unit_columns.iter().map(|&column| work.slice.stream(column)).collect();
        let pairs = self.products.iter().map(|&(_, x, y)| (x, y));
        let permuted = Permuted::new(&work.slice.exchange, &self.unit, pairs, work.options.seed, streams);
        let mut best = Vec::with_capacity(n_turns as usize);
        // What a device has done stays done when it is lost.
        for first in (0..n_turns).step_by(TURNS_AT_ONCE as usize) {
            let turns = Turns { of: &permuted, first, end: (first + TURNS_AT_ONCE).min(n_turns), stopped };
            best.extend(work.on.run(&PermutedMaximum, turns).output?.into_iter().map(|r| score_of_r(r.min(1.0), n)));
        }
        Some(best)
    }

    /// Returns the columns that keep their rows while targets are permuted, one after another.
    fn kept(&self) -> Vec<f64> {
        if self.products.is_empty() { Vec::new() } else { self.unit[self.n_unit_targets..].concat() }
    }

    /// Returns, for each pair of a product, its score in each of some turns.
    fn product_scores(&self, turns: Range<u32>, kept: &[f64]) -> Vec<Vec<f64>> {
        let (n, n_targets, n_turns) = (self.work.slice.table.n_rows, self.n_unit_targets, turns.len());
        if self.products.is_empty() {
            return Vec::new();
        }
        let mut targets: Vec<f64> = Vec::with_capacity(n * n_targets * n_turns);
        for turn in turns {
            for column in &self.unit[..n_targets] {
                let start = targets.len();
                targets.extend_from_slice(column);
                self.work.slice.exchange.shuffle(&mut targets[start..], &mut self.stream(0, turn));
            }
        }
        let n_others = self.unit.len() - n_targets;
        let layout = Layout::new(n_targets * n_turns, n_others, false);
        let left = Matrix { values: &targets, n_rows: n, stride: n, n_columns: n_targets * n_turns };
        let right = Matrix { values: kept, n_rows: n, stride: n, n_columns: n_others };
        let products = cpu::gram(left, right, &layout);
        let of_pair = |&(_, x, y): &(usize, u32, u32)| {
            let (target, other) = (x.min(y) as usize, x.max(y) as usize - n_targets);
            (0..n_turns).map(|turn| score_of_r(products[layout.at(turn * n_targets + target, other)], n as u64)).collect()
        };
        self.products.par_iter().with_min_len(64).map(of_pair).collect()
    }
}

/// The families of all slices, which are one: their pairs stand one slice after another.
struct Families<'a> {
    each: Vec<Family<'a>>,
}

impl Families<'_> {
    fn turns(&self) -> u32 {
        self.each[0].work.options.permutations
    }

    fn is_stopped(&self) -> bool {
        (self.each[0].work.stop)()
    }

    fn observed(&self) -> Vec<f64> {
        self.each.iter().flat_map(|family| family.observed.iter().copied()).collect()
    }

    /// Single step: how many turns' best score reaches each pair's.
    fn single_step(&self) -> Option<Vec<f64>> {
        let stopped = AtomicBool::new(false);
        let mut best = vec![0.0_f64; self.turns() as usize];
        for family in &self.each {
            let others = |turn: u32| {
                if stopped.load(Ordering::Relaxed) || self.is_stopped() {
                    stopped.store(true, Ordering::Relaxed);
                    return None;
                }
                Some(family.others_of(turn).into_iter().map(|(_, score)| score).fold(0.0, f64::max))
            };
            let others = (0..self.turns()).into_par_iter().map(others).collect::<Option<Vec<f64>>>()?;
            for ((best, other), of_products) in best.iter_mut().zip(others).zip(family.best_products(&|| self.is_stopped())?) {
                *best = best.max(other).max(of_products);
            }
        }
        best.sort_unstable_by(f64::total_cmp);
        let reached = |observed: &f64| best.len() - best.partition_point(|score| !reaches(*score, *observed));
        Some(self.observed().iter().map(|observed| self.p(reached(observed))).collect())
    }

    #[allow(clippy::cast_precision_loss, reason = "turns are counted in u32")]
    fn p(&self, reached: usize) -> f64 {
        (reached + 1) as f64 / (f64::from(self.turns()) + 1.0)
    }

    /// Step-down: from the weakest pair to the strongest, each competes with itself and all that are weaker.
    fn step_down(&self) -> Option<Vec<f64>> {
        let observed = self.observed();
        let mut order: Vec<usize> = (0..observed.len()).collect();
        order.sort_by(|&a, &b| observed[b].total_cmp(&observed[a]).then(a.cmp(&b)));
        let n_targets = self.each.iter().map(|family| family.n_unit_targets).max().unwrap_or(0);
        let n_rows = self.each[0].work.slice.table.n_rows;
        let most = TARGETS_AT_ONCE.min(TARGETS_BYTES / (8 * n_rows.max(1)));
        let at_once = u32::try_from((most / n_targets.max(1)).max(1)).unwrap_or(1);
        let kept: Vec<Vec<f64>> = self.each.iter().map(Family::kept).collect();
        let stopped = AtomicBool::new(false);
        let chunk = |first: u32| {
            let turns = first..(first + at_once).min(self.turns());
            let mut reached = vec![0_u32; order.len()];
            let products: Vec<Vec<Vec<f64>>> =
                self.each.iter().zip(&kept).map(|(family, kept)| family.product_scores(turns.clone(), kept)).collect();
            for (at, turn) in turns.enumerate() {
                if stopped.load(Ordering::Relaxed) || self.is_stopped() {
                    stopped.store(true, Ordering::Relaxed);
                    return None;
                }
                let mut scores = vec![0.0; order.len()];
                let mut rest = &mut scores[..];
                for (family, products) in self.each.iter().zip(&products) {
                    let (of_slice, others) = rest.split_at_mut(family.tested.len());
                    family.scores(turn, at, products, of_slice);
                    rest = others;
                }
                let mut best = 0.0_f64;
                for (reached, &pair) in reached.iter_mut().zip(&order).rev() {
                    best = best.max(scores[pair]);
                    *reached += u32::from(reaches(best, observed[pair]));
                }
            }
            Some(reached)
        };
        // Whole numbers: their sum does not depend on the order in which chunks end.
        let add = |a: Option<Vec<u32>>, b: Option<Vec<u32>>| {
            let (mut a, b) = (a?, b?);
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            Some(a)
        };
        let none = || Some(vec![0_u32; order.len()]);
        let total = (0..self.turns()).into_par_iter().step_by(at_once as usize).map(chunk).reduce(none, add)?;
        let mut p = vec![0.0; order.len()];
        let mut least = 0.0_f64;
        for (&pair, reached) in order.iter().zip(total) {
            least = least.max(self.p(reached as usize));
            p[pair] = least;
        }
        Some(p)
    }
}

/// Returns a column in the order of the strata, centred, with a sum of squares of 1; zeros where it is constant.
pub(super) fn unit_column(work: &Work<'_>, at: usize, ranked: bool, exchange: &Exchange) -> Vec<f64> {
    let cells = match &work.slice.table.columns[at].cells {
        Cells::Numbers(_) => work.residual_of(at, ranked).into_owned(),
        Cells::Levels(levels) => levels.codes.iter().map(|code| f64::from(*code)).collect(),
    };
    let cells = exchange.arranged(&cells);
    let mut unit = vec![0.0; cells.len()];
    let Some(reach) = reach(&cells) else { return unit };
    let (sum, squares) = write_deviations(&cells, &mut unit, reach.origin());
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    let mean = sum / cells.len() as f64;
    let norm = libm::sqrt((squares - sum * mean).max(0.0));
    for x in &mut unit {
        *x = if norm > 0.0 { (*x - mean) / norm } else { 0.0 };
    }
    unit
}
