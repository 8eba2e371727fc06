//! How the parquet crate reads a file here: by position, through a few shared handles, and only pages whose claims
//! fit.
//!
//! `File` itself is a `ChunkReader`, yet its clones share one position, so that each column needs a handle of its
//! own and a wide table runs out of them. Here a read takes an idle handle, or opens one: there are never more than
//! threads.
//!
//! Before a page is read its header is looked at: a page that claims more bytes than the budget, more values than
//! its chunk, or a dictionary with more entries than bytes is refused before anything is reserved for it.
//!
//! One header is mended. Arrow's C++ writer before 3.0 compressed pages of version 2 and said that it had not
//! (ARROW-10353); read as written they give nonsense without an error. Their sizes or the writer's name tell.
//!
//! Absent   what a compressed page hides: a stream that inflates beyond its claim (gzip, Brotli) is only found out
//!          after the fact.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::column::page::PageReader as _;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::thrift::{Fault, Kind, Walk};
use crate::ReadError;
use crate::input::InputFile;

/// Bytes read to look at a page header; sizes come first in it, statistics last.
const HEAD_BYTES: usize = 1024;

/// Longest page header that is read: its statistics may hold texts.
const MOST_HEAD_BYTES: usize = 1 << 20;

/// Codes of the encodings whose decoders reserve memory for a count inside the page.
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;

/// The low bits of a field header that stand for a boolean and its value.
const TRUE: u8 = 1;
const FALSE: u8 = 2;

/// Idle handles of one file.
#[derive(Debug)]
pub(super) struct Handles {
    file: InputFile,
    idle: Mutex<Vec<File>>,
}

impl Handles {
    pub(super) fn new(file: InputFile) -> Arc<Self> {
        Arc::new(Self { file, idle: Mutex::new(Vec::new()) })
    }

    fn read(&self, start: u64, length: usize, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut handle = match idle {
            Some(handle) => handle,
            None => self.file.open()?,
        };
        let io = |error| ReadError::io(&self.file.path, error);
        handle.seek(SeekFrom::Start(start)).map_err(io)?;
        into.reserve(length);
        // `take` then `read_to_end` fills memory that was never zeroed.
        Read::take(&handle, length as u64).read_to_end(into).map_err(io)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        Ok(())
    }
}

/// The bytes of one column chunk, with what its pages may claim.
///
/// Errors of the parquet crate lose their type on the way to arrow's, so what was refused here is kept aside.
#[derive(Debug, Clone)]
pub(super) struct ChunkBytes {
    handles: Arc<Handles>,
    limits: Limits,
    refused: Arc<Mutex<Option<ReadError>>>,
    /// Bytes of the largest dictionary and of the largest page of values so far.
    largest: Arc<[AtomicU64; 2]>,
}

/// What the pages of a chunk may claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Values in the chunk.
    pub(super) n_values: u64,
    /// Bytes that the smallest value of a dictionary takes.
    pub(super) value_bytes: u64,
    /// Whether the counts inside pages of delta-encoded texts were checked.
    pub(super) deltas_checked: bool,
    /// Whether the chunk has a codec.
    pub(super) compressed: bool,
    /// Whether its writer compressed every page, whatever the page says.
    pub(super) always_compressed: bool,
}

/// Returns how many values the headers of a chunk's pages claim; nothing is unpacked.
///
/// # Errors
/// When a header cannot be understood, or claims what it may not.
pub(super) fn n_values(bytes: &ChunkBytes, chunk: &ColumnChunkMetaData, rows: usize) -> Result<u64, ParquetError> {
    let mut pages = SerializedPageReader::new(Arc::new(bytes.clone()), chunk, rows, None)?;
    let mut n_values = 0_u64;
    while let Some(page) = pages.peek_next_page()? {
        let of_page = if page.is_dict { 0 } else { page.num_levels.or(page.num_rows).unwrap_or(0) };
        n_values = n_values.saturating_add(of_page as u64);
        pages.skip_next_page()?;
    }
    Ok(n_values)
}

