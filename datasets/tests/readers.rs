//! Files written here, read back: what comes must be what went in, however it was cut, packed and spelt.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::{create_dir_all, write};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use common::{columns, error, numbers, options, read, texts, write_parquet};
use gristmill_datasets::{Cause, ReadError, Rename, Sample, Source, SourceOptions, open, union};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaDataWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::tempdir;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn table(n: i32) -> RecordBatch {
    let cell = |i: i32| (i % 7 != 3).then_some(i);
    batch(vec![
        ("i", Arc::new((0..n).map(cell).collect::<Int32Array>())),
        ("f", Arc::new((0..n).map(|i| cell(i).map(|i| f64::from(i) / 4.0)).collect::<Float64Array>())),
        ("t", Arc::new((0..n).map(|i| cell(i).map(|i| format!("row {i}"))).collect::<StringArray>())),
    ])
}

#[test]
fn rows_do_not_depend_on_row_groups_or_on_how_many_are_asked_for() {
    let folder = tempdir().unwrap();
    let whole = table(50_000);
    for group_rows in [7, 1_000, 16_384, 16_385, 100_000] {
        let path = folder.path().join(format!("{group_rows}.parquet"));
        write_parquet(&path, &whole, group_rows);
        for max_rows in [1_000, 16_384, 20_000, 65_536] {
            let source = open(&options(folder.path(), &[&format!("{group_rows}.parquet")])).unwrap();
            assert_eq!(source.n_rows(), Some(50_000));
            let found = columns(source.as_ref(), &[2, 0, 1, 0], max_rows);
            let expected: Vec<ArrayRef> = [2, 0, 1, 0].iter().map(|at| Arc::clone(whole.column(*at))).collect();
            assert_eq!(found, expected, "groups of {group_rows}, {max_rows} rows at a time");
        }
    }
}

#[test]
fn columns_are_renamed_before_files_are_matched_and_rows_know_their_file() {
    let folder = tempdir().unwrap();
    let a = batch(vec![("x", Arc::new(Int32Array::from(vec![1, 2]))), ("y", Arc::new(Int32Array::from(vec![3, 4])))]);
    let b = batch(vec![("u", Arc::new(Float64Array::from(vec![0.5]))), ("x", Arc::new(Int32Array::from(vec![9])))]);
    create_dir_all(folder.path().join("old")).unwrap();
    write_parquet(&folder.path().join("a.parquet"), &a, 10);
    write_parquet(&folder.path().join("old/b.parquet"), &b, 10);
    let rename = |texts: &[&str]| texts.iter().map(|text| text.parse::<Rename>().unwrap()).collect();
    let mut asked = options(folder.path(), &["a.parquet", "old/b.parquet"]);
    // Names are exchanged, not chained: `x` becomes `y` and `y` becomes `x`.
    asked.rename = rename(&["x as y", "y as x", "u as x"]);
    asked.file_column = Some("file".to_owned());
    let source = open(&asked).unwrap();
    let schema = source.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["y", "x", "file"]);
    let found = read(source.as_ref());
    assert_eq!(numbers(&found[0]), [Some(1.0), Some(2.0), Some(9.0)]);
    assert_eq!(numbers(&found[1]), [Some(3.0), Some(4.0), Some(0.5)]);
    assert_eq!(texts(&found[2]), [Some("a.parquet"), Some("a.parquet"), Some("old/b.parquet")]);
    asked.filter = Some("file like 'old/%' and x < 1".to_owned());
    assert_eq!(numbers(&read(open(&asked).unwrap().as_ref())[0]), [Some(9.0)]);
    for (names, column) in [(&["x as y"][..], None), (&["w as v"], None), (&[], Some("y"))] {
        let mut wrong = options(folder.path(), &["a.parquet", "old/b.parquet"]);
        wrong.rename = rename(names);
        wrong.file_column = column.map(str::to_owned);
        assert!(matches!(error(&wrong), ReadError::Option { .. }), "{names:?} {column:?}");
    }
    assert!("x y".parse::<Rename>().is_err() && " as y".parse::<Rename>().is_err());
    assert_eq!("x as y as z".parse(), Ok(Rename { from: "x as y".to_owned(), to: "z".to_owned() }));
}

