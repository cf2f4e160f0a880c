"""The SQLite file of a database: its catalogue, its manifest, and the log of rows not in a segment yet.

Every change is one transaction, so a crash leaves either all of it or nothing. What SQLite does not
check is checked here: every row carries a checksum, the catalogue's rows are summed up in one head, and
each collection's log is a hash chain whose end stands in the collection's head. A row that is altered,
missing or out of order is found when the database opens; in a log it keeps the one collection from being used.

Tables
    objects  what exists, a JSON document each: databases, collections, aliases, segments
    deletes  the bitmap of deleted rows of a segment, as of the last flush or compaction
    log      acknowledged writes that no segment holds yet; the key is collection << 40 | sequence, and a body
             that is null stands in a file of its own (see `RecordFiles`)
    head     id 0: commits so far and the sum over objects, deletes and other heads; other ids: a collection's log
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from roost.engine.storage.checks import Head, digest_of, is_intact, link, log_key, record_of
from roost.engine.storage.durable import storage_errors, sync_directory
from roost.engine.storage.record_files import RecordFiles
from roost.engine.storage.transaction import Transaction
from roost.engine.storage.witness import Witness
from roost.errors import Corruption, StorageFailure, StorageFull

ASK_EVERY_S: Final = 1.0
"""A reader beside a writer asks SQLite at least this often whether there was a commit."""

_log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Version 2 has segments that are newer than records of the log (`SegmentRecord.log_seq`)."""

WITNESS_FILE: Final = "roost.commits"

_READABLE_VERSIONS = (1, 2)
DURABILITY = {"full": "FULL", "normal": "NORMAL"}

