from __future__ import annotations

from datetime import datetime, timezone

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.live.feedback import checked_gains, event_key, kind_named, moment


def test_values_have_the_range_of_their_kind() -> None:
    assert checked_gains({1: 1, "b": 0.5}, "click") == {"1": 1.0, "b": 0.5}
    assert checked_gains({1: 4.5}, "rating") == {"1": 4.5}
    for gain, kind in ((1.5, "click"), (-1.0, "label"), (6.0, "rating"), (float("nan"), "click"), ("good", "click")):
        with pytest.raises(InvalidArgument):
            checked_gains({1: gain}, kind)  # type: ignore[dict-item]
    with pytest.raises(InvalidArgument, match="click, conversion, label, rating"):
        kind_named("mood")


def test_feedback_is_known_by_its_number_or_by_what_it_is_about() -> None:
    about = event_key("e", "q", "click", {"1": 1.0}, None)
    assert about == event_key("e", "q", "click", {"1": 0.0}, None)
    others = [
        ("e", "q", "rating", {"1": 1.0}, None),
        ("e", "q", "click", {"2": 1.0}, None),
        ("f", "q", "click", {"1": 1.0}, None),
    ]
    assert len({about, *(event_key(*other) for other in others)}) == 4
    assert event_key("e", "q", "click", {}, "n1") == event_key("e", "r", "rating", {"2": 1.0}, "n1")
    assert event_key("f", "q", "click", {}, "n1") != event_key("e", "q", "click", {}, "n1")
    for number in ("", "x" * 256, 7):
        with pytest.raises(InvalidArgument, match="event_id"):
            event_key("e", "q", "click", {}, number)  # type: ignore[arg-type]


def test_a_moment_is_a_time_a_text_or_seconds() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    assert moment(at, 0.0) == moment("2026-01-31T12:00:00Z", 0.0) == moment(at.timestamp(), 0.0) == at.timestamp()
    assert moment(None, 7.0) == 7.0
    for wrong in ("soon", float("inf"), True, object()):
        with pytest.raises(InvalidArgument):
            moment(wrong, 0.0)  # type: ignore[arg-type]
