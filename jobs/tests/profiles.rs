//! `kind = "features"` from the command line: profiles against counting by another program, and what cannot be counted.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, UInt64Type};
use common::{Job, repository, shared};

fn numbers(table: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column = cast(table.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")), &DataType::Float64).unwrap();
    column.as_primitive::<Float64Type>().iter().collect()
}

fn rows(table: &RecordBatch) -> Vec<usize> {
    let rows = table.column_by_name("row").unwrap().as_primitive::<UInt64Type>().values();
    rows.iter().map(|row| usize::try_from(*row).unwrap()).collect()
}

fn sum(table: &RecordBatch, name: &str) -> f64 {
    numbers(table, name).into_iter().flatten().sum()
}

/// Two years of a shop in two files whose columns have other names and whose days overlap. The sums were computed with polars 1.x.
#[test]
fn two_years_of_a_shop_become_its_customers() {
    let Some(first) = shared("domain/online_retail_ii_2009_2010.parquet") else { return };
    let second = shared("domain/online_retail_2010_2011.parquet").unwrap();
    let spec = format!(
        "name = \"retail\"\n[source.lines]\npath = [{first:?}, {second:?}]\nfile_column = \"file\"\n\
         rename = [\"Invoice as InvoiceNo\", \"Price as UnitPrice\", \"Customer ID as CustomerID\"]\n\
         where = \"CustomerID is not null and InvoiceNo not like 'C%' and not (file like '%2009_2010%' and InvoiceDate >= '2010-12-01')\"\n\
         [step.rfm]\nkind = \"features\"\nfrom = \"lines\"\nentity = \"CustomerID\"\ntime = \"InvoiceDate\"\norder = \"InvoiceNo\"\n\
         quantity = \"Quantity\"\nprice = \"UnitPrice\"\nproduct = \"StockCode\"\ncategory = \"Country\"\n\
         [step.segments]\nkind = \"cluster\"\nfrom = \"rfm\"\ncolumns = [\"r_score\", \"f_score\", \"m_score\"]\nmethod = \"kmeans\"\nk = 4\nid = \"CustomerID\"\n"
    );
    let job = Job::new();
    let tight = job.try_run(&spec.replace("[source.lines]", "memory = \"32MiB\"\n[source.lines]"), "tight").err().unwrap();
    assert!(tight.contains("exit status: 5") && tight.contains("up to 1067370 rows"), "{tight}");
    let run = job.run(&spec, "retail");
    let table = run.table("entity_features");
    assert_eq!(table.num_rows(), 5_881);
    assert_eq!((sum(&table, "n_lines"), sum(&table, "frequency"), sum(&table, "n_products")), (791_114.0, 36_975.0, 481_947.0));
    assert!((sum(&table, "monetary") - 17_431_533.178).abs() < 1e-3);
    assert!((sum(&table, "recency_days") - 1_181_964.486_111_111).abs() < 1e-3);
    // An interval needs two orders: 1,626 customers have one.
    assert_eq!(table.column_by_name("interval_days").unwrap().null_count(), 1_626);
    assert_eq!(run.findings().num_rows(), 4, "segments of customers");
    // Each segment is a segment of customers by name, and so are the rows that stand for it.
    let (assignments, exemplars) = (run.table_of("segments", "assignments"), run.table_of("segments", "exemplars"));
    let customers = numbers(&table, "CustomerID");
    assert_eq!(numbers(&assignments, "CustomerID"), customers);
    let named: Vec<Option<f64>> = rows(&exemplars).into_iter().map(|row| customers[row]).collect();
    assert_eq!(numbers(&exemplars, "CustomerID"), named);
}

#[test]
fn the_shipped_example_is_the_same_on_one_thread_and_shares_are_whole() {
    let text = fs::read_to_string(repository("jobs/specs/features.toml")).unwrap();
    let text = text.replace("../../datasets", repository("datasets").to_str().unwrap());
    let job = Job::new();
    let run = job.run(&text, "all");
    let alone = job.run(&text.replace("seed = 7", "seed = 7\nthreads = 1"), "one");
    let file = "profiles/entity_features.parquet";
    assert_eq!(run.bytes(file), alone.bytes(file));
    let table = run.table("entity_features");
    assert_eq!(sum(&table, "n_lines"), 75_000.0);
    // Silhouettes are those of scikit-learn 1.9.1 (`silhouette_samples` of the standardised scores with these labels).
    let due = [0.466_830_356_9, 0.561_493_197_3, 0.326_064_108_1, 0.273_689_814_5];
    for (found, due) in numbers(&run.table_of("segments", "segments"), "silhouette").into_iter().zip(due) {
        assert!((found.unwrap() - due).abs() < 1e-6, "{found:?} {due}");
    }
    assert!((numbers(&run.table_of("segments", "verdict"), "silhouette")[0].unwrap() - 0.422_849_315_7).abs() < 1e-6);
    // The report says what became of the rows, and who is in a segment.
    let report = String::from_utf8(run.bytes("report.html")).unwrap();
    for words in [
        "75,000 rows were made into one row for each entity",
        "Segments in words",
        "<code>&#34;r_score&#34; &#62; 3 and &#34;f_score&#34; &#62; 3</code>",
    ] {
        assert!(report.contains(words), "{words}");
    }
    let schema = table.schema();
    let shares: Vec<Vec<Option<f64>>> =
        schema.fields().iter().filter(|field| field.name().starts_with("share_")).map(|field| numbers(&table, field.name())).collect();
    assert_eq!(shares.len(), 6, "five stores and the others");
    for row in 0..table.num_rows() {
        let whole: f64 = shares.iter().map(|share| share[row].unwrap()).sum();
        assert!((whole - 1.0).abs() < 1e-12, "row {row}: {whole}");
    }
}

const SPEC: &str = "name = \"till\"\n[source.till]\npath = \"till.csv\"\n[step.people]\nkind = \"features\"\nfrom = \"till\"\n\
                    entity = \"who\"\ntime = \"at\"\namount = \"paid\"\n";

#[test]
fn rows_that_lack_a_cell_are_counted_and_later_ones_left_out() {
    let job = Job::new();
    job.write("till.csv", "who,at,paid\nann,2024-01-01,5\nbob,2024-01-03,7\n,2024-01-02,1\nann,,2\nbob,2024-01-04,\nann,2024-02-01,-4\n");
    let run = job.run(SPEC, "last");
    let table = run.table("entity_features");
    assert_eq!(numbers(&table, "recency_days"), [Some(0.0), Some(29.0)]);
    assert_eq!(numbers(&table, "monetary"), [Some(1.0), Some(7.0)]);
    let notes = run.manifest()["steps"][0]["notes"].to_string();
    for words in ["2 entities from 3 rows", "1 of 6 rows have no `who`", "no `at`", "no amount", "below zero"] {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    let earlier = job.run(&format!("{SPEC}as_of = \"2024-01-04\"\n"), "earlier");
    assert_eq!(numbers(&earlier.table("entity_features"), "recency_days"), [Some(3.0), Some(1.0)]);
    assert!(earlier.manifest()["steps"][0]["notes"].to_string().contains("1 rows are later than `as_of`"));
}

#[test]
fn what_is_no_date_ends_the_step_with_its_row() {
    let job = Job::new();
    job.write("till.csv", "who,at,paid\nann,2024-01-01,5\nbob,03/01/2024,7\n");
    let error = job.try_run(SPEC, "dates").err().unwrap();
    for words in ["column `at`, row 2", "`03/01/2024` is no date", "ISO 8601"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    job.write("till.csv", "who,at,paid\nann,2024-01-01,5\n");
    let error = job.try_run(&format!("{SPEC}as_of = \"2020-01-01\"\n"), "before").err().unwrap();
    assert!(error.contains("every row is later than `as_of`"), "{error}");
}