#[test]
fn files_are_aligned_by_name_and_numbers_are_widened() {
    let folder = tempdir().unwrap();
    let a = batch(vec![("x", Arc::new(Int32Array::from(vec![1, 2]))), ("y", Arc::new(StringArray::from(vec!["a", "b"])))]);
    let b = batch(vec![("z", Arc::new(Date32Array::from(vec![7]))), ("x", Arc::new(Float64Array::from(vec![0.5])))]);
    write_parquet(&folder.path().join("a.parquet"), &a, 10);
    write_parquet(&folder.path().join("b.parquet"), &b, 10);
    let source = open(&options(folder.path(), &["*.parquet"])).unwrap();
    let schema = source.schema();
    let types: Vec<_> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone(), f.is_nullable())).collect();
    let expected = [("x", DataType::Float64, true), ("y", DataType::Utf8, true), ("z", DataType::Date32, true)];
    assert_eq!(types, expected);
    let found = read(source.as_ref());
    assert_eq!(numbers(&found[0]), [Some(1.0), Some(2.0), Some(0.5)]);
    assert_eq!(texts(&found[1]), [Some("a"), Some("b"), None]);
    let notes = source.notes().join("\n");
    assert!(notes.contains("`y` (in 1 of 2)") && notes.contains("`x` (Int32 to Float64)"), "{notes}");
}

#[test]
fn sources_follow_one_another_and_rows_know_theirs() {
    let folder = tempdir().unwrap();
    let a = batch(vec![("x", Arc::new(Int32Array::from(vec![1, 2, 3]))), ("y", Arc::new(StringArray::from(vec!["p", "q", "r"])))]);
    let b = batch(vec![("z", Arc::new(Int32Array::from(vec![7]))), ("x", Arc::new(Float64Array::from(vec![0.5])))]);
    write_parquet(&folder.path().join("a.parquet"), &a, 2);
    write_parquet(&folder.path().join("b.parquet"), &b, 2);
    let one = |file: &str| -> Arc<dyn Source> { Arc::from(open(&options(folder.path(), &[file])).unwrap()) };
    let both = || vec![("left".to_owned(), one("a.parquet")), ("right".to_owned(), one("b.parquet"))];
    let whole = union(both(), "source").unwrap();
    let names: Vec<String> = whole.schema().fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect();
    assert_eq!(names, ["x: Float64", "y: Utf8", "z: Int32", "source: Utf8"]);
    assert_eq!((whole.n_rows(), whole.files().len()), (Some(4), 2));
    for max_rows in [1, 2, 100] {
        let found = columns(whole.as_ref(), &[3, 0, 2, 1, 0], max_rows);
        assert_eq!(texts(&found[0]), [Some("left"), Some("left"), Some("left"), Some("right")]);
        assert_eq!(numbers(&found[1]), [Some(1.0), Some(2.0), Some(3.0), Some(0.5)]);
        assert_eq!(numbers(&found[2]), [None, None, None, Some(7.0)]);
        assert_eq!(texts(&found[3]), [Some("p"), Some("q"), Some("r"), None]);
        assert_eq!(&found[4], &found[1]);
        // Columns that a source lacks have rows all the same.
        assert_eq!(numbers(&columns(whole.as_ref(), &[2], max_rows)[0]).len(), 4);
    }
    let taken = union(both(), "x").err().unwrap();
    assert!(taken.to_string().contains("`left` has a column `x`"), "{taken}");
    let c = batch(vec![("x", Arc::new(StringArray::from(vec!["one"])))]);
    write_parquet(&folder.path().join("c.parquet"), &c, 2);
    let apart = union(vec![("left".to_owned(), one("a.parquet")), ("third".to_owned(), one("c.parquet"))], "source").err().unwrap();
    assert!(matches!(&apart, ReadError::SchemaMismatch { column, .. } if column == "x"), "{apart}");
}

