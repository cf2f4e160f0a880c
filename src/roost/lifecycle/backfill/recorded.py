"""Opening a source again from what a job has recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roost.errors import InvalidArgument
from roost.lifecycle.backfill.collection import CollectionSource
from roost.lifecycle.backfill.parquet import ParquetSource
from roost.lifecycle.backfill.sources import Source

if TYPE_CHECKING:
    from roost.client import Client


def recorded_source(description: Mapping[str, Any], client: Client) -> Source:
    """Return the source that `Source.describe` described.

    Args:
        client: of the engine that has the collections.
    Raises:
        InvalidArgument: it was made of the caller's own objects; or it is not there any more.
    """
    kind = description.get("kind")
    if kind == "parquet":
        return ParquetSource(
            description["path"],
            key=description["key"],
            content=description["content"],
            columns=description["columns"],
        )
    if kind == "collection":
        return CollectionSource(
            client,
            description["collection"],
            description["content_field"],
            fields=description["fields"],
            filter=description["filter"],
        )
    raise InvalidArgument(f"the records of this job came from {kind or 'nowhere yet'}: pass them to `resume` again")
