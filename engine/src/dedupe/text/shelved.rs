//! Near texts where their shingles do not fit into memory: sets and keys of bands lie on a shelf, in files say.
//!
//! ```text
//! reading     text -> set -> shelf; its hash, and where it ends, in memory; MinHash signature -> keys of bands -> shelf, one stack a band
//! classes     texts with one hash, and one set
//! band        keys of one band, sorted -> classes with one key -> candidates -> sets read again, exact Jaccard -> pairs
//! ```
//!
//! What     pairs at the threshold or above: each is found with the probability that the bands promise, and none is wrong
//! Missed   expected number of pairs that no band brought together: sum over those found of (1 - p) / p, p the probability of each
//!          (Horvitz and Thompson 1952)
//! Memory   16 bytes a text while they are read, then up to 60; the pairs; and the room that is given: entries of a band, which is looked at in
//!          parts where it has more, and candidates
//! Shelf    8 bytes a shingle, 8 a text and band
//! Order    results do not depend on the order of the texts, the room or the number of threads

use std::io;

use rayon::prelude::*;

use super::bands::Bands;
use super::join::{Classes, expand};
use super::shingles::{Block, Parts, Shingles, TextSets, block, blocks, common, jaccard};
use super::signatures::{SignatureInput, Signatures, Slots, cost, folded};
use super::{NearTexts, NoTexts, TextOptions, finished};
use crate::backend::{Backend, Cost};
use crate::dedupe::hash::after;

/// Stacks of bytes that are put away and looked at again.
pub trait Shelf: Sync {
    /// Puts bytes on top of a stack.
    ///
    /// # Errors
    /// When they cannot be written.
    fn append(&self, stack: usize, bytes: &[u8]) -> io::Result<()>;

    /// Fills `into` with bytes of a stack, from the place `at`.
    ///
    /// # Errors
    /// When they cannot be read, or there are fewer.
    fn read(&self, stack: usize, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Stack of the sets; those of the bands follow.
const SETS: usize = 0;

/// Keys that are read at a time.
const KEYS_AT_ONCE: usize = 1 << 16;

/// Blocks of texts whose signatures are made at a time.
const BLOCKS_AT_ONCE: usize = 8;

/// Texts whose sets lie on a shelf.
pub struct ShelvedTexts<'a> {
    how: Shingles,
    bands: Bands,
    slots: Slots,
    shelf: &'a dyn Shelf,
    on: &'a Backend,
    /// Where the set of every text ends, in shingles.
    ends: Vec<u64>,
    /// Hash of the set of every text.
    hashes: Vec<u64>,
}

/// Pairs of classes that were found, and what is left of the room.
struct Finding<'a> {
    texts: &'a ShelvedTexts<'a>,
    classes: &'a Classes,
    options: &'a TextOptions,
    stopped: &'a (dyn Fn() -> bool + Sync),
    /// Pairs of classes to be held against each other, the smaller class first.
    candidates: Vec<(u32, u32)>,
    most_candidates: usize,
    /// Pairs of classes at the threshold or above, ascending.
    pairs: Vec<(u32, u32, f64)>,
    n_verified: u64,
}

impl<'a> ShelvedTexts<'a> {
    /// Returns no text yet. The stacks of the shelf are 0 to the number of bands.
    #[must_use]
    pub fn new(how: Shingles, bands: Bands, seed: u64, shelf: &'a dyn Shelf, on: &'a Backend) -> Self {
        Self { how, bands, slots: Slots::new(bands, seed), shelf, on, ends: Vec::new(), hashes: Vec::new() }
    }

    /// Returns what the signatures of so many texts cost.
    #[must_use]
    pub fn cost(n_shingles: u64, n_texts: u64, bands: Bands) -> Cost {
        cost(n_shingles, n_texts, bands)
    }

