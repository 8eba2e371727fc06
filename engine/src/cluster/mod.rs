//! Segments of rows: k-means, how many there are, and which of them can be trusted.
//!
//! ```text
//! table -> points (scaled) -> sample -> k by prediction strength -> seeds tried on the sample -> Lloyd on all points
//!       -> stability by bootstrap of the sample -> what sets each segment apart
//! ```
//!
//! Shape    n rows x d columns of numbers in; a segment for every row out, or the answer that there are none.
//! Nulls    a row takes part when all of its cells are present; others get no segment, and are counted.
//! Numbers  labels are those of distances in f64 to centres in f64, whatever screened them; sums are whole numbers. So neither threads
//!          nor places change a byte.
//! Honest   a segment whose stability is below 0.6 is refused, below 0.75 doubtful. Columns that made the segments are described; only
//!          others are tested.
//! Memory   8 bytes a cell of the table, 8 a cell of the points, 48 a row.
//! Absent   densities, mixtures, medoids, categories, tables larger than memory.

mod assign;
mod describe;
mod kmeans;
mod points;
mod stability;

use rayon::prelude::*;

use assign::Centres;
pub(crate) use assign::gpu;
pub use describe::Feature;
pub use points::{Scale, Scaler};
use stability::Fits;

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

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterOptions {
    /// How many segments.
    pub k: Choice,
    /// How columns are scaled.
    pub scale: Scale,
    /// Seeds tried on the sample.
    pub restarts: u32,
    /// Most iterations of a fit.
    pub max_iterations: u32,
    /// Turns of the bootstrap behind the stability; 0 for none.
    pub bootstrap: u32,
    /// Level of the tests of columns that took no part.
    pub alpha: f64,
    /// Seed of everything random.
    pub seed: u64,
}

/// A number of segments that was looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sweep {
    /// Segments.
    pub k: usize,
    /// Mean prediction strength over halvings of the sample.
    pub prediction_strength: f64,
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
    /// Rows.
    pub n: u64,
    /// Mean Jaccard similarity with its like in bootstrap samples; none where it was not examined.
    pub stability: Option<f64>,
    /// Whether it can be trusted.
    pub trust: Trust,
    /// Sum of squared distances of its points from its centre, in scaled units.
    pub inertia: f64,
    /// Its centre, in the units of the columns.
    pub centre: Vec<f64>,
}

/// A row's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The row.
    pub row: usize,
    /// Its segment.
    pub segment: u32,
    /// Distance from the segment's centre, in scaled units.
    pub distance: f64,
    /// How much farther the next nearest centre is; none where there is one segment.
    pub margin: Option<f64>,
}

/// Segments, or that there are none.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// The segments, largest first; empty where there is no structure to be found.
    pub segments: Vec<Segment>,
    /// Every row that has all cells, in order; empty where there are no segments.
    pub places: Vec<Place>,
    /// What sets segments apart, segment by segment.
    pub features: Vec<Feature>,
    /// The numbers of segments that were looked at; empty where k was given.
    pub sweep: Vec<Sweep>,
    /// Scaler of every column.
    pub scalers: Vec<Scaler>,
    /// Rows in all, and those that lack a cell.
    pub n_rows: u64,
    /// Rows that lack a cell.
    pub n_incomplete: u64,
    /// Points of the sample.
    pub n_sample: u64,
    /// Sum of squared distances from the nearest centre.
    pub inertia: f64,
    /// Iterations of the last fit, and whether it ended by itself.
    pub iterations: u32,
    /// Whether no point moved any more.
    pub converged: bool,
    /// Labels that were settled in f64.
    pub n_settled: u64,
}

