//! Which method, and how many segments, where they are not given.
//!
//! ```text
//! kmeans, mixture   k: the largest prediction strength of 0.8 or more, the least BIC; none where draws without structure look as structured:
//!        a long normal cloud is cut in two the same way again and again
//! auto   k: the dense places of HDBSCAN that hold a thirtieth, fiftieth or hundredth of the sample, whichever leaves the largest excess
//!        no structure: of 100 draws without any more than one look as structured (chance.rs)
//!        method: Genie or a mixture, whichever leaves the smaller normalised cut; with many rows and columns k-means or a mixture
//! ```
//!
//! On the 37 labelled sets of real shapes that have anchors (Gagolewski's suite, `engine/tests/battery.rs`) the mean adjusted Rand index is
//! 0.757, of HDBSCAN's best of five settings 0.723; with plain distances for Genie it was 0.746, with the thirtieth as the only share 0.723.

use super::fit::{Fits, Recipe, TREE_COLUMNS, TREE_ROWS, mixture};
use super::points::Points;
use super::{Choice, ClusterOptions, Clustering, Covariance, Method, Sweep, chance, cut, density, fit, near, stability, tree};

/// Points that make a place dense, where nobody says how many.
const MIN_SAMPLES: usize = 10;

/// Share of all points that a segment by density holds at least.
const MIN_SHARE: usize = 100;

/// Fewest points of a segment by density.
const MIN_SIZE: usize = 5;

/// Shares of the sample that a dense place holds at least where places are counted; the first where they are held against chance.
const COUNTED_SHARES: [usize; 3] = [30, 50, 100];

/// Share of draws without structure that may look as structured.
const BY_CHANCE: f64 = 0.01;

/// Neighbours that make a place dense for the linkage that is chosen by itself: reach evens out stray points that plain distances chain along.
const LINKED_SAMPLES: usize = 3;

/// Returns what is to be done with all points, of which there are `n`, or that there are no segments, and puts down what was looked at; none
/// where the work was stopped.
pub(super) fn recipe(
    sample: &Points,
    n: usize,
    options: &ClusterOptions,
    found: &mut Clustering,
    fits: Fits<'_>,
) -> Option<Option<Recipe>> {
    let min_size = options.min_size.unwrap_or((n / MIN_SHARE).max(MIN_SIZE));
    let min_samples = options.min_samples.unwrap_or(MIN_SAMPLES.min(min_size));
    let k = match (options.method, options.k) {
        (Method::Auto, _) => return automatic(sample, n, options, found, fits),
        (Method::Hdbscan, _) => return Some(Some(Recipe::Hdbscan { min_size, min_samples })),
        (Method::Dbscan(eps), _) => return Some(Some(Recipe::Dbscan { eps, min_samples })),
        (_, Choice::Given(k)) => Some(k),
        (method, Choice::Auto(most)) => by_criterion(sample, most, method, &mut found.sweep, fits)?,
    };
    let of = |k: usize| match options.method {
        Method::Mixture(covariance) => Recipe::Mixture { k, covariance },
        Method::Medoids => Recipe::Medoids { k },
        Method::Genie => Recipe::Genie { k, min_samples: options.min_samples.unwrap_or(0) },
        _ => Recipe::KMeans { k },
    };
    Some(k.map(|k| of(k.min(n))))
}

/// Returns how the points of a segment are to be parted, whose sample is given, by the method that made it: as many parts as there are,
/// however many segments were asked for; of HDBSCAN, parts of at least so many points. None within where there are no parts.
pub(super) fn recipe_within(
    sample: &Points,
    (like, least): (Recipe, usize),
    options: &ClusterOptions,
    sweep: &mut Vec<Sweep>,
    fits: Fits<'_>,
) -> Option<Option<Recipe>> {
    let most = options.most_parts;
    let method = match like {
        Recipe::Hdbscan { min_samples, .. } => return Some(Some(Recipe::Hdbscan { min_size: least, min_samples })),
        Recipe::Dbscan { .. } => return Some(Some(like)),
        Recipe::Mixture { covariance, .. } => Method::Mixture(covariance),
        Recipe::Medoids { .. } => Method::Medoids,
        Recipe::Genie { .. } => Method::Genie,
        Recipe::KMeans { .. } => Method::KMeans,
    };
    let k = match (options.method, method) {
        (Method::Auto, _) | (_, Method::Genie) => counted(sample, most, sweep, fits)?,
        _ => by_criterion(sample, most, method, sweep, fits)?,
    };
    Some(k.map(|k| like.with_k(k)))
}

/// Returns the number of segments by the criterion of a method; none within where there are none.
fn by_criterion(sample: &Points, most: usize, method: Method, sweep: &mut Vec<Sweep>, fits: Fits<'_>) -> Option<Option<usize>> {
    let k = match method {
        Method::Mixture(covariance) => by_bic(sample, most, covariance, sweep, fits)?,
        _ => by_prediction_strength(sample, most, method, sweep, fits)?,
    };
    let Some(k) = k else { return Some(None) };
    Some(is_structured(sample, method, k, sweep, fits)?.then_some(k))
}

