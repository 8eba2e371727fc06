//! Kills and signals: the same command goes on and ends with the same bytes.

#![cfg(unix)]

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::job::{Job, Ran};

const ROWS: usize = 60_000;
const COLUMNS: usize = 24;
const STEPS: usize = 3;
const RUN: [&str; 4] = ["run", "spec.toml", "--run-dir", "out"];

fn slow_job() -> Job {
    let mut spec = "name = \"slow\"\nplace = \"cpu\"\n[source.people]\npath = \"data.csv\"\n".to_owned();
    for step in 0..STEPS {
        spec.push_str(&format!("[step.s{step}]\nkind = \"correlate\"\nfrom = \"people\"\n"));
    }
    Job::with_rows(&spec, ROWS, COLUMNS)
}

/// Waits until the log holds `event` at least `n` times; says whether the run is still going on then.
fn wait_for(job: &Job, child: &mut Child, event: &str, n: usize) -> bool {
    let until = Instant::now() + Duration::from_secs(60);
    let name = format!("\"event\":\"{event}\"");
    while Instant::now() < until {
        let text = fs::read_to_string(job.path("out/events.jsonl")).unwrap_or_default();
        let is_over = child.try_wait().unwrap().is_some();
        if text.matches(&name).count() >= n || is_over {
            return !is_over;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("`{event}` did not come {n} times");
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let whole = slow_job();
    whole.run();
    let job = slow_job();
    let mut kills = 0;
    for (event, n) in [("run_started", 1), ("step_started", 1), ("table_written", 1), ("step_finished", 1), ("step_started", 3)] {
        let mut child = job.start(&RUN);
        if wait_for(&job, &mut child, event, n) {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 2, "the run is too fast to be killed");
    job.run();
    assert_eq!(job.tables(), whole.tables());
    assert_eq!(job.manifest()["state"].as_str(), Some("done"));
    job.assert_no_temps();
    let finished = job.event_names().iter().filter(|name| *name == "step_finished").count();
    assert!(finished <= STEPS + 1, "a step that was marked as done ran again: {:?}", job.event_names());
}

#[test]
fn what_is_marked_as_done_does_not_run_again() {
    let job = slow_job();
    let mut child = job.start(&RUN);
    let was_running = wait_for(&job, &mut child, "step_started", 2);
    child.kill().unwrap();
    child.wait().unwrap();
    job.run();
    let events = job.events();
    let of = |name: &str| events.iter().filter(|e| e["event"] == name && e["step"] == "s0").count();
    assert_eq!((of("step_started"), of("step_cached")), (1, usize::from(was_running)));
}

#[test]
fn signals_stop_a_run_that_goes_on_later() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 143), (Signal::INT, 130)] {
        let job = slow_job();
        let mut child = job.start(&RUN);
        if !wait_for(&job, &mut child, "step_started", 1) {
            panic!("the run is too fast to be stopped");
        }
        let asked = Instant::now();
        send(&child, signal);
        let ran = Ran::of(&child.wait_with_output().unwrap());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let manifest = job.manifest();
        assert_eq!((manifest["state"].as_str(), manifest["exit_code"].as_i64()), (Some("interrupted"), Some(i64::from(code))));
        assert_eq!(job.event_names().last().map(String::as_str), Some("run_interrupted"));
        assert!(ran.stderr.contains("the same command goes on"), "{}", ran.stderr);
        job.assert_no_temps();
        job.run();
        assert_eq!(job.manifest()["state"].as_str(), Some("done"));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let job = slow_job();
    let mut child = job.start(&RUN);
    assert!(wait_for(&job, &mut child, "step_started", 1), "the run is too fast to be stopped");
    send(&child, Signal::TERM);
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    job.run();
    job.assert_no_temps();
}

#[test]
fn a_second_run_waits_where_it_is_told_to() {
    let job = slow_job();
    let mut child = job.start(&RUN);
    assert!(wait_for(&job, &mut child, "step_started", 1), "the run is too fast");
    let second = job.gristmill(&[&RUN[..], &["--wait", "2min"]].concat());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert!(second.stderr.contains("nothing has changed"), "{}", second.stderr);
    let wrong = job.gristmill(&[&RUN[..], &["--wait", "soon"]].concat());
    assert!(wrong.code == 2 && wrong.stderr.contains("10min"), "{}", wrong.stderr);
}

#[test]
fn two_runs_in_one_folder_keep_apart() {
    let job = slow_job();
    let mut child = job.start(&RUN);
    assert!(wait_for(&job, &mut child, "step_started", 1), "the run is too fast");
    let second = job.gristmill(&RUN);
    let first = child.wait().unwrap();
    assert_eq!(first.code(), Some(0));
    assert!([0, 75].contains(&second.code), "{} {}", second.code, second.stderr);
}
