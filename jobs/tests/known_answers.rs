//! Answers that others computed: numpy's r of the shipped samples, NIST's certified values, a published table.
//!
//! Every figure goes the whole way, from a text file through the built binary to a table in the run folder. Each comparison
//! has a test that feeds it a wrong value and expects the alarm.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use arrow::util::display::array_value_to_string;
use common::{Job, Pair, repository, say, shared};
use gristmill_engine::backend::{Backend, PlaceChoice};
use serde_json::Value;

/// Digits that are counted at the most: certified values have no more, and f64 holds hardly more.
const MOST_DIGITS: f64 = 15.0;

/// A pair as somebody else computed it.
#[derive(Debug, Clone)]
struct Known {
    x: String,
    y: String,
    n: u64,
    r: Option<f64>,
}

/// Returns the spec of a correlation over some columns of a file, all of them where none is named.
fn spec(path: &str, columns: &[String], precision: &str) -> String {
    let columns = if columns.is_empty() { String::new() } else { format!("columns = {columns:?}\n") };
    format!(
        "name = \"known\"\n[source.table]\npath = {path:?}\n\
        [step.pairs]\nkind = \"correlate\"\nmethod = \"pearson\"\npermutations = 0\nfrom = \"table\"\nprecision = \"{precision}\"\n{columns}"
    )
}

