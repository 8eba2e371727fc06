//! How much memory a run may hold, and how much it holds.
//!
//! ```text
//! budget  = `memory` of the spec, else 80 % of the smallest of: RAM, control group (v2, v1), RLIMIT_AS, RLIMIT_DATA
//! program = 40 MiB of it, or five eighths where that is less: code, threads, pages being decoded, rows being encoded
//! step    = the rest
//! ```
//!
//! The fifth that is left covers the allocator's slack and the page cache that a control group
//! counts too, so that a run ends with exit code 5 and never by the kernel's hand.
//! Absent    Windows' job objects: there the budget is `FALLBACK_BYTES` unless the spec says.

use std::fs;
use std::path::Path;

/// Budget where the machine says nothing about its memory.
const FALLBACK_BYTES: u64 = 4 << 30;
/// Control groups without a limit report a number near 2^63.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// Bytes that the program takes beside its steps.
const PROGRAM_BYTES: u64 = 40 << 20;
/// Budget below which the allocator gives free pages back at once.
const AT_ONCE_BYTES: u64 = 256 << 20;
/// Budget below which it does so soon.
const SOON_BYTES: u64 = 1 << 30;

/// The allocator's option of that name, which its bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// What a run may hold and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Bytes that all steps together may hold.
    pub bytes: u64,
    /// Who said so.
    pub why: String,
}

/// Returns the budget: the spec's, or what the machine leaves.
#[must_use]
pub fn budget(asked_bytes: Option<u64>) -> Budget {
    match asked_bytes {
        Some(bytes) => Budget { bytes, why: "`memory` of the spec".to_owned() },
        None => from_limits(&limits()),
    }
}

/// Returns what a budget leaves for a step.
#[must_use]
pub const fn for_step(budget_bytes: u64) -> u64 {
    let small = budget_bytes / 8 * 3;
    let rest = budget_bytes.saturating_sub(PROGRAM_BYTES);
    if small > rest { small } else { rest }
}

/// Returns the least budget that leaves this for a step.
#[must_use]
pub const fn of_step(step_bytes: u64) -> u64 {
    let small = step_bytes.div_ceil(3).saturating_mul(8);
    let whole = step_bytes.saturating_add(PROGRAM_BYTES);
    if small < whole { small } else { whole }
}

/// Tells the allocator how long it may keep free pages.
///
/// It keeps them for a second, so that they need not be fetched anew: 100 to 250 MB of them where texts are shingled, more than a small
/// budget holds. At once costs such a step 1.7 times the time, 10 ms 1.4 times.
pub(crate) fn keep_free_pages(budget_bytes: u64) {
    let milliseconds = match budget_bytes {
        ..AT_ONCE_BYTES => 0,
        AT_ONCE_BYTES..SOON_BYTES => 10,
        _ => return,
    };
    #[allow(unsafe_code, reason = "an option of the allocator, set before there are other threads")]
    // SAFETY: writes a number that the allocator reads when it frees pages; no other thread is there yet.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds);
    }
}

fn from_limits(limits: &[(&str, u64)]) -> Budget {
    let smallest = limits.iter().filter(|(_, bytes)| *bytes < NO_LIMIT_BYTES).min_by_key(|(_, bytes)| *bytes);
    match smallest {
        Some((name, bytes)) => Budget { bytes: bytes / 5 * 4, why: format!("80 % of {name}") },
        None => Budget { bytes: FALLBACK_BYTES, why: "the machine does not tell its memory".to_owned() },
    }
}

fn limits() -> Vec<(&'static str, u64)> {
    let found = [
        ("the machine's memory", machine_bytes()),
        ("the control group's limit", cgroup_bytes(Path::new("/"))),
        ("the limit on address space (ulimit -v)", address_space_bytes()),
        ("the limit on data (ulimit -d)", data_bytes()),
    ];
    found.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect()
}

/// Asks the kernel for small pages alone.
///
/// A virtual machine gives free huge pages back to its host and pays 2 s for every GB that it touches anew: Spearman's rho of
/// 100,000 x 200 took 1.0 s with huge pages and 0.3 s without. What is touched again and again stays in the caches in blocks, so
/// that products lose nothing (6.4 s and 7.5 s for 1,000 permutations of 5,000 x 500).
pub(crate) fn take_small_pages() {
    #[cfg(target_os = "linux")]
    let _left_as_it_is = rustix::thread::disable_transparent_huge_pages(true);
}