/// Returns the cost of what a device can do: the last fit's assignments.
#[must_use]
pub fn device_cost(n_rows: usize, n_columns: usize, options: &ClusterOptions) -> Cost {
    let (Choice::Given(k) | Choice::Auto(k)) = options.k;
    // Few fits take more than 30 iterations.
    let iterations = f64::from(options.max_iterations.min(30));
    #[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
    let flops = 2.0 * n_rows as f64 * k as f64 * n_columns as f64 * iterations;
    let bytes = |each: usize| (each * n_rows) as u64 * u64::from(options.max_iterations.min(30));
    Cost { flops, cpu_flops: flops, bytes_up: bytes(4 * n_columns), bytes_down: bytes(12) }
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
    let scaled = points::scaled(table, options.scale)?;
    let points = &scaled.points;
    // The sample is small and clustered many times: a device would wait for its calls.
    let host = on.pinned(crate::backend::Place::Cpu);
    let fits = Fits { seed: options.seed, max_iterations: options.max_iterations, on: &host, stop };
    let rows = stability::sample(points.n(), SAMPLE, options.seed);
    let sample = points.some(&rows);
    let mut found = Clustering {
        segments: Vec::new(),
        places: Vec::new(),
        features: Vec::new(),
        sweep: Vec::new(),
        scalers: scaled.scalers,
        n_rows: table.n_rows as u64,
        n_incomplete: (table.n_rows - scaled.rows.len()) as u64,
        n_sample: sample.n() as u64,
        inertia: 0.0,
        iterations: 0,
        converged: true,
        n_settled: 0,
    };
    let k = match options.k {
        Choice::Given(k) => Some(k),
        Choice::Auto(most) => {
            // A half needs some points for each cluster to say anything.
            for k in 2..=most.min(sample.n() / 20) {
                found.sweep.push(Sweep { k, prediction_strength: stability::prediction_strength(&sample, k, fits)? });
            }
            found.sweep.iter().rev().find(|sweep| sweep.prediction_strength >= stability::STRONG).map(|sweep| sweep.k)
        }
    };
    let Some(k) = k.map(|k| k.min(points.n())) else { return Some(found) };
    let start = kmeans::best_of(&sample, k, options.restarts, options.max_iterations, (options.seed, 0), &host, stop)?;
    let fit = kmeans::lloyd(points, start.centres, options.max_iterations, on, stop)?;
    let of_sample: Vec<u32> = rows.iter().map(|&row| fit.labels[row]).collect();
    let stability = match options.bootstrap {
        0 => None,
        turns => Some(stability::stability(&sample, &of_sample, k, turns, fits)?),
    };
    (found.inertia, found.iterations, found.converged, found.n_settled) = (fit.inertia, fit.iterations, fit.converged, fit.n_settled);

    // Largest first; of equal size, by their first row.
    let mut counts = vec![(0_u64, usize::MAX); k];
    for (at, &label) in fit.labels.iter().enumerate() {
        let count = &mut counts[label as usize];
        *count = (count.0 + 1, count.1.min(at));
    }
    let mut order: Vec<usize> = (0..k).filter(|&at| counts[at].0 > 0).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(counts[at].0), counts[at].1));
    let mut place_of = vec![0_u32; k];
    (0..).zip(&order).for_each(|(place, &at)| place_of[at] = place);
    let centres = Centres::new(order.iter().flat_map(|&at| fit.centres.centre(at)).copied().collect(), points.d);
    let place = |room: &mut Vec<f64>, (at, &row): (usize, &usize)| {
        centres.distances(points.point(at), room);
        place_in(room, row, place_of[fit.labels[at] as usize])
    };
    found.places = scaled.rows.par_iter().enumerate().map_init(Vec::new, place).collect();
    let mut inertia = vec![0.0; order.len()];
    for place in &found.places {
        inertia[place.segment as usize] += place.distance * place.distance;
    }
    let segment = |(at, inertia): (&usize, f64)| {
        let stability = stability.as_ref().map(|stability| stability[*at]);
        let centre = fit.centres.centre(*at).iter().zip(&found.scalers).map(|(c, scaler)| scaler.centre + c * scaler.unit).collect();
        Segment { n: counts[*at].0, stability, trust: Trust::of(stability), inertia, centre }
    };
    found.segments = order.iter().zip(inertia).map(segment).collect();
    found.features = describe::features(table, others, &found.places, found.segments.len());
    Some(found)
}

/// Returns a row's distance from its own centre and how much farther the next one is, given its squared distances.
fn place_in(squares: &[f64], row: usize, segment: u32) -> Place {
    let distance = libm::sqrt(squares[segment as usize]);
    let others = (0..).zip(squares).filter(|(at, _)| *at != segment);
    let next = others.map(|(_, square)| *square).reduce(f64::min).map(libm::sqrt);
    Place { row, segment, distance, margin: next.map(|next| next - distance) }
}

#[cfg(test)]
mod tests;
