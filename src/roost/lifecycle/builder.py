"""Making deployments, and taking them away.

Steps of a deployment: its row with the state `building` and its empty collection; the backfill,
while the endpoint's writes go to the collection as well; index, load and count; then one
transaction that seals it as `ready`. A crash leaves a deployment that is `building`, whose backfill
`resume` takes up at its last batch. One that cannot be built is marked as `failed`, then its
collection is dropped; a crash between leaves a collection that is dropped when the workspace opens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pymilvus import exceptions as milvus
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from roost.address import without_secrets
from roost.errors import AlreadyExists, InvalidArgument, InvalidTransition
from roost.lifecycle import ledger, promotion, space
from roost.lifecycle.backfill import Backfill, Progress, Record, check_batch_size
from roost.lifecycle.deployments import (
    Deployment,
    State,
    deployment_of,
    move,
    row_named,
    rows_of,
    seal,
    was_never_ready,
)
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.names import check_name, collection_name
from roost.lifecycle.registry import ModelVersion
from roost.lifecycle.router import Router
from roost.lifecycle.space import DEFAULT_INDEX
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, JobRow, LiveWriteRow, RejectedRow

_log = logging.getLogger(__name__)


def begin(
    router: Router,
    model: ModelVersion,
    index: Mapping[str, Any] | None,
    search_params: Mapping[str, Any] | None,
    name: str | None,
) -> Deployment:
    """Record a new deployment, create its collection, and let the endpoint's writes reach it.

    Raises:
        AlreadyExists: the endpoint has a deployment of that name; one that failed before it was ready is replaced.
        InvalidArgument: the index has no type, or the engine refuses it.
    """
    chosen = dict(index if index is not None else DEFAULT_INDEX)
    if not isinstance(chosen.get("index_type"), str):
        raise InvalidArgument('index needs a type: for example {"index_type": "HNSW", "M": 16, "efConstruction": 200}')
    context = router.context
    with router.change() as (session, endpoint):
        rows = rows_of(session, endpoint.id)
        taken = {row.name for row in rows if not was_never_ready(row)}
        chosen_name = check_name("deployment", name) if name is not None else _free_name(model, taken)
        collection = collection_name(endpoint.name, chosen_name)
        if collection in {collection_name(endpoint.name, other) for other in taken}:
            raise AlreadyExists(f"endpoint {endpoint.name!r} has a deployment {chosen_name!r} already")
        for failed in rows:
            if failed.collection == collection:
                _forget(session, failed)
                space.drop(context.vectors, collection)
        row = DeploymentRow(
            endpoint_id=endpoint.id,
            name=chosen_name,
            collection=collection,
            state=State.BUILDING.value,
            model_name=model.name,
            model_version=model.version,
            model_files=model.files.to_json(),
            fingerprint=model.fingerprint,
            dim=model.dim,
            index_params=canonical_json(chosen),
            search_params=canonical_json(dict(search_params or {})),
            n_records=0,
            created_at=utc_now(),
        )
        session.add(row)
        session.flush()
        deployment = deployment_of(row, endpoint.name)
        space.create(context.vectors, deployment, router.payload)
        evidence = {"model": deployment.model, "fingerprint": model.fingerprint, "index": chosen}
        ledger.append(session, context.actor, "deploy", endpoint.name, chosen_name, evidence=evidence)
    return deployment


def fill(
    router: Router,
    name: str,
    records: Iterable[Record],
    batch_size: int,
    progress: Callable[[Progress], None] | None,
) -> Deployment:
    """Fill a deployment that is being built, from where it stands, and seal it.

    Raises:
        InvalidArgument: the batch size is out of range.
        InvalidTransition: the deployment is not being built, or is being filled already.
        WorkspaceError: it cannot be opened.
    """
    check_batch_size(batch_size)
    router.check_opened(name)
    target = router.routing.target(name)
    if target is None or target.deployment.state != State.BUILDING:
        with router.context.store.read() as session:
            row = row_named(rows_of(session, router.endpoint_id), name)
        raise InvalidTransition(f"deployment {name!r} is {row.state}; only one that is building can be filled")
    deployment = target.deployment
    backfill = Backfill(
        router.context, deployment, target.embedder, router.payload, router.write_gate, batch_size, progress
    )
    with router.changing:
        if name in router.filling:
            raise InvalidTransition(f"deployment {name!r} is being filled by another thread already")
        router.filling.add(name)
    try:
        return _finish(router, deployment, backfill.run(records))
    except Exception as error:
        if backfill.is_hopeless:
            _give_up(router, deployment, str(getattr(error, "message", error)))
        raise
    finally:
        router.filling.discard(name)


def _give_up(router: Router, deployment: Deployment, reason: str) -> None:
    router.fail(deployment.name, f"it could not be built: {without_secrets(reason)}")
    try:
        promotion.drop_failed(router.context, deployment.id)
    except milvus.MilvusException as error:  # the caller shall see why the deployment failed, not this
        _log.warning("collection %r is dropped when the workspace is opened next: %s", deployment.collection, error)


def _forget(session: Session, row: DeploymentRow) -> None:
    """Remove a deployment that was never ready; the ledger keeps what became of it."""
    jobs = select(JobRow.id).where(JobRow.deployment_id == row.id)
    session.execute(delete(RejectedRow).where(RejectedRow.job_id.in_(jobs)))
    session.execute(delete(JobRow).where(JobRow.deployment_id == row.id))
    session.execute(delete(LiveWriteRow).where(LiveWriteRow.deployment_id == row.id))
    session.delete(row)
    session.flush()


def retire(router: Router, name: str, reason: str) -> None:
    """End a deployment and drop its vectors.

    Raises:
        InvalidTransition: it is the champion, or takes part in a live test.
        InvalidArgument: the reason is empty.
    """
    promotion.check_reason(reason)
    context = router.context
    with router.change() as (session, endpoint):
        row = row_named(rows_of(session, endpoint.id), name)
        test = promotion.running_test(session, endpoint.id)
        if test is not None and promotion.challenges(session, test, row.id):
            if name not in router.routing.missing:
                raise InvalidTransition(f"deployment {name!r} takes part in live test {test.id}: stop the test first")
            promotion.stop_test(session, endpoint, context.actor, f"{name} is retired")
        move(row, State.RETIRED)
        session.execute(delete(LiveWriteRow).where(LiveWriteRow.deployment_id == row.id))
        ledger.append(session, context.actor, "retire", endpoint.name, name, reason)
    space.drop(context.vectors, row.collection)


def rejected(router: Router, name: str) -> list[tuple[str, str]]:
    """Return key and reason of the records that a deployment's backfill set aside."""
    with router.context.store.read() as session:
        row = row_named(rows_of(session, router.endpoint_id), name)
        query = select(RejectedRow.key, RejectedRow.reason).join(JobRow, JobRow.id == RejectedRow.job_id)
        found = session.execute(query.where(JobRow.deployment_id == row.id).order_by(RejectedRow.position))
        return [(key, reason) for key, reason in found]


def _finish(router: Router, deployment: Deployment, n_rows: int) -> Deployment:
    context = router.context
    with router.change() as (session, endpoint):
        row = row_named(rows_of(session, endpoint.id), deployment.name)
        move(row, State.READY)
        row.n_records = n_rows
        row.seal = seal(row, endpoint.metric, endpoint.fields)
        session.execute(delete(LiveWriteRow).where(LiveWriteRow.deployment_id == row.id))
        job = session.scalars(select(JobRow).where(JobRow.deployment_id == row.id)).one()
        job.state, job.updated_at = "done", utc_now()
        evidence = {"n_records": n_rows, "n_rejected": job.n_rejected, "seal": row.seal}
        ledger.append(session, context.actor, "ready", endpoint.name, row.name, evidence=evidence)
        session.flush()
        built = deployment_of(row, endpoint.name)
    return built


def _free_name(model: ModelVersion, taken: set[str]) -> str:
    base = f"{model.name}-v{model.version}"
    if base not in taken:
        return base
    return next(name for number in range(2, len(taken) + 3) if (name := f"{base}-{number}") not in taken)
