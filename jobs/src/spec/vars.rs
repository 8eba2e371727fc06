//! References within a spec's texts, and tables that stand for several.
//!
//! ```text
//! ${vars.NAME}            a value of [vars]; a text that is nothing else takes its type
//! ${env:NAME}             the environment, for names that `allow_env` lists; ${env:NAME:-DEFAULT} where it may be unset
//! ${secret:NAME}          the environment, in `path` alone; never printed and in no hash
//! ${each.NAME}            one value of [step.X.each] or [source.X.each], which stands for a table per value, X-VALUE
//! $${                     the characters ${
//! ```
//!
//! Nothing more: no expressions, no conditions, no loops. What a reference stands for is a value of the tree, so a text from outside can
//! never become a key or a table.
//! Absent    references within keys and names.

use std::cell::Cell;
use std::env;

use super::MAX_STEPS;
use super::fields::short;
use super::graph;
use super::nearest::{did_you_mean, listed};
use super::problems::{Problems, Span, Spanned};
use super::tree::{Node, Table, Tree, quoted};
use crate::secrets;

/// Key of the table of variables.
const VARS: &str = "vars";
/// Key of the environment's names that a spec may read.
const ALLOW_ENV: &str = "allow_env";
/// Key of a table that stands for several.
const EACH: &str = "each";
/// Key of `needs`, which may name a table that stands for several.
const NEEDS: &str = "needs";

/// Entries, items and blocks of text that references may make of a spec: some hundred times what one holds that people write.
const MAX_MADE: usize = 200_000;
/// Bytes of a block of text.
const TEXT_BLOCK: usize = 64;

/// What references may stand for at a place.
#[derive(Clone, Copy)]
struct Scope<'a> {
    /// `[vars]`; none within itself.
    vars: Option<&'a Table>,
    /// Names of the environment that may be read.
    allowed: &'a [String],
    /// The values of this table out of several; none outside of one.
    each: Option<&'a [(String, Node)]>,
    /// Whether this is the path of a source.
    is_path: bool,
    /// What may still be made: entries, items, and blocks of text.
    room: &'a Cell<usize>,
}

/// Puts values in place of every reference, and several tables in place of those with `each`.
pub(crate) fn resolve(root: &mut Table, problems: &mut Problems) {
    let allowed = allowed(root);
    let mut vars = take_table(root, VARS);
    let room = Cell::new(MAX_MADE);
    let bare = Scope { vars: None, allowed: &allowed, each: None, is_path: false, room: &room };
    if let Some(vars) = &mut vars {
        check_vars(vars, problems);
        vars.entries.iter_mut().for_each(|(_, node)| bare.fill(node, problems));
    }
    let none = Table::default();
    let scope = Scope { vars: Some(vars.as_ref().unwrap_or(&none)), ..bare };
    let mut several: Vec<(String, Vec<String>)> = Vec::new();
    for (key, node) in &mut root.entries {
        match (&mut node.value, key.value.as_str()) {
            (Tree::Table(group), "source" | "step") => {
                several.extend(scope.expand(group, key.value == "source", problems));
            }
            _ => scope.fill(node, problems),
        }
    }
    name_all_needs(root, &several);
}

/// Returns the list of names that `allow_env` holds, as far as it can be read; the key itself is checked with all others.
fn allowed(root: &Table) -> Vec<String> {
    let text = |node: &Node| if let Tree::Text(text) = &node.value { Some(text.clone()) } else { None };
    match root.get(ALLOW_ENV).map(|node| &node.value) {
        Some(Tree::List(items)) => items.iter().filter_map(text).collect(),
        Some(Tree::Text(name)) => vec![name.clone()],
        _ => Vec::new(),
    }
}

/// Takes a table out of its place; a value of another type stays and is reported with all others.
fn take_table(root: &mut Table, key: &str) -> Option<Table> {
    let at = root.entries.iter().position(|(name, node)| name.value == key && matches!(node.value, Tree::Table(_)))?;
    match root.entries.remove(at).1.value {
        Tree::Table(table) => Some(table),
        _ => None,
    }
}

