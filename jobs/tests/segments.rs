//! `kind = "cluster"` from the command line: the shipped example, nothing where there is nothing, and the same bytes on every place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, UInt32Type, UInt64Type};
use common::{Job, repository};
use parquet::arrow::ArrowWriter;

fn shipped() -> String {
    let text = fs::read_to_string(repository("jobs/specs/cluster.toml")).unwrap();
    text.replace("../../datasets", repository("datasets").to_str().unwrap())
}

fn texts(table: &RecordBatch, name: &str) -> Vec<String> {
    table.column_by_name(name).unwrap().as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
}

fn counts(table: &RecordBatch, name: &str) -> Vec<u64> {
    table.column_by_name(name).unwrap().as_primitive::<UInt64Type>().values().to_vec()
}

#[test]
fn every_number_of_the_shipped_example_can_be_computed_again() {
    let job = Job::new();
    let run = job.run(&shipped(), "segments");
    let (segments, assignments) = (run.table("segments"), run.table("assignments"));
    assert_eq!((segments.num_rows(), assignments.num_rows()), (4, 12_330));
    let of_row = assignments.column_by_name("segment").unwrap().as_primitive::<UInt32Type>();
    let distance = assignments.column_by_name("distance").unwrap().as_primitive::<Float64Type>();
    let inertia = segments.column_by_name("inertia").unwrap().as_primitive::<Float64Type>();
    let filters = texts(&segments, "filter");
    for (at, n) in counts(&segments, "n").into_iter().enumerate() {
        let own: Vec<usize> = (0..of_row.len()).filter(|&row| of_row.value(row) as usize == at + 1).collect();
        assert_eq!(own.len() as u64, n);
        let due: f64 = own.iter().map(|&row| distance.value(row) * distance.value(row)).sum();
        assert!((inertia.value(at) - due).abs() <= 1e-9 * due);
        // The SQL of a segment selects its rows and no others.
        let where_ = filters[at].replace('"', "\\\"");
        let source = shipped().replace("[step.segments]", &format!("where = \"{where_}\"\n\n[step.segments]"));
        let selected = job.run(&source.replace("kind = \"cluster\"", "kind = \"cluster\"\nk = 2\nbootstrap = 0"), &format!("segment{at}"));
        assert_eq!(selected.manifest()["steps"][0]["n_rows"].as_u64(), Some(n), "{}", filters[at]);
    }
    // So does the SQL of a rule, whose bounds together leave no row out.
    let rules = run.table("rules");
    let (n, filters) = (counts(&rules, "n"), texts(&rules, "filter"));
    assert!(n.len() >= 4 && n.iter().sum::<u64>() == 12_330, "{n:?}");
    for (at, (n, filter)) in n.into_iter().zip(filters).enumerate() {
        let source = shipped().replace("[step.segments]", &format!("where = '{filter}'\n\n[step.segments]"));
        let selected = job.run(&source.replace("kind = \"cluster\"", "kind = \"cluster\"\nk = 2\nbootstrap = 0"), &format!("rule{at}"));
        assert_eq!(selected.manifest()["steps"][0]["n_rows"].as_u64(), Some(n), "{filter}");
    }
    // Those who look at pages of value buy: `Revenue` took no part.
    let features = run.table("features");
    let q = features.column_by_name("q").unwrap().as_primitive::<Float64Type>();
    let row = texts(&features, "column").iter().rposition(|column| column == "Revenue").unwrap();
    assert!(q.value(row) < 1e-10);
    assert_eq!(run.findings().num_rows(), 4);
}

fn numbers(table: &RecordBatch, name: &str) -> Vec<f64> {
    table.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec()
}

fn wholes(table: &RecordBatch, name: &str) -> Vec<usize> {
    table.column_by_name(name).unwrap().as_primitive::<UInt32Type>().values().iter().map(|x| *x as usize).collect()
}

