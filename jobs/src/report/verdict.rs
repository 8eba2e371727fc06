//! The first screen: what came out in plain sentences, the figures behind it, and everything that limits it.

use super::Limits;
use super::data::ReportData;
use super::settings::Settings;
use super::text::{self, Html, count, counted, escape};
use crate::manifest::{CheckRecord, LeftOut, Manifest, State, StepRecord};

/// A notice across the page.
pub(super) struct Banner {
    pub(super) level: &'static str,
    pub(super) title: &'static str,
    pub(super) text: Html,
}

/// A number and what it counts.
pub(super) struct Figure {
    pub(super) value: String,
    pub(super) label: String,
}

/// Something that a reader should know before using the findings.
pub(super) struct Alert {
    pub(super) level: &'static str,
    pub(super) label: &'static str,
    pub(super) text: Html,
}

/// Returns the line above the name of the job.
pub(super) fn eyebrow(manifest: &Manifest) -> String {
    let when = manifest.finished.as_deref().unwrap_or(&manifest.started);
    let mut kinds: Vec<&str> = manifest.steps.iter().map(|step| step.kind.as_str()).collect();
    kinds.dedup();
    kinds.truncate(4);
    text::cut(&format!("gristmill report / {} / {}", kinds.join(", "), text::moment(when)), 120)
}

/// Returns the notice of a run that did not end well.
pub(super) fn banner(manifest: &Manifest) -> Option<Banner> {
    let (level, title, rest) = match manifest.state {
        State::Done if manifest.steps.iter().flat_map(|step| &step.checks).any(CheckRecord::is_failed) => {
            ("bad", "A check failed", "Everything was run and written all the same.")
        }
        State::Done => return None,
        State::Failed => ("bad", "This run failed", "What is shown below was finished before."),
        State::Interrupted if manifest.error.is_some() => ("warn", "This run was stopped", ""),
        State::Interrupted => ("warn", "This run was stopped", "The same command goes on where it ended."),
        // The report is written before the run is marked as done, so that the mark covers it.
        State::Planned | State::Running if all_done(manifest) => return None,
        State::Planned | State::Running => ("warn", "This run has not finished", "What is shown below was finished before."),
    };
    let failed = manifest.steps.iter().flat_map(|step| &step.checks).filter(|check| check.is_failed());
    let failed: String = failed.take(3).map(|check| format!("{}. ", text::marked(&capital(&check.sentence), 300))).collect();
    let rest = &format!("{failed}{rest}");
    let error = manifest.error.as_deref().map_or_else(String::new, |error| format!("{}. ", text::marked(&capital(error), 600)));
    Some(Banner { level, title, text: Html(error + rest) })
}

fn all_done(manifest: &Manifest) -> bool {
    manifest.error.is_none() && manifest.steps.iter().all(|step| step.state == State::Done)
}

fn finished(manifest: &Manifest) -> bool {
    manifest.state == State::Done || banner(manifest).is_none()
}

/// Returns the verdict: one sentence on what was tested, one on what survives; a line for each step where there are several.
pub(super) fn lede(data: &ReportData, settings: &Settings, limits: &Limits) -> Vec<Html> {
    let manifest = &data.manifest;
    match manifest.steps.as_slice() {
        [] => vec![Html("The job has no steps.".to_owned())],
        [one] => vec![Html(sentence(data, one, 0, settings))],
        many => {
            let total: u64 = many.iter().map(|step| step.n_findings).sum();
            let mut out = vec![Html(format!(
                "{} of {} ended; {}.",
                done(many),
                counted(many.len() as u64, "step"),
                survive(total, manifest.alpha, None)
            ))];
            let line =
                |(at, step): (usize, &StepRecord)| Html(format!("{}: {}", text::name(&step.name, 60), sentence(data, step, at, settings)));
            out.extend(many.iter().take(limits.steps).enumerate().map(line));
            if many.len() > limits.steps {
                out.push(Html(format!(
                    "{} are not shown here; their tables lie beside this report.",
                    counted((many.len() - limits.steps) as u64, "more step")
                )));
            }
            out
        }
    }
}

