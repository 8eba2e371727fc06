//! The device's side of its thread: carries out requests in order, waits for the device, answers.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::adapters::Adapter;
use super::buffers::{Pool, Slot};
use super::error::GpuError;
use super::fault::{Fault, Faults};
use super::pipelines::Pipelines;
use super::thread::{BufferId, DispatchRequest, Health, Reply, Request, TaskState, lock};

/// How long the thread waits for the device before it looks for new requests.
const WAIT: Duration = Duration::from_millis(1);

/// The device and what belongs to it.
pub(super) struct Worker {
    device: wgpu::Device,
    queue: wgpu::Queue,
    health: Arc<Health>,
    inbox: Receiver<Request>,
    free_slots: Sender<Slot>,
    /// The first error that the library reported outside of a result.
    reported: Report,
    /// The loss of the device, once the library told of it.
    lost: Report,
    pipelines: Pipelines,
    buffers: HashMap<BufferId, wgpu::Buffer>,
    storage: Pool,
    landing: Pool,
    reads: HashMap<u64, Read>,
    mapped: Sender<Mapped>,
    arrived: Receiver<Mapped>,
    n_reads: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    last_progress: Instant,
    faults: Faults,
    n_dispatches: u64,
    is_stalled: bool,
}

/// The first error that a callback was told.
type Report = Arc<Mutex<Option<GpuError>>>;

/// Number of a read-back, and whether its bytes may be read.
type Mapped = (u64, bool);

/// A read-back that is under way.
struct Read {
    landing: wgpu::Buffer,
    n_bytes: u64,
    reply: Reply,
    task: Arc<TaskState>,
}

