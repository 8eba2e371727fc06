//! Whether new rows are like those of the model: the table `drift` that `score` writes.

use std::path::Path;

use super::data::StepData;
use super::tables::{Batch, TableError, each_batch};
use super::text::{self, Html, count, counted, name, value};

/// Lines kept for each step, those that moved farthest; the table beside the report has them all.
const KEPT: usize = 60;

/// PSI at which a bar is full.
const FULL: f64 = 0.5;

/// One row of a table `drift`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DriftRow {
    /// The column, or the segments as a whole.
    pub subject: String,
    /// Whether it is the segments as a whole.
    pub is_segments: bool,
    /// Population stability index.
    pub psi: f64,
    /// Adjusted p-value.
    pub q: Option<f64>,
    /// Means now and in the model.
    pub means: [Option<f64>; 2],
    /// Shares of missing cells now and in the model.
    pub missing: [Option<f64>; 2],
    /// Share of values beyond the range of the model.
    pub outside: Option<f64>,
    /// What it comes to.
    pub verdict: String,
}

/// The drift of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DriftData {
    /// Lines, the farthest first.
    pub rows: Vec<DriftRow>,
    /// All of them.
    pub n_rows: u64,
}

/// Reads the table; empty where there is none.
pub(super) fn read(path: &Path) -> Result<DriftData, TableError> {
    let mut data = DriftData::default();
    each_batch(path, |batch| absorb(batch, &mut data))?;
    Ok(data)
}

fn absorb(batch: &Batch<'_>, data: &mut DriftData) -> Result<(), String> {
    batch.require(&["of", "subject", "psi", "verdict"])?;
    let (of, subject, verdict) = (batch.text("of"), batch.text("subject"), batch.text("verdict"));
    let (psi, q, outside) = (batch.number("psi"), batch.number("q"), batch.number("outside"));
    let means = ["mean", "mean_model"].map(|name| batch.number(name));
    let missing = ["missing", "missing_model"].map(|name| batch.number(name));
    data.n_rows += batch.n_rows() as u64;
    for row in 0..batch.n_rows() {
        let drift = DriftRow {
            subject: subject.owned(row),
            is_segments: of.at(row) == Some("segments"),
            psi: psi.at(row).unwrap_or(0.0),
            q: q.at(row),
            means: means.each_ref().map(|mean| mean.at(row)),
            missing: missing.each_ref().map(|share| share.at(row)),
            outside: outside.at(row),
            verdict: verdict.owned(row),
        };
        let at = data.rows.partition_point(|other| other.psi >= drift.psi);
        data.rows.insert(at, drift);
        data.rows.truncate(KEPT);
    }
    Ok(())
}

/// The drift of a step as a table.
pub(super) struct DriftView {
    pub(super) step: Option<Html>,
    pub(super) rows: Vec<LineView>,
    pub(super) rest: Option<String>,
}

/// One line.
pub(super) struct LineView {
    pub(super) subject: Html,
    pub(super) chip: &'static str,
    pub(super) verdict: String,
    pub(super) bar: Html,
    pub(super) psi: String,
    pub(super) q: String,
    pub(super) means: [String; 2],
    pub(super) missing: [String; 2],
    pub(super) outside: String,
}

impl DriftView {
    /// Draws the drift of a step, at most so many lines.
    pub(super) fn new(step: &StepData, heading: Option<Html>, most: usize) -> Option<Self> {
        if step.drift.rows.is_empty() {
            return None;
        }
        let rows: Vec<LineView> = step.drift.rows.iter().take(most).map(line).collect();
        let rest = text::rest(step.drift.n_rows, rows.len(), "more line", "drift");
        Some(Self { step: heading, rows, rest })
    }
}

fn line(row: &DriftRow) -> LineView {
    let share = |share: Option<f64>| match share {
        None => "-".to_owned(),
        Some(share) if share > 0.0 && share < 0.01 => "< 1\u{a0}%".to_owned(),
        Some(share) => format!("{:.0}\u{a0}%", 100.0 * share),
    };
    let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), value);
    let width = 90.0 * (row.psi / FULL).clamp(0.0, 1.0);
    let class = match row.verdict.as_str() {
        "changed" => "bad",
        "shifted" => "warn",
        "stable" => "good",
        _ => "",
    };
    LineView {
        subject: if row.is_segments { Html("<em>all segments</em>".to_owned()) } else { name(&row.subject, 40) },
        chip: class,
        verdict: text::cut(&row.verdict.replace('_', " "), 20),
        bar: Html(format!(
            "<svg class=\"psi\" viewBox=\"0 0 90 10\" width=\"90\" height=\"10\" aria-hidden=\"true\"><rect class=\"track\" y=\"2\" width=\"90\" \
             height=\"6\"/><rect class=\"fill {class}\" y=\"2\" width=\"{width:.1}\" height=\"6\"/><path class=\"limit\" d=\"M18 0V10M45 0V10\"/></svg>"
        )),
        psi: format!("{:.2}", row.psi),
        q: row.q.map_or_else(|| "-".to_owned(), |q| if q < 1e-4 { "< 0.0001".to_owned() } else { format!("{q:.4}") }),
        means: row.means.map(number),
        missing: row.missing.map(share),
        outside: share(row.outside),
    }
}

