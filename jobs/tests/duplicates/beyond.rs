//! Texts whose shingles do not fit into memory, or that are asked to go by `MinHash`: pairs are right, what is missing is said, and nothing hangs on
//! memory or place.

use std::collections::BTreeSet;
use std::fs;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use gristmill_engine::backend::{Backend, PlaceChoice};

use crate::common::{Job, Run};
use crate::{counts, number, shipped, texts};

/// Texts of a hundred words; every fourth is an earlier one with up to eight words changed.
fn written(n: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % n
    };
    let mut all: Vec<Vec<usize>> = Vec::new();
    for at in 0..n {
        let is_copy = at > 0 && at.is_multiple_of(4);
        let mut words = if is_copy { all[below(at)].clone() } else { (0..100).map(|_| below(5_000)).collect() };
        let n_changed = if is_copy { below(9) } else { 0 };
        for _ in 0..n_changed {
            let place = below(100);
            words[place] = below(5_000);
        }
        all.push(words);
    }
    let line = |(at, words): (usize, &Vec<usize>)| {
        let words: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
        format!("{at},{}\n", words.join(" "))
    };
    std::iter::once("id,text\n".to_owned()).chain(all.iter().enumerate().map(line)).collect()
}

fn spec(memory: &str, how: &str) -> String {
    format!(
        "name = \"texts\"\nmemory = \"{memory}\"\n[source.docs]\npath = \"docs.csv\"\n\
         [step.near]\nkind = \"dedupe\"\nfrom = \"docs\"\nid = \"id\"\nfields = [\"text\"]\ntext = {{ {how} }}\n"
    )
}

fn pairs(run: &Run) -> BTreeSet<(u64, u64)> {
    let pairs = run.table("pairs");
    counts(&pairs, "a").into_iter().zip(counts(&pairs, "b")).collect()
}

fn notes(run: &Run) -> String {
    run.manifest()["steps"][0]["notes"].to_string()
}

#[test]
fn texts_that_do_not_fit_into_memory_go_into_files() {
    let job = Job::new();
    job.write("docs.csv", written(20_000));
    let (held, beyond) = (job.run(&spec("1GiB", ""), "held"), job.run(&spec("16MiB", ""), "beyond"));
    assert!(notes(&held).contains("none left to chance"), "{}", notes(&held));
    let said = notes(&beyond);
    assert!(said.contains("did not fit into `memory`") && said.contains("18 bands of 5 slots"), "{said}");
    let (all, found) = (pairs(&held), pairs(&beyond));
    assert!(all.len() > 2_500, "{} pairs", all.len());
    assert!(found.is_subset(&all), "a pair that is none");
    let verdict = beyond.table("verdict");
    let missed = number(&verdict, "expected_missed");
    assert!((all.len() - found.len()) as f64 <= 5.0 + 3.0 * missed && missed < 10.0, "{} of {}, {missed} missed", found.len(), all.len());
    assert!((number(&verdict, "expected_matches") - found.len() as f64 - missed).abs() < 1e-9);
    // Whoever wants all is told what that takes.
    let refused = job.try_run(&spec("16MiB", "recall = 1"), "refused").err().unwrap();
    assert!(refused.contains("shingles of") && refused.contains("remove `recall`"), "{refused}");
    let left: Vec<_> = fs::read_dir(job.path("beyond")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".gristmill")), "{left:?}");
}

#[test]
fn memory_and_threads_change_no_byte_of_what_is_found() {
    let job = Job::new();
    job.write("docs.csv", written(8_000));
    let how = "threshold = 0.6, recall = 0.5";
    let run = |memory: &str, threads: usize, out: &str| job.run(&format!("threads = {threads}\n{}", spec(memory, how)), out);
    let one = run("16MiB", 1, "one");
    assert!(number(&one.table("verdict"), "expected_missed") > 20.0, "nothing is left to luck");
    let other = run("1GiB", 3, "other");
    for table in ["pairs", "entities", "golden"] {
        let file = format!("near/{table}.parquet");
        assert_eq!(one.bytes(&file), other.bytes(&file), "{table}");
    }
    let seeded = job.run(&format!("seed = 8\n{}", spec("1GiB", how)), "seeded");
    assert_ne!(pairs(&seeded), pairs(&one), "another seed finds others");
}

fn score(table: &RecordBatch) -> Vec<f64> {
    table.column_by_name("score").unwrap().as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn product_names_are_the_same_on_a_device() {
    let job = Job::new();
    let text = shipped("dedupe_texts.toml").replace("threshold = 0.7", "threshold = 0.7, recall = 0.9");
    let cpu = job.run(&format!("place = \"cpu\"\n{text}"), "cpu");
    let exact = job.run(&shipped("dedupe_texts.toml"), "exact");
    let share = pairs(&cpu).len() as f64 / pairs(&exact).len() as f64;
    let (found, missed) = (pairs(&cpu).len() as f64, number(&cpu.table("verdict"), "expected_missed"));
    assert!(share > 0.9 && share < 1.0 && pairs(&cpu).is_subset(&pairs(&exact)), "{share}");
    assert!(((found + missed) / pairs(&exact).len() as f64 - 1.0).abs() < 0.02, "{found} and {missed}: {}", pairs(&exact).len());
    assert!(score(&cpu.table("pairs")).iter().all(|score| (0.7..=1.0).contains(score)));
    if let Err(error) = Backend::open(PlaceChoice::Software) {
        eprintln!("no adapter: {error}");
        return;
    }
    let software = job.run(&format!("place = \"software\"\n{text}"), "software");
    assert_eq!(software.manifest()["steps"][0]["place"], "software");
    for table in ["pairs", "entities", "golden", "verdict"] {
        let file = format!("names/{table}.parquet");
        assert_eq!(cpu.bytes(&file), software.bytes(&file), "{table}");
    }
    assert_eq!(texts(&cpu.table("verdict"), "method"), ["text"]);
}
