//! Memory of the device: staging slots that the host writes, pooled storage, and the budget both keep to.
//!
//! Staging slots stay mapped while the host owns them: a kernel's input is written straight into memory that the device
//! copies from. There are few of them, so that whoever produces faster than the device consumes has to wait.
//!
//! Storage is pooled, because a fresh buffer is zeroed before its first use. Drivers report too little memory in too
//! many ways (a refusal, a lost device, a killed process), so that we keep to a budget of our own.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::error::GpuError;

/// Bytes of one staging slot.
pub(super) const SLOT_BYTES: u64 = 16 << 20;
/// Staging slots of a device: one that is filled, one that waits and one that is copied, for two callers.
pub(super) const N_SLOTS: usize = 6;

/// Memory that the host writes and the device copies from.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) buffer: wgpu::Buffer,
}

impl Slot {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        Self {
            buffer: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: SLOT_BYTES,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            }),
        }
    }
}

/// A slot that is being filled from its start.
#[derive(Debug)]
pub(super) struct Filling {
    slot: Slot,
    view: wgpu::BufferViewMut,
    used_bytes: usize,
}

impl Filling {
    pub(super) fn new(slot: Slot) -> Result<Self, GpuError> {
        let view = slot.buffer.get_mapped_range_mut(..).map_err(|e| GpuError::Lost(format!("staging memory is not mapped: {e}")))?;
        Ok(Self { slot, view, used_bytes: 0 })
    }

    pub(super) fn free_bytes(&self) -> usize {
        self.view.len() - self.used_bytes
    }

    /// Appends bytes, of which there are no more than [`Self::free_bytes`].
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.view.slice(self.used_bytes..self.used_bytes + bytes.len()).copy_from_slice(bytes);
        self.used_bytes += bytes.len();
    }

    /// Appends zeros, no more than [`Self::free_bytes`].
    pub(super) fn put_zeros(&mut self, n_bytes: usize) {
        self.view.slice(self.used_bytes..self.used_bytes + n_bytes).fill(0);
        self.used_bytes += n_bytes;
    }

    /// Returns the slot and the number of bytes that were put.
    pub(super) fn finish(self) -> (Slot, u64) {
        // The view has to go before the slot may be handed to the device.
        drop(self.view);
        (self.slot, self.used_bytes as u64)
    }
}

/// Buffers of one use that wait for their next user.
#[derive(Debug)]
pub(super) struct Pool {
    label: &'static str,
    usage: wgpu::BufferUsages,
    free: Vec<wgpu::Buffer>,
    /// Bytes of all buffers of the pool, in use or free.
    held_bytes: u64,
    budget_bytes: u64,
}

impl Pool {
    pub(super) const fn new(label: &'static str, usage: wgpu::BufferUsages, budget_bytes: u64) -> Self {
        Self { label, usage, free: Vec::new(), held_bytes: 0, budget_bytes }
    }

    /// Returns a buffer of at least `bytes`; its content is that of its last user.
    pub(super) fn take(&mut self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let fits = |buffer: &wgpu::Buffer| (bytes..=bytes.saturating_mul(2)).contains(&buffer.size());
        let best = (0..self.free.len()).filter(|&i| fits(&self.free[i])).min_by_key(|&i| self.free[i].size());
        if let Some(best) = best {
            return self.free.swap_remove(best);
        }
        if self.held_bytes + bytes > self.budget_bytes {
            self.held_bytes -= self.free.drain(..).map(|buffer| buffer.size()).sum::<u64>();
        }
        self.held_bytes += bytes;
        device.create_buffer(&wgpu::BufferDescriptor { label: Some(self.label), size: bytes, usage: self.usage, mapped_at_creation: false })
    }

    /// Strikes out a buffer that will not come back.
    pub(super) fn forget(&mut self, buffer: &wgpu::Buffer) {
        self.held_bytes -= buffer.size();
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: wgpu::Buffer) {
        self.free.push(buffer);
    }
}

/// Bytes of device memory that tasks may hold at once.
#[derive(Debug)]
pub(super) struct Budget {
    total_bytes: u64,
    used_bytes: Mutex<u64>,
    freed: Condvar,
}

impl Budget {
    pub(super) const fn new(total_bytes: u64) -> Self {
        Self { total_bytes, used_bytes: Mutex::new(0), freed: Condvar::new() }
    }

    pub(super) const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Waits until `bytes` are free and takes them; `check` is asked again and again whether to go on waiting.
    pub(super) fn reserve(&self, bytes: u64, check: impl Fn() -> Result<(), GpuError>) -> Result<Reservation<'_>, GpuError> {
        if bytes > self.total_bytes {
            return Err(GpuError::TooLarge(format!("{bytes} bytes are needed, the budget is {}", self.total_bytes)));
        }
        let mut used = self.used_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        while *used + bytes > self.total_bytes {
            check()?;
            used = self.freed.wait_timeout(used, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        Ok(Reservation { budget: self, bytes })
    }
}

/// Bytes taken from a budget until dropped.
#[derive(Debug)]
pub(super) struct Reservation<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *self.budget.used_bytes.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, GpuError};

    #[test]
    fn more_than_the_budget_is_refused_and_not_waited_for() {
        let budget = Budget::new(100);
        assert!(matches!(budget.reserve(101, || Ok(())), Err(GpuError::TooLarge(_))));
    }

    #[test]
    fn a_full_budget_waits_until_bytes_come_back() {
        let budget = Budget::new(100);
        let first = budget.reserve(80, || Ok(())).expect("the budget is empty");
        let gone = budget.reserve(30, || Err(GpuError::Lost("gone".to_owned())));
        assert!(matches!(gone, Err(GpuError::Lost(_))));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.reserve(30, || Ok(())).is_ok());
            drop(first);
            assert!(waiting.join().expect("no panic"));
        });
    }
}
