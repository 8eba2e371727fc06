//! Gaussian mixtures by expectation and maximisation.
//!
//! ```text
//! p(x) = sum over j of w_j N(x; m_j, S_j)        responsibility of j for x: its share of the sum
//! BIC  = -2 ln L + (free parameters) ln n        smaller is better
//! ```
//!
//! Start    k-means on the same points.
//! Numbers  f64, in chunks that are added in order: the same bytes on any number of threads. A share of `RIDGE` of the mean variance is added
//!          to every variance, so that no component collapses onto copies of a point.
//! Cost     n k d^2 multiply-adds an iteration.
//! Source   Dempster, Laird, Rubin 1977; Schwarz 1978 (BIC).

use rayon::prelude::*;

use super::points::Points;

/// Points of a partial sum.
const POINTS_AT_ONCE: usize = 2048;

/// Share of the mean variance that is added to every variance.
const RIDGE: f64 = 1e-6;

/// Share of the mean square of the cells that is added at least: what is left of a variance where all points of a component are copies is
/// rounding, and may be below 0.
const ROUNDING: f64 = 1e-11;

/// Gain of the mean log likelihood below which a fit has converged, scikit-learn's too: with 1e-5 fits of the labelled sets were likelier and
/// nearer to noise (mean adjusted Rand index 0.666 against 0.674).
const SMALL_GAIN: f64 = 1e-3;

/// What the covariances of components have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Covariance {
    /// Every component has one of its own.
    #[default]
    Full,
    /// Every component has variances of its own and no covariances.
    Diagonal,
    /// All components have the same.
    Tied,
}

impl Covariance {
    /// Returns the free parameters of k components in d columns, weights and means among them.
    const fn n_parameters(self, k: usize, d: usize) -> usize {
        let of_covariances = match self {
            Self::Full => k * d * (d + 1) / 2,
            Self::Diagonal => k * d,
            Self::Tied => d * (d + 1) / 2,
        };
        k - 1 + k * d + of_covariances
    }
}

/// A component: its weight, mean, and what turns a deviation into one of unit variance.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Logarithm of the weight.
    pub ln_weight: f64,
    /// The mean, in scaled units.
    pub mean: Vec<f64>,
    /// The inverse of the covariance's lower Cholesky factor, row by row.
    pub inverse: Vec<f64>,
    /// Logarithm of the density at the mean.
    pub ln_peak: f64,
}

/// A mixture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mixture {
    pub(crate) components: Vec<Component>,
    covariance: Covariance,
    pub(crate) ln_likelihood: f64,
    pub(crate) iterations: u32,
    pub(crate) converged: bool,
}

/// Weights, sums of cells, and sums of their products by component.
struct Sums {
    d: usize,
    weights: Vec<f64>,
    cells: Vec<f64>,
    products: Vec<f64>,
    ln_likelihood: f64,
}

impl Sums {
    fn new(k: usize, d: usize) -> Self {
        Self { d, weights: vec![0.0; k], cells: vec![0.0; k * d], products: vec![0.0; k * d * d], ln_likelihood: 0.0 }
    }

    fn add_point(&mut self, point: &[f32], shares: &[f64]) {
        let d = self.d;
        for (j, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            self.weights[j] += share;
            let products = &mut self.products[j * d * d..][..d * d];
            for ((row, x), sum) in point.iter().enumerate().zip(&mut self.cells[j * d..][..d]) {
                let x = share * f64::from(*x);
                *sum += x;
                // The lower half: a covariance is symmetric.
                for (product, y) in products[row * d..][..=row].iter_mut().zip(point) {
                    *product += x * f64::from(*y);
                }
            }
        }
    }

    fn add(mut self, other: &Self) -> Self {
        let all = |a: &mut Vec<f64>, b: &Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        all(&mut self.weights, &other.weights);
        all(&mut self.cells, &other.cells);
        all(&mut self.products, &other.products);
        self.ln_likelihood += other.ln_likelihood;
        self
    }

    /// Sums over all points of what `shares` gives them, in the order of the points.
    fn of(points: &Points, k: usize, shares: impl Fn(usize, &mut [f64]) -> f64 + Sync) -> Self {
        let part = |first: usize| {
            let mut sums = Self::new(k, points.d);
            let mut room = vec![0.0; k];
            for at in first..(first + POINTS_AT_ONCE).min(points.n()) {
                sums.ln_likelihood += shares(at, &mut room);
                sums.add_point(points.point(at), &room);
            }
            sums
        };
        let firsts: Vec<usize> = (0..points.n()).step_by(POINTS_AT_ONCE).collect();
        let parts: Vec<Self> = firsts.into_par_iter().map(part).collect();
        parts.iter().fold(Self::new(k, points.d), Self::add)
    }

