//! `--untrusted`: a process that is told by its files to do harm can do little, and however it dies, the end is a code and a word.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::job::{Job, ONE_STEP, Ran, events};

const RUN: [&str; 5] = ["run", "spec.toml", "--run-dir", "out", "--untrusted"];

fn slow_job() -> Job {
    Job::with_rows(&format!("{ONE_STEP}permutations = 200000\n"), 3_000, 24)
}

/// Waits until a confined run computes, and returns its process.
fn computing(job: &Job, parent: &Child) -> Pid {
    let until = Instant::now() + Duration::from_secs(60);
    // Children are those of a thread.
    let children = || {
        let threads = fs::read_dir(format!("/proc/{}/task", parent.id())).unwrap();
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default()).collect::<String>()
    };
    while Instant::now() < until {
        let log = fs::read_to_string(job.path("out/events.jsonl")).unwrap_or_default();
        if log.contains("step_started") {
            return Pid::from_raw(children().split_whitespace().next().unwrap().parse().unwrap()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("no step started");
}

#[test]
fn a_confined_process_writes_starts_and_calls_nothing() {
    let job = Job::new(ONE_STEP);
    let mut hows = vec!["write", "start", "connect"];
    hows.extend(cfg!(target_arch = "x86_64").then_some("x32"));
    for how in hows {
        let is_denied = |text: &str| text.contains("Permission denied") || text.contains("Operation not permitted");
        let free = job.gristmill(&["fault", how]);
        // Where few kernels have x32, a container may forbid it too.
        assert!(!is_denied(&free.stderr) || how == "x32", "{how}: {}", free.stderr);
        let confined = job.gristmill(&["fault", how, "--untrusted"]);
        assert!(confined.code == 75 && is_denied(&confined.stderr), "{how}: {} {}", confined.code, confined.stderr);
        if how == "write" {
            assert_eq!(free.code, 0, "{}", free.stderr);
            fs::remove_file(job.path("fault.txt")).unwrap();
        }
    }
    assert!(!job.path("fault.txt").exists());
}

#[test]
fn a_confined_process_that_takes_too_much_is_ended() {
    let job = Job::new(ONE_STEP);
    let memory = job.gristmill(&["fault", "memory", "--untrusted"]);
    assert!(memory.code == 5 && memory.stderr.contains("but the budget is 67108864 bytes; raise `memory`"), "{memory:?}");
    let stack = job.gristmill(&["fault", "stack", "--untrusted"]);
    assert!(
        stack.code == 3 && stack.stderr.contains("died of SIGABRT") && stack.stderr.contains("one source after the other"),
        "{stack:?}"
    );
}

#[test]
fn a_confined_run_is_a_run() {
    let free = Job::new(ONE_STEP);
    free.run();
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&RUN);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(job.tables(), free.tables());
    assert!(ran.stdout.contains("out/report.html"), "{}", ran.stdout);
    // Below `runs`, where another run has left what can be taken over.
    let first = job.gristmill(&["run", "spec.toml", "--untrusted"]);
    let second = job.gristmill(&["run", "spec.toml", "--untrusted", "--set", "alpha=0.01", "--also", "csv"]);
    assert_eq!((first.code, second.code), (0, 0), "{} {}", first.stderr, second.stderr);
    assert!(job.path("runs/tiny/latest/pairs/pairs.csv").is_file());
    for command in ["validate", "plan"] {
        let (free, confined) = (job.gristmill(&[command, "spec.toml"]), job.gristmill(&[command, "spec.toml", "--untrusted"]));
        assert_eq!((free.code, free.stdout), (confined.code, confined.stdout), "{}", confined.stderr);
    }
}

#[test]
fn a_confined_run_that_fails_leaves_nothing() {
    let job = Job::new(&ONE_STEP.replace("data.csv", "absent.csv"));
    let free = job.gristmill(&["run", "spec.toml"]);
    for arguments in [&["run", "spec.toml", "--untrusted"][..], &["run", "spec.toml", "--run-dir", "deep/er/out", "--untrusted"]] {
        let confined = job.gristmill(arguments);
        let words = |text: &str| text.lines().take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((confined.code, words(&confined.stderr)), (2, words(&free.stderr)));
        assert!(!job.path("runs").exists() && !job.path("deep").exists());
    }
}

#[test]
fn other_files_are_written_where_it_is_allowed() {
    let job = Job::new(ONE_STEP);
    fs::create_dir(job.path("metrics")).unwrap();
    let run = ["run", "spec.toml", "--run-dir", "out", "--metrics-file", "metrics/job.prom", "--lineage-file", "metrics/lineage.jsonl"];
    let refused = job.gristmill(&[&run[..], &["--untrusted"]].concat());
    assert!(refused.code == 2 && refused.stderr.contains("add `--allow-write metrics`"), "{refused:?}");
    assert!(!refused.stderr.contains("warning"), "{refused:?}");
    assert!(!job.path("out").exists());
    let allowed = job.gristmill(&[&run[..], &["--untrusted", "--allow-write", "metrics"]].concat());
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    assert!(job.path("metrics/job.prom").is_file() && job.path("metrics/lineage.jsonl").is_file());
    let absent = job.gristmill(&[&run[..], &["--untrusted", "--allow-write", "nowhere"]].concat());
    assert!(absent.code == 2 && absent.stderr.contains("`nowhere` is no folder"), "{absent:?}");
    assert_eq!(job.gristmill(&[&run[..], &["--allow-write", "metrics"]].concat()).code, 2);
}

#[test]
fn however_the_child_dies_the_run_ends_with_a_word() {
    let ends = [
        (Signal::SEGV, 3, "died of SIGSEGV", "failed"),
        (Signal::ABORT, 3, "died of SIGABRT", "failed"),
        (Signal::KILL, 75, "was killed from outside", "failed"),
    ];
    for (signal, code, word, state) in ends {
        let job = slow_job();
        fs::create_dir(job.path("metrics")).unwrap();
        let metrics = ["--allow-write", "metrics", "--metrics-file", "metrics/job.prom", "--lineage-file", "metrics/lineage.jsonl"];
        let parent = job.start(&[&RUN[..], &metrics, &["--log-format", "json"]].concat());
        let child = computing(&job, &parent);
        // The standard library takes the first SIGSEGV for one that comes again by itself.
        while kill_process(child, signal).is_ok()
            && fs::read(format!("/proc/{}/cmdline", child.as_raw_pid())).is_ok_and(|line| !line.is_empty())
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = parent.wait_with_output().unwrap();
        let told = events(&String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(code));
        let last = told.last().unwrap();
        assert!(last["event"] == "run_failed" && last["error"].as_str().unwrap().contains(word), "{last}");
        assert_eq!(job.events().last().unwrap()["event"], "run_failed");
        let manifest = job.manifest();
        assert_eq!((manifest["state"].as_str(), manifest["exit_code"].as_i64()), (Some(state), Some(i64::from(code))));
        let figures = fs::read_to_string(job.path("metrics/job.prom")).unwrap();
        assert!(figures.contains(&format!("gristmill_last_run_exit_code{{job=\"tiny\"}} {code}\n")), "{figures}");
        let lineage = events(&fs::read_to_string(job.path("metrics/lineage.jsonl")).unwrap());
        let of = |at: usize| (lineage[at]["eventType"].as_str().unwrap(), &lineage[at]["run"]["runId"]);
        assert!(lineage.len() == 2 && of(0).0 == "START" && of(1) == ("FAIL", of(0).1), "{lineage:?}");
        job.assert_no_temps();
    }
}

#[test]
fn what_a_dead_child_left_behind_is_not_trusted() {
    for lay in [
        |path: &Path| symlink("/dev/zero", path).unwrap(),
        |path: &Path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap(),
        |path: &Path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
    ] {
        for name in ["manifest.json", "events.jsonl"] {
            let job = slow_job();
            let parent = job.start(&RUN);
            let child = computing(&job, &parent);
            fs::remove_file(job.path("out").join(name)).unwrap();
            lay(&job.path("out").join(name));
            let since = Instant::now();
            kill_process(child, Signal::ABORT).unwrap();
            let ran = Ran::of(&parent.wait_with_output().unwrap());
            assert!(ran.code == 3 && ran.stderr.contains("died of SIGABRT"), "{name}: {} {}", ran.code, ran.stderr);
            assert!(since.elapsed() < Duration::from_secs(5), "{name}");
        }
    }
}

#[test]
fn signals_reach_a_confined_run() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let job = slow_job();
        let parent = job.start(&RUN);
        computing(&job, &parent);
        let asked = Instant::now();
        kill_process(Pid::from_child(&parent), signal).unwrap();
        let output = parent.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert_eq!((output.status.code(), job.manifest()["state"].as_str()), (Some(code), Some("interrupted")));
    }
    // Without its parent it does not go on.
    let job = slow_job();
    let mut parent = job.start(&RUN);
    let child = computing(&job, &parent);
    parent.kill().unwrap();
    parent.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while test_kill_process(child).is_ok() {
        assert!(Instant::now() < until, "the child lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}
