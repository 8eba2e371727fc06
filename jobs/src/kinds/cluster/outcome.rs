//! From a clustering to findings and notes, and the words and SQL that tables repeat.

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};
use gristmill_engine::cluster::{
    Bound, Choice, ClusterOptions, Clustering, DOUBTFUL, Feature, Method, REFUSED, Rule, Scale, Segment, Sweep, Trust,
};
use gristmill_engine::columns::{self, Unit};
use gristmill_engine::findings::{Evidence, Finding};

use super::categories::{self, Used};
use crate::kinds::{number, quoted};
use crate::spec::StepSpec;
use crate::terminal::count;

/// Effect from which a column is named as setting a segment apart: small, in Cohen's words.
const NAMED: f64 = 0.2;

/// Columns named of a segment.
const MOST_NAMED: usize = 3;

/// Terms of the longest filter that is written; a longer one is left empty.
const MOST_TERMS: usize = 2_000;

/// SQL for all rows.
const ALL: &str = "1 = 1";

/// A clustering and what it was asked for.
pub(super) struct Said<'a> {
    pub(super) found: &'a Clustering,
    pub(super) schema: &'a Schema,
    /// Columns that took part.
    pub(super) used: &'a [Used],
    pub(super) step: &'a StepSpec,
    pub(super) options: &'a ClusterOptions,
    /// The column that names a row, and its cells in the rows that stand for segments.
    pub(super) id: Option<(Field, ArrayRef)>,
}

