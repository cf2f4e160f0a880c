"""The SQLite file of a database: its catalogue, its manifest, and the log of rows not in a segment yet.

Every change is one transaction, so a crash leaves either all of it or nothing. What SQLite does not
check is checked here: every row carries a checksum, the catalogue's rows are summed up in one head, and
each collection's log is a hash chain whose end stands in the collection's head. A row that is altered,
missing or out of order is found when the database opens.

Tables
    objects  what exists, a JSON document each: databases, collections, aliases, segments
    deletes  the bitmap of deleted rows of a segment, as of the last flush or compaction
    log      acknowledged writes that no segment holds yet; the key is collection << 40 | sequence
    head     id 0: commits so far and the sum over objects, deletes and other heads; other ids: a collection's log
"""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from roost.engine.storage.durable import storage_errors, sync_directory
from roost.engine.storage.witness import Witness
from roost.errors import Corruption, StorageFailure, StorageFull

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1
DURABILITY = {"full": "FULL", "normal": "NORMAL"}

# What the header of SQLite's file may say of who can read and write it; anything else makes it read-only.
_SQLITE_VERSIONS = frozenset({1, 2})
_SEQUENCE_BITS = 40
_PAGE_SIZE = 16_384
_CHECKPOINT_PAGES = 2_048
_TABLES = """
CREATE TABLE objects(kind TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, digest INTEGER NOT NULL,
    PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE deletes(segment INTEGER PRIMARY KEY, body BLOB NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE log(key INTEGER PRIMARY KEY, op INTEGER NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE head(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, chain INTEGER NOT NULL, base_seq INTEGER NOT NULL,
    base_chain INTEGER NOT NULL, digest INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log begins and ends. For id 0: commits, and the sum over the catalogue's rows."""

    seq: int = 0
    chain: int = 0
    base_seq: int = 0
    base_chain: int = 0

    def digest(self, head_id: int) -> int:
        return _digest(f"{head_id}:{self.seq}:{self.chain}:{self.base_seq}:{self.base_chain}".encode())


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One acknowledged write of a collection."""

    seq: int
    op: int
    body: bytes


@dataclass(frozen=True, slots=True)
class CatalogState:
    """Everything in the catalogue at one moment.

    Attributes:
        objects: kind to id to document.
        deletes: segment id to bitmap bytes.
    """

    objects: dict[str, dict[int, dict[str, Any]]]
    deletes: dict[int, bytes]


class Catalog:
    """The open file. One thread at a time may be inside `transaction`, `load` or `read_log`.

    Raises: Corruption: the file, or its write-ahead log, is damaged; the message names it.
    """

    def __init__(self, directory: Path, *, durability: str = "full", read_only: bool = False) -> None:
        self.path = directory / "roost.db"
        self.lock = threading.RLock()
        self._durability = durability
        self._witness = Witness(directory / "roost.commits", read_only=read_only)
        with storage_errors(self.path):
            try:
                witnessed = self._witness.read()
                if not self.path.exists():
                    self._create(witnessed[0])
                self._db = _connect(self.path, read_only)
            except BaseException:
                self._witness.close()
                raise
            try:
                self._db.execute("PRAGMA journal_mode=WAL" if not read_only else "PRAGMA query_only=1")
                self._db.execute(f"PRAGMA synchronous={DURABILITY[durability]}")
                self._db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                self._check_structure()
            except BaseException:
                self.close()
                raise
        self._heads: dict[int, Head] = {}
        self._data_version = -1
        try:
            self._heads = self._load_heads()
            self._check_witness(*witnessed)
        except BaseException:
            self.close()
            raise

    def _create(self, commits: int) -> None:
        """Make the file under another name and rename it, so that it is there as a whole or not at all."""
        segments = self.path.parent / "segments"
        if commits or (segments.is_dir() and any(segments.iterdir())):
            raise Corruption(f"{self.path} is missing; restore it from a copy")
        draft = self.path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        try:
            with closing(_connect(draft, read_only=False)) as db:
                for pragma in (
                    f"page_size={_PAGE_SIZE}",
                    "auto_vacuum=FULL",
                    "journal_mode=MEMORY",
                    "synchronous=FULL",
                ):
                    db.execute(f"PRAGMA {pragma}")
                db.execute("BEGIN IMMEDIATE")
                for statement in _TABLES.strip().split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={FORMAT_VERSION}")
                db.execute("INSERT INTO head VALUES (0, 0, 0, 0, 0, ?)", (Head().digest(0),))
                db.execute("COMMIT")
            draft.rename(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_directory(self.path.parent)

    def _check_structure(self) -> None:
        with open(self.path, "rb") as file:
            versions = file.read(20)[18:]
        if any(version not in _SQLITE_VERSIONS for version in versions):
            raise Corruption(f"{self.path} is damaged: its header is not SQLite's; restore it from a copy")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT_VERSION:
            raise Corruption(
                f"{self.path} has format version {version}; this release of Roost reads version {FORMAT_VERSION}"
            )
        found = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise Corruption(f"{self.path} is damaged: {found}; restore it from a copy")

    def _check_witness(self, commits: int, same_boot: bool) -> None:
        held = self._heads[0].seq
        if held < commits and (self._durability == "full" or same_boot):
            raise Corruption(
                f"{self.path}-wal is damaged or missing: {commits - held} acknowledged commits of "
                f"{commits} are not in the database; restore it from a copy"
            )

    # Reading

    def load(self) -> CatalogState:
        """Return the whole catalogue.

        Raises: Corruption: a row is altered or missing.
        """
        with self.lock, storage_errors(self.path), self._reading():
            self._heads = self._load_heads()
            total = 0
            objects: dict[str, dict[int, dict[str, Any]]] = {}
            for kind, object_id, body, digest in self._db.execute("SELECT kind, id, body, digest FROM objects"):
                if _digest(f"{kind}:{object_id}:{body}".encode()) != digest:
                    raise self._damaged(f"the catalogue's {kind} {object_id}")
                total ^= digest
                objects.setdefault(kind, {})[object_id] = json.loads(body)
            deletes: dict[int, bytes] = {}
            for segment, body, digest in self._db.execute("SELECT segment, body, digest FROM deletes"):
                if not _is_intact(body, segment, digest):
                    raise self._damaged(f"the deletes of segment {segment}")
                total ^= digest
                deletes[segment] = body
            for head_id, head in self._heads.items():
                total ^= head.digest(head_id) if head_id else 0
            if total != self._heads[0].chain:
                raise self._damaged("the catalogue")
            return CatalogState(objects, deletes)

    def read_log(self, collection: int, after: int | None = None) -> Generator[LogRecord, None, None]:
        """Yield a collection's log in order, from its beginning or after a sequence number.

        Raises: Corruption: a record is altered, missing or out of order.
        """
        with self.lock, storage_errors(self.path):
            head = self._heads.get(collection, Head())
            start = head.base_seq if after is None else after
            chain, seq = head.base_chain, start
            rows = self._db.execute(
                "SELECT key, op, body, digest FROM log WHERE key > ? AND key <= ? ORDER BY key",
                (_key(collection, start), _key(collection, head.seq)),
            )
            for key, op, body, digest in rows:
                seq += 1
                if key != _key(collection, seq) or not _is_intact(body, op, digest):
                    raise self._damaged(f"record {seq} of the log of collection {collection}")
                chain = _link(chain, seq, digest)
                yield LogRecord(seq, op, body)
            if seq != head.seq or (after is None and chain != head.chain):
                raise self._damaged(f"the log of collection {collection}")

    def log_range(self, collection: int) -> tuple[int, int]:
        """Return the sequence number before the log's first record, and the last one's."""
        head = self._heads.get(collection, Head())
        return head.base_seq, head.seq

    def changed(self) -> bool:
        """Whether another process has committed since the last call. Microseconds."""
        with self.lock, storage_errors(self.path):
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        before, self._data_version = self._data_version, version
        return version != before

    def forget_changes(self) -> None:
        """Let the next `changed` say yes, since what it told of could not be read."""
        self._data_version = -1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One consistent view over several reads (for processes that follow a writer)."""
        with self.lock, storage_errors(self.path), self._reading():
            self._heads = self._load_heads()
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def _load_heads(self) -> dict[int, Head]:
        heads: dict[int, Head] = {}
        with storage_errors(self.path):
            for head_id, *values, digest in self._db.execute(
                "SELECT id, seq, chain, base_seq, base_chain, digest FROM head"
            ):
                heads[head_id] = Head(*values)
                if heads[head_id].digest(head_id) != digest:
                    raise self._damaged(f"head {head_id}")
        if 0 not in heads:
            raise self._damaged("the head")
        return heads

    def _damaged(self, what: str) -> Corruption:
        return Corruption(f"{self.path} is damaged: {what} does not match its checksum; restore it from a copy")

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One atomic, durable change: committed when the block ends, undone when it raises.

        Raises: StorageFull, StorageFailure: nothing of the block was kept.
        """
        with self.lock, storage_errors(self.path):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute("BEGIN IMMEDIATE")
            change = Transaction(self._db, dict(self._heads))
            try:
                yield change
                change.finish()
                self._db.execute("COMMIT")
                self._heads = change.heads
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                else:
                    # An interrupt came after the commit, or SQLite has undone the block itself.
                    self._heads = self._load_heads()
                raise
            self._note_commit()

    @property
    def n_commits(self) -> int:
        """Transactions committed since the database was created."""
        return self._heads[0].seq

    def segment(self, segment_id: int) -> dict[str, Any] | None:
        """Return what the manifest holds of a segment, or None when it does not name it."""
        with self.lock, storage_errors(self.path):
            found = self._db.execute("SELECT body FROM objects WHERE kind = 'segment' AND id = ?", (segment_id,))
            row = found.fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def _note_commit(self) -> None:
        try:
            self._witness.record(self.n_commits)
        except (StorageFull, StorageFailure) as error:
            # The commit is durable all the same; the next one writes the witness again.
            _log.warning("the count of commits is one behind: %s", error)

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with self.lock:
            self._db.close()
            self._witness.close()


class Transaction:
    """The changes of one transaction. Made by `Catalog.transaction` alone."""

    def __init__(self, db: sqlite3.Connection, heads: dict[int, Head]) -> None:
        self._db = db
        self._before = dict(heads)
        self.heads = heads
        self._touched: set[int] = {0}
        self._total = heads[0].chain

    def put(self, kind: str, object_id: int, document: dict[str, Any]) -> None:
        """Create or replace an object."""
        self._forget("SELECT digest FROM objects WHERE kind = ? AND id = ?", (kind, object_id))
        body = json.dumps(document, separators=(",", ":"), sort_keys=True)
        digest = _digest(f"{kind}:{object_id}:{body}".encode())
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
        digest = _digest(body, segment)
        self._db.execute("INSERT OR REPLACE INTO deletes VALUES (?, ?, ?)", (segment, body, digest))
        self._total ^= digest

    def append(self, collection: int, op: int, body: bytes) -> int:
        """Append a record to a collection's log and return its sequence number."""
        head = self.heads.get(collection, Head())
        seq = head.seq + 1
        digest = _digest(body, op)
        self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (_key(collection, seq), op, body, digest))
        self._set_head(collection, replace(head, seq=seq, chain=_link(head.chain, seq, digest)))
        return seq

    def truncate_log(self, collection: int, upto: int) -> None:
        """Drop a collection's records up to and including a sequence number."""
        head = self.heads.get(collection, Head())
        chain = head.base_chain
        start, end = _key(collection, head.base_seq), _key(collection, upto)
        for key, digest in self._db.execute(
            "SELECT key, digest FROM log WHERE key > ? AND key <= ? ORDER BY key", (start, end)
        ):
            chain = _link(chain, key & ((1 << _SEQUENCE_BITS) - 1), digest)
        self._db.execute("DELETE FROM log WHERE key > ? AND key <= ?", (start, end))
        self._set_head(collection, replace(head, base_seq=upto, base_chain=chain))

    def drop_log(self, collection: int) -> None:
        """Drop everything that the log holds of a collection."""
        self._db.execute("DELETE FROM log WHERE key > ? AND key < ?", (_key(collection, 0), _key(collection + 1, 0)))
        self._db.execute("DELETE FROM head WHERE id = ?", (collection,))
        self.heads.pop(collection, None)
        self._touched.add(collection)

    def finish(self) -> None:
        """Write the heads. Called once, before the commit."""
        for head_id in self._touched - {0}:
            for heads in (self._before, self.heads):
                self._total ^= heads[head_id].digest(head_id) if head_id in heads else 0
        self.heads[0] = replace(self.heads[0], seq=self.heads[0].seq + 1, chain=self._total)
        self._db.executemany(
            "INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?, ?, ?)",
            [
                (i, head.seq, head.chain, head.base_seq, head.base_chain, head.digest(i))
                for i, head in self.heads.items()
                if i in self._touched
            ],
        )

    def _set_head(self, collection: int, head: Head) -> None:
        self.heads[collection] = head
        self._touched.add(collection)

    def _forget(self, statement: str, key: tuple[Any, ...]) -> None:
        row = self._db.execute(statement, key).fetchone()
        if row is not None:
            self._total ^= row[0]


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )


def _key(collection: int, seq: int) -> int:
    return (collection << _SEQUENCE_BITS) + seq


def _digest(body: bytes, seed: int = 0) -> int:
    return _signed(xxhash.xxh3_64_intdigest(body, seed=seed))


def _is_intact(body: object, seed: object, digest: object) -> bool:
    """Whether a row is as it was written; a damaged one may hold values of any type."""
    return isinstance(body, bytes) and isinstance(seed, int) and seed >= 0 and _digest(body, seed) == digest


def _link(chain: int, seq: int, digest: int) -> int:
    return _signed(xxhash.xxh3_64_intdigest(struct.pack("<qqq", chain, seq, digest)))


def _signed(value: int) -> int:
    """SQLite's integers are signed."""
    return value - (1 << 64) if value >= 1 << 63 else value
