from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from roost.errors import Corruption, InvalidArgument, InvalidData, UnsafeModel
from roost.lifecycle.models.embedders.base import embed_checked
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.preprocess import Images, Texts
from tests.lifecycle.conftest import Digits


def halved(images: Any) -> Any:
    return images / 2


def test_a_transformer_embeds_content_of_any_shape(digits: Digits) -> None:
    embedder = digits.embedder(4)
    vectors = embed_checked(embedder, digits.images[:5].reshape(5, 8, 8))
    assert vectors.dtype == np.float32 and vectors.shape == (5, 4) == (5, embedder.dim)
    np.testing.assert_array_equal(vectors, embed_checked(embedder, list(digits.images[:5])))


def test_content_that_it_does_not_take_is_bad_data_and_none_gives_none(digits: Digits, tmp_path: Path) -> None:
    embedder = digits.embedder(4)
    embedder.save(tmp_path)
    for one in (embedder, SklearnEmbedder.load(tmp_path)):
        for bad in (digits.images[:3, :32], ["a text"], 5):
            with pytest.raises(InvalidData, match="cannot embed this content"):
                one.embed(bad)  # type: ignore[arg-type]
        assert one.embed([]).shape == (0, 4) == one.embed(digits.images[:0]).shape


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
        "from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder\n"
        "path = Path(sys.argv[1])\n"
        "print(SklearnEmbedder.load(path).fingerprint)\n"
        "print(SklearnEmbedder(sio.load(path / 'model.skops')).fingerprint)\n"
    )
    source = str(Path(__file__).parents[4] / "src")
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


def test_a_pipeline_of_texts_is_an_embedder_of_texts(tmp_path: Path) -> None:
    texts = ["red apple", "green apple", "blue sky", "grey sky"]
    model = make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0)).fit(texts)
    embedder = SklearnEmbedder(model, preprocess=Texts(lowercase=True))
    embedder.save(tmp_path)
    loaded = SklearnEmbedder.load(tmp_path)
    assert loaded.fingerprint == embedder.fingerprint != SklearnEmbedder(model, preprocess=Texts()).fingerprint
    vectors = embed_checked(loaded, ["RED apple", "sky"])
    assert vectors.shape == (2, 2)
    np.testing.assert_allclose(vectors, model.transform(["red apple", "sky"]), rtol=1e-6)
    with pytest.raises(InvalidData, match="this model takes text"):
        embed_checked(loaded, [b"red"])
    with pytest.raises(InvalidArgument, match=r"preprocess=Texts\(\)"):
        SklearnEmbedder(model)


def test_sparse_vectors_become_dense() -> None:
    embedder = SklearnEmbedder(HashingVectorizer(n_features=8), preprocess=Texts())
    assert embedder.dim == 8 and embed_checked(embedder, ["red apple"]).shape == (1, 8)


def test_images_are_resized_on_the_way(digits: Digits) -> None:
    embedder = SklearnEmbedder(PCA(4).fit(digits.images / 16), preprocess=Images(8, 8))
    assert embed_checked(embedder, [np.zeros((20, 30), dtype=np.uint8)]).shape == (1, 4)
    with pytest.raises(InvalidArgument, match="fit it first"):
        SklearnEmbedder(PCA(4).fit(digits.images), preprocess=Images(4, 4))
