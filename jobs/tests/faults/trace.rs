//! Calls to the system of one run, and the same run with one of them killed or refused.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::job::Job;

/// Calls that look at files of a run or change them.
const CALLS: &str = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,ftruncate,flock,\
                     fallocate,symlink,symlinkat,link,linkat";

/// Calls that read them; a kill there is one at the next of the others.
const READS: &str = "read,pread64";

/// A call of the first thread that touches the folder of the job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// Name of the call.
    pub(crate) call: String,
    /// Which of the thread's calls of that name, from 1.
    pub(crate) nth: usize,
    /// What it is about, for messages.
    pub(crate) line: String,
}

/// Returns every point of an undisturbed run.
pub(crate) fn points(job: &Job) -> Vec<Point> {
    traced(job, CALLS)
}

/// Returns every point of an undisturbed run at which it reads.
pub(crate) fn reads(job: &Job) -> Vec<Point> {
    traced(job, READS)
}

fn traced(job: &Job, calls: &str) -> Vec<Point> {
    job.clear();
    let log = job.root().join("calls.log");
    let ran = strace(job, &["-y", "-o", &log.display().to_string(), "-e", &format!("trace={calls}")]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    job.clear();
    let first = text.split_whitespace().next().unwrap_or_default();
    let root = job.root().display().to_string();
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut points = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(first)).map(str::trim_start) {
        // The second half of a call that another thread cut in two.
        let Some((call, _)) = line.split_once('(').filter(|_| !line.starts_with('<')) else { continue };
        let nth = counts.entry(call.to_owned()).or_default();
        *nth += 1;
        // Paths are given from the job's folder, which stands beside `AT_FDCWD`, and descriptors with the path that they stand for.
        let about = line.replace(&format!("AT_FDCWD<{root}>"), "");
        let of_job = about.contains(&root)
            || ["\"out", "\"runs", "\"spec.toml", "\"./", "\"sales", "\"crm", "\"/proc/self/fd/"].iter().any(|at| about.contains(at));
        if of_job {
            points.push(Point { call: call.to_owned(), nth: *nth, line: line.chars().take(160).collect() });
        }
    }
    points
}

/// Runs the job and kills it at a point, before the call has any effect.
pub(crate) fn killed_at(job: &Job, point: &Point) -> Output {
    disturbed(job, point, "signal=KILL")
}

/// Runs the job and lets a call fail with an error.
pub(crate) fn refused_at(job: &Job, point: &Point, errno: &str) -> Output {
    disturbed(job, point, &format!("error={errno}"))
}

fn disturbed(job: &Job, point: &Point, how: &str) -> Output {
    let Point { call, nth, .. } = point;
    strace(job, &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{how}:when={nth}")])
}

fn strace(job: &Job, options: &[&str]) -> Output {
    let mut command = Command::new("strace");
    // With its filter (`--seccomp-bpf`) strace 6.1 injects nothing.
    command.args(["-f", "-qq"]).args(options);
    let ran = job.behind(command).stderr(Stdio::piped()).output();
    ran.unwrap_or_else(|error| panic!("strace cannot be started ({error}); on Debian and Ubuntu: apt-get install strace"))
}
