"""Texts as the numbers that a language model reads, by a `tokenizer.json` file of Hugging Face's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption, InvalidArgument, InvalidData, MissingDependency


class Tokens:
    """A tokenizer. It may be used from any number of threads at once."""

    def __init__(self, content: bytes, max_tokens: int) -> None:
        """Open a tokenizer.

        Args:
            content: of a `tokenizer.json`.
            max_tokens: what is longer is cut.
        Raises:
            Corruption: the content is not a tokenizer's.
            MissingDependency: the library `tokenizers` is not installed.
        """
        if max_tokens < 1:
            raise InvalidArgument(f"max_tokens={max_tokens} leaves nothing of a text")
        self.content = content
        self.max_tokens = max_tokens
        library = _library()
        try:
            self._tokenizer = library.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises plain Exception
            raise Corruption(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding()

    def __call__(self, texts: Sequence[Any] | npt.NDArray[Any]) -> Mapping[str, npt.NDArray[np.int64]]:
        """Return `input_ids`, `attention_mask` and `token_type_ids`, each (n, n_tokens), filled up to the longest.

        Raises: InvalidData: the content is not text.
        """
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidData(f"content {row} of the batch is of type {type(text).__name__}; this model takes text")
        encoded = self._tokenizer.encode_batch(list(texts))
        return {
            "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
            "token_type_ids": np.array([one.type_ids for one in encoded], dtype=np.int64),
        }


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingDependency(
            "text models with a tokenizer need the library tokenizers: pip install 'roost[onnx]'"
        ) from error
    return tokenizers