/// The largest gap between two lists.
fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Ward's linkage by the book: a square of heights, renewed by the recurrence of Lance and Williams. Numbers are from 1.
fn ward(centres: &[Vec<f64>], n: &[u64]) -> Vec<(usize, usize, f64, u64)> {
    let mut sizes: Vec<f64> = n.iter().map(|n| *n as f64).collect();
    let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    let first = |a: usize, b: usize| 2.0 * sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * apart(&centres[a], &centres[b]);
    let mut squares: Vec<Vec<f64>> = (0..n.len()).map(|a| (0..n.len()).map(|b| first(a, b)).collect()).collect();
    let (mut left, mut links): (Vec<usize>, Vec<_>) = ((0..n.len()).collect(), Vec::new());
    while left.len() > 1 {
        let pairs = left.iter().flat_map(|a| left.iter().filter(move |b| a < b).map(move |b| (*a, *b)));
        let (a, b) = pairs.min_by(|x, y| squares[x.0][x.1].total_cmp(&squares[y.0][y.1])).unwrap();
        let renewed = |c: usize| {
            let [x, y, z] = [a, b, c].map(|number| sizes[number]);
            ((x + z) * squares[a][c] + (y + z) * squares[b][c] - z * squares[a][b]) / (x + y + z)
        };
        let of_all: Vec<f64> = (0..sizes.len()).map(renewed).collect();
        links.push((a + 1, b + 1, squares[a][b].sqrt(), (sizes[a] + sizes[b]) as u64));
        squares.iter_mut().zip(&of_all).for_each(|(row, square)| row.push(*square));
        squares.push([of_all, vec![0.0]].concat());
        left.retain(|number| *number != a && *number != b);
        left.push(sizes.len());
        sizes.push(sizes[a] + sizes[b]);
    }
    links
}

