//! `kind = "dedupe"` and `kind = "link"` from the command line: planted customers are found, tables say the same as each other, nothing hangs
//! on the order of rows, threads or memory, and what cannot be done is said.
#![allow(clippy::print_stderr, reason = "a test that leaves out a part says so")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod beyond;
mod channels;
#[path = "../common/mod.rs"]
mod common;
mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use common::{Job, repository};

fn shipped(name: &str) -> String {
    let text = fs::read_to_string(repository("jobs/specs").join(name)).unwrap();
    text.replace("../../datasets", repository("datasets").to_str().unwrap())
}

fn texts(table: &RecordBatch, name: &str) -> Vec<String> {
    table.column_by_name(name).unwrap().as_string::<i32>().iter().map(|cell| cell.unwrap_or_default().to_owned()).collect()
}

fn counts(table: &RecordBatch, name: &str) -> Vec<u64> {
    table.column_by_name(name).unwrap().as_primitive::<UInt64Type>().values().to_vec()
}

fn number(table: &RecordBatch, name: &str) -> f64 {
    table.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(0)
}

/// Who every customer is.
fn truth() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository("datasets/samples/expected/customers_truth.csv")).unwrap();
    text.lines().skip(1).filter_map(|line| line.split_once(',')).map(|(id, person)| (id.to_owned(), person.to_owned())).collect()
}

/// Pairs of names that are of one group.
fn pairs<G: Ord>(groups: impl Iterator<Item = (String, G)>) -> BTreeSet<(String, String)> {
    let mut members: BTreeMap<G, Vec<String>> = BTreeMap::new();
    for (name, group) in groups {
        members.entry(group).or_default().push(name);
    }
    let mut found = BTreeSet::new();
    for names in members.values() {
        for a in names {
            found.extend(names.iter().filter(|b| a < *b).map(|b| (a.clone(), b.clone())));
        }
    }
    found
}

fn said(entities: &RecordBatch) -> BTreeSet<(String, String)> {
    pairs(texts(entities, "customer_id").into_iter().zip(counts(entities, "entity_id")))
}

fn f1(said: &BTreeSet<(String, String)>, meant: &BTreeSet<(String, String)>) -> f64 {
    2.0 * said.intersection(meant).count() as f64 / (said.len() + meant.len()) as f64
}

#[test]
fn planted_customers_are_found_and_every_table_says_the_same() {
    let job = Job::new();
    let run = job.run(&shipped("dedupe.toml"), "customers");
    let (entities, golden, verdict) =
        (run.table_of("people", "entities"), run.table_of("people", "golden"), run.table_of("people", "verdict"));
    let (said, meant) = (said(&entities), pairs(truth().into_iter()));
    let score = f1(&said, &meant);
    assert!(score > 0.99, "F1 {score}");
    assert!(f1(&meant.iter().skip(20).cloned().collect(), &meant) < 0.99, "twenty pairs less would be seen");
    assert!((number(&verdict, "expected_f1") - score).abs() < 0.03, "{}", number(&verdict, "expected_f1"));
    assert_eq!(texts(&verdict, "verdict"), ["resolved"]);
    // Golden records, entities and the verdict count the same.
    let ids: BTreeSet<u64> = counts(&entities, "entity_id").into_iter().collect();
    assert_eq!(counts(&golden, "entity_id"), ids.into_iter().collect::<Vec<_>>());
    assert_eq!(counts(&verdict, "n_entities")[0], golden.num_rows() as u64);
    let sizes = golden
        .column_by_name("cluster_size")
        .unwrap()
        .as_primitive::<UInt32Type>()
        .values()
        .iter()
        .map(|size| u64::from(*size))
        .sum::<u64>();
    assert_eq!(sizes, entities.num_rows() as u64);
    // A golden cell is that of one of the entity's rows, and keeps the type of its column.
    assert!(golden.column_by_name("postcode").unwrap().data_type().is_numeric());
    let source = run.table_of("people", "conflicts");
    let of_row = counts(&entities, "entity_id");
    for (entity, row) in counts(&source, "entity_id").into_iter().zip(counts(&source, "row")) {
        assert_eq!(of_row[usize::try_from(row).unwrap()], entity);
    }
    // Weights of a pair add up to its probability.
    let pairs = run.table_of("people", "pairs");
    let bits: Vec<&[f32]> = (0..pairs.num_columns())
        .filter(|at| pairs.schema().field(*at).name().ends_with("_bits"))
        .map(|at| pairs.column(at).as_primitive::<arrow::datatypes::Float32Type>().values().as_ref())
        .collect();
    let scores = pairs.column_by_name("score").unwrap().as_primitive::<Float64Type>();
    for row in 0..pairs.num_rows() {
        let sum = number(&verdict, "prior_bits") + bits.iter().map(|column| f64::from(column[row])).sum::<f64>();
        let p = 1.0 / (1.0 + (-sum).exp2());
        assert!((p - scores.value(row)).abs() < 1e-4, "row {row}: {p} against {}", scores.value(row));
    }
}

