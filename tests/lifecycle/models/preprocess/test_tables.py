from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models.preprocess import Columns

ROOMS = Columns(("size", "kind", "floor"), {"kind": ("flat", "house")})


def test_columns_are_in_the_declared_order() -> None:
    rows = [{"floor": 2, "kind": "house", "size": 50.5, "colour": "red"}, {"size": 1, "floor": 0, "kind": "flat"}]
    np.testing.assert_array_equal(ROOMS(rows), [[50.5, 0, 1, 2], [1, 1, 0, 0]])
    assert ROOMS([]).shape == (0, 4)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "flat", "floor": 1}, "row 1 has no 'size'"),
        ({"size": None, "kind": "flat", "floor": 1}, "row 1 has no 'size'"),
        ({"size": "50", "kind": "flat", "floor": 1}, "row 1 has '50' as 'size', which is no number"),
        ({"size": [1], "kind": "flat", "floor": 1}, r"row 1 has \[1\] as 'size'"),
        ({"size": 1, "kind": "tent", "floor": 1}, "row 1 has 'tent' as 'kind', which is none of 'flat', 'house'"),
        ({"size": 1, "floor": 1}, "row 1 has None as 'kind'"),
        ({"size": 1, "kind": ["flat"], "floor": 1}, "as 'kind'"),
        ([50.5, "flat", 1], "row 1 is of type list"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_number(row: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        ROOMS([{"size": 1, "kind": "flat", "floor": 1}, row])


def test_missing_values_are_filled_where_that_is_said() -> None:
    filling = Columns(("size", "kind"), {"kind": ("flat",)}, missing=float("nan"))
    made = filling([{}, {"size": 3, "kind": "tent"}])
    assert np.isnan(made[0, 0]) and made[:, 1].tolist() == [0, 0] and made[1, 0] == 3
    with pytest.raises(InvalidData, match="no number"):
        filling([{"size": "3"}])


@pytest.mark.parametrize(
    ("names", "categories", "message"),
    [
        ((), {}, "not one or more different columns"),
        (("a", "a"), {}, "not one or more different columns"),
        (("a",), {"b": ("x",)}, "not in names=: b"),
        (("a",), {"a": ()}, "no values for: a"),
    ],
)
def test_columns_that_are_none_are_refused(names: Any, categories: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Columns(names, categories)
