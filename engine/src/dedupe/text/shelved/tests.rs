use std::collections::BTreeSet;
use std::sync::Mutex;

use super::super::tests::{WORDS, by_text, pushed, sets, texts};
use super::super::{NearPair, near_texts};
use super::*;
use crate::backend::{Place, PlaceChoice};

/// A shelf in memory.
#[derive(Default)]
struct Memory {
    stacks: Mutex<Vec<Vec<u8>>>,
    /// What is full or torn.
    fails: bool,
}

impl Shelf for Memory {
    fn append(&self, stack: usize, bytes: &[u8]) -> io::Result<()> {
        let mut stacks = self.stacks.lock().expect("no panic before");
        if stacks.len() <= stack {
            stacks.resize(stack + 1, Vec::new());
        }
        stacks[stack].extend_from_slice(bytes);
        Ok(())
    }

    fn read(&self, stack: usize, at: u64, into: &mut [u8]) -> io::Result<()> {
        if self.fails {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stacks = self.stacks.lock().expect("no panic before");
        into.copy_from_slice(&stacks[stack][at as usize..at as usize + into.len()]);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Asked<'a> {
    recall: f64,
    threshold: f64,
    seed: u64,
    room: u64,
    source: Option<&'a [u16]>,
    most_pairs: u64,
}

const ASKED: Asked<'static> = Asked { recall: 0.99999, threshold: 0.8, seed: 1, room: 1 << 20, source: None, most_pairs: 1_000_000 };

fn shelved(texts: &[Option<String>], asked: Asked<'_>, on: &Backend) -> Result<NearTexts, NoTexts> {
    let shelf = Memory::default();
    let bands = Bands::reaching(asked.recall, asked.threshold).expect("few slots are enough");
    let mut shelved = ShelvedTexts::new(WORDS, bands, asked.seed, &shelf, on);
    // Some of them were in memory at first.
    let n_held = texts.len() / 3;
    shelved.push_held(sets(&texts[..n_held], WORDS)).expect("memory is writable");
    pushed(&texts[n_held..], |n, parts| shelved.push(n, parts).expect("memory is writable"));
    assert_eq!((shelved.len(), shelved.n_shingles()), (texts.len(), sets(texts, WORDS).n_shingles()));
    let options = TextOptions { threshold: asked.threshold, most_pairs: asked.most_pairs };
    shelved.near(asked.source, &options, asked.room, &|| false)
}

fn found(texts: &[Option<String>], asked: Asked<'_>) -> NearTexts {
    shelved(texts, asked, &Backend::cpu()).expect("few pairs, and nobody stops it")
}

fn exact(texts: &[Option<String>], asked: Asked<'_>) -> NearTexts {
    let options = TextOptions { threshold: asked.threshold, most_pairs: asked.most_pairs };
    near_texts(&sets(texts, WORDS), asked.source, &options, &|| false).expect("few pairs, and nobody stops it")
}

#[test]
fn where_nothing_is_left_to_luck_all_is_as_in_memory() {
    let texts = texts(3_000, 9);
    for threshold in [0.3, 0.6, 0.8, 1.0] {
        let asked = Asked { threshold, ..ASKED };
        let (shelved, exact) = (found(&texts, asked), exact(&texts, asked));
        assert!(exact.pairs.len() > 200, "{} pairs", exact.pairs.len());
        assert!(shelved.n_missed < 0.01, "{} missed", shelved.n_missed);
        assert_eq!(shelved.pairs, exact.pairs);
        assert_eq!((shelved.n_groups, shelved.n_empty), (exact.n_groups, exact.n_empty));
        let same = |found: &NearTexts| -> BTreeSet<Vec<u32>> { members(&found.set).into_iter().collect() };
        assert_eq!(same(&shelved), same(&exact));
    }
}

/// The texts of every set.
fn members(set: &[u32]) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); set.len()];
    for (text, set) in set.iter().enumerate() {
        members[*set as usize].push(text as u32);
    }
    members.retain(|members| !members.is_empty());
    members
}