#[test]
fn linked_systems_pair_each_customer_once() {
    let job = Job::new();
    let run = job.run(&shipped("link.toml"), "customers-linked");
    let entities = run.table_of("partners", "entities");
    let mut held = BTreeSet::new();
    for (entity, source) in counts(&entities, "entity_id").into_iter().zip(texts(&entities, "source")) {
        assert!(held.insert((entity, source.clone())), "entity {entity} has two rows of {source}");
    }
    let across =
        |pairs: BTreeSet<(String, String)>| -> BTreeSet<(String, String)> { pairs.into_iter().filter(|(a, b)| a[..3] != b[..3]).collect() };
    // Someone who is in a system twice has two right partners, of whom one is taken.
    let (said, meant) = (across(said(&entities)), across(pairs(truth().into_iter())));
    let right = said.intersection(&meant).count() as f64;
    assert!(right / said.len() as f64 > 0.99, "{right} of {}", said.len());
    assert!(texts(&entities, "source").iter().all(|source| source.ends_with(".csv")), "sources are called as they are written");
}

#[test]
fn tables_that_from_lists_are_linked() {
    let job = Job::new();
    let by_file = job.run(&shipped("link.toml"), "customers-linked").table_of("partners", "entities");
    let samples = repository("datasets/samples");
    let source = |name: &str| format!("[source.{name}]\npath = \"{}/customers_{name}.csv\"\n", samples.display());
    let step = "[step.partners]\nkind = \"link\"\nid = \"customer_id\"\n";
    let spec = |from: &str| format!("name = \"listed\"\nseed = 7\n{}{}{step}from = {from}\n", source("crm"), source("web"));
    let run = job.run(&spec("[\"crm\", \"web\"]"), "listed");
    let listed = run.table_of("partners", "entities");
    assert_eq!(said(&listed), said(&by_file));
    assert_eq!(texts(&listed, "source")[0], "crm");
    assert!(run.table_of("partners", "golden").column_by_name("source").is_some());
    let plan: serde_json::Value = serde_json::from_slice(&run.bytes("plan.json")).unwrap();
    assert_eq!(plan["steps"][0]["from"], serde_json::json!([{ "source": "crm" }, { "source": "web" }]));
    // Tables of steps can be listed too: golden records of each system, linked.
    let clean = |name: &str| format!("[step.{name}_once]\nkind = \"dedupe\"\nfrom = \"{name}\"\nid = \"customer_id\"\n");
    let tables =
        spec("[\"crm_people\", \"web_people\"]").replace("[step.partners]", &format!("{}{}[step.partners]", clean("crm"), clean("web")));
    let refused = job.try_run(&tables, "steps").err().unwrap();
    assert!(refused.contains("no source or step is called `crm_people`"), "{refused}");
    let run = job.run(&tables.replace("_people", "_once"), "steps");
    let golden = run.table_of("partners", "golden");
    assert!(golden.column_by_name("entity_id").is_some() && golden.column_by_name("entity_id_before").is_some(), "{:?}", golden.schema());
    let n = |step: &str| run.table_of(step, "golden").num_rows();
    // Hardly anyone is in one system twice, and neighbours are not taken for one another.
    for system in ["crm", "web"] {
        let meant: BTreeSet<(String, String)> =
            pairs(truth().into_iter()).into_iter().filter(|(a, b)| a.starts_with(system) && b.starts_with(system)).collect();
        let score = f1(&said(&run.table_of(&format!("{system}_once"), "entities")), &meant);
        assert!(score > 0.9, "{system}: F1 {score} over {} pairs", meant.len());
    }
    assert_eq!(run.table_of("partners", "entities").num_rows(), n("crm_once") + n("web_once"));
    // Whoever is in both systems is found there, once: most of the people who are in both.
    let people = pairs(truth().into_iter()).into_iter().filter(|(a, b)| a[..3] != b[..3]).count();
    let found = n("crm_once") + n("web_once") - n("partners");
    assert!(found * 10 > people * 8 && found <= people, "{found} of {people}");
    // Nothing but dedupe and link reads several.
    let refused =
        job.try_run(&spec("[\"crm\", \"web\"]").replace("\"link\"\nid = \"customer_id\"", "\"correlate\""), "many").err().unwrap();
    assert!(refused.contains("`from` names 2 tables, but `correlate` reads 1"), "{refused}");
}

