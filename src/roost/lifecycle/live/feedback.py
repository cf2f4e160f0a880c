"""Feedback on answers: its kinds, what their values may be, and what the absence of feedback says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Id

MAX_EVENT_ID_LENGTH = 255

MAX_ITEM_LENGTH = 65_535
"""As long as a key of a collection may be, in characters."""

_LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of feedback.

    Attributes:
        low: the least value.
        high: the largest.
        silence: what an answer without feedback is worth; None where it says nothing.
    """

    low: float
    high: float
    silence: float | None = None


KINDS: Mapping[str, Kind] = {
    "click": Kind(0.0, 1.0, silence=0.0),
    "conversion": Kind(0.0, 1.0, silence=0.0),
    "label": Kind(0.0, 1.0),
    "rating": Kind(0.0, 5.0),
}
"""A user who does not click or buy has said so; nobody labels or rates everything."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said about one answer.

    Attributes:
        gains: value by the item's id as text; of a prediction, the value by the empty text.
        whole: the gains are all that will be said about the answer.
        at: when it happened, in seconds since 1970.
        event_id: counts once; the same for the same feedback, whichever process gets it.
        truth: of a prediction, the right class or value, as text.
    """

    query_id: str
    kind: str
    gains: Mapping[str, float]
    whole: bool
    at: float
    event_id: str
    item: str | None = None
    truth: str | None = field(default=None)


def kind_named(name: str) -> Kind:
    """Return a kind of feedback.

    Raises: InvalidArgument: there is none of that name.
    """
    if name not in KINDS:
        raise InvalidArgument(f"feedback of kind {name!r} is not known; use one of {', '.join(KINDS)}")
    return KINDS[name]


def checked_gains(gains: Mapping[Id, float], kind: str) -> dict[str, float]:
    """Return the gains as numbers by the items' ids as text.

    Raises: InvalidArgument: the kind is not known, an item's id is no text that the store can hold, or a gain is not
        a finite number in its range.
    """
    allowed = kind_named(kind)
    found: dict[str, float] = {}
    for key, gain in gains.items():
        try:
            value = float(gain)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"the gain of {key!r} must be a number, not {gain!r}") from error
        if not math.isfinite(value):
            raise InvalidArgument(f"the gain of {key!r} must be finite, not {gain}")
        if not allowed.low <= value <= allowed.high:
            raise InvalidArgument(
                f"the gain of {key!r} must lie between {allowed.low:g} and {allowed.high:g} for a {kind}, not {gain}"
            )
        item = str(key)
        if "\x00" in item or len(item) > MAX_ITEM_LENGTH:
            raise InvalidArgument(
                f"an item's id has at most {MAX_ITEM_LENGTH} characters and no NUL, not {item!r:.200}"
            )
        found[item] = value
    return found


def event_key(endpoint: str, query_id: str, kind: str, gains: Mapping[str, float], event_id: str | None) -> str:
    """Return what a piece of feedback is known by: the sender's own number of it, or else what it is about.

    Raises: InvalidArgument: the sender's number is not a text of at most `MAX_EVENT_ID_LENGTH` characters.
    """
    if event_id is not None and (not isinstance(event_id, str) or not 0 < len(event_id) <= MAX_EVENT_ID_LENGTH):
        raise InvalidArgument(f"event_id must be a text of 1 to {MAX_EVENT_ID_LENGTH} characters, not {event_id!r}")
    about = [endpoint, event_id] if event_id is not None else [endpoint, query_id, kind, *sorted(gains)]
    return digest(*about)


def digest(*parts: str) -> str:
    """Return 64 characters that stand for these texts."""
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def moment(value: datetime | str | float | None, now: float) -> float:
    """Return a time in seconds since 1970; one without a zone is local time, None is now.

    Raises: InvalidArgument: it is not a time, or not one of the years 1970 to 9999.
    """
    if value is None:
        return now
    seconds = _seconds(value)
    if not 0.0 <= seconds <= _LAST_MOMENT:
        raise InvalidArgument(f"a time must lie between the years 1970 and 9999, not at {value!r:.200}")
    return seconds


def _seconds(value: datetime | str | float) -> float:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        if isinstance(value, str):
            return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()
        if isinstance(value, datetime):
            return value.astimezone(timezone.utc).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"{value!r:.200} is not a time; write it as in 2026-01-31T12:00:00+00:00") from error
    raise InvalidArgument(f"a time must be a datetime, ISO 8601 text or seconds since 1970, not {value!r:.200}")
