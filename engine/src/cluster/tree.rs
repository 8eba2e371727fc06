//! A k-d tree over points: their nearest neighbours, and whatever else looks for near points, exactly.
//!
//! ```text
//! node   box round its points; leaf: up to 32 points, their cells of one column side by side
//! ```
//!
//! Shape    n points in; for every point its k nearest others, nearest first, of equal distance the first in the table.
//! Numbers  squared distances in f64, column after column, as [`Points::distance`] gives them. The distance of a box is lowered by more than
//!          the rounding of both sums, so that it never hides a point that is nearer.
//! Cost     about log n boxes a point in few columns; in many columns every leaf, which a loop over 32 points at a time makes bearable.

use rayon::prelude::*;

use super::points::Points;
use crate::simd::widest;

/// Columns of a box that are added side by side.
const LANES: usize = 4;

/// Points of a leaf. HDBSCAN of 50,000 x 8 took 1.66 CPU-seconds with 32, 1.76 with 16, 1.95 with 8.
pub(crate) const LEAF: usize = 32;

/// A box of points.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Places of its points in the order of the leaves.
    first: u32,
    end: u32,
    /// The second of its halves; the first one follows it. 0 for a leaf.
    second: u32,
    /// The first of its points in the table.
    least: u32,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    points: &'a Points,
    /// The points in the order of the leaves.
    order: Vec<u32>,
    /// Cells by leaf and column; beyond the last point infinite.
    cells: Vec<f32>,
    nodes: Vec<Node>,
    /// Lowest, then highest cells of every node, to whole lanes: boxes have no end in columns that are not there.
    boxes: Vec<f64>,
}

/// What is looked for from one point.
pub(crate) trait Search {
    /// Says whether a node at this squared distance, whose first point is `least`, can hold nothing that matters.
    fn is_hopeless(&self, node: usize, square: f64, least: u32) -> bool;

    /// Takes points from a place on, with their squared distances.
    fn take(&mut self, first: usize, points: &[u32], squares: &[f64]);
}

impl<'a> Tree<'a> {
    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    pub(crate) fn new(points: &'a Points) -> Self {
        let n = u32::try_from(points.n()).expect("points are counted in u32");
        let mut tree = Self { points, order: (0..n).collect(), cells: Vec::new(), nodes: Vec::new(), boxes: Vec::new() };
        let mut order = std::mem::take(&mut tree.order);
        tree.grow(&mut order, 0);
        tree.order = order;
        let d = points.d;
        tree.cells = vec![f32::INFINITY; points.n().div_ceil(LEAF) * LEAF * d];
        tree.cells.par_chunks_mut(LEAF * d.max(1)).zip(tree.order.par_chunks(LEAF)).for_each(|(cells, points_of)| {
            for (lane, &point) in points_of.iter().enumerate() {
                for (column, x) in points.point(point as usize).iter().enumerate() {
                    cells[column * LEAF + lane] = *x;
                }
            }
        });
        tree
    }

    /// Adds the node of some points, which are put in the order of its leaves.
    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    fn grow(&mut self, points_of: &mut [u32], first: usize) {
        let (at, d) = (self.nodes.len(), self.points.d);
        let least = points_of.iter().copied().min().unwrap_or(0);
        self.nodes.push(Node { first: first as u32, end: (first + points_of.len()) as u32, second: 0, least });
        let padded = d.next_multiple_of(LANES);
        let (mut low, mut high) = (vec![f64::INFINITY; padded], vec![f64::NEG_INFINITY; padded]);
        for &point in points_of.iter() {
            for ((low, high), x) in low.iter_mut().zip(&mut high).zip(self.points.point(point as usize)) {
                *low = low.min(f64::from(*x));
                *high = high.max(f64::from(*x));
            }
        }
        let widths = low.iter().zip(&high).map(|(low, high)| high - low);
        let widest = (0..).zip(widths).fold((0, -1.0), |best, other| if other.1 > best.1 { other } else { best }).0;
        low[d..].fill(f64::NEG_INFINITY);
        high[d..].fill(f64::INFINITY);
        self.boxes.append(&mut low);
        self.boxes.append(&mut high);
        if points_of.len() <= LEAF {
            return;
        }
        // Whole leaves on the first side, so that only the last one of all is not full.
        let half = points_of.len().div_ceil(LEAF) / 2 * LEAF;
        let points = self.points;
        let cell = |point: u32| points.point(point as usize)[widest];
        points_of.select_nth_unstable_by(half, |a, b| cell(*a).total_cmp(&cell(*b)).then(a.cmp(b)));
        let (near, far) = points_of.split_at_mut(half);
        self.grow(near, first);
        self.nodes[at].second = self.nodes.len() as u32;
        self.grow(far, first + half);
    }

