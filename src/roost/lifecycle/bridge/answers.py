"""Answering by a bridge: candidates from the old collection, order by the new model."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.bridge.maps import SpaceMap
from roost.lifecycle.livetest import Id
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.traffic import Hit, Query, Target

if TYPE_CHECKING:
    from roost.client import Client

Fetch: TypeAlias = Callable[[Sequence[Id]], Sequence[Any]]
"""Gives the contents of records by their keys, in the keys' order; None for one that is gone."""

MAX_CANDIDATES = 10_000
MAX_KEPT_VECTORS = 100_000
"""Vectors of candidates that a bridge keeps, so that a record that is found often is embedded once."""


class Bridge:
    """A new model that answers from an old model's collection. Safe to use from any thread.

    A record's new vector is kept after its first use and is not seen to change: a bridge serves
    for the time of a backfill, and records that change meanwhile are embedded again by `forget`.
    """

    def __init__(
        self,
        client: Client,
        old: Target,
        new: Embedder,
        space_map: SpaceMap,
        fetch: Fetch,
        *,
        metric: str,
        key: str,
        n_candidates: int,
        model: str,
    ) -> None:
        """Join the parts.

        Args:
            old: the deployment whose collection is searched.
            new: the model that orders the candidates.
            space_map: from the new model's space into the old one's.
            metric: of both spaces: "L2", "IP" or "COSINE".
            key: name of the primary key.
            n_candidates: how many records the new model orders for each query.
            model: name and version of the new model, as in `digits/2`.
        Raises: InvalidArgument: the number of candidates is out of range.
        """
        if not 1 <= n_candidates <= MAX_CANDIDATES:
            raise InvalidArgument(f"n_candidates must be between 1 and {MAX_CANDIDATES}, not {n_candidates}")
        self.old = old
        self.model = model
        self.n_candidates = n_candidates
        self.map = space_map
        self._client = client
        self._new = new
        self._fetch = fetch
        self._metric = metric
        self._key = key
        self._lock = threading.Lock()
        self._kept: OrderedDict[Id, FloatArray] = OrderedDict()
        self._underway: list[set[Id]] = []

    def search(self, contents: Sequence[Any] | npt.NDArray[Any], query: Query) -> list[tuple[Hit, ...]]:
        """Return each content's nearest records by the new model among the candidates.

        Distances are those of the new model, in the metric's usual sign.

        Raises:
            InvalidArgument: more results are asked for than there are candidates.
            InvalidData: `fetch` gave another number of contents than it was asked for.
        """
        if query.limit > self.n_candidates:
            raise InvalidArgument(f"limit {query.limit} is more than the bridge's {self.n_candidates} candidates")
        vectors = embed_checked(self._new, contents)
        wide = replace(query, limit=self.n_candidates)
        found = traffic.search(self._client, self.old, self._metric, self._key, self.map.apply(vectors), wide)
        known = self._vectors(list(dict.fromkeys(hit.id for hits in found for hit in hits)))
        return [self._ordered(vector, hits, known, query.limit) for vector, hits in zip(vectors, found, strict=True)]

    def forget(self, keys: Sequence[Id]) -> None:
        """Embed these records again when they are found next."""
        with self._lock:
            for key in keys:
                self._kept.pop(key, None)
            for fetched in self._underway:
                fetched.difference_update(keys)

    def _ordered(
        self, vector: FloatArray, hits: Sequence[Hit], known: dict[Id, FloatArray], limit: int
    ) -> tuple[Hit, ...]:
        there = [hit for hit in hits if hit.id in known]
        if not there:
            return ()
        scores = _scores(self._metric, vector, np.stack([known[hit.id] for hit in there]))
        order = np.argsort(scores if self._metric == "L2" else -scores, kind="stable")[:limit]
        return tuple(replace(there[i], distance=float(scores[i])) for i in order)

    def _vectors(self, keys: Sequence[Id]) -> dict[Id, FloatArray]:
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
            for key in known:
                self._kept.move_to_end(key)
        missing = [key for key in keys if key not in known]
        return known | self._fresh(missing) if missing else known

    def _fresh(self, keys: Sequence[Id]) -> dict[Id, FloatArray]:
        # What is forgotten while it is fetched may have been fetched as it was before, and is not kept.
        valid = set(keys)
        with self._lock:
            self._underway.append(valid)
        try:
            vectors = self._embedded(keys)
            self._keep(vectors, valid)
        finally:
            with self._lock:
                self._underway = [other for other in self._underway if other is not valid]
        return vectors

    def _embedded(self, keys: Sequence[Id]) -> dict[Id, FloatArray]:
        contents = self._fetch(keys)
        if len(contents) != len(keys):
            raise InvalidData(f"fetch gave {len(contents)} contents for {len(keys)} keys")
        there = [(key, content) for key, content in zip(keys, contents, strict=True) if content is not None]
        if not there:
            return {}
        made = embed_checked(self._new, [content for _, content in there])
        return {key: vector for (key, _), vector in zip(there, made, strict=True)}

    def _keep(self, vectors: dict[Id, FloatArray], valid: set[Id]) -> None:
        with self._lock:
            self._kept |= {key: vector for key, vector in vectors.items() if key in valid}
            while len(self._kept) > MAX_KEPT_VECTORS:
                self._kept.popitem(last=False)

    def __repr__(self) -> str:
        return f"Bridge({self.model} over {self.old.deployment.name!r}, {self.n_candidates} candidates)"


def _scores(metric: str, query: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return (n,) scores as the vector engine gives them: squared distances, inner products or cosines."""
    if metric == "L2":
        return np.asarray(np.square(vectors - query).sum(axis=1), dtype=np.float32)
    products = vectors @ query
    if metric == "IP":
        return np.asarray(products, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return np.asarray(products / np.maximum(norms, 1e-12), dtype=np.float32)
