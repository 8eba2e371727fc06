//! Tables whose population correlations are known.
//!
//! ```text
//! planted pair     x = z_x                         y = r z_x + sqrt(1 - r^2) z_y
//! block member     v = l f + sqrt(1 - l^2) z       f = the factor of its block, l = the column's loading
//! cell             offset + scale * value          z, f standard normal and independent
//! ```
//!
//! The population r of a planted pair is r; of two members of one block it is the product of their loadings; of every
//! other two columns it is 0. Cells go missing at random, independently of all values, which leaves r as it is.
//!
//! Shape    the first 2 k columns are the k planted pairs, the rest belong to blocks in turn; names c0, c1, ...
//! Numbers  f32 columns are the f64 values, rounded; an offset that dwarfs the scale therefore blurs r in f32.
//! Cost     about 50 ns a cell, nulls and writing a Parquet file included; memory of one batch and its factors.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;

use super::normal::quantile;
use super::philox::{Purpose, Stream, to_unit};

/// The type of generated columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelatedOptions {
    /// Rows.
    pub n_rows: u64,
    /// Columns, planted pairs included.
    pub n_columns: usize,
    /// Population r of each planted pair.
    pub pairs: Vec<f64>,
    /// Latent factors that the columns outside planted pairs share in turn; 0 leaves those columns independent.
    pub n_blocks: usize,
    /// Upper end of the loadings, which are uniform from 0.
    pub max_loading: f64,
    /// Share of missing cells.
    pub null_share: f64,
    /// Standard deviation of the columns' offsets.
    pub offset: f64,
    /// Standard deviation of the logarithm of the columns' scales.
    pub log_scale: f64,
    /// Type of the columns.
    pub float_type: FloatType,
    /// Seed; the same options give the same cells everywhere.
    pub seed: u64,
}

impl Default for CorrelatedOptions {
    fn default() -> Self {
        Self {
            n_rows: 10_000,
            n_columns: 20,
            pairs: vec![0.9, -0.5, 0.2],
            n_blocks: 2,
            max_loading: 0.95,
            null_share: 0.0,
            offset: 100.0,
            log_scale: 1.0,
            float_type: FloatType::F64,
            seed: 0,
        }
    }
}

/// Options that describe no table, or a table that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A planted r lies outside -1 to 1.
    #[error("`pairs` holds r = {r}, which is not within -1 to 1")]
    Correlation {
        /// The value given.
        r: f64,
    },
    /// The planted pairs need more columns than there are.
    #[error("{n_pairs} planted pairs need {} columns, `n_columns` is {n_columns}", n_pairs.saturating_mul(2))]
    TooFewColumns {
        /// Pairs given.
        n_pairs: usize,
        /// Columns given.
        n_columns: usize,
    },
    /// More columns or blocks than the generator has streams.
    #[error("`{name}` is {value}, at most {} are possible", u32::MAX)]
    TooMany {
        /// The option.
        name: &'static str,
        /// The value given.
        value: usize,
    },
    /// An option lies outside its range.
    #[error("`{name}` is {value}, which is not within {range}")]
    Range {
        /// The option.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The values that are possible.
        range: &'static str,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
}

/// Two columns and the r of the population that they are drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct PlantedPair {
    /// The column that comes first.
    pub x: String,
    /// The column that comes second.
    pub y: String,
    /// Population r, never 0.
    pub r: f64,
}

/// A generated table and its truth.
#[derive(Debug, Clone)]
pub struct Planted {
    /// Schema of every batch.
    pub schema: SchemaRef,
    /// All pairs of columns whose population r is not 0, in column order.
    pub truth: Vec<PlantedPair>,
    options: CorrelatedOptions,
    columns: Vec<Column>,
}

/// How the values of a column come about.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// Nothing but noise: the first of a planted pair.
    Free,
    /// The second of a planted pair.
    Partner { of: usize, r: f64 },
    /// One of a block.
    Member { block: usize, loading: f64 },
}

#[derive(Debug, Clone, Copy)]
struct Column {
    role: Role,
    offset: f64,
    scale: f64,
    noise: Stream,
    missing: Stream,
}

