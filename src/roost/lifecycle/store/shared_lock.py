"""Locks that the threads of all processes of one store share.

On SQLite, whose processes are on one machine, a lock is a file beside the database that is locked with
`flock`; on PostgreSQL it is an advisory lock of the database. Either is given up by the death of its holder.

A process that was killed may leave a request on its way to a server. The file of a lock says whether its last
holder gave it back, and where it did not, the next one waits for what may still arrive. PostgreSQL does not tell.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, TimeoutError

from roost.lifecycle.store.failures import failure_of

_HELD = b"held"

LOOK_S = 0.1
"""How long who does not wait for a file's lock lets looks pass, which take microseconds."""

_BETWEEN_TRIES_S = 0.002

_ADVISORY_HELD = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = :high AND objid::bigint = :low)"
)
"""PostgreSQL shows the key of an advisory lock as two halves without a sign."""


class SharedLock:
    """One named lock. A thread that holds it does not ask for it again."""

    def __init__(self, engine: Engine, name: str, grace_s: float = 0.0) -> None:
        """Name a lock; nothing is taken yet.

        Args:
            name: letters, digits and `-`; the same in every process.
            grace_s: seconds to wait where the last holder died with the lock.
        """
        self._name = name
        self._grace_s = grace_s
        self._threads = threading.Lock()
        self._held: AbstractContextManager[bool] | None = None
        self._take, self._look = self._ways(engine)

    def __enter__(self) -> SharedLock:
        """Wait for the lock and take it.

        Raises: StorageFailure: the store cannot be reached.
        """
        held = self.hold()
        held.__enter__()
        self._held = held
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(None, None, None)

    @contextmanager
    def hold(self, wait: bool = True) -> Iterator[bool]:
        """Take the lock for a block, and say whether it was free: always, where one waits.

        Who does not wait gives others a moment all the same, so that a look (`is_held`) is not taken for a holder.

        Raises: StorageFailure: the store cannot be reached.
        """
        if not self._threads.acquire(blocking=wait):
            yield False
            return
        try:
            with self._take(wait) as is_ours:
                yield is_ours
        finally:
            self._threads.release()

    def is_held(self) -> bool:
        """Return whether somebody holds the lock now, in any process. Nobody waits for a look.

        Raises: StorageFailure: the store cannot be reached.
        """
        return self._look()

    def _ways(self, engine: Engine) -> tuple[Callable[[bool], AbstractContextManager[bool]], Callable[[], bool]]:
        if engine.dialect.name == "postgresql":
            key = int.from_bytes(hashlib.sha256(self._name.encode()).digest()[:8], "big", signed=True)
            return lambda wait: _advisory(engine, key, wait), lambda: _is_advisory_held(engine, key)
        database = engine.url.database
        if not database or database == ":memory:":
            return lambda wait: _nobody_else(), lambda: False
        path = Path(database).absolute().with_suffix(".locks") / self._name
        return lambda wait: _locked_file(path, wait, self._grace_s), lambda: _is_file_held(path)


@contextmanager
def _nobody_else() -> Iterator[bool]:
    yield True


@contextmanager
def _locked_file(path: Path, wait: bool, grace_s: float) -> Iterator[bool]:
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if wait:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        elif not _is_taken_soon(descriptor):
            yield False
            return
        if os.fstat(descriptor).st_size:
            time.sleep(grace_s)
        os.pwrite(descriptor, _HELD, 0)
        try:
            yield True
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _is_taken_soon(descriptor: int) -> bool:
    """Take the lock of a file, and return whether that was possible; a look that is under way is waited for."""
    until = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_BETWEEN_TRIES_S)


def _is_file_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def _advisory(engine: Engine, key: int, wait: bool) -> Iterator[bool]:
    take = "SELECT pg_advisory_lock(:key)" if wait else "SELECT pg_try_advisory_lock(:key)"
    try:
        connection = engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        try:
            taken = connection.execute(text(take), {"key": key}).scalar()
        except BaseException:
            # A call that was broken off may hold the lock; it ends with the connection.
            connection.invalidate()
            connection.close()
            raise
    except (DBAPIError, TimeoutError) as error:
        raise failure_of(error, "cannot be locked") from error
    is_ours = wait or bool(taken)
    try:
        yield is_ours
    finally:
        with connection, suppress(DBAPIError):  # with the connection the lock is gone as well
            if is_ours:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


def _is_advisory_held(engine: Engine, key: int) -> bool:
    halves = {"high": (key >> 32) & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}
    try:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            return bool(connection.execute(_ADVISORY_HELD, halves).scalar())
    except (DBAPIError, TimeoutError) as error:
        raise failure_of(error, "cannot be looked at") from error
