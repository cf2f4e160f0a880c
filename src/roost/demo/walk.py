"""The walk from labelled images to a promoted model, under traffic that never pauses."""

from __future__ import annotations

import gc
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from roost.address import without_secrets
from roost.demo.images import ImageSet, Pixels
from roost.demo.outcome import (
    AFTERWARDS_S,
    EMBEDDED,
    Example,
    K,
    LiveTestResult,
    Look,
    Outcome,
    Quality,
    SwitchTiming,
    in_milliseconds,
)
from roost.demo.steps import SilentWatcher, Steps, Watcher
from roost.demo.traffic import BackgroundClient, Trace
from roost.errors import InvalidArgument, LedgerBroken
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.live import TestStatus
from roost.lifecycle.livetest import Side
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.workspace import Workspace

if TYPE_CHECKING:
    from roost.client import Client

CHAMPION_DIM = 4
CHALLENGER_DIM = 16
ALPHA = 0.05

_MODEL = "image-pca"
_ENDPOINT = "image-search"
_WORKSPACE_FOLDER = "workspace"
_MARK = ".roost-demo"
_INDEX = {"index_type": "HNSW", "M": 16, "efConstruction": 200}
_SEARCH_PARAMS = {"ef": 64}
_BATCH_SIZE = 1_000
_TRAFFIC_S = AFTERWARDS_S + 0.2
"""How long the client searches undisturbed before the backfill and after each switch."""

_MIN_QUERIES = 100
_LONGEST_WAIT_S = 10.0


def run_demo(images: ImageSet, folder: Path, uri: str | None = None, watcher: Watcher | None = None) -> Outcome:
    """Run the demo and return what was measured.

    Args:
        images: what is searched, and what is searched with.
        folder: gets the workspace; one of an earlier demo is replaced.
        uri: a Milvus server for the vectors; what the demo makes there is dropped in the end. None
            keeps the vectors in the workspace.
        watcher: is told of every step.
    Raises: InvalidArgument: the folder holds something else.
    """
    begin = perf_counter()
    with _open_workspace(folder, uri) as (workspace, endpoint):
        return _Walk(workspace, endpoint, images, watcher or SilentWatcher()).run(
            without_secrets(uri) if uri else EMBEDDED, begin
        )


