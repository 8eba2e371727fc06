"""Measures how far r is off where the mean is large beside the standard deviation, of gristmill and of its peers.

    cargo build --release
    python accuracy.py ../../target/release/gristmill [--place cpu|software|gpu] [--rows 1000]

Two columns with r about 0.6 are moved to mean/sd of 0 to 1e12 and written as Parquet, once in f64 and once in f32. The
truth is computed in 60 digits from the numbers as they are stored. gristmill runs as a binary, from file to table:

    f64         every r is computed in 64 bits
    f32         products in 32 bits, what is found is settled in 64: what users see
    screened    products in 32 bits and nothing settled (`min_effect` is out of reach): what the kernels do

It holds when the error in f64 is at most numpy's or 4 units in the last place of 1, and in f32, settled or not, at most
1e-6 up to mean/sd of 1e7. The last line says so, and the exit code.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import mpmath
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

mpmath.mp.dps = 60

SEED = 3
OFFSETS = (0.0, 1e3, 1e5, 1e7, 1e9, 1e12)
# Up to here 32 bits are promised.
LAST_OFFSET_F32 = 1e7
BOUND_F32 = 1e-6
BOUND_F64 = 4 * np.finfo("float64").eps

# Name of the column in the table below: precision and smallest effect of the spec.
WAYS = {"f64": ("f64", 0.1), "f32": ("f32", 0.1), "screened": ("f32", 1.0)}

SPEC = """\
name = "accuracy"
place = "{place}"

[source.table]
path = {path}

[step.pairs]
kind = "correlate"
from = "table"
precision = "{precision}"
min_effect = {min_effect}
"""


def truth(x: np.ndarray, y: np.ndarray) -> mpmath.mpf:
    """Returns r of the stored numbers, in 60 digits."""
    xs, ys = ([mpmath.mpf(float(cell)) for cell in cells] for cells in (x, y))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    dx, dy = [cell - mean_x for cell in xs], [cell - mean_y for cell in ys]
    return mpmath.fdot(dx, dy) / mpmath.sqrt(mpmath.fdot(dx, dx) * mpmath.fdot(dy, dy))


def gristmill(arguments, folder: pathlib.Path, table: pathlib.Path, way: str) -> float:
    """Runs the binary and returns r of its one pair."""
    precision, min_effect = WAYS[way]
    spec, run_dir = folder / "accuracy.toml", folder / "run"
    spec.write_text(SPEC.format(place=arguments.place, path=json.dumps(str(table)), precision=precision, min_effect=min_effect))
    command = [str(arguments.binary), "run", str(spec), "--run-dir", str(run_dir), "--fresh", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    place = json.loads((run_dir / "manifest.json").read_text())["steps"][0]["place"]
    expected = "cpu" if precision == "f64" else arguments.place
    if place != expected:
        sys.exit(f"the products ran on `{place}`, not on `{expected}`")
    pairs = pq.read_table(run_dir / "pairs" / "pairs.parquet", columns=["r", "settled"]).to_pylist()
    assert len(pairs) == 1 and pairs[0]["settled"] == (way != "screened"), pairs
    return pairs[0]["r"]


def peers(x: np.ndarray, y: np.ndarray) -> dict:
    """Returns r as numpy, pandas and polars find it."""
    frame = pd.DataFrame({"x": x, "y": y})
    found = {
        "numpy": np.corrcoef(x, y)[0, 1],
        "pandas": frame.corr().iloc[0, 1],
        "polars": pl.DataFrame({"x": x, "y": y}).select(pl.corr("x", "y")).item(),
    }
    if x.dtype == np.float32:
        # The default is 64 bits whatever the columns are.
        found["numpy f32"] = np.corrcoef(x, y, dtype="float32")[0, 1]
    return found


def errors(arguments, folder: pathlib.Path, x: np.ndarray, y: np.ndarray) -> dict:
    """Returns the error of r by every way."""
    table = folder / "table.parquet"
    pq.write_table(pa.table({"x": x, "y": y}), table)
    exact = truth(x, y)
    ours = {way: gristmill(arguments, folder, table, way) for way in WAYS}
    return {name: float(abs(mpmath.mpf(float(r)) - exact)) for name, r in (ours | peers(x, y)).items()}


def holds(offset: float, off: dict) -> list:
    """Returns what is past its bound."""
    past = []
    if off["f64"] > max(off["numpy"], BOUND_F64):
        past.append("f64")
    if offset <= LAST_OFFSET_F32:
        past += [way for way in ("f32", "screened") if off[way] > BOUND_F32]
    return past


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--place", default="cpu", choices=["cpu", "software", "gpu"])
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(SEED)
    u = rng.standard_normal(arguments.rows)
    v = 0.6 * u + 0.8 * rng.standard_normal(arguments.rows)
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        for dtype in ("float64", "float32"):
            names = [*WAYS, "numpy", "pandas", "polars"] + (["numpy f32"] if dtype == "float32" else [])
            print(f"error of r, {dtype} columns of {arguments.rows} rows, 32 bits on {arguments.place}")
            print(f"{'mean/sd':>9s} | " + " ".join(f"{name:>9s}" for name in names) + " |")
            for offset in OFFSETS:
                x, y = (u + offset).astype(dtype), (v + offset).astype(dtype)
                if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
                    print(f"{offset:9.0e} | constant in {dtype}")
                    continue
                off = errors(arguments, pathlib.Path(temporary), x, y)
                past = holds(offset, off)
                failed += [f"{dtype} columns, mean/sd {offset:.0e}: {way}" for way in past]
                line = " ".join(f"{off[name]:9.1e}" for name in names)
                print(f"{offset:9.0e} | {line} | {'past its bound: ' + ', '.join(past) if past else 'holds'}", flush=True)
    print("all hold" if not failed else "past their bounds: " + "; ".join(failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