fn check_vars(vars: &Table, problems: &mut Problems) {
    for (name, node) in &vars.entries {
        let is_plain = match &node.value {
            Tree::List(items) => !items.is_empty() && items.iter().all(is_scalar),
            _ => is_scalar(node),
        };
        if !is_plain {
            let noun = node.value.noun();
            let message = format!("variable `{}` is {noun}", short(&name.value));
            let help = "a variable is a text, a number, `true` or `false`, or a list of these";
            problems.add(node.span.clone(), message, noun, help);
        }
        if name.value.is_empty() || !name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{}` cannot be the name of a variable", short(&name.value));
            problems.add(name.span.clone(), message, "not a name", "letters, digits and `_`");
        }
    }
}

fn is_scalar(node: &Node) -> bool {
    matches!(node.value, Tree::Text(_) | Tree::Integer(_) | Tree::Number(_) | Tree::Flag(_))
}

/// Lets `needs` that name a table out of several stand for all of them.
fn name_all_needs(root: &mut Table, several: &[(String, Vec<String>)]) {
    let Some((_, Spanned { value: Tree::Table(steps), .. })) = root.entries.iter_mut().find(|(key, _)| key.value == "step") else { return };
    for (_, step) in &mut steps.entries {
        let Tree::Table(step) = &mut step.value else { continue };
        let Some((_, needs)) = step.entries.iter_mut().find(|(key, _)| key.value == NEEDS) else { continue };
        let items = match std::mem::replace(&mut needs.value, Tree::Null) {
            Tree::List(items) => items,
            other => vec![Node::new(other, needs.span.clone())],
        };
        let all = items.into_iter().flat_map(|item| {
            match several.iter().find(|(name, _)| matches!(&item.value, Tree::Text(text) if text == name)) {
                Some((_, names)) => names.iter().map(|name| Node::new(Tree::Text(name.clone()), item.span.clone())).collect(),
                None => vec![item],
            }
        });
        needs.value = Tree::List(all.collect());
    }
}

impl Scope<'_> {
    /// Takes room for what a reference makes; where there is none left that is told once.
    fn take(&self, n: usize, span: &Span, problems: &mut Problems) -> bool {
        let left = self.room.get();
        if n <= left {
            self.room.set(left - n);
            return true;
        }
        if left > 0 {
            self.room.set(0);
            let help = "name fewer values, or split the job into several specs";
            problems.add(span.clone(), "references make more of the spec than it may hold", "too much", help);
        }
        false
    }

    /// Fills a group of tables, and puts several in place of those with `each`; returns these with their names.
    fn expand(&self, group: &mut Table, is_source: bool, problems: &mut Problems) -> Vec<(String, Vec<String>)> {
        let mut several = Vec::new();
        for (name, mut node) in std::mem::take(&mut group.entries) {
            let Tree::Table(table) = &mut node.value else {
                group.entries.push((name, node));
                continue;
            };
            let Some(at) = table.entries.iter().position(|(key, _)| key.value == EACH) else {
                self.fill_table(table, is_source, problems);
                group.entries.push((name, node));
                continue;
            };
            let (key, mut each) = table.entries.remove(at);
            self.fill(&mut each, problems);
            let Some(choices) = choices(&key, &each, problems) else {
                // Read as one table all the same, so that its other mistakes are told as well.
                group.entries.push((name, node));
                continue;
            };
            let mut names: Vec<String> = Vec::new();
            for values in product(&choices) {
                if !self.take(1 + table.entries.len(), &each.span, problems) {
                    break;
                }
                let mut copy = table.clone();
                let scope = Scope { each: Some(&values), ..*self };
                scope.fill_table(&mut copy, is_source, problems);
                let parts: Vec<String> = std::iter::once(name.value.clone()).chain(values.iter().map(|(_, value)| word(value))).collect();
                let joined = parts.join("-");
                let joined = graph::mend_name(&joined, false).unwrap_or(joined);
                if names.contains(&joined) {
                    let message = format!("two values of `each` give the name `{}`", short(&joined));
                    let help = "names keep letters, digits, `_` and `-`: give values that differ in these";
                    problems.add(each.span.clone(), message, "taken", help);
                    break;
                }
                names.push(joined.clone());
                group.entries.push((Spanned::new(joined, name.span.clone()), Node::new(Tree::Table(copy), node.span.clone())));
            }
            several.push((name.value, names));
        }
        several
    }

    fn fill_table(&self, table: &mut Table, is_source: bool, problems: &mut Problems) {
        for (key, node) in &mut table.entries {
            Scope { is_path: is_source && key.value == "path", ..*self }.fill(node, problems);
        }
    }

    /// Puts values in place of the references of a node and of all within it.
    fn fill(&self, node: &mut Node, problems: &mut Problems) {
        match &mut node.value {
            Tree::Text(text) if text.contains("${") => {
                // Where there is no value that is told, and the text stays, so that the key counts as given.
                if let Some(value) = self.filled(text, &node.span, problems) {
                    node.value = value;
                }
            }
            Tree::List(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for mut item in std::mem::take(items) {
                    let was_text = matches!(item.value, Tree::Text(_));
                    self.fill(&mut item, problems);
                    match item.value {
                        // A list as a reference within a list: its items take the place.
                        Tree::List(inner) if was_text => {
                            if !self.take(inner.len(), &item.span, problems) {
                                continue;
                            }
                            filled.extend(inner.into_iter().map(|one| Node::new(one.value, item.span.clone())));
                        }
                        value => filled.push(Node::new(value, item.span)),
                    }
                }
                *items = filled;
            }
            Tree::Table(table) => table.entries.iter_mut().for_each(|(_, node)| self.fill(node, problems)),
            _ => {}
        }
    }

    /// Returns what a text with references stands for.
    fn filled(&self, text: &str, span: &Span, problems: &mut Problems) -> Option<Tree> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            let Some(length) = rest[at..].find('}') else {
                let help = "close it with `}`, or write `$${` for the characters themselves";
                problems.add(span.clone(), "a reference `${` that does not end", "no `}`", help);
                return None;
            };
            let value = self.value_of(&rest[at + 2..at + length], span, problems)?;
            if !self.take(1, span, problems) {
                return None;
            }
            let is_alone = out.is_empty() && at == 0 && length + 1 == rest.len() && rest.len() == text.len();
            if is_alone {
                return Some(value);
            }
            let Some(word) = in_text(&value) else {
                let message = format!("`{}` is {} and cannot stand within a text", short(&rest[at..=at + length]), value.noun());
                problems.add(span.clone(), message, "within a text", "let the reference stand alone, or give the variable one value");
                return None;
            };
            if !self.take(word.len() / TEXT_BLOCK, span, problems) {
                return None;
            }
            out.push_str(&rest[..at]);
            out.push_str(&word);
            rest = &rest[at + length + 1..];
        }
        out.push_str(rest);
        Some(Tree::Text(out))
    }

    fn value_of(&self, reference: &str, span: &Span, problems: &mut Problems) -> Option<Tree> {
        let mut refuse = |message: String, label: &str, help: String| {
            problems.add(span.clone(), message, label, help);
            None
        };
        let shown = short(&format!("${{{reference}}}"));
        if let Some(name) = reference.strip_prefix("vars.") {
            let Some(vars) = self.vars else {
                return refuse(
                    format!("`{shown}` within `[vars]`"),
                    "of another variable",
                    "variables do not refer to one another".to_owned(),
                );
            };
            let names = || vars.entries.iter().map(|(name, _)| name.value.as_str());
            return match vars.get(name) {
                Some(node) => Some(node.value.clone()),
                None if vars.entries.is_empty() => refuse(
                    format!("no variable is called `{}`", short(name)),
                    "no such variable",
                    format!("add `[vars]` with `{name} = ...`"),
                ),
                None => {
                    refuse(format!("no variable is called `{}`", short(name)), "no such variable", did_you_mean(name, "variables", names()))
                }
            };
        }
        if let Some(name) = reference.strip_prefix("each.") {
            let Some(each) = self.each else {
                let help = "`${each.NAME}` stands in a table with `each = { NAME = [...] }`".to_owned();
                return refuse(format!("`{shown}` outside of a table with `each`"), "no `each` here", help);
            };
            return match each.iter().find(|(key, _)| key == name) {
                Some((_, node)) => Some(node.value.clone()),
                None => {
                    let help = did_you_mean(name, "names of `each`", each.iter().map(|(key, _)| key.as_str()));
                    refuse(format!("`each` has no `{}`", short(name)), "no such name", help)
                }
            };
        }
        if let Some(name) = reference.strip_prefix("env:") {
            return self.of_environment(name, &shown, &mut refuse);
        }
        if let Some(name) = reference.strip_prefix("secret:") {
            return self.of_secret(name, &shown, &mut refuse);
        }
        let known = self.vars.is_some_and(|vars| vars.get(reference).is_some());
        let help = match known {
            true => format!("did you mean `${{vars.{reference}}}`?"),
            false => {
                "references are `${vars.NAME}`, `${env:NAME}`, `${secret:NAME}` and `${each.NAME}`; `$${` writes the characters".to_owned()
            }
        };
        refuse(format!("unknown reference `{shown}`"), "no such reference", help)
    }

    fn of_environment(&self, reference: &str, shown: &str, refuse: &mut dyn FnMut(String, &str, String) -> Option<Tree>) -> Option<Tree> {
        let (name, default) = reference.split_once(":-").map_or((reference, None), |(name, default)| (name, Some(default)));
        if !self.allowed.iter().any(|allowed| allowed == name) {
            let mut names: Vec<&str> = self.allowed.iter().map(String::as_str).collect();
            names.push(name);
            let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            let help = format!("a spec says what it reads from outside: `allow_env = [{}]` at the top of the file", names.join(", "));
            return refuse(format!("`{shown}` is not in `allow_env`"), "not allowed", help);
        }
        match (env::var(name), default) {
            (Ok(value), _) if !value.is_empty() => Some(Tree::Text(value)),
            (_, Some(default)) if !default.is_empty() => Some(Tree::Text(default.to_owned())),
            (Ok(_), _) => refuse(format!("the environment's `{}` is empty", short(name)), "empty", set_it(name)),
            (Err(env::VarError::NotUnicode(_)), _) => {
                refuse(format!("the environment's `{}` is not UTF-8", short(name)), "no text", "set it to UTF-8 text".to_owned())
            }
            (Err(env::VarError::NotPresent), _) => refuse(format!("the environment has no `{}`", short(name)), "not set", set_it(name)),
        }
    }

    fn of_secret(&self, name: &str, shown: &str, refuse: &mut dyn FnMut(String, &str, String) -> Option<Tree>) -> Option<Tree> {
        if !self.is_path {
            let help = "a secret opens files: it stands in the `path` of a source, and no result depends on it".to_owned();
            return refuse(format!("`{shown}` outside of the `path` of a source"), "not here", help);
        }
        match env::var(name) {
            Ok(value) => match secrets::refuses(&value) {
                Some(why) => {
                    let help = "it could not be kept out of what is printed: set another one".to_owned();
                    refuse(format!("the secret `{}` {why}", short(name)), "no secret", help)
                }
                None => {
                    secrets::keep(name, &value);
                    Some(Tree::Text(value))
                }
            },
            Err(_) => refuse(format!("the environment has no `{}`", short(name)), "not set", format!("set `{name}` before the run")),
        }
    }
}

fn set_it(name: &str) -> String {
    format!("set it before the run, or write a default: `${{env:{name}:-DEFAULT}}`")
}

/// Returns names with the values that each takes; none where they cannot be read.
fn choices(key: &Spanned<String>, each: &Node, problems: &mut Problems) -> Option<Vec<(String, Vec<Node>)>> {
    let form = "write `each = { NAME = [VALUE, ...] }` with texts or numbers";
    let Tree::Table(table) = &each.value else {
        problems.add(
            each.span.clone(),
            format!("`each` is {}, but takes names with a list each", each.value.noun()),
            each.value.noun(),
            form,
        );
        return None;
    };
    let mut choices = Vec::new();
    for (name, node) in &table.entries {
        match &node.value {
            Tree::List(items) if !items.is_empty() && items.iter().all(is_scalar) => choices.push((name.value.clone(), items.clone())),
            other => {
                let found = if matches!(other, Tree::List(_)) { "a list without plain values" } else { other.noun() };
                problems.add(node.span.clone(), format!("`{}` of `each` is {found}", short(&name.value)), found, form);
                return None;
            }
        }
    }
    if choices.is_empty() {
        problems.add(key.span.clone(), "`each` is empty", "empty", form);
        return None;
    }
    let n = choices.iter().try_fold(1_usize, |n, (_, values)| n.checked_mul(values.len())).unwrap_or(usize::MAX);
    if n > MAX_STEPS {
        let sizes: Vec<String> = choices.iter().map(|(name, values)| format!("{} {}", values.len(), short(name))).collect();
        let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
        let message = format!("`each` stands for more than {MAX_STEPS} tables ({})", listed(&sizes));
        problems.add(each.span.clone(), message, "too many", "split the job into several specs");
        return None;
    }
    Some(choices)
}

/// Returns every choice of one value per name, the last name changing fastest.
fn product(choices: &[(String, Vec<Node>)]) -> Vec<Vec<(String, Node)>> {
    let mut all: Vec<Vec<(String, Node)>> = vec![Vec::new()];
    for (name, values) in choices {
        let longer = |chosen: &Vec<(String, Node)>| {
            let with = |value: &Node| chosen.iter().cloned().chain([(name.clone(), value.clone())]).collect();
            values.iter().map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// Returns a value as a part of a name.
fn word(node: &Node) -> String {
    in_text(&node.value).unwrap_or_default()
}

/// Returns a value as it stands within a text; none where it has more than one.
fn in_text(value: &Tree) -> Option<String> {
    match value {
        Tree::Text(text) => Some(text.clone()),
        Tree::Integer(number) => Some(number.to_string()),
        Tree::Number(number) => Some(number.to_string()),
        Tree::Flag(flag) => Some(flag.to_string()),
        _ => None,
    }
}