    /// Returns the points in the order of the leaves.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Returns a value for every node, made of those of its points in the order of the leaves.
    pub(crate) fn of_nodes<T: Copy>(&self, of_points: &[T], join: impl Fn(T, T) -> T) -> Vec<T> {
        let mut of_nodes: Vec<T> = self.nodes.iter().map(|node| of_points[node.first as usize]).collect();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            of_nodes[at] = match node.second {
                0 => of_points[node.first as usize + 1..node.end as usize].iter().fold(of_nodes[at], |a, b| join(a, *b)),
                second => join(of_nodes[at + 1], of_nodes[second as usize]),
            };
        }
        of_nodes
    }

    /// Walks the tree from a point, nearer boxes first.
    pub(crate) fn search(&self, point: &[f32], search: &mut impl Search) {
        let mut wide: Vec<f64> = point.iter().map(|x| f64::from(*x)).collect();
        wide.resize(point.len().next_multiple_of(LANES), 0.0);
        if !self.order.is_empty() {
            self.walk(0, 0.0, &wide, search);
        }
    }

    fn walk(&self, at: usize, square: f64, point: &[f64], search: &mut impl Search) {
        let node = self.nodes[at];
        if search.is_hopeless(at, square, node.least) {
            return;
        }
        if node.second == 0 {
            let mut squares = [0.0; LEAF];
            let of_leaf = &self.cells[node.first as usize * self.points.d..][..LEAF * self.points.d];
            squares_of(point, of_leaf, &mut squares);
            let places = node.first as usize..node.end as usize;
            search.take(places.start, &self.order[places.clone()], &squares[..places.len()]);
            return;
        }
        let (near, far) = (at + 1, node.second as usize);
        let [of_near, of_far] = self.lowest([near, far], point);
        let [first, then] = if of_far < of_near { [(of_far, far), (of_near, near)] } else { [(of_near, near), (of_far, far)] };
        self.walk(first.1, first.0, point, search);
        self.walk(then.1, then.0, point, search);
    }

    /// Returns squared distances that no point of these boxes is nearer than.
    fn lowest(&self, nodes: [usize; 2], point: &[f64]) -> [f64; 2] {
        let of = |node: usize| self.boxes[2 * point.len() * node..][..2 * point.len()].split_at(point.len());
        let (one, other) = (of(nodes[0]), of(nodes[1]));
        let slack = 1.0 - 2.0 * (point.len() + LANES) as f64 * f64::EPSILON;
        widest(
            #[inline(always)]
            || [slack * box_square(one.0, one.1, point), slack * box_square(other.0, other.1, point)],
        )
    }

    /// Returns the `k` nearest others of a point with their squared distances.
    pub(crate) fn neighbours_of(&self, own: usize, k: usize) -> Vec<(f64, u32)> {
        self.nearest(own, k).held
    }

    /// Returns how many leaves have to be looked at for them.
    pub(crate) fn leaves_of(&self, own: usize, k: usize) -> usize {
        self.nearest(own, k).n_leaves
    }

    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    fn nearest(&self, own: usize, k: usize) -> Nearest {
        let mut nearest = Nearest { own: own as u32, k, held: Vec::with_capacity(k + 1), n_leaves: 0 };
        self.search(self.points.point(own), &mut nearest);
        nearest
    }

    /// Returns the `k` nearest others of every point, fewer where there are fewer.
    pub(crate) fn neighbours(&self, k: usize) -> Neighbours {
        let n = self.points.n();
        let k = k.min(n.saturating_sub(1));
        let mut neighbours = Neighbours { k, points: vec![0; n * k], squares: vec![0.0; n * k] };
        if k == 0 {
            return neighbours;
        }
        let of_leaf = |points_of: &[u32]| points_of.iter().flat_map(|&own| self.neighbours_of(own as usize, k)).collect();
        let by_leaf: Vec<Vec<(f64, u32)>> = self.order.par_chunks(LEAF).map(of_leaf).collect();
        for (points_of, held) in self.order.chunks(LEAF).zip(by_leaf) {
            for (&own, held) in points_of.iter().zip(held.chunks(k)) {
                let to = own as usize * k;
                for (at, (square, point)) in held.iter().enumerate() {
                    neighbours.squares[to + at] = *square;
                    neighbours.points[to + at] = *point;
                }
            }
        }
        neighbours
    }
}

