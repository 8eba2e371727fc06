//! `kind = "cluster"`: segments of rows, how many there are, which can be trusted, and what sets each apart.
//!
//! Columns of numbers, in memory; those of k-means in a file where they do not fit. See `engine::cluster`.

use std::io;
use std::iter::Peekable;
use std::ops::Range;

use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::cluster::{self as engine, Choice, ClusterOptions, Covariance, Method, Scale};
use gristmill_engine::columns;

use self::input::Input;
use super::assignments::ROWS_AT_ONCE;
use super::{JobKind, Key, Rows, StepOutcome, StepRun, Table, TableDoc, Takes, assignments};
use crate::JobError;
use crate::error::Exit;
use crate::manifest::LeftOut;
use crate::outputs::TableWriter;
use crate::plan::{Ahead, Forecast, about, grown};
use crate::spec::{Problems, StepSpec, keys};
use crate::spill::Names;

pub(super) mod categories;
mod input;
mod outcome;
mod splits;
mod tables;

/// Most segments that are looked for where the spec names no number: every number is tried.
const K_MAX: usize = 12;

/// The same where dense places are counted.
const K_MAX_AUTO: usize = 60;

/// What a column has to be.
const NUMBERS: &str = "segments are made of numbers and booleans, and of text columns that `columns` names";

/// Parts of the budget: the table, the points, and what every row comes to.
const SHARE: u64 = 3;

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Cluster;

