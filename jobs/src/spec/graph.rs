//! Names of sources and steps, what refers to what, and the order in which steps can run.
//!
//! Sources and steps share one namespace. A step may run once the steps behind its `from` and `needs` are done;
//! among those that may, the order of the text decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinds::Takes;

use super::fields::{Reading, short};
use super::nearest::{did_you_mean, nearest};
use super::problems::{Span, Spanned};
use super::tables::{Raw, RawStep};
use super::tree::quoted;
use super::{MAX_STEPS, StepSpec, TableName};

/// Characters of a name.
const MAX_NAME: usize = 64;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Source,
    Step(usize),
}

/// Returns what is wrong with a name that becomes a folder, and a name that would do.
pub(crate) fn mend_name(name: &str, dots: bool) -> Option<String> {
    let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || (dots && c == '.');
    let starts_well = name.starts_with(char::is_alphanumeric);
    if starts_well && name.chars().all(allowed) && name.chars().count() <= MAX_NAME {
        return None;
    }
    let mended: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let mended: String = mended.trim_matches(|c: char| !c.is_alphanumeric()).chars().take(MAX_NAME).collect();
    Some(if mended.is_empty() { "NAME".to_owned() } else { mended })
}

/// Checks every name, every reference, and that steps form no cycle.
pub(crate) fn check(reading: &mut Reading<'_>, raw: &Raw) {
    let names = names(reading, raw);
    let mut edges: Vec<Vec<(usize, Span)>> = vec![Vec::new(); raw.steps.len()];
    for (index, step) in raw.steps.iter().enumerate() {
        check_from(reading, raw, &names, index, step, &mut edges[index]);
        for (key, other) in others(step) {
            if !is_file(&other.value) {
                check_table_name(reading, raw, &names, index, (key, &other), &mut edges[index]);
            }
        }
        check_needs(reading, &names, index, step, &mut edges[index]);
    }
    check_cycles(reading, raw, &edges);
    if raw.steps.len() > MAX_STEPS {
        let message = format!("{} steps, but a spec has at most {MAX_STEPS}", raw.steps.len());
        let at = raw.steps[MAX_STEPS].name.span.clone();
        reading.problems.add(at, message, format!("step {}", MAX_STEPS + 1), "split the job into several specs");
    }
}

fn names<'r>(reading: &mut Reading<'_>, raw: &'r Raw) -> BTreeMap<&'r str, Named> {
    let mut names: BTreeMap<&str, Named> = BTreeMap::new();
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    let sources = raw.sources.iter().map(|source| (&source.name, Named::Source));
    let steps = raw.steps.iter().enumerate().map(|(index, step)| (&step.name, Named::Step(index)));
    // What stands in for an unreadable table has no name and no place.
    for (name, named) in sources.chain(steps).filter(|(name, _)| !name.span.is_empty()) {
        check_name(reading, name, named);
        let lower = name.value.to_lowercase();
        match (names.get(name.value.as_str()), folded.get(&lower)) {
            (Some(_), _) => {
                let message = format!("`{}` is a name twice: of a source, a step or a check", short(&name.value));
                let help = format!("names are shared: call one of them {}", quoted(&format!("{}_2", name.value)));
                reading.problems.add(name.span.clone(), message, "taken", help);
            }
            (None, Some(other)) => {
                let message = format!("`{}` and `{other}` differ only in case", short(&name.value));
                let help = format!("steps are folders, and some disks ignore case: call it {}", quoted(&format!("{}_2", name.value)));
                reading.problems.add(name.span.clone(), message, "taken", help);
                names.insert(&name.value, named);
            }
            (None, None) => {
                names.insert(&name.value, named);
                folded.insert(lower, &name.value);
            }
        }
    }
    names
}

fn check_name(reading: &mut Reading<'_>, name: &Spanned<String>, named: Named) {
    let group = if named == Named::Source { "source" } else { "step" };
    if name.value.is_empty() {
        let help = format!("write {}", reading.notation.header(group, "NAME"));
        reading.problems.add(name.span.clone(), format!("the name of a {group} is empty"), "empty", help);
    } else if let Some(mended) = mend_name(&name.value, false) {
        let message = format!("`{}` cannot be the name of a {group}", short(&name.value));
        let help = format!("letters, digits, `_` and `-`, at most {MAX_NAME}: call it {}", quoted(&mended));
        reading.problems.add(name.span.clone(), message, "not a name", help);
    }
}

/// Splits `step.table`.
pub(crate) fn table_name(text: &str) -> TableName {
    match text.split_once('.') {
        Some((name, table)) => TableName { name: name.to_owned(), table: Some(table.to_owned()) },
        None => TableName { name: text.to_owned(), table: None },
    }
}

