//! Which pairs are looked at, without labels and without rules: two records are a candidate when they share keys that few share.
//!
//! Keys     the text of each column; each word, whichever column it stands in
//! Joined   a key that more records share than the largest block is joined with the text of every column that is as common, and where that
//!          is still too common with one more
//! Closest  where that makes more pairs than allowed, every record keeps the k with which it shares most: the sum of log2(n / records of the
//!          key) over the keys in common (cardinality node pruning, Papadakis et al. 2014), at least log2(n / k): so much k others share by
//!          chance
//! Budget   steps: the squares of the blocks' sizes are known before a pair is formed; the largest block is the one at which they fit. Blocks
//!          that joining does not make small enough are counted and told
//! Memory   8 bytes a key of a record, 8 a pair

use rayon::prelude::*;

use super::hash;
use super::records::{Content, MISSING, RecordColumn, Records, words};

/// The pairs to look at, and what was not.
pub(super) struct Candidates {
    /// Pairs (a, b), a < b, ascending.
    pub(super) pairs: Vec<(u32, u32)>,
    /// Records that share a key with more than this many stand beside them only where a finer key does.
    pub(super) largest_block: usize,
    /// Pairs of records that share a key, and no key that is fine enough.
    pub(super) n_unseen: u64,
}

/// Columns that a common key is joined with at most.
const MOST_JOINED: usize = 2;
/// Steps from block to record and on to the block's other records.
const LEAST_STEPS: u64 = 8_000_000;
const STEPS_A_RECORD: u64 = 60;
/// Cells that are read to join common keys, and of how many keys of a record at the least.
const JOINED_CELLS: usize = 32_000_000;
const LEAST_KEYS_JOINED: usize = 3;

/// Finds them, at most so many; says how many there are where they are more than there is room for.
pub(super) fn candidates(
    records: &Records,
    is_pair: &(dyn Fn(u32, u32) -> bool + Sync),
    most_pairs: u64,
    room_pairs: u64,
) -> Result<Candidates, u64> {
    let n = records.len();
    let keys = Keys::of(records);
    let most_steps = LEAST_STEPS.max(STEPS_A_RECORD * n as u64);
    let largest_block = largest(keys.sizes.iter().copied(), most_steps);
    let most_joined = (JOINED_CELLS / (n * records.columns.len()).max(1)).max(LEAST_KEYS_JOINED);
    let cells = Cells::of(records, |column, code| !keys.is_fine(column, code, largest_block));
    let joined = join_common(&cells, &keys.coarse(largest_block, most_joined), largest_block);
    drop(cells);
    let (mut blocks, mut n_unseen) = (Blocks::default(), 0);
    for (parts, n_left) in joined {
        blocks.append(&parts);
        n_unseen += n_left;
    }
    let largest_joined = largest(blocks.sizes(), most_steps).min(largest_block);
    n_unseen += blocks.sizes().filter(|size| *size > largest_joined).map(|size| pairs_of(size as usize)).sum::<u64>();
    blocks.keep(largest_joined);
    keys.append_to(&mut blocks, largest_block);
    drop(keys);
    let pairs = blocks.closest(n, is_pair, most_pairs, room_pairs)?;
    Ok(Candidates { pairs, largest_block: largest_block as usize, n_unseen })
}

/// Joins common keys with the common texts of columns: blocks of which none is larger than `largest`, and pairs of what stays too common.
/// Parts of the whole, in order.
fn join_common(cells: &Cells, coarse: &[Entry], largest: u32) -> Vec<(Blocks, u64)> {
    let finer = |(mut parts, mut n_left): (Blocks, u64), block: &[Entry]| {
        let rows: Vec<u32> = block.iter().map(|(_, row)| *row).collect();
        join(cells, &rows, 0, MOST_JOINED, largest, &mut |rows| {
            if rows.len() > largest as usize { n_left += pairs_of(rows.len()) } else { parts.push(rows) }
        });
        (parts, n_left)
    };
    coarse.par_chunk_by(|one, other| one.0 == other.0).fold(Default::default, finer).collect()
}

/// Keys of every record, ascending, and records of every key.
struct Keys {
    ends: Vec<usize>,
    of_row: Vec<u32>,
    sizes: Vec<u32>,
    of_texts: TextKeys,
}

