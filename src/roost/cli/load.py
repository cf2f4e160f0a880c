"""`roost load`: files into a collection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from roost.cli.database import VECTORS_FOLDER
from roost.cli.output import AsJson, print_json, stderr, stdout
from roost.cli.store import is_workspace


def load(
    vectors: Annotated[str, typer.Argument(help="A database, a workspace, or the URI of a Milvus server.")],
    collection: Annotated[str, typer.Argument(help="The collection, which exists.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help=".parquet, .arrow or .npy files, or a folder of them.")
    ],
    partition: Annotated[str, typer.Option(help="The partition that the rows go to.")] = "",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="FIELD=COLUMN", help="Load this column, as this field; may be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the load is called; by default the files' paths.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin with the first row again.")] = False,
    index: Annotated[bool, typer.Option("--index/--no-index", help="Wait until the rows are indexed.")] = True,
    as_json: AsJson = False,
) -> None:
    """Load many rows; called again after an interruption it goes on after the last stored chunk.

    Several .npy files are columns, called as the files. A Milvus server gets batches, from the first row on.
    """
    from roost.bulk.load import bulk_load
    from roost.client import connect, embedded_path
    from roost.engine.directory import require_database

    folder = embedded_path(vectors)
    if folder is not None:
        folder = Path(folder) / VECTORS_FOLDER if is_workspace(Path(folder)) else Path(folder)
        require_database(folder)
    client = connect(vectors if folder is None else folder)
    try:
        found = bulk_load(
            client,
            collection,
            files[0] if len(files) == 1 else files,
            partition_name=partition,
            columns=_columns(column) if column else None,
            name=name,
            restart=restart,
        )
        if index and found.n_rows:
            with stderr().status("Indexing"):
                client.flush(collection)
    finally:
        client.close()
    if as_json:
        print_json(asdict(found))
        return
    if found.n_resumed and not found.n_rows:
        said = f"{found.n_resumed:,} rows were loaded before; --restart loads them again"
    else:
        earlier = f", after {found.n_resumed:,} of an earlier call" if found.n_resumed else ""
        said = f"{found.n_rows:,} rows loaded in {found.seconds:,.1f} s{earlier}"
    stdout().print(said, soft_wrap=True)


def _columns(given: list[str]) -> dict[str, str]:
    """Return field to column. Raises: InvalidArgument: one has not the form FIELD=COLUMN."""
    from roost.errors import InvalidArgument

    found = {}
    for text in given:
        field, equals, column = text.partition("=")
        if not (field and equals and column):
            raise InvalidArgument(f"--column {text} is not allowed; give FIELD=COLUMN, such as vector=embedding")
        found[field] = column
    return found
