use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::compare::Comparison;
use super::definition::fellegi_sunter;
use super::records::{day, normal};
use super::strings::{is_one_edit, jaro_winkler_at_most, prefix};
use super::weigh::{Chance, Pattern, Weights, fit};
use super::*;
use crate::stats::{Purpose, Stream};

pub(super) const GIVEN: &[&str] =
    &["anna", "bruno", "carla", "dario", "elena", "fabio", "giulia", "hugo", "irene", "luca", "marta", "nino", "olga", "paolo"];
pub(super) const FAMILY: &[&str] = &[
    "rossi", "bianchi", "ferrari", "russo", "colombo", "ricci", "marino", "greco", "bruno", "gallo", "conti", "costa", "giordano", "rizzo",
];

pub(super) fn column(name: &str, cells: &[Option<String>]) -> RecordColumn {
    let mut builder = ColumnBuilder::default();
    for cell in cells {
        builder.push(cell.as_deref()).expect("few texts");
    }
    builder.finish(name)
}

/// People, some of whom are there again with errors; the truth is the last column, which nobody is shown.
fn people(n: usize, seed: u64) -> (Vec<Vec<Option<String>>>, Vec<usize>) {
    let mut stream = Stream::new(seed, Purpose::Pairs, 1, 0);
    let mut below = |n: usize| ((u64::from(stream.word()) * n as u64) >> 32) as usize;
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    let mut truth = Vec::new();
    for person in 0..n {
        let cells = vec![
            Some(GIVEN[below(GIVEN.len())].to_owned()),
            Some(format!("{}{}", FAMILY[below(FAMILY.len())], ["", "ni", "tti", "lli"][below(4)])),
            Some(format!("{}-{:02}-{:02}", 1940 + below(60), 1 + below(12), 1 + below(28))),
            Some(format!("{:05}", below(900) * 100)),
        ];
        rows.push(cells.clone());
        truth.push(person);
        for _ in 0..below(3) {
            let mut copy = cells.clone();
            let wrong = below(4);
            copy[wrong] = match below(3) {
                0 => None,
                _ => copy[wrong].as_ref().map(|text| format!("{}{}", &text[..text.len() - 1], below(10))),
            };
            rows.push(copy);
            truth.push(person);
        }
    }
    (rows, truth)
}

fn records(rows: &[Vec<Option<String>>]) -> Records {
    let of = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>();
    let columns = ["given", "family", "born", "postcode"].iter().enumerate().map(|(at, name)| column(name, &of(at))).collect();
    let id = column("id", &(0..rows.len()).map(|row| Some(format!("{row:06}"))).collect::<Vec<_>>());
    Records { columns, source: vec![0; rows.len()], n_sources: 1, id: Some(id), identifiers: Vec::new() }
}

pub(super) const OPTIONS: DedupeOptions = DedupeOptions {
    crosses: false,
    is_clean: None,
    threshold: 0.5,
    grouping: Grouping::AverageLink,
    most_pairs: 8_000_000,
    room_pairs: u64::MAX,
    n_review: 200,
    answers: Vec::new(),
    explain: Vec::new(),
    seed: 1,
};

fn resolved(records: &Records) -> Resolution {
    dedupe(records, &OPTIONS, &|| false).expect("not stopped, and there are columns")
}

/// Pairs of rows of one entity.
fn pairs_of<T: Ord>(entities: impl Iterator<Item = T>) -> BTreeSet<(usize, usize)> {
    let mut members: BTreeMap<T, Vec<usize>> = BTreeMap::new();
    for (row, entity) in entities.enumerate() {
        members.entry(entity).or_default().push(row);
    }
    let of =
        |rows: &Vec<usize>| rows.iter().enumerate().flat_map(|(at, a)| rows[at + 1..].iter().map(move |b| (*a, *b))).collect::<Vec<_>>();
    members.values().flat_map(of).collect()
}

proptest! {
    #[test]
    fn edits_and_jaro_winkler_are_what_another_library_says(a in "[abc ]{0,12}", b in "[abc ]{0,12}") {
        prop_assert_eq!(osa(a.as_bytes(), b.as_bytes()) as usize, strsim::osa_distance(&a, &b));
        let ours = jaro_winkler(a.as_bytes(), b.as_bytes());
        prop_assert!((ours - strsim::jaro_winkler(&a, &b)).abs() < 1e-12, "{ours}");
    }

    #[test]
    fn a_word_of_bits_is_enough_for_64_letters(a in "[a-f\0]{1,64}", b in "[a-f\0]{1,40}|[a-f]{50,64}") {
        prop_assert_eq!(osa(a.as_bytes(), b.as_bytes()) as usize, strsim::osa_distance(&a, &b));
        prop_assert!((jaro_winkler(a.as_bytes(), b.as_bytes()) - strsim::jaro_winkler(&a, &b)).abs() < 1e-12);
    }
}

