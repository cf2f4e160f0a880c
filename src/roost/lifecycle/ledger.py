"""The append-only record of every change of state: who did what, when, and on what evidence.

Every entry holds the hash of the one before it and its own,

    hash = SHA-256(previous_hash || canonical JSON of the entry)

so an entry that is altered, removed or put elsewhere breaks the chain there. The newest entry's
number and hash are kept in a table of their own, so a cut tail is seen too. Whoever can rewrite
the whole database can forge the whole chain: keep a copy of `Ledger.head` elsewhere, and give it to
`Ledger.verify` later, to see that.

An entry is written in the transaction of the change that it records; neither is there without the
other after a crash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from roost.errors import EndpointNotFound, InvalidArgument, LedgerBroken
from roost.lifecycle.html import properties
from roost.lifecycle.names import suggestion
from roost.lifecycle.store.database import Store, utc_now, utc_text
from roost.lifecycle.store.tables import LedgerHeadRow, LedgerRow

GENESIS = "0" * 64
"""What the first entry holds as the hash before it."""

CHAMPION_ACTIONS = ("promote", "rollback")
"""The actions after which `subject` is the endpoint's champion."""

_BATCH_SIZE = 1000

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        seq: 1 for the first entry.
        at: ISO 8601 in UTC.
        subject: what was changed, for example a deployment's name.
    """

    seq: int
    at: str
    actor: str
    action: str
    endpoint: str | None
    subject: str
    reason: str
    evidence: Mapping[str, Any]
    previous_hash: str
    hash: str

    def __repr__(self) -> str:
        where = f" on {self.endpoint}" if self.endpoint is not None else ""
        why = f": {self.reason}" if self.reason else ""
        return f"Entry({self.seq}, {self.at}, {self.actor} {self.action} {self.subject}{where}{why})"

    def _repr_html_(self) -> str:
        shown = {name: getattr(self, name) for name in ("at", "actor", "action", "endpoint", "subject", "reason")}
        return properties(f"Ledger entry {self.seq}", {**shown, "evidence": self.evidence, "hash": self.hash})


@dataclass(frozen=True, slots=True)
class Period:
    """A time during which one deployment was an endpoint's champion, and why it became that.

    Attributes:
        since: when it became champion, ISO 8601 in UTC.
        until: when the next one did; None for the present champion.
        model: name and version, as in `digits/1`; None where the entry does not say.
        entry: the promotion or rollback.
    """

    endpoint: str
    deployment: str
    model: str | None
    since: str
    until: str | None
    actor: str
    reason: str
    entry: Entry = field(repr=False)

    def _repr_html_(self) -> str:
        names = ("deployment", "model", "since", "until", "actor", "reason")
        return properties(f"Champion of {self.endpoint}", {name: getattr(self, name) for name in names})


class Ledger:
    """The ledger of a workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self, endpoint: str | None = None, limit: int | None = None) -> list[Entry]:
        """Return the entries, oldest first: all of them, or one endpoint's; the newest `limit` of them.

        Raises: EndpointNotFound: the ledger knows no such endpoint.
        """
        query = select(LedgerRow).order_by(LedgerRow.seq.desc())
        if endpoint is not None:
            query = query.where(LedgerRow.endpoint == endpoint)
        if limit is not None:
            query = query.limit(limit)
        with self._store.read() as session:
            if endpoint is not None:
                _check_endpoint(session, endpoint)
            return [_entry(row) for row in reversed(session.scalars(query).all())]

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the newest entry; 0 and zeros for an empty ledger."""
        with self._store.read() as session:
            head = session.get(LedgerHeadRow, 1)
            return (head.seq, head.hash) if head else (0, GENESIS)

    def at(self, endpoint: str, moment: datetime | str) -> str | None:
        """Return the deployment that was the endpoint's champion at a moment; None before the first.

        Args:
            moment: a datetime (without a zone: local time), or ISO 8601 text.
        Raises:
            InvalidArgument: it is not a time.
            EndpointNotFound: the ledger knows no such endpoint.
        """
        entry = self.why(endpoint, moment)
        return entry.subject if entry is not None else None

    def why(self, endpoint: str, moment: datetime | str) -> Entry | None:
        """Return what made the champion of a moment the champion: who, when, for which reason, on what evidence.

        Args:
            moment: a datetime (without a zone: local time), or ISO 8601 text.
        Returns: the promotion or rollback; None before the first.
        Raises:
            InvalidArgument: it is not a time.
            EndpointNotFound: the ledger knows no such endpoint.
        """
        query = (
            select(LedgerRow)
            .where(LedgerRow.endpoint == endpoint, LedgerRow.action.in_(CHAMPION_ACTIONS))
            .where(LedgerRow.at <= utc_text(_parse(moment)))
            .order_by(LedgerRow.seq.desc())
            .limit(1)
        )
        with self._store.read() as session:
            _check_endpoint(session, endpoint)
            row = session.scalar(query)
        return _entry(row) if row is not None else None

    def history(self, endpoint: str) -> list[Period]:
        """Return an endpoint's champions one after the other, the present one last.

        Raises: EndpointNotFound: the ledger knows no such endpoint.
        """
        query = select(LedgerRow).where(LedgerRow.endpoint == endpoint, LedgerRow.action.in_(CHAMPION_ACTIONS))
        with self._store.read() as session:
            _check_endpoint(session, endpoint)
            changes = [_entry(row) for row in session.scalars(query.order_by(LedgerRow.seq))]
        return [
            Period(
                endpoint=endpoint,
                deployment=change.subject,
                model=change.evidence.get("model"),
                since=change.at,
                until=changes[number + 1].at if number + 1 < len(changes) else None,
                actor=change.actor,
                reason=change.reason,
                entry=change,
            )
            for number, change in enumerate(changes)
        ]

    def verify(self, head: str | tuple[int, str] = GENESIS) -> int:
        """Check the whole chain and return the number of entries.

        Args:
            head: a `head` that was kept elsewhere, or its hash alone; the chain must go through it.
        Raises:
            LedgerBroken: an entry was altered, removed or reordered; the message names the first.
            InvalidArgument: it is neither a head nor a hash.
        """
        kept_seq, kept = _kept(head)
        seq, previous, passed_head = 0, GENESIS, kept == GENESIS
        with self._store.read() as session:
            rows = session.scalars(select(LedgerRow).order_by(LedgerRow.seq)).yield_per(_BATCH_SIZE)
            for row in rows:
                seq += 1
                if row.seq != seq:
                    raise LedgerBroken(f"ledger row {seq} is missing: row {row.seq} comes after row {seq - 1}")
                if row.previous_hash != previous:
                    raise LedgerBroken(f"ledger row {seq} does not follow row {seq - 1}: its previous hash differs")
                if row.hash != _hash(row):
                    raise LedgerBroken(f"ledger row {seq} was altered: its content does not match its hash")
                previous = row.hash
                passed_head = passed_head or (row.hash == kept and kept_seq in (None, seq))
            newest = session.get(LedgerHeadRow, 1)
        if (newest.seq, newest.hash) != (seq, previous) if newest else seq > 0:
            expected = newest.seq if newest else 0
            raise LedgerBroken(
                f"ledger row {min(seq, expected) + 1} is wrong: {expected} rows were written, {seq} are there"
            )
        if not passed_head:
            where = "no row" if kept_seq is None else f"not row {kept_seq}"
            raise LedgerBroken(f"the ledger was cut off or written anew: {where} has the hash {kept} that was kept")
        return seq


def append(
    session: Session,
    actor: str,
    action: str,
    endpoint: str | None,
    subject: str,
    reason: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Write an entry within the caller's transaction.

    Raises: InvalidArgument: the evidence cannot be written as JSON.
    """
    head = session.get(LedgerHeadRow, 1, with_for_update=True) or _first_head(session)
    row = LedgerRow(
        seq=head.seq + 1,
        at=utc_now(),
        actor=actor,
        action=action,
        endpoint=endpoint,
        subject=subject,
        reason=reason,
        evidence=canonical_json(evidence or {}),
        previous_hash=head.hash,
    )
    row.hash = _hash(row)
    session.add(row)
    head.seq, head.hash = row.seq, row.hash


