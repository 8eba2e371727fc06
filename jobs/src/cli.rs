//! The command line: what may be typed, and which part of the library does it.
//!
//! `--help`, `--version`, `validate`, `kinds`, `schema` and `completions` touch neither a GPU nor the thread pool.
//! Absent    `resume`: `run` is resume.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use gristmill_engine::backend::{Backend, PlaceChoice};

use crate::JobError;
use crate::also::Also;
use crate::cache::Earlier;
use crate::confined::{self, Told};
use crate::doctor;
use crate::error::Exit;
use crate::exit;
use crate::explain;
use crate::fault;
use crate::hash::Inputs;
use crate::init::{self, TEMPLATES};
use crate::kinds::{KINDS, Key, Takes};
use crate::memory;
use crate::plan::{self, Plan};
use crate::progress::{LogFormat, View};
use crate::report;
use crate::run::{self, RunOptions};
use crate::run_dir;
use crate::runs;
use crate::signals::{self, Stop};
use crate::spec::{self, Spec, keys};
use crate::terminal::{self, complain, counted, plain, print};

const EXAMPLES: &str = "\
Examples:
  gristmill run jobs/specs/correlate.toml      run a job, or go on with it after any kill
  gristmill validate nightly.toml              every mistake of a spec, with line, column and fix
  gristmill plan nightly.toml                  what a run would read, where it would run and why
  gristmill init correlate                     a first spec with made-up data; then run it
  gristmill doctor                             which adapters there are and which one would be used

Exit codes:
  0 done   2 command line or spec   3 data   4 a check failed   5 over budget   6 no usable device
  70 bug   75 temporary, try again  130, 143 stopped, the same command goes on";

/// JSON Schema of a line of `events.jsonl`; a test holds the lines of runs against it.
const EVENTS_SCHEMA: &str = include_str!("../templates/events.schema.json");

const RUN_EXAMPLES: &str = "\
Examples:
  gristmill run nightly.toml                       writes to runs/<job>/<run-id>
  gristmill run nightly.toml --run-dir out         writes to out
  gristmill run nightly.toml --set alpha=0.01      another value for any key; `--set vars.month=2025-03`
  gristmill run nightly.toml --fresh               removes an earlier run of the same spec and inputs first
  gristmill run nightly.toml --log-format json     events on stderr, one JSON object a line

The run folder holds findings.parquet, <step>/<table>.parquet, report.html, manifest.json and events.jsonl.
The same command goes on where a killed run ended; a finished run is told from its folder.";

