//! How the job was run: inputs, places, times, versions, the spec, and how to run it again.

use super::Limits;
use super::data::ReportData;
use super::svg;
use super::text::{self, Html, bytes, count, counted, name, seconds};
use crate::manifest::{Manifest, State, StepRecord};

/// Digits of a hash that are shown; the title has all.
const HASH_DIGITS: usize = 12;

/// A table of files.
pub(super) struct FileTable {
    pub(super) rows: Vec<FileView>,
    pub(super) rest: Option<String>,
    pub(super) summary: String,
}

/// A file that was read or written.
pub(super) struct FileView {
    pub(super) source: Html,
    pub(super) path: Html,
    pub(super) rows: String,
    pub(super) size: String,
    pub(super) hash: Html,
}

impl FileTable {
    /// Returns the files that were read.
    pub(super) fn inputs(manifest: &Manifest, limits: &Limits) -> Self {
        let rows = manifest.inputs.iter().take(limits.files).map(|input| FileView {
            source: name(&input.source, 32),
            path: file_name(&input.path),
            rows: input.rows.map_or_else(|| "-".to_owned(), count),
            size: bytes(input.bytes),
            hash: hash(&input.blake3),
        });
        let size: u64 = manifest.inputs.iter().fold(0, |sum, input| sum.saturating_add(input.bytes));
        let n = manifest.inputs.len();
        let summary = if n == 0 { String::new() } else { format!("{}, {}.", counted(n as u64, "file"), bytes(size)) };
        Self { rows: rows.collect(), rest: hidden(n, limits), summary }
    }

    /// Returns the files that were written.
    fn outputs(manifest: &Manifest, limits: &Limits) -> Self {
        let rows = manifest.outputs.iter().take(limits.files).map(|output| FileView {
            source: Html::default(),
            path: name(&output.path, 64),
            rows: count(output.rows),
            size: bytes(output.bytes),
            hash: hash(&output.blake3),
        });
        Self { rows: rows.collect(), rest: hidden(manifest.outputs.len(), limits), summary: String::new() }
    }
}

fn hidden(n: usize, limits: &Limits) -> Option<String> {
    n.checked_sub(limits.files).filter(|rest| *rest > 0).map(|rest| format!("{} in manifest.json.", counted(rest as u64, "more file")))
}

/// Returns the last part of a path with the whole of it as title.
fn file_name(path: &str) -> Html {
    let last = path.rsplit(['/', '\\']).next().filter(|last| !last.is_empty()).unwrap_or(path);
    Html(format!("<bdi title=\"{}\">{}</bdi>", text::escape(&text::cut(path, 240)), text::escape(&text::cut(last, 48))))
}

fn hash(hex: &str) -> Html {
    Html(format!(
        "<code title=\"{}\">{}</code>",
        text::escape(&text::cut(hex, 64)),
        text::escape(&text::visible(&hex.chars().take(HASH_DIGITS).collect::<String>()))
    ))
}

/// A name and its value.
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) value: Html,
}

/// One step as it was run.
pub(super) struct StepView {
    pub(super) name: Html,
    pub(super) kind: String,
    pub(super) state: &'static str,
    pub(super) tone: &'static str,
    pub(super) place: String,
    pub(super) why: String,
    pub(super) rows: String,
    pub(super) columns: String,
    pub(super) when: Html,
    pub(super) compute: String,
    pub(super) write: String,
    pub(super) peak: String,
}

/// Everything about the run itself.
pub(super) struct RunFacts {
    pub(super) facts: Vec<Fact>,
    pub(super) steps: Vec<StepView>,
    pub(super) outputs: FileTable,
    pub(super) spec: Option<String>,
    pub(super) spec_cut: bool,
}

impl RunFacts {
    pub(super) fn new(data: &ReportData, limits: &Limits) -> Self {
        let (spec, spec_cut) = data.spec.as_deref().map_or((None, false), |spec| {
            let (spec, cut) = text::lines(spec, limits.spec);
            (Some(spec), cut)
        });
        Self {
            facts: facts(&data.manifest),
            steps: step_views(&data.manifest.steps, limits),
            outputs: FileTable::outputs(&data.manifest, limits),
            spec,
            spec_cut,
        }
    }
}

fn facts(manifest: &Manifest) -> Vec<Fact> {
    let plain = |text: &str| Html(text::escape(&text::cut(text, 160)));
    let mut out = vec![
        Fact { label: "gristmill", value: plain(&manifest.gristmill) },
        Fact { label: "Started", value: plain(&text::moment(&manifest.started)) },
    ];
    if let Some(finished) = &manifest.finished {
        out.push(Fact { label: "Finished", value: plain(&text::moment(finished)) });
        if let Some(took) = text::elapsed(&manifest.started, finished) {
            out.push(Fact {
                label: "Took",
                value: plain(&format!("{}, {} of it hashing the inputs", seconds(took), seconds(manifest.hash_seconds))),
            });
        }
    }
    out.extend([
        Fact { label: "Place asked for", value: plain(&manifest.place) },
        Fact { label: "Threads", value: plain(&count(manifest.threads as u64)) },
        Fact { label: "Memory budget", value: plain(&bytes(manifest.memory_bytes)) },
        Fact { label: "Level", value: plain(&format!("alpha {}", text::threshold(manifest.alpha))) },
        Fact { label: "Seed", value: plain(&manifest.seed.to_string()) },
        Fact { label: "Run", value: hash(&manifest.run_id) },
        Fact { label: "Spec", value: hash(&manifest.spec_hash) },
    ]);
    if let Some(code) = manifest.exit_code {
        out.push(Fact { label: "Exit code", value: plain(&code.to_string()) });
    }
    out
}

/// Returns the steps one after another, as they ran; those that were taken over took no time.
fn step_views(steps: &[StepRecord], limits: &Limits) -> Vec<StepView> {
    let took = |step: &StepRecord| if step.taken_from.is_some() { 0.0 } else { step.compute_seconds + step.write_seconds };
    let whole: f64 = steps.iter().map(took).sum();
    let mut began = 0.0;
    let view = |step: &StepRecord| {
        let from = began;
        began += took(step);
        step_view(step, svg::span([from, began], whole))
    };
    steps.iter().take(limits.steps).map(view).collect()
}

fn step_view(record: &StepRecord, when: Html) -> StepView {
    let (state, tone) = match record.state {
        State::Planned => ("not begun", "plain"),
        State::Running => ("not finished", "warn"),
        State::Done => ("done", "good"),
        State::Failed => ("failed", "bad"),
        State::Interrupted => ("stopped", "warn"),
    };
    let place = record.place.as_deref().unwrap_or("-");
    let place = record.adapter.as_deref().map_or_else(|| place.to_owned(), |adapter| format!("{place}: {adapter}"));
    StepView {
        name: name(&record.name, 40),
        kind: text::cut(&record.kind, 24),
        state,
        tone,
        place: text::cut(&place, 80),
        why: text::cut(record.place_reason.as_deref().unwrap_or("-"), 240),
        rows: count(record.n_rows),
        columns: count(record.n_columns),
        when,
        compute: seconds(record.compute_seconds),
        write: seconds(record.write_seconds),
        peak: record.peak_rss_bytes.map_or_else(|| "-".to_owned(), bytes),
    }
}
