//! `report.html`: what was found and how sure, in one file that opens anywhere.
//!
//! The file holds no script and loads nothing, and a strict content policy says so. It is at most `MAX_BYTES` long
//! whatever the run: what is shown is bounded, and where that is not enough `render` shows less and says so.
//!
//! Order    verdict and best findings first, with everything that a reader should know beside them; then the heat
//!          map, all that was tested, what went in, how it was run.
//! Nulls    a pair without r is hatched and counted, never drawn as 0.
//! Safety   names and values come from files: `text` makes them visible and escapes them.
//! Absent   rows of the data. A finding carries the SQL that selects its rows.

mod checks;
mod data;
mod drift;
mod duplicates;
mod facts;
mod heatmap;
mod links;
mod looks;
mod order;
mod pairs;
mod profile;
mod reasons;
mod rules;
mod sections;
mod segments;
mod settings;
mod splits;
mod svg;
mod tables;
mod text;
mod verdict;

use std::path::Path;

use askama::Template;

pub use checks::{CheckData, CheckRow};
pub use data::{ColumnData, ColumnRow, FindingRow, ReportData, StepData};
pub use drift::{DriftData, DriftRow, MatchRow, MovesData};
pub use duplicates::{ComparedColumn, DuplicateData};
pub use links::LinkRow;
pub use looks::{Look, Mark};
pub use pairs::{Bin, Cell, Heat, PairData, PairRow};
pub use profile::ProfileData;
pub use rules::{RuleData, RuleRow};
pub use segments::{Apart, SegmentData, SegmentRow};
pub use splits::{SplitData, SplitRow};

use crate::JobError;
use crate::outputs::{self, Folder};
use checks::ChecksView;
use drift::{DriftView, MovesView};
use duplicates::DuplicatesView;
use facts::{FileTable, RunFacts};
use rules::RulesView;
use sections::{ColumnsView, FindingsView, LooksView, MapView, TestedView};
use segments::SegmentsView;
use settings::Settings;
use text::Html;
use verdict::{Alert, Banner, Figure};

/// Name of the file in the run folder.
pub const FILE_NAME: &str = "report.html";
/// Longest report, in bytes: it travels by mail and opens at once.
pub const MAX_BYTES: usize = 1_000_000;

/// Writes `report.html` into a run folder, from the files that the run left there.
///
/// # Errors
/// When the folder holds no run, one of its tables cannot be read, or the report cannot be written.
pub fn write(run_dir: &Path) -> Result<(), JobError> {
    let page = render(&ReportData::read(run_dir)?);
    let folder = Folder::open(run_dir).map_err(|error| JobError::Write { path: run_dir.join(FILE_NAME), error })?;
    outputs::write_text(&folder, FILE_NAME, &page)
}

/// Writes the report of a run that holds its folder.
pub(crate) fn write_in(run_dir: &Folder) -> Result<(), JobError> {
    let page = render(&ReportData::read(run_dir.path())?);
    outputs::write_text(run_dir, FILE_NAME, &page)
}

/// Returns the report as one HTML document of at most `MAX_BYTES`; the same data give the same bytes.
///
/// # Panics
/// Never: the templates are checked when the crate is built, and writing into a string cannot fail.
#[must_use]
pub fn render(data: &ReportData) -> String {
    let settings = Settings::read(data.spec.as_deref(), &data.manifest);
    let mut page = String::new();
    for limits in &LEVELS {
        page = Page::new(data, &settings, limits).render().expect("a template that was compiled writes into a string");
        if page.len() <= MAX_BYTES {
            break;
        }
    }
    page
}

/// How much is shown.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Steps, of a job that may have a thousand.
    steps: usize,
    /// Columns of a heat map.
    heat: usize,
    /// Findings shown in full, and in all.
    cards: usize,
    findings: usize,
    /// Rows of the table of pairs.
    pairs: usize,
    /// Rows of the table of columns.
    columns: usize,
    /// Rows of a table of files, and names in a list.
    files: usize,
    names: usize,
    /// Notes and fall-backs of a step.
    notes: usize,
    /// Bytes of the spec.
    spec: usize,
    /// Whether this is less than usual.
    shortened: bool,
}

