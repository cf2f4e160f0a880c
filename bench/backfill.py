"""Throughput of a backfill beside the model's own: `python -m bench.backfill [--uri URI] [--rows N]`.

The model alone embeds the same rows, from the same array, in batches of the same size, in the same run, after one batch
that is not timed. A backfill reads them as records, embeds, writes to the collection, and notes every batch in the
store. Both begin with the model loaded. Indexing, which comes after, is shown apart: it depends on the index and not
on how the collection was filled.

Both take turns, and the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import make_pipeline

import roost
from bench.encoder import transformer
from roost.demo.images import load_images
from roost.lifecycle.backfill import ArraySource, Progress
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.embedders.onnx import OnnxEmbedder
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder

BATCH_SIZE = 512
N_FIT = 6_000
SIZES = (512, 2_048, 6_000)
ENCODER = "transformer"
N_ENCODED = 6_000
"""Rows that the transformer embeds, which takes long."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round."""

    alone_s: float
    filled_s: float
    indexed_s: float


class Rows(ArraySource):
    """The rows of an array, and when a backfill began with them: `describe` is what it asks for first."""

    def __init__(self, content: npt.NDArray[np.float32]) -> None:
        super().__init__(content, keys=np.arange(len(content)))
        self.began = 0.0

    def describe(self) -> dict[str, Any]:
        self.began = self.began or time.perf_counter()
        return super().describe()


def models(images: npt.NDArray[np.float32]) -> dict[str, Embedder]:
    """Return models of growing weight."""
    some = images[np.random.default_rng(0).permutation(len(images))[:N_FIT]]
    kernels = {f"kernel-{n}": make_pipeline(Nystroem(n_components=n, random_state=0), PCA(64)) for n in SIZES}
    plain = {name: SklearnEmbedder(model.fit(some)) for name, model in {"pca-32": PCA(32), **kernels}.items()}
    return {**plain, ENCODER: OnnxEmbedder(transformer())}


def alone(embedder: Embedder, images: npt.NDArray[np.float32]) -> float:
    """Return the seconds in which a model embeds all rows."""
    embedder.embed(images[:BATCH_SIZE])
    started = time.perf_counter()
    for start in range(0, len(images), BATCH_SIZE):
        embedder.embed(images[start : start + BATCH_SIZE])
    return time.perf_counter() - started


def measure(workspace: roost.Workspace, name: str, embedder: Embedder, images: npt.NDArray[np.float32]) -> Round:
    """Return the seconds of one round, and leave nothing behind on the server."""
    endpoint = workspace.endpoints.create(f"bench-{uuid4().hex[:8]}")
    version = workspace.models.register(name, embedder)
    stages: dict[str, float] = {}

    def progress(at: Progress) -> None:
        stages.setdefault(at.stage, time.perf_counter())

    alone_s = alone(workspace.models.load(version), images)
    source = Rows(images)
    built = endpoint.deploy(version, source, batch_size=BATCH_SIZE, progress=progress)
    endpoint.retire(built, "measured")
    endpoint.purge(built, "measured")
    return Round(alone_s, stages["index"] - source.began, stages["done"] - stages["index"])


def main() -> None:
    """Measure and print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", help="a Milvus server; by default the embedded engine")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*")
    arguments = parser.parse_args()
    images = load_images("fashion-mnist").gallery[: arguments.rows]
    print(f"{len(images):,} rows of {images.shape[1]}, {arguments.uri or 'embedded'}; rows/s, medians of rounds")
    print(f"{'model':<14}{'alone':>10}{'backfill':>10}{'ratio':>8}{'index s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        places = [arguments.uri, folder] if arguments.uri else [folder]
        with roost.Workspace(*places) as workspace:
            for name, embedder in models(images).items():
                if arguments.models and name not in arguments.models:
                    continue
                rows = images[:N_ENCODED] if name == ENCODER else images
                rounds = [measure(workspace, name, embedder, rows) for _ in range(arguments.rounds)]
                own, filled, indexed = (
                    statistics.median(getattr(one, what) for one in rounds)
                    for what in ("alone_s", "filled_s", "indexed_s")
                )
                ratio = statistics.median(one.alone_s / one.filled_s for one in rounds)
                n = len(rows)
                print(f"{name:<14}{n / own:>10,.0f}{n / filled:>10,.0f}{ratio:>8.2f}{indexed:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
