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

`roost COMMAND --help` says the same on the terminal. Results go to the standard output, progress and errors to the
standard error stream, and passwords in addresses to neither. A command ends with one of these:

| status | |
|---|---|
| 0 | It worked. |
| 1 | It did not: what is named is not there, is taken or in the way, is not permitted, or failed. Or it worked and \
what was looked at is bad: debt of `debt --fail-on`, an alert of `monitor check`, a broken promise of `demo`. |
| 2 | It was called wrongly: an option is unknown or missing, or a value is one that is never allowed. |
| 130 | Ctrl-C ended it. |

Where a command failed, a line on the standard error stream begins with `roost: ` and there is no result on the standard
output. So a script knows bad from failed: `debt --fail-on` and `monitor check` that end with 1 and found something bad
have printed it as their result.

Commands that only look open a database or a workspace for reading; those that register models, change roles, approvals,
comments, cards and plans, or pause a backfill, change the store alone. A running application is in the way of neither.
What needs the vectors of a workspace that is a folder (`deploy`, `promote`, `livetest start` and others) has to be
their only user: where `roost serve` has them open, [ask it over REST](rest.md), and another application does it itself.
Vectors on a Milvus server can be used by many.

Options of many commands are not repeated below:

| | |
|---|---|
| `WORKSPACE` | The workspace's folder; or the URI of a Milvus server, with `--store`; to look, a database URL. |
| `--json` | Print JSON instead of text. |
| `--store STORE` | With a server as WORKSPACE: the folder or database URL of everything but the vectors. |
| `--artifacts FOLDER` | With a database URL: the folder of the models' files. |
| `--actor NAME` | Who is acting, for the ledger. By default the system's user. |

A token for the server is read from the environment variable `ROOST_TOKEN`; a database of it is named by the path of
its URI, as in `http://host:19530/prod`. `MODULE:FUNCTION` names a function of an installed package or of the present
folder; it is code that runs with your rights.

## A new model, from registration to promotion

With functions `embedder` and `records` in `shop_models.py`:

    roost model register ./shop digits --from shop_models:embedder --metric precision=0.94 --owner ann
    roost endpoint create ./shop image-search
    roost deploy ./shop image-search digits/1 --records shop_models:records
    roost promote ./shop image-search digits-v1 --reason "the first model"

A better one comes, and its vectors of a Parquet file's rows:

    roost model register ./shop digits --onnx better.onnx
    roost backfill estimate ./shop image-search digits/2 --parquet images.parquet --price-per-hour 1.2
    roost deploy ./shop image-search digits/2 --parquet images.parquet       # Ctrl-C? it says how to go on
    roost livetest power --effect 0.05
    roost livetest start ./shop image-search digits-v2 --guardrail "error_rate <= 0.01" --deadline 7d
    roost livetest status ./shop image-search
    roost promote ./shop image-search digits-v2 --reason "won the live test" --guardrail "error_rate <= 0.01"
    roost rollback ./shop image-search --reason "users complain"
    roost ledger at ./shop image-search 2026-01-31T12:00:00+00:00
    roost debt ./shop --fail-on high
"""

COMMON = frozenset({"store", "artifacts", "actor", "as_json"})
"""Parameters that the head explains once."""


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
        if parameter.name in COMMON:
            continue
        if parameter.param_type_name == "argument":
            arguments.append(name if parameter.required or name.startswith("[") else f"[{name}]")
            if parameter.name != "workspace":
                rows.append((name.strip("[]"), parameter.help))
        elif parameter.is_flag:
            rows.append((", ".join((parameter.opts[0], *parameter.secondary_opts)), parameter.help))
        else:
            default = getattr(parameter.default, "value", parameter.default)
            rows.append(
                (f"{parameter.opts[0]} {name}", f"{parameter.help} Default: {default}." if default else parameter.help)
            )
    text = [f"## {words}", "", " ".join(["   ", words, *arguments, "[OPTIONS]"]), "", command.help.strip(), ""]
    table = ["| | |", "|---|---|", *(f"| `{name}` | {help} |" for name, help in rows)] if rows else []
    return "\n".join([*text, *table]).rstrip()


def page() -> str:
    """Return the page as it should be."""
    root = typer.main.get_command(app)
    return "\n\n".join([HEAD.rstrip(), *(section(*found) for found in commands(root, ("roost",)))]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
