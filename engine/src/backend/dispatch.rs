//! A task: what one kernel call does on the device, from upload to checked bytes.
//!
//! Requests go to the device's thread in order and are not waited for; the first error is kept and comes out at the
//! read-back, which is the only step that waits. Every limit of the device is looked at here, before a request leaves.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use bytemuck::Pod;
use gristmill_shaders::Variant;

use super::buffers::{Filling, Reservation};
use super::contract::Contract;
use super::error::GpuError;
use super::gpu::Gpu;
use super::thread::{BufferId, DispatchRequest, Request, TaskState};

/// Loop trips of one invocation, all loops together; Mesa 22.3 ends them after 65,535.
pub(crate) const MAX_TRIPS: u64 = 60_000;
/// Workgroups along one dimension of a grid.
const MAX_GROUPS: u64 = 65_535;

/// One kernel call on a device.
#[derive(Debug)]
pub(crate) struct Task<'g> {
    gpu: &'g Gpu,
    state: Arc<TaskState>,
    _reserved: Reservation<'g>,
    reserved_bytes: u64,
    made_bytes: Cell<u64>,
}

/// A storage buffer of a task; it goes back to the pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    id: BufferId,
    bytes: u64,
    requests: Sender<Request>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // A thread that has ended has no pool to give back to.
        let _ = self.requests.send(Request::Release { id: self.id });
    }
}

/// One run of a shader.
#[derive(Debug)]
pub(crate) struct Dispatch<'a, P> {
    pub(crate) contract: &'static Contract,
    pub(crate) variant: &'static Variant,
    pub(crate) params: &'a P,
    /// Storage buffers in the order of the contract.
    pub(crate) buffers: &'a [&'a Buffer],
    pub(crate) n_groups: u64,
    /// Loop trips of the busiest invocation.
    pub(crate) n_trips: u64,
}

impl<'g> Task<'g> {
    /// Waits for `bytes` of the device's memory and takes them.
    pub(super) fn new(gpu: &'g Gpu, bytes: u64) -> Result<Self, GpuError> {
        let reserved = gpu.budget().reserve(bytes, || gpu.thread().health().check())?;
        Ok(Self { gpu, state: Arc::default(), _reserved: reserved, reserved_bytes: bytes, made_bytes: Cell::new(0) })
    }

    /// Makes a buffer out of the task's memory; what it holds is undefined.
    pub(crate) fn buffer(&self, bytes: u64) -> Result<Buffer, GpuError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let limit = self.gpu.max_binding_bytes();
        if bytes > limit {
            return Err(GpuError::TooLarge(format!("a buffer of {bytes} bytes is needed, the device binds {limit}")));
        }
        self.made_bytes.set(self.made_bytes.get() + bytes);
        debug_assert!(self.made_bytes.get() <= self.reserved_bytes, "a task makes no more than it reserved");
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        // A binding of no bytes is refused.
        self.gpu.thread().send(Request::Create { id, bytes: bytes.max(4).next_multiple_of(4), task: Arc::clone(&self.state) })?;
        Ok(Buffer { id, bytes, requests: self.gpu.thread().sender() })
    }

    /// Starts to write a buffer from its first byte.
    pub(crate) fn upload<'t>(&'t self, to: &'t Buffer) -> Upload<'t, 'g> {
        Upload { task: self, to, at: 0, filling: None }
    }

    /// Asks for a run of a shader.
    pub(crate) fn dispatch<P: Pod>(&self, dispatch: &Dispatch<'_, P>) -> Result<(), GpuError> {
        let contract = dispatch.contract;
        assert_eq!(dispatch.buffers.len(), contract.buffers.len(), "`{}` binds every buffer of its contract", contract.shader.name);
        assert_eq!(size_of::<P>(), contract.params_bytes, "`{}` takes the parameters of its contract", contract.shader.name);
        if dispatch.n_trips > MAX_TRIPS {
            return Err(GpuError::TooLarge(format!("{} loop trips are needed, {MAX_TRIPS} are safe", dispatch.n_trips)));
        }
        self.gpu.thread().send(Request::Dispatch(DispatchRequest {
            contract,
            variant: dispatch.variant,
            params: bytemuck::bytes_of(dispatch.params).to_vec(),
            buffers: dispatch.buffers.iter().map(|buffer| buffer.id).collect(),
            groups: grid(dispatch.n_groups)?,
            task: Arc::clone(&self.state),
        }))
    }

    /// Waits for everything asked for so far and returns the first `n_words` of a buffer.
    pub(crate) fn read(&self, from: &Buffer, n_words: u64) -> Result<Vec<u32>, GpuError> {
        assert!(n_words * 4 <= from.bytes, "a read ends within its buffer");
        if n_words == 0 {
            return self.state.check().map(|()| Vec::new());
        }
        let (reply, answer) = channel();
        self.gpu.thread().send(Request::Read { from: from.id, n_words, reply, task: Arc::clone(&self.state) })?;
        self.gpu.thread().wait(&answer)?
    }
}

