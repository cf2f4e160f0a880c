"""What the store and the registry know of versions, deployments and jobs, for cards and for the report of debt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.lifecycle.context import Context
from roost.lifecycle.deployments import promotion
from roost.lifecycle.deployments.filling import is_filled
from roost.lifecycle.governance import data, requests
from roost.lifecycle.governance.cards import CARD_TAG, Facts
from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.governance.debt import DeploymentFacts, JobFacts, VersionFacts
from roost.lifecycle.ledger import Ledger
from roost.lifecycle.models.model_version import ModelVersion
from roost.lifecycle.store.monitoring_tables import AlertRow, MonitorRow
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, JobRow, LiveTestRow

_DRIFT = "drift."


def of_card(session: Session, version: ModelVersion, ledger: Ledger) -> Facts:
    """Return what a version's card says beside the version's own record."""
    found = [
        (row, endpoint)
        for row, endpoint in _deployments(session)
        if (row.model_name, row.model_version) == (version.name, version.version)
    ]
    names = {(endpoint.name, row.name) for row, endpoint in found}
    ids = {row.id for row, _ in found}
    served = [
        (period.endpoint, period.since, period.until, period.reason)
        for endpoint in sorted({endpoint.name for _, endpoint in found})
        for period in ledger.history(endpoint)
        if (endpoint, period.deployment) in names
    ]
    tests = [
        f"test {test.id} ({test.method}), {test.started_at}: {test.decision or test.state}"
        for test in session.scalars(select(LiveTestRow).order_by(LiveTestRow.id)).all()
        if ids & {arm.deployment_id for arm in promotion.arms_of(session, test.id)}
    ]
    subjects = [str(version), *(f"{endpoint}/{name}" for endpoint, name in sorted(names))]
    return Facts(
        written={tag.removeprefix(CARD_TAG): text for tag, text in version.tags.items() if tag.startswith(CARD_TAG)},
        data=data.data_of(session, version.name, version.version),
        deployments=[(endpoint.name, row.name, row.state) for row, endpoint in found],
        served=served,
        tests=tests,
        requests=[one for subject in subjects for one in requests.requests(session, subject, open_only=False)],
        comments=[one for subject in subjects for one in requests.comments(session, subject)],
    )


def of_versions(session: Session, versions: Iterable[ModelVersion], now: Mapping[str, KnownData]) -> list[VersionFacts]:
    """Return what is known of all model versions.

    Args:
        now: data as it is now, by its digest.
    """
    deployed = {(row.model_name, row.model_version) for row, _ in _deployments(session) if row.state != "draft"}
    return [
        VersionFacts(
            name=str(version),
            registered_at=datetime.fromisoformat(version.created_at),
            owner=version.owner,
            deployed=(version.name, version.version) in deployed,
            data=_data(session, version.name, version.version, now),
        )
        for version in versions
    ]


def of_deployments(
    session: Session, versions: Sequence[ModelVersion], now: Mapping[str, KnownData], collections: Set[str]
) -> list[DeploymentFacts]:
    """Return what is known of all deployments.

    Args:
        now: data as it is now, by its digest.
        collections: those that the vector engine has.
    """
    known = {(version.name, version.version): version for version in versions}
    watched = set(session.scalars(select(MonitorRow.endpoint)))
    alerts = session.execute(
        select(AlertRow.endpoint, AlertRow.deployment, AlertRow.rule)
        .where(AlertRow.state == "open", AlertRow.metric.startswith(_DRIFT))
        .order_by(AlertRow.id)
    ).all()
    found = []
    for row, endpoint in _deployments(session):
        version = known.get((row.model_name, row.model_version))
        is_champion = endpoint.champion_id == row.id
        found.append(
            DeploymentFacts(
                subject=f"{endpoint.name}/{row.name}",
                model=f"{row.model_name}/{row.model_version}",
                state=row.state,
                is_champion=is_champion,
                created_at=datetime.fromisoformat(row.created_at),
                registered_at=datetime.fromisoformat(version.created_at) if version is not None else None,
                owner=row.owner or endpoint.owner,
                newer=[
                    str(other)
                    for other in versions
                    if other.name == row.model_name and other.version > row.model_version
                ],
                drift=sorted({rule for *of, rule in alerts if of == [endpoint.name, row.name]}) if is_champion else [],
                is_watched=endpoint.name in watched,
                keeps_vectors=row.collection in collections,
                data=_data(session, row.model_name, row.model_version, now),
            )
        )
    return found


def of_jobs(context: Context) -> list[JobFacts]:
    """Return the last job of each kind of a deployment or an endpoint; those of retired deployments are over."""
    with context.store.read() as session:
        last = _last_jobs(session)
    return [
        JobFacts(row.id, kind, subject, _state(context, row), row.error or "", datetime.fromisoformat(row.updated_at))
        for (kind, subject), row in last.items()
    ]


def _last_jobs(session: Session) -> dict[tuple[str, str], JobRow]:
    """Return jobs by their kind and what they are for."""
    names = {endpoint.id: endpoint.name for endpoint in session.scalars(select(EndpointRow))}
    deployments = _deployments(session)
    subjects = {row.id: f"{endpoint.name}/{row.name}" for row, endpoint in deployments}
    retired = {row.id for row, _ in deployments if row.state == "retired"}
    last: dict[tuple[str, str], JobRow] = {}
    for row in session.scalars(select(JobRow).order_by(JobRow.id)):
        if row.deployment_id in retired:
            continue
        subject = subjects.get(row.deployment_id or 0) or names.get(row.endpoint_id or 0) or "no endpoint"
        if row.deployment_id is None and (plan := json.loads(row.request).get("plan")) is not None:
            subject = f"{subject}/{plan}"
        last[row.kind, subject] = row
    return last


def _state(context: Context, row: JobRow) -> str:
    """Return a job's state: interrupted where nobody carries a backfill out although it says so."""
    says_it_runs = row.kind == "backfill" and row.state == "running"
    if not says_it_runs or row.deployment_id is None or is_filled(context, row.deployment_id):
        return row.state
    with context.store.read() as session:  # it may have ended between the two looks
        now = session.get_one(JobRow, row.id)
    return "interrupted" if (now.state, now.worker) == (row.state, row.worker) else now.state


def _data(session: Session, name: str, number: int, now: Mapping[str, KnownData]) -> list[KnownData]:
    return [now.get(one.digest, one) for _, one in data.data_of(session, name, number)]


def _deployments(session: Session) -> list[tuple[DeploymentRow, EndpointRow]]:
    query = select(DeploymentRow, EndpointRow).join(EndpointRow, EndpointRow.id == DeploymentRow.endpoint_id)
    return [(row, endpoint) for row, endpoint in session.execute(query.order_by(DeploymentRow.id))]
