//! Values of one table of the spec, checked against its keys: unknown key, wrong type, out of range.
//!
//! Whatever is wrong becomes a problem with the literal that was probably meant, and reading goes on with the
//! next key. A key that was given wrongly counts as given, so that one slip makes one message.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_datasets::Sample;

use crate::kinds::{Key, Takes};
use crate::secrets;

use super::literals::{default_of, is_required, meant, meant_in_range, number_of, number_text, sample_literal, wanted};
use super::nearest::{did_you_mean, listed, nearest};
use super::problems::{Problems, Span, Spanned};
use super::tree::{Node, Notation, Table, Tree, quoted};
use super::{keys, units};

/// Characters of the user's text that a message repeats.
const MAX_QUOTED: usize = 60;

/// A value of the type that its key takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, choice or column.
    Text(String),
    /// Whole number.
    Integer(i64),
    /// Number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// Number of bytes.
    Bytes(u64),
    /// Texts or columns.
    List(Vec<Spanned<String>>),
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Part of the rows.
    Sample(Sample),
    /// Keys of its own.
    Keys(Values),
    /// Columns with a word each.
    Choices(Vec<(Spanned<String>, String)>),
}

/// A value, and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The value.
    pub value: Value,
    /// The value's place; the table's header where it is a default.
    pub span: Span,
    /// Whether the user wrote it.
    pub written: bool,
}

/// The values of one table, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    fields: BTreeMap<&'static str, Field>,
    given: BTreeSet<String>,
}

/// What reading a spec needs at hand.
pub(crate) struct Reading<'a> {
    pub(crate) text: &'a str,
    pub(crate) notation: Notation,
    pub(crate) problems: Problems,
    /// Name of the first source: what a `from` could name.
    first_source: Option<&'a str>,
}

impl Values {
    /// Returns the field of a key.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields.get(key)
    }

    /// Returns keys with their fields in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        self.fields.iter().map(|(key, field)| (*key, field))
    }

    /// Returns a text, choice or column.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.field(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a text, choice or column with its place.
    #[must_use]
    pub fn spanned_text(&self, key: &str) -> Option<Spanned<String>> {
        let text = self.text(key)?;
        Some(Spanned::new(text.to_owned(), self.field(key)?.span.clone()))
    }

    /// Returns a number; whole numbers count.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.field(key)?.value {
            Value::Number(number) => Some(number),
            Value::Integer(number) => Some(number as f64),
            _ => None,
        }
    }

    /// Returns a whole number.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.field(key)?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Returns a list of whole numbers; empty where there is none.
    #[must_use]
    pub fn integers(&self, key: &str) -> &[i64] {
        match self.field(key) {
            Some(Field { value: Value::Integers(list), .. }) => list,
            _ => &[],
        }
    }

    /// Returns a flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.field(key)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// Returns a number of bytes.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<u64> {
        match self.field(key)?.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns a list; empty where the key is absent.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Spanned<String>] {
        match self.field(key).map(|field| &field.value) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// Returns columns with a word each; none where there is no such table.
    #[must_use]
    pub fn choices(&self, key: &str) -> &[(Spanned<String>, String)] {
        match self.field(key).map(|field| &field.value) {
            Some(Value::Choices(choices)) => choices,
            _ => &[],
        }
    }

    /// Returns the part of the rows to keep.
    #[must_use]
    pub fn sample(&self, key: &str) -> Option<Sample> {
        match self.field(key)?.value {
            Value::Sample(sample) => Some(sample),
            _ => None,
        }
    }

    /// Returns the keys of a table within.
    #[must_use]
    pub fn keys(&self, key: &str) -> Option<&Self> {
        match &self.field(key)?.value {
            Value::Keys(keys) => Some(keys),
            _ => None,
        }
    }

    /// Says whether the user gave the key, rightly or wrongly.
    #[must_use]
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// Counts a key as given: it was there under a wrong name or in a wrong place.
    pub(crate) fn give(&mut self, key: &str) {
        self.given.insert(key.to_owned());
    }
}