/// Returns the squared distance of a point from a box, in lanes.
#[inline(always)]
fn box_square(low: &[f64], high: &[f64], point: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let columns = point.chunks_exact(LANES).zip(low.chunks_exact(LANES)).zip(high.chunks_exact(LANES));
    for ((x, low), high) in columns {
        for lane in 0..LANES {
            let (below, above) = (low[lane] - x[lane], x[lane] - high[lane]);
            // Not f64::max, which has to ask for NaN.
            let away = if below > above { below } else { above };
            let away = if away > 0.0 { away } else { 0.0 };
            lanes[lane] += away * away;
        }
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}

/// Writes the squared distances of a leaf's points.
fn squares_of(point: &[f64], of_leaf: &[f32], squares: &mut [f64; LEAF]) {
    widest(
        #[inline(always)]
        || {
            for (x, cells) in point.iter().zip(of_leaf.chunks_exact(LEAF)) {
                for (square, cell) in squares.iter_mut().zip(cells) {
                    let away = f64::from(*cell) - x;
                    *square += away * away;
                }
            }
        },
    );
}

/// The nearest others of every point, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Neighbours {
    /// Neighbours of a point.
    pub(crate) k: usize,
    points: Vec<u32>,
    squares: Vec<f64>,
}

impl Neighbours {
    /// Takes lists of `k` neighbours, nearest first, one point's after another's.
    pub(crate) fn of_lists(k: usize, lists: Vec<(f64, u32)>) -> Self {
        let (squares, points) = lists.into_iter().unzip();
        Self { k, points, squares }
    }

    /// Returns the neighbours of a point with their squared distances.
    pub(crate) fn of(&self, point: usize) -> impl Iterator<Item = (f64, u32)> + '_ {
        let of = point * self.k..(point + 1) * self.k;
        self.squares[of.clone()].iter().copied().zip(self.points[of].iter().copied())
    }

    /// Returns the squared distance of the `nth` neighbour of every point, or of the last one; 0 where `nth` is 0.
    pub(crate) fn reach(&self, nth: usize, n: usize) -> Vec<f64> {
        match nth.min(self.k) {
            0 => vec![0.0; n],
            nth => self.squares.chunks(self.k).map(|squares| squares[nth - 1]).collect(),
        }
    }
}

/// The nearest others of a point so far.
struct Nearest {
    own: u32,
    k: usize,
    held: Vec<(f64, u32)>,
    /// Leaves that were looked at.
    n_leaves: usize,
}

impl Nearest {
    fn is_beyond(&self, square: f64, point: u32) -> bool {
        self.held.len() == self.k && self.held.last().is_some_and(|last| (square, point) >= *last)
    }
}

impl Search for Nearest {
    fn is_hopeless(&self, _: usize, square: f64, least: u32) -> bool {
        self.is_beyond(square, least)
    }

    fn take(&mut self, _: usize, points: &[u32], squares: &[f64]) {
        self.n_leaves += 1;
        for (&point, &square) in points.iter().zip(squares) {
            if point != self.own && !self.is_beyond(square, point) {
                let at = self.held.partition_point(|held| *held < (square, point));
                self.held.truncate(self.k - 1);
                self.held.insert(at.min(self.held.len()), (square, point));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn by_the_book(points: &Points, at: usize, k: usize) -> Vec<(f64, u32)> {
        let wide: Vec<f64> = points.point(at).iter().map(|x| f64::from(*x)).collect();
        let others = (0..points.n()).filter(|other| *other != at);
        let mut all: Vec<(f64, u32)> = others.map(|other| (Points::distance(points.point(other), &wide), other as u32)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.truncate(k);
        all
    }

    /// Points on a grid of few values, so that many distances tie, or anywhere.
    pub(crate) fn points(n: usize, d: usize, is_grid: bool) -> Points {
        let mut state = (n * 31 + d) as u64;
        let cell = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let x = (state >> 40) as f32 / 16_777_216.0;
            if is_grid { (x * 4.0).floor() } else { x }
        };
        Points::new((0..n * d).map(cell).collect(), d)
    }

    #[test]
    fn neighbours_are_those_of_the_book() {
        for (n, d, k) in [(1, 2, 3), (2, 1, 5), (31, 2, 3), (32, 4, 5), (33, 3, 16), (65, 2, 64), (300, 2, 7), (500, 5, 10), (130, 20, 4)] {
            for is_grid in [false, true] {
                let points = points(n, d, is_grid);
                let found = Tree::new(&points).neighbours(k);
                for at in 0..n {
                    assert_eq!(found.of(at).collect::<Vec<_>>(), by_the_book(&points, at, k), "{n} x {d}, k = {k}, point {at}, {is_grid}");
                }
            }
        }
    }

    #[test]
    fn agreement_catches_a_wrong_twin() {
        let points = points(200, 3, false);
        let mut found = Tree::new(&points).neighbours(3);
        found.points.swap(30, 31);
        assert_ne!(found.of(10).collect::<Vec<_>>(), by_the_book(&points, 10, 3));
    }
}
