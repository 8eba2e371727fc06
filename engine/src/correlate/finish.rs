//! From screened and settled pairs to the result: q-values, intervals, verdicts.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::choose::{PairStat, Screened};
use super::moments::ColumnMoments;
use super::pictures::Picture;
use super::simpson::Simpson;
use super::{CorrelateOptions, Method};
use crate::columns::Width;
use crate::stats::{benjamini_hochberg, fisher_interval, harmonic, ln_pearson_p};

/// How p-values are adjusted over the family where no permutations are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adjust {
    /// Benjamini and Hochberg 1995.
    #[default]
    Bh,
    /// Benjamini and Yekutieli 2001: holds whatever the tests' dependence, at the price of a factor of about ln(family).
    By,
}

/// What the guards say of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The adjusted p is at most alpha: that of the permutations where there are any, else q.
    Survives,
    /// It could have reached the level, and did not.
    NotSignificant,
    /// Too few rows, too few carriers of the rarer value, or a constant column: it could not reach the level.
    TooFew,
    /// It survives, but one row makes it.
    Leverage,
    /// It survives, but one of its columns is a copy of a column that stands in the same relation.
    Redundant,
    /// It survives, but too well: the column tells the target, or is known only after it.
    Leak,
    /// It survives over all rows, but not over the later ones alone.
    Unconfirmed,
}

impl Verdict {
    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Survives => "survives",
            Self::NotSignificant => "not_significant",
            Self::TooFew => "too_few",
            Self::Leverage => "leverage",
            Self::Redundant => "redundant",
            Self::Leak => "leak",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// One pair of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct PairRow {
    /// First column, by position among the columns of the analysis: a target where there are any, the known one where
    /// the coefficient is directed.
    pub x: usize,
    /// Second column.
    pub y: usize,
    /// Group that its rows belong to, by position among the groups; none for all rows.
    pub group: Option<usize>,
    /// Rows by which x lies after y; none where no lag was asked for.
    pub lag: Option<i64>,
    /// Slice of the table that it was computed in.
    pub(crate) slice: usize,
    /// Rows where both are present.
    pub n: u64,
    /// Rows that say as much as independent ones would; none where rows are taken as independent.
    pub effective_n: Option<f64>,
    /// The coefficient.
    pub method: Method,
    /// Its value; none where it is not defined: a column is constant over those rows, say.
    pub r: Option<f64>,
    /// Interval at 1 - alpha; none for coefficients without an analytic one.
    pub interval: Option<(f64, f64)>,
    /// p of the pair alone, also where it stands outside the family and means little; none where it is not defined.
    pub p: Option<f64>,
    /// Its logarithm, which orders p-values below the smallest f64; none for a pair outside the family.
    pub(crate) ln_p: Option<f64>,
    /// p adjusted over the family by permutations (Westfall and Young); none without any.
    pub p_perm: Option<f64>,
    /// p adjusted over the family by [`Adjust`]; none for a pair outside the family.
    pub q: Option<f64>,
    /// Rows of the smaller group where a column takes two values alone.
    pub n_minor: Option<u64>,
    /// Smallest p that shuffling could reach where a column takes two values alone.
    pub p_min_attainable: Option<f64>,
    /// How far the removal of one row moves r at the most; none where that was not looked at.
    pub leverage_max: Option<f64>,
    /// Whether the later rows alone show the pair; none where no time is named.
    pub confirmed: Option<bool>,
    /// Whether r was computed in f64.
    pub settled: bool,
    /// What the guards say.
    pub verdict: Verdict,
}

/// One column of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnRow {
    /// Its name.
    pub name: String,
    /// Present cells.
    pub n: u64,
    /// Missing cells.
    pub missing: u64,
    /// Mean of the present cells.
    pub mean: Option<f64>,
    /// Sample standard deviation of the present cells.
    pub sd: Option<f64>,
    /// Smallest present cell.
    pub min: Option<f64>,
    /// Largest present cell.
    pub max: Option<f64>,
}

