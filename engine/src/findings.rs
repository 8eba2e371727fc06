//! The findings contract: one row for each thing that was found and can be trusted.
//!
//! A finding is a row whose guards all pass at `alpha` and `min_effect`. Tables hold everything that was
//! tested, also when no finding comes out of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// How far a finding reaches towards a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Two things go together; nothing else was held fixed.
    Association,
    /// Two things go together while the named controls are held fixed.
    Adjusted,
    /// One of the two was assigned at random.
    Randomised,
}

impl Evidence {
    /// Returns the word written into the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Association => "association",
            Self::Adjusted => "adjusted",
            Self::Randomised => "randomised",
        }
    }
}

/// One row of `findings.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Name of the job.
    pub job: String,
    /// Name of the step.
    pub step: String,
    /// Kind of the step, the verb of the job spec.
    pub kind: String,
    /// What the finding is about, `x ~ y` for a pair.
    pub subject: String,
    /// SQL boolean over the source's columns that selects the rows behind the finding.
    pub filter: String,
    /// Size of the effect, in `effect_unit`.
    pub effect: f64,
    /// Unit of the effect, `r` for a correlation.
    pub effect_unit: String,
    /// Lower end of the interval at 1 - alpha, null where none is defined.
    pub lo: Option<f64>,
    /// Upper end of the interval at 1 - alpha.
    pub hi: Option<f64>,
    /// Rows behind the finding.
    pub n: u64,
    /// Share of the source's rows that stand behind the finding, 0 to 1.
    pub support: f64,
    /// P-value of the single test.
    pub p: Option<f64>,
    /// Smallest p-value that the test could reach at this n.
    pub p_min_attainable: Option<f64>,
    /// P-value adjusted over the step's family.
    pub q: Option<f64>,
    /// How `q` was adjusted, with the family's size: `BH over 45 pairs`.
    pub q_method: String,
    /// How far the finding reaches towards a cause.
    pub evidence: Evidence,
    /// Whether a few rows make the finding; null where this was not examined.
    pub fragile: Option<bool>,
    /// Whether a later period confirms it; null without a `time` column.
    pub confirmed_out_of_time: Option<bool>,
    /// Latest value of the step's `time` column, else null.
    pub as_of: Option<String>,
    /// The finding in one plain sentence with its numbers.
    pub sentence: String,
}

impl Finding {
    /// Returns the id: the first 16 hex digits of a BLAKE3 hash of the content.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let texts = [&self.job, &self.step, &self.kind, &self.subject, &self.filter, &self.effect_unit, &self.sentence];
        for text in texts {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&self.effect.to_le_bytes());
        hash.update(&self.n.to_le_bytes());
        hash.finalize().to_hex()[..16].to_owned()
    }

    /// Returns the schema of `findings.parquet`.
    #[must_use]
    pub fn schema() -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let number = |name: &str, nullable| Field::new(name, DataType::Float64, nullable);
        Arc::new(Schema::new(vec![
            text("finding_id"),
            text("job"),
            text("step"),
            text("kind"),
            text("subject"),
            text("filter"),
            number("effect", false),
            text("effect_unit"),
            number("lo", true),
            number("hi", true),
            Field::new("n", DataType::UInt64, false),
            number("support", false),
            number("p", true),
            number("p_min_attainable", true),
            number("q", true),
            text("q_method"),
            text("evidence"),
            Field::new("fragile", DataType::Boolean, true),
            Field::new("confirmed_out_of_time", DataType::Boolean, true),
            Field::new("as_of", DataType::Utf8, true),
            text("sentence"),
        ]))
    }

    /// Returns findings as one batch in the order given.
    ///
    /// # Panics
    /// Never: the columns are built from the schema beside it.
    #[must_use]
    pub fn to_batch(findings: &[Self]) -> RecordBatch {
        let text = |of: &dyn Fn(&Self) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(findings.iter().map(of))) };
        let number = |of: &dyn Fn(&Self) -> Option<f64>| -> ArrayRef { Arc::new(findings.iter().map(of).collect::<Float64Array>()) };
        let flag = |of: &dyn Fn(&Self) -> Option<bool>| -> ArrayRef { Arc::new(findings.iter().map(of).collect::<BooleanArray>()) };
        let columns = vec![
            text(&Self::id),
            text(&|f| f.job.clone()),
            text(&|f| f.step.clone()),
            text(&|f| f.kind.clone()),
            text(&|f| f.subject.clone()),
            text(&|f| f.filter.clone()),
            number(&|f| Some(f.effect)),
            text(&|f| f.effect_unit.clone()),
            number(&|f| f.lo),
            number(&|f| f.hi),
            Arc::new(UInt64Array::from_iter_values(findings.iter().map(|f| f.n))),
            number(&|f| Some(f.support)),
            number(&|f| f.p),
            number(&|f| f.p_min_attainable),
            number(&|f| f.q),
            text(&|f| f.q_method.clone()),
            text(&|f| f.evidence.word().to_owned()),
            flag(&|f| f.fragile),
            flag(&|f| f.confirmed_out_of_time),
            Arc::new(findings.iter().map(|f| f.as_of.clone()).collect::<StringArray>()),
            text(&|f| f.sentence.clone()),
        ];
        RecordBatch::try_new(Self::schema(), columns).expect("columns are built in the order of the schema")
    }
}
