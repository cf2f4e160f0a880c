"""An endpoint that is searched: the stable name of a collection of records, behind which models change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt
from pymilvus import exceptions as milvus

from roost.address import without_secrets
from roost.errors import CollectionNotFound, CollectionNotLoaded, RoostError
from roost.lifecycle.backfill import Estimate, Options, Price, Progress, Record, Records, estimate
from roost.lifecycle.backfill.sources import check_records
from roost.lifecycle.bridge.bridging import Bridging
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import builder, drafts, promotion
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.live import LiveTest
from roost.lifecycle.live.judging import Drawn, Rival
from roost.lifecycle.live.serving import Batch, Response
from roost.lifecycle.livetest import Id
from roost.lifecycle.models.embedders.base import FloatArray
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.monitor import recall
from roost.lifecycle.serving import traffic, writes
from roost.lifecycle.serving.answered import Remembered
from roost.lifecycle.serving.endpoint import Endpoint, name_of
from roost.lifecycle.serving.tap import noting_failures
from roost.lifecycle.serving.traffic import Answer, Hit, Query, Routing
from roost.lifecycle.store.tables import EndpointRow

DEFAULT_BATCH_SIZE = 256
DEFAULT_VERIFY = 64
DEFAULT_SAMPLE = 2_048
MAX_ROWS_READ = 200_000
"""Of a challenger's collection, to compare one sampled query of a live test with an exact search."""

_GONE = frozenset({CollectionNotFound.milvus_code, CollectionNotLoaded.milvus_code})
"""What an engine says of a collection that was dropped or released."""

_log = logging.getLogger(__name__)


