//! Whether values are still spread as they were: counts in bins, then and now.
//!
//! ```text
//! PSI = sum over bins of (q - p) ln(q / p)       p, q: shares of a bin then and now, half a row added to every bin
//! JS  = sqrt((KL(p, m) + KL(q, m)) / 2)          m = (p + q) / 2, logarithms to base 2: a distance from 0 to 1
//! KS  = largest gap between the shares of all values up to an edge
//! p   = P(chi square with bins - 1 degrees > sum over bins and both times of (seen - expected)^2 / expected)
//! ```
//!
//! Shape    a column of numbers in, at most [`MOST_BINS`] bins and one for missing cells.
//! Nulls    a missing cell is a value of its own: a column that goes missing has drifted.
//! Numbers  counts are exact; so shifts do not depend on how rows were cut.
//! Source   Siddiqi 2006 (PSI and its limits 0.1 and 0.25); Lin 1991 (JS); Pearson 1900 (homogeneity), with Cochran's rule for small counts.

use crate::stats::{benjamini_hochberg, ln_chi_square_sf};

/// Most bins of a column: tenths of its values, or its values where they are as few.
pub const MOST_BINS: usize = 10;

/// PSI from which a column has shifted.
pub const SHIFTED: f64 = 0.1;

/// PSI from which it has changed.
pub const CHANGED: f64 = 0.25;

/// Expected rows that four of five bins need (Cochran 1954).
const FEWEST_EXPECTED: f64 = 5.0;

/// How the values of a column were spread.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spread {
    /// Upper edges of all bins but the last, which has none: a value that equals an edge lies below it.
    pub edges: Vec<f64>,
    /// Rows of every bin, one more than edges.
    pub counts: Vec<u64>,
    /// Rows without a value.
    pub n_missing: u64,
    /// Mean of the values; none where there are none.
    pub mean: Option<f64>,
    /// Least value.
    pub least: Option<f64>,
    /// Greatest value.
    pub greatest: Option<f64>,
}

impl Spread {
    /// Returns the spread of a column (NaN is missing), with edges at tenths of the rows `drawn`.
    #[must_use]
    pub fn of(cells: &[f64], drawn: &[usize]) -> Self {
        let mut spread = Self::bins(drawn.iter().map(|&row| cells[row]).collect());
        let mut sums = Sums::default();
        spread.absorb(cells, &mut sums);
        spread.mean = sums.mean();
        spread
    }

    /// Returns bins without rows, with edges at tenths of some cells (NaN is missing).
    #[must_use]
    pub fn bins(mut sorted: Vec<f64>) -> Self {
        sorted.retain(|x| x.is_finite());
        sorted.sort_unstable_by(f64::total_cmp);
        let mut values = sorted.clone();
        values.dedup();
        let mut edges = if values.len() <= MOST_BINS {
            values
        } else {
            let tenth = |at: usize| sorted[(at * sorted.len()).div_ceil(MOST_BINS) - 1];
            (1..=MOST_BINS).map(tenth).collect()
        };
        edges.dedup();
        // The last bin is open.
        edges.pop();
        Self { edges, ..Self::default() }.emptied()
    }

    /// Returns the same bins without rows.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { edges: self.edges.clone(), counts: vec![0; self.edges.len() + 1], ..Self::default() }
    }

    /// Counts further cells; their sum goes to `sums`, from which the mean is made at the end.
    pub fn absorb(&mut self, cells: &[f64], sums: &mut Sums) {
        for &x in cells {
            if !x.is_finite() {
                self.n_missing += 1;
                continue;
            }
            self.counts[self.edges.partition_point(|edge| *edge < x)] += 1;
            self.least = Some(self.least.map_or(x, |least| least.min(x)));
            self.greatest = Some(self.greatest.map_or(x, |greatest| greatest.max(x)));
            sums.add(x);
        }
    }

    /// Returns the rows with a value.
    #[must_use]
    pub fn n_present(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns counts of all bins, that of missing cells last.
    fn with_missing(&self) -> Vec<u64> {
        self.counts.iter().copied().chain([self.n_missing]).collect()
    }
}

/// A mean under way: its sum about the first value, so that a large offset costs no digits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    n: u64,
    first: f64,
    sum: f64,
}

impl Sums {
    fn add(&mut self, x: f64) {
        if self.n == 0 {
            self.first = x;
        }
        self.n += 1;
        self.sum += x - self.first;
    }

