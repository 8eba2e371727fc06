//! The file that keeps a clustering for rows to come: Parquet, its head a JSON text.
//!
//! ```text
//! gristmill.model   { format, version, gristmill, method, nulls, columns, segments, ... }       in the file's metadata
//! rows              part         centre | point | component
//!                   segment      from 1; null: noise
//!                   cells        in scaled units: (x - centre) / unit, one for each column of the head
//!                   inverse      component: inverse of the covariance's lower Cholesky factor, row by row
//!                   ln_weight, ln_peak       component
//! ```
//!
//! Version   the head's `version` is raised when its meaning changes; a file of another version is refused by name. A file is written and read
//!           by one gristmill of 64-bit floats, bit for bit.
//! Hostile   a file may come from anywhere: every length and every number is checked before it is used.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, RecordBatch, StringArray, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, UInt32Type};
use gristmill_engine::cluster::{Component, Covariance, Method, Model, ModelColumn, ModelRule, ModelSegment, Scaler, Trust};
use gristmill_engine::drift::Spread;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

use crate::outputs;
use crate::read_back::OwnTable;
use crate::run_dir::VERSION;

/// Key of the head in the file's metadata.
const HEAD: &str = "gristmill.model";

/// Version of what is written here.
const MODEL_VERSION: u32 = 2;

/// What a row without a cell gets, said in the file itself.
const NULLS: &str = "a row that lacks at most `most_missing` of the columns is placed by those that it has, another one has no segment";

/// Most bytes of rows that a model file may hold: 20,000 rows of 1,000 columns and some.
const MOST_BYTES: usize = 1 << 28;

/// Most rows that a model can have been made of: counts of them are added without loss in f64.
const MOST_ROWS: u64 = 1 << 53;

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    gristmill: String,
    kind: String,
    method: String,
    nulls: String,
    most_missing: f64,
    /// Whether rows are brought to length 1 before distances are taken.
    is_unit: bool,
    columns: Vec<ColumnHead>,
    segments: Vec<SegmentHead>,
    n_noise: u64,
    n_incomplete: u64,
    agreement: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct ColumnHead {
    name: String,
    /// The text that the column flags, and the number of its column of text.
    level: Option<String>,
    category_of: Option<u32>,
    centre: f64,
    unit: f64,
    edges: Vec<f64>,
    counts: Vec<u64>,
    n_missing: u64,
    mean: Option<f64>,
    least: Option<f64>,
    greatest: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct SegmentHead {
    n: u64,
    trust: String,
    stability: Option<f64>,
    reach: Option<f64>,
}

/// What a file has to be for its version to be read.
#[derive(Deserialize)]
struct Stamp {
    format: String,
    version: u32,
}

/// Rows of the table under way.
#[derive(Default)]
struct Parts {
    part: Vec<&'static str>,
    segment: Vec<Option<u32>>,
    cells: ListBuilder<Float64Builder>,
    inverse: ListBuilder<Float64Builder>,
    ln_weight: Vec<Option<f64>>,
    ln_peak: Vec<Option<f64>>,
}

impl Parts {
    fn push(&mut self, part: &'static str, segment: Option<u32>, cells: &[f64], component: Option<&Component>) {
        self.part.push(part);
        self.segment.push(segment.map(|segment| segment + 1));
        self.cells.append_value(cells.iter().map(|cell| Some(*cell)));
        match component {
            Some(component) => self.inverse.append_value(component.inverse.iter().map(|cell| Some(*cell))),
            None => self.inverse.append_null(),
        }
        self.ln_weight.push(component.map(|component| component.ln_weight));
        self.ln_peak.push(component.map(|component| component.ln_peak));
    }
}

/// Returns a model as the table of its file.
pub(crate) fn to_table(model: &Model) -> RecordBatch {
    let mut parts = Parts::default();
    for (segment, of) in (0..).zip(&model.segments) {
        parts.push("centre", Some(segment), &of.centre, None);
    }
    match &model.rule {
        ModelRule::Nearest { points, segments } => {
            let points = points.chunks(model.columns.len().max(1)).zip(segments);
            points.for_each(|(cells, segment)| parts.push("point", *segment, cells, None));
        }
        ModelRule::Likeliest { components, segments } => {
            let components = components.iter().zip(segments);
            components.for_each(|(component, segment)| parts.push("component", *segment, &component.mean, Some(component)));
        }
    }
    let (cells, inverse) = (parts.cells.finish(), parts.inverse.finish());
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("part", DataType::Utf8, false), Arc::new(StringArray::from(parts.part))),
        (Field::new("segment", DataType::UInt32, true), Arc::new(UInt32Array::from(parts.segment))),
        (Field::new("cells", cells.data_type().clone(), false), Arc::new(cells)),
        (Field::new("inverse", inverse.data_type().clone(), true), Arc::new(inverse)),
        (Field::new("ln_weight", DataType::Float64, true), Arc::new(Float64Array::from(parts.ln_weight))),
        (Field::new("ln_peak", DataType::Float64, true), Arc::new(Float64Array::from(parts.ln_peak))),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let head = serde_json::to_string(&head(model)).expect("a head is made of numbers and texts");
    let schema = Schema::new_with_metadata(fields, HashMap::from([(HEAD.to_owned(), head)]));
    RecordBatch::try_new(Arc::new(schema), arrays).expect("columns of a table have one length")
}

