//! Budgets of time and disk, tables in other formats, and the removal of old runs.

use std::fs;

use crate::job::{Job, ONE_STEP, planted};

fn slow(key: &str) -> Job {
    let spec = format!("name = \"slow\"\nplace = \"cpu\"\n{key}\n[source.people]\npath = \"data.csv\"\n");
    let steps: String =
        (0..12).map(|step| format!("[step.s{step:02}]\nkind = \"correlate\"\nfrom = \"people\"\npermutations = 400\n")).collect();
    Job::with_rows(&format!("{spec}{steps}"), 6_000, 24)
}

#[test]
fn a_run_over_its_time_stops_with_5_and_goes_on_later() {
    let job = slow("max_time = 0.3");
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("`max_time` is 0.30 s") && ran.stderr.contains("goes on where"), "{}", ran.stderr);
    let manifest = job.manifest();
    assert_eq!((manifest["state"].as_str(), manifest["exit_code"].as_i64()), (Some("interrupted"), Some(5)));
    job.assert_no_temps();
    // The budget is no part of what the run is.
    let more = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--set", "max_time=10min"]);
    assert_eq!(more.code, 0, "{}", more.stderr);
    let whole = slow("");
    whole.run();
    assert_eq!(job.tables(), whole.tables());
}

#[test]
fn a_run_over_its_disk_stops_with_5() {
    // 24 tables of 16 MiB are more than it may hold; rows are carried, and hardly compress.
    let spec = "name = \"wide\"\nplace = \"cpu\"\nmax_disk = \"16MiB\"\n[source.people]\npath = \"data.csv\"\n";
    let steps: String = (0..8)
        .map(|step| format!("[step.s{step}]\nkind = \"cluster\"\nfrom = \"people\"\nmethod = \"kmeans\"\nk = 2\nbootstrap = 0\n"))
        .collect();
    let job = Job::with_rows(&format!("{spec}{steps}"), 150_000, 4);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("but `max_disk` is 16.0 MiB"), "{}", ran.stderr);
}

#[test]
fn tables_are_written_in_other_formats_and_formulas_are_texts() {
    let job = Job::new(ONE_STEP);
    job.write("data.csv", planted(400, 4).replacen("x01", "=1+1", 1).replacen("x02", "@sum", 1));
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--also", "csv", "--also", "arrow"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let pairs = fs::read_to_string(job.path("out/pairs/pairs.csv")).unwrap();
    assert!(pairs.starts_with("x,y,group,lag,method,r,n,"), "{pairs}");
    assert_eq!(pairs.lines().count(), 7);
    assert!(pairs.contains("'=1+1") && pairs.contains("'@sum") && !pairs.contains(",=1"), "{pairs}");
    assert!(pairs.contains(",-0.") && !pairs.contains("'-0."), "a negative number is a number: {pairs}");
    assert!(fs::read(job.path("out/pairs/pairs.arrow")).unwrap().starts_with(b"ARROW1"));
    assert!(fs::read_to_string(job.path("out/findings.csv")).unwrap().starts_with("finding_id,"));
    // A finished run is finished with them, too.
    assert!(job.gristmill(&["run", "spec.toml", "--run-dir", "out"]).stderr.contains("nothing has changed"));
    #[cfg(unix)]
    {
        // A folder that someone put a link in place of is not written through, though the step is done.
        fs::rename(job.path("out/pairs"), job.path("elsewhere")).unwrap();
        std::os::unix::fs::symlink(job.path("elsewhere"), job.path("out/pairs")).unwrap();
        fs::remove_file(job.path("elsewhere/pairs.csv")).unwrap();
        fs::remove_file(job.path("out/findings.arrow")).unwrap();
        let lineage = ["--lineage-file", "lineage.jsonl", "--metrics-file", "gristmill.prom"];
        let ran = job.gristmill(&[&["run", "spec.toml", "--run-dir", "out", "--also", "csv", "--also", "arrow"][..], &lineage].concat());
        assert!(ran.code == 2 && ran.stderr.contains("is a link"), "{} {}", ran.code, ran.stderr);
        assert!(job.path("out/findings.arrow").is_file(), "what can be written is");
        assert!(fs::read_to_string(job.path("lineage.jsonl")).unwrap().trim_end().lines().last().unwrap().contains("COMPLETE"));
        assert!(
            fs::read_to_string(job.path("gristmill.prom")).unwrap().contains("exit_code{job=\"tiny\"} 2"),
            "the command did not do all of it"
        );
        assert!(ran.stderr.contains("the run itself is done"), "{}", ran.stderr);
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(job.path("out/manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["state"], "done", "what else could not be written is no part of the run");
        assert!(!job.path("elsewhere/pairs.csv").exists());
        fs::remove_file(job.path("out/pairs")).unwrap();
        fs::rename(job.path("elsewhere"), job.path("out/pairs")).unwrap();
        // The folder of the run may be a link: someone named it.
        std::os::unix::fs::symlink("out", job.path("named")).unwrap();
        let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "named", "--also", "csv"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
}

#[test]
fn old_runs_are_listed_and_removed() {
    let job = Job::new(ONE_STEP);
    for seed in 0..4 {
        assert_eq!(job.gristmill(&["run", "spec.toml", "--quiet", "--set", &format!("seed={seed}")]).code, 0);
    }
    let lines = |text: &str| text.lines().filter(|line| line.starts_with("tiny")).count();
    let list = job.gristmill(&["runs", "list"]).stdout;
    assert!(lines(&list) == 4 && list.lines().next().unwrap().ends_with("latest"), "{list}");
    // One that was killed, and one under way, say the same in their manifests.
    let latest = fs::canonicalize(job.path("runs/tiny/latest")).unwrap();
    let manifest = fs::read_to_string(latest.join("manifest.json")).unwrap();
    fs::write(
        latest.join("manifest.json"),
        manifest.replace("\"state\": \"done\",\n  \"exit_code\": 0", "\"state\": \"running\",\n  \"exit_code\": null"),
    )
    .unwrap();
    let first = || job.gristmill(&["runs", "list"]).stdout.lines().next().unwrap().to_owned();
    assert!(first().contains("  cut short  "), "{}", first());
    let lock = fs::File::open(latest.join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(first().contains("  running  "), "{}", first());
    drop(lock);
    fs::write(latest.join("manifest.json"), manifest).unwrap();
    let dry = job.gristmill(&["runs", "prune", "tiny", "--keep", "1", "--dry-run"]).stdout;
    assert!(dry.contains("3 runs would be removed") && lines(&job.gristmill(&["runs", "list", "tiny"]).stdout) == 4, "{dry}");
    let pruned = job.gristmill(&["runs", "prune", "tiny", "--keep", "2"]).stdout;
    assert!(pruned.contains("2 runs removed"), "{pruned}");
    // What `latest` points to stays, whatever is to be kept.
    let pruned = job.gristmill(&["runs", "prune", "tiny", "--keep", "0"]).stdout;
    assert!(pruned.contains("1 run removed") && lines(&job.gristmill(&["runs", "list"]).stdout) == 1, "{pruned}");
    for wrong in ["nobody", "../tiny", "."] {
        assert_eq!(job.gristmill(&["runs", "prune", wrong]).code, 2);
    }
}