    /// Returns the mean; none where there were no values.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.first + self.sum / self.n as f64)
    }
}

/// How far counts have moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Population stability index.
    pub psi: f64,
    /// Jensen-Shannon distance, 0 to 1.
    pub js: f64,
    /// Largest gap between cumulated shares, 0 to 1.
    pub ks: f64,
    /// Chance of such counts where nothing has moved; none where bins are too thin to tell, or there is one.
    pub p: Option<f64>,
    /// The same adjusted over the family; filled in by [`adjust`].
    pub q: Option<f64>,
}

/// What a shift comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No more than chance, or too little to matter.
    Stable,
    /// PSI from 0.1, beyond chance.
    Shifted,
    /// PSI from 0.25, beyond chance.
    Changed,
    /// Too few rows to tell.
    TooFew,
}

impl Verdict {
    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Shifted => "shifted",
            Self::Changed => "changed",
            Self::TooFew => "too_few",
        }
    }
}

impl Shift {
    /// Returns how far a column has moved; bins of both must have the same edges.
    #[must_use]
    pub fn of(then: &Spread, now: &Spread) -> Self {
        Self::of_counts(&then.with_missing(), &now.with_missing())
    }

    /// Returns how far counts of the same bins have moved.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub fn of_counts(then: &[u64], now: &[u64]) -> Self {
        // A bin that both lack is none: it would only add half a row twice.
        let bins: Vec<(f64, f64)> = then.iter().zip(now).filter(|(a, b)| **a + **b > 0).map(|(a, b)| (*a as f64, *b as f64)).collect();
        let (n_then, n_now) = bins.iter().fold((0.0, 0.0), |(m, n), (a, b)| (m + a, n + b));
        if n_then == 0.0 || n_now == 0.0 || bins.len() < 2 {
            return Self { psi: 0.0, js: 0.0, ks: 0.0, p: None, q: None };
        }
        let added = 0.5 * bins.len() as f64;
        let shares = |(a, b): &(f64, f64)| ((a + 0.5) / (n_then + added), (b + 0.5) / (n_now + added));
        let psi = bins.iter().map(shares).map(|(p, q)| (q - p) * libm::log(q / p)).sum();
        let (mut divergence, mut gap, mut ks, mut chi, mut thin) = (0.0, 0.0, 0.0_f64, 0.0, 0_usize);
        for (a, b) in &bins {
            let (p, q) = (a / n_then, b / n_now);
            let part = |x: f64| if x > 0.0 { x * libm::log2(2.0 * x / (p + q)) } else { 0.0 };
            divergence += 0.5 * (part(p) + part(q));
            gap += q - p;
            ks = ks.max(f64::abs(gap));
            let expected = |n: f64| (a + b) * n / (n_then + n_now);
            let square = |seen: f64, expected: f64| (seen - expected) * (seen - expected) / expected;
            chi += square(*a, expected(n_then)) + square(*b, expected(n_now));
            thin += usize::from(expected(n_then.min(n_now)) < FEWEST_EXPECTED);
        }
        let is_known = 5 * thin <= bins.len();
        let p = is_known.then(|| libm::exp(ln_chi_square_sf(chi, bins.len() as f64 - 1.0)));
        Self { psi, js: libm::sqrt(divergence.clamp(0.0, 1.0)), ks: ks.min(1.0), p, q: None }
    }

    /// Returns what it comes to at a level, for a smallest PSI that matters.
    #[must_use]
    pub fn verdict(&self, alpha: f64, least: f64) -> Verdict {
        match self.q.or(self.p) {
            None if self.psi >= least => Verdict::TooFew,
            Some(q) if q <= alpha && self.psi >= least => {
                if self.psi >= CHANGED {
                    Verdict::Changed
                } else {
                    Verdict::Shifted
                }
            }
            _ => Verdict::Stable,
        }
    }
}

