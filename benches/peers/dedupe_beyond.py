#!/usr/bin/env python3
"""Near texts in less memory than their shingles take: `dedupe` with `text` on generated documents, under budgets, beside the exact join.

Documents are three windows of forty words each, drawn from the texts of a real corpus; one in ten is an earlier document with up to twelve words
changed. The exact join, with memory for all shingles, says which pairs there are; each budget is then held against that.

usage: dedupe_beyond.py --binary target/release/gristmill --corpus docs.parquet --n 1000000 --out /tmp/beyond [--budgets 128MiB 512MiB] [--all 16GiB]
"""
import argparse
import json
import os
import random
import resource
import subprocess
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def generate(corpus, n, path, seed=1):
    draw = random.Random(seed)
    base = [text.split() for text in pd.read_parquet(corpus).text if len(text.split()) >= 60]
    words = sorted({word for text in base[:2000] for word in text})
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    recent = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, n, 50_000):
            texts = []
            for _ in range(min(50_000, n - start)):
                if recent and draw.random() < 0.1:
                    text = list(draw.choice(recent))
                    for _ in range(draw.randrange(13)):
                        text[draw.randrange(len(text))] = draw.choice(words)
                else:
                    text = []
                    for _ in range(3):
                        source = draw.choice(base)
                        at = draw.randrange(len(source) - 39)
                        text += source[at : at + 40]
                texts.append(text)
                # What is copied may lie far back.
                if len(recent) < 20_000:
                    recent.append(text)
                else:
                    recent[draw.randrange(20_000)] = text
            writer.write_table(pa.table({"id": range(start, start + len(texts)), "text": [" ".join(text) for text in texts]}, schema=schema))


def run(binary, docs, memory, how, out):
    spec = f"{out}.toml"
    with open(spec, "w") as file:
        file.write(f'name = "beyond"\nmemory = "{memory}"\n[source.docs]\npath = "{os.path.abspath(docs)}"\n')
        file.write(f'[step.near]\nkind = "dedupe"\nfrom = "docs"\nid = "id"\nfields = ["text"]\ntext = {{ {how} }}\n')
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run([binary, "run", spec, "--run-dir", out, "--quiet", "--fresh"], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    pairs = pd.read_parquet(f"{out}/near/pairs.parquet", columns=["a", "b"])
    verdict = pd.read_parquet(f"{out}/near/verdict.parquet").iloc[0]
    peak = max((json.loads(line).get("peak_rss_bytes") or 0 for line in open(f"{out}/events.jsonl")), default=0)
    missed = verdict.expected_missed
    return set(zip(pairs.a, pairs.b)), {
        "memory": memory,
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "wall_s": round(wall, 1),
        "peak_mb": round(peak / 2**20),
        "pairs": len(pairs),
        "candidates": int(verdict.n_candidates),
        "expected_missed": None if pd.isna(missed) else round(float(missed), 2),
    }


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--binary", default="target/release/gristmill")
    asked.add_argument("--corpus", required=True)
    asked.add_argument("--n", type=int, default=1_000_000)
    asked.add_argument("--out", required=True)
    asked.add_argument("--budgets", nargs="+", default=["128MiB", "512MiB"])
    asked.add_argument("--all", help="memory of the exact join; none where it is not wanted")
    asked.add_argument("--threshold", type=float, default=0.8)
    given = asked.parse_args()
    os.makedirs(given.out, exist_ok=True)
    docs = f"{given.out}/docs-{given.n}.parquet"
    if not os.path.exists(docs):
        generate(given.corpus, given.n, docs)
    print(json.dumps({"docs": given.n, "file_mb": round(os.path.getsize(docs) / 2**20)}), flush=True)
    truth = None
    how = f"threshold = {given.threshold}"
    if given.all:
        truth, line = run(given.binary, docs, given.all, f"{how}, recall = 1", f"{given.out}/exact")
        print(json.dumps({"side": "exact"} | line), flush=True)
    for memory in given.budgets:
        pairs, line = run(given.binary, docs, memory, how, f"{given.out}/run-{memory}")
        if truth is not None:
            line |= {"recall": round(len(pairs & truth) / max(len(truth), 1), 6), "wrong": len(pairs - truth)}
        print(json.dumps({"side": "gristmill"} | line), flush=True)


if __name__ == "__main__":
    main()