impl Keys {
    fn of(records: &Records) -> Self {
        /// Records whose keys are found by one thread at a time.
        const ROWS_AT_ONCE: usize = 16_384;
        let of_texts = TextKeys::of(&records.columns);
        let n = records.len();
        let of_part = |from: usize| {
            let (mut ends, mut found) = (Vec::with_capacity(ROWS_AT_ONCE), Vec::new());
            let mut own: Vec<u32> = Vec::new();
            for row in from..(from + ROWS_AT_ONCE).min(n) {
                own.clear();
                for (at, column) in records.columns.iter().enumerate().filter(|(_, column)| column.codes[row] != MISSING) {
                    own.extend(of_texts.keys(at, column.codes[row]));
                }
                own.sort_unstable();
                own.dedup();
                found.extend_from_slice(&own);
                ends.push(found.len());
            }
            (ends, found)
        };
        let parts: Vec<(Vec<usize>, Vec<u32>)> = (0..n).into_par_iter().step_by(ROWS_AT_ONCE).map(of_part).collect();
        let mut keys = Self {
            ends: Vec::with_capacity(n),
            of_row: Vec::with_capacity(parts.iter().map(|(_, found)| found.len()).sum()),
            sizes: vec![0; of_texts.n_keys],
            of_texts,
        };
        for (ends, found) in parts {
            let before = keys.of_row.len();
            keys.ends.extend(ends.into_iter().map(|end| before + end));
            for key in &found {
                keys.sizes[*key as usize] += 1;
            }
            keys.of_row.extend(found);
        }
        keys
    }

    /// Says whether the records of a text are a block, or part of one, that is no larger than `largest`.
    fn is_fine(&self, column: usize, code: u32, largest: u32) -> bool {
        self.of_texts.keys(column, code).iter().any(|key| self.sizes[*key as usize] <= largest)
    }

    fn of_row(&self, row: usize) -> &[u32] {
        &self.of_row[row.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[row]]
    }

    /// Returns key and record of every key that more than `largest` have, of a record's such keys the `most` rarest alone, in order.
    fn coarse(&self, largest: u32, most: usize) -> Vec<Entry> {
        let of_row = |own: &mut Vec<u32>, row: usize| {
            own.clear();
            own.extend(self.of_row(row).iter().copied().filter(|key| self.sizes[*key as usize] > largest));
            own.sort_unstable_by_key(|key| (self.sizes[*key as usize], *key));
            own.iter().take(most).map(|key| (*key, row as u32)).collect::<Vec<_>>()
        };
        let mut found: Vec<Entry> = (0..self.ends.len()).into_par_iter().map_init(Vec::new, of_row).flatten_iter().collect();
        sort(&mut found);
        found
    }

    /// Adds the records of every key that two or more have, and `largest` at most.
    fn append_to(&self, blocks: &mut Blocks, largest: u32) {
        let mut end = blocks.rows.len();
        let mut next = vec![0; self.sizes.len()];
        for (size, next) in self.sizes.iter().zip(&mut next).filter(|(size, _)| (2..=largest).contains(*size)) {
            *next = end;
            end += *size as usize;
            blocks.ends.push(end);
        }
        blocks.rows.resize(end, 0);
        for row in 0..self.ends.len() {
            for &key in self.of_row(row).iter().filter(|key| (2..=largest).contains(&self.sizes[**key as usize])) {
                blocks.rows[next[key as usize]] = row as u32;
                next[key as usize] += 1;
            }
        }
    }
}

/// Keys of every text of every column; what stands in one record is none.
struct TextKeys {
    /// Where the texts of each column begin.
    starts: Vec<usize>,
    ends: Vec<u32>,
    keys: Vec<u32>,
    n_keys: usize,
}

