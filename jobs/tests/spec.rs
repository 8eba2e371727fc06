//! Wrong specs: each must be reported at its line and column, with its fix. `bad_specs/README.md` has the form.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use std::sync::OnceLock;
use std::time::Instant;

use gristmill::kinds::KINDS;
use gristmill::plan::{self, Input, PlanFailure};
use gristmill::spec::{self, Located, MAX_SPEC_BYTES, MAX_STEPS, Problems, Spec, SpecFailure, SpecText, keys};
use proptest::prelude::*;

/// Share of the cases whose help must propose the right fix.
const MIN_FIXES: f64 = 0.9;
/// Memory for decoders while specs are checked.
const MEMORY_BYTES: u64 = 1 << 30;

const SHORT_FORMS: [(&str, &str); 5] = [
    ("@name\n", "name = \"job\"\n"),
    ("@source\n", "[source.visits]\npath = \"visits.csv\"\n"),
    ("@step\n", "[step.pairs]\nkind = \"correlate\"\nfrom = \"visits\"\n"),
    ("\\u{201c}", "\u{201c}"),
    ("\\u{201d}", "\u{201d}"),
];

struct Case {
    file: String,
    name: String,
    spec: String,
    expected: Vec<Expected>,
}

struct Expected {
    line: usize,
    column: usize,
    message: Vec<String>,
    help: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_specs")
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(read_cases)
}

fn read_cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    files.sort();
    files.iter().flat_map(|path| cases_of(path)).collect()
}

fn cases_of(path: &Path) -> Vec<Case> {
    let file = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let case = |block: &str| {
        let (name, rest) = block.split_once('\n').unwrap();
        let (mut spec, mut expected) = (String::new(), Vec::new());
        for line in rest.split_inclusive('\n') {
            match line.strip_prefix("--- ") {
                Some(line) => expected.push(Expected::of(line.trim_end())),
                None => spec.push_str(line),
            }
        }
        for (short, long) in SHORT_FORMS {
            spec = spec.replace(short, long);
        }
        Case { file: file.clone(), name: name.trim().to_owned(), spec, expected }
    };
    text.split("### ").skip(1).map(case).collect()
}

impl Expected {
    /// Reads what follows `--- `: place, words of the message, `|`, words of the help.
    fn of(line: &str) -> Self {
        let (place, rest) = line.split_once(' ').unwrap();
        let (row, column) = place.split_once(':').unwrap();
        let (message, help) = rest.split_once('|').unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self { line: row.parse().unwrap(), column: column.parse().unwrap(), message: words(message), help: words(help) }
    }
}

/// Says whether every word stands in the text; `_` in a word may stand for a blank.
fn has(text: &str, words: &[String]) -> bool {
    words.iter().all(|word| text.contains(word.as_str()) || text.contains(&word.replace('_', " ")))
}

fn check(text: SpecText) -> Option<(SpecText, Problems)> {
    match spec::parse(text, &[]) {
        Ok((spec, text)) => match plan::plan(&spec, MEMORY_BYTES) {
            Ok(_) => None,
            Err(PlanFailure::Spec(problems)) => Some((text, problems)),
            Err(failure @ PlanFailure::Job(_)) => panic!("{}", failure.render(&text, false)),
        },
        Err(SpecFailure::Wrong { text, problems }) => Some((text, problems)),
        Err(failure @ SpecFailure::Unreadable { .. }) => panic!("{}", failure.render(false)),
    }
}

fn found(case: &Case) -> Vec<Located> {
    let text = SpecText::new(folder().join("job.toml"), case.spec.clone());
    check(text).map(|(text, problems)| problems.locate(&text)).unwrap_or_default()
}