/// Turns big, dirty, many-channel data into the few findings that can be trusted.
#[derive(Debug, Parser)]
#[command(name = "gristmill", version, about, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job spec, or go on with a run that was stopped.
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// Job spec, TOML, JSON or YAML.
        spec: PathBuf,
        #[command(flatten)]
        set: Sets,
        /// Folder of this run instead of runs/<job>/<run-id>.
        #[arg(long, value_name = "DIR")]
        run_dir: Option<PathBuf>,
        /// Remove an earlier run that lies in the folder and start over.
        #[arg(long)]
        fresh: bool,
        /// Wait so long for another run that holds the folder, as in "10min"; without it, such a run ends with 75.
        #[arg(long, value_name = "TIME", value_parser = span)]
        wait: Option<f64>,
        /// Write every table in another format too, beside the Parquet file.
        #[arg(long, value_enum, value_name = "FORMAT")]
        also: Vec<Also>,
        /// Write how the run went for Prometheus' text collector, to be replaced by every run.
        #[arg(long, value_name = "FILE")]
        metrics_file: Option<PathBuf>,
        /// Append what was read and written, as events of openlineage.io.
        #[arg(long, value_name = "FILE")]
        lineage_file: Option<PathBuf>,
        #[command(flatten)]
        confined: Confined,
        /// Folder that a run may write in beside its own, with `--untrusted`; may be given again.
        #[arg(long, value_name = "DIR", requires = "untrusted")]
        allow_write: Vec<PathBuf>,
        /// Show errors only.
        #[arg(long, short)]
        quiet: bool,
        /// What stderr carries.
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        log_format: LogFormat,
    },
    /// Check a spec against its files and show every mistake at once.
    Validate {
        /// Job spec, TOML, JSON or YAML.
        spec: PathBuf,
        #[command(flatten)]
        set: Sets,
        #[command(flatten)]
        confined: Confined,
    },
    /// Show what a run would do, without running it.
    Plan {
        /// Job spec, TOML, JSON or YAML.
        spec: PathBuf,
        #[command(flatten)]
        set: Sets,
        #[command(flatten)]
        confined: Confined,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say of every step of a run why it ran or was taken over, where, and why there.
    Explain {
        /// Folder of a run.
        run_dir: PathBuf,
    },
    /// Write a spec that runs as it is, with made-up data; without a name, list the templates.
    Init {
        /// Which template.
        template: Option<String>,
        /// Folder to write into.
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// List the runs of jobs, or remove old ones.
    Runs {
        #[command(subcommand)]
        what: Runs,
    },
    /// Write report.html anew from the files of a run.
    Report {
        /// Folder of a run.
        run_dir: PathBuf,
    },
    /// Show adapters, self-tests and limits of this machine.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// End with exit code 6 when no GPU can be used.
        #[arg(long)]
        require_gpu: bool,
    },
    /// List what a step can do, with its keys and tables.
    Kinds {
        /// One kind; all where absent.
        kind: Option<String>,
    },
    /// Print a JSON Schema: of job specs, for editors, or of the lines of `events.jsonl`.
    Schema {
        /// Which.
        #[arg(value_parser = ["spec", "events"], default_value = "spec")]
        of: String,
    },
    /// Print a manual page.
    Man {
        /// Of which command, `runs prune` say; the first page where absent.
        command: Vec<String>,
    },
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Fail on purpose, so that tests see what a bug looks like.
    #[command(hide = true)]
    Fault {
        /// How.
        #[arg(value_parser = fault::HOWS)]
        how: String,
        #[command(flatten)]
        confined: Confined,
    },
}

#[derive(Debug, Subcommand)]
enum Runs {
    /// Show every run below `runs`, the latest of a job first.
    List {
        /// One job; all where absent.
        job: Option<String>,
    },
    /// Remove all runs of a job but the latest ones; what is under way, and what `latest` points to, stays.
    Prune {
        /// The job.
        job: String,
        /// How many stay.
        #[arg(long, value_name = "N", default_value_t = 5)]
        keep: usize,
        /// Say what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What the command line changes of a spec.
#[derive(Debug, clap::Args)]
struct Sets {
    /// Value of a key, in place of the spec's: `--set vars.month=2025-03`, `--set step.pairs.top=20`; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Whether the files of others are trusted.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Confined {
    /// Read files of unknown origin: in a child process that writes nowhere else, starts nothing and is ended beyond its memory (Linux).
    #[arg(long)]
    untrusted: bool,
}

impl Command {
    /// Says what a confined process of this command may write: the folders beside its runs, and its run; none where it is not to be confined.
    fn confined(&self) -> Option<(&[PathBuf], Option<Option<&Path>>)> {
        match self {
            Self::Run { confined, allow_write, run_dir, .. } if confined.untrusted => Some((allow_write, Some(run_dir.as_deref()))),
            Self::Validate { confined, .. } | Self::Plan { confined, .. } | Self::Fault { confined, .. } if confined.untrusted => {
                Some((&[], None))
            }
            _ => None,
        }
    }

    fn lineage_file(&self) -> Option<&Path> {
        if let Self::Run { lineage_file, .. } = self { lineage_file.as_deref() } else { None }
    }

    fn metrics_file(&self) -> Option<&Path> {
        if let Self::Run { metrics_file, .. } = self { metrics_file.as_deref() } else { None }
    }

    /// Returns where the end of a confined process is shown.
    fn view(&self) -> View {
        match self {
            Self::Run { log_format, quiet, .. } => View::new(*log_format, *quiet),
            _ => View::new(LogFormat::Text, false),
        }
    }

    fn spec(&self) -> &Path {
        match self {
            Self::Run { spec, .. } | Self::Validate { spec, .. } | Self::Plan { spec, .. } => spec,
            _ => Path::new("-"),
        }
    }
}

/// Reads the command line, does what it says and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    memory::take_small_pages();
    exit::hush_panics();
    // Without it a file that grows too large ends the process without a word.
    let _left_as_it_is = signals::take_file_limit();
    let code = match Cli::try_parse() {
        Ok(cli) => {
            if matches!(cli.command, Command::Run { .. } | Command::Plan { .. } | Command::Doctor { .. }) {
                without_session_noise();
            }
            let is_run = matches!(cli.command, Command::Run { .. });
            match (guarded(cli.command), terminal::unprinted()) {
                // Of a run the summary is the least.
                (Exit::Done, Some(error)) if !is_run => {
                    complain(&format!("error: cannot write to stdout: {error}\n"));
                    Exit::Temporary
                }
                (exit, _) => exit,
            }
        }
        Err(message) => {
            // A closed stdout (`gristmill --help | head -1`) is no failure.
            let _gone = message.print();
            if message.use_stderr() { Exit::Spec } else { Exit::Done }
        }
    };
    ExitCode::from(code as u8)
}

/// Starts this program anew with Mesa's device-select layer off, where there is no desktop session.
///
/// The layer asks the session which GPU to prefer; without one it writes `error: XDG_RUNTIME_DIR ...` to stderr,
/// which frightens people and is no JSON. Only the environment turns it off, and a process cannot change its own.
#[cfg(target_os = "linux")]
fn without_session_noise() {
    use std::os::unix::process::CommandExt as _;
    const LAYER_OFF: &str = "NODEVICE_SELECT";
    let has_session = env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).is_dir());
    if has_session || env::var_os(LAYER_OFF).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    // Comes back only when it could not be started; then the noise is the lesser evil.
    let _not_started = process::Command::new(program).args(env::args_os().skip(1)).env(LAYER_OFF, "1").exec();
}

