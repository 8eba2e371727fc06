//! What benches measure of a clustering: its kernels, which are no part of the library's face.

use super::assign::{Assign, AssignInput, Centres};
use super::points::Points;
use crate::backend::Backend;

/// Points and centres that look like standardized noise.
#[derive(Debug)]
pub struct Assignment {
    points: Points,
    centres: Centres,
}

impl Assignment {
    /// Makes `n` points of `d` columns and `k` centres, the same each time.
    #[must_use]
    pub fn of_noise(n: usize, d: usize, k: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut cell = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        };
        let centres = Centres::new((0..k * d).map(|_| cell()).collect(), d);
        #[allow(clippy::cast_possible_truncation, reason = "points are f32")]
        let points = Points::new((0..n * d).map(|_| cell() as f32).collect(), d);
        Self { points, centres }
    }

    /// Assigns all points and returns how many were settled in f64.
    #[must_use]
    pub fn run(&self, on: &Backend) -> u64 {
        on.run(&Assign, AssignInput { points: &self.points, centres: &self.centres }).output.n_settled
    }
}
