//! `where` and `sample`: some of the rows of a source.
//!
//! ```text
//! row kept = where(row) is true  and  hash(seed, position of the row in the files) < share * 2^64
//! ```
//!
//! The hash depends on nothing but seed and position, so that batches, threads and projections do not change the
//! sample. A number of rows is turned into a share of the rows that `where` keeps, which are counted when the first
//! scan starts, if nothing tells their number.
//!
//! Cost     the columns of `where` are read beside those asked for; the arrays of one call are held until the
//! ```text
//!      condition is known.
//! ```

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rayon::prelude::*;

use crate::filter::Filter;
use crate::{ReadError, Sample, Scan, Sink, Source, SourceFile};

/// Rows that are read at a time to count them.
const COUNT_ROWS: usize = 65_536;

/// A source of which some rows are kept.
pub(crate) struct Selection {
    base: Arc<dyn Source>,
    condition: Option<Condition>,
    sample: Option<Sample>,
    seed: u64,
    share: OnceLock<f64>,
}

/// A checked `where`, with the columns that it needs.
#[derive(Clone)]
struct Condition {
    filter: Filter,
    columns: Vec<usize>,
}

impl Selection {
    /// Checks a `where` against the schema of a source, and a sample for sense.
    pub(crate) fn new(base: Arc<dyn Source>, filter: Option<&str>, sample: Option<Sample>, seed: u64) -> Result<Self, ReadError> {
        let condition = filter.map(|text| Condition::new(text, &base.schema())).transpose()?;
        if let Some(Sample::Share(share)) = sample.filter(|s| !matches!(s, Sample::Share(p) if (0.0..=1.0).contains(p))) {
            let detail = "a share of the rows lies between 0 and 1".to_owned();
            return Err(ReadError::Option { option: "sample", value: share.to_string(), detail });
        }
        Ok(Self { base, condition, sample, seed, share: OnceLock::new() })
    }

    /// Returns the probability that a row is kept, counting rows if need be.
    fn share(&self) -> Result<Option<f64>, ReadError> {
        let n = match self.sample {
            None => return Ok(None),
            Some(Sample::Share(share)) => return Ok(Some(share)),
            Some(Sample::Rows(n)) => n,
        };
        if let Some(share) = self.share.get() {
            return Ok(Some(*share));
        }
        let known = self.base.n_rows().filter(|_| self.condition.is_none());
        let of = match known {
            Some(rows) => rows,
            None => self.count()?,
        };
        let share = if n >= of { 1.0 } else { n as f64 / of as f64 };
        Ok(Some(*self.share.get_or_init(|| share)))
    }

    fn count(&self) -> Result<u64, ReadError> {
        let mut scan = self.start(&[], None)?;
        let mut rows = 0;
        loop {
            match scan.next(COUNT_ROWS, &|_, _, _| {})? {
                0 => return Ok(rows),
                n => rows += n as u64,
            }
        }
    }

    fn start(&self, projection: &[usize], share: Option<f64>) -> Result<SelectionScan, ReadError> {
        let mut columns = projection.to_vec();
        let mut places = Vec::new();
        for column in self.condition.iter().flat_map(|condition| &condition.columns) {
            let place = columns.iter().position(|other| other == column).unwrap_or_else(|| {
                columns.push(*column);
                columns.len() - 1
            });
            places.push(place);
        }
        let schema = self.base.schema();
        let fields: Vec<_> =
            self.condition.iter().flat_map(|condition| &condition.columns).map(|column| Arc::clone(&schema.fields()[*column])).collect();
        Ok(SelectionScan {
            base: self.base.scan(&columns)?,
            n_columns: columns.len(),
            n_projected: projection.len(),
            condition: self.condition.clone(),
            places,
            schema: Arc::new(Schema::new(fields)),
            threshold: share.map(Threshold::of),
            seed: self.seed,
            row: 0,
        })
    }
}

impl Condition {
    fn new(text: &str, schema: &Schema) -> Result<Self, ReadError> {
        let filter = Filter::parse(text)?;
        filter.check(schema)?;
        let columns = filter.columns().iter().filter_map(|name| schema.index_of(name).ok()).collect();
        Ok(Self { filter, columns })
    }
}

impl Source for Selection {
    fn schema(&self) -> SchemaRef {
        self.base.schema()
    }

    fn files(&self) -> &[SourceFile] {
        self.base.files()
    }

    fn n_rows(&self) -> Option<u64> {
        None
    }

    fn notes(&self) -> &[String] {
        self.base.notes()
    }

    fn scan(&self, projection: &[usize]) -> Result<Box<dyn Scan>, ReadError> {
        let share = self.share()?;
        Ok(Box::new(self.start(projection, share)?))
    }
}

/// The hashes that are kept: those below a bound, or all.
#[derive(Debug, Clone, Copy)]
enum Threshold {
    All,
    Below(u64),
}

