"""What this process answered lately, to check feedback by."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer.

    Attributes:
        deployment: who gave it.
        ids: of its results, as text; None where there are none or they are not known.
        test_id: the live test that it is part of.
        at: when it was given, in seconds since 1970.
        prediction: what was predicted, as text; None of a search.
    """

    deployment: str
    ids: tuple[str, ...] | None
    test_id: int | None
    at: float
    prediction: str | None = None


class Answered:
    """The last `MAX_REMEMBERED` answers of this process. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Remembered] = OrderedDict()

    def remember(self, answers: Iterable[tuple[str, Remembered]]) -> None:
        """Take answers in by their queries' ids, and forget the oldest beyond the limit."""
        with self._lock:
            self._answers.update(answers)
            while len(self._answers) > MAX_REMEMBERED:
                self._answers.popitem(last=False)

    def get(self, query_id: str) -> Remembered | None:
        """Return an answer; None where it is not remembered."""
        with self._lock:
            return self._answers.get(query_id)
