"""The records that a deployment is filled from, as options of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from roost.cli.values import called

if TYPE_CHECKING:
    from roost.client import Client
    from roost.lifecycle.backfill import Records

ParquetOption: TypeAlias = Annotated[
    str | None, typer.Option("--parquet", metavar="PATH", help="Records: a Parquet file, a folder or a pattern.")
]
KeyOption: TypeAlias = Annotated[str, typer.Option("--key", help="Of Parquet files: the column of the key.")]
ContentOption: TypeAlias = Annotated[
    str, typer.Option("--content", help="Of Parquet files: the column that goes to the model.")
]
CollectionOption: TypeAlias = Annotated[
    str | None, typer.Option("--collection", metavar="NAME", help="Records: a collection that stores the content.")
]
ContentFieldOption: TypeAlias = Annotated[
    str, typer.Option("--content-field", help="Of a collection: the field that goes to the model.")
]
FilterOption: TypeAlias = Annotated[str, typer.Option("--filter", help="Of a collection: only what this matches.")]
RecordsOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--records", metavar="MODULE:FUNCTION", help="Records: a function that gives them; its code is run."),
]
BatchSizeOption: TypeAlias = Annotated[
    int, typer.Option("--batch-size", min=1, help="Records that are embedded and written together.")
]
WorkersOption: TypeAlias = Annotated[int, typer.Option("--workers", min=1, help="Batches that are embedded at once.")]
RunnerOption: TypeAlias = Annotated[str, typer.Option("--runner", help="threads of this process, or processes of ray.")]
RateLimitOption: TypeAlias = Annotated[
    float | None, typer.Option("--rate-limit", help="Records per second; by default as fast as it goes.")
]
VerifyOption: TypeAlias = Annotated[
    int, typer.Option("--verify", min=0, help="Records that are read back and embedded again at the end.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say of the records; the fields are those of the options."""

    parquet: str | None
    key: str
    content: str
    collection: str | None
    content_field: str
    filter: str
    records: str | None

    @property
    def is_given(self) -> bool:
        return any(one is not None for one in (self.parquet, self.collection, self.records))

    def open(self, vectors: Client) -> Records:
        """Return the records.

        Args:
            vectors: the engine that has the collection.
        Raises: InvalidArgument: no source is named, or more than one; or it cannot be opened.
        """
        from roost.errors import InvalidArgument
        from roost.lifecycle.backfill import CollectionSource, ParquetSource

        if sum(one is not None for one in (self.parquet, self.collection, self.records)) != 1:
            raise InvalidArgument("name one source of records: --parquet, --collection or --records")
        if self.parquet is not None:
            return ParquetSource(self.parquet, key=self.key, content=self.content)
        if self.collection is not None:
            return CollectionSource(vectors, self.collection, self.content_field, filter=self.filter)
        found: Records = called(self.records or "")
        return found