def prepare_folder(folder: Path) -> Path:
    """Make the demo's folder ready and return where its workspace goes.

    Raises: InvalidArgument: the folder is not empty and was not made by the demo.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument(f"{folder} is not a folder: name another one with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise InvalidArgument(f"{folder} holds files that are not the demo's: name another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    workspace = folder / _WORKSPACE_FOLDER
    if workspace.exists():
        shutil.rmtree(workspace)
    return workspace


@contextmanager
def _open_workspace(folder: Path, uri: str | None) -> Iterator[tuple[Workspace, str]]:
    """Open a new workspace and name an endpoint that nobody else has on the server."""
    path = prepare_folder(folder)
    if uri is None:
        with Workspace(path) as workspace:
            yield workspace, _ENDPOINT
        return
    endpoint = f"{_ENDPOINT}-{secrets.token_hex(4)}"
    with Workspace(uri, store=path) as workspace:
        try:
            yield workspace, endpoint
        finally:
            drop_collections(workspace.vectors, endpoint)


def drop_collections(client: Client, endpoint: str) -> None:
    """Drop every collection of the endpoint, with its aliases, from a Milvus server."""
    prefix = f"{endpoint.replace('-', '_')}__"
    for collection in client.list_collections():
        if collection.startswith(prefix):
            # pymilvus says that this is a list; it is a dictionary that holds one.
            answer: Any = client.list_aliases(collection)
            for alias in answer["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(collection)


@contextmanager
def _few_objects_to_collect() -> Iterator[None]:
    """Keep Python's garbage collector from going through what was made before the traffic began.

    A full collection stops every thread, and goes through several hundred thousand objects of the
    libraries alone. A service that must not pause does this once it has started.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Walk:
    """One run: the objects that its steps share."""

    def __init__(self, workspace: Workspace, endpoint: str, images: ImageSet, watcher: Watcher) -> None:
        self._workspace = workspace
        self._images = images
        self._steps = Steps(watcher)
        self._watcher = watcher
        self._endpoint = workspace.endpoints.create(
            endpoint, metric="L2", description=f"search among the images of {images.name}"
        )
        self._switches: list[SwitchTiming] = []

    def run(self, place: str, begin_s: float) -> Outcome:
        weak, strong = self._train(CHAMPION_DIM), self._train(CHALLENGER_DIM)
        champion = self._deploy(weak, "Deploy the champion")
        self._switch("promote the first model", champion, "the first model")
        with _few_objects_to_collect(), BackgroundClient(self._search, self._images.held_out) as client:
            before, rows_before = self._measure("champion", weak)
            self._watch_traffic(client)
            challenger = self._deploy(strong, "Backfill the challenger under traffic")
            live_test, verdict = self._live_test(challenger)
            self._switch("promote", challenger, "what the live test said", verdict)
            after, rows_after = self._measure("challenger", strong)
            self._watch_traffic(client)
            self._switch("roll back", None, "to show that it can be undone")
            self._watch_traffic(client)
            self._switch("promote again", challenger, "what the live test said", verdict)
            self._watch_traffic(client)
        ledger_error = self._verify_ledger()
        trace = client.trace()
        return Outcome(
            images=self._images,
            uri=place,
            endpoint=self._endpoint.name,
            steps=tuple(self._steps.done),
            qualities=(before, after),
            live_test=live_test,
            switches=measured_switches(self._switches[1:], trace),
            trace=trace,
            ledger=tuple(self._workspace.ledger.entries()),
            ledger_error=ledger_error,
            examples=first_of_each_class(self._images, rows_before, rows_after),
            seconds=perf_counter() - begin_s,
        )

    def _search(self, image: Pixels) -> str:
        answer = self._endpoint.search(image, limit=K)
        if len(answer.hits) != K:
            raise LookupError(f"{len(answer.hits)} results instead of {K}")
        return str(answer.deployment)

    def _train(self, dim: int) -> ModelVersion:
        gallery = self._images.gallery
        with self._steps.step(f"Train and register PCA-{dim}") as step:
            params = {"embedder": "PCA", "n_components": dim}
            with self._workspace.runs.start(f"pca-{dim}", params=params, data=gallery, seed=0) as run:
                pca = PCA(dim, random_state=0).fit(gallery)
                run.log_metrics({"explained_variance": float(pca.explained_variance_ratio_.sum())})
            version = self._workspace.models.register(_MODEL, SklearnEmbedder(pca), run=run)
            step.result = f"{version.name}/{version.version}, {dim} dimensions"
        return version

    def _deploy(self, model: ModelVersion, name: str) -> Deployment:
        images = self._images
        records = (
            {"id": row, "content": pixels, "label": int(label)}
            for row, (pixels, label) in enumerate(zip(images.gallery, images.gallery_labels, strict=True))
        )
        with self._steps.step(name) as step:
            deployment = self._endpoint.deploy(
                model,
                records,
                index=_INDEX,
                search_params=_SEARCH_PARAMS,
                batch_size=_BATCH_SIZE,
                progress=lambda progress: self._watcher.advanced(progress.n_done, len(images.gallery)),
            )
            step.result = f"{deployment.n_records:,} images in {deployment.name}"
        return deployment

    def _measure(self, side: Side, model: ModelVersion) -> tuple[Quality, npt.NDArray[np.int64]]:
        images = self._images
        with self._steps.step(f"Measure the {side}") as step:
            answers = self._endpoint.search_batch(images.held_out, limit=K)
            rows = np.asarray([[hit.id for hit in answer.hits] for answer in answers], dtype=np.int64)
            right = (images.gallery_labels[rows] == images.held_out_labels[:, None]).mean(axis=1)
            by_class = {
                name: float(right[images.held_out_labels == label].mean()) for label, name in enumerate(images.classes)
            }
            precision = float(right.mean())
            step.result = f"precision@{K} {precision:.3f} on {len(rows):,} held-out images"
        return Quality(side, answers[0].deployment, f"PCA-{model.dim}", model.dim, precision, by_class), rows

    def _live_test(self, challenger: Deployment) -> tuple[LiveTestResult, TestStatus]:
        images = self._images
        test = self._endpoint.start_test(challenger, method="interleave", alpha=ALPHA, seed=0)
        looks = [_look(test.status())]
        with self._steps.step("Live test on held-out images") as step:
            for image, label in zip(images.held_out, images.held_out_labels, strict=True):
                answer = self._endpoint.search(image, limit=K, output_fields=["label"])
                self._endpoint.feedback(
                    answer.query_id, {hit.id: float(hit.fields["label"] == label) for hit in answer.hits}
                )
                status = test.status()
                looks.append(_look(status))
                self._watcher.advanced(status.n_queries, len(images.held_out))
                if not test.running:
                    break
            else:
                test.stop(reason="no more held-out images")
                status = test.status()
            step.result = (
                f"{status.decision} after {status.n_queries} queries: {status.challenger_wins} won, "
                f"{status.champion_wins} lost, {status.ties} tied, p = {status.p_value:.2g}"
            )
        return LiveTestResult(ALPHA, status.decision, tuple(looks)), status

    def _switch(self, action: str, to: Deployment | None, reason: str, evidence: TestStatus | None = None) -> None:
        """Promote a deployment, or roll back where `to` is None."""
        with self._steps.step(action.capitalize()) as step:
            begin = perf_counter()
            if to is None:
                switch = self._endpoint.rollback(reason=reason)
            else:
                switch = self._endpoint.promote(to, reason=reason, evidence=evidence)
            end = perf_counter()
            seconds = end - (switch.total_seconds - switch.seconds) - begin
            step.result = f"{switch.champion} answers after {in_milliseconds(seconds)}"
        self._switches.append(SwitchTiming(action, switch.champion, begin, seconds, end - begin))

    def _verify_ledger(self) -> str | None:
        with self._steps.step("Verify the ledger") as step:
            try:
                n_entries = self._workspace.ledger.verify()
            except LedgerBroken as error:
                step.result = error.message
                return str(error.message)
            step.result = f"{n_entries} entries, the chain is whole"
        return None

    def _watch_traffic(self, client: BackgroundClient) -> None:
        """Let the client search for a while, and until it has seen enough."""
        begin, n_before = perf_counter(), client.n_queries
        while perf_counter() - begin < _LONGEST_WAIT_S:
            sleep(0.01)
            if perf_counter() - begin >= _TRAFFIC_S and client.n_queries - n_before >= _MIN_QUERIES:
                return


