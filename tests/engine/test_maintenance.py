from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from roost.engine import maintenance
from roost.engine.maintenance import Maintenance
from roost.errors import Closed

WAIT_S = 30.0


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maintenance]:
    monkeypatch.setattr(maintenance, "IDLE_S", 0.01)
    monkeypatch.setattr(maintenance._log, "disabled", True)
    worker = Maintenance("test")
    yield worker
    worker.stop()
    assert not any(t.name == "roost-maintenance-test" for t in threading.enumerate())


class Task:
    """Notes how it was called; waits for `go`, fails while `errors` are left."""

    def __init__(self, *errors: Exception) -> None:
        self.calls: list[bool] = []
        self.errors = list(errors)
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def __call__(self, full: bool) -> None:
        self.calls.append(full)
        self.started.release()
        assert self.go.wait(WAIT_S)
        if self.errors:
            raise self.errors.pop(0)


def test_a_touched_collection_is_looked_after(worker: Maintenance) -> None:
    task = Task()
    worker.touch(1, task)
    worker.touch(1, task)
    assert task.started.acquire(timeout=WAIT_S)
    assert task.calls == [False]


def test_whoever_asks_gets_the_outcome(worker: Maintenance) -> None:
    task = Task(ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        worker.request(1, task).result(WAIT_S)
    worker.request(1, task).result(WAIT_S)
    assert task.calls == [True, True]


def test_a_failure_is_tried_again_later_but_at_once_for_who_asks(
    worker: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "RETRY_S", 1e6)
    task = Task(ValueError(), ValueError())
    task.go.clear()
    worker.touch(1, task, urgent=True)
    assert task.started.acquire(timeout=WAIT_S)
    waiting = worker.request(1, task)
    task.go.set()
    with pytest.raises(ValueError):
        waiting.result(WAIT_S)
    worker.touch(1, task)
    worker.touch(1, task, urgent=True)
    worker.request(1, task).result(WAIT_S)
    assert task.calls == [False, True, True]


def test_a_failure_is_tried_again(worker: Maintenance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "RETRY_S", 0.01)
    task = Task(ValueError())
    worker.touch(1, task)
    assert task.started.acquire(timeout=WAIT_S) and task.started.acquire(timeout=WAIT_S)


def test_writes_without_a_pause_do_not_put_off_who_waits(worker: Maintenance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "IDLE_S", 1e6)
    busy, task = Task(), Task()
    busy.go.clear()
    worker.touch(1, busy, urgent=True)
    assert busy.started.acquire(timeout=WAIT_S)
    waiting = worker.request(2, task)
    worker.touch(2, task)
    busy.go.set()
    waiting.result(WAIT_S)


def test_writes_without_a_pause_put_off_upkeep_for_a_while_only(
    worker: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "IDLE_S", 1e6)
    monkeypatch.setattr(maintenance, "LONGEST_WAIT_S", 0.0)
    task = Task()
    worker.touch(1, task)
    worker.touch(1, task)
    assert task.started.acquire(timeout=WAIT_S)


def test_what_is_forgotten_is_not_run(worker: Maintenance) -> None:
    busy, task = Task(), Task()
    busy.go.clear()
    worker.touch(1, busy, urgent=True)
    assert busy.started.acquire(timeout=WAIT_S)
    waiting = worker.request(2, task)
    worker.forget(2)
    worker.forget(3)
    waiting.result(WAIT_S)
    busy.go.set()
    worker.request(1, busy).result(WAIT_S)
    assert task.calls == []


def test_who_waits_at_the_end_is_told(worker: Maintenance) -> None:
    busy, task = Task(), Task()
    busy.go.clear()
    running, queued = worker.request(1, busy), worker.request(2, task)
    assert busy.started.acquire(timeout=WAIT_S)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    with worker._changed:
        assert worker._changed.wait_for(worker.stopping, WAIT_S) or worker.stopping()
    busy.go.set()
    stopper.join()
    for waiting in (running, queued):
        with pytest.raises(Closed):
            waiting.result(WAIT_S)
    with pytest.raises(Closed):
        worker.request(1, task)
    worker.touch(1, task)
    assert task.calls == []
