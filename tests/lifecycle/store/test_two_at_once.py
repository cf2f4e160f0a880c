"""What two threads, stores or processes do to one database at the same moment."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.pool import NullPool

from roost.errors import AlreadyExists, Conflict, RoostError
from roost.lifecycle.ledger import Ledger, append
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import REVISION, VERSION_TABLE
from roost.lifecycle.store.tables import EndpointRow

from .test_database import row

SOURCE = Path(__file__).resolve().parents[3] / "src"
WAIT_S = 60.0


@pytest.fixture
def stores(store_url: str) -> Iterator[tuple[Store, Store]]:
    opened = Store(store_url), Store(store_url)
    yield opened
    for store in opened:
        store.close()


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Call each in a thread of its own from one moment on; return what came of each, errors as values."""
    barrier, outcomes = threading.Barrier(len(calls)), [None] * len(calls)

    def run(position: int) -> None:
        barrier.wait(WAIT_S)
        try:
            outcomes[position] = calls[position]()  # type: ignore[call-overload]
        except RoostError as error:
            outcomes[position] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)
    return list(outcomes)


def test_of_two_who_make_the_same_one_is_told_that_it_is_there(stores: tuple[Store, Store]) -> None:
    """The second begins while the first is not committed, so that looking before would not have helped."""
    first_has_written, second_has_begun = threading.Event(), threading.Event()

    def first() -> str:
        with stores[0].write() as session:
            session.add(row("search"))
            session.flush()
            first_has_written.set()
            second_has_begun.wait(WAIT_S)
        return "made"

    def second() -> str:
        first_has_written.wait(WAIT_S)
        second_has_begun.set()
        with stores[1].write() as session:
            session.add(row("search"))
        return "made"

    made, refused = at_once(first, second)
    assert made == "made"
    assert isinstance(refused, AlreadyExists) and "somebody else has just made the same" in refused.message
    with stores[1].read() as session:
        assert session.scalars(select(func.count()).select_from(EndpointRow)).one() == 1


def test_entries_of_the_ledger_take_turns_from_the_very_first_on(stores: tuple[Store, Store]) -> None:
    def entries(store: Store) -> Callable[[], None]:
        def write() -> None:
            for number in range(10):
                with store.write() as session:
                    append(session, "ann", "promote", "search", f"v{number}")

        return write

    assert at_once(*(entries(store) for store in stores * 2)) == [None] * 4
    assert Ledger(stores[0]).verify() == 40


def test_two_entries_of_one_transaction_follow_each_other(stores: tuple[Store, Store]) -> None:
    for _ in range(2):
        with stores[0].write() as session:
            append(session, "ann", "test.stop", "search", "test 1")
            append(session, "ann", "promote", "search", "v1")
    assert Ledger(stores[1]).verify() == 4


def test_a_reader_sees_one_moment(stores: tuple[Store, Store]) -> None:
    with stores[0].read() as session:
        assert session.scalars(select(EndpointRow.name)).all() == []
        with stores[1].write() as other:
            other.add(row("search"))
        assert session.scalars(select(EndpointRow.name)).all() == []
    with stores[0].read() as session:
        assert session.scalars(select(EndpointRow.name)).all() == ["search"]


@pytest.mark.postgres
def test_a_deadlock_is_a_conflict_for_one_and_nothing_to_the_other(postgres_url: str) -> None:
    """SQLite knows one lock alone, which nobody can wait for in two orders."""
    store, both_hold_one = Store(postgres_url), threading.Barrier(2)
    with store.write() as session:
        session.add_all([row("a"), row("b")])

    def change(first: str, second: str) -> Callable[[], str]:
        def run() -> str:
            with store.write() as session:
                session.scalars(select(EndpointRow).where(EndpointRow.name == first).with_for_update()).one()
                both_hold_one.wait(WAIT_S)
                session.scalars(select(EndpointRow).where(EndpointRow.name == second).with_for_update()).one()
            return "changed"

        return run

    outcomes = at_once(change("a", "b"), change("b", "a"))
    assert "changed" in outcomes
    (refused,) = [outcome for outcome in outcomes if outcome != "changed"]
    assert isinstance(refused, Conflict) and "deadlock" in refused.message and "repeat" in refused.message
    store.close()


OPEN_ALL = """
import sys
from pathlib import Path
from roost.lifecycle.store import Store
from roost.lifecycle.models.tracking import Tracking
url, artifacts = sys.argv[1:]
import mlflow  # its import takes longest: both are through it before they begin
print("ready", flush=True)
sys.stdin.readline()
store = Store(url)
tracking = Tracking(store, Path(artifacts))
print(tracking.experiment_id)
tracking.close()
store.close()
"""


def test_a_new_database_that_somebody_is_writing_to_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    with closing(writer):
        ends = threading.Timer(0.3, writer.execute, ("COMMIT",))
        ends.start()
        Store(f"sqlite:///{path}").close()
        ends.join()


def test_two_processes_open_an_empty_database_at_once(store_url: str, tmp_path: Path) -> None:
    """Roost's tables, MLflow's, and MLflow's experiment are made once."""
    command = [sys.executable, "-c", OPEN_ALL, store_url, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=WAIT_S)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said[0] == said[1] != ""
    engine = create_engine(store_url, poolclass=NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").all() == [(REVISION,)]
