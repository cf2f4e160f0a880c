"""Reference samples that windows are compared with, kept as NumPy files named by the digest of their content.

Steps of `save`: the file is written beside its place and synced, renamed into its place, and then a row names it.
A crash before the row leaves a file that nothing names; the same content takes it over.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import Corruption, InvalidArgument
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.monitoring_tables import BaselineRow

QUERIES, VECTORS, TRAINING, DISTANCES, PREDICTIONS = "queries", "vectors", "training", "distances", "predictions"
KINDS = (QUERIES, VECTORS, TRAINING, DISTANCES, PREDICTIONS)

SEASONAL = (QUERIES, PREDICTIONS)
"""Those of which each season may have one of its own, with the season in the name, as in "queries@mon-13h"."""

MAX_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Baseline:
    """A reference sample.

    Attributes:
        kind: "queries" (query vectors, or rows to predict), "vectors" (stored vectors), "training" (the training
            snapshot as the model sees it), "distances" (of first hits) or "predictions" (classes or numbers); with
            the season behind it where it is of one season.
        origin: "given", "first traffic" or "collection".
        digest: of the file.
    """

    endpoint: str
    deployment: str
    kind: str
    origin: str
    digest: str
    n_rows: int
    dim: int
    created_at: str


class Baselines:
    """The reference samples of a workspace. Safe to use from any thread."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._directory = directory

    def save(
        self,
        endpoint: str,
        deployment: str,
        kind: str,
        rows: npt.NDArray[Any],
        origin: str,
        noted: Callable[[Session, Baseline], None] | None = None,
    ) -> Baseline:
        """Keep a sample; it replaces the last one of its kind.

        Args:
            rows: (n, dim), or (n,) for distances and predictions; of more than MAX_ROWS a random part is kept.
            noted: called in the transaction that keeps the sample.
        Raises: InvalidArgument: there are no rows, or they are neither numbers nor text.
        """
        check_kind(kind.partition("@")[0])
        data = np.ascontiguousarray(rows)
        if data.ndim not in (1, 2) or len(data) == 0 or data.dtype.kind not in "fiubU":
            raise InvalidArgument(f"a baseline is one or more rows of numbers, not {data.dtype} of shape {data.shape}")
        if len(data) > MAX_ROWS:
            data = data[np.sort(np.random.default_rng(0).choice(len(data), MAX_ROWS, replace=False))]
        buffer = io.BytesIO()
        np.save(buffer, data, allow_pickle=False)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        self._write(digest, buffer.getvalue())
        dim = data.shape[1] if data.ndim == 2 else 1
        baseline = Baseline(endpoint, deployment, kind, origin, f"sha256:{digest}", len(data), dim, utc_now())
        with self._store.write() as session:
            if noted is not None:
                noted(session, baseline)
            session.add(BaselineRow(**{name: getattr(baseline, name) for name in baseline.__slots__}))
        return baseline

    def latest(self, endpoint: str) -> dict[tuple[str, str], Baseline]:
        """Return the last sample of each deployment and kind."""
        query = select(BaselineRow).where(BaselineRow.endpoint == endpoint).order_by(BaselineRow.id)
        with self._store.read() as session:
            rows = list(session.scalars(query))
        found = [Baseline(**{name: getattr(row, name) for name in Baseline.__slots__}) for row in rows]
        return {(baseline.deployment, baseline.kind): baseline for baseline in found}

    def load(self, baseline: Baseline) -> npt.NDArray[Any]:
        """Return a sample's rows.

        Raises: Corruption: the file is gone or is not what was saved.
        """
        path = self._path(baseline.digest.removeprefix("sha256:"))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Corruption(
                f"the baseline {baseline.kind!r} of {baseline.endpoint!r} cannot be read: {error}"
            ) from error
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != baseline.digest:
            raise Corruption(f"the file {path.name} of a baseline of {baseline.endpoint!r} was changed")
        rows: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        return rows

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest}.npy"

    def _write(self, digest: str, content: bytes) -> None:
        path = self._path(digest)
        if path.is_file():
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{uuid4().hex}.partial")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def named(kind: str, season: str) -> str:
    """Return what the baseline of a season is called; there are seasons of some kinds alone."""
    return f"{kind}@{season}" if season and kind in SEASONAL else kind


def compared(known: Mapping[tuple[str, str], Baseline], deployment: str, kind: str, season: str) -> Baseline | None:
    """Return what the traffic of a season is compared with: a baseline that was given, or else the season's own."""
    given = known.get((deployment, kind))
    if given is not None and given.origin == "given":
        return given
    return known.get((deployment, named(kind, season)))


def check_kind(kind: str) -> None:
    """Raises: InvalidArgument: there is no such kind of baseline."""
    if kind not in KINDS:
        raise InvalidArgument(f"baseline {kind!r} is not known; use one of {', '.join(KINDS)}")