/// Returns the names of the samples with the pairs that numpy found in them.
fn samples() -> Vec<(String, Vec<String>, Vec<Known>)> {
    let text = fs::read(repository("datasets/samples/expected/correlations.json")).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let known = |pair: &Value| Known {
        x: pair["x"].as_str().unwrap().to_owned(),
        y: pair["y"].as_str().unwrap().to_owned(),
        n: pair["n"].as_u64().unwrap(),
        r: pair["r"].as_f64(),
    };
    let tables = document["tables"].as_object().unwrap().iter();
    let of_table = |(name, table): (&String, &Value)| {
        let columns = table["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap().to_owned()).collect();
        (name.clone(), columns, table["pairs"].as_array().unwrap().iter().map(known).collect())
    };
    tables.map(of_table).collect()
}

fn sample(name: &str) -> String {
    repository("datasets/samples").join(name).display().to_string()
}

/// Compares every pair, and returns the largest difference of r; the error names the first pair that is wrong.
fn compare(found: &[Pair], known: &[Known], bound: f64) -> Result<f64, String> {
    if found.len() != known.len() {
        return Err(format!("{} pairs, but {} are known", found.len(), known.len()));
    }
    let by_name: BTreeMap<(&str, &str), &Pair> = found.iter().map(|pair| (pair.key(), pair)).collect();
    let mut largest = 0.0_f64;
    for known in known {
        let key = (known.x.as_str().min(&known.y), known.x.as_str().max(&known.y));
        let pair = by_name.get(&key).ok_or_else(|| format!("no pair {key:?}"))?;
        let off = match (pair.r, known.r) {
            (Some(r), Some(truth)) => (r - truth).abs(),
            (None, None) => 0.0,
            _ => f64::INFINITY,
        };
        if pair.n != known.n || off.is_nan() || off > bound {
            return Err(format!("n {} and r {:?}, but it is {known:?}", pair.n, pair.r));
        }
        largest = largest.max(off);
    }
    Ok(largest)
}

#[test]
fn samples_agree_with_numpy() {
    for (name, columns, known) in samples() {
        for (precision, bound) in [("f64", 1e-12), ("f32", 1e-6)] {
            let job = Job::new();
            let pairs = job.run(&spec(&sample(&name), &columns, precision), "out").pairs();
            compare(&pairs, &known, bound).unwrap_or_else(|error| panic!("{name}, {precision}: {error}"));
            let settled: Vec<Pair> = pairs.iter().filter(|pair| pair.settled).cloned().collect();
            let is_settled = |known: &&Known| settled.iter().any(|pair| (&pair.x, &pair.y) == (&known.x, &known.y));
            let known: Vec<Known> = known.iter().filter(is_settled).cloned().collect();
            assert!(!settled.is_empty(), "{name}, {precision}: something was found in every sample");
            compare(&settled, &known, 1e-12).unwrap_or_else(|error| panic!("{name}, {precision}, settled: {error}"));
        }
    }
}

/// Flags, codes and counts are the hard case of 32 bits: where products repeat, the roundings of a sum go one way.
#[test]
fn samples_agree_with_numpy_where_nothing_is_settled() {
    for place in [PlaceChoice::Cpu, PlaceChoice::Software] {
        if let Err(error) = Backend::open(place) {
            say(&format!("no adapter: {error}"));
            continue;
        }
        for (name, columns, known) in samples() {
            let job = Job::new();
            // No r reaches an effect of 1, so that nothing is a finding.
            let text = format!("place = \"{place}\"\n{}min_effect = 1.0\n", spec(&sample(&name), &columns, "f32"));
            let run = job.run(&text, "out");
            assert_eq!(run.manifest()["steps"][0]["place"].as_str(), Some(place.as_str()), "{name}");
            let pairs = run.pairs();
            assert!(pairs.iter().all(|pair| !pair.settled), "{name}, {place}");
            let off = compare(&pairs, &known, 1e-6).unwrap_or_else(|error| panic!("{name}, {place}: {error}"));
            say(&format!("{name:32} on {place:8} {off:.1e}"));
        }
    }
}

#[test]
fn a_pair_that_differs_from_numpy_is_noticed() {
    let known = vec![
        Known { x: "b".to_owned(), y: "a".to_owned(), n: 10, r: Some(0.5) },
        Known { x: "a".to_owned(), y: "c".to_owned(), n: 10, r: None },
    ];
    let found = |known: &Known| Pair { x: known.x.clone(), y: known.y.clone(), n: known.n, r: known.r, settled: true, cells: Vec::new() };
    let right: Vec<Pair> = known.iter().map(found).collect();
    assert_eq!(compare(&right, &known, 1e-12), Ok(0.0));
    let wrong = |change: &dyn Fn(&mut [Pair])| {
        let mut pairs = right.clone();
        change(&mut pairs);
        compare(&pairs, &known, 1e-12).is_err()
    };
    assert!(wrong(&|pairs| pairs[0].r = Some(0.5 + 2e-12)), "another r");
    assert!(wrong(&|pairs| pairs[0].r = Some(f64::NAN)) && wrong(&|pairs| pairs[0].r = Some(f64::INFINITY)), "no number");
    assert!(wrong(&|pairs| pairs[0].r = None), "no r");
    assert!(wrong(&|pairs| pairs[1].r = Some(0.0)), "r of a constant column");
    assert!(wrong(&|pairs| pairs[0].n = 11), "another n");
    assert!(wrong(&|pairs| pairs[0].x = "d".to_owned()), "another pair");
    assert!(compare(&right[..1], &known, 1e-12).is_err(), "a pair is missing");
}

/// r of the bank's economic indicators over all 41,188 calls, to the digits that analyses of this file show.
const PUBLISHED: [(&str, &str, f64); 2] = [("emp.var.rate", "euribor3m", 0.972), ("euribor3m", "nr.employed", 0.945)];

/// Says whether r agrees with a figure of three decimals.
fn agrees_to_three_digits(r: f64, published: f64) -> bool {
    (r - published).abs() <= 0.0005
}

#[test]
fn the_indicators_of_the_bank_agree_with_what_is_published() {
    let job = Job::new();
    let columns = ["emp.var.rate", "euribor3m", "nr.employed"].map(str::to_owned);
    let run = job.run(&spec(&sample("bank_additional_full.csv.gz"), &columns, "auto"), "out");
    assert_eq!(run.manifest()["steps"][0]["n_rows"].as_u64(), Some(41_188));
    let pairs = run.pairs();
    for (x, y, published) in PUBLISHED {
        let pair = pairs.iter().find(|pair| pair.key() == (x, y)).unwrap();
        assert!(pair.n == 41_188 && agrees_to_three_digits(pair.r.unwrap(), published), "{pair:?}, published is {published}");
    }
}

#[test]
fn a_fourth_digit_that_rounds_away_is_noticed() {
    for (_, _, published) in PUBLISHED {
        assert!(agrees_to_three_digits(published + 0.0004, published));
        assert!(!agrees_to_three_digits(published + 0.0006, published) && !agrees_to_three_digits(f64::NAN, published));
    }
}

/// A file of NIST's reference datasets: what it certifies, and its numbers.
struct Nist(String);

impl Nist {
    fn of(name: &str) -> Option<Self> {
        Some(Self(fs::read_to_string(shared(&format!("stats/{name}.dat"))?).unwrap()))
    }

    /// Returns the number at the end of the line that holds these words.
    fn certified(&self, words: &str) -> f64 {
        let line = self.0.lines().find(|line| line.contains(words)).unwrap();
        line.split_whitespace().last().unwrap().parse().unwrap()
    }

    /// Returns a certified sum of squares of an analysis of variance.
    fn sum_of_squares(&self, source: &str) -> f64 {
        let line = self.0.lines().find(|line| line.starts_with(source)).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap()
    }

    /// Returns the rows of the table at the end: the lines of so many numbers, as they are written.
    fn rows(&self, n_columns: usize) -> Vec<Vec<&str>> {
        let lines: Vec<&str> = self.0.lines().collect();
        let start = lines.iter().rposition(|line| line.starts_with("Data:")).unwrap();
        let rows = lines[start + 1..].iter().map(|line| line.split_whitespace().collect::<Vec<&str>>());
        rows.filter(|row| row.len() == n_columns && row.iter().all(|cell| cell.parse::<f64>().is_ok())).collect()
    }
}

/// What one run says of two columns.
struct Measured {
    n: u64,
    r: f64,
    mean: f64,
    sd: f64,
}

/// Runs two columns of numbers as text; mean and standard deviation are those of the first.
fn measure(first: impl Iterator<Item = String>) -> Measured {
    let job = Job::new();
    let lines: Vec<String> = std::iter::once("a,b".to_owned()).chain(first).collect();
    job.write("table.csv", lines.join("\n") + "\n");
    let run = job.run(&spec("table.csv", &[], "f64"), "out");
    let (pairs, columns) = (run.pairs(), run.table("columns"));
    let of_first = |name: &str| {
        let column = columns.column_by_name(name).unwrap().as_primitive::<Float64Type>();
        assert_eq!(columns.column_by_name("column").unwrap().as_string::<i32>().value(0), "a");
        column.is_valid(0).then(|| column.value(0)).unwrap()
    };
    assert_eq!(pairs.len(), 1);
    Measured { n: pairs[0].n, r: pairs[0].r.unwrap(), mean: of_first("mean"), sd: of_first("sd") }
}

/// Returns how many digits of a number are right.
fn digits(found: f64, truth: f64) -> f64 {
    let off = (found - truth).abs() / truth.abs();
    if off.is_nan() {
        return 0.0;
    }
    if off > 0.0 { (-off.log10()).clamp(0.0, MOST_DIGITS) } else { MOST_DIGITS }
}

/// Says whether a number has as many right digits as numpy's, to the tenth of a digit that such figures are given with.
fn as_good(what: &str, found: f64, numpy: f64, truth: f64) -> Result<(), String> {
    let (ours, theirs) = (digits(found, truth), digits(numpy, truth));
    say(&format!("{what:16} {ours:5.2} digits, numpy {theirs:5.2}"));
    if ours >= theirs - 0.05 {
        return Ok(());
    }
    Err(format!("{what} is {found:e}, {ours:.2} digits of {truth:e}; numpy has {theirs:.2}"))
}

/// Mean and standard deviation that numpy 2.4.6 finds in NIST's univariate files.
const UNIVARIATE: [(&str, f64, f64); 4] = [
    ("Lottery", 518.958_715_596_330_3, 291.699_727_470_969_1),
    ("Michelso", 299.8524, 0.079_010_547_819_050_67),
    ("NumAcc1", 10_000_002.0, 1.0),
    ("NumAcc3", 1_000_000.200_000_000_1, 0.100_000_000_034_924_61),
];

#[test]
fn means_and_standard_deviations_of_nist_have_the_digits_of_numpy() {
    for (name, numpy_mean, numpy_sd) in UNIVARIATE {
        let Some(file) = Nist::of(name) else { return };
        let rows = file.rows(1);
        let measured = measure(rows.iter().enumerate().map(|(at, row)| format!("{},{at}", row[0])));
        assert_eq!(measured.n, rows.len() as u64);
        as_good(&format!("{name} mean"), measured.mean, numpy_mean, file.certified("Sample Mean")).unwrap();
        as_good(&format!("{name} sd"), measured.sd, numpy_sd, file.certified("Sample Standard Deviation")).unwrap();
    }
}

/// Analyses of variance: the code of each treatment, and r and standard deviation that numpy 2.4.6 finds.
///
/// The treatments' means lie on a line over these codes, so that r squared is the certified R-squared.
const TREATMENTS: [(&str, &[i32], f64, f64); 5] = [
    ("AtmWtAgt", &[0, 1], -0.507_372_195_261_962_2, 1.734_108_072_387_903_3e-5),
    ("SmLs01t", SIMON, 0.694_808_333_779_65, 0.136_053_806_627_644_02),
    ("SmLs04t", SIMON, 0.694_808_333_786_292_1, 0.136_053_806_632_377_4),
    ("SmLs06t", SIMON, 0.686_085_106_587_446_1, 0.137_422_487_345_427_8),
    ("SmLs07t", SIMON, 0.694_815_264_885_892_8, 0.136_058_776_271_300_86),
];

/// The nine treatments of Simon and Lesage: the first lies between the even and the odd ones.
const SIMON: &[i32] = &[0, -1, 1, -1, 1, -1, 1, -1, 1];

#[test]
fn analyses_of_variance_of_nist_have_the_digits_of_numpy() {
    for (name, codes, numpy_r, numpy_sd) in TREATMENTS {
        let Some(file) = Nist::of(name) else { return };
        // The first line of numbers holds the treatments' own.
        let rows = &file.rows(codes.len())[1..];
        let cells = rows.iter().flat_map(|row| row.iter().zip(codes)).map(|(cell, code)| format!("{cell},{code}"));
        let measured = measure(cells);
        let n = (rows.len() * codes.len()) as f64;
        assert_eq!(measured.n, rows.len() as u64 * codes.len() as u64);
        let total = file.sum_of_squares("Between") + file.sum_of_squares("Within");
        as_good(&format!("{name} r"), measured.r.abs(), numpy_r.abs(), file.certified("Certified R-Squared").sqrt()).unwrap();
        as_good(&format!("{name} sd"), measured.sd, numpy_sd, (total / (n - 1.0)).sqrt()).unwrap();
    }
}

/// Returns the text of a table's row, by column.
fn cells(table: &RecordBatch, row: usize) -> BTreeMap<String, String> {
    let schema = table.schema();
    let cell = |column: usize| array_value_to_string(table.column(column), row).unwrap();
    (0..table.num_columns()).map(|column| (schema.field(column).name().clone(), cell(column))).collect()
}

/// Returns the row of a table where some columns have these texts.
fn row_of(table: &RecordBatch, wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    let fits = |row: &BTreeMap<String, String>| wanted.iter().all(|(column, text)| row[*column] == *text);
    (0..table.num_rows()).map(|row| cells(table, row)).find(fits).unwrap_or_else(|| panic!("no row {wanted:?}"))
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} is {:?}", row[column]))
}

