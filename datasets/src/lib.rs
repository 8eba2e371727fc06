//! Streaming readers for files that may be larger than memory, generators that return data with its planted
//! truth, and the small samples that ship with gristmill.
//!
//! [`open`] turns [`SourceOptions`] into a [`Source`]: a schema, the files behind it, and scans that stream it.
//!
//! ```text
//! open ── paths      files, folders, globs, Hive partitions
//!      ├─ format     what a file is
//!      ├─ parquet    one reader for each column of a row group, in step
//!      ├─ csv, json  text; `text` unpacks and decodes it, `cells` gives it types
//!      ├─ arrow_file Arrow IPC files and streams
//!      ├─ align      one schema for files whose columns differ
//!      ├─ table      the files, one after the other
//!      └─ selection  `where` (see `filter`) and `sample`
//! ```
//!
//! Files are hostile until proven otherwise: sizes that they claim are held against the memory budget before
//! anything is reserved, counts against each other, and every call into a decoder is fenced, so that its panic is an
//! error that names the file and the column. Nothing is written, and nothing outside the named files is read.

#![forbid(unsafe_code)]

mod align;
mod arrow_file;
mod cells;
mod csv;
mod error;
mod fence;
pub mod filter;
mod format;
mod input;
mod json;
mod open;
mod parquet;
mod paths;
mod selection;
mod source;
pub mod synth;
mod table;
mod text;
mod union;

pub use error::{Cause, ReadError};
pub use fence::quiet_panics;
pub use open::open;
pub use source::{Format, Rename, Sample, Scan, Sink, Source, SourceFile, SourceOptions};
pub use union::union;
