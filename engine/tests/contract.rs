//! Every shader, as naga reads it, has the bindings, workgroup and parameters that its driver in Rust states.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use gristmill_engine::backend::{Access, Contract, contracts};
use gristmill_shaders::SHADERS;
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};

/// What a shader says about itself, in the words of a contract.
#[derive(Debug, PartialEq, Eq)]
struct Stated {
    buffers: Vec<Access>,
    workgroup: [u32; 3],
    fields: Vec<(String, usize)>,
    params_bytes: usize,
}

fn of_rust(contract: &Contract) -> Stated {
    Stated {
        buffers: contract.buffers.to_vec(),
        workgroup: contract.workgroup,
        fields: contract.fields.iter().map(|(name, offset)| ((*name).to_owned(), *offset)).collect(),
        params_bytes: contract.params_bytes,
    }
}

fn of_shader(source: &str) -> Stated {
    let module = naga::front::wgsl::parse_str(source).unwrap();
    let mut bound: Vec<_> = module.global_variables.iter().filter_map(|(_, global)| Some((global.binding?, global))).collect();
    bound.sort_by_key(|(binding, _)| (binding.group, binding.binding));
    for (expected, (binding, global)) in (0..).zip(&bound) {
        assert_eq!((binding.group, binding.binding), (0, expected), "bindings are numbered without gaps");
        assert_eq!(global.space == AddressSpace::Uniform, expected == 0, "the parameters come first");
    }
    let (fields, params_bytes) = params(&module, module.types[bound[0].1.ty].inner.clone());
    let buffers = bound[1..].iter().map(|(_, global)| access(global.space)).collect();
    Stated { buffers, workgroup: module.entry_points[0].workgroup_size, fields, params_bytes }
}

fn access(space: AddressSpace) -> Access {
    match space {
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::ReadWrite,
        AddressSpace::Storage { .. } => Access::Read,
        other => panic!("a binding in {other:?}"),
    }
}

fn params(module: &Module, inner: TypeInner) -> (Vec<(String, usize)>, usize) {
    let TypeInner::Struct { members, span } = inner else { panic!("the parameters are a struct") };
    let fields = members.iter().map(|member| {
        let is_u32 = matches!(module.types[member.ty].inner, TypeInner::Scalar(s) if s.kind == ScalarKind::Uint && s.width == 4);
        assert!(is_u32, "parameter {:?} is a u32", member.name);
        (member.name.clone().unwrap(), member.offset as usize)
    });
    (fields.collect(), span as usize)
}

#[test]
fn every_shader_agrees_with_its_driver() {
    for contract in contracts() {
        for variant in contract.shader.variants {
            let found = of_shader(&contract.shader.source(variant));
            assert_eq!(found, of_rust(contract), "{} {}", contract.shader.name, variant.name);
        }
    }
}

#[test]
fn every_shader_has_a_driver() {
    let driven: BTreeSet<_> = contracts().iter().map(|contract| contract.shader.name).collect();
    let listed: BTreeSet<_> = SHADERS.iter().map(|shader| shader.name).collect();
    assert_eq!(driven, listed);
}

#[test]
fn a_changed_shader_is_noticed() {
    let contract = contracts().into_iter().find(|contract| contract.shader.name == "gram").unwrap();
    let source = contract.shader.source(&contract.shader.variants[0]);
    let expected = of_rust(contract);
    assert_ne!(of_shader(&source.replace("    unused_0: u32,\n", "")), expected, "a parameter is missing");
    assert_ne!(of_shader(&source.replace("@workgroup_size(16, 16)", "@workgroup_size(8, 32)")), expected, "another workgroup");
    assert_ne!(of_shader(&source.replace("var<storage, read> right", "var<storage, read_write> right")), expected, "another access");
}
