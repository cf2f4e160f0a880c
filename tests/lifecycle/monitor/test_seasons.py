from __future__ import annotations

from datetime import datetime, timezone

import pytest

from roost.lifecycle.monitor.seasons import Season, occurrences, season_of

DAY_S, HOUR_S = 86_400.0, 3_600.0
NOON_S = datetime(2024, 1, 3, 12, tzinfo=timezone.utc).timestamp()
"""A Wednesday."""


def test_a_moment_is_named_by_its_hour_and_its_day() -> None:
    seasons: list[Season | None] = ["hour", "weekday", "hour_of_week", None]
    assert [season_of(NOON_S + 59 * 60, season) for season in seasons] == ["12h", "wed", "wed-12h", ""]
    assert season_of(NOON_S + 4 * DAY_S - 9 * HOUR_S, "hour_of_week") == "sun-03h"
    assert season_of(NOON_S, "hour_of_week") == season_of(NOON_S + 7 * DAY_S, "hour_of_week")


@pytest.mark.parametrize(
    ("season", "first"),
    [
        ("hour", (-DAY_S, -DAY_S + HOUR_S)),
        ("weekday", (-7 * DAY_S - 12 * HOUR_S, -6 * DAY_S - 12 * HOUR_S)),
        ("hour_of_week", (-7 * DAY_S, -7 * DAY_S + HOUR_S)),
    ],
)
def test_the_same_season_before(season: Season, first: tuple[float, float]) -> None:
    found = occurrences(NOON_S + 1_234, season, 3)
    assert len(found) == 3 and found[0] == (NOON_S + first[0], NOON_S + first[1])
