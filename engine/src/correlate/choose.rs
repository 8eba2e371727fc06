//! What screening says of each pair, and which pairs are settled in f64.
//!
//! Screening knows r to within a band: nothing in f64, `BAND` in f32. Two sorts of pairs are computed again:
//!
//! - pairs whose rows lie so that sums about the columns' means lose digits (`shaky`), first, on either width;
//! - after f32, every pair that anywhere within its band could be a finding, could belong to the `top` list, could set
//!   the q-value of such a pair, or could stand before or behind one in the order of p-values.
//!
//! Whether a pair then *counts* as settled is decided from its f64 values alone, by a rule a little narrower than the
//! choice: so the settled rows, their ranks and their q-values do not depend on the last digits of screening.

use std::collections::HashMap;

use rayon::prelude::*;

use super::CorrelateOptions;
use super::moments::{ColumnMoments, Moments};
use super::pair::{Frame, PairMoments};
use super::settle::SettledPair;
use crate::columns::Width;
use crate::stats::{ln_choose, ln_pearson_p};

/// How far an r that was screened in f32 can be off: twice the proven bound of the products.
const BAND: f64 = 4e-5;

/// Fewest rows that the smaller group of a two-valued column needs: below, the t distribution says nothing of r.
pub(super) const FEWEST_CARRIERS: u64 = 5;

/// What is known of one pair.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairStat {
    pub(super) i: u32,
    pub(super) j: u32,
    pub(super) n: u64,
    pub(super) r: Option<f64>,
    /// Logarithm of the p-value; none for a pair that cannot be tested.
    pub(super) ln_p: Option<f64>,
    /// Rows of the smaller group, where a column has two values.
    pub(super) n_minor: Option<u64>,
    pub(super) ln_p_min: Option<f64>,
    /// Whether r was computed in f64.
    exact: bool,
    shaky: bool,
}

/// Every screened pair, or in wide mode the best of them.
#[derive(Debug)]
pub(super) struct Screened {
    pub(super) n_rows: u64,
    pub(super) columns: Vec<Option<ColumnMoments>>,
    pub(super) pairs: Vec<PairStat>,
    /// Pairs compared.
    pub(super) n_pairs: u64,
    /// Pairs that could reach the level: the family.
    pub(super) family: u64,
    pub(super) wide: bool,
    /// In wide mode the largest logarithm of p that the last of the best pairs so far can have.
    cut: Option<f64>,
    width: Width,
    options: CorrelateOptions,
}

impl Screened {
    pub(super) fn new(n_columns: usize, options: &CorrelateOptions, width: Width, wide: bool) -> Self {
        let columns = vec![None; n_columns];
        Self { n_rows: 0, columns, pairs: Vec::new(), n_pairs: 0, family: 0, wide, cut: None, width, options: options.clone() }
    }

    /// Returns the columns of the pair at a position.
    pub(super) fn columns_of(&self, at: usize) -> (usize, usize) {
        (self.pairs[at].i as usize, self.pairs[at].j as usize)
    }

    /// Takes the moments of a screening pass over the columns at `positions`.
    pub(super) fn take(&mut self, moments: &Moments, positions: &[usize]) {
        self.n_rows = moments.n_rows;
        for (column, &at) in moments.columns.iter().zip(positions) {
            self.columns[at].get_or_insert_with(|| column.clone());
        }
        let compared: Vec<(usize, usize)> = moments.compared().collect();
        self.n_pairs += compared.len() as u64;
        if !self.wide {
            let stats: Vec<PairStat> = compared.par_iter().map(|&pair| self.stat(moments, positions, pair)).collect();
            self.family += stats.iter().filter(|stat| stat.ln_p.is_some()).count() as u64;
            self.pairs.extend(stats);
            return;
        }
        // Piece by piece: the best of one tell which of the next need no closer look.
        for pairs in compared.chunks(PAIRS_AT_ONCE) {
            let of_part = |pairs: &[(usize, usize)]| self.contenders(moments, positions, pairs);
            let parts: Vec<(u64, Vec<PairStat>)> = pairs.par_chunks(PAIRS_AT_ONCE / 64).map(of_part).collect();
            for (family, stats) in parts {
                self.family += family;
                self.pairs.extend(stats);
            }
            self.keep_best();
        }
    }

    /// Judges one compared pair.
    fn stat(&self, moments: &Moments, positions: &[usize], (i, j): (usize, usize)) -> PairStat {
        let pair = moments.pair(i, j);
        let columns = [&moments.columns[i], &moments.columns[j]];
        let at = |position: usize| u32::try_from(positions[position]).expect("columns are counted in u32");
        let frames = columns.map(|column| column.frame);
        let shaky = shaky(&pair, columns, self.width);
        let judged = self.judge(&pair, columns, frames);
        PairStat { i: at(i), j: at(j), exact: self.width == Width::F64 && !shaky, shaky, ..judged.with_p() }
    }

