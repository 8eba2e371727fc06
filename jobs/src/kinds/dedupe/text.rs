//! Whole texts, compared by their shingles.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Schema};
use gristmill_engine::columns::is_text;
use gristmill_engine::dedupe::{NearTexts, NoTexts, Shingles, TextOptions, TextSets, Unit, near_texts};

use super::grouped::{Grouped, Origin, OriginReading, Verdict, compared};
use super::plain::{self, FoundPairs};
use super::{CLEAN_SOURCES, FIELDS, GROUPING, THRESHOLD, crosses, sentence};
use crate::JobError;
use crate::error::Exit;
use crate::kinds::{JobKind, Key, StepOutcome, StepRun, Takes};
use crate::pass;
use crate::spec::{Problems, StepSpec, Values};
use crate::terminal::{count, counted};

const UNIT: &str = "unit";
const K: &str = "k";

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

/// The texts of all rows as shingles.
struct Texts {
    sets: TextSets,
    origin: Origin,
    n_columns: usize,
}

/// Bytes of a text beside its shingles: where they lie, its class, its group.
const BYTES_A_TEXT: u64 = 72;
/// Bytes of a shingle: itself, its counter, and its share of the prefixes.
const BYTES_A_SHINGLE: u64 = 14;
/// Bytes of a pair: as it was found, sorted, as a link.
const BYTES_A_PAIR: u64 = 72;

impl Texts {
    fn read(how: &Values, step: &StepSpec, on: &StepRun<'_>) -> Result<Self, JobError> {
        let schema = on.source.schema();
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        let mut projection = compared(step, &schema);
        projection.retain(|at| is_text(schema.field(*at).data_type()));
        if projection.is_empty() {
            return Err(data("no column of text is left to compare; name one with `fields`".to_owned()));
        }
        let n_columns = projection.len();
        let mut origin = OriginReading::new(step, &schema);
        projection.extend(origin.columns());
        let mut sets = TextSets::new(shingles(how));
        pass::blocks(&projection, step, on, |mut block, n_rows| {
            origin.put(&block.split_off(n_columns)).map_err(data)?;
            let whole = |pieces: Vec<ArrayRef>| {
                let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                concat(&pieces).and_then(|whole| cast(&whole, &DataType::LargeUtf8)).map_err(|error| data(error.to_string()))
            };
            let parts: Vec<ArrayRef> = block.into_iter().map(whole).collect::<Result<_, _>>()?;
            sets.push(n_rows, &|row, put| {
                for part in &parts {
                    let part = part.as_string::<i64>();
                    if part.is_valid(row) {
                        put(part.value(row));
                    }
                }
            });
            within_budget(&sets, step, on).map(|_| ())
        })?;
        if u32::try_from(sets.len()).is_err() {
            return Err(data(format!("{} rows, and texts are counted with 32 bits", count(sets.len() as u64))));
        }
        let origin = origin.finish(sets.len()).map_err(data)?;
        Ok(Self { sets, origin, n_columns })
    }
}

fn shingles(how: &Values) -> Shingles {
    let (unit, k) = match how.text(UNIT) {
        Some("byte") => (Unit::Byte, 24),
        _ => (Unit::Word, 3),
    };
    Shingles { unit, k: how.integer(K).and_then(|k| usize::try_from(k).ok()).unwrap_or(k) }
}

/// Returns the bytes that are left for pairs.
fn within_budget(sets: &TextSets, step: &StepSpec, on: &StepRun<'_>) -> Result<u64, JobError> {
    let needed_bytes = sets.len() as u64 * BYTES_A_TEXT + sets.n_shingles() * BYTES_A_SHINGLE;
    on.memory_bytes.checked_sub(needed_bytes).ok_or_else(|| JobError::Budget {
        what: format!("step `{}`: {} shingles of {} texts in memory", step.name.value, count(sets.n_shingles()), count(sets.len() as u64)),
        needed_bytes,
        budget_bytes: on.memory_bytes,
        help: "raise `memory`, or name fewer columns with `fields`".to_owned(),
    })
}

/// Runs a step that compares texts.
pub(super) fn run(kind: &dyn JobKind, how: &Values, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    let texts = Texts::read(how, step, on)?;
    let room = within_budget(&texts.sets, step, on)?;
    let options = TextOptions { threshold: how.number(THRESHOLD).unwrap_or(0.8), most_pairs: room / BYTES_A_PAIR };
    let source = crosses(step).then_some(&*texts.origin.source);
    let found = match near_texts(&texts.sets, source, &options, on.stopped) {
        Ok(found) => found,
        Err(NoTexts::Stopped) => return Err(JobError::Stopped(Exit::Interrupted)),
        Err(NoTexts::TooManyPairs) => {
            return Err(JobError::Budget {
                what: format!(
                    "step `{}`: more than {} pairs of texts with a similarity of {} or more in memory",
                    step.name.value,
                    count(options.most_pairs),
                    options.threshold
                ),
                needed_bytes: on.memory_bytes - room + (options.most_pairs + 1) * BYTES_A_PAIR,
                budget_bytes: on.memory_bytes,
                help: "raise `memory` or `threshold`".to_owned(),
            });
        }
    };
    let Texts { sets, origin, n_columns } = texts;
    drop(sets);
    let grouped =
        Grouped { step, on, origin: &origin, content: &found.set, entity: &found.group, n_entities: found.n_groups, numbers: None };
    let verdict = Verdict {
        method: "text",
        verdict: if found.pairs.is_empty() { "no_duplicates" } else { "resolved" },
        reason: reason(&found, options.threshold),
        n_candidates: Some(found.n_verified),
        n_unseen: Some(0),
        threshold: Some(options.threshold),
        expected_matches: Some(found.pairs.len() as f64),
        ..Verdict::default()
    };
    let pairs = FoundPairs::of(found.pairs.iter().map(|pair| (pair.a, pair.b, pair.jaccard)));
    let (tables, by_cause) = plain::tables(&grouped, &found.kept, pairs, verdict)?;
    let mut notes = notes(&grouped, &found, how);
    notes.extend(by_cause);
    Ok(StepOutcome { tables, n_rows: found.group.len() as u64, n_columns: n_columns as u64, notes, ..StepOutcome::on_cpu(kind) })
}

fn reason(found: &NearTexts, threshold: f64) -> String {
    match found.pairs.len() as u64 {
        0 => format!("no two texts have a similarity of {threshold} or more"),
        n => format!("{} of texts with a similarity of {threshold} or more", counted(n, "pair")),
    }
}

fn notes(grouped: &Grouped<'_>, found: &NearTexts, how: &Values) -> Vec<String> {
    let Shingles { unit, k } = shingles(how);
    let unit = match unit {
        Unit::Word => "word",
        Unit::Byte => "byte",
    };
    let threshold = how.number(THRESHOLD).unwrap_or(0.8);
    let mut notes = vec![
        format!("{}.", sentence(grouped.entity.len() as u64, grouped.n_entities as u64)),
        format!(
            "{} with a Jaccard similarity of {threshold} or more over shingles of {}: every one there is, none left to chance. No two texts kept are such a pair, and each of the others is one with the text kept for it.",
            counted(found.pairs.len() as u64, "pair"),
            counted(k as u64, unit)
        ),
    ];
    if found.n_empty > 0 {
        notes.push(format!("{} without a word: like no other.", counted(found.n_empty, "text")));
    }
    notes
}
