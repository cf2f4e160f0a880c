"""How many threads Faiss takes, as the engine sets it and as Faiss sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import faiss
import pytest

from roost.engine.index import threads
from roost.engine.index.threads import n_threads, one_thread

GOMP = Path("/usr/lib/x86_64-linux-gnu/libgomp.so.1")


def test_faiss_sees_what_was_set() -> None:
    before = faiss.omp_get_max_threads()
    assert n_threads() == before
    with one_thread():
        assert faiss.omp_get_max_threads() == n_threads() == 1
    assert faiss.omp_get_max_threads() == before


def test_it_is_of_the_calling_thread_alone_and_undone_after_an_error() -> None:
    seen: list[int] = []
    before = n_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        other = threading.Thread(target=lambda: seen.append(n_threads()))
        other.start()
        other.join()
        1 / 0  # noqa: B018
    assert seen == [before] and n_threads() == before


@pytest.mark.skipif(not GOMP.exists(), reason="needs the system's libgomp, which comes with gcc")
def test_another_openmp_that_came_first() -> None:
    code = """
import faiss
from roost.engine.index.threads import one_thread
with one_thread():
    print(faiss.omp_get_max_threads())
"""
    environment = {**os.environ, "LD_PRELOAD": str(GOMP)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_without_the_library_faiss_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads._openmp() != (faiss.omp_get_max_threads, faiss.omp_set_num_threads)
    monkeypatch.setattr(threads.sys, "modules", {})
    assert threads._openmp() == (faiss.omp_get_max_threads, faiss.omp_set_num_threads)
