//! From fields to a `Spec`, and the order in which mistakes are looked for.
//!
//! Whatever could be read ends up in the `Spec`, also when something else is wrong: the parts that are right
//! can then be checked against their files.

use std::path::Path;

use gristmill_datasets::{Format, Rename};

use crate::secrets;

use super::checks;
use super::fields::{Reading, Values, short};
use super::graph;
use super::keys;
use super::layers;
use super::problems::{Problem, Problems, Spanned, line_and_column};
use super::tables::{self, Raw, RawSource, RawStep};
use super::tree::{Document, Notation, quoted};
use super::vars;
use super::{SourceSpec, Spec, SpecText, StepSpec, TableName};

/// Level of a job that says nothing about it.
const DEFAULT_ALPHA: f64 = 0.05;

/// A text as far as it was understood.
pub(crate) struct Built {
    /// Whole where there are no problems.
    pub(crate) spec: Spec,
    /// Everything that is wrong with the text alone.
    pub(crate) problems: Problems,
    /// Lines with mistakes of notation: what else is wrong there only follows from them.
    broken_lines: Vec<usize>,
    /// First byte from which nothing was understood.
    broken_at: Option<usize>,
}

/// Reads a text as far as it goes, with its base and what is set; their texts are added to it.
pub(crate) fn build(text: &mut SpecText, sets: &[String]) -> Built {
    let notation = Notation::of(&text.path, &text.text);
    let Document { mut root, problems: mut syntax, mut broken_at } = layers::document(notation, &text.text);
    let mut layered = Problems::default();
    if broken_at.is_none() {
        if !layers::extend(text, &mut root, &mut layered) {
            // What the base holds is not known, so nothing can be said of what is laid over it.
            broken_at = Some(0);
        }
        checks::to_steps(notation, &mut root, &mut layered);
        layers::set(text, &mut root, sets, &mut layered);
        vars::resolve(&mut root, &mut layered);
    }
    syntax.append(layered);
    let mut reading = Reading::new(&text.text, notation, &root);
    let raw = tables::read(&mut reading, &root);
    if broken_at.is_none() {
        check_whole(&mut reading, &raw, &text.path);
    }
    check_name(&mut reading, &raw.top);
    let spec = assemble(&mut reading, raw, &text.path);
    let line = |problem: &&Problem| line_and_column(&text.text, problem.span.start).0;
    let broken_lines = syntax.in_order().iter().map(line).collect();
    let semantic = reading.problems;
    let mut built = Built { spec, problems: syntax, broken_lines, broken_at };
    built.add(semantic, &text.text);
    built
}

impl Built {
    /// Adds further problems, without those that only follow from mistakes of notation or from one told already.
    pub(crate) fn add(&mut self, mut problems: Problems, text: &str) {
        problems.retain(|problem| {
            if self.problems.overlap(&problem.span) {
                return false;
            }
            let before = self.broken_at.is_none_or(|at| problem.span.start < at);
            // Lines are counted only where some are broken: counting is what costs in a long spec.
            let on_good_line = || !self.broken_lines.contains(&line_and_column(text, problem.span.start).0);
            before && (self.broken_lines.is_empty() || on_good_line())
        });
        self.problems.append(problems);
    }
}

