"""Imports go down the layers only, and no module or function outgrows its reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCES = Path(__file__).resolve().parent.parent / "src"

LAYERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("roost.errors",), ("roost.address",)),
    (
        (
            "roost.engine.schema",
            "roost.engine.columns",
            "roost.engine.memory",
            "roost.engine.block_file",
            "roost.engine.file_map",
            "roost.engine.plan",
            "roost.engine.trace",
        ),
    ),
    (("roost.engine.storage",), ("roost.engine.index",), ("roost.engine.filter",), ("roost.engine.scalar",)),
    (("roost.engine",),),
    (("roost.client", "roost.embedded", "roost.bulk"),),
    (("roost.lifecycle",),),
    (("roost.workspace",),),
    (("roost.server",),),
    (("roost",),),
    (("roost.demo",), ("roost.testing",)),
    (("roost.cli", "roost.__main__"),),
)
"""From the ground up: each layer's rooms, and the modules of each room. A room may import from the layers
under it and from itself, never from a room beside it. The longest name that fits a module is its room."""

OPTIONAL = frozenset(
    {
        "PIL",
        "alembic",
        "fastapi",
        "httpx",
        "matplotlib",
        "mlflow",
        "onnxruntime",
        "prometheus_client",
        "ray",
        "safetensors",
        "scipy",
        "sklearn",
        "skops",
        "sqlalchemy",
        "tokenizers",
        "uvicorn",
    }
)
"""Libraries of the extras. The core imports none of them; others may import them inside a function."""

CORE_LAYERS = 5

LAZY = frozenset({"roost", "roost.client", "roost.cli"})
"""Where an import may wait until it is needed: `import roost` and `roost --help` stay quick, and a client of a
server loads no engine."""

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60


class Import(NamedTuple):
    target: str
    line: int
    inside_function: bool


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def room_of(module: str) -> tuple[int, int]:
    """Return the numbers of the layer and of the room that a module of Roost belongs to."""
    fits = [
        (len(prefix), (level, place))
        for level, rooms in enumerate(LAYERS)
        for place, room in enumerate(rooms)
        for prefix in room
        if (module == prefix if prefix == "roost" else is_within(module, prefix))
    ]
    if not fits:
        raise ValueError(f"{module} is in no layer: add its package to LAYERS")
    return max(fits)[1]


def imports_of(tree: ast.Module, modules: frozenset[str]) -> Iterator[Import]:
    """Give every import; `from roost.engine import schema` counts as roost.engine.schema where that is a module."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    local = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in modules else base for name in names]
        else:
            continue
        for target in dict.fromkeys(targets):
            yield Import(target, node.lineno, id(node) in local)


def import_faults(module: str, source: str, modules: frozenset[str]) -> list[str]:
    """Return what is wrong with a module's imports."""
    level, place = room_of(module)
    lazy = module in LAZY or is_within(module, "roost.cli")
    faults = []
    for target, line, inside_function in imports_of(ast.parse(source), modules):
        where, top = f"{module}:{line}", target.partition(".")[0]
        if target.startswith("."):
            faults.append(f"{where} imports {target} by a relative name")
        elif top == "roost":
            to_level, to_place = room_of(target)
            if to_level > level:
                faults.append(f"{where} imports {target}, which is above it")
            elif to_level == level and to_place != place:
                faults.append(f"{where} imports {target}, which is beside it")
        elif top in OPTIONAL and level < CORE_LAYERS:
            faults.append(f"{where} imports {target}, which the core does not depend on")
        if inside_function and not lazy and top not in OPTIONAL:
            faults.append(f"{where} imports {target} inside a function")
    return faults


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function, its docstring left out."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def size_faults(module: str, source: str) -> list[str]:
    """Return the module and the functions that are too long. A migration is a list of tables, however long."""
    if ".migrations.versions." in module:
        return []
    n_lines = source.count("\n")
    faults = [f"{module} has {n_lines} lines"] if n_lines > MAX_MODULE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and length_of(node) > MAX_FUNCTION_LINES:
            faults.append(f"{module}:{node.lineno} {node.name} has {length_of(node)} lines")
    return faults


def sources() -> dict[str, str]:
    """Return the text of every module of Roost by the module's name."""
    found = {}
    for path in sorted((SOURCES / "roost").rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def test_imports_go_down_the_layers() -> None:
    found = sources()
    modules = frozenset(found)
    assert [fault for module, source in found.items() for fault in import_faults(module, source, modules)] == []


def test_no_modules_of_the_engine_import_each_other_in_a_circle() -> None:
    found = sources()
    modules = frozenset(name for name in found if is_within(name, "roost.engine"))
    imported = {
        name: {i.target for i in imports_of(ast.parse(found[name]), modules)} & modules - {name} for name in modules
    }
    assert set(TopologicalSorter(imported).static_order()) == modules


def test_modules_and_functions_are_short() -> None:
    assert [fault for module, source in sources().items() for fault in size_faults(module, source)] == []


MODULES = frozenset({"roost.errors", "roost.engine.schema", "roost.engine.filter.parse"})


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("roost.errors", "import roost.client", "roost.errors:1 imports roost.client, which is above it"),
        (
            "roost.engine.index.hnsw",
            "from roost.engine.filter.parse import parse",
            "roost.engine.index.hnsw:1 imports roost.engine.filter.parse, which is beside it",
        ),
        (
            "roost.engine.columns",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from roost.engine import search",
            "roost.engine.columns:3 imports roost.engine, which is above it",
        ),
        (
            "roost.lifecycle.ledger",
            "from roost import connect",
            "roost.lifecycle.ledger:1 imports roost, which is above it",
        ),
        ("roost.lifecycle.ledger", "from . import names", "roost.lifecycle.ledger:1 imports . by a relative name"),
        (
            "roost.engine.search",
            "def f():\n    import faiss",
            "roost.engine.search:2 imports faiss inside a function",
        ),
        (
            "roost.engine.search",
            "import sklearn.cluster",
            "roost.engine.search:1 imports sklearn.cluster, which the core does not depend on",
        ),
    ],
)
def test_the_check_finds_a_bad_import(module: str, source: str, fault: str) -> None:
    assert import_faults(module, source, MODULES) == [fault]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("roost.engine.filter.check", "from roost.engine import schema"),
        ("roost.engine.filter.check", "from roost.engine.filter.parse import parse"),
        ("roost.embedded", "from roost.client import connect\nfrom roost.engine.search import search"),
        ("roost.lifecycle.models.runs", "def f():\n    import mlflow"),
        ("roost.cli.demo", "def f():\n    from roost.demo import run"),
        ("roost.engine.search", "import faiss\nimport numpy as np"),
    ],
)
def test_the_check_passes_a_good_import(module: str, source: str) -> None:
    assert import_faults(module, source, MODULES) == []


def test_the_check_knows_every_package() -> None:
    with pytest.raises(ValueError, match=r"roost\.telepathy is in no layer"):
        room_of("roost.telepathy")


def test_the_check_finds_what_is_too_long() -> None:
    body = "    x = 1\n" * 60
    function = f'def f():\n    """One\n\n    line.\n    """\n{body}'
    assert size_faults("roost.m", function) == ["roost.m:1 f has 61 lines"]
    assert size_faults("roost.m", function.replace("    x = 1\n", "", 1)) == []
    assert size_faults("roost.m", "x = 1\n" * 501) == ["roost.m has 501 lines"]
