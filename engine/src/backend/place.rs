//! Where work may run and where it ran.

use std::fmt;
use std::str::FromStr;

/// The place that a job asks for, the key `place` of its spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlaceChoice {
    /// The GPU where one is usable and pays, else the CPU.
    #[default]
    Auto,
    /// A GPU, or the job is refused.
    Gpu,
    /// The CPU; no device is looked for.
    Cpu,
    /// A Vulkan driver that runs on the CPU: for tests only.
    Software,
}

impl PlaceChoice {
    /// Every word that a spec may say.
    pub const WORDS: [&'static str; 4] = ["auto", "gpu", "cpu", "software"];

    /// Returns the device that tests run on: software Vulkan, or a GPU where `GRISTMILL_TEST_ON` is `gpu`.
    #[must_use]
    pub fn of_tests() -> Self {
        if std::env::var("GRISTMILL_TEST_ON").is_ok_and(|on| on == "gpu") { Self::Gpu } else { Self::Software }
    }

    /// Returns the word of the spec.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Software => "software",
        }
    }
}

impl FromStr for PlaceChoice {
    type Err = UnknownPlace;

    fn from_str(word: &str) -> Result<Self, UnknownPlace> {
        match word {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            "software" => Ok(Self::Software),
            _ => Err(UnknownPlace(word.to_owned())),
        }
    }
}

impl fmt::Display for PlaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place; places: auto, gpu, cpu")]
pub struct UnknownPlace(String);

/// The place where a kernel ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A GPU.
    Gpu,
    /// A Vulkan driver that runs on the CPU.
    Software,
    /// rayon threads on the CPU.
    Cpu,
}

impl Place {
    /// Returns the place of [`PlaceChoice::of_tests`].
    #[must_use]
    pub fn of_tests() -> Self {
        if PlaceChoice::of_tests() == PlaceChoice::Gpu { Self::Gpu } else { Self::Software }
    }

    /// Returns the word written into plans, manifests and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Software => "software",
            Self::Cpu => "cpu",
        }
    }

    /// Returns whether work there goes through a device.
    #[must_use]
    pub const fn is_device(self) -> bool {
        !matches!(self, Self::Cpu)
    }
}

impl FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(word: &str) -> Result<Self, UnknownPlace> {
        match word {
            "gpu" => Ok(Self::Gpu),
            "software" => Ok(Self::Software),
            "cpu" => Ok(Self::Cpu),
            _ => Err(UnknownPlace(word.to_owned())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, PlaceChoice};

    #[test]
    fn words_read_back_as_the_same_place() {
        for word in PlaceChoice::WORDS {
            assert_eq!(word.parse::<PlaceChoice>().map(PlaceChoice::as_str), Ok(word));
        }
        for place in [Place::Gpu, Place::Software, Place::Cpu] {
            assert_eq!(place.word().parse::<Place>(), Ok(place));
        }
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_choices() {
        let error = "cuda".parse::<PlaceChoice>().map_err(|e| e.to_string());
        assert_eq!(error, Err("`cuda` is no place; places: auto, gpu, cpu".to_owned()));
    }
}