impl<'a> Reading<'a> {
    /// Starts to read.
    pub(crate) fn new(text: &'a str, notation: Notation, root: &'a Table) -> Self {
        let first_source = match root.get("source").map(|node| &node.value) {
            Some(Tree::Table(sources)) => sources.entries.first().map(|(name, _)| name.value.as_str()),
            _ => None,
        };
        Self { text, notation, problems: Problems::default(), first_source }
    }

    /// Reads the values of `keys` from a table, fills in defaults, and hands every other entry to `other`.
    pub(crate) fn values<'t>(
        &mut self,
        table: &'t Table,
        at: &Span,
        keys: &[&'static Key],
        mut other: impl FnMut(&mut Self, &'t Spanned<String>, &'t Node, &mut Values),
    ) -> Values {
        let mut values = Values::default();
        for (name, node) in &table.entries {
            let Some(key) = keys.iter().find(|key| key.name == name.value) else {
                other(self, name, node, &mut values);
                continue;
            };
            values.give(key.name);
            let coerced = self.coerced(key, node);
            if let Some(value) = self.value(key, coerced.as_ref().unwrap_or(node)) {
                values.fields.insert(key.name, Field { value, span: node.span.clone(), written: true });
            }
        }
        for key in keys.iter().filter(|key| !values.given.contains(key.name)).copied().collect::<Vec<_>>() {
            if let Some(value) = default_of(key) {
                values.fields.insert(key.name, Field { value, span: at.clone(), written: false });
            }
        }
        values
    }

    /// Returns the words that the user wrote, shortened where they are long.
    pub(crate) fn words(&self, span: &Span) -> String {
        short(self.text.get(span.clone()).unwrap_or_default())
    }

    /// Returns a value that stands in place of a reference in the type that the key takes: variables and the environment know no keys.
    fn coerced(&self, key: &Key, node: &Node) -> Option<Node> {
        let is_reference = |node: &Node| self.text.get(node.span.clone()).is_some_and(|words| words.contains("${"));
        let as_text = |node: &Node| match &node.value {
            Tree::Integer(number) => Some(Tree::Text(number.to_string())),
            Tree::Number(number) => Some(Tree::Text(number.to_string())),
            Tree::Flag(flag) => Some(Tree::Text(flag.to_string())),
            _ => None,
        };
        let value = match (key.takes, &node.value) {
            (_, Tree::List(items)) if matches!(key.takes, Takes::TextList | Takes::ColumnList) => {
                if !items.iter().any(|item| as_text(item).is_some() && is_reference(item)) {
                    return None;
                }
                let texts = items.iter().map(|item| match as_text(item).filter(|_| is_reference(item)) {
                    Some(text) => Node::new(text, item.span.clone()),
                    None => item.clone(),
                });
                return Some(Node::new(Tree::List(texts.collect()), node.span.clone()));
            }
            _ if !is_reference(node) => return None,
            (Takes::Flag, Tree::Text(text)) => Tree::Flag(text.parse().ok()?),
            (Takes::Integer(..) | Takes::IntegerList(..), Tree::Text(text)) => Tree::Integer(text.parse().ok()?),
            (Takes::Number(..) | Takes::Sample, Tree::Text(text)) => {
                text.parse().map(Tree::Integer).ok().or_else(|| text.parse().map(Tree::Number).ok())?
            }
            (
                Takes::Text
                | Takes::Choice(_)
                | Takes::TextList
                | Takes::Column
                | Takes::ColumnList
                | Takes::Table(_)
                | Takes::TableIfAny(_),
                _,
            ) => as_text(node)?,
            _ => return None,
        };
        Some(Node::new(value, node.span.clone()))
    }

