//! Segments that are denser than what lies between them: HDBSCAN, and DBSCAN as one cut of the same tree.
//!
//! ```text
//! density     1 / reach (see spanning.rs). Cutting the longest ways of the tree first parts the points; a part below `min_size` points has
//!             fallen out of its segment, two parts of at least so many are segments of their own
//! stability   sum over a segment's points of (density where the point left it - density where the segment began)
//! chosen      the segments, none within another, with the largest sum of stabilities; all points as one segment is no answer
//! membership  density where a point left / the largest of its segment
//! outlier     1 - density where a point left / the largest below the segment that it left (GLOSH)
//! ```
//!
//! DBSCAN: points whose reach is at most eps, joined by ways of at most eps; other points within eps of such a one go with the nearest.
//!
//! Source   Campello, Moulavi, Zimek, Sander 2015 (HDBSCAN, GLOSH); Ester, Kriegel, Sander, Xu 1996 (DBSCAN).

use rayon::prelude::*;

use super::points::Points;
use super::spanning::{Groups, Way};
use super::tree::{LEAF, Search, Tree};

/// Segment of a point that is in none.
pub(crate) const NOISE: u32 = u32::MAX;

/// What every point came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    /// Segments, [`NOISE`] for none.
    pub(crate) labels: Vec<u32>,
    /// How much a point belongs to its segment, 0 to 1.
    pub(crate) membership: Vec<f64>,
    /// How far a point stands out from what is around it, 0 to 1.
    pub(crate) outlier: Vec<f64>,
    /// Stabilities of the segments by the densities where all points left, 0 to 1.
    pub(crate) excess: f64,
}

/// Two parts that the tree joins: points below `n`, earlier joins above.
struct Join {
    parts: [u32; 2],
    square: f64,
    size: u32,
}

/// Returns the joins of the ways, shortest first.
#[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
fn joins(n: usize, ways: &[Way]) -> Vec<Join> {
    let mut groups = Groups::new(n);
    // Part and size of the group of its first point.
    let mut part: Vec<(u32, u32)> = (0..n as u32).map(|point| (point, 1)).collect();
    let join = |(at, way): (u32, &Way)| {
        let of = [way.a, way.b].map(|point| part[groups.of(point) as usize]);
        groups.join(way.a, way.b);
        let size = of[0].1 + of[1].1;
        part[groups.of(way.a) as usize] = (n as u32 + at, size);
        Join { parts: of.map(|part| part.0), square: way.square, size }
    };
    (0..).zip(ways).map(join).collect()
}

/// A segment that a cut has left, of at least so many points.
struct Segment {
    parent: u32,
    /// Density where it began.
    born: f64,
    stability: f64,
    /// Largest density where one of its points, or a segment within it, left.
    death: f64,
}

/// Segments as the tree is cut, from all points on.
struct Condensed {
    segments: Vec<Segment>,
    /// The segment that every point left, and the density there.
    left: Vec<(u32, f64)>,
}

impl Condensed {
    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    fn new(n: usize, joins: &[Join], min_size: usize) -> Self {
        // Copies of a point are as dense as the closest points that differ: no density is infinite.
        let closest = joins.iter().map(|join| join.square).find(|square| *square > 0.0).unwrap_or(1.0);
        let density = |square: f64| 1.0 / libm::sqrt(square.max(closest));
        let size = |part: u32| (part as usize).checked_sub(n).map_or(1, |join| joins[join].size as usize);
        let mut condensed = Self { segments: vec![Segment { parent: 0, born: 0.0, stability: 0.0, death: 0.0 }], left: vec![(0, 0.0); n] };
        let mut parts = vec![((n + joins.len()).saturating_sub(1) as u32, 0_u32)];
        let mut fallen = Vec::new();
        while let Some((part, segment)) = parts.pop() {
            let Some(join) = (part as usize).checked_sub(n).map(|join| &joins[join]) else {
                continue;
            };
            let density = density(join.square);
            let are_large = join.parts.map(|part| size(part) >= min_size);
            for (part, is_large) in join.parts.into_iter().zip(are_large) {
                let held = &mut condensed.segments[segment as usize];
                if is_large && are_large == [true, true] {
                    held.death = held.death.max(density);
                    held.stability += size(part) as f64 * (density - held.born);
                    parts.push((part, condensed.segments.len() as u32));
                    condensed.segments.push(Segment { parent: segment, born: density, stability: 0.0, death: density });
                } else if is_large {
                    parts.push((part, segment));
                } else {
                    held.death = held.death.max(density);
                    held.stability += size(part) as f64 * (density - held.born);
                    fallen.push(part);
                    while let Some(part) = fallen.pop() {
                        match (part as usize).checked_sub(n) {
                            Some(join) => fallen.extend(joins[join].parts),
                            None => condensed.left[part as usize] = (segment, density),
                        }
                    }
                }
            }
        }
        condensed
    }

