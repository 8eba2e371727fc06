//! A few rows that stand for a segment.
//!
//! ```text
//! medoid      the row with the least sum of distances to the others
//! second      the row that, beside the medoid, leaves the least sum of distances to the nearer of the two
//! border      the row with the smallest margin
//! criticism   the row farthest from both medoid and second: what the two do not tell
//! contrast    the row of another segment nearest to the border
//! ```
//!
//! Medoid and second are looked for among at most `MOST` rows of the segment, the contrast among at most [`SAMPLE`] of all, drawn at random.
//!
//! Source   prototypes and criticisms: Kim, Khanna, Koyejo 2016; the two prototypes are the first steps of PAM (Kaufman, Rousseeuw 1990).

use rayon::prelude::*;

use super::points::Points;
use super::{Place, SAMPLE, stability};

/// Rows of a segment that medoids are looked for among.
const MOST: usize = 400;

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The middle of its segment.
    Medoid,
    /// What the medoid leaves out.
    Second,
    /// Nearly in another segment.
    Border,
    /// Unlike medoid and second.
    Criticism,
    /// Of another segment, nearest to the border.
    Contrast,
}

impl Role {
    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Medoid => "medoid",
            Self::Second => "second",
            Self::Border => "border",
            Self::Criticism => "criticism",
            Self::Contrast => "contrast",
        }
    }
}

/// A row that stands for a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Position of the segment.
    pub segment: usize,
    /// What it stands for.
    pub role: Role,
    /// The row.
    pub row: usize,
    /// Distance from the medoid, in scaled units; of a contrast from the border.
    pub distance: f64,
}

/// Returns the rows that stand for segments, segment by segment.
pub(super) fn exemplars(points: &Points, places: &[Place], n_segments: usize, seed: u64) -> Vec<Exemplar> {
    let mut of_segments: Vec<Vec<usize>> = vec![Vec::new(); n_segments];
    for (at, place) in places.iter().enumerate() {
        if let Some(segment) = place.segment {
            of_segments[segment as usize].push(at);
        }
    }
    let all = stability::sample(places.len(), SAMPLE, seed);
    let of_segment = |(segment, own): (usize, &Vec<usize>)| of_segment(points, (places, &all), segment, own, seed);
    of_segments.par_iter().enumerate().flat_map_iter(of_segment).collect()
}

fn apart(points: &Points, a: usize, b: usize) -> f64 {
    let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)) * (f64::from(*x) - f64::from(*y));
    libm::sqrt(points.point(a).iter().zip(points.point(b)).map(square).sum())
}

/// Returns the first of those with the least value.
fn least(of: impl Iterator<Item = usize>, value: impl Fn(usize) -> f64) -> Option<usize> {
    let best = of.map(|at| (value(at), at)).reduce(|best, other| if other.0 < best.0 { other } else { best });
    best.map(|(_, at)| at)
}

fn of_segment(points: &Points, (places, all): (&[Place], &[usize]), segment: usize, own: &[usize], seed: u64) -> Vec<Exemplar> {
    let drawn: Vec<usize> = stability::sample(own.len(), MOST, seed).into_iter().map(|at| own[at]).collect();
    let to_all = |at: usize| drawn.iter().map(|&other| apart(points, at, other)).sum::<f64>();
    let Some(medoid) = least(drawn.iter().copied(), to_all) else { return Vec::new() };
    let to_medoid: Vec<f64> = drawn.iter().map(|&at| apart(points, at, medoid)).collect();
    let to_nearer = |at: usize| drawn.iter().zip(&to_medoid).map(|(&other, held)| apart(points, at, other).min(*held)).sum::<f64>();
    let second = least(drawn.iter().copied().filter(|at| *at != medoid), to_nearer);
    let border = least(own.iter().copied().filter(|at| places[*at].margin.is_some()), |at| places[at].margin.unwrap_or_default());
    let from_both = |at: usize| {
        let from_second = second.map_or(f64::INFINITY, |second| apart(points, at, second));
        -apart(points, at, medoid).min(from_second)
    };
    let criticism = least(own.iter().copied().filter(|at| *at != medoid && Some(*at) != second), from_both);
    let others = all.iter().copied().filter(|at| places[*at].segment.is_some_and(|other| other as usize != segment));
    let contrast = border.and_then(|border| least(others, |at| apart(points, at, border)));
    let exemplar = |role: Role, at: Option<usize>, from: usize| {
        at.map(|at| Exemplar { segment, role, row: places[at].row, distance: apart(points, at, from) })
    };
    let all = [
        exemplar(Role::Medoid, Some(medoid), medoid),
        exemplar(Role::Second, second, medoid),
        exemplar(Role::Border, border, medoid),
        exemplar(Role::Criticism, criticism, medoid),
        exemplar(Role::Contrast, contrast, border.unwrap_or(medoid)),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_are_those_of_the_hand() {
        let points = Points::new(vec![0.0, 1.0, 2.0, 3.0, 9.0, 20.0, 22.0], 1);
        let place = |(row, (segment, margin)): (usize, (u32, f64))| Place { margin: Some(margin), ..Place::of(row, Some(segment)) };
        let of = [(0, 9.0), (0, 8.0), (0, 7.0), (0, 6.0), (0, 1.0), (1, 2.0), (1, 3.0)];
        let places: Vec<Place> = of.into_iter().enumerate().map(place).collect();
        let found = exemplars(&points, &places, 2, 1);
        let of_first: Vec<(Role, usize, f64)> = found[..5].iter().map(|row| (row.role, row.row, row.distance)).collect();
        // Sums of distances: 15, 12, 11, 12, 30. Beside 2, 9 leaves 2 + 1 + 1, and 0 leaves 1 + 1 + 7.
        let due =
            [(Role::Medoid, 2, 0.0), (Role::Second, 4, 7.0), (Role::Border, 4, 7.0), (Role::Criticism, 0, 2.0), (Role::Contrast, 5, 11.0)];
        assert_eq!(of_first.len(), due.len());
        for (found, due) in of_first.iter().zip(due) {
            assert!((found.0, found.1) == (due.0, due.1) && (found.2 - due.2).abs() < 1e-12, "{found:?}, due {due:?}");
        }
    }
}