/// Fills in the adjusted p-values of a family (Benjamini and Hochberg).
pub fn adjust(shifts: &mut [Shift]) {
    let mut order: Vec<(f64, usize)> = shifts.iter().enumerate().filter_map(|(at, shift)| Some((shift.p?, at))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sorted: Vec<f64> = order.iter().map(|(p, _)| *p).collect();
    let ranks: Vec<u64> = sorted.iter().map(|p| sorted.partition_point(|other| other <= p) as u64).collect();
    let family = sorted.len() as u64;
    benjamini_hochberg(&mut sorted, &ranks, family);
    for ((_, at), q) in order.into_iter().zip(sorted) {
        shifts[at].q = Some(q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, due: f64) {
        assert!((found - due).abs() <= 1e-12 * due.abs().max(1e-12), "{found}, due {due}");
    }

    #[test]
    fn shifts_are_those_of_scipy() {
        // scipy 1.17.1: chi2_contingency without correction, jensenshannon to base 2; PSI and KS by numpy.
        let (then, now) = ([120, 80, 100, 95, 105, 0], [60, 90, 40, 70, 130, 10]);
        let found = Shift::of_counts(&then, &now);
        close(found.psi, 0.264_520_281_393_205_16);
        close(found.js, 0.213_306_416_066_171_42);
        close(found.ks, 0.14);
        let p = found.p.expect("bins are full");
        assert!((p - 4.716_795_991_595_345e-10).abs() < 1e-20, "{p}");
        assert_eq!(found.verdict(0.05, SHIFTED), Verdict::Changed);
        // A wrong twin: two bins exchanged.
        let wrong = Shift::of_counts(&then, &[90, 60, 40, 70, 130, 10]);
        assert!((wrong.psi - found.psi).abs() > 0.01 && (wrong.js - found.js).abs() > 0.01);
    }

    #[test]
    fn bins_hold_tenths_and_ties_stay_together() {
        let cells: Vec<f64> = (1..=1000).map(f64::from).collect();
        let rows: Vec<usize> = (0..1000).collect();
        let spread = Spread::of(&cells, &rows);
        assert_eq!((spread.counts.len(), spread.counts.iter().all(|n| *n == 100)), (10, true), "{spread:?}");
        assert_eq!((spread.mean, spread.least, spread.greatest), (Some(500.5), Some(1.0), Some(1000.0)));
        // Half of the cells are 0, two are missing: one bin holds all zeros.
        let cells: Vec<f64> = (0..1000).map(|x: i32| f64::from(x - 500).max(0.0)).chain([f64::NAN, f64::INFINITY]).collect();
        let spread = Spread::of(&cells, &(0..1002).collect::<Vec<_>>());
        assert_eq!((spread.edges[0], spread.counts[0], spread.n_missing, spread.n_present()), (0.0, 501, 2, 1000));
        // A flag has a bin for each value; a column without values has one bin and no edge.
        let flags: Vec<f64> = (0..100).map(|x| f64::from(u8::from(x % 4 == 0))).collect();
        assert_eq!(Spread::of(&flags, &(0..100).collect::<Vec<_>>()).counts, [75, 25]);
        assert_eq!(Spread::of(&[f64::NAN; 3], &[0, 1, 2]).counts, [0]);
    }

    #[test]
    fn cuts_of_the_rows_change_nothing() {
        let cells: Vec<f64> = (0..999).map(|x| f64::from(x * 7919 % 1000) + 1e9).collect();
        let then = Spread::of(&cells, &(0..999).collect::<Vec<_>>());
        let (mut now, mut sums) = (then.emptied(), Sums::default());
        cells.chunks(10).for_each(|some| now.absorb(some, &mut sums));
        now.mean = sums.mean();
        assert_eq!(now, then);
        let shift = Shift::of(&then, &now);
        assert!(shift.psi.abs() < 1e-15 && shift.p.is_some_and(|p| p > 0.999), "{shift:?}");
    }

    #[test]
    fn little_data_does_not_drift_and_a_family_is_adjusted() {
        let few = Shift::of_counts(&[100; 10], &[3, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
        assert_eq!((few.p, few.verdict(0.05, SHIFTED)), (None, Verdict::TooFew));
        let mut shifts = [Shift::of_counts(&[500, 500], &[400, 600]), few, Shift::of_counts(&[500, 500], &[480, 520])];
        adjust(&mut shifts);
        let [p, other] = [shifts[0].p.unwrap_or(1.0), shifts[2].p.unwrap_or(1.0)];
        close(shifts[0].q.unwrap_or_default(), 2.0 * p);
        close(shifts[2].q.unwrap_or_default(), other);
        // Beyond chance, and yet too little to matter.
        assert_eq!(shifts[0].verdict(0.05, SHIFTED), Verdict::Stable);
        assert_eq!(shifts[0].verdict(0.05, 0.01), Verdict::Shifted);
    }
}
