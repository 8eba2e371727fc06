//! Mini-batch k-means: centres follow the rows in one pass, batch by batch, in the order in which the rows come.
//!
//! ```text
//! label a batch by the centres as they are, then of every centre c that has rows in it
//!     c  <-  c + (mean of its rows in the batch - c) * n / N        n: their weight     N: the weight of all rows that c has had, these among them
//! ```
//!
//! A centre is so the mean of the rows that it has had. The sample that the seeds were drawn from is the first batch: no seed is left to a handful of
//! rows, and those of the sample count twice. A last pass labels all rows by the centres in which the pass ended.
//! Order    Sculley draws batches at random; here they follow the file. Where it is sorted, rows meet centres that know the rows before them and the
//!          sample, which was drawn from all.
//! Empty    a centre without rows stays where it is.
//! Same     batches are made of complete rows in order, however they are cut into blocks, and their sums are whole numbers: the same bytes for any
//!          number of threads, in memory or not, on CPU and GPU.
//! Places   batches are labelled on the CPU: they are small, and a device would wait for its calls. The last pass may run on a device.
//! Memory   a batch.
//! Source   Sculley 2010 (Web-scale k-means clustering), algorithm 1: a learning rate of 1 / N for every centre.

use std::io;

use super::assign::{Assign, AssignInput, Centres, Labelled};
use super::kmeans::{Block, Blocks, Drift, Fit, Moved, Sums};
use super::points::Points;
use crate::backend::Backend;

/// Points that come block by block, taken in batches.
pub(super) struct Batches<'a> {
    pub(super) blocks: Blocks<'a>,
    /// Rows of a batch, at least one.
    pub(super) size: usize,
    /// Where the last pass labels all rows.
    pub(super) on: &'a Backend,
    /// The CPU.
    pub(super) host: &'a Backend,
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

/// Centres under way.
struct Following<'a> {
    /// What the centres are made from: means, before they are brought to length 1 or to one category.
    means: Vec<f64>,
    /// Weight of the rows that every centre has had.
    weights: Vec<f64>,
    centres: Centres,
    n_settled: u64,
    host: &'a Backend,
}

impl Following<'_> {
    /// Labels points by the centres as they are, and moves these.
    fn absorb(&mut self, points: &Points) {
        let (k, d) = (self.centres.k(), self.centres.d);
        let mut sums = Sums::of(points, k);
        let (_, settled) = Block::new(points.n(), false).assign(points, (&self.centres, &Drift::of_none(k)), &mut sums, self.host);
        self.n_settled += settled;
        let of_batch = sums.centres();
        for (at, weight) in sums.weights().enumerate().filter(|(_, weight)| *weight > 0.0) {
            self.weights[at] += weight;
            let rate = weight / self.weights[at];
            for (mean, of_batch) in self.means[at * d..][..d].iter_mut().zip(&of_batch[at * d..][..d]) {
                *mean += (of_batch - *mean) * rate;
            }
        }
        let mut cells = self.means.clone();
        points.shape(&mut cells);
        self.centres = Centres::new(cells, d);
    }
}

impl Batches<'_> {
    /// Moves centres from where a fit of the sample left them; none where the work was stopped.
    pub(super) fn run(&self, sample: &Points, start: Fit) -> io::Result<Option<Moved>> {
        let Fit { centres, iterations, converged, .. } = start;
        let (k, host) = (centres.k(), self.host);
        let mut following = Following { means: centres.cells.clone(), weights: vec![0.0; k], centres, n_settled: 0, host };
        following.absorb(sample);
        let mut batch = sample.some(&[]);
        (self.blocks)(&mut |points| {
            let mut at = 0;
            while at < points.n() && !(self.stop)() {
                let taken = (self.size.max(1) - batch.n()).min(points.n() - at);
                batch.append(points, at..at + taken);
                at += taken;
                if batch.n() >= self.size {
                    following.absorb(&batch);
                    batch = sample.some(&[]);
                }
            }
        })?;
        if batch.n() > 0 {
            following.absorb(&batch);
        }
        let mut labels: Vec<Vec<u16>> = Vec::new();
        (self.blocks)(&mut |points| {
            if (self.stop)() {
                return;
            }
            let assigned = self.on.run(&Assign, AssignInput { points, centres: &following.centres }).output;
            following.n_settled += assigned.n_settled;
            let narrow = |found: &Labelled| u16::try_from(found.label).expect("centres are at most 65,535");
            labels.push(assigned.found.iter().map(narrow).collect());
        })?;
        let Following { centres, n_settled, .. } = following;
        let moved = Moved { centres, labels, iterations, converged, n_settled };
        Ok((!(self.stop)()).then_some(moved))
    }
}

