//! Segments that fall into parts: what does not go with them, the table `splits`, and what a person should know.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::cluster::{Clustering, Ended, Method, Split};
use gristmill_engine::columns;

use super::method;
use crate::kinds::{assignments, batch};
use crate::spec::{Problems, StepSpec};
use crate::terminal::count;

/// Says whether segments are to be split further.
pub(super) fn is_asked(step: &StepSpec) -> bool {
    step.integer("levels").is_some_and(|levels| levels > 1)
}

/// Adds what does not go with `levels`.
pub(super) fn check(step: &StepSpec, input: &Schema, problems: &mut Problems) {
    if !is_asked(step) {
        return;
    }
    let mut refuse = |message: String, label: &str, help: &str| problems.add(step.span("levels"), message, label, help);
    if matches!(method(step), Method::Dbscan(_)) {
        let message = "`levels` means nothing to `method = \"dbscan\"`: at the same density a segment stays whole";
        refuse(message.to_owned(), "no use here", "remove it, or ask for `hdbscan`");
    }
    if step.integer("bootstrap") == Some(0) {
        let message = "`levels` needs a `bootstrap`: a segment is split where its parts come back";
        refuse(message.to_owned(), "nothing to judge by", "remove `bootstrap = 0`, or `levels`");
    }
    let is_text = |name: &str| input.column_with_name(name).is_some_and(|(_, field)| columns::is_text(field.data_type()));
    if let Some(column) = step.columns.iter().find(|column| is_text(&column.value)) {
        let message = format!("column `{}` is text: whether a segment falls into parts is found out of numbers alone", column.value);
        refuse(message, "not with texts", "remove it, or the column");
    }
    assignments::check_id_of_levels(step, problems);
}

/// Returns the table of segments of all levels.
#[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
pub(super) fn table(found: &Clustering) -> RecordBatch {
    let all = &found.splits;
    let n_rows: u64 = found.segments.iter().map(|segment| segment.n).sum();
    let number = |of: &dyn Fn(&Split) -> Option<f64>| -> ArrayRef { Arc::new(all.iter().map(of).collect::<Float64Array>()) };
    let small = |n: usize| u32::try_from(n).expect("parts are counted in u32");
    let parts = |split: &Split| split.decided.and_then(|decided| decided.k).map(small);
    let criteria: StringArray = all.iter().map(|split| split.decided.map(|decided| decided.criterion)).collect();
    batch(vec![
        (Field::new("path", DataType::Utf8, false), Arc::new(StringArray::from_iter_values(all.iter().map(Split::path)))),
        (Field::new("parent", DataType::Utf8, true), Arc::new(all.iter().map(Split::parent).collect::<StringArray>())),
        (
            Field::new("level", DataType::UInt32, false),
            Arc::new(UInt32Array::from_iter_values(all.iter().map(|split| small(split.level())))),
        ),
        (Field::new("n", DataType::UInt64, false), Arc::new(UInt64Array::from_iter_values(all.iter().map(|split| split.n)))),
        (Field::new("share", DataType::Float64, false), number(&|split| Some(split.n as f64 / n_rows as f64))),
        (Field::new("stability", DataType::Float64, true), number(&|split| split.stability)),
        (Field::new("trust", DataType::Utf8, false), Arc::new(StringArray::from_iter_values(all.iter().map(|split| split.trust.word())))),
        (
            Field::new("ended", DataType::Utf8, true),
            Arc::new(all.iter().map(|split| split.ended.map(Ended::words)).collect::<StringArray>()),
        ),
        (Field::new("k", DataType::UInt32, true), Arc::new(all.iter().map(parts).collect::<UInt32Array>())),
        (Field::new("criterion", DataType::Utf8, true), Arc::new(criteria)),
        (Field::new("value", DataType::Float64, true), number(&|split| split.decided.map(|decided| decided.value))),
    ])
}

/// Says which segments were split and why the others were not; none where there are no segments, or one level of them.
pub(super) fn note(found: &Clustering) -> Option<String> {
    if found.splits.is_empty() {
        return None;
    }
    let parents: Vec<String> = found.splits.iter().filter(|split| split.ended.is_none()).map(Split::path).collect();
    let n_parts = |parent: &String| found.splits.iter().filter(|split| split.parent().as_ref() == Some(parent)).count();
    let into = |parent: &String| format!("{parent} into {}", n_parts(parent));
    let mut words = match parents.len() {
        0 => "no segment is split further".to_owned(),
        n => {
            let told = parents.iter().take(MOST_TOLD).map(into).collect::<Vec<String>>().join(", ");
            let more = if n > MOST_TOLD { ", ..." } else { "" };
            format!("{n} {} split further ({told}{more})", if n == 1 { "segment is" } else { "segments are" })
        }
    };
    let reasons = [
        (Ended::DeepEnough, "on the last of `levels`"),
        (Ended::NoStructure, "without structure"),
        (Ended::Tiny, "too small, or with a part that is"),
        (Ended::Unstable, "with a part that does not come back"),
        (Ended::Refused, "refused"),
    ];
    let n_of = |reason: Ended| found.splits.iter().filter(|split| split.ended == Some(reason)).count() as u64;
    let why: Vec<String> =
        reasons.iter().filter(|(reason, _)| n_of(*reason) > 0).map(|(reason, words)| format!("{} {words}", count(n_of(*reason)))).collect();
    words.push_str(&format!("; not split: {} (table `splits`)", why.join(", ")));
    if found.n_drawn < found.n_rows - found.n_incomplete {
        words.push_str(&format!("; parts are those of {} rows drawn at random, and other rows go with the nearest", count(found.n_drawn)));
    }
    Some(words)
}

/// Segments whose parts a note counts.
const MOST_TOLD: usize = 5;
