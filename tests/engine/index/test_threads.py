"""How many threads Faiss takes, as the engine sets it and as Faiss sees it."""

from __future__ import annotations

import threading

import faiss
import pytest

from roost.engine.index import threads
from roost.engine.index.threads import n_threads, one_thread


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


def test_without_the_library_faiss_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads._openmp() != (faiss.omp_get_max_threads, faiss.omp_set_num_threads)
    monkeypatch.setattr(threads.sys, "modules", {})
    assert threads._openmp() == (faiss.omp_get_max_threads, faiss.omp_set_num_threads)
