//! From the tree to sources and steps: which table is which, and where a stray key belongs.
//!
//! A misspelt `[steps.x]` is reported and then read as the step that was meant, so that what refers to it is
//! not reported as well.

use crate::kinds::{KINDS, Key, Takes, kind};

use super::checks;
use super::fields::{Reading, Values, short};
use super::keys::{self, COMMON, LATER_IN_SOURCES, LATER_IN_STEPS, SYNONYMS};
use super::nearest::{did_you_mean, nearest};
use super::problems::{Span, Spanned};
use super::tree::{Node, Notation, Table, Tree};

/// A source as far as it was read.
pub(crate) struct RawSource {
    pub(crate) name: Spanned<String>,
    pub(crate) values: Values,
}

/// A step as far as it was read.
pub(crate) struct RawStep {
    pub(crate) name: Spanned<String>,
    pub(crate) kind: Option<&'static dyn crate::kinds::JobKind>,
    pub(crate) values: Values,
}

/// The three parts of a spec as far as they were read.
pub(crate) struct Raw {
    pub(crate) top: Values,
    pub(crate) sources: Vec<RawSource>,
    pub(crate) steps: Vec<RawStep>,
}

/// A table that holds sources or steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Source,
    Step,
}

/// What a table stands for.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Top,
    Source,
    Step { name: &'a str, kind: Option<&'static dyn crate::kinds::JobKind>, from: Option<&'a str> },
}

impl Group {
    const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Step => "step",
        }
    }
}

/// Reads every table of a spec.
pub(crate) fn read(reading: &mut Reading<'_>, root: &Table) -> Raw {
    let mut groups: Vec<(Group, &Spanned<String>, &Node)> = Vec::new();
    let mut loose: Vec<(Group, &Spanned<String>, &Table)> = Vec::new();
    let keys: Vec<&'static Key> = keys::TOP.iter().collect();
    let top = reading.values(root, &(0..0), &keys, |reading, name, node, values| match group_of(&name.value, node) {
        Some((group, exact)) if !exact && matches!(node.value, Tree::Table(_)) => {
            misspelt_group(reading, name, node, group);
            groups.push((group, name, node));
        }
        Some((group, true)) => groups.push((group, name, node)),
        _ => match &node.value {
            Tree::Table(table) => {
                if let Some(group) = stray_table(reading, name, table, values) {
                    loose.push((group, name, table));
                }
            }
            _ => unknown_key(reading, name, Owner::Top, values),
        },
    });
    let mut raw = Raw { top, sources: Vec::new(), steps: Vec::new() };
    for (group, name, node) in groups {
        read_group(reading, &mut raw, group, name, node);
    }
    for (group, name, table) in loose {
        read_one(reading, &mut raw, group, name, table);
    }
    raw.sources.sort_by_key(|source| source.name.span.start);
    raw.steps.sort_by_key(|step| step.name.span.start);
    raw
}

/// Returns the group that a top-level table stands for, and whether it is spelt right.
fn group_of(name: &str, node: &Node) -> Option<(Group, bool)> {
    match name {
        "source" => Some((Group::Source, true)),
        "step" => Some((Group::Step, true)),
        _ => match nearest(name, ["source", "step"]) {
            Some("source") => Some((Group::Source, false)),
            Some(_) => Some((Group::Step, false)),
            None => by_content(node).map(|group| (group, false)),
        },
    }
}

/// Tells a group under another word, `[inputs.x]` say, by the keys of what it holds.
fn by_content(node: &Node) -> Option<Group> {
    let Tree::Table(table) = &node.value else { return None };
    let holds = |key: &str| table.entries.iter().any(|(_, child)| matches!(&child.value, Tree::Table(child) if child.get(key).is_some()));
    match (holds("kind") || holds("from"), holds("path")) {
        (true, _) => Some(Group::Step),
        (false, true) => Some(Group::Source),
        (false, false) => None,
    }
}

