//! One schema for files whose columns differ.
//!
//! Columns are matched by name; the order is that of the first file, later files add theirs at the end, and Hive
//! partitions and the column of file paths come last. Columns are renamed before they are matched. A file that lacks a column has nulls there. Types that differ become the narrowest type
//! that holds both:
//!
//! ```text
//! whole numbers           the wider; Int64 where signs differ, Float64 where that is UInt64
//! whole number and float  Float64
//! decimals                enough digits for both, Float64 beyond 38
//! dates and timestamps    the finer unit
//! texts                   LargeUtf8 if one is
//! any two in text files   Utf8, since a cell of a text file can always be read as written
//! ```
//!
//! What was done is noted for the user. Types with no such common type are an error that names the second file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, TimeUnit};

use crate::paths::Found;
use crate::table::{Member, Origin, Part};
use crate::{ReadError, Rename, SourceOptions};

/// Names that a note lists before it only counts.
const LISTED: usize = 5;

/// The files of a source as one table.
pub(crate) struct Aligned {
    pub(crate) schema: Schema,
    pub(crate) members: Vec<Member>,
    pub(crate) notes: Vec<String>,
}

/// A column as far as it is known.
struct Column {
    field: Field,
    /// Whether every file that has it is text.
    is_text: bool,
    /// Whether some file that has it is text.
    any_text: bool,
    /// Where the types of files differed: type in the first file.
    widened_from: Option<DataType>,
    n_files: usize,
}

/// Finds one schema for all parts.
pub(crate) fn align(parts: Vec<Arc<dyn Part>>, found: &[Found], options: &SourceOptions) -> Result<Aligned, ReadError> {
    let mut notes = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut origins: Vec<HashMap<usize, Origin>> = Vec::new();
    for (part, file) in parts.iter().zip(found) {
        notes.extend(part.notes());
        let mut names = unique_names(&part.schema(), &file.path, &mut notes);
        rename(&mut names, &options.rename, &file.path)?;
        let mut mine = HashMap::new();
        for (at, (field, name)) in part.schema().fields().iter().zip(names).enumerate() {
            let column = match index.get(&name) {
                Some(column) => {
                    join(&mut columns[*column], field, part.is_text(), &file.path)?;
                    *column
                }
                None => {
                    index.insert(name.clone(), columns.len());
                    columns.push(Column::new(field, &name, part.is_text()));
                    columns.len() - 1
                }
            };
            mine.insert(column, Origin::Column(at));
        }
        origins.push(mine);
    }
    let n_from_files = columns.len();
    all_renamed(&options.rename, &parts)?;
    add_partitions(found, &mut columns, &mut index, &mut origins, &mut notes);
    if let Some(name) = &options.file_column {
        add_paths(name, found, &options.base_dir, &mut columns, &index, &mut origins)?;
    }
    notes.extend(describe(&columns[..n_from_files], parts.len()));
    let n_parts = parts.len();
    let member = |(part, mut mine): (Arc<dyn Part>, HashMap<usize, Origin>)| Member {
        part,
        origins: (0..columns.len()).map(|column| mine.remove(&column).unwrap_or(Origin::Absent)).collect(),
    };
    let members = parts.into_iter().zip(origins).map(member).collect();
    let fields: Vec<Field> = columns.into_iter().map(|column| column.finish(n_parts)).collect();
    Ok(Aligned { schema: Schema::new(fields), members, notes })
}

impl Column {
    fn new(field: &Field, name: &str, is_text: bool) -> Self {
        let field = Field::new(name, plain(field.data_type()), field.is_nullable());
        Self { field, is_text, any_text: is_text, widened_from: None, n_files: 1 }
    }

    fn finish(self, n_parts: usize) -> Field {
        let nullable = self.field.is_nullable() || self.n_files < n_parts;
        let data_type = match self.field.data_type() {
            // Nothing but empty cells: any later cell can be a text.
            DataType::Null if self.any_text => DataType::Utf8,
            same => same.clone(),
        };
        self.field.with_nullable(nullable).with_data_type(data_type)
    }
}

