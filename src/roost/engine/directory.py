"""Which directories hold a database, and which may become one."""

from __future__ import annotations

from pathlib import Path

from roost.engine.storage.durable import make_directory, storage_errors
from roost.engine.storage.lock import WriterLock
from roost.errors import DatabaseNotFound, InvalidArgument

CATALOGUE = "roost.db"
SEGMENTS = "segments"
LOCK = "LOCK"
"""The first file that a new database gets."""

_FOREIGN_BUT_HARMLESS = "lost+found"
"""In the top directory of a freshly made disk."""


def resolve(path: str | Path) -> Path:
    """Return the absolute form of a database's path, `~` and links resolved.

    Raises: InvalidArgument: the path names no place: an unknown user's home, or links in a circle.
    """
    try:
        with storage_errors(Path(path)):
            return Path(path).expanduser().resolve()
    except RuntimeError as error:
        raise InvalidArgument(f"{path} is not a path that can be followed: {error}") from error


def require_database(path: Path) -> None:
    """Refuse a path that does not hold a database.

    Raises: InvalidArgument: it is a file, or inside one. DatabaseNotFound.
    """
    _require_no_file(path)
    if not holds_database(path):
        raise DatabaseNotFound(f"{path} holds no database: there is no {CATALOGUE} in it")


def lock_directory(path: Path) -> WriterLock:
    """Take the writer's lock of a database, making its directories where they are missing.

    Raises: DatabaseLocked. InvalidArgument: the path is a file, or inside one, or a directory of other things.
    """
    _require_room(path)
    make_directory(path)
    lock = WriterLock(path / LOCK)
    try:
        make_directory(path / SEGMENTS)
    except BaseException:
        lock.release()
        raise
    return lock


def _require_room(path: Path) -> None:
    """Refuse a path where no database is and none may be made. Hidden files are no hindrance."""
    _require_no_file(path)
    with storage_errors(path):
        if not path.exists() or holds_database(path) or (path / LOCK).exists():
            return
        others = sorted(
            entry.name
            for entry in path.iterdir()
            if not entry.name.startswith(".") and entry.name != _FOREIGN_BUT_HARMLESS
        )
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise InvalidArgument(
            f"{path} is not a database and holds other things ({shown}); name a directory that is new or empty"
        )


def holds_database(path: Path) -> bool:
    """Whether a database was made in the directory."""
    with storage_errors(path):
        return (path / CATALOGUE).exists()


def _require_no_file(path: Path) -> None:
    with storage_errors(path):
        nearest = next(place for place in (path, *path.parents) if place.exists())
        if nearest.is_dir():
            return
    home = next((place for place in nearest.parents if holds_database(place)), None)
    if home is not None:
        raise InvalidArgument(f"{nearest} is a file of a database; name its directory: {home}")
    raise InvalidArgument(f"{nearest} is a file; a database is a directory")