impl JobKind for Cluster {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn about(&self) -> &'static str {
        "Segments of rows: how many there are, if any, which come back when rows are drawn anew, what sets each apart, which rows stand for it"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            keys::ID,
            keys::COLUMNS,
            keys::EXCLUDE,
            Key {
                name: "method",
                takes: Takes::Choice(&["auto", "kmeans", "mixture", "medoids", "genie", "hdbscan", "dbscan"]),
                default: Some("\"auto\""),
                about: "How segments are made: whichever parts a sample best, round ones, ellipses that overlap, round typical rows, any shape of like size, any shape with noise left out (two)",
            },
            Key {
                name: "k",
                takes: Takes::Integer(2, 10_000),
                default: None,
                about: "Number of segments; where absent as many as there are, which may be none",
            },
            Key {
                name: "k_max",
                takes: Takes::Integer(2, 100),
                default: None,
                about: "Most segments that are looked for where `k` is absent, and most parts of a segment with `levels`; 60 for `auto`, else 12",
            },
            Key {
                name: "covariance",
                takes: Takes::Choice(&["full", "diagonal", "tied"]),
                default: Some("\"full\""),
                about: "What the ellipses of a mixture may be: each its own, along the columns, all alike",
            },
            Key {
                name: "eps",
                takes: Takes::Number(0.0, f64::MAX),
                default: None,
                about: "Distance within which `dbscan` looks for neighbours, in scaled units",
            },
            Key {
                name: "min_size",
                takes: Takes::Integer(2, 1_000_000_000),
                default: None,
                about: "Fewest rows of a segment of `hdbscan`; a hundredth of all and at least 5 where absent",
            },
            Key {
                name: "min_samples",
                takes: Takes::Integer(1, 10_000),
                default: None,
                about: "Neighbours that make a place dense; 10 where absent, or `min_size` where that is less; 0 for `genie`: plain distances",
            },
            Key {
                name: "scale",
                takes: Takes::Choice(&["standard", "robust", "unit", "none"]),
                default: Some("\"standard\""),
                about: "How columns are made comparable: by standard deviation, by interquartile range, every row brought to length 1 (cosine; `kmeans` is then spherical), not at all",
            },
            Key {
                name: "gamma",
                takes: Takes::Number(1e-9, 1e9),
                default: Some("0.5"),
                about: "Squared distance of two different texts in scaled units; half of it where one is missing",
            },
            Key {
                name: "most_missing",
                takes: Takes::Number(0.0, 1.0),
                default: Some("0.5"),
                about: "Largest share of the columns that a row may lack to be placed by the others; rows that lack none make the segments",
            },
            Key {
                name: keys::WEIGHTS.name,
                takes: Takes::Column,
                default: None,
                about: "Column that says what every row counts as in the centres of `kmeans`; less than 0 or missing is 0",
            },
            Key {
                name: "restarts",
                takes: Takes::Integer(1, 1_000),
                default: Some("10"),
                about: "Seeds that are tried on a sample of at most 20,000 rows; the best one starts the fit",
            },
            Key { name: "max_iterations", takes: Takes::Integer(1, 100_000), default: Some("300"), about: "Most iterations of a fit" },
            Key {
                name: "batch_size",
                takes: Takes::Integer(256, engine::BLOCK_ROWS as i64),
                default: None,
                about: "Rows of a batch: centres of `kmeans` follow the rows in one pass; where absent they move until no row changes its own",
            },
            Key {
                name: "bootstrap",
                takes: Takes::Integer(0, 10_000),
                default: Some("50"),
                about: "Bootstrap samples behind the stability of every segment; 0 for none, and then no finding",
            },
            Key {
                name: "levels",
                takes: Takes::Integer(1, engine::MOST_LEVELS as i64),
                default: Some("1"),
                about: "Levels of segments: those of a level are split further where parts are found, large enough, and come back",
            },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[
            TableDoc {
                name: "assignments",
                about: "every row: its segment (none: noise), distance from the centre, how much farther the next centre is, membership, outlier, cells that it lacks; its path with `levels`",
            },
            TableDoc {
                name: "segments",
                about: "every segment: rows, share, rows that lack cells and were placed, stability, whether it can be trusted, silhouette, share of rows nearer to another, a description",
            },
            TableDoc {
                name: "profile",
                about: "how silhouettes are spread within every segment: quantiles at shares 0, 0.05 .. 1 of n rows (interpolated as numpy does)",
            },
            TableDoc {
                name: "links",
                about: "which segments lie near one another (Ward's linkage of their centres, by rows, in scaled units): two are joined in every row; numbers above k are rows of this table, k + 1 the first",
            },
            TableDoc {
                name: "features",
                about: "every column within every segment: mean, mean of the rest, effect, p and q where it took no part",
            },
            TableDoc {
                name: "exemplars",
                about: "rows that stand for every segment: medoid, second, border, criticism, and the contrast in another segment",
            },
            TableDoc {
                name: "rules",
                about: "a shallow tree, leaf by leaf: SQL, its segment, rows, share of the segment that it covers, purity on rows not seen",
            },
            TableDoc {
                name: "splits",
                about: "with `levels` above 1, segments of all levels by path: rows, stability, why each was not split further, what decided it",
            },
            TableDoc { name: "verdict", about: "whether there are segments, how many, by which method, and why: one row" },
            TableDoc { name: "sweep", about: "the numbers of segments that were looked at, and what each was judged by" },
            TableDoc {
                name: "model",
                about: "what `score` labels rows to come by: scalers, centres or rows, and how every column was spread",
            },
        ];
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        for column in &step.columns {
            let Some((_, field)) = input.column_with_name(&column.value) else { continue };
            if columns::is_text(field.data_type()) {
                text_column(step, &column.value, column.span.clone(), problems);
            } else if !takes(field.data_type()) {
                let message = format!("column `{}` is {}; {NUMBERS}", column.value, columns::type_words(field.data_type()));
                problems.add(column.span.clone(), message, "no numbers", "remove it");
            }
        }
        assignments::check_id(step, problems);
        if let Some(weights) = &step.weights
            && let Some((_, field)) = input.column_with_name(&weights.value)
            && !takes(field.data_type())
        {
            let message = format!("`weights` takes numbers, and column `{}` is {}", weights.value, columns::type_words(field.data_type()));
            problems.add(weights.span.clone(), message, "no numbers", "name a column of numbers");
        }
        // Of parts no number is given.
        if step.is_written("k") && step.is_written("k_max") && !splits::is_asked(step) {
            problems.add(
                step.span("k_max"),
                "`k_max` bounds the search for `k`, and `k` is given",
                "one of the two",
                "remove `k_max`, or `k`",
            );
        }
        splits::check(step, input, problems);
        method_keys(step, problems);
        if Asked::of(step, input).used.is_empty() && problems.is_empty() {
            let message = format!("segments need a column of numbers, and none is left here; {NUMBERS}");
            problems.add(
                step.span(if step.columns.is_empty() { "from" } else { "columns" }),
                message,
                "no column",
                "name `columns` of numbers",
            );
        }
    }

    fn forecast(&self, step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        let asked = Asked::of(step, ahead.schema);
        // How many flags a column of text makes is not known before it is read.
        let cells = |at: &usize| if columns::is_text(ahead.schema.field(*at).data_type()) { categories::LIKELY_LEVELS } else { 1 };
        let n_used: usize = asked.used.iter().map(cells).sum();
        if n_used == 0 {
            return Forecast::default();
        }
        let options = options(step, (0.05, 0));
        let n_columns = n_used + asked.others.len();
        // The sample that segments are judged by, and of every row its cells, or its neighbours.
        let (of_sample, of_row) = match options.method {
            Method::KMeans => (grown(84 << 20, ahead.n_rows, 20_000), 19.0 * n_columns as f64),
            Method::Hdbscan | Method::Dbscan(..) | Method::Genie => (2 << 20, 620.0 + 8.0 * n_columns as f64),
            _ => (grown(34 << 20, ahead.n_rows, 20_000), 17.5 * n_columns as f64),
        };
        let n = usize::try_from(ahead.n_rows).unwrap_or(usize::MAX);
        let of_sample = of_sample.max(input::sample_bytes(n, n_columns));
        let [least, most] = engine::seconds(ahead.n_rows, (n_used, n_columns), &options, ahead.n_threads);
        Forecast {
            // Parts of all segments together are as many rows again.
            seconds: Some([least, most * options.levels as f64]),
            bytes: Some((6 << 20) + of_sample + about(ahead.n_rows, of_row)),
            least_bytes: (options.method == Method::KMeans && n_columns == asked.used.len() + asked.others.len())
                .then(|| engine::streamed_bytes(ahead.n_rows, n_columns)),
            cost: Some(engine::device_cost(n, n_used, &options)),
            pairs: None,
        }
    }

    fn will_write(&self, step: &StepSpec, table: &str, input: &Schema) -> Option<Schema> {
        let id = step.id.as_ref().and_then(|id| input.field_with_name(&id.value).ok());
        (table == "assignments").then(|| assignments::schema(id, step.integer("levels").is_some_and(|levels| levels > 1)).as_ref().clone())
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let schema = on.source.schema();
        for name in step.columns.iter().chain(&step.exclude).chain(&step.id).chain(&step.weights) {
            if schema.column_with_name(&name.value).is_none() {
                let message = format!("column `{}` is not in `{}`", name.value, step.from.value.name);
                return Err(JobError::Spec { step: step.name.value.clone(), message });
            }
        }
        let asked = Asked::of(step, &schema);
        let id = step.id.as_ref().and_then(|id| schema.index_of(&id.value).ok());
        let mut options = options(step, (on.alpha, on.seed));
        let mut input = Input::read(&asked, id, &options, step, (on, &schema))?;
        options.category_of = input.used.iter().map(|used| used.category_of).collect();
        let (backend, reason) = on.placed(engine::device_cost(input.n_rows(), input.used.len(), &options));
        let field = id.map(|at| schema.field(at).clone());
        let writer = on.writer(step, "assignments", assignments::schema(field.as_ref(), options.levels > 1))?;
        let has_path = options.levels > 1;
        let mut written = Written { writer, field: field.clone(), has_path, names: input.names.take(), failed: None };
        let found = input.cluster(&options, &backend, on, &mut |first, n_rows, places| written.push(first, n_rows, places));
        let found = match (written.failed.take(), found) {
            (Some(failed), _) => return Err(failed),
            (None, found) => found?,
        };
        let mut found = match found {
            Some(found) => found,
            None if (on.stopped)() => return Err(JobError::Stopped(Exit::Interrupted)),
            None => {
                let message = format!("no row has all {} columns: segments need some; name fewer `columns`", asked.used.len());
                return Err(JobError::Data { step: step.name.value.clone(), message });
            }
        };
        for (column, used) in found.model.columns.iter_mut().zip(&input.used) {
            column.name.clone_from(schema.field(used.at).name());
            column.level.clone_from(&used.level);
        }
        let exemplars: Vec<usize> = found.exemplars.iter().map(|exemplar| exemplar.row).collect();
        let id = match (field, &mut written.names) {
            (Some(field), Some(names)) => Some((field, names.rows(&exemplars)?)),
            _ => None,
        };
        let said = outcome::Said { found: &found, schema: &schema, used: &input.used, step, options: &options, id };
        let mut tables = vec![Table { name: "assignments", rows: Rows::Written(written.writer.finish()?) }];
        tables.extend(said.tables());
        if options.levels > 1 {
            tables.push(Table::one("splits", splits::table(&found)));
        }
        let reason = match found.method {
            Method::KMeans => reason,
            method => format!("`{}` runs on the CPU", method.word()),
        };
        Ok(StepOutcome {
            findings: said.findings(on.job),
            notes: said.notes().into_iter().chain(splits::note(&found)).chain(input.note()).collect(),
            tables,
            n_rows: found.n_rows,
            n_columns: asked.used.len() as u64,
            family: Some(found.features.iter().filter(|feature| feature.p.is_some()).count() as u64).filter(|n| *n > 0),
            left_out: asked.left_out,
            ..StepOutcome::on(&backend, reason)
        })
    }
}

