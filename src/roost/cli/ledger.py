"""`roost ledger`: who changed what, when, and on what evidence."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from roost.cli.output import AsJson, print_json, print_table, stdout
from roost.cli.store import WorkspaceArgument, opened_store

app = typer.Typer(no_args_is_help=True, help="Who changed what, when, and on what evidence.")


@app.command()
def verify(
    workspace: WorkspaceArgument,
    head: Annotated[
        str | None, typer.Option(help="A head that an earlier run printed; the chain must go through it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no entry was altered, removed or reordered; the exit status is 1 if one was."""
    with opened_store(workspace) as store:
        from roost.lifecycle.ledger import GENESIS, Ledger

        ledger = Ledger(store)
        n_entries = ledger.verify(head or GENESIS)
        head_hash = ledger.head[1]
    if as_json:
        print_json({"n_entries": n_entries, "head": head_hash})
    else:
        stdout().print(f"{n_entries} entries, the chain is whole; its head is {head_hash}", soft_wrap=True)


@app.command()
def show(
    workspace: WorkspaceArgument,
    endpoint: Annotated[str | None, typer.Option(help="Only the entries of this endpoint.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest entries, this many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the entries, oldest first."""
    with opened_store(workspace) as store:
        from roost.lifecycle.ledger import Ledger

        entries = Ledger(store).entries(endpoint=endpoint, limit=limit)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    print_table(
        ("#>", "Time (UTC)", "Actor", "Action", "Endpoint", "Subject", "Reason", "Evidence"),
        (
            (
                entry.seq,
                entry.at[:19].replace("T", " "),
                entry.actor,
                entry.action,
                entry.endpoint or "",
                entry.subject,
                entry.reason,
                json.dumps(entry.evidence) if entry.evidence else "",
            )
            for entry in entries
        ),
    )
