"""What commands print: tables for people, JSON for programs, errors on the standard error stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roost.address import without_secrets

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_HASH = re.compile(r"\b(?:sha256:)?([0-9a-f]{12})[0-9a-f]{20,}\b")
_MIN_PROSE_WIDTH = 24
_ANY_WIDTH = 10_000
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
    """Print rows under their headings, or where that is too wide, row by row. No value is broken.

    Args:
        columns: headings; one that ends in `>` is of a column that is set to the right, one that ends in `~` is
            of a column of prose, whose lines may be broken between words.
    """
    cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    names = [column.rstrip(">~") for column in columns]
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column, name, values in zip(columns, names, zip(*cells, strict=True) if cells else columns, strict=True):
        width = max((cell_len(line) for value in values for line in str(value).split("\n")), default=0)
        table.add_column(
            name,
            justify="right" if column.endswith(">") else "left",
            min_width=min(width, _MIN_PROSE_WIDTH) if column.endswith("~") else width,
        )
    for row in cells:
        table.add_row(*row)
    console = stdout()
    if console.measure(table, options=console.options.update(width=_ANY_WIDTH)).minimum <= console.width:
        console.print(table)
    else:
        _print_rows(console, names, cells, title)


def _print_rows(console: Console, names: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> None:
    """Print a line for each value that is not empty, and an empty line between rows."""
    if title is not None:
        console.print(Text(title, style="bold"), soft_wrap=True)
    width = max(map(cell_len, names)) + 2
    for number, row in enumerate(rows):
        if number or title is not None:
            console.print()
        for name, value in zip(names, row, strict=True):
            margin = name.ljust(width)
            for line in value.split("\n") if value else ():
                console.print(Text.assemble((margin, "bold"), line), soft_wrap=True)
                margin = " " * width


def shortened(text: str) -> str:
    """Return a text with the hashes in it cut to 12 digits; --json prints them whole."""
    return _HASH.sub(r"\1", text)


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


def print_plain(value: Any) -> None:
    """Print a result of the lifecycle as JSON."""
    from roost.lifecycle.plain import plain

    print_json(plain(value))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, a line for each that is not empty."""
    shown = {name: _in_words(value) for name, value in facts.items() if value not in (None, "", {}, [], ())}
    width = max(map(cell_len, shown), default=0) + 2
    for name, text in shown.items():
        stdout().print(Text.assemble((name.ljust(width), "bold"), text), soft_wrap=True)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_in_words(inner) for inner in value)
    return str(value)


def say(text: str) -> None:
    """Print a sentence for people."""
    stdout().print(Text(shortened(text)), soft_wrap=True)


def at(moment: str | None) -> str:
    """Return a moment of the store as people read it."""
    return moment[:19].replace("T", " ") if moment else ""
