from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.plain import plain


@dataclass(frozen=True)
class Inner:
    state: State
    _hidden: int = 3


@dataclass(frozen=True)
class Described:
    secret: str

    def to_dict(self) -> dict[str, Any]:
        return {"shown": (1, 2)}


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float32(0.5), 0.5),
        (float("nan"), None),
        (float("inf"), None),
        (np.array([[1, 2]]), [[1, 2]]),
        (State.READY, "ready"),
        (Colour.RED, 1),
        (Inner(State.SERVING), {"state": "serving"}),
        (Described("x"), {"shown": [1, 2]}),
        ({3: (Path("a/b"),)}, {"3": ["a/b"]}),
        (datetime(2024, 1, 2, tzinfo=timezone.utc), "2024-01-02T00:00:00+00:00"),
    ],
)
def test_plain_values(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert json.loads(json.dumps(found)) == expected


def test_fields_can_be_hidden_wherever_they_are() -> None:
    hidden = {Inner: frozenset({"state"})}
    assert plain({"a": [Inner(State.SERVING)]}, hidden) == {"a": [{}]}
    assert plain(Described("x"), hidden) == {"shown": [1, 2]}


@pytest.mark.parametrize("value", [object(), Inner, lambda: None])
def test_what_has_no_plain_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no plain form"):
        plain(value)
