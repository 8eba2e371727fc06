//! From counts to tables, findings and notes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use gristmill_engine::cluster::{Model, ModelSegment, Trust};
use gristmill_engine::drift::{Shift, Spread, Sums, Verdict, adjust};
use gristmill_engine::findings::{Evidence, Finding};

use crate::kinds::cluster::categories::flag_name;
use crate::kinds::{Table, batch, number, quoted};
use crate::spec::StepSpec;
use crate::terminal::{count, counted};

/// What a pass over the rows came to.
pub(super) struct Said<'a> {
    pub(super) model: &'a Model,
    pub(super) step: &'a StepSpec,
    /// Spread of every column.
    pub(super) now: &'a [(Spread, Sums)],
    pub(super) n_outside: &'a [u64],
    /// Rows of every segment that have all cells.
    pub(super) counts: &'a [u64],
    /// Rows of every segment that lack cells.
    pub(super) n_placed: &'a [u64],
    pub(super) n_rows: u64,
    pub(super) n_complete: u64,
    pub(super) n_settled: u64,
    /// Rows of every column of text whose text the model has not seen.
    pub(super) n_unseen: &'a BTreeMap<String, u64>,
    pub(super) alpha: f64,
    /// PSI from which a column has drifted.
    pub(super) least: f64,
}

/// A line of the table `drift`.
pub(super) struct Drift {
    /// The column; none for the segments as a whole.
    column: Option<usize>,
    pub(super) shift: Shift,
    verdict: Verdict,
}

