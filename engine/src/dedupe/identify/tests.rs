use super::super::records::ColumnBuilder;
use super::super::tests::{FAMILY, GIVEN, OPTIONS, column};
use super::super::{DedupeOptions, Records, Resolution, dedupe};
use super::*;
use crate::stats::{Purpose, Stream};

const COLUMNS: [&str; 6] = ["login", "device", "email", "given", "family", "street"];

type Row = [Option<String>; 6];

/// Of each person a visit that shows a device alone, an app with device and login, an account with login and address, and a customer with
/// address, name and street. The truth is the number of the person.
fn touches(n: usize, seed: u64) -> (Vec<Row>, Vec<usize>) {
    let mut stream = Stream::new(seed, Purpose::Pairs, 3, 0);
    let mut below = |n: usize| ((u64::from(stream.word()) * n as u64) >> 32) as usize;
    let (mut rows, mut truth) = (Vec::new(), Vec::new());
    for person in 0..n {
        let [login, device] = [format!("user{person:03}"), format!("d{:03}-{}", person * 37 % 997, below(90) + 10)];
        let (given, family) = (GIVEN[below(GIVEN.len())], FAMILY[below(FAMILY.len())]);
        let email = format!("{given}.{family}{person}@example.com");
        let street = format!("{} street {}", FAMILY[below(FAMILY.len())], below(200));
        let some = |text: &str| Some(text.to_owned());
        rows.push([None, some(&device), None, None, None, None]);
        rows.push([some(&login), some(&device), None, None, None, None]);
        rows.push([some(&login), None, some(&email), some(given), some(family), None]);
        rows.push([None, None, some(&email), some(given), some(family), some(&street)]);
        rows.push([None, None, None, some(given), some(family), some(&street)]);
        truth.extend([person; 5]);
    }
    (rows, truth)
}

fn records(rows: &[Row], identifiers: &[&str]) -> Records {
    let of = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>();
    let exact = |name: &&str| {
        let mut builder = ColumnBuilder::default();
        for cell in of(COLUMNS.iter().position(|column| column == name).expect("a column")) {
            builder.push(cell.as_deref()).expect("few texts");
        }
        builder.finish_exact(name)
    };
    Records {
        columns: COLUMNS.iter().enumerate().map(|(at, name)| column(name, &of(at))).collect(),
        source: vec![0; rows.len()],
        n_sources: 1,
        id: Some(column("id", &(0..rows.len()).map(|row| Some(format!("{row:06}"))).collect::<Vec<_>>())),
        identifiers: identifiers.iter().map(exact).collect(),
    }
}

const ALL: &[&str] = &["login", "email", "device"];

fn resolved(rows: &[Row], identifiers: &[&str]) -> Resolution {
    dedupe(&records(rows, identifiers), &OPTIONS, &|| false).expect("nobody stops it")
}

/// F1 over pairs of records.
fn f1(entity: &[u32], truth: &[usize]) -> f64 {
    let (mut both, mut said, mut meant) = (0, 0, 0);
    for a in 0..truth.len() {
        for b in a + 1..truth.len() {
            let (is_said, is_meant) = (entity[a] == entity[b], truth[a] == truth[b]);
            both += usize::from(is_said && is_meant);
            said += usize::from(is_said);
            meant += usize::from(is_meant);
        }
    }
    2.0 * both as f64 / (said + meant) as f64
}

#[test]
fn visits_go_with_whoever_the_device_belongs_to() {
    let (rows, truth) = touches(300, 1);
    let (with, without) = (resolved(&rows, ALL), resolved(&rows, &[]));
    let (with_f1, without_f1) = (f1(&with.entity, &truth), f1(&without.entity, &truth));
    assert!(with_f1 > 0.99 && without_f1 < 0.8, "{with_f1} with identifiers, {without_f1} without");
    assert!(with.doubted.is_empty(), "{:?}", with.doubted);
    assert!(without.by.iter().all(Option::is_none));
    for (pair, by) in with.pairs.iter().zip(&with.by).filter(|(_, by)| by.is_some()) {
        let at = COLUMNS.iter().position(|name| *name == ALL[by.expect("it was looked at")]).expect("a column");
        assert_eq!(rows[pair.a as usize][at], rows[pair.b as usize][at]);
        assert!(pair.probability >= 0.99, "{pair:?}");
    }
    // The expected quality knows of pairs that have no cell in common.
    let expected = with.expected.f1.expect("there are pairs");
    assert!((expected.value - with_f1).abs() < 0.03, "{expected:?}, and it is {with_f1}");
}