def measured_switches(switches: list[SwitchTiming], trace: Trace) -> tuple[SwitchTiming, ...]:
    """Return the switches with what the client saw of each."""
    ends = [later.started_s for later in switches[1:]] + [float("inf")]
    measured = []
    for switch, end_s in zip(switches, ends, strict=True):
        done_s = switch.started_s + switch.seconds
        after = trace.answered_mask & (trace.started_s > done_s) & (trace.started_s + trace.latency_s < end_s)
        measured.append(
            replace(
                switch,
                longest_gap_s=trace.longest_gap_s(switch.started_s, switch.started_s + switch.call_s + AFTERWARDS_S),
                n_stale=int((trace.deployments[after] != switch.champion).sum()),
            )
        )
    return tuple(measured)


def first_of_each_class(
    images: ImageSet, champion: npt.NDArray[np.int64], challenger: npt.NDArray[np.int64]
) -> tuple[Example, ...]:
    """Return the first held-out image of every class with both answers ((n_held_out, K) gallery rows)."""
    queries = [int(np.flatnonzero(images.held_out_labels == label)[0]) for label in range(len(images.classes))]
    return tuple(
        Example(query, {"champion": tuple(map(int, champion[query])), "challenger": tuple(map(int, challenger[query]))})
        for query in queries
    )


def _look(status: TestStatus) -> Look:
    return Look(status.n_queries, status.champion_wins, status.challenger_wins, status.ties, status.p_value)
