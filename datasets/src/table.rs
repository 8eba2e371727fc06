//! One table out of several files: each column is found by name in each file, cast where types differ, and filled
//! in where a file lacks it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};
use rayon::prelude::*;

use crate::{ReadError, Scan, Sink, Source, SourceFile};

/// Rows of the arrays that stand in for a column that a file lacks.
const FILL_ROWS: usize = 16_384;

/// One file of a source, opened as far as its schema.
pub(crate) trait Part: Send + Sync {
    /// Returns the columns as this file has them; [`DataType::Null`] where nothing tells the type.
    fn schema(&self) -> SchemaRef;

    /// Returns the number of rows where the file says so.
    fn rows(&self) -> Option<u64>;

    /// Whether cells are written as text, so that they can be read as any type.
    fn is_text(&self) -> bool {
        false
    }

    /// Returns what a person should know.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Starts at the first row. A part that is text gives the types that are wanted, others may give their own.
    fn scan(self: Arc<Self>, columns: &[Wanted]) -> Result<Box<dyn Scan>, ReadError>;
}

/// A column of a part, and the type that it has in the whole table.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) column: usize,
    pub(crate) data_type: DataType,
}

/// Where a column of the table comes from in one file.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A column of the file.
    Column(usize),
    /// One value for all rows, from the path; an array of length 1.
    Value(ArrayRef),
    /// The file does not have it.
    Absent,
}

/// A part with the origin of every column of the table.
pub(crate) struct Member {
    pub(crate) part: Arc<dyn Part>,
    pub(crate) origins: Vec<Origin>,
}

/// Files read one after the other as one table.
pub(crate) struct Table {
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<SourceFile>,
    pub(crate) notes: Vec<String>,
    pub(crate) members: Arc<Vec<Member>>,
}

impl Source for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn files(&self) -> &[SourceFile] {
        &self.files
    }

    fn n_rows(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows).try_fold(0u64, |sum, rows| sum.checked_add(rows?))
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn scan(&self, projection: &[usize]) -> Result<Box<dyn Scan>, ReadError> {
        let n_columns = self.schema.fields().len();
        if let Some(column) = projection.iter().copied().find(|column| *column >= n_columns) {
            return Err(ReadError::NoColumn { column, n_columns });
        }
        Ok(Box::new(TableScan {
            schema: Arc::clone(&self.schema),
            paths: self.files.iter().map(|file| file.path.clone()).collect(),
            members: Arc::clone(&self.members),
            projection: projection.to_vec(),
            next_member: 0,
            open: None,
        }))
    }
}

struct TableScan {
    schema: SchemaRef,
    paths: Vec<PathBuf>,
    members: Arc<Vec<Member>>,
    projection: Vec<usize>,
    next_member: usize,
    open: Option<OpenMember>,
}

struct OpenMember {
    scan: Box<dyn Scan>,
    /// Positions in the projection, in the order of the part's scan.
    positions: Vec<usize>,
    /// Positions that the part does not give, with an array to cut their rows from.
    fills: Vec<(usize, ArrayRef)>,
}

impl TableScan {
    fn open(&self, member: &Member) -> Result<OpenMember, ReadError> {
        let (mut wanted, mut positions, mut fills) = (Vec::new(), Vec::new(), Vec::new());
        for (position, column) in self.projection.iter().enumerate() {
            let data_type = self.schema.field(*column).data_type();
            match &member.origins[*column] {
                Origin::Column(column) => {
                    wanted.push(Wanted { column: *column, data_type: data_type.clone() });
                    positions.push(position);
                }
                Origin::Value(value) => fills.push((position, repeated(value))),
                Origin::Absent => fills.push((position, new_null_array(data_type, FILL_ROWS))),
            }
        }
        let scan = Arc::clone(&member.part).scan(&wanted)?;
        Ok(OpenMember { scan, positions, fills })
    }
}

/// Casts an array to the type of its column, unless it has it.
fn cast(path: &Path, field: &Field, array: &ArrayRef) -> Result<Option<ArrayRef>, ReadError> {
    if array.data_type() == field.data_type() {
        return Ok(None);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &strict).map(Some).map_err(|error| {
        let (found, expected) = (array.data_type(), field.data_type());
        let detail = format!("its {found} values cannot be read as {expected}: {error}");
        ReadError::corrupt(path, Some(field.name()), detail)
    })
}

impl Scan for TableScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let members = Arc::clone(&self.members);
                    let Some(member) = members.get(self.next_member) else { return Ok(0) };
                    self.next_member += 1;
                    self.open(member)?
                }
            };
            // `next_member` is the one after the member that is open.
            let path = &self.paths[self.next_member - 1];
            let (schema, projection, positions) = (&self.schema, &self.projection, &open.positions);
            let failure = Mutex::new(None);
            let n_rows = open.scan.next(max_rows, &|column, before, array| {
                let position = positions[column];
                match cast(path, schema.field(projection[position]), array) {
                    Ok(cast) => sink(position, before, cast.as_ref().unwrap_or(array)),
                    Err(error) => {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            })?;
            if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err(error);
            }
            if n_rows > 0 {
                fill(&open.fills, n_rows, sink);
                self.open = Some(open);
                return Ok(n_rows);
            }
        }
    }
}

fn fill(fills: &[(usize, ArrayRef)], n_rows: usize, sink: &Sink<'_>) {
    fills.par_iter().for_each(|(position, array)| {
        for before in (0..n_rows).step_by(FILL_ROWS) {
            sink(*position, before, &array.slice(0, FILL_ROWS.min(n_rows - before)));
        }
    });
}

/// Repeats the one value of an array.
fn repeated(value: &ArrayRef) -> ArrayRef {
    let indices = arrow::array::UInt32Array::from(vec![0; FILL_ROWS]);
    arrow::compute::take(value, &indices, None).unwrap_or_else(|_| new_null_array(value.data_type(), FILL_ROWS))
}

/// Decoded columns that are handed on in pieces.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    columns: Vec<ArrayRef>,
    n_rows: usize,
    used: usize,
}

impl Rows {
    pub(crate) fn new(columns: Vec<ArrayRef>, n_rows: usize) -> Self {
        Self { columns, n_rows, used: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == self.n_rows
    }

    /// Hands at most `max_rows` more to the sink, columns in parallel.
    pub(crate) fn give(&mut self, max_rows: usize, sink: &Sink<'_>) -> usize {
        let n_rows = max_rows.min(self.n_rows - self.used);
        if n_rows > 0 {
            self.columns.par_iter().enumerate().for_each(|(position, array)| {
                sink(position, 0, &array.slice(self.used, n_rows));
            });
        }
        self.used += n_rows;
        if self.is_empty() {
            self.columns.clear();
        }
        n_rows
    }
}
