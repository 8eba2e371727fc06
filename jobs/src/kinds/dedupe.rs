//! `kind = "dedupe"` and `kind = "link"`: which records are the same person, product or place, in one table or between sources; no labels,
//! no rules.
//!
//! ```text
//! rows -> texts of every column -> engine::dedupe -> entities, pairs, what each column says -> golden record of every entity
//! rows -> shingles of one text  -> engine::dedupe::text -> groups, pairs and their Jaccard -> the text of each group that stands for it
//! ```
//!
//! See `engine::dedupe` for the methods. Golden records are taken from the rows of the input by a second reading, and keep their types.

use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::dedupe::Grouping;

use super::{JobKind, Key, StepOutcome, StepRun, TableDoc, Takes};
use crate::JobError;
use crate::plan::{Ahead, Forecast};
use crate::spec::{Problems, StepSpec, keys};
use crate::terminal::count;

mod baseline;
mod edges;
mod exact;
mod explain;
mod forecast;
mod given;
mod golden;
mod grouped;
mod plain;
mod records;
mod review;
mod tables;
mod text;
mod timeline;

/// Key that names the columns to compare.
const FIELDS: &str = "fields";
/// Key that names the column of sources.
const SOURCE_COLUMN: &str = "source_column";
/// Column of sources where `from` names several tables.
const SOURCE: &str = "source";
/// Key that says whether a source holds each thing once.
const CLEAN_SOURCES: &str = "clean_sources";
/// Key of pairs and scores that are given.
const EDGES: &str = "edges";
/// Key that makes each row a text, and says how texts are compared.
const TEXT: &str = "text";
/// Key that asks for copies alone, and says what does not count.
const EXACT: &str = "exact";
/// Key of the column of documents.
const WITHIN: &str = "within";
/// Key of the columns whose equal cells make records one.
const IDENTIFIERS: &str = "identifiers";
/// Key of the probability from which records are one.
const THRESHOLD: &str = "threshold";

/// Key of how records become entities.
const GROUPING: &str = "grouping";
/// Words of that key.
const GROUPINGS: &[&str] = &["average_link", "correlation"];
/// Key of the rules of golden records.
const GOLDEN: &str = "golden";
/// Key of the order in which sources are believed.
const TRUSTED: &str = "trusted";
/// Key of the entities of an earlier run.
const BASELINE: &str = "baseline";
/// Key of the pairs to explain.
const EXPLAIN: &str = "explain";
/// Key of the pairs that are looked at.
const MOST_PAIRS: &str = "most_pairs";
/// Key of the pairs that people are asked about.
const REVIEW: &str = "review";
/// Key of the answers.
const CHECKED: &str = "checked";

/// Names of columns that the tables add: where the input has one, of an earlier step say, it is not compared and gets another name.
const IS_TAKEN: &[&str] = &["entity_id", "cluster_size"];
/// Names that `id` cannot have either.
const IS_TAKEN_FROM_ID: &[&str] = &["row", "source", "nth", "time", "changed"];

/// Records of one table.
#[derive(Debug, Clone, Copy)]
pub struct Dedupe;

/// Records of several sources.
#[derive(Debug, Clone, Copy)]
pub struct Link;

const FIELDS_KEY: Key = Key {
    name: FIELDS,
    takes: Takes::ColumnList,
    default: None,
    about: "Columns to compare; all but the `id`, the sources and those whose cells hardly ever repeat where absent",
};

const IDENTIFIERS_KEY: Key = Key {
    name: IDENTIFIERS,
    takes: Takes::ColumnList,
    default: None,
    about: "Columns that name who it was, a login, an address of mail, a device, the most trusted first: records with the same cell in one are one entity whatever else they lack, unless the cell is generic or shared by records that contradict each other (table `doubted`)",
};

const THRESHOLD_KEY: Key = Key {
    name: THRESHOLD,
    takes: Takes::Number(0.01, 0.999),
    default: Some("0.5"),
    about: "Probability of a match from which records are one entity",
};

const EDGES_KEY: Key = Key {
    name: EDGES,
    takes: Takes::TableIfAny("pairs"),
    default: None,
    about: "Pairs and scores that are given: columns `a_id` and `b_id` (by `id`) or `a` and `b` (by row), and `score`; nothing is compared",
};

const TEXT_KEY: Key = Key {
    name: TEXT,
    takes: Takes::Keys(text::KEYS),
    default: None,
    about: "Compares whole texts and finds every pair whose shingles have that Jaccard similarity; `text = {}` for the defaults",
};

