//! What becomes of a correlation within groups: Simpson's paradox, looked for in every pair.
//!
//! ```text
//! z_within = sum over groups of z_g / v_g / sum of 1 / v_g        z_g = atanh(r_g), v_g its variance
//! Q        = sum over groups of (z_g - z_within)^2 / v_g          chi square with (groups - 1) df: do the groups differ?
//! ```
//!
//! Shape    one row a pair and lag with a coefficient that has a sign: over all rows, and pooled within groups.
//! Variance 1 / (n - 3) for Pearson, (1 + r^2 / 2) / (n - 3) for Spearman (Bonett and Wright 2000), 0.437 / (n - 4) for Kendall
//!          (Fieller, Hartley and Pearson 1957); n is the effective one where there is one.
//! Nulls    groups of fewer than 5 rows, or without a coefficient, take no part.
//! Source   Hedges and Olkin 1985, chapter 11 (pooling and Q); Simpson 1951.

use std::collections::HashMap;

use super::finish::{Correlation, PairRow};
use super::frame::Frame;
use super::method::Method;
use crate::stats::{ln_chi_square_sf, ln_normal_sf, normal_quantile};

/// What is left of a pair within the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// It is there over all rows and within groups, with the same sign.
    Holds,
    /// It turns: there over all rows and within groups, with opposite signs.
    Flips,
    /// It is there over all rows alone: the groups make it.
    Vanishes,
    /// It is there within groups alone: the groups hide it.
    Appears,
    /// It is neither there over all rows nor within groups.
    Neither,
}

impl Within {
    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Flips => "flips",
            Self::Vanishes => "vanishes",
            Self::Appears => "appears",
            Self::Neither => "neither",
        }
    }
}

/// A pair over all rows and within groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Simpson {
    /// First column, by position.
    pub x: usize,
    /// Second column.
    pub y: usize,
    /// Rows by which x lies after y; none where no lag was asked for.
    pub lag: Option<i64>,
    /// The coefficient.
    pub method: Method,
    /// Its value over all rows.
    pub r_total: f64,
    /// Rows behind it.
    pub n_total: u64,
    /// Its value within groups, pooled.
    pub r_within: f64,
    /// Interval of that at 1 - alpha.
    pub interval: (f64, f64),
    /// Two-sided p of that.
    pub p_within: f64,
    /// Rows behind it.
    pub n_within: u64,
    /// Groups behind it.
    pub n_groups: u64,
    /// p of the hypothesis that the groups have one value; none of a single group.
    pub p_differs: Option<f64>,
    /// What is left of the pair.
    pub within: Within,
}

/// Pools the groups of every pair, in the order of the rows over all groups.
pub(super) fn check(found: &Correlation, frame: &Frame) -> Vec<Simpson> {
    if found.groups.is_empty() {
        return Vec::new();
    }
    let key = |row: &PairRow| {
        let slice = &frame.slices[row.slice];
        (slice.origin(row.x), slice.origin(row.y), slice.lag_of(row.x))
    };
    let group = |row: &PairRow| frame.slices[row.slice].group;
    let signed = || found.pairs.iter().filter(|row| row.method.is_signed());
    let mut of_pair: HashMap<_, Vec<(usize, &PairRow)>> = HashMap::new();
    for row in signed() {
        if let Some(group) = group(row) {
            of_pair.entry(key(row)).or_default().push((group, row));
        }
    }
    let one = |row: &PairRow| {
        let (x, y, lag) = key(row);
        let mut groups = of_pair.get(&(x, y, lag))?.clone();
        // Sums in one order, whatever the p-values.
        groups.sort_unstable_by_key(|(group, _)| *group);
        let pooled = Pooled::of(row.method, groups.iter().map(|(_, row)| *row), found.alpha)?;
        let r_total = row.r?;
        let there = |r: f64, p: Option<f64>| r.abs() >= found.min_effect && p.is_some_and(|p| p <= found.alpha);
        let within = match (there(r_total, row.p), there(pooled.r, Some(pooled.p))) {
            (true, true) if r_total * pooled.r < 0.0 => Within::Flips,
            (true, true) => Within::Holds,
            (true, false) => Within::Vanishes,
            (false, true) => Within::Appears,
            (false, false) => Within::Neither,
        };
        Some(Simpson {
            x,
            y,
            lag,
            method: row.method,
            r_total,
            n_total: row.n,
            r_within: pooled.r,
            interval: pooled.interval,
            p_within: pooled.p,
            n_within: pooled.n,
            n_groups: pooled.n_groups,
            p_differs: pooled.p_differs,
            within,
        })
    };
    signed().filter(|row| group(row).is_none()).filter_map(one).collect()
}

struct Pooled {
    r: f64,
    interval: (f64, f64),
    p: f64,
    n: u64,
    n_groups: u64,
    p_differs: Option<f64>,
}