    /// Adds texts; each is the parts that `parts` hands to its closure, one after the other.
    ///
    /// # Errors
    /// When the shelf cannot take them.
    pub fn push(&mut self, n: usize, parts: &Parts<'_>) -> io::Result<()> {
        for some in blocks(0..n).chunks(BLOCKS_AT_ONCE) {
            let made: Vec<Block> = some.par_iter().map(|texts| block(self.how, texts.clone(), parts)).collect();
            self.put(&made)?;
        }
        Ok(())
    }

    /// Adds texts that were in memory until now.
    ///
    /// # Errors
    /// When the shelf cannot take them.
    ///
    /// # Panics
    /// When they were cut into other shingles.
    pub fn push_held(&mut self, sets: TextSets) -> io::Result<()> {
        assert_eq!(sets.how(), self.how, "all texts are cut alike");
        let mut blocks = sets.into_blocks();
        while !blocks.is_empty() {
            let some: Vec<Block> = blocks.drain(..BLOCKS_AT_ONCE.min(blocks.len())).collect();
            self.put(&some)?;
        }
        Ok(())
    }

    fn put(&mut self, blocks: &[Block]) -> io::Result<()> {
        let first = self.ends.len();
        let mut starts = vec![0];
        let mut shingles: Vec<u32> = Vec::new();
        for block in blocks {
            self.shelf.append(SETS, bytemuck::cast_slice(block.hashes()))?;
            for set in block.sets() {
                self.hashes.push(set.iter().fold(0, |hash, shingle| after(hash, *shingle)));
                self.ends.push(self.n_shingles() + set.len() as u64);
                shingles.extend(set.iter().map(|shingle| folded(*shingle)));
                starts.push(u32::try_from(shingles.len()).expect("texts of some blocks hold fewer than 2^32 shingles"));
            }
        }
        let input = SignatureInput { shingles: &shingles, starts: &starts, slots: &self.slots };
        let keys = self.on.run(&Signatures, input).output;
        let n_texts = self.ends.len() - first;
        for band in 0..self.bands.n_bands {
            let of_band: Vec<u64> = (0..n_texts).map(|text| keys[text * self.bands.n_bands + band]).collect();
            self.shelf.append(SETS + 1 + band, bytemuck::cast_slice(&of_band))?;
        }
        Ok(())
    }