#[test]
fn types_that_do_not_go_together_are_an_error_that_names_the_later_file() {
    let folder = tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &batch(vec![("x", Arc::new(Int32Array::from(vec![1])))]), 10);
    write_parquet(&folder.path().join("b.parquet"), &batch(vec![("x", Arc::new(StringArray::from(vec!["1"])))]), 10);
    let error = error(&options(folder.path(), &["*.parquet"]));
    assert_eq!(error.cause(), Cause::Data);
    let text = error.to_string();
    assert!(text.contains("column `x`") && text.contains("b.parquet") && text.contains("Utf8"), "{text}");
}

#[test]
fn folders_named_key_value_become_columns() {
    let folder = tempdir().unwrap();
    for (year, kind, x) in [("2023", "a%20b", 1), ("2024", "c", 2)] {
        let inner = folder.path().join(format!("data/year={year}/kind={kind}"));
        create_dir_all(&inner).unwrap();
        write_parquet(&inner.join("part.parquet"), &batch(vec![("x", Arc::new(Int32Array::from(vec![x])))]), 10);
        write(inner.join("_SUCCESS"), "").unwrap();
    }
    for path in ["data/**/*.parquet", "data", "data/"] {
        let source = open(&options(folder.path(), &[path])).unwrap();
        let found = read(source.as_ref());
        assert_eq!(numbers(&found[1]), [Some(2023.0), Some(2024.0)], "{path}");
        assert_eq!(texts(&found[2]), [Some("a b"), Some("c")], "{path}");
        assert_eq!(*source.schema().field(1).data_type(), DataType::Int64);
    }
}

const CSV: &str = "name;x;when;ok\n\"a;1\";1;2024-01-31;true\nb;;2024-02-01;FALSE\n\nc;n/a;;\n";

#[test]
fn text_is_read_with_its_separator_types_and_nulls() {
    let folder = tempdir().unwrap();
    let crlf = CSV.replace('\n', "\r\n");
    for (name, text) in [("lf.csv", CSV.to_owned()), ("crlf.csv", crlf), ("mark.csv", format!("\u{feff}{CSV}"))] {
        write(folder.path().join(name), text).unwrap();
        let options = {
            let mut o = options(folder.path(), &[name]);
            o.null_values = vec!["n/a".to_owned()];
            o
        };
        let source = open(&options).unwrap();
        let schema = source.schema();
        let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Int64, DataType::Date32, DataType::Boolean], "{name}");
        let found = read(source.as_ref());
        assert_eq!(texts(&found[0]), [Some("a;1"), Some("b"), Some("c")]);
        assert_eq!(numbers(&found[1]), [Some(1.0), None, None]);
        assert_eq!(numbers(&found[2]), [Some(19_753.0), Some(19_754.0), None]);
        assert_eq!(numbers(&found[3]), [Some(1.0), Some(0.0), None]);
        assert!(source.notes().iter().any(|note| note.contains("`;` (guessed)")), "{:?}", source.notes());
    }
}