/// Adds what is wrong with a column of text that takes part.
fn text_column(step: &StepSpec, column: &str, span: crate::spec::Span, problems: &mut Problems) {
    if step.text("scale") == Some("unit") {
        let message = format!("column `{column}` is text, which has no part in the direction of a row (`scale = \"unit\"`)");
        problems.add(span, message, "text", "remove it, or ask for another `scale`");
        return;
    }
    match method(step) {
        Method::Auto | Method::Mixture(_) => {
            let help = "name `method`: kmeans, medoids, genie, hdbscan or dbscan; or remove it";
            let word = method(step).word();
            problems.add(span, format!("column `{column}` is text, which `method = \"{word}\"` does not part"), "text", help);
        }
        Method::KMeans if !step.is_written("k") => {
            let message = format!("column `{column}` is text: how many segments there are is found out of numbers alone");
            problems.add(span, message, "text", "write `k`, or remove it");
        }
        _ => {}
    }
}

/// Adds keys that do not go with the method, and those that it lacks.
fn method_keys(step: &StepSpec, problems: &mut Problems) {
    let method = method(step);
    let word = method.word();
    let mut refuse = |key: &str, others: &str| {
        if step.is_written(key) {
            let message = format!("`{key}` means nothing to `method = \"{word}\"`");
            problems.add(step.span(key), message, "no use here", format!("remove it, or ask for {others}"));
        }
    };
    if method.finds_k() {
        for key in ["k", "k_max"] {
            refuse(key, "`auto`, `kmeans`, `mixture` or `genie`, which make a number of segments");
        }
    } else if method != Method::Genie {
        refuse("min_samples", "`genie`, `hdbscan` or `dbscan`");
    }
    if method != Method::Hdbscan {
        refuse("min_size", "`hdbscan`");
    }
    if method != Method::KMeans {
        refuse("weights", "`kmeans`");
        refuse("batch_size", "`kmeans`");
    }
    if !matches!(method, Method::Mixture(_)) {
        refuse("covariance", "`mixture`");
    }
    if !matches!(method, Method::Dbscan(_)) {
        refuse("eps", "`dbscan`");
    } else if !step.is_written("eps") {
        let help = "write `eps`, a distance in scaled units, or ask for `hdbscan`, which needs none";
        problems.add(step.span("method"), "`method = \"dbscan\"` needs `eps`", "no distance", help);
    }
    if matches!(method, Method::Genie | Method::Medoids) && !step.is_written("k") {
        let help = "write `k`, or ask for `auto`, `kmeans`, `mixture` or `hdbscan`, which find out";
        problems.add(step.span("method"), format!("`method = \"{word}\"` needs `k`"), "no number of segments", help);
    }
}

