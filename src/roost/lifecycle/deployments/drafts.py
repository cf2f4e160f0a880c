"""Configuring deployments: drafts, which hold nothing yet, and the beginning of their building.

A draft is a row alone. Beginning it notes which collection it makes, creates it empty, and is then one
transaction that makes the deployment `building`; a crash between leaves a draft or nothing, and an empty
collection that is dropped when the workspace opens or the next one is begun.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymilvus import exceptions as milvus
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from roost.errors import AlreadyExists, Conflict, DeploymentNotFound, InvalidArgument, InvalidTransition
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import collections, space
from roost.lifecycle.deployments.deployment import (
    Deployment,
    State,
    deployment_of,
    move,
    note,
    row_named,
    rows_of,
    was_never_ready,
)
from roost.lifecycle.deployments.space import DEFAULT_INDEX
from roost.lifecycle.governance import permits
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.model_files import ModelFiles
from roost.lifecycle.models.model_version import EMBEDDING
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.names import check_name, collection_name
from roost.lifecycle.serving.router import SEARCH, Router
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, JobRow, LiveWriteRow, RejectedRow

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is asked of a new deployment.

    Attributes:
        index: of a search endpoint's; by default HNSW with M 16 and efConstruction 200.
        name: by default the model's name and version, as in `digits-v1`.
        delivered_from: the deployment of the same model, in another environment, whose success is the
            reason to deliver it here.
        owner: who answers for it.
        other_classes: a predictor may have other classes than the champion when it is promoted.
    """

    index: Mapping[str, Any] | None = None
    search_params: Mapping[str, Any] | None = None
    name: str | None = None
    delivered_from: Deployment | str | None = None
    owner: str | None = None
    other_classes: bool = False


def draft(router: Router, model: ModelVersion, wanted: Configuration) -> Deployment:
    """Record a deployment that is configured and holds nothing.

    Raises:
        AlreadyExists: the endpoint has a deployment of that name; one that failed before it was ready is replaced.
        InvalidArgument: the index has no type, the model is none for the endpoint, or was not delivered from there.
        PermissionDenied: the actor may not.
    """
    context = router.context
    with collections.deploying(context, router.endpoint_id):
        with router.change() as (session, endpoint):
            row = _new_row(session, router, endpoint, model, wanted)
            permits.check(session, context.actor, "draft", endpoint.environment, f"{endpoint.name}/{row.name}")
            ledger.append(session, context.actor, "draft", endpoint.name, row.name, evidence=_facts(row))
            drafted = deployment_of(row, endpoint.name)
        if router.kind == SEARCH:
            space.drop(context.vectors, drafted.collection)  # of one that failed and had the name
    return drafted


def configure(
    router: Router, name: str, index: Mapping[str, Any] | None, search_params: Mapping[str, Any] | None
) -> Deployment:
    """Change the configuration of a draft; what is None stays.

    Raises:
        InvalidTransition: it is no draft any more.
        InvalidArgument: the index has no type.
        PermissionDenied: the actor may not.
    """
    context = router.context
    with router.change() as (session, endpoint):
        row = row_named(rows_of(session, endpoint.id), name)
        permits.check(session, context.actor, "draft", endpoint.environment, f"{endpoint.name}/{name}")
        if row.state != State.DRAFT:
            raise InvalidTransition(
                f"deployment {name!r} is {row.state}; only a draft's configuration may change: make a new deployment"
            )
        if index is not None:
            row.index_params = canonical_json(checked_index(index))
        if search_params is not None:
            row.search_params = canonical_json(dict(search_params))
        ledger.append(session, context.actor, "draft.change", endpoint.name, name, evidence=_facts(row))
        changed = deployment_of(row, endpoint.name)
    return changed


