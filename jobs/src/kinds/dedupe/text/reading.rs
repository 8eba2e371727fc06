//! From rows to sets of shingles, in memory as long as they fit, else in files.

use std::cell::OnceCell;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use gristmill_engine::backend::Backend;
use gristmill_engine::columns::is_text;
use gristmill_engine::dedupe::{Bands, NearTexts, ShelvedTexts, TextSets};

use super::super::THRESHOLD;
use super::super::grouped::{Origin, OriginReading, compared};
use super::{RECALL, shingles};
use crate::JobError;
use crate::kinds::StepRun;
use crate::pass;
use crate::shelf::FileShelf;
use crate::spec::{StepSpec, Values};
use crate::terminal::{count, counted};

/// Bytes of a text beside its shingles: where they lie, its class, its group, its rows of the tables.
const BYTES_A_TEXT: u64 = 104;
/// Bytes of a shingle in memory: itself, its counter, and its share of the prefixes.
const BYTES_A_SHINGLE: u64 = 14;
/// Bytes of a pair: as it was found, sorted, as a link.
pub(super) const BYTES_A_PAIR: u64 = 72;

/// Probability with which a pair at the threshold is found where shingles do not fit into memory, and nobody says another.
const RECALL_BEYOND: f64 = 0.999;

/// What texts need whose shingles do not fit into memory.
pub(super) struct Beyond {
    pub(super) shelf: FileShelf,
    bands: Bands,
    recall: f64,
    is_asked: bool,
    /// Where signatures are made, and why there.
    pub(super) backend: Backend,
    pub(super) reason: String,
}

/// The sets of all texts.
pub(super) enum Sets<'a> {
    Held(TextSets),
    Shelved(&'a Beyond, ShelvedTexts<'a>),
}

/// The texts of all rows as shingles.
pub(super) struct Texts<'a> {
    pub(super) sets: Sets<'a>,
    pub(super) origin: Origin,
    pub(super) n_columns: usize,
}

/// Returns the bands that reach a recall at the threshold of the step.
pub(super) fn bands(how: &Values, recall: f64) -> Option<Bands> {
    Bands::reaching(recall, how.number(THRESHOLD).unwrap_or(0.8))
}

impl Beyond {
    /// Looks at the texts so far, and says where the signatures of all are made.
    fn new(sets: &TextSets, how: &Values, on: &StepRun<'_>) -> Result<Self, JobError> {
        let asked = how.number(RECALL);
        let recall = asked.unwrap_or(RECALL_BEYOND);
        let bands = bands(how, recall).expect("bands for what may be asked for are there: the spec was checked");
        let n_texts = on.source.n_rows().unwrap_or(sets.len() as u64);
        let n_shingles = sets.n_shingles() / (sets.len() as u64).max(1) * n_texts;
        let (backend, reason) = on.placed(ShelvedTexts::cost(n_shingles, n_texts, bands));
        let shelf = FileShelf::new(on.scratch, bands.n_bands + 1)?;
        Ok(Self { shelf, bands, recall, is_asked: asked.is_some(), backend, reason })
    }

    /// Says what may be missing.
    pub(super) fn said(&self, found: &NearTexts, threshold: f64) -> String {
        let Bands { n_rows, n_bands } = self.bands;
        let why = if self.is_asked { "As `recall` asks for" } else { "The shingles did not fit into `memory`" };
        let n_found = found.pairs.len() as f64;
        let share = if n_found > 0.0 { n_found / (n_found + found.n_missed) } else { 1.0 };
        let missed = if found.n_missed < 0.5 { "none".to_owned() } else { format!("about {:.0}", found.n_missed) };
        format!(
            "{why}: pairs were looked for by MinHash, in {} of {}, which bring a pair at {threshold} together with a probability of {:.5} ({} asked for), a more similar one with more. Expected to be missing: {missed} of the pairs (recall {:.5}).",
            counted(n_bands as u64, "band"),
            counted(n_rows as u64, "slot"),
            self.bands.found(threshold),
            self.recall,
            share,
        )
    }
}