fn method(step: &StepSpec) -> Method {
    match step.text("method") {
        Some("mixture") => Method::Mixture(match step.text("covariance") {
            Some("diagonal") => Covariance::Diagonal,
            Some("tied") => Covariance::Tied,
            _ => Covariance::Full,
        }),
        Some("medoids") => Method::Medoids,
        Some("genie") => Method::Genie,
        Some("hdbscan") => Method::Hdbscan,
        Some("dbscan") => Method::Dbscan(step.number("eps").unwrap_or_default()),
        Some("kmeans") => Method::KMeans,
        _ => Method::Auto,
    }
}

/// Returns whether a column of this type has a place in space.
fn takes(data_type: &DataType) -> bool {
    matches!(columns::unit(data_type), Some(columns::Unit::Number | columns::Unit::Boolean))
}

/// The columns of a step, by index into the schema of its input.
struct Asked {
    /// Columns that distances are taken in.
    used: Vec<usize>,
    /// Columns of numbers that take no part and are tested.
    others: Vec<usize>,
    left_out: Vec<LeftOut>,
}

impl Asked {
    /// Reads a step against the schema of its input; columns that are not there are passed over, `check` has named them.
    fn of(step: &StepSpec, schema: &Schema) -> Self {
        let mut asked = Self { used: Vec::new(), others: Vec::new(), left_out: Vec::new() };
        for (at, field) in schema.fields().iter().enumerate() {
            let is_named = |list: &[crate::spec::Spanned<String>]| list.iter().any(|column| &column.value == field.name());
            let is_one = |named: &Option<crate::spec::Spanned<String>>| named.as_ref().is_some_and(|named| &named.value == field.name());
            if is_named(&step.exclude) || is_one(&step.id) || is_one(&step.weights) {
                continue;
            }
            let is_wanted = step.columns.is_empty() || is_named(&step.columns);
            let is_named_text = columns::is_text(field.data_type()) && is_named(&step.columns);
            match (takes(field.data_type()) || is_named_text, is_wanted) {
                (true, true) => asked.used.push(at),
                (true, false) => asked.others.push(at),
                (false, true) => asked.left_out.push(LeftOut {
                    column: field.name().clone(),
                    data_type: columns::type_words(field.data_type()),
                    reason: NUMBERS.to_owned(),
                }),
                (false, false) => {}
            }
        }
        // Last of all, where the engine looks for it.
        asked.others.extend(step.weights.iter().filter_map(|weights| schema.index_of(&weights.value).ok()));
        asked
    }
}

