//! The tables of a way of looking that compares no columns: one row of every entity is kept as it is.

use arrow::array::{Float64Array, UInt64Array};

use super::baseline::Numbers;
use super::golden::Conflicts;
use super::grouped::{Grouped, Verdict};
use super::tables::{comparisons, doubted};
use super::{explain, review, timeline};
use crate::JobError;
use crate::kinds::{Table, batch};

/// Pairs that were found: both rows, the lower one first, and their score.
pub(super) struct FoundPairs {
    pub(super) a: UInt64Array,
    pub(super) b: UInt64Array,
    pub(super) score: Float64Array,
}

impl FoundPairs {
    pub(super) fn of(pairs: impl Iterator<Item = (u32, u32, f64)> + Clone) -> Self {
        let row = |of: fn((u32, u32, f64)) -> u32| pairs.clone().map(|pair| u64::from(of(pair))).collect();
        Self { a: row(|pair| pair.0.min(pair.1)), b: row(|pair| pair.0.max(pair.1)), score: pairs.clone().map(|pair| pair.2).collect() }
    }
}

/// Returns the tables in the order of the kind's, and what a person should know of them; `kept` are the rows that stand for their entities.
pub(super) fn tables(
    grouped: &Grouped<'_>,
    kept: &[u32],
    pairs: FoundPairs,
    verdict: Verdict,
) -> Result<(Vec<Table>, Vec<String>), JobError> {
    let members = grouped.members();
    let id = grouped.carried_id()?;
    let numbers = Numbers::of(grouped, &members, id.as_ref())?;
    let grouped = &Grouped { numbers: numbers.of_entity.as_deref(), ..*grouped };
    let (entities, classes, by_cause) = grouped.entities(&members, id.as_ref())?;
    let mut tables = vec![
        grouped.golden_rows(&members, kept)?,
        entities,
        Table::one("pairs", batch(grouped.pairs(pairs.a, pairs.b, pairs.score, id.as_ref())?)),
        Table::one("comparisons", comparisons(&[])),
        Table::one("conflicts", Conflicts::default().table()),
        classes,
    ];
    tables.extend(review::nothing(grouped, id.as_ref())?);
    tables.extend(explain::nothing(grouped, &members, id.as_ref())?);
    tables.push(numbers.table());
    tables.push(doubted(grouped, &[], &[], id.as_ref())?);
    tables.extend(timeline::nothing(id.as_ref()));
    tables.push(Table::one("verdict", verdict.table(grouped)));
    Ok((tables, by_cause.into_iter().chain(numbers.said()).collect()))
}
