//! Text for people: names made safe, numbers made readable.
//!
//! Names and values come from files and are hostile until proven otherwise. Control, direction and invisible
//! characters are written out (`\u{1b}`), long texts are cut, and whatever reaches the page passes `escape`.
//! `Html` marks text that has passed: templates escape everything else by themselves.

use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;

/// Longest text in a `title`: enough for any name that a person reads.
const TITLE_CHARS: usize = 160;

/// Text that is safe to write into the page as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(pub(super) String);

impl Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// Returns `text` with the five characters of HTML replaced, in the form that the templates use.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if matches!(c, '&' | '<' | '>' | '"' | '\'') {
            let _ = write!(out, "&#{};", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns `text` with control, direction and invisible characters written out.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Says whether a character is unseen, or changes how the ones round it are shown.
fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || matches!(code, 0xAD | 0x61C | 0x180E | 0x200B | 0x200E | 0x200F | 0xFEFF)
        || matches!(code, 0x2028..=0x202E | 0x2060..=0x206F | 0xFFF9..=0xFFFB | 0xE0000..=0xE0FFF)
        || code & 0xFFFE == 0xFFFE
        || (0xFDD0..=0xFDEF).contains(&code)
}

/// Returns `text` made visible and cut to `chars` characters, the last of which is then an ellipsis.
pub(super) fn cut(text: &str, chars: usize) -> String {
    // Cutting first bounds the work on a name of many megabytes; hidden characters only ever grow.
    let head: String = text.chars().take(chars + 1).collect();
    let shown = visible(&head);
    if shown.chars().count() <= chars {
        return shown;
    }
    let mut out: String = shown.chars().take(chars.saturating_sub(1)).collect();
    out.push('\u{2026}');
    out
}

/// Returns a name of at most `chars` characters, isolated from the text round it, with the whole of it as title.
pub(super) fn name(text: &str, chars: usize) -> Html {
    let short = cut(text, chars);
    let full = cut(text, TITLE_CHARS);
    let mut out = String::from("<bdi");
    if full != short {
        let _ = write!(out, " title=\"{}\"", escape(&full));
    }
    let _ = write!(out, ">{}</bdi>", if short.is_empty() { "(no name)".to_owned() } else { escape(&short) });
    Html(out)
}

/// Returns a sentence of at most `chars` characters in which names in backticks are set apart.
pub(super) fn marked(text: &str, chars: usize) -> Html {
    let text = cut(text, chars);
    let parts: Vec<&str> = text.split('`').collect();
    // An odd backtick belongs to a name, or the other one was cut off: nobody knows which part is meant.
    if parts.len().is_multiple_of(2) {
        return Html(format!("<bdi>{}</bdi>", escape(&text)));
    }
    let mark = |(at, part): (usize, &&str)| {
        if at.is_multiple_of(2) { escape(part) } else { format!("<em><bdi>{}</bdi></em>", escape(part)) }
    };
    Html(parts.iter().enumerate().map(mark).collect())
}

/// Returns several names set apart by commas; those beyond `most` are counted.
pub(super) fn names<'a>(all: impl ExactSizeIterator<Item = &'a str>, most: usize, chars: usize) -> Html {
    let rest = all.len().saturating_sub(most);
    let shown: Vec<String> = all.take(most).map(|each| name(each, chars).0).collect();
    let mut out = shown.join(", ");
    if rest > 0 {
        let _ = write!(out, " and {} more", count(rest as u64));
    }
    Html(out)
}

/// Returns a text of several lines with hidden characters written out, at most `bytes` long, and whether it was cut.
pub(super) fn lines(text: &str, bytes: usize) -> (String, bool) {
    let mut out = String::new();
    for line in text.lines() {
        let line = visible(&line.replace('\t', "    "));
        if out.len() + line.len() >= bytes {
            return (out, true);
        }
        out.push_str(&line);
        out.push('\n');
    }
    (out, false)
}

