//! Every key that a spec may hold: one table drives parser, messages, help and JSON Schema.
//!
//! `TOP`, `SOURCE` and `STEP` hold for every job. The keys of `COMMON` mean the same in every kind, but a kind
//! takes only those that it lists itself, so that a key never looks as if it did something.

use crate::kinds::{Key, Takes};

use super::units::{MAX_MEMORY_BYTES, MIN_MEMORY_BYTES};

/// Threads that a job may ask for.
const MAX_THREADS: i64 = 4_096;

/// Keys of the whole job.
pub const TOP: &[Key] = &[
    Key { name: "name", takes: Takes::Text, default: None, about: "Name of the job, a folder under `runs`" },
    Key {
        name: "extends",
        takes: Takes::Text,
        default: None,
        about: "Spec below this one: what this one says takes the place of what that one says; relative to this one",
    },
    Key { name: "vars", takes: Takes::Vars, default: None, about: "Values that texts refer to: `${vars.NAME}`; `--set vars.NAME=VALUE`" },
    Key {
        name: "allow_env",
        takes: Takes::TextList,
        default: None,
        about: "Names of the environment that texts may refer to: `${env:NAME}`, `${env:NAME:-DEFAULT}`",
    },
    Key { name: "seed", takes: Takes::Integer(0, i64::MAX), default: Some("0"), about: "Seed of everything drawn at random" },
    Key {
        name: "place",
        takes: Takes::Choice(&["auto", "gpu", "cpu", "software"]),
        default: Some("\"auto\""),
        about: "Where kernels run; `gpu` fails where there is none, `software` is for tests",
    },
    Key {
        name: "threads",
        takes: Takes::Integer(1, MAX_THREADS),
        default: None,
        about: "Threads; as many as the machine has where absent",
    },
    Key {
        name: "memory",
        takes: Takes::Bytes,
        default: None,
        about: "Memory budget of the whole run, 40 MiB of which (five eighths, where that is less) are the program's own; found out from the machine where absent",
    },
    Key {
        name: "max_time",
        takes: Takes::Duration,
        default: None,
        about: "Longest that a command may take, as in \"90s\", \"30min\", \"2h\"; the same command goes on",
    },
    Key { name: "max_disk", takes: Takes::Bytes, default: None, about: "Most that the run folder may hold, spill files too" },
    Key { name: "alpha", takes: Takes::Number(1e-6, 0.5), default: Some("0.05"), about: "Level at which a finding must pass" },
];

/// A table that stands for several.
const EACH: Key = Key {
    name: "each",
    takes: Takes::Each,
    default: None,
    about: "Stands for one table per value, called NAME-VALUE: `each = { shop = [\"a\", \"b\"] }` with `${each.shop}` in its texts",
};

/// Keys of a source.
pub const SOURCE: &[Key] = &[
    Key { name: "path", takes: Takes::TextList, default: None, about: "Files and globs, relative to the spec" },
    Key {
        name: "format",
        takes: Takes::Choice(&["parquet", "csv", "jsonl", "arrow"]),
        default: None,
        about: "Encoding of the files; by their ending where absent",
    },
    Key { name: "delimiter", takes: Takes::Text, default: None, about: "Separator of text files; guessed where absent" },
    Key { name: "header", takes: Takes::Flag, default: None, about: "Whether text files start with a line of names" },
    Key { name: "encoding", takes: Takes::Text, default: None, about: "Character encoding of text files; UTF-8 where absent" },
    Key { name: "null_values", takes: Takes::TextList, default: None, about: "Cell texts that mean missing" },
    Key {
        name: "rename",
        takes: Takes::TextList,
        default: None,
        about: "Columns that get another name before files are put together: `FROM as TO`",
    },
    Key {
        name: "file_column",
        takes: Takes::Text,
        default: None,
        about: "Column to add: the path of each row's file, as seen from the spec",
    },
    Key { name: "where", takes: Takes::Text, default: None, about: "SQL condition; rows that do not meet it are left out" },
    Key { name: "sample", takes: Takes::Sample, default: None, about: "Rows to draw: a number of rows, or a share below 1" },
    EACH,
];

