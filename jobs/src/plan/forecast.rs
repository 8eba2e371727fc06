//! What a step is likely to need, before it runs: memory, seconds, pairs, and where it belongs.
//!
//! Kinds know what their work is made of; the constants beside them were fitted to runs of 130,000 to 7,000,000 rows on two threads (AVX2), and
//! other machines and other data differ. So seconds are a range, and memory is what most tables of those columns come to.

use arrow::datatypes::Schema;
use gristmill_engine::backend::Cost;

use crate::memory;
use crate::terminal::{self, count};

/// What the process holds beside its steps, as measured; `memory::for_step` keeps a little more for it.
const PROGRAM_BYTES: u64 = 36 << 20;
/// How much faster and slower than the machine of the constants others may be.
const FASTER: f64 = 0.4;
const SLOWER: f64 = 2.5;

/// What is known of the input of a step before it runs.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    /// Its columns.
    pub schema: &'a Schema,
    /// Rows that it is likely to have.
    pub n_rows: u64,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Threads of the job.
    pub n_threads: usize,
    /// Bytes that the step may hold.
    pub memory_bytes: u64,
}

/// What a step is likely to need; none where nobody has measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forecast {
    /// Least and most seconds without a device.
    pub seconds: Option<[f64; 2]>,
    /// Bytes of the step's own at the most, were there no budget.
    pub bytes: Option<u64>,
    /// Bytes of those that it cannot do without; none where that is all of them, and the rest would go into files.
    pub least_bytes: Option<u64>,
    /// Pairs that are looked at.
    pub pairs: Option<Pairs>,
    /// Work of which a device could take a part; none where the step runs on the CPU whatever there is.
    pub cost: Option<Cost>,
}

/// Pairs that a step looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairs {
    /// What they are pairs of.
    pub of: &'static str,
    /// How many are looked at, at the most.
    pub at_most: u64,
    /// How many there are.
    pub all: u64,
}

/// Where a step belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// `cpu`, `gpu`, or `software` in tests.
    pub place: String,
    /// Why.
    pub why: String,
}

/// Returns so many of so many as a number of bytes or rows; what is beyond all numbers is the largest.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an estimate")]
pub fn about(n: u64, of_each: f64) -> u64 {
    (n as f64 * of_each) as u64
}

/// Returns bytes that tables of fewer than `full` rows hold a part of.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub fn grown(bytes: u64, n_rows: u64, full: u64) -> u64 {
    about(bytes, n_rows.min(full) as f64 / full as f64)
}

/// Returns the pairs of n things.
#[must_use]
pub fn pairs_of(n: u64) -> u64 {
    u64::try_from(u128::from(n) * u128::from(n.saturating_sub(1)) / 2).unwrap_or(u64::MAX)
}

/// Returns the range of seconds of work that takes one thread so long, all of it alike on every thread.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub fn range(cpu_seconds: f64, n_threads: usize) -> [f64; 2] {
    /// Share of the work that threads do not share.
    const ALONE: f64 = 0.1;
    /// What any run takes.
    const START: f64 = 0.02;
    let wall = START + cpu_seconds * (ALONE + (1.0 - ALONE) / n_threads.max(1) as f64);
    [wall * FASTER, wall * SLOWER]
}

/// Returns a number whose first two digits alone are not 0.
pub(super) fn rough(n: u64) -> u64 {
    let unit = 10_u64.pow(n.max(1).ilog10().saturating_sub(1));
    n / unit * unit
}

impl Forecast {
    /// Returns the bytes that the process is likely to hold, were there no budget.
    #[must_use]
    pub fn peak_bytes(&self) -> Option<u64> {
        self.bytes.map(|bytes| bytes.saturating_add(PROGRAM_BYTES))
    }

    /// Says how much memory is likely to be held of how much.
    pub(super) fn memory_line(&self, budget_bytes: u64) -> Option<String> {
        let needed = self.bytes?;
        let [peak, budget] = [self.peak_bytes()?, budget_bytes].map(terminal::bytes);
        Some(if needed <= memory::for_step(budget_bytes) {
            format!("likely to hold {peak} of {budget}")
        } else if self.least_bytes.is_some_and(|least| least <= memory::for_step(budget_bytes)) {
            format!("would hold {peak}, and keeps to {budget}: the rest goes into files")
        } else {
            let enough = terminal::bytes(memory::of_step(self.least_bytes.unwrap_or(needed)));
            format!("likely to need {peak}, more than `memory` of {budget}, and to end with exit code 5; {enough} would do")
        })
    }

    /// Says which pairs are looked at; roughly, where rows are only guessed.
    pub(super) fn pairs_line(&self, is_exact: bool) -> Option<String> {
        let Pairs { of, at_most, all } = self.pairs?;
        let count = |n: u64| if is_exact { count(n) } else { format!("about {}", count(rough(n))) };
        Some(match at_most == all {
            true => format!("looks at {} {of}", count(all)),
            false => format!("looks at no more than {} of {} {of}", count(at_most), count(all)),
        })
    }

    /// Says where a step belongs that may choose among these words.
    pub(super) fn placed(&self, asked: &str, kind: &str, n_threads: usize) -> Placed {
        let Some(cost) = self.cost else {
            return Placed { place: "cpu".to_owned(), why: format!("`{kind}` runs on the CPU as it is asked for here") };
        };
        if asked != "auto" {
            return Placed { place: asked.to_owned(), why: format!("`place = \"{asked}\"` was asked for") };
        }
        let (gpu, cpu) = (cost.gpu_seconds(false), cost.cpu_seconds(n_threads));
        let times = format!("about {gpu:.2} s there, {cpu:.2} s on {n_threads} CPU threads");
        if cost.gpu_pays(false, n_threads) {
            Placed { place: "gpu".to_owned(), why: format!("a GPU pays, where there is one: {times}") }
        } else {
            Placed { place: "cpu".to_owned(), why: format!("a GPU does not pay: {times}") }
        }
    }
}
