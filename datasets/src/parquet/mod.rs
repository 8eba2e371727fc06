//! Parquet files: footers only to open, then one reader for each column of a row group, all in step.
//!
//! Types    as arrow's schema in the file says, with Utf8 and Binary in place of their view types and microseconds
//!          for INT96 timestamps, whose range is larger than that of nanoseconds.
//! Nested   a nested column is offered with its nested type and read whole.
//! Memory   one page and one small array a column; a row group is never held.
//! Absent   statistics and pruning by them (files with NaN carry wrong ones), encryption, the page index.

mod delta;
mod footer;
mod pages;
mod scan;
mod thrift;

use std::io;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetStatisticsPolicy, RowGroupMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use crate::fence::fenced;
use crate::input::InputFile;
use crate::table::{Part, Wanted};
use crate::{ReadError, Scan};

/// A Parquet file whose footer was read.
pub(crate) struct ParquetFile {
    file: InputFile,
    metadata: ArrowReaderMetadata,
    /// The same with INT96 timestamps in seconds, which none of them overflows.
    seconds: Option<ArrowReaderMetadata>,
    columns: Vec<Column>,
    /// Parts of the metadata of a wide file, each made when one of its columns is read.
    parts: Vec<OnceLock<Option<Narrow>>>,
    rows: u64,
    /// Whether its writer compressed pages that it called uncompressed.
    always_compressed: bool,
}

/// The metadata of some neighbouring columns: a reader of one column looks at every column that its metadata has.
struct Narrow {
    metadata: ArrowReaderMetadata,
    first_leaf: usize,
}

/// Columns of a part.
const COLUMNS_OF_PART: usize = 64;

/// A top-level column.
struct Column {
    name: String,
    leaves: Vec<usize>,
    int96: Int96,
}

/// Whether a column holds INT96 timestamps, whose conversion to 64 bits can wrap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Int96 {
    No,
    /// It is one: what it holds is compared with its reading in seconds.
    Whole,
    /// Somewhere inside a nested type: not read.
    Inside,
}

/// Reads the footer of a file and holds it against the file.
pub(crate) fn open(file: InputFile) -> Result<ParquetFile, ReadError> {
    let handle = file.open()?;
    footer::check_before_decoding(&file, &handle)?;
    fenced(&file.path, None, || {
        let corrupt = |error: ParquetError| file.corrupt(None, strip(&error.to_string()));
        let options = || {
            ArrowReaderOptions::new()
                .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
                .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
                .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
        };
        let metadata = ArrowReaderMetadata::load(&handle, options()).map_err(|error| match error {
            // What the system could not read is not what the file holds.
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(error) => ReadError::io(&file.path, *error),
                Err(other) => corrupt(ParquetError::External(other)),
            },
            error => corrupt(error),
        })?;
        let rows = footer::check_decoded(&file, metadata.metadata())?;
        let columns = columns(&file, &metadata)?;
        let with = |unit| match adjusted(metadata.schema(), &columns, unit) {
            Some(schema) => ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options().with_schema(Arc::new(schema))),
            None => Ok(metadata.clone()),
        };
        let has_int96 = columns.iter().any(|column| column.int96 == Int96::Whole);
        let seconds = has_int96.then(|| with(TimeUnit::Second).map_err(corrupt)).transpose()?;
        let metadata = with(TimeUnit::Microsecond).map_err(corrupt)?;
        let always_compressed = metadata.metadata().file_metadata().created_by().is_some_and(is_arrow_cpp_before_3);
        let parts = (0..columns.len().div_ceil(COLUMNS_OF_PART)).map(|_| OnceLock::new()).collect();
        Ok(ParquetFile { file: file.clone(), metadata, seconds, columns, parts, rows, always_compressed })
    })
}

impl ParquetFile {
    /// Returns metadata that has a column, and the leaf that is its first one there; the whole where a part cannot be made.
    fn narrow(&self, column: usize) -> (&ArrowReaderMetadata, usize) {
        let whole = (&self.metadata, 0);
        if self.columns.len() <= 2 * COLUMNS_OF_PART {
            return whole;
        }
        let at = column / COLUMNS_OF_PART;
        let made = self.parts[at].get_or_init(|| self.part(at * COLUMNS_OF_PART).ok());
        made.as_ref().map_or(whole, |part| (&part.metadata, part.first_leaf))
    }

