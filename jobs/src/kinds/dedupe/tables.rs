//! From a resolution of records to tables and notes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use gristmill_engine::dedupe::{Doubt, Doubted, Estimate, Pair, RecordColumn, Records, Resolution, Said};

use super::baseline::Numbers;
use super::explain::{self, Why};
use super::golden::Golden;
use super::grouped::{Grouped, Verdict};
use super::review::{self, Asked};
use super::timeline::{Moves, Times};
use super::{THRESHOLD, sentence, source_column};
use crate::JobError;
use crate::kinds::{Table, batch};
use crate::spec::listed;
use crate::terminal::{count, counted};

/// A resolution and what it was made of.
pub(super) struct Found<'a> {
    pub(super) grouped: Grouped<'a>,
    pub(super) records: &'a Records,
    pub(super) found: &'a Resolution,
}

/// Pairs from 50 % below which weights learnt without labels mean little.
const FEW_MATCHES: usize = 20;

impl Found<'_> {
    /// Returns the tables in the order of the kind's.
    pub(super) fn tables(&self) -> Result<(Vec<Table>, Vec<String>), JobError> {
        let members = self.grouped.members();
        let id = self.grouped.carried_id()?;
        let numbers = Numbers::of(&self.grouped, &members, id.as_ref())?;
        let grouped = &Grouped { numbers: numbers.of_entity.as_deref(), ..self.grouped };
        let mut asked = Asked::new(&self.found.drawn);
        let times = Times::of(grouped)?;
        let mut moves = Moves::new(grouped, self.records, &members, times.as_ref());
        let golden = Golden { grouped, compared: &self.records.columns, members: &members, times: times.as_ref() };
        let [golden, conflicts] = golden.tables(&mut asked, &mut moves)?;
        let (entities, classes, by_cause) = grouped.entities(&members, id.as_ref())?;
        let mut tables = vec![
            golden,
            entities,
            Table::one("pairs", self.pairs(id.as_ref())?),
            Table::one("comparisons", comparisons(&self.found.comparisons)),
            conflicts,
            classes,
        ];
        tables.extend(asked.tables(grouped, id.as_ref())?);
        tables.push(Table::one("strata", review::strata(&self.found.strata)));
        let why = Why {
            grouped,
            explained: &self.found.explained,
            identifiers: &self.records.identifiers,
            comparisons: &self.found.comparisons,
            prior: self.found.prior,
            is_clean: self.found.is_clean == Some(true),
            threshold: grouped.step.number(THRESHOLD).unwrap_or(0.5),
        };
        tables.push(explain::weakest(grouped, &members, &self.found.weakest, id.as_ref())?);
        tables.push(why.table(id.as_ref())?);
        tables.push(numbers.table());
        tables.push(doubted(grouped, &self.found.doubted, &self.records.identifiers, id.as_ref())?);
        let moved = moves.said();
        tables.extend(moves.tables(id.as_ref())?);
        tables.push(Table::one("verdict", self.verdict()));
        Ok((tables, by_cause.into_iter().chain(numbers.said()).chain(moved).chain(why.said(id.as_ref())).collect()))
    }

    fn pairs(&self, id: Option<&(Field, ArrayRef)>) -> Result<RecordBatch, JobError> {
        let pairs = &self.found.pairs;
        let row = |of: fn(&Pair) -> u32| pairs.iter().map(|pair| u64::from(of(pair))).collect::<UInt64Array>();
        let score = pairs.iter().map(|pair| pair.probability).collect();
        let mut columns = self.grouped.pairs(row(|pair| pair.a), row(|pair| pair.b), score, id)?;
        let by: StringArray = self.found.by.iter().map(|by| by.map(|at| self.records.identifiers[at].name.as_str())).collect();
        columns.push((Field::new("identifier", DataType::Utf8, true), Arc::new(by)));
        for (said, adds) in self.found.comparisons.iter().zip(&self.found.adds) {
            let adds = Float32Array::from(adds.clone());
            columns.push((Field::new(format!("{}_bits", said.column), DataType::Float32, false), Arc::new(adds)));
        }
        Ok(batch(columns))
    }

    fn n_likely(&self) -> usize {
        self.found.pairs.iter().filter(|pair| pair.probability >= 0.5).count()
    }

    /// Returns the verdict and why.
    fn judged(&self) -> (&'static str, String) {
        match self.n_likely() {
            0 => ("no_duplicates", "no pair of records is likelier to be one thing than two".to_owned()),
            n if n < FEW_MATCHES => {
                let why =
                    format!("{} likelier than not: weights learnt from fewer than {FEW_MATCHES} mean little", counted(n as u64, "pair"));
                ("too_few", why)
            }
            n => ("resolved", format!("{} likelier than not to be one thing", counted(n as u64, "pair"))),
        }
    }

    fn verdict(&self) -> RecordBatch {
        let found = self.found;
        let (verdict, reason) = self.judged();
        Verdict {
            method: "records",
            verdict,
            reason,
            n_candidates: Some(found.n_candidates),
            largest_block: Some(found.largest_block as u64),
            n_unseen: Some(found.n_unseen),
            threshold: self.grouped.step.number(THRESHOLD),
            clean_sources: found.is_clean,
            expected_matches: Some(found.expected.n_matches),
            expected_missed: Some(found.expected.n_missed),
            n_checked: Some(found.expected.n_checked),
            expected: [found.expected.precision, found.expected.recall, found.expected.f1],
            prior_bits: Some(found.prior),
        }
        .table(&self.grouped)
    }

    /// Says what identifiers did, where there are any.
    fn identified(&self) -> Option<String> {
        let found = self.found;
        let names: Vec<String> = self.records.identifiers.iter().map(|column| format!("`{}`", column.name)).collect();
        let n_of = |doubt: Doubt| found.doubted.iter().filter(|doubted| doubted.doubt == doubt).count() as u64;
        let whose = [
            (n_of(Doubt::Generic), "generic"),
            (n_of(Doubt::Shared), "shared by records that contradict each other"),
            (n_of(Doubt::Apart), "at odds with another identifier"),
        ];
        let whose: Vec<String> = whose.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", count(*n))).collect();
        let doubted = if whose.is_empty() {
            "All of their values were believed".to_owned()
        } else {
            format!("Values not believed (`doubted`): {}", whose.join(", "))
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            let n = found.by.iter().filter(|by| by.is_some()).count() as u64;
            format!("{} one by an identifier ({}), before anything was weighed. {doubted}.", are(n), listed(&names))
        })
    }

    /// Returns what a person should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let found = self.found;
        let mut notes = vec![format!("{}.", sentence(found.entity.len() as u64, found.n_entities as u64))];
        let (verdict, reason) = self.judged();
        if verdict == "too_few" {
            notes.push(format!("Too little to learn from: {reason}."));
        }
        if let (Some(precision), Some(recall)) = (found.expected.precision, found.expected.recall) {
            let by = match found.expected.n_checked {
                0 => "By their probabilities".to_owned(),
                n => format!("By what people said of {}", counted(n, "pair")),
            };
            let from = if found.expected.n_checked == 0 { "; nobody has checked: `review.csv` takes answers" } else { "" };
            notes.push(format!(
                "{} were looked at. {by} {} of the pairs in entities match, and {} of the matches are in entities{from}.",
                counted(found.n_candidates, "pair"),
                percent(precision),
                percent(recall),
            ));
        }
        if found.expected.n_missed >= 1.0 {
            notes.push(format!(
                "About {:.0} more matches share no key that is rare enough to bring them together, or more: capture and recapture gives a lower bound.",
                found.expected.n_missed
            ));
        }
        if found.is_clean == Some(true) {
            let column = source_column(self.grouped.step).unwrap_or_default();
            notes.push(format!("Each source of `{column}` is taken to hold each thing once; `clean_sources = false` says otherwise."));
        }
        notes.extend(self.identified());
        if found.n_unseen > 0 {
            notes.push(format!(
                "Up to {} that share a key with more than {} and no finer one were not looked at.",
                counted(found.n_unseen, "pair"),
                counted(found.largest_block as u64, "record"),
            ));
        }
        notes.extend(found.notes.iter().map(|note| format!("{}.", capital(note))));
        notes
    }
}

