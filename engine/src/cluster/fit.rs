//! One way to part points: a method whose numbers are all given.

use super::assign::{Assign, AssignInput, Centres};
use super::density::{self, NOISE};
use super::descent;
use super::genie::genie;
use super::kmeans;
use super::medoids;
use super::mixture::{Covariance, Mixture};
use super::near;
use super::points::Points;
use super::spanning::{Way, spanning_tree};
use super::tree::Tree;
use crate::backend::Backend;

/// Neighbours beyond those that make a place dense: they bound the ways of the spanning tree, so that fewer points walk it. HDBSCAN of 50,000 x 8
/// took 1.66 CPU-seconds without, 1.51 with 6, 1.58 with 14.
const BEYOND: usize = 6;

/// Rows and columns beyond which every point would be held against nearly every other: `auto` leaves trees of points alone, others take nearly
/// all neighbours.
pub(crate) const TREE_ROWS: usize = 100_000;
pub(crate) const TREE_COLUMNS: usize = 10;

/// Rows beyond which lists of all nearest neighbours take too long as well: of 120,000 x 32 NN-descent found 66 % of them, and took longer than
/// all would.
const LISTED_ROWS: usize = 500_000;

/// A method and its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Recipe {
    KMeans { k: usize },
    Mixture { k: usize, covariance: Covariance },
    Medoids { k: usize },
    Genie { k: usize, min_samples: usize },
    Hdbscan { min_size: usize, min_samples: usize },
    Dbscan { eps: f64, min_samples: usize },
}

/// What every fit is given.
#[derive(Clone, Copy)]
pub(crate) struct Fits<'a> {
    pub(crate) seed: u64,
    /// Seeds tried.
    pub(crate) restarts: u32,
    pub(crate) max_iterations: u32,
    /// Where all points are assigned.
    pub(crate) on: &'a Backend,
    /// The CPU: a sample is small and parted many times, and a device would wait for its calls.
    pub(crate) host: &'a Backend,
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
}

/// What a recipe makes of points.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    /// Segment of every point, [`NOISE`] for none.
    pub(crate) labels: Vec<u32>,
    pub(crate) n_segments: usize,
    /// How much every point belongs to its segment.
    pub(crate) membership: Option<Vec<f64>>,
    /// How far every point stands out.
    pub(crate) outlier: Option<Vec<f64>>,
    /// Centres, of a method that has them.
    pub(crate) centres: Option<Centres>,
    /// The mixture, where it is one.
    pub(crate) mixture: Option<Mixture>,
    pub(crate) iterations: u32,
    pub(crate) converged: bool,
    pub(crate) n_settled: u64,
    /// Share of the neighbours that were found, where not all were looked for.
    pub(crate) recall: Option<f64>,
}

impl Fitted {
    /// Returns what is known of centres alone.
    pub(crate) fn of_centres(centres: Centres) -> Self {
        Self { centres: Some(centres), ..Self::of_labels(Vec::new()) }
    }

    fn of_labels(labels: Vec<u32>) -> Self {
        let n_segments = labels.iter().filter(|label| **label != NOISE).max().map_or(0, |label| *label as usize + 1);
        Self {
            labels,
            n_segments,
            membership: None,
            outlier: None,
            centres: None,
            mixture: None,
            iterations: 0,
            converged: true,
            n_settled: 0,
            recall: None,
        }
    }
}

/// The spanning tree of points.
pub(crate) struct Linked {
    pub(crate) ways: Vec<Way>,
    /// Squared distances of the `min_samples`-th neighbours.
    pub(crate) core: Vec<f64>,
    /// Share of the neighbours that were found, where not all were looked for.
    pub(crate) recall: Option<f64>,
}