#[test]
fn silhouettes_and_links_can_be_computed_again() {
    let job = Job::new();
    let mut state = 21_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / 16_777_216.0
    };
    // Five heaps of unlike size that run into one another.
    let heaps = [(0.0, 0.0), (0.7, 0.1), (2.0, 1.5), (0.2, 1.9), (2.4, 1.9)];
    let row = |at: usize| (at % 11).min(4);
    let rows: Vec<[f64; 2]> = (0..500).map(|at| [heaps[row(at)].0 + next(), 10.0 * (heaps[row(at)].1 + next())]).collect();
    let cells: String = rows.iter().map(|[x, y]| format!("{x},{y}\n")).collect();
    job.write("heaps.csv", format!("x,y\n{cells}"));
    let spec = "name = \"heaps\"\nseed = 4\n[source.rows]\npath = \"heaps.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\nk = 5\n\
                method = \"kmeans\"\nbootstrap = 0\n";
    let run = job.run(spec, "heaps");
    let (segments, profile, links) = (run.table("segments"), run.table("profile"), run.table("links"));
    let n = counts(&segments, "n");
    assert_eq!((n.len(), profile.num_rows(), links.num_rows()), (5, 5 * 21, 4));
    // Scaled by mean and standard deviation.
    let column = |of: usize| rows.iter().map(move |row| row[of]);
    let mean = [0, 1].map(|of| column(of).sum::<f64>() / 500.0);
    let sd = [0, 1].map(|of| (column(of).map(|x| (x - mean[of]).powi(2)).sum::<f64>() / 499.0).sqrt());
    let label = wholes(&run.table("assignments"), "segment");
    let distance = |a: usize, b: usize| (0..2).map(|of| ((rows[a][of] - rows[b][of]) / sd[of]).powi(2)).sum::<f64>().sqrt();
    let silhouette = |at: usize| {
        let to = |segment: usize| {
            let own = (0..500).filter(|&other| other != at && label[other] == segment);
            own.clone().map(|other| distance(at, other)).sum::<f64>() / own.count() as f64
        };
        let (a, b) = (to(label[at]), (1..=5).filter(|other| *other != label[at]).map(to).fold(f64::INFINITY, f64::min));
        (b - a) / a.max(b)
    };
    let all: Vec<f64> = (0..500).map(silhouette).collect();
    let mut due = Vec::new();
    for segment in 1..=5 {
        let mut own: Vec<f64> = (0..500).filter(|&at| label[at] == segment).map(|at| all[at]).collect();
        own.sort_by(f64::total_cmp);
        assert_eq!(own.len() as u64, n[segment - 1]);
        let below = own.iter().filter(|s| **s < 0.0).count() as f64 / own.len() as f64;
        assert!((numbers(&segments, "below_zero")[segment - 1] - below).abs() < 1e-12);
        assert!((numbers(&segments, "silhouette")[segment - 1] - own.iter().sum::<f64>() / own.len() as f64).abs() < 1e-6);
        due.extend((0..=20).map(|step| {
            let place = (own.len() - 1) as f64 * f64::from(step) / 20.0;
            let below = (place + 1e-9).floor() as usize;
            own[below] + (own[(below + 1).min(own.len() - 1)] - own[below]) * (place - below as f64)
        }));
    }
    assert!(gap(&numbers(&profile, "silhouette"), &due) < 1e-6);
    assert!(numbers(&segments, "below_zero").iter().any(|share| *share > 0.0), "heaps that run into one another have some");
    let shares: Vec<f64> = (0..5).flat_map(|_| (0..=20).map(|step| f64::from(step) / 20.0)).collect();
    assert!(gap(&numbers(&profile, "share"), &shares) < 1e-15);
    assert_eq!(wholes(&profile, "segment"), (1..=5).flat_map(|segment| [segment; 21]).collect::<Vec<usize>>());
    assert_eq!(counts(&profile, "n"), n.iter().flat_map(|n| [*n; 21]).collect::<Vec<u64>>());
    // Links: of the means that `features` tells, and the rows of `segments`.
    let means = numbers(&run.table("features"), "mean");
    let centres: Vec<Vec<f64>> = means.chunks(2).map(|centre| (0..2).map(|of| (centre[of] - mean[of]) / sd[of]).collect()).collect();
    let told = |of: &[(usize, usize, f64, u64)]| of.iter().map(|link| (link.0, link.1, link.3)).collect::<Vec<_>>();
    let heights = |of: &[(usize, usize, f64, u64)]| of.iter().map(|link| link.2).collect::<Vec<_>>();
    let ends = wholes(&links, "left").into_iter().zip(wholes(&links, "right")).zip(counts(&links, "n"));
    let found: Vec<(usize, usize, f64, u64)> = ends.zip(numbers(&links, "height")).map(|(((a, b), n), height)| (a, b, height, n)).collect();
    let due = ward(&centres, &n);
    assert_eq!(told(&found), told(&due));
    assert!(gap(&heights(&found), &heights(&due)) < 1e-6, "{found:?} {due:?}");
    // A wrong twin: segments of one row each.
    assert!(gap(&heights(&found), &heights(&ward(&centres, &[1; 5]))) > 0.1);
    // The page says nothing else.
    let page = String::from_utf8(run.bytes("report.html")).unwrap();
    let mean = numbers(&run.table("verdict"), "silhouette")[0];
    assert!((mean - all.iter().sum::<f64>() / 500.0).abs() < 1e-6);
    assert!(page.contains(&format!("the mean of 500 rows, {mean:.2}.")) && page.contains(&format!(">mean {mean:.2}</text>")));
    assert!(page.contains(&format!("Segments {} and {} meet first", found[0].0, found[0].1)));
    assert_eq!(page.matches("class=\"tree\"").count(), 4);
    // One segment has neither.
    let one = job.run(&spec.replace("method = \"kmeans\"", "method = \"dbscan\"\neps = 9").replace("k = 5\n", ""), "one");
    assert_eq!((one.table("segments").num_rows(), one.table("profile").num_rows(), one.table("links").num_rows()), (1, 0, 0));
}

#[test]
fn a_budget_changes_no_label() {
    let job = Job::new();
    let spec = |memory: &str| shipped().replace("[source", &format!("memory = \"{memory}\"\n\n[source"));
    let tables = |memory: &str| {
        let run = job.run(&spec(memory), memory);
        ["assignments", "segments", "rules", "exemplars"].map(|table| run.bytes(&format!("segments/{table}.parquet")))
    };
    let least = tables("512MiB");
    assert!(least == tables("1GiB") && least == tables("4GiB"));
    let refused = job.try_run(&spec("16MiB"), "refused").err();
    assert!(refused.is_none_or(|error| error.contains("exit status: 5")), "a budget is kept, or said to be too small");
}

