//! `kind = "correlate"`: how columns go together, pair by pair, as findings and as a table.
//!
//! ```text
//! pearson over numbers, no permutations, or a table larger than memory    streamed, see `engine::correlate::Correlate`
//! every other coefficient, texts, permutations                            in memory, see `engine::correlate::associate`
//! ```

use arrow::datatypes::Schema;
use gristmill_engine::backend::{Backend, Cost, Place};
use gristmill_engine::columns::{self, Table as Columns, TableColumn};
use gristmill_engine::correlate::{self as engine, AssociateOptions, Correlation, Exchange};

use super::{JobKind, Key, StepOutcome, StepRun, TableDoc, Takes};
use crate::JobError;
use crate::error::Exit;
use crate::manifest::LeftOut;
use crate::pass::{self, Collected};
use crate::spec::{Problems, Spanned, StepSpec, keys};

mod asked;
mod outcome;

use asked::Asked;

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Correlate;

impl JobKind for Correlate {
    fn name(&self) -> &'static str {
        "correlate"
    }

    fn about(&self) -> &'static str {
        "How columns go together, pair by pair, with intervals and a null that can be trusted"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            keys::COLUMNS,
            keys::EXCLUDE,
            keys::ID,
            keys::TIME,
            keys::CLUSTER_BY,
            Key { default: Some("0.1"), ..keys::MIN_EFFECT },
            Key {
                name: "target",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns that all others are related to; all pairs where absent",
            },
            Key {
                name: "method",
                takes: Takes::Choice(&[
                    "auto",
                    "pearson",
                    "spearman",
                    "kendall",
                    "cramers_v",
                    "theils_u",
                    "eta_squared",
                    "mutual_information",
                    "xi",
                    "distance",
                ]),
                default: Some("\"auto\""),
                about: "Coefficient; `auto` picks by the types of a pair: pearson, eta_squared, cramers_v",
            },
            Key {
                name: "permutations",
                takes: Takes::Integer(0, 10_000_000),
                default: None,
                about: "Permutations of the Westfall-Young null; 1000 where they are cheap and it is absent, 0 for none",
            },
            Key {
                name: "within",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns whose values are strata: rows change places within a stratum alone",
            },
            Key {
                name: "controls",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns that are held fixed: partial correlation, for pearson and spearman",
            },
            Key {
                name: "bootstrap",
                takes: Takes::Integer(0, 1_000_000),
                default: Some("0"),
                about: "Turns of the Poisson bootstrap behind the intervals; 0 for analytic ones",
            },
            Key {
                name: "leak",
                takes: Takes::Number(0.0, 1.0),
                default: Some("0.95"),
                about: "Effect with a target above which a column is taken to tell it: no finding but a leak",
            },
            Key {
                name: "known_after",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns that are known only after the target, and so explain nothing",
            },
            Key {
                name: "confirm",
                takes: Takes::Number(0.0, 0.9),
                default: Some("0.3"),
                about: "Share of the latest rows, by `time`, that must show a finding on their own",
            },
            Key {
                name: "adjust",
                takes: Takes::Choice(&["bh", "by"]),
                default: Some("\"bh\""),
                about: "How q is adjusted: Benjamini-Hochberg, or Benjamini-Yekutieli for any dependence",
            },
            Key {
                name: "precision",
                takes: Takes::Choice(&["auto", "f64", "f32"]),
                default: Some("\"auto\""),
                about: "Width of the products; in f32 the findings are settled in f64",
            },
            Key {
                name: "top",
                takes: Takes::Integer(1, 100_000_000),
                default: None,
                about: "How many of the best pairs the table keeps; all where absent",
            },
            Key { name: "min_n", takes: Takes::Integer(3, i64::MAX), default: Some("30"), about: "Fewest rows that a pair is judged on" },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[
            TableDoc { name: "pairs", about: "every pair with coefficient, interval, n, p, adjusted p and verdict, best first" },
            TableDoc { name: "columns", about: "every column of the input: used or why not, n, nulls, mean, sd, range" },
        ];
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        let method = asked::method(step);
        for column in step.columns.iter().chain(step.list("target")) {
            check_type(column, input, asked::refusal(method), problems, &|data_type| asked::takes(method, data_type));
        }
        for (key, column) in ["within", "controls"].into_iter().flat_map(|key| step.list(key).iter().map(move |column| (key, column))) {
            let refusal = format!("`{key}` takes numbers, booleans, dates, timestamps and texts");
            check_type(column, input, refusal, problems, &|data_type| columns::unit(data_type).is_some() || columns::is_text(data_type));
        }
        if let Some(column) = &step.cluster_by {
            let refusal = "`cluster_by` takes numbers, booleans, dates, timestamps and texts".to_owned();
            check_type(column, input, refusal, problems, &|data_type| columns::unit(data_type).is_some() || columns::is_text(data_type));
        }
        if let Some(column) = &step.time {
            let refusal = "`time` takes numbers, dates and timestamps".to_owned();
            check_type(column, input, refusal, problems, &|data_type| columns::unit(data_type).is_some());
        }
        let of_numbers = matches!(method, engine::MethodChoice::One(engine::Method::Pearson | engine::Method::Spearman));
        if !step.list("controls").is_empty() && !of_numbers {
            let message = format!("`controls` are held fixed by pearson and spearman, not by {}", step.text("method").unwrap_or_default());
            problems.add(step.span("method"), message, "takes no controls", "write `method = \"pearson\"` or \"spearman\"");
        }
        for column in step.list("target").iter().filter(|column| step.exclude.iter().any(|other| other.value == column.value)) {
            let message = format!("`{}` stands in `target` and in `exclude`", column.value);
            problems.add(column.span.clone(), message, "asked for here", "remove it from one of the two");
        }
        if let Some(known) = step.list("known_after").first().filter(|_| step.list("target").is_empty()) {
            let help = "name the `target`, or `exclude` the columns";
            problems.add(
                known.span.clone(),
                "`known_after` says what is known only after the `target`, and there is none",
                "after what?",
                help,
            );
        }
        let asked = Asked::of(step, input);
        let enough = if step.list("target").is_empty() { asked.used.len() >= 2 } else { asked.used.len() > asked.n_targets };
        if !enough && problems.is_empty() {
            let found = if asked.used.is_empty() { "none is" } else { "1 is" };
            let message = format!("a pair needs 2 columns that can be related, and {found} left here");
            let help = format!("{}: {}", asked::refusal(method), crate::spec::listed(&usable_names(input, method)));
            problems.add(step.span(if step.columns.is_empty() { "from" } else { "columns" }), message, "too few columns", help);
        }
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let schema = on.source.schema();
        let named = step.columns.iter().chain(&step.exclude).chain(step.list("target")).chain(step.list("within"));
        let named = named.chain(step.list("controls")).chain(&step.cluster_by).chain(&step.time);
        for name in named {
            if schema.column_with_name(&name.value).is_none() {
                let message = format!("column `{}` is not in `{}`", name.value, step.from.value.name);
                return Err(JobError::Spec { step: step.name.value.clone(), message });
            }
        }
        let mut asked = Asked::of(step, &schema);
        let is_written = |name: &str| asked::is_named(step, name) || step.list("target").iter().any(|target| target.value == name);
        if let Some(column) = asked.left_out.iter().find(|left| is_written(&left.column)) {
            let message = format!("column `{}` is {}; {}", column.column, column.data_type, column.reason);
            return Err(JobError::Data { step: step.name.value.clone(), message });
        }
        let done = match in_memory(&mut asked, step, on, &schema)? {
            Some(done) => done,
            None => streamed(&mut asked, step, on, &schema)?,
        };
        let Done { found, backend, reason, more_notes } = done;
        let mut notes = outcome::notes(&found);
        notes.extend(more_notes);
        Ok(StepOutcome {
            findings: outcome::findings(&found, step, on.job),
            notes,
            tables: outcome::tables(&found, &schema, &asked.used, step, &asked.left_out),
            place: backend.place().word().to_owned(),
            adapter: backend.place().is_device().then(|| backend.adapter()).flatten(),
            place_reason: reason,
            fell_back: backend.fallbacks(),
            n_rows: found.n_rows,
            n_columns: asked.used.len() as u64,
            family: Some(found.family),
            left_out: asked.left_out,
        })
    }
}

