//! `[[check]]`: what must hold of a table, read as a step of kind `check` that reads the table it is `on`.
//!
//! So a check is cached, resumed and waited for (`needs`) like every step. One without a `name` is `check-1`, `check-2` and so on.

use crate::kinds::Key;
use crate::kinds::Takes;

use super::fields::short;
use super::nearest::nearest;
use super::problems::{Problems, Spanned};
use super::tree::{Node, Notation, Table, Tree};

/// Key of the list of checks.
pub(crate) const CHECK: &str = "check";

/// Keys that a check has beside those of the kind.
pub(crate) const OWN: &[Key] = &[
    Key { name: "on", takes: Takes::Text, default: None, about: "Source, step or table of a step that it looks at" },
    Key { name: "name", takes: Takes::Text, default: None, about: "Name, for `needs` and messages; `check-1`, `check-2` .. where absent" },
];

/// Makes a step of every check.
pub(crate) fn to_steps(notation: Notation, root: &mut Table, problems: &mut Problems) {
    let is_list = |node: &Node| matches!(&node.value, Tree::List(items) if items.iter().any(|item| matches!(item.value, Tree::Table(_))));
    let is_check = |(key, node): &(Spanned<String>, Node)| {
        key.value == CHECK || (is_list(node) && nearest(&key.value, [CHECK, "source", "step"]) == Some(CHECK))
    };
    let Some(at) = root.entries.iter().position(is_check) else { return };
    let (key, node) = root.entries.remove(at);
    if key.value != CHECK {
        problems.add(key.span.clone(), format!("unknown list `{}`", short(&key.value)), "did you mean `check`?", "write `[[check]]`");
    }
    let form = match notation {
        Notation::Toml => "write `[[check]]` once for each check, with `on = \"STEP\"` in it",
        Notation::Yaml => "write `check:` with `- on: STEP` below it",
        Notation::Json => "write `\"check\": [{ \"on\": \"STEP\", ... }]`",
    };
    let Tree::List(items) = node.value else {
        problems.add(key.span, format!("`check` is a list of tables, not {}", node.value.noun()), "not a list", form);
        return;
    };
    let mut steps = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let Tree::Table(mut table) = item.value else {
            problems.add(item.span, format!("a check is a table, not {}", item.value.noun()), item.value.noun(), form);
            continue;
        };
        let span = if item.span.is_empty() { key.span.clone() } else { item.span };
        let name = match take(&mut table, "name") {
            Some((_, Spanned { value: Tree::Text(name), span })) => Spanned::new(name, span),
            Some((_, other)) => {
                problems.add(
                    other.span,
                    format!("`name` takes a text, not {}", other.value.noun()),
                    other.value.noun(),
                    "write it in quotes",
                );
                continue;
            }
            None => Spanned::new(format!("check-{}", at + 1), span.clone()),
        };
        table.entries.push((Spanned::new("kind".to_owned(), span.clone()), Node::new(Tree::Text(CHECK.to_owned()), span.clone())));
        // Where there is none, it is missed with all others.
        if let Some((on, named)) = take(&mut table, "on") {
            table.entries.push((Spanned::new("from".to_owned(), on.span), named));
        }
        steps.push((name, Node::new(Tree::Table(table), span)));
    }
    match root.entries.iter_mut().find(|(key, node)| key.value == "step" && matches!(node.value, Tree::Table(_))) {
        Some((_, Spanned { value: Tree::Table(table), .. })) => table.entries.extend(steps),
        // A spec that only checks sources.
        _ if !steps.is_empty() => {
            let table = Node::new(Tree::Table(Table { entries: steps }), key.span.clone());
            root.entries.push((Spanned::new("step".to_owned(), key.span), table));
        }
        _ => {}
    }
}

fn take(table: &mut Table, key: &str) -> Option<(Spanned<String>, Node)> {
    let at = table.entries.iter().position(|(name, _)| name.value == key)?;
    Some(table.entries.remove(at))
}