    /// Returns the components that the sums make likeliest; none where a covariance cannot be inverted.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn components(&self, covariance: Covariance) -> Option<Vec<Component>> {
        let (d, k) = (self.d, self.weights.len());
        let n: f64 = self.weights.iter().sum();
        let floor = n * f64::EPSILON;
        let mut scatter = vec![0.0; k * d * d];
        for j in 0..k {
            let weight = self.weights[j].max(floor);
            for row in 0..d {
                for column in 0..=row {
                    let about_zero = self.products[(j * d + row) * d + column];
                    scatter[(j * d + row) * d + column] = about_zero - self.cells[j * d + row] * self.cells[j * d + column] / weight;
                }
            }
        }
        let variance = (0..k).map(|j| (0..d).map(|row| scatter[(j * d + row) * d + row]).sum::<f64>()).sum::<f64>() / (n * d as f64);
        let square = (0..k * d).map(|at| self.products[at * d + at % d]).sum::<f64>() / (n * d as f64);
        let ridge = (RIDGE * variance).max(ROUNDING * square).max(f64::MIN_POSITIVE);
        let mut pooled = vec![0.0; d * d];
        for of_component in scatter.chunks(d * d) {
            pooled.iter_mut().zip(of_component).for_each(|(sum, x)| *sum += x / n);
        }
        let component = |j: usize| {
            let weight = self.weights[j].max(floor);
            let mut own: Vec<f64> = match covariance {
                Covariance::Tied => pooled.clone(),
                _ => scatter[j * d * d..][..d * d].iter().map(|x| x / weight).collect(),
            };
            for row in 0..d {
                if covariance == Covariance::Diagonal {
                    own[row * d..][..row].fill(0.0);
                }
                own[row * d + row] += ridge;
            }
            let (inverse, ln_root) = inverse_root(&own, d)?;
            Some(Component {
                ln_weight: libm::log(weight / n),
                mean: self.cells[j * d..][..d].iter().map(|sum| sum / weight).collect(),
                inverse,
                ln_peak: ln_peak(d, ln_root),
            })
        };
        (0..k).map(component).collect()
    }
}

/// Returns the lower Cholesky factor of a symmetric matrix, of which the lower half is read, and the logarithm of the factor's determinant;
/// none where the matrix is not positive definite.
pub(super) fn root(matrix: &[f64], d: usize) -> Option<(Vec<f64>, f64)> {
    let mut root = vec![0.0; d * d];
    let mut ln_root = 0.0;
    for row in 0..d {
        for column in 0..=row {
            let known: f64 = (0..column).map(|at| root[row * d + at] * root[column * d + at]).sum();
            let rest = matrix[row * d + column] - known;
            if row == column {
                // Written so that NaN is refused.
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                root[row * d + row] = libm::sqrt(rest);
                ln_root += 0.5 * libm::log(rest);
            } else {
                root[row * d + column] = rest / root[column * d + column];
            }
        }
    }
    Some((root, ln_root))
}

/// Returns the inverse of the lower Cholesky factor, and the logarithm of the factor's determinant; none where there is no factor.
fn inverse_root(matrix: &[f64], d: usize) -> Option<(Vec<f64>, f64)> {
    let (root, ln_root) = root(matrix, d)?;
    Some((inverse_lower(&root, d), ln_root))
}

/// Returns the logarithm of a normal density at its mean.
#[allow(clippy::cast_precision_loss, reason = "columns are far fewer than 2^53")]
fn ln_peak(d: usize, ln_root: f64) -> f64 {
    -ln_root - 0.5 * d as f64 * libm::log(std::f64::consts::TAU)
}

/// Returns the inverse of a lower triangular matrix.
fn inverse_lower(lower: &[f64], d: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; d * d];
    for row in 0..d {
        inverse[row * d + row] = 1.0 / lower[row * d + row];
        for column in 0..row {
            let known: f64 = (column..row).map(|at| lower[row * d + at] * inverse[at * d + column]).sum();
            inverse[row * d + column] = -known / lower[row * d + row];
        }
    }
    inverse
}

impl Component {
    /// Returns the logarithm of weight times density.
    pub(super) fn ln_density(&self, point: &[f32], room: &mut Vec<f64>) -> f64 {
        let d = self.mean.len();
        room.clear();
        room.extend(point.iter().zip(&self.mean).map(|(x, mean)| f64::from(*x) - mean));
        let square = |(row, inverse): (usize, &[f64])| {
            let whitened: f64 = inverse[..=row].iter().zip(&room[..]).map(|(a, b)| a * b).sum();
            whitened * whitened
        };
        let squares: f64 = self.inverse.chunks(d).enumerate().map(square).sum();
        self.ln_weight + self.ln_peak - 0.5 * squares
    }
}

