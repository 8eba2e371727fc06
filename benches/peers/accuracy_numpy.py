"""Writes numpy's r of every pair of number and boolean columns of the shipped samples, for the tests to compare with.

    python accuracy_numpy.py ../../datasets/samples ../../datasets/samples/expected/correlations.json

Pairwise complete: rows where both cells are present, centred on the means of those rows (np.corrcoef does two passes),
64 bits. Numbers are written with the 17 digits that give the same double back. A pair with a constant side has r null.
"""

import argparse
import json
import pathlib
import platform

import numpy as np
import pandas as pd

TABLES = {
    "bank_additional_full.csv.gz": ";",
    "bike_sharing_hour.csv.gz": ",",
    "marketing_campaign.csv.gz": ",",
    "online_shoppers_intention.csv.gz": ",",
}


def correlation(x: np.ndarray, y: np.ndarray) -> tuple[int, float | None]:
    """Returns the number of complete rows and r."""
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < 2 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return len(x), None
    return len(x), float(np.corrcoef(x, y)[0, 1])


def table(path: pathlib.Path, separator: str) -> dict:
    frame = pd.read_csv(path, sep=separator)
    columns = frame.select_dtypes(["number", "bool"]).astype("float64")
    names = list(columns)
    pairs = []
    for i, x in enumerate(names):
        for y in names[i + 1 :]:
            n, r = correlation(columns[x].to_numpy(), columns[y].to_numpy())
            pairs.append({"x": x, "y": y, "n": n, "r": r})
    return {"rows": len(frame), "columns": names, "pairs": pairs}


def text(document: dict) -> str:
    """Lays the document out one pair a line, with 17 digits."""
    tables = []
    for name, content in document["tables"].items():
        lines = [
            f'        {{"x": {json.dumps(p["x"])}, "y": {json.dumps(p["y"])}, "n": {p["n"]}, '
            f'"r": {"null" if p["r"] is None else format(p["r"], ".17g")}}}'
            for p in content["pairs"]
        ]
        tables.append(
            f'    {json.dumps(name)}: {{\n      "rows": {content["rows"]},\n'
            f'      "columns": {json.dumps(content["columns"])},\n      "pairs": [\n' + ",\n".join(lines) + "\n      ]\n    }"
        )
    header = json.dumps(document["header"], indent=4).replace("\n}", "\n  }")
    return '{\n  "header": ' + header + ',\n  "tables": {\n' + ",\n".join(tables) + "\n  }\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()
    header = {
        "script": "benches/peers/accuracy_numpy.py",
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "python": platform.python_version(),
        "method": "Pearson, pairwise complete, two passes in 64 bits",
    }
    tables = {name: table(arguments.samples / name, separator) for name, separator in TABLES.items()}
    document = text({"header": header, "tables": tables})
    json.loads(document)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(document)


if __name__ == "__main__":
    main()
