//! Faults that tests inject into an open device.
//!
//! A device that fails on command shows that a job survives one that fails by itself: what is injected here takes the
//! same way through the device's thread as the real event.

use std::time::Duration;

use super::selftest::mix;

/// Bit that is flipped in wrong words: the top one of a mantissa.
const FLIPPED: u32 = 0x0040_0000;

/// What goes wrong at one dispatch.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device is gone.
    Lost,
    /// There is no memory.
    OutOfMemory,
    /// The shader does not compile.
    Pipeline,
    /// The work is taken and never ends.
    Hang,
    /// The driver does not return from a call.
    Stuck,
    /// The result cannot be mapped into memory.
    Map,
    /// Every word of the result comes back with a flipped bit.
    WrongBits,
    /// One word of every hundred comes back with a flipped bit; the number says which.
    FewWrongBits(u32),
    /// The driver panics.
    Panic,
}

impl Fault {
    /// Returns word `at` of a result as it comes back.
    pub(super) const fn spoiled(self, at: u32, word: u32) -> u32 {
        let is_flipped = match self {
            Self::WrongBits => true,
            Self::FewWrongBits(seed) => mix(seed ^ mix(at / 100)) % 100 == at % 100,
            _ => false,
        };
        if is_flipped { word ^ FLIPPED } else { word }
    }
}

/// Faults by the number of the dispatch, counted from the end of the self-test.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct Faults {
    at: Vec<(u64, Fault)>,
    patience: Option<Duration>,
}

impl Faults {
    /// Injects `fault` at dispatch `n`.
    #[must_use]
    pub fn at(mut self, n: u64, fault: Fault) -> Self {
        self.at.push((n, fault));
        self
    }

    /// Takes a device that gives no sign for `patience` as hung.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    pub(super) fn due(&self, n: u64) -> Option<Fault> {
        self.at.iter().find(|(at, _)| *at == n).map(|(_, fault)| *fault)
    }

    pub(super) fn patience_or(&self, usual: Duration) -> Duration {
        self.patience.unwrap_or(usual)
    }
}
