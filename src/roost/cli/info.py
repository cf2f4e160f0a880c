"""`roost info` and `roost check`: what is in a database, and whether its files are whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from roost.address import without_secrets
from roost.cli.database import (
    CollectionInfo,
    examine,
    read_collections,
    read_server,
    size_on_disk,
    vectors_path,
)
from roost.cli.output import AsJson, in_bytes, print_error, print_json, print_table, stdout
from roost.cli.store import is_workspace, opened_store


def info(
    path: Annotated[str, typer.Argument(help="A database, a workspace, or the URI of a Milvus server.")],
    as_json: AsJson = False,
) -> None:
    """Show the collections of a database or workspace: rows, segments, indexes, size."""
    found = describe(path)
    if as_json:
        print_json({**found, "collections": [asdict(collection) for collection in found["collections"]]})
        return
    title = found["path"] if found["size_bytes"] is None else f"{path}: {in_bytes(found['size_bytes'])}"
    if found["workspace"] is not None:
        counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in found["workspace"].items())
        stdout().print(f"Workspace with {counts}", soft_wrap=True)
    print_table(
        ("Collection", "Aliases", "Rows>", "Deleted>", "Segments>", "Indexes", "Size>"),
        (_row(collection) for collection in found["collections"]),
        title=title,
    )


def check(
    path: Annotated[Path, typer.Argument(help="A database or a workspace.")],
    as_json: AsJson = False,
) -> None:
    """Hold the catalogue, the log and every file against their checksums; the exit status is 1 if one is damaged."""
    found = examine(vectors_path(path))
    if as_json:
        print_json(asdict(found))
    elif not found.damages:
        stdout().print(f"{found.n_files} files and {found.n_records} records of the log, all whole", soft_wrap=True)
    for damage in found.damages:
        print_error(damage)
    if found.damages:
        raise typer.Exit(1)


def describe(path: str) -> dict[str, Any]:
    """Return what is at a path or URI.

    Raises:
        InvalidArgument: it is neither a path nor a server's URI.
        DatabaseNotFound: there is neither a database nor a workspace.
        Corruption: the catalogue is damaged.
        MilvusException: the server cannot be reached, or refuses.
    """
    from roost.client import embedded_path
    from roost.engine.directory import require_database
    from roost.errors import DatabaseNotFound

    folder = embedded_path(path)
    if folder is None:
        shown = without_secrets(path)
        return {"path": shown, "size_bytes": None, "workspace": None, "collections": read_server(path)}
    if not folder.is_dir():
        if folder.exists():
            require_database(folder)
        raise DatabaseNotFound(f"{path} is not there: name the folder of a database or of a workspace")
    workspace = _count_workspace(folder) if is_workspace(folder) else None
    vectors = vectors_path(folder)
    collections = [] if workspace is not None and not vectors.exists() else read_collections(vectors)
    return {"path": path, "size_bytes": size_on_disk(folder), "workspace": workspace, "collections": collections}


def _count_workspace(folder: Path) -> dict[str, int]:
    from roost.cli.endpoint import read_endpoints
    from roost.lifecycle.ledger import Ledger

    with opened_store(str(folder)) as store:
        endpoints = read_endpoints(store)
        return {
            "endpoints": len(endpoints),
            "deployments": sum(len(deployments) for _, deployments in endpoints),
            "ledger_entries": Ledger(store).head[0],
        }


def _row(collection: CollectionInfo) -> tuple[object, ...]:
    name = collection.name if collection.database == "default" else f"{collection.database}.{collection.name}"
    return (
        name,
        ", ".join(collection.aliases),
        "damaged" if collection.n_rows is None else f"{collection.n_rows:,}",
        "" if collection.n_deleted is None else f"{collection.n_deleted:,}",
        "" if collection.n_segments is None else collection.n_segments,
        "\n".join(f"{field}: {index}" for field, index in collection.indexes.items()),
        "" if collection.size_bytes is None else in_bytes(collection.size_bytes),
    )