impl Worker {
    /// Opens a device with the adapter's own limits and no feature beyond the base.
    pub(super) fn open(
        adapter: &Adapter,
        health: Arc<Health>,
        inbox: Receiver<Request>,
        free_slots: Sender<Slot>,
        budget_bytes: u64,
    ) -> Result<Self, GpuError> {
        let descriptor =
            wgpu::DeviceDescriptor { label: Some("gristmill"), required_limits: adapter.handle.limits(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.handle.request_device(&descriptor))
            .map_err(|e| GpuError::Refused { what: "the device".to_owned(), message: e.to_string() })?;
        let (reported, lost) = (Report::default(), Report::default());
        report_errors(&device, &reported);
        report_loss(&device, &lost);
        let (mapped, arrived) = channel();
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let landing = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            // Software drivers serve tests, and tests check every access.
            pipelines: Pipelines::new(device.clone(), !adapter.is_cpu()),
            device,
            queue,
            health,
            inbox,
            free_slots,
            reported,
            lost,
            buffers: HashMap::new(),
            storage: Pool::new("storage", storage, budget_bytes),
            landing: Pool::new("landing", landing, budget_bytes),
            reads: HashMap::new(),
            mapped,
            arrived,
            n_reads: 0,
            in_flight: VecDeque::new(),
            last_progress: Instant::now(),
            faults: Faults::default(),
            n_dispatches: 0,
            is_stalled: false,
        })
    }

    pub(super) fn limits(&self) -> wgpu::Limits {
        self.device.limits()
    }

    /// Serves until told to quit; an error is the end of the device.
    pub(super) fn serve(mut self) -> Result<(), GpuError> {
        loop {
            self.health.beat();
            let outcome = match self.next_request() {
                Some(Request::Quit) => return Ok(()),
                Some(request) => self.carry_out(request),
                None => self.wait(),
            };
            outcome.and_then(|()| self.finish_reads()).map_err(|error| self.cause(error))?;
        }
    }

    /// Returns the loss of the device if that is what stands behind an error.
    fn cause(&self, error: GpuError) -> GpuError {
        // A loss is told at a poll, and the first sign of it is often a buffer that has become invalid. If the poll
        // panics, that is no news.
        let _ = catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::Poll)));
        lock(&self.lost).clone().unwrap_or(error)
    }

    /// Returns the next request; none while the device is at work and nobody asks for more.
    fn next_request(&self) -> Option<Request> {
        if self.in_flight.is_empty() && !self.is_stalled {
            // All senders are gone when the owner is: that means quit.
            return Some(self.inbox.recv().unwrap_or(Request::Quit));
        }
        match self.inbox.try_recv() {
            Ok(request) => Some(request),
            Err(TryRecvError::Disconnected) => Some(Request::Quit),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Waits a moment for the oldest submission.
    fn wait(&mut self) -> Result<(), GpuError> {
        if self.is_stalled {
            std::thread::sleep(WAIT);
            return self.check_progress();
        }
        let wait = wgpu::PollType::Wait { submission_index: self.in_flight.front().cloned(), timeout: Some(WAIT) };
        match self.device.poll(wait) {
            Ok(_) => {
                self.in_flight.pop_front();
                self.last_progress = Instant::now();
            }
            Err(wgpu::PollError::Timeout) => self.check_progress()?,
            Err(error) => return Err(GpuError::Lost(first_lines(&error.to_string()))),
        }
        self.take_report(None)
    }

    fn check_progress(&self) -> Result<(), GpuError> {
        let patience = self.health.patience();
        if self.last_progress.elapsed() > patience { Err(GpuError::Hang(patience)) } else { Ok(()) }
    }

    fn carry_out(&mut self, request: Request) -> Result<(), GpuError> {
        let task = match request {
            Request::Create { id, bytes, task } => {
                let buffer = self.storage.take(&self.device, bytes);
                self.take_report(Some(&task))?;
                // A buffer for which there was no memory must not come back from the pool.
                if task.check().is_ok() {
                    self.buffers.insert(id, buffer);
                } else {
                    self.storage.forget(&buffer);
                }
                Some(task)
            }
            Request::Release { id } => {
                self.buffers.remove(&id).into_iter().for_each(|buffer| self.storage.give(buffer));
                None
            }
            Request::MakeSlot => {
                // A caller that no longer waits has failed for another reason.
                let _ = self.free_slots.send(Slot::new(&self.device));
                None
            }
            Request::Copy { slot, bytes, to, at, task } => {
                self.copy(slot, bytes, to, at, &task);
                Some(task)
            }
            Request::Dispatch(dispatch) => {
                self.dispatch(&dispatch)?;
                Some(dispatch.task)
            }
            Request::Read { from, n_words, reply, task } => {
                self.read(from, n_words, reply, &task);
                Some(task)
            }
            Request::Inject(faults) => {
                self.health.set_patience(faults.patience_or(self.health.patience()));
                self.faults = faults;
                self.n_dispatches = 0;
                None
            }
            Request::Destroy => {
                self.device.destroy();
                None
            }
            Request::Quit => None,
        };
        self.take_report(task.as_deref())
    }

    fn copy(&mut self, slot: Slot, bytes: u64, to: BufferId, at: u64, task: &TaskState) {
        slot.buffer.unmap();
        if let Some(buffer) = self.buffers.get(&to).filter(|_| task.check().is_ok()) {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&slot.buffer, 0, buffer, at, bytes);
            self.submit(encoder);
        }
        let (free_slots, buffer) = (self.free_slots.clone(), slot.buffer.clone());
        buffer.map_async(wgpu::MapMode::Write, .., move |outcome| {
            if outcome.is_ok() {
                // The owner may be gone, and the slot with it.
                let _ = free_slots.send(slot);
            }
        });
        // Mapping what no submission uses completes at the next poll, so that there has to be one.
        if self.in_flight.is_empty() {
            let encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.submit(encoder);
        }
    }

    fn dispatch(&mut self, request: &DispatchRequest) -> Result<(), GpuError> {
        let n = self.n_dispatches;
        self.n_dispatches += 1;
        if let Some(fault) = self.faults.due(n) {
            self.suffer(fault, request)?;
        }
        if self.is_stalled || request.task.check().is_err() {
            return Ok(());
        }
        let pipeline = self.pipelines.get(request.contract.shader, request.variant);
        let Some(buffers) = request.buffers.iter().map(|id| self.buffers.get(id)).collect::<Option<Vec<_>>>() else {
            request.task.fail(GpuError::OutOfMemory("a buffer was not made".to_owned()));
            return Ok(());
        };
        let params = self.uniform(&request.params)?;
        let entries: Vec<_> = std::iter::once(&params)
            .chain(buffers)
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(request.groups[0], request.groups[1], 1);
        }
        self.submit(encoder);
        Ok(())
    }

    /// Lets an injected fault happen where the real one would show.
    fn suffer(&mut self, fault: Fault, request: &DispatchRequest) -> Result<(), GpuError> {
        match fault {
            Fault::Lost => return Err(GpuError::Lost("as a test asked".to_owned())),
            Fault::OutOfMemory => request.task.fail(GpuError::OutOfMemory("as a test asked".to_owned())),
            Fault::Pipeline => {
                return Err(GpuError::Refused { what: request.contract.shader.name.to_owned(), message: "as a test asked".to_owned() });
            }
            Fault::Hang => {
                self.is_stalled = true;
                self.last_progress = Instant::now();
            }
            Fault::Stuck => std::thread::sleep(self.health.patience() * 4),
            Fault::Map | Fault::WrongBits | Fault::FewWrongBits(_) => *lock(&request.task.spoils) = Some(fault),
            Fault::Panic => std::panic::resume_unwind(Box::new("as a test asked")),
        }
        Ok(())
    }

    fn uniform(&self, bytes: &[u8]) -> Result<wgpu::Buffer, GpuError> {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        let mut view = buffer.get_mapped_range_mut(..).map_err(|e| GpuError::Lost(first_lines(&e.to_string())))?;
        view.copy_from_slice(bytes);
        drop(view);
        buffer.unmap();
        Ok(buffer)
    }

    fn read(&mut self, from: BufferId, n_words: u64, reply: Reply, task: &Arc<TaskState>) {
        let buffer = match (task.check(), self.buffers.get(&from)) {
            (Ok(()), Some(buffer)) => buffer,
            (outcome, _) => {
                let error = outcome.err().unwrap_or_else(|| GpuError::OutOfMemory("a buffer was not made".to_owned()));
                // The caller may have given up waiting.
                let _ = reply.send(Err(error));
                return;
            }
        };
        let n_bytes = n_words * 4;
        let landing = self.landing.take(&self.device, n_bytes);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &landing, 0, n_bytes);
        self.submit(encoder);
        let id = self.n_reads;
        self.n_reads += 1;
        let mapped = self.mapped.clone();
        landing.map_async(wgpu::MapMode::Read, ..n_bytes, move |outcome| {
            // The receiver lives as long as the thread that polls.
            let _ = mapped.send((id, outcome.is_ok()));
        });
        self.reads.insert(id, Read { landing, n_bytes, reply, task: Arc::clone(task) });
    }

    /// Answers the callers whose bytes have arrived.
    fn finish_reads(&mut self) -> Result<(), GpuError> {
        while let Ok((id, is_mapped)) = self.arrived.try_recv() {
            let Some(read) = self.reads.remove(&id) else { continue };
            let spoils = *lock(&read.task.spoils);
            let is_mapped = is_mapped && spoils != Some(Fault::Map);
            if let (false, Err(error)) = (is_mapped, read.task.check()) {
                // There was no memory for the copy. The caller may have given up waiting.
                let _ = read.reply.send(Err(error));
                continue;
            }
            if !is_mapped {
                self.take_report(None)?;
                return Err(GpuError::Lost("the result cannot be read".to_owned()));
            }
            let view = read.landing.get_mapped_range(..read.n_bytes).map_err(|e| GpuError::Lost(first_lines(&e.to_string())))?;
            let words = view.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes));
            let words = match spoils {
                Some(fault) => (0..).zip(words).map(|(at, word)| fault.spoiled(at, word)).collect(),
                None => words.collect(),
            };
            drop(view);
            read.landing.unmap();
            self.landing.give(read.landing);
            // The caller may have given up waiting.
            let _ = read.reply.send(Ok(words));
        }
        Ok(())
    }

    fn submit(&mut self, encoder: wgpu::CommandEncoder) {
        if self.in_flight.is_empty() {
            self.last_progress = Instant::now();
        }
        self.in_flight.push_back(self.queue.submit([encoder.finish()]));
    }

    /// Hands an error that the library reported to whom it belongs: lack of memory to the task, the rest to the device.
    fn take_report(&self, task: Option<&TaskState>) -> Result<(), GpuError> {
        if let Some(loss) = lock(&self.lost).clone() {
            return Err(loss);
        }
        match (lock(&self.reported).take(), task) {
            (Some(error @ GpuError::OutOfMemory(_)), Some(task)) => {
                task.fail(error);
                Ok(())
            }
            (Some(error), _) => Err(error),
            (None, _) => Ok(()),
        }
    }
}

/// Has errors written down that the library would otherwise panic with.
fn report_errors(device: &wgpu::Device, reported: &Report) {
    let reported = Arc::clone(reported);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        let error = match error {
            wgpu::Error::OutOfMemory { source } => GpuError::OutOfMemory(first_lines(&source.to_string())),
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                GpuError::Refused { what: "a command".to_owned(), message: first_lines(&description) }
            }
        };
        lock(&reported).get_or_insert(error);
    }));
}

/// Has the loss of the device written down.
fn report_loss(device: &wgpu::Device, lost: &Report) {
    let lost = Arc::clone(lost);
    device.set_device_lost_callback(move |reason, message| {
        let reason = match reason {
            wgpu::DeviceLostReason::Destroyed => "it was destroyed",
            wgpu::DeviceLostReason::Unknown => "the driver gave no reason",
        };
        let message = first_lines(&message);
        lock(&lost).get_or_insert(GpuError::Lost(if message.is_empty() { reason.to_owned() } else { message }));
    });
}

/// Returns the start of a message of many lines on one line.
fn first_lines(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join("; ")
}
