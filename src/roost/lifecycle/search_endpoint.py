"""An endpoint that is searched: the stable name of a collection of records, behind which models change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from roost.lifecycle import builder, promotion, traffic, writes
from roost.lifecycle.backfill import Progress, Record, check_batch_size
from roost.lifecycle.deployments import Deployment
from roost.lifecycle.embedders.base import FloatArray
from roost.lifecycle.endpoint import Endpoint, name_of
from roost.lifecycle.livetest import Id
from roost.lifecycle.registry import ModelVersion
from roost.lifecycle.traffic import Answer, Hit, Query, Routing

DEFAULT_BATCH_SIZE = 256

_log = logging.getLogger(__name__)


class SearchEndpoint(Endpoint):
    """An endpoint whose deployments are collections of vectors. Safe to use from any thread."""

    # Deployments

    def deploy(
        self,
        model: ModelVersion,
        records: Iterable[Record],
        *,
        index: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        name: str | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
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
            records: dictionaries with the endpoint's key, `content` for the model, and what is to
                be stored beside the vector. Keys are unique.
            index: type and parameters; by default HNSW with M 16 and efConstruction 200.
            search_params: of every search, for example {"ef": 64}.
            name: by default the model's name and version, as in `digits-v1`.
            progress: called after every batch and at the start of every stage.
        Raises:
            AlreadyExists: the endpoint has a deployment of that name.
            InvalidArgument: the vector engine refuses the index; nothing was embedded.
            WorkspaceError: nothing could be stored, or the rows are not as many as were written.
        """
        check_batch_size(batch_size)
        deployment = builder.begin(self._router, model, index, search_params, name)
        return self.resume(deployment.name, records, batch_size=batch_size, progress=progress)

    def resume(
        self,
        deployment: Deployment | str,
        records: Iterable[Record],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        progress: Callable[[Progress], None] | None = None,
    ) -> Deployment:
        """Go on with a deployment whose building was interrupted.

        Args:
            records: the same records in the same order; those that were taken are not embedded again.
        Raises:
            InvalidTransition: the deployment is not being built.
            InvalidArgument: the records are not those that the deployment had begun with.
        """
        built = builder.fill(self._router, name_of(deployment), records, batch_size, progress)
        promotion.follow(self._context, self._router.endpoint_id)
        return built

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
        routing = self._router.routing
        query = Query(limit, filter, output_fields, search_params or {}, user)
        champion = traffic.serving(routing, self.name)
        hits = self._hits(champion, traffic.embed(champion, contents), query)
        rivals = self._rivals(routing, contents, query)
        if routing.test is not None and rivals is not None:
            test = routing.test
            answers = [test.interleave(own, rival, limit) for own, rival in zip(hits, rivals, strict=True)]
        else:
            answers = [self._answer(champion.deployment, found) for found in hits]
        return self._noted(answers, query, started)

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
        champion = traffic.serving(self._router.routing, self.name)
        query = Query(limit, filter, output_fields, search_params or {}, user)
        hits = self._hits(champion, traffic.own_vectors(champion, vectors, fingerprint), query)
        answers = [self._answer(champion.deployment, found) for found in hits]
        return self._noted(answers, query, started)

    def write(self, records: Sequence[Record]) -> int:
        """Write records to the champion and every live deployment, and return how many.

        Raises: InvalidData: a record does not fit; nothing was written.
        """
        return writes.write(self._router, records)

    def write_vectors(self, rows: Sequence[Mapping[str, Any]], fingerprint: str) -> int:
        """Write rows that bring their `vector`; only possible while all live deployments are of its model.

        Raises: FingerprintMismatch: a live deployment is of another model; nothing was written.
        """
        return writes.write_vectors(self._router, rows, fingerprint)

    def delete(self, keys: Sequence[Id]) -> int:
        """Delete records from the champion and every live deployment, and return how many keys were given."""
        return writes.delete(self._router, keys)

    def _hits(self, target: traffic.Target, vectors: FloatArray, query: Query) -> list[tuple[Hit, ...]]:
        return traffic.search(self._context.vectors, target, self.metric, self._router.payload.key, vectors, query)

    def _rivals(
        self, routing: Routing, contents: Sequence[Any] | npt.NDArray[Any], query: Query
    ) -> list[tuple[Hit, ...]] | None:
        """Return the challenger's hits; None without a test, or when the challenger fails.

        A challenger that fails takes nothing from the champion's users: the query is left out of the test.
        """
        if routing.test is None:
            return None
        rival = routing.test.challenger
        try:
            return self._hits(rival, traffic.embed(rival, contents), query)
        except Exception as error:  # also from a model's own code
            _log.warning("challenger %r of %r could not answer: %s", rival.deployment.name, self.name, error)
            return None

    def _noted(self, answers: list[Answer], query: Query, started: float) -> list[Answer]:
        self._answered.remember(answers)
        for answer in answers:
            self._context.recorder.put(traffic.search_event(answer, query, started))
        return answers

    def _answer(self, deployment: Deployment, hits: tuple[Hit, ...]) -> Answer:
        return Answer(traffic.new_query_id(), self.name, deployment.name, deployment.model, hits)