impl ChunkBytes {
    pub(super) fn new(handles: Arc<Handles>, limits: Limits) -> Self {
        Self { handles, limits, refused: Arc::default(), largest: Arc::default() }
    }

    /// Takes the error that made the last read fail, if it was one of ours.
    pub(super) fn take_refused(&self) -> Option<ReadError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the bytes that a reader of the chunk holds: its dictionary and one page of values.
    pub(super) fn held_bytes(&self) -> u64 {
        self.largest.iter().map(|bytes| bytes.load(Ordering::Relaxed)).fold(0, u64::saturating_add)
    }

    fn refuse(&self, error: ReadError) -> ParquetError {
        let message = error.to_string();
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        ParquetError::General(message)
    }

    /// Reads the claims of the dictionary page at `start`: its values and bytes.
    pub(super) fn dictionary_claims(&self, start: u64) -> Result<Option<(u64, u64)>, ReadError> {
        let mut head = Vec::new();
        self.handles.read(start, HEAD_BYTES, &mut head)?;
        let (Ok(page) | Err((_, page))) = PageClaims::of(&head);
        let number = |claim: Option<i64>| claim.and_then(|n| u64::try_from(n).ok());
        Ok(number(page.n_values).zip(number(page.bytes)).filter(|_| page.is_dictionary))
    }

    fn file(&self) -> &InputFile {
        &self.handles.file
    }

    fn check_page(&self, head: &mut [u8]) -> Result<(), ReadError> {
        // One that ends too early is refused too: a reader that looks for the elements of a list there goes on for as many as it claims.
        let page = PageClaims::of(head).map_err(|_| self.file().corrupt(None, "a page header is not readable"))?;
        let (bytes, values) = (page.bytes.unwrap_or(0), page.n_values.unwrap_or(0));
        let (Ok(bytes), Ok(values)) = (u64::try_from(bytes), u64::try_from(values)) else {
            return Err(self.file().corrupt(None, format!("a page claims {values} values in {bytes} bytes")));
        };
        self.file().reserve(None, bytes)?;
        if page.is_dictionary && values.saturating_mul(self.limits.value_bytes) > bytes {
            return Err(self.file().corrupt(None, format!("a dictionary claims {values} values in {bytes} bytes")));
        }
        if !page.is_dictionary && values > self.limits.n_values {
            let detail = format!("a page claims {values} values, its chunk {}", self.limits.n_values);
            return Err(self.file().corrupt(None, detail));
        }
        let is_delta = matches!(page.encoding, Some(DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY));
        if is_delta && !page.is_dictionary && !self.limits.deltas_checked {
            return Err(self.file().corrupt(None, "a page has an encoding that the footer does not list"));
        }
        self.largest[usize::from(!page.is_dictionary)].fetch_max(bytes, Ordering::Relaxed);
        if let Some(flag) = page.not_compressed_at.filter(|_| self.limits.compressed) {
            // A page that is not compressed has one size.
            if self.limits.always_compressed || page.bytes != page.packed_bytes {
                head[flag] = head[flag] & 0xf0 | TRUE;
            }
        }
        Ok(())
    }
}

/// What a page header says of itself.
#[derive(Debug, Default, Clone, Copy)]
struct PageClaims {
    bytes: Option<i64>,
    packed_bytes: Option<i64>,
    n_values: Option<i64>,
    encoding: Option<i64>,
    is_dictionary: bool,
    /// Where in the header a page of version 2 says that it is not compressed.
    not_compressed_at: Option<usize>,
}

