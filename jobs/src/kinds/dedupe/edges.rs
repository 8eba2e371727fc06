//! Pairs and scores that are given.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use gristmill_engine::dedupe::{ColumnBuilder, Edge, EdgeOptions, RecordColumn, entities_of_edges};

use super::given::{self, Given};
use super::grouped::{Grouped, Origin, OriginReading, Verdict};
use super::plain::{self, FoundPairs};
use super::{CLEAN_SOURCES, EDGES, EXACT, FIELDS, TEXT, THRESHOLD, crosses, grouping, sentence, source_column};
use crate::JobError;
use crate::kinds::{JobKind, StepOutcome, StepRun};
use crate::pass;
use crate::spec::{Problems, StepSpec};
use crate::terminal::counted;

/// Adds what is wrong with the keys beside `edges`.
pub(super) fn check(step: &StepSpec, problems: &mut Problems) {
    for key in [FIELDS, EXACT, TEXT].into_iter().filter(|key| step.is_written(key)) {
        let message = format!("`{key}` beside `edges` says nothing: pairs are given, and nothing is compared");
        problems.add(step.span(key), message, "not of `edges`", "remove one of the two");
    }
}

/// The records that edges are between. Their place is what edges count by.
struct Nodes {
    origin: Origin,
    /// The column that names them, and its row by code; none where edges count rows.
    id: Option<(RecordColumn, Vec<u32>)>,
    n_rows: usize,
}

impl Nodes {
    fn read(is_by_id: bool, step: &StepSpec, on: &StepRun<'_>) -> Result<Self, JobError> {
        let schema = on.source.schema();
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        let mut origin = OriginReading::new(step, &schema);
        let id = step.id.as_ref().filter(|_| is_by_id).and_then(|id| schema.index_of(&id.value).ok());
        let mut projection = vec![id.unwrap_or(0)];
        projection.extend(origin.columns());
        let (mut names, mut n_rows) = (ColumnBuilder::default(), 0);
        pass::blocks(&projection, step, on, |mut block, rows| {
            origin.put(&block.split_off(1)).map_err(data)?;
            for piece in block.iter().flatten().filter(|_| id.is_some()) {
                let words = cast(piece, &DataType::Utf8).map_err(|error| data(error.to_string()))?;
                words.as_string::<i32>().iter().try_for_each(|word| names.push(word)).map_err(|error| data(error.to_string()))?;
            }
            n_rows += rows;
            within_budget(n_rows, names.bytes() as u64 + origin.bytes(), 0, step, on).map(|_| ())
        })?;
        let origin = origin.finish(n_rows).map_err(data)?;
        let by_name = |column: RecordColumn| given::rows_by_name(EDGES, &column).map(|row_of| (column, row_of));
        let id = id.map(|at| by_name(names.finish_exact(schema.field(at).name()))).transpose().map_err(data)?;
        Ok(Self { origin, id, n_rows })
    }
}

/// Bytes of a row beside its name, and of an edge.
const BYTES_A_ROW: u64 = 96;
const BYTES_AN_EDGE: u64 = 96;

fn within_budget(n_rows: usize, held: u64, n_edges: usize, step: &StepSpec, on: &StepRun<'_>) -> Result<u64, JobError> {
    let needed_bytes = 2 * held + n_rows as u64 * BYTES_A_ROW + n_edges as u64 * BYTES_AN_EDGE;
    on.memory_bytes.checked_sub(needed_bytes).ok_or_else(|| JobError::Budget {
        what: format!("step `{}`: {} and {} in memory", step.name.value, counted(n_rows as u64, "row"), counted(n_edges as u64, "edge")),
        needed_bytes,
        budget_bytes: on.memory_bytes,
        help: "raise `memory`, or leave weak edges out with `where` of their source".to_owned(),
    })
}

