//! The table that says of every row where it belongs: written by `cluster` and `score` alike.

use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder, UInt32Builder, UInt64Array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use gristmill_engine::cluster::Place;

use super::batch;
use crate::spec::{Problems, StepSpec};

/// Rows of a batch of assignments.
pub(super) const ROWS_AT_ONCE: usize = 65_536;

/// Names that the column of `id` cannot have: those of `assignments` and `exemplars`.
const IS_TAKEN: &[&str] = &["row", "segment", "distance", "margin", "membership", "outlier", "n_missing", "role"];

/// Refuses an `id` that has the name of a column of the tables it is carried into.
pub(super) fn check_id(step: &StepSpec, problems: &mut Problems) {
    let Some(id) = step.id.as_ref().filter(|id| IS_TAKEN.contains(&id.value.as_str())) else { return };
    let message = format!("`id` is column `{}`, which is the name of a column of the tables it is carried into", id.value);
    problems.add(id.span.clone(), message, "taken", "give it another name with `rename` of the source");
}

/// Refuses an `id` that has the name of the column that `levels` adds.
pub(super) fn check_id_of_levels(step: &StepSpec, problems: &mut Problems) {
    let Some(id) = step.id.as_ref().filter(|id| id.value == "path") else { return };
    let message = "`id` is column `path`, which is the name of a column that `levels` adds to `assignments`";
    problems.add(id.span.clone(), message, "taken", "give it another name with `rename` of the source");
}

/// Returns some rows, with the cells of the column that names them, and with paths where segments have levels; rows without a place have none
/// of the numbers.
pub(super) fn assignments(
    rows: Range<usize>,
    places: &mut Peekable<impl Iterator<Item = Place>>,
    has_path: bool,
    id: Option<(&Field, ArrayRef)>,
) -> RecordBatch {
    let whole = || UInt32Builder::with_capacity(rows.len());
    let (mut segments, mut missing) = (whole(), whole());
    let numbers = || Float64Builder::with_capacity(rows.len());
    let (mut distances, mut margins, mut memberships, mut outliers) = (numbers(), numbers(), numbers(), numbers());
    let mut paths = StringBuilder::new();
    for row in rows.clone() {
        let place = places.next_if(|place| place.row == row);
        segments.append_option(place.and_then(|place| place.segment).map(|segment| segment + 1));
        distances.append_option(place.and_then(|place| place.distance));
        margins.append_option(place.and_then(|place| place.margin));
        memberships.append_option(place.and_then(|place| place.membership));
        outliers.append_option(place.and_then(|place| place.outlier));
        missing.append_option(place.map(|place| place.n_missing));
        if has_path {
            paths.append_option(place.and_then(|place| place.segment.map(|segment| place.finer.path(segment))));
        }
    }
    let mut columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("row", DataType::UInt64, false), Arc::new(rows.map(|row| row as u64).collect::<UInt64Array>())),
        (Field::new("segment", DataType::UInt32, true), Arc::new(segments.finish())),
        (Field::new("distance", DataType::Float64, true), Arc::new(distances.finish())),
        (Field::new("margin", DataType::Float64, true), Arc::new(margins.finish())),
        (Field::new("membership", DataType::Float64, true), Arc::new(memberships.finish())),
        (Field::new("outlier", DataType::Float64, true), Arc::new(outliers.finish())),
        (Field::new("n_missing", DataType::UInt32, true), Arc::new(missing.finish())),
    ];
    if has_path {
        columns.push((Field::new("path", DataType::Utf8, true), Arc::new(paths.finish())));
    }
    columns.extend(id.map(|(field, cells)| (field.clone(), cells)));
    batch(columns)
}

/// Returns the columns of the table.
pub(super) fn schema(id: Option<&Field>, has_path: bool) -> SchemaRef {
    let id = id.map(|field| (field, arrow::array::new_empty_array(field.data_type())));
    assignments(0..0, &mut std::iter::empty().peekable(), has_path, id).schema()
}
