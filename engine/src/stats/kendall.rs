//! The exact distribution of Kendall's tau without ties: how many orders have so many inversions.
//!
//! Source   Kendall 1938; counted by the recursion over rows (OEIS A008302).

use std::sync::OnceLock;

/// Most rows of the exact distribution.
pub(crate) const KENDALL_EXACT_ROWS: usize = 33;

/// Logarithm of the exact two-sided p, given how many of the pairs of rows are of the rarer kind.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
pub(crate) fn ln_kendall_exact(n: usize, rarer: u64) -> f64 {
    // One order has no inversion, and n - 1 have one: of n! orders, 1 and n have at most so many. Both tails count.
    match rarer {
        _ if n <= 2 => 0.0,
        0 => std::f64::consts::LN_2 - libm::lgamma(n as f64 + 1.0),
        1 => (std::f64::consts::LN_2 - libm::lgamma(n as f64)).min(0.0),
        _ => usize::try_from(rarer).ok().and_then(|rarer| exact_table(n).get(rarer)).copied().unwrap_or(0.0),
    }
}

/// Logarithms of the exact two-sided p of up to 33 rows, by the number of rarer pairs. Made once a number of rows.
fn exact_table(n: usize) -> &'static [f64] {
    static TABLES: [OnceLock<Vec<f64>>; KENDALL_EXACT_ROWS + 1] = [const { OnceLock::new() }; KENDALL_EXACT_ROWS + 1];
    TABLES.get(n).map_or(&[], |table| table.get_or_init(|| ln_exact_of(n)))
}

/// 33! is below 2^128, so that orders are counted without rounding.
#[allow(clippy::cast_precision_loss, reason = "one rounding at the end")]
fn ln_exact_of(n: usize) -> Vec<f64> {
    let mut orders = vec![0_u128; n * n.saturating_sub(1) / 4 + 1];
    orders[0] = 1;
    for rows in 2..=n {
        // A row more goes before 0 to rows - 1 of the others: a sum over as many counts, as a difference of two sums.
        let mut sum = 0;
        let before = orders.clone();
        for at in 0..orders.len() {
            sum += before[at];
            sum -= if at < rows { 0 } else { before[at - rows] };
            orders[at] = sum;
        }
    }
    let all: u128 = (1..=n as u128).product();
    let tail = orders.iter().scan(0, |tail, n_orders| {
        *tail += n_orders;
        Some(*tail)
    });
    tail.map(|tail| libm::log((2.0 * (tail as f64 / all as f64)).min(1.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_distribution_counts_orders() {
        // Orders of four by inversions: 1, 3, 5, 6, 5, 3, 1.
        let due = [2.0 / 24.0, 8.0 / 24.0, 18.0 / 24.0, 1.0];
        let found = ln_exact_of(4);
        assert_eq!(found.len(), due.len());
        assert!(found.iter().zip(due).all(|(found, due)| (libm::exp(*found) - due).abs() < 1e-15), "{found:?}");
        // The two shortcuts say the same as the table.
        for n in [3, KENDALL_EXACT_ROWS] {
            for rarer in [0, 1] {
                let table = exact_table(n)[rarer];
                assert!((ln_kendall_exact(n, rarer as u64) - table).abs() < 1e-12 * table.abs().max(1.0), "{n} rows, {rarer}");
            }
        }
    }
}
