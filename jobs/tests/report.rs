//! The report of a run folder: fabricated folders in, one HTML file out.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use gristmill::JobError;
use gristmill::manifest::{InputRecord, LeftOut, MANIFEST_VERSION, Manifest, OutputRecord, State, StepRecord};
use gristmill::report;
use parquet::arrow::ArrowWriter;

/// A pair of the fabricated table.
#[derive(Clone)]
struct Pair {
    x: String,
    y: String,
    r: Option<f64>,
    verdict: &'static str,
}

fn pair(x: &str, y: &str, r: Option<f64>) -> Pair {
    let verdict = match r {
        Some(r) if r.abs() >= 0.1 => "survives",
        Some(_) => "not_significant",
        None => "too_few",
    };
    Pair { x: x.to_owned(), y: y.to_owned(), r, verdict }
}

/// Returns all pairs of columns with correlations that wander over the whole range.
fn all_pairs(columns: &[String]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, x) in columns.iter().enumerate() {
        for (j, y) in columns.iter().enumerate().skip(i + 1) {
            let wave = ((i * 37 + j * 101) % 199) as f64 / 100.0 - 0.99;
            pairs.push(pair(x, y, (!(i + j).is_multiple_of(23)).then_some(wave * wave * wave)));
        }
    }
    pairs
}

fn names(p: usize) -> Vec<String> {
    (0..p).map(|at| format!("column_{at:03}")).collect()
}

fn write_table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn write_pairs(dir: &Path, step: &str, pairs: &[Pair]) {
    let number = |of: &dyn Fn(f64) -> f64| -> ArrayRef { Arc::new(pairs.iter().map(|pair| pair.r.map(of)).collect::<Float64Array>()) };
    let none: ArrayRef = Arc::new(Float64Array::new_null(pairs.len()));
    write_table(
        &dir.join(step).join("pairs.parquet"),
        vec![
            ("x", text(pairs.iter().map(|pair| pair.x.as_str()))),
            ("y", text(pairs.iter().map(|pair| pair.y.as_str()))),
            ("group", Arc::new(StringArray::new_null(pairs.len()))),
            ("lag", Arc::new(Int64Array::new_null(pairs.len()))),
            ("method", text(pairs.iter().map(|_| "pearson"))),
            ("r", number(&|r| r)),
            ("n", Arc::new(UInt64Array::from_iter_values(pairs.iter().map(|_| 12_330)))),
            ("effective_n", none.clone()),
            ("lo", number(&|r| r - 0.02)),
            ("hi", number(&|r| r + 0.02)),
            ("p", number(&|r| if r.abs() > 0.9 { 0.0 } else { (-30.0 * r.abs()).exp() })),
            ("p_perm", none.clone()),
            ("q", number(&|r| if r.abs() > 0.9 { 0.0 } else { (-25.0 * r.abs()).exp() })),
            ("n_minor", Arc::new(UInt64Array::new_null(pairs.len()))),
            ("leverage_max", none),
            ("settled", Arc::new(pairs.iter().map(|pair| Some(pair.verdict == "survives")).collect::<BooleanArray>())),
            ("verdict", text(pairs.iter().map(|pair| pair.verdict))),
        ],
    );
}

fn write_columns(dir: &Path, step: &str, columns: &[String]) {
    let some = |v: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![v; columns.len()])) };
    let count = |of: &dyn Fn(usize) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values((0..columns.len()).map(of))) };
    write_table(
        &dir.join(step).join("columns.parquet"),
        vec![
            ("column", text(columns.iter().map(String::as_str))),
            ("data_type", text(columns.iter().map(|_| "double"))),
            ("used", Arc::new(BooleanArray::from(vec![true; columns.len()]))),
            ("reason", Arc::new(StringArray::new_null(columns.len()))),
            ("n", count(&|at| 12_330 - at as u64)),
            ("nulls", count(&|at| at as u64)),
            ("mean", some(80.818_611)),
            ("sd", some(176.779_107)),
            ("min", some(0.0)),
            ("max", some(63_973.5)),
            ("constant", Arc::new((0..columns.len()).map(|at| Some(at == 1)).collect::<BooleanArray>())),
        ],
    );
}