impl ColumnRow {
    /// Returns whether every present cell is the same.
    #[must_use]
    pub fn constant(&self) -> bool {
        self.n > 0 && self.min.is_some() && self.min == self.max
    }
}

/// The result.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// Columns in the order asked for.
    pub columns: Vec<ColumnRow>,
    /// Pairs, best first: by p, then by |r|; untested ones last. All of them, or the best `top`.
    pub pairs: Vec<PairRow>,
    /// Rows read.
    pub n_rows: u64,
    /// Pairs compared.
    pub n_pairs: u64,
    /// Pairs that could reach the level: the family of the adjustment.
    pub family: u64,
    /// How products were computed.
    pub width: Width,
    /// Whether only the best pairs were kept while comparing, because all did not fit.
    pub wide: bool,
    /// How q was adjusted.
    pub adjust: Adjust,
    /// Permutations behind `p_perm`; 0 where there are none.
    pub permutations: u32,
    /// Columns that were paired with the others alone; 0 where all were paired with all.
    pub n_targets: usize,
    /// Names of the groups that pairs were related in.
    pub groups: Vec<String>,
    /// For each column the first one that it is a copy of, itself where it is none; empty where that was not looked at.
    pub copies: Vec<usize>,
    /// What becomes of pairs within the groups; empty where there are none.
    pub simpson: Vec<Simpson>,
    /// What the best findings look like; empty where that was not looked at.
    pub pictures: Vec<Picture>,
    pub(super) alpha: f64,
    pub(super) min_effect: f64,
}

impl Correlation {
    /// Returns the findings: pairs that survive with an effect of at least `min_effect`, the surest effect first.
    ///
    /// The order is by the end of the interval that is nearer to 0, or by the effect where there is no interval.
    #[must_use]
    pub fn findings(&self) -> Vec<&PairRow> {
        self.finding_positions().into_iter().map(|at| &self.pairs[at]).collect()
    }

    /// Returns the positions of the findings among the pairs, in their order.
    pub(super) fn finding_positions(&self) -> Vec<usize> {
        let effect = |pair: &PairRow| pair.r.map_or(0.0, |r| pair.method.effect_size(r));
        let sure = |pair: &PairRow| pair.interval.map_or_else(|| effect(pair), |(lo, hi)| lo.abs().min(hi.abs()));
        let found = |pair: &&PairRow| pair.verdict == Verdict::Survives && effect(pair) >= self.min_effect;
        let mut findings: Vec<(usize, &PairRow)> = self.pairs.iter().enumerate().filter(|(_, pair)| found(pair)).collect();
        findings.sort_by(|(_, a), (_, b)| sure(b).total_cmp(&sure(a)).then((a.group, a.x, a.y, a.lag).cmp(&(b.group, b.x, b.y, b.lag))));
        findings.into_iter().map(|(at, _)| at).collect()
    }

    /// Returns the level of tests and intervals.
    #[must_use]
    pub const fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Returns the pair of two columns in either order, if it was kept.
    #[must_use]
    pub fn pair(&self, x: &str, y: &str) -> Option<&PairRow> {
        let at = |name: &str| self.columns.iter().position(|column| column.name == name);
        let (x, y) = (at(x)?, at(y)?);
        self.pairs.iter().find(|pair| (pair.x, pair.y) == (x.min(y), x.max(y)))
    }
}

