//! Partial correlation: what is left between two columns once the controls are held fixed.
//!
//! ```text
//! r(x, y | z) = r of the residuals of x and of y on 1 and the controls      df = n - 2 - k
//! ```
//!
//! Shape    controls are columns of numbers without a missing cell; categories come as one column a level.
//! Nulls    pairwise: where x or y misses cells, both are regressed on the controls over the rows that both have.
//! Numbers  modified Gram-Schmidt, twice over, so that controls that resemble one another cost few digits; a control that
//!          the others explain adds nothing and takes no degree of freedom.
//! Source   Fisher 1924; permutations shuffle residuals (Freedman and Lane 1983, with both sides reduced).

use super::ranks;
use super::stat::Stat;
use crate::simd::dot;
use crate::stats::ln_pearson_p;

/// Share of a column's sum of squares below which nothing of it is left.
const NOTHING: f64 = 1e-20;

/// Orthonormal columns that span 1 and the controls.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    columns: Vec<Vec<f64>>,
}

impl Basis {
    /// Spans 1 and the controls over `n` rows.
    pub(super) fn of(controls: &[Vec<f64>], n: usize) -> Self {
        let mut basis = Self { columns: Vec::new() };
        for column in std::iter::once(&vec![1.0; n]).chain(controls) {
            if let Some(residual) = basis.residual(column) {
                let norm = libm::sqrt(dot(&residual, &residual));
                basis.columns.push(residual.into_iter().map(|x| x / norm).collect());
            }
        }
        basis
    }

    /// Returns the degrees of freedom that the controls take.
    pub(super) fn n_controls(&self) -> u64 {
        (self.columns.len() as u64).saturating_sub(1)
    }

    /// Returns what the basis leaves of a column; none where that is nothing.
    pub(super) fn residual(&self, cells: &[f64]) -> Option<Vec<f64>> {
        let mut left = cells.to_vec();
        // Deviations first: an offset would drown what is left.
        if let Some(origin) = crate::simd::reach(cells).map(|reach| reach.origin()).filter(|_| !self.columns.is_empty()) {
            for x in &mut left {
                *x -= origin.centre;
            }
        }
        let before = dot(&left, &left);
        for _ in 0..2 {
            for column in &self.columns {
                let share = dot(&left, column);
                left.iter_mut().zip(column).for_each(|(x, q)| *x -= share * q);
            }
        }
        (dot(&left, &left) > NOTHING * before).then_some(left)
    }
}

/// Returns the partial correlation of two columns over the rows where both are present; of their ranks where asked.
pub(super) fn partial(x: &[f64], y: &[f64], controls: &[Vec<f64>], ranked: bool) -> Stat {
    let rows: Vec<usize> = (0..x.len()).filter(|&row| x[row].is_finite() && y[row].is_finite()).collect();
    let part = |cells: &[f64]| -> Vec<f64> {
        let cells: Vec<f64> = rows.iter().map(|&row| cells[row]).collect();
        if ranked { ranks::average_ranks(&cells) } else { cells }
    };
    let controls: Vec<Vec<f64>> = controls.iter().map(|control| part(control)).collect();
    let n = rows.len() as u64;
    let basis = Basis::of(&controls, rows.len());
    let residuals = basis.residual(&part(x)).zip(basis.residual(&part(y)));
    let k = basis.n_controls();
    let Some((x, y)) = residuals.filter(|_| n >= k + 2) else { return Stat { n, ..Stat::default() } };
    let r = (dot(&x, &y) / libm::sqrt(dot(&x, &x)) / libm::sqrt(dot(&y, &y))).clamp(-1.0, 1.0);
    Stat { n, value: Some(r), ln_p: ln_pearson_p(r, n - k), n_minor: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut state = seed | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
            })
            .collect()
    }

    /// `r(x, y | z) = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2))`: the textbook for one control.
    #[test]
    fn one_control_agrees_with_the_textbook() {
        let (a, b, z) = (noise(3, 200), noise(5, 200), noise(7, 200));
        let mixed = |own: &[f64], load: f64| own.iter().zip(&z).map(|(own, z)| own + load * z + 1e6).collect::<Vec<f64>>();
        let (x, y) = (mixed(&a, 1.5), mixed(&b, -0.7));
        let r = |x: &[f64], y: &[f64]| crate::correlate::definition::pearson(x, y).1.unwrap_or(f64::NAN);
        let (xy, xz, yz) = (r(&x, &y), r(&x, &z), r(&y, &z));
        let due = (xy - xz * yz) / ((1.0 - xz * xz) * (1.0 - yz * yz)).sqrt();
        let found = partial(&x, &y, std::slice::from_ref(&z), false);
        assert!(found.value.is_some_and(|r| (r - due).abs() < 1e-9), "{found:?}, but {due}");
        assert!((due - xy).abs() > 0.1, "the control matters");
        // A control twice, and one that is the sum of others, change nothing.
        let twice = [z.clone(), z.iter().map(|z| 3.0 * z - 1.0).collect()];
        let again = partial(&x, &y, &twice, false);
        assert!(again.value.zip(found.value).is_some_and(|(a, b)| (a - b).abs() < 1e-12) && again.ln_p.is_some());
    }

    #[test]
    fn what_a_control_explains_whole_has_no_r() {
        let z = noise(11, 50);
        let copy: Vec<f64> = z.iter().map(|z| 2.0 * z + 3.0).collect();
        assert_eq!(partial(&copy, &noise(13, 50), &[z], false).value, None);
    }
}
