//! The two places where kernels run, and the one function that chooses between them.
//!
//! A [`Kernel`] is one bulk primitive stated once and carried out twice: on rayon threads, which cannot fail,
//! and on a device, which can. [`Backend::run`] alone chooses, falls back and keeps the reason. A device that
//! failed is not used again in the job; results that were committed before stay, because the kernels yield
//! partials that add up whatever place they came from.
//!
//! This folder is the only one that names wgpu and the only one that looks at a clock.
//!
//! Absent: a second device, and a second try on a device that was lost. A job that lost its device is better
//! finished on the CPU than interrupted twice.

mod adapters;
mod buffers;
pub(crate) mod contract;
mod cost;
mod cpu;
pub(crate) mod dispatch;
mod doctor;
#[cfg(test)]
pub(crate) mod drill;
mod error;
mod fault;
mod gpu;
mod pipelines;
mod place;
pub(crate) mod selftest;
mod thread;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[doc(hidden)]
pub use contract::{Access, Contract};
pub use cost::Cost;
pub use cpu::Cpu;
pub use doctor::{AdapterReport, DoctorReport, Verdict, doctor};
pub use error::{BackendError, GpuError};
#[doc(hidden)]
pub use fault::{Fault, Faults};
pub use gpu::Gpu;
pub use place::{Place, PlaceChoice, UnknownPlace};
pub use selftest::SelfTest;

/// Returns the text of every kernel in every variant: what a cache of results has to know.
pub fn kernel_texts() -> impl Iterator<Item = String> {
    gristmill_shaders::SHADERS.iter().flat_map(|shader| shader.variants.iter().map(|variant| shader.source(variant)))
}

/// One bulk primitive, stated once and carried out in two places.
///
/// The two agree within the bound that the kernel's module page states, so that a partial may come from either.
pub trait Kernel: Sync {
    /// Name of the kernel: stem of the WGSL file, id of the bench, word in notes.
    const NAME: &'static str;
    /// What the kernel reads.
    type Input<'a>: Copy + Sync;
    /// What the kernel computes.
    type Output: Send;