def champion_changes(session: Session, endpoint: str) -> list[tuple[str, str]]:
    """Return action and champion of every promotion and rollback of an endpoint, oldest first."""
    query = select(LedgerRow.action, LedgerRow.subject)
    own = query.where(LedgerRow.endpoint == endpoint, LedgerRow.action.in_(CHAMPION_ACTIONS))
    return [(action, champion) for action, champion in session.execute(own.order_by(LedgerRow.seq))]


def _first_head(session: Session) -> LedgerHeadRow:
    """Make the head of an empty ledger; where another transaction makes it at the same time, wait and take that one."""
    session.flush()
    with suppress(IntegrityError), session.begin_nested():
        session.add(LedgerHeadRow(id=1, seq=0, hash=GENESIS))
    return session.get_one(LedgerHeadRow, 1, with_for_update=True)


def canonical_json(value: Any) -> str:
    """Return JSON text that is the same for equal values.

    Raises: InvalidArgument: the value holds something that JSON cannot.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()  # half a surrogate pair is a string to Python and to nobody else
        return text
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"not a JSON value: {error}; use numbers, strings, lists and dictionaries") from error


def _hash(row: LedgerRow) -> str:
    content = {
        name: getattr(row, name)
        for name in ("seq", "at", "actor", "action", "endpoint", "subject", "reason", "evidence")
    }
    return hashlib.sha256((row.previous_hash + canonical_json(content)).encode()).hexdigest()


def _entry(row: LedgerRow) -> Entry:
    return Entry(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        action=row.action,
        endpoint=row.endpoint,
        subject=row.subject,
        reason=row.reason,
        evidence=json.loads(row.evidence),
        previous_hash=row.previous_hash,
        hash=row.hash,
    )


def _kept(head: object) -> tuple[int | None, str]:
    """Return number and hash of a head; no number for a hash alone.

    Raises: InvalidArgument: it is neither.
    """
    seq, kept = head if isinstance(head, (tuple, list)) and len(head) == 2 else (None, head)
    is_number = seq is None or (isinstance(seq, int) and not isinstance(seq, bool) and seq >= 0)
    if not is_number or not isinstance(kept, str) or not _HASH.fullmatch(kept) or (seq == 0 and kept != GENESIS):
        raise InvalidArgument(f"{head!r} is no head of a ledger: give what `head` was, or its hash of 64 characters")
    return seq, kept


def _check_endpoint(session: Session, endpoint: object) -> None:
    """Raises: EndpointNotFound: there is no entry of such an endpoint, which its creation would have written."""
    if session.scalar(select(LedgerRow.seq).where(LedgerRow.endpoint == str(endpoint)).limit(1)) is None:
        known = [name for name in session.scalars(select(LedgerRow.endpoint).distinct()) if name is not None]
        raise EndpointNotFound(f"the ledger knows no endpoint {endpoint!r} ({suggestion(str(endpoint), known)})")


def _parse(moment: datetime | str) -> datetime:
    if isinstance(moment, datetime):
        return moment
    try:
        return datetime.fromisoformat(moment)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{moment!r} is not a time: use ISO 8601, for example 2026-01-31T12:00:00+00:00"
        ) from error