    /// Returns how many of some compared pairs belong to the family, and those of them that could still be among the best.
    ///
    /// The logarithm of p costs many times what the product of the pair does, and falls with |r|: at an n seen before, the
    /// |r| that the cut asks for is known.
    fn contenders(&self, moments: &Moments, positions: &[usize], pairs: &[(usize, usize)]) -> (u64, Vec<PairStat>) {
        let slack = if self.width == Width::F64 { 0.0 } else { BAND };
        let mut known: HashMap<u64, f64> = HashMap::new();
        // Most pairs have the n of the one before.
        let mut last = (0, 0.0);
        let (mut family, mut kept) = (0, Vec::new());
        for &(i, j) in pairs {
            let pair = moments.pair(i, j);
            let columns = [&moments.columns[i], &moments.columns[j]];
            let is_shaky = shaky(&pair, columns, self.width);
            if !is_shaky {
                let judged = self.judge(&pair, columns, columns.map(|column| column.frame));
                let Some(r) = judged.r.filter(|_| judged.is_tested()) else { continue };
                if let Some(cut) = self.cut.filter(|_| pair.n != last.0) {
                    last = (pair.n, *known.entry(pair.n).or_insert_with(|| least_r(pair.n, cut)));
                }
                family += 1;
                if r.abs() + slack < last.1 {
                    continue;
                }
            }
            let stat = self.stat(moments, positions, (i, j));
            family += u64::from(is_shaky && stat.ln_p.is_some());
            if is_shaky || stat.ln_p.is_some() {
                kept.push(stat);
            }
        }
        (family, kept)
    }

    /// Takes a source without rows: every pair is there, and none can be tested.
    pub(super) fn take_nothing(&mut self, n_targets: usize) {
        let count = |n: usize| u32::try_from(n).expect("columns are counted in u32");
        let (n, targets) = (count(self.columns.len()), count(n_targets));
        let empty = PairStat { i: 0, j: 0, n: 0, r: None, ln_p: None, n_minor: None, ln_p_min: None, exact: true, shaky: false };
        let first = if targets > 0 { targets } else { n };
        let all = (0..first).flat_map(|i| (if targets > 0 { targets } else { i + 1 }..n).map(move |j| (i, j)));
        self.n_pairs = all.clone().count() as u64;
        if !self.wide {
            self.pairs.extend(all.map(|(i, j)| PairStat { i, j, ..empty.clone() }));
        }
    }

    /// Judges one pair by its moments; `i`, `j`, `exact` and `shaky` are the caller's to set, and its p is still 1.
    fn judge(&self, pair: &PairMoments, columns: [&ColumnMoments; 2], frames: [Frame; 2]) -> PairStat {
        let minors = minors(pair, columns, frames);
        let ln_p_min = ln_least_p(pair.n, minors);
        let n_minor = minors.into_iter().flatten().min();
        let r = pair.r();
        let enough = pair.n >= self.options.min_n.max(3)
            && n_minor.is_none_or(|k| k >= FEWEST_CARRIERS)
            && ln_p_min.is_none_or(|p| p <= libm::log(self.options.alpha));
        let ln_p = r.filter(|_| enough).map(|_| 0.0);
        PairStat { i: 0, j: 0, n: pair.n, r, ln_p, n_minor, ln_p_min, exact: false, shaky: false }
    }

    /// Drops what cannot belong to the `top` list, once there is much of it.
    fn keep_best(&mut self) {
        let Some(top) = self.options.top.filter(|&top| self.pairs.len() > 4 * top.max(1000)) else { return };
        let bands = self.bands();
        // What is shaky may turn out weaker, and must not push others out.
        let firm: Vec<Option<(f64, f64)>> = self.pairs.iter().zip(&bands).map(|(stat, band)| band.filter(|_| !stat.shaky)).collect();
        let cut = top_cut(&firm, top);
        self.cut = Some(cut);
        let mut at = 0;
        self.pairs.retain(|stat| {
            at += 1;
            stat.shaky || bands[at - 1].is_some_and(|(lo, _)| lo <= cut)
        });
        // Ties without end, as between copies of one column: those that the order puts first stay.
        if self.pairs.len() > 4 * top.max(1000) {
            self.pairs.par_sort_unstable_by(super::finish::better);
            self.pairs.truncate(2 * top.max(1000));
        }
    }

    /// Returns, for every pair that can be tested, the least and the largest logarithm that its p can have.
    fn bands(&self) -> Vec<Option<(f64, f64)>> {
        self.pairs.par_iter().map(|stat| stat.band(self.width)).collect()
    }

