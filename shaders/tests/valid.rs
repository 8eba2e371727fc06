//! Every shader and variant parses, passes the validator with the capabilities that the engine enables, and can be
//! written as SPIR-V. No driver is needed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::Path;

use gristmill_shaders::{SHADERS, Shader, Variant};
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn variants() -> impl Iterator<Item = (&'static Shader, &'static Variant)> {
    SHADERS.iter().flat_map(|shader| shader.variants.iter().map(|variant| (*shader, variant)))
}

/// Returns the SPIR-V words, or the reason with its place in the text.
fn compile(name: &str, source: &str) -> Result<Vec<u32>, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string_with_path(source, name))?;
    // The engine asks for no feature beyond the base, hence no capability.
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|e| e.emit_to_string_with_path(source, name))?;
    naga::back::spv::write_vec(&module, &info, &naga::back::spv::Options::default(), None).map_err(|e| e.to_string())
}

#[test]
fn every_variant_is_valid_and_becomes_spir_v() {
    for (shader, variant) in variants() {
        let words = compile(shader.path, &shader.source(variant));
        assert!(words.as_ref().is_ok_and(|w| !w.is_empty()), "{} {}:\n{}", shader.name, variant.name, words.unwrap_err());
    }
}

#[test]
fn a_wrong_shader_is_refused() {
    let (shader, variant) = variants().next().unwrap();
    let broken = shader.source(variant).replace("var<storage, read_write> products", "var<storage, read> products");
    assert!(compile("broken", &broken).is_err(), "a write to a binding that is read only must be refused");
}

#[test]
fn names_of_shaders_and_of_variants_are_unique() {
    let names: BTreeSet<_> = SHADERS.iter().map(|shader| shader.name).collect();
    assert_eq!(names.len(), SHADERS.len());
    for shader in SHADERS {
        let names: BTreeSet<_> = shader.variants.iter().map(|variant| variant.name).collect();
        assert_eq!(names.len(), shader.variants.len(), "{}", shader.name);
    }
}

#[test]
fn the_one_entry_point_has_the_name_of_the_file() {
    for (shader, variant) in variants() {
        let module = naga::front::wgsl::parse_str(&shader.source(variant)).unwrap();
        let entries: Vec<_> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(entries, [shader.name]);
        assert_eq!(Path::new(shader.path).file_stem().unwrap(), shader.name);
    }
}

#[test]
fn every_file_is_in_the_table_or_common() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table: BTreeSet<_> = SHADERS.iter().map(|shader| shader.path.to_owned()).collect();
    let mut files = BTreeSet::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            if path.ends_with(".wgsl") && !path.starts_with("common/") {
                files.insert(path);
            }
        }
    }
    assert_eq!(files, table);
}

#[test]
fn every_common_file_is_used() {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("common");
    for file in std::fs::read_dir(common).unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(variants().any(|(shader, variant)| shader.source(variant).contains(&text)), "{}", file.display());
    }
}

#[test]
fn the_text_is_ascii() {
    for (shader, variant) in variants() {
        assert!(shader.source(variant).is_ascii(), "{}", shader.name);
    }
}
