//! Text files as a stream of UTF-8: unpacked, decoded, without a byte order mark.
//!
//! ```text
//! bytes on disk -> gzip or zstd -> encoding -> UTF-8
//! ```
//!
//! The packing is told by the first bytes. Without `encoding` a UTF-16 byte order mark is obeyed, anything else is
//! taken for UTF-8 and checked where cells are read as texts. Memory is bounded by small buffers, whatever a packed
//! file inflates to.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use encoding_rs::{CoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::ReadError;
use crate::format::Packing;
use crate::input::InputFile;

/// Bytes that are looked at to learn the columns of a text file.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;

const BUFFER_BYTES: usize = 256 * 1024;

/// How the text of a file is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coding {
    pub(crate) packing: Packing,
    /// None for UTF-8.
    encoding: Option<&'static Encoding>,
}

impl Coding {
    /// Chooses the decoders of a file; `label` is the user's `encoding`.
    pub(crate) fn of(file: &InputFile, packing: Packing, label: Option<&str>) -> Result<Self, ReadError> {
        let asked = label.map(|label| {
            Encoding::for_label(label.as_bytes()).ok_or_else(|| ReadError::Option {
                option: "encoding",
                value: label.to_owned(),
                detail: "not a character encoding; examples: utf-8, windows-1252, iso-8859-15, shift_jis".to_owned(),
            })
        });
        let asked = asked.transpose()?.filter(|encoding| *encoding != UTF_8);
        let mut first = Vec::new();
        let raw = Self { packing, encoding: None }.unpacked(file)?;
        raw.take(2).read_to_end(&mut first).map_err(|error| ReadError::io(&file.path, error))?;
        let marked = match first.as_slice() {
            [0xff, 0xfe] => Some(UTF_16LE),
            [0xfe, 0xff] => Some(UTF_16BE),
            _ => None,
        };
        Ok(Self { packing, encoding: marked.or(asked) })
    }

    /// Whether the text on disk is the text that is read, byte for byte.
    pub(crate) fn is_plain(&self) -> bool {
        self.packing == Packing::None && self.encoding.is_none()
    }

    /// Streams the text of a file.
    pub(crate) fn reader(&self, file: &InputFile) -> Result<Box<dyn Read + Send>, ReadError> {
        let bytes = self.unpacked(file)?;
        match self.encoding {
            Some(encoding) => Ok(Box::new(Transcoded::new(bytes, encoding))),
            None => without_mark(bytes).map_err(|error| ReadError::io(&file.path, error)),
        }
    }

    fn unpacked(&self, file: &InputFile) -> Result<Box<dyn Read + Send>, ReadError> {
        unpack_file(file, self.packing)
    }

    /// Reads the start of the text, at most `n` bytes; the flag says whether that is all of it.
    pub(crate) fn head(&self, file: &InputFile, n: usize) -> Result<(Vec<u8>, bool), ReadError> {
        let mut head = Vec::with_capacity(n.min(usize::try_from(file.bytes).unwrap_or(n)) + 1);
        let reader = self.reader(file)?;
        reader.take(n as u64 + 1).read_to_end(&mut head).map_err(|error| ReadError::io(&file.path, error))?;
        let whole = head.len() <= n;
        head.truncate(n);
        Ok((head, whole))
    }
}

/// Streams the bytes of a file of any packing.
pub(crate) fn unpack_file(file: &InputFile, packing: Packing) -> Result<Box<dyn Read + Send>, ReadError> {
    unpack(file.open()?, packing).map_err(|error| ReadError::io(&file.path, error))
}

fn unpack(handle: File, packing: Packing) -> io::Result<Box<dyn Read + Send>> {
    Ok(match packing {
        Packing::None => Box::new(handle),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, handle))),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(handle)?),
    })
}

fn without_mark(mut bytes: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut first = Vec::with_capacity(3);
    bytes.by_ref().take(3).read_to_end(&mut first)?;
    if first == b"\xef\xbb\xbf" {
        first.clear();
    }
    Ok(Box::new(io::Cursor::new(first).chain(bytes)))
}

/// Turns another encoding into UTF-8; bytes that are not in it are an error.
struct Transcoded {
    bytes: Box<dyn Read + Send>,
    encoding: &'static Encoding,
    decoder: encoding_rs::Decoder,
    raw: Vec<u8>,
    raw_used: usize,
    ended: bool,
    text: Vec<u8>,
    text_used: usize,
}

impl Transcoded {
    fn new(bytes: Box<dyn Read + Send>, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        let (raw, text) = (Vec::new(), Vec::new());
        Self { bytes, encoding, decoder, raw, raw_used: 0, ended: false, text, text_used: 0 }
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.raw_used == self.raw.len() && !self.ended {
            self.raw.clear();
            self.raw_used = 0;
            self.bytes.by_ref().take(64 * 1024).read_to_end(&mut self.raw)?;
            self.ended = self.raw.is_empty();
        }
        self.text.resize(192 * 1024, 0);
        let (result, n_read, n_written, malformed) = self.decoder.decode_to_utf8(&self.raw[self.raw_used..], &mut self.text, self.ended);
        debug_assert!(result == CoderResult::InputEmpty || n_written > 0);
        if malformed {
            let message = format!("it holds bytes that are not {}; set `encoding`", self.encoding.name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.raw_used += n_read;
        self.text.truncate(n_written);
        self.text_used = 0;
        Ok(())
    }
}

impl Read for Transcoded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.text_used == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            self.refill()?;
        }
        let n = into.len().min(self.text.len() - self.text_used);
        into[..n].copy_from_slice(&self.text[self.text_used..self.text_used + n]);
        self.text_used += n;
        Ok(n)
    }
}

/// Checks a cell's bytes; the message says what to do.
pub(crate) fn utf8<'a>(path: &Path, column: &str, line: u64, bytes: &'a [u8]) -> Result<&'a str, ReadError> {
    std::str::from_utf8(bytes).map_err(|_| {
        let detail = format!("line {line} is not UTF-8; set `encoding`, for example to \"windows-1252\"");
        ReadError::corrupt(path, Some(column), detail)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn text_in_another_encoding_becomes_utf8() {
        let bytes: Box<dyn Read + Send> = Box::new(io::Cursor::new(b"caf\xe9 \x80".to_vec()));
        let mut text = String::new();
        Transcoded::new(bytes, encoding_rs::WINDOWS_1252).read_to_string(&mut text).unwrap();
        assert_eq!(text, "caf\u{e9} \u{20ac}");
    }

    #[test]
    fn bytes_outside_the_encoding_are_an_error() {
        let bytes: Box<dyn Read + Send> = Box::new(io::Cursor::new(b"a\x81\x00".to_vec()));
        let mut text = String::new();
        let error = Transcoded::new(bytes, encoding_rs::SHIFT_JIS).read_to_string(&mut text).unwrap_err();
        assert!(error.to_string().contains("Shift_JIS"), "{error}");
    }
}
