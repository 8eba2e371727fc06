//! What screening says of each pair, and which pairs are settled in f64.
//!
//! After screening in f32, r is known to within `BAND`. A pair is settled when, anywhere within its band, it could be a
//! finding, could lie on the other side of a threshold, or could belong to the `top` list. The q-value of a settled pair
//! needs its rank among all p-values; so pairs whose band overlaps that of a settled one are computed in f64 as well,
//! though they are not called settled: their own neighbours are not.

use rayon::prelude::*;

use super::CorrelateOptions;
use super::moments::{ColumnMoments, Moments};
use super::pair::{Frame, PairMoments};
use crate::columns::Width;
use crate::stats::{ln_choose, ln_pearson_p};

/// How far an r that was screened in f32 can be off: the proven bound, forty times what is seen.
const BAND: f64 = 4e-5;

/// Fewest rows that the smaller group of a two-valued column needs: below, the t distribution says nothing of r.
const FEWEST_CARRIERS: u64 = 5;

/// A pair whose column varies less than this over the pair's rows, relative to all of its rows, is settled: sums about
/// the mean of all rows lose as many digits.
const fn shaky_below(width: Width) -> f64 {
    match width {
        Width::F64 => 1e-4,
        Width::F32 => 0.05,
    }
}

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
    pub(super) settled: bool,
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
    options: CorrelateOptions,
}

impl Screened {
    pub(super) fn new(n_columns: usize, options: &CorrelateOptions, wide: bool) -> Self {
        let columns = vec![None; n_columns];
        Self { n_rows: 0, columns, pairs: Vec::new(), n_pairs: 0, family: 0, wide, options: options.clone() }
    }

    /// Returns the columns of the pair at a position.
    pub(super) fn columns_of(&self, at: usize) -> (usize, usize) {
        (self.pairs[at].i as usize, self.pairs[at].j as usize)
    }

    /// Takes the moments of a screening pass over the columns at `positions`.
    pub(super) fn take(&mut self, moments: &Moments, positions: &[usize], width: Width) {
        self.n_rows = moments.n_rows;
        for (column, &at) in moments.columns.iter().zip(positions) {
            self.columns[at].get_or_insert_with(|| column.clone());
        }
        let two_valued: Vec<bool> = moments.columns.iter().map(two_valued).collect();
        let compared: Vec<(usize, usize)> = moments.compared().collect();
        let judge = |&(i, j): &(usize, usize)| {
            let pair = moments.pair(i, j);
            let sides = [(&moments.columns[i], two_valued[i]), (&moments.columns[j], two_valued[j])];
            let n_minor = n_minor(&pair, sides);
            let at = |position: usize| u32::try_from(positions[position]).expect("columns are counted in u32");
            let mut stat = self.stat(&pair, n_minor);
            (stat.i, stat.j) = (at(i), at(j));
            stat.shaky = shaky(&pair, sides, width);
            stat.settled = width == Width::F64;
            stat
        };
        let stats: Vec<PairStat> = compared.par_iter().map(judge).collect();
        self.n_pairs += stats.len() as u64;
        self.family += stats.iter().filter(|stat| stat.ln_p.is_some()).count() as u64;
        if self.wide {
            self.pairs.extend(stats.into_iter().filter(|stat| stat.ln_p.is_some()));
            self.keep_best(width);
        } else {
            self.pairs.extend(stats);
        }
    }

    /// Judges one pair; `i`, `j` and `shaky` are the caller's to set.
    fn stat(&self, pair: &PairMoments, n_minor: Option<u64>) -> PairStat {
        let r = pair.r();
        let ln_p_min = n_minor.map(|k| -ln_choose(pair.n, k));
        let enough = pair.n >= self.options.min_n.max(3)
            && n_minor.is_none_or(|k| k >= FEWEST_CARRIERS)
            && ln_p_min.is_none_or(|p| p <= libm::log(self.options.alpha));
        let ln_p = r.filter(|_| enough).and_then(|r| ln_pearson_p(r, pair.n));
        PairStat { i: 0, j: 0, n: pair.n, r, ln_p, n_minor, ln_p_min, settled: false, shaky: false }
    }

    /// Drops what cannot belong to the `top` list, once there is much of it.
    fn keep_best(&mut self, width: Width) {
        let Some(top) = self.options.top.filter(|&top| self.pairs.len() > 4 * top.max(1000)) else { return };
        let Some(cut) = self.top_cut(top, width) else { return };
        let band = band(width);
        self.pairs.retain(|stat| stat.ln_p_within(band).0 <= cut);
    }

    /// Returns the largest logarithm of p that the last pair of the `top` list can have.
    fn top_cut(&self, top: usize, width: Width) -> Option<f64> {
        let mut worst: Vec<f64> = self.pairs.par_iter().filter(|s| s.ln_p.is_some()).map(|s| s.ln_p_within(band(width)).1).collect();
        if top == 0 || worst.len() <= top {
            return None;
        }
        Some(*worst.select_nth_unstable_by(top - 1, f64::total_cmp).1)
    }

