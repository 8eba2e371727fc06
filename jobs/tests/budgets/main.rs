//! The runner and its memory: every kind on tables of a part of the budget to eight times as much.
//!
//! ```text
//! a run in its budget   ends with 0 and the bytes of a run that had all it wanted, or with 5 and the two numbers
//!                       holds at its peak at most the budget and a tenth
//! ```
//!
//! `cargo test` takes one budget and two sizes. More of both, in MiB, for as long as half an hour and with 8 GB of disk:
//!
//! ```text
//! GRISTMILL_BUDGETS=64,96,128,192,256 cargo test --release --workspace --test budgets -- --nocapture
//! ```
//!
//! `GRISTMILL_BUDGET_JOBS=score-compare,link` takes these jobs alone. What the last full run gave is in `benches/RESULTS.md`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use common::Job;
use tables::Tables;

const MIB: u64 = 1 << 20;
/// What a run holds that had all it wanted.
const PLENTY_MIB: u64 = 8192;

/// A job: its name, its table, its steps.
struct Asked {
    name: &'static str,
    table: &'static str,
    steps: &'static str,
}

/// Every kind, some of a table of 200 columns too; where a method depends on what fits, as `recall` of texts does, the spec says which.
const JOBS: &[Asked] = &[
    Asked {
        name: "correlate",
        table: "numbers",
        steps: "kind = \"correlate\"\nexclude = [\"id\", \"shop\"]\nmethod = \"pearson\"\npermutations = 0\n",
    },
    Asked {
        name: "correlate-target",
        table: "numbers",
        steps: "kind = \"correlate\"\nexclude = [\"id\"]\ntarget = \"c1\"\npermutations = 200\n",
    },
    Asked {
        name: "correlate-ranks",
        table: "numbers",
        steps: "kind = \"correlate\"\nexclude = [\"id\", \"shop\"]\nmethod = \"spearman\"\n",
    },
    Asked { name: "correlate-wide", table: "wide", steps: "kind = \"correlate\"\nmethod = \"pearson\"\npermutations = 0\n" },
    Asked {
        name: "cluster-kmeans",
        table: "numbers",
        steps: "kind = \"cluster\"\nid = \"id\"\nexclude = [\"shop\"]\nmethod = \"kmeans\"\nk = 4\nbootstrap = 3\n",
    },
    Asked { name: "cluster-wide", table: "wide", steps: "kind = \"cluster\"\nid = \"id\"\nmethod = \"kmeans\"\nk = 4\nbootstrap = 3\n" },
    Asked { name: "cluster-auto", table: "numbers", steps: "kind = \"cluster\"\nexclude = [\"id\"]\nbootstrap = 3\nk_max = 6\n" },
    Asked {
        name: "score-compare",
        table: "numbers",
        steps: "kind = \"score\"\nid = \"id\"\nmodel = \"four\"\n\
                [step.other]\nkind = \"score\"\nfrom = \"data\"\nid = \"id\"\nmodel = \"three\"\n\
                [step.moves]\nkind = \"compare\"\nfrom = \"it\"\nbaseline = \"other\"\nid = \"id\"\n\
                [step.four]\nkind = \"cluster\"\nfrom = \"first\"\nexclude = [\"id\", \"shop\"]\nmethod = \"kmeans\"\nk = 4\nbootstrap = 0\n\
                [step.three]\nkind = \"cluster\"\nfrom = \"first\"\nexclude = [\"id\", \"shop\"]\nmethod = \"kmeans\"\nk = 3\nbootstrap = 0\n",
    },
    Asked {
        name: "features",
        table: "sales",
        steps: "kind = \"features\"\nentity = \"customer\"\ntime = \"time\"\namount = \"amount\"\ncategory = \"category\"\n",
    },
    Asked {
        name: "dedupe-exact",
        table: "people",
        steps: "kind = \"dedupe\"\nid = \"id\"\nfields = [\"first_name\", \"surname\", \"birth\"]\nexact = {}\n",
    },
    Asked { name: "dedupe-wide", table: "wide", steps: "kind = \"dedupe\"\nexact = {}\n" },
    Asked {
        name: "dedupe-text",
        table: "texts",
        steps: "kind = \"dedupe\"\nid = \"id\"\nfields = [\"text\"]\ntext = { k = 3, threshold = 0.8, recall = 0.999 }\n",
    },
    Asked { name: "dedupe-records", table: "people", steps: "kind = \"dedupe\"\nid = \"id\"\n" },
    Asked { name: "dedupe-fewer", table: "people", steps: "kind = \"dedupe\"\nid = \"id\"\nmost_pairs = 100000\n" },
    Asked { name: "link", table: "people", steps: "kind = \"link\"\nid = \"id\"\nsource_column = \"shop\"\n" },
    Asked { name: "check", table: "people", steps: "kind = \"check\"\nunique = [\"id\"]\n" },
];

