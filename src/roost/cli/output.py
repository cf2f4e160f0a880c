"""What commands print: tables for people, JSON for programs, errors on the standard error stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roost.address import without_secrets

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def stdout() -> Console:
    """The console of results."""
    return Console(highlight=False)


def stderr() -> Console:
    """The console of progress and errors."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON, one document on the standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Print rows under their headings; a column whose heading ends in `>` is set to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    stdout().print(table)


def print_error(message: str) -> None:
    """Print what went wrong as one line."""
    stderr().print(Text.assemble(("roost: ", "bold red"), without_secrets(" ".join(message.split()))), soft_wrap=True)


def in_bytes(size_bytes: int) -> str:
    """Return a size with its unit."""
    size = float(size_bytes)
    for unit in _UNITS[:-1]:
        if size < 1024.0:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024.0
    return f"{size:.1f} {_UNITS[-1]}"