impl Mixture {
    /// Returns a mixture that was fitted before; it labels points, and how likely it was is not known.
    pub(crate) const fn of(components: Vec<Component>) -> Self {
        Self { components, covariance: Covariance::Full, ln_likelihood: f64::NAN, iterations: 0, converged: true }
    }

    /// Returns the mixture of some of the columns, in their order: what is known of a point that has those alone. None where rounding leaves
    /// no normal distribution of them.
    pub(crate) fn of_columns(&self, columns: &[usize]) -> Option<Self> {
        let p = columns.len();
        let of_component = |component: &Component| {
            let d = component.mean.len();
            let root = inverse_lower(&component.inverse, d);
            let cell = |a: usize, b: usize| (0..=a.min(b)).map(|at| root[a * d + at] * root[b * d + at]).sum::<f64>();
            let covariance: Vec<f64> =
                columns.iter().flat_map(|&a| columns.iter().map(move |&b| (a, b))).map(|(a, b)| cell(a, b)).collect();
            let (inverse, ln_root) = inverse_root(&covariance, p)?;
            let mean = columns.iter().map(|&at| component.mean[at]).collect();
            Some(Component { ln_weight: component.ln_weight, mean, inverse, ln_peak: ln_peak(p, ln_root) })
        };
        Some(Self::of(self.components.iter().map(of_component).collect::<Option<_>>()?))
    }

    /// Fits a mixture from labels on; none where the work was stopped, or no component can be made of the points.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn fit(
        points: &Points,
        labels: &[u32],
        k: usize,
        covariance: Covariance,
        max_iterations: u32,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Option<Self> {
        let start = |at: usize, shares: &mut [f64]| {
            shares.fill(0.0);
            shares[labels[at] as usize] = 1.0;
            0.0
        };
        let components = Sums::of(points, k, start).components(covariance)?;
        let start = Self { components, covariance, ln_likelihood: f64::NEG_INFINITY, iterations: 0, converged: false };
        start.improved(points, max_iterations, stop)
    }

