"""What commands print."""

from __future__ import annotations

import json

import pytest
from rich.text import Text

from roost.cli.output import in_bytes, print_error, print_json, print_table


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 1024**2, "5.0 MiB"), (3 * 1024**5, "3072.0 TiB")],
)
def test_sizes_carry_their_unit(size_bytes, text):
    assert in_bytes(size_bytes) == text


def test_cells_are_text_and_not_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    print_table(("Name", "Rows>"), [("[red]a[/red]", 1), (Text("b"), 22)])
    printed = capsys.readouterr().out
    assert "[red]a[/red]" in printed
    assert "│    1 │" in printed


def test_json_is_one_document(capsys):
    print_json({"name": "Zürich", "n": [1, 2]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": "Zürich", "n": [1, 2]}
    assert "Zürich" in printed


def test_a_long_error_is_not_folded(capsys):
    print_error("a b " * 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
