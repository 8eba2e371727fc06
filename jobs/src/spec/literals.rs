//! Literals: what a key could hold, what it holds where nothing is written, and what a wrong value probably meant.

use gristmill_datasets::Sample;

use crate::kinds::{Key, Takes};

use super::fields::Value;
use super::problems::Spanned;
use super::tree::{Tree, quoted};
use super::units;

/// Says whether a spec must hold this key.
pub(super) fn is_required(key: &Key) -> bool {
    ["name", "path", "kind", "from"].contains(&key.name) || matches!(key.takes, Takes::Table(_))
}

/// Returns a literal that this key could have, its default where there is one.
pub(super) fn sample_literal(key: &Key) -> String {
    let literal = match (key.default, key.takes) {
        (Some(default), Takes::Text | Takes::Choice(_)) => return quoted(default.trim_matches('"')),
        (Some(default), _) => return default.to_owned(),
        (None, Takes::Choice(words)) => return quoted(words.first().copied().unwrap_or_default()),
        (None, Takes::Integer(from, _)) => return from.to_string(),
        (None, Takes::Number(from, to)) => return number_text(if from <= 0.1 && 0.1 <= to { 0.1 } else { from }),
        (None, Takes::Text) => match key.name {
            "kind" => "\"correlate\"",
            "delimiter" => "\",\"",
            "encoding" => "\"utf-8\"",
            "file_column" => "\"file\"",
            "where" => "\"amount > 0\"",
            "extends" => "\"base.toml\"",
            _ => "\"NAME\"",
        },
        (None, Takes::ColumnChoices(words)) => return format!("{{ COLUMN = {} }}", quoted(words.first().copied().unwrap_or_default())),
        (None, Takes::Keys(keys)) => {
            let entry = |key: &Key| format!("{} = {}", key.name, sample_literal(key));
            return format!("{{ {} }}", keys.iter().map(entry).collect::<Vec<_>>().join(", "));
        }
        (None, Takes::Vars) => "{ month = \"2025-03\" }",
        (None, Takes::Each) => "{ shop = [\"a\", \"b\"] }",
        (None, Takes::Flag) => "true",
        (None, Takes::Bytes) => "\"2GiB\"",
        (None, Takes::Duration) => "\"2h\"",
        (None, Takes::Sample) => "1000",
        (None, Takes::Table(_) | Takes::TableIfAny(_)) => "\"STEP\"",
        (None, Takes::Column) => "\"COLUMN\"",
        (None, Takes::ColumnList) => "[\"COLUMN\"]",
        (None, Takes::IntegerList(..)) => "[1, 2]",
        (None, Takes::TextList) => match key.name {
            "path" => "\"data/*.parquet\"",
            "from" => "\"NAME\"",
            "rename" => "[\"OLD as NEW\"]",
            _ => "[\"NAME\"]",
        },
    };
    literal.to_owned()
}

/// Returns the value of a key that was not written.
pub(super) fn default_of(key: &Key) -> Option<Value> {
    let default = key.default?;
    let bare = || default.trim_matches('"').to_owned();
    match key.takes {
        Takes::Text | Takes::Choice(_) | Takes::Column | Takes::Table(_) | Takes::TableIfAny(_) => Some(Value::Text(bare())),
        Takes::Keys(_) | Takes::ColumnChoices(_) | Takes::Vars | Takes::Each | Takes::Duration => None,
        Takes::Flag => default.parse().ok().map(Value::Flag),
        Takes::Integer(..) => default.parse().ok().map(Value::Integer),
        Takes::Number(..) => default.parse().ok().map(Value::Number),
        Takes::IntegerList(..) => {
            let items = default.trim_matches(['[', ']']).split(',').filter_map(|item| item.trim().parse().ok());
            Some(Value::Integers(items.collect()))
        }
        Takes::Bytes => units::parse_bytes(&bare()).ok().map(Value::Bytes),
        Takes::Sample => default.parse().ok().map(|rows| Value::Sample(Sample::Rows(rows))),
        Takes::TextList | Takes::ColumnList => {
            let items = default.trim_matches(['[', ']']).split(',').map(|item| item.trim().trim_matches('"'));
            let items = items.filter(|item| !item.is_empty());
            Some(Value::List(items.map(|item| Spanned::new(item.to_owned(), 0..0)).collect()))
        }
    }
}

