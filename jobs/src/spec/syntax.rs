//! Mistakes of TOML notation in our words: what is wrong on this line, and the line as it should be.
//!
//! The parser recovers on its own line from most of them; from the others on nothing of the tree can be relied
//! upon. Its messages are matched loosely: a reworded one falls through to a general text at the same place.

use std::ops::Range;

use super::keys;
use super::problems::{Problem, Problems};
use super::tree::quoted;

/// What to do about comments of other languages.
const COMMENTS: &str = "start comments with `#`";

/// Label of a colon between key and value.
const NOT_EQUALS: &str = "not `=`";

/// The line of a mistake.
struct Line<'a> {
    text: &'a str,
    start: usize,
    /// Byte of the mistake in the line.
    at: usize,
}

/// Returns the mistakes, and the byte from which the tree cannot be relied on.
pub(crate) fn translate(text: &str, errors: &[toml::de::Error]) -> (Problems, Option<usize>) {
    let mut problems = Problems::default();
    let mut broken_at: Option<usize> = None;
    let mut told_lines = Vec::new();
    let mut twice_until = 0;
    let mut errors: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    for (span, message) in errors {
        if let Some((at, problem)) = run_on(text, &span, message) {
            // The parser took the rest of the text for the inside of a list or text: nothing more can be said.
            problems.append(one(&problem));
            return (problems, Some(broken_at.map_or(at, |before| before.min(at))));
        }
        let line = Line::of(text, span.start);
        if is_structural(message) {
            broken_at = Some(broken_at.map_or(line.start, |at| at.min(line.start)));
        }
        if told_lines.contains(&line.start) || span.start < twice_until {
            continue;
        }
        told_lines.push(line.start);
        if message == "duplicate key" {
            // The keys of a table given twice are given twice too: one message is enough.
            twice_until = if line.is_header() { next_header(text, line.end()) } else { twice_until };
            problems.append(twice(text, &span, &line));
        } else {
            problems.append(one(&line.explain(&span, message)));
        }
    }
    (as_yaml(problems), broken_at)
}

/// Explains a list or a text of several lines that is not closed; returns the byte from which it swallowed the text.
fn run_on(text: &str, span: &Range<usize>, message: &str) -> Option<(usize, Problem)> {
    let line = Line::of(text, span.start);
    if message.contains("multi-line") {
        let open = text[..line.start + line.at].rfind(if message.contains("literal") { "\'\'\'" } else { "\"\"\"" })?;
        let opening = Line::of(text, open);
        let help = "close it with the same three quotes, or write one quote on either side".to_owned();
        let problem = opening.problem(opening.at, 3, "this text of several lines is not closed", "opened here", help);
        return Some((opening.start, problem));
    }
    let starts_line = line.text[..line.at].trim().is_empty();
    let is_entry = line.is_header() || line.text.split_once('=').is_some_and(|(key, _)| !key.contains(['"', '\'', ',']));
    if !(message.contains("comma") && starts_line && is_entry) {
        return None;
    }
    let end = text[..line.start].trim_end().len();
    let before = Line::of(text, end);
    let problem = before.problem(before.at, 1, "`]` is missing", "the list is not closed", "close it with `]`".to_owned());
    Some((before.start, problem))
}

/// Says it once where somebody wrote YAML.
fn as_yaml(problems: Problems) -> Problems {
    let is_colon = |problem: &&Problem| problem.label == NOT_EQUALS;
    let found = problems.in_order();
    let mut colons = found.iter().copied().filter(is_colon);
    let first = colons.next().cloned();
    match first.filter(|_| colons.nth(1).is_some()) {
        Some(mut first) => {
            first.help = format!("this looks like YAML, and a spec is TOML: {}", first.help);
            one(&first)
        }
        None => problems,
    }
}

/// Says whether the parser lost its way, so that what follows the mistake may be read wrongly.
fn is_structural(message: &str) -> bool {
    ["key with no value", "unclosed", "unquoted key"].iter().any(|words| message.contains(words))
}

fn one(problem: &Problem) -> Problems {
    let mut problems = Problems::default();
    problems.add(problem.span.clone(), &*problem.message, &*problem.label, &*problem.help);
    problems
}

/// Explains a key or table that is given twice.
fn twice(text: &str, span: &Range<usize>, line: &Line<'_>) -> Problems {
    let name = text.get(span.clone()).unwrap_or_default();
    let help = match first_line(text, line, name) {
        Some(number) => format!("remove one of the two: the first is on line {number}"),
        None => "remove one of the two".to_owned(),
    };
    let mut problems = Problems::default();
    problems.add(span.clone(), format!("`{name}` is given twice"), "again", help);
    problems
}

/// Returns the line, from 1, where a key or table was given first.
fn first_line(text: &str, line: &Line<'_>, name: &str) -> Option<usize> {
    let before = text[..line.start].lines().enumerate();
    let same_key = |other: &str| other.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']));
    let same_header = |other: &str| line.is_header() && other.split('#').next().map(str::trim) == Some(line.text.trim());
    let found = before.filter(|(_, other)| same_header(other.trim()) || same_key(other.trim()));
    found.last().map(|(index, _)| index + 1)
}

