"""What the parts of a workspace share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from roost.lifecycle.actor import acting
from roost.lifecycle.models.registry import Models
from roost.lifecycle.serving.recorder import Recorder
from roost.lifecycle.serving.tap import Tap
from roost.lifecycle.store import Store

if TYPE_CHECKING:
    from roost.client import Client


class Context:
    """The open parts of a workspace, and who is acting.

    Attributes:
        tap: where traffic leaves what monitoring is to see.
    """

    def __init__(
        self,
        store: Store,
        vectors: Client,
        models: Models,
        recorder: Recorder,
        actor: str,
        check_open: Callable[[], None],
    ) -> None:
        """Hold the parts.

        Args:
            check_open: raises `Closed` once the workspace is closed.
        """
        self._store = store
        self._vectors = vectors
        self._check_open = check_open
        self.models = models
        self.recorder = recorder
        self._actor = actor
        self.tap = Tap()

    @property
    def actor(self) -> str:
        """Who is acting: the workspace's own actor, unless `acting_as` says somebody else."""
        return acting(self._actor)

    @property
    def store(self) -> Store:
        """The store of everything but the vectors."""
        self._check_open()
        return self._store

    @property
    def vectors(self) -> Client:
        """The vector engine's client."""
        self._check_open()
        return self._vectors
