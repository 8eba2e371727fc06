//! Columns that do not fit into memory, in files of the step's scratch folder, read again block by block.
//!
//! ```text
//! numbers   f64, little-endian, column after column of a block of BLOCK_ROWS rows, block after block
//! names     the column of `id`, an Arrow file whose batches are the same blocks; a dictionary as its values, since such a file has but one
//! ```
//!
//! Files of a scratch folder vanish with it, so that nothing is synced.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use gristmill_engine::cluster::{BLOCK_ROWS, RowBlocks};
use gristmill_engine::columns::{Cells, Table, TableBuilder, TableColumn};

use crate::JobError;
use crate::kinds::StepRun;
use crate::pass;
use crate::spec::StepSpec;

/// Bytes gathered before the system is asked to write.
const WRITE_BYTES: usize = 1 << 20;
/// File of the column that names a row.
const NAMES: &str = "names.arrow";

/// Columns of numbers in a file.
pub(crate) struct Spilled {
    path: PathBuf,
    file: Mutex<File>,
    names: Vec<String>,
    n_used: usize,
    n_rows: usize,
}

/// The cells of the column that names a row.
pub(crate) enum Names {
    /// In memory.
    Held(ArrayRef),
    /// In a file, block by block, and the type that they are given out in.
    Spilled(PathBuf, Box<FileReader<BufReader<File>>>, DataType),
}

impl Names {
    /// Returns the cells of rows of one block.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn cells(&mut self, first: usize, n_rows: usize) -> Result<ArrayRef, JobError> {
        match self {
            Self::Held(cells) => Ok(cells.slice(first, n_rows)),
            Self::Spilled(path, reader, data_type) => {
                let block = reader.set_index(first / BLOCK_ROWS).and_then(|()| reader.next().transpose());
                let block = block.map_err(|error| read_back(path, into_io(error)))?;
                let block = block.ok_or_else(|| read_back(path, io::ErrorKind::UnexpectedEof.into()))?;
                let cells = block.column(0).slice(first % BLOCK_ROWS, n_rows);
                cast(&cells, data_type).map_err(|error| read_back(path, into_io(error)))
            }
        }
    }

    /// Returns the cells of some rows, in their order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn rows(&mut self, rows: &[usize]) -> Result<ArrayRef, JobError> {
        if let Self::Held(cells) = self {
            let rows: UInt64Array = rows.iter().map(|row| *row as u64).collect();
            return Ok(take(cells, &rows, None).expect("rows are those of the table"));
        }
        let cells = rows.iter().map(|row| self.cells(*row, 1)).collect::<Result<Vec<_>, _>>()?;
        let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
        if cells.is_empty() {
            return self.cells(0, 0);
        }
        Ok(concat(&cells).expect("cells of one column have one type"))
    }
}

/// Returns the type of the values of a dictionary, of another type itself.
fn values_of(data_type: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = data_type { values } else { data_type }
}

fn read_back(path: &Path, error: io::Error) -> JobError {
    JobError::ReadBack { path: path.to_owned(), error }
}

fn into_io(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}

impl Spilled {
    /// Returns where the numbers are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl RowBlocks for Spilled {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_used(&self) -> usize {
        self.n_used
    }

    fn n_columns(&self) -> usize {
        self.names.len()
    }

    fn block(&self, at: usize) -> io::Result<Table> {
        let first = at * BLOCK_ROWS;
        let n_rows = BLOCK_ROWS.min(self.n_rows.saturating_sub(first));
        let mut bytes = vec![0; n_rows * self.names.len() * 8];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start((first * self.names.len() * 8) as u64))?;
        file.read_exact(&mut bytes)?;
        drop(file);
        let mut columns = bytes.chunks_exact((n_rows * 8).max(1));
        let column = |name: &String| {
            let cells = columns.next().unwrap_or_default().as_chunks().0.iter().map(|cell| f64::from_le_bytes(*cell));
            TableColumn { name: name.clone(), cells: Cells::Numbers(Float64Array::from_iter_values(cells)) }
        };
        Ok(Table { n_rows, columns: self.names.iter().map(column).collect() })
    }
}

/// Files under way.
struct Spilling<'a> {
    on: &'a StepRun<'a>,
    named: Vec<(String, DataType)>,
    path: PathBuf,
    numbers: BufWriter<File>,
    /// Cells of the block under way.
    held: Vec<Vec<f64>>,
    id: Option<(PathBuf, FileWriter<BufWriter<File>>, Vec<ArrayRef>)>,
    n_rows: usize,
}