impl Pooled {
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn of<'a>(method: Method, groups: impl Iterator<Item = &'a PairRow>, alpha: f64) -> Option<Self> {
        let (mut n, mut known) = (0, Vec::new());
        for row in groups {
            let Some(r) = row.r else { continue };
            let rows = row.effective_n.unwrap_or(row.n as f64);
            let variance = match method {
                Method::Kendall => 0.437 / (rows - 4.0),
                Method::Spearman => (1.0 + r * r / 2.0) / (rows - 3.0),
                _ => 1.0 / (rows - 3.0),
            };
            if rows >= 5.0 {
                // A perfect correlation of a few rows must not outweigh everything.
                known.push((libm::atanh(r.clamp(-MOST, MOST)), variance));
                n += row.n;
            }
        }
        let weight: f64 = known.iter().map(|(_, variance)| 1.0 / variance).sum();
        let z = known.iter().map(|(z, variance)| z / variance).sum::<f64>() / weight;
        let reach = normal_quantile(1.0 - alpha / 2.0) / libm::sqrt(weight);
        let q: f64 = known.iter().map(|(of_group, variance)| (of_group - z) * (of_group - z) / variance).sum();
        let n_groups = known.len() as u64;
        (n_groups > 0).then(|| Self {
            r: libm::tanh(z),
            interval: (libm::tanh(z - reach), libm::tanh(z + reach)),
            p: libm::exp((std::f64::consts::LN_2 + ln_normal_sf(z.abs() * libm::sqrt(weight))).min(0.0)),
            n,
            n_groups,
            p_differs: (n_groups > 1).then(|| libm::exp(ln_chi_square_sf(q, (n_groups - 1) as f64))),
        })
    }
}

/// Largest |r| of a group that is pooled as it is.
const MOST: f64 = 0.999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::columns::{Cells, Table, TableColumn};
    use crate::correlate::{AssociateOptions, CorrelateOptions, MethodChoice, Roles, associate};

    /// Within each of three groups y falls with x, and from group to group both rise.
    fn table() -> (Table, Vec<u32>) {
        let groups: Vec<u32> = (0..300).map(|row| row % 3).collect();
        let noise = |row: u32, by: u32| f64::from(row * by % 101) / 101.0;
        let x: Vec<f64> = (0..300).map(|row| 3.0 * f64::from(row % 3) + noise(row, 37)).collect();
        let y = (0..300).map(|row| 3.0 * f64::from(row % 3) - noise(row, 37) + 0.4 * noise(row, 59)).collect();
        let noise = (0..300).map(|row| noise(row, 71)).collect();
        let column = |(name, cells): (&str, Vec<f64>)| TableColumn { name: name.to_owned(), cells: Cells::Numbers(cells.into()) };
        let columns = vec![("x", x), ("y", y), ("noise", noise)];
        (Table { n_rows: 300, columns: columns.into_iter().map(column).collect() }, groups)
    }

    fn relate(method: Method) -> Correlation {
        let (table, groups) = table();
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let frame = Frame::new(table, &Roles { groups: Some((groups, names)), ..Roles::default() }, 0);
        let options = AssociateOptions::of(CorrelateOptions::default(), MethodChoice::One(method));
        associate(&frame, &options, &Backend::cpu(), &|| false).ok().flatten().expect("three columns of numbers")
    }

    #[test]
    fn a_correlation_that_turns_within_groups_is_seen() {
        for method in [Method::Pearson, Method::Spearman, Method::Kendall] {
            let found = relate(method);
            assert_eq!(found.pairs.len(), 12, "three pairs over all rows and in each of three groups");
            let pair = found.simpson.iter().find(|pair| (pair.x, pair.y) == (0, 1)).expect("a pair of numbers");
            assert_eq!(pair.within, Within::Flips, "{pair:?}");
            assert!(pair.r_total > 0.4 && pair.r_within < -0.5 && pair.n_groups == 3, "{pair:?}");
            let other = found.simpson.iter().find(|pair| (pair.x, pair.y) == (0, 2)).expect("a pair of numbers");
            assert_eq!(other.within, Within::Neither, "{other:?}");
        }
    }

    /// Three studies of Hedges and Olkin's sort, by hand: n = 20, 30, 50 and r = 0.2, 0.5, 0.6.
    #[test]
    fn pooling_agrees_with_the_formula() {
        let mut row = relate(Method::Pearson).pairs[0].clone();
        let rows: Vec<PairRow> = [(20, 0.2), (30, 0.5), (50, 0.6)]
            .into_iter()
            .map(|(n, r)| {
                (row.n, row.r, row.effective_n) = (n, Some(r), None);
                row.clone()
            })
            .collect();
        let pooled = Pooled::of(Method::Pearson, rows.iter(), 0.05).expect("three groups");
        let z = (17.0 * 0.2_f64.atanh() + 27.0 * 0.5_f64.atanh() + 47.0 * 0.6_f64.atanh()) / 91.0;
        assert!((pooled.r - z.tanh()).abs() < 1e-12, "{}", pooled.r);
        let q = 17.0 * (0.2_f64.atanh() - z).powi(2) + 27.0 * (0.5_f64.atanh() - z).powi(2) + 47.0 * (0.6_f64.atanh() - z).powi(2);
        // With two degrees of freedom the upper tail of chi square is exp(-q / 2).
        assert!(pooled.p_differs.is_some_and(|p| (p - (-q / 2.0).exp()).abs() < 1e-12), "{:?}", pooled.p_differs);
        assert!((pooled.interval.0 - (z - 1.959_963_984_540_054 / 91.0_f64.sqrt()).tanh()).abs() < 1e-9);
    }
}