#[test]
fn what_does_not_fit_into_memory_is_spilled_and_comes_out_the_same() {
    let job = Job::new();
    let mut state = 11_u64;
    let mut cells = String::from("name,x,y,z\n");
    for row in 0..700_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = |at: u32| (state >> (8 * at)) & 0xffff;
        let missing = if row % 5000 == 17 { String::new() } else { (part(2) + 90_000 * (row % 2)).to_string() };
        let _ = writeln!(cells, "n{},{},{missing},{}", row * 3, part(0) + 90_000 * (row % 3), part(4));
    }
    job.write("long.csv", cells);
    let spec = |memory: &str, method: &str| {
        format!(
            "name = \"long\"\nseed = 5\nmemory = \"{memory}\"\n[source.rows]\npath = \"long.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\n\
             id = \"name\"\ncolumns = [\"x\", \"y\"]\nk = 6\nbootstrap = 2\nrestarts = 3\nmethod = \"{method}\"\n"
        )
    };
    let tables = |memory: &str, is_spilled: bool| {
        let run = job.run(&spec(memory, "kmeans"), memory);
        let notes = run.manifest()["steps"][0]["notes"].to_string();
        assert_eq!(notes.contains("did not fit into memory"), is_spilled, "{notes}");
        let names = ["assignments", "segments", "profile", "links", "features", "exemplars", "rules", "verdict", "map", "axes", "model"];
        (names.map(|table| run.bytes(&format!("parts/{table}.parquet"))), run.table("assignments"))
    };
    let (due, assignments) = tables("1GiB", false);
    let (found, _) = tables("72MiB", true);
    assert!(due == found);
    // So do batches; heaps that lie so far apart are the same segments.
    let batches = |memory: &str| {
        let run = job.run(&spec(memory, "kmeans").replace("k = 6", "k = 6\nbatch_size = 10000"), &format!("batches{memory}"));
        assert!(run.manifest()["steps"][0]["notes"].to_string().contains("in one pass, in batches of 10,000"));
        (run.bytes("parts/assignments.parquet"), run.bytes("parts/segments.parquet"), run.table("assignments"))
    };
    let (held, spilled) = (batches("1GiB"), batches("72MiB"));
    assert!(held == spilled);
    let segment = |table: &RecordBatch| table.column_by_name("segment").unwrap().as_primitive::<UInt32Type>().clone();
    assert_eq!(segment(&held.2), segment(&assignments));
    // So are parts of segments: the heaps of one half of the places.
    let levels = |memory: &str| {
        let source = spec(memory, "kmeans").replace("k = 6", "k = 2\nk_max = 4\nlevels = 2");
        let run = job.run(&source, &format!("levels{memory}"));
        (["assignments", "splits"].map(|table| run.bytes(&format!("parts/{table}.parquet"))), texts(&run.table("splits"), "path"))
    };
    let due = levels("1GiB");
    assert!(due.1.len() > 2 && due == levels("72MiB"), "{:?}", due.1);
    // A row is in the segment of its heap, and keeps its name.
    let of_row = assignments.column_by_name("segment").unwrap().as_primitive::<UInt32Type>();
    let names = assignments.column_by_name("name").unwrap().as_string::<i32>();
    assert!((0..700_000).all(|row| names.value(row) == format!("n{}", row * 3)));
    assert!((0..700_000).filter(|row| row % 5000 != 17).all(|row| of_row.is_valid(row) && of_row.value(row) == of_row.value(row % 6)));
    // A row that lacks y goes with one of the two heaps of its x.
    let missing = assignments.column_by_name("n_missing").unwrap().as_primitive::<UInt32Type>();
    assert!((0..700_000).all(|row| missing.value(row) == u32::from(row % 5000 == 17)));
    let of_x = |row: usize| [row % 3, row % 3 + 3].map(|heap| of_row.value(heap));
    assert!((17..700_000).step_by(5000).all(|row| of_x(row).contains(&of_row.value(row))));
    // What needs all rows at once says so, and what would do.
    let refused = job.try_run(&spec("72MiB", "genie").replace("id = \"name\"\n", ""), "refused").err().unwrap();
    assert!(refused.contains("exit status: 5") && refused.contains("which spills"), "{refused}");
    let refused = job.try_run(&spec("20MiB", "kmeans"), "small").err().unwrap();
    assert!(refused.contains("exit status: 5") && refused.contains("labels of 700,000 rows"), "{refused}");
}

