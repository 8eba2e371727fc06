//! Every coefficient against scipy, pandas and statsmodels: ties, missing cells, constants, two and three rows.
//!
//! `datasets/samples/expected/associations.json` holds tables and what `benches/peers/associate_values.py` computed from
//! them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use common::repository;
use gristmill_engine::backend::Backend;
use gristmill_engine::columns::{Table, TableBuilder};
use gristmill_engine::correlate::{AssociateOptions, CorrelateOptions, Frame, Method, MethodChoice, PairRow, Roles, associate};
use serde_json::Value;

/// Largest difference, absolute or relative: scipy's own p of xi loses digits where y is unbalanced.
const BOUND: f64 = 1e-9;

fn document() -> Value {
    serde_json::from_slice(&fs::read(repository("datasets/samples/expected/associations.json")).unwrap()).unwrap()
}

/// Returns two columns of a table of the document, x first.
fn columns(table: &Value, x: &str, y: &str) -> Table {
    let array = |name: &str| -> ArrayRef {
        let cells = table[name].as_array().unwrap();
        if cells.iter().any(Value::is_string) {
            return Arc::new(cells.iter().map(Value::as_str).collect::<StringArray>());
        }
        Arc::new(cells.iter().map(Value::as_f64).collect::<Float64Array>())
    };
    let arrays = [array(x), array(y)];
    let named: Vec<_> = [x, y].into_iter().zip(&arrays).map(|(name, array)| (name.to_owned(), array.data_type().clone())).collect();
    let builder = TableBuilder::new(&named, 1 << 20).unwrap();
    for (at, array) in arrays.iter().enumerate() {
        builder.put(at, array).unwrap();
    }
    builder.finish().unwrap().0
}

/// Returns the row of a pair whose first column is x.
fn relate(table: &Table, method: Method) -> PairRow {
    let correlate = CorrelateOptions { min_n: 3, ..CorrelateOptions::default() };
    let options = AssociateOptions::of(correlate, MethodChoice::One(method));
    let found = associate(&Frame::whole(table.clone(), 0), &options, &Backend::cpu(), &|| false).unwrap().unwrap();
    found.pairs.into_iter().find(|pair| pair.x == 0).unwrap()
}

fn agrees(found: Option<f64>, due: Option<f64>) -> bool {
    match (found, due) {
        (Some(found), Some(due)) => (found - due).abs() <= BOUND || (found - due).abs() <= BOUND * due.abs(),
        (None, None) => true,
        _ => false,
    }
}

/// Compares a row with a record; the error says what differs.
fn compare(row: &PairRow, record: &Value) -> Result<(), String> {
    let number = |key: &str| record[key].as_f64();
    let p = if record["method"] == "kendall" { number("p_auto") } else { number("p") };
    // Distance: a correlation with a constant column is not defined here, the paper calls it 0.
    let is_constant = record["method"] == "distance" && number("value") == Some(0.0) && p.is_none();
    if row.n != record["n"].as_u64().unwrap() || !(agrees(row.r, number("value")) || is_constant && row.r.is_none()) {
        return Err(format!("n {} and value {:?}, but {record}", row.n, row.r));
    }
    let fisher = record["method"] == "cramers_v" && record["dof"] == 1;
    // A p of a value that is not defined is not shown; of two values in two columns Fisher's exact p stands where cells are few.
    if !(agrees(row.p, p) || row.r.is_none() || fisher) {
        return Err(format!("p {:?}, but {record}", row.p));
    }
    Ok(())
}

#[test]
fn every_coefficient_agrees_with_its_peer() {
    let document = document();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for record in document["records"].as_array().unwrap() {
        let Some(method) = Method::ALL.into_iter().find(|method| record["method"] == method.word()) else { continue };
        let (x, y) = (record["x"].as_str().unwrap(), record["y"].as_str().unwrap());
        let table = columns(&document["tables"][record["table"].as_str().unwrap()], x, y);
        if let Err(error) = compare(&relate(&table, method), record) {
            wrong.push(error);
        }
        *counts.entry(method.word()).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} of {counts:?} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(counts.len(), Method::ALL.len(), "a coefficient without a peer: {counts:?}");
}

/// Returns the first row of a pair with what is known of the rows.
fn relate_with(table: &Table, roles: &Roles, n_targets: usize) -> PairRow {
    let correlate = CorrelateOptions { min_n: 3, n_targets, ..CorrelateOptions::default() };
    let options = AssociateOptions::of(correlate, MethodChoice::One(Method::Pearson));
    let frame = Frame::new(table.clone(), roles, n_targets);
    associate(&frame, &options, &Backend::cpu(), &|| false).unwrap().unwrap().pairs[0].clone()
}

