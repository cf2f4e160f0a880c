"""Who is acting: the workspace's own actor, or the one on whose behalf a block of code runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from roost.errors import InvalidArgument

MAX_ACTOR_LENGTH = 255

_acting: ContextVar[str | None] = ContextVar("roost_actor", default=None)


@contextmanager
def acting_as(actor: str | None) -> Iterator[None]:
    """Let what this thread or task does in the block be done by somebody.

    Threads that it starts act as the workspace again.

    Args:
        actor: None for the workspace's own.
    Raises: InvalidArgument: it is not a printable text of at most `MAX_ACTOR_LENGTH` characters.
    """
    token = _acting.set(check_actor(actor) if actor is not None else None)
    try:
        yield
    finally:
        _acting.reset(token)


def acting(own: str) -> str:
    """Return who is acting now.

    Args:
        own: the workspace's own actor.
    """
    found = _acting.get()
    return found if found is not None else own


def check_actor(actor: object) -> str:
    """Return an actor's name. Raises: InvalidArgument: it is none; see `acting_as`."""
    if not isinstance(actor, str) or not 0 < len(actor) <= MAX_ACTOR_LENGTH or not actor.isprintable():
        raise InvalidArgument(f"an actor is a printable text of 1 to {MAX_ACTOR_LENGTH} characters, not {actor!r:.300}")
    return actor
