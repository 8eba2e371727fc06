//! What people check, explain and keep: golden rules, numbers of entities from run to run, reasons, answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, UInt32Type};

use super::common::{Job, repository};
use super::{counts, f1, number, pairs, reversed, said, shipped, texts, truth};

/// Answers of someone who knows who is who, as a person would fill in `review.csv`.
fn answered(review: &str, says: &dyn Fn(bool) -> &'static str) -> String {
    let of = truth();
    let mut lines = review.lines();
    let header = lines.next().unwrap();
    let at = |name: &str| header.split(',').position(|column| column == name).unwrap();
    let (a, b) = (at("a_id"), at("b_id"));
    assert_eq!(at("match"), 0, "{header}");
    assert!(!header.contains("score") && !header.contains("same_entity"), "who answers is told what the engine thinks: {header}");
    let answer = |line: &str| {
        // No cell before the names holds a comma.
        let cells: Vec<&str> = line.split(',').collect();
        format!("{}{line}\n", says(of[cells[a]] == of[cells[b]]))
    };
    format!("{header}\n{}", lines.map(answer).collect::<String>())
}

/// Cells of the shipped customers by column, in the order of the files' names.
fn customers() -> BTreeMap<String, Vec<String>> {
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in ["customers_crm.csv", "customers_web.csv"] {
        let text = fs::read_to_string(repository("datasets/samples").join(file)).unwrap();
        let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        for line in text.lines().skip(1) {
            names.iter().zip(line.split(',')).for_each(|(name, cell)| columns.entry((*name).to_owned()).or_default().push(cell.to_owned()));
            columns.entry("file".to_owned()).or_default().push(file.to_owned());
        }
    }
    columns
}

#[test]
fn golden_cells_follow_the_rule_of_their_column() {
    let job = Job::new();
    let rules =
        "golden = { given_name = \"longest\", street = \"most_recent\", phone = \"trusted\", town = \"trusted\", email = \"weighted\" }";
    let spec = shipped("dedupe.toml").replace("[step.people]", "file_column = \"file\"\n[step.people]");
    let files = ["web", "crm"].map(|name| repository(&format!("datasets/samples/customers_{name}.csv")).display().to_string());
    let keys = format!("exclude = [\"town\"]\nsource_column = \"file\"\ntime = \"born\"\ntrusted = {files:?}\n{rules}\n");
    let run = job.run(&format!("{spec}{keys}"), "rules");
    let (golden, entities, conflicts) =
        (run.table_of("people", "golden"), run.table_of("people", "entities"), run.table_of("people", "conflicts"));
    let rows = customers();
    let mut members: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    counts(&entities, "entity_id").into_iter().enumerate().for_each(|(row, entity)| members.entry(entity).or_default().push(row));
    // What a rule prefers, the greatest first; cells compare as the golden ones do, without case and spaces around.
    let greatest = |column: &str, of: &dyn Fn(usize) -> String| {
        let cells = texts(&golden, column);
        let mut n_chosen = 0;
        for (entity, rows_of) in members.values().enumerate() {
            let present: Vec<usize> = rows_of.iter().copied().filter(|row| !rows[column][*row].is_empty()).collect();
            let Some(most) = present.iter().map(|row| of(*row)).max() else {
                assert!(cells[entity].is_empty(), "{column} of {entity}");
                continue;
            };
            let allowed: BTreeSet<String> =
                present.iter().filter(|row| of(**row) == most).map(|row| rows[column][*row].trim().to_lowercase()).collect();
            let all: BTreeSet<String> = present.iter().map(|row| rows[column][*row].trim().to_lowercase()).collect();
            assert!(
                allowed.contains(&cells[entity].trim().to_lowercase()),
                "{column} of {entity}: {} is not of {allowed:?}",
                cells[entity]
            );
            n_chosen += usize::from(allowed.len() < all.len());
        }
        n_chosen
    };
    let length = |column: &'static str| {
        let rows = &rows;
        move |row: usize| format!("{:04}", rows[column][row].trim().len())
    };
    assert!(greatest("given_name", &length("given_name")) > 5, "longer names were kept");
    assert!(greatest("street", &|row| rows["born"][row].clone()) > 5, "later streets were kept");
    let of_web = |row: usize| u8::from(rows["file"][row] == "customers_web.csv").to_string();
    assert!(
        greatest("phone", &of_web) > 5 && greatest("town", &of_web) > 5,
        "what the web shop says was kept, also of a column that is not compared"
    );
    // Provenance: the row is of the source that is named, and holds the cell.
    let sources = texts(&conflicts, "source");
    for (row, source) in counts(&conflicts, "row").into_iter().zip(&sources) {
        assert!(source.ends_with(&rows["file"][usize::try_from(row).unwrap()]), "{source}");
    }
    let rules: BTreeSet<String> = texts(&conflicts, "rule").into_iter().collect();
    assert_eq!(rules.into_iter().collect::<Vec<_>>(), ["longest", "most_frequent", "most_recent", "trusted", "weighted"]);
}

