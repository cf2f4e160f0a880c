"""Features of texts that need no model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

TEXT_FEATURES = ("characters", "words", "word_length", "digits", "upper_case", "other", "not_ascii")
"""The columns of `text_features`."""


def text_features(texts: Iterable[str]) -> npt.NDArray[np.float64]:
    """Return simple features of each text, (n, 7): see TEXT_FEATURES.

    The log of one more than the characters, likewise of the words; characters a word; and the shares of characters
    that are digits, upper case, neither letter nor digit nor space, and outside ASCII.
    """
    rows = []
    for text in texts:
        n, words = max(len(text), 1), text.split()
        rows.append(
            (
                np.log1p(len(text)),
                np.log1p(len(words)),
                sum(map(len, words)) / max(len(words), 1),
                sum(map(str.isdigit, text)) / n,
                sum(map(str.isupper, text)) / n,
                sum(not (c.isalnum() or c.isspace()) for c in text) / n,
                sum(not c.isascii() for c in text) / n,
            )
        )
    return np.array(rows, dtype=np.float64).reshape(-1, len(TEXT_FEATURES))