/// A correlation, and where it was computed.
struct Done {
    found: Correlation,
    backend: Backend,
    reason: String,
    more_notes: Vec<String>,
}

fn check_type(
    column: &Spanned<String>,
    input: &Schema,
    refusal: String,
    problems: &mut Problems,
    usable: &dyn Fn(&arrow::datatypes::DataType) -> bool,
) {
    let Some((_, field)) = input.column_with_name(&column.value) else { return };
    if !usable(field.data_type()) {
        let message = format!("column `{}` is {}", column.value, columns::type_words(field.data_type()));
        let names: Vec<&str> = input.fields().iter().filter(|field| usable(field.data_type())).map(|field| field.name().as_str()).collect();
        problems.add(column.span.clone(), message, "of another type", format!("{refusal}: {}", crate::spec::listed(&names)));
    }
}

fn usable_names(schema: &Schema, method: engine::MethodChoice) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.filter(|field| asked::takes(method, field.data_type())).map(|field| field.name().as_str()).collect()
}

/// Relates the columns in memory, where the step asks for what needs it, or it is cheap; none where they are to be streamed.
fn in_memory(asked: &mut Asked, step: &StepSpec, on: &StepRun<'_>, schema: &Schema) -> Result<Option<Done>, JobError> {
    let is_asked = asked.needs_memory(step);
    let has_texts = asked.used.iter().any(|&at| columns::is_text(schema.field(at).data_type()));
    let share = asked.share_of_memory(step);
    let mut budget_bytes = on.memory_bytes / share;
    if !is_asked && !has_texts {
        if step.integer("permutations") == Some(0) {
            return Ok(None);
        }
        // More rows than that are not permuted without being asked, and are better streamed.
        let rows = engine::affordable_rows(asked.used.len(), asked.n_targets);
        budget_bytes = budget_bytes.min(rows.saturating_mul(8 * asked.read().len() as u64));
    }
    match pass::collect(&asked.read(), budget_bytes, step, on)? {
        Collected::Table(table, too_many) => relate(asked, step, on, schema, table, &too_many).map(Some),
        Collected::TooLarge { .. } if !is_asked => Ok(None),
        Collected::TooLarge { needed_bytes, .. } => Err(JobError::Budget {
            what: format!("step `{}`: {} columns in memory", step.name.value, asked.read().len()),
            needed_bytes: share * needed_bytes,
            budget_bytes: on.memory_bytes,
            help: "raise `memory`, name fewer `columns`, draw rows with `sample`, or take `method = \"pearson\"` without permutations, which is streamed"
                .to_owned(),
        }),
    }
}

