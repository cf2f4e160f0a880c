"""Records from a collection of the vector engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pymilvus import DataType

from roost.errors import CollectionNotFound, InvalidArgument
from roost.lifecycle.backfill.batches import Key, Record
from roost.lifecycle.backfill.sources import Source, digest_of
from roost.lifecycle.deployments.space import CONTENT, VECTOR

if TYPE_CHECKING:
    from roost.client import Client

PAGE_SIZE = 1_000


class CollectionSource(Source):
    """A loaded collection that stores what the model shall embed, read in the order of its primary key.

    It is read in pages while it is written to: what was there when the backfill began is read, with the content that
    it has when its page comes. The records' keys, and so the endpoint's, are the collection's.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        content_field: str,
        *,
        fields: Sequence[str] | None = None,
        filter: str = "",
    ) -> None:
        """Look at the collection.

        Args:
            client: of the engine that holds it, as `workspace.vectors`.
            collection: its name, or an alias.
            content_field: the field that goes to the model.
            fields: what is stored beside the vector; by default every other field but vectors. Dynamic fields have to
                be named; so has the content field, if it is to be stored too.
            filter: which rows to take; by default all.
        Raises:
            CollectionNotFound: there is none of that name.
            InvalidArgument: it has no field of that name.
        """
        self._client, self._collection = client, collection
        if not client.has_collection(collection):
            raise CollectionNotFound(f"there is no collection {collection!r}")
        described = client.describe_collection(collection)
        names = {field["name"]: field for field in described["fields"]}
        self._key = next(name for name, field in names.items() if field.get("is_primary"))
        plain = [name for name, field in names.items() if field["type"] < DataType.BINARY_VECTOR]
        dynamic = bool(described.get("enable_dynamic_field"))
        self._content = content_field
        self._keeps_content = content_field == self._key or content_field in (fields or ())
        self._fields = list(fields) if fields is not None else [n for n in plain if n not in (self._key, content_field)]
        unknown = [name for name in (content_field, *self._fields) if name not in names]
        if unknown and not dynamic:
            raise InvalidArgument(f"collection {collection!r} has no field {unknown[0]!r}; it has {', '.join(names)}")
        self._filter = filter

    @cached_property
    def n_records(self) -> int:
        rows = self._client.query(
            self._collection, filter=self._filter, output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(rows[0]["count(*)"])

    @property
    def digest(self) -> str:
        return digest_of(self.describe())

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "collection",
            "collection": self._collection,
            "content_field": self._content,
            "fields": self._fields,
            "filter": self._filter,
        }

    def records(self, n_done: int = 0, last_key: Key | None = None) -> Iterator[Record]:
        while page := self._page(last_key):
            for row in page:
                content = row.get(self._content)
                if not self._keeps_content:
                    row.pop(self._content, None)
                row.pop(VECTOR, None)
                yield {CONTENT: content, **row}
            last_key = page[-1][self._key]

    def _page(self, last_key: Key | None) -> list[dict[str, Any]]:
        """Return the rows that follow a key; engines answer a query with a limit in the order of the keys."""
        after = "" if last_key is None else f"{self._key} > {_literal(last_key)}"
        both = " and ".join(f"({condition})" for condition in (self._filter, after) if condition)
        found: list[dict[str, Any]] = list(
            self._client.query(
                self._collection,
                filter=both,
                output_fields=list(dict.fromkeys([self._key, self._content, *self._fields])),
                limit=PAGE_SIZE,
                consistency_level="Strong",
            )
        )
        return sorted(found, key=lambda row: row[self._key])


def _literal(key: Key) -> str:
    return str(key) if isinstance(key, int) else json.dumps(key, ensure_ascii=False)