#[test]
fn packed_text_reads_like_plain_text() {
    let folder = tempdir().unwrap();
    let text: String = "x,y\n".to_owned() + &(0..100_000).map(|i| format!("{i},{}\n", i * 2)).collect::<String>();
    write(folder.path().join("plain.csv"), &text).unwrap();
    write(folder.path().join("a.csv.gz"), common::gzip(text.as_bytes())).unwrap();
    write(folder.path().join("b.csv.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    let plain = read(open(&options(folder.path(), &["plain.csv"])).unwrap().as_ref());
    assert_eq!(plain[1].len(), 100_000);
    for packed in ["a.csv.gz", "b.csv.zst"] {
        let source = open(&options(folder.path(), &[packed])).unwrap();
        assert_eq!(columns(source.as_ref(), &[0, 1], 777), plain, "{packed}");
    }
}

#[test]
fn a_packed_file_that_is_cut_off_is_corrupt() {
    let folder = tempdir().unwrap();
    let text: String = "x\n".to_owned() + &(0..100_000).map(|i| format!("{i}\n")).collect::<String>();
    let packed = common::gzip(text.as_bytes());
    write(folder.path().join("cut.csv.gz"), &packed[..packed.len() / 2]).unwrap();
    let error = common::scan_error(&options(folder.path(), &["cut.csv.gz"]));
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
}

#[test]
fn files_without_names_get_numbered_columns() {
    let folder = tempdir().unwrap();
    write(folder.path().join("x.tsv"), "1\ta\n2\tb\n").unwrap();
    let mut options = options(folder.path(), &["x.tsv"]);
    let source = open(&options).unwrap();
    assert_eq!(read(source.as_ref())[0].len(), 1, "the first line is taken for names");
    options.header = Some(false);
    let source = open(&options).unwrap();
    let names: Vec<String> = source.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["column_1", "column_2"]);
    assert_eq!(numbers(&read(source.as_ref())[0]), [Some(1.0), Some(2.0)]);
}

#[test]
fn encodings_are_decoded_and_wrong_ones_are_named() {
    let folder = tempdir().unwrap();
    write(folder.path().join("latin.csv"), b"name,x\ncaf\xe9,1\n").unwrap();
    let mut latin = options(folder.path(), &["latin.csv"]);
    let error = common::scan_error(&latin);
    assert!(error.to_string().contains("set `encoding`"), "{error}");
    latin.encoding = Some("windows-1252".to_owned());
    assert_eq!(texts(&read(open(&latin).unwrap().as_ref())[0]), [Some("caf\u{e9}")]);
    latin.encoding = Some("klingon".to_owned());
    assert_eq!(common::error(&latin).cause(), Cause::Spec);
    let utf16: Vec<u8> = "\u{feff}name,x\ncaf\u{e9},1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    write(folder.path().join("wide.csv"), utf16).unwrap();
    let wide = open(&options(folder.path(), &["wide.csv"])).unwrap();
    assert_eq!(texts(&read(wide.as_ref())[0]), [Some("caf\u{e9}")]);
}

#[test]
fn a_fraction_far_down_makes_the_column_one_of_fractions() {
    let folder = tempdir().unwrap();
    let mut text = "x\n".to_owned() + &"1\n".repeat(100_000);
    text.push_str(&"2.5\n".repeat(10_000));
    write(folder.path().join("x.csv"), text).unwrap();
    let source = open(&options(folder.path(), &["x.csv"])).unwrap();
    assert_eq!(*source.schema().field(0).data_type(), DataType::Float64);
    assert_eq!(read(source.as_ref())[0].len(), 110_000);
}

#[test]
fn a_cell_of_the_wrong_type_is_named_with_its_line_and_what_to_do() {
    let folder = tempdir().unwrap();
    let text = "x,y\n".to_owned() + &"1,2\n".repeat(50_000) + "1,n/a\n" + &"1,2\n".repeat(10);
    write(folder.path().join("x.csv"), text).unwrap();
    let mut options = options(folder.path(), &["x.csv"]);
    let text = common::scan_error(&options).to_string();
    for part in ["x.csv", "column `y`", "line 50002", "`n/a`", "null_values"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    options.null_values = vec!["n/a".to_owned()];
    let found = read(open(&options).unwrap().as_ref());
    assert_eq!((found[1].len(), found[1].null_count()), (50_011, 1));
}

#[test]
fn one_text_among_numbers_is_pointed_out() {
    let folder = tempdir().unwrap();
    write(folder.path().join("x.csv"), "x\n1\n2\nNA\n3\n").unwrap();
    let source = open(&options(folder.path(), &["x.csv"])).unwrap();
    assert_eq!(*source.schema().field(0).data_type(), DataType::Utf8);
    assert!(source.notes().iter().any(|note| note.contains("`NA` (line 4)")), "{:?}", source.notes());
}

#[test]
fn text_files_that_differ_are_read_as_what_holds_both() {
    let folder = tempdir().unwrap();
    write(folder.path().join("a.csv"), "id,x,e\n7,1,\n").unwrap();
    write(folder.path().join("b.csv"), "id,x,e\nA7,2.5,3\n").unwrap();
    let source = open(&options(folder.path(), &["a.csv", "b.csv"])).unwrap();
    let found = read(source.as_ref());
    assert_eq!(texts(&found[0]), [Some("7"), Some("A7")]);
    assert_eq!(numbers(&found[1]), [Some(1.0), Some(2.5)]);
    assert_eq!(numbers(&found[2]), [None, Some(3.0)]);
}

#[test]
fn json_lines_are_read_with_their_types() {
    let folder = tempdir().unwrap();
    let text = r#"{"i": 9007199254740993, "f": 1, "t": "a", "at": "2024-01-31T10:00:00Z", "o": {"k": 1}}
{"i": null, "f": 2.5, "b": true, "at": "2024-01-31T10:00:01Z"}
"#;
    write(folder.path().join("x.jsonl"), text).unwrap();
    write(folder.path().join("x.jsonl.gz"), common::gzip(text.as_bytes())).unwrap();
    for name in ["x.jsonl", "x.jsonl.gz"] {
        let source = open(&options(folder.path(), &[name])).unwrap();
        let schema = source.schema();
        let at = |name: &str| schema.index_of(name).unwrap();
        assert_eq!(*schema.field(at("at")).data_type(), DataType::Timestamp(TimeUnit::Microsecond, None));
        let found = read(source.as_ref());
        let exact: ArrayRef = Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None]));
        assert_eq!(&found[at("i")], &exact);
        assert_eq!(numbers(&found[at("f")]), [Some(1.0), Some(2.5)]);
        assert_eq!(numbers(&found[at("b")]), [None, Some(1.0)]);
        assert_eq!(texts(&found[at("t")]), [Some("a"), None]);
        let twice = columns(source.as_ref(), &[at("f"), at("t"), at("f")], 1);
        assert_eq!((&twice[0], &twice[2]), (&found[at("f")], &found[at("f")]));
    }
}

