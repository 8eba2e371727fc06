//! `kind = "correlate"`: how columns go together, pair by pair, as findings and as a table.
//!
//! ```text
//! pearson over numbers, no permutations, or a table larger than memory    streamed, see `engine::correlate::Correlate`
//! every other coefficient, texts, permutations                            in memory, see `engine::correlate::associate`
//! ```

use arrow::datatypes::{DataType, Schema};
use gristmill_engine::backend::Backend;
use gristmill_engine::columns::{self, Table as Columns, TableColumn};
use gristmill_engine::correlate::{self as engine, AssociateOptions, Correlation, Frame};

use super::{JobKind, Key, StepOutcome, StepRun, TableDoc, Takes};
use crate::JobError;
use crate::error::Exit;
use crate::manifest::LeftOut;
use crate::pass::{self, Collected};
use crate::plan::{Ahead, Forecast};
use crate::spec::{Problems, Spanned, StepSpec, keys};

mod asked;
mod forecast;
mod outcome;
mod pictures;
mod roles;

use asked::Asked;
use roles::{GroupWords, Parts};

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
            keys::WEIGHTS,
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
                name: "group_by",
                takes: Takes::ColumnList,
                default: None,
                about: "Columns whose values are groups: pairs are related within each of them too, and those that turn there are named",
            },
            Key {
                name: "lags",
                takes: Takes::IntegerList(-100_000, 100_000),
                default: None,
                about: "Rows by which x (the target) lies after y, in order of `time`; negative: before",
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
            TableDoc {
                name: "columns",
                about: "every column of the input: used or why not, n, nulls, mean, sd, range, copy of which other",
            },
            TableDoc {
                name: "redundant_groups",
                about: "columns that are copies of one another, or nearly so: the first of each stands for all",
            },
            TableDoc {
                name: "simpson",
                about: "with `group_by`: each pair over all rows and pooled within groups, and whether it turns there",
            },
            TableDoc { name: "pictures", about: "what the best findings look like: rows by cell, boxes by level, levels by level" },
            TableDoc {
                name: "power",
                about: "the smallest |r| that these rows and this family could show, and the rows that `min_effect` needs",
            },
        ];
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        let method = asked::method(step);
        for column in step.columns.iter().chain(step.list("target")) {
            check_type(column, input, asked::refusal(method), problems, &|data_type| asked::takes(method, data_type));
        }
        let any = |data_type: &DataType| columns::unit(data_type).is_some() || columns::is_text(data_type);
        let named = |key: &'static str| step.list(key).iter().map(move |column| (key, column));
        for (key, column) in named("within").chain(named("controls")).chain(step.cluster_by.iter().map(|column| ("cluster_by", column))) {
            check_type(column, input, format!("`{key}` takes numbers, booleans, dates, timestamps and texts"), problems, &any);
        }
        for column in step.list("group_by") {
            check_type(column, input, "`group_by` takes texts, booleans and numbers".to_owned(), problems, &roles::groups_by);
        }
        for (key, column) in step.time.iter().map(|column| ("time", column)).chain(step.weights.iter().map(|column| ("weights", column))) {
            let taken = if key == "time" { "numbers, dates and timestamps" } else { "numbers" };
            let usable = |data_type: &DataType| columns::unit(data_type).is_some();
            check_type(column, input, format!("`{key}` takes {taken}"), problems, &usable);
        }
        check_together(step, method, problems);
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

    fn forecast(&self, step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        forecast::of(step, ahead)
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let schema = on.source.schema();
        let named = step.columns.iter().chain(&step.exclude).chain(step.list("target")).chain(step.list("within"));
        let named = named.chain(step.list("controls")).chain(step.list("group_by"));
        let named = named.chain(&step.weights).chain(&step.cluster_by).chain(&step.time);
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
        let Done { found, groups, backend, reason, more_notes } = done;
        let mut notes = outcome::notes(&found, step);
        notes.extend(more_notes);
        let said = outcome::Said { found: &found, groups: &groups, step };
        Ok(StepOutcome {
            findings: said.findings(on.job),
            notes,
            tables: said.tables(&schema, &asked.used, &asked.left_out),
            has_place_in_digits: found.pairs.iter().any(|pair| !pair.settled),
            n_rows: found.n_rows,
            n_columns: asked.used.len() as u64,
            family: Some(found.family),
            left_out: asked.left_out,
            ..StepOutcome::on(&backend, reason)
        })
    }
}

/// A correlation, and where it was computed.
struct Done {
    found: Correlation,
    groups: Vec<GroupWords>,
    backend: Backend,
    reason: String,
    more_notes: Vec<String>,
}