#[test]
fn rules_that_lack_something_are_refused() {
    let job = Job::new();
    let spec = shipped("dedupe.toml").replace("[step.people]", "file_column = \"file\"\n[step.people]");
    let fails = |keys: &str, out: &str| job.try_run(&format!("{spec}{keys}\n"), out).err().unwrap();
    for (at, (keys, said)) in [
        ("golden = { phone = \"most_recent\" }", "`most_recent` of column `phone` needs `time`"),
        ("golden = { phone = \"trusted\" }", "`trusted` of column `phone` needs `trusted`"),
        ("golden = { phone = \"weighted\" }", "`weighted` of column `phone` needs `source_column`"),
        ("golden = { fone = \"longest\" }", "column `fone` is not in `customers`"),
        ("golden = { phone = \"longets\" }", "did you mean `longest`?"),
        ("golden = { phone = 3 }", "takes a word for column `phone`, not a number"),
        ("golden = \"longest\"", "`golden` takes a table of columns with a word each"),
        (
            "source_column = \"file\"\ntrusted = [\"customers_crm.csv\"]\ngolden = { phone = \"trusted\" }",
            "names `customers_crm.csv`, which is no source; sources:",
        ),
        ("exact = {}\ngolden = { phone = \"longest\" }", "`golden` beside `exact` says nothing"),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = fails(keys, &format!("rules{at}"));
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn entities_keep_their_numbers_from_an_earlier_run() {
    let job = Job::new();
    let rows = reversed();
    let (header, rest) = rows.split_once('\n').unwrap();
    let part: Vec<&str> = rest.lines().enumerate().filter(|(row, _)| row % 5 > 0).map(|(_, line)| line).collect();
    job.write("part.csv", format!("{header}\n{}\n", part.join("\n")));
    job.write("rows.csv", &rows);
    let spec = |file: &str, keys: &str| {
        format!(
            "name = \"daily\"\nseed = 7\n[source.customers]\npath = \"{file}\"\n[step.people]\nkind = \"dedupe\"\nfrom = \"customers\"\nid = \"customer_id\"\n{keys}"
        )
    };
    let monday = job.run(&spec("part.csv", ""), "monday");
    assert_eq!(monday.table_of("people", "changes").num_rows(), 0);
    let baseline = format!("baseline = \"{}\"\n", job.path("monday/people/entities.parquet").display());
    let again = job.run(&spec("part.csv", &baseline), "again");
    for table in ["entities", "golden", "conflicts"] {
        assert_eq!(again.table_of("people", table), monday.table_of("people", table), "{table}");
    }
    assert_eq!(again.table_of("people", "changes").num_rows(), 0, "nothing changed");
    let tuesday = job.run(&spec("rows.csv", &baseline), "tuesday");
    let (before, after) = (monday.table_of("people", "entities"), tuesday.table_of("people", "entities"));
    let of: BTreeMap<String, u64> = texts(&before, "customer_id").into_iter().zip(counts(&before, "entity_id")).collect();
    let changes = tuesday.table_of("people", "changes");
    let events: Vec<(String, u64, u64)> = (0..changes.num_rows())
        .map(|row| (texts(&changes, "event")[row].clone(), counts(&changes, "entity_id")[row], counts(&changes, "n_records")[row]))
        .collect();
    let n = |event: &str| events.iter().filter(|(name, ..)| name == event).map(|(.., n)| n).sum::<u64>();
    assert_eq!(n("new") + n("grown"), (after.num_rows() - before.num_rows()) as u64, "{events:?}");
    assert!(n("new") > 50 && n("grown") > 50, "{events:?}");
    // Records that are of another entity than they were are those that the log tells of.
    let moved = texts(&after, "customer_id")
        .into_iter()
        .zip(counts(&after, "entity_id"))
        .filter(|(id, entity)| of.get(id).is_some_and(|old| old != entity));
    assert_eq!(moved.count() as u64, n("merged") + n("split"));
    let fresh = *of.values().max().unwrap() + 1;
    let new: BTreeSet<u64> = events.iter().filter(|(name, ..)| name == "new").map(|(_, entity, _)| *entity).collect();
    assert!(new.iter().all(|entity| *entity >= fresh), "a number of an earlier entity was given again");
    // Golden records and entities go by the same numbers.
    let golden: BTreeSet<u64> = counts(&tuesday.table_of("people", "golden"), "entity_id").into_iter().collect();
    assert_eq!(golden, counts(&after, "entity_id").into_iter().collect());
    // It is what a run without a baseline finds, by other numbers.
    assert_eq!(said(&after), said(&job.run(&spec("rows.csv", ""), "alone").table_of("people", "entities")));
    let refused = job.try_run(&spec("rows.csv", &baseline).replace("id = \"customer_id\"\n", ""), "nameless").err().unwrap();
    assert!(refused.contains("`baseline` needs `id`"), "{refused}");
    job.write("twice.csv", "customer_id,entity_id\ncrm-00000,1\ncrm-00000,2\n");
    let refused = job.try_run(&spec("rows.csv", "baseline = \"twice.csv\"\n"), "twice").err().unwrap();
    assert!(refused.contains("`baseline` has 2 rows whose `customer_id` is crm-00000"), "{refused}");
}

#[test]
fn pairs_are_explained_and_entities_hang_on_their_weakest_pair() {
    let job = Job::new();
    // The first customer of each system, and two that are one.
    job.write("asked.csv", "a_id,b_id\nweb-00000,crm-00000\ncrm-00001,web-00003\n");
    let run = job.run(&format!("{}explain = \"asked.csv\"\n", shipped("dedupe.toml")), "why");
    let (explained, verdict) = (run.table_of("people", "explained"), run.table_of("people", "verdict"));
    let columns = run.table_of("people", "comparisons");
    let n_columns = texts(&columns, "column").into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(explained.num_rows(), 2 * (1 + n_columns));
    let real = |name: &str| explained.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec();
    let (bits, sums, score) = (real("bits"), real("sum_bits"), real("score"));
    for pair in 0..2 {
        let lines = pair * (1 + n_columns)..(pair + 1) * (1 + n_columns);
        assert!((bits[lines.start] - number(&verdict, "prior_bits")).abs() < 1e-12);
        let sum: f64 = bits[lines.clone()].iter().sum();
        assert!((sum - sums[lines.end - 1]).abs() < 1e-9);
        assert!((1.0 / (1.0 + (-sum).exp2()) - score[lines.start]).abs() < 1e-9);
    }
    assert_eq!(texts(&explained, "a_id")[0], "web-00000");
    let at = texts(&explained, "column").iter().position(|name| name == "given_name").unwrap();
    let rows = customers();
    let row = |id: &str| rows["customer_id"].iter().position(|name| name == id).unwrap();
    assert_eq!(texts(&explained, "cell_a")[at], rows["given_name"][row("web-00000")].to_lowercase());
    assert_eq!(texts(&explained, "cell_b")[at], rows["given_name"][row("crm-00000")].to_lowercase());
    assert!(texts(&explained, "reason")[0].starts_with("apart"), "{:?}", texts(&explained, "reason")[0]);
    // Every entity of two records or more has a pair, and that of an entity of two is the pair itself.
    let (weakest, pairs) = (run.table_of("people", "weakest"), run.table_of("people", "pairs"));
    let scores: BTreeMap<(u64, u64), u64> = {
        let score = pairs.column_by_name("score").unwrap().as_primitive::<Float64Type>().values().to_vec();
        counts(&pairs, "a").into_iter().zip(counts(&pairs, "b")).zip(score).map(|(ends, score)| (ends, score.to_bits())).collect()
    };
    let sizes = weakest.column_by_name("cluster_size").unwrap().as_primitive::<UInt32Type>().values().to_vec();
    let score = weakest.column_by_name("score").unwrap().as_primitive::<Float64Type>().values().to_vec();
    assert!(score.windows(2).all(|pair| pair[0] <= pair[1]));
    let mut n_pairs = 0;
    for (at, ends) in counts(&weakest, "a").into_iter().zip(counts(&weakest, "b")).enumerate() {
        if sizes[at] == 2 && scores.get(&ends) == Some(&score[at].to_bits()) {
            n_pairs += 1;
        }
    }
    assert_eq!(n_pairs, sizes.iter().filter(|size| **size == 2).count());
    let golden = run.table_of("people", "golden");
    let of_two =
        golden.column_by_name("cluster_size").unwrap().as_primitive::<UInt32Type>().values().iter().filter(|size| **size > 1).count();
    assert_eq!(of_two, sizes.len());
}

#[test]
fn what_people_wrote_is_never_written_over() {
    let job = Job::new();
    let spec = shipped("dedupe.toml");
    let run = job.run(&spec, "customers");
    let review = job.path("customers/people/review.csv");
    let blank = fs::read_to_string(&review).unwrap();
    let filled = answered(&blank, &|is_one| if is_one { "yes" } else { "no" });
    fs::write(&review, &filled).unwrap();
    // The same run is finished still.
    let events = || fs::read_to_string(job.path("customers/events.jsonl")).unwrap();
    let n_started = events().matches("step_started").count();
    job.run(&spec, "customers");
    assert_eq!((fs::read_to_string(&review).unwrap(), events().matches("step_started").count()), (filled.clone(), n_started));
    // One whose tables are gone is made anew, beside the answers.
    for n in 1..=2 {
        fs::remove_file(job.path("customers/people/golden.parquet")).unwrap();
        job.run(&spec, "customers");
        assert_eq!(fs::read_to_string(&review).unwrap(), blank);
        assert_eq!(fs::read_to_string(job.path(&format!("customers/people/review.kept-{n}.csv"))).unwrap(), filled);
        fs::write(&review, &filled).unwrap();
    }
    assert!(events().contains("someone wrote into a file of step `people`"));
    assert_eq!(job.run(&spec, "customers").bytes("people/entities.parquet"), run.bytes("people/entities.parquet"));
    // Whichever file holds the answers.
    for file in ["review.csv", "review.kept-1.csv"] {
        let (code, words) = gristmill(&job, &["run", "customers.toml", "--run-dir", "customers", "--fresh"]);
        assert!(code == Some(2) && words.contains(&format!("holds what someone wrote into `customers/people/{file}`")), "{words}");
        fs::write(&review, &blank).unwrap();
    }
    assert_eq!(fs::read_to_string(job.path("customers/people/review.kept-1.csv")).unwrap(), filled);
}

/// Runs a command in the folder of a job: its code and what it said.
fn gristmill(job: &Job, arguments: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_gristmill")).args(arguments).current_dir(job.path("")).output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap() + &String::from_utf8(ran.stdout).unwrap())
}

#[test]
fn tables_that_are_taken_over_leave_answers_alone() {
    let job = Job::new();
    job.write("spec.toml", shipped("dedupe.toml"));
    let run = |rows: &str| {
        let more = format!("[[check]]\non = \"people\"\nname = \"many\"\nmin_rows = {rows}\n");
        job.write("spec.toml", format!("{}{more}", shipped("dedupe.toml")));
        let (code, words) = gristmill(&job, &["run", "spec.toml"]);
        assert_eq!(code, Some(0), "{words}");
        (fs::canonicalize(job.path("runs/customers/latest")).unwrap(), words)
    };
    run("1");
    let (second, words) = run("2");
    assert!(words.contains("taken over"), "{words}");
    let review = second.join("people/review.csv");
    let filled = answered(&fs::read_to_string(&review).unwrap(), &|_| "yes");
    fs::write(&review, &filled).unwrap();
    fs::remove_file(second.join("people/golden.parquet")).unwrap();
    let (again, words) = run("2");
    assert!(again == second && words.contains("review.kept-1.csv"), "{words}");
    assert_eq!(fs::read_to_string(second.join("people/review.kept-1.csv")).unwrap(), filled);
    let (code, words) = gristmill(&job, &["runs", "prune", "customers", "--keep", "0"]);
    assert!(code == Some(0) && second.is_dir(), "{words}");
}

#[test]
fn answers_of_people_measure_the_entities() {
    let job = Job::new();
    let run = job.run(&shipped("dedupe.toml"), "customers");
    let csv = String::from_utf8(run.bytes("people/review.csv")).unwrap();
    let (review, strata) = (run.table_of("people", "review"), run.table_of("people", "strata"));
    let n = review.num_rows();
    assert!(n >= 150 && csv.lines().count() == n + 1, "{n} pairs to look at");
    assert!(review.column_by_name("given_name_a").is_some() && review.column_by_name("customer_id_a").is_none(), "{:?}", review.schema());
    // What is asked stands for all that was looked at: every pair inside an entity is of one stratum.
    let sizes = counts(&run.table_of("people", "verdict"), "n_records");
    assert!(sizes[0] > 0);
    let is_one = strata.column_by_name("same_entity").unwrap().as_boolean().clone();
    let inside: u64 = counts(&strata, "n_pairs").iter().zip(is_one.iter()).filter(|(_, one)| *one == Some(true)).map(|(n, _)| n).sum();
    assert_eq!(inside, said(&run.table_of("people", "entities")).len() as u64);
    let checked = |answers: &str, dir: &str| {
        job.write("answers.csv", answers);
        let verdict = job.run(&format!("{}checked = \"answers.csv\"\n", shipped("dedupe.toml")), dir).table_of("people", "verdict");
        (counts(&verdict, "n_checked")[0], ["expected_f1_lo", "expected_f1", "expected_f1_hi"].map(|name| number(&verdict, name)))
    };
    let score = f1(&said(&run.table_of("people", "entities")), &pairs(truth().into_iter()));
    let yes_or_no = |is_match: bool| if is_match { "yes" } else { "No" };
    let (n_checked, [lo, value, hi]) = checked(&answered(&csv, &yes_or_no), "checked");
    assert_eq!(n_checked, n as u64);
    // The ends are reckoned another way than the score is.
    const ROUNDING: f64 = 1e-12;
    assert!(lo <= score && score <= hi + ROUNDING && lo < value && value < hi, "{score}: {value}, {lo} to {hi}");
    let (_, [_, _, hi]) = checked(&answered(&csv, &|is_match| yes_or_no(!is_match)), "turned");
    assert!(hi < 0.5, "{hi}: answers turned round would be seen");
    // Half of them are enough to begin with, and an empty cell is no answer.
    let half: String = answered(&csv, &yes_or_no).lines().take(n / 2).map(|line| format!("{line}\n")).collect();
    let rest: String = csv.lines().skip(n / 2).map(|line| format!("{line}\n")).collect();
    let (n_checked, [lo, _, hi]) = checked(&format!("{half}{rest}"), "half");
    assert_eq!(n_checked, n as u64 / 2 - 1);
    assert!(lo <= score && score <= hi, "{score} is not from {lo} to {hi}");
}

#[test]
fn answers_that_cannot_be_read_are_refused() {
    let job = Job::new();
    job.write("rows.csv", "id,name\n=1,anna rossi\n2,=cmd anna\n3,anna rossi\n4,=cmd anna\n");
    let spec = "name = \"small\"\n[source.rows]\npath = \"rows.csv\"\n[step.same]\nkind = \"dedupe\"\nfrom = \"rows\"\nid = \"id\"\n";
    let run = job.run(spec, "small");
    let csv = String::from_utf8(run.bytes("same/review.csv")).unwrap();
    // What a spreadsheet would run is a text there.
    assert!(csv.contains("'=cmd anna") && csv.contains("'=1"), "{csv}");
    assert!(csv.lines().flat_map(|line| line.split(',')).all(|cell| !cell.starts_with('=')), "{csv}");
    let mut n = 0;
    let mut fails = |answers: &str, keys: &str| {
        job.write("answers.csv", answers);
        n += 1;
        job.try_run(&format!("{spec}checked = \"answers.csv\"\n{keys}"), &format!("run{n}")).err().unwrap()
    };
    for (answers, keys, said) in [
        ("a_id,b_id,match\n'=1,3,maybe\n", "", "row 0 of `checked` answers `maybe`, but `match` must be yes, no or empty"),
        ("a_id,b_id,match\n'=1,3,yes\n3,=1,no\n", "", "of two records of which another row says the opposite"),
        ("a_id,b_id,match\n3,3,yes\n", "", "row 0 of `checked` holds a record against itself"),
        ("a_id,b_id,match\n3,9,yes\n", "", "row 0 of `checked` names 9, which no row has as its id"),
        ("a_id,b_id,same\n3,4,yes\n", "", "`checked` has no column `match`"),
        ("a_id,b_id,match\n3,4,yes\n", "exact = {}\n", "`checked` beside `exact` says nothing"),
    ] {
        let refused = fails(answers, keys);
        assert!(refused.contains(said), "{refused}");
    }
}