#[test]
fn a_fraction_that_nobody_saw_coming_is_read() {
    let folder = tempdir().unwrap();
    let (ones, more) = (40_000, 20_000);
    let csv = "x\n".to_owned() + &"1\n".repeat(ones) + "2.5\n" + &"1\n".repeat(more);
    let json = "{\"x\": 1}\n".repeat(ones) + "{\"x\": 2.5}\n" + &"{\"x\": 1}\n".repeat(more);
    for (name, text) in [("x.csv", csv), ("x.jsonl", json)] {
        write(folder.path().join(name), &text).unwrap();
        let packed = format!("{name}.gz");
        write(folder.path().join(&packed), common::gzip(text.as_bytes())).unwrap();
        for name in [name, &packed] {
            let found = numbers(&read(open(&options(folder.path(), &[name])).unwrap().as_ref())[0]);
            assert_eq!(
                (found.len(), found[ones - 1], found[ones], found[ones + 1]),
                (ones + more + 1, Some(1.0), Some(2.5), Some(1.0)),
                "{name}"
            );
        }
    }
}

#[test]
fn whole_numbers_that_no_float_equals_stay_whole() {
    let folder = tempdir().unwrap();
    let id = 9_007_199_254_740_993_i64;
    let csv = format!("id,x\n{id},1\n") + &format!("{},2\n", id + 1).repeat(20_000);
    let json = format!("{{\"id\": {id}, \"x\": 1}}\n").repeat(20_000);
    for (name, text) in [("x.csv", csv), ("x.jsonl", json)] {
        write(folder.path().join(name), text).unwrap();
        let source = open(&options(folder.path(), &[name])).unwrap();
        let types: Vec<_> = source.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Int64, DataType::Float64], "{name}");
        let found = read(source.as_ref());
        assert_eq!(found[0].as_primitive::<Int64Type>().value(0), id, "{name}");
    }
}

#[test]
fn json_numbers_are_never_cut_off() {
    let folder = tempdir().unwrap();
    let text = "{\"x\": 9007199254740993}\n".repeat(20_000) + "{\"x\": 2.5}\n" + &"{\"x\": 1}\n".repeat(20_000);
    write(folder.path().join("x.jsonl"), text).unwrap();
    let text = common::scan_or_open_error(&options(folder.path(), &["x.jsonl"])).to_string();
    assert!(text.contains("`2.5`") && text.contains("line 20001"), "{text}");
}