/// Returns the bytes that this process holds now.
#[must_use]
pub fn rss_bytes() -> Option<u64> {
    field_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Returns the bytes that another process holds now and no file does: pages of libraries and drivers are left out.
#[cfg(target_os = "linux")]
pub(crate) fn own_bytes_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(field_bytes(&status, "RssAnon:")?.saturating_add(field_bytes(&status, "RssShmem:")?))
}

/// Returns the most bytes that this process has held.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    field_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Returns the bytes that this process has read so far, from the page cache or from disk.
#[must_use]
pub fn read_bytes() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar:"))?.trim().parse().ok()
}

/// Returns the machine's memory.
#[must_use]
pub fn machine_bytes() -> Option<u64> {
    if cfg!(target_os = "macos") {
        let answer = std::process::Command::new("/usr/sbin/sysctl").args(["-n", "hw.memsize"]).output().ok()?;
        return String::from_utf8(answer.stdout).ok()?.trim().parse().ok();
    }
    field_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Reads a line such as `VmRSS:     1234 kB`.
fn field_bytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(unix)]
fn address_space_bytes() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

#[cfg(unix)]
fn data_bytes() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Data).current
}

#[cfg(not(unix))]
fn address_space_bytes() -> Option<u64> {
    None
}

#[cfg(not(unix))]
fn data_bytes() -> Option<u64> {
    None
}

/// Returns the smallest limit on the way from this process's control group to the root of the hierarchy.
///
/// A limit of a parent binds as well. Inside a container the own group is often mounted as the root, so the
/// root of the mount is asked last.
fn cgroup_bytes(root: &Path) -> Option<u64> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    membership.lines().filter_map(|line| limit_of(root, line)).min()
}

/// Takes a line `hierarchy:controllers:path`; version 2 has an empty list of controllers.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?);
    let (mount, file) = if controllers.is_empty() {
        (root.join("sys/fs/cgroup"), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    let group = Path::new(group.trim_start_matches('/'));
    let folders = group.ancestors().map(|folder| mount.join(folder));
    folders.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_spec_comes_first_and_then_the_smallest_limit() {
        assert_eq!(budget(Some(7)).bytes, 7);
        let found = from_limits(&[("RAM", 1_000), ("group", 500), ("none", u64::MAX)]);
        assert_eq!(found, Budget { bytes: 400, why: "80 % of group".to_owned() });
        assert_eq!(from_limits(&[]).bytes, FALLBACK_BYTES);
    }

    #[test]
    fn the_program_takes_its_part() {
        const MIB: u64 = 1 << 20;
        for (budget, step) in [(16, 6), (64, 24), (65, 25), (1_024, 984)] {
            assert_eq!((for_step(budget * MIB), of_step(step * MIB)), (step * MIB, budget * MIB));
        }
        assert_eq!(of_step(u64::MAX), u64::MAX);
        // What a message names is enough.
        assert!((1..90).map(|step| step * MIB + 5).all(|step| for_step(of_step(step)) >= step));
    }

    #[test]
    fn the_allocator_knows_the_option() {
        #[allow(unsafe_code, reason = "an option of the allocator is read")]
        // SAFETY: reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // The only option with this default: a version of the allocator that counts its options anew is noticed.
        assert_eq!(delay(), 1_000);
        keep_free_pages(SOON_BYTES);
        assert_eq!(delay(), 1_000);
        keep_free_pages(SOON_BYTES - 1);
        assert_eq!(delay(), 10);
        keep_free_pages(AT_ONCE_BYTES - 1);
        assert_eq!(delay(), 0);
    }

    #[test]
    fn a_parent_group_binds_too() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", "0::/slice/job\n");
        write("sys/fs/cgroup/slice/memory.max", "4096\n");
        write("sys/fs/cgroup/slice/job/memory.max", "max\n");
        assert_eq!(cgroup_bytes(root.path()), Some(4096));
        write("proc/self/cgroup", "5:cpu,memory:/job\n4:pids:/job\n");
        write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2048\n");
        assert_eq!(cgroup_bytes(root.path()), Some(2048));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_its_memory() {
        let (rss, peak, machine) = (rss_bytes().unwrap(), peak_rss_bytes().unwrap(), machine_bytes().unwrap());
        assert!(0 < rss && rss <= peak && peak < machine, "{rss} {peak} {machine}");
        assert!(read_bytes().is_some());
    }
}