/// Lays out a table with planted correlations; cells are made when batches are asked for.
///
/// # Errors
/// When an option lies outside its range.
pub fn correlated(options: CorrelatedOptions) -> Result<Planted, SynthError> {
    check(&options)?;
    let columns: Vec<Column> = (0..).take(options.n_columns).map(|index| column(&options, index)).collect();
    let data_type = match options.float_type {
        FloatType::F32 => DataType::Float32,
        FloatType::F64 => DataType::Float64,
    };
    let nullable = options.null_share > 0.0;
    let fields: Vec<Field> = (0..columns.len()).map(|index| Field::new(name(index), data_type.clone(), nullable)).collect();
    let truth = truth(&columns);
    Ok(Planted { schema: Arc::new(Schema::new(fields)), truth, options, columns })
}

fn check(options: &CorrelatedOptions) -> Result<(), SynthError> {
    if let Some(r) = options.pairs.iter().find(|r| !(-1.0..=1.0).contains(*r)) {
        return Err(SynthError::Correlation { r: *r });
    }
    if options.pairs.len() > options.n_columns / 2 {
        return Err(SynthError::TooFewColumns { n_pairs: options.pairs.len(), n_columns: options.n_columns });
    }
    for (name, value) in [("n_columns", options.n_columns), ("n_blocks", options.n_blocks)] {
        if u32::try_from(value).is_err() {
            return Err(SynthError::TooMany { name, value });
        }
    }
    let ranges = [
        ("max_loading", options.max_loading, (0.0..=1.0).contains(&options.max_loading), "0 to 1"),
        ("null_share", options.null_share, (0.0..1.0).contains(&options.null_share), "0 to 1, 1 left out"),
        ("offset", options.offset, (0.0..=1e300).contains(&options.offset), "0 to 1e300"),
        ("log_scale", options.log_scale, (0.0..=10.0).contains(&options.log_scale), "0 to 10"),
    ];
    match ranges.into_iter().find(|(.., inside, _)| !inside) {
        Some((name, value, _, range)) => Err(SynthError::Range { name, value, range }),
        None => Ok(()),
    }
}

fn name(column: usize) -> String {
    format!("c{column}")
}

fn column(options: &CorrelatedOptions, index: u32) -> Column {
    let layout = Stream::new(options.seed, Purpose::Layout, index);
    let position = index as usize;
    let n_paired = 2 * options.pairs.len();
    let role = if position >= n_paired && options.n_blocks > 0 {
        let loading = options.max_loading * to_unit(layout.bits(0));
        Role::Member { block: (position - n_paired) % options.n_blocks, loading }
    } else if position < n_paired && position % 2 == 1 {
        Role::Partner { of: position - 1, r: options.pairs[position / 2] }
    } else {
        Role::Free
    };
    Column {
        role,
        offset: options.offset * quantile(to_unit(layout.bits(1))),
        scale: libm::exp(options.log_scale * quantile(to_unit(layout.bits(2)))),
        noise: Stream::new(options.seed, Purpose::Column, index),
        missing: Stream::new(options.seed, Purpose::Missing, index),
    }
}

fn truth(columns: &[Column]) -> Vec<PlantedPair> {
    let mut truth = Vec::new();
    for (x, first) in columns.iter().enumerate() {
        for (y, second) in columns.iter().enumerate().skip(x + 1) {
            let r = population_r(x, first.role, second.role);
            if r != 0.0 {
                truth.push(PlantedPair { x: name(x), y: name(y), r });
            }
        }
    }
    truth
}

fn population_r(x: usize, first: Role, second: Role) -> f64 {
    match (first, second) {
        (Role::Free, Role::Partner { of, r }) if of == x => r,
        (Role::Member { block: a, loading: l }, Role::Member { block: b, loading: m }) if a == b => l * m,
        _ => 0.0,
    }
}

impl Planted {
    /// Returns the number of rows.
    pub fn n_rows(&self) -> u64 {
        self.options.n_rows
    }

    /// Returns the population r of two columns, by position.
    ///
    /// # Panics
    /// When a position is not in the schema.
    pub fn r(&self, x: usize, y: usize) -> f64 {
        let (first, second) = (x.min(y), x.max(y));
        if first == second { 1.0 } else { population_r(first, self.columns[first].role, self.columns[second].role) }
    }