# What the header of SQLite's file may say of who can read and write it; anything else makes it read-only.
_SQLITE_VERSIONS = frozenset({1, 2})
_PAGE_SIZE = 16_384
_CHECKPOINT_PAGES = 2_048
_TABLES = """
CREATE TABLE objects(kind TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, digest INTEGER NOT NULL,
    PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE deletes(segment INTEGER PRIMARY KEY, body BLOB NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE log(key INTEGER PRIMARY KEY, op INTEGER NOT NULL, body BLOB, digest INTEGER NOT NULL);
CREATE TABLE head(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, chain INTEGER NOT NULL, base_seq INTEGER NOT NULL,
    base_chain INTEGER NOT NULL, digest INTEGER NOT NULL);
"""


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

    Attributes:
        doubt: what cannot be known of the database, in words; it can be used all the same.
    Raises: Corruption: the file, or its write-ahead log, is damaged; the message names it.
    """

    def __init__(self, directory: Path, *, durability: str = "full", read_only: bool = False) -> None:
        self.path = directory / "roost.db"
        self.lock = threading.RLock()
        self._files = RecordFiles(directory / "log")
        self.doubt: str | None = None
        self._witness = Witness(directory / WITNESS_FILE, read_only=read_only, synced=durability == "full")
        with storage_errors(self.path):
            try:
                witnessed = self._witness.read()
                if not self.path.exists():
                    self._create(may_be_lost=read_only or witnessed[0] > 0)
                if not read_only:
                    self._check_header()
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
        self._stamp: bytes | None = None
        self._asked_at = 0.0
        try:
            self._heads = self._load_heads()
            self._check_witness(*witnessed)
            if not read_only and self._version() != FORMAT_VERSION:
                self._db.execute(f"PRAGMA user_version={FORMAT_VERSION}")
        except BaseException:
            self.close()
            raise

    def _create(self, *, may_be_lost: bool) -> None:
        """Make the file under another name and rename it, so that it is there as a whole or not at all."""
        segments = self.path.parent / "segments"
        if may_be_lost or (segments.is_dir() and any(segments.iterdir())):
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

    def _check_header(self) -> None:
        """Look for a header with which SQLite would take the file for one that cannot be written.

        Before SQLite opens the file, and never beside a writer of the same process: closing any descriptor
        of a file ends every POSIX lock of the process on it, and without SQLite's lock the next program that
        opens and closes the database removes its write-ahead log.
        """
        with open(self.path, "rb") as file:
            versions = file.read(20)[18:]
        if any(version not in _SQLITE_VERSIONS for version in versions):
            raise Corruption(f"{self.path} is damaged: its header is not SQLite's; restore it from a copy")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _check_structure(self) -> None:
        version = self._version()
        if version not in _READABLE_VERSIONS:
            raise Corruption(
                f"{self.path} has format version {version}; this release of Roost reads versions up to {FORMAT_VERSION}"
            )
        found = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise Corruption(f"{self.path} is damaged: {found}; restore it from a copy")

    def _check_witness(self, commits: int, must_have_all: bool) -> None:
        held = self._heads[0].seq
        if not commits and held > 1:  # a crash at the very first commit leaves one uncounted
            self.doubt = (
                f"{self.path.with_name(WITNESS_FILE)} is missing or empty: whether the database has every acknowledged "
                f"commit cannot be told; its next change makes the file again"
            )
        if held < commits and must_have_all:
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
                if digest_of(f"{kind}:{object_id}:{body}".encode()) != digest:
                    raise self._damaged(f"the catalogue's {kind} {object_id}")
                total ^= digest
                objects.setdefault(kind, {})[object_id] = json.loads(body)
            deletes: dict[int, bytes] = {}
            for segment, body, digest in self._db.execute("SELECT segment, body, digest FROM deletes"):
                if not is_intact(body, segment, digest):
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
                (log_key(collection, start), log_key(collection, head.seq)),
            )
            # A cursor that is not closed would keep SQLite at this moment of the database.
            with closing(rows):
                for key, op, body, digest in rows:
                    seq += 1
                    if key != log_key(collection, seq):
                        raise self._damaged(f"record {seq} of the log of collection {collection}")
                    if body is None:
                        body = self._read_file(collection, seq, op, digest)
                    elif not is_intact(body, op, digest):
                        raise self._damaged(f"record {seq} of the log of collection {collection}")
                    chain = link(chain, seq, digest)
                    yield LogRecord(seq, op, body)
            if seq != head.seq or (after is None and chain != head.chain):
                raise self._damaged(f"the log of collection {collection}")

    def _read_file(self, collection: int, seq: int, op: int, digest: int) -> bytes:
        body = self._files.read(collection, seq)
        if not is_intact(body, op, digest):
            path = self._files.path(collection, seq)
            raise Corruption(f"{path} is damaged: its checksum does not match; restore it from a copy")
        return body

    def log_files(self, collection: int) -> list[Path]:
        """Return the files of a collection's records, for those that have one of their own."""
        head = self._heads.get(collection, Head())
        keys = (log_key(collection, head.base_seq), log_key(collection, head.seq))
        with self.lock, storage_errors(self.path):
            rows = self._db.execute("SELECT key FROM log WHERE key > ? AND key <= ? AND body IS NULL", keys)
            return [self._files.path(*record_of(key)) for (key,) in rows]

    def log_range(self, collection: int) -> tuple[int, int]:
        """Return the sequence number before the log's first record, and the last one's."""
        head = self._heads.get(collection, Head())
        return head.base_seq, head.seq

    def changed(self) -> bool:
        """Whether another process has committed since the last call, and told its caller. A microsecond.

        The witness is written before the caller is told, and asking SQLite takes ten times as long as reading it.
        SQLite is asked now and then all the same: the writer may have failed to write the witness.
        """
        stamp, now = self._witness.stamp(), time.monotonic()
        if stamp == self._stamp and now < self._asked_at + ASK_EVERY_S:
            return False
        with self.lock, storage_errors(self.path):
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        self._stamp, self._asked_at = stamp, now
        before, self._data_version = self._data_version, version
        return version != before

    def forget_changes(self) -> None:
        """Let the next `changed` say yes, since what it told of could not be read."""
        self._data_version = -1
        self._stamp = None

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
            start = self.n_commits
            change = Transaction(self._db, self._files, self._heads)
            try:
                yield change
                change.finish()
                self._db.execute("COMMIT")
                self._take(change.heads)
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                # Where no transaction was left, an interrupt came after the commit, or SQLite has undone the block.
                self._heads = self._load_heads()
                if self.n_commits == start:
                    self._files.remove(change.written)
                raise
            self._note_commit()
            self._files.remove(change.dropped)

    def _take(self, changed: Mapping[int, Head | None]) -> None:
        """Hold what a transaction made of the heads. One for each collection is held, so they are not copied."""
        for head_id, head in changed.items():
            if head is None:
                self._heads.pop(head_id, None)
            else:
                self._heads[head_id] = head

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

    def segments_of(self, collection_id: int) -> list[int]:
        """Return the segments that the manifest names of a collection."""
        with self.lock, storage_errors(self.path):
            rows = self._db.execute(
                "SELECT id, body FROM objects WHERE kind = 'segment' AND instr(body, ?)",
                (f'"collection":{collection_id}',),
            )
            return [segment_id for segment_id, body in rows if json.loads(body)["collection"] == collection_id]

    def sweep(self) -> None:
        """Remove the files of records that no log holds. For the writer, when it opens."""
        with self.lock, storage_errors(self.path):
            rows = self._db.execute("SELECT key FROM log WHERE body IS NULL")
            self._files.sweep([record_of(key) for (key,) in rows])

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


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )
