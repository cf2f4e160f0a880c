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
from sqlalchemy.exc import ArgumentError, DBAPIError, TimeoutError
from sqlalchemy.orm import Session

from roost.address import without_secrets
from roost.errors import Closed, InvalidArgument, MissingDependency, StorageFailure

REVISION = "0005"
"""The newest migration."""

VERSION_TABLE = "roost_alembic_version"

_BUSY_TIMEOUT_S = 30.0


class Store:
    """The lifecycle's database. Safe to use from any thread."""

    def __init__(self, url: str, create: bool = True) -> None:
        """Open the database at a SQLAlchemy URL, creating or migrating the tables.

        Args:
            create: whether to make the tables where there are none.
        Raises:
            InvalidArgument: it is not a SQLAlchemy URL.
            MissingDependency: the database's driver is not installed.
            StorageFailure: the database cannot be opened or migrated, is of a newer version, or holds no tables.
        """
        self._engine = _engine(url)
        self._closed = False
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._reader = self._engine
        else:
            # SQLite gives a reader one moment of the database by itself.
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = self._engine.execution_options(roost_write=True)
        self._turn = threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        try:
            _migrate(self._writer, create)
        except (DBAPIError, _NotOurs) as error:
            self._engine.dispose()
            why = getattr(error, "orig", None) or error
            raise StorageFailure(f"the store at {without_secrets(url)} cannot be opened: {why}") from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one moment of the database.

        Raises:
            StorageFailure: the database cannot be read.
            Closed: the store is closed.
        """
        self._check_open()
        try:
            with Session(self._reader, expire_on_commit=False) as session:
                yield session
        except (DBAPIError, TimeoutError) as error:
            raise StorageFailure(f"the store cannot be read: {getattr(error, 'orig', error)}") from error

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose changes are committed together at the end, or not at all.

        Changes are sent at the end: call `flush` before a query that must see them. A thread does
        not begin a second transaction inside the first.

        Raises:
            StorageFailure: the database refused the transaction.
            Closed: the store is closed.
        """
        self._check_open()
        try:
            # SQLite lets whoever waits for its lock sleep and try again, so a busy thread would starve the others.
            with self._turn, Session(self._writer, expire_on_commit=False, autoflush=False) as session, session.begin():
                yield session
        except (DBAPIError, TimeoutError) as error:
            raise StorageFailure(f"the store refused to write: {getattr(error, 'orig', error)}") from error

    def close(self) -> None:
        """Give up all connections; every later use raises `Closed`."""
        self._closed = True
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the workspace is closed")


def utc_now() -> str:
    """Return the time as ISO 8601 text in UTC with microseconds; later texts sort later."""
    return utc_text(datetime.now(timezone.utc))


def utc_text(moment: datetime) -> str:
    """Return a time as the store writes it; a time without a zone is taken as local time."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


class _NotOurs(Exception):
    """The database is not one that this version of Roost can open."""


def _engine(url: str) -> Engine:
    try:
        return create_engine(url)
    except ArgumentError:
        # What cannot be parsed cannot be cleared of its password either, so it is not shown.
        raise InvalidArgument(
            "the store's URL is not one of a database: write sqlite:///PATH or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from None
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"a store at {without_secrets(url)} needs the driver {error.name}: pip install {error.name}"
        ) from error


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


def _migrate(engine: Engine, create: bool) -> None:
    if not create and engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).is_file():
        raise _NotOurs("there is no such file")
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision == REVISION:
        return
    if revision is None and not create:
        raise _NotOurs("it holds no workspace")
    if revision is not None and revision > REVISION:
        raise _NotOurs(f"a newer version of Roost made it (its revision is {revision}; this one knows {REVISION})")
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