def begin(router: Router, model: ModelVersion | Deployment | str, wanted: Configuration) -> Deployment:
    """Let a search endpoint's new deployment be built: create its collection, which the endpoint's writes reach now.

    Raises: as `begin_row`; InvalidArgument: the engine refuses the index; UnsafeModel, Corruption: the model cannot be
        loaded. Nothing is left then.
    """
    context = router.context
    model = chosen(router, model)
    with collections.deploying(context, router.endpoint_id):
        with context.store.write() as session:
            endpoint = session.get_one(EndpointRow, router.endpoint_id)
            failed = {row.collection for row in rows_of(session, endpoint.id) if was_never_ready(row)}
            row = begin_row(session, router, endpoint, model, wanted)
            planned, files = deployment_of(row, endpoint.name), ModelFiles.from_json(row.model_files)
            session.rollback()
        # Rather now than when the row is there: a model that this process does not trust, say, cannot be deployed.
        loaded = router.load(files, planned)
        # Between two transactions, so that none waits for the vector engine.
        if planned.collection in failed:
            space.drop(context.vectors, planned.collection)
        collections.drop_planned(context, router.endpoint_id)
        space.check_free(context.vectors, planned.collection)
        token = collections.plan(context, router.endpoint_id, planned.collection)
        try:
            space.create(context.vectors, planned, router.payload, token)
            # A write that is under way knows nothing of the new deployment; whoever reads the records for it from now
            # on reads what that write left.
            with router.write_gate, router.change() as (session, endpoint):
                row = begin_row(session, router, endpoint, model, wanted)
                router.adopt(row, loaded)
                endpoint.planned_collection = None
                deployment = deployment_of(row, endpoint.name)
                if deployment.collection != planned.collection:
                    raise Conflict(f"somebody else has just taken the name {planned.name!r}: look again and repeat")
        except BaseException:
            _tidy(context, router.endpoint_id, planned)
            raise
    return deployment


def chosen(router: Router, model: ModelVersion | Deployment | str) -> ModelVersion | Deployment | str:
    """Return what a caller wants to deploy, where its text is a model version's, as in `digits/2`, that version.

    Raises: ModelNotFound: there is no such version.
    """
    return router.context.models.get(model) if isinstance(model, str) and "/" in model else model


def _tidy(context: Context, endpoint_id: int, planned: Deployment) -> None:
    try:
        collections.drop_planned(context, endpoint_id)
    except milvus.MilvusException as error:  # the caller shall see what went wrong first
        _log.warning("collection %r is dropped when the workspace is opened next: %s", planned.collection, error)


def begin_row(
    session: Session,
    router: Router,
    endpoint: EndpointRow,
    model: ModelVersion | Deployment | str,
    wanted: Configuration,
) -> DeploymentRow:
    """Record within the caller's transaction that a deployment is being built, of a model version or from a draft.

    Raises:
        AlreadyExists: the endpoint has a deployment of that name; one that failed before it was ready is replaced.
        InvalidArgument: the index has no type; or a draft, which has its configuration, is given another one.
        InvalidTransition: the draft was begun already.
        PermissionDenied: the actor may not.
    """
    if isinstance(model, ModelVersion):
        row = _new_row(session, router, endpoint, model, wanted)
    else:
        if wanted != Configuration():
            raise InvalidArgument("a draft is configured already: change it with `configure` before it is deployed")
        row = row_named(rows_of(session, endpoint.id), model if isinstance(model, str) else model.name)
        if row.state != State.DRAFT:
            raise InvalidTransition(f"deployment {row.name!r} is {row.state}; only a draft can be begun")
    actor = router.context.actor
    permits.check(session, actor, "deploy", endpoint.environment, f"{endpoint.name}/{row.name}")
    move(row, State.BUILDING)
    ledger.append(session, actor, "deploy", endpoint.name, row.name, evidence=_facts(row))
    return row


def _new_row(
    session: Session, router: Router, endpoint: EndpointRow, model: ModelVersion, wanted: Configuration
) -> DeploymentRow:
    check_kind(router, model)
    index = checked_index(wanted.index) if router.kind == SEARCH else {}
    rows = rows_of(session, endpoint.id)
    if wanted.name is None:
        _check_not_begun(rows, model)
    taken = {row.name for row in rows if not was_never_ready(row)}
    name = check_name("deployment", wanted.name) if wanted.name is not None else _free_name(model, taken)
    collection = collection_name(endpoint.name, name)
    if collection in {collection_name(endpoint.name, other) for other in taken}:
        raise AlreadyExists(f"endpoint {endpoint.name!r} has a deployment {name!r} already")
    origin = _origin(session, model, wanted.delivered_from)
    for failed in rows:
        if failed.collection == collection:
            _forget(session, failed)
    row = DeploymentRow(
        endpoint_id=endpoint.id,
        name=name,
        collection=collection,
        state=State.DRAFT.value,
        model_name=model.name,
        model_version=model.version,
        model_files=model.files.to_json(),
        fingerprint=model.fingerprint,
        dim=model.dim if router.kind == SEARCH else 0,
        index_params=canonical_json(index),
        search_params=canonical_json(dict(wanted.search_params or {})),
        owner=wanted.owner,
        n_records=0,
        created_at=utc_now(),
    )
    if origin is not None:
        note(row, delivered_from=origin)
    if wanted.other_classes:
        note(row, other_classes=True)
    session.add(row)
    session.flush()
    return row


