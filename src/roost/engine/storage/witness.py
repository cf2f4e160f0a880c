"""A counter of commits beside the database, so that a lost end of the log is seen.

SQLite drops the damaged end of its write-ahead log without a word: that is right for a commit that was
never acknowledged, and wrong for one that was. The witness is written after each commit and holds how
many there were. A database that knows of fewer has lost acknowledged writes.

Order: (1) the commit is durable, (2) the witness is written, (3) the caller is told. A crash after (1)
leaves the witness one behind, which is no loss. The witness is not fsynced: after a power cut it may be
older than the database, never newer where commits are synced (`full`). With `normal`, a power cut may
take the last commits by design, so such a witness is not held against the database after another boot.
Which of the two it was stands in the witness: whoever opens the database later may not know.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import xxhash

from roost.engine.storage.durable import storage_errors
from roost.errors import Corruption, StorageFailure

_LAYOUT = struct.Struct("<8sQQQ")
_SYNCED, _UNSYNCED = b"ROOSTWIT", b"ROOSTWIN"
"""How the file begins: whether each commit was synced before it was counted."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Witness:
    """The open counter file of a database.

    Args:
        synced: whether commits are durable, against a loss of power too, when they are counted from now on.
    """

    def __init__(self, path: Path, *, read_only: bool, synced: bool = True) -> None:
        self._path = path
        self._kind = _SYNCED if synced else _UNSYNCED
        self._flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        self._descriptor = -1
        self._is_closed = False
        self._boot = _boot()
        self._open()

    def _open(self) -> bool:
        """Open the file; whoever only reads may find none. Return whether it is open."""
        if self._descriptor < 0 and not self._is_closed:
            with storage_errors(self._path), suppress(FileNotFoundError):
                self._descriptor = os.open(self._path, self._flags | os.O_CLOEXEC, 0o644)
        return self._descriptor >= 0

    def record(self, commits: int) -> None:
        """Note that `commits` are durable."""
        body = _LAYOUT.pack(self._kind, commits, self._boot, _check(self._kind, commits, self._boot))
        with storage_errors(self._path):
            os.pwrite(self._descriptor, body, 0)

    def stamp(self) -> bytes:
        """Return what the file holds, to tell later whether there was a commit. A microsecond."""
        if not self._open():
            return b""
        try:
            return os.pread(self._descriptor, _LAYOUT.size, 0)
        except OSError as error:
            raise StorageFailure(f"cannot read {self._path}: {error}") from error

    def read(self) -> tuple[int, bool]:
        """Return the number of commits seen, and whether the database must have them all.

        A file that is missing or empty has seen none: that is no damage, and says nothing of the database.
        Raises: Corruption: the file is damaged.
        """
        if not self._open():
            return 0, True
        with storage_errors(self._path):
            body = os.pread(self._descriptor, _LAYOUT.size + 1, 0)
        if not body:
            return 0, True
        if len(body) == _LAYOUT.size:
            kind, commits, boot, check = _LAYOUT.unpack(body)
            if kind in (_SYNCED, _UNSYNCED) and check == _check(kind, commits, boot):
                return commits, kind == _SYNCED or boot == self._boot != 0
        raise Corruption(f"{self._path} is damaged; restore it from a copy together with the database")

    def close(self) -> None:
        self._is_closed = True
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _boot() -> int:
    try:
        return xxhash.xxh3_64_intdigest(_BOOT_ID.read_bytes())
    except OSError:
        return 0


def _check(kind: bytes, commits: int, boot: int) -> int:
    return xxhash.xxh3_64_intdigest(struct.pack("<QQ", commits, boot), seed=int(kind == _UNSYNCED))
