//! The keys of the bands of every text's `MinHash` signature: texts that have much in common have some key in common.
//!
//! ```text
//! slot s of a text = min over its shingles x of  x * multiplier[s] + addend[s]     in u32, modulo 2^32, multipliers odd
//! key of a band    = its slots, one after the other, mixed into two words
//! ```
//!
//! Source   Broder 1997, "On the resemblance and containment of documents"; linear permutations: Bohman, Cooper and Frieze 2000,
//!          "Min-wise independent linear permutations". Shingles are well-mixed hashes already, folded to 32 bits.
//! Shape    shingles of n texts in, `n_bands` keys a text out
//! Numbers  integers alone: the same bits on every place
//! Cost     a multiplication, an addition and a minimum for each shingle and slot

pub(crate) mod gpu;

use rayon::prelude::*;

use super::bands::Bands;
use crate::backend::selftest::mix;
use crate::backend::{Cost, Cpu, Gpu, GpuError, Kernel};
use crate::simd::widest;
use crate::stats::{Purpose, Stream};

/// Slots that a loop keeps in registers.
const AT_ONCE: usize = 32;

/// Orders of the shingles: of each slot what a shingle is multiplied with, and what is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slots {
    bands: Bands,
    /// Padded to whole loops.
    multipliers: Vec<u32>,
    addends: Vec<u32>,
}

impl Slots {
    pub(crate) fn new(bands: Bands, seed: u64) -> Self {
        let n = bands.n_slots().next_multiple_of(AT_ONCE);
        let mut stream = Stream::new(seed, Purpose::Signatures, 0, 0);
        let mut words = || (0..n).map(|_| stream.word()).collect::<Vec<u32>>();
        Self { bands, multipliers: words().into_iter().map(|word| word | 1).collect(), addends: words() }
    }

    /// Writes the keys of the bands of one text.
    fn keys(&self, shingles: &[u32], room: &mut Vec<u32>, keys: &mut [u64]) {
        room.clear();
        room.resize(self.multipliers.len(), u32::MAX);
        let slots = self.multipliers.as_chunks::<AT_ONCE>().0.iter().zip(self.addends.as_chunks::<AT_ONCE>().0);
        widest(
            #[inline(always)]
            || {
                for (least, (multipliers, addends)) in room.as_chunks_mut::<AT_ONCE>().0.iter_mut().zip(slots) {
                    let mut held = *least;
                    for shingle in shingles {
                        for slot in 0..AT_ONCE {
                            held[slot] = held[slot].min(shingle.wrapping_mul(multipliers[slot]).wrapping_add(addends[slot]));
                        }
                    }
                    *least = held;
                }
            },
        );
        for (key, slots) in keys.iter_mut().zip(room.chunks_exact(self.bands.n_rows)) {
            *key = key_of(slots);
        }
    }
}

/// Returns the key of a band; `shaders/dedupe/signatures.wgsl` says the same.
fn key_of(slots: &[u32]) -> u64 {
    let start = (0x243f_6a88_u32, 0x85a3_08d3_u32);
    let (low, high) = slots.iter().fold(start, |(low, high), slot| (mix(low ^ slot), mix(high ^ slot)));
    u64::from(high) << 32 | u64::from(low)
}

/// Folds the hash of a shingle to 32 bits. Two shingles that become one do no harm: what is found is verified with all bits.
#[allow(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
pub(super) const fn folded(shingle: u64) -> u32 {
    (shingle ^ shingle >> 32) as u32
}

/// Texts and what their shingles are put through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignatureInput<'a> {
    /// Shingles folded to 32 bits, text after text.
    pub(crate) shingles: &'a [u32],
    /// Where the shingles of every text begin; one more at the end.
    pub(crate) starts: &'a [u32],
    pub(crate) slots: &'a Slots,
}

impl<'a> SignatureInput<'a> {
    fn n_texts(&self) -> usize {
        self.starts.len() - 1
    }

