"""An endpoint: the stable name that an application searches and writes through."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy.typing as npt

from roost.errors import WorkspaceError
from roost.lifecycle import builder, promotion, traffic, writes
from roost.lifecycle.answered import Answered
from roost.lifecycle.backfill import Progress, Record, check_batch_size
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import Deployment, deployment_of, row_named, rows_of
from roost.lifecycle.embedder import FloatArray
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.live import LiveTest, TestStatus
from roost.lifecycle.livetest import Id
from roost.lifecycle.promotion import Switch
from roost.lifecycle.recorder import Event
from roost.lifecycle.registry import ModelVersion
from roost.lifecycle.router import Router
from roost.lifecycle.store.tables import EndpointRow
from roost.lifecycle.traffic import Answer, Hit, Query, Routing

DEFAULT_BATCH_SIZE = 256

_log = logging.getLogger(__name__)


class Endpoint:
    """A stable name for searches, behind which models change. Safe to use from any thread.

    Searches wait for no change of the endpoint and touch no database but the vectors'. Changes of one
    endpoint wait for each other.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        self.name = row.name
        self.alias = row.identifier
        self.metric = row.metric
        self.description = row.description
        self._context = context
        self._router = Router(context, row)
        self._answered = Answered()

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
        built = builder.fill(self._router, _name(deployment), records, batch_size, progress)
        promotion.follow(self._context, self._router.endpoint_id)
        return built

    def retire(self, deployment: Deployment | str, reason: str) -> None:
        """End a deployment and drop its vectors; there is no way back to it.

        Raises:
            InvalidTransition: it is the champion, or takes part in a live test.
            InvalidArgument: the reason is empty.
        """
        builder.retire(self._router, _name(deployment), reason)
        promotion.follow(self._context, self._router.endpoint_id)

    def rejected(self, deployment: Deployment | str) -> list[tuple[str, str]]:
        """Return key and reason of the records that could not be embedded or stored."""
        return builder.rejected(self._router, _name(deployment))

    def deployments(self) -> list[Deployment]:
        """Return all deployments, oldest first, the retired ones included."""
        with self._context.store.read() as session:
            return [deployment_of(row, self.name) for row in rows_of(session, self._router.endpoint_id)]

    def deployment(self, name: str) -> Deployment:
        """Return one deployment.

        Raises: DeploymentNotFound: the endpoint has none of that name.
        """
        with self._context.store.read() as session:
            return deployment_of(row_named(rows_of(session, self._router.endpoint_id), name), self.name)

    @property
    def champion(self) -> Deployment | None:
        """The deployment that answers; None before the first promotion."""
        champion = self._router.routing.champion
        return champion.deployment if champion is not None else None

    @property
    def version(self) -> int:
        """The version of the endpoint's row that this process has seen."""
        return self._router.routing.version

    def promote(
        self,
        deployment: Deployment | str,
        reason: str,
        evidence: Mapping[str, Any] | TestStatus | None = None,
        expected_version: int | None = None,
    ) -> Switch:
        """Make a deployment the champion. A live test that is running is stopped: see `Switch.stopped_test`.

        Args:
            reason: why, for the ledger.
            evidence: what the decision rests on: figures, or the result of a live test.
            expected_version: the `version` that the decision rests on; by default the last one seen.
        Raises:
            InvalidTransition: the deployment is the champion already, or is not ready.
            InvalidArgument: the reason is empty.
            WorkspaceError: it cannot be opened; or it is the champion now, and its aliases could not be moved.
            Conflict: another actor changed the endpoint since; nothing was changed.
        """
        return self._switch("promote", _name(deployment), reason, evidence, expected_version)

    def rollback(
        self, to: Deployment | str | None = None, *, reason: str, expected_version: int | None = None
    ) -> Switch:
        """Go back to an earlier champion, by default to the last one before the present that is ready.

        Rolling back again goes further back; what was rolled back is reached by `promote` alone. A
        live test that is running is stopped, as by `promote`.

        Args:
            reason: why, for the ledger.
        Raises:
            InvalidTransition: there is no earlier champion, or `to` is none, or it is not ready.
            InvalidArgument: the reason is empty.
            Conflict: another actor changed the endpoint since; nothing was changed.
        """
        return self._switch("rollback", _name(to) if to is not None else None, reason, None, expected_version)

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

    # Live tests

    def start_test(
        self,
        challenger: Deployment | str,
        method: str = "interleave",
        alpha: float = 0.05,
        max_queries: int | None = None,
        seed: int | None = None,
    ) -> LiveTest:
        """Let a challenger answer together with the champion until one is known to be better.

        Args:
            alpha: probability of a decision although both are equally good, however often one looks.
            max_queries: end undecided after as many queries with feedback.
            seed: of the coin that interleaves; by default a fresh one, which is recorded.
        Raises:
            InvalidTransition: a test is running, or the challenger is not ready.
            InvalidArgument: the method is not known, or alpha is not between 0 and 1.
        """
        return self._router.start_test(_name(challenger), method, alpha, max_queries, seed)

    @property
    def test(self) -> LiveTest | None:
        """The live test that is running."""
        return self._router.routing.test

    def feedback(self, query_id: str, item: Id | Mapping[Id, float], value: float = 1.0) -> bool:
        """Say how good results were.

        It is recorded in any case, and counted by the live test of which the query is part; a test
        counts a query once.

        Args:
            item: the id of one result, whose gain is `value`; or the gains of all results that
                have one, which judges the query as a whole.
            value: 1 for a click or a right result, a grade, or negative for a rejection.
        Returns: whether the query is among the last 10,000 that this process answered. Feedback for another one,
            answered elsewhere or long ago or never, cannot be checked against its results and counts in no test.
        Raises: InvalidArgument: an item was not among the results of a query that is known, or a gain is not a
            finite number; nothing was recorded.
        """
        gains = traffic.checked_feedback(query_id, dict(item) if isinstance(item, Mapping) else {item: value})
        is_known = self._answered.check(query_id, gains)
        test = self._router.routing.test
        if test is not None:
            test.credit(query_id, gains, whole=isinstance(item, Mapping))
        champion = self.champion
        self._context.recorder.put(
            Event(
                kind="feedback",
                endpoint=self.name,
                deployment=champion.name if champion is not None else "",
                query_id=query_id,
                test_id=test.id if test is not None else None,
                value=canonical_json({str(key): gain for key, gain in gains.items()}),
            )
        )
        if test is not None and test.complete:
            self._router.end_test(test, "decided", "")
        return is_known

    def refresh(self) -> None:
        """Take over what other processes changed."""
        self._router.refresh()

    def __repr__(self) -> str:
        champion = self.champion
        return f"Endpoint({self.name!r}, champion={champion.name if champion is not None else None!r})"

    def _switch(
        self,
        action: Literal["promote", "rollback"],
        name: str | None,
        reason: str,
        evidence: Mapping[str, Any] | TestStatus | None,
        expected_version: int | None,
    ) -> Switch:
        promotion.check_reason(reason)
        given = evidence.as_evidence() if isinstance(evidence, TestStatus) else dict(evidence or {})
        expected = expected_version if expected_version is not None else self.version
        started = time.perf_counter()
        chosen = name or ""
        with self._router.changing:
            with self._router.change(expected, then=lambda: self._router.route_to(chosen)) as (session, row):
                rolls_back = action == "rollback"
                chosen = promotion.rollback_target(session, row, name) if rolls_back or name is None else name
                self._router.check_opened(chosen)
                previous, stopped = promotion.write_champion(
                    session, row, chosen, self._context.actor, action, reason, given
                )
            routed = time.perf_counter() - started
            self._router.refresh()
            self._follow(chosen)
        return Switch(self.name, previous, chosen, stopped, routed, time.perf_counter() - started)

    def _follow(self, champion: str) -> None:
        try:
            promotion.follow(self._context, self._router.endpoint_id)
        except Exception as error:
            raise WorkspaceError(
                f"{champion!r} is the champion of {self.name!r} and answers, but its aliases could not be moved "
                f"({error}); they are moved when the workspace is opened next"
            ) from error

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


def _name(deployment: Deployment | str) -> str:
    return deployment if isinstance(deployment, str) else deployment.name