/// Sizes of the input, in quarters of the budget; 0 is one part.
const QUARTERS: [u64; 4] = [32, 4, 1, 0];
/// Those that `cargo test` takes.
const SOME_QUARTERS: [u64; 2] = [8, 0];

impl Asked {
    fn spec(&self, memory_mib: u64, files: &[String]) -> String {
        let (name, steps) = (self.name, self.steps);
        let first = if steps.contains("\"first\"") { format!("[source.first]\npath = {:?}\n", files[0]) } else { String::new() };
        let steps = steps.replacen('\n', "\nfrom = \"data\"\n", 1);
        format!(
            "name = \"{name}\"\nplace = \"cpu\"\nmemory = \"{memory_mib}MiB\"\n[source.data]\npath = {files:?}\n{first}[step.it]\n{steps}"
        )
    }
}

/// How a run ended.
struct Ended {
    exit_code: i32,
    peak_bytes: u64,
    error: String,
    tables: BTreeMap<String, Vec<u8>>,
}

fn run(job: &Job, spec: &str) -> Ended {
    let (file, out) = (job.write("job.toml", spec), job.path("out"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.arg("run").arg(file).arg("--run-dir").arg(&out).arg("--quiet").stdin(Stdio::null()).env_remove("GRISTMILL_ADAPTER");
    let ran = command.output().unwrap();
    let events = fs::read_to_string(out.join("events.jsonl")).unwrap_or_default();
    let last: Value = serde_json::from_str(events.lines().last().unwrap_or("{}")).unwrap();
    let mut found = BTreeMap::new();
    for step in fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for table in fs::read_dir(step).unwrap().map(|entry| entry.unwrap().path()) {
            if table.extension().is_some_and(|ending| ending == "parquet") {
                let name = table.strip_prefix(&out).unwrap().display().to_string();
                found.insert(name, blake3_of(&table));
            }
        }
    }
    fs::remove_dir_all(&out).unwrap();
    Ended {
        exit_code: ran.status.code().unwrap_or(-1),
        peak_bytes: last["peak_rss_bytes"].as_u64().unwrap_or(u64::MAX),
        error: String::from_utf8_lossy(&ran.stderr).into_owned(),
        tables: found,
    }
}

fn blake3_of(path: &std::path::Path) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path).unwrap()).unwrap();
    hasher.finalize().as_bytes().to_vec()
}

#[test]
fn a_budget_is_kept_and_changes_no_answer() {
    let asked = std::env::var("GRISTMILL_BUDGETS").ok();
    let budgets: Vec<u64> = asked.as_deref().unwrap_or("96").split(',').map(|budget| budget.parse().unwrap()).collect();
    let (mut n_runs, mut n_refused) = (0, 0);
    let (mut worst, mut wrong) = ((0.0, String::new()), Vec::new());
    let jobs = std::env::var("GRISTMILL_BUDGET_JOBS").ok();
    let is_asked = |name: &str| jobs.as_deref().is_none_or(|jobs| jobs.split(',').any(|job| job == name));
    for one in JOBS.iter().filter(|one| is_asked(one.name)) {
        let job = Job::new();
        let mut tables = Tables::new(&job, one.table);
        let part_bytes = tables.part_bytes();
        let mut due: BTreeMap<u64, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for budget_mib in &budgets {
            for &quarters in if asked.is_some() { &QUARTERS[..] } else { &SOME_QUARTERS } {
                let n_parts = (quarters * budget_mib * MIB / 4 / part_bytes).max(1);
                let files = tables.files(n_parts);
                let ended = run(&job, &one.spec(*budget_mib, &files));
                let of_budget = ended.peak_bytes as f64 / (budget_mib * MIB) as f64;
                let what = format!(
                    "{:<16} {:>4} MiB in {budget_mib:>3} MiB: exit {}, peak {:.0} %",
                    one.name,
                    n_parts * part_bytes / MIB,
                    ended.exit_code,
                    100.0 * of_budget
                );
                common::say(&what);
                n_runs += 1;
                n_refused += usize::from(ended.exit_code == 5);
                if of_budget > worst.0 {
                    worst = (of_budget, what.clone());
                }
                if of_budget > 1.1 {
                    wrong.push(format!("{what}: more than the budget and a tenth"));
                }
                match ended.exit_code {
                    0 => {
                        let due = due.entry(n_parts).or_insert_with(|| run(&job, &one.spec(PLENTY_MIB, &files)).tables);
                        if *due != ended.tables {
                            wrong.push(format!("{what}: other tables than with {PLENTY_MIB} MiB"));
                        }
                    }
                    5 if ended.error.contains(&format!("the budget is {} bytes", budget_mib * MIB)) => {}
                    _ => wrong.push(format!("{what}: {}", ended.error)),
                }
            }
        }
    }
    common::say(&format!("{n_runs} runs, {n_refused} refused; the highest peak: {}", worst.1));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n_refused < n_runs, "something fits");
}