/// Berkeley 1973 (Bickel, Hammel and O'Connell 1975): men are admitted more often, 44.52 against 30.35 %, and within
/// departments they are not; department A turns it round, 62.1 against 82.4 %.
#[test]
fn the_admissions_of_berkeley_vanish_within_departments() {
    let Some(file) = shared("domain/ucb_admissions.csv") else { return };
    let job = Job::new();
    let mut lines = vec!["admitted,male,department,applicants".to_owned()];
    for line in fs::read_to_string(file).unwrap().lines().skip(1) {
        let [_, admit, gender, department, count] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let flag = |is: bool| u8::from(is);
        for _ in 0..count.parse::<u32>().unwrap() {
            lines.push(format!("{},{},{department},1", flag(admit == "Admitted"), flag(gender == "Male")));
        }
    }
    assert_eq!(lines.len(), 4527, "4,526 applicants");
    job.write("berkeley.csv", lines.join("\n") + "\n");
    let spec = "name = \"berkeley\"\n[source.t]\npath = \"berkeley.csv\"\n[step.admissions]\nkind = \"correlate\"\nfrom = \"t\"\n\
                columns = [\"admitted\", \"male\"]\ngroup_by = \"department\"\n";
    let run = job.run(spec, "out");
    // phi of the 2 x 2 table: 1,198 of 2,691 men and 557 of 1,835 women were admitted.
    let (a, b, c, d) = (1198.0, 1493.0, 557.0, 1278.0_f64);
    let phi = (a * d - b * c) / ((a + b) * (c + d) * (a + c) * (b + d)).sqrt();
    let pairs = run.table("pairs");
    let all = row_of(&pairs, &[("group", "")]);
    assert!((number(&all, "r") - phi).abs() < 1e-12 && all["verdict"] == "survives", "{all:?}, but {phi}");
    let simpson = cells(&run.table("simpson"), 0);
    assert_eq!((simpson["within"].as_str(), simpson["n_groups"].as_str(), simpson["by"].as_str()), ("vanishes", "6", "department"));
    assert!(number(&simpson, "r_within") < 0.0 && number(&simpson, "p_differs") < 0.01, "{simpson:?}");
    // Department A: 512 of 825 men, 89 of 108 women.
    let in_a = row_of(&pairs, &[("group", "A")]);
    let (a, b, c, d) = (512.0, 313.0, 89.0, 19.0_f64);
    let phi = (a * d - b * c) / ((a + b) * (c + d) * (a + c) * (b + d)).sqrt();
    assert!((number(&in_a, "r") - phi).abs() < 1e-12 && phi < -0.1, "{in_a:?}, but {phi}");
    let findings = run.findings();
    let finding = row_of(&findings, &[("subject", "admitted ~ male")]);
    assert!(finding["fragile"] == "true" && finding["sentence"].contains("within department it is gone"), "{finding:?}");
    let finding = row_of(&findings, &[("subject", "admitted ~ male (department = A)")]);
    assert!(finding["filter"].ends_with("and \"department\" = 'A'") && finding["n"] == "933", "{finding:?}");
}

