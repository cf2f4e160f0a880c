from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from roost.lifecycle.store import Store
from roost.workspace import Workspace

HOLD = """
import sys, time
from roost.lifecycle.store import Store
with Store(sys.argv[1]).lock("writes-1"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def test_one_thread_at_a_time_holds_a_lock_also_through_two_stores(store: Store, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path}/store.db")
    inside, most, counting = 0, 0, threading.Lock()

    def enter(lock: object) -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock:  # type: ignore[attr-defined]
                with counting:
                    inside += 1
                    most = max(most, inside)
                with counting:
                    inside -= 1

    shared = store.lock("writes-1")
    locks = [shared, shared, store.lock("writes-1"), other.lock("writes-1")]
    threads = [threading.Thread(target=enter, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
    other.close()


def test_a_look_tells_who_holds_a_lock_and_takes_nothing(store: Store) -> None:
    lock, other = store.lock("fill-1"), store.lock("fill-1")
    assert not other.is_held(), "nobody has ever held it"
    with lock:
        assert other.is_held() and not store.lock("fill-2").is_held()
        assert other.is_held()
    assert not other.is_held()
    with other.hold(wait=False) as is_ours:
        assert is_ours


def test_many_may_look_at_once_and_the_store_answers_others_meanwhile(workspace: Workspace) -> None:
    store = workspace._context.store
    with store.lock("fill-1"), ThreadPoolExecutor(40) as looking:
        looks = [looking.submit(store.lock("fill-1").is_held) for _ in range(200)]
        with store.read() as session:
            assert session.execute(text("SELECT 1")).scalar() == 1
        assert all(look.result(60) for look in looks)


def test_who_does_not_wait_hears_that_a_lock_is_taken(store: Store) -> None:
    first, second = store.lock("fill-1"), store.lock("fill-1")
    with first:
        with second.hold(wait=False) as is_ours:
            assert not is_ours
        with first.hold(wait=False) as is_ours:
            assert not is_ours
        with store.lock("fill-2").hold(wait=False) as is_ours:
            assert is_ours
    with second.hold(wait=False) as is_ours:
        assert is_ours


def test_a_lock_is_free_after_an_error(store: Store) -> None:
    lock = store.lock("fill-1")
    with pytest.raises(LookupError), lock:
        raise LookupError
    with lock.hold(wait=False) as is_ours:
        assert is_ours


@pytest.mark.crash
def test_a_process_that_is_killed_gives_its_lock_up_and_the_next_waits_a_little(store: Store, tmp_path: Path) -> None:
    source = str(Path(__file__).parents[3] / "src")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", HOLD, f"sqlite:///{tmp_path}/store.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with store.lock("writes-1").hold(wait=False) as is_ours:
            assert not is_ours
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    started = time.monotonic()
    with store.lock("writes-1", grace_s=0.4):
        assert time.monotonic() - started >= 0.4
    with store.lock("writes-1", grace_s=3600.0):
        pass
