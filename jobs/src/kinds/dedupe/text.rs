//! Whole texts, compared by their shingles.

use std::cell::OnceCell;

use arrow::datatypes::Schema;
use gristmill_engine::columns::is_text;
use gristmill_engine::dedupe::{NearTexts, NoTexts, Shingles, TextOptions, Unit, near_texts};

use super::grouped::{Grouped, Verdict};
use super::plain::{self, FoundPairs};
use super::{CLEAN_SOURCES, FIELDS, GROUPING, TEXT, THRESHOLD, crosses, sentence};
use crate::JobError;
use crate::error::Exit;
use crate::kinds::{JobKind, Key, StepOutcome, StepRun, Takes};
use crate::spec::{Problems, StepSpec, Values};
use crate::terminal::{count, counted};

mod reading;

use reading::{BYTES_A_PAIR, Beyond, Sets, Texts, bands, within_budget};

const UNIT: &str = "unit";
const K: &str = "k";
pub(super) const RECALL: &str = "recall";

/// Keys of `text`.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: UNIT,
        takes: Takes::Choice(&["word", "byte"]),
        default: Some("word"),
        about: "What shingles are made of: words, or bytes for languages that do not part words",
    },
    Key { name: K, takes: Takes::Integer(1, 64), default: None, about: "Units in a shingle; 3 words or 24 bytes where absent" },
    Key {
        name: RECALL,
        takes: Takes::Number(0.5, 1.0),
        default: None,
        about: "Probability with which a pair just at `threshold` is found, below 1 by MinHash and files; where absent every pair is found as long as the shingles fit into memory, else 0.999; 1 never leaves one to chance",
    },
    Key {
        name: THRESHOLD,
        takes: Takes::Number(0.05, 1.0),
        default: Some("0.8"),
        about: "Jaccard similarity of shingles from which two texts are a pair",
    },
];

/// Adds what is wrong with the keys beside `text`.
pub(super) fn check(how: &Values, step: &StepSpec, input: &Schema, problems: &mut Problems) {
    if step.is_written(THRESHOLD) {
        let written = how.number(THRESHOLD).unwrap_or(0.8);
        let help = format!("write `text = {{ threshold = {written} }}`: the Jaccard similarity from which two texts are a pair");
        problems.add(step.span(THRESHOLD), "`threshold` beside `text` says nothing: texts have no probability", "of records", help);
    }
    if step.is_written(CLEAN_SOURCES) {
        let message = "`clean_sources` beside `text` says nothing: every pair of texts counts";
        problems.add(step.span(CLEAN_SOURCES), message, "of records", "remove the line");
    }
    if step.is_written(GROUPING) {
        let message = "`grouping` beside `text` says nothing: of the texts kept no two are a pair, whatever the groups";
        problems.add(step.span(GROUPING), message, "of records", "remove the line");
    }
    if let Some(recall) = how.number(RECALL).filter(|recall| *recall < 1.0 && bands(how, *recall).is_none()) {
        let message = format!("`recall = {recall}` asks for more bands than are made");
        problems.add(step.span(TEXT), message, "too near 1", "write `recall = 1` to find every pair in memory, or 0.9999");
    }
    for field in step.list(FIELDS) {
        if let Some((_, column)) = input.column_with_name(&field.value).filter(|(_, column)| !is_text(column.data_type())) {
            let message = format!("column `{}` holds {}, and `text` compares texts", field.value, column.data_type());
            problems.add(
                field.span.clone(),
                message,
                "not a text",
                "name columns of text, or remove `text` to compare records column by column",
            );
        }
    }
}

/// Returns how texts become shingles.
fn shingles(how: &Values) -> Shingles {
    let (unit, k) = match how.text(UNIT) {
        Some("byte") => (Unit::Byte, 24),
        _ => (Unit::Word, 3),
    };
    Shingles { unit, k: how.integer(K).and_then(|k| usize::try_from(k).ok()).unwrap_or(k) }
}