fn write_findings(dir: &Path, step: &str, pairs: &[Pair]) -> u64 {
    let found: Vec<&Pair> = pairs.iter().filter(|pair| pair.verdict == "survives").collect();
    let owned = |of: &dyn Fn(&Pair) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(found.iter().map(|pair| of(pair)))) };
    let number = |of: &dyn Fn(f64) -> f64| -> ArrayRef { Arc::new(found.iter().map(|pair| pair.r.map(of)).collect::<Float64Array>()) };
    write_table(
        &dir.join("findings.parquet"),
        vec![
            ("finding_id", owned(&|_| "0123456789abcdef".to_owned())),
            ("step", owned(&|_| step.to_owned())),
            ("subject", owned(&|pair| format!("{} ~ {}", pair.x, pair.y))),
            ("filter", owned(&|pair| format!("\"{}\" is not null and \"{}\" is not null", pair.x, pair.y))),
            ("effect", number(&|r| r)),
            ("effect_unit", owned(&|_| "r".to_owned())),
            ("lo", number(&|r| r - 0.02)),
            ("hi", number(&|r| r + 0.02)),
            ("n", Arc::new(UInt64Array::from_iter_values(found.iter().map(|_| 12_330)))),
            ("p", number(&|_| 0.0)),
            ("q", number(&|_| 0.0)),
            ("q_method", owned(&|_| format!("BH over {} pairs", pairs.len()))),
            ("evidence", owned(&|_| "association".to_owned())),
            ("fragile", Arc::new(BooleanArray::new_null(found.len()))),
            ("confirmed_out_of_time", Arc::new(BooleanArray::new_null(found.len()))),
            ("sentence", owned(&|pair| format!("`{}` and `{}` rise together over 12,330 rows", pair.x, pair.y))),
        ],
    );
    found.len() as u64
}

fn step(name: &str, n_columns: u64, family: u64, n_findings: u64) -> StepRecord {
    StepRecord {
        name: name.to_owned(),
        kind: "correlate".to_owned(),
        state: State::Done,
        place: Some("cpu".to_owned()),
        adapter: None,
        place_reason: Some("2 ms of work, a GPU takes 180 ms to start".to_owned()),
        fell_back: Vec::new(),
        n_rows: 12_330,
        n_columns,
        family: Some(family),
        n_findings,
        compute_seconds: 0.081,
        write_seconds: 0.012,
        notes: Vec::new(),
        left_out: Vec::new(),
    }
}

fn manifest(job: &str, steps: Vec<StepRecord>) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        gristmill: "0.1.0".to_owned(),
        job: job.to_owned(),
        run_id: "41d0c2aa".repeat(8),
        spec_hash: "77ab19f0".repeat(8),
        state: State::Done,
        exit_code: Some(0),
        error: None,
        started: "2026-11-23T15:09:40.120Z".to_owned(),
        finished: Some("2026-11-23T15:09:40.512Z".to_owned()),
        seed: 7,
        alpha: 0.05,
        place: "auto".to_owned(),
        threads: 2,
        memory_bytes: 4 << 30,
        inputs: vec![InputRecord {
            source: "sessions".to_owned(),
            path: "samples/online_shoppers_intention.csv.gz".to_owned(),
            bytes: 258_117,
            blake3: "9f2c4be1".repeat(8),
            rows: Some(12_330),
        }],
        n_findings: steps.iter().map(|step| step.n_findings).sum(),
        steps,
        outputs: vec![OutputRecord { path: "findings.parquet".to_owned(), bytes: 7_211, blake3: "9f2c4be1".repeat(8), rows: 1 }],
        hash_seconds: 0.001,
    }
}

fn save_manifest(dir: &Path, manifest: &Manifest) {
    fs::write(dir.join("manifest.json"), serde_json::to_vec_pretty(manifest).unwrap()).unwrap();
}

