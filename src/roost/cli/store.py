"""Opening a workspace's store to look at it: no vectors are opened, so a running application is not in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roost.lifecycle.store import Store

STORE_FILE = "store.db"

TOKEN_VARIABLE = "ROOST_TOKEN"
"""The environment variable with the token for a server of vectors: options are seen by every user of a machine."""


def is_workspace(path: Path) -> bool:
    """Whether the folder holds a workspace's store."""
    return (path / STORE_FILE).is_file()


@contextmanager
def opened_store(workspace: str) -> Iterator[Store]:
    """Give the store of a workspace that exists.

    Raises:
        WorkspaceError: the folder is not a workspace.
        MissingDependency: the lifecycle's libraries are not installed.
        StorageFailure: the database cannot be opened, or holds no workspace.
    """
    from roost.errors import MissingDependency, WorkspaceError

    try:
        from roost.lifecycle.store import Store
    except ImportError as error:
        raise MissingDependency(f"workspaces need more libraries ({error}): pip install 'roost[lifecycle]'") from error

    url = workspace
    if "://" not in workspace:
        path = Path(workspace)
        if not is_workspace(path):
            raise WorkspaceError(f"{workspace} is not a workspace: there is no {STORE_FILE} in it")
        url = f"sqlite:///{(path / STORE_FILE).absolute()}"
    store = Store(url, create=False)
    try:
        yield store
    finally:
        store.close()
