//! Segments that fall into parts, level by level, and why others do not.
//!
//! ```text
//! rows of a segment -> at most SAMPLE drawn -> how many parts (choose.rs) -> parts -> is each large enough, does each come back? -> its parts
//!
//! refused        the segment does not come back itself
//! deep enough    it lies on the last level that was asked for
//! tiny           it has too few rows for two parts, or a part has too few: `min_size`, a hundredth of its rows, LEAST
//! no structure   no number of parts is taken
//! unstable       a part does not come back: stability below REFUSED
//! ```
//!
//! Shape    points with their segments in; a tree out, and the part of every point on every level.
//! Scale    that of the step: distances mean the same on every level.
//! Method   that which made the segments, however their number was found; of HDBSCAN, whose number is held against nothing at the top, parts
//!          are held against draws without structure too.
//! Rows     centres and mixtures are fitted to the rows drawn, and others go with the nearest or likeliest; methods of density take all rows.
//!          Parts are numbered by their rows at hand, which of k-means are rows drawn (streamed.rs).
//! Noise    rows of a segment that are in none of its parts stay with the segment.
//! Numbers  neither threads nor places change a byte: all is done on the CPU.
//! Absent   parts in the model: rows to come are labelled by segments of the first level.

use std::collections::BTreeMap;

use super::assign::{Assign, AssignInput, Centres};
use super::density::NOISE;
use super::fit::{Fits, Fitted, Recipe};
use super::order::Order;
use super::points::Points;
use super::{ClusterOptions, Method, Place, REFUSED, SAMPLE, Sweep, Trust, choose, stability};

/// Most levels of segments.
pub const MOST_LEVELS: usize = 4;

/// Fewest rows of a part.
const LEAST: usize = 30;

/// Share of a segment's rows that a part holds at least.
const SHARE: usize = 100;

/// Where a row lies below its segment: the number of a part on every level, from 1; 0 below the finest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finer([u8; MOST_LEVELS - 1]);

impl Finer {
    /// No level below the segment.
    pub(super) const NONE: Self = Self([0; MOST_LEVELS - 1]);

    /// Returns the levels below the segment.
    #[must_use]
    pub fn depth(self) -> usize {
        self.0.iter().take_while(|part| **part > 0).count()
    }

    /// Returns the path of a row of this segment: numbers from 1 with points between them.
    #[must_use]
    pub fn path(self, segment: u32) -> String {
        let parts = self.0.iter().take_while(|part| **part > 0).map(u8::to_string);
        std::iter::once((segment + 1).to_string()).chain(parts).collect::<Vec<String>>().join(".")
    }

    /// Returns the place of a part, counted from 0.
    fn part(mut self, part: usize) -> Self {
        self.0[self.depth()] = u8::try_from(part + 1).expect("a part holds a hundredth of the rows, so that there are at most 100");
        self
    }

    fn is_within(self, other: Self) -> bool {
        let depth = other.depth();
        self.0[..depth] == other.0[..depth]
    }
}

/// Why a segment is not split further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// It does not come back itself.
    Refused,
    /// It lies on the last level.
    DeepEnough,
    /// It has too few rows, or a part has.
    Tiny,
    /// No number of parts is taken.
    NoStructure,
    /// A part does not come back.
    Unstable,
}

impl Ended {
    /// Returns the words written into the table.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::DeepEnough => "deep enough",
            Self::Tiny => "tiny",
            Self::NoStructure => "no structure",
            Self::Unstable => "unstable",
        }
    }
}

/// What decided whether a segment was split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decided {
    /// Parts that were looked at; none where it did not come so far.
    pub k: Option<usize>,
    /// A criterion of [`Sweep`], `rows` (of the smallest part, or of the segment) or `stability` (of the least stable part, or of the segment).
    pub criterion: &'static str,
    /// What that came to.
    pub value: f64,
}

/// A segment of any level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// Its segment of the first level.
    pub segment: u32,
    /// Where it lies below that.
    pub finer: Finer,
    /// Rows.
    pub n: u64,
    /// Mean Jaccard similarity with its like in bootstrap samples of the segment that it is a part of.
    pub stability: Option<f64>,
    /// Whether it can be trusted.
    pub trust: Trust,
    /// Why it was not split further; none where it was.
    pub ended: Option<Ended>,
    /// What decided that; none on the last level.
    pub decided: Option<Decided>,
}