/// Fabricates a run of one step and returns its manifest, which is not yet saved.
fn run_of(dir: &Path, job: &str, columns: &[String], pairs: &[Pair]) -> Manifest {
    write_pairs(dir, "links", pairs);
    write_columns(dir, "links", columns);
    let n_findings = write_findings(dir, "links", pairs);
    fs::write(dir.join("spec.toml"), format!("name = \"{job}\"\n\n[step.links]\nkind = \"correlate\"\nmin_effect = 0.1\n")).unwrap();
    let family = pairs.iter().filter(|pair| pair.r.is_some()).count() as u64;
    manifest(job, vec![step("links", columns.len() as u64, family, n_findings)])
}

/// Saves the manifest, writes the report, checks what holds for every report and returns it.
fn report_of(dir: &Path, manifest: &Manifest) -> String {
    save_manifest(dir, manifest);
    report::write(dir).unwrap();
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(page.len() <= report::MAX_BYTES, "{} bytes", page.len());
    assert_eq!(check(&page), Ok(()));
    assert_eq!(
        fs::read_dir(dir).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp")).count(),
        0
    );
    page
}

/// Checks that the page is well formed, loads nothing and can run nothing.
fn check(page: &str) -> Result<(), String> {
    if !page.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:") {
        return Err("no content policy".to_owned());
    }
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        if let Some(bad) = rest[..at].chars().find(|c| *c == '>' || (c.is_control() && *c != '\n')) {
            // A style sheet may use `>`.
            if open.last() != Some(&"style") {
                return Err(format!("{bad:?} in the text {:?}", &rest[..at]));
            }
        }
        let tag_end = end_of_tag(&rest[at..]).ok_or_else(|| format!("unfinished tag at {:?}", head(&rest[at..])))?;
        let tag = &rest[at + 1..at + tag_end];
        rest = &rest[at + tag_end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("`</{name}>` closes nothing, before {:?}", head(rest)));
            }
        } else if !tag.starts_with('!') {
            check_tag(tag)?;
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            if !tag.ends_with('/') && name != "meta" {
                open.push(name);
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

/// Returns the place of the `>` that ends the tag at the start of `text`, passing over quoted values.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '>' && !quoted).then_some(at)
    })
}

const TAGS: &[&str] = &[
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "section",
    "aside",
    "footer",
    "div",
    "p",
    "h1",
    "h2",
    "h3",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "details",
    "summary",
    "pre",
    "code",
    "span",
    "strong",
    "em",
    "bdi",
    "svg",
    "defs",
    "pattern",
    "g",
    "rect",
    "path",
    "circle",
    "text",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "title",
    "role",
    "tabindex",
    "aria-label",
    "aria-labelledby",
    "aria-hidden",
    "viewBox",
    "width",
    "height",
    "x",
    "y",
    "cx",
    "cy",
    "r",
    "d",
    "fill",
    "transform",
    "stroke-width",
    "patternUnits",
    "patternTransform",
];

/// Refuses a tag or an attribute that the templates do not use: none of them runs or loads anything.
fn check_tag(tag: &str) -> Result<(), String> {
    let (name, mut rest) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
    if !TAGS.contains(&name) {
        return Err(format!("tag `{name}` in {:?}", head(tag)));
    }
    while !rest.trim().is_empty() {
        let (key, value) = rest.trim_start().split_once("=\"").ok_or_else(|| format!("attribute without quotes in {:?}", head(tag)))?;
        let (value, after) = value.split_once('"').ok_or_else(|| format!("unfinished value in {:?}", head(tag)))?;
        if !ATTRIBUTES.contains(&key) || value.contains('<') {
            return Err(format!("attribute `{key}` = {value:?}"));
        }
        if key == "fill" && value != "url(#hatch)" {
            return Err(format!("fill {value:?}"));
        }
        rest = after;
    }
    Ok(())
}

fn head(text: &str) -> String {
    text.chars().take(80).collect()
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let policy = "<meta content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">";
    assert_eq!(check(&format!("{policy}<p class=\"a > b\">x</p>")), Ok(()));
    for bad in [
        "<p>",
        "</p>",
        "<p><em></p></em>",
        "<script>1</script>",
        "<p onclick=\"x\"></p>",
        "<p class=x></p>",
        "a > b<p></p>",
        "<p",
        "\u{1b}<p></p>",
    ] {
        assert!(check(&format!("{policy}{bad}")).is_err(), "{bad}");
    }
    assert!(check("<p></p>").is_err());
}

