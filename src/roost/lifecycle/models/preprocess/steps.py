"""The steps of preprocessing that belong to a model: applied, stored, and part of its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from roost.errors import Corruption, InvalidArgument
from roost.lifecycle.models.preprocess.base import Batch, Preprocessor, Scale
from roost.lifecycle.models.preprocess.images import Images
from roost.lifecycle.models.preprocess.tables import Columns
from roost.lifecycle.models.preprocess.texts import Texts

Steps: TypeAlias = Preprocessor | Sequence[Preprocessor]

_FILE = "preprocess.json"
_KNOWN: dict[str, type[Preprocessor]] = {step.name: step for step in (Columns, Images, Scale, Texts)}


class Preprocessing:
    """The steps before a model, in their order; none leaves content as it is."""

    def __init__(self, steps: Steps = ()) -> None:
        """Take the steps.

        Raises: InvalidArgument: one of them is not a step that can be stored.
        """
        self.steps = (steps,) if isinstance(steps, Preprocessor) else tuple(steps)
        for step in self.steps:
            if _KNOWN.get(getattr(step, "name", "")) is not type(step):
                known = ", ".join(sorted(kind.__name__ for kind in _KNOWN.values()))
                raise InvalidArgument(f"{step!r} is not a step of preprocessing; there are: {known}")

    def __call__(self, batch: Batch) -> Batch:
        for step in self.steps:
            batch = step(batch)
        return batch

    def __bool__(self) -> bool:
        return bool(self.steps)

    def example(self) -> Batch | None:
        """Return a batch of one piece of content, before the steps; None where only the data can say."""
        return self.steps[0].example() if self.steps else None

    def fingerprint(self, model: str) -> str:
        """Return the fingerprint of a model with these steps before it; the model's own without any."""
        if not self.steps:
            return model
        digest = hashlib.sha256(f"{model}\n{self._text()}".encode()).hexdigest()
        return f"sha256:{digest}"

    def save(self, directory: Path) -> None:
        """Write the steps into a model's directory, where there are any."""
        if self.steps:
            (directory / _FILE).write_text(self._text())

    @classmethod
    def load(cls, directory: Path) -> Preprocessing:
        """Return the steps of a model's directory.

        Raises: Corruption: the file cannot be read, or holds other steps than there are.
        """
        file = directory / _FILE
        if not file.exists():
            return cls()
        try:
            return cls([_step(raw) for raw in json.loads(file.read_text())])
        except (ValueError, KeyError, TypeError, InvalidArgument) as error:
            raise Corruption(f"the steps of preprocessing in {file} cannot be read: {error}") from error

    def _text(self) -> str:
        return json.dumps([step.configuration() for step in self.steps], sort_keys=True)


def _step(raw: dict[str, Any]) -> Preprocessor:
    return _KNOWN[raw.pop("name")](**raw)
