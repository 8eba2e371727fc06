//! What others read of a run: the lines of its log, figures for Prometheus, events of `OpenLineage`.

use std::collections::BTreeSet;
use std::fs;

use gristmill::events::Event;
use serde_json::Value;

use crate::first::fits;
use crate::job::{Job, ONE_STEP, events};

#[test]
fn every_line_of_a_log_fits_the_schema_of_events() {
    let job = Job::new("");
    let schema: Value = serde_json::from_str(&job.gristmill(&["schema", "events"]).stdout).unwrap();
    let check = "[[check]]\non = \"people\"\nmin_rows = 1000\n";
    job.write("spec.toml", format!("{ONE_STEP}{check}"));
    let run = ["run", "spec.toml", "--run-dir", "out", "--log-format", "json"];
    let mut lines = Vec::new();
    // A run, one that finds everything done, one of another spec, one whose file is broken, and runs that take over.
    for _ in 0..2 {
        lines.extend(events(&job.gristmill(&run).stderr));
    }
    job.write("spec.toml", ONE_STEP.replace("from", "form"));
    lines.extend(events(&job.gristmill(&run).stderr));
    job.write("spec.toml", ONE_STEP);
    for seed in ["1", "2"] {
        let set = format!("step.pairs.top={seed}");
        lines.extend(events(&job.gristmill(&["run", "spec.toml", "--log-format", "json", "--set", &set]).stderr));
        let more = ["run", "spec.toml", "--log-format", "json", "--set", &set, "--set", "source.people.sample=1000"];
        lines.extend(events(&job.gristmill(&more).stderr));
    }
    job.write("spec.toml", format!("{ONE_STEP}{check}"));
    lines.extend(events(&job.gristmill(&["run", "spec.toml", "--log-format", "json", "--set", "step.pairs.top=2"]).stderr));
    job.write("spec.toml", ONE_STEP);
    job.write("data.csv", "a,b\n1,2\n3\n");
    lines.extend(events(&job.gristmill(&["run", "spec.toml", "--run-dir", "bad", "--log-format", "json"]).stderr));
    // A file for others that cannot be written is no failure of the run, and is told.
    let nowhere = ["run", "spec.toml", "--run-dir", "out", "--log-format", "json", "--fresh", "--metrics-file", "no/such/folder"];
    job.write("data.csv", "a,b\n1,2\n2,3\n");
    let ran = job.gristmill(&nowhere);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    lines.extend(events(&ran.stderr));
    let mut seen = BTreeSet::new();
    for line in &lines {
        fits(&schema, line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let name = line["event"].as_str().unwrap();
        let of_event = schema["oneOf"].as_array().unwrap().iter().find(|one| one["properties"]["event"]["enum"][0] == name).unwrap();
        let known = of_event["properties"].as_object().unwrap();
        assert!(line.as_object().unwrap().keys().all(|key| known.contains_key(key)), "a key that the schema does not name: {line}");
        seen.insert(name.to_owned());
    }
    for name in [
        "run_started",
        "input_hashed",
        "step_started",
        "table_written",
        "step_finished",
        "checked",
        "step_cached",
        "step_taken",
        "step_failed",
        "run_finished",
        "run_failed",
        "warned",
    ] {
        assert!(seen.contains(name), "{name} did not come: {seen:?}");
    }
    let mut wrong = lines[0].clone();
    wrong["seq"] = Value::from("none");
    assert!(fits(&schema, &wrong).is_err());
}

/// Returns an event of every kind.
fn one_of_each() -> Vec<Event> {
    let text = || "x".to_owned();
    vec![
        Event::RunStarted {
            job: text(),
            gristmill: "0",
            run_dir: text(),
            place: text(),
            threads: 2,
            memory_bytes: 1,
            resumed: false,
            input_bytes: 1,
            hash_seconds: 0.5,
        },
        Event::InputHashed { source: text(), path: text(), bytes: 1, blake3: text() },
        Event::StepStarted { kind: text(), rows: None },
        Event::Hashing { bytes_done: 1, bytes_total: 2, seconds: 0.5 },
        Event::Progress { rows_done: 1, rows_total: Some(2), bytes_read: None, rss_bytes: Some(3), seconds: 0.5 },
        Event::FellBack { reason: text() },
        Event::StepTaken { from: text(), findings: 1 },
        Event::Checked { check: text(), severity: "warn".to_owned(), passed: None, sentence: text() },
        Event::TableWritten { path: text(), rows: 1, bytes: 1, blake3: text() },
        Event::StepFinished {
            place: text(),
            adapter: Some(text()),
            place_reason: text(),
            rows: 1,
            columns: 1,
            findings: 1,
            compute_seconds: 0.5,
            write_seconds: 0.5,
        },
        Event::StepCached { findings: 1 },
        Event::StepFailed { exit_code: 3, error: text() },
        Event::RunFinished { exit_code: 0, cached: false, findings: 1, seconds: 0.5, peak_rss_bytes: None },
        Event::RunFailed { exit_code: 3, error: text(), problems: Vec::new(), peak_rss_bytes: None },
        Event::RunInterrupted { exit_code: 143 },
        Event::Warned { message: text() },
    ]
}

#[test]
fn the_schema_knows_every_event_and_no_other() {
    let schema: Value = serde_json::from_str(&Job::new("").gristmill(&["schema", "events"]).stdout).unwrap();
    let one_of = schema["oneOf"].as_array().unwrap();
    let known: Vec<&str> = one_of.iter().map(|one| one["properties"]["event"]["enum"][0].as_str().unwrap()).collect();
    let events = one_of_each();
    assert_eq!(events.iter().map(Event::name).collect::<BTreeSet<_>>(), known.iter().copied().collect::<BTreeSet<_>>());
    for event in &events {
        let mut line = serde_json::to_value(event).unwrap();
        let keys =
            [("seq", Value::from(1)), ("ts", "2026".into()), ("event", event.name().into()), ("run_id", Value::Null), ("step", "s".into())];
        line.as_object_mut().unwrap().extend(keys.map(|(key, value)| (key.to_owned(), value)));
        fits(&schema, &line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let properties = one_of[known.iter().position(|name| *name == event.name()).unwrap()]["properties"].as_object().unwrap();
        assert!(line.as_object().unwrap().keys().all(|key| properties.contains_key(key)), "a key that the schema does not name: {line}");
        line.as_object_mut().unwrap().remove("seq");
        assert!(fits(&schema, &line).is_err(), "every line is counted: {line}");
    }
}

#[test]
fn figures_for_prometheus_keep_the_last_success() {
    let job = Job::new(&format!("{ONE_STEP}[[check]]\non = \"people\"\nmin_rows = 100\n"));
    let run = |set: &str| job.gristmill(&["run", "spec.toml", "--quiet", "--metrics-file", "gristmill.prom", "--set", set]);
    let value = |text: &str, name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}{{job=\"tiny\"}} ")))
            .unwrap_or_else(|| panic!("{name}: {text}"));
        line.parse::<f64>().unwrap()
    };
    assert_eq!(run("seed=0").code, 0);
    let first = fs::read_to_string(job.path("gristmill.prom")).unwrap();
    let success = value(&first, "gristmill_last_success_timestamp_seconds");
    assert!(success > 1.7e9 && value(&first, "gristmill_last_run_steps_done") > 1.5 && value(&first, "gristmill_last_run_checks") > 0.5);
    // Every sample has a line of help and one of its type, as promtool wants them.
    for line in first.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('{').next().unwrap();
        assert!(first.contains(&format!("# HELP {name} ")) && first.contains(&format!("# TYPE {name} gauge\n")), "{name}");
    }
    assert_eq!(run("step.check-1.min_rows=1000").code, 4);
    let second = fs::read_to_string(job.path("gristmill.prom")).unwrap();
    assert!((value(&second, "gristmill_last_run_exit_code") - 4.0).abs() < 0.5);
    assert!((value(&second, "gristmill_last_success_timestamp_seconds") - success).abs() < 0.5);
    assert!(
        (value(&second, "gristmill_last_run_checks_failed") - 1.0).abs() < 0.5
            && (value(&second, "gristmill_last_run_steps_taken_over") - 1.0).abs() < 0.5
    );
    // A run that never had a folder tells its end too.
    fs::remove_file(job.path("data.csv")).unwrap();
    assert_eq!(run("seed=0").code, 2);
    let third = fs::read_to_string(job.path("gristmill.prom")).unwrap();
    assert!((value(&third, "gristmill_last_run_exit_code") - 2.0).abs() < 0.5 && !third.contains("gristmill_last_run_steps"), "{third}");
    assert!((value(&third, "gristmill_last_success_timestamp_seconds") - success).abs() < 0.5);
}

