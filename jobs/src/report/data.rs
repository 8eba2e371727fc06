//! What the report shows, read from a run folder: manifest, spec, findings and the tables of each step.
//!
//! A folder of a run that failed has no findings and only the tables of the steps that ended; what is absent is
//! empty here. A table that is there but cannot be read is an error: a report that leaves it out would mislead.

use std::fs;
use std::io;
use std::path::Path;

use super::checks::{self, CheckData};
use super::drift::{self, DriftData, MovesData};
use super::duplicates::{self, DuplicateData};
use super::looks::{self, Look};
use super::pairs::{self, Level, PairData};
use super::rules::{self, RuleData};
use super::segments::{self, SegmentData};
use super::settings::Settings;
use super::tables::{Batch, TableError, each_batch};
use crate::JobError;
use crate::manifest::{Manifest, StepRecord};

/// Findings kept for each step; the file beside the report has them all.
pub(super) const FINDINGS_KEPT: usize = 50;
/// Columns kept for each step: those with gaps first.
pub(super) const COLUMNS_KEPT: usize = 200;

/// One row of `findings.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingRow {
    /// Id.
    pub id: String,
    /// What the finding is about.
    pub subject: String,
    /// SQL boolean that selects the rows behind it.
    pub filter: String,
    /// Size of the effect.
    pub effect: f64,
    /// Unit of the effect, `r` for a correlation.
    pub effect_unit: String,
    /// Lower end of the interval.
    pub lo: Option<f64>,
    /// Upper end of the interval.
    pub hi: Option<f64>,
    /// Rows behind the finding.
    pub n: u64,
    /// P-value of the single test.
    pub p: Option<f64>,
    /// P-value adjusted over the family.
    pub q: Option<f64>,
    /// How it was adjusted.
    pub q_method: String,
    /// `association`, `adjusted` or `randomised`.
    pub evidence: String,
    /// Whether a few rows make the finding.
    pub fragile: Option<bool>,
    /// Whether a later period confirms it.
    pub confirmed: Option<bool>,
    /// The finding in one sentence.
    pub sentence: String,
}

/// One row of a table `columns`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnRow {
    /// Name.
    pub name: String,
    /// Type in plain words.
    pub data_type: String,
    /// Whether the step used it.
    pub used: bool,
    /// Why not.
    pub reason: String,
    /// Cells with a value.
    pub n: u64,
    /// Cells without.
    pub nulls: u64,
    /// Mean.
    pub mean: Option<f64>,
    /// Standard deviation.
    pub sd: Option<f64>,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Whether every value is the same.
    pub constant: bool,
}

/// The columns of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnData {
    /// Rows of the table.
    pub n_rows: u64,
    /// Columns used that have gaps.
    pub n_with_nulls: u64,
    /// Names of constant columns among those kept.
    pub constant: Vec<String>,
    /// Columns used: in the order of the source, or those with the most gaps where there are too many.
    pub used: Vec<ColumnRow>,
    /// How many columns were used.
    pub n_used: u64,
}

/// One step beside its record in the manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepData {
    /// First findings in the order of the file, which is best first.
    pub findings: Vec<FindingRow>,
    /// All findings of the step.
    pub n_findings: u64,
    /// Findings that a few rows make.
    pub n_fragile: u64,
    /// The table of pairs, for steps that correlate.
    pub pairs: Option<PairData>,
    /// The table of columns.
    pub columns: Option<ColumnData>,
    /// Pictures of the best findings.
    pub looks: Vec<Look>,
    /// Segments in words, for steps that cluster.
    pub rules: RuleData,
    /// Segments as cards and on a map, for steps that cluster.
    pub segments: SegmentData,
    /// Whether rows are like those of the model, for steps that score.
    pub drift: DriftData,
    /// What moved, for steps that compare.
    pub moves: MovesData,
    /// Which records are one, for steps that look for that.
    pub duplicates: DuplicateData,
    /// What was checked, for steps that check.
    pub checks: CheckData,
}

/// Everything that a report shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportData {
    /// The manifest.
    pub manifest: Manifest,
    /// Text of the resolved spec.
    pub spec: Option<String>,
    /// Steps in the order of the manifest.
    pub steps: Vec<StepData>,
}

impl ReportData {
    /// Reads a run folder.
    ///
    /// # Errors
    /// When the folder holds no manifest, or a file in it cannot be read.
    pub fn read(run_dir: &Path) -> Result<Self, JobError> {
        let manifest = read_manifest(run_dir)?;
        let spec = fs::read(run_dir.join("spec.toml")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let settings = Settings::read(spec.as_deref(), &manifest);
        let mut steps = Vec::with_capacity(manifest.steps.len());
        for (at, record) in manifest.steps.iter().enumerate() {
            let level = Level { alpha: manifest.alpha, min_effect: settings.min_effect(at).unwrap_or(0.0) };
            steps.push(read_step(run_dir, record, level)?);
        }
        read_findings(&run_dir.join("findings.parquet"), &manifest, &mut steps).map_err(|error| error.of_step("findings"))?;
        Ok(Self { manifest, spec, steps })
    }
}

fn read_manifest(run_dir: &Path) -> Result<Manifest, JobError> {
    let refused = |found: String| JobError::RunDir {
        path: run_dir.to_owned(),
        found,
        help: "name the folder of a run, `runs/<job>/<run-id>` or `runs/<job>/latest`".to_owned(),
    };
    let path = run_dir.join("manifest.json");
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => refused("holds no `manifest.json`".to_owned()),
        _ => JobError::ReadBack { path, error },
    })?;
    serde_json::from_slice(&bytes).map_err(|error| refused(format!("holds a `manifest.json` that is not one ({error})")))
}

