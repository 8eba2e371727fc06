//! An open device that passed its self-test: what kernels are handed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::adapters::{self, Adapter, Wanted};
use super::buffers::Budget;
use super::dispatch::Task;
use super::error::GpuError;
use super::fault::Faults;
use super::panic_message;
use super::place::{Place, PlaceChoice};
use super::selftest::{self, SelfTest};
use super::thread::{DeviceThread, Request};

/// Largest buffer that is bound, whatever a device claims: offsets within it stay below 2^31.
const MAX_BINDING_BYTES: u64 = (1 << 31) - 256;

/// An open device that passed its self-test.
#[derive(Debug)]
pub struct Gpu {
    name: String,
    kind: wgpu::DeviceType,
    thread: DeviceThread,
    budget: Budget,
    max_binding_bytes: u64,
}

impl Gpu {
    /// Opens the best adapter that passes the self-test; the error says what was tried.
    pub(super) fn open(choice: PlaceChoice, faults: &Faults) -> Result<Self, String> {
        let open = || {
            let mut failures = Vec::new();
            for adapter in adapters::usable(&Wanted::by(choice))? {
                match Self::open_tested(&adapter) {
                    Ok((gpu, _)) => {
                        gpu.inject(faults);
                        return Ok(gpu);
                    }
                    Err(why) => failures.push(format!("`{}`: {why}", adapter.info.name)),
                }
            }
            Err(format!("no adapter is usable: {}", failures.join("; ")))
        };
        // Loading a broken driver is the first thing that can go wrong.
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| Err(format!("a driver panicked: {}", panic_message(&*panic))))
    }

    /// Opens one adapter and tests it.
    pub(super) fn open_tested(adapter: &Adapter) -> Result<(Self, SelfTest), String> {
        let gpu = Self::open_untested(adapter).map_err(|e| e.to_string())?;
        let passed = selftest::run(&gpu)?;
        Ok((gpu, passed))
    }

    fn open_untested(adapter: &Adapter) -> Result<Self, GpuError> {
        let kind = adapter.info.device_type;
        // The library does not say how much memory a device has. What the kernels need is bounded by the slices they
        // upload, so that a modest share of any card is enough.
        let budget_bytes: u64 = if kind == wgpu::DeviceType::DiscreteGpu { 4 << 30 } else { 1 << 30 };
        let (thread, limits) = DeviceThread::start(adapter.clone(), budget_bytes)?;
        Ok(Self {
            name: adapter.info.name.clone(),
            kind,
            thread,
            budget: Budget::new(budget_bytes),
            max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(MAX_BINDING_BYTES),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn place(&self) -> Place {
        if self.is_software() { Place::Software } else { Place::Gpu }
    }

    /// Returns whether the device is the CPU in disguise.
    pub(crate) fn is_software(&self) -> bool {
        self.kind == wgpu::DeviceType::Cpu
    }

    /// Returns the size of the largest buffer that a shader may see.
    pub(crate) const fn max_binding_bytes(&self) -> u64 {
        self.max_binding_bytes
    }

    /// Returns the bytes that all tasks together may hold.
    pub(crate) const fn memory_bytes(&self) -> u64 {
        self.budget.total_bytes()
    }

    /// Returns the operations that one dispatch may take, so that it ends within about a tenth of a second.
    ///
    /// Desktop systems take a device away from whoever holds it for seconds.
    pub(crate) const fn flops_per_dispatch(&self) -> f64 {
        match self.kind {
            wgpu::DeviceType::DiscreteGpu => 2e11,
            wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 2e10,
            wgpu::DeviceType::Cpu => 5e8,
        }
    }

    /// Starts a kernel call that needs `bytes` of the device's memory; waits while other calls hold them.
    pub(crate) fn task(&self, bytes: u64) -> Result<Task<'_>, GpuError> {
        Task::new(self, bytes)
    }

    pub(super) const fn thread(&self) -> &DeviceThread {
        &self.thread
    }

    pub(super) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Ends the use of the device; calls that are under way fail with the same reason.
    pub(super) fn condemn(&self, error: &GpuError) {
        self.thread.health().fail(error.clone());
    }

    /// Opens a device for a unit test; where no adapter exists, says aloud that there is none.
    #[cfg(test)]
    pub(crate) fn for_test(choice: PlaceChoice) -> Option<Self> {
        let opened = Self::open(choice, &Faults::default());
        if let Err(why) = &opened {
            #[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
            {
                eprintln!("no adapter: the GPU side was not tested ({why})");
            }
        }
        opened.ok()
    }

    /// Forgets the dispatches so far and fails as told from now on.
    pub(super) fn inject(&self, faults: &Faults) {
        // A thread that has just ended will be noticed by the first kernel.
        let _ = self.thread.send(Request::Inject(faults.clone()));
    }

    pub(super) fn destroy_for_test(&self) {
        // A thread that has ended has no device left to destroy.
        let _ = self.thread.send(Request::Destroy);
    }
}