const SOURCE_COLUMN_KEY: Key = Key {
    name: SOURCE_COLUMN,
    takes: Takes::Column,
    default: None,
    about: "Column that says which source a row is of; `file_column` of a source makes one of its files, and where `from` names several tables it is `source`",
};

const WITHIN_KEY: Key = Key {
    name: WITHIN,
    takes: Takes::Column,
    default: None,
    about: "Column that says which document a row is of, an invoice say: copies within one may be meant, and are counted apart",
};

const EXACT_KEY: Key = Key {
    name: EXACT,
    takes: Takes::Keys(exact::KEYS),
    default: None,
    about: "Takes only copies for duplicates: rows with the same cells in all compared columns; `exact = {}` compares letter by letter",
};

const GROUPING_KEY: Key = Key {
    name: GROUPING,
    takes: Takes::Choice(GROUPINGS),
    default: Some("\"average_link\""),
    about: "How pairs become entities: average link, or from there on correlation clustering (records move to where they add most); two clean sources are paired one to one",
};

const GOLDEN_KEY: Key = Key {
    name: GOLDEN,
    takes: Takes::ColumnChoices(golden::RULES),
    default: None,
    about: "Which cell of an entity a column of `golden` keeps: the one that most records have where absent, that of the latest record, the longest, that of the source trusted most, or that with most votes of sources that agree with others",
};

const TRUSTED_KEY: Key = Key {
    name: TRUSTED,
    takes: Takes::TextList,
    default: None,
    about: "Sources in the order in which they are believed, for columns whose rule is `trusted`; others come last",
};

const TIME_KEY: Key = Key {
    about: "Column of time: when a record was. Table `timeline` then tells entities in that order, `moved` which of their cells changed; it is what the rule `most_recent` goes by",
    ..keys::TIME
};

const BASELINE_KEY: Key = Key {
    name: BASELINE,
    takes: Takes::TableIfAny("entities"),
    default: None,
    about: "Entities of an earlier run, `entities.parquet`: those that are still there keep their `entity_id`, and table `changes` says what became of the others",
};

const MOST_PAIRS_KEY: Key = Key {
    name: MOST_PAIRS,
    takes: Takes::Integer(1, 4_000_000_000),
    default: None,
    about: "Pairs of records with something in common that are looked at: where there are more, each record keeps its part of them, one at the least, with which it shares most; where texts are few, as many again by all their words. Absent: 5 a record, and 4,000,000 at the least. What `memory` has no room for ends with exit code 5",
};

const REVIEW_KEY: Key = Key {
    name: REVIEW,
    takes: Takes::Integer(0, 100_000),
    default: Some("200"),
    about: "Pairs of records drawn for people to look at, about: table `review`, and `review.csv` to write answers into",
};

const CHECKED_KEY: Key = Key {
    name: CHECKED,
    takes: Takes::TableIfAny("review"),
    default: None,
    about: "Answers of people: columns `a_id`, `b_id` (or `a`, `b` by row) and `match` (yes or no, none where nobody looked); they measure how good the entities are",
};

const EXPLAIN_KEY: Key = Key {
    name: EXPLAIN,
    takes: Takes::TableIfAny("weakest"),
    default: None,
    about: "Pairs to explain, columns `a_id`, `b_id` (or `a`, `b` by row): table `explained` says why they are one entity, or why not",
};

const TABLES: &[TableDoc] = &[
    TableDoc {
        name: "golden",
        about: "every entity: of each column the cell that most of its records have, where none leads the one most common in the column, or that of its rule in `golden`; of texts, copies and edges one row as it is",
    },
    TableDoc {
        name: "entities",
        about: "every row: its source and `id`, its entity, how many records that has, why the row is a duplicate",
    },
    TableDoc {
        name: "pairs",
        about: "pairs and their score: probability of a match from 1 % up, the identifier that makes them one and what each column adds (bits), or Jaccard similarity, or as given; whether they are one entity",
    },
    TableDoc {
        name: "comparisons",
        about: "every level of every compared column: share among matches and among other pairs, weight (bits), the column beside which it counts",
    },
    TableDoc {
        name: "conflicts",
        about: "cells on which the records of an entity differ: what was kept, by which rule, from which row and source, how many agree",
    },
    TableDoc {
        name: "duplicate_classes",
        about: "why rows are duplicates: copies in one document, in one source, across sources, or nearly the same; rows and entities of each",
    },
    TableDoc {
        name: "review",
        about: "pairs for people to look at, drawn from every stratum: both records cell by cell; `review.csv` beside it takes the answers",
    },
    TableDoc {
        name: "strata",
        about: "pairs by probability, inside entities and outside: how many, expected share of matches, how many were checked and match",
    },
    TableDoc {
        name: "weakest",
        about: "every entity of two records or more, the weakest first: the pair that holds it together, the least and the mean probability of its pairs",
    },
    TableDoc {
        name: "explained",
        about: "with `explain`, of every pair the prior and each column: both cells, how alike they are, what that adds in bits and the sum so far; whether a key brought them together, and why they are one or apart",
    },
    TableDoc {
        name: "changes",
        about: "with `baseline`, what became of its entities: merged, split, grown, shrunk, new or gone, and how many records",
    },
    TableDoc {
        name: "doubted",
        about: "values of `identifiers` that were not believed: generic, shared by records that contradict each other, or at odds with another identifier; how many records, and two of them",
    },
    TableDoc {
        name: "timeline",
        about: "with `time`, every record that has one, entity by entity in order of time: its source, and which of its cells are others than before",
    },
    TableDoc {
        name: "moved",
        about: "with `time`, every cell of an entity that is another than before: what it was and when that was last seen, what it is and since when; changed, changed slightly, or back to what it was",
    },
    TableDoc {
        name: "verdict",
        about: "how it was looked for, records, entities, pairs looked at, expected matches, precision, recall and F1 with intervals, whether there is enough to go by: one row",
    },
];

