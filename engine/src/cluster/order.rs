//! Segments in the order in which they are told, and where every row lies among them.

use rayon::prelude::*;

use super::assign::Centres;
use super::density::NOISE;
use super::fit::Fitted;
use super::points::Points;
use super::silhouette::Silhouettes;
use super::{Place, Scaler, Segment, Trust};

/// Segments in the order in which they are told: largest first; of equal size, by their first row.
pub(super) struct Order {
    /// Label and rows of every segment that has some.
    pub(super) segments: Vec<(usize, u64)>,
    /// Position of every label.
    pub(super) position: Vec<u32>,
}

impl Order {
    pub(super) fn of(fitted: &Fitted) -> Self {
        let mut counts = vec![(0_u64, usize::MAX); fitted.n_segments];
        for (at, &label) in fitted.labels.iter().enumerate().filter(|(_, label)| **label != NOISE) {
            let count = &mut counts[label as usize];
            *count = (count.0 + 1, count.1.min(at));
        }
        Self::by_counts(&counts)
    }

    /// Returns the order of labels with their rows and the first of those.
    pub(super) fn by_counts(counts: &[(u64, usize)]) -> Self {
        let mut order: Vec<usize> = (0..counts.len()).filter(|&label| counts[label].0 > 0).collect();
        order.sort_by_key(|&label| (std::cmp::Reverse(counts[label].0), counts[label].1));
        let mut position = vec![0; counts.len()];
        (0..).zip(&order).for_each(|(at, &label)| position[label] = at);
        Self { segments: order.into_iter().map(|label| (label, counts[label].0)).collect(), position }
    }

    /// Says whether a label has rows.
    pub(super) fn has(&self, label: u32) -> bool {
        self.segments.get(self.position[label as usize] as usize).is_some_and(|(with_rows, _)| *with_rows == label as usize)
    }

    /// Returns what there is to say of the segments; `stability` is by label.
    pub(super) fn told(
        &self,
        centres: &Centres,
        scalers: &[Scaler],
        (inertia, stability): (&[f64], Option<&[f64]>),
        silhouettes: Silhouettes,
    ) -> Vec<Segment> {
        let of_each = silhouettes.of_segment.into_iter().zip(silhouettes.profiles);
        let segment = |(at, (&(label, n), (silhouette, profile)))| {
            let stability = stability.map(|stability| stability[label]);
            let centre = centres.centre(at).iter().zip(scalers).map(|(c, scaler)| scaler.centre + c * scaler.unit).collect();
            Segment {
                n,
                n_placed: 0,
                weight: None,
                stability,
                trust: Trust::of(stability),
                inertia: inertia[at],
                silhouette,
                profile,
                centre,
            }
        };
        self.segments.iter().zip(of_each).enumerate().map(segment).collect()
    }

    /// Returns the centres of the segments: those of the method, or the means of their points.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(super) fn centres(&self, points: &Points, fitted: &Fitted) -> Centres {
        let d = points.d;
        let cells = match &fitted.centres {
            Some(centres) => self.segments.iter().flat_map(|&(label, _)| centres.centre(label)).copied().collect(),
            None => {
                let mut cells = vec![0.0; self.segments.len() * d];
                for (at, &label) in fitted.labels.iter().enumerate().filter(|(_, label)| **label != NOISE) {
                    let segment = self.position[label as usize] as usize;
                    let n = self.segments[segment].1 as f64;
                    cells[segment * d..][..d].iter_mut().zip(points.point(at)).for_each(|(sum, x)| *sum += f64::from(*x) / n);
                }
                cells
            }
        };
        Centres::new(cells, d)
    }
}

/// Returns the place of every point.
pub(super) fn places(points: &Points, rows: &[usize], fitted: &Fitted, order: &Order, centres: &Centres) -> Vec<Place> {
    let of_row = |room: &mut Vec<f64>, (at, &row): (usize, &usize)| {
        let label = fitted.labels[at];
        let segment = (label != NOISE).then(|| order.position[label as usize]);
        let membership = fitted.membership.as_ref().map(|membership| membership[at]);
        let outlier = fitted.outlier.as_ref().map(|outlier| outlier[at]);
        place(points.point(at), Place { membership, outlier, ..Place::of(row, segment) }, centres, room)
    };
    rows.par_iter().enumerate().map_init(Vec::new, of_row).collect()
}

/// Measures how far a point lies from the centre of its segment, and how much farther from the next.
pub(super) fn place(point: &[f32], held: Place, centres: &Centres, room: &mut Vec<f64>) -> Place {
    let Some(segment) = held.segment else { return held };
    centres.distances(point, room);
    let distance = libm::sqrt(room[segment as usize]);
    let others = (0..).zip(&room[..]).filter(|(at, _)| *at != segment);
    let next = others.map(|(_, square)| *square).reduce(f64::min).map(libm::sqrt);
    Place { distance: Some(distance), margin: next.map(|next| next - distance), ..held }
}
