//! Average ranks, exact.
//!
//! Ranks are doubled while they are counted, so that a tie of two cells has a whole number too; halves are exact in f64.

/// Room that sorting one column after another uses again: memory touched for the first time costs more than the sort.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    words: Vec<u64>,
    spare: Vec<u64>,
}

impl Sorter {
    /// Returns the average rank of every cell, from 1 on; NaN where one is missing.
    pub(crate) fn average_ranks(&mut self, cells: &[f64]) -> Vec<f64> {
        self.sort(cells);
        let finite = |word: &u64| (key(f64::NEG_INFINITY) >> 32 < *word >> 32) && (*word >> 32 < key(f64::INFINITY) >> 32);
        let first = self.words.iter().position(finite).unwrap_or(self.words.len());
        let present = &self.words[first..first + self.words[first..].iter().take_while(|word| finite(word)).count()];
        let mut ranks = vec![f64::NAN; cells.len()];
        let mut before = 0;
        for tie in present.chunk_by(|&a, &b| a >> 32 == b >> 32 && same(cells[row(a)], cells[row(b)])) {
            #[allow(clippy::cast_precision_loss, reason = "a table has fewer than 2^32 rows")]
            let rank = (2 * before + tie.len() + 1) as f64 / 2.0;
            for &word in tie {
                ranks[row(word)] = rank;
            }
            before += tie.len();
        }
        ranks
    }

    /// Leaves in `words` every row in the lower half of a word, in ascending order of the cells, NaN last; equal cells in row order.
    ///
    /// A radix sort of the upper halves of keys that order as the numbers do, each with its row in one word; runs whose upper
    /// halves are the same are few, and sorted by the rest.
    fn sort(&mut self, cells: &[f64]) {
        let n = u32::try_from(cells.len()).expect("a table has fewer than 2^32 rows");
        self.words.clear();
        self.words.extend((0..n).zip(cells).map(|(row, x)| (key(*x) & !0xffff_ffff) | u64::from(row)));
        if cells.len() < 256 {
            self.words.sort_unstable();
        } else {
            radix_sort(&mut self.words, &mut self.spare);
        }
        for run in self.words.chunk_by_mut(|a, b| *a >> 32 == *b >> 32) {
            if run.len() > 1 {
                run.sort_by_key(|&word| (key(cells[row(word)]), row(word)));
            }
        }
    }
}

/// Returns the row in the lower half of a word.
const fn row(word: u64) -> usize {
    (word & 0xffff_ffff) as usize
}

/// Returns the average rank of every cell, from 1 on; NaN where one is missing.
pub(crate) fn average_ranks(cells: &[f64]) -> Vec<f64> {
    Sorter::default().average_ranks(cells)
}

/// Returns the rows in ascending order of their cells, NaN last; equal cells stay in row order.
pub(crate) fn order(cells: &[f64]) -> Vec<u32> {
    let mut sorter = Sorter::default();
    sorter.sort(cells);
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is the row")]
    sorter.words.iter().map(|word| *word as u32).collect()
}

/// Returns a number that orders as x does, NaN last.
fn key(x: f64) -> u64 {
    // -0 is 0, and every NaN is the largest.
    let bits = (if x.is_nan() { f64::NAN.copysign(1.0) } else { x + 0.0 }).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Sorts by the upper half, eleven bits at a time; digits that all words share are passed over.
fn radix_sort(words: &mut Vec<u64>, spare: &mut Vec<u64>) {
    const BITS: u32 = 11;
    const SIZE: usize = 1 << BITS;
    const SHIFTS: [u32; 3] = [32, 43, 54];
    let digit = |word: u64, shift: u32| (word >> shift) as usize & (SIZE - 1);
    spare.resize(words.len(), 0);
    let mut counts = vec![[0_usize; SIZE]; SHIFTS.len()];
    for word in words.iter() {
        for (counts, shift) in counts.iter_mut().zip(SHIFTS) {
            counts[digit(*word, shift)] += 1;
        }
    }
    for (mut starts, shift) in counts.into_iter().zip(SHIFTS) {
        if starts.contains(&words.len()) {
            continue;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for word in words.iter() {
            let start = &mut starts[digit(*word, shift)];
            spare[*start] = *word;
            *start += 1;
        }
        std::mem::swap(words, spare);
    }
}

#[allow(clippy::float_cmp, reason = "a tie is the very same number")]
fn same(a: f64, b: f64) -> bool {
    a == b
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "ranks are halves, which are exact")]

    use super::*;

    #[test]
    fn ties_share_the_mean_of_their_places() {
        assert_eq!(average_ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(average_ranks(&[0.0, -0.0, 1.0]), [1.5, 1.5, 3.0]);
        let ranks = average_ranks(&[2.0, f64::NAN, 1.0]);
        assert!(ranks[0] == 2.0 && ranks[1].is_nan() && ranks[2] == 1.0);
    }

    #[test]
    fn long_columns_sort_as_short_ones_do() {
        let cells: Vec<f64> = (0..5000_i32).map(|row| f64::from((row * 7919) % 4001 - 2000) * 1.5e-7).collect();
        let mut due: Vec<u32> = (0..5000).collect();
        due.sort_by(|&a, &b| cells[a as usize].total_cmp(&cells[b as usize]));
        assert_eq!(order(&cells), due);
        let ranks = average_ranks(&cells);
        let sum: f64 = ranks.iter().sum();
        assert!((sum - 5000.0 * 5001.0 / 2.0).abs() < 1e-6);
        // The wrong twin: ranks that do not average ties.
        let places: Vec<f64> = {
            let mut p = vec![0.0; 5000];
            for (place, row) in due.iter().enumerate() {
                p[*row as usize] = place as f64 + 1.0;
            }
            p
        };
        assert_ne!(ranks, places);
    }
}
