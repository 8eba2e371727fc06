//! What fuzzing kept (`jobs/fuzz/corpus`, see `.ci/fuzz`) is read again: every file reaches some part of a reader that the others do not.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

#[allow(unreachable_pub, reason = "a library where it is fuzzed")]
#[path = "../fuzz/src/read.rs"]
mod fuzzed;

fn each(target: &str, read: impl Fn(&[u8])) {
    gristmill_datasets::quiet_panics();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target).with_extension("tar.gz");
    let mut kept = tar::Archive::new(GzDecoder::new(File::open(packed).unwrap()));
    let mut n = 0;
    for entry in kept.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&bytes)));
            assert!(ended.is_ok(), "{target}, {name}");
            n += 1;
        }
    }
    assert!(n >= 100, "{target}: {n} files are kept");
    println!("{target}: {n} files");
}

#[test]
fn specs() {
    each("spec", fuzzed::spec);
}

#[test]
fn tables() {
    for target in ["csv", "jsonl", "parquet", "arrow"] {
        each(target, |bytes| fuzzed::table(bytes, target));
    }
}
