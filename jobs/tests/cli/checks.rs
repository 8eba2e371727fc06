//! `[[check]]`: what must hold, what becomes of a run where it does not, and where the figures come from.

use std::fmt::Write as _;
use std::fs::{self, File};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::job::{Job, Ran};

const HEAD: &str = "name = \"checked\"\nplace = \"cpu\"\n[source.people]\npath = \"people.csv\"\n";

/// 200 rows: `id` repeats once, `age` is missing in every tenth row and 130 in one, `town` is strange in two.
fn people() -> String {
    let mut text = "id,age,town,amount\n".to_owned();
    for row in 0..200 {
        let id = if row == 199 { 0 } else { row };
        let age = match row {
            _ if row % 10 == 3 => String::new(),
            7 => "130".to_owned(),
            _ => (20 + row % 50).to_string(),
        };
        let town = if row == 50 || row == 51 { "Atlantis" } else { ["Pisa", "Bari"][row % 2] };
        writeln!(text, "{id},{age},{town},{}", row % 7).unwrap();
    }
    text
}

fn job(checks: &str) -> Job {
    let job = Job::new(&format!("{HEAD}{checks}"));
    job.write("people.csv", people());
    job
}

fn run(job: &Job) -> Ran {
    job.gristmill(&["run", "spec.toml", "--run-dir", "out"])
}

/// Returns the table of a check.
fn table(job: &Job, name: &str) -> RecordBatch {
    let file = File::open(job.path(&format!("out/{name}/checks.parquet"))).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().next().unwrap().unwrap()
}

/// Check, column, passed, failing rows and value.
type Line = (String, String, Option<bool>, Option<u64>, Option<f64>);

/// Returns every line of the table.
fn lines(table: &RecordBatch) -> Vec<Line> {
    let column = |name: &str| table.column_by_name(name).unwrap();
    let text = |name: &str, row: usize| {
        let cells = column(name).as_string::<i32>();
        if cells.is_valid(row) { cells.value(row).to_owned() } else { String::new() }
    };
    let passed = column("passed").as_boolean();
    let (failing, value) = (column("n_failing").as_primitive::<UInt64Type>(), column("value").as_primitive::<Float64Type>());
    let line = |row: usize| {
        let passed = passed.is_valid(row).then(|| passed.value(row));
        let failing = failing.is_valid(row).then(|| failing.value(row));
        (text("check", row), text("column", row), passed, failing, value.is_valid(row).then(|| value.value(row)))
    };
    (0..table.num_rows()).map(line).collect()
}

