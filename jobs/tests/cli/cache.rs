//! Steps of earlier runs: which are taken over, which run again, and the words for why.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::job::{Job, planted};

const SPEC: &str = r#"
name = "daily"
place = "cpu"
seed = 7
[source.people]
path = "data.csv"
[source.shops]
path = "shops/*.csv"
[step.features]
kind = "cluster"
from = "people"
method = "kmeans"
k = 2
bootstrap = 5
[step.pairs]
kind = "correlate"
from = "people"
top = 3
[step.labels]
kind = "score"
from = "people"
model = "features"
[step.shops-pairs]
kind = "correlate"
from = "shops"
[[check]]
on = "features"
min_rows = 10
"#;

fn job() -> Job {
    let job = Job::new(SPEC);
    fs::create_dir(job.path("shops")).unwrap();
    job.write("shops/a.csv", planted(200, 4));
    job.write("shops/b.csv", planted(300, 4));
    run(&job, &[]);
    job
}

/// Runs the job; returns the folder of its latest run.
fn run(job: &Job, more: &[&str]) -> PathBuf {
    let ran = job.gristmill(&[&["run", "spec.toml", "--quiet"], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fs::canonicalize(job.path("runs/daily/latest")).unwrap()
}

fn run_in(job: &Job, folder: &std::path::Path) {
    let ran = job.gristmill(&["run", "spec.toml", "--quiet", "--run-dir", folder.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Returns every step of a run with why it was run or whom it was taken from.
fn why(run: &std::path::Path) -> Vec<(String, String)> {
    let manifest: Value = serde_json::from_slice(&fs::read(run.join("manifest.json")).unwrap()).unwrap();
    let steps = manifest["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["name"].as_str().unwrap().to_owned(), step["why"].as_str().unwrap().to_owned())).collect()
}

fn ran(run: &std::path::Path) -> Vec<String> {
    why(run).into_iter().filter(|(_, why)| !why.starts_with("taken over")).map(|(step, why)| format!("{step}: {why}")).collect()
}

fn edit(job: &Job, from: &str, to: &str) {
    let text = fs::read_to_string(job.path("spec.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    job.write("spec.toml", text.replacen(from, to, 1));
}

#[test]
fn digits_of_another_place_are_not_taken_over() {
    let job = Job::new("seed = 7\n");
    let spec = SPEC.replace("place = \"cpu\"\n", "").replace("top = 3", "precision = \"f32\"");
    job.write("spec.toml", spec);
    fs::create_dir(job.path("shops")).unwrap();
    job.write("shops/a.csv", planted(200, 4));
    let first = run(&job, &[]);
    let done = |run: &std::path::Path, step: &str| run.join(step).join("done.json");
    let key = |run: &std::path::Path, step: &str| -> Value {
        let done: Value = serde_json::from_slice(&fs::read(done(run, step)).unwrap()).unwrap();
        done["key"]["place"].clone()
    };
    // In 64 bits, and of labels, every digit is the same everywhere.
    assert_eq!([key(&first, "pairs"), key(&first, "shops-pairs"), key(&first, "features")], [Value::from("cpu"), Value::Null, Value::Null]);
    edit(&job, "bootstrap = 5", "bootstrap = 6");
    let second = run(&job, &[]);
    assert!(!ran(&second).iter().any(|why| why.starts_with("pairs: ")), "{:?}", ran(&second));
    assert_eq!(key(&second, "pairs"), Value::from("cpu"), "it is kept where tables are taken over");
    for run in [&first, &second] {
        let text = fs::read_to_string(done(run, "pairs")).unwrap();
        assert!(text.contains("\"place\": \"cpu\"\n  }"), "{text}");
        fs::write(done(run, "pairs"), text.replace("\"place\": \"cpu\"\n  }", "\"place\": \"gpu\"\n  }")).unwrap();
    }
    edit(&job, "bootstrap = 6", "bootstrap = 7");
    let plan: Value = serde_json::from_str(&job.gristmill(&["plan", "spec.toml", "--json"]).stdout).unwrap();
    let third = run(&job, &[]);
    let why = format!("the place of its products was gpu and is cpu since run {}", second.file_name().unwrap().to_str().unwrap());
    assert!(ran(&third).contains(&format!("pairs: {why}")), "{:?}", ran(&third));
    assert!(plan.to_string().contains(&why), "{plan}");
    assert_eq!(fs::read(first.join("pairs/pairs.parquet")).unwrap(), fs::read(third.join("pairs/pairs.parquet")).unwrap());
}

/// Returns every table of a run with its bytes.
fn tables(run: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let names = crate::job::files(run).into_iter().filter(|name| name.ends_with(".parquet"));
    names.map(|name| (name.clone(), fs::read(run.join(&name)).unwrap())).collect()
}

#[test]
fn a_change_names_itself_and_leaves_the_other_steps_done() {
    let since = |first: &std::path::Path| format!(" since run {}", first.file_name().unwrap().to_str().unwrap());
    type Change = (fn(&Job), &'static [&'static str]);
    let changes: [Change; 12] = [
        (|job| edit(job, "top = 3", "top = 4"), &["pairs: `step.pairs.top` was 3 and is 4"]),
        (|job| edit(job, "bootstrap = 5", "bootstrap = 6"), &["features: `step.features.bootstrap` was 5 and is 6"]),
        (|job| edit(job, "min_rows = 10", "min_rows = 11"), &["check-1: `step.check-1.min_rows` was 10 and is 11"]),
        (
            |job| edit(job, "from = \"shops\"\n", "from = \"shops\"\nexclude = [\"x00\"]\n"),
            &["shops-pairs: `step.shops-pairs.exclude` is new"],
        ),
        (|job| edit(job, "path = \"shops/*.csv\"", "path = \"shops/*.csv\"\nsample = 0.5"), &["shops-pairs: `source.shops.sample` is new"]),
        (|job| job.write("shops/b.csv", planted(301, 4)), &["shops-pairs: `shops/b.csv` has changed"]),
        (|job| job.write("shops/c.csv", planted(301, 4)), &["shops-pairs: `shops/c.csv` is new"]),
        (|job| fs::remove_file(job.path("shops/b.csv")).unwrap(), &["shops-pairs: `shops/b.csv` is gone"]),
        // A renamed file, a wait, a budget, and another folder hold the same rows.
        (|job| fs::rename(job.path("shops/b.csv"), job.path("shops/c.csv")).unwrap(), &[]),
        (|job| edit(job, "top = 3", "top = 3\nneeds = [\"features\"]"), &[]),
        (|job| edit(job, "seed = 7", "seed = 7\nmemory = \"1GiB\"\nthreads = 1"), &[]),
        (
            |job| {
                fs::create_dir(job.path("new")).unwrap();
                fs::rename(job.path("data.csv"), job.path("new/data.csv")).unwrap();
                edit(job, "path = \"data.csv\"", "path = \"new/data.csv\"");
            },
            &[],
        ),
    ];
    for (at, (change, expected)) in changes.into_iter().enumerate() {
        let job = job();
        let first = fs::canonicalize(job.path("runs/daily/latest")).unwrap();
        change(&job);
        let plan: Value = serde_json::from_str(&job.gristmill(&["plan", "spec.toml", "--json"]).stdout).unwrap();
        let second = run(&job, &[]);
        let expected: Vec<String> = expected.iter().map(|why| format!("{why}{}", since(&first))).collect();
        // What reads a table that did not change is not run again, but a plan cannot know that it will not.
        let found: Vec<String> = ran(&second).into_iter().map(|line| line.replace("./", "")).collect();
        let is_same_run = first == second;
        assert!(is_same_run || found == expected || (at == 1 && found.starts_with(&expected)), "{at}: {found:?}, expected {expected:?}");
        let planned = plan["steps"].as_array().unwrap().iter().filter(|step| step["cache"]["hit"] == false).count();
        assert!(planned >= expected.len(), "{at}: {plan:#}");
        // The same bytes as a run that takes nothing over.
        let fresh = job.gristmill(&["run", "spec.toml", "--quiet", "--run-dir", "alone"]);
        assert_eq!(fresh.code, 0, "{}", fresh.stderr);
        assert_eq!(tables(&second), tables(&job.path("alone")), "{at}");
    }
}

#[test]
fn a_touched_file_is_the_same_file() {
    let job = job();
    let file = File::options().write(true).open(job.path("data.csv")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    let ran = job.gristmill(&["run", "spec.toml"]);
    assert!(ran.stderr.contains("nothing has changed"), "{}", ran.stderr);
}

#[test]
fn a_damaged_table_is_not_taken_over_and_fresh_takes_nothing() {
    let job = job();
    let first = fs::canonicalize(job.path("runs/daily/latest")).unwrap();
    fs::write(first.join("pairs/pairs.parquet"), "PAR1").unwrap();
    let page = job.gristmill(&["plan", "spec.toml"]).stdout;
    assert!(page.contains("runs: its tables in `runs/daily/") && page.contains("are not whole"), "{page}");
    edit(&job, "bootstrap = 5", "bootstrap = 6");
    let second = run(&job, &[]);
    let damaged = ran(&second).into_iter().find(|line| line.starts_with("pairs:")).unwrap();
    assert!(damaged.contains("are not whole"), "{damaged}");
    edit(&job, "bootstrap = 6", "bootstrap = 7");
    let third = run(&job, &["--fresh"]);
    assert_eq!(ran(&third).len(), 5);
    assert!(ran(&third).iter().all(|line| line.ends_with(": `--fresh` was asked for")), "{:?}", ran(&third));
    let own = job.path("own");
    run_in(&job, &own);
    fs::write(own.join("pairs/pairs.parquet"), "PAR1").unwrap();
    run_in(&job, &own);
    let pairs = why(&own).into_iter().find(|(step, _)| step == "pairs").unwrap();
    assert_eq!(pairs.1, "what this run had of it was not whole, or made of other tables");
}

#[test]
fn a_plan_says_what_is_done_and_why_the_rest_is_not() {
    let job = job();
    edit(&job, "bootstrap = 5", "bootstrap = 6");
    let page = job.gristmill(&["plan", "spec.toml"]).stdout;
    for words in ["done by run", "runs: `step.features.bootstrap` was 5 and is 6 since run", "runs: it reads step `features`, which runs"] {
        assert!(page.contains(words), "{page}");
    }
}

#[test]
fn a_folder_that_is_a_column_counts() {
    let job = Job::new(
        "name = \"daily\"\nplace = \"cpu\"\n[source.shops]\npath = \"d/**/*.csv\"\n[step.pairs]\nkind = \"correlate\"\nfrom = \"shops\"\n",
    );
    fs::create_dir_all(job.path("d/shop=1")).unwrap();
    job.write("d/shop=1/a.csv", planted(200, 2));
    fs::create_dir_all(job.path("d/shop=2")).unwrap();
    job.write("d/shop=2/a.csv", planted(300, 2));
    let first = run(&job, &[]);
    fs::rename(job.path("d/shop=2"), job.path("d/shop=3")).unwrap();
    let second = run(&job, &[]);
    assert!(first != second && ran(&second).len() == 1, "{:?}", why(&second));
}

#[test]
fn what_people_fill_in_is_no_link() {
    use std::os::unix::fs::MetadataExt as _;
    let mut people = "id,name,town\n".to_owned();
    for row in 0..60 {
        people.push_str(&format!("{row},name {},town {}\n", row % 40, row % 7));
    }
    let job = Job::new(
        "name = \"daily\"\nplace = \"cpu\"\n[source.people]\npath = \"people.csv\"\n[step.same]\nkind = \"dedupe\"\nfrom = \"people\"\nid = \"id\"\n[[check]]\non = \"people\"\nmin_rows = 1\n",
    );
    job.write("people.csv", people);
    run(&job, &[]);
    edit(&job, "min_rows = 1", "min_rows = 2");
    let second = run(&job, &[]);
    assert!(ran(&second).len() == 1, "{:?}", why(&second));
    let links = |name: &str| fs::metadata(second.join("same").join(name)).unwrap().nlink();
    assert_eq!((links("review.csv"), links("review.parquet")), (1, 2));
}
