from __future__ import annotations

import sqlite3
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select
from sqlalchemy.pool import NullPool

from roost.errors import AlreadyExists, Closed, InvalidArgument, MissingDependency, StorageFailure
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import VERSION_TABLE, utc_now, utc_text
from roost.lifecycle.store.tables import EndpointRow


def row(name: str) -> EndpointRow:
    return EndpointRow(name=name, identifier=name, metric="L2", fields="[]", description="", created_at=utc_now())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def test_opening_again_keeps_what_is_there(store_url: str) -> None:
    first = Store(store_url)
    with first.write() as session:
        session.add(row("search"))
    first.close()
    second = Store(store_url)
    with second.read() as session:
        assert session.scalars(select(EndpointRow.name)).all() == ["search"]
    second.close()


def test_a_transaction_that_fails_leaves_nothing(store_url: str) -> None:
    store = Store(store_url)
    with pytest.raises(RuntimeError), store.write() as session:
        session.add(row("search"))
        session.flush()
        raise RuntimeError
    with pytest.raises(AlreadyExists, match=r"(?i)unique"), store.write() as session:
        session.add_all([row("twice"), row("twice")])
    with store.read() as session:
        assert session.scalars(select(EndpointRow)).all() == []
    store.close()


def test_sqlite_is_in_wal_mode_and_survives_a_power_cut(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    with store.read() as session:
        assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert session.connection().exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.close()


def test_writers_of_two_stores_wait_for_each_other(store_url: str) -> None:
    """Read, add one, write: from many threads and two stores nothing is lost."""
    stores = [Store(store_url), Store(store_url)]
    with stores[0].write() as session:
        session.add(row("counter"))

    def count(store: Store) -> None:
        for _ in range(10):
            with store.write() as session:
                session.scalars(select(EndpointRow).with_for_update()).one().version += 1

    threads = [threading.Thread(target=count, args=(stores[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stores[0].read() as session:
        assert session.scalars(select(EndpointRow)).one().version == 41
    for store in stores:
        store.close()


def test_a_full_database_is_reported_and_nothing_is_written(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    with pytest.raises(StorageFailure, match="full"), store.write() as session:
        connection = session.connection()
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        rows = [
            {
                "name": f"n{i}",
                "identifier": f"n{i}",
                "metric": "L2",
                "fields": "x" * 5000,
                "description": "",
                "created_at": "",
            }
            for i in range(200)
        ]
        session.execute(insert(EndpointRow), rows)
    store.close()
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert connection.execute("SELECT count(*) FROM roost_endpoints").fetchone() == (0,)
    connection.close()


def test_times_are_text_that_sorts() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(noon) == "2026-01-31T10:00:00.000000+00:00"
    assert utc_now() <= utc_now() <= utc_text(datetime.now(timezone.utc))


def test_a_url_that_is_none_and_a_missing_driver_are_named_without_the_password() -> None:
    for url, error in [("postgres u:hunter2", InvalidArgument), ("nosuch://u:hunter2@db/x", InvalidArgument)]:
        with pytest.raises(error) as caught:
            Store(url)
        assert "hunter2" not in str(caught.value)
    with pytest.raises((MissingDependency, StorageFailure)) as missing:
        Store("postgresql+pg8000://u:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(missing.value) and "***@127.0.0.1:1" in str(missing.value)


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_looking_into_a_file_that_is_not_there_creates_none(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageFailure, match="no such file"):
        Store(sqlite_url, create=False)
    assert list(tmp_path.iterdir()) == []


def test_looking_into_a_store_creates_nothing(store_url: str) -> None:
    execute(store_url, "CREATE TABLE theirs (x INTEGER)")
    with pytest.raises(StorageFailure, match="holds no workspace"):
        Store(store_url, create=False)
    Store(store_url).close()
    Store(store_url, create=False).close()


def test_a_store_of_a_newer_version_is_left_alone(store_url: str) -> None:
    Store(store_url).close()
    execute(store_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StorageFailure, match="a newer version of Roost made it"):
        Store(store_url)


def test_a_store_that_cannot_be_read_or_is_closed_says_so(store_url: str) -> None:
    store = Store(store_url)
    with pytest.raises(StorageFailure, match="cannot be read"), store.read() as session:
        session.connection().exec_driver_sql("SELECT * FROM nothing")
    store.close()
    for use in (store.read, store.write):
        with pytest.raises(Closed), use():
            pass
