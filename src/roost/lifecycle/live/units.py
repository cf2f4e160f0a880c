"""The units of a live test that wait for their feedback in this process.

A unit is a query; of a split, a user with the queries of one window. It is closed when its window is
over, which begins with its first answer, or as soon as its only query was judged as a whole. Neither depends on
who is winning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from roost.lifecycle.live.feedback import Feedback
from roost.lifecycle.live.judging import Drawn, Rival, Said

MAX_OPEN = 100_000
"""Units in memory; what is beyond is judged from the store when its window is over."""

GRACE_S = 0.5
"""After a window, until feedback that another process took is in the store."""


@dataclass(slots=True)
class Unit:
    """A unit that is open.

    Attributes:
        began: when its first query was answered, in seconds since 1970.
        queries: what was drawn and what was said, by the query's id, in their order.
    """

    key: str
    began: float
    queries: dict[str, tuple[Drawn, Said]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The id of the first query."""
        return next(iter(self.queries))

    @property
    def judgements(self) -> list[tuple[Drawn, Said]]:
        return list(self.queries.values())


class Units:
    """The open units, oldest first. Not safe to use from two threads at once."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._open: OrderedDict[str, Unit] = OrderedDict()
        self._unit_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: object) -> bool:
        return key in self._open

    def open(self, key: str, query_id: str, drawn: Drawn, at: float) -> None:
        """Take an answered query in; it begins a unit where the one of that key is not open.

        Args:
            key: of the unit.
            at: when it was answered, in seconds since 1970.
        """
        unit = self._open.get(key)
        if unit is None:
            unit = self._open[key] = Unit(key, at)
            if len(self._open) > MAX_OPEN:
                self.forget(self._open[next(iter(self._open))])
        unit.queries[query_id] = drawn, Said()
        self._unit_of[query_id] = key

    def unit_of(self, query_id: str) -> Unit | None:
        """Return the open unit of a query."""
        key = self._unit_of.get(query_id)
        return self._open.get(key) if key is not None else None

    def take(self, feedback: Feedback) -> Unit | None:
        """Take feedback; return the unit that it belongs to, None where that is not open."""
        unit = self.unit_of(feedback.query_id)
        if unit is not None:
            unit.queries[feedback.query_id][1].take(feedback)
        return unit

    def rival(self, query_id: str, name: str, rival: Rival) -> Unit | None:
        """Take what a challenger made of a query; return the unit, None where that is not open."""
        unit = self.unit_of(query_id)
        if unit is not None:
            drawn, said = unit.queries[query_id]
            unit.queries[query_id] = drawn.beside({name: rival}), said
        return unit

    def due(self, now: float) -> list[Unit]:
        """Take out the units whose window is over."""
        found = []
        while self._open:
            unit = next(iter(self._open.values()))
            if unit.began + self._window_s + GRACE_S > now:
                break
            self.forget(unit)
            found.append(unit)
        return found

    def reopen(self, units: Sequence[Unit]) -> None:
        """Put back what `due` took out."""
        for unit in reversed(units):
            self._open[unit.key] = unit
            self._open.move_to_end(unit.key, last=False)
            self._unit_of.update(dict.fromkeys(unit.queries, unit.key))

    def is_due(self, now: float) -> bool:
        unit = next(iter(self._open.values()), None)
        return unit is not None and unit.began + self._window_s + GRACE_S <= now

    def forget(self, unit: Unit) -> None:
        """Take a unit out."""
        self._open.pop(unit.key, None)
        for query_id in unit.queries:
            self._unit_of.pop(query_id, None)

    def clear(self) -> None:
        self._open.clear()
        self._unit_of.clear()
