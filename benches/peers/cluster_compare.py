"""Holds k-means against scikit-learn, k-prototypes against kmodes and medoids against kmedoids, on the same Parquet file, in one run.

    cargo build --release
    python cluster_compare.py ../../target/release/gristmill FOLDER [--rounds 3] [--threads 2] [--only PATTERN]

Tables are written into FOLDER where they are missing: f32, points of spread 1 around centres drawn from a normal, of spread 2 for the
inertia and of 0.3 for the iterations, so that no fit ends before they do. An iteration of gristmill is the difference of two runs, of 1 and of 101 iterations, divided by a hundred: what both do once
(reading, seeding on a sample, writing) drops out. scikit-learn's Lloyd starts from points drawn at random and is timed the same
way on the array in memory. Inertia: both with their own seeding, k given, over 20 seeds, on a table of 20,000 rows. Silhouettes must agree to 1e-6.
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
import pyarrow as pa
import pyarrow.parquet as pq

from correlate_peers import environment

SEED = 5

SPEC = """\
name = "compare"
seed = {seed}
threads = {threads}
place = "cpu"

[source.table]
path = {path}

[step.segments]
kind = "cluster"
from = "table"
method = "{method}"
k = {k}
scale = "none"
restarts = {restarts}
bootstrap = 0
max_iterations = {iterations}
"""

CASES = [("1M x 64, k = 100", 1_000_000, 64, 100), ("5M x 16, k = 20", 5_000_000, 16, 20)]


def table(folder: pathlib.Path, rows: int, columns: int, k: int, spread: float) -> pathlib.Path:
    path = folder / f"k{rows}x{columns}k{k}s{spread}.parquet"
    if not path.exists():
        rng = np.random.default_rng(SEED)
        centres = np.float32(spread) * rng.standard_normal((k, columns), dtype="float32")
        cells = centres[rng.integers(0, k, rows)] + rng.standard_normal((rows, columns), dtype="float32")
        pq.write_table(pa.table({f"c{j}": cells[:, j] for j in range(columns)}), path, compression="snappy", use_dictionary=False)
    return path


def gristmill(arguments, folder: pathlib.Path, path: pathlib.Path, k: int, iterations: int, seed: int = 1, restarts: int = 1, more: str = "", method: str = "kmeans"):
    """Returns seconds, peak memory in MiB and the inertia."""
    spec, run_dir = folder / "compare.toml", folder / "run"
    words = {"seed": seed, "threads": arguments.threads, "path": json.dumps(str(path.resolve())), "k": k, "method": method}
    spec.write_text(SPEC.format(**words, iterations=iterations, restarts=restarts) + more)
    command = [str(arguments.binary), "run", str(spec), "--run-dir", str(run_dir), "--fresh", "--quiet"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(arguments.threads))
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            log.seek(0)
            sys.exit(f"gristmill ended with {os.waitstatus_to_exitcode(status)}:\n{log.read()[-2000:]}")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    inertia = sum(pq.read_table(run_dir / "segments" / "segments.parquet")["inertia"].to_pylist())
    return manifest["steps"][0]["compute_seconds"], usage.ru_maxrss / 1024, inertia


def of_sklearn(cells, k: int, iterations: int, seed: int, init="random", n_init=1):
    from sklearn.cluster import KMeans

    start = time.perf_counter()
    fit = KMeans(n_clusters=k, init=init, n_init=n_init, max_iter=iterations, tol=0.0, algorithm="lloyd", random_state=seed).fit(cells)
    return time.perf_counter() - start, fit.inertia_


def iterations(arguments, folder, name, rows, columns, k) -> None:
    path = table(arguments.folder, rows, columns, k, 0.3)
    cells = np.ascontiguousarray(np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]))
    ours, theirs, peak = [], [], 0.0
    for _ in range(arguments.rounds):
        runs = [gristmill(arguments, folder, path, k, n) for n in (1, 101)]
        ours.append((runs[1][0] - runs[0][0]) / 100)
        peak = max(peak, runs[1][1])
        theirs.append((of_sklearn(cells, k, 101, 1)[0] - of_sklearn(cells, k, 1, 1)[0]) / 100)
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    share = 2.0 * rows * columns * k / ours / 1e9
    print(f"{name}: gristmill {1000 * ours:.0f} ms an iteration ({share:.0f} GFLOP/s, {peak:.0f} MiB at the peak), scikit-learn {1000 * theirs:.0f} ms, {theirs / ours:.2f}x", flush=True)


def inertia(arguments, folder) -> None:
    rows, columns, k = 20_000, 16, 50
    path = table(arguments.folder, rows, columns, k, 2.0)
    cells = np.ascontiguousarray(np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]))
    ours = [gristmill(arguments, folder, path, k, 300, seed)[2] for seed in range(20)]
    theirs = [of_sklearn(cells, k, 300, seed, "k-means++")[1] for seed in range(20)]
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    print(f"median inertia of 20 seeds, {rows:,} x {columns}, k = {k}: gristmill {ours:.6g}, scikit-learn {theirs:.6g}, {100 * (ours / theirs - 1):+.2f} %", flush=True)


def silhouettes(arguments, folder) -> None:
    """The whole step, reading, fit and tables included, against scikit-learn's silhouettes of the same labels alone."""
    from sklearn.metrics import silhouette_samples

    rows, columns, k = 20_000, 8, 10
    path = table(arguments.folder, rows, columns, k, 2.0)
    cells = np.ascontiguousarray(np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]), dtype=np.float64)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(gristmill(arguments, folder, path, k, 30)[0])
        labels = pq.read_table(folder / "run" / "segments" / "assignments.parquet")["segment"].to_numpy()
        start = time.perf_counter()
        book = silhouette_samples(cells, labels).mean()
        theirs.append(time.perf_counter() - start)
        found = pq.read_table(folder / "run" / "segments" / "verdict.parquet")["silhouette"][0].as_py()
        if abs(found - book) > 1e-6:
            sys.exit(f"silhouettes differ: gristmill {found}, scikit-learn {book}")
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    print(f"silhouettes, {rows:,} x {columns}, k = {k}: gristmill's whole step {ours:.2f} s, scikit-learn's silhouettes {theirs:.2f} s, {theirs / ours:.1f}x", flush=True)


