//! The touchstone: 27,716 published regressions of 54 people, of which nothing is left against shuffled traits.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use common::{Job, Run, repository};
use gristmill_engine::stats::benjamini_hochberg;

/// Returns (food, trait, p) as published; p is missing where the regression had no answer.
fn published() -> Vec<(String, String, Option<f64>)> {
    let mut text = String::new();
    let file = File::open(repository("datasets/samples/nutrition_published_p_values.csv.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        (cells[0].to_owned(), cells[1].to_owned(), cells[2].parse().ok().filter(|p: &f64| p.is_finite()))
    };
    text.lines().skip(1).map(row).collect()
}

/// Runs the shipped spec, with one line of it replaced; the folder stays as long as the job.
fn run(from: &str, to: &str) -> (Job, Run) {
    let spec = fs::read_to_string(repository("jobs/specs/correlate_nutrition.toml")).unwrap();
    assert!(spec.contains(from), "the spec has no line `{from}`");
    let samples = repository("datasets/samples").display().to_string();
    let job = Job::new();
    let run = job.run(&spec.replace("../../datasets/samples", &samples).replace(from, to), "out");
    (job, run)
}

#[test]
fn the_published_values_are_what_everybody_counts() {
    let p: Vec<f64> = published().iter().filter_map(|(_, _, p)| *p).collect();
    let below = |level: f64| p.iter().filter(|p| **p < level).count();
    assert_eq!((published().len(), p.len(), below(0.05), below(0.01), below(0.05 / p.len() as f64)), (27_716, 25_246, 1081, 285, 12));
    let mut sorted = p.clone();
    sorted.sort_by(f64::total_cmp);
    let ranks: Vec<u64> = sorted.iter().map(|p| sorted.partition_point(|other| other <= p) as u64).collect();
    benjamini_hochberg(&mut sorted, &ranks, p.len() as u64);
    let pass = |level: f64| sorted.iter().filter(|q| **q <= level).count();
    assert_eq!((pass(0.05), pass(0.1), pass(0.2)), (29, 37, 69));
}

#[test]
fn p_values_are_recomputed_and_nothing_survives_the_permutations() {
    let (_job, run) = run("permutations = 2000", "permutations = 2000");
    let table = run.table("pairs");
    let text = |name: &str| table.column_by_name(name).unwrap().as_string::<i32>().clone();
    let number = |name: &str| table.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    let (x, y, verdict) = (text("x"), text("y"), text("verdict"));
    let (p, p_perm, n_minor) = (number("p"), number("p_perm"), table.column_by_name("n_minor").unwrap().as_primitive::<UInt64Type>());
    assert_eq!(table.num_rows(), 26 * 1066);
    let place: HashMap<(&str, &str), usize> = (0..table.num_rows()).map(|row| ((y.value(row), x.value(row)), row)).collect();
    let (mut recomputed, mut off, mut largest) = (0, 0, 0.0_f64);
    let mut of_two_people = 0;
    let published = published();
    let n_published = published.iter().filter(|(_, _, p)| p.is_some()).count() as f64;
    for (food, characteristic, known) in &published {
        // One food has no name in the published list; it has no p either.
        let Some(known) = known else { continue };
        let row = place[&(food.as_str(), characteristic.as_str())];
        if *known < 0.05 / n_published {
            // Two people have the trait, or two or fewer eat the food.
            assert!(verdict.value(row) == "too_few" && n_minor.value(row) <= 2, "{food} ~ {characteristic}: {}", n_minor.value(row));
            of_two_people += 1;
        }
        if p.is_null(row) {
            continue;
        }
        recomputed += 1;
        let difference = (p.value(row) - *known).abs();
        off += usize::from(difference > 1e-6);
        largest = largest.max(difference);
    }
    common::say(&format!("{recomputed} recomputed, {off} off by more than 1e-6, at most {largest:.1e}"));
    assert_eq!((recomputed, of_two_people), (25_168, 12));
    assert!(off <= 33 && largest <= 1e-5, "{off} of {recomputed} are off, the largest by {largest:e}");
    assert_eq!(run.findings().num_rows(), 0);
    // 97 foods that nobody tells from another, and 108 that repeat the answers about one before; of the traits, one repeats another.
    let columns = run.table("columns");
    let constant = columns.column_by_name("constant").unwrap().as_boolean();
    assert_eq!(constant.iter().filter(|constant| *constant == Some(true)).count(), 97);
    let groups = run.table("redundant_groups");
    let names = |name: &str| groups.column_by_name(name).unwrap().as_string::<i32>().clone();
    let copies = names("column").iter().zip(names("first").iter()).filter(|(column, first)| column != first).count();
    assert_eq!(copies, 108 + 1);
    let least = (0..table.num_rows()).filter(|row| p_perm.is_valid(*row)).map(|row| p_perm.value(row)).fold(1.0, f64::min);
    assert!(least > 0.05, "a pair has a p_perm of {least}");
}

#[test]
fn without_permutations_the_same_job_would_be_fooled() {
    // The alarm: plain BH over the same family does find something, so that 0 above is no accident.
    let (_job, fooled) = run("permutations = 2000", "permutations = 0\nmin_n = 3");
    let findings = fooled.findings();
    common::say(&format!("{} findings by BH alone", findings.num_rows()));
    let (_job, by_default) = run("permutations = 2000", "");
    assert_eq!(by_default.findings().num_rows(), 0, "the default must hold too");
}