#[test]
fn what_is_settled_before_a_text_is_read_is_no_other() {
    // All texts of up to four of three letters: random ones are seldom an edit apart.
    let longer = |texts: &Vec<String>| texts.iter().flat_map(|text| ["a", "b", "c"].map(|letter| format!("{text}{letter}"))).collect();
    let mut of_length: Vec<Vec<String>> = vec![vec![String::new()]];
    (0..4).for_each(|n| of_length.push(longer(&of_length[n])));
    let texts = of_length.concat();
    let n_missing = |of: &[u8], from: &[u8]| of.iter().filter(|letter| !from.contains(letter)).collect::<BTreeSet<_>>().len() as u32;
    for (a, b) in texts.iter().flat_map(|a| texts.iter().map(move |b| (a.as_bytes(), b.as_bytes()))) {
        assert_eq!(is_one_edit(a, b), osa(a, b) <= 1, "{a:?} and {b:?}");
        let most = jaro_winkler_at_most([a.len(), b.len()], [n_missing(a, b), n_missing(b, a)], prefix(a, b));
        assert!(jaro_winkler(a, b) <= most || a.is_empty() && b.is_empty(), "{a:?} and {b:?}: {most}");
    }
}

/// Level of two different short texts, as the table in `compare.rs` has it.
fn level_of_short(a: &str, b: &str) -> u8 {
    let (one, other): (BTreeSet<&str>, BTreeSet<&str>) = (a.split(' ').collect(), b.split(' ').collect());
    let (held, holding) = if one.len() <= other.len() { (&one, &other) } else { (&other, &one) };
    match () {
        () if osa(a.as_bytes(), b.as_bytes()) <= 1 && a.len().min(b.len()) >= 3 => 1,
        () if one == other => 1,
        () if held.is_subset(holding) || jaro_winkler(a.as_bytes(), b.as_bytes()) >= 0.88 => 2,
        () => 3,
    }
}

#[test]
fn levels_of_many_pairs_are_those_of_each() {
    let short: Vec<Option<String>> = GIVEN
        .iter()
        .chain(FAMILY)
        .flat_map(|name| [(*name).to_owned(), format!("{name}a"), name[1..].to_owned(), format!("{name} gelso"), format!("de {name}")])
        .map(Some)
        .chain([None])
        .collect();
    let words = short.iter().enumerate().map(|(at, name)| name.as_ref().map(|name| format!("{name} lives in street {}", at % 7)));
    let born = (0..short.len()).map(|at| (at % 9 > 0).then(|| format!("19{:02}-{:02}-{:02}", at % 11, 1 + at % 5, 1 + at % 13)));
    let columns = vec![column("short", &short), column("words", &words.collect::<Vec<_>>()), column("born", &born.collect::<Vec<_>>())];
    let n = short.len() as u32;
    let records = Records { columns, source: vec![0; short.len()], n_sources: 1, id: None, identifiers: Vec::new() };
    let pairs: Vec<(u32, u32)> = (0..n).flat_map(|a| (a..n).map(move |b| (a, b))).collect();
    let mut seen = BTreeSet::new();
    for (at, column) in records.columns.iter().enumerate() {
        let comparison = Comparison::of(&records, at);
        let mut levels = Vec::new();
        comparison.levels(column, &pairs, &mut levels);
        for ((a, b), level) in pairs.iter().zip(&levels) {
            let (a, b) = (column.codes[*a as usize], column.codes[*b as usize]);
            assert_eq!(*level, comparison.level(column, a, b), "`{}`, {a} and {b}", column.name);
            if at == 0 && a != b && a != MISSING && b != MISSING {
                let (a, b) = (&column.texts[a as usize], &column.texts[b as usize]);
                assert_eq!(*level, level_of_short(a, b), "{a} and {b}");
            }
        }
        seen.extend(levels.iter().map(|level| (column.content, *level)));
    }
    let n_levels = |content: Content| seen.iter().filter(|(of, _)| *of == content).count();
    assert_eq!([Content::Short, Content::Date].map(n_levels), [5, 6], "every level is seen, and what is absent");
    assert!(n_levels(Content::Words) >= 6, "{seen:?}");
}