    /// Returns the pairs that lose digits where they stand; they are settled before anything is chosen.
    pub(super) fn shaky(&self) -> Vec<usize> {
        (0..self.pairs.len()).filter(|&at| self.pairs[at].shaky).collect()
    }

    /// Returns the screened pairs to settle.
    pub(super) fn choose(&self) -> Vec<usize> {
        if self.width == Width::F64 {
            return Vec::new();
        }
        let bands = self.bands();
        let top = self.options.top.map(|top| top_cut(&bands, top));
        let ln_alpha = libm::log(self.options.alpha);
        let mut chosen: Vec<bool> = (self.pairs.par_iter().zip(&bands))
            .map(|(stat, band)| {
                let (Some(r), Some((lo, _))) = (stat.r, band) else { return false };
                let slack = if stat.exact { 0.0 } else { BAND };
                (r.abs() + slack >= self.options.min_effect - slack && *lo <= ln_alpha) || top.is_some_and(|cut| *lo <= cut)
            })
            .collect();
        self.add_rivals(&bands, &mut chosen);
        let taken = merged(bands.iter().zip(&chosen).filter(|(_, chosen)| **chosen).filter_map(|(band, _)| *band).collect());
        let near = |band: &Option<(f64, f64)>| band.is_some_and(|band| overlaps(&taken, band));
        (0..self.pairs.len()).filter(|&at| !self.pairs[at].exact && (chosen[at] || near(&bands[at]))).collect()
    }

    /// Adds the pairs that could set the q-value of a chosen one: q is the least p m / rank among it and all behind it.
    fn add_rivals(&self, bands: &[Option<(f64, f64)>], chosen: &mut [bool]) {
        let mut least: Vec<f64> = bands.iter().flatten().map(|(lo, _)| *lo).collect();
        let mut most: Vec<f64> = bands.iter().flatten().map(|(_, hi)| *hi).collect();
        least.par_sort_unstable_by(f64::total_cmp);
        most.par_sort_unstable_by(f64::total_cmp);
        // With ranks as far off as the bands allow: least and largest logarithm of p / rank.
        let within = |(lo, hi): (f64, f64)| {
            let ranks = (most.partition_point(|x| *x <= lo).max(1), least.partition_point(|x| *x <= hi).max(1));
            (lo - ln(ranks.1), hi - ln(ranks.0))
        };
        let values: Vec<Option<(f64, f64)>> = bands.par_iter().map(|band| band.map(within)).collect();
        let mut order: Vec<usize> = (0..bands.len()).filter(|&at| bands[at].is_some()).collect();
        order.par_sort_unstable_by(|a, b| bands[*b].map_or(0.0, |x| x.1).total_cmp(&bands[*a].map_or(0.0, |x| x.1)));
        let reach =
            (0..bands.len()).filter(|&at| chosen[at]).filter_map(|at| values[at]).map(|(_, hi)| hi).fold(f64::NEG_INFINITY, f64::max);
        if reach == f64::NEG_INFINITY {
            return;
        }
        let mut running = f64::INFINITY;
        for at in order {
            let Some((lo, hi)) = values[at] else { continue };
            if lo <= running && lo <= reach {
                chosen[at] = true;
            }
            running = running.min(hi);
        }
    }

    /// Takes the settled moments of the pairs at `positions`.
    pub(super) fn settle(&mut self, positions: &[usize], settled: Vec<SettledPair>) {
        for (&at, pair) in positions.iter().zip(settled) {
            let (i, j) = (self.pairs[at].i, self.pairs[at].j);
            let column = |at: u32| self.columns[at as usize].as_ref().expect("a screened pair has screened columns");
            let stat = self.judge(&pair.moments, [column(i), column(j)], [pair.x, pair.y]).with_p();
            let tested = u64::from(self.pairs[at].ln_p.is_some());
            self.family = self.family - tested + u64::from(stat.ln_p.is_some());
            self.pairs[at] = PairStat { i, j, exact: true, ..stat };
        }
    }

    /// Returns whether a pair counts as settled: by its f64 values alone where it has them, and inside of the choice.
    pub(super) fn is_settled(&self, stat: &PairStat, rank: usize) -> bool {
        let finding = || {
            let far = stat.r.is_some_and(|r| r.abs() >= self.options.min_effect - BAND / 2.0);
            far && stat.ln_p.is_some_and(|p| p <= libm::log(self.options.alpha))
        };
        stat.exact && (self.width == Width::F64 || finding() || self.options.top.is_some_and(|top| rank < top))
    }
}

/// Pairs that are judged before the best are told from the others.
const PAIRS_AT_ONCE: usize = 1 << 18;

