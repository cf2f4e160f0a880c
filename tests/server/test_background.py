from __future__ import annotations

import threading

import pytest

from roost.errors import Closed, Conflict, GateFailed, InvalidData
from roost.lifecycle.actor import acting, acting_as
from roost.lifecycle.jobs import Job
from roost.server.rest.background import MAX_RUNNING, Background, newest
from roost.server.rest.served import decoded


def job(number: int) -> Job:
    return Job(number, "backfill", "e", "d", "running", "run", 0, None, 0, "ann", "w", {}, {}, None, None, "now")


def test_work_is_done_by_who_asked_and_stopped_by_them_too() -> None:
    background, begun, end, seen = Background(), threading.Event(), threading.Event(), []

    def work() -> None:
        seen.append(acting("server"))
        begun.set()
        end.wait(60)

    def stop(found: Job) -> None:
        seen.append(f"{acting('server')} stops {found.id}")
        end.set()

    with acting_as("ann"):
        started = background.start(work, lambda: job(7) if begun.is_set() else None, stop)
    assert started.id == 7
    background.close()
    assert seen == ["ann", "ann stops 7"]
    with pytest.raises(Closed):
        background.start(work, lambda: None, stop)


def test_what_fails_before_there_is_a_job_is_raised() -> None:
    def refuse() -> None:
        raise GateFailed("not today")

    with pytest.raises(GateFailed, match="not today"):
        Background().start(refuse, lambda: None, lambda job: None)
    with pytest.raises(Conflict, match="ended before"):
        Background().start(lambda: None, lambda: None, lambda job: None)


def test_a_server_does_not_begin_more_than_it_can_do() -> None:
    background, end = Background(), threading.Event()
    for number in range(MAX_RUNNING):
        background.start(lambda: end.wait(60), lambda number=number: job(number + 1), lambda job: end.set())
    with pytest.raises(Conflict, match="run here already"):
        background.start(lambda: end.wait(60), lambda: job(9), lambda job: None)
    background.close()
    assert end.is_set()


def test_the_newest_job_that_fits_is_found() -> None:
    jobs = [job(9), job(8), job(7)]
    assert newest(jobs, 7, lambda one: one.id < 9) == job(8)
    assert newest(jobs, 8, lambda one: one.id < 9) is None


def test_lists_of_numbers_are_arrays_and_the_rest_is_not() -> None:
    assert decoded([[1, 2], [3, 4]]).dtype == "float64"
    assert decoded([[1, 2], [3, 4]]).shape == (2, 2)
    for value in ("text", {"age": 3}, ["a", "b"], [{"age": 3}], [1, "a"], [], None):
        assert decoded(value) == value
    with pytest.raises(InvalidData, match="equally long"):
        decoded([[1], [1, 2]])
