"""What answers hold: values of the lifecycle, or else these. The schemas of answers are made of their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from roost.lifecycle.deployments.policy import Policy
from roost.lifecycle.ledger import Entry
from roost.lifecycle.live import TestStatus
from roost.lifecycle.live.status import LEFT_OUT
from roost.lifecycle.models.model_version import ModelVersion
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.report import Figures
from roost.lifecycle.plain import plain
from roost.lifecycle.retrain import Plan
from roost.lifecycle.serving.predict_endpoint import Prediction
from roost.lifecycle.serving.traffic import Answer

HIDDEN: Mapping[type, frozenset[str]] = {
    ModelVersion: frozenset({"files", "uri"}),
    TestStatus: LEFT_OUT,
    Answer: frozenset({"drawn"}),
    Prediction: frozenset({"drawn"}),
}
"""Fields that are not answered: where models' files are and what live tests keep of a query is the server's affair."""


def shown(value: Any) -> Any:
    """Return what is answered of a value, or of several, as JSON can hold it."""
    return plain(value, HIDDEN)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, and who answers.

    Attributes:
        task: of a predict endpoint: classification or regression.
        metric: of a search endpoint.
        alias: the vector engine's name for the champion's collection.
        version: counts the changes of champion.
        model: the champion's, as in digits/2.
        test_id: the live test that is running.
    """

    name: str
    kind: Literal["search", "predict"]
    task: str | None
    environment: str
    owner: str | None
    metric: str | None
    description: str
    alias: str | None
    version: int
    policy: Policy
    champion: str | None
    model: str | None
    test_id: int | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that a deployment set aside."""

    key: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many records were written."""

    n_written: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many keys were given."""

    n_deleted: int


@dataclass(frozen=True, slots=True)
class Known:
    """Whether the answer is known that the feedback is about."""

    is_known: bool


@dataclass(frozen=True, slots=True)
class Running:
    """How the live test of an endpoint stands; null where none is running."""

    status: TestStatus | None


@dataclass(frozen=True, slots=True)
class ChampionAt:
    """Which deployment was champion at a moment, and the entry that made it that; null before the first."""

    deployment: str | None
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified.

    Attributes:
        head: the newest entry's hash; keep it elsewhere.
    """

    n_entries: int
    head: str


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """An endpoint over a span of time.

    Attributes:
        figures: by deployment, those with traffic.
        alerts: open ones, the newest first.
    """

    endpoint: str
    since: str
    until: str
    figures: tuple[Figures, ...]
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """How many approvals an action needs."""

    action: str
    environment: str | None
    n_approvals: int
    by_others: bool
    expires_hours: float | None


@dataclass(frozen=True, slots=True)
class RegisteredPlan(Plan):
    """A plan of retraining.

    Attributes:
        enabled: whether triggers may start it.
    """

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """That the server lives, or can work."""

    status: Literal["alive", "ready"]
