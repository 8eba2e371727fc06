//! What reaches the terminal: text made harmless, numbers made readable, and streams that may be closed.
//!
//! Names and values from data go through `plain` before they are printed: an escape code in a column name must
//! not move the cursor, and a bidirectional override must not turn a sentence round.
//! Colour is for the carets under a spec's mistakes alone; no message needs it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use crate::secrets;

/// Returns the text with control and direction-changing characters written as escapes.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Makes every line harmless and keeps the line ends, for texts that we laid out ourselves.
#[must_use]
pub fn plain_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&plain(line.trim_end_matches(['\n', '\r'])));
        if line.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

fn is_harmful(c: char) -> bool {
    let turns_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns_direction || ends_line
}

/// What became of a page that could not be written.
static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// Writes to stdout; a reader that has gone away (`gristmill kinds | head -1`) is no failure.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(secrets::hidden(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => _ = UNPRINTED.set(error),
        _ => {}
    }
}

/// Returns why something could not be written to stdout.
pub(crate) fn unprinted() -> Option<&'static io::Error> {
    UNPRINTED.get()
}

/// Writes to stderr; there is nowhere left to complain when that fails.
pub fn complain(text: &str) {
    let mut err = io::stderr().lock();
    let _gone = err.write_all(secrets::hidden(text).as_bytes()).and_then(|()| err.flush());
}

/// Says whether messages on stderr may be coloured: on a terminal, unless `NO_COLOR` is set.
#[must_use]
pub fn wants_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns a count with a comma between groups of three digits.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a count with its noun: `1 step`, `2 steps`.
#[must_use]
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Returns a size in binary units with three digits at most.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || size >= 99.95 { 0 } else { 1 };
    format!("{size:.digits$} {}", UNITS[unit])
}

/// Returns a time span: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 07 min`.
#[must_use]
pub fn seconds(s: f64) -> String {
    let whole = s.round().max(0.0) as u64;
    let mut out = String::new();
    let written = match whole {
        _ if s < 9.995 => write!(out, "{s:.2} s"),
        0..120 => write!(out, "{s:.1} s"),
        120..7200 => write!(out, "{} min {:02} s", whole / 60, whole % 60),
        _ => write!(out, "{} h {:02} min", whole / 3600, whole / 60 % 60),
    };
    written.expect("a String takes every text");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_and_direction_marks_are_written_out() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\u{a}");
        assert_eq!(plain("Gr\u{f6}\u{df}e, \u{5e45}"), "Gr\u{f6}\u{df}e, \u{5e45}");
        assert_eq!(plain_lines("one\u{7}\ntwo\r\nthree"), "one\\u{7}\ntwo\nthree");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "step"), counted(2, "step")], ["1 step", "2 steps"]);
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_024), bytes(310 << 20), bytes(u64::MAX)],
            ["0 B", "999 B", "1.0 KiB", "310 MiB", "16384 PiB"]
        );
        assert_eq!([seconds(0.4), seconds(12.34), seconds(185.0), seconds(7_620.0)], ["0.40 s", "12.3 s", "3 min 05 s", "2 h 07 min"]);
    }
}
