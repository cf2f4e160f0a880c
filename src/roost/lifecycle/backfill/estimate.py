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
from roost.lifecycle.deployments.space import VECTOR, Payload, build_index
from roost.lifecycle.models.embedders.base import Embedder

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
        seconds: for all records, building the index and loading it included; None where their number is not known.
        interval: seconds, in which the time lies with a confidence of 95 %, if all records are like the sample and the
            index takes the time that is expected.
        vector_bytes: the vectors.
        index_bytes: the index in memory, vectors included; None for a type whose size is not known.
        cost: of the records and the time; None without a price.
        index_seconds: what of `seconds` is for building the index and loading it.
    """

    n_records: int | None
    n_sampled: int
    records_per_s: float
    seconds: float | None
    interval: tuple[float, float] | None
    vector_bytes: int | None
    index_bytes: int | None
    cost: float | None
    index_seconds: float | None = None

    def __str__(self) -> str:
        if self.n_records is None or self.seconds is None or self.interval is None:
            return f"{self.records_per_s:,.0f} records/s, measured on {self.n_sampled:,}"
        low, high = self.interval
        cost = f", {self.cost:,.2f} in cost" if self.cost is not None else ""
        return (
            f"{self.n_records:,} records in {_figure(self.seconds)} s ({_figure(low)} to {_figure(high)}), "
            f"{_size(self.index_bytes or self.vector_bytes or 0)}{cost}"
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
    moments, indexed = _measured(client, payload, embedder, batches, index)
    seconds = [after - before for before, after in itertools.pairwise(moments[_N_WARM_UP - 1 :])]
    n_records = length_of(source)
    for_index = index_seconds(n_records, *indexed) if n_records is not None else 0.0
    return projected(seconds, size, n_records, len(records), embedder.dim, index, price, for_index)


def projected(
    seconds: Sequence[float],
    batch_size: int,
    n_records: int | None,
    n_sampled: int,
    dim: int,
    index: Mapping[str, Any],
    price: Price | None,
    for_index: float = 0.0,
) -> Estimate:
    """Return what the seconds of sampled batches say of all records.

    The interval is Student's for the sum of the batches to come, taken as independent of each other.

    Args:
        seconds: of each sampled batch; at least two.
        batch_size: records in each of them.
        for_index: seconds in which the index is built and loaded.
    Source: Hahn and Meeker 1991, "Statistical Intervals", section 4.7, prediction of a future mean.
    """
    mean, deviation = statistics.fmean(seconds), statistics.stdev(seconds)
    if n_records is None:
        return Estimate(None, n_sampled, batch_size / mean, None, None, None, None, None)
    n_batches = n_records / batch_size
    error = deviation * math.sqrt(1 / len(seconds) + 1 / max(n_batches, 1.0))
    half = _t_quantile(len(seconds) - 1) * error * n_batches
    total = mean * n_batches + for_index
    return Estimate(
        n_records=n_records,
        n_sampled=n_sampled,
        records_per_s=batch_size / mean,
        seconds=total,
        interval=(max(for_index, total - half), total + half),
        vector_bytes=n_records * dim * _FLOAT32_BYTES,
        index_bytes=index_bytes(n_records, dim, index),
        cost=price.of(n_records, total) if price is not None else None,
        index_seconds=for_index,
    )


def index_seconds(n_rows: int, small: tuple[int, float], large: tuple[int, float]) -> float:
    """Return the seconds that an index over all rows takes, from those of two indexes over some.

    What is taken to grow is n log n, as for a graph; a part of the time that is always the same is told from it.

    Args:
        small: rows of an index, and the seconds that it took.
        large: the same of an index over more rows.
    """
    (n_small, in_small), (n_large, in_large) = small, large
    grown = _work(n_large) - _work(n_small)
    slope = max(0.0, in_large - in_small) / grown if grown > 0 else 0.0
    return max(in_small, in_large + slope * (_work(n_rows) - _work(n_large)))


def _work(n_rows: int) -> float:
    return n_rows * math.log2(max(n_rows, 2))


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


def _measured(
    client: Client, payload: Payload, embedder: Embedder, batches: Sequence[Batch], index: Mapping[str, Any]
) -> tuple[list[float], tuple[tuple[int, float], tuple[int, float]]]:
    """Return when each batch was written; and rows and seconds of two indexes, over some of them and over all."""
    fields = [*payload.fields, FieldSchema(VECTOR, DataType.FLOAT_VECTOR, dim=embedder.dim)]
    schema = CollectionSchema(fields, enable_dynamic_field=True)
    collection, other = (f"estimate_{uuid4().hex[:12]}" for _ in range(2))
    written: list[int] = []
    some: list[dict[str, Any]] = []

    def write(batch: Batch, embedded: Embedded) -> float:
        rows = [
            {**batch.row(batch.kept[place]), VECTOR: vector}
            for place, vector in zip(embedded.positions, embedded.vectors, strict=True)
        ]
        if rows:
            client.upsert(collection, rows)
        written.append(len(rows))
        some.extend(rows if len(written) <= _N_WARM_UP else ())
        return time.perf_counter()

    moments: list[float] = []
    try:
        client.create_collection(collection, schema=schema)
        with closing(Threads(embedder, 1)) as runner:
            Pipeline(runner, write).run(iter(batches), moments.append)
        client.create_collection(other, schema=schema)
        if some:
            client.upsert(other, some)
        small = len(some), _seconds_of_index(client, other, payload, index)
        return moments, (small, (sum(written), _seconds_of_index(client, collection, payload, index)))
    finally:
        for made in (collection, other):
            if client.has_collection(made):
                client.drop_collection(made)


def _seconds_of_index(client: Client, collection: str, payload: Payload, index: Mapping[str, Any]) -> float:
    started = time.perf_counter()
    build_index(client, collection, payload, index)
    client.load_collection(collection)
    return time.perf_counter() - started


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _size(n_bytes: int) -> str:
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.0f} {unit}"
    return f"{n_bytes} B"


def _t_quantile(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, degrees))
