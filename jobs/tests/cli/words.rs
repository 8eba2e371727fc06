//! What commands say, and what they must not say.

use crate::job::{Job, ONE_STEP};

#[test]
fn validate_counts_what_is_fine() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["validate", "spec.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("ok: spec.toml: 1 source, 1 step"), "{}", ran.stdout);
    job.write("spec.toml", format!("{ONE_STEP}colums = [\"x01\"]\n"));
    let ran = job.gristmill(&["validate", "spec.toml"]);
    assert!(ran.code == 2 && ran.stdout.is_empty() && ran.stderr.contains("`columns`"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn plan_says_where_and_why() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["plan", "spec.toml"]);
    assert!(ran.code == 0 && ran.stdout.contains("pairs"), "{} {}", ran.stdout, ran.stderr);
    let ran = job.gristmill(&["plan", "spec.toml", "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&ran.stdout).is_ok(), "{}", ran.stdout);
    assert!(!job.path("runs").exists());
}

#[test]
fn plan_says_what_a_step_needs() {
    let job = Job::new(ONE_STEP);
    let plan = |spec: &str| -> (serde_json::Value, String) {
        job.write("spec.toml", spec);
        let [json, text] = [&["plan", "spec.toml", "--json"][..], &["plan", "spec.toml"]].map(|arguments| job.gristmill(arguments));
        assert!(json.code == 0 && text.code == 0, "{} {}", json.stderr, text.stderr);
        (serde_json::from_str(&json.stdout).unwrap(), text.stdout)
    };
    let seconds = |plan: &serde_json::Value| ["low", "high"].map(|end| plan["steps"][0]["seconds"][end].as_f64().unwrap());
    let (other, text) = plan(ONE_STEP);
    let step = &other["steps"][0];
    assert_eq!((step["place"]["place"].as_str(), step["pairs"]["of"].as_str()), (Some("cpu"), Some("pairs of columns")), "{text}");
    assert!(text.contains("place cpu: ") && text.contains("likely to hold "), "{text}");
    let rows = |n: usize| (0..n).fold(String::from("x,y\n"), |rows, row| rows + &format!("{},{}\n", row % 7, row % 11));
    let spec = "name = \"a\"\nthreads = 2\n[source.rows]\npath = \"rows.csv\"\n[step.a]\nkind = \"cluster\"\nfrom = \"rows\"\nmethod = \"kmeans\"\n";
    let mut before = [0.0; 2];
    for n in [100, 10_000, 200_000] {
        job.write("rows.csv", rows(n));
        let (json, text) = plan(spec);
        let found = seconds(&json);
        assert!(found[0] > before[0] && found[1] > before[1] && found[0] < found[1], "{n} rows: {found:?}");
        assert!(text.contains("likely to take "), "{text}");
        assert!(json["steps"][0]["memory_bytes"].as_u64() < json["memory_bytes"].as_u64(), "{text}");
        let (fewer, _) = plan(&spec.replace("threads = 2", "threads = 16"));
        assert!(seconds(&fewer)[1] < found[1]);
        before = found;
    }
    let records = spec.replace("cluster\"", "dedupe\"").replace("method = \"kmeans\"\n", "");
    let (json, text) = plan(&records.replace("threads", "memory = \"64MiB\"\nthreads"));
    let pairs = &json["steps"][0]["pairs"];
    // Rows of a text file are guessed from its bytes.
    assert!(pairs["all"].as_u64() > Some(1_000_000_000) && (4_000_000..5_000_000).contains(&pairs["at_most"].as_u64().unwrap()), "{pairs}");
    let (asked, _) = plan(&records.replace("kind = \"dedupe\"", "kind = \"dedupe\"\nmost_pairs = 70000"));
    let at_most = asked["steps"][0]["pairs"]["at_most"].as_u64().unwrap();
    assert!((70_000..=140_000).contains(&at_most), "{at_most}");
    assert!(text.contains("looks at no more than about ") && text.contains("0,000,000 pairs of records"), "{text}");
    assert!(text.contains("more than `memory` of 64.0 MiB, and to end with exit code 5"), "{text}");
    // What another step writes has as many rows as that reads, or fewer.
    let chain = "[step.b]\nkind = \"correlate\"\nfrom = \"a\"\n[step.c]\nkind = \"check\"\nfrom = \"a.pairs\"\nmin_rows = 1\n";
    let (json, text) = plan(&format!("{records}{chain}"));
    let [of_golden, of_pairs] = [1, 2].map(|at| &json["steps"][at]);
    assert!(of_golden["rows"].is_null() && of_golden["rows_at_most"].is_null(), "rows of text are guessed: {of_golden}");
    assert!(of_golden["memory_bytes"].as_u64() > Some(0) && of_golden["place"]["place"] == "cpu", "{of_golden}");
    assert_eq!(of_golden["pairs"]["all"], 6, "x, y, and what the entities are: {of_golden}");
    assert!(text.contains(" rows, or fewer, of which what follows holds"), "{text}");
    assert!(of_pairs["rows_at_most"].is_null() && of_pairs["memory_bytes"].is_null(), "{of_pairs}");
    let (_, text) = plan(&spec.replace("[step.a]", "[step.b]\nkind = \"score\"\nfrom = \"rows\"\nmodel = \"a\"\n[step.a]"));
    assert_eq!(text.matches("likely to hold").count(), 2, "{text}");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/features.toml");
    let json: serde_json::Value = serde_json::from_str(&job.gristmill(&["plan", shipped, "--json"]).stdout).unwrap();
    assert_eq!(json["steps"][1]["rows_at_most"], 75_000, "{}", json["steps"][1]);
    // How many rows a condition keeps nobody knows: no more than there are.
    let (fewer, text) = plan(&spec.replace("[step.a]", "where = \"x > 3\"\n[step.a]"));
    assert!(fewer["steps"][0]["seconds"].is_object() && text.contains(" rows, or fewer, of which what follows holds"), "{text}");
}

#[test]
fn kinds_schema_and_completions_print() {
    let job = Job::new(ONE_STEP);
    for (arguments, word) in [
        (&["kinds"][..], "correlate"),
        (&["kinds", "correlate"], "min_n"),
        (&["schema"], "http://json-schema.org/draft-07/schema"),
        (&["completions", "bash"], "gristmill"),
        (&["--help"], "Exit codes"),
        (&["run", "--help"], "--run-dir"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ran = job.gristmill(arguments);
        assert!(ran.code == 0 && ran.stdout.contains(word) && ran.stderr.is_empty(), "{arguments:?}: {} {}", ran.stdout, ran.stderr);
    }
    assert_eq!(job.gristmill(&["kinds", "corelate"]).code, 2);
}

#[test]
fn doctor_answers_on_any_machine() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["doctor"]);
    assert!(ran.code == 0 && ran.stdout.contains("memory"), "{} {}", ran.stdout, ran.stderr);
    let ran = job.gristmill(&["doctor", "--json"]);
    assert!(ran.code == 0 && serde_json::from_str::<serde_json::Value>(&ran.stdout).is_ok(), "{}", ran.stdout);
}

#[test]
fn report_is_written_anew() {
    let job = Job::new(ONE_STEP);
    job.run();
    std::fs::write(job.path("out/report.html"), "old").unwrap();
    assert_eq!(job.gristmill(&["report", "out"]).code, 0);
    assert!(std::fs::read_to_string(job.path("out/report.html")).unwrap().contains("<html"));
    let ran = job.gristmill(&["report", "."]);
    assert!(ran.code == 2 && ran.stderr.contains("no run"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn quiet_says_nothing_but_errors() {
    let job = Job::new(ONE_STEP);
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--quiet"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    job.write("data.csv", crate::job::planted(10, 4));
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--quiet"]);
    assert!(ran.code == 2 && ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[test]
fn escape_codes_in_names_reach_neither_stream() {
    let job = Job::new(ONE_STEP);
    let text = crate::job::planted(400, 4).replacen("x00", "\u{1b}[31mred\u{7}", 1).replacen("x01", "a\u{202e}b", 1);
    job.write("data.csv", text);
    let ran = job.run();
    let both = ran.stdout + &ran.stderr;
    assert!(!both.contains('\u{1b}') && !both.contains('\u{7}') && !both.contains('\u{202e}'), "{both:?}");
}

#[test]
fn drivers_do_not_write_between_the_events() {
    let job = Job::new(&ONE_STEP.replace("place = \"cpu\"", "place = \"gpu\""));
    let mut command = job.command(&["run", "spec.toml", "--run-dir", "out", "--log-format", "json"]);
    let ran = crate::job::Ran::of(&command.env("GRISTMILL_ADAPTER", "software").env_remove("XDG_RUNTIME_DIR").output().unwrap());
    let last = crate::job::events(&ran.stderr).pop().unwrap();
    if ran.code == 6 {
        println!("no adapter here");
        return;
    }
    assert_eq!((ran.code, last["event"].as_str()), (0, Some("run_finished")), "{}", ran.stderr);
}

#[test]
fn a_closed_stdout_is_no_failure() {
    let job = Job::new(ONE_STEP);
    for arguments in ["kinds", "schema", "--help", "run spec.toml --run-dir out"] {
        let script = format!("\"$0\" {arguments} | true; exit 0");
        let output = std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_gristmill")])
            .current_dir(job.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("panicked"));
    }
}
