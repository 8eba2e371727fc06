//! What a run leaves, and what the second one makes of it.

use std::fs;

use crate::job::{Job, ONE_STEP, events, files};

const TWO_STEPS: &str = "name = \"two\"\nplace = \"cpu\"\n[source.people]\npath = \"data.csv\"\n\
    [step.a]\nkind = \"correlate\"\nfrom = \"people\"\n[step.b]\nkind = \"correlate\"\nfrom = \"people\"\ncolumns = [\"x00\", \"x01\", \"x02\"]\n";

fn blake3_of(path: &std::path::Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
}

#[test]
fn a_run_leaves_what_the_contract_names_and_nothing_else() {
    let job = Job::new(ONE_STEP);
    let ran = job.run();
    let expected = [
        "events.jsonl",
        "findings.parquet",
        "lock",
        "manifest.json",
        "pairs",
        "pairs/columns.parquet",
        "pairs/done.json",
        "pairs/findings.parquet",
        "pairs/pairs.parquet",
        "plan.json",
        "report.html",
        "spec.toml",
    ];
    let found = files(&job.path("out"));
    let strangers: Vec<_> = found.iter().filter(|name| !expected.contains(&name.as_str()) && !name.starts_with("pairs/")).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    for name in expected.iter().filter(|name| **name != "pairs/columns.parquet") {
        assert!(found.contains(&(*name).to_owned()), "{name} is missing: {found:?}");
    }
    assert!(ran.stdout.starts_with("tiny: ") && ran.stdout.contains("out/report.html"), "{}", ran.stdout);
    assert!(ran.stdout.lines().count() <= 16, "{}", ran.stdout);
}

#[test]
fn the_manifest_holds_the_hash_of_every_input_and_output() {
    let job = Job::new(ONE_STEP);
    job.run();
    let manifest = job.manifest();
    assert_eq!((manifest["state"].as_str(), manifest["exit_code"].as_u64()), (Some("done"), Some(0)));
    assert_eq!(manifest["inputs"][0]["blake3"].as_str().unwrap(), blake3_of(&job.path("data.csv")));
    assert_eq!(manifest["steps"][0]["place"].as_str(), Some("cpu"));
    let outputs = manifest["outputs"].as_array().unwrap();
    let tables = job.tables();
    assert_eq!(outputs.len(), tables.len());
    for output in outputs {
        let path = output["path"].as_str().unwrap();
        assert_eq!(output["blake3"].as_str().unwrap(), blake3_of(&job.path("out").join(path)), "{path}");
        assert_eq!(output["bytes"].as_u64().unwrap(), tables[path].len() as u64);
    }
    assert!(manifest["n_findings"].as_u64().unwrap() >= 1, "x00 and x01 go together: {manifest:#}");
}

#[test]
fn the_second_run_is_told_from_its_folder() {
    let job = Job::new(ONE_STEP);
    let first = job.run();
    let (tables, manifest) = (job.tables(), job.manifest());
    let second = job.run();
    assert_eq!((job.tables(), job.manifest()), (tables, manifest));
    assert!(second.stdout.contains("cached") && !first.stdout.contains("cached"), "{}", second.stdout);
    assert_eq!(second.stdout.lines().skip(1).collect::<Vec<_>>(), first.stdout.lines().skip(1).collect::<Vec<_>>());
    let names = job.event_names();
    let again: Vec<&str> = names.iter().map(String::as_str).rev().take(4).collect();
    assert_eq!(again, ["run_finished", "step_cached", "input_hashed", "run_started"]);
    assert_eq!(names.iter().filter(|name| *name == "step_started").count(), 1);
}

#[test]
fn fresh_runs_give_the_same_bytes() {
    let job = Job::new(TWO_STEPS);
    job.run();
    let tables = job.tables();
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(job.tables(), tables);
    assert!(!job.event_names().contains(&"step_cached".to_owned()));
    job.assert_no_temps();
}

