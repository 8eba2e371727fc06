//! Labelled sets that others made: our entities against their truths, one default for all of them, and no label shown to the engine.
//!
//! The sets are read where they are at hand (`../shared/data/dedup`); they may not be shipped. Score: F1 over pairs, as
//! `../shared/peers/dedup_eval.py` counts them; B-cubed where the truth is clusters.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "a test that does nothing says so, and one that runs says what came out")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use gristmill_datasets::{SourceOptions, open};
use gristmill_engine::dedupe::{
    Answer, ColumnBuilder, DedupeOptions, Drawn, Estimate, Grouping, RecordColumn, Records, Resolution, Shingles, TextOptions, TextSets,
    Unit, dedupe, near_texts,
};

/// The least F1 of each set, a little below what was reached, and the best of the peers that was measured.
const SETS: &[(&str, f64, f64)] = &[
    ("febrl1", 0.9995, 0.0),
    ("febrl2", 0.9995, 0.0),
    ("febrl3", 0.9995, 0.9994),
    ("febrl4", 0.9995, 0.9996),
    ("rldata500", 0.98, 0.0),
    ("historical_50k", 0.88, 0.842),
    ("fake_1000", 0.92, 0.754),
    ("dblp_acm", 0.99, 0.988),
    ("abt_buy", 0.91, 0.932),
    ("amazon_google", 0.63, 0.547),
    ("fodors_zagats", 0.975, 0.991),
    ("imdb_tmdb", 0.89, 0.754),
    ("cora", 0.86, 0.531),
];

type Texts = Vec<(String, Vec<Option<String>>)>;

/// All columns of a file as texts.
fn texts(path: &Path) -> Texts {
    let source = open(&SourceOptions::of(path.to_str().unwrap())).unwrap();
    let names: Vec<String> = source.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns: Vec<Mutex<Vec<Option<String>>>> = names.iter().map(|_| Mutex::default()).collect();
    let all: Vec<usize> = (0..names.len()).collect();
    let mut scan = source.scan(&all).unwrap();
    let put = |column: usize, _: usize, cells: &ArrayRef| {
        let cells = cast(cells, &DataType::Utf8).unwrap();
        columns[column].lock().unwrap().extend(cells.as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)));
    };
    while scan.next(16_384, &put).unwrap() > 0 {}
    names.into_iter().zip(columns.into_iter().map(|cells| cells.into_inner().unwrap())).collect()
}

fn cells<'a>(columns: &'a Texts, name: &str) -> &'a [Option<String>] {
    &columns.iter().find(|(column, _)| column == name).unwrap().1
}

fn column(name: &str, cells: &[Option<String>]) -> RecordColumn {
    let mut builder = ColumnBuilder::default();
    for cell in cells {
        builder.push(cell.as_deref()).unwrap();
    }
    builder.finish(name)
}

struct Set {
    ids: Vec<String>,
    records: Records,
    truth: Texts,
}

impl Set {
    fn read(folder: &Path) -> Self {
        let columns = texts(&folder.join("records.parquet"));
        let sources: Vec<&str> = cells(&columns, "source").iter().map(|cell| cell.as_deref().unwrap()).collect();
        let mut names = sources.clone();
        names.sort_unstable();
        names.dedup();
        let used = columns.iter().filter(|(name, _)| name != "rec_id" && name != "source");
        let records = Records {
            columns: used.map(|(name, cells)| column(name, cells)).collect(),
            source: sources.iter().map(|name| names.binary_search(name).unwrap() as u16).collect(),
            n_sources: names.len(),
            id: Some(column("rec_id", cells(&columns, "rec_id"))),
            identifiers: Vec::new(),
        };
        let ids = cells(&columns, "rec_id").iter().map(|cell| cell.clone().unwrap()).collect();
        Self { ids, records, truth: texts(&folder.join("truth.parquet")) }
    }

    fn resolve(&self, answers: Vec<Answer>) -> Resolution {
        let most_pairs = (120 * self.records.len() as u64).max(8_000_000);
        let crosses = self.records.n_sources > 1;
        let options = DedupeOptions {
            crosses,
            is_clean: None,
            threshold: 0.5,
            grouping: Grouping::AverageLink,
            most_pairs,
            room_pairs: u64::MAX,
            n_review: 200,
            answers,
            explain: Vec::new(),
            seed: 1,
        };
        dedupe(&self.records, &options, &|| false).unwrap()
    }

