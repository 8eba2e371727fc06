"""Holds HDBSCAN, DBSCAN, Genie and Gaussian mixtures against their peers, on the same Parquet file, in one run.

    cargo build --release
    python density_compare.py ../../target/release/gristmill FOLDER [--rounds 3] [--only PATTERN]

CPU-seconds of one thread. Those of gristmill are of the whole process: reading, fit, what sets segments apart, tables written. Those of a
peer are of its fit alone, on the array in memory; numba's compilation (fast_hdbscan) is done before. Tables are written into FOLDER where
they are missing: 30 Gaussian blobs of unequal size and spread, a tenth of the rows uniform noise.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from correlate_peers import environment

SPEC = """\
name = "compare"
seed = 1
threads = 1
place = "cpu"

[source.table]
path = {path}

[step.segments]
kind = "cluster"
from = "table"
exclude = ["label"]
scale = "none"
bootstrap = 0
{keys}
"""

HDBSCAN = 'method = "hdbscan"\nmin_size = 100\nmin_samples = 10'
CASES = [
    ("HDBSCAN 50k x 8", 50_000, 8, HDBSCAN, ["hdbscan", "fast_hdbscan"]),
    ("HDBSCAN 200k x 3", 200_000, 3, HDBSCAN, ["hdbscan", "fast_hdbscan"]),
    ("DBSCAN 200k x 3", 200_000, 3, 'method = "dbscan"\neps = 1.5\nmin_samples = 10', ["sklearn_dbscan"]),
    ("Genie 50k x 8, k = 30", 50_000, 8, 'method = "genie"\nk = 30', ["genieclust"]),
    ("mixture 200k x 8, k = 30", 200_000, 8, 'method = "mixture"\nk = 30\nmax_iterations = 10\nrestarts = 1', ["sklearn_mixture"]),
]


def table(folder: pathlib.Path, rows: int, columns: int) -> pathlib.Path:
    path = folder / f"d{rows}x{columns}.parquet"
    if not path.exists():
        rng = np.random.default_rng(7)
        shares, centres = rng.dirichlet(np.full(30, 3.0)), rng.uniform(-10, 10, (30, columns))
        spread, label = rng.uniform(0.5, 1.5, 30), rng.choice(30, rows, p=shares)
        cells = (centres[label] + rng.standard_normal((rows, columns)) * spread[label, None]).astype("float32")
        noise = rng.random(rows) < 0.1
        cells[noise] = rng.uniform(-13, 13, (int(noise.sum()), columns))
        label[noise] = -1
        pq.write_table(pa.table({**{f"c{j}": cells[:, j] for j in range(columns)}, "label": label}), path, use_dictionary=False)
    return path


def gristmill(binary: pathlib.Path, folder: pathlib.Path, path: pathlib.Path, keys: str):
    """Returns CPU-seconds and the labels."""
    spec, run_dir = folder / "compare.toml", folder / "run"
    spec.write_text(SPEC.format(path=json.dumps(str(path.resolve())), keys=keys))
    command = [str(binary), "run", str(spec), "--run-dir", str(run_dir), "--fresh", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment(1))
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"gristmill ended with {os.waitstatus_to_exitcode(status)}")
    labels = pq.read_table(run_dir / "segments" / "assignments.parquet")["segment"].to_numpy()
    return usage.ru_utime + usage.ru_stime, np.nan_to_num(labels, nan=-1).astype(int)


def fit(name: str, cells):
    if name == "hdbscan":
        import hdbscan

        return lambda: hdbscan.HDBSCAN(min_cluster_size=100, min_samples=10, core_dist_n_jobs=1).fit_predict(cells)
    if name == "fast_hdbscan":
        import fast_hdbscan

        fast_hdbscan.HDBSCAN(min_cluster_size=10, min_samples=10).fit_predict(cells[:2000])
        return lambda: fast_hdbscan.HDBSCAN(min_cluster_size=100, min_samples=10).fit_predict(cells)
    if name == "sklearn_dbscan":
        from sklearn.cluster import DBSCAN

        return lambda: DBSCAN(eps=1.5, min_samples=10, n_jobs=1).fit_predict(cells)
    if name == "genieclust":
        import genieclust

        return lambda: genieclust.Genie(n_clusters=30, gini_threshold=0.3).fit_predict(cells)
    from sklearn.mixture import GaussianMixture

    return lambda: GaussianMixture(30, max_iter=10, tol=0.0, random_state=0).fit_predict(cells)


def peer(name: str, path: pathlib.Path, pipe) -> None:
    columns = pq.read_table(path)
    cells = np.ascontiguousarray(np.column_stack([columns[c].to_numpy() for c in columns.column_names if c != "label"]))
    run = fit(name, cells)
    before = time.process_time()
    labels = run()
    seconds = time.process_time() - before
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, labels))


def in_a_process(name: str, path: pathlib.Path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peer, args=(name, path, theirs))
    process.start()
    found = ours.recv()
    process.join()
    return found


def main() -> None:
    from sklearn.metrics import adjusted_rand_score

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")})
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as temporary:
        for name, rows, columns, keys, peers in CASES:
            if not re.search(arguments.only, name):
                continue
            path = table(arguments.folder, rows, columns)
            rounds = [(gristmill(arguments.binary, pathlib.Path(temporary), path, keys), [in_a_process(p, path) for p in peers]) for _ in range(arguments.rounds)]
            ours = statistics.median(own[0] for own, _ in rounds)
            print(f"{name}: gristmill {ours:.2f} CPU-s", flush=True)
            for at, other in enumerate(peers):
                theirs = statistics.median(found[at][0] for _, found in rounds)
                same = adjusted_rand_score(rounds[0][0][1], rounds[0][1][at][2])
                print(f"    {other} {theirs:.2f} CPU-s, {rounds[0][1][at][1]:.0f} MiB: {theirs / ours:.1f}x; labels agree at {same:.4f}", flush=True)


if __name__ == "__main__":
    main()