    fn value(&mut self, key: &Key, node: &Node) -> Option<Value> {
        match (key.takes, &node.value) {
            (Takes::Text | Takes::Column | Takes::Table(_) | Takes::TableIfAny(_), Tree::Text(text)) => self.text(key, node, text),
            (Takes::Choice(words), Tree::Text(text)) => self.choice(key, node, words, text),
            (Takes::Keys(keys), Tree::Table(table)) => Some(Value::Keys(self.keys(key, keys, table, &node.span))),
            (Takes::ColumnChoices(words), Tree::Table(table)) => Some(self.column_choices(key, words, table)),
            (Takes::Flag, Tree::Flag(flag)) => Some(Value::Flag(*flag)),
            (Takes::Integer(from, to), Tree::Integer(number)) if (from..=to).contains(number) => Some(Value::Integer(*number)),
            (Takes::Integer(from, to), Tree::Integer(_) | Tree::Huge) => {
                self.out_of_range(key, node, &from.to_string(), &to.to_string());
                None
            }
            (Takes::Number(from, to), Tree::Integer(_) | Tree::Number(_) | Tree::Huge) => {
                let number = number_of(&node.value);
                if from <= number && number <= to {
                    return Some(Value::Number(number));
                }
                self.out_of_range(key, node, &number_text(from), &number_text(to));
                None
            }
            (Takes::Duration, Tree::Text(text)) => self.duration(key, node, text),
            (Takes::Duration, Tree::Integer(_) | Tree::Number(_)) if number_of(&node.value) > 0.0 => {
                Some(Value::Number(number_of(&node.value)))
            }
            (Takes::Bytes, Tree::Text(text)) => self.bytes_text(key, node, text),
            (Takes::Bytes, Tree::Integer(number)) => self.bytes(key, node, u64::try_from(*number).unwrap_or(0)),
            (Takes::Sample, Tree::Integer(_) | Tree::Number(_)) => self.sample(key, node),
            (Takes::IntegerList(from, to), Tree::Integer(_) | Tree::Huge) => self.integers(key, std::slice::from_ref(node), from, to),
            (Takes::TextList | Takes::ColumnList, Tree::Text(_)) => self.list(key, std::slice::from_ref(node)),
            (Takes::TextList | Takes::ColumnList | Takes::IntegerList(..), Tree::List(items)) if items.is_empty() => {
                self.empty(key, node, "the list of");
                None
            }
            (Takes::TextList | Takes::ColumnList, Tree::List(items)) => self.list(key, items),
            (Takes::IntegerList(from, to), Tree::List(items)) => self.integers(key, items, from, to),
            _ => {
                self.wrong_type(key, node);
                None
            }
        }
    }

    fn keys(&mut self, key: &Key, keys: &'static [Key], table: &Table, at: &Span) -> Values {
        let known: Vec<&'static Key> = keys.iter().collect();
        self.values(table, at, &known, |reading, name, _, values| {
            let names = || keys.iter().map(|key| key.name);
            if let Some(meant) = nearest(&name.value, names()) {
                values.give(meant);
            }
            let message = format!("unknown key `{}` in `{}`", short(&name.value), key.name);
            reading.problems.add(name.span.clone(), message, "no such key", did_you_mean(&name.value, "keys", names()));
        })
    }

    fn text(&mut self, key: &Key, node: &Node, text: &str) -> Option<Value> {
        if text.is_empty() {
            self.empty(key, node, "the text of");
            return None;
        }
        Some(Value::Text(text.to_owned()))
    }

    fn empty(&mut self, key: &Key, node: &Node, what: &str) {
        let sample = self.sample_of(key);
        let help = if is_required(key) { format!("write {sample}") } else { format!("remove the line, or write {sample}") };
        self.problems.add(node.span.clone(), format!("{what} `{}` is empty", key.name), "empty", help);
    }

    fn choice(&mut self, key: &Key, node: &Node, words: &[&str], text: &str) -> Option<Value> {
        if words.contains(&text) {
            return Some(Value::Text(text.to_owned()));
        }
        let message = format!("`{}` is not a value of `{}`", short(text), key.name);
        self.problems.add(node.span.clone(), message, "no such value", did_you_mean(text, "values", words.iter().copied()));
        None
    }

    fn column_choices(&mut self, key: &Key, words: &[&str], table: &Table) -> Value {
        let mut choices = Vec::with_capacity(table.entries.len());
        for (column, node) in &table.entries {
            if let Tree::Text(text) = &node.value {
                if self.choice(key, node, words, text).is_some() {
                    choices.push((column.clone(), text.clone()));
                }
            } else {
                let noun = node.value.noun();
                let message = format!("`{}` takes a word for column `{}`, not {noun}", key.name, short(&column.value));
                self.problems.add(node.span.clone(), message, noun, format!("write one of {}", listed(words)));
            }
        }
        Value::Choices(choices)
    }

