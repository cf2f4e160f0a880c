"""Types that are built in steps: a build ends at the step at which it is told to, and else is what it is in one go."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from roost.engine.index import narrow, sparse_rows
from roost.engine.index.building import Building, finished
from roost.engine.index.registry import resolve_index
from roost.errors import MissingDependency

N_ROWS, BLOCK = 1_000, 256
N_BLOCKS = -(-N_ROWS // BLOCK)
RNG = np.random.default_rng(5)
NUMBERS = RNG.standard_normal((N_ROWS, 16)).astype(np.float32)
BITS = RNG.integers(0, 256, (N_ROWS, 4), np.uint8)
SPARSE = sparse_rows.sparse_rows(
    [
        np.array([(i, RNG.random()) for i in np.sort(RNG.choice(300, 5, replace=False))], sparse_rows.PAIR).tobytes()
        for _ in range(N_ROWS)
    ]
)

# Type, rows, metric, parameters, and how often it asks: before it learns or sorts, at each block, and behind them.
CASES = [
    ("BIN_IVF_FLAT", BITS, "HAMMING", {"nlist": 8}, 1 + N_BLOCKS),
    ("BIN_IVF_FLAT", BITS, "JACCARD", {"nlist": 1}, 1 + N_BLOCKS),
    ("SPARSE_INVERTED_INDEX", SPARSE, "IP", {}, 2 + 2 * N_BLOCKS),
    ("SPARSE_WAND", SPARSE, "IP", {"drop_ratio_build": 0.3}, 2 + 2 * N_BLOCKS),
    ("NMSLIB_HNSW", NUMBERS, "L2", {"M": 16, "efConstruction": 100}, 2 + N_BLOCKS),
    ("NMSLIB_SW_GRAPH", NUMBERS, "IP", {"NN": 4}, 2 + N_BLOCKS),
    ("ANNOY", NUMBERS, "COSINE", {"n_trees": 3}, 1 + N_BLOCKS),
    ("ANNOY", NUMBERS, "IP", {"n_trees": 3}, 1 + N_BLOCKS),
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of `BLOCK` rows."""
    monkeypatch.setattr(narrow, "BLOCK_FLOATS", 1)
    monkeypatch.setattr(sparse_rows, "BLOCK_PAIRS", 5 * BLOCK)


def kind_of(index_type: str) -> Any:
    try:
        return resolve_index(index_type)
    except MissingDependency as error:
        pytest.skip(f"needs the extra: {error.message}")


def n_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(("index_type", "rows", "metric", "params", "n_steps"), CASES)
def test_a_build_ends_at_the_step_at_which_it_is_told_to(
    index_type: str, rows: Any, metric: str, params: dict[str, Any], n_steps: int
) -> None:
    kind, asked = kind_of(index_type), 0

    def stop_at(number: int) -> Callable[[], bool]:
        def stopping() -> bool:
            nonlocal asked
            asked += 1
            return asked == number

        return stopping

    n_open = n_files()
    for number in (1, 2, n_steps):
        asked = 0
        assert kind.build_until(rows, metric, params, stop_at(number)) is None
        assert asked == number
    assert n_files() == n_open
    asked = 0
    built = kind.build_until(rows, metric, params, stop_at(n_steps + 1))
    assert (built.n_rows, asked) == (N_ROWS, n_steps)
    queries = sparse_rows.sparse_rows([rows.row(i).tobytes() for i in range(20)]) if rows is SPARSE else rows[:20]
    answers = [index.search(queries, 5) for index in (built, kind.build(rows, metric, params))]
    if not index_type.startswith("NMSLIB"):  # whose graph differs from one build to the next
        assert np.array_equal(answers[0].ids, answers[1].ids)
    assert np.mean(answers[0].ids[:, 0] == np.arange(20)) >= (0.5 if metric == "IP" else 0.9)


def test_steps() -> None:
    ended = []

    def building() -> Building[str]:
        try:
            yield
            yield
        finally:
            ended.append(True)
        return "built"

    assert finished(building(), lambda: False) == "built"
    assert finished(building(), lambda: True) is None
    assert len(ended) == 2
