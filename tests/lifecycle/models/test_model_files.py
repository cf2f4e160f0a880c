from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import Corruption
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, register_embedder
from roost.lifecycle.models.model_files import load_model, save_model


@register_embedder
class Scaled(Embedder):
    """Multiplies by a number that it keeps in a folder of its own."""

    kind = "test-scaled"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @property
    def dim(self) -> int:
        return 2

    @property
    def fingerprint(self) -> str:
        return f"sha256:{self.factor}"

    def embed(self, batch: Any) -> FloatArray:
        return np.asarray(batch, dtype=np.float32) * np.float32(self.factor)

    def save(self, directory: Path) -> None:
        (directory / "weights").mkdir()
        (directory / "weights" / "factor.txt").write_text(str(self.factor))

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Scaled:
        return cls(float((directory / "weights" / "factor.txt").read_text()))


def test_a_model_may_have_folders_and_every_file_is_checked(tmp_path: Path) -> None:
    files = save_model(tmp_path, "scaled", Scaled(2.0))
    assert load_model(tmp_path, files).fingerprint == Scaled(2.0).fingerprint
    (tmp_path / files.path / "weights" / "factor.txt").write_text("3.0")
    with pytest.raises(Corruption, match=r"factor\.txt is not what was saved"):
        load_model(tmp_path, files)


@pytest.mark.parametrize("path", ["../outside", "models/../../outside", "/etc"])
def test_a_model_outside_the_artifacts_is_not_opened(tmp_path: Path, path: str) -> None:
    artifacts = tmp_path / "artifacts"
    files = save_model(artifacts, "scaled", Scaled(2.0))
    (artifacts / files.path).rename(tmp_path / "outside")
    with pytest.raises(Corruption, match="outside"):
        load_model(artifacts, replace(files, path=path))
