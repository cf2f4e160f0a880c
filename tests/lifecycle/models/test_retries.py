from __future__ import annotations

from datetime import datetime, timezone

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.models.retries import Retries, retry_after_s

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)


def test_pauses_double_up_to_a_bound_and_are_spread_by_chance() -> None:
    retries = Retries(n_retries=10, base_s=1.0, max_pause_s=5.0)
    assert [retries.pause_s(attempt, None, 1.0) for attempt in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert retries.pause_s(2, None, 0.25) == 1.0
    assert retries.pause_s(2, None, 0.0) == 0.0


def test_what_the_service_asks_for_is_kept_unless_it_is_too_long() -> None:
    retries = Retries(n_retries=2, base_s=1.0, max_pause_s=5.0)
    assert retries.pause_s(0, 4.5, 0.1) == 4.5
    assert retries.pause_s(0, 5.5, 0.1) is None
    assert retries.pause_s(2, 1.0, 0.1) is None and retries.pause_s(2, None, 0.1) is None
    assert Retries(n_retries=0).pause_s(0, None, 0.5) is None


@pytest.mark.parametrize("options", [{"n_retries": -1}, {"base_s": -1.0}, {"max_pause_s": -1.0}])
def test_negative_numbers_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match="negative"):
        Retries(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds
