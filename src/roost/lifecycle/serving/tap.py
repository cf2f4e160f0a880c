"""Where traffic leaves what monitoring is to see of it.

Traffic appends one small tuple and goes on: it takes no lock, computes nothing and waits for nobody. Endpoints
that are not watched append nothing. What nobody fetched in time is left out and counted.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeAlias, TypeVar

import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData, InvalidFilter, RoostError

if TYPE_CHECKING:
    from roost.lifecycle.serving.endpoint import Endpoint
    from roost.lifecycle.serving.traffic import Answer, Query

_E = TypeVar("_E", bound="Endpoint")
_P = ParamSpec("_P")
_R = TypeVar("_R")

MAX_WAITING = 50_000
"""Requests that wait for the monitor, of one endpoint."""

MAX_WRITTEN = 64
"""Vectors of one write that the monitor looks at."""

NOT_FOUND = float("nan")


class Searched(NamedTuple):
    """A search of one or more queries was answered.

    Attributes:
        best: the distance of each query's first hit; NOT_FOUND for an empty answer.
        vectors: (n_queries, dim), the queries as the deployment's model embeds them; None where not sampled.
    """

    deployment: str
    latency_s: float
    best: list[float]
    vectors: npt.NDArray[Any] | None
    query: Query


class Predicted(NamedTuple):
    """Rows were predicted. `values` are classes or numbers; `rows` is (n, n_features), or None where not sampled."""

    deployment: str
    latency_s: float
    values: Sequence[Any] | npt.NDArray[Any]
    rows: npt.NDArray[Any] | None


class Failed(NamedTuple):
    """A request failed. It was refused where the caller's arguments were at fault."""

    deployment: str
    was_refused: bool


class Judged(NamedTuple):
    """A piece of feedback came."""

    deployment: str
    kind: str
    value: float


class Labelled(NamedTuple):
    """It became known what would have been right: whether a class was, or by how much a number was off."""

    deployment: str
    is_right: bool | None = None
    absolute_error: float | None = None


class Written(NamedTuple):
    """Vectors were written: `vectors` is (at most MAX_WRITTEN, dim) of the `n_rows`."""

    deployment: str
    n_rows: int
    vectors: npt.NDArray[Any]


Observation: TypeAlias = Searched | Predicted | Failed | Judged | Labelled | Written


class Stream:
    """What was observed of one endpoint and not fetched yet."""

    __slots__ = ("n_left_out", "sample_rate", "waiting")

    def __init__(self, sample_rate: float) -> None:
        self.waiting: deque[Observation] = deque()
        self.sample_rate = sample_rate
        self.n_left_out = 0

    def put(self, observation: Observation) -> None:
        if len(self.waiting) < MAX_WAITING:
            self.waiting.append(observation)
        else:
            self.n_left_out += 1

    def fetch(self) -> list[Observation]:
        """Take out what is waiting; one thread at a time."""
        take = self.waiting.popleft
        return [take() for _ in range(len(self.waiting))]


class Tap:
    """The streams of the endpoints that are watched. Safe to use from any thread."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}

    def open(self, endpoint: str, sample_rate: float = 1.0) -> Stream:
        """Begin to observe an endpoint."""
        return self._streams.setdefault(endpoint, Stream(sample_rate))

    def close(self, endpoint: str) -> None:
        """Observe an endpoint no more; nothing if it was not observed."""
        self._streams.pop(endpoint, None)

    def searched(
        self, endpoint: str, started: float, answers: Sequence[Answer], vectors: npt.NDArray[Any] | None, query: Query
    ) -> None:
        """Note an answered search; `started` is from `time.perf_counter`."""
        stream = self._streams.get(endpoint)
        if stream is None or not answers:
            return
        best = [answer.hits[0].distance if answer.hits else NOT_FOUND for answer in answers]
        sampled = vectors if random.random() < stream.sample_rate else None
        latency_s = time.perf_counter() - started
        stream.put(Searched(answers[0].deployment, latency_s, best, sampled, query))

    def predicted(
        self,
        endpoint: str,
        deployment: str,
        started: float,
        values: Sequence[Any] | npt.NDArray[Any],
        rows: npt.NDArray[Any] | None,
    ) -> None:
        """Note predictions; `started` is from `time.perf_counter`."""
        stream = self._streams.get(endpoint)
        if stream is not None:
            sampled = rows if random.random() < stream.sample_rate else None
            stream.put(Predicted(deployment, time.perf_counter() - started, values, sampled))

    def failed(self, endpoint: str, deployment: str, was_refused: bool) -> None:
        """Note a request that raised; it was refused where the caller is at fault."""
        stream = self._streams.get(endpoint)
        if stream is not None:
            stream.put(Failed(deployment, was_refused))

    def judged(self, endpoint: str, deployment: str, kind: str, value: float) -> None:
        """Note feedback."""
        stream = self._streams.get(endpoint)
        if stream is not None:
            stream.put(Judged(deployment, kind, value))

    def labelled(self, endpoint: str, label: Labelled) -> None:
        """Note what a label says of a prediction."""
        stream = self._streams.get(endpoint)
        if stream is not None:
            stream.put(label)

    def written(self, endpoint: str, deployment: str, vectors: npt.NDArray[Any]) -> None:
        """Note vectors that a deployment took."""
        stream = self._streams.get(endpoint)
        if stream is None:
            return
        n_rows = len(vectors)
        if n_rows > MAX_WRITTEN:
            vectors = vectors[random.sample(range(n_rows), MAX_WRITTEN)]
        stream.put(Written(deployment, n_rows, vectors))


_CALLER_S_CODES = frozenset(kind.milvus_code for kind in (InvalidArgument, InvalidData, InvalidFilter))


def is_caller_s(error: BaseException) -> bool:
    """Return whether arguments beside the content are at fault, by the code that Roost and Milvus give such errors."""
    return getattr(error, "code", None) in _CALLER_S_CODES and not getattr(error, "of_model", False)


def is_model_s(error: BaseException) -> bool:
    """Return whether a model has refused content: the caller or the model is at fault, as other models may tell."""
    return isinstance(error, InvalidData) and error.of_model


@contextmanager
def blaming_model() -> Iterator[None]:
    """Mark what is raised inside as raised by a model."""
    try:
        yield
    except RoostError as error:
        error.of_model = True
        raise


def noting_failures(method: Callable[Concatenate[_E, _P], _R]) -> Callable[Concatenate[_E, _P], _R]:
    """Let the tap see when a method of an endpoint raises, and record each query that was not answered by that.

    The method's first argument holds the queries; one called `user` says who asked.
    """
    parameters = signature(method)

    @wraps(method)
    def noted(endpoint: _E, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        # Looked at before the call: a champion that takes over meanwhile has no part in the failure.
        champion = endpoint.champion
        name = champion.name if champion is not None else ""
        try:
            return method(endpoint, *args, **kwargs)
        except Exception as error:
            queries, user = None, None
            with suppress(TypeError):  # arguments that do not fit the method, or queries that have no number
                asked = parameters.bind(endpoint, *args, **kwargs).arguments
                given, user = list(asked.values())[1], asked.get("user")
                queries = given if len(given) else None
            is_refused = is_caller_s(error) or (is_model_s(error) and endpoint._is_refused_by_others(name, queries))
            endpoint._context.tap.failed(endpoint.name, name, is_refused)
            if champion is not None and queries is not None and not is_refused:
                endpoint._note_failure(name, len(queries), user, error)
            raise

    return noted
