//! All points in two dimensions: where segments lie beside one another.
//!
//! ```text
//! axes   first two principal components of the scaled columns (Pearson 1901), of at most [`SAMPLE`] points
//! cells  all points by place on both axes, in BINS x BINS cells and by segment
//! ```
//!
//! Points beyond the middle 99 % of an axis are counted in its outermost cells: a stray does not squeeze the rest.
//!
//! Numbers  f64 in the order of the points. Of two opposite directions an axis takes that in which its largest loading is above 0.
//! Cost     n d to place the points, s d^2 for the axes of s points.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::points::Points;
use super::{Place, SAMPLE, stability};

/// Cells along an axis.
const BINS: usize = 48;

/// Turns of the iteration after which the axes are taken as they are: they are looked at, not computed with.
const TURNS: usize = 500;

/// Multiply-adds that the axes may cost, by which the points of wide tables are fewer.
const WORK: usize = 2_000_000_000;

/// Share of the points left out at either end of an axis.
const STRAY: f64 = 0.005;

/// An axis of the map.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What a unit of every scaled column adds to the place on the axis; their squares add up to 1.
    pub loadings: Vec<f64>,
    /// Share of the variance of all columns that lies along it.
    pub share: f64,
}

/// Points of a segment in a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapCell {
    /// From and to along the first axis.
    pub x: [f64; 2],
    /// From and to along the second; both 0 where there is one column.
    pub y: [f64; 2],
    /// The segment; none for noise, and where there are no segments.
    pub segment: Option<u32>,
    /// Points.
    pub n: u64,
}

/// A map of points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// One axis or two.
    pub axes: Vec<Axis>,
    /// Cells with points, in order of place and segment.
    pub cells: Vec<MapCell>,
}

/// Draws the map of points with segments; of points without where `places` is empty.
#[allow(clippy::cast_precision_loss, reason = "a share of the points")]
pub(super) fn map(points: &Points, places: &[Place], seed: u64) -> Map {
    let d = points.d;
    let most = (WORK / (d * d).max(1)).clamp(200, SAMPLE);
    let drawn = stability::sample(points.n(), most, seed);
    let axes = axes(points, &drawn);
    let place = |axis: &Axis, at: usize| points.point(at).iter().zip(&axis.loadings).map(|(x, loading)| f64::from(*x) * loading).sum();
    let scales: Vec<Scale> = axes.iter().map(|axis| Scale::of(drawn.iter().map(|&at| place(axis, at)).collect())).collect();
    let key = |at: usize| {
        let bin = |axis: usize| axes.get(axis).map_or(0, |of| scales[axis].bin(place(of, at)));
        let segment = places.get(at).and_then(|place| place.segment);
        (bin(1), bin(0), segment.map_or(u32::MAX, |segment| segment))
    };
    let count = |mut counts: BTreeMap<(usize, usize, u32), u64>, at: usize| {
        *counts.entry(key(at)).or_default() += 1;
        counts
    };
    let add = |mut a: BTreeMap<_, u64>, b: BTreeMap<_, u64>| {
        for (key, n) in b {
            *a.entry(key).or_default() += n;
        }
        a
    };
    let counts = (0..points.n()).into_par_iter().with_min_len(65_536).fold(BTreeMap::new, count).reduce(BTreeMap::new, add);
    let cell = |((y, x, segment), n): ((usize, usize, u32), u64)| MapCell {
        x: scales[0].edges(x),
        y: scales.get(1).map_or([0.0; 2], |scale| scale.edges(y)),
        segment: (segment != u32::MAX).then_some(segment),
        n,
    };
    let cells = counts.into_iter().map(cell).collect();
    Map { axes, cells }
}

/// Where the cells of an axis lie.
struct Scale {
    from: f64,
    width: f64,
}

impl Scale {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among few points")]
    fn of(mut places: Vec<f64>) -> Self {
        places.sort_unstable_by(f64::total_cmp);
        let stray = (STRAY * places.len() as f64) as usize;
        let (from, to) = (places[stray], places[places.len() - 1 - stray]);
        let width = (to - from) / BINS as f64;
        Self { from, width: if width > 0.0 { width } else { 1.0 } }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "held within the bins")]
    fn bin(&self, place: f64) -> usize {
        ((place - self.from) / self.width).clamp(0.0, (BINS - 1) as f64) as usize
    }

    #[allow(clippy::cast_precision_loss, reason = "few bins")]
    fn edges(&self, bin: usize) -> [f64; 2] {
        [bin, bin + 1].map(|at| self.from + self.width * at as f64)
    }
}

