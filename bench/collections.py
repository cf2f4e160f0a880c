"""Many small collections in one database: `python -m bench.collections [--collections N] [--rows N] [--dim N]`.

Makes the collections in one process, and opens the database again in others: once without a clean close, as after a
power cut, once after everything was flushed. Times are of the whole step; memory is what the process holds more than
before it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.environments import REPOSITORY
from bench.memory import resident_bytes
from roost.embedded import EmbeddedClient

_MIB = 1 << 20


class Step:
    """What one step took."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.mebibytes = 0.0


@contextmanager
def measured() -> Iterator[Step]:
    step, before = Step(), resident_bytes(os.getpid())
    start = time.perf_counter()
    yield step
    step.seconds = time.perf_counter() - start
    step.mebibytes = (resident_bytes(os.getpid()) - before) / _MIB


def name_of(number: int) -> str:
    return f"c{number:06}"


def report(what: str, step: Step, n_collections: int) -> None:
    each_us = step.seconds / n_collections * 1e6
    each_kib = step.mebibytes * 1024 / n_collections
    time_taken = f"{step.seconds:>9.2f} s {each_us:>9.0f} us each"
    print(f"{what:<30} {time_taken} {step.mebibytes:>8.0f} MiB {each_kib:>7.1f} KiB each", flush=True)


def make(path: Path, n_collections: int, n_rows: int, dim: int) -> None:
    """Create and fill the collections, in tenths, so that what is worse than linear shows; end without closing."""
    rng = np.random.default_rng(1)
    client = EmbeddedClient(path, "", None, False)
    tenth = max(1, n_collections // 10)
    with measured() as whole:
        for start in range(0, n_collections, tenth):
            with measured() as step:
                for number in range(start, min(start + tenth, n_collections)):
                    client.create_collection(name_of(number), dimension=dim, metric_type="L2")
            if start in (0, n_collections - tenth):
                report(f"create, from number {start}", step, tenth)
    report("create, all", whole, n_collections)
    with measured() as step:
        for number in range(n_collections):
            vectors = rng.random((n_rows, dim), dtype=np.float32)
            client.insert(name_of(number), [{"id": i, "vector": vector} for i, vector in enumerate(vectors)])
    report(f"insert {n_rows} rows", step, n_collections)
    with measured() as step:
        client.list_collections()
    report("list_collections", step, n_collections)
    with measured() as step:
        for number in range(0, n_collections, 10):
            client.search(name_of(number), data=[[0.5] * dim], limit=3)
    report("search every tenth", step, n_collections // 10)
    print(f"{threading.active_count()} threads, {len(os.listdir('/proc/self/fd'))} open files", flush=True)
    os._exit(0)


def reopen(path: Path, n_collections: int, dim: int, flush: bool) -> None:
    with measured() as step:
        client = EmbeddedClient(path, "", None, False)
    report("open", step, n_collections)
    with measured() as step:
        client.search(name_of(n_collections // 2), data=[[0.5] * dim], limit=3)
    report("first search of one", step, 1)
    with measured() as step:
        client.list_collections()
    report("list_collections", step, n_collections)
    with measured() as step:
        for number in range(0, n_collections, 10):
            client.search(name_of(number), data=[[0.5] * dim], limit=3)
    report("search every tenth", step, n_collections // 10)
    if flush:
        with measured() as step:
            client.flush_all()
        report("flush", step, n_collections)
    with measured() as step:
        client.drop_collection(name_of(1))
        client.create_collection(name_of(1), dimension=dim)
    report("drop and make one", step, 1)
    with measured() as step:
        client.close()
    report("close", step, n_collections)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.collections", description=__doc__)
    parser.add_argument("--collections", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    n, dim = options.collections, options.dim
    if options.step == "make":
        make(options.path, n, options.rows, dim)
    elif options.step:
        reopen(options.path, n, dim, flush=options.step == "flush")
    else:
        results = REPOSITORY / "bench" / "results"
        results.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=results, prefix="collections-"))
        try:
            for step, title in (("make", "New"), ("flush", "Opened from the log"), ("last", "Opened from segments")):
                print(f"\n{title}: {n:,} collections of {options.rows} rows x {dim}", flush=True)
                own = ["--collections", str(n), "--rows", str(options.rows), "--dim", str(dim)]
                command = [sys.executable, "-m", "bench.collections", "--step", step, "--path", str(folder / "db")]
                subprocess.run([*command, *own], check=True, cwd=REPOSITORY)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
