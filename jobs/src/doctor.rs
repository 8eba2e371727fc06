//! `gristmill doctor`: which adapters there are, which one would be used, and what a run may take of this machine.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::available_parallelism;

use gristmill_engine::backend::{self, AdapterReport, DoctorReport, Verdict};
use serde_json::{Value, json};

use crate::error::Exit;
use crate::memory::{self, Budget};
use crate::run_dir::VERSION;
use crate::terminal::{bytes, complain, plain_lines, print};

/// What a run may take of this machine.
struct Machine {
    threads: usize,
    memory_bytes: Option<u64>,
    budget: Budget,
}

/// Examines the machine and prints what it found.
///
/// A machine without a GPU is fine: the exit code is 0 unless `require_gpu` asks for one.
#[must_use]
pub fn doctor(as_json: bool, require_gpu: bool) -> Exit {
    let machine = Machine {
        threads: available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory::machine_bytes(),
        budget: memory::budget(None),
    };
    // A broken driver may panic deep inside its library; that is a finding about the machine.
    let report = catch_unwind(AssertUnwindSafe(backend::doctor)).unwrap_or_else(|_| DoctorReport {
        adapters: Vec::new(),
        hints: vec!["the graphics driver failed while adapters were listed; reinstall it, or go on with the CPU".to_owned()],
    });
    print(&if as_json { format!("{:#}\n", as_value(&report, &machine)) } else { page(&report, &machine) });
    if require_gpu && report.chosen().is_none() {
        complain("error: no GPU can be used; the lines above say why\n");
        return Exit::Device;
    }
    Exit::Done
}

fn page(report: &DoctorReport, machine: &Machine) -> String {
    let mut page = format!("gristmill {VERSION}\n");
    let memory = machine.memory_bytes.map_or_else(|| "unknown".to_owned(), bytes);
    let _fits = writeln!(page, "threads  {}", machine.threads);
    let _fits = writeln!(page, "memory   {memory}; a run may hold {} ({})", bytes(machine.budget.bytes), machine.budget.why);
    page.push('\n');
    page.push_str(&plain_lines(&report.to_string()));
    page
}

fn as_value(report: &DoctorReport, machine: &Machine) -> Value {
    json!({
        "gristmill": VERSION,
        "threads": machine.threads,
        "memory_bytes": machine.memory_bytes,
        "budget_bytes": machine.budget.bytes,
        "budget_why": machine.budget.why,
        "used": report.chosen().map(|adapter| &adapter.name),
        "adapters": report.adapters.iter().map(adapter).collect::<Vec<_>>(),
        "hints": report.hints,
    })
}

fn adapter(adapter: &AdapterReport) -> Value {
    let (passed, said) = match &adapter.self_test {
        Ok(passed) => (true, passed.to_string()),
        Err(why) => (false, why.clone()),
    };
    let why_not = match &adapter.verdict {
        Verdict::Used => None,
        Verdict::Rejected(why) => Some(why),
    };
    json!({
        "name": adapter.name,
        "interface": adapter.interface,
        "device_type": adapter.device_type,
        "place": adapter.place.word(),
        "driver": adapter.driver,
        "max_binding_bytes": adapter.max_binding_bytes,
        "max_buffer_bytes": adapter.max_buffer_bytes,
        "workgroup_bytes": adapter.workgroup_bytes,
        "used": why_not.is_none(),
        "why_not": why_not,
        "self_test": { "passed": passed, "detail": said },
    })
}
