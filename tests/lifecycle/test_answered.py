from __future__ import annotations

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle import answered as module
from roost.lifecycle.answered import Answered
from roost.lifecycle.traffic import Answer, Hit


def answer(query_id: str, *ids: int) -> Answer:
    return Answer(query_id, "search", "v1", "m/1", tuple(Hit(key, 0.0, {}, "v1") for key in ids))


def test_what_was_shown_is_known_and_nothing_else_is_taken() -> None:
    answered = Answered()
    answered.remember([answer("a", 1, 2), answer("b")])
    assert answered.check("a", [2]) and answered.check("a", []) and answered.check("b", [])
    assert not answered.check("c", [1])
    with pytest.raises(InvalidArgument, match="names 3"):
        answered.check("a", [1, 3])


def test_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    answered = Answered()
    answered.remember([answer("a", 1)])
    answered.remember([answer("b", 1), answer("c", 1)])
    assert [answered.check(query_id, [1]) for query_id in "abc"] == [False, True, True]
