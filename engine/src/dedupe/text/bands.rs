//! How many slots a signature has, and how they are cut into bands.
//!
//! ```text
//! P(a pair of similarity j has a band in common) = 1 - (1 - j^rows)^bands
//! ```
//!
//! Source   Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4; of a minimum, P(both sets have it) = j (Broder 1997).
//! Chosen   as many rows a band as SLOTS allow: of two choices that find as much at the threshold, the one with more rows meets fewer pairs
//!          that are far below it.

/// Slots of a signature, as many as others take by default.
const SLOTS: usize = 128;

/// Slots where that many would make bands of fewer than [`FEWEST_ROWS`].
const MOST_SLOTS: usize = 256;

/// Rows of a band below which texts that have little in common meet too often.
const FEWEST_ROWS: usize = 3;

/// Bands of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bands {
    /// Slots of a band.
    pub n_rows: usize,
    /// Bands.
    pub n_bands: usize,
}

impl Bands {
    /// Returns the bands that find a pair at the threshold with a probability of `recall` at the least; none where that takes more slots than
    /// are kept, or no number of them is enough.
    #[must_use]
    pub fn reaching(recall: f64, threshold: f64) -> Option<Self> {
        let of_rows = |n_rows: usize| {
            let n_bands = libm::log1p(-recall) / libm::log1p(-power(threshold, n_rows));
            // Rounding must not cost a band.
            let n_bands = (n_bands - 1e-9).ceil().max(1.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred at the most")]
            (n_bands * n_rows as f64 <= MOST_SLOTS as f64).then_some(Self { n_rows, n_bands: n_bands as usize })
        };
        // The more rows, the more slots.
        let all: Vec<Self> = (1..=MOST_SLOTS).map_while(of_rows).collect();
        let usual = all.iter().rev().find(|bands| bands.n_slots() <= SLOTS);
        usual.filter(|bands| bands.n_rows >= FEWEST_ROWS).or(all.iter().rev().find(|bands| bands.n_rows <= FEWEST_ROWS)).copied()
    }

    /// Returns the slots of all bands.
    #[must_use]
    pub const fn n_slots(&self) -> usize {
        self.n_rows * self.n_bands
    }

    /// Returns the probability that a pair of this similarity is found.
    #[must_use]
    pub fn found(&self, jaccard: f64) -> f64 {
        1.0 - power(1.0 - power(jaccard, self.n_rows), self.n_bands)
    }
}

/// Multiplies a number with itself, in one order on every machine.
fn power(x: f64, n: usize) -> f64 {
    (0..n).fold(1.0, |power, _| power * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_reach_the_recall_with_the_slots_there_are() {
        for percent in 5..=100 {
            for recall in [0.5, 0.9, 0.99, 0.999, 0.99999] {
                let threshold = f64::from(percent) / 100.0;
                let bands = Bands::reaching(recall, threshold).expect("256 slots are enough");
                assert!(bands.found(threshold) >= recall, "{bands:?} at {threshold}");
                assert!(bands.n_slots() <= MOST_SLOTS, "{bands:?} at {threshold}");
                let fewer = Bands { n_bands: bands.n_bands - 1, ..bands };
                assert!(bands.n_bands == 1 || fewer.found(threshold) < recall, "{bands:?} at {threshold}: one less would do");
            }
        }
        assert_eq!(Bands::reaching(0.999, 0.8), Some(Bands { n_rows: 5, n_bands: 18 }));
        assert_eq!(Bands::reaching(0.999, 0.5), Some(Bands { n_rows: 3, n_bands: 52 }));
        assert_eq!(Bands::reaching(1.0, 0.8), None);
        assert_eq!(Bands::reaching(0.999, 0.01), None);
    }

    #[test]
    fn what_is_found_is_what_tables_say() {
        // "Mining of Massive Datasets", figure 3.9: 20 bands of 5 rows.
        let bands = Bands { n_rows: 5, n_bands: 20 };
        for (jaccard, found) in [(0.2, 0.006), (0.3, 0.047), (0.4, 0.186), (0.5, 0.470), (0.6, 0.802), (0.7, 0.975), (0.8, 0.9996)] {
            assert!((bands.found(jaccard) - found).abs() < 6e-4, "{jaccard}: {}", bands.found(jaccard));
        }
    }
}