#[test]
fn findings_come_first_with_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(10);
    let mut pairs = all_pairs(&columns);
    pairs[0] = pair(&columns[0], &columns[1], Some(0.913_004));
    let manifest = run_of(dir.path(), "spring-campaign", &columns, &pairs);
    let page = report_of(dir.path(), &manifest);

    let (family, n_findings) = (manifest.steps[0].family.unwrap(), manifest.steps[0].n_findings);
    assert!(page.contains("<h1><bdi>spring-campaign</bdi></h1>"));
    assert!(page.contains(&format!(
        "{family} pairs of 10 columns were tested on 12,330 rows. {n_findings} findings survive at alpha 0.05 and |r| \u{2265} 0.1."
    )));
    let order = ["What was found", "How the columns move together", "Everything that was tested", "What went in", "How it was run"];
    let places: Vec<usize> = order.iter().map(|heading| page.find(&format!("{heading}</h2>")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    for part in [
        "<em><bdi>column_000</bdi></em> and <em><bdi>column_001</bdi></em> rise together",
        "r 0.893 to 0.933",
        "&#60; 1e-300",
        "BH over 45 pairs",
        "&#34;column_000&#34; is not null and &#34;column_001&#34; is not null",
        "Rows are taken as independent",
        "A finding is an association",
        "Intervals are at 95 %",
        ": r 0.913, n 12,330, survives</title>",
        "<bdi>column_001</bdi>: one value throughout",
        "2 ms of work, a GPU takes 180 ms to start",
        "9f2c4be19f2c",
        "252.1 KiB",
        "gristmill run spec.toml",
        "min_effect = 0.1",
    ] {
        assert!(page.contains(part), "`{part}` is not in the report");
    }
    assert_eq!(page.matches("</title></rect>").count(), 45, "one cell for each pair");
}

#[test]
fn nothing_found_is_said_as_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(4);
    let pairs: Vec<Pair> = all_pairs(&columns).into_iter().map(|each| pair(&each.x, &each.y, Some(0.01))).collect();
    let page = report_of(dir.path(), &run_of(dir.path(), "noise", &columns, &pairs));
    assert!(page.contains("Nothing survives at alpha 0.05 and |r| \u{2265} 0.1."));
    assert!(page.contains("Nothing survives. That is an answer"));
    assert!(!page.contains("class=\"findings\"") && !page.contains("too weak"));
}

#[test]
fn a_pair_that_is_sure_but_small_is_called_too_weak() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(3);
    let mut pairs = all_pairs(&columns);
    pairs[0] = Pair { verdict: "not_significant", ..pair("column_000", "column_001", Some(0.95)) };
    let page = report_of(dir.path(), &run_of(dir.path(), "small", &columns, &pairs));
    assert!(page.contains("too weak") && page.contains("sure, but smaller than the minimum effect"));
}

#[test]
fn two_hundred_columns_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(200);
    let pairs = all_pairs(&columns);
    assert_eq!(pairs.len(), 19_900);
    let page = report_of(dir.path(), &run_of(dir.path(), "plant", &columns, &pairs));
    assert!(page.contains("60 of 200 columns are drawn"));
    assert_eq!(page.matches("</title></rect>").count(), 60 * 59 / 2);
    assert!(page.contains("The 50 strongest of 19,900 pairs"));
    assert!(page.contains("more findings in findings.parquet."));
    assert!(!page.contains("Shortened"));
}

#[test]
fn seven_columns_take_less_than_a_hundred_kilobytes() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(7);
    let page = report_of(dir.path(), &run_of(dir.path(), "seven", &columns, &all_pairs(&columns)));
    assert!(page.len() <= 100_000, "{} bytes", page.len());
}

