"""The recall of the live index, measured on recent queries: what the endpoint finds against what is there.

Each query is searched as the endpoint searches, and exactly, by reading the collection page by page; both through
the client interface alone. Of a collection too large for that, the reference is a wide search of the same index:
what that misses too is not seen, so the figure is an upper bound and says so.

Rows that are written between the two searches may count as missed. Equal distances at the end of the list are
settled by key on one side and by the index on the other, so recall with many exact duplicates reads low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roost.lifecycle.livetest import Id
from roost.lifecycle.models.embedders.base import FloatArray
from roost.lifecycle.monitor.exact import Nearest, pages
from roost.lifecycle.monitor.summary import Moments
from roost.lifecycle.serving import traffic

if TYPE_CHECKING:
    from roost.client import Client
    from roost.lifecycle.serving.traffic import Query, Target

_Z_95 = 1.959963984540054

_WIDE: Mapping[str, int] = {"ef": 4_096, "nprobe": 4_096}
"""The search parameters that widen a search, by name; an index takes the one it knows."""

_WIDENED_BY: Mapping[str, str] = {"HNSW": "ef", "IVF": "nprobe", "SCANN": "nprobe", "BIN_IVF": "nprobe"}


class Asked(NamedTuple):
    """A query that was sampled: its vector (dim,) and what it asked for."""

    vector: FloatArray
    query: Query


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall of one sample of queries.

    Attributes:
        shares: of each query, the share of its true neighbours that was found.
        reference: "exact", or "wide": an upper bound.
    """

    shares: Moments
    reference: str


def measure(
    client: Client,
    target: Target,
    metric: str,
    key: str,
    asked: Sequence[Asked],
    n_rows: int,
    max_rows: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Recall:
    """Measure recall.

    Args:
        n_rows: in the collection.
        max_rows: read at most so many rows in all; where the collection holds more, compare with a wide search.
        should_stop: asked before every page.
    Raises: Closed: it should.
    """
    by_filter: dict[str, list[Asked]] = {}
    for one in asked:
        by_filter.setdefault(one.query.filter, []).append(one)
    is_exact = n_rows * len(by_filter) <= max_rows
    shares: list[float] = []
    for group in by_filter.values():
        if is_exact:
            truth = _exact(client, target, metric, key, group, should_stop)
        else:
            truth = [_search(client, target, metric, key, one, _wide(target, one.query.limit)) for one in group]
        found = [_search(client, target, metric, key, one, {}) for one in group]
        shares += [len(set(own) & set(true)) / len(true) for own, true in zip(found, truth, strict=True) if true]
    return Recall(Moments.of(shares), "exact" if is_exact else "wide")


def interval(shares: Moments, z: float = _Z_95) -> tuple[float, float]:
    """Return a 95 % interval of the mean share.

    It is Wilson's for as many coin tosses as there were queries. The variance of a share between 0 and 1 is at most
    that of a coin of the same mean, so the interval is wide enough, rather too wide.

    Source: Wilson 1927; Bhatia and Davis 2000 for the bound of the variance.
    """
    n, mean = shares.n, shares.mean
    if n == 0 or mean is None:
        return 0.0, 1.0
    middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(max(0.0, mean * (1 - mean) / n) + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, min(mean, middle - half)), min(1.0, max(mean, middle + half))


def _exact(
    client: Client, target: Target, metric: str, key: str, group: Sequence[Asked], should_stop: Callable[[], bool]
) -> list[list[Id]]:
    queries = np.stack([one.vector for one in group]).astype(np.float32)
    nearest = Nearest(queries, [one.query.limit for one in group], metric)
    deployment, filter = target.deployment, group[0].query.filter
    for keys, vectors in pages(client, deployment.collection, key, deployment.dim, filter, None, should_stop):
        nearest.add(keys, vectors)
    return [nearest.keys(place) for place in range(len(group))]


def _search(client: Client, target: Target, metric: str, key: str, asked: Asked, more: Mapping[str, int]) -> list[Id]:
    query = replace(asked.query, output_fields=(), search_params={**asked.query.search_params, **more})
    [hits] = traffic.search(client, target, metric, key, asked.vector[None, :], query)
    return [hit.id for hit in hits]


def _wide(target: Target, limit: int) -> dict[str, int]:
    index = target.deployment.index
    kind = str(index.get("index_type", ""))
    for prefix, name in _WIDENED_BY.items():
        if kind.startswith(prefix):
            most = int(index.get("nlist", _WIDE[name])) if name == "nprobe" else _WIDE[name]
            return {name: max(limit, min(_WIDE[name], most))}
    return {}
