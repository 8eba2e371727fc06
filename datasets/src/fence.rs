//! The fence round decoders: a panic on hostile bytes becomes an error that names file and column.
//!
//! Decoders that others wrote still panic on some inputs (research counted 19 panics on 272 fuzz files), and
//! `overflow-checks = true` turns silent wrap-around into such panics. Every call into one goes through [`fenced`];
//! code of callers (the sink of a scan) never does, so that a bug there stays a bug.
//!
//! Absent   allocation failure and stack overflow, which cannot be caught: sizes and nesting are checked before
//!          decoding instead.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use crate::ReadError;

thread_local! {
    static FENCED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that the readers turn into errors off stderr; call it once, early.
///
/// The panic hook that was set before still sees every other panic.
pub fn quiet_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !FENCED.get() {
                before(panic);
            }
        }));
    });
}

/// Runs a decoder; its panic is [`ReadError::Corrupt`].
pub(crate) fn fenced<T>(path: &Path, column: Option<&str>, decode: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let outer = FENCED.replace(true);
    // What a decoder leaves behind after a panic is never used again: scans refuse to go on after an error.
    let result = catch_unwind(AssertUnwindSafe(decode));
    FENCED.set(outer);
    result.unwrap_or_else(|panic| {
        let detail = format!("the decoder stopped: {}", message(panic.as_ref()));
        Err(ReadError::corrupt(path, column, detail))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
