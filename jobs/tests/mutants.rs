//! Shipped specs with bytes changed, pieces moved, tokens put in, and ends cut off: whatever comes, it is a spec or mistakes with their
//! places, never a panic. As TOML, JSON and YAML.
//!
//! `cargo test` takes some thousand. `MUTATIONS=20` tries twenty times as many.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use gristmill::spec::{self, SpecFailure, SpecText};
use gristmill_datasets::quiet_panics;

/// What a spec could hold where it should not.
const TOKENS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'''",
    "\"\"\"",
    "=",
    ",",
    ".",
    "\n",
    "\r",
    "\t",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "\u{1f600}",
    "#",
    "\\u{d800}",
    "${",
    "${vars.x}",
    "${vars.vars}",
    "${env:HOME}",
    "${secret:HOME}",
    "${each.a}",
    "-1",
    "1e999",
    "nan",
    "9223372036854775808",
    "0x",
    "1979-05-27",
    "true",
    "null",
    "[vars]\n",
    "[vars.vars]\n",
    "[[check]]\n",
    "[step.a]\n",
    "[source.a]\n",
    "each = { a = [1] }\n",
    "extends = \".\"\n",
    "extends = \"correlate.toml\"\n",
    "- ",
    ": ",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    "? ",
    "%TAG\n",
    "---\n",
];

fn specs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("specs")
}

/// Every shipped spec in each notation: its name and its text.
fn texts() -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(specs()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let value: serde_json::Value = toml::from_str(&text).unwrap();
        texts.push((format!("{name}.json"), serde_json::to_string_pretty(&value).unwrap()));
        texts.push((format!("{name}.yaml"), yaml(&value, 0)));
        texts.push((format!("{name}.toml"), text));
    }
    texts
}

/// Writes a value as YAML with its blocks indented.
fn yaml(value: &serde_json::Value, depth: usize) -> String {
    let blank = "  ".repeat(depth);
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(key, value)| format!("\n{blank}{key}: {}", yaml(value, depth + 1))).collect()
        }
        other => other.to_string(),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n.max(1) as u64).unwrap()
    }
}

fn mutant(good: &str, random: &mut Random) -> String {
    let mut bytes = good.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(30)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            3 => {
                let token = TOKENS[random.below(TOKENS.len())];
                bytes.splice(at..at, token.bytes());
            }
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                bytes.splice(at..end, token.bytes());
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a text; says whether it is a spec.
fn read(name: &str, text: &str) -> bool {
    let path = specs().join(name);
    let ended = catch_unwind(|| match spec::parse(SpecText::new(&path, text), &[]) {
        Ok((spec, _)) => {
            assert!(!spec.to_toml().is_empty());
            true
        }
        Err(failure) => {
            assert!(!failure.render(false).is_empty());
            if let SpecFailure::Wrong { text: whole, problems } = &failure {
                let located = problems.locate(whole);
                assert!(!located.is_empty() && located.iter().all(|problem| problem.line > 0 && problem.column > 0), "{located:?}");
            }
            false
        }
    });
    ended.unwrap_or_else(|_| panic!("{name} panics:\n{text}"))
}

/// Texts that ended in a panic once.
const FOUND: &[&str] = &["name = \"a\"\n[source.seach = { a = [1] }\nfrom = \"s\"\ncolumns = [\"A\", \"B\r"];

#[test]
fn what_was_found_stays_mended() {
    quiet_panics();
    for text in FOUND {
        assert!(!read("found.toml", text), "{text}");
    }
}

fn factor() -> usize {
    std::env::var("MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn changed_specs_are_specs_or_mistakes() {
    quiet_panics();
    let (mut random, mut n_specs, mut n) = (Random(5), 0, 0);
    for (name, good) in texts() {
        assert!(read(&name, &good), "{name} is a spec:\n{good}");
        for _ in 0..80 * factor() {
            n_specs += usize::from(read(&name, &mutant(&good, &mut random)));
            n += 1;
        }
    }
    assert!(0 < n_specs && n_specs < n, "{n_specs} of {n} are specs: something was tried");
}

#[test]
fn specs_that_end_early_are_specs_or_mistakes() {
    quiet_panics();
    let (mut random, mut n_specs) = (Random(6), 0);
    for (name, good) in texts() {
        for _ in 0..15 * factor() {
            let mut end = random.below(good.len());
            while !good.is_char_boundary(end) {
                end -= 1;
            }
            n_specs += usize::from(read(&name, &good[..end]));
        }
    }
    assert!(n_specs > 0, "comments at the end may be cut off");
}