impl JobKind for Dedupe {
    fn name(&self) -> &'static str {
        "dedupe"
    }

    fn about(&self) -> &'static str {
        "Records of the same person, product or place in one table, without labels: entities, probabilities and golden records"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key { about: "Column that names a record, carried into the tables; it is not compared", ..keys::ID },
            SOURCE_COLUMN_KEY,
            WITHIN_KEY,
            FIELDS_KEY,
            keys::EXCLUDE,
            IDENTIFIERS_KEY,
            EXACT_KEY,
            TEXT_KEY,
            EDGES_KEY,
            THRESHOLD_KEY,
            GROUPING_KEY,
            GOLDEN_KEY,
            TIME_KEY,
            TRUSTED_KEY,
            BASELINE_KEY,
            MOST_PAIRS_KEY,
            REVIEW_KEY,
            CHECKED_KEY,
            EXPLAIN_KEY,
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        TABLES
    }

    fn tells_tables_apart_by(&self) -> Option<&'static str> {
        Some(SOURCE)
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        check(step, input, problems);
    }

    fn forecast(&self, step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        forecast::of(step, ahead)
    }

    fn will_write(&self, _: &StepSpec, table: &str, input: &Schema) -> Option<Schema> {
        (table == GOLDEN).then(|| golden_schema(input))
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        run(self, step, on)
    }
}

impl JobKind for Link {
    fn name(&self) -> &'static str {
        "link"
    }

    fn about(&self) -> &'static str {
        "Records of the same person, product or place between sources, without labels: entities, probabilities and golden records"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key {
                about: "Column that says which source a row is of, needed where `from` names one table; `file_column` of a source makes one of its files",
                ..SOURCE_COLUMN_KEY
            },
            Key { about: "Column that names a record, carried into the tables; it is not compared", ..keys::ID },
            FIELDS_KEY,
            keys::EXCLUDE,
            IDENTIFIERS_KEY,
            Key {
                name: CLEAN_SOURCES,
                takes: Takes::Flag,
                default: None,
                about: "Whether each source holds each thing once; taken to be so where absent, unless one row in 20 has a copy in its source",
            },
            TEXT_KEY,
            EDGES_KEY,
            THRESHOLD_KEY,
            GROUPING_KEY,
            GOLDEN_KEY,
            TIME_KEY,
            TRUSTED_KEY,
            BASELINE_KEY,
            MOST_PAIRS_KEY,
            REVIEW_KEY,
            CHECKED_KEY,
            EXPLAIN_KEY,
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        TABLES
    }

    fn tells_tables_apart_by(&self) -> Option<&'static str> {
        Some(SOURCE)
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        if source_column(step).is_none() {
            let help = "name two tables in `from`, or add `source_column = \"COLUMN\"`; with `file_column = \"file\"` in the source, every file is one. Within one table use `dedupe`";
            problems.add(step.span("kind"), "`link` needs `source_column`", "of which sources?", help);
        }
        check(step, input, problems);
    }

    fn forecast(&self, step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        forecast::of(step, ahead)
    }

    fn will_write(&self, _: &StepSpec, table: &str, input: &Schema) -> Option<Schema> {
        (table == GOLDEN).then(|| golden_schema(input))
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        run(self, step, on)
    }
}

