//! `kind = "score"` and `kind = "compare"` from the command line: a kept model labels rows as it labelled its own, drift is what others
//! compute, and what moved is what the tables of both sides say.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Schema, UInt32Type, UInt64Type};
use common::{Job, Run, repository};
use parquet::arrow::ArrowWriter;

fn shipped(name: &str) -> String {
    let text = fs::read_to_string(repository("jobs/specs").join(name)).unwrap();
    text.replace("../../datasets", repository("datasets").to_str().unwrap())
}

fn number(table: &RecordBatch, name: &str, row: usize) -> f64 {
    table.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(row)
}

fn count(table: &RecordBatch, name: &str, row: usize) -> u64 {
    table.column_by_name(name).unwrap().as_primitive::<UInt64Type>().value(row)
}

fn text(table: &RecordBatch, name: &str, row: usize) -> String {
    table.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned()
}

fn segments(table: &RecordBatch, name: &str) -> Vec<Option<u32>> {
    table.column_by_name(name).unwrap().as_primitive::<UInt32Type>().iter().collect()
}

/// A spec that labels the rows of a model's own source.
fn again(method: &str, rows: &str) -> String {
    format!(
        "name = \"again\"\nseed = 3\n[source.rows]\npath = \"{rows}\"\n[step.makes]\nkind = \"cluster\"\nfrom = \"rows\"\nid = \"id\"\n\
         bootstrap = 0\nscale = \"none\"\ncolumns = [\"x\", \"y\"]\n{method}\n[step.labels]\nkind = \"score\"\nfrom = \"rows\"\nid = \"id\"\nmodel = \"makes\"\n"
    )
}

/// Rows in three heaps, each with a name of its own; every thousandth lacks a cell.
fn heaps(n: usize) -> String {
    let mut state = 5_u64;
    let mut cells = String::from("id,x,y\n");
    for row in 0..n {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (0..6).map(|bits| (state >> (10 * bits)) & 1023).sum::<u64>()
        };
        let (x, y) = (next() + 9000 * (row as u64 % 3), next());
        let y = if row % 1000 == 7 { String::new() } else { y.to_string() };
        let _ = writeln!(cells, "r{},{x},{y}", row * 7);
    }
    cells
}

#[test]
fn drift_is_what_others_compute() {
    let job = Job::new();
    let run = job.run(&shipped("score.toml"), "season");
    let (drift, segments) = (run.table_of("labels", "drift"), run.table_of("labels", "segments"));
    // numpy 2 and scipy 1.17.1: bins by np.sort and np.searchsorted, half a row added to each, chi2_contingency, jensenshannon.
    for (row, psi) in [0.056_181_808_293_499_766, 0.018_772_049_440_360_57, 0.112_931_613_011_305_33, 0.068_019_840_565_237_83]
        .into_iter()
        .chain([0.078_636_458_938_41, 0.019_413_136_784_812_414])
        .enumerate()
    {
        assert!((number(&drift, "psi", row) - psi).abs() < 1e-14, "{row}: {}", number(&drift, "psi", row));
        assert_eq!(text(&drift, "verdict", row), if row == 2 { "shifted" } else { "stable" });
    }
    assert!((number(&drift, "js", 2) - 0.141_753).abs() < 1e-6 && (number(&drift, "ks", 2) - 0.133_382).abs() < 1e-6);
    assert!((number(&drift, "p", 2) / 1.833_9e-62 - 1.0).abs() < 1e-4);
    // The last row is that of the segments, which the other table counts.
    let (then, now): (Vec<f64>, Vec<f64>) =
        (0..2).map(|at| (count(&segments, "n_model", at) as f64, count(&segments, "n", at) as f64)).unzip();
    let share = |side: &[f64], at: usize| (side[at] + 0.5) / (side.iter().sum::<f64>() + 1.0);
    let psi: f64 = (0..2).map(|at| (share(&now, at) - share(&then, at)) * (share(&now, at) / share(&then, at)).ln()).sum();
    assert!((number(&drift, "psi", 6) - psi).abs() < 1e-14);
    let found = run.findings();
    let last = found.num_rows() - 1;
    assert!(text(&found, "sentence", last).starts_with("`ProductRelated` has shifted: population stability index 0.11"));
}

