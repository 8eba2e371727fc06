//! What a kernel costs, and whether a GPU would pay for it.
//!
//! The model is three numbers and no more, because it only has to be right by a factor of two: work is either
//! far too small for a GPU or far too large for a CPU. Start-up counts once a job, transfer counts in full.
//! The constants are what an H100 beside 16 threads came to (`benches/RESULTS.md`); a kernel that does worse than a product says so in its
//! own cost.

/// Seconds to find an adapter, open it and test it.
const START_SECONDS: f64 = 0.3;
/// Bytes a second between the memory of the host and that of the device, staging copy included.
const TRANSFER_BYTES: f64 = 6e9;
/// Floating-point operations a second of a GPU in our own kernels.
const GPU_FLOPS: f64 = 3e12;
/// Floating-point operations a second of one CPU thread in a well-kept f32 product.
const CPU_FLOPS: f64 = 60e9;
/// How much faster the GPU has to be before the trouble of a second device is worth it.
const MARGIN: f64 = 1.25;

/// The work of one kernel call, or of a whole job.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Floating-point operations on the device, or others that take as long; a multiply-add counts as two.
    pub flops: f64,
    /// The same on the CPU, which may know a shorter way.
    pub cpu_flops: f64,
    /// Bytes that go to the device.
    pub bytes_up: u64,
    /// Bytes that come back.
    pub bytes_down: u64,
}

impl Cost {
    /// Returns the seconds on `n_threads` CPU threads.
    #[must_use]
    pub fn cpu_seconds(&self, n_threads: usize) -> f64 {
        self.cpu_flops / (CPU_FLOPS * n_threads.max(1) as f64)
    }

    /// Returns the seconds on a GPU, with start-up unless the device `is_open`.
    #[must_use]
    pub fn gpu_seconds(&self, is_open: bool) -> f64 {
        let start = if is_open { 0.0 } else { START_SECONDS };
        // Staging overlaps with computing, the slower of the two is what one waits for.
        let transfer = (self.bytes_up as f64 + self.bytes_down as f64) / TRANSFER_BYTES;
        start + transfer.max(self.flops / GPU_FLOPS)
    }

    /// Returns whether a GPU would be clearly faster than `n_threads` CPU threads.
    #[must_use]
    pub fn gpu_pays(&self, is_open: bool, n_threads: usize) -> bool {
        self.gpu_seconds(is_open) * MARGIN < self.cpu_seconds(n_threads)
    }
}

#[cfg(test)]
mod tests {
    use super::Cost;

    fn gram(n_rows: f64, p: f64) -> Cost {
        Cost { flops: n_rows * p * p, cpu_flops: n_rows * p * p, bytes_up: (4.0 * n_rows * p) as u64, bytes_down: (4.0 * p * p) as u64 }
    }

    #[test]
    fn small_work_stays_on_the_cpu() {
        assert!(!gram(1e5, 50.0).gpu_pays(false, 2));
        assert!(!gram(1e6, 200.0).gpu_pays(false, 16));
    }

    #[test]
    fn large_work_goes_to_the_gpu() {
        assert!(gram(1e6, 2048.0).gpu_pays(false, 16));
        assert!(gram(1e5, 4096.0).gpu_pays(true, 8));
    }

    #[test]
    fn an_open_device_is_cheaper_than_a_closed_one() {
        let work = gram(1e5, 1024.0);
        assert!(work.gpu_seconds(true) < work.gpu_seconds(false));
    }
}