impl TextKeys {
    /// Numbers texts by column, then words by their hash. Words have one space for all columns, so that a name in the wrong column is still
    /// found; a text that is one word needs no key of its own.
    fn of(columns: &[RecordColumn]) -> Self {
        let mut starts = vec![0];
        for column in columns {
            starts.push(starts[starts.len() - 1] + column.texts.len());
        }
        let n_texts = starts[columns.len()];
        let words_of = |(column, start): (&RecordColumn, &usize)| -> Vec<(u64, u32)> {
            let has_words = matches!(column.content, Content::Short | Content::Words);
            let of_text = |(code, text)| {
                let id = (start + code) as u32;
                key_words(text).map(move |word: &str| (hash::of_bytes(word.as_bytes()), id))
            };
            if has_words { column.texts.par_iter().enumerate().flat_map_iter(of_text).collect() } else { Vec::new() }
        };
        let mut found: Vec<(u64, u32)> = columns.iter().zip(&starts).flat_map(words_of).collect();
        found.par_sort_unstable();
        found.dedup();
        let count = |id: u32| {
            let at = starts.partition_point(|start| *start <= id as usize) - 1;
            columns[at].counts[id as usize - starts[at]]
        };
        // The hash gives way to the number of the word; words of one record go.
        let mut n_keys = n_texts as u32;
        let mut kept = 0;
        let mut from = 0;
        while from < found.len() {
            let hash = found[from].0;
            let until = from + found[from..].iter().take_while(|entry| entry.0 == hash).count();
            if until - from > 1 || count(found[from].1) > 1 {
                for at in from..until {
                    found[kept] = (u64::from(n_keys), found[at].1);
                    kept += 1;
                }
                n_keys += 1;
            }
            from = until;
        }
        found.truncate(kept);
        let is_whole = |column: &RecordColumn, code: usize| {
            let text = &column.texts[code];
            let is_word = matches!(column.content, Content::Short | Content::Words) && text.len() > 1 && !text.contains(' ');
            !is_word && column.counts[code] > 1
        };
        let whole_of =
            |column: &RecordColumn| -> Vec<bool> { (0..column.texts.len()).into_par_iter().map(|code| is_whole(column, code)).collect() };
        let whole: Vec<bool> = columns.iter().flat_map(whole_of).collect();
        let mut ends: Vec<u32> = whole.iter().map(|is_whole| u32::from(*is_whole)).collect();
        for (_, text) in &found {
            ends[*text as usize] += 1;
        }
        let mut end = 0;
        for of in &mut ends {
            let n = *of;
            *of = end;
            end += n;
        }
        // `ends` holds where each begins until its keys are put there.
        let mut keys = vec![0; end as usize];
        let mut put = |text: usize, key: u32| {
            keys[ends[text] as usize] = key;
            ends[text] += 1;
        };
        for text in (0..n_texts).filter(|text| whole[*text]) {
            put(text, text as u32);
        }
        for (word, text) in &found {
            put(*text as usize, *word as u32);
        }
        Self { starts, ends, keys, n_keys: n_keys as usize }
    }

    fn keys(&self, column: usize, code: u32) -> &[u32] {
        let text = self.starts[column] + code as usize;
        &self.keys[text.checked_sub(1).map_or(0, |before| self.ends[before]) as usize..self.ends[text] as usize]
    }
}

/// The words of a text that are keys: more than a letter.
fn key_words(text: &str) -> impl Iterator<Item = &str> {
    words(text).filter(|word| word.len() > 1)
}

/// Records that share something.
#[derive(Default)]
struct Blocks {
    ends: Vec<usize>,
    rows: Vec<u32>,
}

impl Blocks {
    fn push(&mut self, rows: &[u32]) {
        self.rows.extend_from_slice(rows);
        self.ends.push(self.rows.len());
    }

    fn append(&mut self, other: &Self) {
        let before = self.rows.len();
        self.rows.extend_from_slice(&other.rows);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }

    fn rows(&self, block: usize) -> &[u32] {
        &self.rows[block.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[block]]
    }

    fn sizes(&self) -> impl Iterator<Item = u32> {
        (0..self.ends.len()).map(|block| self.rows(block).len() as u32)
    }

    /// Drops larger ones.
    fn keep(&mut self, largest: u32) {
        let (mut from, mut n_rows, mut n_blocks) = (0, 0, 0);
        for block in 0..self.ends.len() {
            let end = self.ends[block];
            if end - from <= largest as usize {
                self.rows.copy_within(from..end, n_rows);
                n_rows += end - from;
                self.ends[n_blocks] = n_rows;
                n_blocks += 1;
            }
            from = end;
        }
        self.rows.truncate(n_rows);
        self.ends.truncate(n_blocks);
    }

