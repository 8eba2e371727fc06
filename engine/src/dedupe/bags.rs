//! Words of texts, weighed: TF-IDF over the column's records (Salton and Buckley 1988) of words and of every three letters of a word, so that
//! words with an error still count; of long texts words alone.

use hashbrown::HashTable;
use rayon::prelude::*;

use super::hash;
use super::records::{MISSING, RecordColumn, words};
use super::texts::Texts;

/// What three letters weigh of what a word does; between 0.5 and 1 the sets that others labelled come out alike.
const OF_THREE: f64 = 0.7;
/// Words of a text, on average, beyond which its threes are left out: they cost most there and tell least.
const LONG: usize = 40;
/// Texts whose features are found by one thread at a time.
const TEXTS_AT_ONCE: usize = 4_096;

/// Letters that threes of words are mostly made of: letters, digits, and the end of a word.
const ALPHABET: u32 = 37;
/// Threes of these; each is its own number, other features come after them.
const N_THREES: u32 = ALPHABET * ALPHABET * ALPHABET;

fn place(letter: char) -> Option<u32> {
    match letter {
        'a'..='z' => Some(letter as u32 - 'a' as u32),
        '0'..='9' => Some(letter as u32 - '0' as u32 + 26),
        ' ' => Some(36),
        _ => None,
    }
}

/// A word, or three letters in a row of a word with its ends.
#[derive(Clone, Copy)]
enum Feature {
    /// Number of a three of the alphabet.
    Three(u32),
    /// Hash of anything else; the last bit tells threes from words.
    Other(u64),
}

fn each_feature(text: &str, has_threes: bool, letters: &mut Vec<char>, take: &mut impl FnMut(Feature)) {
    for word in words(text) {
        take(Feature::Other(hash::of_bytes(word.as_bytes()) & !1));
        if has_threes {
            letters.clear();
            letters.push(' ');
            letters.extend(word.chars());
            letters.push(' ');
            for three in letters.windows(3) {
                let places = [place(three[0]), place(three[1]), place(three[2])];
                take(match places {
                    [Some(a), Some(b), Some(c)] => Feature::Three((a * ALPHABET + b) * ALPHABET + c),
                    _ => Feature::Other(three.iter().fold(0, |hash, letter| hash::after(hash, u64::from(u32::from(*letter)))) | 1),
                });
            }
        }
    }
}

/// Numbers of the features that are no threes of the alphabet, found by their hashes, which are in ascending order.
struct Vocabulary {
    hashes: Vec<u64>,
    places: HashTable<u32>,
}

impl Vocabulary {
    fn of(texts: &Texts, has_threes: bool) -> Self {
        let of_part = |from: usize| {
            let (mut found, mut letters) = (Vec::new(), Vec::new());
            for at in from..(from + TEXTS_AT_ONCE).min(texts.len()) {
                each_feature(&texts[at], has_threes, &mut letters, &mut |feature| match feature {
                    Feature::Other(hash) => found.push(hash),
                    Feature::Three(_) => {}
                });
            }
            found.sort_unstable();
            found.dedup();
            found
        };
        let mut hashes: Vec<u64> = (0..texts.len()).into_par_iter().step_by(TEXTS_AT_ONCE).flat_map_iter(of_part).collect();
        hashes.par_sort_unstable();
        hashes.dedup();
        let mut places = HashTable::with_capacity(hashes.len());
        for (at, hash) in hashes.iter().enumerate() {
            places.insert_unique(*hash, at as u32, |at| hashes[*at as usize]);
        }
        Self { hashes, places }
    }

    fn number(&self, feature: Feature) -> u32 {
        match feature {
            Feature::Three(three) => three,
            Feature::Other(hash) => {
                N_THREES + self.places.find(hash, |at| self.hashes[*at as usize] == hash).expect("every feature is in the vocabulary")
            }
        }
    }

    /// Returns whether a number is that of a three.
    fn is_three(&self, number: u32) -> bool {
        number.checked_sub(N_THREES).is_none_or(|at| self.hashes[at as usize] & 1 == 1)
    }

    const fn len(&self) -> usize {
        N_THREES as usize + self.hashes.len()
    }
}

