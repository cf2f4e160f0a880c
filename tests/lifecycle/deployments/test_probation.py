from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sqlalchemy import insert, select

from roost.errors import FingerprintMismatch, InvalidArgument, InvalidData, InvalidFilter, InvalidTransition
from roost.lifecycle.deployments.probation import Probation
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, register_embedder
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import EventRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place

RAILS = ("error_rate <= 0.05", "p95_ms <= 5000")


def answered(endpoint: Endpoint, deployment: str, answers: Sequence[dict[str, Any]]) -> None:
    """Record answers as another process that serves the endpoint does."""
    rows = [
        {"kind": "search", "endpoint": endpoint.name, "deployment": deployment, "query_id": "q", "at": utc_now(), **one}
        for one in answers
    ]
    with endpoint._context.store.write() as session:
        session.execute(insert(EventRow), rows)


@register_embedder
class Moody(Embedder):
    """Gives four pixels of each image, and fails on an image whose last pixel is not black."""

    kind: ClassVar[str] = "moody"

    @property
    def dim(self) -> int:
        return 4

    @property
    def fingerprint(self) -> str:
        return "sha256:" + "5" * 64

    def embed(self, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
        images: FloatArray = np.asarray(batch, dtype=np.float32)
        if images[:, -1].any():
            raise RuntimeError("cannot reach https://ann:secret@models.example")
        return images[:, 2:6]

    def save(self, directory: Path) -> None:
        (directory / "moody.txt").write_text("four pixels")

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Moody:
        return cls()


def failures(endpoint: Endpoint | PredictEndpoint) -> list[EventRow]:
    endpoint._context.recorder.flush()
    with endpoint._context.store.read() as session:
        return list(session.scalars(select(EventRow).where(EventRow.error.is_not(None)).order_by(EventRow.id)))


def wait_for(endpoint: Endpoint, champion: str) -> None:
    for _ in range(200):
        present = endpoint.champion
        if present is not None and present.name == champion:
            return
        time.sleep(0.05)
    raise AssertionError(f"{champion} is not the champion")


def test_a_new_champion_that_breaks_a_guardrail_is_rolled_back(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    contested.promote("digits-v2", "better", probation=Probation(RAILS))
    assert contested.policy.probation is not None
    answered(contested, "digits-v1", [{"error": "an answer of the former champion"}] * 50)
    answered(contested, "digits-v2", [{"latency_ms": 3.0, "n_results": 10}] * 20)
    assert contested.review() is None
    answered(contested, "digits-v2", [{"error": "the engine is down"}] * 20)
    wait_for(contested, "digits-v1")
    assert contested.search(digits.images[0]).deployment == "digits-v1"
    entry = workspace.ledger.entries(contested.name)[-1]
    assert (entry.actor, entry.action, entry.subject) == ("roost", "rollback", "digits-v1")
    assert "error_rate <= 0.05" in entry.reason
    assert entry.evidence["n_answers"] > 20 and entry.evidence["probation"]["deployment"] == "digits-v2"
    assert contested.policy.probation is None


def test_a_new_model_that_fails_on_some_contents_is_rolled_back_by_its_own_traffic(
    endpoint: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    bright = digits.images[:, -1] != 0
    good = np.flatnonzero(~bright)
    deployed = endpoint.deploy(workspace.models.register("moody", Moody()), [digits.records()[i] for i in good[:200]])
    endpoint.promote(deployed, "better", probation=Probation(("error_rate <= 0.05",)))
    n_failed = 0
    for position in np.resize(np.append(good[:3], np.flatnonzero(bright)[:2]), 500):
        try:
            endpoint.search(digits.images[position], user="u1")
        except RuntimeError:
            n_failed += 1
            workspace.flush_events()
        if n_failed % 5 == 4:
            endpoint.review()
        if endpoint.champion is not None and endpoint.champion.name == "digits-v1":
            break
    wait_for(endpoint, "digits-v1")
    assert 3 < n_failed < 40
    assert endpoint.search(digits.images[np.flatnonzero(bright)[0]]).deployment == "digits-v1"
    entry = workspace.ledger.entries(endpoint.name)[-1]
    assert (entry.actor, entry.action, entry.subject) == ("roost", "rollback", "digits-v1")
    assert entry.reason.startswith("guardrail error_rate <= 0.05: it is 0.")
    assert entry.evidence["mean_losses"]["error_rate <= 0.05"] > 0.05
    event = failures(endpoint)[0]
    assert (event.kind, event.deployment, event.actor, event.latency_ms) == ("search", "moody-v1", "u1", None)
    assert event.error == "RuntimeError: cannot reach https://***@models.example"


def test_every_query_of_a_batch_that_failed_is_recorded_and_a_caller_s_mistake_is_not(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = contested._router.routing.champion
    assert champion is not None
    with pytest.raises(InvalidFilter):
        contested.search(digits.images[0], filter="label ==")
    with pytest.raises(InvalidArgument):
        contested.search(digits.images[0], limit=16_385)
    with suppress(InvalidArgument):  # a server refuses such a name; the embedded engine has no such field
        contested.search(digits.images[0], output_fields=["a-b"])
    with suppress(InvalidArgument):  # a server does not look where the collection is so small
        contested.search(digits.images[0], search_params={"ef": 1})
    with pytest.raises(InvalidArgument):
        contested.search(digits.images[0], user="\n")
    with pytest.raises(FingerprintMismatch):
        contested.search_vectors(np.zeros((1, 4)), "sha256:0")
    with pytest.raises(TypeError):
        contested.search_batch()  # type: ignore[call-arg]
    assert failures(contested) == []

    def fail(batch: Sequence[Any]) -> FloatArray:
        # The champion is replaced while it answers.
        contested.promote("digits-v2", "better")
        raise MemoryError

    monkeypatch.setattr(champion.embedder, "embed", fail)
    with pytest.raises(MemoryError):
        contested.search_batch(contents=digits.images[:3])
    assert [(event.deployment, event.error) for event in failures(contested)] == [("digits-v1", "MemoryError: ")] * 3


def test_content_that_the_former_champion_s_model_refuses_too_is_the_caller_s_mistake(
    contested: Endpoint, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    contested.promote("digits-v2", "better", probation=Probation(("error_rate <= 0.05",)))
    for _ in range(40):
        with pytest.raises(InvalidData):
            contested.search_batch(np.zeros((3, 7)))
    assert failures(contested) == []
    assert contested.review() is None and contested.policy.probation is not None
    champion = contested._router.routing.champion
    assert champion is not None and champion.deployment.name == "digits-v2"

    def refuse(batch: object) -> FloatArray:
        raise ValueError("these are no images")

    monkeypatch.setattr(champion.embedder, "embed", refuse)
    with pytest.raises(InvalidData):
        contested.search_batch(digits.images[:2])
    assert [(one.deployment, one.kind) for one in failures(contested)] == [("digits-v2", "search")] * 2
    former = contested._router.routing.target("digits-v1")
    assert former is not None
    monkeypatch.setattr(former.embedder, "embed", refuse)
    with pytest.raises(InvalidData):
        contested.search_batch(digits.images[:2])
    assert len(failures(contested)) == 2

    def fail(batch: object) -> FloatArray:
        raise OSError("the model's server is away")

    monkeypatch.setattr(former.embedder, "embed", fail)
    with pytest.raises(InvalidData):
        contested.search_batch(digits.images[:2])
    assert len(failures(contested)) == 4, "nobody could say that the caller is at fault"


def test_content_that_the_only_model_refuses_is_its_failure(endpoint: Endpoint, digits: Digits, place: Place) -> None:
    with pytest.raises(InvalidData):
        endpoint.search(np.zeros(7))
    assert [one.deployment for one in failures(endpoint)] == ["digits-v1"]


def test_predictions_that_failed_are_recorded(
    place: Place, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading: PredictEndpoint = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    model = SklearnPredictor(LogisticRegression(max_iter=2000).fit(digits.images[:100] / 16, digits.labels[:100]))
    reading.promote(reading.deploy(workspace.models.register("reader", model)), "first")
    champion = reading._router.routing.champion
    assert champion is not None

    def fail(rows: object) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(champion.predictor, "predict", fail)
    with pytest.raises(OSError, match="disk"):
        reading.predict(digits.images[:2], "u2")
    assert [(e.kind, e.deployment, e.actor) for e in failures(reading)] == [("predict", "reader-v1", "u2")] * 2


def test_a_champion_that_keeps_its_guardrails_stays(contested: Endpoint, workspace: Workspace) -> None:
    contested.promote("digits-v2", "better", probation=Probation(RAILS, minutes=None, max_queries=30))
    answered(contested, "digits-v2", [{"latency_ms": 3.0, "n_results": 10}] * 30 + [{"error": "too late"}] * 20)
    contested.review()
    for _ in range(200):
        if contested.policy.probation is None:
            break
        time.sleep(0.05)
    entry = workspace.ledger.entries(contested.name)[-1]
    assert (entry.actor, entry.action, entry.subject) == ("roost", "probation.end", "digits-v2")
    assert entry.reason == "all guardrails were kept over 30 answers"
    assert contested.champion is not None and contested.champion.name == "digits-v2"


def test_a_probation_ends_with_its_time(contested: Endpoint, workspace: Workspace) -> None:
    contested.promote("digits-v2", "better", probation=Probation(RAILS, minutes=1e-4))
    time.sleep(0.02)
    contested.review()
    assert contested.policy.probation is None or wait_until_over(contested)
    assert workspace.ledger.entries(contested.name)[-1].reason.startswith("all guardrails were kept until")


def wait_until_over(endpoint: Endpoint) -> bool:
    for _ in range(200):
        if endpoint.policy.probation is None:
            return True
        time.sleep(0.05)
    return False


def test_a_probation_goes_on_after_a_restart(place: Place, contested: Endpoint, workspace: Workspace) -> None:
    contested.promote("digits-v2", "better", probation=Probation(("empty_rate <= 0.1",)))
    answered(contested, "digits-v2", [{"latency_ms": 3.0, "n_results": 0}] * 20)
    workspace.close()
    with place.open() as reopened:
        endpoint = reopened.endpoints.get(place.endpoint)
        wait_for(endpoint, "digits-v1")


def test_a_latency_is_held_against_the_former_champion_s(contested: Endpoint, workspace: Workspace) -> None:
    answered(contested, "digits-v1", [{"latency_ms": 2.0, "n_results": 10}] * 200)
    contested.promote("digits-v2", "better", probation=Probation(("p95_ratio <= 2",)))
    answered(contested, "digits-v2", [{"latency_ms": 9.0, "n_results": 10}] * 200)
    contested.review()
    wait_for(contested, "digits-v1")


def test_another_change_of_champion_ends_a_probation(contested: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    contested.promote("digits-v2", "better", probation=Probation(RAILS))
    contested.rollback(reason="by hand")
    assert contested.policy.probation is None
    answered(contested, "digits-v2", [{"error": "late"}] * 50)
    assert contested.review() is None
    assert contested.champion is not None and contested.champion.name == "digits-v1"


def test_a_champion_that_cannot_be_rolled_back_stays_and_the_ledger_says_so(
    contested: Endpoint, workspace: Workspace
) -> None:
    contested.promote("digits-v2", "better", probation=Probation(RAILS))
    contested.retire("digits-v1", "too early")
    contested.purge("digits-v1", "too early")
    answered(contested, "digits-v2", [{"error": "down"}] * 50)
    contested.review()
    assert wait_until_over(contested)
    entry = workspace.ledger.entries(contested.name)[-1]
    assert entry.action == "probation.end" and "could not be rolled back" in entry.reason
    assert contested.champion is not None and contested.champion.name == "digits-v2"


def test_the_first_champion_has_no_probation(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    deployment = empty_endpoint.deploy(weak, digits.records(0, 50))
    with pytest.raises(InvalidTransition, match="first champion"):
        empty_endpoint.promote(deployment, "first", probation=Probation(RAILS))
    assert empty_endpoint.champion is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"guardrails": ()}, "sequence of texts"),
        ({"guardrails": "error_rate <= 0.01"}, "sequence of texts"),
        ({"guardrails": ("speed <= 3",)}, "is not a guardrail"),
        ({"guardrails": ("recall >= 0.9",)}, "need a live test"),
        ({"guardrails": RAILS, "minutes": None}, "say when the probation ends"),
        ({"guardrails": RAILS, "minutes": 0}, "more than 0"),
        ({"guardrails": RAILS, "max_queries": 0}, "at least 1"),
    ],
)
def test_a_probation_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Probation(**arguments)
