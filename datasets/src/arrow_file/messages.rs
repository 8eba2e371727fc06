//! The messages of Arrow IPC, each held against the file and the budget before memory is reserved for it.
//!
//! ```text
//! ff ff ff ff | length | metadata (a flatbuffer) | body
//! ```
//!
//! Arrow's own readers reserve what a message claims (a file of 30 bytes made one take 2 GiB) and slice the body by
//! offsets that nobody checked. Here lengths are compared with what is left of the file, buffers with their body,
//! and sizes of compressed buffers with the budget; then arrow decodes.

use std::io::Read;
use std::path::Path;

use arrow::buffer::{Buffer, MutableBuffer};
use arrow::ipc::{self, MessageHeader};

use crate::ReadError;
use crate::input::InputFile;

/// Most rows of one batch; a column of type null takes no bytes and could claim any number.
const MAX_BATCH_ROWS: i64 = 1 << 40;

/// A message whose claims were checked.
pub(super) struct Message {
    metadata: Vec<u8>,
    pub(super) body: Buffer,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Schema,
    Dictionary,
    Batch { n_rows: u64 },
}

impl Message {
    /// Returns the flatbuffer.
    pub(super) fn parsed(&self, path: &Path) -> Result<ipc::Message<'_>, ReadError> {
        ipc::root_as_message(&self.metadata).map_err(|error| ReadError::corrupt(path, None, flat(&error)))
    }
}

/// Reads messages one after the other.
pub(super) struct Messages<R> {
    file: InputFile,
    from: R,
    /// Bytes that can still come; unknown in packed files.
    left: Option<u64>,
}

impl<R: Read> Messages<R> {
    pub(super) fn new(file: InputFile, from: R, left: Option<u64>) -> Self {
        Self { file, from, left }
    }

    pub(super) fn inner(&mut self) -> &mut R {
        &mut self.from
    }

    /// Forgets where it was: the caller moved to a place with `left` bytes after it.
    pub(super) fn moved(&mut self, left: u64) {
        self.left = Some(left);
    }

    /// Reads the next message with its body; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Message, Kind)>, ReadError> {
        let Some((metadata, body_bytes, kind)) = self.head()? else { return Ok(None) };
        let n = usize::try_from(body_bytes).map_err(|_| self.file.corrupt(None, "a message is too long"))?;
        let mut body = MutableBuffer::from_len_zeroed(n);
        self.fill(&mut body)?;
        let message = Message { metadata, body: body.into() };
        self.check_unpacked(&message)?;
        Ok(Some((message, kind)))
    }

    /// Reads the next message without its body: what it is for and the bytes of the body.
    pub(super) fn peek(&mut self) -> Result<Option<(Kind, u64)>, ReadError> {
        Ok(self.head()?.map(|(_, body_bytes, kind)| (kind, body_bytes)))
    }

    /// Counts bytes that the caller passed over.
    pub(super) fn passed(&mut self, n: u64) {
        self.left = self.left.map(|left| left.saturating_sub(n));
    }

    fn head(&mut self) -> Result<Option<(Vec<u8>, u64, Kind)>, ReadError> {
        let Some(mut length) = self.length()? else { return Ok(None) };
        if length == u32::MAX {
            length = self.length()?.unwrap_or(0);
        }
        if length == 0 {
            return Ok(None);
        }
        self.claim(u64::from(length), "metadata")?;
        let mut metadata = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.fill(&mut metadata)?;
        let message = ipc::root_as_message(&metadata).map_err(|error| self.file.corrupt(None, flat(&error)))?;
        let claimed = message.bodyLength();
        let body_bytes =
            u64::try_from(claimed).map_err(|_| self.file.corrupt(None, format!("a message claims a body of {claimed} bytes")))?;
        self.claim(body_bytes, "a body")?;
        let kind = self.kind(&message, body_bytes)?;
        Ok(Some((metadata, body_bytes, kind)))
    }

    /// Reads the four bytes of a length; none at the end of the file.
    fn length(&mut self) -> Result<Option<u32>, ReadError> {
        let mut bytes = Vec::with_capacity(4);
        let read = self.from.by_ref().take(4).read_to_end(&mut bytes);
        read.map_err(|error| ReadError::io(&self.file.path, error))?;
        self.passed(bytes.len() as u64);
        match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Some(u32::from_le_bytes(bytes))),
            Err(_) if bytes.is_empty() => Ok(None),
            Err(_) => Err(self.file.corrupt(None, "it is cut off in a message")),
        }
    }

    fn claim(&self, bytes: u64, what: &str) -> Result<(), ReadError> {
        if self.left.is_some_and(|left| bytes > left) {
            let left = self.left.unwrap_or(0);
            return Err(self.file.corrupt(None, format!("a message claims {what} of {bytes} bytes, {left} are left")));
        }
        self.file.reserve(None, bytes)
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), ReadError> {
        self.passed(into.len() as u64);
        self.from.read_exact(into).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.file.corrupt(None, "it is cut off in a message"),
            _ => ReadError::io(&self.file.path, error),
        })
    }

    fn kind(&self, message: &ipc::Message<'_>, body_bytes: u64) -> Result<Kind, ReadError> {
        match message.header_type() {
            MessageHeader::Schema => Ok(Kind::Schema),
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch();
                let n_rows = self.check_batch(batch, body_bytes)?;
                Ok(Kind::Batch { n_rows })
            }
            MessageHeader::DictionaryBatch => {
                let data = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
                self.check_batch(data, body_bytes)?;
                Ok(Kind::Dictionary)
            }
            other => Err(self.file.unsupported(None, format!("Arrow messages of kind {other:?} are not read"))),
        }
    }

    /// Compares rows and buffers of a batch with its body.
    fn check_batch(&self, batch: Option<ipc::RecordBatch<'_>>, body_bytes: u64) -> Result<u64, ReadError> {
        let batch = batch.ok_or_else(|| self.file.corrupt(None, "a batch has no header"))?;
        let lengths = batch.nodes().into_iter().flatten().map(|node| node.length()).chain([batch.length()]);
        for length in lengths {
            if !(0..=MAX_BATCH_ROWS).contains(&length) {
                return Err(self.file.corrupt(None, format!("a batch claims {length} rows")));
            }
        }
        for buffer in batch.buffers().into_iter().flatten() {
            let end = buffer.offset().checked_add(buffer.length()).and_then(|end| u64::try_from(end).ok());
            if buffer.offset() < 0 || buffer.length() < 0 || end.is_none_or(|end| end > body_bytes) {
                let (offset, length) = (buffer.offset(), buffer.length());
                let detail = format!("a buffer of {length} bytes at {offset} lies outside of its {body_bytes} bytes");
                return Err(self.file.corrupt(None, detail));
            }
        }
        Ok(u64::try_from(batch.length()).unwrap_or(0))
    }

    /// Adds up what the compressed buffers of a batch say that they unpack to.
    fn check_unpacked(&self, message: &Message) -> Result<(), ReadError> {
        let parsed = message.parsed(&self.file.path)?;
        let batch =
            parsed.header_as_record_batch().or_else(|| parsed.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(()) };
        let mut unpacked = 0u64;
        for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() >= 8) {
            let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
            let claim = start.checked_add(8).and_then(|end| message.body.as_slice().get(start..end));
            let claim = claim.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map_or(0, i64::from_le_bytes);
            // Minus one stands for a buffer that is not compressed.
            unpacked = unpacked.saturating_add(u64::try_from(claim).unwrap_or(0));
        }
        self.file.reserve(None, unpacked)
    }
}

fn flat(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let short: String = text.chars().take(120).collect();
    format!("a message is not readable: {short}")
}