    /// Returns the chosen segment that every segment lies in, [`NOISE`] for none, and the number of those chosen.
    fn chosen(&self) -> (Vec<u32>, u32) {
        // A segment comes after the one that it lies in.
        let mut best: Vec<f64> = vec![0.0; self.segments.len()];
        let mut is_chosen = vec![false; self.segments.len()];
        for (at, segment) in self.segments.iter().enumerate().skip(1).rev() {
            is_chosen[at] = segment.stability >= best[at];
            best[segment.parent as usize] += segment.stability.max(best[at]);
        }
        let (mut within, mut n_chosen) = (vec![NOISE; self.segments.len()], 0);
        for (at, segment) in self.segments.iter().enumerate().skip(1) {
            within[at] = within[segment.parent as usize];
            if within[at] == NOISE && is_chosen[at] {
                within[at] = n_chosen;
                n_chosen += 1;
            }
        }
        (within, n_chosen)
    }
}

/// Returns HDBSCAN's segments of at least so many points.
pub(crate) fn hdbscan(n: usize, ways: &[Way], min_size: usize) -> Dense {
    let condensed = Condensed::new(n, &joins(n, ways), min_size.max(2));
    let (within, n_chosen) = condensed.chosen();
    let mut largest = vec![0.0_f64; n_chosen as usize];
    // Largest density of a segment and of all within it.
    let mut below: Vec<f64> = condensed.segments.iter().map(|segment| segment.death).collect();
    for (at, segment) in condensed.segments.iter().enumerate().skip(1).rev() {
        below[segment.parent as usize] = below[segment.parent as usize].max(below[at]);
    }
    for (segment, &chosen) in condensed.segments.iter().zip(&within) {
        if chosen != NOISE && within[segment.parent as usize] == NOISE {
            largest[chosen as usize] = segment.death;
        }
    }
    let mut stability = 0.0;
    for (segment, &chosen) in condensed.segments.iter().zip(&within) {
        if chosen != NOISE && within[segment.parent as usize] == NOISE {
            stability += segment.stability;
        }
    }
    let densities: f64 = condensed.left.iter().map(|(_, density)| density).sum();
    let labels: Vec<u32> = condensed.left.iter().map(|(segment, _)| within[*segment as usize]).collect();
    let membership = |(&label, &(_, density)): (&u32, &(u32, f64))| match label {
        NOISE => 0.0,
        label => density.min(largest[label as usize]) / largest[label as usize],
    };
    let outlier = |&(segment, density): &(u32, f64)| match below[segment as usize] {
        below if below > 0.0 => (1.0 - density / below).max(0.0),
        _ => 0.0,
    };
    Dense {
        membership: labels.iter().zip(&condensed.left).map(membership).collect(),
        outlier: condensed.left.iter().map(outlier).collect(),
        excess: if densities > 0.0 { stability / densities } else { 0.0 },
        labels,
    }
}

/// Returns DBSCAN's segments; `core`: squared distance within which a point has as many neighbours as a dense one needs.
#[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
pub(crate) fn dbscan(tree: &Tree<'_>, points: &Points, core: &[f64], ways: &[Way], eps: f64) -> Vec<u32> {
    let n = core.len();
    let square = eps * eps;
    let mut groups = Groups::new(n);
    for way in ways.iter().take_while(|way| way.square <= square) {
        groups.join(way.a, way.b);
    }
    let mut labels = vec![NOISE; n];
    let (mut of_group, mut n_segments) = (vec![NOISE; n], 0);
    for point in (0..n).filter(|point| core[*point] <= square) {
        let segment = &mut of_group[groups.of(point as u32) as usize];
        if *segment == NOISE {
            *segment = n_segments;
            n_segments += 1;
        }
        labels[point] = *segment;
    }
    let is_core: Vec<bool> = tree.order().iter().map(|&point| core[point as usize] <= square).collect();
    let has_core = tree.of_nodes(&is_core, |a, b| a || b);
    let label = |&own: &u32| {
        if labels[own as usize] != NOISE {
            return labels[own as usize];
        }
        let mut border = Border { best: (square, NOISE), is_core: &is_core, has_core: &has_core };
        tree.search(points.point(own as usize), &mut border);
        if border.best.1 == NOISE { NOISE } else { labels[border.best.1 as usize] }
    };
    let found: Vec<u32> = tree.order().par_iter().with_min_len(LEAF).map(label).collect();
    for (label, &own) in found.into_iter().zip(tree.order()) {
        labels[own as usize] = label;
    }
    labels
}

/// The nearest dense point within a distance.
struct Border<'a> {
    best: (f64, u32),
    is_core: &'a [bool],
    has_core: &'a [bool],
}