impl<'a> Texts<'a> {
    pub(super) fn read(how: &Values, step: &StepSpec, on: &StepRun<'_>, beyond: &'a OnceCell<Beyond>) -> Result<Self, JobError> {
        let schema = on.source.schema();
        let data = |message: String| JobError::Data { step: step.name.value.clone(), message };
        let mut projection = compared(step, &schema);
        projection.retain(|at| is_text(schema.field(*at).data_type()));
        if projection.is_empty() {
            return Err(data("no column of text is left to compare; name one with `fields`".to_owned()));
        }
        let n_columns = projection.len();
        let mut origin = OriginReading::new(step, &schema);
        projection.extend(origin.columns());
        let mut sets = Sets::Held(TextSets::new(shingles(how)));
        pass::blocks(&projection, step, on, |mut block, n_rows| {
            origin.put(&block.split_off(n_columns)).map_err(data)?;
            let whole = |pieces: Vec<ArrayRef>| {
                let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                concat(&pieces).and_then(|whole| cast(&whole, &DataType::LargeUtf8)).map_err(|error| data(error.to_string()))
            };
            let columns: Vec<ArrayRef> = block.into_iter().map(whole).collect::<Result<_, _>>()?;
            let parts = |row: usize, put: &mut dyn FnMut(&str)| {
                for column in &columns {
                    let column = column.as_string::<i64>();
                    if column.is_valid(row) {
                        put(column.value(row));
                    }
                }
            };
            match &mut sets {
                Sets::Held(held) => held.push(n_rows, &parts),
                Sets::Shelved(beyond, texts) => texts.push(n_rows, &parts).map_err(|error| beyond.shelf.not_written(error))?,
            }
            // The first block says how long texts are.
            if let Sets::Held(held) = &mut sets
                && goes_beyond(held, how, on)
            {
                let held = std::mem::replace(held, TextSets::new(shingles(how)));
                let made = Beyond::new(&held, how, on)?;
                let beyond = beyond.get_or_init(|| made);
                let mut texts = ShelvedTexts::new(shingles(how), beyond.bands, on.seed, &beyond.shelf, &beyond.backend);
                texts.push_held(held).map_err(|error| beyond.shelf.not_written(error))?;
                sets = Sets::Shelved(beyond, texts);
            }
            within_budget(&sets, step, on).map(|_| ())
        })?;
        if u32::try_from(sets.len()).is_err() {
            return Err(data(format!("{} rows, and texts are counted with 32 bits", count(sets.len() as u64))));
        }
        let origin = origin.finish(sets.len()).map_err(data)?;
        Ok(Self { sets, origin, n_columns })
    }
}

/// Says whether texts go into files: they were asked to, or do not fit into memory and nobody forbids it.
fn goes_beyond(held: &TextSets, how: &Values, on: &StepRun<'_>) -> bool {
    how.number(RECALL).map_or_else(|| held_bytes(held) > on.memory_bytes, |recall| recall < 1.0)
}

fn held_bytes(sets: &TextSets) -> u64 {
    sets.len() as u64 * BYTES_A_TEXT + sets.n_shingles() * BYTES_A_SHINGLE
}

impl Sets<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Held(sets) => sets.len(),
            Self::Shelved(_, texts) => texts.len(),
        }
    }
}

/// Returns the bytes that are left for pairs, and for what is looked at in parts.
pub(super) fn within_budget(sets: &Sets<'_>, step: &StepSpec, on: &StepRun<'_>) -> Result<u64, JobError> {
    let n_texts = sets.len() as u64;
    let needed_bytes = match sets {
        Sets::Held(sets) => held_bytes(sets),
        Sets::Shelved(..) => n_texts * BYTES_A_TEXT,
    };
    on.memory_bytes.checked_sub(needed_bytes).ok_or_else(|| {
        let (n_all, needed_bytes) = on.of_all_rows(needed_bytes, n_texts);
        let n_all = count(n_all);
        let (what, help) = match sets {
            Sets::Held(_) => (
                format!("the shingles of {n_all} texts in memory"),
                "raise `memory`, name fewer columns with `fields`, or remove `recall` so that they may lie in files",
            ),
            Sets::Shelved(..) => (format!("{n_all} texts, whose shingles lie in files"), "raise `memory`"),
        };
        JobError::Budget {
            what: format!("step `{}`: {what}", step.name.value),
            needed_bytes,
            budget_bytes: on.memory_bytes,
            help: help.to_owned(),
        }
    })
}