/// Two heaps of rows far apart, one of which is three, with the heap of every row.
fn heaps() -> String {
    let mut cells = String::from("name,x,y,heap\n");
    let mut state = 3_u64;
    let mut next = || {
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / 16_777_216.0
        };
        (0..12).map(|_| word()).sum::<f64>() - 6.0
    };
    for row in 0..2_000 {
        let heap = row % 4;
        let (x, y) = [(0.0, 0.0), (200.0, 0.0), (214.0, 0.0), (207.0, 12.0)][heap];
        let (x, y) = if row == 700 { (String::new(), next()) } else { ((x + next()).to_string(), y + next()) };
        let _ = writeln!(cells, "n{row},{x},{y},{heap}");
    }
    cells
}

#[test]
fn segments_fall_into_parts_and_say_why_others_do_not() {
    let job = Job::new();
    job.write("heaps.csv", heaps());
    let head = "name = \"heaps\"\nseed = 4\n[source.rows]\npath = \"heaps.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\n\
                id = \"name\"\ncolumns = [\"x\", \"y\"]\nscale = \"none\"\nk = 2\nk_max = 5\n";
    for method in ["kmeans", "mixture", "medoids", "genie", "auto"] {
        let run = job.run(&format!("{head}method = \"{method}\"\nlevels = 2\n"), method);
        let (splits, rows) = (run.table("splits"), run.table("assignments"));
        assert_eq!(texts(&splits, "path"), ["1", "1.1", "1.2", "1.3", "2"], "{method}");
        let ended = splits.column_by_name("ended").unwrap().as_string::<i32>();
        let ended: Vec<Option<&str>> = ended.iter().collect();
        assert_eq!(ended, [None, Some("deep enough"), Some("deep enough"), Some("deep enough"), Some("no structure")], "{method}");
        let parent = splits.column_by_name("parent").unwrap().as_string::<i32>();
        assert_eq!(parent.iter().collect::<Vec<_>>(), [None, Some("1"), Some("1"), Some("1"), None]);
        let path = rows.column_by_name("path").unwrap().as_string::<i32>();
        let segment = rows.column_by_name("segment").unwrap().as_primitive::<UInt32Type>();
        // Counts are those of the rows that have all cells, and a path begins with the segment.
        let path_of_whole = |row: usize| (row != 700).then(|| path.value(row));
        let n_of = |of: &str| {
            (0..2_000).filter_map(path_of_whole).filter(|path| *path == of || path.starts_with(&format!("{of}."))).count() as u64
        };
        assert_eq!(texts(&splits, "path").iter().map(|path| n_of(path)).collect::<Vec<_>>(), counts(&splits, "n"), "{method}");
        assert_eq!((path.null_count(), segment.null_count()), (0, 0));
        assert!((0..2_000).all(|row| path.value(row).starts_with(&segment.value(row).to_string())));
        // Every heap has a path of its own.
        let heap = heaps().lines().skip(1).map(|line| line.chars().last().unwrap()).collect::<Vec<char>>();
        let pairs: std::collections::BTreeSet<(char, &str)> =
            heap.into_iter().enumerate().filter_map(|(row, heap)| Some((heap, path_of_whole(row)?))).collect();
        assert_eq!(pairs.len(), 4, "{method}: {pairs:?}");
        let notes = run.manifest()["steps"][0]["notes"].to_string();
        assert!(
            notes.contains("1 segment is split further (1 into 3); not split: 3 on the last of `levels`, 1 without structure"),
            "{notes}"
        );
        let page = String::from_utf8(run.bytes("report.html")).unwrap();
        assert!(page.contains("<td class=\"in2\">1.3</td>") && page.contains("on the last level asked for"));
        // All else is that of one level.
        let flat = job.run(&format!("{head}method = \"{method}\"\n").replace("k_max = 5\n", ""), &format!("{method}-flat"));
        assert!(flat.table("assignments").column_by_name("path").is_none());
        for table in ["segments", "features", "rules", "model", "verdict"] {
            assert!(run.bytes(&format!("parts/{table}.parquet")) == flat.bytes(&format!("parts/{table}.parquet")), "{method}: {table}");
        }
    }
}

