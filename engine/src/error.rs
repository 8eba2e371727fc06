//! What can be wrong with the data that the engine is given.

/// The data, or the request made of them, do not allow the analysis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Fewer columns than the analysis compares.
    #[error("{found} numeric columns, but at least {needed} are needed")]
    TooFewColumns {
        /// Columns that can be used.
        found: usize,
        /// Columns that are needed.
        needed: usize,
    },
    /// A column that the caller names has a type that cannot be used.
    #[error("column `{column}` is {found}, but a number, a boolean, a date or a timestamp is needed")]
    ColumnType {
        /// Name of the column.
        column: String,
        /// Its Arrow type.
        found: String,
    },
    /// Columns of one batch differ in length.
    #[error("column `{column}` gave {found} rows, but {expected} were due")]
    RowCount {
        /// Name of the column.
        column: String,
        /// Rows that came.
        found: usize,
        /// Rows that were due.
        expected: usize,
    },
    /// State bytes that this version cannot read.
    #[error("a saved partial cannot be read: {0}")]
    Partial(String),
    /// A state that does not fit into the budget.
    #[error("{what} needs {needed_bytes} bytes, but the budget is {budget_bytes} bytes")]
    Budget {
        /// Who needs it.
        what: String,
        /// How much.
        needed_bytes: u64,
        /// How much there is.
        budget_bytes: u64,
    },
}