fn check(step: &StepSpec, input: &Schema, problems: &mut Problems) {
    for name in IS_TAKEN.iter().filter(|name| input.column_with_name(name).is_some()) {
        let carried = carried_name(name);
        if input.column_with_name(&carried).is_some() {
            let message =
                format!("`{}` has a column `{name}`, which would be carried as `{carried}`, and has that too", step.from.value.name);
            problems.add(step.span("from"), message, "taken", "give one of them another name with `rename` of a source");
        }
    }
    if let Some(id) = step.id.as_ref().filter(|id| IS_TAKEN_FROM_ID.contains(&id.value.as_str())) {
        let message = format!("`id` is column `{}`, which is the name of a column of the tables it is carried into", id.value);
        problems.add(id.span.clone(), message, "taken", "give it another name with `rename` of the source");
    }
    if let Some(other) = [EDGES, EXACT, TEXT].into_iter().find(|key| step.is_written(key)) {
        let no_probabilities = [REVIEW, CHECKED, EXPLAIN, IDENTIFIERS].map(|key| (key, "there are no probabilities"));
        let no_rules = [GOLDEN, TRUSTED, keys::TIME.name].map(|key| (key, "one row of each entity is kept as it is"));
        let all_pairs = [(MOST_PAIRS, "no pairs are picked")];
        for (key, why) in no_probabilities.into_iter().chain(no_rules).chain(all_pairs).filter(|(key, _)| step.is_written(key)) {
            problems.add(step.span(key), format!("`{key}` beside `{other}` says nothing: {why}"), "of records", "remove one of the two");
        }
    } else {
        golden::check(step, problems);
    }
    if step.is_written(EDGES) {
        edges::check(step, problems);
    } else if step.is_written(EXACT) {
        exact::check(step, problems);
    } else if let Some(how) = step.keys(TEXT) {
        text::check(how, step, input, problems);
    }
    baseline::check(step, problems);
    let named = [FIELDS, IDENTIFIERS].into_iter().flat_map(|key| step.list(key).iter().map(move |name| (key, name)));
    for (key, name) in named {
        let role = if step.id.as_ref().is_some_and(|id| id.value == name.value) {
            "id"
        } else if source_column(step) == Some(&name.value) {
            SOURCE_COLUMN
        } else if key == FIELDS && step.exclude.iter().any(|left| left.value == name.value) {
            "exclude"
        } else {
            continue;
        };
        problems.add(
            name.span.clone(),
            format!("column `{}` stands in `{key}` and in `{role}`", name.value),
            "both at once",
            "remove it from one of the two",
        );
    }
}

fn run(kind: &dyn JobKind, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
    if step.is_written(EDGES) {
        return edges::run(kind, step, on);
    }
    match (step.keys(EXACT), step.keys(TEXT)) {
        (Some(how), _) => exact::run(kind, how, step, on),
        (None, Some(how)) => text::run(kind, how, step, on),
        (None, None) => records::run(kind, step, on),
    }
}

/// Returns the columns of golden records.
fn golden_schema(input: &Schema) -> Schema {
    let mut fields = vec![Field::new("entity_id", DataType::UInt64, false), Field::new("cluster_size", DataType::UInt32, false)];
    fields.extend(input.fields().iter().map(|field| field.as_ref().clone().with_name(carried_name(field.name())).with_nullable(true)));
    Schema::new(fields)
}

/// Returns the name that a column of the input has in golden records.
fn carried_name(name: &str) -> String {
    if IS_TAKEN.contains(&name) { format!("{name}_before") } else { name.to_owned() }
}

/// Says whether a column is one that an earlier step added, and nobody asks to compare.
fn is_added(step: &StepSpec, name: &str) -> bool {
    IS_TAKEN.contains(&name) && !step.list(FIELDS).iter().any(|field| field.value == name)
}

/// Returns the column that says which source a row is of.
fn source_column(step: &StepSpec) -> Option<&str> {
    step.text(SOURCE_COLUMN).or((!step.also_from.is_empty()).then_some(SOURCE))
}

/// Returns how pairs become entities.
fn grouping(step: &StepSpec) -> Grouping {
    if step.text(GROUPING) == Some(GROUPINGS[1]) { Grouping::Correlation } else { Grouping::AverageLink }
}

/// Says whether only rows of different sources can be one.
fn crosses(step: &StepSpec) -> bool {
    step.kind.name() == Link.name()
}

/// Says what came out in a sentence.
fn sentence(n_rows: u64, n_entities: u64) -> String {
    let twice = n_rows - n_entities;
    format!(
        "{} records are of {} entities: {} are one more of something that is there already",
        count(n_rows),
        count(n_entities),
        count(twice)
    )
}