impl Threshold {
    fn of(share: f64) -> Self {
        // 2^64 itself does not fit; the cast of anything below it does, and saturates at 0.
        if share >= 1.0 { Self::All } else { Self::Below((share * 18_446_744_073_709_551_616.0) as u64) }
    }

    fn keeps(self, hash: u64) -> bool {
        match self {
            Self::All => true,
            Self::Below(bound) => hash < bound,
        }
    }
}

/// The finalizer of `SplitMix64` over seed and row: each bit of either moves every bit of the hash.
fn hash(seed: u64, row: u64) -> u64 {
    let mut z = mix(seed).wrapping_add(row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = mix(z);
    z
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct SelectionScan {
    base: Box<dyn Scan>,
    n_columns: usize,
    n_projected: usize,
    condition: Option<Condition>,
    /// Where the columns of the condition stand among those that are read.
    places: Vec<usize>,
    schema: SchemaRef,
    threshold: Option<Threshold>,
    seed: u64,
    row: u64,
}

/// The pieces of one column, with the rows before each.
type Pieces = Vec<(usize, ArrayRef)>;

impl SelectionScan {
    fn mask(&self, n_rows: usize, pieces: &[Pieces]) -> Result<BooleanArray, ReadError> {
        let sampled = |row: usize| match self.threshold {
            None | Some(Threshold::All) => true,
            Some(threshold) => threshold.keeps(hash(self.seed, self.row + row as u64)),
        };
        let Some(condition) = &self.condition else {
            return Ok(BooleanArray::new(BooleanBuffer::collect_bool(n_rows, sampled), None));
        };
        let columns = self.places.iter().map(|place| joined(&pieces[*place])).collect::<Result<Vec<_>, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let batch = columns
            .and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options))
            .map_err(|error| self.unexpected(&error))?;
        let kept = condition.filter.evaluate(&batch)?;
        let both = BooleanBuffer::collect_bool(n_rows, |row| kept.value(row) && sampled(row));
        Ok(BooleanArray::new(both, None))
    }

    fn unexpected(&self, error: &arrow::error::ArrowError) -> ReadError {
        let value = self.condition.as_ref().map_or_else(String::new, |condition| condition.filter.text().to_owned());
        ReadError::Option { option: "where", value, detail: error.to_string() }
    }
}

fn joined(pieces: &Pieces) -> Result<ArrayRef, arrow::error::ArrowError> {
    match pieces.as_slice() {
        [(_, array)] => Ok(Arc::clone(array)),
        pieces => concat(&pieces.iter().map(|(_, array)| array.as_ref()).collect::<Vec<_>>()),
    }
}

impl Scan for SelectionScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        loop {
            let held: Vec<Mutex<Pieces>> = (0..self.n_columns).map(|_| Mutex::default()).collect();
            let n_rows = self.base.next(max_rows, &|column, before, array| {
                let mut pieces = held[column].lock().unwrap_or_else(PoisonError::into_inner);
                pieces.push((before, Arc::clone(array)));
            })?;
            if n_rows == 0 {
                return Ok(0);
            }
            let pieces: Vec<Pieces> = held.into_iter().map(|pieces| pieces.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
            let mask = self.mask(n_rows, &pieces)?;
            self.row += n_rows as u64;
            let n_kept = mask.values().count_set_bits();
            if n_kept == 0 {
                continue;
            }
            let given = pieces[..self.n_projected]
                .par_iter()
                .enumerate()
                .try_for_each(|(position, pieces)| give(position, pieces, &mask, n_kept == n_rows, sink));
            given.map_err(|error| self.unexpected(&error))?;
            return Ok(n_kept);
        }
    }
}

/// Hands the rows of one column that are kept to the sink.
fn give(position: usize, pieces: &Pieces, mask: &BooleanArray, all: bool, sink: &Sink<'_>) -> Result<(), arrow::error::ArrowError> {
    let mut n_before = 0;
    for (before, array) in pieces {
        if all {
            sink(position, *before, array);
            continue;
        }
        let kept = filter(array, &mask.slice(*before, array.len()))?;
        if !kept.is_empty() {
            sink(position, n_before, &kept);
            n_before += kept.len();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_keeps_about_as_many_rows_and_bounds_are_exact() {
        let kept = |share: f64, seed: u64| (0..100_000).filter(|row| Threshold::of(share).keeps(hash(seed, *row))).count();
        assert_eq!((kept(0.0, 1), kept(1.0, 1)), (0, 100_000));
        for (share, expected) in [(0.5, 50_000.0_f64), (0.01, 1_000.0)] {
            for seed in [0, 1, 2, u64::MAX] {
                // Five standard deviations of a binomial.
                let bound = 5.0 * (expected * (1.0 - share)).sqrt();
                assert!((kept(share, seed) as f64 - expected).abs() < bound, "{share} of seed {seed}");
            }
        }
    }

    #[test]
    fn seeds_give_different_samples() {
        let sample = |seed| (0..1000).filter(move |row| Threshold::of(0.5).keeps(hash(seed, *row))).collect::<Vec<_>>();
        assert_ne!(sample(0), sample(1));
    }
}