/// The shipped customers as one file, its rows in another order.
fn reversed() -> String {
    let read = |name: &str| fs::read_to_string(repository("datasets/samples").join(name)).unwrap();
    let (crm, web) = (read("customers_crm.csv"), read("customers_web.csv"));
    let (header, _) = crm.split_once('\n').unwrap();
    let mut rows: Vec<&str> = crm.lines().skip(1).chain(web.lines().skip(1)).collect();
    rows.reverse();
    rows.sort_by_key(|row| row.len() % 7);
    format!("{header}\n{}\n", rows.join("\n"))
}

#[test]
fn order_and_threads_change_nothing() {
    let job = Job::new();
    job.write("rows.csv", reversed());
    let straight = job.run(&shipped("dedupe.toml"), "customers");
    let spec = |threads: usize| {
        format!(
            "name = \"other\"\nseed = 7\nthreads = {threads}\n[source.customers]\npath = \"rows.csv\"\n[step.people]\nkind = \"dedupe\"\nfrom = \"customers\"\nid = \"customer_id\"\n"
        )
    };
    let by_id = |table: &RecordBatch| -> BTreeMap<String, u64> {
        texts(table, "customer_id").into_iter().zip(counts(table, "entity_id")).collect()
    };
    let expected = by_id(&straight.table_of("people", "entities"));
    let scores = |table: &RecordBatch| -> BTreeSet<(String, String, u64)> {
        let score = table.column_by_name("score").unwrap().as_primitive::<Float64Type>();
        let ends = texts(table, "a_id").into_iter().zip(texts(table, "b_id"));
        ends.enumerate().map(|(at, (a, b))| (a.clone().min(b.clone()), a.max(b), score.value(at).to_bits())).collect()
    };
    let expected_scores = scores(&straight.table_of("people", "pairs"));
    for threads in [1, 2] {
        let run = job.run(&spec(threads), &format!("other{threads}"));
        assert_eq!(by_id(&run.table_of("people", "entities")), expected, "{threads} threads");
        assert_eq!(scores(&run.table_of("people", "pairs")), expected_scores, "{threads} threads");
    }
}

/// Rows of each cause of duplicates.
fn classes(table: &RecordBatch) -> Vec<(String, u64)> {
    texts(table, "class").into_iter().zip(counts(table, "n_rows")).collect()
}

#[test]
fn copies_are_told_apart_by_cause() {
    let job = Job::new();
    let run = job.run(&shipped("dedupe_copies.toml"), "copies");
    let found = classes(&run.table_of("copies", "duplicate_classes"));
    // As pandas counts them: equal in all eight columns, 3,064 in both files and 88 within one.
    let n = |class: &str| found.iter().find(|(name, _)| name == class).unwrap().1;
    assert_eq!((n("copy_in_document"), n("copy_in_source"), n("copy_across_sources"), n("near")), (88, 0, 3_064, 0));
    let entities = run.table_of("copies", "entities");
    let golden = run.table_of("copies", "golden");
    assert_eq!((entities.num_rows(), golden.num_rows()), (6_216, 6_216 - 3_152));
    assert_eq!(entities.column_by_name("duplicate").unwrap().null_count(), golden.num_rows());
    // Whole years, where they are at hand: the figures of their own description.
    let data = repository("../shared/data/domain");
    if !data.exists() {
        eprintln!("{} is not there: no whole years", data.display());
        return;
    }
    let day = format!("{}/samples/retail_day_*.csv.gz", repository("datasets").display());
    let years = shipped("dedupe_copies.toml").replace(&day, &format!("{}/online_retail_*.parquet", data.display()));
    let run = job.run(&years, "years");
    let expected = [("copy_in_document", 12_133), ("copy_in_source", 0), ("copy_across_sources", 22_202), ("near", 0)];
    assert_eq!(classes(&run.table_of("copies", "duplicate_classes")), expected.map(|(class, n)| (class.to_owned(), n)));
}

