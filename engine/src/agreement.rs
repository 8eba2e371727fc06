//! How far two ways to part the same rows agree.
//!
//! ```text
//! ARI     = (sum C(n_ij, 2) - e) / ((sum C(a_i, 2) + sum C(b_j, 2)) / 2 - e)      e = sum C(a_i, 2) sum C(b_j, 2) / C(n, 2)
//! match   = the pairing of parts whose pairs share the most rows in all
//! Jaccard = rows in both parts of a pair / rows in either
//! ```
//!
//! Shape    counts of rows by part on one side and part on the other.
//! Nulls    rows that are in no part on either side are parts of their own to the caller, or left out.
//! Numbers  counts are exact up to 2^53 pairs of rows, above that sums of them are rounded.
//! Cost     matching: n m max(n, m) steps.
//! Source   Hubert and Arabie 1985 (ARI); Kuhn 1955, with the shortest augmenting paths of Jonker and Volgenant 1987 (matching); Hennig 2007
//!          (a part whose Jaccard similarity is at most [`DISSOLVED`] is dissolved).

/// Jaccard similarity up to which a part counts as dissolved.
pub const DISSOLVED: f64 = 0.5;

/// Rows by part on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    n_now: usize,
    n_then: usize,
    /// Rows, part after part of the first side.
    counts: Vec<u64>,
    /// Rows of every part of either side.
    of_now: Vec<u64>,
    of_then: Vec<u64>,
}

impl Crossing {
    /// Returns a table without rows for so many parts on the first and on the second side.
    #[must_use]
    pub fn new(n_now: usize, n_then: usize) -> Self {
        Self { n_now, n_then, counts: vec![0; n_now * n_then], of_now: vec![0; n_now], of_then: vec![0; n_then] }
    }

    /// Returns the bytes of a table of so many parts.
    #[must_use]
    pub const fn bytes(n_now: usize, n_then: usize) -> u64 {
        8 * (n_now as u64).saturating_mul(n_then as u64)
    }

    /// Adds rows.
    ///
    /// # Panics
    /// When a part is not below the number of parts.
    pub fn add(&mut self, now: usize, then: usize, n: u64) {
        assert!(then < self.n_then, "part {then} of {}", self.n_then);
        self.counts[now * self.n_then + then] += n;
        self.of_now[now] += n;
        self.of_then[then] += n;
    }

    /// Returns the same without the rows of some parts, whose positions stay.
    #[must_use]
    pub fn of(&self, is_now: impl Fn(usize) -> bool, is_then: impl Fn(usize) -> bool) -> Self {
        let mut kept = Self::new(self.n_now, self.n_then);
        for now in (0..self.n_now).filter(|now| is_now(*now)) {
            for then in (0..self.n_then).filter(|then| is_then(*then)) {
                kept.add(now, then, self.at(now, then));
            }
        }
        kept
    }

    /// Returns the rows of a pair of parts.
    #[must_use]
    pub fn at(&self, now: usize, then: usize) -> u64 {
        self.counts[now * self.n_then + then]
    }

    /// Returns the rows of every part of the first side.
    #[must_use]
    pub fn now(&self) -> &[u64] {
        &self.of_now
    }

    /// Returns the rows of every part of the second side.
    #[must_use]
    pub fn then(&self) -> &[u64] {
        &self.of_then
    }

    /// Returns the share of rows in both parts among those in either.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub fn jaccard(&self, now: usize, then: usize) -> f64 {
        let both = self.at(now, then);
        let either = self.of_now[now] + self.of_then[then] - both;
        if either == 0 { 0.0 } else { both as f64 / either as f64 }
    }

    /// Returns the adjusted Rand index: 1 where both sides are alike, near 0 where they agree by chance. None where there are fewer than two
    /// rows; 1 where both sides have one part, or each row one of its own.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "pairs of rows are summed in f64")]
    pub fn adjusted_rand(&self) -> Option<f64> {
        let pairs = |n: &u64| {
            let n = *n as f64;
            n * (n - 1.0) / 2.0
        };
        let n: u64 = self.counts.iter().sum();
        if n < 2 {
            return None;
        }
        let both: f64 = self.counts.iter().map(pairs).sum();
        let (now, then): (f64, f64) = (self.now().iter().map(pairs).sum(), self.then().iter().map(pairs).sum());
        let expected = now * then / pairs(&n);
        let most = f64::midpoint(now, then);
        let room = most - expected;
        Some(if room <= most * f64::EPSILON { 1.0 } else { (both - expected) / room })
    }

    /// Returns the part of the second side that every part of the first goes with: the pairing that shares the most rows; none for a part
    /// that is left over, or shares no row with its partner.
    #[must_use]
    pub fn matches(&self) -> Vec<Option<usize>> {
        let size = self.n_now.max(self.n_then);
        let shared = |now: usize, then: usize| {
            if now < self.n_now && then < self.n_then { i64::try_from(self.at(now, then)).unwrap_or(i64::MAX / 4) } else { 0 }
        };
        let partner = assign(size, |now, then| -shared(now, then));
        (0..self.n_now).map(|now| Some(partner[now]).filter(|then| shared(now, *then) > 0)).collect()
    }
}