#[cfg(not(target_os = "linux"))]
fn without_session_noise() {}

fn guarded(command: Command) -> Exit {
    let spec = command.spec().to_owned();
    let work = || match command.confined() {
        Some((allow_write, run)) if !confined::is_child() => {
            let view = command.view();
            let (metrics_file, lineage_file) = (command.metrics_file(), command.lineage_file());
            Ok(confined::supervise(&confined::Asked { spec: &spec, allow_write, run, metrics_file, lineage_file, view: &view }))
        }
        Some((allow_write, run)) => {
            confined::enter(allow_write, run)?;
            dispatch(command)
        }
        None => dispatch(command),
    };
    exit::fence(work).unwrap_or_else(|error| {
        complain(&format!("error: {}\n", plain(&exit::message(&error, &spec))));
        exit::of(&error)
    })
}

fn dispatch(command: Command) -> Result<Exit, JobError> {
    match command {
        Command::Run { spec, set, run_dir, fresh, wait, also, metrics_file, lineage_file, confined, allow_write, quiet, log_format } => {
            let wait_seconds = wait.unwrap_or(0.0);
            return Ok(run::run(&RunOptions {
                spec,
                set: set.set,
                run_dir,
                fresh,
                wait_seconds,
                also,
                metrics_file,
                lineage_file,
                confined: confined.untrusted.then_some(allow_write),
                quiet,
                log_format,
            }));
        }
        Command::Validate { spec, set, .. } => return planned(&spec, &set, |_, plan| Ok(ok_line(&spec, &plan))),
        Command::Plan { spec, set, json, .. } => {
            return planned(&spec, &set, |spec, plan| {
                let plan = with_outlook(spec, plan)?;
                Ok(if json { json_page(&plan) } else { terminal::plain_lines(&plan.to_text()) })
            });
        }
        Command::Report { run_dir } => {
            run_dir::read_manifest(&run_dir)?;
            report::write(&run_dir)?;
            print(&format!("{}\n", plain(&run_dir.join(report::FILE_NAME).display().to_string())));
        }
        Command::Explain { run_dir } => print(&terminal::plain_lines(&explain::text(&run_dir::read_manifest(&run_dir)?))),
        Command::Init { template, dir } => return init(template.as_deref(), &dir),
        Command::Man { command } => return Ok(man(&command)),
        Command::Runs { what: Runs::List { job } } => print(&terminal::plain_lines(&runs::list(job.as_deref())?)),
        Command::Runs { what: Runs::Prune { job, keep, dry_run } } => print(&terminal::plain_lines(&runs::prune(&job, keep, dry_run)?)),
        Command::Doctor { json, require_gpu } => return Ok(doctor::doctor(json, require_gpu)),
        Command::Kinds { kind } => return Ok(kinds(kind.as_deref())),
        Command::Schema { of } if of == "events" => print(EVENTS_SCHEMA),
        Command::Schema { .. } => print(&format!("{:#}\n", spec::json_schema())),
        Command::Completions { shell } => print(&completions(shell)),
        Command::Fault { how, .. } => fault::happen(&how)?,
    }
    Ok(Exit::Done)
}

