"""Writes the Parquet files that the correlation comparison reads.

    python correlate_generate.py FOLDER [NAME ...]

Each column is  scale * (loading * factor of its block + sqrt(1 - loading^2) * noise) + offset,  so that |r| spreads
over 0 to 1 within a block and is 0 between blocks. Row groups of 131,072 rows, snappy, plain encoding (random floats
gain nothing from a dictionary). The seed is fixed: the same numpy writes the same values.
"""

import argparse
import json
import pathlib
import sys
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20_260_401
ROWS_PER_GROUP = 131_072
COLUMNS_PER_BLOCK = 20


class Table(NamedTuple):
    rows: int
    columns: int
    dtype: str
    null_share: float


TABLES = {
    "c1m200f32": Table(1_000_000, 200, "float32", 0.0),
    "c1m200f64": Table(1_000_000, 200, "float64", 0.0),
    "c1m100f64n5": Table(1_000_000, 100, "float64", 0.05),
}


def row_groups(table: Table):
    """Yields the table piece by piece, one Arrow table a row group."""
    rng = np.random.default_rng(SEED)
    blocks = max(1, table.columns // COLUMNS_PER_BLOCK)
    loading = rng.uniform(0.0, 0.95, table.columns)
    block = rng.integers(0, blocks, table.columns)
    offset = rng.normal(0.0, 100.0, table.columns)
    scale = np.exp(rng.normal(0.0, 1.0, table.columns))
    names = [f"c{j}" for j in range(table.columns)]
    for start in range(0, table.rows, ROWS_PER_GROUP):
        rows = min(ROWS_PER_GROUP, table.rows - start)
        factors = rng.standard_normal((blocks, rows))
        columns = []
        for j in range(table.columns):
            noise = rng.standard_normal(rows)
            values = loading[j] * factors[block[j]] + np.sqrt(1.0 - loading[j] ** 2) * noise
            missing = rng.random(rows) < table.null_share if table.null_share else None
            columns.append(pa.array((scale[j] * values + offset[j]).astype(table.dtype), mask=missing))
        yield pa.table(columns, names=names)


def write(path: pathlib.Path, table: Table) -> None:
    writer = None
    for group in row_groups(table):
        if writer is None:
            writer = pq.ParquetWriter(path, group.schema, compression="snappy", use_dictionary=False)
        writer.write_table(group, row_group_size=ROWS_PER_GROUP)
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help=f"all of {', '.join(TABLES)} by default")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(TABLES))
    if unknown:
        sys.exit(f"no table {', '.join(unknown)}; tables: {', '.join(TABLES)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or TABLES:
        path = arguments.folder / f"{name}.parquet"
        write(path, TABLES[name])
        print(json.dumps({"table": name, **TABLES[name]._asdict(), "bytes": path.stat().st_size}), flush=True)


if __name__ == "__main__":
    main()