#[test]
fn json_arrays_and_broken_lines_are_refused() {
    let folder = tempdir().unwrap();
    write(folder.path().join("array.json"), "[{\"x\": 1}]").unwrap();
    let error = error(&options(folder.path(), &["array.json"]));
    assert!(matches!(error, ReadError::Unsupported { .. }), "{error}");
    write(folder.path().join("cut.jsonl"), "{\"x\": 1}\n{\"x\": ").unwrap();
    common::scan_or_open_error(&options(folder.path(), &["cut.jsonl"]));
}

#[test]
fn arrow_files_and_streams_are_read_packed_or_not() {
    let folder = tempdir().unwrap();
    let whole = table(10_000);
    let names = common::write_arrow(folder.path(), &whole, 3_000);
    for name in names {
        let source = open(&options(folder.path(), &[&name])).unwrap();
        let known = (!name.ends_with(".gz")).then_some(10_000);
        assert_eq!(source.n_rows(), known, "{name}");
        let found = columns(source.as_ref(), &[2, 0], 1_001);
        assert_eq!(found, [Arc::clone(whole.column(2)), Arc::clone(whole.column(0))], "{name}");
    }
}

#[test]
fn where_keeps_the_rows_that_are_true() {
    let folder = tempdir().unwrap();
    write_parquet(&folder.path().join("x.parquet"), &table(50_000), 12_345);
    let mut options = options(folder.path(), &["x.parquet"]);
    options.filter = Some("i >= 20000 and t <> 'row 20000'".to_owned());
    let source = open(&options).unwrap();
    assert_eq!(source.n_rows(), None);
    let expected: Vec<Option<f64>> = (20_001..50_000).filter(|i| i % 7 != 3).map(|i| Some(f64::from(i) / 4.0)).collect();
    for max_rows in [100, 5_000, 65_536] {
        assert_eq!(numbers(&columns(source.as_ref(), &[1], max_rows)[0]), expected);
    }
    options.filter = Some("i > 1000000".to_owned());
    assert_eq!(read(open(&options).unwrap().as_ref())[0].len(), 0);
    options.filter = Some("j > 1".to_owned());
    assert_eq!(error(&options).cause(), Cause::Spec);
}

#[test]
fn samples_do_not_depend_on_how_the_rows_are_read() {
    let folder = tempdir().unwrap();
    let whole = table(50_000);
    write_parquet(&folder.path().join("a.parquet"), &whole, 1_000);
    write_parquet(&folder.path().join("b.parquet"), &whole, 50_000);
    let sample = |name: &str, sample, filter: Option<&str>, max_rows| {
        let mut options = options(folder.path(), &[name]);
        (options.sample, options.seed, options.filter) = (Some(sample), 5, filter.map(str::to_owned));
        columns(open(&options).unwrap().as_ref(), &[0, 2], max_rows)
    };
    let share = sample("a.parquet", Sample::Share(0.1), None, 65_536);
    assert!((4_700..5_300).contains(&share[0].len()), "{}", share[0].len());
    assert_eq!(share, sample("b.parquet", Sample::Share(0.1), None, 999));
    assert_eq!(share, sample("a.parquet", Sample::Rows(5_000), None, 65_536));
    let few = sample("a.parquet", Sample::Rows(1_000), Some("i < 10000"), 65_536);
    assert!((850..1_150).contains(&few[0].len()), "{}", few[0].len());
    assert_eq!(sample("a.parquet", Sample::Rows(u64::MAX), None, 65_536)[0].len(), 50_000);
}

#[test]
fn missing_files_are_named_with_the_nearest() {
    let folder = tempdir().unwrap();
    write(folder.path().join("visits.csv"), "x\n1\n").unwrap();
    let missing = error(&options(folder.path(), &["visist.csv"]));
    assert!(matches!(&missing, ReadError::NotFound { nearest: Some(path), .. } if path.ends_with("visits.csv")));
    assert_eq!(missing.cause(), Cause::Spec);
    assert!(matches!(error(&options(folder.path(), &["*.parquet"])), ReadError::NoMatch { .. }));
    assert_eq!(error(&options(folder.path(), &["***"])).cause(), Cause::Spec);
}