/// Segments of two runs, held against one another: the tables `matches`, `crossing` and `verdict` that `compare` writes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MovesData {
    /// Segment of now, of the baseline, status, rows of either and of both, Jaccard similarity.
    pub matches: Vec<MatchRow>,
    /// All lines.
    pub n_matches: u64,
    /// Rows of both, and those that moved.
    pub n_both: u64,
    /// Rows whose segment is not the partner of their earlier one.
    pub n_moved: u64,
    /// Adjusted Rand index.
    pub adjusted_rand: Option<f64>,
}

/// One row of a table `matches`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MatchRow {
    /// Segment of now and of the baseline.
    pub segments: [Option<u64>; 2],
    /// Kept, born or gone.
    pub status: String,
    /// Rows now, then, and of both.
    pub n: [Option<u64>; 3],
    /// Jaccard similarity.
    pub jaccard: f64,
}

/// Reads the tables; empty where there are none.
pub(super) fn read_moves(folder: &Path) -> Result<MovesData, TableError> {
    let mut data = MovesData::default();
    each_batch(&folder.join("matches.parquet"), |batch| {
        batch.require(&["segment", "baseline_segment", "status", "jaccard"])?;
        let segments = ["segment", "baseline_segment"].map(|name| batch.count(name));
        let n = ["n", "n_baseline", "n_shared"].map(|name| batch.count(name));
        let (status, jaccard) = (batch.text("status"), batch.number("jaccard"));
        data.n_matches += batch.n_rows() as u64;
        let room = KEPT.saturating_sub(data.matches.len());
        data.matches.extend((0..batch.n_rows()).take(room).map(|row| MatchRow {
            segments: segments.each_ref().map(|segment| segment.at(row)),
            status: status.owned(row),
            n: n.each_ref().map(|n| n.at(row)),
            jaccard: jaccard.at(row).unwrap_or(0.0),
        }));
        Ok(())
    })?;
    each_batch(&folder.join("verdict.parquet"), |batch| {
        if batch.n_rows() > 0 {
            data.n_both = batch.count("n_both").at(0).unwrap_or(0);
            data.n_moved = batch.count("n_moved").at(0).unwrap_or(0);
            data.adjusted_rand = batch.number("adjusted_rand").at(0);
        }
        Ok(())
    })?;
    Ok(data)
}

/// The moves of a step as a table.
pub(super) struct MovesView {
    pub(super) step: Option<Html>,
    pub(super) lede: String,
    pub(super) rows: Vec<MatchView>,
    pub(super) rest: Option<String>,
}

/// One line.
pub(super) struct MatchView {
    pub(super) segments: [String; 2],
    pub(super) chip: &'static str,
    pub(super) status: String,
    pub(super) n: [String; 3],
    pub(super) jaccard: String,
}

impl MovesView {
    /// Draws what moved, at most so many lines.
    pub(super) fn new(step: &StepData, heading: Option<Html>, most: usize) -> Option<Self> {
        let data = &step.moves;
        if data.n_both == 0 {
            return None;
        }
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), count);
        let view = |row: &MatchRow| MatchView {
            segments: row.segments.map(number),
            chip: match row.status.as_str() {
                "kept" => "good",
                "born" => "warn",
                _ => "bad",
            },
            status: text::cut(&row.status, 20),
            n: row.n.map(number),
            jaccard: format!("{:.2}", row.jaccard),
        };
        let rows: Vec<MatchView> = data.matches.iter().take(most).map(view).collect();
        let rand = data.adjusted_rand.map_or_else(String::new, |rand| format!("; adjusted Rand index {rand:.2}"));
        let share = 100.0 * data.n_moved as f64 / data.n_both as f64;
        Some(Self {
            step: heading,
            lede: format!("{} of {} moved ({share:.0}\u{a0}%){rand}.", count(data.n_moved), counted(data.n_both, "row")),
            rest: text::rest(data.n_matches, rows.len(), "more segment", "matches"),
            rows,
        })
    }
}
