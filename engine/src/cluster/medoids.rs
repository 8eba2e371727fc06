//! k medoids: rows that leave the least sum of distances of all rows to the nearest of them.
//!
//! ```text
//! loss(M)  = sum over rows of the distance to the nearest medoid                        distances, not their squares: strays pull less
//! swap     a medoid for another row where that lowers the loss, the best medoid for each row, taken at once (FasterPAM)
//! end      when no row is worth a swap: a local optimum of PAM
//! ```
//!
//! Shape    at most [`MOST`] rows, all distances of which are held; of more rows a draw makes the medoids, and all go with the nearest.
//! Numbers  distances in f64, held in f32; sums in f64, in the order of the rows. The same bytes on any number of threads.
//! Cost     m^2 d for the distances of m rows, then m for every row that is tried; few rounds of m rows.
//! Source   Kaufman and Rousseeuw 1990 (PAM); Schubert and Rousseeuw 2021 (`FasterPAM`), algorithm 3 with eager swaps.

use rayon::prelude::*;

use super::assign::Centres;
use super::points::Points;
use super::{kmeans, stability};
use crate::stats::Purpose;

/// Most rows of which all distances are held: 64 MB.
pub(super) const MOST: usize = 4_000;

/// The same for a turn of the bootstrap.
pub(super) const MOST_OF_TURN: usize = 1_000;

/// What the search came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Medoids {
    /// Rows, among those given.
    pub(super) rows: Vec<usize>,
    /// Sum of distances to the nearest of them.
    pub(super) loss: f64,
    /// Swaps.
    pub(super) n_swaps: u32,
    /// Whether it ended by itself.
    pub(super) converged: bool,
}

/// Returns medoids of points as centres, the best of some starts; none where the work was stopped.
pub(super) fn medoids(
    points: &Points,
    (k, most): (usize, usize),
    (restarts, max_iterations): (u32, u32),
    (seed, turn): (u64, u32),
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<(Centres, Medoids)> {
    let drawn = stability::draw(points.n(), most.max(k), seed, Purpose::Drawn);
    let drawn = points.some(&drawn);
    let k = k.min(drawn.n());
    let distances = Distances::of(&drawn);
    let start = |restart: u32| starts(&drawn, k, seed, turn * 1000 + restart);
    // Starts beyond the third seldom find a lower loss: a swap mends what a seed misses.
    let fits: Option<Vec<Medoids>> =
        (0..restarts.clamp(1, 3)).into_par_iter().map(|restart| faster_pam(&distances, start(restart), max_iterations, stop)).collect();
    let best = fits?.into_iter().reduce(|best, other| if other.loss < best.loss { other } else { best })?;
    let cells = best.rows.iter().flat_map(|&row| drawn.point(row)).map(|x| f64::from(*x)).collect();
    Some((Centres::new(cells, drawn.d), best))
}

/// Returns the rows of the seeds of k-means; copies of a row that is taken give way to rows that are not.
fn starts(points: &Points, k: usize, seed: u64, turn: u32) -> Vec<usize> {
    let seeds = kmeans::seeds(points, k, seed, turn);
    let mut is_taken = vec![false; points.n()];
    let mut take = |centre: usize| {
        let is_it = |row: &usize| points.point(*row).iter().zip(seeds.centre(centre)).all(|(x, c)| f64::from(*x).to_bits() == c.to_bits());
        let free = |row: &usize| !is_taken[*row];
        let row = (0..points.n()).filter(free).find(is_it).or_else(|| (0..points.n()).find(free)).expect("there are k rows");
        is_taken[row] = true;
        row
    };
    (0..k).map(&mut take).collect()
}

/// Distances of all rows from all rows.
struct Distances {
    n: usize,
    cells: Vec<f32>,
}

impl Distances {
    fn of(points: &Points) -> Self {
        let n = points.n();
        let mut cells = vec![0.0; n * n];
        let row = |(row, cells): (usize, &mut [f32])| {
            for (other, cell) in cells.iter_mut().enumerate() {
                let square: f64 =
                    points.point(row).iter().zip(points.point(other)).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
                #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
                let distance = libm::sqrt(square) as f32;
                *cell = distance;
            }
        };
        cells.par_chunks_mut(n.max(1)).enumerate().for_each(row);
        Self { n, cells }
    }

    /// Distances are the same in both directions, to the bit.
    fn from(&self, row: usize) -> &[f32] {
        &self.cells[row * self.n..][..self.n]
    }
}

/// The two nearest medoids of a row, by position among the medoids.
#[derive(Debug, Clone, Copy)]
struct Near {
    first: usize,
    second: usize,
    d1: f32,
    d2: f32,
}

/// A search under way.
struct Search<'a> {
    distances: &'a Distances,
    medoids: Vec<usize>,
    near: Vec<Near>,
    /// What taking a medoid away would cost.
    removal: Vec<f64>,
}

fn faster_pam(distances: &Distances, start: Vec<usize>, max_iterations: u32, stop: &(dyn Fn() -> bool + Sync)) -> Option<Medoids> {
    let (n, k) = (distances.n, start.len());
    let mut search = Search { distances, near: Vec::new(), removal: vec![0.0; k], medoids: start };
    search.near = (0..n).map(|row| search.nearest(row)).collect();
    search.sum_removals();
    let (mut n_swaps, mut since, mut row, mut tried) = (0, 0, 0, 0_u64);
    let most = u64::from(max_iterations) * n as u64;
    let mut losses = vec![0.0; k];
    while since < n && tried < most {
        if tried % 1024 == 0 && stop() {
            return None;
        }
        tried += 1;
        since += 1;
        if k < n && !search.medoids.contains(&row) {
            let (medoid, change) = search.best_swap(row, &mut losses);
            // Below this a change is what rounding makes of none.
            if change < -1e-9 * search.loss().max(f64::MIN_POSITIVE) {
                search.swap(medoid, row);
                n_swaps += 1;
                since = 0;
            }
        }
        row = (row + 1) % n;
    }
    Some(Medoids { loss: search.loss(), rows: search.medoids, n_swaps, converged: since >= n })
}

