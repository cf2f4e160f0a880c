"""An embedder around another one: the same vectors by another way, stored with the one inside."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any

from roost.errors import Corruption
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.model import model_class

_INNER, _CONFIGURATION = "inner", "wrapper.json"


class Wrapped(Embedder):
    """What embedders around another one share. Fingerprint and length are those of the one inside."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    @property
    def trusted(self) -> Collection[str]:
        """What was trusted to open the one inside."""
        found: Collection[str] = getattr(self.embedder, "trusted", ())
        return found

    @property
    def dim(self) -> int:
        return self.embedder.dim

    @property
    def fingerprint(self) -> str:
        return self.embedder.fingerprint

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return the options by which the wrapper is made again; JSON can hold them."""

    def save(self, directory: Path) -> None:
        inner = directory / _INNER
        inner.mkdir()
        self.embedder.save(inner)
        content = {"kind": self.embedder.kind, "options": self.options()}
        (directory / _CONFIGURATION).write_text(json.dumps(content, indent=2, sort_keys=True))

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Embedder:
        try:
            content = json.loads((directory / _CONFIGURATION).read_text())
            kind, options = content["kind"], dict(content["options"])
        except (ValueError, KeyError, TypeError) as error:
            raise Corruption(f"the description of the model in {directory} cannot be read: {error}") from error
        inner = model_class(kind).load(directory / _INNER, trusted)
        if not isinstance(inner, Embedder):
            raise Corruption(f"the model in {directory / _INNER} gives no vectors")
        return cls(inner, **options)