/// Values of identifiers that were not believed, and two records of each.
pub(super) fn doubted(
    grouped: &Grouped<'_>,
    doubted: &[Doubted],
    identifiers: &[RecordColumn],
    id: Option<&(Field, ArrayRef)>,
) -> Result<Table, JobError> {
    let text = |name: &str, of: &dyn Fn(&Doubted) -> String| -> (Field, ArrayRef) {
        (Field::new(name, DataType::Utf8, false), Arc::new(doubted.iter().map(|one| Some(of(one))).collect::<StringArray>()))
    };
    let whole = |name: &str, of: fn(&Doubted) -> u64| -> (Field, ArrayRef) {
        (Field::new(name, DataType::UInt64, false), Arc::new(doubted.iter().map(of).collect::<UInt64Array>()))
    };
    let row = |of: fn(&Doubted) -> u32| doubted.iter().map(|one| u64::from(of(one))).collect::<UInt64Array>();
    let mut columns = vec![
        text("identifier", &|one| identifiers[one.identifier].name.clone()),
        text("value", &|one| one.value.clone()),
        text("why", &|one| one.doubt.word().to_owned()),
        whole("n_records", |one| one.n_records),
        whole("n_pairs", |one| one.n_held),
        whole("n_contradict", |one| one.n_contradict),
    ];
    let pairs = grouped.pairs(row(|one| one.example.0), row(|one| one.example.1), Float64Array::from(vec![0.0; doubted.len()]), id)?;
    columns.extend(pairs.into_iter().filter(|(field, _)| field.name() != "score"));
    Ok(Table::one("doubted", batch(columns)))
}

