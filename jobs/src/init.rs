//! `gristmill init`: a spec that runs as it is, with made-up data to run it on.
//!
//! The data are drawn by counters, so that everybody gets the same file, and what is to be found in them is planted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gristmill_datasets::synth::{PEOPLE_COLUMNS, Person, people, philox4x32};

use crate::JobError;
use crate::outputs;

/// A spec and its data.
pub struct Template {
    /// Name on the command line, and of the spec.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    spec: &'static str,
    data: fn() -> Vec<(&'static str, String)>,
}

/// Every template, in the order of the help.
pub const TEMPLATES: &[Template] = &[
    Template {
        name: "correlate",
        about: "what goes together with a target: 1,500 visits, a check before the answer",
        spec: include_str!("../templates/init/correlate.toml"),
        data: || vec![("data/visits.csv", visits())],
    },
    Template {
        name: "segments",
        about: "sorts of customers: 6,259 receipts, features of 400 customers, segments",
        spec: include_str!("../templates/init/segments.toml"),
        data: || vec![("data/receipts.csv", receipts())],
    },
    Template {
        name: "dedupe",
        about: "records of the same person: 1,530 records of two systems",
        spec: include_str!("../templates/init/dedupe.toml"),
        data: || vec![("data/customers.csv", customers())],
    },
    Template {
        name: "monthly",
        about: "one spec for every month and every shop: variables, `each`, drift against the month before",
        spec: include_str!("../templates/init/monthly.toml"),
        data: || ["2025-01", "2025-02", "2025-03"].iter().zip(1..).map(|(month, at)| (SALES[at as usize - 1], sales(month, at))).collect(),
    },
];

const SALES: [&str; 3] = ["data/sales-2025-01.csv", "data/sales-2025-02.csv", "data/sales-2025-03.csv"];

/// Writes a template into a folder and returns the files, the spec first. Nothing is written where one of them is there already.
///
/// # Errors
/// When a file is there or cannot be written.
pub fn write(template: &Template, folder: &Path) -> Result<Vec<String>, JobError> {
    let spec = format!("{}.toml", template.name);
    let files: Vec<(String, String)> = std::iter::once((spec, template.spec.to_owned()))
        .chain((template.data)().into_iter().map(|(name, text)| (name.to_owned(), text)))
        .collect();
    if let Some((name, _)) = files.iter().find(|(name, _)| fs::symlink_metadata(folder.join(name)).is_ok()) {
        return Err(JobError::Taken(folder.join(name)));
    }
    for (name, text) in &files {
        let path = folder.join(name);
        outputs::create_folder(path.parent().unwrap_or(folder))?;
        outputs::write_text_at(&path, text)?;
    }
    Ok(files.into_iter().map(|(name, _)| folder.join(name).display().to_string()).collect())
}

/// Draws of one row.
struct Draw {
    row: u32,
    table: u32,
    next: u32,
}

impl Draw {
    const fn of(table: u32, row: u32) -> Self {
        Self { row, table, next: 0 }
    }

    /// Returns a number from 0 to 1.
    fn unit(&mut self) -> f64 {
        self.next += 1;
        f64::from(philox4x32([self.row, self.next, 0, 0], [self.table, 2_025])[0]) / 4_294_967_296.0
    }

    /// Returns a whole number below `n`.
    fn below(&mut self, n: u32) -> u32 {
        ((self.unit() * f64::from(n)) as u32).min(n - 1)
    }

    /// Returns a number of mean 0 and standard deviation 1, by the sum of 12.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Spend follows minutes and pages, a discount brings it down, and the hour has nothing to do with it.
fn visits() -> String {
    let mut text = "visit_id,channel,device,hour,pages,minutes,discount,returning,spend\n".to_owned();
    for row in 0..1_500 {
        let mut draw = Draw::of(1, row);
        let channel = ["search", "mail", "direct", "social"][draw.below(4) as usize];
        let device = ["phone", "desktop", "tablet"][draw.below(3) as usize];
        let (hour, returning, discount) = (draw.below(24), draw.below(3) == 0, draw.below(5) * 5);
        let minutes = (2.0 + 3.0 * draw.normal().abs()).max(0.5);
        let pages = (2.0 * minutes + draw.normal()).max(1.0);
        let spend = (6.0 * minutes - 0.6 * f64::from(discount) + if returning { 12.0 } else { 0.0 } + 12.0 * draw.normal()).max(0.0);
        let minutes = if draw.below(25) == 0 { String::new() } else { format!("{minutes:.1}") };
        let line = format!("v{row:04},{channel},{device},{hour},{pages:.0},{minutes},{discount},{returning},{spend:.2}");
        let _fits = writeln!(text, "{line}");
    }
    text
}

/// Three sorts of customers: often and small, rarely and large, and those that were last seen long ago.
fn receipts() -> String {
    let mut text = "receipt_id,customer_id,day,category,amount\n".to_owned();
    let mut receipt = 0;
    for customer in 0..400 {
        let mut draw = Draw::of(2, customer);
        let sort = customer % 3;
        let (n, mean) = [(28 + draw.below(8), 12.0), (5 + draw.below(3), 90.0), (8 + draw.below(4), 25.0)][sort as usize];
        for _ in 0..n {
            let day = if sort == 2 { draw.below(120) } else { 120 + draw.below(240) };
            let category = ["food", "home", "clothes", "toys"][draw.below(4) as usize];
            let amount = (mean * (1.0 + 0.25 * draw.normal())).max(1.0);
            let _fits =
                writeln!(text, "r{receipt:05},c{customer:03},2025-{:02}-{:02},{category},{amount:.2}", 1 + day / 30, 1 + day % 30 % 28);
            receipt += 1;
        }
    }
    text
}

fn customers() -> String {
    let mut rows: Vec<Person> = people(1_200, 3);
    // In another order than they were made in: rows of one person do not lie side by side.
    rows.sort_by_cached_key(|row| philox4x32([row.entity, row.system as u32, 0, 0], [7, 7]));
    let mut text = format!("customer_id,system,{}\n", PEOPLE_COLUMNS.join(","));
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<&str> = row.cells.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect();
        let _fits = writeln!(text, "k{at:04},{},{}", ["crm", "web"][row.system], cells.join(","));
    }
    text
}

/// Amounts follow the items; those of the southern shop fall in March.
fn sales(month: &str, at: u32) -> String {
    let mut text = "receipt_id,shop,day,items,weekend,amount\n".to_owned();
    for row in 0..1_200 {
        let mut draw = Draw::of(10 + at, row);
        let shop = ["north", "south"][draw.below(2) as usize];
        let (day, items) = (1 + draw.below(28), 1 + draw.below(9));
        let price = if shop == "south" && at == 3 { 4.0 } else { 6.0 };
        let amount = (price * f64::from(items) * (1.0 + 0.2 * draw.normal())).max(0.5);
        let _fits = writeln!(text, "{month}-{row:04},{shop},{month}-{day:02},{items},{},{amount:.2}", day % 7 < 2);
    }
    text
}
