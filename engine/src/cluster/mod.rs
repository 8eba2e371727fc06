//! Segments of rows: by which method, how many there are, and which of them can be trusted.
//!
//! ```text
//! table -> points (scaled) -> sample -> method and number of segments -> one fit of all points
//!       -> stability by drawing the sample anew -> what sets each segment apart -> a few rows that stand for it -> rules
//!
//! kmeans    round segments of like size             k by prediction strength          assign.rs, kmeans.rs
//! mixture   ellipses of any size that overlap       k by BIC                          mixture.rs
//! medoids   as kmeans, round rows: strays pull less k given                           medoids.rs
//! genie     any shape, like sizes                   k given                           genie.rs on spanning.rs
//! hdbscan   any shape and size, noise left out      none needed                       density.rs on spanning.rs
//! dbscan    the same at one density                 none needed                       the same tree, cut at eps
//! ```
//!
//! Shape    n rows x d columns of numbers in; a segment for every row out, or the answer that there are none.
//! Nulls    rows that have all cells make the segments; others are placed among them by the cells that they have, and are counted (partial.rs).
//! Numbers  labels are those of distances in f64 to centres in f64, whatever screened them; sums are whole numbers. So neither threads
//!          nor places change a byte.
//! Honest   a segment whose stability is below 0.6 is refused, below 0.75 doubtful. Columns that made the segments are described; only
//!          others are tested.
//! Memory   8 bytes a cell of the table, 8 a cell of the points, 88 a row; the tree of points 12 a neighbour and row more.
//! Near     beyond 100,000 rows of more than 10 columns `genie` and `hdbscan` link rows along lists of neighbours, beyond 500,000 nearly all of
//!          them, and say how many (descent.rs).
//! Levels   segments may fall into parts, level by level (splits.rs).
//! Kept     a model: what labels rows to come (model.rs).
//! Larger   k-means alone of tables that do not fit (streamed.rs), with the same bytes for tables that do.
//! Text     columns that flag categories (`category_of`): two rows lie gamma apart in each text that differs, half of it where one is missing,
//!          so that every method parts them; centres of k-means have one category each (k-prototypes).

mod assign;
mod batches;
pub mod bench;
mod chance;
mod choose;
mod cut;
mod density;
mod descent;
mod describe;
mod duration;
mod exemplars;
mod fit;
mod genie;
mod kmeans;
mod links;
mod map;
mod medoids;
mod mixture;
mod model;
mod near;
mod order;
mod partial;
mod points;
mod profile;
mod rules;
mod silhouette;
mod spanning;
mod splits;
mod stability;
mod streamed;
mod tree;

use std::io;

pub(crate) use assign::gpu;
pub use describe::Feature;
pub use duration::seconds;
pub use exemplars::{Exemplar, Role};
pub use links::Link;
pub use map::{Axis, Map, MapCell};
pub use mixture::{Component, Covariance};
pub use model::{Model, ModelColumn, ModelSegment, Rule as ModelRule, Scored, Scorer};
pub use points::{Scale, Scaler};
pub use profile::Profile;
pub use rules::{Bound, Rule, Rules};
pub use splits::{Decided, Ended, Finer, MOST_LEVELS, Split};
pub use streamed::{BLOCK_ROWS, DRAWN, Emit, RowBlocks, cluster_rows, streamed_bytes};

use density::NOISE;
use fit::Fits;
use order::{Order, place, places};
use splits::{Counts, Growing};

use crate::backend::{Backend, Cost};
use crate::columns::Table;

/// Stability below which a segment is refused.
pub const REFUSED: f64 = 0.6;

/// Stability below which a segment is doubtful.
pub const DOUBTFUL: f64 = 0.75;

/// Most points of the sample that k, seeds and stability are judged on.
pub const SAMPLE: usize = 20_000;

/// How many segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// As many as asked for.
    Given(usize),
    /// As many as there are, by prediction strength, at most so many.
    Auto(usize),
}

/// How segments are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Whichever parts a sample best.
    Auto,
    /// Points go with the nearest of k centres.
    KMeans,
    /// Points go with the likeliest of k normal distributions.
    Mixture(Covariance),
    /// Points go with the nearest of k rows.
    Medoids,
    /// Points that lie together are joined, sizes kept alike.
    Genie,
    /// Points that lie denser than what is between them.
    Hdbscan,
    /// Points that lie denser than a bound: with so many others, itself among them, within this distance.
    Dbscan(f64),
}

