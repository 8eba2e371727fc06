#!/usr/bin/env python3
"""Near texts: `dedupe` with `text` beside rensa and datasketch, on one file in one run.

The peers' side is what their users write: shingles in Python (words of the lower-cased text, three to one), signatures of 128, bands, candidates,
and the exact Jaccard of every candidate. Their seconds are those from strings in memory to verified pairs; ours are those of the whole process,
with reading the file, writing all tables and the report. Pairs are held against those of an exact join, where there is a file of them.

usage: dedupe_texts.py --binary target/release/gristmill --docs docs.parquet [--truth truth.parquet] [--turns 3]
needs: rensa==0.5.0 datasketch==2.0.0 beside requirements.txt
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile

import pandas as pd

WORDS = re.compile(r"\w+")
THRESHOLD = 0.8


def cpu(who=resource.RUSAGE_SELF):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def shingles(text):
    words = WORDS.findall(text.lower())
    return {" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def verified(sets, candidates):
    def jaccard(a, b):
        common = len(sets[a] & sets[b])
        return common / (len(sets[a]) + len(sets[b]) - common)

    return {pair for pair in candidates if jaccard(*pair) >= THRESHOLD}


def rensa(sets, bands):
    import rensa as module

    signatures = module.RMinHash.from_token_sets([list(one) for one in sets], num_perm=128, seed=42)
    index = module.RMinHashLSH(threshold=THRESHOLD, num_perm=128, num_bands=bands)
    index.insert_pairs(enumerate(signatures))
    return {(a, b) for a, near in enumerate(index.query_all(signatures)) for b in near if b > a}


def datasketch(sets, bands):
    import datasketch as module

    index = module.MinHashLSH(num_perm=128, params=(bands, 128 // bands))
    candidates = set()
    for b, signature in enumerate(module.MinHash.bulk([[word.encode() for word in one] for one in sets], num_perm=128)):
        candidates.update((a, b) for a in index.query(signature))
        index.insert(b, signature)
    return candidates


PEERS = {"rensa": rensa, "datasketch": datasketch}


def peer(name, bands, docs):
    """One peer in this process: CPU seconds, peak memory, pairs."""
    texts = pd.read_parquet(docs).text.tolist()
    start = cpu()
    sets = [shingles(text) for text in texts]
    pairs = verified(sets, PEERS[name](sets, bands))
    return {"cpu_s": cpu() - start, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "pairs": sorted(pairs)}


def ours(binary, docs, how=""):
    with tempfile.TemporaryDirectory() as at:
        spec = os.path.join(at, "texts.toml")
        with open(spec, "w") as file:
            file.write(f'name = "texts"\n[source.docs]\npath = "{os.path.abspath(docs)}"\n')
            file.write(f'[step.near]\nkind = "dedupe"\nfrom = "docs"\nfields = ["text"]\ntext = {{ threshold = 0.8{how} }}\n')
        before = cpu(resource.RUSAGE_CHILDREN)
        subprocess.run([binary, "run", spec, "--run-dir", f"{at}/out", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        seconds = cpu(resource.RUSAGE_CHILDREN) - before
        pairs = pd.read_parquet(f"{at}/out/near/pairs.parquet")
        events = [json.loads(line) for line in open(f"{at}/out/events.jsonl")]
    peak = max((event.get("peak_rss_bytes") or 0 for event in events), default=0)
    return {"cpu_s": seconds, "peak_mb": peak / 2**20, "pairs": sorted(zip(pairs.a.tolist(), pairs.b.tolist()))}


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--binary", default="target/release/gristmill")
    asked.add_argument("--docs", required=True)
    asked.add_argument("--truth")
    asked.add_argument("--turns", type=int, default=3)
    asked.add_argument("--peer", help=argparse.SUPPRESS)
    asked.add_argument("--bands", type=int, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.peer:
        print(json.dumps(peer(given.peer, given.bands, given.docs)))
        return
    truth = None
    if given.truth:
        table = pd.read_parquet(given.truth)
        truth = set(zip(table.l.tolist(), table.r.tolist()))
    sides = {
        "gristmill": lambda: ours(given.binary, given.docs),
        "gristmill, recall 0.999": lambda: ours(given.binary, given.docs, ", recall = 0.999"),
    }
    for name, bands in [("rensa", 16), ("rensa", 32), ("datasketch", 16)]:
        command = [sys.executable, __file__, "--docs", given.docs, "--peer", name, "--bands", str(bands)]
        sides[f"{name} {bands}x{128 // bands}"] = lambda command=command: json.loads(subprocess.check_output(command))
    # Turn about, so that a busy minute does not fall on one side alone.
    results = {side: [] for side in sides}
    for _ in range(given.turns):
        for side, run in sides.items():
            results[side].append(run())
    own = statistics.median(result["cpu_s"] for result in results["gristmill"])
    for side, runs in results.items():
        seconds = statistics.median(result["cpu_s"] for result in runs)
        pairs = {tuple(pair) for pair in runs[0]["pairs"]}
        line = {"side": side, "cpu_s": round(seconds, 2), "ratio": round(seconds / own, 1), "peak_mb": round(runs[0]["peak_mb"]), "pairs": len(pairs)}
        if truth is not None:
            line |= {"recall": round(len(pairs & truth) / len(truth), 5), "precision": round(len(pairs & truth) / max(len(pairs), 1), 5)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
