//! Neighbours of many points in many columns, nearly all of them: those of neighbours, again and again.
//!
//! ```text
//! start    the others of a point's leaf in the k-d tree, and of the leaf beside it
//! turn     a point is held against the neighbours of its neighbours, those counted that have it for a neighbour, where one of both steps is
//!          new since the last turn; of new ones and of those that point back a few are taken
//! end      when less than one place of a thousand changes, or after TURNS
//! recall   share of the true neighbours of CHECKED points that their lists hold: measured, and told
//! ```
//!
//! Shape    n points in; for every point k others, nearest first, and the recall.
//! Numbers  a turn reads the lists of the turn before and draws by point and turn, so that neither threads nor chance change a byte. Squares
//!          are those of the k-d tree.
//! Memory   16 bytes a neighbour and point, twice.
//! Source   Dong, Moses, Li 2011 (NN-descent).

use rayon::prelude::*;

use super::points::Points;
use super::spanning::{Groups, Way};
use super::stability;
use super::tree::{LEAF, Neighbours, Tree};
use crate::simd::widest;

/// New neighbours of a point that a turn follows, and as many that point back, of new and of old ones. Of 3,000 points anywhere in 12 columns
/// lists of 10 held 72 % of the neighbours with 6 of them; with these and [`LISTED`] nearly all.
const FOLLOWED: usize = 12;

/// Neighbours of a list at least: short lists find fewer.
const LISTED: usize = 24;

/// Turns at most.
const TURNS: u32 = 12;

/// Points whose neighbours are looked for among all others, to say how many were found.
const CHECKED: usize = 200;

/// Multiply-adds that joining groups which no list joins may take at a time.
const WORK: usize = 1 << 33;

/// Bit of a neighbour that the turns have not followed yet.
const NEW: u32 = 1 << 31;

/// A neighbour: its squared distance in f32, and its number with [`NEW`].
type Held = (f32, u32);

/// Returns nearly the `k` nearest others of every point, and the share of them that was found; none where the work was stopped.
pub(super) fn neighbours(points: &Points, tree: &Tree<'_>, k: usize, stop: &(dyn Fn() -> bool + Sync)) -> Option<(Neighbours, f64)> {
    let n = points.n();
    assert!(n < NEW as usize, "points are counted in 31 bits");
    let asked = k.min(n.saturating_sub(1));
    let k = asked.max(LISTED).min(n.saturating_sub(1));
    let mut lists = start(points, tree, k);
    for turn in 0..TURNS {
        if stop() {
            return None;
        }
        let followed = Followed::of(&mut lists, n, k, turn);
        let next: Vec<(Vec<Held>, usize)> =
            (0..n).into_par_iter().with_min_len(64).map_init(Vec::new, |room, own| followed.turn(points, &lists, own, room)).collect();
        let n_changed: usize = next.par_iter().map(|(_, n_changed)| n_changed).sum();
        lists.lists.par_chunks_mut(k.max(1)).zip(next).for_each(|(list, (new, _))| list.copy_from_slice(&new));
        if n_changed * 1000 <= n * k {
            break;
        }
    }
    let neighbours = lists.finish(points, asked);
    let recall = recall(points, &neighbours);
    Some((neighbours, recall))
}