#[test]
fn threads_and_memory_make_no_other_run() {
    let job = Job::new(ONE_STEP);
    job.run();
    let (tables, id) = (job.tables(), job.manifest()["run_id"].clone());
    job.write("spec.toml", format!("threads = 1\nmemory = \"300MiB\"\n{ONE_STEP}"));
    assert!(job.run().stdout.contains("cached"));
    job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
    assert_eq!((job.tables(), job.manifest()["run_id"].clone()), (tables, id));
}

#[test]
fn neither_threads_nor_row_groups_change_a_byte() {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    let n = 1_500_i64;
    let number = |at: i64, of: i64| ((at * of % 997) as f64).sin() + if at % 3 == 0 { 4.0 } else { 0.0 };
    let numbers = |of: i64| -> ArrayRef { std::sync::Arc::new(Float64Array::from_iter_values((0..n).map(|at| number(at, of)))) };
    let names: ArrayRef = std::sync::Arc::new(StringArray::from_iter_values((0..n).map(|at| format!("person {}", at * 31 % 1_400))));
    let ids: ArrayRef = std::sync::Arc::new(Int64Array::from_iter_values(0..n));
    let columns = [("id", ids), ("name", names), ("x", numbers(7)), ("y", numbers(11)), ("z", numbers(13)), ("w", numbers(7))];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let job = Job::new("");
    let steps = "[source.rows]\npath = \"rows.parquet\"\n[step.pairs]\nkind = \"correlate\"\nfrom = \"rows\"\nexclude = [\"id\", \"name\"]\n\
        [step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\nid = \"id\"\nmethod = \"kmeans\"\nk = 3\n\
        [step.labels]\nkind = \"score\"\nfrom = \"rows\"\nid = \"id\"\nmodel = \"parts\"\n\
        [step.people]\nkind = \"dedupe\"\nfrom = \"rows\"\nid = \"id\"\nfields = [\"name\", \"x\"]\n\
        [[check]]\non = \"rows\"\nunique = [\"id\"]\n";
    let mut due = None;
    for (threads, rows_a_group) in [(1, 1_500), (2, 1_500), (16, 1_500), (2, 100), (16, 333)] {
        let file = fs::File::create(job.path("rows.parquet")).unwrap();
        let properties = parquet::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(rows_a_group)).build();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        job.write("spec.toml", format!("name = \"same\"\nplace = \"cpu\"\nthreads = {threads}\n{steps}"));
        let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let tables = job.tables();
        assert!(tables.len() > 20, "{:?}", tables.keys());
        assert_eq!(*due.get_or_insert_with(|| tables.clone()), tables, "{threads} threads, {rows_a_group} rows a group");
    }
}

#[test]
fn without_a_folder_given_runs_lie_by_job_and_id() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["run", "spec.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(job.path("runs/tiny/latest/manifest.json")).unwrap()).unwrap();
    let id = manifest["run_id"].as_str().unwrap();
    assert!(id.len() == 16 && job.path("runs/tiny").join(id).is_dir());
    job.write("data.csv", crate::job::planted(401, 4));
    assert_eq!(job.gristmill(&["run", "spec.toml"]).code, 0);
    let entries = files(&job.path("runs/tiny")).into_iter().filter(|name| !name.contains('/')).count();
    assert_eq!(entries, 3, "two runs and the link");
    assert_ne!(fs::read_link(job.path("runs/tiny/latest")).unwrap().to_str(), Some(id));
}

#[test]
fn a_damaged_table_is_made_again() {
    let job = Job::new(TWO_STEPS);
    job.run();
    let tables = job.tables();
    fs::write(job.path("out/a/pairs.parquet"), "damaged").unwrap();
    fs::remove_file(job.path("out/findings.parquet")).unwrap();
    job.run();
    assert_eq!(job.tables(), tables);
    let names: Vec<(String, String)> = job.events().iter().map(|e| (e["event"].to_string(), e["step"].to_string())).collect();
    let count = |event: &str, step: &str| names.iter().filter(|(e, s)| e.contains(event) && s.contains(step)).count();
    assert_eq!((count("step_started", "a"), count("step_started", "b"), count("step_cached", "b")), (2, 1, 1));
}

