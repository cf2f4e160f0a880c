"""A registration that is under way, so that one that was killed is finished or undone when a workspace opens.

MLflow and the ledger are written by different transactions. Steps, and what a kill after each leaves:

1. One transaction checks the permission and notes the registration. Then: a note, which is taken away.
2. The model's files are written. Then: a note and files, which are taken away.
3. MLflow gets the version. Then: a version without an entry of the ledger, which is added, by the actor of the note.
4. One transaction writes the ledger's entry and takes the note away.

Whoever takes the note away writes the entry, so there is one, also where a workspace opens between the steps.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from sqlalchemy import select

from roost.errors import AlreadyExists, Conflict
from roost.lifecycle import ledger
from roost.lifecycle.governance import permits
from roost.lifecycle.governance.data import link_data, record_data
from roost.lifecycle.models.model_version import ModelVersion
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_now, utc_text
from roost.lifecycle.store.tables import JobRow

KIND = "register"

_FORGOTTEN_AFTER = timedelta(days=1)
"""After this long a registration of another machine is taken for killed."""

_TRIES = 3
"""Two that describe the same data at the same moment are in each other's way once."""

_own_lock = threading.Lock()
_own: set[tuple[int, str]] = set()
"""The registrations of this process that are under way."""


@dataclass(frozen=True, slots=True)
class Note:
    """A registration that is under way.

    Attributes:
        path: the directory of the model's files, relative to the workspace's artifacts; no other has it.
    """

    id: int
    name: str
    path: str
    actor: str
    worker: str
    created_at: str


def begin(store: Store, actor: str, name: str, path: str) -> Note:
    """Check that the actor may register a model, and note that it is being done.

    Raises: PermissionDenied, ApprovalRequired: it is not allowed.
    """
    worker, now = f"{socket.gethostname()}:{os.getpid()}", utc_now()
    row = JobRow(
        kind=KIND,
        actor=actor,
        request=json.dumps({"name": name, "path": path}),
        state="running",
        worker=worker,
        digest="",
        created_at=now,
        updated_at=now,
    )
    with store.write() as session:
        permits.check(session, actor, "register", None, name)
        session.add(row)
        session.flush()
        note = Note(row.id, name, path, actor, worker, now)
        with _own_lock:
            _own.add((note.id, path))
    return note


def finish(store: Store, note: Note, version: ModelVersion) -> bool:
    """Take the note away, and write the ledger's entry and the version's data; return whether the note was there."""
    for _ in range(_TRIES):
        with suppress(Conflict, AlreadyExists):
            return _finish(store, note, version)
    return _finish(store, note, version)


def _finish(store: Store, note: Note, version: ModelVersion) -> bool:
    with store.write() as session:
        row = session.get(JobRow, note.id, with_for_update=True)
        if row is None:
            return False
        session.delete(row)
        for data in version.data_versions:
            record_data(session, data.digest, data.kind, data.name, data.uri, data.n_rows)
            link_data(session, version.name, version.version, data.digest)
        ledger.append(session, note.actor, "register", None, str(version), evidence=version.evidence())
    return True


def cancel(store: Store, note: Note) -> bool:
    """Take away the note of a registration that came to nothing; return whether it was still there."""
    with store.write() as session:
        row = session.get(JobRow, note.id, with_for_update=True)
        if row is not None:
            session.delete(row)
    return row is not None


def leave(note: Note) -> None:
    """Say that this process does no more about a registration, however it ended."""
    with _own_lock:
        _own.discard((note.id, note.path))


def under_way(store: Store) -> list[Note]:
    """Return the registrations that are noted, those of this process that go on left out."""
    with store.read() as session:
        rows = session.scalars(select(JobRow).where(JobRow.kind == KIND).order_by(JobRow.id)).all()
    notes = []
    for row in rows:
        request = json.loads(row.request)
        actor, worker, since = row.actor or "unknown", row.worker or "", row.created_at or row.updated_at
        notes.append(Note(row.id, request["name"], request["path"], actor, worker, since))
    with _own_lock:
        return [note for note in notes if (note.id, note.path) not in _own]


def is_dead(note: Note) -> bool:
    """Return whether nobody can be working on a registration any more."""
    host, _, process = note.worker.rpartition(":")
    if host == socket.gethostname() and process.isdecimal():
        return int(process) == os.getpid() or not _runs(int(process))
    return note.created_at < utc_text(datetime.now(timezone.utc) - _FORGOTTEN_AFTER)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