impl Said<'_> {
    /// Returns the findings: segments that come back, the largest first.
    pub(super) fn findings(&self, job: &str) -> Vec<Finding> {
        let segments = self.found.segments.iter().enumerate();
        let trusted = segments.filter(|(_, segment)| matches!(segment.trust, Trust::Stable | Trust::Doubtful));
        trusted.map(|(at, segment)| self.finding(job, at, segment)).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn finding(&self, job: &str, at: usize, segment: &Segment) -> Finding {
        let share = segment.n as f64 / self.found.n_rows as f64;
        let stability = segment.stability.unwrap_or_default();
        let doubt = if segment.trust == Trust::Doubtful { ", which is doubtful" } else { "" };
        let words = self.words(at);
        let sentence = format!(
            "segment {} holds {:.0} % of the rows ({} of {}), stability {stability:.2}{doubt}: {}",
            at + 1,
            100.0 * share,
            count(segment.n),
            count(self.found.n_rows),
            if words.is_empty() { "no column sets it apart".to_owned() } else { words },
        );
        Finding {
            job: job.to_owned(),
            step: self.step.name.value.clone(),
            kind: "cluster".to_owned(),
            subject: format!("segment {}", at + 1),
            filter: self.filter(at),
            effect: share,
            effect_unit: "share of rows".to_owned(),
            lo: None,
            hi: None,
            n: segment.n,
            support: share,
            p: None,
            p_min_attainable: None,
            q: None,
            q_method: format!("Jaccard stability over {} bootstrap samples", self.options.bootstrap),
            evidence: Evidence::Association,
            fragile: Some(segment.trust == Trust::Doubtful),
            confirmed_out_of_time: None,
            as_of: None,
            sentence,
        }
    }

    /// Returns the columns that set a segment apart, those with the largest effect first.
    fn apart(&self, segment: usize) -> Vec<&Feature> {
        let size = |feature: &Feature| feature.effect.map_or(0.0, f64::abs);
        let is_it = |feature: &&Feature| {
            let is_tested = feature.took_part || feature.q.is_some_and(|q| q <= self.options.alpha);
            feature.segment == segment && is_tested && size(feature) >= NAMED
        };
        let mut features: Vec<&Feature> = self.found.features.iter().filter(is_it).collect();
        features.sort_by(|a, b| size(b).total_cmp(&size(a)));
        features
    }

    pub(super) fn words(&self, segment: usize) -> String {
        let mut words = String::new();
        for feature in self.apart(segment).into_iter().take(MOST_NAMED) {
            let (Some(effect), Some(mean), Some(rest)) = (feature.effect, feature.mean, feature.mean_rest) else { continue };
            let side = if effect > 0.0 { "higher" } else { "lower" };
            let comma = if words.is_empty() { "" } else { ", " };
            let _ = write!(words, "{comma}{} {side} ({} against {})", feature.column, number(mean), number(rest));
        }
        words
    }

    /// Returns SQL for the rows of a segment: those nearer to its centre than to every other one, which is linear in the columns. Of
    /// segments that are bounded otherwise, or whose SQL would be too long to be read, the rules of the tree: they select other rows too,
    /// as the table `rules` says. Empty where no rule names the segment.
    pub(super) fn filter(&self, segment: usize) -> String {
        let all = &self.found.segments;
        let has_text = self.used.iter().any(|used| used.level.is_some());
        if has_text || self.found.method != Method::KMeans || all.len().saturating_sub(1) * self.used.len() > MOST_TERMS {
            let rules = self.found.rules.rules.iter().filter(|rule| rule.segment == segment);
            return rules.map(|rule| format!("({})", self.rule(rule))).collect::<Vec<String>>().join(" or ");
        }
        let own = &all[segment].centre;
        let nearer = |other: &Segment| {
            let (mut terms, mut bound) = (Vec::new(), 0.0);
            for (column, used) in self.used.iter().enumerate() {
                let unit = self.found.scalers[column].unit;
                let weight = 2.0 * (other.centre[column] - own[column]) / (unit * unit);
                // Not by squares of the centres: far from 0 their difference is lost in rounding.
                bound += weight * f64::midpoint(own[column], other.centre[column]);
                if weight != 0.0 {
                    terms.push(format!("{weight} * {}", self.sql(used.at)));
                }
            }
            // Centres of length 1 are parted by direction alone.
            let bound = if self.options.scale == Scale::Unit { 0.0 } else { bound };
            if terms.is_empty() { ALL.to_owned() } else { format!("{} <= {bound}", terms.join(" + ")) }
        };
        let others = all.iter().enumerate().filter(|(at, _)| *at != segment);
        let conditions: Vec<String> = others.map(|(_, other)| nearer(other)).collect();
        if conditions.is_empty() {
            return self.present(|_| true).collect::<Vec<String>>().join(" and ");
        }
        conditions.join(" and ")
    }

    /// Returns SQL for the rows of a rule, of those that have all cells.
    pub(super) fn rule(&self, rule: &Rule) -> String {
        let bound = |bound: &Bound| {
            let used = &self.used[bound.column];
            let Some(level) = &used.level else {
                let sign = if bound.is_above { ">" } else { "<=" };
                return format!("{} {sign} {}", self.sql(used.at), bound.at);
            };
            let (name, text) = (quoted(self.schema.field(used.at).name()), categories::text(level));
            if bound.is_above { format!("{name} = {text}") } else { format!("({name} <> {text} or {name} is null)") }
        };
        // A text that is one is none of the others.
        let is_named = |at: usize| rule.bounds.iter().any(|other| other.is_above && self.used[other.column].at == at);
        let is_needed = |bound: &&Bound| {
            let used = &self.used[bound.column];
            used.level.is_none() || bound.is_above || !is_named(used.at)
        };
        let mut terms: Vec<String> = rule.bounds.iter().filter(is_needed).map(bound).collect();
        // Rows that lack cells are placed among the segments afterwards, and no filter selects them.
        let is_bound = |column: usize| rule.bounds.iter().any(|bound| bound.column == column);
        if self.found.n_incomplete > 0 {
            terms.extend(self.present(|column| !is_bound(column)));
        }
        if terms.is_empty() { ALL.to_owned() } else { terms.join(" and ") }
    }

    /// Returns SQL that cells of columns of numbers are there.
    fn present(&self, is_asked: impl Fn(usize) -> bool) -> impl Iterator<Item = String> {
        let columns = self.used.iter().enumerate().filter(move |(column, used)| used.level.is_none() && is_asked(*column));
        columns.map(|(_, used)| format!("{} is not null", quoted(self.schema.field(used.at).name())))
    }

    /// Returns a column as a number in SQL.
    fn sql(&self, at: usize) -> String {
        let field = self.schema.field(at);
        let name = quoted(field.name());
        if columns::unit(field.data_type()) == Some(Unit::Boolean) { format!("cast({name} as integer)") } else { name }
    }

    /// Returns why there are as many segments as there are.
    pub(super) fn reason(&self) -> String {
        let found = self.found;
        let word = found.method.word();
        let by_chance = found.sweep.iter().find(|sweep| sweep.criterion == "by_chance");
        match (self.options.k, found.segments.len()) {
            (_, 0) if found.method.finds_k() => {
                format!("no cluster structure was found: `{word}` parts no dense place from another")
            }
            (_, n) if found.method.finds_k() => format!("{n} segments: `{word}` parts as many dense places"),
            (Choice::Auto(_), 0) if self.options.method == Method::Auto || by_chance.is_some() => {
                let why = by_chance.map_or_else(
                    || "the rows make fewer than two dense places".to_owned(),
                    |sweep| format!("{:.0} of 100 tables without any look as structured", 100.0 * sweep.value),
                );
                format!("no cluster structure was found: {why} (table `sweep`)")
            }
            (Choice::Auto(_), n) if self.options.method == Method::Auto => {
                let cut = found.sweep.iter().find(|sweep| sweep.criterion == "normalised_cut" && sweep.chosen);
                format!(
                    "{n} segments: as many dense places, parted by `{word}` with the smallest normalised cut ({:.3}; table `sweep`)",
                    cut.map_or(0.0, |cut| cut.value)
                )
            }
            (Choice::Auto(_), 0) => {
                let best = found.sweep.iter().filter(|sweep| sweep.k > 1).max_by(|a, b| worth(a).total_cmp(&worth(b)));
                let best = best.map_or_else(|| "there are too few rows to tell".to_owned(), too_weak);
                format!("no cluster structure was found: {best} (table `sweep`)")
            }
            (Choice::Auto(_), n) => {
                let chosen = found.sweep.iter().find(|sweep| sweep.chosen);
                let why = chosen.map_or_else(String::new, |chosen| match chosen.criterion {
                    "bic" => format!(": the number with the least BIC ({:.1}; table `sweep`)", chosen.value),
                    _ => format!(": the most with a prediction strength of 0.8 or more ({:.2}; table `sweep`)", chosen.value),
                });
                format!("{n} segments{why}")
            }
            (Choice::Given(k), n) if n < k => format!("{k} segments were asked for, and the rows make {n}"),
            (Choice::Given(k), _) => format!("{k} segments were asked for, made by `{word}`"),
        }
    }

    /// Returns what a person should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let found = self.found;
        let mut notes = vec![self.reason()];
        let refused = found.segments.iter().filter(|segment| segment.trust == Trust::Refused).count();
        if refused > 0 {
            notes.push(format!(
                "{refused} of {} segments are refused: their stability is below {REFUSED}, they do not come back",
                found.segments.len()
            ));
        }
        let doubtful = found.segments.iter().filter(|segment| segment.trust == Trust::Doubtful).count();
        if doubtful > 0 {
            notes.push(format!("{doubtful} of {} segments are doubtful: their stability is below {DOUBTFUL}", found.segments.len()));
        }
        if found.n_noise > 0 {
            notes.push(format!("{} rows are noise: they lie in no dense place and have no segment", count(found.n_noise)));
        }
        if found.n_incomplete > 0 {
            let n_placed: u64 = found.segments.iter().map(|segment| segment.n_placed).sum();
            let placed = if n_placed > 0 {
                format!("{} of them were placed by the cells that they have, {}", count(n_placed), count(found.n_incomplete - n_placed))
            } else {
                "they".to_owned()
            };
            notes.push(format!("{} rows lack a cell and made no segment: {placed} have none", count(found.n_incomplete)));
        }
        if found.n_settled > 0 {
            notes.push(format!("{} assignments were too close for f32 and settled in f64", count(found.n_settled)));
        }
        if let Some(recall) = found.recall {
            notes.push(format!("segments were linked along lists of near rows, which hold {:.1} % of the nearest ones", 100.0 * recall));
        }
        if let Some(size) = self.options.batch_size.filter(|_| !found.segments.is_empty()) {
            notes.push(format!("centres followed the rows in one pass, in batches of {} (`batch_size`)", count(size as u64)));
        }
        if !found.converged {
            notes.push(format!("the fit had not settled after {} iterations (`max_iterations`)", count(found.iterations.into())));
        }
        if found.n_sample < found.n_rows - found.n_incomplete && !found.segments.is_empty() {
            notes.push(format!("number, seeds and stability of segments are judged on {} rows drawn at random", count(found.n_sample)));
        }
        if found.n_drawn < found.n_rows - found.n_incomplete && !found.segments.is_empty() {
            notes.push(format!("exemplars, rules, silhouettes and the map are of {} rows drawn at random", count(found.n_drawn)));
        }
        if let (Some(accuracy), Some(price)) = (found.rules.accuracy, found.rules.price) {
            notes.push(format!(
                "{} rules of a shallow tree name the segment of {:.0} % of rows that it has not seen, at {price:.2} times the inertia (table \
                 `rules`)",
                found.rules.rules.len(),
                100.0 * accuracy,
            ));
        }
        if !found.segments.is_empty() {
            notes.push("columns that made the segments are described, not tested: they differ between them by construction".to_owned());
        }
        notes
    }
}

/// Returns how good a number of segments looked.
fn worth(sweep: &Sweep) -> f64 {
    if sweep.criterion == "bic" { -sweep.value } else { sweep.value }
}

/// Says what the best number of segments came to where it was not enough.
fn too_weak(best: &Sweep) -> String {
    match best.criterion {
        "bic" => format!("one normal distribution has a lower BIC than {} ({:.1})", best.k, best.value),
        _ => format!("at best ({} segments) its prediction strength is {:.2}, and 0.8 is needed", best.k, best.value),
    }
}
