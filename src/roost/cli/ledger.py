"""`roost ledger`: who changed what, when, and on what evidence."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from roost.cli.output import AsJson, print_json, shortened, stdout
from roost.cli.store import WorkspaceArgument, opened_store

if TYPE_CHECKING:
    from roost.lifecycle.ledger import Entry

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
    for entry in entries:
        _print_entry(entry)


def _print_entry(entry: Entry) -> None:
    """Print an entry: a line of who did what when, and below it why."""
    what = f"{entry.action} {entry.subject}" if entry.endpoint is None else _at(entry.endpoint, entry)
    heading = Text.assemble(
        (f"#{entry.seq}  {what}", "bold"), f"  {entry.at[:19].replace('T', ' ')} UTC  {entry.actor}"
    )
    stdout().print(heading, soft_wrap=True)
    details = {"reason": entry.reason, **entry.evidence} if entry.reason else dict(entry.evidence)
    for name, value in details.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        stdout().print(Text(f"    {name}: {shortened(shown)}"), soft_wrap=True)


def _at(endpoint: str, entry: Entry) -> str:
    return (
        f"{entry.action} {endpoint}" if entry.subject == endpoint else f"{entry.action} {entry.subject} of {endpoint}"
    )
