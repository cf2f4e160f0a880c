"""How many threads a call of Faiss takes."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import faiss


def _openmp() -> tuple[Callable[[], int], Callable[[int], object]]:
    """Return what gets and sets the number of threads of the calling thread, without giving up the interpreter lock.

    Faiss's own functions give it up, so a search that only wants to keep to its thread waits for others in between.
    """
    try:
        module = sys.modules[faiss.swig_ptr.__module__]
        library = ctypes.PyDLL(getattr(module, "_" + module.__name__.rpartition(".")[2]).__file__)
        get, put = library.omp_get_max_threads, library.omp_set_num_threads
    except (AttributeError, KeyError, OSError, TypeError):
        return faiss.omp_get_max_threads, faiss.omp_set_num_threads
    get.argtypes, get.restype = (), ctypes.c_int
    put.argtypes, put.restype = (ctypes.c_int,), None
    before = get()
    put(before + 1)
    is_same = faiss.omp_get_max_threads() == before + 1
    put(before)
    # Another OpenMP that was loaded before Faiss's own serves Faiss, and not who asks its library.
    return (get, put) if is_same else (faiss.omp_get_max_threads, faiss.omp_set_num_threads)


_get, _set = _openmp()


def n_threads() -> int:
    """Return how many threads a call may take."""
    return int(_get())


class one_thread:
    """Keep Faiss on the calling thread: waking others for one query costs milliseconds on a busy machine."""

    __slots__ = ("_n_threads",)

    def __enter__(self) -> None:
        self._n_threads = _get()
        _set(1)

    def __exit__(self, *_: object) -> None:
        _set(self._n_threads)