fn misspelt_group(reading: &mut Reading<'_>, name: &Spanned<String>, node: &Node, group: Group) {
    let child = match &node.value {
        Tree::Table(table) => table.entries.first().map_or("NAME", |(child, _)| child.value.as_str()),
        _ => "NAME",
    };
    let help = format!("write {}", reading.notation.header(group.word(), child));
    let message = format!("unknown table `{}`", short(&name.value));
    reading.problems.add(name.span.clone(), message, format!("did you mean `{}`?", group.word()), help);
}

/// Reports a table that is neither `source` nor `step`; returns what it was meant as.
fn stray_table(reading: &mut Reading<'_>, name: &Spanned<String>, table: &Table, top: &mut Values) -> Option<Group> {
    let holds = |key: &str| table.get(key).is_some();
    let named = short(&name.value);
    let message = format!("unknown table `{named}`");
    if holds("kind") || holds("from") {
        let help = format!("steps stand under `step`: write {}", reading.notation.header("step", &name.value));
        reading.problems.add(name.span.clone(), message, "a step?", help);
        return Some(Group::Step);
    }
    if holds("path") {
        let help = format!("sources stand under `source`: write {}", reading.notation.header("source", &name.value));
        reading.problems.add(name.span.clone(), message, "a source?", help);
        return Some(Group::Source);
    }
    let job_keys: Vec<&str> = keys::TOP.iter().map(|key| key.name).filter(|key| holds(key)).collect();
    for key in &job_keys {
        top.give(key);
    }
    let help = match job_keys.first() {
        Some(key) => format!("`{key}` stands at {}", reading.notation.top()),
        None => format!("a spec has {} and {}", reading.notation.header("source", "NAME"), reading.notation.header("step", "NAME")),
    };
    reading.problems.add(name.span.clone(), message, "neither `source` nor `step`", help);
    None
}

fn read_group(reading: &mut Reading<'_>, raw: &mut Raw, group: Group, name: &Spanned<String>, node: &Node) {
    match &node.value {
        Tree::Table(table) => {
            let named = |(_, child): &(Spanned<String>, Node)| matches!(child.value, Tree::Table(_) | Tree::List(_));
            if table.entries.is_empty() || !table.entries.iter().all(named) {
                nameless_group(reading, group, name);
                mark_present(raw, group, nobody(name));
                return;
            }
            for (child, node) in &table.entries {
                match &node.value {
                    Tree::Table(table) => read_one(reading, raw, group, child, table),
                    Tree::List(_) => {
                        list_for_table(reading, group, child, &child.value);
                        mark_present(raw, group, child.clone());
                    }
                    _ => {}
                }
            }
        }
        Tree::List(items) if items.iter().all(|item| matches!(item.value, Tree::Table(_))) && !items.is_empty() => {
            let at = Spanned::new(name.value.clone(), list_place(reading, name, node));
            list_for_table(reading, group, &at, "NAME");
            mark_present(raw, group, nobody(name));
        }
        other => {
            let help = format!("write {} and give it a name of its own{}", reading.notation.header(group.word(), "NAME"), hint(group));
            let message = format!("`{}` holds tables with a name each, not {}", group.word(), other.noun());
            reading.problems.add(node.span.clone(), message, other.noun(), help);
            mark_present(raw, group, nobody(name));
        }
    }
}

const fn hint(group: Group) -> &'static str {
    match group {
        Group::Source => ", with `path` in it",
        Group::Step => ", with `kind` and `from` in it",
    }
}

/// In TOML the brackets show the list, in JSON the value does.
fn list_place(reading: &Reading<'_>, name: &Spanned<String>, node: &Node) -> Span {
    match reading.notation {
        Notation::Toml | Notation::Yaml => name.span.clone(),
        Notation::Json => node.span.start..node.span.start + 1,
    }
}

