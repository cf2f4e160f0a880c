"""How long a backfill will take, and what it will need, measured on a sample of its records.

The sample really goes through the same pipeline, into a collection of its own that is dropped afterwards. Building the
index comes after a backfill and grows otherwise than by the record, so it is not part of the time.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pymilvus import CollectionSchema, DataType, FieldSchema

from roost.errors import InvalidArgument
from roost.lifecycle.backfill.batches import Batch, Embedded, batch_of
from roost.lifecycle.backfill.pipeline import Pipeline, Threads
from roost.lifecycle.backfill.sources import Records, Source, length_of
from roost.lifecycle.embedders.base import Embedder
from roost.lifecycle.space import VECTOR, Payload

if TYPE_CHECKING:
    from roost.client import Client

CONFIDENCE = 0.95
_FLOAT32_BYTES = 4
_LINK_BYTES = 4
_N_WARM_UP = 1
"""Batches that are not timed: a model's first call and an engine's first write are slower."""

_MIN_BATCHES = 3


@dataclass(frozen=True, slots=True)
class Price:
    """What embedding costs, in any currency: for the records, for the time, or both."""

    per_1000_records: float = 0.0
    per_hour: float = 0.0

    def of(self, n_records: int, seconds: float) -> float:
        """Return the price of a number of records that take a time."""
        return n_records / 1000 * self.per_1000_records + seconds / 3600 * self.per_hour


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a backfill will take.

    Attributes:
        n_records: records in all; None where the source does not know.
        n_sampled: records that were embedded and written to measure.
        records_per_s: embedding and writing together.
        seconds: for all records, without building the index; None where their number is not known.
        interval: seconds, in which the time lies with a confidence of 95 %, if all records are like the sample.
        vector_bytes: the vectors.
        index_bytes: the index in memory, vectors included; None for a type whose size is not known.
        cost: of the records and the time; None without a price.
    """

    n_records: int | None
    n_sampled: int
    records_per_s: float
    seconds: float | None
    interval: tuple[float, float] | None
    vector_bytes: int | None
    index_bytes: int | None
    cost: float | None

    def __str__(self) -> str:
        if self.n_records is None or self.seconds is None or self.interval is None:
            return f"{self.records_per_s:,.0f} records/s, measured on {self.n_sampled:,}"
        low, high = self.interval
        cost = f", {self.cost:,.2f} in cost" if self.cost is not None else ""
        return (
            f"{self.n_records:,} records in {self.seconds:,.0f} s ({low:,.0f} to {high:,.0f}), "
            f"{(self.index_bytes or self.vector_bytes or 0) / 2**20:,.0f} MiB{cost}"
        )


def estimate(
    client: Client,
    payload: Payload,
    embedder: Embedder,
    source: Records,
    index: Mapping[str, Any],
    sample: int,
    batch_size: int,
    price: Price | None,
) -> Estimate:
    """Measure a backfill on the first records of its source.

    Args:
        client: of the engine that would hold the vectors; a collection is made there and dropped.
        sample: records to take. At least four batches are needed; the batches are made smaller for that.
    Raises: InvalidArgument: the sample is too small, or there are fewer than four records.
    """
    if sample < _N_WARM_UP + _MIN_BATCHES:
        raise InvalidArgument(f"sample must be at least {_N_WARM_UP + _MIN_BATCHES} records, not {sample}")
    if not isinstance(source, (Source, Sequence)):
        raise InvalidArgument("an iterator can be read only once: estimate with a sequence or a source")
    records = list(itertools.islice(source.records() if isinstance(source, Source) else iter(source), sample))
    if len(records) < _N_WARM_UP + _MIN_BATCHES:
        raise InvalidArgument(f"{len(records)} records are too few to measure")
    size = min(batch_size, len(records) // (_N_WARM_UP + _MIN_BATCHES))
    batches = [
        batch_of(records[start : start + size], payload.key) for start in range(0, len(records) - size + 1, size)
    ]
    moments = _moments(client, payload, embedder, batches)
    seconds = [after - before for before, after in itertools.pairwise(moments[_N_WARM_UP - 1 :])]
    return projected(seconds, size, length_of(source), len(records), embedder.dim, index, price)


def projected(
    seconds: Sequence[float],
    batch_size: int,
    n_records: int | None,
    n_sampled: int,
    dim: int,
    index: Mapping[str, Any],
    price: Price | None,
) -> Estimate:
    """Return what the seconds of sampled batches say of all records.

    The interval is Student's for the sum of the batches to come, taken as independent of each other.

    Args:
        seconds: of each sampled batch; at least two.
        batch_size: records in each of them.
    Source: Hahn and Meeker 1991, "Statistical Intervals", section 4.7, prediction of a future mean.
    """
    mean, deviation = statistics.fmean(seconds), statistics.stdev(seconds)
    if n_records is None:
        return Estimate(None, n_sampled, batch_size / mean, None, None, None, None, None)
    n_batches = n_records / batch_size
    error = deviation * math.sqrt(1 / len(seconds) + 1 / max(n_batches, 1.0))
    half = _t_quantile(len(seconds) - 1) * error * n_batches
    total = mean * n_batches
    return Estimate(
        n_records=n_records,
        n_sampled=n_sampled,
        records_per_s=batch_size / mean,
        seconds=total,
        interval=(max(0.0, total - half), total + half),
        vector_bytes=n_records * dim * _FLOAT32_BYTES,
        index_bytes=index_bytes(n_records, dim, index),
        cost=price.of(n_records, total) if price is not None else None,
    )


def index_bytes(n_rows: int, dim: int, index: Mapping[str, Any]) -> int | None:
    """Return the memory of an index over float32 vectors; None for a type that is not known here.

    Source: Faiss's wiki, "Guidelines to choose an index": HNSW takes 4 d + 2 M * 4 bytes a vector.
    """
    vectors = n_rows * dim * _FLOAT32_BYTES
    kind = index.get("index_type")
    if kind == "FLAT":
        return vectors
    if kind == "HNSW":
        return vectors + n_rows * 2 * int(index.get("M", 16)) * _LINK_BYTES
    if kind == "IVF_FLAT":
        return vectors + int(index.get("nlist", 128)) * dim * _FLOAT32_BYTES
    return None


def _moments(client: Client, payload: Payload, embedder: Embedder, batches: Sequence[Batch]) -> list[float]:
    """Return when each batch was written."""
    collection = f"estimate_{uuid4().hex[:12]}"
    fields = [*payload.fields, FieldSchema(VECTOR, DataType.FLOAT_VECTOR, dim=embedder.dim)]
    client.create_collection(collection, schema=CollectionSchema(fields, enable_dynamic_field=True))

    def write(batch: Batch, embedded: Embedded) -> float:
        rows = [
            {**batch.row(batch.kept[place]), VECTOR: vector}
            for place, vector in zip(embedded.positions, embedded.vectors, strict=True)
        ]
        if rows:
            client.upsert(collection, rows)
        return time.perf_counter()

    moments: list[float] = []
    try:
        with closing(Threads(embedder, 1)) as runner:
            Pipeline(runner, write).run(iter(batches), moments.append)
    finally:
        client.drop_collection(collection)
    return moments


def _t_quantile(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, degrees))
