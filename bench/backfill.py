"""Throughput of a backfill beside the model's own: `python -m bench.backfill [--uri URI] [--rows N]`.

The model alone is loaded and embeds the same rows, from the same array, in batches of the same size, in the same run. A
backfill loads it too, reads the rows as records, embeds, writes to the collection, and notes every batch in the store.
Indexing, which comes after, is shown apart: it depends on the index and not on how the collection was filled.

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
from roost.demo.images import load_images
from roost.lifecycle.backfill import ArraySource, Progress
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion

BATCH_SIZE = 512
N_FIT = 6_000
SIZES = (512, 2_048, 6_000)


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round."""

    alone_s: float
    filled_s: float
    indexed_s: float


def models(images: npt.NDArray[np.float32]) -> dict[str, Embedder]:
    """Return models of growing weight; the largest costs about a tenth of what a small language model does."""
    some = images[np.random.default_rng(0).permutation(len(images))[:N_FIT]]
    kernels = {f"kernel-{n}": make_pipeline(Nystroem(n_components=n, random_state=0), PCA(64)) for n in SIZES}
    return {name: SklearnEmbedder(model.fit(some)) for name, model in {"pca-32": PCA(32), **kernels}.items()}


def alone(workspace: roost.Workspace, version: ModelVersion, images: npt.NDArray[np.float32]) -> float:
    """Return the seconds in which a model is loaded and embeds all rows."""
    started = time.perf_counter()
    embedder = workspace.models.load(version)
    for start in range(0, len(images), BATCH_SIZE):
        embedder.embed(images[start : start + BATCH_SIZE])
    return time.perf_counter() - started


def measure(
    workspace: roost.Workspace, name: str, embedder: Embedder, images: npt.NDArray[np.float32], options: Any
) -> Round:
    """Return the seconds of one round, and leave nothing behind on the server."""
    endpoint = workspace.endpoints.create(f"bench-{uuid4().hex[:8]}")
    version = workspace.models.register(name, embedder)
    stages: dict[str, float] = {}

    def progress(at: Progress) -> None:
        stages.setdefault(at.stage, time.perf_counter())

    alone_s = alone(workspace, version, images)
    source = ArraySource(images, keys=np.arange(len(images)))
    deployment = endpoint.draft(version)
    started = time.perf_counter()
    built = endpoint.deploy(deployment, source, batch_size=BATCH_SIZE, progress=progress, **options)
    endpoint.retire(built, "measured")
    endpoint.purge(built, "measured")
    return Round(alone_s, stages["index"] - started, stages["done"] - stages["index"])


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
                rounds = [measure(workspace, name, embedder, images, {}) for _ in range(arguments.rounds)]
                own, filled, indexed = (
                    statistics.median(getattr(one, what) for one in rounds)
                    for what in ("alone_s", "filled_s", "indexed_s")
                )
                ratio = statistics.median(one.alone_s / one.filled_s for one in rounds)
                n = len(images)
                print(f"{name:<14}{n / own:>10,.0f}{n / filled:>10,.0f}{ratio:>8.2f}{indexed:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