    fn text(&self, at: usize) -> &'a [u32] {
        &self.shingles[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

/// The kernel: of every text the keys of its bands, text after text. Those of a text without shingles mean nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signatures;

impl Kernel for Signatures {
    const NAME: &'static str = "signatures";
    type Input<'a> = SignatureInput<'a>;
    type Output = Vec<u64>;

    fn cost(&self, input: SignatureInput<'_>) -> Cost {
        cost(input.shingles.len() as u64, input.n_texts() as u64, input.slots.bands)
    }

    fn on_cpu(&self, _: &Cpu, input: SignatureInput<'_>) -> Vec<u64> {
        let n_bands = input.slots.bands.n_bands;
        let mut keys = vec![0; input.n_texts() * n_bands];
        let texts = keys.par_chunks_mut(n_bands).enumerate().with_min_len(64);
        texts.for_each_init(Vec::new, |room, (text, keys)| input.slots.keys(input.text(text), room, keys));
        keys
    }

    fn on_gpu(&self, gpu: &Gpu, input: SignatureInput<'_>) -> Result<Vec<u64>, GpuError> {
        gpu::keys(gpu, input)
    }
}

/// Returns the cost of signatures.
#[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
pub(super) fn cost(n_shingles: u64, n_texts: u64, bands: Bands) -> Cost {
    /// Operations of a shingle and a slot on a device.
    const OPERATIONS: f64 = 3.0;
    /// The same on the CPU, in those of a product of floats: integers are multiplied at a fraction of the pace.
    const CPU_OPERATIONS: f64 = 6.0;
    let steps = n_shingles as f64 * bands.n_slots() as f64;
    Cost {
        flops: OPERATIONS * steps,
        cpu_flops: CPU_OPERATIONS * steps,
        bytes_up: 4 * (n_shingles + n_texts),
        bytes_down: 8 * n_texts * bands.n_bands as u64,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Texts of so many shingles each.
    pub(super) fn texts(lengths: &[usize], seed: u64) -> (Vec<u32>, Vec<u32>) {
        let mut stream = Stream::new(seed, Purpose::Pairs, 0, 0);
        let shingles: Vec<u32> = (0..lengths.iter().sum()).map(|_| stream.word()).collect();
        let ends = lengths.iter().scan(0, |end, n| {
            *end += *n as u32;
            Some(*end)
        });
        let starts = std::iter::once(0).chain(ends).collect();
        (shingles, starts)
    }

    /// By the book: all shingles in the order of each slot, and the first of them.
    pub(super) fn by_the_book(input: SignatureInput<'_>) -> Vec<u64> {
        let slots = &input.slots;
        let slot = |text: &[u32], at: usize| {
            let place = |x: &u32| (u64::from(*x) * u64::from(slots.multipliers[at]) + u64::from(slots.addends[at])) % (1 << 32);
            text.iter().map(place).min().map_or(u32::MAX, |least| least as u32)
        };
        let of_text = |text: usize| {
            let signature: Vec<u32> = (0..slots.bands.n_slots()).map(|at| slot(input.text(text), at)).collect();
            signature.chunks(slots.bands.n_rows).map(key_of).collect::<Vec<u64>>()
        };
        (0..input.n_texts()).flat_map(of_text).collect()
    }

    #[test]
    fn keys_are_those_of_the_book() {
        let (shingles, starts) = texts(&[0, 1, 7, 127, 128, 129, 300], 1);
        for (n_rows, n_bands) in [(1, 1), (5, 18), (4, 32), (3, 52), (1, 256)] {
            let slots = Slots::new(Bands { n_rows, n_bands }, 7);
            let input = SignatureInput { shingles: &shingles, starts: &starts, slots: &slots };
            assert_eq!(Signatures.on_cpu(&Cpu::new(), input), by_the_book(input), "{n_bands} bands of {n_rows}");
        }
    }

    #[test]
    fn the_book_notices_another_order() {
        let (shingles, starts) = texts(&[40, 50], 1);
        let slots = Slots::new(Bands { n_rows: 4, n_bands: 8 }, 7);
        let input = SignatureInput { shingles: &shingles, starts: &starts, slots: &slots };
        let mut wrong = slots.clone();
        wrong.addends[9] ^= 1 << 31;
        let found = Signatures.on_cpu(&Cpu::new(), SignatureInput { slots: &wrong, ..input });
        assert_ne!(found, by_the_book(input));
    }

    /// How often pairs of sets have a key in common is what bands promise: that minima are as good as those of random orders.
    #[test]
    fn pairs_meet_as_often_as_their_similarity_says() {
        const N: usize = 4_000;
        let bands = Bands { n_rows: 5, n_bands: 18 };
        let mut stream = Stream::new(3, Purpose::Pairs, 0, 0);
        // Shares of 200 shingles that both have: similarities of 1/2, 2/3 and 4/5.
        for n_common in [133, 160, 178] {
            let (mut shingles, mut starts) = (Vec::new(), vec![0]);
            for _ in 0..N {
                let common: Vec<u32> = (0..n_common).map(|_| stream.word()).collect();
                for _ in 0..2 {
                    shingles.extend(&common);
                    shingles.extend((n_common..200).map(|_| stream.word()));
                    starts.push(shingles.len() as u32);
                }
            }
            // Other orders for every tenth of the pairs: a bad choice of them must show.
            let met: usize = (0..10)
                .map(|seed| {
                    let slots = Slots::new(bands, seed);
                    let starts = &starts[seed as usize * N / 5..=(seed as usize + 1) * N / 5];
                    let keys = Signatures.on_cpu(&Cpu::new(), SignatureInput { shingles: &shingles, starts, slots: &slots });
                    keys.chunks(2 * bands.n_bands).filter(|pair| (0..bands.n_bands).any(|at| pair[at] == pair[bands.n_bands + at])).count()
                })
                .sum();
            let expected = bands.found(n_common as f64 / (400 - n_common) as f64);
            let share = met as f64 / N as f64;
            // Four standard errors, of orders that all pairs of a tenth share: what they have in common at most doubles them.
            let off = 8.0 * (expected * (1.0 - expected) / N as f64).sqrt();
            assert!((share - expected).abs() < off, "{n_common} of 200: {share}, and {expected} was expected, within {off}");
        }
    }

    #[test]
    fn keys_of_other_slots_are_others() {
        let mut stream = Stream::new(3, Purpose::Pairs, 0, 0);
        let keys: BTreeSet<u64> = (0..200_000).map(|_| key_of(&[stream.word() % 1_000, stream.word() % 1_000])).collect();
        let mut stream = Stream::new(3, Purpose::Pairs, 0, 0);
        let pairs: BTreeSet<(u32, u32)> = (0..200_000).map(|_| (stream.word() % 1_000, stream.word() % 1_000)).collect();
        assert_eq!(keys.len(), pairs.len());
    }
}