#[test]
fn a_model_labels_its_own_rows_as_they_were_over_many_batches() {
    let job = Job::new();
    // More rows than a batch of assignments and a model of rows hold.
    job.write("heaps.csv", heaps(140_000));
    for method in ["method = \"kmeans\"\nk = 3", "method = \"mixture\"\nk = 3"] {
        let run = job.run(&again(method, "heaps.csv"), &format!("again{}", method.len()));
        let (made, labels) = (run.table_of("makes", "assignments"), run.table_of("labels", "assignments"));
        assert_eq!(made, labels, "{method}");
        let segment = segments(&labels, "segment");
        assert_eq!((segment.len(), segment.iter().filter(|segment| segment.is_none()).count()), (140_000, 0));
        let missing = labels.column_by_name("n_missing").unwrap().as_primitive::<UInt32Type>();
        assert_eq!(missing.values().iter().filter(|n| **n == 1).count(), 140);
        // Every row keeps its name, and heaps are segments.
        let id = labels.column_by_name("id").unwrap().as_string::<i32>();
        assert!((0..140_000).all(|row| id.value(row) == format!("r{}", row * 7)));
        assert!((0..140_000).all(|row| missing.value(row) == 1 || segment[row] == segment[row % 3]), "{method}");
        let drift = run.table_of("labels", "drift");
        assert!((0..3).all(|row| number(&drift, "psi", row) == 0.0 && text(&drift, "verdict", row) == "stable"));
    }
}

#[test]
fn places_and_threads_change_no_byte_of_scores() {
    let job = Job::new();
    let tables = |head: &str, out: &str| -> Vec<Vec<u8>> {
        let run = job.run(&format!("{head}\n{}", shipped("score.toml")), out);
        ["assignments", "drift", "segments", "verdict"].map(|name| run.bytes(&format!("labels/{name}.parquet"))).to_vec()
    };
    let one = tables("place = \"cpu\"\nthreads = 1", "one");
    assert!(one == tables("place = \"cpu\"\nthreads = 3\nmemory = \"512MiB\"", "three"));
    match job.try_run(&format!("place = \"software\"\n{}", shipped("score.toml")), "probe") {
        Ok(run) => {
            assert_eq!(run.manifest()["steps"][1]["place"].as_str(), Some("software"));
            assert!(one == tables("place = \"software\"", "software"));
        }
        Err(error) => common::say(&format!("no adapter: {error}")),
    }
}

/// A model in a file of its own, and a spec that names it.
fn kept(job: &Job) -> (Run, String) {
    job.write("heaps.csv", heaps(3000));
    let run = job.run(&again("method = \"kmeans\"\nk = 3", "heaps.csv"), "kept");
    let spec = "name = \"nightly\"\n[source.rows]\npath = \"heaps.csv\"\n[step.labels]\nkind = \"score\"\nfrom = \"rows\"\nid = \"id\"\n\
                model = \"kept/makes/model.parquet\"\n";
    (run, spec.to_owned())
}

#[test]
fn a_model_is_a_file_that_decides_what_a_run_is() {
    let job = Job::new();
    let (run, spec) = kept(&job);
    let first = job.run(&spec, "first");
    assert_eq!(first.bytes("labels/assignments.parquet"), run.bytes("labels/assignments.parquet"));
    let inputs = first.manifest()["inputs"].to_string();
    assert!(inputs.contains("labels.model") && inputs.contains("kept/makes/model.parquet"), "{inputs}");
    // The same folder goes on with the same model, and refuses another.
    job.run(&spec, "first");
    let other = job.run(&again("method = \"kmeans\"\nk = 2", "heaps.csv"), "other");
    fs::write(job.path("kept/makes/model.parquet"), other.bytes("makes/model.parquet")).unwrap();
    let refused = job.try_run(&spec, "first").err().unwrap();
    assert!(refused.contains("exit status: 2") && refused.contains("other inputs"), "{refused}");
}

#[test]
fn a_wrong_model_is_named_with_what_to_do() {
    let job = Job::new();
    let (run, spec) = kept(&job);
    let refused = |spec: &str, code: &str, words: &[&str]| {
        let error = job.try_run(spec, "refused").err().unwrap();
        assert!(error.contains(&format!("exit status: {code}")), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} are not all in: {error}");
        let _gone = fs::remove_dir_all(job.path("refused"));
    };
    refused(&spec.replace("model.parquet", "modle.parquet"), "2", &["no file", "did you mean `kept/makes/model.parquet`?"]);
    refused(&spec.replace("kept/makes/model.parquet", "nobody"), "2", &["no source or step is called `nobody`"]);
    refused(&spec.replace("model = \"kept/makes/model.parquet\"\n", ""), "2", &["step `labels` has no `model`", "add"]);
    refused(&spec.replace("makes/model", "makes/segments"), "3", &["is no model", "the table `model` of a step"]);
    refused(&spec.replace("heaps.csv\"", "heaps.csv\"\nrename = [\"x as xx\"]"), "2", &["column `x` of the model is not in `rows`", "xx"]);
    job.write("words.csv", "id,x,y\na,red,1\n");
    refused(&spec.replace("heaps.csv", "words.csv"), "2", &["column `x` is text in `rows`, and a number in the model"]);
    // What is in the head decides, before anything is read by it.
    let whole = run.table_of("makes", "model");
    let head = whole.schema().metadata()["gristmill.model"].clone();
    let write = |batch: &RecordBatch, head: &str| {
        let metadata = [("gristmill.model".to_owned(), head.to_owned())].into();
        let schema = Arc::new(Schema::new_with_metadata(batch.schema().fields().clone(), metadata));
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(job.path("kept/makes/model.parquet")).unwrap(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    write(&whole, &head.replace("\"version\":2", "\"version\":3"));
    refused(&spec, "3", &["is of version 3", "reads version 2", "make it again"]);
    write(&whole, &head[..head.len() / 2]);
    refused(&spec, "3", &["is damaged", "make it again"]);
    write(&whole.slice(1, whole.num_rows() - 1), &head);
    refused(&spec, "3", &["2 centres for 3 segments"]);
    write(&whole, &head.replace("\"unit\":", "\"unit\":-"));
    refused(&spec, "3", &["column `x` has no scaler or no bins"]);
    write(&whole, &head.replace("\"most_missing\":0.5", "\"most_missing\":5"));
    refused(&spec, "3", &["`most_missing` is 5"]);
    // Counts that cannot be added up.
    write(&whole, &head.replace("\"n_missing\":0", "\"n_missing\":18446744073709551615"));
    refused(&spec, "3", &["column `x` has no scaler or no bins"]);
    write(&whole, &head.replace("\"n_noise\":0", "\"n_noise\":18446744073709551615"));
    refused(&spec, "3", &["its segments have more than 9007199254740992 rows"]);
    write(&whole, &head);
    job.run(&spec, "mended");
}

/// Rows by pair of segments, of tables that are joined by a column of numbers.
fn crossed(now: &RecordBatch, then: &RecordBatch, id: &str) -> BTreeMap<(Option<u32>, Option<u32>), u64> {
    let names = |table: &RecordBatch| common::rows(&table.project(&[table.schema().index_of(id).unwrap()]).unwrap());
    let before: BTreeMap<Vec<String>, Option<u32>> = names(then).into_iter().zip(segments(then, "segment")).collect();
    let mut counts = BTreeMap::new();
    for (name, segment) in names(now).into_iter().zip(segments(now, "segment")) {
        if let Some(then) = before.get(&name) {
            *counts.entry((segment, *then)).or_default() += 1;
        }
    }
    counts
}

#[test]
fn moves_are_what_the_tables_of_both_sides_say() {
    let job = Job::new();
    let run = job.run(&shipped("compare.toml"), "moves");
    let counts = crossed(&run.table_of("labels", "assignments"), &run.table_of("segments", "assignments"), "household_id");
    let crossing = run.table_of("moves", "crossing");
    let (now, then) = (segments(&crossing, "segment"), segments(&crossing, "baseline_segment"));
    let found: BTreeMap<_, _> = (0..now.len()).map(|row| ((now[row], then[row]), count(&crossing, "n", row))).collect();
    assert_eq!(found, counts);
    // One model labelled both sides: a row has moved that has another number.
    let (verdict, moved) = (run.table_of("moves", "verdict"), run.table_of("moves", "moved"));
    let n: u64 = counts.values().sum();
    let n_moved: u64 = counts.iter().filter(|((now, then), _)| now != then).map(|(_, n)| n).sum();
    assert_eq!((count(&verdict, "n_both", 0), count(&verdict, "n_moved", 0), moved.num_rows() as u64), (n, n_moved, n_moved));
    assert_eq!((count(&verdict, "n_kept", 0), count(&verdict, "n_born", 0), count(&verdict, "n_gone", 0)), (4, 0, 0));
    assert!((0..moved.num_rows()).all(|row| segments(&moved, "segment")[row] != segments(&moved, "baseline_segment")[row]));
    let matches = run.table_of("moves", "matches");
    for row in 0..4 {
        let segment = Some(u32::try_from(row + 1).unwrap());
        let of = |is_in: &dyn Fn(Option<u32>, Option<u32>) -> bool| -> u64 {
            counts.iter().filter(|((now, then), _)| is_in(*now, *then)).map(|(_, n)| n).sum()
        };
        let (of_now, of_then, both) = (of(&|now, _| now == segment), of(&|_, then| then == segment), counts[&(segment, segment)]);
        assert_eq!((count(&matches, "n", row), count(&matches, "n_baseline", row)), (of_now, of_then));
        assert!((number(&matches, "jaccard", row) - both as f64 / (of_now + of_then - both) as f64).abs() < 1e-15);
    }
}

#[test]
fn segments_are_matched_by_rows_and_what_is_born_or_gone_is_said() {
    let job = Job::new();
    // Segment 1 becomes 7; 2 falls apart into 4 and 5; noise stays noise; row 12 is new, row 99 is no more.
    job.write("then.csv", "row,segment\n0,1\n1,1\n2,1\n3,2\n4,2\n5,2\n6,2\n7,\n8,1\n99,1\n");
    job.write("now.csv", "row,segment\n0,7\n1,7\n2,7\n3,4\n4,4\n5,5\n6,5\n7,\n8,\n12,7\n");
    let spec =
        "name = \"moves\"\n[source.now]\npath = \"now.csv\"\n[step.moves]\nkind = \"compare\"\nfrom = \"now\"\nbaseline = \"then.csv\"\n";
    let run = job.run(spec, "moves");
    let matches = run.table("matches");
    let lines: Vec<_> = (0..matches.num_rows())
        .map(|row| {
            let side = |name: &str| segments(&matches, name)[row];
            (side("segment"), side("baseline_segment"), text(&matches, "status", row), number(&matches, "jaccard", row))
        })
        .collect();
    let line = |now, then, status: &str, jaccard| (now, then, status.to_owned(), jaccard);
    assert_eq!(
        lines,
        [
            line(Some(4), None, "born", 0.5),
            line(Some(5), None, "born", 0.5),
            line(Some(7), Some(1), "kept", 0.75),
            line(None, Some(2), "gone", 0.5)
        ]
    );
    let moved = run.table("moved");
    let rows: Vec<u64> =
        (0..moved.num_rows()).map(|row| moved.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(row) as u64).collect();
    assert_eq!(rows, [3, 4, 5, 6, 8]);
    let verdict = run.table("verdict");
    assert_eq!((count(&verdict, "n_both", 0), count(&verdict, "n_only_now", 0), count(&verdict, "n_only_baseline", 0)), (9, 1, 1));
    assert!(text(&run.findings(), "sentence", 2).contains("segment 2 of the baseline is gone, with 4 rows"));
    // SQL names a column as it is called.
    for (file, name) in [("then", "other_then"), ("now", "other_now")] {
        let rows = fs::read_to_string(job.path(&format!("{file}.csv"))).unwrap().replace("segment", "\"part \"\"a\"\"\"");
        job.write(&format!("{name}.csv"), rows);
    }
    let named = spec.replace("then.csv", "other_then.csv").replace("now.csv", "other_now.csv");
    let named = job.run(&format!("{named}segment = 'part \"a\"'\n"), "named");
    assert_eq!(text(&named.findings(), "filter", 0), "\"part \"\"a\"\"\" = 4");
    // Every row a segment of its own on both sides is a table that a small budget has no room for.
    let alone = (0..3000).fold(String::from("row,segment\n"), |rows, row| rows + &format!("{row},{row}\n"));
    job.write("alone.csv", alone);
    let small = format!("memory = \"64MiB\"\n{}", spec.replace("then.csv", "alone.csv").replace("now.csv", "alone.csv"));
    let error = job.try_run(&small, "small").err().unwrap();
    assert!(error.contains("exit status: 5") && error.contains("rows by pair of 3000 and 3000 segments"), "{error}");
    // By number nothing is the same here, but for what is noise on both sides.
    let numbered = job.run(&format!("{spec}match = \"number\"\n"), "numbered");
    assert_eq!(numbered.table("moved").num_rows(), 8);
    let refused = |name: &str, rows: &str, spec: &str, words: &str| {
        job.write(name, rows);
        let error = job.try_run(spec, "refused").err().unwrap();
        assert!(error.contains("exit status: 3") && error.contains(words), "{error}");
        let _gone = fs::remove_dir_all(job.path("refused"));
    };
    let with = |file: &str| spec.replace("then.csv", file);
    refused("twice.csv", "row,segment\n0,1\n0,2\n", &with("twice.csv"), "`row` 0 is there twice in `baseline`");
    refused("else.csv", "row,segment\n100,1\n", &with("else.csv"), "none of 10 rows has the `row` of one of 1 rows");
    refused("words.csv", "row,segment\n0,gold\n", &with("words.csv"), "column `segment` does not hold segments");
    refused("minus.csv", "row,segment\n0,-1\n", &with("minus.csv"), "whole numbers from 0 on");
}

#[test]
fn texts_take_part_and_a_model_knows_them_again() {
    let job = Job::new();
    let spec = shipped("cluster_mixed.toml").replace("k = 4", "k = 4\ngamma = 4");
    let run = job.run(&spec, "mixed");
    let (assignments, segments_of) = (run.table("assignments"), run.table("segments"));
    assert_eq!((segments_of.num_rows(), run.table("model").num_rows()), (4, 8));
    // A rule is SQL of texts and numbers, which selects the rows that it says.
    let rules = run.table("rules");
    let filters: Vec<String> = (0..rules.num_rows()).map(|row| text(&rules, "filter", row)).collect();
    assert!(filters.iter().any(|filter| filter.ends_with("and \"Month\" = 'Nov'")), "{filters:?}");
    assert!(filters.iter().any(|filter| filter.contains("(\"Month\" <> 'Mar' or \"Month\" is null)")), "{filters:?}");
    assert!(!filters.iter().any(|filter| filter.contains("<> 'Nov'") && filter.contains("= 'Mar'")), "{filters:?}");
    for (row, filter) in filters.iter().enumerate() {
        let plain = spec.replace("method = \"kmeans\"", "bootstrap = 0\nmethod = \"kmeans\"");
        let with = plain.replace("[step.segments]", &format!("where = \"\"\"{filter}\"\"\"\n\n[step.segments]"));
        let selected = job.run(&with.replace("k = 4", "k = 2"), &format!("rule{row}"));
        assert_eq!(selected.manifest()["steps"][0]["n_rows"].as_u64(), Some(count(&rules, "n", row)), "{filter}");
    }
    // The same rows by the kept model; and rows whose text the model has not seen.
    let again = |path: &str| {
        format!(
            "name = \"again\"\n[source.rows]\npath = \"{path}\"\n[step.labels]\nkind = \"score\"\nfrom = \"rows\"\nmodel = \"mixed/segments/model.parquet\"\n"
        )
    };
    let samples = repository("datasets/samples/online_shoppers_intention.csv.gz");
    let labels = job.run(&again(samples.to_str().unwrap()), "labels");
    assert!(labels.table("assignments") == assignments);
    job.write(
        "unseen.csv",
        "ProductRelated,BounceRates,ExitRates,PageValues,VisitorType,Month\n5,0.1,0.1,0,Robot,May\n5,0.1,0.1,0,,May\n5,0.1,0.1,0,New_Visitor,May\n",
    );
    let unseen = job.run(&again("unseen.csv"), "unseen");
    let notes = unseen.manifest()["steps"][0]["notes"].to_string();
    assert!(notes.contains("1 row with a text of `VisitorType` that the model has not seen"), "{notes}");
    let distance = |row: usize| number(&unseen.table("assignments"), "distance", row);
    assert!((distance(0) - distance(1)).abs() < 1e-15 && (distance(2) - distance(0)).abs() > 1e-3);
}