/// Looks for what is missing and for names that fit nothing: only a text that was understood can be asked.
fn check_whole(reading: &mut Reading<'_>, raw: &Raw, path: &Path) {
    let header = |group: &str, name: &str| reading.notation.header(group, name);
    if raw.sources.is_empty() && raw.steps.is_empty() && !keys::TOP.iter().any(|key| raw.top.is_given(key.name)) {
        let help = format!("a spec has `name`, {} and {}", header("source", "NAME"), header("step", "NAME"));
        if reading.problems.is_empty() {
            reading.problems.add(0..1, "the spec is empty", "", help);
        }
        return;
    }
    if !raw.top.is_given("name") {
        let stem = path.file_stem().map_or_else(|| "NAME".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let name = graph::mend_name(&stem, true).unwrap_or(stem);
        let help = format!("add {} at {}", reading.notation.assign("name", &quoted(&name)), reading.notation.top());
        reading.problems.add(0..1, "the job has no `name`", "`name` is missing", help);
    }
    if raw.sources.is_empty() {
        let name = raw.steps.iter().find_map(|step| Some(graph::table_name(&step.values.list("from").first()?.value).name));
        let help = format!("add {} with `path`", header("source", name.as_deref().unwrap_or("NAME")));
        reading.problems.add(0..1, "the spec has no source", "", help);
    }
    if raw.steps.is_empty() {
        let help = format!("add {} with `kind` and `from`", header("step", "NAME"));
        reading.problems.add(0..1, "the spec has no step", "", help);
    }
    tables::missing(reading, raw);
    graph::check(reading, raw);
}

fn check_name(reading: &mut Reading<'_>, top: &Values) {
    let Some(name) = top.spanned_text("name") else { return };
    if let Some(mended) = graph::mend_name(&name.value, true) {
        let message = format!("`{}` cannot be the name of a job", short(&name.value));
        let help = format!("it becomes a folder: letters, digits, `.`, `_`, `-`, at most 64: write {}", quoted(&mended));
        reading.problems.add(name.span, message, "not a name", help);
    }
}

fn assemble(reading: &mut Reading<'_>, raw: Raw, path: &Path) -> Spec {
    let top = raw.top;
    let files: Vec<SourceSpec> = raw.steps.iter().flat_map(files).collect();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Spec {
        name: top.spanned_text("name").unwrap_or_else(|| Spanned::new(String::new(), 0..0)),
        seed: top.integer("seed").and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0),
        place: top.text("place").unwrap_or("auto").to_owned(),
        threads: top.integer("threads").and_then(|threads| usize::try_from(threads).ok()),
        memory_bytes: top.bytes("memory"),
        max_seconds: top.number("max_time"),
        max_disk_bytes: top.bytes("max_disk"),
        alpha: top.number("alpha").unwrap_or(DEFAULT_ALPHA),
        sources: raw.sources.into_iter().filter_map(|source| source_spec(reading, source)).chain(files).collect(),
        steps: raw.steps.into_iter().filter_map(step_spec).collect(),
        base_dir: folder.to_owned(),
        values: top,
    }
}

fn source_spec(reading: &mut Reading<'_>, source: RawSource) -> Option<SourceSpec> {
    let RawSource { name, values } = source;
    let delimiter = delimiter(reading, &values);
    let rename = renames(reading, &values);
    let paths = values.list("path").to_vec();
    if let (Some(column), true) = (values.field("file_column"), paths.iter().any(|path| secrets::are_in(&path.value))) {
        let message = "`file_column` would write the secret of `path` into every row";
        reading.problems.add(column.span.clone(), message, "holds paths", "remove it, or keep the secret out of `path`");
    }
    let in_partition = |path: &&Spanned<String>| path.value.split('/').any(|part| part.contains('=') && secrets::are_in(part));
    if let Some(path) = paths.iter().find(in_partition) {
        let message = "a secret in a folder `NAME=VALUE` would be a cell of every row";
        reading.problems.add(path.span.clone(), message, "a column", "keep the secret out of such a folder");
    }
    // Without a path, or with an option that cannot be read, there is nothing to open.
    if paths.is_empty() || (values.is_given("delimiter") && delimiter.is_none()) || rename.len() < values.list("rename").len() {
        return None;
    }
    Some(SourceSpec {
        name,
        paths,
        format: values.text("format").and_then(format),
        delimiter,
        header: values.flag("header"),
        encoding: values.text("encoding").map(str::to_owned),
        null_values: values.list("null_values").iter().map(|text| text.value.clone()).collect(),
        rename,
        file_column: values.text("file_column").map(str::to_owned),
        filter_start: values.spanned_text("where").and_then(|filter| start_within(reading.text, &filter)),
        filter: values.spanned_text("where"),
        sample: values.sample("sample"),
        values,
    })
}

