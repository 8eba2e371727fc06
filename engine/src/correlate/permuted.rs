//! The permuted Gram with a running maximum: the best |r| of a family of pairs in each turn, every column in an order of its own.
//!
//! ```text
//! best(turn) = max over pairs (x, y) of |sum over rows of order(x, turn)(x) order(y, turn)(y)|      columns centred, of norm 1
//! ```
//!
//! Shape    p columns of n rows and some of their pairs in, one number a turn out.
//! Numbers  products in f32, on either place within [`BAND`] of the truth, screen; pairs that could be the best are computed again in
//!          f64, so that a turn's best is the same to the bit wherever it was screened.
//! Random   the order of a column in a turn is that of [`Exchange::shuffle`] with the stream of (seed, column, turn), on either place.
//! Cost     n p^2 multiply-adds and n p steps of a shuffle a turn.

pub(crate) mod gpu;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::cpu;
use super::exchange::Exchange;
use super::layout::Layout;
use crate::backend::{Cost, Cpu, Gpu, GpuError, Kernel};
use crate::simd::{Matrix, Multiply, dot};
use crate::stats::{Purpose, Stream};

/// How far an r of f32 products can be off: twice the proven bound.
const BAND: f64 = 4e-5;

/// Columns from which one product keeps all threads busy by itself, and fills memory enough.
const WIDE: usize = 1024;

/// The columns and pairs of a family, ready for turns.
#[derive(Debug)]
pub(super) struct Permuted<'a> {
    exchange: &'a Exchange,
    /// Columns in the order of the strata, centred, with a sum of squares of 1.
    columns: &'a [Vec<f64>],
    narrow: Vec<f32>,
    /// Pairs, the smaller column first.
    pairs: Vec<(u32, u32)>,
    layout: Layout,
    /// Where each pair lies in the product.
    places: Vec<u32>,
    seed: u64,
    /// Index of each column's stream.
    streams: Vec<u32>,
}

impl<'a> Permuted<'a> {
    pub(super) fn new(
        exchange: &'a Exchange,
        columns: &'a [Vec<f64>],
        pairs: impl Iterator<Item = (u32, u32)>,
        seed: u64,
        streams: Vec<u32>,
    ) -> Self {
        let layout = Layout::new(columns.len(), columns.len(), true);
        let pairs: Vec<(u32, u32)> = pairs.map(|(x, y)| (x.min(y), x.max(y))).collect();
        let place = |&(x, y): &(u32, u32)| {
            u32::try_from(layout.at(x as usize, y as usize)).expect("a product of columns in memory has fewer cells")
        };
        let places = pairs.iter().map(place).collect();
        #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
        let narrow = columns.iter().flatten().map(|x| *x as f32).collect();
        Self { exchange, columns, narrow, pairs, layout, places, seed, streams }
    }

    fn n_rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Returns the halves of the seed, lower one first.
    #[allow(clippy::cast_possible_truncation, reason = "the halves are taken on purpose")]
    const fn seed_words(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    fn stream(&self, column: usize, turn: u32) -> Stream {
        Stream::new(self.seed, Purpose::Permutation, self.streams[column], turn)
    }

    /// Returns the best of one turn, screened on the CPU.
    fn best(&self, turn: u32) -> f64 {
        let (n, p) = (self.n_rows(), self.columns.len());
        // Memory that is kept from turn to turn: taking it anew costs as much as the shuffle.
        let mut cells = f32::idle().take();
        cells.clear();
        cells.extend_from_slice(&self.narrow);
        for (column, cells) in cells.chunks_mut(n.max(1)).enumerate() {
            self.exchange.shuffle(cells, &mut self.stream(column, turn));
        }
        let matrix = Matrix { values: &cells[..], n_rows: n, stride: n, n_columns: p };
        let products = cpu::gram(matrix, matrix, &self.layout);
        f32::idle().give(cells);
        let largest = self.places.iter().map(|&at| products[at as usize].abs()).fold(0.0, f32::max);
        let close = close_to(largest);
        let rivals = self.places.iter().zip(&self.pairs).filter(|(at, _)| products[**at as usize].abs() >= close);
        self.settled(turn, rivals.map(|(_, pair)| *pair))
    }

    /// Returns the best of some pairs in one turn, in f64.
    fn settled(&self, turn: u32, pairs: impl Iterator<Item = (u32, u32)>) -> f64 {
        let mut permuted: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        let mut best = 0.0_f64;
        for (x, y) in pairs {
            for at in [x, y] {
                permuted.entry(at).or_insert_with(|| self.permuted(turn, at as usize));
            }
            best = best.max(dot(&permuted[&x], &permuted[&y]).abs());
        }
        best
    }

    /// Returns a column in its order of one turn, in f64.
    fn permuted(&self, turn: u32, column: usize) -> Vec<f64> {
        let mut cells = self.columns[column].clone();
        self.exchange.shuffle(&mut cells, &mut self.stream(column, turn));
        cells
    }
}

/// Returns the smallest |r| that could be the best where `largest` was screened.
#[allow(clippy::cast_possible_truncation, reason = "a bound that is rounded to f32 with room to spare")]
fn close_to(largest: f32) -> f32 {
    largest - (2.0 * BAND) as f32
}

/// The kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct PermutedMaximum;

/// A family, some turns, and what says that they are no longer wanted.
#[derive(Clone, Copy)]
pub(super) struct Turns<'a> {
    pub(super) of: &'a Permuted<'a>,
    pub(super) first: u32,
    pub(super) end: u32,
    pub(super) stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Turns<'_> {
    const fn range(&self) -> Range<u32> {
        self.first..self.end
    }
}

impl Kernel for PermutedMaximum {
    const NAME: &'static str = "permuted_gram";
    type Input<'a> = Turns<'a>;
    type Output = Option<Vec<f64>>;

    fn cost(&self, input: Turns<'_>) -> Cost {
        cost(input.of.n_rows(), input.of.columns.len(), input.of.pairs.len(), input.end - input.first)
    }

    fn on_cpu(&self, _: &Cpu, input: Turns<'_>) -> Option<Vec<f64>> {
        let stopped = AtomicBool::new(false);
        let turn = |turn: u32| {
            if stopped.load(Ordering::Relaxed) || (input.stopped)() {
                stopped.store(true, Ordering::Relaxed);
                return None;
            }
            Some(input.of.best(turn))
        };
        if input.of.columns.len() > WIDE { input.range().map(turn).collect() } else { input.range().into_par_iter().map(turn).collect() }
    }

    fn on_gpu(&self, gpu: &Gpu, input: Turns<'_>) -> Result<Option<Vec<f64>>, GpuError> {
        gpu::best(gpu, input)
    }
}

/// What giving a cell a new place costs a CPU, in operations of a product.
const SHUFFLE_FLOPS: f64 = 60.0;

/// Returns the cost of some turns.
#[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
pub(super) fn cost(n_rows: usize, n_columns: usize, n_pairs: usize, n_turns: u32) -> Cost {
    let cells = (n_rows * n_columns) as f64;
    let flops = f64::from(n_turns) * 2.0 * n_rows as f64 * n_pairs as f64;
    Cost {
        flops,
        cpu_flops: flops + f64::from(n_turns) * SHUFFLE_FLOPS * cells,
        bytes_up: 4 * (n_rows * n_columns) as u64,
        bytes_down: 4 * u64::from(n_turns) * (n_columns * n_columns.div_ceil(64)) as u64,
    }
}
