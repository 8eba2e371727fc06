//! The result as Arrow tables; names and order of columns are a contract.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::finish::{Correlation, PairRow};
use super::power::Power;
use super::simpson::{Simpson, Within};

impl Correlation {
    /// Returns the schema of the table `pairs`.
    #[must_use]
    pub fn pairs_schema() -> SchemaRef {
        let number = |name: &str| Field::new(name, DataType::Float64, true);
        Arc::new(Schema::new(vec![
            Field::new("x", DataType::Utf8, false),
            Field::new("y", DataType::Utf8, false),
            Field::new("group", DataType::Utf8, true),
            Field::new("lag", DataType::Int64, true),
            Field::new("method", DataType::Utf8, false),
            number("r"),
            Field::new("n", DataType::UInt64, false),
            number("effective_n"),
            number("lo"),
            number("hi"),
            number("p"),
            number("p_perm"),
            number("q"),
            Field::new("n_minor", DataType::UInt64, true),
            number("leverage_max"),
            Field::new("settled", DataType::Boolean, false),
            Field::new("verdict", DataType::Utf8, false),
        ]))
    }

    /// Returns the table `pairs`, best pair first, in batches that names of any length fit into.
    ///
    /// `group` and `lag` are null where none were asked for; `group` also for all rows.
    ///
    /// # Panics
    /// Never: the columns are built from the schema beside it.
    #[must_use]
    pub fn pairs_table(&self) -> Vec<RecordBatch> {
        const ROWS: usize = 1 << 20;
        if self.pairs.is_empty() {
            return vec![RecordBatch::new_empty(Self::pairs_schema())];
        }
        self.pairs.chunks(ROWS).map(|pairs| self.pairs_batch(pairs)).collect()
    }

    fn pairs_batch(&self, pairs: &[PairRow]) -> RecordBatch {
        let name = |of: fn(&PairRow) -> usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| &self.columns[of(pair)].name)))
        };
        let number = |of: &dyn Fn(&PairRow) -> Option<f64>| -> ArrayRef { Arc::new(pairs.iter().map(of).collect::<Float64Array>()) };
        let columns: Vec<ArrayRef> = vec![
            name(|pair| pair.x),
            name(|pair| pair.y),
            Arc::new(pairs.iter().map(|pair| pair.group.map(|group| &self.groups[group])).collect::<StringArray>()),
            Arc::new(pairs.iter().map(|pair| pair.lag).collect::<Int64Array>()),
            Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| pair.method.word()))),
            number(&|pair| pair.r),
            Arc::new(UInt64Array::from_iter_values(pairs.iter().map(|pair| pair.n))),
            number(&|pair| pair.effective_n),
            number(&|pair| pair.interval.map(|(lo, _)| lo)),
            number(&|pair| pair.interval.map(|(_, hi)| hi)),
            number(&|pair| pair.p),
            number(&|pair| pair.p_perm),
            number(&|pair| pair.q),
            Arc::new(pairs.iter().map(|pair| pair.n_minor).collect::<UInt64Array>()),
            number(&|pair| pair.leverage_max),
            Arc::new(pairs.iter().map(|pair| Some(pair.settled)).collect::<BooleanArray>()),
            Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| pair.verdict.word()))),
        ];
        RecordBatch::try_new(Self::pairs_schema(), columns).expect("columns are built in the order of the schema")
    }

    /// Returns the table `simpson`: what becomes of each pair within the groups of `by`.
    ///
    /// # Panics
    /// Never: columns have one cell a pair.
    #[must_use]
    pub fn simpson_table(&self, by: &str) -> RecordBatch {
        let rows = &self.simpson;
        let name = |of: fn(&Simpson) -> usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &self.columns[of(row)].name)))
        };
        let number = |of: fn(&Simpson) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) };
        let count = |of: fn(&Simpson) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(rows.iter().map(of))) };
        let text = |of: fn(&Simpson) -> &'static str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
        let columns: Vec<(&str, bool, ArrayRef)> = vec![
            ("x", false, name(|row| row.x)),
            ("y", false, name(|row| row.y)),
            ("by", false, Arc::new(StringArray::from_iter_values(rows.iter().map(|_| by)))),
            ("lag", true, Arc::new(rows.iter().map(|row| row.lag).collect::<Int64Array>())),
            ("method", false, text(|row| row.method.word())),
            ("r_total", false, number(|row| row.r_total)),
            ("n_total", false, count(|row| row.n_total)),
            ("r_within", false, number(|row| row.r_within)),
            ("lo_within", false, number(|row| row.interval.0)),
            ("hi_within", false, number(|row| row.interval.1)),
            ("p_within", false, number(|row| row.p_within)),
            ("n_within", false, count(|row| row.n_within)),
            ("n_groups", false, count(|row| row.n_groups)),
            ("p_differs", true, Arc::new(rows.iter().map(|row| row.p_differs).collect::<Float64Array>())),
            ("flips", false, Arc::new(rows.iter().map(|row| Some(row.within == Within::Flips)).collect::<BooleanArray>())),
            ("within", false, text(|row| row.within.word())),
        ];
        batch(columns)
    }

    /// Returns the table `power`: the smallest |r| that the pairs of all rows and of each group could show.
    ///
    /// # Panics
    /// Never: columns have one cell a group.
    #[must_use]
    pub fn power_table(&self) -> RecordBatch {
        let rows = &self.power();
        let number = |of: fn(&Power) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) };
        let columns: Vec<(&str, bool, ArrayRef)> = vec![
            ("group", true, Arc::new(rows.iter().map(|row| row.group.map(|group| &self.groups[group])).collect::<StringArray>())),
            ("n", false, number(|row| row.n)),
            ("family", false, Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.family)))),
            ("level", false, number(|row| row.level)),
            ("r_critical", false, number(|row| row.critical)),
            ("r_detectable", false, number(|row| row.detectable)),
            ("min_effect", false, number(|row| row.min_effect)),
            ("n_needed", true, Arc::new(rows.iter().map(|row| row.n_needed).collect::<UInt64Array>())),
        ];
        batch(columns)
    }
}

/// Returns a batch of columns by name, whether they have nulls, and cells.
fn batch(columns: Vec<(&str, bool, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, nulls, cells)| Field::new(*name, cells.data_type().clone(), *nulls)).collect();
    let cells = columns.into_iter().map(|(_, _, cells)| cells).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), cells).expect("every column has one cell a row")
}
