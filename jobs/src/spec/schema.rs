//! JSON Schema of a spec, from the same tables of keys that the parser reads.
//!
//! Draft-07, kept to keywords that draft-04 knows as well, since editors for TOML know no more.

use serde_json::{Map, Value, json};

use crate::kinds::{Check, JobKind, KINDS, Key, Takes};

use super::checks;
use super::keys;
use super::literals::is_required;

/// Returns the JSON Schema of a spec.
#[must_use]
pub fn json_schema() -> Value {
    let mut properties = properties(keys::TOP.iter());
    // Over a base, a step has the kind that it has there.
    let without_kind = json!({ "type": "object", "not": { "required": ["kind"] } });
    let steps: Vec<Value> = KINDS.iter().map(|kind| step(*kind)).chain([without_kind]).collect();
    properties.insert("source".to_owned(), named(source()));
    properties.insert("step".to_owned(), named(json!({ "oneOf": steps })));
    properties.insert("check".to_owned(), json!({ "type": "array", "items": check(), "description": "What must hold of tables" }));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gristmill job spec",
        "type": "object",
        "properties": properties,
        "anyOf": [{ "required": ["name", "source"] }, { "required": ["extends"] }],
        "additionalProperties": false,
    })
}

fn named(of: Value) -> Value {
    json!({ "type": "object", "minProperties": 1, "additionalProperties": of })
}

fn source() -> Value {
    object(keys::SOURCE.iter(), "Rows to read")
}

fn step(kind: &dyn JobKind) -> Value {
    let mut step = object(keys::STEP.iter().chain(kind.keys()), kind.about());
    step["properties"]["kind"] = json!({ "enum": [kind.name()], "description": kind.about() });
    step
}

fn check() -> Value {
    let others = keys::STEP.iter().filter(|key| !["kind", "from"].contains(&key.name));
    let mut check = object(checks::OWN.iter().chain(others).chain(Check.keys()), Check.about());
    check["required"] = json!(["on"]);
    check
}

fn object<'k>(keys: impl Iterator<Item = &'k Key> + Clone, about: &str) -> Value {
    let required: Vec<&str> = keys.clone().filter(|key| is_required(key)).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": about,
        "properties": properties(keys),
        "required": required,
        "additionalProperties": false,
    })
}

/// A text that stands for a value of any type.
fn reference() -> Value {
    json!({ "type": "string", "pattern": "\\$\\{[^}]+\\}" })
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn scalars() -> Value {
    json!({ "type": "array", "items": scalar(), "minItems": 1 })
}

fn properties<'k>(keys: impl Iterator<Item = &'k Key>) -> Map<String, Value> {
    keys.map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let list = json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1, "uniqueItems": true });
    let text = json!({ "type": "string", "minLength": 1 });
    let mut schema = match key.takes {
        Takes::Text | Takes::Column | Takes::Table(_) | Takes::TableIfAny(_) => text,
        Takes::Choice(words) => json!({ "enum": words }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Integer(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Takes::Number(from, to) => json!({ "type": "number", "minimum": from, "maximum": to }),
        Takes::Bytes => json!({ "anyOf": [text, { "type": "integer", "minimum": keys::byte_range().0 }] }),
        Takes::Duration => json!({ "anyOf": [text, { "type": "number", "minimum": 0 }] }),
        Takes::IntegerList(from, to) => {
            let item = json!({ "type": "integer", "minimum": from, "maximum": to });
            json!({ "anyOf": [{ "type": "array", "items": item, "minItems": 1, "uniqueItems": true }, item] })
        }
        Takes::TextList | Takes::ColumnList => json!({ "anyOf": [list, text] }),
        Takes::ColumnChoices(words) => json!({ "type": "object", "additionalProperties": { "enum": words } }),
        Takes::Keys(keys) => object(keys.iter(), key.about),
        Takes::Vars => json!({ "type": "object", "additionalProperties": { "anyOf": [scalar(), scalars()] } }),
        Takes::Each => json!({ "type": "object", "minProperties": 1, "additionalProperties": { "anyOf": [scalars(), reference()] } }),
        Takes::Sample => json!({ "type": "number", "minimum": 0 }),
    };
    if !matches!(key.takes, Takes::Text | Takes::Column | Takes::Table(_) | Takes::TableIfAny(_) | Takes::Vars | Takes::Each) {
        schema = json!({ "anyOf": [schema, reference()] });
    }
    schema["description"] = json!(key.about);
    if let Some(default) = key.default {
        // A default is a literal of a spec; literals of numbers, flags and lists are JSON too.
        schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
    }
    schema
}