fn list_for_table(reading: &mut Reading<'_>, group: Group, name: &Spanned<String>, shown: &str) {
    let word = group.word();
    let help = format!("write {} once for each {word}", reading.notation.header(word, shown));
    let message = match (reading.notation, shown) {
        (Notation::Json | Notation::Yaml, _) => format!("`{word}` is a list, but each {word} needs a name"),
        (_, "NAME") => format!("`[[{word}]]` makes a list, but each {word} needs a name"),
        _ => format!("`[[{word}.{shown}]]` makes a list, but a name stands for one {word}"),
    };
    reading.problems.add(name.span.clone(), message, "a list", help);
}

fn nameless_group(reading: &mut Reading<'_>, group: Group, name: &Spanned<String>) {
    let word = group.word();
    let help = format!("write {}", reading.notation.header(word, "NAME"));
    let message = format!("`[{word}]` needs a name of its own");
    reading.problems.add(name.span.clone(), message, "no name", help);
}

/// Stands in for a source or step that could not be read, so that "there is none" is not said as well.
fn mark_present(raw: &mut Raw, group: Group, name: Spanned<String>) {
    let mut values = Values::default();
    for key in ["path", "kind", "from"] {
        values.give(key);
    }
    match group {
        Group::Source => raw.sources.push(RawSource { name, values }),
        Group::Step => raw.steps.push(RawStep { name, kind: None, values }),
    }
}

/// Returns the name of something that has none: empty, at no place.
fn nobody(near: &Spanned<String>) -> Spanned<String> {
    Spanned::new(String::new(), near.span.start..near.span.start)
}

fn read_one(reading: &mut Reading<'_>, raw: &mut Raw, group: Group, name: &Spanned<String>, table: &Table) {
    let is_step = table.get("kind").is_some() && table.get("path").is_none();
    if group == Group::Source && is_step {
        let header = format!("[source.{}]", short(&name.value));
        let help = format!("write {}", reading.notation.header("step", &name.value));
        reading.problems.add(name.span.clone(), format!("`{header}` has the keys of a step"), "a step?", help);
        return read_step(reading, raw, name, table);
    }
    match group {
        Group::Source => {
            let keys: Vec<&'static Key> = keys::SOURCE.iter().collect();
            let values = reading.values(table, &name.span, &keys, |reading, key, _, values| {
                unknown_key(reading, key, Owner::Source, values);
            });
            raw.sources.push(RawSource { name: name.clone(), values });
        }
        Group::Step => read_step(reading, raw, name, table),
    }
}

fn read_step(reading: &mut Reading<'_>, raw: &mut Raw, name: &Spanned<String>, table: &Table) {
    if let [(inner, Spanned { value: Tree::Table(deeper), .. })] = table.entries.as_slice()
        && deeper.get("kind").is_some()
    {
        let joined = format!("{}-{}", name.value, inner.value);
        let message = format!("`[step.{}.{}]` is a table within a step", name.value, inner.value);
        let help = format!("a step's name has one part: write {}", reading.notation.header("step", &joined));
        reading.problems.add(name.span.clone(), message, "two parts", help);
        return mark_present(raw, Group::Step, name.clone());
    }
    let kind = kind_of(reading, table);
    let mut keys: Vec<&'static Key> = keys::STEP.iter().collect();
    keys.extend(kind.map_or(&[][..], |kind| kind.keys()));
    let from = match table.get("from").map(|node| &node.value) {
        Some(Tree::Text(from)) => Some(from.as_str()),
        _ => None,
    };
    let owner = Owner::Step { name: &name.value, kind, from };
    let values = reading.values(table, &name.span, &keys, |reading, key, _, values| {
        // Without a kind it is not known which keys the step takes.
        if kind.is_some() || !is_key_of_any_kind(&key.value) {
            unknown_key(reading, key, owner, values);
        }
    });
    raw.steps.push(RawStep { name: name.clone(), kind, values });
}

fn is_key_of_any_kind(key: &str) -> bool {
    let common = COMMON.iter().chain(KINDS.iter().flat_map(|kind| kind.keys())).any(|known| known.name == key);
    common || LATER_IN_STEPS.contains(&key)
}

