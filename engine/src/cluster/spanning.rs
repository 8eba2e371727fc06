//! The minimum spanning tree of points under mutual reachability, exactly.
//!
//! ```text
//! reach(a, b) = max(core(a), core(b), |a - b|)        core(a): distance from the m-th nearest other; 0: plain distances
//! ```
//!
//! Rounds   (Boruvka) every group of points finds its shortest way out; a point whose reach is longer than what its group has found is
//!          passed over, boxes of the same group too, so that late rounds look at few points.
//! Numbers  ways are ordered by (reach, first point, second point): one tree whatever the number of threads.
//! Source   Boruvka 1926; mutual reachability: Campello, Moulavi, Sander 2013.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::points::Points;
use super::tree::{LEAF, Neighbours, Search, Tree};

/// Group of a node whose points lie in several.
const MIXED: u32 = u32::MAX;

/// A way between two points, the first one of the table first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Way {
    /// Squared reach.
    pub(crate) square: f64,
    pub(crate) a: u32,
    pub(crate) b: u32,
}

impl Way {
    const NONE: Self = Self { square: f64::INFINITY, a: u32::MAX, b: u32::MAX };

    pub(crate) fn between(square: f64, one: u32, other: u32) -> Self {
        Self { square, a: one.min(other), b: one.max(other) }
    }

    /// Says which of two ways comes first: the shorter, of equal ones that between the first points.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.square.total_cmp(&other.square).then(self.a.cmp(&other.a)).then(self.b.cmp(&other.b))
    }

    fn is_shorter(&self, other: &Self) -> bool {
        (self.square, self.a, self.b) < (other.square, other.a, other.b)
    }
}

/// Groups of points that grow together.
#[derive(Debug, Clone)]
pub(crate) struct Groups(Vec<u32>);

impl Groups {
    pub(crate) fn new(n: usize) -> Self {
        Self((0..).take(n).collect())
    }

    /// Returns the first point of the group.
    pub(crate) fn of(&mut self, mut point: u32) -> u32 {
        while self.0[point as usize] != point {
            let next = self.0[self.0[point as usize] as usize];
            self.0[point as usize] = next;
            point = next;
        }
        point
    }

    /// Joins the groups of two points; false where they are one.
    pub(crate) fn join(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b) as usize] = a.min(b);
        a != b
    }
}

/// Returns the ways of the minimum spanning tree, shortest first; none where the work was stopped. `core`: squared, of every point.
pub(crate) fn spanning_tree(
    tree: &Tree<'_>,
    points: &Points,
    core: &[f64],
    near: &Neighbours,
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Vec<Way>> {
    let n = core.len();
    let core_at: Vec<f64> = tree.order().iter().map(|&point| core[point as usize]).collect();
    let node_core = tree.of_nodes(&core_at, f64::min);
    let farthest = near.reach(near.k, n);
    let mut groups = Groups::new(n);
    let mut ways = Vec::with_capacity(n.saturating_sub(1));
    while ways.len() + 1 < n {
        if stop() {
            return None;
        }
        let group: Vec<u32> = (0..).take(n).map(|point| groups.of(point)).collect();
        let group_at: Vec<u32> = tree.order().iter().map(|&point| group[point as usize]).collect();
        let node_group = tree.of_nodes(&group_at, |a, b| if a == b { a } else { MIXED });
        let bounds: Vec<AtomicU64> = (0..n).map(|_| AtomicU64::new(f64::INFINITY.to_bits())).collect();
        // The lists of neighbours bound most groups before the tree is walked.
        let listed = |own: usize| {
            let mut best = Way::NONE;
            for (square, other) in near.of(own) {
                if group[other as usize] != group[own] {
                    let way = Way::between(square.max(core[own]).max(core[other as usize]), own as u32, other);
                    best = if way.is_shorter(&best) { way } else { best };
                }
            }
            // Bits of numbers that are not negative have their order.
            bounds[group[own] as usize].fetch_min(best.square.to_bits(), Ordering::Relaxed);
            best
        };
        #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
        let listed: Vec<Way> = (0..n).into_par_iter().with_min_len(1024).map(listed).collect();
        let shortest = |&own: &u32| {
            let (at, bound) = (own as usize, &bounds[group[own as usize] as usize]);
            // What is not in the list is at least as far as its end.
            if core[at].max(farthest[at]) > f64::from_bits(bound.load(Ordering::Relaxed)) {
                return listed[at];
            }
            let (core, group) = ((core[at], &core_at[..], &node_core[..]), (group[at], &group_at[..], &node_group[..]));
            let mut out = Out { own, core, group, best: listed[at], bound };
            tree.search(points.point(at), &mut out);
            out.best
        };
        let found: Vec<Way> = tree.order().par_iter().with_min_len(LEAF).map(shortest).collect();
        let mut best = vec![Way::NONE; n];
        for (way, &own) in found.iter().zip(tree.order()) {
            let held = &mut best[group[own as usize] as usize];
            if way.is_shorter(held) {
                *held = *way;
            }
        }
        ways.extend(best.into_iter().filter(|way| way.b != u32::MAX && groups.join(way.a, way.b)));
    }
    ways.par_sort_unstable_by(Way::order);
    Some(ways)
}

/// The shortest way from a point out of its group.
struct Out<'a> {
    own: u32,
    /// Of the point, of all by place, and of nodes.
    core: (f64, &'a [f64], &'a [f64]),
    /// The same.
    group: (u32, &'a [u32], &'a [u32]),
    best: Way,
    /// What the group has found.
    bound: &'a AtomicU64,
}