def prototypes(arguments, folder) -> None:
    """The whole step, reading, ten starts and tables included, against ten starts of kmodes on arrays in memory; both by the cost of Huang."""
    from kmodes.kprototypes import KPrototypes

    rows, numbers, texts, levels, k = 20_000, 4, 4, 6, 8
    rng = np.random.default_rng(SEED)
    kind = rng.integers(0, k, rows)
    cells = 2.0 * rng.standard_normal((k, numbers))[kind] + rng.standard_normal((rows, numbers))
    usual = rng.integers(0, levels, (k, texts))[kind]
    words = np.where(rng.random((rows, texts)) < 0.6, usual, rng.integers(0, levels, (rows, texts)))
    names = [f"n{j}" for j in range(numbers)] + [f"t{j}" for j in range(texts)]
    columns = [cells[:, j] for j in range(numbers)] + [pa.array([f"w{word}" for word in words[:, j]]) for j in range(texts)]
    path = arguments.folder / "mixed.parquet"
    pq.write_table(pa.table(dict(zip(names, columns))), path)
    mixed = np.concatenate([cells.astype(object), words.astype(object)], axis=1)
    ours, theirs, costs = [], [], []
    for seed in range(arguments.rounds):
        seconds, _, cost = gristmill(arguments, folder, path, k, 100, seed, 10, f"gamma = 0.5\ncolumns = {json.dumps(names)}\n")
        ours.append(seconds)
        start = time.perf_counter()
        fit = KPrototypes(n_clusters=k, gamma=0.5, n_init=10, random_state=seed).fit(mixed, categorical=list(range(numbers, numbers + texts)))
        theirs.append(time.perf_counter() - start)
        costs.append((cost, fit.cost_))
    best = [min(cost[side] for cost in costs) for side in (0, 1)]
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    print(
        f"k-prototypes, {rows:,} x ({numbers} numbers, {texts} texts), k = {k}: gristmill's whole step {ours:.2f} s, kmodes' fit "
        f"{theirs:.1f} s, both of 10 starts, {theirs / ours:.0f}x; least cost {best[0]:.6g} against {best[1]:.6g} ({100 * (best[0] / best[1] - 1):+.2f} %)",
        flush=True,
    )