/// Keys that every step takes.
pub const STEP: &[Key] = &[
    Key { name: "kind", takes: Takes::Text, default: None, about: "What the step does" },
    Key { name: "from", takes: Takes::TextList, default: None, about: "Source, or step, whose rows it reads" },
    Key { name: "needs", takes: Takes::TextList, default: None, about: "Steps that must be done before it" },
    EACH,
];

/// A column carried into tables of rows.
pub const ID: Key = Key { name: "id", takes: Takes::Column, default: None, about: "Column that names a row, carried into tables of rows" };
/// Columns to use.
pub const COLUMNS: Key = Key { name: "columns", takes: Takes::ColumnList, default: None, about: "Columns to use; all where absent" };
/// Columns to leave out.
pub const EXCLUDE: Key = Key { name: "exclude", takes: Takes::ColumnList, default: None, about: "Columns to leave out" };
/// Column of time.
pub const TIME: Key = Key { name: "time", takes: Takes::Column, default: None, about: "Column of time" };
/// Column of entities.
pub const CLUSTER_BY: Key =
    Key { name: "cluster_by", takes: Takes::Column, default: None, about: "Column whose values are the units that vary independently" };
/// Column of weights.
pub const WEIGHTS: Key = Key { name: "weights", takes: Takes::Column, default: None, about: "Column of weights" };
/// Smallest effect that may become a finding.
pub const MIN_EFFECT: Key =
    Key { name: "min_effect", takes: Takes::Number(0.0, 1.0), default: None, about: "Smallest effect that may become a finding" };

/// Keys that mean the same in every kind that takes them.
pub const COMMON: &[Key] = &[ID, COLUMNS, EXCLUDE, TIME, CLUSTER_BY, WEIGHTS, MIN_EFFECT];

/// Keys of steps whose meaning is fixed, but which need not be in this version.
pub(crate) const LATER_IN_STEPS: &[&str] = &["text", "edges"];
/// Keys of sources that are not in this version.
pub(crate) const LATER_IN_SOURCES: &[&str] = &["sql"];

/// Words that people know from elsewhere, with the key that does it here.
pub(crate) const SYNONYMS: &[(&str, &str)] = &[
    ("file", "path"),
    ("files", "path"),
    ("filename", "path"),
    ("uri", "path"),
    ("sep", "delimiter"),
    ("separator", "delimiter"),
    ("has_header", "header"),
    ("filter", "where"),
    ("na_values", "null_values"),
    ("nulls", "null_values"),
    ("charset", "encoding"),
    ("type", "kind"),
    ("action", "kind"),
    ("op", "kind"),
    ("input", "from"),
    ("inputs", "from"),
    ("source", "from"),
    ("on", "from"),
    ("depends_on", "needs"),
    ("after", "needs"),
    ("cols", "columns"),
    ("fields", "columns"),
    ("features", "columns"),
    ("include", "columns"),
    ("drop", "exclude"),
    ("ignore", "exclude"),
    ("top_k", "top"),
    ("top_n", "top"),
    ("limit", "top"),
    ("workers", "threads"),
    ("jobs", "threads"),
    ("n_jobs", "threads"),
    ("ram", "memory"),
    ("memory_limit", "memory"),
    ("device", "place"),
    ("random_state", "seed"),
    ("random_seed", "seed"),
    ("significance", "alpha"),
    ("level", "alpha"),
    ("title", "name"),
    ("dtype", "precision"),
];

/// Returns the bytes that a key of this type may hold.
pub(crate) const fn byte_range() -> (u64, u64) {
    (MIN_MEMORY_BYTES, MAX_MEMORY_BYTES)
}
