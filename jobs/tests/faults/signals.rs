//! Asked to stop at random times: 143 within five seconds, and the same command goes on.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::job::Job;
use crate::{assert_none, is_full, say};

/// What a scheduler sees: 143 from the program, or from the system where the program had not begun.
fn is_stopped(status: ExitStatus) -> bool {
    status.code() == Some(143) || status.signal() == Some(15)
}

#[test]
fn stopped_at_random_times() {
    let job = Job::new("cpu");
    let began = Instant::now();
    assert!(job.command().status().unwrap().success());
    let whole = began.elapsed();
    let n = if is_full() { 200 } else { 12 };
    let (mut broken, mut stopped, mut slowest) = (Vec::new(), 0, Duration::ZERO);
    for i in 0..n {
        job.clear();
        let mut child = job.command().stderr(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64((f64::from(i) * 0.618_033_988_749_895).fract()));
        let asked = Instant::now();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        slowest = slowest.max(asked.elapsed());
        stopped += u32::from(is_stopped(status));
        let mut wrong = job.torn();
        if !(status.success() || is_stopped(status)) {
            wrong.push(format!("ended with {status}"));
        }
        wrong.extend(job.temps());
        wrong.extend(job.go_on());
        if !wrong.is_empty() {
            broken.push((i, wrong));
        }
    }
    say(&format!("SIGTERM: {stopped} of {n} runs stopped, the slowest in {:.2} s, {} broken", slowest.as_secs_f64(), broken.len()));
    assert!(stopped * 2 >= n, "{stopped} of {n} signals found the run at work");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_none("signals", &broken);
}
