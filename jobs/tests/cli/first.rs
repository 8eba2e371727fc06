//! The first minutes: a template that runs as it is, the words of `explain`, manual pages, and a schema that the shipped specs fit.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::job::Job;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/specs");

#[test]
fn every_template_runs_as_it_is_and_finds_what_is_planted() {
    let job = Job::new("");
    let list = job.gristmill(&["init"]).stdout;
    for (name, planted) in [
        ("correlate", ["spend and minutes rise together", "4 findings"]),
        ("segments", ["3 findings", "stability 1.00"]),
        ("dedupe", ["1,530 records are of 1,200 entities", "1 of 1 passed"]),
        ("monthly", ["drivers-south: amount and items rise together", "4 of 4 passed"]),
    ] {
        assert!(list.contains(name), "{list}");
        let made = job.gristmill(&["init", name, "--dir", "first"]);
        assert!(made.code == 0 && made.stdout.contains(&format!("now: gristmill run first/{name}.toml")), "{}{}", made.stdout, made.stderr);
        let ran = job.gristmill(&["run", &format!("first/{name}.toml")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(planted.iter().all(|words| ran.stdout.contains(words)), "{}", ran.stdout);
    }
    let march = job.gristmill(&["run", "first/monthly.toml", "--set", "vars.month=2025-03"]);
    assert!(march.code == 0 && march.stderr.contains("like-before-south: warning: column `amount`"), "{}", march.stderr);
    assert!(!march.stderr.contains("like-before-north: warning"), "{}", march.stderr);
}

#[test]
fn init_writes_over_nothing() {
    let job = Job::new("");
    job.write("correlate.toml", "mine");
    let refused = job.gristmill(&["init", "correlate"]);
    assert!(refused.code == 2 && refused.stderr.contains("correlate.toml") && refused.stderr.contains("--dir"), "{}", refused.stderr);
    assert!(!job.path("data").exists() && fs::read_to_string(job.path("correlate.toml")).unwrap() == "mine");
    let unknown = job.gristmill(&["init", "corelate"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("segments"), "{}", unknown.stderr);
}

#[test]
fn explain_says_why_and_where() {
    let job = Job::new(crate::job::ONE_STEP);
    job.run();
    let page = job.gristmill(&["explain", "out"]).stdout;
    for words in ["pairs: correlate, done", "ran: no earlier run did it", "on cpu", "400 rows, 4 columns"] {
        assert!(page.contains(words), "{page}");
    }
}

#[test]
fn manual_pages_are_pages() {
    let job = Job::new("");
    for command in [vec!["man"], vec!["man", "run"], vec!["man", "runs", "prune"], vec!["man", "runs-list"]] {
        let page = job.gristmill(&command).stdout;
        assert!(page.contains(".TH gristmill") && page.contains(".SH"), "{page}");
    }
    for unknown in ["rum", "fault"] {
        assert_eq!(job.gristmill(&["man", unknown]).code, 2);
    }
}

/// Says whether a value fits a schema; the keywords are those that ours is made of, and any other is a failure.
pub(crate) fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let object = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, rule) in object {
        let rules = || rule.as_array().unwrap().iter();
        let is = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => {
                let types: Vec<&str> = rule.as_str().map_or_else(|| rules().map(|one| one.as_str().unwrap()).collect(), |one| vec![one]);
                types.iter().any(|one| is_of_type(value, one))
            }
            "enum" => rules().any(|one| one == value),
            "anyOf" => rules().any(|one| fits(one, value).is_ok()),
            "oneOf" => rules().filter(|one| fits(one, value).is_ok()).count() == 1,
            "not" => fits(rule, value).is_err(),
            "required" => value.as_object().is_none_or(|value| rules().all(|key| value.contains_key(key.as_str().unwrap()))),
            "minProperties" => value.as_object().is_none_or(|value| value.len() as u64 >= rule.as_u64().unwrap()),
            "minItems" => value.as_array().is_none_or(|value| value.len() as u64 >= rule.as_u64().unwrap()),
            "minLength" => value.as_str().is_none_or(|value| value.chars().count() as u64 >= rule.as_u64().unwrap()),
            "minimum" => value.as_f64().is_none_or(|value| value >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|value| value <= rule.as_f64().unwrap()),
            "uniqueItems" => value.as_array().is_none_or(|value| value.iter().enumerate().all(|(at, one)| !value[..at].contains(one))),
            // The one pattern there is: a text with a reference in it.
            "pattern" => value.as_str().is_none_or(|value| value.contains("${") && value.contains('}')),
            "items" => value.as_array().is_none_or(|value| value.iter().all(|one| fits(rule, one).is_ok())),
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        fits(rule, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let mut others =
                    value.as_object().into_iter().flatten().filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key)));
                others.all(|(_, value)| rule.as_bool().unwrap_or_else(|| fits(rule, value).is_ok()))
            }
            other => return Err(format!("`{other}` is no keyword that editors know")),
        };
        if !is {
            return Err(format!("`{keyword}` refuses {value}"));
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn as_json(spec: &Path) -> Value {
    let table: toml::Table = fs::read_to_string(spec).unwrap().parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn every_shipped_spec_fits_the_schema_and_a_wrong_one_does_not() {
    let job = Job::new("");
    let schema: Value = serde_json::from_str(&job.gristmill(&["schema"]).stdout).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/init");
    let mut n = 0;
    for entry in fs::read_dir(SHIPPED).unwrap().chain(fs::read_dir(templates).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            fits(&schema, &as_json(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            n += 1;
        }
    }
    assert!(n > 20, "{n} specs");
    let right = as_json(&Path::new(SHIPPED).join("correlate_checked.toml"));
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut spec = right.clone();
        change(&mut spec);
        assert!(fits(&schema, &spec).is_err(), "{spec}");
    };
    wrong(&|spec| spec["sede"] = json!(3));
    wrong(&|spec| spec["seed"] = json!("seven"));
    wrong(&|spec| spec["step"]["drivers"]["kind"] = json!("corelate"));
    wrong(&|spec| spec["step"]["drivers"]["targt"] = json!("Revenue"));
    wrong(&|spec| spec["check"][0]["severity"] = json!("error"));
    wrong(&|spec| spec["check"][0]["min_row"] = json!(3));
    wrong(&|spec| _ = spec.as_object_mut().unwrap().remove("name"));
    wrong(&|spec| spec["source"]["visits"]["path"] = json!([]));
}
