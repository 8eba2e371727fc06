//! Tables and texts are whole or absent, and lie where they were asked for.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use arrow::array::{ArrayRef, Float64Array, StringArray, UInt8Array, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::datatypes::{Field, Schema};
use encoder::ROW_GROUP_ROWS;

fn open(folder: &TempDir) -> Folder {
    Folder::open(folder.path()).unwrap()
}

fn table(n: usize) -> (SchemaRef, RecordBatch) {
    let fields =
        vec![Field::new("n", DataType::UInt64, false), Field::new("r", DataType::Float64, true), Field::new("name", DataType::Utf8, false)];
    let schema = Arc::new(Schema::new(fields));
    let n_column = UInt64Array::from_iter_values(0..n as u64);
    let r_column: Float64Array = (0..n).map(|i| (i % 7 != 0).then_some(i as f64 / 3.0)).collect();
    let names = StringArray::from_iter_values((0..n).map(|i| format!("column {}", i % 100)));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(n_column), Arc::new(r_column), Arc::new(names)]).unwrap();
    (schema, batch)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_table_comes_back_and_its_bytes_do_not_depend_on_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (schema, batch) = table(ROW_GROUP_ROWS + 4_321);
    let whole = write_table(&open(&folder), "whole.parquet", &schema, std::slice::from_ref(&batch)).unwrap();
    let cut = [batch.slice(0, 10), batch.slice(10, 70_001), batch.slice(70_011, batch.num_rows() - 70_011)];
    let pieces = write_table(&open(&folder), "pieces.parquet", &schema, &cut).unwrap();
    assert_eq!((whole.blake3.as_str(), whole.rows), (pieces.blake3.as_str(), batch.num_rows() as u64));
    let bytes = fs::read(folder.path().join("whole.parquet")).unwrap();
    assert_eq!((blake3::hash(&bytes).to_hex().to_string(), bytes.len() as u64), (whole.blake3, whole.bytes));
    let back = read_table(&folder.path().join("pieces.parquet")).unwrap();
    assert_eq!(concat_batches(&schema, &back).unwrap(), batch);
}

#[test]
fn row_groups_of_long_texts_have_fewer_rows_however_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    let text = |row: usize| (row % 11 != 3).then(|| "word ".repeat(row % 1_500));
    let column: ArrayRef = Arc::new((0..40_000).map(text).collect::<StringArray>());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let whole = write_table(&open(&folder), "whole.parquet", &schema, std::slice::from_ref(&batch)).unwrap();
    // Where no cell is missing a slice may have no buffer of nulls: that must not count.
    let cut: Vec<RecordBatch> = (0..40_000).step_by(777).map(|at| batch.slice(at, 777.min(40_000 - at))).collect();
    let pieces = write_table(&open(&folder), "pieces.parquet", &schema, &cut).unwrap();
    assert_eq!(whole.blake3, pieces.blake3);
    let file = File::open(folder.path().join("whole.parquet")).unwrap();
    let groups = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let groups: Vec<i64> = groups.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    // Rows take 3,400 bytes, here more and there less: 4 MiB are reached in the first piece of 1,024 or the second.
    assert!(groups.len() == 23 && groups.iter().all(|rows| *rows <= 2 * 1_024), "{groups:?}");
    assert_eq!(concat_batches(&schema, &read_table(&folder.path().join("pieces.parquet")).unwrap()).unwrap(), batch);
}

#[cfg(target_os = "linux")]
#[test]
fn what_takes_the_place_of_a_folder_gets_no_file() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (step, moved) = (folder.path().join("step"), folder.path().join("moved"));
    let swap = || {
        fs::rename(&step, &moved).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &step).unwrap();
    };
    fs::create_dir(&step).unwrap();
    let run_dir = open(&folder);
    let (schema, batch) = table(10);
    let mut writer = TableWriter::new(&run_dir, "step/t.parquet", schema).unwrap();
    let scratch = scratch_in(&run_dir.below("step").unwrap()).unwrap();
    swap();
    writer.push(&batch).unwrap();
    writer.finish().unwrap().commit().unwrap();
    fs::write(scratch.folder.at("block"), "x").unwrap();
    assert!(moved.join("t.parquet").is_file());
    drop(scratch);
    assert_eq!(names(&moved), ["t.parquet"], "a spill folder is removed where it lies");
    // And a link that is there already is not gone through.
    let refused = [
        write_file(&run_dir, "step/t.csv", b"x", 1).map(|_| ()),
        write_text(&run_dir, "t.txt", "x"),
        link_or_copy(&moved.join("t.parquet"), &run_dir, "step/u.parquet", &|_| true).map(|_| ()),
        keep_aside(&run_dir, "step/t.csv", b"x").map(|_| ()),
    ];
    let words: Vec<String> = refused.into_iter().map(|written| written.err().map_or(String::new(), |error| error.to_string())).collect();
    let path = |name: &str| format!("cannot write {}: Not a directory (os error 20)", step.join(name).display());
    assert_eq!(words, [path("t.csv"), String::new(), path("u.parquet"), path("t.csv")]);
    assert_eq!(names(elsewhere.path()), Vec::<String>::new());
    // What a manifest names is no path of its own making: to anywhere, through a link further down, or through one with a slash behind it.
    let there = elsewhere.path().join("x.csv");
    fs::write(&there, "someone's").unwrap();
    for wrong in [format!("moved/{}", there.display()), "moved/down/x.csv".to_owned(), "step//x.csv".to_owned(), "../x.csv".to_owned()] {
        assert!(write_file(&run_dir, &wrong, b"x", 1).is_err() && keep_aside(&run_dir, &wrong, b"x").is_err(), "{wrong}");
        assert!(TableWriter::new(&run_dir, &wrong, Arc::clone(&batch.schema())).is_err(), "{wrong}");
    }
    for wrong in ["step/", "moved/down", "/tmp", "..", ".", ""] {
        assert_eq!(run_dir.below(wrong).unwrap_err().kind(), io::ErrorKind::InvalidFilename, "{wrong:?}");
    }
    assert_eq!(names(elsewhere.path()), ["x.csv"]);
}

