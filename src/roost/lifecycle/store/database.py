"""Opening the lifecycle's database, bringing it up to date, and its transactions.

A write transaction on SQLite takes the write lock when it begins, so what it reads cannot change
before it commits; on PostgreSQL the rows that matter are locked by the statements themselves.
A crash inside a transaction leaves the database as it was before.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from roost.errors import StorageFailure

REVISION = "0001"
"""The newest migration."""

VERSION_TABLE = "roost_alembic_version"

_BUSY_TIMEOUT_S = 30.0


class Store:
    """The lifecycle's database. Safe to use from any thread."""

    def __init__(self, url: str) -> None:
        """Open the database at a SQLAlchemy URL, creating or migrating the tables.

        Raises: StorageFailure: the database cannot be opened or migrated.
        """
        self.url = url
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(roost_write=True)
        self._turn = threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        try:
            _migrate(self._writer)
        except DBAPIError as error:
            raise StorageFailure(f"the store at {self._engine.url!r} cannot be opened: {error.orig}") from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one moment of the database."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose changes are committed together at the end, or not at all.

        Changes are sent at the end: call `flush` before a query that must see them. A thread does
        not begin a second transaction inside the first.

        Raises: StorageFailure: the database refused the transaction.
        """
        try:
            # SQLite lets whoever waits for its lock sleep and try again, so a busy thread would starve the others.
            with self._turn, Session(self._writer, expire_on_commit=False, autoflush=False) as session, session.begin():
                yield session
        except DBAPIError as error:
            raise StorageFailure(f"the store refused to write: {error.orig}") from error

    def close(self) -> None:
        self._engine.dispose()


def utc_now() -> str:
    """Return the time as ISO 8601 text in UTC with microseconds; later texts sort later."""
    return utc_text(datetime.now(timezone.utc))


def utc_text(moment: datetime) -> str:
    """Return a time as the store writes it; a time without a zone is taken as local time."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(_BUSY_TIMEOUT_S * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("roost_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if _revision(connection) == REVISION:
            return
    # Imported only where there is something to migrate: it would be a fifth of the time to open.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(text("version_num")).select_from(table(VERSION_TABLE))).scalar()
