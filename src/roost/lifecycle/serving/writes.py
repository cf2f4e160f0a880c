"""Writing records through an endpoint, to its champion and to every other live deployment.

Everything is checked and embedded before anything is written. The champion is written first: when
it refuses, nothing was written. Another deployment that cannot embed or take a write has missed it
and is taken out of the traffic as failed; the champion's users do not notice.

Writes of an endpoint take turns, in all processes. Steps of one, while it holds the endpoint's write gate:

1. Take over what other processes changed, so that no live deployment is forgotten.
2. Note the keys for retired deployments, which miss the write.
3. Write to the champion, then to the others.
4. Note the keys for deployments that are being built: their backfill leaves them alone from now on.

A crash or an error after 3 began leaves a write that some deployments have and others have not; the caller, who got no
answer, repeats it. Before 4 a backfill may still write its older content over it, and never leaves a key out that
nobody wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from roost.address import without_secrets
from roost.errors import FingerprintMismatch, InvalidData, InvalidTransition
from roost.lifecycle.backfill import MAX_BATCH_SIZE, Record
from roost.lifecycle.backfill.batches import embed_each
from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.deployments.space import CONTENT, VECTOR
from roost.lifecycle.models.embedders.base import FloatArray
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.router import Router
from roost.lifecycle.serving.traffic import Target
from roost.lifecycle.store.tables import DeploymentRow, LiveWriteRow

Key: TypeAlias = int | str


def write(router: Router, records: Sequence[Record]) -> int:
    """Write records with content; each deployment's own model embeds them.

    Raises:
        InvalidData: a record lacks its key or its content, or does not fit; nothing was written.
        InvalidTransition: the endpoint has no deployment yet.
    """
    if not records:
        return 0
    keys = _keys(router, records)
    for position, record in enumerate(records):
        if record.get(CONTENT) is None:
            raise InvalidData(f"record {position} has no {CONTENT!r}")
    rows = [{name: value for name, value in record.items() if name != CONTENT} for record in records]
    contents = [record[CONTENT] for record in records]
    champion, *others = _live(router)
    # By the model: a deployment's number may be another one's by the time of the write.
    ready = {champion.deployment.fingerprint: _vectors(champion, keys, contents)}
    for target in others:
        if target.deployment.fingerprint not in ready:
            with suppress(Exception):  # raised again by `put`, which fails the deployment alone
                ready[target.deployment.fingerprint] = traffic.embed(target, contents)

    def put(target: Target) -> None:
        vectors = ready.get(target.deployment.fingerprint)
        if vectors is None:
            vectors = traffic.embed(target, contents)
        space.upsert(router.context.vectors, target.deployment, rows, vectors)
        router.context.tap.written(router.name, target.deployment.name, vectors)

    _to_all(router, keys, put)
    return len(records)


def write_vectors(router: Router, rows: Sequence[Mapping[str, Any]], fingerprint: str) -> int:
    """Write rows that bring their vector, made by the model of the fingerprint.

    Raises: FingerprintMismatch: a live deployment is of another model; nothing was written.
    """
    if not rows:
        return 0
    keys = _keys(router, rows)
    for position, row in enumerate(rows):
        if row.get(VECTOR) is None:
            raise InvalidData(f"row {position} has no {VECTOR!r}")
    vectors: FloatArray | None = None
    for target in _live(router):
        vectors = traffic.own_vectors(target, [row[VECTOR] for row in rows], fingerprint)
    plain = [{name: value for name, value in row.items() if name != VECTOR} for row in rows]

    def put(target: Target) -> None:
        if target.deployment.fingerprint != fingerprint:
            raise FingerprintMismatch(f"deployment {target.deployment.name!r} came with another model meanwhile")
        if vectors is not None:
            space.upsert(router.context.vectors, target.deployment, plain, vectors)
            router.context.tap.written(router.name, target.deployment.name, vectors)

    _to_all(router, keys, put)
    return len(rows)


def delete(router: Router, keys: Sequence[Key]) -> int:
    """Delete the records of these keys; keys that are not there are no error."""
    if len(keys) == 0:
        return 0

    def put(target: Target) -> None:
        router.context.vectors.delete(target.deployment.collection, ids=list(keys))

    _to_all(router, list(keys), put)
    return len(keys)


def _vectors(target: Target, keys: Sequence[Key], contents: Sequence[Any]) -> FloatArray:
    """Return the contents' vectors.

    Raises: InvalidData: the model refuses one, of which the message says the place and the key.
    """
    try:
        return traffic.embed(target, contents)
    except InvalidData as error:
        reasons = embed_each(target.embedder, contents).reasons
        if not reasons:
            raise
        first = min(reasons)
        raise type(error)(f"record {first}, with the key {keys[first]!r}: {reasons[first]}") from error


def _keys(router: Router, records: Sequence[Mapping[str, Any]]) -> list[Key]:
    name = router.payload.key
    for position, record in enumerate(records):
        if record.get(name) is None:
            raise InvalidData(f"record {position} has no key {name!r}")
    return [record[name] for record in records]


def _live(router: Router) -> tuple[Target, ...]:
    live = router.routing.live
    if router.routing.refused is not None:
        raise FingerprintMismatch(router.routing.refused)
    if not live:
        raise InvalidTransition(f"endpoint {router.name!r} has no deployment yet: deploy a model first")
    return live


def _to_all(router: Router, keys: Sequence[Key], put: Callable[[Target], None]) -> None:
    with router.write_gate:
        router.catch_up()
        _note_missed(router, keys)
        first, *others = _live(router)
        put(first)
        for target in others:
            try:
                put(target)
            except Exception as error:
                # Whatever it was, also in a model's own code: the write is in the champion and not here.
                router.fail(target.deployment.name, f"it could not take a write: {without_secrets(str(error))}")
        building = [target.deployment.id for target in (first, *others) if target.deployment.state == State.BUILDING]
        if building:
            with router.context.store.write() as session:
                _note_keys(session, building, keys)
        for name, reason in router.routing.missing.items():
            router.fail(name, f"it could not take a write, for it cannot be opened: {reason}")


def _note_missed(router: Router, keys: Sequence[Key]) -> None:
    """Note the keys that retired deployments miss, unless one of them is in use again meanwhile."""
    while retired := router.routing.retired:
        with router.context.store.write() as session:
            # A shared lock on their rows: who brings one back counts what it missed under a lock of its own.
            query = select(DeploymentRow).where(DeploymentRow.id.in_(retired)).with_for_update(read=True)
            if all(row.state == State.RETIRED for row in session.scalars(query)):
                _note_keys(session, retired, keys)
                return
        router.refresh()


def _note_keys(session: Session, deployment_ids: Sequence[int], keys: Sequence[Key]) -> None:
    texts = sorted({str(key) for key in keys})
    for deployment_id in deployment_ids:
        known: set[str] = set()
        for start in range(0, len(texts), MAX_BATCH_SIZE):
            some = LiveWriteRow.key.in_(texts[start : start + MAX_BATCH_SIZE])
            known |= set(
                session.scalars(select(LiveWriteRow.key).where(LiveWriteRow.deployment_id == deployment_id, some))
            )
        new = [{"deployment_id": deployment_id, "key": key} for key in texts if key not in known]
        if new:
            session.execute(insert(LiveWriteRow), new)
