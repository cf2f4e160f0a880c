"""How a run of a plan ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from roost.lifecycle.store.tables import JobRow

State: TypeAlias = Literal[
    "challenger", "unchanged", "refused", "failed", "over_budget", "cancelled", "interrupted", "running"
]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run leaves behind; see `Outcome`."""

    state: State
    reason: str
    run_id: str | None = None
    version: str | None = None
    deployment: str | None = None
    test_id: int | None = None
    metrics: Mapping[str, float] | None = None
    champion_metrics: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a plan.

    Attributes:
        state: "challenger" (a new deployment is ready), "unchanged" (the recipe gave a model that is there
            already), "refused" by the gate, "failed", "over_budget", "cancelled", "interrupted", or
            "running" still.
        trigger: why it was started.
        reason: why it ended so.
        version: the version of the model that was made or deployed, as in `digits/3`; None where there is none.
        deployment: the challenger's name.
        metrics: what the new model reached on the evaluation's data.
        champion_metrics: what the champion reached on the same.
    """

    job_id: int
    plan: str
    state: State
    trigger: str
    reason: str
    started_at: str
    run_id: str | None = None
    version: str | None = None
    deployment: str | None = None
    test_id: int | None = None
    metrics: Mapping[str, float] | None = None
    champion_metrics: Mapping[str, float] | None = None


def outcome_of(job: JobRow) -> Outcome:
    """Return a job of retraining as a value."""
    request, result = json.loads(job.request), json.loads(job.result)
    kept = {name: result.get(name) for name in ("run_id", "version", "deployment", "test_id")}
    return Outcome(
        job_id=job.id,
        plan=request["plan"],
        state=cast(State, job.state),
        trigger=request["trigger"],
        reason=result.get("reason") or job.error or "",
        started_at=job.created_at or job.updated_at,
        metrics=result.get("metrics"),
        champion_metrics=result.get("champion_metrics"),
        **kept,
    )
