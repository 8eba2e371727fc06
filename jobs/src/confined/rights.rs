//! Rights that a process gives up for good, with all that it starts: places to write (Landlock) and calls to the kernel (seccomp).

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, Scope,
};
use rustix::fs::{Mode, OFlags};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition as Condition, SeccompFilter, SeccompRule,
};

use crate::JobError;
use crate::slots;

/// Devices that a driver of a GPU writes to, by the beginnings of their names.
const DEVICES: [&str; 5] = ["dri", "nvidia", "kfd", "dxg", "null"];

/// Calls that no job makes: other processes, sockets, what a file is beside its content, other roots, ways around a filter.
const FORBIDDEN: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
];

/// Older forms of these, which newer machines lack.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Bit of the numbers of x32, under which kernels where that interface was turned on take the same calls.
const X32_BIT: i64 = 0x4000_0000;
/// Calls that have numbers of their own there, `ioctl`, `ptrace` and `kexec_load` among them.
const X32: std::ops::RangeInclusive<i64> = 512..=547;

/// `fchmodat2`, which the bindings lack on some machines; the number is the same on all.
const FCHMODAT2: i64 = 452;

/// Confines this thread, and those that it will start, to writing below some folders.
///
/// # Errors
/// When the kernel refuses, or has no Landlock.
pub(super) fn confine(folders: &[PathBuf], is_child: bool) -> Result<(), JobError> {
    let help =
        "it takes Linux 5.13 or later with Landlock turned on; elsewhere, run gristmill in a container without `--untrusted`".to_owned();
    try_confine(folders, is_child)
        .map_err(|error| JobError::Confined { what: format!("Landlock does not confine this process: {error}"), help })
}

fn try_confine(folders: &[PathBuf], is_child: bool) -> Result<(), Box<dyn Error>> {
    let writing = AccessFs::from_write(ABI::V4);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writing)?;
    if is_child {
        rules = rules.handle_access(AccessFs::Execute)?.handle_access(AccessNet::from_all(ABI::V4))?.scope(Scope::from_all(ABI::V6))?;
    }
    let mut rules = rules.create()?;
    for folder in folders {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, writing))?;
    }
    for device in devices() {
        let access: BitFlags<AccessFs> = if device.is_dir() { writing } else { writing & AccessFs::from_file(ABI::V4) };
        // One that has gone since is not missed.
        if let Ok(opened) = PathFd::new(&device) {
            rules = rules.add_rule(PathBeneath::new(opened, access))?;
        }
    }
    // Empty files may be made there, to be locked.
    if let Some(folder) = folder_itself(&slots::shared_folder()) {
        rules = rules.add_rule(PathBeneath::new(folder, AccessFs::MakeReg))?;
    }
    rules.restrict_self()?;
    Ok(())
}

fn devices() -> Vec<PathBuf> {
    let found = fs::read_dir("/dev").into_iter().flatten().flatten();
    found
        .filter(|entry| DEVICES.iter().any(|name| entry.file_name().to_string_lossy().starts_with(name)))
        .map(|entry| entry.path())
        .collect()
}

/// Opens a folder, and not what a link in its place leads to.
fn folder_itself(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Forbids this thread, and those that it will start, calls that no job makes; new threads are allowed, new processes are not.
pub(super) fn forbid() -> Result<(), Box<dyn Error>> {
    let eq = |at, value: u64| Condition::new(at, Width::Dword, Is::Eq, value);
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    calls.insert(FCHMODAT2, Vec::new());
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    calls.insert(libc::SYS_clone, vec![SeccompRule::new(vec![Condition::new(0, Width::Qword, Is::MaskedEq(thread), 0)?])?]);
    let death = u64::from(libc::PR_SET_PDEATHSIG.unsigned_abs());
    calls.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![eq(0, death)?])?]);
    // Input for a terminal, as if someone had typed it.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| SeccompRule::new(vec![eq(1, request & 0xffff_ffff)?]));
    calls.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    if cfg!(target_arch = "x86_64") {
        // Whatever they are called with: this program makes none of them.
        let others: Vec<i64> = calls.keys().copied().chain(X32).chain([libc::SYS_clone3]).map(|call| call | X32_BIT).collect();
        calls.extend(others.into_iter().map(|call| (call, Vec::new())));
    }
    apply(calls, libc::EPERM)?;
    // Its flags lie in memory, where no filter looks; without it the other call is made.
    apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn apply(calls: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<(), Box<dyn Error>> {
    let refused = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