/// Returns the tables that a step reads beside its rows, by the keys that name them.
pub(super) fn others(step: &RawStep) -> Vec<(&'static str, Spanned<String>)> {
    let of_kind = step.kind.map_or(&[][..], |kind| kind.keys());
    let named = of_kind.iter().filter(|key| matches!(key.takes, Takes::Table(_) | Takes::TableIfAny(_)));
    named.filter_map(|key| Some((key.name, step.values.spanned_text(key.name)?))).collect()
}

/// Says whether a text that names a table is the path of a file.
pub(super) fn is_file(text: &str) -> bool {
    const ENDINGS: &[&str] = &["parquet", "csv", "tsv", "jsonl", "ndjson", "arrow", "gz", "zst"];
    text.contains(['/', '\\']) || text.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

fn check_from(
    reading: &mut Reading<'_>,
    raw: &Raw,
    names: &BTreeMap<&str, Named>,
    index: usize,
    step: &RawStep,
    edges: &mut Vec<(usize, Span)>,
) {
    let from = step.values.list("from");
    let reads_one = step.kind.is_none_or(|kind| kind.tells_tables_apart_by().is_none());
    if let ([first, _, ..], true) = (from, reads_one) {
        let kind = step.kind.map_or("a step", |kind| kind.name());
        let message = format!("`from` names {} tables, but `{kind}` reads 1", from.len());
        let span = step.values.field("from").map_or_else(|| first.span.clone(), |field| field.span.clone());
        reading.problems.add(span, message, "more than one", "keep one of them, or list their files in one source");
        return;
    }
    for table in from {
        check_table_name(reading, raw, names, index, ("from", table), edges);
    }
}

/// Checks the name of a table that a key of a step holds.
fn check_table_name(
    reading: &mut Reading<'_>,
    raw: &Raw,
    names: &BTreeMap<&str, Named>,
    index: usize,
    (key, from): (&str, &Spanned<String>),
    edges: &mut Vec<(usize, Span)>,
) {
    let step = &raw.steps[index];
    let to = table_name(&from.value);
    let others = || names.iter().filter(|(_, named)| **named != Named::Step(index)).map(|(name, _)| *name);
    match names.get(to.name.as_str()) {
        Some(Named::Step(other)) if *other == index => {
            let message = format!("step `{}` reads from itself", short(&step.name.value));
            reading.problems.add(from.span.clone(), message, "itself", did_you_mean("", "it can read from", others()));
        }
        Some(Named::Step(other)) => {
            edges.push((*other, from.span.clone()));
            check_table(reading, &raw.steps[*other], from, &to);
        }
        Some(Named::Source) if to.table.is_some() => {
            let message = format!("`{}` is a source and has no further tables: `{}`", to.name, short(&from.value));
            let help = format!("write {}", reading.notation.assign(key, &quoted(&to.name)));
            reading.problems.add(from.span.clone(), message, "no such table", format!("{help} as in `{}`", to.name));
        }
        Some(Named::Source) => {}
        // Where a table could not be read, or there is no source at all, this name may be its name.
        None if raw.sources.is_empty() || is_incomplete(raw) => {}
        None => unknown_table(reading, from, &to, &others().collect::<Vec<_>>()),
    }
}

fn is_incomplete(raw: &Raw) -> bool {
    raw.sources.iter().any(|source| source.name.span.is_empty()) || raw.steps.iter().any(|step| step.name.span.is_empty())
}

fn unknown_table(reading: &mut Reading<'_>, from: &Spanned<String>, to: &TableName, others: &[&str]) {
    let message = format!("no source or step is called `{}`", short(&from.value));
    let rest = to.table.as_deref().filter(|_| ["source", "step"].contains(&to.name.as_str()));
    let help = match rest.filter(|rest| others.contains(rest)) {
        Some(rest) => format!("write the name alone: `{rest}`"),
        None => did_you_mean(&from.value, "there are", others.iter().copied()),
    };
    reading.problems.add(from.span.clone(), message, "no such name", help);
}

fn check_table(reading: &mut Reading<'_>, step: &RawStep, from: &Spanned<String>, to: &TableName) {
    let (Some(table), Some(kind)) = (&to.table, step.kind) else { return };
    let tables: Vec<&str> = kind.tables().iter().map(|table| table.name).collect();
    if tables.contains(&table.as_str()) {
        return;
    }
    let message = format!("step `{}` writes no table `{}`", to.name, short(table));
    let help = match nearest(table, tables.iter().copied()) {
        Some(name) => format!("did you mean `{}.{name}`?", to.name),
        None => format!("tables of `{}`: {}", kind.name(), tables.join(", ")),
    };
    reading.problems.add(from.span.clone(), message, "no such table", help);
}

fn check_needs(reading: &mut Reading<'_>, names: &BTreeMap<&str, Named>, index: usize, step: &RawStep, edges: &mut Vec<(usize, Span)>) {
    for need in step.values.list("needs") {
        let steps = || names.iter().filter(|(_, named)| matches!(named, Named::Step(other) if *other != index));
        let at = need.span.clone();
        match names.get(need.value.as_str()) {
            Some(Named::Step(other)) if *other == index => {
                let message = format!("step `{}` needs itself", short(&step.name.value));
                reading.problems.add(at, message, "itself", "remove it");
            }
            Some(Named::Step(other)) => edges.push((*other, at)),
            Some(Named::Source) => {
                let message = format!("`{}` is a source, but `needs` names steps", need.value);
                reading.problems.add(at, message, "a source", "remove it: sources need no waiting for");
            }
            None => {
                let help = did_you_mean(&need.value, "steps", steps().map(|(name, _)| *name));
                reading.problems.add(at, format!("no step is called `{}`", short(&need.value)), "no such step", help);
            }
        }
    }
}

/// Reports each cycle once, at the reference of its first step in the text.
fn check_cycles(reading: &mut Reading<'_>, raw: &Raw, edges: &[Vec<(usize, Span)>]) {
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for start in cyclic(edges) {
        if told.contains(&start) {
            continue;
        }
        let Some(path) = cycle_through(start, edges) else { continue };
        told.extend(path.iter().copied());
        let name = |step: &usize| raw.steps[*step].name.value.as_str();
        let mut shown: Vec<&str> = path.iter().map(name).collect();
        shown.push(name(&start));
        let message = format!("steps `{}` and `{}` form a cycle: {}", name(&start), shown[1], shown.join(" -> "));
        let next = path.get(1).copied().unwrap_or(start);
        let at = edges[start].iter().find(|(to, _)| *to == next).map_or(0..0, |(_, span)| span.clone());
        let in_needs = raw.steps[start].values.list("needs").iter().any(|need| need.span == at);
        let help = if in_needs {
            format!("remove `{}` from `needs`, or let the other step read from something else", shown[1])
        } else {
            let sources: Vec<&str> = raw.sources.iter().map(|source| source.name.value.as_str()).collect();
            format!("let one of them read from something else; sources: {}", sources.join(", "))
        };
        reading.problems.add(at, message, "waits for itself", help);
    }
}

/// Returns the steps that can never run: those on a cycle or behind one.
fn cyclic(edges: &[Vec<(usize, Span)>]) -> Vec<usize> {
    let order: BTreeSet<usize> = order(edges).into_iter().collect();
    (0..edges.len()).filter(|step| !order.contains(step)).collect()
}

/// Returns the shortest way from a step back to itself.
fn cycle_through(start: usize, edges: &[Vec<(usize, Span)>]) -> Option<Vec<usize>> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(step) = queue.pop_front() {
        for (next, _) in &edges[step] {
            if *next == start {
                let mut path = vec![step];
                while let Some(before) = came_from.get(path.last()?) {
                    path.push(*before);
                }
                path.reverse();
                return Some(path);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, step);
                queue.push_back(*next);
            }
        }
    }
    None
}

