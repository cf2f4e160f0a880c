"""Which results the endpoint's last queries had, to check feedback by."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Id
from roost.lifecycle.traffic import Answer

MAX_REMEMBERED = 10_000


class Answered:
    """The results of the last `MAX_REMEMBERED` queries of this process. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: OrderedDict[str, tuple[Id, ...]] = OrderedDict()

    def remember(self, answers: Iterable[Answer]) -> None:
        """Take answers in, and forget the oldest beyond the limit."""
        with self._lock:
            for answer in answers:
                self._shown[answer.query_id] = tuple(answer.ids)
            while len(self._shown) > MAX_REMEMBERED:
                self._shown.popitem(last=False)

    def check(self, query_id: str, items: Iterable[Id]) -> bool:
        """Return whether the query is remembered.

        Raises: InvalidArgument: it is, and an item was not among its results.
        """
        with self._lock:
            shown = self._shown.get(query_id)
        if shown is None:
            return False
        for item in items:
            if item not in shown:
                raise InvalidArgument(f"feedback names {item!r}, which was not among the results shown")
        return True
