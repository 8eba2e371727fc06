//! From pairs to entities: average link or correlation clustering inside the components of likely pairs, or one to one between two clean sources; never bare
//! transitive closure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use rayon::prelude::*;

use super::correlation::Component;

/// How much two records belong together, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Link {
    pub(super) a: u32,
    pub(super) b: u32,
    pub(super) closeness: f64,
}

/// Says of two records that they are never one.
pub(super) type Apart<'a> = dyn Fn(u32, u32) -> bool + Sync + 'a;

/// Closeness of two records.
pub(super) type Closeness<'a> = dyn Fn(u32, u32) -> f64 + Sync + 'a;

/// Root and record of the records of a component, and its links.
type Linked<'a> = (&'a [(u32, u32)], &'a [&'a Link]);

/// How the records of a component are parted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Average link (Sokal and Michener 1958).
    #[default]
    AverageLink,
    /// Correlation clustering, from average link on (Bansal, Blum and Chawla 2004).
    Correlation,
}

/// How links become entities.
#[derive(Clone, Copy)]
pub(super) struct Linkage<'a> {
    /// Closeness from which a link holds a component together.
    pub(super) least: f64,
    /// Mean closeness over all pairs of two groups from which they are one.
    pub(super) cut: f64,
    /// Says which records are in no entity together: those of one clean source.
    pub(super) apart: Option<&'a Apart<'a>>,
    /// Gives the closeness of any two records of a small component; without it pairs that are not among the links have closeness 0.
    pub(super) closeness: Option<&'a Closeness<'a>>,
    pub(super) grouping: Grouping,
}

/// Returns the entity of every record, numbered by first record: of pairs of two sources, the best first, each whose records have no other yet.
pub(super) fn one_to_one(n: usize, best_first: impl Iterator<Item = (u32, u32)>) -> Vec<u32> {
    let mut entity: Vec<u32> = (0..n as u32).collect();
    let mut is_taken = vec![false; n];
    for (a, b) in best_first {
        if !is_taken[a as usize] && !is_taken[b as usize] {
            is_taken[a as usize] = true;
            is_taken[b as usize] = true;
            entity[b as usize] = a;
        }
    }
    entity
}

/// Returns the entity of every record, numbered by first record: components of links are parted by average link, or from there on by correlation clustering.
pub(super) fn linked(n: usize, links: &[Link], linkage: Linkage<'_>) -> Vec<u32> {
    let mut parent: Vec<u32> = (0..n as u32).collect();
    for link in links.iter().filter(|link| link.closeness >= linkage.least) {
        let (a, b) = (root(&mut parent, link.a), root(&mut parent, link.b));
        parent[a.max(b) as usize] = a.min(b);
    }
    let roots: Vec<u32> = (0..n as u32).map(|record| root(&mut parent, record)).collect();
    // Records of each component, and its links; most records are alone and in none.
    let mut has_others = vec![false; n];
    (0..n).filter(|record| roots[*record] as usize != *record).for_each(|record| {
        has_others[record] = true;
        has_others[roots[record] as usize] = true;
    });
    let mut members: Vec<(u32, u32)> =
        (0..n as u32).filter(|record| has_others[*record as usize]).map(|record| (roots[record as usize], record)).collect();
    members.par_sort_unstable();
    let mut inner: Vec<&Link> = links.iter().filter(|link| roots[link.a as usize] == roots[link.b as usize]).collect();
    inner.par_sort_by_key(|link| roots[link.a as usize]);
    let of_root = inner.chunk_by(|one, other| roots[one.a as usize] == roots[other.a as usize]);
    let components: Vec<Linked<'_>> = members.chunk_by(|one, other| one.0 == other.0).zip(of_root).collect();
    let parted = |(members, links): &Linked<'_>| -> Vec<Vec<u32>> {
        let records: Vec<u32> = members.iter().map(|(_, record)| *record).collect();
        let mut links = within(&records, links, linkage.closeness);
        let apart = linkage.apart.map(|apart| {
            let records = &records;
            move |one: u32, other: u32| apart(records[one as usize], records[other as usize])
        });
        let apart: Option<&Apart<'_>> = apart.as_ref().map(|apart| apart as &Apart<'_>);
        if let Some(apart) = apart {
            links.retain(|(one, other, _)| !apart(*one, *other));
        }
        let mut groups = part(records.len(), &links, linkage.cut, apart);
        if linkage.grouping == Grouping::Correlation {
            groups = Component { n: records.len(), links: &links, cut: linkage.cut, apart }.improved(groups);
        }
        groups.into_iter().map(|group| group.into_iter().map(|place| records[place as usize]).collect()).collect()
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

/// Numbers entities from 0 by their first record.
pub(super) fn numbered(first: &[u32]) -> (Vec<u32>, usize) {
    let (mut entity, mut n) = (vec![0; first.len()], 0);
    for (record, first) in first.iter().enumerate() {
        if *first as usize == record {
            entity[record] = n;
            n += 1;
        } else {
            entity[record] = entity[*first as usize];
        }
    }
    (entity, n as usize)
}

/// Links of a component, records by their place in it: of a small one all pairs, of a large one those that were given.
fn within(records: &[u32], links: &[&Link], closeness: Option<&Closeness<'_>>) -> Vec<(u32, u32, f64)> {
    const SMALL: usize = 200;
    const LEAST_LINK: f64 = 0.01;
    let k = records.len() as u32;
    let place = |record: u32| records.binary_search(&record).expect("links are of the component's records") as u32;
    let all: Vec<(u32, u32, f64)> = match closeness.filter(|_| records.len() <= SMALL) {
        Some(closeness) => {
            let all = (0..k).flat_map(|one| (one + 1..k).map(move |other| (one, other)));
            all.map(|(one, other)| (one, other, closeness(records[one as usize], records[other as usize]))).collect()
        }
        None => links.iter().map(|link| (place(link.a), place(link.b), link.closeness)).collect(),
    };
    all.into_iter().filter(|link| link.2 >= LEAST_LINK).collect()
}

/// Returns the root of a record's set, and shortens the way there.
pub(super) fn root(parent: &mut [u32], mut record: u32) -> u32 {
    while parent[record as usize] != record {
        parent[record as usize] = parent[parent[record as usize] as usize];
        record = parent[record as usize];
    }
    record
}

/// Average link of one component over its links, the closest merge first; pairs without a link have closeness 0.
fn part(n: usize, links: &[(u32, u32, f64)], cut: f64, apart: Option<&Apart<'_>>) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = (0..n as u32).map(|place| vec![place]).collect();
    let mut near: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); n];
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
        if are_apart(&groups[one], &groups[other], apart) {
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

/// Says whether two groups hold records that are never one.
fn are_apart(one: &[u32], other: &[u32], apart: Option<&Apart<'_>>) -> bool {
    apart.is_some_and(|apart| one.iter().any(|a| other.iter().any(|b| apart(*a, *b))))
}

/// A merge to come: the closest first, then that of the first records.
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
