//! Rows into the bytes of a Parquet file: in groups that the rows alone decide, columns side by side.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

/// Rows that are encoded at a time; 4 columns of f64 are then 4 MiB.
pub(super) const ROW_GROUP_ROWS: usize = 1 << 17;
/// Bytes of cells from which fewer are: a group is held as it came.
const ROW_GROUP_BYTES: usize = 4 << 20;
/// Bytes that the footer holds of a column of a row group until the file ends, as measured: groups grow with it, so that neither outgrows the other.
const CHUNK_BYTES: usize = 860;
/// Columns that a thread encodes before they are laid down: so many are held as they are encoded.
const COLUMNS_A_THREAD: usize = 4;
/// Rows whose bytes are counted at a time: a row group has a whole number of these.
const PIECE_ROWS: usize = 1 << 10;

/// Encodes rows in row groups whose size the rows alone decide, so that bytes do not depend on how they were batched.
pub(super) struct Encoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// Rows of the group under way.
    held: Vec<RecordBatch>,
    n_held: usize,
    held_bytes: usize,
    n_groups: usize,
    pub(super) rows: u64,
}

impl<W: Write + Send> Encoder<W> {
    pub(super) fn new(out: W, schema: SchemaRef) -> Result<Self, ParquetError> {
        let (file, columns) = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties()))?.into_serialized_writer()?;
        Ok(Self { file, columns, schema, held: Vec::new(), n_held: 0, held_bytes: 0, n_groups: 0, rows: 0 })
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        let mut at = 0;
        while at < batch.num_rows() {
            let taken = (PIECE_ROWS - self.n_held % PIECE_ROWS).min(batch.num_rows() - at);
            let piece = batch.slice(at, taken);
            self.held_bytes += piece.columns().iter().map(|column| cell_bytes(column.as_ref())).sum::<usize>();
            self.held.push(piece);
            at += taken;
            self.n_held += taken;
            let most_bytes = ROW_GROUP_BYTES.max(self.n_groups * self.schema.fields().len() * CHUNK_BYTES);
            let is_full = self.n_held == ROW_GROUP_ROWS || self.held_bytes >= most_bytes;
            if is_full && self.n_held.is_multiple_of(PIECE_ROWS) {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let held = std::mem::take(&mut self.held);
        (self.n_held, self.held_bytes) = (0, 0);
        write_row_group(&mut self.file, self.columns.create_column_writers(self.n_groups)?, &self.schema, &held)?;
        self.n_groups += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<SerializedFileWriter<W>, ParquetError> {
        if self.n_held > 0 {
            self.end_group()?;
        }
        self.file.finish()?;
        Ok(self.file)
    }
}

/// Returns the bytes of the cells of a column, whatever buffers they lie in: of texts their letters too.
fn cell_bytes(column: &dyn Array) -> usize {
    fn letters<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
        (offsets[offsets.len() - 1] - offsets[0]).as_usize()
    }
    let letters = match column.data_type() {
        DataType::Utf8 => letters(column.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => letters(column.as_string::<i64>().value_offsets()),
        DataType::Binary => letters(column.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => letters(column.as_binary::<i64>().value_offsets()),
        _ => 0,
    };
    letters + column.len() * column.data_type().primitive_width().unwrap_or(8)
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(concat!("gristmill version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .build()
}

fn write_row_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    mut writers: Vec<ArrowColumnWriter>,
    schema: &Schema,
    held: &[RecordBatch],
) -> Result<(), ParquetError> {
    // A column of a nested type has a writer for each of its leaves.
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let n_leaves = compute_leaves(field, &new_empty_array(field.data_type()))?.len();
        columns.push((at, field, writers.drain(..n_leaves).collect::<Vec<_>>()));
    }
    let mut group = file.next_row_group()?;
    let mut columns = columns.into_iter();
    loop {
        let some: Vec<_> = columns.by_ref().take(COLUMNS_A_THREAD * rayon::current_num_threads()).collect();
        if some.is_empty() {
            break;
        }
        let chunks: Vec<Vec<ArrowColumnChunk>> =
            some.into_par_iter().map(|(at, field, writers)| encode_column(writers, field, at, held)).collect::<Result<_, _>>()?;
        for chunk in chunks.into_iter().flatten() {
            chunk.append_to_row_group(&mut group)?;
        }
    }
    group.close()?;
    Ok(())
}

/// Encodes a column in pieces of `PIECE_ROWS`, however its rows came.
fn encode_column(
    mut writers: Vec<ArrowColumnWriter>,
    field: &Field,
    at: usize,
    held: &[RecordBatch],
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let mut write = |cells: &ArrayRef| {
        let leaves = compute_leaves(field, cells)?;
        writers.iter_mut().zip(leaves).try_for_each(|(writer, leaf)| writer.write(&leaf))
    };
    let (mut parts, mut n_rows): (Vec<&dyn Array>, usize) = (Vec::new(), 0);
    for (n_left, batch) in held.iter().enumerate().map(|(done, batch)| (held.len() - done - 1, batch)) {
        parts.push(batch.column(at));
        n_rows += batch.num_rows();
        if n_rows == PIECE_ROWS || n_left == 0 {
            write(&concat(&parts)?)?;
            parts.clear();
            n_rows = 0;
        }
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

/// Hashes what passes through.
pub(super) struct Hashed<W> {
    /// None once it has been taken out.
    pub(super) file: Option<W>,
    pub(super) hasher: blake3::Hasher,
    pub(super) bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let written = file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
