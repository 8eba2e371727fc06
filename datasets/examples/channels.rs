//! Writes what people did in five channels as one CSV file, and who did it as another.
//!
//!     cargo run --release -p gristmill-datasets --example channels -- FOLDER PEOPLE [SEED]
//!
//! `datasets/samples/touchpoints.csv` is that of 600 people and seed 1.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use gristmill_datasets::synth::{CHANNELS, TOUCH_COLUMNS, Touch, philox4x32, touches};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().ok_or("the first argument is the folder to write to")?.into();
    let n: u32 = arguments.next().ok_or("the second argument is the number of people")?.parse()?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut rows: Vec<(usize, Touch)> = touches(n, seed).into_iter().enumerate().collect();
    // In another order than they were made in: rows of one person do not lie side by side.
    rows.sort_by_cached_key(|(at, touch)| philox4x32([touch.person, *at as u32, 0, 0], [7, 7]));
    fs::create_dir_all(&folder)?;
    let mut truth = BufWriter::new(File::create(folder.join("touchpoints_truth.csv"))?);
    writeln!(truth, "touch_id,person")?;
    let mut file = BufWriter::new(File::create(folder.join("touchpoints.csv"))?);
    writeln!(file, "touch_id,channel,day,{}", TOUCH_COLUMNS.join(","))?;
    for (at, (_, row)) in rows.iter().enumerate() {
        let id = format!("t-{at:05}");
        let cells: Vec<&str> = row.cells.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect();
        writeln!(file, "{id},{},{},{}", CHANNELS[row.channel], row.day, cells.join(","))?;
        writeln!(truth, "{id},{}", row.person)?;
    }
    file.flush()?;
    truth.flush()?;
    Ok(())
}
