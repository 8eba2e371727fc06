//! Texts that are nearly the same: every pair whose sets of shingles have a Jaccard similarity of a threshold or more.
//!
//! ```text
//! text -> words (or bytes) -> shingles of k -> set of 64-bit hashes -> prefix filter -> candidates -> exact Jaccard -> stars
//! ```
//!
//! What     all pairs of texts with |A and B| / |A or B| >= t, none left out and none too many; which texts to keep, so that no
//!          two kept are a pair, and every other is a pair with the one that stands for it
//! Method   exact set-similarity join with prefix, length and positional filters (Bayardo, Ma and Srikant 2007; Xiao, Wang, Lin and Yu 2008,
//!          "Efficient similarity joins"); the rarest shingles come first, by counts in a table of hashed counters
//! Shape    8 bytes a shingle, 16 a shingle of a prefix that is there more than once
//! Nulls    a text that is missing, or holds no word, is like no other
//! Exact    up to two shingles with one hash: about d * d / 2^65 for d different shingles, 1 in 10^6 for ten million
//! Order    results do not depend on the order of the texts or the number of threads

use rayon::prelude::*;

mod bands;
mod join;
mod shelved;
mod shingles;
pub(crate) mod signatures;

#[cfg(test)]
mod definition;
#[cfg(test)]
mod tests;

pub use bands::Bands;
pub use shelved::{Shelf, ShelvedTexts};
pub use shingles::{Parts, Shingles, TextSets, Unit};

use join::{Classes, Joined};

/// What is asked of texts.
#[derive(Debug, Clone)]
pub struct TextOptions {
    /// Jaccard similarity from which two texts are a pair, above 0 to 1.
    pub threshold: f64,
    /// Pairs that may be held.
    pub most_pairs: u64,
}

/// Two texts that are nearly the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearPair {
    /// A text.
    pub a: u32,
    /// The other, a later one.
    pub b: u32,
    /// Jaccard similarity of their shingles.
    pub jaccard: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct NearTexts {
    /// Group of every text, numbered from 0 in an order that what the texts say gives.
    pub group: Vec<u32>,
    /// How many groups there are, texts that stand alone among them.
    pub n_groups: usize,
    /// Text that stands for each group. No two of them are a pair, and every other text is a pair with that of its group.
    pub kept: Vec<u32>,
    /// Number of the set of every text: texts with one set of shingles have one number.
    pub set: Vec<u32>,
    /// Every pair at the threshold or above, the most alike first, then by text.
    pub pairs: Vec<NearPair>,
    /// Pairs whose sets were held against each other.
    pub n_verified: u64,
    /// Pairs at the threshold or above that are expected not to be among them; 0 where every one is found.
    pub n_missed: f64,
    /// Texts without a word.
    pub n_empty: u64,
}

/// Why there is no result.
#[derive(Debug)]
pub enum NoTexts {
    /// The work was stopped.
    Stopped,
    /// More pairs reach the threshold than may be held.
    TooManyPairs,
    /// The shelf cannot be read.
    Shelf(std::io::Error),
}

/// Finds every pair of texts at the threshold or above, and groups them.
///
/// `source` says of what source every text is, where only pairs between sources count.
///
/// # Errors
/// When the work was stopped, or there are more pairs than may be held.
pub fn near_texts(
    sets: &TextSets,
    source: Option<&[u16]>,
    options: &TextOptions,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<NearTexts, NoTexts> {
    let classes = Classes::of(sets);
    let Joined { pairs, n_verified } = join::join(sets, &classes, source, options, stopped)?;
    Ok(finished(sets.len(), &classes, &|text| sets.set(text).len(), pairs, n_verified))
}

/// Sorts the pairs of so many texts, and groups the texts; `size` says how many shingles each has.
fn finished(n: usize, classes: &Classes, size: &dyn Fn(u32) -> usize, mut pairs: Vec<NearPair>, n_verified: u64) -> NearTexts {
    let n_empty = (n - classes.texts().len()) as u64;
    pairs.par_sort_unstable_by(|one, other| other.jaccard.total_cmp(&one.jaccard).then((one.a, one.b).cmp(&(other.a, other.b))));
    // An order that what the texts say gives; those without a word come last.
    let empty = (0..n as u32).filter(|text| size(*text) == 0);
    let order: Vec<u32> = classes.texts().iter().copied().chain(empty).collect();
    let (group, kept) = stars(size, &order, &pairs);
    NearTexts { group, n_groups: kept.len(), kept, set: classes.of_text(n), pairs, n_verified, n_missed: 0.0, n_empty }
}

/// Groups texts as stars (Aslam, Pelekhov and Rus 2004): of the texts that are near none kept yet, the one with the greatest sum of likenesses
/// is kept, and each other text is of the one kept that it is most like.
fn stars(size: &dyn Fn(u32) -> usize, order: &[u32], pairs: &[NearPair]) -> (Vec<u32>, Vec<u32>) {
    let near = Neighbours::of(order.len(), pairs);
    let (mut star, mut best) = ((0..order.len() as u32).collect::<Vec<u32>>(), vec![0.0; order.len()]);
    // A text that is near none stands for itself.
    let mut ranked: Vec<(u32, f64)> = Vec::new();
    for &text in order {
        let sum: f64 = near.of_text(text).map(|(_, likeness)| likeness).sum();
        if sum > 0.0 {
            star[text as usize] = OPEN;
            ranked.push((text, sum));
        }
    }
    // Where sums and lengths tie, what the texts say decides, and not the order of the rows.
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(size(other.0).cmp(&size(one.0))));
    const OPEN: u32 = u32::MAX;
    for (text, _) in ranked {
        if star[text as usize] != OPEN {
            continue;
        }
        star[text as usize] = text;
        best[text as usize] = f64::INFINITY;
        for (other, likeness) in near.of_text(text) {
            if likeness > best[other as usize] {
                star[other as usize] = text;
                best[other as usize] = likeness;
            }
        }
    }
    let (mut number, mut kept) = (vec![0; order.len()], Vec::new());
    for &text in order.iter().filter(|text| star[**text as usize] == **text) {
        number[text as usize] = kept.len() as u32;
        kept.push(text);
    }
    (star.into_iter().map(|kept| number[kept as usize]).collect(), kept)
}

/// The pairs of every text.
struct Neighbours {
    starts: Vec<usize>,
    others: Vec<(u32, f64)>,
}

impl Neighbours {
    fn of(n: usize, pairs: &[NearPair]) -> Self {
        let mut starts = vec![0; n + 1];
        for pair in pairs {
            starts[pair.a as usize + 1] += 1;
            starts[pair.b as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut others = vec![(0, 0.0); 2 * pairs.len()];
        for pair in pairs {
            for (text, other) in [(pair.a, pair.b), (pair.b, pair.a)] {
                others[next[text as usize]] = (other, pair.jaccard);
                next[text as usize] += 1;
            }
        }
        Self { starts, others }
    }

    fn of_text(&self, text: u32) -> impl Iterator<Item = (u32, f64)> {
        self.others[self.starts[text as usize]..self.starts[text as usize + 1]].iter().copied()
    }
}