#[test]
fn row_groups_of_wide_tables_grow_with_the_footer() {
    let folder = tempfile::tempdir().unwrap();
    let fields: Vec<Field> = (0..1_000).map(|at| Field::new(format!("c{at}"), DataType::UInt8, false)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let column = |at: usize| -> ArrayRef { Arc::new(UInt8Array::from_iter_values((0..1_000).map(|row| ((7 * row + 3 * at) % 251) as u8))) };
    let batch = RecordBatch::try_new(Arc::clone(&schema), (0..1_000).map(column).collect()).unwrap();
    let batches = vec![batch; 41];
    let written = [1, 3].map(|n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| write_table(&open(&folder), "wide.parquet", &schema, &batches)).unwrap().blake3
    });
    assert_eq!(written[0], written[1], "columns are laid down in order, however many are encoded at a time");
    let path = folder.path().join("wide.parquet");
    assert_eq!(concat_batches(&schema, &read_table(&path).unwrap()).unwrap(), concat_batches(&schema, &batches).unwrap());
    let groups = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let groups: Vec<i64> = groups.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    // A piece of 1,024 rows is 1 MB; 4 MiB are reached by the fifth. After six groups the footer holds 860 kB of each.
    assert_eq!(groups, [5_120, 5_120, 5_120, 5_120, 5_120, 5_120, 6_144, 4_136]);
}

#[test]
fn an_empty_table_keeps_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let (schema, batch) = table(0);
    let record = write_table(&open(&folder), "none.parquet", &schema, &[batch]).unwrap();
    assert_eq!(record.rows, 0);
    let file = File::open(folder.path().join("none.parquet")).unwrap();
    assert_eq!(*ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema(), schema);
}

#[test]
fn a_failed_write_leaves_neither_file_nor_temp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let failed = write_whole(&open(&folder), "out", |file| {
        file.write_all(b"half")?;
        Err::<(), _>(io::ErrorKind::StorageFull.into())
    });
    assert!(matches!(failed, Err(JobError::Write { .. })));
    assert_eq!(names(folder.path()), Vec::<String>::new());
    write_text(&open(&folder), "out", "old").unwrap();
    write_text(&open(&folder), "out", "new").unwrap();
    assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["out".to_owned()]));
}

#[test]
fn an_error_names_the_file_and_not_the_temp() {
    let folder = tempfile::tempdir().unwrap();
    let open = open(&folder);
    let path = folder.path().to_owned();
    folder.close().unwrap();
    let refused = [write_text(&open, "out", "x").err().unwrap(), scratch_in(&open).err().unwrap()];
    let [out, above] =
        [path.join("out"), path].map(|path| format!("cannot write {}: No such file or directory (os error 2)", path.display()));
    assert_eq!(refused.map(|error| error.to_string()), [out, above]);
}

#[test]
fn a_full_disk_is_seen_through_the_table_writer() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (schema, batch) = table(10);
    let encoded = Encoder::new(Full, schema).and_then(|mut encoder| encoder.push(&batch).and_then(|()| encoder.finish()));
    let error = into_io(encoded.err().unwrap());
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn sweep_removes_temps_alone() {
    let folder = tempfile::tempdir().unwrap();
    let step = folder.path().join("step");
    fs::create_dir_all(step.join(".gristmill-x.scratch")).unwrap();
    fs::write(step.join(".gristmill-x.scratch/block"), "x").unwrap();
    fs::write(step.join(".gristmill-y.tmp"), "x").unwrap();
    fs::write(step.join("pairs.parquet"), "x").unwrap();
    fs::write(folder.path().join(".gristmill-z.tmp"), "x").unwrap();
    sweep(&open(&folder)).unwrap();
    assert_eq!((names(folder.path()), names(&step)), (vec!["step".to_owned()], vec!["pairs.parquet".to_owned()]));
}

#[cfg(unix)]
#[test]
fn a_link_is_replaced_in_one_step() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("latest");
    point(&link, Path::new("a")).unwrap();
    point(&link, Path::new("b")).unwrap();
    assert_eq!((fs::read_link(&link).unwrap(), names(folder.path())), (PathBuf::from("b"), vec!["latest".to_owned()]));
}
