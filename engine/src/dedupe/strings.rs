//! How alike two short texts are: Jaro-Winkler, and the least number of edits.

/// Longest text that is looked at letter by letter: a machine word of bits.
pub const LONGEST: usize = 64;

/// Jaro's share of letters in common (Jaro 1989), and where it is above 0.7 Winkler's bonus of 0.1 for each of the first four letters that
/// agree (Winkler 1990).
///
/// Texts are compared by their bytes, the first 64 of each. Two empty texts are alike (1).
#[must_use]
pub fn jaro_winkler(a: &[u8], b: &[u8]) -> f64 {
    const LEAST_FOR_BONUS: f64 = 0.7;
    let jaro = jaro(a, b);
    if jaro <= LEAST_FOR_BONUS {
        return jaro;
    }
    jaro + 0.1 * prefix(a, b) as f64 * (1.0 - jaro)
}

fn jaro(a: &[u8], b: &[u8]) -> f64 {
    let (a, b) = (&a[..a.len().min(LONGEST)], &b[..b.len().min(LONGEST)]);
    if a.is_empty() || b.is_empty() {
        return if a.len() == b.len() { 1.0 } else { 0.0 };
    }
    match b.len() {
        ..=8 => jaro_at(a, b, &Lanes::<1>::of(b)),
        9..=16 => jaro_at(a, b, &Lanes::<2>::of(b)),
        17..=32 => jaro_at(a, b, &Lanes::<4>::of(b)),
        _ => jaro_at(a, b, &Table::of(b)),
    }
}

fn jaro_at(a: &[u8], b: &[u8], places: &impl Places) -> f64 {
    let window = (a.len().max(b.len()) / 2).saturating_sub(1);
    let (mut of_a, mut of_b) = (0_u64, 0_u64);
    for (at, letter) in a.iter().enumerate() {
        let within = first(at + window + 1) & !first(at.saturating_sub(window));
        let found = places.of(*letter) & within & !of_b;
        of_a |= u64::from(found != 0) << at;
        of_b |= found & found.wrapping_neg();
    }
    let common = of_a.count_ones();
    if common == 0 {
        return 0.0;
    }
    let (mut rest_a, mut rest_b, mut out_of_order) = (of_a, of_b, 0_u32);
    while rest_a != 0 {
        out_of_order += u32::from(a[rest_a.trailing_zeros() as usize] != b[rest_b.trailing_zeros() as usize]);
        rest_a &= rest_a - 1;
        rest_b &= rest_b - 1;
    }
    let common = f64::from(common);
    let transpositions = f64::from(out_of_order / 2);
    (common / a.len() as f64 + common / b.len() as f64 + (common - transpositions) / common) / 3.0
}

/// The first bits.
const fn first(n: usize) -> u64 {
    if n < 64 { (1 << n) - 1 } else { u64::MAX }
}

/// Where the letters of a text stand, a bit for each place.
trait Places {
    fn of(&self, letter: u8) -> u64;
}

/// Of a text of up to 8 N bytes: they lie in N words, and are compared with a letter eight at a time.
struct Lanes<const N: usize> {
    words: [u64; N],
    used: u64,
}

impl<const N: usize> Lanes<N> {
    fn of(text: &[u8]) -> Self {
        let mut bytes = [[0; 8]; N];
        bytes.as_flattened_mut()[..text.len()].copy_from_slice(text);
        Self { words: bytes.map(u64::from_le_bytes), used: first(text.len()) }
    }
}