#[test]
fn every_wrong_spec_is_told_its_place_and_its_fix() {
    let cases = cases();
    let (mut places, mut messages, mut fixes, mut complaints) = (0, 0, 0, String::new());
    for case in cases {
        let found = found(case);
        let expected: Vec<(usize, usize)> = case.expected.iter().map(|one| (one.line, one.column)).collect();
        let given: Vec<(usize, usize)> = found.iter().map(|one| (one.line, one.column)).collect();
        let pairs = || case.expected.iter().zip(&found);
        let place = expected == given;
        let message = place && pairs().all(|(one, other)| has(&other.message, &one.message));
        let fix = place && pairs().all(|(one, other)| has(&other.help, &one.help));
        places += usize::from(place);
        messages += usize::from(message);
        fixes += usize::from(fix);
        if !(place && message && fix) {
            complaints.push_str(&format!("{}/{}: expected {expected:?}, found\n", case.file, case.name));
            for one in found {
                complaints.push_str(&format!("    {}:{} {} | {}\n", one.line, one.column, one.message, one.help));
            }
        }
    }
    let n = cases.len();
    println!("{n} wrong specs: {places} places, {messages} messages and {fixes} fixes right\n{complaints}");
    assert!(n >= 120, "{n} cases");
    assert_eq!((places, messages), (n, n), "{complaints}");
    assert!(fixes as f64 >= MIN_FIXES * n as f64, "{fixes} of {n} fixes\n{complaints}");
}

#[test]
fn the_right_spec_of_the_corpus_is_right() {
    let spec: String = SHORT_FORMS[..3].iter().map(|(_, long)| *long).collect();
    let text = SpecText::new(folder().join("job.toml"), spec);
    if let Some((text, problems)) = check(text) {
        panic!("{}", problems.render(&text, false));
    }
}

/// Cases whose whole page is a snapshot: one or two of each class.
const SHOWN: [&str; 16] = [
    "columns/column-misspelt",
    "columns/text-where-numbers-are-needed",
    "columns/where-misspelt-in-the-middle",
    "files/glob-without-a-match",
    "json/json-comma-at-the-end",
    "json/json-number-in-quotes",
    "keys/path-in-a-step",
    "keys/step-as-a-list",
    "keys/model-of-another-kind",
    "keys/lags-without-time",
    "keys/weights-and-permutations",
    "steps/cycle-of-three",
    "syntax/step-twice",
    "syntax/windows-path",
    "values/alpha-as-percent",
    "values/several-at-once",
];

#[test]
fn pages_for_people() {
    for case in cases() {
        let name = format!("{}/{}", case.file, case.name);
        if SHOWN.contains(&name.as_str()) {
            let text = SpecText::new(folder().join("job.toml"), case.spec.clone());
            let (mut shown, problems) = check(text).unwrap();
            shown.path = PathBuf::from("job.toml");
            let page = problems.render(&shown, false);
            insta::with_settings!({ snapshot_path => "bad_specs/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(case.name.as_str(), page);
            });
        }
    }
}

