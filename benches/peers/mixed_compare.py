"""Holds a table of mixed types against ydata-profiling: 1,000,000 rows, 100 columns of numbers and 100 of categories.

    cargo build --release
    python mixed_compare.py ../../target/release/gristmill FOLDER [--threads 2] [--peer-python PYTHON] [--peer-rows 100000]

The table is written into FOLDER where it is missing: numbers with factors, categories of 2 to 40 levels that follow the
same factors, 2 % of the cells missing in every fifth column. gristmill relates all 19,900 pairs (Pearson, eta squared,
Cramer's V) under a budget of 2 GiB; its time is reading and computing as its manifest tells, its memory the peak that the
system counted. ydata-profiling 4.18 needs an older pandas, so that it runs in an interpreter of its own (--peer-python,
with ydata-profiling and pyarrow installed), on the first --peer-rows rows, with nothing but its `auto` correlations.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, NUMBERS, CATEGORIES, SEED = 1_000_000, 100, 100, 5

SPEC = """\
name = "mixed"
threads = {threads}
place = "cpu"
memory = "2GiB"

[source.table]
path = {path}

[step.pairs]
kind = "correlate"
from = "table"
"""

PEER = """\
import sys, time
import pandas as pd
from ydata_profiling.config import Settings
from ydata_profiling.model.correlations import calculate_correlation
from ydata_profiling.model.summarizer import ProfilingSummarizer
from ydata_profiling.model.typeset import ProfilingTypeSet
from ydata_profiling.model.describe import get_series_descriptions
from tqdm import tqdm

frame = pd.read_parquet(sys.argv[1]).head(int(sys.argv[2]))
config = Settings()
typeset = ProfilingTypeSet(config)
series = get_series_descriptions(config, frame, ProfilingSummarizer(typeset), typeset, tqdm(disable=True))
start = time.perf_counter()
calculate_correlation(config, frame, "auto", series)
print(time.perf_counter() - start)
"""


def table(folder: pathlib.Path) -> pathlib.Path:
    path = folder / f"mixed{ROWS}.parquet"
    if path.exists():
        return path
    rng = np.random.default_rng(SEED)
    factors = rng.standard_normal((10, ROWS))
    columns = {}
    for j in range(NUMBERS + CATEGORIES):
        load = rng.uniform(0.0, 0.8)
        cells = load * factors[j % 10] + np.sqrt(1.0 - load * load) * rng.standard_normal(ROWS)
        missing = rng.random(ROWS) < 0.02 if j % 5 == 0 else None
        if j % 2 == 0:
            columns[f"n{j}"] = pa.array(cells, mask=missing)
        else:
            levels = 2 + j % 39
            codes = np.clip(np.floor((cells + 3.0) / 6.0 * levels), 0, levels - 1).astype("int32")
            names = pa.array([f"level {level}" for level in range(levels)])
            columns[f"c{j}"] = pa.DictionaryArray.from_arrays(pa.array(codes, mask=missing), names).cast(pa.string())
    pq.write_table(pa.table(columns), path, compression="snappy", row_group_size=131_072)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-rows", type=int, default=ROWS // 10)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    # In a process of its own: the memory of a process counts for those that it starts.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        path = pool.apply(table, (arguments.folder,))
    with tempfile.TemporaryDirectory() as temporary:
        spec, run_dir = pathlib.Path(temporary) / "mixed.toml", pathlib.Path(temporary) / "run"
        spec.write_text(SPEC.format(threads=arguments.threads, path=json.dumps(str(path.resolve()))))
        process = subprocess.Popen([str(arguments.binary), "run", str(spec), "--run-dir", str(run_dir), "--quiet"])
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"gristmill ended with {os.waitstatus_to_exitcode(status)}")
        peak = usage.ru_maxrss / 1024
        manifest = json.loads((run_dir / "manifest.json").read_text())
        ours = sum(step["compute_seconds"] for step in manifest["steps"])
        pairs = pq.read_table(run_dir / "pairs" / "pairs.parquet")
        print(f"gristmill, {ROWS:,} rows, {pairs.num_rows:,} pairs: {ours:.1f} s, {peak:.0f} MiB at the peak", flush=True)
        if arguments.peer_python:
            script = pathlib.Path(temporary) / "peer.py"
            script.write_text(PEER)
            start = time.perf_counter()
            peer = subprocess.run([arguments.peer_python, str(script), str(path), str(arguments.peer_rows)], capture_output=True, text=True)
            if peer.returncode != 0:
                sys.exit(f"ydata-profiling ended with {peer.returncode}:\n{peer.stderr[-2000:]}")
            theirs = float(peer.stdout.split()[-1])
            print(f"ydata-profiling, {arguments.peer_rows:,} rows, auto correlations: {theirs:.1f} s ({time.perf_counter() - start:.0f} s with reading and description)")
            print(f"a row costs it {theirs / arguments.peer_rows / (ours / ROWS):.0f} times as much")


if __name__ == "__main__":
    main()
