//! What was checked and what became of it: the table `checks`.

use std::path::Path;

use super::data::StepData;
use super::tables::{Batch, TableError, each_batch};
use super::text::{self, Html, count, name};
use crate::manifest::Manifest;

/// Lines kept for each step, those that fail first; the table beside the report has them all.
const KEPT: usize = 60;

/// One row of a table `checks`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckRow {
    /// What was checked.
    pub check: String,
    /// The column, of checks of one.
    pub column: Option<String>,
    /// `fail` or `warn`.
    pub severity: String,
    /// Whether it holds; none where too little is known.
    pub passed: Option<bool>,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

/// The checks of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckData {
    /// Lines, those that fail first.
    pub rows: Vec<CheckRow>,
    /// All of them.
    pub n_rows: u64,
    /// Those that hold.
    pub n_passed: u64,
}

/// Reads the table; empty where there is none.
pub(super) fn read(path: &Path) -> Result<CheckData, TableError> {
    let mut data = CheckData::default();
    each_batch(path, |batch| absorb(batch, &mut data))?;
    Ok(data)
}

fn absorb(batch: &Batch<'_>, data: &mut CheckData) -> Result<(), String> {
    batch.require(&["check", "passed", "expected", "found"])?;
    let texts = ["check", "column", "severity", "expected", "found"].map(|name| batch.text(name));
    let passed = batch.flag("passed");
    data.n_rows += batch.n_rows() as u64;
    for row in 0..batch.n_rows() {
        let [check, column, severity, expected, found] = texts.each_ref().map(|text| text.at(row).map(str::to_owned));
        let line = CheckRow {
            check: check.unwrap_or_default(),
            column,
            severity: severity.unwrap_or_default(),
            passed: passed.at(row),
            expected: expected.unwrap_or_default(),
            found: found.unwrap_or_default(),
        };
        data.n_passed += u64::from(line.passed == Some(true));
        let at = data.rows.partition_point(|other| rank(other) <= rank(&line));
        data.rows.insert(at, line);
        data.rows.truncate(KEPT);
    }
    Ok(())
}

fn rank(row: &CheckRow) -> u8 {
    match (row.passed, row.severity.as_str()) {
        (Some(false), "warn") => 1,
        (Some(false), _) => 0,
        (None, _) => 2,
        (Some(true), _) => 3,
    }
}

/// Returns how many checks of a run hold, and how many there are.
pub(super) fn passed(manifest: &Manifest) -> (u64, u64) {
    let checks = || manifest.steps.iter().flat_map(|step| &step.checks);
    (checks().filter(|check| check.passed == Some(true)).count() as u64, checks().count() as u64)
}

/// The checks of a step as a table.
pub(super) struct ChecksView {
    pub(super) step: Option<Html>,
    pub(super) rows: Vec<LineView>,
    pub(super) rest: Option<String>,
}

/// One line.
pub(super) struct LineView {
    pub(super) chip: &'static str,
    pub(super) word: &'static str,
    pub(super) column: Html,
    pub(super) check: String,
    pub(super) expected: Html,
    pub(super) found: Html,
}

impl ChecksView {
    /// Shows the checks of a step, at most so many.
    pub(super) fn new(step: &StepData, heading: Option<Html>, most: usize) -> Option<Self> {
        if step.checks.rows.is_empty() {
            return None;
        }
        let rows: Vec<LineView> = step.checks.rows.iter().take(most).map(line).collect();
        let rest = text::rest(step.checks.n_rows, rows.len(), "more line", "checks");
        Some(Self { step: heading, rows, rest })
    }
}

fn line(row: &CheckRow) -> LineView {
    let (chip, word) = match rank(row) {
        0 => ("bad", "failed"),
        1 => ("warn", "warning"),
        2 => ("plain", "not known"),
        _ => ("good", "holds"),
    };
    LineView {
        chip,
        word,
        column: row.column.as_deref().map_or_else(|| Html("<span class=\"quiet\">table</span>".to_owned()), |column| name(column, 40)),
        check: text::cut(&row.check, 24),
        expected: text::marked(&row.expected, 200),
        found: text::marked(&row.found, 200),
    }
}

/// Returns the sentence of a step that checks.
pub(super) fn sentence(checks: &CheckData) -> String {
    format!("{} of {} hold.", count(checks.n_passed), text::counted(checks.n_rows, "check"))
}
