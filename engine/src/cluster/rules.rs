//! Segments in words: a shallow tree over the columns, and what it costs to go by it.
//!
//! ```text
//! grow     the leaf and bound with the largest drop of Gini impurity first, on one half of the rows (at most `GROWN_ON`)
//! stop     at 2 k leaves, or where the best drop is below `LEAST_DROP` of the impurity of all rows
//! bound    between two neighbouring values: the lower of whole numbers without another between, else the decimal with the fewest digits
//! measure  coverage, purity, accuracy and price on the rows that the tree has not seen
//! price    sum of squared distances from the centre of the leaf's segment / the same from the row's own
//! ```
//!
//! Coverage of a leaf is the share of its segment's rows that it holds, purity the share of its rows that are of its segment.
//!
//! Nulls    rows that lack a cell have no segment and are in no leaf.
//! Cost     O(leaves d m log m) for m rows grown on, O(n depth) to measure.
//! Source   impurity: Breiman et al., Classification and Regression Trees, 1984; price: Dasgupta et al., Explainable k-Means, ICML 2020;
//!          more leaves than segments: Frost et al., `ExKMC`, 2020.
//! Absent   trees that are grown on the centres themselves (IMM): they are defined for k-means alone.

use rayon::prelude::*;

use super::points::Scaler;
use super::{Place, SAMPLE, Segment, stability};
use crate::columns::Table;

/// Most rows that a tree is grown on.
const GROWN_ON: usize = SAMPLE;

/// Share of the impurity of all rows that a split has to take away.
const LEAST_DROP: f64 = 0.005;

/// Fewest rows of a leaf, of those grown on.
const FEWEST: usize = 3;

/// Leaves for every segment.
const LEAVES_EACH: usize = 2;

/// A bound on one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Position of the column.
    pub column: usize,
    /// Value in the unit of the column.
    pub at: f64,
    /// Whether cells are above it; else they are at most it.
    pub is_above: bool,
}

/// Rows that go by a few bounds to one segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Position of the segment.
    pub segment: usize,
    /// Bounds that all hold, at most two of a column.
    pub bounds: Vec<Bound>,
    /// Rows for which they do.
    pub n: u64,
    /// Rows for which they do, of those that the tree has not seen.
    pub n_held_out: u64,
    /// Share of the segment that it holds, on rows not seen; none without any.
    pub coverage: Option<f64>,
    /// Share of its rows that are of the segment, on rows not seen; none without any.
    pub purity: Option<f64>,
}

/// A tree, leaf by leaf.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Leaves, by segment, the largest first.
    pub rules: Vec<Rule>,
    /// Share of rows not seen whose leaf names their segment, or that noise is noise.
    pub accuracy: Option<f64>,
    /// Price in inertia on rows not seen; 1 costs nothing.
    pub price: Option<f64>,
}

/// Rows under one node, the bounds from the root to it, and how they are split best.
struct Node {
    rows: Vec<usize>,
    bounds: Vec<Bound>,
    label: usize,
    split: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    drop: f64,
    column: usize,
    at: f64,
}

/// A table of segments to be told apart.
struct Told<'a> {
    /// Cells of the columns that took part.
    cells: Vec<&'a [f64]>,
    /// Segment of every place; `n_segments` for noise.
    labels: Vec<usize>,
    places: &'a [Place],
    n_segments: usize,
    /// Whether rows have length 1 where distances are taken.
    is_unit: bool,
}

/// Grows a tree that tells segments apart; without rules where there are fewer than two segments.
pub(super) fn rules(table: &Table, (scalers, is_unit): (&[Scaler], bool), places: &[Place], segments: &[Segment], seed: u64) -> Rules {
    if segments.len() < 2 {
        return Rules::default();
    }
    let labels = places.iter().map(|place| place.segment.map_or(segments.len(), |segment| segment as usize)).collect();
    let cells = table.columns.iter().filter_map(|column| column.numbers()).collect();
    let told = Told { cells, labels, places, n_segments: segments.len(), is_unit };
    let mut seen = vec![false; places.len()];
    let grown_on = stability::sample(places.len(), GROWN_ON.min(places.len() / 2), seed);
    for &at in &grown_on {
        seen[at] = true;
    }
    let leaves = told.grow(grown_on);
    told.measure(leaves, &seen, scalers, segments)
}

