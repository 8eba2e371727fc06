//! Segments that fall into parts, as a table whose rows are set in by level.

use super::tables::Batch;
use super::text;

/// Rows kept for each step; the table beside the report has them all.
const KEPT: usize = 60;

/// One row of a table `splits`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SplitRow {
    /// Numbers of segment and parts.
    pub path: String,
    /// Its level, from 1.
    pub level: u64,
    /// Its rows.
    pub n: u64,
    /// Its share of the rows of all segments.
    pub share: Option<f64>,
    /// Its stability.
    pub stability: Option<f64>,
    /// Whether it can be trusted.
    pub trust: String,
    /// Why it was not split further; empty where it was.
    pub ended: String,
    /// Parts that were looked at.
    pub k: Option<u64>,
    /// What decided.
    pub criterion: String,
    /// What that came to.
    pub value: Option<f64>,
}

/// The splits of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SplitData {
    /// The first of them, each segment before its parts.
    pub rows: Vec<SplitRow>,
    /// All of them.
    pub n_rows: u64,
}

/// Takes some rows of the table.
pub(super) fn absorb(batch: &Batch<'_>, data: &mut SplitData) -> Result<(), String> {
    batch.require(&["path", "level", "n"])?;
    let (path, level, n) = (batch.text("path"), batch.count("level"), batch.count("n"));
    let (share, stability, trust) = (batch.number("share"), batch.number("stability"), batch.text("trust"));
    let (ended, k, criterion, value) = (batch.text("ended"), batch.count("k"), batch.text("criterion"), batch.number("value"));
    data.n_rows += batch.n_rows() as u64;
    let room = KEPT.saturating_sub(data.rows.len());
    data.rows.extend((0..batch.n_rows()).take(room).map(|row| SplitRow {
        path: path.owned(row),
        level: level.at(row).unwrap_or(1),
        n: n.at(row).unwrap_or(0),
        share: share.at(row),
        stability: stability.at(row),
        trust: trust.owned(row),
        ended: ended.owned(row),
        k: k.at(row),
        criterion: criterion.owned(row),
        value: value.at(row),
    }));
    Ok(())
}

/// A segment of any level as it is shown.
pub(super) struct SplitView {
    /// Levels that it is set in.
    pub(super) indent: u64,
    pub(super) path: String,
    pub(super) n: String,
    pub(super) share: String,
    pub(super) stability: String,
    pub(super) trust: String,
    pub(super) words: String,
}

impl SplitView {
    pub(super) fn new(row: &SplitRow) -> Self {
        Self {
            indent: row.level.clamp(1, 4),
            path: text::cut(&row.path, 24),
            n: text::count(row.n),
            share: row.share.map_or_else(String::new, |share| format!("{:.1}\u{a0}%", 100.0 * share)),
            stability: row.stability.map_or_else(String::new, |stability| format!("{stability:.2}")),
            trust: text::cut(&row.trust, 20),
            words: words(row),
        }
    }
}

/// Says what decided whether a segment was split.
fn words(row: &SplitRow) -> String {
    let (k, value) = (row.k.unwrap_or(0), row.value.unwrap_or(0.0));
    match (row.ended.as_str(), row.criterion.as_str()) {
        ("", criterion) => format!("into {k} by {}", text::cut(&criterion.replace('_', " "), 40)),
        ("deep enough", _) => "on the last level asked for".to_owned(),
        ("tiny", _) if row.k.is_some() => format!("tiny: the smallest of {k} parts has {}", text::counted(value as u64, "row")),
        ("tiny", _) => "tiny: too few rows for two parts".to_owned(),
        ("no structure", "by_chance") => {
            format!("no structure: {:.0}\u{a0}% of tables without any look as structured as its {k} parts", 100.0 * value)
        }
        ("no structure", "prediction_strength") => {
            format!("no structure: at best ({k} parts) a prediction strength of {value:.3}, and 0.8 is needed")
        }
        ("no structure", "bic") => "no structure: one normal distribution has the least BIC".to_owned(),
        ("no structure", "dense_places") => format!("no structure: {} in it", text::counted(k, "dense place")),
        ("unstable", _) => format!("unstable: of {k} parts the least stable has {value:.2}, and 0.6 is needed"),
        ("refused", _) => "refused: it does not come back itself".to_owned(),
        (other, _) => text::cut(other, 40),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_told_with_what_decided_it() {
        let row = |ended: &str, k: Option<u64>, criterion: &str, value: f64| SplitRow {
            ended: ended.to_owned(),
            k,
            criterion: criterion.to_owned(),
            value: Some(value),
            ..SplitRow::default()
        };
        for (ended, k, criterion, value, due) in [
            ("", Some(3), "prediction_strength", 0.93, "into 3 by prediction strength"),
            ("deep enough", None, "", 0.0, "on the last level asked for"),
            ("tiny", None, "rows", 44.0, "tiny: too few rows for two parts"),
            ("tiny", Some(3), "rows", 1.0, "tiny: the smallest of 3 parts has 1 row"),
            (
                "no structure",
                Some(2),
                "prediction_strength",
                0.412,
                "no structure: at best (2 parts) a prediction strength of 0.412, and 0.8 is needed",
            ),
            ("no structure", Some(2), "by_chance", 0.13, "no structure: 13\u{a0}% of tables without any look as structured as its 2 parts"),
            ("no structure", Some(1), "dense_places", 1.0, "no structure: 1 dense place in it"),
            ("no structure", Some(1), "bic", 812.0, "no structure: one normal distribution has the least BIC"),
            ("unstable", Some(4), "stability", 0.5, "unstable: of 4 parts the least stable has 0.50, and 0.6 is needed"),
            ("refused", None, "stability", 0.5, "refused: it does not come back itself"),
            ("another", None, "", 0.0, "another"),
        ] {
            assert_eq!(words(&row(ended, k, criterion, value)), due);
        }
    }
}