#[test]
fn published_values_of_jaro_winkler() {
    // Winkler 1990, as Christen prints them in "Data Matching" (2012).
    for (a, b, expected) in [("MARTHA", "MARHTA", 0.961), ("DWAYNE", "DUANE", 0.840), ("DIXON", "DICKSONX", 0.813)] {
        let found = jaro_winkler(a.as_bytes(), b.as_bytes());
        assert!((found - expected).abs() < 5e-4, "{a} {b}: {found}");
    }
}

#[test]
fn texts_have_one_normal_form() {
    let of = |text: &str, content: Content| {
        let mut out = String::from("before");
        normal(text, content, &mut out);
        out["before".len()..].to_owned()
    };
    assert_eq!(of("  Müller-Lüdenscheidt,  JOSÉ ", Content::Short), "muller ludenscheidt jose");
    assert_eq!(of("  St. John's,  12-A ", Content::Short), "st john s 12 a");
    assert_eq!(of(" -- ", Content::Words), "");
    assert_eq!(of("03/04/1985", Content::Date), "1985-04-03");
    assert_eq!(of("2.50", Content::Number), "2.5");
    assert_eq!(day("19850403"), Some((1985, 4, 3)));
    assert_eq!(day("04/13/1985"), Some((1985, 4, 13)));
    assert_eq!(day("1985"), None);
}

#[test]
fn content_is_found_from_the_cells() {
    let of = |cells: &[&str]| column("", &cells.iter().map(|cell| Some((*cell).to_owned())).collect::<Vec<_>>()).content;
    assert_eq!(of(&["1985-04-03", "1991-12-30"]), Content::Date);
    assert_eq!(of(&["1.5", "20.25", "7"]), Content::Number);
    assert_eq!(of(&["0153", "7760", "12"]), Content::Short);
    assert_eq!(of(&["the quick brown fox", "a lazy dog sleeps"]), Content::Words);
}

/// Every pair of some people: patterns with counts, and the levels one by one.
fn all_pairs(records: &Records, comparisons: &[Comparison]) -> (Vec<(Pattern, u64)>, Vec<Vec<usize>>) {
    let mut counts = BTreeMap::new();
    let mut each = Vec::new();
    for a in 0..records.len() {
        for b in a + 1..records.len() {
            let levels: Vec<u8> = comparisons
                .iter()
                .map(|comparison| {
                    let column = &records.columns[comparison.column];
                    comparison.level(column, column.codes[a], column.codes[b])
                })
                .collect();
            *counts.entry(Pattern::of(levels.iter().copied())).or_insert(0) += 1;
            each.push(levels.into_iter().map(usize::from).collect());
        }
    }
    (counts.into_iter().collect(), each)
}

/// Largest difference of the shares of matching pairs; half a pair is added at each level.
fn apart(weights: &Weights, m: &[Vec<f64>]) -> f64 {
    let columns = weights.m.iter().zip(m).flat_map(|(ours, theirs)| ours.iter().zip(theirs));
    columns.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f64::max)
}

#[test]
fn the_fit_is_the_textbook_s_and_a_wrong_twin_is_caught() {
    let (rows, _) = people(250, 3);
    let whole: Vec<Vec<Option<String>>> = rows.into_iter().filter(|row| row.iter().all(Option::is_some)).collect();
    let records = records(&whole);
    let comparisons: Vec<Comparison> = (0..4).map(|at| Comparison::of(&records, at)).collect();
    let (patterns, each) = all_pairs(&records, &comparisons);
    let ours = fit(&comparisons, &Chance::counted(&patterns, &comparisons), &patterns, None, 100.0);
    let n_levels: Vec<usize> = comparisons.iter().map(Comparison::n_levels).collect();
    let book = fellegi_sunter(&each, &n_levels);
    let n_matches = book.lambda * each.len() as f64;
    assert!(n_matches > 50.0, "{n_matches}");
    // Half a pair at each of at most five levels moves a share by 2.5 / n, and what follows from it about as much again.
    let bound = 5.0 / n_matches;
    assert!(apart(&ours, &book.m) < bound, "{} against {bound}", apart(&ours, &book.m));
    assert!((ours.n_matches / n_matches - 1.0).abs() < bound, "{} against {n_matches}", ours.n_matches);
    assert!(apart(&ours, &book.u) > 10.0 * bound, "other pairs are not matching ones");
}

