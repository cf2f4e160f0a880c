"""An endpoint that predicts: the stable name of a question, behind which the models that answer it change."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import FingerprintMismatch, InvalidArgument, InvalidTransition
from roost.lifecycle import ledger
from roost.lifecycle.deployments import drafts, promotion
from roost.lifecycle.deployments.deployment import (
    Deployment,
    State,
    configuration_of,
    deployment_of,
    move,
    row_named,
    rows_of,
    seal,
)
from roost.lifecycle.live import LiveTest
from roost.lifecycle.live.intake import text_of_value
from roost.lifecycle.live.judging import Drawn, Rival, same
from roost.lifecycle.live.serving import Batch, Response, picked
from roost.lifecycle.models.model_files import ModelFiles
from roost.lifecycle.models.predictors.base import Label, Predictor, predict_checked
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.answered import Remembered
from roost.lifecycle.serving.endpoint import Endpoint, name_of
from roost.lifecycle.serving.recorder import Event
from roost.lifecycle.serving.tap import blaming_model, noting_failures
from roost.lifecycle.serving.traffic import Target
from roost.lifecycle.store.tables import DeploymentRow

Rows: TypeAlias = Sequence[Any] | npt.NDArray[Any]

_CLASSES_SHOWN = 20
"""Of the classes that an error names."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an endpoint says about one row, and who says it.

    Attributes:
        query_id: to give feedback by.
        deployment: who predicted.
        model_version: name and version of its model, as in `churn/1`.
        value: a label, or a number for a regression.
        probabilities: of each class; None where the model gives none.
        test_id: the live test that the row is part of.
        drawn: what the live test keeps of the row.
    """

    query_id: str
    endpoint: str
    deployment: str
    model_version: str
    value: Label
    probabilities: Mapping[Label, float] | None = None
    test_id: int | None = None
    drawn: Drawn | None = field(default=None, repr=False)


class PredictEndpoint(Endpoint):
    """An endpoint whose deployments are classifiers or regressors of one task. Safe to use from any thread."""

    # Deployments

    def draft(
        self,
        model: ModelVersion,
        *,
        name: str | None = None,
        delivered_from: Deployment | str | None = None,
        owner: str | None = None,
        allow_other_classes: bool = False,
    ) -> Deployment:
        """Configure a deployment that is to be looked at and reviewed before `deploy(draft)`."""
        wanted = drafts.Configuration(
            name=name, delivered_from=delivered_from, owner=owner, other_classes=allow_other_classes
        )
        return drafts.draft(self._router, model, wanted)

    def deploy(
        self,
        model: ModelVersion | Deployment | str,
        *,
        check: Rows | None = None,
        name: str | None = None,
        delivered_from: Deployment | str | None = None,
        owner: str | None = None,
        allow_other_classes: bool = False,
    ) -> Deployment:
        """Make a deployment of a model version: load it, try it, seal it. It has no vectors and is ready at once.

        Args:
            model: a model version, its text as in `churn/1`, or a draft, which has its configuration already.
            check: rows that the model has to predict for before the deployment is made.
            name: by default the model's name and version, as in `churn-v1`.
            delivered_from: the deployment of the same model version elsewhere whose success is the
                reason to deliver it here: itself, or as in "churn@staging/churn-v1".
            owner: who answers for it.
            allow_other_classes: the model may have other classes than the champion.
        Raises:
            AlreadyExists: the endpoint has a deployment of that name.
            InvalidArgument: the model is of another task, or gives vectors.
            InvalidTransition: the model has other classes than the champion; or the draft was deployed already.
            InvalidData: it cannot predict for the rows of `check`.
            PermissionDenied: the actor may not.
        """
        wanted = drafts.Configuration(
            name=name, delivered_from=delivered_from, owner=owner, other_classes=allow_other_classes
        )
        model = drafts.chosen(self._router, model)
        predictor, allows = self._loaded(model)
        self._check_classes(str(model), predictor, allow_other_classes or allows)
        if check is not None:
            predict_checked(predictor, check)
        with self._router.change() as (session, endpoint):
            row = drafts.begin_row(session, self._router, endpoint, model, wanted)
            if row.fingerprint != predictor.fingerprint:
                raise FingerprintMismatch(f"the files of {model} are of {predictor.fingerprint}, not {row.fingerprint}")
            move(row, State.READY)
            row.seal = seal(row, endpoint.metric, endpoint.fields)
            evidence = {"seal": row.seal, "n_checked": len(check) if check is not None else 0}
            ledger.append(session, self._context.actor, "ready", endpoint.name, row.name, evidence=evidence)
            session.flush()
            self._router.adopt(row, predictor)
            deployment = deployment_of(row, endpoint.name)
        promotion.follow(self._context, self._router.endpoint_id)
        return deployment

    # Traffic

    @noting_failures
    def predict(self, rows: Rows, user: str | None = None) -> list[Prediction]:
        """Return predictions for rows, in their order: the champion's, or during a split each user's arm's.

        Args:
            user: recorded with the predictions.
        Raises:
            InvalidTransition: the endpoint has no champion yet.
            InvalidData: the model cannot take the rows.
        """
        started = time.perf_counter()
        query = traffic.Query(user=user)
        routing = self._router.routing
        target = traffic.serving(routing, self.name)
        if routing.test is not None and routing.test.serving:
            return self._tested(routing.test, rows, query, started)
        answers = [self._prediction(target.deployment, *found) for found in self._predicted(target, rows)]
        return self._noted(answers, query, started, rows)

    def feedback(
        self,
        query_id: str,
        item: Any = None,
        value: float = 1.0,
        kind: str = "label",
        *,
        event_id: str | None = None,
        at: datetime | str | float | None = None,
    ) -> bool:
        """Say what would have been right, or how good a prediction was.

        It is recorded in any case, and counted by the live test of which the prediction is part if it is of the test's
        kind and comes in time. What is said twice counts once.

        Args:
            item: of a label, the right class or the true value; of any other kind of feedback, nothing.
            value: of a click or conversion 1, or 0 for none; of a rating 0 to 5.
            kind: "label", "click", "conversion" or "rating".
            event_id: the sender's own number of it: the same number counts once.
            at: when it happened; by default now.
        Returns: whether the prediction is known.
        Raises: InvalidArgument: a label without a class or a number, a class that no live deployment knows, or another
            value that is out of range; nothing was recorded.
        """
        if kind != "label":
            return self._take(query_id, {"": value}, kind=kind, whole=True, event_id=event_id, at=at)
        if item is None or (self.task == "regression" and not _is_number(item)):
            raise InvalidArgument(f"a label of {self.name!r} is the right class or the true value, not {item!r}")
        self._check_label(item)
        return self._take(query_id, {}, kind=kind, whole=True, truth=item, event_id=event_id, at=at)

    def _check_label(self, item: Any) -> None:
        """Raise InvalidArgument for a label that no deployment can give: a typing mistake would count against all."""
        classes = [label for target in self._router.routing.live for label in target.predictor.classes or ()]
        said = text_of_value(item)
        if classes and not any(same(text_of_value(label), said) for label in classes):
            names = ", ".join(repr(label) for label in list(dict.fromkeys(classes))[:_CLASSES_SHOWN])
            raise InvalidArgument(f"{item!r:.200} is none of the classes of {self.name!r}: {names}")

    def _tested(self, test: LiveTest, rows: Rows, query: traffic.Query, started: float) -> list[Prediction]:
        """Return the predictions of a live test."""
        answers: dict[int, Prediction] = {}
        for part in test.serve(rows, query.user, self._batch):
            own = [
                self._prediction(part.target.deployment, value, chances, test.id if drawn is not None else None, drawn)
                for (value, chances), drawn in zip(part.results, part.drawn, strict=True)
            ]
            answers.update(zip(part.positions, own, strict=True))
            ids = [answer.query_id for answer in own]
            test.opened(part, ids, query.user)
            test.mirror(rows, part, ids, self._batch)
            self._noted(own, query, started, picked(rows, part.positions))
        return [answers[position] for position in range(len(rows))]

    def _batch(self, target: Target, rows: Rows) -> Batch:
        found = self._predicted(target, rows)
        return Batch([Response(one, Rival(prediction=text_of_value(one[0]))) for one in found], None)

    def _prediction(
        self,
        deployment: Deployment,
        value: Label,
        probabilities: Mapping[Label, float] | None,
        test_id: int | None = None,
        drawn: Drawn | None = None,
    ) -> Prediction:
        name, model = deployment.name, deployment.model
        return Prediction(traffic.new_query_id(), self.name, name, model, value, probabilities, test_id, drawn)

    def _noted(self, answers: list[Prediction], query: traffic.Query, started: float, rows: Rows) -> list[Prediction]:
        if not answers:
            return answers
        values, by = [answer.value for answer in answers], answers[0].deployment
        self._context.tap.predicted(self.name, by, started, values, _as_array(rows))
        now = time.time()
        self._answered.remember(
            (one.query_id, Remembered(one.deployment, None, one.test_id, now, text_of_value(one.value)))
            for one in answers
        )
        for answer in answers:
            self._context.recorder.put(_event(answer, query, started))
        return answers

    def _predicted(self, target: Target, rows: Rows) -> list[tuple[Label, Mapping[Label, float] | None]]:
        """Return one deployment's value and probabilities for each row."""
        if len(rows) == 0:
            return []
        predictor = target.predictor
        with blaming_model():
            found = predict_checked(predictor, rows)
        values: list[Label] = found.values.tolist()
        if found.probabilities is None or predictor.classes is None:
            return [(value, None) for value in values]
        classes = predictor.classes
        rows_of_probabilities = found.probabilities.tolist()
        return [
            (value, dict(zip(classes, probabilities, strict=True)))
            for value, probabilities in zip(values, rows_of_probabilities, strict=True)
        ]

    def _loaded(self, model: ModelVersion | Deployment | str) -> tuple[Predictor, bool]:
        """Return the model, and whether its draft allows other classes."""
        models = self._context.models
        if isinstance(model, ModelVersion):
            drafts.check_kind(self._router, model)
            return models.load_predictor(model.files), False
        with self._context.store.read() as session:
            row = row_named(rows_of(session, self._router.endpoint_id), name_of(model))
        allows = bool(configuration_of(row).get("other_classes"))
        return models.load_predictor(ModelFiles.from_json(row.model_files)), allows

    def _check_classes(self, name: str, predictor: Predictor, is_allowed: bool) -> None:
        if predictor.task != self.task:
            raise InvalidArgument(f"{name} is a {predictor.task} model; endpoint {self.name!r} needs {self.task}")
        champion = self._router.routing.champion
        if is_allowed or champion is None or champion.predictor.classes == predictor.classes:
            return
        raise InvalidTransition(
            f"{name} predicts the classes {predictor.classes}, the champion of {self.name!r} "
            f"{champion.predictor.classes}: deploy it with allow_other_classes=True if its users expect that"
        )

    def _check_fit(self, row: DeploymentRow) -> None:
        allows = bool(configuration_of(row).get("other_classes"))
        self._check_classes(f"deployment {row.name!r}", self._router.opened(row).predictor, allows)


def _event(answer: Prediction, query: traffic.Query, started: float) -> Event:
    return Event(
        kind="predict",
        endpoint=answer.endpoint,
        deployment=answer.deployment,
        query_id=answer.query_id,
        test_id=answer.test_id,
        actor=query.user,
        latency_ms=(time.perf_counter() - started) * 1000.0,
        value=answer.drawn or ledger.canonical_json(answer.value),
    )


def _is_number(value: Any) -> bool:
    """Return whether it is a finite number; true and false are none, though Python counts with them."""
    if isinstance(value, (bool, np.bool_)):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _as_array(rows: Rows) -> npt.NDArray[Any] | None:
    return rows if isinstance(rows, np.ndarray) else None
