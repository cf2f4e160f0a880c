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
from sqlalchemy.exc import DBAPIError

from roost.lifecycle.store.failures import failure_of

_HELD = b"held"


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
        self._take = self._ways(engine)

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

    def _ways(self, engine: Engine) -> Callable[[bool], AbstractContextManager[bool]]:
        if engine.dialect.name == "postgresql":
            key = int.from_bytes(hashlib.sha256(self._name.encode()).digest()[:8], "big", signed=True)
            return lambda wait: _advisory(engine, key, wait)
        database = engine.url.database
        if not database or database == ":memory:":
            return lambda wait: _nobody_else()
        path = Path(database).absolute().with_suffix(".locks") / self._name
        return lambda wait: _locked_file(path, wait, self._grace_s)


@contextmanager
def _nobody_else() -> Iterator[bool]:
    yield True


@contextmanager
def _locked_file(path: Path, wait: bool, grace_s: float) -> Iterator[bool]:
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
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
    except DBAPIError as error:
        raise failure_of(error, "cannot be locked") from error
    is_ours = wait or bool(taken)
    try:
        yield is_ours
    finally:
        with connection, suppress(DBAPIError):  # with the connection the lock is gone as well
            if is_ours:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
