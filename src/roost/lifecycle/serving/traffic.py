"""Searches and writes of an endpoint: where they go, and what answers say.

A `Routing` is immutable. A search reads the endpoint's routing once and uses nothing else, so
searches never wait for a promotion, and every answer comes from one deployment alone.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pymilvus import exceptions as milvus

from roost.address import without_secrets
from roost.errors import (
    DimensionMismatch,
    FingerprintMismatch,
    InvalidArgument,
    InvalidData,
    InvalidFilter,
    InvalidTransition,
    NotFinite,
    RoostError,
)
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.deployments.space import VECTOR
from roost.lifecycle.livetest import Id, Side
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.models.predictors.base import Predictor, predict_checked
from roost.lifecycle.serving.recorder import Event
from roost.lifecycle.serving.tap import blaming_model

if TYPE_CHECKING:
    from roost.client import Client
    from roost.lifecycle.live import LiveTest
    from roost.lifecycle.live.judging import Drawn


_log = logging.getLogger(__name__)

MAX_USER_LENGTH = 255
MAX_QUERY_ID_LENGTH = 40
MAX_ERROR_LENGTH = 500

_REFUSALS: Mapping[re.Pattern[str], type[InvalidFilter | InvalidArgument]] = {
    re.compile(r"failed to create query plan"): InvalidFilter,
    re.compile(r"topk \[|parse output field name failed"): InvalidArgument,
    re.compile(r"(out of range|invalid value|type conflict) in json"): InvalidArgument,  # search parameters
}
"""What Milvus 2.3 says of a query that it refuses; it gives them the code of an unexpected error."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One result.

    Attributes:
        distance: as the vector engine gives it for the endpoint's metric.
        fields: the output fields that were asked for.
        deployment: the deployment that found it.
        origin: the side of a live test that gets the credit for it; None where neither does.
    """

    id: Id
    distance: float
    fields: Mapping[str, Any]
    deployment: str
    origin: Side | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query, which names who gave it.

    Attributes:
        query_id: to give feedback by.
        deployment: who answered; of a mixed answer, the champion.
        model_version: name and version of its model, as in `digits/1`.
        test_id: the live test that the query is part of.
        challengers: the other deployments whose results are among the hits, during a live test.
        drawn: what the live test keeps of the query.
        bridged_to: the new model that ordered the results over a bridge, as in `digits/2`.
    """

    query_id: str
    endpoint: str
    deployment: str
    model_version: str
    hits: tuple[Hit, ...]
    test_id: int | None = None
    challengers: tuple[str, ...] = ()
    drawn: Drawn | None = field(default=None, repr=False)
    bridged_to: str | None = None

    @property
    def challenger(self) -> str | None:
        """The only or the first of the other deployments that took part."""
        return self.challengers[0] if self.challengers else None

    @property
    def ids(self) -> list[Id]:
        return [hit.id for hit in self.hits]


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment with its loaded model, which is an embedder or a predictor by the endpoint's kind."""

    deployment: Deployment
    model: Embedder | Predictor

    @property
    def embedder(self) -> Embedder:
        """The model of a search endpoint's deployment."""
        if not isinstance(self.model, Embedder):
            raise InvalidArgument(f"deployment {self.deployment.name!r} predicts; it gives no vectors")
        return self.model

    @property
    def predictor(self) -> Predictor:
        """The model of a predict endpoint's deployment."""
        if not isinstance(self.model, Predictor):
            raise InvalidArgument(f"deployment {self.deployment.name!r} gives vectors; it predicts nothing")
        return self.model