fn head(model: &Model) -> Head {
    let column = |column: &ModelColumn| ColumnHead {
        name: column.name.clone(),
        level: column.level.clone(),
        category_of: column.scaler.category_of,
        centre: column.scaler.centre,
        unit: column.scaler.unit,
        edges: column.spread.edges.clone(),
        counts: column.spread.counts.clone(),
        n_missing: column.spread.n_missing,
        mean: column.spread.mean,
        least: column.spread.least,
        greatest: column.spread.greatest,
    };
    let segment = |segment: &ModelSegment| SegmentHead {
        n: segment.n,
        trust: segment.trust.word().to_owned(),
        stability: segment.stability,
        reach: segment.reach,
    };
    Head {
        format: HEAD.to_owned(),
        version: MODEL_VERSION,
        gristmill: VERSION.to_owned(),
        kind: "cluster".to_owned(),
        method: model.method.word().to_owned(),
        nulls: NULLS.to_owned(),
        most_missing: model.most_missing,
        is_unit: model.is_unit,
        columns: model.columns.iter().map(column).collect(),
        segments: model.segments.iter().map(segment).collect(),
        n_noise: model.n_noise,
        n_incomplete: model.n_incomplete,
        agreement: model.agreement,
    }
}

/// Why there is no model.
pub(crate) enum NoModel {
    /// The system did not let us read the file, which may pass.
    System(io::Error),
    /// What is wrong with the file and what to do.
    File(String),
}

impl From<String> for NoModel {
    fn from(what: String) -> Self {
        Self::File(what)
    }
}

