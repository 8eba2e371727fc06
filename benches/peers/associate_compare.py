"""Holds rank correlations, permutations and bootstrap against scipy and pandas, on the same Parquet files, in one run.

    cargo build --release
    python associate_compare.py ../../target/release/gristmill FOLDER [--rounds 3] [--threads 2] [--only PATTERN]

Tables are written into FOLDER where they are missing: 5,000 x 500 and 100,000 x 200 of f64, with factors that give r of
every size. `work` of gristmill is reading and computing as its manifest tells. What takes a peer minutes is timed on a part
of the pairs (named in its line) and scaled to all of them; everything else runs as a whole. Peers take as many threads as
they like. The largest difference to the peer is printed as a check that both did the same thing.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.stats

from correlate_peers import environment

SEED = 11

SPEC = """\
name = "compare"
threads = {threads}
place = "cpu"

[source.table]
path = {path}

[step.pairs]
kind = "correlate"
from = "table"
method = "{method}"
permutations = {permutations}
bootstrap = {bootstrap}
"""


def table(folder: pathlib.Path, rows: int, columns: int) -> pathlib.Path:
    path = folder / f"a{rows}x{columns}.parquet"
    if not path.exists():
        rng = np.random.default_rng(SEED)
        factors = rng.standard_normal((rows, 10))
        loads = rng.uniform(0.0, 0.9, columns)
        cells = [loads[j] * factors[:, j % 10] + np.sqrt(1 - loads[j] ** 2) * rng.standard_normal(rows) for j in range(columns)]
        pq.write_table(pa.table({f"c{j}": cell for j, cell in enumerate(cells)}), path, compression="snappy", use_dictionary=False)
    return path


def gristmill(arguments, folder: pathlib.Path, path: pathlib.Path, method: str, permutations: int, bootstrap: int):
    """Returns seconds of reading and computing, and the table of pairs."""
    spec, run_dir = folder / "compare.toml", folder / "run"
    text = SPEC.format(threads=arguments.threads, path=json.dumps(str(path.resolve())), method=method, permutations=permutations, bootstrap=bootstrap)
    spec.write_text(text)
    command = [str(arguments.binary), "run", str(spec), "--run-dir", str(run_dir), "--fresh", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(arguments.threads))
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    return sum(step["compute_seconds"] for step in manifest["steps"]), pq.read_table(run_dir / "pairs" / "pairs.parquet")


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def difference(pairs: pa.Table, matrix: np.ndarray) -> float:
    """Returns the largest difference of r over the pairs whose columns the matrix has."""
    x, y = (np.array([int(name[1:]) for name in pairs[side].to_pylist()]) for side in ("x", "y"))
    known = (x < len(matrix)) & (y < len(matrix))
    return float(np.max(np.abs(pairs["r"].to_numpy()[known] - matrix[x[known], y[known]])))


def n_pairs(columns: int) -> int:
    return columns * (columns - 1) // 2


def spearman(arguments, folder):
    path = table(arguments.folder, 100_000, 200)
    frame = pd.read_parquet(path)
    ours, pairs = gristmill(arguments, folder, path, "spearman", 0, 0)
    scipy_seconds, matrix = timed(lambda: scipy.stats.spearmanr(frame.to_numpy()).statistic)
    pandas_seconds, _ = timed(lambda: frame.corr(method="spearman"))
    return ours, {"scipy.stats.spearmanr": scipy_seconds, "pandas .corr(spearman)": pandas_seconds}, difference(pairs, matrix)


def kendall(arguments, folder):
    path = table(arguments.folder, 5_000, 500)
    part = pd.read_parquet(path).iloc[:, :40]
    ours, pairs = gristmill(arguments, folder, path, "kendall", 0, 0)
    seconds, matrix = timed(lambda: part.corr(method="kendall").to_numpy())
    return ours, {"pandas .corr(kendall), from 40 columns": seconds * n_pairs(500) / n_pairs(40)}, difference(pairs, matrix)


def resampled(arguments, folder, permutations, bootstrap, peer, name):
    path = table(arguments.folder, 5_000, 500)
    frame = pd.read_parquet(path)
    ours, pairs = gristmill(arguments, folder, path, "pearson", permutations, bootstrap)
    few = [(0, 1), (2, 12), (3, 4), (5, 15)]
    seconds, _ = timed(lambda: [peer(frame[f"c{i}"].to_numpy(), frame[f"c{j}"].to_numpy()) for i, j in few])
    return ours, {f"{name}, from {len(few)} pairs": seconds / len(few) * n_pairs(500)}, difference(pairs, np.corrcoef(frame.to_numpy().T))


def permutations(arguments, folder):
    method = scipy.stats.PermutationMethod(n_resamples=999, rng=np.random.default_rng(1))
    return resampled(arguments, folder, 1000, 0, lambda x, y: scipy.stats.pearsonr(x, y, method=method), "scipy pearsonr, 999 permutations")


def bootstrap(arguments, folder):
    method = scipy.stats.BootstrapMethod(n_resamples=999, method="percentile", rng=np.random.default_rng(1))
    peer = lambda x, y: scipy.stats.pearsonr(x, y).confidence_interval(method=method)  # noqa: E731
    return resampled(arguments, folder, 0, 999, peer, "scipy pearsonr, 999 bootstrap turns")


CASES = {
    "spearman 100,000 x 200": spearman,
    "kendall 5,000 x 500": kendall,
    "1,000 permutations, all pairs of 5,000 x 500": permutations,
    "bootstrap of 999, all pairs of 5,000 x 500": bootstrap,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="a regular expression on the name of the case")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name, case in CASES.items():
            if not re.search(arguments.only, name):
                continue
            rounds = [case(arguments, pathlib.Path(temporary)) for _ in range(arguments.rounds)]
            ours = statistics.median(seconds for seconds, _, _ in rounds)
            print(f"{name}: gristmill {ours:.2f} s, |dr| <= {max(off for _, _, off in rounds):.1e}", flush=True)
            for peer in rounds[0][1]:
                theirs = statistics.median(peers[peer] for _, peers, _ in rounds)
                print(f"  {peer:44s} {theirs:10.1f} s   {theirs / ours:9.1f}x", flush=True)


if __name__ == "__main__":
    main()