    fn bytes_text(&mut self, key: &Key, node: &Node, text: &str) -> Option<Value> {
        let meant = match units::parse_bytes(text) {
            Ok(bytes) => return self.bytes(key, node, bytes),
            Err(meant) => meant,
        };
        let help = match meant {
            Some(meant) => format!("did you mean {}?", self.notation.assign(key.name, &quoted(&meant))),
            None => format!("write a number and a unit: {}; units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB", self.sample_of(key)),
        };
        self.problems.add(node.span.clone(), format!("`{}` is not a number of bytes", short(text)), "not a size", help);
        None
    }

    fn duration(&mut self, key: &Key, node: &Node, text: &str) -> Option<Value> {
        let seconds = units::parse_seconds(text);
        if seconds.is_none() {
            let message = format!("`{}` is not a span of time", short(text));
            let help = format!("write a number and a unit: {}; units: s, min, h, d", self.sample_of(key));
            self.problems.add(node.span.clone(), message, "not a time", help);
        }
        seconds.map(Value::Number)
    }

    fn bytes(&mut self, key: &Key, node: &Node, bytes: u64) -> Option<Value> {
        let (from, to) = keys::byte_range();
        if (from..=to).contains(&bytes) {
            return Some(Value::Bytes(bytes));
        }
        // A bare small number was most likely meant in the unit that people count memory in.
        let help = match &node.value {
            Tree::Integer(number) if (1..1 << 16).contains(number) => {
                format!("did you mean {}?", self.notation.assign(key.name, &quoted(&format!("{number}MiB"))))
            }
            _ => format!("write for example {}", self.sample_of(key)),
        };
        let (from, to) = (units::bytes_text(from), units::bytes_text(to));
        let message = format!("`{}` is {}, but must be from {from} to {to}", key.name, self.words(&node.span));
        self.problems.add(node.span.clone(), message, format!("not from {from} to {to}"), help);
        None
    }

    fn sample(&mut self, key: &Key, node: &Node) -> Option<Value> {
        match node.value {
            Tree::Integer(rows @ 1..) => return Some(Value::Sample(Sample::Rows(rows.unsigned_abs()))),
            Tree::Number(share) if share > 0.0 && share < 1.0 => return Some(Value::Sample(Sample::Share(share))),
            _ => {}
        }
        let number = number_of(&node.value);
        let meant = match number {
            _ if number > 1.0 && number < 100.0 => number_text(number / 100.0),
            _ if number <= -1.0 => number_text(-number.round()),
            _ => "1000".to_owned(),
        };
        let message = format!("`{}` is {}, but must be 1 row or more, or a share between 0 and 1", key.name, self.words(&node.span));
        let help = format!("did you mean {}?", self.notation.assign(key.name, &meant));
        self.problems.add(node.span.clone(), message, "neither rows nor a share", help);
        None
    }

    fn list(&mut self, key: &Key, items: &[Node]) -> Option<Value> {
        let mut list: Vec<Spanned<String>> = Vec::with_capacity(items.len());
        let mut seen = BTreeSet::new();
        let before = self.problems.len();
        for item in items {
            let Tree::Text(text) = &item.value else {
                self.wrong_item(key, item);
                continue;
            };
            if text.is_empty() {
                let help = format!("remove it, or write {}", self.sample_of(key));
                self.problems.add(item.span.clone(), format!("a text of `{}` is empty", key.name), "empty", help);
            } else if seen.insert(text.as_str()) {
                list.push(Spanned::new(text.clone(), item.span.clone()));
            } else {
                let message = format!("`{}` stands twice in `{}`", short(text), key.name);
                self.problems.add(item.span.clone(), message, "again", "remove one of the two");
            }
        }
        // A list with a bad entry still serves to check the good ones.
        (!list.is_empty() || before == self.problems.len()).then_some(Value::List(list))
    }

