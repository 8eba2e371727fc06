//! Small files and specs that ask for much: each ends at once, with a code and a word, and holds little.
//!
//! The budget is 64 MiB, and what the process held is read from the system until it ended.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use common::Job;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;

const MIB: u64 = 1 << 20;
const BUDGET_MIB: u64 = 64;
/// What a process may hold beyond its budget.
const BEYOND_MIB: u64 = 64;
/// Seconds of one thread.
const CPU_SECONDS: f64 = 2.0;

/// Writes `pieces` pieces of one text, packed.
fn packed(path: &Path, head: &str, piece: &str, pieces: usize, tail: &str) {
    let mut file = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    file.write_all(head.as_bytes()).unwrap();
    let many = piece.repeat(1 + MIB as usize / piece.len());
    let in_many = many.len() / piece.len();
    for _ in 0..pieces / in_many {
        file.write_all(many.as_bytes()).unwrap();
    }
    file.write_all(piece.repeat(pieces % in_many).as_bytes()).unwrap();
    file.write_all(tail.as_bytes()).unwrap();
    file.finish().unwrap();
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>, batches: usize, codec: Codec) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    for _ in 0..batches {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
}

/// What is laid in the folder of a job: the data file and what the spec says of it.
struct Bomb {
    name: &'static str,
    lay: fn(&Path),
    /// The spec; `DATA` stands for the source of the file `data`.
    spec: fn() -> String,
    /// Codes that it may end with.
    codes: &'static [i32],
}

/// Returns a spec over the file `name` with a step of such keys.
fn over(name: &str, step: &str) -> String {
    format!(
        "name = \"bomb\"\nplace = \"cpu\"\nthreads = 2\nmemory = \"{BUDGET_MIB}MiB\"\n[source.data]\npath = \"{name}\"\n[step.a]\nfrom = \"data\"\n{step}\n"
    )
}

fn correlated(name: &str) -> String {
    over(name, "kind = \"correlate\"")
}

fn small(at: &Path) {
    fs::write(at.join("data.csv"), "a,b\n1,2\n2,3\n3,5\n4,4\n").unwrap();
}

/// Codes of what is wrong with data, and of what passes the budget.
const REFUSED: &[i32] = &[3, 5];
const WRONG: &[i32] = &[2];