/// Finds the kind of a step; a wrong one is reported.
fn kind_of(reading: &mut Reading<'_>, table: &Table) -> Option<&'static dyn crate::kinds::JobKind> {
    let node = table.get("kind")?;
    let names = || KINDS.iter().map(|kind| kind.name());
    match &node.value {
        Tree::Text(name) if name.is_empty() => None,
        Tree::Text(name) => {
            let found = kind(name);
            if found.is_none() {
                let help = did_you_mean(name, "kinds of this version", names());
                reading.problems.add(node.span.clone(), format!("unknown kind `{}`", short(name)), "no such kind", help);
            }
            found
        }
        _ => None,
    }
}

/// Reports a key that its table does not take, and says where it belongs.
fn unknown_key(reading: &mut Reading<'_>, key: &Spanned<String>, owner: Owner<'_>, values: &mut Values) {
    let name = key.value.as_str();
    let known: Vec<&str> = known_keys(owner);
    let synonym = SYNONYMS.iter().find(|(word, meant)| *word == name && known.contains(meant)).map(|(_, meant)| *meant);
    let exact_elsewhere = belongs(reading, name, owner);
    let (message, label, help) = match (later(name, owner), exact_elsewhere, synonym.or_else(|| nearest(name, known.iter().copied()))) {
        (Some(message), _, _) => {
            let help = match owner {
                Owner::Source => "write the rows to a file and name it with `path`".to_owned(),
                _ => format!("remove it; {}", keys_of(owner, &known)),
            };
            values.give("path");
            (message, "not in this version", help)
        }
        (None, None, _) if of_others(name, owner).is_some() => {
            let kinds = of_others(name, owner).unwrap_or_default();
            (format!("`{}` is a key of {kinds}, and not of {}", short(name), kind_text(owner)), "of another kind", keys_of(owner, &known))
        }
        (None, Some(help), _) => (format!("`{}` is no key of {}", short(name), owner_text(owner)), "in the wrong table", help),
        (None, None, Some(meant)) => {
            values.give(meant);
            let help = format!("did you mean `{meant}`? {}", keys_of(owner, &known));
            (format!("unknown key `{}` {}", short(name), place_text(owner)), "no such key", help)
        }
        (None, None, None) => (format!("unknown key `{}` {}", short(name), place_text(owner)), "no such key", keys_of(owner, &known)),
    };
    reading.problems.add(key.span.clone(), message, label, help);
}

fn known_keys(owner: Owner<'_>) -> Vec<&'static str> {
    match owner {
        Owner::Top => keys::TOP.iter().map(|key| key.name).collect(),
        Owner::Source => keys::SOURCE.iter().map(|key| key.name).collect(),
        Owner::Step { kind, .. } => {
            let of_kind = kind.map_or(&[][..], |kind| kind.keys());
            keys::STEP.iter().chain(of_kind).map(|key| key.name).collect()
        }
    }
}

fn keys_of(owner: Owner<'_>, known: &[&str]) -> String {
    let known = known.join(", ");
    match owner {
        Owner::Top => format!("keys of a job: {known}"),
        Owner::Source => format!("keys of a source: {known}"),
        Owner::Step { kind: Some(kind), .. } => format!("keys of `{}`: {known}", kind.name()),
        Owner::Step { kind: None, .. } => format!("keys of every step: {known}"),
    }
}

/// Returns the message for a key of the contract that this version does not act on.
fn later(name: &str, owner: Owner<'_>) -> Option<String> {
    match owner {
        Owner::Source if LATER_IN_SOURCES.contains(&name) => Some(format!("`{name}` is not read in this version")),
        Owner::Step { kind: Some(kind), .. } => {
            let common = COMMON.iter().any(|key| key.name == name);
            (common || LATER_IN_STEPS.contains(&name)).then(|| format!("`{name}` is not used by `{}` in this version", kind.name()))
        }
        _ => None,
    }
}

/// Says where a key belongs that another table takes.
fn belongs(reading: &Reading<'_>, name: &str, owner: Owner<'_>) -> Option<String> {
    let among = |keys: &[Key]| keys.iter().any(|key| key.name == name);
    let to_source = |source: &str| format!("move it under {}", reading.notation.header("source", source));
    if !matches!(owner, Owner::Top) && among(keys::TOP) {
        return Some(format!("move it to {}", reading.notation.top()));
    }
    if !matches!(owner, Owner::Source) && among(keys::SOURCE) {
        return Some(match owner {
            Owner::Step { from: Some(from), .. } => to_source(from),
            _ => to_source("NAME"),
        });
    }
    let of_steps = among(keys::STEP) || is_key_of_any_kind(name);
    let outside = !matches!(owner, Owner::Step { .. });
    (of_steps && outside).then(|| format!("move it under {}", reading.notation.header("step", "NAME")))
}

/// Names the kinds that take a key which this step does not.
fn of_others(name: &str, owner: Owner<'_>) -> Option<String> {
    let Owner::Step { kind: Some(_), .. } = owner else { return None };
    let kinds = KINDS.iter().filter(|kind| kind.keys().iter().any(|key| key.name == name));
    let kinds: Vec<String> = kinds.map(|kind| format!("`{}`", kind.name())).collect();
    (!kinds.is_empty()).then(|| kinds.join(" and "))
}

fn kind_text(owner: Owner<'_>) -> String {
    match owner {
        Owner::Step { kind: Some(kind), .. } => format!("`{}`", kind.name()),
        _ => owner_text(owner),
    }
}

fn owner_text(owner: Owner<'_>) -> String {
    match owner {
        Owner::Top => "the top of the spec".to_owned(),
        Owner::Source => "a source".to_owned(),
        Owner::Step { name, .. } => format!("step `{}`", short(name)),
    }
}

fn place_text(owner: Owner<'_>) -> String {
    match owner {
        Owner::Top => "at the top of the spec".to_owned(),
        Owner::Source => "in a source".to_owned(),
        Owner::Step { kind: Some(kind), .. } => format!("in a step of kind `{}`", kind.name()),
        Owner::Step { name, .. } => format!("in step `{}`", short(name)),
    }
}

/// Reports keys that must be there and are not.
pub(crate) fn missing(reading: &mut Reading<'_>, raw: &Raw) {
    let add = |reading: &mut Reading<'_>, values: &Values, key: &Key, at: &Span, whose: String| {
        if !values.is_given(key.name) {
            let help = format!("add {}", reading.sample_of(key));
            reading.problems.add(at.clone(), format!("{whose} has no `{}`", key.name), format!("`{}` is missing", key.name), help);
        }
    };
    for source in &raw.sources {
        let whose = format!("source `{}`", short(&source.name.value));
        add(reading, &source.values, &keys::SOURCE[0], &source.name.span, whose);
    }
    for step in &raw.steps {
        let whose = || format!("step `{}`", short(&step.name.value));
        add(reading, &step.values, &keys::STEP[0], &step.name.span, whose());
        if step.kind.is_some_and(|kind| kind.name() == checks::CHECK) && !step.values.is_given("from") {
            let message = format!("check `{}` has no `on`", short(&step.name.value));
            let help = "name what it looks at: `on = \"STEP\"`, `on = \"STEP.TABLE\"` or a source";
            reading.problems.add(step.name.span.clone(), message, "`on` is missing", help);
            continue;
        }
        add(reading, &step.values, &keys::STEP[1], &step.name.span, whose());
        let of_kind = step.kind.map_or(&[][..], |kind| kind.keys());
        for key in of_kind.iter().filter(|key| matches!(key.takes, Takes::Table(_))) {
            add(reading, &step.values, key, &step.name.span, whose());
        }
    }
}
