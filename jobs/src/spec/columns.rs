//! Columns that a step names, against the schema of what it reads.

use arrow::datatypes::Schema;

use crate::kinds::Takes;

use super::StepSpec;
use super::fields::short;
use super::keys;
use super::nearest::{listed, nearest};
use super::problems::{Problems, Spanned};
use super::tree::quoted;

/// Adds a problem for each column that a step names and `schema` has not; `input` is the table's name.
///
/// `elsewhere` says which other source has a column of this name.
pub fn check_columns(step: &StepSpec, input: &str, schema: &Schema, elsewhere: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
    for key in step.kind.keys() {
        match key.takes {
            Takes::Column => {
                if let Some(column) = step.values.spanned_text(key.name) {
                    check_column(&column, input, schema, elsewhere, problems);
                }
            }
            Takes::ColumnList => {
                for column in step.values.list(key.name) {
                    check_column(column, input, schema, elsewhere, problems);
                }
            }
            Takes::ColumnChoices(_) => {
                for (column, _) in step.values.choices(key.name) {
                    check_column(column, input, schema, elsewhere, problems);
                }
            }
            _ => {}
        }
    }
}

fn check_column(
    column: &Spanned<String>,
    input: &str,
    schema: &Schema,
    elsewhere: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) {
    if schema.column_with_name(&column.value).is_some() {
        return;
    }
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let message = format!("column `{}` is not in `{input}`", short(&column.value));
    problems.add(column.span.clone(), message, "no such column", mend(&column.value, &names, elsewhere));
}

fn mend(column: &str, names: &[&str], elsewhere: &dyn Fn(&str) -> Option<String>) -> String {
    if let Some(name) = nearest(column, names.iter().copied()) {
        return format!("did you mean `{name}`? columns: {}", listed(names));
    }
    // One column with separators in its name: the file was cut at the wrong letter.
    if let [only] = names
        && only.contains([',', ';', '\t', '|'])
    {
        return format!("the file has one column, {}: is its `delimiter` right?", quoted(&short(only)));
    }
    if !names.is_empty() && names.iter().all(|name| name.starts_with("column_")) {
        return format!("the file was read without a line of names, see `header`; columns: {}", listed(names));
    }
    let parts: Vec<&str> = column.split([',', ';']).map(str::trim).collect();
    if parts.len() > 1 && parts.iter().all(|part| names.contains(part)) {
        let parts: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
        return format!("write a list: [{}]", parts.join(", "));
    }
    match elsewhere(column) {
        Some(source) => format!("it is a column of `{source}`; columns here: {}", listed(names)),
        None => format!("columns: {}", listed(names)),
    }
}

/// Adds a problem for each column that is asked for and left out at once.
pub(crate) fn check_exclude(step: &StepSpec, problems: &mut Problems) {
    for column in &step.exclude {
        if step.columns.iter().any(|used| used.value == column.value) {
            let message = format!("`{}` stands in `{}` and in `exclude`", short(&column.value), keys::COLUMNS.name);
            problems.add(column.span.clone(), message, "asked for above", "remove it from one of the two");
        }
    }
}
