"""A counter of commits beside the database, so that a lost end of the log is seen.

SQLite drops the damaged end of its write-ahead log without a word: that is right for a commit that was
never acknowledged, and wrong for one that was. The witness is written after each commit and holds how
many there were. A database that knows of fewer has lost acknowledged writes.

Order: (1) the commit is durable, (2) the witness is written, (3) the caller is told. A crash after (1)
leaves the witness one behind, which is no loss. The witness is not fsynced: after a power cut it may be
older than the database, never newer where commits are synced (`full`). With `normal`, a power cut may
take the last commits by design, so a witness of an earlier boot is not held against the database.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import xxhash

from roost.engine.storage.durable import storage_errors
from roost.errors import Corruption

_LAYOUT = struct.Struct("<8sQQQ")
_MAGIC = b"ROOSTWIT"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Witness:
    """The open counter file of a database."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        with storage_errors(path):
            self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        self._boot = _boot()

    def record(self, commits: int) -> None:
        """Note that `commits` are durable."""
        body = _LAYOUT.pack(_MAGIC, commits, self._boot, _check(commits, self._boot))
        with storage_errors(self._path):
            os.pwrite(self._descriptor, body, 0)

    def read(self) -> tuple[int, bool]:
        """Return the number of commits seen, and whether this boot of the machine saw them.

        Raises: Corruption: the file is damaged.
        """
        with storage_errors(self._path):
            body = os.pread(self._descriptor, _LAYOUT.size + 1, 0)
        if not body:
            return 0, True
        if len(body) == _LAYOUT.size:
            magic, commits, boot, check = _LAYOUT.unpack(body)
            if magic == _MAGIC and check == _check(commits, boot):
                return commits, boot == self._boot != 0
        raise Corruption(f"{self._path} is damaged; restore it from a copy together with the database")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _boot() -> int:
    try:
        return xxhash.xxh3_64_intdigest(_BOOT_ID.read_bytes())
    except OSError:
        return 0


def _check(commits: int, boot: int) -> int:
    return xxhash.xxh3_64_intdigest(struct.pack("<QQ", commits, boot))