/// Returns the spanning tree of points, of nearly the shortest ways where there are many rows and columns and `may_miss`; none where the work
/// was stopped.
pub(crate) fn linked(
    points: &Points,
    tree: &Tree<'_>,
    (min_samples, may_miss): (usize, bool),
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Linked> {
    if may_miss && points.n() > TREE_ROWS && points.d > TREE_COLUMNS {
        let k = min_samples + BEYOND;
        let (near, recall) = match points.n() > LISTED_ROWS {
            true => descent::neighbours(points, tree, k, stop)?,
            false => (near::neighbours(points, tree, k), 1.0),
        };
        let core = near.reach(min_samples, points.n());
        return Some(Linked { ways: descent::spanning_tree(points, &core, &near, stop)?, core, recall: Some(recall) });
    }
    let near = near::neighbours(points, tree, min_samples + BEYOND);
    let core = near.reach(min_samples, points.n());
    Some(Linked { ways: spanning_tree(tree, points, &core, &near, stop)?, core, recall: None })
}

impl Recipe {
    /// Returns the same for a share of the points: as many of them lie as near, and a segment has as many.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
    pub(crate) fn for_share(self, share: f64) -> Self {
        let of = |n: usize, least: usize| ((n as f64 * share + 0.5) as usize).max(least);
        match self {
            Self::Hdbscan { min_size, min_samples } => Self::Hdbscan { min_size: of(min_size, 2), min_samples: of(min_samples, 1) },
            Self::Dbscan { eps, min_samples } => Self::Dbscan { eps, min_samples: of(min_samples, 1) },
            other => other,
        }
    }

    /// Returns the same for another number of segments, of methods that are given one.
    pub(crate) const fn with_k(self, k: usize) -> Self {
        match self {
            Self::KMeans { .. } => Self::KMeans { k },
            Self::Mixture { covariance, .. } => Self::Mixture { k, covariance },
            Self::Medoids { .. } => Self::Medoids { k },
            Self::Genie { min_samples, .. } => Self::Genie { k, min_samples },
            Self::Hdbscan { .. } | Self::Dbscan { .. } => self,
        }
    }

    /// Says whether copies of a point change what it makes of the rest.
    pub(crate) const fn minds_copies(self) -> bool {
        !matches!(self, Self::KMeans { .. } | Self::Mixture { .. } | Self::Medoids { .. })
    }

    /// Parts points; none where the work was stopped. What has to be tried is tried on `sample`, where there is one.
    pub(crate) fn fit(self, points: &Points, sample: Option<&Points>, turn: u32, fits: Fits<'_>) -> Option<Fitted> {
        match self {
            Self::KMeans { k } => {
                let first = sample.unwrap_or(points);
                let start = kmeans::best_of(first, k, fits.restarts, fits.max_iterations, (fits.seed, turn), fits.host, fits.stop)?;
                let fit = match sample {
                    Some(_) => kmeans::lloyd(points, start.centres, fits.max_iterations, fits.on, fits.stop)?,
                    None => start,
                };
                let (iterations, converged, n_settled) = (fit.iterations, fit.converged, fit.n_settled);
                Some(Fitted {
                    n_segments: k,
                    centres: Some(fit.centres),
                    iterations,
                    converged,
                    n_settled,
                    ..Fitted::of_labels(fit.labels)
                })
            }
            Self::Mixture { k, covariance } => {
                let best = mixture(sample.unwrap_or(points), k, covariance, turn, fits)?;
                let best = if sample.is_some() { best.improved(points, fits.max_iterations, fits.stop)? } else { best };
                let (labels, membership) = best.labels(points);
                let (iterations, converged) = (best.iterations, best.converged);
                let membership = Some(membership);
                Some(Fitted { n_segments: k, membership, mixture: Some(best), iterations, converged, ..Fitted::of_labels(labels) })
            }
            Self::Medoids { k } => {
                let most = if sample.is_some() { medoids::MOST } else { medoids::MOST_OF_TURN };
                let (centres, found) =
                    medoids::medoids(points, (k, most), (fits.restarts, fits.max_iterations), (fits.seed, turn), fits.stop)?;
                let on = if sample.is_some() { fits.on } else { fits.host };
                let assigned = on.run(&Assign, AssignInput { points, centres: &centres }).output;
                Some(Fitted {
                    n_segments: centres.k(),
                    centres: Some(centres),
                    iterations: found.n_swaps,
                    converged: found.converged,
                    n_settled: assigned.n_settled,
                    ..Fitted::of_labels(assigned.labels())
                })
            }
            Self::Genie { k, min_samples } => {
                let Linked { ways, recall, .. } = linked(points, &Tree::new(points), (min_samples, true), fits.stop)?;
                Some(Fitted { recall, ..Fitted::of_labels(genie(points.n(), &ways, k)) })
            }
            Self::Hdbscan { min_size, min_samples } => {
                let Linked { ways, recall, .. } = linked(points, &Tree::new(points), (min_samples, true), fits.stop)?;
                let found = density::hdbscan(points.n(), &ways, min_size);
                Some(Fitted { recall, membership: Some(found.membership), outlier: Some(found.outlier), ..Fitted::of_labels(found.labels) })
            }
            Self::Dbscan { eps, min_samples } => {
                let tree = Tree::new(points);
                // A point is among its own neighbours here.
                let Linked { ways, core, .. } = linked(points, &tree, (min_samples.saturating_sub(1), false), fits.stop)?;
                Some(Fitted::of_labels(density::dbscan(&tree, points, &core, &ways, eps)))
            }
        }
    }
}

/// Returns the likeliest of the mixtures from some starts; none where the work was stopped, or every start failed.
pub(crate) fn mixture(points: &Points, k: usize, covariance: Covariance, turn: u32, fits: Fits<'_>) -> Option<Mixture> {
    let mut best: Option<Mixture> = None;
    for restart in 0..fits.restarts.max(1) {
        let seeds = kmeans::seeds(points, k, fits.seed, turn * 1000 + restart);
        let start = kmeans::lloyd(points, seeds, fits.max_iterations, fits.host, fits.stop)?;
        let Some(fit) = Mixture::fit(points, &start.labels, k, covariance, fits.max_iterations, fits.stop) else { continue };
        if best.as_ref().is_none_or(|best| fit.ln_likelihood > best.ln_likelihood) {
            best = Some(fit);
        }
    }
    best
}
