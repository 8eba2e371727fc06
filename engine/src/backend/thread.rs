//! The thread that owns the device.
//!
//! Whatever a driver does to the library that calls it (a lost device makes `Device::poll` panic, a broken driver does
//! not return at all) happens to this thread alone. Callers send requests and wait with a limit; when the thread ends or
//! gives no sign of life, they get an error and the thread is left to itself, with the device that it will drop once the
//! driver lets it go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gristmill_shaders::Variant;

use super::adapters::Adapter;
use super::buffers::{N_SLOTS, Slot};
use super::contract::Contract;
use super::error::GpuError;
use super::fault::{Fault, Faults};
use super::panic_message;
use super::worker::Worker;

/// How long work on a GPU may take without any of it being completed.
const GPU_PATIENCE: Duration = Duration::from_secs(10);
/// The same for software drivers, which share the CPU with everything else.
const SOFTWARE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a driver may take to open a device.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);
/// How often a waiting caller looks whether the thread is alive.
const LOOK: Duration = Duration::from_millis(50);

/// Says which buffer of the thread is meant.
pub(super) type BufferId = u64;

/// Where the words of a read-back go.
pub(super) type Reply = Sender<Result<Vec<u32>, GpuError>>;

/// What the thread is asked to do; requests are carried out in order.
pub(super) enum Request {
    /// Makes a storage buffer.
    Create { id: BufferId, bytes: u64, task: Arc<TaskState> },
    /// Gives a storage buffer back to the pool.
    Release { id: BufferId },
    /// Makes one more staging slot.
    MakeSlot,
    /// Copies the first bytes of a slot to a buffer.
    Copy { slot: Slot, bytes: u64, to: BufferId, at: u64, task: Arc<TaskState> },
    /// Runs a shader.
    Dispatch(DispatchRequest),
    /// Returns the first words of a buffer.
    Read { from: BufferId, n_words: u64, reply: Reply, task: Arc<TaskState> },
    /// Forgets the dispatches so far and fails as told from now on.
    Inject(Faults),
    /// Destroys the device and goes on as if nothing had happened.
    Destroy,
    /// Ends the thread.
    Quit,
}

/// One run of a shader.
pub(super) struct DispatchRequest {
    pub(super) contract: &'static Contract,
    pub(super) variant: &'static Variant,
    pub(super) params: Vec<u8>,
    pub(super) buffers: Vec<BufferId>,
    pub(super) groups: [u32; 2],
    pub(super) task: Arc<TaskState>,
}

/// What went wrong with one task; the thread skips what is left of a task that failed.
#[derive(Debug, Default)]
pub(super) struct TaskState {
    failure: Mutex<Option<GpuError>>,
    /// What an injected fault does to the bytes that come back.
    pub(super) spoils: Mutex<Option<Fault>>,
}

impl TaskState {
    pub(super) fn fail(&self, error: GpuError) {
        lock(&self.failure).get_or_insert(error);
    }

    pub(super) fn check(&self) -> Result<(), GpuError> {
        lock(&self.failure).clone().map_or(Ok(()), Err)
    }
}

/// Whether the device works, and when its thread last showed that it lives.
#[derive(Debug)]
pub(super) struct Health {
    failure: Mutex<Option<GpuError>>,
    started: Instant,
    beat_ms: AtomicU64,
    patience_ms: AtomicU64,
}

impl Health {
    fn new(patience: Duration) -> Self {
        let patience_ms = AtomicU64::new(patience.as_millis() as u64);
        Self { failure: Mutex::new(None), started: Instant::now(), beat_ms: AtomicU64::new(0), patience_ms }
    }

    /// Returns how long the device may work without completing anything.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        self.patience_ms.store(patience.as_millis() as u64, Ordering::Relaxed);
    }

    /// The first failure is the cause, later ones are its consequences.
    pub(super) fn fail(&self, error: GpuError) {
        lock(&self.failure).get_or_insert(error);
    }

    pub(super) fn check(&self) -> Result<(), GpuError> {
        lock(&self.failure).clone().map_or(Ok(()), Err)
    }

    pub(super) fn beat(&self) {
        self.beat_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last_beat(&self) -> Instant {
        self.started + Duration::from_millis(self.beat_ms.load(Ordering::Relaxed))
    }
}

