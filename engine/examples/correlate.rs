//! The engine as a library: batches in memory in, correlations with their uncertainty out.
//!
//! ```text
//! cargo run --release -p gristmill-engine --example correlate
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::analysis::run_on_batches;
use gristmill_engine::backend::{Backend, PlaceChoice};
use gristmill_engine::correlate::{Correlate, CorrelateOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("visits", DataType::Int64, true),
        Field::new("spend", DataType::Float64, true),
        Field::new("age", DataType::Float64, true),
    ]));
    let visits = Int64Array::from_iter((0..1000).map(|row| (row % 10 != 3).then_some(row % 17)));
    let spend = Float64Array::from_iter((0..1000).map(|row| Some(f64::from(row % 17) * 12.5 + f64::from(row * 7919 % 101))));
    let age = Float64Array::from_iter((0..1000).map(|row| (row % 50 != 0).then(|| f64::from(row * 104_729 % 60) + 18.0)));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(visits), Arc::new(spend), Arc::new(age)])?;

    // `Auto` takes a GPU where there is one and the work is worth its start; a table like this stays on the CPU.
    let backend = Backend::open(PlaceChoice::Auto)?;
    let mut analysis = Correlate::new(&schema, vec![0, 1, 2], CorrelateOptions::default())?;
    let found = run_on_batches(&mut analysis, &backend, &[batch])?;

    let mut out = std::io::stdout();
    for pair in &found.pairs {
        let (x, y) = (&found.columns[pair.x].name, &found.columns[pair.y].name);
        writeln!(out, "{x} ~ {y}: r = {:?}, n = {}, q = {:?}, {}", pair.r, pair.n, pair.q, pair.verdict.word())?;
    }
    writeln!(out, "{} findings on {}", found.findings().len(), backend.place())?;
    Ok(())
}