fn relate(
    asked: &mut Asked,
    step: &StepSpec,
    on: &StepRun<'_>,
    schema: &Schema,
    mut table: Columns,
    too_many: &[String],
) -> Result<Done, JobError> {
    let name = |at: usize| schema.field(at).name();
    let parts: Vec<TableColumn> = table.columns.split_off(asked.used.iter().filter(|at| !too_many.contains(name(**at))).count());
    if let Some(column) =
        too_many.iter().find(|column| asked::is_named(step, column) || step.list("target").iter().any(|t| &t.value == *column))
    {
        let message =
            format!("column `{column}` has more than {} different texts: it names rows, not groups of them", columns::MOST_LEVELS);
        return Err(JobError::Data { step: step.name.value.clone(), message });
    }
    for column in too_many {
        let reason = format!("more than {} different texts: it names rows, not groups of them", columns::MOST_LEVELS);
        asked.left_out.push(LeftOut { column: column.clone(), data_type: "text".to_owned(), reason });
    }
    asked.used.retain(|at| !too_many.contains(name(*at)));
    let parts = Parts::new(parts, asked, &mut table);
    let n_rows = table.n_rows;
    let strata = (!parts.within.is_empty()).then(|| strata(&parts.within, n_rows));
    let time = parts.time.as_ref().and_then(TableColumn::numbers);
    let known_after =
        step.list("known_after").iter().filter_map(|known| table.columns.iter().position(|column| column.name == known.value));
    let share = step.number("confirm").unwrap_or(0.0);
    let mut options = AssociateOptions {
        exchange: match &parts.cluster_by {
            Some(column) => Exchange::of_entities(&entities(column, n_rows), strata.as_deref(), time),
            None => Exchange::new(n_rows, strata.as_deref(), time),
        },
        controls: parts.controls.iter().flat_map(TableColumn::design).collect(),
        bootstrap: step.integer("bootstrap").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        leak: step.number("leak").unwrap_or(AssociateOptions::LEAK),
        known_after: known_after.collect(),
        later: time.filter(|_| share > 0.0).map(|time| later(time, share)),
        seed: on.seed,
        ..AssociateOptions::of(asked::options(step, on, asked.n_targets), asked.method, n_rows)
    };
    let mut more_notes = Vec::new();
    let affordable = engine::affordable_permutations(&table, &options);
    options.permutations = match step.integer("permutations") {
        Some(n) => u32::try_from(n).unwrap_or(u32::MAX),
        None => affordable,
    };
    if options.permutations == 0 && step.integer("permutations").is_none() {
        more_notes.push("no permutations: 1,000 of them would take long here; `permutations = 1000` asks for them".to_owned());
    }
    more_notes.extend(parts.note(asked, schema));
    if let Some(at) = asked.cluster_by {
        let (n, alone) = options.exchange.n_units();
        let kept = if alone > 0 { format!("; {alone} of a size of their own keep their place") } else { String::new() };
        more_notes.push(format!("whole entities of {} change places and are drawn: {n} of them{kept}", name(at)));
    }
    if !parts.within.is_empty() {
        more_notes.push(format!(
            "rows changed places within {} alone",
            asked.within.iter().map(|&at| name(at).as_str()).collect::<Vec<_>>().join(" x ")
        ));
    }
    if let Some(time) = asked.time.filter(|_| asked.cluster_by.is_none()) {
        more_notes.push(format!("rows were shifted in a circle along {}, so that what lies side by side stays so", name(time)));
    }
    let (backend, reason) = place_in_memory(&table, &options, on);
    let found = engine::associate(&table, &options, &backend, on.stopped).map_err(|error| pass::engine_error(step, error))?;
    let found = found.ok_or(JobError::Stopped(Exit::Interrupted))?;
    Ok(Done { found, backend, reason, more_notes })
}

