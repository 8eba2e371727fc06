//! Secrets of a spec, kept out of everything that is written or printed.
//!
//! A secret is known by its value: every text on its way to a terminal, a log, a manifest, a plan or a report goes through `hidden`, which
//! puts `${secret:NAME}` in its place, also where the text has escaped it for JSON, HTML or a URL. Tables hold data and no paths: a source
//! with a secret path cannot have a `file_column`.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

/// Fewest bytes of a secret: a shorter one would turn innocent words into references.
const MIN_BYTES: usize = 8;

/// What stands in a text with what takes its place; the longest first, since one secret may hold another.
static KEPT: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// Says why a value cannot be kept out of what is printed; none where it can.
pub(crate) fn refuses(value: &str) -> Option<String> {
    if value.len() < MIN_BYTES {
        return Some(if value.is_empty() { "is empty".to_owned() } else { format!("has fewer than {MIN_BYTES} bytes") });
    }
    if value.chars().any(char::is_control) {
        return Some("holds control characters".to_owned());
    }
    // What is listed or looked for by part of it would be printed without the rest.
    if value.contains(['/', '*', '?', '[', '=']) {
        return Some("holds one of `/ * ? [ =`, but is one name in a path".to_owned());
    }
    let is_word = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_number = value.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_word || is_number).then(|| "is a plain word or number, which texts hold for other reasons".to_owned())
}

/// Keeps a secret from now on.
pub(crate) fn keep(name: &str, value: &str) {
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    let inner = |quoted: &str| quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned();
    let json = inner(&serde_json::to_string(value).unwrap_or_default());
    let shown = format!("${{secret:{name}}}");
    for form in [value.to_owned(), json, html(value), percent(value), inner(&format!("{value:?}"))] {
        if !kept.iter().any(|(known, _)| *known == form) {
            kept.push((form, shown.clone()));
        }
    }
    kept.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
}

/// Says whether a text holds a secret.
pub(crate) fn are_in(text: &str) -> bool {
    matches!(hidden(text), Cow::Owned(_))
}

/// Returns the text with a reference in place of every secret.
pub(crate) fn hidden(text: &str) -> Cow<'_, str> {
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
    let mut out = Cow::Borrowed(text);
    for (form, shown) in kept.iter() {
        if out.contains(form.as_str()) {
            out = Cow::Owned(out.replace(form.as_str(), shown));
        }
    }
    out
}

fn html(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '&' => out.push_str("&#38;"),
            '<' => out.push_str("&#60;"),
            '>' => out.push_str("&#62;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn percent(value: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    value.bytes().map(|byte| if is_bare(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_hidden_is_refused() {
        for value in
            ["", "short", "gristmill", "run_folder", "20250301", "deadbeef00", "with\nline", "/mnt/token-1", "token-1*", "tenant=abc1"]
        {
            assert!(refuses(value).is_some(), "{value}");
        }
        for value in ["tok-8fd3Zq", "p w'd \"<&> \\x", "Gr\u{f6}\u{df}e-geheim"] {
            assert_eq!(refuses(value), None);
        }
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_and_the_longer_one_first() {
        keep("SHORT", "abc-test-1");
        keep("LONG", "abc-test-1|\"<&2");
        assert_eq!(hidden("at abc-test-1/x"), "at ${secret:SHORT}/x");
        assert_eq!(hidden("at abc-test-1|\"<&2/x"), "at ${secret:LONG}/x");
        for written in [r#"abc-test-1|\"<&2"#, "abc-test-1|&#34;&#60;&#38;2", "abc-test-1%7C%22%3C%262"] {
            assert_eq!(hidden(written), "${secret:LONG}", "{written}");
        }
        assert!(are_in("abc-test-1") && !are_in("abc-test"));
        assert!(matches!(hidden("nothing"), Cow::Borrowed("nothing")));
    }
}