/// The words of every text of a column, with what each weighs.
pub(super) struct Bags {
    /// Of every text, and the end of the last.
    bags: Vec<Bag>,
    /// Words and threes of every text, ascending, each once.
    features: Vec<u32>,
    /// Square of what every feature weighs.
    weights: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Bag {
    /// Where its features begin.
    start: usize,
    /// Length of its vector.
    norm: f64,
}

impl Bags {
    pub(super) fn of(column: &RecordColumn) -> Self {
        let texts = &*column.texts;
        let n_words: usize = texts.par_iter().map(|text| words(text).count()).sum();
        let has_threes = n_words <= LONG * texts.len();
        let vocabulary = Vocabulary::of(texts, has_threes);
        let of_part = |from: usize| {
            let (mut ends, mut found, mut letters) = (Vec::new(), Vec::new(), Vec::new());
            for at in from..(from + TEXTS_AT_ONCE).min(texts.len()) {
                let start = found.len();
                each_feature(&texts[at], has_threes, &mut letters, &mut |feature| found.push(vocabulary.number(feature)));
                found[start..].sort_unstable();
                dedup_from(&mut found, start);
                ends.push(found.len());
            }
            (ends, found)
        };
        let parts: Vec<(Vec<usize>, Vec<u32>)> = (0..texts.len()).into_par_iter().step_by(TEXTS_AT_ONCE).map(of_part).collect();
        let (mut starts, mut all) = (vec![0], Vec::with_capacity(parts.iter().map(|(_, found)| found.len()).sum()));
        for (ends, found) in parts {
            let before = all.len();
            starts.extend(ends.into_iter().map(|end| before + end));
            all.extend(found);
        }
        let mut records_with = vec![0_u32; vocabulary.len()];
        for (text, &count) in column.counts.iter().enumerate() {
            for &feature in &all[starts[text]..starts[text + 1]] {
                records_with[feature as usize] += count;
            }
        }
        let n = column.n_present() as f64;
        let weight = |(feature, &with): (usize, &u32)| {
            let share = if vocabulary.is_three(feature as u32) { OF_THREE } else { 1.0 };
            if with == 0 { 0.0 } else { (share * libm::log(1.0 + n / f64::from(with))).powi(2) }
        };
        let weights: Vec<f64> = records_with.iter().enumerate().map(weight).collect();
        let norm = |text: usize| all[starts[text]..starts[text + 1]].iter().map(|&feature| weights[feature as usize]).sum::<f64>().sqrt();
        let mut bags: Vec<Bag> = (0..texts.len()).into_par_iter().map(|text| Bag { start: starts[text], norm: norm(text) }).collect();
        bags.push(Bag { start: all.len(), norm: 0.0 });
        Self { bags, features: all, weights }
    }

    fn features(&self, text: u32) -> &[u32] {
        &self.features[self.bags[text as usize].start..self.bags[text as usize + 1].start]
    }

