//! Entities that keep their numbers from an earlier run, and what became of the others.
//!
//! An entity takes the number of the earlier one with which it shares the most records (of as many, the lower number), and each number is
//! taken once, by whoever shares the most. Entities without one get numbers that no entity of the earlier run had.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, UInt64Type};
use arrow::error::ArrowError;
use gristmill_engine::dedupe::{ColumnBuilder, MISSING, RecordColumn};

use super::BASELINE;
use super::grouped::{Grouped, Members};
use crate::JobError;
use crate::kinds::{Table, batch};
use crate::pass;
use crate::spec::{Problems, StepSpec, did_you_mean};
use crate::terminal::count;

/// Adds what `baseline` lacks.
pub(super) fn check(step: &StepSpec, problems: &mut Problems) {
    if step.is_written(BASELINE) && step.id.is_none() {
        let help = "add `id = \"COLUMN\"`: which record is which in both runs?";
        problems.add(step.span(BASELINE), "`baseline` needs `id`", "`id` is missing", help);
    }
}

/// Numbers of the entities, and the log of what changed.
pub(super) struct Numbers {
    /// Number of every entity; none where they count from 0.
    pub(super) of_entity: Option<Vec<u64>>,
    changes: Vec<Change>,
}

/// What became of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// It ended, and records of it are of another entity now.
    Merged,
    /// It is still there, and records of it are of another entity now.
    Split,
    /// It has records that were not there.
    Grown,
    /// Records of it are not there any more.
    Shrunk,
    /// None of its records was there.
    New,
    /// None of its records is there any more.
    Gone,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Split => "split",
            Self::Grown => "grown",
            Self::Shrunk => "shrunk",
            Self::New => "new",
            Self::Gone => "gone",
        }
    }
}

/// A line of the log; ordered as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    what: What,
    /// The entity that it happened to.
    entity: u64,
    /// The entity that its records are of now.
    into: Option<u64>,
    n_records: u64,
}

/// The entities of the earlier run.
struct Earlier {
    names: RecordColumn,
    /// Entity of every name, by code.
    entity: Vec<u64>,
}

impl Earlier {
    fn read(grouped: &Grouped<'_>, id: &str) -> Result<Self, JobError> {
        let on = grouped.on;
        let schema = on.other(BASELINE).schema();
        let at = |name: &str| {
            schema.index_of(name).map_err(|_| {
                let help = did_you_mean(name, "columns", schema.fields().iter().map(|field| field.name().as_str()));
                grouped.data(&format!("`{BASELINE}` has no column `{name}`; {help}"))
            })
        };
        let columns = [at(id)?, at("entity_id")?];
        let failed = |error: ArrowError| grouped.data(&format!("`{BASELINE}`: {error}"));
        let (mut names, mut entities) = (ColumnBuilder::default(), Vec::new());
        pass::blocks_of(on.other(BASELINE), BASELINE, &columns, on, |block, n_rows| {
            let whole = |at: usize, to: &DataType| {
                let pieces: Vec<&dyn Array> = block[at].iter().map(AsRef::as_ref).collect();
                concat(&pieces).and_then(|whole| cast(&whole, to)).map_err(failed)
            };
            let (of, numbers) = (whole(0, &DataType::Utf8)?, whole(1, &DataType::UInt64)?);
            for row in 0..n_rows {
                if of.is_null(row) || numbers.is_null(row) {
                    let row = entities.len();
                    return Err(grouped.data(&format!("row {row} of `{BASELINE}` has no `{id}`, or no `entity_id` that is a whole number")));
                }
                names.push(Some(of.as_string::<i32>().value(row))).map_err(|error| grouped.data(&error.to_string()))?;
                entities.push(numbers.as_primitive::<UInt64Type>().value(row));
            }
            within_budget(names.bytes() as u64 + 8 * entities.len() as u64, grouped)
        })?;
        let names = names.finish_exact(id);
        let mut entity = vec![0; names.texts.len()];
        for (code, number) in names.codes.iter().zip(entities) {
            if names.counts[*code as usize] > 1 {
                let name = &names.texts[*code as usize];
                return Err(grouped
                    .data(&format!("`{BASELINE}` has {} rows whose `{id}` is {name}, and must have one", names.counts[*code as usize])));
            }
            entity[*code as usize] = number;
        }
        Ok(Self { names, entity })
    }
}

