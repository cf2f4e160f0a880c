from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import (
    DimensionMismatch,
    InvalidData,
    NotFinite,
)
from roost.lifecycle.models.embedders.base import (
    Embedder,
    FloatArray,
    embed_checked,
)
from tests.lifecycle.conftest import Digits


class Scripted(Embedder):
    """Gives what it is told to."""

    kind = "scripted"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @property
    def dim(self) -> int:
        return 2

    @property
    def fingerprint(self) -> str:
        return "sha256:scripted"

    def embed(self, batch: Sequence[Any] | Any) -> FloatArray:
        return self.answer

    def save(self, directory: Path) -> None:
        (directory / "answer.npy").write_bytes(b"")

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Scripted:
        return cls(None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (np.zeros((2, 2)), InvalidData),
        (np.zeros(2), InvalidData),
        ([["a", "b"]], InvalidData),
        (np.zeros((1, 3)), DimensionMismatch),
        (np.array([[np.nan, 0.0]]), NotFinite),
        (np.array([[np.inf, 0.0]]), NotFinite),
    ],
)
def test_what_an_embedder_gives_is_checked(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        embed_checked(Scripted(answer), ["content"])


def test_content_that_does_not_fit_the_model_is_bad_data(digits: Digits) -> None:
    with pytest.raises(InvalidData, match="cannot embed"):
        embed_checked(digits.embedder(4), [np.zeros(63)])
