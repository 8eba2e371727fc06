//! Philox4x32-10: a counter in, four random words out, nothing kept in between.
//!
//! Ten rounds of two 32-bit multiplications; Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC11. It passes the test battery `BigCrush` and needs only 32-bit integers, so that a GPU shader draws the same numbers.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
// The golden ratio and the root of 3 less 1, as the paper's Weyl sequence takes them.
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Counters that go through the rounds side by side: a vector of 16 words.
const LANES: usize = 16;

/// Words of one refill.
pub(crate) const WORDS: usize = 4 * LANES;

/// What a stream is for; streams of different purpose never share a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Purpose {
    /// The order of a column's cells in one permutation.
    Permutation = 1,
    /// The weights of rows in one turn of a bootstrap.
    Bootstrap = 2,
    /// The first centres of a clustering.
    Seeding = 3,
    /// Which points a sample holds, and how it is parted.
    Sample = 4,
    /// Which rows a model is tried on.
    Agreement = 5,
    /// Which rows are looked at side by side.
    Drawn = 6,
    /// Which records are held against each other to see what chance makes alike.
    Pairs = 7,
    /// Which pairs of records people are asked about.
    Review = 8,
    /// The orders of shingles whose first ones make a signature.
    Signatures = 9,
}

/// A stream of random words, keyed by seed, purpose and two indices.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    key: [u32; 2],
    /// Purpose and second index in one word, first index: the upper half of the counter.
    upper: [u32; 2],
    next_block: u32,
    words: [u32; WORDS],
    used: usize,
}

impl Stream {
    /// Starts the stream of (seed, purpose, index, turn): `turn` below 2^28.
    pub(crate) fn new(seed: u64, purpose: Purpose, index: u32, turn: u32) -> Self {
        let upper = [index, (purpose as u32) << 28 ^ turn];
        Self { key: halves(seed), upper, next_block: 0, words: [0; WORDS], used: WORDS }
    }

    /// Returns the next 32 random bits.
    #[inline]
    pub(crate) fn word(&mut self) -> u32 {
        if self.used == WORDS {
            self.refill();
        }
        let word = self.words[self.used];
        self.used += 1;
        word
    }

    /// Returns a number below `n`, each with probability 1 / n up to n / 2^32.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the upper half of a product of words is a word")]
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(n)) >> 32) as u32
    }

    /// Returns the next 64 words at once; words left over from single draws are passed over.
    #[inline]
    pub(crate) fn words(&mut self) -> &[u32; WORDS] {
        self.refill();
        self.used = WORDS;
        &self.words
    }

    fn refill(&mut self) {
        let first = self.next_block;
        let (key, upper, words) = (self.key, self.upper, &mut self.words);
        crate::simd::widest(
            #[inline(always)]
            || sixteen(first, upper, key, words),
        );
        self.next_block = first.wrapping_add(LANES as u32);
        self.used = 0;
    }
}

/// Writes the words of sixteen counters that follow each other, counter by counter.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the four words of a counter are one vector each, of which a lane is a counter")]
fn sixteen(first: u32, upper: [u32; 2], mut key: [u32; 2], words: &mut [u32; WORDS]) {
    let mut counter = [[0_u32; LANES]; 4];
    for lane in 0..LANES {
        counter[0][lane] = first.wrapping_add(lane as u32);
        counter[2][lane] = upper[0];
        counter[3][lane] = upper[1];
    }
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
        }
        for lane in 0..LANES {
            let low_0 = counter[0][lane].wrapping_mul(MULTIPLIERS[0]);
            let high_0 = high(counter[0][lane], MULTIPLIERS[0]);
            let low_1 = counter[2][lane].wrapping_mul(MULTIPLIERS[1]);
            let high_1 = high(counter[2][lane], MULTIPLIERS[1]);
            counter[0][lane] = high_1 ^ counter[1][lane] ^ key[0];
            counter[1][lane] = low_1;
            counter[2][lane] = high_0 ^ counter[3][lane] ^ key[1];
            counter[3][lane] = low_0;
        }
    }
    for lane in 0..LANES {
        for (part, words) in counter.iter().zip(words[4 * lane..].iter_mut()) {
            *words = part[lane];
        }
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the upper half of a product of words is a word")]
const fn high(a: u32, b: u32) -> u32 {
    ((a as u64 * b as u64) >> 32) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the halves are taken on purpose")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the authors publish with Random123 (`kat_vectors`, lines `philox4x32 10`).
    #[test]
    fn known_answers() {
        let mut words = [0; WORDS];
        sixteen(0, [0; 2], [0; 2], &mut words);
        assert_eq!(words[..4], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn lanes_are_counters_in_order() {
        let mut stream = Stream::new(7, Purpose::Permutation, 3, 5);
        let words: Vec<u32> = (0..3 * WORDS).map(|_| stream.word()).collect();
        let mut alone = [0; WORDS];
        sixteen(17, [3, 1 << 28 ^ 5], [7, 0], &mut alone);
        assert_eq!(words[17 * 4..17 * 4 + 4], alone[..4]);
        assert_ne!(Stream::new(7, Purpose::Permutation, 3, 6).word(), words[0]);
        assert_ne!(Stream::new(7, Purpose::Permutation, 4, 5).word(), words[0]);
        assert_ne!(Stream::new(8, Purpose::Permutation, 3, 5).word(), words[0]);
    }

    #[test]
    fn numbers_below_n_are_even() {
        let mut stream = Stream::new(1, Purpose::Permutation, 0, 0);
        let mut counts = [0_u32; 10];
        (0..100_000).for_each(|_| counts[stream.below(10) as usize] += 1);
        // Standard deviation of a count: 95.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
    }
}