    /// What someone who knows the truth says of the pairs that were drawn.
    fn answers(&self, drawn: &[Drawn]) -> Vec<Answer> {
        let of_truth =
            || self.truth[0].1.iter().zip(&self.truth[1].1).filter_map(|(one, other)| Some((one.as_deref()?, other.as_deref()?)));
        let entity: HashMap<&str, &str> = of_truth().collect();
        let pairs: HashSet<(&str, &str)> = of_truth().collect();
        let is_match = |a: &str, b: &str| match self.truth[1].0.as_str() {
            "entity" => entity.get(a).is_some_and(|one| entity.get(b) == Some(one)),
            _ => pairs.contains(&(a, b)) || pairs.contains(&(b, a)),
        };
        let answer =
            |pair: &Drawn| Answer { a: pair.a, b: pair.b, is_match: is_match(&self.ids[pair.a as usize], &self.ids[pair.b as usize]) };
        drawn.iter().map(answer).collect()
    }

    fn score(&self, entity: &[u32]) -> Score {
        if self.truth[1].0 == "entity" { self.score_clusters(entity) } else { self.score_pairs(entity) }
    }

    /// Pairs inside entities against pairs inside the true ones, and B-cubed (Bagga and Baldwin 1998).
    fn score_clusters(&self, entity: &[u32]) -> Score {
        let of_truth = self.truth[0].1.iter().zip(&self.truth[1].1);
        let truth: HashMap<&str, &str> = of_truth.filter_map(|(id, entity)| Some((id.as_deref()?, entity.as_deref()?))).collect();
        let known: Vec<(u32, &str)> =
            self.ids.iter().zip(entity).filter_map(|(id, entity)| Some((*entity, *truth.get(id.as_str())?))).collect();
        let (mut both, mut said, mut meant) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (entity, truth) in &known {
            *both.entry((*entity, *truth)).or_insert(0_u64) += 1;
            *said.entry(*entity).or_insert(0_u64) += 1;
            *meant.entry(*truth).or_insert(0_u64) += 1;
        }
        let pairs = |n: &u64| n * (n - 1) / 2;
        let share = |of: &dyn Fn(u32, &str) -> u64| {
            both.iter().map(|((entity, truth), n)| (n * n) as f64 / of(*entity, truth) as f64).sum::<f64>() / known.len() as f64
        };
        let (p, r) = (share(&|entity, _| said[&entity]), share(&|_, truth| meant[truth]));
        let n_both = both.values().map(pairs).sum();
        Score::of(n_both, said.values().map(pairs).sum(), meant.values().map(pairs).sum()).with_b_cubed(2.0 * p * r / (p + r))
    }

    /// Pairs across the two sources.
    fn score_pairs(&self, entity: &[u32]) -> Score {
        let row: HashMap<&str, usize> = self.ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
        let mut sizes: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
        for (entity, source) in entity.iter().zip(&self.records.source) {
            sizes.entry(*entity).or_default()[usize::from(*source)] += 1;
        }
        let of = |id: &Option<String>| entity[row[id.as_deref().unwrap()]];
        let n_both = self.truth[0].1.iter().zip(&self.truth[1].1).filter(|(l, r)| of(l) == of(r)).count();
        Score::of(n_both as u64, sizes.values().map(|[a, b]| a * b).sum(), self.truth[0].1.len() as u64)
    }
}

struct Score {
    precision: f64,
    recall: f64,
    f1: f64,
    b_cubed: Option<f64>,
}

impl Score {
    fn of(both: u64, said: u64, meant: u64) -> Self {
        let f1 = 2.0 * both as f64 / (said + meant) as f64;
        Self { precision: both as f64 / said as f64, recall: both as f64 / meant as f64, f1, b_cubed: None }
    }

    fn with_b_cubed(self, f1: f64) -> Self {
        Self { b_cubed: Some(f1), ..self }
    }
}

