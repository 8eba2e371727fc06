//! Specs that are laid over others, refer to values from outside, and keep secrets.

use std::fs;

use serde_json::Value;

use crate::job::{Job, files, planted};

const BASE: &str = r#"
name = "base"
alpha = 0.01
place = "cpu"

[vars]
file = "data.csv"
top = 3

[source.people]
path = "${vars.file}"

[step.pairs]
kind = "correlate"
from = "people"
top = "${vars.top}"
"#;

const OVER: &str = "extends = \"base.toml\"\nname = \"nightly\"\n[step.pairs]\nexclude = [\"x00\"]\n";

/// Returns a step of the resolved spec that a run keeps.
fn resolved(job: &Job) -> toml::Table {
    fs::read_to_string(job.path("out/spec.toml")).unwrap().parse().unwrap()
}

#[test]
fn a_spec_lies_over_its_base_and_the_command_line_over_both() {
    let job = Job::new(OVER);
    job.write("base.toml", BASE);
    job.run();
    let spec = resolved(&job);
    assert_eq!((spec["name"].as_str(), spec["alpha"].as_float()), (Some("nightly"), Some(0.01)));
    let pairs = &spec["step"]["pairs"];
    assert_eq!((pairs["top"].as_integer(), pairs["exclude"][0].as_str()), (Some(3), Some("x00")));
    assert!(!spec.contains_key("vars") && !spec.contains_key("extends"));
    let set = ["run", "spec.toml", "--run-dir", "set", "--quiet", "--set", "vars.top=2", "--set", "step.pairs.exclude=[\"x00\", \"x01\"]"];
    assert_eq!(job.gristmill(&set).code, 0);
    let spec: toml::Table = fs::read_to_string(job.path("set/spec.toml")).unwrap().parse().unwrap();
    assert_eq!(spec["step"]["pairs"]["top"].as_integer(), Some(2));
    assert_eq!(spec["step"]["pairs"]["exclude"].as_array().map(Vec::len), Some(2));
    // A date is a text, since no key takes one.
    let dated = job.gristmill(&["validate", "spec.toml", "--set", "vars.file=2025-03-01"]);
    assert!(dated.stderr.contains("no file `2025-03-01`"), "{}", dated.stderr);
}

#[test]
fn what_is_set_must_be_there_to_be_set() {
    let job = Job::new(OVER);
    job.write("base.toml", BASE);
    for (set, words) in [
        ("vars.topp=2", ["no variable is called `topp`", "`top`", "--set:1:6"]),
        ("step.pear.top=2", ["no step is called `pear`", "pairs", "--set:1:6"]),
        ("step.pairs.topp=2", ["unknown key `topp`", "`top`", "--set:1:12"]),
        ("alpha", ["has no value", "KEY=VALUE", "--set:1:1"]),
        ("=2", ["has no key", "KEY=VALUE", "--set:1:1"]),
        ("alpha=1\nseed=2", ["more than one line", "KEY=VALUE", "--set:1:1"]),
        ("alpha=nine", ["`alpha` takes a number, not a text", "alpha = 0.05", "--set:1:9"]),
    ] {
        let ran = job.gristmill(&["validate", "spec.toml", "--set", set]);
        assert_eq!(ran.code, 2, "{set}: {}", ran.stdout);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{set}: {}", ran.stderr);
    }
}

#[test]
fn references_do_not_make_a_small_spec_large() {
    let list: Vec<String> = (0..900).map(|n| format!("\"v{n}\"")).collect();
    let steps: String =
        (0..900).map(|n| format!("[step.s{n}]\neach = {{ a = \"${{vars.l}}\" }}\nkind = \"correlate\"\nfrom = \"people\"\n")).collect();
    let job = Job::new(&format!("name = \"j\"\n[vars]\nl = [{}]\n[source.people]\npath = \"data.csv\"\n{steps}", list.join(", ")));
    let ran = job.gristmill(&["validate", "spec.toml"]);
    assert!(ran.code == 2 && ran.stderr.contains("more of the spec than it may hold"), "{}", &ran.stderr[..ran.stderr.len().min(2_000)]);
    let texts: String = (0..12).map(|n| format!("a{n} = \"{}\"\n", "x".repeat(20_000))).collect();
    let uses: Vec<String> = (0..12).map(|n| format!("\"{}\"", format!("${{vars.a{n}}}").repeat(600))).collect();
    job.write(
        "spec.toml",
        format!(
            "name = \"j\"\n[vars]\n{texts}[source.people]\npath = [{}]\n[step.s]\nkind = \"correlate\"\nfrom = \"people\"\n",
            uses.join(", ")
        ),
    );
    let ran = job.gristmill(&["validate", "spec.toml"]);
    assert!(ran.code == 2 && ran.stderr.len() < 200_000, "{}", ran.stderr.len());
}

#[test]
fn one_table_with_each_stands_for_several() {
    let spec = r#"
name = "shops"
place = "cpu"
[vars]
shops = ["it", "de"]
[source.sales]
each = { shop = "${vars.shops}" }
path = "${each.shop}.csv"
[step.pairs]
each = { shop = "${vars.shops}", top = [1, 2] }
kind = "correlate"
from = "sales-${each.shop}"
top = "${each.top}"
[step.last]
kind = "correlate"
from = "sales-it"
needs = ["pairs"]
"#;
    let job = Job::new(spec);
    job.write("it.csv", planted(300, 4));
    job.write("de.csv", planted(200, 4));
    let plan: Value = serde_json::from_str(&job.gristmill(&["plan", "spec.toml", "--json"]).stdout).unwrap();
    let names = |list: &str| plan[list].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names("sources"), ["sales-it", "sales-de"]);
    assert_eq!(names("steps"), ["pairs-it-1", "pairs-it-2", "pairs-de-1", "pairs-de-2", "last"]);
    assert_eq!(plan["steps"][2]["from"]["source"], "sales-de");
    assert_eq!(plan["steps"][4]["needs"].as_array().map(Vec::len), Some(4));
    job.run();
    assert!(job.path("out/pairs-de-2/pairs.parquet").is_file());
}

