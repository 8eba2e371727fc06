//! How long a clustering takes, told before it is begun: CPU-seconds of its parts, added up, as a range.
//!
//! ```text
//! described   cells read and told, distances of silhouettes
//! k-means     seeds: k tries n d    an iteration: n (own + k d)
//! mixture     k-means, and an iteration: n k (own + d^2)
//! medoids     n^2 (d + rounds), of at most as many rows as are held
//! trees       n (d + 1.5) (n / 1000)^a      a: from 0.15 in few columns to 1, where every point meets every other
//! ```
//!
//! Range    iterations are not known: the low end takes those of segments far apart, the high end those of rows that hardly have any. Rows that
//!          have none may end the work before anything is fitted, sooner than said; where k is asked for all the same, later.
//! Source   constants were fitted to the CPU-seconds of 74 runs on two threads with AVX2: 2,000 to 1,000,000 rows in 3 to 30 columns, blobs far
//!          apart, blobs near, one cloud. Halved, as two idle threads take it, 68 of them lie in their range. Another machine is faster or slower
//!          by what its cores are.
//! Absent   devices: they take over a part of one fit only.

use super::{Choice, ClusterOptions, Method, SAMPLE, chance, choose, medoids, stability};

/// Seconds of one cell, from file to tables.
const CELL: f64 = 100e-9;
/// Of a term of a silhouette, and how many of them there are at most.
const SILHOUETTE: f64 = 0.2e-9;
const SILHOUETTE_TERMS: f64 = 3.2e9;
/// Of a point, a try of a seed and a column.
const SEED: f64 = 1e-9;
/// Of a point in an iteration of k-means, and of each of its centres and columns.
const LLOYD: [f64; 2] = [15e-9, 0.1e-9];
/// Of a point and a component in an iteration of a mixture, and of each pair of columns.
const MIXTURE: [f64; 2] = [50e-9, 0.5e-9];
/// Of a pair of rows of medoids, and of each column.
const MEDOIDS: [f64; 2] = [39e-9, 1e-9];
/// Of a point of a tree of a thousand, and a column: what a column and a half cost goes with the point.
const TREE: f64 = 0.6e-6;
/// Seconds to begin and to end.
const START: f64 = 0.03;

/// Share of the work that one thread does while others wait.
const ALONE: f64 = 0.1;

/// What the parts may be off by, either way.
const OFF: f64 = 1.4;

/// Most that the ends of a range are apart, as a factor.
const WIDEST: f64 = 4.0;

/// Segments where nobody says how many.
const LIKELY_K: usize = 6;

/// How a fit may go: iterations of k-means and of a mixture, and what a tree takes against the middle.
#[derive(Clone, Copy)]
struct Course {
    lloyd: f64,
    mixture: f64,
    tree: f64,
}

const FAR_APART: Course = Course { lloyd: 4.0, mixture: 2.0, tree: 0.7 };
const HARDLY: Course = Course { lloyd: 60.0, mixture: 10.0, tree: 1.4 };

/// Returns the least and the most seconds that a clustering of rows is likely to take on so many threads; `n_used` of `n_columns` columns take
/// part.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub fn seconds(n_rows: u64, (n_used, n_columns): (usize, usize), options: &ClusterOptions, n_threads: usize) -> [f64; 2] {
    let work = Work { n: n_rows as f64, s: n_rows.min(SAMPLE as u64) as f64, d: n_used.max(1) as f64, options };
    let cpu = |course: Course| {
        let most = f64::from(options.max_iterations);
        let course = Course { lloyd: course.lloyd.min(most), mixture: course.mixture.min(most), ..course };
        START + work.described(n_columns) + work.chosen(course) + work.fitted(course) + work.repeated(course)
    };
    let wall = |seconds: f64| seconds * (ALONE + (1.0 - ALONE) / n_threads.max(1) as f64);
    let (low, high) = (wall(cpu(FAR_APART)) / OFF, wall(cpu(HARDLY)) * OFF);
    let (middle, most) = (libm::sqrt(low * high), libm::sqrt(WIDEST));
    [low.max(middle / most), high.min(middle * most)]
}

