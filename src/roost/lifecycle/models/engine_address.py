"""Which vector engine has a collection: its address and its database, as data is recorded with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from roost.address import without_secrets
from roost.client import embedded_path
from roost.errors import InvalidArgument

_DEFAULT = "default"
_WITH_DATABASE = frozenset({"http", "https", "tcp"})
"""Schemes of addresses whose path names a database, as pymilvus reads them."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where a workspace has its collections.

    Attributes:
        address: of a server, without users, tokens and database; or the absolute path of the workspace's folder.
        database: of the engine; empty for the default one.
    """

    address: str
    database: str = ""

    @classmethod
    def of(cls, path_or_uri: str | Path, db_name: str = "") -> EngineAddress:
        """Return the address of what `roost.connect` opens with the same arguments.

        What `roost.connect` would refuse is kept as it is, without secrets.
        """
        database = "" if db_name == _DEFAULT else db_name
        folder = _folder(path_or_uri)
        if folder is not None:
            return cls(str(folder.absolute()), database)
        text = without_secrets(str(path_or_uri))
        parts = urlsplit(text)
        if parts.scheme not in _WITH_DATABASE:
            return cls(text, database)
        host = parts.netloc.rpartition("@")[2].lower()
        if not db_name:
            named = parts.path.strip("/").partition("/")[0]
            database = "" if named == _DEFAULT else named
        return cls(f"{parts.scheme}://{host}", database)

    def uri(self, collection: str) -> str:
        """Return what is recorded of a collection."""
        return f"{self.address}#{self.database}/{collection}" if self.database else f"{self.address}#{collection}"

    def collection(self, uri: str) -> str | None:
        """Return the name of the collection that a recorded URI means; None where it is not certainly one of here."""
        place, _, named = uri.rpartition("#")
        database, _, name = named.rpartition("/")
        folder = _folder(place)
        if folder is not None and not folder.is_absolute():
            return None  # nobody knows from which folder it was meant
        recorded = EngineAddress.of(place, database)
        is_same_folder = folder is not None and folder.resolve() == Path(self.address).resolve()
        is_here = recorded.address == self.address or is_same_folder
        return name if is_here and recorded.database == self.database else None

    def __str__(self) -> str:
        return f"{self.address} (database {self.database!r})" if self.database else self.address


def _folder(place: str | Path) -> Path | None:
    try:
        return embedded_path(place)
    except InvalidArgument:
        return None
