"""Model debt: models, deployments and data that nobody looks after, each with its evidence.

The name and the idea: Sculley et al., "Hidden technical debt in machine learning systems", NIPS 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from roost.errors import InvalidArgument
from roost.lifecycle.governance.data import BAD, GOOD, KnownData
from roost.lifecycle.html import table

Severity: TypeAlias = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Limits:
    """After how many days something counts as debt.

    Attributes:
        unused_days: a version that was never deployed.
        stale_days: a champion whose model was registered so long ago.
        unfinished_days: a deployment that is still being built, a job that stands still.
    """

    unused_days: float = 30.0
    stale_days: float = 180.0
    unfinished_days: float = 7.0

    def __post_init__(self) -> None:
        if min(self.unused_days, self.stale_days, self.unfinished_days) < 0:
            raise InvalidArgument("the days after which something counts as debt cannot be negative")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is known of a model version.

    Attributes:
        deployed: whether it was ever deployed.
        data: what it used, "gone" also where it was found not to be there.
    """

    name: str
    registered_at: datetime
    owner: str | None
    deployed: bool
    data: Sequence[KnownData]


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """What is known of a deployment.

    Attributes:
        subject: endpoint and name.
        registered_at: when its model version was; None where the registry does not have it any more.
        owner: of the deployment, or else of its endpoint.
        newer: versions of the same model that were registered since.
        drift: rules about drift whose alerts are open.
        is_watched: whether its endpoint has a monitor.
        keeps_vectors: whether one that is retired or failed still takes space.
    """

    subject: str
    model: str
    state: str
    is_champion: bool
    created_at: datetime
    registered_at: datetime | None
    owner: str | None
    newer: Sequence[str]
    drift: Sequence[str]
    is_watched: bool
    keeps_vectors: bool
    data: Sequence[KnownData]


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job that ended badly, or stands still. `subject` is what it was for."""

    id: int
    kind: str
    subject: str
    state: str
    error: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of debt.

    Attributes:
        kind: "never deployed", "stale", "superseded", "drifted", "unknown owner", "unknown model",
            "bad data", "data is gone", "not watched", "unfinished", "failed", "space".
        evidence: what it was found by.
        advice: what to do about it.
    """

    severity: Severity
    kind: str
    subject: str
    evidence: str
    advice: str


