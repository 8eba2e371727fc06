"""Clusters a Parquet file that does not fit into memory, once for each budget, and holds the tables against one another.

    cargo build --release
    python cluster_stream.py ../../target/release/gristmill FOLDER [--gigabytes 2] [--budgets 512MiB 1GiB 4GiB]

Rows of 16 columns (f64) round 8 centres are written into FOLDER, as many as make the size asked for, plain and uncompressed. FOLDER needs a bit
more than twice that. Every table must be the same byte for byte whatever the budget.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED, COLUMNS, CENTRES, AT_ONCE = 5, 16, 8, 1_000_000

SPEC = """\
name = "stream"
seed = 1
memory = "{memory}"

[source.rows]
path = {path}

[step.parts]
kind = "cluster"
from = "rows"
method = "kmeans"
k = 8
restarts = 3
bootstrap = 5
max_iterations = 10
"""


def table(folder: pathlib.Path, gigabytes: float) -> pathlib.Path:
    path = folder / f"stream{gigabytes:g}.parquet"
    if path.exists():
        return path
    rng = np.random.default_rng(SEED)
    centres = 4.0 * rng.standard_normal((CENTRES, COLUMNS))
    schema = pa.schema([(f"c{j:02}", pa.float64()) for j in range(COLUMNS)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_statistics=False) as writer:
        for _ in range(max(1, round(gigabytes * 1e9 / (8 * COLUMNS * AT_ONCE)))):
            cells = centres[rng.integers(0, CENTRES, AT_ONCE)] + rng.standard_normal((AT_ONCE, COLUMNS))
            writer.write_table(pa.table([cells[:, j] for j in range(COLUMNS)], schema=schema), row_group_size=AT_ONCE)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--budgets", nargs="+", default=["512MiB", "1GiB", "4GiB"])
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = table(arguments.folder, arguments.gigabytes)
    first = None
    for memory in arguments.budgets:
        spec, run_dir = arguments.folder / "stream.toml", arguments.folder / f"stream-{memory}"
        spec.write_text(SPEC.format(memory=memory, path=json.dumps(str(path.resolve()))))
        start = time.perf_counter()
        process = subprocess.Popen([str(arguments.binary), "run", str(spec), "--run-dir", str(run_dir), "--fresh", "--quiet"])
        if process.wait() != 0:
            sys.exit(f"gristmill ended with {process.returncode}")
        # What the run says of itself: the system's figure for a child starts at the size of this process.
        events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
        peak = max(event.get("peak_rss_bytes") or 0 for event in events)
        seconds = time.perf_counter() - start
        found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((run_dir / "parts").glob("*.parquet"))}
        is_spilled = "did not fit" in (run_dir / "manifest.json").read_text()
        if first is not None and found != first:
            sys.exit(f"{memory}: {[name for name in found if found[name] != first[name]]} differ")
        first = first or found
        how = "spilled" if is_spilled else "in memory"
        print(f"{path.stat().st_size / 1e9:.1f} GB, {memory}: {seconds:.1f} s, {peak / 2**20:.0f} MiB at the peak, {how}", flush=True)
    print(f"{len(first)} tables are the same byte for byte")


if __name__ == "__main__":
    main()