/// Returns the column of every row of a square table so that no two share one and the sum of costs is the least.
fn assign(size: usize, cost: impl Fn(usize, usize) -> i64) -> Vec<usize> {
    // Column `size` stands for none: a path starts there with the row that has no column yet.
    let (mut of_row, mut of_column) = (vec![0_i64; size], vec![0_i64; size + 1]);
    let mut row_of = vec![usize::MAX; size + 1];
    for row in 0..size {
        row_of[size] = row;
        let (mut least, mut before, mut is_used) = (vec![i64::MAX; size], vec![size; size], vec![false; size + 1]);
        let mut column = size;
        while row_of[column] != usize::MAX {
            is_used[column] = true;
            let from = row_of[column];
            let (mut step, mut next) = (i64::MAX, size);
            for to in (0..size).filter(|to| !is_used[*to]) {
                let reduced = cost(from, to) - of_row[from] - of_column[to];
                if reduced < least[to] {
                    (least[to], before[to]) = (reduced, column);
                }
                if least[to] < step {
                    (step, next) = (least[to], to);
                }
            }
            for to in 0..=size {
                if is_used[to] {
                    of_row[row_of[to]] += step;
                    of_column[to] -= step;
                } else if to < size {
                    least[to] -= step;
                }
            }
            column = next;
        }
        // Back along the path every column takes the row of the one before.
        while column != size {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut column_of = vec![0; size];
    (0..size).for_each(|column| column_of[row_of[column]] = column);
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossing(rows: &[&[u64]]) -> Crossing {
        let mut crossing = Crossing::new(rows.len(), rows[0].len());
        rows.iter().enumerate().for_each(|(now, of)| of.iter().enumerate().for_each(|(then, n)| crossing.add(now, then, *n)));
        crossing
    }

    /// The most rows that any pairing shares, by trying all.
    fn most_shared(crossing: &Crossing, now: usize, used: &mut Vec<bool>) -> u64 {
        if now == crossing.n_now {
            return 0;
        }
        let mut most = most_shared(crossing, now + 1, used);
        for then in 0..crossing.n_then {
            if !used[then] {
                used[then] = true;
                most = most.max(crossing.at(now, then) + most_shared(crossing, now + 1, used));
                used[then] = false;
            }
        }
        most
    }

    #[test]
    fn no_pairing_shares_more_rows() {
        let mut state = 3_u64;
        for (n_now, n_then) in [(1, 1), (1, 4), (4, 1), (3, 3), (5, 6), (6, 5), (7, 7)] {
            for _ in 0..40 {
                let mut next = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) % 9
                };
                let mut crossing = Crossing::new(n_now, n_then);
                (0..n_now * n_then).for_each(|at| crossing.add(at / n_then, at % n_then, next()));
                let found = crossing.matches();
                let mut partners: Vec<usize> = found.iter().copied().flatten().collect();
                let shared: u64 = found.iter().enumerate().filter_map(|(now, then)| Some(crossing.at(now, (*then)?))).sum();
                partners.sort_unstable();
                assert!(partners.windows(2).all(|two| two[0] != two[1]), "{found:?}");
                assert_eq!(shared, most_shared(&crossing, 0, &mut vec![false; n_then]), "{crossing:?}");
            }
        }
        // The nearest partner of each is not the best pairing: 5 and 4 beat 6 and 0.
        assert_eq!(crossing(&[&[6, 5], &[4, 0]]).matches(), [Some(1), Some(0)]);
    }

    #[test]
    fn the_index_is_that_of_scikit_learn() {
        // sklearn.metrics.adjusted_rand_score of [0,0,1,1,2,2,2,0] and [0,0,1,2,2,2,1,1], version 1.9.1.
        let mut found = Crossing::new(3, 3);
        for (now, then) in [0, 0, 1, 1, 2, 2, 2, 0].into_iter().zip([0, 0, 1, 2, 2, 2, 1, 1]) {
            found.add(now, then, 1);
        }
        assert!((found.adjusted_rand().unwrap_or_default() - 0.047619047619047616).abs() < 1e-15, "{:?}", found.adjusted_rand());
        assert_eq!((found.now(), found.then()), (&[3, 2, 3][..], &[2, 3, 3][..]));
        assert!((found.jaccard(0, 0) - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(crossing(&[&[5, 0], &[0, 7]]).adjusted_rand(), Some(1.0));
        assert_eq!((crossing(&[&[5]]).adjusted_rand(), crossing(&[&[1]]).adjusted_rand()), (Some(1.0), None));
    }
}
