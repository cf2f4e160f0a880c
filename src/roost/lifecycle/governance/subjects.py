"""Whether what somebody speaks of is there: a model, a version, an endpoint or a deployment."""

from __future__ import annotations

from sqlalchemy import select

from roost.errors import DeploymentNotFound, SubjectNotFound
from roost.lifecycle.context import Context
from roost.lifecycle.governance.requests import checked_subject
from roost.lifecycle.names import suggestion
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

OF_DEPLOYMENTS = ("promote", "rollback", "retire", "purge")
"""Actions whose subject is a deployment that is there already."""


def check_subject(context: Context, subject: str) -> None:
    """Check that something is there, named as in "digits", "digits/2", "image-search" or "image-search/digits-v2".

    Raises:
        InvalidArgument: it is no name of a subject.
        ModelNotFound, DeploymentNotFound, SubjectNotFound: it is not there.
    """
    first, _, last = checked_subject(subject).rpartition("/")
    owner = first or last
    endpoints, models = _endpoints(context), context.models.list()
    if owner not in endpoints and owner not in models:
        known = [*endpoints, *models]
        raise SubjectNotFound(f"there is no endpoint and no model {owner!r} ({suggestion(owner, known)})")
    if not first or (owner in endpoints and last in _deployments(context, owner)):
        return
    if owner not in models:
        check_deployment(context, subject)
    context.models.get(owner, int(last) if last.isdecimal() else last)


def check_deployment(context: Context, subject: str) -> None:
    """Check that a deployment is there, named as in "image-search/digits-v2".

    Raises:
        InvalidArgument: it is no name of a subject.
        DeploymentNotFound: it is not there.
    """
    endpoint, _, name = checked_subject(subject).rpartition("/")
    endpoints = _endpoints(context)
    if endpoint not in endpoints:
        known = suggestion(endpoint, endpoints)
        raise DeploymentNotFound(f"{subject!r} is no deployment, as in 'image-search/digits-v2': of endpoints, {known}")
    deployments = _deployments(context, endpoint)
    if name not in deployments:
        raise DeploymentNotFound(f"endpoint {endpoint!r} has no deployment {name!r} ({suggestion(name, deployments)})")


def _endpoints(context: Context) -> list[str]:
    with context.store.read() as session:
        return list(session.scalars(select(EndpointRow.name)))


def _deployments(context: Context, endpoint: str) -> list[str]:
    of_it = EndpointRow.id == DeploymentRow.endpoint_id
    with context.store.read() as session:
        return list(
            session.scalars(select(DeploymentRow.name).join(EndpointRow, of_it).where(EndpointRow.name == endpoint))
        )
