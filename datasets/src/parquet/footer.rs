//! What a Parquet footer claims, looked at before the parquet crate decodes it and before a column is read.
//!
//! ```text
//! last 8 bytes      length of the footer, then `PAR1`, or `PARE` where the footer is encrypted
//! before decoding   every list fits in the bytes that are left, the schema nests at most 100 deep,
//!                   nothing is encrypted
//! after decoding    the rows of the footer are the sum of its row groups'; chunks lie inside the file
//! before a scan     what a projected chunk claims fits the budget
//! ```
//!
//! A flat column is decoded page by page, so its pages are held against the budget (see `pages`), not its chunk:
//! one row group may be larger than memory. A row of a nested column can be as large as the whole chunk, so there
//! the chunk is.

use std::io::{Read, Seek, SeekFrom};

use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::thrift::{Fault, Kind, Walk};
use crate::ReadError;
use crate::input::InputFile;

/// Bytes of the length and the magic at the end.
const TAIL_BYTES: u64 = 8;

/// Deepest nesting of a schema; decoders recurse over it.
const MAX_SCHEMA_DEPTH: usize = 100;

/// Checks the bytes of a footer before they are decoded.
pub(super) fn check_before_decoding(file: &InputFile, mut handle: impl Read + Seek) -> Result<(), ReadError> {
    let io = |error| ReadError::io(&file.path, error);
    if file.bytes < TAIL_BYTES + 4 {
        return Err(file.corrupt(None, format!("{} bytes are too few for a Parquet file", file.bytes)));
    }
    let mut tail = [0u8; 8];
    handle.seek(SeekFrom::Start(file.bytes - TAIL_BYTES)).map_err(io)?;
    handle.read_exact(&mut tail).map_err(io)?;
    match &tail[4..] {
        b"PARE" => return Err(ReadError::Encrypted { path: file.path.clone() }),
        b"PAR1" => {}
        _ => return Err(file.corrupt(None, "a Parquet file ends in `PAR1`, this one does not; it may be cut off")),
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length > file.bytes - TAIL_BYTES {
        let detail = format!("its footer claims {length} bytes, the file has {}", file.bytes);
        return Err(file.corrupt(None, detail));
    }
    file.reserve(None, length)?;
    let mut footer = vec![0u8; usize::try_from(length).map_err(|_| file.corrupt(None, "footer too long"))?];
    handle.seek(SeekFrom::Start(file.bytes - TAIL_BYTES - length)).map_err(io)?;
    handle.read_exact(&mut footer).map_err(io)?;
    match walk(&footer) {
        Ok(Findings { encrypted: true, .. }) => Err(ReadError::Encrypted { path: file.path.clone() }),
        Ok(Findings { depth, .. }) if depth > MAX_SCHEMA_DEPTH => {
            let what = format!("its columns nest {depth} deep, at most {MAX_SCHEMA_DEPTH} levels are read");
            Err(file.unsupported(None, what))
        }
        Ok(_) => Ok(()),
        Err(Fault::ListTooLong) => Err(file.corrupt(None, "its footer claims more entries than it has bytes")),
        Err(Fault::Short | Fault::Malformed) => Err(file.corrupt(None, "its footer is not readable")),
        Err(Fault::TooDeep) => Err(file.corrupt(None, "its footer nests deeper than any that is valid")),
    }
}

struct Findings {
    encrypted: bool,
    depth: usize,
}

fn walk(footer: &[u8]) -> Result<Findings, Fault> {
    let (mut encrypted, mut depth) = (false, 0);
    Walk::new(footer).fields(|walk, id, kind| match (id, kind) {
        (2, Kind::List) => {
            depth = schema_depth(walk)?;
            Ok(true)
        }
        (4, Kind::List) => {
            encrypted |= any_encrypted_chunk(walk)?;
            Ok(true)
        }
        // `encryption_algorithm`: the footer is plain, columns are not.
        (8, _) => {
            encrypted = true;
            Ok(false)
        }
        _ => Ok(false),
    })?;
    Ok(Findings { encrypted, depth })
}

/// The schema is a tree in pre-order; each element says how many children follow.
fn schema_depth(walk: &mut Walk<'_>) -> Result<usize, Fault> {
    let (n, kind) = walk.list()?;
    let (mut open, mut deepest): (Vec<i64>, usize) = (Vec::new(), 0);
    for _ in 0..n {
        if kind != Kind::Struct {
            return Err(Fault::Malformed);
        }
        let mut children = 0;
        walk.fields(|walk, id, kind| match (id, kind) {
            (5, Kind::Varint) => {
                children = walk.integer()?;
                Ok(true)
            }
            _ => Ok(false),
        })?;
        while open.last().is_some_and(|left| *left <= 0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
            deepest = deepest.max(open.len());
        }
    }
    Ok(deepest)
}

fn any_encrypted_chunk(walk: &mut Walk<'_>) -> Result<bool, Fault> {
    let mut encrypted = false;
    let (n, kind) = walk.list()?;
    for _ in 0..n {
        if kind != Kind::Struct {
            return Err(Fault::Malformed);
        }
        walk.fields(|walk, id, kind| match (id, kind) {
            (1, Kind::List) => {
                let (n, kind) = walk.list()?;
                for _ in 0..n {
                    if kind != Kind::Struct {
                        return Err(Fault::Malformed);
                    }
                    // Field 8 of a column chunk is `crypto_metadata`.
                    walk.fields(|_, id, _| {
                        encrypted |= id == 8;
                        Ok(false)
                    })?;
                }
                Ok(true)
            }
            _ => Ok(false),
        })?;
    }
    Ok(encrypted)
}

/// Checks a decoded footer against itself and against the file.
pub(super) fn check_decoded(file: &InputFile, metadata: &ParquetMetaData) -> Result<u64, ReadError> {
    let claimed = metadata.file_metadata().num_rows();
    let mut sum = 0i64;
    for group in metadata.row_groups() {
        let rows = group.num_rows();
        if rows < 0 {
            return Err(file.corrupt(None, format!("a row group claims {rows} rows")));
        }
        sum = sum.checked_add(rows).ok_or_else(|| file.corrupt(None, "its row groups claim more than 2^63 rows"))?;
    }
    if sum != claimed {
        return Err(file.corrupt(None, format!("its footer claims {claimed} rows, its row groups {sum}")));
    }
    u64::try_from(sum).map_err(|_| file.corrupt(None, format!("its footer claims {claimed} rows")))
}

/// Checks one chunk that is about to be decoded.
pub(super) fn check_chunk(file: &InputFile, name: &str, chunk: &ColumnChunkMetaData) -> Result<(), ReadError> {
    let corrupt = |detail: String| Err(file.corrupt(Some(name), detail));
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let (length, values) = (chunk.compressed_size(), chunk.num_values());
    let end = start.checked_add(length).and_then(|end| u64::try_from(end).ok());
    if start < 0 || length < 0 || end.is_none_or(|end| end > file.bytes) {
        return corrupt(format!("it claims {length} bytes at {start}, the file has {}", file.bytes));
    }
    let (Ok(values), Ok(bytes)) = (u64::try_from(values), u64::try_from(chunk.uncompressed_size())) else {
        return corrupt(format!("it claims {values} values in {} bytes", chunk.uncompressed_size()));
    };
    let column = chunk.column_descr();
    if column.max_rep_level() > 0 {
        // Levels are two numbers of two bytes a value.
        file.reserve(Some(name), bytes.saturating_add(values.saturating_mul(4)))?;
    }
    if column.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY {
        let width = u64::try_from(column.type_length()).unwrap_or(0);
        file.reserve(Some(name), width.saturating_mul(2))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a list of structs that claims `n` elements, as field `id` of the struct that it begins.
    fn list(id: u8, n: [u8; 5]) -> Vec<u8> {
        let mut bytes = vec![id << 4 | 9, 0xfc];
        bytes.extend(n);
        bytes
    }

    #[test]
    fn more_row_groups_than_bytes_are_refused_before_memory_is_reserved() {
        let footer = list(4, [0xff, 0xff, 0xff, 0xff, 0x07]);
        assert!(matches!(walk(&footer), Err(Fault::ListTooLong)));
    }

    #[test]
    fn nesting_is_measured_and_encryption_found() {
        // Elements that have one child each: field 5, the number 1 in zigzag, the end of the struct.
        let mut footer = vec![0x29, 0xfc, 200, 1];
        footer.extend([0x55, 2, 0].repeat(200));
        footer.push(0);
        assert!(matches!(walk(&footer), Ok(Findings { encrypted: false, depth: 200 })));
        // Field 8, an empty struct.
        assert!(matches!(walk(&[0x8c, 0, 0]), Ok(Findings { encrypted: true, depth: 0 })));
    }

    #[test]
    fn bytes_that_are_no_footer_are_a_fault() {
        assert!(matches!(walk(&[]), Err(Fault::Short)));
        assert!(matches!(walk(&[0x1f, 0]), Err(Fault::Malformed)));
        assert!(matches!(walk(&[0x1c; 1_000]), Err(Fault::TooDeep)));
    }
}
