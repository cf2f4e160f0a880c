"""Write docs/cli.md from the help texts of the commands: python .ci/cli_docs.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from roost.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """\
# Command line

`roost COMMAND --help` says the same on the terminal. A command ends with status 0 where it worked, 1 where it did not,
2 where it was called wrongly, and 130 where Ctrl-C ended it. Results go to the standard output, progress and errors to
the standard error stream, and passwords in addresses to neither. What looks into a database or a workspace opens it
for reading, so a running application is not in the way.
"""


def commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Give every command below a group, with the words that call it."""
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from commands(child, (*words, name))
        else:
            yield " ".join((*words, name)), child


def section(words: str, command: Any) -> str:
    rows, arguments = [], []
    for parameter in command.params:
        name = parameter.metavar or parameter.name.upper()
        if parameter.param_type_name == "argument":
            arguments.append(name if parameter.required or name.startswith("[") else f"[{name}]")
            rows.append((name.strip("[]"), parameter.help))
        elif parameter.is_flag:
            rows.append((parameter.opts[0], parameter.help))
        else:
            default = getattr(parameter.default, "value", parameter.default)
            rows.append(
                (f"{parameter.opts[0]} {name}", f"{parameter.help} Default: {default}." if default else parameter.help)
            )
    text = [f"## {words}", "", " ".join(["   ", words, *arguments, "[OPTIONS]"]), "", command.help.strip(), ""]
    return "\n".join([*text, "| | |", "|---|---|", *(f"| `{name}` | {help} |" for name, help in rows)])


def page() -> str:
    """Return the page as it should be."""
    root = typer.main.get_command(app)
    return "\n\n".join([HEAD.rstrip(), *(section(*found) for found in commands(root, ("roost",)))]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
