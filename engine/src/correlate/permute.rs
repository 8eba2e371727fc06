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

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::associate::{View, Work, statistic};
use super::categories::Codes;
use super::expand::Expanded;
use super::finish::PairRow;
use super::gram::{Gram, GramInput};
use super::layout::Layout;
use super::method::Method;
use super::plan::Parts;
use super::stat::Stat;
use super::{cpu, ranks};
use crate::columns::{Cells, Code};
use crate::simd::{Matrix, Multiply, dot, reach, write_deviations};
use crate::stats::{Purpose, Stream, ln_normal_sf};

/// How far an r of f32 products can be off: twice the proven bound.
const BAND: f64 = 4e-5;

/// Scores closer than this, relatively, are equal: sums over another order of rows round differently.
const TIE: f64 = 1e-9;

/// Columns of one product of permuted targets: enough of them that packing the features does not count.
const TARGETS_AT_ONCE: usize = 192;

/// Most columns of a table whose pairs are all taken from one product in f64.
const FEW_COLUMNS: usize = 64;

/// Which rows may change places: units of rows within a stratum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exchange {
    /// Rows, those of a unit side by side and units of a stratum side by side, in order of time where there is one.
    order: Vec<u32>,
    strata: Vec<Stratum>,
    /// Whether units of a stratum are shifted in a circle, which keeps their neighbours, or put into any order.
    shifts: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Stratum {
    /// Where it ends in the order.
    end: usize,
    /// Rows of each of its units.
    unit: usize,
}

impl Exchange {
    /// Rows change places within a stratum (rows with the same `stratum`), and are shifted in a circle in order of `time`
    /// where there is one. Rows without a time come last.
    pub(super) fn new(n_rows: usize, stratum: Option<&[u32]>, time: Option<&[f64]>) -> Self {
        let mut order = in_time(n_rows, time);
        let of = |row: u32| stratum.map_or(0, |stratum| stratum[row as usize]);
        order.sort_by_key(|&row| of(row));
        let ends = ends(&order, |a, b| of(a) == of(b));
        let strata = ends.into_iter().map(|end| Stratum { end, unit: 1 }).collect();
        Self { order, strata, shifts: time.is_some() }
    }

    /// Whole entities (rows with the same `entity`) change places with others of the same size and stratum; within an entity
    /// rows stay in order of time. An entity of a size of its own keeps its place.
    pub(super) fn of_entities(entity: &[u32], stratum: Option<&[u32]>, time: Option<&[f64]>) -> Self {
        let mut order = in_time(entity.len(), time);
        let of = |row: u32| (stratum.map_or(0, |stratum| stratum[row as usize]), entity[row as usize]);
        let mut sizes: HashMap<(u32, u32), usize> = HashMap::new();
        for &row in &order {
            *sizes.entry(of(row)).or_default() += 1;
        }
        let key = |row: u32| (of(row).0, sizes[&of(row)], of(row).1);
        order.sort_by_key(|&row| key(row));
        let ends = ends(&order, |a, b| (key(a).0, key(a).1) == (key(b).0, key(b).1));
        let strata = ends.into_iter().map(|end| Stratum { end, unit: key(order[end - 1]).1 }).collect();
        Self { order, strata, shifts: false }
    }

    /// Returns whether rows are shifted in a circle, in order of time.
    pub(super) const fn shifts(&self) -> bool {
        self.shifts
    }

    /// Returns how many units there are, and how many have no other unit to change places with.
    pub(super) fn n_units(&self) -> (usize, usize) {
        let (mut start, mut n, mut alone) = (0, 0, 0);
        for stratum in &self.strata {
            let units = (stratum.end - start) / stratum.unit.max(1);
            start = stratum.end;
            n += units;
            alone += usize::from(units == 1);
        }
        (n, alone)
    }

    /// Calls `body` with the rows of each unit, by position in the order; single rows come `block` at a time.
    pub(super) fn each_unit(&self, block: usize, mut body: impl FnMut(Range<usize>)) {
        let mut start = 0;
        for stratum in &self.strata {
            let unit = if stratum.unit > 1 { stratum.unit } else { block.max(1) };
            (start..stratum.end).step_by(unit).for_each(|first| body(first..(first + unit).min(stratum.end)));
            start = stratum.end;
        }
    }

