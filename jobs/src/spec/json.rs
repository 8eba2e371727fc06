//! A reader of JSON that keeps places: machine-made specs deserve carets too.
//!
//! It stops at the first mistake of notation, since nothing after it can be relied on; a key given twice is
//! reported and reading goes on. Nesting is bounded, so hostile input cannot exhaust the stack.

use super::problems::{Problems, Span, Spanned};
use super::tree::{Document, Node, Table, Tree, too_deep};
use super::{MAX_NESTING, line_and_column};

/// Message, label and help of the mistake at a byte.
struct Wrong {
    at: Span,
    message: String,
    help: String,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    problems: Problems,
}

/// Reads JSON up to its first mistake of notation.
pub(crate) fn from_json(text: &str) -> Document {
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader { text, at, problems: Problems::default() };
    let mut root = Table::default();
    let outcome = reader.document(&mut root);
    let mut broken_at = None;
    if let Err(wrong) = outcome {
        broken_at = Some(wrong.at.start);
        reader.problems.add(wrong.at, wrong.message, "", wrong.help);
    }
    Document { root, problems: reader.problems, broken_at }
}

impl Reader<'_> {
    fn document(&mut self, root: &mut Table) -> Result<(), Wrong> {
        self.space()?;
        if self.peek() != Some(b'{') {
            return Err(self.wrong("a spec in JSON is one object", "start it with `{` and end it with `}`"));
        }
        self.table(root, 1)?;
        self.space()?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("text after the last `}`", "remove what follows the closing brace")),
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Wrong> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_NESTING => {
                too_deep(start..start + 1, &mut self.problems);
                return Err(self.wrong("lists and tables nest too deep to go on", "flatten the spec"));
            }
            Some(b'{') => {
                let mut table = Table::default();
                self.table(&mut table, depth + 1)?;
                Tree::Table(table)
            }
            Some(b'[') => Tree::List(self.list(depth + 1)?),
            Some(b'"') => Tree::Text(self.text()?),
            _ => self.word()?,
        };
        Ok(Node::new(value, start..self.at))
    }

    /// Fills a table as it reads, so that what came before a mistake can still be checked.
    fn table(&mut self, table: &mut Table, depth: usize) -> Result<(), Wrong> {
        self.at += 1;
        self.space()?;
        while self.peek() != Some(b'}') {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.not_a_key());
            }
            let key = Spanned::new(self.text()?, start..self.at);
            self.expect(b':', "a `:` is missing after the key", "write `:` between key and value")?;
            let node = self.node(depth)?;
            match table.entry(&key.value) {
                Some((first, _)) => self.twice(&key, first.span.start),
                None => table.entries.push((key, node)),
            }
            self.next_or_end(b'}')?;
        }
        self.at += 1;
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Wrong> {
        let mut items = Vec::new();
        self.at += 1;
        self.space()?;
        while self.peek() != Some(b']') {
            items.push(self.node(depth)?);
            self.next_or_end(b']')?;
        }
        self.at += 1;
        Ok(items)
    }

    /// Steps over the comma between two entries, or stays on the bracket that ends them.
    fn next_or_end(&mut self, end: u8) -> Result<(), Wrong> {
        let after_value = self.at;
        self.space()?;
        let comma = self.at;
        match self.peek() {
            Some(b',') => self.at += 1,
            Some(byte) if byte == end => return Ok(()),
            Some(_) => {
                self.at = after_value;
                return Err(self.wrong("a `,` is missing after this value", "write `,` between two entries"));
            }
            None => {
                self.at = after_value;
                let end = char::from(end);
                return Err(self.wrong(&format!("the text ends before `{end}`"), &format!("close it with `{end}`")));
            }
        }
        self.space()?;
        if matches!(self.peek(), Some(b'}' | b']')) {
            self.at = comma;
            return Err(self.wrong("a `,` before a closing bracket", "remove this `,`: JSON has none after the last entry"));
        }
        Ok(())
    }

    fn expect(&mut self, byte: u8, message: &str, help: &str) -> Result<(), Wrong> {
        let before = self.at;
        self.space()?;
        if self.peek() != Some(byte) {
            self.at = before;
            return Err(self.wrong(message, help));
        }
        self.at += 1;
        self.space()
    }

    /// Reads a text; escapes are left to the JSON library.
    fn text(&mut self) -> Result<String, Wrong> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start + 1..];
        let mut escaped = false;
        for (offset, byte) in rest.iter().enumerate() {
            match byte {
                b'\n' => break,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at = start + offset + 2;
                    return serde_json::from_str(&self.text[start..self.at]).map_err(|_| Wrong {
                        at: start..self.at,
                        message: "this text holds an escape that JSON does not know".to_owned(),
                        help: "write `\\\\` for a backslash, or `/` in paths".to_owned(),
                    });
                }
                _ => {}
            }
        }
        Err(self.wrong("the quote of this text is not closed", "close it with `\"` on the same line"))
    }

    /// Reads a number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Tree, Wrong> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
        let word = &rest[..end];
        let value = match serde_json::from_str(word) {
            Ok(serde_json::Value::Bool(flag)) => Tree::Flag(flag),
            Ok(serde_json::Value::Null) => Tree::Null,
            Ok(serde_json::Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Tree::Integer(whole),
                (None, Some(number)) if word.contains(['.', 'e', 'E']) => Tree::Number(number),
                _ => Tree::Huge,
            },
            _ => return Err(self.not_a_value(word)),
        };
        self.at += end;
        Ok(value)
    }

    fn not_a_value(&self, word: &str) -> Wrong {
        let at = self.at..self.at + word.len().max(1);
        let (message, help) = match (self.peek(), word.to_ascii_lowercase().as_str()) {
            (None, _) => ("the text ends where a value should stand".to_owned(), "write a value and close the braces".to_owned()),
            (Some(b'\''), _) => ("single quotes are not JSON".to_owned(), "write `\"` on both sides".to_owned()),
            (_, lower @ ("true" | "false" | "null")) => (format!("`{word}` is not JSON"), format!("write `{lower}`")),
            (_, "") => ("a value is missing here".to_owned(), "write a value".to_owned()),
            _ => (format!("`{word}` needs quotes"), format!("write `\"{word}\"`")),
        };
        Wrong { at, message, help }
    }

    fn not_a_key(&self) -> Wrong {
        match self.peek() {
            Some(b'\'') => self.wrong("single quotes are not JSON", "write `\"` on both sides"),
            None => self.wrong("the text ends before `}`", "close it with `}`"),
            _ => self.wrong("a key in quotes should stand here", "write `\"` on both sides of the key"),
        }
    }

    fn twice(&mut self, key: &Spanned<String>, first: usize) {
        let (line, _) = line_and_column(self.text, first);
        let message = format!("`{}` is given twice", key.value);
        self.problems.add(key.span.clone(), message, "again", format!("remove one of the two: the first is on line {line}"));
    }

    fn wrong(&self, message: &str, help: &str) -> Wrong {
        Wrong { at: self.at..self.at + 1, message: message.to_owned(), help: help.to_owned() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over white space; a comment is a mistake that deserves its own words.
    fn space(&mut self) -> Result<(), Wrong> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        match self.peek() {
            Some(b'/' | b'#') => Err(self.wrong("a comment is not JSON", "remove it, or write the spec in TOML")),
            _ => Ok(()),
        }
    }
}