def _check_not_begun(rows: Sequence[DeploymentRow], model: ModelVersion) -> None:
    for row in rows:
        if row.state == State.BUILDING and (row.model_name, row.model_version) == (model.name, model.version):
            raise InvalidTransition(
                f"deployment {row.name!r} of {model} is being built, or was interrupted: `resume` goes on with it, "
                "`cancel` gives it up, and a name of its own makes another one"
            )


def check_kind(router: Router, model: ModelVersion) -> None:
    """Raise InvalidArgument for a model that is none for the endpoint."""
    needed = EMBEDDING if router.kind == SEARCH else router.task
    if model.task == needed:
        return
    made = "gives vectors" if model.task == EMBEDDING else f"is a {model.task} model"
    use = "is searched and needs an Embedder" if needed == EMBEDDING else f"needs a {needed} model, a Predictor"
    raise InvalidArgument(f"{model} {made}; endpoint {router.name!r} {use}")


def _origin(session: Session, model: ModelVersion, given: Deployment | str | None) -> str | None:
    """Return `endpoint/deployment` of where a model is delivered from.

    Raises:
        DeploymentNotFound: there is no such deployment.
        InvalidArgument: it is of another model version.
    """
    if given is None:
        return None
    origin = given if isinstance(given, str) else f"{given.endpoint}/{given.name}"
    endpoint, _, name = origin.partition("/")
    query = select(DeploymentRow).join(EndpointRow, EndpointRow.id == DeploymentRow.endpoint_id)
    row = session.scalar(query.where(EndpointRow.name == endpoint, DeploymentRow.name == name))
    if row is None:
        raise DeploymentNotFound(f"there is no deployment {origin!r} to deliver from; write ENDPOINT/DEPLOYMENT")
    if (row.model_name, row.model_version, row.fingerprint) != (model.name, model.version, model.fingerprint):
        raise InvalidArgument(f"{origin} is of {row.model_name}/{row.model_version}, not of {model}")
    return origin


def checked_index(index: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an index's type and parameters, by default those of `DEFAULT_INDEX`.

    Raises: InvalidArgument: it has no type.
    """
    chosen = dict(index if index is not None else DEFAULT_INDEX)
    if not isinstance(chosen.get("index_type"), str):
        raise InvalidArgument('index needs a type: for example {"index_type": "HNSW", "M": 16, "efConstruction": 200}')
    return chosen


def _facts(row: DeploymentRow) -> dict[str, Any]:
    deployment = deployment_of(row, "")
    facts = {"model": deployment.model, "fingerprint": deployment.fingerprint, **deployment.configuration}
    if deployment.dim:
        facts |= {"index": dict(deployment.index), "search_params": dict(deployment.search_params)}
    return facts


def _forget(session: Session, row: DeploymentRow) -> None:
    """Remove a deployment that was never ready; the ledger keeps what became of it."""
    jobs = select(JobRow.id).where(JobRow.deployment_id == row.id)
    session.execute(delete(RejectedRow).where(RejectedRow.job_id.in_(jobs)))
    session.execute(delete(JobRow).where(JobRow.deployment_id == row.id))
    session.execute(delete(LiveWriteRow).where(LiveWriteRow.deployment_id == row.id))
    session.delete(row)
    session.flush()


def _free_name(model: ModelVersion, taken: set[str]) -> str:
    base = f"{model.name}-v{model.version}"
    if base not in taken:
        return base
    return next(name for number in range(2, len(taken) + 3) if (name := f"{base}-{number}") not in taken)
