from __future__ import annotations

import numpy as np
import pytest

from roost.errors import InvalidData, InvalidFilter, StorageFailure
from roost.lifecycle.serving import tap as module
from roost.lifecycle.serving.tap import (
    MAX_WRITTEN,
    Failed,
    Judged,
    Searched,
    Tap,
    Written,
    blaming_model,
    is_caller_s,
    is_model_s,
)
from roost.lifecycle.serving.traffic import Answer, Hit, Query

VECTORS = np.zeros((2, 4), dtype=np.float32)
ANSWERS = [
    Answer("q1", "shop", "v1", "m/1", (Hit(1, 0.5, {}, "v1"),)),
    Answer("q2", "shop", "v1", "m/1", ()),
]


def test_an_endpoint_that_nobody_watches_leaves_nothing() -> None:
    tap = Tap()
    tap.searched("shop", 0.0, ANSWERS, VECTORS, Query())
    tap.judged("shop", "v1", "click", 1.0)
    tap.written("shop", "v1", VECTORS)
    tap.predicted("shop", "v1", 0.0, [1], VECTORS)
    tap.failed("shop", "v1", was_refused=False)
    assert tap.open("shop").fetch() == []


def test_what_is_left_is_fetched_once() -> None:
    tap = Tap()
    stream = tap.open("shop")
    tap.searched("shop", 0.0, ANSWERS, VECTORS, Query())
    tap.searched("shop", 0.0, [], VECTORS, Query())
    tap.judged("shop", "v1", "click", 1.0)
    searched, judged = stream.fetch()
    assert isinstance(searched, Searched) and searched.best[0] == 0.5 and np.isnan(searched.best[1])
    assert searched.vectors is VECTORS and judged == Judged("v1", "click", 1.0)
    assert stream.fetch() == []
    tap.close("shop")
    tap.judged("shop", "v1", "click", 1.0)
    assert stream.fetch() == []


def test_vectors_are_left_as_often_as_asked_for() -> None:
    tap = Tap()
    stream = tap.open("shop", sample_rate=0.25)
    for _ in range(2_000):
        tap.searched("shop", 0.0, ANSWERS, VECTORS, Query())
    n_sampled = sum(isinstance(one, Searched) and one.vectors is not None for one in stream.fetch())
    assert 400 < n_sampled < 600


def test_what_is_not_fetched_in_time_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    tap = Tap()
    stream = tap.open("shop")
    for _ in range(5):
        tap.judged("shop", "v1", "click", 1.0)
    assert (len(stream.fetch()), stream.n_left_out) == (3, 2)


def test_a_large_write_leaves_a_part_and_its_size() -> None:
    tap = Tap()
    stream = tap.open("shop")
    tap.written("shop", "v1", np.zeros((1_000, 4)))
    [written] = stream.fetch()
    assert isinstance(written, Written) and (written.n_rows, len(written.vectors)) == (1_000, MAX_WRITTEN)


def test_failures_are_left_with_who_is_at_fault() -> None:
    tap = Tap()
    stream = tap.open("shop")
    tap.failed("shop", "v1", was_refused=True)
    tap.failed("shop", "v1", was_refused=False)
    assert stream.fetch() == [Failed("v1", True), Failed("v1", False)]


def test_a_caller_s_mistake_is_no_failure_of_the_endpoint() -> None:
    assert is_caller_s(InvalidFilter("no"))
    assert not is_caller_s(StorageFailure("no"))
    assert not is_caller_s(RuntimeError())


def test_content_that_a_model_refuses_may_be_either_s_fault() -> None:
    with pytest.raises(InvalidData) as refused, blaming_model():
        raise InvalidData("no")
    assert is_model_s(refused.value) and not is_caller_s(refused.value)
    assert not is_model_s(InvalidData("a record")) and not is_model_s(RuntimeError())
