//! What one statistic says of one pair of columns.

/// A statistic of one pair over the rows where both cells are present.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Stat {
    /// Rows where both cells are present.
    pub(crate) n: u64,
    /// The coefficient; none where it is not defined over those rows.
    pub(crate) value: Option<f64>,
    /// Logarithm of the p-value of the pair alone; none where it is not defined.
    pub(crate) ln_p: Option<f64>,
    /// Rows outside of the most frequent level, the fewer of both sides; none where no side has levels.
    pub(crate) n_minor: Option<u64>,
}