class SearchEndpoint(Endpoint):
    """An endpoint whose deployments are collections of vectors. Safe to use from any thread.

    Attributes:
        bridge: lets a new model answer before its vectors are made.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        super().__init__(context, row)
        self.bridge = Bridging(self._router, self.metric)
        self._measuring: threading.Thread | None = None

    # Deployments

    def draft(
        self,
        model: ModelVersion,
        *,
        index: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        name: str | None = None,
        delivered_from: Deployment | str | None = None,
        owner: str | None = None,
    ) -> Deployment:
        """Configure a deployment that holds nothing yet, to be looked at, estimated and reviewed; see `deploy`.

        `configure` may change it until `deploy(draft, records)` begins it.
        """
        return drafts.draft(
            self._router, model, drafts.Configuration(index, search_params, name, delivered_from, owner)
        )

    def configure(
        self,
        draft: Deployment | str,
        *,
        index: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
    ) -> Deployment:
        """Change the configuration of a draft; what is not given stays.

        Raises:
            InvalidTransition: it is no draft any more.
            InvalidArgument: the index has no type.
        """
        return drafts.configure(self._router, name_of(draft), index, search_params)

    def estimate(
        self,
        model: ModelVersion | str,
        records: Records,
        *,
        index: Mapping[str, Any] | None = None,
        sample: int = DEFAULT_SAMPLE,
        batch_size: int = DEFAULT_BATCH_SIZE,
        price: Price | None = None,
    ) -> Estimate:
        """Say what `deploy` would take: time with its uncertainty, memory and cost; nothing is left behind.

        Args:
            model: a model version, or its text as in `digits/2`.
            records: a sequence, or a source; its first records are embedded, and written to a collection for the test.
            sample: how many of them.
            price: for the records, or for the time.
        Raises:
            InvalidArgument: there are too few records, they can be read only once, or the index has no type.
            pymilvus.MilvusException: the vector engine refuses the index.
        """
        version = self._context.models.get(model) if isinstance(model, str) else model
        embedder = self._context.models.load_files(version.files)
        chosen = drafts.checked_index(index)
        return estimate(
            self._context.vectors, self._router.payload, embedder, records, chosen, sample, batch_size, price
        )

    def deploy(
        self,
        model: ModelVersion | Deployment | str,
        records: Records,
        *,
        index: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        name: str | None = None,
        delivered_from: Deployment | str | None = None,
        owner: str | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        workers: int = 1,
        runner: Literal["threads", "ray"] = "threads",
        rate_limit: float | None = None,
        verify: int = DEFAULT_VERIFY,
        progress: Callable[[Progress], None] | None = None,
    ) -> Deployment:
        """Make a deployment of a model version: embed the records, index them, check them, seal it.

        The call returns when the deployment is ready. Meanwhile the endpoint answers and takes
        writes, which reach the new deployment too. After a kill or Ctrl-C, or when `records` or the
        vector engine raised in the middle, the deployment is `building` and `resume` goes on. What
        cannot be built, or failed before its first batch, is `failed`, and its name is free again.

        Records that cannot be embedded or stored are set aside: the deployment's `n_rejected` and a
        logged warning count them, and `rejected` says why.

        Args:
            model: a model version, its text as in `digits/2`, or a draft, which has its configuration already.
            records: dictionaries with the endpoint's key, `content` for the model, and what is to
                be stored beside the vector. Keys are unique. Or a source, which a job that is resumed
                does not read from its beginning: ParquetSource, CollectionSource, ArraySource.
            index: type and parameters; by default HNSW with M 16 and efConstruction 200.
            search_params: of every search, for example {"ef": 64}.
            name: by default the model's name and version, as in `digits-v1`.
            delivered_from: the deployment of the same model version elsewhere whose success is the
                reason to deliver it here, for the ledger: itself, or as in "image-search@staging/digits-v1".
            owner: who answers for it.
            batch_size: records that are embedded and written together.
            workers: batches that are embedded at once.
            runner: "threads" of this process, or the processes of "ray".
            rate_limit: records per second; by default as fast as it goes.
            verify: records that are read back and embedded again at the end.
            progress: called in this thread after every batch and at the start of every stage.
        Raises:
            AlreadyExists: the endpoint has a deployment of that name.
            InvalidArgument: these are no records, or the vector engine refuses the index; nothing was embedded.
            UnsafeModel, Corruption: the model cannot be loaded; nothing was embedded.
            InvalidData: two records have the same key.
            InvalidTransition: the draft was deployed already.
            PermissionDenied: the actor may not.
            JobStopped: somebody paused or cancelled it.
            WorkspaceError: nothing could be stored, the collection does not hold what was written, or the vector engine
                refuses the search parameters.
        """
        options = Options(batch_size, workers, runner, rate_limit, verify)
        wanted = drafts.Configuration(index, search_params, name, delivered_from, owner)
        check_records(records)
        builder.check_runner(options)
        deployment = drafts.begin(self._router, model, wanted)
        return self._fill(deployment.name, records, options, progress)

    def resume(
        self,
        deployment: Deployment | str,
        records: Records | None = None,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        workers: int = 1,
        runner: Literal["threads", "ray"] = "threads",
        rate_limit: float | None = None,
        verify: int = DEFAULT_VERIFY,
        progress: Callable[[Progress], None] | None = None,
    ) -> Deployment:
        """Go on with a deployment whose building was interrupted or paused; see `deploy` for the arguments.

        Args:
            records: the same records in the same order; those that were taken are not embedded again.
                None for the Parquet files or the collection that it was begun with.
        Raises:
            InvalidTransition: the deployment is not being built, or is being filled, here or elsewhere.
            InvalidArgument: the records are not those that the deployment had begun with.
            JobStopped: somebody paused or cancelled it.
        """
        options = Options(batch_size, workers, runner, rate_limit, verify)
        builder.check_runner(options)
        return self._fill(name_of(deployment), records, options, progress)

    def pause(self, deployment: Deployment | str, reason: str = "") -> None:
        """Let a deployment's building stop after its present batch, whichever process carries it out.

        `deploy` or `resume` raises JobStopped there; `resume` goes on, anywhere.

        Raises:
            InvalidTransition: it is not being built, or nobody is at it.
            PermissionDenied: the actor may not deploy.
        """
        builder.pause(self._router, name_of(deployment), reason)

    def cancel(self, deployment: Deployment | str, reason: str = "") -> None:
        """Give a deployment up that is being built: it is `failed`, and its vectors are dropped.

        Raises:
            InvalidTransition: it is not being built.
            PermissionDenied: the actor may not deploy.
        """
        builder.cancel(self._router, name_of(deployment), reason)

    def rejected(self, deployment: Deployment | str) -> list[tuple[str, str]]:
        """Return key and reason of the records that could not be embedded or stored."""
        return builder.rejected(self._router, name_of(deployment))

    # Traffic

    def search(
        self,
        content: Any,
        limit: int = 10,
        filter: str = "",
        output_fields: Sequence[str] = (),
        search_params: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> Answer:
        """Return the records nearest to one piece of content, and which deployment found them.

        Args:
            filter: a Milvus filter expression over the stored fields.
            search_params: beside those of the deployment.
            user: recorded with the query.
        Raises: InvalidTransition: the endpoint has no champion yet.
        """
        return self.search_batch([content], limit, filter, output_fields, search_params, user)[0]

    @noting_failures
    def search_batch(
        self,
        contents: Sequence[Any] | npt.NDArray[Any],
        limit: int = 10,
        filter: str = "",
        output_fields: Sequence[str] = (),
        search_params: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> list[Answer]:
        """Return the answers for many pieces of content, in their order; see `search`."""
        started = time.perf_counter()
        query = Query(limit, filter, output_fields, search_params or {}, user)
        return self._up_to_date(lambda routing: self._searched(routing, contents, query, started))

    def _searched(
        self, routing: Routing, contents: Sequence[Any] | npt.NDArray[Any], query: Query, started: float
    ) -> list[Answer]:
        champion = traffic.serving(routing, self.name)
        if routing.test is not None and routing.test.serving:
            return self._tested(routing.test, contents, query, started)
        bridge = self.bridge.over(champion)
        if bridge is not None:
            hits = bridge.search(contents, query)
            answers = [replace(self._answer(champion.deployment, own), bridged_to=bridge.model) for own in hits]
            return self._noted(answers, query, started, None)
        vectors = traffic.embed(champion, contents)
        answers = [self._answer(champion.deployment, found) for found in self._hits(champion, vectors, query)]
        return self._noted(answers, query, started, vectors)

    @noting_failures
    def search_vectors(
        self,
        vectors: Any,
        fingerprint: str,
        limit: int = 10,
        filter: str = "",
        output_fields: Sequence[str] = (),
        search_params: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> list[Answer]:
        """Search with vectors that the caller made, in the champion's collection alone.

        Args:
            vectors: (n, dim).
            fingerprint: of the model that made them.
        Raises: FingerprintMismatch: the champion is of another model.
        """
        started = time.perf_counter()
        query = Query(limit, filter, output_fields, search_params or {}, user)

        def answer(routing: Routing) -> list[Answer]:
            champion = traffic.serving(routing, self.name)
            own = traffic.own_vectors(champion, vectors, fingerprint)
            answers = [self._answer(champion.deployment, found) for found in self._hits(champion, own, query)]
            return self._noted(answers, query, started, own)

        return self._up_to_date(answer)

    def write(self, records: Sequence[Record]) -> int:
        """Write records to the champion and every live deployment, and return how many.

        Raises: InvalidData: a record does not fit; nothing was written.
        """
        n_written = writes.write(self._router, records)
        self.bridge.forget([record[self._router.payload.key] for record in records])
        return n_written

    def write_vectors(self, rows: Sequence[Mapping[str, Any]], fingerprint: str) -> int:
        """Write rows that bring their `vector`; only possible while all live deployments are of its model.

        Raises: FingerprintMismatch: a live deployment is of another model; nothing was written.
        """
        n_written = writes.write_vectors(self._router, rows, fingerprint)
        self.bridge.forget([row[self._router.payload.key] for row in rows])
        return n_written

    def delete(self, keys: Sequence[Id]) -> int:
        """Delete records from the champion and every live deployment, and return how many keys were given."""
        return writes.delete(self._router, keys)

    def close(self) -> None:
        """End the threads of the live test; a recall that is being measured is waited for."""
        super().close()
        measuring = self._measuring
        if measuring is not None:
            measuring.join()

    def _up_to_date(self, answer: Callable[[Routing], list[Answer]]) -> list[Answer]:
        """Answer, and once more if the collection is gone because the champion was replaced unnoticed.

        This process may have stood still while another one replaced the champion and retired it.
        """
        routing = self._router.routing
        try:
            return answer(routing)
        except milvus.MilvusException as error:
            if error.code not in _GONE:
                raise
            try:
                self._router.catch_up()
            except RoostError as also:
                _log.warning("%r cannot follow what another process changed: %s", self.name, also)
            if self._router.routing is routing:
                raise
        return answer(self._router.routing)

    def _fill(
        self, name: str, records: Records | None, options: Options, progress: Callable[[Progress], None] | None
    ) -> Deployment:
        built = builder.fill(self._router, name, records, options, progress)
        promotion.follow(self._context, self._router.endpoint_id)
        return built

    def _hits(self, target: traffic.Target, vectors: FloatArray, query: Query) -> list[tuple[Hit, ...]]:
        return traffic.search(self._context.vectors, target, self.metric, self._router.payload.key, vectors, query)

    def _tested(
        self, test: LiveTest, contents: Sequence[Any] | npt.NDArray[Any], query: Query, started: float
    ) -> list[Answer]:
        """Return the answers of a live test."""
        plain = replace(query, output_fields=())
        parts = test.serve(contents, query.user, lambda target, some: self._batch(target, some, query), query.limit)
        answers: dict[int, Answer] = {}
        for part in parts:
            own = [
                self._answer(part.target.deployment, hits, test if drawn is not None else None, drawn)
                for hits, drawn in zip(part.results, part.drawn, strict=True)
            ]
            answers.update(zip(part.positions, own, strict=True))
            ids = [answer.query_id for answer in own]
            test.opened(part, ids, query.user)
            test.mirror(contents, part, ids, lambda target, some: self._batch(target, some, plain))
            self._noted(own, query, started, part.inputs)
        return [answers[position] for position in range(len(contents))]

    def _batch(self, target: traffic.Target, contents: Sequence[Any] | npt.NDArray[Any], query: Query) -> Batch:
        vectors = traffic.embed(target, contents)
        responses = [
            Response(hits, Rival(tuple(str(hit.id) for hit in hits)), len(hits))
            for hits in self._hits(target, vectors, query)
        ]
        return Batch(responses, vectors)

    def _measure_recall(self, test: LiveTest) -> None:
        """Begin to measure, where that is not under way: who calls looks after all endpoints and cannot wait."""
        if self._measuring is None or not self._measuring.is_alive():
            samples = test.samples()
            if samples:
                measure = threading.Thread(target=self._see_recall, args=(test, samples), daemon=True)
                measure.name = "roost-recall"
                self._measuring = measure
                measure.start()

    def _see_recall(self, test: LiveTest, samples: Sequence[tuple[traffic.Target, npt.NDArray[Any]]]) -> None:
        try:
            self._compare(test, samples)
        except Exception as error:
            _log.warning("the recall of %r cannot be measured: %s", self.name, without_secrets(str(error)))

    def _compare(self, test: LiveTest, samples: Sequence[tuple[traffic.Target, npt.NDArray[Any]]]) -> None:
        for target, vectors in samples:
            if not test.running:
                return
            asked = [recall.Asked(vector, Query()) for vector in vectors]
            n_rows = target.deployment.n_records
            key = self._router.payload.key
            found = recall.measure(self._context.vectors, target, self.metric, key, asked, n_rows, MAX_ROWS_READ)
            if found.shares.mean is not None:
                test.see_recall(target.deployment.name, found.shares.mean)

    def _noted(self, answers: list[Answer], query: Query, started: float, vectors: FloatArray | None) -> list[Answer]:
        self._context.tap.searched(self.name, started, answers, vectors, query)
        now = time.time()
        self._answered.remember(
            (a.query_id, Remembered(a.deployment, tuple(str(hit.id) for hit in a.hits), a.test_id, now))
            for a in answers
        )
        for answer in answers:
            self._context.recorder.put(traffic.search_event(answer, query, started))
        return answers

    def _answer(
        self,
        deployment: Deployment,
        hits: tuple[Hit, ...],
        test: LiveTest | None = None,
        drawn: Drawn | None = None,
    ) -> Answer:
        number = test.id if test is not None else None
        others = test.plan.challengers if test is not None and test.plan.interleaves else ()
        query_id = traffic.new_query_id()
        return Answer(query_id, self.name, deployment.name, deployment.model, hits, number, others, drawn)
