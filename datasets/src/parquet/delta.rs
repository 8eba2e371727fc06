//! The counts inside delta-encoded text pages.
//!
//! `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY` pages begin with lengths in `DELTA_BINARY_PACKED`, whose header
//! says how many there are; the decoder reserves memory for that many before it reads one. The header lies inside
//! the (often compressed) page, so the pages of such a chunk are unpacked once more, here, to compare the counts
//! with the page's own. Few files use these encodings, and texts cost more to decode than to unpack.

use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::pages::ChunkBytes;

/// Whether the footer lists one of the two encodings for a chunk.
pub(super) fn is_used(chunk: &ColumnChunkMetaData) -> bool {
    chunk.encodings().any(is_text_delta)
}

fn is_text_delta(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
}

/// Compares the counts in every page of a chunk with the values that the page has.
pub(super) fn check(bytes: ChunkBytes, chunk: &ColumnChunkMetaData, rows: usize) -> Result<(), String> {
    let pages = SerializedPageReader::new(Arc::new(bytes), chunk, rows, None).map_err(|error| error.to_string())?;
    for page in pages {
        let page = page.map_err(|error| error.to_string())?;
        if page.is_data_page() && is_text_delta(page.encoding()) {
            check_page(&page, chunk).ok_or("the lengths in a page do not fit the page")?;
        }
    }
    Ok(())
}

fn check_page(page: &Page, chunk: &ColumnChunkMetaData) -> Option<()> {
    let n_values = u64::from(page.num_values());
    let values = values_of(page, chunk)?;
    let end = lengths_end(values, n_values)?;
    if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
        // Prefix lengths, then suffix lengths.
        lengths_end(values.get(end..)?, n_values)?;
    }
    Some(())
}

/// Passes over the repetition and definition levels of a page.
fn values_of<'a>(page: &'a Page, chunk: &ColumnChunkMetaData) -> Option<&'a [u8]> {
    let column = chunk.column_descr();
    match page {
        Page::DataPage { buf, num_values, def_level_encoding, rep_level_encoding, .. } => {
            let mut rest = buf.as_ref();
            let levels = [(column.max_rep_level(), rep_level_encoding), (column.max_def_level(), def_level_encoding)];
            for (max_level, encoding) in levels {
                if max_level > 0 {
                    rest = rest.get(level_bytes(rest, max_level, *encoding, *num_values)?..)?;
                }
            }
            Some(rest)
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let levels = usize::try_from(def_levels_byte_len.checked_add(*rep_levels_byte_len)?).ok()?;
            buf.get(levels..)
        }
        Page::DictionaryPage { .. } => None,
    }
}

fn level_bytes(bytes: &[u8], max_level: i16, encoding: Encoding, n_values: u32) -> Option<usize> {
    if encoding == Encoding::RLE {
        let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        return usize::try_from(length).ok()?.checked_add(4);
    }
    let bits = u64::from(i16::BITS - max_level.leading_zeros()) * u64::from(n_values);
    usize::try_from(bits.div_ceil(8)).ok()
}

/// Returns where a run of delta-packed lengths ends; none where it claims more than `n_values`.
fn lengths_end(bytes: &[u8], n_values: u64) -> Option<usize> {
    let mut at = 0;
    let block_size = varint(bytes, &mut at)?;
    let n_miniblocks = usize::try_from(varint(bytes, &mut at)?).ok()?;
    let total = varint(bytes, &mut at)?;
    varint(bytes, &mut at)?;
    if total > n_values || n_miniblocks == 0 {
        return None;
    }
    let values_per_miniblock = block_size / n_miniblocks as u64;
    // The first value stands in the header.
    let mut left = total.saturating_sub(1);
    if left > 0 && values_per_miniblock == 0 {
        return None;
    }
    while left > 0 {
        varint(bytes, &mut at)?;
        let widths = bytes.get(at..at.checked_add(n_miniblocks)?)?;
        at += n_miniblocks;
        for width in widths {
            if left == 0 {
                break;
            }
            let packed = u64::from(*width).checked_mul(values_per_miniblock)? / 8;
            at = at.checked_add(usize::try_from(packed).ok()?)?;
            left = left.saturating_sub(values_per_miniblock);
        }
    }
    // The padding of the last miniblock may be missing.
    Some(at.min(bytes.len()))
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
