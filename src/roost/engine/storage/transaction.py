"""The changes of one transaction of the catalogue."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from roost.engine.storage.checks import Head, digest_of, digest_pieces, link, log_key, record_of
from roost.engine.storage.record_files import MIN_FILE_BYTES, Piece, RecordFiles


class Transaction:
    """The changes of one transaction. Made by `Catalog.transaction` alone."""

    def __init__(self, db: sqlite3.Connection, files: RecordFiles, heads: Mapping[int, Head]) -> None:
        self._db = db
        self._files = files
        self.written: list[tuple[int, int]] = []
        """Records, by collection and sequence, whose files go when the transaction is undone."""
        self.dropped: list[tuple[int, int]] = []
        """Records whose files go when it is committed."""
        self._before = heads
        self.heads: dict[int, Head | None] = {}
        """The heads that the block has changed; None for one that is gone."""
        self._total = heads[0].chain

    def put(self, kind: str, object_id: int, document: dict[str, Any]) -> None:
        """Create or replace an object."""
        self._forget("SELECT digest FROM objects WHERE kind = ? AND id = ?", (kind, object_id))
        body = json.dumps(document, separators=(",", ":"), sort_keys=True)
        digest = digest_of(f"{kind}:{object_id}:{body}".encode())
        self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (kind, object_id, body, digest))
        self._total ^= digest

    def remove(self, kind: str, object_id: int) -> None:
        """Remove an object, and a segment's deletes with it."""
        self._forget("SELECT digest FROM objects WHERE kind = ? AND id = ?", (kind, object_id))
        self._db.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (kind, object_id))
        if kind == "segment":
            self._forget("SELECT digest FROM deletes WHERE segment = ?", (object_id,))
            self._db.execute("DELETE FROM deletes WHERE segment = ?", (object_id,))

    def set_deletes(self, segment: int, body: bytes) -> None:
        """Store which rows of a segment are deleted."""
        self._forget("SELECT digest FROM deletes WHERE segment = ?", (segment,))
        digest = digest_of(body, segment)
        self._db.execute("INSERT OR REPLACE INTO deletes VALUES (?, ?, ?)", (segment, body, digest))
        self._total ^= digest

    def append(self, collection: int, op: int, *pieces: Piece) -> int:
        """Append a record, its body given in pieces, to a collection's log and return its sequence number."""
        head = self._head(collection)
        seq = head.seq + 1
        digest = digest_pieces(pieces, op)
        body = None
        if sum(memoryview(piece).nbytes for piece in pieces) < MIN_FILE_BYTES:
            body = b"".join(pieces)
        else:
            self._files.write(collection, seq, pieces)
            self.written.append((collection, seq))
        self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (log_key(collection, seq), op, body, digest))
        self._set_head(collection, replace(head, seq=seq, chain=link(head.chain, seq, digest)))
        return seq

    def truncate_log(self, collection: int, upto: int) -> None:
        """Drop a collection's records up to and including a sequence number.

        An emptied log is whole again, whatever was damaged in it.
        """
        head = self._head(collection)
        chain = head.base_chain
        start, end = log_key(collection, head.base_seq), log_key(collection, upto)
        for key, digest, in_file in self._db.execute(
            "SELECT key, digest, body IS NULL FROM log WHERE key > ? AND key <= ? ORDER BY key", (start, end)
        ):
            chain = link(chain, record_of(key)[1], digest)
            if in_file:
                self.dropped.append(record_of(key))
        self._db.execute("DELETE FROM log WHERE key > ? AND key <= ?", (start, end))
        base_chain = head.chain if upto == head.seq else chain
        self._set_head(collection, replace(head, base_seq=upto, base_chain=base_chain))

    def drop_log(self, collection: int) -> None:
        """Drop everything that the log holds of a collection."""
        every = (log_key(collection, 0), log_key(collection + 1, 0))
        in_files = self._db.execute("SELECT key FROM log WHERE key > ? AND key < ? AND body IS NULL", every)
        self.dropped.extend(record_of(key) for (key,) in in_files)
        self._db.execute("DELETE FROM log WHERE key > ? AND key < ?", every)
        self._db.execute("DELETE FROM head WHERE id = ?", (collection,))
        self.heads[collection] = None

    def finish(self) -> None:
        """Write the heads. Called once, before the commit."""
        for head_id, head in self.heads.items():
            for one in (self._before.get(head_id), head):
                self._total ^= 0 if one is None else one.digest(head_id)
        first = self._before[0]
        self.heads[0] = replace(first, seq=first.seq + 1, chain=self._total)
        self._db.executemany(
            "INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?, ?, ?)",
            [
                (i, head.seq, head.chain, head.base_seq, head.base_chain, head.digest(i))
                for i, head in self.heads.items()
                if head is not None
            ],
        )

    def _head(self, collection: int) -> Head:
        changed = self.heads.get(collection, self._before.get(collection))
        return Head() if changed is None else changed

    def _set_head(self, collection: int, head: Head) -> None:
        self.heads[collection] = head

    def _forget(self, statement: str, key: tuple[Any, ...]) -> None:
        row = self._db.execute(statement, key).fetchone()
        if row is not None:
            self._total ^= row[0]
