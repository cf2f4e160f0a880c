from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.models.signature import content_type, signature_of
from tests.lifecycle.conftest import Digits


def test_an_example_tells_the_input_and_the_model_the_output(digits: Digits) -> None:
    embedder = digits.embedder(4)
    assert signature_of(embedder, digits.images[:2]) == {
        "input": {"type": "float32", "shape": [None, 64]},
        "output": {"type": "float32", "shape": [None, 4]},
    }
    assert signature_of(embedder) == {"output": {"type": "float32", "shape": [None, 4]}}
    model = LogisticRegression(max_iter=300).fit(digits.images[:100], digits.labels[:100] > 4)
    made = signature_of(SklearnPredictor(model), digits.images[:1])
    assert made["output"] == {"type": "bool", "shape": [None], "classes": [False, True]}


def test_a_signature_that_is_given_is_kept(digits: Digits) -> None:
    given = {"input": {"type": "text"}, "output": {"type": "float32", "shape": [None, 4]}}
    assert signature_of(digits.embedder(4), given) == given
    with pytest.raises(InvalidArgument, match="not a JSON value"):
        signature_of(digits.embedder(4), {"input": object()})


def test_an_example_that_the_model_does_not_take_is_refused(digits: Digits) -> None:
    with pytest.raises(InvalidData, match="cannot embed"):
        signature_of(digits.embedder(4), np.zeros((1, 63)))
    with pytest.raises(InvalidArgument, match="empty batch"):
        signature_of(digits.embedder(4), [])


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (np.zeros((2, 8, 8), dtype=np.uint8), {"type": "uint8", "shape": [None, 8, 8]}),
        ([np.zeros((8, 8)), np.zeros((8, 8))], {"type": "float64", "shape": [None, 8, 8]}),
        ([np.zeros((8, 8)), np.zeros((4, 4))], {"type": "float64", "shape": [None, None, None]}),
        ([[1.0, 2.0]], {"type": "float64", "shape": [None, 2]}),
        (["a", "b"], {"type": "text", "shape": [None]}),
        (np.array(["a", "b"]), {"type": "text", "shape": [None]}),
        ([Path("a.png")], {"type": "path", "shape": [None]}),
        ([1, 2], {"type": "int", "shape": [None]}),
        ([{"a": 1, "b": None}, {"b": "x"}], {"type": "row", "columns": {"a": "int", "b": "text"}}),
    ],
)
def test_the_type_of_content(batch: Any, expected: dict[str, Any]) -> None:
    assert content_type(batch) == expected