#[test]
fn noise_has_no_segments_and_the_job_says_so() {
    let job = Job::new();
    let mut state = 9_u64;
    let mut cells = String::from("a,b,c\n");
    for _ in 0..600 {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 40
        };
        let _ = writeln!(cells, "{},{},{}", next(), next(), next());
    }
    job.write("noise.csv", cells);
    let spec = "name = \"noise\"\n[source.rows]\npath = \"noise.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\n";
    let run = job.run(spec, "noise");
    assert_eq!((run.findings().num_rows(), run.table("segments").num_rows()), (0, 0));
    assert_eq!(run.table("assignments").column_by_name("segment").unwrap().null_count(), 600);
    let notes = run.manifest()["steps"][0]["notes"].to_string();
    assert!(notes.contains("no cluster structure was found"), "{notes}");
    // A normal column is cut in the same places every time, which is no structure.
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let bell: Vec<String> = (0..600).map(|_| (0..12).map(|_| next()).sum::<u64>().to_string()).collect();
    job.write("bell.csv", format!("a\n{}\n", bell.join("\n")));
    let bell = job.run(&format!("{}method = \"kmeans\"\n", spec.replace("noise.csv", "bell.csv")), "bell");
    let notes = bell.manifest()["steps"][0]["notes"].to_string();
    assert!(bell.table("segments").num_rows() == 0 && notes.contains("of 100 tables without any look as structured"), "{notes}");
    // Asked for all the same, they are made, and those that do not come back are refused.
    let asked = job.run(&format!("{spec}k = 6\nmethod = \"kmeans\"\n"), "asked");
    let trust = texts(&asked.table("segments"), "trust");
    let n = |word: &str| trust.iter().filter(|trust| *trust == word).count();
    assert!(n("refused") >= 1 && n("stable") <= 1, "{trust:?}");
    assert!(asked.findings().num_rows() < 6);
}

#[test]
fn places_and_threads_change_no_byte() {
    let job = Job::new();
    let of = |spec: &str, head: &str, out: &str| -> Vec<Vec<u8>> {
        let run = job.run(&format!("{head}\n{spec}"), out);
        assert!(run.manifest()["steps"][0]["fell_back"].as_array().unwrap().is_empty());
        let of_step = ["assignments", "segments", "features", "exemplars", "verdict", "sweep", "profile", "links"]
            .map(|name| format!("segments/{name}.parquet"));
        std::iter::once("findings.parquet".to_owned()).chain(of_step).map(|file| run.bytes(&file)).collect()
    };
    let tables = |head: &str, out: &str| of(&shipped(), head, out);
    let batches = |head: &str, out: &str| of(&format!("{}\nk = 5\nbatch_size = 1000\nbootstrap = 2\n", shipped().trim_end()), head, out);
    let one_of_batches = batches("place = \"cpu\"\nthreads = 1", "one-batches");
    assert!(one_of_batches == batches("place = \"cpu\"\nthreads = 5", "five-batches"));
    let one = tables("place = \"cpu\"\nthreads = 1", "one");
    assert!(one == tables("place = \"cpu\"\nthreads = 5", "five"));
    // The wrong twin: another seed halves the sample in other places.
    let other = job.run(&format!("place = \"cpu\"\n{}", shipped().replace("seed = 7", "seed = 8")), "other");
    assert!(other.bytes("segments/sweep.parquet") != one[6]);
    match job.try_run(&format!("place = \"software\"\n{}", shipped()), "probe") {
        Ok(run) => {
            assert_eq!(run.manifest()["steps"][0]["place"].as_str(), Some("software"));
            assert!(one == tables("place = \"software\"", "software"));
            assert!(one_of_batches == batches("place = \"software\"", "software-batches"));
        }
        Err(error) => common::say(&format!("no adapter: {error}")),
    }
}