#[test]
fn quiet_runs_say_that_figures_could_not_be_written() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--quiet", "--metrics-file", "nowhere/x.prom"]);
    assert!(ran.code == 0 && ran.stderr.contains("cannot write nowhere/x.prom"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn lineage_says_what_was_read_and_written() {
    let job = Job::new(ONE_STEP);
    let run = ["run", "spec.toml", "--run-dir", "out", "--quiet", "--lineage-file", "lineage.jsonl"];
    assert_eq!(job.gristmill(&run).code, 0);
    let read = || events(&fs::read_to_string(job.path("lineage.jsonl")).unwrap());
    let lines = read();
    let kinds: Vec<&str> = lines.iter().map(|line| line["eventType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["START", "COMPLETE"]);
    assert_eq!(lines[0]["run"]["runId"], lines[1]["run"]["runId"]);
    let id = lines[0]["run"]["runId"].as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'8' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
    assert_eq!(lines[1]["inputs"][0]["name"].as_str(), job.path("data.csv").to_str());
    let pairs = lines[1]["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|output| output["name"].as_str().unwrap().ends_with("pairs/pairs.parquet"))
        .unwrap();
    assert_eq!(pairs["outputFacets"]["outputStatistics"]["rowCount"], 6);
    assert_eq!(pairs["facets"]["schema"]["fields"][0]["name"], "x");
    job.write("data.csv", "x00,x01\n1,2\n");
    let failed = job.gristmill(&["run", "spec.toml", "--run-dir", "other", "--quiet", "--lineage-file", "lineage.jsonl"]);
    let last = read().pop().unwrap();
    assert_eq!(last["eventType"], if failed.code == 0 { "COMPLETE" } else { "FAIL" });
    assert_ne!(last["run"]["runId"], lines[0]["run"]["runId"]);
}