/// Writes a buffer front to back through staging slots.
#[derive(Debug)]
pub(crate) struct Upload<'t, 'g> {
    task: &'t Task<'g>,
    to: &'t Buffer,
    at: u64,
    filling: Option<Filling>,
}

impl Upload<'_, '_> {
    /// Appends values.
    pub(crate) fn put<T: Pod>(&mut self, values: &[T]) -> Result<(), GpuError> {
        let mut bytes: &[u8] = bytemuck::cast_slice(values);
        while !bytes.is_empty() {
            let filling = self.room()?;
            let (now, later) = bytes.split_at(bytes.len().min(filling.free_bytes()));
            filling.put(now);
            bytes = later;
        }
        Ok(())
    }

    /// Appends `n` zeros.
    pub(crate) fn put_zeros(&mut self, n: usize) -> Result<(), GpuError> {
        let mut n_bytes = n * 4;
        while n_bytes > 0 {
            let filling = self.room()?;
            let now = n_bytes.min(filling.free_bytes());
            filling.put_zeros(now);
            n_bytes -= now;
        }
        Ok(())
    }

    /// Hands the last bytes to the device.
    pub(crate) fn finish(mut self) -> Result<(), GpuError> {
        self.flush()
    }

    /// Returns a slot with room in it.
    fn room(&mut self) -> Result<&mut Filling, GpuError> {
        if self.filling.as_ref().is_some_and(|filling| filling.free_bytes() == 0) {
            self.flush()?;
        }
        if self.filling.is_none() {
            self.task.state.check()?;
            self.filling = Some(Filling::new(self.task.gpu.thread().slot()?)?);
        }
        Ok(self.filling.as_mut().expect("a slot was just put there"))
    }

    fn flush(&mut self) -> Result<(), GpuError> {
        let Some(filling) = self.filling.take() else { return Ok(()) };
        let (slot, bytes) = filling.finish();
        let at = self.at;
        self.at += bytes;
        assert!(self.at <= self.to.bytes, "an upload ends within its buffer");
        self.task.gpu.thread().send(Request::Copy { slot, bytes, to: self.to.id, at, task: Arc::clone(&self.task.state) })
    }
}

/// Returns a number as a shader takes it.
///
/// # Panics
/// When it does not fit, which no buffer of a device does either.
pub(crate) fn word(n: usize) -> u32 {
    u32::try_from(n).expect("what a device holds is counted in u32")
}

/// Lays `n_groups` out over two dimensions; the shader flattens them and leaves the surplus out.
fn grid(n_groups: u64) -> Result<[u32; 2], GpuError> {
    let x = n_groups.clamp(1, MAX_GROUPS);
    let y = n_groups.div_ceil(x).max(1);
    if y > MAX_GROUPS {
        return Err(GpuError::TooLarge(format!("{n_groups} workgroups are needed, {} fit a grid", MAX_GROUPS * MAX_GROUPS)));
    }
    Ok([x as u32, y as u32])
}

#[cfg(test)]
mod tests {
    use super::{MAX_GROUPS, grid};

    #[test]
    fn a_grid_holds_every_group_within_the_limit() {
        for n in [1, 2, MAX_GROUPS - 1, MAX_GROUPS, MAX_GROUPS + 1, 3 * MAX_GROUPS + 7, MAX_GROUPS * MAX_GROUPS] {
            let [x, y] = grid(n).expect("it fits");
            assert!(u64::from(x) * u64::from(y) >= n && u64::from(x) <= MAX_GROUPS && u64::from(y) <= MAX_GROUPS, "{n}");
        }
        assert!(grid(MAX_GROUPS * MAX_GROUPS + 1).is_err());
    }
}