/// Reads and plans a spec and prints the page about it, or its mistakes.
fn planned(path: &Path, set: &Sets, page: impl FnOnce(&Spec, Plan) -> Result<String, JobError>) -> Result<Exit, JobError> {
    let color = terminal::wants_color();
    let (spec, text) = match spec::read(path, &set.set) {
        Ok(read) => read,
        Err(failure) => {
            complain(&failure.render(color));
            return Ok(failure.exit());
        }
    };
    let memory_bytes = memory::budget(spec.memory_bytes).bytes;
    confined::tell(&Told { memory_bytes: Some(memory_bytes), ..Told::default() })?;
    match plan::plan(&spec, memory_bytes) {
        Ok(plan) => {
            print(&page(&spec, plan)?);
            Ok(Exit::Done)
        }
        Err(failure) => {
            complain(&failure.render(&text, color));
            Ok(failure.exit())
        }
    }
}

/// Adds to a plan what earlier runs of the job did: that takes one reading of the inputs, so it is left out where there are none. And whether
/// there is the device that it has to have.
fn with_outlook(spec: &Spec, mut plan: Plan) -> Result<Plan, JobError> {
    let earlier = Earlier::of_job(&run_dir::job_folder(&spec.name.value), "");
    if !earlier.is_empty() {
        let inputs = Inputs::hash(&plan, &Stop::default(), &|_| {})?;
        plan.outlook = plan::outlook(spec, &plan, &inputs.records, &earlier);
    }
    let all_done = !plan.outlook.is_empty() && plan.outlook.iter().all(|outlook| matches!(outlook, plan::Outlook::Done { .. }));
    if let (false, Ok(place @ (PlaceChoice::Gpu | PlaceChoice::Software))) = (all_done, spec.place.parse()) {
        plan.no_device = Backend::open(place).err().map(|error| error.reason);
    }
    Ok(plan)
}

fn ok_line(path: &Path, plan: &Plan) -> String {
    let rows: Option<u64> = plan.sources.iter().map(|source| source.rows).sum();
    let rows = rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row")));
    let bytes = terminal::bytes(plan.sources.iter().map(|source| source.bytes).sum());
    let sources = counted(plan.sources.len() as u64, "source");
    let steps = counted(plan.steps.len() as u64, "step");
    format!("ok: {}: {sources}, {steps}{rows}, {bytes}\n", plain(&path.display().to_string()))
}

fn json_page(plan: &Plan) -> String {
    format!("{:#}\n", plan.to_json())
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gristmill", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn init(name: Option<&str>, dir: &Path) -> Result<Exit, JobError> {
    let list = || TEMPLATES.iter().map(|template| format!("  {:<10} {}\n", template.name, template.about)).collect::<String>();
    let Some(name) = name else {
        print(&format!("templates:\n{}\n`gristmill init NAME` writes NAME.toml and its data into this folder.\n", list()));
        return Ok(Exit::Done);
    };
    let Some(template) = TEMPLATES.iter().find(|template| template.name == name) else {
        complain(&format!("error: `{}` is no template; templates:\n{}", plain(name), list()));
        return Ok(Exit::Spec);
    };
    let files = init::write(template, dir)?;
    let lines: String = files.iter().map(|file| format!("wrote {}\n", plain(file))).collect();
    print(&format!("{lines}now: gristmill run {}\n", plain(&files[0])));
    Ok(Exit::Done)
}

