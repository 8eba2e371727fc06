//! How the silhouettes of a segment's rows are spread: what the silhouette plot shows.
//!
//! ```text
//! quantile(p) = s[h] + (h' - h) (s[h + 1] - s[h])      h' = (n - 1) p, h its whole part; s sorted, from s[0]
//! ```
//!
//! Shape    n silhouettes in; quantiles at 0, 0.05 .. 1 out, and the share below 0: rows nearer to another segment.
//! Source   Rousseeuw 1987 (silhouettes); Hyndman and Fan 1996 (type 7, the default of numpy and R).

/// Steps from the least silhouette to the largest.
const STEPS: usize = 20;

/// How the silhouettes of a segment's rows are spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Rows whose silhouettes they are.
    pub n: u64,
    /// Share of them below 0.
    pub below_zero: f64,
    /// Share of the rows up to a quantile, and the quantile: 0 is the least, 1 the largest.
    pub quantiles: Vec<(f64, f64)>,
}

impl Profile {
    /// Returns the profile of some silhouettes; none where there are none.
    #[allow(clippy::cast_precision_loss, reason = "rows of a sample")]
    pub(super) fn of(silhouettes: &[f64]) -> Option<Self> {
        let mut sorted = silhouettes.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        let quantile = |step: usize| {
            // The place is a whole number and twentieths, so that no rounding moves it.
            let (below, part) = ((n - 1) * step / STEPS, (n - 1) * step % STEPS);
            let above = sorted[(below + 1).min(n - 1)];
            (step as f64 / STEPS as f64, sorted[below] + (above - sorted[below]) * part as f64 / STEPS as f64)
        };
        (n > 0).then(|| Self {
            n: n as u64,
            below_zero: sorted.partition_point(|s| *s < 0.0) as f64 / n as f64,
            quantiles: (0..=STEPS).map(quantile).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::points::Points;
    use super::super::silhouette::silhouettes;
    use super::*;

    /// Rows, rows below 0, and quantiles at 0, 0.25, 0.5, 0.75 and 0.95 of three segments.
    const SKLEARN: [(u64, u64, [f64; 5]); 3] = [
        (16, 4, [-0.552185255509714, 0.005345420274006217, 0.296744178964077, 0.401597371336826, 0.45625114379769516]),
        (14, 3, [-0.23834517312620324, 0.022462550998811944, 0.27240060251990084, 0.3416759292742474, 0.3829803745473878]),
        (15, 3, [-0.346108317914014, 0.10544452013301059, 0.22917977775800488, 0.4099283892812965, 0.4459621584937282]),
    ];

    /// Says how far quantiles are from others.
    fn gap(found: &[(f64, f64)], due: impl Iterator<Item = f64>) -> f64 {
        found.iter().zip(due).map(|((_, found), due)| (found - due).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn quantiles_are_those_of_the_book_and_not_of_another() {
        let mut state = 3_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        for n in [1, 2, 3, 20, 21, 40, 1001] {
            let cells: Vec<f64> = (0..n).map(|_| next()).collect();
            let found = Profile::of(&cells).expect("there are some");
            // Hyndman and Fan: the place is n p + m, counted from 1, with m = 1 - p for type 7 and 0 for type 4.
            let of_type = |m: fn(f64) -> f64| {
                let mut sorted = cells.clone();
                sorted.sort_by(f64::total_cmp);
                let at = |place: f64| sorted[(place.max(1.0) as usize - 1).min(n - 1)];
                let quantile = move |step: u32| {
                    let p = f64::from(step) / 20.0;
                    // A place that is whole but for rounding is whole.
                    let place = ((n as f64 * p + m(p)) * 1e9).round() / 1e9;
                    let part = place - place.floor();
                    (1.0 - part) * at(place.floor()) + part * at(place.floor() + 1.0)
                };
                (0..=20).map(quantile).collect::<Vec<f64>>()
            };
            assert!(gap(&found.quantiles, of_type(|p| 1.0 - p).into_iter()) < 1e-12, "{n}: {found:?}");
            let wrong = of_type(|_| 0.0);
            assert!(n == 1 || gap(&found.quantiles, wrong.into_iter()) > 1e-4, "{n}: a wrong twin: type 4");
            let below = cells.iter().filter(|s| **s < 0.0).count();
            assert!((found.below_zero * n as f64 - below as f64).abs() < 1e-9 && found.n == n as u64);
        }
        assert_eq!(Profile::of(&[]), None);
    }

    #[test]
    fn profiles_are_those_of_scikit_learn() {
        let cell = |at: usize, times: usize, of: usize, step: f64| ((at * times) % of) as f64 / 20.0 + step * (at % 3) as f64;
        let cells = (0..45).flat_map(|at| [cell(at, 37, 101, 2.5) as f32, cell(at, 53, 97, -1.5) as f32]).collect();
        let place = |row: usize| Place::of(row, Some((if [4, 20].contains(&row) { row + 1 } else { row } % 3) as u32));
        let places: Vec<Place> = (0..45).map(place).collect();
        let found = silhouettes(&Points::new(cells, 2), &places, 3, 1);
        assert!((found.of_all.expect("there are rows") - 0.170_937_286_707_509_4).abs() < 1e-6);
        // scikit-learn 1.9: silhouette_samples of the same points in f32, then numpy's quantile.
        for (profile, (n, below, due)) in found.profiles.iter().zip(SKLEARN) {
            let profile = profile.as_ref().expect("it has rows");
            let some: Vec<(f64, f64)> = [0, 5, 10, 15, 19].iter().map(|&at| profile.quantiles[at]).collect();
            assert!(gap(&some, due.into_iter()) < 1e-6, "{some:?}");
            assert_eq!((profile.n, profile.below_zero.to_bits()), (n, (below as f64 / n as f64).to_bits()));
        }
        // A wrong twin: the two rows that were given to a neighbour are not.
        let right: Vec<Place> = places.iter().map(|place| Place { segment: Some((place.row % 3) as u32), ..*place }).collect();
        let cells = (0..45).flat_map(|at| [cell(at, 37, 101, 2.5) as f32, cell(at, 53, 97, -1.5) as f32]).collect();
        assert!(silhouettes(&Points::new(cells, 2), &right, 3, 1).profiles != found.profiles);
    }
}