impl Search for Border<'_> {
    fn is_hopeless(&self, node: usize, square: f64, least: u32) -> bool {
        !self.has_core[node] || (square, least) >= self.best
    }

    fn take(&mut self, first: usize, points: &[u32], squares: &[f64]) {
        for (at, (&point, &square)) in points.iter().zip(squares).enumerate() {
            if self.is_core[first + at] && (square, point) < self.best {
                self.best = (square, point);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Linked, linked};
    use super::super::tree::tests::points;
    use super::*;

    /// DBSCAN by the book: whatever is dense and near joins, the rest goes with the nearest dense point.
    fn by_the_book(points: &Points, eps: f64, min_samples: usize) -> Vec<u32> {
        let n = points.n();
        let square = |a: usize, b: usize| {
            let wide: Vec<f64> = points.point(a).iter().map(|x| f64::from(*x)).collect();
            Points::distance(points.point(b), &wide)
        };
        let near = |a: usize| (0..n).filter(move |&b| square(a, b) <= eps * eps);
        let is_core: Vec<bool> = (0..n).map(|a| near(a).count() >= min_samples).collect();
        let (mut labels, mut n_segments) = (vec![NOISE; n], 0);
        for first in 0..n {
            if !is_core[first] || labels[first] != NOISE {
                continue;
            }
            labels[first] = n_segments;
            let mut open = vec![first];
            while let Some(a) = open.pop() {
                for b in near(a).filter(|b| is_core[*b]) {
                    if labels[b] == NOISE {
                        labels[b] = n_segments;
                        open.push(b);
                    }
                }
            }
            n_segments += 1;
        }
        for a in (0..n).filter(|a| !is_core[*a]) {
            let cores = near(a).filter(|b| is_core[*b]);
            if let Some(b) = cores.min_by(|b, c| square(a, *b).total_cmp(&square(a, *c)).then(b.cmp(c))) {
                labels[a] = labels[b];
            }
        }
        labels
    }

    #[test]
    fn dbscan_is_that_of_the_book() {
        for (n, d, eps, min_samples) in [(1, 2, 0.1, 1), (200, 2, 0.08, 4), (300, 3, 0.15, 6), (200, 2, 0.0, 1)] {
            for is_grid in [false, true] {
                let points = points(n, d, is_grid);
                let tree = Tree::new(&points);
                let of = |eps: f64| {
                    let Linked { ways, core, .. } = linked(&points, &tree, (min_samples - 1, false), &|| false).expect("not stopped");
                    dbscan(&tree, &points, &core, &ways, eps)
                };
                assert_eq!(of(eps), by_the_book(&points, eps, min_samples), "{n} x {d}, eps = {eps}, {is_grid}");
                if n > 1 && eps > 0.0 && !is_grid {
                    assert_ne!(of(eps / 2.0), by_the_book(&points, eps, min_samples), "a wrong twin");
                }
            }
        }
    }

    #[test]
    fn two_dense_places_and_a_stray_by_hand() {
        // Steps of 1 within two rows of five, 10 apart, and one point far away. m = 1: the core distance of every point but the last is 1.
        let points = Points::new(vec![0.0, 1.0, 2.0, 3.0, 4.0, 14.0, 15.0, 16.0, 17.0, 18.0, 100.0], 1);
        let ways = linked(&points, &Tree::new(&points), (1, false), &|| false).expect("not stopped").ways;
        let found = hdbscan(11, &ways, 3);
        assert_eq!(found.labels, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, NOISE]);
        // All leave their segment at density 1; the stray leaves all at 1 / 82, when nothing below is denser than 1.
        assert!(found.membership[..10].iter().all(|x| (*x - 1.0).abs() < 1e-12) && found.membership[10] == 0.0);
        assert!((found.outlier[10] - (1.0 - 1.0 / 82.0)).abs() < 1e-12 && found.outlier[0] == 0.0);
        // Segments begin at 1 / 10.
        let due = 10.0 * 0.9 / (10.0 + 1.0 / 82.0);
        assert!((found.excess - due).abs() < 1e-12, "{} and {due}", found.excess);
    }

    #[test]
    fn one_place_is_no_segment_and_copies_are_no_trouble() {
        let found = hdbscan(1, &[], 2);
        assert_eq!((found.labels, found.excess), (vec![NOISE], 0.0));
        let copies = Points::new([vec![1.0; 20], vec![5.0; 20], vec![5.5; 20]].concat(), 1);
        let ways = linked(&copies, &Tree::new(&copies), (3, false), &|| false).expect("not stopped").ways;
        let found = hdbscan(60, &ways, 5);
        assert!(found.membership.iter().chain(&found.outlier).all(|x| x.is_finite()));
        assert_eq!(found.labels.iter().filter(|label| **label == found.labels[0]).count(), 20);
    }
}