    /// Returns how many texts there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Says whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many shingles all sets hold.
    #[must_use]
    pub fn n_shingles(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn start(&self, text: u32) -> u64 {
        if text == 0 { 0 } else { self.ends[text as usize - 1] }
    }

    /// Returns how many shingles a text has.
    fn size(&self, text: u32) -> usize {
        usize::try_from(self.ends[text as usize] - self.start(text)).expect("a set was in memory once")
    }

    /// Reads the shingles of a text.
    fn read(&self, text: u32, set: &mut Vec<u64>) -> io::Result<()> {
        set.clear();
        set.resize(self.size(text), 0);
        self.shelf.read(SETS, 8 * self.start(text), bytemuck::cast_slice_mut(set))
    }

    /// Finds pairs of texts at the threshold or above, and groups them.
    ///
    /// `source` says of what source every text is, where only pairs between sources count; `room_bytes` may be held beside what every text
    /// takes and the pairs.
    ///
    /// # Errors
    /// When the work was stopped, there are more pairs than may be held, or the shelf cannot be read.
    pub fn near(
        mut self,
        source: Option<&[u16]>,
        options: &TextOptions,
        room_bytes: u64,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<NearTexts, NoTexts> {
        let hashes = std::mem::take(&mut self.hashes);
        let classes = self.classes(hashes, stopped)?;
        // Half for the entries of a band, 16 bytes each, and half for candidates, 8 bytes each.
        let most = |bytes: u64| usize::try_from(room_bytes / 2 / bytes).unwrap_or(usize::MAX).max(1 << 12);
        let mut finding = Finding {
            texts: &self,
            classes: &classes,
            options,
            stopped,
            candidates: Vec::new(),
            most_candidates: most(8),
            pairs: Vec::new(),
            n_verified: 0,
        };
        let class = classes.of_first(self.len());
        let n_parts = classes.len().div_ceil(most(16)) as u64;
        for band in 0..self.bands.n_bands {
            for part in 0..n_parts {
                let in_part = |key: u64| ((key >> 32) * n_parts) >> 32 == part;
                finding.meet(self.entries(band, &class, in_part)?)?;
            }
        }
        drop(class);
        finding.verify()?;
        let Finding { mut pairs, n_verified, .. } = finding;
        pairs.sort_unstable_by_key(|(a, b, _)| (*b, *a));
        let (pairs, n_missed) = self.expanded(&pairs, &classes, source, options)?;
        let found = finished(self.len(), &classes, &|text| self.size(text), pairs, n_verified);
        Ok(NearTexts { n_missed, ..found })
    }

    /// Returns the texts with one set, in ascending order of size, then of the hash.
    fn classes(&self, hashes: Vec<u64>, stopped: &(dyn Fn() -> bool + Sync)) -> Result<Classes, NoTexts> {
        let size = |text: u32| self.size(text) as u32;
        let mut keys: Vec<(u64, u32, u32)> =
            (0..).zip(hashes).map(|(text, hash)| (hash, size(text), text)).filter(|(_, size, _)| *size > 0).collect();
        keys.par_sort_unstable_by_key(|(hash, size, text)| (*size, *hash, *text));
        let (mut starts, mut runs, mut at) = (Vec::new(), Vec::new(), 0);
        for run in keys.chunk_by_mut(|one, other| (one.0, one.1) == (other.0, other.1)) {
            starts.push(at);
            let start = at;
            at += run.len() as u32;
            if run.len() > 1 {
                runs.push((start, run));
            }
        }
        starts.push(at);
        let part = |(start, run): (u32, &mut [(u64, u32, u32)])| {
            if stopped() {
                return Err(NoTexts::Stopped);
            }
            self.parted(start, run).map_err(NoTexts::Shelf)
        };
        let more: Vec<u32> = runs.into_par_iter().map(part).try_reduce(Vec::new, |one, other| Ok([one, other].concat()))?;
        starts.extend(more);
        starts.sort_unstable();
        Ok(Classes::given(keys.into_iter().map(|(.., text)| text).collect(), starts))
    }

    /// Puts texts of one hash together that have one set, and returns where a set begins but the first: hashes that are one by chance are rare.
    fn parted(&self, start: u32, run: &mut [(u64, u32, u32)]) -> io::Result<Vec<u32>> {
        let (mut first, mut other) = (Vec::new(), Vec::new());
        let mut more = Vec::new();
        let mut at = 0;
        loop {
            self.read(run[at].2, &mut first)?;
            let (mut same, mut others) = (Vec::new(), Vec::new());
            for entry in &run[at..] {
                self.read(entry.2, &mut other)?;
                if first == other { same.push(*entry) } else { others.push(*entry) }
            }
            if others.is_empty() {
                return Ok(more);
            }
            run[at..at + same.len()].copy_from_slice(&same);
            run[at + same.len()..].copy_from_slice(&others);
            at += same.len();
            more.push(start + at as u32);
        }
    }

    /// Returns keys of a band, ascending, and the class of each; `class` is that of the first text of every class.
    fn entries(&self, band: usize, class: &[u32], is_wanted: impl Fn(u64) -> bool) -> Result<Vec<(u64, u32)>, NoTexts> {
        let mut entries = Vec::new();
        let mut keys = vec![0_u64; KEYS_AT_ONCE.min(self.len())];
        for first in (0..self.len()).step_by(KEYS_AT_ONCE) {
            let classes = &class[first..(first + KEYS_AT_ONCE).min(self.len())];
            let keys = &mut keys[..classes.len()];
            self.shelf.read(SETS + 1 + band, 8 * first as u64, bytemuck::cast_slice_mut(keys)).map_err(NoTexts::Shelf)?;
            let wanted = keys.iter().zip(classes).filter(|(key, class)| **class != u32::MAX && is_wanted(**key));
            entries.extend(wanted.map(|(key, class)| (*key, *class)));
        }
        entries.par_sort_unstable();
        Ok(entries)
    }

    /// Returns the pairs of texts that pairs of classes stand for, and how many more are expected.
    fn expanded(
        &self,
        near: &[(u32, u32, f64)],
        classes: &Classes,
        source: Option<&[u16]>,
        options: &TextOptions,
    ) -> Result<(Vec<super::NearPair>, f64), NoTexts> {
        let most = usize::try_from(options.most_pairs).unwrap_or(usize::MAX);
        let (mut pairs, mut n_missed, mut at) = (Vec::new(), 0.0, 0);
        for class in 0..classes.len() as u32 {
            let n_near = near[at..].iter().take_while(|(_, b, _)| *b == class).count();
            let of_class: Vec<(u32, f64)> = near[at..at + n_near].iter().map(|(a, _, jaccard)| (*a, *jaccard)).collect();
            at += n_near;
            let before = pairs.len();
            expand(class, &of_class, classes, source, most, &mut pairs);
            if pairs.len() > most {
                return Err(NoTexts::TooManyPairs);
            }
            let missed = |jaccard: f64| 1.0 / self.bands.found(jaccard) - 1.0;
            n_missed += pairs[before..].iter().map(|pair| missed(pair.jaccard)).sum::<f64>();
        }
        Ok((pairs, n_missed))
    }
}

impl Finding<'_> {
    /// Takes the classes that have a key of a band in common for candidates.
    fn meet(&mut self, entries: Vec<(u64, u32)>) -> Result<(), NoTexts> {
        for run in entries.chunk_by(|one, other| one.0 == other.0).filter(|run| run.len() > 1) {
            for (at, (_, class)) in run.iter().enumerate() {
                if (self.stopped)() {
                    return Err(NoTexts::Stopped);
                }
                let size = self.size(*class) as f64;
                // Classes go from small to large: once one is too large, all that follow are.
                let is_near = |(_, other): &&(u64, u32)| size >= self.options.threshold * self.size(*other) as f64 - 1e-9;
                let n_near = run[at + 1..].iter().take_while(is_near).count();
                for (_, other) in &run[at + 1..=at + n_near] {
                    self.candidates.push((*class, *other));
                    if self.candidates.len() >= self.most_candidates {
                        self.verify()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn size(&self, class: u32) -> usize {
        self.texts.size(self.classes.members(class)[0])
    }

    /// Holds the candidates against each other.
    fn verify(&mut self) -> Result<(), NoTexts> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.par_sort_unstable();
        candidates.dedup();
        let known = &self.pairs;
        candidates.retain(|pair| known.binary_search_by_key(pair, |(a, b, _)| (*a, *b)).is_err());
        self.n_verified += candidates.len() as u64;
        let held = |some: &[(u32, u32)]| -> Result<Vec<(u32, u32, f64)>, NoTexts> {
            let (mut one, mut other, mut last) = (Vec::new(), Vec::new(), u32::MAX);
            let mut near = Vec::new();
            for &(a, b) in some {
                if (self.stopped)() {
                    return Err(NoTexts::Stopped);
                }
                if a != last {
                    self.texts.read(self.classes.members(a)[0], &mut one).map_err(NoTexts::Shelf)?;
                    last = a;
                }
                self.texts.read(self.classes.members(b)[0], &mut other).map_err(NoTexts::Shelf)?;
                let likeness = jaccard(common(&one, &other), one.len(), other.len());
                if likeness >= self.options.threshold {
                    near.push((a, b, likeness));
                }
            }
            Ok(near)
        };
        let near: Vec<Vec<(u32, u32, f64)>> = candidates.par_chunks(256).map(held).collect::<Result<_, _>>()?;
        self.pairs.extend(near.into_iter().flatten());
        self.pairs.par_sort_unstable_by_key(|(a, b, _)| (*a, *b));
        candidates.clear();
        self.candidates = candidates;
        // Each of them is a pair of texts at the least.
        if self.pairs.len() as u64 > self.options.most_pairs { Err(NoTexts::TooManyPairs) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