#[test]
fn one_default_resolves_what_others_labelled() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dedup");
    if !root.exists() {
        eprintln!("no labelled sets at {}", root.display());
        return;
    }
    let mut covered = 0;
    for (name, least, peer) in SETS {
        let set = Set::read(&root.join(name));
        let found = set.resolve(Vec::new());
        let score = set.score(&found.entity);
        let b_cubed = score.b_cubed.map_or_else(String::new, |f1| format!(", B-cubed {f1:.4}"));
        let Estimate { value, lo, hi } = found.expected.f1.unwrap();
        let Score { precision, recall, f1, .. } = score;
        let said = format!("expected {value:.4}, {lo:.4} to {hi:.4}, peer {peer}");
        eprintln!("{name:15} P {precision:.4} R {recall:.4} F1 {f1:.4} ({said}){b_cubed}");
        assert!(f1 >= *least, "{name}: F1 {f1:.4}, but {least} was reached before");
        covered += usize::from((lo..=hi).contains(&f1));
    }
    assert!(covered >= 11, "the interval covers the truth on {covered} of {} sets", SETS.len());
}

/// Sets on which the probabilities are far off: variants of products, entities run together, entities parted.
#[test]
fn two_hundred_answers_find_out_how_good_it_is() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dedup");
    if !root.exists() {
        eprintln!("no labelled sets at {}", root.display());
        return;
    }
    for name in ["abt_buy", "cora", "fake_1000"] {
        let set = Set::read(&root.join(name));
        let before = set.resolve(Vec::new());
        let f1 = set.score(&before.entity).f1;
        let after = set.resolve(set.answers(&before.drawn)).expected;
        let Estimate { value, lo, hi } = after.f1.unwrap();
        let Estimate { lo: lo_before, hi: hi_before, .. } = before.expected.f1.unwrap();
        eprintln!("{name:15} F1 {f1:.4}, of {} answers {value:.4} ({lo:.4} to {hi:.4})", after.n_checked);
        assert!((lo..=hi).contains(&f1), "{name}: {f1:.4} is not from {lo:.4} to {hi:.4}");
        assert!(hi - lo < hi_before - lo_before || !(lo_before..=hi_before).contains(&f1), "{name}: the answers say no more");
        assert!(hi - lo < 0.15, "{name}: {lo:.4} to {hi:.4}");
    }
}

#[test]
fn entities_of_one_record_each_would_fail() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dedup/febrl1");
    if !root.exists() {
        eprintln!("no labelled sets at {}", root.display());
        return;
    }
    let set = Set::read(&root);
    let alone: Vec<u32> = (0..set.ids.len() as u32).collect();
    let together = vec![0; set.ids.len()];
    assert!(set.score(&alone).f1 < 0.01 && set.score(&together).f1 < 0.01, "the score tells nothing");
}

/// 61,289 patents: every pair of a Jaccard similarity of 0.8 or more over word 3-grams, as a join in Python that knows nothing of ours found
/// them, and no other.
#[test]
fn near_patents_are_those_of_an_exact_join() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dedup/text_patents");
    if !folder.exists() {
        eprintln!("{} is not there: nothing to compare", folder.display());
        return;
    }
    let (docs, truth) = (texts(&folder.join("docs.parquet")), texts(&folder.join("truth_j0.8_k3.parquet")));
    let number = |name: &str| cells(&truth, name).iter().map(|cell| cell.as_deref().unwrap().parse::<f64>().unwrap()).collect::<Vec<_>>();
    let (left, right, jaccard) = (number("l"), number("r"), number("jaccard"));
    let mut meant: Vec<(u32, u32, f64)> = (0..left.len()).map(|at| (left[at] as u32, right[at] as u32, jaccard[at])).collect();
    meant.sort_by_key(|(a, b, _)| (*a, *b));
    let docs = cells(&docs, "text");
    let mut sets = TextSets::new(Shingles { unit: Unit::Word, k: 3 });
    sets.push(docs.len(), &|row, put| put(docs[row].as_deref().unwrap()));
    let mut found = near_texts(&sets, None, &TextOptions { threshold: 0.8, most_pairs: 1_000_000 }, &|| false).unwrap().pairs;
    found.sort_by_key(|pair| (pair.a, pair.b));
    assert_eq!(found.len(), 36_448);
    for (found, meant) in found.iter().zip(&meant) {
        assert_eq!((found.a, found.b), (meant.0, meant.1));
        assert!((found.jaccard - meant.2).abs() < 1e-6, "{found:?} is {}", meant.2);
    }
}
