//! GPU and CPU agree: findings and settled rows byte for byte, the rest within 1e-6, on every spec that ships.
//!
//! Three ways to the same answer, all with products in 32 bits: the CPU, software Vulkan, and software Vulkan whose device
//! is destroyed while the job runs. The first two are runs of the built binary. The third needs a hand on the device, so
//! that it calls the kind as the runner does.
//! Absent   hardware: which one a machine has is for `gristmill doctor` and the benches.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Job, Pair, pairs, repository, rows, say};
use gristmill::kinds::{Rows, StepOutcome, StepRun};
use gristmill::outputs::{self, Folder};
use gristmill::{plan, spec};
use gristmill_engine::backend::{Backend, Fault, Faults, PlaceChoice};
use gristmill_engine::findings::Finding;

/// How far rows that are not settled may be off on any place.
const SCREENED: f64 = 1e-6;
/// Memory of a job, more than enough for the samples: a budget that bites would change which rows are kept.
const MEMORY_BYTES: u64 = 4 << 30;
/// Rows of a block of few columns; one thread absorbs two blocks at a time.
const BLOCK_ROWS: u64 = 16_384;
/// Rows of a job that goes on after its second block.
const MANY_ROWS: u64 = 3 * BLOCK_ROWS;

/// Returns name and text of every spec of one step of `correlate` that ships, in 32 bits and with sources that any folder can read.
fn shipped() -> Vec<(String, String)> {
    let folder = repository("jobs/specs");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut specs: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    specs.sort();
    let named = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, in_32_bits(&fs::read_to_string(path).unwrap()).replace("../../datasets", repository("datasets").to_str().unwrap()))
    };
    let is_one_step = |text: &str| !text.contains("[[check]]") && !text.contains("\neach =");
    specs.iter().map(named).filter(|(_, text)| text.contains("kind = \"correlate\"") && is_one_step(text)).collect()
}

/// Sets `precision = "f32"` in every step of a spec.
fn in_32_bits(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("precision ="));
    lines.map(|line| if line.starts_with("kind =") { format!("{line}\nprecision = \"f32\"\n") } else { format!("{line}\n") }).collect()
}

/// Returns the specs whose columns of numbers can be streamed, and that they are: without what needs all rows in memory.
fn streamed() -> Vec<(String, String)> {
    let plain = |(name, text): (String, String)| {
        let lines = text.lines().filter(|line| !line.starts_with("permutations ="));
        let step = |line: &str| if line.starts_with("kind =") { "\nmethod = \"pearson\"\npermutations = 0\n" } else { "\n" };
        (name, lines.map(|line| format!("{line}{}", step(line))).collect())
    };
    let in_memory = |text: &str| text.contains("\ntarget =") || text.contains("\ngroup_by =");
    shipped().into_iter().filter(|(_, text)| !in_memory(text)).map(plain).collect()
}

/// Sets the place of a spec.
fn at(place: PlaceChoice, text: &str) -> String {
    format!("place = \"{place}\"\n{text}")
}

/// Says whether there is software Vulkan here.
fn has_software() -> bool {
    let opened = Backend::open(PlaceChoice::Software);
    if let Err(error) = &opened {
        say(&format!("no adapter: {error}"));
    }
    opened.is_ok()
}

/// What a job gives, in a form that can be compared.
struct Answer {
    findings: Vec<u8>,
    pairs: Vec<Pair>,
}

/// Returns what tells a row from the others: its columns, its group and its lag.
fn key(pair: &Pair) -> (&str, &str, Vec<&str>) {
    let (x, y) = pair.key();
    let slice = |cell: &&String| cell.starts_with("group: ") || cell.starts_with("lag: ");
    (x, y, pair.cells.iter().filter(slice).map(String::as_str).collect())
}

/// Compares two answers; the error names the first row that differs.
fn same(a: &Answer, b: &Answer) -> Result<(), String> {
    if a.pairs.len() != b.pairs.len() {
        return Err(format!("{} pairs and {}", a.pairs.len(), b.pairs.len()));
    }
    let of_b: BTreeMap<_, &Pair> = b.pairs.iter().map(|pair| (key(pair), pair)).collect();
    for pair in &a.pairs {
        let other = of_b.get(&key(pair)).ok_or_else(|| format!("{:?} is in one alone", key(pair)))?;
        let near = match (pair.r, other.r) {
            (Some(r), Some(s)) => (r - s).abs() <= SCREENED,
            (None, None) => true,
            _ => false,
        };
        let equal = if pair.settled || other.settled { pair.cells == other.cells } else { near && pair.n == other.n };
        if !equal {
            return Err(format!("{:?}\nand\n{:?}", pair.cells, other.cells));
        }
    }
    if a.findings == b.findings { Ok(()) } else { Err("the findings differ".to_owned()) }
}

