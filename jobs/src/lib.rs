//! The batch job runner: job specs in, findings that can be trusted out.
//!
//! ```text
//! spec     what a user asked for, every mistake with line, column and fix
//! plan     what it means: opened sources, order of steps, resolved columns
//! run      carries a plan out, step by step, in a run folder that survives a kill
//! kinds    the table of what a step can do
//! report   one HTML file about a finished run
//! ```
//!
//! Absent    a scheduler, a daemon and a web interface: cron, Slurm and Kubernetes call the binary.

pub mod also;
pub mod cache;
pub mod cli;
mod confined;
pub mod doctor;
pub mod error;
pub mod events;
pub mod exit;
pub mod explain;
mod fault;
pub mod hash;
pub mod init;
pub mod kinds;
pub mod lineage;
pub mod manifest;
pub mod memory;
pub mod metrics;
mod model;
pub mod outputs;
pub mod pass;
pub mod plan;
pub mod progress;
mod read_back;
pub mod report;
pub mod run;
pub mod run_dir;
pub mod runs;
mod secrets;
mod shelf;
pub mod signals;
mod slots;
pub mod spec;
mod spill;
pub mod steps;
pub mod summary;
pub mod terminal;

pub use error::{Exit, JobError};