impl Told<'_> {
    fn grow(&self, rows: Vec<usize>) -> Vec<Node> {
        let root = self.node(rows, Vec::new());
        let least = LEAST_DROP * impurity(&self.counts(&root.rows));
        let mut leaves = vec![root];
        while leaves.len() < LEAVES_EACH * self.n_segments {
            let drop = |leaf: &Node| leaf.split.map_or(0.0, |split| split.drop);
            // Of equal drops the leaf that came first.
            let best = (0..leaves.len()).reduce(|a, b| if drop(&leaves[b]) > drop(&leaves[a]) { b } else { a });
            let Some((best, split)) = best.and_then(|best| Some((best, leaves[best].split?))).filter(|(_, split)| split.drop > least)
            else {
                break;
            };
            let leaf = leaves.swap_remove(best);
            let (below, above): (Vec<usize>, Vec<usize>) = leaf.rows.iter().partition(|&&at| self.cell(split.column, at) <= split.at);
            for (rows, is_above) in [(below, false), (above, true)] {
                let bounds = leaf.bounds.iter().copied().chain([Bound { column: split.column, at: split.at, is_above }]);
                leaves.push(self.node(rows, bounds.collect()));
            }
        }
        while let Some((a, b)) = twins(&leaves) {
            let twin = leaves.swap_remove(b);
            leaves[a].rows.extend(twin.rows);
            leaves[a].bounds.pop();
        }
        leaves
    }

    fn node(&self, rows: Vec<usize>, bounds: Vec<Bound>) -> Node {
        let counts = self.counts(&rows);
        // Of equal counts the larger segment, which comes first.
        let label = (0..counts.len()).reduce(|a, b| if counts[b] > counts[a] { b } else { a }).unwrap_or_default();
        let splits: Vec<Option<Split>> = (0..self.cells.len()).into_par_iter().map(|column| self.split(column, &rows, &counts)).collect();
        let better = |a: Split, b: Split| if b.drop > a.drop { b } else { a };
        Node { rows, bounds, label, split: splits.into_iter().flatten().reduce(better) }
    }

    /// Returns the best bound on a column.
    fn split(&self, column: usize, rows: &[usize], counts: &[u64]) -> Option<Split> {
        let mut sorted: Vec<(f64, usize)> = rows.iter().map(|&at| (self.cell(column, at), self.labels[at])).collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut below, mut above) = (vec![0; counts.len()], counts.to_vec());
        let whole = impurity(counts);
        let mut best: Option<(f64, usize)> = None;
        for (at, &(x, label)) in sorted.iter().enumerate() {
            below[label] += 1;
            above[label] -= 1;
            let Some(&(next, _)) = sorted.get(at + 1) else { break };
            // No bound lies between equal values.
            if x >= next || at + 1 < FEWEST || sorted.len() - at - 1 < FEWEST {
                continue;
            }
            let drop = whole - impurity(&below) - impurity(&above);
            if drop > best.map_or(0.0, |(drop, _)| drop) {
                best = Some((drop, at));
            }
        }
        best.map(|(drop, at)| Split { drop, column, at: between(sorted[at].0, sorted[at + 1].0) })
    }

    fn cell(&self, column: usize, at: usize) -> f64 {
        self.cells[column][self.places[at].row]
    }

    fn counts(&self, rows: &[usize]) -> Vec<u64> {
        let mut counts = vec![0; self.n_segments + 1];
        for &at in rows {
            counts[self.labels[at]] += 1;
        }
        counts
    }

    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn measure(&self, leaves: Vec<Node>, seen: &[bool], scalers: &[Scaler], segments: &[Segment]) -> Rules {
        let holds = |bound: &Bound, at: usize| (self.cell(bound.column, at) > bound.at) == bound.is_above;
        let leaf_of = |at: usize| leaves.iter().position(|leaf| leaf.bounds.iter().all(|bound| holds(bound, at)));
        let of_row: Vec<usize> = (0..self.places.len()).into_par_iter().map(|at| leaf_of(at).expect("leaves part all rows")).collect();
        let mut counts = vec![vec![0_u64; self.n_segments + 1]; leaves.len()];
        let mut all = vec![0_u64; leaves.len()];
        let (mut paid, mut due) = (0.0, 0.0);
        for (at, &leaf) in of_row.iter().enumerate() {
            all[leaf] += 1;
            if seen[at] {
                continue;
            }
            counts[leaf][self.labels[at]] += 1;
            let label = leaves[leaf].label;
            if let (Some(distance), Some(segment)) = (self.places[at].distance, segments.get(label)) {
                due += distance * distance;
                paid += if label == self.labels[at] { distance * distance } else { self.square(at, scalers, segment) };
            }
        }
        let of_label = |label: usize| counts.iter().map(|counts| counts[label]).sum::<u64>();
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let right: u64 = leaves.iter().zip(&counts).map(|(leaf, counts)| counts[leaf.label]).sum();
        let held_out: u64 = counts.iter().flatten().sum();
        let is_segment = |(_, leaf): &(usize, Node)| leaf.label < self.n_segments;
        let rule = |(at, leaf): (usize, Node)| {
            let n_held_out = counts[at].iter().sum();
            let own = counts[at][leaf.label];
            let (coverage, purity) = (share(own, of_label(leaf.label)), share(own, n_held_out));
            Rule { segment: leaf.label, bounds: tight(&leaf.bounds), n: all[at], n_held_out, coverage, purity }
        };
        let accuracy = share(right, held_out);
        let mut rules: Vec<Rule> = leaves.into_iter().enumerate().filter(is_segment).map(rule).collect();
        rules.sort_by_key(|rule| (rule.segment, std::cmp::Reverse(rule.n)));
        Rules { rules, accuracy, price: (due > 0.0).then(|| paid / due) }
    }

    /// Returns the squared distance of a row from a segment's centre, in scaled units.
    fn square(&self, at: usize, scalers: &[Scaler], segment: &Segment) -> f64 {
        let length = || libm::sqrt((0..scalers.len()).map(|column| self.cell(column, at).powi(2)).sum());
        let length = if self.is_unit { length() } else { 1.0 };
        let terms = scalers.iter().zip(&segment.centre).enumerate();
        terms.map(|(column, (scaler, centre))| ((self.cell(column, at) / length - centre) / scaler.unit).powi(2)).sum()
    }
}

