//! Genie: single linkage that is kept from feeding one giant segment.
//!
//! ```text
//! join by the shortest way; while the Gini index of the segments' sizes is above `GINI`, by the shortest way out of a smallest segment
//! Gini(s) = sum over i < j of |s_i - s_j| / ((m - 1) sum of s)        m segments of sizes s
//! ```
//!
//! Ways     plain distances, as its authors take them, or the reach of spanning.rs (the M of their package).
//! Cost     n log^2 n on the spanning tree: ways out of a segment lie in a heap, the smaller one is poured into the larger.
//! Source   Gagolewski, Bartoszuk, Cena 2016.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::spanning::{Groups, Way};

/// Inequality of sizes above which a smallest segment has to join: its authors' default.
const GINI: f64 = 0.3;

/// Segments while they are joined.
struct Linkage<'a> {
    ways: &'a [Way],
    is_used: Vec<bool>,
    groups: Groups,
    /// Ways out of the group of its first point, used ones among them.
    out: Vec<BinaryHeap<Reverse<u32>>>,
    sizes: Vec<u64>,
    /// (size, shortest way out, first point) of every group.
    waiting: BTreeSet<(u64, u32, u32)>,
    /// Groups of every size.
    counts: BTreeMap<u64, u64>,
}

/// Returns the segments that Genie leaves when there are `k`, numbered by their first points. `ways`: shortest first.
#[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
pub(crate) fn genie(n: usize, ways: &[Way], k: usize) -> Vec<u32> {
    let mut linkage = Linkage::new(n, ways);
    let mut next = 0;
    for _ in 0..n.saturating_sub(k.max(1)) {
        while linkage.is_used.get(next) == Some(&true) {
            next += 1;
        }
        let way = match linkage.waiting.first() {
            Some(&(_, way, _)) if linkage.gini() > GINI => way as usize,
            _ => next,
        };
        linkage.join(way);
    }
    let mut label_of = vec![u32::MAX; n];
    let mut n_labels = 0;
    let label = |point: u32| {
        let label = &mut label_of[linkage.groups.of(point) as usize];
        if *label == u32::MAX {
            *label = n_labels;
            n_labels += 1;
        }
        *label
    };
    (0..n as u32).map(label).collect()
}

impl<'a> Linkage<'a> {
    #[allow(clippy::cast_possible_truncation, reason = "points are counted in u32")]
    fn new(n: usize, ways: &'a [Way]) -> Self {
        let mut out = vec![BinaryHeap::new(); n];
        for (at, way) in (0..).zip(ways) {
            out[way.a as usize].push(Reverse(at));
            out[way.b as usize].push(Reverse(at));
        }
        let mut linkage = Self {
            ways,
            is_used: vec![false; ways.len()],
            groups: Groups::new(n),
            out,
            sizes: vec![1; n],
            waiting: BTreeSet::new(),
            counts: BTreeMap::from([(1, n as u64)]),
        };
        (0..n as u32).for_each(|point| linkage.wait(point));
        linkage
    }

    /// Puts a group among those that wait.
    fn wait(&mut self, group: u32) {
        let at = group as usize;
        while self.out[at].peek().is_some_and(|way| self.is_used[way.0 as usize]) {
            self.out[at].pop();
        }
        if let Some(Reverse(way)) = self.out[at].peek() {
            self.waiting.insert((self.sizes[at], *way, group));
        }
    }

    fn join(&mut self, at: usize) {
        let way = self.ways[at];
        let of = [way.a, way.b].map(|point| self.groups.of(point));
        for group in of {
            let size = self.sizes[group as usize];
            if let Some(Reverse(way)) = self.out[group as usize].peek() {
                self.waiting.remove(&(size, *way, group));
            }
            if let Some(count) = self.counts.get_mut(&size) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&size);
                }
            }
        }
        self.is_used[at] = true;
        self.groups.join(way.a, way.b);
        let joined = self.groups.of(way.a);
        let [mut small, mut large] = of.map(|group| std::mem::take(&mut self.out[group as usize]));
        if small.len() > large.len() {
            std::mem::swap(&mut small, &mut large);
        }
        large.append(&mut small);
        self.out[joined as usize] = large;
        let size = self.sizes[of[0] as usize] + self.sizes[of[1] as usize];
        self.sizes[joined as usize] = size;
        *self.counts.entry(size).or_default() += 1;
        self.wait(joined);
    }

    /// Returns the Gini index of the sizes.
    #[allow(clippy::cast_precision_loss, reason = "points are counted in u32")]
    fn gini(&self) -> f64 {
        let m: u64 = self.counts.values().sum();
        // The i-th smallest of m sizes counts 2 i - m - 1 times.
        let (mut before, mut spread) = (0, 0.0);
        for (&size, &count) in &self.counts {
            spread += size as f64 * count as f64 * ((2 * before + count) as f64 - m as f64);
            before += count;
        }
        if m > 1 { spread / ((m - 1) as f64 * self.sizes.len() as f64) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::linked;
    use super::super::points::Points;
    use super::super::tree::Tree;
    use super::super::tree::tests::points;
    use super::*;

    /// Genie by the book: all pairs of groups, all distances, at every step.
    fn by_the_book(points: &Points, k: usize, most: f64) -> Vec<u32> {
        let n = points.n();
        let square = |a: usize, b: usize| {
            let wide: Vec<f64> = points.point(a).iter().map(|x| f64::from(*x)).collect();
            Points::distance(points.point(b), &wide)
        };
        let mut group: Vec<usize> = (0..n).collect();
        let count = |group: &[usize]| group.iter().copied().collect::<BTreeSet<usize>>().len();
        while count(&group) > k {
            let size = |of: usize| group.iter().filter(|group| **group == of).count();
            let sizes: Vec<usize> = group.iter().copied().collect::<BTreeSet<usize>>().into_iter().map(size).collect();
            let pairs = sizes.iter().enumerate().flat_map(|(at, a)| sizes[at + 1..].iter().map(move |b| a.abs_diff(*b)));
            let gini = pairs.sum::<usize>() as f64 / ((sizes.len() - 1) as f64 * n as f64);
            let least = *sizes.iter().min().unwrap_or(&0);
            let ways = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|(a, b)| group[*a] != group[*b]);
            let may = |(a, b): &(usize, usize)| gini <= most || size(group[*a]) == least || size(group[*b]) == least;
            let shortest = ways.filter(may).min_by(|x, y| square(x.0, x.1).total_cmp(&square(y.0, y.1)).then(x.cmp(y)));
            let (a, b) = shortest.expect("there are two groups");
            let (from, to) = (group[b], group[a]);
            group.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
        }
        let mut names = Vec::new();
        let mut name = |group: &usize| {
            let at = names.iter().position(|known| known == group);
            at.unwrap_or_else(|| {
                names.push(*group);
                names.len() - 1
            }) as u32
        };
        group.iter().map(&mut name).collect()
    }

    #[test]
    fn genie_is_that_of_the_book() {
        for (n, d, k) in [(1, 1, 1), (2, 1, 1), (40, 2, 3), (60, 2, 5), (50, 3, 1), (45, 1, 4)] {
            let points = points(n, d, false);
            let ways = linked(&points, &Tree::new(&points), (0, false), &|| false).expect("not stopped").ways;
            assert_eq!(genie(n, &ways, k), by_the_book(&points, k, GINI), "{n} x {d}, k = {k}");
            if (n, k) == (60, 5) {
                assert_ne!(genie(n, &ways, k), by_the_book(&points, k, 1.0), "a wrong twin: single linkage");
            }
        }
    }
}