    /// Returns the `k` nearest records of every record by the features that few share: pairs (a, b), a < b, some twice.
    pub(super) fn nearest(&self, codes: &[u32], k: usize, is_pair: &(dyn Fn(u32, u32) -> bool + Sync)) -> Vec<(u32, u32)> {
        let n = codes.len();
        let of_row = |row: usize| if codes[row] == MISSING { &[][..] } else { self.features(codes[row]) };
        let mut sizes = vec![0_u32; self.weights.len()];
        (0..n).for_each(|row| of_row(row).iter().for_each(|feature| sizes[*feature as usize] += 1));
        let most = most_common(&sizes, n);
        // Records of every feature that is rare enough, one feature after another.
        let mut starts = vec![0; sizes.len() + 1];
        for (feature, size) in sizes.iter().enumerate() {
            starts[feature + 1] = starts[feature] + if *size <= most { *size as usize } else { 0 };
        }
        let (mut next, mut rows) = (starts.clone(), vec![0; starts[sizes.len()]]);
        for row in 0..n {
            for &feature in of_row(row).iter().filter(|feature| sizes[**feature as usize] <= most) {
                rows[next[feature as usize]] = row as u32;
                next[feature as usize] += 1;
            }
        }
        drop(next);
        let near = |sums: &mut Vec<f64>, row: u32| {
            let mut touched = Vec::new();
            for &feature in of_row(row as usize) {
                let with = &rows[starts[feature as usize]..starts[feature as usize + 1]];
                for &other in with.iter().filter(|other| **other != row && is_pair(row, **other)) {
                    if sums[other as usize] <= 0.0 {
                        touched.push(other);
                    }
                    sums[other as usize] += self.weights[feature as usize];
                }
            }
            // The row's own length is the same for all of them.
            let share = |other: u32| (std::mem::take(&mut sums[other as usize]) / self.bags[codes[other as usize] as usize].norm, other);
            let mut found: Vec<(f64, u32)> = touched.into_iter().map(share).collect();
            if found.len() > k {
                found.select_nth_unstable_by(k - 1, |one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
                found.truncate(k);
            }
            found.into_iter().map(move |(_, other)| (row.min(other), row.max(other)))
        };
        (0..n as u32).into_par_iter().map_init(|| vec![0.0; n], near).flatten_iter().collect()
    }

    /// Returns the cosine of two texts.
    pub(super) fn cosine(&self, a: u32, b: u32) -> f64 {
        self.cosine_of(a, (self.features(b), self.bags[b as usize].norm))
    }

    /// Returns the cosine of a text and the features and length of another.
    pub(super) fn cosine_of(&self, a: u32, (right, norm): (&[u32], f64)) -> f64 {
        let norms = self.bags[a as usize].norm * norm;
        if norms <= 0.0 {
            return 0.0;
        }
        let left = self.features(a);
        let (mut at, mut other, mut sum) = (0, 0, 0.0);
        // Which side goes on hangs on the texts, and cannot be foreseen: it is counted, not branched on.
        while at < left.len() && other < right.len() {
            let (one, beside) = (left[at], right[other]);
            if one == beside {
                sum += self.weights[one as usize];
            }
            at += usize::from(one <= beside);
            other += usize::from(beside <= one);
        }
        (sum / norms).min(1.0)
    }

    /// Returns copies of the features of some texts and the length of each, side by side; nothing of missing ones.
    pub(super) fn gathered(&self, texts: impl Iterator<Item = u32>) -> Gathered {
        let bag = |text: u32| {
            if text == MISSING {
                (0..0, 0.0)
            } else {
                (self.bags[text as usize].start..self.bags[text as usize + 1].start, self.bags[text as usize].norm)
            }
        };
        let spans: Vec<(std::ops::Range<usize>, f64)> = texts.map(bag).collect();
        let mut features = Vec::with_capacity(spans.iter().map(|(span, _)| span.len()).sum());
        for (span, _) in &spans {
            features.extend_from_slice(&self.features[span.clone()]);
        }
        Gathered { features, bags: spans.into_iter().map(|(span, norm)| (span.len(), norm)).collect() }
    }
}

/// Features of some texts, one after another.
pub(super) struct Gathered {
    features: Vec<u32>,
    /// How many each has, and its length.
    bags: Vec<(usize, f64)>,
}

impl Gathered {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u32], f64)> {
        let mut from = 0;
        self.bags.iter().map(move |(n, norm)| {
            from += n;
            (&self.features[from - n..from], *norm)
        })
    }
}

/// Takes repeated neighbours out of what stands from a place on.
fn dedup_from(found: &mut Vec<u32>, from: usize) {
    let mut kept = from;
    for at in from..found.len() {
        if at == from || found[at] != found[at - 1] {
            found[kept] = found[at];
            kept += 1;
        }
    }
    found.truncate(kept);
}

/// Returns how many records a feature may have for a search of the nearest to end in due time.
fn most_common(sizes: &[u32], n: usize) -> u32 {
    const MOST_STEPS: usize = 300_000_000;
    const STEPS_A_RECORD: usize = 500;
    let mut sizes = sizes.to_vec();
    sizes.par_sort_unstable();
    let most = MOST_STEPS.max(STEPS_A_RECORD.saturating_mul(n));
    let mut steps = 0_usize;
    let within = |size: &u32| {
        steps = steps.saturating_add((*size as usize).saturating_mul(*size as usize));
        steps <= most
    };
    sizes.into_iter().take_while(within).last().unwrap_or(0)
}
