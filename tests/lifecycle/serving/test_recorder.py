from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from roost.errors import StorageFailure
from roost.lifecycle.live.judging import Drawn
from roost.lifecycle.serving import recorder as module
from roost.lifecycle.serving.recorder import Event, Recorder
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EventRow


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.close()


def n_events(store: Store) -> int:
    with store.read() as session:
        return session.scalars(select(func.count()).select_from(EventRow)).one()


def event(kind: str = "search", test_id: int | None = None, value: str | None = None) -> Event:
    return Event(kind, "search", "v1", "q", test_id=test_id, value=value)


def test_events_are_written_in_the_background(store: Store) -> None:
    recorder = Recorder(store)
    recorder.put(event())
    for _ in range(100):
        if n_events(store):
            break
        time.sleep(0.05)
    assert n_events(store) == 1
    recorder.close()


def test_closing_writes_what_waits(store: Store) -> None:
    recorder = Recorder(store)
    threads = [threading.Thread(target=lambda: [recorder.put(event()) for _ in range(300)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert n_events(store) == 1200


def test_an_event_with_a_number_counts_once(store: Store) -> None:
    recorder = Recorder(store)
    for _ in range(3):
        recorder.put(Event("feedback", "search", "v1", "q", event_id="7"))
    recorder.flush()
    recorder.put(Event("feedback", "search", "v1", "q", event_id="7"))
    recorder.put(Event("feedback", "search", "v1", "q"))
    recorder.put(Event("feedback", "search", "v1", "q"))
    recorder.close()
    assert n_events(store) == 3
    assert recorder.n_duplicates == 3


def test_who_waits_for_an_event_hears_of_it_once(store: Store) -> None:
    recorder = Recorder(store)
    heard: list[str] = []

    def put(number: str, word: str) -> None:
        recorder.put(Event("feedback", "search", "v1", "q", event_id=number, on_stored=partial(heard.append, word)))

    put("7", "first")
    put("7", "again")
    put("8", "other")
    recorder.put(Event("feedback", "search", "v1", "q"))
    recorder.flush()
    assert heard == ["first", "other"]
    put("7", "late")
    recorder.close()
    assert heard == ["first", "other"] and n_events(store) == 3


def test_a_flush_waits_for_what_another_thread_is_writing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, writing = Recorder(store), threading.Event()
    write = store.write

    def slowly() -> AbstractContextManager[Session]:
        writing.set()
        time.sleep(0.2)
        return write()

    recorder.put(event("feedback"))
    with monkeypatch.context() as patched:
        patched.setattr(store, "write", slowly)
        background = threading.Thread(target=recorder.flush_feedback)
        background.start()
        assert writing.wait(10.0)
        recorder.flush_feedback()
        assert n_events(store) == 1
        background.join()
    recorder.close()


def test_a_value_is_written_down_when_the_event_is(store: Store) -> None:
    recorder = Recorder(store)
    recorder.put(Event("search", "search", "v1", "q", value=Drawn(ids=("1", "2"))))
    recorder.close()
    with store.read() as session:
        [row] = session.scalars(select(EventRow))
    assert Drawn.from_json(row.value) == Drawn(ids=("1", "2"))


def test_under_pressure_searches_are_left_out_and_feedback_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    recorder = Recorder(store)
    with store.write():
        for _ in range(10):
            recorder.put(event())
        for _ in range(10):
            recorder.put(event("feedback"))
        assert recorder.n_left_out == 10 - 3
    recorder.close()
    assert n_events(store) == 20 - recorder.n_left_out


def test_events_wait_while_the_store_refuses(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(store)
    with store.read() as session:
        session.connection().exec_driver_sql("ALTER TABLE roost_events RENAME TO away")
        session.commit()
    recorder.put(event())
    for _ in range(100):
        if "refused" in caplog.text:
            break
        time.sleep(0.05)
    assert "events are waiting" in caplog.text
    with store.read() as session:
        session.connection().exec_driver_sql("ALTER TABLE away RENAME TO roost_events")
        session.commit()
    recorder.close()
    assert n_events(store) == 1


def test_an_event_that_cannot_be_written_keeps_no_other_one(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody writes such feedback down: it is set aside, alone."""
    recorder = Recorder(store)
    with monkeypatch.context() as patched:
        patched.setattr(recorder, "_start", lambda: None)
        for number in range(20):
            recorder.put(Event("feedback", "search", "v1", f"q{number}", value="\ud800" if number == 7 else "{}"))
    recorder.put(event())
    for _ in range(100):
        if n_events(store) == 20:
            break
        time.sleep(0.05)
    assert n_events(store) == 20
    assert (recorder.n_set_aside, recorder.n_duplicates) == (1, 0)
    assert "query 'q7'" in caplog.text and "cannot hold it" in caplog.text
    recorder.put(event("feedback"))
    recorder.close()
    with store.read() as session:
        written = session.scalars(select(EventRow.query_id).where(EventRow.kind == "feedback").order_by(EventRow.id))
        assert list(written) == [f"q{number}" for number in range(20) if number != 7] + ["q"]


def test_text_that_only_one_database_refuses_keeps_nothing_else_from_it(store: Store) -> None:
    recorder = Recorder(store)
    recorder.put(Event("feedback", "search", "v1", "q1", item="a\x00b"))
    recorder.put(Event("feedback", "search", "v1", "q2", item="good"))
    recorder.close()
    assert recorder.n_set_aside + n_events(store) == 2
    with store.read() as session:
        assert "q2" in set(session.scalars(select(EventRow.query_id)))


def test_a_store_that_goes_away_while_a_bad_event_is_looked_for_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, write = Recorder(store), store.write
    monkeypatch.setattr(recorder, "_start", lambda: None)
    for number in range(8):
        recorder.put(Event("feedback", "search", "v1", f"q{number}", value="\ud800" if number == 5 else "{}"))
    n_left = 3

    def until_it_is_gone() -> AbstractContextManager[Session]:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise StorageFailure("the store refused to write: its connection was lost")
        return write()

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", until_it_is_gone)
        with pytest.raises(StorageFailure, match="connection was lost"):
            recorder.flush()
    recorder.close()
    with store.read() as session:
        written = session.scalars(select(EventRow.query_id).order_by(EventRow.id))
        assert list(written) == [f"q{number}" for number in range(8) if number != 5]