/// Writes columns of numbers, by index into the source's schema, to a file of the step, and the column that names a row to another. `fits` is
/// asked about the rows that are known to come before anything is written, and in the end about those that came.
///
/// # Errors
/// When the source cannot be read, a column has no numbers, a file cannot be written, the rows do not fit, or the run was asked to stop.
pub(crate) fn spill(
    columns: &[usize],
    n_used: usize,
    id: Option<usize>,
    step: &StepSpec,
    on: &StepRun<'_>,
    fits: impl Fn(Option<u64>) -> Result<(), JobError>,
) -> Result<(Spilled, Option<Names>), JobError> {
    fits(on.source.n_rows())?;
    let schema = on.source.schema();
    let named: Vec<_> = columns.iter().map(|&at| (schema.field(at).name().clone(), schema.field(at).data_type().clone())).collect();
    let path = on.scratch.path().join("numbers");
    let create = |name: &str| {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(on.scratch.at(name));
        file.map(|file| BufWriter::with_capacity(WRITE_BYTES, file))
            .map_err(|error| JobError::Write { path: on.scratch.path().join(name), error })
    };
    let id_file = |at: usize| {
        let path = on.scratch.path().join(NAMES);
        let field = schema.field(at).clone();
        let data_type = values_of(field.data_type()).clone();
        let schema = Schema::new(vec![field.with_data_type(data_type)]);
        let writer = FileWriter::try_new(create(NAMES)?, &schema);
        let writer = writer.map_err(|error| JobError::Write { path: path.clone(), error: into_io(error) })?;
        Ok::<_, JobError>((path, writer, Vec::new()))
    };
    let mut under_way = Spilling {
        on,
        held: vec![Vec::with_capacity(BLOCK_ROWS); named.len()],
        named,
        numbers: create("numbers")?,
        path,
        id: id.map(id_file).transpose()?,
        n_rows: 0,
    };
    let all: Vec<usize> = columns.iter().copied().chain(id).collect();
    pass::blocks(&all, step, on, |block, rows| under_way.absorb(block, rows, step))?;
    fits(Some(under_way.n_rows as u64))?;
    under_way.finish(n_used, id.map(|at| schema.field(at)))
}

impl Spilling<'_> {
    fn absorb(&mut self, mut block: Vec<Vec<ArrayRef>>, rows: usize, step: &StepSpec) -> Result<(), JobError> {
        let names = block.split_off(self.named.len()).pop();
        let refuse = |error| pass::engine_error(step, error);
        let builder = TableBuilder::new(&self.named, u64::MAX).map_err(refuse)?;
        for (at, pieces) in block.iter().enumerate() {
            pieces.iter().try_for_each(|piece| builder.put(at, piece)).map_err(refuse)?;
        }
        let (table, _) = builder.finish().map_err(refuse)?;
        if let (Some((path, writer, held)), Some(names)) = (&mut self.id, names) {
            for piece in names {
                let piece = cast(&piece, writer.schema().field(0).data_type());
                held.push(piece.map_err(|error| JobError::Write { path: path.clone(), error: into_io(error) })?);
            }
        }
        let mut done = 0;
        while done < rows {
            let taken = (BLOCK_ROWS - self.held.first().map_or(0, Vec::len)).min(rows - done);
            for (held, column) in self.held.iter_mut().zip(&table.columns) {
                held.extend_from_slice(&column.numbers().expect("columns are numbers")[done..done + taken]);
            }
            done += taken;
            self.n_rows += taken;
            if self.held.first().is_none_or(|held| held.len() == BLOCK_ROWS) {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), JobError> {
        let n_rows = self.held.first().map_or(0, Vec::len);
        for held in &mut self.held {
            let bytes: Vec<u8> = held.iter().flat_map(|cell| cell.to_le_bytes()).collect();
            self.numbers.write_all(&bytes).map_err(|error| JobError::Write { path: self.path.clone(), error })?;
            held.clear();
        }
        if let Some((path, writer, held)) = &mut self.id {
            let pieces: Vec<&dyn Array> = held.iter().map(AsRef::as_ref).collect();
            let cells = concat(&pieces).map_err(|error| JobError::Write { path: path.clone(), error: into_io(error) })?;
            let batch = RecordBatch::try_new(Arc::clone(writer.schema()), vec![cells.slice(0, n_rows)]);
            let written = batch.and_then(|batch| writer.write(&batch));
            written.map_err(|error| JobError::Write { path: path.clone(), error: into_io(error) })?;
            *held = vec![cells.slice(n_rows, cells.len() - n_rows)];
        }
        if (self.on.stopped)() {
            return Err(JobError::Stopped(crate::error::Exit::Interrupted));
        }
        Ok(())
    }

    fn finish(mut self, n_used: usize, id: Option<&Field>) -> Result<(Spilled, Option<Names>), JobError> {
        if self.held.first().is_some_and(|held| !held.is_empty()) {
            self.end_block()?;
        }
        let Self { named, path, numbers, n_rows, .. } = self;
        let file = numbers.into_inner().map_err(|error| JobError::Write { path: path.clone(), error: error.into_error() })?;
        let names = match (self.id, id) {
            (Some((path, mut writer, _)), Some(field)) => {
                let opened =
                    writer.finish().and_then(|()| FileReader::try_new(BufReader::new(File::open(self.on.scratch.at(NAMES))?), None));
                let reader = opened.map_err(|error| JobError::Write { path: path.clone(), error: into_io(error) })?;
                Some(Names::Spilled(path, Box::new(reader), field.data_type().clone()))
            }
            _ => None,
        };
        let names_of = named.into_iter().map(|(name, _)| name).collect();
        Ok((Spilled { path, file: Mutex::new(file), names: names_of, n_used, n_rows }, names))
    }
}