/// Columns with a part of their own, over the rows that are used.
struct Parts {
    within: Vec<TableColumn>,
    controls: Vec<TableColumn>,
    cluster_by: Option<TableColumn>,
    time: Option<TableColumn>,
    /// Rows left out because a control is missing there.
    n_without: usize,
}

impl Parts {
    /// Tells the parts apart, and keeps the rows of the table that miss no control.
    fn new(mut parts: Vec<TableColumn>, asked: &Asked, table: &mut Columns) -> Self {
        let time = asked.time.and_then(|_| parts.pop());
        let cluster_by = asked.cluster_by.and_then(|_| parts.pop());
        let controls = parts.split_off(asked.within.len().min(parts.len()));
        let mut parts = Self { within: parts, controls, cluster_by, time, n_without: 0 };
        let rows: Vec<usize> = (0..table.n_rows).filter(|&row| parts.controls.iter().all(|control| !control.is_missing(row))).collect();
        parts.n_without = table.n_rows - rows.len();
        if parts.n_without > 0 {
            let columns = table.columns.iter_mut().chain(&mut parts.within).chain(&mut parts.controls);
            let columns = columns.chain(&mut parts.cluster_by).chain(&mut parts.time);
            columns.for_each(|column| *column = column.rows(&rows));
            table.n_rows = rows.len();
        }
        parts
    }

    /// Says what is held fixed.
    fn note(&self, asked: &Asked, schema: &Schema) -> Option<String> {
        let names: Vec<&str> = asked.controls.iter().map(|&at| schema.field(at).name().as_str()).collect();
        if names.is_empty() {
            return None;
        }
        let without = match self.n_without {
            0 => String::new(),
            n => format!("; {n} rows without one of them are left out"),
        };
        Some(format!("held fixed: {}{without}", names.join(", ")))
    }
}

/// Returns the stratum of every row: rows with the same values in all columns share one.
fn strata(columns: &[TableColumn], n_rows: usize) -> Vec<u32> {
    let mut known = std::collections::HashMap::new();
    let key = |row: usize| -> Vec<u64> { columns.iter().map(|column| column.key(row)).collect() };
    (0..n_rows)
        .map(|row| {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            *known.entry(key(row)).or_insert(next)
        })
        .collect()
}