fn done(steps: &[StepRecord]) -> String {
    count(steps.iter().filter(|step| step.state == State::Done).count() as u64)
}

/// Returns what one step tested and what survives of it.
fn sentence(data: &ReportData, step: &StepRecord, at: usize, settings: &Settings) -> String {
    if step.state != State::Done {
        return format!("Step {} did not finish, so it has no answer yet.", text::name(&step.name, 60));
    }
    if step.kind == "cluster" {
        let trusted = match step.n_findings {
            0 => "No segment can be trusted".to_owned(),
            n => format!("{} can be trusted: they come back when rows are drawn anew", counted(n, "segment")),
        };
        return format!("{} were looked at in {}. {trusted}.", counted(step.n_rows, "row"), counted(step.n_columns, "column"));
    }
    if step.kind == "score" {
        let drifted = match step.n_findings {
            0 => "They are spread as those of the model".to_owned(),
            n => format!("{} moved away from the model", counted(n, "spread")),
        };
        return format!("{} were labelled by {}. {drifted}.", counted(step.n_rows, "row"), counted(step.n_columns, "column"));
    }
    if step.kind == "compare" {
        let moves = data.steps.get(at).map(|step| &step.moves);
        let moved = moves.map_or_else(String::new, |moves| format!(": {} of {} moved", count(moves.n_moved), counted(moves.n_both, "row")));
        return format!("Two runs were held against one another{moved}.");
    }
    if step.kind == "features" {
        return format!("{} were made into one row for each entity.", counted(step.n_rows, "row"));
    }
    if step.kind == "check" {
        return data.steps.get(at).map_or_else(String::new, |step| super::checks::sentence(&step.checks));
    }
    if step.kind == "dedupe" || step.kind == "link" {
        return data.steps.get(at).map_or_else(String::new, |step| step.duplicates.sentence());
    }
    let on = format!("on {}", counted(step.n_rows, "row"));
    let found = survive(step.n_findings, data.manifest.alpha, settings.min_effect(at));
    let Some(tested) = n_tested(data, at) else {
        return format!("{} ran {on}; {found}.", escape(&text::cut(&step.kind, 40)));
    };
    let mut out = format!(
        "{} of {} {} tested {on}. {}.",
        counted(tested, "pair"),
        counted(step.n_columns, "column"),
        if tested == 1 { "was" } else { "were" },
        capital(&found)
    );
    let untested = data.steps.get(at).and_then(|step| step.pairs.as_ref()).map_or(0, |pairs| pairs.n_rows.saturating_sub(tested));
    if untested > 0 {
        out.push_str(&format!(" {} could not be tested.", counted(untested, "pair")));
    }
    out
}

/// Returns the size of a step's family, for kinds that test.
fn n_tested(data: &ReportData, at: usize) -> Option<u64> {
    let family = data.manifest.steps.get(at)?.family;
    family.or_else(|| data.steps.get(at)?.pairs.as_ref().map(|pairs| pairs.n_rows - pairs.n_undefined))
}

