//! The spec as it was understood: every default written out, keys in a fixed order, the same text each time.
//!
//! In the text that people run again the defaults of steps are comments: beside some keys a default says nothing, and is refused where it is written.

use gristmill_datasets::Sample;

use crate::kinds::Key;
use crate::secrets;

use super::fields::{Value, Values};
use super::tree::quoted;
use super::{Spec, StepSpec, keys};

/// Keys on which no result depends: a run goes on with more memory or other threads.
const WITHOUT_EFFECT: &[&str] = &["threads", "memory", "allow_env", "max_time", "max_disk"];
/// What stands before a default of a step.
const DEFAULT: &str = "# ";
/// Key of a source whose files count by their content, unless rows say which file they are of.
const PATH: &str = "path";

impl Spec {
    /// Returns the spec with every default written out, those of steps as comments; paths stay relative to the spec's own folder.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.write(&[], Form::Kept)
    }

    /// Returns the part of the spec on which results depend: what the run-id is made from.
    #[must_use]
    pub fn hash_input(&self) -> String {
        self.write(WITHOUT_EFFECT, Form::Hashed)
    }

    /// Returns the part on which the tables of one step depend, as far as the spec says: the job, the step, and sources of these names.
    #[must_use]
    pub fn asked_of(&self, step: &StepSpec, sources: &[&str]) -> String {
        let mut text = String::new();
        table(&mut text, &self.values, keys::TOP.iter(), WITHOUT_EFFECT, Form::Hashed);
        for source in self.sources.iter().filter(|source| sources.contains(&source.name.value.as_str())) {
            text.push_str(&format!("\n[source.{}]\n", quoted(&source.name.value)));
            let without: &[&str] = if source.file_column.is_some() { &[] } else { &[PATH] };
            table(&mut text, &source.values, keys::SOURCE.iter(), without, Form::Hashed);
        }
        text.push_str(&format!("\n[step.{}]\n", key_text(&step.name.value)));
        // A wait changes no table, and a file beside the rows counts by its content.
        let beside = step.others.iter().filter(|(_, table)| self.is_file(&table.value.name)).map(|(key, _)| *key);
        let without: Vec<&str> = beside.chain(["needs"]).collect();
        table(&mut text, &step.values, keys::STEP.iter().chain(step.kind.keys()), &without, Form::Hashed);
        secrets::hidden(&text).into_owned()
    }

    /// Says whether a source stands for a file that a step names.
    fn is_file(&self, name: &str) -> bool {
        self.sources.iter().any(|source| source.is_of_step() && source.name.value == name)
    }

    fn write(&self, without: &[&str], form: Form) -> String {
        let mut text = String::new();
        table(&mut text, &self.values, keys::TOP.iter(), without, form);
        for source in self.sources.iter().filter(|source| !source.is_of_step()) {
            text.push_str(&format!("\n[source.{}]\n", key_text(&source.name.value)));
            table(&mut text, &source.values, keys::SOURCE.iter(), without, form);
        }
        for step in &self.steps {
            text.push_str(&format!("\n[step.{}]\n", key_text(&step.name.value)));
            table(&mut text, &step.values, keys::STEP.iter().chain(step.kind.keys()), without, form.of_step());
        }
        // Neither kept nor hashed: a new password opens the same files.
        secrets::hidden(&text).into_owned()
    }
}

/// Returns a text of [`Spec::to_toml`] with the defaults of its steps as keys.
pub(crate) fn with_defaults(toml: &str) -> String {
    // Texts are written in one line each.
    toml.replace(&format!("\n{DEFAULT}"), "\n")
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// To be hashed.
    Hashed,
    /// To be read as a spec again.
    Kept,
    /// The same, of a step.
    KeptStep,
}

impl Form {
    const fn of_step(self) -> Self {
        if matches!(self, Self::Kept) { Self::KeptStep } else { self }
    }
}

fn table<'k>(text: &mut String, values: &Values, keys: impl Iterator<Item = &'k Key>, without: &[&str], form: Form) {
    for key in keys.filter(|key| !without.contains(&key.name)) {
        if let Some(field) = values.field(key.name) {
            let before = if form == Form::KeptStep && !field.written { DEFAULT } else { "" };
            let value = literal(&field.value);
            // What a reference stood for is no reference.
            let value = if form == Form::Hashed { value } else { value.replace("${", "$${") };
            text.push_str(&format!("{before}{} = {value}\n", key.name));
        }
    }
}

fn key_text(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quoted(name) }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) | Value::Sample(Sample::Share(number)) => format!("{number:?}"),
        Value::Flag(flag) => flag.to_string(),
        Value::Bytes(bytes) => bytes.to_string(),
        Value::Sample(Sample::Rows(rows)) => rows.to_string(),
        Value::Keys(values) => {
            let entries: Vec<String> = values.iter().map(|(key, field)| format!("{key} = {}", literal(&field.value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Choices(choices) => {
            let entries: Vec<String> = choices.iter().map(|(name, word)| format!("{} = {}", key_text(&name.value), quoted(word))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Integers(items) => format!("{items:?}"),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| quoted(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}
