from __future__ import annotations

import pytest

from roost.lifecycle.serving import answered as module
from roost.lifecycle.serving.answered import Answered, Remembered


def answer(*ids: str) -> Remembered:
    return Remembered("v1", ids, None, 0.0)


def test_what_was_answered_is_known() -> None:
    answered = Answered()
    answered.remember([("a", answer("1", "2")), ("b", answer())])
    assert answered.get("a") == answer("1", "2") and answered.get("b") == answer()
    assert answered.get("c") is None


def test_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    answered = Answered()
    answered.remember([("a", answer("1"))])
    answered.remember([("b", answer("1")), ("c", answer("1"))])
    assert [answered.get(query_id) is not None for query_id in "abc"] == [False, True, True]