/// Three rings of rows, one within another, and strays: what only methods of density see.
fn rings() -> String {
    let mut cells = String::from("x,y,ring\n");
    let mut state = 5_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / 16_777_216.0
    };
    for row in 0..2_400 {
        let (ring, angle) = (row % 3, next() * std::f64::consts::TAU);
        let radius = 3.0 * f64::from(ring) + 1.0 + 0.2 * (next() - 0.5);
        let _ = writeln!(cells, "{},{},{ring}", radius * angle.cos(), radius * angle.sin());
    }
    for _ in 0..20 {
        let _ = writeln!(cells, "{},{},9", 40.0 + 40.0 * next(), 40.0 + 40.0 * next());
    }
    cells
}

#[test]
fn every_method_says_what_it_found_and_rings_are_found_by_density() {
    let job = Job::new();
    job.write("rings.csv", rings());
    let head = "name = \"rings\"\nseed = 3\n[source.rows]\npath = \"rings.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\n";
    let of = |rest: &str, out: &str| job.run(&format!("{head}columns = [\"x\", \"y\"]\nscale = \"none\"\n{rest}"), out);
    let right = |run: &common::Run| {
        let (rows, features) = (run.table("assignments"), run.table("features"));
        let segment = rows.column_by_name("segment").unwrap().as_primitive::<UInt32Type>();
        assert_eq!(rows.num_rows(), 2_420);
        // `ring` took no part: its mean within a segment is the ring that it is.
        let means = features.column_by_name("mean").unwrap().as_primitive::<Float64Type>();
        let of_ring =
            texts(&features, "column").iter().zip(means.values()).filter(|(name, _)| *name == "ring").map(|(_, mean)| *mean).collect();
        (segment.null_count(), of_ring)
    };
    for (rest, n_noise) in [("method = \"hdbscan\"\nmin_size = 60", 20), ("method = \"dbscan\"\neps = 0.8\nmin_samples = 4", 20)] {
        let run = of(rest, &rest[10..13]);
        let (noise, means): (usize, Vec<f64>) = right(&run);
        assert!(noise >= n_noise && noise <= n_noise + 10, "{rest}: {noise} rows are noise");
        assert_eq!(means.len(), 3);
        assert!(means.iter().all(|mean| (mean - mean.round()).abs() < 1e-9), "{rest}: {means:?}");
        let verdict = run.table("verdict");
        assert_eq!(
            (texts(&verdict, "structure"), texts(&verdict, "method")),
            (vec!["clusters".into()], vec![rest[10..].split('"').next().unwrap().into()])
        );
        assert_eq!(run.findings().num_rows(), 3);
        let exemplars = run.table("exemplars");
        assert_eq!(texts(&exemplars, "role"), ["medoid", "second", "border", "criticism", "contrast"].repeat(3));
    }
    // Round segments cut rings through: the wrong twin.
    let (_, means): (usize, Vec<f64>) = right(&of("method = \"kmeans\"\nk = 3", "kmeans"));
    assert!(means.iter().any(|mean| (mean - mean.round()).abs() > 0.05));
    for (rest, word) in [("", "auto"), ("method = \"genie\"\nk = 4", "genie"), ("method = \"mixture\"\ncovariance = \"tied\"", "mixture")] {
        let run = of(rest, &format!("m{word}"));
        let reason = texts(&run.table("verdict"), "reason").remove(0);
        assert!(reason.contains("segments"), "{reason}");
    }
}

#[test]
fn rows_without_all_cells_are_named_and_a_table_of_them_is_refused() {
    let job = Job::new();
    job.write("rows.csv", "a,b\n1,\n2,\n,3\n");
    let spec = "name = \"holes\"\n[source.rows]\npath = \"rows.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\n";
    let Err(error) = job.try_run(spec, "holes") else { panic!("no row has all cells") };
    assert!(error.contains("no row has all 2 columns"), "{error}");
}