    /// Returns cells in the order of the strata.
    pub(super) fn arranged<T: Copy>(&self, cells: &[T]) -> Vec<T> {
        self.order.iter().map(|&row| cells[row as usize]).collect()
    }

    /// Gives arranged cells a new order.
    #[allow(clippy::cast_possible_truncation, reason = "a table has fewer than 2^32 rows")]
    pub(super) fn shuffle<T: Copy>(&self, cells: &mut [T], stream: &mut Stream) {
        let mut start = 0;
        for &Stratum { end, unit } in &self.strata {
            let cells = &mut cells[start..end];
            start = end;
            if self.shifts {
                cells.rotate_left(stream.below(cells.len().max(1) as u32) as usize);
            } else if unit == 1 {
                shuffle_rows(cells, stream);
            } else {
                for last in (1..cells.len() / unit).rev() {
                    let other = stream.below(last as u32 + 1) as usize;
                    if other < last {
                        let (head, tail) = cells.split_at_mut(last * unit);
                        head[other * unit..][..unit].swap_with_slice(&mut tail[..unit]);
                    }
                }
            }
        }
    }
}

/// Puts cells into any order, each with the same probability (Fisher and Yates), words of the stream 64 at a time.
#[allow(clippy::cast_possible_truncation, reason = "a table has fewer than 2^32 rows")]
fn shuffle_rows<T: Copy>(cells: &mut [T], stream: &mut Stream) {
    let mut last = cells.len().saturating_sub(1);
    while last > 0 {
        for word in stream.words() {
            // `last` is below the length, and the other place is not beyond it.
            let other = ((u64::from(*word) * (last as u64 + 1)) >> 32) as usize;
            cells.swap(last, other);
            last -= 1;
            if last == 0 {
                break;
            }
        }
    }
}

/// Returns the rows in order of time, or as they are.
fn in_time(n_rows: usize, time: Option<&[f64]>) -> Vec<u32> {
    time.map_or_else(|| (0..u32::try_from(n_rows).expect("a table has fewer than 2^32 rows")).collect(), ranks::order)
}

/// Returns where runs of rows end that belong together.
fn ends(order: &[u32], together: impl Fn(u32, u32) -> bool) -> Vec<usize> {
    (1..=order.len()).filter(|&at| at == order.len() || !together(order[at - 1], order[at])).collect()
}

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
enum Arranged {
    Numbers(Vec<f64>),
    Codes(Vec<Code>, usize),
}

impl Arranged {
    fn view(&self) -> View<'_> {
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
        let parts = Parts::of(table);
        let n_columns = table.columns.len();
        let by_parts = |row: &PairRow| parts.is_product(row.method, row.x, row.y);
        // Few columns: a new order of rows costs more than the product, and one product does for pairs of every sort.
        let is_few = work.options.correlate.n_targets == 0 && n_columns <= FEW_COLUMNS;
        let is_product = |row: &PairRow| !is_few && by_parts(row);
        let candidates: Vec<(usize, &PairRow)> =
            tested.iter().enumerate().map(|(at, &row)| (at, &rows[row])).filter(|(_, row)| !is_product(row)).collect();
        let (expanded, singles) = Expanded::new(work, &parts, &candidates);
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
        let arrange = |at: usize| {
            in_single[at].then(|| match &table.columns[at].cells {
                // Ranks are taken anew over the rows of each turn; what controls explain is taken away once (Freedman and Lane).
                Cells::Numbers(_) => Arranged::Numbers(exchange.arranged(&work.residual_of(at, false))),
                Cells::Levels(levels) => Arranged::Codes(exchange.arranged(&levels.codes), levels.names.len()),
            })
        };
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