#[test]
fn files_that_cannot_be_told_or_read_are_refused() {
    let folder = tempdir().unwrap();
    write(folder.path().join("thing.bin"), "what is this").unwrap();
    assert!(error(&options(folder.path(), &["thing.bin"])).to_string().contains("set `format`"));
    for name in ["empty.csv", "empty.parquet", "empty.jsonl", "empty.arrow"] {
        write(folder.path().join(name), "").unwrap();
        assert!(matches!(error(&options(folder.path(), &[name])), ReadError::Corrupt { .. }), "{name}");
    }
    assert_eq!(error(&options(folder.path(), &[])).cause(), Cause::Spec);
}

#[test]
fn a_file_that_changes_after_it_was_opened_is_not_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    write_parquet(&path, &table(10), 10);
    let source = open(&options(folder.path(), &["x.parquet"])).unwrap();
    write_parquet(&path, &table(1_000), 10);
    let error = common::try_columns(source.as_ref(), &[0], 100).unwrap_err();
    assert!(matches!(error, ReadError::Changed { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Temporary);
}

#[test]
fn rows_can_be_counted_without_columns() {
    let folder = tempdir().unwrap();
    write_parquet(&folder.path().join("x.parquet"), &table(100), 30);
    write(folder.path().join("x.csv"), "a,b\n1,2\n3,4\n").unwrap();
    write(folder.path().join("x.jsonl"), "{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n").unwrap();
    for (name, rows) in [("x.parquet", 100), ("x.csv", 2), ("x.jsonl", 3)] {
        let source = open(&options(folder.path(), &[name])).unwrap();
        assert_eq!(common::count(source.as_ref()), rows, "{name}");
    }
    let source = open(&options(folder.path(), &["x.csv"])).unwrap();
    assert!(matches!(source.scan(&[2]), Err(ReadError::NoColumn { column: 2, n_columns: 2 })));
}

#[test]
fn bytes_behind_the_last_value_of_a_column_are_refused_whatever_the_budget() {
    let folder = tempdir().unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..400));
    let batch = RecordBatch::try_from_iter([("i", column)]).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_offset_index_disabled(true);
    let properties = properties.set_statistics_enabled(EnabledStatistics::None).build();
    let mut whole = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut whole, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let metadata = writer.close().unwrap();
    let group = metadata.row_group(0);
    let (start, length) = group.column(0).byte_range();
    let with = |more: &[u8]| {
        let mut bytes = [&whole[..(start + length) as usize], more].concat();
        let chunk =
            group.column(0).clone().into_builder().set_total_compressed_size((length as usize + more.len()) as i64).build().unwrap();
        let group = group.clone().into_builder().set_column_metadata(vec![chunk]).build().unwrap();
        let metadata = metadata.clone().into_builder().set_row_groups(vec![group]).build();
        ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
        write(folder.path().join("t.parquet"), bytes).unwrap();
    };
    // Of 4 KiB no reader may hold a page: it is closed after every call, and the next one begins inside of the column.
    let ends = |memory_bytes: u64, max_rows: usize| {
        let source = open(&SourceOptions { memory_bytes, ..options(folder.path(), &["t.parquet"]) }).unwrap();
        let mut scan = source.scan(&[0]).unwrap();
        loop {
            match scan.next(max_rows, &|_, _, _| {}) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    for (memory_bytes, max_rows) in [(1 << 26, 1_000), (1 << 26, 7), (1 << 13, 1_000), (1 << 13, 7)] {
        with(&[]);
        assert_eq!(ends(memory_bytes, max_rows), Ok(()), "{memory_bytes} bytes, {max_rows} rows");
        for more in [&[0xff_u8; 40][..], &whole[start as usize..(start + length) as usize]] {
            with(more);
            let error = ends(memory_bytes, max_rows).unwrap_err();
            assert!(error.contains("column `i`") && error.contains("corrupt"), "{memory_bytes} bytes, {max_rows} rows: {error}");
        }
    }
}
