"""Feedback comes in: it is checked against its answer, recorded once, and given to the live test that it belongs to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from roost.errors import InvalidArgument, StorageFailure
from roost.lifecycle.context import Context
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.live.feedback import Feedback, checked_gains, event_key, moment
from roost.lifecycle.live.judging import absolute_error, same
from roost.lifecycle.live.records import LATE, shown, text_of
from roost.lifecycle.live.test import LiveTest
from roost.lifecycle.livetest import Id
from roost.lifecycle.serving.answered import Answered, Remembered
from roost.lifecycle.serving.recorder import Event
from roost.lifecycle.serving.tap import Labelled
from roost.lifecycle.serving.traffic import MAX_QUERY_ID_LENGTH, check_stored

_log = logging.getLogger(__name__)


class Intake:
    """Takes the feedback of one endpoint. Safe to use from any thread."""

    def __init__(self, context: Context, endpoint: str, answered: Answered, task: str | None) -> None:
        self._task = task
        self._context = context
        self._endpoint = endpoint
        self._answered = answered

    def take(
        self,
        test: LiveTest | None,
        champion: str,
        query_id: str,
        gains: Mapping[Id, float],
        *,
        kind: str,
        whole: bool,
        truth: Any = None,
        event_id: str | None = None,
        at: datetime | str | float | None = None,
    ) -> bool:
        """Take feedback on one answer; see `Endpoint.feedback`.

        Args:
            test: that is running.
            champion: who is taken to have answered where that is not known.
            truth: of a prediction, the right class or value.
        Returns: whether the answer is known.
        """
        check_stored("query_id", query_id, MAX_QUERY_ID_LENGTH)
        checked = checked_gains(gains, kind)
        key = event_key(self._endpoint, query_id, kind, checked, event_id)
        now = time.time()
        item = next(iter(checked), None) if not whole else None
        said = None if truth is None else text_of_value(truth)
        feedback = Feedback(query_id, kind, checked, whole, moment(at, now), key, item, said)
        answer = self._answered.get(query_id) or self._stored(query_id)
        if answer is not None:
            _check_items(checked, answer, test, kind)
        # Before the test takes it: what cannot be written down is not counted either.
        event = self._event(feedback, answer, champion)
        if test is not None and answer is not None and answer.test_id == test.id:
            if kind != test.plan.metric:
                test.ignore()
            elif test.credit(feedback, answer.at) == LATE:
                event = replace(event, error=LATE)
        self._context.recorder.put(event)
        return answer is not None

    def _observer(self, feedback: Feedback, answer: Remembered | None, deployment: str) -> Callable[[], None] | None:
        """Return what lets the monitor see feedback, for when the store has it and did not have it before."""
        tap = self._context.tap
        if feedback.gains:
            value = sum(feedback.gains.values()) / len(feedback.gains)
            return partial(tap.judged, self._endpoint, deployment, feedback.kind, value)
        if feedback.truth is None or answer is None or answer.prediction is None:
            return None
        label = _labelled(self._task, deployment, answer.prediction, feedback.truth)
        return partial(tap.labelled, self._endpoint, label)

    def _stored(self, query_id: str) -> Remembered | None:
        """Return what another process answered, or this one before it started anew."""
        try:
            found = shown(self._context.store, self._endpoint, query_id)
        except StorageFailure as error:
            _log.warning("feedback on %s is taken without a look at its answer: %s", query_id, error)
            return None
        if found is None:
            return None
        ids = found.drawn.ids or None
        return Remembered(found.deployment, ids, found.test_id, found.at, found.drawn.prediction)

    def _event(self, feedback: Feedback, answer: Remembered | None, champion: str) -> Event:
        """Return what is recorded of feedback.

        Raises: InvalidArgument: it holds text that cannot be written down.
        """
        values: dict[str, Any] = dict(feedback.gains)
        if feedback.truth is not None:
            values[""] = feedback.truth
        deployment = answer.deployment if answer is not None else champion
        return Event(
            kind="feedback",
            endpoint=self._endpoint,
            deployment=deployment,
            query_id=feedback.query_id,
            test_id=answer.test_id if answer is not None else None,
            item=feedback.item,
            value=canonical_json(values),
            at=text_of(feedback.at),
            metric=feedback.kind,
            event_id=feedback.event_id,
            on_stored=self._observer(feedback, answer, deployment),
        )


def text_of_value(value: Any) -> str:
    """Return a class or a number as text, the same for NumPy's and Python's own.

    Raises: InvalidArgument: it is neither a text nor a number.
    """
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, (str, int, float)):
        raise InvalidArgument(f"the truth must be a class or a number, not {value!r}")
    return repr(plain) if isinstance(plain, float) else str(plain)


def _labelled(task: str | None, deployment: str, prediction: str, truth: str) -> Labelled:
    if task == "regression":
        return Labelled(deployment, absolute_error=absolute_error(prediction, truth))
    return Labelled(deployment, is_right=same(prediction, truth))


def _check_items(gains: Mapping[str, float], answer: Remembered, test: LiveTest | None, kind: str) -> None:
    """Check that feedback is about results that were shown.

    Labels and ratings of a shadow test may be about what the challengers found: somebody judged all of it.
    """
    if answer.ids is None:
        return
    is_shadowed = test is not None and answer.test_id == test.id and test.plan.method == "shadow"
    if is_shadowed and kind in ("label", "rating"):
        return
    for item in gains:
        if item not in answer.ids:
            raise InvalidArgument(f"feedback names {item!r}, which was not among the results shown")
