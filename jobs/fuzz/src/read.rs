//! What the fuzz targets do with bytes, shared with the test that replays the kept ones.
//!
//! A panic outside the readers' fence, an endless wait and memory beyond libFuzzer's limits are what is looked for; beside those, each
//! function asserts what has to hold of whatever was read.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use arrow::array::{Array as _, ArrayRef};
use gristmill::spec::{self, SpecFailure, SpecText};
use gristmill_datasets::{Cause, ReadError, Source, SourceOptions, open};
use tempfile::TempDir;

/// Bytes that a reader may claim.
const MEMORY_BYTES: u64 = 64 << 20;
/// Bytes of which no reader may hold a part.
const SCARCE_BYTES: u64 = 8 << 10;
/// Rows without columns that are counted.
const MOST_BARE_ROWS: u64 = 1_000_000;
/// What a spec may name as `t.csv`.
const TABLE: &str = "id,x,y,day,word\n1,0.5,2,2024-01-01,a\n2,1.5,3,2024-01-02,b\n3,,5,2024-01-03,\n4,2.5,7,2024-01-04,a\n";

/// Reads a spec: TOML, JSON or YAML, by its first byte. What is a spec can be written and read again; mistakes have places.
pub fn spec(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    // Other files of the machine are none of a fuzzer's business.
    if text.contains("..") || text.contains('/') || text.contains("\\u") || text.contains("**") {
        return;
    }
    let ending = ["toml", "json", "yaml"][usize::from(first % 3)];
    let path = with_folder(|folder| {
        let table = folder.join("t.csv");
        if !table.exists() {
            fs::write(table, TABLE).expect("the folder can be written");
        }
        folder.join("spec").with_extension(ending)
    });
    match spec::parse(SpecText::new(&path, text), &[]) {
        Ok((read, _)) => {
            let resolved = read.to_toml();
            let again = spec::parse(SpecText::new(path.with_extension("toml"), resolved.as_str()), &[]);
            let (again, _) = again.unwrap_or_else(|failure| panic!("{}\n{resolved}", failure.render(false)));
            assert_eq!(again.to_toml(), resolved, "a resolved spec says the same when it is read again");
        }
        Err(failure) => {
            assert!(!failure.render(false).is_empty(), "a mistake is told");
            if let SpecFailure::Wrong { text, problems } = &failure {
                let located = problems.locate(text);
                assert!(!located.is_empty(), "a wrong spec has a mistake");
                assert!(located.iter().all(|problem| problem.line > 0 && problem.column > 0), "{located:?}");
            }
        }
    }
}

/// Reads a table of some format: rows or an error, and the same rows in pieces of any length.
pub fn table(data: &[u8], ending: &str) {
    with_folder(|folder| {
        let name = format!("t.{ending}");
        fs::write(folder.join(&name), data).expect("the folder can be written");
        let plain = SourceOptions { base_dir: folder.to_owned(), memory_bytes: MEMORY_BYTES, ..SourceOptions::of(name) };
        same_rows(&plain);
        // Where readers have no room they are closed between two calls.
        same_rows(&SourceOptions { memory_bytes: SCARCE_BYTES, ..plain.clone() });
        if ending == "csv" {
            same_rows(&SourceOptions { header: Some(false), delimiter: Some(b';'), null_values: vec!["NA".to_owned()], ..plain.clone() });
            same_rows(&SourceOptions { encoding: Some("utf-16le".to_owned()), ..plain });
        }
    });
}

fn same_rows(options: &SourceOptions) {
    let source = match open(options) {
        Ok(source) => source,
        Err(error) => return lasting(&error),
    };
    match (n_rows(source.as_ref(), 1_000), n_rows(source.as_ref(), 7)) {
        (Ok(long), Ok(short)) => {
            assert_eq!(long, short, "the length of pieces changes the rows");
            assert!(source.n_rows().is_none_or(|n| n == long), "{:?} rows were promised and {long} came", source.n_rows());
        }
        (Err(long), Err(short)) => {
            lasting(&long);
            lasting(&short);
        }
        (Ok(n), Err(error)) | (Err(error), Ok(n)) => panic!("{n} rows, or else: {error}"),
    }
}

/// Trying again never helps with bytes that are wrong.
fn lasting(error: &ReadError) {
    assert_ne!(error.cause(), Cause::Temporary, "{error}");
    assert!(!error.to_string().is_empty(), "an error says something");
}

/// Reads all columns, which must be in step and of the types that were promised.
fn n_rows(source: &dyn Source, max_rows: usize) -> Result<u64, ReadError> {
    let schema = source.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let mut scan = source.scan(&all)?;
    let mut rows = 0;
    loop {
        let given: Vec<Mutex<usize>> = all.iter().map(|_| Mutex::default()).collect();
        let n = scan.next(max_rows, &|column, before, array: &ArrayRef| {
            let mut given = given[column].lock().expect("no sink panics");
            assert_eq!(*given, before, "a piece is out of order");
            assert_eq!(array.data_type(), schema.field(column).data_type(), "a piece has another type");
            *given += array.len();
        })?;
        assert!(n <= max_rows, "{n} rows came where {max_rows} were asked for");
        assert!(given.into_iter().all(|given| given.into_inner().expect("no sink panics") == n), "columns are out of step");
        if n == 0 {
            return Ok(rows);
        }
        rows += n as u64;
        // Without a column a file of 1 kB may claim 10^11 rows, and nobody reads them.
        if all.is_empty() && rows > MOST_BARE_ROWS {
            return Ok(source.n_rows().unwrap_or(rows));
        }
    }
}

/// Calls with a folder of this thread, in memory where the system has such a place.
fn with_folder<T>(call: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        call(
            folder
                .get_or_init(|| {
                    let in_memory = Path::new("/dev/shm");
                    let base = if in_memory.is_dir() { in_memory.to_owned() } else { std::env::temp_dir() };
                    tempfile::Builder::new().prefix("gristmill-fuzz-").tempdir_in(base).expect("a folder can be made")
                })
                .path(),
        )
    })
}