/// Returns an |r| below which every p over n rows is above the cut, with room for the rounding of p.
fn least_r(n: u64, cut: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if ln_pearson_p(middle, n).is_some_and(|p| p <= cut) { high = middle } else { low = middle }
    }
    low - 1e-9
}

impl PairStat {
    /// Returns whether the pair belongs to the family.
    const fn is_tested(&self) -> bool {
        self.ln_p.is_some()
    }

    /// Gives a pair of the family its p.
    fn with_p(self) -> Self {
        let ln_p = self.ln_p.and(self.r).and_then(|r| ln_pearson_p(r, self.n));
        Self { ln_p, ..self }
    }

    /// Returns the least and the largest logarithm that p can have within the band of r; none where it is not tested.
    fn band(&self, width: Width) -> Option<(f64, f64)> {
        let (r, ln_p) = (self.r?, self.ln_p?);
        if self.exact || width == Width::F64 {
            return Some((ln_p, ln_p));
        }
        let at = |r: f64| ln_pearson_p(r.clamp(0.0, 1.0), self.n).unwrap_or(0.0);
        Some((at(r.abs() + BAND), at(r.abs() - BAND)))
    }
}

/// Returns the largest logarithm of p that the last pair of the `top` list can have.
fn top_cut(bands: &[Option<(f64, f64)>], top: usize) -> f64 {
    let mut most: Vec<f64> = bands.iter().flatten().map(|(_, hi)| *hi).collect();
    if top == 0 || most.len() <= top {
        return f64::INFINITY;
    }
    *most.select_nth_unstable_by(top - 1, f64::total_cmp).1
}

#[allow(clippy::cast_precision_loss, reason = "2^53 hypotheses are not reached")]
fn ln(rank: usize) -> f64 {
    libm::log(rank as f64)
}

/// Joins overlapping intervals.
fn merged(mut bands: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    bands.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for band in bands {
        match joined.last_mut() {
            Some(last) if band.0 <= last.1 => last.1 = last.1.max(band.1),
            _ => joined.push(band),
        }
    }
    joined
}

fn overlaps(joined: &[(f64, f64)], band: (f64, f64)) -> bool {
    let after = joined.partition_point(|other| other.1 < band.0);
    joined.get(after).is_some_and(|other| other.0 <= band.1)
}

/// Returns, for each column of two values, the rows of its smaller group among those of the pair.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of n rows, rounded, lies in 0..=n"
)]
fn minors(pair: &PairMoments, columns: [&ColumnMoments; 2], frames: [Frame; 2]) -> [Option<u64>; 2] {
    let means = [pair.mean_x, pair.mean_y];
    std::array::from_fn(|side| {
        let (column, frame) = (columns[side], frames[side]);
        if !column.two_valued || pair.n == 0 {
            return None;
        }
        let above = (frame.centre - column.min) + libm::ldexp(means[side], frame.unit);
        let share = if column.max > column.min { above / (column.max - column.min) } else { 0.0 };
        let upper = (share * pair.n as f64).round().clamp(0.0, pair.n as f64) as u64;
        Some(upper.min(pair.n - upper))
    })
}

/// Returns the logarithm of the smallest p that shuffling the pair's rows could reach, where a column has two values.
///
/// With k rows in the smaller group there are C(n, k) arrangements. With two such columns, a and b rows with a <= b, the
/// most telling table puts all a among the b: C(b, a) of the C(n, a) arrangements do.
pub(super) fn ln_least_p(n: u64, minors: [Option<u64>; 2]) -> Option<f64> {
    match minors {
        [Some(a), Some(b)] => Some(ln_choose(a.max(b), a.min(b)) - ln_choose(n, a.min(b))),
        [Some(k), None] | [None, Some(k)] => Some(-ln_choose(n, k)),
        [None, None] => None,
    }
}

/// Returns whether sums about the columns' means have lost digits over the pair's rows: because a column varies little
/// there beside all of its rows, or because few rows are left of many.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn shaky(pair: &PairMoments, columns: [&ColumnMoments; 2], width: Width) -> bool {
    let (least_share, fewest) = match width {
        Width::F64 => (0.1, 1024),
        Width::F32 => (0.2, 32),
    };
    let squares = [pair.m2_x, pair.m2_y];
    let hardly_varies = columns.iter().zip(squares).any(|(column, m2)| {
        let (own, all) = (m2 / pair.n.max(1) as f64, column.m2 / column.n.max(1) as f64);
        pair.n < column.n && own < least_share * all
    });
    let few_of_many = columns.iter().any(|column| pair.n < column.n / fewest);
    pair.n >= 3 && (hardly_varies || few_of_many)
}
