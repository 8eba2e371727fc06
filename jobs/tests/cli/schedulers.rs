//! The example files for schedulers: they parse, and they do with every exit code what it is there for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use granit_parser::{Event, Parser};
use serde_json::Value;

/// Codes that another try cannot help.
const FINAL: [i64; 5] = [2, 3, 4, 6, 70];
/// Codes after which the same command goes on.
const AGAIN: [i64; 4] = [5, 75, 130, 143];

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schedulers").join(name)).unwrap()
}

/// Reads a file of systemd: sections with keys.
fn unit(name: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text(name).lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix('[') {
            section = head.strip_suffix(']').unwrap().to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
            entries.push((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    entries
}

fn codes(text: &str) -> BTreeSet<i64> {
    text.split_whitespace().map(|code| code.parse().unwrap()).collect()
}

/// Reads the nodes of a file of YAML into JSON.
fn yaml(text: &str) -> Value {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    loop {
        match events.next().unwrap() {
            Event::StreamStart | Event::DocumentStart(..) => {}
            first => return node(first, &mut events),
        }
    }
}

fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ..) => serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Value::Array(items),
                    event => items.push(node(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = serde_json::Map::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => return Value::Object(entries),
                    Event::Scalar(key, ..) => {
                        let next = events.next().unwrap();
                        entries.insert(key.into_owned(), node(next, events));
                    }
                    other => panic!("{other:?} is no key"),
                }
            }
        }
        other => panic!("{other:?} is no node"),
    }
}

#[test]
fn systemd_restarts_what_can_go_on() {
    let service = unit("gristmill-nightly.service");
    let value = |key: &str| service.iter().find(|(_, known, _)| known == key).map(|(_, _, value)| value.clone()).unwrap();
    assert_eq!(codes(&value("RestartForceExitStatus")), BTreeSet::from(AGAIN));
    assert_eq!(codes(&value("RestartPreventExitStatus")), BTreeSet::from(FINAL));
    assert!(value("ExecStart").contains("gristmill run nightly.toml"));
    let timer = unit("gristmill-nightly.timer");
    assert!(timer.iter().any(|(section, key, _)| section == "Timer" && key == "OnCalendar"));
}

#[test]
fn kubernetes_fails_at_once_where_another_try_cannot_help() {
    let job = yaml(&text("kubernetes-job.yaml"));
    let rules = job["spec"]["podFailurePolicy"]["rules"].as_array().unwrap();
    let of = |action: &str| -> BTreeSet<i64> {
        let rules = rules.iter().filter(|rule| rule["action"] == action).flat_map(|rule| rule["onExitCodes"]["values"].as_array());
        rules.flatten().map(|code| code.as_i64().unwrap()).collect()
    };
    assert_eq!(of("FailJob"), BTreeSet::from(FINAL));
    assert_eq!(&of("Ignore") | &of("Count"), BTreeSet::from(AGAIN));
    // A policy needs this, and every rule names the container that there is.
    assert_eq!(job["spec"]["template"]["spec"]["restartPolicy"], "Never");
    let container = &job["spec"]["template"]["spec"]["containers"][0]["name"];
    let named = rules.iter().filter_map(|rule| rule["onExitCodes"].get("containerName"));
    assert!(named.clone().count() == 3 && named.into_iter().all(|name| name == container));
}

#[test]
fn batch_tries_again_what_can_go_on_with_five_rules_at_most() {
    let job: Value = serde_json::from_str(&text("aws-batch.json")).unwrap();
    let rules = job["retryStrategy"]["evaluateOnExit"].as_array().unwrap();
    let again: BTreeSet<i64> =
        rules.iter().filter(|rule| rule["action"] == "RETRY").filter_map(|rule| rule["onExitCode"].as_str()?.parse().ok()).collect();
    // SIGINT comes from a keyboard, and a container has none.
    assert_eq!(again, BTreeSet::from([5, 75, 143]));
    assert!(rules.len() <= 5 && rules.last().unwrap()["action"] == "EXIT");
    assert!((1..=10).contains(&job["retryStrategy"]["attempts"].as_i64().unwrap()));
}

#[test]
fn shells_read_the_script_and_the_crontab() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedulers/nightly.sbatch");
    assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success());
    let script = text("nightly.sbatch");
    assert!(script.contains("--signal=TERM@120") && script.contains("75 | 130 | 143) scontrol requeue"));
    let crontab = text("crontab");
    let line = crontab.lines().find(|line| line.starts_with(|c: char| c.is_ascii_digit() || c == '*')).unwrap();
    let fields: Vec<&str> = line.splitn(6, ' ').collect();
    assert!(fields[..5].iter().all(|field| *field == "*" || field.parse::<u8>().is_ok()), "{fields:?}");
    // A `%` would be a line end for cron.
    assert!(!fields[5].contains('%') && fields[5].contains("5|75)"));
    assert!(Command::new("sh").args(["-n", "-c", fields[5]]).status().unwrap().success());
}

#[test]
fn airflow_tells_failures_from_what_can_go_on() {
    let dag = text("airflow_dag.py");
    let set = |name: &str| -> BTreeSet<i64> {
        let line = dag.lines().find(|line| line.starts_with(name)).unwrap();
        let entries = line.split_once('{').unwrap().1.trim_end_matches('}').split(',');
        entries.map(|entry| entry.split_once(':').unwrap().0.trim().parse().unwrap()).collect()
    };
    assert_eq!((set("FINAL"), set("AGAIN")), (BTreeSet::from(FINAL), BTreeSet::from(AGAIN)));
    if let Ok(read) = Command::new("python3").args(["-c", "import ast, sys; ast.parse(sys.argv[1])", &dag]).status() {
        assert!(read.success());
    }
}
