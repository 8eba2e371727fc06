//! From pairs to entities: average link inside the components of likely pairs, or one to one between two clean sources; never bare
//! transitive closure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use rayon::prelude::*;

use super::weigh::probability;

/// A pair with its log odds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) a: u32,
    pub(super) b: u32,
    pub(super) log_odds: f64,
}

/// Log odds of two records.
pub(super) type Score<'a> = dyn Fn(u32, u32) -> f64 + Sync + 'a;

/// Probability from which a pair holds a component together.
const LEAST: f64 = 0.3;

/// Returns the entity of every record, numbered by first record: each pair of the two sources that is likelier than `cut`, the likeliest
/// first, no record twice.
pub(super) fn one_to_one(n: usize, scored: &[Scored], cut: f64) -> Vec<u32> {
    let mut order: Vec<&Scored> = scored.iter().filter(|pair| probability(pair.log_odds) >= cut).collect();
    order.sort_by(|one, other| other.log_odds.total_cmp(&one.log_odds).then((one.a, one.b).cmp(&(other.a, other.b))));
    let mut entity: Vec<u32> = (0..n as u32).collect();
    let mut is_taken = vec![false; n];
    for pair in order {
        if !is_taken[pair.a as usize] && !is_taken[pair.b as usize] {
            is_taken[pair.a as usize] = true;
            is_taken[pair.b as usize] = true;
            entity[pair.b as usize] = pair.a;
        }
    }
    entity
}

/// Returns the entity of every record, numbered by first record.
///
/// Components of pairs likelier than `LEAST` are parted by average link (Sokal and Michener 1958) of probabilities; a merge needs a mean of
/// `cut` over all pairs of the two sides. `score` gives the log odds of pairs that are not among the scored ones. Where `source` is given, no
/// entity has two records of one source.
pub(super) fn average_link(scored: &[Scored], n: usize, cut: f64, source: Option<&[u16]>, score: &Score<'_>) -> Vec<u32> {
    let mut parent: Vec<u32> = (0..n as u32).collect();
    for pair in scored.iter().filter(|pair| probability(pair.log_odds) >= LEAST) {
        let (a, b) = (root(&mut parent, pair.a), root(&mut parent, pair.b));
        parent[a.max(b) as usize] = a.min(b);
    }
    let roots: Vec<u32> = (0..n as u32).map(|record| root(&mut parent, record)).collect();
    let mut members: BTreeMap<u32, (Vec<u32>, Vec<Scored>)> = BTreeMap::new();
    for record in 0..n as u32 {
        members.entry(roots[record as usize]).or_default().0.push(record);
    }
    for pair in scored.iter().filter(|pair| roots[pair.a as usize] == roots[pair.b as usize]) {
        members.get_mut(&roots[pair.a as usize]).expect("a root is its own member").1.push(*pair);
    }
    let components: Vec<(Vec<u32>, Vec<Scored>)> = members.into_values().filter(|(records, _)| records.len() > 1).collect();
    let parted = |(records, pairs): &(Vec<u32>, Vec<Scored>)| {
        let mut links = links(records, pairs, score);
        if let Some(source) = source {
            links.retain(|(one, other, _)| source[records[*one as usize] as usize] != source[records[*other as usize] as usize]);
        }
        part(records, &links, cut, source)
    };
    let groups: Vec<Vec<Vec<u32>>> = components.par_iter().map(parted).collect();
    let mut entity: Vec<u32> = (0..n as u32).collect();
    for group in groups.into_iter().flatten() {
        let first = *group.iter().min().expect("a group has a record");
        for record in group {
            entity[record as usize] = first;
        }
    }
    entity
}

/// Probability of a third of the log odds: most pairs are certain, and means of 1 and 0 tie; what is less certain then goes last. Half is where
/// it was.
fn tempered(log_odds: f64) -> f64 {
    probability(log_odds / 3.0)
}

/// Links of a component, records by their place in it: of a small one all pairs, of a large one those that were scored.
fn links(records: &[u32], pairs: &[Scored], score: &Score<'_>) -> Vec<(u32, u32, f64)> {
    const SMALL: usize = 200;
    const LEAST_LINK: f64 = 0.01;
    let k = records.len() as u32;
    let place = |record: u32| records.binary_search(&record).expect("pairs are of the component's records") as u32;
    let all: Vec<(u32, u32, f64)> = if records.len() <= SMALL {
        let all = (0..k).flat_map(|one| (one + 1..k).map(move |other| (one, other)));
        all.map(|(one, other)| (one, other, tempered(score(records[one as usize], records[other as usize])))).collect()
    } else {
        pairs.iter().map(|pair| (place(pair.a), place(pair.b), tempered(pair.log_odds))).collect()
    };
    all.into_iter().filter(|link| link.2 >= LEAST_LINK).collect()
}

fn root(parent: &mut [u32], mut record: u32) -> u32 {
    while parent[record as usize] != record {
        parent[record as usize] = parent[parent[record as usize] as usize];
        record = parent[record as usize];
    }
    record
}

/// Average link of one component over its likely pairs, the likeliest merge first; pairs that are not among the links have probability 0.
fn part(component: &[u32], links: &[(u32, u32, f64)], cut: f64, source: Option<&[u16]>) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = component.iter().map(|record| vec![*record]).collect();
    let mut near: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); component.len()];
    let mut heap = BinaryHeap::new();
    for &(one, other, p) in links {
        near[one as usize].insert(other, p);
        near[other as usize].insert(one, p);
        if p >= cut {
            heap.push(Merge { mean: p, one: one.min(other), other: one.max(other), size: 2 });
        }
    }
    while let Some(merge) = heap.pop() {
        let (one, other) = (merge.one as usize, merge.other as usize);
        // A group that grew or went since then has other means.
        if groups[one].is_empty() || groups[other].is_empty() || groups[one].len() + groups[other].len() != merge.size {
            continue;
        }
        let Some(&sum) = near[one].get(&merge.other) else { continue };
        if (sum / (groups[one].len() * groups[other].len()) as f64).to_bits() != merge.mean.to_bits() {
            continue;
        }
        if source.is_some_and(|source| has_one_source(&groups[one], &groups[other], source)) {
            near[one].remove(&merge.other);
            near[other].remove(&merge.one);
            continue;
        }
        let moved = std::mem::take(&mut groups[other]);
        groups[one].extend(moved);
        near[one].remove(&merge.other);
        for (third, sum) in std::mem::take(&mut near[other]) {
            near[third as usize].remove(&merge.other);
            if third != merge.one {
                *near[one].entry(third).or_default() += sum;
            }
        }
        let sums: Vec<(u32, f64)> = near[one].iter().map(|(third, sum)| (*third, *sum)).collect();
        for (third, sum) in sums {
            near[third as usize].insert(merge.one, sum);
            let mean = sum / (groups[one].len() * groups[third as usize].len()) as f64;
            if mean >= cut {
                let size = groups[one].len() + groups[third as usize].len();
                heap.push(Merge { mean, one: merge.one.min(third), other: merge.one.max(third), size });
            }
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Says whether two groups hold records of one source.
fn has_one_source(one: &[u32], other: &[u32], source: &[u16]) -> bool {
    one.iter().any(|record| other.iter().any(|beside| source[*record as usize] == source[*beside as usize]))
}

/// A merge to come: the likeliest first, then that of the first records.
#[derive(Debug, Clone, Copy)]
struct Merge {
    mean: f64,
    one: u32,
    other: u32,
    size: usize,
}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.mean.total_cmp(&other.mean).then((other.one, other.other).cmp(&(self.one, self.other)))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Merge {}