#[test]
fn every_snapshot_has_its_case() {
    let names: Vec<String> = cases().iter().map(|case| format!("{}/{}", case.file, case.name)).collect();
    for name in SHOWN {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
}

#[test]
fn colour_is_never_needed() {
    let (text, problems) = check(job("sede = 7\n")).unwrap();
    let plain = problems.render(&text, false);
    let colored = problems.render(&text, true);
    assert!(!plain.contains('\u{1b}'), "{plain}");
    assert!(colored.contains('\u{1b}'), "{colored}");
}

/// Returns the right spec of the corpus with further lines at its top.
fn job(lines: &str) -> SpecText {
    let right: String = SHORT_FORMS[1..3].iter().map(|(_, long)| *long).collect();
    SpecText::new(folder().join("job.toml"), format!("name = \"job\"\n{lines}{right}"))
}

fn right(text: SpecText) -> Spec {
    match spec::parse(text, &[]) {
        Ok((spec, _)) => spec,
        Err(failure) => panic!("{}", failure.render(false)),
    }
}

fn messages(text: SpecText) -> Vec<String> {
    let found = check(text).map(|(text, problems)| problems.locate(&text)).unwrap_or_default();
    found.into_iter().map(|one| one.message).collect()
}

#[test]
fn a_resolved_spec_reads_back_as_itself() {
    let lines = "seed = 7\nplace = \"cpu\"\nthreads = 3\nmemory = \"2 GB\"\nalpha = 0.01\n";
    let mut text = job(lines);
    text.text.push_str("columns = [\"visits\", \"spend\"]\nexclude = \"revenue\"\n");
    text.text.push_str("[source.other]\npath = [\"prices.csv\"]\nwhere = 'label <> \"x\"'\nsample = 0.5\ndelimiter = \",\"\n");
    let once = right(text).to_toml();
    let again = right(SpecText::new(folder().join("job.toml"), once.clone()));
    assert_eq!(once, again.to_toml());
    assert_eq!((again.seed, again.threads, again.memory_bytes), (7, Some(3), Some(2_000_000_000)));
}

#[test]
fn what_shipped_specs_resolve_to_is_the_same_job() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs");
    let mut n_specs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let spec = right(SpecText::new(path.clone(), fs::read_to_string(&path).unwrap()));
        let resolved = || SpecText::new(path.clone(), spec.to_toml());
        assert_eq!(messages(resolved()), Vec::<String>::new(), "{}\n{}", path.display(), spec.to_toml());
        assert_eq!(right(resolved()).hash_input(), spec.hash_input(), "{}", path.display());
        n_specs += 1;
    }
    assert!(n_specs > 20);
}

#[test]
fn what_looks_like_a_reference_is_none_when_a_resolved_spec_is_read() {
    let text = job("").text.replacen("path = ", "where = \"channel <> '$${vars.x} $${'\"\npath = ", 1);
    let spec = right(SpecText::new(folder().join("job.toml"), text));
    let resolved = spec.to_toml();
    assert!(resolved.contains("'$${vars.x} $${'"), "{resolved}");
    let again = right(SpecText::new(folder().join("job.toml"), resolved));
    assert_eq!((again.to_toml(), again.hash_input()), (spec.to_toml(), spec.hash_input()));
    assert!(spec.hash_input().contains("'${vars.x} ${'"));
}

#[test]
fn what_changes_no_result_changes_no_hash() {
    let plain = right(job("")).hash_input();
    assert_eq!(plain, right(job("threads = 2\nmemory = \"1GiB\"\nalpha = 0.05\n# a comment\n")).hash_input());
    assert_ne!(plain, right(job("seed = 1\n")).hash_input());
    assert_ne!(plain, right(job("alpha = 0.01\n")).hash_input());
}

#[test]
fn json_and_toml_mean_the_same() {
    let json =
        r#"{"name": "job", "source": {"visits": {"path": "visits.csv"}}, "step": {"pairs": {"kind": "correlate", "from": "visits"}}}"#;
    let json = right(SpecText::new(folder().join("job.json"), json.to_owned()));
    assert_eq!(json.to_toml(), right(job("")).to_toml());
}

#[test]
fn steps_run_after_what_they_read() {
    let mut text = job("");
    text.text.push_str("needs = [\"late\"]\n[step.last]\nkind = \"correlate\"\nfrom = \"pairs\"\n");
    text.text.push_str("[step.late]\nkind = \"correlate\"\nfrom = \"visits\"\nexclude = [\"day\"]\n");
    let plan = plan::plan(&right(text), MEMORY_BYTES).map_err(|_| "no plan").unwrap();
    let order: Vec<&str> = plan.steps.iter().map(|step| step.spec.name.value.as_str()).collect();
    assert_eq!(order, ["late", "pairs", "last"]);
    assert_eq!(plan.steps[0].columns.as_ref().unwrap(), &["channel", "visits", "spend", "revenue"]);
    assert_eq!(plan.steps[2].input, Input::Table { step: "pairs".to_owned(), table: KINDS[0].tables()[0].name.to_owned() });
    assert!(plan.source_of(&plan.steps[0]).is_some() && plan.source_of(&plan.steps[2]).is_none());
}