/// Says in words what a key takes.
pub(super) const fn wanted(takes: Takes) -> &'static str {
    match takes {
        Takes::Text => "a text",
        Takes::Table(_) | Takes::TableIfAny(_) => "the name of a step or source, or the path of a file",
        Takes::Choice(_) => "one of a few words",
        Takes::Keys(_) => "a table of keys",
        Takes::ColumnChoices(_) => "a table of columns with a word each",
        Takes::Vars => "a table of names with a value each",
        Takes::Each => "a table of names with a list each",
        Takes::Flag => "`true` or `false`",
        Takes::Integer(..) => "a whole number",
        Takes::Number(..) => "a number",
        Takes::Bytes => "a number of bytes",
        Takes::Duration => "a span of time",
        Takes::TextList => "a list of texts",
        Takes::Column => "a column",
        Takes::ColumnList => "a list of columns",
        Takes::IntegerList(..) => "a list of whole numbers",
        Takes::Sample => "a number of rows or a share",
    }
}

/// Returns the literal that was probably meant by a value of the wrong type.
pub(super) fn meant(key: &Key, value: &Tree, words: &str) -> Option<String> {
    let is_number = matches!(value, Tree::Integer(_) | Tree::Number(_) | Tree::Huge);
    if is_number && ["kind", "from", "needs"].contains(&key.name) {
        return None;
    }
    match (key.takes, value) {
        (Takes::Flag, Tree::Text(text)) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "y" => Some("true".to_owned()),
            "false" | "no" | "off" | "0" | "n" => Some("false".to_owned()),
            _ => None,
        },
        // One value in a list: the value alone.
        (Takes::Flag | Takes::Integer(..) | Takes::Number(..), Tree::List(items)) => match items.as_slice() {
            [Spanned { value: Tree::Integer(number), .. }] => Some(number.to_string()),
            [Spanned { value: Tree::Number(number), .. }] => Some(number_text(*number)),
            [Spanned { value: Tree::Flag(flag), .. }] => Some(flag.to_string()),
            _ => None,
        },
        (Takes::Flag, Tree::Integer(number)) => Some((*number != 0).to_string()),
        (Takes::Integer(..), Tree::Text(text)) => text.trim().parse::<i64>().ok().map(|number| number.to_string()),
        (Takes::Integer(..), Tree::Number(number)) if number.is_finite() => Some(format!("{}", number.round())),
        (Takes::IntegerList(..), Tree::Text(text)) => text.trim().parse::<i64>().ok().map(|number| format!("[{number}]")),
        (Takes::IntegerList(..), Tree::Number(number)) if number.is_finite() => Some(format!("[{}]", number.round())),
        (Takes::Number(..) | Takes::Sample, Tree::Text(text)) => number_in(text),
        (Takes::Text | Takes::Column, Tree::Integer(_) | Tree::Number(_) | Tree::Huge) => Some(quoted(words)),
        (Takes::TextList | Takes::ColumnList, Tree::Integer(_) | Tree::Number(_) | Tree::Huge) => Some(quoted(words)),
        (Takes::Text | Takes::Column | Takes::Choice(_), Tree::List(items)) => match items.first().map(|item| &item.value) {
            Some(Tree::Text(first)) => Some(quoted(first)),
            _ => None,
        },
        (Takes::TextList | Takes::ColumnList, Tree::Table(table)) => match table.entries.first().map(|(_, node)| &node.value) {
            Some(Tree::Text(first)) => Some(format!("[{}]", quoted(first))),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the number in a text, a percentage as a share.
pub(super) fn number_in(text: &str) -> Option<String> {
    let text = text.trim().replace(',', ".");
    let (digits, divisor) = text.strip_suffix('%').map_or((text.as_str(), 1.0), |digits| (digits, 100.0));
    let number = digits.trim().parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(number_text(number / divisor))
}

/// Returns the literal within range that was probably meant: a percentage, or a sign too many.
pub(super) fn meant_in_range(key: &Key, value: &Tree) -> Option<String> {
    let number = number_of(value);
    match key.takes {
        Takes::Number(from, to) => {
            let meant = if number > to { number / 100.0 } else { -number };
            (from < meant && meant <= to).then(|| number_text(meant))
        }
        Takes::Integer(from, to) => {
            let meant = -number;
            (number < 0.0 && from as f64 <= meant && meant <= to as f64).then(|| format!("{meant}"))
        }
        _ => None,
    }
}

pub(super) const fn number_of(value: &Tree) -> f64 {
    match value {
        Tree::Integer(number) => *number as f64,
        Tree::Number(number) => *number,
        Tree::Huge => f64::INFINITY,
        _ => f64::NAN,
    }
}

/// Returns a number without exponent and without digits that only rounding made.
pub(super) fn number_text(number: f64) -> String {
    let text = format!("{number}");
    if text.len() <= 12 {
        return text;
    }
    let rounded = format!("{number:.9}");
    rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
}
