//! Why records are one: the entities that hang together least, and the pairs that were to be explained (tables `weakest` and `explained`).

use super::tables::{Batch, Text};
use super::text::{Html, count, name};

/// Entities that are shown.
const WEAKEST: usize = 8;
/// Pairs that are shown.
const PAIRS: usize = 6;
/// Lines of a pair that are shown.
const LINES: usize = 24;
/// Letters of a cell that are shown.
const CELL: usize = 32;

/// An entity, and the pair that holds it together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WeakEntity {
    /// Its number.
    pub entity: u64,
    /// Its records.
    pub n_records: u64,
    /// Both records of the pair, by the `id` or the row.
    pub ends: [String; 2],
    /// Probability that they match, and the least of any two records of the entity.
    pub score: [f64; 2],
}

/// A pair that was to be explained.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExplainedPair {
    /// Which of the pairs.
    pub pair: u64,
    /// Both records.
    pub ends: [String; 2],
    /// Probability that they match.
    pub score: f64,
    /// Why they are one, or not.
    pub reason: String,
    /// Column, both cells, how alike they are, bits, sum so far.
    pub lines: Vec<(String, [String; 2], String, [f64; 2])>,
}

/// Both records of every line of a batch: by their `id`, or by their row.
pub(super) struct Ends([[Text; 2]; 2]);

impl Ends {
    pub(super) fn of(batch: &Batch<'_>) -> Self {
        Self(["a", "b"].map(|side| [batch.text(&format!("{side}_id")), batch.text(side)]))
    }

    pub(super) fn at(&self, row: usize) -> [String; 2] {
        [0, 1].map(|side: usize| {
            let [id, place] = &self.0[side];
            id.at(row).or_else(|| place.at(row)).unwrap_or_default().to_owned()
        })
    }
}

/// Takes the weakest entities, which come first.
pub(super) fn weakest(batch: &Batch<'_>, into: &mut Vec<WeakEntity>) -> Result<(), String> {
    batch.require(&["entity_id", "cluster_size", "score", "least"])?;
    let (entity, size) = (batch.count("entity_id"), batch.count("cluster_size"));
    let (score, least, ends) = (batch.number("score"), batch.number("least"), Ends::of(batch));
    for row in 0..batch.n_rows().min(WEAKEST.saturating_sub(into.len())) {
        into.push(WeakEntity {
            entity: entity.at(row).unwrap_or(0),
            n_records: size.at(row).unwrap_or(0),
            ends: ends.at(row),
            score: [&score, &least].map(|column| column.at(row).unwrap_or(0.0)),
        });
    }
    Ok(())
}

/// Takes the first pairs that were explained.
pub(super) fn explained(batch: &Batch<'_>, into: &mut Vec<ExplainedPair>) -> Result<(), String> {
    batch.require(&["pair", "score", "reason", "column", "bits", "sum_bits"])?;
    let (pair, score, bits, sums) = (batch.count("pair"), batch.number("score"), batch.number("bits"), batch.number("sum_bits"));
    let (reason, column, meaning) = (batch.text("reason"), batch.text("column"), batch.text("meaning"));
    let (cells, ends) = (["a", "b"].map(|side| batch.text(&format!("cell_{side}"))), Ends::of(batch));
    for row in 0..batch.n_rows() {
        let of = pair.at(row).unwrap_or(0);
        if into.last().is_none_or(|last| last.pair != of) {
            if into.len() == PAIRS {
                break;
            }
            into.push(ExplainedPair {
                pair: of,
                ends: ends.at(row),
                score: score.at(row).unwrap_or(0.0),
                reason: reason.owned(row),
                lines: Vec::new(),
            });
        }
        let lines = &mut into.last_mut().expect("a pair was just put there").lines;
        if lines.len() < LINES {
            let cell = |side: usize| cells[side].at(row).unwrap_or("-").to_owned();
            let numbers = [&bits, &sums].map(|column| column.at(row).unwrap_or(0.0));
            lines.push((column.owned(row), [cell(0), cell(1)], meaning.owned(row), numbers));
        }
    }
    Ok(())
}

/// One line of the weakest entities.
pub(super) struct WeakView {
    pub(super) entity: String,
    pub(super) n_records: String,
    pub(super) ends: [Html; 2],
    pub(super) score: [String; 2],
}

/// A pair with its lines.
pub(super) struct ExplainedView {
    pub(super) ends: [Html; 2],
    pub(super) score: String,
    pub(super) reason: Html,
    pub(super) lines: Vec<LineView>,
}

/// What one column says.
pub(super) struct LineView {
    pub(super) column: Html,
    pub(super) cells: [Html; 2],
    pub(super) meaning: Html,
    pub(super) bits: [String; 2],
}

impl WeakView {
    pub(super) fn new(weak: &WeakEntity) -> Self {
        Self {
            entity: count(weak.entity),
            n_records: count(weak.n_records),
            ends: [0, 1].map(|end: usize| name(&weak.ends[end], CELL)),
            score: weak.score.map(|score| format!("{score:.3}")),
        }
    }
}

impl ExplainedView {
    pub(super) fn new(pair: &ExplainedPair) -> Self {
        let line = |(column, cells, meaning, bits): &(String, [String; 2], String, [f64; 2])| LineView {
            column: name(column, CELL),
            cells: [0, 1].map(|side: usize| name(&cells[side], CELL)),
            meaning: name(meaning, 60),
            bits: bits.map(|bits| format!("{bits:+.1}").replace('-', "\u{2212}")),
        };
        Self {
            ends: [0, 1].map(|end: usize| name(&pair.ends[end], CELL)),
            score: format!("{:.3}", pair.score),
            reason: name(&pair.reason, 120),
            lines: pair.lines.iter().map(line).collect(),
        }
    }
}
