//! A reader of YAML 1.2 that keeps places: specs that a team keeps beside its other YAML, or that a tool wrote.
//!
//! Plain words have the types of the core schema: `true`, `false`, `null`, numbers; `yes`, `no` and dates are texts. Anchors, aliases, tags,
//! keys that are no texts and a second document are refused: a spec says what it means where it says it.

use granit_parser::{Event, Parser, ScalarStyle};

use super::MAX_NESTING;
use super::problems::{Problems, Span, Spanned};
use super::tree::{Document, Node, Table, Tree, too_deep};

/// Message and help of the mistake at a place.
struct Wrong {
    at: Span,
    message: String,
    help: &'static str,
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    problems: Problems,
}

/// Reads YAML up to its first mistake of notation.
pub(crate) fn from_yaml(text: &str) -> Document {
    let mut reader = Reader { text, parser: Parser::new_from_str(text), problems: Problems::default() };
    let mut root = Table::default();
    let mut broken_at = None;
    if let Err(Wrong { at, message, help }) = reader.document(&mut root) {
        broken_at = Some(at.start);
        reader.problems.add(at, message, "", help);
    }
    Document { root, problems: reader.problems, broken_at }
}

impl<'a> Reader<'a> {
    fn document(&mut self, root: &mut Table) -> Result<(), Wrong> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Ok(()),
                Event::MappingStart(..) => break self.table(root, 1)?,
                _ => return Err(wrong(at, "a spec in YAML is one mapping of keys", "start with `name: JOB`")),
            }
        }
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(()),
                _ => return Err(wrong(at, "a second document", "a file holds one spec: remove `---` and what follows")),
            }
        }
    }

    /// Returns the next event with its place.
    fn next(&mut self) -> Result<(Event<'a>, Span), Wrong> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, self.text.len()..self.text.len())),
            Some(Ok((event, span))) => Ok((event, span.byte_range().unwrap_or(0..0))),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(self.text.len());
                let message = format!("this is no YAML: {}", error.info());
                Err(Wrong { at: at..at + 1, message, help: "check indentation, colons and quotes on this line and the one before" })
            }
        }
    }

    /// Fills a table as it reads, so that what came before a mistake can still be checked.
    fn table(&mut self, table: &mut Table, depth: usize) -> Result<(), Wrong> {
        loop {
            let (event, at) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(text, ..) if text != "<<" => Spanned::new(text.into_owned(), at),
                Event::Scalar(..) => {
                    return Err(wrong(at, "a merge key `<<`", "write the keys out, or put them into a spec that this one `extends`"));
                }
                Event::Alias(_) => return Err(alias(at)),
                _ => return Err(wrong(at, "a key that is no text", "keys are words, as in `name: JOB`")),
            };
            let mut value = self.node(depth)?;
            if matches!(value.value, Tree::Null) && value.span.is_empty() {
                value.span = key.span.clone();
            }
            if table.get(&key.value).is_some() {
                self.problems.add(key.span, format!("key `{}` stands twice", key.value), "again", "remove one of the two");
            } else {
                table.entries.push((key, value));
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Wrong> {
        let (event, at) = self.next()?;
        match event {
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, _, Some(_)) | Event::MappingStart(_, _, Some(_)) => {
                Err(wrong(at, "a tag `!`", "write the value alone: numbers and `true` have their types, all else is text"))
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(Node::new(plain(&text), at)),
            Event::Scalar(text, ..) => Ok(Node::new(Tree::Text(text.into_owned()), at)),
            Event::Alias(_) => Err(alias(at)),
            Event::SequenceStart(..) | Event::MappingStart(..) if depth >= MAX_NESTING => {
                too_deep(at.clone(), &mut self.problems);
                Err(wrong(at, "lists and tables nest too deep to go on", "flatten the spec"))
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while !matches!(self.parser.peek(), Some(Ok((Event::SequenceEnd, _)))) {
                    items.push(self.node(depth + 1)?);
                }
                let (_, end) = self.next()?;
                Ok(Node::new(Tree::List(items), at.start..end.end.max(at.end)))
            }
            Event::MappingStart(..) => {
                let mut table = Table::default();
                self.table(&mut table, depth + 1)?;
                // A block has no brackets that would show where it is: its first key does.
                let place = table.entries.first().map_or(at, |(key, _)| key.span.clone());
                Ok(Node::new(Tree::Table(table), place))
            }
            _ => Err(wrong(at, "a value is missing", "write one after the colon")),
        }
    }
}

fn wrong(at: Span, message: &str, help: &'static str) -> Wrong {
    Wrong { at, message: message.to_owned(), help }
}

fn alias(at: Span) -> Wrong {
    wrong(at, "an alias `*`", "write the value out, or make it a variable: `vars:` and `${vars.NAME}`")
}

/// Returns a plain word in its type of the core schema.
fn plain(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        "true" | "True" | "TRUE" => return Tree::Flag(true),
        "false" | "False" | "FALSE" => return Tree::Flag(false),
        _ => {}
    }
    let radix = |prefix: &str, radix| text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Tree::Integer(number);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_or(Tree::Huge, Tree::Integer);
    }
    let is_number =
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.bytes().all(|byte| b"0123456789.eE+-".contains(&byte));
    match text.parse::<f64>() {
        Ok(number) if is_number => Tree::Number(number),
        _ => Tree::Text(text.to_owned()),
    }
}
