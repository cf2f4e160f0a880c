"""What commands print."""

from __future__ import annotations

import json

import pytest
from rich.text import Text

from roost.cli.output import in_bytes, print_error, print_json, print_table, shortened


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


def test_a_table_that_is_too_wide_is_printed_row_by_row(capsys, monkeypatch):
    rows = [("image_search__pca_v1", "vector: HNSW\nother: FLAT", ""), ("b", "", 3)]
    for columns, is_table in (("60", True), ("30", False)):
        monkeypatch.setenv("COLUMNS", columns)
        print_table(("Collection", "Indexes", "Rows>"), rows, title="All")
        printed = capsys.readouterr().out
        assert ("│" in printed) is is_table
        assert "image_search__pca_v1" in printed
    assert printed == (
        "All\n\nCollection  image_search__pca_v1\nIndexes     vector: HNSW\n            other: FLAT\n"
        "\nCollection  b\nRows        3\n"
    )


def test_prose_is_broken_between_words(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    print_table(("Name", "Description~"), [("value-that-stays", "a description of some words, which has room below")])
    printed = capsys.readouterr().out
    assert "value-that-stays" in printed and "│" in printed
    assert len(printed.splitlines()) > 5


def test_a_table_without_rows(capsys):
    print_table(("Name", "Rows>"), [])
    assert "Name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("sha256:" + "0a" * 32, "0a0a0a0a0a0a"),
        (f'{{"seal": "{"ab" * 16}", "n": 12}}', '{"seal": "abababababab", "n": 12}'),
        ("deadbeef and 123456789012345", "deadbeef and 123456789012345"),
    ],
)
def test_hashes_are_shortened(text, short):
    assert shortened(text) == short
