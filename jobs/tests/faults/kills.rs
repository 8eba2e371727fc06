//! Killed at every call, and at random times: the same command ends with the same bytes.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::job::Job;
use crate::trace::{self, Point};
use crate::{assert_none, is_full, sample, say};

/// Kills the job at points of a place and checks what is left, and what the same command makes of it.
fn kill_at_calls(place: &str, n: usize) {
    kill_job(&Job::new(place), place, 300, n);
}

fn kill_job(job: &Job, name: &str, fewest: usize, n: usize) {
    let all = trace::points(job);
    assert!(all.len() >= fewest, "only {} calls touch the job's files", all.len());
    let points = sample(&all, n);
    let broken: Vec<(Point, Vec<String>)> =
        points.iter().map(|point| (point.clone(), kill_at(job, point))).filter(|(_, broken)| !broken.is_empty()).collect();
    say(&format!("{name}: {} of {} calls killed, {} broken", points.len(), all.len(), broken.len()));
    assert_none("kills", &broken);
}

fn kill_at(job: &Job, point: &Point) -> Vec<String> {
    job.clear();
    let ran = trace::killed_at(job, point);
    if ran.status.success() {
        return vec!["the run was not killed: the call did not come".to_owned()];
    }
    let mut broken: Vec<String> = job.torn().into_iter().map(|name| format!("{name} is torn")).collect();
    broken.extend(job.go_on());
    broken
}

#[test]
fn killed_at_any_call_on_the_cpu() {
    kill_at_calls("cpu", 24);
}

#[test]
fn killed_at_any_call_while_steps_are_taken_over() {
    kill_job(&Job::taking_over("cpu"), "taking over", 200, 12);
}

#[test]
fn killed_at_any_call_on_software_vulkan() {
    kill_at_calls("software", 6);
}

#[test]
fn killed_at_random_times_and_again_while_it_goes_on() {
    let job = Job::new("cpu");
    let began = Instant::now();
    assert!(job.command().status().unwrap().success());
    let whole = began.elapsed();
    let n = if is_full() { 1_000 } else { 20 };
    let mut broken = Vec::new();
    let mut kills = 0;
    for i in 0..n {
        job.clear();
        // A golden-ratio sequence covers the time evenly, whatever `n` is; the second kill comes at another place.
        for step in [0.618_033_988_749_895, 0.754_877_666_246_693] {
            let share = (f64::from(i) * step).fract();
            let mut child = job.command().stderr(Stdio::null()).spawn().unwrap();
            sleep(whole.mul_f64(share));
            child.kill().unwrap();
            kills += usize::from(!child.wait().unwrap().success());
        }
        let torn = job.torn();
        let later = job.go_on();
        if !(torn.is_empty() && later.is_empty()) {
            broken.push((i, torn, later));
        }
    }
    say(&format!("random: {kills} kills in {n} runs of {:.2} s, {} broken", whole.as_secs_f64(), broken.len()));
    assert!(kills > n as usize / 2, "{kills} of {} kills found the run at work", 2 * n);
    assert_none("random kills", &broken);
    assert!(whole < Duration::from_secs(30));
}

#[test]
fn a_broken_promise_is_seen() {
    let job = Job::new("cpu");
    assert!(job.command().status().unwrap().success());
    let table = job.out().join("pairs/pairs.parquet");
    let whole = fs::read(&table).unwrap();
    fs::write(&table, &whole[..whole.len() - 1]).unwrap();
    fs::write(job.out().join(".gristmill-x.tmp"), "").unwrap();
    assert_eq!((job.torn(), job.temps()), (vec!["pairs/pairs.parquet".to_owned()], vec![".gristmill-x.tmp".to_owned()]));
    // The runner sees that the table is not whole and makes it again, which in a run that was only killed would be work done twice.
    assert_eq!(job.go_on(), ["step pairs was done and ran again"]);
    assert_eq!(job.go_on(), [""; 0]);
}