#[test]
fn the_sql_of_a_segment_far_from_0_selects_its_rows_too() {
    let job = Job::new();
    // Seconds since 1970, in two bursts a few seconds apart.
    let mut cells = String::from("at,y\n");
    for row in 0..600_u64 {
        let _ = writeln!(cells, "{}.{},{}", 1_700_000_000 + 40 * (row % 2) + row * 31 % 7, row % 10, row * 17 % 11);
    }
    job.write("far.csv", cells);
    let spec = "name = \"far\"\n[source.rows]\npath = \"far.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\nmethod = \"kmeans\"\nk = 2\n";
    let run = job.run(spec, "far");
    let segments = run.table("segments");
    assert_eq!(counts(&segments, "n"), [300, 300]);
    for (at, filter) in texts(&segments, "filter").into_iter().enumerate() {
        let with = spec.replace("[step.parts]", &format!("where = '{filter}'\n[step.parts]"));
        let selected = job.run(&with, &format!("far{at}"));
        assert_eq!(selected.manifest()["steps"][0]["n_rows"].as_u64(), Some(300), "{filter}");
    }
}

#[test]
fn a_tree_that_cannot_be_grown_is_sql_of_all_rows() {
    let job = Job::new();
    job.write("few.csv", "x\n0\n0.1\n5\n5.1\n5.2\n0.2\n");
    let spec =
        "name = \"few\"\n[source.rows]\npath = \"few.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\nmethod = \"genie\"\nk = 2\n";
    let run = job.run(spec, "few");
    assert_eq!(texts(&run.table("rules"), "filter"), ["1 = 1"]);
    let mut filters = texts(&run.table("segments"), "filter");
    filters.sort_unstable();
    assert_eq!(filters, ["", "(1 = 1)"]);
}

#[test]
fn two_values_are_a_mixture_of_two() {
    let job = Job::new();
    let cells: String = (0..1000).map(|row| if row % 3 == 0 { "0.1\n" } else { "0.7\n" }).collect();
    job.write("two.csv", format!("x\n{cells}"));
    let spec = "name = \"two\"\n[source.rows]\npath = \"two.csv\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\nmethod = \"mixture\"\nk = 2\n";
    assert_eq!(counts(&job.run(spec, "two").table("segments"), "n"), [666, 334]);
}

#[test]
fn names_kept_as_a_dictionary_are_spilled_too() {
    let job = Job::new();
    let n = 700_000_i64;
    let column = |of: fn(i64) -> i64| -> ArrayRef { Arc::new((0..n).map(of).collect::<Int64Array>()) };
    // Other names in every part of the file.
    let names: DictionaryArray<Int32Type> =
        (0..n).map(|row| Some(format!("n{}", row / 1000))).collect::<Vec<_>>().iter().map(|name| name.as_deref()).collect();
    let cells =
        [("x", column(|row| row * 31 % 1009 + 9000 * (row % 2))), ("y", column(|row| row * 17 % 997)), ("z", column(|row| row % 13))];
    let rows = RecordBatch::try_from_iter(cells.into_iter().chain([("name", Arc::new(names) as ArrayRef)])).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(job.path("named.parquet")).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let spec = "name = \"named\"\nmemory = \"72MiB\"\n[source.rows]\npath = \"named.parquet\"\n[step.parts]\nkind = \"cluster\"\nfrom = \"rows\"\n\
                id = \"name\"\ncolumns = [\"x\"]\nmethod = \"kmeans\"\nk = 2\nbootstrap = 0\nrestarts = 1\n";
    let run = job.run(spec, "named");
    let notes = run.manifest()["steps"][0]["notes"].to_string();
    assert!(notes.contains("did not fit into memory"), "{notes}");
    let assignments = run.table("assignments");
    let names = arrow::compute::cast(assignments.column_by_name("name").unwrap(), &DataType::Utf8).unwrap();
    let names = names.as_string::<i32>();
    assert!((0..700_000).all(|row| names.value(row) == format!("n{}", row / 1000)));
    assert_eq!(counts(&run.table("segments"), "n"), [350_000, 350_000]);
}
