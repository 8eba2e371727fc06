//! The order of a heat map: average-linkage clustering on 1 - |r|, so that columns that move together stand together.
//!
//! ```text
//! d(A, B) = mean of 1 - |r(a, b)| over a in A, b in B;  the closest two clusters are merged until one is left
//! ```
//!
//! Nulls    a pair without r is as far apart as can be (distance 1).
//! Ties     the first pair in the order of the columns merges first, so the order is the same on every machine.
//! Cost     O(p^3) for p columns; the report asks for at most 60.
//! Absent   an optimal leaf order: at each merge the nearer ends are joined, which a reader cannot tell from the best.

/// Returns an order of the columns 0..p; `distance(i, j)` is symmetric and in 0..=1.
pub(super) fn clustered(p: usize, distance: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    let mut clusters: Vec<Vec<usize>> = (0..p).map(|column| vec![column]).collect();
    let mut apart: Vec<Vec<f64>> = (0..p).map(|i| (0..p).map(|j| distance(i, j)).collect()).collect();
    while clusters.len() > 1 {
        let (i, j) = closest(&apart);
        merge_distances(&mut apart, i, j, clusters[i].len(), clusters[j].len());
        let right = clusters.remove(j);
        let left = std::mem::take(&mut clusters[i]);
        clusters[i] = joined(left, right, distance);
    }
    clusters.pop().unwrap_or_default()
}

/// Returns the two clusters with the smallest distance, the first of equals.
fn closest(apart: &[Vec<f64>]) -> (usize, usize) {
    let mut best = (0, 1, f64::INFINITY);
    for (i, row) in apart.iter().enumerate() {
        for (j, &d) in row.iter().enumerate().skip(i + 1) {
            if d < best.2 {
                best = (i, j, d);
            }
        }
    }
    (best.0, best.1)
}

/// Replaces cluster `i` by the union of `i` and `j`, weighted by their sizes, and drops `j`.
fn merge_distances(apart: &mut Vec<Vec<f64>>, i: usize, j: usize, n_i: usize, n_j: usize) {
    let (w_i, w_j) = (n_i as f64, n_j as f64);
    let merged: Vec<f64> = apart[i].iter().zip(&apart[j]).map(|(d_i, d_j)| (w_i * d_i + w_j * d_j) / (w_i + w_j)).collect();
    for (row, d) in apart.iter_mut().zip(&merged) {
        row[i] = *d;
    }
    apart[i] = merged;
    apart.remove(j);
    for row in apart.iter_mut() {
        row.remove(j);
    }
}

/// Joins two ordered clusters with their nearer ends inside; the first of equals wins.
fn joined(mut left: Vec<usize>, mut right: Vec<usize>, distance: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    let mut best = (f64::INFINITY, false, false);
    for (turn_left, turn_right) in [(false, false), (true, false), (false, true), (true, true)] {
        let inner_left = if turn_left { left.first() } else { left.last() };
        let inner_right = if turn_right { right.last() } else { right.first() };
        if let (Some(&a), Some(&b)) = (inner_left, inner_right) {
            let d = distance(a, b);
            if d < best.0 {
                best = (d, turn_left, turn_right);
            }
        }
    }
    if best.1 {
        left.reverse();
    }
    if best.2 {
        right.reverse();
    }
    left.append(&mut right);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of the same parity are near, the others far.
    fn by_parity(i: usize, j: usize) -> f64 {
        if i % 2 == j % 2 { 0.1 } else { 0.9 }
    }

    #[test]
    fn near_columns_stand_together() {
        let order = clustered(6, &by_parity);
        let parities: Vec<usize> = order.iter().map(|column| column % 2).collect();
        assert_eq!(parities, [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn every_column_appears_once_and_ties_keep_the_given_order() {
        assert_eq!(clustered(5, &|_, _| 1.0), [0, 1, 2, 3, 4]);
        assert!(clustered(0, &by_parity).is_empty());
        assert_eq!(clustered(1, &by_parity), [0]);
        let mut order = clustered(40, &|i, j| f64::from(u32::try_from((i * 31 + j * 31) % 97).expect("below 97")) / 97.0);
        order.sort_unstable();
        assert_eq!(order, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_chain_is_laid_out_in_its_order() {
        let line = |i: usize, j: usize| f64::from(u32::try_from(i.abs_diff(j)).expect("small")) / 10.0;
        let order = clustered(4, &|i, j| line([2, 0, 3, 1][i], [2, 0, 3, 1][j]));
        let places: Vec<usize> = order.iter().map(|&i| [2, 0, 3, 1][i]).collect();
        assert!(places == [0, 1, 2, 3] || places == [3, 2, 1, 0], "{places:?}");
    }
}
