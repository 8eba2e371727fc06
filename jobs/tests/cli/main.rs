//! The built binary on small files: what it writes, what it says, and how it ends.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod cache;
mod checks;
mod confined;
mod exits;
mod first;
mod job;
mod keeping;
mod kinds;
mod layers;
mod observed;
mod outside;
mod runs;
mod schedulers;
mod stops;
mod turns;
mod words;