    /// Returns the pairs to settle, and marks those that will then count as settled.
    pub(super) fn choose(&mut self, width: Width) -> Vec<usize> {
        if width == Width::F64 {
            return (0..self.pairs.len()).filter(|&at| self.pairs[at].shaky).collect();
        }
        let findings = self.finding_cut();
        let top = self.options.top.map(|top| self.top_cut(top, width).unwrap_or(f64::INFINITY));
        let min_effect = self.options.min_effect;
        self.pairs.par_iter_mut().for_each(|stat| {
            let Some(r) = stat.r.filter(|_| stat.ln_p.is_some()) else { return };
            let best = stat.ln_p_within(BAND).0;
            let finding = r.abs() + BAND >= min_effect && best <= findings;
            stat.settled = finding || top.is_some_and(|cut| best <= cut);
        });
        let bands = merged(self.pairs.par_iter().filter(|stat| stat.settled).map(|stat| stat.ln_p_within(BAND)).collect());
        let overlaps = |stat: &PairStat| stat.ln_p.is_some() && overlaps(&bands, stat.ln_p_within(BAND));
        let chosen = self.pairs.par_iter().map(|stat| stat.settled || stat.shaky || overlaps(stat)).collect::<Vec<_>>();
        (0..self.pairs.len()).filter(|&at| chosen[at]).collect()
    }

    /// Returns the largest logarithm of p that a rejected pair can have, whatever the bands turn out to be.
    fn finding_cut(&self) -> f64 {
        let mut worst: Vec<f64> = self.pairs.par_iter().filter(|s| s.ln_p.is_some()).map(|s| s.ln_p_within(BAND).0).collect();
        worst.par_sort_unstable_by(f64::total_cmp);
        let ln_alpha = libm::log(self.options.alpha);
        let level = |rank: usize| ln_alpha + ln_ratio(rank as u64, self.family);
        // With every p at the low end of its band, no fewer are rejected than in truth.
        let last = (1..=worst.len()).rev().find(|&rank| worst[rank - 1] <= level(rank));
        level(last.unwrap_or(1).max(1))
    }

    /// Takes the settled moments of the pairs at `positions`.
    pub(super) fn settle(&mut self, positions: &[usize], moments: impl Iterator<Item = PairMoments>) {
        for (&at, pair) in positions.iter().zip(moments) {
            let was = &self.pairs[at];
            let stat = self.stat(&pair, was.n_minor);
            let (i, j, settled) = (was.i, was.j, was.settled);
            let tested = u64::from(was.ln_p.is_some());
            self.family = self.family - tested + u64::from(stat.ln_p.is_some());
            self.pairs[at] = PairStat { i, j, settled, ..stat };
        }
    }
}

impl PairStat {
    /// Returns the smallest and largest logarithm of p within the band of r.
    fn ln_p_within(&self, band: f64) -> (f64, f64) {
        let (Some(r), Some(ln_p)) = (self.r, self.ln_p) else { return (0.0, 0.0) };
        if band <= 0.0 {
            return (ln_p, ln_p);
        }
        let at = |r: f64| ln_pearson_p(r.clamp(0.0, 1.0), self.n).unwrap_or(0.0);
        (at(r.abs() + band), at(r.abs() - band))
    }
}

const fn band(width: Width) -> f64 {
    match width {
        Width::F64 => 0.0,
        Width::F32 => BAND,
    }
}

#[allow(clippy::cast_precision_loss, reason = "2^53 hypotheses are not reached")]
fn ln_ratio(rank: u64, family: u64) -> f64 {
    libm::log(rank as f64 / family.max(1) as f64)
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

/// Returns the ends of a column's range in its frame.
fn range(column: &ColumnMoments) -> (f64, f64) {
    let Frame { centre, unit, .. } = column.frame;
    let place = |x: f64| libm::ldexp(x / 2.0 - centre / 2.0, 1 - unit);
    (place(column.min), place(column.max))
}

/// Returns whether a column takes two values alone: its variance then equals (max - mean)(mean - min), and no other
/// column's does (Bhatia and Davis 2000).
fn two_valued(column: &ColumnMoments) -> bool {
    column.n > 0 && column.min < column.max && has_two_values(column, column.n, column.mean, column.m2)
}

#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn has_two_values(column: &ColumnMoments, n: u64, mean: f64, m2: f64) -> bool {
    let (lo, hi) = range(column);
    let most = (hi - mean) * (mean - lo);
    // f32 sums are good to about 1e-7; a third value that hides below this would have to sit on one of the two.
    (m2 / n as f64 - most).abs() <= 1e-6 * (hi - lo) * (hi - lo) * f64::min(1.0, most.abs() / ((hi - lo) * (hi - lo)) * 10.0)
}

/// Returns the rows of the smaller group, of the column where it is smaller.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of n rows, rounded, lies in 0..=n"
)]
fn n_minor(pair: &PairMoments, sides: [(&ColumnMoments, bool); 2]) -> Option<u64> {
    let means = [pair.mean_x, pair.mean_y];
    let of = |((column, two_valued), mean): ((&ColumnMoments, bool), f64)| {
        let (lo, hi) = range(column);
        let upper = ((mean - lo) / (hi - lo) * pair.n as f64).round().clamp(0.0, pair.n as f64) as u64;
        two_valued.then(|| upper.min(pair.n - upper))
    };
    sides.into_iter().zip(means).filter_map(of).min()
}

/// Returns whether a column hardly varies over the pair's rows.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn shaky(pair: &PairMoments, sides: [(&ColumnMoments, bool); 2], width: Width) -> bool {
    let squares = [pair.m2_x, pair.m2_y];
    sides.iter().zip(squares).any(|((column, _), m2)| {
        let (own, all) = (m2 / pair.n.max(1) as f64, column.m2 / column.n.max(1) as f64);
        pair.n < column.n && own < shaky_below(width) * all
    })
}
