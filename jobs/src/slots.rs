//! Turns at the GPU: runs of one machine use an adapter one after another, so that none of them has half of its memory or its speed.
//!
//! ```text
//! queue  held by the run that is next  ->  slot  held while steps compute on the device
//! ```
//!
//! Both are locks on files that die with their process. Whoever is next holds the queue, so that a run that has just had its turn comes behind
//! it. A turn lasts as long as nobody else waits; where somebody does, it ends after the step that computes on the device, and the device is
//! closed. With `place = "auto"` a step waits no longer than the device would save, and then runs on the CPU.
//!
//! The files lie in `GRISTMILL_SLOTS`, or else where all users of the machine may lock: `/dev/shm/gristmill-gpu` on Linux, the system's folder
//! for temporary files elsewhere. Where none can be made, nobody waits. Absent    turns between containers and machines that share a card
//! but no such folder, and turns at software drivers, which are for tests (unless `GRISTMILL_SLOTS` is set).

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gristmill_engine::backend::{Backend, PlaceChoice};

/// Names another folder.
const FOLDER_VARIABLE: &str = "GRISTMILL_SLOTS";
/// Name of the folder.
const NAME: &str = "gristmill-gpu";
/// What the engine calls an adapter that is the CPU in disguise.
const SOFTWARE: &str = "software";
/// Time between two looks at a lock.
const TICK: Duration = Duration::from_millis(20);

/// The turns of one run.
#[derive(Debug)]
pub(crate) struct Slots {
    folder: Option<PathBuf>,
    /// Whether software drivers take turns.
    with_software: bool,
    turn: Mutex<Option<Turn>>,
}

/// The turn that a run has; it ends with the value.
#[derive(Debug)]
struct Turn {
    _slot: File,
    /// Locked while somebody waits.
    queue_path: PathBuf,
    /// Whether no step computes on the device.
    is_idle: bool,
}

impl Slots {
    /// Returns the slots of this machine.
    pub(crate) fn of_machine() -> Self {
        Self::in_folder(shared_folder(), named_folder().is_some())
    }

    fn in_folder(folder: PathBuf, with_software: bool) -> Self {
        Self { folder: make(&folder).then_some(folder), with_software, turn: Mutex::default() }
    }

    /// Waits for a turn at the adapter that `choice` would take, no longer than `patience` where one is given, nor once the run was asked to stop;
    /// says whether there is one. `waiting` is called once where it has to wait.
    pub(crate) fn enter(&self, choice: PlaceChoice, patience: Option<Duration>, stopped: &dyn Fn() -> bool, waiting: &dyn Fn()) -> bool {
        if let Some(turn) = self.turn().as_mut() {
            turn.is_idle = false;
            return true;
        }
        let Some(folder) = &self.folder else { return true };
        let Some(adapter) = Backend::adapter_key(choice).filter(|adapter| adapter != SOFTWARE || self.with_software) else { return true };
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let queue_path = folder.join(format!("{adapter}.queue"));
        let (Some(queue), Some(slot)) = (open(&queue_path), open(&folder.join(format!("{adapter}.slot")))) else { return true };
        let mut has_waited = false;
        for file in [&queue, &slot] {
            while file.try_lock().is_err_and(|error| matches!(error, fs::TryLockError::WouldBlock)) {
                if stopped() || until.is_some_and(|until| Instant::now() >= until) {
                    return false;
                }
                if !std::mem::replace(&mut has_waited, true) {
                    waiting();
                }
                thread::sleep(TICK);
            }
        }
        *self.turn() = Some(Turn { _slot: slot, queue_path, is_idle: false });
        true
    }

    /// Says that the step is done that computed on the device.
    pub(crate) fn rest(&self) {
        if let Some(turn) = self.turn().as_mut() {
            turn.is_idle = true;
        }
    }

