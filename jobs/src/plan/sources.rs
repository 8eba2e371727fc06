//! Opening every source of a spec, and telling its author which file is not there and which one was meant.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gristmill_datasets::filter::{FilterError, FilterProblem};
use gristmill_datasets::{Cause, ReadError, Source, SourceOptions};

use crate::JobError;
use crate::spec::{Problems, SourceSpec, Span, Spanned, Spec, did_you_mean, listed, nearest};

use super::PlannedSource;

/// Opens every source; those with a mistake or an unreadable file are absent from the result, at their place.
pub(super) fn open_all(spec: &Spec, memory_bytes: u64, problems: &mut Problems) -> (Vec<Option<PlannedSource>>, Vec<JobError>) {
    let mut unreadable = Vec::new();
    let opened = spec.sources.iter().map(|source| open(spec, source, memory_bytes, problems, &mut unreadable)).collect();
    (opened, unreadable)
}

/// What to leave out so that the rest of a source can still be checked.
enum Without {
    Path(String),
    Filter,
}

/// Opens one source; files that are not there are taken off the list one by one, so that all of them are told.
fn open(
    spec: &Spec,
    source: &SourceSpec,
    memory_bytes: u64,
    problems: &mut Problems,
    unreadable: &mut Vec<JobError>,
) -> Option<PlannedSource> {
    let mut options = source.options(spec, memory_bytes);
    loop {
        match gristmill_datasets::open(&options) {
            // With a file missing the columns are not known: it may have some that the others have not.
            Ok(_) if options.paths.len() < source.paths.len() => return None,
            Ok(opened) => {
                let opened: Arc<dyn Source> = Arc::from(opened);
                return Some(PlannedSource {
                    name: source.name.value.clone(),
                    rows: opened.n_rows(),
                    bytes: opened.files().iter().map(|file| file.bytes).sum(),
                    notes: opened.notes().to_vec(),
                    source: opened,
                });
            }
            Err(error) => match explain(spec, source, &options, error, problems, unreadable)? {
                Without::Filter => options.filter = None,
                Without::Path(guilty) => {
                    options.paths.retain(|path| *path != guilty);
                    if options.paths.is_empty() {
                        return None;
                    }
                }
            },
        }
    }
}

/// Adds the error as a mistake of the spec where it is one; returns what to go on without.
fn explain(
    spec: &Spec,
    source: &SourceSpec,
    options: &SourceOptions,
    error: ReadError,
    problems: &mut Problems,
    unreadable: &mut Vec<JobError>,
) -> Option<Without> {
    let of_path = |matches: &dyn Fn(&str) -> bool| source.paths.iter().find(|path| matches(&path.value)).cloned();
    match &error {
        ReadError::NotFound { path, .. } => {
            let written = of_path(&|text| options.base_dir.join(text) == *path)?;
            missing(spec, &written, problems);
            Some(Without::Path(written.value))
        }
        ReadError::NoMatch { glob } => {
            let written = of_path(&|text| text == glob)?;
            no_match(spec, &written, problems);
            Some(Without::Path(written.value))
        }
        ReadError::Option { option: "path", value, detail } => {
            let written = of_path(&|text| text == value)?;
            let help = "close `[` with `]`; `*` matches a name, `**` folders".to_owned();
            problems.add(written.span, format!("`{value}` is {detail}"), "not a pattern", help);
            Some(Without::Path(written.value))
        }
        ReadError::Option { option, value, detail } => {
            let help = detail.split_once("; ").map_or(detail.as_str(), |(_, help)| help);
            // An item of a list is pointed at itself.
            let span = source.item(option, value).map_or_else(|| source.span(option), |item| item.span.clone());
            problems.add(span, format!("`{value}` cannot be used as `{option}`"), "here", help);
            None
        }
        ReadError::Filter(filter) => {
            filter_problem(source, filter, problems);
            Some(Without::Filter)
        }
        // The ending says nothing and the spec neither: a mistake of the spec rather than of the file.
        ReadError::Unsupported { path, column: None, what } if source.format.is_none() && what.contains("`format`") => {
            let written = of_path(&|text| options.base_dir.join(text) == *path).or_else(|| source.paths.first().cloned())?;
            let message = format!("the format of `{}` is not known", path.file_name().unwrap_or_default().to_string_lossy());
            let help = "add `format`: parquet, csv, jsonl or arrow";
            problems.add(written.span, message, "no known ending", help);
            None
        }
        other if other.cause() == Cause::Spec => {
            problems.add(source.span("path"), other.to_string(), "here", "name other files, or change what is asked of them");
            None
        }
        _ => {
            unreadable.push(JobError::Read { source_name: source.name.value.clone(), error: Box::new(error) });
            None
        }
    }
}