    /// Makes the rows from `start` on, at most `max_rows` of them; the same cells whatever range they are asked in.
    pub fn batch(&self, start: u64, max_rows: usize) -> RecordBatch {
        let left = usize::try_from(self.n_rows().saturating_sub(start)).unwrap_or(usize::MAX);
        let n_rows = max_rows.min(left);
        let factor = |block| normals(Stream::new(self.options.seed, Purpose::Factor, block), start, n_rows);
        let factors: Vec<Vec<f64>> = (0..self.n_factors()).into_par_iter().map(factor).collect();
        let arrays: Vec<ArrayRef> = self.columns.par_iter().map(|column| self.cells(column, &factors, start, n_rows)).collect();
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(n_rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("every column was made for this schema and length")
    }

    /// Walks through the table in batches of `rows_per_batch` (at least one row).
    pub fn batches(&self, rows_per_batch: usize) -> impl Iterator<Item = RecordBatch> + '_ {
        let step = rows_per_batch.max(1);
        (0..self.n_rows()).step_by(step).map(move |start| self.batch(start, step))
    }

    /// Writes the table as one Parquet file: plain encoding, snappy, row groups of `rows_per_group`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_parquet(&self, path: &Path, rows_per_group: usize) -> Result<(), SynthError> {
        let wrong = |source: ParquetError| SynthError::Write { path: path.to_owned(), source };
        let file = File::create(path).map_err(|error| wrong(error.into()))?;
        // Random floats repeat too seldom for a dictionary.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(rows_per_group.max(1)))
            .build();
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(properties)).map_err(wrong)?;
        for batch in self.batches(rows_per_group) {
            writer.write(&batch).map_err(wrong)?;
        }
        writer.close().map(|_| ()).map_err(wrong)
    }

    fn n_factors(&self) -> u32 {
        let used = |column: &Column| matches!(column.role, Role::Member { .. });
        let n_factors = if self.columns.iter().any(used) { self.options.n_blocks } else { 0 };
        u32::try_from(n_factors).expect("checked in `correlated`")
    }

    fn cells(&self, column: &Column, factors: &[Vec<f64>], start: u64, n_rows: usize) -> ArrayRef {
        let mut values = normals(column.noise, start, n_rows);
        match column.role {
            Role::Free => {}
            Role::Partner { of, r } => mix(&mut values, &normals(self.columns[of].noise, start, n_rows), r),
            Role::Member { block, loading } => mix(&mut values, &factors[block], loading),
        }
        for value in &mut values {
            *value = column.offset + column.scale * *value;
        }
        let present = self.present(column, start, n_rows);
        match self.options.float_type {
            FloatType::F64 => Arc::new(Float64Array::new(values.into(), present)),
            FloatType::F32 => Arc::new(Float32Array::new(values.into_iter().map(to_single).collect(), present)),
        }
    }

    fn present(&self, column: &Column, start: u64, n_rows: usize) -> Option<NullBuffer> {
        let share = self.options.null_share;
        (share > 0.0).then(|| draws(column.missing, start, n_rows).map(|bits| to_unit(bits) >= share).collect())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "32-bit columns are asked for")]
fn to_single(value: f64) -> f32 {
    value as f32
}

/// Makes `values` correlate by `r` with `with`; both are standard normal before and after.
fn mix(values: &mut [f64], with: &[f64], r: f64) {
    let rest = libm::sqrt(1.0 - r * r);
    for (value, with) in values.iter_mut().zip(with) {
        *value = r * with + rest * *value;
    }
}

/// Returns standard normal numbers of a stream for the rows from `start` on.
pub(super) fn normals(stream: Stream, start: u64, n_rows: usize) -> Vec<f64> {
    draws(stream, start, n_rows).map(|bits| quantile(to_unit(bits))).collect()
}

fn draws(stream: Stream, start: u64, n_rows: usize) -> impl Iterator<Item = u64> {
    let skip = usize::from(start % 2 == 1);
    (start / 2..=u64::MAX / 2).flat_map(move |pair| stream.pair(pair)).skip(skip).take(n_rows)
}

#[cfg(test)]
mod tests;