/// Returns the number of dense places; none within where there are fewer than two, or by chance as many.
fn counted(sample: &Points, most: usize, sweep: &mut Vec<Sweep>, fits: Fits<'_>) -> Option<Option<usize>> {
    let k = dense_places(sample, fits)?.min(most);
    sweep.push(Sweep { method: Method::Hdbscan, k, criterion: "dense_places", value: k as f64, chosen: k >= 2 });
    let is_one = k < 2 || !is_structured(sample, Method::Hdbscan, k, sweep, fits)?;
    Some((!is_one).then_some(k))
}

/// Chooses among methods.
fn automatic(sample: &Points, n: usize, options: &ClusterOptions, found: &mut Clustering, fits: Fits<'_>) -> Option<Option<Recipe>> {
    let k = match options.k {
        Choice::Given(k) => k.min(n),
        Choice::Auto(most) => {
            let Some(k) = counted(sample, most, &mut found.sweep, fits)? else { return Some(None) };
            k
        }
    };
    let mixture = (Method::Mixture(Covariance::Full), Recipe::Mixture { k, covariance: Covariance::Full });
    let other = if is_for_centres(n, sample.d) {
        (Method::KMeans, Recipe::KMeans { k })
    } else {
        (Method::Genie, Recipe::Genie { k, min_samples: LINKED_SAMPLES })
    };
    let fits = Fits { restarts: fits.restarts.min(stability::RESTARTS), ..fits };
    let near = near::neighbours(sample, &tree::Tree::new(sample), cut::NEIGHBOURS);
    let mut best: Option<(f64, Recipe)> = None;
    let first = found.sweep.len();
    for (method, recipe) in [other, mixture] {
        // A mixture may fail where points are few, or all alike.
        let Some(fitted) = recipe.fit(sample, None, 0, fits) else { continue };
        let value = cut::normalised_cut(&near, &fitted.labels, fitted.n_segments);
        found.sweep.push(Sweep { method, k, criterion: "normalised_cut", value, chosen: false });
        if best.is_none_or(|best| value < best.0) {
            best = Some((value, recipe));
            found.method = method;
        }
    }
    if (fits.stop)() {
        return None;
    }
    let method = found.method;
    for sweep in &mut found.sweep[first..] {
        sweep.chosen = sweep.method == method;
    }
    Some(best.map(|(_, recipe)| recipe))
}

/// Says whether trees of points are left alone.
pub(super) const fn is_for_centres(n: usize, d: usize) -> bool {
    n > TREE_ROWS && d > TREE_COLUMNS
}

/// Says whether hardly any draw without structure looks as structured; else no number of segments is taken. None where the work was stopped.
pub(super) fn is_structured(sample: &Points, method: Method, k: usize, sweep: &mut Vec<Sweep>, fits: Fits<'_>) -> Option<bool> {
    let by_chance = chance::as_dense_by_chance(sample, COUNTED_SHARES[0], MIN_SIZE, MIN_SAMPLES, fits)?;
    let chosen = by_chance <= BY_CHANCE;
    if !chosen {
        for looked_at in sweep.iter_mut() {
            looked_at.chosen = false;
        }
    }
    sweep.push(Sweep { method, k, criterion: "by_chance", value: by_chance, chosen });
    Some(chosen)
}

/// Returns how many dense places the sample has, at the share that leaves the largest excess of mass; none where the work was stopped.
fn dense_places(sample: &Points, fits: Fits<'_>) -> Option<usize> {
    let tree = tree::Tree::new(sample);
    let mut best = (-1.0, 0);
    let ways = fit::linked(sample, &tree, (MIN_SAMPLES, false), fits.stop)?.ways;
    for share in COUNTED_SHARES {
        let min_size = (sample.n() / share).max(MIN_SIZE);
        let found = density::hdbscan(sample.n(), &ways, min_size);
        let k = found.labels.iter().filter(|label| **label != density::NOISE).max().map_or(0, |label| *label as usize + 1);
        if found.excess > best.0 {
            best = (found.excess, k);
        }
    }
    Some(best.1)
}

/// Returns the largest number of segments that other points are parted into alike; a half needs some points for each to say anything.
fn by_prediction_strength(sample: &Points, most: usize, method: Method, sweep: &mut Vec<Sweep>, fits: Fits<'_>) -> Option<Option<usize>> {
    for k in 2..=most.min(sample.n() / 20) {
        let value = stability::prediction_strength(sample, k, fits)?;
        sweep.push(Sweep { method, k, criterion: "prediction_strength", value, chosen: false });
    }
    let best = sweep.iter_mut().rev().find(|sweep| sweep.value >= stability::STRONG);
    Some(best.map(|best| {
        best.chosen = true;
        best.k
    }))
}

/// Returns the number of components with the least BIC; one component is no structure.
fn by_bic(sample: &Points, most: usize, covariance: Covariance, sweep: &mut Vec<Sweep>, fits: Fits<'_>) -> Option<Option<usize>> {
    let fits = Fits { restarts: fits.restarts.min(stability::RESTARTS), ..fits };
    for k in 1..=most.min(sample.n() / 20).max(1) {
        if (fits.stop)() {
            return None;
        }
        // A start may fail where points are few.
        let Some(fit) = mixture(sample, k, covariance, 0, fits) else { continue };
        sweep.push(Sweep { method: Method::Mixture(covariance), k, criterion: "bic", value: fit.bic(sample), chosen: false });
    }
    let best = sweep.iter_mut().min_by(|a, b| a.value.total_cmp(&b.value)).filter(|best| best.k > 1);
    Some(best.map(|best| {
        best.chosen = true;
        best.k
    }))
}
