"""Notices what happens elsewhere: other processes' changes, aliases that are behind, collections that were swapped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from sqlalchemy import select

from roost.errors import Closed
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import promotion, retirement
from roost.lifecycle.deployments.probation import probation_of
from roost.lifecycle.store.tables import EndpointRow

FOLLOW_EVERY_S = 1.0
VERIFY_EVERY = 10
"""Rounds of following between two looks at the collections."""

_log = logging.getLogger(__name__)


class Followed(Protocol):
    """An endpoint, as the follower sees it."""

    @property
    def version(self) -> int: ...

    def refresh(self) -> None: ...

    def verify(self) -> None: ...

    def review(self) -> object: ...

    def tend(self) -> None: ...


class Follower:
    """Looks after the open endpoints once every `FOLLOW_EVERY_S`, in a thread of its own.

    It takes over what other processes changed, looks at probations, tends live tests, moves aliases that are still
    behind after a whole round, releases retired collections, and every `VERIFY_EVERY` rounds holds
    the open collections against their models.
    """

    def __init__(self, context: Context, opened: Callable[[], Mapping[str, Followed]]) -> None:
        """Begin to follow.

        Args:
            opened: gives the open endpoints by their names.
        """
        self._context = context
        self._opened = opened
        self._behind: dict[int, int] = {}
        self._released: set[tuple[int, str]] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="roost-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        n_rounds = 0
        while not self._closed.wait(FOLLOW_EVERY_S):
            n_rounds += 1
            self._look(verify=n_rounds % VERIFY_EVERY == 0)

    def _look(self, verify: bool) -> None:
        opened = self._opened()
        if not opened:
            return
        rows: list[EndpointRow] = []

        def read() -> None:
            with self._context.store.read() as session:
                rows.extend(session.scalars(select(EndpointRow)))

        self._try("an endpoint cannot follow what another process changed", read)
        for row in rows:
            endpoint = opened.get(row.name)
            if endpoint is None:
                continue
            if endpoint.version < row.version:
                self._try(f"{row.name!r} cannot follow what another process changed", endpoint.refresh)
            self._try(f"the live test of {row.name!r} cannot be tended", endpoint.tend)
            if probation_of(row.policy) is not None:
                self._try(f"the probation of {row.name!r} cannot be looked at", endpoint.review)
            if verify:
                self._try(f"the collections of {row.name!r} cannot be looked at", endpoint.verify)
        self._try("aliases cannot be moved", lambda: self._move_aliases(rows))
        self._try("a retired collection cannot be released", self._release)

    def _move_aliases(self, rows: list[EndpointRow]) -> None:
        """Move the aliases that were behind a round ago and still are: whoever changes a champion moves its own."""
        behind = {row.id: row.version for row in rows if row.followed_version != row.version}
        due = [number for number, version in behind.items() if self._behind.get(number) == version]
        self._behind = behind
        for number in due:
            promotion.follow(self._context, number)

    def _release(self) -> None:
        retirement.release_due(self._context, self._released)

    def _try(self, what: str, step: Callable[[], object]) -> None:
        """Take a step, and go on with the next whatever happens: a thread that ended would leave an old champion."""
        try:
            step()
        except Closed:
            self._closed.set()
        except Exception as error:
            _log.warning("%s: %s", what, error)
