"""Who fills a deployment: one thread of all processes, until it is done or dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roost.lifecycle.store.shared_lock import SharedLock

if TYPE_CHECKING:
    from roost.lifecycle.context import Context


def filling(context: Context, deployment_id: int) -> SharedLock:
    """Return the lock that is held by who fills a deployment."""
    return context.store.lock(f"fill-{deployment_id}")


def is_filled(context: Context, deployment_id: int) -> bool:
    """Return whether somebody fills a deployment now."""
    return filling(context, deployment_id).is_held()