/// The table of all rows, written as their places come.
struct Written {
    writer: TableWriter,
    field: Option<Field>,
    has_path: bool,
    names: Option<Names>,
    /// Why it could not be written.
    failed: Option<JobError>,
}

impl Written {
    fn push(&mut self, first: usize, n_rows: usize, places: Vec<engine::Place>) -> io::Result<()> {
        let mut places = places.into_iter().peekable();
        for from in (first..first + n_rows).step_by(ROWS_AT_ONCE) {
            let rows = from..(from + ROWS_AT_ONCE).min(first + n_rows);
            if let Err(error) = self.push_some(rows, &mut places) {
                self.failed = Some(error);
                return Err(io::Error::other("the table of all rows cannot be written"));
            }
        }
        Ok(())
    }

    fn push_some(&mut self, rows: Range<usize>, places: &mut Peekable<impl Iterator<Item = engine::Place>>) -> Result<(), JobError> {
        let cells = self.names.as_mut().map(|names| names.cells(rows.start, rows.len())).transpose()?;
        self.writer.push(&assignments::assignments(rows, places, self.has_path, self.field.as_ref().zip(cells)))
    }
}

fn options(step: &StepSpec, (alpha, seed): (f64, u64)) -> ClusterOptions {
    let whole = |key: &str| step.integer(key).and_then(|n| usize::try_from(n).ok());
    let count = |key: &str, default: u32| step.integer(key).and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    let k_max = if method(step) == Method::Auto { K_MAX_AUTO } else { K_MAX };
    ClusterOptions {
        method: method(step),
        min_size: whole("min_size"),
        min_samples: whole("min_samples"),
        k: whole("k").map_or_else(|| Choice::Auto(whole("k_max").unwrap_or(k_max)), Choice::Given),
        scale: match step.text("scale") {
            Some("robust") => Scale::Robust,
            Some("unit") => Scale::Unit,
            Some("none") => Scale::None,
            _ => Scale::Standard,
        },
        restarts: count("restarts", 10),
        max_iterations: count("max_iterations", 300),
        batch_size: whole("batch_size"),
        category_of: Vec::new(),
        gamma: step.number("gamma").unwrap_or(0.5),
        most_missing: step.number("most_missing").unwrap_or(0.5),
        is_weighted: step.weights.is_some(),
        bootstrap: count("bootstrap", 50),
        levels: whole("levels").unwrap_or(1),
        most_parts: whole("k_max").unwrap_or(k_max),
        alpha,
        seed,
    }
}