impl Method {
    /// Returns the word of the spec.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::KMeans => "kmeans",
            Self::Mixture(_) => "mixture",
            Self::Medoids => "medoids",
            Self::Genie => "genie",
            Self::Hdbscan => "hdbscan",
            Self::Dbscan(_) => "dbscan",
        }
    }

    /// Says whether the number of segments comes out of the method itself.
    #[must_use]
    pub const fn finds_k(self) -> bool {
        matches!(self, Self::Hdbscan | Self::Dbscan(_))
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterOptions {
    /// How segments are made.
    pub method: Method,
    /// How many segments.
    pub k: Choice,
    /// Fewest points of a segment by density; where absent a hundredth of all, at least 5.
    pub min_size: Option<usize>,
    /// Points that make a place dense; where absent 10, or fewer where `min_size` is less.
    pub min_samples: Option<usize>,
    /// How columns are scaled.
    pub scale: Scale,
    /// For every column that takes part, the text column whose category it flags (1, and 0 where the text is another or missing); none for
    /// numbers, and where the list ends.
    pub category_of: Vec<Option<u32>>,
    /// Squared distance of two categories, in scaled units.
    pub gamma: f64,
    /// Largest share of the columns that a row may lack to be placed by the others, 0 to 1; none where rows are brought to length 1, as a
    /// part of a row has another direction.
    pub most_missing: f64,
    /// Whether the last of the other columns says what every row counts as, in the centres of k-means alone: a weight that is missing or below 0
    /// is 0.
    pub is_weighted: bool,
    /// Seeds tried on the sample.
    pub restarts: u32,
    /// Most iterations of a fit.
    pub max_iterations: u32,
    /// Rows of a batch, 1 to [`BLOCK_ROWS`]: centres of k-means follow the rows in one pass, batch by batch (Sculley 2010). Where absent they are
    /// moved until no row changes its own.
    pub batch_size: Option<usize>,
    /// Turns of the bootstrap behind the stability; 0 for none, and then nothing is split further.
    pub bootstrap: u32,
    /// Levels of segments, at most [`MOST_LEVELS`]; 1 for segments that are not split further.
    pub levels: usize,
    /// Most parts that are looked for in a segment, at most 100.
    pub most_parts: usize,
    /// Level of the tests of columns that took no part.
    pub alpha: f64,
    /// Seed of everything random.
    pub seed: u64,
}

impl ClusterOptions {
    fn most_missing(&self) -> f64 {
        if self.scale == Scale::Unit { 0.0 } else { self.most_missing }
    }
}

/// A number of segments that was looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sweep {
    /// How segments were made.
    pub method: Method,
    /// Segments.
    pub k: usize,
    /// What it was judged by: `prediction_strength` (mean over halvings of the sample, at least 0.8 is needed), `bic` (the least is best),
    /// `dense_places` (at least two are needed), `by_chance` (share of draws without structure that look as dense, at most 0.01),
    /// `normalised_cut` (the least is best).
    pub criterion: &'static str,
    /// What that came to.
    pub value: f64,
    /// Whether it was taken.
    pub chosen: bool,
}

/// Whether a segment can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Comes back in bootstrap samples.
    Stable,
    /// Comes back more often than not.
    Doubtful,
    /// Does not come back.
    Refused,
    /// Not examined.
    Unknown,
}

impl Trust {
    fn of(stability: Option<f64>) -> Self {
        match stability {
            None => Self::Unknown,
            Some(stability) if stability < REFUSED => Self::Refused,
            Some(stability) if stability < DOUBTFUL => Self::Doubtful,
            Some(_) => Self::Stable,
        }
    }

    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Doubtful => "doubtful",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Rows that have all cells: they made it, and all that is said of it is of them.
    pub n: u64,
    /// Rows that lack cells and were placed by those that they have.
    pub n_placed: u64,
    /// Weight of the rows that made it; none where they are not weighted.
    pub weight: Option<f64>,
    /// Mean Jaccard similarity with its like in bootstrap samples; none where it was not examined.
    pub stability: Option<f64>,
    /// Whether it can be trusted.
    pub trust: Trust,
    /// Sum of squared distances of its points from its centre, in scaled units, each times its weight.
    pub inertia: f64,
    /// Mean silhouette of its rows (Rousseeuw 1987), -1 to 1; none where there is no other segment.
    pub silhouette: Option<f64>,
    /// How the silhouettes that this is the mean of are spread.
    pub profile: Option<Profile>,
    /// Its centre, in the units of the columns.
    pub centre: Vec<f64>,
}

/// A row's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The row.
    pub row: usize,
    /// Its segment; none for noise.
    pub segment: Option<u32>,
    /// Where it lies below its segment.
    pub finer: Finer,
    /// Distance from the segment's centre, in scaled units.
    pub distance: Option<f64>,
    /// How much farther the next nearest centre is; none where there is one segment. Less than 0 where a segment reaches round another.
    pub margin: Option<f64>,
    /// How much it belongs to its segment, 0 to 1: probability of the mixture, density of HDBSCAN.
    pub membership: Option<f64>,
    /// How far it stands out from what is around it, 0 to 1 (HDBSCAN).
    pub outlier: Option<f64>,
    /// Cells that it lacks.
    pub n_missing: u32,
}

