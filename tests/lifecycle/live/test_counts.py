"""What a live test has counted, as its status says it."""

from __future__ import annotations

from typing import Any

import pytest

from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from tests.lifecycle.conftest import Digits


def test_a_test_that_has_ended_keeps_its_count(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", max_queries=3, seed=1)
    for position in range(3):
        answer = contested.search(digits.images[position])
        contested.feedback(answer.query_id, {answer.ids[0]: 1.0})
    ended = test.status()
    assert (ended.state, ended.n_queries) == ("decided", 3)
    # As a follower does that began to read the outcomes while another thread recorded the end.
    test.recount()
    assert test.standing() == ended


def test_nobody_sees_a_count_that_is_being_made_again(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = contested.start_test("digits-v2", seed=1)
    for position in range(3):
        answer = contested.search(digits.images[position])
        contested.feedback(answer.query_id, {answer.ids[0]: 1.0})
    counts: list[int] = []

    class Watching:
        """The test's lock, which looks at the count whenever another thread could."""

        def __init__(self, lock: Any) -> None:
            self._lock = lock

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            counts.append(test._tally.n_units)
            self._lock.release()

    monkeypatch.setattr(test, "_lock", Watching(test._lock))
    test.recount()
    assert set(counts) == {3}


def test_feedback_of_another_kind_is_said_to_be_ignored(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", metric="label", seed=1)
    for position in range(4):
        answer = contested.search(digits.images[position])
        contested.feedback(answer.query_id, answer.ids[0])
    status = test.status()
    assert (status.n_queries, status.n_ignored, status.as_evidence()["n_ignored"]) == (0, 4, 4)
    assert "4 ignored: their kind is not 'label'" in repr(test)
    assert "4 pieces of feedback are of another kind" in status._repr_html_()
    contested._context.recorder.flush()
    assert test._records.n_ignored("label") == 4 and test._records.n_ignored("click") == 0