/// Bike sharing: all hours are casual and registered ones, and weather of the hour before goes with them.
#[test]
fn the_hours_of_bike_sharing_add_up() {
    let Some(file) = shared("domain/bike_sharing_hour.csv.gz") else { return };
    let spec = format!(
        "name = \"bike\"\n[source.t]\npath = {:?}\n[step.hours]\nkind = \"correlate\"\nfrom = \"t\"\n\
         target = \"cnt\"\ncolumns = [\"casual\", \"registered\", \"temp\"]\ntime = \"instant\"\nlags = [0, 1, 24]\n",
        file.display().to_string()
    );
    let job = Job::new();
    let run = job.run(&spec, "out");
    let columns = run.table("columns");
    let total = |name: &str| {
        let row = row_of(&columns, &[("column", name)]);
        (number(&row, "n") * number(&row, "mean")).round() as u64
    };
    assert_eq!((total("cnt"), total("casual"), total("registered")), (3_292_679, 620_017, 2_672_662));
    let pairs = run.table("pairs");
    let of = |lag: &str, y: &str| row_of(&pairs, &[("x", "cnt"), ("y", y), ("lag", lag)]);
    // A part of the sum tells it: no finding at lag 0, one an hour and a day before.
    assert_eq!(of("0", "registered")["verdict"], "leak");
    assert_eq!((of("1", "registered")["n"].as_str(), of("24", "registered")["n"].as_str()), ("17378", "17355"));
    assert!(number(&of("24", "registered"), "r") > number(&of("1", "temp"), "r"));
    assert!(number(&of("0", "temp"), "effective_n") < 2_000.0, "hours resemble the hour before");
}