#[test]
fn planted_people_are_found_and_the_expected_quality_says_so() {
    let (rows, truth) = people(800, 5);
    let found = resolved(&records(&rows));
    let (said, meant) = (pairs_of(found.entity.iter()), pairs_of(truth.iter()));
    let both = said.intersection(&meant).count() as f64;
    let f1 = 2.0 * both / (said.len() + meant.len()) as f64;
    assert!(f1 > 0.97, "{f1}");
    let expected = found.expected.f1.expect("there are duplicates");
    assert!((expected.value - f1).abs() < 0.03, "expected {expected:?}, got {f1}");
    assert!((expected.lo..=expected.hi).contains(&f1), "{f1} is not within {expected:?}");
    assert_eq!(found.n_entities, found.entity.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn answers_narrow_the_interval_and_wrong_ones_move_it() {
    // Postcodes that hardly tell people apart, and given names alone: much is uncertain.
    let (mut rows, truth) = people(600, 23);
    for row in &mut rows {
        row[2] = None;
    }
    let records = records(&rows);
    let found = resolved(&records);
    let (said, meant) = (pairs_of(found.entity.iter()), pairs_of(truth.iter()));
    let f1 = 2.0 * said.intersection(&meant).count() as f64 / (said.len() + meant.len()) as f64;
    assert!(found.drawn.len() >= 100, "{}", found.drawn.len());
    let asked = |is_match: &dyn Fn(usize, usize) -> bool| {
        let answer = |pair: &Drawn| Answer { a: pair.a, b: pair.b, is_match: is_match(pair.a as usize, pair.b as usize) };
        let options = DedupeOptions { answers: found.drawn.iter().map(answer).collect(), ..OPTIONS };
        dedupe(&records, &options, &|| false).expect("not stopped")
    };
    let right = asked(&|a, b| truth[a] == truth[b]);
    assert_eq!(right.entity, found.entity, "answers measure, and change nothing");
    assert_eq!(right.drawn, found.drawn);
    assert_eq!(right.expected.n_checked, found.drawn.len() as u64);
    assert_eq!(right.strata.iter().map(|stratum| stratum.n_checked).sum::<u64>(), found.drawn.len() as u64);
    let (before, after) = (found.expected.f1.expect("pairs"), right.expected.f1.expect("pairs"));
    assert!(after.hi - after.lo < before.hi - before.lo, "{after:?} is no narrower than {before:?}");
    assert!((after.lo..=after.hi).contains(&f1), "{f1} is not within {after:?}");
    let wrong = asked(&|a, b| truth[a] != truth[b]).expected.f1.expect("pairs");
    assert!(wrong.hi < after.lo, "{wrong:?} of answers turned round, {after:?} of right ones");
}

#[test]
fn pairs_are_explained_whether_they_match_or_not() {
    let (rows, truth) = people(300, 29);
    let records = records(&rows);
    let found = resolved(&records);
    let likely = found.pairs.iter().find(|pair| truth[pair.a as usize] == truth[pair.b as usize]).expect("some are there twice");
    let apart = (1..rows.len()).find(|row| truth[*row] != truth[0] && rows[*row][1] != rows[0][1]).expect("people differ") as u32;
    let explain = vec![(likely.b, likely.a), (apart, 0)];
    let options = DedupeOptions { explain, ..OPTIONS };
    let asked = dedupe(&records, &options, &|| false).expect("not stopped");
    let [one, other] = &asked.explained[..] else { panic!("{:?}", asked.explained) };
    assert_eq!((one.a, one.b), (likely.b, likely.a), "as it was asked");
    assert_eq!(one.probability.to_bits(), likely.probability.to_bits());
    assert!(one.is_candidate && other.probability < 0.01, "{other:?}");
    for said in [one, other] {
        let bits = asked.prior + said.parts.iter().map(|part| part.bits).sum::<f64>();
        let p = 1.0 / (1.0 + (-bits).exp2());
        assert!((p - said.probability).abs() < 1e-9, "{p} against {}", said.probability);
        let given = asked.comparisons.iter().position(|said| said.column == "given").expect("it is compared");
        let cell = |row: u32| rows[row as usize][0].clone();
        assert_eq!(said.parts[given].cells, [cell(said.a), cell(said.b)], "each record's own cell");
    }
    let most = found.weakest.iter().map(|pair| pair.probability).fold(0.0, f64::max);
    assert!(found.weakest.windows(2).all(|pair| pair[0].probability <= pair[1].probability) && most > 0.9);
    let sizes = found.entity.iter().fold(BTreeMap::new(), |mut sizes, entity| {
        *sizes.entry(entity).or_insert(0) += 1;
        sizes
    });
    assert_eq!(found.weakest.len(), sizes.values().filter(|n| **n > 1).count());
}

#[test]
fn of_too_many_pairs_the_closest_are_looked_at() {
    /// Pairs that a record may have.
    const EACH: u64 = 3;
    let (rows, truth) = people(800, 5);
    let records = records(&rows);
    let all = resolved(&records);
    let most_pairs = EACH * rows.len() as u64;
    assert!(all.n_candidates > 2 * most_pairs, "{} pairs are not too many", all.n_candidates);
    let found = dedupe(&records, &DedupeOptions { most_pairs, ..OPTIONS }, &|| false).expect("not stopped, and there are columns");
    assert!(found.n_candidates <= most_pairs, "{} of {most_pairs}", found.n_candidates);
    let (said, meant) = (pairs_of(found.entity.iter()), pairs_of(truth.iter()));
    let f1 = 2.0 * said.intersection(&meant).count() as f64 / (said.len() + meant.len()) as f64;
    assert!(f1 > 0.97, "{f1}: as good as with all pairs");
}

#[test]
fn more_pairs_than_there_is_room_for_are_refused_with_their_number() {
    let (rows, _) = people(800, 5);
    let records = records(&rows);
    let all = resolved(&records);
    let within = |room_pairs: u64| dedupe(&records, &DedupeOptions { room_pairs, ..OPTIONS }, &|| false);
    // Either record of a pair brings it up.
    let fits = within(2 * all.n_candidates).expect("there is room for them");
    assert_eq!((&fits.entity, &fits.pairs), (&all.entity, &all.pairs));
    for room_pairs in [0, 1_000, all.n_candidates / 2, all.n_candidates - 1] {
        let Err(Unresolved::TooManyPairs(n)) = within(room_pairs) else { panic!("{room_pairs} pairs are too few") };
        assert!(n > room_pairs && (all.n_candidates / 2..=2 * all.n_candidates).contains(&n), "{n} of {}", all.n_candidates);
    }
}

#[test]
fn the_order_of_records_changes_nothing() {
    let (rows, _) = people(300, 7);
    let straight = records(&rows);
    let found = resolved(&straight);
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    let mut stream = Stream::new(9, Purpose::Pairs, 2, 0);
    for at in (1..order.len()).rev() {
        order.swap(at, ((u64::from(stream.word()) * (at as u64 + 1)) >> 32) as usize);
    }
    let shuffled = resolved(&straight.ordered(&order));
    for (place, row) in order.iter().enumerate() {
        assert_eq!(shuffled.entity[place], found.entity[*row as usize]);
    }
    let named = |pair: &Pair| {
        let (a, b) = (order[pair.a as usize], order[pair.b as usize]);
        (a.min(b), a.max(b), pair.probability.to_bits())
    };
    let one: BTreeSet<_> = shuffled.pairs.iter().map(named).collect();
    let other: BTreeSet<_> = found.pairs.iter().map(|pair| (pair.a, pair.b, pair.probability.to_bits())).collect();
    assert_eq!(one, other);
}

#[test]
fn a_clean_source_gives_each_entity_one_record() {
    let (rows, truth) = people(400, 11);
    let mut records = records(&rows);
    // The first record of a person is one source, the others are shared out.
    let mut seen = BTreeSet::new();
    records.source = truth.iter().enumerate().map(|(row, person)| if seen.insert(*person) { 0 } else { 1 + (row % 2) as u16 }).collect();
    records.n_sources = 3;
    let options = DedupeOptions { crosses: true, is_clean: Some(true), ..OPTIONS };
    let found = dedupe(&records, &options, &|| false).expect("not stopped");
    let mut held = BTreeSet::new();
    for (row, entity) in found.entity.iter().enumerate() {
        assert!(held.insert((*entity, records.source[row])), "an entity has two records of source {}", records.source[row]);
    }
    assert!(found.n_entities < rows.len());
    let dirty = dedupe(&records, &DedupeOptions { is_clean: Some(false), ..options }, &|| false).expect("not stopped");
    let twice = |entities: &[u32]| {
        let mut held = BTreeSet::new();
        entities.iter().enumerate().any(|(row, entity)| !held.insert((*entity, records.source[row])))
    };
    assert!(twice(&dirty.entity), "without the promise a source may hold a person twice");
}

#[test]
fn people_without_duplicates_stay_apart() {
    let (rows, truth) = people(500, 13);
    let mut seen = BTreeSet::new();
    let alone: Vec<Vec<Option<String>>> =
        rows.into_iter().zip(truth).filter(|(_, person)| seen.insert(*person)).map(|(row, _)| row).collect();
    let found = resolved(&records(&alone));
    assert!(found.n_entities + 10 >= alone.len(), "{} entities of {}", found.n_entities, alone.len());
}

#[test]
fn few_duplicates_among_neighbours_are_still_found() {
    // Households: people of one family name live at one place, and one person in thirty is there again with an error.
    let mut stream = Stream::new(31, Purpose::Pairs, 4, 0);
    let mut below = |n: usize| ((u64::from(stream.word()) * n as u64) >> 32) as usize;
    let (mut rows, mut truth): (Vec<Vec<Option<String>>>, Vec<usize>) = (Vec::new(), Vec::new());
    for person in 0..1_200 {
        let home = below(12);
        let cells = [
            GIVEN[below(GIVEN.len())].to_owned(),
            FAMILY[below(FAMILY.len())].to_owned(),
            format!("{}-{:02}-{:02}", 1940 + below(60), 1 + below(12), 1 + below(28)),
            format!("{:05}", 10_000 + 500 * home),
            format!("town{home}"),
            format!("road {} {}", below(40), below(100)),
        ];
        let cells: Vec<Option<String>> = cells.into_iter().map(Some).collect();
        rows.push(cells.clone());
        truth.push(person);
        if person % 30 == 0 {
            let mut copy = cells;
            let wrong = below(3);
            copy[wrong] = copy[wrong].as_ref().map(|text| format!("{}{}", &text[..text.len() - 1], below(10)));
            rows.push(copy);
            truth.push(person);
        }
    }
    let of = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>();
    let names = ["given", "family", "born", "postcode", "town", "street"];
    let columns = names.iter().enumerate().map(|(at, name)| column(name, &of(at))).collect();
    let id = column("id", &(0..rows.len()).map(|row| Some(format!("{row:06}"))).collect::<Vec<_>>());
    let found = resolved(&Records { columns, source: vec![0; rows.len()], n_sources: 1, id: Some(id), identifiers: Vec::new() });
    let (said, meant) = (pairs_of(found.entity.iter()), pairs_of(truth.iter()));
    let f1 = 2.0 * said.intersection(&meant).count() as f64 / (said.len() + meant.len()) as f64;
    assert!(f1 > 0.9, "F1 {f1}: {} pairs for {}", said.len(), meant.len());
}

#[test]
fn parts_of_a_whole_are_not_counted_twice() {
    let (rows, _) = people(300, 17);
    let plain = records(&rows);
    let both = |row: &Vec<Option<String>>| Some(format!("{} {}", row[0].as_deref()?, row[1].as_deref()?));
    let mut doubled = plain.clone();
    doubled.columns.push(column("name", &rows.iter().map(both).collect::<Vec<_>>()));
    let found = resolved(&doubled);
    assert!(found.comparisons.iter().all(|said| said.column != "name"), "{:?}", found.comparisons);
    assert!(found.notes.iter().any(|note| note.contains("`name`")), "{:?}", found.notes);
    assert_eq!(found.entity, resolved(&plain).entity);
}

#[test]
fn names_of_records_are_told_from_what_they_say() {
    let of = |text: &dyn Fn(usize) -> String| column("", &(0..2_000).map(|row| Some(text(row))).collect::<Vec<_>>()).is_key();
    assert!(of(&|row| format!("c{:05}", row * 37 % 100_000)));
    assert!(!of(&|row| format!("c{:05}", row / 2)), "half of them are there twice");
    assert!(!of(&|row| format!("{}@mail.example", row * 37 % 100_000)), "parts of them repeat");
    let mut exact = ColumnBuilder::default();
    exact.push(Some("Crm/A.csv")).expect("one text");
    assert_eq!(&exact.finish_exact("file").texts[0], "Crm/A.csv");
}

#[test]
fn a_stop_ends_the_work() {
    let (rows, _) = people(50, 19);
    assert_eq!(dedupe(&records(&rows), &OPTIONS, &|| true).err(), Some(Unresolved::Stopped));
}