    /// Returns what the input costs.
    fn cost(&self, input: Self::Input<'_>) -> Cost;
    /// Computes on the CPU; it cannot fail, because whatever could be wrong was checked while the input was built.
    fn on_cpu(&self, cpu: &Cpu, input: Self::Input<'_>) -> Self::Output;
    /// Computes on a device and returns a checked result.
    ///
    /// # Errors
    /// Fails when the device does; the caller computes the same input on the CPU.
    fn on_gpu(&self, gpu: &Gpu, input: Self::Input<'_>) -> Result<Self::Output, GpuError>;
}

/// An output and the place it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran<T> {
    /// What the kernel computed.
    pub output: T,
    /// Where it ran.
    pub place: Place,
}

/// The places that a job may use; clones share one device.
#[derive(Debug, Clone)]
pub struct Backend {
    shared: Arc<Shared>,
    record: Arc<Mutex<Record>>,
    pinned: Option<Place>,
}

/// What the clones of a backend share.
#[derive(Debug)]
struct Shared {
    choice: PlaceChoice,
    cpu: Cpu,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    device: Device,
}

/// What happened to the work of one backend: a step has one of its own.
#[derive(Debug)]
struct Record {
    /// Where kernels ran so far: the device's place once one ran there to the end.
    ran_at: Place,
    reason: String,
    fallbacks: Vec<String>,
}

/// A device is opened when the first work that pays for it comes.
#[derive(Debug)]
enum Device {
    Closed,
    Open(Arc<Gpu>),
    /// None could be opened, or the one that was open failed.
    Unusable(String),
}

impl Backend {
    /// Opens the places that `choice` allows.
    ///
    /// For `auto` no device is touched before the cost of some work says that one pays.
    ///
    /// # Errors
    /// Fails when `choice` requires a device and none is usable.
    pub fn open(choice: PlaceChoice) -> Result<Self, BackendError> {
        Self::with_faults(choice, Faults::default())
    }

    /// Returns a backend that never looks for a device.
    #[must_use]
    pub fn cpu() -> Self {
        Self::new(PlaceChoice::Cpu, Faults::default())
    }

    /// Opens a backend whose device fails as told.
    ///
    /// # Errors
    /// As [`Backend::open`].
    #[doc(hidden)]
    pub fn with_faults(choice: PlaceChoice, faults: Faults) -> Result<Self, BackendError> {
        let backend = Self::new(choice, faults);
        if matches!(choice, PlaceChoice::Gpu | PlaceChoice::Software) {
            backend.device().map_err(|reason| BackendError { asked: choice.as_str(), reason })?;
        }
        Ok(backend)
    }

    fn new(choice: PlaceChoice, faults: Faults) -> Self {
        let reason = match choice {
            PlaceChoice::Auto => "no work has asked for a GPU".to_owned(),
            _ => format!("`place = \"{choice}\"` was asked for"),
        };
        let record = Record { ran_at: Place::Cpu, reason, fallbacks: Vec::new() };
        let shared = Shared { choice, cpu: Cpu::new(), faults, state: Mutex::new(State { device: Device::Closed }) };
        Self { shared: Arc::new(shared), record: Arc::new(Mutex::new(record)), pinned: None }
    }

    /// Computes `input`, on the device where that is right and works, else on the CPU.
    ///
    /// This is the only place that chooses, falls back and records why.
    pub fn run<K: Kernel>(&self, kernel: &K, input: K::Input<'_>) -> Ran<K::Output> {
        if let Some(gpu) = self.device_for(|| kernel.cost(input)) {
            match on_gpu(kernel, &gpu, input) {
                Ok(output) => {
                    self.record().ran_at = gpu.place();
                    return Ran { output, place: gpu.place() };
                }
                Err(error) => self.fall_back(K::NAME, &gpu, &error),
            }
        }
        Ran { output: kernel.on_cpu(&self.shared.cpu, input), place: Place::Cpu }
    }

    /// Returns whether work of `cost`, the whole of a step, belongs on the device; opens it if so.
    #[must_use]
    pub fn prefer_gpu(&self, cost: Cost) -> bool {
        match self.shared.choice {
            PlaceChoice::Cpu => false,
            PlaceChoice::Gpu | PlaceChoice::Software => self.device().is_ok(),
            PlaceChoice::Auto => self.pays(cost) && self.device().is_ok(),
        }
    }

    /// Returns the seconds that the device would save on work of `cost`, the whole of a step, and opens none: nothing where it would save none or
    /// may not be used, infinitely many where it has to be.
    #[must_use]
    pub fn gain_seconds(&self, cost: Cost) -> Option<f64> {
        if matches!(self.state().device, Device::Unusable(_)) {
            return None;
        }
        match self.shared.choice {
            PlaceChoice::Cpu => None,
            PlaceChoice::Gpu | PlaceChoice::Software => Some(f64::INFINITY),
            PlaceChoice::Auto => {
                let is_open = self.device_place().is_some();
                self.pays(cost).then(|| cost.cpu_seconds(self.shared.cpu.n_threads()) - cost.gpu_seconds(is_open))
            }
        }
    }

    /// Returns what tells the adapter apart that `choice` would open, on this machine: `software` for a driver that runs on the CPU.
    #[must_use]
    pub fn adapter_key(choice: PlaceChoice) -> Option<String> {
        // Loading a broken driver panics; whoever opens it says so.
        catch_unwind(|| adapters::usable(&adapters::Wanted::by(choice)).ok()?.first().map(adapters::Adapter::key)).ok().flatten()
    }

    /// Gives the device back, with all that it holds; work that pays for it opens it anew. For times when no kernel runs.
    pub fn close_device(&self) {
        let mut state = self.state();
        if matches!(state.device, Device::Open(_)) {
            state.device = Device::Closed;
        }
    }

    /// Returns what may be used.
    #[must_use]
    pub fn choice(&self) -> PlaceChoice {
        self.shared.choice
    }

    /// Returns a backend on the same device whose work runs at `place`, whatever each call costs, with a record of its own.
    #[must_use]
    pub fn pinned(&self, place: Place) -> Self {
        let record = Record { ran_at: Place::Cpu, reason: self.place_reason(), fallbacks: Vec::new() };
        Self { shared: Arc::clone(&self.shared), record: Arc::new(Mutex::new(record)), pinned: Some(place) }
    }

    /// Returns the place of the device, if one is open.
    #[must_use]
    pub fn device_place(&self) -> Option<Place> {
        match &self.state().device {
            Device::Open(gpu) => Some(gpu.place()),
            Device::Closed | Device::Unusable(_) => None,
        }
    }

    /// Returns the place that this backend is pinned to.
    #[must_use]
    pub const fn pinned_place(&self) -> Option<Place> {
        self.pinned
    }

    /// Returns where the work ran: the device once a kernel ran there to the end, else the CPU.
    #[must_use]
    pub fn place(&self) -> Place {
        self.record().ran_at
    }

    /// Returns the name of the adapter, if a device is open.
    #[must_use]
    pub fn adapter(&self) -> Option<String> {
        match &self.state().device {
            Device::Open(gpu) => Some(gpu.name().to_owned()),
            Device::Closed | Device::Unusable(_) => None,
        }
    }

    /// Returns why the work runs where it runs.
    #[must_use]
    pub fn place_reason(&self) -> String {
        self.record().reason.clone()
    }

    /// Returns the reason of every fall-back to the CPU, each once.
    #[must_use]
    pub fn fallbacks(&self) -> Vec<String> {
        self.record().fallbacks.clone()
    }

    /// Returns the CPU that kernels run on.
    #[must_use]
    pub fn host(&self) -> &Cpu {
        &self.shared.cpu
    }

    /// Destroys the open device behind the back of whoever uses it.
    #[doc(hidden)]
    pub fn destroy_device_for_test(&self) {
        if let Device::Open(gpu) = &self.state().device {
            gpu.destroy_for_test();
        }
    }

    fn device_for(&self, cost: impl FnOnce() -> Cost) -> Option<Arc<Gpu>> {
        match (self.pinned, self.shared.choice) {
            (Some(Place::Cpu), _) | (None, PlaceChoice::Cpu) => None,
            (Some(Place::Gpu | Place::Software), _) => self.device().map_err(|reason| self.note_absent(&reason)).ok(),
            (None, PlaceChoice::Gpu | PlaceChoice::Software) => self.device().ok(),
            (None, PlaceChoice::Auto) => self.pays(cost()).then(|| self.device().ok()).flatten(),
        }
    }

    fn pays(&self, cost: Cost) -> bool {
        let n_threads = self.shared.cpu.n_threads();
        let (is_open, is_usable) = match &self.state().device {
            Device::Open(_) => (true, true),
            Device::Closed => (false, true),
            Device::Unusable(_) => (false, false),
        };
        let pays = cost.gpu_pays(is_open, n_threads);
        if is_usable {
            let (gpu, cpu) = (cost.gpu_seconds(is_open), cost.cpu_seconds(n_threads));
            let verdict = if pays { "a GPU pays" } else { "a GPU does not pay" };
            self.record().reason = format!("{verdict}: about {gpu:.2} s there, {cpu:.2} s on {n_threads} CPU threads");
        }
        pays
    }

    /// Returns the device, opening it the first time; the error says why there is none.
    fn device(&self) -> Result<Arc<Gpu>, String> {
        let mut state = self.state();
        if matches!(state.device, Device::Closed) {
            state.device = match Gpu::open(self.shared.choice, &self.shared.faults) {
                Ok(gpu) => Device::Open(Arc::new(gpu)),
                Err(reason) => {
                    self.record().reason.clone_from(&reason);
                    Device::Unusable(reason)
                }
            };
        }
        match &state.device {
            Device::Open(gpu) => Ok(Arc::clone(gpu)),
            Device::Unusable(reason) => Err(reason.clone()),
            Device::Closed => Err("the device is closed".to_owned()),
        }
    }

    fn note_absent(&self, reason: &str) {
        let mut record = self.record();
        // A device that failed in this work has already said why.
        if record.fallbacks.is_empty() {
            record.fallbacks.push(format!("the plan placed the work on a device, but {reason}; it ran on the CPU"));
        }
    }

    fn fall_back(&self, kernel: &str, gpu: &Arc<Gpu>, error: &GpuError) {
        let mut state = self.state();
        let is_current = matches!(&state.device, Device::Open(open) if Arc::ptr_eq(open, gpu));
        if error.condemns_device() && is_current {
            gpu.condemn(error);
            state.device = Device::Unusable(error.to_string());
            self.record().fallbacks.push(format!("{kernel}: {error}; the rest of the job ran on the CPU"));
            return;
        }
        // Calls that were under way when the device failed come here too; their reason is the one already noted.
        let note = format!("{kernel}: {error}; that part ran on the CPU");
        let mut record = self.record();
        if is_current && !record.fallbacks.contains(&note) {
            record.fallbacks.push(note);
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves plain values behind, all of them valid.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the Rust side of every shader, for the test that compares it with the shaders.
#[doc(hidden)]
#[must_use]
pub fn contracts() -> Vec<&'static Contract> {
    use crate::correlate::{gpu, kendall, permuted};
    vec![
        &gpu::GRAM,
        &permuted::gpu::ARRANGE,
        &permuted::gpu::SHUFFLE,
        &permuted::gpu::PERMUTED_GRAM,
        &kendall::gpu::ROW_PAIRS,
        &kendall::gpu::KENDALL,
        &crate::cluster::gpu::ASSIGN,
        &crate::dedupe::gpu::SIGNATURES,
        &selftest::LOOP_COUNT,
        &selftest::HASH,
    ]
}

/// Runs the device's side of a kernel; a panic in it is an error like any other.
fn on_gpu<K: Kernel>(kernel: &K, gpu: &Gpu, input: K::Input<'_>) -> Result<K::Output, GpuError> {
    catch_unwind(AssertUnwindSafe(|| kernel.on_gpu(gpu, input))).unwrap_or_else(|panic| Err(GpuError::Panicked(panic_message(&*panic))))
}

/// Returns the words of a panic.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