/// Reads a model from its file.
///
/// # Errors
/// When the file cannot be read, or holds no model of this version.
pub(crate) fn read(path: &Path) -> Result<Model, NoModel> {
    let shown = path.display();
    let file = OwnTable::open(path).map_err(NoModel::System)?;
    let refused = file.refused();
    let unreadable = |error: ParquetError| match refused.take() {
        Some(error) => NoModel::System(error),
        None => NoModel::File(format!("model file `{shown}` cannot be read: {}", outputs::into_io(error))),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    let schema = Arc::clone(builder.schema());
    let Some(text) = schema.metadata().get(HEAD) else {
        let what = format!("`{shown}` is no model: its metadata lack `{HEAD}`; name the table `model` of a step of kind `cluster`");
        return Err(what.into());
    };
    let damaged = |what: &str| format!("model file `{shown}` is damaged: {what}; make it again with a step of kind `cluster`");
    let stamp: Stamp = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    if (stamp.format.as_str(), stamp.version) != (HEAD, MODEL_VERSION) {
        let what = format!(
            "model file `{shown}` is of version {}, and gristmill {VERSION} reads version {MODEL_VERSION}; make it again with this version",
            stamp.version
        );
        return Err(what.into());
    }
    let head: Head = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    let claimed = builder.metadata().row_groups().iter().fold(0_i64, |sum, group| sum.saturating_add(group.total_byte_size().max(0)));
    if usize::try_from(claimed).is_ok_and(|claimed| claimed > MOST_BYTES) {
        return Err(damaged(&format!("it claims {claimed} bytes of rows, and a model has at most {MOST_BYTES}")).into());
    }
    let batches = builder.build().and_then(|reader| reader.map(|batch| batch.map_err(Into::into)).collect::<Result<Vec<_>, _>>());
    let batches = batches.map_err(unreadable)?;
    let table = concat_batches(&schema, &batches).map_err(|error| damaged(&error.to_string()))?;
    Ok(from_parts(head, &table).map_err(|what| damaged(&what))?)
}

/// The columns of a file, of the types that they must have.
struct Read<'a> {
    part: &'a StringArray,
    segment: &'a UInt32Array,
    cells: &'a arrow::array::ListArray,
    inverse: &'a arrow::array::ListArray,
    ln_weight: &'a Float64Array,
    ln_peak: &'a Float64Array,
    n_segments: usize,
    d: usize,
}

impl<'a> Read<'a> {
    fn of(table: &'a RecordBatch, head: &Head) -> Option<Self> {
        let column = |name: &str| table.column_by_name(name);
        Some(Self {
            part: column("part")?.as_string_opt()?,
            segment: column("segment")?.as_primitive_opt::<UInt32Type>()?,
            cells: column("cells")?.as_list_opt()?,
            inverse: column("inverse")?.as_list_opt()?,
            ln_weight: column("ln_weight")?.as_primitive_opt::<Float64Type>()?,
            ln_peak: column("ln_peak")?.as_primitive_opt::<Float64Type>()?,
            n_segments: head.segments.len(),
            d: head.columns.len(),
        })
    }

    /// Returns a list of numbers of a length, all of them finite.
    fn numbers(list: &arrow::array::ListArray, row: usize, n: usize) -> Result<Vec<f64>, String> {
        let cells = list.is_valid(row).then(|| list.value(row));
        let cells = cells.as_ref().and_then(|cells| cells.as_primitive_opt::<Float64Type>());
        match cells {
            Some(cells) if cells.len() == n && cells.null_count() == 0 && cells.values().iter().all(|x| x.is_finite()) => {
                Ok(cells.values().to_vec())
            }
            _ => Err(format!("row {row} has no {n} numbers")),
        }
    }

    fn cells(&self, row: usize) -> Result<Vec<f64>, String> {
        Self::numbers(self.cells, row, self.d)
    }

    fn segment(&self, row: usize) -> Result<Option<u32>, String> {
        let segment = self.segment.is_valid(row).then(|| self.segment.value(row));
        match segment {
            Some(segment) if segment == 0 || segment as usize > self.n_segments => {
                Err(format!("row {row} names segment {segment} of {}", self.n_segments))
            }
            segment => Ok(segment.map(|segment| segment - 1)),
        }
    }

    fn component(&self, row: usize) -> Result<Component, String> {
        let number = |column: &Float64Array| if column.is_valid(row) { column.value(row) } else { f64::NAN };
        let (ln_weight, ln_peak) = (number(self.ln_weight), number(self.ln_peak));
        if ln_weight.is_nan() || ln_peak.is_nan() {
            return Err(format!("row {row} has no weight or no peak"));
        }
        Ok(Component { ln_weight, ln_peak, mean: self.cells(row)?, inverse: Self::numbers(self.inverse, row, self.d * self.d)? })
    }
}

