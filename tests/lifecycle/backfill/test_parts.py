"""The parts of a backfill that decide, called with plain values."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from roost.errors import InvalidArgument, InvalidData, WorkspaceError
from roost.lifecycle.backfill.batches import Batch, Embedded, batch_of, embed_each, store_each
from roost.lifecycle.backfill.estimate import Price, index_bytes, index_seconds, projected
from roost.lifecycle.backfill.job import Options
from roost.lifecycle.backfill.pipeline import Pipeline, Runner, Threads
from roost.lifecycle.backfill.rate import TokenBucket
from roost.lifecycle.backfill.verification import Reservoir, check_passed, compare
from roost.lifecycle.models.embedders.base import Embedder, FloatArray


class Doubler(Embedder):
    """Gives (x, 2 x) for a number x, and refuses what is negative; counts its calls."""

    kind = "doubler"
    fingerprint = "sha256:doubler"
    dim = 2

    def __init__(self) -> None:
        self.n_calls = 0

    def embed(self, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
        self.n_calls += 1
        if any(x < 0 for x in batch):
            raise InvalidData("negative")
        return np.array([[x, 2 * x] for x in batch], np.float32)

    def save(self, directory: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Embedder:
        raise NotImplementedError


def records(*contents: float) -> list[dict[str, Any]]:
    return [{"id": i, "content": x} for i, x in enumerate(contents)]


def test_one_bad_content_of_many_costs_a_few_calls_and_takes_nothing_with_it() -> None:
    model = Doubler()
    contents = [float(x) for x in range(256)]
    contents[100] = -1.0
    found = embed_each(model, contents)
    assert model.n_calls <= 2 * 8 + 1
    assert found.reasons == {100: "negative"}
    assert list(found.positions) == [x for x in range(256) if x != 100]
    np.testing.assert_array_equal(found.vectors[:, 0], found.positions)


def test_only_bad_contents_give_reasons_alone() -> None:
    found = embed_each(Doubler(), [-1.0, -2.0, -3.0])
    assert found.vectors.shape == (0, 2) and sorted(found.reasons) == [0, 1, 2]


def test_records_without_key_or_content_are_not_embedded() -> None:
    batch = batch_of([{"id": 1, "content": 1.0, "label": 2}, {"id": 2}, {"content": 3.0}], "id")
    assert batch.contents == [1.0] and batch.row(0) == {"id": 1, "label": 2}
    assert batch.reasons == {1: "the record has no content", 2: "the record has no id"}


def test_rows_that_the_engine_refuses_are_found_by_halving() -> None:
    stored: list[int] = []

    def store(positions: Sequence[int]) -> None:
        if 5 in positions:
            raise InvalidData("five")
        stored.extend(positions)

    assert store_each(store, list(range(16)), (InvalidData,)) == {5: "five"}
    assert sorted(stored) == [x for x in range(16) if x != 5]
    assert store_each(store, [], (InvalidData,)) == {}


def batches(n_batches: int, size: int = 4) -> Iterator[Batch]:
    for number in range(n_batches):
        yield batch_of([{"id": number * size + i, "content": 1.0} for i in range(size)], "id")


def test_batches_are_written_in_their_order_whoever_is_embedded_first() -> None:
    class Backwards(Runner):
        """Finishes the first batch only when the second is there."""

        n_workers = 2

        def __init__(self) -> None:
            self.held: list[tuple[Future[Embedded], Batch]] = []

        def submit(self, batch: Batch) -> Future[Embedded]:
            future: Future[Embedded] = Future()
            self.held.append((future, batch))
            if len(self.held) == 2:
                for waiting, held in reversed(self.held):
                    waiting.set_result(embed_each(Doubler(), held.contents))
                self.held.clear()
            return future

        def close(self) -> None: ...

    written: list[int] = []
    Pipeline(Backwards(), lambda batch, _: batch.records[0]["id"]).run(batches(6), written.append)
    assert written == [0, 4, 8, 12, 16, 20]


def test_reading_embedding_and_writing_overlap() -> None:
    """The writer waits for a batch to be embedded that is read after it: one after the other this would never end."""
    embedded = [threading.Event() for _ in range(3)]
    numbers = itertools.count()

    class Watched(Doubler):
        def embed(self, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
            vectors = super().embed(batch)
            embedded[next(numbers)].set()
            return vectors

    def write(batch: Batch, _: Embedded) -> bool:
        return embedded[min(batch.records[0]["id"] // 4 + 1, 2)].wait(timeout=30)

    seen: list[bool] = []
    with closing(Threads(Watched(), 1)) as runner:
        Pipeline(runner, write).run(batches(3), seen.append)
    assert seen == [True, True, True]


def test_what_was_read_before_an_error_is_written() -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(3)
        raise KeyboardInterrupt

    written: list[int] = []
    with closing(Threads(Doubler(), 1)) as runner, pytest.raises(KeyboardInterrupt):
        Pipeline(runner, lambda batch, _: batch.records[0]["id"]).run(broken(), written.append)
    assert written == [0, 4, 8]


def test_an_error_of_the_writer_ends_the_reading() -> None:
    taken: list[int] = []

    def counted() -> Iterator[Batch]:
        for number, batch in enumerate(batches(1_000)):
            taken.append(number)
            yield batch

    def write(batch: Batch, _: Embedded) -> None:
        raise OSError("the disk is gone")

    with closing(Threads(Doubler(), 1)) as runner, pytest.raises(OSError, match="gone"):
        Pipeline(runner, write).run(counted(), lambda _: None)
    assert len(taken) < 20


def test_an_error_of_whoever_is_told_ends_it_too() -> None:
    def told(_: object) -> None:
        raise LookupError("no")

    with closing(Threads(Doubler(), 1)) as runner, pytest.raises(LookupError):
        Pipeline(runner, lambda *_: 1).run(batches(5), told)


def test_a_bucket_lets_a_second_through_at_once_and_the_rate_after_it() -> None:
    bucket = TokenBucket(100.0)
    assert bucket.take(100, 5.0) == 0.0
    assert bucket.take(50, 5.0) == pytest.approx(0.5)
    assert bucket.take(50, 6.0) == pytest.approx(0.0)
    assert bucket.take(100, 100.0) == 0.0
    assert bucket.take(1, 100.0) == pytest.approx(0.01)


def test_a_bucket_holds_its_rate_over_a_long_time() -> None:
    bucket, now = TokenBucket(1000.0), 0.0
    for _ in range(100):
        now += bucket.take(256, now)
    assert 100 * 256 / (now + 1.0) <= 1000.0 * 1.01


def test_a_reservoir_keeps_each_record_with_the_same_probability() -> None:
    counts = np.zeros(40)
    for seed in range(2_000):
        reservoir = Reservoir(10, seed)
        for start in (0, 7, 8, 30):  # as batches of different lengths, the first shorter than the sample
            n_records = {0: 7, 7: 1, 8: 22, 30: 10}[start]
            reservoir.offer(n_records, lambda at, start=start: (start + at, None))  # type: ignore[misc]
        counts[[int(key) for key, _ in reservoir.sample]] += 1
    expected = 2_000 * 10 / 40
    chi_square = ((counts - expected) ** 2 / (expected * (1 - 10 / 40))).sum()
    assert chi_square < 72.1  # the quantile 0.999 with 39 degrees of freedom


def test_an_empty_reservoir_keeps_nothing() -> None:
    reservoir = Reservoir(0)
    reservoir.offer(1, lambda at: (at, "x"))
    assert reservoir.sample == []


def test_a_reservoir_looks_at_few_of_many_records() -> None:
    seen: list[int] = []

    def record(at: int) -> tuple[int, None]:
        seen.append(at)
        return at, None

    reservoir = Reservoir(10)
    reservoir.offer(100_000, record)
    # Of n records about k (1 + ln(n / k)) are kept at some time: 102 of 100,000.
    assert 50 < len(seen) < 200 and seen == sorted(set(seen)) and max(seen) < 100_000
    assert len(set(reservoir.sample)) == 10


def test_a_comparison_names_what_is_missing_and_what_differs() -> None:
    one = np.array([3.0, 4.0], np.float32)
    found = compare({1: one, 2: one, 3: one}, {1: one * (1 + 1e-6), 2: one + 1})
    assert (found.n_checked, found.missing, found.different, found.passed) == (3, (3,), (2,), False)
    assert found.worst == pytest.approx(2**0.5 / 5)
    with pytest.raises(WorkspaceError, match="1 are missing and 1 have another vector than the model gives now: 3, 2"):
        check_passed(found, "c")
    assert compare({1: one}, {1: np.array([np.nan, 4.0], np.float32)}).different == (1,)


def test_an_estimate_is_the_mean_of_the_sample_with_its_uncertainty() -> None:
    index = {"index_type": "HNSW", "M": 16}
    found = projected([1.0, 1.2, 0.8, 1.0], 100, 10_000, 500, 8, index, Price(per_1000_records=2.0, per_hour=36.0))
    assert found.seconds == pytest.approx(100.0) and found.records_per_s == pytest.approx(100.0)
    low, high = found.interval or (0.0, 0.0)
    # t(0.975, 3) = 3.182; s = 0.1633; 3.182 * 0.1633 * sqrt(1/4 + 1/100) * 100
    assert high - 100.0 == pytest.approx(26.5, abs=0.1) and 100.0 - low == pytest.approx(26.5, abs=0.1)
    assert found.vector_bytes == 10_000 * 32 and found.index_bytes == 10_000 * (32 + 128)
    assert found.cost == pytest.approx(20.0 + 1.0)
    assert str(found) == "10,000 records in 100 s (74 to 126), 2 MiB, 21.00 in cost"


def test_the_time_of_an_index_is_told_from_two_smaller_ones() -> None:
    def seconds(n_rows: int) -> float:
        return 2.0 + 1e-5 * n_rows * math.log2(n_rows)

    small, large = (256, seconds(256)), (2048, seconds(2048))
    for n_rows in (4, 300, 5_000, 1_000_000):
        expected = max(seconds(256), seconds(n_rows))
        assert index_seconds(n_rows, small, large) == pytest.approx(expected)
    assert index_seconds(9_000, (256, 3.0), (2048, 2.9)) == 3.0
    assert index_seconds(9_000, (0, 3.0), (0, 2.9)) == 3.0
    found = projected([1.0, 1.2], 100, 10_000, 500, 8, {"index_type": "HNSW"}, Price(per_hour=3600.0), 50.0)
    assert (found.seconds, found.index_seconds, found.cost) == (pytest.approx(160.0), 50.0, pytest.approx(160.0))
    assert found.interval is not None and found.interval[0] >= 50.0


def test_a_small_estimate_has_small_units() -> None:
    found = projected([0.004, 0.005, 0.003], 10, 300, 30, 8, {"index_type": "HNSW", "M": 16}, None, 0.13)
    assert str(found) == "300 records in 0.25 s (0.17 to 0.33), 47 KiB"
    assert str(projected([0.1, 0.1], 2, 10, 4, 2, {"index_type": "FLAT"}, None)).endswith(", 80 B")


def test_an_estimate_without_a_length_gives_the_rate_alone() -> None:
    found = projected([1.0, 1.0], 100, None, 200, 8, {"index_type": "FLAT"}, None)
    assert found.seconds is None and str(found) == "100 records/s, measured on 200"


def test_the_intervals_of_estimates_cover_as_often_as_they_say(rng: np.random.Generator) -> None:
    n_covered = 0
    for _ in range(400):
        seconds = rng.normal(1.0, 0.2, size=58)
        found = projected(seconds[:8].tolist(), 10, 500, 80, 4, {"index_type": "FLAT"}, None)
        low, high = found.interval or (0.0, 0.0)
        n_covered += low <= seconds[8:].sum() <= high
    assert 0.92 <= n_covered / 400 <= 0.98


def test_the_memory_of_an_index_is_known_for_some_types() -> None:
    assert index_bytes(10, 4, {"index_type": "FLAT"}) == 160
    assert index_bytes(10, 4, {"index_type": "IVF_FLAT", "nlist": 2}) == 192
    assert index_bytes(10, 4, {"index_type": "SOMETHING"}) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"workers": 0}, "workers"),
        ({"runner": "spark"}, "runner 'spark' is not known"),
        ({"rate_limit": 0.0}, "rate_limit"),
        ({"rate_limit": float("nan")}, "rate_limit"),
        ({"verify": -1}, "verify"),
    ],
)
def test_options_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Options(**values)
