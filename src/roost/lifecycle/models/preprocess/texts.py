"""Texts as content."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models.preprocess.base import Batch, Preprocessor


@dataclass(frozen=True)
class Texts(Preprocessor):
    """Checks that content is text, and writes it one way: Unicode's NFC, cut to a length.

    Attributes:
        max_chars: what is longer is cut; None for no limit.
        lowercase: whether capitals are made small.
    """

    name: ClassVar[str] = "texts"
    max_chars: int | None = None
    lowercase: bool = False

    def __post_init__(self) -> None:
        if self.max_chars is not None and self.max_chars < 1:
            raise InvalidArgument(f"max_chars={self.max_chars} leaves nothing of a text")

    def __call__(self, batch: Batch) -> npt.NDArray[np.object_]:
        texts = np.empty(len(batch), dtype=object)
        for row, text in enumerate(batch):
            if not isinstance(text, str):
                raise InvalidData(f"content {row} of the batch is of type {type(text).__name__}; this model takes text")
            normal = unicodedata.normalize("NFC", text)
            texts[row] = (normal.lower() if self.lowercase else normal)[: self.max_chars]
        return texts

    def example(self) -> Batch:
        return ["example"]
