"""What the errors of a database become, and what is left after them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.pool import NullPool

from roost.errors import AlreadyExists, Conflict, RoostError, StorageFailure
from roost.lifecycle.store import Store
from roost.lifecycle.store.failures import failure_of
from roost.lifecycle.store.tables import EndpointRow

from .test_database import row


class ServerError(Exception):
    """As psycopg raises them."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("original", "kind", "words"),
    [
        (ServerError("23505", 'violates unique constraint "x"\nDETAIL: Key (name)=(a)'), AlreadyExists, "unique"),
        (sqlite3.IntegrityError("UNIQUE constraint failed: roost_endpoints.name"), AlreadyExists, "roost_endpoints"),
        (sqlite3.IntegrityError("FOREIGN KEY constraint failed"), StorageFailure, "FOREIGN KEY"),
        (ServerError("23503", "violates foreign key constraint"), StorageFailure, "foreign key"),
        (ServerError("40001", "could not serialize access"), Conflict, "serialization failure"),
        (ServerError("40P01", "deadlock detected"), Conflict, "a deadlock"),
        (ServerError("55P03", "canceling statement due to lock timeout"), Conflict, "not given up in time"),
        (sqlite3.OperationalError("database is locked"), StorageFailure, "refused to write: database is locked"),
        (ServerError("", ""), StorageFailure, "refused to write: ServerError"),
    ],
)
def test_an_error_becomes_one_that_says_what_to_do(original: Exception, kind: type[RoostError], words: str) -> None:
    found = failure_of(DBAPIError("INSERT", {"name": "secret"}, original), "refused to write")
    assert type(found) is kind and words in found.message
    assert "\n" not in found.message and "secret" not in found.message and "DETAIL" not in found.message


def test_a_wait_for_a_connection_that_took_too_long_is_a_failure() -> None:
    found = failure_of(TimeoutError("QueuePool limit of size 5 overflow 10 reached"), "cannot be read")
    assert type(found) is StorageFailure and "QueuePool limit" in found.message


def test_addresses_in_an_error_s_text_are_cleared_of_passwords() -> None:
    original = ServerError("08001", "connection to postgresql://roost:hunter2@db/x failed")
    assert "hunter2" not in failure_of(DBAPIError("", {}, original), "cannot be read").message


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = Store(postgres_url)
    yield opened
    opened.close()


def end_connections(url: str) -> None:
    """Do to every other connection of the database what a server does that is restarted."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


@pytest.mark.postgres
def test_a_connection_that_was_lost_between_two_calls_is_not_noticed(store: Store, postgres_url: str) -> None:
    with store.write() as session:
        session.add(row("search"))
    end_connections(postgres_url)
    with store.read() as session:
        assert session.scalars(select(EndpointRow.name)).all() == ["search"]
    end_connections(postgres_url)
    with store.write() as session:
        session.add(row("other"))


@pytest.mark.postgres
def test_a_connection_that_is_lost_inside_a_transaction_undoes_it_and_the_next_call_works(
    store: Store, postgres_url: str
) -> None:
    with pytest.raises(StorageFailure, match="refused to write: its connection was lost"), store.write() as session:
        session.add(row("search"))
        session.flush()
        end_connections(postgres_url)
    with pytest.raises(StorageFailure, match="cannot be read: its connection was lost"), store.read() as session:
        session.scalars(select(EndpointRow.name)).all()
        end_connections(postgres_url)
        session.scalars(select(EndpointRow.name)).all()
    with store.read() as session:
        assert session.scalars(select(EndpointRow.name)).all() == []


@pytest.mark.postgres
def test_what_a_server_refuses_at_the_door_is_said_without_the_password(postgres_url: str) -> None:
    url = make_url(postgres_url)
    with pytest.raises(StorageFailure, match="password authentication failed") as wrong:
        Store(url.set(password="hunter2").render_as_string(hide_password=False))
    with pytest.raises(StorageFailure, match="does not exist") as missing:
        Store(url.set(database="nosuch").render_as_string(hide_password=False))
    with pytest.raises(StorageFailure, match="refused") as nobody:
        Store(url.set(port=1).render_as_string(hide_password=False))
    for caught in (wrong, missing, nobody):
        assert "***@127.0.0.1" in caught.value.message
        assert "hunter2" not in caught.value.message and str(url.password) not in caught.value.message


@pytest.mark.postgres
def test_a_server_that_does_not_answer_is_not_waited_for_without_end(postgres_url: str) -> None:
    for address, expected in ((postgres_url, 10), (f"{postgres_url}?connect_timeout=3", 3)):
        store, seen = Store(address), []
        event.listen(store._engine, "do_connect", lambda *given, seen=seen: seen.append(given[2:]))
        store._engine.dispose()
        with store.read() as session:
            session.execute(text("SELECT 1"))
        (given, *_) = seen
        assert int(given[1]["connect_timeout"]) == expected
        store.close()


@pytest.mark.postgres
def test_a_store_that_is_closed_in_the_middle_of_a_call_leaves_no_connection(postgres_url: str) -> None:
    store = Store(postgres_url)
    with store.read() as session:
        session.execute(text("SELECT 1"))
        store.close()
    engine = create_engine(postgres_url, poolclass=NullPool)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(100):
        with engine.connect() as connection:
            n_left = connection.execute(text(others)).scalar()
        if n_left == 0:
            break
        time.sleep(0.05)
    assert n_left == 0
