"""The collections of a database that is only read whose rows cannot be recovered: they alone cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from roost.engine.collection import Collection
from roost.errors import Corruption

_log = logging.getLogger(__name__)


class Unreadable:
    """What was found damaged while a reader caught up with the writer, told once it is sure.

    A file that is missing may be one that the writer removed meanwhile, so that the next look finds all whole.
    """

    def __init__(self) -> None:
        self._found: dict[int, str] = {}
        self._told: dict[int, str] = {}

    def look_again(self) -> None:
        """Forget what was found, before all is read once more."""
        self._found.clear()

    def recover(self, collection: Collection, renew: Callable[[], None] | None = None) -> None:
        """Recover the rows of a collection; where they are damaged, whoever uses it gets Corruption.

        Args:
            renew: tells a collection that is known already what the catalogue has by now.
        """
        try:
            if renew is not None:
                renew()
            collection.open()
        except Corruption as error:
            self._found[collection.collection_id] = f"collection {collection.name!r} cannot be used: {error.message}"

    def is_all_open(self, collections: Iterable[Collection]) -> bool:
        """Open every stored file of the collections; return whether that, and recovering their rows, went well."""
        return not self._found and all([collection.contents.open_files() for collection in collections])

    def tell(self) -> None:
        """Log what was found and was not told yet."""
        for collection_id, message in self._found.items():
            if self._told.get(collection_id) != message:
                _log.warning("%s", message)
        self._told = dict(self._found)