#[test]
fn limits_hold() {
    let steps = |n: usize| {
        let step = |i| format!("[step.s{i}]\nkind = \"correlate\"\nfrom = \"visits\"\n");
        let mut text = job("");
        text.text.extend((1..n).map(step));
        text
    };
    assert_eq!(messages(steps(MAX_STEPS)), Vec::<String>::new());
    assert_eq!(messages(steps(MAX_STEPS + 1)), ["1001 steps, but a spec has at most 1000"]);
    for depth in [33, 1_000, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let toml = messages(job(&format!("seed = {open}{close}\n")));
        assert!(!toml.is_empty() && toml.len() < 5, "{toml:?}");
        let json = SpecText::new(folder().join("job.json"), format!("{{\"seed\": {open}{close}}}"));
        assert!(messages(json)[0].contains("nest deeper than 32"));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), " ".repeat(MAX_SPEC_BYTES + 1)).unwrap();
    let failure = spec::read(file.path(), &[]).unwrap_err();
    assert!(failure.render(false).contains("has 1048577 bytes, but a spec has at most 1048576"));
}

#[test]
fn files_that_are_no_text_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"name = \"job\"\nseed = \xff\n").unwrap();
    let failure = spec::read(file.path(), &[]).unwrap_err();
    let (text, problems) = failure.problems().unwrap();
    let found = problems.locate(text);
    assert_eq!((found[0].line, found[0].column, found[0].message.as_str()), (2, 8, "the text is not UTF-8"));
    let missing = spec::read(&folder().join("columns.text"), &[]).unwrap_err().render(false);
    assert!(missing.contains("is not there; did you mean") && missing.contains("columns.txt"), "{missing}");
}

#[test]
fn a_mark_at_the_start_and_windows_lines_are_read() {
    let text = job("seed = 7\n").text.replace('\n', "\r\n");
    let spec = right(SpecText::new(folder().join("job.toml"), format!("\u{feff}{text}")));
    assert_eq!(spec.seed, 7);
}

#[test]
fn a_hundred_steps_are_validated_in_a_tenth_of_a_second() {
    let mut text = job("");
    for i in 0..99 {
        text.text.push_str(&format!("[step.s{i}]\nkind = \"correlate\"\nfrom = \"visits\"\ncolumns = [\"visits\", \"spend\"]\n"));
    }
    // The best of a few: the machine may be busy with other things.
    let once = || {
        let start = Instant::now();
        assert_eq!(messages(text.clone()), Vec::<String>::new());
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..5).map(|_| once()).fold(f64::INFINITY, f64::min);
    println!("100 steps: {:.1} ms", seconds * 1e3);
    assert!(seconds < 0.1, "{seconds} s");
}

