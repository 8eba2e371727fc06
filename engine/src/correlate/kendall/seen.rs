//! Places that are taken, one after another, and how many of them lie below a place: what a walk along the rows asks for.
//!
//! Bits of places in words, and counters of the words before, of the blocks before and of the districts before: adding and asking take a
//! few steps, whatever the number of places.

use pulp::Simd;

/// Places of a word, and counters of a vector: words of a block, blocks of a district.
const WORD: usize = 64;
const COUNTERS: usize = 16;

/// Places of a district, and rows from which districts are counted too.
pub(super) const DISTRICT: usize = WORD * COUNTERS * COUNTERS;

/// One vector of AVX-512, two of AVX2.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Counters([u32; COUNTERS]);

/// What one place adds to the counters of a vector: row k has ones from k + 1 on. The last row adds nothing, the one past
/// it to all.
static LATER: [Counters; COUNTERS + 1] = {
    let mut later = [Counters([0; COUNTERS]); COUNTERS + 1];
    later[COUNTERS] = Counters([1; COUNTERS]);
    let mut at = 1;
    while at < COUNTERS {
        let mut row = 0;
        while row < at {
            later[row].0[at] = 1;
            row += 1;
        }
        at += 1;
    }
    later
};

impl Counters {
    const ZERO: Self = Self([0; COUNTERS]);

    /// Adds a row of `LATER`, in vectors: left to the compiler, it came out as a step for each counter.
    #[inline(always)]
    fn step<S: Simd>(&mut self, simd: S, row: usize) {
        for (counter, step) in S::as_mut_simd_u32s(&mut self.0).0.iter_mut().zip(S::as_simd_u32s(&LATER[row].0).0) {
            *counter = simd.add_u32s(*counter, *step);
        }
    }
}

/// 1,024 places in the order of y: which are taken, and how many before each word.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Block {
    words: [u64; COUNTERS],
    before: Counters,
}

/// Places that are taken, of which one asks how many lie below another.
pub(super) trait Taken<S: Simd> {
    fn add(&mut self, simd: S, place: u32);

    fn below(&self, place: u32) -> u32;
}

/// 16,384 places. Arrays, so that no index is checked: a place is cut to the size.
#[derive(Clone)]
pub(super) struct District {
    blocks: [Block; COUNTERS],
    /// Places taken before each block.
    before: Counters,
}

impl District {
    pub(super) const EMPTY: Self =
        Self { blocks: [Block { words: [0; COUNTERS], before: Counters::ZERO }; COUNTERS], before: Counters::ZERO };
}

/// The only district, its counters in V vectors too: adding need not wait for what was added just before to come back from
/// memory.
pub(super) struct Near<'a, S: Simd, const V: usize> {
    pub(super) before: [S::u32s; V],
    pub(super) district: &'a mut District,
}

impl<S: Simd, const V: usize> Taken<S> for Near<'_, S, V> {
    #[inline(always)]
    fn add(&mut self, simd: S, place: u32) {
        let (block, word) = address(place);
        let steps = S::as_simd_u32s(&LATER[block].0).0;
        let stored = S::as_mut_simd_u32s(&mut self.district.before.0).0;
        for v in 0..V {
            self.before[v] = simd.add_u32s(self.before[v], steps[v]);
            stored[v] = self.before[v];
        }
        self.district.blocks[block].add(simd, word, place);
    }

    #[inline(always)]
    fn below(&self, place: u32) -> u32 {
        self.district.below(place)
    }
}

impl Block {
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, word: usize, place: u32) {
        self.words[word] |= 1 << (place % 64);
        self.before.step(simd, word);
    }
}

impl District {
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, place: u32) {
        let (block, word) = address(place);
        self.before.step(simd, block);
        self.blocks[block].add(simd, word, place);
    }

    #[inline(always)]
    fn below(&self, place: u32) -> u32 {
        let (block, word) = address(place);
        let found = &self.blocks[block];
        let in_word = (found.words[word] & !(u64::MAX << (place % 64))).count_ones();
        in_word.wrapping_add(found.before.0[word]).wrapping_add(self.before.0[block])
    }
}

/// Block of the district, word of the block.
#[inline(always)]
fn address(place: u32) -> (usize, usize) {
    (place as usize / (WORD * COUNTERS) % COUNTERS, place as usize / WORD % COUNTERS)
}

/// All places.
///
/// Adding one moves the later counters of its block and of its district, a vector each, and those of later districts; so
/// neither adding nor looking depends on n, up to a term of n / 262,144.
pub(super) struct Seen {
    pub(super) districts: Vec<District>,
    /// Places taken before each district.
    before: Vec<Counters>,
}

impl Seen {
    pub(super) fn new(n: usize) -> Self {
        // One can ask for what lies below place n.
        let n_districts = n / DISTRICT + 1;
        Self { districts: vec![District::EMPTY; n_districts], before: vec![Counters::ZERO; n_districts.div_ceil(COUNTERS)] }
    }

    pub(super) fn clear(&mut self) {
        self.districts.fill(District::EMPTY);
        self.before.fill(Counters::ZERO);
    }
}

impl<S: Simd> Taken<S> for Seen {
    #[inline(always)]
    fn add(&mut self, simd: S, place: u32) {
        let district = place as usize / DISTRICT;
        self.districts[district].add(simd, place);
        let mut row = district % COUNTERS;
        for counters in &mut self.before[district / COUNTERS..] {
            counters.step(simd, row);
            row = COUNTERS;
        }
    }

    #[inline(always)]
    fn below(&self, place: u32) -> u32 {
        let district = place as usize / DISTRICT;
        self.districts[district].below(place).wrapping_add(self.before[district / COUNTERS].0[district % COUNTERS])
    }
}
