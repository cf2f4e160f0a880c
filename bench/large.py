"""A million images, and more than memory holds: `python -m bench.large [--copies 18] [--steps insert faiss query ...]`.

Every image of Fashion-MNIST, moved by up to one pixel in each direction and mirrored: 18 copies make 1,080,000 rows of
784 numbers. Each step runs in a process of its own:

- insert: 1,000 rows a call into an HNSW collection, as fast as they are taken, and how long a call took at most;
- faiss: one Faiss HNSW of the same parameters over the same rows, built in one go;
- query: both opened again and asked in turns, the time to the first answer, and what the process holds in memory;
- disk: the rows loaded in bulk into a DISKANN collection, and what a process holds that answers from it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np

import roost
from bench.arrays import FloatArray
from bench.environments import REPOSITORY
from bench.images import BATCH, COPIES, GRAPH, Images, K, Nearest, ask, make_collection, recall
from bench.memory import resident_bytes
from bench.ratios import Ratio, read_ratios, write_ratios
from bench.work import fashion_mnist

STEPS = ("insert", "faiss", "query", "disk")
EF = 32
N_QUERIES = 1_000
SEARCH_LISTS = (16, 32, 64)
RECALL = 0.95


def gigabytes() -> str:
    return f"{resident_bytes(os.getpid()) / 1e9:.2f} GB resident"


def insert(folder: Path, images: Images) -> list[Ratio]:
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
    what = f"the longest of {len(took):,} inserts of 1,000 rows, seconds"
    return [Ratio(what, float(took.max()), 1.0, 0.3, at_most=True)]


def build_faiss(folder: Path, images: Images) -> list[Ratio]:
    dim = images.queries.shape[1]
    rows = np.empty((images.n_rows, dim), np.float32)
    nearest = Nearest(images.queries)
    for i, batch in enumerate(images.batches()):
        rows[i * BATCH : (i + 1) * BATCH] = batch
        nearest.add(batch)
    np.save(folder / "truth.npy", nearest.ids)
    index = faiss.IndexHNSWFlat(dim, GRAPH["M"])
    index.hnsw.efConstruction = GRAPH["efConstruction"]
    start = time.perf_counter()
    index.add(rows)
    print(f"Faiss: {time.perf_counter() - start:.0f} s to build")
    faiss.write_index(index, str(folder / "faiss.bin"))
    return []


def query(folder: Path, images: Images) -> list[Ratio]:
    """Ask both in turns, one query a call; Faiss is given one thread, as it needs for one query."""
    truth = np.load(folder / "truth.npy")
    start = time.perf_counter()
    client = roost.connect(folder / "hnsw.roost", read_only=True)
    ask(client, images.queries[0], {"ef": EF})
    open_s = time.perf_counter() - start
    print(f"Roost: {open_s:.2f} s from opening to the first answer")
    index_bytes = sum(path.stat().st_size for path in (folder / "hnsw.roost").rglob("index-*.bin"))
    answers = [ask(client, asked, {"ef": EF}) for asked in images.queries for _ in range(3)][::3]
    held = resident_bytes(os.getpid()) / index_bytes
    print(f"Roost: {gigabytes()}, {held:.2f} of the index; recall@{K} {recall(answers, truth):.3f}")
    faiss.omp_set_num_threads(1)
    index = faiss.read_index(str(folder / "faiss.bin"), faiss.IO_FLAG_MMAP_IFC)
    parameters = faiss.SearchParametersHNSW(efSearch=EF)
    alone = [index.search(asked[None], K, params=parameters)[1][0].tolist() for asked in images.queries]
    roost_s, faiss_s = in_turns(
        images.queries,
        lambda asked: ask(client, asked, {"ef": EF}),
        lambda asked: index.search(asked[None], K, params=parameters),
    )
    ours, theirs = float(np.median(roost_s)), float(np.median(faiss_s))
    print(f"Faiss: recall@{K} {recall(alone, truth):.3f}, {theirs * 1e6:.0f} us a query; Roost: {ours * 1e6:.0f} us")
    print(f"Roost over Faiss: {theirs / ours:.2f} (means {np.mean(faiss_s) / np.mean(roost_s):.2f})")
    client.close()
    rows = f"{images.n_rows:,} rows"
    return [
        Ratio(f"{rows}: one query, over Faiss called directly", theirs / ours, 0.80, 0.95),
        Ratio(f"{rows}: reopening to the first answer, seconds", open_s, 3.0, 1.0, at_most=True),
        Ratio(f"{rows}: resident memory over the size of the index", held, 1.15, 1.05, at_most=True),
    ]


def in_turns(
    queries: FloatArray, one: Callable[[FloatArray], object], other: Callable[[FloatArray], object], rounds: int = 3
) -> tuple[list[float], list[float]]:
    """Ask two systems query by query; return the seconds of each call of the one and of the other."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for query in queries:
            for call, spent in zip((one, other), times, strict=True):
                before = time.perf_counter()
                call(query)
                spent.append(time.perf_counter() - before)
    return times


def load_disk(folder: Path, images: Images) -> list[Ratio]:
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
    return []


def answer_from_disk(folder: Path, images: Images) -> list[Ratio]:
    """Ask at several settings; the first that reaches RECALL is held to the limit of memory."""
    truth = np.load(folder / "truth.npy")
    enough: list[int] = []
    for search_list in SEARCH_LISTS:
        client = roost.connect(folder / "disk.roost", read_only=True)
        start = time.perf_counter()
        answers = [ask(client, asked, {"search_list": search_list}) for asked in images.queries]
        speed, share = N_QUERIES / (time.perf_counter() - start), recall(answers, truth)
        print(f"DISKANN, search_list {search_list}: recall@{K} {share:.3f}, {speed:.0f} queries/s, {gigabytes()}")
        if share >= RECALL:
            enough.append(resident_bytes(os.getpid()))
        client.close()
    held = enough[0] / 1e9 if enough else float("inf")
    what = f"{images.n_rows:,} rows: DISKANN at a recall@{K} of {RECALL}, resident GB"
    return [Ratio(what, held, 1.0, 0.5, at_most=True)]


_WORK: dict[str, Callable[[Path, Images], list[Ratio]]] = {
    "insert": insert,
    "faiss": build_faiss,
    "query": query,
    "disk": load_disk,
    "answer": answer_from_disk,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--copies", type=int, default=COPIES, help=f"of 60,000 rows each, at most {COPIES}")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", type=Path, help="where the data lie; kept for further steps")
    parser.add_argument("--ratios", type=Path, help="file for what the summary holds against limits")
    parser.add_argument("--step", choices=_WORK, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        found = _WORK[options.step](options.folder, Images(options.copies, options.folder / "queries.npy"))
        write_ratios(options.folder / f"ratios-{options.step}.json", found)
        return
    results = REPOSITORY / "bench" / "results"
    results.mkdir(exist_ok=True)
    folder = options.folder or Path(tempfile.mkdtemp(dir=results, prefix="large-"))
    folder.mkdir(exist_ok=True)
    np.save(folder / "queries.npy", fashion_mnist()[1][:N_QUERIES])
    ratios: list[Ratio] = []
    try:
        for step in (step for name in options.steps for step in ((name, "answer") if name == "disk" else (name,))):
            command = [sys.executable, "-m", "bench.large", "--step", step, "--folder", str(folder)]
            subprocess.run([*command, "--copies", str(options.copies)], check=True, cwd=REPOSITORY)
            ratios += read_ratios(folder / f"ratios-{step}.json")
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    if options.ratios:
        write_ratios(options.ratios, ratios)


if __name__ == "__main__":
    main()