/// Returns files that keys of a step name, as sources.
fn files(step: &RawStep) -> Vec<SourceSpec> {
    let named = graph::others(step).into_iter().filter(|(_, other)| graph::is_file(&other.value));
    named.map(|(key, path)| SourceSpec::of(Spanned::new(file_name(step, key), path.span.clone()), path)).collect()
}

/// Returns the name of the source that stands for a file: no table of a spec can have it.
fn file_name(step: &RawStep, key: &str) -> String {
    format!("{}.{key}", step.name.value)
}

/// Returns the byte where a quoted text starts, if it stands in the spec as it is, without escapes.
fn start_within(text: &str, written: &Spanned<String>) -> Option<usize> {
    let offset = text.get(written.span.clone())?.find(&written.value)?;
    Some(written.span.start + offset)
}

fn format(word: &str) -> Option<Format> {
    match word {
        "parquet" => Some(Format::Parquet),
        "csv" => Some(Format::Csv),
        "jsonl" => Some(Format::JsonLines),
        "arrow" => Some(Format::Arrow),
        _ => None,
    }
}

fn delimiter(reading: &mut Reading<'_>, values: &Values) -> Option<u8> {
    let written = values.spanned_text("delimiter")?;
    match written.value.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte) => return Some(*byte),
        _ => {}
    }
    let meant = match written.value.to_lowercase().as_str() {
        "tab" | "\\t" | "tsv" => "\"\\t\"",
        "semicolon" => "\";\"",
        "pipe" => "\"|\"",
        _ => "\",\"",
    };
    let message = format!("`{}` is not one separator", short(&written.value));
    let help = format!("write one character, for example {}", reading.notation.assign("delimiter", meant));
    reading.problems.add(written.span, message, "not one character", help);
    None
}

/// Returns the new names that can be read.
fn renames(reading: &mut Reading<'_>, values: &Values) -> Vec<Rename> {
    let mut renames: Vec<Rename> = Vec::new();
    for written in values.list("rename") {
        let found = match written.value.parse::<Rename>() {
            Ok(asked) if renames.iter().any(|other| other.from == asked.from) => Err("a column gets one new name"),
            Ok(asked) if renames.iter().any(|other| other.to == asked.to) => Err("two columns cannot have one name"),
            other => other,
        };
        match found {
            Ok(asked) => renames.push(asked),
            Err(help) => {
                let message = format!("`{}` is not a new name", short(&written.value));
                let help = format!("{help}, for example {}", quoted("Invoice as invoice_no"));
                reading.problems.add(written.span.clone(), message, "not a new name", help);
            }
        }
    }
    renames
}

fn step_spec(step: RawStep) -> Option<StepSpec> {
    let other = |(key, text): (&'static str, Spanned<String>)| {
        let table = match graph::is_file(&text.value) {
            true => TableName { name: file_name(&step, key), table: None },
            false => graph::table_name(&text.value),
        };
        (key, Spanned::new(table, text.span))
    };
    let others = graph::others(&step).into_iter().map(other).collect();
    let RawStep { name, kind, values } = step;
    let mut tables = values.list("from").iter().map(|from| Spanned::new(graph::table_name(&from.value), from.span.clone()));
    let (from, also_from) = (tables.next()?, tables.collect());
    Some(StepSpec {
        name,
        kind: kind?,
        from,
        also_from,
        others,
        needs: values.list("needs").to_vec(),
        id: values.spanned_text(keys::ID.name),
        columns: values.list(keys::COLUMNS.name).to_vec(),
        exclude: values.list(keys::EXCLUDE.name).to_vec(),
        time: values.spanned_text(keys::TIME.name),
        cluster_by: values.spanned_text(keys::CLUSTER_BY.name),
        weights: values.spanned_text(keys::WEIGHTS.name),
        min_effect: values.number(keys::MIN_EFFECT.name),
        values,
    })
}
