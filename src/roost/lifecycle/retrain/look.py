"""A look at the functions that import paths name. It is a program as well, so it imports the standard library alone."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import TypedDict


class Seen(TypedDict):
    """What a look found.

    Attributes:
        error: why the module cannot be imported; None where it can.
        is_there: whether it has a function of that name.
        functions: names of its own functions.
    """

    error: str | None
    is_there: bool
    functions: list[str]


def look(path: str) -> Seen:
    """Import what a path such as "package.module:function" names, and return what is there."""
    module, _, name = path.partition(":")
    try:
        found = import_module(module)
        is_there = callable(getattr(found, name, None))
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        return Seen(error=str(error), is_there=False, functions=[])
    own = [
        one for one, value in vars(found).items() if callable(value) and getattr(value, "__module__", None) == module
    ]
    return Seen(error=None, is_there=is_there, functions=own)


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as answers:
        for asked in sys.argv[2:]:
            print(json.dumps(look(asked)), file=answers, flush=True)
