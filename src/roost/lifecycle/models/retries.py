"""Requests to a service that may be busy: tried again after a pause that grows, or as long as the service asks.

Source: Brooker 2015, "Exponential Backoff and Jitter" (AWS Architecture Blog), full jitter.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from roost.address import without_secrets
from roost.errors import InvalidArgument, MissingDependency, ModelUnavailable

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""

_REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and after which pauses a request is tried again.

    Attributes:
        n_retries: after the first try; 0 for none.
        base_s: upper bound of the first pause; it doubles with each one.
        max_pause_s: bound of every pause. A service that asks for a longer one is given up at once.
    """

    n_retries: int = 5
    base_s: float = 0.5
    max_pause_s: float = 30.0

    def __post_init__(self) -> None:
        if self.n_retries < 0 or self.base_s < 0 or self.max_pause_s < 0:
            raise InvalidArgument(f"{self} has a negative number")

    def pause_s(self, attempt: int, asked_s: float | None, jitter: float) -> float | None:
        """Return the pause before the next try; None to give up.

        Args:
            attempt: 0 after the first try.
            asked_s: what the service asked for; None where it did not.
            jitter: a random number from 0 to 1.
        """
        if attempt >= self.n_retries:
            return None
        if asked_s is not None:
            return asked_s if asked_s <= self.max_pause_s else None
        return jitter * min(self.max_pause_s, self.base_s * 2.0**attempt)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def open(self, timeout_s: float) -> Any:
        """Return a client of HTTP.

        Raises: MissingDependency: httpx is not installed.
        """
        return _httpx().Client(timeout=timeout_s)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered.

    Attributes:
        reason: what it says about a failure, cut short and without secrets.
    """

    status: int
    content: bytes
    reason: str


def post(client: Any, url: str, body: bytes, headers: Mapping[str, str], retries: Retries) -> Answer:
    """Send a request, again and again where that may help, and return the answer.

    Raises: ModelUnavailable: there was no answer within the retries, or only ones that ask to come back.
    """
    httpx = _httpx()
    key = headers.get("Authorization", "").removeprefix("Bearer ")
    for attempt in range(retries.n_retries + 1):
        asked_s = None
        try:
            found = client.post(url, content=body, headers=dict(headers))
        except httpx.RequestError as error:
            problem = f"{type(error).__name__}: {without_secrets(str(error))}"
        else:
            answer = Answer(found.status_code, found.content, _reason(found.text, key))
            if answer.status not in RETRIED:
                return answer
            problem = f"status {answer.status}, {answer.reason}"
            asked_s = retry_after_s(found.headers.get("retry-after"), datetime.now(timezone.utc))
        pause_s = retries.pause_s(attempt, asked_s, random.random())
        if pause_s is None:
            asked = f"; it asks to come back after {asked_s:.0f} s" if asked_s is not None else ""
            break
        time.sleep(pause_s)
    raise ModelUnavailable(
        f"{without_secrets(url)} did not answer at {attempt + 1} {'try' if attempt == 0 else 'tries'}: {problem}{asked}"
    )


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None where it asks for nothing that can be read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())


def _reason(text: str, key: str) -> str:
    shown = without_secrets(" ".join(text.split()))
    if key:
        shown = shown.replace(key, "***")
    return shown[:_REASON_LENGTH] or "without a reason"


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise MissingDependency("models behind HTTP need httpx: pip install 'roost[openai]'") from error
    return httpx