#[test]
fn every_key_is_documented_once() {
    let mut tables = vec![keys::TOP.to_vec(), keys::SOURCE.to_vec()];
    tables.extend(KINDS.iter().map(|kind| keys::STEP.iter().chain(kind.keys()).copied().collect()));
    for table in tables {
        let mut names: Vec<&str> = table.iter().map(|key| key.name).collect();
        assert!(table.iter().all(|key| !key.about.is_empty()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table.len());
    }
}

#[test]
fn every_default_is_a_value_that_its_key_takes() {
    let spec = right(job(""));
    for key in keys::STEP.iter().chain(KINDS[0].keys()).filter(|key| key.default.is_some()) {
        assert!(spec.steps[0].values.field(key.name).is_some(), "`{}`", key.name);
    }
    // The resolved text holds every default, and each must pass the parser.
    right(SpecText::new(folder().join("job.toml"), spec.to_toml()));
}

#[test]
fn the_schema_names_every_key() {
    let schema = spec::json_schema();
    for key in keys::TOP {
        assert!(schema["properties"][key.name]["description"].is_string(), "`{}`", key.name);
    }
    let step = &schema["properties"]["step"]["additionalProperties"]["oneOf"][0];
    assert_eq!(step["required"], serde_json::json!(["kind", "from"]));
    for key in KINDS[0].keys() {
        assert!(step["properties"][key.name]["description"].is_string(), "`{}`", key.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// No text makes the reader panic, and every place lies within the text.
    #[test]
    fn mangled_specs_are_told_places_in_their_text(case in 0usize..200, at in 0usize..400, cut in 0usize..6, put in "[ -~\n\u{e9}]{0,4}") {
        let mut text = cases()[case].spec.clone();
        let from = text.floor_char_boundary(at.min(text.len()));
        let to = text.floor_char_boundary((from + cut).min(text.len()));
        text.replace_range(from..to, &put);
        let n_lines = text.matches('\n').count() + 1;
        if let Err(SpecFailure::Wrong { text, problems }) = spec::parse(SpecText::new(folder().join("job.toml"), text), &[]) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.locate(&text).iter().all(|one| (one.line <= n_lines || !one.file.ends_with("job.toml")) && !one.message.is_empty() && !one.help.is_empty()));
            prop_assert!(problems.render(&text, false).contains("nothing was run"));
        }
    }
}

fn yaml(text: &str) -> SpecText {
    SpecText::new(folder().join("job.yaml"), text)
}

#[test]
fn a_spec_in_yaml_is_the_spec_in_toml() {
    let toml = right(job("seed = 0x1f\nalpha = 0.01\n"));
    let text = "# a comment\nname: job\nseed: 0x1f\nalpha: 1.0e-2\nsource:\n  visits:\n    path: [visits.csv]\nstep:\n  pairs: {kind: correlate, from: 'visits'}\n";
    assert_eq!(right(yaml(text)).to_toml(), toml.to_toml());
    let checked = format!("{text}check:\n  - on: visits\n    min_rows: 3\n    holds: \"visits > 0\"\nvars:\n  shop: it\n");
    assert_eq!(right(yaml(&checked)).steps.len(), 2);
}

#[test]
fn mistakes_in_yaml_are_told_their_place() {
    let rest = "source:\n  visits:\n    path: visits.csv\nstep:\n  pairs:\n    kind: correlate\n    from: visits\n";
    for (head, place, words) in [
        ("name: job\nsed: 3\n", (2, 1), ["unknown key `sed`", "did you mean `seed`?"]),
        ("name: job\nalpha: no\n", (2, 8), ["`alpha` takes a number, not a text", "alpha: 0.05"]),
        ("name: job\nplace: [cpu]\n", (2, 8), ["`place` takes one of a few words", "place: \"cpu\""]),
        ("name: job\nname: other\n", (2, 1), ["key `name` stands twice", "remove one"]),
        ("name: &a job\nseed: *a\n", (2, 7), ["an alias `*`", "vars"]),
        ("name: !x job\n", (1, 10), ["a tag `!`", "value alone"]),
        ("name: job\n<<: {seed: 1}\n", (2, 1), ["a merge key", "extends"]),
        ("name: job\nseed: [1, 2\n", (3, 7), ["no YAML", "indentation"]),
        ("- name: job\n", (1, 1), ["one mapping", "name: JOB"]),
        ("name: job\nseed:\n", (2, 1), ["`seed` takes a whole number, not `null`", "remove the line"]),
    ] {
        let text = if head.starts_with('-') { head.to_owned() } else { format!("{head}{rest}") };
        let (text, problems) = check(yaml(&text)).unwrap_or_else(|| panic!("{head} is right"));
        let found = problems.locate(&text);
        let first = &found[0];
        assert!(
            (first.line, first.column) == place && first.message.contains(words[0]) && first.help.contains(words[1]),
            "{head}: {found:?}"
        );
    }
}

#[test]
fn deep_and_wide_yaml_ends_soon() {
    let deep = format!("a: {}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(check(yaml(&deep)).is_some());
    let laughs = (0..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, at| format!("{text}a{}: &a{} [*a{at}, *a{at}]\n", at + 1, at + 1));
    assert!(check(yaml(&laughs)).is_some());
}