#[test]
fn what_is_found_is_right_and_what_is_missed_is_as_much_as_is_said() {
    let texts = texts(3_000, 4);
    let asked = Asked { recall: 0.5, threshold: 0.6, ..ASKED };
    let truth: BTreeSet<(u32, u32)> = exact(&texts, asked).pairs.iter().map(|pair| (pair.a, pair.b)).collect();
    let (mut n_found, mut n_expected) = (0.0, 0.0);
    const TURNS: u64 = 20;
    for seed in 0..TURNS {
        let found = found(&texts, Asked { seed, ..asked });
        assert!(found.pairs.iter().all(|pair| truth.contains(&(pair.a, pair.b))), "a pair that is none");
        n_found += found.pairs.len() as f64 / TURNS as f64;
        n_expected += (found.pairs.len() as f64 + found.n_missed) / TURNS as f64;
    }
    let n = truth.len() as f64;
    assert!(n_found < 0.95 * n && n_found > 0.5 * n, "{n_found} of {n} were found");
    assert!((n_expected / n - 1.0).abs() < 0.03, "{n_expected} of {n} were expected");
}

#[test]
fn room_threads_and_order_change_nothing() {
    let texts = texts(6_000, 9);
    let asked = Asked { recall: 0.6, threshold: 0.5, ..ASKED };
    let one = found(&texts, asked);
    assert!(one.n_missed > 10.0, "{} missed: nothing is left to luck", one.n_missed);
    let narrow = found(&texts, Asked { room: 0, ..asked });
    // Candidates that are no pair may be looked at twice where there is no room to remember them.
    assert_eq!(NearTexts { n_verified: one.n_verified, ..narrow }, one);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads can be had");
    assert_eq!(pool.install(|| found(&texts, asked)), one);
    let turned: Vec<Option<String>> = texts.iter().rev().cloned().collect();
    let last = texts.len() as u32 - 1;
    let again = |pair: &NearPair| NearPair { a: last - pair.b, b: last - pair.a, jaccard: pair.jaccard };
    assert_eq!(by_text(found(&turned, asked).pairs.iter().map(again).collect()), by_text(one.pairs));
}

#[test]
fn only_pairs_of_two_sources_count() {
    let texts = texts(1_000, 2);
    let source: Vec<u16> = (0..1_000).map(|text| text % 3).collect();
    let asked = Asked { source: Some(&source), ..ASKED };
    let (shelved, exact) = (found(&texts, asked), exact(&texts, asked));
    assert!(exact.pairs.len() > 50 && exact.pairs.iter().all(|pair| source[pair.a as usize] != source[pair.b as usize]));
    assert_eq!(shelved.pairs, exact.pairs);
}

#[test]
fn a_device_finds_the_same() {
    let Ok(backend) = Backend::open(PlaceChoice::of_tests()) else {
        #[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
        {
            eprintln!("no adapter");
        }
        return;
    };
    let backend = backend.pinned(Place::of_tests());
    let texts = texts(3_000, 9);
    let asked = Asked { recall: 0.6, threshold: 0.5, ..ASKED };
    assert_eq!(shelved(&texts, asked, &backend).expect("few pairs"), found(&texts, asked));
    assert_eq!(backend.place(), Place::of_tests(), "the device did no work");
}

#[test]
fn too_many_pairs_a_stop_and_a_torn_shelf_are_told() {
    let same: Vec<Option<String>> = (0..200).map(|_| Some("all of us say the same".to_owned())).collect();
    assert!(matches!(shelved(&same, Asked { most_pairs: 1_000, ..ASKED }, &Backend::cpu()), Err(NoTexts::TooManyPairs)));
    assert_eq!(found(&same, ASKED).pairs.len(), 199 * 100);
    let near = texts(2_000, 3);
    assert!(matches!(shelved(&near, Asked { most_pairs: 100, ..ASKED }, &Backend::cpu()), Err(NoTexts::TooManyPairs)));
    let on = Backend::cpu();
    let bands = Bands::reaching(0.9, 0.8).expect("few slots are enough");
    let options = TextOptions { threshold: 0.8, most_pairs: 1_000_000 };
    let told = |shelf: &Memory, stops: bool| {
        let mut shelved = ShelvedTexts::new(WORDS, bands, 1, shelf, &on);
        shelved.push_held(sets(&near, WORDS)).expect("memory is writable");
        shelved.near(None, &options, 0, &|| stops).expect_err("there is no result")
    };
    assert!(matches!(told(&Memory::default(), true), NoTexts::Stopped));
    assert!(matches!(told(&Memory { fails: true, ..Memory::default() }, false), NoTexts::Shelf(_)));
}
