"""Files that are written once, checksummed, and on the disk before anything names them.

A file is written under its final name in a directory that no manifest points into yet, then the file
and its directory are fsynced. A crash at any step leaves at most a file that nothing names; it is
swept at the next open.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import xxhash

from roost.errors import Corruption, StorageFailure, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What SQLite says of a file that it cannot make sense of.
_DAMAGE = (
    "malformed",
    "not a database",
    "corrupt",
    "unsupported file format",
    "no such table",
    "no such column",
    "Could not decode",
)
_LITTLE_ROOM = 128 << 10
_READERS = 4
_READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the manifest knows of one file.

    Attributes:
        name: file name inside the segment's directory.
        size_bytes: length of the file.
        digest: xxh3-128 of the content, hexadecimal.
        stamp: of the file when it was written (`stamp_of`); "" where that is not known.
    """

    name: str
    size_bytes: int
    digest: str
    stamp: str = field(default="", compare=False)


def stamp_of(path: Path) -> str:
    """Return what the system changes whenever a file is written to, copied or restored, and nobody can set.

    Raises: OSError: there is no such file.
    """
    found = path.stat()
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def is_as_written(path: Path, record: FileRecord) -> bool:
    """Whether the system says that a file was not changed since it was written: damage of the disk it does not see."""
    try:
        return stamp_of(path) == record.stamp and path.stat().st_size == record.size_bytes
    except OSError:
        return False


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, of Arrow and of SQLite into Roost's, naming `path`."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise Corruption(f"{path} is missing; restore it from a copy") from error
        code = error.errno if isinstance(error, OSError) else None
        if code in _FULL:
            raise StorageFull(f"no space left to write {path}: {error}") from error
        raise StorageFailure(f"cannot read or write {path}: {error}") from error
    except sqlite3.Error as error:
        raise _from_sqlite(path, error) from error
    except UnicodeDecodeError as error:
        # SQLite's own message quotes the damaged text.
        raise Corruption(f"{path} is damaged: {error}; restore it from a copy") from error


def _from_sqlite(path: Path, error: sqlite3.Error) -> Exception:
    text = str(error)
    if "full" in text or ("I/O error" in text and _is_full(path)):
        return StorageFull(f"no space left to write {path}: {text}; nothing of the call was written")
    if isinstance(error, sqlite3.IntegrityError) or any(sign in text for sign in _DAMAGE):
        return Corruption(f"{path} is damaged: {text}; restore it from a copy")
    return StorageFailure(f"cannot read or write {path}: {text}")


def _is_full(path: Path) -> bool:
    """Whether a failure may come from a lack of room: SQLite does not say so of its index of the log."""
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _LITTLE_ROOM


def digest_file(path: Path, into: memoryview | None = None) -> str:
    """Return the xxh3-128 of a file's content, hexadecimal.

    It is not mapped: a fault for every page takes longer than reading.

    Args:
        into: as many bytes as the file has, which are filled with its content.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size if into is None else len(into)
        n_turns = min(_READERS, -(-size // _READ_BYTES)) if into is None else 0
        turns = [memoryview(bytearray(min(size, _READ_BYTES))) for _ in range(n_turns)]

        def read(start: int, end: int) -> memoryview:
            place = turns[start // _READ_BYTES % _READERS] if into is None else into[start:end]
            return place[: _read_into(file.fileno(), place[: end - start], start)]

        return digest_pieces(size, read)


def digest_pieces(size: int, read: Callable[[int, int], memoryview]) -> str:
    """Return the xxh3-128 of content that threads read ahead, since reading takes ten times as long as the digest.

    Args:
        read: returns a piece of the content, from its start to its end. What it returned for a piece is used no more
            when the piece `_READERS` further on is read.
    """
    digest = xxhash.xxh3_128()
    for content in _read_ahead(
        [(start, min(start + _READ_BYTES, size)) for start in range(0, size, _READ_BYTES)], read
    ):
        digest.update(content)
    return digest.hexdigest()


def _read_ahead(pieces: Sequence[tuple[int, int]], read: Callable[[int, int], memoryview]) -> Iterator[memoryview]:
    """Yield the pieces in order."""
    if len(pieces) <= 1:
        yield from (read(*piece) for piece in pieces)
        return
    with ThreadPoolExecutor(_READERS, "roost-read") as pool:
        coming = deque(_reading(pool, read, piece) for piece in pieces[:_READERS])
        for number in range(len(pieces)):
            yield coming.popleft().result()
            if (later := number + _READERS) < len(pieces):
                coming.append(_reading(pool, read, pieces[later]))


def _reading(
    pool: ThreadPoolExecutor, read: Callable[[int, int], memoryview], piece: tuple[int, int]
) -> Future[memoryview]:
    """Begin to read a piece; where no thread is to be had, since the interpreter is ending, read it at once."""
    try:
        return pool.submit(read, *piece)
    except RuntimeError:
        done: Future[memoryview] = Future()
        done.set_result(read(*piece))
        return done


def _read_into(descriptor: int, buffer: memoryview, start: int) -> int:
    """Fill the buffer from the file; return how many bytes there were."""
    n_read = 0
    while n_read < len(buffer):
        more = os.preadv(descriptor, [buffer[n_read:]], start + n_read)
        if not more:
            break
        n_read += more
    return n_read


def write_durable(path: Path, write: Callable[[Path], None]) -> FileRecord:
    """Let `write` make the file, fsync it, and return its record.

    Raises: StorageFull, StorageFailure: the file could not be written; it is removed again.
    """
    with storage_errors(path):
        try:
            write(path)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            stamp = stamp_of(path)  # before the content is read, so that a change meanwhile shows
            return FileRecord(path.name, path.stat().st_size, digest_file(path), stamp)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, and make their names durable."""
    with storage_errors(path):
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        path.mkdir(parents=True, exist_ok=True)
    for directory in missing:
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def verify(path: Path, record: FileRecord, digest: Callable[[Path], str] = digest_file) -> None:
    """Check a file against its record.

    Args:
        digest: reads the content, and returns its digest.
    Raises: Corruption: the file is missing, or has another length or another content.
    """
    with storage_errors(path):
        size = path.stat().st_size
    if size != record.size_bytes:
        raise Corruption(f"{path} is damaged: {size} bytes long instead of {record.size_bytes}; restore it from a copy")
    with storage_errors(path):
        found = digest(path)
    if found != record.digest:
        raise Corruption(f"{path} is damaged: its checksum does not match; restore it from a copy")
