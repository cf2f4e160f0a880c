"""One process at a time where tables are made, and where a library asks first and makes afterwards."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

_KEY = int.from_bytes(b"roost", "big")
"""The advisory lock of PostgreSQL that every Roost takes; it is the database's own, not the server's."""


def lock_for_transaction(connection: Connection) -> None:
    """Hold the database's lock until the connection's transaction ends; SQLite's write lock is one already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _KEY})


@contextmanager
def exclusive(url: str) -> Iterator[None]:
    """Keep out every other process and thread that asks for the same database, until this one is done.

    It is for a library that works on connections of its own. A process that dies gives the lock up.
    """
    database = make_url(url)
    if database.get_backend_name() == "sqlite" and database.database:
        with _locked_folder(Path(database.database).absolute().parent):
            yield
    elif database.get_backend_name() == "postgresql":
        engine = create_engine(database, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _KEY})
            yield
    else:
        yield


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock the folder itself, so that no file is left behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