    fn part(&self, first: usize) -> Result<Narrow, ParquetError> {
        let columns = &self.columns[first..(first + COLUMNS_OF_PART).min(self.columns.len())];
        let leaves: Vec<usize> = columns.iter().flat_map(|column| &column.leaves).copied().collect();
        let (whole, first_leaf) = (self.metadata.metadata(), leaves.first().copied().unwrap_or(0));
        let descriptor = whole.file_metadata().schema_descr();
        let roots = columns.iter().filter_map(|column| column.leaves.first()).map(|leaf| descriptor.get_column_root_ptr(*leaf));
        let root = Type::group_type_builder(descriptor.root_schema().name()).with_fields(roots.collect()).build()?;
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
        let group = |group: &RowGroupMetaData| {
            let chunks = leaves.iter().enumerate().map(|(at, leaf)| {
                let old = group.column(*leaf);
                ColumnChunkMetaData::builder(schema.column(at))
                    .set_encodings(old.encodings().collect())
                    .set_compression(old.compression())
                    .set_num_values(old.num_values())
                    .set_total_compressed_size(old.compressed_size())
                    .set_total_uncompressed_size(old.uncompressed_size())
                    .set_data_page_offset(old.data_page_offset())
                    .set_dictionary_page_offset(old.dictionary_page_offset())
                    .build()
            });
            RowGroupMetaData::builder(Arc::clone(&schema))
                .set_num_rows(group.num_rows())
                .set_total_byte_size(group.total_byte_size())
                .set_column_metadata(chunks.collect::<Result<_, _>>()?)
                .build()
        };
        let groups = whole.row_groups().iter().map(group).collect::<Result<Vec<_>, _>>()?;
        let old = whole.file_metadata();
        let created_by = old.created_by().map(str::to_owned);
        let file = FileMetaData::new(old.version(), old.num_rows(), created_by, None, Arc::clone(&schema), None);
        let fields = &self.metadata.schema().fields()[first..first + columns.len()];
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields.to_vec())));
        let metadata = ArrowReaderMetadata::try_new(Arc::new(ParquetMetaData::new(file, groups)), options)?;
        Ok(Narrow { metadata, first_leaf })
    }
}

impl Part for ParquetFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn scan(self: Arc<Self>, columns: &[Wanted]) -> Result<Box<dyn Scan>, ReadError> {
        if let Some(inside) = columns.iter().map(|c| &self.columns[c.column]).find(|c| c.int96 == Int96::Inside) {
            return Err(self.file.unsupported(Some(&inside.name), "INT96 timestamps inside a nested column are not read"));
        }
        let projection = columns.iter().map(|wanted| wanted.column).collect();
        Ok(Box::new(scan::ParquetScan::new(self, projection)))
    }
}

fn columns(file: &InputFile, metadata: &ArrowReaderMetadata) -> Result<Vec<Column>, ReadError> {
    let schema = metadata.parquet_schema();
    let mut roots: Vec<(usize, Vec<usize>)> = Vec::new();
    for leaf in 0..schema.num_columns() {
        let root = schema.get_column_root_idx(leaf);
        match roots.last_mut() {
            Some((last, leaves)) if *last == root => leaves.push(leaf),
            _ => roots.push((root, vec![leaf])),
        }
    }
    let fields = metadata.schema().fields();
    // Groups without a column in them are in neither list; anything else that differs is not understood.
    if fields.len() != roots.len() {
        let what = format!("its {} columns cannot be told apart from their {} types", roots.len(), fields.len());
        return Err(file.unsupported(None, what));
    }
    let column = |(field, (_, leaves)): (&Arc<Field>, (usize, Vec<usize>))| Column {
        name: field.name().clone(),
        int96: int96(schema, &leaves, field.data_type()),
        leaves,
    };
    Ok(fields.iter().zip(roots).map(column).collect())
}

fn int96(schema: &SchemaDescriptor, leaves: &[usize], data_type: &DataType) -> Int96 {
    let found = leaves.iter().any(|leaf| schema.column(*leaf).physical_type() == PhysicalType::INT96);
    match data_type {
        _ if !found => Int96::No,
        DataType::Timestamp(..) => Int96::Whole,
        _ => Int96::Inside,
    }
}

/// Returns the schema with the types that are read in place of those in the file; none where none differs.
fn adjusted(schema: &Schema, columns: &[Column], int96_unit: TimeUnit) -> Option<Schema> {
    let adjust = |(field, column): (&Arc<Field>, &Column)| {
        let data_type = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::Timestamp(_, zone) if column.int96 == Int96::Whole => DataType::Timestamp(int96_unit, zone.clone()),
            same => same.clone(),
        };
        field.as_ref().clone().with_data_type(data_type)
    };
    let fields: Vec<Field> = schema.fields().iter().zip(columns).map(adjust).collect();
    let differs = fields.iter().zip(schema.fields()).any(|(new, old)| new.data_type() != old.data_type());
    differs.then(|| Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Tells the writers of ARROW-10353 by their name for themselves.
fn is_arrow_cpp_before_3(created_by: &str) -> bool {
    let version = created_by.strip_prefix("parquet-cpp").and_then(|rest| rest.split_once("version "));
    let major = version.and_then(|(_, version)| version.split('.').next()).and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major < 3)
}

/// Takes the crate's own prefixes off its messages.
fn strip(message: &str) -> &str {
    let mut rest = message;
    for prefix in ["External: ", "Parquet argument error: ", "Parquet error: ", "Arrow: "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    rest
}
