"""Every index type on the same rows: `python -m bench.indexes [--rows N] [--types HNSW IVF_PQ] [--plots FOLDER]`.

Fashion-MNIST through the client, one query per call: images of 784 numbers, of 784 bits for the binary types, of their
bright pixels alone for the sparse one. Each type is searched at several values of the parameter that trades speed for
recall; the table shows the fastest that reaches a recall@10 of 0.95, and what filters do to it there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from pymilvus import DataType

import roost
from bench.environments import REPOSITORY
from bench.index_rows import FILTERS, Rows
from bench.opened import COLLECTION, DATABASE, K, held_bytes
from bench.plots import figure_at
from bench.ratios import Ratio, write_ratios
from bench.vector_kinds import KINDS, Kind
from roost.errors import MissingDependency

if TYPE_CHECKING:
    from roost.client import Client

RECALL = 0.95
BATCH = 5_000
BUDGET_S = 15.0

_GRAPH = {"M": 16, "efConstruction": 200}
_EFS = tuple({"ef": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256))
_PROBES = tuple({"nprobe": n} for n in (1, 2, 4, 6, 8, 12, 16, 24, 32, 64))

TYPES: Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = {
    "FLAT": ({}, ({},)),
    "HNSW": (_GRAPH, _EFS),
    "HNSW_SQ": (_GRAPH, _EFS),
    "HNSW_PQ": ({**_GRAPH, "m": 98}, _EFS),
    "HNSW_RABITQ": (_GRAPH, _EFS),
    "IVF_FLAT": ({"nlist": 256}, _PROBES),
    "IVF_SQ8": ({"nlist": 256}, _PROBES),
    "IVF_PQ": ({"nlist": 256, "m": 98}, _PROBES),
    "IVF_RABITQ": ({"nlist": 256}, _PROBES),
    "SCANN": ({"nlist": 256}, _PROBES),
    "NMSLIB_HNSW": (_GRAPH, _EFS),
    "NMSLIB_SW_GRAPH": ({"NN": 16, "efConstruction": 200}, tuple({"efSearch": p["ef"]} for p in _EFS)),
    "DISKANN": ({}, tuple({"search_list": n} for n in (10, 16, 24, 32, 64, 128))),
    "ANNOY": ({"n_trees": 50}, tuple({"search_k": n} for n in (200, 400, 800, 1_600, 3_200, 6_400))),
    "BIN_FLAT": ({}, ({},)),
    "BIN_IVF_FLAT": ({"nlist": 256}, _PROBES),
    "SPARSE_INVERTED_INDEX": ({}, tuple({"drop_ratio_search": share} for share in (0.8, 0.6, 0.4, 0.2, 0.0))),
}
"""Build parameters, and the search parameters from fast to sure."""

KIND_OF = {"BIN_FLAT": "binary", "BIN_IVF_FLAT": "binary", "SPARSE_INVERTED_INDEX": "sparse"}
"""How the images are stored for a type; `dense` for the others."""


@dataclass(frozen=True)
class Point:
    """One setting: its search parameters, recall@10, and queries per second."""

    params: Mapping[str, Any]
    recall: float
    queries_per_s: float


@dataclass(frozen=True)
class Measured:
    """One type.

    Attributes:
        build_s: from `flush` to its end, which seals the rows and builds the index.
        index_bytes: of the index's file.
        held_bytes: by how much a process grew that opened the database and asked; files that are mapped count.
        points: from fast to sure.
        filters: recall, and speed over the unfiltered one at the same setting, by the filter's name.
    """

    build_s: float
    index_bytes: int
    held_bytes: int
    points: Sequence[Point]
    filters: Mapping[str, tuple[float, float]]

    @property
    def chosen(self) -> Point:
        return chosen_of(self.points)


def chosen_of(points: Sequence[Point]) -> Point:
    """Return the fastest that reaches RECALL, or the surest."""
    return next((point for point in points if point.recall >= RECALL), points[-1])


def kind_of(index_type: str) -> Kind:
    return KINDS[KIND_OF.get(index_type, "dense")]


def measure(index_type: str, rows: Rows, rounds: int) -> Measured:
    """Measure one type in a database of its own."""
    build, settings = TYPES[index_type]
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / DATABASE
        with closing(roost.connect(path)) as client:
            _fill(client, rows)
            index = client.prepare_index_params()
            index.add_index("vector", index_type=index_type, metric_type=rows.kind.metric, params=dict(build))
            started = time.perf_counter()
            client.create_index(COLLECTION, index)
            build_s = time.perf_counter() - started
            client.load_collection(COLLECTION)
            size = sum(file.stat().st_size for file in folder.rglob("index-*.bin"))
            points = []
            for params in settings:
                found, speed = _search(client, rows, params, "", rounds)
                points.append(Point(params, rows.recall(found), speed))
                if points[-1].recall > 0.9995:
                    break
            measured = Measured(build_s, size, 0, points, _under_filters(client, rows, chosen_of(points), rounds))
        held = held_bytes(folder, rows.kind, rows.queries, measured.chosen.params)
        return replace(measured, held_bytes=held)


def _under_filters(client: Client, rows: Rows, chosen: Point, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the recall under each filter, and the speed over the unfiltered one."""
    filters = {}
    for name, (column, below) in FILTERS.items():
        found, speed = _search(client, rows, chosen.params, f"{column} < {below}", rounds)
        filters[name] = rows.recall(found, name), speed / chosen.queries_per_s
    return filters