/// Best first: tested before untested, then by p, by |r|, by column.
pub(super) fn better(a: &PairStat, b: &PairStat) -> Ordering {
    let size = |stat: &PairStat| stat.r.map_or(0.0, f64::abs);
    let p = match (a.ln_p, b.ln_p) {
        (Some(x), Some(y)) => x.total_cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    p.then(size(b).total_cmp(&size(a))).then((a.i, a.j).cmp(&(b.i, b.j)))
}

pub(super) fn finish(screened: Screened, names: &[String], options: &CorrelateOptions, width: Width) -> Correlation {
    let mut screened = screened;
    screened.pairs.par_sort_unstable_by(better);
    let (pairs, family) = (&screened.pairs, screened.family);
    let ln_p: Vec<f64> = pairs.iter().map_while(|stat| stat.ln_p).collect();
    let q = adjusted(&ln_p, family, options.adjust).into_iter().map(Some).chain(std::iter::repeat(None)).take(pairs.len());
    let keep = options.top.unwrap_or(pairs.len()).min(pairs.len());
    let q: Vec<Option<f64>> = q.collect();
    let rows = pairs.par_iter().zip(q).enumerate().take(keep);
    let rows = rows.map(|(rank, (stat, q))| row(stat, q, screened.is_settled(stat, rank), options.alpha)).collect();
    let Screened { n_rows, columns, n_pairs, wide, .. } = screened;
    let columns = names.iter().zip(columns).map(|(name, moments)| column_row(name, moments, n_rows)).collect();
    Correlation {
        columns,
        pairs: rows,
        n_rows,
        n_pairs,
        family,
        width,
        wide,
        adjust: options.adjust,
        permutations: 0,
        n_targets: options.n_targets,
        groups: Vec::new(),
        copies: Vec::new(),
        simpson: Vec::new(),
        pictures: Vec::new(),
        alpha: options.alpha,
        min_effect: options.min_effect,
    }
}

/// Returns the adjusted p of hypotheses whose logarithms of p ascend, over a family of which they are the best.
pub(super) fn adjusted(ln_p: &[f64], family: u64, adjust: Adjust) -> Vec<f64> {
    let mut ranks = vec![0; ln_p.len()];
    let mut rank = ln_p.len() as u64;
    for at in (0..ln_p.len()).rev() {
        // Equal p-values share the largest rank.
        if ln_p.get(at + 1).is_some_and(|next| ln_p[at].total_cmp(next) == Ordering::Less) {
            rank = at as u64 + 1;
        }
        ranks[at] = rank;
    }
    let factor = match adjust {
        Adjust::Bh => 1.0,
        Adjust::By => harmonic(family),
    };
    let mut values: Vec<f64> = ln_p.iter().map(|p| libm::exp(*p) * factor).collect();
    benjamini_hochberg(&mut values, &ranks, family);
    values
}

/// Returns the verdict of an adjusted p; none stands for a pair outside the family.
pub(super) fn verdict(adjusted: Option<f64>, alpha: f64) -> Verdict {
    match adjusted {
        None => Verdict::TooFew,
        Some(p) if p <= alpha => Verdict::Survives,
        Some(_) => Verdict::NotSignificant,
    }
}

fn row(stat: &PairStat, q: Option<f64>, settled: bool, alpha: f64) -> PairRow {
    PairRow {
        x: stat.i as usize,
        y: stat.j as usize,
        group: None,
        lag: None,
        slice: 0,
        n: stat.n,
        effective_n: None,
        method: Method::Pearson,
        r: stat.r,
        interval: stat.r.and_then(|r| fisher_interval(r, stat.n, alpha)),
        p: stat.ln_p.or_else(|| ln_pearson_p(stat.r?, stat.n)).map(libm::exp),
        ln_p: stat.ln_p,
        p_perm: None,
        q,
        n_minor: stat.n_minor,
        p_min_attainable: stat.ln_p_min.map(libm::exp),
        leverage_max: None,
        confirmed: None,
        settled,
        verdict: verdict(q, alpha),
    }
}

fn column_row(name: &str, moments: Option<ColumnMoments>, n_rows: u64) -> ColumnRow {
    let Some(column) = moments else {
        return ColumnRow { name: name.to_owned(), n: 0, missing: n_rows, mean: None, sd: None, min: None, max: None };
    };
    let present = column.n > 0;
    ColumnRow {
        name: name.to_owned(),
        n: column.n,
        missing: n_rows - column.n,
        mean: column.mean(),
        sd: column.sd(),
        min: present.then_some(column.min),
        max: present.then_some(column.max),
    }
}
