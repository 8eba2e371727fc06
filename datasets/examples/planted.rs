//! Writes a Parquet file of any size whose correlations are known, and prints its truth.
//!
//!     cargo run --release -p gristmill-datasets --example planted -- FILE.parquet ROWS COLUMNS [f32|f64] [NULL_SHARE] [SEED]
//!
//! Memory stays at one row group, so `40000000 64 f64` writes 20 GB on a small machine.

#![allow(clippy::print_stdout, reason = "an example talks to the terminal")]

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use gristmill_datasets::synth::{CorrelatedOptions, FloatType, correlated};

const ROWS_PER_GROUP: usize = 131_072;
const COLUMNS_PER_BLOCK: usize = 20;
const PAIRS_SHOWN: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path: PathBuf = arguments.next().ok_or("the first argument is the file to write")?.into();
    let n_rows: u64 = argument(&mut arguments, "the number of rows", None)?;
    let n_columns: usize = argument(&mut arguments, "the number of columns", None)?;
    let float_type = match arguments.next().as_deref() {
        None | Some("f64") => FloatType::F64,
        Some("f32") => FloatType::F32,
        Some(other) => return Err(format!("`{other}` is neither f32 nor f64").into()),
    };
    let null_share = argument(&mut arguments, "the share of nulls", Some(0.0))?;
    let seed = argument(&mut arguments, "the seed", Some(0))?;
    let n_blocks = n_columns.div_ceil(COLUMNS_PER_BLOCK);
    let options = CorrelatedOptions { n_rows, n_columns, n_blocks, float_type, null_share, seed, ..CorrelatedOptions::default() };
    let planted = correlated(options)?;
    planted.write_parquet(&path, ROWS_PER_GROUP)?;
    println!("{} pairs of the population are correlated; the first:", planted.truth.len());
    for pair in planted.truth.iter().take(PAIRS_SHOWN) {
        println!("{:>6} {:>6} {:9.6}", pair.x, pair.y, pair.r);
    }
    Ok(())
}

fn argument<T: FromStr>(arguments: &mut impl Iterator<Item = String>, what: &str, otherwise: Option<T>) -> Result<T, Box<dyn Error>> {
    match (arguments.next(), otherwise) {
        (Some(text), _) => text.parse().map_err(|_| format!("`{text}` is not {what}").into()),
        (None, Some(otherwise)) => Ok(otherwise),
        (None, None) => Err(format!("{what} is missing").into()),
    }
}
