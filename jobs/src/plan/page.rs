//! A plan as JSON for `plan.json` and as text for people.

use serde_json::{Value, json};

use crate::spec::{StepSpec, listed};

use super::forecast::rough;
use super::{Input, Outlook, Plan, PlannedSource, PlannedStep};

impl Plan {
    /// Returns the content of `plan.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "version": 1,
            "sources": self.sources.iter().map(source_json).collect::<Vec<_>>(),
            "memory_bytes": self.memory_bytes,
            "no_device": self.no_device,
            "steps": self.steps.iter().enumerate().map(|(at, step)| step_json(step, self.outlook.get(at))).collect::<Vec<_>>(),
        })
    }

    /// Returns the plan as a page for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut page = String::from("sources\n");
        for source in &self.sources {
            page.push_str(&format!("  {:<20} {}\n", source.name, size(source)));
            for note in &source.notes {
                page.push_str(&format!("  {:<20} {note}\n", ""));
            }
        }
        page.push_str("steps, in this order\n");
        for (at, step) in self.steps.iter().enumerate() {
            page.push_str(&format!("  {:<20} {}: {}\n", step.spec.name.value, step.spec.kind.name(), step.why));
            match self.outlook.get(at) {
                Some(Outlook::Done { run }) => page.push_str(&format!("  {:<20} done by run {run}, whose tables are taken over\n", "")),
                Some(Outlook::Runs { why }) => page.push_str(&format!("  {:<20} runs: {why}\n", "")),
                None => {}
            }
            for line in self.ahead(step) {
                page.push_str(&format!("  {:<20} {line}\n", ""));
            }
        }
        if let Some(why) = &self.no_device {
            page.push_str(&format!("a run would end with exit code 6: a device has to be there, and none can be used: {why}\n"));
        }
        page
    }

    /// Says whether the pairs of a step are counted and not guessed: rows of text files are not known before they are read.
    fn pairs_are_known(&self, step: &PlannedStep) -> bool {
        step.rows.is_some() || !step.forecast.is_some_and(|forecast| forecast.pairs.is_some_and(|pairs| pairs.of.contains("records")))
    }

    /// Says what a step is likely to need, where that is known.
    fn ahead(&self, step: &PlannedStep) -> Vec<String> {
        let Some(forecast) = &step.forecast else { return Vec::new() };
        let rows = step.rows_at_most.map(|(rows, is_known)| match is_known {
            true => format!("at most {}, of which what follows holds", counted(rows, "row")),
            false => format!("about {} rows, or fewer, of which what follows holds", rough(rows)),
        });
        let memory = forecast.memory_line(self.memory_bytes);
        let seconds = forecast.seconds.map(|[low, high]| match (duration(low), duration(high)) {
            (low, high) if low == high => format!("likely to take {low} without a device"),
            (low, high) => format!("likely to take {low} to {high} without a device"),
        });
        let placed = step.placed.as_ref().map(|placed| format!("place {}: {}", placed.place, placed.why));
        [rows, forecast.pairs_line(self.pairs_are_known(step)), memory, seconds, placed].into_iter().flatten().collect()
    }
}

fn source_json(source: &PlannedSource) -> Value {
    let files = source.source.files().iter();
    let files: Vec<Value> =
        files.map(|file| json!({ "path": file.path.display().to_string(), "bytes": file.bytes, "rows": file.rows })).collect();
    let schema = source.source.schema();
    let columns = schema.fields().iter();
    json!({
        "name": source.name,
        "rows": source.rows,
        "bytes": source.bytes,
        "files": files,
        "columns": columns.map(|field| json!({ "name": field.name(), "type": field.data_type().to_string() })).collect::<Vec<_>>(),
        "notes": source.notes,
    })
}

fn input_json(input: &Input, name: &str) -> Value {
    match input {
        Input::Source(_) => json!({ "source": name }),
        Input::Table { step, table } => json!({ "step": step, "table": table }),
        Input::All(inputs) => inputs.iter().map(|input| input_json(input, name)).collect(),
    }
}