#[test]
fn a_device_of_two_people_and_an_office_are_not_believed() {
    let (mut rows, mut truth) = touches(300, 2);
    // One tablet in the hands of two people, each with an account on it; an office's address on orders of twelve.
    let tablet = rows[1][1].clone();
    for person in [0, 7] {
        let mut row = rows[5 * person + 3].clone();
        row[1].clone_from(&tablet);
        rows.push(row);
        truth.push(person);
    }
    for person in 20..32 {
        rows[5 * person + 3][2] = Some("office@example.com".to_owned());
    }
    let found = resolved(&rows, ALL);
    let doubted: Vec<(&str, Doubt)> = found.doubted.iter().map(|doubted| (doubted.value.as_str(), doubted.doubt)).collect();
    let tablet = tablet.expect("a device");
    assert_eq!(doubted, [("office@example.com", Doubt::Generic), (tablet.as_str(), Doubt::Shared)]);
    let shared = &found.doubted[1];
    assert_eq!(shared.n_records, 4);
    assert!(shared.n_contradict >= 1 && shared.n_contradict <= shared.n_held, "{shared:?}");
    let is_of_two = truth[shared.example.0 as usize] != truth[shared.example.1 as usize];
    assert!(is_of_two, "{shared:?} is no example");
    assert!(f1(&found.entity, &truth) > 0.985, "{}", f1(&found.entity, &truth));
}

#[test]
fn groups_that_contradict_stay_apart() {
    let (mut rows, mut truth) = touches(300, 3);
    // A visit with the login of one and the device of another: two values that each of them is right about.
    rows.push([rows[2][0].clone(), rows[51][1].clone(), None, None, None, None]);
    truth.push(0);
    let found = resolved(&rows, ALL);
    assert_ne!(found.entity[2], found.entity[52], "two people are one");
    let apart: Vec<Doubt> = found.doubted.iter().map(|doubted| doubted.doubt).collect();
    assert!(apart == [Doubt::Apart] || apart == [Doubt::Shared], "{:?}", found.doubted);
}

#[test]
fn order_changes_nothing() {
    let (rows, _) = touches(120, 4);
    let forth = resolved(&rows, ALL);
    let turned: Vec<Row> = rows.iter().rev().cloned().collect();
    let mut back_records = records(&turned, ALL);
    let last = rows.len() - 1;
    back_records.id = Some(column("id", &(0..rows.len()).map(|row| Some(format!("{:06}", last - row))).collect::<Vec<_>>()));
    let back = dedupe(&back_records, &OPTIONS, &|| false).expect("nobody stops it");
    let turned_back: Vec<u32> = back.entity.iter().rev().copied().collect();
    assert_eq!(turned_back, forth.entity);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads can be had");
    assert_eq!(pool.install(|| resolved(&rows, ALL)), forth);
}

#[test]
fn a_clean_source_gives_each_entity_one_record_all_the_same() {
    let (mut rows, _) = touches(200, 5);
    // Two accounts with one login: the source holds each person once, so one of them is wrong.
    let twice = rows[2].clone();
    rows.push(twice);
    let mut records = records(&rows, ALL);
    records.source = (0..rows.len()).map(|row| if row + 1 == rows.len() { 2 } else { (row % 5) as u16 }).collect();
    records.n_sources = 5;
    let options = DedupeOptions { crosses: true, is_clean: Some(true), ..OPTIONS };
    let found = dedupe(&records, &options, &|| false).expect("nobody stops it");
    let mut held = std::collections::BTreeSet::new();
    for (row, entity) in found.entity.iter().enumerate() {
        assert!(held.insert((*entity, records.source[row])), "an entity has two records of source {}", records.source[row]);
    }
    assert!(found.n_entities < 320, "{} entities", found.n_entities);
}

#[test]
fn words_for_nothing_name_nobody() {
    for value in ["unknown", "0000-0000", "n/a", "info@example.com", "x", "-"] {
        assert!(is_generic(value), "{value}");
    }
    for value in ["anna", "informatica@example.com", "d-529af4d2", "1001", "info.anna@example.com"] {
        assert!(!is_generic(value), "{value}");
    }
}