/// Names that a hostile file could carry.
fn hostile() -> Vec<String> {
    let long = "x".repeat(100_000);
    let quotes = "\"'<&>".repeat(30);
    let zalgo = "a\u{301}\u{302}\u{303}\u{304}".repeat(50);
    [
        "<script>alert(1)</script>",
        "</title><script>alert(1)</script>",
        "</style><script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "javascript:alert(1)",
        "<svg onload=alert(1)>",
        "</svg><p>",
        "</pre></code>",
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[x",
        "&lt;b&gt;",
        "&#0;",
        "{{ title }}",
        "{% include \"report.css\" %}",
        "\u{202e}desrever",
        "\u{2066}isolate\u{2069}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{5e2}\u{5d5}\u{5dc}\u{5dd}",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{0}nul",
        "a\nb\tc\r",
        "\u{200b}\u{feff}",
        "",
        "   ",
        "\u{1f600}\u{1f468}\u{200d}\u{1f469}",
        "x ~ y ~ z",
        "`tick",
        "\u{e0041}tag\u{ffff}",
        &long,
        &quotes,
        &zalgo,
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

#[test]
fn hostile_names_are_shown_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let columns = hostile();
    assert!(columns.len() >= 30);
    let mut manifest = run_of(dir.path(), "</title><script>alert(1)</script>", &columns, &all_pairs(&columns));
    let all = columns.join("\n");
    fs::write(dir.path().join("spec.toml"), &all).unwrap();
    manifest.gristmill.clone_from(&columns[3]);
    manifest.inputs = columns
        .iter()
        .map(|name| InputRecord { source: name.clone(), path: name.clone(), bytes: 1, blake3: name.clone(), rows: None })
        .collect();
    manifest.outputs = columns.iter().map(|name| OutputRecord { path: name.clone(), bytes: 1, blake3: name.clone(), rows: 1 }).collect();
    let record = &mut manifest.steps[0];
    record.left_out = columns.iter().map(|name| LeftOut { column: name.clone(), data_type: name.clone(), reason: name.clone() }).collect();
    record.notes.clone_from(&columns);
    record.fell_back.clone_from(&columns);
    record.adapter = Some(all.clone());
    record.place_reason = Some(all);
    let page = report_of(dir.path(), &manifest);
    assert!(!page.contains("<script") && !page.contains("<img"), "the checker allows neither");
    assert!(page.contains("&#60;script&#62;alert(1)"));
    assert!(page.contains("\\u{202e}desrever") && page.contains("\\u{1b}[31mred"));
    assert!(!page.contains(['\u{202e}', '\u{1b}', '\u{0}', '\u{2066}', '\u{feff}', '\u{200b}', '\u{ffff}']));
    assert!(page.contains("\u{5e9}\u{5dc}\u{5d5}\u{5dd}"), "names in other scripts are shown as they are");
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("src=\""));
}

#[test]
fn a_step_name_cannot_lead_out_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("run");
    fs::create_dir(&inner).unwrap();
    let columns = names(3);
    write_pairs(dir.path(), "outside", &all_pairs(&columns));
    let mut record = step("../outside", 3, 3, 0);
    record.family = None;
    let page = report_of(&inner, &manifest("escape", vec![record]));
    assert!(!page.contains("column_000"));
}

#[test]
fn fall_backs_notes_and_columns_left_out_are_on_the_first_screen() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(5);
    let mut manifest = run_of(dir.path(), "bank", &columns, &all_pairs(&columns));
    let record = &mut manifest.steps[0];
    record.adapter = Some("NVIDIA H200".to_owned());
    record.place = Some("gpu".to_owned());
    record.fell_back = vec!["block 3 of 5: device lost".to_owned()];
    record.notes = vec!["`duration` is known only after the call".to_owned()];
    let left =
        |column: &str| LeftOut { column: column.to_owned(), data_type: "text".to_owned(), reason: "text is not correlated".to_owned() };
    record.left_out = vec![left("Month"), left("VisitorType")];
    let page = report_of(dir.path(), &manifest);
    let alerts = &page[page.find("class=\"alerts\"").unwrap()..page.find("How the columns move together</h2>").unwrap()];
    assert!(alerts.contains("<strong>Fell back</strong> block 3 of 5: device lost"));
    assert!(alerts.contains("<strong>Left out</strong> <bdi>Month</bdi>, <bdi>VisitorType</bdi> (text): text is not correlated"));
    assert!(alerts.contains("<em><bdi>duration</bdi></em> is known only after the call"));
    assert!(alerts.contains("within 1e-6"), "rows that are not settled are declared");
    assert!(page.contains("gpu: NVIDIA H200"));
}