/// The caller's end of the thread.
#[derive(Debug)]
pub(super) struct DeviceThread {
    requests: Sender<Request>,
    free_slots: Mutex<FreeSlots>,
    health: Arc<Health>,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct FreeSlots {
    returned: Receiver<Slot>,
    n_asked_for: usize,
}

impl DeviceThread {
    /// Opens a device of `adapter` on a thread of its own.
    pub(super) fn start(adapter: Adapter, budget_bytes: u64) -> Result<(Self, wgpu::Limits), GpuError> {
        let patience = if adapter.is_cpu() { SOFTWARE_PATIENCE } else { GPU_PATIENCE };
        let health = Arc::new(Health::new(patience));
        let (requests, inbox) = channel();
        let (slots, returned) = channel();
        let (opened, wait_opened) = channel();
        let of_thread = Arc::clone(&health);
        let body = move || {
            let serve = || {
                let worker = Worker::open(&adapter, Arc::clone(&of_thread), inbox, slots, budget_bytes)?;
                // Nobody waits any longer when opening took too long; then the first request finds no sender.
                let _ = opened.send(worker.limits());
                worker.serve()
            };
            let outcome = catch_unwind(AssertUnwindSafe(serve));
            if let Err(error) = outcome.unwrap_or_else(|panic| Err(GpuError::Panicked(panic_message(&*panic)))) {
                of_thread.fail(error);
            }
        };
        let handle = std::thread::Builder::new()
            .name("gristmill-gpu".to_owned())
            // Parsing a shader recurses, and unoptimised builds need more than the usual 2 MiB for it.
            .stack_size(8 << 20)
            .spawn(body)
            .map_err(|e| GpuError::Refused { what: "the device's thread".to_owned(), message: e.to_string() })?;
        let free_slots = Mutex::new(FreeSlots { returned, n_asked_for: 0 });
        let thread = Self { requests, free_slots, health, handle: Some(handle) };
        match wait_opened.recv_timeout(OPEN_PATIENCE) {
            Ok(limits) => Ok((thread, limits)),
            Err(RecvTimeoutError::Timeout) => Err(GpuError::Hang(OPEN_PATIENCE)),
            Err(RecvTimeoutError::Disconnected) => Err(thread.failure()),
        }
    }

    /// Returns a sender for what outlives a borrow of the thread.
    pub(super) fn sender(&self) -> Sender<Request> {
        self.requests.clone()
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn send(&self, request: Request) -> Result<(), GpuError> {
        self.health.check()?;
        self.requests.send(request).map_err(|_| self.failure())
    }

    /// Waits for an answer as long as the thread gives signs of life.
    pub(super) fn wait<T>(&self, answer: &Receiver<T>) -> Result<T, GpuError> {
        let since = Instant::now();
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(self.failure()),
                Err(RecvTimeoutError::Timeout) => self.look(since)?,
            }
        }
    }

    /// Returns a free staging slot; waits for one when all are under way.
    pub(super) fn slot(&self) -> Result<Slot, GpuError> {
        let mut free = lock(&self.free_slots);
        if let Ok(slot) = free.returned.try_recv() {
            return Ok(slot);
        }
        if free.n_asked_for < N_SLOTS {
            free.n_asked_for += 1;
            self.send(Request::MakeSlot)?;
        }
        self.wait(&free.returned)
    }

    /// Fails when the device did, or when its thread has been silent since long before `since`.
    fn look(&self, since: Instant) -> Result<(), GpuError> {
        self.health.check()?;
        // The thread itself finds work that does not end; a silent thread is held up inside the driver.
        let silent = since.max(self.health.last_beat()).elapsed();
        if silent > self.health.patience() * 2 {
            self.health.fail(GpuError::Hang(silent));
        }
        self.health.check()
    }

    fn failure(&self) -> GpuError {
        // The thread notes its failure before its channels close, but a close may be seen a moment earlier.
        for _ in 0..100 {
            if let Err(error) = self.health.check() {
                return error;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        GpuError::Lost("its thread has ended".to_owned())
    }
}

impl Drop for DeviceThread {
    fn drop(&mut self) {
        // The thread may have ended already, then nobody listens.
        let _ = self.requests.send(Request::Quit);
        let Some(handle) = self.handle.take() else { return };
        // A device that failed may block while it is dropped: its thread goes on by itself.
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.health.check().is_ok() && Instant::now() < deadline {
            if handle.is_finished() {
                // It caught its own panics.
                let _ = handle.join();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Locks whether or not a holder panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is replaced as a whole, so that a panic cannot leave it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