@dataclass(frozen=True, slots=True)
class Routing:
    """Where an endpoint's traffic goes.

    Attributes:
        version: of the endpoint's row from which it was made.
        live: every deployment that takes writes, the champion first.
        test: the live test that is running.
        missing: every other live deployment, with the reason why this process cannot open it.
        retired: numbers of the retired deployments whose vectors are kept: what they miss is noted.
        refused: why the champion may not answer although it is open; None while it may.
    """

    version: int = 0
    champion: Target | None = None
    live: tuple[Target, ...] = ()
    test: LiveTest | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    retired: tuple[int, ...] = ()
    refused: str | None = None

    def target(self, name: str) -> Target | None:
        """Return the live deployment of that name."""
        return next((target for target in self.live if target.deployment.name == name), None)


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for beside its content."""

    limit: int = 10
    filter: str = ""
    output_fields: Sequence[str] = ()
    search_params: Mapping[str, Any] = field(default_factory=dict)
    user: str | None = None

    def __post_init__(self) -> None:
        if self.user is not None:
            check_stored("user", self.user, MAX_USER_LENGTH)


def check_stored(name: str, value: object, max_length: int) -> None:
    """Check text that a recorded event holds: the store would refuse the event, and every later one behind it."""
    if not isinstance(value, str) or len(value) > max_length or not value.isprintable():
        raise InvalidArgument(f"{name} must be printable text of at most {max_length} characters, not {value!r:.200}")


def serving(routing: Routing, endpoint: str) -> Target:
    """Return the champion.

    Raises:
        InvalidTransition: nothing was promoted yet.
        FingerprintMismatch: the champion's collection is not the one that its model filled any more.
    """
    if routing.refused is not None:
        raise FingerprintMismatch(routing.refused)
    if routing.champion is None:
        raise InvalidTransition(f"endpoint {endpoint!r} has no champion yet: deploy a model and promote it")
    return routing.champion


def search(
    client: Client, target: Target, metric: str, key: str, vectors: FloatArray, query: Query
) -> list[tuple[Hit, ...]]:
    """Return each vector's nearest records in one deployment.

    Raises: InvalidFilter, InvalidArgument: the engine refuses the query as it was asked.
    """
    deployment = target.deployment
    try:
        found = client.search(
            deployment.collection,
            data=list(vectors),
            anns_field=VECTOR,
            limit=query.limit,
            filter=query.filter,
            output_fields=list(query.output_fields),
            search_params={"metric_type": metric, "params": {**deployment.search_params, **query.search_params}},
        )
    except milvus.MilvusException as error:
        kind = next((kind for says, kind in _REFUSALS.items() if says.search(error.message)), None)
        if kind is None or isinstance(error, RoostError):
            raise
        raise kind(error.message) from error
    return [
        tuple(Hit(_id(hit, key), hit["distance"], dict(hit["entity"]), deployment.name) for hit in hits)
        for hits in found
    ]


def _id(hit: Mapping[str, Any], key: str) -> Id:
    # Milvus before 2.4 does not say what the primary key is called; its client then calls it "id".
    found: Id = hit[key] if key in hit else hit["id"]
    return found


def embed(target: Target, contents: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
    """Return the contents' vectors by the target's model."""
    with blaming_model():
        return embed_checked(target.embedder, contents)


def takes(target: Target, contents: Sequence[Any] | npt.NDArray[Any]) -> bool | None:
    """Return whether the target's model has an answer for contents; None where it fails for another reason."""
    model = target.model
    try:
        if isinstance(model, Embedder):
            embed_checked(model, contents)
        else:
            predict_checked(model, contents)
    except InvalidData:
        return False
    except Exception as error:
        _log.warning("%s cannot be asked about content: %s", target.deployment.model, type(error).__name__)
        return None
    return True


def own_vectors(target: Target, vectors: Any, fingerprint: str) -> FloatArray:
    """Return vectors that a caller brought, after checking that they are of the target's model.

    Raises:
        FingerprintMismatch: another model made them.
        InvalidArgument: they are not a two-dimensional array of numbers.
        DimensionMismatch: they have another length.
        NotFinite: one holds NaN or infinity.
    """
    deployment = target.deployment
    if fingerprint != deployment.fingerprint:
        raise FingerprintMismatch(
            f"these vectors are of {fingerprint}; deployment {deployment.name!r} (model {deployment.model}) "
            f"takes those of {deployment.fingerprint}"
        )
    try:
        checked = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"vectors must be rows of numbers of one length: {error}") from error
    if checked.ndim != 2:
        raise InvalidArgument(f"vectors must have the shape (n, {deployment.dim}), not {checked.shape}")
    if checked.shape[1] != deployment.dim:
        raise DimensionMismatch(f"these vectors have the length {checked.shape[1]}; {deployment.dim} is needed")
    if not np.isfinite(checked).all():
        raise NotFinite("a vector holds NaN or infinity")
    return checked


def new_query_id() -> str:
    return uuid.uuid4().hex


def search_event(answer: Answer, query: Query, started: float) -> Event:
    """Return the record of an answered search; `started` is from `time.perf_counter`."""
    return Event(
        kind="search",
        endpoint=answer.endpoint,
        deployment=answer.deployment,
        query_id=answer.query_id,
        test_id=answer.test_id,
        actor=query.user,
        latency_ms=(time.perf_counter() - started) * 1000.0,
        value=answer.drawn,
        n_results=len(answer.hits),
        score=answer.hits[0].distance if answer.hits else None,
    )


def failed_event(kind: str, endpoint: str, deployment: str, user: str | None, error: BaseException) -> Event:
    """Return the record of a search or prediction that failed."""
    reason = f"{type(error).__name__}: {without_secrets(str(error))}"[:MAX_ERROR_LENGTH]
    return Event(kind, endpoint, deployment, new_query_id(), actor=user, error=reason.encode(errors="replace").decode())