fn are(n: u64) -> String {
    if n == 1 { "1 pair of records is".to_owned() } else { format!("{} pairs of records are", count(n)) }
}

/// Writes a share and its interval.
fn percent(share: Estimate) -> String {
    let [value, lo, hi] = [share.value, share.lo, share.hi].map(|share| 100.0 * share);
    format!("{value:.1} % ({lo:.1} to {hi:.1})")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What every column says; empty where columns were not compared.
pub(super) fn comparisons(said: &[Said]) -> RecordBatch {
    let levels = || said.iter().flat_map(|said| said.levels.iter().enumerate().map(move |(at, level)| (said, at, level)));
    let number = |of: usize| -> ArrayRef { Arc::new(levels().map(|(_, _, level)| level[of]).collect::<Float64Array>()) };
    let column: StringArray = levels().map(|(said, ..)| Some(said.column.as_str())).collect();
    let content: StringArray = levels().map(|(said, ..)| Some(said.content.word())).collect();
    let level: UInt32Array = levels().map(|(_, at, _)| at as u32).collect();
    let meaning: StringArray = levels().map(|(said, at, _)| Some(said.content.level(at))).collect();
    let beside: StringArray = levels().map(|(said, ..)| said.beside.as_deref()).collect();
    batch(vec![
        (Field::new("column", DataType::Utf8, false), Arc::new(column)),
        (Field::new("content", DataType::Utf8, false), Arc::new(content)),
        (Field::new("level", DataType::UInt32, false), Arc::new(level)),
        (Field::new("meaning", DataType::Utf8, false), Arc::new(meaning)),
        (Field::new("m", DataType::Float64, false), number(0)),
        (Field::new("u", DataType::Float64, false), number(1)),
        (Field::new("weight_bits", DataType::Float64, false), number(2)),
        (Field::new("beside", DataType::Utf8, true), Arc::new(beside)),
    ])
}