@dataclass(frozen=True)
class DebtReport:
    """The debt of a workspace, the worst first."""

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity | None:
        """The highest severity that was found."""
        return self.findings[0].severity if self.findings else None

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the findings as values that JSON can hold."""
        return [asdict(one) for one in self.findings]

    def __str__(self) -> str:
        lines = [f"{one.severity:6} {one.kind:15} {one.subject}: {one.evidence}. {one.advice}" for one in self.findings]
        return "\n".join(lines) or "no debt was found"

    def _repr_html_(self) -> str:
        return table(self.to_dicts(), ("severity", "kind", "subject", "evidence", "advice"), "Model debt")


def find(
    versions: Iterable[VersionFacts],
    deployments: Iterable[DeploymentFacts],
    jobs: Iterable[JobFacts],
    limits: Limits,
    now: datetime,
) -> DebtReport:
    """Return what of these is debt."""
    found: list[Finding] = []
    for version in versions:
        found += _of_version(version, limits, now)
    for deployment in deployments:
        found += _of_deployment(deployment, limits, now)
    for job in jobs:
        found += _of_job(job, limits, now)
    return DebtReport(tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.kind, one.subject))))


def _of_version(version: VersionFacts, limits: Limits, now: datetime) -> list[Finding]:
    found = []
    age = now - version.registered_at
    if not version.deployed and age > timedelta(days=limits.unused_days):
        evidence = f"registered {_days(age)} ago and never deployed"
        found.append(Finding("low", "never deployed", version.name, evidence, "Deploy it or delete it"))
    if not version.deployed:
        found += [_of_data(one, "low", version.name, version.name) for one in version.data if one.state != GOOD]
    if version.owner is None:
        evidence = "no owner is recorded of the model version"
        found.append(Finding("low", "unknown owner", version.name, evidence, "Register the next version with owner="))
    return found


def _of_deployment(deployment: DeploymentFacts, limits: Limits, now: datetime) -> list[Finding]:
    found = []
    if deployment.is_champion:
        found += _of_champion(deployment, limits, now)
    if deployment.state not in ("retired", "failed"):
        for one in (one for one in deployment.data if one.state != GOOD):
            severity: Severity = "high" if deployment.is_champion and one.state == BAD else "medium"
            found.append(_of_data(one, severity, deployment.subject, deployment.model))
    age = now - deployment.created_at
    if deployment.state in ("building", "draft") and age > timedelta(days=limits.unfinished_days):
        evidence = f"{deployment.state} for {_days(age)}"
        found.append(Finding("medium", "unfinished", deployment.subject, evidence, "Resume it or retire it"))
    if deployment.state == "failed" and deployment.keeps_vectors:
        evidence = "it failed and takes space"
        found.append(Finding("low", "failed", deployment.subject, evidence, "Retire it"))
    if deployment.state == "retired" and deployment.keeps_vectors:
        found.append(Finding("low", "space", deployment.subject, "retired, and its vectors are kept", "Purge it"))
    return found


def _of_champion(deployment: DeploymentFacts, limits: Limits, now: datetime) -> list[Finding]:
    found = []
    if deployment.registered_at is None:
        evidence = f"{deployment.model} is not in the registry any more"
        found.append(
            Finding("high", "unknown model", deployment.subject, evidence, "Register and deploy a known model")
        )
    elif now - deployment.registered_at > timedelta(days=limits.stale_days):
        evidence = f"its model was registered {_days(now - deployment.registered_at)} ago"
        found.append(Finding("medium", "stale", deployment.subject, evidence, "Retrain it, and test the result live"))
    if deployment.owner is None:
        evidence = "no owner is recorded, neither of the champion nor of its endpoint"
        found.append(Finding("medium", "unknown owner", deployment.subject, evidence, "Name one: roost endpoint own"))
    if deployment.newer:
        evidence = f"{deployment.model} answers, and {', '.join(deployment.newer)} came since"
        found.append(Finding("low", "superseded", deployment.subject, evidence, "Test the newest version live"))
    if deployment.drift:
        evidence = f"alerts are open: {', '.join(deployment.drift)}"
        found.append(Finding("high", "drifted", deployment.subject, evidence, "Look at the monitor, and retrain"))
    if not deployment.is_watched:
        found.append(
            Finding("medium", "not watched", deployment.subject, "its endpoint has no monitor", "Watch the endpoint")
        )
    return found


def _of_data(data: KnownData, severity: Severity, subject: str, model: str) -> Finding:
    kind, advice = "bad data", "Retrain on good data, then promote"
    if data.state != BAD:
        kind, advice = "data is gone", "Find it again, or retrain on data that is kept"
    known = f"{data.name} ({data.digest}), known since {data.created_at[:19]}"
    evidence = f"{model} was made from {known}, which is {data.state}: {data.reason}"
    return Finding(severity, kind, subject, evidence, advice)


def _of_job(job: JobFacts, limits: Limits, now: datetime) -> list[Finding]:
    if job.state == "interrupted":
        evidence = f"{job.kind} was interrupted"
        return [Finding("medium", "unfinished", f"job {job.id} of {job.subject}", evidence, _go_on(job))]
    if job.state == "failed":
        evidence = f"{job.kind} failed: {job.error}" if job.error else f"{job.kind} failed"
        return [Finding("medium", "failed", f"job {job.id} of {job.subject}", evidence, "Mend the cause and repeat it")]
    idle = now - job.updated_at
    if job.state in ("running", "paused") and idle > timedelta(days=limits.unfinished_days):
        evidence = f"{job.kind} is {job.state} and gave no sign of life for {_days(idle)}"
        return [Finding("medium", "unfinished", f"job {job.id} of {job.subject}", evidence, "Resume it or cancel it")]
    return []


def _go_on(job: JobFacts) -> str:
    if job.kind == "backfill":
        return "`roost backfill resume` goes on, `roost backfill cancel` gives it up"
    return "Run it again"


def _days(age: timedelta) -> str:
    return f"{age.days} days"
