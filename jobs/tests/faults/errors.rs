//! The system refuses: a full disk, a broken one, no descriptors, no rights, a call cut short by a signal.

use std::process::Output;

use crate::job::Job;
use crate::trace::{self, Point};
use crate::{assert_none, sample, say};

/// Errors with the calls that can give them and what a message says of them.
const ERRORS: [(&str, &[&str], &str); 6] = [
    ("ENOSPC", &["openat", "write", "pwrite64", "fsync", "fdatasync", "renameat", "mkdir", "ftruncate"], "No space left on device"),
    (
        "EIO",
        &["openat", "write", "pwrite64", "fsync", "fdatasync", "renameat", "mkdir", "ftruncate", "unlinkat", "unlink"],
        "Input/output error",
    ),
    ("EIO", &["read", "pread64"], "Input/output error"),
    ("EMFILE", &["openat"], "Too many open files"),
    ("EINTR", &["openat", "write", "pwrite64", "fsync", "fdatasync", "renameat", "mkdir", "ftruncate", "flock", "read", "pread64"], ""),
    ("EACCES", &["openat", "renameat", "mkdir", "unlinkat", "unlink"], "ermission"),
];

#[test]
fn refused_at_any_call() {
    let job = Job::new("cpu");
    let mut all = trace::points(&job);
    all.extend(trace::reads(&job));
    let mut all_broken = Vec::new();
    let asked = std::env::var("GRISTMILL_FAULT_ERRORS").ok();
    let is_asked = |errno: &str| asked.as_deref().is_none_or(|asked| asked.split(',').any(|one| one == errno));
    for (errno, calls, words) in ERRORS.into_iter().filter(|(errno, ..)| is_asked(errno)) {
        let of_error: Vec<Point> = all.iter().filter(|point| calls.contains(&point.call.as_str())).cloned().collect();
        let points = sample(&of_error, 10);
        let (mut broken, mut failed) = (Vec::new(), 0);
        for point in &points {
            job.clear();
            let ran = trace::refused_at(&job, point, errno);
            failed += u32::from(!ran.status.success());
            let wrong = check(&job, point, errno, words, &ran);
            if !wrong.is_empty() {
                let one = (errno, point.clone(), ran.status, String::from_utf8_lossy(&ran.stderr).into_owned(), wrong);
                say(&format!("broken: {one:?}"));
                broken.push(one);
            }
        }
        say(&format!(
            "{errno} of {}: {} of {} calls refused, {failed} runs ended, {} broken",
            calls[0],
            points.len(),
            of_error.len(),
            broken.len()
        ));
        all_broken.append(&mut broken);
    }
    assert_none("refusals", &all_broken);
}

/// Says which promises a run broke whose call was refused.
fn check(job: &Job, point: &Point, errno: &str, words: &str, ran: &Output) -> Vec<String> {
    let message = String::from_utf8_lossy(&ran.stderr);
    let mut broken: Vec<String> = job.torn().into_iter().map(|name| format!("{name} is torn")).collect();
    broken.extend(job.temps().into_iter().map(|name| format!("{name} was left")));
    match ran.status.code() {
        // Some calls are not needed: a sweep that finds nothing, a look for a file that may be absent.
        Some(0) => {}
        Some(code) if codes(point, errno).contains(&code) => {
            let names_path = ["out", "spec.toml", "sales.csv", "crm.csv"].iter().any(|name| message.contains(name));
            if !names_path || !message.contains(words) {
                broken.push("the message names no path or no cause".to_owned());
            }
        }
        _ => broken.push("not the exit code of this error".to_owned()),
    }
    broken.extend(job.go_on());
    broken
}

/// Returns the exit codes that an error may end with: a lack of rights is no passing matter, 3 where something cannot be read.
fn codes(point: &Point, errno: &str) -> &'static [i32] {
    // What lies in the run folder is named by its path, or by the descriptor of its folder.
    let of_run = ["out/", "/proc/self/fd/"].iter().any(|at| point.line.contains(at));
    let of_input = !of_run && ["spec.toml", "sales.csv", "crm.csv"].iter().any(|name| point.line.contains(name));
    match errno {
        "EINTR" => &[],
        "EACCES" if of_input => &[3],
        "EACCES" if point.line.contains(".parquet\", O_RDONLY") => &[3, 75],
        "EACCES" => &[2, 75],
        _ => &[75],
    }
}