    /// Goes on from a mixture with other points of the same kind.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn improved(mut self, points: &Points, max_iterations: u32, stop: &(dyn Fn() -> bool + Sync)) -> Option<Self> {
        (self.ln_likelihood, self.iterations, self.converged) = (f64::NEG_INFINITY, 0, false);
        loop {
            if stop() {
                return None;
            }
            let sums = Sums::of(points, self.components.len(), |at, shares| self.shares(points.point(at), shares));
            let gain = (sums.ln_likelihood - self.ln_likelihood) / points.n() as f64;
            self.ln_likelihood = sums.ln_likelihood;
            self.converged = gain.abs() < SMALL_GAIN;
            if self.converged || self.iterations >= max_iterations {
                return Some(self);
            }
            self.components = sums.components(self.covariance)?;
            self.iterations += 1;
        }
    }

    /// Writes the responsibilities for a point, and returns the logarithm of its density.
    fn shares(&self, point: &[f32], shares: &mut [f64]) -> f64 {
        let mut room = Vec::with_capacity(point.len());
        for (share, component) in shares.iter_mut().zip(&self.components) {
            *share = component.ln_density(point, &mut room);
        }
        let largest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut total = 0.0;
        for share in shares.iter_mut() {
            // Below the smallest share that changes a sum of others.
            *share = if *share - largest < -40.0 { 0.0 } else { libm::exp(*share - largest) };
            total += *share;
        }
        for share in shares.iter_mut() {
            *share /= total;
        }
        largest + libm::log(total)
    }

    /// Returns the component of a point, and its responsibility; ties go to the first.
    pub(crate) fn likeliest(&self, point: &[f32], shares: &mut Vec<f64>) -> (u32, f64) {
        shares.resize(self.components.len(), 0.0);
        self.shares(point, shares);
        (0..).zip(shares.iter().copied()).fold((0, -1.0), |best, other| if other.1 > best.1 { other } else { best })
    }

    /// Returns the component of every point, and its responsibility; ties go to the first.
    pub(crate) fn labels(&self, points: &Points) -> (Vec<u32>, Vec<f64>) {
        let of_point = |shares: &mut Vec<f64>, at: usize| self.likeliest(points.point(at), shares);
        (0..points.n()).into_par_iter().with_min_len(256).map_init(Vec::new, of_point).unzip()
    }

    /// Returns the Bayesian information criterion on the points that it was fitted to.
    #[allow(clippy::cast_precision_loss, reason = "a count of parameters")]
    pub(crate) fn bic(&self, points: &Points) -> f64 {
        let n_parameters = self.covariance.n_parameters(self.components.len(), points.d);
        n_parameters as f64 * libm::log(points.n() as f64) - 2.0 * self.ln_likelihood
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::points;
    use super::*;

    fn close(found: f64, due: f64) {
        assert!((found - due).abs() <= 1e-6 * due.abs().max(1.0), "{found}, due {due}");
    }

    /// Logarithm of the determinant of a 2 x 2 covariance of points.
    fn ln_determinant(points: &Points, rows: &[usize], with_covariance: bool) -> f64 {
        let n = rows.len() as f64;
        let mean = |c: usize| rows.iter().map(|&at| f64::from(points.point(at)[c])).sum::<f64>() / n;
        let m = [mean(0), mean(1)];
        let product = |a: usize, b: usize| {
            rows.iter().map(|&at| (f64::from(points.point(at)[a]) - m[a]) * (f64::from(points.point(at)[b]) - m[b])).sum::<f64>() / n
        };
        let cross = if with_covariance { product(0, 1) } else { 0.0 };
        libm::log(product(0, 0) * product(1, 1) - cross * cross)
    }

    #[test]
    fn one_component_is_the_normal_distribution_of_the_book() {
        let (points, n) = (points(400, 2, false), 400.0);
        for covariance in [Covariance::Full, Covariance::Diagonal, Covariance::Tied] {
            let found = Mixture::fit(&points, &[0; 400], 1, covariance, 10, &|| false).expect("points spread");
            let all: Vec<usize> = (0..400).collect();
            // At the maximum every point is 1 square of its spread away in each column, on average.
            let ln_determinant = ln_determinant(&points, &all, covariance != Covariance::Diagonal);
            let due = -0.5 * n * (2.0 * libm::log(std::f64::consts::TAU) + ln_determinant + 2.0);
            assert!((found.ln_likelihood - due).abs() < 1e-3 * due.abs(), "{} and {due}", found.ln_likelihood);
            let n_parameters = if covariance == Covariance::Diagonal { 4.0 } else { 5.0 };
            close(found.bic(&points), n_parameters * libm::log(n) - 2.0 * found.ln_likelihood);
        }
    }

    #[test]
    fn two_ellipses_far_apart_are_two_normal_distributions() {
        let mut cells = points(500, 2, false).cells;
        cells[..500].iter_mut().for_each(|x| *x += 100.0);
        let points = Points::new(cells, 2);
        // A start that mixes them up a little.
        let start: Vec<u32> = (0..500).map(|at| u32::from((at < 250) != (at % 50 == 0))).collect();
        let found = Mixture::fit(&points, &start, 2, Covariance::Full, 100, &|| false).expect("points spread");
        let (labels, membership) = found.labels(&points);
        assert!((0..500).all(|at| labels[at] == u32::from(at < 250)) && membership.iter().all(|x| *x > 0.999));
        let part = |rows: std::ops::Range<usize>| {
            let rows: Vec<usize> = rows.collect();
            let ln = libm::log(std::f64::consts::TAU) * 2.0 + ln_determinant(&points, &rows, true) + 2.0;
            -0.5 * rows.len() as f64 * ln + rows.len() as f64 * libm::log(0.5)
        };
        // The ridge is a millionth of the spread of all: it shows in the fourth digit.
        let due = part(0..250) + part(250..500);
        assert!((found.ln_likelihood - due).abs() < 0.05 * due.abs(), "{} and {due}", found.ln_likelihood);
        let wrong = Mixture::fit(&points, &start, 2, Covariance::Full, 0, &|| false).expect("points spread");
        assert!(wrong.ln_likelihood < found.ln_likelihood - 100.0, "a wrong twin");
    }

    #[test]
    fn copies_of_a_point_do_not_collapse_a_component() {
        let points = Points::new([vec![1.0; 40], vec![3.0; 40]].concat(), 2);
        let labels: Vec<u32> = (0..40).map(|at| u32::from(at >= 20)).collect();
        let found = Mixture::fit(&points, &labels, 2, Covariance::Full, 20, &|| false).expect("the ridge keeps them apart");
        assert!(found.ln_likelihood.is_finite());
        assert_eq!(found.labels(&points).0, labels);
        // Squares of these are rounded: what is left of a variance may lie below 0.
        let points = Points::new([[0.1, -1.7, 0.3].repeat(5_000), [0.7, 1.3, 0.3].repeat(3_000)].concat(), 3);
        let labels: Vec<u32> = (0..8_000).map(|at| u32::from(at >= 5_000)).collect();
        for covariance in [Covariance::Full, Covariance::Diagonal, Covariance::Tied] {
            let found = Mixture::fit(&points, &labels, 2, covariance, 20, &|| false).expect("the ridge is larger than what is rounded");
            assert!(found.ln_likelihood.is_finite() && found.labels(&points).0 == labels, "{covariance:?}");
        }
    }
}
