"""Notices what other processes change, so that every process routes by the same row soon."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from sqlalchemy import select

from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EndpointRow

FOLLOW_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Followed(Protocol):
    """An endpoint, as the follower sees it."""

    @property
    def version(self) -> int: ...

    def refresh(self) -> None: ...


class Follower:
    """Refreshes open endpoints whose rows were changed elsewhere, once every `FOLLOW_EVERY_S`."""

    def __init__(self, store: Store, opened: Callable[[], Mapping[str, Followed]]) -> None:
        """Begin to follow.

        Args:
            opened: gives the open endpoints by their names.
        """
        self._store = store
        self._opened = opened
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="roost-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(FOLLOW_EVERY_S):
            try:
                self._look()
            except Exception as error:  # a thread that ended would leave this process with an old champion
                _log.warning("an endpoint cannot follow what another process changed: %s", error)

    def _look(self) -> None:
        opened = self._opened()
        if not opened:
            return
        with self._store.read() as session:
            found = session.execute(select(EndpointRow.name, EndpointRow.version)).all()
        for name, version in found:
            if name in opened and opened[name].version < version:
                opened[name].refresh()
