//! The table `pictures`: what the best findings look like, one row a cell, box or pair of levels.
//!
//! ```text
//! shape = cells     i, j; x_lo to x_hi, y_lo to y_hi; n rows (cells without a row are left out)
//!         means     i; x_lo to x_hi; n rows, mean of y over them
//!         beyond    n rows outside of the frame
//!         boxes     i; level; n rows, q05, q25, q50, q75, q95, mean
//!         shares    i, j; x_level, y_level; n rows
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder, UInt32Builder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::correlate::{Correlation, Drawn, Grid, LevelBox, PairRow, Shares};

/// Numbers of a row that a shape need not have.
const NUMBERS: [&str; 10] = ["x_lo", "x_hi", "y_lo", "y_hi", "q05", "q25", "q50", "q75", "q95", "mean"];

/// Returns the table; `subject` names a pair as its finding does.
pub(super) fn table(found: &Correlation, subject: impl Fn(&PairRow) -> String) -> RecordBatch {
    let mut rows = Rows::default();
    for picture in &found.pictures {
        let pair = &found.pairs[picture.pair];
        let names = [pair.x, pair.y].map(|column| found.columns[column].name.as_str());
        rows.of_pair = (subject(pair), names[0].to_owned(), names[1].to_owned());
        match &picture.drawn {
            Drawn::Cells(grid) => rows.grid(grid),
            Drawn::Boxes(boxes) => boxes.iter().enumerate().for_each(|(at, one)| rows.level(at, one)),
            Drawn::Shares(shares) => rows.shares(shares),
        }
    }
    rows.finish()
}

/// One row beside what names its pair.
#[derive(Default)]
struct Row<'a> {
    shape: &'a str,
    i: Option<usize>,
    j: Option<usize>,
    levels: [Option<&'a str>; 2],
    n: u64,
    numbers: [Option<f64>; NUMBERS.len()],
}

#[derive(Default)]
struct Rows {
    of_pair: (String, String, String),
    texts: [StringBuilder; 6],
    places: [UInt32Builder; 2],
    n: UInt64Builder,
    numbers: [Float64Builder; NUMBERS.len()],
}

impl Rows {
    fn push(&mut self, row: &Row<'_>) {
        let (subject, x, y) = &self.of_pair;
        let texts = [Some(subject.as_str()), Some(x), Some(y), Some(row.shape), row.levels[0], row.levels[1]];
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.append_option(text));
        let place = |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok());
        self.places.iter_mut().zip([row.i, row.j]).for_each(|(column, at)| column.append_option(place(at)));
        self.n.append_value(row.n);
        self.numbers.iter_mut().zip(row.numbers).for_each(|(column, number)| column.append_option(number));
    }

    fn grid(&mut self, grid: &Grid) {
        let n_y = grid.y_edges.len().saturating_sub(1);
        for (i, of_x) in grid.counts.chunks(n_y.max(1)).enumerate() {
            let x = [Some(grid.x_edges[i]), Some(grid.x_edges[i + 1])];
            let mut numbers = [None; NUMBERS.len()];
            numbers[..2].copy_from_slice(&x);
            for (j, &n) in of_x.iter().enumerate().filter(|(_, n)| **n > 0) {
                let mut numbers = numbers;
                numbers[2..4].copy_from_slice(&[Some(grid.y_edges[j]), Some(grid.y_edges[j + 1])]);
                self.push(&Row { shape: "cells", i: Some(i), j: Some(j), n, numbers, ..Row::default() });
            }
            let n: u64 = of_x.iter().sum();
            if n > 0 {
                numbers[NUMBERS.len() - 1] = Some(grid.sums[i] / n as f64);
                self.push(&Row { shape: "means", i: Some(i), n, numbers, ..Row::default() });
            }
        }
        self.push(&Row { shape: "beyond", n: grid.n_beyond, ..Row::default() });
    }

    fn level(&mut self, at: usize, one: &LevelBox) {
        let mut numbers = [None; NUMBERS.len()];
        for (number, quantile) in numbers[4..].iter_mut().zip(one.quantiles) {
            *number = Some(quantile);
        }
        numbers[NUMBERS.len() - 1] = Some(one.mean);
        self.push(&Row { shape: "boxes", i: Some(at), levels: [Some(&one.level), None], n: one.n, numbers, ..Row::default() });
    }

    fn shares(&mut self, shares: &Shares) {
        for (i, of_x) in shares.counts.chunks(shares.y_levels.len().max(1)).enumerate() {
            for (j, &n) in of_x.iter().enumerate() {
                let levels = [Some(shares.x_levels[i].as_str()), Some(shares.y_levels[j].as_str())];
                self.push(&Row { shape: "shares", i: Some(i), j: Some(j), levels, n, ..Row::default() });
            }
        }
    }

    fn finish(self) -> RecordBatch {
        let mut columns: Vec<(&str, bool, ArrayRef)> = Vec::new();
        let names = [("subject", false), ("x", false), ("y", false), ("shape", false), ("x_level", true), ("y_level", true)];
        for ((name, nulls), mut column) in names.into_iter().zip(self.texts) {
            columns.push((name, nulls, Arc::new(column.finish())));
        }
        for (name, mut column) in ["i", "j"].into_iter().zip(self.places) {
            columns.push((name, true, Arc::new(column.finish())));
        }
        let mut n = self.n;
        columns.push(("n", false, Arc::new(n.finish())));
        for (name, mut column) in NUMBERS.into_iter().zip(self.numbers) {
            columns.push((name, true, Arc::new(column.finish())));
        }
        let field = |(name, nulls, array): &(&str, bool, ArrayRef)| -> Field {
            let data_type: DataType = array.data_type().clone();
            Field::new(*name, data_type, *nulls)
        };
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<Field>>());
        let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
        RecordBatch::try_new(Arc::new(schema), arrays).expect("every column has one cell a row")
    }
}