/// Returns the rows of a table where none of some columns is missing, and those columns.
fn with_whole(table: &Table, cells: &Value, names: &[&str], fits: impl Fn(f64) -> bool) -> (Table, Vec<Vec<f64>>) {
    let numbers = |name: &&str| cells[*name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect();
    let columns: Vec<Vec<f64>> = names.iter().map(numbers).collect();
    let rows: Vec<usize> = (0..table.n_rows).filter(|&row| columns.iter().all(|column| fits(column[row]))).collect();
    let part = |column: &Vec<f64>| rows.iter().map(|&row| column[row]).collect();
    let table = Table { n_rows: rows.len(), columns: table.columns.iter().map(|column| column.rows(&rows)).collect() };
    (table, columns.iter().map(part).collect())
}

/// Partial, weighted and lagged correlations against statsmodels and numpy, and effective n of series.
#[test]
fn partial_weighted_and_lagged_correlations_agree_with_their_peers() {
    let document = document();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for record in document["records"].as_array().unwrap() {
        let (x, y) = (record["x"].as_str().unwrap(), record["y"].as_str().unwrap());
        let cells = &document["tables"][record["table"].as_str().unwrap()];
        let number = |key: &str| record[key].as_f64();
        let method = record["method"].as_str().unwrap();
        match method {
            "partial" => {
                let names: Vec<&str> = record["controls"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                let (table, controls) = with_whole(&columns(cells, x, y), cells, &names, f64::is_finite);
                let row = relate_with(&table, &Roles { controls, ..Roles::default() }, 0);
                assert!(row.n == record["n"].as_u64().unwrap() && agrees(row.r, number("value")), "{row:?}, but {record}");
                assert!(agrees(row.p, number("p")), "{row:?}, but {record}");
            }
            "weighted" => {
                let (table, mut weights) = with_whole(&columns(cells, x, y), cells, &[record["weights"].as_str().unwrap()], |w| w > 0.0);
                let weights = weights.pop();
                let row = relate_with(&table, &Roles { weights, ..Roles::default() }, 0);
                assert!(row.n == record["n_positive"].as_u64().unwrap() && agrees(row.r, number("value")), "{row:?}, but {record}");
            }
            "lagged" => {
                // The record's y lies so much later; here x lies later than y.
                let lag = -record["lag"].as_i64().unwrap();
                let table = columns(cells, x, y);
                let time = Some((0..table.n_rows).map(|row| row as f64).collect());
                // As a target, and as one of all pairs: a column is not paired with itself there.
                for n_targets in if x == y { 1..=1 } else { 0..=1 } {
                    let row = relate_with(&table, &Roles { time: time.clone(), lags: vec![lag], ..Roles::default() }, n_targets);
                    assert!(row.n == record["n"].as_u64().unwrap() && agrees(row.r, number("value")), "{row:?}, but {record}");
                    assert!(row.lag == Some(lag), "{row:?}");
                    assert!(row.r.is_none() || agrees(row.effective_n, number("effective_n")), "{row:?}, but {record}");
                    assert!(agrees(row.p, number("p")) || row.r.is_none(), "{row:?}, but {record}");
                }
            }
            _ => continue,
        }
        *counts.entry(method).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("lagged", 28), ("partial", 11), ("weighted", 6)]));
}

#[test]
fn a_wrong_value_is_noticed() {
    let document = document();
    let record = document["records"].as_array().unwrap().iter().find(|record| record["method"] == "kendall" && record["n"] == 60).unwrap();
    let table =
        columns(&document["tables"][record["table"].as_str().unwrap()], record["x"].as_str().unwrap(), record["y"].as_str().unwrap());
    let row = relate(&table, Method::Kendall);
    assert_eq!(compare(&row, record), Ok(()));
    let wrong = |change: &dyn Fn(&mut PairRow)| {
        let mut row = row.clone();
        change(&mut row);
        compare(&row, record).is_err()
    };
    assert!(wrong(&|row| row.r = row.r.map(|r| r + 2e-9)), "another value");
    assert!(wrong(&|row| row.p = row.p.map(|p| p * 1.001)), "another p");
    assert!(wrong(&|row| row.r = None), "no value");
    assert!(wrong(&|row| row.n += 1), "another n");
}

#[test]
fn false_discovery_rates_agree_with_statsmodels() {
    let document = document();
    let numbers = |key: &str| -> Vec<f64> { document["adjusted"][key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let p = numbers("p");
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let ranks: Vec<u64> = order.iter().map(|&at| p.iter().filter(|other| **other <= p[at]).count() as u64).collect();
    for (key, factor) in [("bh", 1.0), ("by", gristmill_engine::stats::harmonic(p.len() as u64))] {
        let mut found: Vec<f64> = order.iter().map(|&at| p[at] * factor).collect();
        gristmill_engine::stats::benjamini_hochberg(&mut found, &ranks, p.len() as u64);
        let due = numbers(key);
        for (found, &at) in found.iter().zip(&order) {
            assert!((found - due[at]).abs() <= 1e-12, "{key}: {found}, but {}", due[at]);
        }
    }
}
