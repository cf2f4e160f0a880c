"""Where an answer comes from, and what is affected when something in its origin is bad."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import AnswerNotFound, DeploymentNotFound
from roost.lifecycle.deployments import promotion
from roost.lifecycle.governance import data
from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.html import cell, table
from roost.lifecycle.ledger import Period
from roost.lifecycle.models.model_version import ModelVersion
from roost.lifecycle.serving.recorder import ANSWERED
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, EventRow, JobRow, LiveTestRow


@dataclass(frozen=True)
class Node:
    """Something with an origin, and its origins.

    Attributes:
        kind: "answer", "deployment", "version", "run", "code" or "data".
        name: as people write it.
        facts: what is known of it.
        origins: what it was made from.
    """

    kind: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    origins: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Give this node and everything that it comes from."""
        yield self
        for origin in self.origins:
            yield from origin.walk()

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as values that JSON can hold."""
        return {
            "kind": self.kind,
            "name": self.name,
            "facts": dict(self.facts),
            "origins": [origin.to_dict() for origin in self.origins],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        known = ", ".join(f"{name} {value}" for name, value in self.facts.items() if value not in (None, "", {}, []))
        yield f"{indent}{self.kind} {self.name}{f' ({known})' if known else ''}"
        for origin in self.origins:
            yield from origin._lines(indent + "  ")

    def _repr_html_(self) -> str:
        origins = "".join(f"<li>{origin._repr_html_()}</li>" for origin in self.origins)
        return f"{cell(self.kind)} <b>{cell(self.name)}</b> {cell(dict(self.facts))}<ul>{origins}</ul>"


@dataclass(frozen=True, slots=True)
class AffectedVersion:
    """A model version that was made from data.

    Attributes:
        version: as in `digits/2`.
        role: what it used the data for: "train", "evaluation" or "backfill".
    """

    version: str
    role: str


@dataclass(frozen=True, slots=True)
class AffectedDeployment:
    """A deployment of such a version."""

    endpoint: str
    deployment: str
    model: str
    state: str


@dataclass(frozen=True, slots=True)
class Affected:
    """What was made from data, directly or not.

    Attributes:
        data: what was asked about.
        serving: the endpoints whose champion is one of the deployments now.
        periods: when one of them was champion, and who made it that.
        tests: live tests in which one of them took part.
    """

    data: KnownData
    versions: tuple[AffectedVersion, ...]
    deployments: tuple[AffectedDeployment, ...]
    serving: tuple[str, ...]
    periods: tuple[Period, ...]
    tests: tuple[int, ...]

    def __str__(self) -> str:
        lines = [f"data {self.data.name} {self.data.digest} is {self.data.state}"]
        lines += [f"  version {one.version} used it to {_USES.get(one.role, one.role)}" for one in self.versions]
        lines += [
            f"  deployment {one.endpoint}/{one.deployment} of {one.model} is {one.state}" for one in self.deployments
        ]
        lines += [
            f"  {one.endpoint} answered with {one.deployment} from {one.since} until {one.until or 'now'}"
            for one in self.periods
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [asdict(one) for one in self.deployments]
        return table(rows, title=f"Affected by {self.data.name}: {self.data.state}")


_USES = {"train": "train", "evaluation": "be measured", "backfill": "fill a collection"}


def of_version(session: Session, version: ModelVersion) -> Node:
    """Return a model version with its run, its code and its data."""
    origins: list[Node] = []
    if version.run_id is not None:
        origins.append(Node("run", version.run_id))
    if version.code is not None:
        origins.append(Node("code", version.code, {"with changes": "yes"} if version.code_is_dirty else {}))
    origins += _data(session, version.name, version.version)
    facts = {"fingerprint": version.fingerprint, "owner": version.owner, "registered": version.created_at}
    return Node("version", str(version), facts, tuple(origins))


def of_unregistered(session: Session, row: DeploymentRow) -> Node:
    """Return the model version of a deployment that the registry does not have any more."""
    facts = {"fingerprint": row.fingerprint, "registered": "not any more"}
    origins = tuple(_data(session, row.model_name, row.model_version))
    return Node("version", f"{row.model_name}/{row.model_version}", facts, origins)


def of_deployment(row: DeploymentRow, endpoint: str, version: Node, source: Mapping[str, Any]) -> Node:
    """Return a deployment with its model version and what its collection was filled from.

    Args:
        source: as its backfill recorded it; empty where there was none.
    """
    facts: dict[str, Any] = {"state": row.state, "seal": row.seal}
    if row.dim:
        facts |= {"rows": row.n_records, "collection": row.collection}
    return Node("deployment", f"{endpoint}/{row.name}", facts, (version, *_filled_from(source)))


def backfill_source(session: Session, row: DeploymentRow) -> Mapping[str, Any]:
    """Return what a deployment's backfill recorded of its source; empty where there was none."""
    query = select(JobRow.request).where(JobRow.deployment_id == row.id, JobRow.kind == "backfill")
    request = session.scalar(query.order_by(JobRow.id.desc()).limit(1))
    source: Mapping[str, Any] = json.loads(request).get("source", {}) if request is not None else {}
    return source


