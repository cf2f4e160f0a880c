"""Reading a collection through the client alone: page by page in the order of the keys, and exact neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roost.errors import Closed
from roost.lifecycle.deployments.space import VECTOR
from roost.lifecycle.models.embedders.base import FloatArray

if TYPE_CHECKING:
    from roost.client import Client

_PAGE_BYTES = 4_000_000
_MAX_PAGE_ROWS = 1_000


def pages(
    client: Client,
    collection: str,
    key: str,
    dim: int,
    filter: str = "",
    max_rows: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[list[Any], FloatArray]]:
    """Give keys and vectors, page by page in the order of the keys.

    Rows written meanwhile may be among them or not.

    Args:
        key: the name of the primary key.
        max_rows: stop after so many.
        should_stop: asked before every page.
    Raises: Closed: it should.
    """
    size = max(16, min(_MAX_PAGE_ROWS, _PAGE_BYTES // (4 * dim)))
    last: Any = None
    n_given = 0
    while max_rows is None or n_given < max_rows:
        after = "" if last is None else f"{key} > {json.dumps(last)}"
        chosen = f"({filter}) and {after}" if filter and after else filter or after
        if should_stop():
            raise Closed("the workspace is closed")
        limit = size if max_rows is None else min(size, max_rows - n_given)
        rows = client.query(
            collection, filter=chosen, limit=limit, output_fields=[key, VECTOR], consistency_level="Strong"
        )
        if not rows:
            return
        keys = [row[key] for row in rows]
        last = max(keys)
        n_given += len(keys)
        yield keys, np.asarray([row[VECTOR] for row in rows], dtype=np.float32)


def distances(queries: FloatArray, vectors: FloatArray, metric: str) -> npt.NDArray[np.float32]:
    """Return (n_queries, n_vectors) where smaller is closer: squared L2, or the negated product or cosine."""
    if metric == "COSINE":
        queries, vectors = _normalised(queries), _normalised(vectors)
    products: npt.NDArray[np.float32] = queries @ vectors.T
    if metric != "L2":
        return -products
    squares = np.einsum("ij,ij->i", vectors, vectors)[None, :] + np.einsum("ij,ij->i", queries, queries)[:, None]
    return np.asarray(squares - 2.0 * products, dtype=np.float32)


def _normalised(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1.0, norms), dtype=np.float32)


class Nearest:
    """The nearest rows of some queries among all pages so far."""

    def __init__(self, queries: FloatArray, limits: Sequence[int], metric: str) -> None:
        """Begin.

        Args:
            queries: (n_queries, dim).
            limits: how many neighbours of each.
        """
        self._queries = queries
        self._limits = limits
        self._metric = metric
        self._found: list[list[tuple[float, Any]]] = [[] for _ in limits]

    def add(self, keys: Sequence[Any], vectors: FloatArray) -> None:
        """Take a page in."""
        away = distances(self._queries, vectors, self._metric)
        for place, limit in enumerate(self._limits):
            row = away[place]
            near = np.argpartition(row, limit - 1)[:limit] if limit < len(row) else np.arange(len(row))
            found = [*self._found[place], *((float(row[i]), keys[i]) for i in near)]
            found.sort(key=lambda pair: pair[0])
            self._found[place] = found[:limit]

    def keys(self, place: int) -> list[Any]:
        """Return the keys of a query's neighbours, nearest first."""
        return [key for _, key in self._found[place]]