impl Split {
    /// Returns its level, from 1.
    #[must_use]
    pub fn level(&self) -> usize {
        1 + self.finer.depth()
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> String {
        self.finer.path(self.segment)
    }

    /// Returns the path of the segment that it is a part of; none on the first level.
    #[must_use]
    pub fn parent(&self) -> Option<String> {
        self.path().rsplit_once('.').map(|(parent, _)| parent.to_owned())
    }
}

/// Rows by the finest segment that they are in.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(u32, Finer), u64>);

impl Counts {
    pub(super) fn absorb(&mut self, places: &[Place]) {
        for place in places {
            if let Some(segment) = place.segment {
                *self.0.entry((segment, place.finer)).or_default() += 1;
            }
        }
    }

    fn of(&self, split: &Split) -> u64 {
        let within = self.0.iter().filter(|((segment, finer), _)| *segment == split.segment && finer.is_within(split.finer));
        within.map(|(_, n)| n).sum()
    }
}

/// Segments with their parts; nothing where one level was asked for.
#[derive(Debug, Default)]
pub(super) struct Splits {
    tops: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    split: Split,
    /// Centres of the parts, of a method that has them.
    centres: Option<Centres>,
    parts: Vec<Self>,
}

impl Splits {
    /// Says whether more than one level was asked for.
    pub(super) const fn is_asked(&self) -> bool {
        !self.tops.is_empty()
    }

    /// Returns where a point of a segment lies, by the nearest centre on every level.
    pub(super) fn finer(&self, segment: u32, point: &[f32], room: &mut Vec<f64>) -> Finer {
        let Some(mut node) = self.tops.get(segment as usize) else { return Finer::default() };
        while let Some(centres) = &node.centres {
            node = &node.parts[centres.nearest(point, room) as usize];
        }
        node.split.finer
    }

    /// Returns all segments, each before its parts.
    pub(super) fn told(&self, counts: &Counts) -> Vec<Split> {
        let mut told = Vec::new();
        let mut open: Vec<&Node> = self.tops.iter().rev().collect();
        while let Some(node) = open.pop() {
            told.push(Split { n: counts.of(&node.split), ..node.split });
            open.extend(node.parts.iter().rev());
        }
        told
    }
}

/// What all segments are looked at with.
pub(super) struct Growing<'a> {
    pub(super) points: &'a Points,
    /// How the segments were made.
    pub(super) like: Recipe,
    pub(super) options: &'a ClusterOptions,
    pub(super) fits: Fits<'a>,
}

/// Parts of a segment.
struct Parts {
    /// Part of every row; none for noise.
    of_row: Vec<Option<usize>>,
    stability: Vec<f64>,
    centres: Option<Centres>,
    decided: Decided,
}

