"""Measures what else turns a Parquet file into a correlation table.

    python correlate_generate.py FOLDER
    python correlate_peers.py FOLDER [--threads N] [--rounds N] [--only PATTERN]

Each case runs in a process of its own and prints one JSON line: seconds and CPU seconds of reading and computing
(imports are not counted), the wall time of the whole process, peak resident memory, and the table's r of the first two
columns. Settings that would force OpenBLAS onto other kernels than it would pick are taken out of the environment.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

# Set in some shells, to Haswell for one: numpy then runs at half its speed.
HANDICAPS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
TIMEOUT_SECONDS = 900


def with_polars(path, dtype):
    """Returns columns as the rows of a matrix; nulls are NaN."""
    import polars as pl

    # `to_numpy` lays columns out one after the other: the transpose is in C order without another copy.
    return pl.read_parquet(path).to_numpy().T


def with_pyarrow(path, dtype):
    """Returns columns as the rows of a matrix; nulls are NaN."""
    import numpy as np
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    matrix = np.empty((len(file.schema_arrow), file.metadata.num_rows), dtype)
    start = 0
    for batch in file.iter_batches(batch_size=131_072):
        for j, column in enumerate(batch.columns):
            matrix[j, start : start + len(column)] = column.to_numpy(zero_copy_only=False)
        start += len(batch)
    return matrix


def with_pandas(path, dtype):
    import pandas as pd

    return pd.read_parquet(path)


def corrcoef(matrix, dtype):
    import numpy as np

    return np.corrcoef(matrix, dtype=dtype)


def masked_products(matrix, dtype):
    """Pairwise complete r from four products of a centred matrix and its mask."""
    import numpy as np

    present = ~np.isnan(matrix)
    centred = np.where(present, matrix - np.nanmean(matrix, axis=1, keepdims=True), 0.0)
    mask = present.astype(dtype)
    n = mask @ mask.T
    sums = centred @ mask.T
    squares = (centred * centred) @ mask.T
    products = centred @ centred.T
    covariance = products - sums * sums.T / n
    variance = squares - sums * sums / n
    return covariance / np.sqrt(variance * variance.T)


def pandas_corr(frame, dtype):
    return frame.corr().to_numpy()


# name: (table, dtype, reader, computation)
CASES = {
    "polars + np.corrcoef f32": ("c1m200f32", "float32", with_polars, corrcoef),
    "pyarrow + np.corrcoef f32": ("c1m200f32", "float32", with_pyarrow, corrcoef),
    "polars + np.corrcoef f64": ("c1m200f64", "float64", with_polars, corrcoef),
    "pyarrow + np.corrcoef f64": ("c1m200f64", "float64", with_pyarrow, corrcoef),
    "pandas .corr": ("c1m200f64", "float64", with_pandas, pandas_corr),
    "polars + four masked products": ("c1m100f64n5", "float64", with_polars, masked_products),
    "pyarrow + four masked products": ("c1m100f64n5", "float64", with_pyarrow, masked_products),
    "pandas .corr, nulls": ("c1m100f64n5", "float64", with_pandas, pandas_corr),
}


def environment(threads: int) -> dict:
    """Returns this environment without handicaps and with the number of threads in every library's own setting."""
    kept = {name: value for name, value in os.environ.items() if name not in HANDICAPS}
    return kept | {name: str(threads) for name in THREAD_SETTINGS}


def measure(case: str, path: str, threads: int, save: str) -> dict:
    """Runs one case in this process."""
    _, dtype, read, compute = CASES[case]
    import numpy as np
    import pandas  # noqa: F401  imports are paid before the clock starts
    import polars  # noqa: F401
    import pyarrow as pa

    pa.set_cpu_count(threads)
    wall, cpu = time.perf_counter(), time.process_time()
    data = read(path, dtype)
    read_wall = time.perf_counter() - wall
    read_cpu = time.process_time() - cpu
    table = compute(data, dtype)
    total_wall, total_cpu = time.perf_counter() - wall, time.process_time() - cpu
    if save:
        np.save(save, np.asarray(table, dtype="float64"))
    return {
        "wall_seconds": round(total_wall, 3),
        "cpu_seconds": round(total_cpu, 3),
        "read_wall_seconds": round(read_wall, 3),
        "read_cpu_seconds": round(read_cpu, 3),
        "compute_wall_seconds": round(total_wall - read_wall, 3),
        "compute_cpu_seconds": round(total_cpu - read_cpu, 3),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "r_first_pair": float(table[0, 1]),
    }


def run_case(case: str, folder: pathlib.Path, threads: int, save: str = "") -> dict:
    """Runs one case in a fresh process."""
    table = CASES[case][0]
    path = folder / f"{table}.parquet"
    command = [sys.executable, __file__, "--measure", case, str(path), str(threads), save]
    start = time.perf_counter()
    record = {"case": case, "table": table, "threads": threads}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=environment(threads))
    except subprocess.TimeoutExpired:
        return record | {"error": f"more than {TIMEOUT_SECONDS} s"}
    if done.returncode != 0:
        return record | {"error": done.stderr.strip()[-300:]}
    whole = {"process_wall_seconds": round(time.perf_counter() - start, 3)}
    return record | json.loads(done.stdout.splitlines()[-1]) | whole


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        case, path, threads, save = sys.argv[2:6]
        print(json.dumps(measure(case, path, int(threads), save)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="a regular expression on the name of the case")
    arguments = parser.parse_args()
    for _ in range(arguments.rounds):
        for case in CASES:
            if re.search(arguments.only, case):
                print(json.dumps(run_case(case, arguments.folder, arguments.threads)), flush=True)


if __name__ == "__main__":
    main()
