"""Runs gristmill and its peers on the same Parquet files, one after the other in every round, and prints the ratios.

    cargo build --release
    python correlate_generate.py FOLDER
    python correlate_compare.py ../../target/release/gristmill FOLDER [--rounds 5] [--threads 2] [--only PATTERN] [--skip-pandas]

Turns alternate within a round, so that whatever else the machine does hits all of them. Two figures of gristmill are
shown: `work` is read + compute as its manifest tells (what the peers' figures hold as well), `process` is the whole
command with start-up, hashing of the input and writing of tables and report. Ratios are medians of peer over gristmill,
work against work; beside them CPU seconds of whole processes, which a busy machine disturbs less.
The largest difference of r between gristmill's pairs and the peer's matrix is printed as a check that both did the job.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow.parquet as pq

from correlate_peers import CASES, environment, run_case

SPEC = """\
name = "compare"
threads = {threads}
place = "{place}"

[source.table]
path = {path}

[step.pairs]
kind = "correlate"
from = "table"
precision = "{precision}"
"""

# One table, the precision that gristmill takes on it, and the peers that it is held against.
ROUNDS = [
    ("c1m200f32", "f32", ["polars + np.corrcoef f32", "pyarrow + np.corrcoef f32"]),
    ("c1m200f64", "f64", ["polars + np.corrcoef f64", "pyarrow + np.corrcoef f64", "pandas .corr"]),
    ("c1m100f64n5", "f64", ["polars + four masked products", "pyarrow + four masked products", "pandas .corr, nulls"]),
]


def run_gristmill(binary: pathlib.Path, table: pathlib.Path, precision: str, threads: int, place: str, folder: pathlib.Path) -> dict:
    """Runs the binary once, from nothing, and returns its figures."""
    spec = folder / "compare.toml"
    spec.write_text(SPEC.format(threads=threads, place=place, path=json.dumps(str(table.resolve())), precision=precision))
    run_dir = folder / f"run-{table.stem}"
    command = [str(binary), "run", str(spec), "--run-dir", str(run_dir), "--fresh", "--quiet"]
    start = time.perf_counter()
    # A file and not a pipe: nothing reads while `wait4` waits.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(threads))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if process.returncode != 0:
            log.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read()[-2000:]}")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    steps = manifest["steps"]
    return {
        "work": sum(step["compute_seconds"] for step in steps),
        "write": sum(step["write_seconds"] for step in steps),
        "hash": manifest["hash_seconds"],
        "process": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_rss_mb": usage.ru_maxrss // 1024,
        "place": steps[0]["place"],
        "pairs": run_dir / "pairs" / "pairs.parquet",
    }


def largest_difference(pairs: pathlib.Path, matrix: pathlib.Path) -> float:
    """Returns the largest |r - r| over the rows of gristmill's table; columns are named c0, c1, ..."""
    table = pq.read_table(pairs, columns=["x", "y", "r"])
    x, y = ([int(name.as_py()[1:]) for name in table[side]] for side in ("x", "y"))
    r = table["r"].to_numpy(zero_copy_only=False)
    return float(np.max(np.abs(np.load(matrix)[x, y] - r)))


def median(records: list, key: str) -> float:
    return statistics.median(record[key] for record in records)


def show(name: str, work: float, process: float, cpu: float, rss: float, more: str) -> None:
    print(f"  {name:32s} work {work:8.3f} s   process {process:8.3f} s   cpu {cpu:8.3f} s   {rss:6.0f} MB   {more}", flush=True)


def compare(arguments, folder: pathlib.Path, name: str, precision: str, peers: list) -> None:
    table = arguments.folder / f"{name}.parquet"
    ours, theirs, matrices = [], {peer: [] for peer in peers}, {}
    for _ in range(arguments.rounds):
        ours.append(run_gristmill(arguments.binary, table, precision, arguments.threads, arguments.place, folder))
        for peer in peers:
            matrices[peer] = folder / f"{peers.index(peer)}.npy"
            record = run_case(peer, arguments.folder, arguments.threads, str(matrices[peer]))
            if "error" in record:
                sys.exit(f"{peer}: {record['error']}")
            theirs[peer].append(record)
    print(f"{name}, {arguments.rounds} rounds, {arguments.threads} threads, medians")
    work, cpu = median(ours, "work"), median(ours, "cpu")
    parts = f"on {ours[0]['place']}; hashing {median(ours, 'hash'):.3f} s, writing {median(ours, 'write'):.3f} s"
    show(f"gristmill {precision}", work, median(ours, "process"), cpu, median(ours, "peak_rss_mb"), parts)
    for peer, records in theirs.items():
        peer_work, peer_cpu = median(records, "wall_seconds"), median(records, "cpu_seconds")
        difference = largest_difference(ours[-1]["pairs"], matrices[peer])
        more = f"{peer_work / work:6.2f}x work, {peer_cpu / cpu:6.2f}x cpu, |dr| <= {difference:.1e}"
        show(peer, peer_work, median(records, "process_wall_seconds"), peer_cpu, median(records, "peak_rss_mb"), more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--place", default="cpu", choices=["auto", "cpu", "gpu"])
    parser.add_argument("--only", default="", help="a regular expression on the name of the table")
    parser.add_argument("--skip-pandas", action="store_true", help="pandas takes a minute a round")
    arguments = parser.parse_args()
    unknown = [peer for _, _, peers in ROUNDS for peer in peers if peer not in CASES]
    assert not unknown, unknown
    with tempfile.TemporaryDirectory() as temporary:
        for name, precision, peers in ROUNDS:
            chosen = [peer for peer in peers if not (arguments.skip_pandas and peer.startswith("pandas"))]
            if re.search(arguments.only, name):
                compare(arguments, pathlib.Path(temporary), name, precision, chosen)


if __name__ == "__main__":
    main()
