//! Philox4x32-10: a counter in, four random words out, nothing kept in between.
//!
//! Ten rounds of two 32-bit multiplications; Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC11. It passes the test battery `BigCrush` and needs only 32-bit integers, so that a GPU shader draws the same numbers.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
// The golden ratio and the root of 3 less 1, as the paper's Weyl sequence takes them.
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Returns the four words that belong to a counter under a key.
#[inline]
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
        }
        let [low_0, high_0] = wide_product(MULTIPLIERS[0], counter[0]);
        let [low_1, high_1] = wide_product(MULTIPLIERS[1], counter[2]);
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0];
    }
    counter
}

/// What a stream of numbers is for; streams of different purpose never share a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Purpose {
    Column = 1,
    Factor = 2,
    Missing = 3,
    Layout = 4,
    Person = 5,
    Touches = 6,
}

/// A stream of random numbers indexed by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    key: [u32; 2],
    index: u32,
    purpose: Purpose,
}

impl Stream {
    pub(super) fn new(seed: u64, purpose: Purpose, index: u32) -> Self {
        let [low, high] = halves(seed);
        Self { key: [low, high], index, purpose }
    }

    /// Returns 64 random bits for a row; rows 2k and 2k + 1 share one call of the generator.
    pub(super) fn bits(&self, row: u64) -> u64 {
        self.pair(row / 2)[usize::from(row % 2 == 1)]
    }

    /// Returns the bits of rows `2 * pair` and `2 * pair + 1`.
    #[inline]
    pub(super) fn pair(&self, pair: u64) -> [u64; 2] {
        let [low, high] = halves(pair);
        // 2^63 pairs leave the top bit of the counter free; the purpose sits above the index.
        let words = philox4x32([low, high, self.index, self.purpose as u32], self.key);
        [joined(words[0], words[1]), joined(words[2], words[3])]
    }
}

/// Returns a number strictly between 0 and 1 from the top 52 bits: with 53 the last one would round to 1.
#[inline]
#[allow(clippy::cast_precision_loss, reason = "52 bits fit an f64 exactly")]
pub(super) fn to_unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
}

#[allow(clippy::cast_possible_truncation, reason = "the halves are taken on purpose")]
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[inline]
fn wide_product(a: u32, b: u32) -> [u32; 2] {
    halves(u64::from(a) * u64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the authors publish with Random123 (`kat_vectors`, lines `philox4x32 10`).
    #[test]
    fn known_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn rows_of_a_pair_are_its_two_halves() {
        let stream = Stream::new(7, Purpose::Column, 3);
        for row in [0, 1, 2, 9, u64::MAX] {
            assert_eq!(stream.bits(row), stream.pair(row / 2)[usize::from(row % 2 == 1)]);
        }
        assert_ne!(stream.bits(0), Stream::new(7, Purpose::Factor, 3).bits(0));
        assert_ne!(stream.bits(0), Stream::new(7, Purpose::Column, 4).bits(0));
        assert_ne!(stream.bits(0), Stream::new(8, Purpose::Column, 3).bits(0));
    }

    #[test]
    fn unit_numbers_stay_inside() {
        assert!(to_unit(0) > 0.0);
        assert!(to_unit(u64::MAX) < 1.0);
    }
}
