//! The text of a spec with all that stands behind it: the file itself, the one it extends, and what the command line sets.
//!
//! The parts are laid one after another, so that a place is one number whichever part it is in; a message names the part, and counts
//! lines from the part's own start.

use std::path::{Path, PathBuf};

/// The text of a spec and the files it came from, for messages.
#[derive(Debug, Clone)]
pub struct SpecText {
    /// As given on the command line.
    pub path: PathBuf,
    /// The whole text: the file's own, then that of every other part.
    pub text: String,
    parts: Vec<Part>,
}

/// A part after the first.
#[derive(Debug, Clone)]
struct Part {
    path: PathBuf,
    start: usize,
}

impl SpecText {
    /// Returns a text that is one file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), parts: Vec::new() }
    }

    /// Adds a part and returns the byte where it starts.
    pub(crate) fn add(&mut self, path: impl Into<PathBuf>, text: &str) -> usize {
        self.text.push('\n');
        let start = self.text.len();
        self.text.push_str(text);
        self.parts.push(Part { path: path.into(), start });
        start
    }

    /// Returns the part that a byte is in: its file, its text, and the byte within it.
    #[must_use]
    pub fn part_of(&self, byte: usize) -> (&Path, &str, usize) {
        let at = self.parts.partition_point(|part| part.start <= byte);
        let (path, start) = match at.checked_sub(1) {
            Some(before) => (self.parts[before].path.as_path(), self.parts[before].start),
            None => (self.path.as_path(), 0),
        };
        let end = self.parts.get(at).map_or(self.text.len(), |next| next.start - 1);
        (path, &self.text[start..end], byte - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_in_its_part() {
        let mut text = SpecText::new("a.toml", "one\ntwo");
        let base = text.add("b.toml", "three");
        let set = text.add("--set", "x = 1");
        assert_eq!((base, set), (8, 14));
        let found = |byte| {
            let (path, text, at) = text.part_of(byte);
            (path.display().to_string(), text.to_owned(), at)
        };
        assert_eq!(found(4), ("a.toml".to_owned(), "one\ntwo".to_owned(), 4));
        assert_eq!(found(7), ("a.toml".to_owned(), "one\ntwo".to_owned(), 7));
        assert_eq!(found(8), ("b.toml".to_owned(), "three".to_owned(), 0));
        assert_eq!(found(18), ("--set".to_owned(), "x = 1".to_owned(), 4));
    }
}
