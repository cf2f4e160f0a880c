from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from roost.errors import Corruption, InvalidArgument, InvalidData, UnsafeModel
from roost.lifecycle.models.predictors.base import predict_checked
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.models.preprocess import Columns, Texts
from tests.lifecycle.conftest import Digits


def halved(rows: Any) -> Any:
    return rows / 2


@pytest.fixture(scope="session")
def classifier(digits: Digits) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(
        digits.images[:300], digits.labels[:300]
    )


def test_a_classifier_gives_labels_and_probabilities(classifier: Any, digits: Digits) -> None:
    predictor = SklearnPredictor(classifier)
    made = predict_checked(predictor, list(digits.images[300:309].reshape(9, 8, 8)))
    assert (predictor.task, predictor.classes) == ("classification", tuple(range(10)))
    np.testing.assert_array_equal(made.values, classifier.predict(digits.images[300:309]))
    assert made.probabilities is not None and made.probabilities.shape == (9, 10)
    np.testing.assert_array_equal(made.probabilities.argmax(axis=1), made.values)


def test_rows_that_it_does_not_take_are_bad_data_and_none_give_none(classifier: Any, digits: Digits) -> None:
    predictor = SklearnPredictor(classifier)
    for bad in (digits.images[:3, :32], ["a text"], 5):
        with pytest.raises(InvalidData, match="cannot take these rows"):
            predictor.predict(bad)  # type: ignore[arg-type]
    none = predict_checked(predictor, [])
    assert len(none) == 0 and none.probabilities is not None and none.probabilities.shape == (0, 10)
    regressor = SklearnPredictor(LinearRegression().fit(digits.images[:50], digits.labels[:50]))
    assert len(predict_checked(regressor, [])) == 0


def test_a_classifier_may_give_no_probabilities(digits: Digits) -> None:
    labels = np.where(digits.labels[:200] > 4, "high", "low")
    predictor = SklearnPredictor(LinearSVC().fit(digits.images[:200], labels))
    made = predict_checked(predictor, digits.images[:3])
    assert made.probabilities is None and set(made.values) <= {"high", "low"} == set(predictor.classes or ())


def test_a_regressor_gives_numbers_of_rows_that_are_dictionaries() -> None:
    rows = [{"size": float(size), "kind": kind} for size in range(5) for kind in ("flat", "house")]
    columns = Columns(("size", "kind"), {"kind": ("flat", "house")})
    prices = [3 * row["size"] + (10 if row["kind"] == "house" else 0) for row in rows]  # type: ignore[operator]
    predictor = SklearnPredictor(LinearRegression().fit(columns(rows), prices), preprocess=columns)
    made = predict_checked(predictor, [{"size": 7.0, "kind": "house"}])
    assert (predictor.task, predictor.classes, made.probabilities) == ("regression", None, None)
    assert made.values.tolist() == pytest.approx([31.0])
    with pytest.raises(InvalidData, match="no 'size'"):
        predict_checked(predictor, [{"kind": "house"}])


def test_a_classifier_of_texts() -> None:
    texts = ["good and fine", "fine", "bad and poor", "poor"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["+", "+", "-", "-"])
    predictor = SklearnPredictor(model, preprocess=Texts())
    assert predict_checked(predictor, ["so fine", "so poor"]).values.tolist() == ["+", "-"]


def test_save_and_load_keep_predictions_and_fingerprint(classifier: Any, digits: Digits, tmp_path: Path) -> None:
    predictor = SklearnPredictor(classifier)
    predictor.save(tmp_path)
    loaded = SklearnPredictor.load(tmp_path)
    assert loaded.fingerprint == predictor.fingerprint and repr(loaded) == repr(predictor)
    np.testing.assert_array_equal(
        predict_checked(loaded, digits.images[:9]).probabilities,
        predict_checked(predictor, digits.images[:9]).probabilities,
    )


def test_types_that_are_not_known_to_be_safe_are_refused_by_name(digits: Digits, tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(halved), LinearRegression()).fit(digits.images, digits.labels)
    with pytest.raises(UnsafeModel, match="halved"):
        SklearnPredictor(model)
    name = f"{halved.__module__}.halved"
    SklearnPredictor(model, trusted=[name]).save(tmp_path)
    with pytest.raises(UnsafeModel, match="halved"):
        SklearnPredictor.load(tmp_path)
    assert SklearnPredictor.load(tmp_path, trusted=[name]).task == "regression"


@pytest.mark.parametrize("model", [LogisticRegression(), LinearRegression(), StandardScaler(), object()])
def test_what_is_not_a_fitted_model_is_refused(model: object) -> None:
    with pytest.raises(InvalidArgument, match="fit it first"):
        SklearnPredictor(model)


def test_a_model_of_several_outputs_is_refused(digits: Digits) -> None:
    model = LinearRegression().fit(digits.images[:50], digits.images[:50, :2])
    with pytest.raises(InvalidArgument, match="several outputs"):
        SklearnPredictor(model)


def test_a_damaged_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(b"not a model")
    with pytest.raises(Corruption, match="cannot be read"):
        SklearnPredictor.load(tmp_path)
