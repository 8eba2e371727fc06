//! What the tests share: options, files to write, columns to read back.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float64Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use gristmill_datasets::{ReadError, Source, SourceOptions, open};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// Returns options that name some paths and leave all else to defaults.
pub(crate) fn options(folder: &Path, paths: &[&str]) -> SourceOptions {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    SourceOptions { paths, base_dir: folder.to_path_buf(), ..SourceOptions::of("") }
}

/// Writes a table in row groups of a given length.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch, group_rows: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Writes a table as Arrow files and streams of all packings, and returns their names.
pub(crate) fn write_arrow(folder: &Path, batch: &RecordBatch, batch_rows: usize) -> Vec<String> {
    let packings = [("none", None), ("lz4", Some(CompressionType::LZ4_FRAME)), ("zstd", Some(CompressionType::ZSTD))];
    let mut names = Vec::new();
    let pieces = || {
        let n = batch.num_rows();
        (0..n).step_by(batch_rows).map(move |first| batch.slice(first, batch_rows.min(n - first)))
    };
    for (packing, compression) in packings {
        let options = || IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let file = File::create(folder.join(format!("{packing}.arrow"))).unwrap();
        let mut writer = FileWriter::try_new_with_options(file, &batch.schema(), options()).unwrap();
        pieces().for_each(|piece| writer.write(&piece).unwrap());
        writer.finish().unwrap();
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), options()).unwrap();
        pieces().for_each(|piece| writer.write(&piece).unwrap());
        writer.finish().unwrap();
        std::fs::write(folder.join(format!("{packing}.arrows")), &bytes).unwrap();
        std::fs::write(folder.join(format!("{packing}.arrows.gz")), gzip(&bytes)).unwrap();
        names.extend([format!("{packing}.arrow"), format!("{packing}.arrows"), format!("{packing}.arrows.gz")]);
    }
    names
}

/// Packs some bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Reads some columns to the end, and checks that they are in step and their pieces in order.
pub(crate) fn try_columns(source: &dyn Source, projection: &[usize], max_rows: usize) -> Result<Vec<ArrayRef>, ReadError> {
    let pieces: Vec<Mutex<Vec<ArrayRef>>> = projection.iter().map(|_| Mutex::default()).collect();
    let mut scan = source.scan(projection)?;
    loop {
        let given: Vec<Mutex<usize>> = projection.iter().map(|_| Mutex::default()).collect();
        let n = scan.next(max_rows, &|column, before, array: &ArrayRef| {
            let mut given = given[column].lock().unwrap();
            assert_eq!(*given, before, "a piece is out of order");
            *given += array.len();
            pieces[column].lock().unwrap().push(Arc::clone(array));
        })?;
        assert!(n <= max_rows);
        assert!(given.into_iter().all(|given| given.into_inner().unwrap() == n), "columns are out of step");
        if n == 0 {
            break;
        }
    }
    let schema = source.schema();
    let join = |(column, pieces): (&usize, Mutex<Vec<ArrayRef>>)| {
        let pieces = pieces.into_inner().unwrap();
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        let data_type = schema.field(*column).data_type();
        assert!(pieces.iter().all(|piece| piece.data_type() == data_type), "a piece has another type");
        if pieces.is_empty() { new_empty_array(data_type) } else { concat(&pieces).unwrap() }
    };
    Ok(projection.iter().zip(pieces).map(join).collect())
}

/// Reads some columns that can be read.
pub(crate) fn columns(source: &dyn Source, projection: &[usize], max_rows: usize) -> Vec<ArrayRef> {
    try_columns(source, projection, max_rows).unwrap()
}

/// Reads all columns.
pub(crate) fn read(source: &dyn Source) -> Vec<ArrayRef> {
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    columns(source, &all, 65_536)
}

/// Counts rows by reading no column.
pub(crate) fn count(source: &dyn Source) -> usize {
    let mut scan = source.scan(&[]).unwrap();
    let mut rows = 0;
    loop {
        match scan.next(7, &|_, _, _| panic!("no column was asked for")).unwrap() {
            0 => return rows,
            n => rows += n,
        }
    }
}

/// Returns the error of a source that cannot be opened.
pub(crate) fn error(options: &SourceOptions) -> ReadError {
    open(options).err().unwrap()
}

/// Returns the error of a source that opens and cannot be read.
pub(crate) fn scan_error(options: &SourceOptions) -> ReadError {
    let source = open(options).unwrap();
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    try_columns(source.as_ref(), &all, 65_536).unwrap_err()
}

/// Returns the error of a source that cannot be opened or read.
pub(crate) fn scan_or_open_error(options: &SourceOptions) -> ReadError {
    match open(options) {
        Err(error) => error,
        Ok(_) => scan_error(options),
    }
}

/// Returns a column as floats.
pub(crate) fn numbers(array: &ArrayRef) -> Vec<Option<f64>> {
    let array = if *array.data_type() == DataType::Date32 { cast(array, &DataType::Int32).unwrap() } else { array.clone() };
    cast(&array, &DataType::Float64).unwrap().as_primitive::<Float64Type>().iter().collect()
}

/// Returns a column as texts.
pub(crate) fn texts(array: &ArrayRef) -> Vec<Option<&str>> {
    array.as_string::<i32>().iter().collect()
}