/// Reads the edges.
fn edges(nodes: &Nodes, given: &Given<'_>, step: &StepSpec, on: &StepRun<'_>) -> Result<Vec<Edge>, JobError> {
    let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
    let held = nodes.id.as_ref().map_or(0, |(column, _)| 4 * column.codes.len() as u64);
    let named = given::Nodes { id: nodes.id.as_ref().map(|(column, _)| column), n_rows: nodes.n_rows };
    let mut edges: Vec<Edge> = Vec::new();
    given.each(&named, |pairs, said, done| {
        let scores = cast(said, &DataType::Float64).map_err(|error| data(format!("`{EDGES}`: {error}")))?;
        let scores = scores.as_primitive::<Float64Type>();
        for (row, ([a, b], score)) in pairs.iter().zip(scores).enumerate() {
            let score = score.filter(|score| (0.0..=1.0).contains(score)).ok_or_else(|| {
                let said = score.map_or_else(|| "missing".to_owned(), |score| score.to_string());
                data(format!("the score of row {} of `{EDGES}` is {said}, but must be from 0 to 1", done + row))
            })?;
            edges.push(Edge { a: *a, b: *b, score });
        }
        within_budget(nodes.n_rows, held, edges.len(), step, on).map(|_| ())
    })?;
    Ok(edges)
}

/// Runs a step whose pairs are given.
pub(super) fn run(kind: &dyn JobKind, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    let given = Given::of(EDGES, Some("score"), step, on)?;
    let nodes = Nodes::read(given.is_by_id, step, on)?;
    let edges = edges(&nodes, &given, step, on)?;
    let row_of = |place: u32| nodes.id.as_ref().map_or(place, |(_, row_of)| row_of[place as usize]);
    let by_place = |of_row: &[u16]| (0..nodes.n_rows as u32).map(|place| of_row[row_of(place) as usize]).collect();
    let options = EdgeOptions {
        threshold: step.number(THRESHOLD).unwrap_or(0.5),
        source: crosses(step).then(|| by_place(&nodes.origin.source)),
        grouping: grouping(step),
        is_clean: step.is_written(CLEAN_SOURCES).then(|| step.flag(CLEAN_SOURCES)),
    };
    let found = entities_of_edges(nodes.n_rows, &edges, &options);
    let mut entity = vec![0; nodes.n_rows];
    for (place, of) in found.entity.iter().enumerate() {
        entity[row_of(place as u32) as usize] = *of;
    }
    // What the rows hold was not looked at: each is its own.
    let content: Vec<u32> = (0..nodes.n_rows as u32).collect();
    let grouped =
        Grouped { step, on, origin: &nodes.origin, content: &content, entity: &entity, n_entities: found.n_entities, numbers: None };
    let strong = found.edges.iter().filter(|edge| edge.score >= options.threshold).count() as u64;
    let verdict = Verdict {
        method: "edges",
        verdict: if strong == 0 { "no_duplicates" } else { "resolved" },
        reason: format!("{} with a score of {} or more", counted(strong, "edge"), options.threshold),
        n_candidates: Some(found.edges.len() as u64),
        threshold: Some(options.threshold),
        clean_sources: found.is_clean,
        ..Verdict::default()
    };
    let kept: Vec<u32> = found.kept.iter().map(|place| row_of(*place)).collect();
    let mut pairs: Vec<(u32, u32, f64)> = found.edges.iter().map(|edge| (row_of(edge.a), row_of(edge.b), edge.score)).collect();
    pairs.sort_by(|one, other| other.2.total_cmp(&one.2));
    let (tables, by_cause) = plain::tables(&grouped, &kept, FoundPairs::of(pairs.iter().copied()), verdict)?;
    let mut notes = vec![
        format!("{}.", sentence(nodes.n_rows as u64, found.n_entities as u64)),
        format!(
            "{} given; a pair without one counts as half of the least score, at most half of `threshold`.",
            counted(found.edges.len() as u64, "edge")
        ),
    ];
    if found.is_clean == Some(true) {
        let column = source_column(step).unwrap_or_default();
        notes.push(format!("Each source of `{column}` is taken to hold each thing once; `clean_sources = false` says otherwise."));
    }
    notes.extend(by_cause);
    Ok(StepOutcome { tables, n_rows: nodes.n_rows as u64, n_columns: 0, notes, ..StepOutcome::on_cpu(kind) })
}
