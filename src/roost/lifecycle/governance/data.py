"""Versions of data that are known, whether they are good, and which model versions used them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import AlreadyExists, Conflict, DataNotFound, InvalidArgument, WorkspaceError
from roost.lifecycle.names import suggestion
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.governance_tables import DataVersionRow, ModelDataRow

if TYPE_CHECKING:
    from roost.lifecycle.models.data_versions import DataVersion

DATA_ROLES = ("train", "evaluation", "backfill")
GOOD, BAD, GONE = "good", "bad", "gone"
DATA_STATES = (GOOD, BAD, GONE)


@dataclass(frozen=True, slots=True)
class KnownData:
    """A version of data that is known.

    Attributes:
        state: "good", "bad" (nothing should have been made from it) or "gone" (it cannot be had any more).
        reason: why it is not good.
    """

    digest: str
    kind: str
    name: str
    uri: str
    n_rows: int | None
    created_at: str
    state: str
    reason: str


def record_data(session: Session, digest: str, kind: str, name: str, uri: str, n_rows: int | None) -> None:
    """Remember a version of data within the caller's transaction; nothing if it is known.

    Args:
        digest: `sha256:` and the digest of the content.
        kind: "array", "file" or "collection".
        uri: where it is, without secrets; empty for an array.
    """
    if session.get(DataVersionRow, digest) is None:
        session.add(
            DataVersionRow(
                digest=digest,
                kind=kind,
                name=name,
                uri=uri,
                n_rows=n_rows,
                created_at=utc_now(),
                state="good",
                reason="",
            )
        )
        session.flush()


def link_data(session: Session, model_name: str, model_version: int, digest: str, role: str = "train") -> None:
    """Remember that a model version used data that was recorded; nothing if it is known.

    Raises: InvalidArgument: the role is none of DATA_ROLES.
    """
    if role not in DATA_ROLES:
        raise InvalidArgument(f"data is used for {', '.join(DATA_ROLES)}, not for {role!r}")
    if session.get(ModelDataRow, (model_name, model_version, digest, role)) is None:
        session.add(ModelDataRow(model_name=model_name, model_version=model_version, digest=digest, role=role))
        session.flush()


def remember_use(store: Store, model_name: str, model_version: int, used: Iterable[DataVersion], role: str) -> None:
    """Record data and that a model version used it, in a transaction of its own.

    Two that record the same data at the same moment are in each other's way once.
    """
    versions = list(used)
    for is_last in (False, True):
        try:
            with store.write() as session:
                for one in versions:
                    record_data(session, one.digest, one.kind, one.name, one.uri, one.n_rows)
                    link_data(session, model_name, model_version, one.digest, role)
            return
        except (AlreadyExists, Conflict):
            if is_last:
                raise


def known_data(session: Session, digest: str) -> KnownData:
    """Return a version of data by its digest, the beginning of it, or a name that no other version has.

    Raises:
        DataNotFound: there is none.
        WorkspaceError: there are several.
    """
    known = list(session.scalars(select(DataVersionRow))) if digest else []
    rows = [row for row in known if row.digest.startswith(digest) or row.digest.partition(":")[2].startswith(digest)]
    rows = rows or [row for row in known if row.name == digest]
    if len(rows) > 1:
        found = ", ".join(f"{row.name} {row.digest}" for row in rows[:5])
        raise WorkspaceError(f"{len(rows)} versions of data are called {digest!r}: {found}; give more of the digest")
    if not rows:
        names = suggestion(digest, {row.name for row in known if row.name})
        raise DataNotFound(f"no data with the name or a digest that begins with {digest!r} is known ({names})")
    return _known(rows[0])


def all_data(session: Session) -> list[KnownData]:
    """Return every version of data that is known, the oldest first."""
    rows = session.scalars(select(DataVersionRow).order_by(DataVersionRow.created_at, DataVersionRow.digest))
    return [_known(row) for row in rows]


def data_of(session: Session, model_name: str, model_version: int) -> list[tuple[str, KnownData]]:
    """Return the data that a model version used, each with what for."""
    query = (
        select(ModelDataRow.role, DataVersionRow)
        .join(DataVersionRow, DataVersionRow.digest == ModelDataRow.digest)
        .where(ModelDataRow.model_name == model_name, ModelDataRow.model_version == model_version)
        .order_by(ModelDataRow.role.desc(), DataVersionRow.digest)
    )
    return [(role, _known(row)) for role, row in session.execute(query)]


def users_of(session: Session, digest: str) -> list[tuple[str, int, str]]:
    """Return name, number and use of the model versions that used data."""
    query = select(ModelDataRow).where(ModelDataRow.digest == digest)
    rows = session.scalars(query.order_by(ModelDataRow.model_name, ModelDataRow.model_version, ModelDataRow.role))
    return [(row.model_name, row.model_version, row.role) for row in rows]


def mark(session: Session, digest: str, state: str, reason: str) -> KnownData:
    """Say that data is good, bad or gone.

    Raises:
        InvalidArgument: there is no such state.
        DataNotFound, WorkspaceError: see `known_data`.
    """
    if state not in DATA_STATES:
        raise InvalidArgument(f"data is {', '.join(DATA_STATES)}, not {state!r}")
    row = session.get_one(DataVersionRow, known_data(session, digest).digest)
    row.state, row.reason = state, reason
    return _known(row)


def _known(row: DataVersionRow) -> KnownData:
    return KnownData(row.digest, row.kind, row.name, row.uri, row.n_rows, row.created_at, row.state, row.reason)