    /// Ends the turn, with the device that was used in it, where no step uses it and somebody waits.
    pub(crate) fn make_way(&self, backend: &Backend) {
        let mut turn = self.turn();
        if turn.as_ref().is_some_and(|turn| turn.is_idle && is_locked(&turn.queue_path)) {
            backend.close_device();
            *turn = None;
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the folder in which all runs of the machine find each other.
pub(crate) fn shared_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let usual = || if cfg!(target_os = "linux") && memory.is_dir() { memory.join(NAME) } else { env::temp_dir().join(NAME) };
    named_folder().unwrap_or_else(usual)
}

fn named_folder() -> Option<PathBuf> {
    env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Makes a folder in which every user may lock; says whether it is there, and a folder.
pub(crate) fn make(folder: &Path) -> bool {
    if fs::create_dir(folder).is_ok() {
        #[cfg(unix)]
        let _umask_stays = fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o1777));
    }
    fs::symlink_metadata(folder).is_ok_and(|about| about.is_dir())
}

/// Opens a file to lock, which another user may have made: reading is enough for that.
#[cfg(unix)]
fn open(path: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let everyone = Mode::from_raw_mode(0o666);
    let opened = rustix::fs::open(path, flags, Mode::empty()).or_else(|_| {
        let made = rustix::fs::open(path, flags | OFlags::CREATE, everyone)?;
        // Whatever the mask of this user says. A confined process may not, and another user then does not wait.
        let _mask_stays = rustix::fs::fchmod(&made, everyone);
        Ok::<_, rustix::io::Errno>(made)
    });
    opened.ok().map(File::from).filter(|file| file.metadata().is_ok_and(|about| about.is_file()))
}

#[cfg(not(unix))]
fn open(path: &Path) -> Option<File> {
    let opened = File::open(path).or_else(|_| File::options().write(true).create_new(true).open(path)).or_else(|_| File::open(path));
    opened.ok().filter(|file| file.metadata().is_ok_and(|about| about.is_file()))
}

fn is_locked(path: &Path) -> bool {
    open(path).is_some_and(|file| file.try_lock().is_err_and(|error| matches!(error, fs::TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SOON: Option<Duration> = Some(Duration::from_millis(60));

    fn enter(slots: &Slots, patience: Option<Duration>) -> bool {
        slots.enter(PlaceChoice::Software, patience, &|| false, &|| {})
    }

    /// Returns the slots of two runs; none where no driver is installed, which other tests say aloud.
    fn two(folder: &Path) -> Option<(Slots, Slots)> {
        Backend::adapter_key(PlaceChoice::Software)?;
        let slots = || Slots::in_folder(folder.join("slots"), true);
        Some((slots(), slots()))
    }

    #[test]
    fn one_run_at_a_time_has_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let Some((one, other)) = two(folder.path()) else { return };
        let backend = Backend::cpu();
        assert!(enter(&one, SOON) && enter(&one, SOON));
        let waits = AtomicUsize::new(0);
        let tried = other.enter(PlaceChoice::Software, SOON, &|| false, &|| _ = waits.fetch_add(1, Ordering::SeqCst));
        assert_eq!((tried, waits.load(Ordering::SeqCst)), (false, 1));
        assert!(!other.enter(PlaceChoice::Software, None, &|| true, &|| {}), "the run is to stop");
        // Nobody waits any more, so that the turn goes on.
        one.rest();
        one.make_way(&backend);
        assert!(!enter(&other, SOON));
        drop(one);
        assert!(enter(&other, SOON));
    }

    #[test]
    fn who_has_had_a_turn_comes_behind_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        let Some((one, other)) = two(folder.path()) else { return };
        let backend = Backend::cpu();
        assert!(enter(&one, None));
        let order = Mutex::new(Vec::new());
        let (is_waiting, waits) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(other.enter(PlaceChoice::Software, None, &|| false, &|| is_waiting.send(()).unwrap()));
                order.lock().unwrap().push("other");
                thread::sleep(5 * TICK);
                drop(other);
            });
            waits.recv().unwrap();
            one.make_way(&backend);
            assert!(one.turn().is_some(), "a step computes on the device");
            one.rest();
            one.make_way(&backend);
            assert!(enter(&one, None));
            order.lock().unwrap().push("one");
        });
        assert_eq!(order.into_inner().unwrap(), ["other", "one"]);
    }

    #[test]
    fn where_no_file_can_be_made_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let slots = || Slots::in_folder(folder.path().join("file"), true);
        assert_eq!((enter(&slots(), SOON), enter(&slots(), SOON)), (true, true));
    }
}
