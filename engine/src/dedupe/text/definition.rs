//! Near texts as a textbook defines them: sets of shingles as texts, every pair held against every other.

use std::collections::BTreeSet;

use super::{NearPair, Shingles, Unit};

/// Returns the shingles of a text, written out.
fn shingles(text: &str, how: Shingles) -> BTreeSet<String> {
    let text = text.to_lowercase();
    let units: Vec<Vec<u8>> = match how.unit {
        Unit::Word => {
            let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty());
            words.map(|word| word.as_bytes().to_vec()).collect()
        }
        Unit::Byte => text.split_whitespace().collect::<Vec<_>>().join(" ").bytes().map(|byte| vec![byte]).collect(),
    };
    if units.is_empty() {
        return BTreeSet::new();
    }
    let written = |units: &[Vec<u8>]| units.iter().map(|unit| format!("{unit:?}")).collect::<String>();
    units.windows(how.k.min(units.len())).map(written).collect()
}

/// Returns every pair at the threshold or above, by text.
pub(super) fn near(texts: &[Option<String>], how: Shingles, threshold: f64) -> Vec<NearPair> {
    let sets: Vec<BTreeSet<String>> =
        texts.iter().map(|text| text.as_deref().map_or_else(BTreeSet::new, |text| shingles(text, how))).collect();
    let mut pairs = Vec::new();
    for (a, one) in sets.iter().enumerate() {
        for (b, other) in sets.iter().enumerate().skip(a + 1) {
            let (common, either) = (one.intersection(other).count(), one.union(other).count());
            let jaccard = if either == 0 { 0.0 } else { common as f64 / either as f64 };
            if jaccard >= threshold {
                pairs.push(NearPair { a: a as u32, b: b as u32, jaccard });
            }
        }
    }
    pairs
}