impl Search<'_> {
    fn loss(&self) -> f64 {
        self.near.iter().map(|near| f64::from(near.d1)).sum()
    }

    /// Finds the two nearest medoids of a row, the first of equals.
    fn nearest(&self, row: usize) -> Near {
        let of_row = self.distances.from(row);
        let mut near = Near { first: 0, second: 0, d1: f32::INFINITY, d2: f32::INFINITY };
        for (at, &medoid) in self.medoids.iter().enumerate() {
            let distance = of_row[medoid];
            if distance < near.d1 {
                near = Near { first: at, second: near.first, d1: distance, d2: near.d1 };
            } else if distance < near.d2 {
                (near.second, near.d2) = (at, distance);
            }
        }
        near
    }

    fn sum_removals(&mut self) {
        self.removal.fill(0.0);
        for near in &self.near {
            self.removal[near.first] += f64::from(near.d2) - f64::from(near.d1);
        }
    }

    /// Returns the medoid that a row best takes the place of, and how the loss changes then.
    fn best_swap(&self, row: usize, losses: &mut [f64]) -> (usize, f64) {
        let of_row = self.distances.from(row);
        if self.medoids.len() == 1 {
            // There is no second medoid to go to: the row takes all.
            return (0, self.near.iter().zip(of_row).map(|(near, distance)| f64::from(*distance) - f64::from(near.d1)).sum());
        }
        losses.copy_from_slice(&self.removal);
        let mut gained = 0.0;
        for (near, &distance) in self.near.iter().zip(of_row) {
            if distance < near.d1 {
                gained += f64::from(distance) - f64::from(near.d1);
                losses[near.first] += f64::from(near.d1) - f64::from(near.d2);
            } else if distance < near.d2 {
                losses[near.first] += f64::from(distance) - f64::from(near.d2);
            }
        }
        let best = losses.iter().enumerate().fold((0, f64::INFINITY), |best, (at, loss)| if *loss < best.1 { (at, *loss) } else { best });
        (best.0, best.1 + gained)
    }

    fn swap(&mut self, medoid: usize, row: usize) {
        self.medoids[medoid] = row;
        for other in 0..self.distances.n {
            let near = self.near[other];
            let distance = self.distances.from(row)[other];
            self.near[other] = if near.first == medoid || near.second == medoid {
                self.nearest(other)
            } else if distance < near.d1 {
                Near { first: medoid, second: near.first, d1: distance, d2: near.d1 }
            } else if distance < near.d2 {
                Near { second: medoid, d2: distance, ..near }
            } else {
                near
            };
        }
        self.sum_removals();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::points;
    use super::*;

    fn loss(points: &Points, rows: &[usize]) -> f64 {
        let apart = |a: usize, b: usize| {
            let square: f64 = points.point(a).iter().zip(points.point(b)).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            square.sqrt()
        };
        (0..points.n()).map(|row| rows.iter().map(|&medoid| apart(row, medoid)).fold(f64::INFINITY, f64::min)).sum()
    }

    #[test]
    fn no_swap_lowers_the_loss_of_the_book() {
        for (n, k, seed) in [(40, 3, 1), (60, 5, 2), (90, 2, 3), (25, 24, 4), (30, 1, 5)] {
            let points = points(n, 3, seed % 2 == 0);
            let found = faster_pam(&Distances::of(&points), starts(&points, k, seed, 0), 100, &|| false).expect("not stopped");
            let due = loss(&points, &found.rows);
            assert!((found.loss - due).abs() < 1e-5 * due.max(1.0), "{} and {due}", found.loss);
            assert!(found.converged);
            for at in 0..k {
                for row in (0..n).filter(|row| !found.rows.contains(row)) {
                    let mut other = found.rows.clone();
                    other[at] = row;
                    assert!(loss(&points, &other) >= due - 1e-5 * due.max(1.0), "{n} rows, {k} medoids: {row} for {at}");
                }
            }
            // A wrong twin: one that was not looked for.
            let start = starts(&points, k, seed, 0);
            let unsought = faster_pam(&Distances::of(&points), start, 0, &|| false).expect("not stopped");
            assert!(unsought.loss >= found.loss && !unsought.converged);
        }
    }

    #[test]
    fn two_heaps_have_a_medoid_each_and_a_stray_moves_neither() {
        let cells = [0.0, 1.0, 2.0, 3.0, 4.0, 50.0, 51.0, 52.0, 53.0, 54.0, 80.0];
        let points = Points::new(cells.to_vec(), 1);
        let (centres, found) = medoids(&points, (2, MOST), (3, 100), (1, 0), &|| false).expect("not stopped");
        let mut middles = centres.cells;
        middles.sort_by(f64::total_cmp);
        assert_eq!(middles, [2.0, 52.0], "{found:?}");
        assert!((found.loss - (6.0 + 6.0 + 28.0)).abs() < 1e-6);
        // Copies of one row are as many medoids as asked for.
        let (same, found) = medoids(&Points::new(vec![1.0; 5], 1), (3, MOST), (1, 10), (1, 0), &|| false).expect("not stopped");
        assert_eq!((same.k(), found.loss.to_bits()), (3, 0.0_f64.to_bits()));
        assert!(medoids(&points, (2, MOST), (1, 100), (1, 0), &|| true).is_none());
    }
}