/// Reads the tables of a step that its kind writes; other kinds give the same names to other tables.
fn read_step(run_dir: &Path, record: &StepRecord, level: Level) -> Result<StepData, JobError> {
    let failed = |error: TableError| error.of_step(&record.name);
    let dir = run_dir.join(&record.name);
    match record.kind.as_str() {
        _ if !is_folder_name(&record.name) => return Ok(StepData::default()),
        "cluster" => {
            let rules = rules::read(&dir.join("rules.parquet")).map_err(failed)?;
            let segments = segments::read(&dir).map_err(failed)?;
            return Ok(StepData { rules, segments, ..StepData::default() });
        }
        "score" => {
            let drift = drift::read(&dir.join("drift.parquet")).map_err(failed)?;
            return Ok(StepData { drift, ..StepData::default() });
        }
        "compare" => {
            let moves = drift::read_moves(&dir).map_err(failed)?;
            return Ok(StepData { moves, ..StepData::default() });
        }
        "dedupe" | "link" => {
            let duplicates = duplicates::read(&dir).map_err(failed)?;
            return Ok(StepData { duplicates, ..StepData::default() });
        }
        "check" => {
            let checks = checks::read(&dir.join("checks.parquet")).map_err(failed)?;
            return Ok(StepData { checks, ..StepData::default() });
        }
        "correlate" => {}
        _ => return Ok(StepData::default()),
    }
    let pairs = pairs::read(&dir.join("pairs.parquet"), level).map_err(failed)?;
    let columns = read_columns(&dir.join("columns.parquet")).map_err(failed)?;
    let looks = looks::read(&dir.join("pictures.parquet")).map_err(failed)?;
    Ok(StepData { pairs, columns, looks, ..StepData::default() })
}

/// Says whether a name of the manifest is one folder, not a way out of the run folder.
fn is_folder_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
}

fn read_columns(path: &Path) -> Result<Option<ColumnData>, TableError> {
    let mut data = ColumnData::default();
    let found = each_batch(path, |batch| absorb_columns(batch, &mut data))?;
    if data.n_used > COLUMNS_KEPT as u64 {
        data.used.sort_by_key(|row| std::cmp::Reverse(row.nulls));
        data.used.truncate(COLUMNS_KEPT);
    }
    Ok(found.then_some(data))
}

fn absorb_columns(batch: &Batch<'_>, data: &mut ColumnData) -> Result<(), String> {
    batch.require(&["column"])?;
    let (name, data_type, reason) = (batch.text("column"), batch.text("data_type"), batch.text("reason"));
    let (used, constant, n, nulls) = (batch.flag("used"), batch.flag("constant"), batch.count("n"), batch.count("nulls"));
    let (mean, sd, min, max) = (batch.number("mean"), batch.number("sd"), batch.number("min"), batch.number("max"));
    for row in 0..batch.n_rows() {
        data.n_rows += 1;
        if !used.at(row).unwrap_or(true) {
            continue;
        }
        let column = ColumnRow {
            name: name.owned(row),
            data_type: data_type.owned(row),
            used: true,
            reason: reason.owned(row),
            n: n.at(row).unwrap_or(0),
            nulls: nulls.at(row).unwrap_or(0),
            mean: mean.at(row),
            sd: sd.at(row),
            min: min.at(row),
            max: max.at(row),
            constant: constant.at(row).unwrap_or(false),
        };
        data.n_used += 1;
        data.n_with_nulls += u64::from(column.nulls > 0);
        if column.constant && data.constant.len() < COLUMNS_KEPT {
            data.constant.push(column.name.clone());
        }
        data.used.push(column);
    }
    Ok(())
}

/// Deals the findings out to their steps; a finding of a step that the manifest lacks is passed over.
fn read_findings(path: &Path, manifest: &Manifest, steps: &mut [StepData]) -> Result<(), TableError> {
    each_batch(path, |batch| {
        batch.require(&["step", "subject", "effect", "n", "sentence"])?;
        let (step, fragile) = (batch.text("step"), batch.flag("fragile"));
        for row in 0..batch.n_rows() {
            let owner = manifest.steps.iter().position(|record| Some(record.name.as_str()) == step.at(row));
            let Some(data) = owner.and_then(|at| steps.get_mut(at)) else { continue };
            data.n_findings += 1;
            data.n_fragile += u64::from(fragile.at(row) == Some(true));
            if data.findings.len() < FINDINGS_KEPT {
                data.findings.push(finding(batch, row));
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn finding(batch: &Batch<'_>, row: usize) -> FindingRow {
    let text = |name: &str| batch.text(name).owned(row);
    let number = |name: &str| batch.number(name).at(row);
    FindingRow {
        id: text("finding_id"),
        subject: text("subject"),
        filter: text("filter"),
        effect: number("effect").unwrap_or(f64::NAN),
        effect_unit: text("effect_unit"),
        lo: number("lo"),
        hi: number("hi"),
        n: batch.count("n").at(row).unwrap_or(0),
        p: number("p"),
        q: number("q"),
        q_method: text("q_method"),
        evidence: text("evidence"),
        fragile: batch.flag("fragile").at(row),
        confirmed: batch.flag("confirmed_out_of_time").at(row),
        sentence: text("sentence"),
    }
}