/// Returns two leaves of one split, the first before the second, that name the same segment.
fn twins(leaves: &[Node]) -> Option<(usize, usize)> {
    let is_twin = |a: &Node, b: &Node| {
        let other = |bound: &Bound| Bound { is_above: !bound.is_above, ..*bound };
        let (Some((last, path)), Some((of_twin, path_of_twin))) = (a.bounds.split_last(), b.bounds.split_last()) else { return false };
        a.label == b.label && path == path_of_twin && *of_twin == other(last)
    };
    let pairs = (0..leaves.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    pairs.into_iter().find(|&(a, b)| is_twin(&leaves[a], &leaves[b]))
}

/// Returns a path without the bounds that a later one of the same side makes tighter.
fn tight(path: &[Bound]) -> Vec<Bound> {
    let is_last = |(at, bound): &(usize, &Bound)| {
        !path[at + 1..].iter().any(|later| (later.column, later.is_above) == (bound.column, bound.is_above))
    };
    let mut bounds: Vec<Bound> = path.iter().enumerate().filter(is_last).map(|(_, bound)| *bound).collect();
    bounds.sort_by_key(|bound| (bound.column, !bound.is_above));
    bounds
}

/// Returns Gini impurity times rows: n - sum of squared counts / n.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn impurity(counts: &[u64]) -> f64 {
    let n: u64 = counts.iter().sum();
    if n == 0 {
        return 0.0;
    }
    let squares: f64 = counts.iter().map(|&count| count as f64 * count as f64).sum();
    n as f64 - squares / n as f64
}