#[test]
fn what_does_not_count_makes_more_copies() {
    let job = Job::new();
    job.write(
        "rows.csv",
        "id,name,price\n1,Anna Rossi,1.50\n2,anna rossi,1.5\n3, anna  rossi,1.5\n4,\u{ff21}nna Rossi,1.5\n5,,\n6,,\n7,bruno,\n",
    );
    let spec = |how: &str| {
        format!(
            "name = \"small\"\n[source.rows]\npath = \"rows.csv\"\n[step.same]\nkind = \"dedupe\"\nfrom = \"rows\"\nid = \"id\"\nexact = {{ {how} }}\n"
        )
    };
    let n = |how: &str, dir: &str| job.run(&spec(how), dir).table_of("same", "golden").num_rows();
    assert_eq!(n("", "letter"), 6);
    assert_eq!(n("case = false", "case"), 5);
    assert_eq!(n("case = false, spaces = false", "spaces"), 4);
    assert_eq!(n("case = false, spaces = false, unicode = false", "unicode"), 3);
}

#[test]
fn near_texts_are_found_and_one_of_each_group_is_kept() {
    let job = Job::new();
    let run = job.run(&shipped("dedupe_texts.toml"), "texts");
    let (pairs, golden, entities) = (run.table_of("names", "pairs"), run.table_of("names", "golden"), run.table_of("names", "entities"));
    assert!(pairs.num_rows() > 1_000, "{} pairs", pairs.num_rows());
    let scores = pairs.column_by_name("score").unwrap().as_primitive::<Float64Type>();
    assert!(scores.values().iter().all(|score| (0.7..=1.0).contains(score)));
    assert_eq!(golden.num_columns(), 4, "{:?}", golden.schema());
    let kept: BTreeSet<(String, String)> = texts(&golden, "StockCode").into_iter().zip(texts(&golden, "Description")).collect();
    let rows = texts(&entities, "StockCode").len();
    assert_eq!(rows - kept.len(), entities.column_by_name("duplicate").unwrap().len() - golden.num_rows());
    let byte = shipped("dedupe_texts.toml").replace("memory", "").replace("seed", "");
    let tight =
        job.try_run(&format!("memory = \"16MiB\"\n{}", byte.replace("threshold = 0.7", "threshold = 0.05")), "tight").err().unwrap();
    assert!(tight.contains("pairs of texts") && tight.contains("raise `memory` or `threshold`"), "{tight}");
}

#[test]
fn given_edges_become_entities() {
    let job = Job::new();
    let run = job.run(&shipped("dedupe_edges.toml"), "edges");
    let strict = run.table_of("strict", "verdict");
    assert_eq!(texts(&strict, "method"), ["edges"]);
    assert!(counts(&strict, "n_entities")[0] > counts(&run.table_of("names", "verdict"), "n_entities")[0]);
    // 3,054 settlements of four sources with the scores that others published: F1 0.888 by components at their best cut.
    let data = repository("../shared/data/dedup/geo_settlements");
    if !data.exists() {
        eprintln!("{} is not there: no settlements", data.display());
        return;
    }
    let spec = format!(
        "name = \"geo\"\n[source.places]\npath = \"{0}/records.parquet\"\n[source.links]\npath = \"{0}/edges.parquet\"\nrename = [\"l as a_id\", \"r as b_id\", \"sim as score\"]\n\
         [source.truth]\npath = \"{0}/truth.parquet\"\n\
         [step.once]\nkind = \"link\"\nfrom = \"places\"\nid = \"rec_id\"\nsource_column = \"source\"\nedges = \"links\"\n\
         [step.meant]\nkind = \"dedupe\"\nfrom = \"truth\"\nid = \"rec_id\"\nexact = {{}}\n",
        data.display()
    );
    let run = job.run(&spec, "geo");
    let of = |step: &str| {
        let entities = run.table_of(step, "entities");
        pairs_of_ids(&entities)
    };
    let score = f1(&of("once"), &of("meant"));
    assert!(score >= 0.985, "F1 {score}");
}

