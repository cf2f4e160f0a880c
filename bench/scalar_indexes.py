"""A filter answered by a scalar index and by reading the column: `python -m bench.scalar_indexes [--rows N ...]`.

Random columns in memory; medians of a filter that comes for the first time. The mark says which way the engine takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pymilvus import DataType

from roost.engine.columns import ScalarIndex
from roost.engine.filter import Predicate, compile_filter
from roost.engine.filter.by_index import find, mask_of, pays
from roost.engine.scalar.built import build_scalar_index
from roost.engine.schema import Field, Schema

SCHEMA = Schema(
    (
        Field("pk", DataType.INT64, 100, is_primary=True),
        Field("number", DataType.INT64, 101),
        Field("small", DataType.INT8, 102),
        Field("real", DataType.FLOAT, 103),
        Field("name", DataType.VARCHAR, 104, max_length=50),
        Field("kind", DataType.VARCHAR, 105, max_length=50),
        Field("v", DataType.FLOAT_VECTOR, 106, dim=2),
    )
)
"""Numbers to a million; a hundred small ones; a million names; twenty kinds."""

SHARES = (0.001, 0.01, 0.1, 0.5)
"""The fraction of the rows that a range keeps."""


@dataclass
class Rows:
    """Columns in memory."""

    columns: Mapping[str, pa.Array]
    n_rows: int
    memo: MutableMapping[Hashable, Any] = field(default_factory=dict)

    def scalar(self, name: str) -> pa.Array:
        return self.columns[name]

    def scalar_index(self, name: str) -> ScalarIndex | None:
        return None


def make_rows(n_rows: int) -> Rows:
    """Return random rows."""
    numbers = np.random.default_rng(0).integers(0, 1_000_000, n_rows)
    columns = {
        "number": pa.array(numbers),
        "small": pa.array((numbers % 100).astype(np.int8)),
        "real": pa.array((numbers / 1e6).astype(np.float32)),
        "name": pa.array([f"name {n:06d}" for n in numbers], pa.large_string()),
        "kind": pa.array([f"kind {n % 20:02d}" for n in numbers], pa.large_string()),
    }
    return Rows(columns, n_rows)


def filters() -> list[str]:
    """Return the filters, by field and the part that they keep."""
    ranges = [f"number < {round(1e6 * s)}" for s in SHARES] + [f"real < {s}" for s in SHARES]
    texts = [f"name < 'name {round(1e6 * s):06d}'" for s in SHARES]
    lists = ["number in [1, 2, 3]", f"number in {list(range(0, 100_000, 100))}", "small in [3, 4]"]
    return [
        *ranges,
        "small < 1",
        "small < 50",
        *lists,
        *texts,
        "name like 'name 00%'",
        "name like '%77'",
        "kind == 'kind 03'",
        "kind != 'kind 03'",
        "kind < 'kind 10'",
        "kind like '%3'",
    ]


def median_us(work: Callable[[], Any], rounds: int) -> float:
    """Return the median time of some work in microseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1e6 * float(np.median(times))


def measure(rows: Rows, indexes: Mapping[str, ScalarIndex], predicate: Predicate, rounds: int) -> list[str]:
    """Return the time of the column, and of each index with a mark where the engine takes it."""
    condition: Any = predicate._condition
    (name,) = predicate.fields
    inner = getattr(condition, "of", condition)
    expected = predicate.evaluate(rows)
    cells = [f"{expected.mean():.1%}", f"{median_us(lambda: predicate.evaluate(rows), rounds):,.0f}"]
    for index_type in ("INVERTED", "BITMAP"):
        index = indexes.get(f"{name} {index_type}")
        found = None if index is None else find(inner, index)
        if index is None or found is None:
            cells.append("")
            continue
        held, given = index, found
        if not np.array_equal(mask_of(given, held), expected):
            raise RuntimeError(f"{name}: the index and the column disagree")
        spent = median_us(lambda h=held: mask_of(find(inner, h), h), rounds)  # type: ignore[misc, arg-type]
        cells.append(f"{spent:,.0f}{' *' if pays(inner, given, held) else ''}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scalar_indexes", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[60_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    for n_rows in options.rows:
        rows = make_rows(n_rows)
        indexes: dict[str, ScalarIndex] = {}
        for name in rows.columns:
            for index_type in ("INVERTED", "BITMAP") if name in ("small", "kind") else ("INVERTED",):
                started = time.perf_counter()
                indexes[f"{name} {index_type}"] = build_scalar_index(rows.columns[name], index_type)
                print(f"{n_rows:,} rows, {name}, {index_type}: built in {time.perf_counter() - started:.2f} s")
        print("\n| filter | keeps | column, us | lists, us | bitmaps, us |\n|---|---:|---:|---:|---:|")
        for text in filters():
            cells = measure(rows, indexes, compile_filter(text, SCHEMA), options.rounds)
            print(f"| `{text if len(text) < 40 else text[:24] + ' ...'}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
