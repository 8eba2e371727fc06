//! The nearest name to a misspelt one.

/// Names that a help line lists before it counts the rest.
const MAX_LISTED: usize = 12;

/// Returns the candidate that `word` most likely stands for; none where all are far away.
///
/// Case, blanks, hyphens and camel case do not count; beyond that one edit in three letters may differ.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let limit = ((folded.chars().count() + 1) / 3).max(1);
    let near = |candidate: &'a str| {
        let other = fold(candidate);
        let edits = strsim::osa_distance(&folded, &other);
        // Two words of which one letter in two differs are no misspelling of each other.
        let close = edits <= limit && edits * 2 < folded.chars().count().max(other.chars().count());
        (edits == 0 || close).then(|| (edits, -strsim::jaro_winkler(&folded, &other), candidate))
    };
    let by_distance = |a: &(usize, f64, &str), b: &(usize, f64, &str)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
    candidates.into_iter().filter_map(near).min_by(by_distance).map(|(_, _, candidate)| candidate)
}

/// Returns a help line: the nearest name where one is near, then the names that there are.
#[must_use]
pub fn did_you_mean<'a>(word: &str, what: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let listed = listed(&names);
    match nearest(word, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? {what}: {listed}"),
        None => format!("{what}: {listed}"),
    }
}

/// Returns names with commas between them, the first few where there are many.
pub(crate) fn listed(names: &[&str]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        n if n > MAX_LISTED => format!("{} and {} more", names[..MAX_LISTED].join(", "), n - MAX_LISTED),
        _ => names.join(", "),
    }
}

/// Returns the word in lower case with `_` between its parts.
fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len() + 4);
    let mut after_lower = false;
    for letter in word.trim().chars() {
        if letter.is_uppercase() && after_lower {
            folded.push('_');
        }
        after_lower = letter.is_lowercase() || letter.is_ascii_digit();
        match letter {
            '-' | ' ' => folded.push('_'),
            _ => folded.extend(letter.to_lowercase()),
        }
    }
    folded
}