    fn integers(&mut self, key: &Key, items: &[Node], from: i64, to: i64) -> Option<Value> {
        let mut list: Vec<i64> = Vec::with_capacity(items.len());
        let before = self.problems.len();
        for item in items {
            match &item.value {
                Tree::Integer(number) if list.contains(number) => {
                    let message = format!("{number} stands twice in `{}`", key.name);
                    self.problems.add(item.span.clone(), message, "again", "remove one of the two");
                }
                Tree::Integer(number) if (from..=to).contains(number) => list.push(*number),
                Tree::Integer(_) | Tree::Huge => {
                    let message = format!("{} stands in `{}`, but must be from {from} to {to}", self.words(&item.span), key.name);
                    self.problems.add(item.span.clone(), message, format!("not from {from} to {to}"), "remove it");
                }
                other => {
                    let noun = other.noun();
                    let help = match other {
                        Tree::Text(text) if text.trim().parse::<i64>().is_ok() => format!("write it without quotes: {}", text.trim()),
                        Tree::Number(number) if number.is_finite() => format!("write {}", number.round()),
                        _ => format!("write for example {}", self.sample_of(key)),
                    };
                    self.problems.add(item.span.clone(), format!("`{}` takes whole numbers, not {noun}", key.name), noun, help);
                }
            }
        }
        (!list.is_empty() || before == self.problems.len()).then_some(Value::Integers(list))
    }

    fn wrong_item(&mut self, key: &Key, item: &Node) {
        let help = match &item.value {
            Tree::List(_) => format!("remove the inner brackets: {}", self.notation.assign(key.name, &self.words(&item.span))),
            Tree::Null | Tree::Table(_) => "remove it".to_owned(),
            _ => format!("write it in quotes: `{}`", quoted(&self.words(&item.span))),
        };
        let noun = item.value.noun();
        self.problems.add(item.span.clone(), format!("`{}` takes texts, not {noun}", key.name), noun, help);
    }

    fn wrong_type(&mut self, key: &Key, node: &Node) {
        let noun = match (key.takes, &node.value) {
            (Takes::Integer(..), Tree::Number(_)) => "a number with a fraction",
            (_, value) => value.noun(),
        };
        let message = format!("`{}` takes {}, not {noun}", key.name, wanted(key.takes));
        let assign = |literal: &str| self.notation.assign(key.name, literal);
        let help = match (&node.value, meant(key, &node.value, &self.words(&node.span))) {
            (Tree::Null, _) => format!("remove the line: where `{}` is absent, its default holds", key.name),
            (Tree::Text(_), Some(literal)) if !literal.starts_with('"') && !matches!(key.takes, Takes::Flag) => {
                format!("write it without quotes: {}", assign(&literal))
            }
            (_, Some(literal)) => format!("write {}", assign(&literal)),
            (_, None) => match key.takes {
                Takes::Choice(words) => format!("write {}; values: {}", self.sample_of(key), listed(words)),
                _ => format!("write for example {}", self.sample_of(key)),
            },
        };
        self.problems.add(node.span.clone(), message, noun, help);
    }

    fn out_of_range(&mut self, key: &Key, node: &Node, from: &str, to: &str) {
        let written = self.words(&node.span);
        let message = format!("`{}` is {written}, but must be from {from} to {to}", key.name);
        let help = match meant_in_range(key, &node.value) {
            Some(literal) => format!("did you mean {}?", self.notation.assign(key.name, &literal)),
            None => {
                let bound = if number_of(&node.value) > to.parse().unwrap_or(f64::MAX) { to } else { from };
                let literal = match (key.takes, key.default) {
                    (Takes::Number(..), Some(default)) => default,
                    _ => bound,
                };
                let or_not = if key.default.is_none() { ", or remove the line" } else { "" };
                format!("write {}{or_not}", self.notation.assign(key.name, literal))
            }
        };
        self.problems.add(node.span.clone(), message, format!("not from {from} to {to}"), help);
    }

    /// Returns the key with a value that it could have.
    pub(crate) fn sample_of(&self, key: &Key) -> String {
        let literal = match (key.name, self.first_source) {
            ("from", Some(source)) => quoted(source),
            _ => sample_literal(key),
        };
        self.notation.assign(key.name, &literal)
    }
}

/// Returns the user's words, shortened where they are long, control characters as escapes.
pub(crate) fn short(text: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    // Before it is cut, since half a secret is one too.
    let text = &*secrets::hidden(text);
    let mut words: String = text.chars().take(MAX_QUOTED).map(shown).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        words.push_str("...");
    }
    words
}
