//! The nearest others of every point by tiles of products: exact, for many columns, where boxes of a tree hide nothing.
//!
//! ```text
//! score(x, y) = x . y - |y|^2 / 2        largest where y is nearest:  |x - y|^2 = |x|^2 - 2 score
//! tile of 48 x 480 scores in f32 -> the best k + SPARE of each point -> their distances in f64 -> the k nearest
//! ```
//!
//! Shape    n points in; for every point its k nearest others, nearest first, of equal distance the first in the table.
//! Numbers  a score is within half of `band` of the truth. Where the k-th distance is nearer than all that was left out can be, the list is that of
//!          f64; else the tree is asked (copies of a point, mostly).
//! Cost     n^2 d multiply-adds in f32, 12 bytes a candidate and point.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::points::{PACKED_AT_ONCE, Points};
use super::stability;
use super::tree::{LEAF, Neighbours, Tree};
use crate::simd::{Multiply, PANEL_STEP, Packed};

/// Columns from which the tree may have to look at most points.
const COLUMNS: usize = 9;

/// Share of the leaves that a point looks at from which tiles are faster, and the points it is taken from. HDBSCAN of 12,000 normal points took
/// 2.93 CPU-seconds in 64 columns with the tree and 0.86 with tiles; of 20,000 points in 30 blobs far apart 11.2 and 12.6.
const SHARE: f64 = 0.25;
const PROBED: usize = 64;

/// Candidates beyond the neighbours asked for: what was left out has to be farther than the last neighbour, by more than f32 can err.
const SPARE: usize = 8;

/// Returns the `k` nearest others of every point, fewer where there are fewer.
pub(super) fn neighbours(points: &Points, tree: &Tree<'_>, k: usize) -> Neighbours {
    let n = points.n();
    if points.d < COLUMNS || n <= k + SPARE + 1 || k == 0 || !looks_at_most(points, tree, k) {
        return tree.neighbours(k);
    }
    let scored = Scored::of(points);
    let of_pack = |(at, pack): (usize, &Packed<f32>)| {
        let first = at * PACKED_AT_ONCE;
        let own = first..(first + PACKED_AT_ONCE).min(n);
        let mut lists = Vec::with_capacity(own.len() * k);
        let mut room = vec![0.0; PANEL_STEP * PACKED_AT_ONCE];
        for from in own.clone().step_by(PANEL_STEP) {
            let some = from..(from + PANEL_STEP).min(own.end);
            let best = scored.best(pack, some.start - first..some.end - first, first, k + SPARE, &mut room);
            for (own, best) in some.zip(best) {
                match scored.settle(own, best, k) {
                    Some(list) => lists.extend(list),
                    None => lists.extend(tree.neighbours_of(own, k)),
                }
            }
        }
        lists
    };
    let lists = points.panels().par_iter().enumerate().flat_map_iter(of_pack).collect();
    Neighbours::of_lists(k, lists)
}

/// Says whether the tree hides little from a point.
#[allow(clippy::cast_precision_loss, reason = "a share of leaves")]
fn looks_at_most(points: &Points, tree: &Tree<'_>, k: usize) -> bool {
    let probed = stability::sample(points.n(), PROBED, 1);
    let n_leaves: usize = probed.iter().map(|&own| tree.leaves_of(own, k)).sum();
    n_leaves as f64 > SHARE * (probed.len() * points.n().div_ceil(LEAF)) as f64
}

/// Points and half of each one's squared norm.
struct Scored<'a> {
    points: &'a Points,
    /// Of whole packs; infinite past the last point.
    halves: Vec<f32>,
    /// The largest norm, rounded up.
    largest: f32,
}

/// Candidates of a point, the worst first of all.
#[derive(Clone)]
struct Best {
    held: Vec<(f32, u32)>,
    worst: usize,
}

impl Best {
    /// Takes a candidate that is better than the worst of them, and returns the score that the next one has to beat.
    fn take(&mut self, found: (f32, u32), most: usize) -> f32 {
        if self.held.len() < most {
            self.held.push(found);
            if self.held.len() < most {
                return f32::NEG_INFINITY;
            }
        } else {
            self.held[self.worst] = found;
        }
        self.worst = (0..most).fold(0, |worst, at| if self.held[at].0 < self.held[worst].0 { at } else { worst });
        self.held[self.worst].0
    }
}

impl<'a> Scored<'a> {
    fn of(points: &'a Points) -> Self {
        let n = points.n();
        let half = |at: usize| -> f32 {
            let square: f64 = points.point(at).iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
            let half = (square / 2.0) as f32;
            half
        };
        let mut halves: Vec<f32> = (0..n).into_par_iter().with_min_len(4096).map(half).collect();
        halves.resize(n.next_multiple_of(PACKED_AT_ONCE), f32::INFINITY);
        let largest = (0..n).map(|at| points.norm(at)).fold(0.0, f32::max);
        Self { points, halves, largest }
    }

