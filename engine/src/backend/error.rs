//! What can go wrong with a device.
//!
//! A `GpuError` never fails a job: `Backend::run` does the work again on the CPU and notes the reason.
//! A `BackendError` does: the job asked for a device and there is none to use.

use std::time::Duration;

/// Why work on a device was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The driver or the system took the device away.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// The device, or our own budget for it, has no room.
    #[error("out of device memory: {0}")]
    OutOfMemory(String),
    /// A shader did not compile or the device refused a command.
    #[error("the device refused `{what}`: {message}")]
    Refused {
        /// The shader or the command.
        what: String,
        /// The driver's words.
        message: String,
    },
    /// No answer came in time.
    #[error("the device gave no answer within {:.1} s", .0.as_secs_f64())]
    Hang(Duration),
    /// The result failed its check.
    #[error("the result of `{kernel}` is wrong: {message}")]
    Wrong {
        /// Name of the kernel.
        kernel: &'static str,
        /// What was found and what was expected.
        message: String,
    },
    /// The library or the driver panicked.
    #[error("the device's driver panicked: {0}")]
    Panicked(String),
    /// The input does not fit the limits of this device.
    #[error("the work does not fit the device: {0}")]
    TooLarge(String),
}

impl GpuError {
    /// Returns whether the device must not be used again in this job.
    ///
    /// An input that is too large says nothing about the next one; everything else does.
    #[must_use]
    pub const fn condemns_device(&self) -> bool {
        !matches!(self, Self::TooLarge(_))
    }
}

/// Why no backend could be opened: the device that a job requires is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("place is `{asked}`, but {reason}")]
pub struct BackendError {
    /// The word of the spec.
    pub asked: &'static str,
    /// What was looked for and why it was not found.
    pub reason: String,
}

impl BackendError {
    /// Returns what the author of the spec can do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        "run `gristmill doctor` to see every adapter and why it is not used, or set `place = \"auto\"`"
    }
}