/// Returns indices of steps in the order of the run: what is waited for first, else the order of the text.
#[must_use]
pub fn in_order(steps: &[StepSpec]) -> Vec<usize> {
    let index: BTreeMap<&str, usize> = steps.iter().enumerate().map(|(index, step)| (step.name.value.as_str(), index)).collect();
    let before = |step: &StepSpec| {
        let others = step.others.iter().map(|(_, other)| other.value.name.as_str());
        let also = step.also_from.iter().map(|table| table.value.name.as_str());
        let names = std::iter::once(step.from.value.name.as_str())
            .chain(also)
            .chain(others)
            .chain(step.needs.iter().map(|need| need.value.as_str()));
        names.filter_map(|name| Some((*index.get(name)?, ()))).collect()
    };
    order(&steps.iter().map(before).collect::<Vec<_>>())
}

/// Returns the steps in an order in which they can run, those of a cycle left out.
fn order<T>(edges: &[Vec<(usize, T)>]) -> Vec<usize> {
    let mut waits: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (step, before) in edges.iter().enumerate() {
        for (other, _) in before {
            waiting[*other].push(step);
        }
    }
    let mut ready: BTreeSet<usize> = (0..edges.len()).filter(|step| waits[*step] == 0).collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(step) = ready.pop_first() {
        order.push(step);
        for after in &waiting[step] {
            waits[*after] -= 1;
            if waits[*after] == 0 {
                ready.insert(*after);
            }
        }
    }
    order
}