    /// Returns the candidates of some points of a pack.
    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    fn best(&self, pack: &Packed<f32>, some: std::ops::Range<usize>, first: usize, most: usize, room: &mut [f32]) -> Vec<Best> {
        let mut best = vec![Best { held: Vec::with_capacity(most), worst: 0 }; some.len()];
        let mut bars = [f32::NEG_INFINITY; PANEL_STEP];
        bars[some.len()..].fill(f32::INFINITY);
        for (at, others) in self.points.panels().iter().enumerate() {
            let from = at * PACKED_AT_ONCE;
            let n_others = (self.points.n() - from).min(PACKED_AT_ONCE);
            room[..PANEL_STEP * n_others.next_multiple_of(PANEL_STEP)].fill(0.0);
            f32::multiply(room, PANEL_STEP, pack, some.clone(), others, 0..n_others, false);
            for other in 0..n_others {
                let half = self.halves[from + other];
                let scores = &room[other * PANEL_STEP..][..PANEL_STEP];
                if !Arch::new().dispatch(AnyBetter { scores, half, bars: &bars }) {
                    continue;
                }
                for lane in 0..some.len() {
                    let score = scores[lane] - half;
                    if score > bars[lane] && first + some.start + lane != from + other {
                        bars[lane] = best[lane].take((score, (from + other) as u32), most);
                    }
                }
            }
        }
        best
    }

    /// Returns the nearest of a point's candidates in f64; none where one that was left out may be nearer.
    #[allow(clippy::cast_precision_loss, reason = "a bound with room to spare")]
    fn settle(&self, own: usize, best: Best, k: usize) -> Option<Vec<(f64, u32)>> {
        let wide: Vec<f64> = self.points.point(own).iter().map(|x| f64::from(*x)).collect();
        let bar = f64::from(best.held[best.worst].0);
        let mut list: Vec<(f64, u32)> =
            best.held.iter().map(|(_, other)| (Points::distance(self.points.point(*other as usize), &wide), *other)).collect();
        list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        list.truncate(k);
        let norm = self.points.norm(own);
        let band = 1.01 * f64::from((self.points.d + 8) as f32 * f32::EPSILON * self.largest * (norm + self.largest) + f32::MIN_POSITIVE);
        let square: f64 = wide.iter().map(|x| x * x).sum();
        // Written so that NaN is not settled.
        (list[k - 1].0 < square - 2.0 * (bar + band)).then_some(list)
    }
}

/// Whether one of the scores is better than its bar.
struct AnyBetter<'a> {
    scores: &'a [f32],
    half: f32,
    bars: &'a [f32; PANEL_STEP],
}

impl WithSimd for AnyBetter<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let (scores, _) = S::as_simd_f32s(self.scores);
        let (bars, _) = S::as_simd_f32s(self.bars);
        let half = simd.splat_f32s(self.half);
        let mut above = simd.splat_f32s(f32::NEG_INFINITY);
        for (scores, bars) in scores.iter().zip(bars) {
            above = simd.max_f32s(above, simd.sub_f32s(simd.sub_f32s(*scores, half), *bars));
        }
        simd.reduce_max_f32s(above) > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::points;
    use super::*;

    #[test]
    fn lists_are_those_of_the_tree() {
        for (n, d, k) in [(30, 9, 3), (479, 12, 5), (481, 9, 1), (1500, 16, 16), (1000, 33, 12), (2000, 200, 4)] {
            for is_grid in [false, true] {
                let points = points(n, d, is_grid);
                let tree = Tree::new(&points);
                assert!(neighbours(&points, &tree, k) == tree.neighbours(k), "{n} x {d}, k = {k}, {is_grid}");
            }
        }
    }

    #[test]
    fn tiles_are_taken_where_the_tree_hides_little() {
        let noise = points(4000, 16, false);
        assert!(looks_at_most(&noise, &Tree::new(&noise), 10));
        let places = points(30, 16, false);
        let cells = noise.cells.iter().enumerate().map(|(at, x)| x + 90.0 * places.cells[at / 16 % 30 * 16 + at % 16]).collect();
        let blobs = Points::new(cells, 16);
        assert!(!looks_at_most(&blobs, &Tree::new(&blobs), 10));
    }

    #[test]
    fn copies_and_far_points_are_settled_too() {
        let mut cells = points(900, 10, false).cells;
        cells[..400 * 10].fill(0.25);
        // So far away that f32 cannot tell neighbours apart.
        for x in &mut cells[500 * 10..600 * 10] {
            *x += 3e4;
        }
        let points = Points::new(cells, 10);
        let tree = Tree::new(&points);
        assert!(neighbours(&points, &tree, 7) == tree.neighbours(7));
    }

    #[test]
    fn most_points_need_no_tree_and_a_wrong_twin_is_seen() {
        let points = points(3000, 16, false);
        let scored = Scored::of(&points);
        let mut room = vec![0.0; PANEL_STEP * PACKED_AT_ONCE];
        let best = scored.best(&points.panels()[0], 0..48, 0, 18, &mut room);
        let settled = (0..48).filter(|&own| scored.settle(own, best[own].clone(), 10).is_some()).count();
        assert_eq!(settled, 48);
        // A candidate whose score says less than the truth: nothing can be left out for it.
        let mut wrong = best[5].clone();
        let nearest = (0..18).max_by(|a, b| wrong.held[*a].0.total_cmp(&wrong.held[*b].0)).expect("candidates");
        wrong.held[nearest].1 = 2999;
        assert_ne!(scored.settle(5, wrong, 10), scored.settle(5, best[5].clone(), 10));
    }
}