/// Returns a whole number with separated thousands.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a number and its noun, `1 pair` or `45 pairs`.
pub(super) fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Says how much more a table holds than is shown; none where that is all.
pub(super) fn rest(all: u64, shown: usize, one: &str, table: &str) -> Option<String> {
    let rest = all.saturating_sub(shown as u64);
    (rest > 0).then(|| format!("{} in the table `{table}` beside this report.", counted(rest, one)))
}

/// Returns a correlation with `digits` decimals, more where a value short of 1 would be shown as 1.
pub(super) fn correlation(r: f64, digits: usize) -> String {
    for digits in digits..9 {
        let text = format!("{r:.digits$}");
        if r.abs() >= 1.0 || !text.trim_start_matches('-').starts_with('1') {
            return if text.trim_matches(['-', '0', '.']).is_empty() { text.replace('-', "") } else { text };
        }
    }
    format!("{r}")
}

/// Returns a p-value: three decimals, powers of ten below 0.001, and a bound where it underflows.
pub(super) fn probability(p: f64) -> String {
    match p {
        p if p.is_nan() => "-".to_owned(),
        p if p < 1e-300 => "< 1e-300".to_owned(),
        p if p < 0.0005 => format!("{p:.1e}"),
        p => format!("{p:.3}"),
    }
}

/// Returns a measured value with four significant digits.
pub(super) fn value(v: f64) -> String {
    let size = v.abs();
    if v == 0.0 {
        "0".to_owned()
    } else if !v.is_finite() {
        "-".to_owned()
    } else if !(1e-4..1e9).contains(&size) {
        trim_zeros(&format!("{v:.3e}"))
    } else if size >= 1000.0 {
        let whole = size.round() as u64;
        format!("{}{}", if v < 0.0 { "-" } else { "" }, count(whole))
    } else {
        let decimals = (3.0 - first_digit_power(size)) as usize;
        trim_zeros(&format!("{v:.decimals$}"))
    }
}

/// Returns the power of ten of the first digit.
fn first_digit_power(size: f64) -> f64 {
    size.log10().floor()
}

/// Returns a decimal number without closing zeros, also before an exponent.
fn trim_zeros(text: &str) -> String {
    let (digits, exponent) = text.find('e').map_or((text, ""), |at| text.split_at(at));
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}{exponent}")
}

/// Returns a threshold as a person wrote it: `0.1`.
pub(super) fn threshold(v: f64) -> String {
    format!("{v}")
}

/// Returns a share as a percentage; a little is never shown as nothing, nor nearly all as all.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part >= whole {
        return "100 %".to_owned();
    }
    let share = 100.0 * ratio(part, whole);
    match share {
        s if s < 0.1 => "< 0.1 %".to_owned(),
        s if s > 99.9 => "> 99.9 %".to_owned(),
        s => format!("{s:.1} %"),
    }
}

