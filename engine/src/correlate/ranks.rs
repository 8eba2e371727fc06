//! Average ranks, exact.
//!
//! Ranks are doubled while they are counted, so that a tie of two cells has a whole number too; halves are exact in f64.

/// Returns the average rank of every cell, from 1 on; NaN where one is missing.
pub(crate) fn average_ranks(cells: &[f64]) -> Vec<f64> {
    let mut order = order(cells);
    order.retain(|&row| cells[row as usize].is_finite());
    let mut ranks = vec![f64::NAN; cells.len()];
    let mut first = 0;
    for tie in order.chunk_by(|&a, &b| same(cells[a as usize], cells[b as usize])) {
        #[allow(clippy::cast_precision_loss, reason = "a table has fewer than 2^32 rows")]
        let rank = (2 * first + tie.len() + 1) as f64 / 2.0;
        for &row in tie {
            ranks[row as usize] = rank;
        }
        first += tie.len();
    }
    ranks
}

/// Returns the rows in ascending order of their cells, NaN last; equal cells stay in row order.
///
/// A radix sort of the upper halves of keys that order as the numbers do, each with its row in one word; runs whose upper
/// halves are the same are few, and sorted by the rest.
pub(crate) fn order(cells: &[f64]) -> Vec<u32> {
    let n = u32::try_from(cells.len()).expect("a table has fewer than 2^32 rows");
    let mut words: Vec<u64> = (0..n).zip(cells).map(|(row, x)| (key(*x) & !0xffff_ffff) | u64::from(row)).collect();
    if cells.len() < 256 {
        words.sort_unstable();
    } else {
        radix_sort(&mut words);
    }
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is the row")]
    let mut rows: Vec<u32> = words.iter().map(|word| *word as u32).collect();
    let mut start = 0;
    for run in words.chunk_by(|a, b| a >> 32 == b >> 32) {
        if run.len() > 1 {
            rows[start..start + run.len()].sort_by_key(|&row| (key(cells[row as usize]), row));
        }
        start += run.len();
    }
    rows
}

/// Returns a number that orders as x does, NaN last.
fn key(x: f64) -> u64 {
    // -0 is 0, and every NaN is the largest.
    let bits = (if x.is_nan() { f64::NAN.copysign(1.0) } else { x + 0.0 }).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Sorts by the upper half, eleven bits at a time; digits that all words share are passed over.
fn radix_sort(words: &mut Vec<u64>) {
    const BITS: u32 = 11;
    const SIZE: usize = 1 << BITS;
    let mut spare = vec![0; words.len()];
    for shift in [32, 43, 54] {
        let digit = |word: u64| (word >> shift) as usize & (SIZE - 1);
        let mut starts = [0_usize; SIZE];
        for word in words.iter() {
            starts[digit(*word)] += 1;
        }
        if starts.contains(&words.len()) {
            continue;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for word in words.iter() {
            let start = &mut starts[digit(*word)];
            spare[*start] = *word;
            *start += 1;
        }
        std::mem::swap(words, &mut spare);
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
