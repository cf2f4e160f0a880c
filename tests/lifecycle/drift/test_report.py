from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.drift import (
    TEXT_FEATURES,
    combine,
    make_detector,
    run_detectors,
    text_features,
    training_serving_skew,
)


def test_several_detectors_together(digits: npt.NDArray[Any]) -> None:
    detectors = [make_detector(name, digits[:1200]) for name in ("ks", "norm")]
    report = run_detectors(detectors, digits[1200:1300])
    assert not report.is_drift and report.alarms == ()
    assert report.p_values[0] >= report.results[0].p_value
    changed = run_detectors(detectors, digits[1200:1300] * 1.5, alpha=0.01, subject="queries")
    assert changed.is_drift and [r.name for r in changed.alarms] == ["ks", "norm"]
    assert str(changed).splitlines()[0] == "queries: found by ks, norm (alpha 0.01 for all detectors together)"
    assert len(str(changed).splitlines()) == 3


def test_vectors_and_categories_together(digits: npt.NDArray[Any], digit_classes: npt.NDArray[Any]) -> None:
    vectors = make_detector("mean", digits[:1000]).test(digits[1000:1200])
    classes = make_detector("chi_square", digit_classes[:1000]).test(np.zeros(50, dtype=int))
    report = combine([vectors, classes])
    assert [r.name for r in report.alarms] == ["chi_square"]


def test_nothing_cannot_be_combined(digits: npt.NDArray[Any]) -> None:
    with pytest.raises(InvalidArgument, match="no results"):
        combine([])
    with pytest.raises(InvalidArgument, match="alpha"):
        run_detectors([make_detector("norm", digits)], digits[:50], alpha=2)


def test_serving_that_prepares_its_rows_in_another_way_is_skew(digits: npt.NDArray[Any]) -> None:
    assert not training_serving_skew(digits[:1200], digits[1200:1400]).is_drift
    forgotten = training_serving_skew(digits[:1200], digits[1200:1400] / 16)
    assert forgotten.is_drift and forgotten.subject == "training-serving skew"
    assert str(forgotten).startswith("training-serving skew: found by classifier, mmd, ks")
    with pytest.raises(InvalidArgument, match="no drift detector"):
        training_serving_skew(digits, digits, detectors=["eyes"])


def test_features_of_texts() -> None:
    found = text_features(["", "Two Words", "é1!"])
    assert found.shape == (3, len(TEXT_FEATURES)) and not found[0].any()
    named = dict(zip(TEXT_FEATURES, found[1], strict=True))
    assert named["characters"] == pytest.approx(np.log(10)) and named["words"] == pytest.approx(np.log(3))
    assert named["word_length"] == 4 and named["upper_case"] == pytest.approx(2 / 9)
    last = dict(zip(TEXT_FEATURES, found[2], strict=True))
    assert last["digits"] == last["other"] == last["not_ascii"] == pytest.approx(1 / 3)
    assert text_features([]).shape == (0, len(TEXT_FEATURES))