#[test]
fn a_step_reads_the_table_of_another() {
    let spec = "name = \"chain\"\nplace = \"cpu\"\n[source.people]\npath = \"data.csv\"\n[step.a]\nkind = \"correlate\"\nfrom = \"people\"\n\
        [step.b]\nkind = \"correlate\"\nfrom = \"a.pairs\"\ncolumns = [\"r\", \"lo\", \"hi\"]\n";
    let job = Job::with_rows(spec, 400, 8);
    job.run();
    assert_eq!(job.manifest()["steps"][1]["n_rows"].as_u64(), Some(28));
    fs::remove_file(job.path("out/report.html")).unwrap();
    let tables = job.tables();
    fs::remove_file(job.path("out/b/done.json")).unwrap();
    job.run();
    assert_eq!(job.tables(), tables);
}

#[test]
fn a_folder_of_another_spec_is_refused_with_what_differs() {
    let job = Job::new(ONE_STEP);
    job.run();
    let tables = job.tables();
    job.write("spec.toml", format!("alpha = 0.01\n{ONE_STEP}"));
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("another spec") && ran.stderr.contains("alpha") && ran.stderr.contains("--fresh"), "{}", ran.stderr);
    assert_eq!(job.tables(), tables);
}

#[test]
fn a_folder_of_other_inputs_is_refused_with_their_names() {
    let job = Job::new(ONE_STEP);
    job.run();
    job.write("data.csv", crate::job::planted(300, 4));
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("data.csv") && ran.stderr.contains("has changed"), "{}", ran.stderr);
    assert_eq!(job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]).code, 0);
}

#[test]
fn a_folder_of_something_else_is_never_touched() {
    let job = Job::new(ONE_STEP);
    fs::create_dir(job.path("out")).unwrap();
    job.write("out/thesis.txt", "mine");
    for arguments in [&["run", "spec.toml", "--run-dir", "out"][..], &["run", "spec.toml", "--run-dir", "out", "--fresh"]] {
        let ran = job.gristmill(arguments);
        assert!(ran.code == 2 && ran.stderr.contains("thesis.txt"), "{} {}", ran.code, ran.stderr);
    }
    assert_eq!(files(&job.path("out")), ["thesis.txt"]);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "data.csv"]);
    assert!(ran.code == 2 && ran.stderr.contains("it is a file"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn fresh_over_another_spec_leaves_nothing_of_it() {
    let job = Job::new(TWO_STEPS);
    job.run();
    job.write("spec.toml", ONE_STEP);
    assert_eq!(job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]).code, 0);
    assert!(!job.path("out/a").exists() && !job.path("out/b").exists() && job.path("out/pairs").exists());
}

#[test]
fn events_are_whole_numbered_and_named() {
    const NAMES: [&str; 13] = [
        "run_started",
        "input_hashed",
        "step_started",
        "progress",
        "fell_back",
        "step_finished",
        "step_cached",
        "step_failed",
        "table_written",
        "run_finished",
        "run_failed",
        "run_interrupted",
        "note",
    ];
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--log-format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let shown = events(&ran.stderr);
    assert_eq!(shown, job.events());
    job.run();
    for (seq, event) in job.events().iter().enumerate() {
        assert_eq!(event["seq"].as_u64(), Some(seq as u64));
        assert!(NAMES.contains(&event["event"].as_str().unwrap()), "{event}");
        assert!(event["ts"].as_str().unwrap().ends_with('Z') && event["run_id"].as_str().unwrap().len() == 16);
        assert!(event.get("step").is_some());
    }
    let names = job.event_names();
    assert_eq!(names[..3], ["run_started", "input_hashed", "step_started"]);
}