/// Returns the start of the first header at or after this byte.
fn next_header(text: &str, from: usize) -> usize {
    let rest = &text[from..];
    let mut at = from;
    for line in rest.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            return at;
        }
        at += line.len();
    }
    text.len()
}

impl<'a> Line<'a> {
    fn of(text: &'a str, at: usize) -> Self {
        let at = text.floor_char_boundary(at);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let text = text[start..end].trim_end_matches('\r');
        Self { text, start, at: (at - start).min(text.len()) }
    }

    const fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is_header(&self) -> bool {
        self.text.trim_start().starts_with('[')
    }

    /// Returns the key of `key = value`.
    fn key(&self) -> &'a str {
        let line = self.text.trim_start();
        &line[..line.find(['=', ':', ' ', '\t']).unwrap_or(line.len())]
    }

    /// Returns what stands after the key and its `=`, without comment.
    fn value(&self) -> &'a str {
        let rest = self.text.trim_start().strip_prefix(self.key()).unwrap_or_default();
        rest.trim_start_matches(['=', ':', ' ', '\t']).trim_end()
    }

    /// Returns the word at the mistake.
    fn word(&self) -> &'a str {
        let rest = &self.text[self.at.min(self.text.len())..];
        let end = rest.find([' ', '\t', ',', ']', '}', '#']).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Returns the whole line as it should be, with this value.
    fn fixed(&self, literal: &str) -> String {
        format!("`{} = {literal}`", self.key())
    }

    fn problem(&self, at: usize, length: usize, message: &str, label: &str, help: String) -> Problem {
        let from = self.start + at;
        Problem { span: from..from + length, message: message.to_owned(), label: label.to_owned(), help }
    }

    fn explain(&self, span: &Range<usize>, message: &str) -> Problem {
        if message.contains("key with no value") || message.contains("unquoted key") {
            return self.no_assignment();
        }
        if message.contains("unclosed table") {
            return self.unclosed_header();
        }
        if message.contains("unclosed") {
            let close = if message.contains("array") { ']' } else { '}' };
            return self.problem(self.at, 1, &format!("`{close}` is missing"), "not closed", format!("close it with `{close}`"));
        }
        if message.contains("cannot extend") {
            let word = self.text.get(self.at..self.at + span.len()).unwrap_or_default();
            let message = format!("`{word}` was given above in one line, so nothing can be added here");
            return self.problem(self.at, span.len(), &message, "given above", format!("write all of `{word}` in one place"));
        }
        if message.contains("comma") {
            return self.no_comma();
        }
        if message.contains("escape") {
            return self.escape();
        }
        if message.contains("string, expected") {
            return self.unclosed_text();
        }
        if message.contains("extra `=`") {
            return self.problem(self.at, 1, "one `=` is enough", "one too many", format!("write {}", self.fixed(self.value())));
        }
        if message.contains("unexpected key or value") {
            return self.more_on_the_line();
        }
        self.bad_value(span, message)
    }

    /// A line that is no `key = value`.
    fn no_assignment(&self) -> Problem {
        let start = self.text.len() - self.text.trim_start().len();
        if ["//", "--", ";", "/*"].iter().any(|mark| self.text.trim_start().starts_with(mark)) {
            let message = "`/`, `-` and `;` do not start a comment";
            return self.problem(start, 1, message, "not a comment in TOML", COMMENTS.to_owned());
        }
        let (key, value) = (self.key(), self.value());
        let literal = if value.is_empty() { sample(key) } else { as_literal(value) };
        let help = format!("write {}", self.fixed(&literal));
        let after_key = start + key.len();
        match self.text[after_key..].find(':') {
            Some(offset) => self.problem(after_key + offset, 1, "`=` must stand between key and value", NOT_EQUALS, help),
            None => {
                let blanks = self.text[after_key..].len() - self.text[after_key..].trim_start().len();
                self.problem(after_key + blanks, 1, "`=` must stand between key and value", "`=` is missing", help)
            }
        }
    }

    fn no_comma(&self) -> Problem {
        let (before, after) = self.text.split_at(self.at);
        if before.ends_with(['"', '\'']) && after.starts_with(char::is_alphanumeric) {
            let help = "every text has a quote on both sides: look at the entry before this one too".to_owned();
            return self.problem(self.at, 1, "a quote is missing near here", "outside of the quotes", help);
        }
        self.problem(self.at, 1, "a comma is missing between two entries", "here", "write `,` between them".to_owned())
    }

    fn unclosed_header(&self) -> Problem {
        let header = self.text.trim().trim_end_matches(']');
        let name = header.trim_start_matches('[').trim();
        let mended = match name.split_once('=') {
            Some((group, name)) => format!("{}.{}", group.trim(), name.trim().trim_matches('"')),
            None => name.replace([' ', '\t'], "-"),
        };
        let help = format!("write `[{mended}]`");
        let message = if name.contains(' ') { "a blank in a table's name, where `]` should stand" } else { "`]` is missing" };
        self.problem(self.at, 1, message, "not closed", help)
    }

    fn unclosed_text(&self) -> Problem {
        let bare = self.value().trim_matches(['"', '\'', '[', ']', ' ']);
        let help = format!("close it: `{}`", quoted(bare));
        self.problem(self.at, 1, "the quote of this text is not closed", "no closing quote", help)
    }

    fn escape(&self) -> Problem {
        let at = self.text[..self.at].rfind('\\').unwrap_or(self.at);
        let letter: String = self.text[at..].chars().take(2).collect();
        let help = "write `/` in paths, or single quotes round the text: they leave `\\` as it is".to_owned();
        self.problem(at, letter.len(), &format!("`{letter}` is not an escape"), "a backslash starts an escape", help)
    }

    /// Something stands behind a value.
    fn more_on_the_line(&self) -> Problem {
        let rest = &self.text[self.at..];
        if rest.starts_with(';') {
            let help = "remove it: a line ends by itself".to_owned();
            return self.problem(self.at, 1, "a `;` after the value", "one too many", help);
        }
        if rest.starts_with("//") || rest.starts_with("--") {
            let word = &rest[..2];
            return self.problem(self.at, 2, &format!("`{word}` does not start a comment"), "not a comment in TOML", COMMENTS.to_owned());
        }
        let Some(after) = rest.strip_prefix(',') else {
            let help = "start a new line here; a text with blanks needs quotes".to_owned();
            return self.problem(self.at, self.word().len(), "more on this line than one key and its value", "a second one", help);
        };
        let digit_before = self.text[..self.at].ends_with(|c: char| c.is_ascii_digit());
        if digit_before && after.starts_with(|c: char| c.is_ascii_digit()) {
            let help = format!("write a point: {}", self.fixed(&self.value().replacen(',', ".", 1)));
            return self.problem(self.at, 1, "`,` is not a decimal point", "not a point", help);
        }
        let help = "remove this `,`: each key has its own line; a list needs `[` and `]`".to_owned();
        self.problem(self.at, 1, "a `,` after the value", "one too many", help)
    }

    /// A value that is none.
    fn bad_value(&self, span: &Range<usize>, message: &str) -> Problem {
        let word = self.word();
        let key = self.key();
        let say = |message: &str, label: &str, help: String| self.problem(self.at, word.len().max(1), message, label, help);
        match word.to_lowercase().as_str() {
            "" => say(&format!("`{key}` has no value"), "a value is missing", format!("write {}", self.fixed(&sample(key)))),
            lower @ ("true" | "false") => say(&format!("`{word}` is not a value"), "small letters", format!("write `{lower}`")),
            "null" | "none" | "nil" => {
                let help = format!("remove the line: where `{key}` is absent, its default holds");
                say(&format!("`{word}` is not a value"), "there is no such value", help)
            }
            lower if lower.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '\u{ab}']) => {
                let bare = word.trim_matches(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}']);
                let help = format!("write plain quotes: `{}`", quoted(bare));
                say("these quotes are not plain quotes", "a word processor's quotes", help)
            }
            lower if lower.starts_with('(') => {
                let help = "a list stands in `[` and `]`".to_owned();
                say("round brackets mean nothing here", "not a list", help)
            }
            lower if lower.ends_with('%') && super::literals::number_in(lower).is_some() => {
                let share = super::literals::number_in(lower).unwrap_or_default();
                say(&format!("`{word}` is not a number"), "a percentage", format!("write the share: `{share}`"))
            }
            lower if lower.starts_with('.') && lower[1..].parse::<f64>().is_ok() => {
                say("a digit must stand before the dot", "no digit", format!("write `0{word}`"))
            }
            lower if message.contains("leading zero") => {
                let bare = lower.trim_start_matches('0');
                let help = format!("write `{}`", if bare.is_empty() { "0" } else { bare });
                say("a number cannot start with a zero", "leading zero", help)
            }
            _ if message.contains("string") || word.chars().any(char::is_alphabetic) => {
                say(&format!("`{word}` needs quotes"), "a text without quotes", format!("write `{}`", quoted(word)))
            }
            _ => {
                let help = format!("write {}", self.fixed(&sample(key)));
                let mut problem = say(message, "not understood", help);
                problem.span.end = span.end.max(problem.span.end);
                problem
            }
        }
    }
}

/// Returns a value as it is where it is a literal already, else in quotes.
fn as_literal(value: &str) -> String {
    match toml::de::DeValue::parse(value) {
        Ok(_) => value.to_owned(),
        Err(_) => quoted(value.trim_matches(['"', '\''])),
    }
}

/// Returns a value that this key could have.
fn sample(key: &str) -> String {
    let known = keys::TOP.iter().chain(keys::SOURCE).chain(keys::STEP).chain(keys::COMMON).find(|known| known.name == key);
    known.map_or_else(|| "\"...\"".to_owned(), super::literals::sample_literal)
}
