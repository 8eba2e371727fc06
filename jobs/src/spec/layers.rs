//! What a spec is laid over: the file that it `extends`, and over it what the command line sets.
//!
//! ```text
//! base file < spec < --set KEY=VALUE, later ones over earlier ones
//! ```
//!
//! Tables are merged key by key; lists and values are replaced whole. A base has no base of its own, and relative paths start from the
//! folder of the spec that is run, whichever file they stand in.

use super::json::from_json;
use super::nearest::did_you_mean;
use super::problems::{Problem, Problems, Spanned};
use super::text::SpecText;
use super::tree::{Document, Node, Notation, Table, Tree, from_toml, quoted};
use super::yaml::from_yaml;
use super::{SpecFailure, fields::short, read_text};

/// Key that names the base.
pub(crate) const EXTENDS: &str = "extends";

/// Reads a text in its notation.
pub(crate) fn document(notation: Notation, text: &str) -> Document {
    match notation {
        Notation::Toml => from_toml(text),
        Notation::Json => from_json(text),
        Notation::Yaml => from_yaml(text),
    }
}

/// Lays a spec over its base; says whether the base could be understood.
pub(crate) fn extend(text: &mut SpecText, root: &mut Table, problems: &mut Problems) -> bool {
    let Some(at) = root.entries.iter().position(|(key, node)| key.value == EXTENDS && matches!(node.value, Tree::Text(_))) else {
        return true;
    };
    let (_, node) = root.entries.remove(at);
    let Tree::Text(named) = &node.value else { return true };
    let path = text.path.parent().map_or_else(|| named.into(), |folder| folder.join(named));
    let base = match read_text(&path) {
        Ok(base) => base,
        Err(SpecFailure::Unreadable { message, .. }) => {
            problems.add(node.span, format!("the base `{}` {message}", short(named)), "no such base", "name a spec beside this one");
            return false;
        }
        Err(SpecFailure::Wrong { .. }) => {
            problems.add(node.span, format!("the base `{}` is not UTF-8", short(named)), "no text", "save the file as UTF-8");
            return false;
        }
    };
    let notation = Notation::of(&path, &base);
    let Document { root: mut under, problems: mut wrong, .. } = document(notation, &base);
    let start = text.add(path, &base);
    move_by(&mut under, start);
    if let Some((key, _)) = under.entry(EXTENDS) {
        let help = "write what it extends into it: a base has no base of its own";
        wrong.add(key.span.start - start..key.span.end - start, "a base that extends another one", "one level", help);
    }
    let is_understood = wrong.is_empty();
    wrong.move_by(start);
    problems.append(wrong);
    merge(&mut under, std::mem::take(root));
    *root = under;
    is_understood
}

/// Lays what the command line sets over a spec.
pub(crate) fn set(text: &mut SpecText, root: &mut Table, sets: &[String], problems: &mut Problems) {
    for written in sets {
        match assignment(written) {
            Ok((line, mut over)) => {
                let start = text.add("--set", &line);
                move_by(&mut over, start);
                if is_known(root, &over, problems) {
                    merge(root, over);
                }
            }
            Err(Problem { span, message, label, help }) => {
                let start = text.add("--set", written);
                problems.add(span.start + start..span.end + start, message, label, help);
            }
        }
    }
}

/// Reads `KEY=VALUE`: a value that is no literal of TOML is a text.
fn assignment(written: &str) -> Result<(String, Table), Problem> {
    let refused = |message: &str, help: &str| Problem {
        span: 0..written.len().max(1),
        message: format!("`--set {}` {message}", short(written)),
        label: "here".to_owned(),
        help: help.to_owned(),
    };
    let form = "write KEY=VALUE with a key as in a spec, for example `--set vars.month=2025-03` or `--set step.pairs.top=20`";
    let Some((key, value)) = written.split_once('=') else { return Err(refused("has no value", form)) };
    // A line of its own could open further tables.
    if written.contains(['\n', '\r']) {
        return Err(refused("has more than one line", form));
    }
    let value = value.trim();
    for literal in [value.to_owned(), quoted(value)] {
        let line = format!("{} = {literal}", key.trim());
        let Document { root, problems, .. } = from_toml(&line);
        if problems.is_empty() && !root.entries.is_empty() && !holds_date(&root) {
            return Ok((line, root));
        }
    }
    Err(refused("has no key", form))
}

/// Says whether a value is a date, which no key takes: it is a text then.
fn holds_date(table: &Table) -> bool {
    table.entries.iter().any(|(_, node)| match &node.value {
        Tree::Date => true,
        Tree::Table(table) => holds_date(table),
        _ => false,
    })
}

/// Says whether what is set is there to be set: a table, a variable; keys are checked like all others.
fn is_known(root: &Table, over: &Table, problems: &mut Problems) -> bool {
    for (group, node) in &over.entries {
        let Tree::Table(named) = &node.value else { continue };
        let Some((name, _)) = named.entries.first() else { continue };
        let there: Vec<&str> = match root.get(&group.value).map(|node| &node.value) {
            Some(Tree::Table(table)) => table.entries.iter().map(|(name, _)| name.value.as_str()).collect(),
            _ => Vec::new(),
        };
        if ["source", "step", "vars"].contains(&group.value.as_str()) && !there.contains(&name.value.as_str()) {
            let what = if group.value == "vars" { "variable" } else { group.value.as_str() };
            let help = did_you_mean(&name.value, "there are", there);
            problems.add(name.span.clone(), format!("no {what} is called `{}`", short(&name.value)), "nothing to set", help);
            return false;
        }
    }
    true
}

fn merge(under: &mut Table, over: Table) {
    for (name, node) in over.entries {
        match under.entries.iter_mut().find(|(key, _)| key.value == name.value) {
            None => under.entries.push((name, node)),
            Some((key, below)) => match (&mut below.value, node.value) {
                (Tree::Table(below), Tree::Table(table)) => merge(below, table),
                (_, value) => {
                    *key = name;
                    *below = Spanned::new(value, node.span);
                }
            },
        }
    }
}

fn move_by(table: &mut Table, by: usize) {
    for (key, node) in &mut table.entries {
        key.span = key.span.start + by..key.span.end + by;
        move_node(node, by);
    }
}

fn move_node(node: &mut Node, by: usize) {
    node.span = node.span.start + by..node.span.end + by;
    match &mut node.value {
        Tree::List(items) => items.iter_mut().for_each(|item| move_node(item, by)),
        Tree::Table(table) => move_by(table, by),
        _ => {}
    }
}
