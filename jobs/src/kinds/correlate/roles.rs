//! What columns with a part of their own say of the rows: strata, controls, groups, weights, entities, time.

use std::collections::HashMap;

use arrow::datatypes::Schema;
use gristmill_engine::columns::{self, Table, TableColumn};
use gristmill_engine::correlate::{AssociateOptions, Roles};

use super::asked::Asked;
use crate::JobError;
use crate::kinds::StepRun;
use crate::spec::StepSpec;

/// Most groups of `group_by`: more of them name rows rather than groups.
const MOST_GROUPS: usize = 1000;

/// The parts over the rows that are used, and what to say of them.
pub(super) struct Parts {
    pub(super) roles: Roles,
    /// How the groups are called and selected, in the order of their positions.
    pub(super) groups: Vec<GroupWords>,
    pub(super) notes: Vec<String>,
}

/// A group in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupWords {
    /// Its value, as it stands in tables.
    pub(super) name: String,
    /// `region = EU`.
    pub(super) words: String,
    /// SQL that selects its rows.
    pub(super) filter: String,
}

/// The columns behind the parts.
struct Columns {
    within: Vec<TableColumn>,
    controls: Vec<TableColumn>,
    group_by: Vec<TableColumn>,
    weights: Option<TableColumn>,
    cluster_by: Option<TableColumn>,
    time: Option<TableColumn>,
}

impl Columns {
    /// Tells apart columns that were read in the order of [`Asked::read`].
    fn of(mut parts: Vec<TableColumn>, asked: &Asked) -> Self {
        let time = asked.time.and_then(|_| parts.pop());
        let cluster_by = asked.cluster_by.and_then(|_| parts.pop());
        let weights = asked.weights.and_then(|_| parts.pop());
        let group_by = parts.split_off(parts.len().saturating_sub(asked.group_by.len()));
        let controls = parts.split_off(asked.within.len().min(parts.len()));
        Self { within: parts, controls, group_by, weights, cluster_by, time }
    }

    fn keep(&mut self, rows: &[usize]) {
        let columns = self.within.iter_mut().chain(&mut self.controls).chain(&mut self.group_by);
        let columns = columns.chain(&mut self.weights).chain(&mut self.cluster_by).chain(&mut self.time);
        columns.for_each(|column| *column = column.rows(rows));
    }
}

impl Parts {
    /// Reads the parts, and keeps the rows of the table that miss no control and have a weight.
    pub(super) fn new(
        parts: Vec<TableColumn>,
        asked: &Asked,
        table: &mut Table,
        step: &StepSpec,
        schema: &Schema,
    ) -> Result<Self, JobError> {
        let mut columns = Columns::of(parts, asked);
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        if let Some(weights) = columns.weights.as_ref().and_then(|column| column.numbers().zip(Some(&column.name)))
            && let Some(row) = weights.0.iter().position(|w| *w < 0.0)
        {
            return Err(data(format!(
                "`weights`: column `{}` is {} in row {row}, and a weight cannot be negative",
                weights.1, weights.0[row]
            )));
        }
        let has_weight = |row: usize| columns.weights.as_ref().and_then(TableColumn::numbers).is_none_or(|weights| weights[row] > 0.0);
        let is_whole = |row: &usize| columns.controls.iter().all(|control| !control.is_missing(*row)) && has_weight(*row);
        let rows: Vec<usize> = (0..table.n_rows).filter(is_whole).collect();
        let n_without = table.n_rows - rows.len();
        if n_without > 0 {
            table.columns.iter_mut().for_each(|column| *column = column.rows(&rows));
            table.n_rows = rows.len();
            columns.keep(&rows);
        }
        let n_rows = table.n_rows;
        let time = columns.time.as_ref().and_then(TableColumn::numbers);
        let share = step.number("confirm").unwrap_or(0.0);
        let (groups, of_row) = groups(&columns.group_by, n_rows, schema).map_err(data)?;
        let names = groups.iter().map(|group| group.name.clone()).collect();
        let roles = Roles {
            strata: (!columns.within.is_empty()).then(|| strata(&columns.within, n_rows)),
            entities: columns.cluster_by.as_ref().map(|column| entities(column, n_rows)),
            time: time.map(<[f64]>::to_vec),
            controls: columns.controls.iter().flat_map(TableColumn::design).collect(),
            weights: columns.weights.as_ref().and_then(TableColumn::numbers).map(<[f64]>::to_vec),
            later: time.filter(|_| share > 0.0).map(|time| later(time, share)),
            groups: (!columns.group_by.is_empty()).then_some((of_row, names)),
            lags: step.integers("lags").to_vec(),
        };
        let notes = notes(asked, schema, &roles, n_without);
        Ok(Self { roles, groups, notes })
    }

