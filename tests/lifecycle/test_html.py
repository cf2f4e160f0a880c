from __future__ import annotations

from datetime import datetime

from roost.lifecycle.html import Markup, cell, properties, table


def test_what_users_wrote_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    for made in (
        properties(evil, {evil: evil}),
        table([{evil: evil}], title=evil),
        cell({evil: [evil, (evil,)]}),
    ):
        assert "<script" not in made and "&lt;script&gt;" in made


def test_values_are_written_as_people_read_them() -> None:
    assert cell(None) == cell([]) == cell({}) == "&ndash;"
    assert (cell(True), cell(0.123456), cell(3)) == ("yes", "0.1235", "3")
    assert cell({"recall": 0.5, "on": ("a", "b")}) == "recall=0.5, on=a, b"
    assert cell(datetime(2026, 1, 31, 12, 0, 5, 7)) == "2026-01-31 12:00:05"
    assert cell(Markup("<b>bold</b>")) == "<b>bold</b>"


def test_a_table_has_the_columns_of_all_its_rows_or_those_that_are_asked_for() -> None:
    rows = [{"a": 1}, {"a": 2, "b": 3}]
    assert table(rows).count("<th ") == 2 and table(rows).count("<tr>") == 3
    assert "&ndash;" in table(rows)
    assert table(rows, columns=["b"]).count("<th ") == 1 and ">1<" not in table(rows, columns=["b"])