/// Means and standard deviations of the raw lines of a shop, returns of 80,995 pieces and negative prices among them.
#[test]
fn the_lines_of_online_retail_have_their_published_moments() {
    let Some(file) = shared("domain/online_retail_2010_2011.parquet") else { return };
    let spec = format!(
        "name = \"retail\"\n[source.t]\npath = {:?}\n[step.lines]\nkind = \"correlate\"\nfrom = \"t\"\n\
         columns = [\"Quantity\", \"UnitPrice\"]\n",
        file.display().to_string()
    );
    let job = Job::new();
    let run = job.run(&spec, "out");
    let columns = run.table("columns");
    for (name, mean, sd, min, max) in
        [("Quantity", 9.55225, 218.081_158, -80_995.0, 80_995.0), ("UnitPrice", 4.611_114, 96.759_853, -11_062.06, 38_970.0)]
    {
        let row = row_of(&columns, &[("column", name)]);
        assert_eq!((number(&row, "n"), number(&row, "min"), number(&row, "max")), (541_909.0, min, max));
        assert!((number(&row, "mean") - mean).abs() < 5e-6 && (number(&row, "sd") - sd).abs() < 5e-6, "{row:?}");
    }
}

/// The call's duration is known only when its answer is: the bank's own note says to discard it.
#[test]
fn what_is_known_after_the_call_is_a_leak() {
    let job = Job::new();
    let spec = format!(
        "name = \"bank\"\n[source.t]\npath = {:?}\n[step.answers]\nkind = \"correlate\"\nfrom = \"t\"\ntarget = \"y\"\n\
         known_after = [\"duration\"]\nmin_effect = 0.1\npermutations = 0\n",
        sample("bank_additional_full.csv.gz")
    );
    let run = job.run(&spec, "out");
    let pairs = run.table("pairs");
    let verdict = |y: &str| row_of(&pairs, &[("x", "y"), ("y", y)])["verdict"].clone();
    assert_eq!(
        (verdict("duration").as_str(), verdict("nr.employed").as_str(), verdict("poutcome").as_str()),
        ("leak", "survives", "survives")
    );
    let findings = run.findings();
    let subjects: Vec<String> = (0..findings.num_rows()).map(|row| cells(&findings, row)["subject"].clone()).collect();
    assert!(
        subjects.iter().any(|subject| subject == "y ~ nr.employed") && !subjects.iter().any(|subject| subject.contains("duration")),
        "{subjects:?}"
    );
}