/// Squared distance in f32.
fn square(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0_f32; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = whole_a.remainder().iter().zip(whole_b.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for lane in 0..LANES {
            lanes[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn put(list: &mut Vec<Held>, k: usize, found: Held) -> bool {
    let is_before = |held: &Held| (held.0, held.1 & !NEW) < (found.0, found.1 & !NEW);
    let at = list.partition_point(is_before);
    if at == k || list.get(at).is_some_and(|held| held.1 & !NEW == found.1 & !NEW) {
        return false;
    }
    list.truncate(k - 1);
    list.insert(at, found);
    true
}

struct Lists {
    k: usize,
    lists: Vec<Held>,
}

fn start(points: &Points, tree: &Tree<'_>, k: usize) -> Lists {
    let n = points.n();
    // As many leaves as hold more than k others.
    let n_leaves = k.div_ceil(LEAF) + 1;
    let of_leaf = |at: usize| {
        let order = tree.order();
        let own = at * LEAF..((at + 1) * LEAF).min(n);
        let end = (own.end + n_leaves * LEAF).min(n);
        let around = end.saturating_sub((n_leaves + 1) * LEAF).min(own.start)..end;
        let mut lists = Vec::with_capacity(own.len() * k);
        for &point in &order[own] {
            let mut list: Vec<Held> = Vec::with_capacity(k + 1);
            for &other in order[around.clone()].iter().filter(|other| **other != point) {
                put(&mut list, k, (square(points.point(point as usize), points.point(other as usize)), other | NEW));
            }
            lists.push((point, list));
        }
        lists
    };
    let by_leaf: Vec<Vec<(u32, Vec<Held>)>> = (0..n.div_ceil(LEAF)).into_par_iter().map(of_leaf).collect();
    let mut lists = vec![(0.0, 0); n * k];
    for (point, list) in by_leaf.into_iter().flatten() {
        lists[point as usize * k..][..k].copy_from_slice(&list);
    }
    Lists { k, lists }
}

impl Lists {
    fn of(&self, point: usize) -> &[Held] {
        &self.lists[point * self.k..][..self.k]
    }

    /// Returns the first of the lists with squares in f64, in their order.
    fn finish(self, points: &Points, k: usize) -> Neighbours {
        let sorted = |(own, list): (usize, &[Held])| {
            let wide: Vec<f64> = points.point(own).iter().map(|x| f64::from(*x)).collect();
            let of = |held: &Held| (Points::distance(points.point((held.1 & !NEW) as usize), &wide), held.1 & !NEW);
            let mut sorted: Vec<(f64, u32)> = list.iter().map(of).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            sorted.truncate(k);
            sorted
        };
        let all: Vec<(f64, u32)> = self.lists.par_chunks(self.k.max(1)).enumerate().flat_map_iter(sorted).collect();
        Neighbours::of_lists(k, all)
    }
}

/// What a turn follows from every point: new neighbours and those that point back, then old ones.
struct Followed {
    /// Where those of a point begin, where its old ones do, and where they end.
    bounds: Vec<[usize; 2]>,
    points: Vec<u32>,
}

impl Followed {
    /// Draws what is followed, and marks it as followed.
    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    fn of(lists: &mut Lists, n: usize, k: usize, turn: u32) -> Self {
        // Nearest first: of the new ones the nearest are followed.
        let mut is_followed = vec![false; n * k];
        is_followed.par_chunks_mut(k.max(1)).zip(lists.lists.par_chunks(k.max(1))).for_each(|(is_followed, list)| {
            let new = (0..list.len()).filter(|at| list[*at].1 & NEW != 0).take(FOLLOWED);
            new.for_each(|at| is_followed[at] = true);
        });
        // Of new ones, then of old ones, of every point.
        let mut back = vec![(u32::MAX, u32::MAX); 2 * n * FOLLOWED];
        for own in 0..n {
            for (at, held) in lists.of(own).iter().enumerate() {
                let (other, is_new) = (held.1 & !NEW, held.1 & NEW != 0);
                if is_new && !is_followed[own * k + at] {
                    continue;
                }
                // The smallest hashes: a draw that does not depend on the order.
                let drawn = (mixed(own as u32, other, turn), own as u32);
                let kept = &mut back[(2 * other as usize + usize::from(!is_new)) * FOLLOWED..][..FOLLOWED];
                if let Some(largest) = kept.iter_mut().max().filter(|largest| **largest > drawn) {
                    *largest = drawn;
                }
            }
        }
        let of_point = |own: usize| {
            let of = |is_new: bool| {
                let list = lists.of(own).iter().enumerate();
                let own_ones = list.filter(|(at, held)| if is_new { is_followed[own * k + at] } else { held.1 & NEW == 0 });
                let back = &back[(2 * own + usize::from(!is_new)) * FOLLOWED..][..FOLLOWED];
                let back = back.iter().map(|(_, point)| *point).filter(|point| *point != u32::MAX);
                let mut all: Vec<u32> = own_ones.map(|(_, held)| held.1 & !NEW).chain(back).collect();
                all.sort_unstable();
                all.dedup();
                all
            };
            (of(true), of(false))
        };
        let all: Vec<(Vec<u32>, Vec<u32>)> = (0..n).into_par_iter().map(of_point).collect();
        lists.lists.par_iter_mut().zip(is_followed).for_each(|(held, is_followed)| {
            if is_followed {
                held.1 &= !NEW;
            }
        });
        let mut followed = Self { bounds: Vec::with_capacity(n + 1), points: Vec::new() };
        for (new, old) in all {
            let first = followed.points.len();
            followed.bounds.push([first, first + new.len()]);
            followed.points.extend(new);
            followed.points.extend(old);
        }
        followed.bounds.push([followed.points.len(); 2]);
        followed
    }

    fn new_of(&self, point: u32) -> &[u32] {
        let [first, end] = self.bounds[point as usize];
        &self.points[first..end]
    }

    fn old_of(&self, point: u32) -> &[u32] {
        &self.points[self.bounds[point as usize][1]..self.bounds[point as usize + 1][0]]
    }

    /// Returns the list of a point after a turn, and how many of it are new.
    fn turn(&self, points: &Points, lists: &Lists, own: usize, room: &mut Vec<u32>) -> (Vec<Held>, usize) {
        let mut list = Vec::with_capacity(lists.k + 1);
        list.extend_from_slice(lists.of(own));
        #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
        let own = own as u32;
        room.clear();
        for &next in self.new_of(own) {
            room.extend(self.new_of(next).iter().chain(self.old_of(next)));
        }
        for &next in self.old_of(own) {
            room.extend_from_slice(self.new_of(next));
        }
        room.sort_unstable();
        room.dedup();
        let n_changed = widest(
            #[inline(always)]
            || {
                let (point, mut n_changed) = (points.point(own as usize), 0);
                for &other in room.iter().filter(|other| **other != own) {
                    let square = square(point, points.point(other as usize));
                    if list.len() < lists.k || list.last().is_some_and(|last| square < last.0) {
                        n_changed += usize::from(put(&mut list, lists.k, (square, other | NEW)));
                    }
                }
                n_changed
            },
        );
        (list, n_changed)
    }
}

/// Returns a number that looks drawn.
const fn mixed(a: u32, b: u32, turn: u32) -> u32 {
    let mut x = (a as u64) << 32 | b as u64;
    x ^= (turn as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x >> 32) as u32
}

/// Returns the share of the true neighbours of some points that their lists hold; of equal distances either will do.
#[allow(clippy::cast_precision_loss, reason = "a share of few neighbours")]
fn recall(points: &Points, found: &Neighbours) -> f64 {
    let n = points.n();
    let checked = stability::sample(n, CHECKED, 1);
    let held = |&own: &usize| {
        let wide: Vec<f64> = points.point(own).iter().map(|x| f64::from(*x)).collect();
        let mut all: Vec<f64> = (0..n).filter(|other| *other != own).map(|other| Points::distance(points.point(other), &wide)).collect();
        let (_, farthest, _) = all.select_nth_unstable_by(found.k - 1, f64::total_cmp);
        found.of(own).filter(|(square, _)| square <= farthest).count()
    };
    if found.k == 0 {
        return 1.0;
    }
    checked.par_iter().map(held).sum::<usize>() as f64 / (checked.len() * found.k) as f64
}

/// Returns the ways of a spanning tree along lists of neighbours, shortest first; groups that no list joins are joined by the shortest way from
/// a few of their points. None where the work was stopped. `core`: squared, of every point.
#[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
pub(super) fn spanning_tree(points: &Points, core: &[f64], near: &Neighbours, stop: &(dyn Fn() -> bool + Sync)) -> Option<Vec<Way>> {
    let n = core.len();
    let reach = |square: f64, a: usize, b: usize| Way::between(square.max(core[a]).max(core[b]), a as u32, b as u32);
    let of_point = |own: usize| near.of(own).map(move |(square, other)| reach(square, own, other as usize)).collect::<Vec<Way>>();
    let mut listed: Vec<Way> = (0..n).into_par_iter().flat_map_iter(of_point).collect();
    listed.par_sort_unstable_by(Way::order);
    let mut groups = Groups::new(n);
    let mut ways: Vec<Way> = listed.into_iter().filter(|way| groups.join(way.a, way.b)).collect();
    while ways.len() + 1 < n {
        if stop() {
            return None;
        }
        let group: Vec<u32> = (0..).take(n).map(|point| groups.of(point)).collect();
        let mut members: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
        group.iter().enumerate().for_each(|(point, group)| members.entry(*group).or_default().push(point));
        let largest = members.iter().max_by_key(|(group, members)| (members.len(), std::cmp::Reverse(**group))).map(|(group, _)| *group);
        let probes_each = (1024 / members.len()).clamp(1, 16);
        let probes: Vec<usize> = members
            .iter()
            .filter(|(group, _)| Some(**group) != largest)
            .flat_map(|(_, members)| members.iter().step_by(members.len().div_ceil(probes_each)).copied())
            .collect();
        let step = (probes.len() * n * points.d).div_ceil(WORK).max(1);
        let others: Vec<usize> = (0..n).step_by(step).collect();
        let between = |a: usize, b: usize| {
            let wide: Vec<f64> = points.point(a).iter().map(|x| f64::from(*x)).collect();
            reach(Points::distance(points.point(b), &wide), a, b)
        };
        // Goes on along the lists of both ends, as long as the way gets shorter.
        let shortened = |mut way: Way| loop {
            let ends = |end: u32| {
                let is_own = |other: &u32| group[*other as usize] == group[end as usize];
                let listed = near.of(end as usize).map(|(_, other)| other);
                [end].into_iter().chain(listed).filter(is_own).collect::<Vec<u32>>()
            };
            let (from, to) = (ends(way.a), ends(way.b));
            let ways = from.iter().flat_map(|a| to.iter().map(|b| between(*a as usize, *b as usize)));
            match ways.min_by(Way::order).filter(|best| best.order(&way).is_lt()) {
                Some(best) => way = best,
                None => break way,
            }
        };
        let shortest = |&own: &usize| {
            let wide: Vec<f64> = points.point(own).iter().map(|x| f64::from(*x)).collect();
            let outside = others.iter().filter(|other| group[**other] != group[own]);
            let ways = outside.map(|&other| reach(Points::distance(points.point(other), &wide), own, other));
            ways.min_by(Way::order).map(&shortened)
        };
        let mut found: Vec<Way> = probes.par_iter().filter_map(shortest).collect();
        found.sort_by(Way::order);
        // The shortest of every group, as Boruvka takes them; where none of the points looked at is outside, any point is.
        let mut is_out = vec![false; n];
        let n_before = ways.len();
        for way in found {
            let (a, b) = (group[way.a as usize] as usize, group[way.b as usize] as usize);
            if !is_out[a] || !is_out[b] {
                (is_out[a], is_out[b]) = (true, true);
                if groups.join(way.a, way.b) {
                    ways.push(way);
                }
            }
        }
        if ways.len() == n_before {
            let other = (1..n).find(|point| group[*point] != group[0])?;
            groups.join(0, other as u32);
            ways.push(between(0, other));
        }
    }
    ways.par_sort_unstable_by(Way::order);
    Some(ways)
}

#[cfg(test)]
mod tests {
    use super::super::spanning;
    use super::super::tree::tests::points;
    use super::*;

    fn on_threads<T: Send>(n: usize, of: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads can be started").install(of)
    }

    /// Points around far places, so that no list leads from one to another.
    fn blobs(n: usize, d: usize, n_blobs: usize) -> Points {
        let (noise, places) = (points(n, d, false), points(n_blobs, d, false));
        let cell = |at: usize| noise.cells[at] + 40.0 * places.cells[at / d % n_blobs * d + at % d];
        Points::new((0..n * d).map(cell).collect(), d)
    }

    #[test]
    fn nearly_all_neighbours_are_found_and_the_share_is_the_true_one() {
        for (n, d, k) in [(2, 12, 3), (40, 12, 5), (3000, 12, 10), (5000, 16, 16)] {
            let points = points(n, d, false);
            let tree = Tree::new(&points);
            let (found, recall) = neighbours(&points, &tree, k, &|| false).expect("not stopped");
            let due = tree.neighbours(k);
            let is_right = |at: usize| found.of(at).filter(|own| due.of(at).any(|other| other == *own)).count();
            let share = (0..n).map(is_right).sum::<usize>() as f64 / (n * due.k) as f64;
            assert!(share > 0.95 && (share - recall).abs() < 0.02, "{n} x {d}: {share}, said {recall}");
            for at in 0..n {
                let list: Vec<(f64, u32)> = found.of(at).collect();
                assert!(list.is_sorted() && list.iter().all(|(_, other)| *other as usize != at), "point {at}");
                let mut others: Vec<u32> = list.iter().map(|(_, other)| *other).collect();
                others.sort_unstable();
                others.dedup();
                assert_eq!(others.len(), found.k);
            }
            let on = |threads: usize| on_threads(threads, || neighbours(&points, &tree, k, &|| false));
            assert!(on(1) == on(5));
        }
    }

    #[test]
    fn the_share_catches_a_wrong_twin() {
        let points = points(2000, 12, false);
        let mut lists: Vec<(f64, u32)> = Vec::new();
        let due = Tree::new(&points).neighbours(10);
        for at in 0..2000 {
            // The last of ten is somebody else, and farther.
            lists.extend(due.of(at).take(9));
            lists.push((1e9, (at as u32 + 1) % 2000));
        }
        assert!((recall(&points, &due) - 1.0).abs() < 1e-12);
        assert!((recall(&points, &Neighbours::of_lists(10, lists)) - 0.9).abs() < 1e-12);
    }

    #[test]
    fn the_tree_is_hardly_longer_than_the_shortest() {
        for (n, n_blobs, most) in [(3000, 1, 1.005), (3000, 7, 1.02), (900, 12, 1.05)] {
            let points = blobs(n, 12, n_blobs);
            let tree = Tree::new(&points);
            let exact = tree.neighbours(5);
            let core = exact.reach(5, n);
            let due = spanning::spanning_tree(&tree, &points, &core, &exact, &|| false).expect("not stopped");
            let (near, _) = neighbours(&points, &tree, 16, &|| false).expect("not stopped");
            let found = spanning_tree(&points, &core, &near, &|| false).expect("not stopped");
            assert_eq!(found.len(), n - 1);
            let mut groups = Groups::new(n);
            assert!(found.iter().all(|way| groups.join(way.a, way.b)) && found.is_sorted_by(|a, b| a.square <= b.square));
            let length = |ways: &[Way]| ways.iter().map(|way| way.square.sqrt()).sum::<f64>();
            let ratio = length(&found) / length(&due);
            assert!((1.0 - 1e-12..most).contains(&ratio), "{n} points in {n_blobs} blobs: {ratio}");
        }
    }
}
