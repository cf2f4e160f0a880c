"""The message of a mistake in a filter expression: the expression with the place marked beneath."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from roost.engine.filter.tree import Fault
from roost.errors import InvalidFilter

EXCERPT_WIDTH = 80
"""Characters of a long expression that are shown around the place."""

_ELLIPSIS = "..."


def invalid_filter(text: str, fault: Fault) -> InvalidFilter:
    """Return the error of a fault in `text`, for example:

    ```
    invalid filter: unknown field 'agee'; did you mean 'age'?
      agee > 3
      ^^^^
    ```
    """
    start = min(fault.span.start, len(text))
    end = max(min(fault.span.end, len(text)), start + 1)
    first, last = 0, len(text)
    if last > EXCERPT_WIDTH:
        first = max(0, min(start - EXCERPT_WIDTH // 2, last - EXCERPT_WIDTH))
        last = min(last, first + EXCERPT_WIDTH)
    # One character for each, so that the carets stay beneath the place.
    shown = "".join(c if c.isprintable() else " " for c in text[first:last])
    head = _ELLIPSIS if first else ""
    tail = _ELLIPSIS if last < len(text) else ""
    carets = " " * (len(head) + start - first) + "^" * max(1, min(end, last) - start)
    return InvalidFilter(f"invalid filter: {fault.message}\n  {head}{shown}{tail}\n  {carets}")


def near(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or an empty string."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_folded, n=1)
    return f"; did you mean {by_folded[found[0]]!r}?" if found else ""