impl Growing<'_> {
    /// Splits segments whose stabilities are given as deep as is asked for; returns them and where every point lies. None where the work was
    /// stopped.
    pub(super) fn grow(&self, stability: &[Option<f64>], segments: &[Option<u32>]) -> Option<(Splits, Vec<Finer>)> {
        let mut rows = vec![Vec::new(); stability.len()];
        for (row, segment) in segments.iter().enumerate() {
            if let Some(segment) = segment {
                rows[*segment as usize].push(row);
            }
        }
        let mut finer = vec![Finer::default(); segments.len()];
        let mut tops = Vec::with_capacity(rows.len());
        for ((segment, own), &stability) in (0..).zip(rows).zip(stability) {
            let top = Split {
                segment,
                finer: Finer::default(),
                n: own.len() as u64,
                stability,
                trust: Trust::of(stability),
                ended: None,
                decided: None,
            };
            tops.push(self.node(&own, top, &mut finer)?);
        }
        Some((Splits { tops }, finer))
    }

    /// Looks at the rows of a segment, and at its parts.
    fn node(&self, own: &[usize], split: Split, finer: &mut [Finer]) -> Option<Node> {
        let parts = match self.parts(own, &split)? {
            Ok(parts) => parts,
            Err((ended, decided)) => {
                return Some(Node { split: Split { ended: Some(ended), decided, ..split }, centres: None, parts: Vec::new() });
            }
        };
        let mut rows = vec![Vec::new(); parts.stability.len()];
        for (&row, part) in own.iter().zip(parts.of_row) {
            if let Some(part) = part {
                finer[row] = split.finer.part(part);
                rows[part].push(row);
            }
        }
        let mut node = Node { split: Split { decided: Some(parts.decided), ..split }, centres: parts.centres, parts: Vec::new() };
        for ((part, own), stability) in rows.into_iter().enumerate().zip(parts.stability) {
            let (n, stability) = (own.len() as u64, Some(stability));
            let part = Split { finer: split.finer.part(part), n, stability, trust: Trust::of(stability), ..split };
            node.parts.push(self.node(&own, part, finer)?);
        }
        Some(node)
    }

    /// Returns the parts of a segment, or why it has none.
    fn parts(&self, own: &[usize], split: &Split) -> Option<Result<Parts, (Ended, Option<Decided>)>> {
        let (fits, options) = (self.fits, self.options);
        let refused = |ended, k, criterion, value| Some(Err((ended, Some(Decided { k, criterion, value }))));
        let least = (own.len().div_ceil(SHARE)).max(options.min_size.unwrap_or(0)).max(LEAST);
        if split.level() >= options.levels.min(MOST_LEVELS) {
            return Some(Err((Ended::DeepEnough, None)));
        }
        if split.trust == Trust::Refused {
            return refused(Ended::Refused, None, "stability", split.stability.unwrap_or(0.0));
        }
        if own.len() < 2 * least {
            return refused(Ended::Tiny, None, "rows", of(own.len()));
        }
        let own = self.points.some(own);
        let drawn = stability::sample(own.n(), SAMPLE, options.seed);
        let sample = own.some(&drawn);
        let mut sweep = Vec::new();
        let recipe = choose::recipe_within(&sample, (self.like, least), options, &mut sweep, fits).flatten();
        // A fit fails where all points are alike: the segment is one.
        let fitted = recipe.and_then(|recipe| Some((recipe, self.fitted(recipe, &own, &sample)?)));
        if (fits.stop)() {
            return None;
        }
        let Some((recipe, fitted)) = fitted else { return Some(Err((Ended::NoStructure, decided(&sweep)))) };
        let order = Order::of(&fitted);
        let k = order.segments.len();
        if k < 2 {
            return refused(Ended::NoStructure, Some(k), "dense_places", of(k));
        }
        if sweep.is_empty() && choose::is_structured(&sample, Method::Hdbscan, k, &mut sweep, fits) != Some(true) {
            return (!(fits.stop)()).then(|| Err((Ended::NoStructure, decided(&sweep))));
        }
        let smallest = order.segments.iter().map(|(_, n)| *n).min().unwrap_or(0);
        if smallest < least as u64 {
            return refused(Ended::Tiny, Some(k), "rows", of(smallest as usize));
        }
        let of_sample: Vec<u32> = drawn.iter().map(|&at| fitted.labels[at]).collect();
        let share = of(sample.n()) / of(own.n());
        let by_label = stability::stability(&sample, &of_sample, fitted.n_segments, (recipe, share), options.bootstrap, fits);
        if (fits.stop)() {
            return None;
        }
        let by_label = by_label.unwrap_or_else(|| vec![0.0; fitted.n_segments]);
        let stability: Vec<f64> = order.segments.iter().map(|(label, _)| by_label[*label]).collect();
        let least_stable = stability.iter().copied().fold(1.0, f64::min);
        if least_stable < REFUSED {
            return refused(Ended::Unstable, Some(k), "stability", least_stable);
        }
        let of_row = fitted.labels.iter().map(|&label| (label != NOISE).then(|| order.position[label as usize] as usize)).collect();
        let centres = fitted.centres.is_some().then(|| order.centres(&own, &fitted));
        let decided = decided(&sweep).unwrap_or(Decided { k: Some(k), criterion: "stability", value: least_stable });
        Some(Ok(Parts { of_row, stability, centres, decided }))
    }

    /// Parts the rows of a segment; none where the work was stopped, or the fit failed.
    fn fitted(&self, recipe: Recipe, own: &Points, sample: &Points) -> Option<Fitted> {
        let fits = Fits { on: self.fits.host, ..self.fits };
        // Where copies matter, so does how many points there are.
        if recipe.minds_copies() {
            return recipe.fit(own, Some(sample), 0, fits);
        }
        let fitted = recipe.fit(sample, Some(sample), 0, fits)?;
        let labels = match (&fitted.mixture, &fitted.centres) {
            (Some(mixture), _) => mixture.labels(own).0,
            (None, Some(centres)) => fits.host.run(&Assign, AssignInput { points: own, centres }).output.labels(),
            (None, None) => return Some(fitted),
        };
        Some(Fitted { labels, ..fitted })
    }
}