#[cfg(test)]
mod tests {
    use super::super::assign::tests::{by_the_book, points};
    use super::*;

    fn run(points: &Points, sample: &Points, start: &Centres, size: usize, cut: usize) -> Moved {
        let blocks = |take: &mut dyn FnMut(&Points)| {
            let rows: Vec<usize> = (0..points.n()).collect();
            rows.chunks(cut).for_each(|rows| take(&points.some(rows)));
            Ok(())
        };
        let on = Backend::cpu();
        let batches = Batches { blocks: &blocks, size, on: &on, host: &on, stop: &|| false };
        let start = Fit { centres: start.clone(), labels: Vec::new(), inertia: 0.0, iterations: 9, converged: false, n_settled: 0 };
        let moved = batches.run(sample, start).expect("points in memory are there").expect("nobody stops it");
        assert_eq!((moved.iterations, moved.converged), (9, false), "whether the fit of the sample had settled is told");
        moved
    }

    /// The definition, row by row in f64.
    fn of_the_book(batches: &[Points], start: &Centres) -> Centres {
        let (d, mut n) = (start.d, vec![0.0; start.k()]);
        let mut centres = start.clone();
        for batch in batches {
            let labels = by_the_book(batch, &centres);
            for (at, label) in labels.into_iter().enumerate() {
                let (centre, weight) = (label as usize, batch.weight(at));
                n[centre] += weight;
                if n[centre] > 0.0 {
                    for (c, x) in centres.cells[centre * d..][..d].iter_mut().zip(batch.point(at)) {
                        *c += (f64::from(*x) - *c) * weight / n[centre];
                    }
                }
            }
            centres = Centres::new(centres.cells, d);
        }
        centres
    }

    fn farthest(a: &Centres, b: &Centres) -> f64 {
        a.cells.iter().zip(&b.cells).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn centres_are_those_of_the_definition_however_rows_are_cut() {
        for (n, d, k, is_weighted) in [(1, 1, 1, false), (5000, 3, 7, false), (5000, 3, 7, true), (9000, 16, 40, false)] {
            let weights = |n: usize| is_weighted.then(|| (0..n).map(|at| (at % 4) as f64).collect());
            let (all, sample) = (points(n, d, 3).weighted(weights(n)), points(n.min(600), d, 4).weighted(weights(n.min(600))));
            let start = Centres::new(sample.cells[..k.min(n) * d].iter().map(|x| f64::from(*x)).collect(), d);
            for size in [256, 1000] {
                let rows: Vec<usize> = (0..n).collect();
                let batches: Vec<Points> = std::iter::once(sample.some(&(0..sample.n()).collect::<Vec<_>>()))
                    .chain(rows.chunks(size).map(|rows| all.some(rows)))
                    .collect();
                let due = of_the_book(&batches, &start);
                let found = run(&all, &sample, &start, size, n);
                assert!(farthest(&found.centres, &due) < 1e-9, "{n} x {d}, k = {k}, {size}: {}", farthest(&found.centres, &due));
                assert_eq!(
                    found.labels.concat().iter().map(|label| u32::from(*label)).collect::<Vec<_>>(),
                    by_the_book(&all, &found.centres)
                );
                for cut in [1 + n / 3, 100, 257] {
                    let other = run(&all, &sample, &start, size, cut);
                    assert!(
                        other.centres == found.centres && other.labels.concat() == found.labels.concat(),
                        "{n} x {d}, {size}, cut at {cut}"
                    );
                }
                // A wrong twin: the sample is no batch.
                assert!(n == 1 || farthest(&found.centres, &of_the_book(&batches[1..], &start)) > 1e-3);
            }
        }
    }

    #[test]
    fn a_centre_without_rows_stays() {
        let all = points(1000, 2, 9);
        let start = Centres::new(vec![0.0, 0.0, 1e6, 1e6], 2);
        let found = run(&all, &all, &start, 300, 1000);
        assert_eq!(found.centres.centre(1), [1e6, 1e6]);
        assert!(found.labels.concat().iter().all(|label| *label == 0));
    }
}