#[test]
fn a_target_has_a_ranking_instead_of_a_map() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(6);
    let pairs: Vec<Pair> = columns.iter().enumerate().map(|(at, x)| pair(x, "spend", Some(0.15 * (at + 1) as f64))).collect();
    let page = report_of(dir.path(), &run_of(dir.path(), "drivers", &columns, &pairs));
    assert!(!page.contains("How the columns move together"));
    assert!(page.contains("all of them with the target <em><bdi>spend</bdi></em>"));
}

#[test]
fn a_failed_run_says_so_and_shows_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = manifest("broken", vec![step("links", 0, 0, 0)]);
    manifest.state = State::Failed;
    manifest.error = Some("source `calls`: line 3001 has 20 fields, the header 21".to_owned());
    manifest.finished = None;
    manifest.steps[0].state = State::Failed;
    let page = report_of(dir.path(), &manifest);
    assert!(page.contains("This run failed.") && page.contains("line 3001 has 20 fields"));
    assert!(page.contains("No findings: the run did not come to its end.") && !page.contains("That is an answer"));

    manifest.state = State::Interrupted;
    assert!(report_of(dir.path(), &manifest).contains("This run was stopped."));
    manifest.state = State::Running;
    assert!(report_of(dir.path(), &manifest).contains("This run has not finished."));
    // Written just before the manifest says `done`: all steps are, so there is nothing to warn of.
    manifest.error = None;
    manifest.steps[0].state = State::Done;
    assert!(!report_of(dir.path(), &manifest).contains("This run has not finished."));
}

#[test]
fn a_job_of_many_steps_is_cut_to_size() {
    let dir = tempfile::tempdir().unwrap();
    let columns: Vec<String> = (0..60).map(|at| format!("{}{at}", "\"<&>".repeat(30))).collect();
    let pairs = all_pairs(&columns);
    let mut steps = Vec::new();
    for at in 0..30 {
        let name = format!("step_{at}");
        write_pairs(dir.path(), &name, &pairs);
        write_columns(dir.path(), &name, &columns);
        steps.push(StepRecord { notes: vec!["n".repeat(5_000); 50], ..step(&name, 60, 1_770, 0) });
    }
    write_findings(dir.path(), "step_3", &pairs);
    let page = report_of(dir.path(), &manifest("huge", steps));
    assert!(page.contains("Shortened") && page.contains("more steps are not shown here"));
}

#[test]
fn the_same_data_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(12);
    let manifest = run_of(dir.path(), "twice", &columns, &all_pairs(&columns));
    let first = report_of(dir.path(), &manifest);
    assert_eq!(first, report_of(dir.path(), &manifest));
    let data = report::ReportData::read(dir.path()).unwrap();
    assert_eq!(first, report::render(&data));
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = report::write(dir.path()).unwrap_err();
    assert!(matches!(error, JobError::RunDir { .. }) && error.to_string().contains("no `manifest.json`"), "{error}");
    fs::write(dir.path().join("manifest.json"), "{}").unwrap();
    assert!(matches!(report::write(dir.path()).unwrap_err(), JobError::RunDir { .. }));
}

#[test]
fn a_table_that_cannot_be_read_is_an_error_not_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(4);
    let manifest = run_of(dir.path(), "torn", &columns, &all_pairs(&columns));
    save_manifest(dir.path(), &manifest);
    let path = dir.path().join("links/pairs.parquet");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = report::write(dir.path()).unwrap_err();
    assert!(matches!(&error, JobError::Data { step, message } if step == "links" && message.contains("pairs.parquet")), "{error}");
    assert!(!dir.path().join("report.html").exists());
}
