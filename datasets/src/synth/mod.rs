//! Generators that return data together with the truth planted in it.
//!
//! Every cell is a pure function of (seed, what it is for, column, row): a counter-based generator stands behind it.
//! So any range of rows can be made on its own, in any order and on any number of threads, and a set larger than
//! memory is written batch by batch.

mod channels;
mod correlated;
mod hard;
mod normal;
mod people;
mod philox;

pub use channels::{CHANNELS, TOUCH_COLUMNS, Touch, touches};
pub use correlated::{CorrelatedOptions, FloatType, Planted, PlantedPair, SynthError, correlated};
pub use hard::{HARD_COLUMNS, HardSet, hard_sets};
pub use people::{PEOPLE_COLUMNS, Person, people};
pub use philox::philox4x32;