    /// Returns for every record those with which it shares most, at most so many that all of them together are no more than allowed: pairs
    /// (a, b), a < b, ascending. Where there is no room for them, how many there are: either record of a pair brings it up.
    fn closest(
        &self,
        n: usize,
        is_pair: &(dyn Fn(u32, u32) -> bool + Sync),
        most_pairs: u64,
        room_pairs: u64,
    ) -> Result<Vec<(u32, u32)>, u64> {
        /// Records whose pairs are found before they are counted, where there is room for those of as many.
        const MOST_AT_ONCE: usize = 1 << 14;
        const LEAST_AT_ONCE: usize = 1 << 6;
        let most = usize::try_from(most_pairs / n.max(1) as u64).unwrap_or(usize::MAX).max(1);
        let bits_of = |size: u32| (n as f64 / f64::from(size)).log2() as f32;
        // As many records as are kept share these bits with one by chance.
        let least = (n as f64 / most as f64).log2() as f32;
        let bits: Vec<f32> = self.sizes().map(bits_of).collect();
        // Blocks of every record.
        let mut starts = vec![0_usize; n + 1];
        for row in &self.rows {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..n {
            starts[row + 1] += starts[row];
        }
        let (mut next, mut blocks) = (starts.clone(), vec![0_u32; self.rows.len()]);
        for block in 0..self.ends.len() {
            for &row in self.rows(block) {
                blocks[next[row as usize]] = block as u32;
                next[row as usize] += 1;
            }
        }
        drop(next);
        let of_row = |near: &mut Near, row: u32| {
            let own = &blocks[starts[row as usize]..starts[row as usize + 1]];
            near.begin(own.iter().map(|block| self.rows(*block as usize).len()).sum());
            for &block in own {
                let bits = bits[block as usize];
                self.rows(block as usize).iter().for_each(|other| near.add(*other, bits));
            }
            near.end(most, least, &|other| other != row && is_pair(row, other));
            near.found.drain(..).map(|(_, other)| (row.min(other), row.max(other))).collect::<Vec<_>>()
        };
        let at_once = usize::try_from(room_pairs / most as u64).unwrap_or(usize::MAX).clamp(LEAST_AT_ONCE, MOST_AT_ONCE);
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for first in (0..n).step_by(at_once) {
            let end = n.min(first + at_once);
            pairs.par_extend((first as u32..end as u32).into_par_iter().map_init(Near::default, of_row).flatten_iter());
            if pairs.len() as u64 > room_pairs {
                // The others are counted and not kept.
                let n_of_row = |near: &mut Near, row: u32| of_row(near, row).len() as u64;
                let n_left: u64 = (end as u32..n as u32).into_par_iter().map_init(Near::default, n_of_row).sum();
                return Err(pairs.len() as u64 + n_left);
            }
        }
        sort(&mut pairs);
        pairs.dedup();
        Ok(pairs)
    }
}

/// The records next to one, and the bits that it shares with each: a small table that stays in the fastest memory.
#[derive(Default)]
struct Near {
    /// Record and bits; only the first places are in use, as many as the record needs.
    places: Vec<(u32, f32)>,
    /// Places that are taken.
    taken: Vec<u32>,
    /// Bits that a hash of 32 is too long for the places in use.
    shift: u32,
    found: Vec<(f32, u32)>,
}

impl Near {
    /// No record.
    const FREE: (u32, f32) = (u32::MAX, 0.0);

    /// Makes room for so many records.
    fn begin(&mut self, n: usize) {
        const FEWEST: usize = 64;
        let n_places = (2 * n).next_power_of_two().max(FEWEST);
        if self.places.len() < n_places {
            self.places.resize(n_places, Self::FREE);
        }
        self.shift = u32::BITS - n_places.trailing_zeros();
    }

    #[inline]
    fn add(&mut self, record: u32, bits: f32) {
        // Knuth 1973, section 6.4: the golden ratio of 2^32.
        let mut at = (record.wrapping_mul(0x9e37_79b1) >> self.shift) as usize;
        let last = (u32::MAX >> self.shift) as usize;
        loop {
            let place = &mut self.places[at];
            if place.0 == record {
                place.1 += bits;
                return;
            }
            if place.0 == Self::FREE.0 {
                *place = (record, bits);
                self.taken.push(at as u32);
                return;
            }
            at = (at + 1) & last;
        }
    }

