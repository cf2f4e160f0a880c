"""The work that every system is given, and the folder of .npy files that carries it to the workers."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from bench.arrays import FloatArray, IntArray
from bench.filters import COLUMNS, KINDS, SIDES, FilterCase, draw_asked, draw_windows, places_on_axis

IDX_HEADER_BYTES = 16
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

STEPS = ("queries", "recall", "filters", "reopen", "mixed")
"""What may be measured of a system once the rows are in it."""


@dataclass(frozen=True)
class Plan:
    """How much is measured, and with which parameters.

    Attributes:
        steps: of STEPS.
        build: parameters of the HNSW graph.
        query: parameters of its search.
        efs: the settings that trade speed for recall in the step `recall`.
        keeps: the shares of the rows that the filters keep.
        rounds: passes over the queries; systems of one worker take turns within a round.
        budget_s: a measurement starts no further round once it has taken so long.
        quiet_s: how long two threads search before rows come in.
        mixed_s: how long they search while rows come in, batch_rows a second; peers for peer_mixed_s.
    """

    steps: tuple[str, ...] = STEPS
    rows: int = 60_000
    queries: int = 1_000
    filtered_queries: int = 200
    single_rows: int = 500
    batch_rows: int = 1_000
    k: int = 10
    build: tuple[tuple[str, int], ...] = (("M", 16), ("efConstruction", 200))
    query: tuple[tuple[str, int], ...] = (("ef", 32),)
    efs: tuple[int, ...] = (10, 16, 32, 64, 128)
    keeps: tuple[float, ...] = (0.001, 0.01, 0.1, 0.5)
    rounds: int = 7
    budget_s: float = 12.0
    quiet_s: float = 10.0
    mixed_s: float = 30.0
    peer_mixed_s: float = 15.0
    seed: int = 7


@dataclass(frozen=True)
class Work:
    """Rows, queries and filters.

    Attributes:
        vectors: (rows, dim) float32; row i has the primary key i.
        queries: (queries, dim) float32.
        columns: (len(COLUMNS), rows) int64, each an order of 0 to rows - 1: what filters look at.
        asked: (len(SIDES), filtered_queries) int64, the queries that are asked under the filters of each side.
        windows: (len(SIDES), len(keeps), 1 + (rounds + 1) * filtered_queries, 2) int64; the first of each share is
            the filter that is repeated, the others are used once each.
    """

    plan: Plan
    vectors: FloatArray
    queries: FloatArray
    columns: IntArray
    asked: IntArray
    windows: IntArray

    def column(self, name: str) -> IntArray:
        found: IntArray = self.columns[COLUMNS.index(name)]
        return found

    def columns_of(self, part: slice) -> Mapping[str, IntArray]:
        """Return the columns of some rows, by name."""
        return {name: column[part] for name, column in zip(COLUMNS, self.columns, strict=True)}

    def filter_cases(self) -> list[FilterCase]:
        """Return what is asked under filters, in order."""
        return [
            FilterCase(side, keep, kind, self.asked[i], self._windows_of(i, share, kind))
            for i, side in enumerate(SIDES)
            for share, keep in enumerate(self.plan.keeps)
            for kind in KINDS
        ]

    def _windows_of(self, side: int, share: int, kind: str) -> IntArray:
        windows, shape = self.windows[side, share], (self.plan.rounds + 1, self.plan.filtered_queries, 2)
        return np.broadcast_to(windows[0], shape) if kind == "repeated" else windows[1:].reshape(shape)


def make_work(vectors: FloatArray, queries: FloatArray, plan: Plan) -> Work:
    """Cut the data to the plan's size and draw the columns and the filters."""
    vectors, queries = vectors[: plan.rows], queries[: plan.queries]
    plan = replace(
        plan,
        rows=len(vectors),
        queries=len(queries),
        filtered_queries=min(plan.filtered_queries, len(queries)),
        single_rows=min(plan.single_rows, len(vectors)),
    )
    rng = np.random.default_rng(plan.seed)
    places, query_places = places_on_axis(vectors, queries)
    asked = draw_asked(query_places, plan.filtered_queries)
    windows = draw_windows(asked, query_places, plan.rows, plan.keeps, plan.rounds + 1, rng)
    return Work(plan, vectors, queries, np.stack([rng.permutation(plan.rows), places]), asked, windows)


ARRAYS = ("vectors", "queries", "columns", "asked", "windows")


def save_work(work: Work, folder: Path) -> None:
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(work, name))
    (folder / "plan.json").write_text(json.dumps(asdict(work.plan)))


def load_work(folder: Path) -> Work:
    raw = json.loads((folder / "plan.json").read_text())
    pairs = {name: tuple((key, value) for key, value in raw[name]) for name in ("build", "query")}
    lists = {name: tuple(raw[name]) for name in ("steps", "efs", "keeps")}
    return Work(Plan(**{**raw, **pairs, **lists}), *(np.load(folder / f"{name}.npy") for name in ARRAYS))


def fashion_mnist() -> tuple[FloatArray, FloatArray]:
    """Return Fashion-MNIST's training images (60,000 x 784) and test images (10,000 x 784) as float32.

    Source: Xiao, Rasul and Vollgraf 2017; packaged by Debian as dataset-fashion-mnist.
    Raises: SystemExit: the data set is not installed.
    """
    folder = Path(os.environ.get("FASHION_MNIST", DEBIAN_FOLDER))
    files = [folder / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        raise SystemExit(
            f"Fashion-MNIST is not installed: {missing[0]} is missing. On Debian and Ubuntu: "
            "apt install dataset-fashion-mnist. Elsewhere: put its .gz files in a folder and set FASHION_MNIST to it."
        )
    train, test = (
        np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=IDX_HEADER_BYTES) for path in files
    )
    return train.reshape(-1, 784).astype(np.float32), test.reshape(-1, 784).astype(np.float32)
