"""A million images, and more than memory holds: `python -m bench.large [--copies 18] [--steps insert faiss query ...]`.

Every image of Fashion-MNIST, moved by up to one pixel in each direction and mirrored: 18 copies make 1,080,000 rows of
784 numbers. Each step runs in a process of its own:

- insert: 1,000 rows a call into an HNSW collection, as fast as they are taken, and how long a call took at most;
- faiss: one Faiss HNSW of the same parameters over the same rows, built in one go;
- query: both opened again and asked in turns, the time to the first answer, and what the process holds in memory;
- disk: the rows loaded in bulk into a DISKANN collection, and what a process holds that answers from it;
- mixed: two threads search while 1,000 rows a second come in, beside the same threads alone.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import numpy.typing as npt
from pymilvus import DataType

import roost
from bench.environments import REPOSITORY
from bench.memory import resident_bytes
from bench.work import fashion_mnist

if TYPE_CHECKING:
    from roost.client import Client

STEPS = ("insert", "faiss", "query", "disk", "mixed")
BATCH = 1_000
K = 10
EF = 32
GRAPH = {"M": 16, "efConstruction": 200}
N_QUERIES = 1_000
COPIES = 18
N_IMAGES = 60_000
MIXED_S = 30.0

FloatArray = npt.NDArray[np.float32]


class Images:
    """The rows, made when they are asked for, in an order that mixes the copies.

    Attributes:
        queries: (N_QUERIES, 784) float32, of the test images.
    """

    def __init__(self, n_copies: int, queries: Path) -> None:
        """Read the queries from a file, so that a step which only asks holds no other images in memory."""
        self.queries: FloatArray = np.load(queries)
        self.n_rows = n_copies * N_IMAGES
        self._order = np.random.default_rng(5).permutation(self.n_rows // BATCH)

    def batches(self) -> Iterator[FloatArray]:
        """Yield the rows, `BATCH` at a time."""
        train = fashion_mnist()[0].reshape(-1, 28, 28)
        for number in self._order.tolist():
            copy, start = divmod(number * BATCH, N_IMAGES)
            images = train[start : start + BATCH]
            yield moved(images, copy % 3 - 1, copy // 3 % 3 - 1, mirrored=copy >= COPIES // 2).reshape(BATCH, -1)


def moved(images: FloatArray, right: int, down: int, *, mirrored: bool) -> FloatArray:
    """Return (n, 28, 28) images moved by up to a pixel; what moves in is black."""
    padded = np.pad(images[:, :, ::-1] if mirrored else images, ((0, 0), (1, 1), (1, 1)))
    return np.ascontiguousarray(padded[:, 1 - down : 29 - down, 1 - right : 29 - right])


def make_collection(client: Client, index_type: str, params: dict[str, Any], dim: int) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("image", DataType.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params()
    index.add_index("image", index_type=index_type, metric_type="L2", params=params)
    client.create_collection("images", schema=schema, index_params=index)


def ask(client: Client, query: FloatArray, params: dict[str, Any]) -> list[int]:
    (hits,) = client.search("images", [query], limit=K, search_params={"params": params})
    return [hit["id"] for hit in hits]


def gigabytes() -> str:
    return f"{resident_bytes(os.getpid()) / 1e9:.2f} GB resident"


def insert(folder: Path, images: Images) -> None:
    client = roost.connect(folder / "hnsw.roost")
    make_collection(client, "HNSW", GRAPH, images.queries.shape[1])
    start, calls = time.perf_counter(), []
    for i, batch in enumerate(images.batches()):
        rows = [{"id": i * BATCH + j, "image": row} for j, row in enumerate(batch)]
        before = time.perf_counter()
        client.insert("images", rows)
        calls.append(time.perf_counter() - before)
    inserted = time.perf_counter() - start
    client.flush("images")
    took = np.array(calls)
    print(
        f"{images.n_rows:,} rows inserted in {inserted:.0f} s, {images.n_rows / took.sum():,.0f} a second of the calls"
    )
    median, p99 = np.quantile(took, (0.5, 0.99)) * 1e3
    print(f"a call: median {median:.1f} ms, p99 {p99:.0f} ms, longest {took.max():.2f} s")
    print(f"in the graph after another {time.perf_counter() - start - inserted:.0f} s; {gigabytes()}")
    client.close()


def build_faiss(folder: Path, images: Images) -> None:
    dim = images.queries.shape[1]
    rows = np.empty((images.n_rows, dim), np.float32)
    near, truth = np.empty((N_QUERIES, 0), np.float32), np.empty((N_QUERIES, 0), np.int64)
    for i, batch in enumerate(images.batches()):
        rows[i * BATCH : (i + 1) * BATCH] = batch
        found, ids = faiss.knn(images.queries, batch, K)
        near, truth = np.concatenate([near, found], axis=1), np.concatenate([truth, ids + i * BATCH], axis=1)
        order = np.argsort(near, axis=1, kind="stable")[:, :K]
        near, truth = np.take_along_axis(near, order, axis=1), np.take_along_axis(truth, order, axis=1)
    np.save(folder / "truth.npy", truth)
    index = faiss.IndexHNSWFlat(dim, GRAPH["M"])
    index.hnsw.efConstruction = GRAPH["efConstruction"]
    start = time.perf_counter()
    index.add(rows)
    print(f"Faiss: {time.perf_counter() - start:.0f} s to build")
    faiss.write_index(index, str(folder / "faiss.bin"))


def query(folder: Path, images: Images) -> None:
    """Ask both in turns, one query a call; Faiss is given one thread, as it needs for one query."""
    truth = np.load(folder / "truth.npy")
    start = time.perf_counter()
    client = roost.connect(folder / "hnsw.roost", read_only=True)
    ask(client, images.queries[0], {"ef": EF})
    print(f"Roost: {time.perf_counter() - start:.2f} s from opening to the first answer")
    index_bytes = sum(path.stat().st_size for path in (folder / "hnsw.roost").rglob("index-*.bin"))
    answers = [ask(client, asked, {"ef": EF}) for asked in images.queries for _ in range(3)][::3]
    held = resident_bytes(os.getpid())
    print(f"Roost: {gigabytes()}, {held / index_bytes:.2f} of the index; recall@{K} {recall(answers, truth):.3f}")
    faiss.omp_set_num_threads(1)
    index = faiss.read_index(str(folder / "faiss.bin"), faiss.IO_FLAG_MMAP_IFC)
    parameters = faiss.SearchParametersHNSW(efSearch=EF)
    alone = [index.search(asked[None], K, params=parameters)[1][0].tolist() for asked in images.queries]
    times: list[list[float]] = [[], []]
    for _ in range(3):
        for asked in images.queries:
            before = time.perf_counter()
            ask(client, asked, {"ef": EF})
            between = time.perf_counter()
            index.search(asked[None], K, params=parameters)
            times[0].append(between - before)
            times[1].append(time.perf_counter() - between)
    ours, theirs = (float(np.median(part)) for part in times)
    print(f"Faiss: recall@{K} {recall(alone, truth):.3f}, {theirs * 1e6:.0f} us a query; Roost: {ours * 1e6:.0f} us")
    print(f"Roost over Faiss: {theirs / ours:.2f} (means {np.mean(times[1]) / np.mean(times[0]):.2f})")
    client.close()


def recall(answers: Sequence[Sequence[int]], truth: npt.NDArray[np.int64]) -> float:
    return float(np.mean([len(set(a) & set(t)) / K for a, t in zip(answers, truth.tolist(), strict=True)]))


def load_disk(folder: Path, images: Images) -> None:
    file = folder / "rows.npy"
    rows = np.lib.format.open_memmap(file, "w+", np.float32, (images.n_rows, images.queries.shape[1]))
    for i, batch in enumerate(images.batches()):
        rows[i * BATCH : (i + 1) * BATCH] = batch
    rows.flush()
    client = roost.connect(folder / "disk.roost")
    make_collection(client, "DISKANN", {}, images.queries.shape[1])
    start = time.perf_counter()
    source = {"id": np.arange(images.n_rows), "image": np.load(file, mmap_mode="r")}
    roost.bulk_load(client, "images", source, progress=False)
    loaded = time.perf_counter() - start
    client.flush("images")
    print(f"DISKANN: loaded in {loaded:.0f} s, indexed after another {time.perf_counter() - start - loaded:.0f} s")
    client.close()
    file.unlink()


def answer_from_disk(folder: Path, images: Images) -> None:
    truth = np.load(folder / "truth.npy")
    for search_list in (16, 32, 64):
        client = roost.connect(folder / "disk.roost", read_only=True)
        start = time.perf_counter()
        answers = [ask(client, asked, {"search_list": search_list}) for asked in images.queries]
        speed = N_QUERIES / (time.perf_counter() - start)
        found = f"recall@{K} {recall(answers, truth):.3f}, {speed:.0f} queries/s"
        print(f"DISKANN, search_list {search_list}: {found}, {gigabytes()}")
        client.close()


def mixed(folder: Path, images: Images) -> None:
    """Search by two threads, alone and beside 1,000 inserted rows a second, of which one is looked for at once."""
    path = folder / "mixed.roost"
    client = roost.connect(path)
    make_collection(client, "HNSW", GRAPH, images.queries.shape[1])
    batches = images.batches()
    n_rows = 0

    def insert_next() -> None:
        nonlocal n_rows
        batch = next(batches)
        client.insert("images", [{"id": n_rows + j, "image": row} for j, row in enumerate(batch)])
        n_rows += BATCH
        if n_rows - BATCH not in ask(client, batch[0], {"ef": EF}):
            raise SystemExit("a row that was inserted was not found at once")

    for _ in range(min(60, images.n_rows // BATCH - int(MIXED_S) - 1)):
        insert_next()
    client.flush("images")
    quiet = _searched(client, images, MIXED_S, lambda: time.sleep(1))
    busy = _searched(client, images, MIXED_S, insert_next)
    for name, took in (("quiet", quiet), ("with inserts", busy)):
        p50, p99 = np.quantile(took, (0.5, 0.99)) * 1e3
        print(f"mixed, {name}: {len(took) / MIXED_S:,.0f} queries/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    print(f"p99 with inserts over quiet: {np.quantile(busy, 0.99) / np.quantile(quiet, 0.99):.1f}")
    client.close()


def _searched(client: Client, images: Images, seconds: float, each_second: Any) -> npt.NDArray[np.float64]:
    """Search by two threads for some seconds and return how long each query took; call something every second."""
    took: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds

    def search(times: list[float], offset: int) -> None:
        number = offset
        while time.perf_counter() < end:
            before = time.perf_counter()
            ask(client, images.queries[number % N_QUERIES], {"ef": EF})
            times.append(time.perf_counter() - before)
            number += 1

    threads = [threading.Thread(target=search, args=(times, 500 * i)) for i, times in enumerate(took)]
    for thread in threads:
        thread.start()
    due = time.perf_counter()
    while due < end:
        each_second()
        due += 1
        time.sleep(max(0.0, due - time.perf_counter()))
    for thread in threads:
        thread.join()
    return np.array(took[0] + took[1])


_WORK: dict[str, tuple[Any, ...]] = {
    "insert": (insert,),
    "faiss": (build_faiss,),
    "query": (query,),
    "disk": (load_disk,),
    "answer": (answer_from_disk,),
    "mixed": (mixed,),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--copies", type=int, default=COPIES, help=f"of 60,000 rows each, at most {COPIES}")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", type=Path, help="where the data lie; kept for further steps")
    parser.add_argument("--step", choices=_WORK, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        for work in _WORK[options.step]:
            work(options.folder, Images(options.copies, options.folder / "queries.npy"))
        return
    results = REPOSITORY / "bench" / "results"
    results.mkdir(exist_ok=True)
    folder = options.folder or Path(tempfile.mkdtemp(dir=results, prefix="large-"))
    folder.mkdir(exist_ok=True)
    np.save(folder / "queries.npy", fashion_mnist()[1][:N_QUERIES])
    try:
        for name in options.steps:
            for step in (name, "answer") if name == "disk" else (name,):
                command = [sys.executable, "-m", "bench.large", "--step", step, "--folder", str(folder)]
                subprocess.run([*command, "--copies", str(options.copies)], check=True, cwd=REPOSITORY)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
