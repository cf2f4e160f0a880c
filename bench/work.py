"""The work that every system is given, and the folder of .npy files that carries it to the workers."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
Window: TypeAlias = tuple[int, int]
"""A filter that keeps the rows with low <= rank < high."""

IDX_HEADER_BYTES = 16
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Plan:
    """How much is measured, and with which parameters.

    Attributes:
        build: parameters of the HNSW graph.
        query: parameters of its search.
        keeps: the shares of the rows that the filters keep.
        rounds: passes over the queries; systems of one worker take turns within a round.
        budget_s: a measurement starts no further round once it has taken so long.
    """

    rows: int = 60_000
    queries: int = 1_000
    filtered_queries: int = 200
    single_rows: int = 500
    batch_rows: int = 1_000
    k: int = 10
    build: tuple[tuple[str, int], ...] = (("M", 16), ("efConstruction", 200))
    query: tuple[tuple[str, int], ...] = (("ef", 32),)
    keeps: tuple[float, ...] = (0.01, 0.1, 0.5)
    rounds: int = 7
    budget_s: float = 12.0
    seed: int = 7


@dataclass(frozen=True)
class Work:
    """Rows, queries and filters.

    Attributes:
        vectors: (rows, dim) float32; row i has the primary key i.
        queries: (queries, dim) float32.
        ranks: (rows,) int64, a random order of 0 to rows - 1: the column that filters look at.
        windows: (len(keeps), 1 + (rounds + 1) * filtered_queries, 2) int64; the first of each share is the
            filter that is repeated, the others are used once each.
    """

    plan: Plan
    vectors: FloatArray
    queries: FloatArray
    ranks: IntArray
    windows: IntArray

    def fresh(self, share: int, round_number: int) -> IntArray:
        """Return the filters ((filtered_queries, 2)) that one round uses once; the round after the last warms up."""
        n = self.plan.filtered_queries
        return self.windows[share, 1 + round_number * n : 1 + (round_number + 1) * n]


def make_work(vectors: FloatArray, queries: FloatArray, plan: Plan) -> Work:
    """Cut the data to the plan's size and draw the ranks and the filters."""
    vectors, queries = vectors[: plan.rows], queries[: plan.queries]
    plan = replace(
        plan,
        rows=len(vectors),
        queries=len(queries),
        filtered_queries=min(plan.filtered_queries, len(queries)),
        single_rows=min(plan.single_rows, len(vectors)),
    )
    rng = np.random.default_rng(plan.seed)
    widths = np.array([max(1, round(keep * plan.rows)) for keep in plan.keeps])
    n_windows = 1 + (plan.rounds + 1) * plan.filtered_queries
    lows = rng.integers(0, plan.rows - widths + 1, size=(n_windows, len(widths)))
    windows = np.stack([lows, lows + widths], axis=-1).transpose(1, 0, 2)
    return Work(plan, vectors, queries, rng.permutation(plan.rows), np.ascontiguousarray(windows))


def save_work(work: Work, folder: Path) -> None:
    for name in ("vectors", "queries", "ranks", "windows"):
        np.save(folder / f"{name}.npy", getattr(work, name))
    (folder / "plan.json").write_text(json.dumps(asdict(work.plan)))


def load_work(folder: Path) -> Work:
    raw = json.loads((folder / "plan.json").read_text())
    pairs = {name: tuple((key, value) for key, value in raw[name]) for name in ("build", "query")}
    plan = Plan(**{**raw, **pairs, "keeps": tuple(raw["keeps"])})
    return Work(plan, *(np.load(folder / f"{name}.npy") for name in ("vectors", "queries", "ranks", "windows")))


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
