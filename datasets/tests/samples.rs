//! The samples that ship: each with its origin and licence, all of them small.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;

/// What a clone may carry for samples.
const MAX_TOTAL_BYTES: u64 = 15 * 1024 * 1024;

const LICENCES: [&str; 5] = ["CC BY 4.0", "CC0", "MIT", "Apache-2.0", "public domain"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples")
}

/// Names and sizes of the samples, in order of names.
fn samples() -> Vec<(String, u64)> {
    let mut samples: Vec<(String, u64)> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != "SOURCES.md")
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    samples.sort();
    samples
}

/// The cells of each row of the table in SOURCES.md.
fn listed() -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join("SOURCES.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_sample_is_listed_and_every_row_has_its_sample() {
    let mut named: Vec<String> = listed().iter().map(|row| row[0].clone()).collect();
    named.sort();
    let lying: Vec<String> = samples().into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, lying);
}

#[test]
fn every_row_states_size_origin_and_a_licence_that_may_ship() {
    for row in listed() {
        let [file, what, size, origin, licence] = row.as_slice() else { panic!("{row:?} has not five cells") };
        assert!(!what.is_empty() && !origin.is_empty(), "{file}");
        assert!(size.split(" x ").all(|count| count.replace(',', "").parse::<u64>().is_ok()), "{file}: {size}");
        assert!(LICENCES.iter().any(|known| licence.starts_with(known)), "{file}: {licence}");
        assert!(licence.contains("(read") || licence.contains("(stated"), "{file}: {licence}");
    }
}

#[test]
fn every_sample_is_attributed() {
    let text = fs::read_to_string(folder().join("SOURCES.md")).unwrap();
    let (_, attribution) = text.split_once("## Attribution").unwrap();
    for (name, _) in samples() {
        let stem = name.split('.').next().unwrap();
        assert!(attribution.contains(&format!("- {stem}: ")), "{name}");
    }
}

#[test]
fn samples_stay_small() {
    let total: u64 = samples().iter().map(|(_, bytes)| bytes).sum();
    assert!(total <= MAX_TOTAL_BYTES, "{total} bytes, at most {MAX_TOTAL_BYTES}");
}