fn within_budget(held: u64, grouped: &Grouped<'_>) -> Result<(), JobError> {
    // Names as they are read and in order, the overlaps, and the records' own names.
    let needed_bytes = 2 * held + grouped.entity.len() as u64 * 48;
    if needed_bytes <= grouped.on.memory_bytes {
        return Ok(());
    }
    Err(JobError::Budget {
        what: format!("step `{}`: the records of `{BASELINE}` and their entities in memory", grouped.step.name.value),
        needed_bytes,
        budget_bytes: grouped.on.memory_bytes,
        help: "raise `memory`".to_owned(),
    })
}

impl Numbers {
    /// Numbers entities as the earlier run did; from 0 where the step names none.
    pub(super) fn of(grouped: &Grouped<'_>, members: &Members, id: Option<&(Field, ArrayRef)>) -> Result<Self, JobError> {
        let Some((field, cells)) = id.filter(|_| grouped.step.is_written(BASELINE)) else {
            return Ok(Self { of_entity: None, changes: Vec::new() });
        };
        let earlier = Earlier::read(grouped, field.name())?;
        let names = cast(cells, &DataType::Utf8).map_err(|error| grouped.data(&error.to_string()))?;
        let mut is_there = vec![false; earlier.entity.len()];
        let mut before = vec![MISSING; grouped.entity.len()];
        for (row, name) in names.as_string::<i32>().iter().enumerate() {
            let Some(code) = name.and_then(|name| earlier.names.texts.find(name)) else { continue };
            if std::mem::replace(&mut is_there[code], true) {
                let name = name.unwrap_or_default();
                return Err(grouped.data(&format!("`{}` is {name} in two rows, and `{BASELINE}` knows records by it", field.name())));
            }
            before[row] = code as u32;
        }
        let of_row = |row: usize| (before[row] != MISSING).then(|| earlier.entity[before[row] as usize]);
        let left: Vec<u64> = earlier.entity.iter().zip(&is_there).filter(|(_, there)| !**there).map(|(entity, _)| *entity).collect();
        let most = earlier.entity.iter().max().map_or(0, |most| most + 1);
        Ok(numbered(grouped.entity, members.len(), &of_row, &left, most))
    }

    /// Returns the log as a table.
    pub(super) fn table(&self) -> Table {
        let changes = &self.changes;
        let whole = |name: &str, is_optional: bool, of: &dyn Fn(&Change) -> Option<u64>| -> (Field, ArrayRef) {
            (Field::new(name, DataType::UInt64, is_optional), Arc::new(changes.iter().map(of).collect::<UInt64Array>()))
        };
        let words: StringArray = changes.iter().map(|change| Some(change.what.word())).collect();
        let table: RecordBatch = batch(vec![
            (Field::new("event", DataType::Utf8, false), Arc::new(words)),
            whole("entity_id", false, &|change| Some(change.entity)),
            whole("into", true, &|change| change.into),
            whole("n_records", false, &|change| Some(change.n_records)),
        ]);
        Table::one("changes", table)
    }

    /// Says in a sentence what changed; none where there was no earlier run.
    pub(super) fn said(&self) -> Option<String> {
        self.of_entity.as_ref()?;
        let n = |what: What| {
            let mut of: Vec<u64> = self.changes.iter().filter(|change| change.what == what).map(|change| change.entity).collect();
            of.sort_unstable();
            of.dedup();
            of.len() as u64
        };
        let all = [What::New, What::Grown, What::Merged, What::Split, What::Shrunk, What::Gone];
        let parts: Vec<String> =
            all.into_iter().filter(|what| n(*what) > 0).map(|what| format!("{} {}", count(n(what)), what.word())).collect();
        Some(if parts.is_empty() {
            "Every entity is as it was.".to_owned()
        } else {
            format!("Entities since `baseline`: {}.", parts.join(", "))
        })
    }
}

