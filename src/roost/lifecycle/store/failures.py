"""What a database's errors mean to whoever asked: one table for SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from roost.address import without_secrets
from roost.errors import AlreadyExists, Conflict, RoostError, StorageFailure

_UNIQUE_VIOLATION = "23505"
_TOOK_TURNS_BADLY = {
    "40001": "a serialization failure",
    "40P01": "a deadlock",
    "55P03": "a lock that was not given up in time",
}
"""PostgreSQL's codes for a transaction that was undone because of another one; repeating it may succeed.

Source: PostgreSQL 15, appendix A.
"""

_SQLITE_UNIQUE = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "UNIQUE constraint failed")


def failure_of(error: SQLAlchemyError, doing: str) -> RoostError:
    """Return what to raise for an error of the database.

    Args:
        doing: what the store did, as the message puts it: "cannot be read", "refused to write".
    Returns:
        AlreadyExists: a row with the same unique values is there already.
        Conflict: the transaction was undone because of another one; repeating it may succeed.
        StorageFailure: anything else. Its message says whether the connection was lost.
    """
    original = error.orig if isinstance(error, DBAPIError) else None
    why = without_secrets(_first_line(original if original is not None else error))
    code = getattr(original, "sqlstate", None)
    if code == _UNIQUE_VIOLATION or _is_sqlite_unique(original):
        return AlreadyExists(f"somebody else has just made the same: {why}")
    if code in _TOOK_TURNS_BADLY:
        return Conflict(
            f"the change came in the way of another one ({_TOOK_TURNS_BADLY[code]}) and was undone: look again and "
            f"repeat ({why})"
        )
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return StorageFailure(
            f"the store {doing}: its connection was lost, and the next call makes a new one. Whether a change was "
            f"stored that was just being committed has to be looked up ({why})"
        )
    return StorageFailure(f"the store {doing}: {why}")


def _is_sqlite_unique(original: BaseException | None) -> bool:
    """Before Python 3.11 the text alone tells."""
    name = getattr(original, "sqlite_errorname", None) or str(original)
    return name.startswith(_SQLITE_UNIQUE)


def _first_line(error: BaseException) -> str:
    """Return an error's text without the rows and statements that databases add in further lines."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