#[test]
fn the_environment_is_read_where_a_spec_says_so_and_in_the_type_of_the_key() {
    let spec = "name = \"env\"\nplace = \"cpu\"\nallow_env = [\"GM_SEED\", \"GM_DIR\"]\nseed = \"${env:GM_SEED}\"\n\
                [source.people]\npath = \"${env:GM_DIR:-.}/data.csv\"\n[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\n";
    let job = Job::new(spec);
    let missing = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert!(missing.code == 2 && missing.stderr.contains("GM_SEED"), "{}", missing.stderr);
    let ran = job.command(&["run", "spec.toml", "--run-dir", "out", "--quiet"]).env("GM_SEED", "11").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(resolved(&job)["seed"].as_integer(), Some(11));
    let wrong = job.command(&["validate", "spec.toml"]).env("GM_SEED", "eleven").output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`seed` takes a whole number"), "{}", String::from_utf8_lossy(&wrong.stderr));
}

/// What must not be found: a secret as it is, and as texts of JSON, HTML and URLs hold it.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap();
    let html = secret.replace('&', "&#38;").replace('<', "&#60;").replace('"', "&#34;").replace('\'', "&#39;");
    let url = secret.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    vec![secret.to_owned(), json.trim_matches('"').to_owned(), html, url.collect()]
}

#[test]
fn a_secret_is_in_no_file_and_on_no_stream() {
    let head = "name = \"hidden\"\nplace = \"cpu\"\n[source.people]\npath = \"${secret:GM_TOKEN}/data.csv\"\n";
    let step = "[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\n";
    let specs = [
        format!("{head}{step}"),
        // Not there, not a column, not a key, not a condition, with the path in every row, with a name of another type.
        format!("{}{step}", head.replace("data.csv", "dota.csv")),
        format!("{}{step}", head.replace("data.csv", "*.parquet")),
        format!("{}{step}", head.replace("data.csv", "broken.parquet")),
        format!("{head}{step}target = \"nobody\"\n"),
        format!("{head}{step}tartget = \"x01\"\n"),
        format!("{head}where = \"x01 > > 3\"\n{step}"),
        format!("{head}file_column = \"file\"\n{step}"),
        format!("{}{step}", head.replace("path = ", "path = [\"data.csv\", ").replace("csv\"\n", "csv\"]\n")),
        format!("{}{step}", head.replace("/data.csv", "/data.csv/x.csv")),
    ];
    let commands: [&[&str]; 4] = [
        &["validate", "spec.toml"],
        &["plan", "spec.toml", "--json"],
        &["run", "spec.toml", "--run-dir", "out"],
        &["run", "spec.toml", "--run-dir", "out", "--log-format", "json"],
    ];
    let (mut runs, mut good) = (0, 0);
    for secret in ["tok-8fd3Zq", "p w'd \"<&> \\x", "Gr\u{f6}\u{df}e-geheim"] {
        let job = Job::new("");
        let folder = job.path(secret);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("data.csv"), planted(300, 4)).unwrap();
        fs::write(folder.join("broken.parquet"), b"PAR1 this is none PAR1").unwrap();
        for spec in &specs {
            job.write("spec.toml", spec);
            for command in commands {
                let ran = job.command(command).env("GM_TOKEN", secret).output().unwrap();
                let streams = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
                let told: Vec<String> = forms(secret).into_iter().filter(|form| streams.contains(form)).collect();
                assert!(told.is_empty(), "{command:?} {spec}\n{streams}");
                runs += 1;
                good += u32::from(ran.status.success());
            }
            if !job.path("out").exists() {
                continue;
            }
            for file in files(&job.path("out")).iter().filter(|name| job.path("out").join(name).is_file()) {
                let bytes = fs::read(job.path("out").join(file)).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(forms(secret).iter().all(|form| !text.contains(form)), "{file} holds the secret");
            }
            let seen = fs::read_to_string(job.path("out/manifest.json")).unwrap();
            assert!(seen.contains("${secret:GM_TOKEN}"), "{seen}");
            fs::remove_dir_all(job.path("out")).unwrap();
        }
    }
    assert!(runs >= 50 && good >= 12, "{runs} runs, {good} good");
}

#[test]
fn a_new_secret_is_the_same_run() {
    let spec = "name = \"same\"\nplace = \"cpu\"\n[source.people]\npath = \"${secret:GM_TOKEN}/data.csv\"\n[step.pairs]\nkind = \"correlate\"\nfrom = \"people\"\n";
    let job = Job::new(spec);
    for token in ["first-token", "second-token"] {
        fs::create_dir(job.path(token)).unwrap();
        fs::copy(job.path("data.csv"), job.path(token).join("data.csv")).unwrap();
    }
    let run = |token: &str| {
        let ran = job.command(&["run", "spec.toml", "--run-dir", "out"]).env("GM_TOKEN", token).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stderr).unwrap()
    };
    run("first-token");
    assert!(run("second-token").contains("nothing has changed"));
}
