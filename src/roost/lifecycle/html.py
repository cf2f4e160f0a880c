"""HTML of objects that a notebook shows: small tables, every value escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

_LEFT = "text-align:left"


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def cell(value: object) -> Markup:
    """Return a value as HTML: numbers short, sequences with commas, None as a dash."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup("&ndash;")
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, float):
        return Markup(escape(f"{value:.4g}"))
    if isinstance(value, datetime):
        return Markup(escape(value.isoformat(sep=" ", timespec="seconds")))
    if isinstance(value, Mapping):
        return Markup(", ".join(f"{escape(str(key))}={cell(inner)}" for key, inner in value.items()) or "&ndash;")
    if isinstance(value, (list, tuple, set, frozenset)):
        return Markup(", ".join(cell(inner) for inner in value) or "&ndash;")
    return Markup(escape(str(value)))


def properties(title: str, values: Mapping[str, object]) -> Markup:
    """Return a table of two columns: names and values."""
    rows = "".join(
        f'<tr><th style="{_LEFT}">{escape(name)}</th><td style="{_LEFT}">{cell(value)}</td></tr>'
        for name, value in values.items()
    )
    return Markup(f'<table><caption style="{_LEFT}"><b>{escape(title)}</b></caption><tbody>{rows}</tbody></table>')


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str] | None = None, title: str = "") -> Markup:
    """Return a table with one row a mapping.

    Args:
        columns: which keys, in which order; by default those of all rows in the order of their appearance.
    """
    listed = list(rows)
    names = list(columns) if columns is not None else list(dict.fromkeys(key for row in listed for key in row))
    caption = f'<caption style="{_LEFT}"><b>{escape(title)}</b></caption>' if title else ""
    head = "".join(f'<th style="{_LEFT}">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_LEFT}">{cell(row.get(name))}</td>' for name in names) + "</tr>"
        for row in listed
    )
    return Markup(f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