/// Adds a file that is not there.
fn missing(spec: &Spec, written: &Spanned<String>, problems: &mut Problems) {
    let text = &written.value;
    let help = if let Some((scheme, _)) = text.split_once("://") {
        format!("`{scheme}` addresses are not read in this version: name a local file")
    } else if text.starts_with("~/") {
        "`~` is not expanded: write the whole path".to_owned()
    } else if text.contains('\\') {
        format!("write `/` between folders: `{}`", text.replace('\\', "/"))
    } else {
        near(&spec.base_dir, text)
    };
    problems.add(written.span.clone(), format!("no file `{text}`"), "not there", help);
}

/// Adds a glob or folder that holds nothing.
fn no_match(spec: &Spec, written: &Spanned<String>, problems: &mut Problems) {
    let text = &written.value;
    let (folder, pattern) = text.rsplit_once('/').map_or(("", text.as_str()), |(folder, pattern)| (folder, pattern));
    let is_plain = !folder.contains(['*', '?', '[']);
    let help = if is_plain && !spec.base_dir.join(folder).is_dir() {
        near(&spec.base_dir, folder)
    } else if is_plain {
        let there = names(&spec.base_dir.join(folder));
        let ending = there.iter().find_map(|name| Some(name.rsplit_once('.')?.1)).filter(|_| pattern.contains('*'));
        match ending {
            Some(ending) => {
                let slash = if folder.is_empty() { "" } else { "/" };
                format!("did you mean `{folder}{slash}*.{ending}`? files there: {}", list(&there))
            }
            None => format!("files there: {}", list(&there)),
        }
    } else {
        format!("patterns are relative to the spec's folder `{}`", spec.base_dir.display())
    };
    problems.add(written.span.clone(), format!("no file matches `{text}`"), "no match", help);
}

/// Returns what was probably meant by a path that is not there: the nearest name in the first folder that is.
fn near(base: &Path, text: &str) -> String {
    let (folder, name) = text.rsplit_once('/').map_or(("", text), |(folder, name)| (folder, name));
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let at = base.join(if folder.is_empty() && text.starts_with('/') { "/" } else { folder });
    if !at.is_dir() && !folder.is_empty() {
        return format!("there is no folder `{folder}`; {}", near(base, folder));
    }
    let there = names(&at);
    let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let same_stem = || there.iter().find(|other| stem(other) == stem(name)).map(String::as_str);
    match nearest(name, there.iter().map(String::as_str)).or_else(same_stem) {
        Some(meant) => format!("did you mean `{prefix}{meant}`?"),
        None if text.starts_with('/') => format!("files in `{}`: {}", at.display(), list(&there)),
        None => format!("paths are relative to the spec's folder; files there: {}", list(&there)),
    }
}

fn list(names: &[String]) -> String {
    listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns the names in a folder, sorted, without hidden ones.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    names
}

/// Returns "; did you mean ...?" for a file that is not there, or nothing.
pub(crate) fn nearest_file(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = names(folder);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match nearest(&name, there.iter().map(String::as_str)) {
        Some(meant) => format!("; did you mean `{}`?", path.with_file_name(meant).display()),
        None => String::new(),
    }
}

/// Adds a mistake within `where`, with the caret inside the text.
fn filter_problem(source: &SourceSpec, error: &FilterError, problems: &mut Problems) {
    let Some(written) = &source.filter else { return };
    let at = within(written, source.filter_start, &error.at);
    let (message, help) = match &error.problem {
        FilterProblem::UnknownColumn { column, columns, .. } => {
            let help = error.help().unwrap_or_else(|| did_you_mean(column, "columns", columns.iter().map(String::as_str)));
            (format!("`where` names column `{column}`, which is not in `{}`", source.name.value), help)
        }
        problem => {
            let help = error.help().unwrap_or_else(|| match problem {
                FilterProblem::Unexpected { expected, .. } => format!("write {expected} here"),
                _ => "conditions look like `spend > 10 and channel = 'mail'`".to_owned(),
            });
            (format!("`where`: {problem}"), help)
        }
    };
    problems.add(at, message, "here", help);
}

/// Returns the bytes of the spec behind bytes of a text in it; the whole text where escapes blur the places.
fn within(written: &Spanned<String>, start: Option<usize>, at: &Span) -> Span {
    match start {
        Some(start) => start + at.start..start + at.end.max(at.start + 1),
        None => written.span.clone(),
    }
}