/// Runs a step that compares texts.
pub(super) fn run(kind: &dyn JobKind, how: &Values, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    let beyond = OnceCell::new();
    let Texts { sets, origin, n_columns } = Texts::read(how, step, on, &beyond)?;
    let room = within_budget(&sets, step, on)?;
    let threshold = how.number(THRESHOLD).unwrap_or(0.8);
    let source = crosses(step).then_some(&*origin.source);
    let (found, most_pairs, beyond) = match sets {
        Sets::Held(sets) => {
            let options = TextOptions { threshold, most_pairs: room / BYTES_A_PAIR };
            (near_texts(&sets, source, &options, on.stopped), options.most_pairs, None)
        }
        Sets::Shelved(beyond, texts) => {
            let options = TextOptions { threshold, most_pairs: room / 2 / BYTES_A_PAIR };
            (texts.near(source, &options, room / 2, on.stopped), options.most_pairs, Some(beyond))
        }
    };
    let found = found.map_err(|why| match why {
        NoTexts::Shelf(error) => JobError::ReadBack { path: on.scratch.path().to_owned(), error },
        NoTexts::Stopped => JobError::Stopped(Exit::Interrupted),
        NoTexts::TooManyPairs => JobError::Budget {
            what: format!(
                "step `{}`: more than {} pairs of texts with a similarity of {threshold} or more in memory",
                step.name.value,
                count(most_pairs),
            ),
            needed_bytes: on.memory_bytes.saturating_add(BYTES_A_PAIR),
            budget_bytes: on.memory_bytes,
            help: "raise `memory` or `threshold`; where many texts are copies, take those out first with `exact`".to_owned(),
        },
    })?;
    let grouped =
        Grouped { step, on, origin: &origin, content: &found.set, entity: &found.group, n_entities: found.n_groups, numbers: None };
    let n_found = found.pairs.len() as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of pairs")]
    let verdict = Verdict {
        method: "text",
        verdict: if found.pairs.is_empty() { "no_duplicates" } else { "resolved" },
        reason: reason(&found, threshold),
        n_candidates: Some(found.n_verified),
        n_unseen: beyond.is_none().then_some(0),
        threshold: Some(threshold),
        expected_matches: Some(n_found + found.n_missed),
        expected_missed: beyond.is_some().then_some(found.n_missed),
        ..Verdict::default()
    };
    let pairs = FoundPairs::of(found.pairs.iter().map(|pair| (pair.a, pair.b, pair.jaccard)));
    let (tables, by_cause) = plain::tables(&grouped, &found.kept, pairs, verdict)?;
    let mut notes = notes(&grouped, &found, how, beyond);
    notes.extend(by_cause);
    let outcome = match beyond {
        Some(beyond) => StepOutcome::on(&beyond.backend, beyond.reason.clone()),
        None => StepOutcome::on_cpu(kind),
    };
    Ok(StepOutcome { tables, n_rows: found.group.len() as u64, n_columns: n_columns as u64, notes, ..outcome })
}

fn reason(found: &NearTexts, threshold: f64) -> String {
    match found.pairs.len() as u64 {
        0 => format!("no two texts have a similarity of {threshold} or more"),
        n => format!("{} of texts with a similarity of {threshold} or more", counted(n, "pair")),
    }
}

fn notes(grouped: &Grouped<'_>, found: &NearTexts, how: &Values, beyond: Option<&Beyond>) -> Vec<String> {
    let Shingles { unit, k } = shingles(how);
    let unit = match unit {
        Unit::Word => "word",
        Unit::Byte => "byte",
    };
    let threshold = how.number(THRESHOLD).unwrap_or(0.8);
    let of_shingles = format!(
        "{} with a Jaccard similarity of {threshold} or more over shingles of {}",
        counted(found.pairs.len() as u64, "pair"),
        counted(k as u64, unit)
    );
    let grouped = format!("{}.", sentence(grouped.entity.len() as u64, grouped.n_entities as u64));
    let mut notes = match beyond {
        None => vec![
            grouped,
            format!(
                "{of_shingles}: every one there is, none left to chance. No two texts kept are such a pair, and each of the others is one with the text kept for it."
            ),
        ],
        Some(beyond) => vec![
            grouped,
            format!(
                "{of_shingles}: each is one, none is taken for one by mistake. No two texts kept are among them, and each of the others is one with the text kept for it."
            ),
            beyond.said(found, threshold),
        ],
    };
    if found.n_empty > 0 {
        notes.push(format!("{} without a word: like no other.", counted(found.n_empty, "text")));
    }
    notes
}
