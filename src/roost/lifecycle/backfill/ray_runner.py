"""Embedding on Ray: a pool of processes, on this machine or a cluster, each with the model.

The driver is the process that called `deploy`. It reads, writes, keeps the endpoint's order of writes and notes how
far the job has come, as with threads; Ray embeds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import cycle
from pathlib import Path
from typing import Any

from roost.errors import MissingDependency
from roost.lifecycle.backfill.batches import Batch, Embedded, embed_each
from roost.lifecycle.backfill.pipeline import Runner
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.model import model_class


class RayWorkers(Runner):
    """Embeds in Ray actors. A cluster that the caller has connected to is used; otherwise one is begun here.

    A cluster that is begun here has no dashboard and reports nothing, and listens on the loopback address alone, unless
    Ray was imported before.
    """

    def __init__(self, embedder: Embedder, n_workers: int) -> None:
        """Begin the actors and give each the model's files.

        Raises: MissingDependency: Ray is not installed.
        """
        self._ray = import_ray()
        self._n_workers = n_workers
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            self._ray.init(
                num_cpus=n_workers,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _node_ip_address="127.0.0.1",
            )
        files = self._ray.put(_files_of(embedder))
        trusted = sorted(getattr(embedder, "trusted", ()))
        actor = self._ray.remote(_Worker)
        self._actors = [actor.remote(embedder.kind, files, trusted) for _ in range(n_workers)]
        self._turns = cycle(self._actors)

    @property
    def n_workers(self) -> int:
        return self._n_workers

    def submit(self, batch: Batch) -> Future[Embedded]:
        future: Future[Embedded] = next(self._turns).embed.remote(batch.contents).future()
        return future

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        if self._is_ours:
            self._ray.shutdown()


class _Worker:
    """One process with the model."""

    def __init__(self, kind: str, files: dict[str, bytes], trusted: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            model = model_class(kind).load(Path(folder), trusted)
        if not isinstance(model, Embedder):
            raise TypeError(f"a model of kind {kind!r} gives no vectors")
        self._embedder = model

    def embed(self, contents: list[Any]) -> Embedded:
        return embed_each(self._embedder, contents)


def _files_of(embedder: Embedder) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        embedder.save(Path(folder))
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def import_ray() -> Any:
    """Return Ray, which reports nothing and listens on the loopback address.

    Raises: MissingDependency: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A cluster of one machine takes the loopback address elsewhere already; the switch is read at Ray's import.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingDependency("embedding on Ray needs ray: pip install 'roost[ray]'") from error
    return ray
