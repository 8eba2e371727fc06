//! Several sources one after another, as one: rows of the first come first.
//!
//! Columns are matched by name, as those of files are (`align.rs`): a source that lacks a column has nulls there, types that differ become the
//! narrowest type that holds both. One more column says which source a row is of.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::align::common_type;
use crate::{ReadError, Scan, Sink, Source, SourceFile};

/// A source among others.
struct Member {
    name: String,
    source: Arc<dyn Source>,
    /// Its column for every column of the whole; none where it lacks that, or it is the name.
    columns: Vec<Option<usize>>,
}

/// Sources as one.
struct Union {
    schema: SchemaRef,
    members: Arc<[Member]>,
    files: Vec<SourceFile>,
    notes: Vec<String>,
}

/// Puts sources together by the names of their columns; `name_column` is added, and holds the name of each row's source.
///
/// # Errors
/// When a source has a column of that name, or the types of a column have no type that holds both.
pub fn union(sources: Vec<(String, Arc<dyn Source>)>, name_column: &str) -> Result<Arc<dyn Source>, ReadError> {
    let mut fields: Vec<Field> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut n_have: Vec<usize> = Vec::new();
    for (name, source) in &sources {
        for field in source.schema().fields() {
            if field.name() == name_column {
                let detail = format!(
                    "`{name}` has a column `{name_column}`, which is the name of the column that says where a row is from; give it another name with `rename`"
                );
                return Err(ReadError::Option { option: "from", value: name.clone(), detail });
            }
            let Some(&at) = index.get(field.name()) else {
                index.insert(field.name().clone(), fields.len());
                fields.push(field.as_ref().clone());
                n_have.push(1);
                continue;
            };
            let (before, now) = (fields[at].data_type().clone(), field.data_type());
            let common = common_type(&before, now).ok_or_else(|| ReadError::SchemaMismatch {
                path: PathBuf::from(name),
                column: field.name().clone(),
                found: now.to_string(),
                expected: before.to_string(),
            })?;
            let is_nullable = fields[at].is_nullable() || field.is_nullable();
            fields[at] = fields[at].clone().with_data_type(common).with_nullable(is_nullable);
            n_have[at] += 1;
        }
    }
    let n_sources = sources.len();
    let mut fields: Vec<Field> =
        fields.into_iter().zip(&n_have).map(|(field, n)| if *n < n_sources { field.with_nullable(true) } else { field }).collect();
    let absent: Vec<String> = fields
        .iter()
        .zip(&n_have)
        .filter(|(_, n)| **n < n_sources)
        .map(|(field, n)| format!("`{}` (in {n} of {n_sources})", field.name()))
        .collect();
    fields.push(Field::new(name_column, DataType::Utf8, false));
    let notes = if absent.is_empty() { Vec::new() } else { vec![format!("columns that some sources lack: {}", absent.join(", "))] };
    let member = |(name, source): (String, Arc<dyn Source>)| {
        let schema = source.schema();
        let columns = fields[..n_have.len()].iter().map(|field| schema.index_of(field.name()).ok()).chain([None]).collect();
        Member { name, source, columns }
    };
    let members: Arc<[Member]> = sources.into_iter().map(member).collect();
    let files = members.iter().flat_map(|member| member.source.files()).cloned().collect();
    Ok(Arc::new(Union { schema: Arc::new(Schema::new(fields)), members, files, notes }))
}

impl Source for Union {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn files(&self) -> &[SourceFile] {
        &self.files
    }

    fn n_rows(&self) -> Option<u64> {
        self.members.iter().map(|member| member.source.n_rows()).sum()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn scan(&self, projection: &[usize]) -> Result<Box<dyn Scan>, ReadError> {
        let mut scan = UnionScan {
            schema: Arc::clone(&self.schema),
            members: Arc::clone(&self.members),
            projection: projection.to_vec(),
            at: 0,
            current: None,
        };
        scan.open()?;
        Ok(Box::new(scan))
    }
}

/// A walk through all of them.
struct UnionScan {
    schema: SchemaRef,
    members: Arc<[Member]>,
    projection: Vec<usize>,
    /// The member that is read.
    at: usize,
    current: Option<Open>,
}

/// A member that is read.
struct Open {
    scan: Box<dyn Scan>,
    /// Where its columns stand in the projection.
    places: Vec<usize>,
}

impl UnionScan {
    /// Opens the member that is next.
    fn open(&mut self) -> Result<(), ReadError> {
        self.current = None;
        if let Some(member) = self.members.get(self.at) {
            let own = self.projection.iter().enumerate().filter_map(|(place, column)| Some((place, member.columns[*column]?)));
            let (places, columns): (Vec<usize>, Vec<usize>) = own.unzip();
            // Without a column of its own only its rows are counted, by a column that goes nowhere.
            let scan = member.source.scan(if columns.is_empty() { &[0] } else { &columns })?;
            self.current = Some(Open { scan, places });
        }
        Ok(())
    }

    /// Hands over cells that the member does not have.
    fn fill(&self, n_rows: usize, sink: &Sink<'_>) {
        let member = &self.members[self.at];
        for (place, column) in self.projection.iter().enumerate().filter(|(_, column)| member.columns[**column].is_none()) {
            let is_name = column + 1 == self.schema.fields().len();
            let cells: ArrayRef = if is_name {
                Arc::new(StringArray::from(vec![member.name.as_str(); n_rows]))
            } else {
                new_null_array(self.schema.field(*column).data_type(), n_rows)
            };
            sink(place, 0, &cells);
        }
    }
}

impl Scan for UnionScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        loop {
            let Some(open) = &mut self.current else { return Ok(0) };
            let failed: Mutex<Option<ReadError>> = Mutex::new(None);
            let (schema, places, projection, name) = (&self.schema, &open.places, &self.projection, &self.members[self.at].name);
            let put = |column: usize, before: usize, cells: &ArrayRef| {
                let Some(&place) = places.get(column) else { return };
                let field = schema.field(projection[place]);
                if cells.data_type() == field.data_type() {
                    return sink(place, before, cells);
                }
                match cast(cells, field.data_type()) {
                    Ok(cells) => sink(place, before, &cells),
                    Err(error) => {
                        let error = ReadError::SchemaMismatch {
                            path: PathBuf::from(name),
                            column: field.name().clone(),
                            found: error.to_string(),
                            expected: field.data_type().to_string(),
                        };
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            };
            let n_rows = open.scan.next(max_rows, &put)?;
            if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err(error);
            }
            if n_rows > 0 {
                self.fill(n_rows, sink);
                return Ok(n_rows);
            }
            self.at += 1;
            self.open()?;
        }
    }
}
