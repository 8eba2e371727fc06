//! Mistakes in a spec: collected as they are met, reported together, each with its place and one fix.
//!
//! A problem carries byte offsets; the text of the spec is attached only when problems are printed, so that
//! error values stay small. Messages are fragments in plain words and never need colour to be understood.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

use super::text::SpecText;

/// Bytes of the spec's text, from the first to one past the last.
pub type Span = Range<usize>;

/// Mistakes printed in full; the rest are counted, since nobody reads a thousand of them.
const MAX_PRINTED: usize = 50;
/// Mistakes that are kept; the others are counted.
const MAX_KEPT: usize = 500;

/// A value with the place where the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Returns the value at this place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The value or key at fault.
    pub span: Span,
    /// What is wrong: lower-case fragment, the user's words in backticks.
    pub message: String,
    /// A few words beside the caret.
    pub label: String,
    /// One fix.
    pub help: String,
}

/// One mistake with its line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Located {
    /// The file that it is in: the spec, its base, or `--set`.
    pub file: String,
    /// Line in the spec.
    pub line: usize,
    /// Character in the line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// One fix.
    pub help: String,
}

/// All mistakes of one spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    /// Mistakes beyond those that are kept.
    n_more: usize,
}

impl Problems {
    /// Adds a mistake: where it is, what is wrong, a few words beside the caret, and one fix.
    ///
    /// The same mistake at the same place is added once: a table that stands for several is read several times.
    pub fn add(&mut self, span: Span, message: impl Into<String>, label: impl Into<String>, help: impl Into<String>) {
        if self.list.len() >= MAX_KEPT {
            self.n_more += 1;
            return;
        }
        let problem = Problem { span, message: message.into(), label: label.into(), help: help.into() };
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// Adds every mistake of another collection.
    pub fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
        self.n_more += other.n_more + self.list.len().saturating_sub(MAX_KEPT);
        self.list.truncate(MAX_KEPT);
    }

    /// Moves the place of every mistake: their text is a part of a longer one.
    pub(crate) fn move_by(&mut self, by: usize) {
        for problem in &mut self.list {
            problem.span = problem.span.start + by..problem.span.end + by;
        }
    }

    /// Keeps the mistakes that `keep` says yes to.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Problem) -> bool) {
        let n_before = self.list.len();
        self.list.retain(keep);
        if self.list.len() < n_before {
            // Those that were counted alone would have been asked as well.
            self.n_more = 0;
        }
    }

    /// Says whether one of the mistakes lies within these bytes, or round them.
    pub(crate) fn overlap(&self, span: &Span) -> bool {
        self.list.iter().any(|problem| problem.span.start < span.end && span.start < problem.span.end)
    }

    /// Says whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.n_more == 0
    }

    /// Returns the number of mistakes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.n_more
    }

    /// Returns the mistakes in the order of the spec's text.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Problem> {
        let mut list: Vec<&Problem> = self.list.iter().collect();
        list.sort_by_key(|problem| problem.span.start);
        list
    }

    /// Returns the mistakes with lines and columns, in the order of the spec's text.
    #[must_use]
    pub fn locate(&self, text: &SpecText) -> Vec<Located> {
        self.in_order().into_iter().map(|problem| problem.locate(text)).collect()
    }

    /// Returns the mistakes as text for people: file, line and column, the line itself, a caret, and the fix.
    #[must_use]
    pub fn render(&self, text: &SpecText, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut page = String::new();
        for problem in self.in_order().into_iter().take(MAX_PRINTED) {
            page.push_str(&problem.render(&renderer, text));
            page.push_str("\n\n");
        }
        page.push_str(&self.count());
        page
    }

    fn count(&self) -> String {
        match self.len() {
            0 => String::new(),
            1 => "1 mistake in the spec; nothing was run\n".to_owned(),
            n if n <= MAX_PRINTED => format!("{n} mistakes in the spec; nothing was run\n"),
            n => format!("{n} mistakes in the spec, the first {MAX_PRINTED} are shown; nothing was run\n"),
        }
    }
}

impl Problem {
    fn locate(&self, text: &SpecText) -> Located {
        let (path, part, at) = text.part_of(self.span.start);
        let (line, column) = line_and_column(part, at);
        Located { file: path.display().to_string(), line, column, message: self.message.clone(), help: self.help.clone() }
    }

    /// Prints from the line at fault alone: a spec may be a megabyte long.
    fn render(&self, renderer: &Renderer, text: &SpecText) -> String {
        let (path, text, at) = text.part_of(self.span.start);
        let start = floor(text, at);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let from = (start - line_start).min(line.len());
        let to = floor(text, at + self.span.len()).saturating_sub(line_start).clamp(from, line.len());
        let path = normalize_untrusted_str(&path.display().to_string());
        let (number, _) = line_and_column(text, start);
        let at = AnnotationKind::Primary.span(from..to).label(normalize_untrusted_str(&self.label));
        let snippet = Snippet::source(line).line_start(number).path(path).annotation(at);
        let title = Level::ERROR.primary_title(self.message.as_str());
        let help = Level::HELP.message(normalize_untrusted_str(&self.help));
        renderer.render(&[Group::with_title(title).element(snippet).element(help)])
    }
}

/// Returns the line and column of a byte, both from 1.
#[must_use]
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..floor(text, byte)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Returns the start of the character that this byte belongs to.
fn floor(text: &str, byte: usize) -> usize {
    text.floor_char_boundary(byte)
}