fn from_json(step: &PlannedStep) -> Value {
    let Input::All(inputs) = &step.input else { return input_json(&step.input, &step.spec.from.value.name) };
    let names = std::iter::once(&step.spec.from).chain(&step.spec.also_from);
    inputs.iter().zip(names).map(|(input, from)| input_json(input, &from.value.name)).collect()
}

fn step_json(step: &PlannedStep, outlook: Option<&Outlook>) -> Value {
    let forecast = step.forecast.unwrap_or_default();
    let others = step.others.iter().zip(&step.spec.others);
    let others = others.map(|((key, input), (_, table))| ((*key).to_owned(), input_json(input, &table.value.name)));
    json!({
        "name": step.spec.name.value,
        "kind": step.spec.kind.name(),
        "from": from_json(step),
        "others": others.collect::<serde_json::Map<_, _>>(),
        "needs": step.spec.needs.iter().map(|need| need.value.as_str()).collect::<Vec<_>>(),
        "rows": step.rows,
        "rows_at_most": step.rows_at_most.filter(|(_, is_known)| *is_known).map(|(rows, _)| rows),
        "seconds": forecast.seconds.map(|[low, high]| json!({ "low": digits(low), "high": digits(high) })),
        "memory_bytes": forecast.peak_bytes(),
        "pairs": forecast.pairs.map(|pairs| json!({ "of": pairs.of, "at_most": pairs.at_most, "all": pairs.all })),
        "place": step.placed.as_ref().map(|placed| json!({ "place": placed.place, "why": placed.why })),
        "columns": step.columns,
        "why": step.why,
        "cache": outlook.map(|outlook| match outlook {
            Outlook::Done { run } => json!({ "hit": true, "run": run }),
            Outlook::Runs { why } => json!({ "hit": false, "why": why }),
        }),
    })
}

/// Says what a step reads and what it waits for.
pub(super) fn why(step: &StepSpec, input: &Input, others: &[(&'static str, Input)], sources: &[PlannedSource]) -> String {
    let one = |input: &Input| match input {
        Input::Source(index) => format!("source `{}`, {}", sources[*index].name, size(&sources[*index])),
        Input::Table { step, table } => format!("table `{table}` of step `{step}`, known once that has run"),
        Input::All(_) => String::new(),
    };
    let mut reads = match input {
        Input::All(inputs) => format!("reads {}", inputs.iter().map(one).collect::<Vec<_>>().join("; and ")),
        alone => format!("reads {}", one(alone)),
    };
    for (key, other) in others {
        reads.push_str(&match other {
            Input::Source(index) => format!("; `{key}`: {}", files_of(&sources[*index])),
            Input::Table { step, table } => format!("; `{key}`: table `{table}` of step `{step}`"),
            Input::All(_) => String::new(),
        });
    }
    if step.needs.is_empty() {
        return reads;
    }
    let needs: Vec<&str> = step.needs.iter().map(|need| need.value.as_str()).collect();
    format!("{reads}; waits for {}", listed(&needs))
}

fn files_of(source: &PlannedSource) -> String {
    let paths: Vec<String> = source.source.files().iter().map(|file| file.path.display().to_string()).collect();
    listed(&paths.iter().map(String::as_str).collect::<Vec<_>>())
}

fn size(source: &PlannedSource) -> String {
    let rows = source.rows.map_or_else(|| "rows counted while reading".to_owned(), |rows| counted(rows, "row"));
    let columns = counted(source.source.schema().fields().len() as u64, "column");
    let files = counted(source.source.files().len() as u64, "file");
    format!("{rows}, {columns}, {files}, {}", counted(source.bytes, "byte"))
}

/// Returns a number with two digits that count: more of an estimate would say too much.
fn digits(x: f64) -> f64 {
    format!("{x:.1e}").parse().unwrap_or(x)
}

/// Writes seconds as people say them.
fn duration(seconds: f64) -> String {
    match digits(seconds) {
        s if s < 1.0 => "less than 1 s".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
