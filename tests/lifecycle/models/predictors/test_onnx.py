from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression

from roost.errors import Corruption, InvalidArgument, InvalidData
from roost.lifecycle.models.predictors.base import predict_checked
from roost.lifecycle.models.predictors.onnx import OnnxPredictor
from roost.lifecycle.models.preprocess import Columns, Scale
from tests.lifecycle.conftest import Digits


def converted(model: Any, digits: Digits, **options: Any) -> bytes:
    content: bytes = to_onnx(
        model, digits.images[:1], options={id(model): options} if options else None
    ).SerializeToString()
    return content


@pytest.fixture(scope="session")
def classifier(digits: Digits) -> Any:
    return LogisticRegression(max_iter=300).fit(digits.images[:300] / 16, digits.labels[:300])


@pytest.fixture(scope="session")
def content(classifier: Any, digits: Digits) -> bytes:
    return converted(classifier, digits, zipmap=False)


def predictor_of(content: bytes, **options: Any) -> OnnxPredictor:
    return OnnxPredictor(content, task="classification", classes=range(10), preprocess=Scale(0.0, 16.0), **options)


def test_a_classifier_predicts_as_the_original(classifier: Any, content: bytes, digits: Digits) -> None:
    made = predict_checked(predictor_of(content), list(digits.images[300:309].reshape(9, 8, 8)))
    np.testing.assert_array_equal(made.values, classifier.predict(digits.images[300:309] / 16))
    expected = classifier.predict_proba(digits.images[300:309] / 16)
    np.testing.assert_allclose(made.probabilities, expected, atol=1e-4)


def test_a_model_is_given_as_a_path(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "given.onnx"
    file.write_bytes(content)
    assert predictor_of(str(file)).fingerprint == predictor_of(content).fingerprint  # type: ignore[arg-type]


def test_probabilities_alone_tell_the_label(content: bytes, digits: Digits) -> None:
    whole = predictor_of(content)
    alone = predictor_of(content)
    alone._values = None
    names = {"values": whole._values, "probabilities": whole._probabilities}
    assert names == {"values": "label", "probabilities": "probabilities"}
    np.testing.assert_array_equal(alone.predict(digits.images[:9]).values, whole.predict(digits.images[:9]).values)
    labels = predictor_of(content, values="label", probabilities="probabilities")
    assert labels.fingerprint == whole.fingerprint


def test_labels_may_be_texts(digits: Digits) -> None:
    model = LogisticRegression(max_iter=300).fit(digits.images[:200], np.where(digits.labels[:200] > 4, "high", "low"))
    predictor = OnnxPredictor(
        converted(model, digits, zipmap=False), task="classification", classes=model.classes_, n_threads=1
    )
    made = predict_checked(predictor, digits.images[:9])
    assert made.values.tolist() == model.predict(digits.images[:9]).tolist()
    assert predictor.classes == ("high", "low")


def test_a_zipmap_leaves_the_labels(classifier: Any, digits: Digits) -> None:
    made = predict_checked(predictor_of(converted(classifier, digits)), digits.images[:9])
    assert made.probabilities is None and made.values.tolist() == classifier.predict(digits.images[:9] / 16).tolist()


def test_a_regressor_gives_numbers(digits: Digits) -> None:
    model = LinearRegression().fit(digits.images[:200, :2], digits.labels[:200])
    content = to_onnx(model, digits.images[:1, :2]).SerializeToString()
    predictor = OnnxPredictor(content, task="regression", preprocess=Columns(("a", "b")))
    made = predict_checked(predictor, [{"a": 1, "b": 2}, {"a": 0, "b": 5}])
    np.testing.assert_allclose(made.values, model.predict([[1, 2], [0, 5]]), rtol=1e-4)
    assert (predictor.classes, made.probabilities, len(predictor.predict([]))) == (None, None, 0)


def test_no_rows_give_no_predictions(content: bytes) -> None:
    made = predict_checked(predictor_of(content), [])
    assert len(made) == 0 and made.probabilities is not None and made.probabilities.shape == (0, 10)


def test_save_and_load_keep_predictions_and_fingerprint(content: bytes, digits: Digits, tmp_path: Path) -> None:
    predictor = predictor_of(content)
    predictor.save(tmp_path)
    loaded = OnnxPredictor.load(tmp_path)
    assert loaded.fingerprint == predictor.fingerprint and loaded.classes == tuple(range(10))
    np.testing.assert_array_equal(
        loaded.predict(digits.images[:9]).probabilities, predictor.predict(digits.images[:9]).probabilities
    )
    other = OnnxPredictor(content, task="classification", classes=range(10, 20))
    assert other.fingerprint != predictor.fingerprint


def test_classes_that_are_not_the_model_s_are_found(content: bytes, digits: Digits) -> None:
    wrong = OnnxPredictor(content, task="classification", classes=("a", "b"))
    with pytest.raises(InvalidData, match="none of its classes"):
        predict_checked(wrong, digits.images[:3])
    wrong._values = None
    with pytest.raises(InvalidData, match="a probability for each of 2 classes"):
        predict_checked(wrong, digits.images[:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "ranking"}, "task='ranking'"),
        ({"task": "classification"}, "classes= are needed"),
        ({"task": "regression", "classes": [1, 2]}, "classes= are needed"),
        ({"task": "regression", "input": "Y"}, "no input 'Y'"),
        ({"task": "regression", "values": "Y"}, "no output 'Y'"),
    ],
)
def test_options_that_do_not_fit_are_refused(content: bytes, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        OnnxPredictor(content, **options)


def test_damage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Corruption, match="cannot be opened"):
        OnnxPredictor(b"junk", task="regression")
    (tmp_path / "configuration.json").write_text("{")
    with pytest.raises(Corruption, match="configuration"):
        OnnxPredictor.load(tmp_path)