impl PageClaims {
    /// Reads a header. A field of another kind than its id says is a fault: the parquet crate goes by ids, and would read on from elsewhere.
    fn of(head: &[u8]) -> Result<Self, (Fault, Self)> {
        let mut page = Self::default();
        let walked = Walk::new(head).fields(|walk, id, kind| match (id, kind) {
            (2, Kind::Varint) => {
                page.bytes = Some(walk.integer()?);
                Ok(true)
            }
            (3, Kind::Varint) => {
                page.packed_bytes = Some(walk.integer()?);
                Ok(true)
            }
            // What kind of page it is, and a checksum.
            (1 | 4, Kind::Varint) | (6, Kind::Struct) => Ok(false),
            // Data page, dictionary page, data page version 2: the first field is the number of values.
            (5 | 7 | 8, Kind::Struct) => {
                page.is_dictionary = id == 7;
                let is_v2 = id == 8;
                // Its numbers come first, and statistics, or whether a dictionary is sorted, last.
                let (last_number, last) = match id {
                    7 => (2, 3),
                    8 => (6, 8),
                    _ => (4, 5),
                };
                let encoding = if is_v2 { 4 } else { 2 };
                walk.fields(|walk, id, kind| {
                    match (id, kind) {
                        (1, Kind::Varint) => page.n_values = Some(walk.integer()?),
                        (id, Kind::Varint) if id == encoding => page.encoding = Some(walk.integer()?),
                        (7, Kind::Boolean) if is_v2 => {
                            let at = head.len() - walk.left() - 1;
                            page.not_compressed_at = (head[at] & 0x0f == FALSE).then_some(at);
                            return Ok(false);
                        }
                        (id, Kind::Varint) if (1..=last_number).contains(&id) => return Ok(false),
                        (id, Kind::Struct) if id == last && !page.is_dictionary => return Ok(false),
                        (3, Kind::Boolean) if page.is_dictionary => return Ok(false),
                        (id, _) if (1..=last).contains(&id) => return Err(Fault::Malformed),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
                Ok(true)
            }
            (1..=8, _) => Err(Fault::Malformed),
            _ => Ok(false),
        });
        walked.map(|()| page).map_err(|fault| (fault, page))
    }
}

impl Length for ChunkBytes {
    fn len(&self) -> u64 {
        self.file().bytes
    }
}

impl ChunkReader for ChunkBytes {
    type T = Head;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Head { chunk: self.clone(), at: start, bytes: Vec::new(), used: 0, is_checked: false })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.file().bytes;
        if start.checked_add(length as u64).is_none_or(|end| end > bytes) {
            let detail = format!("a page of {length} bytes at {start} lies beyond the {bytes} bytes of the file");
            return Err(self.refuse(self.file().corrupt(None, detail)));
        }
        let mut page = Vec::new();
        self.handles.read(start, length, &mut page).map_err(|error| self.refuse(error))?;
        if page.len() == length { Ok(page.into()) } else { Err(self.refuse(self.file().corrupt(None, "it is cut off"))) }
    }
}

/// Reads a page header, and on for as long as it goes. It is looked at when it is read: readers that know it already ask for one where the page's
/// content begins, and read nothing of it.
#[derive(Debug)]
pub(super) struct Head {
    chunk: ChunkBytes,
    at: u64,
    bytes: Vec<u8>,
    used: usize,
    is_checked: bool,
}

impl Head {
    fn refill(&mut self) -> Result<(), ReadError> {
        self.bytes.clear();
        self.used = 0;
        self.chunk.handles.read(self.at, HEAD_BYTES, &mut self.bytes)?;
        self.at += self.bytes.len() as u64;
        if self.is_checked {
            return Ok(());
        }
        while self.bytes.len() < MOST_HEAD_BYTES && matches!(PageClaims::of(&self.bytes), Err((Fault::Short, _))) {
            let before = self.bytes.len();
            self.chunk.handles.read(self.at, before, &mut self.bytes)?;
            self.at += (self.bytes.len() - before) as u64;
            if self.bytes.len() == before {
                break;
            }
        }
        self.is_checked = true;
        self.chunk.check_page(&mut self.bytes)
    }
}

impl Read for Head {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.used == self.bytes.len() {
            self.refill().map_err(|error| io::Error::other(self.chunk.refuse(error)))?;
        }
        let n = into.len().min(self.bytes.len() - self.used);
        into[..n].copy_from_slice(&self.bytes[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn bytes_of(budget_bytes: u64, limits: Limits) -> ChunkBytes {
        let file = tempfile::NamedTempFile::new().unwrap();
        ChunkBytes::new(Handles::new(InputFile::at(file.path(), budget_bytes).unwrap()), limits)
    }

    fn limits() -> Limits {
        Limits { n_values: 100, value_bytes: 4, deltas_checked: false, compressed: true, always_compressed: false }
    }

    /// A header: type, 64 bytes unpacked, 32 bytes packed, then the struct of its kind.
    fn header(kind: &[u8]) -> Vec<u8> {
        [&[0x15, 0, 0x15, 128, 1, 0x15, 64], kind, &[0]].concat()
    }

    #[test]
    fn claims_beyond_budget_chunk_or_page_are_refused() {
        // A data page of 60 values in the plain encoding.
        let mut page = header(&[0x2c, 0x15, 120, 0x15, 0, 0]);
        assert!(bytes_of(64, limits()).check_page(&mut page).is_ok());
        let error = bytes_of(63, limits()).check_page(&mut page).unwrap_err();
        assert!(matches!(error, ReadError::Budget { needed_bytes: 64, budget_bytes: 63, .. }), "{error}");
        let error = bytes_of(64, Limits { n_values: 59, ..limits() }).check_page(&mut page).unwrap_err();
        assert!(error.to_string().contains("60 values"), "{error}");
        // A dictionary of 60 values: 4 bytes each do not fit 64.
        let mut page = header(&[0x4c, 0x15, 120, 0x15, 0, 0]);
        let error = bytes_of(64, limits()).check_page(&mut page).unwrap_err();
        assert!(error.to_string().contains("dictionary claims 60"), "{error}");
        // The encoding of texts by lengths, which the footer did not list.
        let mut page = header(&[0x2c, 0x15, 120, 0x15, 12, 0]);
        assert!(bytes_of(64, limits()).check_page(&mut page).is_err());
        assert!(bytes_of(64, Limits { deltas_checked: true, ..limits() }).check_page(&mut page).is_ok());
    }

    #[test]
    fn a_header_is_read_to_its_end_or_refused() {
        // Statistics with a longest text of 3,000 bytes come before the end.
        let text = vec![b'x'; 3_000];
        let length = [0xb8, 0x17];
        let statistics = [&[0x1c, 0x18][..], &length, &text, &[0]].concat();
        let page = header(&[&[0x2c, 0x15, 120, 0x15, 0, 0x15, 0, 0x15, 0], &statistics[..], &[0]].concat());
        let read = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let chunk = ChunkBytes::new(Handles::new(InputFile::at(file.path(), 1 << 20).unwrap()), limits());
            let mut whole = Vec::new();
            chunk.get_read(0).unwrap().take(bytes.len() as u64).read_to_end(&mut whole).map(|_| whole)
        };
        assert_eq!(read(&page).unwrap(), page);
        for end in [page.len() - 1, 2_000, 1_024, 20] {
            assert!(read(&page[..end]).unwrap_err().to_string().contains("a page header is not readable"), "{end}");
        }
        // A list of 2^31 - 1 empty texts, of which none is there.
        let endless = [&[0x15, 0, 0x15, 128, 1, 0x15, 64, 0x89, 0xf8][..], &[0xff, 0xff, 0xff, 0xff, 7]].concat();
        assert!(read(&endless).is_err());
        // A checksum that is a boolean, which the parquet crate would read as a number; a number of values that is a text.
        assert!(read(&[0x15, 0, 0x15, 128, 1, 0x15, 64, 0x11, 0]).is_err());
        assert!(read(&header(&[0x2c, 0x18, 1, b'x', 0])).is_err());
    }

    #[test]
    fn a_page_that_is_compressed_and_says_not_is_mended() {
        // Values, nulls, rows, encoding, two lengths of levels, `is_compressed` false.
        let v2 = [0x5c, 0x15, 120, 0x15, 0, 0x15, 120, 0x15, 0, 0x15, 0, 0x15, 0, 0x12, 0];
        let mut page = header(&v2);
        bytes_of(64, limits()).check_page(&mut page).unwrap();
        assert!(page.windows(2).any(|pair| pair == [0x11, 0]));
        let mut page = header(&v2);
        bytes_of(64, Limits { compressed: false, ..limits() }).check_page(&mut page).unwrap();
        assert_eq!(page, header(&v2));
    }
}