/// Returns the first two principal components of some points, by orthogonal iteration on their covariances.
#[allow(clippy::cast_precision_loss, reason = "few points")]
fn axes(points: &Points, drawn: &[usize]) -> Vec<Axis> {
    let (d, n) = (points.d, drawn.len() as f64);
    let mut mean = vec![0.0; d];
    for &at in drawn {
        mean.iter_mut().zip(points.point(at)).for_each(|(sum, x)| *sum += f64::from(*x) / n);
    }
    let row = |row: usize| {
        let mut sums = vec![0.0; d];
        for &at in drawn {
            let point = points.point(at);
            let x = f64::from(point[row]) - mean[row];
            sums.iter_mut().zip(point).zip(&mean).for_each(|((sum, y), mean)| *sum += x * (f64::from(*y) - mean));
        }
        sums
    };
    let covariance: Vec<Vec<f64>> = (0..d).into_par_iter().map(row).collect();
    let total: f64 = (0..d).map(|at| covariance[at][at]).sum();
    // What rounding leaves of copies of one point is no variance.
    let total = if total <= 1e-24 * n * mean.iter().map(|x| x * x).sum::<f64>() { 0.0 } else { total };
    let mut found: Vec<Axis> = Vec::new();
    for axis in 0..d.min(2) {
        // A start with a part in every direction, another one for each axis.
        let mut loadings: Vec<f64> = (0..d).map(|at| 1.0 + 0.1 * ((at * 7 + axis * 3) % 11) as f64).collect();
        let mut length = 0.0;
        for _ in 0..TURNS {
            let before = loadings.clone();
            let product = |row: &Vec<f64>| row.iter().zip(&before).map(|(a, b)| a * b).sum::<f64>();
            loadings = covariance.iter().map(product).collect();
            for other in &found {
                let along: f64 = loadings.iter().zip(&other.loadings).map(|(a, b)| a * b).sum();
                loadings.iter_mut().zip(&other.loadings).for_each(|(a, b)| *a -= along * b);
            }
            length = libm::sqrt(loadings.iter().map(|x| x * x).sum());
            if length <= f64::EPSILON * total {
                break;
            }
            loadings = loadings.into_iter().map(|x| x / length).collect();
            let change: f64 = loadings.iter().zip(&before).map(|(a, b)| (a - b).abs()).sum();
            if change < 1e-12 {
                break;
            }
        }
        if length <= f64::EPSILON * total || total <= 0.0 {
            // Nothing varies in any further direction: the axis is the first column that is no other axis.
            loadings = (0..d).map(|at| f64::from(u8::from(at == axis))).collect();
            length = 0.0;
        }
        let largest = loadings.iter().copied().fold(0.0, |best: f64, x| if x.abs() > best.abs() + 1e-9 { x } else { best });
        if largest < 0.0 {
            loadings = loadings.into_iter().map(|x| -x).collect();
        }
        found.push(Axis { loadings, share: if total > 0.0 { length / total } else { 0.0 } });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share and loadings of both axes.
    const NUMPY: [(f64, [f64; 4]); 2] = [
        (0.9150303031702258, [0.6846890760816238, 0.3115028601220208, -0.6589133700867131, 8.916985635654411e-05]),
        (0.0839194284114866, [-0.6019429371482389, 0.7513903651576491, -0.27026769326943745, 0.005709075268596969]),
    ];

    /// Points on a tilted sheet, the same in the script whose figures they are held against.
    fn sheet() -> Points {
        let cell = |at: usize| {
            let (u, v, w) = (((at * 37) % 101) as f32 / 10.0 - 5.0, ((at * 53) % 97) as f32 / 30.0, ((at * 17) % 89) as f32 / 200.0);
            [u + v, 0.5 * u - v + w, -u + 0.25 * v, w]
        };
        Points::new((0..500).flat_map(cell).collect(), 4)
    }

    #[test]
    fn axes_are_those_of_numpy() {
        let found = axes(&sheet(), &(0..500).collect::<Vec<_>>());
        // numpy 2: eigh of the covariance of the same points in f32.
        for (axis, (share, loadings)) in found.iter().zip(NUMPY) {
            assert!((axis.share - share).abs() < 1e-7, "{}", axis.share);
            assert!(axis.loadings.iter().zip(loadings).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", axis.loadings);
        }
        let along: f64 = found[0].loadings.iter().zip(&found[1].loadings).map(|(a, b)| a * b).sum();
        assert!(along.abs() < 1e-9);
    }

    #[test]
    fn every_point_is_on_the_map_and_strays_do_not_squeeze_it() {
        let mut cells = sheet().cells;
        cells[0] = 1e6;
        let points = Points::new(cells, 4);
        let place = |row: usize| Place::of(row, (row % 3 != 2).then_some((row % 3) as u32));
        let places: Vec<Place> = (0..500).map(place).collect();
        let found = map(&points, &places, 1);
        let n = |segment: Option<u32>| found.cells.iter().filter(|cell| cell.segment == segment).map(|cell| cell.n).sum::<u64>();
        assert_eq!((n(Some(0)), n(Some(1)), n(None)), (167, 167, 166));
        assert!(found.cells.iter().all(|cell| cell.x[1] < 1e3));
        assert!(found.cells.len() > 100);
        // One column has one axis; copies of a point have a place all the same.
        let line = map(&Points::new((0..100).map(|x| x as f32).collect(), 1), &[], 1);
        assert_eq!((line.axes.len(), line.cells.len(), line.axes[0].loadings[0]), (1, 48, 1.0));
        let copies = map(&Points::new(vec![2.0; 60], 3), &[], 1);
        assert_eq!((copies.cells.len(), copies.cells[0].n, copies.axes[0].share), (1, 20, 0.0));
    }
}