/// Tried in order until the page is small enough. The last is bounded whatever the data: every text is cut.
const LEVELS: [Limits; 4] = [
    Limits {
        steps: 12,
        heat: 60,
        cards: 6,
        findings: 50,
        pairs: 50,
        columns: 200,
        files: 50,
        names: 40,
        notes: 8,
        spec: 40_000,
        shortened: false,
    },
    Limits {
        steps: 12,
        heat: 30,
        cards: 6,
        findings: 20,
        pairs: 25,
        columns: 60,
        files: 20,
        names: 20,
        notes: 8,
        spec: 20_000,
        shortened: true,
    },
    Limits {
        steps: 8,
        heat: 14,
        cards: 4,
        findings: 10,
        pairs: 12,
        columns: 24,
        files: 10,
        names: 10,
        notes: 4,
        spec: 8_000,
        shortened: true,
    },
    Limits { steps: 3, heat: 8, cards: 3, findings: 5, pairs: 5, columns: 8, files: 5, names: 5, notes: 2, spec: 2_000, shortened: true },
];

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    job: Html,
    eyebrow: String,
    banner: Option<Banner>,
    lede: Vec<Html>,
    figures: Vec<Figure>,
    reading: String,
    alerts: Vec<Alert>,
    hatch: Html,
    checks: Vec<ChecksView>,
    /// Whether one does not hold: then they come before everything else.
    checks_first: bool,
    findings: Vec<FindingsView>,
    nothing: Option<String>,
    legend: Html,
    segments: Vec<SegmentsView>,
    duplicates: Vec<DuplicatesView>,
    drift: Vec<DriftView>,
    moves: Vec<MovesView>,
    rules: Vec<RulesView>,
    looks: Vec<LooksView>,
    maps: Vec<MapView>,
    tested: Vec<TestedView>,
    inputs: FileTable,
    columns: Vec<ColumnsView>,
    run: RunFacts,
    version: String,
}

/// Name of the pattern for missing things.
const HATCH: &str = "hatch";

impl Page {
    fn new(data: &ReportData, settings: &Settings, limits: &Limits) -> Self {
        let n_steps = data.steps.len().min(limits.steps);
        let heading = |at: usize| (data.steps.len() > 1).then(|| text::name(&data.manifest.steps[at].name, 60));
        let steps = || data.steps.iter().take(n_steps).enumerate().map(|(at, step)| (at, step, heading(at)));
        Self {
            title: text::cut(&data.manifest.job, 80),
            job: text::name(&data.manifest.job, 80),
            eyebrow: verdict::eyebrow(&data.manifest),
            banner: verdict::banner(&data.manifest),
            lede: verdict::lede(data, settings, limits),
            figures: verdict::figures(data),
            reading: verdict::reading(data, settings),
            alerts: verdict::alerts(data, limits),
            hatch: svg::hatch(HATCH),
            checks_first: data.steps.iter().any(|step| step.checks.n_passed < step.checks.n_rows),
            checks: steps().filter_map(|(_, step, name)| ChecksView::new(step, name, limits.columns)).collect(),
            findings: steps().filter_map(|(at, step, name)| FindingsView::new(step, settings.min_effect(at), name, limits)).collect(),
            nothing: verdict::nothing(data),
            legend: heatmap::legend(HATCH),
            segments: steps()
                .filter_map(|(at, step, name)| SegmentsView::new(step, name, 2 * limits.cards, at < limits.cards && !limits.shortened))
                .collect(),
            duplicates: steps().filter_map(|(_, step, name)| DuplicatesView::new(step, name, limits.columns)).collect(),
            drift: steps().filter_map(|(_, step, name)| DriftView::new(step, name, limits.columns)).collect(),
            moves: steps().filter_map(|(_, step, name)| MovesView::new(step, name, limits.columns)).collect(),
            rules: steps().filter_map(|(_, step, name)| RulesView::new(step, name)).collect(),
            looks: steps().filter_map(|(_, step, name)| LooksView::new(step, name, limits)).collect(),
            maps: steps().filter_map(|(_, step, name)| MapView::new(step, name, limits)).collect(),
            tested: steps()
                .filter_map(|(at, step, name)| TestedView::new(step, data.manifest.steps[at].family, settings.min_effect(at), name, limits))
                .collect(),
            inputs: FileTable::inputs(&data.manifest, limits),
            columns: steps().filter_map(|(at, step, name)| ColumnsView::new(step, &data.manifest.steps[at], name, limits)).collect(),
            run: RunFacts::new(data, limits),
            version: text::cut(&data.manifest.gristmill, 40),
        }
    }
}
