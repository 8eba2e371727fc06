//! What `gristmill doctor` shows: every adapter, whether it would be used, and why not.

use std::fmt;
use std::path::Path;

use super::adapters::{self, Adapter, Wanted};
use super::gpu::Gpu;
use super::place::{Place, PlaceChoice};
use super::selftest::SelfTest;

/// Every adapter of this machine and what to do where none is usable.
#[derive(Debug, Clone, PartialEq)]
pub struct DoctorReport {
    /// The adapters, in the order in which they are tried.
    pub adapters: Vec<AdapterReport>,
    /// What would help, in words.
    pub hints: Vec<String>,
}

/// One adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterReport {
    /// Name that the driver gives.
    pub name: String,
    /// Programming interface: vulkan, metal, dx12.
    pub interface: String,
    /// Kind of device: `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu`, `Other`.
    pub device_type: String,
    /// Place that work on it would report.
    pub place: Place,
    /// Driver and its version.
    pub driver: String,
    /// Largest buffer that a shader may see.
    pub max_binding_bytes: u64,
    /// Largest buffer.
    pub max_buffer_bytes: u64,
    /// Memory that the threads of a workgroup share.
    pub workgroup_bytes: u32,
    /// Whether a job would use it.
    pub verdict: Verdict,
    /// What it answered, or how it failed.
    pub self_test: Result<SelfTest, String>,
}

/// Whether a job would use an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would.
    Used,
    /// It would not, with the reason.
    Rejected(String),
}

impl DoctorReport {
    /// Returns the adapter that `place = "gpu"` would use.
    #[must_use]
    pub fn chosen(&self) -> Option<&AdapterReport> {
        self.adapters.iter().find(|adapter| adapter.verdict == Verdict::Used)
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chosen() {
            Some(adapter) => writeln!(f, "a job that a GPU pays for would use `{}`", adapter.name)?,
            None => writeln!(f, "no adapter would be used; every job runs on the CPU")?,
        }
        for adapter in &self.adapters {
            write!(f, "{adapter}")?;
        }
        for hint in &self.hints {
            writeln!(f, "hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}, {}, driver {})", self.name, self.device_type, self.interface, self.driver)?;
        let mib = |bytes: u64| bytes >> 20;
        let (binding, buffer) = (mib(self.max_binding_bytes), mib(self.max_buffer_bytes));
        writeln!(f, "  limits     binding {binding} MiB, buffer {buffer} MiB, workgroup memory {} KiB", self.workgroup_bytes >> 10)?;
        match &self.self_test {
            Ok(passed) => writeln!(f, "  self-test  {passed}")?,
            Err(why) => writeln!(f, "  self-test  failed: {why}")?,
        }
        match &self.verdict {
            Verdict::Used => writeln!(f, "  verdict    used"),
            Verdict::Rejected(why) => writeln!(f, "  verdict    not used: {why}"),
        }
    }
}

/// Opens and tests every adapter.
#[must_use]
pub fn doctor() -> DoctorReport {
    let wanted = Wanted::by(PlaceChoice::Gpu);
    let mut adapters = Vec::new();
    for adapter in adapters::all() {
        let is_taken = adapters.iter().any(|known: &AdapterReport| known.verdict == Verdict::Used);
        adapters.push(examine(&adapter, &wanted, is_taken));
    }
    let hints = hints(&adapters, Path::new("/dev"));
    DoctorReport { adapters, hints }
}

fn examine(adapter: &Adapter, wanted: &Wanted, is_taken: bool) -> AdapterReport {
    let info = &adapter.info;
    let limits = adapter.handle.limits();
    let self_test = Gpu::open_tested(adapter).map(|(_, passed)| passed);
    let verdict = match (wanted.refusal(&info.name, adapter.is_cpu()), &self_test) {
        (Some(why), _) => Verdict::Rejected(why),
        (None, Err(_)) => Verdict::Rejected("it failed the self-test".to_owned()),
        (None, Ok(_)) if is_taken => Verdict::Rejected("a better one comes first".to_owned()),
        (None, Ok(_)) => Verdict::Used,
    };
    AdapterReport {
        name: info.name.clone(),
        interface: info.backend.to_str().to_owned(),
        device_type: format!("{:?}", info.device_type),
        place: adapter.place(),
        driver: adapter.driver(),
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        verdict,
        self_test,
    }
}

fn hints(adapters: &[AdapterReport], devices: &Path) -> Vec<String> {
    let mut hints = Vec::new();
    let has_gpu = adapters.iter().any(|adapter| adapter.place == Place::Gpu);
    if !has_gpu && devices.join("nvidiactl").exists() {
        hints.push(
            "an NVIDIA device is visible but offers no Vulkan: in a container set NVIDIA_DRIVER_CAPABILITIES to `all` or to a list with \
             `graphics`, and install libvulkan1 and libegl1"
                .to_owned(),
        );
    } else if !has_gpu && devices.join("dri").exists() {
        hints.push(
            "a graphics device is visible in /dev/dri but no driver took it: install `mesa-vulkan-drivers` or the vendor's driver, and \
             check that this user may open /dev/dri/render*"
                .to_owned(),
        );
    }
    if adapters.is_empty() {
        hints.push("software Vulkan for tests: `apt-get install mesa-vulkan-drivers libvulkan1`".to_owned());
    }
    if adapters.iter().any(|adapter| adapter.self_test.as_ref().is_ok_and(SelfTest::ends_loops_early)) {
        hints.push("this software driver ends loops after 65,535 trips, as that of Mesa 22.3 does and that of Mesa 25 does not; our kernels stay below".to_owned());
    }
    hints
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{DoctorReport, hints};

    #[test]
    fn a_machine_without_adapters_gets_a_hint_and_a_plain_sentence() {
        let report = DoctorReport { adapters: Vec::new(), hints: hints(&[], Path::new("/nowhere")) };
        assert!(report.to_string().starts_with("no adapter would be used"));
        assert_eq!(report.hints.len(), 1);
    }
}