/// View types only exist in memory: the engine sees one text type.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        same => same.clone(),
    }
}

fn unique_names(schema: &Schema, path: &Path, notes: &mut Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(schema.fields().len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for field in schema.fields() {
        let mut name = field.name().clone();
        while let Some(n) = seen.get_mut(&name) {
            *n += 1;
            name = format!("{}_{n}", field.name());
        }
        if name != *field.name() {
            notes.push(format!("`{}` has several columns `{}`: one is read as `{name}`", path.display(), field.name()));
        }
        seen.insert(name.clone(), 1);
        names.push(name);
    }
    names
}

/// Gives the columns of one file their new names.
fn rename(names: &mut [String], renames: &[Rename], path: &Path) -> Result<(), ReadError> {
    let before = names.to_vec();
    for asked in renames {
        if let Some(at) = before.iter().position(|name| *name == asked.from) {
            names[at].clone_from(&asked.to);
        }
    }
    for asked in renames {
        if names.iter().filter(|name| **name == asked.to).count() > 1 {
            let detail = format!("`{}` would have two columns `{}`; choose another name", path.display(), asked.to);
            return Err(ReadError::Option { option: "rename", value: asked.to_string(), detail });
        }
    }
    Ok(())
}

/// Checks that every new name was given to something.
fn all_renamed(renames: &[Rename], parts: &[Arc<dyn Part>]) -> Result<(), ReadError> {
    for asked in renames {
        let mut there: Vec<String> = Vec::new();
        for part in parts {
            there.extend(part.schema().fields().iter().map(|field| format!("`{}`", field.name())));
        }
        if !there.contains(&format!("`{}`", asked.from)) {
            there.sort_unstable();
            there.dedup();
            let detail = format!("no file has a column `{}`; there are {}", asked.from, listed(&there));
            return Err(ReadError::Option { option: "rename", value: asked.to_string(), detail });
        }
    }
    Ok(())
}

fn join(column: &mut Column, field: &Field, is_text: bool, path: &Path) -> Result<(), ReadError> {
    let (before, now) = (column.field.data_type().clone(), plain(field.data_type()));
    let common = common_type(&before, &now).or((column.is_text && is_text).then_some(DataType::Utf8));
    let common = common.ok_or_else(|| ReadError::SchemaMismatch {
        path: path.to_path_buf(),
        column: field.name().clone(),
        found: now.to_string(),
        expected: before.to_string(),
    })?;
    if common != before && before != DataType::Null && column.widened_from.is_none() {
        column.widened_from = Some(before);
    }
    column.is_text &= is_text;
    column.any_text |= is_text;
    column.n_files += 1;
    let nullable = column.field.is_nullable() || field.is_nullable();
    column.field = column.field.clone().with_data_type(common).with_nullable(nullable);
    Ok(())
}

/// Returns the narrowest type that holds both.
pub(crate) fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Binary, Date32, Date64, Dictionary, Float16, Float32, Float64, Int64, LargeBinary, LargeUtf8};
    use DataType::{Null, Timestamp, UInt64, Utf8};
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, value), other) | (other, Dictionary(_, value)) => common_type(value, other),
        (Utf8 | LargeUtf8, Utf8 | LargeUtf8) => Some(LargeUtf8),
        (Binary | LargeBinary, Binary | LargeBinary) => Some(LargeBinary),
        (Float16, Float32) | (Float32, Float16) => Some(Float32),
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Date32 | Date64, Timestamp(unit, zone)) | (Timestamp(unit, zone), Date32 | Date64) => Some(Timestamp(*unit, zone.clone())),
        (Timestamp(x, zone), Timestamp(y, other)) if zone.is_some() == other.is_some() => Some(Timestamp(finer(*x, *y), zone.clone())),
        _ if is_decimal(a) && is_decimal(b) => common_decimal(a, b).or(Some(Float64)),
        _ if a.is_integer() && b.is_integer() => Some(match (width(a), width(b)) {
            _ if a.is_signed_integer() == b.is_signed_integer() => (if width(a) >= width(b) { a } else { b }).clone(),
            _ if *a == UInt64 || *b == UInt64 => Float64,
            _ => Int64,
        }),
        _ if is_number(a) && is_number(b) => Some(Float64),
        _ => None,
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn is_decimal(data_type: &DataType) -> bool {
    decimal(data_type).is_some()
}

fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => Some((*p, *s)),
        DataType::Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    }
}

fn common_decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((p, s), (q, t)) = (decimal(a)?, decimal(b)?);
    let scale = s.max(t);
    let whole = (i16::from(p) - i16::from(s)).max(i16::from(q) - i16::from(t));
    let digits = u8::try_from(whole + i16::from(scale)).ok()?;
    (digits <= DECIMAL128_MAX_PRECISION).then_some(DataType::Decimal128(digits, scale))
}

fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(0)
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

fn add_partitions(
    found: &[Found],
    columns: &mut Vec<Column>,
    index: &mut HashMap<String, usize>,
    origins: &mut [HashMap<usize, Origin>],
    notes: &mut Vec<String>,
) {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in found.iter().flat_map(|file| &file.partitions) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    for key in keys {
        if index.contains_key(key) {
            notes.push(format!("`{key}` is a column of the files, so `{key}=...` in their paths is not used"));
            continue;
        }
        let values: Vec<Option<&str>> = found.iter().map(|file| partition(file, key)).collect();
        let whole = values.iter().flatten().all(|value| value.parse::<i64>().is_ok());
        let data_type = if whole { DataType::Int64 } else { DataType::Utf8 };
        let column = columns.len();
        index.insert(key.to_owned(), column);
        let field = Field::new(key, data_type, true);
        columns.push(Column { field, is_text: false, any_text: false, widened_from: None, n_files: found.len() });
        for (mine, value) in origins.iter_mut().zip(values) {
            let value: ArrayRef = if whole {
                Arc::new(Int64Array::from(vec![value.and_then(|value| value.parse().ok())]))
            } else {
                Arc::new(StringArray::from(vec![value]))
            };
            mine.insert(column, Origin::Value(value));
        }
    }
}

/// Adds the column that says which file a row is from.
fn add_paths(
    name: &str,
    found: &[Found],
    base_dir: &Path,
    columns: &mut Vec<Column>,
    index: &HashMap<String, usize>,
    origins: &mut [HashMap<usize, Origin>],
) -> Result<(), ReadError> {
    if index.contains_key(name) {
        let detail = format!("the files have a column `{name}`; choose another name");
        return Err(ReadError::Option { option: "file_column", value: name.to_owned(), detail });
    }
    for (mine, file) in origins.iter_mut().zip(found) {
        let path = file.path.strip_prefix(base_dir).unwrap_or(&file.path).to_string_lossy();
        mine.insert(columns.len(), Origin::Value(Arc::new(StringArray::from(vec![path.as_ref()]))));
    }
    let field = Field::new(name, DataType::Utf8, false);
    columns.push(Column { field, is_text: false, any_text: false, widened_from: None, n_files: found.len() });
    Ok(())
}

fn partition<'a>(file: &'a Found, key: &str) -> Option<&'a str> {
    // The deepest folder wins where a key stands twice.
    file.partitions.iter().rev().find(|(name, _)| name == key).and_then(|(_, value)| value.as_deref())
}

fn describe(columns: &[Column], n_parts: usize) -> Vec<String> {
    let absent: Vec<String> = columns
        .iter()
        .filter(|column| column.n_files < n_parts)
        .map(|column| format!("`{}` (in {} of {n_parts})", column.field.name(), column.n_files))
        .collect();
    let widened: Vec<String> = columns
        .iter()
        .filter_map(|column| column.widened_from.as_ref().map(|from| (column, from)))
        .map(|(column, from)| format!("`{}` ({from} to {})", column.field.name(), column.field.data_type()))
        .collect();
    let mut notes = Vec::new();
    if !absent.is_empty() {
        notes.push(format!("columns that some files lack are null there: {}", listed(&absent)));
    }
    if !widened.is_empty() {
        notes.push(format!("columns whose types differ between files were widened: {}", listed(&widened)));
    }
    notes
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
