//! `unique`: rows that repeat another one in some columns, by hashes of 128 bits.
//!
//! Where the hashes of all rows do not fit, the rows are read once for every part of the hashes: a repetition has the hash of what it repeats,
//! so both are in one part. At 10^9 rows two that differ share a hash with probability 1.5e-21.

use std::mem::size_of;

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};

use super::cells::{joined, refuse};
use super::{Held, rows};
use crate::JobError;
use crate::kinds::StepRun;
use crate::pass;
use crate::spec::StepSpec;

/// What was counted.
#[derive(Default)]
struct Counts {
    n_rows: u64,
    n_whole: u64,
    n_distinct: u64,
}

/// Counts rows that repeat another one.
pub(super) fn look(step: &StepSpec, on: &StepRun<'_>) -> Result<Option<Held>, JobError> {
    let columns = step.list("unique");
    if columns.is_empty() {
        return Ok(None);
    }
    let schema = on.source.schema();
    let read: Vec<usize> = columns
        .iter()
        .map(|column| schema.index_of(&column.value).map_err(|error| refuse(step, &error.to_string())))
        .collect::<Result<_, _>>()?;
    let most = usize::try_from(on.memory_bytes / 2).unwrap_or(usize::MAX) / size_of::<u128>();
    let counts = count(&read, most.max(1 << 16), step, on)?;
    let n_failing = counts.n_whole - counts.n_distinct;
    let names: Vec<String> = columns.iter().map(|column| format!("`{}`", column.value)).collect();
    let left_out = counts.n_rows - counts.n_whole;
    let missing = if left_out > 0 { format!("; {} without all cells", rows(left_out)) } else { String::new() };
    let found = if n_failing == 0 { "none repeats another".to_owned() } else { format!("{} repeat another", rows(n_failing)) };
    Ok(Some(Held {
        check: "unique",
        column: (columns.len() == 1).then(|| columns[0].value.clone()),
        expected: format!("no two rows with the same {}", names.join(", ")),
        found: format!("{found}{missing}"),
        value: Some(n_failing as f64),
        n_rows: counts.n_rows,
        n_failing: Some(n_failing),
        passed: Some(n_failing == 0),
    }))
}

/// Counts distinct rows, holding at most so many hashes at a time.
fn count(read: &[usize], most: usize, step: &StepSpec, on: &StepRun<'_>) -> Result<Counts, JobError> {
    let schema = on.source.schema();
    let fields: Vec<SortField> = read.iter().map(|&at| SortField::new(schema.field(at).data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(|error| refuse(step, &error.to_string()))?;
    let mut counts = Counts::default();
    // Parts of the hashes, and the one that is looked at; their number grows while the first is read, to a power of two.
    let (mut parts, mut part) = (1_u128, 0_u128);
    while part < parts {
        let mut held: Vec<u128> = Vec::new();
        let (mut n_rows, mut n_whole) = (0, 0);
        pass::blocks(read, step, on, |block, rows| {
            n_rows += rows as u64;
            for hash in hashes(&converter, &block).map_err(|error| refuse(step, &error))? {
                n_whole += 1;
                if hash % parts != part {
                    continue;
                }
                held.push(hash);
                if held.len() < most {
                    continue;
                }
                held.sort_unstable();
                held.dedup();
                while part == 0 && held.len() > most / 2 {
                    parts *= 2;
                    held.retain(|hash| hash % parts == 0);
                }
                if held.len() > most / 2 {
                    return Err(JobError::Budget {
                        what: format!("step `{}`: hashes of `unique`", step.name.value),
                        needed_bytes: on.memory_bytes.saturating_mul(2),
                        budget_bytes: on.memory_bytes,
                        help: "raise `memory`".to_owned(),
                    });
                }
            }
            Ok(())
        })?;
        held.sort_unstable();
        held.dedup();
        counts = Counts { n_rows, n_whole, n_distinct: counts.n_distinct + held.len() as u64 };
        part += 1;
    }
    Ok(counts)
}

/// Returns the hash of every row of a block that lacks no cell.
fn hashes(converter: &RowConverter, block: &[Vec<ArrayRef>]) -> Result<Vec<u128>, String> {
    let columns = joined(block)?;
    let missing: Vec<_> = columns.iter().map(|column| column.logical_nulls()).collect();
    let numbers: Vec<_> =
        columns.iter().filter(|column| column.data_type().is_floating()).map(super::cells::numbers).collect::<Result<_, _>>()?;
    let texts = converter.convert_columns(&columns).map_err(|error| error.to_string())?;
    let is_whole =
        |row: usize| missing.iter().flatten().all(|nulls| nulls.is_valid(row)) && numbers.iter().all(|x| x.value(row).is_finite());
    let hash = |row: usize| {
        let bytes = blake3::hash(texts.row(row).as_ref());
        u128::from_le_bytes(bytes.as_bytes()[..16].try_into().expect("a hash has 32 bytes"))
    };
    Ok((0..texts.num_rows()).filter(|&row| is_whole(row)).map(hash).collect())
}
