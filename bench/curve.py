"""What a collection costs as it grows: `python -m bench.curve [--rows 10000 60000 240000] [--plots FOLDER]`.

Images moved and mirrored as in `bench.large`, loaded in bulk and indexed: HNSW, whose vectors and graph are searched in
memory, and DISKANN, whose vectors stay on disk. Filling and asking run in processes of their own, so that what one of
them holds is its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson

import roost
from bench.environments import REPOSITORY
from bench.images import BATCH, COPIES, GRAPH, N_IMAGES, Images, Nearest, ask, make_collection, recall
from bench.memory import resident_bytes
from bench.plots import figure_at
from bench.ratios import Ratio, write_ratios
from bench.work import fashion_mnist

N_QUERIES = 300
ROUNDS = 3
SIZES = (10_000, 60_000, 240_000, 1_080_000)
TYPES = {"HNSW": (dict(GRAPH), {"ef": 32}), "DISKANN": ({}, {"search_list": 16})}
"""Build and search parameters."""


@dataclass(frozen=True)
class Point:
    """One type at one size.

    Attributes:
        load_s: of the bulk load.
        index_s: from its end until every row is indexed.
        disk_bytes: of the database.
        open_s: from opening to the first answer.
        resident_bytes: of the process that asks.
        query_us: the median of one query a call.
    """

    index_type: str
    n_rows: int
    load_s: float
    index_s: float
    disk_bytes: int
    open_s: float
    resident_bytes: int
    query_us: float
    recall: float


def fill(folder: Path, index_type: str, n_rows: int) -> None:
    """Load the rows and index them; the times are left in the folder, as are the right answers."""
    images = _images(folder, n_rows)
    file = folder / "rows.npy"
    rows = np.lib.format.open_memmap(file, "w+", np.float32, (n_rows, images.queries.shape[1]))
    nearest = Nearest(images.queries)
    for start, batch in zip(range(0, n_rows, BATCH), images.batches(), strict=False):
        rows[start : start + BATCH] = batch
        nearest.add(batch)
    np.save(folder / "truth.npy", nearest.ids)
    with closing(roost.connect(folder / "rows.roost")) as client:
        make_collection(client, index_type, TYPES[index_type][0], images.queries.shape[1])
        start_s = time.perf_counter()
        source = {"id": np.arange(n_rows), "image": np.load(file, mmap_mode="r")}
        roost.bulk_load(client, "images", source, progress=False)
        loaded_s = time.perf_counter()
        client.flush("images")
        times = {"load_s": loaded_s - start_s, "index_s": time.perf_counter() - loaded_s}
    (folder / "times.json").write_bytes(orjson.dumps(times))
    file.unlink()


def answer(folder: Path, index_type: str, n_rows: int) -> None:
    """Open what was filled, ask, and write the point to the folder."""
    images, params = _images(folder, n_rows), TYPES[index_type][1]
    path = folder / "rows.roost"
    _use_once(folder, index_type, images)
    start = time.perf_counter()
    with closing(roost.connect(path, read_only=True)) as client:
        ask(client, images.queries[0], params)
        open_s = time.perf_counter() - start
        times = []
        for _ in range(ROUNDS):
            answers = []
            for query in images.queries[:N_QUERIES]:
                before = time.perf_counter()
                answers.append(ask(client, query, params))
                times.append(time.perf_counter() - before)
        point = Point(
            index_type=index_type,
            n_rows=n_rows,
            **orjson.loads((folder / "times.json").read_bytes()),
            disk_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
            open_s=open_s,
            resident_bytes=resident_bytes(os.getpid()),
            query_us=float(np.median(times)) * 1e6,
            recall=recall(answers, np.load(folder / "truth.npy")),
        )
    (folder / "point.json").write_bytes(orjson.dumps(asdict(point)))


def _use_once(folder: Path, index_type: str, images: Images) -> None:
    """Load the libraries, which no opening is charged with."""
    with closing(roost.connect(folder / "once.roost")) as client:
        make_collection(client, index_type, TYPES[index_type][0], images.queries.shape[1])
        client.insert("images", [{"id": i, "image": row} for i, row in enumerate(images.queries)])
        client.flush("images")
        ask(client, images.queries[0], TYPES[index_type][1])


def _images(folder: Path, n_rows: int) -> Images:
    return Images(-(-n_rows // N_IMAGES), folder / "queries.npy")


def measure(index_type: str, n_rows: int) -> Point:
    """Measure one type at one size, in a folder that is removed again."""
    results = REPOSITORY / "bench" / "results"
    results.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results, prefix="curve-") as name:
        folder = Path(name)
        np.save(folder / "queries.npy", fashion_mnist()[1][:N_QUERIES])
        for step in ("fill", "answer"):
            command = [sys.executable, "-m", "bench.curve", "--step", step, "--folder", name]
            subprocess.run([*command, "--types", index_type, "--rows", str(n_rows)], check=True, cwd=REPOSITORY)
        return Point(**orjson.loads((folder / "point.json").read_bytes()))


def table(points: Sequence[Point]) -> str:
    """Return the Markdown table of docs/benchmarks.md."""
    head = ["rows", "type", "load, s", "index, s", "on disk, GB", "to the first answer, s", "resident, GB"]
    lines = [[*head, "one query, us", "recall@10"], ["---:", "---", *["---:"] * 7]]
    for p in sorted(points, key=lambda p: (p.index_type, p.n_rows)):
        sizes = [f"{p.load_s:.1f}", f"{p.index_s:.1f}", f"{p.disk_bytes / 1e9:.2f}"]
        asked = [f"{p.open_s:.2f}", f"{p.resident_bytes / 1e9:.2f}", f"{p.query_us:,.0f}", f"{p.recall:.3f}"]
        lines.append([f"{p.n_rows:,}", p.index_type, *sizes, *asked])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios_of(points: Sequence[Point]) -> list[Ratio]:
    """Return the lowest recall of all sizes."""
    return [Ratio("cost curve: recall@10, the lowest", min(p.recall for p in points), 0.95, 0.98)]


def plot(points: Sequence[Point], path: Path) -> None:
    """Draw the time of a query, the memory and the time to index over the rows."""
    with figure_at(path, 10, 3.2) as figure:
        for axes, (label, value) in zip(
            figure.subplots(1, 3),
            {
                "one query, us": lambda p: p.query_us,
                "resident memory, GB": lambda p: p.resident_bytes / 1e9,
                "loading and indexing, s": lambda p: p.load_s + p.index_s,
            }.items(),
            strict=True,
        ):
            for index_type in TYPES:
                of_type = sorted((p for p in points if p.index_type == index_type), key=lambda p: p.n_rows)
                axes.plot([p.n_rows for p in of_type], list(map(value, of_type)), marker="o", ms=3, label=index_type)
            axes.set(xscale="log", yscale="log", xlabel="rows of 784 numbers", title=label)
        axes.legend()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.curve", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help=f"whole thousands, to {COPIES * N_IMAGES:,}")
    parser.add_argument("--types", nargs="+", default=list(TYPES), choices=list(TYPES))
    parser.add_argument("--plots", type=Path, default=REPOSITORY / "bench" / "results", help="folder of the plot")
    parser.add_argument("--ratios", type=Path, help="file for what the summary holds against limits")
    parser.add_argument("--step", choices=["fill", "answer"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if any(n % BATCH or not 0 < n <= COPIES * N_IMAGES for n in options.rows):
        parser.error(f"--rows takes whole thousands up to {COPIES * N_IMAGES:,}")
    if options.step:
        {"fill": fill, "answer": answer}[options.step](options.folder, options.types[0], options.rows[0])
        return
    points = []
    for n_rows in options.rows:
        for index_type in options.types:
            points.append(measure(index_type, n_rows))
            print(table(points[-1:]).splitlines()[-1], flush=True)
    plot(points, options.plots / "curve.svg")
    print("\n" + table(points))
    if options.ratios:
        write_ratios(options.ratios, ratios_of(points))


if __name__ == "__main__":
    main()
