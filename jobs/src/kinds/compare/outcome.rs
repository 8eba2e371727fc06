//! From rows of both sides to tables, findings and notes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use gristmill_engine::agreement::DISSOLVED;
use gristmill_engine::findings::{Evidence, Finding};

use super::{Found, NONE};
use crate::kinds::{Table, batch, quoted};
use crate::spec::StepSpec;
use crate::terminal::{count, counted};

/// Both sides and what was asked for.
pub(super) struct Said<'a> {
    pub(super) found: &'a Found,
    pub(super) n_moved: u64,
    pub(super) step: &'a StepSpec,
}

/// A segment of either side with its partner.
struct Line {
    now: Option<usize>,
    then: Option<usize>,
    status: &'static str,
    /// Jaccard similarity with the partner, of a segment without one with its nearest.
    jaccard: f64,
}

impl Said<'_> {
    /// Segments of now in order, then those that are gone.
    fn lines(&self) -> Vec<Line> {
        let found = self.found;
        let mut lines: Vec<Line> = Vec::new();
        let segments = |side: &[u32]| (0..side.len()).filter(|&at| side[at] != NONE).collect::<Vec<usize>>();
        let (of_now, of_then) = (segments(&found.now), segments(&found.then));
        for &now in &of_now {
            let line = match found.partner[now] {
                Some(then) => Line { now: Some(now), then: Some(then), status: "kept", jaccard: found.crossing.jaccard(now, then) },
                None => {
                    let nearest = of_then.iter().map(|&then| found.crossing.jaccard(now, then)).fold(0.0, f64::max);
                    Line { now: Some(now), then: None, status: "born", jaccard: nearest }
                }
            };
            lines.push(line);
        }
        let is_kept = |then: usize| lines.iter().any(|line| line.then == Some(then));
        let gone = of_then.iter().filter(|&&then| !is_kept(then)).map(|&then| {
            let nearest = of_now.iter().map(|&now| found.crossing.jaccard(now, then)).fold(0.0, f64::max);
            Line { now: None, then: Some(then), status: "gone", jaccard: nearest }
        });
        let gone: Vec<Line> = gone.collect();
        lines.extend(gone);
        lines
    }

    fn n(&self, status: &str) -> u64 {
        self.lines().iter().filter(|line| line.status == status).count() as u64
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn share_moved(&self) -> f64 {
        self.n_moved as f64 / self.found.n_both as f64
    }

    /// Returns the findings: segments that were born or are gone.
    pub(super) fn findings(&self, job: &str) -> Vec<Finding> {
        self.lines().iter().filter(|line| line.status != "kept").map(|line| self.finding(job, line)).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn finding(&self, job: &str, line: &Line) -> Finding {
        let (subject, n, sentence) = self.words(line);
        Finding {
            job: job.to_owned(),
            step: self.step.name.value.clone(),
            kind: "compare".to_owned(),
            subject,
            filter: line.now.map_or_else(String::new, |at| format!("{} = {}", quoted(self.column()), self.found.now[at])),
            effect: line.jaccard,
            effect_unit: "Jaccard".to_owned(),
            lo: None,
            hi: None,
            n,
            support: n as f64 / self.found.n_both as f64,
            p: None,
            p_min_attainable: None,
            q: None,
            q_method: format!("at most {DISSOLVED} counts as dissolved"),
            evidence: Evidence::Association,
            fragile: None,
            confirmed_out_of_time: None,
            as_of: None,
            sentence,
        }
    }

    fn column(&self) -> &str {
        self.step.text("segment").unwrap_or("segment")
    }

    /// Returns subject, rows and sentence of a segment that was born or is gone.
    fn words(&self, line: &Line) -> (String, u64, String) {
        let found = self.found;
        let nearest = format!("the nearest of the other side has {:.0} % of the rows of either in common", 100.0 * line.jaccard);
        match (line.now, line.then) {
            (Some(now), _) => {
                let (segment, n) = (found.now[now], found.crossing.now()[now]);
                (format!("segment {segment}"), n, format!("segment {segment} is new, with {}: {nearest}", counted(n, "row")))
            }
            (None, then) => {
                let then = then.expect("a line has a segment of one side");
                let (segment, n) = (found.then[then], found.crossing.then()[then]);
                (
                    format!("baseline segment {segment}"),
                    n,
                    format!("segment {segment} of the baseline is gone, with {}: {nearest}", counted(n, "row")),
                )
            }
        }
    }

    /// Returns what a person should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let found = self.found;
        let rand = found.crossing.adjusted_rand().map_or_else(String::new, |rand| format!(", adjusted Rand index {rand:.3}"));
        let mut notes = vec![format!(
            "{} of {} of both have moved ({:.1} %){rand}: {} kept, {} born, {} gone",
            count(self.n_moved),
            counted(found.n_both, "row"),
            100.0 * self.share_moved(),
            counted(self.n("kept"), "segment"),
            self.n("born"),
            self.n("gone"),
        )];
        if found.n_only_now > 0 {
            notes.push(format!("{} not in the baseline", counted(found.n_only_now, "row")));
        }
        if found.n_only_then > 0 {
            notes.push(format!("{} of the baseline not there any more", counted(found.n_only_then, "row")));
        }
        notes
    }

    /// Returns the small tables: matches, crossing, verdict.
    pub(super) fn tables(&self) -> Vec<Table> {
        vec![Table::one("matches", self.matches()), Table::one("crossing", self.crossing()), Table::one("verdict", self.verdict())]
    }

    fn matches(&self) -> RecordBatch {
        let (found, lines) = (self.found, self.lines());
        let (of_now, of_then) = (found.crossing.now(), found.crossing.then());
        let segment = |of: &dyn Fn(&Line) -> Option<u32>| -> ArrayRef { Arc::new(lines.iter().map(of).collect::<UInt32Array>()) };
        let number = |of: &dyn Fn(&Line) -> Option<u64>| -> ArrayRef { Arc::new(lines.iter().map(of).collect::<UInt64Array>()) };
        let shared = |line: &Line| Some(found.crossing.at(line.now?, line.then?));
        let status = StringArray::from_iter_values(lines.iter().map(|line| line.status));
        let jaccard: Float64Array = lines.iter().map(|line| Some(line.jaccard)).collect();
        batch(vec![
            (Field::new("segment", DataType::UInt32, true), segment(&|line| line.now.map(|at| found.now[at]))),
            (Field::new("baseline_segment", DataType::UInt32, true), segment(&|line| line.then.map(|at| found.then[at]))),
            (Field::new("status", DataType::Utf8, false), Arc::new(status)),
            (Field::new("n", DataType::UInt64, true), number(&|line| line.now.map(|at| of_now[at]))),
            (Field::new("n_baseline", DataType::UInt64, true), number(&|line| line.then.map(|at| of_then[at]))),
            (Field::new("n_shared", DataType::UInt64, true), number(&shared)),
            (Field::new("jaccard", DataType::Float64, false), Arc::new(jaccard)),
        ])
    }

    fn crossing(&self) -> RecordBatch {
        let found = self.found;
        let pairs = (0..found.now.len()).flat_map(|now| (0..found.then.len()).map(move |then| (now, then)));
        let pairs: Vec<(usize, usize)> = pairs.filter(|(now, then)| found.crossing.at(*now, *then) > 0).collect();
        let segment = |segment: u32| (segment != NONE).then_some(segment);
        let now: UInt32Array = pairs.iter().map(|(now, _)| segment(found.now[*now])).collect();
        let then: UInt32Array = pairs.iter().map(|(_, then)| segment(found.then[*then])).collect();
        let n: UInt64Array = pairs.iter().map(|(now, then)| Some(found.crossing.at(*now, *then))).collect();
        batch(vec![
            (Field::new("segment", DataType::UInt32, true), Arc::new(now)),
            (Field::new("baseline_segment", DataType::UInt32, true), Arc::new(then)),
            (Field::new("n", DataType::UInt64, false), Arc::new(n)),
        ])
    }

    fn verdict(&self) -> RecordBatch {
        let found = self.found;
        let whole = |n: u64| -> ArrayRef { Arc::new(UInt64Array::from(vec![n])) };
        let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
        batch(vec![
            (Field::new("n_both", DataType::UInt64, false), whole(found.n_both)),
            (Field::new("n_only_now", DataType::UInt64, false), whole(found.n_only_now)),
            (Field::new("n_only_baseline", DataType::UInt64, false), whole(found.n_only_then)),
            (Field::new("n_moved", DataType::UInt64, false), whole(self.n_moved)),
            (Field::new("share_moved", DataType::Float64, false), number(Some(self.share_moved()))),
            (Field::new("adjusted_rand", DataType::Float64, true), number(found.crossing.adjusted_rand())),
            (Field::new("n_kept", DataType::UInt64, false), whole(self.n("kept"))),
            (Field::new("n_born", DataType::UInt64, false), whole(self.n("born"))),
            (Field::new("n_gone", DataType::UInt64, false), whole(self.n("gone"))),
        ])
    }
}