impl Search for Out<'_> {
    fn is_hopeless(&self, node: usize, square: f64, least: u32) -> bool {
        let (core, _, of_nodes) = self.core;
        let square = square.max(core).max(of_nodes[node]);
        self.group.2[node] == self.group.0
            || square > f64::from_bits(self.bound.load(Ordering::Relaxed))
            || !Way::between(square, self.own, least).is_shorter(&self.best)
    }

    fn take(&mut self, first: usize, points: &[u32], squares: &[f64]) {
        let ((core, cores, _), (group, groups, _)) = (self.core, self.group);
        for (at, (&point, &square)) in (first..).zip(points.iter().zip(squares)) {
            let way = Way::between(square.max(core).max(cores[at]), self.own, point);
            if groups[at] != group && way.is_shorter(&self.best) {
                self.best = way;
            }
        }
        self.bound.fetch_min(self.best.square.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::points;
    use super::*;

    /// Kruskal on all pairs.
    fn by_the_book(points: &Points, core: &[f64]) -> Vec<Way> {
        let n = points.n();
        let square = |a: usize, b: usize| {
            let wide: Vec<f64> = points.point(a).iter().map(|x| f64::from(*x)).collect();
            Points::distance(points.point(b), &wide).max(core[a]).max(core[b])
        };
        let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
        let mut all: Vec<Way> = pairs.map(|(a, b)| Way { square: square(a, b), a: a as u32, b: b as u32 }).collect();
        all.sort_by(|x, y| x.square.total_cmp(&y.square).then(x.a.cmp(&y.a)).then(x.b.cmp(&y.b)));
        let mut groups = Groups::new(n);
        all.retain(|way| groups.join(way.a, way.b));
        all
    }

    #[test]
    fn the_tree_is_that_of_the_book() {
        for (n, d, m) in [(1, 2, 0), (2, 2, 1), (17, 2, 0), (200, 2, 0), (200, 2, 5), (300, 4, 3), (150, 12, 4)] {
            for is_grid in [false, true] {
                let points = points(n, d, is_grid);
                let tree = Tree::new(&points);
                let near = tree.neighbours(m.max(4));
                let core = near.reach(m, n);
                let found = spanning_tree(&tree, &points, &core, &near, &|| false).expect("not stopped");
                assert_eq!(found, by_the_book(&points, &core), "{n} x {d}, m = {m}, {is_grid}");
                if n > 2 {
                    let wrong: Vec<f64> = core.iter().map(|x| x + 0.5).collect();
                    assert_ne!(found, by_the_book(&points, &wrong), "a wrong twin");
                }
            }
        }
    }

    #[test]
    fn many_copies_of_one_point_are_no_burden() {
        let mut cells = points(3_000, 2, false).cells;
        cells[..2_000].fill(0.5);
        cells.extend(vec![0.5; 60_000]);
        let points = Points::new(cells, 2);
        let tree = Tree::new(&points);
        let near = tree.neighbours(5);
        let found = spanning_tree(&tree, &points, &near.reach(5, points.n()), &near, &|| false).expect("not stopped");
        assert_eq!(found.len(), points.n() - 1);
    }
}
