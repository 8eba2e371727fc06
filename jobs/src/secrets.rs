//! Secrets of a spec, kept out of everything that is written or printed.
//!
//! A secret is known by its value: every text on its way to a terminal, a log, a manifest, a plan or a report goes through `hidden`, which
//! puts `${secret:NAME}` in its place, also where the text has escaped it for JSON, HTML or a URL. Tables hold data and no paths: a source
//! with a secret path cannot have a `file_column`.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

/// Fewest bytes of a secret: a shorter one would turn innocent words into references.
pub(crate) const MIN_BYTES: usize = 4;

/// What stands in a text with what takes its place; the longest first, since one secret may hold another.
static KEPT: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// Keeps a secret from now on.
pub(crate) fn keep(name: &str, value: &str) {
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    let json = serde_json::to_string(value).unwrap_or_default();
    let shown = format!("${{secret:{name}}}");
    for form in [
        value.to_owned(),
        json.trim_matches('"').to_owned(),
        html(value),
        percent(value),
        format!("{value:?}").trim_matches('"').to_owned(),
    ] {
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
    fn a_secret_is_hidden_in_every_form_and_the_longer_one_first() {
        keep("SHORT", "abc-test-1");
        keep("LONG", "abc-test-1/\"<&2");
        assert_eq!(hidden("at abc-test-1/x"), "at ${secret:SHORT}/x");
        assert_eq!(hidden("at abc-test-1/\"<&2/x"), "at ${secret:LONG}/x");
        for written in [r#"abc-test-1/\"<&2"#, "abc-test-1/&#34;&#60;&#38;2", "abc-test-1/%22%3C%262"] {
            assert_eq!(hidden(written), "${secret:LONG}", "{written}");
        }
        assert!(are_in("abc-test-1") && !are_in("abc-test"));
        assert!(matches!(hidden("nothing"), Cow::Borrowed("nothing")));
    }
}
