//! The runner under faults: killed, stopped and refused by the system at every call that touches its files.
//!
//! ```text
//! strace counts the calls of one whole run -> for each call: the same run again, with that call killed or refused
//!     -> what lies in the folder is whole or absent -> the same command once more -> the same bytes
//! ```
//!
//! `cargo test` takes a spread sample of the points. All of them, which takes an hour or two:
//!
//! ```text
//! GRISTMILL_FAULTS=full cargo test --release --workspace --test faults -- --nocapture --test-threads 1
//! ```
//!
//! `GRISTMILL_FAULT_ERRORS=EMFILE,EACCES` refuses calls with these errors alone.
//!
//! What the last full run gave is in `benches/RESULTS.md`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod errors;
mod job;
mod kills;
mod signals;
mod trace;

use std::fmt::Debug;

/// Says whether every point is asked for.
fn is_full() -> bool {
    std::env::var("GRISTMILL_FAULTS").is_ok_and(|asked| asked == "full")
}

/// Returns all points, or a sample of `n` spread evenly over them.
fn sample<T: Clone>(points: &[T], n: usize) -> Vec<T> {
    if is_full() || points.len() <= n {
        return points.to_vec();
    }
    (0..n).map(|i| points[(2 * i + 1) * points.len() / (2 * n)].clone()).collect()
}

/// Says aloud what was tried.
fn say(line: &str) {
    #[allow(clippy::print_stderr, reason = "the figures of a full run are its result")]
    {
        eprintln!("{line}");
    }
}

/// Fails with every point that broke a promise, and not with the first one alone.
fn assert_none<T: Debug>(what: &str, broken: &[T]) {
    assert!(broken.is_empty(), "{what}: {} broken: {broken:#?}", broken.len());
}
