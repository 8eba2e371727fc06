//! The report of a run folder: fabricated folders in, one HTML file out.

#![allow(clippy::unwrap_used, reason = "tests")]

mod check;
mod run_folder;

use std::fs;
use std::path::Path;

use check::check;
use gristmill::JobError;
use gristmill::manifest::{InputRecord, LeftOut, Manifest, OutputRecord, State, StepRecord};
use gristmill::report;
use run_folder::{Pair, all_pairs, manifest, names, pair, run_of, save_manifest, step, write_columns, write_findings, write_pairs};

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
        "Intervals are at 95\u{a0}%",
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
    pairs[0] = Pair { verdict: "survives", ..pair("column_000", "column_001", Some(0.09)) };
    pairs[1] = pair("column_000", "column_002", Some(0.5));
    pairs[2] = pair("column_001", "column_002", Some(0.01));
    let page = report_of(dir.path(), &run_of(dir.path(), "small", &columns, &pairs));
    assert!(page.contains(": r 0.090, n 12,330</title>"), "no mark in the map");
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

#[test]
fn a_table_that_keeps_only_the_best_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let columns = names(5);
    let mut manifest = run_of(dir.path(), "wide", &columns, &all_pairs(&columns));
    manifest.steps[0].n_columns = 5_000;
    manifest.steps[0].family = Some(12_497_500);
    let page = report_of(dir.path(), &manifest);
    assert!(page.contains("12,497,500 pairs of 5,000 columns were tested"));
    assert!(page.contains("the table keeps the best 10, and what follows counts those"));
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
    assert!(alerts.contains("<strong>Fell back</strong> Block 3 of 5: device lost"));
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
