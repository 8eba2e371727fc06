//! The one shape that both notations are read into: values with the places where they were written.
//!
//! Numbers keep to what TOML allows; a number that fits no 64-bit type keeps its digits, so that messages can
//! quote it. Entries of a table stand in the order of the text.

use std::path::Path;

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Problems, Span, Spanned};
use super::{MAX_NESTING, syntax};

/// How a spec is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    Toml,
    Json,
    Yaml,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Text(String),
    Integer(i64),
    Number(f64),
    /// A whole number beyond 64 bits.
    Huge,
    Flag(bool),
    Date,
    Null,
    List(Vec<Node>),
    Table(Table),
}

/// A value and where it was written.
pub(crate) type Node = Spanned<Tree>;

/// Keys and values in the order of the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) entries: Vec<(Spanned<String>, Node)>,
}

/// A text that was read, as far as it could be.
pub(crate) struct Document {
    pub(crate) root: Table,
    /// Mistakes of notation.
    pub(crate) problems: Problems,
    /// First byte from which the tree cannot be relied on; none where all of it can.
    pub(crate) broken_at: Option<usize>,
}

impl Notation {
    /// Returns the notation of a file: by its ending, else JSON where it starts with a brace, which no TOML does.
    pub(crate) fn of(path: &Path, text: &str) -> Self {
        let ends = |with: &str| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(with));
        if ends("yaml") || ends("yml") {
            return Self::Yaml;
        }
        if ends("json") || text.trim_start_matches('\u{feff}').trim_start().starts_with('{') { Self::Json } else { Self::Toml }
    }

    /// Returns a key with a value as one would write it.
    pub(crate) fn assign(self, key: &str, literal: &str) -> String {
        match self {
            Self::Toml => format!("`{key} = {literal}`"),
            Self::Json => format!("`\"{key}\": {literal}`"),
            Self::Yaml => format!("`{key}: {literal}`"),
        }
    }

    /// Returns the start of a table as one would write it.
    pub(crate) fn header(self, group: &str, name: &str) -> String {
        match self {
            Self::Toml if name.contains('.') => format!("`[{group}.{}]`", quoted(name)),
            Self::Toml => format!("`[{group}.{name}]`"),
            Self::Json => format!("`\"{group}\": {{ \"{name}\": {{ ... }} }}`"),
            Self::Yaml => format!("`{group}: {{ {name}: {{ ... }} }}`"),
        }
    }

    /// Says where the keys of the whole job stand.
    pub(crate) const fn top(self) -> &'static str {
        match self {
            Self::Toml => "the top of the file, before the first `[table]`",
            Self::Json => "the outermost braces, before `source` and `step`",
            Self::Yaml => "the left margin, before `source:` and `step:`",
        }
    }
}

impl Table {
    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Returns a key with its value.
    pub(crate) fn entry(&self, key: &str) -> Option<(&Spanned<String>, &Node)> {
        self.entries.iter().find(|(at, _)| at.value == key).map(|(at, node)| (at, node))
    }
}

impl Tree {
    /// Returns what a person would call this value.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) | Self::Number(_) | Self::Huge => "a number",
            Self::Flag(true) => "`true`",
            Self::Flag(false) => "`false`",
            Self::Date => "a date",
            Self::Null => "`null`",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Returns a text in quotes, valid in TOML and in JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for letter in text.chars() {
        match letter {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\t' => literal.push_str("\\t"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            control if control.is_control() => literal.push_str(&format!("\\u{:04x}", control as u32)),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

/// Reads TOML as far as it goes.
pub(crate) fn from_toml(text: &str) -> Document {
    let (root, errors) = DeTable::parse_recoverable(text);
    let (mut problems, broken_at) = syntax::translate(text, &errors);
    let root = table(root.get_ref(), 1, &mut problems);
    Document { root, problems, broken_at }
}

fn table(from: &DeTable<'_>, depth: usize, problems: &mut Problems) -> Table {
    let node_of = |(key, value): (&TomlSpanned<_>, &TomlSpanned<DeValue<'_>>), problems: &mut Problems| {
        let key: Spanned<String> = Spanned::new(std::borrow::Cow::to_string(key.get_ref()), key.span());
        (key, node(value, depth, problems))
    };
    let mut entries: Vec<_> = from.iter().map(|entry| node_of(entry, problems)).collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    Table { entries }
}

fn node(from: &TomlSpanned<DeValue<'_>>, depth: usize, problems: &mut Problems) -> Node {
    let span = from.span();
    let value = match from.get_ref() {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).map_or(Tree::Huge, Tree::Integer),
        DeValue::Float(digits) => Tree::Number(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Tree::Flag(*flag),
        DeValue::Datetime(_) => Tree::Date,
        DeValue::Array(_) | DeValue::Table(_) if depth >= MAX_NESTING => {
            too_deep(span.clone(), problems);
            Tree::Null
        }
        DeValue::Array(items) => Tree::List(items.iter().map(|item| node(item, depth + 1, problems)).collect()),
        DeValue::Table(entries) => Tree::Table(table(entries, depth + 1, problems)),
    };
    Node::new(value, span)
}

/// Adds the mistake of a spec that nests too deep.
pub(crate) fn too_deep(span: Span, problems: &mut Problems) {
    problems.add(
        span,
        format!("lists and tables nest deeper than {MAX_NESTING} levels"),
        format!("level {}", MAX_NESTING + 1),
        "flatten it: no key of a spec needs more than 3 levels",
    );
}
