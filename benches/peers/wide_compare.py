"""Proves the best pairs of a wide table: 100,000 columns x 2,000 rows, of which gristmill keeps the best 10,000 in f32.

    cargo build --release
    python wide_compare.py ../../target/release/gristmill FOLDER [--columns 100000] [--rows 2000] [--top 10000] [--skip-proof]

The table (f32, factors that give r of every size) is written into FOLDER where it is missing. The proof is a list of our own
making: numpy multiplies all pairs of column groups in f64 and keeps the best. Both lists must name the same pairs, and r
must agree to 1e-12. Printed: gristmill's time of reading and computing, and the peak of its memory as the system counted it.
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

SEED = 17
GROUP = 2_500

SPEC = """\
name = "wide"
threads = {threads}
place = "cpu"
memory = "2GB"

[source.table]
path = {path}

[step.pairs]
kind = "correlate"
from = "table"
method = "pearson"
permutations = 0
top = {top}
"""


def cells(rows: int, columns: int) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    factors = rng.standard_normal((200, rows), dtype="float32")
    loads = rng.uniform(0.0, 0.97, columns).astype("float32")
    noise = rng.standard_normal((columns, rows), dtype="float32")
    return loads[:, None] * factors[np.arange(columns) % 200] + np.sqrt(1 - loads**2)[:, None] * noise


def table(folder: pathlib.Path, rows: int, columns: int) -> pathlib.Path:
    path = folder / f"wide{columns}x{rows}.parquet"
    if not path.exists():
        matrix = cells(rows, columns)
        names = [f"c{j}" for j in range(columns)]
        pq.write_table(pa.table(list(matrix), names=names), path, compression="snappy", use_dictionary=False, write_statistics=False)
    return path


def best_pairs(rows: int, columns: int, top: int) -> dict:
    """Returns the best pairs and their r, in f64."""
    matrix = cells(rows, columns).astype("float64")
    matrix -= matrix.mean(1, keepdims=True)
    matrix /= np.sqrt((matrix * matrix).sum(1, keepdims=True))
    kept = np.empty((0, 3))
    for i in range(0, columns, GROUP):
        for j in range(i, columns, GROUP):
            r = matrix[i : i + GROUP] @ matrix[j : j + GROUP].T
            if i == j:
                r[np.tril_indices(len(r))] = 0.0
            size = np.abs(r)
            least = np.min(np.abs(kept[:, 2])) if len(kept) == top else 0.0
            x, y = np.nonzero(size > least) if least > 0.0 else np.unravel_index(np.argpartition(size, -top, axis=None)[-top:], r.shape)
            kept = np.concatenate([kept, np.column_stack([x + i, y + j, r[x, y]])])
            kept = kept[np.argsort(-np.abs(kept[:, 2]), kind="stable")[:top]]
    return {(int(x), int(y)): r for x, y, r in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--columns", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--top", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-proof", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    # In a process of its own: the memory of a process counts for those that it starts.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        path = pool.apply(table, (arguments.folder, arguments.rows, arguments.columns))
    with tempfile.TemporaryDirectory() as temporary:
        spec, run_dir = pathlib.Path(temporary) / "wide.toml", pathlib.Path(temporary) / "run"
        spec.write_text(SPEC.format(threads=arguments.threads, path=json.dumps(str(path.resolve())), top=arguments.top))
        process = subprocess.Popen([str(arguments.binary), "run", str(spec), "--run-dir", str(run_dir), "--quiet"])
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"gristmill ended with {os.waitstatus_to_exitcode(status)}")
        peak = usage.ru_maxrss / 1024
        manifest = json.loads((run_dir / "manifest.json").read_text())
        seconds = sum(step["compute_seconds"] for step in manifest["steps"])
        pairs = pq.read_table(run_dir / "pairs" / "pairs.parquet")
    n_pairs = arguments.columns * (arguments.columns - 1) // 2
    flops = 2.0 * n_pairs * arguments.rows / seconds / 1e9
    print(f"gristmill: {n_pairs:,} pairs in {seconds:.0f} s ({flops:.0f} GFLOP/s over all), {peak:.0f} MiB at the peak", flush=True)
    if arguments.skip_proof:
        return
    start = time.perf_counter()
    due = best_pairs(arguments.rows, arguments.columns, arguments.top)
    print(f"numpy in f64: {time.perf_counter() - start:.0f} s")
    x, y = (np.array([int(name[1:]) for name in pairs[side].to_pylist()]) for side in ("x", "y"))
    found = dict(zip(zip(np.minimum(x, y).tolist(), np.maximum(x, y).tolist()), pairs["r"].to_pylist()))
    settled = all(pairs["settled"].to_pylist())
    off = max((abs(found[pair] - r) for pair, r in due.items() if pair in found), default=float("nan"))
    print(f"{len(found):,} pairs kept, {len(due.keys() - found.keys())} of the f64 list are missing, |dr| <= {off:.1e}, all settled: {settled}")


if __name__ == "__main__":
    main()