/// Returns a number that is at least `low` and below `high`: `low` where the two are whole numbers and no other lies between, else the one
/// near their middle with the fewest decimal digits.
fn between(low: f64, high: f64) -> f64 {
    if low.fract() == 0.0 && high.fract() == 0.0 && high - low <= 1.0 {
        return low;
    }
    let middle = low / 2.0 + high / 2.0;
    let written = (0..17).filter_map(|digits| format!("{middle:.digits$e}").parse::<f64>().ok());
    written.into_iter().find(|x| low <= *x && *x < high).unwrap_or(low)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "decimals are exact")]
    fn bounds_have_the_fewest_digits() {
        assert_eq!(between(0.0, 1.0), 0.0);
        assert_eq!(between(3.0, 4.0), 3.0);
        assert_eq!(between(3.0, 5.0), 4.0);
        assert_eq!(between(1_234.0, 1_239.0), 1_236.0);
        assert_eq!(between(0.1, 0.9), 0.5);
        assert_eq!(between(-3.0, -2.0), -3.0);
        assert_eq!(between(99.0, 101.0), 100.0);
        let next = f64::from_bits(1.0_f64.to_bits() + 1);
        assert_eq!(between(1.0, next), 1.0);
        assert!(between(f64::MAX / 2.0, f64::MAX) < f64::MAX);
    }

    /// Cells and labels that go together in part, by a generator of their own.
    fn noisy(n: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
        let mut state = 11_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 40).unwrap() % 50)
        };
        let cells: Vec<Vec<f64>> = (0..3).map(|_| (0..n).map(|_| next()).collect()).collect();
        let labels = (0..n).map(|at| usize::from(cells[1][at] + next() > 40.0) + usize::from(cells[2][at] > 30.0)).collect();
        (cells, labels)
    }

    /// A segment of one row at the origin.
    fn segment() -> Segment {
        Segment {
            n: 1,
            n_placed: 0,
            weight: None,
            stability: None,
            trust: super::super::Trust::Unknown,
            inertia: 0.0,
            silhouette: None,
            profile: None,
            centre: vec![0.0; 3],
        }
    }

    fn places(labels: &[usize]) -> Vec<Place> {
        let place = |(row, label): (usize, &usize)| {
            let segment = u32::try_from(*label).ok();
            Place { distance: Some(1.0), ..Place::of(row, segment) }
        };
        labels.iter().enumerate().map(place).collect()
    }

    #[test]
    fn the_first_split_is_the_best_of_all_bounds() {
        let (cells, labels) = noisy(300);
        let places = places(&labels);
        let told = Told {
            cells: cells.iter().map(Vec::as_slice).collect(),
            labels: labels.clone(),
            places: &places,
            n_segments: 3,
            is_unit: false,
        };
        let found = told.node((0..300).collect(), Vec::new()).split.unwrap();
        // By the book: one minus the sum of squared shares, weighted by rows, for every bound between two values.
        let gini = |of: &[usize]| {
            let share = |label: usize| of.iter().filter(|other| **other == label).count() as f64 / of.len() as f64;
            (0..3).fold(1.0, |rest, label| rest - share(label) * share(label)) * of.len() as f64
        };
        let drop = |column: usize, at: f64| {
            let (below, above): (Vec<usize>, Vec<usize>) = (0..300).partition(|&row| cells[column][row] <= at);
            let of = |rows: &[usize]| gini(&rows.iter().map(|&row| labels[row]).collect::<Vec<usize>>());
            if below.len() < FEWEST || above.len() < FEWEST { 0.0 } else { gini(&labels) - of(&below) - of(&above) }
        };
        let every = (0..3).flat_map(|column| (0..50).map(move |at| (column, f64::from(at) + 0.5)));
        let best = every.map(|(column, at)| drop(column, at)).fold(0.0, f64::max);
        assert!((found.drop - best).abs() < 1e-9 * best, "{} {best}", found.drop);
        assert!((drop(found.column, found.at) - best).abs() < 1e-9 * best);
        // A twin that takes another column is seen.
        assert!((0..3).any(|column| drop(column, found.at) < 0.9 * best));
    }

    #[test]
    fn rules_part_all_rows_and_are_as_right_as_they_say() {
        let (cells, labels) = noisy(4_000);
        let places = places(&labels);
        let told = Told {
            cells: cells.iter().map(Vec::as_slice).collect(),
            labels: labels.clone(),
            places: &places,
            n_segments: 3,
            is_unit: false,
        };
        let scalers = [Scaler { centre: 0.0, unit: 1.0, category_of: None }; 3];
        let segments = vec![segment(); 3];
        let seen: Vec<bool> = (0..4_000).map(|at| at % 2 == 0).collect();
        let leaves = told.grow((0..4_000).filter(|at| at % 2 == 0).collect());
        assert!(leaves.len() <= 6 && twins(&leaves).is_none());
        let found = told.measure(leaves, &seen, &scalers, &segments);
        let holds = |rule: &Rule, at: usize| rule.bounds.iter().all(|bound| (cells[bound.column][at] > bound.at) == bound.is_above);
        assert!((0..4_000).all(|at| found.rules.iter().filter(|rule| holds(rule, at)).count() == 1));
        let mut right = 0;
        for rule in &found.rules {
            let own: Vec<usize> = (0..4_000).filter(|&at| holds(rule, at)).collect();
            let held_out: Vec<usize> = own.iter().copied().filter(|at| !seen[*at]).collect();
            let hits = held_out.iter().filter(|&&at| labels[at] == rule.segment).count();
            let of_segment = (0..4_000).filter(|&at| !seen[at] && labels[at] == rule.segment).count();
            assert_eq!((own.len() as u64, held_out.len() as u64), (rule.n, rule.n_held_out));
            assert!((rule.purity.unwrap() - hits as f64 / held_out.len() as f64).abs() < 1e-12);
            assert!((rule.coverage.unwrap() - hits as f64 / of_segment as f64).abs() < 1e-12);
            assert!(rule.bounds.len() <= 6);
            right += hits;
        }
        assert!((found.accuracy.unwrap() - right as f64 / 2_000.0).abs() < 1e-12);
        assert!(found.accuracy.unwrap() > 0.7, "{:?}", found.accuracy);
    }

    #[test]
    fn labels_that_go_with_nothing_have_no_rules_that_hold() {
        let (cells, _) = noisy(2_000);
        // A multiplicative hash of the row: no column knows it.
        let labels: Vec<usize> = (0..2_000_u64).map(|at| usize::from(at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 1)).collect();
        let places = places(&labels);
        let told = Told { cells: cells.iter().map(Vec::as_slice).collect(), labels, places: &places, n_segments: 2, is_unit: false };
        let seen: Vec<bool> = (0..2_000).map(|at| at < 1_000).collect();
        let scalers = [Scaler { centre: 0.0, unit: 1.0, category_of: None }; 3];
        let found = told.measure(told.grow((0..1_000).collect()), &seen, &scalers, &vec![segment(); 2]);
        assert!((found.accuracy.unwrap() - 0.5).abs() < 0.06, "{:?}", found.accuracy);
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "whole numbers")]
    fn impurity_is_that_of_the_definition() {
        assert_eq!(impurity(&[5, 0, 0]), 0.0);
        assert_eq!(impurity(&[4, 4]), 8.0 * (1.0 - 0.25 - 0.25));
        assert_eq!(impurity(&[]), 0.0);
    }
}
