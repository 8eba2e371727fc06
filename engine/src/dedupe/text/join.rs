//! Exact set-similarity join: which pairs of sets reach a Jaccard similarity.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use rayon::prelude::*;

use super::shingles::{TextSets, common, jaccard};
use super::{NearPair, NoTexts, TextOptions};

/// Pairs that reach the threshold.
pub(super) struct Joined {
    pub(super) pairs: Vec<NearPair>,
    pub(super) n_verified: u64,
}

/// Returns every pair that reaches the threshold.
pub(super) fn join(
    sets: &TextSets,
    classes: &Classes,
    source: Option<&[u16]>,
    options: &TextOptions,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Joined, NoTexts> {
    let counts = Counts::of(sets);
    if stopped() {
        return Err(NoTexts::Stopped);
    }
    let index = Index::of(sets, classes, &counts, options.threshold);
    drop(counts);
    let found = Found { n_pairs: AtomicU64::new(0), n_verified: AtomicU64::new(0), is_over: AtomicBool::new(false) };
    let pairs = index.pairs(classes, source, options, &found, stopped);
    if stopped() {
        return Err(NoTexts::Stopped);
    }
    if found.is_over.into_inner() {
        return Err(NoTexts::TooManyPairs);
    }
    Ok(Joined { pairs, n_verified: found.n_verified.into_inner() })
}

struct Found {
    n_pairs: AtomicU64,
    n_verified: AtomicU64,
    is_over: AtomicBool,
}

/// In how many texts a shingle is, at the least: shingles that share a counter are counted together, which costs time and no pair.
struct Counts {
    counters: Vec<AtomicU8>,
    shift: u32,
}

/// Where counters stop; a thread or two may each add one more.
const MOST_COUNTED: u8 = 250;

impl Counts {
    fn of(sets: &TextSets) -> Self {
        let bits = sets.n_shingles().max(1 << 10).next_power_of_two().trailing_zeros().min(26);
        let counters: Vec<AtomicU8> = (0..1_u64 << bits).map(|_| AtomicU8::new(0)).collect();
        let counts = Self { counters, shift: 64 - bits };
        (0..sets.len() as u32).into_par_iter().with_min_len(256).for_each(|text| {
            for hash in sets.set(text) {
                let counter = counts.counter(*hash);
                if counter.load(Ordering::Relaxed) < MOST_COUNTED {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        counts
    }

    fn counter(&self, hash: u64) -> &AtomicU8 {
        &self.counters[(hash >> self.shift) as usize]
    }

    fn count(&self, hash: u64) -> u8 {
        self.counter(hash).load(Ordering::Relaxed).min(MOST_COUNTED)
    }
}

/// Texts with one and the same set, which are held against others once. Classes are in ascending order of size, then of the set.
pub(super) struct Classes {
    /// Texts, class by class, ascending within a class.
    texts: Vec<u32>,
    /// Where each class begins; one more at the end.
    starts: Vec<u32>,
}

impl Classes {
    pub(super) fn of(sets: &TextSets) -> Self {
        // Sets of one size that begin alike are rarely two: the sets themselves are looked at when they do.
        let key = |text: u32| sets.set(text).first().map(|least| (sets.set(text).len() as u32, *least, text));
        let mut keys: Vec<(u32, u64, u32)> = (0..sets.len() as u32).filter_map(key).collect();
        keys.par_sort_unstable_by(|one, other| {
            let rest = || sets.set(one.2).cmp(sets.set(other.2));
            (one.0, one.1).cmp(&(other.0, other.1)).then_with(rest).then(one.2.cmp(&other.2))
        });
        let texts: Vec<u32> = keys.into_iter().map(|(.., text)| text).collect();
        let is_start = |at: &usize| *at == 0 || sets.set(texts[at - 1]) != sets.set(texts[*at]);
        let mut starts: Vec<u32> = (0..texts.len()).filter(is_start).map(|at| at as u32).collect();
        starts.push(texts.len() as u32);
        Self { texts, starts }
    }

    /// Returns classes of which the texts and where each begins are known.
    pub(super) const fn given(texts: Vec<u32>, starts: Vec<u32>) -> Self {
        Self { texts, starts }
    }

    /// Returns every text that has a word, class by class.
    pub(super) fn texts(&self) -> &[u32] {
        &self.texts
    }

    /// Returns the class of every text; one without a word has a number of its own.
    pub(super) fn of_text(&self, n: usize) -> Vec<u32> {
        let mut class = vec![u32::MAX; n];
        for number in 0..self.len() as u32 {
            for text in self.members(number) {
                class[*text as usize] = number;
            }
        }
        for (next, class) in (self.len() as u32..).zip(class.iter_mut().filter(|class| **class == u32::MAX)) {
            *class = next;
        }
        class
    }

    /// Returns the class of the first text of every class; `u32::MAX` is of the others.
    pub(super) fn of_first(&self, n: usize) -> Vec<u32> {
        let mut class = vec![u32::MAX; n];
        for number in 0..self.len() as u32 {
            class[self.members(number)[0] as usize] = number;
        }
        class
    }

    pub(super) const fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn members(&self, class: u32) -> &[u32] {
        &self.texts[self.starts[class as usize] as usize..self.starts[class as usize + 1] as usize]
    }
}

/// A shingle of a prefix that another set may have.
#[derive(Clone, Copy)]
struct Slot {
    class: u32,
    /// Place among the shingles of its set, the rarest first.
    place: u32,
}

/// Prefixes of all classes, and for every shingle of theirs the classes that have it.
struct Index<'a> {
    sets: &'a TextSets,
    slots: Vec<Slot>,
    /// Where the slots of every class begin; one more at the end.
    starts: Vec<u32>,
    /// Slots by shingle, ascending: classes from small to large.
    lists: Vec<u32>,
    /// Of every slot, where its own entry stands in the lists, and where the list of its shingle begins.
    entry: Vec<(u32, u32)>,
}

/// Least size of what two sets of these sizes must have in common; the last word has the division itself.
fn least_common(a: usize, b: usize, threshold: f64) -> usize {
    const SLACK: f64 = 1e-9;
    ((threshold / (1.0 + threshold) * (a + b) as f64) - SLACK).ceil().max(1.0) as usize
}

/// Shingles of a set, the rarest first, without which it can be like no other set that is as large or smaller.
fn prefix_len(n: usize, threshold: f64) -> usize {
    const SLACK: f64 = 1e-9;
    n - ((threshold * n as f64 - SLACK).ceil().max(1.0) as usize) + 1
}

impl<'a> Index<'a> {
    fn of(sets: &'a TextSets, classes: &Classes, counts: &Counts, threshold: f64) -> Self {
        let prefix = |class: u32| {
            let set = sets.set(classes.members(class)[0]);
            let mut ranked: Vec<(u8, u64)> = set.iter().map(|hash| (counts.count(*hash), *hash)).collect();
            let n = prefix_len(set.len(), threshold);
            if n < ranked.len() {
                ranked.select_nth_unstable(n);
                ranked.truncate(n);
            }
            ranked.sort_unstable();
            let n_alone = ranked.iter().take_while(|(count, _)| *count == 1).count();
            (n_alone as u32, ranked.drain(n_alone..).map(|(_, hash)| hash).collect::<Vec<u64>>())
        };
        let prefixes: Vec<(u32, Vec<u64>)> = (0..classes.len() as u32).into_par_iter().with_min_len(64).map(prefix).collect();
        let (mut slots, mut starts, mut order) = (Vec::new(), vec![0], Vec::new());
        for (class, (n_alone, hashes)) in prefixes.into_iter().enumerate() {
            for (at, hash) in hashes.into_iter().enumerate() {
                order.push((hash, slots.len() as u32));
                slots.push(Slot { class: class as u32, place: n_alone + at as u32 });
            }
            starts.push(slots.len() as u32);
        }
        order.par_sort_unstable();
        let mut entry = vec![(0, 0); slots.len()];
        let mut start = 0;
        for at in 0..order.len() {
            if at > 0 && order[at].0 != order[at - 1].0 {
                start = at;
            }
            entry[order[at].1 as usize] = (at as u32, start as u32);
        }
        let lists = order.into_iter().map(|(_, slot)| slot).collect();
        Self { sets, slots, starts, lists, entry }
    }

    fn pairs(
        &self,
        classes: &Classes,
        source: Option<&[u16]>,
        options: &TextOptions,
        found: &Found,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Vec<NearPair> {
        /// Classes between two looks at the stop flag.
        const AT_ONCE: usize = 256;
        let n = classes.len();
        let seek = |chunk: usize| {
            let mut pairs = Vec::new();
            let mut near = Vec::new();
            for class in chunk * AT_ONCE..((chunk + 1) * AT_ONCE).min(n) {
                if stopped() || found.is_over.load(Ordering::Relaxed) {
                    return Vec::new();
                }
                near.clear();
                self.near(class as u32, classes, options.threshold, found, &mut near);
                let before = pairs.len();
                expand(class as u32, &near, classes, source, options.most_pairs as usize, &mut pairs);
                let added = (pairs.len() - before) as u64;
                if found.n_pairs.fetch_add(added, Ordering::Relaxed) + added > options.most_pairs {
                    found.is_over.store(true, Ordering::Relaxed);
                }
            }
            pairs
        };
        let found: Vec<Vec<NearPair>> = (0..n.div_ceil(AT_ONCE)).into_par_iter().map(seek).collect();
        found.concat()
    }

    /// Finds the classes before `class` that are near it.
    fn near(&self, class: u32, classes: &Classes, threshold: f64, found: &Found, near: &mut Vec<(u32, f64)>) {
        let set = self.sets.set(classes.members(class)[0]);
        let shortest = (threshold * set.len() as f64 - 1e-9).ceil() as usize;
        let mut seen: Vec<u32> = Vec::new();
        for slot in self.starts[class as usize]..self.starts[class as usize + 1] {
            let place = self.slots[slot as usize].place as usize;
            let (own, start) = self.entry[slot as usize];
            for &other in self.lists[start as usize..own as usize].iter().rev() {
                let other = self.slots[other as usize];
                let n_other = self.sets.set(classes.members(other.class)[0]).len();
                if n_other < shortest {
                    break;
                }
                // Of the first shingle that both have it is true that no more are common than what follows it in either; others allow less.
                let most = 1 + (set.len() - place - 1).min(n_other - other.place as usize - 1);
                if most >= least_common(set.len(), n_other, threshold) {
                    seen.push(other.class);
                }
            }
        }
        seen.sort_unstable();
        seen.dedup();
        let n_verified = seen.len() as u64;
        for other in seen {
            let beside = self.sets.set(classes.members(other)[0]);
            let likeness = jaccard(common(set, beside), set.len(), beside.len());
            if likeness >= threshold {
                near.push((other, likeness));
            }
        }
        found.n_verified.fetch_add(n_verified, Ordering::Relaxed);
    }
}

/// Writes the pairs of texts that a class has with itself and with those near it; stops where they are more than `most`.
pub(super) fn expand(class: u32, near: &[(u32, f64)], classes: &Classes, source: Option<&[u16]>, most: usize, pairs: &mut Vec<NearPair>) {
    let counts = |a: u32, b: u32| source.is_none_or(|source| source[a as usize] != source[b as usize]);
    let own = classes.members(class);
    for (at, &a) in own.iter().enumerate() {
        let same = own[at + 1..].iter().map(|&b| (b, 1.0));
        let others = near.iter().flat_map(|&(other, likeness)| classes.members(other).iter().map(move |&b| (b, likeness)));
        for (b, jaccard) in same.chain(others).filter(|(b, _)| counts(a, *b)) {
            pairs.push(NearPair { a: a.min(b), b: a.max(b), jaccard });
            if pairs.len() > most {
                return;
            }
        }
    }
}
