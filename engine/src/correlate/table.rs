//! The result as Arrow tables; names and order of columns are a contract.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::finish::{Correlation, PairRow};

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
    /// Columns of later work (`group`, `lag`) are null.
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
        let n = pairs.len();
        let name = |of: fn(&PairRow) -> usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| &self.columns[of(pair)].name)))
        };
        let number = |of: &dyn Fn(&PairRow) -> Option<f64>| -> ArrayRef { Arc::new(pairs.iter().map(of).collect::<Float64Array>()) };
        let columns: Vec<ArrayRef> = vec![
            name(|pair| pair.x),
            name(|pair| pair.y),
            Arc::new(StringArray::new_null(n)),
            Arc::new(Int64Array::new_null(n)),
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
}
