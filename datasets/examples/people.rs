//! Writes customers of two systems, some in both and some twice in one, as two CSV files, and who is who as a third.
//!
//!     cargo run --release -p gristmill-datasets --example people -- FOLDER PEOPLE [SEED]
//!
//! `datasets/samples/customers_*.csv` are those of 2,000 people and seed 1.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use gristmill_datasets::synth::{PEOPLE_COLUMNS, Person, people, philox4x32};

const SYSTEMS: [&str; 2] = ["crm", "web"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().ok_or("the first argument is the folder to write to")?.into();
    let n: u32 = arguments.next().ok_or("the second argument is the number of people")?.parse()?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut rows: Vec<Person> = people(n, seed);
    // In another order than they were made in: rows of one person do not lie side by side.
    rows.sort_by_cached_key(|row| philox4x32([row.entity, row.system as u32, 0, 0], [7, 7]));
    fs::create_dir_all(&folder)?;
    let mut truth = BufWriter::new(File::create(folder.join("customers_truth.csv"))?);
    writeln!(truth, "customer_id,person")?;
    for (system, name) in SYSTEMS.iter().enumerate() {
        let mut file = BufWriter::new(File::create(folder.join(format!("customers_{name}.csv")))?);
        writeln!(file, "customer_id,{}", PEOPLE_COLUMNS.join(","))?;
        for (at, row) in rows.iter().filter(|row| row.system == system).enumerate() {
            let id = format!("{name}-{at:05}");
            let cells: Vec<&str> = row.cells.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect();
            writeln!(file, "{id},{}", cells.join(","))?;
            writeln!(truth, "{id},{}", row.entity)?;
        }
        file.flush()?;
    }
    truth.flush()?;
    Ok(())
}
