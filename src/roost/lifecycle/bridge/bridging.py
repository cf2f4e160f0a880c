"""The bridge of an endpoint: measured against keeping the old model, then opened, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from roost.errors import GateFailed, InvalidTransition
from roost.lifecycle import ledger
from roost.lifecycle.bridge.answers import Bridge, Fetch
from roost.lifecycle.bridge.maps import fit_map
from roost.lifecycle.bridge.measure import BridgeReport, Relevance, compare
from roost.lifecycle.deployments.promotion import check_reason
from roost.lifecycle.governance import permits
from roost.lifecycle.livetest import Id
from roost.lifecycle.models.embedders.base import embed_checked
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.router import Router
from roost.lifecycle.serving.traffic import Hit, Query, Target
from roost.lifecycle.store.tables import EndpointRow


class Bridging:
    """Lets a new model answer over the champion's vectors while its own are still being made.

    A bridge is open in this process alone, and ends with its champion: whoever is promoted answers
    by itself. Safe to use from any thread.
    """

    def __init__(self, router: Router, metric: str) -> None:
        self._router = router
        self._metric = metric
        self._open: Bridge | None = None

    @property
    def present(self) -> Bridge | None:
        """The bridge that answers; None without one."""
        champion = self._router.routing.champion
        return self.over(champion) if champion is not None else None

    def over(self, champion: Target) -> Bridge | None:
        """Return the open bridge where it leads over this champion's vectors."""
        bridge = self._open
        return bridge if bridge is not None and bridge.old.deployment.id == champion.deployment.id else None

    def measure(
        self,
        model: ModelVersion,
        sample: Sequence[Any] | npt.NDArray[Any],
        fetch: Fetch,
        queries: Sequence[Any] | npt.NDArray[Any],
        relevance: Relevance,
        *,
        limit: int = 10,
        filter: str = "",
        output_fields: Sequence[str] = (),
        n_candidates: int = 200,
        alpha: float = 0.05,
        seed: int = 0,
    ) -> BridgeReport:
        """Fit a bridge from a new model to the champion, and compare it with keeping the champion.

        Args:
            sample: contents that both models embed, to fit the map on; a few thousand.
            fetch: gives the contents of records by their keys, for the new model to order.
            queries: contents that are not in the sample, as users ask them.
            relevance: says how good hits are, from 0 to 1; for example whether the hit's label is the
                query's. It must not come from either of the models.
            output_fields: what `relevance` needs of the hits.
            n_candidates: how many records the new model orders for each query.
            alpha: 1 minus the level of the interval. The bridge is accepted where all of it is above zero,
                so one that is no better is accepted with a probability of at most alpha.
        Raises:
            InvalidTransition: the endpoint has no champion.
            InvalidArgument: there are too few pairs or queries, or a gain is out of range.
        """
        context = self._router.context
        old = traffic.serving(self._router.routing, self._router.name)
        embedder = context.models.load(model)
        bridge = Bridge(
            context.vectors,
            old,
            embedder,
            fit_map(embed_checked(embedder, sample), traffic.embed(old, sample), seed),
            fetch,
            metric=self._metric,
            key=self._router.payload.key,
            n_candidates=n_candidates,
            model=str(model),
        )

        def search_old(content: Any, asked: Query) -> tuple[Hit, ...]:
            vectors = traffic.embed(old, [content])
            return traffic.search(context.vectors, old, self._metric, self._router.payload.key, vectors, asked)[0]

        report = compare(bridge, search_old, queries, relevance, Query(limit, filter, output_fields), alpha)
        evidence = {**report.as_evidence(), "over": old.deployment.name}
        self._note("bridge.accept" if report.accepted else "bridge.refuse", str(model), "", evidence)
        return report

    def open(self, report: BridgeReport, reason: str) -> None:
        """Let the endpoint answer by a bridge from now on, in this process.

        Raises:
            GateFailed: the bridge was not shown to be better than the old model.
            InvalidTransition: another deployment is champion by now.
            InvalidArgument: the reason is empty.
        """
        check_reason(reason)
        bridge = report.bridge
        if bridge is None:
            raise GateFailed(f"{report}; an endpoint keeps its old model then")
        champion = self._router.routing.champion
        if champion is None or champion.deployment.id != bridge.old.deployment.id:
            raise InvalidTransition(f"the bridge leads over {bridge.old.deployment.name!r}, which is not the champion")
        self._note("bridge.open", bridge.model, reason, report.as_evidence())
        self._open = bridge

    def close(self, reason: str) -> None:
        """Let the champion answer by itself again; nothing if no bridge is open.

        Raises: InvalidArgument: the reason is empty.
        """
        check_reason(reason)
        bridge, self._open = self._open, None
        if bridge is not None:
            self._note("bridge.close", bridge.model, reason, {})

    def forget(self, keys: Sequence[Id]) -> None:
        """Have records that were written embedded again when they are found next."""
        if self._open is not None:
            self._open.forget(keys)

    def _note(self, action: str, model: str, reason: str, evidence: Mapping[str, Any]) -> None:
        context = self._router.context
        with context.store.write() as session:
            row = session.get_one(EndpointRow, self._router.endpoint_id)
            permits.check(session, context.actor, "bridge", row.environment, f"{row.name}/{model}")
            ledger.append(session, context.actor, action, row.name, model, reason, evidence)

    def __repr__(self) -> str:
        return f"Bridging({self.present!r})"
