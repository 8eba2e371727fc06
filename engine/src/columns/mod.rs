//! Arrow columns to dense blocks.
//!
//! What     numbers, booleans, decimals, dates, times, durations and timestamps become dense column blocks of f64 or f32.
//! Layout   column-major, one stride for all columns; a bit mask for each column that misses cells.
//! Nulls    null, NaN and infinite cells are missing: value 0, mask bit 0.
//! Centring each column of a block is centred on its own mean in f64 and scaled by a power of two (exactly), before it
//!          is rounded to f32: offsets and units cost no digits.
//! Cuts     blocks are canonical: always `rows_per_block` rows, counted from the first row of the source, however the
//!          rows arrive. That is what makes an answer independent of batches.
//! Absent   text columns: they are left out by name (see [`select`]), or held as categories (see [`Table`]).

mod block;
mod builder;
mod numeric;
mod table;

pub use block::{Block, BlockColumn, Mask};
pub use builder::{BlockBuilder, Put};
pub use numeric::{Unit, type_words, unit};
pub use table::{Cells, Levels, MOST_LEVELS, Table, TableBuilder, TableColumn, is_text};
pub(crate) use table::{Code, MISSING, batch_of};

use arrow::datatypes::Schema;

use crate::EngineError;

/// How the cells of a block are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Eight bytes.
    F64,
    /// Four bytes, rounded after centring.
    F32,
}

impl Width {
    /// Returns the bytes of a cell.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
        }
    }
}

/// What a block stores of each cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The deviation from the column's centre, in this width: for products.
    Deviations(Width),
    /// The cell as it is, in f64: for pairs that are settled.
    Raw,
    /// The deviation in f32 and the cell as it is.
    NarrowAndRaw,
}

impl Stored {
    /// Returns the bytes that a cell takes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Deviations(width) => width.bytes(),
            Self::Raw => 8,
            Self::NarrowAndRaw => 12,
        }
    }

    /// Returns whether f64, and whether f32 cells are stored.
    pub(crate) const fn has(self) -> (bool, bool) {
        match self {
            Self::Deviations(Width::F64) | Self::Raw => (true, false),
            Self::Deviations(Width::F32) => (false, true),
            Self::NarrowAndRaw => (true, true),
        }
    }
}

/// A column that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Index into the schema.
    pub column: usize,
    /// Its type in plain words.
    pub found: String,
}

/// Returns the usable columns among `wanted`, and those that are left out for their type.
#[must_use]
pub fn select(schema: &Schema, wanted: &[usize]) -> (Vec<usize>, Vec<Unusable>) {
    let mut usable = Vec::new();
    let mut left_out = Vec::new();
    for &column in wanted {
        let data_type = schema.field(column).data_type();
        match unit(data_type) {
            Some(_) => usable.push(column),
            None => left_out.push(Unusable { column, found: type_words(data_type) }),
        }
    }
    (usable, left_out)
}

/// Returns the rows of a canonical block: a function of the number of columns and their width alone.
///
/// Blocks of 64 MiB keep the products long enough to run at full speed while two of them fit beside their result; more
/// than 16,384 rows leave the second-level cache during centring.
#[must_use]
pub fn rows_per_block(n_columns: usize, width: Width) -> usize {
    const BLOCK_BYTES: usize = 64 << 20;
    const STEP: usize = 1024;
    let rows = BLOCK_BYTES / (n_columns.max(1) * width.bytes());
    (rows / STEP * STEP).clamp(STEP, 16 * STEP)
}

/// Refuses a column that cannot be used, for callers that name one.
///
/// # Errors
/// `ColumnType` with the type in plain words.
pub fn require(schema: &Schema, column: usize) -> Result<(), EngineError> {
    let field = schema.field(column);
    match unit(field.data_type()) {
        Some(_) => Ok(()),
        None => Err(EngineError::ColumnType { column: field.name().clone(), found: type_words(field.data_type()) }),
    }
}
