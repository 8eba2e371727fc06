//! Nothing is written outside of the run folder, whatever a spec says and whatever lies there.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::job::{Job, ONE_STEP};

/// Names that lead elsewhere, or that some system takes for something else.
const NAMES: [&str; 18] = [
    "..",
    ".",
    "../x",
    "../../etc/x",
    "/etc/x",
    "/",
    "a/b",
    "a/../../b",
    "a\\\\..\\\\b",
    "C:x",
    "~",
    "~/x",
    "-rf",
    "$HOME",
    "a\\u0000b",
    "a\\nb",
    ".gristmill-x",
    "x*",
];

/// Returns every file outside of `runs` with its bytes.
fn others(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = crate::job::files(root).into_iter().filter(|name| !name.starts_with("work/runs"));
    files.filter(|name| root.join(name).is_file()).map(|name| (name.clone(), fs::read(root.join(&name)).unwrap())).collect()
}

#[test]
fn no_name_in_a_spec_leads_outside() {
    let job = Job::new("");
    fs::create_dir(job.path("work")).unwrap();
    fs::copy(job.path("data.csv"), job.path("work/data.csv")).unwrap();
    let step = |name: &str| {
        format!(
            "name = \"j\"\nplace = \"cpu\"\n[source.people]\npath = \"data.csv\"\n[step.\"{name}\"]\nkind = \"correlate\"\nfrom = \"people\"\n"
        )
    };
    let forms: [&dyn Fn(&str) -> String; 4] = [
        &|name| ONE_STEP.replace("name = \"tiny\"", &format!("name = \"{name}\"")),
        &step,
        &|name| format!("{ONE_STEP}[[check]]\non = \"people\"\nmin_rows = 1\nname = \"{name}\"\n"),
        &|name| format!("{}[step.more]\nkind = \"correlate\"\nfrom = \"people\"\neach = {{ part = [\"{name}\"] }}\n", ONE_STEP),
    ];
    let mut refused = 0;
    let mut specs = 0;
    let elsewhere = || ["/etc/x", "/x"].map(|path| Path::new(path).exists());
    let before_elsewhere = elsewhere();
    for form in forms {
        for name in NAMES {
            job.write("work/spec.toml", form(name));
            let before = others(job.folder.path());
            let mut run = job.command(&["run", "spec.toml", "--quiet"]);
            let ran = run.current_dir(job.path("work")).env("HOME", job.path("home")).output().unwrap();
            assert_eq!(elsewhere(), before_elsewhere, "{name}");
            // A value of `each` becomes a name by leaving out what no name may hold.
            assert!(matches!(ran.status.code(), Some(0 | 2)), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
            refused += u32::from(!ran.status.success());
            specs += 1;
            assert_eq!(others(job.folder.path()), before, "{name}");
        }
    }
    assert!(specs >= 60 && refused >= 45, "{refused} of {specs} were refused");
    let steps: Vec<String> = crate::job::files(&job.path("work/runs")).into_iter().filter(|name| name.contains("more-")).collect();
    assert!(steps.iter().all(|name| !name.contains("..")), "{steps:?}");
}

#[test]
fn a_link_in_the_run_folder_is_not_followed() {
    let job = Job::new(ONE_STEP);
    fs::create_dir(job.path("elsewhere")).unwrap();
    job.write("victim", "mine");
    // A folder of a step that is a link, while the run is not there and after it was made.
    fs::create_dir(job.path("out")).unwrap();
    symlink(job.path("elsewhere"), job.path("out/pairs")).unwrap();
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    fs::remove_dir_all(job.path("out")).unwrap();
    job.run();
    fs::remove_dir_all(job.path("out/pairs")).unwrap();
    symlink(job.path("elsewhere"), job.path("out/pairs")).unwrap();
    let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
    assert!(ran.code == 2 && ran.stderr.contains("is a link"), "{} {}", ran.code, ran.stderr);
    assert_eq!(fs::read_dir(job.path("elsewhere")).unwrap().count(), 0);
    // Files under final names are replaced and not written through.
    fs::remove_file(job.path("out/pairs")).unwrap();
    for name in ["report.html", "findings.parquet", "manifest.json"] {
        let text = fs::read(job.path("out").join(name)).unwrap();
        fs::write(job.path("copy"), &text).unwrap();
        fs::remove_file(job.path("out").join(name)).unwrap();
        symlink(job.path("copy"), job.path("out").join(name)).unwrap();
    }
    job.run();
    assert!(fs::symlink_metadata(job.path("out/report.html")).unwrap().is_file());
    // Two are written in place: a link there is refused, and a queue is not waited for.
    for name in ["events.jsonl", "lock"] {
        let own = job.path("out").join(name);
        fs::remove_file(&own).unwrap();
        symlink(job.path("victim"), &own).unwrap();
        let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
        assert!(ran.code == 2 && ran.stderr.contains(&format!("has a `{name}` that is a link")), "{} {}", ran.code, ran.stderr);
        fs::remove_file(&own).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &own, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let ran = job.gristmill(&["run", "spec.toml", "--run-dir", "out"]);
        assert!(ran.code == 2 && ran.stderr.contains("or no file"), "{} {}", ran.code, ran.stderr);
        fs::remove_file(&own).unwrap();
        job.run();
    }
    assert_eq!(fs::read_to_string(job.path("victim")).unwrap(), "mine");
}
