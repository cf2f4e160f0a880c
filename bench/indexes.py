"""Every index type on the same rows: `python -m bench.indexes [--rows N] [--types HNSW IVF_PQ] [--plots FOLDER]`.

Fashion-MNIST through the client, one query per call. Each type is searched at several values of the parameter that
trades speed for recall; the table shows the fastest that reaches a recall@10 of 0.95, and what filters do to it there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from pymilvus import DataType

import roost
from bench.environments import REPOSITORY
from roost.demo.images import load_images
from roost.engine.index.exact import exact_search

if TYPE_CHECKING:
    from roost.client import Client

K = 10
RECALL = 0.95
STEPS = 1_000
"""Steps of the columns that filters look at."""

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
    "ANNOY": ({"n_trees": 50}, tuple({"search_k": n} for n in (200, 400, 800, 1_600, 3_200, 6_400))),
}
"""Build parameters, and the search parameters from fast to sure."""


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
        points: from fast to sure.
        filters: recall, and speed over the unfiltered one at the same setting, by the filter's name.
    """

    build_s: float
    index_bytes: int
    points: Sequence[Point]
    filters: Mapping[str, tuple[float, float]]

    @property
    def chosen(self) -> Point:
        return next((point for point in self.points if point.recall >= RECALL), self.points[-1])


class Rows:
    """Images, the columns that filters look at, and the right answers."""

    def __init__(self, n_rows: int, n_queries: int) -> None:
        found = load_images("fashion-mnist")
        self.vectors = found.gallery[:n_rows]
        self.queries = found.held_out[:n_queries]
        rng, half = np.random.default_rng(0), self.vectors.shape[1] // 2
        self.columns = {
            "random": _steps(rng.random(n_rows)),
            "upper": _steps(self.vectors[:, :half].sum(axis=1)),
            "near": _steps(np.square(self.vectors - self.queries[0]).sum(axis=1)),
        }
        self.filters = {
            "50 %": ("random", 500),
            "10 %": ("random", 100),
            "1 %": ("random", 10),
            "0.1 %": ("random", 1),
            "half space": ("upper", 500),
            "ball, 10 %": ("near", 100),
        }
        self.right = self._nearest(None)
        self.right_under = {
            name: self._nearest(np.flatnonzero(self.columns[column] < below))
            for name, (column, below) in self.filters.items()
        }

    def _nearest(self, rows: npt.NDArray[np.int64] | None) -> list[set[int]]:
        return [set(ids[ids >= 0].tolist()) for ids in exact_search(self.vectors, self.queries, K, "L2", rows).ids]


def _steps(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the values' ranks, cut into STEPS of equal size."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values)] = np.arange(len(values))
    return ranks * STEPS // len(values)


def measure(index_type: str, rows: Rows, rounds: int) -> Measured:
    """Measure one type in a database of its own."""
    build, settings = TYPES[index_type]
    with tempfile.TemporaryDirectory() as folder, closing(roost.connect(f"{folder}/db")) as client:
        _fill(client, rows)
        index = client.prepare_index_params()
        index.add_index("vector", index_type=index_type, metric_type="L2", params=dict(build))
        started = time.perf_counter()
        client.create_index("rows", index)
        build_s = time.perf_counter() - started
        client.load_collection("rows")
        size = sum(file.stat().st_size for file in Path(folder).rglob("index-*.bin"))
        points = []
        for params in settings:
            found, speed = _search(client, rows.queries, params, "", rounds)
            points.append(Point(params, _recall(found, rows.right), speed))
            if points[-1].recall > 0.9995:
                break
        chosen = Measured(build_s, size, points, {}).chosen
        filters = {}
        for name, (column, below) in rows.filters.items():
            found, speed = _search(client, rows.queries, chosen.params, f"{column} < {below}", rounds)
            filters[name] = _recall(found, rows.right_under[name]), speed / chosen.queries_per_s
        return Measured(build_s, size, points, filters)


def _fill(client: Client, rows: Rows) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    for name in rows.columns:
        schema.add_field(name, DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=rows.vectors.shape[1])
    client.create_collection("rows", schema=schema)
    for start in range(0, len(rows.vectors), 5_000):
        numbers = range(start, min(start + 5_000, len(rows.vectors)))
        own = {name: column.tolist() for name, column in rows.columns.items()}
        client.insert(
            "rows", [{"id": i, "vector": rows.vectors[i], **{name: own[name][i] for name in own}} for i in numbers]
        )
    client.flush("rows")


def _search(
    client: Client, queries: npt.NDArray[np.float32], params: Mapping[str, Any], filter: str, rounds: int
) -> tuple[list[set[int]], float]:
    """Return what was found, and queries per second in the best of the rounds."""
    found: list[set[int]] = []
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        answers = [
            client.search("rows", data=query[None], limit=K, filter=filter, search_params={"params": dict(params)})
            for query in queries
        ]
        times.append(time.perf_counter() - started)
        found = [{int(hit["id"]) for hit in answer[0]} for answer in answers]
    return found, len(queries) / min(times[1:])


def _recall(found: Sequence[set[int]], right: Sequence[set[int]]) -> float:
    return sum(len(a & b) for a, b in zip(found, right, strict=True)) / sum(map(len, right))


def table(measured: Mapping[str, Measured]) -> str:
    """Return the Markdown table of docs/indexes.md."""
    filters = list(next(iter(measured.values())).filters)
    head = ["type", "build, s", "index, MB", "setting", "recall@10", "queries/s", *filters]
    lines = [head, ["---", *["---:"] * 2, "---", *["---:"] * (len(head) - 4)]]
    for name, one in measured.items():
        chosen = one.chosen
        setting = ", ".join(f"{key} {value}" for key, value in chosen.params.items())
        cells = [f"{share:.3f} / {speed:.2f}" for share, speed in one.filters.values()]
        size = f"{one.index_bytes / 1e6:.0f}"
        row = [name, f"{one.build_s:.1f}", size, setting, f"{chosen.recall:.3f}", f"{chosen.queries_per_s:,.0f}"]
        lines.append([*row, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(measured: Mapping[str, Measured], path: Path) -> None:
    """Draw recall against speed."""
    with mpl.rc_context({"svg.hashsalt": "roost", "legend.frameon": False}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        colours = mpl.colormaps["tab20"]
        for i, (name, one) in enumerate(measured.items()):
            shares, speeds = [p.recall for p in one.points], [p.queries_per_s for p in one.points]
            axes.plot(shares, speeds, marker="o", ms=3, lw=1, color=colours(i), label=name)
        axes.set(yscale="log", xlim=(0.7, 1.005), xlabel="recall@10", ylabel="queries per second, one per call")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower left", ncols=2, fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.indexes", description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", nargs="*", default=list(TYPES), choices=list(TYPES), metavar="TYPE")
    parser.add_argument("--plots", type=Path, default=REPOSITORY / "bench" / "results", help="folder of the plot")
    options = parser.parse_args()
    rows = Rows(options.rows, options.queries)
    measured = {}
    for index_type in options.types:
        measured[index_type] = measure(index_type, rows, options.rounds)
        print(table({index_type: measured[index_type]}).splitlines()[-1], flush=True)
    options.plots.mkdir(parents=True, exist_ok=True)
    plot(measured, options.plots / "indexes.svg")
    print("\n" + table(measured))


if __name__ == "__main__":
    main()
