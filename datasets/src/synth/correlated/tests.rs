//! The planted truth is in the sample, and cells do not depend on how they are asked for.

#![allow(clippy::unwrap_used, reason = "tests")]

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;

fn cells(batch: &RecordBatch, column: usize) -> Vec<Option<f64>> {
    let array = batch.column(column);
    match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().iter().map(|cell| cell.map(f64::from)).collect(),
        _ => array.as_primitive::<Float64Type>().iter().collect(),
    }
}

/// The textbook r over the rows where both are present, and their number.
fn sample_r(x: &[Option<f64>], y: &[Option<f64>]) -> (f64, f64) {
    let rows: Vec<(f64, f64)> = x.iter().zip(y).filter_map(|(x, y)| Some(((*x)?, (*y)?))).collect();
    let n = rows.len() as f64;
    let (mx, my) = (rows.iter().map(|row| row.0).sum::<f64>() / n, rows.iter().map(|row| row.1).sum::<f64>() / n);
    let sum = |f: fn(f64, f64) -> f64| rows.iter().map(|(x, y)| f(x - mx, y - my)).sum::<f64>();
    (sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt(), n)
}

/// Returns the pairs whose sample r lies more than five standard errors from the planted one.
fn strays(planted: &Planted, batch: &RecordBatch) -> Vec<(usize, usize, f64, f64)> {
    let columns: Vec<Vec<Option<f64>>> = (0..batch.num_columns()).map(|column| cells(batch, column)).collect();
    let pairs = (0..columns.len()).flat_map(|x| (x + 1..columns.len()).map(move |y| (x, y)));
    pairs
        .map(|(x, y)| (x, y, planted.r(x, y), sample_r(&columns[x], &columns[y])))
        .filter(|(_, _, rho, (r, n))| (r - rho).abs() > 5.0 * (1.0 - rho * rho) / n.sqrt() + 1e-6)
        .map(|(x, y, rho, (r, _))| (x, y, rho, r))
        .collect()
}

fn options(float_type: FloatType, null_share: f64) -> CorrelatedOptions {
    CorrelatedOptions {
        n_columns: 30,
        pairs: vec![0.9, -0.5, 0.2, 1.0, -1.0, 0.0],
        n_blocks: 3,
        null_share,
        float_type,
        seed: 11,
        ..CorrelatedOptions::default()
    }
}

#[test]
fn the_sample_shows_what_was_planted() {
    for (float_type, null_share) in [(FloatType::F64, 0.0), (FloatType::F64, 0.05), (FloatType::F32, 0.3)] {
        let planted = correlated(CorrelatedOptions { n_rows: 20_000, ..options(float_type, null_share) }).unwrap();
        let batch = planted.batch(0, usize::MAX);
        assert_eq!(batch.num_rows(), 20_000);
        assert_eq!(strays(&planted, &batch), [], "{float_type:?} {null_share}");
    }
}

#[test]
fn another_truth_is_caught() {
    let right = options(FloatType::F64, 0.0);
    let batch = correlated(right.clone()).unwrap().batch(0, usize::MAX);
    let wrong = CorrelatedOptions { pairs: vec![0.8, -0.5, 0.2, 1.0, -1.0, 0.0], ..right };
    let strays = strays(&correlated(wrong).unwrap(), &batch);
    assert_eq!(strays.iter().map(|stray| (stray.0, stray.1)).collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn truth_lists_every_pair_that_is_not_zero() {
    let planted = correlated(options(FloatType::F64, 0.0)).unwrap();
    // Five planted pairs (the sixth has r = 0) and three blocks of six.
    assert_eq!(planted.truth.len(), 5 + 3 * 15);
    assert_eq!(planted.truth[0], PlantedPair { x: "c0".to_owned(), y: "c1".to_owned(), r: 0.9 });
    assert!(planted.truth.iter().all(|pair| pair.r != 0.0 && pair.r.abs() <= 1.0));
    assert!((planted.r(1, 0) - 0.9).abs() < 1e-15 && planted.r(0, 2) == 0.0 && planted.r(4, 4) > 0.999);
}

#[test]
fn missing_cells_have_the_share_asked_for() {
    let planted = correlated(CorrelatedOptions { n_rows: 50_000, ..options(FloatType::F32, 0.05) }).unwrap();
    let batch = planted.batch(0, usize::MAX);
    for column in batch.columns() {
        let share = column.null_count() as f64 / 50_000.0;
        assert!((share - 0.05).abs() < 5.0 * (0.05 * 0.95 / 50_000.0_f64).sqrt(), "{share}");
    }
}

#[test]
fn a_file_gives_the_cells_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("planted.parquet");
    let planted = correlated(CorrelatedOptions { n_rows: 2_500, ..options(FloatType::F32, 0.1) }).unwrap();
    planted.write_parquet(&path, 1_000).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 3);
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let read = concat_batches(&planted.schema, &batches).unwrap();
    assert_eq!(read.columns(), planted.batch(0, usize::MAX).columns());
}

#[test]
fn no_rows_and_no_columns_are_tables_too() {
    let empty = correlated(CorrelatedOptions { n_rows: 0, ..options(FloatType::F64, 0.0) }).unwrap();
    assert_eq!((empty.batches(10).count(), empty.batch(0, 10).num_rows()), (0, 0));
    let bare = correlated(CorrelatedOptions { n_columns: 0, pairs: vec![], ..CorrelatedOptions::default() }).unwrap();
    assert_eq!(bare.batch(0, 10).num_rows(), 10);
    assert_eq!(empty.batch(u64::MAX, 10).num_rows(), 0);
}

#[test]
fn impossible_options_are_refused() {
    let refused = |options: CorrelatedOptions| correlated(options).map(|_| ()).unwrap_err().to_string();
    let base = CorrelatedOptions::default();
    assert_eq!(
        refused(CorrelatedOptions { pairs: vec![1.5], ..CorrelatedOptions::default() }),
        "`pairs` holds r = 1.5, which is not within -1 to 1"
    );
    assert_eq!(refused(CorrelatedOptions { n_columns: 5, ..base.clone() }), "3 planted pairs need 6 columns, `n_columns` is 5");
    assert!(refused(CorrelatedOptions { null_share: 1.0, ..base.clone() }).contains("`null_share` is 1, which is not within 0 to 1"));
    assert!(refused(CorrelatedOptions { offset: f64::NAN, ..base.clone() }).contains("`offset` is NaN"));
    assert!(refused(CorrelatedOptions { n_blocks: usize::MAX, ..base }).contains("`n_blocks`"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cells_do_not_depend_on_the_cut(rows_per_batch in 1_usize..400, start in 0_u64..300, seed in any::<u64>()) {
        let options = CorrelatedOptions { n_rows: 300, n_columns: 9, seed, null_share: 0.2, ..CorrelatedOptions::default() };
        let planted = correlated(options).unwrap();
        let whole = planted.batch(0, 300);
        let batches: Vec<RecordBatch> = planted.batches(rows_per_batch).collect();
        prop_assert_eq!(&concat_batches(&planted.schema, &batches).unwrap(), &whole);
        let tail = planted.batch(start, 50);
        prop_assert_eq!(&tail, &whole.slice(usize::try_from(start).unwrap(), tail.num_rows()));
    }
}
