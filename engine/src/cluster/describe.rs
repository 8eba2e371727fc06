//! What sets a segment apart from the rest.
//!
//! ```text
//! effect = (mean of the segment - mean of the rest) / standard deviation within the two        Cohen's d
//! p, q   Student's t of two groups, BH over all segments and columns: of columns that took no part alone
//! ```
//!
//! The columns that made the segments differ between them by construction: a test of them would always be significant (double dipping),
//! so that they have an effect and no p.

use rayon::prelude::*;

use super::Place;
use crate::columns::Table;
use crate::stats::{benjamini_hochberg, ln_pearson_p};

/// A column within a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Position of the segment.
    pub segment: usize,
    /// Name of the column.
    pub column: String,
    /// Whether it took part in the clustering.
    pub took_part: bool,
    /// Rows of the segment and of the rest where it is present.
    pub n: u64,
    /// Rows of the rest where it is present.
    pub n_rest: u64,
    /// Means; none where there are no rows.
    pub mean: Option<f64>,
    /// Mean of the rest.
    pub mean_rest: Option<f64>,
    /// Cohen's d; none where the column does not vary, or either side has no rows.
    pub effect: Option<f64>,
    /// P-value of a column that took no part.
    pub p: Option<f64>,
    /// The same over all segments and columns (Benjamini-Hochberg).
    pub q: Option<f64>,
}

/// Sum, sum of squares about a centre, and rows.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: u64,
    sum: f64,
    squares: f64,
}

/// Returns what sets every segment apart, segment by segment.
pub(super) fn features(table: &Table, others: &Table, places: &[Place], n_segments: usize) -> Vec<Feature> {
    let columns = table.columns.iter().chain(&others.columns).filter(|column| column.numbers().is_some());
    let all = Table { n_rows: table.n_rows, columns: columns.cloned().collect() };
    let names: Vec<String> = all.columns.iter().map(|column| column.name.clone()).collect();
    let n_used = table.columns.iter().filter(|column| column.numbers().is_some()).count();
    let mut described = Describing::new(names.len(), n_segments);
    described.absorb(&all, places);
    described.finish(&names, n_used)
}

/// Sums of every column by segment, under way: rows may come block by block.
pub(super) struct Describing {
    /// First value, and moments of every segment and of rows without one, column by column.
    columns: Vec<(Option<f64>, Vec<Moments>)>,
    n_segments: usize,
}

impl Describing {
    pub(super) fn new(n_columns: usize, n_segments: usize) -> Self {
        Self { columns: vec![(None, vec![Moments::default(); n_segments + 1]); n_columns], n_segments }
    }

    /// Takes some rows with their places.
    pub(super) fn absorb(&mut self, rows: &Table, places: &[Place]) {
        let n_segments = self.n_segments;
        let of_column = |(column, (first, moments)): (usize, &mut (Option<f64>, Vec<Moments>))| {
            let Some(cells) = rows.columns[column].numbers() else { return };
            for place in places {
                let x = cells[place.row];
                if x.is_finite() {
                    let x = x - *first.get_or_insert(x);
                    let own = &mut moments[place.segment.map_or(n_segments, |segment| segment as usize)];
                    *own = Moments { n: own.n + 1, sum: own.sum + x, squares: own.squares + x * x };
                }
            }
        };
        self.columns.par_iter_mut().enumerate().for_each(of_column);
    }

    /// Returns what sets every segment apart; the first `n_used` columns took part.
    pub(super) fn finish(&self, names: &[String], n_used: usize) -> Vec<Feature> {
        let of_column = |(column, (first, moments)): (usize, &(Option<f64>, Vec<Moments>))| {
            let add = |a: Moments, b: &Moments| Moments { n: a.n + b.n, sum: a.sum + b.sum, squares: a.squares + b.squares };
            let all = moments.iter().fold(Moments::default(), add);
            let centre = first.unwrap_or_default();
            let one = |(segment, own): (usize, &Moments)| feature(segment, &names[column], column < n_used, centre, *own, all);
            moments[..self.n_segments].iter().enumerate().map(one).collect::<Vec<Feature>>()
        };
        let by_column: Vec<Vec<Feature>> = self.columns.iter().enumerate().map(of_column).collect();
        let mut features: Vec<Feature> =
            (0..self.n_segments).flat_map(|segment| by_column.iter().map(move |of| of[segment].clone())).collect();
        adjust(&mut features);
        features
    }
}

/// Adjusts the p-values over all segments and columns that were tested.
fn adjust(features: &mut [Feature]) {
    let mut tested: Vec<(f64, usize)> = (0..).zip(&*features).filter_map(|(at, feature)| Some((feature.p?, at))).collect();
    tested.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut q: Vec<f64> = tested.iter().map(|(p, _)| *p).collect();
    let ranks: Vec<u64> = q.iter().map(|p| q.partition_point(|other| other <= p) as u64).collect();
    let n_tested = q.len() as u64;
    benjamini_hochberg(&mut q, &ranks, n_tested);
    for ((_, at), q) in tested.into_iter().zip(q) {
        features[at].q = Some(q);
    }
}

#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn feature(segment: usize, name: &str, took_part: bool, centre: f64, own: Moments, all: Moments) -> Feature {
    let rest = Moments { n: all.n - own.n, sum: all.sum - own.sum, squares: all.squares - own.squares };
    let mean = |of: Moments| (of.n > 0).then(|| of.sum / of.n as f64);
    let about_mean = |of: Moments| mean(of).map_or(0.0, |mean| (of.squares - of.sum * mean).max(0.0));
    let df = (own.n + rest.n).saturating_sub(2) as f64;
    let within = libm::sqrt((about_mean(own) + about_mean(rest)) / df.max(1.0));
    let gap = mean(own).zip(mean(rest)).map(|(own, rest)| own - rest);
    let effect = gap.map(|gap| gap / within).filter(|effect| effect.is_finite() && df > 0.0);
    // The t of two groups is that of the correlation with the segment's indicator.
    let r = effect.map(|d| d / libm::sqrt(d * d + df * (1.0 / own.n as f64 + 1.0 / rest.n as f64)));
    let p = r.filter(|_| !took_part).and_then(|r| ln_pearson_p(r, own.n + rest.n)).map(libm::exp);
    Feature {
        segment,
        column: name.to_owned(),
        took_part,
        n: own.n,
        n_rest: rest.n,
        mean: mean(own).map(|mean| centre + mean),
        mean_rest: mean(rest).map(|mean| centre + mean),
        effect,
        p,
        q: None,
    }
}
