//! Every exit code that can be produced, each by the thing that it stands for.

use std::fs;

use crate::job::{Job, ONE_STEP, Ran, events};

fn spec_with(path: &str) -> String {
    ONE_STEP.replace("data.csv", path)
}

#[test]
fn code_2_is_for_the_command_line_and_the_spec() {
    let job = Job::new("naem = \"x\"\n");
    for arguments in [&["rnu"][..], &["run"], &["run", "spec.toml", "--fresh=maybe"], &["run", "absent.toml"], &["run", "spec.toml"]] {
        let ran = job.gristmill(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty());
    }
    job.write("spec.toml", spec_with("absent.csv"));
    assert_eq!(job.gristmill(&["run", "spec.toml"]).code, 2, "a file that is named and not there");
    job.write("spec.toml", format!("{ONE_STEP}columns = [\"x99\"]\n"));
    assert_eq!(job.gristmill(&["run", "spec.toml"]).code, 2, "a column that is named and not there");
    assert!(!job.path("runs").exists(), "a spec with mistakes makes no folder");
}

#[test]
fn code_2_comes_as_json_where_json_is_asked_for() {
    let job = Job::new("naem = \"x\"\n");
    let ran = job.gristmill(&["run", "spec.toml", "--log-format", "json"]);
    let shown = events(&ran.stderr);
    assert_eq!((ran.code, shown.len(), shown[0]["event"].as_str()), (2, 1, Some("run_failed")));
    assert_eq!((shown[0]["exit_code"].as_u64(), shown[0]["problems"][0]["line"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn code_3_is_for_corrupt_data() {
    let job = Job::new(&spec_with("bad.parquet"));
    job.write("bad.parquet", "PAR1 this is no Parquet file PAR1");
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert!(ran.code == 3 && ran.stderr.contains("bad.parquet"), "{} {}", ran.code, ran.stderr);
    job.write("spec.toml", ONE_STEP);
    // The mistake lies far behind what is read to find the types.
    let mut text = crate::job::planted(40_000, 4);
    text.push_str("0.1,0.2,not a number,0.4\n");
    job.write("data.csv", text);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert!(ran.code == 3 && ran.stderr.contains("data.csv"), "{} {}", ran.code, ran.stderr);
    assert_eq!(job.manifest()["state"].as_str(), Some("failed"));
    assert_eq!(job.event_names().last().map(String::as_str), Some("run_failed"));
    assert!(job.tables().is_empty());
    job.assert_no_temps();
}

#[cfg(unix)]
#[test]
fn code_3_is_for_files_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let job = Job::new(ONE_STEP);
    fs::set_permissions(job.path("data.csv"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(job.path("data.csv")).is_ok() {
        println!("this user may read everything: skipped");
        return;
    }
    assert_eq!(job.gristmill(&["run", "spec.toml"]).code, 3);
}

#[test]
fn code_5_is_for_a_budget_that_would_be_passed() {
    // 3,000 columns: 4.5 million pairs do not fit into the smallest budget that a spec may name.
    let job = Job::with_rows(&format!("memory = \"16MiB\"\n{ONE_STEP}"), 3, 3_000);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    if ran.code == 0 {
        println!("the job fits into 16 MiB: skipped");
        return;
    }
    assert!(ran.code == 5 && ran.stderr.contains("budget"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn code_6_is_for_a_device_that_is_not_there() {
    let job = Job::new(&ONE_STEP.replace("place = \"cpu\"", "place = \"gpu\""));
    if job.gristmill(&["doctor", "--require-gpu"]).code == 0 {
        println!("this machine has a GPU: skipped");
        return;
    }
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert!(ran.code == 6 && ran.stderr.contains("doctor"), "{} {}", ran.code, ran.stderr);
    assert_eq!((job.manifest()["state"].as_str(), job.manifest()["exit_code"].as_u64()), (Some("failed"), Some(6)));
    assert_eq!(job.gristmill(&["doctor", "--require-gpu"]).code, 6);
}

#[test]
fn code_70_is_for_bugs_and_never_looks_like_a_raw_panic() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["fault", "panic"]);
    assert_eq!(ran.code, 70, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("bug") && ran.stderr.contains(env!("CARGO_PKG_VERSION")) && ran.stderr.lines().count() == 1,
        "{}",
        ran.stderr
    );
}

#[test]
fn code_75_is_for_a_folder_in_use() {
    let job = Job::new(ONE_STEP);
    job.run();
    let lock = fs::File::options().write(true).open(job.path("out/lock")).unwrap();
    lock.try_lock().unwrap();
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert!(ran.code == 75 && ran.stderr.contains("in use"), "{} {}", ran.code, ran.stderr);
    drop(lock);
    job.run();
}

#[cfg(target_os = "linux")]
#[test]
fn code_75_is_for_a_full_disk_and_leaves_no_half_files() {
    let job = Job::with_rows(ONE_STEP, 60, 120);
    let script = "mount -t tmpfs -o size=200k tmpfs small && \"$0\" run spec.toml --run-dir small/out; code=$?; \
        find small -name '.gristmill-*' -o -name '*.tmp'; exit $code";
    fs::create_dir(job.path("small")).unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, env!("CARGO_BIN_EXE_gristmill")]).current_dir(job.folder.path());
    let Ok(output) = command.output() else {
        println!("no `unshare` here: skipped");
        return;
    };
    let ran = Ran::of(&output);
    if ran.stderr.contains("unshare:") || ran.stderr.contains("mount:") {
        println!("no namespaces here: skipped");
        return;
    }
    assert_eq!((ran.code, ran.stdout.as_str()), (75, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("small/out"), "{}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn code_5_is_for_files_that_may_not_be_as_large() {
    let job = Job::with_rows(ONE_STEP, 60, 120);
    let script = "ulimit -f 40; exec \"$0\" run spec.toml --run-dir out";
    let output =
        std::process::Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_gristmill")]).current_dir(job.folder.path()).output();
    let ran = Ran::of(&output.unwrap());
    assert!(ran.code == 5 && ran.stderr.contains("File too large"), "{} {}", ran.code, ran.stderr);
    job.assert_no_temps();
    job.run();
}

#[test]
fn code_2_is_for_a_run_of_another_version() {
    let job = Job::new(ONE_STEP);
    job.run();
    let manifest = fs::read_to_string(job.path("out/manifest.json")).unwrap();
    job.write("out/manifest.json", manifest.replacen("\"version\": 1", "\"version\": 99", 1));
    for command in [&["run", "spec.toml", "--run-dir", "out"][..], &["explain", "out"], &["report", "out"]] {
        let ran = job.gristmill(command);
        assert!(ran.code == 2 && ran.stderr.contains("holds a run of version 99"), "{command:?}: {} {}", ran.code, ran.stderr);
    }
    assert!(fs::read_to_string(job.path("out/manifest.json")).unwrap().contains("99"));
    assert_eq!(job.gristmill(&["explain", "spec.toml"]).code, 2);
}

#[cfg(target_os = "linux")]
#[test]
fn code_75_is_for_a_page_that_cannot_be_written() {
    let job = Job::new(ONE_STEP);
    for command in [&["schema"][..], &["plan", "spec.toml", "--json"], &["kinds"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = Ran::of(&job.command(command).stdout(full).output().unwrap());
        assert!(ran.code == 75 && ran.stderr.contains("cannot write to stdout"), "{command:?}: {} {}", ran.code, ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn code_75_is_for_too_many_open_files() {
    let job = Job::new(ONE_STEP);
    for limit in [4, 5, 6, 7, 8, 10, 12, 16] {
        let script = format!("ulimit -n {limit} && exec \"$0\" run spec.toml --run-dir out{limit}");
        let output =
            std::process::Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_gristmill")]).current_dir(job.folder.path()).output();
        let ran = Ran::of(&output.unwrap());
        assert!([0, 75].contains(&ran.code), "{limit} files: {} {}", ran.code, ran.stderr);
    }
}

#[test]
fn a_failed_step_does_not_hold_up_the_others() {
    let spec = format!("{}[source.bad]\npath = \"bad.csv\"\n[step.late]\nkind = \"correlate\"\nfrom = \"bad\"\n", ONE_STEP);
    let job = Job::new(&spec.replace("[step.pairs]", "[step.zz]"));
    let mut text = crate::job::planted(40_000, 4);
    text.push_str("0.1,0.2,not a number,0.4\n");
    job.write("bad.csv", &text);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(job.path("out/zz/done.json").exists() && !job.path("out/findings.parquet").exists());
    assert!(job.event_names().contains(&"step_failed".to_owned()));
}