    /// Returns what the engine is asked for.
    pub(super) fn options(asked: &Asked, step: &StepSpec, on: &StepRun<'_>, table: &Table) -> AssociateOptions {
        let position = |name: &str| table.columns.iter().position(|column| column.name == name);
        AssociateOptions {
            bootstrap: step.integer("bootstrap").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            leak: step.number("leak").unwrap_or(AssociateOptions::LEAK),
            known_after: step.list("known_after").iter().filter_map(|known| position(&known.value)).collect(),
            seed: on.seed,
            ..AssociateOptions::of(super::asked::options(step, (on.alpha, on.memory_bytes), asked.n_targets), asked.method)
        }
    }
}

/// Says what was done with the rows.
fn notes(asked: &Asked, schema: &Schema, roles: &Roles, n_without: usize) -> Vec<String> {
    let name = |at: usize| schema.field(at).name().as_str();
    let names = |columns: &[usize]| columns.iter().map(|&at| name(at)).collect::<Vec<_>>().join(" x ");
    let mut notes = Vec::new();
    let without = match n_without {
        0 => String::new(),
        n => format!("; {n} rows without {} are left out", if asked.controls.is_empty() { "a weight above 0" } else { "one of them" }),
    };
    if !asked.controls.is_empty() {
        let names: Vec<&str> = asked.controls.iter().map(|&at| name(at)).collect();
        notes.push(format!("held fixed: {}{without}", names.join(", ")));
    } else if let Some(at) = asked.weights {
        notes.push(format!(
            "rows weigh as much as {} says, and effective_n is the rows of equal weight that would say as much{without}",
            name(at)
        ));
    }
    if !asked.within.is_empty() {
        notes.push(format!("rows changed places within {} alone", names(&asked.within)));
    }
    if let Some((of_row, names_of)) = &roles.groups {
        let outside = of_row.iter().filter(|group| **group as usize >= names_of.len()).count();
        let outside = if outside > 0 { format!("; {outside} rows have no group and count among all rows alone") } else { String::new() };
        notes.push(format!(
            "pairs are related over all rows and within the {} groups of {}, as one family{outside}",
            names_of.len(),
            names(&asked.group_by)
        ));
    }
    if !roles.lags.is_empty() {
        let lags: Vec<String> = roles.lags.iter().map(i64::to_string).collect();
        let unordered = roles.time.as_ref().map_or(0, |time| time.iter().filter(|time| !time.is_finite()).count());
        let unordered = if unordered > 0 { format!("; {unordered} rows without a time are left out") } else { String::new() };
        notes.push(format!(
            "lags {}: rows by which x lies after y, in order of {}{unordered}",
            lags.join(", "),
            asked.time.map_or("rows", name)
        ));
    }
    if let Some(time) = asked.time.filter(|_| asked.cluster_by.is_none()) {
        notes.push(format!("rows were shifted in a circle along {}, so that what lies side by side stays so", name(time)));
    }
    notes
}

/// Returns the groups in order of first appearance, and the group of every row; a row that misses a value has none.
fn groups(by: &[TableColumn], n_rows: usize, schema: &Schema) -> Result<(Vec<GroupWords>, Vec<u32>), String> {
    let mut known: HashMap<Vec<u64>, u32> = HashMap::new();
    let mut groups = Vec::new();
    let mut of_row = vec![u32::MAX; if by.is_empty() { 0 } else { n_rows }];
    for (row, group) in of_row.iter_mut().enumerate() {
        if by.iter().any(|column| column.is_missing(row)) {
            continue;
        }
        let key: Vec<u64> = by.iter().map(|column| column.key(row)).collect();
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX - 1);
        *group = *known.entry(key).or_insert(next);
        if *group as usize == groups.len() {
            groups.push(group_words(by, row, schema));
        }
        if groups.len() > MOST_GROUPS {
            let names: Vec<&str> = by.iter().map(|column| column.name.as_str()).collect();
            return Err(format!(
                "`group_by`: {} makes more than {MOST_GROUPS} groups within the first {} rows; group by a coarser column",
                names.join(" x "),
                row + 1
            ));
        }
    }
    Ok((groups, of_row))
}