/// Returns the entity of every row; a row without one is an entity of its own.
fn entities(column: &TableColumn, n_rows: usize) -> Vec<u32> {
    let mut entities = strata(std::slice::from_ref(column), n_rows);
    let mut next = entities.iter().max().map_or(0, |last| last.saturating_add(1));
    for (_, entity) in entities.iter_mut().enumerate().filter(|(row, _)| column.is_missing(*row)) {
        *entity = next;
        next = next.saturating_add(1);
    }
    entities
}

/// Returns which rows belong to the latest share of all that have a time; equal times are on one side.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the rows")]
fn later(time: &[f64], share: f64) -> Vec<bool> {
    let mut known: Vec<f64> = time.iter().copied().filter(|time| time.is_finite()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let cut = known.get((known.len() as f64 * (1.0 - share)) as usize).copied().unwrap_or(f64::INFINITY);
    time.iter().map(|time| *time >= cut).collect()
}

/// Pins the place of products in f32, of which permutations are many; everything else in memory runs on the CPU.
fn place_in_memory(table: &Columns, options: &AssociateOptions, on: &StepRun<'_>) -> (Backend, String) {
    let (n, p) = (table.n_rows as f64, table.columns.len() as f64);
    let narrow = options.correlate.precision.width(table.columns.len()) == columns::Width::F32;
    // Targets are permuted in f64; screening in f32 is one product more.
    let turns = if options.correlate.n_targets > 0 { 0.0 } else { f64::from(options.permutations) } + f64::from(u8::from(narrow));
    if turns == 0.0 {
        return (Backend::cpu(), "pairs in memory are computed on the CPU".to_owned());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cost is a rough figure")]
    let cost = Cost { flops: turns * n * p * p, bytes_up: (turns * 4.0 * n * p) as u64, bytes_down: (turns * 4.0 * p * p) as u64 };
    pinned(cost, on)
}

fn pinned(cost: Cost, on: &StepRun<'_>) -> (Backend, String) {
    if on.backend.prefer_gpu(cost)
        && let Some(place) = on.backend.device_place()
    {
        return (on.backend.pinned(place), on.backend.place_reason());
    }
    (on.backend.pinned(Place::Cpu), on.backend.place_reason())
}

/// Streams Pearson's r of the columns of numbers.
fn streamed(asked: &mut Asked, step: &StepSpec, on: &StepRun<'_>, schema: &Schema) -> Result<Done, JobError> {
    let is_text = |at: &usize| columns::is_text(schema.field(*at).data_type());
    let texts: Vec<usize> = asked.used.iter().copied().filter(is_text).collect();
    for &at in &texts {
        let name = schema.field(at).name().clone();
        if asked.used[..asked.n_targets].contains(&at) || asked::is_named(step, &name) {
            let message = format!(
                "column `{name}` is text, and texts need all rows in memory, where they do not fit; raise `memory`, or draw rows with `sample`"
            );
            return Err(JobError::Data { step: step.name.value.clone(), message });
        }
        let reason = "texts need all rows in memory, where they do not fit: raise `memory`, or draw rows with `sample`".to_owned();
        asked.left_out.push(LeftOut { column: name, data_type: "text".to_owned(), reason });
    }
    asked.used.retain(|at| !texts.contains(at));
    let options = asked::options(step, on, asked.n_targets);
    let mut analysis = engine::Correlate::new(schema, asked.used.clone(), options).map_err(|e| pass::engine_error(step, e))?;
    let needed_bytes = analysis.needed_bytes();
    if needed_bytes > on.memory_bytes {
        let what = format!("step `{}`: {} columns", step.name.value, asked.used.len());
        let help = "raise `memory`, or name fewer `columns`".to_owned();
        return Err(JobError::Budget { what, needed_bytes, budget_bytes: on.memory_bytes, help });
    }
    let (backend, reason) = match analysis.cost(on.source.n_rows().unwrap_or(0)) {
        Some(cost) => pinned(cost, on),
        None => (Backend::cpu(), "products in f64 run on the CPU".to_owned()),
    };
    let found = pass::run(&mut analysis, step, on, &backend)?;
    let mut more_notes = Vec::new();
    if step.integer("permutations").is_none() {
        more_notes.push("no permutations: 1,000 of them would take long here; `permutations = 1000` asks for them".to_owned());
    }
    Ok(Done { found, backend, reason, more_notes })
}
