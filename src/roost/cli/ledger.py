"""`roost ledger`: who changed what, when, and on what evidence."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from roost.cli.output import AsJson, at, print_json, print_plain, print_table, say, shortened, stdout
from roost.cli.workspaces import reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.ledger import Entry

app = typer.Typer(no_args_is_help=True, help="Who changed what, when, and on what evidence.")


_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search` or `search@staging`.")]


@app.command()
@reads
def verify(
    workspace: Administration,
    head: Annotated[
        str | None, typer.Option(help="A head that an earlier run printed; the chain must go through it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no entry was altered, removed or reordered; the exit status is 1 if one was."""
    from roost.lifecycle.ledger import GENESIS

    n_entries = workspace.ledger.verify(head or GENESIS)
    head_hash = workspace.ledger.head[1]
    if as_json:
        print_json({"n_entries": n_entries, "head": head_hash})
    else:
        stdout().print(f"{n_entries} entries, the chain is whole; its head is {head_hash}", soft_wrap=True)


@app.command()
@reads
def show(
    workspace: Administration,
    endpoint: Annotated[str | None, typer.Option(help="Only the entries of this endpoint.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest entries, this many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the entries, oldest first."""
    entries = workspace.ledger.entries(endpoint=endpoint, limit=limit)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    for entry in entries:
        _print_entry(entry)


@app.command("at")
@reads
def show_at(
    workspace: Administration,
    endpoint: _Endpoint,
    moment: Annotated[
        str, typer.Argument(metavar="TIME", help="ISO 8601, as in 2026-01-31T12:00:00+00:00; local without a zone.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say what was in production at a time, and who made it that, why, and on what evidence."""
    workspace.endpoint(endpoint)
    entry = workspace.ledger.why(endpoint, moment)
    if as_json:
        print_plain({"deployment": entry.subject if entry else None, "entry": entry})
    elif entry is None:
        say(f"{endpoint} had no champion yet")
    else:
        say(f"{entry.subject} was in production")
        _print_entry(entry)


@app.command()
@reads
def history(workspace: Administration, endpoint: _Endpoint, as_json: AsJson = False) -> None:
    """List an endpoint's champions one after the other, the present one last."""
    workspace.endpoint(endpoint)
    periods = workspace.ledger.history(endpoint)
    if as_json:
        print_plain(periods)
        return
    print_table(
        ("Deployment", "Model", "Since", "Until", "By", "Reason~"),
        ((p.deployment, p.model or "", at(p.since), at(p.until) or "now", p.actor, p.reason) for p in periods),
    )


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