#[test]
fn every_check_counts_what_it_says() {
    let job = job(r#"
[[check]]
on = "people"
name = "all"
severity = "warn"
min_rows = 200
max_rows = 199
columns = ["age", "town"]
max_nulls = 0.1
allowed = ["Pisa", "Bari"]
holds = "amount < 6"
unique = ["id"]
[[check]]
on = "people"
severity = "warn"
columns = ["age"]
min = 18
max = 120
unique = ["id", "amount"]
"#);
    // `min_rows` above `max_rows` is a mistake of the spec.
    let wrong = run(&job);
    assert!(wrong.code == 2 && wrong.stderr.contains("nothing lies between"), "{}", wrong.stderr);
    let spec = fs::read_to_string(job.path("spec.toml")).unwrap().replace("max_rows = 199\n", "");
    job.write("spec.toml", spec);
    let ran = run(&job);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let found = lines(&table(&job, "all"));
    let ages: Vec<String> = (20..70).map(|age| age.to_string()).collect();
    let n_ages = ages.len();
    assert_eq!(n_ages, 50);
    let by = |check: &str, column: &str| found.iter().find(|line| line.0 == check && line.1 == column).cloned().unwrap();
    assert_eq!(by("rows", "").2, Some(true));
    assert_eq!(by("nulls", "age"), ("nulls".into(), "age".into(), Some(true), Some(20), Some(0.1)));
    assert_eq!(by("nulls", "town").3, Some(0));
    // 180 ages are no town, and two towns neither.
    assert_eq!((by("allowed", "age").3, by("allowed", "town").3), (Some(180), Some(2)));
    let above: u64 = (0..200).filter(|row| row % 7 == 6).count() as u64;
    assert_eq!((by("holds", "").2, by("holds", "").3), (Some(false), Some(above)));
    assert_eq!((by("unique", "id").2, by("unique", "id").3), (Some(false), Some(1)));
    let second = lines(&table(&job, "check-2"));
    let range = second.iter().find(|line| line.0 == "range").unwrap();
    assert_eq!((range.2, range.3), (Some(false), Some(1)));
    // The row that repeats an id has another amount.
    assert_eq!(second.iter().find(|line| line.0 == "unique").unwrap().2, Some(true));
    assert!(ran.stdout.contains("checks    4 of 9 passed") && ran.stderr.contains("warning: column `age`"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_failed_check_ends_with_4_and_everything_is_there() {
    let job = job("[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\n[[check]]\non = \"pairs\"\nmin_rows = 1000\n");
    for _ in 0..2 {
        // The second run finds everything done, and the check failed all the same.
        let ran = run(&job);
        assert_eq!(ran.code, 4, "{}", ran.stderr);
        assert!(ran.stderr.contains("check failed: `pairs`: at least 1,000 rows does not hold: it has"), "{}", ran.stderr);
    }
    let manifest = job.manifest();
    assert_eq!((manifest["state"].as_str(), manifest["exit_code"].as_i64()), (Some("done"), Some(4)));
    assert!(job.path("out/findings.parquet").is_file());
    assert!(fs::read_to_string(job.path("out/report.html")).unwrap().contains("A check failed"));
    assert_eq!(job.events().last().unwrap()["exit_code"], 4);
    let quiet = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--quiet"]);
    assert!(quiet.stderr.contains("check failed") && quiet.stdout.is_empty(), "{} {}", quiet.stderr, quiet.stdout);
}

#[test]
fn latest_does_not_move_to_a_run_whose_check_failed() {
    let job = job("[[check]]\non = \"people\"\nmin_rows = 200\n");
    assert_eq!(job.gristmill(&["run", "spec.toml"]).code, 0);
    let before = fs::read_link(job.path("runs/checked/latest")).unwrap();
    let worse = fs::read_to_string(job.path("spec.toml")).unwrap().replace("= 200", "= 201");
    job.write("spec.toml", worse);
    assert_eq!(job.gristmill(&["run", "spec.toml"]).code, 4);
    assert_eq!(fs::read_link(job.path("runs/checked/latest")).unwrap(), before);
}

#[test]
fn a_step_that_needs_a_failed_check_does_not_run() {
    let gate = "[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\nneeds = [\"gate\"]\n[[check]]\non = \"people\"\nname = \"gate\"\nunique = [\"id\"]\n";
    let job = job(gate);
    let ran = run(&job);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("step `pairs` needs it, so it was not run"), "{}", ran.stderr);
    assert!(!job.path("out/pairs").exists());
    assert!(fs::read_to_string(job.path("out/report.html")).unwrap().contains("no two rows with the same"));
    let warn = gate.replace("unique", "severity = \"warn\"\nunique");
    job.write("spec.toml", format!("{HEAD}{warn}"));
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
    assert!(ran.code == 0 && job.path("out/pairs/pairs.parquet").is_file(), "{}", ran.stderr);
}

#[test]
fn drift_is_told_from_chance() {
    let rows = |seed: u64, shift: f64| {
        let mut text = "x,y,town\n".to_owned();
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1_u64 << 24) as f64
        };
        for _ in 0..3_000 {
            let town = if draw() < 0.3 + shift { "Pisa" } else { "Bari" };
            writeln!(text, "{:.4},{:.4},{town}", draw(), draw() + shift).unwrap();
        }
        text
    };
    let spec = "name = \"drift\"\n[source.now]\npath = \"now.csv\"\n[[check]]\non = \"now\"\nname = \"drift\"\nbaseline = \"then.csv\"\nmax_psi = 0.1\n";
    let job = Job::new(spec);
    job.write("then.csv", rows(1, 0.0));
    job.write("now.csv", rows(2, 0.0));
    let same = run(&job);
    assert_eq!(same.code, 0, "{}", same.stderr);
    assert!(
        lines(&table(&job, "drift")).iter().all(|line| line.2 == Some(true) && line.4.unwrap() < 0.02),
        "{:?}",
        lines(&table(&job, "drift"))
    );
    job.write("now.csv", rows(3, 0.3));
    let moved = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
    assert_eq!(moved.code, 4, "{}", moved.stderr);
    let passed: Vec<(String, Option<bool>)> = lines(&table(&job, "drift")).into_iter().map(|line| (line.1, line.2)).collect();
    assert_eq!(passed, [("x".to_owned(), Some(true)), ("y".to_owned(), Some(false)), ("town".to_owned(), Some(false))]);
}

/// A row of a text file by its number.
type Row<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn a_column_that_is_gone_or_is_another_has_drifted() {
    let table_of = |row: Row<'_>, head: &str| (0..600).fold(format!("{head}\n"), |text, at| text + &row(at) + "\n");
    let spec = "name = \"drift\"\n[source.now]\npath = \"now.csv\"\n[[check]]\non = \"now\"\nname = \"drift\"\nbaseline = \"then.csv\"\n";
    let job = Job::new(spec);
    job.write("then.csv", table_of(&|at| format!("{},{},{}", at % 7, at % 11, ["Pisa", "Bari"][at % 2]), "a,b,town"));
    let whole = |at: usize| format!("{},{},{}", at % 7, at % 11, ["Pisa", "Bari"][at % 2]);
    let cases: [(&str, Row<'_>, &str, i32); 6] = [
        ("a,b,town", &whole, "", 0),
        ("a,b,town,more", &|at| format!("{},{at}", whole(at)), "", 0),
        ("b,town", &|at| format!("{},{}", at % 11, ["Pisa", "Bari"][at % 2]), "a", 4),
        ("a,b,town", &|at| format!(",{},{}", at % 11, ["Pisa", "Bari"][at % 2]), "a", 4),
        ("a,b,town", &|at| format!("{},{},", at % 7, at % 11), "town", 4),
        ("a,b,town", &|at| format!("{},{},{}", at % 7, at % 11, at % 2), "town", 4),
    ];
    for (head, row, column, code) in cases {
        job.write("now.csv", table_of(row, head));
        let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
        assert_eq!(ran.code, code, "{head}: {}", ran.stderr);
        let failed: Vec<String> =
            lines(&table(&job, "drift")).into_iter().filter(|line| line.2 == Some(false)).map(|line| line.1).collect();
        assert_eq!(failed.join(" "), column, "{head}: {}", ran.stderr);
        assert_eq!(lines(&table(&job, "drift")).len(), 3, "{head}");
    }
    // Of no rows nothing can be said, whatever sort their columns are taken for.
    job.write("now.csv", "a,b,town\n");
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
    assert!(lines(&table(&job, "drift")).iter().all(|line| line.2.is_none()), "{:?}", lines(&table(&job, "drift")));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // Named, what the baseline lacks cannot be said.
    job.write("now.csv", table_of(&|at| format!("{},{at}", whole(at)), "a,b,town,more"));
    job.write("spec.toml", format!("{spec}columns = [\"a\", \"more\"]\n"));
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out", "--fresh"]);
    let found: Vec<(String, Option<bool>)> = lines(&table(&job, "drift")).into_iter().map(|line| (line.1, line.2)).collect();
    assert_eq!((ran.code, found), (0, vec![("a".to_owned(), Some(true)), ("more".to_owned(), None)]), "{}", ran.stderr);
}

#[test]
fn a_check_of_a_step_is_read_before_the_step_runs() {
    let step = "[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\n[[check]]\non = \"pairs\"\n";
    for (keys, words) in [
        ("", "asks for nothing"),
        ("max_nulls = 0.1\n", "`max_nulls` needs `columns`"),
        ("columns = [\"r\"]\nmin = 5\nmax = 1\n", "nothing lies between"),
        ("holds = \"r > > 1\"\n", "found `>`, expected"),
        ("min_rows = 1\nmax_psi = 0.1\n", "`max_psi` needs a `baseline`"),
    ] {
        let job = job(&format!("{step}{keys}"));
        let ran = job.gristmill(&["validate", "spec.toml"]);
        assert!(ran.code == 2 && ran.stderr.contains(words) && ran.stderr.contains("spec.toml:"), "{keys}: {} {}", ran.code, ran.stderr);
    }
}

#[test]
fn keys_are_told_apart_in_parts_where_they_do_not_fit() {
    let n = 700_000_u64;
    let mut text = "id\n".to_owned();
    // Every id of the last 1,000 rows stands before.
    (0..n).for_each(|row| writeln!(text, "{}", if row >= n - 1_000 { row + 1_000 - n } else { row }).unwrap());
    let spec = "name = \"keys\"\nmemory = \"16MiB\"\n[source.ids]\npath = \"ids.csv\"\n[[check]]\non = \"ids\"\nname = \"keys\"\nunique = [\"id\"]\n";
    let job = Job::new(spec);
    job.write("ids.csv", text);
    let ran = run(&job);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert_eq!(lines(&table(&job, "keys"))[0].3, Some(1_000));
}
