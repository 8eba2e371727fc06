//! From screened and settled pairs to the result: q-values, intervals, verdicts.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::CorrelateOptions;
use super::choose::{PairStat, Screened};
use super::moments::ColumnMoments;
use crate::columns::Width;
use crate::stats::{benjamini_hochberg, fisher_interval};

/// What the guards say of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// q is at most alpha.
    Survives,
    /// It could have reached the level, and did not.
    NotSignificant,
    /// Too few rows, too few carriers of the rarer value, or a constant column: it could not reach the level.
    TooFew,
}

impl Verdict {
    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Survives => "survives",
            Self::NotSignificant => "not_significant",
            Self::TooFew => "too_few",
        }
    }
}

/// One pair of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct PairRow {
    /// First column, by position among the columns of the analysis.
    pub x: usize,
    /// Second column; after the first.
    pub y: usize,
    /// Rows where both are present.
    pub n: u64,
    /// Pearson's r; none where a column is constant over those rows.
    pub r: Option<f64>,
    /// Fisher's interval at 1 - alpha.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p of the pair alone; none for a pair outside the family.
    pub p: Option<f64>,
    /// p adjusted over the family.
    pub q: Option<f64>,
    /// Rows of the smaller group where a column takes two values alone.
    pub n_minor: Option<u64>,
    /// Smallest p that shuffling could reach where a column takes two values alone.
    pub p_min_attainable: Option<f64>,
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
        self.n > 0 && self.min == self.max
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
    alpha: f64,
    min_effect: f64,
}

impl Correlation {
    /// Returns the findings: pairs that survive with |r| of at least `min_effect`, the surest effect first.
    ///
    /// The order is by the end of the interval that is nearer to 0.
    #[must_use]
    pub fn findings(&self) -> Vec<&PairRow> {
        let sure = |pair: &PairRow| pair.interval.map_or(0.0, |(lo, hi)| lo.abs().min(hi.abs()));
        let found = |pair: &&PairRow| pair.verdict == Verdict::Survives && pair.r.is_some_and(|r| r.abs() >= self.min_effect);
        let mut findings: Vec<&PairRow> = self.pairs.iter().filter(found).collect();
        findings.sort_by(|a, b| sure(b).total_cmp(&sure(a)).then((a.x, a.y).cmp(&(b.x, b.y))));
        findings
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
    let q = adjusted(pairs, family);
    let keep = options.top.unwrap_or(pairs.len()).min(pairs.len());
    let rows = pairs.par_iter().zip(q).enumerate().take(keep);
    let rows = rows.map(|(rank, (stat, q))| row(stat, q, screened.is_settled(stat, rank), options.alpha)).collect();
    let Screened { n_rows, columns, n_pairs, wide, .. } = screened;
    let columns = names.iter().zip(columns).map(|(name, moments)| column_row(name, moments, n_rows)).collect();
    Correlation { columns, pairs: rows, n_rows, n_pairs, family, width, wide, alpha: options.alpha, min_effect: options.min_effect }
}

/// Returns the q-value of every pair, in the order given: that of [`better`].
fn adjusted(pairs: &[PairStat], family: u64) -> Vec<Option<f64>> {
    let ln_p: Vec<f64> = pairs.iter().map_while(|stat| stat.ln_p).collect();
    let mut ranks = vec![0; ln_p.len()];
    let mut rank = ln_p.len() as u64;
    for at in (0..ln_p.len()).rev() {
        // Equal p-values share the largest rank.
        if ln_p.get(at + 1).is_some_and(|next| ln_p[at].total_cmp(next) == Ordering::Less) {
            rank = at as u64 + 1;
        }
        ranks[at] = rank;
    }
    let mut values: Vec<f64> = ln_p.iter().map(|p| libm::exp(*p)).collect();
    benjamini_hochberg(&mut values, &ranks, family);
    let untested = pairs.len() - values.len();
    values.into_iter().map(Some).chain(std::iter::repeat_n(None, untested)).collect()
}

fn row(stat: &PairStat, q: Option<f64>, settled: bool, alpha: f64) -> PairRow {
    let verdict = match q {
        None => Verdict::TooFew,
        Some(q) if q <= alpha => Verdict::Survives,
        Some(_) => Verdict::NotSignificant,
    };
    PairRow {
        x: stat.i as usize,
        y: stat.j as usize,
        n: stat.n,
        r: stat.r,
        interval: stat.r.and_then(|r| fisher_interval(r, stat.n, alpha)),
        p: stat.ln_p.map(libm::exp),
        q,
        n_minor: stat.n_minor,
        p_min_attainable: stat.ln_p_min.map(libm::exp),
        settled,
        verdict,
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