def medoids(arguments, folder) -> None:
    """The whole step, reading, one start and tables included, against one fit of kmedoids and its distances; both of all rows."""
    import kmedoids
    from sklearn.metrics import pairwise_distances

    rows, columns, k = 4_000, 16, 20
    path = table(arguments.folder, rows, columns, k, 0.5)
    cells = np.ascontiguousarray(np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]))
    ours, theirs, losses = [], [], []
    for seed in range(arguments.rounds):
        seconds, _, _ = gristmill(arguments, folder, path, k, 300, seed, 1, method="medoids")
        ours.append(seconds)
        places = pq.read_table(folder / "run" / "segments" / "assignments.parquet")
        start = time.perf_counter()
        distances = pairwise_distances(cells, n_jobs=1)
        fit = kmedoids.fasterpam(distances, k, init="random", random_state=seed, n_cpu=1)
        theirs.append(time.perf_counter() - start)
        losses.append((sum(places["distance"].to_pylist()), fit.loss))
    medians = [statistics.median(loss[side] for loss in losses) for side in (0, 1)]
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    print(
        f"medoids, {rows:,} x {columns}, k = {k}: gristmill's whole step {ours:.2f} s, kmedoids {theirs:.2f} s with its distances, {theirs / ours:.1f}x; "
        f"median loss {medians[0]:.6g} against {medians[1]:.6g} ({100 * (medians[0] / medians[1] - 1):+.2f} %)",
        flush=True,
    )


def minibatch(arguments, folder) -> None:
    """The whole step, to the end and in batches, reading, three starts on the sample and tables included, against MiniBatchKMeans on the array in memory."""
    from sklearn.cluster import MiniBatchKMeans

    for name, rows, columns, k in CASES:
        path = table(arguments.folder, rows, columns, k, 1.0)
        cells = np.ascontiguousarray(np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]))
        found = []
        for seed in range(arguments.rounds):
            ours = gristmill(arguments, folder, path, k, 300, seed, 3)
            batches = gristmill(arguments, folder, path, k, 300, seed, 3, "batch_size = 10000\n")
            start = time.perf_counter()
            fit = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=10_000).fit(cells)
            seconds = time.perf_counter() - start
            # Of all rows, as gristmill's is.
            found.append((ours[0], batches[0], seconds, ours[2], batches[2], -fit.score(cells)))
        ours, batches, theirs, own, of_batches, other = (statistics.median(round[at] for round in found) for at in range(6))
        print(
            f"{name}: gristmill's whole step to the end {ours:.1f} s, inertia {own:.6g}; in batches {batches:.1f} s ({100 * (of_batches / own - 1):+.2f} %); "
            f"MiniBatchKMeans {theirs:.1f} s ({100 * (other / own - 1):+.2f} %)",
            flush=True,
        )


def seeding(arguments, folder) -> None:
    """Seeds on the sample, then one iteration, against k-means++ of all rows, then one iteration."""
    for rows, columns, k in [(1_000_000, 64, 100), (200_000, 16, 2_000)]:
        path = table(arguments.folder, rows, columns, k, 2.0)
        cells = np.ascontiguousarray(np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]))
        found = [(gristmill(arguments, folder, path, k, 1, seed)[::2], of_sklearn(cells, k, 1, seed, "k-means++")) for seed in range(arguments.rounds)]
        (ours, own), (theirs, other) = ([statistics.median(round[side][at] for round in found) for at in (0, 1)] for side in (0, 1))
        print(
            f"seeds, {rows:,} x {columns}, k = {k}, and one iteration: gristmill's whole step {ours:.1f} s, inertia {own:.6g}; scikit-learn {theirs:.1f} s, "
            f"{other:.6g} ({100 * (own / other - 1):+.2f} %)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name, rows, columns, k in CASES:
            if re.search(arguments.only, name):
                iterations(arguments, pathlib.Path(temporary), name, rows, columns, k)
        if re.search(arguments.only, "inertia"):
            inertia(arguments, pathlib.Path(temporary))
        if re.search(arguments.only, "silhouettes"):
            silhouettes(arguments, pathlib.Path(temporary))
        if re.search(arguments.only, "minibatch"):
            minibatch(arguments, pathlib.Path(temporary))
        if re.search(arguments.only, "seeding"):
            seeding(arguments, pathlib.Path(temporary))
        if re.search(arguments.only, "medoids"):
            medoids(arguments, pathlib.Path(temporary))
        if re.search(arguments.only, "prototypes"):
            prototypes(arguments, pathlib.Path(temporary))


if __name__ == "__main__":
    main()