const BOMBS: &[Bomb] = &[
    Bomb {
        name: "a line of 256 MiB, packed",
        lay: |at| packed(&at.join("data.csv.gz"), "a,b\n", "7", 256 << 20, "\n"),
        spec: || correlated("data.csv.gz"),
        codes: REFUSED,
    },
    Bomb {
        name: "a header of 256 MiB, packed",
        lay: |at| packed(&at.join("data.csv.gz"), "", "a", 256 << 20, "\n1\n"),
        spec: || correlated("data.csv.gz"),
        codes: REFUSED,
    },
    Bomb {
        name: "a quoted cell of 256 MiB, packed",
        lay: |at| packed(&at.join("data.csv.gz"), "a,b\n\"", "x\n", 128 << 20, "\",1\n"),
        spec: || correlated("data.csv.gz"),
        codes: REFUSED,
    },
    Bomb {
        name: "a cell that is never closed",
        lay: |at| packed(&at.join("data.csv.gz"), "a,b\n1,\"", "1,2\n", 64 << 20, ""),
        spec: || correlated("data.csv.gz"),
        codes: REFUSED,
    },
    Bomb {
        name: "a million columns of CSV",
        lay: |at| {
            fs::write(at.join("data.csv"), format!("{}\n", (0..1_000_000).map(|c| format!("c{c}")).collect::<Vec<_>>().join(","))).unwrap();
        },
        spec: || correlated("data.csv"),
        codes: &[2, 3, 5],
    },
    Bomb {
        name: "a million columns without names",
        lay: |at| fs::write(at.join("data.csv"), format!("{}\n", ",".repeat(1_000_000))).unwrap(),
        spec: || correlated("data.csv"),
        codes: &[2, 3, 5],
    },
    Bomb {
        name: "a JSON text of 256 MiB, packed",
        lay: |at| packed(&at.join("data.jsonl.gz"), "{\"a\":\"", "x", 256 << 20, "\"}\n"),
        spec: || correlated("data.jsonl.gz"),
        codes: REFUSED,
    },
    Bomb {
        name: "JSON of a hundred thousand levels",
        lay: |at| fs::write(at.join("data.jsonl"), format!("{{\"a\":{}{}}}\n", "[".repeat(100_000), "]".repeat(100_000))).unwrap(),
        spec: || correlated("data.jsonl"),
        codes: &[2, 3, 5],
    },
    Bomb {
        name: "JSON of two hundred thousand keys",
        lay: |at| {
            fs::write(
                at.join("data.jsonl"),
                format!("{{{}}}\n", (0..200_000).map(|c| format!("\"k{c}\":1")).collect::<Vec<_>>().join(",")),
            )
            .unwrap();
        },
        spec: || correlated("data.jsonl"),
        codes: &[0, 2, 3, 5],
    },
    Bomb {
        name: "a Parquet cell of 256 MiB, packed",
        lay: |at| {
            parquet(
                &at.join("data.parquet"),
                vec![("a", Arc::new(StringArray::from(vec!["x".repeat(256 << 20)]))), ("b", Arc::new(StringArray::from(vec!["y"])))],
                1,
                Codec::ZSTD(ZstdLevel::default()),
            );
        },
        spec: || over("data.parquet", "kind = \"dedupe\""),
        codes: REFUSED,
    },
    Bomb {
        name: "the same as numbers are read",
        lay: |at| {
            parquet(
                &at.join("data.parquet"),
                vec![("a", Arc::new(Float64Array::from(vec![0.0; 32 << 20]))), ("b", Arc::new(Float64Array::from(vec![1.0; 32 << 20])))],
                1,
                Codec::SNAPPY,
            );
        },
        spec: || correlated("data.parquet"),
        // Numbers are streamed.
        codes: &[0, 3, 5],
    },
    Bomb {
        name: "a long text in every row, of a dictionary",
        lay: |at| {
            let keys = Int32Array::from(vec![0; 100_000]);
            let texts: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["long ".repeat(20_000)]))));
            parquet(&at.join("data.parquet"), vec![("a", texts)], 3, Codec::UNCOMPRESSED);
        },
        // 30 GB of text are work, and not memory: what bounds it is the clock.
        spec: || format!("max_time = \"1s\"\n{}", over("data.parquet", "kind = \"dedupe\"\nfields = [\"a\"]\ntext = {}")),
        codes: REFUSED,
    },
    Bomb {
        name: "the same, and asked for exact copies",
        lay: |at| {
            let texts = take(&StringArray::from(vec!["long ".repeat(20_000)]), &UInt32Array::from(vec![0; 1_000]), None).unwrap();
            parquet(&at.join("data.parquet"), vec![("a", texts)], 1, Codec::ZSTD(ZstdLevel::default()));
        },
        spec: || over("data.parquet", "kind = \"dedupe\"\nfields = [\"a\"]\nexact = {}"),
        codes: &[0, 3, 5],
    },
    Bomb {
        name: "long texts in every row of packed JSON",
        lay: |at| {
            packed(
                &at.join("data.jsonl.gz"),
                "{\"a\":\"short\",\"b\":1}\n",
                &format!("{{\"a\":\"{}\",\"b\":1}}\n", "long ".repeat(10_000)),
                8_000,
                "",
            );
        },
        spec: || over("data.jsonl.gz", "kind = \"check\"\ncolumns = [\"a\"]\nmax_nulls = 0.5"),
        codes: &[0],
    },
    Bomb {
        name: "long texts in every row of packed CSV",
        lay: |at| packed(&at.join("data.csv.gz"), "a,b\nshort,1\n", &format!("{},1\n", "long ".repeat(10_000)), 3_000, ""),
        spec: || over("data.csv.gz", "kind = \"check\"\ncolumns = [\"a\"]\nmax_nulls = 0.5"),
        codes: &[0],
    },
    Bomb {
        name: "an Arrow file that claims a footer of 2 GiB",
        lay: |at| {
            fs::write(at.join("data.arrow"), [b"ARROW1\0\0".as_slice(), &[0xff; 12], &0x7fff_ffff_i32.to_le_bytes(), b"ARROW1"].concat())
                .unwrap();
        },
        spec: || correlated("data.arrow"),
        codes: REFUSED,
    },
    Bomb {
        name: "an Arrow stream that claims a message of 2 GiB",
        lay: |at| {
            fs::write(at.join("data.arrow"), [0xffff_ffff_u32.to_le_bytes(), 0x7fff_ffff_u32.to_le_bytes(), [0; 4]].concat()).unwrap();
        },
        spec: || correlated("data.arrow"),
        codes: REFUSED,
    },
    Bomb {
        name: "a Parquet file that claims a footer of 2 GiB",
        lay: |at| {
            fs::write(at.join("data.parquet"), [b"PAR1".as_slice(), &[0; 64], &0x7fff_ffff_u32.to_le_bytes(), b"PAR1"].concat()).unwrap();
        },
        spec: || correlated("data.parquet"),
        codes: REFUSED,
    },
    Bomb {
        name: "a packed file in a packed file",
        lay: |at| {
            packed(&at.join("inner.gz"), "", "0", 64 << 20, "");
            let mut inner = Vec::new();
            File::open(at.join("inner.gz")).unwrap().read_to_end(&mut inner).unwrap();
            let mut outer = GzEncoder::new(File::create(at.join("data.csv.gz")).unwrap(), Compression::best());
            outer.write_all(&inner).unwrap();
            outer.finish().unwrap();
        },
        spec: || correlated("data.csv.gz"),
        codes: &[2, 3, 5],
    },
    Bomb { name: "a file without end", lay: small, spec: || correlated("/dev/zero"), codes: &[2, 3] },
    Bomb {
        name: "a queue that nobody fills",
        lay: |at| {
            rustix::fs::mknodat(rustix::fs::CWD, at.join("data.csv"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        },
        spec: || correlated("data.csv"),
        codes: &[2, 3],
    },
    Bomb {
        name: "the memory of the process",
        lay: small,
        spec: || over("/proc/self/mem", "kind = \"correlate\"").replace("[step", "format = \"csv\"\n[step"),
        codes: &[2, 3, 75],
    },
    Bomb {
        name: "a spec of a hundred thousand levels",
        lay: small,
        spec: || format!("name = \"a\"\nx = {}{}\n", "[".repeat(100_000), "]".repeat(100_000)),
        codes: WRONG,
    },
    Bomb { name: "a spec of two megabytes", lay: small, spec: || format!("name = \"a\"\n{}", "# more\n".repeat(300_000)), codes: WRONG },
    Bomb {
        name: "a hundred thousand mistakes",
        lay: small,
        spec: || format!("{}{}", correlated("data.csv"), (0..60_000).map(|at| format!("k{at} = 1\n")).collect::<String>()),
        codes: WRONG,
    },
    Bomb {
        name: "a step for each of ten million",
        lay: small,
        spec: || {
            let words = |letter: &str| (0..220).map(|at| format!("\"{letter}{at}\"")).collect::<Vec<_>>().join(", ");
            over(
                "data.csv",
                &format!("kind = \"correlate\"\neach = {{ x = [{}], y = [{}], z = [{}] }}", words("a"), words("b"), words("c")),
            )
        },
        codes: WRONG,
    },
    Bomb {
        name: "variables that double thirty times",
        lay: small,
        spec: || {
            let vars: String = (1..40).map(|at| format!("v{at} = \"${{vars.v{}}}${{vars.v{}}}\"\n", at - 1, at - 1)).collect();
            format!("{}[vars]\nv0 = \"aaaaaaaaaaaaaaaa\"\n{vars}", correlated("data.csv").replace("\"data.csv\"", "\"${vars.v39}\""))
        },
        codes: WRONG,
    },
    Bomb {
        name: "a condition of fifty thousand levels",
        lay: small,
        spec: || {
            over("data.csv", "kind = \"correlate\"")
                .replace("[step", &format!("where = \"{}a > 1{}\"\n[step", "(".repeat(50_000), ")".repeat(50_000)))
        },
        codes: WRONG,
    },
    Bomb {
        name: "a pattern that could be tried for ever",
        lay: |at| fs::write(at.join("data.csv"), format!("a,b\n{},1\n", "a".repeat(30_000))).unwrap(),
        spec: || {
            over("data.csv", "kind = \"check\"\nmin_rows = 1")
                .replace("[step", &format!("where = \"a like '{}b'\"\n[step", "%a".repeat(60)))
        },
        codes: &[0, 2, 4],
    },
    Bomb { name: "a pattern of files that goes everywhere", lay: small, spec: || correlated("/**/**/**/**/*.nothing"), codes: WRONG },
    Bomb {
        name: "twenty thousand paths",
        lay: small,
        spec: || correlated("data.csv").replace("\"data.csv\"", &format!("[{}]", "\"data.csv\", ".repeat(20_000))),
        codes: &[0, 2],
    },
];

/// How a process ended, and what it held and took at the most.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    error: String,
    peak_bytes: u64,
    cpu_seconds: f64,
}