/// Gives every entity a number: `before` is the earlier entity of a row, `left` the earlier entities of records that are not there any more,
/// `next` the first number that none had.
fn numbered(entity: &[u32], n_entities: usize, before: &dyn Fn(usize) -> Option<u64>, left: &[u64], next: u64) -> Numbers {
    let mut shared: Vec<(u64, u32)> = (0..entity.len()).filter_map(|row| Some((before(row)?, entity[row]))).collect();
    shared.sort_unstable();
    let mut overlaps: Vec<(u64, u64, u32)> =
        shared.chunk_by(|one, other| one == other).map(|same| (same.len() as u64, same[0].0, same[0].1)).collect();
    drop(shared);
    overlaps.sort_unstable_by_key(|(n, earlier, entity)| (std::cmp::Reverse(*n), *earlier, *entity));
    let mut number: Vec<Option<u64>> = vec![None; n_entities];
    let mut taken: std::collections::BTreeMap<u64, u32> = std::collections::BTreeMap::new();
    for (_, earlier, entity) in &overlaps {
        if number[*entity as usize].is_none() && !taken.contains_key(earlier) {
            number[*entity as usize] = Some(*earlier);
            taken.insert(*earlier, *entity);
        }
    }
    let mut next = next;
    let of_entity: Vec<u64> = number
        .iter()
        .map(|number| {
            number.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let mut changes: Vec<Change> = Vec::new();
    let mut n_before = vec![0_u64; n_entities];
    for (n, earlier, entity) in &overlaps {
        n_before[*entity as usize] += n;
        let into = of_entity[*entity as usize];
        if into != *earlier {
            let what = if taken.contains_key(earlier) { What::Split } else { What::Merged };
            changes.push(Change { what, entity: *earlier, into: Some(into), n_records: *n });
        }
    }
    let mut sizes = vec![0_u64; n_entities];
    for entity in entity {
        sizes[*entity as usize] += 1;
    }
    for (at, (size, known)) in sizes.iter().zip(&n_before).enumerate().filter(|(_, (size, known))| size > known) {
        let what = if *known == 0 { What::New } else { What::Grown };
        changes.push(Change { what, entity: of_entity[at], into: None, n_records: size - known });
    }
    let mut left = left.to_vec();
    left.sort_unstable();
    let mut survivors: Vec<u64> = overlaps.iter().map(|(_, earlier, _)| *earlier).collect();
    survivors.sort_unstable();
    for same in left.chunk_by(|one, other| one == other) {
        let what = if survivors.binary_search(&same[0]).is_ok() { What::Shrunk } else { What::Gone };
        changes.push(Change { what, entity: same[0], into: None, n_records: same.len() as u64 });
    }
    changes.sort_unstable();
    Numbers { of_entity: Some(of_entity), changes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: &Numbers) -> Vec<(&'static str, u64, Option<u64>, u64)> {
        numbers.changes.iter().map(|change| (change.what.word(), change.entity, change.into, change.n_records)).collect()
    }

    #[test]
    fn the_larger_part_keeps_the_number() {
        // Earlier: 7 = rows 0 1 2, 4 = rows 3 4, 9 = row 5 and one that is gone, 2 is gone. Row 6 and 7 are new.
        let before = [Some(7), Some(7), Some(7), Some(4), Some(4), Some(9), None, None];
        // Now 7 lost row 2 to 4, which ended in it too; 9 grew; row 7 is new.
        let entity = [0, 0, 1, 1, 1, 2, 2, 3];
        let numbers = numbered(&entity, 4, &|row| before[row], &[9, 2], 10);
        assert_eq!(numbers.of_entity, Some(vec![7, 4, 9, 10]));
        assert_eq!(
            told(&numbers),
            [("split", 7, Some(4), 1), ("grown", 9, None, 1), ("shrunk", 9, None, 1), ("new", 10, None, 1), ("gone", 2, None, 1)]
        );
        assert_eq!(numbers.said().as_deref(), Some("Entities since `baseline`: 1 new, 1 grown, 1 split, 1 shrunk, 1 gone."));
    }

    #[test]
    fn an_entity_that_ends_in_another_is_merged() {
        let before = [Some(0), Some(0), Some(1)];
        let numbers = numbered(&[0, 0, 0], 1, &|row| before[row], &[], 2);
        assert_eq!((numbers.of_entity.clone(), told(&numbers)), (Some(vec![0]), vec![("merged", 1, Some(0), 1)]));
        let same = numbered(&[0, 0, 1], 2, &|row| before[row], &[], 2);
        assert_eq!((same.of_entity.clone(), told(&same)), (Some(vec![0, 1]), vec![]));
        assert_eq!(same.said().as_deref(), Some("Every entity is as it was."));
    }
}
