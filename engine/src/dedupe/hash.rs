//! Hashes of 64 bits of short texts: the same on every machine, fast, and not meant to withstand an enemy.

/// Odd numbers of random bits: digits of pi.
const MIX: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1];

/// Multiplies to 128 bits and folds the halves: what wyhash and its kin are made of.
#[allow(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Hash of bytes that come one by one: eight at a time, the last ones with their number.
#[derive(Clone, Copy)]
pub(super) struct ByteHash {
    state: u64,
    bytes: u64,
    n: u64,
}

impl ByteHash {
    pub(super) const START: Self = Self { state: MIX[0], bytes: 0, n: 0 };

    #[inline]
    pub(super) fn add(&mut self, byte: u8) {
        self.bytes = self.bytes << 8 | u64::from(byte);
        self.n += 1;
        if self.n.is_multiple_of(8) {
            self.state = fold(self.state ^ self.bytes, MIX[1]);
            self.bytes = 0;
        }
    }

    #[inline]
    pub(super) fn end(&self) -> u64 {
        fold(self.state ^ self.bytes, MIX[2] ^ self.n)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.n == 0
    }
}

/// Returns the hash of a sequence, from that of what came before and its next part.
pub(super) const fn after(hash: u64, next: u64) -> u64 {
    fold((MIX[0] ^ hash).rotate_left(23) ^ next, MIX[1])
}

/// Returns the hash of bytes, as `ByteHash` of each of them has it.
pub(super) fn of_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(MIX[0], |state, word| fold(state ^ u64::from_be_bytes(*word), MIX[1]));
    let rest = rest.iter().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte));
    fold(state ^ rest, MIX[2] ^ bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_at_once_are_bytes_one_by_one() {
        let text = b"a text of more than two words of eight";
        for n in 0..=text.len() {
            let mut hash = ByteHash::START;
            text[..n].iter().for_each(|byte| hash.add(*byte));
            assert_eq!(of_bytes(&text[..n]), hash.end(), "{n} bytes");
        }
    }
}
