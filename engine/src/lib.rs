//! Arrow in, statistics out: bulk kernels that run on a GPU or on the CPU.
//!
//! ```text
//! RecordBatch columns -> columns::BlockBuilder -> Block -> Analysis::absorb -> Partial -> fold in block order
//!                                                                                   -> end_pass -> Again | Done
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`agreement`] | how far two ways to part the same rows agree |
//! | [`analysis`] | the contract of a pass: absorb, merge, end of pass |
//! | [`backend`] | places: the one function that chooses between GPU and CPU, and falls back |
//! | [`cluster`] | segments of rows: k-means, how many, and which can be trusted |
//! | [`columns`] | Arrow columns to dense blocks with bit masks, centred in f64 |
//! | [`correlate`] | Pearson correlation of every pair of columns |
//! | [`dedupe`] | records of the same thing, in one table or between sources |
//! | [`drift`] | whether values are still spread as they were |
//! | [`entities`] | events to one row for each customer, machine or account |
//! | [`findings`] | the findings contract |
//! | [`stats`] | distributions, intervals, false discovery rate |
//!
//! Absent on purpose: files (see `gristmill-datasets`), job specs and command lines (see `gristmill`), clocks outside
//! `backend`.

#![deny(unsafe_code)]

pub mod agreement;
pub mod analysis;
pub mod backend;
pub mod cluster;
pub mod columns;
pub mod correlate;
pub mod dedupe;
pub mod drift;
pub mod entities;
mod error;
pub mod findings;
mod simd;
pub mod stats;

pub use error::EngineError;