/// 10,324 deliveries, of which 360 name no shipment mode, in windows-1252.
#[test]
fn the_deliveries_of_scms_miss_what_they_miss() {
    let Some(file) = shared("domain/scms_delivery_history.tsv.gz") else { return };
    let spec = format!(
        "name = \"scms\"\n[source.t]\npath = {:?}\nformat = \"csv\"\ndelimiter = \"\\t\"\nencoding = \"windows-1252\"\n\
         null_values = [\"N/A\"]\n[step.deliveries]\nkind = \"correlate\"\nfrom = \"t\"\npermutations = 0\n\
         columns = [\"Shipment Mode\", \"Country\", \"Vendor\", \"Manufacturing Site\", \"Line Item Value\"]\n",
        file.display().to_string()
    );
    let job = Job::new();
    let run = job.run(&spec, "out");
    assert_eq!(run.manifest()["steps"][0]["n_rows"].as_u64(), Some(10_324));
    let mode = row_of(&run.table("columns"), &[("column", "Shipment Mode")]);
    assert_eq!((mode["n"].as_str(), mode["nulls"].as_str()), ("9964", "360"));
    // V of mode and country over the deliveries that name both.
    assert_eq!(row_of(&run.table("pairs"), &[("x", "Country"), ("y", "Shipment Mode")])["n"], "9964");
}

/// r of Norris by `numpy.corrcoef` 2.4.6.
const NUMPY_NORRIS: f64 = 0.999_996_872_936_966_4;

#[test]
fn norris_has_the_digits_of_numpy() {
    let Some(file) = Nist::of("Norris") else { return };
    let rows = file.rows(2);
    let measured = measure(rows.iter().map(|row| row.join(",")));
    let r_squared = file.certified("R-Squared");
    assert_eq!((measured.n, r_squared), (36, 0.999_993_745_883_712));
    as_good("Norris r", measured.r, NUMPY_NORRIS, r_squared.sqrt()).unwrap();
    // A unit in the last place of r is a tenth of a digit of 1 - r^2; numpy, two units off, has 9.9.
    let of_rest = |r: f64| digits(1.0 - r * r, 1.0 - r_squared);
    assert!(of_rest(measured.r) >= of_rest(NUMPY_NORRIS.next_down()) - 0.01, "{} digits of 1 - r^2", of_rest(measured.r));
}

#[test]
fn a_lost_digit_is_noticed() {
    let counted = [(2.0, "15.0"), (2.0 + 2e-9, "9.0"), (2.2, "1.0"), (-2.0, "0.0"), (f64::NAN, "0.0")];
    for (found, expected) in counted {
        assert_eq!(format!("{:.1}", digits(found, 2.0)), expected, "{found}");
    }
    for (name, mean, sd) in UNIVARIATE {
        for truth in [mean, sd] {
            assert!(as_good(name, truth, truth, truth).is_ok());
            assert!(as_good(name, truth * (1.0 + 1e-13), truth, truth).is_err());
            assert!(as_good(name, f64::NAN, truth, truth).is_err());
        }
    }
    let norris = 0.999_993_745_883_712_f64.sqrt();
    assert!(as_good("Norris", norris - 1e-14, NUMPY_NORRIS, norris).is_err());
}
