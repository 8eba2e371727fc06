//! `--also`: tables of a run in another format, beside their Parquet files.
//!
//! They are made from the tables as they lie there, batch by batch, and are no part of the run: neither hashed nor looked at again. A table with
//! lists in it has no CSV. Texts that a spreadsheet would take for a formula get a `'` before them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_empty_array};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use clap::ValueEnum;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::JobError;
use crate::exit;
use crate::manifest::{Manifest, OutputRecord};
use crate::outputs::{self, Folder};
use crate::run_dir::check_folder;
use crate::signals::Stop;

/// A further format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Also {
    /// Text, one line a row.
    Csv,
    /// Arrow IPC, a file that is mapped into memory as it is.
    Arrow,
}

/// Writes every table of a run in this format; where one cannot be written, the others all the same.
///
/// # Errors
/// When a table cannot be read or a file cannot be written, the worst of these; or when it is stopped.
pub fn export(run_dir: &Folder, manifest: &Manifest, format: Also, stop: &Stop) -> Result<(), JobError> {
    let mut worst = None;
    for output in manifest.outputs.iter().filter(|output| output.path.ends_with(".parquet")) {
        stop.check()?;
        if let Err(error) = export_one(run_dir, manifest, output, format, stop) {
            worst = Some(match worst {
                Some(before) => exit::worse(before, error),
                None => error,
            });
        }
    }
    worst.map_or(Ok(()), Err)
}

fn export_one(run_dir: &Folder, manifest: &Manifest, output: &OutputRecord, format: Also, stop: &Stop) -> Result<(), JobError> {
    let from = run_dir.path().join(&output.path);
    let to = format!("{}{}", output.path.trim_end_matches("parquet"), if format == Also::Csv { "csv" } else { "arrow" });
    // A kind may have written a text of its own under this name.
    if manifest.outputs.iter().any(|output| output.path == to) {
        return Ok(());
    }
    // In clearer words than those of the system, which would not go through a link either.
    to.split_once('/').map_or(Ok(()), |(step, _)| check_folder(&run_dir.path().join(step)))?;
    let (folder, name) = outputs::folder_of(run_dir, &to)?;
    let open = File::open(&from).map_err(|error| JobError::ReadBack { path: from.clone(), error })?;
    let read = |error| JobError::ReadBack { path: from.clone(), error: outputs::into_io(error) };
    let builder = ParquetRecordBatchReaderBuilder::try_new(open).map_err(read)?;
    let schema = Arc::clone(builder.schema());
    if format == Also::Csv && schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(());
    }
    let stopped = || ArrowError::ExternalError("stopped".into());
    let batches = builder.build().map_err(read)?.map(|batch| if stop.is_asked() { Err(stopped()) } else { batch });
    let written = outputs::write_whole(&folder, name, |file| {
        let mut file = BufWriter::new(file);
        write(&mut file, &schema, batches, format).map_err(into_io)?;
        file.flush()
    });
    stop.check()?;
    written
}

fn write(
    file: &mut impl Write,
    schema: &Arc<Schema>,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    format: Also,
) -> Result<(), ArrowError> {
    match format {
        Also::Arrow => {
            let mut writer = FileWriter::try_new(file, schema)?;
            for batch in batches {
                writer.write(&batch?)?;
            }
            writer.finish()
        }
        Also::Csv => {
            let mut writer = csv::WriterBuilder::new().with_header(true).build(file);
            let names: Vec<String> =
                schema.fields().iter().map(|field| harmless(field.name()).unwrap_or_else(|| field.name().clone())).collect();
            let mut put = |columns: Vec<ArrayRef>| {
                let fields = names.iter().zip(&columns).map(|(name, column)| Field::new(name, column.data_type().clone(), true));
                let schema = Schema::new(fields.collect::<Vec<_>>());
                writer.write(&RecordBatch::try_new(Arc::new(schema), columns)?)
            };
            // An empty table has a line of names all the same.
            put(schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect())?;
            for batch in batches {
                put(batch?.columns().iter().map(without_formulas).collect())?;
            }
            Ok(())
        }
    }
}

/// Returns a column whose texts no spreadsheet takes for formulas.
fn without_formulas(column: &ArrayRef) -> ArrayRef {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let holds_text = match column.data_type() {
        DataType::Dictionary(_, values) => is_text(values),
        other => is_text(other),
    };
    let Some(texts) = holds_text.then(|| cast(column, &DataType::Utf8).ok()).flatten() else { return Arc::clone(column) };
    let texts = texts.as_string::<i32>();
    if !texts.iter().flatten().any(|text| harmless(text).is_some()) {
        return Arc::clone(column);
    }
    let texts = texts.iter().map(|text| text.map(|text| harmless(text).unwrap_or_else(|| text.to_owned())));
    Arc::new(texts.collect::<StringArray>())
}

/// Returns a text with a `'` before it, where a spreadsheet would calculate it.
fn harmless(text: &str) -> Option<String> {
    let is_number = text.parse::<f64>().is_ok();
    (text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number).then(|| format!("'{text}"))
}

fn into_io(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        ArrowError::ExternalError(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