/// Adds a problem for each key that another one rules out.
fn check_together(step: &StepSpec, method: engine::MethodChoice, problems: &mut Problems) {
    use engine::{Method, MethodChoice};
    let word = || step.text("method").unwrap_or_default();
    if !step.list("controls").is_empty() && !matches!(method, MethodChoice::One(Method::Pearson | Method::Spearman)) {
        let message = format!("`controls` are held fixed by pearson and spearman, not by {}", word());
        problems.add(step.span("method"), message, "takes no controls", "write `method = \"pearson\"` or \"spearman\"");
    }
    if step.weights.is_some() && method != MethodChoice::One(Method::Pearson) {
        let message = format!("`weights` are taken by pearson, not by {}", word());
        problems.add(step.span("method"), message, "takes no weights", "write `method = \"pearson\"`, or remove `weights`");
    }
    let is_there = |key: &str| step.text(key).is_some() || !step.list(key).is_empty() || step.integer(key).is_some_and(|n| n > 0);
    let mut not_together = |key: &str, others: &[&str], why: &str| {
        for other in others.iter().filter(|other| is_there(other)) {
            let message = format!("`{key}` and `{other}` do not go together: {why}");
            problems.add(step.span(other), message, "one of the two", format!("remove `{other}`, or `{key}`"));
        }
    };
    if step.weights.is_some() {
        let why = "rows of unequal weight cannot take one another's place, nor be shifted or drawn";
        not_together("weights", &["permutations", "bootstrap", "within", "cluster_by", "time", "controls"], why);
    }
    if !step.integers("lags").is_empty() {
        not_together("lags", &["controls"], "a control would stand at one of two rows");
        if step.time.is_none() {
            let help = "name the column of `time` that orders the rows";
            problems.add(step.span("lags"), "`lags` count rows in order of time, and no `time` is named", "in which order?", help);
        }
    }
}

fn check_type(column: &Spanned<String>, input: &Schema, refusal: String, problems: &mut Problems, usable: &dyn Fn(&DataType) -> bool) {
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
    match pass::collect(&asked.read(), &asked.keys(), budget_bytes, step, on)? {
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
    let with_levels = |key: &'static str| step.list(key).iter().map(move |column| (key, column));
    if let Some((key, column)) = with_levels("controls").chain(with_levels("group_by")).find(|(_, column)| too_many.contains(&column.value))
    {
        let message = format!("`{key}`: column `{}` has more than {} different texts", column.value, columns::MOST_LEVELS);
        return Err(JobError::Data { step: step.name.value.clone(), message });
    }
    let parts = Parts::new(parts, asked, &mut table, step, schema)?;
    let mut options = Parts::options(asked, step, on, &table);
    let frame = Frame::new(table, &parts.roles, asked.n_targets);
    let affordable = engine::affordable_permutations(&frame, &options);
    options.permutations = match step.integer("permutations") {
        Some(n) => u32::try_from(n).unwrap_or(u32::MAX),
        None => affordable,
    };
    let mut more_notes = Vec::new();
    if asked.weights.is_some() {
        more_notes.push("no permutations: rows of unequal weight cannot take one another's place".to_owned());
    } else if options.permutations == 0 && step.integer("permutations").is_none() {
        more_notes.push("no permutations: 1,000 of them would take long here; `permutations = 1000` asks for them".to_owned());
    }
    more_notes.extend(parts.notes);
    if let Some(at) = asked.cluster_by {
        let (n, alone) = frame.n_units();
        let kept = if alone > 0 { format!("; {alone} of a size of their own keep their place") } else { String::new() };
        more_notes.push(format!("whole entities of {} change places and are drawn: {n} of them{kept}", name(at)));
    }
    let (backend, reason) = place_in_memory(&frame, &options, on);
    let found = engine::associate(&frame, &options, &backend, on.stopped).map_err(|error| pass::engine_error(step, error))?;
    let found = found.ok_or(JobError::Stopped(Exit::Interrupted))?;
    Ok(Done { found, groups: parts.groups, backend, reason, more_notes })
}

/// Pins the place of what a device can do; everything else in memory runs on the CPU.
fn place_in_memory(frame: &Frame, options: &AssociateOptions, on: &StepRun<'_>) -> (Backend, String) {
    match engine::device_cost(frame, options) {
        Some(cost) => on.placed(cost),
        None => (Backend::cpu(), "pairs in memory are computed on the CPU".to_owned()),
    }
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
    let options = asked::options(step, (on.alpha, on.memory_bytes), asked.n_targets);
    let mut analysis = engine::Correlate::new(schema, asked.used.clone(), options).map_err(|e| pass::engine_error(step, e))?;
    let needed_bytes = analysis.needed_bytes();
    if needed_bytes > on.memory_bytes {
        let what = format!("step `{}`: {} columns", step.name.value, asked.used.len());
        let help = "raise `memory`, or name fewer `columns`".to_owned();
        return Err(JobError::Budget { what, needed_bytes, budget_bytes: on.memory_bytes, help });
    }
    let (backend, reason) = match analysis.cost(on.source.n_rows().unwrap_or(0)) {
        Some(cost) => on.placed(cost),
        None => (Backend::cpu(), "products in f64 run on the CPU".to_owned()),
    };
    let mut found = pass::run(&mut analysis, step, on, &backend)?;
    if let Some(mut pictures) = engine::Pictures::new(&found, &asked.used) {
        found.pictures = pass::run(&mut pictures, step, on, &Backend::cpu())?;
    }
    let mut more_notes = Vec::new();
    if step.integer("permutations").is_none() {
        more_notes.push("no permutations: 1,000 of them would take long here; `permutations = 1000` asks for them".to_owned());
    }
    Ok(Done { found, groups: Vec::new(), backend, reason, more_notes })
}
