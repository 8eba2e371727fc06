//! A machine without any driver: jobs run on the CPU, and only one that requires a device is refused.
//!
//! The Vulkan loader reads the environment once, so that the checks run in a child process whose environment names no
//! driver.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use gristmill_engine::backend::{Backend, Cost, Place, PlaceChoice, doctor};
use gristmill_engine::correlate::gram::{Gram, GramInput, Matrix};

/// Set in the child.
const CHILD: &str = "GRISTMILL_TEST_CHILD";

/// Runs one test of this file again in a process with another environment.
fn run_child(test: &str, environment: &[(&str, &str)]) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_remove("GRISTMILL_ADAPTER")
        .env(CHILD, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn without_a_driver() {
    if is_child() {
        checks();
    } else {
        run_child("without_a_driver", &[("VK_DRIVER_FILES", "/nonexistent.json"), ("VK_ICD_FILENAMES", "/nonexistent.json")]);
    }
}

#[test]
fn the_variable_names_the_adapter() {
    if !is_child() {
        run_child("the_variable_names_the_adapter", &[("GRISTMILL_ADAPTER", "software")]);
        return run_child("no_adapter_has_this_name", &[("GRISTMILL_ADAPTER", "no such card")]);
    }
    match Backend::open(PlaceChoice::Gpu) {
        Ok(backend) => assert_eq!(backend.device_place(), Some(Place::Software)),
        // Where no driver is installed at all there is nothing to name.
        Err(error) => assert!(error.to_string().contains("no adapter"), "{error}"),
    }
}

#[test]
fn no_adapter_has_this_name() {
    if is_child() {
        assert!(Backend::open(PlaceChoice::Gpu).unwrap_err().to_string().contains("no adapter"));
    }
}

fn checks() {
    let report = doctor();
    assert!(report.adapters.is_empty(), "{report}");
    assert!(!report.hints.is_empty());

    for choice in [PlaceChoice::Gpu, PlaceChoice::Software] {
        let error = Backend::open(choice).unwrap_err();
        assert_eq!(error.asked, choice.as_str());
        assert!(error.to_string().contains("no adapter was found") && error.help().contains("doctor"), "{error}");
    }

    let auto = Backend::open(PlaceChoice::Auto).unwrap();
    let vast = Cost { flops: 1e16, cpu_flops: 1e16, bytes_up: 1 << 30, bytes_down: 1 << 20 };
    assert!(!auto.prefer_gpu(vast));
    assert!(auto.place_reason().contains("no adapter"), "{}", auto.place_reason());

    let values = [1.0, 2.0, 3.0, 4.0];
    let input = GramInput::symmetric(Matrix { values: &values, n_rows: 2, stride: 2, n_columns: 2 });
    let planned = auto.pinned(Place::Gpu);
    let ran = planned.run(&Gram, input);
    assert_eq!(ran.place, Place::Cpu, "a plan made elsewhere runs here all the same");
    assert_eq!(ran.output, Backend::cpu().run(&Gram, input).output);
    assert_eq!(planned.fallbacks().len(), 1, "{:?}", planned.fallbacks());
    assert!(auto.fallbacks().is_empty(), "a step keeps its own record");
    assert_eq!(planned.place(), Place::Cpu);
}

#[test]
fn small_work_never_opens_a_device() {
    let auto = Backend::open(PlaceChoice::Auto).unwrap();
    assert!(!auto.prefer_gpu(Cost { flops: 1e6, cpu_flops: 1e6, bytes_up: 1000, bytes_down: 100 }));
    assert_eq!(auto.adapter(), None);
    assert!(auto.place_reason().contains("does not pay"), "{}", auto.place_reason());
}