impl Said<'_> {
    /// Returns how far every column has moved, and the segments as a whole where there are some.
    pub(super) fn drifts(&self) -> Vec<Drift> {
        let columns = self.model.columns.iter().zip(self.now).map(|(column, (now, _))| Shift::of(&column.spread, now));
        let mut shifts: Vec<Shift> = columns.collect();
        if !self.model.segments.is_empty() {
            shifts.push(Shift::of_counts(&self.then_of_segments(), &self.now_of_segments()));
        }
        adjust(&mut shifts);
        let n_columns = self.model.columns.len();
        let drift = |(at, shift): (usize, Shift)| Drift {
            column: (at < n_columns).then_some(at),
            shift,
            verdict: shift.verdict(self.alpha, self.least),
        };
        shifts.into_iter().enumerate().map(drift).collect()
    }

    /// Rows of the model by segment, then its noise.
    fn then_of_segments(&self) -> Vec<u64> {
        self.model.segments.iter().map(|segment| segment.n).chain([self.model.n_noise]).collect()
    }

    fn now_of_segments(&self) -> Vec<u64> {
        self.counts.iter().copied().chain([self.n_complete - self.n_labelled()]).collect()
    }

    fn n_labelled(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn worst(drifts: &[Drift]) -> Verdict {
        let has = |verdict: Verdict| drifts.iter().any(|drift| drift.verdict == verdict);
        [Verdict::Changed, Verdict::Shifted, Verdict::TooFew].into_iter().find(|verdict| has(*verdict)).unwrap_or(Verdict::Stable)
    }

    /// Returns the findings: what has drifted, the farthest first.
    pub(super) fn findings(&self, job: &str, drifts: &[Drift]) -> Vec<Finding> {
        let mut drifted: Vec<&Drift> = drifts.iter().filter(|drift| is_drift(drift.verdict)).collect();
        drifted.sort_by(|a, b| b.shift.psi.total_cmp(&a.shift.psi));
        drifted.into_iter().map(|drift| self.finding(job, drift)).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn finding(&self, job: &str, drift: &Drift) -> Finding {
        let n = drift.column.map_or(self.n_complete, |_| self.n_rows);
        Finding {
            job: job.to_owned(),
            step: self.step.name.value.clone(),
            kind: "score".to_owned(),
            subject: drift.column.map_or_else(|| "segments".to_owned(), |at| self.name(at)),
            filter: drift.column.map_or_else(String::new, |at| format!("{} is not null", quoted(&self.model.columns[at].name))),
            effect: drift.shift.psi,
            effect_unit: "PSI".to_owned(),
            lo: None,
            hi: None,
            n,
            support: n as f64 / self.n_rows as f64,
            p: drift.shift.p,
            p_min_attainable: None,
            q: drift.shift.q,
            q_method: "Benjamini-Hochberg over columns and segments".to_owned(),
            evidence: Evidence::Association,
            fragile: None,
            confirmed_out_of_time: None,
            as_of: None,
            sentence: self.sentence(drift),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn sentence(&self, drift: &Drift) -> String {
        let how = if drift.verdict == Verdict::Changed { "has changed" } else { "has shifted" };
        let q = drift.shift.q.map_or_else(String::new, |q| format!(", q {q:.1e}"));
        let figures = format!("population stability index {:.2}{q}", drift.shift.psi);
        let Some(at) = drift.column else {
            let percent = |n: u64, of: u64| format!("{:.0} %", 100.0 * n as f64 / of.max(1) as f64);
            let of_model: u64 = self.then_of_segments().iter().sum();
            let gap = |segment: &(usize, &ModelSegment)| {
                (segment.1.n as f64 / of_model as f64 - self.counts[segment.0] as f64 / self.n_complete.max(1) as f64).abs()
            };
            let farthest = self.model.segments.iter().enumerate().max_by(|a, b| gap(a).total_cmp(&gap(b)));
            let farthest = farthest.map_or_else(String::new, |(at, segment)| {
                let (now, then) = (percent(self.counts[at], self.n_complete), percent(segment.n, of_model));
                format!("; segment {} holds {now} of the rows, {then} in the model", at + 1)
            });
            return format!("how rows fall into segments {how}: {figures}{farthest}");
        };
        let (column, (now, _)) = (&self.model.columns[at], &self.now[at]);
        let means = match (now.mean, column.spread.mean) {
            (Some(now), Some(then)) => format!("; mean {} against {}", number(now), number(then)),
            _ => String::new(),
        };
        let share = |n: u64| 100.0 * n as f64 / self.n_rows as f64;
        let missing = if now.n_missing * 100 > self.n_rows { format!("; {:.0} % missing", share(now.n_missing)) } else { String::new() };
        let outside = self.n_outside[at];
        let beyond =
            if outside * 100 > self.n_rows { format!("; {:.0} % beyond the range of the model", share(outside)) } else { String::new() };
        format!("`{}` {how}: {figures}{means}{missing}{beyond}", self.name(at))
    }

    /// Returns the name of a column, or of a flag.
    fn name(&self, at: usize) -> String {
        let column = &self.model.columns[at];
        flag_name(&column.name, column.level.as_deref())
    }

    /// Returns why the verdict is what it is.
    fn reason(&self, drifts: &[Drift]) -> String {
        let n = drifts.iter().filter(|drift| is_drift(drift.verdict)).count();
        let columns = counted(self.model.columns.len() as u64, "column");
        match Self::worst(drifts) {
            Verdict::Stable => format!("{columns} and segments are spread as in the model"),
            Verdict::TooFew => format!("{} are too few to tell drift from chance", counted(self.n_rows, "row")),
            _ => format!(
                "{n} of {} have drifted from the model by {} or more (table `drift`)",
                counted(drifts.len() as u64, "spread"),
                self.least
            ),
        }
    }

    /// Returns what a person should know.
    pub(super) fn notes(&self, drifts: &[Drift]) -> Vec<String> {
        let model = self.model;
        let mut notes = vec![self.reason(drifts)];
        if model.segments.is_empty() {
            notes.push("the model has no segments: no structure was found in its rows, so that no row has one here".to_owned());
        } else {
            let by = format!("{} by `{}`", counted(model.segments.len() as u64, "segment"), model.method.word());
            notes.push(format!("the model: {by}, made of {}", counted(self.then_of_segments().iter().sum::<u64>(), "row")));
        }
        if let Some(agreement) = model.agreement {
            notes.push(format!(
                "the model holds a draw of its rows; {:.1} % of its other rows find the segment that they were given",
                100.0 * agreement
            ));
        }
        let refused = model.segments.iter().filter(|segment| segment.trust == Trust::Refused).count();
        if refused > 0 {
            notes.push(format!("{refused} of {} segments of the model are refused: they do not come back", model.segments.len()));
        }
        let n_incomplete = self.n_rows - self.n_complete;
        if n_incomplete > 0 {
            let n_placed: u64 = self.n_placed.iter().sum();
            notes.push(format!(
                "{} lacking cells: {} placed by those that they have, {} in no segment; drift of segments is of the other rows",
                counted(n_incomplete, "row"),
                count(n_placed),
                count(n_incomplete - n_placed)
            ));
        }
        let n_noise = self.n_complete - self.n_labelled();
        if n_noise > 0 && !model.segments.is_empty() {
            notes.push(format!("{} in no segment: noise", counted(n_noise, "row")));
        }
        for (column, n) in self.n_unseen.iter().filter(|(_, n)| **n > 0) {
            notes.push(format!(
                "{} with a text of `{column}` that the model has not seen: as far from each as a missing one",
                counted(*n, "row")
            ));
        }
        if self.n_settled > 0 {
            notes.push(format!("{} assignments were too close for f32 and settled in f64", count(self.n_settled)));
        }
        notes
    }

    /// Returns the small tables of the step.
    pub(super) fn tables(&self, drifts: &[Drift]) -> Vec<Table> {
        vec![Table::one("drift", self.drift(drifts)), Table::one("segments", self.segments()), Table::one("verdict", self.verdict(drifts))]
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn drift(&self, drifts: &[Drift]) -> RecordBatch {
        let number = |of: &dyn Fn(&Drift) -> Option<f64>| -> ArrayRef { Arc::new(drifts.iter().map(of).collect::<Float64Array>()) };
        let column = |of: &dyn Fn(usize) -> Option<f64>| number(&|drift| drift.column.and_then(of));
        let then = |at: usize| &self.model.columns[at].spread;
        let now = |at: usize| &self.now[at].0;
        let n_then: u64 = self.then_of_segments().iter().sum::<u64>();
        let all = |spread: &Spread| spread.n_present() + spread.n_missing;
        let missing = |spread: &Spread| (all(spread) > 0).then(|| spread.n_missing as f64 / all(spread) as f64);
        let count = |of: &dyn Fn(&Drift) -> u64| -> ArrayRef { Arc::new(drifts.iter().map(of).collect::<UInt64Array>()) };
        let subject = |drift: &Drift| drift.column.map_or_else(|| "segments".to_owned(), |at| self.name(at));
        let of = |drift: &Drift| if drift.column.is_some() { "column" } else { "segments" };
        let text = |of: &dyn Fn(&Drift) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(drifts.iter().map(of))) };
        let named = |name: &str, is_nullable: bool| Field::new(name, DataType::Float64, is_nullable);
        batch(vec![
            (Field::new("of", DataType::Utf8, false), text(&|drift| of(drift).to_owned())),
            (Field::new("subject", DataType::Utf8, false), text(&subject)),
            (Field::new("n_model", DataType::UInt64, false), count(&|drift| drift.column.map_or(n_then, |at| all(then(at))))),
            (Field::new("n", DataType::UInt64, false), count(&|drift| drift.column.map_or(self.n_complete, |at| all(now(at))))),
            (named("missing_model", true), column(&|at| missing(then(at)))),
            (named("missing", true), column(&|at| missing(now(at)))),
            (named("mean_model", true), column(&|at| then(at).mean)),
            (named("mean", true), column(&|at| now(at).mean)),
            (
                named("outside", true),
                column(&|at| (now(at).n_present() > 0).then(|| self.n_outside[at] as f64 / now(at).n_present() as f64)),
            ),
            (named("psi", false), number(&|drift| Some(drift.shift.psi))),
            (named("js", false), number(&|drift| Some(drift.shift.js))),
            (named("ks", true), column(&|at| drifts.iter().find(|drift| drift.column == Some(at)).map(|drift| drift.shift.ks))),
            (named("p", true), number(&|drift| drift.shift.p)),
            (named("q", true), number(&|drift| drift.shift.q)),
            (Field::new("verdict", DataType::Utf8, false), text(&|drift| drift.verdict.word().to_owned())),
        ])
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn segments(&self) -> RecordBatch {
        let all = &self.model.segments;
        let of_model: u64 = self.then_of_segments().iter().sum::<u64>() + self.model.n_incomplete;
        let share = |n: u64, of: u64| (of > 0).then(|| n as f64 / of as f64);
        let number = |of: &dyn Fn(usize) -> Option<f64>| -> ArrayRef { Arc::new((0..all.len()).map(of).collect::<Float64Array>()) };
        let segments = (1..).take(all.len()).collect::<UInt32Array>();
        let words = StringArray::from_iter_values(all.iter().map(|segment| segment.trust.word()));
        batch(vec![
            (Field::new("segment", DataType::UInt32, false), Arc::new(segments)),
            (Field::new("n", DataType::UInt64, false), Arc::new(UInt64Array::from(self.counts.to_vec()))),
            (Field::new("share", DataType::Float64, true), number(&|at| share(self.counts[at], self.n_rows))),
            (Field::new("n_placed", DataType::UInt64, false), Arc::new(UInt64Array::from(self.n_placed.to_vec()))),
            (Field::new("n_model", DataType::UInt64, false), Arc::new(all.iter().map(|segment| segment.n).collect::<UInt64Array>())),
            (Field::new("share_model", DataType::Float64, true), number(&|at| share(all[at].n, of_model))),
            (Field::new("stability", DataType::Float64, true), number(&|at| all[at].stability)),
            (Field::new("trust", DataType::Utf8, false), Arc::new(words)),
        ])
    }

    fn verdict(&self, drifts: &[Drift]) -> RecordBatch {
        let n = |verdict: Verdict| drifts.iter().filter(|drift| drift.verdict == verdict).count() as u64;
        let count = |n: u64| -> ArrayRef { Arc::new(UInt64Array::from(vec![n])) };
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        batch(vec![
            (Field::new("drift", DataType::Utf8, false), text(Self::worst(drifts).word())),
            (Field::new("n_changed", DataType::UInt64, false), count(n(Verdict::Changed))),
            (Field::new("n_shifted", DataType::UInt64, false), count(n(Verdict::Shifted))),
            (Field::new("n", DataType::UInt64, false), count(self.n_rows)),
            (Field::new("n_segment", DataType::UInt64, false), count(self.n_labelled())),
            (Field::new("n_noise", DataType::UInt64, false), count(self.n_complete - self.n_labelled())),
            (Field::new("n_incomplete", DataType::UInt64, false), count(self.n_rows - self.n_complete)),
            (Field::new("n_placed", DataType::UInt64, false), count(self.n_placed.iter().sum())),
            (Field::new("reason", DataType::Utf8, false), text(&self.reason(drifts))),
        ])
    }
}

fn is_drift(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Shifted | Verdict::Changed)
}
