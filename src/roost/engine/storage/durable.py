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
from dataclasses import dataclass
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
    """

    name: str
    size_bytes: int
    digest: str


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

    The content is read ahead by threads, since reading takes ten times as long as the digest; it is not mapped, as a
    fault for every page takes longer still.

    Args:
        into: as many bytes as the file has, which are filled with its content.
    """
    digest = xxhash.xxh3_128()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size if into is None else len(into)
        starts = range(0, size, _READ_BYTES)
        if into is None:
            turns = [memoryview(bytearray(min(size, _READ_BYTES))) for _ in starts[:_READERS]]
            buffers = [turns[number % _READERS] for number in range(len(starts))]
        else:
            buffers = [into[start : start + _READ_BYTES] for start in starts]
        for content in _read_ahead(file.fileno(), buffers, starts):
            digest.update(content)
    return digest.hexdigest()


def _read_ahead(descriptor: int, buffers: Sequence[memoryview], starts: Sequence[int]) -> Iterator[memoryview]:
    """Yield the pieces of a file that begin at `starts`, in order; each is valid until the next is asked for.

    Args:
        buffers: one for each piece; `_READERS` of them are filled at a time.
    """
    if len(starts) <= 1:
        for buffer in buffers:
            yield buffer[: _read_into(descriptor, buffer, 0)]
        return
    with ThreadPoolExecutor(_READERS, "roost-read") as pool:
        coming = deque(
            _reading(pool, descriptor, buffer, start) for buffer, start in zip(buffers[:_READERS], starts, strict=False)
        )
        for number, buffer in enumerate(buffers):
            yield buffer[: coming.popleft().result()]
            if (later := number + _READERS) < len(starts):
                coming.append(_reading(pool, descriptor, buffers[later], starts[later]))


def _reading(pool: ThreadPoolExecutor, descriptor: int, buffer: memoryview, start: int) -> Future[int]:
    """Begin to fill the buffer; where no thread is to be had, since the interpreter is ending, fill it at once."""
    try:
        return pool.submit(_read_into, descriptor, buffer, start)
    except RuntimeError:
        done: Future[int] = Future()
        done.set_result(_read_into(descriptor, buffer, start))
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
            return FileRecord(path.name, path.stat().st_size, digest_file(path))
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


def verify(path: Path, record: FileRecord, into: memoryview | None = None) -> None:
    """Check a file against its record.

    Args:
        into: `record.size_bytes` bytes, which are filled with the file's content.
    Raises: Corruption: the file is missing, or has another length or another content.
    """
    with storage_errors(path):
        size = path.stat().st_size
    if size != record.size_bytes:
        raise Corruption(f"{path} is damaged: {size} bytes long instead of {record.size_bytes}; restore it from a copy")
    with storage_errors(path):
        digest = digest_file(path, into)
    if digest != record.digest:
        raise Corruption(f"{path} is damaged: its checksum does not match; restore it from a copy")
