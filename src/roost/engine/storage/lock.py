"""One writing process a database: an advisory lock that names its holder.

The lock is the kernel's (`flock`), so it is gone the moment its process is, however that ended. The
text in the file is only there for the message that a second writer gets.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path

from roost.engine.storage.durable import storage_errors
from roost.errors import DatabaseLocked


class WriterLock:
    """Held from construction to `release`.

    Raises:
        DatabaseLocked: another process holds it; the message says which.
        StorageFailure: the file cannot be opened, or its file system has no locks. StorageFull.
    """

    def __init__(self, path: Path) -> None:
        with storage_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with storage_errors(path):
                self._lock(path)
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, json.dumps(_holder()).encode(), 0)
        except BaseException:
            self.release()
            raise

    def _lock(self, path: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _describe(os.pread(self._descriptor, 4096, 0))
            raise DatabaseLocked(
                f"{path.parent} is open for writing by {holder}; close it there, or open it here with read_only=True"
            ) from error

    def release(self) -> None:
        """Let the next writer in. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holder() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "program": " ".join(sys.argv[:2]) or "python",
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _describe(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} ({holder['program']}) on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
