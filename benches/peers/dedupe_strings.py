#!/usr/bin/env python3
"""String comparators beside DuckDB's (the engine of Splink) and rapidfuzz: millions of pairs for each CPU second of one thread.

Pairs are drawn at random from a column of a Parquet file; every side compares the same ones. DuckDB's Damerau-Levenshtein may edit a part
twice, ours and rapidfuzz's OSA may not. Beside requirements.txt: duckdb==2.0.1 rapidfuzz==3.14.6.

usage: dedupe_strings.py --data FILE --columns surname,given_name [--pairs 1000000]
"""
import argparse
import json
import os
import re
import resource
import subprocess
import tempfile

import duckdb
import numpy as np
import pandas as pd
from rapidfuzz import distance, process


def cpu():
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def ours(x, y):
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{a}\t{b}\n" for a, b in zip(x, y))
        file.flush()
        command = ["cargo", "bench", "--quiet", "--bench", "dedupe", "--", "strings"]
        said = subprocess.run(command, env={**os.environ, "GRISTMILL_PAIRS": file.name}, check=True, capture_output=True, text=True).stdout
    scale = {"K": 1e-3, "M": 1, "G": 1e3}
    found = {}
    for name, middle, unit in re.findall(r"strings/(\w+)/given.*?thrpt:\s+\[\S+ \S+ (\S+) ([KMG])elem/s", said, re.S):
        found[name] = float(middle) * scale[unit]
    return found


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", required=True)
    ask.add_argument("--columns", required=True)
    ask.add_argument("--pairs", type=int, default=1_000_000)
    asked = ask.parse_args()
    draw = np.random.default_rng(1)
    for column in asked.columns.split(","):
        cells = pd.read_parquet(asked.data, columns=[column])[column].dropna().astype(str).to_numpy(object)
        x, y = (cells[draw.integers(0, len(cells), asked.pairs)].tolist() for _ in range(2))
        rates = {f"ours_{name}": rate for name, rate in ours(x, y).items()}
        db = duckdb.connect()
        db.execute("set threads = 1")
        db.register("pairs", pd.DataFrame({"x": x, "y": y}))
        db.execute("create table drawn as select * from pairs")
        for name in ("jaro_winkler_similarity", "damerau_levenshtein"):
            before = cpu()
            db.execute(f"select sum({name}(x, y)) from drawn").fetchall()
            rates[f"duckdb_{name}"] = asked.pairs / (cpu() - before) / 1e6
        for name, scorer in (("jaro_winkler", distance.JaroWinkler.similarity), ("osa", distance.OSA.distance)):
            before = cpu()
            process.cpdist(x, y, scorer=scorer, workers=1)
            rates[f"rapidfuzz_{name}"] = asked.pairs / (cpu() - before) / 1e6
        letters = float(np.mean([len(text) for text in x]))
        print(json.dumps({"column": column, "letters": round(letters, 1), **{name: round(rate, 2) for name, rate in rates.items()}}), flush=True)


if __name__ == "__main__":
    main()
