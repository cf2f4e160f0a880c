"""The states that docs/endpoints.md draws are those that the code enforces."""

from __future__ import annotations

import re
from pathlib import Path

from roost.lifecycle.deployments.deployment import _NEXT, State

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "endpoints.md").read_text(encoding="utf-8")
STEPS = {(state.value, following.value) for state, allowed in _NEXT.items() for following in allowed}


def test_the_diagram_draws_the_steps_that_are_allowed() -> None:
    drawn = re.findall(r"^    (\w+) --> (\w+):", PAGE, re.MULTILINE)
    assert set(drawn) == STEPS and len(drawn) == len(STEPS)
    begins = re.findall(r"^    \[\*\] --> (\w+)$", PAGE, re.MULTILINE)
    assert begins == ["draft", "building"]


def test_the_table_names_every_state_and_what_it_may_become() -> None:
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
    table = {state: following for state, following in rows if state in set(State)}
    assert set(table) == {state.value for state in State}
    steps = {(state, following) for state, text in table.items() for following in text.split(", ")}
    assert steps == STEPS