fn run(job: &Job) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["run", "spec.toml", "--run-dir", "out", "--quiet"]).current_dir(job.path("")).env_remove("GRISTMILL_ADAPTER");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(job.path("stderr")).unwrap()).spawn().unwrap();
    let (mut peak_bytes, mut cpu_seconds) = (0, 0.0_f64);
    let of = |what: &str| fs::read_to_string(format!("/proc/{}/{what}", child.id())).unwrap_or_default();
    let is_over = |stat: &str| stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z'));
    loop {
        let status = of("status");
        let held = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak_bytes = peak_bytes.max(held.unwrap_or(0) << 10);
        let stat = of("stat");
        // Ticks of a hundredth of a second, in user and in system mode.
        let ticks: u64 = stat.rsplit(") ").next().unwrap_or("").split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        cpu_seconds = cpu_seconds.max(ticks as f64 / 100.0);
        if is_over(&stat) {
            break;
        }
        assert!(cpu_seconds < 60.0, "it does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
    let code = child.wait().unwrap().code();
    let error = String::from_utf8_lossy(&fs::read(job.path("stderr")).unwrap()).chars().take(400).collect();
    Ended { code, error, peak_bytes, cpu_seconds }
}

#[test]
fn what_asks_for_much_is_refused_at_once() {
    assert!(BOMBS.len() >= 20);
    let mut wrong = Vec::new();
    for bomb in BOMBS {
        let job = Job::new();
        (bomb.lay)(&job.path(""));
        job.write("spec.toml", (bomb.spec)());
        let ended = run(&job);
        let Ended { code, error, peak_bytes, cpu_seconds } = &ended;
        let line =
            format!("{}: exit {code:?}, {} MiB, {cpu_seconds:.2} s: {}", bomb.name, peak_bytes / MIB, error.lines().next().unwrap_or(""));
        common::say(&line);
        let is_right = code.is_some_and(|code| bomb.codes.contains(&code)) && (matches!(code, Some(0 | 4)) || error.contains("error"));
        if !is_right || *peak_bytes > (BUDGET_MIB + BEYOND_MIB) * MIB || *cpu_seconds > CPU_SECONDS {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
