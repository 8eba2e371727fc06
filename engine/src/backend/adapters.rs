//! Which adapters exist, and which of them a job may use.
//!
//! Software Vulkan is handed out by drivers as willingly as a GPU. It is right but slower than our own CPU kernels, so
//! that production never takes it; tests ask for it by name, with `GRISTMILL_ADAPTER=software` or `place = "software"`.
//! `GRISTMILL_ADAPTER` may also hold a part of the name of the GPU to use.

use std::sync::OnceLock;

use super::place::{Place, PlaceChoice};

/// The variable that names the adapter to use.
pub(super) const ADAPTER_VARIABLE: &str = "GRISTMILL_ADAPTER";
/// Names of Vulkan, Direct3D and Metal drivers that run on the CPU.
const SOFTWARE_NAMES: [&str; 4] = ["llvmpipe", "lavapipe", "swiftshader", "microsoft basic render driver"];

/// What a job asks of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Hardware, of this name if one is given.
    Hardware(Option<String>),
    /// A software driver of a known name.
    Software,
}

impl Wanted {
    /// Reads the choice and the environment.
    pub(super) fn by(choice: PlaceChoice) -> Self {
        let name = std::env::var(ADAPTER_VARIABLE).ok().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        match name {
            _ if choice == PlaceChoice::Software => Self::Software,
            Some(name) if name == "software" => Self::Software,
            name => Self::Hardware(name),
        }
    }

    /// Returns why an adapter of this name and type is not taken, if it is not.
    pub(super) fn refusal(&self, name: &str, is_cpu: bool) -> Option<String> {
        let name = name.to_lowercase();
        match self {
            Self::Software if !is_cpu => Some("a software driver was asked for".to_owned()),
            Self::Software if !SOFTWARE_NAMES.iter().any(|known| name.contains(known)) => {
                Some(format!("it is no software driver that we know: {}", SOFTWARE_NAMES.join(", ")))
            }
            Self::Hardware(_) if is_cpu => Some("it runs on the CPU, where our own kernels are faster".to_owned()),
            Self::Hardware(Some(wanted)) if !name.contains(wanted) => Some(format!("{ADAPTER_VARIABLE} asks for `{wanted}`")),
            Self::Software | Self::Hardware(_) => None,
        }
    }
}

/// An adapter that the system offers.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    pub(super) handle: wgpu::Adapter,
    pub(super) info: wgpu::AdapterInfo,
}

impl Adapter {
    pub(super) fn is_cpu(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    pub(super) fn place(&self) -> Place {
        if self.is_cpu() { Place::Software } else { Place::Gpu }
    }

    /// Returns what tells the adapter apart from others of the machine, in letters that a file name may have.
    pub(super) fn key(&self) -> String {
        if self.is_cpu() {
            return "software".to_owned();
        }
        let bus: String = self.info.device_pci_bus_id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{:04x}-{:04x}-{bus}", self.info.vendor, self.info.device)
    }

    /// Returns the driver and its version.
    pub(super) fn driver(&self) -> String {
        format!("{} {}", self.info.driver, self.info.driver_info).trim().to_owned()
    }

    /// Better adapters come first.
    fn rank(&self) -> u8 {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }
}

/// Returns every adapter, the most capable kind first.
///
/// The first call loads the drivers, which takes half a second where software Vulkan is among them.
pub(super) fn all() -> Vec<Adapter> {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    let instance = INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // No dispatch reads its grid from a buffer, so the check of such grids would be dead weight.
        descriptor.flags = wgpu::InstanceFlags::empty();
        wgpu::Instance::new(descriptor.with_env())
    });
    let handles = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters: Vec<_> = handles.into_iter().map(|handle| Adapter { info: handle.get_info(), handle }).collect();
    adapters.sort_by_key(Adapter::rank);
    adapters
}

/// Returns the adapters to try in order, or why there is none.
pub(super) fn usable(wanted: &Wanted) -> Result<Vec<Adapter>, String> {
    let all = all();
    if all.is_empty() {
        return Err("no adapter was found: no driver of a GPU is installed or visible here".to_owned());
    }
    let (mut usable, mut refusals) = (Vec::new(), Vec::new());
    for adapter in all {
        match wanted.refusal(&adapter.info.name, adapter.is_cpu()) {
            Some(why) => refusals.push(format!("`{}`: {why}", adapter.info.name)),
            None => usable.push(adapter),
        }
    }
    if usable.is_empty() { Err(format!("no adapter is usable: {}", refusals.join("; "))) } else { Ok(usable) }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn hardware_never_means_a_software_driver() {
        let wanted = Wanted::Hardware(None);
        assert!(wanted.refusal("llvmpipe (LLVM 15.0.6, 256 bits)", true).is_some());
        assert!(wanted.refusal("NVIDIA H200", false).is_none());
    }

    #[test]
    fn software_is_taken_by_name_alone() {
        assert!(Wanted::Software.refusal("llvmpipe (LLVM 15.0.6, 256 bits)", true).is_none());
        assert!(Wanted::Software.refusal("Some CPU driver", true).is_some());
        assert!(Wanted::Software.refusal("NVIDIA H200", false).is_some());
    }

    #[test]
    fn a_part_of_the_name_chooses_among_gpus() {
        let wanted = Wanted::Hardware(Some("h200".to_owned()));
        assert!(wanted.refusal("NVIDIA H200", false).is_none());
        assert!(wanted.refusal("Intel UHD", false).is_some_and(|why| why.contains("`h200`")));
    }
}
