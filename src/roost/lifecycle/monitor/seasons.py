"""Like with like: the hours and the days that traffic is compared with itself by. All of it in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias

Season: TypeAlias = Literal["hour", "weekday", "hour_of_week"]

SEASONS = ("hour", "weekday", "hour_of_week")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def season_of(at_s: float, season: Season | None) -> str:
    """Return the name of a moment's season, as in "13h", "mon" or "mon-13h"; nothing where there are no seasons."""
    if season is None:
        return ""
    moment = datetime.fromtimestamp(at_s, tz=timezone.utc)
    day, hour = _DAYS[moment.weekday()], f"{moment.hour:02d}h"
    return {"hour": hour, "weekday": day, "hour_of_week": f"{day}-{hour}"}[season]


def occurrences(at_s: float, season: Season, n: int) -> list[tuple[float, float]]:
    """Return beginning and end of the last n times, before the present one, of a moment's season in UTC.

    "hour" is the same hour of earlier days, "weekday" the same day of earlier weeks, "hour_of_week" the same hour of
    the same day of earlier weeks.
    """
    moment = datetime.fromtimestamp(at_s, tz=timezone.utc)
    start = moment.replace(minute=0, second=0, microsecond=0)
    if season == "weekday":
        start = start.replace(hour=0)
    length = timedelta(days=1) if season == "weekday" else timedelta(hours=1)
    period = timedelta(days=1) if season == "hour" else timedelta(days=7)
    starts = [start - period * back for back in range(1, n + 1)]
    return [(begin.timestamp(), (begin + length).timestamp()) for begin in starts]
