//! From what a user asked for to a source: find the files, learn each one's columns, make one table of them.

use std::sync::Arc;

use rayon::prelude::*;

use crate::align::align;
use crate::format::{Packing, detect};
use crate::input::InputFile;
use crate::paths::{Found, find};
use crate::selection::Selection;
use crate::table::{Part, Table};
use crate::text::Coding;
use crate::{Format, ReadError, Source, SourceFile, SourceOptions};
use crate::{arrow_file, csv, json, parquet};

/// Opens a source as far as its schema: footers of Parquet and Arrow files, the first 64 KiB of text files.
///
/// # Errors
/// When a file is missing, not readable or not what its format says, when columns of the same name have types
/// that do not go together, or when an option does not fit.
pub fn open(options: &SourceOptions) -> Result<Box<dyn Source>, ReadError> {
    let found = find(options)?;
    let opened = match found.as_slice() {
        // A pool of threads takes longer to start than a file to open.
        [one] => vec![open_one(one, options)?],
        // Collected before it is looked at, so that of several bad files the first is named.
        many => {
            let opened: Vec<Result<_, ReadError>> = many.par_iter().map(|file| open_one(file, options)).collect();
            opened.into_iter().collect::<Result<Vec<_>, _>>()?
        }
    };
    let (files, parts): (Vec<SourceFile>, Vec<Arc<dyn Part>>) = opened.into_iter().unzip();
    let aligned = align(parts, &found, options)?;
    let table = Table { schema: Arc::new(aligned.schema), files, notes: aligned.notes, members: Arc::new(aligned.members) };
    if options.filter.is_none() && options.sample.is_none() {
        return Ok(Box::new(table));
    }
    let selection = Selection::new(Arc::new(table), options.filter.as_deref(), options.sample, options.seed)?;
    Ok(Box::new(selection))
}

fn open_one(found: &Found, options: &SourceOptions) -> Result<(SourceFile, Arc<dyn Part>), ReadError> {
    let file = InputFile::at(&found.path, options.memory_bytes)?;
    let (path, bytes) = (file.path.clone(), file.bytes);
    let (format, packing) = detect(&file, options.format)?;
    let part: Arc<dyn Part> = match format {
        Format::Parquet => Arc::new(parquet::open(file)?),
        Format::Arrow => Arc::new(arrow_file::open(file, packing)?),
        Format::Csv => {
            let coding = coding(&file, packing, options)?;
            Arc::new(csv::open(file, coding, options)?)
        }
        Format::JsonLines => {
            let coding = coding(&file, packing, options)?;
            Arc::new(json::open(file, coding, options)?)
        }
    };
    let rows = part.rows();
    Ok((SourceFile { path, bytes, rows }, part))
}

fn coding(file: &InputFile, packing: Packing, options: &SourceOptions) -> Result<Coding, ReadError> {
    Coding::of(file, packing, options.encoding.as_deref())
}
