"""Writing records through an endpoint, to its champion and to every other live deployment.

Everything is checked and embedded before anything is written. The champion is written first: when
it refuses, nothing was written. Another deployment that cannot embed or take a write has missed it
and is taken out of the traffic as failed; the champion's users do not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from sqlalchemy import insert, select

from roost.address import without_secrets
from roost.errors import FingerprintMismatch, InvalidData, InvalidTransition
from roost.lifecycle import space, traffic
from roost.lifecycle.backfill import MAX_BATCH_SIZE, Record
from roost.lifecycle.deployments import State
from roost.lifecycle.embedders.base import FloatArray
from roost.lifecycle.router import Router
from roost.lifecycle.space import CONTENT, VECTOR
from roost.lifecycle.store.tables import LiveWriteRow
from roost.lifecycle.traffic import Target

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
    ready = {champion.deployment.id: traffic.embed(champion, contents)}
    for target in others:
        with suppress(Exception):  # raised again by `put`, which fails the deployment alone
            ready[target.deployment.id] = traffic.embed(target, contents)

    def put(target: Target) -> None:
        vectors = ready.get(target.deployment.id)
        if vectors is None:
            vectors = traffic.embed(target, contents)
        space.upsert(router.context.vectors, target.deployment, rows, vectors)

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


def _keys(router: Router, records: Sequence[Mapping[str, Any]]) -> list[Key]:
    name = router.payload.key
    for position, record in enumerate(records):
        if record.get(name) is None:
            raise InvalidData(f"record {position} has no key {name!r}")
    return [record[name] for record in records]


def _live(router: Router) -> tuple[Target, ...]:
    live = router.routing.live
    if not live:
        raise InvalidTransition(f"endpoint {router.name!r} has no deployment yet: deploy a model first")
    return live


def _to_all(router: Router, keys: Sequence[Key], put: Callable[[Target], None]) -> None:
    with router.write_gate:
        first, *others = _live(router)
        _note_keys(router, [target for target in (first, *others) if target.deployment.state == State.BUILDING], keys)
        put(first)
        for target in others:
            try:
                put(target)
            except Exception as error:
                # Whatever it was, also in a model's own code: the write is in the champion and not here.
                router.fail(target.deployment.name, f"it could not take a write: {without_secrets(str(error))}")
        for name, reason in router.routing.missing.items():
            router.fail(name, f"it could not take a write, for it cannot be opened: {reason}")


def _note_keys(router: Router, building: Sequence[Target], keys: Sequence[Key]) -> None:
    """Tell the backfills that are running that they have older content for these keys."""
    if not building:
        return
    texts = sorted({str(key) for key in keys})
    with router.context.store.write() as session:
        for target in building:
            deployment_id = target.deployment.id
            known: set[str] = set()
            for start in range(0, len(texts), MAX_BATCH_SIZE):
                some = LiveWriteRow.key.in_(texts[start : start + MAX_BATCH_SIZE])
                known |= set(
                    session.scalars(select(LiveWriteRow.key).where(LiveWriteRow.deployment_id == deployment_id, some))
                )
            new = [{"deployment_id": deployment_id, "key": key} for key in texts if key not in known]
            if new:
                session.execute(insert(LiveWriteRow), new)