    /// Finds those that may be paired; where there are more than `most`, the ones with most bits and `least` at the least. Frees the places.
    fn end(&mut self, most: usize, least: f32, may_pair: &dyn Fn(u32) -> bool) {
        let least = if self.taken.len() > most { least } else { 0.0 };
        for at in self.taken.drain(..) {
            let (record, bits) = std::mem::replace(&mut self.places[at as usize], Self::FREE);
            if bits >= least && may_pair(record) {
                self.found.push((bits, record));
            }
        }
        if self.found.len() > most {
            self.found.select_nth_unstable_by(most - 1, |one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
            self.found.truncate(most);
        }
    }
}

/// Parts the records of a common key by every column from `from` on, and what is still too many by the columns after that, `depth` columns in
/// all. `take` is given every part of two records or more; parts larger than `largest` are those that no column made small enough.
fn join(cells: &Cells, rows: &[u32], from: usize, depth: usize, largest: u32, take: &mut dyn FnMut(&[u32])) {
    for column in from..cells.n_columns {
        let code = |&row: &u32| (cells.code(row, column), row);
        let mut by_code: Vec<Entry> = rows.iter().map(code).filter(|(code, _)| *code != MISSING).collect();
        by_code.sort_unstable_by_key(|entry| packed(*entry));
        for part in by_code.chunk_by(|a, b| a.0 == b.0).filter(|part| part.len() > 1) {
            let part: Vec<u32> = part.iter().map(|(_, row)| *row).collect();
            if part.len() > largest as usize && depth > 1 && column + 1 < cells.n_columns {
                join(cells, &part, column + 1, depth - 1, largest, take);
            } else {
                take(&part);
            }
        }
    }
}

/// Codes of all cells, record by record: those of one lie side by side.
struct Cells {
    codes: Vec<u32>,
    n_columns: usize,
}

impl Cells {
    /// Takes the codes of texts that are worth joining; the others count as missing.
    fn of(records: &Records, is_worth: impl Fn(usize, u32) -> bool + Sync) -> Self {
        let n_columns = records.columns.len();
        let worth =
            |(at, column): (usize, &RecordColumn)| (0..column.texts.len() as u32).into_par_iter().map(|code| is_worth(at, code)).collect();
        let is_worth: Vec<Vec<bool>> = records.columns.iter().enumerate().map(worth).collect();
        let mut codes = vec![MISSING; records.len() * n_columns];
        let put = |(row, codes): (usize, &mut [u32])| {
            for ((own, column), is_worth) in codes.iter_mut().zip(&records.columns).zip(&is_worth) {
                let code = column.codes[row];
                if code != MISSING && is_worth[code as usize] {
                    *own = code;
                }
            }
        };
        codes.par_chunks_mut(n_columns).enumerate().for_each(put);
        Self { codes, n_columns }
    }

    fn code(&self, row: u32, column: usize) -> u32 {
        self.codes[row as usize * self.n_columns + column]
    }
}

/// A key or code and a record, or two records.
type Entry = (u32, u32);

const fn packed((one, other): Entry) -> u64 {
    (one as u64) << 32 | other as u64
}

fn sort(entries: &mut [Entry]) {
    entries.par_sort_unstable_by_key(|entry| packed(*entry));
}

const fn pairs_of(n: usize) -> u64 {
    (n as u64) * (n as u64 - 1) / 2
}

/// Returns the size up to which all blocks together take no more steps than allowed, at least 2.
fn largest(sizes: impl Iterator<Item = u32>, most_steps: u64) -> u32 {
    let mut sizes: Vec<u32> = sizes.filter(|size| *size > 1).collect();
    sizes.par_sort_unstable();
    let (mut steps, mut largest) = (0_u64, 2);
    for same in sizes.chunk_by(|one, other| one == other) {
        let size = u64::from(same[0]);
        steps = steps.saturating_add((same.len() as u64).saturating_mul(size * size));
        if steps > most_steps {
            break;
        }
        largest = same[0];
    }
    largest
}
