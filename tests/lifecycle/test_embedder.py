from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from roost.errors import (
    Corruption,
    DimensionMismatch,
    InvalidArgument,
    InvalidData,
    MissingDependency,
    NotFinite,
    UnsafeModel,
)
from roost.lifecycle.embedder import (
    Embedder,
    FloatArray,
    SklearnEmbedder,
    embed_checked,
    embedder_class,
    register_embedder,
)

from .conftest import Digits


def halved(images: Any) -> Any:
    return images / 2


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


def test_a_transformer_embeds_content_of_any_shape(digits: Digits) -> None:
    embedder = digits.embedder(4)
    vectors = embed_checked(embedder, digits.images[:5].reshape(5, 8, 8))
    assert vectors.dtype == np.float32 and vectors.shape == (5, 4) == (5, embedder.dim)
    np.testing.assert_array_equal(vectors, embed_checked(embedder, list(digits.images[:5])))


def test_save_and_load_keep_vectors_and_fingerprint(digits: Digits, tmp_path: Path) -> None:
    embedder = digits.embedder(4)
    embedder.save(tmp_path)
    loaded = SklearnEmbedder.load(tmp_path)
    assert loaded.fingerprint == embedder.fingerprint
    np.testing.assert_array_equal(loaded.embed(digits.images[:9]), embedder.embed(digits.images[:9]))


def test_the_fingerprint_names_the_model_and_not_its_file(digits: Digits) -> None:
    model = PCA(4, svd_solver="full").fit(digits.images)
    assert SklearnEmbedder(model).fingerprint == SklearnEmbedder(model).fingerprint
    assert SklearnEmbedder(model).fingerprint.startswith("sha256:")
    changed = PCA(4, svd_solver="full").fit(digits.images)
    changed.mean_ = changed.mean_ + 1e-9
    assert SklearnEmbedder(changed).fingerprint != SklearnEmbedder(model).fingerprint


def test_the_fingerprint_is_the_same_in_another_process(digits: Digits, tmp_path: Path) -> None:
    embedder = digits.embedder(4)
    embedder.save(tmp_path)
    program = (
        "import sys, skops.io as sio\n"
        "from pathlib import Path\n"
        "from roost.lifecycle.embedder import SklearnEmbedder\n"
        "path = Path(sys.argv[1])\n"
        "print(SklearnEmbedder.load(path).fingerprint)\n"
        "print(SklearnEmbedder(sio.load(path / 'model.skops')).fingerprint)\n"
    )
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [embedder.fingerprint] * 2


def test_types_that_are_not_known_to_be_safe_are_refused_by_name(digits: Digits, tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(halved), PCA(4)).fit(digits.images)
    with pytest.raises(UnsafeModel, match=r"halved.*trusted=\["):
        SklearnEmbedder(model)
    name = f"{halved.__module__}.halved"
    trusting = SklearnEmbedder(model, trusted=[name])
    trusting.save(tmp_path)
    with pytest.raises(UnsafeModel, match="halved"):
        SklearnEmbedder.load(tmp_path)
    assert SklearnEmbedder.load(tmp_path, trusted=[name]).fingerprint == trusting.fingerprint


def test_a_damaged_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(b"not a model")
    with pytest.raises(Corruption, match="cannot be read"):
        SklearnEmbedder.load(tmp_path)


@pytest.mark.parametrize("model", [PCA(4), object()])
def test_what_is_not_a_fitted_transformer_is_refused(model: object) -> None:
    with pytest.raises(InvalidArgument, match="fit it first"):
        SklearnEmbedder(model)


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


def test_kinds_are_registered_once() -> None:
    assert register_embedder(Scripted) is Scripted
    assert embedder_class("scripted") is Scripted

    class Other(Scripted):
        pass

    with pytest.raises(InvalidArgument, match="Scripted already"):
        register_embedder(Other)
    with pytest.raises(MissingDependency, match="'unheard-of'"):
        embedder_class("unheard-of")