/// Pairs of records of one entity, by the column that names them.
fn pairs_of_ids(entities: &RecordBatch) -> BTreeSet<(String, String)> {
    pairs(texts(entities, "rec_id").into_iter().zip(counts(entities, "entity_id")))
}

#[test]
fn edges_that_name_nothing_are_refused() {
    let job = Job::new();
    job.write("rows.csv", "id,name\n1,anna\n2,bruno\n3,carla\n");
    let spec = |id: &str| {
        format!(
            "name = \"small\"\n[source.rows]\npath = \"rows.csv\"\n[source.links]\npath = \"links.csv\"\n[step.same]\nkind = \"dedupe\"\nfrom = \"rows\"\n{id}edges = \"links\"\n"
        )
    };
    let mut n = 0;
    let mut fails = |links: &str, id: &str| {
        job.write("links.csv", links);
        n += 1;
        job.try_run(&spec(id), &format!("run{n}")).err().unwrap()
    };
    for (links, id, said) in [
        ("a,b,score\n0,7,0.5\n", "", "names row 7, but there are 3 rows"),
        ("a,b,score\n0,1,1.5\n", "", "is 1.5, but must be from 0 to 1"),
        ("a,b,score\n0,,0.5\n", "", "does not name two records"),
        ("a,b,sim\n0,1,0.5\n", "", "no column `score`"),
        ("l,r,score\n0,1,0.5\n", "", "needs columns `a_id` and `b_id`, or `a` and `b`"),
        ("a_id,b_id,score\n1,9,0.5\n", "id = \"id\"\n", "names 9, which no row has"),
    ] {
        let refused = fails(links, id);
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let job = Job::new();
    job.write("rows.csv", "id,name,city\n1,anna,pisa\n2,anna,pisa\n3,bruno,pisa\n4,carla,roma\n");
    let fails = |spec: &str, out: &str| job.try_run(spec, out).err().unwrap();
    let spec = |step: &str| format!("name = \"small\"\n[source.rows]\npath = \"rows.csv\"\n[step.people]\nfrom = \"rows\"\n{step}");
    // Four rows are no evidence, and that is an answer.
    let run = job.run(&spec("kind = \"dedupe\"\nid = \"id\"\n"), "small");
    let verdict = texts(&run.table_of("people", "verdict"), "verdict");
    assert!(verdict == ["too_few"] || verdict == ["no_duplicates"], "{verdict:?}");
    let refused = fails(&spec("kind = \"link\"\nid = \"id\"\nsource_column = \"name\"\nfields = [\"id\"]\n"), "both");
    assert!(refused.contains("`id` stands in `fields` and in `id`"), "{refused}");
    job.write("one.csv", "id,name,city,source\n1,anna,pisa,a\n2,anna,pisa,a\n");
    let one = spec("kind = \"link\"\nsource_column = \"source\"\n").replace("rows.csv", "one.csv");
    let refused = fails(&one, "one");
    assert!(refused.contains("names 1 source, and `link` needs two"), "{refused}");
    let row = |row: usize| format!("{row},given{} family{},{},town {}\n", row % 40, row * 7 % 900, 1950 + row * 13 % 61, row * 11 % 257);
    job.write("many.csv", format!("id,name,born,city\n{}", (0..20_000).map(row).collect::<String>()));
    let tight = format!("memory = \"16MiB\"\n{}", spec("kind = \"dedupe\"\nid = \"id\"\n").replace("rows.csv", "many.csv"));
    let refused = fails(&tight, "tight");
    assert!(refused.contains("the texts of") && refused.contains("raise `memory`"), "{refused}");
    // Texts that fit, and pairs that do not: the number that is named does.
    let tight = tight.replace("16MiB", "64MiB");
    let refused = fails(&tight, "pairs");
    assert!(refused.contains(" pairs of them that share something"), "{refused}");
    let (_, named) = refused.split_once("look at fewer with `most_pairs = ").unwrap_or_else(|| panic!("{refused}"));
    let named: u64 = named.split('`').next().unwrap().parse().unwrap();
    let fewer = job.run(&format!("{tight}most_pairs = {named}\n"), "fewer");
    let n_candidates = fewer.table_of("people", "verdict").column_by_name("n_candidates").unwrap().as_primitive::<UInt64Type>().value(0);
    assert!(n_candidates > 20_000 && n_candidates <= 2 * named, "{n_candidates} of {named}");
}
