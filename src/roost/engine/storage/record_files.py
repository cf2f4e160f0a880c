"""Large records of the log, in files of their own.

SQLite copies a value page by page into its write-ahead log, with a checksum for each page, and again
into the database; a file is written once. A record's file is (1) written and its name made durable,
(2) named by the transaction that commits the record, (3) removed after the transaction that drops it.
A crash after (1), or before (3), leaves a file that no record names; it is swept at the next open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from roost.engine.storage.durable import make_directory, storage_errors, sync_directory

Piece: TypeAlias = "bytes | memoryview | pa.Buffer"

MIN_FILE_BYTES = 512 << 10
"""A shorter record costs less inside SQLite than a file and a second fsync."""


class RecordFiles:
    """The directory of the records' files. Used under the catalogue's lock.

    Raises (from every method): StorageFull, StorageFailure.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, collection: int, seq: int) -> Path:
        return self._directory / f"{collection}-{seq}.rows"

    def write(self, collection: int, seq: int, pieces: Sequence[Piece]) -> None:
        """Write a record's body; when it fails, nothing of it stays.

        It is fsynced whatever the durability: SQLite's next checkpoint makes the record that names it durable.
        """
        path = self.path(collection, seq)
        with storage_errors(path):
            make_directory(self._directory)
            try:
                with open(path, "wb", buffering=0) as file:
                    for piece in pieces:
                        left = memoryview(piece).cast("B")
                        while left:
                            left = left[file.write(left) :]
                    os.fdatasync(file.fileno())
                sync_directory(self._directory)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def read(self, collection: int, seq: int) -> bytes:
        """Return a record's body, unchecked. Raises: Corruption: the file is missing."""
        path = self.path(collection, seq)
        with storage_errors(path):
            return path.read_bytes()

    def remove(self, records: Iterable[tuple[int, int]]) -> None:
        """Remove the files of (collection, sequence) records; what cannot be removed is left to the sweep."""
        for collection, seq in records:
            try:
                self.path(collection, seq).unlink(missing_ok=True)
            except OSError:
                continue

    def sweep(self, named: Iterable[tuple[int, int]]) -> list[Path]:
        """Remove every file that no record names, and return what was removed."""
        kept = {self.path(collection, seq) for collection, seq in named}
        with storage_errors(self._directory):
            orphans = [path for path in self._directory.glob("*") if path not in kept]
            for path in orphans:
                path.unlink()
        return orphans