def _filled_from(source: Mapping[str, Any]) -> tuple[Node, ...]:
    if source.get("kind", "iterable") == "iterable":
        return ()  # records of the caller's own, of which nothing is known
    name = source.get("path") or source.get("collection") or source["kind"]
    facts = {"for": "backfill", **{key: value for key, value in source.items() if value != name}}
    return (Node("data", str(name), facts),)


def _data(session: Session, name: str, number: int) -> Iterator[Node]:
    for role, known in data.data_of(session, name, number):
        facts: dict[str, Any] = {"for": role, "name": known.name, "rows": known.n_rows, "at": known.uri}
        if known.state != data.GOOD:
            facts |= {"state": known.state, "reason": known.reason}
        yield Node("data", known.digest, facts)


def answered_by(session: Session, query_id: str) -> list[tuple[str, str, str]]:
    """Return endpoint, deployment and time of an answer's event.

    Raises: AnswerNotFound: no such answer was recorded.
    """
    query = select(EventRow).where(EventRow.query_id == query_id, EventRow.kind.in_(ANSWERED)).order_by(EventRow.id)
    rows = session.scalars(query).all()
    if not rows:
        raise AnswerNotFound(
            f"no answer {query_id!r} was recorded; answers are written in the background (flush_events writes them "
            "now), and old ones are forgotten"
        )
    return [(row.endpoint, row.deployment, row.at) for row in rows]


def deployment_row(session: Session, endpoint: str, name: str) -> DeploymentRow:
    """Return a deployment's row.

    Raises: DeploymentNotFound: there is none of that name.
    """
    query = select(DeploymentRow).join(EndpointRow, EndpointRow.id == DeploymentRow.endpoint_id)
    row = session.scalar(query.where(EndpointRow.name == endpoint, DeploymentRow.name == name))
    if row is None:
        raise DeploymentNotFound(f"there is no deployment {name!r} of an endpoint {endpoint!r}")
    return row


def affected(session: Session, cause: KnownData, history: Mapping[str, list[Period]]) -> Affected:
    """Return what was made from data.

    Args:
        history: the champions of each endpoint.
    """
    users = data.users_of(session, cause.digest)
    versions = {(name, number) for name, number, _ in users}
    query = select(DeploymentRow, EndpointRow).join(EndpointRow, EndpointRow.id == DeploymentRow.endpoint_id)
    found = [
        (row, endpoint)
        for row, endpoint in session.execute(query.order_by(DeploymentRow.id))
        if (row.model_name, row.model_version) in versions
    ]
    names = {(endpoint.name, row.name) for row, endpoint in found}
    ids = {row.id for row, _ in found}
    tests = [
        test.id
        for test in session.scalars(select(LiveTestRow).order_by(LiveTestRow.id))
        if ids & {arm.deployment_id for arm in promotion.arms_of(session, test.id)}
    ]
    return Affected(
        data=cause,
        versions=tuple(AffectedVersion(f"{name}/{number}", role) for name, number, role in users),
        deployments=tuple(
            AffectedDeployment(endpoint.name, row.name, f"{row.model_name}/{row.model_version}", row.state)
            for row, endpoint in found
        ),
        serving=tuple(sorted({endpoint.name for row, endpoint in found if endpoint.champion_id == row.id})),
        periods=tuple(
            period
            for endpoint in sorted(history)
            for period in history[endpoint]
            if (endpoint, period.deployment) in names
        ),
        tests=tuple(tests),
    )