impl<const N: usize> Places for Lanes<N> {
    #[inline]
    fn of(&self, letter: u8) -> u64 {
        const ONES: u64 = u64::from_le_bytes([1; 8]);
        const ALL_BUT_TOP: u64 = 0x7f * ONES;
        // Warren, Hacker's Delight (2012), section 6-1: the top bit of every byte that is zero; then those bits side by side.
        let zeros = |word: u64| !(((word & ALL_BUT_TOP) + ALL_BUT_TOP) | word | ALL_BUT_TOP);
        let side_by_side = |tops: u64| (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        let all = ONES * u64::from(letter);
        let places = self.words.iter().enumerate().fold(0, |places, (at, word)| places | side_by_side(zeros(word ^ all)) << (8 * at));
        places & self.used
    }
}

/// Of a longer text: a word for every letter.
struct Table([u64; 256]);

impl Table {
    fn of(text: &[u8]) -> Self {
        let mut places = [0; 256];
        for (at, &letter) in text.iter().enumerate() {
            places[letter as usize] |= 1 << at;
        }
        Self(places)
    }
}

impl Places for Table {
    #[inline]
    fn of(&self, letter: u8) -> u64 {
        self.0[letter as usize]
    }
}

/// Returns what Jaro-Winkler cannot exceed, told how long both texts are, how many of each one's different letters the other lacks, and how
/// many letters at the start agree.
#[must_use]
pub(super) fn jaro_winkler_at_most(lengths: [usize; 2], n_missing: [u32; 2], prefix: usize) -> f64 {
    /// Beyond what rounding does.
    const SLACK: f64 = 1e-9;
    let [n_a, n_b] = lengths;
    let common = (n_a - n_missing[0] as usize).min(n_b - n_missing[1] as usize) as f64;
    if common <= 0.0 {
        return SLACK;
    }
    let jaro = (common / n_a as f64 + common / n_b as f64 + 1.0) / 3.0;
    jaro + 0.1 * prefix as f64 * (1.0 - jaro) + SLACK
}

/// Letters at the start that agree, four at most.
pub(super) fn prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(4).take_while(|(a, b)| a == b).count()
}

/// Returns whether at most one insertion, deletion, replacement or swap of neighbours makes one text the other; of each the first 64 bytes.
#[must_use]
pub(super) fn is_one_edit(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (&a[..a.len().min(LONGEST)], &b[..b.len().min(LONGEST)]);
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if long.len() - short.len() > 1 {
        return false;
    }
    let ahead = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let behind = short[ahead..].iter().rev().zip(long.iter().rev()).take_while(|(a, b)| a == b).count();
    let (of_short, of_long) = (&short[ahead..short.len() - behind], &long[ahead..long.len() - behind]);
    match (of_short, of_long) {
        ([] | [_], [] | [_]) => true,
        ([first, second], [third, fourth]) => first == fourth && second == third,
        _ => false,
    }
}

/// The least number of insertions, deletions, replacements and swaps of neighbours that makes one text the other, no part edited twice
/// (optimal string alignment), by Hyyro's bit vectors (2003, section 4).
///
/// Texts are compared by their bytes, the first 64 of each.
#[must_use]
pub fn osa(a: &[u8], b: &[u8]) -> u32 {
    let (a, b) = (&a[..a.len().min(LONGEST)], &b[..b.len().min(LONGEST)]);
    if a.is_empty() || b.is_empty() {
        return (a.len() + b.len()) as u32;
    }
    match a.len() {
        ..=8 => osa_at(a, b, &Lanes::<1>::of(a)),
        9..=16 => osa_at(a, b, &Lanes::<2>::of(a)),
        17..=32 => osa_at(a, b, &Lanes::<4>::of(a)),
        _ => osa_at(a, b, &Table::of(a)),
    }
}

fn osa_at(a: &[u8], b: &[u8], places: &impl Places) -> u32 {
    let last = 1_u64 << (a.len() - 1);
    let (mut up, mut down, mut diagonal, mut before) = (!0_u64, 0_u64, 0_u64, 0_u64);
    let mut distance = a.len() as u32;
    for &letter in b {
        let here = places.of(letter);
        let swapped = ((!diagonal & here) << 1) & before;
        diagonal = ((here & up).wrapping_add(up) ^ up) | here | down | swapped;
        let mut rises = down | !(diagonal | up);
        let mut falls = diagonal & up;
        distance = distance + u32::from(rises & last != 0) - u32::from(falls & last != 0);
        rises = (rises << 1) | 1;
        falls <<= 1;
        up = falls | !(diagonal | rises);
        down = rises & diagonal;
        before = here;
    }
    distance
}