fn group_words(by: &[TableColumn], row: usize, schema: &Schema) -> GroupWords {
    let (mut names, mut words, mut filters) = (Vec::new(), Vec::new(), Vec::new());
    for column in by {
        let is_flag = schema.field_with_name(&column.name).is_ok_and(|field| field.data_type() == &arrow::datatypes::DataType::Boolean);
        let (value, literal) = match (column.levels(), column.numbers()) {
            (Some(levels), _) => {
                let text = levels.name_of(row).unwrap_or_default();
                (text.to_owned(), format!("'{}'", text.replace('\'', "''")))
            }
            (_, Some(numbers)) if is_flag => {
                let text = if numbers[row] == 0.0 { "false" } else { "true" };
                (text.to_owned(), text.to_owned())
            }
            (_, numbers) => {
                let text = numbers.map_or_else(String::new, |numbers| numbers[row].to_string());
                (text.clone(), text)
            }
        };
        words.push(format!("{} = {value}", column.name));
        filters.push(format!("\"{}\" = {literal}", column.name.replace('"', "\"\"")));
        names.push(value);
    }
    GroupWords { name: names.join(" | "), words: words.join(" and "), filter: filters.join(" and ") }
}

/// Returns the stratum of every row: rows with the same values in all columns share one.
fn strata(columns: &[TableColumn], n_rows: usize) -> Vec<u32> {
    let mut known = HashMap::new();
    let key = |row: usize| -> Vec<u64> { columns.iter().map(|column| column.key(row)).collect() };
    (0..n_rows)
        .map(|row| {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            *known.entry(key(row)).or_insert(next)
        })
        .collect()
}

/// Returns the entity of every row; a row without one is an entity of its own.
fn entities(column: &TableColumn, n_rows: usize) -> Vec<u32> {
    let mut entities = strata(std::slice::from_ref(column), n_rows);
    let mut next = entities.iter().max().map_or(0, |last| last.saturating_add(1));
    for (_, entity) in entities.iter_mut().enumerate().filter(|(row, _)| column.is_missing(*row)) {
        *entity = next;
        next = next.saturating_add(1);
    }
    entities
}

/// Returns which rows belong to the latest share of all that have a time; equal times are on one side.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the rows")]
fn later(time: &[f64], share: f64) -> Vec<bool> {
    let mut known: Vec<f64> = time.iter().copied().filter(|time| time.is_finite()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let cut = known.get((known.len() as f64 * (1.0 - share)) as usize).copied().unwrap_or(f64::INFINITY);
    time.iter().map(|time| *time >= cut).collect()
}

/// Returns whether columns of a type can make groups.
pub(super) fn groups_by(data_type: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType;
    let is_time =
        matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_));
    !is_time && (columns::unit(data_type).is_some() || columns::is_text(data_type))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};
    use gristmill_engine::columns::TableBuilder;
    use std::sync::Arc;

    fn table(n: i64) -> (Table, Schema) {
        let named = vec![("region".to_owned(), DataType::Utf8), ("size".to_owned(), DataType::Int64)];
        let builder = TableBuilder::new(&named, 1 << 20).unwrap();
        let regions =
            StringArray::from_iter((0..n).map(|row| if row == 2 { None } else { Some(["it's", "b"][usize::from(row % 2 == 1)]) }));
        builder.put(0, &(Arc::new(regions) as ArrayRef)).unwrap();
        builder.put(1, &(Arc::new(Int64Array::from_iter_values((0..n).map(|row| row / 4))) as ArrayRef)).unwrap();
        let fields: Vec<Field> = named.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        (builder.finish().unwrap().0, Schema::new(fields))
    }

    #[test]
    fn groups_are_named_and_selected_by_their_values() {
        let (table, schema) = table(8);
        let (groups, of_row) = groups(&table.columns, 8, &schema).unwrap();
        assert_eq!(of_row, [0, 1, u32::MAX, 1, 2, 3, 2, 3]);
        assert_eq!(groups[0].name, "it's | 0");
        assert_eq!(groups[0].words, "region = it's and size = 0");
        assert_eq!(groups[3].filter, "\"region\" = 'b' and \"size\" = 1");
        assert_eq!(groups[0].filter, "\"region\" = 'it''s' and \"size\" = 0");
    }

    #[test]
    fn more_groups_than_anyone_reads_are_refused() {
        let (table, schema) = table(10_000);
        let error = groups(&table.columns[1..], 10_000, &schema).unwrap_err();
        assert!(error.contains("size makes more than 1000 groups within the first 4001 rows"), "{error}");
    }
}
