"""Opening the lifecycle's database, bringing it up to date, and its transactions.

A write transaction on SQLite takes the write lock when it begins, so what it reads cannot change
before it commits. On PostgreSQL the statements lock the rows that matter, an endpoint's before the
ledger's head, so two changes of one endpoint take turns, and so do two entries of the ledger.
A crash inside a transaction leaves the database as it was before.

A connection that was lost while nobody used it is replaced without being noticed; one that is lost
inside a transaction ends it with `StorageFailure`.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, table, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, TimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from roost.address import without_secrets
from roost.errors import Closed, InvalidArgument, MissingDependency, StorageFailure
from roost.lifecycle.store.failures import failure_of
from roost.lifecycle.store.shared_lock import SharedLock

REVISION = "0006"
"""The newest migration."""

VERSION_TABLE = "roost_alembic_version"

_BUSY_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10
_MIGRATION_KEY = int.from_bytes(b"roost", "big")
_LOOK_AGAIN_S = 0.01


class Store:
    """The lifecycle's database. Safe to use from any thread.

    Attributes:
        url: its SQLAlchemy URL, with the password, so not for logs.
    """

    def __init__(self, url: str, create: bool = True) -> None:
        """Open the database at a SQLAlchemy URL, creating or migrating the tables.

        Args:
            create: whether to make the tables where there are none.
        Raises:
            InvalidArgument: it is not a SQLAlchemy URL.
            MissingDependency: the database's driver is not installed.
            StorageFailure: the database cannot be opened or migrated, is of a newer version, or holds no tables.
        """
        self.url = url
        self._engine = _engine(url)
        self._closed = False
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._reader = self._engine
        else:
            # SQLite gives a reader one moment of the database without being asked.
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        event.listen(self._engine, "checkin", self._close_late)
        self._writer = self._engine.execution_options(roost_write=True)
        self._turn = threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        try:
            _migrate(self._writer, create)
        except (DBAPIError, _NotOurs) as error:
            self._engine.dispose()
            why = without_secrets(str(getattr(error, "orig", None) or error))
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
            raise failure_of(error, "cannot be read") from error

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose changes are committed together at the end, or not at all.

        Changes are sent at the end: call `flush` before a query that must see them. A thread does
        not begin a second transaction inside the first.

        Raises:
            AlreadyExists: somebody else has just made a row with the same unique values.
            Conflict: the transaction was undone because of another one; repeating it may succeed.
            StorageFailure: the database refused the transaction, or its connection was lost.
            Closed: the store is closed.
        """
        self._check_open()
        try:
            # SQLite lets whoever waits for its lock sleep and try again, so a busy thread would starve the others.
            with self._turn, Session(self._writer, expire_on_commit=False, autoflush=False) as session, session.begin():
                yield session
        except (DBAPIError, TimeoutError) as error:
            raise failure_of(error, "refused to write") from error

    def lock(self, name: str, grace_s: float = 0.0) -> SharedLock:
        """Return a lock that all processes of this store share; see `SharedLock`."""
        return SharedLock(self._engine, name, grace_s)

    def close(self) -> None:
        """Give up all connections; every later use raises `Closed`."""
        self._closed = True
        self._engine.dispose()

    def _close_late(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        """Close a connection that comes back when the store was closed meanwhile; its pool would keep it."""
        if self._closed:
            record.close()

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
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            return create_engine(address)
        return create_engine(address, pool_pre_ping=True, connect_args=_connect_args(address))
    except ArgumentError:
        # What cannot be parsed cannot be cleared of its password either, so it is not shown.
        raise InvalidArgument(
            "the store's URL is not one of a database: write sqlite:///PATH or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from None
    except ModuleNotFoundError as error:
        advice = f"pip install {error.name}"
        if url.startswith("postgres"):
            advice = "pip install 'roost[postgres]', and write postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        raise MissingDependency(f"a store at {without_secrets(url)} needs the driver {error.name}: {advice}") from error


def _connect_args(address: URL) -> dict[str, Any]:
    if address.get_driver_name() != "psycopg" or "connect_timeout" in address.query:
        return {}
    return {"connect_timeout": _CONNECT_TIMEOUT_S}


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(_BUSY_TIMEOUT_S * 1000)}")
    _use_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Switch a new database over; SQLite does not wait here, as it does elsewhere, for who is doing the same."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_AGAIN_S)


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
    with engine.connect() as connection, _unhindered_by_foreign_keys(connection), connection.begin():
        # Of two processes that open a new store at once, the second finds nothing left to do.
        _lock_for_transaction(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _check_foreign_keys(connection)


def _lock_for_transaction(connection: Connection) -> None:
    """Hold the database's own lock until the transaction ends; SQLite's write lock is one already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_KEY})


@contextmanager
def _unhindered_by_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let SQLite replace a table that others refer to, which is how it alters one; it has to be said before BEGIN."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise _NotOurs(f"its rows refer to others that are not there: {sorted({row[0] for row in broken})}")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(text("version_num")).select_from(table(VERSION_TABLE))).scalar()