/// Rows, those of the sample, columns that take part, and what is asked for.
struct Work<'a> {
    n: f64,
    s: f64,
    d: f64,
    options: &'a ClusterOptions,
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
impl Work<'_> {
    fn k(&self) -> f64 {
        match self.options.k {
            Choice::Given(k) => k as f64,
            Choice::Auto(most) => most.min(LIKELY_K) as f64,
        }
    }

    /// Reads all rows, and tells of segments.
    fn described(&self, n_columns: usize) -> f64 {
        CELL * self.n * n_columns as f64 + SILHOUETTE * (self.s * self.s * self.d).min(SILHOUETTE_TERMS)
    }

    /// Looks for a method, and for a number of segments.
    fn chosen(&self, course: Course) -> f64 {
        let Choice::Auto(most) = self.options.k else {
            return if self.options.method == Method::Auto { self.held_up(course) } else { 0.0 };
        };
        let ks = 2..=most.min((self.s / 20.0) as usize);
        match self.options.method {
            Method::KMeans => {
                let fits = f64::from(2 * stability::HALVINGS * stability::RESTARTS);
                fits * ks.map(|k| self.kmeans(self.s / 2.0, k as f64, course)).sum::<f64>() + self.by_chance(course)
            }
            Method::Mixture(_) => {
                let fits = f64::from(self.options.restarts.min(stability::RESTARTS));
                fits * ks.map(|k| self.mixture(self.s, k as f64, course)).sum::<f64>() + self.by_chance(course)
            }
            Method::Auto => self.tree(self.s, course) + self.by_chance(course) + self.held_up(course),
            _ => 0.0,
        }
    }

    /// Parts the sample by the two methods that are held against one another.
    fn held_up(&self, course: Course) -> f64 {
        let fits = f64::from(self.options.restarts.min(stability::RESTARTS));
        self.tree(self.s, course) + fits * self.mixture(self.s, self.k(), course)
    }

    /// Makes draws without structure.
    fn by_chance(&self, course: Course) -> f64 {
        f64::from(2 * chance::DRAWS) * self.tree(self.s.min(chance::COMPARED as f64), course)
    }

    /// Parts all points, once.
    fn fitted(&self, course: Course) -> f64 {
        let restarts = f64::from(self.options.restarts);
        match self.options.method {
            Method::KMeans => {
                let passes = if self.options.batch_size.is_some() { Course { lloyd: 2.0, ..course } } else { course };
                restarts * self.kmeans(self.s, self.k(), course) + self.lloyd(self.n, self.k(), passes)
            }
            Method::Mixture(_) => {
                // From where the sample was left it is not far.
                let near = Course { mixture: course.mixture.min(FAR_APART.mixture), ..course };
                restarts * self.mixture(self.s, self.k(), course) + self.expected(self.n, self.k(), near)
            }
            Method::Medoids => self.medoids(medoids::MOST),
            Method::Auto if choose::is_for_centres(self.n as usize, self.d as usize) => {
                restarts * self.kmeans(self.s, self.k(), course) + self.lloyd(self.n, self.k(), course)
            }
            _ => self.tree(self.n, course),
        }
    }

    /// Draws the sample anew, again and again.
    fn repeated(&self, course: Course) -> f64 {
        let (turns, restarts) = (f64::from(self.options.bootstrap), f64::from(stability::RESTARTS));
        turns
            * match self.options.method {
                Method::KMeans => restarts * self.kmeans(self.s, self.k(), course),
                Method::Mixture(_) => restarts * self.mixture(self.s, self.k(), course),
                Method::Medoids => self.medoids(medoids::MOST_OF_TURN),
                Method::Auto if choose::is_for_centres(self.n as usize, self.d as usize) => {
                    restarts * self.kmeans(self.s, self.k(), course)
                }
                _ => self.tree(self.s / 2.0, course),
            }
    }

    /// A fit from seeds.
    fn kmeans(&self, n: f64, k: f64, course: Course) -> f64 {
        SEED * k * (2.0 + libm::log(k)) * n * (self.d + 2.0) + self.lloyd(n, k, course)
    }

    fn lloyd(&self, n: f64, k: f64, course: Course) -> f64 {
        course.lloyd * n * (LLOYD[0] + LLOYD[1] * k * self.d)
    }

    /// A fit from seeds by way of k-means.
    fn mixture(&self, n: f64, k: f64, course: Course) -> f64 {
        self.kmeans(n, k, course) + self.expected(n, k, course)
    }

    fn expected(&self, n: f64, k: f64, course: Course) -> f64 {
        course.mixture * n * k * (MIXTURE[0] + MIXTURE[1] * self.d * self.d)
    }

    fn medoids(&self, most: usize) -> f64 {
        let m = self.n.min((most as f64).max(self.k()));
        m * m * (MEDOIDS[0] + MEDOIDS[1] * self.d)
    }

    /// A spanning tree.
    fn tree(&self, n: f64, course: Course) -> f64 {
        let power = (0.08 * self.d - 0.06).clamp(0.15, 1.0);
        course.tree * TREE * n * (self.d + 1.5) * libm::pow((n / 1000.0).max(1.0), power)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Covariance;
    use super::super::tests::OPTIONS;
    use super::*;

    const METHODS: [Method; 7] = [
        Method::Auto,
        Method::KMeans,
        Method::Mixture(Covariance::Full),
        Method::Medoids,
        Method::Genie,
        Method::Hdbscan,
        Method::Dbscan(0.5),
    ];

    #[test]
    fn more_of_anything_takes_longer_and_more_threads_less() {
        let larger = |more: [f64; 2], less: [f64; 2]| more[0] >= less[0] && more[1] >= less[1];
        for method in METHODS {
            for k in [Choice::Given(5), Choice::Auto(12)] {
                let options = ClusterOptions { method, k, bootstrap: 50, ..OPTIONS };
                for n in [0, 100, 2_000, 20_000, 99_000, 300_000, 10_000_000] {
                    let found = seconds(n, (8, 10), &options, 2);
                    assert!(found[0] > 0.0 && found[1].is_finite(), "{method:?}, {n} rows: {found:?}");
                    assert!(found[0] < found[1] && found[1] <= WIDEST * found[0] * 1.000_001, "{method:?}, {n} rows: {found:?}");
                    assert!(larger(seconds(2 * n + 1, (8, 10), &options, 2), found), "{method:?}, {n} rows");
                    assert!(larger(seconds(n, (9, 11), &options, 2), found), "{method:?}, {n} rows");
                    assert!(larger(seconds(n, (8, 12), &options, 2), found), "{method:?}, {n} rows");
                    assert!(larger(found, seconds(n, (8, 10), &options, 4)), "{method:?}, {n} rows");
                    assert!(larger(found, seconds(n, (8, 10), &ClusterOptions { bootstrap: 10, ..options.clone() }, 2)), "{method:?}");
                    assert!(larger(found, seconds(n, (8, 10), &ClusterOptions { max_iterations: 1, ..options.clone() }, 2)), "{method:?}");
                }
                let more = match k {
                    Choice::Given(k) => Choice::Given(2 * k),
                    Choice::Auto(most) => Choice::Auto(2 * most),
                };
                let found = seconds(20_000, (8, 8), &options, 2);
                assert!(larger(seconds(20_000, (8, 8), &ClusterOptions { k: more, ..options }, 2), found), "{method:?} {k:?}");
            }
        }
    }
}
