"""The rows of the large runs, the right answers for them, and a collection that takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from pymilvus import DataType

from bench.arrays import FloatArray, IntArray
from bench.work import fashion_mnist

if TYPE_CHECKING:
    from roost.client import Client

BATCH = 1_000
K = 10
GRAPH = {"M": 16, "efConstruction": 200}
COPIES = 18
N_IMAGES = 60_000


class Images:
    """The rows, made when they are asked for, in an order that mixes the copies.

    Attributes:
        queries: (n, 784) float32, of the test images.
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


def recall(answers: Sequence[Sequence[int]], truth: IntArray) -> float:
    return float(np.mean([len(set(a) & set(t)) / K for a, t in zip(answers, truth.tolist(), strict=True)]))


class Nearest:
    """The K nearest rows of each query among the batches that were given so far, by brute force."""

    def __init__(self, queries: FloatArray) -> None:
        self.queries, self.n_rows = queries, 0
        self.distances = np.empty((len(queries), 0), np.float32)
        self.ids: IntArray = np.empty((len(queries), 0), np.int64)

    def add(self, batch: FloatArray) -> None:
        """Take the next rows, whose numbers follow those of the rows before."""
        found, ids = faiss.knn(self.queries, batch, K)
        distances = np.concatenate([self.distances, found], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :K]
        self.distances = np.take_along_axis(distances, order, axis=1)
        self.ids = np.take_along_axis(np.concatenate([self.ids, ids + self.n_rows], axis=1), order, axis=1)
        self.n_rows += len(batch)
