//! What a file is: by its ending, else by its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::input::InputFile;
use crate::{Format, ReadError};

/// How a file is packed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    /// Tells by the first bytes, which endings cannot contradict.
    pub(crate) fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Whether a file in a folder that was named counts as data.
pub(crate) fn is_data_file(path: &Path) -> bool {
    by_ending(path).is_some()
}

/// Tells format and packing of a file.
pub(crate) fn detect(file: &InputFile, asked: Option<Format>) -> Result<(Format, Packing), ReadError> {
    let mut first = Vec::new();
    let handle: File = file.open()?;
    handle.take(8).read_to_end(&mut first).map_err(|error| ReadError::io(&file.path, error))?;
    let packing = Packing::of(&first);
    let by_bytes = match first.as_slice() {
        [b'P', b'A', b'R', b'1' | b'E', ..] => Some(Format::Parquet),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [0xff, 0xff, 0xff, 0xff, ..] => Some(Format::Arrow),
        _ => None,
    };
    let format = asked.or_else(|| by_ending(&file.path)).or(by_bytes).ok_or_else(|| {
        let what = "its format cannot be told from its ending; set `format` to parquet, csv, jsonl or arrow";
        file.unsupported(None, what)
    })?;
    if format == Format::Parquet && packing != Packing::None {
        return Err(file.unsupported(None, "a Parquet file that is packed as a whole is not read; unpack it first"));
    }
    Ok((format, packing))
}

fn by_ending(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = [".gz", ".zst", ".zstd", ".encrypted"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "parquet" | "parq" | "pq" => Some(Format::Parquet),
        "csv" | "tsv" | "tab" | "psv" | "txt" => Some(Format::Csv),
        "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
        "arrow" | "arrows" | "ipc" | "feather" => Some(Format::Arrow),
        _ => None,
    }
}
