//! Which pairs are looked at, without labels and without rules: two records are a candidate when they share a key that few share.
//!
//! Keys     the text of each column; each word, whichever column it stands in
//! Joined   a key that more records share than the largest block is joined with the text of every column, and where that is too common with
//!          one more
//! Budget   the pairs of every block are known before a pair is formed; the largest block is the one at which they fit. Blocks that joining
//!          does not make small enough are counted and told
//! Memory   16 bytes a key of a record, 8 a pair

use std::collections::BTreeMap;

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

/// Columns that a common key is joined with at most.
const MOST_JOINED: usize = 2;

/// Finds them: half of the pairs allowed for keys as they are, half for joined ones.
pub(super) fn candidates(records: &Records, is_pair: &(dyn Fn(u32, u32) -> bool + Sync), most_pairs: u64) -> Candidates {
    let keys = keys(records);
    let mut sizes = BTreeMap::new();
    blocks(&keys).for_each(|block| *sizes.entry(block.len()).or_insert(0) += 1);
    let largest_block = largest(&sizes, most_pairs / 2);
    let (fine, coarse): (Vec<&[Entry]>, Vec<&[Entry]>) = blocks(&keys).partition(|block| block.len() <= largest_block);
    let rows = |block: &[Entry]| -> Vec<u32> { block.iter().map(|entry| entry.1).collect() };
    let finer_sizes = |block: &&[Entry]| {
        let (mut sizes, mut n_left) = (BTreeMap::new(), 0);
        join(records, &rows(block), 0, MOST_JOINED, largest_block, &mut |rows| {
            if rows.len() > largest_block { n_left += pairs_of(rows.len()) } else { *sizes.entry(rows.len()).or_insert(0) += 1 }
        });
        (sizes, n_left)
    };
    let (finer, n_left): (BTreeMap<usize, u64>, u64) = coarse.par_iter().map(finer_sizes).reduce(Default::default, |mut one, other| {
        other.0.into_iter().for_each(|(size, n)| *one.0.entry(size).or_insert(0) += n);
        (one.0, one.1 + other.1)
    });
    let largest_joined = largest(&finer, most_pairs / 2).min(largest_block);
    let n_dropped: u64 = finer.iter().filter(|(size, _)| **size > largest_joined).map(|(size, n)| n * pairs_of(*size)).sum();
    let finer_pairs = |block: &&[Entry]| {
        let mut pairs = Vec::new();
        join(records, &rows(block), 0, MOST_JOINED, largest_block, &mut |rows| {
            if rows.len() <= largest_joined {
                pairs_in(rows, is_pair, &mut pairs);
            }
        });
        pairs
    };
    let fine_pairs = |block: &&[Entry]| {
        let mut pairs = Vec::new();
        pairs_in(&rows(block), is_pair, &mut pairs);
        pairs
    };
    let mut pairs: Vec<(u32, u32)> = fine.par_iter().flat_map_iter(fine_pairs).collect();
    pairs.par_extend(coarse.par_iter().flat_map_iter(finer_pairs));
    pairs.par_sort_unstable();
    pairs.dedup();
    Candidates { pairs, largest_block, n_unseen: n_left + n_dropped }
}

/// Adds the pairs of some records, each in order.
fn pairs_in(rows: &[u32], is_pair: &(dyn Fn(u32, u32) -> bool + Sync), pairs: &mut Vec<(u32, u32)>) {
    for (at, &a) in rows.iter().enumerate() {
        pairs.extend(rows[at + 1..].iter().map(|&b| (a.min(b), a.max(b))).filter(|(a, b)| is_pair(*a, *b)));
    }
}

/// Parts the records of a common key by every column from `from` on, and what is still too many by the columns after that, `depth` columns in
/// all. `take` is given every part of two records or more; parts larger than `largest` are those that no column made small enough.
fn join(records: &Records, rows: &[u32], from: usize, depth: usize, largest: usize, take: &mut dyn FnMut(&[u32])) {
    for (at, column) in records.columns.iter().enumerate().skip(from) {
        let mut by_code: Vec<(u32, u32)> =
            rows.iter().map(|&row| (column.codes[row as usize], row)).filter(|(code, _)| *code != MISSING).collect();
        by_code.sort_unstable();
        for part in by_code.chunk_by(|a, b| a.0 == b.0).filter(|part| part.len() > 1) {
            let part: Vec<u32> = part.iter().map(|(_, row)| *row).collect();
            if part.len() > largest && depth > 1 && at + 1 < records.columns.len() {
                join(records, &part, at + 1, depth - 1, largest, take);
            } else {
                take(&part);
            }
        }
    }
}

const fn pairs_of(n: usize) -> u64 {
    (n as u64) * (n as u64 - 1) / 2
}

fn blocks(keys: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    keys.chunk_by(|a, b| a.0 == b.0).filter(|block| block.len() > 1)
}

/// Returns the size up to which all blocks together hold no more pairs than allowed, at least 2.
fn largest(sizes: &BTreeMap<usize, u64>, most_pairs: u64) -> usize {
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