impl Place {
    /// Returns a place of which no more than the segment is known.
    const fn of(row: usize, segment: Option<u32>) -> Self {
        Self { row, segment, finer: Finer::NONE, distance: None, margin: None, membership: None, outlier: None, n_missing: 0 }
    }
}

/// Segments, or that there are none.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// The segments, largest first; empty where there is no structure to be found.
    pub segments: Vec<Segment>,
    /// How they are joined, the nearest first.
    pub links: Vec<Link>,
    /// Every row, in order; empty where there are no segments, and where they were given out block by block.
    pub places: Vec<Place>,
    /// Segments of all levels, each before its parts; empty where one level was asked for.
    pub splits: Vec<Split>,
    /// What sets segments apart, segment by segment.
    pub features: Vec<Feature>,
    /// Rows that stand for segments, segment by segment.
    pub exemplars: Vec<Exemplar>,
    /// Mean silhouette of the rows of segments; none where there are fewer than two.
    pub silhouette: Option<f64>,
    /// Segments in words: a shallow tree.
    pub rules: Rules,
    /// How segments were made.
    pub method: Method,
    /// The numbers of segments that were looked at; empty where k was given.
    pub sweep: Vec<Sweep>,
    /// Scaler of every column.
    pub scalers: Vec<Scaler>,
    /// All rows in two dimensions.
    pub map: Map,
    /// What labels rows to come.
    pub model: Model,
    /// Rows in all, and those that lack a cell.
    pub n_rows: u64,
    /// Rows that lack a cell.
    pub n_incomplete: u64,
    /// Points of the sample.
    pub n_sample: u64,
    /// Rows that were looked at side by side: for exemplars, rules, silhouettes and the map.
    pub n_drawn: u64,
    /// Rows that are in no segment: noise.
    pub n_noise: u64,
    /// Sum of squared distances of the rows of segments from their centres.
    pub inertia: f64,
    /// Iterations of the last fit, and whether it ended by itself.
    pub iterations: u32,
    /// Whether no point moved any more.
    pub converged: bool,
    /// Labels that were settled in f64.
    pub n_settled: u64,
    /// Share of the rows' nearest neighbours that were found, where they were not looked for among all rows; none where all were.
    pub recall: Option<f64>,
}

impl Clustering {
    /// Counts rows that lack cells and were placed.
    fn count_placed(&mut self, partial: &[Place]) {
        for segment in partial.iter().filter_map(|place| place.segment) {
            self.segments[segment as usize].n_placed += 1;
        }
    }

    /// Returns that nothing was found yet.
    fn of_nothing(options: &ClusterOptions, n_rows: usize, n_complete: usize) -> Self {
        Self {
            segments: Vec::new(),
            links: Vec::new(),
            places: Vec::new(),
            splits: Vec::new(),
            features: Vec::new(),
            exemplars: Vec::new(),
            silhouette: None,
            rules: Rules::default(),
            method: options.method,
            sweep: Vec::new(),
            scalers: Vec::new(),
            map: Map::default(),
            model: Model::without_segments(Vec::new(), options, (n_complete, n_rows)),
            n_rows: n_rows as u64,
            n_incomplete: (n_rows - n_complete) as u64,
            n_sample: 0,
            n_drawn: n_complete as u64,
            n_noise: 0,
            inertia: 0.0,
            iterations: 0,
            converged: true,
            n_settled: 0,
            recall: None,
        }
    }
}

/// Returns the cost of what a device can do: the last fit's assignments.
#[must_use]
pub fn device_cost(n_rows: usize, n_columns: usize, options: &ClusterOptions) -> Cost {
    let (Choice::Given(k) | Choice::Auto(k)) = options.k;
    // Few fits take more than 30 iterations.
    // Of batches all rows go there once, for their labels.
    let n_passes = if options.batch_size.is_some() { 1 } else { options.max_iterations.min(30) };
    let iterations = f64::from(n_passes);
    #[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
    let flops = 2.0 * n_rows as f64 * k as f64 * n_columns as f64 * iterations;
    let bytes = |each: usize| (each * n_rows) as u64 * u64::from(n_passes);
    Cost { bytes_up: bytes(4 * n_columns), bytes_down: bytes(12), ..assign::cost_of_scores(flops) }
}