/// Runs a spec by the built binary; returns the answer and the place that did the work.
fn by_binary(job: &Job, text: &str, place: PlaceChoice) -> (Answer, String) {
    let run = job.run(&at(place, text), place.as_str());
    let manifest = run.manifest();
    let step = &manifest["steps"][0];
    assert!(step["fell_back"].as_array().unwrap().is_empty() && !step["place_reason"].as_str().unwrap().is_empty(), "{step}");
    let answer = Answer { findings: run.bytes("findings.parquet"), pairs: run.pairs() };
    (answer, step["place"].as_str().unwrap().to_owned())
}

/// Runs the one step of a spec on a backend; `progress` is called after every block that came, with the rows so far.
fn on_backend(job: &Job, text: &str, backend: &Backend, progress: &(dyn Fn(u64) + Sync)) -> (Answer, StepOutcome) {
    let file = job.write("library.toml", text);
    let (spec, _) = spec::read(&file, &[]).unwrap();
    let plan = plan::plan(&spec, MEMORY_BYTES).map_err(|_| "no plan").unwrap();
    let [step] = plan.steps.as_slice() else { panic!("{} steps; a shipped spec has one", plan.steps.len()) };
    let scratch = job.path("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let folder = Folder::open(&scratch).unwrap();
    let on = StepRun {
        job: &spec.name.value,
        source: plan.source_of(step).unwrap().as_ref(),
        others: &[],
        backend,
        turn: &|_| true,
        seed: spec.seed,
        alpha: spec.alpha,
        memory_bytes: MEMORY_BYTES,
        scratch: &folder,
        run_dir: &folder,
        progress: &|done, _| progress(done),
        stopped: &|| false,
    };
    // One thread: blocks then reach the device one after the other, and the n-th dispatch is the same in every run.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let outcome = pool.install(|| step.spec.kind.run(&step.spec, &on)).unwrap();
    let findings = Finding::to_batch(&outcome.findings);
    outputs::write_table(&folder, "findings.parquet", &Finding::schema(), &[findings]).unwrap();
    let Rows::Held(_, batches) = &outcome.tables[0].rows else { panic!("pairs are held") };
    let answer = Answer { findings: fs::read(scratch.join("findings.parquet")).unwrap(), pairs: pairs(&batches[0]) };
    (answer, outcome)
}

#[test]
fn every_shipped_spec_gives_the_same_on_cpu_and_software_vulkan() {
    if !has_software() {
        return;
    }
    for (name, text) in shipped() {
        let job = Job::new();
        let (cpu, _) = by_binary(&job, &text, PlaceChoice::Cpu);
        let (software, _) = by_binary(&job, &text, PlaceChoice::Software);
        same(&cpu, &software).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (name, text) in streamed() {
        let job = Job::new();
        let (cpu, place) = by_binary(&job, &text, PlaceChoice::Cpu);
        assert_eq!(place, "cpu", "{name}");
        let (software, place) = by_binary(&job, &text, PlaceChoice::Software);
        assert_eq!(place, "software", "{name}: the device did no work");
        same(&cpu, &software).unwrap_or_else(|error| panic!("{name}: {error}"));
        let n_settled = cpu.pairs.iter().filter(|pair| pair.settled).count();
        assert!(n_settled > 0 && n_settled < cpu.pairs.len(), "{name}: {n_settled} of {} pairs are settled", cpu.pairs.len());
    }
}

#[test]
fn every_shipped_spec_gives_the_same_after_a_fault() {
    if !has_software() {
        return;
    }
    for (name, text) in streamed() {
        let job = Job::new();
        let (cpu, _) = by_binary(&job, &text, PlaceChoice::Cpu);
        for fault in [Fault::Lost, Fault::OutOfMemory, Fault::WrongBits, Fault::Panic] {
            // Short of memory once, the work is cut and tried again; the other faults end the device at once.
            let n_faults = if fault == Fault::OutOfMemory { 1000 } else { 1 };
            let faults = (0..n_faults).fold(Faults::default(), |faults, n| faults.at(n, fault));
            let backend = Backend::with_faults(PlaceChoice::Software, faults).unwrap();
            let (answer, outcome) = on_backend(&job, &text, &backend, &|_| ());
            assert!(!outcome.fell_back.is_empty() && !outcome.place_reason.is_empty(), "{name}, {fault:?}");
            same(&cpu, &answer).unwrap_or_else(|error| panic!("{name}, {fault:?}: {error}"));
        }
    }
}

/// Returns the spec over so many copies of its file, and how many rows those have once `where` has chosen.
fn repeated(job: &Job, text: &str) -> (String, u64) {
    let line = text.lines().find(|line| line.starts_with("path =")).unwrap();
    let file = line.split('"').nth(1).unwrap();
    let (_, outcome) = on_backend(job, text, &Backend::cpu(), &|_| ());
    let n_copies = MANY_ROWS.div_ceil(outcome.n_rows);
    let folder = job.path("copies");
    fs::create_dir_all(&folder).unwrap();
    let ending = Path::new(file).file_name().unwrap().to_str().unwrap();
    for copy in 0..n_copies {
        fs::copy(file, folder.join(format!("{copy:02}_{ending}"))).unwrap();
    }
    (text.replace(line, &format!("path = \"{}\"", folder.join(format!("*_{ending}")).display())), n_copies * outcome.n_rows)
}

#[test]
fn every_shipped_spec_gives_the_same_when_its_device_is_destroyed_in_mid_job() {
    if !has_software() {
        return;
    }
    for (name, text) in streamed() {
        let job = Job::new();
        let (text, n_rows) = repeated(&job, &text);
        let (cpu, place) = by_binary(&job, &text, PlaceChoice::Cpu);
        assert_eq!(place, "cpu", "{name}");
        let (whole, place) = by_binary(&job, &text, PlaceChoice::Software);
        assert_eq!(place, "software", "{name}");
        same(&cpu, &whole).unwrap_or_else(|error| panic!("{name}, undisturbed: {error}"));

        let backend = Backend::open(PlaceChoice::Software).unwrap();
        let destroyed = AtomicBool::new(false);
        let (answer, outcome) = on_backend(&job, &text, &backend, &|done| {
            // The device has had the first two blocks, and there are more to come.
            if (2 * BLOCK_ROWS..n_rows).contains(&done) && !destroyed.swap(true, Ordering::SeqCst) {
                backend.destroy_device_for_test();
            }
        });
        assert!(destroyed.into_inner(), "{name}: the job was over before the device was gone");
        assert_eq!(outcome.place, "software", "{name}: the first blocks ran on the device");
        assert!(outcome.fell_back.len() == 1 && outcome.fell_back[0].contains("lost"), "{name}: {:?}", outcome.fell_back);
        assert!(!outcome.place_reason.is_empty(), "{name}");
        same(&cpu, &answer).unwrap_or_else(|error| panic!("{name}, destroyed: {error}"));
    }
}

#[test]
fn a_changed_last_bit_is_noticed() {
    let (name, text) = streamed().swap_remove(0);
    let job = Job::new();
    let run = job.run(&at(PlaceChoice::Cpu, &text), "cpu");
    let table = run.table("pairs");
    let answer = |pairs: Vec<Pair>| Answer { findings: run.bytes("findings.parquet"), pairs };
    let right = answer(run.pairs());
    let wrong = |change: &dyn Fn(&mut Answer)| {
        let mut wrong = answer(right.pairs.clone());
        change(&mut wrong);
        same(&right, &wrong).is_err() && same(&wrong, &right).is_err()
    };
    assert!(!wrong(&|_| ()), "{name} is like itself");
    let settled = right.pairs.iter().position(|pair| pair.settled).unwrap();
    let screened = right.pairs.iter().position(|pair| !pair.settled).unwrap();
    for column in ["r", "p", "q", "lo", "hi"] {
        let cells = with_last_bit_changed(&table, column, settled);
        assert!(wrong(&|answer| answer.pairs[settled].cells.clone_from(&cells)), "a bit of {column}");
    }
    assert!(wrong(&|answer| answer.pairs[screened].r = answer.pairs[screened].r.map(|r| r + 1.1e-6)), "a screened row that is off");
    assert!(!wrong(&|answer| answer.pairs[screened].r = answer.pairs[screened].r.map(|r| r + 0.9e-6)), "a screened row within its bound");
    assert!(wrong(&|answer| answer.pairs[screened].n += 1), "another n");
    assert!(wrong(&|answer| drop(answer.pairs.pop())), "a pair is missing");
    assert!(wrong(&|answer| answer.findings[1000] ^= 1), "a bit of the findings");
}

/// Returns the cells of a row in which one number has another last bit.
fn with_last_bit_changed(table: &arrow::array::RecordBatch, column: &str, row: usize) -> Vec<String> {
    use arrow::array::{AsArray, Float64Array};
    use arrow::datatypes::Float64Type;
    let at = table.schema().index_of(column).unwrap();
    let mut columns = table.columns().to_vec();
    let mut values: Vec<Option<f64>> = columns[at].as_primitive::<Float64Type>().iter().collect();
    values[row] = values[row].map(|value| f64::from_bits(value.to_bits() ^ 1));
    columns[at] = std::sync::Arc::new(Float64Array::from(values));
    let changed = arrow::array::RecordBatch::try_new(table.schema(), columns).unwrap();
    rows(&changed).swap_remove(row)
}
