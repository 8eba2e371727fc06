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
    let prefix = a.iter().zip(b).take(4).take_while(|(a, b)| a == b).count();
    jaro + 0.1 * prefix as f64 * (1.0 - jaro)
}

fn jaro(a: &[u8], b: &[u8]) -> f64 {
    let (a, b) = (&a[..a.len().min(LONGEST)], &b[..b.len().min(LONGEST)]);
    if a.is_empty() || b.is_empty() {
        return if a.len() == b.len() { 1.0 } else { 0.0 };
    }
    let window = (a.len().max(b.len()) / 2).saturating_sub(1);
    let (mut of_a, mut of_b) = (0_u64, 0_u64);
    for (at, letter) in a.iter().enumerate() {
        let from = at.saturating_sub(window);
        let until = (at + window + 1).min(b.len());
        for (other, candidate) in b.iter().enumerate().take(until).skip(from) {
            if candidate == letter && of_b >> other & 1 == 0 {
                of_a |= 1 << at;
                of_b |= 1 << other;
                break;
            }
        }
    }
    let common = of_a.count_ones();
    if common == 0 {
        return 0.0;
    }
    let (mut rest_a, mut rest_b, mut out_of_order) = (of_a, of_b, 0_u32);
    while rest_a != 0 {
        if a[rest_a.trailing_zeros() as usize] != b[rest_b.trailing_zeros() as usize] {
            out_of_order += 1;
        }
        rest_a &= rest_a - 1;
        rest_b &= rest_b - 1;
    }
    let common = f64::from(common);
    let transpositions = f64::from(out_of_order / 2);
    (common / a.len() as f64 + common / b.len() as f64 + (common - transpositions) / common) / 3.0
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
    let mut places = [0_u64; 256];
    for (at, &letter) in a.iter().enumerate() {
        places[letter as usize] |= 1 << at;
    }
    let last = 1_u64 << (a.len() - 1);
    let (mut up, mut down, mut diagonal, mut before) = (!0_u64, 0_u64, 0_u64, 0_u64);
    let mut distance = a.len() as u32;
    for &letter in b {
        let here = places[letter as usize];
        let swapped = ((!diagonal & here) << 1) & before;
        diagonal = ((here & up).wrapping_add(up) ^ up) | here | down | swapped;
        let mut rises = down | !(diagonal | up);
        let mut falls = diagonal & up;
        if rises & last != 0 {
            distance += 1;
        }
        if falls & last != 0 {
            distance -= 1;
        }
        rises = (rises << 1) | 1;
        falls <<= 1;
        up = falls | !(diagonal | rises);
        down = rises & diagonal;
        before = here;
    }
    distance
}
