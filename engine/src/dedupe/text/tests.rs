use proptest::prelude::*;

use super::*;
use crate::stats::{Purpose, Stream};

pub(super) const WORDS: Shingles = Shingles { unit: Unit::Word, k: 3 };

/// Hands texts over in pieces of odd sizes, as files give them.
pub(super) fn pushed(texts: &[Option<String>], mut push: impl FnMut(usize, &Parts<'_>)) {
    let mut at = 0;
    for piece in [1, 700, 3, 2_048, 5_000].into_iter().cycle() {
        let n = piece.min(texts.len() - at);
        push(n, &|text, put| {
            if let Some(text) = &texts[at + text] {
                put(text);
            }
        });
        at += n;
        if at == texts.len() {
            return;
        }
    }
}

pub(super) fn sets(texts: &[Option<String>], how: Shingles) -> TextSets {
    let mut sets = TextSets::new(how);
    pushed(texts, |n, parts| sets.push(n, parts));
    sets
}

fn found(texts: &[Option<String>], how: Shingles, threshold: f64) -> NearTexts {
    let options = TextOptions { threshold, most_pairs: 1_000_000 };
    near_texts(&sets(texts, how), None, &options, &|| false).expect("few pairs, and nobody stops it")
}

pub(super) fn by_text(mut pairs: Vec<NearPair>) -> Vec<NearPair> {
    pairs.sort_by_key(|pair| (pair.a, pair.b));
    pairs
}

/// Texts of a few hundred words' vocabulary, some of them copies with words changed, left out or added.
pub(super) fn texts(n: usize, seed: u64) -> Vec<Option<String>> {
    let mut stream = Stream::new(seed, Purpose::Pairs, 2, 0);
    let mut below = |n: usize| ((u64::from(stream.word()) * n as u64) >> 32) as usize;
    let mut texts: Vec<Vec<usize>> = Vec::new();
    for at in 0..n {
        let mut words: Vec<usize> = if at > 0 && below(3) == 0 {
            texts[below(at)].clone()
        } else {
            // Common words and rare ones.
            (0..5 + below(60)).map(|_| if below(2) == 0 { below(12) } else { below(900) }).collect()
        };
        for _ in 0..below(4) {
            let place = below(words.len());
            match below(3) {
                0 => words[place] = below(900),
                1 if words.len() > 1 => drop(words.remove(place)),
                _ => words.insert(place, below(900)),
            }
        }
        texts.push(words);
    }
    let written = |words: Vec<usize>| words.iter().map(|word| format!("W{word}")).collect::<Vec<_>>().join(", ");
    texts.into_iter().enumerate().map(|(at, words)| (at % 41 != 7).then(|| written(words))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_pair_is_found_and_no_other(seed in 0_u64..1_000, percent in 5_usize..=100, k in 1_usize..6, bytes in any::<bool>()) {
        let how = Shingles { unit: if bytes { Unit::Byte } else { Unit::Word }, k };
        let threshold = percent as f64 / 100.0;
        let texts = texts(150, seed);
        prop_assert_eq!(by_text(found(&texts, how, threshold).pairs), definition::near(&texts, how, threshold));
    }
}

#[test]
fn agreement_catches_a_wrong_twin() {
    let texts = texts(300, 5);
    let truth = definition::near(&texts, WORDS, 0.8);
    assert!(truth.len() > 20, "{} pairs", truth.len());
    assert_ne!(by_text(found(&texts, WORDS, 0.82).pairs), truth);
    assert_ne!(by_text(found(&texts, Shingles { k: 4, ..WORDS }, 0.8).pairs), truth);
}

#[test]
fn letters_count_and_marks_do_not() {
    let text = |text: &str| Some(text.to_owned());
    let texts = [
        text("Die Stra\u{df}e, nach K\u{d6}LN!"),
        text("die stra\u{df}e nach k\u{f6}ln"),
        text("die strasse nach koeln"),
        None,
        text("?!"),
    ];
    let found = found(&texts, WORDS, 0.5);
    assert_eq!(found.pairs, [NearPair { a: 0, b: 1, jaccard: 1.0 }]);
    assert_eq!(found.group[0], found.group[1]);
    assert_eq!(found.n_groups, 4);
    assert_eq!(found.n_empty, 2);
}

#[test]
fn a_text_of_fewer_words_than_a_shingle_is_one() {
    let text = |text: &str| Some(text.to_owned());
    let found = found(&[text("good morning"), text("Good morning"), text("good evening"), text("good")], WORDS, 0.1);
    assert_eq!(found.pairs, [NearPair { a: 0, b: 1, jaccard: 1.0 }]);
}

#[test]
fn no_two_kept_are_a_pair_and_each_other_is_one_with_the_one_kept() {
    // A chain: each text shares 9 of 11 shingles with the next (0.818) and fewer with those after it.
    let words: Vec<String> = (0..42).map(|word| format!("w{word}")).collect();
    let chain: Vec<Option<String>> = (0..30).map(|start| Some(words[start..start + 12].join(" "))).collect();
    for texts in [chain, texts(1_500, 3)] {
        let found = found(&texts, WORDS, 0.8);
        let is_pair = |a: u32, b: u32| found.pairs.iter().any(|pair| (pair.a, pair.b) == (a.min(b), a.max(b)));
        assert!(found.n_groups < texts.len() - 15 && found.n_groups >= 10, "{} groups", found.n_groups);
        for pair in &found.pairs {
            let kept = |text: u32| found.kept[found.group[text as usize] as usize] == text;
            assert!(!(kept(pair.a) && kept(pair.b)), "{pair:?}");
        }
        for (text, group) in found.group.iter().enumerate() {
            let kept = found.kept[*group as usize];
            assert!(kept == text as u32 || is_pair(kept, text as u32), "{text} and {kept}");
        }
    }
}

#[test]
fn only_pairs_of_two_sources_count() {
    let text = |text: &str| Some(text.to_owned());
    let texts = [text("one two three four"), text("one two three four"), text("one two three four"), text("five six seven")];
    let options = TextOptions { threshold: 0.8, most_pairs: 10 };
    let found = near_texts(&sets(&texts, WORDS), Some(&[0, 0, 1, 1]), &options, &|| false).expect("few pairs, and nobody stops it");
    assert_eq!(found.pairs, [NearPair { a: 0, b: 2, jaccard: 1.0 }, NearPair { a: 1, b: 2, jaccard: 1.0 }]);
}

#[test]
fn too_many_pairs_and_a_stop_are_told() {
    let texts: Vec<Option<String>> = (0..200).map(|_| Some("all of us say the same".to_owned())).collect();
    let options = TextOptions { threshold: 0.8, most_pairs: 1_000 };
    assert!(matches!(near_texts(&sets(&texts, WORDS), None, &options, &|| false), Err(NoTexts::TooManyPairs)));
    let room = TextOptions { most_pairs: 100_000, ..options };
    assert!(matches!(near_texts(&sets(&texts, WORDS), None, &room, &|| true), Err(NoTexts::Stopped)));
}

#[test]
fn threads_and_order_change_nothing() {
    let texts = texts(3_000, 9);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be had");
    let one = pool(1).install(|| found(&texts, WORDS, 0.7));
    assert_eq!(pool(3).install(|| found(&texts, WORDS, 0.7)), one);
    let turned: Vec<Option<String>> = texts.iter().rev().cloned().collect();
    let back = found(&turned, WORDS, 0.7);
    let last = texts.len() as u32 - 1;
    let again = |pair: &NearPair| NearPair { a: last - pair.b, b: last - pair.a, jaccard: pair.jaccard };
    assert_eq!(by_text(back.pairs.iter().map(again).collect()), by_text(one.pairs.clone()));
    let same = |a: usize, b: usize| (one.group[a] == one.group[b], back.group[last as usize - a] == back.group[last as usize - b]);
    for pair in &one.pairs {
        let (forth, back) = same(pair.a as usize, pair.b as usize);
        assert_eq!(forth, back, "{pair:?}");
    }
    assert!(one.n_groups < texts.len() - 300, "{} groups", one.n_groups);
}
