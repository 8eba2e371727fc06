//! Which pairs are looked at, without labels and without rules: two records are a candidate when they share a key that few share.
//!
//! Keys     the text of each column; each word; the beginning of a text
//! Refined  a key that more records share than the largest block is joined with every other column's text, and once more
//! Budget   the pairs of every block are known before a pair is formed; the largest block is the one at which they fit

use rayon::prelude::*;

use super::records::{Content, MISSING, Records, words};

/// The pairs to look at, and what was not.
pub(super) struct Candidates {
    /// Pairs (a, b), a < b, ascending.
    pub(super) pairs: Vec<(u32, u32)>,
    /// Records that share a key with more than this many stand beside them only where a finer key does.
    pub(super) largest_block: usize,
    /// Pairs of records that share a key, and no key that is fine enough.
    pub(super) n_unseen: u64,
}

/// A record under a key.
type Entry = (u64, u32);

/// Finds them.
pub(super) fn candidates(records: &Records, is_pair: &(dyn Fn(u32, u32) -> bool + Sync), most_pairs: u64) -> Candidates {
    let mut keys = keys(records);
    keys.par_sort_unstable();
    let sizes = block_sizes(&keys);
    let largest_block = largest(&sizes, most_pairs);
    let (fine, coarse): (Vec<&[Entry]>, Vec<&[Entry]>) = blocks(&keys).partition(|block| block.len() <= largest_block);
    let mut refined = refine(records, &coarse);
    refined.par_sort_unstable();
    let (finer, still): (Vec<&[Entry]>, Vec<&[Entry]>) = blocks(&refined).partition(|block| block.len() <= largest_block);
    let mut last = refine(records, &still);
    last.par_sort_unstable();
    let (finest, left): (Vec<&[Entry]>, Vec<&[Entry]>) = blocks(&last).partition(|block| block.len() <= largest_block);
    let all: Vec<&[Entry]> = fine.into_iter().chain(finer).chain(finest).collect();
    let mut pairs: Vec<(u32, u32)> = all
        .par_iter()
        .flat_map_iter(|block| {
            let pairs = block.iter().enumerate().flat_map(|(at, a)| block[at + 1..].iter().map(move |b| (a.1, b.1)));
            pairs.filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b))).filter(|(a, b)| is_pair(*a, *b))
        })
        .collect();
    pairs.par_sort_unstable();
    pairs.dedup();
    let n_unseen = left.iter().map(|block| pairs_of(block.len())).sum();
    Candidates { pairs, largest_block, n_unseen }
}

const fn pairs_of(n: usize) -> u64 {
    (n as u64) * (n as u64 - 1) / 2
}

fn blocks(keys: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    keys.chunk_by(|a, b| a.0 == b.0).filter(|block| block.len() > 1)
}

/// Returns how many blocks have each size.
fn block_sizes(keys: &[Entry]) -> Vec<(usize, u64)> {
    let mut sizes: Vec<usize> = blocks(keys).map(<[_]>::len).collect();
    sizes.sort_unstable();
    sizes.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect()
}

/// Returns the size up to which all blocks together hold no more pairs than allowed, at least 2.
fn largest(sizes: &[(usize, u64)], most_pairs: u64) -> usize {
    let (mut held, mut largest) = (0_u64, 2);
    for (size, n) in sizes {
        held = held.saturating_add(n.saturating_mul(pairs_of(*size)));
        if held > most_pairs {
            break;
        }
        largest = largest.max(*size);
    }
    largest
}

fn keys(records: &Records) -> Vec<Entry> {
    let of_column = |(at, column): (usize, &super::records::RecordColumn)| {
        let of_text: Vec<Vec<u64>> = column.texts.par_iter().map(|text| text_keys(at, column.content, text)).collect();
        let mut keys = Vec::new();
        for (row, &code) in column.codes.iter().enumerate() {
            if code != MISSING {
                keys.extend(of_text[code as usize].iter().map(|key| (*key, row as u32)));
            }
        }
        keys
    };
    let mut keys: Vec<Entry> = records.columns.iter().enumerate().flat_map(of_column).collect();
    keys.par_sort_unstable();
    keys.dedup();
    keys
}

/// Words have one space for all columns, so that a name in the wrong column is still found.
fn text_keys(column: usize, content: Content, text: &str) -> Vec<u64> {
    let mut keys = vec![hash(column as u64 + 1, text)];
    match content {
        Content::Words | Content::Short => {
            keys.extend(words(text).filter(|word| word.len() > 1).map(|word| hash(0, word)));
        }
        Content::Date | Content::Number => {}
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn refine(records: &Records, blocks: &[&[Entry]]) -> Vec<Entry> {
    let of_block = |block: &&[Entry]| {
        let mut keys = Vec::new();
        for &(key, row) in *block {
            for (at, column) in records.columns.iter().enumerate() {
                let code = column.codes[row as usize];
                if code != MISSING {
                    keys.push((mix(key ^ mix(((at as u64 + 1) << 32) | u64::from(code))), row));
                }
            }
        }
        keys
    };
    blocks.par_iter().flat_map_iter(of_block).collect()
}

fn hash(seed: u64, text: &str) -> u64 {
    // FNV-1a over the bytes, then mixed: keys have to be equal where texts are, and seldom else; every candidate is looked at anyway.
    let start = 0xcbf2_9ce4_8422_2325 ^ mix(seed);
    mix(text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// Steele, Lea and Flood 2014 (splitmix64), its last step.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