fn man(names: &[String]) -> Exit {
    let mut cli = Cli::command();
    cli.build();
    let mut page = Some(cli);
    // `gristmill man` refers to the pages of subcommands by names with hyphens.
    for name in names.iter().flat_map(|names| names.split('-')) {
        let inner = page.as_ref().and_then(|command| command.find_subcommand(name)).filter(|command| !command.is_hide_set());
        page = inner.cloned().map(|command| command.version(run_dir::VERSION));
    }
    let Some(command) = page else {
        complain(&format!("error: `{}` is no command; `gristmill --help` lists them\n", plain(&names.join(" "))));
        return Exit::Spec;
    };
    let mut text = Vec::new();
    if clap_mangen::Man::new(command).render(&mut text).is_ok() {
        print(&String::from_utf8_lossy(&text));
    }
    Exit::Done
}

fn kinds(only: Option<&str>) -> Exit {
    let mut page = String::new();
    for kind in KINDS.iter().filter(|kind| only.is_none_or(|only| only == kind.name())) {
        let _fits = writeln!(page, "{}: {}", kind.name(), kind.about());
        page.push_str("\n  keys\n");
        page.push_str(&key_lines(keys::STEP.iter().chain(kind.keys())));
        page.push_str("\n  tables\n");
        for table in kind.tables() {
            let _fits = writeln!(page, "    {:<16} {}", table.name, table.about);
        }
        page.push('\n');
    }
    if page.is_empty() {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
        let asked = plain(only.unwrap_or_default());
        complain(&format!("error: `{asked}` is no kind; kinds: {}\n", names.join(", ")));
        return Exit::Spec;
    }
    print(&page);
    Exit::Done
}

fn key_lines<'k>(keys: impl Iterator<Item = &'k Key>) -> String {
    let mut lines = String::new();
    for key in keys {
        let default = key.default.map_or_else(String::new, |default| format!(" [{default}]"));
        let _fits = writeln!(lines, "    {:<14} {}: {}{default}", key.name, takes(&key.takes), key.about);
        if let Takes::Keys(within) = key.takes {
            for line in key_lines(within.iter()).lines() {
                let _fits = writeln!(lines, "  {line}");
            }
        }
    }
    lines
}

fn takes(takes: &Takes) -> String {
    match takes {
        Takes::Text => "text".to_owned(),
        Takes::Choice(words) => words.join(" | "),
        Takes::Flag => "true | false".to_owned(),
        Takes::Integer(low, high) => format!("whole number, {low} to {}", bound(*high)),
        Takes::Number(f64::MIN, f64::MAX) => "number".to_owned(),
        Takes::Number(low, f64::MAX) => format!("number, {low} or more"),
        Takes::Number(low, high) => format!("number, {low} to {high}"),
        Takes::Bytes => "bytes, as in \"2GiB\"".to_owned(),
        Takes::Duration => "span of time, as in \"2h\"".to_owned(),
        Takes::TextList => "text, or a list".to_owned(),
        Takes::IntegerList(low, high) => format!("whole number, {low} to {}, or a list", bound(*high)),
        Takes::Column => "column".to_owned(),
        Takes::ColumnList => "column, or a list".to_owned(),
        Takes::ColumnChoices(words) => format!("table of columns, each {}", words.join(" | ")),
        Takes::Keys(keys) => format!("table of {}", keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")),
        Takes::Sample => "number of rows, or a share below 1".to_owned(),
        Takes::Table(_) | Takes::TableIfAny(_) => "step, source or file".to_owned(),
        Takes::Vars => "table of names with a value each".to_owned(),
        Takes::Each => "table of names with a list each".to_owned(),
    }
}

/// Reads a span of time of the command line.
fn span(text: &str) -> Result<f64, String> {
    spec::parse_seconds(text).ok_or_else(|| "write a number and a unit: 90s, 10min, 2h".to_owned())
}

fn bound(high: i64) -> String {
    if high == i64::MAX { "2^63 - 1".to_owned() } else { high.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_table_of_a_kind_takes_the_name_of_a_file_of_the_runner() {
        for kind in KINDS {
            assert!(kind.tables().iter().all(|table| table.name != "findings"), "{}", kind.name());
        }
    }
}
