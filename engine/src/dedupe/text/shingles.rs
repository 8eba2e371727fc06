//! From texts to sets of shingles.

use std::ops::Range;

use rayon::prelude::*;

use crate::dedupe::hash::{ByteHash, after};

/// What a shingle is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Words: runs of letters, digits and underscores.
    Word,
    /// Bytes, with every run of white space as one space: for languages that do not part words.
    Byte,
}

/// How texts become shingles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shingles {
    /// What they are made of.
    pub unit: Unit,
    /// Units in each; a shorter text is one shingle.
    pub k: usize,
}

/// Hands the parts of a text, by its place in a block, to a closure, one after the other.
pub type Parts<'a> = dyn Fn(usize, &mut dyn FnMut(&str)) + Sync + 'a;

/// Texts that are kept together.
const BLOCK: usize = 2_048;

/// The sets of shingles of many texts: ascending hashes.
#[derive(Debug, Clone)]
pub struct TextSets {
    how: Shingles,
    blocks: Vec<Block>,
    n_texts: usize,
    n_shingles: u64,
}

/// Sets of up to `BLOCK` texts, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    hashes: Vec<u64>,
    ends: Vec<u32>,
}

impl Block {
    fn set(&self, at: usize) -> &[u64] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.hashes[start..self.ends[at] as usize]
    }

    /// Returns the shingles of all sets, one after the other.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &[u64]> {
        (0..self.ends.len()).map(|at| self.set(at))
    }
}

impl TextSets {
    /// Returns no text yet.
    #[must_use]
    pub const fn new(how: Shingles) -> Self {
        Self { how, blocks: Vec::new(), n_texts: 0, n_shingles: 0 }
    }

    /// Adds texts; each is the parts that `parts` hands to its closure, one after the other.
    ///
    /// # Panics
    /// When the texts of a block hold 2^32 shingles.
    pub fn push(&mut self, n: usize, parts: &Parts<'_>) {
        let held = self.n_texts % BLOCK;
        let room = if held == 0 { 0 } else { (BLOCK - held).min(n) };
        if room > 0 {
            let more = block(self.how, 0..room, parts);
            let last = self.blocks.last_mut().expect("a block that is not full is there");
            let start = last.hashes.len() as u32;
            last.hashes.extend_from_slice(&more.hashes);
            last.ends.extend(more.ends.iter().map(|end| start + end));
        }
        self.blocks.par_extend(blocks(room..n).into_par_iter().map(|texts| block(self.how, texts, parts)));
        self.n_texts += n;
        self.n_shingles = self.blocks.iter().map(|block| block.hashes.len() as u64).sum();
    }

    pub(super) const fn how(&self) -> Shingles {
        self.how
    }

    pub(super) fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }

    /// Returns how many texts there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.n_texts
    }

    /// Says whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_texts == 0
    }

    /// Returns how many shingles all sets hold.
    #[must_use]
    pub const fn n_shingles(&self) -> u64 {
        self.n_shingles
    }

    /// Returns the shingles of a text, ascending; none where it has no word.
    #[must_use]
    pub fn set(&self, text: u32) -> &[u64] {
        self.blocks[text as usize / BLOCK].set(text as usize % BLOCK)
    }

    /// Returns the share of the shingles of two texts that both have; 0 where one has none.
    #[must_use]
    pub fn jaccard(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (self.set(a), self.set(b));
        jaccard(common(a, b), a.len(), b.len())
    }
}

/// Jaccard similarity from the sizes of two sets and of what they have in common.
pub(super) fn jaccard(n_common: usize, a: usize, b: usize) -> f64 {
    if n_common == 0 { 0.0 } else { n_common as f64 / (a + b - n_common) as f64 }
}

/// Counts what two ascending lists have in common.
pub(super) fn common(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut n) = (0, 0, 0);
    // Without a branch on which is less: that cannot be foretold.
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        n += usize::from(x == y);
    }
    n
}

/// Cuts texts into blocks.
pub(super) fn blocks(texts: Range<usize>) -> Vec<Range<usize>> {
    texts.clone().step_by(BLOCK).map(|start| start..(start + BLOCK).min(texts.end)).collect()
}

pub(super) fn block(how: Shingles, texts: Range<usize>, parts: &Parts<'_>) -> Block {
    let mut block = Block { hashes: Vec::new(), ends: Vec::with_capacity(texts.len()) };
    let mut units = Units::default();
    for text in texts {
        units.clear();
        parts(text, &mut |part| units.add(how.unit, part));
        let start = block.hashes.len();
        units.shingles(how, &mut block.hashes);
        let set = &mut block.hashes[start..];
        set.sort_unstable();
        let mut kept = start;
        for at in start..block.hashes.len() {
            if at == start || block.hashes[at] != block.hashes[at - 1] {
                block.hashes[kept] = block.hashes[at];
                kept += 1;
            }
        }
        block.hashes.truncate(kept);
        block.ends.push(u32::try_from(kept).expect("a block of texts holds fewer than 2^32 shingles"));
    }
    block.hashes.shrink_to_fit();
    block
}

/// Words of a text by their hashes, or its bytes.
#[derive(Default)]
struct Units {
    words: Vec<u64>,
    bytes: Vec<u8>,
}

/// Lower-case letter of a word that a byte of ASCII stands for; 0 where it parts words.
const WORD_BYTE: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() || byte == b'_' as usize {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

impl Units {
    fn clear(&mut self) {
        self.words.clear();
        self.bytes.clear();
    }

    fn add(&mut self, unit: Unit, part: &str) {
        match unit {
            Unit::Word => self.add_words(part),
            Unit::Byte => self.add_bytes(part),
        }
    }

    fn add_words(&mut self, part: &str) {
        let bytes = part.as_bytes();
        let mut word = ByteHash::START;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte < 128 {
                let lower = WORD_BYTE[usize::from(byte)];
                if lower != 0 {
                    word.add(lower);
                } else if !word.is_empty() {
                    self.words.push(word.end());
                    word = ByteHash::START;
                }
                at += 1;
                continue;
            }
            let letter = part[at..].chars().next().expect("a byte above 127 begins a letter here");
            if letter.is_alphanumeric() {
                for lower in letter.to_lowercase() {
                    for byte in lower.encode_utf8(&mut [0; 4]).bytes() {
                        word.add(byte);
                    }
                }
            } else if !word.is_empty() {
                self.words.push(word.end());
                word = ByteHash::START;
            }
            at += letter.len_utf8();
        }
        if !word.is_empty() {
            self.words.push(word.end());
        }
    }

    fn add_bytes(&mut self, part: &str) {
        for word in part.split_whitespace() {
            if !self.bytes.is_empty() {
                self.bytes.push(b' ');
            }
            for letter in word.chars() {
                for lower in letter.to_lowercase() {
                    self.bytes.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    /// Adds the hash of every run of k units, or of all where there are fewer.
    fn shingles(&self, how: Shingles, out: &mut Vec<u64>) {
        match how.unit {
            Unit::Word if self.words.is_empty() => {}
            Unit::Word => {
                let k = how.k.min(self.words.len());
                out.extend(self.words.windows(k).map(|words| words.iter().fold(0, |hash, word| after(hash, *word))));
            }
            Unit::Byte if self.bytes.is_empty() => {}
            Unit::Byte => {
                let k = how.k.min(self.bytes.len());
                let of = |bytes: &[u8]| {
                    let mut hash = ByteHash::START;
                    for byte in bytes {
                        hash.add(*byte);
                    }
                    hash.end()
                };
                out.extend(self.bytes.windows(k).map(of));
            }
        }
    }
}
