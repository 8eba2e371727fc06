//! Runs on one device come one after the other, and say that they wait.

#![cfg(unix)]

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::job::{Job, ONE_STEP, Ran};

/// Starts a run on software Vulkan that takes turns in the folder `slots`; none where there is no driver.
fn start(job: &Job, extra: &[&str]) -> Option<Child> {
    let has_driver = job.gristmill(&["run", "spec.toml", "--run-dir", "probe", "--set", "place=software", "--quiet"]).code != 6;
    let run = ["run", "spec.toml", "--run-dir", "out", "--set", "place=software", "--set", "step.pairs.precision=f32"];
    let mut command = job.command(&[&run[..], extra].concat());
    command.env("GRISTMILL_SLOTS", job.path("slots")).stdout(Stdio::piped()).stderr(Stdio::piped());
    has_driver.then(|| command.spawn().unwrap())
}

/// Locks the slot as another run would.
fn occupied(job: &Job) -> File {
    fs::create_dir(job.path("slots")).unwrap();
    let slot = File::create(job.path("slots/software.slot")).unwrap();
    slot.try_lock().unwrap();
    slot
}

fn wait_for_warning(job: &Job) {
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(job.path("out/events.jsonl")).unwrap_or_default().contains("waits for the GPU, which another run uses") {
        assert!(Instant::now() < until, "nothing waits");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_waits_for_its_turn_at_the_device() {
    let job = Job::new(ONE_STEP);
    let slot = occupied(&job);
    let Some(mut child) = start(&job, &[]) else { return };
    wait_for_warning(&job);
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it goes on while the device is in use");
    drop(slot);
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert!(ran.code == 0 && ran.stderr.contains("step `pairs` waits for the GPU"), "{} {}", ran.code, ran.stderr);
    assert_eq!(job.manifest()["steps"][0]["place"], "software");
}

#[test]
fn a_run_that_waits_for_its_turn_can_be_stopped() {
    let job = Job::new(ONE_STEP);
    let slot = occupied(&job);
    let Some(child) = start(&job, &[]) else { return };
    wait_for_warning(&job);
    let asked = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
    assert!(asked.elapsed() < Duration::from_secs(5));
    drop(slot);
    assert_eq!(start(&job, &[]).unwrap().wait_with_output().unwrap().status.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn confined_runs_take_turns_too() {
    let job = Job::new(ONE_STEP);
    let slot = occupied(&job);
    let Some(child) = start(&job, &["--untrusted"]) else { return };
    wait_for_warning(&job);
    drop(slot);
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!((ran.code, job.manifest()["steps"][0]["place"].as_str()), (0, Some("software")), "{}", ran.stderr);
}