fn from_parts(head: Head, table: &RecordBatch) -> Result<Model, String> {
    let method = method_of(&head.method).ok_or_else(|| format!("method `{}` is unknown", head.method))?;
    if head.columns.is_empty() {
        return Err("it has no column".to_owned());
    }
    let of_segments = head.segments.iter().map(|segment| segment.n);
    let rows = of_segments.chain([head.n_noise, head.n_incomplete]).try_fold(0_u64, u64::checked_add);
    if rows.is_none_or(|rows| rows > MOST_ROWS) {
        return Err(format!("its segments have more than {MOST_ROWS} rows"));
    }
    let columns = head.columns.iter().map(column_of).collect::<Result<Vec<_>, String>>()?;
    let read = Read::of(table, &head).ok_or("its columns are not those of a model")?;
    let (mut centres, mut points, mut components, mut of_segments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..table.num_rows() {
        match read.part.value(row) {
            "centre" => centres.push(read.cells(row)?),
            "point" => points.extend(read.cells(row)?),
            "component" => components.push(read.component(row)?),
            other => return Err(format!("row {row} is a `{other}`")),
        }
        if read.part.value(row) != "centre" {
            of_segments.push(read.segment(row)?);
        }
    }
    if centres.len() != head.segments.len() {
        return Err(format!("{} centres for {} segments", centres.len(), head.segments.len()));
    }
    let rule = match (components.is_empty(), points.is_empty()) {
        (true, is_empty) if is_empty != centres.is_empty() => return Err("segments and points do not go together".to_owned()),
        (true, _) => ModelRule::Nearest { points, segments: of_segments },
        (false, true) => ModelRule::Likeliest { components, segments: of_segments },
        (false, false) => return Err("it has points and components".to_owned()),
    };
    let segments = head.segments.iter().zip(centres).map(segment_of).collect::<Result<Vec<_>, String>>()?;
    if !(0.0..=1.0).contains(&head.most_missing) {
        return Err(format!("`most_missing` is {}, and a share is 0 to 1", head.most_missing));
    }
    let Head { n_noise, n_incomplete, most_missing, is_unit, agreement, .. } = head;
    Ok(Model { method, columns, segments, rule, n_noise, n_incomplete, most_missing, is_unit, agreement })
}

fn column_of(head: &ColumnHead) -> Result<ModelColumn, String> {
    let is_scaler = head.centre.is_finite() && head.unit.is_finite() && head.unit > 0.0;
    // Rows are added up by whoever reads them.
    let rows = head.counts.iter().chain([&head.n_missing]).try_fold(0_u64, |sum, n| sum.checked_add(*n));
    let is_spread = rows.is_some_and(|rows| rows <= MOST_ROWS) && head.counts.len() == head.edges.len() + 1 && head.edges.is_sorted();
    if !is_scaler || !is_spread {
        return Err(format!("column `{}` has no scaler or no bins", head.name));
    }
    let spread = Spread {
        edges: head.edges.clone(),
        counts: head.counts.clone(),
        n_missing: head.n_missing,
        mean: head.mean,
        least: head.least,
        greatest: head.greatest,
    };
    let scaler = Scaler { centre: head.centre, unit: head.unit, category_of: head.category_of };
    Ok(ModelColumn { name: head.name.clone(), level: head.level.clone(), scaler, spread })
}

fn segment_of((head, centre): (&SegmentHead, Vec<f64>)) -> Result<ModelSegment, String> {
    let all = [Trust::Stable, Trust::Doubtful, Trust::Refused, Trust::Unknown];
    let trust = all.into_iter().find(|trust| trust.word() == head.trust).ok_or_else(|| format!("trust `{}` is unknown", head.trust))?;
    Ok(ModelSegment { n: head.n, trust, stability: head.stability, centre, reach: head.reach })
}

/// Returns the method of a word; what a method was given besides is part of its points.
fn method_of(word: &str) -> Option<Method> {
    let all = [
        Method::Auto,
        Method::KMeans,
        Method::Mixture(Covariance::Full),
        Method::Medoids,
        Method::Genie,
        Method::Hdbscan,
        Method::Dbscan(0.0),
    ];
    all.into_iter().find(|method| method.word() == word)
}
