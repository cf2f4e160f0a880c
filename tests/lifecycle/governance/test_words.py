"""The page about governance names every action that the ledger records, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from roost.lifecycle.governance.permits import APPROVAL
from roost.lifecycle.governance.requests import DECISIONS, REVIEW
from roost.lifecycle.ledger import CHAMPION_ACTIONS

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted((ROOT / "src" / "roost" / "lifecycle").rglob("*.py"))
ACTION = 2
"""Its place among the arguments of `ledger.append`."""

OF_REQUESTS = {f"{kind}.{said.replace(' ', '_')}" for kind in (APPROVAL, REVIEW) for said in ("request", *DECISIONS)}
"""`requests.py` puts these words together while it runs."""


@dataclass(frozen=True)
class Call:
    """A call, and where it is."""

    call: ast.Call
    within: ast.FunctionDef
    path: Path


def calls() -> Iterator[Call]:
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                yield from (Call(node, function, path) for node in ast.walk(function) if isinstance(node, ast.Call))


CALLS = list(calls())


def words(value: ast.expr, at: Call) -> Iterator[str]:
    """Give what an expression can be: a constant, a choice, a text with a variable in it, a variable, a parameter."""
    if isinstance(value, ast.Constant):
        yield str(value.value)
    elif isinstance(value, ast.IfExp):
        yield from words(value.body, at)
        yield from words(value.orelse, at)
    elif isinstance(value, ast.JoinedStr):
        yield from map("".join, product(*(list(words(part, at)) for part in value.values)))
    elif isinstance(value, ast.FormattedValue):
        yield from words(value.value, at)
    elif isinstance(value, ast.Name):
        yield from words_of_variable(value.id, at)
    elif ast.unparse(value) == "change.action":
        yield from CHAMPION_ACTIONS
    else:
        raise AssertionError(f"{at.path.name}, {at.within.name}: what {ast.unparse(value)} is cannot be told")


def words_of_variable(name: str, at: Call) -> Iterator[str]:
    for node in ast.walk(at.within):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield from words(node.value, at)
    parameters = [one.arg for one in at.within.args.args if one.arg not in ("self", "cls")]
    if name not in parameters:
        return
    for one in CALLS:
        is_it = ast.unparse(one.call.func).rpartition(".")[2] == at.within.name
        if is_it and (one.path == at.path or not at.within.name.startswith("_")):
            given = {key.arg: key.value for key in one.call.keywords}
            yield from words(given.get(name) or one.call.args[parameters.index(name)], one)


def test_the_page_names_every_action_of_the_ledger() -> None:
    appended = [one for one in CALLS if ast.unparse(one.call.func) == "ledger.append"]
    assert len(appended) > 20
    recorded = {
        word for one in appended if one.path.name != "requests.py" for word in words(one.call.args[ACTION], one)
    }
    page = (ROOT / "docs" / "governance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page.split("## What the ledger records")[1].split("\n## ")[0], re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}
    assert named == recorded | OF_REQUESTS | {"comment"}