fn survive(n: u64, alpha: f64, min_effect: Option<f64>) -> String {
    let bar = min_effect.map_or_else(String::new, |least| format!(" and |r| \u{2265} {}", text::threshold(least)));
    let at = format!("at alpha {}{bar}", text::threshold(alpha));
    match n {
        0 => format!("nothing survives {at}"),
        1 => format!("1 finding survives {at}"),
        n => format!("{} findings survive {at}", count(n)),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Returns the figures of the first screen.
pub(super) fn figures(data: &ReportData) -> Vec<Figure> {
    let steps = &data.manifest.steps;
    let tested: Vec<u64> = (0..steps.len()).filter(|&at| steps[at].kind == "correlate").filter_map(|at| n_tested(data, at)).collect();
    let figure = |value: String, label: &str| Figure { value, label: label.to_owned() };
    let of = |n: u64, one: &str| figure(count(n), &if n == 1 { one.to_owned() } else { format!("{one}s") });
    let is_of_records = steps.iter().all(|step| crate::kinds::TESTS_NOTHING.contains(&step.kind.as_str()));
    let more = |step: &super::data::StepData| step.duplicates.n_records.saturating_sub(step.duplicates.n_entities);
    let only_checks = steps.iter().all(|step| step.kind == "check");
    let mut out = match is_of_records {
        _ if only_checks => Vec::new(),
        true => vec![of(data.steps.iter().map(more).sum(), "duplicate")],
        false => vec![of(steps.iter().map(|step| step.n_findings).sum(), "finding")],
    };
    let (n_passed, n_checks) = super::checks::passed(&data.manifest);
    if n_checks > 0 {
        out.push(figure(format!("{} / {}", count(n_passed), count(n_checks)), "checks hold"));
    }
    if !tested.is_empty() {
        out.push(figure(count(tested.iter().sum()), if tested == [1] { "pair tested" } else { "pairs tested" }));
    }
    out.extend(steps.iter().map(|step| step.n_columns).max().filter(|n| *n > 0).map(|n| of(n, "column")));
    out.push(of(steps.iter().map(|step| step.n_rows).max().unwrap_or(0), "row"));
    let seconds: f64 = steps.iter().map(|step| step.compute_seconds + step.write_seconds).sum();
    let mut places: Vec<&str> = steps.iter().filter_map(|step| step.place.as_deref()).collect();
    places.sort_unstable();
    places.dedup();
    places.truncate(3);
    if !places.is_empty() {
        out.push(figure(text::seconds(seconds), &text::cut(&format!("on {}", places.join(" and ")), 40)));
    }
    out
}

/// Returns how to read a finding.
pub(super) fn reading(data: &ReportData, settings: &Settings) -> String {
    let mut out = String::new();
    // A kind that has more to say about it does so in a note.
    let said = data.manifest.steps.iter().flat_map(|step| &step.notes).any(|note| note.contains("independent"));
    if !said && !settings.any_dependent() {
        out.push_str("Rows are taken as independent of one another. ");
    }
    let only_associations =
        data.steps.iter().flat_map(|step| &step.findings).all(|finding| matches!(finding.evidence.as_str(), "association" | ""));
    if data.manifest.steps.iter().all(|step| step.kind == "check") {
        return "A check says what these tables hold now, and nothing of why.".to_owned();
    }
    if data.manifest.steps.iter().all(|step| crate::kinds::TESTS_NOTHING.contains(&step.kind.as_str())) {
        let is_learnt = data.steps.iter().any(|step| step.duplicates.method == "records");
        return if is_learnt {
            "A pair is as likely to be one as the model says that learnt from these records alone: look at pairs near the cut before records are thrown away."
        } else {
            "A duplicate is what the spec calls one: look at pairs near the cut, and at what the copies are, before rows are thrown away."
        }
        .to_owned();
    }
    if data.manifest.steps.iter().all(|step| step.kind == "cluster") {
        out.push_str("A segment describes these rows: what sets it apart goes together with it, and need not be its cause.");
        return out;
    }
    out.push_str(if only_associations {
        "A finding is an association: the two go together, and neither need be the cause of the other."
    } else {
        "Each finding says how far it reaches: an association is not a cause, also where controls were held fixed (adjusted); only a randomised one speaks of causes."
    });
    if data.steps.iter().flat_map(|step| &step.findings).any(|finding| finding.lo.is_some()) {
        out.push_str(&format!(" Intervals are at {}\u{a0}%.", text::threshold(((1.0 - data.manifest.alpha) * 1e6).round() / 1e4)));
    }
    out
}

/// Returns the line that stands where findings would.
pub(super) fn nothing(data: &ReportData) -> Option<String> {
    if data.manifest.steps.iter().any(|step| step.n_findings > 0) || data.steps.iter().any(|step| step.n_findings > 0) {
        return None;
    }
    if data.manifest.steps.iter().all(|step| step.kind == "check") {
        return Some("This job checked tables and tested nothing else.".to_owned());
    }
    if data.manifest.steps.iter().all(|step| crate::kinds::TESTS_NOTHING.contains(&step.kind.as_str())) && finished(&data.manifest) {
        return Some(
            "This job looked for records that are one and tested nothing else: what it found stands below, record by record in the tables."
                .to_owned(),
        );
    }
    Some(if finished(&data.manifest) {
        "Nothing survives. That is an answer: in these data no pair is both strong enough and sure enough to be told from chance. Everything that was tested is listed below."
            .to_owned()
    } else {
        "No findings: the run did not come to its end.".to_owned()
    })
}

/// Returns what a reader should know, gravest first.
pub(super) fn alerts(data: &ReportData, limits: &Limits) -> Vec<Alert> {
    let mut out = Vec::new();
    for (at, record) in data.manifest.steps.iter().take(limits.steps).enumerate() {
        step_alerts(data, at, record, limits, &mut out);
    }
    if limits.shortened {
        let text = "The job is large; less is shown than usual to keep this file below 1 MB. The tables beside it hold everything.";
        out.push(Alert { level: "info", label: "Shortened", text: Html(text.to_owned()) });
    }
    let order = ["bad", "warn", "info"];
    out.sort_by_key(|alert| order.iter().position(|level| *level == alert.level));
    out
}

fn step_alerts(data: &ReportData, at: usize, record: &StepRecord, limits: &Limits, out: &mut Vec<Alert>) {
    let prefix = if data.steps.len() > 1 { format!("{}: ", text::name(&record.name, 40)) } else { String::new() };
    let mut add = |level, label, text: &str| out.push(Alert { level, label, text: Html(format!("{prefix}{text}")) });
    let plain = |text: &str| text::marked(text, 400).0;
    for reason in record.fell_back.iter().take(limits.notes) {
        add("warn", "Fell back", &plain(&capital(reason)));
    }
    if let Some(step) = data.steps.get(at) {
        if step.n_fragile > 0 {
            add("warn", "Fragile", &format!("{} on a few rows; look at them before use.", rest(step.n_fragile)));
        }
        if let Some(constant) = step.columns.as_ref().map(|columns| &columns.constant).filter(|names| !names.is_empty()) {
            let names = text::names(constant.iter().map(String::as_str), limits.names.min(12), 40);
            add("info", "Constant", &format!("{names}: one value throughout, so no correlation is defined."));
        }
        let said = record.notes.iter().any(|note| note.contains("settled"));
        if let Some(pairs) = step.pairs.as_ref().filter(|pairs| !said && pairs.n_settled < pairs.n_rows) {
            let (settled, all) = (count(pairs.n_settled), counted(pairs.n_rows, "pair"));
            add("info", "Precision", &format!("{settled} of {all} are settled in f64, findings among them; the others are within 1e-6."));
        }
    }
    for (reason, columns) in by_reason(&record.left_out, limits.notes.min(6)) {
        let names = text::names(columns.iter().map(|left| left.column.as_str()), limits.names.min(12), 40);
        let types = data_types(&columns);
        add("warn", "Left out", &format!("{names} ({}): {}", plain(&types), plain(reason)));
    }
    for note in record.notes.iter().take(limits.notes) {
        add("info", "Note", &plain(&capital(note)));
    }
    let hidden = record.notes.len().saturating_sub(limits.notes) + record.fell_back.len().saturating_sub(limits.notes);
    if hidden > 0 {
        add("info", "Note", &format!("{} in manifest.json.", counted(hidden as u64, "more note")));
    }
}

fn rest(n: u64) -> String {
    if n == 1 { "1 finding rests".to_owned() } else { format!("{} findings rest", count(n)) }
}

/// Returns columns by the reason why they were left out, reasons in the order of the manifest; the last takes those beyond `most`.
fn by_reason(left_out: &[LeftOut], most: usize) -> Vec<(&str, Vec<&LeftOut>)> {
    let mut groups: Vec<(&str, Vec<&LeftOut>)> = Vec::new();
    for left in left_out {
        if let Some((_, columns)) = groups.iter_mut().find(|(reason, _)| *reason == left.reason) {
            columns.push(left);
        } else if groups.len() < most.max(1) {
            groups.push((&left.reason, vec![left]));
        } else if let Some(last) = groups.last_mut() {
            last.0 = "various reasons, listed in manifest.json";
            last.1.push(left);
        }
    }
    groups
}

fn data_types(columns: &[&LeftOut]) -> String {
    let mut types: Vec<&str> = columns.iter().map(|left| left.data_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    types.truncate(4);
    types.join(", ")
}
