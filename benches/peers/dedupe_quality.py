#!/usr/bin/env python3
"""Runs `dedupe` (one source) or `link` (two or more) with its defaults on labelled sets, and scores the entities against their truth.

A set is a folder with records.parquet (rec_id, source, columns of its own) and truth.parquet: (rec_id, entity) or (l, r). No label is shown to
the engine. Scores: precision, recall and F1 over pairs, B-cubed where the truth is clusters; beside them the F1 that the engine expects of
itself with its interval, CPU seconds and peak memory of the whole run.

usage: dedupe_quality.py --binary target/release/gristmill --data FOLDER [SET ...]
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile

import pandas as pd


def pairs(sizes):
    return int((sizes * (sizes - 1) // 2).sum())


def score(records, truth, entities):
    said = records[["rec_id", "source"]].merge(entities[["rec_id", "entity_id"]], on="rec_id")
    if "entity" in truth:
        known = said.merge(truth.dropna(), on="rec_id")
        both = known.groupby(["entity_id", "entity"]).size()
        by_said, by_truth = known.groupby("entity_id").size(), known.groupby("entity").size()
        hit, n_said, n_true = pairs(both), pairs(by_said), pairs(by_truth)
        counts = both.reset_index(name="n")
        p = (counts.n**2 / counts.entity_id.map(by_said)).sum() / len(known)
        r = (counts.n**2 / counts.entity.map(by_truth)).sum() / len(known)
        b_cubed = round(float(2 * p * r / (p + r)), 4)
    else:
        of = dict(zip(said.rec_id, said.entity_id))
        sides = said.groupby(["entity_id", "source"]).size().unstack(fill_value=0)
        hit, n_said, n_true = sum(of[a] == of[b] for a, b in zip(truth.l, truth.r)), int((sides["A"] * sides["B"]).sum()), len(truth)
        b_cubed = None
    p, r = hit / max(n_said, 1), hit / n_true
    return {"P": round(p, 4), "R": round(r, 4), "F1": round(2 * hit / (n_said + n_true), 4), "B3": b_cubed}


def run(binary, folder):
    records = pd.read_parquet(os.path.join(folder, "records.parquet"))
    truth = pd.read_parquet(os.path.join(folder, "truth.parquet"))
    kind = 'kind = "link"\nsource_column = "source"' if records.source.nunique() > 1 else 'kind = "dedupe"\nexclude = ["source"]'
    with tempfile.TemporaryDirectory() as at:
        spec = os.path.join(at, "set.toml")
        with open(spec, "w") as file:
            file.write(f'name = "set"\nseed = 1\n[source.records]\npath = "{os.path.abspath(folder)}/records.parquet"\n')
            file.write(f'[step.same]\nfrom = "records"\nid = "rec_id"\n{kind}\n')
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([binary, "run", spec, "--run-dir", f"{at}/out", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        entities = pd.read_parquet(f"{at}/out/same/entities.parquet")
        verdict = pd.read_parquet(f"{at}/out/same/verdict.parquet").iloc[0]
        events = [json.loads(line) for line in open(f"{at}/out/events.jsonl")]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = max((event.get("peak_rss_bytes") or 0 for event in events), default=0)
    known = not pd.isna(verdict.expected_f1)
    expected = [round(float(verdict[name]), 4) for name in ("expected_f1", "expected_f1_lo", "expected_f1_hi")] if known else None
    return {**score(records, truth, entities), "expected_F1": expected, "cpu_s": round(cpu, 2), "peak_mb": round(peak / 1e6)}


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--binary", required=True)
    ask.add_argument("--data", required=True)
    ask.add_argument("sets", nargs="*")
    asked = ask.parse_args()
    is_set = lambda name: os.path.exists(os.path.join(asked.data, name, "records.parquet"))
    for name in asked.sets or sorted(filter(is_set, os.listdir(asked.data))):
        print(f"{name:16}", json.dumps(run(asked.binary, os.path.join(asked.data, name))), flush=True)


if __name__ == "__main__":
    main()