#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
const fn of(n: usize) -> f64 {
    n as f64
}

/// Returns what the number of parts was taken by, or what came nearest to it.
fn decided(sweep: &[Sweep]) -> Option<Decided> {
    let worth = |sweep: &&Sweep| if sweep.criterion == "bic" { -sweep.value } else { sweep.value };
    let taken = sweep.iter().find(|sweep| sweep.chosen);
    let by_chance = || sweep.last().filter(|last| last.criterion == "by_chance");
    let nearest = || sweep.iter().max_by(|a, b| worth(a).total_cmp(&worth(b)));
    let sweep = taken.or_else(by_chance).or_else(nearest)?;
    Some(Decided { k: Some(sweep.k), criterion: sweep.criterion, value: sweep.value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::collections::BTreeSet;

    use rayon::prelude::*;

    use super::super::tests::{Noise, OPTIONS, found};
    use super::super::{Choice, Clustering, Covariance, Scale};
    use super::*;
    use crate::agreement::Crossing;

    /// Rows of groups with a middle each, and the group of every row.
    fn groups(of: &[(usize, [f64; 2])], draw: fn(&mut Noise) -> f64, seed: u64) -> (Vec<Vec<f64>>, Vec<usize>) {
        let mut noise = Noise(seed * 7919 + 1);
        let most = of.iter().map(|(n, _)| *n).max().unwrap_or(0);
        let truth: Vec<usize> = (0..most).flat_map(|row| (0..of.len()).filter(move |at| row < of[*at].0)).collect();
        let columns = (0..2).map(|column| truth.iter().map(|at| of[*at].1[column] + draw(&mut noise)).collect()).collect();
        (columns, truth)
    }

    /// Two groups far apart, one of which is three.
    fn nested() -> (Vec<Vec<f64>>, Vec<usize>) {
        groups(&[(150, [0.0, 0.0]), (150, [100.0, 0.0]), (160, [114.0, 0.0]), (170, [107.0, 12.0])], Noise::normal, 3)
    }

    fn options(method: Method, k: usize, levels: usize) -> ClusterOptions {
        ClusterOptions { method, k: Choice::Given(k), levels, scale: Scale::None, ..OPTIONS }
    }

    fn paths(found: &Clustering) -> Vec<String> {
        found.splits.iter().map(Split::path).collect()
    }

    fn ended(found: &Clustering) -> Vec<Option<Ended>> {
        found.splits.iter().map(|split| split.ended).collect()
    }

    /// Adjusted Rand index of the finest segments and the truth.
    fn agreement(places: &[Place], truth: &[usize]) -> f64 {
        let path = |place: &Place| place.finer.path(place.segment.unwrap());
        let all: Vec<String> = places.iter().map(path).collect::<BTreeSet<String>>().into_iter().collect();
        let mut crossing = Crossing::new(all.len(), 4);
        for place in places {
            crossing.add(all.binary_search(&path(place)).unwrap(), truth[place.row], 1);
        }
        crossing.adjusted_rand().unwrap()
    }

    #[test]
    fn nested_groups_are_found_level_by_level() {
        let (columns, truth) = nested();
        for method in [Method::KMeans, Method::Mixture(Covariance::Full), Method::Medoids, Method::Genie, Method::Auto] {
            let two = found(&columns, &options(method, 2, 2));
            assert_eq!(paths(&two), ["1", "1.1", "1.2", "1.3", "2"], "{method:?}: {:?}", two.splits);
            let deep = Some(Ended::DeepEnough);
            assert_eq!(ended(&two), [None, deep, deep, deep, Some(Ended::NoStructure)], "{method:?}");
            assert_eq!(two.splits.iter().map(|split| split.n).collect::<Vec<_>>(), [480, 170, 160, 150, 150], "{method:?}");
            assert!(two.splits.iter().all(|split| split.trust == Trust::Stable), "{:?}", two.splits);
            assert_eq!(two.splits.iter().map(|split| split.decided.map(|of| of.k)).next(), Some(Some(Some(3))));
            assert_eq!(agreement(&two.places, &truth).to_bits(), 1.0_f64.to_bits(), "{method:?}");
            // Wrong twins: a row elsewhere, and the first level alone.
            let mut wrong = two.places.clone();
            wrong[0].finer = Finer([9, 0, 0]);
            assert!(agreement(&wrong, &truth) < 1.0);
            let one = found(&columns, &options(method, 2, 1));
            assert!(one.splits.is_empty() && agreement(&one.places, &truth) < 0.8);
            // A level more changes nothing but the reason.
            let three = found(&columns, &options(method, 2, 3));
            assert_eq!((paths(&three), &three.places), (paths(&two), &two.places), "{method:?}");
            assert_eq!(ended(&three)[1..], [Some(Ended::NoStructure); 4], "{method:?}: {:?}", three.splits);
            // All else is that of one level.
            let bare = Clustering { splits: Vec::new(), places: one.places.clone(), ..two };
            assert!(bare == one, "{method:?}");
        }
        // HDBSCAN sees all four at once, and none of them is more.
        let dense = found(&columns, &options(Method::Hdbscan, 2, 2));
        assert_eq!((paths(&dense).len(), ended(&dense)), (4, vec![Some(Ended::NoStructure); 4]), "{:?}", dense.splits);
    }

    #[test]
    fn three_levels_have_paths_of_three_numbers() {
        let of: Vec<(usize, [f64; 2])> = (0..8)
            .map(|at| (120 + at, [f64::from(at as u32 & 1) * 9.0 + f64::from(at as u32 >> 1 & 1) * 80.0, (at >> 2) as f64 * 700.0]))
            .collect();
        let (columns, truth) = groups(&of, Noise::normal, 2);
        let found = found(&columns, &ClusterOptions { most_parts: 2, ..options(Method::KMeans, 2, 3) });
        let due = ["1", "1.1", "1.1.1", "1.1.2", "1.2", "1.2.1", "1.2.2", "2", "2.1", "2.1.1", "2.1.2", "2.2", "2.2.1", "2.2.2"];
        assert_eq!(paths(&found), due, "{:?}", found.splits);
        assert_eq!(found.splits[3].parent().as_deref(), Some("1.1"));
        assert_eq!((found.splits[0].parent(), found.splits[3].level()), (None, 3));
        let of_path =
            |split: &Split| found.places.iter().filter(|place| place.finer.path(place.segment.unwrap()) == split.path()).count() as u64;
        for split in found.splits.iter().filter(|split| split.ended.is_some()) {
            assert_eq!(split.n, of_path(split), "{}", split.path());
        }
        assert!(
            found
                .places
                .iter()
                .zip(&found.places[1..])
                .all(|(a, b)| (truth[a.row] == truth[b.row]) == ((a.segment, a.finer) == (b.segment, b.finer)))
        );
    }

    #[test]
    fn segments_without_structure_are_not_split() {
        let kinds = [Method::KMeans, Method::Mixture(Covariance::Full), Method::Genie, Method::Hdbscan];
        let draws: [fn(&mut Noise) -> f64; 2] = [Noise::normal, |noise| 3.0 * noise.uniform()];
        for (method, draw) in kinds.into_iter().flat_map(|method| draws.map(|draw| (method, draw))) {
            let is_split = |seed: u64| {
                let (columns, _) = groups(&[(300, [0.0, 0.0]), (200, [60.0, 20.0])], draw, seed);
                let options = ClusterOptions { restarts: 1, bootstrap: 10, seed, ..options(method, 2, 2) };
                let found = found(&columns, &options);
                assert!(found.splits.len() >= 2, "{method:?}");
                found.splits.iter().any(|split| split.ended.is_none())
            };
            let n = (1..=20_u64).into_par_iter().filter(|&seed| is_split(seed)).count();
            assert!(n <= 1, "{method:?}: segments without structure were split in {n} of 20 draws");
        }
    }

    #[test]
    fn every_reason_is_given() {
        let of = |of: &[(usize, [f64; 2])], draw, method| found(&groups(of, draw, 5).0, &options(method, 2, 2));
        // Too few rows for two parts, and a part with too few.
        let tiny = of(&[(200, [0.0, 0.0]), (200, [12.0, 0.0]), (15, [6.0, 12.0]), (55, [500.0, 0.0])], Noise::normal, Method::KMeans);
        assert_eq!(ended(&tiny), [Some(Ended::Tiny); 2], "{:?}", tiny.splits);
        let decided: Vec<Decided> = tiny.splits.iter().map(|split| split.decided.unwrap()).collect();
        assert_eq!(decided[0], Decided { k: Some(3), criterion: "rows", value: 15.0 });
        assert_eq!(decided[1], Decided { k: None, criterion: "rows", value: 55.0 });
        // A hundred rows more, and the part is one.
        let large = of(&[(200, [0.0, 0.0]), (200, [12.0, 0.0]), (115, [6.0, 12.0]), (55, [500.0, 0.0])], Noise::normal, Method::KMeans);
        assert_eq!(paths(&large), ["1", "1.1", "1.2", "1.3", "2"]);
        // Squares far apart, which normal distributions make up as they please.
        let squares = [(400, [0.0, 0.0]), (400, [15.0, 0.0]), (300, [500.0, 0.0])];
        let unstable = of(&squares, |noise| 10.0 * noise.uniform(), Method::Mixture(Covariance::Diagonal));
        assert_eq!(ended(&unstable)[0], Some(Ended::Unstable), "{:?}", unstable.splits);
        let decided = unstable.splits[0].decided.unwrap();
        assert!(decided.criterion == "stability" && decided.value < REFUSED, "{decided:?}");
        // A segment that does not come back is left alone.
        let noise = found(&groups(&[(600, [0.0, 0.0])], Noise::uniform, 1).0, &options(Method::KMeans, 15, 2));
        let refused = noise.splits.iter().filter(|split| split.ended == Some(Ended::Refused)).count();
        assert_eq!(refused, noise.segments.iter().filter(|segment| segment.trust == Trust::Refused).count());
        assert!(refused > 0, "{:?}", noise.splits);
        // All rows of a segment alike.
        let same = of(&[(100, [0.0, 0.0]), (90, [1.0, 0.0])], |_| 0.0, Method::KMeans);
        assert_eq!(ended(&same), [Some(Ended::NoStructure); 2], "{:?}", same.splits);
        let words: BTreeSet<&str> = [tiny, large, unstable, noise, same].iter().flat_map(ended).flatten().map(Ended::words).collect();
        assert_eq!(words.into_iter().collect::<Vec<_>>(), ["deep enough", "no structure", "refused", "tiny", "unstable"]);
    }

    #[test]
    fn threads_change_no_byte() {
        let (columns, _) = groups(&[(150, [0.0, 0.0]), (150, [100.0, 0.0]), (150, [105.5, 0.0])], Noise::normal, 3);
        for method in [Method::KMeans, Method::Genie] {
            let options = options(method, 2, 3);
            let of_threads =
                |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| found(&columns, &options));
            let one = of_threads(1);
            assert!(one == of_threads(2) && one == of_threads(16), "{method:?}");
            let other = found(&columns, &ClusterOptions { seed: 8, ..options });
            // A wrong twin: k-means halves the sample in other places.
            assert!(one.splits.len() == 4 && (other.splits != one.splits || method == Method::Genie), "{:?}", one.splits);
        }
    }
}
