//! Pairs of records that a table names, by `id` or by row, with something said of each.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Schema, UInt64Type};
use arrow::error::ArrowError;
use gristmill_engine::dedupe::{MISSING, RecordColumn};

use crate::JobError;
use crate::kinds::StepRun;
use crate::pass;
use crate::spec::StepSpec;
use crate::terminal::count;

/// What the pairs are between.
pub(super) struct Nodes<'a> {
    /// The column that names records, where pairs go by it.
    pub(super) id: Option<&'a RecordColumn>,
    pub(super) n_rows: usize,
}

/// A table of pairs, and which of its columns says what.
pub(super) struct Given<'a> {
    /// The key that names it.
    key: &'static str,
    /// Columns of both records, and of what is said.
    columns: [usize; 3],
    /// Whether records are named by `id`, not by row.
    pub(super) is_by_id: bool,
    step: &'a StepSpec,
    on: &'a StepRun<'a>,
}

impl<'a> Given<'a> {
    /// Finds columns `a_id`, `b_id` or `a`, `b`, of the table that `key` names, and `value` where something is said of the pairs.
    pub(super) fn of(key: &'static str, value: Option<&str>, step: &'a StepSpec, on: &'a StepRun<'a>) -> Result<Self, JobError> {
        let found = ends(key, value, &on.other(key).schema(), step);
        let (is_by_id, columns) = found.map_err(|message| JobError::Data { step: step.name.value.clone(), message })?;
        Ok(Self { key, columns, is_by_id, step, on })
    }

    /// Hands the pairs over block by block: both records of each (by the code of their `id`, or by row), what is said of them, and how many
    /// pairs came before.
    pub(super) fn each(
        &self,
        nodes: &Nodes<'_>,
        mut take: impl FnMut(&[[u32; 2]], &ArrayRef, usize) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let Self { key, step, on, .. } = *self;
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        let codes: Option<HashMap<&str, u32>> =
            nodes.id.map(|column| column.texts.iter().enumerate().map(|(code, text)| (text, code as u32)).collect());
        let mut done = 0;
        pass::blocks_of(on.other(key), key, &self.columns, on, |block, n_rows| {
            let whole = |at: usize| {
                let pieces: Vec<&dyn Array> = block[at].iter().map(AsRef::as_ref).collect();
                concat(&pieces)
            };
            let to = if codes.is_some() { DataType::Utf8 } else { DataType::UInt64 };
            let ends = |at: usize| whole(at).and_then(|cells| cast(&cells, &to));
            let failed = |error: ArrowError| data(format!("`{key}`: {error}"));
            let (a, b, said) = (ends(0).map_err(failed)?, ends(1).map_err(failed)?, whole(2).map_err(failed)?);
            let place = |cells: &ArrayRef, row: usize| place(key, codes.as_ref(), nodes.n_rows, cells, row, done + row);
            let pair = |row: usize| Ok([place(&a, row)?, place(&b, row)?]);
            let pairs: Vec<[u32; 2]> = (0..n_rows).map(pair).collect::<Result<_, String>>().map_err(data)?;
            take(&pairs, &said, done)?;
            done += n_rows;
            Ok(())
        })
    }
}

/// Returns the record that a cell names.
fn place(
    key: &str,
    codes: Option<&HashMap<&str, u32>>,
    n_rows: usize,
    cells: &ArrayRef,
    row: usize,
    ordinal: usize,
) -> Result<u32, String> {
    if cells.is_null(row) {
        return Err(format!("row {ordinal} of `{key}` does not name two records"));
    }
    if let Some(codes) = codes {
        let name = cells.as_string::<i32>().value(row);
        // A text that a spreadsheet would run is written with a quote before it.
        let known = codes.get(name).or_else(|| codes.get(name.strip_prefix('\'')?));
        return known.copied().ok_or_else(|| format!("row {ordinal} of `{key}` names {name}, which no row has as its id"));
    }
    let at = cells.as_primitive::<UInt64Type>().value(row);
    let is_row = at < n_rows as u64;
    let missing = || format!("row {ordinal} of `{key}` names row {at}, but there are {} rows", count(n_rows as u64));
    u32::try_from(at).ok().filter(|_| is_row).ok_or_else(missing)
}

/// Returns whether records go by `id`, and the columns of both and of what is said.
fn ends(key: &str, value: Option<&str>, schema: &Schema, step: &StepSpec) -> Result<(bool, [usize; 3]), String> {
    let find = |name: &str| schema.index_of(name).ok();
    let names = || schema.fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ");
    let value = match value.map(|value| (value, find(value))) {
        Some((value, None)) => {
            return Err(format!("`{key}` has no column `{value}`; it has {}: `rename` of its source can name one so", names()));
        }
        Some((_, Some(at))) => Some(at),
        None => None,
    };
    match (find("a_id").zip(find("b_id")).filter(|_| step.id.is_some()), find("a").zip(find("b"))) {
        (Some((a, b)), _) => Ok((true, [a, b, value.unwrap_or(a)])),
        (None, Some((a, b))) => Ok((false, [a, b, value.unwrap_or(a)])),
        (None, None) => {
            let help = if step.id.is_some() { "" } else { "; `a_id` and `b_id` count where the step has an `id`" };
            Err(format!("`{key}` needs columns `a_id` and `b_id`, or `a` and `b`; it has {}{help}", names()))
        }
    }
}

/// Returns the row of every name, by its code.
pub(super) fn rows_by_name(key: &str, column: &RecordColumn) -> Result<Vec<u32>, String> {
    let mut row_of = vec![MISSING; column.texts.len()];
    for (row, code) in column.codes.iter().enumerate() {
        if *code == MISSING {
            return Err(format!("row {row} has no `{}`, and `{key}` names records by it", column.name));
        }
        let first = &mut row_of[*code as usize];
        if *first != MISSING {
            let name = &column.texts[*code as usize];
            return Err(format!("`{}` is {name} in row {first} and in row {row}, and `{key}` names records by it", column.name));
        }
        *first = row as u32;
    }
    Ok(row_of)
}
