"""Whether the functions that a plan names are there, found out before it is kept.

A module that this process has not imported yet is imported in a process that ends with the look. So the first run of
a plan, here and in the process of its recipe, finds the files as they are then, whatever was changed since.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from roost.errors import InvalidArgument
from roost.lifecycle.names import suggestion
from roost.lifecycle.retrain import look, process

LOOK_S = 120.0

_COMMAND = f"import runpy; runpy.run_path({look.__file__!r}, run_name='__main__')"


def check_importable(paths: Iterable[str]) -> list[str]:
    """Look at what a plan names, and return why that cannot be judged here: perhaps it can where the plan is run.

    Raises: InvalidArgument: a module is here and has no function of that name.
    """
    asked = list(paths)
    apart = _seen_apart([path for path in asked if path.partition(":")[0] not in sys.modules])
    notes = []
    for path in asked:
        module, _, name = path.partition(":")
        seen = apart[path] if path in apart else look.look(path)
        if seen["error"] is not None:
            notes.append(f"{path!r} cannot be imported here: {seen['error']}")
        elif not seen["is_there"]:
            said = f"{path!r}: module {module!r} has no function {name!r} ({suggestion(name, seen['functions'])})"
            if path not in apart:
                said += "; if its file was changed since it was imported here, importlib.reload it"
            raise InvalidArgument(said)
    return notes


def _seen_apart(paths: Sequence[str]) -> Mapping[str, look.Seen]:
    """Look at import paths in a process of its own."""
    if not paths:
        return {}
    with tempfile.TemporaryDirectory(prefix="roost-look-") as directory:
        answers = Path(directory) / "answers"
        answers.touch()
        left = "its import ended the process"
        try:
            subprocess.run(
                [sys.executable, "-B", "-c", _COMMAND, str(answers), *paths],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=process.environment(),
                timeout=LOOK_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            left = f"that took longer than {LOOK_S:g} s"
        found = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    missing = look.Seen(error=left, is_there=False, functions=[])
    return dict(zip(paths, [*found, *[missing] * (len(paths) - len(found))], strict=True))
