//! Which files a source names: files, folders and globs, in sorted path order.
//!
//! ```text
//! crm/a.parquet     that file
//! crm/              every file below it with an ending that is read
//! crm/*.parquet     what matches; `**` matches folders, `?` one character, `[ab]` one of a set
//! ```
//!
//! Names that begin with `.` or `_` are passed over in folders and globs (marker files of other tools).
//! Parts of a path such as `year=2024` are Hive partitions: columns whose value is the same in the whole file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::format::is_data_file;
use crate::{ReadError, SourceOptions};

/// Value of a Hive partition that is null.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Least likeness (Jaro-Winkler) of a name that is proposed in place of a missing one.
const LIKENESS: f64 = 0.8;

/// One file with its Hive partitions: pairs of key and value, null where there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) partitions: Vec<(String, Option<String>)>,
}

/// Lists the files of a source.
pub(crate) fn find(options: &SourceOptions) -> Result<Vec<Found>, ReadError> {
    if options.paths.is_empty() {
        return Err(ReadError::NoMatch { glob: String::new() });
    }
    let mut found = BTreeSet::new();
    for text in &options.paths {
        let path = options.base_dir.join(text);
        // A file may have `[` in its name: what exists is not taken for a pattern.
        let paths = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => in_folder(&path, text)?,
            Ok(_) => vec![path],
            Err(error) if !is_pattern(text) => return Err(missing(&path, error)),
            Err(_) => matches(&path, text)?,
        };
        found.extend(paths);
    }
    let found = found.into_iter().map(|path| {
        let partitions = partitions(path.strip_prefix(&options.base_dir).unwrap_or(&path));
        Found { path, partitions }
    });
    Ok(found.collect())
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn missing(path: &Path, error: std::io::Error) -> ReadError {
    match ReadError::io(path, error) {
        ReadError::NotFound { path, .. } => {
            let nearest = nearest(&path);
            ReadError::NotFound { path, nearest }
        }
        other => other,
    }
}

/// Finds the file beside a missing one whose name is most like it; where the folder is missing too, the folder.
fn nearest(path: &Path) -> Option<PathBuf> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else {
        return nearest(folder);
    };
    let mut best: Option<(f64, PathBuf)> = None;
    // Sorted, so that the proposal does not depend on the order of the folder.
    for entry in entries.flatten().map(|entry| entry.path()).collect::<BTreeSet<_>>() {
        let likeness = entry.file_name().and_then(|other| other.to_str()).map_or(0.0, |o| strsim::jaro_winkler(name, o));
        if likeness >= LIKENESS && best.as_ref().is_none_or(|(other, _)| likeness > *other) {
            best = Some((likeness, entry));
        }
    }
    best.map(|(_, path)| path)
}

fn matches(path: &Path, text: &str) -> Result<Vec<PathBuf>, ReadError> {
    let not_a_pattern = |detail: String| ReadError::Option { option: "path", value: text.to_owned(), detail };
    let pattern = path.to_str().ok_or_else(|| not_a_pattern("not UTF-8".to_owned()))?;
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let entries = glob::glob_with(pattern, options)
        .map_err(|error| not_a_pattern(format!("not a pattern: {} at character {}", error.msg, error.pos)))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| {
            let folder = error.path().to_path_buf();
            ReadError::io(&folder, error.into())
        })?;
        if path.is_file() && !is_hidden(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() { Err(ReadError::NoMatch { glob: text.to_owned() }) } else { Ok(paths) }
}

fn in_folder(folder: &Path, text: &str) -> Result<Vec<PathBuf>, ReadError> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| ReadError::io(&folder, error))? {
            let entry = entry.map_err(|error| ReadError::io(&folder, error))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|error| ReadError::io(&folder, error))?);
            if is_hidden(&path) {
                continue;
            }
            // Links to folders are not followed: they may lead back.
            if kind.is_dir() {
                folders.push(path);
            } else if is_data_file(&path) && path.is_file() {
                paths.push(path);
            }
        }
    }
    if paths.is_empty() { Err(ReadError::NoMatch { glob: text.to_owned() }) } else { Ok(paths) }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(['.', '_']))
}

fn partitions(path: &Path) -> Vec<(String, Option<String>)> {
    let folders = path.parent().into_iter().flat_map(Path::components);
    let names = folders.filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let pairs = names.filter_map(|name| name.split_once('=')).filter(|(key, _)| !key.is_empty());
    pairs.map(|(key, value)| (unescape(key), (value != HIVE_NULL).then(|| unescape(value)))).collect()
}

/// Decodes `%20` and its like, as Hive writes characters that paths cannot hold.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = code.and_then(|code| std::str::from_utf8(code).ok()).and_then(|c| u8::from_str_radix(c, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_come_from_folders_alone() {
        let found = partitions(Path::new("sales/year=2024/kind=a%20b/x=__HIVE_DEFAULT_PARTITION__/f=1.parquet"));
        let text = |text: &str| text.to_owned();
        let expected = vec![(text("year"), Some(text("2024"))), (text("kind"), Some(text("a b"))), (text("x"), None)];
        assert_eq!(found, expected);
    }

    #[test]
    fn percent_signs_that_are_no_escape_stay() {
        assert_eq!(unescape("5%"), "5%");
        assert_eq!(unescape("5%zz"), "5%zz");
    }
}