/// Clusters the rows of a table of numbers; `others` are columns of the same rows that take no part and are tested. None where the work was
/// stopped, or no row has all cells.
#[must_use]
pub fn cluster(
    table: &Table,
    others: &Table,
    options: &ClusterOptions,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Clustering> {
    let mut places = Vec::new();
    let mut keep = |_: usize, _: usize, of_block: Vec<Place>| {
        places.extend(of_block);
        Ok(())
    };
    let found = cluster_table(table, others, options, on, stop, &mut keep).expect("a table in memory can be read")?;
    Some(Clustering { places, ..found })
}

/// The same, with places given to `emit` in the order of the rows; [`Clustering::places`] stays empty.
///
/// # Errors
/// When `emit` refuses a block.
pub fn cluster_table(
    table: &Table,
    others: &Table,
    options: &ClusterOptions,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
    emit: Emit<'_>,
) -> io::Result<Option<Clustering>> {
    if options.method == Method::KMeans {
        let held = streamed::Held { table, others };
        return streamed::kmeans(&held, Some(&held), options, on, stop, emit);
    }
    let Some(mut found) = whole(table, others, options, on, stop) else { return Ok(None) };
    emit(0, table.n_rows, std::mem::take(&mut found.places))?;
    Ok(Some(found))
}

/// Clusters all rows at once.
fn whole(table: &Table, others: &Table, options: &ClusterOptions, on: &Backend, stop: &(dyn Fn() -> bool + Sync)) -> Option<Clustering> {
    let scaled = points::scaled(table, options.scale, (&options.category_of, options.gamma))?;
    let points = &scaled.points;
    let host = on.pinned(crate::backend::Place::Cpu);
    let fits = Fits { seed: options.seed, restarts: options.restarts, max_iterations: options.max_iterations, on, host: &host, stop };
    let rows = stability::sample(points.n(), SAMPLE, options.seed);
    let sample = points.some(&rows);
    let mut found = Clustering::of_nothing(options, table.n_rows, scaled.rows.len());
    found.scalers.clone_from(&scaled.scalers);
    found.n_sample = sample.n() as u64;
    let of_rows = (scaled.rows.len(), table.n_rows);
    found.model = Model::without_segments(model::columns(table, &scaled, options.seed), options, of_rows);
    let Some(recipe) = choose::recipe(&sample, points.n(), options, &mut found, fits)? else {
        found.map = map::map(points, &[], options.seed);
        return Some(found);
    };
    let fitted = recipe.fit(points, Some(&sample), 0, fits)?;
    (found.iterations, found.converged, found.n_settled) = (fitted.iterations, fitted.converged, fitted.n_settled);
    found.recall = fitted.recall;
    let of_sample: Vec<u32> = rows.iter().map(|&row| fitted.labels[row]).collect();
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    let share = sample.n() as f64 / points.n() as f64;
    let stability = match options.bootstrap {
        0 => None,
        turns => Some(stability::stability(&sample, &of_sample, fitted.n_segments, (recipe, share), turns, fits)?),
    };
    let order = Order::of(&fitted);
    let centres = order.centres(points, &fitted);
    found.places = places(points, &scaled.rows, &fitted, &order, &centres);
    found.n_noise = fitted.labels.iter().filter(|label| **label == NOISE).count() as u64;
    let mut inertia = vec![0.0; order.segments.len()];
    for place in &found.places {
        if let (Some(segment), Some(distance)) = (place.segment, place.distance) {
            inertia[segment as usize] += distance * distance;
        }
    }
    found.inertia = inertia.iter().sum();
    found.map = map::map(points, &found.places, options.seed);
    let silhouettes = silhouette::silhouettes(points, &found.places, order.segments.len(), options.seed);
    found.silhouette = silhouettes.of_all;
    found.segments = order.told(&centres, &found.scalers, (&inertia, stability.as_deref()), silhouettes);
    if options.levels > 1 {
        let growing = Growing { points, like: recipe, options, fits };
        let of_segments: Vec<Option<f64>> = found.segments.iter().map(|segment| segment.stability).collect();
        let of_rows: Vec<Option<u32>> = found.places.iter().map(|place| place.segment).collect();
        let (splits, finer) = growing.grow(&of_segments, &of_rows)?;
        found.places.iter_mut().zip(finer).for_each(|(place, finer)| place.finer = finer);
        let mut counts = Counts::default();
        counts.absorb(&found.places);
        found.splits = splits.told(&counts);
    }
    found.links = links::links(&found.segments, &centres);
    let of_segments = (&found.segments[..], &centres);
    found.model = found.model.with_segments(points, &fitted, &order, of_segments, (found.method, options.seed, &host));
    found.features = describe::features(table, others, &found.places, found.segments.len());
    found.exemplars = exemplars::exemplars(points, &found.places, found.segments.len(), options.seed);
    found.rules = rules::rules(table, (&found.scalers, points.is_unit), &found.places, &found.segments, options.seed);
    let partial = Scorer::new(&found.model).partial(table);
    found.count_placed(&partial);
    found.places = partial::merged(std::mem::take(&mut found.places), partial);
    Some(found)
}

#[cfg(test)]
mod tests;
