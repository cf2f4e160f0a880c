"""What the background client records, and the gaps in it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from roost.demo.traffic import BackgroundClient, Trace


def make_trace(done_s: list[float], deployments: list[str] | None = None) -> Trace:
    latency_s = np.full(len(done_s), 0.001)
    return Trace(np.asarray(done_s) - latency_s, latency_s, np.asarray(deployments or ["a"] * len(done_s)))


@pytest.mark.parametrize(
    ("begin_s", "end_s", "gap_s"),
    [(2.1, 2.2, 1.0), (1.5, 3.5, 2.0), (2.0, 2.0, 0.0), (3.1, 3.2, 2.0), (0.5, 1.5, np.inf), (4.0, 6.0, np.inf)],
)
def test_the_longest_gap_is_the_longest_that_touches_the_interval(begin_s, end_s, gap_s):
    trace = make_trace([1.0, 2.0, 3.0, 5.0])
    assert trace.longest_gap_s(begin_s, end_s) == pytest.approx(gap_s)


def test_a_failed_query_does_not_end_a_gap():
    trace = make_trace([1.0, 2.0, 3.0], ["a", "", "a"])
    assert trace.n_failed == 1
    assert trace.longest_gap_s(1.4, 1.6) == pytest.approx(2.0)


def test_a_client_that_saw_nothing_has_an_empty_trace():
    trace = BackgroundClient(lambda image: "a", np.zeros((1, 4), np.float32)).trace()
    assert (trace.n_queries, trace.n_failed) == (0, 0)
    assert trace.longest_gap_s(0.0, 1.0) == np.inf


def test_the_client_searches_with_one_image_after_the_other_until_it_is_closed():
    images = np.arange(3, dtype=np.float32).reshape(3, 1)
    seen: list[float] = []
    enough = threading.Event()

    def search(image: np.ndarray) -> str:
        seen.append(float(image[0]))
        if len(seen) == 7:
            enough.set()
        return "a"

    with BackgroundClient(search, images) as client:
        assert enough.wait(timeout=30)
    assert seen[:7] == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0]
    trace = client.trace()
    assert trace.n_queries == client.n_queries == len(seen)
    assert trace.n_failed == 0
    assert (np.diff(trace.started_s) >= trace.latency_s[:-1]).all()


def test_every_failure_is_counted_and_the_first_are_kept_in_words():
    n_calls = 0
    enough = threading.Event()

    def search(image: np.ndarray) -> str:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 20:
            enough.set()
        if n_calls % 2:
            raise LookupError(f"call {n_calls}")
        return "a"

    with BackgroundClient(search, np.zeros((1, 4), np.float32)) as client:
        assert enough.wait(timeout=30)
    trace = client.trace()
    assert trace.n_failed == (n_calls + 1) // 2
    assert trace.messages[:2] == ("LookupError: call 1", "LookupError: call 3")
    assert len(trace.messages) == 5
