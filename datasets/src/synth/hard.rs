//! Six small tables on which careless arithmetic loses the correlation.
//!
//! Each has [`HARD_COLUMNS`] f64 columns that share a factor. A sum of squares in f32, or in f64 without centring, is
//! off by 1e-5 to 1 on them, or gives NaN; the accuracy contract of 1e-6 is tested here.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::record_batch::RecordBatch;

use super::correlated::normals;
use super::philox::{Purpose, Stream};

/// Columns of each set.
pub const HARD_COLUMNS: u32 = 8;

const SEED: u64 = 20_260_801;

/// A table that is hard on arithmetic.
#[derive(Debug, Clone)]
pub struct HardSet {
    /// What makes it hard.
    pub name: &'static str,
    /// All of its rows.
    pub batch: RecordBatch,
}

/// Makes the six sets, each of `n_rows` rows.
pub fn hard_sets(n_rows: usize) -> Vec<HardSet> {
    let factor = normals(Stream::new(SEED, Purpose::Factor, 0), 0, n_rows);
    let noise: Vec<Vec<f64>> = (0..HARD_COLUMNS).map(|column| normals(Stream::new(SEED, Purpose::Column, column), 0, n_rows)).collect();
    RECIPES.iter().map(|(name, cell)| HardSet { name, batch: table(&factor, &noise, *cell) }).collect()
}

/// What a recipe makes a cell from.
#[derive(Clone, Copy)]
struct Cell {
    row: f64,
    column: f64,
    /// Standard normal, the same for all columns of a row.
    factor: f64,
    /// Standard normal, independent.
    noise: f64,
}

type Recipe = fn(Cell) -> f64;

const RECIPES: [(&str, Recipe); 6] = [
    ("standard normal", Cell::base),
    ("offset of 1e9", |cell| 1e9 + cell.base()),
    // One row a second; the noise grows from far below the trend to far above it.
    ("unix seconds with a trend", |cell| libm::floor(1.7e9 + cell.row + 500.0 * libm::exp2(cell.column) * cell.base())),
    ("milliseconds at 1.7e12", |cell| libm::floor(1.7e12 + 1_000.0 * cell.base())),
    // The exponent makes the tail fall with the square of the size: the variance of the population is infinite.
    ("heavy tail", |cell| cell.base() * libm::exp(cell.base() * cell.base() / 4.0)),
    ("near copies at 1e7", |cell| 1e7 + cell.factor + 1e-3 * cell.noise),
];

impl Cell {
    /// A standard normal value; the loadings run from -0.9 to 0.9 over the columns.
    fn base(self) -> f64 {
        let sign = if self.column % 2.0 > 0.5 { -1.0 } else { 1.0 };
        let loading = 0.9 - 0.1 * self.column;
        sign * loading * self.factor + libm::sqrt(1.0 - loading * loading) * self.noise
    }
}

#[allow(clippy::cast_precision_loss, reason = "rows of a table in memory stay far below 2^53")]
fn table(factor: &[f64], noise: &[Vec<f64>], cell: Recipe) -> RecordBatch {
    let column = |index: usize| -> ArrayRef {
        let rows = factor.iter().zip(&noise[index]).enumerate();
        let cells = rows.map(|(row, (factor, noise))| cell(Cell { row: row as f64, column: index as f64, factor: *factor, noise: *noise }));
        Arc::new(Float64Array::from_iter_values(cells))
    };
    let columns = (0..noise.len()).map(|index| (format!("c{index}"), column(index)));
    RecordBatch::try_from_iter(columns).expect("columns of one length and of different names")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;

    use super::*;

    #[test]
    fn the_sets_are_as_hard_as_they_say() {
        let sets = hard_sets(4_096);
        assert_eq!(sets.len(), 6);
        for set in &sets {
            assert_eq!((set.batch.num_rows(), set.batch.num_columns()), (4_096, 8), "{}", set.name);
            assert!(
                set.batch.columns().iter().all(|column| column.as_primitive::<Float64Type>().iter().all(|cell| cell.unwrap().is_finite()))
            );
        }
        let ratio = |set: usize| mean_over_sd(set_values(&sets[set], 0));
        assert!(ratio(0) < 0.1 && ratio(1) > 5e8 && ratio(2) > 1e5 && ratio(3) > 1e9 && ratio(5) > 5e6);
        let tail = set_values(&sets[4], 0);
        assert!(tail.iter().fold(0.0_f64, |top, cell| top.max(cell.abs())) > 20.0);
    }

    fn set_values(set: &HardSet, column: usize) -> &[f64] {
        set.batch.column(column).as_primitive::<Float64Type>().values()
    }

    fn mean_over_sd(values: &[f64]) -> f64 {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
        mean.abs() / variance.sqrt()
    }
}
