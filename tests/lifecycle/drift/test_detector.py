"""What every detector promises."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from roost.errors import AlreadyExists, DimensionMismatch, InvalidArgument, InvalidData, MissingDependency, NotFinite
from roost.lifecycle.drift import MIN_ROWS, Detector, Mmd, detector_names, make_detector, register_detector

VECTORS = tuple(name for name in detector_names() if name != "chi_square")


@pytest.fixture(params=detector_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rows(name: str, digits: npt.NDArray[Any], digit_classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return digit_classes if name == "chi_square" else digits


def spoiled(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows // 5 if rows.ndim == 1 else rows + 5.0


def test_a_changed_window_is_found_and_an_unchanged_one_is_not(name: str, rows: npt.NDArray[Any]) -> None:
    detector = make_detector(name, rows[:1200])
    same, changed = detector.test(rows[1200:1300]), detector.test(spoiled(rows[1200:1300]))
    assert not same.is_drift and 0.05 < same.p_value <= 1
    assert changed.is_drift and 0 <= changed.p_value <= 0.002
    assert changed.statistic > same.statistic
    assert (same.name, same.alpha, same.n_window) == (name, 0.05, 100)


def test_the_parts_of_the_reference_add_up(name: str, rows: npt.NDArray[Any]) -> None:
    detector = make_detector(name, rows[:400])
    assert detector.test(rows[1200:1300]).n_reference == detector.n_reference
    assert detector.n_reference == 400 - int(400 * detector.share_set_apart)


def test_the_same_window_gives_the_same_result_from_any_thread(name: str, rows: npt.NDArray[Any]) -> None:
    detector, again = make_detector(name, rows[:400]), make_detector(name, rows[:400])
    windows = [rows[start : start + 50] for start in range(600, 1000, 50)]
    alone = [detector.test(window) for window in windows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(again.test, windows)) == alone
    assert len({result.p_value for result in alone}) > 1


def test_neither_reference_nor_window_is_changed_or_kept(name: str, rows: npt.NDArray[Any]) -> None:
    reference, window = rows[:400].copy(), rows[400:500].copy()
    detector = make_detector(name, reference)
    before = detector.test(window)
    assert (reference == rows[:400]).all() and (window == rows[400:500]).all()
    reference[:] = 0
    assert detector.test(window) == before


def test_large_references_and_windows_are_thinned_out(name: str, rows: npt.NDArray[Any]) -> None:
    detector = make_detector(name, rows, max_reference=200, max_window=30)
    result = detector.test(rows[:500])
    assert result.n_reference <= 200 and result.n_window == 30


def test_results_read_well_and_their_details_are_plain(name: str, rows: npt.NDArray[Any]) -> None:
    detector = make_detector(name, rows[:400], alpha=0.01)
    result = detector.test(rows[400:450])
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["details"] == dict(result.details) and plain["p_value"] == result.p_value and len(plain) == 8
    assert repr(detector).endswith("reference rows, alpha 0.01)")
    assert str(result).startswith(f"{name}: no drift (statistic ")
    with pytest.raises(TypeError):
        result.details["more"] = 1  # type: ignore[index]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 5, float("nan")])
def test_alpha_is_a_probability(name: str, rows: npt.NDArray[Any], alpha: float) -> None:
    with pytest.raises(InvalidArgument, match="alpha"):
        make_detector(name, rows, alpha=alpha)


def test_too_few_rows_are_refused(name: str, rows: npt.NDArray[Any]) -> None:
    with pytest.raises(InvalidArgument, match="at least 20 are needed"):
        make_detector(name, rows[: 2 * MIN_ROWS - 1])
    detector = make_detector(name, rows[: 2 * MIN_ROWS])
    assert detector.test(rows[100 : 100 + MIN_ROWS]).n_window == MIN_ROWS
    with pytest.raises(InvalidArgument, match="at least 10 are needed"):
        detector.test(rows[: MIN_ROWS - 1])
    with pytest.raises(InvalidArgument, match="max_reference"):
        make_detector(name, rows, max_reference=5)


def test_a_constant_reference_is_no_trouble(name: str, rows: npt.NDArray[Any]) -> None:
    constant = np.zeros_like(rows[:200])
    detector = make_detector(name, constant)
    assert detector.test(constant[:50]).p_value == 1
    assert detector.test(constant[:50] + 1).is_drift


@pytest.mark.parametrize("name", VECTORS)
def test_rows_that_do_not_fit_are_refused(name: str, digits: npt.NDArray[Any]) -> None:
    detector = make_detector(name, digits[:200])
    with pytest.raises(DimensionMismatch, match="63"):
        detector.test(digits[:50, 1:])
    with pytest.raises(NotFinite, match="window"):
        detector.test(np.where(digits[:50] > 15, np.nan, digits[:50]))
    with pytest.raises(InvalidData, match="numbers"):
        detector.test([["a"] * 64] * 50)
    with pytest.raises(InvalidData, match="shape"):
        make_detector(name, digits.reshape(-1, 8, 8))


@pytest.mark.parametrize("name", VECTORS)
def test_one_feature_may_be_a_flat_array(name: str) -> None:
    rng = np.random.default_rng(0)
    detector = make_detector(name, rng.normal(size=1000))
    assert not detector.test(rng.normal(size=100)).is_drift
    assert detector.test(rng.normal(size=100) * 3 + 3).is_drift


@pytest.mark.parametrize("name", [name for name in detector_names() if name != "ks"])
def test_permutations_must_reach_alpha(name: str, rows: npt.NDArray[Any]) -> None:
    with pytest.raises(InvalidArgument, match="at least 99 are needed"):
        make_detector(name, rows, alpha=0.01, n_permutations=98)
    changed = make_detector(name, rows[:400], alpha=0.01, n_permutations=99).test(spoiled(rows[400:500]))
    assert changed.p_value == 0.01 and changed.is_drift


def test_the_table_names_what_it_has() -> None:
    with pytest.raises(InvalidArgument, match=r"no drift detector 'cusum'; there are: chi_square, classifier"):
        make_detector("cusum", np.zeros((50, 2)))
    with pytest.raises(InvalidArgument, match=r"mmd.*unexpected keyword argument 'width'"):
        make_detector("mmd", np.zeros((50, 2)), width=3)


def test_a_value_of_the_wrong_type_is_not_taken_for_an_unknown_option() -> None:
    with pytest.raises(TypeError, match="not supported"):
        make_detector("norm", np.zeros((50, 2)), alpha="small")


@pytest.mark.parametrize("name", ["classifier", "ks"])
def test_without_scipy_the_error_names_the_extra(
    name: str, digits: npt.NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = make_detector(name, digits[:200])
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependency, match=r"roost\[lifecycle\]"):
        detector.test(digits[200:300])


def test_a_detector_can_be_added_once() -> None:
    class Other(Mmd):
        name = "mmd"

    assert register_detector(Mmd) is Mmd
    with pytest.raises(AlreadyExists, match="'mmd'"):
        register_detector(Other)


def test_the_contract_cannot_be_made_without_its_parts() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Detector(np.zeros((50, 2)))  # type: ignore[abstract]
