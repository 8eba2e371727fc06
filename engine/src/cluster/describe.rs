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
    let columns = table.columns.iter().map(|column| (column, true)).chain(others.columns.iter().map(|column| (column, false)));
    let columns: Vec<_> = columns.filter_map(|(column, took_part)| Some((column.name.as_str(), column.numbers()?, took_part))).collect();
    let of_column = |&(name, cells, took_part): &(&str, &[f64], bool)| {
        let centre = places.iter().map(|place| cells[place.row]).find(|x| x.is_finite()).unwrap_or_default();
        // The last ones are those of rows without a segment.
        let mut moments = vec![Moments::default(); n_segments + 1];
        for place in places {
            let x = cells[place.row] - centre;
            if x.is_finite() {
                let own = &mut moments[place.segment.map_or(n_segments, |segment| segment as usize)];
                *own = Moments { n: own.n + 1, sum: own.sum + x, squares: own.squares + x * x };
            }
        }
        let all =
            moments.iter().fold(Moments::default(), |a, b| Moments { n: a.n + b.n, sum: a.sum + b.sum, squares: a.squares + b.squares });
        let one = |(segment, own): (usize, &Moments)| feature(segment, name, took_part, centre, *own, all);
        moments[..n_segments].iter().enumerate().map(one).collect::<Vec<Feature>>()
    };
    let by_column: Vec<Vec<Feature>> = columns.par_iter().map(of_column).collect();
    let mut features: Vec<Feature> = (0..n_segments).flat_map(|segment| by_column.iter().map(move |of| of[segment].clone())).collect();
    let mut tested: Vec<(f64, usize)> = (0..).zip(&features).filter_map(|(at, feature)| Some((feature.p?, at))).collect();
    tested.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut q: Vec<f64> = tested.iter().map(|(p, _)| *p).collect();
    let ranks: Vec<u64> = q.iter().map(|p| q.partition_point(|other| other <= p) as u64).collect();
    let n_tested = q.len() as u64;
    benjamini_hochberg(&mut q, &ranks, n_tested);
    for ((_, at), q) in tested.into_iter().zip(q) {
        features[at].q = Some(q);
    }
    features
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