def _fill(client: Client, rows: Rows) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    for name in rows.columns:
        schema.add_field(name, DataType.INT64)
    sized = {} if rows.kind.data_type == DataType.SPARSE_FLOAT_VECTOR else {"dim": rows.dim}
    schema.add_field("vector", rows.kind.data_type, **sized)
    client.create_collection(COLLECTION, schema=schema)
    for start in range(0, len(rows.vectors), BATCH):
        part = slice(start, start + BATCH)
        columns = {name: column[part].tolist() for name, column in rows.columns.items()}
        columns["vector"] = rows.kind.as_sent(rows.vectors[part])
        columns["id"] = list(range(start, start + len(columns["vector"])))
        client.insert(COLLECTION, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    client.flush(COLLECTION)


def _search(
    client: Client, rows: Rows, params: Mapping[str, Any], filter: str, rounds: int
) -> tuple[list[list[int]], float]:
    """Return what was found, and queries per second in the best of the rounds, which end after BUDGET_S."""
    found: list[list[int]] = []
    times: list[float] = []
    queries = rows.kind.as_sent(rows.queries)
    while len(times) <= rounds and sum(times) < BUDGET_S:
        started = time.perf_counter()
        answers = [
            client.search(COLLECTION, data=[query], limit=K, filter=filter, search_params={"params": dict(params)})
            for query in queries
        ]
        times.append(time.perf_counter() - started)
        found = [[int(hit["id"]) for hit in answer[0]] for answer in answers]
    return found, len(queries) / min(times)


def table(measured: Mapping[str, Measured]) -> str:
    """Return the Markdown table of docs/indexes.md."""
    filters = list(next(iter(measured.values())).filters)
    head = ["type", "build, s", "index, MB", "memory, MB", "setting", "recall@10", "queries/s", *filters]
    lines = [head, ["---", *["---:"] * 3, "---", *["---:"] * (len(head) - 5)]]
    for name, one in measured.items():
        chosen = one.chosen
        setting = ", ".join(f"{key} {value}" for key, value in chosen.params.items())
        cells = [f"{share:.3f} / {speed:.2f}" for share, speed in one.filters.values()]
        sizes = [f"{size / 1e6:.0f}" for size in (one.index_bytes, one.held_bytes)]
        row = [name, f"{one.build_s:.1f}", *sizes, setting, f"{chosen.recall:.3f}", f"{chosen.queries_per_s:,.0f}"]
        lines.append([*row, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(measured: Mapping[str, Measured], path: Path) -> None:
    """Draw recall against speed."""
    with figure_at(path, 8, 5) as figure:
        axes = figure.subplots()
        colours = mpl.colormaps["tab20"]
        for i, (name, one) in enumerate(measured.items()):
            shares, speeds = [p.recall for p in one.points], [p.queries_per_s for p in one.points]
            axes.plot(shares, speeds, marker="o", ms=3, lw=1, color=colours(i), label=name)
        axes.set(yscale="log", xlim=(0.7, 1.005), xlabel="recall@10", ylabel="queries per second, one per call")
        axes.legend(loc="lower left", ncols=2, fontsize=8)


def plot_cost(measured: Mapping[str, Measured], path: Path) -> None:
    """Draw the speed at a recall of RECALL against the size of the index and the time to build it."""
    with figure_at(path, 10, 4) as figure:
        by_size, by_time = figure.subplots(1, 2, sharey=True)
        colours = mpl.colormaps["tab20"]
        for i, (name, one) in enumerate(measured.items()):
            for axes, cost in ((by_size, one.index_bytes / 1e6), (by_time, one.build_s)):
                axes.plot(cost, one.chosen.queries_per_s, marker="o", ls="", color=colours(i), label=name)
        by_size.set(xscale="log", yscale="log", xlabel="index, MB", ylabel="queries per second, one per call")
        by_time.set(xscale="log", xlabel="build, s")
        by_time.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def ratios_of(measured: Mapping[str, Measured]) -> list[Ratio]:
    """Return the lowest recalls over all types, at the settings of the table."""
    unfiltered = min(one.chosen.recall for one in measured.values())
    filtered = min(share for one in measured.values() for share, _ in one.filters.values())
    return [
        Ratio(f"{len(measured)} index types: recall@10 at the chosen setting, the lowest", unfiltered, RECALL, RECALL),
        Ratio(f"{len(measured)} index types: recall@10 under a filter, the lowest", filtered, RECALL, 0.98),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.indexes", description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--types", nargs="+", choices=list(TYPES), metavar="TYPE", help="instead of all that are installed"
    )
    parser.add_argument("--plots", type=Path, default=REPOSITORY / "bench" / "results", help="folder of the plot")
    parser.add_argument("--ratios", type=Path, help="file for what the summary holds against limits")
    options = parser.parse_args()
    measured = {}
    rows: Rows | None = None
    for index_type in options.types or TYPES:
        kind = kind_of(index_type)
        if rows is None or rows.kind != kind:
            rows = Rows(kind, options.rows, options.queries)
        try:
            measured[index_type] = measure(index_type, rows, options.rounds)
        except MissingDependency as missing:
            if options.types is not None:
                raise
            print(f"{index_type} is left out: {missing.message}", flush=True)
            continue
        print(table({index_type: measured[index_type]}).splitlines()[-1], flush=True)
    plot(measured, options.plots / "indexes.svg")
    plot_cost(measured, options.plots / "indexes-cost.svg")
    print("\n" + table(measured))
    if options.ratios:
        write_ratios(options.ratios, ratios_of(measured))


if __name__ == "__main__":
    main()
