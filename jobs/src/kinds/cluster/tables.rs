//! The tables of a clustering, but for that of all rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use gristmill_engine::cluster::{Exemplar, Feature, Link, MapCell, Rule, Segment, Sweep, Trust};

use super::categories::{self, Used};
use super::outcome::Said;
use crate::kinds::{Table, batch};
use crate::model;

/// Rows below which no number of segments is looked at.
const MOST_NEEDED: u64 = 40;

impl Said<'_> {
    /// Returns the tables of the step, but for that of all rows.
    pub(super) fn tables(&self) -> Vec<Table> {
        vec![
            Table::one("segments", self.segments()),
            Table::one("profile", self.profile()),
            Table::one("links", self.links()),
            Table::one("features", self.features()),
            Table::one("exemplars", self.exemplars()),
            Table::one("rules", self.rules()),
            Table::one("verdict", self.verdict()),
            Table::one("sweep", self.sweep()),
            Table::one("map", self.map()),
            Table::one("axes", self.axes()),
            Table::one("model", model::to_table(&self.found.model)),
        ]
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of the rows")]
    fn segments(&self) -> RecordBatch {
        let all = &self.found.segments;
        let number = |of: &dyn Fn(&Segment) -> Option<f64>| -> ArrayRef { Arc::new(all.iter().map(of).collect::<Float64Array>()) };
        let description: Vec<String> = (0..all.len()).map(|at| self.words(at)).collect();
        let filters: Vec<String> = (0..all.len()).map(|at| self.filter(at)).collect();
        batch(vec![
            (Field::new("segment", DataType::UInt32, false), numbered(all.len())),
            (Field::new("n", DataType::UInt64, false), Arc::new(all.iter().map(|segment| segment.n).collect::<UInt64Array>())),
            (Field::new("share", DataType::Float64, true), number(&|segment| Some(segment.n as f64 / self.found.n_rows as f64))),
            (
                Field::new("n_placed", DataType::UInt64, false),
                Arc::new(all.iter().map(|segment| segment.n_placed).collect::<UInt64Array>()),
            ),
            (Field::new("stability", DataType::Float64, true), number(&|segment| segment.stability)),
            (
                Field::new("trust", DataType::Utf8, false),
                Arc::new(StringArray::from_iter_values(all.iter().map(|segment| segment.trust.word()))),
            ),
            (Field::new("weight", DataType::Float64, true), number(&|segment| segment.weight)),
            (Field::new("inertia", DataType::Float64, true), number(&|segment| Some(segment.inertia))),
            (Field::new("silhouette", DataType::Float64, true), number(&|segment| segment.silhouette)),
            (Field::new("below_zero", DataType::Float64, true), number(&|segment| Some(segment.profile.as_ref()?.below_zero))),
            (Field::new("description", DataType::Utf8, false), Arc::new(StringArray::from(description))),
            (Field::new("filter", DataType::Utf8, false), Arc::new(StringArray::from(filters))),
        ])
    }

    fn profile(&self) -> RecordBatch {
        let segments = (1_u32..).zip(&self.found.segments).filter_map(|(at, segment)| Some((at, segment.profile.as_ref()?)));
        let rows: Vec<(u32, u64, f64, f64)> = segments
            .flat_map(|(at, profile)| profile.quantiles.iter().map(move |&(share, quantile)| (at, profile.n, share, quantile)))
            .collect();
        batch(vec![
            (Field::new("segment", DataType::UInt32, false), Arc::new(rows.iter().map(|row| row.0).collect::<UInt32Array>())),
            (Field::new("n", DataType::UInt64, false), Arc::new(rows.iter().map(|row| row.1).collect::<UInt64Array>())),
            (Field::new("share", DataType::Float64, false), Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>())),
            (Field::new("silhouette", DataType::Float64, false), Arc::new(rows.iter().map(|row| Some(row.3)).collect::<Float64Array>())),
        ])
    }

    fn links(&self) -> RecordBatch {
        let all = &self.found.links;
        let number = |of: fn(&Link) -> usize| -> ArrayRef {
            let number = |link| u32::try_from(of(link) + 1).expect("segments and links are counted in u32");
            Arc::new(all.iter().map(number).collect::<UInt32Array>())
        };
        batch(vec![
            (Field::new("left", DataType::UInt32, false), number(|link| link.left)),
            (Field::new("right", DataType::UInt32, false), number(|link| link.right)),
            (Field::new("height", DataType::Float64, false), Arc::new(all.iter().map(|link| Some(link.height)).collect::<Float64Array>())),
            (Field::new("n", DataType::UInt64, false), Arc::new(all.iter().map(|link| link.n).collect::<UInt64Array>())),
        ])
    }

    fn features(&self) -> RecordBatch {
        let all = &self.found.features;
        let number = |of: fn(&Feature) -> Option<f64>| -> ArrayRef { Arc::new(all.iter().map(of).collect::<Float64Array>()) };
        let count = |of: fn(&Feature) -> u64| -> ArrayRef { Arc::new(all.iter().map(of).collect::<UInt64Array>()) };
        let segment = |feature: &Feature| u32::try_from(feature.segment + 1).expect("segments are counted in u32");
        batch(vec![
            (Field::new("segment", DataType::UInt32, false), Arc::new(all.iter().map(segment).collect::<UInt32Array>())),
            (
                Field::new("column", DataType::Utf8, false),
                Arc::new(StringArray::from_iter_values(all.iter().map(|feature| feature.column.as_str()))),
            ),
            (
                Field::new("took_part", DataType::Boolean, false),
                Arc::new(all.iter().map(|feature| Some(feature.took_part)).collect::<BooleanArray>()),
            ),
            (Field::new("n", DataType::UInt64, false), count(|feature| feature.n)),
            (Field::new("n_rest", DataType::UInt64, false), count(|feature| feature.n_rest)),
            (Field::new("mean", DataType::Float64, true), number(|feature| feature.mean)),
            (Field::new("mean_rest", DataType::Float64, true), number(|feature| feature.mean_rest)),
            (Field::new("effect", DataType::Float64, true), number(|feature| feature.effect)),
            (Field::new("p", DataType::Float64, true), number(|feature| feature.p)),
            (Field::new("q", DataType::Float64, true), number(|feature| feature.q)),
        ])
    }

    fn exemplars(&self) -> RecordBatch {
        let all = &self.found.exemplars;
        let segment = |exemplar: &Exemplar| u32::try_from(exemplar.segment + 1).expect("segments are counted in u32");
        let rows: UInt64Array = all.iter().map(|exemplar| exemplar.row as u64).collect();
        let mut columns: Vec<(Field, ArrayRef)> = vec![
            (Field::new("segment", DataType::UInt32, false), Arc::new(all.iter().map(segment).collect::<UInt32Array>())),
            (
                Field::new("role", DataType::Utf8, false),
                Arc::new(StringArray::from_iter_values(all.iter().map(|exemplar| exemplar.role.word()))),
            ),
            (Field::new("row", DataType::UInt64, false), Arc::new(rows)),
            (
                Field::new("distance", DataType::Float64, false),
                Arc::new(all.iter().map(|exemplar| Some(exemplar.distance)).collect::<Float64Array>()),
            ),
        ];
        columns.extend(self.id.clone());
        batch(columns)
    }

    fn rules(&self) -> RecordBatch {
        let all = &self.found.rules.rules;
        let segment = |rule: &Rule| u32::try_from(rule.segment + 1).expect("segments are counted in u32");
        let count = |of: fn(&Rule) -> u64| -> ArrayRef { Arc::new(all.iter().map(of).collect::<UInt64Array>()) };
        let share = |of: fn(&Rule) -> Option<f64>| -> ArrayRef { Arc::new(all.iter().map(of).collect::<Float64Array>()) };
        let filters = StringArray::from_iter_values(all.iter().map(|rule| self.rule(rule)));
        batch(vec![
            (Field::new("segment", DataType::UInt32, false), Arc::new(all.iter().map(segment).collect::<UInt32Array>())),
            (Field::new("filter", DataType::Utf8, false), Arc::new(filters)),
            (Field::new("n", DataType::UInt64, false), count(|rule| rule.n)),
            (Field::new("n_held_out", DataType::UInt64, false), count(|rule| rule.n_held_out)),
            (Field::new("coverage", DataType::Float64, true), share(|rule| rule.coverage)),
            (Field::new("purity", DataType::Float64, true), share(|rule| rule.purity)),
        ])
    }

    fn verdict(&self) -> RecordBatch {
        let n = u32::try_from(self.found.segments.len()).expect("segments are counted in u32");
        let trusted = self.found.segments.iter().filter(|segment| !matches!(segment.trust, Trust::Refused)).count();
        let structure = match (n, trusted) {
            (0, _) => "none",
            (_, 0) => "unstable",
            _ => "clusters",
        };
        // Below 20 rows for each of two halves' two segments nothing is looked at.
        let n_needed = (n == 0 && self.found.sweep.is_empty() && !self.found.method.finds_k()).then_some(MOST_NEEDED);
        batch(vec![
            (Field::new("structure", DataType::Utf8, false), Arc::new(StringArray::from(vec![structure]))),
            (Field::new("k", DataType::UInt32, false), Arc::new(UInt32Array::from(vec![n]))),
            (Field::new("method", DataType::Utf8, false), Arc::new(StringArray::from(vec![self.found.method.word()]))),
            (Field::new("reason", DataType::Utf8, false), Arc::new(StringArray::from(vec![self.reason()]))),
            (Field::new("n_needed", DataType::UInt64, true), Arc::new(UInt64Array::from(vec![n_needed]))),
            (Field::new("silhouette", DataType::Float64, true), Arc::new(Float64Array::from(vec![self.found.silhouette]))),
            (Field::new("rules_accuracy", DataType::Float64, true), Arc::new(Float64Array::from(vec![self.found.rules.accuracy]))),
            (Field::new("rules_price", DataType::Float64, true), Arc::new(Float64Array::from(vec![self.found.rules.price]))),
        ])
    }

    fn map(&self) -> RecordBatch {
        let all = &self.found.map.cells;
        let edge = |name: &str, of: fn(&MapCell) -> f64| -> (Field, ArrayRef) {
            (Field::new(name, DataType::Float64, false), Arc::new(all.iter().map(|cell| Some(of(cell))).collect::<Float64Array>()))
        };
        let segments: UInt32Array = all.iter().map(|cell| cell.segment.map(|segment| segment + 1)).collect();
        batch(vec![
            edge("x_lo", |cell| cell.x[0]),
            edge("x_hi", |cell| cell.x[1]),
            edge("y_lo", |cell| cell.y[0]),
            edge("y_hi", |cell| cell.y[1]),
            (Field::new("segment", DataType::UInt32, true), Arc::new(segments)),
            (Field::new("n", DataType::UInt64, false), Arc::new(all.iter().map(|cell| cell.n).collect::<UInt64Array>())),
        ])
    }

    fn axes(&self) -> RecordBatch {
        let all = &self.found.map.axes;
        let rows = || {
            (1_u32..).zip(all).flat_map(|(axis, of)| of.loadings.iter().enumerate().map(move |(column, at)| (axis, of.share, column, *at)))
        };
        let number =
            |of: fn((u32, f64, usize, f64)) -> f64| -> ArrayRef { Arc::new(rows().map(|row| Some(of(row))).collect::<Float64Array>()) };
        let name = |used: &Used| categories::flag_name(self.schema.field(used.at).name(), used.level.as_deref());
        let names: Vec<String> = rows().map(|(_, _, column, _)| name(&self.used[column])).collect();
        batch(vec![
            (Field::new("axis", DataType::UInt32, false), Arc::new(rows().map(|row| row.0).collect::<UInt32Array>())),
            (Field::new("column", DataType::Utf8, false), Arc::new(StringArray::from(names))),
            (Field::new("loading", DataType::Float64, false), number(|row| row.3)),
            (Field::new("share", DataType::Float64, false), number(|row| row.1)),
        ])
    }

    fn sweep(&self) -> RecordBatch {
        let all = &self.found.sweep;
        let text = |of: fn(&Sweep) -> &'static str| -> ArrayRef { Arc::new(StringArray::from_iter_values(all.iter().map(of))) };
        let k = |sweep: &Sweep| u32::try_from(sweep.k).expect("segments are counted in u32");
        batch(vec![
            (Field::new("method", DataType::Utf8, false), text(|sweep| sweep.method.word())),
            (Field::new("k", DataType::UInt32, false), Arc::new(all.iter().map(k).collect::<UInt32Array>())),
            (Field::new("criterion", DataType::Utf8, false), text(|sweep| sweep.criterion)),
            (Field::new("value", DataType::Float64, false), Arc::new(all.iter().map(|sweep| Some(sweep.value)).collect::<Float64Array>())),
            (
                Field::new("chosen", DataType::Boolean, false),
                Arc::new(all.iter().map(|sweep| Some(sweep.chosen)).collect::<BooleanArray>()),
            ),
        ])
    }
}

fn numbered(n: usize) -> ArrayRef {
    Arc::new((1..).take(n).collect::<UInt32Array>())
}
