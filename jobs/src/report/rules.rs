//! Segments in words: the leaves of the tree that `cluster` writes.

use std::path::Path;

use super::data::StepData;
use super::tables::{Batch, TableError, each_batch};
use super::text::{self, Html, count};

/// Rules kept for each step; the table beside the report has them all.
const KEPT: usize = 60;

/// One row of a table `rules`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleRow {
    /// Number of the segment.
    pub segment: u64,
    /// SQL boolean of the leaf.
    pub filter: String,
    /// Rows that it selects.
    pub n: u64,
    /// Share of the segment that it covers, on rows that the tree has not seen.
    pub coverage: Option<f64>,
    /// Share of its rows that are of the segment, on rows that the tree has not seen.
    pub purity: Option<f64>,
}

/// The rules of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleData {
    /// The first rules, by segment.
    pub rules: Vec<RuleRow>,
    /// All of them.
    pub n_rules: u64,
}

/// Reads the table `rules`; empty where there is none.
pub(super) fn read(path: &Path) -> Result<RuleData, TableError> {
    let mut data = RuleData::default();
    each_batch(path, |batch| absorb(batch, &mut data))?;
    Ok(data)
}

fn absorb(batch: &Batch<'_>, data: &mut RuleData) -> Result<(), String> {
    batch.require(&["segment", "filter", "n"])?;
    let (segment, filter, n) = (batch.count("segment"), batch.text("filter"), batch.count("n"));
    let (coverage, purity) = (batch.number("coverage"), batch.number("purity"));
    data.n_rules += batch.n_rows() as u64;
    let room = KEPT.saturating_sub(data.rules.len());
    data.rules.extend((0..batch.n_rows()).take(room).map(|row| RuleRow {
        segment: segment.at(row).unwrap_or(0),
        filter: filter.owned(row),
        n: n.at(row).unwrap_or(0),
        coverage: coverage.at(row),
        purity: purity.at(row),
    }));
    Ok(())
}

/// The rules of a step as a table.
pub(super) struct RulesView {
    pub(super) step: Option<Html>,
    pub(super) rows: Vec<RuleView>,
    pub(super) rest: Option<String>,
}

/// One rule.
pub(super) struct RuleView {
    pub(super) segment: String,
    pub(super) filter: String,
    pub(super) n: String,
    pub(super) coverage: String,
    pub(super) purity: String,
}

impl RulesView {
    pub(super) fn new(step: &StepData, heading: Option<Html>) -> Option<Self> {
        if step.rules.rules.is_empty() {
            return None;
        }
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.0}\u{a0}%", 100.0 * share));
        let view = |row: &RuleRow| RuleView {
            segment: count(row.segment),
            filter: text::cut(&row.filter, 600),
            n: count(row.n),
            coverage: share(row.coverage),
            purity: share(row.purity),
        };
        let rest = text::rest(step.rules.n_rules, step.rules.rules.len(), "more rule", "rules");
        Some(Self { step: heading, rows: step.rules.rules.iter().map(view).collect(), rest })
    }
}