    /// Returns, for each pair of a product, its score in each of some turns.
    fn product_scores(&self, turns: Range<u32>) -> Vec<Vec<f64>> {
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
        let others: Vec<f64> = self.unit[n_targets..].concat();
        let n_others = self.unit.len() - n_targets;
        let layout = Layout::new(n_targets * n_turns, n_others, false);
        let left = Matrix { values: &targets, n_rows: n, stride: n, n_columns: n_targets * n_turns };
        let right = Matrix { values: &others, n_rows: n, stride: n, n_columns: n_others };
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
            let screen = Screen::new(family);
            let turn = |turn: u32| {
                if stopped.load(Ordering::Relaxed) || self.is_stopped() {
                    stopped.store(true, Ordering::Relaxed);
                    return None;
                }
                let best = family.others_of(turn).into_iter().map(|(_, score)| score).fold(0.0, f64::max);
                Some(best.max(screen.best(turn)))
            };
            // A wide product keeps all threads busy by itself, and one of them fills memory enough.
            let wide = family.unit.len() > 1024;
            let of_slice: Vec<Option<f64>> =
                if wide { (0..self.turns()).map(turn).collect() } else { (0..self.turns()).into_par_iter().map(turn).collect() };
            for (best, of_slice) in best.iter_mut().zip(of_slice.into_iter().collect::<Option<Vec<f64>>>()?) {
                *best = best.max(of_slice);
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
        let at_once = u32::try_from((TARGETS_AT_ONCE / n_targets.max(1)).max(1)).unwrap_or(1);
        let stopped = AtomicBool::new(false);
        let chunk = |first: u32| {
            let turns = first..(first + at_once).min(self.turns());
            let mut reached = vec![0_u32; order.len()];
            let products: Vec<Vec<Vec<f64>>> = self.each.iter().map(|family| family.product_scores(turns.clone())).collect();
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

/// The screening of all pairs of complete columns: products in f32, one product a turn.
struct Screen<'a> {
    family: &'a Family<'a>,
    layout: Layout,
    narrow: Vec<f32>,
    /// Where each tested pair lies in the product.
    places: Vec<u32>,
}

impl<'a> Screen<'a> {
    fn new(family: &'a Family<'a>) -> Self {
        let p = family.unit.len();
        let layout = Layout::new(p, p, true);
        #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
        let narrow = family.unit.iter().flatten().map(|x| *x as f32).collect();
        let place = |&(_, x, y): &(usize, u32, u32)| {
            u32::try_from(layout.at(x.min(y) as usize, x.max(y) as usize)).expect("a product of columns in memory has fewer cells")
        };
        Self { family, layout, narrow, places: family.products.iter().map(place).collect() }
    }

    /// Returns the best score of one turn, settled in f64.
    fn best(&self, turn: u32) -> f64 {
        let (family, n, p) = (self.family, self.family.work.slice.table.n_rows, self.family.unit.len());
        if self.places.is_empty() {
            return 0.0;
        }
        // Memory that is kept from turn to turn: taking it anew costs as much as the shuffle.
        let mut cells = f32::idle().take();
        cells.clear();
        cells.extend_from_slice(&self.narrow);
        for (column, cells) in family.unit_columns.iter().zip(cells.chunks_mut(n)) {
            family.work.slice.exchange.shuffle(cells, &mut family.stream(*column, turn));
        }
        let matrix = Matrix { values: &cells, n_rows: n, stride: n, n_columns: p };
        let products = family.work.on.run(&Gram, GramInput::symmetric(matrix)).output;
        f32::idle().give(cells);
        debug_assert_eq!(products.len(), self.layout.cells());
        let largest = self.places.iter().map(|&at| products[at as usize].abs()).fold(0.0, f32::max);
        #[allow(clippy::cast_possible_truncation, reason = "a bound that is rounded to f32 with room to spare")]
        let close = largest - (2.0 * BAND) as f32;
        let rivals = self.places.iter().zip(&family.products).filter(|(at, _)| products[**at as usize].abs() >= close);
        let mut permuted: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        let mut r = 0.0_f64;
        for (_, (_, x, y)) in rivals {
            for at in [x, y] {
                permuted.entry(*at).or_insert_with(|| self.permuted(turn, *at as usize));
            }
            r = r.max(dot(&permuted[x], &permuted[y]).abs());
        }
        score_of_r(r.min(1.0), n as u64)
    }

    /// Returns a column in its order of one turn, in f64.
    fn permuted(&self, turn: u32, at: usize) -> Vec<f64> {
        let mut cells = self.family.unit[at].clone();
        self.family.work.slice.exchange.shuffle(&mut cells, &mut self.family.stream(self.family.unit_columns[at], turn));
        cells
    }
}