/// Returns `part / whole`, 0 where there is nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Returns a size in the unit that leaves one to three digits before the point.
pub(super) fn bytes(n: u64) -> String {
    let mut size = n as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "bytes" { format!("{n} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// Returns a length of time.
pub(super) fn seconds(s: f64) -> String {
    if s.is_nan() || s < 0.0 {
        return "-".to_owned();
    }
    match s {
        s if s < 0.001 => "< 1 ms".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

/// Returns a time of the manifest to the second, or the text itself where it is none.
pub(super) fn moment(rfc3339: &str) -> String {
    rfc3339.parse::<Timestamp>().map_or_else(|_| cut(rfc3339, 40), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Returns the day of a number of seconds since 1970, the unit in which dates are correlated.
pub(super) fn date(seconds: f64) -> String {
    since_1970(seconds).map_or_else(|| value(seconds), |at| at.strftime("%Y-%m-%d").to_string())
}

/// Returns the minute of a number of seconds since 1970.
pub(super) fn instant(seconds: f64) -> String {
    since_1970(seconds).map_or_else(|| value(seconds), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

fn since_1970(seconds: f64) -> Option<Timestamp> {
    // A cast of NaN or of a number beyond the range saturates, and jiff refuses what no calendar has.
    if seconds.is_finite() { Timestamp::from_second(seconds.floor() as i64).ok() } else { None }
}

/// Returns a number of seconds as days where there are days in it.
pub(super) fn span(s: f64) -> String {
    if s >= 86_400.0 { format!("{} d", value(s / 86_400.0)) } else { seconds(s) }
}

/// Returns the seconds between two times of the manifest.
pub(super) fn elapsed(started: &str, finished: &str) -> Option<f64> {
    let (from, to) = (started.parse::<Timestamp>().ok()?, finished.parse::<Timestamp>().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(0), count(999), count(1_000), count(12_330_000)),
            ("0".into(), "999".into(), "1,000".into(), "12,330,000".into())
        );
        assert_eq!((counted(1, "pair"), counted(45, "pair")), ("1 pair".into(), "45 pairs".into()));
        assert_eq!((probability(0.0), probability(1e-20), probability(0.0345)), ("< 1e-300".into(), "1.0e-20".into(), "0.035".into()));
        assert_eq!(
            (value(0.0), value(81.47), value(-1234.5), value(1.5e12)),
            ("0".into(), "81.47".into(), "-1,235".into(), "1.5e12".into())
        );
        assert_eq!((value(0.022_191), value(999.99), value(3.0)), ("0.02219".into(), "1000".into(), "3".into()));
        assert_eq!((bytes(12), bytes(1_048_576)), ("12 bytes".into(), "1.0 MiB".into()));
        assert_eq!((seconds(0.25), seconds(75.0), seconds(7_260.0)), ("250 ms".into(), "1 min 15 s".into(), "2 h 01 min".into()));
    }

    #[test]
    fn a_correlation_short_of_one_is_never_shown_as_one() {
        assert_eq!((correlation(0.913_004, 2), correlation(1.0, 2), correlation(-1.0, 2)), ("0.91".into(), "1.00".into(), "-1.00".into()));
        assert_eq!((correlation(0.9996, 2), correlation(-0.999_996, 3)), ("0.9996".into(), "-0.999996".into()));
        assert_eq!(correlation(-0.0001, 2), "0.00");
    }

    #[test]
    fn shares_do_not_round_to_all_or_nothing() {
        assert_eq!((percent(0, 10), percent(10, 10), percent(1, 3)), ("0 %".into(), "100 %".into(), "33.3 %".into()));
        assert_eq!((percent(1, 1_000_000), percent(999_999, 1_000_000)), ("< 0.1 %".into(), "> 99.9 %".into()));
    }

    #[test]
    fn names_are_isolated_escaped_and_cut() {
        assert_eq!(name("a<b>", 20).0, "<bdi>a&#60;b&#62;</bdi>");
        assert_eq!(name("\u{202e}x\u{1b}[31m", 40).0, "<bdi>\\u{202e}x\\u{1b}[31m</bdi>");
        assert_eq!(name("abcdef", 4).0, "<bdi title=\"abcdef\">abc\u{2026}</bdi>");
        assert_eq!(name("", 4).0, "<bdi>(no name)</bdi>");
        assert_eq!(names(["a", "b", "c"].into_iter(), 2, 9).0, "<bdi>a</bdi>, <bdi>b</bdi> and 1 more");
    }

    #[test]
    fn backticks_set_names_apart_unless_one_is_odd() {
        assert_eq!(marked("`a<b` and `c`", 40).0, "<em><bdi>a&#60;b</bdi></em> and <em><bdi>c</bdi></em>");
        assert_eq!(marked("it`s <x>", 40).0, "<bdi>it`s &#60;x&#62;</bdi>");
    }

    #[test]
    fn times_are_read_or_shown_as_they_are() {
        assert_eq!(moment("2026-11-23T14:57:34.67Z"), "2026-11-23 14:57:34 UTC");
        assert_eq!(moment("yesterday"), "yesterday");
        assert_eq!((date(1_293_840_000.0), instant(1_293_843_660.5)), ("2011-01-01".into(), "2011-01-01 01:01".into()));
        assert_eq!((date(f64::INFINITY), date(1e18), span(18_150_410.0)), ("-".into(), "1e18".into(), "210.1 d".into()));
        assert_eq!(elapsed("2026-11-23T14:00:00Z", "2026-11-23T14:00:01.5Z"), Some(1.5));
    }
}
